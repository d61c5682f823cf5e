//! The sockets for finding agents: one to ask and one to answer on each link.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use if_addrs::Interface;
use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::MdnsOptions;
use crate::limits::MDNS_LINKS_MAX;

/// Where multicast DNS is spoken (RFC 6762, 3).
const PORT: u16 = 5353;
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);

/// An interface, in one IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Link {
    /// By its first address.
    V4(Ipv4Addr),
    /// By its number.
    V6(u32),
}

/// The links that the options and the host's interfaces allow. Loopback counts if it is named, or if there is
/// nothing else.
pub(crate) fn links(options: &MdnsOptions, interfaces: &[Interface]) -> Vec<Link> {
    let allowed = |found: &&Interface| match found.ip() {
        IpAddr::V4(_) => options.ipv4,
        IpAddr::V6(_) => options.ipv6,
    };
    let named = |found: &&Interface| options.interface.as_ref().is_none_or(|name| *name == found.name);
    let all: Vec<&Interface> = interfaces.iter().filter(allowed).filter(named).collect();
    let outside = all.iter().any(|found| !found.is_loopback());
    let mut seen = BTreeSet::new();
    let first = |found: &&&Interface| seen.insert((found.index, found.ip().is_ipv4()));
    let link = |found: &&Interface| match found.ip() {
        IpAddr::V4(ip) => Some(Link::V4(ip)),
        IpAddr::V6(_) => found.index.map(Link::V6),
    };
    let used = all.iter().filter(|found| !outside || !found.is_loopback()).filter(first);
    used.filter_map(link).take(MDNS_LINKS_MAX).collect()
}

/// The open sockets. They follow the host's links: see [`Sockets::follow`].
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    /// The one to ask, the one to answer.
    open: BTreeMap<Link, [UdpSocket; 2]>,
    /// Given out so far; 0 is the thread's waker.
    tokens: usize,
}

impl Sockets {
    /// Opens sockets for links that are new and closes those of links that are gone.
    pub(crate) fn follow(&mut self, links: &[Link], registry: &Registry) {
        self.open.retain(|link, _| links.contains(link));
        for &link in links {
            // A link that does not take multicast, or no longer exists, is tried again at the next round.
            if !self.open.contains_key(&link)
                && let Ok(mut pair) = asker(link).and_then(|asker| Ok([asker, answerer(link)?]))
                && pair.iter_mut().try_for_each(|socket| self.register(socket, registry)).is_ok()
            {
                self.open.insert(link, pair);
            }
        }
    }

    fn register(&mut self, socket: &mut UdpSocket, registry: &Registry) -> io::Result<()> {
        self.tokens += 1;
        registry.register(socket, Token(self.tokens), Interest::READABLE)
    }

    /// Whether there is no link to ask on.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Sends a question on all links.
    ///
    /// # Errors
    /// The last reason, where it could be sent on none of them.
    pub(crate) fn ask(&self, question: &[u8]) -> io::Result<()> {
        let mut result = Err(io::ErrorKind::NetworkUnreachable.into());
        for (link, [asker, _]) in &self.open {
            let sent = asker.send_to(question, group(*link));
            if result.is_err() {
                result = sent.map(drop);
            }
        }
        result
    }

    /// Every socket, to read from, and whether it is there to answer.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&UdpSocket, bool)> {
        self.open.values().flat_map(|[asker, answerer]| [(asker, false), (answerer, true)])
    }
}

const fn group(link: Link) -> SocketAddr {
    match link {
        Link::V4(_) => SocketAddr::new(IpAddr::V4(GROUP_V4), PORT),
        Link::V6(index) => SocketAddr::V6(SocketAddrV6::new(GROUP_V6, PORT, 0, index)),
    }
}

