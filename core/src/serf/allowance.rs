//! How much may be sent on a peer's say-so: so many words a second, and no more than a second's worth saved up.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::{Time, nanos};

const SECOND: Duration = Duration::from_secs(1);

/// An allowance that refills with time.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Allowance {
    per_second: u32,
    /// When it is whole again: each word puts it off by its share of a second.
    whole_at: Time,
}

impl Allowance {
    /// A whole allowance of `per_second` words.
    pub(super) const fn new(per_second: u32) -> Self {
        Self { per_second, whole_at: Time::ZERO }
    }

    /// How many words may be sent now.
    pub(super) fn left(&self, now: Time) -> usize {
        let room = SECOND.saturating_sub(self.whole_at.since(now));
        let left = nanos(room).checked_div(self.share()).unwrap_or_default();
        usize::try_from(left).unwrap_or(usize::MAX)
    }

    /// Counts words that are sent now, of those that [`Self::left`] allows.
    pub(super) fn take(&mut self, now: Time, words: usize) {
        let words = u64::try_from(words).unwrap_or(u64::MAX);
        self.whole_at = self.whole_at.max(now) + Duration::from_nanos(self.share().saturating_mul(words));
    }

    /// Nanoseconds after which one more word may be sent.
    fn share(&self) -> u64 {
        nanos(SECOND).checked_div(u64::from(self.per_second)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_refills_it_and_a_longer_wait_no_further() {
        let mut allowance = Allowance::new(4);
        let start = Time::from_millis(60_000);
        assert_eq!(allowance.left(start), 4);
        allowance.take(start, 3);
        assert_eq!(allowance.left(start), 1);
        allowance.take(start, 1);
        assert_eq!((allowance.left(start), allowance.left(Time::from_millis(60_249))), (0, 0));
        assert_eq!((allowance.left(Time::from_millis(60_250)), allowance.left(Time::from_millis(61_000))), (1, 4));
        assert_eq!(allowance.left(Time::from_millis(90_000)), 4);
    }
}
