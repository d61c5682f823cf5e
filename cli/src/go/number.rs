//! Integers and booleans as Go's `strconv` and `flag` packages read them.

use std::fmt;

/// Why Go's `flag` package refuses a value; its text ends the complaint about a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ValueError {
    /// The text has not the form of the flag's type.
    Syntax,
    /// The number does not fit.
    Range,
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax => "parse error",
            Self::Range => "value out of range",
        })
    }
}

impl std::error::Error for ValueError {}

/// Reads a boolean: exactly the twelve spellings of `strconv.ParseBool`.
pub(crate) fn parse_bool(text: &str) -> Result<bool, ValueError> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(ValueError::Syntax),
    }
}

/// Reads an integer: decimal, `0x`, `0o`, `0b` or a plain leading zero (octal), underscores between digits.
pub(crate) fn parse_int(text: &str) -> Result<i64, ValueError> {
    let (negative, unsigned) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let prefix: String = unsigned.chars().take(2).collect::<String>().to_ascii_lowercase();
    let (radix, digits) = match prefix.as_str() {
        "0x" => (16, &unsigned[2..]),
        "0o" => (8, &unsigned[2..]),
        "0b" => (2, &unsigned[2..]),
        _ if unsigned.len() > 1 && unsigned.starts_with('0') => (8, &unsigned[1..]),
        _ => (10, unsigned),
    };
    // An underscore stands between digits, or between a base prefix (a leading zero is one) and a digit.
    let bare = radix == 10 && digits.starts_with('_');
    if digits.is_empty() || bare || digits.ends_with('_') || digits.contains("__") {
        return Err(ValueError::Syntax);
    }
    let mut magnitude: i128 = 0;
    for c in digits.chars().filter(|c| *c != '_') {
        let digit = c.to_digit(radix).ok_or(ValueError::Syntax)?;
        magnitude = magnitude.saturating_mul(i128::from(radix)).saturating_add(i128::from(digit));
    }
    i64::try_from(if negative { -magnitude } else { magnitude }).map_err(|_| ValueError::Range)
}

/// Writes a float as `%v` does: the shortest digits, in scientific form below 1e-4 and from 1e6 on.
pub(crate) fn show_float(number: f64) -> String {
    let scientific = format!("{number:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return number.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_take_the_prefixes_of_go_literals() {
        for (text, value) in
            [("5", 5), ("-5", -5), ("+7", 7), ("0x1F", 31), ("0o17", 15), ("017", 15), ("0b101", 5), ("1_000", 1000)]
        {
            assert_eq!(parse_int(text), Ok(value), "{text}");
        }
        for text in ["", "-", "x", "0x", "1.5", "08", "_1", "1_", "1__0", "é5", "5 "] {
            assert_eq!(parse_int(text), Err(ValueError::Syntax), "{text}");
        }
        assert_eq!(parse_int("9223372036854775808"), Err(ValueError::Range));
        assert_eq!(parse_int("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(parse_int(&"9".repeat(60)), Err(ValueError::Range));
    }

    #[test]
    fn booleans_have_twelve_spellings_and_no_more() {
        assert_eq!(parse_bool("T"), Ok(true));
        assert_eq!(parse_bool("False"), Ok(false));
        for text in ["yes", "tRUE", "", "2"] {
            assert_eq!(parse_bool(text), Err(ValueError::Syntax), "{text}");
        }
    }

    #[test]
    fn floats_are_written_as_go_writes_them() {
        for (number, text) in [
            (1.0, "1"),
            (999_999.0, "999999"),
            (1_000_000.0, "1e+06"),
            (1_234_567.5, "1.2345675e+06"),
            (1e30, "1e+30"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (-0.0, "-0"),
            (-1.5, "-1.5"),
        ] {
            assert_eq!(show_float(number), text);
        }
    }
}
