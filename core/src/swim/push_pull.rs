//! Push/pull: two members exchange everything they know (protocol.md 1.10).

use alloc::vec::Vec;
use core::time::Duration;

use crate::command::ExchangeError;
use crate::config::Wire;
use crate::ctx::Ctx;
use crate::log::Log;
use crate::rng::Purpose;
use crate::scale;
use crate::serf::tags::shows_native;
use crate::swim::member::Walk;
use crate::swim::rules::{News, Source, alive_of, is_same};
use crate::swim::{Exchange, ExchangeKind, Swim};
use crate::timers::TimerKind;
use crate::types::{Name, Slot};
use crate::wire::{Accused, Alive, Encoding, NodeState, PushPull, SwimState, WireError};

/// A view of fewer members is passed on by whoever is told it: that costs little, and where many join at one time it makes
/// up for the words that the first one's gossip does not get to everybody.
pub(crate) const VIEW_PASSED_ON_BELOW: usize = 512;

/// Which part of the interval, with its stagger, the first comparison comes after: three to six seconds with the profile lan.
const SETTLING_PART: u32 = 10;

impl Swim {
    pub(super) fn push_pull_interval(&self, ctx: &Ctx<'_>) -> Duration {
        scale::push_pull_interval(ctx.config.swim.push_pull_interval, ctx.members())
    }

    /// When the first push/pull is due, or the one after that of [`Swim::settling_time`]. Staggered over the whole interval of
    /// this cluster: upstream's all that start together exchange together for ever.
    pub(super) fn staggered_push_pull(&self, ctx: &Ctx<'_>) -> Duration {
        let stagger = scale::push_pull_interval(Duration::from_nanos(self.stagger), ctx.members());
        stagger + self.push_pull_interval(ctx)
    }

    /// When who has just found others compares what it knows with one of them: where many join at one time gossip misses
    /// one of them in one of some hundred cases, and the first push/pull may be a minute away.
    pub(super) fn settling_time(&self, ctx: &Ctx<'_>) -> Duration {
        (ctx.config.swim.push_pull_interval + Duration::from_nanos(self.stagger)) / SETTLING_PART
    }

    /// Begins the periodic exchange with one alive member.
    pub(super) fn on_push_pull_tick(&mut self, ctx: &mut Ctx<'_>) {
        let me = ctx.table.me();
        let peer = ctx.table.draw(ctx.rng, Purpose::PushPullPeer, 1, false, |slot, member| {
            slot != me && member.state() == Some(SwimState::Alive)
        });
        match peer.first().and_then(|&slot| ctx.table.find(slot)) {
            Some(member) => {
                let to = member.identity.addr.socket_addr();
                let name = member.name().clone();
                let encoding = ctx.spoken();
                ctx.log(Log::PushPullStart(name, to));
                self.streams.open_exchange(ctx, Exchange { kind: ExchangeKind::Periodic, to, encoding });
            }
            None => self.rearm_push_pull(ctx),
        }
    }

    /// The periodic exchange is over. A native one that has failed is repeated once in memberlist's encoding: the agent
    /// there may be another one by now.
    pub(crate) fn on_periodic_end(
        &mut self,
        ctx: &mut Ctx<'_>,
        exchange: Exchange,
        result: &Result<(), ExchangeError>,
    ) {
        if result.is_err() && exchange.encoding != ctx.opening() {
            return self.streams.open_exchange(ctx, Exchange { encoding: ctx.opening(), ..exchange });
        }
        if let Err(error) = result {
            ctx.log(Log::PushPullFailed(exchange.to, alloc::format!("{error}")));
        }
        self.rearm_push_pull(ctx);
    }

    /// The interval counts from the end of the last exchange.
    fn rearm_push_pull(&mut self, ctx: &mut Ctx<'_>) {
        let settled = core::mem::take(&mut self.settling);
        if ctx.table.has_live_others() {
            let next = if settled { self.staggered_push_pull(ctx) } else { self.push_pull_interval(ctx) };
            ctx.arm(TimerKind::PushPull, ctx.now + next);
        }
    }

    /// What we say about members: ourselves first, then everyone not forgotten, then those forgotten ones that
    /// `mention` picks: the peer itself, or whom the peer holds for alive with an old incarnation, so that the member
    /// hears what to refute (U-05).
    pub(crate) fn local_nodes(
        &self,
        ctx: &Ctx<'_>,
        mention: impl Fn(&crate::swim::member::Member) -> bool,
    ) -> Vec<NodeState> {
        let me = ctx.table.me();
        let mut nodes = Vec::with_capacity(ctx.table.known());
        nodes.push(NodeState {
            alive: alive_of(ctx.table.own()),
            state: ctx.table.own().state().unwrap_or(SwimState::Alive),
        });
        for (_, member) in ctx.table.entries().filter(|&(slot, _)| slot != me) {
            let state = member.state().or_else(|| mention(member).then_some(SwimState::Dead));
            nodes.extend(state.map(|state| NodeState { alive: alive_of(member), state }));
        }
        nodes
    }

