//! A cluster on a perfect network with one virtual clock, and a single node that is fed by hand.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;

use crate::command::{Command, Reply};
use crate::config::{Config, Profile, Wire};
use crate::event::{Event, QueryKey, Status};
use crate::io::{
    Activity, Input, Output, Persist, PersistId, RequestId, Saved, Stimulus, StreamAction, StreamError, StreamEvent,
    StreamId,
};
use crate::keyring::Keyring;
use crate::log::Log;
use crate::node::{MemberView, Node};
use crate::rng::Seed;
use crate::serf::tags::encode_for;
use crate::time::Time;
use crate::types::{GossipAddr, Incarnation, Meta, Name, Tags, Versions};
use crate::wire::{Accused, Alive, Envelope, Message, PushPull, ReplyTo, StreamMessage, SwimState, native};

/// Every activity.
pub(super) const ACTIVITIES: [Activity; Activity::COUNT] = [
    Activity::Probe,
    Activity::Gossip,
    Activity::PushPull,
    Activity::Receiver,
    Activity::Nack,
    Activity::Stream,
    Activity::Serf,
    Activity::Upkeep,
];

/// The address of the node with that number.
pub(super) fn addr(number: usize) -> SocketAddr {
    let number = u16::try_from(number).expect("a small cluster");
    SocketAddr::from((Ipv4Addr::new(10, 0, (number >> 8) as u8, number as u8), 7946))
}

/// The name of the node with that number.
pub(super) fn name(number: usize) -> Name {
    Name::from(format!("n{number}").as_str())
}

/// The configuration of the node with that number, which speaks the native encoding alone.
pub(super) fn config(number: usize, profile: Profile) -> Config {
    Config {
        simulation: true,
        wire: Wire::Native,
        ..Config::new(name(number), GossipAddr::from(addr(number)), profile)
    }
}

/// Packs messages into a packet as a peer without keys would.
pub(super) fn packet(messages: &[Message]) -> Box<[u8]> {
    let encoded: Vec<Vec<u8>> = messages
        .iter()
        .map(|message| {
            let mut bytes = Vec::new();
            native::encode(message, &mut bytes);
            bytes
        })
        .collect();
    let parts: Vec<&[u8]> = encoded.iter().map(Vec::as_slice).collect();
    native::seal_packet(&parts, Envelope { keyring: &Keyring::default(), label: &[] }, [0; 12])
}

/// The messages of a packet without keys.
pub(super) fn unpack(bytes: &[u8]) -> Vec<Message> {
    let mut messages = Vec::new();
    let envelope = Envelope { keyring: &Keyring::default(), label: &[] };
    let bad = native::open_packet_with(bytes, envelope, &mut Vec::new(), &mut messages).expect("a packet of our own");
    assert_eq!(bad, 0, "a part of our own packet cannot be read");
    messages
}

/// An alive message of the node with that number.
pub(super) fn alive(number: usize, incarnation: u32) -> Alive {
    Alive {
        node: name(number),
        incarnation: Incarnation(incarnation),
        addr: GossipAddr::from(addr(number)),
        meta: signed(&Tags::new()),
        versions: Versions::CURRENT,
    }
}

/// Where the node with that number wants an answer.
pub(super) fn reply_to(number: usize) -> ReplyTo {
    ReplyTo { addr: GossipAddr::from(addr(number)), node: name(number) }
}

/// Metadata with the sign of those who understand the native encoding.
pub(super) fn signed(tags: &Tags) -> Meta {
    encode_for(tags, &config(0, Profile::Lan)).expect("short tags")
}

/// An accusation of `node` by `from`.
pub(super) fn accused(node: usize, incarnation: u32, from: usize) -> Accused {
    Accused { node: name(node), incarnation: Incarnation(incarnation), from: name(from) }
}

/// One node whose peers exist only as the packets that the test feeds it. The node under test is number 0.
pub(super) struct Lone {
    pub(super) node: Node,
    pub(super) now: Time,
    pub(super) out: Vec<Output>,
}

