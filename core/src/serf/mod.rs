//! Serf: what members mean to do, and what their going means (protocol.md 2).

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::broadcasts::Waiter;
use crate::command::{Command, CommandError, Reply};
use crate::ctx::Ctx;
use crate::event::{Event, MemberEventKind, MemberInfo, Status};
use crate::io::{Output, PersistError, PersistId, RequestId};
use crate::lamport::{LamportClock, LamportTime};
use crate::limits;
use crate::log::Log;
use crate::snapshot::{Line, Parsed};
use crate::swim::member::Table;
use crate::swim::{Swim, SwimEvent};
use crate::time::Time;
use crate::timers::{TimerKind, Timers};
use crate::types::{Meta, Name, Slot};
use crate::wire::{Fired, SerfMessage};

mod allowance;
mod coalesce;
mod conflict;
mod filter;
mod intent;
mod internal_query;
mod join;
mod key_payload;
mod keys;
mod leave;
mod open;
mod prune;
mod query;
mod reap;
mod reconnect;
mod recorder;
mod rejoin;
mod seen;
pub mod tags;
mod user_event;

use coalesce::Coalescer;
use conflict::Vote;
use intent::BufferedIntent;
use join::Joins;
use keys::KeyRuns;
use leave::{BroadcastWait, LeaveRun};
use prune::Prunes;
use query::{Origin, Queries};
use recorder::Recorder;
use rejoin::SnapshotPeers;
use seen::Seen;
use tags::TagChange;

/// The layer above membership, of one node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Serf {
    pub(crate) clock: LamportClock,
    pub(crate) event_clock: LamportClock,
    pub(crate) query_clock: LamportClock,
    phase: Phase,
    /// Intents about members that are not known yet.
    intents: BTreeMap<Name, BufferedIntent>,
    /// Failed members.
    failed: BTreeSet<Slot>,
    /// Members that have left.
    left: BTreeSet<Slot>,
    /// Members that mean to leave, the node itself not included, by the time since when.
    leaving: BTreeSet<(Time, Slot)>,
    /// Set once a leave about ourselves was refuted: our join intent is repeated to those who have not heard (U-20).
    refuted: bool,
    joins: Joins,
    leave: Option<LeaveRun>,
    waits: BTreeMap<u64, BroadcastWait>,
    waits_begun: u64,
    coalescer: Coalescer,
    events: Seen<Fired>,
    queries: Queries,
    key_runs: KeyRuns,
    vote: Vote,
    /// Members that are to be forgotten once they have left, and when to look.
    prunes: Prunes,
    recorder: Recorder,
    snapshot_peers: SnapshotPeers,
    /// What waits for a record to be durable.
    kept: BTreeMap<PersistId, Kept>,
    /// Tag changes that wait for the one before them.
    tag_changes: VecDeque<(RequestId, TagChange)>,
}

/// What waits for a record to be durable.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Kept {
    /// The answer to a tag change, and the metadata that is announced first.
    Tags(RequestId, Meta),
    /// The answer to a key query.
    Keyring(Origin),
}

/// How far the node is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// A member.
    Alive,
    /// On its way out.
    Leaving,
    /// Out.
    Left,
}

impl Serf {
    /// Makes the layer; `snapshot` is the file of an earlier life.
    pub(crate) fn new(ctx: &mut Ctx<'_>, snapshot: Option<&Parsed>, file_bytes: usize) -> Self {
        if ctx.config.serf.retry_join.is_some() {
            ctx.arm(TimerKind::RetryJoin, ctx.now);
        }
        let mut layer = Self {
            clock: LamportClock::default(),
            event_clock: LamportClock::default(),
            query_clock: LamportClock::default(),
            phase: Phase::Alive,
            intents: BTreeMap::new(),
            failed: BTreeSet::new(),
            left: BTreeSet::new(),
            leaving: BTreeSet::new(),
            refuted: false,
            joins: Joins::default(),
            leave: None,
            waits: BTreeMap::new(),
            waits_begun: 0,
            coalescer: Coalescer::default(),
            events: user_event::memory(ctx.table.hash_key()),
            queries: Queries::new(ctx.table.hash_key()),
            key_runs: KeyRuns::default(),
            vote: Vote::default(),
            prunes: Prunes::default(),
            recorder: Recorder::default(),
            snapshot_peers: SnapshotPeers::default(),
            kept: BTreeMap::new(),
            tag_changes: VecDeque::new(),
        };
        if let Some(parsed) = snapshot {
            layer.recall(ctx, parsed, file_bytes);
        }
        layer
    }

