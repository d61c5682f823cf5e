//! What both layers borrow from the node while they handle one input.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::broadcasts::Waiter;
use crate::config::{Config, Wire};
use crate::coordinate::{Coordinate, Vivaldi};
use crate::io::{Activity, Output, Persist, PersistId};
use crate::keyring::Keyring;
use crate::limits;
use crate::log::Log;
use crate::queues::{Queues, Rumour, RumourKind, transcode};
use crate::rng::{Purpose, Rng};
use crate::scale::retransmit_limit;
use crate::swim::member::Table;
use crate::time::Time;
use crate::timers::{TimerKind, Timers};
use crate::types::{GossipAddr, Name, Slot};
use crate::wire::memberlist::{self, PacketForm};
use crate::wire::{Encoding, Envelope, Message, SerfMessage, SwimState};

/// The values that `Node` owns and lends.
pub(crate) struct Ctx<'a> {
    pub(crate) now: Time,
    pub(crate) config: &'a Config,
    pub(crate) table: &'a mut Table,
    pub(crate) timers: &'a mut Timers,
    pub(crate) rng: &'a mut Rng,
    pub(crate) queues: &'a mut Queues,
    pub(crate) keyring: &'a mut Keyring,
    pub(crate) coordinates: &'a mut Vivaldi,
    pub(crate) out: &'a mut Vec<Output>,
}

/// Whether broadcasts come along with a packet of direct messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Piggyback {
    /// None do.
    None,
    /// As many as fit, and it does not bring them nearer to their end.
    Free,
    /// As many as fit, each nearer to its end by one transmission.
    Counted,
}

/// Where a packet goes, and how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct To {
    #[serde(with = "crate::types::socket_addr")]
    pub(crate) addr: SocketAddr,
    pub(crate) encoding: Encoding,
    /// Whether a checksum may stand before it: the receiver is a member of memberlist protocol 5.
    pub(crate) crc: bool,
}

impl To {
    /// An answer goes in the encoding of its question.
    pub(crate) const fn answer(addr: SocketAddr, encoding: Encoding) -> Self {
        Self { addr, encoding, crc: false }
    }
}

/// Messages from one look at a key's budget to the next.
const BUDGET_LOOKS: u64 = 4_096;
/// Oldest memberlist protocol with checksums (gossip-wire.md 1.3).
const CRC_PROTOCOL: u8 = 5;

