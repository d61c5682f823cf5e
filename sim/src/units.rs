//! Quantities as a scenario writes them: times, chances, delays. Integers all the way: no float is involved.

use std::fmt;

use crate::draw::Draw;

/// Reads a time such as `90s`, `1.5s`, `250ms`, `1m30s`, `2h`, in nanoseconds.
///
/// # Errors
/// What would be right.
pub(crate) fn nanos(text: &str) -> Result<u64, String> {
    let wrong = || format!("\"{text}\" is no time; write it like \"90s\", \"1.5s\", \"250ms\" or \"1m30s\"");
    let mut rest = text;
    let mut total: u64 = 0;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let unit: u64 = match unit {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(wrong()),
        };
        let part = decimal(number, unit).ok_or_else(wrong)?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = tail;
    }
    Ok(total)
}

/// `number * unit`, where the number may have a fraction; digits below one are cut off.
fn decimal(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mut value = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    let mut scale = unit;
    for digit in fraction.bytes() {
        scale /= 10;
        value = value.checked_add(u64::from(digit.checked_sub(b'0').filter(|&digit| digit < 10)?) * scale)?;
    }
    Some(value)
}

/// A probability in millionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Chance(pub u32);

impl Chance {
    /// Always.
    pub const ALWAYS: Self = Self(1_000_000);

    /// Reads `0%`, `0.5%`, `100%`.
    ///
    /// # Errors
    /// What would be right.
    pub fn read(text: &str) -> Result<Self, String> {
        text.strip_suffix('%')
            .and_then(|number| decimal(number, 10_000))
            .filter(|&millionths| millionths <= 1_000_000)
            .and_then(|millionths| u32::try_from(millionths).ok())
            .map(Self)
            .ok_or_else(|| format!("\"{text}\" is no chance; write it like \"0.5%\", from \"0%\" to \"100%\""))
    }

    /// Whether it can happen at all.
    pub const fn is_possible(self) -> bool {
        self.0 > 0
    }

    /// Draws; an impossible chance draws nothing.
    pub(crate) fn happens(self, draw: &mut Draw) -> bool {
        self.is_possible() && draw.below(1_000_000) < u64::from(self.0)
    }
}

/// How long something takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delay {
    /// Always as long.
    Fixed(u64),
    /// Uniform between the two, ends included: `1ms..5ms`.
    Uniform(u64, u64),
    /// A bell around the first with the second as standard deviation, never below zero: `20ms~5ms`.
    Bell(u64, u64),
    /// At least the first, with an exponential tail of the second as mean: `20ms+5ms`.
    Tail(u64, u64),
}

impl Delay {
    /// Reads one of the four forms.
    ///
    /// # Errors
    /// What would be right.
    pub fn read(text: &str) -> Result<Self, String> {
        let wrong = |_| {
            format!(
                "\"{text}\" is no delay; write \"20ms\", \"1ms..5ms\" (uniform), \"20ms~5ms\" (bell) or \"20ms+5ms\" (tail)"
            )
        };
        if let Some((low, high)) = text.split_once("..") {
            let (low, high) = (nanos(low).map_err(wrong)?, nanos(high).map_err(wrong)?);
            return if low <= high {
                Ok(Self::Uniform(low, high))
            } else {
                Err(format!("\"{text}\": the first time must not be longer than the second"))
            };
        }
        if let Some((middle, deviation)) = text.split_once('~') {
            return Ok(Self::Bell(nanos(middle).map_err(wrong)?, nanos(deviation).map_err(wrong)?));
        }
        if let Some((least, mean)) = text.split_once('+') {
            return Ok(Self::Tail(nanos(least).map_err(wrong)?, nanos(mean).map_err(wrong)?));
        }
        nanos(text).map(Self::Fixed).map_err(wrong)
    }

    /// One value, in nanoseconds.
    pub(crate) fn draw(self, draw: &mut Draw) -> u64 {
        match self {
            Self::Fixed(nanos) => nanos,
            Self::Uniform(low, high) => low + draw.below((high - low).saturating_add(1)),
            Self::Bell(middle, deviation) => bell(middle, deviation, draw),
            Self::Tail(least, mean) => least.saturating_add(tail(mean, draw)),
        }
    }
}

/// The sum of twelve uniform numbers has a deviation of one and is as good as normal within three of them.
fn bell(middle: u64, deviation: u64, draw: &mut Draw) -> u64 {
    let sum: i128 = (0..6)
        .map(|_| {
            let pair = draw.next();
            i128::from(pair & 0xffff_ffff) + i128::from(pair >> 32)
        })
        .sum();
    let offset = (sum - (6_i128 << 32)) * i128::from(deviation) / (1_i128 << 32);
    u64::try_from(i128::from(middle) + offset).unwrap_or(0)
}

/// Halving in straight pieces: the number of heads in a row, plus a uniform fraction, has a mean of one and a half.
fn tail(mean: u64, draw: &mut Draw) -> u64 {
    let heads = u128::from(draw.next().trailing_ones());
    let fraction = u128::from(draw.next());
    let value = ((heads << 64) + fraction) / 3 * 2;
    u64::try_from(((value >> 32) * u128::from(mean)) >> 32).unwrap_or(u64::MAX)
}

/// A time since the beginning as the report shows it: `12.34s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seconds(pub u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hundredths = self.0 / 10_000_000;
        f.pad(&format!("{}.{:02}s", hundredths / 100, hundredths % 100))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Purpose;

    #[test]
    fn times_are_read_without_floats() {
        for (text, want) in [
            ("0s", Ok(0)),
            ("1.5s", Ok(1_500_000_000)),
            ("250ms", Ok(250_000_000)),
            ("1m30s", Ok(90_000_000_000)),
            ("0.1us", Ok(100)),
        ] {
            assert_eq!(nanos(text), want, "{text}");
        }
        for text in ["", "5", "s", "5 s", "-1s", "1x", "99999999999h"] {
            assert!(nanos(text).is_err(), "{text}");
        }
    }

    #[test]
    fn chances_are_exact() {
        assert_eq!(Chance::read("0.05%"), Ok(Chance(500)));
        assert_eq!(Chance::read("100%"), Ok(Chance::ALWAYS));
        assert!(Chance::read("101%").is_err() && Chance::read("0.5").is_err() && Chance::read("-1%").is_err());
    }

    #[test]
    fn each_form_of_delay_has_its_mean() {
        let mut draw = Draw::new(1, Purpose::Network);
        for (text, mean, least, most) in [
            ("20ms", 20_000_000, 20_000_000, 20_000_000),
            ("1ms..5ms", 3_000_000, 1_000_000, 5_000_000),
            ("20ms~5ms", 20_000_000, 0, 50_000_000),
            ("20ms+5ms", 25_000_000, 20_000_000, u64::MAX),
        ] {
            let delay = Delay::read(text).expect(text);
            let drawn: Vec<u64> = (0..20_000).map(|_| delay.draw(&mut draw)).collect();
            assert!(drawn.iter().all(|nanos| (least..=most).contains(nanos)), "{text}");
            let got = drawn.iter().sum::<u64>() / 20_000;
            assert!(got.abs_diff(mean) < mean / 50, "{text}: mean {got}");
        }
        assert!(Delay::read("5ms..1ms").is_err());
    }
}
