//! The gossip socket for datagrams.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, SocketAddrV6};

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use villein_core::Activity;

use crate::limits::DATAGRAMS_QUEUED_MAX;
use crate::perform::Answer;

/// Errors in a row after which the socket is left alone until it is ready again.
const ERRORS_MAX: usize = 4;

/// The socket and what could not be sent yet.
#[derive(Debug)]
pub(crate) struct Udp {
    socket: UdpSocket,
    token: Token,
    /// Whether the socket is an IPv6 one that speaks IPv4 too.
    mapped: bool,
    queue: VecDeque<(Activity, SocketAddr, Box<[u8]>)>,
    waiting: [usize; Activity::COUNT],
    dropped: u64,
}

/// What became of a datagram.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It is on its way.
    Gone,
    /// The socket is full: it waits, and it is the first of its activity that does.
    Stalled,
    /// It waits, or was dropped, behind others of its activity.
    Behind,
    /// The system refused it.
    Failed,
}

impl Udp {
    /// Registers `socket` for reading.
    pub(crate) fn new(socket: std::net::UdpSocket, registry: &Registry, token: Token) -> io::Result<Self> {
        let mapped = socket.local_addr()?.is_ipv6();
        let mut socket = UdpSocket::from_std(socket);
        registry.register(&mut socket, token, Interest::READABLE)?;
        Ok(Self { socket, token, mapped, queue: VecDeque::new(), waiting: [0; Activity::COUNT], dropped: 0 })
    }

    /// The next datagram: its length in `buffer` and its source; `None` if there is none now.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        for _ in 0..ERRORS_MAX {
            match self.socket.recv_from(buffer) {
                Ok((len, from)) => return Some((len, canonical(from))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                // An error of an earlier send that the kernel reports here; the call takes it off.
                Err(_) => {}
            }
        }
        None
    }

    /// Sends a datagram, or queues it behind those that wait.
    pub(crate) fn send(&mut self, registry: &Registry, activity: Activity, to: SocketAddr, bytes: Box<[u8]>) -> Sent {
        if self.queue.is_empty() {
            match self.try_send(to, &bytes) {
                Ok(()) => return Sent::Gone,
                Err(error) if is_full(&error) => {}
                Err(_) => return Sent::Failed,
            }
            // Only now: a socket that is watched for writing wakes the loop after every send.
            if self.watch(registry, Interest::READABLE | Interest::WRITABLE).is_err() {
                return Sent::Failed;
            }
        }
        let Some(waiting) = self.waiting.get_mut(activity.index()) else { return Sent::Failed };
        if self.queue.len() == DATAGRAMS_QUEUED_MAX {
            self.dropped += 1;
            return Sent::Behind;
        }
        self.queue.push_back((activity, to, bytes));
        *waiting += 1;
        if *waiting == 1 { Sent::Stalled } else { Sent::Behind }
    }

    /// Sends what waits, and says which activities have nothing left and which datagrams the system refused.
    pub(crate) fn flush(&mut self, registry: &Registry, answers: &mut Vec<Answer>) {
        while let Some((activity, to, bytes)) = self.queue.front() {
            let (activity, to) = (*activity, *to);
            match self.try_send(to, bytes) {
                Ok(()) => {}
                Err(error) if is_full(&error) => return,
                Err(_) => answers.push(Answer::SendFailed(activity, to)),
            }
            self.queue.pop_front();
            if let Some(waiting) = self.waiting.get_mut(activity.index()) {
                *waiting -= 1;
                if *waiting == 0 {
                    answers.push(Answer::Resumed(activity));
                }
            }
        }
        // A failure leaves the socket watched for writing: more wake-ups than needed, nothing worse.
        let _ = self.watch(registry, Interest::READABLE);
    }

    /// How many datagrams were dropped and are not forgotten.
    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Forgets those that were dropped: the log says it.
    pub(crate) const fn forget_dropped(&mut self) {
        self.dropped = 0;
    }

    fn watch(&mut self, registry: &Registry, interest: Interest) -> io::Result<()> {
        registry.reregister(&mut self.socket, self.token, interest)
    }

    fn try_send(&self, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        let to = match to {
            SocketAddr::V4(to) if self.mapped => SocketAddrV6::new(to.ip().to_ipv6_mapped(), to.port(), 0, 0).into(),
            SocketAddr::V4(_) | SocketAddr::V6(_) => to,
        };
        self.socket.send_to(bytes, to).map(drop)
    }
}

