//! Random inputs of every kind in any order: whatever comes, the contract and the invariants hold.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use crate::Config;
use crate::command::{Command, KeyRequest, Question};
use crate::config::{Coalesce, Profile, RetryJoin, SnapshotConfig, Wire};
use crate::coordinate::Coordinate;
use crate::event::{Event, QueryKey};
use crate::io::{
    Activity, Input, Output, PersistError, PersistId, RequestId, ResolveError, ResolveId, Saved, Stimulus,
    StreamAction, StreamError, StreamEvent, StreamId,
};
use crate::keyring::{Key, Keyring};
use crate::lamport::LamportTime;
use crate::node::Node;
use crate::rng::{Purpose, Rng, Seed};
use crate::tests::harness::{ACTIVITIES, accused, addr, alive, config, name, reply_to, show};
use crate::time::Time;
use crate::types::{GossipAddr, JoinTarget, Meta, QueryId, SeqNo, Tags, Versions};
use crate::wire::memberlist::PacketForm;
use crate::wire::{
    Ack, Clocks, Digest, Encoding, Envelope, EventsAt, Filter, Fired, IndirectPing, Intent, Message, NodeState, Ping,
    PushPull, Query, QueryResponse, Relay, SerfMessage, SerfState, StreamMessage, SwimState, UserEvent, seal_stream,
};

const SEEDS: u64 = 400;
const STEPS: usize = 300;
/// Few names, so that messages meet.
const NAMES: usize = 8;

/// An input that owns its bytes, so that it can be given twice.
#[derive(Clone, Debug)]
enum Given {
    Tick,
    Datagram(SocketAddr, Box<[u8]>),
    SendFailed(SocketAddr, Activity),
    Bytes(StreamId, Box<[u8]>),
    Stream(StreamId, StreamEvent<'static>),
    Resolved(ResolveId, Result<Box<[SocketAddr]>, ResolveError>),
    Persisted(PersistId, Result<(), PersistError>),
    Stalled(Activity),
    Resumed(Activity),
    Entropy([u8; 32]),
    Command(RequestId, Command),
}

impl Given {
    fn stimulus(&self) -> Stimulus<'_> {
        match self.clone() {
            Self::Tick => Stimulus::Tick,
            Self::Datagram(from, _) => Stimulus::Datagram { from, bytes: self.bytes() },
            Self::SendFailed(to, activity) => Stimulus::SendFailed { to, activity },
            Self::Bytes(id, _) => Stimulus::Stream { id, event: StreamEvent::Bytes(self.bytes()) },
            Self::Stream(id, event) => Stimulus::Stream { id, event },
            Self::Resolved(id, result) => Stimulus::Resolved { id, result },
            Self::Persisted(id, result) => Stimulus::Persisted { id, result },
            Self::Stalled(activity) => Stimulus::Stalled { activity },
            Self::Resumed(activity) => Stimulus::Resumed { activity },
            Self::Entropy(bytes) => Stimulus::Entropy { bytes },
            Self::Command(id, command) => Stimulus::Command { id, command },
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Datagram(_, bytes) | Self::Bytes(_, bytes) => bytes,
            _ => &[],
        }
    }
}

/// One node, a copy of it that was restored from a checkpoint, and what a driver must know of it.
struct World {
    seed: u64,
    rng: Rng,
    keyring: Keyring,
    label: Box<[u8]>,
    node: Node,
    twin: Node,
    now: Time,
    accepted: u64,
    requests: u64,
    open: BTreeMap<StreamId, bool>,
    resolving: BTreeSet<ResolveId>,
    unanswered: BTreeSet<RequestId>,
    keeping: BTreeSet<PersistId>,
    asked: Vec<QueryKey>,
    /// The beginnings of log lines and events.
    seen: BTreeSet<String>,
}

