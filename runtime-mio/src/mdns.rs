//! Agents of a cluster found by multicast DNS (cli.md 3.10).
//!
//! A thread of its own asks each minute, answers others, and hands the loop what it found. It asks the way upstream
//! does, once and from a port of its own, and answers by unicast: so both programs find each other, and other users of
//! port 5353 on the host are neither disturbed nor in the way.

mod links;
mod message;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mio::net::UdpSocket;
use mio::{Events, Poll, Token, Waker};
use villein_core::Time;
use villein_core::command::{Command, JoinError, JoinErrors, Reply};
use villein_core::limits;
use villein_core::log::Level;
use villein_core::types::{JoinTarget, Name};

use self::links::Sockets;
pub use self::message::reread_mdns;
use self::message::{Data, DomainName, Message, Record};
use crate::address::errno_text;
use crate::agent::Agent;
use crate::clock::Clock;
use crate::limits::{MDNS_HOSTS_MAX, MDNS_MESSAGE_BYTES_MAX, MDNS_MESSAGES_PER_TURN, MDNS_WAITING_MAX};
use crate::requests::Asker;

/// How often the network is asked.
const ASK_INTERVAL: Duration = Duration::from_secs(60);
/// How soon it is asked again when nobody could be asked; doubled each time.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Agents are joined when no other has answered for so long.
const QUIET: Duration = Duration::from_millis(100);
/// Failures after which the time between two attempts does not grow any more.
const FAILURES_MAX: u32 = 4;
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

/// What became of an address that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Host {
    Joined,
    /// It is being joined for the time after so many failures.
    Joining {
        failures: u32,
    },
    /// It is left alone for so many answers more.
    Failed {
        failures: u32,
        wait: u32,
    },
}

/// The thread, and what has been joined of what it found.
pub(crate) struct Discovery {
    hosts: BTreeMap<SocketAddr, Host>,
    found: Receiver<Found>,
    stopped: Arc<AtomicBool>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

impl Discovery {
    /// Starts the thread, which answers for `node` at `addr` and wakes the loop by `waker`.
    pub(crate) fn start(
        options: MdnsOptions,
        node: &Name,
        addr: SocketAddr,
        waker: &Arc<Waker>,
    ) -> Result<Self, MdnsError> {
        let names = Names::new(&options.cluster, node)?;
        let poll = Poll::new()?;
        let own_waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let (sender, found) = sync_channel(MDNS_WAITING_MAX);
        let stopped = Arc::new(AtomicBool::new(false));
        let mut worker = Worker {
            records: names.records(&options.cluster, addr),
            question: Message::query(&names.service).encode(),
            names,
            options,
            poll,
            sockets: Sockets::default(),
            clock: Clock::start(),
            ask_at: Time::ZERO,
            quiet_at: None,
            hosts: BTreeSet::new(),
            failures: 0,
            found: sender,
            loop_waker: Arc::clone(waker),
            stopped: Arc::clone(&stopped),
        };
        worker.follow_links();
        if worker.sockets.is_empty() {
            return Err(MdnsError::NoListeners);
        }
        let builder = thread::Builder::new().name("mdns".to_owned()).stack_size(STACK_BYTES);
        let thread = Some(builder.spawn(move || worker.run())?);
        Ok(Self { hosts: BTreeMap::new(), found, stopped, waker: own_waker, thread })
    }

    /// Those of `found` that are to be joined. They are being joined from now on.
    fn take_new(&mut self, found: Vec<SocketAddr>) -> Vec<SocketAddr> {
        let mut new = Vec::new();
        for addr in found {
            if !self.hosts.contains_key(&addr) && self.hosts.len() == MDNS_HOSTS_MAX && !self.forget_one() {
                continue;
            }
            let failures = match self.hosts.get_mut(&addr) {
                Some(Host::Joined | Host::Joining { .. }) => continue,
                Some(Host::Failed { failures: _, wait }) if *wait > 0 => {
                    *wait -= 1;
                    continue;
                }
                Some(Host::Failed { failures, wait: _ }) => *failures,
                None => 0,
            };
            self.hosts.insert(addr, Host::Joining { failures });
            new.push(addr);
        }
        new
    }

