//! Pruning: a member is forgotten everywhere (protocol.md 2.4; U-21, user-asks 38).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::ctx::Ctx;
use crate::event::Status;
use crate::log::Log;
use crate::serf::Serf;
use crate::time::Time;
use crate::timers::TimerKind;
use crate::types::Slot;

/// Members that are to be forgotten once they have left, and when to look. Each may have a time of its own, so they are
/// found by it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Prunes {
    times: BTreeMap<Slot, Time>,
    order: BTreeSet<(Time, Slot)>,
}

impl Prunes {
    /// Looks at a member at a time, or when it was to be looked at already: when that is.
    fn insert(&mut self, slot: Slot, at: Time) -> Time {
        let at = *self.times.entry(slot).or_insert(at);
        self.order.insert((at, slot));
        at
    }

    pub(super) fn remove(&mut self, slot: Slot) {
        if let Some(at) = self.times.remove(&slot) {
            self.order.remove(&(at, slot));
        }
    }

    fn first(&self) -> Option<Time> {
        self.order.first().map(|&(at, _)| at)
    }

    /// Takes out whom to look at by `now`, one after the other.
    fn pop_due(&mut self, now: Time) -> Option<Slot> {
        let &(at, slot) = self.order.first()?;
        if at > now {
            return None;
        }
        self.remove(slot);
        Some(slot)
    }
}

impl Serf {
    /// Forgets a member that is gone; one that is leaving has the time that a leave takes.
    pub(super) fn prune(&mut self, ctx: &mut Ctx<'_>, slot: Slot) {
        let Some(status) = ctx.table.find(slot).map(|member| member.status) else { return };
        match status {
            Status::Failed | Status::Left => self.erase(ctx, slot, true),
            Status::Leaving => {
                let serf = &ctx.config.serf;
                let at = ctx.now + serf.broadcast_timeout.saturating_add(serf.leave_propagate_delay);
                let at = self.prunes.insert(slot, at);
                // Of all that wait a new one is the last.
                ctx.arm_if_idle(TimerKind::Prune, at);
            }
            Status::None | Status::Alive => (),
        }
    }

    fn arm_prune(&self, ctx: &mut Ctx<'_>) {
        match self.prunes.first() {
            Some(at) => ctx.arm(TimerKind::Prune, at),
            None => ctx.timers.disarm(TimerKind::Prune),
        }
    }

    /// Looks at those whose time is over: who is gone is forgotten, who still answers stays. Whose suspicion runs is
    /// looked at again.
    pub(super) fn on_prune(&mut self, ctx: &mut Ctx<'_>) {
        let due: Vec<Slot> = core::iter::from_fn(|| self.prunes.pop_due(ctx.now)).collect();
        for slot in due {
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
