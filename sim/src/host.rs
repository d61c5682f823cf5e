//! One host: a process (or none), its disk, its clock, what waits to be read, and what a closed gate holds back.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use villein_core::command::Command;
use villein_core::config::Wire;
use villein_core::identity::Interner;
use villein_core::io::{Activity, PersistError, PersistId, RequestId, ResolveError, ResolveId, StreamError, StreamId};
use villein_core::keyring::Key;
use villein_core::types::{GossipAddr, Name};
use villein_core::{Config, Node, Output, Seed, Time};

use crate::disk::Disk;
use crate::draw::{Draw, Purpose};
use crate::operate::Pending;
use crate::scenario::{HostId, Scenario};

/// Bytes that wait in a frozen process's socket buffer, and what a datagram costs there beside its bytes.
const BUFFER_BYTES: usize = 2 << 20;
const BUFFER_OVERHEAD: usize = 256;

/// How many waiting inputs a process reads in one turn before it lets time pass.
pub(crate) const TURN: usize = 64;

/// The configuration of a node; keys are made of the seed.
pub(crate) fn config(scenario: &Scenario, host: HostId, seed: u64) -> Config {
    let node = &scenario.nodes[host.index()];
    let addr = GossipAddr::from(crate::network::addr(host));
    let mut config = Config::new(Name::from(node.name.as_str()), addr, scenario.profile);
    config.tags = node.tags.clone();
    config.wire = node.wire;
    config.compress = node.compress;
    config.swim = node.swim.clone();
    config.serf = node.serf.clone();
    config.label = scenario.label.as_bytes().into();
    config.persist = node.persist;
    config.simulation = true;
    if scenario.encrypt {
        config.keys.push(key(seed, FIRST_KEY));
    }
    config
}

/// What scenarios call the key that an encrypted cluster starts with.
const FIRST_KEY: &str = "first";

/// The key that a scenario calls by this word.
pub(crate) fn key(seed: u64, word: &str) -> Key {
    let place = word.bytes().fold(0_u64, |place, byte| place.wrapping_mul(0x0100_0000_01b3).wrapping_add(byte.into()));
    let mut draw = Draw::new(seed.wrapping_add(place), Purpose::GossipKey);
    let bytes: Vec<u8> = (0..4).flat_map(|_| draw.next().to_le_bytes()).collect();
    Key::new(&bytes).expect("32 bytes make a key")
}

/// The seed of one life of a node.
pub(crate) fn seed(seed: u64, host: HostId, life: u32) -> Seed {
    let place = (u64::from(host.0) << 20) | u64::from(life);
    let mixed = seed.wrapping_add(place.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    Seed::simulated(Draw::new(mixed, Purpose::Node).next())
}

/// Something that has reached a host and waits to be read by its process.
#[derive(Clone, Debug)]
pub(crate) enum Waiting {
    Datagram { from: SocketAddr, bytes: Box<[u8]> },
    Stream { id: StreamId, event: Heard },
    SendFailed { to: SocketAddr, activity: Activity },
    Resolved { id: ResolveId, result: Result<Box<[SocketAddr]>, ResolveError> },
    Persisted { id: PersistId, result: Result<(), PersistError> },
    Command { id: RequestId, command: Command },
}

/// A stream event that owns its bytes.
#[derive(Clone, Debug)]
pub(crate) enum Heard {
    Accepted(SocketAddr),
    Connected,
    Bytes(Box<[u8]>),
    Closed,
    Failed(StreamError),
}

/// A host without a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Down {
    /// The host itself answers: connections are refused.
    Process,
    /// Nobody answers.
    Power,
}

/// A host's clock: an origin of its own, and a rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    pub(crate) origin: u64,
    pub(crate) drift_ppm: i32,
}

