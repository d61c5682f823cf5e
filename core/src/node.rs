//! The node: routes one input, owns everything, holds no rule.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::command::ExchangeError;
use crate::config::{Config, ConfigError, Wire};
use crate::coordinate::{Coordinate, Vivaldi};
use crate::ctx::{Ctx, To};
use crate::event::{MemberInfo, Status};
use crate::identity::{Identity, Interner};
use crate::io::{Deadline, Input, Output, Saved, Stimulus, StreamEvent, StreamId};
use crate::junk::Sources;
use crate::keyring::{Key, Keyring};
use crate::lamport::LamportTime;
use crate::limits;
use crate::log::Log;
use crate::map::HashKey;
use crate::queues::Queues;
use crate::rng::{Purpose, Rng, Seed};
use crate::serf::Serf;
use crate::snapshot::parse;
use crate::swim::member::{Bounds, Member, Table};
use crate::swim::push_pull::speaker;
use crate::swim::relay::is_for_us;
use crate::swim::rules::alive_of;
use crate::swim::{Exchange, ExchangeKind, StreamStep, Swim, phase};
use crate::time::Time;
use crate::timers::{TimerKind, Timers};
use crate::types::{GossipAddr, Incarnation, Name, Tags};
use crate::wire::{
    Alive, Budget, Encoding, Envelope, Incoming, Message, PushPull, StreamMessage, SwimState, WireError, memberlist,
};

/// A member of a cluster, as a pure function of its inputs.
///
/// The contract: one input, all outputs, a later deadline. `handle` first fires every timer that is due, in
/// (deadline, insertion) order, then applies the stimulus; on return [`Node::next_deadline`] is later than the input.
/// Bytes from outside never make it panic, allocate without a bound, or return an error.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Node {
    config: Config,
    table: Table,
    timers: Timers,
    rng: Rng,
    keyring: Keyring,
    coordinates: Vivaldi,
    queues: Queues,
    swim: Swim,
    serf: Serf,
    now: Time,
    started: bool,
    rejected: Rejected,
    sources: Sources,
    #[serde(skip)]
    scratch: Scratch,
}

/// Packets from outside that could not be used; at most one log line a second.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Rejected {
    total: u64,
    unlogged: u64,
    logged_at: Option<Time>,
}

/// Buffers that are reused from input to input.
#[derive(Clone, Debug, Default)]
struct Scratch {
    incoming: Incoming,
}

const REJECTED_LOG_INTERVAL: Duration = Duration::from_secs(1);

/// The format of a checkpoint; a checkpoint of another one is refused.
pub(crate) const CHECKPOINT_VERSION: u16 = 10;

/// A member as [`Node::members`] lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberView {
    /// What events show of it too.
    pub info: MemberInfo,
    /// Its last known incarnation.
    pub incarnation: Incarnation,
    /// What the failure detector believes of it; `None`: it has forgotten the member.
    pub state: Option<SwimState>,
    /// Lamport time of its last intent.
    pub status_ltime: LamportTime,
    /// Whether it shows that it understands the native encoding.
    pub native: bool,
}

/// Numbers about a node (rpc.md 6, stats).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// All members, failed and left ones too.
    pub members: usize,
    /// Members that failed.
    pub failed: usize,
    /// Members that left.
    pub left: usize,
    /// Local health: 0 is well.
    pub health_score: u8,
    /// The member clock.
    pub member_time: LamportTime,
    /// The event clock.
    pub event_time: LamportTime,
    /// The query clock.
    pub query_time: LamportTime,
    /// Intents that wait to be gossiped.
    pub intent_queue: usize,
    /// User events that wait to be gossiped.
    pub event_queue: usize,
    /// Queries that wait to be gossiped.
    pub query_queue: usize,
    /// Whether packets are encrypted.
    pub encrypted: bool,
    /// Messages that this node has sealed with its primary key since it started.
    pub sealed: u64,
    /// The same for all members, those that are forgotten left out, if each has sealed as many.
    pub sealed_by_all: u64,
    /// The encoding that is spoken.
    pub encoding: Encoding,
    /// Live members that do not show that they understand the native encoding.
    pub strangers: usize,
    /// How often the network coordinate had to start again; `None`: coordinates are off.
    pub coordinate_resets: Option<u64>,
    /// Packets from outside that could not be used.
    pub rejected: u64,
    /// What the bounds of [`crate::limits`] have cost: messages, streams, members.
    pub dropped: u64,
}

