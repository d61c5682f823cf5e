//! The one place that reads clocks.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use villein_core::Time;

/// The monotonic clock, counted from the agent's start. It stands still while the machine is suspended.
#[derive(Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock whose origin is now.
    #[expect(clippy::disallowed_methods, reason = "this is the place")]
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// Now, since the origin.
    pub(crate) fn now(&self) -> Time {
        Time::ZERO + self.origin.elapsed()
    }

    /// How long the machine has been suspended since it was started. A change means that time has passed which the
    /// monotonic clock did not count.
    pub(crate) fn suspended() -> Duration {
        let [boot, mono] = [ClockId::Boottime, ClockId::Monotonic].map(|id| {
            let time = clock_gettime(id);
            Duration::new(
                u64::try_from(time.tv_sec).unwrap_or_default(),
                u32::try_from(time.tv_nsec).unwrap_or_default(),
            )
        });
        boot.saturating_sub(mono)
    }

    /// Nanoseconds since 1970, for measurements and the head of a recording.
    #[expect(clippy::disallowed_methods, reason = "this is the place")]
    pub(crate) fn wall_nanos() -> i128 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i128::try_from(since.as_nanos()).unwrap_or(i128::MAX)
    }

    /// Seconds since 1970, for log lines only.
    #[expect(clippy::disallowed_methods, reason = "this is the place")]
    pub(crate) fn wall() -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    }
}
