//! Coalescing: many member changes at one time become one event per kind, many user events of one name become the latest
//! (protocol.md 2.11).

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::ctx::Ctx;
use crate::event::{Event, MemberEventKind, MemberInfo};
use crate::io::Output;
use crate::limits;
use crate::serf::emit_now;
use crate::timers::TimerKind;
use crate::types::Name;
use crate::wire::UserEvent;

/// The open window.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Coalescer {
    pending: BTreeMap<Name, Pending>,
    /// User events by name: those of the highest Lamport time.
    users: BTreeMap<Box<[u8]>, Vec<UserEvent>>,
    /// How many user events wait.
    users_len: usize,
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

    /// Takes a user event in; windows as for member events, but of their own.
    pub(super) fn add_user(&mut self, ctx: &mut Ctx<'_>, event: &UserEvent) {
        let Some(windows) = ctx.config.serf.coalesce else { return };
        ctx.arm_if_idle(TimerKind::UserCoalescePeriod, ctx.now + windows.period);
        ctx.arm(TimerKind::UserCoalesceQuiet, ctx.now + windows.quiet);
        let latest = self.users.entry(event.name.clone()).or_default();
        match latest.first().map(|first| event.ltime.cmp(&first.ltime)) {
            Some(Ordering::Less) => return,
            Some(Ordering::Greater) => {
                self.users_len = self.users_len.saturating_sub(latest.len());
                latest.clear();
            }
            Some(Ordering::Equal) | None => (),
        }
        latest.push(event.clone());
        self.users_len = self.users_len.saturating_add(1);
        if self.users_len >= limits::COALESCED_EVENTS_MAX {
            self.flush_users(ctx);
        }
    }

    /// Closes the window of user events: in Lamport order, those of one time by name.
    pub(super) fn flush_users(&mut self, ctx: &mut Ctx<'_>) {
        ctx.timers.disarm(TimerKind::UserCoalescePeriod);
        ctx.timers.disarm(TimerKind::UserCoalesceQuiet);
        let mut events: Vec<UserEvent> = core::mem::take(&mut self.users).into_values().flatten().collect();
        self.users_len = 0;
        events.sort_by_key(|event| event.ltime);
        for event in events {
            ctx.out.push(Output::Event(Box::new(Event::User(event))));
        }
    }
}
