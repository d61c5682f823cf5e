//! The answering side of probes: acks, pings on behalf of others, nacks (protocol.md 1.4).

use serde::{Deserialize, Serialize};

use crate::ctx::{Ctx, Piggyback, To};
use crate::io::Activity;
use crate::limits;
use crate::swim::Swim;
use crate::swim::probe::{nack_delay, source};
use crate::timers::TimerKind;
use crate::types::SeqNo;
use crate::wire::{Ack, IndirectPing, Message, Ping, ReplyTo};

/// A ping on behalf of another member.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Relay {
    /// The originator's number.
    seq: SeqNo,
    originator: To,
    /// What may come along with an answer.
    piggyback: Piggyback,
}

impl Swim {
    /// A ping for another name is not answered: the address may have changed hands. One for nobody is for everybody.
    pub(super) fn on_ping(&mut self, ctx: &mut Ctx<'_>, from: To, ping: &Ping) {
        if is_for_us(ctx, ping) {
            let (to, piggyback) = answer_to(ctx, from, ping.source.as_ref());
            let ack = Message::Ack(Ack { seq: ping.seq, coordinate: ctx.coordinate() });
            ctx.send(Activity::Receiver, to, &[ack], piggyback);
        }
    }

    pub(super) fn on_indirect_ping(&mut self, ctx: &mut Ctx<'_>, from: To, ask: &IndirectPing) {
        if self.relays.len() >= limits::RELAYS_MAX {
            return ctx.dropped("pings for others", limits::RELAYS_MAX, 1);
        }
        let (originator, piggyback) = answer_to(ctx, from, ask.source.as_ref());
        let seq = self.next_seq();
        self.relays.insert(seq, Relay { seq: ask.seq, originator, piggyback });
        if ask.nack {
            ctx.arm(TimerKind::RelayNack(seq), ctx.now + nack_delay(&ctx.config.swim));
        }
        // An ack that comes after the nack still counts for the originator (U-01).
        ctx.arm(TimerKind::RelayEnd(seq), ctx.now + ctx.config.swim.probe_interval);
        let ping = Ping { seq, node: ask.node.clone(), source: source(ctx) };
        // Nothing is piggybacked: who is asked about may be gone, and what is sent to it would be lost.
        let to = ctx.to_named(&ask.node, ask.target.with_port_or(ctx.config.advertise.port()));
        ctx.send(Activity::Receiver, to, &[Message::Ping(ping)], Piggyback::None);
    }

    /// Passes an ack on, without its payload, if we pinged for somebody.
    pub(super) fn forward_ack(&mut self, ctx: &mut Ctx<'_>, seq: SeqNo) {
        if let Some(relay) = self.relays.remove(&seq) {
            ctx.timers.disarm(TimerKind::RelayNack(seq));
            ctx.timers.disarm(TimerKind::RelayEnd(seq));
            let ack = Message::Ack(Ack { seq: relay.seq, coordinate: None });
            ctx.send(Activity::Receiver, relay.originator, &[ack], relay.piggyback);
        }
    }

    pub(super) fn on_relay_nack(&self, ctx: &mut Ctx<'_>, seq: SeqNo) {
        if let Some(relay) = self.relays.get(&seq) {
            ctx.send(Activity::Nack, relay.originator, &[Message::Nack(relay.seq)], relay.piggyback);
        }
    }

    pub(super) fn end_relay(&mut self, ctx: &mut Ctx<'_>, seq: SeqNo) {
        self.relays.remove(&seq);
        ctx.timers.disarm(TimerKind::RelayNack(seq));
    }
}

/// Whether a ping is for us.
pub(crate) fn is_for_us(ctx: &Ctx<'_>, ping: &Ping) -> bool {
    ping.node == ctx.config.name || ping.node.as_bytes().is_empty()
}

/// Where an answer goes: where the question says, if that is the host that it came from or where we know the asker; else
/// where it came from. Nobody has us talk to a third.
///
/// Broadcasts come along to where we know the asker, and are not counted: a question can be a repeated one, and who
/// repeats it would have all that waits here sent to where it is of no use.
fn answer_to(ctx: &Ctx<'_>, from: To, source: Option<&ReplyTo>) -> (To, Piggyback) {
    let Some(source) = source else { return (from, Piggyback::None) };
    let to = To { addr: source.addr.socket_addr(), ..from };
    let member = ctx.table.slot(&source.node).and_then(|slot| ctx.table.find(slot));
    if member.is_some_and(|member| member.identity.addr.socket_addr() == to.addr) {
        (to, Piggyback::Free)
    } else if to.addr.ip() == from.addr.ip() {
        (to, Piggyback::None)
    } else {
        (from, Piggyback::None)
    }
}
