//! MessagePack in the two dialects that Serf speaks, over one bounded reader (gossip-wire.md 3, rpc.md 2).

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use core::fmt;

mod reader;
mod scan;
mod value;
mod writer;

pub use reader::Reader;
pub use scan::Scan;
pub use value::Value;
pub use writer::Writer;

/// Which forms are written for text and bytes. Readers take both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The old specification: text and bytes alike as raw.
    Gossip,
    /// The newer one: text as str, bytes as bin.
    Rpc,
}

/// What a reader accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest text or byte string, and most items of one list or map.
    pub length: usize,
    /// Deepest nesting of a value that is kept; skipped values may nest at will.
    pub depth: u8,
}

impl Limits {
    /// A length that was announced, if it is within the limit.
    fn length(self, len: u64) -> Result<usize, ReadError> {
        match usize::try_from(len) {
            Ok(len) if len <= self.length => Ok(len),
            Ok(_) | Err(_) => Err(ReadError::Invalid("the announced length is beyond the limit")),
        }
    }
}

/// Why a value could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// More bytes are needed.
    Incomplete,
    /// The bytes are not what is wanted there.
    Invalid(&'static str),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete => f.write_str("unexpected end of the message"),
            Self::Invalid(what) => f.write_str(what),
        }
    }
}
