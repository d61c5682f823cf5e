//! What one ping costs a node that knows 10, 1,000 and 10,000 members, with and without encryption.
//!
//! `cargo run --release -p villein-core --example ping_path -- [PINGS [MEMBERS [plain|sealed]]]`
//!
//! The node has nothing to gossip, so what is measured is the bare path: a datagram is opened, the ping in it is
//! answered, the ack is sealed. Instructions and allocations of one ping are the difference of two runs under
//! `valgrind --tool=callgrind` or `valgrind` with different numbers of pings, divided by the difference.

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use villein_core::config::Profile;
use villein_core::keyring::{Key, Keyring};
use villein_core::timers::TimerKind;
use villein_core::types::{GossipAddr, Incarnation, Meta, Name, SeqNo, Versions};
use villein_core::wire::{Alive, Envelope, Message, Ping, native};
use villein_core::{Config, Input, Node, Output, Saved, Seed, Stimulus, Time, limits};

const PINGS: u32 = 1_000_000;
const MEMBERS: [u32; 3] = [10, 1_000, 10_000];

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = || arguments.next().map(|text| text.parse::<u32>().expect("a number"));
    let pings = number().unwrap_or(PINGS).max(1);
    let members = number().map_or_else(|| MEMBERS.to_vec(), |members| vec![members]);
    let only = arguments.next();
    for (cipher, keys) in [("plain", vec![]), ("sealed", vec![Key::new(&[7; 32]).expect("32 bytes")])] {
        if only.as_ref().is_some_and(|only| only != cipher) {
            continue;
        }
        for &members in &members {
            let mut bench = Bench::new(keys.clone(), members);
            print(&format!("{cipher:>6}, {members:>6} members: {:>7.1} ns a ping", per_ping(&mut bench, pings)));
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn per_ping(bench: &mut Bench, pings: u32) -> f64 {
    let begun = Instant::now();
    bench.pings(pings);
    begun.elapsed().as_secs_f64() * 1e9 / f64::from(pings)
}

#[expect(clippy::print_stdout, reason = "the table is what the example is for")]
fn print(line: &str) {
    println!("{line}");
}

struct Bench {
    node: Node,
    now: Time,
    packet: Box<[u8]>,
    out: Vec<Output>,
}

impl Bench {
    /// A node that knows `members` others and has passed on all that it heard of them.
    fn new(keys: Vec<Key>, members: u32) -> Self {
        let name = Name::from("agent-one.example");
        let keyring = Keyring::new(keys.clone());
        let mut config = Config::new(name.clone(), GossipAddr::from(addr(0)), Profile::Lan);
        config.simulation = true;
        config.keys = keys;
        // Nobody is there to answer: no probes, no push/pulls.
        config.swim.probe_interval = limits::DURATION_MAX;
        config.swim.push_pull_interval = Duration::ZERO;
        config.swim.gossip_nodes = 64;
        let node = Node::new(config, Seed::simulated(1), Time::ZERO, Saved::default()).expect("a valid configuration");
        let ping = Message::Ping(Ping { seq: SeqNo(1), node: name, source: None });
        let mut bench = Self { node, now: Time::ZERO, packet: packet(&ping, &keyring), out: Vec::new() };
        for number in 1..=members {
            let alive = Alive {
                node: Name::from(format!("agent-{number}").as_str()),
                incarnation: Incarnation(1),
                addr: GossipAddr::from(addr(number)),
                meta: Meta::default(),
                versions: Versions::CURRENT,
            };
            let bytes = packet(&Message::Alive(alive), &keyring);
            bench.give(Stimulus::Datagram { from: addr(number), bytes: &bytes });
        }
        while let Some(at) = bench.node.timer(TimerKind::Gossip) {
            bench.now = at;
            bench.give(Stimulus::Tick);
        }
        assert_eq!(bench.node.members().len(), members as usize + 1, "every member is known");
        bench
    }

    fn give(&mut self, stimulus: Stimulus<'_>) {
        self.node.handle_into(Input { at: self.now, stimulus }, &mut self.out);
        self.out.clear();
    }

    fn pings(&mut self, count: u32) {
        let from = addr(1);
        for _ in 0..count {
            self.now = self.now + Duration::from_nanos(300);
            let stimulus = Stimulus::Datagram { from, bytes: black_box(&self.packet) };
            self.node.handle_into(Input { at: self.now, stimulus }, &mut self.out);
            assert!(matches!(self.out[..], [Output::Datagram { .. }]), "one ack and nothing else");
            black_box(&mut self.out).clear();
        }
    }
}

fn addr(number: u32) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::from(0x0a00_0001 + number), 7946))
}

fn packet(message: &Message, keyring: &Keyring) -> Box<[u8]> {
    let mut bytes = Vec::new();
    native::encode(message, &mut bytes);
    native::seal_packet(&[&bytes], Envelope { keyring, label: &[] }, [9; 12])
}
