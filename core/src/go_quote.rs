//! Text in double quotes, as Go's `%q` writes it.

use core::fmt::{self, Write};

/// Bytes in double quotes, with Go's escapes and `\x..` for what is not UTF-8.
pub struct GoQuoted<'a>(pub &'a [u8]);

impl fmt::Display for GoQuoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                write_escaped(f, c, '"')?;
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        f.write_char('"')
    }
}

/// Writes one character of a Go literal that ends at `delimiter`.
///
/// # Errors
/// As of `out`.
pub fn write_escaped(out: &mut impl Write, c: char, delimiter: char) -> fmt::Result {
    match c {
        '\\' => out.write_str("\\\\"),
        '\u{7}' => out.write_str("\\a"),
        '\u{8}' => out.write_str("\\b"),
        '\u{c}' => out.write_str("\\f"),
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        '\t' => out.write_str("\\t"),
        '\u{b}' => out.write_str("\\v"),
        c if c == delimiter => write!(out, "\\{c}"),
        c if u32::from(c) < 0x20 || c == '\u{7f}' => write!(out, "\\x{:02x}", u32::from(c)),
        c if c.is_control() || (c.is_whitespace() && c != ' ') => write!(out, "\\u{:04x}", u32::from(c)),
        c => out.write_char(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn quoting_escapes_as_go_does() {
        assert_eq!(GoQuoted(b"a\"b\\c\n\x01\xff").to_string(), r#""a\"b\\c\n\x01\xff""#);
        assert_eq!(GoQuoted("é\u{a0}\u{7f}".as_bytes()).to_string(), "\"é\\u00a0\\x7f\"");
    }
}