/// An invariant that does not hold (protocol.md 3.1): a defect of the core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(pub String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a checkpoint cannot be restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestoreError {
    /// The bytes are no checkpoint, or are cut short.
    Malformed,
    /// The checkpoint has another format.
    Version(u16),
    /// The changed configuration is refused.
    Config(ConfigError),
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("the bytes are no checkpoint"),
            Self::Version(version) => {
                write!(f, "the checkpoint has format {version}, this build reads {CHECKPOINT_VERSION}")
            }
            Self::Config(error) => error.fmt(f),
        }
    }
}

impl Node {
    /// Makes a node that starts at `at`. Its first outputs come from the first [`Node::handle`].
    ///
    /// # Errors
    /// A value of the configuration is out of its range, or a simulated seed stands together with keys.
    pub fn new(mut config: Config, seed: Seed, at: Time, saved: Saved) -> Result<Self, ConfigError> {
        config.validate()?;
        if seed.is_simulated() && !config.keys.is_empty() && !config.simulation {
            return Err(ConfigError::SimulatedSeedWithKeys);
        }
        let mut rng = Rng::new(seed);
        let hash_key = HashKey(rng.next_u64(Purpose::HashKey), rng.next_u64(Purpose::HashKey));
        config.interner.rekey(hash_key);
        let identity = config.interner.share(Identity {
            name: config.name.clone(),
            addr: config.advertise,
            meta: crate::serf::tags::encode_for(&config.tags, &config).map_err(ConfigError::Tags)?,
            versions: config.versions,
        });
        let mut table = Table::new(hash_key, identity, at, Bounds::default());
        let mut timers = Timers::default();
        let mut queues = Queues::new(phase(&mut rng, config.swim.gossip_interval, at));
        // The ring alone has them: what it gives up is nowhere else.
        let mut keyring = Keyring::new(core::mem::take(&mut config.keys));
        let mut coordinates = Vivaldi::default();
        let mut out = Vec::new();
        let mut ctx = Ctx {
            now: at,
            config: &config,
            table: &mut table,
            timers: &mut timers,
            rng: &mut rng,
            queues: &mut queues,
            keyring: &mut keyring,
            coordinates: &mut coordinates,
            out: &mut out,
        };
        let file = saved.snapshot.as_deref().unwrap_or_default();
        let snapshot = ctx.config.serf.snapshot.map(|snapshot| parse(file, snapshot.rejoin_after_leave));
        let recorded = snapshot.as_ref().map(|snapshot| snapshot.book.incarnation()).unwrap_or_default();
        let swim = Swim::new(&mut ctx, saved.incarnation.unwrap_or_default().max(recorded));
        let serf = Serf::new(&mut ctx, snapshot.as_ref(), file.len());
        Ok(Self {
            config,
            table,
            timers,
            rng,
            keyring,
            coordinates,
            queues,
            swim,
            serf,
            now: at,
            started: false,
            rejected: Rejected::default(),
            sources: Sources::new(hash_key),
            scratch: Scratch::default(),
        })
    }

    /// Handles one input and returns everything that follows from it.
    pub fn handle(&mut self, input: Input<'_>) -> Vec<Output> {
        let mut out = Vec::new();
        self.handle_into(input, &mut out);
        out
    }

    /// Same as [`Node::handle`], appending to the caller's `out`.
    pub fn handle_into(&mut self, input: Input<'_>, out: &mut Vec<Output>) {
        // A driver's clock that goes back must not take ours with it.
        self.now = self.now.max(input.at);
        if !self.started {
            self.started = true;
            self.with(out, |ctx, swim, serf| {
                serf.log_snapshot(ctx);
                swim.bootstrap(ctx);
            });
            self.settle(out);
            self.with(out, |ctx, swim, serf| serf.begin_rejoin(ctx, swim));
        }
        self.fire(out);
        self.apply(input.stimulus, out);
        self.settle(out);
        // A resumed activity has timers that have come due meanwhile.
        self.fire(out);
        self.with(out, |ctx, _, serf| serf.record(ctx));
    }

