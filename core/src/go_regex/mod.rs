//! Go's regular expressions, as an agent of HashiCorp Serf (built with Go 1.19) understands them.
//!
//! Member filters and query filters are patterns of Go's `regexp` package. Rust's own syntax differs in about a
//! third of the tricky cases, so the patterns are read here by Go's rules and only then handed to `regex-automata`.
//! A pattern that Go refuses is refused with Go's own text.
//!
//! What is not Go's:
//!
//! * A pattern may have [`PATTERN_BYTES_MAX`] bytes, and [`PROGRAM_BYTES_MAX`] when compiled; Go stops at about
//!   128 MiB. A pattern over a limit is refused with the text Go has for its own limit, `regexp/syntax: internal error`.
//! * Nesting is refused with Go's text at 400 levels, not counting groups that only capture; Go's own limit of 1000
//!   levels, which counts them, holds as well.
//! * A surrogate such as `\x{D800}` never matches; Go lets it match U+FFFD in some patterns that begin with `^`.
//!
//! As in Go, every byte of the searched text that is not UTF-8 counts as one U+FFFD.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod classes;
mod error;
mod escape;
mod parser;
mod stack;
mod unicode;

pub use error::{ErrorCode, GoRegexError};

use alloc::borrow::Cow;
use alloc::string::String;
use core::str;

use regex_automata::meta;
use regex_automata::nfa::thompson::WhichCaptures;
use regex_syntax::hir::Hir;

/// Longest pattern that is looked at, in bytes. Some take time that grows with the square of their length.
pub const PATTERN_BYTES_MAX: usize = 64 << 10;

/// Largest compiled pattern, in bytes. A peer may send one with every query, so it must not cost much;
/// `.{1000}` takes a twentieth of it, `\pL{100}` a fifth; `\pL{1000}` is too large.
pub const PROGRAM_BYTES_MAX: usize = 8 << 20;

/// A compiled pattern of Go's `regexp` syntax.
#[derive(Clone, Debug)]
pub struct GoRegex {
    regex: meta::Regex,
}

impl GoRegex {
    /// Compiles a pattern, as `regexp.Compile` does.
    ///
    /// # Errors
    ///
    /// Everything Go 1.19 refuses, and patterns over [`PATTERN_BYTES_MAX`] or [`PROGRAM_BYTES_MAX`].
    pub fn new(pattern: &[u8]) -> Result<Self, GoRegexError> {
        Self::within(pattern, &mut { PROGRAM_BYTES_MAX })
    }

    /// Compiles a pattern to at most `bytes`, and takes from them what it comes to, all if that is too much: so several can be
    /// bounded together.
    ///
    /// # Errors
    ///
    /// Everything Go 1.19 refuses, and patterns over [`PATTERN_BYTES_MAX`], [`PROGRAM_BYTES_MAX`] or what is left of `bytes`.
    pub fn within(pattern: &[u8], bytes: &mut usize) -> Result<Self, GoRegexError> {
        let too_big = || GoRegexError::new(ErrorCode::InternalError, pattern);
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(too_big());
        }
        let most = PROGRAM_BYTES_MAX.min(*bytes);
        let Some(regex) = compile(&parser::parse(pattern)?, most) else {
            *bytes = bytes.saturating_sub(most);
            return Err(too_big());
        };
        *bytes = bytes.saturating_sub(regex.memory_usage());
        Ok(Self { regex })
    }

    /// What it has taken of the `bytes` of [`GoRegex::within`].
    #[must_use]
    pub fn memory(&self) -> usize {
        self.regex.memory_usage()
    }

    /// Tells whether the pattern matches anywhere in the text, as `Regexp.MatchString` does. At worst that takes time that
    /// grows with [`GoRegex::memory`] times the length of the text.
    #[must_use]
    pub fn is_match(&self, haystack: &[u8]) -> bool {
        self.regex.is_match(&*decode(haystack))
    }
}

/// Compiles a pattern the way a member filter does: `^` before it, `$` after it, and no parentheses around it. `bytes` is as
/// for [`GoRegex::within`].
///
/// So `a|b` means "starts with a, or ends with b", `*` alone is legal, and an error quotes what was added too.
///
/// # Errors
///
/// As [`GoRegex::within`].
pub fn anchored(pattern: &[u8], bytes: &mut usize) -> Result<GoRegex, GoRegexError> {
    GoRegex::within(&[b"^", pattern, b"$"].concat(), bytes)
}

/// Builds the matcher; `None` if it would be larger than `most` bytes.
fn compile(hir: &Hir, most: usize) -> Option<meta::Regex> {
    let config = meta::Config::new().nfa_size_limit(Some(most)).which_captures(WhichCaptures::None).utf8_empty(true);
    meta::Builder::new().configure(config).build_from_hir(hir).ok()
}

/// Reads text as Go does: every byte that begins no valid sequence is one U+FFFD.
fn decode(haystack: &[u8]) -> Cow<'_, str> {
    let mut rest = haystack;
    let mut text = String::new();
    loop {
        match str::from_utf8(rest) {
            Ok(valid) if text.is_empty() => return Cow::Borrowed(valid),
            Ok(valid) => {
                text.push_str(valid);
                return Cow::Owned(text);
            }
            Err(error) => {
                let (valid, invalid) = rest.split_at_checked(error.valid_up_to()).unwrap_or((rest, &[]));
                text.push_str(str::from_utf8(valid).unwrap_or_default());
                text.push(char::REPLACEMENT_CHARACTER);
                rest = invalid.get(1..).unwrap_or_default();
            }
        }
    }
}