    /// Forgets the one that could not be joined most often; false: there is none. Whoever invents hosts on a link must not
    /// keep those that are there from being found.
    fn forget_one(&mut self) -> bool {
        let failures = |host: &Host| match host {
            Host::Failed { failures, .. } => Some(*failures),
            Host::Joined | Host::Joining { .. } => None,
        };
        let failed = self.hosts.iter().filter_map(|(addr, host)| Some((failures(host)?, *addr)));
        failed.max().is_some_and(|(_, addr)| self.hosts.remove(&addr).is_some())
    }

    /// A join is over. Those that failed are tried again when they answer the next time, then every second, fourth
    /// time and so on: an agent of another kind must not fill the log.
    fn joined(&mut self, hosts: &[SocketAddr], failed: impl Fn(&SocketAddr) -> bool) {
        for host in hosts {
            let Some(state) = self.hosts.get_mut(host) else { continue };
            *state = match *state {
                Host::Joining { failures } if failed(host) => {
                    Host::Failed { failures: failures + 1, wait: (1 << failures.min(FAILURES_MAX)) - 1 }
                }
                Host::Joining { .. } | Host::Joined | Host::Failed { .. } => Host::Joined,
            };
        }
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        if self.waker.wake().is_ok()
            && let Some(thread) = self.thread.take()
        {
            // Only fails if the thread has panicked, which has been reported then.
            let _ = thread.join();
        }
    }
}

impl Agent {
    /// Joins what the thread has found.
    pub(crate) fn take_discovered(&mut self) {
        while let Some(found) = self.discovery.as_ref().and_then(|discovery| discovery.found.try_recv().ok()) {
            match found {
                Found::Problem(problem) => {
                    self.journal.log(Level::Err, format_args!("agent.mdns: Failed to poll for new hosts: {problem}"));
                }
                // Who leaves has no use for others.
                Found::Hosts(_) if self.leave_asked => {}
                Found::Hosts(found) => {
                    let new = self.discovery.as_mut().map_or_else(Vec::new, |discovery| discovery.take_new(found));
                    if !new.is_empty() {
                        let targets = new.iter().map(|addr| JoinTarget::from(addr.to_string().as_str())).collect();
                        let command = Command::Join { targets, replay: self.replay };
                        self.command(Asker::Discovery(new), command);
                    }
                }
            }
        }
    }

    /// The join of what was found is over.
    pub(crate) fn discovered_joined(&mut self, hosts: &[SocketAddr], reply: &Reply) {
        let Some(discovery) = &mut self.discovery else { return };
        let failed = |problem: fmt::Arguments<'_>, journal: &mut crate::log_ring::Journal| {
            journal.log(Level::Err, format_args!("agent.mdns: Failed to join: {problem}"));
        };
        match reply {
            Reply::Joined { contacted: 0, errors } => {
                discovery.joined(hosts, |_| true);
                failed(format_args!("{}", JoinErrors(errors)), &mut self.journal);
            }
            Reply::Joined { contacted, errors } => {
                discovery.joined(hosts, |host| errors.iter().any(|error| is_of(error, host)));
                self.journal.log(Level::Info, format_args!("agent.mdns: Joined {contacted} hosts"));
            }
            Reply::Failed(error) => {
                discovery.joined(hosts, |_| true);
                failed(format_args!("{error}"), &mut self.journal);
            }
            Reply::Left
            | Reply::Rejoined
            | Reply::ForceLeft
            | Reply::EventSent
            | Reply::QueryStarted
            | Reply::QueryAck { .. }
            | Reply::QueryResponse { .. }
            | Reply::QueryDone
            | Reply::Responded
            | Reply::TagsSet
            | Reply::QueryEnded
            | Reply::Keys(_) => discovery.joined(hosts, |_| true),
        }
    }
}

