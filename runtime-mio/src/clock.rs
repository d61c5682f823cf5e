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

    /// What the clock that counts suspension shows ahead of ours at `now`, which was read just before: it changes when time
    /// has passed that ours did not count.
    pub(crate) fn suspended(&self, now: Time) -> Duration {
        let boot = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(boot.tv_sec).unwrap_or_default();
        let nanos = u32::try_from(boot.tv_nsec).unwrap_or_default();
        Duration::new(seconds, nanos).saturating_sub(now.since(Time::ZERO))
    }

    /// Nanoseconds since 1970, for measurements and the head of a recording.
    #[expect(clippy::disallowed_methods, reason = "this is the place")]
    pub(crate) fn wall_nanos() -> i128 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i128::try_from(since.as_nanos()).unwrap_or(i128::MAX)
    }

    /// Seconds since 1970, for log lines only: as of the kernel's last tick, which costs less to ask for.
    pub(crate) fn wall() -> i64 {
        clock_gettime(ClockId::RealtimeCoarse).tv_sec
    }
}
