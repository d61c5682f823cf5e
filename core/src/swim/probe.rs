//! The probe cycle: direct ping, helpers, stream ping, verdict (protocol.md 1.4).

use alloc::sync::Arc;
use core::net::SocketAddr;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{NackTiming, SwimConfig};
use crate::ctx::{Ctx, Piggyback};
use crate::identity::Identity;
use crate::io::{Activity, StreamId};
use crate::log::Log;
use crate::rng::Purpose;
use crate::swim::Swim;
use crate::swim::rules::Source;
use crate::time::{Time, scaled};
use crate::timers::TimerKind;
use crate::types::{Incarnation, SeqNo, Slot};
use crate::wire::{Accused, Ack, IndirectPing, Message, Ping, ReplyTo, SwimState};

/// The prober: at most one probe runs at a time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Probe {
    phase: Time,
    /// A tick came while a probe was running (protocol.md 3.1, D-07).
    pending: bool,
    run: Option<Run>,
}

/// One running probe. The target is what it was when the probe began.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Run {
    slot: Slot,
    identity: Arc<Identity>,
    incarnation: Incarnation,
    seq: SeqNo,
    sent_at: Time,
    deadline: Time,
    stage: Stage,
    stream: Option<StreamId>,
    stream_acked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Stage {
    Direct,
    Indirect { nacks_expected: u32, nacks: u32 },
}

impl Probe {
    pub(super) const fn new(phase: Time) -> Self {
        Self { phase, pending: false, run: None }
    }

    /// The phase of the ticks.
    pub(super) const fn phase(&self) -> Time {
        self.phase
    }

    /// Whether a probe runs.
    pub(super) const fn is_running(&self) -> bool {
        self.run.is_some()
    }

    pub(super) fn on_stream_ack(&mut self, seq: SeqNo) {
        if let Some(run) = self.run.as_mut().filter(|run| run.seq == seq) {
            run.stream_acked = true;
        }
    }
}

impl Swim {
    pub(super) fn on_probe_tick(&mut self, ctx: &mut Ctx<'_>) {
        if ctx.table.probe_order_len() == 0 {
            return;
        }
        let next = ctx.now.next_on_grid(self.probe.phase, ctx.config.swim.probe_interval);
        ctx.arm(TimerKind::ProbeTick, next);
        if self.probe.run.is_some() {
            self.probe.pending = true;
        } else {
            self.begin_probe(ctx);
        }
    }

    /// Chooses the next member of the pass and pings it; gives up after a list's worth of members that are gone.
    fn begin_probe(&mut self, ctx: &mut Ctx<'_>) {
        let mut wrapped = false;
        for _ in 0..=ctx.table.probe_order_len().saturating_mul(2) {
            let Some(slot) = ctx.table.next_in_probe_order() else {
                if wrapped {
                    return;
                }
                wrapped = true;
                let before = ctx.now.since(Time::ZERO).checked_sub(ctx.config.swim.gossip_to_dead);
                let before = before.map_or(Time::ZERO, |since| Time::ZERO + since);
                ctx.table.end_probe_pass(before, ctx.now, ctx.rng);
                continue;
            };
            match ctx.table.find(slot).and_then(|member| member.state()) {
                Some(SwimState::Alive | SwimState::Suspect) => return self.ping(ctx, slot),
                Some(SwimState::Dead | SwimState::Left) | None => (),
            }
        }
    }

    fn ping(&mut self, ctx: &mut Ctx<'_>, slot: Slot) {
        let seq = self.next_seq();
        let Some(member) = ctx.table.find(slot) else { return };
        let suspect = member.state() == Some(SwimState::Suspect);
        let (identity, incarnation) = (Arc::clone(&member.identity), member.incarnation);
        let swim = &ctx.config.swim;
        let timeout =
            if swim.lifeguard.scale_timeout { self.awareness.scale(swim.probe_timeout) } else { swim.probe_timeout };
        let deadline = ctx.now + self.awareness.scale(swim.probe_interval);
        let Some(to) = ctx.to_slot(slot) else { return };
        let ping = Message::Ping(Ping { seq, node: identity.name.clone(), source: source(ctx) });
        ctx.arm(TimerKind::ProbeTimeout, ctx.now + timeout);
        ctx.arm(TimerKind::ProbeDeadline, deadline);
        if suspect && swim.lifeguard.buddy {
            let from = ctx.config.name.clone();
            let suspicion = Message::Suspect(Accused { node: identity.name.clone(), incarnation, from });
            ctx.send(Activity::Probe, to, &[ping, suspicion], Piggyback::None);
        } else {
            ctx.send(Activity::Probe, to, &[ping], Piggyback::Counted);
        }
        let stage = Stage::Direct;
        self.probe.run = Some(Run {
            slot,
            identity,
            incarnation,
            seq,
            sent_at: ctx.now,
            deadline,
            stage,
            stream: None,
            stream_acked: false,
        });
    }

    pub(super) fn on_probe_timeout(&mut self, ctx: &mut Ctx<'_>) {
        self.ask_helpers(ctx);
    }

    /// The ping could not even be sent: there is no ack to wait for.
    pub(super) fn on_probe_send_failed(&mut self, ctx: &mut Ctx<'_>, to: SocketAddr) {
        if self.probe.run.as_ref().is_some_and(|run| run.identity.addr.socket_addr() == to) {
            self.ask_helpers(ctx);
        }
    }