/// Whether a join failed with the host. The error does not tell its port.
fn is_of(error: &JoinError, host: &SocketAddr) -> bool {
    match error {
        JoinError::Resolve { target, reason: _ } => *target == host.to_string(),
        JoinError::Contact { host: ip, reason: _ } => *ip == host.ip().to_string(),
    }
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
    /// When what was found is told.
    quiet_at: Option<Time>,
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
        self.note_hosts(found);
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

    fn note_hosts(&mut self, found: Vec<(IpAddr, u16)>) {
        for (ip, port) in found {
            if self.hosts.len() < limits::JOIN_TARGETS_MAX && port != 0 && !ip.is_unspecified() {
                self.hosts.insert(SocketAddr::new(ip, port));
                self.quiet_at = Some(self.clock.now() + QUIET);
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
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn discovery() -> (Discovery, SyncSender<Found>, Poll) {
        let poll = Poll::new().expect("a poll");
        let waker = Arc::new(Waker::new(poll.registry(), WAKER).expect("a waker"));
        let (sender, found) = sync_channel(1);
        (Discovery { hosts: BTreeMap::new(), found, stopped: Arc::default(), waker, thread: None }, sender, poll)
    }

    #[test]
    fn a_host_is_joined_once_unless_that_failed() {
        let (mut discovery, _sender, _poll) = discovery();
        let [one, two] = ["10.0.0.1:7946", "10.0.0.2:7946"].map(addr);
        assert_eq!(discovery.take_new(vec![one, two]), [one, two]);
        assert_eq!(discovery.take_new(vec![one, two]), [], "they are being joined");
        discovery.joined(&[one, two], |host| *host == two);
        assert_eq!(discovery.take_new(vec![one, two]), [two]);
    }

    #[test]
    fn a_host_that_goes_on_to_fail_is_tried_less_and_less() {
        let (mut discovery, _sender, _poll) = discovery();
        let host = addr("10.0.0.1:7946");
        let attempts: Vec<u32> = (0..64)
            .filter(|_| {
                let new = discovery.take_new(vec![host]);
                discovery.joined(&new, |_| true);
                !new.is_empty()
            })
            .collect();
        assert_eq!(attempts, [0, 1, 3, 7, 15, 31, 47, 63]);
    }

    #[test]
    fn hosts_are_bounded() {
        let (mut discovery, _sender, _poll) = discovery();
        let hosts = |port: u16| (0..=u8::MAX).map(move |last| SocketAddr::from(([10, 0, 0, last], port)));
        for port in 1..=16 {
            assert_eq!(discovery.take_new(hosts(port).collect()).len(), 256);
        }
        assert_eq!(discovery.take_new(hosts(17).collect()), [], "the limit is reached");
        let invented: Vec<SocketAddr> = hosts(1).collect();
        discovery.joined(&invented, |_| true);
        let found: Vec<SocketAddr> = hosts(17).collect();
        assert_eq!(discovery.take_new(found.clone()), found, "who could not be joined makes room");
        discovery.joined(&found, |_| false);
        assert_eq!((discovery.take_new(hosts(18).collect()).len(), discovery.hosts.len()), (0, MDNS_HOSTS_MAX));
        assert_eq!(discovery.take_new(found), [], "who was joined is remembered");
    }

    #[test]
    fn an_error_is_that_of_its_host() {
        let reason = villein_core::command::ExchangeError::TimedOut;
        let contact = JoinError::Contact { host: "10.0.0.1".to_owned(), reason };
        assert!(is_of(&contact, &addr("10.0.0.1:7")) && !is_of(&contact, &addr("10.0.0.2:7")));
    }

    #[test]
    fn names_with_dots_work_and_names_that_do_not_fit_are_refused() {
        assert!(Names::new("dev.realloc.spb.ru", &"n1".into()).is_ok());
        assert!(Names::new("c", &"host.example.com".into()).is_ok());
        for (cluster, node, what) in [
            ("a..b", "n1", "cluster name 'a..b'"),
            (&"x".repeat(58), "n1", "cluster name"),
            ("c", &"n".repeat(64), "node name"),
            ("c", ".n", "node name '.n'"),
        ] {
            let error = Names::new(cluster, &node.into()).err().expect("is refused").to_string();
            assert!(error.starts_with(&format!("the {what}")), "{error}");
        }
    }

    #[test]
    fn an_answer_has_the_four_records_of_upstreams() {
        let names = Names::new("c", &"n1".into()).expect("names");
        let records = names.records("c", addr("[::ffff:10.0.0.1]:7946"));
        let message = Message::answer(0, records.to_vec());
        let found: Vec<_> = message.instances(&names.service).collect();
        assert_eq!(found, [("10.0.0.1".parse().expect("an address"), 7946)]);
        let other = Names::new("d", &"n1".into()).expect("names");
        assert_eq!(message.instances(&other.service).count(), 0);
    }

    /// A worker without a thread and without a link, and what it tells.
    fn worker() -> (Worker, Receiver<Found>, Poll) {
        let poll = Poll::new().expect("a poll");
        let (sender, found) = sync_channel(MDNS_WAITING_MAX);
        let names = Names::new("c", &"n1".into()).expect("names");
        let worker = Worker {
            records: names.records("c", addr("10.0.0.1:7946")),
            question: Vec::new(),
            names,
            options: MdnsOptions { cluster: "c".to_owned(), interface: None, ipv4: true, ipv6: true },
            poll: Poll::new().expect("a poll"),
            sockets: Sockets::default(),
            clock: Clock::start(),
            ask_at: Time::ZERO,
            quiet_at: None,
            hosts: BTreeSet::new(),
            failures: 0,
            found: sender,
            loop_waker: Arc::new(Waker::new(poll.registry(), WAKER).expect("a waker")),
            stopped: Arc::default(),
        };
        (worker, found, poll)
    }

    /// A socket that is read from, and one that sends to it.
    fn sockets(host: u8) -> (UdpSocket, std::net::UdpSocket) {
        let socket = UdpSocket::bind(SocketAddr::from(([127, 0, 88, host], 0))).expect("binds");
        let peer = std::net::UdpSocket::bind(SocketAddr::from(([127, 0, 88, host + 1], 0))).expect("binds");
        peer.connect(socket.local_addr().expect("is bound")).expect("connects");
        (socket, peer)
    }

    #[test]
    fn of_one_socket_so_many_messages_are_read_in_one_turn() {
        let (worker, ..) = worker();
        let (socket, peer) = sockets(1);
        let answer = Message::answer(0, worker.records.to_vec()).encode();
        for _ in 0..=MDNS_MESSAGES_PER_TURN {
            peer.send(&answer).expect("sends");
        }
        crate::sockets::settle();
        let turns = [(); 2].map(|()| {
            let mut found = Vec::new();
            let busy = worker.read_socket(&socket, false, &mut [0; 512], &mut found);
            (busy, found.len())
        });
        assert_eq!(turns, [(true, MDNS_MESSAGES_PER_TURN), (false, 1)]);
    }

    #[test]
    fn a_message_has_at_most_9000_bytes() {
        let (worker, ..) = worker();
        let (socket, peer) = sockets(3);
        let padding = DomainName::new([&b"p"[..]]).expect("a name");
        let message = |bytes: usize| {
            let text = |len| Record { name: padding.clone(), data: Data::Txt(vec![b'x'; len]) };
            // What matters stands last, and the text before it makes up the length.
            let encoded = |last| {
                let records = vec![text(255); 32].into_iter().chain([text(last)]).chain(worker.records.iter().cloned());
                Message::answer(0, records.collect()).encode()
            };
            encoded(bytes - encoded(0).len())
        };
        let mut buffer = vec![0; MDNS_MESSAGE_BYTES_MAX];
        let found = [MDNS_MESSAGE_BYTES_MAX, MDNS_MESSAGE_BYTES_MAX + 1].map(|bytes| {
            let mut found = Vec::new();
            let message = message(bytes);
            assert_eq!(message.len(), bytes);
            peer.send(&message).expect("sends");
            crate::sockets::settle();
            worker.read_socket(&socket, false, &mut buffer, &mut found);
            found.len()
        });
        assert_eq!(found, [1, 0], "a longer one is cut and cannot be read");
    }

    #[test]
    fn what_was_found_is_bounded_and_waits_for_a_loop_that_is_busy() {
        let (mut worker, told, _poll) = worker();
        let hosts = |count: usize| (1..=count).map(|n| ([10, 0, 0, 1].into(), u16::try_from(n).expect("a port")));
        worker.note_hosts(hosts(limits::JOIN_TARGETS_MAX).collect());
        assert_eq!(worker.hosts.len(), limits::JOIN_TARGETS_MAX);
        worker.note_hosts(hosts(limits::JOIN_TARGETS_MAX + 1).collect());
        assert_eq!(worker.hosts.len(), limits::JOIN_TARGETS_MAX);
        for _ in 0..MDNS_WAITING_MAX {
            worker.tell_hosts(Time::ZERO);
            assert!(worker.hosts.is_empty() && worker.quiet_at.is_none());
            worker.note_hosts(hosts(1).collect());
        }
        worker.tell_hosts(Time::ZERO);
        assert_eq!((worker.hosts.len(), worker.quiet_at), (1, Some(Time::ZERO + QUIET)), "it is told later");
        assert!(told.try_recv().is_ok());
        worker.tell_hosts(Time::ZERO);
        assert_eq!((worker.hosts.len(), told.try_iter().count()), (0, MDNS_WAITING_MAX));
    }
}
