//! Reads a pattern by Go's rules, in one pass and without recursion. (regexp/syntax/parse.go, Perl flags)

use regex_syntax::hir::{Hir, Look};

use super::classes::{parse_class, parse_perl, parse_property};
use super::error::{ErrorCode, GoRegexError};
use super::escape::{Parsed, RUNE_MAX, after, check_utf8, consumed, next_rune, parse_escape};
use super::stack::{Group, Stack};
use super::unicode::{Case, class};

/// Reads a whole pattern.
pub(super) fn parse(pattern: &[u8]) -> Result<Hir, GoRegexError> {
    let mut parser = Parser { pattern, stack: Stack::default(), flags: Flags::DEFAULT };
    let mut rest = pattern;
    let mut last_repeat = None;
    while let Some(&first) = rest.first() {
        let before = rest;
        let repeat = parse_count(before);
        rest = match (first, &repeat) {
            (b'*' | b'+' | b'?' | b'{', Some(repeat)) => parser.repeat(repeat, before, last_repeat)?,
            (b'(', _) => parser.open(before)?,
            (b')', _) => parser.close(before)?,
            (b'\\', _) => parser.backslash(before)?,
            (b'[', _) => parser.bracket(before)?,
            (_, _) => parser.single(first, before)?,
        };
        last_repeat = repeat.map(|_| before);
    }
    match parser.stack.finish() {
        Ok(Some(hir)) => Ok(hir),
        Ok(None) => Err(GoRegexError::new(ErrorCode::MissingParen, pattern)),
        Err(code) => Err(GoRegexError::new(code, pattern)),
    }
}

/// What `(?flags)` can set. `U` is read but not kept: it changes which match is found, never whether there is one.
#[derive(Clone, Copy)]
pub(super) struct Flags {
    case: Case,
    multi_line: bool,
    dot_newline: bool,
}

impl Flags {
    const DEFAULT: Self = Self { case: Case::Sensitive, multi_line: false, dot_newline: false };
}

struct Parser<'p> {
    pattern: &'p [u8],
    stack: Stack,
    flags: Flags,
}