    /// How many members have failed and how many have left.
    pub(crate) fn gone(&self) -> (usize, usize) {
        (self.failed.len(), self.left.len())
    }

    /// Handles an operator's command.
    pub(crate) fn on_command(&mut self, ctx: &mut Ctx<'_>, swim: &mut Swim, id: RequestId, command: Command) {
        match command {
            Command::Join { targets, replay } => self.join(ctx, swim, id, targets, replay),
            Command::Leave => self.begin_leave(ctx, swim, id),
            Command::Rejoin => self.rejoin(ctx, swim, id),
            Command::ForceLeave { node, prune } => self.force_leave(ctx, id, node, prune),
            Command::UserEvent { name, payload, coalesce } => self.fire(ctx, id, name, payload, coalesce),
            Command::Query(question) => self.query(ctx, swim, id, *question),
            Command::Respond { query, payload } => self.respond(ctx, swim, id, query, payload),
            Command::SetTags { set, delete } => self.change_tags(ctx, swim, id, TagChange::Some { set, delete }),
            Command::ReplaceTags(tags) => self.change_tags(ctx, swim, id, TagChange::All(tags)),
            Command::Key(operation) => self.key_operation(ctx, swim, id, operation),
            Command::EndQuery(query) => self.end_query_of(ctx, swim, id, query),
        }
    }

    /// Handles one of this layer's messages; one that is news is passed on, in its `original` bytes where they are known.
    pub(crate) fn on_message(&mut self, ctx: &mut Ctx<'_>, swim: &mut Swim, message: SerfMessage, original: &[u8]) {
        match message {
            SerfMessage::Leave(_) | SerfMessage::Join(_) => self.on_gossiped_intent(ctx, message, original),
            SerfMessage::Event(event) => self.on_gossiped_event(ctx, event, original),
            SerfMessage::Query(query) => self.on_gossiped_query(ctx, swim, query, original),
            SerfMessage::Response(response) => self.on_response(ctx, swim, response),
            SerfMessage::Relay(relay) => self.on_relay(ctx, relay),
        }
    }

    /// A record is durable, or will not be.
    pub(crate) fn on_persisted(
        &mut self,
        ctx: &mut Ctx<'_>,
        swim: &mut Swim,
        id: PersistId,
        result: Result<(), PersistError>,
    ) {
        match self.kept.remove(&id) {
            Some(Kept::Tags(request, meta)) => self.on_tags_kept(ctx, swim, request, meta, result),
            Some(Kept::Keyring(origin)) => self.on_keyring_kept(ctx, swim, &origin, result),
            None => self.on_snapshot_kept(ctx, id, result),
        }
    }

    /// Handles a timer of this layer.
    pub(crate) fn on_timer(&mut self, ctx: &mut Ctx<'_>, swim: &mut Swim, timer: TimerKind) {
        match timer {
            TimerKind::Reap => self.on_reap(ctx),
            TimerKind::Reconnect => self.on_reconnect(ctx, swim),
            TimerKind::RetryJoin => self.on_retry_join(ctx, swim),
            TimerKind::Leave => self.on_leave_timer(ctx, swim),
            TimerKind::BroadcastWait(number) => self.on_wait_end(ctx, number, true),
            TimerKind::LeavingCheck => self.on_leaving_check(ctx),
            TimerKind::CoalescePeriod | TimerKind::CoalesceQuiet => self.flush(ctx),
            TimerKind::UserCoalescePeriod | TimerKind::UserCoalesceQuiet => self.coalescer.flush_users(ctx),
            TimerKind::QueueCheck => Self::on_queue_check(ctx),
            TimerKind::QueryEnd(number) => self.on_query_end(ctx, swim, number),
            TimerKind::KeyRetry => self.on_key_retry(ctx, swim),
            TimerKind::Prune => self.on_prune(ctx),
            TimerKind::SnapshotClocks => self.on_snapshot_clocks(ctx),
            TimerKind::SnapshotRetry => self.on_snapshot_retry(ctx),
            TimerKind::SnapshotJoin => self.on_snapshot_join(ctx, swim),
            TimerKind::ProbeTick
            | TimerKind::ProbeTimeout
            | TimerKind::ProbeDeadline
            | TimerKind::RelayNack(_)
            | TimerKind::RelayEnd(_)
            | TimerKind::Suspicion(_)
            | TimerKind::Gossip
            | TimerKind::PushPull
            | TimerKind::Stream(_) => (),
        }
    }

