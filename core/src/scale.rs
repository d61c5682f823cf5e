//! Sizes and intervals that grow with the cluster, in integers (protocol.md 1.3, 3.1 D-15 and D-16).

use core::time::Duration;

use crate::time::scaled;

/// `floor(1000 * log10(n))` for n of at least 1; 0 for 0.
///
/// Digit by digit: raising the fraction to the tenth power moves one decimal digit in front of the point. 60 bits
/// of fraction are enough for every n below two million (a test compares with f64).
pub fn log10_thousandths(n: u64) -> u64 {
    let Some(digits) = n.checked_ilog10() else { return 0 };
    let unit = 1_u128 << 60;
    let mut fraction =
        u128::from(n).saturating_mul(unit).checked_div(u128::from(10_u64.saturating_pow(digits))).unwrap_or(unit);
    let mut result = u64::from(digits);
    for _ in 0..3 {
        let base = fraction;
        let mut digit: u64 = 0;
        // base^10 with the powers of ten taken out as they come: each one adds one to the digit.
        for _ in 1..10 {
            fraction = mul_fixed(fraction, base);
            while fraction >= unit.saturating_mul(10) {
                fraction /= 10;
                digit = digit.saturating_add(1);
            }
        }
        result = result.saturating_mul(10).saturating_add(digit);
    }
    result
}

/// Product of two numbers below 10 with 60 bits of fraction.
const fn mul_fixed(left: u128, right: u128) -> u128 {
    // Both are below 10 * 2^60, so the product fits 128 bits.
    left.wrapping_mul(right) >> 60
}

/// Shortest suspicion: `mult * max(1, log10 n) * interval`, the logarithm cut to thousandths.
pub fn suspicion_min(mult: u32, members: u64, interval: Duration) -> Duration {
    scaled(interval, u64::from(mult).saturating_mul(log10_thousandths(members.max(1)).max(1_000)), 1_000)
}

/// How often one broadcast is sent by one node: `mult * ceil(log10(n + 1))`.
pub fn retransmit_limit(mult: u32, members: u64) -> u32 {
    mult.saturating_mul(ceil_log10(members.saturating_add(1)))
}

/// `ceil(log10 n)`; 0 for 0 and 1.
pub fn ceil_log10(n: u64) -> u32 {
    n.saturating_sub(1).checked_ilog10().map_or(0, |log| log.saturating_add(1))
}

/// Time between two periodic push/pulls: doubled, tripled… beyond 32 members.
pub fn push_pull_interval(interval: Duration, members: u64) -> Duration {
    const THRESHOLD: u64 = 32;
    if members <= THRESHOLD {
        return interval;
    }
    // ceil(log2 n - log2 32) + 1 = ceil(log2 n) - 4.
    let log = members.saturating_sub(1).checked_ilog2().unwrap_or_default().saturating_add(1);
    interval.saturating_mul(log.saturating_sub(4))
}

/// `ln(c + 1) / ln(k + 1)` in 2^-32, for c <= k <= 8: row k, column c. Rounded to nearest.
const DECAY: [[u64; 9]; 9] = include!("decay.in");

/// Largest number of confirmations that the table of logarithms knows.
pub const CONFIRMATIONS_MAX: u8 = 8;

/// Total length of a suspicion after `seen` of `needed` confirmations (protocol.md 1.3): between `max` and `min`,
/// cut to milliseconds.
pub fn suspicion_timeout(seen: u8, needed: u8, min: Duration, max: Duration) -> Duration {
    let (seen, needed) = (seen.min(needed), needed.min(CONFIRMATIONS_MAX));
    let ratio = DECAY.get(usize::from(needed)).and_then(|row| row.get(usize::from(seen))).copied().unwrap_or(1 << 32);
    if needed == 0 || seen >= needed {
        return min;
    }
    let raw = max.saturating_sub(scaled(max.saturating_sub(min), ratio, 1 << 32));
    let floor = Duration::from_millis(u64::try_from(raw.as_millis()).unwrap_or(u64::MAX));
    floor.max(min)
}

#[cfg(test)]
mod tests {
    use super::*;

    extern crate std;

    #[test]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "f64 is what is compared with")]
    fn the_integer_logarithm_equals_the_float_one() {
        for n in (1..20_000_u64).chain((20_000..2_000_000).step_by(97)).chain([99_999, 100_000, 999_999, 1_000_000]) {
            assert_eq!(log10_thousandths(n), (1000.0 * (n as f64).log10()) as u64, "n = {n}");
        }
    }

    #[test]
    fn suspicion_scale_has_the_pinned_values() {
        let second = Duration::from_secs(1);
        for (n, millis) in [(0, 1000), (5, 1000), (10, 1000), (50, 1698), (100, 2000), (500, 2698), (1000, 3000)] {
            assert_eq!(suspicion_min(1, n, second), Duration::from_millis(millis), "n = {n}");
        }
        for (n, min, max) in
            [(32, 6_020, 36_120), (128, 8_428, 50_568), (1_000, 12_000, 72_000), (10_000, 16_000, 96_000)]
        {
            let got = suspicion_min(4, n, second);
            assert_eq!((got, got * 6), (Duration::from_millis(min), Duration::from_millis(max)), "n = {n}");
        }
    }

    #[test]
    fn retransmit_limit_has_the_pinned_values() {
        for (mult, n, want) in [
            (3, 0, 0),
            (3, 1, 3),
            (3, 99, 6),
            (4, 9, 4),
            (4, 10, 8),
            (4, 99, 8),
            (4, 100, 12),
            (4, 1000, 16),
            (4, 9999, 16),
        ] {
            assert_eq!(retransmit_limit(mult, n), want, "mult {mult}, n = {n}");
        }
    }

    #[test]
    fn push_pull_interval_grows_by_doublings_of_the_cluster() {
        let base = Duration::from_secs(30);
        for (n, times) in [(1, 1), (32, 1), (33, 2), (64, 2), (65, 3), (128, 3), (129, 4), (256, 4)] {
            assert_eq!(push_pull_interval(base, n), base * times, "n = {n}");
        }
    }

    #[test]
    fn suspicion_shrinks_with_each_new_accuser() {
        let [min, max] = [2, 30].map(Duration::from_secs);
        for (seen, millis) in [(0, 30_000), (1, 16_000), (2, 7_810), (3, 2_000), (4, 2_000)] {
            let got = suspicion_timeout(seen, 3, min, max);
            assert_eq!(got.as_millis() / 10 * 10, millis, "{seen} confirmations");
        }
    }
}
