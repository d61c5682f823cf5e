//! The transition table: what alive, suspect and dead messages do (protocol.md 1.7 as changed by 3.2).

use alloc::boxed::Box;
use alloc::sync::Arc;

use crate::broadcasts::Waiter;
use crate::config::{Lifeguard, Wire};
use crate::ctx::Ctx;
use crate::identity::Identity;
use crate::limits;
use crate::log::{Accusation, Log};
use crate::queues::{Rumour, RumourKind};
use crate::scale::suspicion_min;
use crate::serf::tags::shows_native;
use crate::swim::member::Member;
use crate::swim::suspicion::Suspicion;
use crate::swim::{Swim, SwimEvent};
use crate::timers::TimerKind;
use crate::types::{Incarnation, Meta, Name, Slot};
use crate::wire::{Accused, Alive, Message, SwimState};

/// How a suspicion was heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The accuser says so, or we are it.
    Gossip,
    /// A peer's push/pull said so: the accuser is the peer, and the word confirms nothing (U-06).
    Hearsay,
}

/// For whom an alive message is news if it is for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Others may not have heard it either: it is passed on.
    ToOthers,
    /// Everybody to whom we could pass it on has it from where we have it.
    ToUsAlone,
}

impl Swim {
    /// The node's first word about itself.
    pub(crate) fn bootstrap(&mut self, ctx: &mut Ctx<'_>) {
        let me = ctx.table.me();
        self.incarnation = self.incarnation.next();
        self.persist_incarnation(ctx);
        ctx.table.set_state(me, Some(SwimState::Alive), ctx.now);
        self.events.push(SwimEvent::Join(me));
        self.speak_for_self(ctx, None);
    }

    /// Our metadata changes: everybody is told, under a new incarnation.
    pub(crate) fn update(&mut self, ctx: &mut Ctx<'_>, meta: Meta, waiter: Waiter) {
        self.incarnation = self.incarnation.next();
        self.persist_incarnation(ctx);
        self.set_own_meta(ctx, meta);
        self.events.push(SwimEvent::Update(ctx.table.me()));
        self.speak_for_self(ctx, Some(waiter));
    }

    /// Our metadata changes, and nobody is told: after the last word about ourselves the next one would bring us back.
    /// What is set now is announced by a rejoin.
    pub(crate) fn set_own_meta(&self, ctx: &mut Ctx<'_>, meta: Meta) {
        let identity = ctx.config.interner.share(Identity { meta, ..(*ctx.table.own().identity).clone() });
        ctx.table.set_identity(ctx.table.me(), identity);
    }

    /// Whether we have said our last word.
    pub(crate) const fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// A member speaks for itself, or somebody passes its word on; true if it is news.
    pub(crate) fn on_alive(&mut self, ctx: &mut Ctx<'_>, alive: Alive, news: News) -> bool {
        let slot = ctx.table.slot(&alive.node);
        let about_me = slot == Some(ctx.table.me());
        if (about_me && self.leaving) || !alive.versions.is_sane() || !is_believable(ctx, alive.incarnation) {
            return false;
        }
        if ctx.config.serf.validate_names
            && let Err(error) = alive.node.check()
        {
            ctx.log(Log::BadName(error));
            return false;
        }
        if ctx.config.wire == Wire::Native && !about_me && !shows_native(&alive.meta) {
            ctx.log(Log::NotNative(alive.node));
            return false;
        }
        match slot.and_then(|slot| ctx.table.find(slot).map(|member| (slot, member.state()))) {
            None => self.on_alive_unknown(ctx, alive, news),
            Some((slot, None)) => self.on_alive_forgotten(ctx, slot, alive, news),
            Some((slot, Some(state))) => self.on_alive_known(ctx, slot, state, alive, news),
        }
    }

