//! A running cluster, whose packets are delivered, lost, repeated, delayed, changed and invented as the bytes say. What is
//! changed is what the messages say: the packet around them is sealed anew, so that it gets to the rules.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use villein_core::command::{Command, KeyRequest, Question};
use villein_core::config::{Profile, Wire};
use villein_core::io::{
    Activity, PersistId, RequestId, ResolveError, ResolveId, StreamAction, StreamError, StreamEvent, StreamId,
};
use villein_core::keyring::{Key, Keyring};
use villein_core::lamport::LamportTime;
use villein_core::types::{GossipAddr, Incarnation, Meta, Name, QueryId, SeqNo, Versions};
use villein_core::wire::memberlist::{PacketForm, Progress};
use villein_core::wire::{
    Accused, Alive, Budget, Encoding, Envelope, Filter, Incoming, IndirectPing, Intent, Message, Pieces, Ping, Query,
    QueryResponse, Relay, ReplyTo, SerfMessage, StreamMessage, UserEvent, memberlist, native, open_stream, seal_stream,
};
use villein_core::{Config, Input, Node, Output, Saved, Seed, Stimulus, Time, limits};

use crate::pick::Pick;

const NODES: usize = 5;
/// Deeds of one input: a second or so under a sanitizer.
const STEPS_MAX: usize = 2_000;
/// Packets that may be on their way; the oldest goes beyond it.
const QUEUED_MAX: usize = 256;
/// Outputs that one input may have: a node says one thing to each member, each stream and each client.
const OUTPUTS_MAX: usize = 4_096;
const NONCE: [u8; 12] = [9; 12];
const KEYS: [[u8; 16]; 3] = [[1; 16], [2; 16], [3; 16]];

/// Something on its way to a node.
enum Arrival {
    Datagram(SocketAddr, Box<[u8]>),
    Stream(StreamId, Delivery),
}

enum Delivery {
    Accepted(SocketAddr),
    Connected,
    Bytes(Box<[u8]>),
    Closed,
    Failed,
}

struct World {
    nodes: Vec<Node>,
    now: Time,
    arrivals: VecDeque<(usize, Arrival)>,
    /// The other end of each stream.
    ends: BTreeMap<(usize, StreamId), (usize, StreamId)>,
    accepted: u64,
    /// What nodes wait for: a name, or the disk.
    lookups: Vec<(usize, ResolveId)>,
    records: Vec<(usize, PersistId)>,
    queries: Vec<(usize, villein_core::event::QueryKey)>,
    requests: u64,
    /// The largest incarnation that each node has told of itself.
    own: Vec<Incarnation>,
}

/// Plays the bytes.
pub(crate) fn run(bytes: &[u8]) {
    let mut pick = Pick::new(bytes);
    let mut world = World::new(&mut pick);
    for _ in 0..STEPS_MAX {
        if pick.is_done() {
            break;
        }
        world.step(&mut pick);
    }
}

fn addr(number: usize) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(127, 0, 0, number as u8), 7946))
}

fn name(number: usize) -> Name {
    Name::from(format!("n{number}").as_str())
}

impl World {
    fn new(pick: &mut Pick<'_>) -> Self {
        let shape = pick.byte();
        let wire = [Wire::Auto, Wire::Native, Wire::Memberlist][usize::from(shape % 3)];
        let keys = if shape & 0x40 == 0 { 0 } else { 2 };
        let config = |number: usize| {
            let mut config = Config::new(name(number), GossipAddr::from(addr(number)), Profile::Local);
            config.simulation = true;
            config.wire = wire;
            config.keys = KEYS[..keys].iter().map(|key| Key::new(key).expect("16 bytes")).collect();
            config.label = if shape & 0x20 == 0 { Box::default() } else { Box::from(*b"blue") };
            config.serf.keyring_file = keys > 0 && shape & 0x10 != 0;
            config.serf.tags_file = shape & 0x10 != 0;
            config
        };
        let node = |number| {
            Node::new(config(number), Seed::simulated(number as u64), Time::ZERO, Saved::default()).expect("valid")
        };
        let mut world = Self {
            nodes: (0..NODES).map(node).collect(),
            now: Time::ZERO,
            arrivals: VecDeque::new(),
            ends: BTreeMap::new(),
            accepted: 0,
            lookups: Vec::new(),
            records: Vec::new(),
            queries: Vec::new(),
            requests: 0,
            own: vec![Incarnation(0); NODES],
        };
        for number in 0..NODES {
            world.give(number, Stimulus::Tick);
        }
        if shape & 0x80 != 0 {
            for number in 1..NODES {
                world.join(number, 0);
                while let Some((to, arrival)) = world.arrivals.pop_front() {
                    world.deliver(to, &arrival);
                }
            }
        }
        world
    }

