//! HashiCorp's encoding: MessagePack, as every Serf since 0.8.0 speaks it (gossip-wire.md).
//!
//! Encoders give the bytes that upstream gives. Decoders accept what upstream accepts, within [`Budget`]s and the
//! bounds of `limits.rs`: no length or count from outside ever reserves memory.

use alloc::vec::Vec;

use super::{Budget, Message, SerfMessage, WireError};
use crate::msgpack::{Dialect, Limits, Reader, Writer};

mod crypt;
mod fields;
mod lzw;
mod packet;
mod push_pull;
mod serf;
mod stream;
mod swim;

pub(crate) use packet::read_packet;
pub use packet::{PART_OVERHEAD, PacketForm, packet_overhead, seal_parts};
pub use serf::{event, query, relay, response};
pub use stream::{Progress, seal_stream};
pub(crate) use stream::{is_first_byte, read_stream};

/// First bytes of messages (gossip-wire.md 4).
mod kind {
    pub(super) const PING: u8 = 0;
    pub(super) const INDIRECT_PING: u8 = 1;
    pub(super) const ACK: u8 = 2;
    pub(super) const SUSPECT: u8 = 3;
    pub(super) const ALIVE: u8 = 4;
    pub(super) const DEAD: u8 = 5;
    pub(super) const PUSH_PULL: u8 = 6;
    pub(super) const COMPOUND: u8 = 7;
    pub(super) const USER: u8 = 8;
    pub(super) const COMPRESSED: u8 = 9;
    pub(super) const ENCRYPTED: u8 = 10;
    pub(super) const NACK: u8 = 11;
    pub(super) const CRC: u8 = 12;
    pub(super) const ERROR: u8 = 13;
}

/// Appends one message, with its type byte.
pub fn encode(message: &Message, out: &mut Vec<u8>) {
    let mut writer = Writer::append_to(Dialect::Gossip, core::mem::take(out));
    match message {
        Message::Serf(message) => {
            writer.raw_byte(kind::USER);
            serf::write(message, &mut writer);
        }
        Message::Ping(_)
        | Message::IndirectPing(_)
        | Message::Ack(_)
        | Message::Nack(_)
        | Message::Suspect(_)
        | Message::Alive(_)
        | Message::Dead(_) => swim::write(message, &mut writer),
    }
    *out = writer.finish();
}

/// Reads one message from its type byte on; what stands behind it is ignored, as upstream does.
///
/// # Errors
/// [`WireError::Truncated`], [`WireError::Malformed`], [`WireError::OutOfRange`], [`WireError::Unexpected`] for a kind
/// that is no single message, or [`WireError::TooCostly`].
pub fn decode(bytes: &[u8], budget: &mut Budget) -> Result<Message, WireError> {
    // Each byte is looked at once and copied at most once.
    budget.spend(bytes.len().saturating_mul(2))?;
    budget.allocate(bytes.len())?;
    match bytes.split_first() {
        None => Err(WireError::Truncated),
        Some((&kind::USER, behind)) => serf::read(behind, budget).map(Message::Serf),
        Some((&kind, behind)) => swim::read(kind, &mut reader(behind)),
    }
}

/// Reads the message of the layer above from its own type byte on.
///
/// # Errors
/// Those of [`decode`].
pub fn decode_serf(bytes: &[u8]) -> Result<SerfMessage, WireError> {
    serf::read(bytes, &mut Budget::datagram(bytes.len()))
}

/// A reader of what is all there: nothing in it can be longer than itself.
const fn reader(bytes: &[u8]) -> Reader<'_> {
    Reader::new(bytes, Limits { length: bytes.len(), depth: 4 })
}
