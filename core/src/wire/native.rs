//! The native encoding.
use alloc::boxed::Box;
use alloc::vec::Vec;
use super::{Envelope, Message, StreamMessage, WireError};

/// Appends one message.
pub fn encode(message: &Message, out: &mut Vec<u8>) { let _ = (message, out); unimplemented!() }
/// Bytes of a packet that are no messages.
pub fn packet_overhead(envelope: Envelope<'_>) -> usize { let _ = envelope; unimplemented!() }
/// Bytes that each message costs beside its own.
pub const PART_OVERHEAD: usize = 2;
/// Seals a packet whose messages are encoded in `parts`.
pub fn seal_packet(parts: &[&[u8]], envelope: Envelope<'_>, nonce: [u8; 12]) -> Box<[u8]> { let _ = (parts, envelope, nonce); unimplemented!() }
/// Opens a packet: the messages, and how many of its parts could not be read.
pub fn open_packet(bytes: &[u8], envelope: Envelope<'_>) -> Result<Packet, WireError> { let _ = (bytes, envelope); unimplemented!() }
/// The messages of a packet.
#[derive(Debug)]
pub struct Packet {
    /// In order.
    pub messages: Vec<Message>,
    /// How many parts could not be read.
    pub bad: u32,
}
/// Seals one stream frame. `dialler`: whether the sender opened the stream, and so sends the label header.
pub fn seal_stream(message: &StreamMessage, envelope: Envelope<'_>, nonce: [u8; 12], dialler: bool) -> Box<[u8]> { let _ = (message, envelope, nonce, dialler); unimplemented!() }
/// Reads the one frame of a stream direction: `None` while bytes are missing. `dialler`: whether the sender opened the stream.
pub fn open_stream(bytes: &[u8], envelope: Envelope<'_>, dialler: bool) -> Result<Option<StreamMessage>, WireError> { let _ = (bytes, envelope, dialler); unimplemented!() }
