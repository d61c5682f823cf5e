//! Transmit-limited broadcast queues (protocol.md 1.9).

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Reverse;

use serde::{Deserialize, Serialize};

use crate::limits;

/// Who waits for a broadcast to be finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Waiter {
    /// The leave intent of a graceful leave.
    LeaveIntent,
    /// The word that ends a graceful leave.
    LeaveDead,
    /// A command, by the number of its wait.
    Command(u64),
}

/// What a queue prefers among broadcasts that were sent equally often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Preference {
    /// The longest, then the newest: membership.
    Longest,
    /// The oldest: the layer above, whose messages must not starve (U-16).
    Oldest,
}

/// Priority of an item: fewest transmits, then what the queue prefers. Ids are never used again (U-07).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Rank {
    transmits: u16,
    length: Reverse<u16>,
    age: u64,
}

/// Places for messages that an empty queue keeps.
const PLACES_KEPT: usize = 32;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Item<K> {
    rank: Rank,
    bytes: Box<[u8]>,
    subject: K,
}

const _: () = assert!(size_of::<Option<Item<u64>>>() <= 40, "a large cluster with much to say has thousands of them");

/// A message that was chosen for a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick {
    rank: Rank,
    place: u32,
}

/// A queue of encoded messages, each about one subject; a new one about a subject replaces the old one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Broadcasts<K: Ord> {
    preference: Preference,
    /// The places of the messages, by priority. What moves when one is sent is this, and the messages stay.
    order: BTreeMap<Rank, u32>,
    items: Vec<Option<Item<K>>>,
    /// Places without a message.
    free: Vec<u32>,
    subjects: BTreeMap<K, u32>,
    /// Who waits for a message, by its place.
    waiting: BTreeMap<u32, Waiter>,
    queued: u64,
    bound: usize,
    /// Waiters whose broadcast has been sent often enough, replaced or dropped.
    finished: Vec<Waiter>,
}

impl<K: Ord + Clone> Broadcasts<K> {
    /// Makes an empty queue of at most `bound` items.
    pub const fn new(preference: Preference, bound: usize) -> Self {
        Self {
            preference,
            order: BTreeMap::new(),
            items: Vec::new(),
            free: Vec::new(),
            subjects: BTreeMap::new(),
            waiting: BTreeMap::new(),
            queued: 0,
            bound,
            finished: Vec::new(),
        }
    }

    /// Queues a message; at the bound the item of the lowest priority goes. False if one had to.
    pub fn push(&mut self, subject: K, bytes: Box<[u8]>, waiter: Option<Waiter>) -> bool {
        self.invalidate(&subject);
        self.queued = self.queued.saturating_add(1);
        let age = match self.preference {
            Preference::Longest => u64::MAX.saturating_sub(self.queued),
            Preference::Oldest => self.queued,
        };
        let rank = Rank { transmits: 0, length: length(self.preference, &bytes), age };
        let place = self.free.pop().unwrap_or_else(|| {
            self.items.push(None);
            u32::try_from(self.items.len().saturating_sub(1)).unwrap_or(u32::MAX)
        });
        self.subjects.insert(subject.clone(), place);
        self.order.insert(rank, place);
        if let Some(free) = self.items.get_mut(place as usize) {
            *free = Some(Item { rank, bytes, subject });
        }
        if let Some(waiter) = waiter {
            self.waiting.insert(place, waiter);
        }
        let fits = self.order.len() <= self.bound;
        if !fits && let Some((_, &last)) = self.order.last_key_value() {
            self.remove(last);
        }
        fits
    }

    /// Takes note of a message that can never be sent: what it says about `subject` ends the message that waits, and who
    /// waits for it waits no longer.
    pub fn refuse(&mut self, subject: &K, waiter: Option<Waiter>) {
        self.invalidate(subject);
        self.finished.extend(waiter);
    }

    /// Removes the message about `subject`.
    pub fn invalidate(&mut self, subject: &K) {
        if let Some(&place) = self.subjects.get(subject) {
            self.remove(place);
        }
    }

    /// Removes the messages about every subject in `range`.
    pub fn invalidate_range(&mut self, range: impl core::ops::RangeBounds<K>) {
        let places: Vec<u32> = self.subjects.range(range).map(|(_, &place)| place).collect();
        for place in places {
            self.remove(place);
        }
    }

