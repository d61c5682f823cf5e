//! The messages of the layer above (gossip-wire.md 5 and 6), each from its own type byte on. The limits on events,
//! queries and answers are measured on them, whatever is spoken, so that what is accepted does not depend on who is in
//! the cluster.

use alloc::vec::Vec;
use core::time::Duration;

use super::fields::{self, Raw};
use crate::lamport::LamportTime;
use crate::limits;
use crate::msgpack::{Dialect, ReadError, Reader, Writer};
use crate::time::nanos;
use crate::types::{Name, QueryId};
use crate::wire::{Budget, Filter, Intent, Query, QueryResponse, Relay, SerfMessage, UserEvent, WireError};

const LEAVE: u8 = 0;
const JOIN: u8 = 1;
const EVENT: u8 = 3;
const QUERY: u8 = 4;
const RESPONSE: u8 = 5;
const RELAY: u8 = 9;

/// First byte of a filter by names.
const FILTER_NODES: u8 = 0;
/// First byte of a filter by tag.
const FILTER_TAG: u8 = 1;
/// First byte of a filter that nobody can read: matches nobody, like a kind that does not exist.
const FILTER_NONE: u8 = 0xff;

/// Bit of the flags: an ack is wanted; in an answer: this is the ack.
const FLAG_ACK: u32 = 1;
/// Bit of the flags: nobody passes the query on.
const FLAG_NO_BROADCAST: u32 = 2;

/// Encodes a user event.
pub fn event(event: &UserEvent) -> Vec<u8> {
    written(|writer| write_event(event, writer))
}

/// Encodes a query.
pub fn query(query: &Query) -> Vec<u8> {
    written(|writer| write_query(query, writer))
}

/// Encodes a word on a query.
pub fn response(response: &QueryResponse) -> Vec<u8> {
    written(|writer| write_response(response, writer))
}

/// Encodes a word on a query that is to be passed on.
pub fn relay(relay: &Relay) -> Vec<u8> {
    written(|writer| write_relay(relay, writer))
}

fn written(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::new(Dialect::Gossip);
    write(&mut writer);
    writer.finish()
}

pub(super) fn write(message: &SerfMessage, writer: &mut Writer) {
    match message {
        SerfMessage::Leave(intent) => write_leave(intent, writer),
        SerfMessage::Join(intent) => write_join(intent, writer),
        SerfMessage::Event(event) => write_event(event, writer),
        SerfMessage::Query(query) => write_query(query, writer),
        SerfMessage::Response(response) => write_response(response, writer),
        SerfMessage::Relay(relay) => write_relay(relay, writer),
    }
}

pub(super) fn read(bytes: &[u8], budget: &mut Budget) -> Result<SerfMessage, WireError> {
    let (&kind, behind) = bytes.split_first().ok_or(WireError::Truncated)?;
    let reader = &mut super::reader(behind);
    Ok(match kind {
        LEAVE => SerfMessage::Leave(read_intent(reader)?),
        JOIN => SerfMessage::Join(read_intent(reader)?),
        EVENT => SerfMessage::Event(read_event(reader)?),
        QUERY => SerfMessage::Query(read_query(reader, budget)?.into()),
        RESPONSE => SerfMessage::Response(read_response(reader)?),
        RELAY => SerfMessage::Relay(read_relay(behind)?),
        _ => return Err(WireError::Unexpected),
    })
}

fn write_leave(Intent { ltime, node, prune }: &Intent, writer: &mut Writer) {
    writer.raw_byte(LEAVE).map(3).text("LTime").uint(ltime.0).text("Node").text(node.as_bytes());
    writer.text("Prune").boolean(*prune);
}

fn write_join(Intent { ltime, node, prune: _ }: &Intent, writer: &mut Writer) {
    writer.raw_byte(JOIN).map(2).text("LTime").uint(ltime.0).text("Node").text(node.as_bytes());
}

fn read_intent(reader: &mut Reader<'_>) -> Result<Intent, WireError> {
    let (mut ltime, mut node, mut prune) = (0, Raw::default(), false);
    reader.structure(&["LTime", "Node", "Prune"], |reader, field| {
        match field {
            "LTime" => ltime = fields::u64(reader)?,
            "Node" => node = reader.raw()?,
            _ => prune = reader.boolean()?,
        }
        Ok(())
    })?;
    Ok(Intent { ltime: LamportTime(ltime), node: fields::member(&node)?, prune })
}

fn write_event(UserEvent { ltime, name, payload, coalesce }: &UserEvent, writer: &mut Writer) {
    writer.raw_byte(EVENT).map(4).text("CC").boolean(*coalesce).text("LTime").uint(ltime.0);
    write_payload(writer.text("Name").text(name), payload);
}