impl Lone {
    pub(super) fn new(change: impl FnOnce(&mut Config)) -> Self {
        Self::saved(change, Saved::default())
    }

    pub(super) fn saved(change: impl FnOnce(&mut Config), saved: Saved) -> Self {
        let mut config = config(0, Profile::Lan);
        change(&mut config);
        let node = Node::new(config, Seed::simulated(1), Time::ZERO, saved).expect("a valid configuration");
        let mut lone = Self { node, now: Time::from_millis(1), out: Vec::new() };
        lone.give(Stimulus::Tick);
        lone.out.clear();
        lone
    }

    /// Hands one stimulus in and keeps what comes out.
    pub(super) fn give(&mut self, stimulus: Stimulus<'_>) {
        self.node.handle_into(Input { at: self.now, stimulus }, &mut self.out);
        self.node.check().expect("the invariants hold");
    }

    /// Hands messages in, as one packet from the node with that number.
    pub(super) fn hear(&mut self, from: usize, messages: &[Message]) {
        let bytes = packet(messages);
        self.give(Stimulus::Datagram { from: addr(from), bytes: &bytes });
    }

    /// Hands in the push/pull of the node with that number, as one stream.
    pub(super) fn is_told(&mut self, from: usize, state: PushPull) {
        let envelope = Envelope { keyring: &Keyring::default(), label: &[] };
        let frame = native::seal_stream(&StreamMessage::PushPull(state), envelope, [0; 12], true);
        let id = StreamId(from as u64 * 2 + 1);
        self.give(Stimulus::Stream { id, event: StreamEvent::Accepted { from: addr(from) } });
        self.give(Stimulus::Stream { id, event: StreamEvent::Bytes(&frame) });
    }

    /// Hands one message in without looking at every member afterwards: for tests with very many.
    pub(super) fn hear_unchecked(&mut self, from: usize, message: &Message) {
        let bytes = packet(core::slice::from_ref(message));
        let stimulus = Stimulus::Datagram { from: addr(from), bytes: &bytes };
        self.node.handle_into(Input { at: self.now, stimulus }, &mut self.out);
    }

    /// Lets time pass; every deadline is kept to the nanosecond.
    pub(super) fn wait(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(deadline) = self.node.next_deadline().filter(|deadline| deadline.at <= end) {
            self.now = deadline.at;
            self.give(Stimulus::Tick);
        }
        self.now = end;
        self.give(Stimulus::Tick);
    }

    pub(super) fn command(&mut self, command: Command) {
        self.give(Stimulus::Command { id: RequestId(1), command });
    }

    /// Takes the messages sent since the last call, each with its destination.
    pub(super) fn sent(&mut self) -> Vec<(SocketAddr, Message)> {
        let mut sent = Vec::new();
        self.out.retain(|output| match output {
            Output::Datagram { to, bytes, .. } => {
                sent.extend(unpack(bytes).into_iter().map(|message| (*to, message)));
                false
            }
            _ => true,
        });
        sent
    }

    /// Takes the events and replies since the last call, as text.
    pub(super) fn events(&mut self) -> Vec<String> {
        let mut events = Vec::new();
        self.out.retain(|output| match output {
            Output::Event(event) => {
                events.push(show(event));
                false
            }
            _ => true,
        });
        events
    }

    pub(super) fn replies(&mut self) -> Vec<Reply> {
        self.out
            .extract_if(.., |output| matches!(output, Output::Reply { .. }))
            .map(|output| match output {
                Output::Reply { reply, .. } => *reply,
                _ => unreachable!("only replies were taken"),
            })
            .collect()
    }

    pub(super) fn logs(&self) -> Vec<Log> {
        self.out
            .iter()
            .filter_map(|output| match output {
                Output::Log(log) => Some((**log).clone()),
                _ => None,
            })
            .collect()
    }

    /// What the node believes of the node with that number: state and incarnation.
    pub(super) fn belief(&self, number: usize) -> Option<(SwimState, u32)> {
        let view = self.node.member(&name(number))?;
        Some((view.state?, view.incarnation.0))
    }

