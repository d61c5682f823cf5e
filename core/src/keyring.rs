//! Keys of the gossip, and the ring that holds them.
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};
/// x
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key(Vec<u8>);
/// x
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Keyring { keys: Vec<Key> }
