//! Join and leave intents (protocol.md 2.2, 2.6).

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::ctx::Ctx;
use crate::event::{MemberEventKind, Status};
use crate::lamport::LamportTime;
use crate::limits;
use crate::log::Log;
use crate::scale::suspicion_min;
use crate::serf::{Phase, Serf};
use crate::snapshot::Line;
use crate::swim::digest;
use crate::swim::member::Walk;
use crate::time::Time;
use crate::timers::TimerKind;
use crate::types::{Name, Slot};
use crate::wire::{Clocks, Digest, Intent, SerfMessage, SerfState, SwimState};

/// An intent about a member that is not known yet; the newest per name is kept.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct BufferedIntent {
    pub(super) leave: bool,
    pub(super) ltime: LamportTime,
    pub(super) arrived: Time,
}

impl Serf {
    /// An intent that came by gossip; one that is news is passed on.
    pub(super) fn on_gossiped_intent(&mut self, ctx: &mut Ctx<'_>, message: SerfMessage, original: &[u8]) {
        let news = match &message {
            SerfMessage::Leave(intent) => {
                ctx.log(Log::Message("messageLeaveType", intent.node.clone()));
                self.on_leave_intent(ctx, intent, intent.ltime).then(|| intent.node.clone())
            }
            SerfMessage::Join(intent) => {
                ctx.log(Log::Message("messageJoinType", intent.node.clone()));
                self.on_join_intent(ctx, &intent.node, intent.ltime).then(|| intent.node.clone())
            }
            SerfMessage::Event(_) | SerfMessage::Query(_) | SerfMessage::Response(_) | SerfMessage::Relay(_) => None,
        };
        if let Some(node) = news {
            ctx.broadcast_intent(node, message, original, None);
        }
    }

    /// Applies a leave intent; true if it is news. It counts as said at its time, and `record` is what is remembered.
    pub(super) fn on_leave_intent(&mut self, ctx: &mut Ctx<'_>, intent: &Intent, record: LamportTime) -> bool {
        self.clock.witness(record);
        let &Intent { ltime, ref node, prune } = intent;
        let Some((slot, status, known)) = known_status(ctx, node) else {
            return self.buffer(ctx, node, true, ltime);
        };
        if ltime <= known {
            return false;
        }
        // A leave about ourselves is not true while we are here: say so, later than the accusation.
        if slot == ctx.table.me() && self.phase == Phase::Alive {
            self.clock.witness(ltime);
            self.refuted = true;
            self.announce_join(ctx);
            return false;
        }
        if let Some(member) = ctx.table.find_mut(slot) {
            member.status_ltime = record.max(known);
        }
        match status {
            Status::Alive => self.set_status(ctx, slot, Status::Leaving),
            Status::Failed => {
                self.set_status(ctx, slot, Status::Left);
                if let Some(member) = ctx.table.find(slot) {
                    let (name, addr) = (member.name().clone(), member.identity.addr);
                    self.recorder.member(ctx, &Line::NotAlive(name.clone()));
                    ctx.log(Log::MemberLeaveForced(name, addr));
                }
                self.emit(ctx, slot, MemberEventKind::Leave);
            }
            Status::Leaving | Status::Left | Status::None => (),
        }
        if prune && slot != ctx.table.me() {
            self.prune(ctx, slot);
        }
        true
    }

    /// Applies a join intent; true if it is news.
    pub(super) fn on_join_intent(&mut self, ctx: &mut Ctx<'_>, node: &Name, ltime: LamportTime) -> bool {
        self.clock.witness(ltime);
        let Some((slot, status, known)) = known_status(ctx, node) else {
            return self.buffer(ctx, node, false, ltime);
        };
        if ltime <= known {
            return false;
        }
        if let Some(member) = ctx.table.find_mut(slot) {
            member.status_ltime = ltime;
        }
        if status == Status::Leaving {
            self.set_status(ctx, slot, Status::Alive);
        }
        true
    }

    /// Remembers an intent about an unknown member; true if it is newer than what is remembered.
    fn buffer(&mut self, ctx: &mut Ctx<'_>, node: &Name, leave: bool, ltime: LamportTime) -> bool {
        if self.intents.get(node).is_some_and(|known| ltime <= known.ltime) {
            return false;
        }
        if self.intents.len() >= limits::INTENTS_BUFFERED_MAX && !self.intents.contains_key(node) {
            ctx.dropped("intent buffer", limits::INTENTS_BUFFERED_MAX, 1);
            return false;
        }
        self.intents.insert(node.clone(), BufferedIntent { leave, ltime, arrived: ctx.now });
        self.arm_reap(ctx);
        true
    }

    /// What we tell a peer in a push/pull.
    pub(crate) fn local_state(&self, ctx: &Ctx<'_>) -> SerfState {
        let shown = || ctx.table.entries().map(|(_, member)| member).filter(|member| member.status != Status::None);
        let Clocks { members, events, queries } = self.clocks();
        SerfState {
            ltime: members,
            event_ltime: events,
            query_ltime: queries,
            statuses: shown().map(|member| (member.name().clone(), member.status_ltime)).collect(),
            left: shown().filter(|member| member.status == Status::Left).map(|member| member.name().clone()).collect(),
            events: self.remembered_events(),
        }
    }

    const fn clocks(&self) -> Clocks {
        Clocks { members: self.clock.time(), events: self.event_clock.time(), queries: self.query_clock.time() }
    }

