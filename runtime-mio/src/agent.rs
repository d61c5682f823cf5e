//! The agent: one poll loop around one node.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use mio::event::Event as Readiness;
use mio::{Events, Poll, Waker};
use villein_core::command::Command;
use villein_core::io::RequestId;
use villein_core::keyring::{self, Key};
use villein_core::limits;
use villein_core::log::Level;
use villein_core::types::{GossipAddr, JoinTarget};
use villein_core::{Input, Node, Output, Saved, Seed, Stimulus, Time};

use crate::address::{self, errno_text};
use crate::clock::Clock;
use crate::files::Files;
use crate::handlers::Handlers;
use crate::limits::{CONTROLS_MAX, EVENTS_PER_TURN, INPUTS_PER_TURN, LOG_WAIT_MAX, STREAM_BYTES_PER_TURN};
use crate::local_time::Zone;
use crate::log_ring::Journal;
use crate::mdns::Discovery;
use crate::network::Network;
use crate::options::{AgentOptions, Control, Controls, Exit, LiveOptions, Reloader, StartError};
use crate::outlet::Outlet;
use crate::perform::Answer;
use crate::recorder::{Recorded, Recorder};
use crate::requests::Asker;
use crate::resolver::Resolver;
use crate::rpc_server::RpcServer;
use crate::rpc_socket::RpcListener;
use crate::signals::{Signal, Signals};
use crate::sockets::Gossip;
use crate::telemetry::Telemetry;
use crate::tokens::Source;

/// How often fresh entropy is mixed into the nonces.
const ENTROPY_INTERVAL: Duration = Duration::from_secs(3_600);
/// How often the stack is wiped while there are keys.
const STACK_WIPED_EVERY: Duration = Duration::from_secs(1);
/// A jump of the suspended time that counts as a suspend.
const SUSPENDED_MIN: Duration = Duration::from_secs(1);
/// Bytes of the read buffer. A datagram needs a third of it; but a block of this size comes from the system as pages
/// that cost nothing until they are touched, and an ordinary packet touches one.
const BUFFER_BYTES: usize = 3 * limits::DATAGRAM_BYTES_MAX;

/// A member of a cluster on this host, with its RPC server. Made by [`Agent::start`], driven by [`Agent::run`].
pub struct Agent {
    pub(crate) node: Node,
    recorder: Option<Recorder>,
    pub(crate) clock: Clock,
    /// Time of the last input.
    pub(crate) last: Time,
    pub(crate) poll: Poll,
    pub(crate) network: Network,
    pub(crate) resolver: Resolver,
    pub(crate) discovery: Option<Discovery>,
    pub(crate) telemetry: Telemetry,
    pub(crate) dump: Outlet,
    pub(crate) rpc: RpcServer,
    pub(crate) files: Files,
    pub(crate) handlers: Handlers,
    pub(crate) journal: Journal,
    pub(crate) requests: BTreeMap<RequestId, Asker>,
    next_request: u64,
    /// What could not be done and must be told to the core.
    pub(crate) answers: VecDeque<Answer>,
    outputs: Vec<Output>,
    pub(crate) buffer: Box<[u8]>,
    entropy_at: Time,
    suspended: Duration,
    pub(crate) live: LiveOptions,
    /// What was said last of tags that handlers cannot tell apart.
    pub(crate) shared_variables: Vec<String>,
    pub(crate) reload: Option<Reloader>,
    handles_signals: bool,
    signals: Option<Signals>,
    controls: Controls,
    control: Receiver<Control>,
    banner: String,
    start_join: Vec<JoinTarget>,
    pub(crate) replay: bool,
    pub(crate) stage: Stage,
    /// When to wipe what keys have left on the stack.
    wipe_at: Time,
    /// Whether anything has happened since the last look around but datagrams that came and went.
    pub(crate) stirred: bool,
    /// When to look around although nothing has happened.
    look_at: Time,
    /// Whether a leave is under way or done.
    pub(crate) leave_asked: bool,
}

