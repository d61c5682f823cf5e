//! What the core does on its hot paths, again and again: for `benches/core.rs`, which measures time and allocations, and for
//! `count`, whose instructions valgrind counts.

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use villein_core::config::Profile;
use villein_core::io::{StreamEvent, StreamId};
use villein_core::keyring::{Key, Keyring};
use villein_core::lamport::LamportTime;
use villein_core::timers::TimerKind;
use villein_core::types::{GossipAddr, Incarnation, Meta, Name, SeqNo, Versions};
use villein_core::wire::{
    Ack, Alive, Clocks, Digest, Encoding, Envelope, Message, NodeState, Ping, PushPull, SerfMessage, SerfState,
    StreamMessage, SwimState, UserEvent, native, seal_stream,
};
use villein_core::{Config, Input, Node, Output, Saved, Seed, Stimulus, Time, limits};

/// Something that a node does often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// A ping is answered.
    Ping,
    /// The same, encrypted.
    SealedPing,
    /// An ack that nobody waits for.
    Ack,
    /// A packet of eight alive messages that say nothing new.
    Known,
    /// A packet of eight alive messages that are news.
    Fresh,
    /// A user event that was heard before.
    OldEvent,
    /// A user event that is news.
    NewEvent,
    /// A digest is answered: all that members who agree exchange.
    Digest,
    /// A push/pull that says nothing new is taken in and answered.
    PushPull,
    /// A node that knows nobody is told of all.
    Learn,
}

impl Case {
    /// Each with the name that `count` and the tables use.
    pub const ALL: [(&'static str, Self); 10] = [
        ("ping", Self::Ping),
        ("sealed-ping", Self::SealedPing),
        ("ack", Self::Ack),
        ("known", Self::Known),
        ("fresh", Self::Fresh),
        ("old-event", Self::OldEvent),
        ("new-event", Self::NewEvent),
        ("digest", Self::Digest),
        ("push-pull", Self::PushPull),
        ("learn", Self::Learn),
    ];
}

/// A node, and what it is given again and again.
pub struct Bench {
    case: Case,
    node: Node,
    now: Time,
    packets: Vec<Box<[u8]>>,
    given: usize,
    streams: u64,
    out: Vec<Output>,
}

/// Updates in a packet of [`Case::Known`] and [`Case::Fresh`].
const UPDATES: u32 = 8;
const STEP: Duration = Duration::from_nanos(300);

impl Bench {
    /// A node that knows `members` others and has passed on all that it heard of them, ready for `times` rounds.
    pub fn new(case: Case, members: u32, times: u32) -> Self {
        let keys = if case == Case::SealedPing { vec![Key::new(&[7; 32]).expect("32 bytes")] } else { Vec::new() };
        let keyring = Keyring::new(keys.clone());
        let mut bench = Self {
            case,
            node: node(keys),
            now: Time::ZERO,
            packets: packets(case, members, times, &keyring),
            given: 0,
            streams: 0,
            out: Vec::new(),
        };
        bench.give(Stimulus::Tick);
        if case != Case::Learn {
            bench.told(&state(members, &keyring));
            assert_eq!(bench.node.members().len(), members as usize + 1, "every member is known");
        }
        while let Some(at) = bench.node.timer(TimerKind::Gossip) {
            bench.now = at;
            bench.give(Stimulus::Tick);
        }
        bench
    }

    /// One round.
    pub fn round(&mut self) {
        self.now = self.now + STEP;
        let packet = std::mem::take(&mut self.packets[self.given]);
        match self.case {
            Case::Ping | Case::SealedPing | Case::Ack | Case::Known | Case::Fresh | Case::OldEvent | Case::NewEvent => {
                self.give(Stimulus::Datagram { from: addr(1), bytes: black_box(&packet) });
            }
            Case::Digest => {
                self.told(&packet);
                let id = StreamId(self.streams * 2 - 1);
                self.give(Stimulus::Stream { id, event: StreamEvent::Closed });
            }
            Case::PushPull => self.told(&packet),
            Case::Learn => {
                self.node = node(Vec::new());
                self.told(&packet);
            }
        }
        self.packets[self.given] = packet;
        self.given = (self.given + 1) % self.packets.len();
    }

    /// So many rounds.
    pub fn rounds(&mut self, times: u32) {
        (0..times).for_each(|_| self.round());
    }

    fn give(&mut self, stimulus: Stimulus<'_>) {
        self.node.handle_into(Input { at: self.now, stimulus }, &mut self.out);
        black_box(&mut self.out).clear();
    }

