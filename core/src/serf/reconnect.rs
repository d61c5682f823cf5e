//! Reconnecting: failed members are contacted now and then, about one per member and interval in the whole cluster
//! (protocol.md 2.5).

use core::net::SocketAddr;

use crate::command::ExchangeError;
use crate::ctx::Ctx;
use crate::log::Log;
use crate::rng::Purpose;
use crate::serf::{Phase, Serf};
use crate::swim::{Exchange, ExchangeKind, Swim};
use crate::timers::TimerKind;

impl Serf {
    /// Tries while there is a failed member.
    pub(super) fn arm_reconnect(&self, ctx: &mut Ctx<'_>) {
        let interval = ctx.config.serf.reconnect_interval;
        if !interval.is_zero() && !self.failed.is_empty() && self.phase == Phase::Alive {
            ctx.arm_if_idle(TimerKind::Reconnect, ctx.now + interval);
        }
    }

    pub(super) fn on_reconnect(&mut self, ctx: &mut Ctx<'_>, swim: &mut Swim) {
        let failed = self.failed.len();
        let members = ctx.table.entries().filter(|(_, member)| member.status != crate::event::Status::None).count();
        let alive = members.saturating_sub(failed).saturating_sub(self.left.len());
        if !ctx.rng.ratio(Purpose::Reconnect, failed as u64, alive.max(1) as u64) {
            if failed > 0 {
                ctx.log(Log::ReconnectThrottled);
            }
        } else if let Some(member) =
            self.failed.iter().nth(ctx.rng.index(Purpose::Reconnect, failed)).and_then(|&slot| ctx.table.find(slot))
        {
            let (name, to) = (member.name().clone(), member.identity.addr.socket_addr());
            ctx.log(Log::Reconnect(name, to));
            let exchange = Exchange::opening(ctx, ExchangeKind::Reconnect, to);
            swim.streams().open_exchange(ctx, exchange);
        }
        self.arm_reconnect(ctx);
    }

    /// An attempt is over; success shows in the membership.
    pub(crate) fn on_reconnect_end(&self, ctx: &mut Ctx<'_>, to: SocketAddr, result: &Result<(), ExchangeError>) {
        if let Err(error) = result {
            ctx.log(Log::ReconnectFailed(to, alloc::format!("{error}")));
        }
    }
}