    /// One deed. Most are that the next packet arrives, or that time passes: otherwise little would ever happen.
    fn step(&mut self, pick: &mut Pick<'_>) {
        match pick.byte() % 24 {
            0..=5 => self.arrive(),
            6..=8 => {
                let pause = Duration::from_micros(u64::from(pick.number()) * 50);
                self.pass(pause);
            }
            9 => {
                let pause = Duration::from_millis(u64::from(pick.number()) * 10);
                self.pass(pause);
            }
            10..=13 => self.arrive_changed(pick),
            14 => _ = self.arrivals.pop_front(),
            15 => {
                if let Some(arrival) = self.arrivals.pop_front() {
                    self.arrivals.push_back(arrival);
                }
            }
            16 | 17 => {
                let (to, from, message) = (pick.below(NODES), pick.below(NODES), forged(pick));
                let encoding = pick.one_of(&[Encoding::Native, Encoding::Memberlist]);
                let bytes = self.seal(to, &message, encoding);
                self.give(to, Stimulus::Datagram { from: addr(from), bytes: &bytes });
            }
            18 | 19 => {
                let command = self.command(pick);
                let to = pick.below(NODES);
                self.order(to, command);
            }
            20 => {
                let (to, from, bytes) = (pick.below(NODES), pick.below(NODES), pick.bytes());
                self.give(to, Stimulus::Datagram { from: addr(from), bytes });
            }
            21 => self.answer(pick),
            22 => self.disturb(pick),
            _ => self.restore(pick.below(NODES)),
        }
    }

    /// Lets time pass; every deadline is kept.
    fn pass(&mut self, pause: Duration) {
        let end = self.now + pause;
        // A node has a dozen timers that run periodically, none of them more often than every few milliseconds.
        for _ in 0..100_000 {
            let due =
                self.nodes.iter().enumerate().filter_map(|(number, node)| Some((node.next_deadline()?.at, number)));
            let Some((at, number)) = due.min().filter(|(at, _)| *at <= end) else {
                self.now = end;
                return;
            };
            self.now = at;
            self.give(number, Stimulus::Tick);
        }
        panic!("timers without an end");
    }

    fn arrive(&mut self) {
        if let Some((to, arrival)) = self.arrivals.pop_front() {
            self.deliver(to, &arrival);
        }
    }

    fn deliver(&mut self, to: usize, arrival: &Arrival) {
        match arrival {
            Arrival::Datagram(from, bytes) => self.give(to, Stimulus::Datagram { from: *from, bytes }),
            Arrival::Stream(id, delivery) => {
                let event = match delivery {
                    Delivery::Accepted(from) => StreamEvent::Accepted { from: *from },
                    Delivery::Connected => StreamEvent::Connected,
                    Delivery::Bytes(bytes) => StreamEvent::Bytes(bytes),
                    Delivery::Closed => StreamEvent::Closed,
                    Delivery::Failed => StreamEvent::Failed(StreamError::Reset),
                };
                self.give(to, Stimulus::Stream { id: *id, event });
            }
        }
    }