    fn on_alive_unknown(&mut self, ctx: &mut Ctx<'_>, alive: Alive, news: News) -> bool {
        // U-37: an incarnation of 0 would leave an entry that is nobody.
        if alive.incarnation == Incarnation(0) {
            return false;
        }
        let identity = ctx.config.interner.share(identity_of(&alive));
        let Some(slot) = ctx.table.insert(Arc::clone(&identity), ctx.now) else {
            ctx.dropped("member table", limits::MEMBERS_MAX, 1);
            return false;
        };
        self.accept(ctx, slot, alive, identity, news)
    }

    /// U-05: a copy of an old table must not revive who was forgotten; who really restarted hears what to refute.
    fn on_alive_forgotten(&mut self, ctx: &mut Ctx<'_>, slot: Slot, alive: Alive, news: News) -> bool {
        let stored = ctx.table.find(slot).map(|member| member.incarnation);
        if stored.is_some_and(|stored| alive.incarnation <= stored) {
            self.accuse_again(ctx, slot);
            return false;
        }
        self.accept_newer(ctx, slot, alive, news)
    }

    fn on_alive_known(&mut self, ctx: &mut Ctx<'_>, slot: Slot, state: SwimState, alive: Alive, news: News) -> bool {
        let Some(member) = ctx.table.find(slot) else { return false };
        let (mine, stored) = (member.identity.addr, member.incarnation);
        if mine != alive.addr {
            if is_reclaimable(ctx, member) && slot != ctx.table.me() {
                return self.accept_newer(ctx, slot, alive, news);
            }
            let (name, theirs, state) = (alive.node, alive.addr, state as u8);
            ctx.log(Log::Conflict { name, mine, theirs, state });
            self.events.push(SwimEvent::Conflict(slot, alive.addr));
            return false;
        }
        if slot == ctx.table.me() {
            let same = is_same(&member.identity, &alive);
            if alive.incarnation > stored || (alive.incarnation == stored && !same) {
                self.refute(ctx, alive.incarnation, Accusation::Alive, alive.node);
            }
        } else if alive.incarnation > stored {
            return self.accept_newer(ctx, slot, alive, news);
        } else {
            note_sign(ctx, slot, &alive, stored);
            if state != SwimState::Alive {
                self.accuse_again(ctx, slot);
            }
        }
        false
    }

    /// Stores an alive message that is newer than what was known of its member.
    fn accept_newer(&mut self, ctx: &mut Ctx<'_>, slot: Slot, alive: Alive, news: News) -> bool {
        let Some(member) = ctx.table.find(slot) else { return false };
        let same = is_same(&member.identity, &alive).then(|| Arc::clone(&member.identity));
        let identity = same.unwrap_or_else(|| ctx.config.interner.share(identity_of(&alive)));
        self.accept(ctx, slot, alive, identity, news)
    }

    fn accept(&mut self, ctx: &mut Ctx<'_>, slot: Slot, alive: Alive, identity: Arc<Identity>, news: News) -> bool {
        let Some(member) = ctx.table.find_mut(slot) else { return false };
        let before = member.state();
        let changed = member.identity.meta != identity.meta;
        member.incarnation = alive.incarnation;
        member.accused_at = None;
        ctx.table.set_identity(slot, identity);
        self.end_suspicion(ctx, slot);
        if before != Some(SwimState::Alive) {
            ctx.table.set_state(slot, Some(SwimState::Alive), ctx.now);
        }
        match before {
            Some(SwimState::Alive | SwimState::Suspect) => {
                if changed {
                    self.events.push(SwimEvent::Update(slot));
                }
            }
            Some(SwimState::Dead | SwimState::Left) => self.events.push(SwimEvent::Join(slot)),
            None => {
                ctx.table.enlist_for_probes(slot, ctx.rng);
                self.events.push(SwimEvent::Join(slot));
            }
        }
        match news {
            News::ToOthers => ctx.broadcast(Rumour::state(slot), &Message::Alive(alive), None),
            News::ToUsAlone => ctx.queues.swim.invalidate_range(Rumour::all(slot)),
        }
        true
    }

