//! The core's values as RPC clients see them (rpc.md 6).

use villein_core::command::KeyOutcome;
use villein_core::coordinate::Coordinate;
use villein_core::event::{Event, MemberEventKind, MemberInfo};
use villein_core::node::MemberView;
use villein_core::rpc::{self, KeyOperation, StreamEvent};
use villein_core::wire::Encoding;

/// A member of a listing; `encodings`: whether what it understands is wanted too.
pub(crate) fn listed(view: &MemberView, encodings: bool) -> rpc::Member {
    let encoding = if view.native { Encoding::Native } else { Encoding::Memberlist };
    rpc::Member { encoding: encodings.then(|| encoding.name().into()), ..member(&view.info) }
}

/// A member.
pub(crate) fn member(info: &MemberInfo) -> rpc::Member {
    let versions = info.versions;
    rpc::Member {
        name: info.name.as_bytes().to_vec(),
        addr: info.addr.ip_bytes().to_vec(),
        port: info.addr.port(),
        tags: info.tags().into_iter().collect(),
        status: info.status.to_string().into_bytes(),
        protocol: [versions.protocol_min(), versions.protocol_max(), versions.protocol_current()],
        delegate: [versions.delegate_min(), versions.delegate_max(), versions.delegate_current()],
        encoding: None,
    }
}

/// A network coordinate.
pub(crate) fn coordinate(coordinate: Coordinate) -> rpc::Coordinate {
    let Coordinate { vec, error, adjustment, height } = coordinate;
    rpc::Coordinate { adjustment, error, height, vec: vec.to_vec() }
}

/// What became of a key operation, with what it has asked for.
pub(crate) fn keys(outcome: KeyOutcome, operation: KeyOperation) -> rpc::KeyReport {
    let messages = outcome.messages.into_iter();
    let keys = outcome.keys.into_iter().map(|(key, count)| (key.into_bytes(), count.into()));
    let bytes = |ring: Vec<String>| ring.into_iter().map(String::into_bytes).collect();
    let rings = outcome.rings.into_iter().map(|(name, ring)| (name.as_bytes().to_vec(), Some(bytes(ring))));
    let silent = outcome.missing.iter().map(|name| (name.as_bytes().to_vec(), None));
    rpc::KeyReport {
        messages: messages.map(|(name, text)| (name.as_bytes().to_vec(), text.into_bytes())).collect(),
        keys: operation.is_question().then(|| keys.collect()),
        nodes: outcome.nodes.into(),
        errors: outcome.errors.into(),
        responses: outcome.responses.into(),
        rings: (operation == KeyOperation::Status).then(|| rings.chain(silent).collect()),
    }
}

/// What a stream shows of an event; `None`: nothing.
pub(crate) fn stream_event(event: &Event) -> Option<StreamEvent> {
    Some(match event {
        Event::Members { kind, members } => {
            StreamEvent::Members { kind: kind_name(*kind), members: members.iter().map(member).collect() }
        }
        Event::User(event) => StreamEvent::User {
            ltime: event.ltime.0,
            name: event.name.to_vec(),
            payload: payload(&event.payload),
            coalesce: event.coalesce,
        },
        Event::Query(query) => {
            StreamEvent::Query { ltime: query.key.ltime.0, name: query.name.to_vec(), payload: payload(&query.payload) }
        }
        Event::Shutdown(_) => return None,
    })
}

/// A payload of a record; an empty one is nil, as upstream writes it (rpc.md 2).
pub(crate) fn payload(bytes: &[u8]) -> Option<Vec<u8>> {
    (!bytes.is_empty()).then(|| bytes.to_vec())
}

/// The name of an event on the wire.
const fn kind_name(kind: MemberEventKind) -> &'static str {
    match kind {
        MemberEventKind::Join => "member-join",
        MemberEventKind::Leave => "member-leave",
        MemberEventKind::Failed => "member-failed",
        MemberEventKind::Update => "member-update",
        MemberEventKind::Reap => "member-reap",
    }
}