fn configured(seed: u64) -> Config {
    let mut config = config(0, if seed.is_multiple_of(3) { Profile::Local } else { Profile::Lan });
    if seed.is_multiple_of(2) {
        config.serf.coalesce = Some(Coalesce::AGENT);
    }
    if seed.is_multiple_of(4) {
        config.keys = [5, 6].map(|byte| Key::new(&[byte; 16]).expect("16 bytes")).into();
    }
    if seed.is_multiple_of(5) {
        config.label = b"label"[..].into();
        config.persist = true;
    }
    config.wire = [Wire::Auto, Wire::Native, Wire::Auto, Wire::Memberlist][seed as usize % 4];
    if seed.is_multiple_of(7) {
        config.serf.retry_join = Some(RetryJoin {
            targets: ["one.example", "10.0.0.2"].map(JoinTarget::from).into(),
            interval: Duration::from_secs(30),
            max: 3,
            replay: false,
        });
    }
    if seed.is_multiple_of(3) {
        config.serf.snapshot = Some(SnapshotConfig { rejoin_after_leave: seed.is_multiple_of(2) });
    }
    (config.serf.keyring_file, config.serf.tags_file) = (seed.is_multiple_of(8), seed.is_multiple_of(9));
    // Members are forgotten within a run.
    config.serf.reconnect_timeout = Duration::from_secs(60);
    config.serf.tombstone_timeout = Duration::from_secs(40);
    config.swim.tombstone = Duration::from_secs(120);
    config
}

fn first_words(text: &str, count: usize) -> String {
    text.split(' ').take(count).collect::<Vec<_>>().join(" ")
}

impl World {
    fn new(seed: u64) -> Self {
        let config = configured(seed);
        let (keyring, label) = (Keyring::new(config.keys.clone()), config.label.clone());
        let node = Node::new(config, Seed::simulated(seed), Time::ZERO, Saved::default()).expect("valid");
        let twin = Node::restore(&node.checkpoint()).expect("a checkpoint");
        Self {
            seed,
            rng: Rng::new(Seed::simulated(seed ^ 0xfeed)),
            keyring,
            label,
            node,
            twin,
            now: Time::ZERO,
            accepted: 0,
            requests: 0,
            open: BTreeMap::new(),
            resolving: BTreeSet::new(),
            unanswered: BTreeSet::new(),
            keeping: BTreeSet::new(),
            asked: Vec::new(),
            seen: BTreeSet::new(),
        }
    }

