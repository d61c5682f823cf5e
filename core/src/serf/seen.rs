//! What has been seen, by Lamport time: tells duplicates, and what is too old to tell (protocol.md 2.7, 2.8).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::hash::{BuildHasher, Hash};

use serde::{Deserialize, Serialize};

use crate::lamport::LamportTime;
use crate::limits;
use crate::map::HashKey;

/// The last [`limits::SEEN_TIMES`] Lamport times with what was seen at each, in the order of arrival.
///
/// Upstream's ring has a slot for each time modulo 512; keeping the window by time is the same, and in order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Seen<T> {
    /// Of the index: peers choose what is told, and must not choose its hash.
    key: HashKey,
    times: BTreeMap<LamportTime, At<T>>,
    /// What is older is not wanted.
    min: LamportTime,
    len: usize,
    bytes: usize,
    len_max: usize,
    bytes_max: usize,
}

/// What was seen at one Lamport time. Peers decide how much that is, so none of it is looked through.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct At<T> {
    items: Vec<T>,
    /// The hash of each item, with its place.
    index: BTreeSet<(u64, usize)>,
}

impl<T> At<T> {
    const fn new() -> Self {
        Self { items: Vec::new(), index: BTreeSet::new() }
    }

    /// Whether `told`, which has that hash, is here: only what has the same hash is compared with it.
    fn has<Q>(&self, hash: u64, told: &Q) -> bool
    where
        T: PartialEq<Q>,
    {
        let mut alike = self.index.range((hash, 0)..=(hash, usize::MAX));
        alike.any(|&(_, place)| self.items.get(place).is_some_and(|item| item == told))
    }

    fn push(&mut self, hash: u64, item: T) {
        self.index.insert((hash, self.items.len()));
        self.items.push(item);
    }
}

/// How much of the bound on bytes an item takes.
pub(super) trait Weight {
    fn bytes(&self) -> usize;
}

impl<T: Weight> Seen<T> {
    pub(super) const fn new(key: HashKey, len_max: usize, bytes_max: usize) -> Self {
        Self { key, times: BTreeMap::new(), min: LamportTime(0), len: 0, bytes: 0, len_max, bytes_max }
    }

    /// Whether what is stamped `ltime` is news while the clock shows `clock`; only then an item is made of it and kept.
    pub(super) fn admit<Q: Into<T> + Hash>(&mut self, clock: LamportTime, ltime: LamportTime, told: Q) -> bool
    where
        T: PartialEq<Q>,
    {
        if ltime < self.since(clock) {
            return false;
        }
        let hash = self.key.hash_one(&told);
        let at = self.times.entry(ltime).or_insert_with(At::new);
        if at.has(hash, &told) {
            return false;
        }
        let item: T = told.into();
        self.len = self.len.saturating_add(1);
        self.bytes = self.bytes.saturating_add(item.bytes());
        at.push(hash, item);
        while self.times.first_key_value().is_some_and(|(&oldest, _)| oldest < window_start(clock)) {
            self.drop_oldest();
        }
        true
    }

    /// Makes room where a bound is passed: the oldest time goes, and is not accepted again. How many items that cost.
    pub(super) fn shrink(&mut self) -> u64 {
        let before = self.len;
        while self.len > self.len_max || self.bytes > self.bytes_max {
            if let Some(oldest) = self.drop_oldest() {
                self.min = self.min.max(LamportTime(oldest.0.saturating_add(1)));
            }
        }
        before.saturating_sub(self.len) as u64
    }

    fn drop_oldest(&mut self) -> Option<LamportTime> {
        let (ltime, At { items, .. }) = self.times.pop_first()?;
        self.len = self.len.saturating_sub(items.len());
        self.bytes = items.iter().fold(self.bytes, |bytes, item| bytes.saturating_sub(item.bytes()));
        Some(ltime)
    }

    /// From now on nothing older than `min` is wanted.
    pub(super) fn raise_min(&mut self, min: LamportTime) {
        self.min = self.min.max(min);
    }

    /// The oldest time that is wanted while the clock shows `clock`.
    pub(super) fn since(&self, clock: LamportTime) -> LamportTime {
        self.min.max(window_start(clock))
    }

    /// Everything that is remembered, oldest first.
    pub(super) fn times(&self) -> impl Iterator<Item = (LamportTime, &[T])> {
        self.times.iter().map(|(&ltime, at)| (ltime, at.items.as_slice()))
    }

