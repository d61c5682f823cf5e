//! Values added up.

use std::fmt;

use villein_core::Time;

use crate::local_time::Zone;

/// Count, sum and spread of values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aggregate {
    count: u32,
    sum: f64,
    squares: f64,
    min: f64,
    max: f64,
    updated: Time,
}

impl Aggregate {
    pub(crate) const NONE: Self =
        Self { count: 0, sum: 0.0, squares: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY, updated: Time::ZERO };

    pub(crate) fn add(&mut self, now: Time, value: f64) {
        self.count = self.count.saturating_add(1);
        self.sum += value;
        self.squares += value * value;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.updated = now;
    }

    pub(crate) const fn is_used(&self) -> bool {
        self.count > 0
    }

    pub(crate) const fn sum(&self) -> f64 {
        self.sum
    }

    /// Of a sample, as in go-metrics.
    fn deviation(&self) -> f64 {
        let count = f64::from(self.count);
        let divisor = count * (count - 1.0);
        if divisor > 0.0 { ((count * self.squares - self.sum * self.sum).max(0.0) / divisor).sqrt() } else { 0.0 }
    }

    /// As go-metrics shows it; `origin`: nanoseconds from 1970 to the origin of time.
    pub(crate) fn shown(&self, origin: i128) -> String {
        let deviation = self.deviation();
        let mean = self.sum / f64::from(self.count);
        let spread = if deviation > 0.0 {
            format!(" Min: {:.3} Mean: {mean:.3} Max: {:.3} Stddev: {deviation:.3}", self.min, self.max)
        } else {
            String::new()
        };
        let Self { count, sum, updated, .. } = self;
        format!("Count: {count}{spread} Sum: {sum:.3} LastUpdated: {}", GoTime { origin, time: *updated })
    }
}

/// A time as Go's `Time.String` shows one that was read from both clocks, in UTC.
struct GoTime {
    origin: i128,
    time: Time,
}

impl fmt::Display for GoTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.origin + i128::from(self.time.as_nanos());
        let second = i64::try_from(nanos.div_euclid(1_000_000_000)).unwrap_or(i64::MAX);
        write!(f, "{}", Zone::default().stamp(second).dashed())?;
        let fraction = format!("{:09}", nanos.rem_euclid(1_000_000_000));
        match fraction.trim_end_matches('0') {
            "" => {}
            digits => write!(f, ".{digits}")?,
        }
        let since = self.time.since(Time::ZERO);
        write!(f, " +0000 UTC m=+{}.{:09}", since.as_secs(), since.subsec_nanos())
    }
}