impl Clock {
    /// What the clock shows at a true time.
    pub(crate) fn local(self, now: u64) -> Time {
        if self.drift_ppm == 0 {
            return Time::from_nanos(self.origin.saturating_add(now));
        }
        let drift = i128::from(now) * i128::from(self.drift_ppm) / 1_000_000;
        let shown = i128::from(self.origin) + i128::from(now) + drift;
        Time::from_nanos(u64::try_from(shown).unwrap_or(u64::MAX))
    }

    /// The first true time at which the clock shows `time` or more.
    pub(crate) fn real(self, time: Time) -> u64 {
        let Some(passed) = time.as_nanos().checked_sub(self.origin) else { return 0 };
        if self.drift_ppm == 0 {
            return passed;
        }
        let rate = 1_000_000 + i128::from(self.drift_ppm);
        let guess = i128::from(passed) * 1_000_000 / rate;
        let mut guess = u64::try_from(guess).unwrap_or(u64::MAX).saturating_sub(2);
        while guess < u64::MAX && self.local(guess) < time {
            guess += 1;
        }
        guess
    }
}

/// One host.
pub(crate) struct Host {
    pub(crate) name: Name,
    /// Which encoding its process speaks.
    pub(crate) wire: Wire,
    pub(crate) node: Option<Node>,
    pub(crate) down: Down,
    /// Counts the processes: what is meant for an earlier one never reaches a later one.
    pub(crate) life: u32,
    pub(crate) disk: Disk,
    /// When the disk has written all that it was given: it writes in order.
    pub(crate) disk_until: u64,
    pub(crate) clock: Clock,
    pub(crate) last_at: Time,
    /// When the earliest wake-up in the queue comes; later ones are stale.
    pub(crate) wake: u64,
    pub(crate) paused: bool,
    /// Whether the host's network interface is down.
    pub(crate) unplugged: bool,
    pub(crate) draining: bool,
    pub(crate) backlog: VecDeque<Waiting>,
    backlog_bytes: usize,
    pub(crate) gates: [Gate; Activity::COUNT],
    pub(crate) parked: Vec<Output>,
    pub(crate) streams: BTreeMap<StreamId, (u64, usize)>,
    pub(crate) accepted: u64,
    pub(crate) requests: u64,
    pub(crate) pending: BTreeMap<RequestId, Pending>,
    pub(crate) restore_at: u64,
    pub(crate) inputs: u64,
}

/// Whether what an activity sends goes out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Gate {
    /// It does.
    #[default]
    Open,
    /// It does not, and the activity has not tried yet.
    Closed,
    /// It does not, the activity has tried, and the node is told.
    Stalled,
    /// It does not, and the node is never told: it goes on as if it did.
    Buffered,
}

impl Host {
    pub(crate) fn new(name: Name, wire: Wire, clock: Clock) -> Self {
        Self {
            name,
            wire,
            node: None,
            down: Down::Process,
            life: 0,
            disk: Disk::default(),
            disk_until: 0,
            clock,
            last_at: Time::ZERO,
            wake: u64::MAX,
            paused: false,
            unplugged: false,
            draining: false,
            backlog: VecDeque::new(),
            backlog_bytes: 0,
            gates: [Gate::Open; Activity::COUNT],
            parked: Vec::new(),
            streams: BTreeMap::new(),
            accepted: 0,
            requests: 0,
            pending: BTreeMap::new(),
            restore_at: u64::MAX,
            inputs: 0,
        }
    }

    /// Whether a process runs here and is not frozen.
    pub(crate) const fn runs(&self) -> bool {
        self.node.is_some() && !self.paused
    }

    /// Starts a process.
    pub(crate) fn start(&mut self, node: Node) {
        self.node = Some(node);
        self.life += 1;
        self.paused = false;
    }

    /// Ends the process with all that only it knew.
    pub(crate) fn stop(&mut self, down: Down) {
        self.node = None;
        self.down = down;
        self.life += 1;
        self.paused = false;
        self.draining = false;
        self.wake = u64::MAX;
        self.backlog.clear();
        self.backlog_bytes = 0;
        self.gates = [Gate::Open; Activity::COUNT];
        self.parked.clear();
        self.streams.clear();
        self.pending.clear();
    }

