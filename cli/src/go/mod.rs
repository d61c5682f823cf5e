//! What the original inherits from Go's standard library and shows to its users: number and duration syntax,
//! quoting, JSON error texts, network error texts.

pub(crate) mod duration;
pub(crate) mod json;
pub(crate) mod json_syntax;
pub(crate) mod json_text;
pub(crate) mod literal;
pub(crate) mod net;
pub(crate) mod number;

use std::io;

use villein_core::go_quote::GoQuoted;

/// Quotes text as `%q` does: double quotes, Go's escapes, `\x..` for bytes that are not UTF-8.
pub(crate) fn quote(text: &[u8]) -> String {
    GoQuoted(text).to_string()
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
    fn system_errors_lose_their_capital_and_number() {
        assert_eq!(os_error(&io::Error::from_raw_os_error(20)), "not a directory");
        assert_eq!(os_error(&io::Error::from_raw_os_error(111)), "connection refused");
        assert_eq!(os_error(&io::Error::from_raw_os_error(113)), "no route to host");
    }
}
