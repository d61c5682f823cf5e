//! Coalescing of member events: many changes at one time become one event per kind (protocol.md 2.11).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::ctx::Ctx;
use crate::event::{MemberEventKind, MemberInfo};
use crate::serf::emit_now;
use crate::timers::TimerKind;
use crate::types::Name;

/// The open window.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Coalescer {
    pending: BTreeMap<Name, Pending>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Pending {
    /// The latest kind.
    kind: MemberEventKind,
    /// A join came before the update in this window (U-29).
    joined: bool,
    info: MemberInfo,
}

impl Coalescer {
    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    /// Takes an event in: opens the window if it is the first, and restarts the quiet time.
    pub(super) fn add(&mut self, ctx: &mut Ctx<'_>, kind: MemberEventKind, info: MemberInfo) {
        let Some(windows) = ctx.config.serf.coalesce else { return };
        ctx.arm_if_idle(TimerKind::CoalescePeriod, ctx.now + windows.period);
        ctx.arm(TimerKind::CoalesceQuiet, ctx.now + windows.quiet);
        let before = self.pending.get(&info.name);
        let joined = match kind {
            MemberEventKind::Join => true,
            MemberEventKind::Update => before.is_some_and(|pending| pending.joined),
            MemberEventKind::Leave | MemberEventKind::Failed | MemberEventKind::Reap => false,
        };
        self.pending.insert(info.name.clone(), Pending { kind, joined, info });
    }

    /// Closes the window: one event per kind, in a fixed order, members sorted by name. What was said last about a
    /// member is not said again, but for updates.
    pub(super) fn flush(&mut self, ctx: &mut Ctx<'_>) {
        ctx.timers.disarm(TimerKind::CoalescePeriod);
        ctx.timers.disarm(TimerKind::CoalesceQuiet);
        let mut kinds: BTreeMap<MemberEventKind, Vec<MemberInfo>> = BTreeMap::new();
        for (name, pending) in core::mem::take(&mut self.pending) {
            let slot = ctx.table.slot(&name);
            let last = slot.and_then(|slot| ctx.table.find(slot)).and_then(|member| member.last_event);
            let update = pending.kind == MemberEventKind::Update;
            let known = matches!(last, Some(MemberEventKind::Join | MemberEventKind::Update));
            if update && pending.joined && !known {
                kinds.entry(MemberEventKind::Join).or_default().push(pending.info.clone());
            }
            if update || last != Some(pending.kind) {
                kinds.entry(pending.kind).or_default().push(pending.info);
            }
            if let Some(member) = slot.and_then(|slot| ctx.table.find_mut(slot)) {
                member.last_event = Some(pending.kind);
            }
        }
        for (kind, members) in kinds {
            emit_now(ctx, kind, members);
        }
    }
}