    /// Whether the process cannot read this now.
    pub(crate) fn holds(&self, waiting: &Waiting) -> bool {
        self.paused || self.draining || self.is_gated(waiting)
    }

    /// Whether a closed gate keeps the process from reading this.
    pub(crate) fn is_gated(&self, waiting: &Waiting) -> bool {
        let gate = match waiting {
            Waiting::Datagram { .. } => self.gates[Activity::Receiver.index()],
            Waiting::Stream { .. } => self.gates[Activity::Stream.index()],
            Waiting::SendFailed { .. }
            | Waiting::Resolved { .. }
            | Waiting::Persisted { .. }
            | Waiting::Command { .. } => Gate::Open,
        };
        gate != Gate::Open
    }

    /// Puts something into the backlog; false: the socket buffer is full and it is dropped.
    pub(crate) fn hold(&mut self, waiting: Waiting) -> bool {
        let bytes = cost(&waiting);
        if bytes > 0 && self.backlog_bytes + bytes > BUFFER_BYTES {
            return false;
        }
        self.backlog_bytes += bytes;
        self.backlog.push_back(waiting);
        true
    }

    /// The next thing of the backlog that the process can read.
    pub(crate) fn read(&mut self) -> Option<Waiting> {
        let place = self.backlog.iter().position(|waiting| !self.is_gated(waiting))?;
        let waiting = self.backlog.remove(place)?;
        self.backlog_bytes -= cost(&waiting);
        Some(waiting)
    }

    /// Replaces the node by its own checkpoint.
    pub(crate) fn restore(&mut self, interner: &Interner) -> Result<(), String> {
        if let Some(node) = &self.node {
            let bytes = node.checkpoint();
            self.node = Some(Node::restore_in(&bytes, interner.clone()).map_err(|error| error.to_string())?);
        }
        Ok(())
    }
}

fn cost(waiting: &Waiting) -> usize {
    match waiting {
        Waiting::Datagram { bytes, .. } => bytes.len() + BUFFER_OVERHEAD,
        Waiting::Stream { .. }
        | Waiting::SendFailed { .. }
        | Waiting::Resolved { .. }
        | Waiting::Persisted { .. }
        | Waiting::Command { .. } => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drifting_clock_reaches_each_time_and_not_before() {
        for drift_ppm in [-500, 0, 3, 100_000] {
            let clock = Clock { origin: 77, drift_ppm };
            for now in [0, 1, 999_999, 123_456_789_012] {
                let shown = clock.local(now);
                let real = clock.real(shown);
                assert!(real <= now && clock.local(real) >= shown, "{drift_ppm} ppm at {now}");
                assert!(real == 0 || clock.local(real - 1) < shown, "{drift_ppm} ppm at {now}");
            }
        }
    }

    #[test]
    fn a_full_buffer_drops_datagrams_and_nothing_else() {
        let clock = Clock { origin: 0, drift_ppm: 0 };
        let mut host = Host::new(Name::from("a"), Wire::Native, clock);
        let from = crate::network::addr(HostId(1));
        let datagram = || Waiting::Datagram { from, bytes: vec![0; 1000].into() };
        let held = (0..10_000).filter(|_| host.hold(datagram())).count();
        assert_eq!(held, BUFFER_BYTES / (1000 + BUFFER_OVERHEAD));
        assert!(host.hold(Waiting::Stream { id: StreamId(1), event: Heard::Closed }));
        host.gates[Activity::Receiver.index()] = Gate::Closed;
        assert!(matches!(host.read(), Some(Waiting::Stream { .. })));
        assert!(host.read().is_none());
        host.gates[Activity::Receiver.index()] = Gate::Open;
        assert!(host.read().is_some() && host.hold(datagram()));
    }
}