/// Where an agent is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It joins, and its log is held back.
    Starting,
    /// It runs.
    Running,
    /// It was told by a signal to leave, and gives up at this time.
    Leaving(Time),
    /// It stops; whether it has left or the log says already that it has not; how.
    Stopping { warned: bool, exit: Exit },
}

impl Agent {
    /// Opens the sockets and makes the node. Prints the first two start-up lines.
    ///
    /// # Errors
    /// An address is in use or not ours, the configuration is refused, or the system has no entropy.
    pub fn start(options: AgentOptions) -> Result<Self, StartError> {
        let AgentOptions { mut config, bind, live, sink, .. } = options;
        let mut journal = Journal::new(sink, Zone::load(options.time_zone.as_deref()), options.log_level);
        journal.set_syslog(options.syslog);
        journal.say(format_args!("==> Starting Serf agent..."));
        if let Some(key) = options.encrypt_key {
            let key = Key::new(&key).map_err(|error| memberlist_error(&error.to_string()))?;
            config.keys.insert(0, key);
        }
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), Source::Waker.token())?);
        journal.set_waker(Arc::clone(&waker));
        let mut dump = Outlet::new(options.dump);
        dump.set_waker(Arc::clone(&waker));
        config.serf.keyring_file = options.files.keyring.is_some();
        config.serf.tags_file = options.files.tags.is_some();
        if options.files.snapshot.is_none() {
            config.serf.snapshot = None;
        }
        let (files, snapshot) = Files::open(options.files, Arc::clone(&waker)).map_err(StartError::Serf)?;
        let gossip = Gossip::open(bind).map_err(|error| {
            memberlist_error(&format!("Could not set up network transport: failed to obtain an address: {error}"))
        })?;
        config.advertise = advertised(bind, options.advertise, gossip.port)?;
        config.sends_from_advertise = bind.ip() == config.advertise.ip() && gossip.port == config.advertise.port();
        let in_the_clear = config.keys.is_empty();
        let advertise = config.advertise;
        let clock = Clock::start();
        let now = clock.now();
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(io::Error::other)?;
        config.trace = options.log_level == Level::Trace;
        let saved = Saved { snapshot, ..Saved::default() };
        let node = Node::new(config, Seed::from_entropy(seed), now, saved)
            .map_err(|error| StartError::Serf(error.to_string()))?;
        let recorder = match options.record {
            Some(record) => {
                let (directory, run) =
                    (record.directory.display().to_string(), u64::try_from(Clock::wall_nanos()).unwrap_or_default());
                let recorder = Recorder::begin(record, run, &node);
                let recorder = recorder.map_err(|error| StartError::Record(format!("{directory}: {error}")))?;
                journal.log(
                    Level::Warn,
                    format_args!(
                        "agent: Recording to {directory}: the files hold the gossip keys, the seed and everything that is said"
                    ),
                );
                Some(recorder)
            }
            None => None,
        };
        for line in options.restored {
            journal.log(Level::Info, format_args!("agent: {line}"));
        }
        journal.log(Level::Info, format_args!("agent: Serf agent starting"));
        if in_the_clear && address::is_public(advertise.ip()) {
            journal.log(Level::Warn, format_args!("memberlist: Binding to public address without encryption!"));
        }
        let discovery = match options.mdns {
            Some(mdns) => {
                if let Some(interface) = &mdns.interface {
                    journal.log(Level::Info, format_args!("agent: Starting mDNS listener on interface {interface}"));
                }
                let started = Discovery::start(mdns, &node.config().name, advertise.socket_addr(), &waker);
                Some(started.map_err(|error| StartError::Mdns(error.to_string()))?)
            }
            None => None,
        };
        let rpc = RpcListener::open(&options.rpc_addr, poll.registry()).map_err(StartError::Rpc)?;
        let rpc = RpcServer::new(rpc, options.rpc_auth);
        journal.say(format_args!("==> Starting Serf agent RPC..."));
        let (sender, control) = sync_channel(CONTROLS_MAX);
        let mut agent = Self {
            node,
            recorder,
            last: now,
            network: Network::new(gossip, poll.registry())?,
            resolver: Resolver::new(Arc::clone(&waker)),
            discovery,
            telemetry: Telemetry::new(&options.telemetry, now),
            dump,
            rpc,
            files,
            handlers: Handlers::new(Arc::clone(&waker)),
            journal,
            requests: BTreeMap::new(),
            next_request: 0,
            answers: VecDeque::new(),
            outputs: Vec::new(),
            buffer: vec![0; BUFFER_BYTES].into(),
            entropy_at: now,
            suspended: clock.suspended(now),
            live,
            shared_variables: Vec::new(),
            reload: options.reload,
            handles_signals: options.signals,
            signals: None,
            controls: Controls { sender, waker },
            control,
            banner: options.banner,
            start_join: options.start_join,
            replay: options.replay,
            stage: Stage::Starting,
            wipe_at: Time::ZERO,
            stirred: true,
            look_at: now,
            leave_asked: false,
            clock,
            poll,
        };
        agent.warn_of_shells(&[]);
        agent.warn_of_tags();
        Ok(agent)
    }

    /// The address that peers are told; its port is known even where the system chose it.
    pub fn gossip_addr(&self) -> SocketAddr {
        self.node.config().advertise.socket_addr()
    }

    /// The port at which RPC clients are served; `None`: they are not, or at a socket file.
    pub fn rpc_addr(&self) -> Option<SocketAddr> {
        self.rpc.local_addr()
    }

    /// Controls the agent from another thread.
    pub fn controls(&self) -> Controls {
        self.controls.clone()
    }

    /// Joins, serves and gossips until it is told to stop, or must.
    pub fn run(mut self) -> Exit {
        self.journal.say(format_args!("==> Serf agent running!\n{}", self.banner));
        self.mix_entropy(self.clock.now());
        self.listen_for_signals();
        let targets = mem::take(&mut self.start_join);
        if targets.is_empty() {
            self.open_gate();
        } else {
            self.journal.say(format_args!("==> Joining cluster...(replay: {})", self.replay));
            self.command(Asker::Start, Command::Join { targets, replay: self.replay });
        }
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        loop {
            if self.journal.is_broken() {
                return Exit::BrokenPipe;
            }
            if let Stage::Stopping { warned, exit } = self.stage {
                return self.shut_down(warned, exit);
            }
            if let Err(exit) = self.turn(&mut events) {
                return exit;
            }
        }
    }

    /// The start-up is over: log lines go out and signals no longer end the process.
    pub(crate) fn open_gate(&mut self) {
        self.stage = Stage::Running;
        if let Some(Err(error)) = self.signals.as_ref().map(Signals::listen_to_all) {
            self.journal.log(Level::Err, format_args!("agent: signals are not handled: {error}"));
        }
        self.journal.say(format_args!("\n==> Log data will now stream in as it occurs:\n"));
        self.journal.open_gate();
    }

    /// SIGUSR1 and SIGUSR2 never end the process.
    fn listen_for_signals(&mut self) {
        if self.handles_signals {
            match Signals::listen(self.poll.registry(), Source::Signals.token()) {
                Ok(signals) => self.signals = Some(signals),
                Err(error) => self.journal.log(Level::Err, format_args!("agent: signals are not handled: {error}")),
            }
        }
    }

    /// Sleeps until something happens, then handles it. `Err`: the agent must be dropped as it is.
    fn turn(&mut self, events: &mut Events) -> Result<(), Exit> {
        let timeout = self.timeout();
        if let Err(error) = self.poll.poll(events, timeout)
            && error.kind() != ErrorKind::Interrupted
        {
            self.journal.log(Level::Err, format_args!("agent: the poll loop cannot go on: {error}"));
            self.stage = Stage::Stopping { warned: false, exit: Exit::Abrupt };
            return Ok(());
        }
        let now = self.clock.now();
        for readiness in events.iter() {
            self.note(readiness);
        }
        // What was already there when we woke belongs before the deadline that has passed meanwhile: a stall of
        // our own process must not look like a peer's silence (ARCHITECTURE.md: the contract, 2).
        self.take_network(now);
        if self.node.next_deadline().is_some_and(|deadline| deadline.at <= now) {
            self.feed(now, Stimulus::Tick);
        }
        for answer in self.network.flush(self.poll.registry(), &mut self.journal) {
            self.feed(now, answer.into_stimulus());
        }
        self.mind_entropy(now);
        // Most turns of an idle agent are one packet, and what they do not touch need not come into the processor's caches.
        if self.stirred || self.look_at <= now || self.telemetry.is_due(now) {
            self.stirred = false;
            self.look_around(now)?;
            self.look_at = self.next_look(now);
        }
        if self.wipe_at <= now && self.node.keys().len() > 0 {
            keyring::wipe_stack();
            self.wipe_at = now + STACK_WIPED_EVERY;
        }
        Ok(())
    }

    /// Everything that a datagram has nothing to do with.
    fn look_around(&mut self, now: Time) -> Result<(), Exit> {
        self.network.log_problems(&mut self.journal);
        while let Some((id, result)) = self.resolver.take() {
            self.feed(now, Stimulus::Resolved { id, result });
        }
        while let Some((id, result)) = self.files.take() {
            self.feed(now, Stimulus::Persisted { id, result });
        }
        self.take_discovered();
        self.network.expire(now);
        self.take_signals(now);
        while let Ok(control) = self.control.try_recv() {
            match control {
                Control::Signal(Signal::Measurements) => self.signalled(Signal::Measurements, now),
                Control::Signal(signal) if self.stage != Stage::Starting => self.signalled(signal, now),
                Control::Signal(Signal::Hangup | Signal::Interrupt | Signal::Terminate) | Control::Kill => {
                    return Err(Exit::Abrupt);
                }
            }
        }
        self.mind_handlers(now);
        self.mind_leave(now);
        self.mind_dump();
        self.serve_clients(now);
        self.telemetry.mind(now, &self.node);
        self.journal.release(false);
        Ok(())
    }

    /// How long the loop may sleep; `None`: until something happens.
    fn timeout(&self) -> Option<Duration> {
        let now = self.clock.now();
        if self.network.is_ready() {
            return Some(Duration::ZERO);
        }
        let core = self.node.next_deadline().map(|deadline| deadline.at);
        core.into_iter().chain([self.look_at, self.entropy_at]).min().map(|at| at.since(now))
    }

    /// When to look around next if nothing happens.
    fn next_look(&self, now: Time) -> Time {
        let leave = match self.stage {
            Stage::Leaving(until) => Some(until),
            Stage::Starting | Stage::Running | Stage::Stopping { .. } => None,
        };
        let deadlines = [
            leave,
            self.network.deadline(now),
            self.rpc.deadline(now),
            self.handlers.deadline(now),
            self.telemetry.deadline(),
            self.joins_discovered().then_some(now),
            self.journal.is_holding().then(|| now + LOG_WAIT_MAX),
        ];
        deadlines.into_iter().flatten().min().unwrap_or(self.entropy_at)
    }

    /// Remembers what the system says is ready.
    pub(crate) fn note(&mut self, readiness: &Readiness) {
        let readable = readiness.is_readable() || readiness.is_read_closed() || readiness.is_error();
        let writable = readiness.is_writable() || readiness.is_write_closed() || readiness.is_error();
        let source = Source::of(readiness.token());
        self.stirred |= !matches!(source, Some(Source::Udp));
        match source {
            Some(Source::Udp | Source::Listener | Source::Stream(_)) => {
                self.network.note(readiness.token(), readable, writable);
            }
            Some(Source::RpcListener) => self.rpc.listener_ready(),
            Some(Source::Client(client)) => self.rpc.client_ready(client, readable, writable),
            Some(Source::Script(pipe)) => self.handlers.ready(pipe),
            Some(Source::Waker | Source::Signals) | None => {}
        }
    }

    /// Hands the core what has come from the network, up to a bound.
    fn take_network(&mut self, now: Time) {
        let mut buffer = mem::take(&mut self.buffer);
        let mut bytes = 0;
        for _ in 0..INPUTS_PER_TURN {
            let streams = bytes < STREAM_BYTES_PER_TURN;
            let arrival = self.network.next_arrival(now, self.poll.registry(), &mut buffer, streams);
            let Some(arrival) = arrival else { break };
            bytes += arrival.stream_bytes();
            let at = self.node.next_deadline().map_or(now, |deadline| now.min(deadline.at.previous()));
            self.measure_arrival(now, &arrival);
            self.feed(at, arrival.stimulus(&buffer));
        }
        self.buffer = buffer;
    }

    /// Gives the core one input and does all that follows from it.
    pub(crate) fn feed(&mut self, at: Time, stimulus: Stimulus<'_>) {
        self.last = self.last.max(at);
        let mut outputs = mem::take(&mut self.outputs);
        self.handle(stimulus, &mut outputs);
        loop {
            for output in outputs.drain(..) {
                self.perform(output);
            }
            let Some(answer) = self.answers.pop_front() else { break };
            self.handle(answer.into_stimulus(), &mut outputs);
        }
        self.outputs = outputs;
    }

    /// The one place where the core is handed an input. What is recorded is written first, so that an input that panics is
    /// in the file; a recording that cannot be written pauses, and the agent goes on.
    fn handle(&mut self, stimulus: Stimulus<'_>, outputs: &mut Vec<Output>) {
        let input = Input { at: self.last, stimulus };
        if let Some(recorder) = &mut self.recorder {
            match recorder.input(&self.node, &input) {
                Recorded::Still => {}
                Recorded::Interrupted(error) => self.journal.log(
                    Level::Err,
                    format_args!("agent: The recording is interrupted, it cannot be written: {}", errno_text(&error)),
                ),
                Recorded::Again => self.journal.log(Level::Info, format_args!("agent: Recording again")),
            }
        }
        self.node.handle_into(input, outputs);
        if let Some(recorder) = &mut self.recorder {
            recorder.outputs(outputs);
        }
    }

    /// Gives the core a command whose reply goes to `asker`.
    pub(crate) fn command(&mut self, asker: Asker, command: Command) {
        let id = RequestId(self.next_request);
        self.next_request += 1;
        self.requests.insert(id, asker);
        self.feed(self.clock.now(), Stimulus::Command { id, command });
    }

    /// Gives the core a command whose reply nobody waits for.
    pub(crate) fn order(&mut self, command: Command) {
        let id = RequestId(self.next_request);
        self.next_request += 1;
        self.feed(self.clock.now(), Stimulus::Command { id, command });
    }

    pub(crate) fn now(&self) -> Time {
        self.clock.now()
    }

    fn mind_entropy(&mut self, now: Time) {
        let suspended = self.clock.suspended(now);
        if now >= self.entropy_at || suspended.abs_diff(self.suspended) > SUSPENDED_MIN {
            self.suspended = suspended;
            self.mix_entropy(now);
        }
    }

    fn mix_entropy(&mut self, now: Time) {
        self.entropy_at = now + ENTROPY_INTERVAL;
        let mut bytes = [0; 32];
        match getrandom::fill(&mut bytes) {
            Ok(()) => self.feed(now, Stimulus::Entropy { bytes }),
            Err(error) => self.journal.log(Level::Warn, format_args!("agent: no fresh entropy: {error}")),
        }
    }

    fn take_signals(&mut self, now: Time) {
        let Some(mut signals) = self.signals.take() else { return };
        for signal in signals.take() {
            self.signalled(signal, now);
        }
        self.signals = Some(signals);
    }
}

fn memberlist_error(problem: &str) -> StartError {
    StartError::Serf(format!("Failed to create memberlist: {problem}"))
}

/// The address that peers are told.
fn advertised(bind: SocketAddr, advertise: Option<SocketAddr>, port: u16) -> Result<GossipAddr, StartError> {
    match advertise {
        Some(addr) => Ok(addr.into()),
        None if !bind.ip().is_unspecified() => Ok(SocketAddr::new(bind.ip(), port).into()),
        None => address::private_addr(port).ok_or_else(|| {
            memberlist_error(
                "Failed to get final advertise address: No private IP address found, and explicit IP not provided",
            )
        }),
    }
}

#[cfg(test)]
mod tests;