impl<'p> Parser<'p> {
    /// Handles a repetition; returns the pattern after it, as all of these do.
    fn repeat(
        &mut self,
        repeat: &Count<'p>,
        before: &'p [u8],
        last_repeat: Option<&'p [u8]>,
    ) -> Result<&'p [u8], GoRegexError> {
        let refuse = |code, rest| Err(GoRegexError::new(code, consumed(before, rest)));
        if repeat.min > COUNT_MAX || repeat.max.is_some_and(|max| max > COUNT_MAX || max < repeat.min) {
            return refuse(ErrorCode::InvalidRepeatSize, repeat.rest);
        }
        let rest = repeat.rest.strip_prefix(b"?").unwrap_or(repeat.rest);
        if let Some(last) = last_repeat {
            return Err(GoRegexError::new(ErrorCode::InvalidRepeatOp, consumed(last, rest)));
        }
        match self.stack.repeat(repeat.min, repeat.max, repeat.counted) {
            Ok(()) => Ok(rest),
            Err(code @ (ErrorCode::MissingRepeatArgument | ErrorCode::InvalidRepeatSize)) => refuse(code, rest),
            Err(code) => Err(GoRegexError::new(code, self.pattern)),
        }
    }

    /// Handles `(`, with or without what `(?` introduces.
    fn open(&mut self, text: &'p [u8]) -> Result<&'p [u8], GoRegexError> {
        let Some(body) = text.strip_prefix(b"(?") else {
            self.stack.open(Group { captures: true, outside: self.flags });
            return Ok(after(text, 1));
        };
        if let Some(name) = body.strip_prefix(b"P<")
            && !name.is_empty()
        {
            let rest = capture_name(text, name)?;
            self.stack.open(Group { captures: true, outside: self.flags });
            return Ok(rest);
        }
        let ((flags, is_group), rest) = parse_flags(text, body, self.flags)?;
        if is_group {
            self.stack.open(Group { captures: false, outside: self.flags });
        }
        self.flags = flags;
        Ok(rest)
    }

    fn close(&mut self, text: &'p [u8]) -> Result<&'p [u8], GoRegexError> {
        match self.stack.close().map_err(|code| self.whole(code))? {
            Some(outside) => self.flags = outside,
            None => return Err(self.whole(ErrorCode::UnexpectedParen)),
        }
        Ok(after(text, 1))
    }

    fn bracket(&mut self, text: &'p [u8]) -> Result<&'p [u8], GoRegexError> {
        let (found, rest) = parse_class(text, self.flags.case, &mut self.stack.tables)?;
        self.stack.push_class(&found).map_err(|code| self.whole(code))?;
        Ok(rest)
    }

    fn backslash(&mut self, text: &'p [u8]) -> Result<&'p [u8], GoRegexError> {
        let look = match text.get(1) {
            Some(b'A') => Look::Start,
            Some(b'z') => Look::End,
            Some(b'b') => Look::WordAscii,
            Some(b'B') => Look::WordAsciiNegate,
            // Any byte, which Go has no way to match.
            Some(b'C') => return Err(GoRegexError::new(ErrorCode::InvalidEscape, consumed(text, after(text, 2)))),
            Some(b'Q') => return self.quoted(after(text, 2)),
            Some(_) | None => return self.escape(text),
        };
        self.stack.push_other(Hir::look(look)).map_err(|code| self.whole(code))?;
        Ok(after(text, 2))
    }

    /// Handles what stands between `\Q` and `\E`, or the end.
    fn quoted(&mut self, text: &'p [u8]) -> Result<&'p [u8], GoRegexError> {
        let end = text.windows(2).position(|pair| pair == br"\E");
        let (mut literal, rest) = match end {
            Some(end) => (consumed(text, after(text, end)), after(text, end.saturating_add(2))),
            None => (text, after(text, text.len())),
        };
        while !literal.is_empty() {
            let (rune, next) = next_rune(literal)?;
            self.stack.push_literal(rune, self.flags.case).map_err(|code| self.whole(code))?;
            literal = next;
        }
        Ok(rest)
    }

    /// Handles a class or a single character behind a backslash.
    fn escape(&mut self, text: &'p [u8]) -> Result<&'p [u8], GoRegexError> {
        let case = self.flags.case;
        let mut found = parse_property(text, case, &mut self.stack.tables)?;
        if found.is_none() {
            found = parse_perl(text, case, &mut self.stack.tables);
        }
        if let Some((found, rest)) = found {
            self.stack.push_class(&found).map_err(|code| self.whole(code))?;
            return Ok(rest);
        }
        let (rune, rest) = parse_escape(text)?;
        self.stack.push_literal(rune, case).map_err(|code| self.whole(code))?;
        Ok(rest)
    }

    /// Handles an operator of one byte, or a character that is none.
    fn single(&mut self, first: u8, text: &'p [u8]) -> Result<&'p [u8], GoRegexError> {
        let pushed = match (first, self.flags) {
            (b'|', _) => self.stack.vertical_bar(),
            (b'^', Flags { multi_line: false, .. }) => self.stack.push_other(Hir::look(Look::Start)),
            (b'^', _) => self.stack.push_other(Hir::look(Look::StartLF)),
            (b'$', Flags { multi_line: false, .. }) => self.stack.push_other(Hir::look(Look::End)),
            (b'$', _) => self.stack.push_other(Hir::look(Look::EndLF)),
            (b'.', Flags { dot_newline: true, .. }) => self.stack.push_class(&class([(0, RUNE_MAX)])),
            (b'.', _) => self.stack.push_class(&class([(0, 0x09), (0x0B, RUNE_MAX)])),
            (_, Flags { case, .. }) => {
                let (rune, rest) = next_rune(text)?;
                self.stack.push_literal(rune, case).map_err(|code| self.whole(code))?;
                return Ok(rest);
            }
        };
        pushed.map_err(|code| self.whole(code))?;
        Ok(after(text, 1))
    }

    /// An error that is the whole pattern's.
    fn whole(&self, code: ErrorCode) -> GoRegexError {
        GoRegexError::new(code, self.pattern)
    }
}

/// Largest count in braces.
const COUNT_MAX: u32 = 1000;

/// A repetition operator.
struct Count<'p> {
    min: u32,
    max: Option<u32>,
    counted: bool,
    rest: &'p [u8],
}

/// Reads the repetition operator that `text` begins with; braces that hold no counts are none.
fn parse_count(text: &[u8]) -> Option<Count<'_>> {
    let rest = after(text, 1);
    match text.first()? {
        b'*' => Some(Count { min: 0, max: None, counted: false, rest }),
        b'+' => Some(Count { min: 1, max: None, counted: false, rest }),
        b'?' => Some(Count { min: 0, max: Some(1), counted: false, rest }),
        b'{' => parse_braces(rest),
        _ => None,
    }
}

fn parse_braces(text: &[u8]) -> Option<Count<'_>> {
    let (min, rest) = parse_decimal(text)?;
    let (max, rest) = match rest.strip_prefix(b",") {
        None => (Some(min), rest),
        Some(rest) if rest.first() == Some(&b'}') => (None, rest),
        Some(rest) => {
            let (max, rest) = parse_decimal(rest)?;
            (Some(max), rest)
        }
    };
    Some(Count { min, max, counted: true, rest: rest.strip_prefix(b"}")? })
}

/// Reads a number without leading zeros; one that is too large stays too large.
fn parse_decimal(text: &[u8]) -> Option<(u32, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = consumed(text, after(text, digits));
    if number.is_empty() || (number.len() > 1 && number.first() == Some(&b'0')) {
        return None;
    }
    let append = |value: u32, byte: &u8| value.saturating_mul(10).saturating_add(u32::from(byte.wrapping_sub(b'0')));
    Some((number.iter().fold(0, append), after(text, digits)))
}

/// Reads a name up to its `>`; `text` is the group from its parenthesis on. Go lets a name occur twice.
fn capture_name<'p>(text: &'p [u8], body: &'p [u8]) -> Result<&'p [u8], GoRegexError> {
    let Some(end) = body.iter().position(|byte| *byte == b'>') else {
        check_utf8(text)?;
        return Err(GoRegexError::new(ErrorCode::InvalidNamedCapture, text));
    };
    let name = consumed(body, after(body, end));
    let rest = after(body, end.saturating_add(1));
    check_utf8(name)?;
    if name.is_empty() || !name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
        return Err(GoRegexError::new(ErrorCode::InvalidNamedCapture, consumed(text, rest)));
    }
    Ok(rest)
}

/// Reads flags up to `:` (then a group begins, and the value is true) or `)`.
fn parse_flags<'p>(text: &'p [u8], body: &'p [u8], outside: Flags) -> Parsed<'p, (Flags, bool)> {
    let mut flags = outside;
    let mut on = true;
    // Whether something follows the `-`.
    let mut complete = true;
    let mut rest = body;
    while !rest.is_empty() {
        let (rune, next) = next_rune(rest)?;
        rest = next;
        match u8::try_from(rune).unwrap_or_default() {
            b'i' => flags.case = if on { Case::Folded } else { Case::Sensitive },
            b'm' => flags.multi_line = on,
            b's' => flags.dot_newline = on,
            b'U' => (),
            b'-' if on => {
                on = false;
                complete = false;
                continue;
            }
            end @ (b':' | b')') if complete => return Ok(((flags, end == b':'), rest)),
            _ => break,
        }
        complete = true;
    }
    Err(GoRegexError::new(ErrorCode::InvalidPerlOp, consumed(text, rest)))
}