    pub(super) fn status(&self, number: usize) -> Option<Status> {
        self.node.member(&name(number)).map(|view| view.info.status)
    }

    /// Takes the records to be kept.
    pub(super) fn persists(&mut self) -> Vec<(PersistId, Persist)> {
        self.out
            .extract_if(.., |output| matches!(output, Output::Persist { .. }))
            .map(|output| match output {
                Output::Persist { id, record } => (id, *record),
                _ => unreachable!("only records were taken"),
            })
            .collect()
    }

    /// Whether one of `sent` is `message`.
    pub(super) fn gossips(&mut self, message: &Message) -> bool {
        self.wait(Duration::from_millis(450));
        self.sent().iter().any(|(_, sent)| sent == message)
    }
}

/// Whether a node's native frame is a push/pull.
fn is_state(node: &Node, bytes: &[u8], id: StreamId) -> bool {
    let keyring = Keyring::new(node.keys().cloned().collect());
    let envelope = Envelope { keyring: &keyring, label: &node.config().label };
    matches!(native::open_stream(&mut bytes.to_vec(), envelope, id.is_ours()), Ok(Some(StreamMessage::PushPull(_))))
}

/// An event as one line.
pub(super) fn show(event: &Event) -> String {
    match event {
        Event::Members { kind, members } => {
            let names: Vec<String> = members.iter().map(|member| format!("{}", member.name)).collect();
            format!("{kind} {}", names.join(","))
        }
        Event::User(event) => {
            let (name, payload) = (String::from_utf8_lossy(&event.name), String::from_utf8_lossy(&event.payload));
            format!("user {} {name} {payload}", event.ltime)
        }
        Event::Query(query) => format!("query {} {}", query.key.ltime, String::from_utf8_lossy(&query.name)),
        Event::Shutdown(reason) => format!("shutdown {reason:?}"),
    }
}

/// What is on its way to a node.
enum Arrival {
    Datagram { from: SocketAddr, bytes: Box<[u8]> },
    Stream { id: StreamId, event: Delivery },
}

enum Delivery {
    Accepted(SocketAddr),
    Connected,
    Bytes(Box<[u8]>),
    Closed,
    Failed(StreamError),
}

/// Something that somebody who listens may say again.
#[derive(Clone, Debug)]
pub(super) enum Said {
    Datagram(Box<[u8]>),
    /// What who has opened a stream wrote on it.
    Stream(Box<[u8]>),
}

/// Nodes on a network without faults but cuts; half a millisecond from one to another.
pub(super) struct Cluster {
    pub(super) nodes: Vec<Option<Node>>,
    pub(super) now: Time,
    pub(super) log: Vec<(Time, usize, String)>,
    /// What the nodes log, each with its number.
    pub(super) lines: Vec<(usize, Log)>,
    /// The last reply to each command.
    pub(super) replies: BTreeMap<(usize, u64), Reply>,
    /// Queries that were handed out.
    pub(super) queries: Vec<(usize, QueryKey)>,
    /// Every reply, with its time.
    pub(super) heard: Vec<(Time, usize, u64, Reply)>,
    pub(super) packets: u64,
    /// How many whole states were sent in push/pulls.
    pub(super) states: u64,
    /// What was said so far, each packet and each write of a stream: from whom, to whom.
    pub(super) tape: Vec<(usize, usize, Said)>,
    arrivals: BTreeMap<(Time, u64), (usize, Arrival)>,
    sequence: u64,
    peers: BTreeMap<(usize, StreamId), (usize, StreamId)>,
    accepted: u64,
    cuts: BTreeSet<(usize, usize)>,
    requests: u64,
    change: fn(&mut Config),
}

const LATENCY: Duration = Duration::from_micros(500);

