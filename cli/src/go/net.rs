//! Addresses and dialling with Go's texts.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::os_error;

/// Why an address cannot be used; worded as Go's `net` package words it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AddrError {
    /// The text has not the form `host:port`.
    Form { address: String, fault: &'static str },
    /// The port is a number outside 0 to 65535.
    InvalidPort(String),
    /// The port is neither a number nor a service that this host knows.
    UnknownPort(String),
    /// Name resolution failed.
    Lookup { host: String, server: Option<String>, reason: String },
}

/// What `AddrError::Form` says when there is only a host.
pub(crate) const MISSING_PORT: &str = "missing port in address";

impl fmt::Display for AddrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form { address, fault } => write!(f, "address {address}: {fault}"),
            Self::InvalidPort(port) => write!(f, "address {port}: invalid port"),
            Self::UnknownPort(port) => write!(f, "address tcp/{port}: unknown port"),
            Self::Lookup { host, server: Some(server), reason } => write!(f, "lookup {host} on {server}: {reason}"),
            Self::Lookup { host, server: None, reason } => write!(f, "lookup {host}: {reason}"),
        }
    }
}

/// Splits `host:port` or `[host]:port`; the port may be empty.
pub(crate) fn split_host_port(address: &str) -> Result<(&str, &str), AddrError> {
    let form = |fault| AddrError::Form { address: address.into(), fault };
    let colon = address.rfind(':').ok_or_else(|| form(MISSING_PORT))?;
    let (host, open_from, close_from) = if address.starts_with('[') {
        let end = address.find(']').ok_or_else(|| form("missing ']' in address"))?;
        if end + 1 != colon {
            let followed_by_colon = address[end + 1..].starts_with(':');
            return Err(form(if followed_by_colon { "too many colons in address" } else { MISSING_PORT }));
        }
        (&address[1..end], 1, end + 1)
    } else {
        if address[..colon].contains(':') {
            return Err(form("too many colons in address"));
        }
        (&address[..colon], 0, 0)
    };
    if address[open_from..].contains('[') {
        return Err(form("unexpected '[' in address"));
    }
    if address[close_from..].contains(']') {
        return Err(form("unexpected ']' in address"));
    }
    Ok((host, &address[colon + 1..]))
}

/// Reads a port: a number, nothing (0), or a TCP service name of this host.
pub(crate) fn parse_port(port: &str) -> Result<u16, AddrError> {
    let digits = port.strip_prefix(['-', '+']).unwrap_or(port);
    if port.is_empty() {
        return Ok(0);
    }
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let positive = port.strip_prefix('+').unwrap_or(port);
        return positive.parse().map_err(|_| AddrError::InvalidPort(port.into()));
    }
    service_port(port).ok_or_else(|| AddrError::UnknownPort(port.into()))
}

/// Looks a TCP service up in the host's table.
fn service_port(name: &str) -> Option<u16> {
    let table = std::fs::read_to_string("/etc/services").ok()?;
    table.lines().find_map(|line| {
        let mut fields = line.split('#').next()?.split_whitespace();
        let official = fields.next()?;
        let port = fields.next()?.strip_suffix("/tcp")?;
        (official == name || fields.any(|alias| alias == name)).then(|| port.parse().ok())?
    })
}

/// Turns a host into addresses, best first; a host without letters to resolve stays what it is.
pub(crate) fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, AddrError> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let lookup = |server, reason| AddrError::Lookup { host: host.into(), server, reason };
    let no_such_host = || "no such host".to_string();
    if !is_domain_name(host) {
        return Err(lookup(None, no_such_host()));
    }
    match (host, port).to_socket_addrs() {
        Ok(found) => {
            let found: Vec<SocketAddr> = found.collect();
            if found.is_empty() { Err(lookup(name_server(), no_such_host())) } else { Ok(found) }
        }
        Err(error) if error.raw_os_error().is_some() => Err(lookup(name_server(), os_error(&error))),
        Err(_) => Err(lookup(name_server(), no_such_host())),
    }
}

/// Whether Go would ask a name server for this host at all.
fn is_domain_name(host: &str) -> bool {
    let zoned = host.contains('%') && host.contains(':');
    let plain = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    zoned || (plain && host.bytes().any(|byte| byte.is_ascii_alphabetic() || byte == b'_') && host.len() <= 254)
}

