//! What has been seen, by Lamport time: tells duplicates, and what is too old to tell (protocol.md 2.7, 2.8).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::lamport::LamportTime;
use crate::limits;

/// The last [`limits::SEEN_TIMES`] Lamport times with what was seen at each, in the order of arrival.
///
/// Upstream's ring has a slot for each time modulo 512; keeping the window by time is the same, and in order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Seen<T> {
    times: BTreeMap<LamportTime, Vec<T>>,
    /// What is older is not wanted.
    min: LamportTime,
    len: usize,
    bytes: usize,
    len_max: usize,
    bytes_max: usize,
}

/// How much of the bound on bytes an item takes.
pub(super) trait Weight {
    fn bytes(&self) -> usize;
}

impl<T: Weight> Seen<T> {
    pub(super) const fn new(len_max: usize, bytes_max: usize) -> Self {
        Self { times: BTreeMap::new(), min: LamportTime(0), len: 0, bytes: 0, len_max, bytes_max }
    }

    /// Whether what is stamped `ltime` is news while the clock shows `clock`; only then an item is made of it and kept.
    pub(super) fn admit<Q: Into<T>>(&mut self, clock: LamportTime, ltime: LamportTime, told: Q) -> bool
    where
        T: PartialEq<Q>,
    {
        if ltime < self.since(clock) {
            return false;
        }
        let at = self.times.entry(ltime).or_default();
        if at.iter().any(|item| *item == told) {
            return false;
        }
        let item: T = told.into();
        self.len = self.len.saturating_add(1);
        self.bytes = self.bytes.saturating_add(item.bytes());
        at.push(item);
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
        let (ltime, items) = self.times.pop_first()?;
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
        self.times.iter().map(|(&ltime, items)| (ltime, items.as_slice()))
    }

    /// Checks that the window agrees with itself.
    pub(super) fn check(&self, clock: LamportTime) -> Result<(), alloc::string::String> {
        let items = self.times.values().fold(0_usize, |sum, items| sum.saturating_add(items.len()));
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
