//! User events (protocol.md 2.7).

use alloc::boxed::Box;
use core::hash::{Hash, Hasher};

use super::seen::{Seen, Weight};
use crate::command::{CommandError, Reply};
use crate::ctx::Ctx;
use crate::event::Event;
use crate::io::{Output, RequestId};
use crate::lamport::LamportTime;
use crate::limits;
use crate::log::Log;
use crate::map::HashKey;
use crate::serf::{Serf, reply};
use crate::types::Name;
use crate::wire::{EventsAt, Fired, SerfMessage, UserEvent, memberlist};

impl Weight for Fired {
    fn bytes(&self) -> usize {
        self.name.len().saturating_add(self.payload.len())
    }
}

/// What tells user events of one Lamport time apart: name and payload.
struct Told<'a>(&'a UserEvent);

impl Hash for Told<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The same on every machine: the hash stands in checkpoints.
        state.write(&(self.0.name.len() as u64).to_le_bytes());
        state.write(&self.0.name);
        state.write(&self.0.payload);
    }
}

impl PartialEq<Told<'_>> for Fired {
    fn eq(&self, told: &Told<'_>) -> bool {
        self.name == told.0.name && self.payload == told.0.payload
    }
}

impl From<Told<'_>> for Fired {
    fn from(Told(event): Told<'_>) -> Self {
        Self { name: event.name.clone(), payload: event.payload.clone() }
    }
}

/// An empty memory of user events, hashed with `key`.
pub(super) const fn memory(key: HashKey) -> Seen<Fired> {
    Seen::new(key, limits::EVENTS_SEEN_MAX, limits::EVENTS_SEEN_BYTES_MAX)
}

impl Serf {
    /// Fires a user event.
    pub(super) fn fire(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: RequestId,
        name: Box<[u8]>,
        payload: Box<[u8]>,
        coalesce: bool,
    ) {
        let limit = ctx.config.serf.user_event_bytes;
        if name.len().saturating_add(payload.len()) > limit {
            return reply(ctx, id, Reply::Failed(CommandError::EventTooLong { limit }));
        }
        let event = UserEvent { ltime: self.event_clock.time(), name, payload, coalesce };
        if memberlist::event(&event).len() > limit {
            return reply(ctx, id, Reply::Failed(CommandError::EncodedEventTooLong { limit }));
        }
        self.event_clock.increment();
        self.on_user_event(ctx, &event);
        ctx.broadcast_numbered(SerfMessage::Event(event), &[]);
        reply(ctx, id, Reply::EventSent);
    }

    /// Takes a user event in; true if it is news.
    pub(super) fn on_user_event(&mut self, ctx: &mut Ctx<'_>, event: &UserEvent) -> bool {
        self.event_clock.witness(event.ltime);
        if !self.events.admit(self.event_clock.time(), event.ltime, Told(event)) {
            return false;
        }
        let lost = self.events.shrink();
        if lost > 0 {
            ctx.dropped("user event memory", limits::EVENTS_SEEN_MAX, lost);
        }
        self.recorder.event(ctx, event.ltime);
        if event.coalesce && ctx.config.serf.coalesce.is_some() {
            self.coalescer.add_user(ctx, event);
        } else {
            ctx.out.push(Output::Event(Box::new(Event::User(event.clone()))));
        }
        true
    }

    /// A user event that came by gossip; one that is news is passed on.
    pub(super) fn on_gossiped_event(&mut self, ctx: &mut Ctx<'_>, event: UserEvent, original: &[u8]) {
        ctx.log(Log::Message("messageUserEventType", Name::new(&event.name)));
        if self.on_user_event(ctx, &event) {
            ctx.broadcast_numbered(SerfMessage::Event(event), original);
        }
    }

    /// What we remember, for a push/pull: in Lamport order (user-asks 21).
    pub(super) fn remembered_events(&self) -> alloc::vec::Vec<EventsAt> {
        self.events.times().map(|(ltime, events)| EventsAt { ltime, events: events.to_vec() }).collect()
    }

    /// Takes the events of a push/pull in, oldest first whatever the peer's order. Nothing of it is passed on.
    pub(super) fn replay_events(&mut self, ctx: &mut Ctx<'_>, mut events: alloc::vec::Vec<EventsAt>) {
        events.sort_by_key(|at| at.ltime);
        for EventsAt { ltime, events } in events {
            // Zero never appears on the wire of an honest peer.
            for Fired { name, payload } in events.into_iter().filter(|_| ltime > LamportTime(0)) {
                self.on_user_event(ctx, &UserEvent { ltime, name, payload, coalesce: false });
            }
        }
    }
}