fn open(link: Link) -> io::Result<Socket> {
    let domain = match link {
        Link::V4(_) => Domain::IPV4,
        Link::V6(_) => Domain::IPV6,
    };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if domain == Domain::IPV6 {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// Asks from a port of its own, so that the answers, which come by unicast, reach us and not another program that
/// shares port 5353.
fn asker(link: Link) -> io::Result<UdpSocket> {
    let socket = open(link)?;
    let any: IpAddr = match link {
        Link::V4(ip) => {
            socket.set_multicast_if_v4(&ip)?;
            Ipv4Addr::UNSPECIFIED.into()
        }
        Link::V6(index) => {
            socket.set_multicast_if_v6(index)?;
            Ipv6Addr::UNSPECIFIED.into()
        }
    };
    socket.bind(&SockAddr::from(SocketAddr::new(any, 0)))?;
    Ok(UdpSocket::from_std(socket.into()))
}

/// Bound to the group, so that it takes no unicast from other programs that share the port, and hears only its link.
fn answerer(link: Link) -> io::Result<UdpSocket> {
    let socket = open(link)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if let Link::V4(_) = link {
        // IPv6 addresses name their link.
        socket.set_multicast_all_v4(false)?;
    }
    socket.bind(&SockAddr::from(group(link)))?;
    match link {
        Link::V4(ip) => socket.join_multicast_v4(&GROUP_V4, &ip)?,
        Link::V6(index) => socket.join_multicast_v6(&GROUP_V6, index)?,
    }
    Ok(UdpSocket::from_std(socket.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use if_addrs::{IfAddr, IfOperStatus, Ifv4Addr, Ifv6Addr};

    fn interface(name: &str, index: u32, ip: &str) -> Interface {
        let addr = match ip.parse().expect("an address") {
            IpAddr::V4(ip) => IfAddr::V4(Ifv4Addr { ip, netmask: Ipv4Addr::BROADCAST, prefixlen: 32, broadcast: None }),
            IpAddr::V6(ip) => {
                IfAddr::V6(Ifv6Addr { ip, netmask: Ipv6Addr::UNSPECIFIED, prefixlen: 64, broadcast: None })
            }
        };
        Interface { name: name.to_owned(), addr, index: Some(index), oper_status: IfOperStatus::Up, is_p2p: false }
    }

    #[test]
    fn so_many_links_are_used() {
        let host: Vec<_> = (1..=33).map(|n| interface(&format!("eth{n}"), n, &format!("10.0.{n}.1"))).collect();
        let options = MdnsOptions { cluster: "c".to_owned(), interface: None, ipv4: true, ipv6: true };
        assert_eq!(MDNS_LINKS_MAX, 32);
        assert_eq!([32, 33].map(|count| links(&options, &host[..count]).len()), [32, 32]);
    }

    #[test]
    fn each_network_is_asked_once_in_each_ip_version() {
        let host = [
            interface("lo", 1, "127.0.0.1"),
            interface("eth0", 2, "10.0.0.1"),
            interface("eth0", 2, "10.0.0.2"),
            interface("eth0", 2, "fe80::1"),
            interface("eth0", 2, "fd00::1"),
            interface("eth1", 3, "10.1.0.1"),
        ];
        let plain = MdnsOptions { cluster: "c".to_owned(), interface: None, ipv4: true, ipv6: true };
        let v4 = |ip: &str| Link::V4(ip.parse().expect("an address"));
        let named = |name: &str| MdnsOptions { interface: Some(name.to_owned()), ..plain.clone() };
        for (options, host, want) in [
            (plain.clone(), &host[..], vec![v4("10.0.0.1"), Link::V6(2), v4("10.1.0.1")]),
            (plain.clone(), &host[..1], vec![v4("127.0.0.1")]),
            (named("lo"), &host, vec![v4("127.0.0.1")]),
            (named("eth0"), &host, vec![v4("10.0.0.1"), Link::V6(2)]),
            (MdnsOptions { ipv4: false, ..named("eth0") }, &host, vec![Link::V6(2)]),
            (MdnsOptions { ipv6: false, ..plain.clone() }, &host, vec![v4("10.0.0.1"), v4("10.1.0.1")]),
            (named("nosuch0"), &host, vec![]),
        ] {
            assert_eq!(links(&options, host), want, "{options:?}");
        }
    }
}