    fn fire(&mut self, out: &mut Vec<Output>) {
        while let Some(timer) = self.timers.pop_due(self.now) {
            self.with(out, |ctx, swim, serf| {
                swim.on_timer(ctx, timer);
                serf.on_timer(ctx, swim, timer);
            });
            self.settle(out);
        }
    }

    fn apply(&mut self, stimulus: Stimulus<'_>, out: &mut Vec<Output>) {
        match stimulus {
            Stimulus::Tick => (),
            Stimulus::Persisted { id, result } => {
                self.with(out, |ctx, swim, serf| serf.on_persisted(ctx, swim, id, result));
            }
            Stimulus::Datagram { from, bytes } => self.on_datagram(from, bytes, out),
            Stimulus::SendFailed { to, activity } => {
                self.with(out, |ctx, swim, _| swim.on_send_failed(ctx, to, activity));
            }
            Stimulus::Stream { id, event } => self.on_stream(id, event, out),
            Stimulus::Resolved { id, result } => {
                self.with(out, |ctx, swim, serf| serf.on_resolved(ctx, swim, id, result));
            }
            Stimulus::Stalled { activity } => self.timers.stall(activity),
            Stimulus::Resumed { activity } => self.timers.resume(activity),
            Stimulus::Entropy { bytes } => self.rng.mix_nonce(&bytes),
            Stimulus::Command { id, command } => {
                self.with(out, |ctx, swim, serf| serf.on_command(ctx, swim, id, command));
            }
        }
    }

    fn on_datagram(&mut self, from: SocketAddr, bytes: &[u8], out: &mut Vec<Output>) {
        if self.sources.is_blocked(self.now, from.ip()) {
            return self.reject(from, WireError::Flood, 1, out);
        }
        let mut incoming = core::mem::take(&mut self.scratch.incoming);
        let envelope = Envelope { keyring: &self.keyring, label: &self.config.label };
        let mut read = incoming.open(bytes, envelope, &mut Budget::datagram(bytes.len()));
        let encoding = incoming.encoding;
        let mut messages = core::mem::take(&mut incoming.messages);
        if read.is_ok() && encoding == Encoding::Native && self.config.wire == Wire::Memberlist {
            messages.clear();
            read = Err(WireError::NotSpoken(encoding));
        }
        match read {
            Ok(0) => (),
            Ok(bad) => self.reject(from, WireError::Malformed, u64::from(bad), out),
            Err(error) => {
                let table = &self.table;
                self.sources.note(self.now, from.ip(), |network| table.has_live_in(network));
                self.reject(from, error, 1, out);
            }
        }
        let from = To::answer(from, encoding);
        for received in messages.drain(..) {
            let original = incoming.original(&received);
            let message = received.message;
            self.with(out, |ctx, swim, serf| match message {
                Message::Serf(message) => serf.on_message(ctx, swim, message, original),
                Message::Ping(_)
                | Message::IndirectPing(_)
                | Message::Ack(_)
                | Message::Nack(_)
                | Message::Suspect(_)
                | Message::Alive(_)
                | Message::Dead(_) => swim.on_message(ctx, from, message),
            });
            self.settle(out);
        }
        incoming.messages = messages;
        incoming.clear();
        self.scratch.incoming = incoming;
    }

    /// Counts what could not be used and says so, at most once a second.
    fn reject(&mut self, from: SocketAddr, error: WireError, count: u64, out: &mut Vec<Output>) {
        let now = self.now;
        let rejected = &mut self.rejected;
        rejected.total = rejected.total.saturating_add(count);
        if rejected.logged_at.is_some_and(|last| now.since(last) < REJECTED_LOG_INTERVAL) {
            rejected.unlogged = rejected.unlogged.saturating_add(count);
            return;
        }
        rejected.logged_at = Some(now);
        if rejected.unlogged > 0 {
            out.push(Output::Log(Box::new(Log::RejectedMore(core::mem::take(&mut rejected.unlogged)))));
        }
        out.push(Output::Log(Box::new(Log::Rejected(from, error))));
    }

