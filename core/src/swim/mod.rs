//! SWIM with Lifeguard: who is there, who has failed, and how the word gets around (protocol.md 1).

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ctx::{Ctx, To};
use crate::io::{Activity, Persist};
use crate::rng::{Purpose, Rng};
use crate::time::{Time, nanos};
use crate::timers::TimerKind;
use crate::types::{GossipAddr, Incarnation, SeqNo, Slot};
use crate::wire::{Encoding, Message, SwimState};

pub mod awareness;
pub(crate) mod digest;
pub mod member;
mod probe;
pub(crate) mod push_pull;
pub(crate) mod relay;
pub(crate) mod rules;
mod stream;
pub mod suspicion;

pub(crate) use stream::{Exchange, ExchangeKind, StreamStep, Streams};

use awareness::Awareness;
use probe::Probe;
use relay::Relay;
use suspicion::Suspicion;

/// The membership layer of one node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Swim {
    awareness: Awareness,
    /// The node's own incarnation.
    incarnation: Incarnation,
    /// Set by a leave; the node no longer defends itself.
    leaving: bool,
    /// The last sequence number used.
    seq: SeqNo,
    probe: Probe,
    relays: BTreeMap<SeqNo, Relay>,
    /// Boxed, so that a word about one of many touches little memory.
    suspicions: BTreeMap<Slot, Box<Suspicion>>,
    streams: Streams,
    /// Time until the first periodic push/pull of a small cluster, on top of its interval, in nanoseconds.
    stagger: u64,
    /// Whether no push/pull of ours has been due yet.
    settling: bool,
    /// What the layer above must hear of.
    events: Vec<SwimEvent>,
}

/// Something that the layer above must hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SwimEvent {
    /// A member came or came back.
    Join(Slot),
    /// A member is dead or has left.
    Leave(Slot),
    /// A member's metadata changed.
    Update(Slot),
    /// Another address claims a member's name.
    Conflict(Slot, GossipAddr),
}

impl Swim {
    /// Makes the layer; `used` is the largest incarnation of an earlier life.
    pub(crate) fn new(ctx: &mut Ctx<'_>, used: Incarnation) -> Self {
        let probe_phase = phase(ctx.rng, ctx.config.swim.probe_interval, ctx.now);
        let stagger =
            ctx.rng.below_inclusive(Purpose::Stagger, nanos(ctx.config.swim.push_pull_interval).saturating_sub(1));
        Self {
            awareness: Awareness::default(),
            incarnation: used,
            leaving: false,
            // An ack names nobody: if all began at one number, acks that were recorded anywhere would fit everywhere.
            seq: SeqNo(ctx.rng.next_u32(Purpose::Sequence)),
            probe: Probe::new(probe_phase),
            relays: BTreeMap::new(),
            suspicions: BTreeMap::new(),
            streams: Streams::default(),
            stagger,
            settling: true,
            events: Vec::new(),
        }
    }

    /// Whether the layer above need not hear of anything.
    pub(crate) const fn is_settled(&self) -> bool {
        self.events.is_empty() && self.streams.is_settled()
    }

    /// Takes what the layer above must hear of.
    pub(crate) fn take_events(&mut self) -> Vec<SwimEvent> {
        core::mem::take(&mut self.events)
    }

    /// The health score.
    pub(crate) const fn health(&self) -> u8 {
        self.awareness.score()
    }

    pub(crate) const fn streams(&mut self) -> &mut Streams {
        &mut self.streams
    }

    /// Handles one message of a packet; `from` is where an answer to it goes. Serf's messages are not for this layer.
    pub(crate) fn on_message(&mut self, ctx: &mut Ctx<'_>, from: To, message: Message) {
        match message {
            Message::Ping(ping) => self.on_ping(ctx, from, &ping),
            Message::IndirectPing(ask) => self.on_indirect_ping(ctx, from, &ask),
            Message::Ack(ack) => self.on_ack(ctx, ack),
            Message::Nack(seq) => self.on_nack(seq),
            Message::Suspect(accused) => self.on_suspect(ctx, accused, rules::Source::Gossip),
            Message::Alive(alive) => {
                if self.on_alive(ctx, alive, rules::News::ToOthers) {
                    self.arm_periodic(ctx);
                }
            }
            Message::Dead(accused) => self.on_dead(ctx, accused),
            Message::Serf(_) => (),
        }
    }

    /// Handles a timer of this layer.
    pub(crate) fn on_timer(&mut self, ctx: &mut Ctx<'_>, timer: TimerKind) {
        match timer {
            TimerKind::ProbeTick => self.on_probe_tick(ctx),
            TimerKind::ProbeTimeout => self.on_probe_timeout(ctx),
            TimerKind::ProbeDeadline => self.on_probe_deadline(ctx),
            TimerKind::RelayNack(seq) => self.on_relay_nack(ctx, seq),
            TimerKind::RelayEnd(seq) => self.end_relay(ctx, seq),
            TimerKind::Suspicion(slot) => self.on_suspicion_end(ctx, slot),
            TimerKind::Gossip => self.on_gossip_tick(ctx),
            TimerKind::PushPull => self.on_push_pull_tick(ctx),
            TimerKind::Stream(id) => self.streams.on_deadline(ctx, id),
            TimerKind::Reap
            | TimerKind::Reconnect
            | TimerKind::RetryJoin
            | TimerKind::Leave
            | TimerKind::BroadcastWait(_)
            | TimerKind::LeavingCheck
            | TimerKind::CoalescePeriod
            | TimerKind::CoalesceQuiet
            | TimerKind::QueueCheck
            | TimerKind::QueryEnd(_)
            | TimerKind::KeyRetry
            | TimerKind::Prune
            | TimerKind::SnapshotClocks
            | TimerKind::SnapshotRetry
            | TimerKind::SnapshotJoin
            | TimerKind::UserCoalescePeriod
            | TimerKind::UserCoalesceQuiet => (),
        }
    }

