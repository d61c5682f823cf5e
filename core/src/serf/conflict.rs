//! Two nodes of one name: the members are asked who is right (protocol.md 2.9; U-27).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::internal_query;
use super::key_payload::read_map;
use super::query::{Ask, Asker, default_timeout};
use crate::command::Question;
use crate::ctx::Ctx;
use crate::event::{Event, ShutdownReason, Status};
use crate::io::Output;
use crate::log::Log;
use crate::msgpack::{Dialect, Limits, ReadError, Reader, Writer};
use crate::serf::{Phase, Serf};
use crate::swim::Swim;
use crate::time::Time;
use crate::types::{GossipAddr, Name, Slot};

/// First byte of an answer (gossip-wire.md 6.6).
const TESTIMONY: u8 = 6;
/// Time between two votes: while the other node stays, every exchange brings the conflict up again.
const BACK_OFF: Duration = Duration::from_secs(60);

/// The vote about our own name.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Vote {
    running: bool,
    next: Time,
    /// Members that know who bears the name.
    answers: u32,
    /// Those of them that mean us.
    ours: u32,
}

impl Serf {
    /// Another address claims a member's name.
    pub(super) fn on_conflict(&mut self, ctx: &mut Ctx<'_>, swim: &mut Swim, slot: Slot, theirs: GossipAddr) {
        if slot != ctx.table.me() {
            if let Some(member) = ctx.table.find(slot) {
                ctx.log(Log::NameConflict(member.name().clone(), member.identity.addr, theirs));
            }
            return;
        }
        let resolve = ctx.config.serf.resolve_conflicts;
        ctx.log(Log::OwnNameConflict(theirs, resolve));
        if !resolve || self.vote.running || ctx.now < self.vote.next || self.phase != Phase::Alive {
            return;
        }
        let timeout = default_timeout(ctx);
        let question = Question {
            name: internal_query::CONFLICT.into(),
            payload: ctx.config.name.as_bytes().into(),
            filters: [].into(),
            ack: false,
            relay_factor: 0,
            timeout: None,
        };
        self.vote = Vote { running: true, next: ctx.now + timeout + BACK_OFF, ..Vote::default() };
        if let Err(error) = self.ask(ctx, swim, Ask { asker: Asker::Conflict, question, timeout }) {
            self.vote.running = false;
            ctx.log(Log::InternalQueryFailed(b"conflict".as_slice().into(), alloc::format!("{error}")));
        }
    }

    /// A member says who bears the name; one that does not know has no vote.
    pub(super) fn on_vote(&mut self, ctx: &Ctx<'_>, payload: &[u8]) {
        let Some((name, addr)) = read_testimony(payload) else { return };
        if name == ctx.config.name {
            self.vote.answers = self.vote.answers.saturating_add(1);
            if addr.socket_addr() == ctx.config.advertise.socket_addr() {
                self.vote.ours = self.vote.ours.saturating_add(1);
            }
        }
    }

    /// The vote is over. Without one answer nobody is right, and both go on (U-27).
    pub(super) fn on_vote_end(&mut self, ctx: &mut Ctx<'_>) {
        self.vote.running = false;
        let Vote { answers, ours, .. } = self.vote;
        if answers == 0 {
            ctx.log(Log::ConflictUndecided);
        } else if ours > answers / 2 {
            ctx.log(Log::ConflictWon(ours, answers));
        } else {
            ctx.log(Log::ConflictLost(ours, answers));
            ctx.out.push(Output::Event(Box::new(Event::Shutdown(ShutdownReason::NameConflict))));
        }
    }
}

/// Whom we know by that name, as an answer: a member record, or nothing.
pub(super) fn testimony(ctx: &Ctx<'_>, name: &[u8]) -> Box<[u8]> {
    let mut writer = Writer::append_to(Dialect::Gossip, [TESTIMONY].into());
    let member = ctx.table.slot(&Name::new(name)).and_then(|slot| ctx.table.find(slot));
    let Some(info) = member.filter(|member| member.status != Status::None).map(crate::swim::member::Member::info)
    else {
        writer.nil();
        return writer.finish().into();
    };
    let versions = info.versions;
    writer.map(11).text("Addr").blob(info.addr.ip_bytes());
    for (key, version) in [
        ("DelegateCur", versions.delegate_current()),
        ("DelegateMax", versions.delegate_max()),
        ("DelegateMin", versions.delegate_min()),
    ] {
        writer.text(key).uint(u64::from(version));
    }
    writer.text("Name").text(info.name.as_bytes()).text("Port").uint(u64::from(info.addr.port()));
    for (key, version) in [
        ("ProtocolCur", versions.protocol_current()),
        ("ProtocolMax", versions.protocol_max()),
        ("ProtocolMin", versions.protocol_min()),
    ] {
        writer.text(key).uint(u64::from(version));
    }
    let status = match info.status {
        Status::None => 0,
        Status::Alive => 1,
        Status::Leaving => 2,
        Status::Left => 3,
        Status::Failed => 4,
    };
    let tags = info.tags();
    writer.text("Status").uint(status).text("Tags").map(tags.len());
    for (key, value) in &tags {
        writer.text(key).text(value);
    }
    writer.finish().into()
}

/// Reads name and address of a member record; `None`: there is none.
fn read_testimony(payload: &[u8]) -> Option<(Name, GossipAddr)> {
    let (&TESTIMONY, rest) = payload.split_first()? else { return None };
    let mut reader = Reader::new(rest, Limits { length: payload.len(), depth: 4 });
    if reader.nil().ok()? {
        return None;
    }
    let (mut name, mut ip, mut port) = (Vec::new(), Vec::new(), 0);
    read_map(&mut reader, |key, reader| {
        match key {
            b"Name" => name = reader.text()?.to_vec(),
            b"Addr" => ip = reader.blob()?.unwrap_or_default(),
            b"Port" => port = u16::try_from(reader.uint()?).map_err(|_| ReadError::Invalid("a port"))?,
            _ => reader.skip()?,
        }
        Ok(())
    })
    .ok()?;
    Some((Name::new(name), GossipAddr::from_bytes(&ip, port)?))
}
