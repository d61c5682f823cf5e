//! Tags in a member's metadata.
use crate::types::{Meta, Tags};
/// x
pub fn encode(tags: &Tags) -> Meta { let _ = tags; unimplemented!() }
/// x
pub fn decode(meta: &Meta) -> Tags { let _ = meta; unimplemented!() }
