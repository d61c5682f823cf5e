//! The native forms of events, queries and the words on them.

use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Bytes, append, take};
use crate::lamport::LamportTime;
use crate::limits;
use crate::time::nanos;
use crate::types::{GossipAddr, Name, QueryId};
use crate::wire::{Budget, EventsAt, Filter, Fired, Query, QueryResponse, Relay, UserEvent, WireError};

#[derive(Serialize, Deserialize)]
pub(super) struct EventForm<'a> {
    ltime: LamportTime,
    #[serde(borrow)]
    name: Bytes<'a>,
    #[serde(borrow)]
    payload: Bytes<'a>,
    coalesce: bool,
}

#[derive(Serialize, Deserialize)]
pub(super) struct QueryForm<'a> {
    ltime: LamportTime,
    id: QueryId,
    origin: GossipAddr,
    #[serde(borrow)]
    node: Bytes<'a>,
    /// [`FilterForm`]s one behind the other; a list of names is followed by the names.
    #[serde(borrow)]
    filters: FilterBytes<'a>,
    ack: bool,
    no_broadcast: bool,
    relay_factor: u8,
    timeout_nanos: u64,
    #[serde(borrow)]
    name: Bytes<'a>,
    #[serde(borrow)]
    payload: Bytes<'a>,
}

/// Filters on their way out are owned, on their way in borrowed.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct FilterBytes<'a>(#[serde(borrow)] alloc::borrow::Cow<'a, [u8]>);

/// The order of the variants is the format.
#[derive(Serialize, Deserialize)]
enum FilterForm<'a> {
    Nodes(u32),
    Tag(#[serde(borrow)] Bytes<'a>, #[serde(borrow)] Bytes<'a>),
    Unreadable,
}

#[derive(Serialize, Deserialize)]
pub(super) struct ResponseForm<'a> {
    ltime: LamportTime,
    id: QueryId,
    #[serde(borrow)]
    from: Bytes<'a>,
    ack: bool,
    #[serde(borrow)]
    payload: Bytes<'a>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct RelayForm<'a> {
    to: GossipAddr,
    #[serde(borrow)]
    node: Bytes<'a>,
    #[serde(borrow)]
    response: ResponseForm<'a>,
}

impl<'a> EventForm<'a> {
    pub(super) const fn of(event: &'a UserEvent) -> Self {
        let UserEvent { ltime, name, payload, coalesce } = event;
        Self { ltime: *ltime, name: Bytes(name), payload: Bytes(payload), coalesce: *coalesce }
    }

    pub(super) fn into_event(self) -> Result<UserEvent, WireError> {
        let (name, payload) = event_bytes(self.name, self.payload)?;
        Ok(UserEvent { ltime: self.ltime, name: name.into(), payload: payload.into(), coalesce: self.coalesce })
    }
}

/// Name and payload of a user event, within their common bound.
fn event_bytes<'a>(name: Bytes<'a>, payload: Bytes<'a>) -> Result<(&'a [u8], &'a [u8]), WireError> {
    if name.0.len().saturating_add(payload.0.len()) > limits::USER_EVENT_BYTES_MAX {
        return Err(WireError::OutOfRange);
    }
    Ok((name.0, payload.0))
}

impl<'a> QueryForm<'a> {
    pub(super) fn of(query: &'a Query) -> Self {
        let mut filters = Vec::new();
        for filter in &query.filters {
            match filter {
                Filter::Nodes(names) => {
                    append(&FilterForm::Nodes(super::count(names.len())), &mut filters);
                    for name in names {
                        append(&Bytes::of(name), &mut filters);
                    }
                }
                Filter::Tag { key, pattern } => {
                    append(&FilterForm::Tag(Bytes(key), Bytes(pattern)), &mut filters);
                }
                Filter::Unreadable => append(&FilterForm::Unreadable, &mut filters),
            }
        }
        Self {
            ltime: query.ltime,
            id: query.id,
            origin: query.origin,
            node: Bytes::of(&query.node),
            filters: FilterBytes(filters.into()),
            ack: query.ack,
            no_broadcast: query.no_broadcast,
            relay_factor: query.relay_factor,
            timeout_nanos: nanos(query.timeout),
            name: Bytes(&query.name),
            payload: Bytes(&query.payload),
        }
    }