    /// Removes a message; who waits for it waits no longer.
    fn remove(&mut self, place: u32) {
        let Some(item) = self.items.get_mut(place as usize).and_then(Option::take) else { return };
        self.free.push(place);
        self.order.remove(&item.rank);
        self.subjects.remove(&item.subject);
        self.finished.extend(self.waiting.remove(&place));
        // A burst that is over keeps no memory.
        if self.order.is_empty() && self.items.len() > PLACES_KEPT {
            (self.items, self.free) = (Vec::new(), Vec::new());
        }
    }

    /// Whether a message about `subject` waits.
    pub fn contains(&self, subject: &K) -> bool {
        self.subjects.contains_key(subject)
    }

    /// Chooses messages that fit into `room`, each costing `overhead` more than its length, best first; appends
    /// them to `picked` and skips those that stand there already. Returns the room that is left.
    ///
    /// Among the oldest the search for one that fits ends after [`limits::MISFITS_MAX`] that do not: where every message
    /// fits into an empty packet, the oldest one's turn comes.
    pub fn pick(&self, mut room: usize, overhead: usize, picked: &mut Vec<Pick>) -> usize {
        let before = picked.len();
        let mut misfits = 0_usize;
        let mut order = self.order.range(..);
        while room > overhead
            && let Some((&rank, &place)) = order.next()
        {
            let pick = Pick { rank, place };
            let cost = self.bytes(pick).len().saturating_add(overhead);
            if cost <= room {
                if !picked.iter().take(before).any(|&other| other == pick) {
                    room = room.saturating_sub(cost);
                    picked.push(pick);
                }
                continue;
            }
            match self.preference {
                Preference::Longest => {
                    // Nothing longer than the room can follow in this tier: go to the first that may fit.
                    let fits = room.saturating_sub(overhead);
                    let length = Reverse(u16::try_from(fits).unwrap_or(u16::MAX));
                    order = self.order.range(Rank { transmits: rank.transmits, length, age: 0 }..);
                }
                Preference::Oldest => {
                    misfits = misfits.saturating_add(1);
                    if misfits >= limits::MISFITS_MAX {
                        break;
                    }
                }
            }
        }
        room
    }

    /// The bytes of a picked message.
    pub fn bytes(&self, pick: Pick) -> &[u8] {
        self.items.get(pick.place as usize).and_then(Option::as_ref).map_or(&[], |item| &item.bytes)
    }

    /// Counts one transmission of each picked message; those that reach `limit` are finished.
    pub fn sent(&mut self, picked: &[Pick], limit: u32) {
        for &Pick { rank, place } in picked {
            let item = self.items.get_mut(place as usize).and_then(Option::as_mut);
            let Some(item) = item.filter(|item| item.rank == rank) else { continue };
            let transmits = rank.transmits.saturating_add(1);
            if u32::from(transmits) >= limit {
                self.remove(place);
            } else {
                item.rank = Rank { transmits, ..rank };
                self.order.remove(&rank);
                self.order.insert(item.rank, place);
            }
        }
    }

    /// Whether nobody waits for a broadcast that is over.
    pub const fn is_settled(&self) -> bool {
        self.finished.is_empty()
    }

    /// Takes the waiters whose broadcast is over.
    pub fn take_finished(&mut self) -> Vec<Waiter> {
        core::mem::take(&mut self.finished)
    }

    /// Encodes every message anew: each keeps its transmissions and its age. One for which `encode` gives nothing is
    /// dropped; how many those are.
    pub fn recode(&mut self, mut encode: impl FnMut(&[u8]) -> Option<Box<[u8]>>) -> u64 {
        let mut lost = Vec::new();
        for place in core::mem::take(&mut self.order).into_values() {
            let Some(item) = self.items.get_mut(place as usize).and_then(Option::as_mut) else { continue };
            if let Some(bytes) = encode(&item.bytes) {
                item.rank = Rank { length: length(self.preference, &bytes), ..item.rank };
                item.bytes = bytes;
                self.order.insert(item.rank, place);
            } else {
                lost.push(place);
            }
        }
        lost.iter().for_each(|&place| self.remove(place));
        lost.len() as u64
    }

