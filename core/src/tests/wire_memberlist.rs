//! Serf's messages in HashiCorp's encoding, against captured ones.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use crate::lamport::LamportTime;
use crate::tests::memberlist_vectors::unhex;
use crate::types::{GossipAddr, QueryId};
use crate::wire::{Filter, Query, QueryResponse, Relay, UserEvent, memberlist};

fn captured(name: &str) -> Vec<u8> {
    let line =
        include_str!("vectors/serf-messages.txt").lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    unhex(line.expect(name))
}

fn addr() -> GossipAddr {
    GossipAddr::from_bytes(&[127, 77, 0, 11], 7946).expect("4 bytes")
}

fn event(ltime: u64, name: &[u8], payload: &[u8], coalesce: bool) -> UserEvent {
    UserEvent { ltime: LamportTime(ltime), name: name.into(), payload: payload.into(), coalesce }
}

fn response(ltime: u64, id: u32, ack: bool, payload: &[u8]) -> QueryResponse {
    let (ltime, id) = (LamportTime(ltime), QueryId(id));
    QueryResponse { ltime, id, from: "alpha".into(), ack, payload: payload.into() }
}

#[test]
fn user_events_have_the_captured_bytes() {
    assert_eq!(memberlist::event(&event(1, b"deploy", b"v1.2.3", true)), captured("user-event-coalesce"));
    assert_eq!(memberlist::event(&event(2, b"restart", b"now", false)), captured("user-event-no-coalesce"));
    assert_eq!(memberlist::event(&event(3, b"empty", b"", true)), captured("user-event-empty-payload"));
}

#[test]
fn queries_have_the_captured_bytes() {
    let query = Query {
        ltime: LamportTime(1),
        id: QueryId(485_369_440),
        origin: addr(),
        node: "alpha".into(),
        filters: vec![
            Filter::Nodes(vec!["alpha".into(), "bravo".into()]),
            Filter::Tag { key: Box::from(*b"role"), pattern: Box::from(*b"we.*") },
        ],
        ack: true,
        no_broadcast: false,
        relay_factor: 0,
        timeout: Duration::from_secs(2),
        name: Box::from(*b"load"),
        payload: Box::from(*b"please"),
    };
    assert_eq!(memberlist::query(&query), captured("query-filters-ack"));
}

#[test]
fn words_on_queries_have_the_captured_bytes() {
    let load = b"0.42 0.40 0.35";
    assert_eq!(memberlist::response(&response(1, 485_369_440, true, b"")), captured("query-response-ack"));
    assert_eq!(memberlist::response(&response(1, 485_369_440, false, load)), captured("query-response-payload"));
    let relay = Relay { to: addr(), node: "alpha".into(), response: response(3, 1_179_010_546, false, load) };
    assert_eq!(memberlist::relay(&relay), captured("relay-of-response"));
}
