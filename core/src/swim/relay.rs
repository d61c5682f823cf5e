//! The answering side of probes: acks, pings on behalf of others, nacks (protocol.md 1.4).

use core::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::ctx::Ctx;
use crate::io::Activity;
use crate::limits;
use crate::swim::Swim;
use crate::swim::probe::{nack_delay, source};
use crate::timers::TimerKind;
use crate::types::{GossipAddr, SeqNo};
use crate::wire::{Ack, IndirectPing, Message, Ping};

/// A ping on behalf of another member.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Relay {
    /// The originator's number.
    seq: SeqNo,
    #[serde(with = "crate::types::socket_addr")]
    originator: SocketAddr,
}

impl Swim {
    /// A ping for another name is not answered: the address may have changed hands.
    pub(super) fn on_ping(&mut self, ctx: &mut Ctx<'_>, from: SocketAddr, ping: &Ping) {
        if ping.node == ctx.config.name {
            let to = ping.source.as_ref().map_or(from, GossipAddr::socket_addr);
            let ack = Message::Ack(Ack { seq: ping.seq, coordinate: ctx.coordinate() });
            ctx.send(Activity::Receiver, to, &[ack], true);
        }
    }

    pub(super) fn on_indirect_ping(&mut self, ctx: &mut Ctx<'_>, from: SocketAddr, ask: &IndirectPing) {
        if self.relays.len() >= limits::RELAYS_MAX {
            return ctx.dropped("pings for others", limits::RELAYS_MAX, 1);
        }
        let originator = ask.source.as_ref().map_or(from, GossipAddr::socket_addr);
        let seq = self.next_seq();
        self.relays.insert(seq, Relay { seq: ask.seq, originator });
        if ask.nack {
            ctx.arm(TimerKind::RelayNack(seq), ctx.now + nack_delay(&ctx.config.swim));
        }
        // An ack that comes after the nack still counts for the originator (U-01).
        ctx.arm(TimerKind::RelayEnd(seq), ctx.now + ctx.config.swim.probe_interval);
        let ping = Ping { seq, node: ask.node.clone(), source: source(ctx) };
        // Nothing is piggybacked: who is asked about may be gone, and what is sent to it would be lost.
        ctx.send(Activity::Receiver, ask.target.socket_addr(), &[Message::Ping(ping)], false);
    }

    /// Passes an ack on, without its payload, if we pinged for somebody.
    pub(super) fn forward_ack(&mut self, ctx: &mut Ctx<'_>, seq: SeqNo) {
        if let Some(relay) = self.relays.remove(&seq) {
            ctx.timers.disarm(TimerKind::RelayNack(seq));
            ctx.timers.disarm(TimerKind::RelayEnd(seq));
            let ack = Message::Ack(Ack { seq: relay.seq, coordinate: None });
            ctx.send(Activity::Receiver, relay.originator, &[ack], true);
        }
    }

    pub(super) fn on_relay_nack(&self, ctx: &mut Ctx<'_>, seq: SeqNo) {
        if let Some(relay) = self.relays.get(&seq) {
            ctx.send(Activity::Nack, relay.originator, &[Message::Nack(relay.seq)], true);
        }
    }

    pub(super) fn end_relay(&mut self, ctx: &mut Ctx<'_>, seq: SeqNo) {
        self.relays.remove(&seq);
        ctx.timers.disarm(TimerKind::RelayNack(seq));
    }
}