    fn on_stream(&mut self, id: StreamId, event: StreamEvent<'_>, out: &mut Vec<Output>) {
        self.with(out, |ctx, swim, serf| match swim.streams().on_event(ctx, id, event) {
            StreamStep::Done => (),
            StreamStep::Ping(id, ping) => {
                if is_for_us(ctx, &ping) {
                    swim.streams().answer(ctx, id, &StreamMessage::Ack(ping.seq));
                } else {
                    swim.streams().abort(ctx, id);
                }
            }
            StreamStep::Ack(seq) => swim.on_stream_ack(seq),
            StreamStep::Begin(id, exchange) if exchange.compares() => {
                let digest = serf.digest(ctx, LamportTime::default());
                swim.streams().send(ctx, id, &StreamMessage::Digest(digest));
            }
            StreamStep::Begin(id, exchange) => send_state(ctx, swim, serf, id, exchange),
            StreamStep::AnswerDigest(id, theirs) => {
                serf.hear_clocks(theirs.clocks);
                let digest = serf.digest(ctx, theirs.events_since);
                swim.streams().send(ctx, id, &StreamMessage::Digest(digest));
            }
            StreamStep::Compare(id, exchange, theirs) => {
                serf.hear_clocks(theirs.clocks);
                let ours = serf.digest(ctx, theirs.events_since);
                if (ours.members, ours.events) == (theirs.members, theirs.events) {
                    swim.streams().finish(ctx, id, exchange);
                } else {
                    send_state(ctx, swim, serf, id, exchange);
                }
            }
            StreamStep::AnswerState(id, from, encoding, state) => {
                let speaker = speaker(&state, encoding, from, false);
                answer_state(ctx, swim, serf, (id, from), speaker.as_ref(), state);
            }
            StreamStep::State(exchange, state) => {
                let ignore_old = exchange.kind == ExchangeKind::Join && serf.joins_without_replay();
                let speaker = speaker(&state, exchange.encoding, exchange.to, true);
                let result = merge(ctx, swim, serf, speaker.as_ref(), state, ignore_old);
                swim.streams().note(exchange, result);
            }
            StreamStep::User(from, bytes) => match memberlist::decode_serf(&bytes) {
                Ok(message) => serf.on_message(ctx, swim, message, &[]),
                Err(error) => ctx.log(Log::StreamRejected(from, error)),
            },
        });
    }

    /// Carries events between the layers until there are none: after most inputs there never were any.
    fn settle(&mut self, out: &mut Vec<Output>) {
        if self.swim.is_settled() && self.queues.is_settled() && self.table.is_settled() {
            return;
        }
        self.with(out, |ctx, swim, serf| {
            loop {
                let events = swim.take_events();
                let finished = ctx.queues.take_finished();
                let outcomes = swim.streams().take_outcomes();
                if events.is_empty() && finished.is_empty() && outcomes.is_empty() {
                    let evicted = ctx.table.take_evicted();
                    if evicted > 0 {
                        ctx.dropped("forgotten members", limits::TOMBSTONES_MAX, evicted);
                    }
                    return;
                }
                for event in events {
                    serf.on_swim_event(ctx, swim, event);
                }
                for waiter in finished {
                    serf.on_broadcast_end(ctx, swim, waiter);
                }
                for outcome in outcomes {
                    let to = outcome.exchange.to;
                    match outcome.exchange.kind {
                        ExchangeKind::Periodic => swim.on_periodic_end(ctx, outcome.exchange, &outcome.result),
                        ExchangeKind::Join => serf.on_join_exchange(ctx, swim, to, outcome.result),
                        ExchangeKind::Reconnect => serf.on_reconnect_end(ctx, to, &outcome.result),
                        ExchangeKind::Snapshot => serf.on_snapshot_exchange(ctx, swim, to, &outcome.result),
                    }
                }
            }
        });
    }