fn read_event(reader: &mut Reader<'_>) -> Result<UserEvent, WireError> {
    let (mut ltime, mut name, mut payload, mut coalesce) = (0, Raw::default(), Raw::default(), false);
    reader.structure(&["LTime", "Name", "Payload", "CC"], |reader, field| {
        match field {
            "LTime" => ltime = fields::u64(reader)?,
            "Name" => name = reader.raw()?,
            "Payload" => payload = reader.raw()?,
            _ => coalesce = reader.boolean()?,
        }
        Ok(())
    })?;
    if name.len().saturating_add(payload.len()) > limits::USER_EVENT_BYTES_MAX {
        return Err(WireError::OutOfRange);
    }
    let (name, payload) = (name.into_owned().into(), payload.into_owned().into());
    Ok(UserEvent { ltime: LamportTime(ltime), name, payload, coalesce })
}

fn write_query(query: &Query, writer: &mut Writer) {
    writer.raw_byte(QUERY).map(11).text("Addr").blob(query.origin.ip_bytes()).text("Filters");
    if query.filters.is_empty() {
        writer.nil();
    } else {
        writer.array(query.filters.len());
        for one in &query.filters {
            writer.blob(&filter(one));
        }
    }
    let flags = if query.ack { FLAG_ACK } else { 0 } | if query.no_broadcast { FLAG_NO_BROADCAST } else { 0 };
    writer
        .text("Flags")
        .uint(u64::from(flags))
        .text("ID")
        .uint(u64::from(query.id.0))
        .text("LTime")
        .uint(query.ltime.0);
    write_payload(writer.text("Name").text(&query.name), &query.payload);
    writer.text("Port").uint(u64::from(query.origin.port()));
    writer.text("RelayFactor").uint(u64::from(query.relay_factor)).text("SourceNode").text(query.node.as_bytes());
    writer.text("Timeout").uint(nanos(query.timeout));
}

/// The fields of a query, in the order in which upstream declares them.
const QUERY_FIELDS: [&str; 11] =
    ["LTime", "ID", "Addr", "Port", "SourceNode", "Filters", "Flags", "RelayFactor", "Timeout", "Name", "Payload"];

fn read_query(reader: &mut Reader<'_>, budget: &mut Budget) -> Result<Query, WireError> {
    let (mut ltime, mut id, mut flags, mut relay_factor, mut timeout) = (0, 0, 0, 0, 0);
    let (mut ip, mut port, mut node) = (Raw::default(), 0, Raw::default());
    let (mut name, mut payload) = (Raw::default(), Raw::default());
    let mut filters: Result<Vec<Filter>, WireError> = Ok(Vec::new());
    reader.structure(&QUERY_FIELDS, |reader, field| {
        match field {
            "LTime" => ltime = fields::u64(reader)?,
            "ID" => id = fields::u32(reader)?,
            "Addr" => ip = reader.raw()?,
            "Port" => port = fields::u16(reader)?,
            "SourceNode" => node = reader.raw()?,
            "Filters" => filters = read_filters(reader, budget)?,
            "Flags" => flags = fields::u32(reader)?,
            "RelayFactor" => relay_factor = fields::u8(reader)?,
            "Timeout" => timeout = fields::int(reader)?,
            "Name" => name = reader.raw()?,
            _ => payload = reader.raw()?,
        }
        Ok(())
    })?;
    Ok(Query {
        ltime: LamportTime(ltime),
        id: QueryId(id),
        origin: fields::addr(&ip, port)?,
        node: fields::addressee(&node)?,
        filters: filters?,
        ack: flags & FLAG_ACK != 0,
        no_broadcast: flags & FLAG_NO_BROADCAST != 0,
        relay_factor,
        // A time that is over before it has begun is none.
        timeout: Duration::from_nanos(u64::try_from(timeout).unwrap_or_default()).min(limits::DURATION_MAX),
        name: name.into_owned().into(),
        payload: payload.into_owned().into(),
    })
}

/// Reads the list of filters: an error of the list's form, or of what it costs.
fn read_filters(reader: &mut Reader<'_>, budget: &mut Budget) -> Result<Result<Vec<Filter>, WireError>, ReadError> {
    let count = reader.array()?;
    let mut filters = Vec::new();
    let mut error = None;
    for _ in 0..count {
        let bytes = reader.raw()?;
        if error.is_some() {
            continue;
        }
        let room = if filters.len() < limits::FILTERS_MAX { Ok(()) } else { Err(WireError::OutOfRange) };
        match room.and_then(|()| budget.grow(&filters)).and_then(|()| read_filter(&bytes, budget)) {
            Ok(filter) => filters.push(filter),
            Err(why) => error = Some(why),
        }
    }
    Ok(error.map_or(Ok(filters), Err))
}

