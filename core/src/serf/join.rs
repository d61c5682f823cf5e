//! Joins: by command, and again and again until somebody answers (protocol.md 1.11, 2.3; cli.md 3.7).

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::command::{CommandError, ExchangeError, JoinError, Reply};
use crate::ctx::Ctx;
use crate::event::{Event, ShutdownReason};
use crate::io::{Host, Output, RequestId, ResolveError, ResolveId};
use crate::limits;
use crate::log::Log;
use crate::rng::Purpose;
use crate::serf::{Phase, Serf, reply};
use crate::swim::{Exchange, ExchangeKind, Swim};
use crate::time::nanos;
use crate::timers::TimerKind;
use crate::types::{GossipAddr, JoinTarget, TargetAddr};

/// The joins that wait, the first one under way.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Joins {
    queue: VecDeque<Join>,
    resolves: u64,
    /// Attempts to reach the retry-join targets that have failed.
    retries: u32,
    /// Set once a retry-join target has answered: from then on the targets are seeds, tried while none is alive.
    standing: bool,
    /// The addresses that the retry-join targets last had (user-asks 4): the limits of a join bound them.
    seeds: BTreeMap<JoinTarget, BTreeSet<Addr>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Join {
    origin: Origin,
    targets: VecDeque<JoinTarget>,
    /// Addresses of the current target that are still to be contacted.
    addrs: VecDeque<Addr>,
    /// The answer that is waited for, the target, and its host that is being looked up.
    resolving: Option<(ResolveId, JoinTarget, String)>,
    replay: bool,
    begun: bool,
    contacted: u32,
    errors: Vec<JoinError>,
}

