//! A datagram from outside to inside (gossip-wire.md 1): label, encryption, checksum, compression, compound, message.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{crypt, decode, kind, lzw};
use crate::limits;
use crate::wire::label::{label_overhead, push_label};
use crate::wire::{Budget, Envelope, Incoming, Message, SerfMessage, WireError};

/// Bytes that each message of a compound costs beside its own.
pub const PART_OVERHEAD: usize = 2;
/// Type and count of a compound.
const COMPOUND_HEADER: usize = 2;
/// Type and checksum.
const CRC_HEADER: usize = 5;

/// What is done with a datagram on its way out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketForm {
    /// Whether a checksum stands before it: only for members of memberlist protocol 5 (gossip-wire.md 1.3).
    pub crc: bool,
    /// Whether it may be compressed.
    pub compress: bool,
}

/// Bytes of a packet that are no messages. The checksum is not among them: what upstream packs may be five bytes
/// longer (gossip-wire.md 1.6).
pub const fn packet_overhead(envelope: Envelope<'_>) -> usize {
    let seal = if envelope.keyring.is_empty() { 0 } else { crypt::SEAL_BYTES };
    label_overhead(envelope.label).saturating_add(seal).saturating_add(COMPOUND_HEADER)
}

/// Seals a packet of encoded messages.
///
/// # Panics
/// If there are more than [`limits::PARTS_MAX`] parts, if one is empty or longer than a datagram, or if the label is
/// longer than [`limits::LABEL_BYTES_MAX`]: the sender packs by those bounds.
pub fn seal_parts<'a>(
    parts: impl Iterator<Item = &'a [u8]> + Clone,
    envelope: Envelope<'_>,
    nonce: [u8; 12],
    form: PacketForm,
) -> Box<[u8]> {
    let (count, body) = parts.clone().fold((0_usize, 0_usize), |(count, body), part| {
        (count.saturating_add(1), body.saturating_add(PART_OVERHEAD).saturating_add(part.len()))
    });
    assert!(count <= limits::PARTS_MAX, "a packet of {count} parts");
    let mut out = Vec::with_capacity(packet_overhead(envelope).saturating_add(CRC_HEADER).saturating_add(body));
    push_label(envelope.label, &mut out);
    let head_at = out.len();
    if !envelope.keyring.is_empty() {
        out.resize(head_at.saturating_add(crypt::HEAD_BYTES), 0);
    }
    let crc_at = out.len();
    if form.crc {
        out.resize(crc_at.saturating_add(CRC_HEADER), 0);
    }
    let body_at = out.len();
    push_body(parts, count, &mut out);
    if form.compress {
        compress_from(&mut out, body_at);
    }
    if form.crc {
        write_crc(&mut out, crc_at);
    }
    if !envelope.keyring.is_empty() {
        crypt::seal(&mut out, head_at, envelope, envelope.label, nonce);
    }
    out.into_boxed_slice()
}