    fn ask_helpers(&mut self, ctx: &mut Ctx<'_>) {
        let Some(run) = self.probe.run.as_mut().filter(|run| run.stage == Stage::Direct) else { return };
        ctx.timers.disarm(TimerKind::ProbeTimeout);
        ctx.log(Log::PingFailed(run.identity.name.clone()));
        let (me, target, seq, deadline) = (ctx.table.me(), run.slot, run.seq, run.deadline);
        let (name, addr) = (run.identity.name.clone(), run.identity.addr);
        let wanted = ctx.config.swim.indirect_checks as usize;
        let helpers = ctx.table.draw(ctx.rng, Purpose::Helpers, wanted, false, |slot, member| {
            slot != me && slot != target && member.state() == Some(SwimState::Alive)
        });
        let mut nacks_expected: u32 = 0;
        for helper in helpers {
            let Some(to) = ctx.to_slot(helper) else { continue };
            let versions = ctx.table.find(helper).map(|member| member.identity.versions);
            let nack = versions.is_some_and(|versions| versions.protocol_max() >= 4);
            if nack && nack_in_time(&ctx.config.swim, ctx.now, deadline) {
                nacks_expected = nacks_expected.saturating_add(1);
            }
            let ask = IndirectPing { seq, node: name.clone(), target: addr, nack, source: source(ctx) };
            ctx.send(Activity::Probe, to, &[Message::IndirectPing(ask)], Piggyback::Counted);
        }
        let stream_ping = ctx.config.swim.stream_ping && run.identity.versions.protocol_max() >= 3;
        run.stage = Stage::Indirect { nacks_expected, nacks: 0 };
        if stream_ping {
            let ping = Ping { seq, node: name, source: source(ctx) };
            run.stream = self.streams.open_ping(ctx, addr.socket_addr(), ping, deadline);
        }
    }

    pub(super) fn on_ack(&mut self, ctx: &mut Ctx<'_>, Ack { seq, coordinate }: Ack) {
        if let Some(run) = self.probe.run.as_ref().filter(|run| run.seq == seq) {
            // Only the direct ping measures a round trip (protocol.md 2.14).
            if let Some(other) = coordinate.filter(|_| run.stage == Stage::Direct && ctx.config.serf.coordinates) {
                let (slot, name, rtt) = (run.slot, run.identity.name.clone(), ctx.now.since(run.sent_at));
                if let Err(why) = ctx.coordinates.update(ctx.rng, slot, &other, rtt) {
                    ctx.log(Log::CoordinateRejected(name, alloc::format!("{why}")));
                }
            }
            self.judge_self(ctx, -1);
            self.end_probe(ctx);
        } else {
            self.forward_ack(ctx, seq);
        }
    }

    pub(super) fn on_nack(&mut self, seq: SeqNo) {
        let Some(run) = self.probe.run.as_mut().filter(|run| run.seq == seq) else { return };
        if let Stage::Indirect { nacks, .. } = &mut run.stage {
            *nacks = nacks.saturating_add(1);
        }
    }

    pub(super) fn on_probe_deadline(&mut self, ctx: &mut Ctx<'_>) {
        let Some(run) = self.probe.run.clone() else { return };
        if run.stream_acked {
            ctx.log(Log::TcpOnly(run.identity.name.clone()));
            self.judge_self(ctx, -1);
        } else {
            let delta = match run.stage {
                Stage::Indirect { nacks_expected: expected @ 1.., nacks } => {
                    i32::try_from(expected.saturating_sub(nacks)).unwrap_or(i32::MAX)
                }
                Stage::Indirect { .. } | Stage::Direct => 1,
            };
            self.judge_self(ctx, delta);
            ctx.log(Log::Suspect(run.identity.name.clone()));
            let from = ctx.config.name.clone();
            let accused = Accused { node: run.identity.name.clone(), incarnation: run.incarnation, from };
            self.on_suspect(ctx, accused, Source::Gossip);
        }
        self.end_probe(ctx);
    }

    fn end_probe(&mut self, ctx: &mut Ctx<'_>) {
        let Some(run) = self.probe.run.take() else { return };
        ctx.timers.disarm(TimerKind::ProbeTimeout);
        ctx.timers.disarm(TimerKind::ProbeDeadline);
        if let Some(stream) = run.stream {
            self.streams.abort(ctx, stream);
        }
        if core::mem::take(&mut self.probe.pending) {
            self.begin_probe(ctx);
        }
    }
}

/// Where the answer must go; nothing where that is the packet's own source.
pub(super) fn source(ctx: &Ctx<'_>) -> Option<ReplyTo> {
    (!ctx.config.sends_from_advertise).then(|| ReplyTo { addr: ctx.config.advertise, node: ctx.config.name.clone() })
}

/// How long a helper waits before its nack (U-01).
pub(super) fn nack_delay(swim: &SwimConfig) -> Duration {
    match swim.lifeguard.nacks {
        NackTiming::Fitted { permille } => {
            let room = swim.probe_interval.saturating_sub(swim.probe_timeout);
            scaled(swim.probe_timeout.min(room), u64::from(permille), 1000)
        }
        NackTiming::OfTimeout { permille } => scaled(swim.probe_timeout, u64::from(permille), 1000),
    }
}

/// Whether a nack asked for now is counted on. Upstream counts on every one (U-01).
fn nack_in_time(swim: &SwimConfig, now: Time, deadline: Time) -> bool {
    match swim.lifeguard.nacks {
        NackTiming::Fitted { .. } => now + nack_delay(swim) < deadline,
        NackTiming::OfTimeout { .. } => true,
    }
}