impl Join {
    /// Notes what was not reached, and logs it at once: a join that reaches somebody else has no other line of it.
    fn missed(&mut self, ctx: &mut Ctx<'_>, error: JoinError) {
        ctx.log(Log::JoinTargetFailed(error.clone()));
        self.errors.push(error);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Addr(#[serde(with = "crate::types::socket_addr")] SocketAddr);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Origin {
    Command(RequestId),
    Retry,
}

impl Serf {
    /// Queues an operator's join; one runs at a time.
    pub(super) fn join(
        &mut self,
        ctx: &mut Ctx<'_>,
        swim: &mut Swim,
        id: RequestId,
        targets: Vec<JoinTarget>,
        replay: bool,
    ) {
        if self.phase != Phase::Alive {
            return reply(ctx, id, Reply::Failed(CommandError::NotAlive));
        }
        if self.joins.queue.len() >= limits::JOINS_MAX || targets.len() > limits::JOIN_TARGETS_MAX {
            return reply(ctx, id, Reply::Failed(CommandError::Busy));
        }
        self.queue_join(ctx, swim, Origin::Command(id), targets, replay);
    }

    /// Begins an attempt to reach the retry-join targets.
    pub(super) fn on_retry_join(&mut self, ctx: &mut Ctx<'_>, swim: &mut Swim) {
        if self.phase != Phase::Alive {
            return;
        }
        let Some(retry) = &ctx.config.serf.retry_join else { return };
        let (targets, replay) = (retry.targets.clone(), retry.replay);
        if self.joins.standing {
            if self.seed_lives(ctx) {
                return;
            }
            ctx.log(Log::SeedsGone);
        }
        ctx.log(Log::RetryJoin(replay));
        self.queue_join(ctx, swim, Origin::Retry, targets, replay);
    }

    fn queue_join(
        &mut self,
        ctx: &mut Ctx<'_>,
        swim: &mut Swim,
        origin: Origin,
        targets: Vec<JoinTarget>,
        replay: bool,
    ) {
        self.joins.queue.push_back(Join {
            origin,
            targets: targets.into(),
            addrs: VecDeque::new(),
            resolving: None,
            replay,
            begun: false,
            contacted: 0,
            errors: Vec::new(),
        });
        if self.joins.queue.len() == 1 {
            self.advance_join(ctx, swim);
        }
    }

    /// Takes the first join one step on: to its next address, its next target, or its end; then the next join.
    fn advance_join(&mut self, ctx: &mut Ctx<'_>, swim: &mut Swim) {
        while let Some(join) = self.joins.queue.front_mut() {
            if !core::mem::replace(&mut join.begun, true) {
                ctx.log(Log::Joining(join.targets.iter().cloned().collect(), join.replay));
            }
            if let Some(Addr(to)) = join.addrs.pop_front() {
                let exchange = Exchange::opening(ctx, ExchangeKind::Join, to);
                swim.streams().open_exchange(ctx, exchange);
                return;
            }
            let Some(target) = join.targets.pop_front() else {
                if let Some(done) = self.joins.queue.pop_front() {
                    self.end_join(ctx, done);
                }
                continue;
            };
            match target.read(ctx.config.advertise.port()) {
                TargetAddr::Addr(addr) => {
                    join.addrs.push_back(Addr(addr));
                    if join.origin == Origin::Retry {
                        self.joins.seeds.insert(target, BTreeSet::from([Addr(addr)]));
                    }
                }
                TargetAddr::Bad(reason) => join.missed(ctx, JoinError::Resolve { target: target.to_string(), reason }),
                TargetAddr::Host(name, port) => {
                    self.joins.resolves = self.joins.resolves.saturating_add(1);
                    let id = ResolveId(self.joins.resolves);
                    join.resolving = Some((id, target, name.clone()));
                    ctx.out.push(Output::Resolve { id, host: Box::new(Host { name, port }) });
                    return;
                }
            }
        }
    }

    /// Whether the join under way does not want the user events of the cluster's past (U-35: only its own exchanges).
    pub(crate) fn joins_without_replay(&self) -> bool {
        self.joins.queue.front().is_some_and(|join| !join.replay)
    }

    /// The resolver has answered; an answer that nobody waits for is ignored.
    pub(crate) fn on_resolved(
        &mut self,
        ctx: &mut Ctx<'_>,
        swim: &mut Swim,
        id: ResolveId,
        result: Result<Box<[SocketAddr]>, ResolveError>,
    ) {
        let Some(join) = self.joins.queue.front_mut() else { return };
        let Some((_, target, host)) = join.resolving.take_if(|(waiting, ..)| *waiting == id) else { return };
        let result = result.map_err(|ResolveError(reason)| reason).and_then(|addrs| {
            if addrs.is_empty() { Err(alloc::format!("lookup {host}: no such host")) } else { Ok(addrs) }
        });
        match result {
            Ok(addrs) => {
                // The resolver's order is kept; an address that it gives twice is contacted once.
                let mut seen = BTreeSet::new();
                join.addrs.extend(addrs.iter().filter(|&&addr| seen.insert(addr)).map(|&addr| Addr(addr)));
                let over = join.addrs.len().saturating_sub(limits::RESOLVED_MAX);
                join.addrs.truncate(limits::RESOLVED_MAX);
                if over > 0 {
                    ctx.dropped("addresses of one name", limits::RESOLVED_MAX, over as u64);
                }
                if join.origin == Origin::Retry {
                    self.joins.seeds.insert(target, join.addrs.iter().copied().collect());
                }
            }
            Err(reason) => {
                // The name server may be as far away as the seeds: what it said last is better than nothing.
                if join.origin == Origin::Retry {
                    join.addrs.extend(self.joins.seeds.get(&target).into_iter().flatten());
                }
                join.missed(ctx, JoinError::Resolve { target: target.to_string(), reason });
            }
        }
        self.advance_join(ctx, swim);
    }

    /// The exchange with one address is over.
    pub(crate) fn on_join_exchange(
        &mut self,
        ctx: &mut Ctx<'_>,
        swim: &mut Swim,
        to: SocketAddr,
        result: Result<(), ExchangeError>,
    ) {
        if let Some(join) = self.joins.queue.front_mut() {
            match result {
                Ok(()) => join.contacted = join.contacted.saturating_add(1),
                Err(reason) => {
                    join.missed(ctx, JoinError::Contact { host: alloc::format!("{}", to.ip()), reason });
                }
            }
            self.advance_join(ctx, swim);
        }
    }

    fn end_join(&mut self, ctx: &mut Ctx<'_>, join: Join) {
        let Join { origin, contacted, errors, .. } = join;
        if contacted > 0 {
            self.announce_join(ctx);
            ctx.log(Log::Joined(contacted));
        } else if !errors.is_empty() {
            ctx.log(Log::JoinFailed(errors.clone()));
        }
        match origin {
            Origin::Command(id) => reply(ctx, id, Reply::Joined { contacted, errors }),
            Origin::Retry if contacted > 0 => {
                self.joins.standing = true;
                ctx.log(Log::JoinCompleted(contacted));
                self.arm_seeds(ctx);
            }
            Origin::Retry => self.retry_later(ctx, errors),
        }
    }

    /// Whether a seed is a member that is not dead, or there is none but ourselves. The name server may give our own address
    /// alone to the first that asks: while nobody else is there, that answer is no seed.
    fn seed_lives(&self, ctx: &Ctx<'_>) -> bool {
        let me = Addr(ctx.config.advertise.socket_addr());
        let seeds = &self.joins.seeds;
        if seeds.values().flatten().all(|&seed| seed == me) {
            let is_name = |target: &JoinTarget| matches!(target.read(me.0.port()), TargetAddr::Host(..));
            return ctx.table.has_live_others() || !seeds.keys().any(is_name);
        }
        let own = ctx.table.me();
        let mut live = ctx.table.live().iter().filter(|&&slot| slot != own).filter_map(|&slot| ctx.table.find(slot));
        live.any(|member| {
            let addr = Addr(member.identity.addr.socket_addr());
            seeds.values().any(|addrs| addrs.contains(&addr))
        })
    }

    /// Standing seeds (user-asks 1): while none of the retry-join targets is alive they are tried again, slowly. Without
    /// that a node which everybody has forgotten would stay alone for ever.
    pub(super) fn arm_seeds(&self, ctx: &mut Ctx<'_>) {
        let Some(interval) = ctx.config.serf.retry_join.as_ref().map(|retry| retry.interval) else { return };
        if self.joins.standing && self.phase == Phase::Alive && !self.seed_lives(ctx) {
            let jitter = jitter(ctx, interval);
            ctx.arm_if_idle(TimerKind::RetryJoin, ctx.now + interval + jitter);
        }
    }

    /// A member has gone: the last seed, if it had a seed's address or nobody else is left. Thousands may go at one time, and
    /// to look for a seed is to look through those who stay.
    pub(super) fn on_gone(&self, ctx: &mut Ctx<'_>, addr: GossipAddr) {
        let addr = Addr(addr.socket_addr());
        if self.joins.seeds.values().any(|addrs| addrs.contains(&addr)) || !ctx.table.has_live_others() {
            self.arm_seeds(ctx);
        }
    }

    /// After a leave that is taken back the targets are tried again, whether one of them has ever answered or not.
    pub(super) fn resume_retry_join(&self, ctx: &mut Ctx<'_>) {
        let Some(interval) = ctx.config.serf.retry_join.as_ref().map(|retry| retry.interval) else { return };
        if self.joins.standing {
            return self.arm_seeds(ctx);
        }
        ctx.arm_if_idle(TimerKind::RetryJoin, ctx.now + interval);
    }

    /// N as the largest number of retries makes N + 1 attempts; 0 never ends (cli.md 3.7).
    fn retry_later(&mut self, ctx: &mut Ctx<'_>, errors: Vec<JoinError>) {
        let Some((interval, max)) = ctx.config.serf.retry_join.as_ref().map(|retry| (retry.interval, retry.max)) else {
            return;
        };
        if self.joins.standing {
            let jitter = jitter(ctx, interval);
            ctx.log(Log::RetryJoinFailed(errors, interval + jitter));
            return ctx.arm(TimerKind::RetryJoin, ctx.now + interval + jitter);
        }
        self.joins.retries = self.joins.retries.saturating_add(1);
        if max > 0 && self.joins.retries > max {
            ctx.log(Log::RetryJoinExhausted);
            ctx.out.push(Output::Event(Box::new(Event::Shutdown(ShutdownReason::RetryJoinExhausted))));
        } else {
            ctx.log(Log::RetryJoinFailed(errors, interval));
            ctx.arm(TimerKind::RetryJoin, ctx.now + interval);
        }
    }
}

/// Between nothing and `interval`, so that those who lost a seed together do not come back together.
pub(super) fn jitter(ctx: &mut Ctx<'_>, interval: Duration) -> Duration {
    Duration::from_nanos(ctx.rng.below_inclusive(Purpose::Retry, nanos(interval)))
}
