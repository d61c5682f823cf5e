//! Forgetting: failed members, members that left, old intents, tombstones (protocol.md 2.5).

use alloc::vec::Vec;

use crate::ctx::Ctx;
use crate::event::{MemberEventKind, Status};
use crate::lamport::LamportTime;
use crate::limits;
use crate::log::Log;
use crate::serf::Serf;
use crate::serf::intent::BufferedIntent;
use crate::snapshot::Line;
use crate::time::Time;
use crate::timers::TimerKind;
use crate::types::Slot;

impl Serf {
    /// Looks for what to forget one interval from now, unless a look is due sooner.
    pub(super) fn arm_reap(&self, ctx: &mut Ctx<'_>) {
        let soon = ctx.now + ctx.config.serf.reap_interval;
        if ctx.timers.deadline(TimerKind::Reap).is_none_or(|at| at > soon) {
            ctx.arm(TimerKind::Reap, soon);
        }
    }

    /// When the next thing is old enough to be forgotten; no look before it can find anything.
    fn next_expiry(&self, ctx: &Ctx<'_>) -> Option<Time> {
        let serf = &ctx.config.serf;
        let since = |slot: &Slot| ctx.table.find(*slot).map(|member| member.status_since);
        let failed = self.failed.iter().filter_map(since).map(|since| since + serf.reconnect_timeout);
        let left = self.left.iter().filter_map(since).map(|since| since + serf.tombstone_timeout);
        let intents = self.intents.values().map(|intent| intent.arrived + serf.recent_intent_timeout);
        let tombstones = ctx.table.oldest_tombstone().map(|since| since + ctx.config.swim.tombstone);
        failed.chain(left).chain(intents).chain(tombstones).min().map(Time::next)
    }

    pub(super) fn on_reap(&mut self, ctx: &mut Ctx<'_>) {
        let serf = &ctx.config.serf;
        let mut due: Vec<Slot> = Vec::new();
        for (list, timeout) in [(&self.failed, serf.reconnect_timeout), (&self.left, serf.tombstone_timeout)] {
            due.extend(list.iter().copied().filter(|&slot| {
                ctx.table.find(slot).is_some_and(|member| ctx.now.since(member.status_since) > timeout)
            }));
        }
        due.retain(|&slot| slot != ctx.table.me());
        for slot in due {
            self.erase(ctx, slot, false);
        }
        let (now, recent) = (ctx.now, ctx.config.serf.recent_intent_timeout);
        self.intents.retain(|_, intent| now.since(intent.arrived) <= recent);
        let tombstones_end = ctx.now.since(Time::ZERO).checked_sub(ctx.config.swim.tombstone);
        if let Some(before) = tombstones_end {
            ctx.table.retire(Time::ZERO + before);
        }
        if let Some(expiry) = self.next_expiry(ctx) {
            ctx.arm(TimerKind::Reap, expiry.max(ctx.now + ctx.config.serf.reap_interval));
        }
    }

    /// Forgets a member and says so. Its last Lamport time is remembered for a while, so that words about it that are
    /// still under way are no news (U-21).
    pub(super) fn erase(&mut self, ctx: &mut Ctx<'_>, slot: Slot, pruned: bool) {
        let Some(member) = ctx.table.find(slot) else { return };
        let (name, addr, ltime) = (member.name().clone(), member.identity.addr, member.status_ltime);
        ctx.log(if pruned { Log::MemberReapForced(name.clone(), addr) } else { Log::MemberReap(name.clone()) });
        self.recorder.member(ctx, &Line::NotAlive(name.clone()));
        self.snapshot_peers.forget(&name);
        ctx.coordinates.forget(slot);
        self.prunes.remove(slot);
        if self.intents.len() < limits::INTENTS_BUFFERED_MAX {
            self.intents.insert(name, BufferedIntent { leave: false, ltime, arrived: ctx.now });
            self.arm_reap(ctx);
        }
        self.emit(ctx, slot, MemberEventKind::Reap);
        self.set_status(ctx, slot, Status::None);
        if let Some(member) = ctx.table.find_mut(slot) {
            member.status_ltime = LamportTime(0);
            member.last_event = None;
        }
    }
}
