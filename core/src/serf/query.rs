//! Queries (protocol.md 2.8): asked here, asked of us, and the words on them.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::allowance::Allowance;
use super::filter::{self, Filters};
use super::internal_query;
use super::open::{Open, OpenQueries};
use super::seen::{Seen, Weight};
use crate::command::{CommandError, Question, Reply};
use crate::ctx::{Ctx, Piggyback};
use crate::event::{Event, QueryEvent, QueryKey};
use crate::io::{Activity, Output, RequestId};
use crate::limits;
use crate::log::Log;
use crate::map::HashKey;
use crate::rng::Purpose;
use crate::scale::ceil_log10;
use crate::serf::{Serf, reply};
use crate::swim::Swim;
use crate::timers::TimerKind;
use crate::types::{GossipAddr, Name, QueryId, Slot};
use crate::wire::{Message, Query, QueryResponse, Relay, SerfMessage, SwimState, memberlist};

/// Oldest memberlist protocol that relays (protocol.md 2.8).
const RELAY_PROTOCOL: u8 = 5;
/// Oldest Serf protocol with queries (gossip-wire.md 5.3).
const QUERY_PROTOCOL: u8 = 4;
/// Members that are looked through in the time that it takes to pass a word on.
const MEMBERS_PER_WORD: usize = 64;
/// Words of one query beyond one per member that is alive when it is asked: for those who join meanwhile.
const LATECOMERS: usize = 64;

impl Weight for QueryId {
    fn bytes(&self) -> usize {
        size_of::<Self>()
    }
}

/// The queries that a node knows of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Queries {
    pub(super) seen: Seen<QueryId>,
    /// Queries of others and of our own that may still be answered here.
    open: OpenQueries,
    /// Queries of our own that wait for words.
    running: BTreeMap<QueryKey, Running>,
    /// Numbers the timers of the running ones.
    numbers: BTreeMap<u64, QueryKey>,
    begun: u64,
    /// Bytes to which patterns of queries that come by gossip may compile.
    patterns: Allowance,
    /// Words that others pass on for us.
    relayed: Allowance,
    /// Words to where no member is known to be.
    to_strangers: Allowance,
    /// Words that we pass on to an address alone.
    nameless: Allowance,
}

/// Where the words on a query go.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Origin {
    key: QueryKey,
    addr: GossipAddr,
    node: Name,
    relay_factor: u8,
}

/// A query of our own that waits for words.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Running {
    number: u64,
    asker: Asker,
    acks: BTreeSet<Name>,
    responses: BTreeSet<Name>,
    /// Who has not said all that is wanted; when it is empty nothing more can come (user-asks 25). `None`: not known.
    awaited: Option<BTreeSet<Name>>,
    acks_wanted: bool,
    words_max: usize,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Asker {
    /// An operator.
    Command(RequestId),
    /// The key operation under way.
    Keys,
    /// The vote about our own name.
    Conflict,
}

impl Queries {
    pub(super) fn new(key: HashKey) -> Self {
        Self {
            seen: Seen::new(key, limits::QUERIES_SEEN_MAX, usize::MAX),
            open: OpenQueries::default(),
            running: BTreeMap::new(),
            numbers: BTreeMap::new(),
            begun: 0,
            patterns: Allowance::new(limits::FILTERS_PROGRAM_BYTES_MAX),
            relayed: Allowance::new(limits::RELAYED_PER_SECOND_MAX),
            to_strangers: Allowance::new(limits::STRANGER_WORDS_PER_SECOND_MAX),
            nameless: Allowance::new(limits::NAMELESS_RELAYS_PER_SECOND_MAX),
        }
    }
}

/// What a query is asked for besides its name.
pub(super) struct Ask {
    pub(super) asker: Asker,
    pub(super) question: Question,
    /// How long words are waited for.
    pub(super) timeout: Duration,
}

impl Serf {
    /// Asks an operator's query.
    pub(super) fn query(&mut self, ctx: &mut Ctx<'_>, swim: &mut Swim, id: RequestId, question: Question) {
        let ping = *question.name == *internal_query::PING && question.payload.is_empty();
        if question.name.starts_with(internal_query::PREFIX) && !ping {
            return reply(ctx, id, Reply::Failed(CommandError::ReservedQuery));
        }
        let timeout = question.timeout.unwrap_or_else(|| default_timeout(ctx)).min(limits::DURATION_MAX);
        if let Err(error) = self.ask(ctx, swim, Ask { asker: Asker::Command(id), question, timeout }) {
            reply(ctx, id, Reply::Failed(error));
        }
    }