    /// U-04: answers a stale alive message so that a member that restarted hears what to refute. The answer is a
    /// suspicion with the incarnation that we know, whatever we believe of the member: it makes a live member speak
    /// and fails nobody who does. Once per member and probe interval.
    fn accuse_again(&mut self, ctx: &mut Ctx<'_>, slot: Slot) {
        let (now, interval) = (ctx.now, ctx.config.swim.probe_interval);
        let from = ctx.config.name.clone();
        let Some(member) = ctx.table.find_mut(slot) else { return };
        if !member.may_answer(now, interval) {
            return;
        }
        let accused = Accused { node: member.name().clone(), incarnation: member.incarnation, from };
        let rumour = Rumour { slot, kind: RumourKind::suspicion(Some(ctx.table.me())) };
        if !ctx.queues.swim.contains(&rumour) {
            ctx.push(rumour, &Message::Suspect(accused), None);
        }
    }

    /// Somebody does not answer `accused.from`.
    pub(crate) fn on_suspect(&mut self, ctx: &mut Ctx<'_>, accused: Accused, source: Source) {
        let Some((slot, state)) = self.admit(ctx, &accused) else { return };
        match state {
            SwimState::Dead | SwimState::Left => (),
            SwimState::Alive | SwimState::Suspect if slot == ctx.table.me() => {
                self.refute(ctx, accused.incarnation, Accusation::Suspect, accused.from);
            }
            SwimState::Suspect if ctx.table.find(slot).is_some_and(|member| member.enough_accusers) => (),
            SwimState::Suspect => self.confirm(ctx, slot, &accused, source),
            SwimState::Alive => self.suspect(ctx, slot, accused),
        }
    }

    fn confirm(&mut self, ctx: &mut Ctx<'_>, slot: Slot, accused: &Accused, source: Source) {
        if source == Source::Hearsay && !ctx.config.swim.lifeguard.hearsay_confirms {
            return;
        }
        let Some(suspicion) = self.suspicions.get_mut(&slot) else { return };
        if suspicion.confirm(&accused.from) {
            time_suspicion(ctx, slot, suspicion);
            let rumour = suspicion_rumour(ctx, slot, &accused.from);
            ctx.broadcast(rumour, &Message::Suspect(accused.clone()), None);
        }
    }

    fn suspect(&mut self, ctx: &mut Ctx<'_>, slot: Slot, accused: Accused) {
        ctx.table.set_state(slot, Some(SwimState::Suspect), ctx.now);
        let swim = &ctx.config.swim;
        let needed = confirmations_needed(&swim.lifeguard, swim.suspicion_mult, ctx.members());
        let min = suspicion_min(swim.suspicion_mult, ctx.members(), swim.probe_interval);
        let max = min.saturating_mul(swim.suspicion_max_mult);
        let suspicion = Suspicion::new(ctx.now, accused.from.clone(), needed, min, max);
        time_suspicion(ctx, slot, &suspicion);
        self.suspicions.insert(slot, Box::new(suspicion));
        let rumour = suspicion_rumour(ctx, slot, &accused.from);
        ctx.queues.swim.invalidate_range(Rumour::all(slot));
        ctx.broadcast(rumour, &Message::Suspect(accused), None);
    }

    pub(super) fn end_suspicion(&mut self, ctx: &mut Ctx<'_>, slot: Slot) {
        if self.suspicions.remove(&slot).is_some() {
            ctx.timers.disarm(TimerKind::Suspicion(slot));
        }
    }

    /// A suspicion has run out: the member is dead.
    pub(super) fn on_suspicion_end(&mut self, ctx: &mut Ctx<'_>, slot: Slot) {
        let Some(suspicion) = self.suspicions.remove(&slot) else { return };
        let from = ctx.config.name.clone();
        let Some(member) = ctx.table.find(slot) else { return };
        let accused = Accused { node: member.name().clone(), incarnation: member.incarnation, from };
        ctx.log(Log::MarkFailed(accused.node.clone(), suspicion.confirmations()));
        self.on_dead(ctx, accused);
    }