/// The name server that an error text names, as the resolver configuration gives it.
fn name_server() -> Option<String> {
    let config = std::fs::read_to_string("/etc/resolv.conf").ok()?;
    config.lines().find_map(|line| {
        let ip: IpAddr = line.strip_prefix("nameserver")?.trim().parse().ok()?;
        Some(SocketAddr::new(ip, 53).to_string())
    })
}

/// Connects to `host:port` within `timeout`; the error is the whole text that Go's `net.Dial` gives.
pub(crate) fn dial_tcp(address: &str, timeout: Duration) -> Result<TcpStream, String> {
    if address.is_empty() {
        return Err("dial tcp: missing address".into());
    }
    let before_dialling = |error: AddrError| format!("dial tcp: {error}");
    let (host, port) = split_host_port(address).map_err(before_dialling)?;
    let port = parse_port(port).map_err(before_dialling)?;
    let targets = if host.is_empty() {
        vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]
    } else {
        resolve(host, port).map_err(before_dialling)?
    };
    // An address that does not answer must leave time for the others.
    let share = timeout / u32::try_from(targets.len()).unwrap_or(1).max(1);
    // Where several addresses fail, Go shows the failure of the first.
    let mut first_failure = None;
    for target in targets {
        match connect(target, share) {
            Ok(stream) => return Ok(stream),
            Err(error) => {
                let shown = shown(host, target);
                first_failure.get_or_insert_with(|| format!("dial tcp {shown}: {error}"));
            }
        }
    }
    Err(first_failure.unwrap_or_else(|| format!("dial tcp: lookup {host}: no such host")))
}

/// An address that was dialled, as Go shows it: no host stays none, a zone keeps its name, IPv4 is never in IPv6 form.
fn shown(host: &str, target: SocketAddr) -> String {
    let port = target.port();
    if host.is_empty() {
        format!(":{port}")
    } else if host.contains('%') {
        format!("[{host}]:{port}")
    } else {
        SocketAddr::new(target.ip().to_canonical(), port).to_string()
    }
}

fn connect(target: SocketAddr, timeout: Duration) -> Result<TcpStream, String> {
    TcpStream::connect_timeout(&target, timeout).map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut => os_error(&error),
        _ => format!("connect: {}", os_error(&error)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_split_at_the_last_colon() {
        assert_eq!(split_host_port("a:1"), Ok(("a", "1")));
        assert_eq!(split_host_port("[::1]:1"), Ok(("::1", "1")));
        assert_eq!(split_host_port(":5"), Ok(("", "5")));
        assert_eq!(split_host_port("a:"), Ok(("a", "")));
    }

    #[test]
    fn malformed_addresses_are_described_as_go_describes_them() {
        for (address, text) in [
            ("127.0.0.1", "address 127.0.0.1: missing port in address"),
            ("::1:5", "address ::1:5: too many colons in address"),
            ("[::1", "address [::1: missing ']' in address"),
            ("[1.2.3.4", "address [1.2.3.4: missing port in address"),
            ("[::1]x:4", "address [::1]x:4: missing port in address"),
            ("[::1]:4:5", "address [::1]:4:5: too many colons in address"),
            ("127.0.0.1]:5", "address 127.0.0.1]:5: unexpected ']' in address"),
            ("a[b:5", "address a[b:5: unexpected '[' in address"),
        ] {
            assert_eq!(split_host_port(address).map_err(|e| e.to_string()), Err(text.to_string()));
        }
        for (port, text) in [
            ("99999", "address 99999: invalid port"),
            ("-1", "address -1: invalid port"),
            ("no-such-service", "address tcp/no-such-service: unknown port"),
        ] {
            assert_eq!(parse_port(port).map_err(|e| e.to_string()), Err(text.to_string()));
        }
        assert_eq!(parse_port(""), Ok(0));
    }

    #[test]
    fn hosts_that_are_no_names_are_not_looked_up() {
        for host in ["300.1.1.1", "a b", ""] {
            let text = resolve(host, 1).map_err(|e| e.to_string());
            assert_eq!(text, Err(format!("lookup {host}: no such host")));
        }
    }

    #[test]
    fn dialled_addresses_are_shown_as_go_shows_them() {
        for (host, target, text) in [
            ("", "127.0.0.1:5", ":5"),
            ("127.0.0.1", "127.0.0.1:5", "127.0.0.1:5"),
            ("::ffff:127.0.0.1", "[::ffff:127.0.0.1]:5", "127.0.0.1:5"),
            ("fe80::1%lo", "[fe80::1%1]:5", "[fe80::1%lo]:5"),
        ] {
            assert_eq!(shown(host, target.parse().unwrap()), text);
        }
    }
}