    /// Asks a query: its words come until its time is over, or until nothing more can come.
    pub(super) fn ask(&mut self, ctx: &mut Ctx<'_>, swim: &mut Swim, ask: Ask) -> Result<(), CommandError> {
        if ctx.config.versions.delegate_current() < QUERY_PROTOCOL {
            return Err(CommandError::Unsupported);
        }
        // Operators' queries may run for a year each: those of the cluster must not wait for them.
        let most = match ask.asker {
            Asker::Command(_) => limits::QUERIES_RUNNING_MAX.saturating_sub(limits::QUERIES_RESERVED),
            Asker::Keys | Asker::Conflict => limits::QUERIES_RUNNING_MAX,
        };
        if self.queries.running.len() >= most || ask.question.filters.len() > limits::FILTERS_MAX {
            return Err(CommandError::Busy);
        }
        let Ask { asker, question: Question { name, payload, filters, ack, relay_factor, .. }, timeout } = ask;
        let id = u32::try_from(ctx.rng.below_inclusive(Purpose::QueryId, u64::from(u32::MAX >> 1))).unwrap_or_default();
        let key = QueryKey { ltime: self.query_clock.time(), id: QueryId(id) };
        let query = Query {
            ltime: key.ltime,
            id: key.id,
            origin: ctx.config.advertise,
            node: ctx.config.name.clone(),
            filters,
            ack,
            no_broadcast: false,
            relay_factor,
            timeout,
            name,
            payload,
        };
        let limit = ctx.config.serf.query_bytes;
        if memberlist::query(&query).len() > limit {
            return Err(CommandError::QueryTooLong { limit });
        }
        self.query_clock.increment();
        if let Asker::Command(id) = asker {
            reply(ctx, id, Reply::QueryStarted);
        }
        self.begin(ctx, key, asker, &query);
        self.on_query(ctx, swim, &query);
        ctx.broadcast_numbered(SerfMessage::Query(Box::new(query)), &[]);
        self.end_if_complete(ctx, swim, key);
        Ok(())
    }

    fn begin(&mut self, ctx: &mut Ctx<'_>, key: QueryKey, asker: Asker, query: &Query) {
        self.queries.begun = self.queries.begun.saturating_add(1);
        let number = self.queries.begun;
        let waiting = self.queries.running.values().filter_map(|running| running.awaited.as_ref());
        let waiting = waiting.fold(0_usize, |sum, awaited| sum.saturating_add(awaited.len()));
        // The cluster's own are few, one at a time.
        let room = match asker {
            Asker::Command(_) => limits::AWAITED_MAX.saturating_sub(waiting),
            Asker::Keys | Asker::Conflict => usize::MAX,
        };
        let awaited = awaited(ctx, asker, query, room).unwrap_or_else(|bound| {
            ctx.dropped("early ends of queries", bound, 1);
            None
        });
        let running = Running {
            number,
            asker,
            acks: BTreeSet::new(),
            responses: BTreeSet::new(),
            awaited,
            acks_wanted: query.ack,
            words_max: ctx.table.live().len().saturating_add(LATECOMERS),
        };
        self.queries.running.insert(key, running);
        self.queries.numbers.insert(number, key);
        ctx.arm(TimerKind::QueryEnd(number), ctx.now + query.timeout);
    }

    /// The time of a query of our own is over.
    pub(super) fn on_query_end(&mut self, ctx: &mut Ctx<'_>, swim: &mut Swim, number: u64) {
        if let Some(&key) = self.queries.numbers.get(&number) {
            self.end_query(ctx, swim, key);
        }
    }

    /// Ends a query of our own that cannot bring more.
    pub(super) fn end_if_complete(&mut self, ctx: &mut Ctx<'_>, swim: &mut Swim, key: QueryKey) {
        let complete = |running: &Running| running.awaited.as_ref().is_some_and(BTreeSet::is_empty);
        if self.queries.running.get(&key).is_some_and(complete) {
            self.end_query(ctx, swim, key);
        }
    }