    fn told(&mut self, bytes: &[u8]) {
        self.streams += 1;
        let id = StreamId(self.streams * 2 - 1);
        self.give(Stimulus::Stream { id, event: StreamEvent::Accepted { from: addr(1) } });
        self.give(Stimulus::Stream { id, event: StreamEvent::Bytes(black_box(bytes)) });
    }
}

fn node(keys: Vec<Key>) -> Node {
    let mut config = Config::new(own_name(), GossipAddr::from(addr(0)), Profile::Lan);
    config.simulation = true;
    config.keys = keys;
    // Nobody is there to answer: no probes, no push/pulls.
    config.swim.probe_interval = limits::DURATION_MAX;
    config.swim.push_pull_interval = Duration::ZERO;
    config.swim.gossip_nodes = 64;
    Node::new(config, Seed::simulated(1), Time::ZERO, Saved::default()).expect("a valid configuration")
}

/// What is given, one after the other and then again.
fn packets(case: Case, members: u32, times: u32, keyring: &Keyring) -> Vec<Box<[u8]>> {
    let updates = |round: u32, incarnation: u32| {
        let first = round.wrapping_mul(UPDATES);
        let alive = (0..UPDATES).map(|place| alive((first + place) % members.max(1) + 1, incarnation));
        packet(&alive.map(Message::Alive).collect::<Vec<_>>(), keyring)
    };
    match case {
        Case::Ping | Case::SealedPing => {
            vec![packet(&[Message::Ping(Ping { seq: SeqNo(1), node: own_name(), source: None })], keyring)]
        }
        Case::Ack => vec![packet(&[Message::Ack(Ack { seq: SeqNo(1), coordinate: None })], keyring)],
        Case::Known => (0..members.div_ceil(UPDATES).max(1)).map(|round| updates(round, 1)).collect(),
        Case::Fresh => (0..times).map(|round| updates(round, 2 + round)).collect(),
        Case::OldEvent => vec![packet(&[event(1)], keyring)],
        Case::NewEvent => (0..times).map(|round| packet(&[event(u64::from(round) + 1)], keyring)).collect(),
        Case::Digest => vec![digest(keyring)],
        Case::PushPull | Case::Learn => vec![state(members, keyring)],
    }
}

fn own_name() -> Name {
    Name::from("agent-one.example")
}

fn alive(number: u32, incarnation: u32) -> Alive {
    Alive {
        node: Name::from(format!("agent-{number}").as_str()),
        incarnation: Incarnation(incarnation),
        addr: GossipAddr::from(addr(number)),
        // An empty map of tags, and the sign of the native encoding.
        meta: Meta::new([0xff, 0x80, native::MAGIC, b'V', native::VERSION]),
        versions: Versions::CURRENT,
    }
}

fn event(ltime: u64) -> Message {
    let (name, payload) = (Box::from(*b"deploy"), Box::from(*b"release 2026.11, canary first"));
    Message::Serf(SerfMessage::Event(UserEvent { ltime: LamportTime(ltime), name, payload, coalesce: true }))
}

/// The push/pull of somebody who knows `members`.
fn state(members: u32, keyring: &Keyring) -> Box<[u8]> {
    let nodes: Vec<NodeState> =
        (1..=members).map(|number| NodeState { alive: alive(number, 1), state: SwimState::Alive }).collect();
    let statuses = nodes.iter().map(|node| (node.alive.node.clone(), LamportTime(0))).collect();
    let serf = SerfState { statuses, ..SerfState::default() };
    stream(&StreamMessage::PushPull(PushPull { join: false, nodes, serf, unreadable: 0 }), keyring)
}

/// Whether the peer agrees makes no difference to who answers.
fn digest(keyring: &Keyring) -> Box<[u8]> {
    let never = LamportTime(0);
    let clocks = Clocks { members: never, events: never, queries: never };
    stream(&StreamMessage::Digest(Digest { clocks, members: 1, events_since: never, events: 0 }), keyring)
}

fn stream(message: &StreamMessage, keyring: &Keyring) -> Box<[u8]> {
    seal_stream(Encoding::Native, message, Envelope { keyring, label: &[] }, [9; 12], true, false)
}

fn addr(number: u32) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::from(0x0a00_0001 + number), 7946))
}

fn packet(messages: &[Message], keyring: &Keyring) -> Box<[u8]> {
    let parts: Vec<Vec<u8>> = messages
        .iter()
        .map(|message| {
            let mut bytes = Vec::new();
            native::encode(message, &mut bytes);
            bytes
        })
        .collect();
    native::seal_parts(parts.iter().map(Vec::as_slice), Envelope { keyring, label: &[] }, [9; 12])
}