    /// Checks that the window agrees with itself.
    pub(super) fn check(&self, clock: LamportTime) -> Result<(), alloc::string::String> {
        let items = self.times.values().fold(0_usize, |sum, at| sum.saturating_add(at.items.len()));
        if let Some((ltime, at)) = self.times.iter().find(|(_, at)| at.items.len() != at.index.len()) {
            return Err(alloc::format!("{} of {} items of {ltime} are found", at.index.len(), at.items.len()));
        }
        if items != self.len || self.len > self.len_max || self.bytes > self.bytes_max {
            return Err(alloc::format!(
                "{items} items are remembered, {} of {} bytes are counted",
                self.len,
                self.bytes
            ));
        }
        match self.times.last_key_value() {
            Some((&last, _)) if last >= clock && clock.0 < u64::MAX => {
                Err(alloc::format!("an item of {last} is remembered while the clock shows {clock}"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

const fn window_start(clock: LamportTime) -> LamportTime {
    LamportTime(clock.0.saturating_sub(limits::SEEN_TIMES))
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;
    use core::hash::Hasher;

    use super::*;

    /// Something that was told, and how often it was compared.
    struct Told<'a> {
        number: u32,
        /// What is hashed of it.
        hashed: u32,
        compared: &'a Cell<usize>,
    }

    #[derive(Clone, Debug, Serialize, Deserialize)]
    struct Item(u32);

    impl Weight for Item {
        fn bytes(&self) -> usize {
            4
        }
    }

    impl Hash for Told<'_> {
        fn hash<H: Hasher>(&self, state: &mut H) {
            state.write_u32(self.hashed);
        }
    }

    impl From<Told<'_>> for Item {
        fn from(told: Told<'_>) -> Self {
            Self(told.number)
        }
    }

    impl PartialEq<Told<'_>> for Item {
        fn eq(&self, told: &Told<'_>) -> bool {
            told.compared.set(told.compared.get() + 1);
            self.0 == told.number
        }
    }

    const AT: LamportTime = LamportTime(5);
    const CLOCK: LamportTime = LamportTime(6);

    #[test]
    fn a_repeated_item_is_compared_with_itself_alone_however_many_there_are_at_its_time() {
        let compared = Cell::new(0);
        let told = |number| Told { number, hashed: number, compared: &compared };
        let mut seen: Seen<Item> = Seen::new(HashKey(1, 2), limits::EVENTS_SEEN_MAX, usize::MAX);
        let most = 8_000;
        for number in 0..most {
            assert!(seen.admit(CLOCK, AT, told(number)));
        }
        assert_eq!(compared.get(), 0, "nothing that is news was like anything before it");
        for _ in 0..100 {
            assert!(!seen.admit(CLOCK, AT, told(most - 1)));
        }
        assert_eq!(compared.get(), 100);
        let numbers: Vec<u32> = seen.times().flat_map(|(_, items)| items.iter().map(|item| item.0)).collect();
        assert!(numbers.iter().copied().eq(0..most), "in the order of arrival");
    }

    #[test]
    fn items_of_one_hash_are_told_apart_and_a_restored_window_knows_them() {
        let compared = Cell::new(0);
        let told = |number| Told { number, hashed: 7, compared: &compared };
        let mut seen: Seen<Item> = Seen::new(HashKey(1, 2), 8, usize::MAX);
        assert!((0..4).all(|number| seen.admit(CLOCK, AT, told(number))));
        let bytes = postcard::to_allocvec(&seen).expect("encodes");
        let mut seen: Seen<Item> = postcard::from_bytes(&bytes).expect("decodes");
        assert!((0..4).all(|number| !seen.admit(CLOCK, AT, told(number))));
        assert!(seen.admit(CLOCK, AT, told(4)));
        seen.check(CLOCK).expect("agrees with itself");
    }

    #[test]
    fn what_is_forgotten_is_gone_from_the_index_too() {
        let compared = Cell::new(0);
        let told = |number| Told { number, hashed: number, compared: &compared };
        let mut seen: Seen<Item> = Seen::new(HashKey(1, 2), 4, usize::MAX);
        for number in 0..4 {
            seen.admit(CLOCK, AT, told(number));
        }
        assert!(seen.admit(CLOCK, LamportTime(4), told(0)));
        assert_eq!((seen.shrink(), seen.times.values().map(|at| at.index.len()).sum()), (1, 4));
        seen.check(CLOCK).expect("agrees with itself");
        assert!(!seen.admit(CLOCK, LamportTime(4), told(0)), "older than all that is remembered");
    }
}
