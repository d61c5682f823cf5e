//! HashiCorp's encoding of Serf's messages (gossip-wire.md 5 and 6): the limits on events, queries and answers are
//! measured on it, whatever is spoken, so that what is accepted does not depend on who is in the cluster.

use alloc::vec::Vec;

use crate::msgpack::{Dialect, Writer};
use crate::time::nanos;
use crate::wire::{Filter, Query, QueryResponse, Relay, UserEvent};

/// First byte of a user event.
const EVENT: u8 = 3;
/// First byte of a query.
const QUERY: u8 = 4;
/// First byte of a word on a query.
const RESPONSE: u8 = 5;
/// First byte of a relayed message.
const RELAY: u8 = 9;

/// First byte of a filter by names.
const FILTER_NODES: u8 = 0;
/// First byte of a filter by tag.
const FILTER_TAG: u8 = 1;
/// First byte of a filter that nobody can read: matches nobody, like a kind that does not exist.
const FILTER_NONE: u8 = 0xff;

/// Bit of the flags: an ack is wanted; in an answer: this is the ack.
const FLAG_ACK: u64 = 1;
/// Bit of the flags: nobody passes the query on.
const FLAG_NO_BROADCAST: u64 = 2;

/// Encodes a user event.
pub fn event(event: &UserEvent) -> Vec<u8> {
    let mut writer = message(EVENT);
    writer.map(4).text("CC").boolean(event.coalesce).text("LTime").uint(event.ltime.0);
    payload(writer.text("Name").text(&event.name), &event.payload);
    writer.finish()
}

/// Encodes a query.
pub fn query(query: &Query) -> Vec<u8> {
    let mut writer = message(QUERY);
    writer.map(11).text("Addr").blob(query.origin.ip_bytes()).text("Filters");
    if query.filters.is_empty() {
        writer.nil();
    } else {
        writer.array(query.filters.len());
        for one in &query.filters {
            writer.blob(&filter(one));
        }
    }
    let flags = if query.ack { FLAG_ACK } else { 0 } | if query.no_broadcast { FLAG_NO_BROADCAST } else { 0 };
    writer.text("Flags").uint(flags).text("ID").uint(u64::from(query.id.0)).text("LTime").uint(query.ltime.0);
    payload(writer.text("Name").text(&query.name), &query.payload);
    writer.text("Port").uint(u64::from(query.origin.port()));
    writer.text("RelayFactor").uint(u64::from(query.relay_factor)).text("SourceNode").text(query.node.as_bytes());
    writer.text("Timeout").uint(nanos(query.timeout));
    writer.finish()
}

/// Encodes a word on a query.
pub fn response(response: &QueryResponse) -> Vec<u8> {
    let mut writer = message(RESPONSE);
    writer.map(5).text("Flags").uint(if response.ack { FLAG_ACK } else { 0 });
    writer.text("From").text(response.from.as_bytes()).text("ID").uint(u64::from(response.id.0));
    payload(writer.text("LTime").uint(response.ltime.0), &response.payload);
    writer.finish()
}

/// Encodes a word on a query that is to be passed on.
pub fn relay(relay: &Relay) -> Vec<u8> {
    let mut writer = message(RELAY);
    writer.map(2).text("DestAddr").map(3).text("IP").blob(relay.to.ip_bytes());
    writer.text("Port").uint(u64::from(relay.to.port())).text("Zone").text("");
    writer.text("DestName").text(relay.node.as_bytes());
    let mut bytes = writer.finish();
    bytes.extend(response(&relay.response));
    bytes
}

fn filter(filter: &Filter) -> Vec<u8> {
    match filter {
        Filter::Nodes(names) => {
            let mut writer = message(FILTER_NODES);
            writer.array(names.len());
            for name in names {
                writer.text(name.as_bytes());
            }
            writer.finish()
        }
        Filter::Tag { key, pattern } => {
            let mut writer = message(FILTER_TAG);
            writer.map(2).text("Expr").text(pattern).text("Tag").text(key);
            writer.finish()
        }
        Filter::Unreadable => message(FILTER_NONE).finish(),
    }
}

fn message(kind: u8) -> Writer {
    Writer::append_to(Dialect::Gossip, [kind].into())
}

/// An empty payload is nil, as the command line sends it (gossip-wire.md 6.2).
fn payload(writer: &mut Writer, bytes: &[u8]) {
    writer.text("Payload").optional_blob((!bytes.is_empty()).then_some(bytes));
}
