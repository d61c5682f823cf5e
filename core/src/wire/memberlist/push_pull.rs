//! The exchange of everything (gossip-wire.md 2.1 and 6.3): a head, the members, the state of the layer above.

use alloc::vec::Vec;

use super::fields::{self, Raw};
use super::swim::AliveFields;
use super::{kind, reader};
use crate::lamport::LamportTime;
use crate::limits;
use crate::msgpack::{Dialect, ReadError, Reader, Writer};
use crate::types::{Name, Versions};
use crate::wire::{Budget, EventsAt, Fired, NodeState, PushPull, SerfState, SwimState, WireError};

/// Type byte of the state of the layer above.
const SERF_STATE: u8 = 2;
/// Bytes of the shortest entry of a list that may be one at all.
const ENTRY_BYTES_MIN: usize = 1;
/// Places of upstream's ring of user events; an event stands at its Lamport time modulo this.
const RING: u64 = 512;

/// What stands before the members.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Head {
    join: bool,
    pub(super) nodes: usize,
    pub(super) serf_bytes: usize,
}

impl Head {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let (mut nodes, mut serf_bytes, mut join) = (0, 0, false);
        reader.structure(&["Nodes", "UserStateLen", "Join"], |reader, field| {
            match field {
                "Nodes" => nodes = fields::int(reader)?,
                "UserStateLen" => serf_bytes = fields::int(reader)?,
                _ => join = reader.boolean()?,
            }
            Ok(())
        })?;
        let nodes = usize::try_from(nodes).ok().filter(|&nodes| nodes <= limits::PUSH_PULL_NODES_MAX);
        let nodes = nodes.ok_or(WireError::OutOfRange)?;
        let serf_bytes = usize::try_from(serf_bytes).map_err(|_| WireError::OutOfRange)?;
        Ok(Self { join, nodes, serf_bytes })
    }
}

pub(super) fn write(PushPull { join, nodes, serf, unreadable: _ }: &PushPull, writer: &mut Writer) {
    let state = write_state(serf);
    writer.raw_byte(kind::PUSH_PULL).map(3).text("Join").boolean(*join);
    writer.text("Nodes").uint(nodes.len() as u64).text("UserStateLen").uint(state.len() as u64);
    for node in nodes {
        write_node(node, writer);
    }
    writer.raw_bytes(&state);
}

fn write_node(NodeState { alive, state }: &NodeState, writer: &mut Writer) {
    writer.map(7).text("Addr").blob(alive.addr.ip_bytes());
    writer.text("Incarnation").uint(u64::from(alive.incarnation.0)).text("Meta").blob(alive.meta.as_bytes());
    writer.text("Name").text(alive.node.as_bytes()).text("Port").uint(u64::from(alive.addr.port()));
    writer.text("State").uint(*state as u64).text("Vsn").blob(&alive.versions.0);
}

/// A peer whose clocks have not begun has no such layer: nothing is written.
fn write_state(state: &SerfState) -> Vec<u8> {
    if *state == SerfState::default() {
        return Vec::new();
    }
    let SerfState { ltime, event_ltime, query_ltime, statuses, left, events } = state;
    let mut writer = Writer::append_to(Dialect::Gossip, [SERF_STATE].into());
    writer.map(6).text("EventLTime").uint(event_ltime.0).text("Events");
    write_events(events, &mut writer);
    writer.text("LTime").uint(ltime.0).text("LeftMembers").array(left.len());
    for name in left {
        writer.text(name.as_bytes());
    }
    writer.text("QueryLTime").uint(query_ltime.0).text("StatusLTimes").map(statuses.len());
    for (name, ltime) in statuses {
        writer.text(name.as_bytes()).uint(ltime.0);
    }
    writer.finish()
}

/// Writes the events as upstream's ring; what finds its place taken stands behind it.
fn write_events(events: &[EventsAt], writer: &mut Writer) {
    let mut ring: Vec<Option<&EventsAt>> = alloc::vec![None; usize::try_from(RING).unwrap_or_default()];
    for at in events {
        let place = usize::try_from(at.ltime.0.checked_rem(RING).unwrap_or_default()).unwrap_or_default();
        match ring.get_mut(place) {
            Some(free @ None) => *free = Some(at),
            Some(Some(_)) | None => ring.push(Some(at)),
        }
    }
    writer.array(ring.len());
    for place in ring {
        let Some(EventsAt { ltime, events }) = place else {
            writer.nil();
            continue;
        };
        writer.map(2).text("Events").array(events.len());
        for Fired { name, payload } in events {
            writer.map(2).text("Name").text(name).text("Payload");
            writer.optional_blob((!payload.is_empty()).then_some(payload));
        }
        writer.text("LTime").uint(ltime.0);
    }
}

/// Reads what stands behind the type byte; `reader` stands before the head in `bytes`.
pub(super) fn read(bytes: &[u8], reader: &mut Reader<'_>) -> Result<PushPull, WireError> {
    let head = Head::read(reader)?;
    let mut budget = Budget::push_pull();
    let nodes = budget.list(head.nodes, bytes.len(), ENTRY_BYTES_MIN)?;
    let mut state = PushPull { join: head.join, nodes, serf: SerfState::default(), unreadable: 0 };
    for _ in 0..head.nodes {
        match read_node(reader)? {
            Some(node) => {
                budget.allocate(node.alive.allocated())?;
                state.nodes.push(node);
            }
            None => state.unreadable = state.unreadable.saturating_add(1),
        }
    }
    if head.serf_bytes > 0 {
        let behind = bytes.get(reader.position()..).unwrap_or_default();
        let behind = behind.get(..head.serf_bytes).ok_or(WireError::Truncated)?;
        // The members count even if the layer above is not one that we know.
        match read_state(behind, &mut budget) {
            Ok(serf) => state.serf = serf,
            Err(_) => state.unreadable = state.unreadable.saturating_add(1),
        }
    }
    Ok(state)
}

