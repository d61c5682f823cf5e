//! Push/pull: two members exchange everything they know (protocol.md 1.10).

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use crate::command::ExchangeError;
use crate::ctx::Ctx;
use crate::log::Log;
use crate::rng::Purpose;
use crate::scale;
use crate::swim::rules::{Source, alive_of};
use crate::swim::{Exchange, ExchangeKind, Swim};
use crate::timers::TimerKind;
use crate::types::Name;
use crate::wire::{Accused, NodeState, SwimState};

impl Swim {
    pub(super) fn push_pull_interval(&self, ctx: &Ctx<'_>) -> Duration {
        scale::push_pull_interval(ctx.config.swim.push_pull_interval, ctx.members())
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
                ctx.log(Log::PushPullStart(name, to));
                self.streams.open_exchange(ctx, Exchange { kind: ExchangeKind::Periodic, to });
            }
            None => self.rearm_push_pull(ctx),
        }
    }

    /// The periodic exchange is over.
    pub(crate) fn on_periodic_end(&mut self, ctx: &mut Ctx<'_>, to: SocketAddr, result: &Result<(), ExchangeError>) {
        if let Err(error) = result {
            ctx.log(Log::PushPullFailed(to, alloc::format!("{error}")));
        }
        self.rearm_push_pull(ctx);
    }

    /// The interval counts from the end of the last exchange.
    fn rearm_push_pull(&self, ctx: &mut Ctx<'_>) {
        if ctx.table.has_live_others() {
            ctx.arm(TimerKind::PushPull, ctx.now + self.push_pull_interval(ctx));
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

    /// Takes a peer's view in. Its own entry comes first: a peer whose versions do not fit is refused, another such
    /// entry is skipped (U-14).
    ///
    /// # Errors
    /// The peer's own versions do not fit ours.
    pub(crate) fn merge(&mut self, ctx: &mut Ctx<'_>, nodes: Vec<NodeState>) -> Result<(), ExchangeError> {
        let Some(peer) = nodes.first().map(|node| node.alive.clone()) else {
            return Err(ExchangeError::Wire(crate::wire::WireError::Malformed));
        };
        if !ctx.config.versions.accepts(peer.versions) || !peer.versions.accepts(ctx.config.versions) {
            return Err(ExchangeError::Incompatible { node: peer.node });
        }
        for node in nodes {
            if node.state == SwimState::Alive && !ctx.config.versions.accepts(node.alive.versions) {
                ctx.log(Log::Incompatible(node.alive.node));
                continue;
            }
            self.merge_node(ctx, &peer.node, node);
        }
        Ok(())
    }

    fn merge_node(&mut self, ctx: &mut Ctx<'_>, peer: &Name, node: NodeState) {
        let NodeState { alive, state } = node;
        let accused = |from: Name| Accused { node: alive.node.clone(), incarnation: alive.incarnation, from };
        match state {
            SwimState::Alive => self.on_alive(ctx, alive),
            SwimState::Left => self.on_dead(ctx, accused(alive.node.clone())),
            SwimState::Dead | SwimState::Suspect => {
                let confirms = ctx.config.swim.lifeguard.hearsay_confirms;
                let from = if confirms { ctx.config.name.clone() } else { peer.clone() };
                self.on_suspect(ctx, accused(from), Source::Hearsay);
            }
        }
    }
}
