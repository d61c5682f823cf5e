use alloc::vec::Vec;
use core::fmt;

/// Why Go refuses a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// The pattern is larger than the program may become.
    InternalError,
    /// `\p{..}`, a range or a `[:name:]` that does not exist or runs backwards.
    InvalidCharRange,
    /// A backslash before something that has no meaning with it.
    InvalidEscape,
    /// `(?P<..` without a name of letters, digits and underscores, or without its `>`.
    InvalidNamedCapture,
    /// `(?` and then something Go does not know.
    InvalidPerlOp,
    /// A repetition of a repetition, such as `a**`.
    InvalidRepeatOp,
    /// `{n,m}` above 1000, alone or multiplied with those around it, or backwards.
    InvalidRepeatSize,
    /// The pattern is not UTF-8.
    InvalidUtf8,
    /// A `[` that is never closed.
    MissingBracket,
    /// A `(` that is never closed.
    MissingParen,
    /// A repetition with nothing before it.
    MissingRepeatArgument,
    /// A backslash at the very end.
    TrailingBackslash,
    /// A `)` that closes nothing.
    UnexpectedParen,
    /// More than 1000 levels.
    NestingDepth,
}

impl ErrorCode {
    /// The words Go has for it. (regexp/syntax/parse.go)
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::InternalError => "regexp/syntax: internal error",
            Self::InvalidCharRange => "invalid character class range",
            Self::InvalidEscape => "invalid escape sequence",
            Self::InvalidNamedCapture => "invalid named capture",
            Self::InvalidPerlOp => "invalid or unsupported Perl syntax",
            Self::InvalidRepeatOp => "invalid nested repetition operator",
            Self::InvalidRepeatSize => "invalid repeat count",
            Self::InvalidUtf8 => "invalid UTF-8",
            Self::MissingBracket => "missing closing ]",
            Self::MissingParen => "missing closing )",
            Self::MissingRepeatArgument => "missing argument to repetition operator",
            Self::TrailingBackslash => "trailing backslash at end of expression",
            Self::UnexpectedParen => "unexpected )",
            Self::NestingDepth => "expression nests too deeply",
        }
    }
}

/// A pattern that Go refuses, and the part of it that is to blame.
///
/// It is displayed with Go's own words; a byte that is not UTF-8 shows as U+FFFD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoRegexError {
    code: ErrorCode,
    expression: Vec<u8>,
}

impl GoRegexError {
    pub(crate) fn new(code: ErrorCode, expression: &[u8]) -> Self {
        Self { code, expression: expression.to_vec() }
    }

    /// What is wrong.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        self.code
    }

    /// The part of the pattern that Go quotes, byte for byte.
    #[must_use]
    pub fn expression(&self) -> &[u8] {
        &self.expression
    }
}

impl fmt::Display for GoRegexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let expression = super::decode(&self.expression);
        write!(f, "error parsing regexp: {}: `{expression}`", self.code.text())
    }
}

impl core::error::Error for GoRegexError {}