impl Cluster {
    pub(super) fn new(size: usize, change: fn(&mut Config)) -> Self {
        let mut cluster = Self {
            nodes: Vec::new(),
            now: Time::ZERO,
            log: Vec::new(),
            lines: Vec::new(),
            replies: BTreeMap::new(),
            heard: Vec::new(),
            queries: Vec::new(),
            packets: 0,
            states: 0,
            tape: Vec::new(),
            arrivals: BTreeMap::new(),
            sequence: 0,
            peers: BTreeMap::new(),
            accepted: 0,
            cuts: BTreeSet::new(),
            requests: 0,
            change,
        };
        for number in 0..size {
            cluster.nodes.push(None);
            cluster.start(number, 1);
        }
        cluster
    }

    /// A cluster whose members have all found each other.
    pub(super) fn joined(size: usize, change: fn(&mut Config)) -> Self {
        let mut cluster = Self::new(size, change);
        for number in 1..size {
            cluster.join(number, 0);
        }
        cluster.run(Duration::from_secs(5));
        for number in 0..size {
            let alive = cluster.statuses(number).values().filter(|&&status| status == Status::Alive).count();
            assert_eq!(alive, size, "node {number} sees {:?}", cluster.statuses(number));
        }
        cluster
    }

    pub(super) fn start(&mut self, number: usize, seed: u64) {
        let mut config = config(number, Profile::Lan);
        (self.change)(&mut config);
        let seed = Seed::simulated(seed * 1000 + number as u64);
        self.nodes[number] = Some(Node::new(config, seed, self.now, Saved::default()).expect("a valid configuration"));
        self.give(number, Stimulus::Tick);
    }

    pub(super) fn crash(&mut self, number: usize) {
        self.nodes[number] = None;
    }

    pub(super) fn cut(&mut self, one: &[usize], other: &[usize]) {
        for &a in one {
            for &b in other {
                self.cuts.insert((a, b));
                self.cuts.insert((b, a));
            }
        }
    }

    pub(super) fn heal(&mut self) {
        self.cuts.clear();
    }

    pub(super) fn command(&mut self, number: usize, command: Command) -> u64 {
        self.requests += 1;
        let id = RequestId(self.requests);
        self.give(number, Stimulus::Command { id, command });
        self.requests
    }

    pub(super) fn join(&mut self, number: usize, target: usize) -> u64 {
        let target = format!("{}", addr(target));
        self.command(number, Command::Join { targets: [target.as_str().into()].into(), replay: false })
    }

    pub(super) fn node(&self, number: usize) -> &Node {
        self.nodes[number].as_ref().expect("the node is up")
    }

    pub(super) fn statuses(&self, number: usize) -> BTreeMap<String, Status> {
        let shown = |view: MemberView| (format!("{}", view.info.name), view.info.status);
        self.node(number).members().into_iter().map(shown).collect()
    }

    pub(super) fn status(&self, at: usize, of: usize) -> Option<Status> {
        self.node(at).member(&name(of)).map(|view| view.info.status)
    }

    /// Events of one node as text, in order.
    pub(super) fn events(&self, number: usize) -> Vec<&str> {
        self.log.iter().filter(|(_, at, _)| *at == number).map(|(_, _, text)| text.as_str()).collect()
    }

