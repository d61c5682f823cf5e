//! Pruning: a member is forgotten everywhere (protocol.md 2.4; U-21, user-asks 38).

use alloc::vec::Vec;

use crate::ctx::Ctx;
use crate::event::Status;
use crate::log::Log;
use crate::serf::Serf;
use crate::timers::TimerKind;
use crate::types::Slot;

impl Serf {
    /// Forgets a member that is gone; one that is leaving has the time that a leave takes.
    pub(super) fn prune(&mut self, ctx: &mut Ctx<'_>, slot: Slot) {
        let Some(status) = ctx.table.find(slot).map(|member| member.status) else { return };
        match status {
            Status::Failed | Status::Left => self.erase(ctx, slot, true),
            Status::Leaving => {
                let serf = &ctx.config.serf;
                let at = ctx.now + serf.broadcast_timeout.saturating_add(serf.leave_propagate_delay);
                let at = *self.prunes.entry(slot).or_insert(at);
                // Of all that wait a new one is the last.
                ctx.arm_if_idle(TimerKind::Prune, at);
            }
            Status::None | Status::Alive => (),
        }
    }

    fn arm_prune(&self, ctx: &mut Ctx<'_>) {
        match self.prunes.values().min() {
            Some(&at) => ctx.arm(TimerKind::Prune, at),
            None => ctx.timers.disarm(TimerKind::Prune),
        }
    }

    /// Looks at those whose time is over: who is gone is forgotten, who still answers stays. Whose suspicion runs is
    /// looked at again.
    pub(super) fn on_prune(&mut self, ctx: &mut Ctx<'_>) {
        let due: Vec<Slot> = self.prunes.iter().filter(|&(_, &at)| at <= ctx.now).map(|(&slot, _)| slot).collect();
        for slot in due {
            self.prunes.remove(&slot);
            let Some(member) = ctx.table.find(slot) else { continue };
            match (member.status, member.state()) {
                (Status::Failed | Status::Left, _) => self.erase(ctx, slot, true),
                (Status::Leaving, Some(crate::wire::SwimState::Suspect)) => self.prune(ctx, slot),
                (Status::Leaving | Status::Alive, _) => ctx.log(Log::PruneRefused(member.name().clone())),
                (Status::None, _) => (),
            }
        }
        self.arm_prune(ctx);
    }
}