    /// Ends an operator's query before its time. Who is at answering it here may still do so, but not for as long as was asked.
    pub(super) fn end_query_of(&mut self, ctx: &mut Ctx<'_>, swim: &mut Swim, id: RequestId, query: RequestId) {
        let asked = |running: &Running| running.asker == Asker::Command(query);
        let found = self.queries.running.iter().find(|(_, running)| asked(running)).map(|(&key, _)| key);
        if let Some(key) = found {
            let until = ctx.now + default_timeout(ctx);
            self.queries.open.end_by(key, until);
            self.end_query(ctx, swim, key);
        }
        reply(ctx, id, Reply::QueryEnded);
    }

    fn end_query(&mut self, ctx: &mut Ctx<'_>, swim: &mut Swim, key: QueryKey) {
        let Some(running) = self.queries.running.remove(&key) else { return };
        self.queries.numbers.remove(&running.number);
        ctx.timers.disarm(TimerKind::QueryEnd(running.number));
        match running.asker {
            Asker::Command(id) => reply(ctx, id, Reply::QueryDone),
            Asker::Keys => self.on_key_query_end(ctx, swim),
            Asker::Conflict => self.on_vote_end(ctx),
        }
    }

    /// A query that came by gossip; one that is news is passed on, whoever it is for.
    pub(super) fn on_gossiped_query(&mut self, ctx: &mut Ctx<'_>, swim: &mut Swim, query: Box<Query>, original: &[u8]) {
        ctx.log(Log::Message("messageQueryType", Name::new(&query.name)));
        if self.on_query(ctx, swim, &query) && !query.no_broadcast {
            ctx.broadcast_numbered(SerfMessage::Query(query), original);
        }
    }

    /// Takes a query in; true if it is news.
    fn on_query(&mut self, ctx: &mut Ctx<'_>, swim: &mut Swim, query: &Query) -> bool {
        self.query_clock.witness(query.ltime);
        if !self.queries.seen.admit(self.query_clock.time(), query.ltime, query.id) {
            return false;
        }
        let lost = self.queries.seen.shrink();
        if lost > 0 {
            ctx.dropped("query memory", limits::QUERIES_SEEN_MAX, lost);
        }
        self.recorder.query(ctx, query.ltime);
        let tags = &ctx.table.own().info().tags();
        match filter::match_node(&mut self.queries.patterns, ctx.now, &query.filters, &ctx.config.name, tags) {
            Ok(true) => (),
            Ok(false) => return true,
            Err(bad) => {
                ctx.log(Log::BadFilter(bad.pattern, alloc::format!("{}", bad.error)));
                return true;
            }
        }
        let key = QueryKey { ltime: query.ltime, id: query.id };
        let origin = Origin { key, addr: query.origin, node: query.node.clone(), relay_factor: query.relay_factor };
        if query.ack {
            _ = self.say(ctx, swim, &origin, true, [].into());
        }
        if let Some(internal) = query.name.strip_prefix(internal_query::PREFIX) {
            self.on_internal_query(ctx, swim, origin, internal, &query.payload);
        } else {
            if !self.queries.open.insert(ctx.now, key, origin, ctx.now + query.timeout) {
                ctx.dropped("open queries", limits::QUERIES_OPEN_MAX, 1);
            }
            let event = QueryEvent { key, name: query.name.clone(), payload: query.payload.clone() };
            ctx.out.push(Output::Event(Box::new(Event::Query(event))));
        }
        true
    }

    /// Answers a query for the application: at most once, before its time is over.
    pub(super) fn respond(
        &mut self,
        ctx: &mut Ctx<'_>,
        swim: &mut Swim,
        id: RequestId,
        key: QueryKey,
        payload: Box<[u8]>,
    ) {
        let answer = match self.queries.open.get(key).cloned() {
            None => Err(CommandError::UnknownQuery),
            Some(Open { answered: true, until, .. }) => {
                Err(CommandError::AlreadyResponded { is_over: ctx.now > until })
            }
            Some(Open { until, .. }) if ctx.now > until => Err(CommandError::PastDeadline),
            Some(Open { origin, .. }) => self.say(ctx, swim, &origin, false, payload),
        };
        match answer {
            Ok(()) => {
                self.queries.open.set_answered(key);
                reply(ctx, id, Reply::Responded);
            }
            Err(error) => reply(ctx, id, Reply::Failed(error)),
        }
    }

