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
    transmits: u32,
    length: Reverse<u32>,
    age: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Item<K> {
    bytes: Box<[u8]>,
    subject: K,
    waiter: Option<Waiter>,
}

/// A queue of encoded messages, each about one subject; a new one about a subject replaces the old one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Broadcasts<K: Ord> {
    preference: Preference,
    items: BTreeMap<Rank, Item<K>>,
    subjects: BTreeMap<K, Rank>,
    queued: u64,
    bound: usize,
    /// Waiters whose broadcast has been sent often enough, replaced or dropped.
    finished: Vec<Waiter>,
}

impl<K: Ord + Clone> Broadcasts<K> {
    /// Makes an empty queue of at most `bound` items.
    pub const fn new(preference: Preference, bound: usize) -> Self {
        Self { preference, items: BTreeMap::new(), subjects: BTreeMap::new(), queued: 0, bound, finished: Vec::new() }
    }

    /// Queues a message; at the bound the item of the lowest priority goes. False if one had to.
    pub fn push(&mut self, subject: K, bytes: Box<[u8]>, waiter: Option<Waiter>) -> bool {
        self.invalidate(&subject);
        self.queued = self.queued.saturating_add(1);
        let age = match self.preference {
            Preference::Longest => u64::MAX.saturating_sub(self.queued),
            Preference::Oldest => self.queued,
        };
        let rank = Rank { transmits: 0, length: self.length(&bytes), age };
        self.subjects.insert(subject.clone(), rank);
        self.items.insert(rank, Item { bytes, subject, waiter });
        let fits = self.items.len() <= self.bound;
        if !fits && let Some((_, item)) = self.items.pop_last() {
            self.subjects.remove(&item.subject);
            self.finish(item);
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
        if let Some(item) = self.subjects.remove(subject).and_then(|rank| self.items.remove(&rank)) {
            self.finish(item);
        }
    }

    /// Removes the messages about every subject in `range`.
    pub fn invalidate_range(&mut self, range: impl core::ops::RangeBounds<K>) {
        let subjects: Vec<K> = self.subjects.range(range).map(|(subject, _)| subject.clone()).collect();
        for subject in &subjects {
            self.invalidate(subject);
        }
    }

    /// Whether a message about `subject` waits.
    pub fn contains(&self, subject: &K) -> bool {
        self.subjects.contains_key(subject)
    }

    /// Chooses messages that fit into `room`, each costing `overhead` more than its length, best first; appends
    /// their ranks to `picked` and skips those that stand there already. Returns the room that is left.
    ///
    /// Among the oldest the search for one that fits ends after [`limits::MISFITS_MAX`] that do not: where every message
    /// fits into an empty packet, the oldest one's turn comes.
    pub fn pick(&self, mut room: usize, overhead: usize, picked: &mut Vec<Rank>) -> usize {
        let before = picked.len();
        let mut misfits = 0_usize;
        let mut items = self.items.range(..);
        while room > overhead
            && let Some((&rank, item)) = items.next()
        {
            let cost = item.bytes.len().saturating_add(overhead);
            if cost <= room {
                if !picked.iter().take(before).any(|&other| other == rank) {
                    room = room.saturating_sub(cost);
                    picked.push(rank);
                }
                continue;
            }
            match self.preference {
                Preference::Longest => {
                    // Nothing longer than the room can follow in this tier: go to the first that may fit.
                    let fits = room.saturating_sub(overhead);
                    let length = Reverse(u32::try_from(fits).unwrap_or(u32::MAX));
                    items = self.items.range(Rank { transmits: rank.transmits, length, age: 0 }..);
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
    pub fn bytes(&self, rank: Rank) -> &[u8] {
        self.items.get(&rank).map_or(&[], |item| &item.bytes)
    }

    /// Counts one transmission of each picked message; those that reach `limit` are finished.
    pub fn sent(&mut self, picked: &[Rank], limit: u32) {
        for rank in picked {
            let Some(item) = self.items.remove(rank) else { continue };
            let transmits = rank.transmits.saturating_add(1);
            if transmits >= limit {
                self.subjects.remove(&item.subject);
                self.finish(item);
            } else {
                let rank = Rank { transmits, ..*rank };
                self.subjects.insert(item.subject.clone(), rank);
                self.items.insert(rank, item);
            }
        }
    }

    fn finish(&mut self, item: Item<K>) {
        self.finished.extend(item.waiter);
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
        let mut lost = 0_u64;
        for (rank, mut item) in core::mem::take(&mut self.items) {
            self.subjects.remove(&item.subject);
            let Some(bytes) = encode(&item.bytes) else {
                lost = lost.saturating_add(1);
                self.finish(item);
                continue;
            };
            item.bytes = bytes;
            let rank = Rank { length: self.length(&item.bytes), ..rank };
            self.subjects.insert(item.subject.clone(), rank);
            self.items.insert(rank, item);
        }
        lost
    }

    fn length(&self, bytes: &[u8]) -> Reverse<u32> {
        match self.preference {
            Preference::Longest => Reverse(u32::try_from(bytes.len()).unwrap_or(u32::MAX)),
            Preference::Oldest => Reverse(0),
        }
    }

    /// How many messages wait.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
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
        let bytes = picked.iter().map(|&rank| queue.bytes(rank).to_vec()).collect();
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
        assert_eq!(picked.iter().map(|&rank| queue.bytes(rank).len()).collect::<Vec<_>>(), [10, 5]);
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
