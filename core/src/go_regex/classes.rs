//! Character classes: `[..]`, `\d`, `\p{..}`, `[:alpha:]`.

use alloc::vec::Vec;

use regex_syntax::hir::ClassUnicode;

use super::error::{ErrorCode, GoRegexError};
use super::escape::{Parsed, Rune, after, check_utf8, consumed, next_rune, parse_escape};
use super::unicode::{Case, Tables, class};

/// Ranges of names in one class from which on they are merged: more than the largest property has.
const RANGES_MERGED_AT: usize = 4_096;

/// Reads the class in brackets that `text` begins with.
pub(super) fn parse_class<'p>(text: &'p [u8], case: Case, tables: &mut Tables) -> Parsed<'p, ClassUnicode> {
    let mut rest = after(text, 1);
    let negated = rest.first() == Some(&b'^');
    if negated {
        rest = after(rest, 1);
    }
    // Characters, folded once they are all there, and what names stand for. Ranges that stand there many times are kept
    // once: a class costs what it holds and its text, not the one times the other.
    let mut plain: Vec<(Rune, Rune)> = Vec::new();
    let mut named: Vec<(Rune, Rune)> = Vec::new();
    let mut room = RANGES_MERGED_AT;
    let mut first = true;
    while first || rest.first() != Some(&b']') {
        first = false;
        if let Some((found, next)) = parse_named(rest, case, tables)? {
            named.extend(ranges_of(&found));
            if named.len() >= room {
                named = ranges_of(&class(named)).collect();
                room = named.len().saturating_mul(2).max(RANGES_MERGED_AT);
            }
            rest = next;
            continue;
        }
        let (range, next) = parse_range(rest, text)?;
        rest = next;
        plain.push(range);
    }
    let plain = class(plain);
    let plain = match case {
        Case::Sensitive => plain,
        Case::Folded => tables.fold(&plain),
    };
    let mut found = class(ranges_of(&plain).chain(named));
    if negated {
        found.negate();
    }
    Ok((found, after(rest, 1)))
}

fn ranges_of(class: &ClassUnicode) -> impl Iterator<Item = (Rune, Rune)> + '_ {
    class.iter().map(|range| (range.start().into(), range.end().into()))
}

/// Reads `[:name:]`, `\p{name}` or `\d`, if that is what comes.
fn parse_named<'p>(
    text: &'p [u8],
    case: Case,
    tables: &mut Tables,
) -> Result<Option<(ClassUnicode, &'p [u8])>, GoRegexError> {
    if let Some(found) = parse_posix(text, case, tables)? {
        return Ok(Some(found));
    }
    if let Some(found) = parse_property(text, case, tables)? {
        return Ok(Some(found));
    }
    Ok(parse_perl(text, case, tables))
}

/// Reads one character, or two with `-` between them. `whole` is what an unclosed class is quoted as.
fn parse_range<'p>(text: &'p [u8], whole: &[u8]) -> Parsed<'p, (Rune, Rune)> {
    let (low, rest) = parse_char(text, whole)?;
    // A `-` before the end of the class is itself.
    let [b'-', next, ..] = rest else { return Ok(((low, low), rest)) };
    if *next == b']' {
        return Ok(((low, low), rest));
    }
    let (high, rest) = parse_char(after(rest, 1), whole)?;
    if high < low {
        return Err(GoRegexError::new(ErrorCode::InvalidCharRange, consumed(text, rest)));
    }
    Ok(((low, high), rest))
}

fn parse_char<'p>(text: &'p [u8], whole: &[u8]) -> Parsed<'p, Rune> {
    match text.first() {
        None => Err(GoRegexError::new(ErrorCode::MissingBracket, whole)),
        Some(b'\\') => parse_escape(text),
        Some(_) => next_rune(text),
    }
}

/// Reads `\d`, `\s`, `\w` or their opposites, if one of them comes. All are ASCII.
pub(super) fn parse_perl<'p>(text: &'p [u8], case: Case, tables: &mut Tables) -> Option<(ClassUnicode, &'p [u8])> {
    let [b'\\', letter, rest @ ..] = text else { return None };
    let plain: &[(u8, u8)] = match letter.to_ascii_lowercase() {
        b'd' => DIGIT,
        b's' => &[(b'\t', b'\n'), (0x0C, b'\r'), (b' ', b' ')],
        b'w' => WORD,
        _ => return None,
    };
    Some((group(plain, letter.is_ascii_uppercase(), case, tables), rest))
}