    /// A member is gone; on purpose if it says so itself.
    pub(crate) fn on_dead(&mut self, ctx: &mut Ctx<'_>, accused: Accused) {
        let Some((slot, state)) = self.admit(ctx, &accused) else { return };
        match state {
            SwimState::Dead | SwimState::Left => (),
            SwimState::Alive | SwimState::Suspect if slot == ctx.table.me() && !self.leaving => {
                self.refute(ctx, accused.incarnation, Accusation::Dead, accused.from);
            }
            SwimState::Alive | SwimState::Suspect => self.bury(ctx, slot, accused),
        }
    }

    fn bury(&mut self, ctx: &mut Ctx<'_>, slot: Slot, accused: Accused) {
        self.end_suspicion(ctx, slot);
        let on_purpose = accused.from == accused.node;
        let state = if on_purpose { SwimState::Left } else { SwimState::Dead };
        ctx.table.set_state(slot, Some(state), ctx.now);
        self.events.push(SwimEvent::Leave(slot));
        let waiter = (slot == ctx.table.me()).then_some(Waiter::LeaveDead);
        ctx.broadcast(Rumour::state(slot), &Message::Dead(accused), waiter);
    }

    /// The member that an accusation is about, if the accusation counts; raises its incarnation (U-03).
    fn admit(&mut self, ctx: &mut Ctx<'_>, accused: &Accused) -> Option<(Slot, SwimState)> {
        if !is_believable(ctx, accused.incarnation) {
            return None;
        }
        let slot = ctx.table.slot(&accused.node)?;
        let me = ctx.table.me();
        let member = ctx.table.find_mut(slot)?;
        if accused.incarnation < member.incarnation {
            if slot == me {
                self.repeat_self(ctx);
            }
            return None;
        }
        // Our own incarnation is raised by the refutation alone.
        if slot != me {
            member.incarnation = accused.incarnation;
        }
        Some((slot, member.state()?))
    }

    /// Somebody accuses us in an old incarnation: it has missed our answer, which is said again, once per probe
    /// interval. Without it a suspicion goes on although its subject answers every ping.
    fn repeat_self(&self, ctx: &mut Ctx<'_>) {
        let (now, interval, me) = (ctx.now, ctx.config.swim.probe_interval, ctx.table.me());
        if self.leaving || ctx.queues.swim.contains(&Rumour::state(me)) {
            return;
        }
        if ctx.table.find_mut(me).is_some_and(|own| own.may_answer(now, interval)) {
            self.speak_for_self(ctx, None);
        }
    }

    /// Answers an accusation: the own incarnation goes past the accused one (protocol.md 1.7, refute).
    fn refute(&mut self, ctx: &mut Ctx<'_>, accused: Incarnation, accusation: Accusation, from: Name) {
        self.incarnation = self.incarnation.next().max(accused.next());
        self.persist_incarnation(ctx);
        self.judge_self(ctx, 1);
        ctx.log(Log::Refute(accusation, from));
        self.speak_for_self(ctx, None);
    }

    /// Queues our alive message with the current incarnation, under our name (U-12).
    pub(super) fn speak_for_self(&self, ctx: &mut Ctx<'_>, waiter: Option<Waiter>) {
        let (me, incarnation) = (ctx.table.me(), self.incarnation);
        let Some(member) = ctx.table.find_mut(me) else { return };
        member.incarnation = incarnation;
        let alive = alive_of(member);
        ctx.broadcast(Rumour::state(me), &Message::Alive(alive), waiter);
    }

    /// Leaves: the last word about ourselves. The node keeps answering.
    pub(crate) fn leave(&mut self, ctx: &mut Ctx<'_>) {
        self.leaving = true;
        let name = ctx.config.name.clone();
        self.on_dead(ctx, Accused { node: name.clone(), incarnation: self.incarnation, from: name });
    }