/// One message stands bare, several in a compound.
fn push_body<'a>(parts: impl Iterator<Item = &'a [u8]> + Clone, count: usize, out: &mut Vec<u8>) {
    if count > 1 {
        out.extend_from_slice(&[kind::COMPOUND, u8::try_from(count).unwrap_or_default()]);
        for part in parts.clone() {
            let len = u16::try_from(part.len()).ok().filter(|len| *len > 0);
            assert!(len.is_some(), "a part of {} bytes", part.len());
            out.extend_from_slice(&len.unwrap_or_default().to_be_bytes());
        }
    }
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// Compresses what stands behind `body_at`, if that makes it shorter.
fn compress_from(out: &mut Vec<u8>, body_at: usize) {
    let plain = out.get(body_at..).unwrap_or_default();
    if plain.len() < limits::COMPRESS_BYTES_MIN {
        return;
    }
    if let Some(compressed) = lzw::compress(plain).filter(|compressed| compressed.len() < plain.len()) {
        out.truncate(body_at);
        out.extend_from_slice(&compressed);
    }
}

fn write_crc(out: &mut [u8], crc_at: usize) {
    let (head, body) = out.split_at_mut_checked(crc_at.saturating_add(CRC_HEADER)).unwrap_or_default();
    let crc = crc32fast::hash(body).to_be_bytes();
    if let Some((first, place)) = head.get_mut(crc_at..).and_then(<[u8]>::split_first_mut) {
        *first = kind::CRC;
        place.copy_from_slice(&crc);
    }
}

/// Reads a packet behind its label: how many of its messages could not be read.
///
/// # Errors
/// Why nothing of the packet can be used. A part of a compound that cannot be read is no error.
pub(crate) fn read_packet(
    bytes: &[u8],
    envelope: Envelope<'_>,
    incoming: &mut Incoming,
    budget: &mut Budget,
) -> Result<u32, WireError> {
    if envelope.keyring.is_empty() {
        return read_checked(bytes, incoming, budget);
    }
    let mut plain = core::mem::take(&mut incoming.plain);
    let read = crypt::open(bytes, envelope, envelope.label, &mut plain, budget)
        .and_then(|()| read_checked(&plain, incoming, budget));
    incoming.plain = plain;
    read
}

/// A checksum stands only here: anywhere else it is a message of an unknown kind.
fn read_checked(bytes: &[u8], incoming: &mut Incoming, budget: &mut Budget) -> Result<u32, WireError> {
    match bytes {
        [kind::CRC, a, b, c, d, behind @ ..] => {
            budget.spend(behind.len())?;
            if crc32fast::hash(behind) != u32::from_be_bytes([*a, *b, *c, *d]) {
                return Err(WireError::Checksum);
            }
            read_any(behind, limits::NESTING_MAX, incoming, budget)
        }
        _ => read_any(bytes, limits::NESTING_MAX, incoming, budget),
    }
}

fn read_any(bytes: &[u8], depth: u8, incoming: &mut Incoming, budget: &mut Budget) -> Result<u32, WireError> {
    let inner = || depth.checked_sub(1).ok_or(WireError::Nested);
    match bytes.split_first() {
        None => Err(WireError::Truncated),
        Some((&kind::COMPOUND, behind)) => read_compound(behind, inner()?, incoming, budget),
        Some((&kind::COMPRESSED, behind)) => {
            let inner = inner()?;
            let plain = lzw::expand(behind, limits::DATAGRAM_BYTES_MAX, budget)?;
            read_any(&plain, inner, incoming, budget)
        }
        Some(_) => {
            let room = incoming.messages.len() < limits::PARTS_MAX;
            budget.allocate(size_of::<crate::wire::Received>().saturating_mul(2))?;
            let message = if room { decode(bytes, budget)? } else { return Err(WireError::TooCostly) };
            let original = if is_passed_on(&message) { bytes } else { &[] };
            incoming.push(message, original, budget).map(|()| 0)
        }
    }
}

/// Whether upstream passes the message on as it came (gossip-wire.md 5).
const fn is_passed_on(message: &Message) -> bool {
    matches!(
        message,
        Message::Serf(SerfMessage::Join(_) | SerfMessage::Leave(_) | SerfMessage::Event(_) | SerfMessage::Query(_))
    )
}

/// Reads the parts of a compound. A bad one does not disturb its neighbours; where one is not all there, it and all
/// behind it count as one.
fn read_compound(bytes: &[u8], depth: u8, incoming: &mut Incoming, budget: &mut Budget) -> Result<u32, WireError> {
    budget.spend(bytes.len())?;
    let (&count, behind) = bytes.split_first().ok_or(WireError::Truncated)?;
    let table = usize::from(count).saturating_mul(PART_OVERHEAD);
    let (lengths, mut bodies) = behind.split_at_checked(table).ok_or(WireError::Truncated)?;
    let mut bad = 0_u32;
    for length in lengths.as_chunks::<PART_OVERHEAD>().0 {
        let Some((part, rest)) = bodies.split_at_checked(usize::from(u16::from_be_bytes(*length))) else {
            return Ok(bad.saturating_add(1));
        };
        bodies = rest;
        bad = bad.saturating_add(read_any(part, depth, incoming, budget).unwrap_or(1));
    }
    Ok(bad)
}