    /// The next packet says something else; with the coin it arrives unchanged too, before or behind.
    fn arrive_changed(&mut self, pick: &mut Pick<'_>) {
        let Some((to, arrival)) = self.arrivals.pop_front() else { return };
        let keyring = Keyring::new(self.nodes[to].keys().cloned().collect());
        let label = self.nodes[to].config().label.clone();
        let envelope = Envelope { keyring: &keyring, label: &label };
        let changed = match &arrival {
            Arrival::Datagram(from, bytes) => {
                changed_packet(bytes, envelope, pick).map(|bytes| Arrival::Datagram(*from, bytes))
            }
            Arrival::Stream(id, Delivery::Bytes(bytes)) => {
                changed_stream(bytes, *id, envelope, pick).map(|bytes| Arrival::Stream(*id, Delivery::Bytes(bytes)))
            }
            Arrival::Stream(..) => None,
        };
        let twice = pick.coin();
        if twice || changed.is_none() {
            self.deliver(to, &arrival);
        }
        if let Some(changed) = changed {
            self.deliver(to, &changed);
        }
    }

    fn seal(&self, to: usize, message: &Message, encoding: Encoding) -> Box<[u8]> {
        let node = &self.nodes[to];
        let keyring = Keyring::new(node.keys().cloned().collect());
        packet(std::slice::from_ref(message), encoding, Envelope { keyring: &keyring, label: &node.config().label })
    }

    fn join(&mut self, number: usize, target: usize) {
        let targets = [addr(target).to_string().as_str().into()].into();
        self.order(number, Command::Join { targets, replay: false });
    }

    fn order(&mut self, to: usize, command: Command) {
        self.requests += 1;
        let id = RequestId(self.requests);
        self.give(to, Stimulus::Command { id, command });
    }

    fn command(&mut self, pick: &mut Pick<'_>) -> Command {
        match pick.below(9) {
            0 | 1 => Command::Join {
                targets: [addr(pick.below(NODES + 1)).to_string().as_str(), "somewhere"][..=pick.below(2)]
                    .iter()
                    .map(|&target| target.into())
                    .collect(),
                replay: pick.coin(),
            },
            2 => Command::Leave,
            3 => Command::Rejoin,
            4 => Command::ForceLeave { node: name(pick.below(NODES)), prune: pick.coin() },
            5 => Command::UserEvent { name: text(pick), payload: pick.bytes().into(), coalesce: pick.coin() },
            6 => Command::Query(Box::new(Question {
                name: text(pick),
                payload: pick.bytes().into(),
                filters: filters(pick),
                ack: pick.coin(),
                relay_factor: pick.byte() % 4,
                timeout: pick.coin().then(|| Duration::from_millis(u64::from(pick.number()))),
            })),
            7 => {
                let key: Box<[u8]> = Box::from(pick.one_of(&KEYS));
                Command::Key(match pick.below(5) {
                    0 => KeyRequest::Install(key),
                    1 => KeyRequest::Use(key),
                    2 => KeyRequest::Remove(key),
                    3 => KeyRequest::List,
                    _ => KeyRequest::Status,
                })
            }
            _ => {
                let set = (0..pick.below(3)).map(|_| (text(pick).into_vec(), pick.bytes().to_vec())).collect();
                Command::SetTags { set, delete: [text(pick).into_vec()].into() }
            }
        }
    }

    /// What a node waits for comes, or an answer to a query.
    fn answer(&mut self, pick: &mut Pick<'_>) {
        let place = usize::from(pick.byte());
        match pick.below(4) {
            0 if !self.lookups.is_empty() => {
                let (to, id) = self.lookups.swap_remove(place % self.lookups.len());
                let found = (0..pick.below(3)).map(|_| addr(pick.below(NODES + 1))).collect();
                let result = if pick.coin() { Ok(found) } else { Err(ResolveError("no such host".into())) };
                self.give(to, Stimulus::Resolved { id, result });
            }
            1 if !self.records.is_empty() => {
                let (to, id) = self.records.swap_remove(place % self.records.len());
                let result = if pick.coin() { Ok(()) } else { Err(villein_core::io::PersistError("no space".into())) };
                self.give(to, Stimulus::Persisted { id, result });
            }
            2 if !self.queries.is_empty() => {
                let (to, query) = self.queries.swap_remove(place % self.queries.len());
                self.order(to, Command::Respond { query, payload: pick.bytes().into() });
            }
            // Some of the orders were queries, and some of those still run.
            3 if self.requests > 0 => {
                let query = RequestId(1 + u64::from(pick.number()) % self.requests);
                self.order(place % NODES, Command::EndQuery(query));
            }
            _ => {}
        }
    }

