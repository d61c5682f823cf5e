//! The broadcast queues of both layers, and what goes from them into a packet.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::broadcasts::{Broadcasts, Pick, Preference, Waiter};
use crate::limits;
use crate::time::Time;
use crate::types::{Name, Slot};
use crate::wire::Encoding;

/// What a membership broadcast is about; ordered so that all about one member stand together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Rumour {
    pub(crate) slot: Slot,
    pub(crate) kind: RumourKind,
}

/// Which word about a member, in one number because there may be thousands: its latest state is 0, a suspicion by somebody
/// unknown is 1, one by the accuser in a slot (U-11) its number and 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct RumourKind(u32);

const _: () = assert!(limits::MEMBERS_MAX < u32::MAX as usize - 2, "every accuser has a number");

impl RumourKind {
    pub(crate) const STATE: Self = Self(0);

    /// A suspicion by the accuser in this slot; `None`: by somebody unknown.
    pub(crate) fn suspicion(accuser: Option<Slot>) -> Self {
        Self(accuser.map_or(1, |slot| slot.0.saturating_add(2)))
    }
}

impl Rumour {
    pub(crate) const fn state(slot: Slot) -> Self {
        Self { slot, kind: RumourKind::STATE }
    }

    /// Everything about the member in `slot`.
    pub(crate) const fn all(slot: Slot) -> core::ops::RangeInclusive<Self> {
        Self::state(slot)..=Self { slot, kind: RumourKind(u32::MAX) }
    }
}

/// The broadcast queues of both layers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Queues {
    pub(crate) swim: Broadcasts<Rumour>,
    /// Serf's intents: one per name, the newest (U-23).
    pub(crate) intents: Broadcasts<Name>,
    /// Queries, each a subject of its own.
    pub(crate) queries: Broadcasts<u64>,
    /// User events, each a subject of its own.
    pub(crate) events: Broadcasts<u64>,
    /// How many queries and events have been queued.
    numbered: u64,
    /// How many records have been handed out to be kept.
    pub(crate) persists: u64,
    /// The encoding of what waits.
    pub(crate) encoding: Encoding,
    /// Until then what waits is not brought into the native encoding again.
    native_again: Time,
    /// Phase of the gossip rounds, drawn at the start.
    pub(crate) gossip_phase: Time,
    pub(crate) drops: Drops,
    #[serde(skip)]
    pub(crate) scratch: Scratch,
}

/// What the bounds of `limits.rs` have cost, by what was dropped; at most one log line a second for each.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Drops(BTreeMap<Cow<'static, str>, Drop>);

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Drop {
    count: u64,
    logged_at: Option<Time>,
}

const DROP_LOG_INTERVAL: Duration = Duration::from_secs(1);

impl Drops {
    /// Counts what was dropped; whether it is time for a line in the log.
    pub(crate) fn add(&mut self, what: &'static str, count: u64, now: Time) -> bool {
        let drop = self.0.entry(Cow::Borrowed(what)).or_default();
        drop.count = drop.count.saturating_add(count);
        let due = drop.logged_at.is_none_or(|last| now.since(last) >= DROP_LOG_INTERVAL);
        if due {
            drop.logged_at = Some(now);
        }
        due
    }

    /// How much was dropped in all.
    pub(crate) fn total(&self) -> u64 {
        self.0.values().fold(0, |sum, drop| sum.saturating_add(drop.count))
    }
}

/// Buffers that are reused from packet to packet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) encoded: Vec<u8>,
    pub(crate) picked: Picked,
}

/// What goes into a packet, by queue.
#[derive(Clone, Debug, Default)]
pub(crate) struct Picked {
    pub(crate) swim: Vec<Pick>,
    pub(crate) intents: Vec<Pick>,
    pub(crate) queries: Vec<Pick>,
    pub(crate) events: Vec<Pick>,
}

