//! Agents of a cluster found by multicast DNS (cli.md 3.10).
//!
//! A thread of its own asks each minute, answers others, and hands the loop what it found. It asks the way upstream
//! does, once and from a port of its own, and answers by unicast: so both programs find each other, and other users of
//! port 5353 on the host are neither disturbed nor in the way.

mod discovery;
mod links;
mod message;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use mio::net::UdpSocket;
use mio::{Events, Poll, Token, Waker};
use villein_core::Time;
use villein_core::limits;
use villein_core::types::Name;

pub(crate) use self::discovery::Discovery;
use self::links::Sockets;
pub use self::message::reread_mdns;
use self::message::{Data, DomainName, Message, Record};
use crate::address::errno_text;
use crate::clock::Clock;
use crate::limits::{MDNS_MESSAGE_BYTES_MAX, MDNS_MESSAGES_PER_TURN};

/// How often the network is asked.
const ASK_INTERVAL: Duration = Duration::from_secs(60);
/// How soon it is asked again when nobody could be asked; doubled each time.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Agents are joined when no other has answered for so long.
const QUIET: Duration = Duration::from_millis(100);
/// Longest time for which others are waited for: somebody who never stops answering keeps nobody from being joined.
const GATHER_MAX: Duration = Duration::from_secs(1);
/// The thread does little.
const STACK_BYTES: usize = 256 << 10;
const WAKER: Token = Token(0);

/// How agents are found by multicast DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MdnsOptions {
    /// The cluster's name; agents with another one are not seen.
    pub cluster: String,
    /// The only interface that is used; `None`: all of the host's, without loopback if there is another.
    pub interface: Option<String>,
    /// Whether IPv4 is spoken.
    pub ipv4: bool,
    /// Whether IPv6 is spoken.
    pub ipv6: bool,
}

/// Why agents cannot be found. `Display` is upstream's text where it has one (cli.md 3.3, 13).
#[derive(Debug)]
pub(crate) enum MdnsError {
    /// No link takes multicast.
    NoListeners,
    /// The cluster's or the node's name does not fit into DNS.
    Name { what: &'static str, name: String },
    /// The system has no thread or poll for it.
    System(io::Error),
}

impl fmt::Display for MdnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoListeners => f.write_str("No multicast listeners could be started"),
            Self::Name { what, name } => write!(
                f,
                "the {what} '{name}' does not fit into DNS: between dots there are 1 to 63 bytes (8 are ours in a \
                 cluster's name), 255 in all"
            ),
            Self::System(error) => write!(f, "{}", errno_text(error)),
        }
    }
}

impl From<io::Error> for MdnsError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// What the thread tells the loop.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// These answered, perhaps not for the first time.
    Hosts(Vec<SocketAddr>),
    /// Nobody could be asked, for the first time since it worked.
    Problem(String),
}

/// The names of our records.
struct Names {
    service: DomainName,
    instance: DomainName,
    host: DomainName,
}

impl Names {
    fn new(cluster: &str, node: &Name) -> Result<Self, MdnsError> {
        let service = format!("_serf_{cluster}");
        let service: Vec<&[u8]> = labels(service.as_bytes()).chain([&b"_tcp"[..], b"local"]).collect();
        let unfit = |what, name: &str| MdnsError::Name { what, name: name.to_owned() };
        let instance = DomainName::new(labels(node.as_bytes()).chain(service.iter().copied()));
        let service = DomainName::new(service).ok_or_else(|| unfit("cluster name", cluster))?;
        let instance = instance.ok_or_else(|| unfit("node name", &String::from_utf8_lossy(node.as_bytes())))?;
        Ok(Self { service, instance, host: host_name() })
    }

    /// What is answered, in upstream's order.
    fn records(&self, cluster: &str, addr: SocketAddr) -> [Record; 4] {
        let Self { service, instance, host } = self;
        [
            (service, Data::Ptr(instance.clone())),
            (instance, Data::Srv { port: addr.port(), target: host.clone() }),
            (host, Data::Address(addr.ip().to_canonical())),
            (instance, Data::Txt(format!("Serf '{cluster}' cluster").into_bytes())),
        ]
        .map(|(name, data)| Record { name: name.clone(), data })
    }
}

fn labels(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    name.split(|byte| *byte == b'.')
}

/// As upstream has it, without a domain. It only ties the records of one answer together.
fn host_name() -> DomainName {
    let uname = rustix::system::uname();
    let name = DomainName::new(labels(uname.nodename().to_bytes()));
    name.or_else(|| DomainName::new([&b"localhost"[..]])).expect("this label fits")
}