    pub(super) fn into_query(self, budget: &mut Budget) -> Result<Query, WireError> {
        Ok(Query {
            ltime: self.ltime,
            id: self.id,
            origin: self.origin,
            node: self.node.addressee()?,
            filters: read_filters(&self.filters.0, budget)?,
            ack: self.ack,
            no_broadcast: self.no_broadcast,
            relay_factor: self.relay_factor,
            timeout: Duration::from_nanos(self.timeout_nanos).min(limits::DURATION_MAX),
            name: self.name.0.into(),
            payload: self.payload.0.into(),
        })
    }
}

/// Reads filters. One byte may stand for a whole entry, so each is counted before there is room for it.
fn read_filters(mut rest: &[u8], budget: &mut Budget) -> Result<Vec<Filter>, WireError> {
    let mut filters = Vec::new();
    while !rest.is_empty() {
        if filters.len() >= limits::FILTERS_MAX {
            return Err(WireError::OutOfRange);
        }
        budget.grow(&filters)?;
        filters.push(match take(&mut rest)? {
            FilterForm::Nodes(count) => Filter::Nodes(take_names(&mut rest, count, budget)?),
            FilterForm::Tag(key, pattern) => Filter::Tag { key: key.0.into(), pattern: pattern.0.into() },
            FilterForm::Unreadable => Filter::Unreadable,
        });
    }
    Ok(filters)
}

fn take_names(rest: &mut &[u8], count: u32, budget: &mut Budget) -> Result<Vec<Name>, WireError> {
    let mut names = Vec::new();
    for _ in 0..count {
        budget.grow(&names)?;
        names.push(take::<Bytes<'_>>(rest)?.addressee()?);
    }
    Ok(names)
}

impl<'a> ResponseForm<'a> {
    pub(super) const fn of(response: &'a QueryResponse) -> Self {
        let QueryResponse { ltime, id, from, ack, payload } = response;
        Self { ltime: *ltime, id: *id, from: Bytes::of(from), ack: *ack, payload: Bytes(payload) }
    }

    pub(super) fn into_response(self) -> Result<QueryResponse, WireError> {
        Ok(QueryResponse {
            ltime: self.ltime,
            id: self.id,
            from: self.from.member()?,
            ack: self.ack,
            payload: self.payload.0.into(),
        })
    }
}

impl<'a> RelayForm<'a> {
    pub(super) const fn of(relay: &'a Relay) -> Self {
        let Relay { to, node, response } = relay;
        Self { to: *to, node: Bytes::of(node), response: ResponseForm::of(response) }
    }

    pub(super) fn into_relay(self) -> Result<Relay, WireError> {
        Ok(Relay { to: self.to, node: self.node.addressee()?, response: self.response.into_response()? })
    }
}

/// Appends the remembered events, each with its Lamport time.
pub(super) fn append_events(events: &[EventsAt], out: &mut Vec<u8>) {
    for EventsAt { ltime, events } in events {
        for Fired { name, payload } in events {
            append(&(ltime, Bytes(name), Bytes(payload)), out);
        }
    }
}

/// Reads `count` events; those of one Lamport time stand together.
pub(super) fn take_events(rest: &mut &[u8], count: usize, budget: &mut Budget) -> Result<Vec<EventsAt>, WireError> {
    let mut events: Vec<EventsAt> = Vec::new();
    for _ in 0..count {
        let (ltime, name, payload): (LamportTime, Bytes<'_>, Bytes<'_>) = take(rest)?;
        if events.last().is_none_or(|last| last.ltime != ltime) {
            budget.grow(&events)?;
            events.push(EventsAt { ltime, events: Vec::new() });
        }
        let (name, payload) = event_bytes(name, payload)?;
        budget.allocate(name.len().saturating_add(payload.len()))?;
        if let Some(at) = events.last_mut() {
            budget.grow(&at.events)?;
            at.events.push(Fired { name: name.into(), payload: payload.into() });
        }
    }
    Ok(events)
}