    /// Lends the node's values to both layers.
    fn with(&mut self, out: &mut Vec<Output>, act: impl FnOnce(&mut Ctx<'_>, &mut Swim, &mut Serf)) {
        let mut ctx = Ctx {
            now: self.now,
            config: &self.config,
            table: &mut self.table,
            timers: &mut self.timers,
            rng: &mut self.rng,
            queues: &mut self.queues,
            keyring: &mut self.keyring,
            coordinates: &mut self.coordinates,
            out,
        };
        act(&mut ctx, &mut self.swim, &mut self.serf);
    }

    /// When the node next wants to be woken; `None`: only by something from outside.
    pub fn next_deadline(&self) -> Option<Deadline> {
        self.timers.next()
    }

    /// The whole state, random streams and keys included: a secret.
    #[expect(clippy::expect_used, reason = "postcard fails only where a length is not known beforehand; all are")]
    pub fn checkpoint(&self) -> Vec<u8> {
        postcard::to_allocvec(&(CHECKPOINT_VERSION, self)).expect("every length is known")
    }

    /// Makes a node that goes on exactly as the one that made the checkpoint would.
    ///
    /// # Errors
    /// The bytes are no checkpoint of this format.
    pub fn restore(bytes: &[u8]) -> Result<Self, RestoreError> {
        let mut node = Self::decode(bytes)?;
        node.adopt(Interner::new(node.table.hash_key()));
        Ok(node)
    }

    /// Same as [`Node::restore`], sharing member identities with other nodes of the process.
    ///
    /// # Errors
    /// The bytes are no checkpoint of this format.
    pub fn restore_in(bytes: &[u8], interner: Interner) -> Result<Self, RestoreError> {
        let mut node = Self::decode(bytes)?;
        node.adopt(interner);
        Ok(node)
    }

    /// Same as [`Node::restore`], under a configuration that `change` has changed: what would have been?
    ///
    /// # Errors
    /// The bytes are no checkpoint of this format, or the configuration is refused.
    pub fn restore_with(bytes: &[u8], change: impl FnOnce(&mut Config)) -> Result<Self, RestoreError> {
        let mut node = Self::restore(bytes)?;
        change(&mut node.config);
        node.config.validate().map_err(RestoreError::Config)?;
        Ok(node)
    }

    fn decode(bytes: &[u8]) -> Result<Self, RestoreError> {
        let (version, rest) = postcard::take_from_bytes::<u16>(bytes).map_err(|_| RestoreError::Malformed)?;
        if version != CHECKPOINT_VERSION {
            return Err(RestoreError::Version(version));
        }
        postcard::from_bytes(rest).map_err(|_| RestoreError::Malformed)
    }

    fn adopt(&mut self, interner: Interner) {
        self.table.rebuild(&interner);
        self.config.interner = interner;
    }

    /// Every member that Serf shows, sorted by name.
    pub fn members(&self) -> Vec<MemberView> {
        self.table.by_name().into_iter().map(view).collect()
    }

    /// The member of that name.
    pub fn member(&self, name: &Name) -> Option<MemberView> {
        let member = self.table.find(self.table.slot(name)?)?;
        (member.status != Status::None).then(|| view(member))
    }

    /// What Serf shows of the member of that name; [`Status::None`]: nothing.
    pub fn status(&self, name: &Name) -> Status {
        self.table.slot(name).and_then(|slot| self.table.find(slot)).map_or(Status::None, |member| member.status)
    }

    /// The network coordinate of the member of that name; `None`: nothing is known of it, or coordinates are off.
    pub fn coordinate(&self, name: &Name) -> Option<Coordinate> {
        let slot = self.table.slot(name).filter(|_| self.config.serf.coordinates)?;
        if slot == self.table.me() { Some(*self.coordinates.own()) } else { self.coordinates.peer(slot) }
    }

    /// Live members that do not show that they understand the native encoding, sorted.
    pub fn strangers(&self) -> Vec<Name> {
        let mut names: Vec<Name> = self.table.live_strangers().map(|member| member.name().clone()).collect();
        names.sort_unstable();
        names
    }

    /// What the node says of itself to whom it meets.
    pub fn alive(&self) -> Alive {
        alive_of(self.table.own())
    }

    /// The node's own tags.
    pub fn tags(&self) -> Tags {
        self.table.own().info().tags()
    }

    /// The keys of the ring, primary first.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &Key> {
        self.keyring.keys()
    }

    /// Numbers about the node.
    pub fn stats(&self) -> Stats {
        let (failed, left) = self.serf.gone();
        Stats {
            members: self.table.entries().filter(|(_, member)| member.status != Status::None).count(),
            failed,
            left,
            health_score: self.swim.health(),
            member_time: self.serf.clock.time(),
            event_time: self.serf.event_clock.time(),
            query_time: self.serf.query_clock.time(),
            intent_queue: self.queues.intents.len(),
            event_queue: self.queues.events.len(),
            query_queue: self.queues.queries.len(),
            encrypted: !self.keyring.is_empty(),
            sealed: self.keyring.sealed(),
            sealed_by_all: self.keyring.sealed_by(self.table.known() as u64),
            encoding: self.queues.spoken(self.config.spoken(&self.table), self.now),
            strangers: self.table.strangers(),
            coordinate_resets: self.config.serf.coordinates.then(|| self.coordinates.resets()),
            rejected: self.rejected.total,
            dropped: self.queues.drops.total(),
        }
    }

