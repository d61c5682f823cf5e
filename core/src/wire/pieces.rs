//! Bytes of a stream, as they come.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::limits;

/// What has come on a stream, in pieces of one length that are never moved: long streams that grow side by side would
/// otherwise be copied again and again, and leave holes of the size of all that they ever were.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pieces {
    /// All but the last are full.
    pieces: Vec<Vec<u8>>,
    len: usize,
    /// Bytes of a piece.
    piece: usize,
}

impl Default for Pieces {
    fn default() -> Self {
        Self::NEW
    }
}

impl Pieces {
    /// Nothing has come.
    pub(crate) const NEW: Self = Self { pieces: Vec::new(), len: 0, piece: limits::STREAM_PIECE_BYTES };

    /// Nothing has come; pieces have so many bytes, [`limits::STREAM_HEAD_BYTES`] at least.
    pub fn of(piece: usize) -> Self {
        Self { piece: piece.max(limits::STREAM_HEAD_BYTES), ..Self::NEW }
    }

    /// How many bytes there are.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends what has come.
    pub fn push(&mut self, mut bytes: &[u8]) {
        self.len = self.len.saturating_add(bytes.len());
        while !bytes.is_empty() {
            let piece = match self.pieces.last_mut() {
                Some(last) if last.len() < self.piece => last,
                // Most streams are short: only those that were not get a whole piece at once.
                Some(_) => self.pieces.push_mut(Vec::with_capacity(self.piece)),
                None => self.pieces.push_mut(Vec::new()),
            };
            let (now, later) = bytes.split_at(bytes.len().min(self.piece.saturating_sub(piece.len())));
            let len = piece.len().saturating_add(now.len());
            if len > piece.capacity() {
                piece.reserve_exact(len.saturating_mul(2).min(self.piece).saturating_sub(piece.len()));
            }
            piece.extend_from_slice(now);
            bytes = later;
        }
    }

    /// The first piece: a label header and the header of a frame stand in it.
    pub(crate) fn start(&self) -> &[u8] {
        self.run(0)
    }

    /// The bytes from there on that stand in one piece; none if there are none.
    pub(crate) fn run(&self, at: usize) -> &[u8] {
        let piece = self.pieces.get(at.checked_div(self.piece).unwrap_or_default());
        piece.and_then(|piece| piece.get(at.checked_rem(self.piece).unwrap_or_default()..)).unwrap_or_default()
    }

    /// The bytes from `at` up to `end`, as far as there are any.
    pub(crate) fn range(&self, at: usize, end: usize) -> Cow<'_, [u8]> {
        let len = end.min(self.len).saturating_sub(at);
        if let Some(bytes) = self.run(at).get(..len) {
            return Cow::Borrowed(bytes);
        }
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let more = self.run(at.saturating_add(bytes.len()));
            bytes.extend_from_slice(more.get(..len.saturating_sub(bytes.len())).unwrap_or(more));
        }
        Cow::Owned(bytes)
    }

    /// Takes all that has come, in one; a piece is freed as soon as it is copied.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let len = core::mem::take(&mut self.len);
        let mut pieces = core::mem::take(&mut self.pieces).into_iter();
        let Some(mut bytes) = pieces.next() else { return Vec::new() };
        bytes.reserve_exact(len.saturating_sub(bytes.len()));
        pieces.for_each(|piece| bytes.extend_from_slice(&piece));
        bytes
    }
}

impl From<&[u8]> for Pieces {
    fn from(bytes: &[u8]) -> Self {
        let mut pieces = Self::NEW;
        pieces.push(bytes);
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that are told from each other, in pieces that are as short as they may be.
    fn filled(len: usize, step: usize) -> (Vec<u8>, Pieces) {
        let bytes: Vec<u8> = (0..=250).cycle().take(len).collect();
        let mut pieces = Pieces::of(0);
        bytes.chunks(step).for_each(|chunk| pieces.push(chunk));
        (bytes, pieces)
    }

    #[test]
    fn what_was_pushed_in_any_steps_is_there_in_order() {
        let piece = limits::STREAM_HEAD_BYTES;
        for step in [1, 7, piece - 1, piece, piece + 1, 5 * piece] {
            for len in [0, 1, piece - 1, piece, piece + 1, 3 * piece, 3 * piece + 2] {
                let (bytes, mut pieces) = filled(len, step);
                assert_eq!((pieces.len(), pieces.is_empty()), (len, len == 0));
                assert_eq!(Some(pieces.start()), bytes.get(..len.min(piece)));
                for (at, end) in
                    [(0, len), (0, piece), (1, piece + 1), (piece, 2 * piece), (piece - 1, len), (len, len + 1)]
                {
                    let want = bytes.get(at..end.min(len)).unwrap_or_default();
                    assert_eq!(&*pieces.range(at, end), want, "{at}..{end} of {len} by {step}");
                }
                assert_eq!(pieces.take(), bytes);
                assert!(pieces.is_empty() && pieces.start().is_empty());
            }
        }
    }

    #[test]
    fn less_than_a_piece_is_held_beyond_what_has_come_and_nothing_is_moved() {
        for step in [1, 100, 10_000] {
            let mut pieces = Pieces::NEW;
            let mut begins: Vec<*const u8> = Vec::new();
            while pieces.len() < 5 * limits::STREAM_PIECE_BYTES {
                pieces.push(&alloc::vec![7; step]);
                let held: usize = pieces.pieces.iter().map(Vec::capacity).sum();
                assert!(held < pieces.len() + limits::STREAM_PIECE_BYTES, "{held} for {}", pieces.len());
                assert!(pieces.len() > 9 || held <= 20, "a short stream holds {held} bytes");
                let full = pieces.pieces.iter().filter(|piece| piece.len() == limits::STREAM_PIECE_BYTES);
                let full: Vec<*const u8> = full.map(|piece| piece.as_ptr()).collect();
                assert!(full.starts_with(&begins));
                begins = full;
            }
        }
    }
}
