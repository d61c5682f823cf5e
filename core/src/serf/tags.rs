//! Tags in a member's metadata (gossip-wire.md 5.2).
//!
//! `ff`, then a MessagePack map of text to text in the legacy dialect, which knows one raw family for text and bytes.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use alloc::vec::Vec;

use crate::types::{Meta, Tags};

/// First byte of metadata that holds a tags map; without it the metadata is the role (Serf protocol 2).
const MAGIC: u8 = 0xff;
const NIL: u8 = 0xc0;

/// Writes the tags, sorted by key.
pub fn encode(tags: &Tags) -> Meta {
    let mut out = Vec::new();
    out.push(MAGIC);
    push_head(tags.len(), 0x80, 15, [0xde, 0xdf], &mut out);
    for (key, value) in tags {
        for text in [key, value] {
            push_head(text.len(), 0xa0, 31, [0xda, 0xdb], &mut out);
            out.extend_from_slice(text);
        }
    }
    Meta::new(out)
}

/// Reads the tags. Metadata without the magic byte is the tag `role`; what stands behind the map is ignored; where the
/// map cannot be read on, the tags read so far are kept.
pub fn decode(meta: &Meta) -> Tags {
    let mut tags = Tags::new();
    let Some((&MAGIC, mut rest)) = meta.as_bytes().split_first() else {
        tags.insert(b"role".to_vec(), meta.as_bytes().to_vec());
        return tags;
    };
    let Some(pairs) = take_map(&mut rest) else { return tags };
    for _ in 0..pairs {
        let Some(key) = take_text(&mut rest) else { break };
        let Some(value) = take_value(&mut rest) else { break };
        tags.insert(key.to_vec(), value.to_vec());
    }
    tags
}

/// The head of a map or text: in one byte up to `short_max`, else the 16-bit or the 32-bit form.
fn push_head(len: usize, short: u8, short_max: u8, long: [u8; 2], out: &mut Vec<u8>) {
    let [head16, head32] = long;
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len), _) if len <= short_max => out.push(short | len),
        (_, Ok(len)) => {
            out.push(head16);
            out.extend_from_slice(&len.to_be_bytes());
        }
        (_, Err(_)) => {
            // Config bounds tags to 512 bytes; a length beyond 32 bits exists in no memory.
            out.push(head32);
            out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
        }
    }
}

/// How many pairs the map announces. Every pair takes bytes, so a false number ends with them.
fn take_map(rest: &mut &[u8]) -> Option<u32> {
    match take_byte(rest)? {
        head @ 0x80..=0x8f => Some(u32::from(head & 0x0f)),
        0xde => take_number::<2>(rest),
        0xdf => take_number::<4>(rest),
        _ => None,
    }
}

/// A value: text, or nil for empty text.
fn take_value<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    if let [NIL, behind @ ..] = rest {
        *rest = behind;
        return Some(&[]);
    }
    take_text(rest)
}

/// Text or bytes in any form that one of the Go codecs takes for text (gossip-wire.md 3.2).
fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = match take_byte(rest)? {
        head @ 0xa0..=0xbf => u32::from(head & 0x1f),
        0xc4 | 0xd9 => take_number::<1>(rest)?,
        0xc5 | 0xda => take_number::<2>(rest)?,
        0xc6 | 0xdb => take_number::<4>(rest)?,
        _ => return None,
    };
    let (text, behind) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    *rest = behind;
    Some(text)
}

fn take_byte(rest: &mut &[u8]) -> Option<u8> {
    let (&byte, behind) = rest.split_first()?;
    *rest = behind;
    Some(byte)
}

/// A big-endian number of `N` bytes, at most four.
fn take_number<const N: usize>(rest: &mut &[u8]) -> Option<u32> {
    let (bytes, behind) = rest.split_first_chunk::<N>()?;
    *rest = behind;
    Some(bytes.iter().fold(0, |number, &byte| number << 8 | u32::from(byte)))
}