    /// When that timer is due, if it is armed.
    pub fn timer(&self, kind: TimerKind) -> Option<Time> {
        self.timers.deadline(kind)
    }

    /// How many names are held in memory, forgotten members included.
    pub fn entries(&self) -> usize {
        self.table.entries().count()
    }

    /// The configuration.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Checks the invariants of protocol.md 3.1.
    ///
    /// # Errors
    /// The first one that does not hold.
    pub fn check(&self) -> Result<(), Violation> {
        self.table.check().map_err(Violation)?;
        self.timers.check().map_err(Violation)?;
        self.swim.check(&self.table, &self.timers).map_err(Violation)?;
        self.serf.check(&self.table, &self.timers).map_err(Violation)?;
        if self.swim.health() >= self.config.swim.lifeguard.awareness_max {
            return Err(Violation(alloc::format!("health score {} is out of range", self.swim.health())));
        }
        match self.timers.next() {
            Some(deadline) if deadline.at <= self.now => Err(Violation(alloc::format!(
                "{:?} is due at {} and not fired at {}",
                deadline.why,
                deadline.at,
                self.now
            ))),
            Some(_) | None => Ok(()),
        }
    }
}

fn view(member: &Member) -> MemberView {
    MemberView {
        info: member.info(),
        incarnation: member.incarnation,
        state: member.state(),
        status_ltime: member.status_ltime,
        native: member.understands_native(),
    }
}

/// Tells the peer of an exchange of ours all that we know.
fn send_state(ctx: &mut Ctx<'_>, swim: &mut Swim, serf: &Serf, id: StreamId, exchange: Exchange) {
    let addr = GossipAddr::from(exchange.to);
    let nodes = swim.local_nodes(ctx, |member| member.identity.addr == addr);
    let join = exchange.kind != ExchangeKind::Periodic;
    let state = PushPull { join, nodes, serf: serf.local_state(ctx), unreadable: 0 };
    swim.streams().send(ctx, id, &StreamMessage::PushPull(state));
}

/// Takes a peer's state in, then answers with ours. Merging first lets the answer carry a refutation that the peer's
/// view has called for, so that two members that have forgotten each other find back in one exchange (U-05).
fn answer_state(
    ctx: &mut Ctx<'_>,
    swim: &mut Swim,
    serf: &mut Serf,
    (id, from): (StreamId, SocketAddr),
    speaker: Option<&Alive>,
    state: PushPull,
) {
    let mut stale: BTreeSet<Name> = BTreeSet::new();
    if ctx.table.has_forgotten() {
        let alive = state.nodes.iter().filter(|node| node.state == SwimState::Alive);
        stale.extend(alive.map(|node| node.alive.node.clone()));
    }
    let join = state.join;
    if let Err(error) = merge(ctx, swim, serf, speaker, state, false) {
        ctx.log(Log::PushPullFailed(from, alloc::format!("{error}")));
        let text = alloc::format!("{error}");
        return swim.streams().answer(ctx, id, &StreamMessage::Error(text));
    }
    let nodes = swim.local_nodes(ctx, |member| stale.contains(member.name()));
    let answer = PushPull { join, nodes, serf: serf.local_state(ctx), unreadable: 0 };
    swim.streams().answer(ctx, id, &StreamMessage::PushPull(answer));
}

/// Both layers take a peer's state in; the upper one hears first what the lower one has found.
fn merge(
    ctx: &mut Ctx<'_>,
    swim: &mut Swim,
    serf: &mut Serf,
    speaker: Option<&Alive>,
    state: PushPull,
    ignore_old: bool,
) -> Result<(), ExchangeError> {
    if state.unreadable > 0 {
        ctx.dropped("members of a push/pull beyond a bound", limits::NAME_BYTES_MAX, u64::from(state.unreadable));
    }
    swim.merge(ctx, speaker, state.nodes)?;
    for event in swim.take_events() {
        serf.on_swim_event(ctx, swim, event);
    }
    serf.merge(ctx, state.serf, ignore_old);
    Ok(())
}