/// Reads one filter; one that cannot be read matches nobody (gossip-wire.md 6.4).
fn read_filter(bytes: &[u8], budget: &mut Budget) -> Result<Filter, WireError> {
    let Some((&kind, behind)) = bytes.split_first() else { return Ok(Filter::Unreadable) };
    let read = match kind {
        FILTER_NODES => read_names(behind, budget).map(Filter::Nodes),
        FILTER_TAG => read_tag_filter(behind),
        _ => Ok(Filter::Unreadable),
    };
    match read {
        Err(WireError::TooCostly) => Err(WireError::TooCostly),
        Ok(filter) => Ok(filter),
        Err(_) => Ok(Filter::Unreadable),
    }
}

fn read_names(bytes: &[u8], budget: &mut Budget) -> Result<Vec<Name>, WireError> {
    let mut reader = super::reader(bytes);
    let mut names = Vec::new();
    for _ in 0..reader.array()? {
        budget.grow(&names)?;
        names.push(fields::addressee(&reader.raw()?)?);
    }
    Ok(names)
}

fn read_tag_filter(bytes: &[u8]) -> Result<Filter, WireError> {
    let (mut key, mut pattern) = (Raw::default(), Raw::default());
    super::reader(bytes).structure(&["Tag", "Expr"], |reader, field| {
        match field {
            "Tag" => key = reader.raw()?,
            _ => pattern = reader.raw()?,
        }
        Ok(())
    })?;
    Ok(Filter::Tag { key: key.into_owned().into(), pattern: pattern.into_owned().into() })
}

fn write_response(QueryResponse { ltime, id, from, ack, payload }: &QueryResponse, writer: &mut Writer) {
    writer.raw_byte(RESPONSE).map(5).text("Flags").uint(if *ack { u64::from(FLAG_ACK) } else { 0 });
    writer.text("From").text(from.as_bytes()).text("ID").uint(u64::from(id.0));
    write_payload(writer.text("LTime").uint(ltime.0), payload);
}

fn read_response(reader: &mut Reader<'_>) -> Result<QueryResponse, WireError> {
    let (mut ltime, mut id, mut from, mut flags, mut payload) = (0, 0, Raw::default(), 0, Raw::default());
    reader.structure(&["LTime", "ID", "From", "Flags", "Payload"], |reader, field| {
        match field {
            "LTime" => ltime = fields::u64(reader)?,
            "ID" => id = fields::u32(reader)?,
            "From" => from = reader.raw()?,
            "Flags" => flags = fields::u32(reader)?,
            _ => payload = reader.raw()?,
        }
        Ok(())
    })?;
    Ok(QueryResponse {
        ltime: LamportTime(ltime),
        id: QueryId(id),
        from: fields::member(&from)?,
        ack: flags & FLAG_ACK != 0,
        payload: payload.into_owned().into(),
    })
}

fn write_relay(Relay { to, node, response }: &Relay, writer: &mut Writer) {
    writer.raw_byte(RELAY).map(2).text("DestAddr").map(3).text("IP").blob(to.ip_bytes());
    writer.text("Port").uint(u64::from(to.port())).text("Zone").text("");
    writer.text("DestName").text(node.as_bytes());
    write_response(response, writer);
}

/// Reads the head and the word behind it. Honest members have nothing else passed on.
fn read_relay(bytes: &[u8]) -> Result<Relay, WireError> {
    let mut reader = super::reader(bytes);
    let (mut ip, mut port, mut node) = (Raw::default(), 0, Raw::default());
    reader.structure(&["DestAddr", "DestName"], |reader, field| {
        if field == "DestName" {
            node = reader.raw()?;
            return Ok(());
        }
        reader.structure(&["IP", "Port", "Zone"], |reader, field| {
            match field {
                "IP" => ip = reader.raw()?,
                "Port" => port = u16::try_from(fields::int(reader)?).map_err(|_| ReadError::Invalid("a port"))?,
                _ => _ = reader.raw()?,
            }
            Ok(())
        })
    })?;
    let (to, node) = (fields::addr(&ip, port)?, fields::addressee(&node)?);
    match bytes.get(reader.position()..).and_then(<[u8]>::split_first) {
        Some((&RESPONSE, behind)) => Ok(Relay { to, node, response: read_response(&mut super::reader(behind))? }),
        Some(_) => Err(WireError::Unexpected),
        None => Err(WireError::Truncated),
    }
}

fn filter(filter: &Filter) -> Vec<u8> {
    match filter {
        Filter::Nodes(names) => written(|writer| {
            writer.raw_byte(FILTER_NODES).array(names.len());
            for name in names {
                writer.text(name.as_bytes());
            }
        }),
        Filter::Tag { key, pattern } => written(|writer| {
            writer.raw_byte(FILTER_TAG).map(2).text("Expr").text(pattern).text("Tag").text(key);
        }),
        Filter::Unreadable => [FILTER_NONE].into(),
    }
}

/// An empty payload is nil, as the command line sends it (gossip-wire.md 6.2).
fn write_payload(writer: &mut Writer, bytes: &[u8]) {
    writer.text("Payload").optional_blob((!bytes.is_empty()).then_some(bytes));
}