    /// What we know, in short; of user events what both we and who wants those since `since` would keep.
    pub(crate) fn digest(&self, ctx: &mut Ctx<'_>, since: LamportTime) -> Digest {
        let events_since = since.max(self.events.since(self.event_clock.time()));
        let times = self.events.times().filter(|&(ltime, _)| ltime >= events_since);
        Digest { clocks: self.clocks(), members: ctx.table.digest(), events_since, events: digest::of_events(times) }
    }

    /// Moves our clocks past those of a peer.
    pub(crate) fn hear_clocks(&mut self, clocks: Clocks) {
        for (clock, remote) in [
            (&mut self.clock, clocks.members),
            (&mut self.event_clock, clocks.events),
            (&mut self.query_clock, clocks.queries),
        ] {
            if remote > LamportTime(0) {
                clock.witness(LamportTime(remote.0.saturating_sub(1)));
            }
        }
    }

    /// Takes in what a peer told us. Nothing of it is passed on. With `ignore_old` the user events of the peer's past are
    /// not wanted: neither now nor from anybody else later (protocol.md 2.3).
    pub(crate) fn merge(&mut self, ctx: &mut Ctx<'_>, state: SerfState, ignore_old: bool) {
        self.hear_clocks(Clocks { members: state.ltime, events: state.event_ltime, queries: state.query_ltime });
        let left: alloc::collections::BTreeSet<&Name> = state.left.iter().collect();
        for &(ref node, ltime) in state.statuses.iter().filter(|(node, _)| left.contains(node)) {
            // U-22: one tick later only for a member that we hold for failed, so that both sides agree that it left. For
            // any other a leave that we have applied already is no news: the member may have come back since.
            let failed = known_status(ctx, node).is_some_and(|(_, status, _)| status == Status::Failed);
            let said = if failed { LamportTime(ltime.0.saturating_add(1)) } else { ltime };
            self.on_leave_intent(ctx, &Intent { ltime: said, node: node.clone(), prune: false }, ltime);
        }
        let mut walk = Walk::default();
        for &(ref node, ltime) in state.statuses.iter().filter(|(node, _)| !left.contains(node)) {
            let member = walk.slot(ctx.table, node).and_then(|slot| ctx.table.find(slot));
            if member.is_some_and(|member| member.status != Status::None && ltime <= member.status_ltime) {
                self.clock.witness(ltime);
            } else {
                self.on_join_intent(ctx, node, ltime);
            }
            self.repeat_refutation(ctx, node, ltime);
        }
        if ignore_old {
            self.events.raise_min(state.event_ltime);
        }
        self.replay_events(ctx, state.events);
    }

    /// U-20: who refuted a leave says so again to a cluster that has not heard.
    fn repeat_refutation(&self, ctx: &mut Ctx<'_>, node: &Name, heard: LamportTime) {
        let own = ctx.table.own().status_ltime;
        if self.refuted && self.phase == Phase::Alive && *node == ctx.config.name && heard < own {
            self.say_join(ctx, own);
        }
    }

    /// When members that are leaving may be found alive after all: a leave, its lingering and a suspicion later (U-20).
    pub(super) fn leaving_patience(ctx: &Ctx<'_>) -> core::time::Duration {
        let (serf, swim) = (&ctx.config.serf, &ctx.config.swim);
        let suspicion = suspicion_min(swim.suspicion_mult, ctx.members(), swim.probe_interval);
        let longest = suspicion.saturating_mul(swim.suspicion_max_mult);
        serf.broadcast_timeout.saturating_add(serf.leave_propagate_delay).saturating_add(longest)
    }

    fn arm_leaving_check(&self, ctx: &mut Ctx<'_>) {
        match self.leaving.first() {
            Some(&(since, _)) => ctx.arm(TimerKind::LeavingCheck, since + Self::leaving_patience(ctx)),
            None => ctx.timers.disarm(TimerKind::LeavingCheck),
        }
    }

    /// U-20: a member that has been leaving for too long and still answers is alive.
    pub(super) fn on_leaving_check(&mut self, ctx: &mut Ctx<'_>) {
        let patience = Self::leaving_patience(ctx);
        let is_due = |&&(since, _): &&(Time, Slot)| ctx.now.since(since) >= patience;
        // Those alone: each may have a time of its own, and a look at all of them each time would be one too many.
        let due: Vec<(Time, Slot)> = self.leaving.iter().take_while(is_due).copied().collect();
        for (since, slot) in due {
            let Some(member) = ctx.table.find(slot) else { continue };
            if member.state() == Some(SwimState::Alive) {
                ctx.log(Log::LeavingReverted(member.name().clone()));
                self.set_status(ctx, slot, Status::Alive);
            } else {
                // Suspected: look again when the suspicion is over.
                ctx.table.set_status(slot, Status::Leaving, ctx.now);
                self.leaving.remove(&(since, slot));
                self.leaving.insert((ctx.now, slot));
            }
        }
        self.arm_leaving_check(ctx);
    }
}

/// Slot, status and Lamport time of a member that Serf knows.
fn known_status(ctx: &Ctx<'_>, node: &Name) -> Option<(Slot, Status, LamportTime)> {
    let slot = ctx.table.slot(node)?;
    let member = ctx.table.find(slot).filter(|member| member.status != Status::None)?;
    Some((slot, member.status, member.status_ltime))
}