    /// Says a word on a query to who asked, and has it passed on by others.
    pub(super) fn say(
        &mut self,
        ctx: &mut Ctx<'_>,
        swim: &mut Swim,
        origin: &Origin,
        ack: bool,
        payload: Box<[u8]>,
    ) -> Result<(), CommandError> {
        let QueryKey { ltime, id } = origin.key;
        let response = QueryResponse { ltime, id, from: ctx.config.name.clone(), ack, payload };
        let limit = ctx.config.serf.query_response_bytes;
        if memberlist::response(&response).len() > limit {
            return Err(CommandError::ResponseTooLong { limit });
        }
        if origin.addr == ctx.config.advertise {
            self.on_response(ctx, swim, response);
            return Ok(());
        }
        if !is_known(ctx, &origin.node, origin.addr) {
            if self.queries.to_strangers.left(ctx.now) == 0 {
                ctx.dropped("answers to strangers", limits::STRANGER_WORDS_PER_SECOND_MAX as usize, 1);
                return Ok(());
            }
            self.queries.to_strangers.take(ctx.now, 1);
        }
        let relay = Relay { to: origin.addr, node: origin.node.clone(), response };
        if memberlist::relay(&relay).len() <= limit {
            self.say_through_others(ctx, usize::from(origin.relay_factor), &relay);
        }
        let message = Message::Serf(SerfMessage::Response(relay.response));
        let to = ctx.to_named(&origin.node, origin.addr);
        ctx.send(Activity::Serf, to, &[message], Piggyback::None);
        Ok(())
    }

    /// Has a word passed on by that many others, as far as the allowance for it goes.
    fn say_through_others(&mut self, ctx: &mut Ctx<'_>, wanted: usize, relay: &Relay) {
        if wanted == 0 || ctx.table.known() <= wanted {
            return;
        }
        let helpers = wanted.min(self.queries.relayed.left(ctx.now));
        let lost = wanted.saturating_sub(helpers) as u64;
        if lost > 0 {
            ctx.dropped("relayed answers", limits::RELAYED_PER_SECOND_MAX as usize, lost);
        }
        if helpers == 0 {
            return;
        }
        let me = ctx.table.me();
        // U-25: who asked is no helper.
        let picked = ctx.table.draw(ctx.rng, Purpose::Relay, helpers, false, |slot, member| {
            slot != me
                && member.identity.addr != relay.to
                && member.state() == Some(SwimState::Alive)
                && member.identity.versions.protocol_max() >= RELAY_PROTOCOL
        });
        // Where so many cannot be found every member was looked at.
        let searched = if picked.len() < helpers { ctx.table.live().len() / MEMBERS_PER_WORD } else { 0 };
        self.queries.relayed.take(ctx.now, picked.len().saturating_add(searched));
        let message = Message::Serf(SerfMessage::Relay(relay.clone()));
        for slot in picked {
            if let Some(to) = ctx.to_slot(slot) {
                ctx.send(Activity::Serf, to, core::slice::from_ref(&message), Piggyback::None);
            }
        }
    }

    /// Passes a word on, once, to a member that is known to be there: nobody else is written to on a peer's say-so.
    pub(super) fn on_relay(&mut self, ctx: &mut Ctx<'_>, relay: Relay) {
        let Relay { to, node, response } = relay;
        let slot = if node.as_bytes().is_empty() {
            if self.queries.nameless.left(ctx.now) == 0 {
                return ctx.dropped("relays without a name", limits::NAMELESS_RELAYS_PER_SECOND_MAX as usize, 1);
            }
            self.queries.nameless.take(ctx.now, 1);
            ctx.table.entries().find(|(_, member)| member.identity.addr == to).map(|(slot, _)| slot)
        } else {
            let is_there = |slot: &Slot| ctx.table.find(*slot).is_some_and(|member| member.identity.addr == to);
            ctx.table.slot(&node).filter(is_there)
        };
        match slot.and_then(|slot| ctx.to_slot(slot)) {
            Some(to) => {
                ctx.send(Activity::Serf, to, &[Message::Serf(SerfMessage::Response(response))], Piggyback::None)
            }
            None => ctx.log(Log::RelayRefused(node, to)),
        }
    }

