//! Junk from one source: how much of it is looked at, and who may not be silenced by it.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use crate::io::Stimulus;
use crate::junk::network;
use crate::limits;
use crate::log::Log;
use crate::node::Node;
use crate::tests::harness::{Lone, addr, alive, name, packet, reply_to};
use crate::types::{GossipAddr, SeqNo};
use crate::wire::{IndirectPing, Message, Ping, ReplyTo, WireError};

const SECOND: Duration = Duration::from_secs(1);
const JUNK: &[u8] = &[0xff, 1, 2, 3];

fn ping(source: Option<ReplyTo>) -> Message {
    Message::Ping(Ping { seq: SeqNo(7), node: name(0), source })
}

/// Where an answer to a ping goes that comes from there; `None`: nowhere.
fn answered(lone: &mut Lone, from: SocketAddr, message: &Message) -> Option<SocketAddr> {
    lone.sent();
    lone.give(Stimulus::Datagram { from, bytes: &packet(core::slice::from_ref(message)) });
    lone.sent().into_iter().find(|(_, message)| matches!(message, Message::Ack(_))).map(|(to, _)| to)
}

fn flood(lone: &mut Lone, from: SocketAddr, count: u32) {
    for _ in 0..count {
        lone.give(Stimulus::Datagram { from, bytes: JUNK });
    }
}

#[test]
fn a_source_of_junk_is_not_read_until_its_second_is_over() {
    let mut lone = Lone::new(|_| ());
    flood(&mut lone, addr(1), limits::JUNK_PER_SECOND_MAX - 1);
    assert_eq!(answered(&mut lone, addr(1), &ping(None)), Some(addr(1)), "one below the bound");
    flood(&mut lone, addr(1), 1);
    assert_eq!(answered(&mut lone, addr(1), &ping(None)), None, "at the bound");
    assert_eq!(answered(&mut lone, addr(2), &ping(None)), Some(addr(2)), "others are read");
    lone.node = Node::restore(&lone.node.checkpoint()).expect("restores");
    assert_eq!(answered(&mut lone, addr(1), &ping(None)), None);
    let read = u64::from(limits::JUNK_PER_SECOND_MAX);
    assert_eq!(lone.node.stats().rejected, read + 2, "what is not read counts too");
    lone.now = lone.now + SECOND;
    assert_eq!(answered(&mut lone, addr(1), &ping(None)), Some(addr(1)), "the second is over");
    flood(&mut lone, addr(1), limits::JUNK_PER_SECOND_MAX + 5);
    lone.now = lone.now + SECOND;
    flood(&mut lone, addr(1), 1);
    let logs = lone.logs();
    let flooded = Log::Rejected(addr(1), WireError::Magic(0xff));
    assert!(logs.contains(&flooded) && logs.len() <= 5, "a line a second: {logs:?}");
}

#[test]
fn nobody_silences_a_member_by_junk_in_its_name() {
    let mut lone = Lone::new(|_| ());
    lone.hear(1, &[Message::Alive(alive(1, 1))]);
    flood(&mut lone, addr(1), limits::JUNK_PER_SECOND_MAX * 4);
    assert_eq!(answered(&mut lone, addr(1), &ping(None)), Some(addr(1)));
    let other_port = SocketAddr::new(addr(1).ip(), 9);
    flood(&mut lone, other_port, limits::JUNK_PER_SECOND_MAX * 4);
    assert_eq!(answered(&mut lone, addr(1), &ping(None)), Some(addr(1)), "nor from another port of its host");
}

#[test]
fn more_sources_than_are_watched_harm_nobody() {
    let mut lone = Lone::new(|_| ());
    for host in 0..2 * limits::JUNK_SOURCES_MAX {
        let bytes = [10, 9, u8::try_from(host / 200).expect("small"), u8::try_from(host % 200).expect("small")];
        flood(&mut lone, SocketAddr::new(IpAddr::from(bytes), 7946), limits::JUNK_PER_SECOND_MAX);
    }
    assert_eq!(answered(&mut lone, addr(1), &ping(None)), Some(addr(1)));
    let most = limits::JUNK_SOURCES_MAX * 64;
    assert!(
        lone.node.checkpoint().len() < most,
        "what is remembered is bounded: {} bytes",
        lone.node.checkpoint().len()
    );
}

#[test]
fn one_host_has_as_many_addresses_of_ipv6_as_it_likes_and_counts_once() {
    let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
    assert_eq!(network(ip("2001:db8::1")), network(ip("2001:db8::ffff:1:2:3")));
    assert_ne!(network(ip("2001:db8::1")), network(ip("2001:db8:0:1::1")));
    assert_ne!(network(ip("10.0.0.1")), network(ip("10.0.0.2")));
    assert_eq!(network(ip("10.0.0.1")), network(ip("::ffff:10.0.0.1")));
}

#[test]
fn an_answer_goes_to_who_asked_and_to_no_third() {
    let mut lone = Lone::new(|_| ());
    let third = reply_to(5);
    assert_eq!(answered(&mut lone, addr(1), &ping(Some(third.clone()))), Some(addr(1)), "a stranger is named");
    let port = SocketAddr::new(addr(1).ip(), 1234);
    assert_eq!(answered(&mut lone, port, &ping(Some(reply_to(1)))), Some(addr(1)), "another port of the same host");
    lone.hear(1, &[Message::Alive(alive(5, 1))]);
    assert_eq!(answered(&mut lone, addr(1), &ping(Some(third.clone()))), Some(addr(5)), "a member, where we know it");
    let moved = ReplyTo { addr: GossipAddr::from(addr(6)), ..third };
    assert_eq!(answered(&mut lone, addr(1), &ping(Some(moved.clone()))), Some(addr(1)), "a member, but elsewhere");
    // The same holds of those who have us ping for them.
    let ask = IndirectPing {
        seq: SeqNo(8),
        node: name(5),
        target: GossipAddr::from(addr(5)),
        nack: true,
        source: Some(moved),
    };
    lone.hear(1, &[Message::IndirectPing(ask)]);
    lone.wait(SECOND);
    let nack = lone.sent().into_iter().find(|(_, message)| matches!(message, Message::Nack(_)));
    assert_eq!(nack.map(|(to, _)| to), Some(addr(1)));
}