impl Ctx<'_> {
    /// Arms a timer, always for later than now (ARCHITECTURE.md: the contract, 4).
    pub(crate) fn arm(&mut self, kind: TimerKind, at: Time) {
        self.timers.arm(kind, at.max(self.now.next()));
    }

    /// Arms a timer unless it is armed.
    pub(crate) fn arm_if_idle(&mut self, kind: TimerKind, at: Time) {
        self.timers.arm_if_idle(kind, at.max(self.now.next()));
    }

    /// Writes a line for the log.
    pub(crate) fn log(&mut self, log: Log) {
        self.out.push(Output::Log(Box::new(log)));
    }

    /// Counts `count` things that a bound has cost, and says so.
    pub(crate) fn dropped(&mut self, what: &'static str, limit: usize, count: u64) {
        if self.queues.drops.add(what, count, self.now) {
            self.log(Log::Dropped(what, limit));
        }
    }

    /// What both ends of a packet must share.
    pub(crate) fn envelope(&self) -> Envelope<'_> {
        Envelope { keyring: self.keyring, label: &self.config.label }
    }

    /// A nonce for the next packet or frame; without keys none is drawn.
    pub(crate) fn nonce(&mut self) -> [u8; 12] {
        let mut nonce = [0; 12];
        if !self.keyring.is_empty() {
            self.rng.fill(Purpose::Nonce, &mut nonce);
            self.keyring.count_sealed();
            if self.keyring.sealed().is_multiple_of(BUDGET_LOOKS) {
                let worn = self.keyring.take_worn(self.members());
                worn.into_iter().for_each(|percent| self.log(Log::KeyWorn(percent)));
            }
        }
        nonce
    }

    /// Our coordinate, unless coordinates are off.
    pub(crate) fn coordinate(&self) -> Option<Coordinate> {
        self.config.serf.coordinates.then(|| *self.coordinates.own())
    }

    /// How many members are known, as the formulas count them.
    pub(crate) const fn members(&self) -> u64 {
        self.table.known() as u64
    }

    /// The encoding that is spoken.
    pub(crate) fn spoken(&self) -> Encoding {
        self.queues.spoken(self.config.spoken(self.table), self.now)
    }

    /// The encoding for those of whom nothing sure is known: who is asked to let us join, who is gone, and whoever must
    /// answer even if what we know of it is old.
    pub(crate) const fn opening(&self) -> Encoding {
        match self.config.wire {
            Wire::Native => Encoding::Native,
            Wire::Auto | Wire::Memberlist => Encoding::Memberlist,
        }
    }

    /// How to write to the member in `slot`: natively only while it is alive.
    pub(crate) fn to_slot(&self, slot: Slot) -> Option<To> {
        let member = self.table.find(slot)?;
        let live = matches!(member.state(), Some(SwimState::Alive | SwimState::Suspect));
        let encoding = if live { self.spoken() } else { self.opening() };
        let crc = member.identity.versions.protocol_max() >= CRC_PROTOCOL;
        Some(To { addr: member.identity.addr.socket_addr(), encoding, crc })
    }

    /// How to write to whom a message names; if that is no member at that address, as to a stranger.
    pub(crate) fn to_named(&self, name: &Name, addr: GossipAddr) -> To {
        let slot = self.table.slot(name).filter(|&slot| {
            self.table.find(slot).is_some_and(|member| member.identity.addr.socket_addr() == addr.socket_addr())
        });
        let member = slot.and_then(|slot| self.to_slot(slot));
        member.unwrap_or_else(|| To::answer(addr.socket_addr(), self.opening()))
    }

    /// Brings what waits into the encoding that is spoken.
    fn retune(&mut self) {
        let spoken = self.spoken();
        if self.queues.encoding == spoken {
            return;
        }
        let most = self.broadcast_room(spoken);
        let lost = self.queues.recode(spoken, self.now, most);
        if lost > 0 {
            self.dropped("length of a gossiped message", most, lost);
        }
        let stranger = self.table.live_strangers().next().map(|member| member.name().clone());
        self.log(Log::Spoken(spoken, stranger));
    }

    /// Longest message that a packet of broadcasts has room for.
    fn broadcast_room(&self, encoding: Encoding) -> usize {
        let overhead = encoding.packet_overhead(self.envelope()).saturating_add(encoding.part_overhead());
        self.config.swim.packet_bytes.saturating_sub(overhead)
    }

    /// Sends `messages` in one packet, with as many broadcasts as fit where they may come along and the packet is in the
    /// encoding in which they wait.
    pub(crate) fn send(&mut self, activity: Activity, to: To, messages: &[Message], piggyback: Piggyback) {
        self.retune();
        let mut encoded = core::mem::take(&mut self.queues.scratch.encoded);
        debug_assert!(messages.len() <= 2, "a packet of our own has one or two direct messages");
        let mut first_end = 0;
        for (index, message) in messages.iter().enumerate() {
            to.encoding.encode(message, &mut encoded);
            if index == 0 {
                first_end = encoded.len();
            }
        }
        let overhead = messages.len().saturating_mul(to.encoding.part_overhead());
        let used = to.encoding.packet_overhead(self.envelope()).saturating_add(encoded.len()).saturating_add(overhead);
        self.queues.scratch.picked.clear();
        if piggyback != Piggyback::None && to.encoding == self.queues.encoding && !self.queues.is_empty() {
            self.queues.pick(self.config.swim.packet_bytes.saturating_sub(used));
        }
        let (first, rest) = encoded.split_at_checked(first_end).unwrap_or((&encoded, &[]));
        let direct: [&[u8]; 2] = [first, rest];
        let direct = direct.get(..messages.len()).unwrap_or(&direct);
        // Upstream puts a checksum before a ping that tells its target of a suspicion, and before no other direct message.
        let to = To { crc: to.crc && messages.len() > 1, ..to };
        self.queues.scratch.picked.fit(limits::PARTS_MAX.saturating_sub(direct.len()));
        let nonce = self.nonce();
        let bytes = self.seal(to, nonce, direct.iter().copied().chain(self.queues.picked()));
        self.out.push(Output::Datagram { activity, to: to.addr, bytes });
        if piggyback == Piggyback::Counted {
            self.count_picked();
        }
        self.empty(&mut encoded);
        self.queues.scratch.encoded = encoded;
    }

    /// Empties the buffer in which a message was encoded. Where there are keys it is wiped: words about them are among those
    /// messages, and the next may be shorter.
    fn empty(&self, encoded: &mut Vec<u8>) {
        if !self.keyring.is_empty() {
            encoded.fill(0);
        }
        encoded.clear();
    }

    /// Sends one packet of broadcasts alone; false if there is nothing to send. With `counts` unset it does not bring them
    /// nearer to their end.
    pub(crate) fn send_gossip(&mut self, to: To, counts: bool) -> bool {
        self.retune();
        let overhead = self.queues.encoding.packet_overhead(self.envelope());
        self.queues.scratch.picked.clear();
        self.queues.pick(self.config.swim.packet_bytes.saturating_sub(overhead));
        if self.queues.scratch.picked.is_empty() {
            return false;
        }
        self.queues.scratch.picked.fit(limits::PARTS_MAX);
        let nonce = self.nonce();
        let bytes = if to.encoding == self.queues.encoding {
            self.seal(to, nonce, self.queues.picked())
        } else {
            let parts = self.transcoded(to.encoding);
            if parts.is_empty() {
                return true;
            }
            self.seal(to, nonce, parts.iter().map(|part| &**part))
        };
        self.out.push(Output::Datagram { activity: Activity::Gossip, to: to.addr, bytes });
        if counts {
            self.count_picked();
        }
        true
    }

    /// What was picked, in another encoding than it waits in, as far as it fits: a member that is gone must hear what is
    /// said of it, in whatever form it came back.
    fn transcoded(&self, encoding: Encoding) -> Vec<Box<[u8]>> {
        let mut room = self.config.swim.packet_bytes.saturating_sub(encoding.packet_overhead(self.envelope()));
        let mut parts = Vec::new();
        for part in self.queues.picked().filter_map(|bytes| transcode(bytes, self.queues.encoding, encoding)) {
            match room.checked_sub(part.len().saturating_add(encoding.part_overhead())) {
                Some(left) => room = left,
                None => break,
            }
            parts.push(part);
        }
        parts
    }

    fn seal<'p>(&self, to: To, nonce: [u8; 12], parts: impl Iterator<Item = &'p [u8]> + Clone) -> Box<[u8]> {
        let form = PacketForm { crc: to.crc, compress: self.config.compress };
        to.encoding.seal_parts(parts, self.envelope(), nonce, form)
    }

    /// Counts a transmission of each message that was picked.
    fn count_picked(&mut self) {
        if !self.queues.scratch.picked.is_empty() {
            let limit = retransmit_limit(self.config.swim.retransmit_mult, self.members());
            self.queues.count_picked(limit);
        }
    }

    /// Queues a membership broadcast about `rumour`.
    pub(crate) fn broadcast(&mut self, rumour: Rumour, message: &Message, waiter: Option<Waiter>) {
        if rumour.kind == RumourKind::STATE {
            self.queues.swim.invalidate_range(Rumour::all(rumour.slot));
        } else {
            self.queues.swim.invalidate(&Rumour::state(rumour.slot));
        }
        self.push(rumour, message, waiter);
    }

    /// Queues a membership broadcast beside those about the same member.
    pub(crate) fn push(&mut self, rumour: Rumour, message: &Message, waiter: Option<Waiter>) {
        let Some(bytes) = self.encode_broadcast(message, &[]) else { return self.queues.swim.refuse(&rumour, waiter) };
        if !self.queues.swim.push(rumour, bytes, waiter) {
            self.dropped("broadcast queue", limits::BROADCASTS_MAX, 1);
        }
        self.arm_gossip();
    }

    /// Queues an intent; `original` are the bytes in which it came, if it is passed on.
    pub(crate) fn broadcast_intent(
        &mut self,
        name: Name,
        message: SerfMessage,
        original: &[u8],
        waiter: Option<Waiter>,
    ) {
        let Some(bytes) = self.encode_broadcast(&Message::Serf(message), original) else {
            return self.queues.intents.refuse(&name, waiter);
        };
        if !self.queues.intents.push(name, bytes, waiter) {
            self.dropped("intent queue", limits::INTENTS_QUEUED_MAX, 1);
        }
        self.watch_queue(self.queues.intents.len());
        self.arm_gossip();
    }

    /// Queues a user event or a query; `original` are the bytes in which it came, if it is passed on.
    pub(crate) fn broadcast_numbered(&mut self, message: SerfMessage, original: &[u8]) {
        let query = matches!(message, SerfMessage::Query(_));
        let Some(bytes) = self.encode_broadcast(&Message::Serf(message), original) else { return };
        let number = self.queues.next_number();
        let (queue, what) =
            if query { (&mut self.queues.queries, "query queue") } else { (&mut self.queues.events, "event queue") };
        let fits = queue.push(number, bytes, None);
        let depth = queue.len();
        if !fits {
            self.dropped(what, limits::EVENTS_QUEUED_MAX, 1);
        }
        self.watch_queue(depth);
        self.arm_gossip();
    }

    /// A message as it is gossiped; `None`: no packet has room for it. It would stay in its queue for ever, before others
    /// (gossip-wire.md 1.6); a user event of that length still travels by push/pull. The room is that of memberlist's
    /// encoding whatever is spoken. What came in it is passed on as it came: an agent of another age may know fields that
    /// we do not.
    fn encode_broadcast(&mut self, message: &Message, original: &[u8]) -> Option<Box<[u8]>> {
        self.retune();
        let most = self.broadcast_room(Encoding::Memberlist);
        let mut bytes = core::mem::take(&mut self.queues.scratch.encoded);
        if original.is_empty() {
            memberlist::encode(message, &mut bytes);
        } else {
            bytes.extend_from_slice(original);
        }
        let mut fits = bytes.len() <= most;
        if self.queues.encoding == Encoding::Native {
            self.empty(&mut bytes);
            Encoding::Native.encode(message, &mut bytes);
            fits &= bytes.len() <= self.broadcast_room(Encoding::Native);
        }
        let encoded = fits.then(|| bytes.as_slice().into());
        self.empty(&mut bytes);
        self.queues.scratch.encoded = bytes;
        if encoded.is_none() {
            self.dropped("length of a gossiped message", most, 1);
        }
        encoded
    }

    /// Measures the queues from time to time while one of them is long.
    fn watch_queue(&mut self, depth: usize) {
        if depth >= limits::QUEUE_DEPTH_WARNING {
            self.arm_if_idle(TimerKind::QueueCheck, self.now + self.config.serf.queue_check_interval);
        }
    }

    /// Hands out a record to be kept.
    pub(crate) fn persist(&mut self, record: Persist) -> PersistId {
        self.queues.persists = self.queues.persists.saturating_add(1);
        let id = PersistId(self.queues.persists);
        self.out.push(Output::Persist { id, record: Box::new(record) });
        id
    }

    /// Lets gossip rounds run while there is something to say and somebody to say it to.
    pub(crate) fn arm_gossip(&mut self) {
        let listeners = self.table.has_live_others() || !self.table.dead().is_empty();
        if !self.queues.is_empty() && listeners && self.config.swim.gossip_nodes > 0 {
            let next = self.now.next_on_grid(self.queues.gossip_phase, self.config.swim.gossip_interval);
            self.arm_if_idle(TimerKind::Gossip, next);
        }
    }
}
