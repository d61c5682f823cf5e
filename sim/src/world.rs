//! The world: the queue of what happens, the hosts, and the one place where a node is handed its input.

use std::collections::BTreeMap;

use villein_core::command::Command;
use villein_core::event::{MemberEventKind, QueryKey};
use villein_core::identity::Interner;
use villein_core::io::{Activity, Deadline, Persist, PersistError, PersistId, ResolveId, StreamError, StreamEvent};
use villein_core::lamport::LamportTime;
use villein_core::types::Name;
use villein_core::{Input, Output, Stimulus, Time};

use crate::checkers::{Broken, Checkers};
use crate::draw::{Draw, Purpose};
use crate::faults::Faults;
use crate::history::History;
use crate::host::{Clock, Down, Gate, Heard, Host, TURN, Waiting};
use crate::judge::Judge;
use crate::network::Network;
use crate::queue::Queue;
use crate::scenario::{Answer, DiskFault, HostId, Link, Scenario};
use crate::streams::Streams;
use crate::timeline::Timeline;
use crate::trace::Trace;

/// How long a turn of a process that catches up takes: 64 packets at 30 µs (protocol.md 4.6).
const TURN_TIME: u64 = 2_000_000;
/// Up to which size every member list is checked after every input.
const SMALL: usize = 16;
/// How many nodes of a large cluster are checked: what is remembered of each grows with the cluster.
const WATCHED: usize = 256;
/// How many members they may remember together.
const WATCHED_MEMBERS: usize = 655_360;

/// Something that happens at a time.
pub(crate) enum Happening {
    /// The host starts.
    Start(HostId),
    /// A process that has joined nobody joins the first.
    FirstJoin(HostId),
    /// A node's deadline may have come.
    Wake(HostId),
    /// A datagram arrives.
    Packet { from: HostId, to: HostId, bytes: Box<[u8]> },
    /// The first segment of one way of a stream may arrive.
    Segment { number: u64, side: usize },
    /// Both ends of a stream hear that it is gone.
    Broken { number: u64, error: StreamError },
    /// Something comes from the host itself.
    Arrive { host: HostId, life: u32, waiting: Box<Waiting> },
    /// A name has been looked up.
    Look { host: HostId, life: u32, id: ResolveId, name: String, port: u16 },
    /// A record has reached the disk.
    Stored { host: HostId, life: u32, id: PersistId, record: Box<Persist> },
    /// A handler has its answer to a query.
    Answer { host: HostId, life: u32, answer: Box<Answered> },
    /// A node hears that an activity's gate is closed.
    Stalled { host: HostId, life: u32, activity: Activity },
    /// A process that catches up takes its next turn.
    Drain { host: HostId, life: u32 },
    /// A process ends on its own.
    Stop { host: HostId, life: u32 },
    /// A step of the scenario.
    Step(usize),
    /// An expectation's time has come: its window opens or it is judged.
    Judge { expect: usize, verdict: bool },
}

/// What a handler says to a query.
pub(crate) struct Answered {
    pub(crate) query: QueryKey,
    pub(crate) name: String,
    pub(crate) payload: Box<[u8]>,
}

const _: () = assert!(size_of::<Happening>() <= 48, "what happens travels through the queue and must stay small");

/// What a measurement counts.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// Member events: when, at whom, what, and about whom.
    pub(crate) events: Vec<(u64, HostId, MemberEventKind, Name)>,
    /// Probes that failed.
    pub(crate) suspicions: u64,
    /// User events: when, at whom, and their Lamport time.
    pub(crate) heard: Vec<(u64, HostId, LamportTime)>,
    /// Bytes of datagrams and streams.
    pub(crate) bytes: u64,
    /// Stream frames written.
    pub(crate) frames: u64,
    /// Bytes of gossip rounds.
    pub(crate) gossiped: u64,
    /// Text that is looked for in datagrams; empty: none.
    pub(crate) needle: &'static [u8],
    /// How often it was sent.
    pub(crate) copies: u64,
}