/// What the thread works with.
struct Worker {
    names: Names,
    records: [Record; 4],
    question: Vec<u8>,
    options: MdnsOptions,
    poll: Poll,
    sockets: Sockets,
    clock: Clock,
    ask_at: Time,
    /// When what was found is told: when no other has answered for a while.
    quiet_at: Option<Time>,
    /// When it is told even if others go on to answer.
    tell_at: Time,
    hosts: BTreeSet<SocketAddr>,
    /// How often in a row nobody could be asked.
    failures: u32,
    found: SyncSender<Found>,
    loop_waker: Arc<Waker>,
    stopped: Arc<AtomicBool>,
}

impl Worker {
    fn run(mut self) {
        let mut events = Events::with_capacity(32);
        let mut buffer = vec![0; MDNS_MESSAGE_BYTES_MAX];
        let mut busy = false;
        while !self.stopped.load(Ordering::Relaxed) {
            let now = self.clock.now();
            if now >= self.ask_at {
                self.ask();
                let again = ASK_AGAIN * 2_u32.saturating_pow(self.failures.saturating_sub(1).min(8));
                self.ask_at = now + if self.failures == 0 { ASK_INTERVAL } else { ASK_INTERVAL.min(again) };
            }
            if self.quiet_at.is_some_and(|at| at <= now) {
                self.tell_hosts(now);
            }
            let until = self.quiet_at.unwrap_or(self.ask_at).min(self.ask_at);
            let timeout = if busy { Duration::ZERO } else { until.since(now) };
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    self.tell(Found::Problem(errno_text(&error)));
                    return;
                }
                Ok(()) | Err(_) => busy = self.read(&mut buffer),
            }
        }
    }

    fn follow_links(&mut self) {
        let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
        self.sockets.follow(&links::links(&self.options, &interfaces), self.poll.registry());
    }

    fn ask(&mut self) {
        self.follow_links();
        match self.sockets.ask(&self.question) {
            Ok(()) => self.failures = 0,
            Err(error) => {
                if self.failures == 0 {
                    self.tell(Found::Problem(errno_text(&error)));
                }
                self.failures = self.failures.saturating_add(1);
            }
        }
    }

    /// Reads what has come; whether more may be there.
    fn read(&mut self, buffer: &mut [u8]) -> bool {
        let mut found = Vec::new();
        let mut busy = false;
        for (socket, answers) in self.sockets.all() {
            busy |= self.read_socket(socket, answers, buffer, &mut found);
        }
        self.note_hosts(found, self.clock.now());
        busy
    }

    fn read_socket(
        &self,
        socket: &UdpSocket,
        answers: bool,
        buffer: &mut [u8],
        found: &mut Vec<(IpAddr, u16)>,
    ) -> bool {
        for _ in 0..MDNS_MESSAGES_PER_TURN {
            let (len, from) = match socket.recv_from(buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                // The network's word on an earlier packet; the call takes it off.
                Err(_) => continue,
            };
            let Some(message) = buffer.get(..len).and_then(Message::parse) else { continue };
            if message.is_response {
                found.extend(message.instances(&self.names.service));
            } else if answers && let Some(answer) = self.answer(&message) {
                // Who asked will ask again.
                let _ = socket.send_to(&answer, from);
            }
        }
        true
    }

    fn note_hosts(&mut self, found: Vec<(IpAddr, u16)>, now: Time) {
        for (ip, port) in found {
            let is_first = self.hosts.is_empty();
            let is_new = self.hosts.len() < limits::JOIN_TARGETS_MAX
                && port != 0
                && !ip.is_unspecified()
                && self.hosts.insert(SocketAddr::new(ip, port));
            if is_new {
                if is_first {
                    self.tell_at = now + GATHER_MAX;
                }
                self.quiet_at = Some(self.tell_at.min(now + QUIET));
            }
        }
    }

    /// The answer to a question about us.
    fn answer(&self, message: &Message) -> Option<Vec<u8>> {
        let all =
            message.questions.iter().any(|question| question.name == self.names.service && question.wants_instances());
        let wanted = |record: &&Record| all || message.questions.iter().any(|question| question.wants(record));
        let records: Vec<Record> = self.records.iter().filter(wanted).cloned().collect();
        (!records.is_empty()).then(|| Message::answer(message.id, records).encode())
    }

    fn tell_hosts(&mut self, now: Time) {
        self.quiet_at = None;
        let hosts = self.hosts.iter().copied().collect();
        if self.tell(Found::Hosts(hosts)) {
            self.hosts.clear();
        } else {
            self.quiet_at = Some(now + QUIET);
        }
    }

    /// Tells the loop; `false` if it has not taken what it was told before.
    fn tell(&self, found: Found) -> bool {
        self.found.try_send(found).is_ok() && self.loop_waker.wake().is_ok()
    }
}

#[cfg(test)]
mod tests;
