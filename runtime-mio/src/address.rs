//! Addresses as operators write them, read as Go reads them, with Go's error texts (cli.md 3.3, 8 to 10).

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};

use villein_core::types::GossipAddr;

/// The gossip port where none is given.
pub const DEFAULT_BIND_PORT: u16 = 7946;

/// Reads `host[:port]` and looks the host up; a missing port is [`DEFAULT_BIND_PORT`]. Blocks while it looks up.
///
/// # Errors
/// Go's text, such as `address ::1: too many colons in address` or `lookup nosuch: no such host`.
pub fn resolve(text: &str) -> Result<SocketAddr, String> {
    match split(text) {
        Err(problem) if problem == MISSING_PORT => resolve_with_port(&format!("{text}:{DEFAULT_BIND_PORT}")),
        Ok(_) | Err(_) => resolve_with_port(text),
    }
}

/// Reads `host:port` and looks the host up; IPv4 addresses are preferred, as in Go. Blocks while it looks up.
///
/// # Errors
/// Go's text, such as `address 127.0.0.1: missing port in address`.
pub(crate) fn resolve_with_port(text: &str) -> Result<SocketAddr, String> {
    let (host, port) = split(text).map_err(|problem| format!("address {text}: {problem}"))?;
    let port = read_port(port)?;
    if host.is_empty() {
        return Ok(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port));
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, port));
    }
    let found = look_up(host, port)?;
    let first = found.iter().find(|addr| addr.is_ipv4()).or_else(|| found.first());
    first.copied().ok_or_else(|| no_such_host(host))
}

/// Every address of a name, in the resolver's order. Blocks.
pub(crate) fn look_up(host: &str, port: u16) -> Result<Box<[SocketAddr]>, String> {
    match (host, port).to_socket_addrs() {
        Ok(found) => {
            let found: Box<[_]> = found.collect();
            if found.is_empty() { Err(no_such_host(host)) } else { Ok(found) }
        }
        Err(error) => Err(lookup_error(host, &error)),
    }
}

fn no_such_host(host: &str) -> String {
    format!("lookup {host}: no such host")
}

/// Go's words where it has one for the case, else the system's.
fn lookup_error(host: &str, error: &io::Error) -> String {
    let text = error.to_string();
    let reason = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text);
    let unknown = ["Name or service not known", "No address associated with hostname", "Name does not resolve"];
    if unknown.contains(&reason) {
        return no_such_host(host);
    }
    format!("lookup {host}: {}", lower_first(reason))
}

const MISSING_PORT: &str = "missing port in address";

/// Go's `net.SplitHostPort`.
fn split(text: &str) -> Result<(&str, &str), &'static str> {
    const TOO_MANY: &str = "too many colons in address";
    let (host, port) = text.rsplit_once(':').ok_or(MISSING_PORT)?;
    if let Some(quoted) = text.strip_prefix('[') {
        let (inner, behind) = quoted.split_once(']').ok_or("missing ']' in address")?;
        return match behind.strip_prefix(':') {
            Some(port) if port.contains(':') => Err(TOO_MANY),
            Some(_) if inner.contains('[') => Err("unexpected '[' in address"),
            Some(port) if port.contains(['[', ']']) => Err("unexpected ']' in address"),
            Some(port) => Ok((inner, port)),
            None => Err(MISSING_PORT),
        };
    }
    if host.contains(':') {
        return Err(TOO_MANY);
    }
    if text.contains('[') {
        return Err("unexpected '[' in address");
    }
    if text.contains(']') {
        return Err("unexpected ']' in address");
    }
    Ok((host, port))
}

/// A port number, or the name of a TCP service.
fn read_port(text: &str) -> Result<u16, String> {
    if text.is_empty() {
        return Ok(0);
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map_err(|_| format!("address {text}: invalid port"));
    }
    service_port(&fs::read_to_string("/etc/services").unwrap_or_default(), text)
        .ok_or_else(|| format!("address tcp/{text}: unknown port"))
}