/// Reads one member; `None` if a value of it is beyond a bound, which does not disturb the others.
fn read_node(reader: &mut Reader<'_>) -> Result<Option<NodeState>, WireError> {
    let (mut parts, mut state) = (AliveFields::default(), 0);
    reader.structure(&["Name", "Addr", "Port", "Meta", "Incarnation", "State", "Vsn"], |reader, field| {
        match field {
            "Name" => parts.node = reader.raw()?,
            "State" => state = fields::int(reader)?,
            _ => parts.visit(field, reader)?,
        }
        Ok(())
    })?;
    let state = match state {
        0 => SwimState::Alive,
        1 => SwimState::Suspect,
        2 => SwimState::Dead,
        3 => SwimState::Left,
        _ => return Ok(None),
    };
    // Of a member that is not alive only name and incarnation count.
    if state != SwimState::Alive && parts.versions.len() < Versions::CURRENT.0.len() {
        parts.versions = Versions::default().0.to_vec().into();
    }
    Ok(parts.finish().ok().map(|alive| NodeState { alive, state }))
}

fn read_state(bytes: &[u8], budget: &mut Budget) -> Result<SerfState, WireError> {
    let Some((&SERF_STATE, behind)) = bytes.split_first() else { return Err(WireError::Unexpected) };
    let mut state = SerfState::default();
    let order = ["LTime", "StatusLTimes", "LeftMembers", "EventLTime", "Events", "QueryLTime"];
    reader(behind).structure(&order, |reader, field| {
        match field {
            "LTime" => state.ltime = LamportTime(fields::u64(reader)?),
            "StatusLTimes" => state.statuses = read_statuses(reader, budget)?,
            "LeftMembers" => state.left = read_left(reader, budget)?,
            "EventLTime" => state.event_ltime = LamportTime(fields::u64(reader)?),
            "Events" => state.events = read_events(reader, budget)?,
            _ => state.query_ltime = LamportTime(fields::u64(reader)?),
        }
        Ok(())
    })?;
    Ok(state)
}

/// A name that no member can have is passed over.
fn read_statuses(reader: &mut Reader<'_>, budget: &mut Budget) -> Result<Vec<(Name, LamportTime)>, ReadError> {
    let count = bounded(reader.map()?)?;
    let mut statuses = within(budget.list(count, reader.left(), ENTRY_BYTES_MIN))?;
    for _ in 0..count {
        let name = read_name(reader, budget)?;
        let ltime = LamportTime(fields::u64(reader)?);
        statuses.extend(name.map(|name| (name, ltime)));
    }
    Ok(statuses)
}

fn read_left(reader: &mut Reader<'_>, budget: &mut Budget) -> Result<Vec<Name>, ReadError> {
    let count = bounded(reader.array()?)?;
    let mut left = within(budget.list(count, reader.left(), ENTRY_BYTES_MIN))?;
    for _ in 0..count {
        left.extend(read_name(reader, budget)?);
    }
    Ok(left)
}

fn read_name(reader: &mut Reader<'_>, budget: &mut Budget) -> Result<Option<Name>, ReadError> {
    let name = fields::member(&reader.raw()?).ok();
    within(budget.allocate(name.as_ref().map_or(0, Name::allocated)))?;
    Ok(name)
}

/// What the budget says, to a reader.
fn within<T>(counted: Result<T, WireError>) -> Result<T, ReadError> {
    counted.map_err(|_| ReadError::Invalid("the lists take too much memory"))
}

fn bounded(count: usize) -> Result<usize, ReadError> {
    if count <= limits::PUSH_PULL_NODES_MAX { Ok(count) } else { Err(ReadError::Invalid("there are too many entries")) }
}

/// Reads the ring: places without events are nil.
fn read_events(reader: &mut Reader<'_>, budget: &mut Budget) -> Result<Vec<EventsAt>, ReadError> {
    let mut events = Vec::new();
    let mut room = limits::PUSH_PULL_NODES_MAX;
    for _ in 0..bounded(reader.array()?)? {
        if reader.nil()? {
            continue;
        }
        let mut at = EventsAt::default();
        reader.structure(&["LTime", "Events"], |reader, field| {
            match field {
                "LTime" => at.ltime = LamportTime(fields::u64(reader)?),
                _ => at.events = read_fired(reader, &mut room, budget)?,
            }
            Ok(())
        })?;
        if !at.events.is_empty() {
            within(budget.grow(&events))?;
            events.push(at);
        }
    }
    Ok(events)
}

/// Reads the events of one Lamport time; those that are too long to be accepted are passed over.
fn read_fired(reader: &mut Reader<'_>, room: &mut usize, budget: &mut Budget) -> Result<Vec<Fired>, ReadError> {
    let mut fired = Vec::new();
    let count = reader.array()?;
    *room = room.checked_sub(count).ok_or(ReadError::Invalid("there are too many events"))?;
    for _ in 0..count {
        let (mut name, mut payload) = (Raw::default(), Raw::default());
        reader.structure(&["Name", "Payload"], |reader, field| {
            match field {
                "Name" => name = reader.raw()?,
                _ => payload = reader.raw()?,
            }
            Ok(())
        })?;
        let bytes = name.len().saturating_add(payload.len());
        if bytes <= limits::USER_EVENT_BYTES_MAX {
            within(budget.grow(&fired).and_then(|()| budget.allocate(bytes)))?;
            fired.push(Fired { name: name.into_owned().into(), payload: payload.into_owned().into() });
        }
    }
    Ok(fired)
}