    /// What a driver may say at any time.
    fn disturb(&mut self, pick: &mut Pick<'_>) {
        let to = pick.below(NODES);
        let activity = pick.one_of(&[Activity::Probe, Activity::Gossip, Activity::PushPull, Activity::Serf]);
        match pick.below(5) {
            0 => self.give(to, Stimulus::SendFailed { to: addr(pick.below(NODES)), activity }),
            1 => self.give(to, Stimulus::Stalled { activity }),
            2 | 3 => self.give(to, Stimulus::Resumed { activity }),
            _ => {
                let ids: Vec<StreamId> = self.ends.keys().filter(|(at, _)| *at == to).map(|(_, id)| *id).collect();
                if let Some(&id) = ids.get(usize::from(pick.byte()) % ids.len().max(1)) {
                    self.arrivals.push_back((to, Arrival::Stream(id, Delivery::Failed)));
                }
            }
        }
    }

    /// A node goes on from its checkpoint: nothing may be lost by that.
    fn restore(&mut self, number: usize) {
        let before = self.nodes[number].checkpoint();
        let node = Node::restore(&before).expect("a checkpoint of our own");
        assert_eq!(before, node.checkpoint(), "a checkpoint of what was restored is another one");
        self.nodes[number] = node;
    }

    fn give(&mut self, number: usize, stimulus: Stimulus<'_>) {
        let node = &mut self.nodes[number];
        let outputs = node.handle(Input { at: self.now, stimulus });
        node.check().unwrap_or_else(|violation| panic!("n{number}: {violation}"));
        assert!(outputs.len() <= OUTPUTS_MAX, "{} outputs of one input", outputs.len());
        if let Some(deadline) = node.next_deadline() {
            assert!(deadline.at > self.now, "{:?} is due and not fired", deadline.why);
        }
        let own = node.alive().incarnation;
        assert!(own >= self.own[number], "n{number} goes back from incarnation {:?} to {own:?}", self.own[number]);
        self.own[number] = own;
        for output in outputs {
            self.perform(number, output);
        }
    }

    fn perform(&mut self, number: usize, output: Output) {
        match output {
            Output::Datagram { to, bytes, .. } => {
                assert!(bytes.len() <= limits::DATAGRAM_BYTES_MAX, "a datagram of {} bytes", bytes.len());
                if let Some(peer) = peer_at(to) {
                    self.send(peer, Arrival::Datagram(addr(number), bytes));
                }
            }
            Output::Stream { id, action, .. } => self.stream(number, id, action),
            Output::Resolve { id, .. } => keep(&mut self.lookups, (number, id)),
            Output::Persist { id, .. } => keep(&mut self.records, (number, id)),
            Output::Event(event) => {
                if let villein_core::event::Event::Query(query) = &*event {
                    keep(&mut self.queries, (number, query.key));
                }
            }
            // What people read must be readable.
            Output::Log(log) => _ = log.to_string(),
            Output::Reply { .. } => {}
        }
    }