/// Reads `[:name:]` or `[:^name:]`, if it comes.
fn parse_posix<'p>(
    text: &'p [u8],
    case: Case,
    tables: &mut Tables,
) -> Result<Option<(ClassUnicode, &'p [u8])>, GoRegexError> {
    let Some(body) = text.strip_prefix(b"[:") else { return Ok(None) };
    let Some(length) = body.windows(2).position(|pair| pair == b":]") else { return Ok(None) };
    let rest = after(body, length.saturating_add(2));
    let name = consumed(body, after(body, length));
    let (name, negated) = name.strip_prefix(b"^").map_or((name, false), |name| (name, true));
    match POSIX.iter().find(|(known, _)| known.as_bytes() == name) {
        Some((_, plain)) => Ok(Some((group(plain, negated, case, tables), rest))),
        None => Err(GoRegexError::new(ErrorCode::InvalidCharRange, consumed(text, rest))),
    }
}

/// Reads `\pN`, `\p{Name}` or their opposites, if one of them comes.
pub(super) fn parse_property<'p>(
    text: &'p [u8],
    case: Case,
    tables: &mut Tables,
) -> Result<Option<(ClassUnicode, &'p [u8])>, GoRegexError> {
    let [b'\\', letter @ (b'p' | b'P'), body @ ..] = text else { return Ok(None) };
    let (first, mut rest) = next_rune(body)?;
    let name = if first == Rune::from(b'{') {
        let Some(end) = body.iter().position(|byte| *byte == b'}') else {
            check_utf8(text)?;
            return Err(GoRegexError::new(ErrorCode::InvalidCharRange, text));
        };
        rest = after(body, end.saturating_add(1));
        let name = after(consumed(body, after(body, end)), 1);
        check_utf8(name)?;
        name
    } else {
        consumed(body, rest)
    };
    let (name, inverted) = name.strip_prefix(b"^").map_or((name, false), |name| (name, true));
    let Some(mut found) = tables.property(name, case) else {
        return Err(GoRegexError::new(ErrorCode::InvalidCharRange, consumed(text, rest)));
    };
    if (*letter == b'P') != inverted {
        found.negate();
    }
    Ok(Some((found, rest)))
}

fn group(plain: &[(u8, u8)], negated: bool, case: Case, tables: &mut Tables) -> ClassUnicode {
    let mut found = class(plain.iter().map(|&(start, end)| (start.into(), end.into())));
    if case == Case::Folded {
        found = tables.fold(&found);
    }
    if negated {
        found.negate();
    }
    found
}

const DIGIT: &[(u8, u8)] = &[(b'0', b'9')];
const WORD: &[(u8, u8)] = &[(b'0', b'9'), (b'A', b'Z'), (b'_', b'_'), (b'a', b'z')];

/// Names in `[:name:]`. (regexp/syntax/perl_groups.go)
const POSIX: &[(&str, &[(u8, u8)])] = &[
    ("alnum", &[(b'0', b'9'), (b'A', b'Z'), (b'a', b'z')]),
    ("alpha", &[(b'A', b'Z'), (b'a', b'z')]),
    ("ascii", &[(0, 0x7F)]),
    ("blank", &[(b'\t', b'\t'), (b' ', b' ')]),
    ("cntrl", &[(0, 0x1F), (0x7F, 0x7F)]),
    ("digit", DIGIT),
    ("graph", &[(b'!', b'~')]),
    ("lower", &[(b'a', b'z')]),
    ("print", &[(b' ', b'~')]),
    ("punct", &[(b'!', b'/'), (b':', b'@'), (b'[', b'`'), (b'{', b'~')]),
    ("space", &[(b'\t', b'\r'), (b' ', b' ')]),
    ("upper", &[(b'A', b'Z')]),
    ("word", WORD),
    ("xdigit", &[(b'0', b'9'), (b'A', b'F'), (b'a', b'f')]),
];
