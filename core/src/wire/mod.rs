//! Between bytes and messages: encodings, envelopes, bounds.
//!
//! What comes in is turned into plain [`Message`] values once, at the door; nothing behind it knows how they were
//! encoded.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::keyring::Keyring;
use memberlist::{PacketForm, Progress};

mod budget;
mod incoming;
mod label;
pub mod memberlist;
pub mod message;
pub mod native;
mod pieces;

pub use budget::Budget;
pub use incoming::{Incoming, Received};
pub use message::{
    Accused, Ack, Alive, Clocks, Digest, EventsAt, Filter, Fired, IndirectPing, Intent, Message, NodeState, Ping,
    PushPull, Query, QueryResponse, Relay, ReplyTo, SerfMessage, SerfState, StreamMessage, SwimState, UserEvent,
};
pub use pieces::Pieces;

/// How messages are turned into bytes. Both carry the same values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Encoding {
    /// Postcard, between agents of this project.
    Native,
    /// MessagePack, as HashiCorp's memberlist speaks it.
    #[default]
    Memberlist,
}

impl Encoding {
    /// Its name, as flags and listings have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Memberlist => "memberlist",
        }
    }

    /// Appends one message.
    pub fn encode(self, message: &Message, out: &mut Vec<u8>) {
        match self {
            Self::Native => native::encode(message, out),
            Self::Memberlist => memberlist::encode(message, out),
        }
    }

    /// Reads one message that we have encoded ourselves, or received as it is.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn decode(self, bytes: &[u8]) -> Result<Message, WireError> {
        match self {
            Self::Native => native::decode(bytes),
            Self::Memberlist => memberlist::decode(bytes, &mut Budget::datagram(bytes.len())),
        }
    }

    /// Bytes of a packet that are no messages.
    pub const fn packet_overhead(self, envelope: Envelope<'_>) -> usize {
        match self {
            Self::Native => native::packet_overhead(envelope),
            Self::Memberlist => memberlist::packet_overhead(envelope),
        }
    }

    /// Bytes that each message of a packet costs beside its own.
    pub const fn part_overhead(self) -> usize {
        match self {
            Self::Native => native::PART_OVERHEAD,
            Self::Memberlist => memberlist::PART_OVERHEAD,
        }
    }

    /// Seals a packet of encoded messages; `form` is for memberlist's.
    ///
    /// # Panics
    /// As [`native::seal_packet`] does.
    pub fn seal_parts<'a>(
        self,
        parts: impl Iterator<Item = &'a [u8]> + Clone,
        envelope: Envelope<'_>,
        nonce: [u8; 12],
        form: PacketForm,
    ) -> Box<[u8]> {
        match self {
            Self::Native => native::seal_parts(parts, envelope, nonce),
            Self::Memberlist => memberlist::seal_parts(parts, envelope, nonce, form),
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Seals the one message of a stream's direction. `dialler`: whether the sender opened the stream, and so sends the
/// label header; `compress`: whether memberlist's form is compressed.
///
/// # Panics
/// If the label is longer than [`crate::limits::LABEL_BYTES_MAX`].
pub fn seal_stream(
    encoding: Encoding,
    message: &StreamMessage,
    envelope: Envelope<'_>,
    nonce: [u8; 12],
    dialler: bool,
    compress: bool,
) -> Box<[u8]> {
    match encoding {
        Encoding::Native => native::seal_stream(message, envelope, nonce, dialler),
        Encoding::Memberlist => memberlist::seal_stream(message, envelope, nonce, dialler, compress),
    }
}

/// The encoding of a stream, from its first bytes; `None`: they are not there yet, or are of neither.
/// `dialler`: whether the sender opened the stream.
pub fn stream_encoding(bytes: &[u8], dialler: bool) -> Option<Encoding> {
    let behind = if dialler { label::split_label(bytes).ok()??.1 } else { bytes };
    match *behind.first()? {
        native::MAGIC => Some(Encoding::Native),
        byte if memberlist::is_first_byte(byte) => Some(Encoding::Memberlist),
        _ => None,
    }
}

/// Reads the one message of a stream's direction, of either encoding: `None` while bytes are missing. `progress` is kept
/// from call to call, so that it is cheap to ask again. What is read is taken.
///
/// # Errors
/// Why the stream cannot be used, as soon as the bytes say so.
pub fn open_stream(
    received: &mut Pieces,
    envelope: Envelope<'_>,
    dialler: bool,
    progress: &mut Progress,
) -> Result<Option<StreamMessage>, WireError> {
    let start = received.start();
    let mut behind = start;
    if dialler {
        let Some((got, rest)) = label::split_label(start)? else { return Ok(None) };
        if !rest.is_empty() || !got.is_empty() {
            label::check_label(got, envelope.label)?;
        }
        behind = rest;
    }
    match behind.first() {
        None => Ok(None),
        Some(&native::MAGIC) => match native::stream_len(start, envelope, dialler)? {
            Some(len) if len <= received.len() => native::open_stream(&mut received.take(), envelope, dialler),
            Some(_) | None => Ok(None),
        },
        Some(&byte) if !memberlist::is_first_byte(byte) => Err(WireError::Magic(byte)),
        Some(_) => {
            let before = start.len().saturating_sub(behind.len());
            memberlist::read_stream(received, before, envelope, progress)
        }
    }
}

/// What both ends of a packet or stream must share.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// The keys; an empty ring: no encryption.
    pub keyring: &'a Keyring,
    /// The label; empty: none.
    pub label: &'a [u8],
}

/// Why bytes from outside could not be used. Texts with a twin upstream are upstream's (cli.md 2.6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WireError {
    /// There are fewer bytes than announced.
    Truncated,
    /// The first byte is not ours.
    Magic(u8),
    /// The native version is not one that we read.
    Version(u8),
    /// The packet kind or flags are unknown.
    Kind(u8),
    /// The label is another one.
    Label {
        /// Theirs; empty: none.
        got: Box<[u8]>,
        /// Ours; empty: none.
        want: Box<[u8]>,
    },
    /// We have keys, the peer has none.
    NotEncrypted,
    /// The peer has keys, we have none.
    Encrypted,
    /// No key of the ring opens it.
    NoKey,
    /// The checksum is wrong.
    Checksum,
    /// The bytes are no message.
    Malformed,
    /// More bytes are announced than a stream may bring.
    TooLong {
        /// How many.
        bytes: u64,
    },
    /// The message is of a kind that does not belong here.
    Unexpected,
    /// A value in the message is outside its bounds.
    OutOfRange,
    /// It is compressed in a way that nobody knows.
    Compression(u8),
    /// It expands to more than is read.
    TooLarge {
        /// How many bytes are read.
        max: usize,
    },
    /// Compounds and compressed messages stand in each other too deeply.
    Nested,
    /// Reading it would take more work or memory than so few bytes may ask for.
    TooCostly,
    /// It is in an encoding that the configuration rules out.
    NotSpoken(Encoding),
    /// Too much that could not be used came from there.
    Flood,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the message is cut short"),
            Self::Magic(byte) => {
                write!(
                    f,
                    "first byte {byte:#04x} is of no encoding that we know: no agent of Serf, or not of this cluster"
                )
            }
            Self::Version(version) => write!(f, "native encoding version {version} is not known (1 is)"),
            Self::Kind(kind) => write!(f, "packet kind {kind} is not known (0 plain, 1 sealed)"),
            Self::Label { got, want } => write!(
                f,
                "label mismatch: theirs is '{}', ours is '{}'",
                String::from_utf8_lossy(got),
                String::from_utf8_lossy(want)
            ),
            Self::NotEncrypted => f.write_str("Encryption is configured but remote state is not encrypted"),
            Self::Encrypted => f.write_str("Remote state is encrypted and encryption is not configured"),
            Self::NoKey => f.write_str("No installed keys could decrypt the message"),
            Self::Checksum => f.write_str("the checksum is wrong"),
            Self::Malformed => f.write_str("the bytes are no message"),
            Self::TooLong { bytes } => {
                write!(f, "{bytes} bytes are announced, at most {} are read", crate::limits::STREAM_BYTES_MAX)
            }
            Self::Unexpected => f.write_str("the message does not belong here"),
            Self::OutOfRange => f.write_str("a value is outside its bounds"),
            Self::Compression(algorithm) => write!(f, "Cannot decompress unknown algorithm {algorithm}"),
            Self::TooLarge { max } => write!(f, "the message expands to more than {max} bytes"),
            Self::Nested => f.write_str("compounds and compressed messages are nested too deeply"),
            Self::TooCostly => f.write_str("the packet asks for more work or memory than its length allows"),
            Self::Flood => write!(
                f,
                "{} packets of a second could not be used: no more are read until it is over",
                crate::limits::JUNK_PER_SECOND_MAX
            ),
            Self::NotSpoken(encoding) => {
                let ours = match encoding {
                    Encoding::Native => Encoding::Memberlist,
                    Encoding::Memberlist => Encoding::Native,
                };
                write!(f, "the peer speaks {encoding}, this agent only {ours} (-wire={ours})")
            }
        }
    }
}

impl core::error::Error for WireError {}