/// A run in progress.
pub(crate) struct World<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) seed: u64,
    /// True time, in nanoseconds since the world began.
    pub(crate) now: u64,
    /// True time at which the scenario's own time begins.
    pub(crate) zero: u64,
    pub(crate) queue: Queue<Happening>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) network: Network,
    pub(crate) streams: Streams,
    pub(crate) faults: Faults,
    pub(crate) dns: BTreeMap<String, Answer>,
    pub(crate) schedule: Draw,
    pub(crate) restores: Draw,
    outputs: Vec<Output>,
    pub(crate) trace: Trace,
    pub(crate) checkers: Checkers,
    pub(crate) judge: Judge,
    pub(crate) timeline: Timeline,
    /// Only where a report is wanted.
    pub(crate) history: Option<&'a mut History>,
    pub(crate) interner: Interner,
    check_every: u64,
    /// Which nodes are checked: one of so many.
    watch_every: usize,
    /// What a measurement is told; without one everything is checked and hashed, and nodes are restored.
    pub(crate) meter: Option<Meter>,
    pub(crate) broken: Option<(u64, Option<HostId>, Broken)>,
}

impl<'a> World<'a> {
    pub(crate) fn new(scenario: &'a Scenario, seed: u64, restores: Purpose, window: Option<(u64, u64)>) -> Self {
        let count = scenario.nodes.len();
        let mut clocks = Draw::new(seed, Purpose::Clock);
        let names: Vec<Name> = scenario.nodes.iter().map(|node| Name::from(node.name.as_str())).collect();
        let hosts = names.iter().zip(&scenario.nodes).map(|(name, node)| {
            // Any origin will do; an hour leaves room for a clock that runs slow.
            let origin = 3_600_000_000_000 + clocks.below(3_600_000_000_000);
            Host::new(name.clone(), node.wire, Clock { origin, drift_ppm: node.drift_ppm })
        });
        let mut key = Draw::new(seed, Purpose::Digest);
        Self {
            scenario,
            seed,
            now: 0,
            zero: 0,
            queue: Queue::default(),
            hosts: hosts.collect(),
            network: Network::new(seed, count, Link::PERFECT),
            streams: Streams::default(),
            faults: Faults::default(),
            dns: BTreeMap::new(),
            schedule: Draw::new(seed, Purpose::Schedule),
            restores: Draw::new(seed, restores),
            outputs: Vec::new(),
            trace: Trace::new((key.next(), key.next()), window),
            checkers: Checkers::new(&names),
            judge: Judge::new(scenario),
            timeline: Timeline::new(),
            history: None,
            interner: Interner::default(),
            meter: None,
            check_every: if count <= SMALL { 1 } else { count as u64 * 4 },
            watch_every: count.div_ceil(WATCHED).max(count * count / WATCHED_MEMBERS).max(1),
            broken: None,
        }
    }

    /// A world that is measured: nothing is checked, hashed or restored, which takes most of the time of a large cluster.
    pub(crate) fn measured(scenario: &'a Scenario, seed: u64) -> Self {
        Self { meter: Some(Meter::default()), ..Self::new(scenario, seed, Purpose::RestoreFirst, None) }
    }

    /// Plays the scenario; `tick` hears of each second.
    pub(crate) fn play(&mut self, tick: &dyn Fn(u64)) {
        if !self.bring_up() {
            return self.look_at_all();
        }
        for second in 1.. {
            let until = self.scenario.until.min(second * 1_000_000_000);
            self.run_until(self.zero + until);
            tick(until);
            if until == self.scenario.until || self.broken.is_some() {
                break;
            }
        }
        self.overdue();
        self.look_at_all();
    }

    /// The play is over: what is only needed to go on is dropped, so that two plays need the room of one.
    pub(crate) fn retire(&mut self) {
        for host in &mut self.hosts {
            host.stop(Down::Process);
        }
        self.queue = Queue::default();
        self.streams = Streams::default();
        self.checkers = Checkers::new(&[]);
    }

    pub(crate) fn run_until(&mut self, end: u64) {
        while self.broken.is_none() {
            let Some(next) = self.queue.pop_until(end) else { break };
            assert!(next.at >= self.now, "time never goes back");
            self.now = next.at;
            self.happen(next.what);
        }
        self.now = self.now.max(end);
    }

    /// Lets something happen after a while.
    pub(crate) fn push(&mut self, after: u64, what: Happening) {
        self.push_at(self.now.saturating_add(after), what);
    }

    /// Lets something happen at a true time.
    pub(crate) fn push_at(&mut self, at: u64, what: Happening) {
        self.queue.push(at, what);
    }

