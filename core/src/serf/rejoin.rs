//! After a restart the peers of the snapshot are contacted until one answers (protocol.md 2.13; user-asks 3).

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::join::jitter;
use crate::command::ExchangeError;
use crate::ctx::Ctx;
use crate::event::Status;
use crate::log::Log;
use crate::rng::Purpose;
use crate::serf::{Phase, Serf};
use crate::snapshot::{Notice, Parsed};
use crate::swim::{Exchange, ExchangeKind, Swim};
use crate::timers::TimerKind;
use crate::types::{GossipAddr, Name};

/// Rounds after which the time between two of them does not grow any more: 30 s, 1, 2, 4, 8 minutes and so on.
const DOUBLINGS_MAX: u32 = 4;
/// Time to the second round where reconnects are switched off.
const INTERVAL: Duration = Duration::from_secs(30);

/// The peers that the snapshot knows.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct SnapshotPeers {
    /// By name: thousands of members may be forgotten at one time.
    peers: BTreeMap<Name, Peer>,
    /// Who is still to be contacted in this round, and who is being contacted.
    round: VecDeque<(Name, GossipAddr)>,
    trying: Option<(Name, GossipAddr)>,
    rounds: u32,
    /// Whether the file named anybody, if only ourselves: then somebody waits for a word on the outcome.
    named: bool,
    notices: (Vec<Notice>, u64),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Peer {
    addr: GossipAddr,
    /// Whether it was alive when it was last heard of.
    alive: bool,
}

impl SnapshotPeers {
    /// Takes in whom the file knows, but for ourselves.
    pub(super) fn recall(&mut self, ctx: &Ctx<'_>, parsed: &Parsed) {
        self.named = parsed.book.alive().len() > 0;
        let alive = parsed.book.alive().map(|peer| (peer, true));
        let failed = parsed.book.failed().map(|peer| (peer, false));
        self.peers = failed
            .chain(alive)
            .filter(|((name, addr), _)| **name != ctx.config.name && **addr != ctx.config.advertise)
            .map(|((name, addr), alive)| (name.clone(), Peer { addr: *addr, alive }))
            .collect();
        self.notices = (parsed.notices.clone(), parsed.notices_dropped);
    }

    /// Forgets a peer.
    pub(super) fn forget(&mut self, name: &Name) {
        self.peers.remove(name);
    }

    /// The peers that are no members now: the file goes on to know them.
    pub(super) fn unknown(&self, ctx: &Ctx<'_>) -> Vec<(Name, GossipAddr, bool)> {
        let is_member = |name: &Name| {
            let member = ctx.table.slot(name).and_then(|slot| ctx.table.find(slot));
            member.is_some_and(|member| member.status != Status::None)
        };
        let unknown = self.peers.iter().filter(|&(name, _)| !is_member(name));
        unknown.map(|(name, peer)| (name.clone(), peer.addr, peer.alive)).collect()
    }
}

impl Serf {
    /// Says what was wrong with the file.
    pub(crate) fn log_snapshot(&mut self, ctx: &mut Ctx<'_>) {
        let (notices, more) = core::mem::take(&mut self.snapshot_peers.notices);
        for notice in notices {
            ctx.log(Log::Snapshot(notice));
        }
        if more > 0 {
            ctx.log(Log::SnapshotMore(more));
        }
    }

    /// Begins to contact the peers, if there are any.
    pub(crate) fn begin_rejoin(&mut self, ctx: &mut Ctx<'_>, swim: &mut Swim) {
        if !self.snapshot_peers.peers.is_empty() {
            self.on_snapshot_join(ctx, swim);
        } else if self.snapshot_peers.named {
            ctx.log(Log::SnapshotRejoinFailed(None));
        }
    }

    /// Begins a round: those who were alive in random order, then those who had failed.
    pub(super) fn on_snapshot_join(&mut self, ctx: &mut Ctx<'_>, swim: &mut Swim) {
        if self.phase != Phase::Alive || ctx.table.has_live_others() || self.snapshot_peers.trying.is_some() {
            return;
        }
        let peers = self.snapshot_peers.peers.iter().map(|(name, peer)| (name.clone(), peer.addr, peer.alive));
        let (mut alive, mut failed): (Vec<_>, Vec<_>) = peers.partition(|&(_, _, alive)| alive);
        ctx.rng.shuffle(Purpose::SnapshotOrder, &mut alive);
        ctx.rng.shuffle(Purpose::SnapshotOrder, &mut failed);
        self.snapshot_peers.round = alive.into_iter().chain(failed).map(|(name, addr, _)| (name, addr)).collect();
        self.try_next_peer(ctx, swim);
    }

    fn try_next_peer(&mut self, ctx: &mut Ctx<'_>, swim: &mut Swim) {
        self.snapshot_peers.trying = self.snapshot_peers.round.pop_front();
        if let Some((name, addr)) = self.snapshot_peers.trying.clone() {
            ctx.log(Log::SnapshotPeer(name, addr.socket_addr()));
            let exchange = Exchange::opening(ctx, ExchangeKind::Snapshot, addr.socket_addr());
            swim.streams().open_exchange(ctx, exchange);
            return;
        }
        let base = ctx.config.serf.reconnect_interval;
        let base = if base.is_zero() { INTERVAL } else { base };
        let wait = base.saturating_mul(1 << self.snapshot_peers.rounds.min(DOUBLINGS_MAX));
        let wait = wait.saturating_add(jitter(ctx, wait / 2));
        self.snapshot_peers.rounds = self.snapshot_peers.rounds.saturating_add(1);
        ctx.log(Log::SnapshotRejoinFailed(Some(wait)));
        ctx.arm(TimerKind::SnapshotJoin, ctx.now + wait);
    }

    /// The exchange with a peer is over: one that answers is enough.
    pub(crate) fn on_snapshot_exchange(
        &mut self,
        ctx: &mut Ctx<'_>,
        swim: &mut Swim,
        to: SocketAddr,
        result: &Result<(), ExchangeError>,
    ) {
        let Some((name, _)) = self.snapshot_peers.trying.take() else { return };
        match result {
            Ok(()) => {
                ctx.log(Log::SnapshotRejoined(name, to));
                self.snapshot_peers.round.clear();
            }
            Err(error) => {
                ctx.log(Log::SnapshotPeerFailed(name, to, alloc::format!("{error}")));
                // Somebody else may have found us meanwhile.
                if self.phase == Phase::Alive && !ctx.table.has_live_others() {
                    self.try_next_peer(ctx, swim);
                }
            }
        }
    }
}
