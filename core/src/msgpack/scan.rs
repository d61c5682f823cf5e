//! Where values end, without reading them.

use serde::{Deserialize, Serialize};

use super::{Limits, ReadError};

/// What the first byte of a value says.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Head {
    /// Bytes of the number behind it.
    pub(super) width: usize,
    /// The number if none is behind it.
    number: u64,
    counts: Counts,
}

/// What the number at the beginning of a value counts.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Counts {
    Bytes,
    /// Bytes behind one that says the kind.
    Extension,
    Values,
    Pairs,
}

impl Head {
    pub(super) fn of(byte: u8) -> Result<Self, ReadError> {
        let behind = |width, counts| Self { width, number: 0, counts };
        let itself = |number: u8, counts| Self { width: 0, number: u64::from(number), counts };
        Ok(match byte {
            0xc1 => return Err(ReadError::Invalid("the reserved byte 0xc1")),
            0xc0 | 0xc2 | 0xc3 | 0x00..=0x7f | 0xe0..=0xff => itself(0, Counts::Bytes),
            0x80..=0x8f => itself(byte & 0x0f, Counts::Pairs),
            0x90..=0x9f => itself(byte & 0x0f, Counts::Values),
            0xa0..=0xbf => itself(byte & 0x1f, Counts::Bytes),
            0xc4 | 0xd9 => behind(1, Counts::Bytes),
            0xc5 | 0xda => behind(2, Counts::Bytes),
            0xc6 | 0xdb => behind(4, Counts::Bytes),
            0xc7 => behind(1, Counts::Extension),
            0xc8 => behind(2, Counts::Extension),
            0xc9 => behind(4, Counts::Extension),
            0xd4 => itself(1, Counts::Extension),
            0xd5 => itself(2, Counts::Extension),
            0xd6 => itself(4, Counts::Extension),
            0xd7 => itself(8, Counts::Extension),
            0xd8 => itself(16, Counts::Extension),
            0xcc | 0xd0 => itself(1, Counts::Bytes),
            0xcd | 0xd1 => itself(2, Counts::Bytes),
            0xca | 0xce | 0xd2 => itself(4, Counts::Bytes),
            0xcb | 0xcf | 0xd3 => itself(8, Counts::Bytes),
            0xdc => behind(2, Counts::Values),
            0xdd => behind(4, Counts::Values),
            0xde => behind(2, Counts::Pairs),
            0xdf => behind(4, Counts::Pairs),
        })
    }

    /// How many values the value holds, and how many bytes of its own, if that is the number behind the first byte.
    pub(super) fn holds(self, behind: u64) -> (u64, u64) {
        let number = if self.width == 0 { self.number } else { behind };
        match self.counts {
            Counts::Bytes => (0, number),
            Counts::Extension => (0, number.saturating_add(1)),
            Counts::Values => (number, 0),
            Counts::Pairs => (number.saturating_mul(2), 0),
        }
    }
}

/// Looks for the end of one value in bytes that come piece by piece, each looked at once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Scan {
    at: usize,
    /// Values that have not begun.
    pending: u64,
    /// Bytes that the value that was begun last has left.
    bytes: usize,
    /// A value whose number is not all there: its first byte, how many bytes of the number have come, and they.
    begun: Option<(Head, usize, u64)>,
}

impl Default for Scan {
    fn default() -> Self {
        Self::NEW
    }
}

impl Scan {
    /// Nothing has been looked at.
    pub const NEW: Self = Self { at: 0, pending: 1, bytes: 0, begun: None };

    /// How many bytes have been looked at.
    pub const fn position(&self) -> usize {
        self.at
    }

    /// Goes on in `bytes`: all that have come since the value's first, which a later call has to give again. Returns
    /// the length of the value once it is whole.
    ///
    /// # Errors
    /// More bytes are needed, or no value begins like this.
    pub fn end(&mut self, bytes: &[u8], limits: Limits) -> Result<usize, ReadError> {
        self.go_on(bytes.get(self.at..).unwrap_or_default(), limits)
    }

    /// Goes on in the bytes behind those that have been looked at. Returns the length of the value once it is whole.
    ///
    /// # Errors
    /// More bytes are needed: all of these have been looked at. Or no value begins like this.
    pub fn go_on(&mut self, mut bytes: &[u8], limits: Limits) -> Result<usize, ReadError> {
        loop {
            let (passed, rest) = bytes.split_at(self.bytes.min(bytes.len()));
            self.at = self.at.saturating_add(passed.len());
            self.bytes = self.bytes.saturating_sub(passed.len());
            bytes = rest;
            if self.bytes == 0 && self.begun.is_none() && self.pending == 0 {
                return Ok(self.at);
            }
            let Some((&byte, rest)) = bytes.split_first() else { return Err(ReadError::Incomplete) };
            let (head, have, number) = match self.begun.take() {
                None => (Head::of(byte)?, 0, 0),
                Some((head, have, number)) => (head, have.saturating_add(1), number.wrapping_shl(8) | u64::from(byte)),
            };
            self.at = self.at.saturating_add(1);
            bytes = rest;
            if have < head.width {
                self.begun = Some((head, have, number));
                continue;
            }
            let (values, own) = head.holds(number);
            self.bytes = limits.length(own)?;
            self.pending = self.pending.saturating_sub(1).saturating_add(values);
        }
    }
}