    /// How many messages wait.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

/// What of a message's length counts for its rank.
fn length(preference: Preference, bytes: &[u8]) -> Reverse<u16> {
    match preference {
        Preference::Longest => Reverse(u16::try_from(bytes.len()).unwrap_or(u16::MAX)),
        Preference::Oldest => Reverse(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn queue() -> Broadcasts<u32> {
        Broadcasts::new(Preference::Longest, 8)
    }

    fn fill<K: Ord + Clone>(queue: &mut Broadcasts<K>, room: usize, limit: u32) -> Vec<Vec<u8>> {
        let mut picked = Vec::new();
        queue.pick(room, 2, &mut picked);
        let bytes = picked.iter().map(|&pick| queue.bytes(pick).to_vec()).collect();
        queue.sent(&picked, limit);
        bytes
    }

    #[test]
    fn the_longest_that_fits_goes_first_and_the_newest_of_a_length() {
        let mut queue = queue();
        queue.push(1, vec![1; 10].into(), None);
        queue.push(2, vec![2; 30].into(), None);
        queue.push(3, vec![3; 10].into(), None);
        assert_eq!(fill(&mut queue, 26, 9), [vec![3; 10], vec![1; 10]]);
        assert_eq!(fill(&mut queue, 44, 9), [vec![2; 30], vec![3; 10]], "fewest transmits come first");
    }

    #[test]
    fn a_message_is_sent_up_to_the_limit_and_then_finished() {
        let mut queue = queue();
        queue.push(1, vec![1; 10].into(), Some(Waiter::LeaveIntent));
        assert_eq!(fill(&mut queue, 100, 2).len(), 1);
        assert!(queue.take_finished().is_empty());
        assert_eq!(fill(&mut queue, 100, 2).len(), 1);
        assert_eq!(queue.take_finished(), [Waiter::LeaveIntent]);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_new_word_about_a_subject_replaces_the_old_one_and_finishes_it() {
        let mut queue = queue();
        queue.push(1, vec![1; 10].into(), Some(Waiter::Command(4)));
        queue.push(1, vec![2; 10].into(), None);
        assert_eq!(queue.take_finished(), [Waiter::Command(4)]);
        assert_eq!(fill(&mut queue, 100, 9), [vec![2; 10]]);
    }

    #[test]
    fn the_bound_costs_the_item_of_lowest_priority() {
        let mut queue = queue();
        for subject in 0..8 {
            assert!(queue.push(subject, vec![0; 10].into(), None), "{subject} fits");
        }
        assert!(!queue.push(8, vec![0; 10].into(), None), "one has to go");
        assert_eq!(queue.len(), 8);
        assert!(!queue.contains(&0) && queue.contains(&8), "the oldest goes");
    }

    #[test]
    fn the_layer_above_sends_its_oldest_first() {
        let mut queue = Broadcasts::new(Preference::Oldest, 8);
        for (subject, length) in [(1, 10), (2, 30), (3, 5)] {
            queue.push(subject, vec![0; length].into(), None);
        }
        let mut picked = Vec::new();
        queue.pick(20, 2, &mut picked);
        assert_eq!(picked.iter().map(|&pick| queue.bytes(pick).len()).collect::<Vec<_>>(), [10, 5]);
    }

    #[test]
    fn one_more_message_that_does_not_fit_than_the_bound_ends_the_search() {
        for (misfits, found) in [(limits::MISFITS_MAX - 1, 1), (limits::MISFITS_MAX, 0)] {
            let mut queue = Broadcasts::new(Preference::Oldest, limits::EVENTS_QUEUED_MAX);
            for subject in 0..misfits {
                queue.push(subject, vec![0; 30].into(), None);
            }
            queue.push(misfits, vec![0; 5].into(), None);
            let mut picked = Vec::new();
            queue.pick(20, 2, &mut picked);
            assert_eq!(picked.len(), found, "behind {misfits}");
            assert_eq!(fill(&mut queue, 32, 9), [vec![0; 30]], "the oldest has its turn where there is room");
        }
    }

    #[test]
    fn who_waits_for_a_message_that_cannot_be_sent_waits_no_longer() {
        let mut queue = queue();
        queue.push(1, vec![1; 10].into(), Some(Waiter::Command(4)));
        queue.refuse(&1, Some(Waiter::Command(5)));
        assert_eq!(queue.take_finished(), [Waiter::Command(4), Waiter::Command(5)]);
        assert!(queue.is_empty());
    }

    #[test]
    fn what_was_picked_is_not_picked_again_for_the_same_packet() {
        let mut queue = queue();
        queue.push(1, vec![1; 10].into(), None);
        let mut picked = Vec::new();
        queue.pick(100, 2, &mut picked);
        queue.pick(100, 2, &mut picked);
        assert_eq!(picked.len(), 1);
    }
}