    fn below(&mut self, count: usize) -> usize {
        self.rng.index(Purpose::Relay, count)
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn small(&mut self) -> u32 {
        self.below(6) as u32
    }

    fn alive(&mut self) -> crate::wire::Alive {
        let number = self.below(NAMES);
        let mut alive = alive(number, 0);
        alive.incarnation.0 = self.small();
        if self.one_in(8) {
            alive.addr = GossipAddr::from(addr(self.below(NAMES)));
        }
        if self.one_in(4) {
            alive.meta = Meta::new([0xff, 0x81, 0xa1, b'k', 0xa1, b'a' + self.small() as u8]);
        }
        if self.one_in(16) {
            alive.versions = Versions([0, 5, 9, 2, 5, 5]);
        }
        alive
    }

    fn accused(&mut self) -> crate::wire::Accused {
        let (node, incarnation, from) = (self.below(NAMES), self.small(), self.below(NAMES + 2));
        accused(node, incarnation, from)
    }

    fn intent(&mut self) -> Intent {
        let (ltime, node) = (self.below(20) as u64, self.below(NAMES + 2));
        Intent { ltime: LamportTime(ltime), node: name(node), prune: self.one_in(4) }
    }

    fn ping(&mut self) -> Ping {
        let node = if self.one_in(3) { self.below(NAMES) } else { 0 };
        let source = self.one_in(2).then(|| reply_to(self.below(NAMES)));
        Ping { seq: SeqNo(self.small()), node: name(node), source }
    }

    /// A number that the node may have given to one of its first probes.
    fn seq(&mut self) -> SeqNo {
        let first = Rng::new(Seed::simulated(self.seed)).next_u32(Purpose::Sequence);
        SeqNo(first.wrapping_add(self.below(40) as u32))
    }

    fn message(&mut self) -> Message {
        match self.below(17) {
            0 => Message::Ping(self.ping()),
            1 => {
                let Ping { seq, node, source } = self.ping();
                let target = GossipAddr::from(addr(self.below(NAMES)));
                Message::IndirectPing(IndirectPing { seq, node, target, nack: self.one_in(2), source })
            }
            2 => {
                let mut coordinate = self.one_in(2).then(Coordinate::start);
                if let Some(coordinate) = &mut coordinate {
                    coordinate.vec[0] = [0.0, 0.01, -3.0, f64::NAN, 1e30][self.below(5)];
                }
                Message::Ack(Ack { seq: self.seq(), coordinate })
            }
            3 => Message::Nack(self.seq()),
            4 => Message::Suspect(self.accused()),
            5 => Message::Dead(self.accused()),
            6 => Message::Serf(SerfMessage::Leave(self.intent())),
            7 => Message::Serf(SerfMessage::Join(self.intent())),
            8 | 9 => Message::Serf(SerfMessage::Event(self.event())),
            10 | 11 => Message::Serf(SerfMessage::Query(self.query().into())),
            12 => Message::Serf(SerfMessage::Response(self.response())),
            13 => {
                let (to, node) = (self.below(NAMES), self.below(NAMES));
                let relay = Relay { to: GossipAddr::from(addr(to)), node: name(node), response: self.response() };
                Message::Serf(SerfMessage::Relay(relay))
            }
            _ => Message::Alive(self.alive()),
        }
    }

    fn event(&mut self) -> UserEvent {
        let ltime = LamportTime(self.below(600) as u64);
        let (name, payload) = (self.small().to_be_bytes().into(), self.small().to_be_bytes().into());
        UserEvent { ltime, name, payload, coalesce: self.one_in(2) }
    }

    fn query(&mut self) -> Query {
        let names: [&[u8]; 7] = [
            b"deploy",
            b"_serf_ping",
            b"_serf_conflict",
            b"_serf_install-key",
            b"_serf_use-key",
            b"_serf_remove-key",
            b"_serf_list-keys",
        ];
        let filters = (0..self.below(3))
            .map(|_| match self.below(4) {
                0 => Filter::Nodes([name(self.below(NAMES))].into()),
                1 => Filter::Tag { key: b"k"[..].into(), pattern: [&b"a|b"[..], b"("][self.below(2)].into() },
                2 => Filter::Unreadable,
                _ => Filter::Tag { key: b"k"[..].into(), pattern: b""[..].into() },
            })
            .collect();
        let key = [&b"\x07\x81\xa3Key\xb0aaaaaaaaaaaaaaaa"[..], b"n1", b"\x07\x81\xa3Key\xa1a", b"\x07\xc1"];
        Query {
            ltime: LamportTime(self.below(600) as u64),
            id: QueryId(self.small()),
            origin: GossipAddr::from(addr(self.below(NAMES))),
            node: name(self.below(NAMES)),
            filters,
            ack: self.one_in(2),
            no_broadcast: self.one_in(4),
            relay_factor: self.small() as u8,
            timeout: Duration::from_secs(self.below(9) as u64),
            name: names[self.below(names.len())].into(),
            payload: key[self.below(key.len())].into(),
        }
    }

    /// Mostly a word on a query that runs.
    fn response(&mut self) -> QueryResponse {
        let ltime = LamportTime(self.node.stats().query_time.0.saturating_sub(self.below(3) as u64));
        let id = QueryId(self.small());
        let payload = [&b"yes"[..], b"\x08\x81\xa6Result\xc3", b"\x06\xc0"];
        let payload = payload[self.below(payload.len())].into();
        QueryResponse { ltime, id, from: name(self.below(NAMES)), ack: self.one_in(2), payload }
    }

    fn digest(&mut self) -> Digest {
        let mut number = || u64::from(self.small());
        let (members, events, queries, since) = (number(), number(), number(), number());
        let [members, events, queries, events_since] = [members, events, queries, since].map(LamportTime);
        let clocks = Clocks { members, events, queries };
        Digest { clocks, members: number(), events_since, events: number() }
    }

    fn push_pull(&mut self) -> PushPull {
        let states = [SwimState::Alive, SwimState::Suspect, SwimState::Dead, SwimState::Left];
        let nodes = (0..self.below(6))
            .map(|_| NodeState { alive: self.alive(), state: states[self.below(states.len())] })
            .collect();
        let statuses: Vec<_> = (0..self.below(5)).map(|_| self.intent()).map(|said| (said.node, said.ltime)).collect();
        let left = statuses.iter().filter(|_| self.one_in(3)).map(|(node, _)| node.clone()).collect();
        let [ltime, event_ltime, query_ltime] = [(); 3].map(|()| LamportTime(self.below(30) as u64));
        let events = (0..self.below(4))
            .map(|_| self.event())
            .map(|event| EventsAt {
                ltime: event.ltime,
                events: [Fired { name: event.name, payload: event.payload }].into(),
            })
            .collect();
        let serf = SerfState { ltime, event_ltime, query_ltime, statuses, left, events };
        PushPull { join: self.one_in(2), nodes, serf, unreadable: 0 }
    }

    fn damage(&mut self, bytes: &mut [u8]) {
        if self.one_in(12) && !bytes.is_empty() {
            let place = self.below(bytes.len());
            bytes[place] ^= 1 << self.below(8);
        }
    }

    fn encoding(&mut self) -> Encoding {
        if self.one_in(2) { Encoding::Native } else { Encoding::Memberlist }
    }

    fn datagram(&mut self) -> Given {
        let encoding = self.encoding();
        let parts: Vec<Vec<u8>> = (0..=self.below(4))
            .map(|_| {
                let mut bytes = Vec::new();
                encoding.encode(&self.message(), &mut bytes);
                self.damage(&mut bytes);
                bytes
            })
            .collect();
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let nonce = [self.small() as u8; 12];
        let envelope = Envelope { keyring: &self.keyring, label: &self.label };
        let form = PacketForm { crc: nonce[0] % 2 == 0, compress: nonce[0] % 3 == 0 };
        let mut bytes = encoding.seal_parts(parts.iter().copied(), envelope, nonce, form);
        self.damage(&mut bytes);
        Given::Datagram(addr(self.below(NAMES)), bytes)
    }

    fn stream_id(&mut self) -> StreamId {
        let open: Vec<StreamId> = self.open.keys().copied().collect();
        if open.is_empty() || self.one_in(10) { StreamId(self.below(40) as u64) } else { open[self.below(open.len())] }
    }

    fn stream(&mut self) -> Given {
        if self.one_in(4) {
            self.accepted += 1;
            let id = StreamId(self.accepted * 2 + 1);
            self.open.insert(id, true);
            return Given::Stream(id, StreamEvent::Accepted { from: addr(self.below(NAMES)) });
        }
        let id = self.stream_id();
        match self.below(8) {
            0 => Given::Stream(id, StreamEvent::Closed),
            1 => Given::Stream(id, StreamEvent::Failed(StreamError::Reset)),
            2 | 3 => Given::Stream(id, StreamEvent::Connected),
            _ => {
                let encoding = self.encoding();
                let message = match self.below(6) {
                    0 => StreamMessage::Ping(self.ping()),
                    1 => StreamMessage::Ack(self.seq()),
                    2 => StreamMessage::Error("no".into()),
                    3 if encoding == Encoding::Native => StreamMessage::Digest(self.digest()),
                    _ => StreamMessage::PushPull(self.push_pull()),
                };
                let nonce = [self.small() as u8; 12];
                let envelope = Envelope { keyring: &self.keyring, label: &self.label };
                let mut bytes = seal_stream(encoding, &message, envelope, nonce, !id.is_ours(), nonce[0] % 2 == 0);
                self.damage(&mut bytes);
                let end = if self.one_in(5) { self.below(bytes.len()) } else { bytes.len() };
                Given::Bytes(id, bytes[..end].into())
            }
        }
    }

    fn command(&mut self) -> Given {
        self.requests += 1;
        let id = RequestId(self.requests);
        let command = match self.below(23) {
            0 => Command::Leave,
            1 | 2 => Command::Rejoin,
            3 | 4 => Command::ForceLeave { node: name(self.below(NAMES + 2)), prune: self.one_in(2) },
            5 | 6 => {
                let UserEvent { name, payload, coalesce, .. } = self.event();
                Command::UserEvent { name, payload, coalesce }
            }
            7..10 => {
                let Query { filters, ack, relay_factor, timeout, name, payload, .. } = self.query();
                let timeout = self.one_in(2).then_some(timeout);
                Command::Query(Box::new(Question { name, payload, filters, ack, relay_factor, timeout }))
            }
            10 | 18..22 => {
                let query = match self.asked.last().copied() {
                    Some(key) if !self.one_in(4) => key,
                    _ => QueryKey { ltime: LamportTime(self.below(30) as u64), id: QueryId(self.small()) },
                };
                Command::Respond { query, payload: b"yes"[..].into() }
            }
            11 => {
                let set = [(b"k".to_vec(), vec![b'a'; self.below(600)])].into();
                Command::SetTags { set, delete: [b"k".to_vec()].into() }
            }
            12 => Command::ReplaceTags(Tags::new()),
            22 => Command::EndQuery(RequestId(self.requests.saturating_sub(self.below(4) as u64))),
            13 | 14 => {
                let key = [self.small() as u8; 16];
                Command::Key(match self.below(5) {
                    0 => KeyRequest::Install(key.into()),
                    1 => KeyRequest::Use(key.into()),
                    2 => KeyRequest::Remove(key.into()),
                    3 => KeyRequest::List,
                    _ => KeyRequest::Status,
                })
            }
            _ => {
                let texts = ["one.example", "10.0.0.1", "10.0.0.2:7946", "1:2:3", "two.example:99", "x:port"];
                let targets = (0..self.below(4)).map(|_| JoinTarget::from(texts[self.below(texts.len())])).collect();
                Command::Join { targets, replay: self.one_in(2) }
            }
        };
        Given::Command(id, command)
    }

    fn resolved(&mut self) -> Given {
        let id = self.resolving.first().copied().unwrap_or_else(|| ResolveId(self.below(9) as u64));
        let result = match self.below(3) {
            0 => Err(ResolveError("no such host".into())),
            _ => Ok((0..self.below(3)).map(|_| addr(self.below(NAMES))).collect()),
        };
        Given::Resolved(id, result)
    }

    fn draw(&mut self) -> Given {
        let activity = ACTIVITIES[self.below(ACTIVITIES.len())];
        match self.below(40) {
            0..16 => self.datagram(),
            16..26 => self.stream(),
            26..29 => self.command(),
            29..31 => self.resolved(),
            31 => Given::Stalled(activity),
            32..34 => Given::Resumed(activity),
            34 => Given::SendFailed(addr(self.below(NAMES)), activity),
            35 => {
                let kept = if self.one_in(4) { None } else { self.keeping.pop_first() };
                let id = kept.unwrap_or(PersistId(1_000_000));
                let result = if self.one_in(4) { Err(PersistError("disk full".into())) } else { Ok(()) };
                Given::Persisted(id, result)
            }
            36 => Given::Entropy([self.small() as u8; 32]),
            _ => Given::Tick,
        }
    }

    fn let_time_pass(&mut self) {
        let next = self.node.next_deadline().map_or(self.now, |deadline| deadline.at);
        self.now = match self.below(20) {
            0..6 => self.now,
            6..10 => self.now + Duration::from_millis(self.below(50) as u64),
            10..17 => next,
            17 => next + Duration::from_nanos(1),
            18 => self.now + Duration::from_millis(self.below(8_000) as u64),
            _ if self.one_in(4) => self.now + Duration::from_secs(self.below(4_000) as u64),
            _ => self.now + Duration::from_secs(self.below(20) as u64),
        }
        .max(self.now);
    }

    /// Gives both nodes the same input and holds them to the contract.
    fn give(&mut self, given: &Given) {
        if let Given::Command(id, _) = given {
            self.unanswered.insert(*id);
        }
        if let Given::Resolved(id, _) = given {
            self.resolving.remove(id);
        }
        let (seed, now) = (self.seed, self.now);
        let context = || format!("seed {seed}, at {now}, {given:?}");
        let outputs = self.node.handle(Input { at: self.now, stimulus: given.stimulus() });
        let twins = self.twin.handle(Input { at: self.now, stimulus: given.stimulus() });
        assert_eq!(outputs, twins, "{}: the restored node does something else", context());
        assert_eq!(self.node.next_deadline(), self.twin.next_deadline(), "{}", context());
        if let Some(deadline) = self.node.next_deadline() {
            assert!(deadline.at > self.now, "{}: {deadline:?} is not later", context());
        }
        self.node.check().unwrap_or_else(|violation| panic!("{}: {violation}", context()));
        for output in outputs {
            self.perform(output, &context);
        }
        // Not before: a stream's own deadline may have come first.
        if let Given::Stream(id, StreamEvent::Failed(_)) = given {
            self.open.remove(id);
        }
    }

    fn perform(&mut self, output: Output, context: &impl Fn() -> String) {
        match output {
            Output::Datagram { bytes, .. } => {
                assert!(bytes.len() <= crate::limits::PACKET_BYTES, "{}: {} bytes", context(), bytes.len());
            }
            Output::Stream { id, action: StreamAction::Connect(_), .. } => {
                assert!(id.is_ours() && self.open.insert(id, false).is_none(), "{}: {id:?} twice", context());
            }
            Output::Stream { id, action: StreamAction::Write(_), .. } => {
                assert!(self.open.contains_key(&id), "{}: {id:?} is not open", context());
            }
            Output::Stream { id, action: StreamAction::Finish | StreamAction::Abort, .. } => {
                assert!(self.open.remove(&id).is_some(), "{}: {id:?} is not open", context());
            }
            Output::Reply { id, reply } => {
                use crate::command::Reply::{QueryAck, QueryResponse, QueryStarted};
                let more = matches!(*reply, QueryStarted | QueryAck { .. } | QueryResponse { .. });
                let waited = if more { self.unanswered.contains(&id) } else { self.unanswered.remove(&id) };
                assert!(waited, "{}: nobody waits for {id:?}, {reply:?}", context());
                self.seen.insert(first_words(&format!("{reply:?}"), 1));
            }
            Output::Resolve { id, .. } => assert!(self.resolving.insert(id), "{}: {id:?} twice", context()),
            Output::Persist { id, .. } => assert!(self.keeping.insert(id), "{}: {id:?} twice", context()),
            Output::Event(event) => {
                if let Event::Query(query) = &*event {
                    self.asked.push(query.key);
                }
                self.seen.insert(first_words(&show(&event), 1));
            }
            Output::Log(log) => _ = self.seen.insert(first_words(&format!("{log}"), 2)),
        }
    }

    fn restore(&mut self) {
        let checkpoint = self.node.checkpoint();
        assert!(checkpoint == self.twin.checkpoint(), "seed {}: the twins differ", self.seed);
        self.twin = Node::restore(&checkpoint).expect("a checkpoint");
    }

    /// Everything goes on, streams fail and names have no address: every command is answered at last.
    fn answer_all(&mut self) {
        for activity in ACTIVITIES {
            self.give(&Given::Resumed(activity));
        }
        for _ in 0..3_000 {
            if self.unanswered.is_empty() {
                return;
            }
            if let Some(&id) = self.resolving.first() {
                self.give(&Given::Resolved(id, Ok(Box::default())));
            } else if let Some(id) = self.keeping.pop_first() {
                self.give(&Given::Persisted(id, Ok(())));
            } else if let Some(id) = self.open.keys().copied().find(|id| id.is_ours()) {
                self.give(&Given::Stream(id, StreamEvent::Failed(StreamError::Refused)));
            } else {
                self.now = self.node.next_deadline().map_or(self.now, |deadline| deadline.at);
                self.give(&Given::Tick);
            }
        }
        panic!("seed {}: {:?} were never answered, next {:?}", self.seed, self.unanswered, self.node.next_deadline());
    }
}

#[test]
fn the_contract_holds_whatever_comes() {
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.let_time_pass();
            let given = world.draw();
            world.give(&given);
            if world.one_in(25) {
                world.restore();
            }
        }
        world.answer_all();
        seen.append(&mut world.seen);
    }
    for fact in [
        "agent: joined:",
        "Failed(AlreadyResponded",
        "Failed(NotKept(\"disk",
        "Failed(PastDeadline)",
        "Keys(KeyOutcome",
        "QueryDone",
        "QueryResponse",
        "Responded",
        "TagsSet",
        "agent: maximum",
        "member-failed",
        "member-join",
        "member-leave",
        "member-reap",
        "member-update",
        "memberlist: Conflicting",
        "memberlist: Decrypt",
        "memberlist: Marking",
        "memberlist: Push/Pull",
        "memberlist: Refuting",
        "memberlist: Was",
        "memberlist: failed",
        "memberlist: skipped",
        "serf: attempting",
        "serf: reconnect",
        "serf: timeout",
    ] {
        assert!(seen.contains(fact), "no run came to {fact:?}: the inputs are too tame");
    }
}