fn service_port(services: &str, wanted: &str) -> Option<u16> {
    services.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let name = words.next()?;
        let port = words.next()?.strip_suffix("/tcp")?;
        (name == wanted || words.any(|alias| alias == wanted)).then(|| port.parse().ok()).flatten()
    })
}

/// Whether the host has a network interface of that name.
pub fn interface_exists(name: &str) -> bool {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None);
    socket.is_ok_and(|socket| rustix::net::netdevice::name_to_index(&socket, name).is_ok())
}

/// The address to bind where an interface is given.
///
/// With a bind address of 0.0.0.0 or :: it is the interface's first address that is not link-local; otherwise the
/// interface must have the bind address.
///
/// # Errors
/// The interface cannot be used like that.
pub fn interface_addr(name: &str, bind: IpAddr) -> Result<IpAddr, InterfaceError> {
    let all = if_addrs::get_if_addrs().unwrap_or_default();
    let ips: Vec<IpAddr> = all.iter().filter(|found| found.name == name).map(if_addrs::Interface::ip).collect();
    choose(&ips, bind).map_err(|problem| InterfaceError { name: name.to_owned(), problem })
}

fn choose(ips: &[IpAddr], bind: IpAddr) -> Result<IpAddr, Problem> {
    if ips.is_empty() {
        return Err(Problem::NoAddresses);
    }
    if !bind.is_unspecified() {
        return ips.iter().find(|&&ip| ip == bind).copied().ok_or(Problem::Lacks(bind));
    }
    ips.iter().find(|&&ip| !is_link_local(ip)).copied().ok_or(Problem::NoUsable)
}

/// Why an interface cannot be bound to. `Display` is upstream's text (cli.md 3.3, 9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceError {
    name: String,
    problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Problem {
    NoAddresses,
    NoUsable,
    Lacks(IpAddr),
}

impl fmt::Display for InterfaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match self.problem {
            Problem::NoAddresses => write!(f, "Interface '{name}' has no addresses"),
            Problem::NoUsable => write!(f, "Failed to find usable address for interface '{name}'"),
            Problem::Lacks(ip) => write!(f, "Interface '{name}' has no '{ip}' address"),
        }
    }
}

impl std::error::Error for InterfaceError {}

/// The address that peers are told where the agent listens on all addresses: the host's first private one.
///
/// Like upstream it has 16 bytes, also for IPv4 (rpc.md 6).
pub(crate) fn private_addr(port: u16) -> Option<GossipAddr> {
    let ips = if_addrs::get_if_addrs().unwrap_or_default();
    first_private(ips.iter().map(if_addrs::Interface::ip)).and_then(|ip| {
        let bytes = match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        };
        GossipAddr::from_bytes(&bytes, port)
    })
}

/// The first private IPv4 address, else the first private IPv6 address.
fn first_private(ips: impl Iterator<Item = IpAddr> + Clone) -> Option<IpAddr> {
    let v4 = |ip: &IpAddr| matches!(ip, IpAddr::V4(ip) if ip.is_private() || is_shared(*ip));
    let v6 = |ip: &IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unique_local());
    ips.clone().find(v4).or_else(|| ips.clone().find(v6))
}

/// 100.64.0.0/10, which carriers share.
const fn is_shared(ip: Ipv4Addr) -> bool {
    let [first, second, ..] = ip.octets();
    first == 100 && second & 0xc0 == 64
}

/// Whether an address can be reached from outside, which makes gossip in the clear worth a warning.
pub(crate) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            !(ip.is_private() || is_shared(ip) || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified())
        }
        IpAddr::V6(ip) => !(ip.is_unique_local() || ip.is_loopback() || is_link_local_v6(ip) || ip.is_unspecified()),
    }
}

const fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => is_link_local_v6(ip),
    }
}