    fn stream(&mut self, number: usize, id: StreamId, action: StreamAction) {
        match action {
            StreamAction::Connect(to) => match peer_at(to) {
                Some(peer) => {
                    self.accepted += 1;
                    let other = StreamId(self.accepted * 2 + 1);
                    self.ends.insert((number, id), (peer, other));
                    self.ends.insert((peer, other), (number, id));
                    self.send(peer, Arrival::Stream(other, Delivery::Accepted(addr(number))));
                    self.send(number, Arrival::Stream(id, Delivery::Connected));
                }
                None => self.send(number, Arrival::Stream(id, Delivery::Failed)),
            },
            StreamAction::Write(bytes) => {
                if let Some(&(peer, other)) = self.ends.get(&(number, id)) {
                    self.send(peer, Arrival::Stream(other, Delivery::Bytes(bytes)));
                }
            }
            StreamAction::Finish | StreamAction::Abort => {
                if let Some((peer, other)) = self.ends.remove(&(number, id)) {
                    self.send(peer, Arrival::Stream(other, Delivery::Closed));
                }
            }
        }
    }

    fn send(&mut self, to: usize, arrival: Arrival) {
        if self.arrivals.len() >= QUEUED_MAX {
            self.arrivals.pop_front();
        }
        self.arrivals.push_back((to, arrival));
    }
}

/// A few are enough; the first ones go.
fn keep<T>(items: &mut Vec<T>, item: T) {
    if items.len() >= 64 {
        items.remove(0);
    }
    items.push(item);
}

fn peer_at(to: SocketAddr) -> Option<usize> {
    (0..NODES).find(|&number| addr(number) == to)
}

fn packet(messages: &[Message], encoding: Encoding, envelope: Envelope<'_>) -> Box<[u8]> {
    let encode = |message: &Message| {
        let mut bytes = Vec::new();
        match encoding {
            Encoding::Native => native::encode(message, &mut bytes),
            Encoding::Memberlist => memberlist::encode(message, &mut bytes),
        }
        bytes
    };
    let parts: Vec<Vec<u8>> = messages.iter().map(encode).filter(|part| part.len() <= usize::from(u16::MAX)).collect();
    encoding.seal_parts(parts.iter().map(Vec::as_slice), envelope, NONCE, PacketForm::default())
}

/// Some bytes become others; some come or go.
fn mutate(bytes: &mut Vec<u8>, pick: &mut Pick<'_>) {
    for _ in 0..=pick.below(8) {
        let at = usize::from(pick.number()) % bytes.len().max(1);
        match pick.below(4) {
            0 if at < bytes.len() => bytes[at] = pick.byte(),
            1 if at < bytes.len() => bytes[at] ^= 1 << pick.below(8),
            2 if at < bytes.len() => _ = bytes.remove(at),
            _ => bytes.insert(at.min(bytes.len()), pick.byte()),
        }
    }
}

/// A packet whose messages say something else, sealed as before.
fn changed_packet(bytes: &[u8], envelope: Envelope<'_>, pick: &mut Pick<'_>) -> Option<Box<[u8]>> {
    let mut incoming = Incoming::default();
    incoming.open(bytes, envelope, &mut Budget::datagram(bytes.len())).ok()?;
    let change = |message: &Message, pick: &mut Pick<'_>| {
        let mut encoded = Vec::new();
        native::encode(message, &mut encoded);
        mutate(&mut encoded, pick);
        native::decode(&encoded).ok()
    };
    let messages: Vec<Message> =
        incoming.messages.iter().filter_map(|received| change(&received.message, pick)).collect();
    (!messages.is_empty()).then(|| packet(&messages, incoming.encoding, envelope))
}

/// The same for the message of a stream.
fn changed_stream(bytes: &[u8], to: StreamId, envelope: Envelope<'_>, pick: &mut Pick<'_>) -> Option<Box<[u8]>> {
    // Who opened the stream has the even number, so what arrives at an odd one is the dialler's.
    let dialler = !to.is_ours();
    let encoding = villein_core::wire::stream_encoding(bytes, dialler)?;
    let message = open_stream(&mut Pieces::from(bytes), envelope, dialler, &mut Progress::default()).ok()??;
    let plain = Envelope { keyring: &Keyring::default(), label: b"" };
    let mut frame = seal_stream(Encoding::Native, &message, plain, NONCE, false, false).into_vec();
    let mut body = frame.split_off(FRAME_HEADER);
    mutate(&mut body, pick);
    let len = u32::try_from(body.len()).ok()?.to_be_bytes();
    frame[FRAME_HEADER - len.len()..].copy_from_slice(&len);
    frame.extend(body);
    let message = open_stream(&mut Pieces::from(&frame[..]), plain, false, &mut Progress::default()).ok()??;
    let writable = encoding == Encoding::Native || !matches!(message, StreamMessage::Digest(_));
    writable.then(|| seal_stream(encoding, &message, envelope, NONCE, dialler, pick.coin()))
}

