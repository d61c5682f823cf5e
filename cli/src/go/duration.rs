//! Durations in Go's syntax: `300ms`, `1.5h`, `2h45m`.

use std::fmt;

use super::number::ValueError;
use std::fmt::Write;

/// Nanoseconds of one unit, by its name; both spellings of micro are accepted.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Why a text is no duration; the sentences are those of Go's `time` package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DurationError {
    /// Not a duration at all, or one that does not fit 64 bits of nanoseconds.
    Invalid(String),
    /// A number without a unit.
    MissingUnit(String),
    /// A unit that Go does not know.
    UnknownUnit { unit: String, text: String },
}

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(text) => write!(f, "time: invalid duration {}", quote(text)),
            Self::MissingUnit(text) => write!(f, "time: missing unit in duration {}", quote(text)),
            Self::UnknownUnit { unit, text } => {
                let (unit, text) = (quote(unit), quote(text));
                write!(f, "time: unknown unit {unit} in duration {text}")
            }
        }
    }
}

/// Quotes as the `time` package does, which escapes every byte that is not plain ASCII.
fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => quoted.extend(['\\', char::from(byte)]),
            b' '..=b'~' | 0x7f => quoted.push(char::from(byte)),
            _ => {
                let _ = write!(quoted, "\\x{byte:02x}");
            }
        }
    }
    quoted.push('"');
    quoted
}

/// Reads a duration, in nanoseconds; it may be negative.
pub(crate) fn parse(text: &str) -> Result<i64, DurationError> {
    let invalid = || DurationError::Invalid(text.into());
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if unsigned == "0" {
        return Ok(0);
    }
    if unsigned.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    let mut rest = unsigned;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let unit_end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        if unit.is_empty() {
            return Err(DurationError::MissingUnit(text.into()));
        }
        let nanos = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .map(|(_, nanos)| *nanos)
            .ok_or_else(|| DurationError::UnknownUnit { unit: unit.into(), text: text.into() })?;
        let part = scaled(whole, fraction, nanos).ok_or_else(invalid)?;
        total = total.checked_add(part).ok_or_else(invalid)?;
        rest = after;
    }
    if text.starts_with('-') {
        return 0_i64.checked_sub_unsigned(total).ok_or_else(invalid);
    }
    i64::try_from(total).map_err(|_| invalid())
}

/// Reads a duration that is the value of a flag: Go's `flag` package does not say what is wrong with one.
pub(crate) fn parse_flag(text: &str) -> Result<i64, ValueError> {
    parse(text).map_err(|_| ValueError::Syntax)
}

/// Splits leading decimal digits off.
fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// `whole.fraction` times `nanos`, cut to whole nanoseconds; `None` when it does not fit.
fn scaled(whole: &str, fraction: &str, nanos: u64) -> Option<u64> {
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // No unit is longer than 3.6e12 ns, so digits behind the eighteenth cannot add a nanosecond.
    let fraction = &fraction[..fraction.len().min(18)];
    let part = if fraction.is_empty() {
        0
    } else {
        let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
        u64::try_from(fraction.parse::<u128>().ok()? * u128::from(nanos) / scale).ok()?
    };
    whole.checked_mul(nanos)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_add_up() {
        for (text, nanos) in [
            ("300ms", 300_000_000),
            ("1.5h", 5_400_000_000_000),
            ("2h45m", 9_900_000_000_000),
            ("-1s", -1_000_000_000),
            ("+.5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("3µs", 3_000),
            ("0", 0),
            ("-0", 0),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
        ] {
            assert_eq!(parse(text), Ok(nanos), "{text}");
        }
    }

    #[test]
    fn refusals_are_worded_as_go_words_them() {
        for (text, complaint) in [
            ("foo", "time: invalid duration \"foo\""),
            ("", "time: invalid duration \"\""),
            (".s", "time: invalid duration \".s\""),
            ("30", "time: missing unit in duration \"30\""),
            ("\u{e9}\"", "time: invalid duration \"\\xc3\\xa9\\\"\""),
            ("5x", "time: unknown unit \"x\" in duration \"5x\""),
            ("9223372036854775808ns", "time: invalid duration \"9223372036854775808ns\""),
        ] {
            assert_eq!(parse(text).map_err(|e| e.to_string()), Err(complaint.to_string()), "{text}");
        }
    }
}
