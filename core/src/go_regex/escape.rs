//! Single characters and what a backslash makes of them.

use super::error::{ErrorCode, GoRegexError};

/// A code point as Go counts them: surrogates, which no `char` can be, may be written in a pattern.
pub(super) type Rune = u32;

pub(super) const RUNE_MAX: Rune = 0x10_FFFF;

/// What a reader of the pattern returns: the value, and the pattern after it.
pub(super) type Parsed<'p, T> = Result<(T, &'p [u8]), GoRegexError>;

/// The start of `whole` up to where `rest`, its tail, begins.
pub(super) fn consumed<'p>(whole: &'p [u8], rest: &[u8]) -> &'p [u8] {
    whole.get(..whole.len().saturating_sub(rest.len())).unwrap_or_default()
}

/// Everything after the first `count` bytes.
pub(super) fn after(text: &[u8], count: usize) -> &[u8] {
    text.get(count..).unwrap_or_default()
}

/// Takes one character; at the end it is U+FFFD and takes nothing, as Go's decoder has it.
pub(super) fn next_rune(text: &[u8]) -> Parsed<'_, Rune> {
    let Some(&first) = text.first() else { return Ok((Rune::from(char::REPLACEMENT_CHARACTER), text)) };
    let length = match first {
        0..0x80 => return Ok((Rune::from(first), after(text, 1))),
        0x80..0xE0 => 2,
        0xE0..0xF0 => 3,
        0xF0..=0xFF => 4,
    };
    let decoded = text.get(..length).and_then(|bytes| core::str::from_utf8(bytes).ok()?.chars().next());
    let Some(decoded) = decoded else { return Err(GoRegexError::new(ErrorCode::InvalidUtf8, text)) };
    Ok((Rune::from(decoded), after(text, length)))
}

/// Refuses text that is not UTF-8; the error quotes it from its first bad byte on.
pub(super) fn check_utf8(text: &[u8]) -> Result<(), GoRegexError> {
    match core::str::from_utf8(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(GoRegexError::new(ErrorCode::InvalidUtf8, after(text, error.valid_up_to()))),
    }
}

/// Reads the escape sequence that `text`, which starts with a backslash, begins with.
pub(super) fn parse_escape(text: &[u8]) -> Parsed<'_, Rune> {
    let body = after(text, 1);
    if body.is_empty() {
        return Err(GoRegexError::new(ErrorCode::TrailingBackslash, b""));
    }
    let (rune, rest) = next_rune(body)?;
    let invalid = |rest: &[u8]| GoRegexError::new(ErrorCode::InvalidEscape, consumed(text, rest));
    let Some(byte) = u8::try_from(rune).ok().filter(u8::is_ascii) else { return Err(invalid(rest)) };
    match byte {
        // One digit alone would be a back-reference.
        b'1'..=b'7' if rest.first().and_then(octal).is_none() => Err(invalid(rest)),
        b'0'..=b'7' => Ok(octal_escape(body)),
        b'x' => hex_escape(text, rest),
        b'a' => Ok((0x07, rest)),
        b'f' => Ok((0x0C, rest)),
        b'n' => Ok((0x0A, rest)),
        b'r' => Ok((0x0D, rest)),
        b't' => Ok((0x09, rest)),
        b'v' => Ok((0x0B, rest)),
        _ if byte.is_ascii_alphanumeric() => Err(invalid(rest)),
        _ => Ok((rune, rest)),
    }
}

/// Reads up to three octal digits.
fn octal_escape(digits: &[u8]) -> (Rune, &[u8]) {
    let mut value: Rune = 0;
    let mut rest = digits;
    for _ in 0..3 {
        let Some(digit) = rest.first().and_then(octal) else { break };
        value = value.wrapping_mul(8).wrapping_add(digit);
        rest = after(rest, 1);
    }
    (value, rest)
}

fn octal(byte: &u8) -> Option<Rune> {
    char::from(*byte).to_digit(8)
}

/// Reads what follows `\x`: two digits, or any number of them in braces. `whole` begins with the backslash.
fn hex_escape<'p>(whole: &[u8], text: &'p [u8]) -> Parsed<'p, Rune> {
    let invalid = |rest: &[u8]| GoRegexError::new(ErrorCode::InvalidEscape, consumed(whole, rest));
    if text.is_empty() {
        return Err(invalid(text));
    }
    let (first, rest) = next_rune(text)?;
    if first == Rune::from(b'{') {
        return hex_braces(rest, invalid);
    }
    let (second, rest) = next_rune(rest)?;
    match (hex(first), hex(second)) {
        (Some(high), Some(low)) => Ok((high.wrapping_mul(16).wrapping_add(low), rest)),
        (None, _) | (_, None) => Err(invalid(rest)),
    }
}

fn hex_braces(text: &[u8], invalid: impl Fn(&[u8]) -> GoRegexError) -> Parsed<'_, Rune> {
    let mut value: Rune = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let first = rest.len() == text.len();
        let (rune, next) = next_rune(rest)?;
        rest = next;
        if rune == Rune::from(b'}') && !first {
            return Ok((value, rest));
        }
        let Some(digit) = hex(rune) else { return Err(invalid(rest)) };
        value = value.wrapping_mul(16).wrapping_add(digit);
        if value > RUNE_MAX {
            return Err(invalid(rest));
        }
    }
    Err(invalid(rest))
}

fn hex(rune: Rune) -> Option<Rune> {
    char::from_u32(rune)?.to_digit(16)
}