    /// A word on a query of our own; each member has one ack and one response.
    pub(super) fn on_response(&mut self, ctx: &mut Ctx<'_>, swim: &mut Swim, response: QueryResponse) {
        let QueryResponse { ltime, id, from, ack, payload } = response;
        ctx.log(Log::Message("messageQueryResponseType", from.clone()));
        let key = QueryKey { ltime, id };
        let Some(running) = self.queries.running.get_mut(&key) else { return ctx.log(Log::StrayResponse(from, key)) };
        let words = if ack { &mut running.acks } else { &mut running.responses };
        if words.contains(&from) {
            return;
        }
        if words.len() >= running.words_max {
            return ctx.dropped("words on one query", running.words_max, 1);
        }
        words.insert(from.clone());
        let complete = running.responses.contains(&from) && (!running.acks_wanted || running.acks.contains(&from));
        if let Some(awaited) = running.awaited.as_mut().filter(|_| complete) {
            awaited.remove(&from);
        }
        match (running.asker, ack) {
            (Asker::Command(id), true) => reply(ctx, id, Reply::QueryAck { from }),
            (Asker::Command(id), false) => reply(ctx, id, Reply::QueryResponse { from, payload }),
            (Asker::Keys, false) => self.on_key_response(ctx, from, &payload),
            (Asker::Conflict, false) => self.on_vote(ctx, &payload),
            (Asker::Keys | Asker::Conflict, true) => (),
        }
        self.end_if_complete(ctx, swim, key);
    }

    /// Checks that every query that runs has its end.
    pub(super) fn check_queries(&self, timers: &crate::timers::Timers) -> Result<(), alloc::string::String> {
        for (key, running) in &self.queries.running {
            let numbered = self.queries.numbers.get(&running.number) == Some(key);
            if !numbered || timers.deadline(TimerKind::QueryEnd(running.number)).is_none() {
                return Err(alloc::format!("query {key:?} has no end"));
            }
        }
        self.queries.open.check()?;
        self.queries.seen.check(self.query_clock.time())
    }
}

/// Whether a member of that name has that address, in either of its forms.
fn is_known(ctx: &Ctx<'_>, name: &Name, addr: GossipAddr) -> bool {
    let member = ctx.table.slot(name).and_then(|slot| ctx.table.find(slot));
    member.is_some_and(|member| member.identity.addr.socket_addr() == addr.socket_addr())
}

/// How long a query waits unless it says so: gossip interval x 16 x `ceil(log10(n + 1))`, n = members that are not
/// dead (protocol.md 2.8).
pub(super) fn default_timeout(ctx: &Ctx<'_>) -> Duration {
    let members = ctx.table.live().len() as u64;
    let mult = ctx.config.serf.query_timeout_mult.saturating_mul(ceil_log10(members.saturating_add(1)).max(1));
    ctx.config.swim.gossip_interval.saturating_mul(mult)
}

/// The members that can answer, as far as we know them (user-asks 25). A query that only wants acks is not answered, and
/// the reachability test that asks it measures its whole time: nothing ends it early.
///
/// # Errors
/// The bound, if there are more than `room` of them or it takes too long to find them.
fn awaited(ctx: &Ctx<'_>, asker: Asker, query: &Query, room: usize) -> Result<Option<BTreeSet<Name>>, usize> {
    if asker != Asker::Keys && query.name.starts_with(internal_query::PREFIX) {
        return Ok(None);
    }
    if query.filters.is_empty() && ctx.table.live().len() > room {
        return Err(limits::AWAITED_MAX);
    }
    let Ok(filters) = Filters::new(&query.filters) else { return Ok(None) };
    let mut bytes = limits::FILTERS_AWAITED_BYTES_MAX;
    let mut names = BTreeSet::new();
    for member in ctx.table.live().iter().filter_map(|&slot| ctx.table.find(slot)) {
        let asked = query.filters.is_empty()
            || filters
                .match_node(member.name(), &member.info().tags(), &mut bytes)
                .ok_or(limits::FILTERS_AWAITED_BYTES_MAX)?;
        if asked && names.len() >= room {
            return Err(limits::AWAITED_MAX);
        }
        if asked {
            names.insert(member.name().clone());
        }
    }
    // A filter that matches nobody whom we know may match somebody whom we do not know yet.
    Ok((!names.is_empty()).then_some(names))
}
