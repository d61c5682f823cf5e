//! The sockets an agent listens on, with Go's error texts (cli.md 3.3, 12 and 14).

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::address::errno_text;

/// Go's: the largest backlog of a listener is the system's.
const BACKLOG: i32 = 4_096;
/// What memberlist asks for; the system may give less.
const RECEIVE_BUFFER_BYTES: usize = 2 << 20;
/// How often a random port is tried: the system picks it for TCP, it must be free for UDP too.
const RANDOM_PORT_TRIES: usize = 10;

/// The two gossip sockets, on one port.
pub(crate) struct Gossip {
    /// For streams.
    pub(crate) tcp: TcpListener,
    /// For datagrams.
    pub(crate) udp: UdpSocket,
    /// Their port.
    pub(crate) port: u16,
}

impl Gossip {
    /// Opens both sockets. With port 0 the system picks one that is free for both.
    pub(crate) fn open(bind: SocketAddr) -> Result<Self, String> {
        let tries = if bind.port() == 0 { RANDOM_PORT_TRIES } else { 1 };
        let mut last = Err(String::new());
        for _ in 0..tries {
            last = Self::try_open(bind);
            if last.is_ok() {
                break;
            }
        }
        last
    }

    fn try_open(bind: SocketAddr) -> Result<Self, String> {
        let failed = |kind: &str, network: &str, addr: SocketAddr, error: ListenError| {
            let (ip, port) = (addr.ip(), addr.port());
            format!("Failed to start {kind} listener on \"{ip}\" port {port}: listen {network} {addr}: {error}")
        };
        let tcp = listen(bind).map_err(|error| failed("TCP", "tcp", bind, error))?;
        let port =
            tcp.local_addr().map_err(|error| failed("TCP", "tcp", bind, ListenError("getsockname", error)))?.port();
        let addr = SocketAddr::new(bind.ip(), port);
        let udp = datagrams(addr).map_err(|error| failed("UDP", "udp", addr, error))?;
        Ok(Self { tcp, udp, port })
    }
}

/// A system call that failed while a socket was opened.
struct ListenError(&'static str, io::Error);

impl std::fmt::Display for ListenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.0, errno_text(&self.1))
    }
}

/// Opens the RPC listener.
pub(crate) fn rpc_listener(addr: &str) -> Result<TcpListener, String> {
    let addr = crate::address::resolve_with_port(addr).map_err(|error| format!("listen tcp: {error}"))?;
    listen(addr).map_err(|error| format!("listen tcp {addr}: {error}"))
}

fn listen(addr: SocketAddr) -> Result<TcpListener, ListenError> {
    let socket = open(addr, Type::STREAM, Protocol::TCP)?;
    socket.listen(BACKLOG).map_err(|error| ListenError("listen", error))?;
    Ok(socket.into())
}

fn datagrams(addr: SocketAddr) -> Result<UdpSocket, ListenError> {
    let socket = open(addr, Type::DGRAM, Protocol::UDP)?;
    let mut bytes = RECEIVE_BUFFER_BYTES;
    while bytes > 0 && socket.set_recv_buffer_size(bytes).is_err() {
        bytes /= 2;
    }
    Ok(socket.into())
}

/// A bound socket that does not block. Bound to all addresses it speaks both IP versions where the system has both.
fn open(addr: SocketAddr, kind: Type, protocol: Protocol) -> Result<Socket, ListenError> {
    if addr.ip().is_unspecified() {
        let any = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), addr.port());
        match open_one(any, kind, protocol, true) {
            Err(ListenError(_, error)) if addr.is_ipv4() && lacks_ipv6(&error) => {}
            result => return result,
        }
    }
    open_one(addr, kind, protocol, false)
}

fn lacks_ipv6(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let number = error.raw_os_error();
    [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL, Errno::PROTONOSUPPORT].iter().any(|no| number == Some(no.raw_os_error()))
}

fn open_one(addr: SocketAddr, kind: Type, protocol: Protocol, both: bool) -> Result<Socket, ListenError> {
    let call = |name: &'static str| move |error| ListenError(name, error);
    let domain = Domain::for_address(addr);
    let socket = Socket::new(domain, kind, Some(protocol)).map_err(call("socket"))?;
    socket.set_nonblocking(true).map_err(call("fcntl"))?;
    if domain == Domain::IPV6 {
        socket.set_only_v6(!both).map_err(call("setsockopt"))?;
    }
    if kind == Type::STREAM {
        socket.set_reuse_address(true).map_err(call("setsockopt"))?;
    }
    socket.bind(&SockAddr::from(addr)).map_err(call("bind"))?;
    Ok(socket)
}

/// Waits until what this thread has sent over loopback so far has arrived: the kernel delivers in order.
#[cfg(test)]
pub(crate) fn settle() {
    let socket = UdpSocket::bind("127.0.89.1:0").expect("binds");
    socket.send_to(b"x", socket.local_addr().expect("is bound")).expect("sends");
    socket.recv(&mut [0; 1]).expect("arrives");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sockets_have_one_port_and_its_second_user_is_told() {
        let first = Gossip::open("127.0.81.1:0".parse().expect("an address")).expect("opens");
        assert_eq!(first.udp.local_addr().expect("is bound").port(), first.port);
        let taken = SocketAddr::new([127, 0, 81, 1].into(), first.port);
        let port = first.port;
        assert_eq!(
            Gossip::open(taken).err(),
            Some(format!(
                "Failed to start TCP listener on \"127.0.81.1\" port {port}: listen tcp 127.0.81.1:{port}: bind: \
                 address already in use"
            ))
        );
        drop(first.tcp);
        assert_eq!(
            Gossip::open(taken).err(),
            Some(format!(
                "Failed to start UDP listener on \"127.0.81.1\" port {port}: listen udp 127.0.81.1:{port}: bind: \
                 address already in use"
            ))
        );
    }

    #[test]
    fn the_rpc_address_needs_a_port() {
        assert_eq!(
            rpc_listener("127.0.81.1").err().as_deref(),
            Some("listen tcp: address 127.0.81.1: missing port in address")
        );
        let first = rpc_listener("127.0.81.2:0").expect("opens");
        let taken = first.local_addr().expect("is bound").to_string();
        assert_eq!(rpc_listener(&taken).err(), Some(format!("listen tcp {taken}: bind: address already in use")));
    }
}