const fn is_link_local_v6(ip: Ipv6Addr) -> bool {
    ip.is_unicast_link_local()
}

/// A system error in Go's spelling: `address already in use`.
pub(crate) fn errno_text(error: &io::Error) -> String {
    let text = error.to_string();
    lower_first(text.split(" (os error").next().unwrap_or(&text))
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn addresses_are_read_as_go_reads_them() {
        for (text, want) in [
            ("127.0.0.1", Ok("127.0.0.1:7946")),
            ("127.0.0.1:12", Ok("127.0.0.1:12")),
            ("127.0.0.1:0", Ok("127.0.0.1:0")),
            ("[::1]", Ok("[::1]:7946")),
            ("[::1]:5", Ok("[::1]:5")),
            (":5", Ok("0.0.0.0:5")),
            ("::1", Err("address ::1: too many colons in address")),
            ("127.0.0.1:99999", Err("address 99999: invalid port")),
            ("127.0.0.1:-1", Err("address -1: invalid port")),
            ("127.0.0.1:no such", Err("address tcp/no such: unknown port")),
            ("[::1", Err("address [::1: missing ']' in address")),
            ("[::1]x:5", Err("address [::1]x:5:7946: missing port in address")),
            ("a[b:5", Err("address a[b:5: unexpected '[' in address")),
            ("a]b:5", Err("address a]b:5: unexpected ']' in address")),
        ] {
            let want = want.map(|addr| addr.parse().expect("an address")).map_err(str::to_owned);
            assert_eq!(resolve(text), want, "{text}");
        }
        assert_eq!(resolve_with_port("127.0.0.1"), Err("address 127.0.0.1: missing port in address".to_owned()));
    }

    #[test]
    fn a_service_name_is_a_port() {
        let services = "# comment\nhttp 80/tcp www # web\nntp 123/udp\n";
        assert_eq!(["http", "www", "ntp"].map(|name| service_port(services, name)), [Some(80), Some(80), None]);
    }

    #[test]
    fn private_addresses_are_preferred_in_ipv4() {
        let ips = ["127.0.0.1", "8.8.8.8", "fd00::2", "169.254.1.1", "100.64.0.1", "10.0.0.1"].map(ip);
        assert_eq!(first_private(ips.into_iter()), Some(ip("100.64.0.1")));
        assert_eq!(first_private(ips[..3].iter().copied()), Some(ip("fd00::2")));
        assert_eq!(first_private(ips[..2].iter().copied()), None);
        assert_eq!(ips.map(is_public), [false, true, false, false, false, false]);
    }

    #[test]
    fn an_interface_must_have_the_address() {
        let ips = ["169.254.0.1", "10.0.0.1"].map(ip);
        assert_eq!(choose(&ips, ip("0.0.0.0")), Ok(ip("10.0.0.1")));
        assert_eq!(choose(&ips, ip("169.254.0.1")), Ok(ip("169.254.0.1")));
        for (ips, bind, want) in [
            (&ips[..0], "0.0.0.0", "Interface 'lo' has no addresses"),
            (&ips[..1], "0.0.0.0", "Failed to find usable address for interface 'lo'"),
            (&ips[..], "10.0.0.2", "Interface 'lo' has no '10.0.0.2' address"),
        ] {
            let problem = choose(ips, ip(bind)).expect_err("no address");
            assert_eq!(InterfaceError { name: "lo".to_owned(), problem }.to_string(), want);
        }
    }

    #[test]
    fn the_loopback_interface_is_found_by_name() {
        assert!(interface_exists("lo") && !interface_exists("nosuch0"));
        assert_eq!(interface_addr("lo", ip("127.0.0.1")), Ok(ip("127.0.0.1")));
        assert_eq!(
            interface_addr("nosuch0", ip("127.0.0.1")).map_err(|error| error.to_string()),
            Err("Interface 'nosuch0' has no addresses".to_owned())
        );
    }
}
