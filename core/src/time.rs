//! The core's own time: nanoseconds since an origin that the driver picks.

use core::fmt;
use core::ops::Add;
use core::time::Duration;

use serde::{Deserialize, Serialize};

/// A point on the driver's monotonic clock, in nanoseconds since an origin of its choice.
///
/// Arithmetic is total: adding saturates at the far end, a difference saturates at zero. There is no
/// subtraction operator, because a time before the origin has no meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Time(u64);

impl Time {
    /// The driver's origin.
    pub const ZERO: Self = Self(0);
    /// The end of time; a deadline here never comes.
    pub const MAX: Self = Self(u64::MAX);

    /// Makes a time from nanoseconds since the origin.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Makes a time from milliseconds since the origin; saturates.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The nanosecond after this one.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The nanosecond before this one; the origin has none.
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// The first point after `self` on the grid `phase + k * interval`.
    ///
    /// A grid keeps a periodic activity in step although its timer does not exist while there is nothing to do.
    pub fn next_on_grid(self, phase: Self, interval: Duration) -> Self {
        if self < phase {
            return phase;
        }
        let step = nanos(interval).max(1);
        let past = self.0.saturating_sub(phase.0).checked_rem(step).unwrap_or_default();
        Self(self.0.saturating_add(step.saturating_sub(past)))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }
}

/// Seconds with milliseconds, such as `12.340s`.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0 / 1_000_000;
        write!(f, "{}.{:03}s", millis / 1_000, millis % 1_000)
    }
}

/// A duration in whole nanoseconds; saturates at 584 years.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// `duration * numerator / denominator` in whole nanoseconds, rounded down; a zero denominator counts as one.
pub fn scaled(duration: Duration, numerator: u64, denominator: u64) -> Duration {
    let product = duration.as_nanos().saturating_mul(u128::from(numerator));
    let quotient = product.checked_div(u128::from(denominator)).unwrap_or(product);
    Duration::from_nanos(u64::try_from(quotient).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn arithmetic_is_total() {
        assert_eq!(Time::MAX + Duration::from_secs(1), Time::MAX);
        assert_eq!(Time::ZERO.since(Time::from_millis(5)), Duration::ZERO);
        assert_eq!(scaled(Duration::MAX, u64::MAX, 0), Duration::from_nanos(u64::MAX));
    }

    #[test]
    fn the_grid_point_is_always_later() {
        let phase = Time::from_millis(300);
        let second = Duration::from_secs(1);
        for (now, want) in [(0, 300), (299, 300), (300, 1300), (301, 1300), (1299, 1300), (1300, 2300)] {
            assert_eq!(Time::from_millis(now).next_on_grid(phase, second), Time::from_millis(want), "from {now} ms");
        }
    }

    #[test]
    fn people_read_seconds() {
        assert_eq!(format!("{}", Time::from_nanos(12_340_999_999)), "12.340s");
    }
}