    /// Hears of a broadcast that is over.
    pub(crate) fn on_broadcast_end(&mut self, ctx: &mut Ctx<'_>, swim: &mut Swim, waiter: Waiter) {
        match waiter {
            Waiter::LeaveIntent | Waiter::LeaveDead => self.on_leave_step(ctx, swim, waiter),
            Waiter::Command(number) => self.on_wait_end(ctx, number, false),
        }
    }

    /// Hears what the membership layer has found (protocol.md 2.2).
    pub(crate) fn on_swim_event(&mut self, ctx: &mut Ctx<'_>, swim: &mut Swim, event: SwimEvent) {
        match event {
            SwimEvent::Join(slot) => self.on_member_join(ctx, slot),
            SwimEvent::Leave(slot) => self.on_member_gone(ctx, slot),
            SwimEvent::Update(slot) => {
                if let Some(member) = ctx.table.find(slot).filter(|member| member.status != Status::None) {
                    ctx.log(Log::MemberUpdate(member.name().clone()));
                    self.emit(ctx, slot, MemberEventKind::Update);
                }
            }
            SwimEvent::Conflict(slot, theirs) => self.on_conflict(ctx, swim, slot, theirs),
        }
    }

    fn on_member_join(&mut self, ctx: &mut Ctx<'_>, slot: Slot) {
        let Some(member) = ctx.table.find(slot) else { return };
        let (name, addr, known) = (member.name().clone(), member.identity.addr, member.status != Status::None);
        let mut status = Status::Alive;
        // A member that was known keeps its Lamport time, and the buffered intents are not for it.
        if !known && let Some(intent) = self.intents.remove(&name) {
            if intent.leave {
                status = Status::Leaving;
            }
            if let Some(member) = ctx.table.find_mut(slot) {
                member.status_ltime = intent.ltime;
            }
        }
        self.set_status(ctx, slot, status);
        self.recorder.member(ctx, &Line::Alive(name.clone(), addr));
        ctx.log(Log::MemberJoin(name, addr));
        self.emit(ctx, slot, MemberEventKind::Join);
    }

    fn on_member_gone(&mut self, ctx: &mut Ctx<'_>, slot: Slot) {
        let Some(member) = ctx.table.find(slot) else { return };
        let (name, addr) = (member.name().clone(), member.identity.addr);
        // U-19: who is said to have left by its own word has left, even if its intent was lost.
        let on_purpose = member.state() == Some(crate::wire::SwimState::Left);
        let left = match member.status {
            Status::Leaving => true,
            Status::Alive => on_purpose,
            Status::None | Status::Left | Status::Failed => return,
        };
        if left {
            self.set_status(ctx, slot, Status::Left);
            self.recorder.member(ctx, &Line::NotAlive(name.clone()));
            ctx.log(Log::MemberLeave(name, addr));
            self.emit(ctx, slot, MemberEventKind::Leave);
        } else {
            self.set_status(ctx, slot, Status::Failed);
            self.recorder.member(ctx, &Line::NotAlive(name.clone()));
            self.recorder.member(ctx, &Line::Failed(name.clone(), addr));
            ctx.log(Log::MemberFailed(name, addr));
            self.emit(ctx, slot, MemberEventKind::Failed);
            self.arm_reconnect(ctx);
        }
        self.on_gone(ctx, addr);
    }

