//! Forgetting: failed members, members that left, old intents, tombstones (protocol.md 2.5).

use alloc::vec::Vec;

use crate::ctx::Ctx;
use crate::event::{MemberEventKind, Status};
use crate::lamport::LamportTime;
use crate::log::Log;
use crate::serf::Serf;
use crate::time::Time;
use crate::timers::TimerKind;
use crate::types::Slot;

impl Serf {
    /// Looks for members to forget while there are any that could be.
    pub(super) fn arm_reap(&self, ctx: &mut Ctx<'_>) {
        let candidates = !(self.failed.is_empty() && self.left.is_empty() && self.intents.is_empty());
        if candidates || ctx.table.has_tombstones() {
            ctx.arm_if_idle(TimerKind::Reap, ctx.now + ctx.config.serf.reap_interval);
        }
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
            self.erase(ctx, slot);
        }
        let (now, recent) = (ctx.now, ctx.config.serf.recent_intent_timeout);
        self.intents.retain(|_, intent| now.since(intent.arrived) <= recent);
        let tombstones_end = ctx.now.since(Time::ZERO).checked_sub(ctx.config.swim.tombstone);
        if let Some(before) = tombstones_end {
            ctx.table.retire(Time::ZERO + before);
        }
        self.arm_reap(ctx);
    }

    /// Forgets a member and says so.
    fn erase(&mut self, ctx: &mut Ctx<'_>, slot: Slot) {
        let Some(member) = ctx.table.find(slot) else { return };
        ctx.log(Log::MemberReap(member.name().clone()));
        self.emit(ctx, slot, MemberEventKind::Reap);
        self.set_status(ctx, slot, Status::None);
        if let Some(member) = ctx.table.find_mut(slot) {
            member.status_ltime = LamportTime(0);
            member.last_event = None;
        }
    }
}