/// Magic, version, kind and length of a native frame.
const FRAME_HEADER: usize = 7;

fn text(pick: &mut Pick<'_>) -> Box<[u8]> {
    let words: [&[u8]; 6] = [b"deploy", b"role", b"", b"_serf_ping", b"_serf_conflict", b"\xff\0"];
    pick.one_of(&words).into()
}

fn filters(pick: &mut Pick<'_>) -> Vec<Filter> {
    (0..pick.below(3))
        .map(|_| match pick.below(3) {
            0 => Filter::Nodes((0..pick.below(3)).map(|_| name(pick.below(NODES))).collect()),
            1 => Filter::Tag { key: text(pick), pattern: pick.bytes().into() },
            _ => Filter::Unreadable,
        })
        .collect()
}

/// A message that nobody has said, about those who are there and one who is not.
fn forged(pick: &mut Pick<'_>) -> Message {
    let node = name(pick.below(NODES + 1));
    let other = name(pick.below(NODES + 1));
    let at = GossipAddr::from(addr(pick.below(NODES + 2)));
    let near = u64::from(pick.byte());
    let ltime = LamportTime(pick.one_of(&[near, near + 500, u64::from(u32::MAX), u64::MAX - 1, u64::MAX]));
    let incarnation = Incarnation(pick.one_of(&[near as u32, 1 << 30, 1 << 31, u32::MAX]));
    let (seq, id) = (SeqNo(near as u32), QueryId(near as u32 % 4));
    let response = |pick: &mut Pick<'_>, from| {
        let payload: Box<[u8]> = pick.bytes().into();
        QueryResponse { ltime, id, from, ack: payload.is_empty(), payload }
    };
    match pick.below(12) {
        0 => Message::Ping(Ping { seq, node, source: pick.coin().then_some(ReplyTo { addr: at, node: other }) }),
        1 => Message::IndirectPing(IndirectPing { seq, node, target: at, nack: pick.coin(), source: None }),
        2 => Message::Nack(seq),
        3 | 4 => {
            let (meta, versions) = (Meta::new(pick.bytes()), Versions::CURRENT);
            Message::Alive(Alive { node, incarnation, addr: at, meta, versions })
        }
        5 => Message::Suspect(Accused { node, incarnation, from: other }),
        6 => Message::Dead(Accused { node, incarnation, from: other }),
        7 => Message::Serf(SerfMessage::Leave(Intent { ltime, node, prune: pick.coin() })),
        8 => Message::Serf(SerfMessage::Join(Intent { ltime, node, prune: false })),
        9 => {
            let event = UserEvent { ltime, name: text(pick), payload: pick.bytes().into(), coalesce: pick.coin() };
            Message::Serf(SerfMessage::Event(event))
        }
        10 => Message::Serf(SerfMessage::Query(Box::new(Query {
            ltime,
            id,
            origin: at,
            node,
            filters: filters(pick),
            ack: pick.coin(),
            no_broadcast: pick.coin(),
            relay_factor: pick.byte(),
            timeout: Duration::from_millis(u64::from(pick.number())),
            name: text(pick),
            payload: pick.bytes().into(),
        }))),
        _ if pick.coin() => Message::Serf(SerfMessage::Response(response(pick, node))),
        _ => {
            let response = response(pick, other);
            Message::Serf(SerfMessage::Relay(Relay { to: at, node, response }))
        }
    }
}