impl Picked {
    pub(crate) fn clear(&mut self) {
        let Self { swim, intents, queries, events } = self;
        for list in [swim, intents, queries, events] {
            list.clear();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        let Self { swim, intents, queries, events } = self;
        [swim, intents, queries, events].iter().all(|list| list.is_empty())
    }

    /// Keeps at most `parts` of what was picked, with the share of the layer above among them.
    pub(crate) fn fit(&mut self, parts: usize) {
        let Self { swim, intents, queries, events } = self;
        let above = intents.len().saturating_add(queries.len()).saturating_add(events.len());
        let kept = above.min(parts / SERF_SHARE);
        swim.truncate(parts.saturating_sub(kept));
        let mut left = parts.saturating_sub(swim.len());
        for list in [intents, queries, events] {
            list.truncate(left);
            left = left.saturating_sub(list.len());
        }
    }
}

/// The share of each packet that is kept for the layer above while it has something to say: a quarter (U-16).
const SERF_SHARE: usize = 4;

impl Queues {
    pub(crate) fn new(gossip_phase: Time) -> Self {
        Self {
            swim: Broadcasts::new(Preference::Longest, limits::BROADCASTS_MAX),
            intents: Broadcasts::new(Preference::Oldest, limits::INTENTS_QUEUED_MAX),
            queries: Broadcasts::new(Preference::Oldest, limits::EVENTS_QUEUED_MAX),
            events: Broadcasts::new(Preference::Oldest, limits::EVENTS_QUEUED_MAX),
            numbered: 0,
            persists: 0,
            encoding: Encoding::default(),
            native_again: Time::ZERO,
            gossip_phase,
            drops: Drops::default(),
            scratch: Scratch::default(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.swim.is_empty() && !self.speaks_above()
    }

    /// Whether the layer above has something to say.
    fn speaks_above(&self) -> bool {
        !self.intents.is_empty() || !self.queries.is_empty() || !self.events.is_empty()
    }

    /// Whether nobody waits for a broadcast that is over.
    pub(crate) const fn is_settled(&self) -> bool {
        self.swim.is_settled() && self.intents.is_settled()
    }

    pub(crate) fn take_finished(&mut self) -> Vec<Waiter> {
        let mut finished = self.swim.take_finished();
        finished.append(&mut self.intents.take_finished());
        finished
    }

    /// Chooses what goes into `room` bytes: membership first, but for the share of the layer above.
    pub(crate) fn pick(&mut self, room: usize) {
        let reserved = if self.speaks_above() { room / SERF_SHARE } else { 0 };
        let Picked { swim, intents, queries, events } = &mut self.scratch.picked;
        let overhead = self.encoding.part_overhead();
        let left = self.swim.pick(room.saturating_sub(reserved), overhead, swim);
        let left = self.intents.pick(left.saturating_add(reserved), overhead, intents);
        let left = self.queries.pick(left, overhead, queries);
        let left = self.events.pick(left, overhead, events);
        if reserved > 0 {
            self.swim.pick(left, overhead, swim);
        }
    }

    /// The encoding that is spoken where the members of the moment call for `wanted`. Memberlist's is taken up at once,
    /// the native one [`limits::NATIVE_AGAIN_AFTER`] after the last time: a stranger that comes and goes with every word
    /// would have everything encoded anew each time.
    pub(crate) fn spoken(&self, wanted: Encoding, now: Time) -> Encoding {
        let changes = wanted == Encoding::Native && self.encoding != wanted;
        if changes && now < self.native_again { self.encoding } else { wanted }
    }

    /// Encodes everything that waits anew; how many messages that cost.
    pub(crate) fn recode(&mut self, encoding: Encoding, now: Time, most: usize) -> u64 {
        if encoding == Encoding::Native {
            self.native_again = now + limits::NATIVE_AGAIN_AFTER;
        }
        let before = core::mem::replace(&mut self.encoding, encoding);
        let mut encode = |bytes: &[u8]| transcode(bytes, before, encoding).filter(|bytes| bytes.len() <= most);
        let Self { swim, intents, queries, events, .. } = self;
        let mut lost = swim.recode(&mut encode);
        lost = lost.saturating_add(intents.recode(&mut encode));
        lost = lost.saturating_add(queries.recode(&mut encode));
        lost.saturating_add(events.recode(&mut encode))
    }

    /// The bytes of what was picked.
    pub(crate) fn picked(&self) -> impl Iterator<Item = &[u8]> + Clone {
        let Self { swim, intents, queries, events, scratch: Scratch { picked, .. }, .. } = self;
        (picked.swim.iter().map(|&pick| swim.bytes(pick)))
            .chain(picked.intents.iter().map(|&pick| intents.bytes(pick)))
            .chain(picked.queries.iter().map(|&pick| queries.bytes(pick)))
            .chain(picked.events.iter().map(|&pick| events.bytes(pick)))
    }

    /// Counts a transmission of each message that was picked; those that reach `limit` are finished.
    pub(crate) fn count_picked(&mut self, limit: u32) {
        let Self { swim, intents, queries, events, scratch: Scratch { picked, .. }, .. } = self;
        swim.sent(&picked.swim, limit);
        intents.sent(&picked.intents, limit);
        queries.sent(&picked.queries, limit);
        events.sent(&picked.events, limit);
    }

    pub(crate) fn next_number(&mut self) -> u64 {
        self.numbered = self.numbered.saturating_add(1);
        self.numbered
    }
}

/// A message in another encoding; `None` if it cannot be read, which what we queue always can.
pub(crate) fn transcode(bytes: &[u8], from: Encoding, to: Encoding) -> Option<Box<[u8]>> {
    let message = from.decode(bytes).ok()?;
    let mut bytes = Vec::new();
    to.encode(&message, &mut bytes);
    Some(bytes.into())
}