    /// Changes a status and keeps the lists in step.
    fn set_status(&mut self, ctx: &mut Ctx<'_>, slot: Slot, status: Status) {
        let since = ctx.table.find(slot).map_or(Time::ZERO, |member| member.status_since);
        ctx.table.set_status(slot, status, ctx.now);
        self.failed.remove(&slot);
        self.left.remove(&slot);
        self.leaving.remove(&(since, slot));
        match status {
            Status::Failed => _ = self.failed.insert(slot),
            Status::Left => _ = self.left.insert(slot),
            Status::Leaving if slot != ctx.table.me() => {
                self.leaving.insert((ctx.now, slot));
                // Of all that are leaving it is the last to have had its time.
                ctx.arm_if_idle(TimerKind::LeavingCheck, ctx.now + Self::leaving_patience(ctx));
            }
            Status::Leaving | Status::None | Status::Alive => (),
        }
        if matches!(status, Status::Failed | Status::Left) {
            self.arm_reap(ctx);
        }
    }

    /// Hands an event out, through the coalescer where there is one.
    fn emit(&mut self, ctx: &mut Ctx<'_>, slot: Slot, kind: MemberEventKind) {
        let Some(info) = ctx.table.find(slot).map(crate::swim::member::Member::info) else { return };
        if ctx.config.serf.coalesce.is_some() {
            self.coalescer.add(ctx, kind, info);
            if self.coalescer.len() >= limits::COALESCED_MAX {
                self.flush(ctx);
            }
        } else {
            emit_now(ctx, kind, [info].into());
        }
    }

    fn flush(&mut self, ctx: &mut Ctx<'_>) {
        self.coalescer.flush(ctx);
    }

    fn on_queue_check(ctx: &mut Ctx<'_>) {
        for (queue, depth) in [
            ("Intent", ctx.queues.intents.len()),
            ("Event", ctx.queues.events.len()),
            ("Query", ctx.queues.queries.len()),
        ] {
            if depth >= limits::QUEUE_DEPTH_WARNING {
                ctx.log(Log::QueueDepth(queue, depth));
                ctx.arm(TimerKind::QueueCheck, ctx.now + ctx.config.serf.queue_check_interval);
            }
        }
    }

    fn rejoin(&mut self, ctx: &mut Ctx<'_>, swim: &mut Swim, id: RequestId) {
        // A leave whose record is not durable yet is not over.
        if self.phase != Phase::Left || self.leave.is_some() {
            return reply(ctx, id, Reply::Failed(CommandError::NotLeft));
        }
        self.phase = Phase::Alive;
        self.recorder.resume();
        swim.rejoin(ctx);
        for event in swim.take_events() {
            self.on_swim_event(ctx, swim, event);
        }
        self.announce_join(ctx);
        self.arm_reconnect(ctx);
        self.resume_retry_join(ctx);
        reply(ctx, id, Reply::Rejoined);
    }

    /// Says that we are here to stay (protocol.md 2.3): applied to ourselves and queued.
    fn announce_join(&mut self, ctx: &mut Ctx<'_>) {
        let ltime = self.clock.time();
        self.clock.witness(ltime);
        let me = ctx.table.me();
        if let Some(own) = ctx.table.find_mut(me) {
            own.status_ltime = ltime;
        }
        self.say_join(ctx, ltime);
    }

    fn say_join(&self, ctx: &mut Ctx<'_>, ltime: LamportTime) {
        let node = ctx.config.name.clone();
        let intent = crate::wire::Intent { ltime, node: node.clone(), prune: false };
        ctx.broadcast_intent(node, SerfMessage::Join(intent), &[], None);
    }

    /// Checks what must hold between this layer's parts (protocol.md 3.1).
    pub(crate) fn check(&self, table: &Table, timers: &Timers) -> Result<(), alloc::string::String> {
        self.events.check(self.event_clock.time())?;
        self.check_queries(timers)?;
        for (slot, member) in table.entries() {
            let lists = (self.failed.contains(&slot), self.left.contains(&slot));
            if lists != (member.status == Status::Failed, member.status == Status::Left) {
                return Err(alloc::format!("{} is {} and in the lists {lists:?}", member.name(), member.status));
            }
        }
        Ok(())
    }
}

/// Hands an event out.
fn emit_now(ctx: &mut Ctx<'_>, kind: MemberEventKind, members: Vec<MemberInfo>) {
    ctx.out.push(Output::Event(Box::new(Event::Members { kind, members })));
}

/// Answers a command.
fn reply(ctx: &mut Ctx<'_>, id: RequestId, reply: Reply) {
    ctx.out.push(Output::Reply { id, reply: Box::new(reply) });
}
