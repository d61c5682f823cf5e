//! Leaving, and making others leave (protocol.md 2.3, 2.4).

use serde::{Deserialize, Serialize};

use crate::broadcasts::Waiter;
use crate::command::{CommandError, Reply};
use crate::ctx::Ctx;
use crate::event::Status;
use crate::io::RequestId;
use crate::limits;
use crate::log::Log;
use crate::serf::{Phase, Serf, reply};
use crate::swim::Swim;
use crate::timers::TimerKind;
use crate::types::Name;
use crate::wire::{Intent, SerfMessage};

/// A graceful leave under way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct LeaveRun {
    step: Step,
    /// Whom to answer at the end.
    request: RequestId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Step {
    /// The intent is on its way.
    Intent,
    /// The last word is on its way.
    Dead,
    /// Probes are still answered.
    Linger,
}

/// A command that waits for its broadcast.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct BroadcastWait {
    request: RequestId,
    done: Reply,
    late: Reply,
}

impl Serf {
    /// Begins a graceful leave: first the intent, then the last word, then a while of answering.
    pub(super) fn begin_leave(&mut self, ctx: &mut Ctx<'_>, swim: &mut Swim, id: RequestId) {
        match self.phase {
            Phase::Left => return reply(ctx, id, Reply::Left),
            Phase::Leaving => return reply(ctx, id, Reply::Failed(CommandError::LeaveInProgress)),
            Phase::Alive => self.phase = Phase::Leaving,
        }
        ctx.timers.disarm(TimerKind::RetryJoin);
        ctx.timers.disarm(TimerKind::SnapshotJoin);
        self.record_leave(ctx);
        let ltime = self.clock.time();
        self.clock.increment();
        let node = ctx.config.name.clone();
        let me = ctx.table.me();
        if let Some(own) = ctx.table.find_mut(me) {
            own.status_ltime = ltime;
        }
        self.set_status(ctx, me, Status::Leaving);
        self.leave = Some(LeaveRun { step: Step::Intent, request: id });
        if ctx.table.has_live_others() {
            let intent = SerfMessage::Leave(Intent { ltime, node: node.clone(), prune: false });
            ctx.arm(TimerKind::Leave, ctx.now + ctx.config.serf.broadcast_timeout);
            ctx.broadcast_intent(node, intent, &[], Some(Waiter::LeaveIntent));
        } else {
            self.say_goodbye(ctx, swim);
        }
    }

    fn say_goodbye(&mut self, ctx: &mut Ctx<'_>, swim: &mut Swim) {
        let Some(run) = &mut self.leave else { return };
        run.step = Step::Dead;
        let somebody_hears = ctx.table.has_live_others();
        ctx.arm(TimerKind::Leave, ctx.now + ctx.config.serf.broadcast_timeout);
        swim.leave(ctx);
        if !somebody_hears {
            self.linger(ctx);
        }
    }

    fn linger(&mut self, ctx: &mut Ctx<'_>) {
        let Some(run) = &mut self.leave else { return };
        run.step = Step::Linger;
        ctx.arm(TimerKind::Leave, ctx.now + ctx.config.serf.leave_propagate_delay);
    }

    /// A broadcast of the leave has been sent often enough.
    pub(super) fn on_leave_step(&mut self, ctx: &mut Ctx<'_>, swim: &mut Swim, waiter: Waiter) {
        match (self.leave.as_ref().map(|run| run.step), waiter) {
            (Some(Step::Intent), Waiter::LeaveIntent) => self.say_goodbye(ctx, swim),
            (Some(Step::Dead), Waiter::LeaveDead) => self.linger(ctx),
            (Some(Step::Intent | Step::Dead | Step::Linger) | None, _) => (),
        }
    }

    /// A step of the leave has had its time: the leave goes on all the same.
    pub(super) fn on_leave_timer(&mut self, ctx: &mut Ctx<'_>, swim: &mut Swim) {
        match self.leave.as_ref().map(|run| run.step) {
            Some(Step::Intent) => self.say_goodbye(ctx, swim),
            Some(Step::Dead) => {
                ctx.log(Log::LeaveTimedOut);
                self.linger(ctx);
            }
            Some(Step::Linger) => {
                self.phase = Phase::Left;
                self.end_leave(ctx);
            }
            None => (),
        }
    }

    /// The node has left once the snapshot says so too.
    pub(super) fn end_leave(&mut self, ctx: &mut Ctx<'_>) {
        if self.phase == Phase::Left
            && !self.recorder.awaits_leave()
            && let Some(run) = self.leave.take()
        {
            reply(ctx, run.request, Reply::Left);
        }
    }

    /// Says of another member that it leaves, and with `prune` that it is to be forgotten. The answer comes when the word
    /// is out; nobody to tell means at once. No member has a name beyond the bound, and such a word is not kept for one that may
    /// come: a client's name may have a megabyte.
    pub(super) fn force_leave(&mut self, ctx: &mut Ctx<'_>, id: RequestId, node: Name, prune: bool) {
        if node.as_bytes().len() > limits::NAME_BYTES_MAX {
            ctx.dropped("names of members to leave", limits::NAME_BYTES_MAX, 1);
            return reply(ctx, id, Reply::ForceLeft);
        }
        let late = Reply::Failed(CommandError::ForceLeaveTimedOut);
        let Some((number, waiter)) = self.begin_wait(ctx, id, Reply::ForceLeft, late) else {
            return reply(ctx, id, Reply::Failed(CommandError::Busy));
        };
        let intent = Intent { ltime: self.clock.time(), node, prune };
        self.clock.increment();
        self.on_leave_intent(ctx, &intent, intent.ltime);
        if ctx.table.has_live_others() {
            ctx.broadcast_intent(intent.node.clone(), SerfMessage::Leave(intent), &[], Some(waiter));
        } else {
            self.on_wait_end(ctx, number, false);
        }
    }

    /// Begins to wait for a broadcast: `done` is the answer when it is out, `late` when it has had its time. `None`: too
    /// many commands wait already.
    pub(super) fn begin_wait(
        &mut self,
        ctx: &mut Ctx<'_>,
        request: RequestId,
        done: Reply,
        late: Reply,
    ) -> Option<(u64, Waiter)> {
        if self.waits.len() >= limits::BROADCAST_WAITS_MAX {
            return None;
        }
        self.waits_begun = self.waits_begun.saturating_add(1);
        let number = self.waits_begun;
        self.waits.insert(number, BroadcastWait { request, done, late });
        ctx.arm(TimerKind::BroadcastWait(number), ctx.now + ctx.config.serf.broadcast_timeout);
        Some((number, Waiter::Command(number)))
    }

    /// A command's broadcast is over, or has had its time.
    pub(super) fn on_wait_end(&mut self, ctx: &mut Ctx<'_>, number: u64, late: bool) {
        let Some(wait) = self.waits.remove(&number) else { return };
        ctx.timers.disarm(TimerKind::BroadcastWait(number));
        reply(ctx, wait.request, if late { wait.late } else { wait.done });
    }
}
