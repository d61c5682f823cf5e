//! What is made of answers.

use std::sync::mpsc::{Receiver, sync_channel};

use villein_core::command::JoinError;

use super::discovery::is_of;
use super::*;
use crate::limits::{MDNS_HOSTS_MAX, MDNS_JOIN_TARGETS_MAX, MDNS_JOINS_WAITING_MAX, MDNS_WAITING_MAX};

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn discovery() -> (Discovery, SyncSender<Found>, Poll) {
    let poll = Poll::new().expect("a poll");
    let waker = Arc::new(Waker::new(poll.registry(), WAKER).expect("a waker"));
    let (sender, found) = sync_channel(1);
    (Discovery::new(found, Arc::default(), waker, None), sender, poll)
}

impl Discovery {
    /// Takes what was found and joins all that is to be joined, in one go.
    fn join_new(&mut self, found: Vec<SocketAddr>) -> Vec<SocketAddr> {
        self.take_new(found);
        self.waiting.drain(..).collect()
    }
}

#[test]
fn a_host_is_joined_once_unless_that_failed() {
    let (mut discovery, _sender, _poll) = discovery();
    let [one, two] = ["10.0.0.1:7946", "10.0.0.2:7946"].map(addr);
    assert_eq!(discovery.join_new(vec![one, two]), [one, two]);
    assert_eq!(discovery.join_new(vec![one, two]), [], "they are being joined");
    discovery.joined(&[one, two], |host| *host == two);
    assert_eq!(discovery.join_new(vec![one, two]), [two]);
}

#[test]
fn a_host_that_goes_on_to_fail_is_tried_less_and_less() {
    let (mut discovery, _sender, _poll) = discovery();
    let host = addr("10.0.0.1:7946");
    let attempts: Vec<u32> = (0..64)
        .filter(|_| {
            let new = discovery.join_new(vec![host]);
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
        assert_eq!(discovery.join_new(hosts(port).collect()).len(), 256);
    }
    assert_eq!(discovery.join_new(hosts(17).collect()), [], "the limit is reached");
    let invented: Vec<SocketAddr> = hosts(1).collect();
    discovery.joined(&invented, |_| true);
    let found: Vec<SocketAddr> = hosts(17).collect();
    assert_eq!(discovery.join_new(found.clone()), found, "who could not be joined makes room");
    discovery.joined(&found, |_| false);
    assert_eq!((discovery.join_new(hosts(18).collect()).len(), discovery.hosts.len()), (0, MDNS_HOSTS_MAX));
    assert_eq!(discovery.join_new(found), [], "who was joined is remembered");
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
        tell_at: Time::ZERO,
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
    worker.note_hosts(hosts(limits::JOIN_TARGETS_MAX).collect(), Time::ZERO);
    assert_eq!(worker.hosts.len(), limits::JOIN_TARGETS_MAX);
    worker.note_hosts(hosts(limits::JOIN_TARGETS_MAX + 1).collect(), Time::ZERO);
    assert_eq!(worker.hosts.len(), limits::JOIN_TARGETS_MAX);
    for _ in 0..MDNS_WAITING_MAX {
        worker.tell_hosts(Time::ZERO);
        assert!(worker.hosts.is_empty() && worker.quiet_at.is_none());
        worker.note_hosts(hosts(1).collect(), Time::ZERO);
    }
    worker.tell_hosts(Time::ZERO);
    assert_eq!((worker.hosts.len(), worker.quiet_at), (1, Some(Time::ZERO + QUIET)), "it is told later");
    assert!(told.try_recv().is_ok());
    worker.tell_hosts(Time::ZERO);
    assert_eq!((worker.hosts.len(), told.try_iter().count()), (0, MDNS_WAITING_MAX));
}

#[test]
fn who_repeats_an_answer_puts_nobody_off() {
    let (mut worker, told, _poll) = worker();
    let at = |millis: u64| Time::ZERO + Duration::from_millis(millis);
    let host = |port: u16| vec![([10, 0, 0, 1].into(), port)];
    worker.note_hosts(host(1), at(0));
    worker.note_hosts(host(1), at(50));
    assert_eq!(worker.quiet_at, Some(at(100)), "it is known");
    worker.note_hosts(host(2), at(50));
    assert_eq!(worker.quiet_at, Some(at(150)), "others may follow");
    for port in 3..40 {
        worker.note_hosts(host(port), at(u64::from(port) * 50));
    }
    assert_eq!(worker.quiet_at, Some(Time::ZERO + GATHER_MAX), "but not for ever");
    worker.tell_hosts(at(2_000));
    assert!(matches!(told.try_recv(), Ok(Found::Hosts(hosts)) if hosts.len() == 39));
    worker.note_hosts(host(1), at(5_000));
    assert_eq!(worker.quiet_at, Some(at(5_100)), "and anew");
}

#[test]
fn hosts_are_joined_a_few_at_a_time_one_join_after_the_other() {
    let (mut discovery, _sender, _poll) = discovery();
    let hosts: Vec<SocketAddr> = (1..=5).map(|last| SocketAddr::from(([10, 0, 0, last], 7946))).collect();
    discovery.take_new(hosts.clone());
    let mut joined = Vec::new();
    while let Some(next) = discovery.next_join() {
        assert!(next.len() <= MDNS_JOIN_TARGETS_MAX && discovery.next_join().is_none(), "one is under way");
        discovery.joined(&next, |_| true);
        joined.push(next);
    }
    assert_eq!(joined.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
    assert_eq!(joined.concat(), hosts);
}

#[test]
fn hosts_that_wait_to_be_joined_are_bounded() {
    let (mut discovery, _sender, _poll) = discovery();
    let host = |port: usize| SocketAddr::from(([10, 0, 0, 1], u16::try_from(port).expect("a port")));
    discovery.take_new((1..=MDNS_JOINS_WAITING_MAX + 1).map(host).collect());
    assert_eq!(discovery.waiting.len(), MDNS_JOINS_WAITING_MAX);
    let next = discovery.next_join().expect("some wait");
    discovery.joined(&next, |_| false);
    discovery.take_new(vec![host(MDNS_JOINS_WAITING_MAX + 1)]);
    assert_eq!(discovery.waiting.back(), Some(&host(MDNS_JOINS_WAITING_MAX + 1)), "it answers again");
}