    /// Runs until nothing is left to do before `duration` is over.
    pub(super) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let arrival = self.arrivals.keys().next().map(|&(at, _)| at);
            let deadline = self
                .nodes
                .iter()
                .enumerate()
                .filter_map(|(number, node)| Some((node.as_ref()?.next_deadline()?.at, number)))
                .min();
            let next = arrival.into_iter().chain(deadline.map(|(at, _)| at)).min();
            let Some(next) = next.filter(|&next| next <= end) else { break };
            self.now = next;
            if arrival == Some(next) {
                let ((_, _), (number, arrival)) = self.arrivals.pop_first().expect("an arrival");
                self.arrive(number, arrival);
            } else if let Some((_, number)) = deadline {
                self.give(number, Stimulus::Tick);
            }
        }
        self.now = end;
    }

    fn arrive(&mut self, number: usize, arrival: Arrival) {
        if self.nodes[number].is_none() {
            return;
        }
        match arrival {
            Arrival::Datagram { from, bytes } => self.give(number, Stimulus::Datagram { from, bytes: &bytes }),
            Arrival::Stream { id, event } => {
                let event = match &event {
                    Delivery::Accepted(from) => StreamEvent::Accepted { from: *from },
                    Delivery::Connected => StreamEvent::Connected,
                    Delivery::Bytes(bytes) => StreamEvent::Bytes(bytes),
                    Delivery::Closed => StreamEvent::Closed,
                    Delivery::Failed(error) => StreamEvent::Failed(*error),
                };
                self.give(number, Stimulus::Stream { id, event });
            }
        }
    }

    pub(super) fn give(&mut self, number: usize, stimulus: Stimulus<'_>) {
        let Some(node) = self.nodes[number].as_mut() else { return };
        let outputs = node.handle(Input { at: self.now, stimulus });
        node.check().unwrap_or_else(|violation| panic!("n{number} at {}: {violation}", self.now));
        for output in outputs {
            self.perform(number, output);
        }
    }

    fn perform(&mut self, number: usize, output: Output) {
        match output {
            Output::Datagram { to, bytes, .. } => {
                self.packets += 1;
                if let Some(peer) = self.reach(number, to) {
                    self.tape.push((number, peer, Said::Datagram(bytes.clone())));
                    self.send(peer, Arrival::Datagram { from: addr(number), bytes });
                }
            }
            Output::Stream { id, action, .. } => self.stream(number, id, action),
            Output::Event(event) => {
                if let Event::Query(query) = &*event {
                    self.queries.push((number, query.key));
                }
                self.log.push((self.now, number, show(&event)));
            }
            Output::Reply { id, reply } => {
                self.heard.push((self.now, number, id.0, (*reply).clone()));
                self.replies.insert((number, id.0), *reply);
            }
            Output::Log(log) => self.lines.push((number, *log)),
            Output::Resolve { .. } | Output::Persist { .. } => (),
        }
    }

    fn stream(&mut self, number: usize, id: StreamId, action: StreamAction) {
        match action {
            StreamAction::Connect(to) => match self.reach(number, to) {
                Some(peer) if self.nodes[peer].is_some() => {
                    self.accepted += 1;
                    let other = StreamId(self.accepted * 2 + 1);
                    self.peers.insert((number, id), (peer, other));
                    self.peers.insert((peer, other), (number, id));
                    self.send(peer, Arrival::Stream { id: other, event: Delivery::Accepted(addr(number)) });
                    self.send(number, Arrival::Stream { id, event: Delivery::Connected });
                }
                Some(_) => self.send(number, Arrival::Stream { id, event: Delivery::Failed(StreamError::Refused) }),
                // Cut off: the core's own deadline ends it.
                None => (),
            },
            StreamAction::Write(bytes) => {
                self.states += u64::from(is_state(self.node(number), &bytes, id));
                if let Some(&(peer, other)) =
                    self.peers.get(&(number, id)).filter(|(peer, _)| !self.is_cut(number, *peer))
                {
                    if id.is_ours() {
                        self.tape.push((number, peer, Said::Stream(bytes.clone())));
                    }
                    self.send(peer, Arrival::Stream { id: other, event: Delivery::Bytes(bytes) });
                }
            }
            StreamAction::Finish | StreamAction::Abort => {
                if let Some((peer, other)) = self.peers.remove(&(number, id)) {
                    self.send(peer, Arrival::Stream { id: other, event: Delivery::Closed });
                }
            }
        }
    }

    fn send(&mut self, to: usize, arrival: Arrival) {
        self.sequence += 1;
        self.arrivals.insert((self.now + LATENCY, self.sequence), (to, arrival));
    }

    fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cuts.contains(&(from, to))
    }

    fn reach(&self, from: usize, to: SocketAddr) -> Option<usize> {
        (0..self.nodes.len()).find(|&number| addr(number) == to).filter(|&peer| !self.is_cut(from, peer))
    }
}
