//! What the original inherits from Go's standard library and shows to its users: number and duration syntax,
//! quoting, JSON error texts, network error texts.

pub(crate) mod duration;
pub(crate) mod json;
pub(crate) mod json_syntax;
pub(crate) mod literal;
pub(crate) mod net;
pub(crate) mod number;

use std::fmt::Write;
use std::io;

/// Quotes text as `%q` does: double quotes, Go's escapes, `\x..` for bytes that are not UTF-8.
pub(crate) fn quote(text: &[u8]) -> String {
    let mut quoted = String::from("\"");
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            quote_char(&mut quoted, c, '"');
        }
        for byte in chunk.invalid() {
            let _ = write!(quoted, "\\x{byte:02x}");
        }
    }
    quoted.push('"');
    quoted
}

/// Escapes one character for a Go literal delimited by `delimiter`.
fn quote_char(out: &mut String, c: char, delimiter: char) {
    match c {
        '\\' => out.push_str("\\\\"),
        '\u{7}' => out.push_str("\\a"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{b}' => out.push_str("\\v"),
        c if c == delimiter => {
            out.push('\\');
            out.push(c);
        }
        c if u32::from(c) < 0x20 || c == '\u{7f}' => {
            let _ = write!(out, "\\x{:02x}", u32::from(c));
        }
        c if c.is_control() || (c.is_whitespace() && c != ' ') => {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        }
        c => out.push(c),
    }
}

/// Words an operating system error as Go does: `connection refused`, without the number and in lower case.
pub(crate) fn os_error(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => return "i/o timeout".into(),
        io::ErrorKind::ConnectionRefused => return "connection refused".into(),
        io::ErrorKind::ConnectionReset => return "connection reset by peer".into(),
        io::ErrorKind::BrokenPipe => return "broken pipe".into(),
        io::ErrorKind::HostUnreachable => return "no route to host".into(),
        io::ErrorKind::NetworkUnreachable => return "network is unreachable".into(),
        io::ErrorKind::AddrNotAvailable => return "cannot assign requested address".into(),
        io::ErrorKind::AddrInUse => return "address already in use".into(),
        io::ErrorKind::NotFound => return "no such file or directory".into(),
        io::ErrorKind::PermissionDenied if error.raw_os_error() == Some(13) => return "permission denied".into(),
        _ => {}
    }
    // The C library's sentence, `Not a directory (os error 20)`, is Go's with a capital and the number.
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_escapes_as_go_does() {
        assert_eq!(quote(b"a\"b\\c\n\x01\xff"), r#""a\"b\\c\n\x01\xff""#);
        assert_eq!(quote("é\u{a0}\u{7f}".as_bytes()), "\"é\\u00a0\\x7f\"");
    }

    #[test]
    fn system_errors_lose_their_capital_and_number() {
        assert_eq!(os_error(&io::Error::from_raw_os_error(20)), "not a directory");
        assert_eq!(os_error(&io::Error::from_raw_os_error(111)), "connection refused");
        assert_eq!(os_error(&io::Error::from_raw_os_error(113)), "no route to host");
    }
}
