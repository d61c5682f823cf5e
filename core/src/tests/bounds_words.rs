//! Bounds on the words that a node sends because others ask: at the limit, one beyond it, and that it works on.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use crate::lamport::LamportTime;
use crate::limits;
use crate::tests::bounds::{drops, works_on};
use crate::tests::harness::{Lone, addr, alive, name};
use crate::types::{GossipAddr, Name, QueryId, Versions};
use crate::wire::{Alive, Message, Query, QueryResponse, Relay, SerfMessage};

const SECOND: Duration = Duration::from_secs(1);

/// A query that nobody hands out, for an ack.
fn query(id: usize, node: Name, origin: SocketAddr, relay_factor: u8) -> Message {
    Message::Serf(SerfMessage::Query(Box::new(Query {
        ltime: LamportTime(1),
        id: QueryId(u32::try_from(id).expect("a small id")),
        origin: GossipAddr::from(origin),
        node,
        filters: Vec::new(),
        ack: true,
        no_broadcast: true,
        relay_factor,
        timeout: 3 * SECOND,
        name: b"_serf_ping".as_slice().into(),
        payload: [].into(),
    })))
}

/// A node that knows that many others and has nothing to gossip.
fn among(others: usize) -> Lone {
    let mut lone = Lone::new(|config| config.swim.gossip_nodes = 0);
    for number in 1..=others {
        lone.hear(1, &[Message::Alive(alive(number, 1))]);
    }
    lone.out.clear();
    lone
}

/// How many words were relayed and how many sent directly, and to whom those.
fn words(lone: &mut Lone) -> (usize, Vec<SocketAddr>) {
    let (mut relayed, mut direct) = (0, Vec::new());
    for (to, message) in lone.sent() {
        match message {
            Message::Serf(SerfMessage::Relay(_)) => relayed += 1,
            Message::Serf(SerfMessage::Response(_)) => direct.push(to),
            _ => (),
        }
    }
    (relayed, direct)
}

#[test]
fn beyond_so_many_relayed_words_a_second_only_the_direct_ones_are_sent() {
    const HELPERS: usize = 64;
    let mut lone = among(HELPERS + 8);
    let most = limits::RELAYED_PER_SECOND_MAX as usize;
    let full = most / HELPERS;
    let ask = |id: usize| query(id, name(1), addr(1), 64);
    (0..full).for_each(|id| lone.hear(1, &[ask(id)]));
    let (relayed, direct) = words(&mut lone);
    assert_eq!((relayed, direct.len(), drops(&lone, "relayed answers")), (most, full, 0));
    lone.hear(1, &[ask(full)]);
    assert_eq!(words(&mut lone), (0, [addr(1)].into()), "the direct word always goes");
    assert_eq!((drops(&lone, "relayed answers"), lone.node.stats().dropped), (1, HELPERS as u64));
    lone.wait(SECOND / u32::try_from(full).expect("few"));
    words(&mut lone);
    lone.hear(1, &[ask(full + 1)]);
    assert_eq!(words(&mut lone).0, HELPERS, "the allowance refills with time");
    works_on(&mut lone);
}

#[test]
fn a_search_for_helpers_that_finds_too_few_is_charged_for_all_who_were_looked_at() {
    const MEMBERS: usize = 640;
    let mut lone = Lone::new(|config| config.swim.gossip_nodes = 0);
    let old = Versions([1, 4, 4, 2, 5, 5]);
    (1..MEMBERS)
        .for_each(|number| lone.hear_unchecked(1, &Message::Alive(Alive { versions: old, ..alive(number, 1) })));
    lone.out.clear();
    let searches = limits::RELAYED_PER_SECOND_MAX as usize / (MEMBERS / 64);
    (0..=searches).for_each(|id| lone.hear_unchecked(1, &query(id, name(1), addr(1), 1)));
    assert_eq!(drops(&lone, "relayed answers"), 0, "nobody here understands relays");
    lone.hear(1, &[query(searches + 1, name(1), addr(1), 1)]);
    assert_eq!(drops(&lone, "relayed answers"), 1);
    assert_eq!(words(&mut lone), (0, [addr(1)].repeat(searches + 2)), "the direct word always goes");
    works_on(&mut lone);
}

#[test]
fn an_address_that_is_no_members_gets_so_many_words_a_second_and_no_relays_beyond() {
    let mut lone = among(8);
    let most = limits::STRANGER_WORDS_PER_SECOND_MAX as usize;
    let nobody = SocketAddr::from(([192, 0, 2, 1], 53));
    (0..most).for_each(|id| lone.hear(1, &[query(id, name(66), nobody, 2)]));
    let (relayed, direct) = words(&mut lone);
    assert_eq!((relayed, direct), (2 * most, [nobody].repeat(most)), "who asks may not be known yet");
    lone.hear(1, &[query(most, name(66), nobody, 2), query(most + 1, name(1), nobody, 2)]);
    assert_eq!(words(&mut lone), (0, Vec::new()), "a member's name is not enough");
    assert_eq!((drops(&lone, "answers to strangers"), lone.node.stats().dropped), (1, 2));
    lone.hear(1, &[query(most + 2, name(1), addr(1), 0)]);
    assert_eq!(words(&mut lone), (0, [addr(1)].into()), "a member is answered all the same");
    lone.wait(SECOND);
    words(&mut lone);
    lone.hear(1, &[query(most + 3, name(66), nobody, 0)]);
    assert_eq!(words(&mut lone), (0, [nobody].into()));
    works_on(&mut lone);
}

#[test]
fn so_many_words_a_second_are_passed_on_to_an_address_without_a_name_and_all_to_a_named_member() {
    let mut lone = among(8);
    let most = limits::NAMELESS_RELAYS_PER_SECOND_MAX as usize;
    let response =
        || QueryResponse { ltime: LamportTime(1), id: QueryId(1), from: name(2), ack: true, payload: [].into() };
    let relay = |node: Name, to: SocketAddr| {
        Message::Serf(SerfMessage::Relay(Relay { to: to.into(), node, response: response() }))
    };
    (0..most).for_each(|_| lone.hear(1, &[relay(Name::from(""), addr(3))]));
    assert_eq!(words(&mut lone), (0, [addr(3)].repeat(most)));
    lone.hear(1, &[relay(Name::from(""), addr(3)), relay(name(4), addr(4))]);
    assert_eq!(words(&mut lone), (0, [addr(4)].into()));
    assert_eq!((drops(&lone, "relays without a name"), lone.node.stats().dropped), (1, 1));
    lone.wait(SECOND);
    words(&mut lone);
    lone.hear(1, &[relay(Name::from(""), addr(3))]);
    assert_eq!(words(&mut lone), (0, [addr(3)].into()));
    works_on(&mut lone);
}