    /// One gossip round (protocol.md 1.8): for each target, what fits; nothing left ends the round. What goes to a member
    /// that is suspected or dead does not count as sent while others are alive: in a small cluster a word could be used
    /// up on who is gone.
    fn on_gossip_tick(&mut self, ctx: &mut Ctx<'_>) {
        let me = ctx.table.me();
        let (now, window) = (ctx.now, ctx.config.swim.gossip_to_dead);
        let targets = ctx.table.draw(
            ctx.rng,
            Purpose::GossipTargets,
            ctx.config.swim.gossip_nodes as usize,
            true,
            |slot, member| {
                slot != me && (member.state() != Some(SwimState::Dead) || now.since(member.state_since) <= window)
            },
        );
        let is_alive = |ctx: &Ctx<'_>, slot: Slot| {
            ctx.table.find(slot).is_some_and(|member| member.state() == Some(SwimState::Alive))
        };
        let alone = !ctx.table.live().iter().any(|&slot| slot != me && is_alive(ctx, slot));
        for slot in targets {
            let Some(to) = ctx.to_slot(slot) else { continue };
            let counts = alone || is_alive(ctx, slot);
            if !ctx.send_gossip(to, counts) {
                break;
            }
        }
        ctx.arm_gossip();
    }

    /// Arms what runs while other members are known (timers that have nothing to do must not exist).
    fn arm_periodic(&mut self, ctx: &mut Ctx<'_>) {
        if ctx.table.probe_order_len() > 0 {
            let next = ctx.now.next_on_grid(self.probe.phase(), ctx.config.swim.probe_interval);
            ctx.arm_if_idle(TimerKind::ProbeTick, next);
        }
        if ctx.table.has_live_others()
            && !ctx.config.swim.push_pull_interval.is_zero()
            && ctx.timers.deadline(TimerKind::PushPull).is_none()
        {
            // A digest costs next to nothing; everything is worth its cost only at its time.
            self.settling &= ctx.spoken() == Encoding::Native;
            let first = if self.settling { self.settling_time(ctx) } else { self.staggered_push_pull(ctx) };
            ctx.arm(TimerKind::PushPull, ctx.now + first);
        }
        ctx.arm_gossip();
    }

    const fn next_seq(&mut self) -> SeqNo {
        self.seq = SeqNo(self.seq.0.wrapping_add(1));
        self.seq
    }

    /// Adds to the health score where it is in use.
    fn judge_self(&mut self, ctx: &Ctx<'_>, delta: i32) {
        let lifeguard = &ctx.config.swim.lifeguard;
        if lifeguard.awareness {
            self.awareness.apply(delta, lifeguard.awareness_max);
        }
    }

    /// Hands out the own incarnation as a record to keep, where the configuration asks for it (U-04).
    fn persist_incarnation(&mut self, ctx: &mut Ctx<'_>) {
        if ctx.config.persist && ctx.config.serf.snapshot.is_none() {
            ctx.persist(Persist::Incarnation(self.incarnation));
        }
    }

    /// The local send of a packet failed: for a running probe that is a missing ack (protocol.md 1.4).
    pub(crate) fn on_send_failed(&mut self, ctx: &mut Ctx<'_>, to: SocketAddr, activity: Activity) {
        if activity == Activity::Probe {
            self.on_probe_send_failed(ctx, to);
        }
    }

    /// A stream ping was answered.
    pub(crate) fn on_stream_ack(&mut self, seq: SeqNo) {
        self.probe.on_stream_ack(seq);
    }

    /// Checks what must hold between this layer's parts (protocol.md 3.1).
    pub(crate) fn check(
        &self,
        ctx_table: &member::Table,
        timers: &crate::timers::Timers,
    ) -> Result<(), alloc::string::String> {
        for (slot, member) in ctx_table.entries() {
            let suspect = member.state() == Some(SwimState::Suspect);
            let timer = timers.deadline(TimerKind::Suspicion(slot)).is_some();
            let suspicion = self.suspicions.get(&slot);
            if suspicion.is_some_and(|suspicion| suspicion.is_confirmed() != member.enough_accusers) {
                return Err(alloc::format!(
                    "{}: the accusers of its entry are not those of its suspicion",
                    member.name()
                ));
            }
            if suspect != timer || suspect != suspicion.is_some() {
                return Err(alloc::format!("{}: suspect {suspect}, suspicion timer {timer}", member.name()));
            }
        }
        for seq in self.relays.keys() {
            if timers.deadline(TimerKind::RelayEnd(*seq)).is_none() {
                return Err(alloc::format!("relay {} has no end", seq.0));
            }
        }
        if self.probe.is_running() != timers.deadline(TimerKind::ProbeDeadline).is_some() {
            return Err("a probe and its deadline do not stand together".into());
        }
        self.streams.check(timers)
    }
}

/// A uniform point in the first `interval` from `now` (U-09: phases that work).
pub(crate) fn phase(rng: &mut Rng, interval: Duration, now: Time) -> Time {
    now + Duration::from_nanos(rng.below_inclusive(Purpose::Stagger, nanos(interval).saturating_sub(1)))
}