    /// Drops the packets in flight that a new cut stops.
    pub(crate) fn drop_cut(&mut self) {
        let (network, cut) = (&self.network, &mut self.faults.cut);
        self.queue.retain(|what| {
            let stopped = matches!(*what, Happening::Packet { from, to, .. } if network.is_cut(from, to));
            *cut += u64::from(stopped);
            !stopped
        });
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Start(host) => self.start_first(host),
            Happening::FirstJoin(host) => self.first_join(host),
            Happening::Wake(host) => self.wake(host),
            Happening::Packet { from, to, bytes } => self.packet(from, to, bytes),
            Happening::Segment { number, side } => self.segment(number, side),
            Happening::Broken { number, error } => self.broken(number, error),
            Happening::Arrive { host, life, waiting } => self.arrive(host, life, *waiting),
            Happening::Look { host, life, id, name, port } => {
                let result = self.look_up(&name, port);
                self.arrive(host, life, Waiting::Resolved { id, result });
            }
            Happening::Stored { host, life, id, record } => {
                let place = &mut self.hosts[host.index()];
                if place.life == life {
                    let result = if place.disk.fault == DiskFault::Full {
                        self.faults.unwritten += 1;
                        Err(PersistError("no space left on device".to_owned()))
                    } else {
                        place.disk.store(*record);
                        Ok(())
                    };
                    self.arrive(host, life, Waiting::Persisted { id, result });
                }
            }
            Happening::Stalled { host, life, activity } => {
                let place = &mut self.hosts[host.index()];
                let gate = &mut place.gates[activity.index()];
                if place.life == life && *gate == Gate::Closed {
                    *gate = Gate::Stalled;
                    self.input_now(host, Stimulus::Stalled { activity });
                }
            }
            Happening::Answer { host, life, answer } => {
                if self.hosts[host.index()].life == life {
                    self.answer(host, *answer);
                }
            }
            Happening::Drain { host, life } if self.hosts[host.index()].life == life => self.drain(host),
            Happening::Stop { host, life } if self.hosts[host.index()].life == life => self.stop(host, Down::Process),
            Happening::Drain { .. } | Happening::Stop { .. } => {}
            Happening::Step(place) => self.step(place),
            Happening::Judge { expect, verdict: false } => self.open_window(expect),
            Happening::Judge { expect, verdict: true } => {
                self.look_at_all();
                self.verdict(expect);
            }
        }
    }

    fn packet(&mut self, from: HostId, to: HostId, bytes: Box<[u8]>) {
        let life = self.hosts[to.index()].life;
        if self.hosts[to.index()].node.is_none() {
            self.faults.undeliverable += 1;
            return;
        }
        self.arrive(to, life, Waiting::Datagram { from: crate::network::addr(from), bytes });
    }

    /// Something reaches a host: its process reads it, or it waits.
    pub(crate) fn arrive(&mut self, host: HostId, life: u32, waiting: Waiting) {
        let place = &mut self.hosts[host.index()];
        if place.life != life || place.node.is_none() {
            return;
        }
        if place.holds(&waiting) {
            if !place.hold(waiting) {
                self.faults.overflowed += 1;
            }
            return;
        }
        let at = place.clock.local(self.now);
        self.read(host, at, waiting);
    }

    fn read(&mut self, host: HostId, at: Time, waiting: Waiting) {
        match waiting {
            Waiting::Datagram { from, bytes } => self.input(host, at, Stimulus::Datagram { from, bytes: &bytes }),
            Waiting::Stream { id, event } => {
                let event = match &event {
                    Heard::Accepted(from) => StreamEvent::Accepted { from: *from },
                    Heard::Connected => StreamEvent::Connected,
                    Heard::Bytes(bytes) => StreamEvent::Bytes(bytes),
                    Heard::Closed => StreamEvent::Closed,
                    Heard::Failed(error) => StreamEvent::Failed(*error),
                };
                self.input(host, at, Stimulus::Stream { id, event });
            }
            Waiting::SendFailed { to, activity } => self.input(host, at, Stimulus::SendFailed { to, activity }),
            Waiting::Resolved { id, result } => self.input(host, at, Stimulus::Resolved { id, result }),
            Waiting::Persisted { id, result } => self.input(host, at, Stimulus::Persisted { id, result }),
            Waiting::Command { id, command } => {
                self.checkers.command(host, id, matches!(command, Command::Query(_)));
                self.input(host, at, Stimulus::Command { id, command });
            }
        }
    }

    /// A process that was frozen reads what has waited before it lets time pass (ARCHITECTURE.md: the contract, 2).
    pub(crate) fn drain(&mut self, host: HostId) {
        let now = self.hosts[host.index()].clock.local(self.now);
        for _ in 0..TURN {
            let place = &mut self.hosts[host.index()];
            if place.paused || self.broken.is_some() {
                return;
            }
            let Some(waiting) = place.read() else { break };
            let Some(node) = &place.node else { return };
            let at = node.next_deadline().map_or(now, |Deadline { at, .. }| now.min(at.previous()));
            // With an open backlog a turn may follow the last one within a nanosecond of the deadline.
            let at = at.max(place.last_at);
            self.read(host, at, waiting);
        }
        let place = &mut self.hosts[host.index()];
        let life = place.life;
        place.draining = place.backlog.iter().any(|waiting| !place.is_gated(waiting));
        if place.draining {
            self.push(TURN_TIME, Happening::Drain { host, life });
        }
        self.input(host, now, Stimulus::Tick);
    }

    /// Hands a node an input at this moment.
    pub(crate) fn input_now(&mut self, host: HostId, stimulus: Stimulus<'_>) {
        let at = self.hosts[host.index()].clock.local(self.now);
        self.input(host, at, stimulus);
    }

    pub(crate) fn input(&mut self, host: HostId, at: Time, stimulus: Stimulus<'_>) {
        self.restore_if_due(host);
        let place = &mut self.hosts[host.index()];
        let Some(node) = &mut place.node else { return };
        let mut outputs = std::mem::take(&mut self.outputs);
        node.handle_into(Input { at, stimulus }, &mut outputs);
        let deadline = node.next_deadline().map(|deadline| deadline.at);
        place.last_at = at;
        place.inputs += 1;
        if self.meter.is_none() {
            if let Err(broken) = self.checkers.deadline(at, deadline) {
                self.fail(Some(host), broken);
            }
            self.trace.record(self.now, host, &outputs);
        }
        for output in outputs.drain(..) {
            self.perform(host, output);
        }
        self.outputs = outputs;
        if self.meter.is_none() && self.hosts[host.index()].inputs.is_multiple_of(self.check_every) {
            self.check(host);
        } else if self.history.as_ref().is_some_and(|history| history.is_due(self.now, host)) {
            self.look_at(host);
        }
        self.plan_wake(host);
    }

    /// Whether the rules for every process are checked at this one, too.
    pub(crate) const fn is_watched(&self, host: HostId) -> bool {
        host.index().is_multiple_of(self.watch_every)
    }

    /// The node's own invariants and what it lists.
    fn check(&mut self, host: HostId) {
        let watched = self.is_watched(host);
        if !watched && self.history.is_none() && !self.judge.wants_view(self.now.saturating_sub(self.zero), host) {
            return;
        }
        let Some(node) = &self.hosts[host.index()].node else { return };
        if let Err(violation) = node.check() {
            return self.fail(Some(host), Broken { rule: "the node's own invariants hold", seen: violation.0 });
        }
        let members = node.members();
        let stats = node.stats();
        let place = &self.hosts[host.index()];
        let own = members.iter().find(|member| member.info.name == place.name);
        let keys = self.scenario.encrypt.then(|| node.keys().len());
        let coordinate = node.coordinate(&place.name);
        if watched {
            let shown = self.checkers.view(host, place.last_at, &members, &stats);
            let shown = shown.and_then(|()| self.checkers.own(host, own, &stats, keys, coordinate.as_ref()));
            if let Err(broken) = shown {
                self.fail(Some(host), broken);
            }
        }
        self.judge.view(self.now - self.zero, host, &members);
        if let Some(history) = &mut self.history {
            history.view(self.now - self.zero, host, &members, stats.health_score);
        }
    }

    /// The first broken rule ends the run.
    pub(crate) fn fail(&mut self, host: Option<HostId>, broken: Broken) {
        if self.broken.is_none() {
            self.broken = Some((self.now.saturating_sub(self.zero), host, broken));
        }
    }
}