    /// Takes a peer's view in. A peer whose own versions do not fit is refused, another such entry is skipped (U-14).
    ///
    /// Who knows nobody alive passes nothing of a large one on, because all to whom it could are in that view, whose owner tells them
    /// what is news there. Upstream passes everything on, which keeps a joiner of a cluster of 10,000 busy for minutes. With
    /// another exchange under way this does not hold: its peer was told of us alone, and learns of these members from us.
    ///
    /// # Errors
    /// There is not even the peer, its versions do not fit ours, or it does not speak what the configuration asks for.
    pub(crate) fn merge(
        &mut self,
        ctx: &mut Ctx<'_>,
        speaker: Option<&Alive>,
        nodes: Vec<NodeState>,
    ) -> Result<(), ExchangeError> {
        if nodes.is_empty() {
            return Err(ExchangeError::Wire(WireError::Malformed));
        }
        let versions = ctx.config.versions;
        if let Some(peer) = speaker
            && (!versions.accepts(peer.versions) || !peer.versions.accepts(versions))
        {
            return Err(ExchangeError::Incompatible { node: peer.node.clone() });
        }
        let told = nodes.len();
        // Most of a view is known already.
        let mut walk = Walk::default();
        let is_news =
            |node: &NodeState| !walk.slot(ctx.table, &node.alive.node).is_some_and(|slot| is_known(ctx, slot, node));
        let nodes: Vec<NodeState> = nodes.into_iter().filter(is_news).collect();
        // Who can be a member of a cluster with such members cannot be one of ours.
        let is_stranger = |node: &NodeState| node.state == SwimState::Alive && !shows_native(&node.alive.meta);
        if ctx.config.wire == Wire::Native && nodes.iter().any(is_stranger) {
            return Err(ExchangeError::Wire(WireError::NotSpoken(Encoding::Memberlist)));
        }
        // Of whom we do not know who it is the word counts as ours, as upstream has it.
        let accuser = speaker.map_or_else(|| ctx.config.name.clone(), |peer| peer.node.clone());
        let alone = told >= VIEW_PASSED_ON_BELOW && !ctx.table.has_live_others() && !self.streams.exchanges();
        let news = if alone { News::ToUsAlone } else { News::ToOthers };
        if alone {
            ctx.table.reserve(nodes.len());
        }
        let mut any = false;
        for NodeState { mut alive, state } in nodes {
            if state == SwimState::Alive && !versions.accepts(alive.versions) {
                ctx.log(Log::Incompatible(alive.node));
                continue;
            }
            alive.addr = alive.addr.with_port_or(ctx.config.advertise.port());
            any |= self.merge_node(ctx, &accuser, NodeState { alive, state }, news);
        }
        if any {
            self.arm_periodic(ctx);
        }
        Ok(())
    }

    /// Takes one member of a peer's view in; true if somebody is alive of whom that was not known.
    fn merge_node(&mut self, ctx: &mut Ctx<'_>, peer: &Name, node: NodeState, news: News) -> bool {
        let NodeState { alive, state } = node;
        let accused = |from: Name| Accused { node: alive.node.clone(), incarnation: alive.incarnation, from };
        match state {
            SwimState::Alive => return self.on_alive(ctx, alive, news),
            SwimState::Left => self.on_dead(ctx, accused(alive.node.clone())),
            SwimState::Dead | SwimState::Suspect => {
                let confirms = ctx.config.swim.lifeguard.hearsay_confirms;
                let from = if confirms { ctx.config.name.clone() } else { peer.clone() };
                self.on_suspect(ctx, accused(from), Source::Hearsay);
            }
        }
        false
    }
}

/// Whether a peer holds a member for alive and says nothing of it that its entry does not say: most of a push/pull.
fn is_known(ctx: &Ctx<'_>, slot: Slot, NodeState { alive, state }: &NodeState) -> bool {
    ctx.table.find(slot).is_some_and(|member| {
        *state == SwimState::Alive
            && member.state() == Some(*state)
            && member.incarnation == alive.incarnation
            && is_same(&member.identity, alive)
            // What does not show the sign, or has not always, is looked at more closely (`note_sign`).
            && member.is_native()
            && ctx.config.versions.accepts(alive.versions)
    })
}

/// Who speaks in a push/pull: in the native encoding the first member, in memberlist's the only one that is alive, or the
/// only one at the peer's address; `None`: that is not clear. `port`: whether the peer's port is the one of its gossip.
pub(crate) fn speaker(state: &PushPull, encoding: Encoding, peer: core::net::SocketAddr, port: bool) -> Option<Alive> {
    if encoding == Encoding::Native {
        return state.nodes.first().map(|node| node.alive.clone());
    }
    let is_there = |alive: &Alive| {
        let addr = alive.addr.socket_addr();
        addr.ip() == peer.ip() && (!port || addr.port() == peer.port())
    };
    let alive = || state.nodes.iter().filter(|node| node.state == SwimState::Alive).map(|node| &node.alive);
    only(alive()).or_else(|| only(alive().filter(|alive| is_there(alive)))).cloned()
}

fn only<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    items.next().filter(|_| items.next().is_none())
}