/// Whether the local buffers are full: it will pass.
fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// An IPv4 address that came through an IPv6 socket, as IPv4.
pub(crate) fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr.ip().to_canonical() {
        ip if ip == addr.ip() => addr,
        ip => SocketAddr::new(ip, addr.port()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll};
    use std::time::Duration;

    const TOKEN: Token = Token(0);

    fn socket(addr: &str) -> std::net::UdpSocket {
        let socket = std::net::UdpSocket::bind(addr).expect("binds");
        socket.set_nonblocking(true).expect("does not block");
        socket
    }

    #[test]
    fn a_datagram_comes_with_its_source() {
        let mut poll = Poll::new().expect("a poll");
        let mut one = Udp::new(socket("127.0.82.1:0"), poll.registry(), TOKEN).expect("registers");
        let other = socket("127.0.82.2:0");
        let [from, to] = [other.local_addr(), one.socket.local_addr()].map(|addr| addr.expect("is bound"));
        other.send_to(b"ping", to).expect("sends");
        poll.poll(&mut Events::with_capacity(1), Some(Duration::from_secs(10))).expect("wakes");
        let mut buffer = [0; 16];
        assert_eq!(one.receive(&mut buffer), Some((4, from)));
        assert_eq!(one.receive(&mut buffer), None);
        assert_eq!(one.send(poll.registry(), Activity::Probe, from, b"ack".as_slice().into()), Sent::Gone);
        other.set_nonblocking(false).expect("blocks");
        assert_eq!(other.recv(&mut buffer).expect("arrives"), 3);
    }

    #[test]
    fn an_ipv6_socket_speaks_ipv4_too() {
        let Ok(gossip) = crate::sockets::Gossip::open("0.0.0.0:0".parse().expect("an address")) else {
            panic!("all addresses can be bound");
        };
        let poll = Poll::new().expect("a poll");
        let mut one = Udp::new(gossip.udp, poll.registry(), TOKEN).expect("registers");
        let other = socket("127.0.82.3:0");
        other.set_nonblocking(false).expect("blocks");
        let to = other.local_addr().expect("is bound");
        assert_eq!(one.send(poll.registry(), Activity::Probe, to, b"x".as_slice().into()), Sent::Gone);
        let mut buffer = [0; 16];
        let (_, from) = other.recv_from(&mut buffer).expect("arrives");
        other.send_to(b"yes", from).expect("sends");
        let mut events = Events::with_capacity(1);
        let mut poll = poll;
        poll.poll(&mut events, Some(Duration::from_secs(10))).expect("wakes");
        assert_eq!(one.receive(&mut buffer), Some((3, to)), "the source is shown as IPv4");
    }

    #[test]
    fn a_full_socket_stalls_each_activity_once_and_a_free_one_resumes_them() {
        let poll = Poll::new().expect("a poll");
        let mut udp = Udp::new(socket("127.0.82.4:0"), poll.registry(), TOKEN).expect("registers");
        let sink = socket("127.0.82.5:0");
        let to = sink.local_addr().expect("is bound");
        // Loopback never fills a socket: the queue is filled by hand, as after a send that would have blocked.
        let packet = || -> Box<[u8]> { b"x".as_slice().into() };
        udp.queue.push_back((Activity::Gossip, to, packet()));
        udp.waiting[Activity::Gossip.index()] = 1;
        assert_eq!(udp.send(poll.registry(), Activity::Probe, to, packet()), Sent::Stalled);
        assert_eq!(udp.send(poll.registry(), Activity::Probe, to, packet()), Sent::Behind);
        let mut answers = Vec::new();
        udp.flush(poll.registry(), &mut answers);
        assert_eq!(answers, [Answer::Resumed(Activity::Gossip), Answer::Resumed(Activity::Probe)]);
        let mut buffer = [0; 4];
        for _ in 0..3 {
            sink.set_nonblocking(false).expect("blocks");
            assert_eq!(sink.recv(&mut buffer).expect("arrives"), 1);
        }
    }

    #[test]
    fn what_waits_is_bounded_and_the_rest_is_counted() {
        let poll = Poll::new().expect("a poll");
        let mut udp = Udp::new(socket("127.0.82.6:0"), poll.registry(), TOKEN).expect("registers");
        let to: SocketAddr = "127.0.82.7:9".parse().expect("an address");
        udp.queue.push_back((Activity::Gossip, to, Box::default()));
        for _ in 0..DATAGRAMS_QUEUED_MAX {
            udp.send(poll.registry(), Activity::Probe, to, Box::default());
        }
        assert_eq!((udp.queue.len(), udp.dropped()), (DATAGRAMS_QUEUED_MAX, 1));
        udp.forget_dropped();
        assert_eq!(udp.dropped(), 0);
    }

    #[test]
    fn what_the_system_refuses_has_failed() {
        let poll = Poll::new().expect("a poll");
        let mut udp = Udp::new(socket("127.0.82.8:0"), poll.registry(), TOKEN).expect("registers");
        let to = "[::1]:9".parse().expect("an address");
        assert_eq!(udp.send(poll.registry(), Activity::Probe, to, Box::default()), Sent::Failed);
    }
}