    /// Comes back after a leave, in the same process (U-15).
    pub(crate) fn rejoin(&mut self, ctx: &mut Ctx<'_>) {
        self.leaving = false;
        self.bootstrap(ctx);
        self.arm_periodic(ctx);
    }
}

/// What a member's entry says as an alive message.
pub(crate) fn alive_of(member: &Member) -> Alive {
    let Identity { name, addr, meta, versions } = (*member.identity).clone();
    Alive { node: name, incarnation: member.incarnation, addr, meta, versions }
}

/// An agent that was replaced in place begins again with a low incarnation, and its first word about itself is ignored
/// for that. But if it shows no sign, memberlist's encoding is spoken from now on: that is right whoever is there. The
/// word that counts, said again, ends the doubt.
fn note_sign(ctx: &mut Ctx<'_>, slot: Slot, alive: &Alive, stored: Incarnation) {
    let known = ctx.table.find(slot).filter(|member| member.identity.meta == alive.meta);
    let native = known.map_or_else(|| shows_native(&alive.meta), Member::is_signed);
    if !native || alive.incarnation == stored {
        ctx.table.set_native(slot, native);
    }
}

/// Whether an alive message says of its member what was known.
pub(super) fn is_same(identity: &Identity, alive: &Alive) -> bool {
    let Identity { name, addr, meta, versions } = identity;
    *name == alive.node && *addr == alive.addr && *meta == alive.meta && *versions == alive.versions
}

fn identity_of(alive: &Alive) -> Identity {
    Identity { name: alive.node.clone(), addr: alive.addr, meta: alive.meta.clone(), versions: alive.versions }
}

/// U-13: without keys anybody can send an incarnation that could never be outdone.
fn is_believable(ctx: &Ctx<'_>, incarnation: Incarnation) -> bool {
    !ctx.keyring.is_empty() || incarnation.0 < limits::INCARNATION_SUSPICIOUS
}

/// Whether the name of a member that is gone may be taken over from another address (protocol.md 1.7).
fn is_reclaimable(ctx: &Ctx<'_>, member: &Member) -> bool {
    let reclaim = ctx.config.swim.dead_reclaim;
    match member.state() {
        Some(SwimState::Left) | None => true,
        Some(SwimState::Dead) => !reclaim.is_zero() && ctx.now.since(member.state_since) > reclaim,
        Some(SwimState::Alive | SwimState::Suspect) => false,
    }
}

/// How many confirmations the shortest suspicion needs; none where the cluster has too few members for them.
fn confirmations_needed(lifeguard: &Lifeguard, mult: u32, members: u64) -> u8 {
    if !lifeguard.confirmations {
        return 0;
    }
    let derived = u8::try_from(mult.saturating_sub(2)).unwrap_or(u8::MAX);
    let needed = lifeguard.confirmations_needed.unwrap_or(derived);
    if members.saturating_sub(2) < u64::from(needed) { 0 } else { needed }
}

/// Lets a suspicion run out when it must, as far as it is confirmed by now.
fn time_suspicion(ctx: &mut Ctx<'_>, slot: Slot, suspicion: &Suspicion) {
    ctx.arm(TimerKind::Suspicion(slot), suspicion.deadline());
    if let Some(member) = ctx.table.find_mut(slot) {
        member.enough_accusers = suspicion.is_confirmed();
    }
}

/// Under what a suspicion stands in the queue: by accuser, or in upstream's way under the member alone (U-11).
fn suspicion_rumour(ctx: &Ctx<'_>, slot: Slot, from: &Name) -> Rumour {
    let accuser = if ctx.config.swim.lifeguard.confirmation_copies { ctx.table.slot(from) } else { None };
    Rumour { slot, kind: RumourKind::suspicion(accuser) }
}
