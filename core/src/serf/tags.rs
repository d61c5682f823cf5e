//! Tags in a member's metadata (gossip-wire.md 5.2).
//!
//! `ff`, then a MessagePack map of text to text in the gossip dialect.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use crate::limits;
use crate::msgpack::{Dialect, Limits, ReadError, Reader, Writer};
use crate::types::{Meta, Tags};

/// First byte of metadata that holds a tags map; without it the metadata is the role (Serf protocol 2).
const MAGIC: u8 = 0xff;

/// Writes the tags, sorted by key.
pub fn encode(tags: &Tags) -> Meta {
    let mut writer = Writer::append_to(Dialect::Gossip, [MAGIC].into());
    writer.map(tags.len());
    for (key, value) in tags {
        writer.text(key).text(value);
    }
    Meta::new(writer.finish())
}

/// Reads the tags. Metadata without the magic byte is the tag `role`; what stands behind the map is ignored; where the
/// map cannot be read on, the tags read so far are kept.
pub fn decode(meta: &Meta) -> Tags {
    let mut tags = Tags::new();
    match meta.as_bytes().split_first() {
        Some((&MAGIC, rest)) => _ = read_map(rest, &mut tags),
        Some(_) | None => _ = tags.insert(b"role".to_vec(), meta.as_bytes().to_vec()),
    }
    tags
}

fn read_map(bytes: &[u8], tags: &mut Tags) -> Result<(), ReadError> {
    let mut reader = Reader::new(bytes, Limits { length: limits::META_BYTES_ACCEPTED, depth: 1 });
    for _ in 0..reader.map()? {
        let key = reader.text()?.to_vec();
        tags.insert(key, reader.text()?.to_vec());
    }
    Ok(())
}
