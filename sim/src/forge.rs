//! Somebody who has the cluster's key and no place in it: packets that are sealed as they should be and say what is not so.
//!
//! What no member can defend itself against is left out, as it works on every Serf: a forged address takes a name over, a
//! forged prune forgets a member, a forged key query takes keys away.

use std::time::Duration;

use villein_core::config::Wire;
use villein_core::keyring::Keyring;
use villein_core::lamport::LamportTime;
use villein_core::types::{GossipAddr, Incarnation, Name, QueryId, SeqNo};
use villein_core::wire::memberlist::PacketForm;
use villein_core::wire::message::{
    Accused, Ack, Alive, IndirectPing, Intent, Message, Ping, Query, QueryResponse, SerfMessage, UserEvent,
};
use villein_core::wire::{Encoding, Envelope};

use crate::draw::{Draw, Purpose};
use crate::host::Waiting;
use crate::scenario::HostId;
use crate::world::World;

impl World<'_> {
    /// Sends a node so many forged packets from an address that is nobody's.
    pub(crate) fn forge(&mut self, host: HostId, count: u64) {
        let place = self.faults.forged.wrapping_add(u64::from(host.0) << 40);
        let mut draw = Draw::new(self.seed.wrapping_add(place), Purpose::Forge);
        let from = crate::network::addr(HostId(u32::try_from(self.hosts.len()).unwrap_or(u32::MAX)));
        let life = self.hosts[host.index()].life;
        for _ in 0..count {
            self.faults.forged += 1;
            let message = self.lie(&mut draw, GossipAddr::from(from));
            let bytes = self.sealed(&mut draw, host, &message);
            self.arrive(host, life, Waiting::Datagram { from, bytes });
        }
    }

    /// Seals a message as a member would; one in eight packets is damaged before that.
    fn sealed(&self, draw: &mut Draw, host: HostId, message: &Message) -> Box<[u8]> {
        let encoding = match self.hosts[host.index()].wire {
            Wire::Native => Encoding::Native,
            Wire::Memberlist => Encoding::Memberlist,
            Wire::Auto if draw.below(2) == 0 => Encoding::Native,
            Wire::Auto => Encoding::Memberlist,
        };
        let mut part = Vec::new();
        encoding.encode(message, &mut part);
        if draw.below(8) == 0 {
            part.truncate(1 + draw.index(part.len() - 1));
        }
        let keyring = match self.hosts[host.index()].node.as_ref().and_then(|node| node.keys().next().cloned()) {
            Some(key) => Keyring::new(vec![key]),
            None => Keyring::empty(),
        };
        let envelope = Envelope { keyring: &keyring, label: self.scenario.label.as_bytes() };
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&draw.next().to_le_bytes());
        let form = PacketForm { crc: draw.below(2) == 0, compress: draw.below(2) == 0 };
        encoding.seal_parts([part.as_slice()].into_iter(), envelope, nonce, form)
    }

    fn name(&self, draw: &mut Draw) -> Name {
        let place = draw.index(self.scenario.nodes.len());
        Name::from(self.scenario.nodes[place].name.as_str())
    }

    /// Something that is not so, about members that are there.
    fn lie(&self, draw: &mut Draw, from: GossipAddr) -> Message {
        let node = self.name(draw);
        let incarnation = Incarnation(u32::try_from(draw.below(8)).unwrap_or_default());
        let seq = SeqNo(u32::try_from(draw.below(1_000)).unwrap_or_default());
        let ltime = LamportTime(draw.below(200));
        let accused = |draw: &mut Draw| Accused { node: node.clone(), incarnation, from: self.name(draw) };
        let text = |text: &str| text.as_bytes().into();
        match draw.below(11) {
            0 => Message::Suspect(accused(draw)),
            1 => Message::Dead(accused(draw)),
            // A word of the member itself: who is dead has left.
            2 => Message::Dead(Accused { from: node.clone(), ..accused(draw) }),
            3 => self.alive(&node, incarnation),
            4 => Message::Ping(Ping { seq, node, source: None }),
            5 => Message::Ack(Ack { seq, coordinate: None }),
            6 => Message::Nack(seq),
            7 => Message::IndirectPing(IndirectPing { seq, node, target: from, nack: true, source: None }),
            8 => {
                let intent = Intent { ltime, node, prune: false };
                Message::Serf(if draw.below(2) == 0 { SerfMessage::Leave(intent) } else { SerfMessage::Join(intent) })
            }
            9 => {
                let payload = vec![b'x'; draw.index(400)].into();
                Message::Serf(SerfMessage::Event(UserEvent { ltime, name: text("forged"), payload, coalesce: false }))
            }
            _ => self.question(draw, ltime, node, from),
        }
    }

    /// An alive message with the member's own address and tags; a member that does not run says nothing.
    fn alive(&self, name: &Name, incarnation: Incarnation) -> Message {
        let seen = self.hosts.iter().filter_map(|host| host.node.as_ref()?.member(name)).next();
        match seen {
            Some(view) => Message::Alive(Alive {
                node: name.clone(),
                incarnation,
                addr: view.info.addr,
                meta: villein_core::serf::tags::encode(&view.info.tags()),
                versions: view.info.versions,
            }),
            None => Message::Nack(SeqNo(0)),
        }
    }

    /// A query, or an answer to one that may never have been asked.
    fn question(&self, draw: &mut Draw, ltime: LamportTime, node: Name, origin: GossipAddr) -> Message {
        let id = QueryId(u32::try_from(draw.below(1 << 32)).unwrap_or_default());
        if draw.below(2) == 0 {
            let response = QueryResponse { ltime, id, from: node, ack: draw.below(2) == 0, payload: Box::default() };
            return Message::Serf(SerfMessage::Response(response));
        }
        Message::Serf(SerfMessage::Query(Box::new(Query {
            ltime,
            id,
            origin,
            node,
            filters: Vec::new(),
            ack: true,
            no_broadcast: draw.below(2) == 0,
            relay_factor: u8::try_from(draw.below(4)).unwrap_or_default(),
            timeout: Duration::from_secs(draw.below(10)),
            name: b"forged".as_slice().into(),
            payload: Box::default(),
        })))
    }
}
