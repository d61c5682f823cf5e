//! Taking a packet of either encoding apart.

use alloc::vec::Vec;
use core::ops::Range;

use super::label::{check_label, split_label};
use super::{Budget, Encoding, Envelope, Message, WireError, memberlist, native};

/// The messages of a packet, and the buffers that reading it takes; reused from packet to packet.
#[derive(Clone, Debug, Default)]
pub struct Incoming {
    /// How the packet was encoded.
    pub encoding: Encoding,
    /// In order.
    pub messages: Vec<Received>,
    /// Bytes of messages that may be passed on as they came, one behind the other.
    originals: Vec<u8>,
    /// Where a sealed packet is opened.
    pub(super) plain: Vec<u8>,
}

/// A message of a packet.
#[derive(Clone, Debug)]
pub struct Received {
    /// What it says.
    pub message: Message,
    original: Range<usize>,
}

impl Incoming {
    /// Reads a packet: how many of its messages could not be read.
    ///
    /// # Errors
    /// Why nothing of the packet can be used; there are then no messages. One that cannot be read beside others is no
    /// error.
    pub fn open(&mut self, bytes: &[u8], envelope: Envelope<'_>, budget: &mut Budget) -> Result<u32, WireError> {
        self.clear();
        let (label, behind) = split_label(bytes)?.ok_or(WireError::Truncated)?;
        check_label(label, envelope.label)?;
        match behind.first() {
            None => Err(WireError::Truncated),
            Some(&native::MAGIC) => {
                self.encoding = Encoding::Native;
                let Self { messages, plain, .. } = self;
                native::read_packet(behind, envelope, plain, budget, &mut |message| {
                    messages.push(Received { message, original: 0..0 });
                })
            }
            Some(_) => {
                self.encoding = Encoding::Memberlist;
                let read = memberlist::read_packet(behind, envelope, self, budget);
                if read.is_err() {
                    self.messages.clear();
                }
                read
            }
        }
    }

    /// Forgets a packet. What was sealed is wiped: it may have been a key, and the next packet may be shorter.
    pub fn clear(&mut self) {
        if !self.plain.is_empty() {
            self.plain.fill(0);
            self.originals.fill(0);
        }
        self.plain.clear();
        self.originals.clear();
        self.messages.clear();
    }

    /// Adds a message; `original` is kept for those who pass it on.
    pub(super) fn push(&mut self, message: Message, original: &[u8], budget: &mut Budget) -> Result<(), WireError> {
        let start = self.originals.len();
        budget.spend(original.len())?;
        budget.allocate(original.len())?;
        self.originals.extend_from_slice(original);
        self.messages.push(Received { message, original: start..self.originals.len() });
        Ok(())
    }

    /// The bytes in which a message came, if it may be passed on like that; else none.
    pub fn original(&self, received: &Received) -> &[u8] {
        self.originals.get(received.original.clone()).unwrap_or_default()
    }
}
