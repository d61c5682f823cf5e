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
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::keyring::Keyring;

pub mod memberlist;
pub mod message;
pub mod native;

pub use message::{
    Accused, Ack, Alive, EventsAt, Filter, Fired, IndirectPing, Intent, Message, NodeState, Ping, PushPull, Query,
    QueryResponse, Relay, SerfMessage, SerfState, StreamMessage, SwimState, UserEvent,
};

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
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the message is cut short"),
            Self::Magic(byte) => {
                write!(
                    f,
                    "first byte {byte:#04x} is not of the native encoding (0xb5): another Serf, or no agent at all"
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
        }
    }
}

impl core::error::Error for WireError {}
