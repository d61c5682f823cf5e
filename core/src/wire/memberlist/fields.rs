//! Reading the fields of a structure as upstream does (gossip-wire.md 3.2): whatever one of its two codecs accepts.

use alloc::borrow::Cow;

use crate::limits;
use crate::msgpack::{ReadError, Reader};
use crate::types::{GossipAddr, Meta, Name, Versions};
use crate::wire::WireError;

impl From<ReadError> for WireError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Incomplete => Self::Truncated,
            ReadError::Invalid(_) => Self::Malformed,
        }
    }
}

/// A number from 0 to `max`. Other than for a client of the RPC, a float is none.
pub(super) fn uint(reader: &mut Reader<'_>, max: u64) -> Result<u64, ReadError> {
    refuse_floats(reader)?;
    reader.uint().and_then(|number| {
        if number <= max { Ok(number) } else { Err(ReadError::Invalid("the number is out of its range")) }
    })
}

pub(super) fn u8(reader: &mut Reader<'_>) -> Result<u8, ReadError> {
    uint(reader, u64::from(u8::MAX)).map(|number| u8::try_from(number).unwrap_or_default())
}

pub(super) fn u16(reader: &mut Reader<'_>) -> Result<u16, ReadError> {
    uint(reader, u64::from(u16::MAX)).map(|number| u16::try_from(number).unwrap_or_default())
}

pub(super) fn u32(reader: &mut Reader<'_>) -> Result<u32, ReadError> {
    uint(reader, u64::from(u32::MAX)).map(|number| u32::try_from(number).unwrap_or_default())
}

pub(super) fn u64(reader: &mut Reader<'_>) -> Result<u64, ReadError> {
    uint(reader, u64::MAX)
}

/// A number with a sign; 2^63 and more wraps.
pub(super) fn int(reader: &mut Reader<'_>) -> Result<i64, ReadError> {
    refuse_floats(reader)?;
    reader.int()
}

fn refuse_floats(reader: &Reader<'_>) -> Result<(), ReadError> {
    if matches!(reader.peek()?, 0xca | 0xcb) { Err(ReadError::Invalid("a whole number is wanted")) } else { Ok(()) }
}

/// A float in either width, or any whole number.
pub(super) fn float(reader: &mut Reader<'_>) -> Result<f64, ReadError> {
    match reader.peek()? {
        0xc0 | 0xca | 0xcb => reader.float(),
        0xcf => reader.uint().map(|number| number as f64),
        _ => reader.int().map(|number| number as f64),
    }
}

/// The name of an addressee: empty means anybody (gossip-wire.md 4.1).
pub(super) fn addressee(bytes: &[u8]) -> Result<Name, WireError> {
    at_most(bytes, limits::NAME_BYTES_MAX).map(Name::new)
}

/// The name of a member: never empty.
pub(super) fn member(bytes: &[u8]) -> Result<Name, WireError> {
    if bytes.is_empty() { Err(WireError::OutOfRange) } else { addressee(bytes) }
}

pub(super) fn meta(bytes: &[u8]) -> Result<Meta, WireError> {
    at_most(bytes, limits::META_BYTES_ACCEPTED).map(Meta::new)
}

/// The version bytes: the first six. Fewer would poison every push/pull of the cluster (gossip-wire.md 8.2).
pub(super) fn versions(bytes: &[u8]) -> Result<Versions, WireError> {
    bytes.first_chunk().copied().map(Versions).ok_or(WireError::OutOfRange)
}

/// An address of 4 or 16 bytes.
pub(super) fn addr(ip: &[u8], port: u16) -> Result<GossipAddr, WireError> {
    GossipAddr::from_bytes(ip, port).ok_or(WireError::OutOfRange)
}

fn at_most(bytes: &[u8], max: usize) -> Result<&[u8], WireError> {
    if bytes.len() > max { Err(WireError::OutOfRange) } else { Ok(bytes) }
}

/// Bytes of a field that is missing or nil: none.
pub(super) type Raw<'a> = Cow<'a, [u8]>;
