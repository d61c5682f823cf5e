//! Every bound on state: what happens at the limit, what one beyond it, and that the node works on.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;

use crate::broadcasts::{Broadcasts, Preference};
use crate::command::{Command, CommandError, ExchangeError, JoinError, Reply};
use crate::config::{Coalesce, Config, ConfigError, Profile};
use crate::event::Status;
use crate::identity::Identity;
use crate::io::{Output, RequestId, ResolveId, Stimulus, StreamAction, StreamError, StreamEvent, StreamId};
use crate::keyring::{Key, KeyError, Keyring};
use crate::limits;
use crate::log::Log;
use crate::map::HashKey;
use crate::swim::member::{Bounds, Table};
use crate::tests::harness::{Lone, accused, addr, alive, config, name};
use crate::time::Time;
use crate::types::{GossipAddr, JoinTarget, Meta, Name, SeqNo, Slot, Versions};
use crate::wire::memberlist;
use crate::wire::{
    Accused, Alive, Envelope, IndirectPing, Intent, Message, Ping, SerfMessage, StreamMessage, SwimState, native,
};

/// How often the log says that `what` was dropped.
pub(super) fn drops(lone: &Lone, what: &str) -> usize {
    lone.logs().iter().filter(|log| matches!(log, Log::Dropped(dropped, _) if *dropped == what)).count()
}

/// The node still answers a ping, hears of a new member and gossips about it.
pub(super) fn works_on(lone: &mut Lone) {
    lone.out.clear();
    lone.hear(200, &[Message::Ping(Ping { seq: SeqNo(77), node: name(0), source: None })]);
    let acked = lone
        .sent()
        .iter()
        .any(|(to, message)| *to == addr(200) && matches!(message, Message::Ack(ack) if ack.seq == SeqNo(77)));
    assert!(acked, "a ping is answered");
    lone.hear(200, &[Message::Alive(alive(200, 1))]);
    assert_eq!(lone.belief(200), Some((SwimState::Alive, 1)));
}

fn accept(lone: &mut Lone, number: u64, from: SocketAddr) {
    lone.give(Stimulus::Stream { id: StreamId(number * 2 + 1), event: StreamEvent::Accepted { from } });
}

/// The streams that the node has aborted since the last call.
fn aborted(lone: &mut Lone) -> Vec<u64> {
    lone.out
        .extract_if(.., |output| matches!(output, Output::Stream { action: StreamAction::Abort, .. }))
        .map(|output| match output {
            Output::Stream { id, .. } => id.0,
            _ => unreachable!("only stream actions were taken"),
        })
        .collect()
}

/// A plain stream frame that announces a body of `len` bytes.
fn head(len: usize) -> Vec<u8> {
    let len = u32::try_from(len).expect("a length of the frame").to_be_bytes();
    [&[native::MAGIC, native::VERSION, 0][..], &len].concat()
}

fn target(text: &str) -> JoinTarget {
    JoinTarget::from(text)
}

fn join(targets: Vec<JoinTarget>) -> Command {
    Command::Join { targets, replay: false }
}

fn intent(number: usize, ltime: u64) -> Message {
    Message::Serf(SerfMessage::Join(Intent {
        ltime: crate::lamport::LamportTime(ltime),
        node: Name::from(format!("unknown{number}").as_str()),
        prune: false,
    }))
}

#[test]
fn one_more_inbound_stream_than_the_bound_is_aborted() {
    let mut lone = Lone::new(|_| ());
    for number in 0..limits::STREAMS_IN_MAX as u64 {
        accept(&mut lone, number, addr(1));
    }
    assert_eq!(aborted(&mut lone), [0; 0]);
    let beyond = limits::STREAMS_IN_MAX as u64;
    accept(&mut lone, beyond, addr(1));
    assert_eq!(aborted(&mut lone), [beyond * 2 + 1]);
    assert_eq!((drops(&lone, "inbound streams"), lone.node.stats().dropped), (1, 1));
    lone.give(Stimulus::Stream { id: StreamId(1), event: StreamEvent::Closed });
    aborted(&mut lone);
    accept(&mut lone, beyond + 1, addr(2));
    assert_eq!(aborted(&mut lone), [0; 0], "a stream that ends makes room");
    works_on(&mut lone);
}

#[test]
fn where_there_is_no_room_the_source_with_most_streams_gives_way_to_others() {
    let most = limits::STREAMS_IN_MAX as u64;
    let mut lone = Lone::new(|_| ());
    accept(&mut lone, 0, addr(2));
    for number in 1..most {
        accept(&mut lone, number, addr(1));
    }
    for number in most..most + 3 {
        accept(&mut lone, number, addr(3));
    }
    assert_eq!(aborted(&mut lone), [3, 5, 7], "the oldest of the first");
    assert_eq!((drops(&lone, "inbound streams"), lone.node.stats().dropped), (1, 3));
    for number in most + 3..most * 2 {
        accept(&mut lone, number, addr(3));
    }
    let half = most / 2;
    assert_eq!(
        aborted(&mut lone).into_iter().filter(|id| *id < most * 2).count() as u64,
        half - 1 - 3,
        "and no more than half"
    );
    works_on(&mut lone);
}

#[test]
fn drops_are_counted_one_by_one_and_logged_once_a_second() {
    let mut lone = Lone::new(|_| ());
    for number in 0..limits::STREAMS_IN_MAX as u64 + 50 {
        accept(&mut lone, number, addr(1));
    }
    assert_eq!((drops(&lone, "inbound streams"), lone.node.stats().dropped), (1, 50));
    lone.now = lone.now + Duration::from_secs(1);
    accept(&mut lone, 1_000, addr(1));
    assert_eq!((drops(&lone, "inbound streams"), lone.node.stats().dropped), (2, 51));
}

/// A failed member is contacted again and again, each time on a stream of its own; nobody answers and the streams
/// have all the time in the world.
#[test]
fn one_more_outbound_stream_than_the_bound_is_not_opened() {
    let mut lone = Lone::new(|config| {
        config.swim.stream_timeout = limits::DURATION_MAX;
        config.serf.reconnect_interval = Duration::from_secs(1);
        config.serf.reconnect_timeout = limits::DURATION_MAX;
    });
    for number in 1..=3 {
        lone.hear(1, &[Message::Alive(alive(number, 1)), Message::Dead(accused(number, 1, 9))]);
    }
    let connects = |lone: &Lone| {
        let connect = |output: &&Output| matches!(output, Output::Stream { action: StreamAction::Connect(_), .. });
        lone.out.iter().filter(connect).count()
    };
    lone.wait(Duration::from_secs(limits::STREAMS_OUT_MAX as u64));
    assert_eq!((connects(&lone), drops(&lone, "outbound streams")), (limits::STREAMS_OUT_MAX, 0));
    lone.wait(Duration::from_secs(1));
    assert_eq!((connects(&lone), drops(&lone, "outbound streams")), (limits::STREAMS_OUT_MAX, 1));
    let busy = format!("{}", ExchangeError::Busy);
    assert!(lone.logs().iter().any(|log| matches!(log, Log::ReconnectFailed(_, why) if *why == busy)));
    lone.give(Stimulus::Stream { id: StreamId(2), event: StreamEvent::Failed(StreamError::Refused) });
    lone.wait(Duration::from_secs(1));
    assert_eq!(connects(&lone), limits::STREAMS_OUT_MAX + 1, "a stream that ends makes room");
    works_on(&mut lone);
}

#[test]
fn a_stream_brings_up_to_its_bound_and_not_a_byte_more() {
    let mut lone = Lone::new(|_| ());
    let body = limits::STREAM_BYTES_MAX - head(0).len();
    accept(&mut lone, 0, addr(1));
    lone.give(Stimulus::Stream { id: StreamId(1), event: StreamEvent::Bytes(&head(body)) });
    let most = vec![0; body - 1];
    lone.give(Stimulus::Stream { id: StreamId(1), event: StreamEvent::Bytes(&most) });
    assert!(!lone.out.iter().any(|output| matches!(output, Output::Stream { .. })), "one byte is still to come");
    lone.give(Stimulus::Stream { id: StreamId(1), event: StreamEvent::Bytes(&[0, 0]) });
    let rejected = lone.logs().into_iter().any(|log| {
        matches!(log, Log::StreamRejected(_, crate::wire::WireError::TooLong { bytes })
            if bytes == limits::STREAM_BYTES_MAX as u64 + 1)
    });
    assert!(rejected, "{:?}", lone.logs());
    let finished = lone
        .out
        .iter()
        .any(|output| matches!(output, Output::Stream { id: StreamId(1), action: StreamAction::Finish, .. }));
    assert!(finished, "the peer is told why and the stream ends");
    works_on(&mut lone);
}

/// Opens stream `number` from host `host` and brings `bytes` of an unfinished frame.
fn fill(lone: &mut Lone, number: u64, host: u8, bytes: usize) {
    let from = SocketAddr::from((Ipv4Addr::new(10, 9, 9, host), 1_000 + number as u16));
    accept(lone, number, from);
    let id = StreamId(number * 2 + 1);
    let mut frame = head(limits::STREAM_BYTES_MAX - 7);
    frame.resize(bytes, 0);
    lone.give(Stimulus::Stream { id, event: StreamEvent::Bytes(&frame) });
}

#[test]
fn over_the_bound_of_all_streams_the_newest_of_who_holds_most_goes() {
    const MIB: usize = 1 << 20;
    let mut lone = Lone::new(|_| ());
    fill(&mut lone, 0, 1, 19 * MIB);
    fill(&mut lone, 1, 2, 18 * MIB);
    fill(&mut lone, 2, 1, 9 * MIB);
    fill(&mut lone, 3, 3, limits::STREAMS_BYTES_MAX - 46 * MIB);
    assert_eq!((aborted(&mut lone), drops(&lone, "bytes of all streams")), (vec![], 0));
    let byte = Stimulus::Stream { id: StreamId(7), event: StreamEvent::Bytes(&[0]) };
    lone.give(byte);
    assert_eq!(aborted(&mut lone), [5], "host 1 holds most: its newest stream goes");
    assert_eq!((drops(&lone, "bytes of all streams"), lone.node.stats().dropped), (1, 1));
    fill(&mut lone, 4, 3, 9 * MIB - 1);
    assert_eq!(aborted(&mut lone), [0; 0], "what was shed counts no longer");
    works_on(&mut lone);
}

#[test]
fn streams_are_shed_until_the_bound_holds() {
    const MIB: usize = 1 << 20;
    let mut lone = Lone::new(|_| ());
    for number in 0..3 {
        fill(&mut lone, number, 1, 19 * MIB);
    }
    for number in 3..10 {
        fill(&mut lone, number, 1, 8);
    }
    fill(&mut lone, 10, 2, 8 * MIB);
    let shed: BTreeSet<u64> = aborted(&mut lone).into_iter().collect();
    assert_eq!(shed, (2..10).map(|number| number * 2 + 1).collect(), "the small ones free nothing worth having");
    works_on(&mut lone);
}

/// How many pings were sent since the last call.
fn pings(lone: &mut Lone) -> usize {
    lone.sent().iter().filter(|(_, message)| matches!(message, Message::Ping(_))).count()
}

fn indirect(seq: u32) -> Message {
    let target = GossipAddr::from(addr(4));
    Message::IndirectPing(IndirectPing { seq: SeqNo(seq), node: name(4), target, nack: false, source: None })
}

#[test]
fn one_more_relayed_ping_than_the_bound_is_not_sent() {
    let mut lone = Lone::new(|_| ());
    let most = limits::RELAYS_MAX as u32;
    let asks: Vec<Message> = (0..most).map(indirect).collect();
    for asks in asks.chunks(64) {
        lone.hear(1, asks);
    }
    assert_eq!((pings(&mut lone), drops(&lone, "pings for others")), (limits::RELAYS_MAX, 0));
    lone.hear(1, &[indirect(most)]);
    assert_eq!((pings(&mut lone), drops(&lone, "pings for others")), (0, 1));
    assert_eq!(lone.node.stats().dropped, 1);
    lone.wait(Duration::from_secs(2));
    lone.hear(1, &[indirect(most + 1)]);
    assert_eq!(pings(&mut lone), 1, "relays end and make room");
    works_on(&mut lone);
}

#[test]
fn the_broadcast_queue_drops_its_lowest_priority_beyond_the_bound() {
    let mut queue = Broadcasts::new(Preference::Longest, limits::BROADCASTS_MAX);
    for subject in 0..limits::BROADCASTS_MAX {
        assert!(queue.push(subject, Box::new([0; 8]), None));
    }
    assert!(!queue.push(limits::BROADCASTS_MAX, Box::new([0; 8]), None));
    assert_eq!(queue.len(), limits::BROADCASTS_MAX);
    assert!(!queue.contains(&0) && queue.contains(&limits::BROADCASTS_MAX), "the oldest went");
}

#[test]
fn a_full_queue_of_intents_is_said_and_keeps_its_bound() {
    let mut lone = Lone::new(|config| config.serf.recent_intent_timeout = Duration::from_millis(1));
    let most = limits::INTENTS_QUEUED_MAX;
    let intents: Vec<Message> = (0..most).map(|number| intent(number, 5)).collect();
    for intents in intents.chunks(64) {
        lone.hear(1, intents);
    }
    assert_eq!((lone.node.stats().intent_queue, drops(&lone, "intent queue")), (most, 0));
    // The buffer of intents is full as well: it is emptied first, so that the next one is news.
    lone.wait(Duration::from_secs(20));
    lone.hear(1, &[intent(most, 5)]);
    assert_eq!((lone.node.stats().intent_queue, drops(&lone, "intent queue")), (most, 1));
    assert_eq!(lone.node.stats().dropped, 1);
    works_on(&mut lone);
}

#[test]
fn an_intent_about_one_more_unknown_member_than_the_bound_is_not_remembered() {
    let mut lone = Lone::new(|_| ());
    let most = limits::INTENTS_BUFFERED_MAX;
    let leave = |number: usize| {
        let Message::Serf(SerfMessage::Join(intent)) = intent(number, 5) else { unreachable!("it is a join") };
        Message::Serf(SerfMessage::Leave(Intent { node: name(number), ..intent }))
    };
    let intents: Vec<Message> = (1..=most).map(leave).collect();
    for intents in intents.chunks(64) {
        lone.hear(1, intents);
    }
    assert_eq!(drops(&lone, "intent buffer"), 0);
    lone.hear(1, &[leave(most + 1)]);
    assert_eq!((drops(&lone, "intent buffer"), lone.node.stats().dropped), (1, 1));
    let Message::Serf(SerfMessage::Leave(newer)) = leave(1) else { unreachable!("it is a leave") };
    let newer = Intent { ltime: crate::lamport::LamportTime(9), ..newer };
    lone.hear(1, &[Message::Serf(SerfMessage::Leave(newer))]);
    assert_eq!(lone.node.stats().dropped, 1, "a newer intent about a remembered name takes no room");
    for (number, status) in [(most, Status::Leaving), (most + 1, Status::Alive)] {
        lone.hear(1, &[Message::Alive(alive(number, 1))]);
        assert_eq!(lone.status(number), Some(status), "n{number}");
    }
    works_on(&mut lone);
}

#[test]
fn a_long_queue_of_intents_is_warned_about() {
    for (depth, warned) in [(limits::QUEUE_DEPTH_WARNING - 1, false), (limits::QUEUE_DEPTH_WARNING, true)] {
        let mut lone = Lone::new(|_| ());
        for number in 0..depth {
            lone.hear(1, &[intent(number, 5)]);
        }
        lone.wait(Duration::from_secs(31));
        let said = lone.logs().iter().any(|log| matches!(log, Log::QueueDepth("Intent", at) if *at == depth));
        assert_eq!(said, warned, "depth {depth}");
    }
}

#[test]
fn one_more_join_than_the_bound_is_refused() {
    let mut lone = Lone::new(|_| ());
    for _ in 0..limits::JOINS_MAX {
        lone.command(join(vec![target("somewhere")]));
    }
    assert_eq!(lone.replies(), []);
    lone.command(join(vec![target("somewhere")]));
    assert_eq!(lone.replies(), [Reply::Failed(CommandError::Busy)]);
    lone.give(Stimulus::Resolved { id: ResolveId(1), result: Ok(Box::default()) });
    assert_eq!(lone.replies().len(), 1, "the first join ends");
    lone.command(join(vec![target("somewhere")]));
    assert_eq!(lone.replies(), [], "and makes room");
    works_on(&mut lone);
}

#[test]
fn a_join_of_more_targets_than_the_bound_is_refused() {
    let mut lone = Lone::new(|_| ());
    let bad = |count: usize| join((0..count).map(|_| target("1:2:3")).collect());
    lone.command(bad(limits::JOIN_TARGETS_MAX));
    let replies = lone.replies();
    let [Reply::Joined { contacted: 0, errors }] = &replies[..] else { panic!("{replies:?}") };
    assert_eq!(errors.len(), limits::JOIN_TARGETS_MAX);
    lone.command(bad(limits::JOIN_TARGETS_MAX + 1));
    assert_eq!(lone.replies(), [Reply::Failed(CommandError::Busy)]);
    works_on(&mut lone);
}

#[test]
fn addresses_of_a_name_beyond_the_bound_are_not_contacted() {
    for (count, over) in [(limits::RESOLVED_MAX, 0), (limits::RESOLVED_MAX + 1, 1)] {
        let mut lone = Lone::new(|_| ());
        lone.command(join(vec![target("many")]));
        let addrs: Vec<SocketAddr> = (1..=count).map(addr).collect();
        lone.give(Stimulus::Resolved { id: ResolveId(1), result: Ok(addrs.into()) });
        for stream in 1.. {
            let id = StreamId(stream * 2);
            let open =
                lone.out.iter().any(|output| matches!(output, Output::Stream { id: opened, .. } if *opened == id));
            if !open {
                break;
            }
            lone.give(Stimulus::Stream { id, event: StreamEvent::Failed(StreamError::Refused) });
        }
        let replies = lone.replies();
        let [Reply::Joined { contacted: 0, errors }] = &replies[..] else { panic!("{replies:?}") };
        assert_eq!(errors.len(), limits::RESOLVED_MAX);
        assert!(errors.iter().all(|error| matches!(error, JoinError::Contact { .. })));
        assert_eq!((drops(&lone, "addresses of one name"), lone.node.stats().dropped), (over, over as u64));
        works_on(&mut lone);
    }
}

#[test]
fn one_more_force_leave_than_can_wait_is_refused() {
    let mut lone = Lone::new(|_| ());
    lone.hear(1, &[Message::Alive(alive(1, 1))]);
    let leave = |number: usize| Command::ForceLeave { node: Name::from(format!("x{number}").as_str()), prune: false };
    for number in 0..limits::BROADCAST_WAITS_MAX {
        lone.command(leave(number));
    }
    assert_eq!(lone.replies(), []);
    lone.give(Stimulus::Command { id: RequestId(9), command: leave(limits::BROADCAST_WAITS_MAX) });
    assert_eq!(lone.replies(), [Reply::Failed(CommandError::Busy)]);
    lone.wait(Duration::from_secs(6));
    assert_eq!(lone.replies().len(), limits::BROADCAST_WAITS_MAX, "every one of the others is answered");
    works_on(&mut lone);
}

#[test]
fn a_full_window_of_coalesced_events_is_flushed() {
    let mut lone = Lone::new(|config| {
        config.serf.coalesce = Some(Coalesce { period: Duration::from_secs(600), quiet: Duration::from_secs(600) });
    });
    // The node's own join is the first of the window.
    let most = limits::COALESCED_MAX - 1;
    let about = |number: usize| {
        let own = Name::from(format!("m{number}").as_str());
        Message::Alive(Alive { node: own, ..alive(1, 1) })
    };
    let events = |lone: &Lone| lone.out.iter().filter(|output| matches!(output, Output::Event(_))).count();
    for number in 1..most {
        lone.hear_unchecked(1, &about(number));
    }
    assert_eq!(events(&lone), 0);
    lone.hear(1, &[about(most)]);
    assert_eq!(events(&lone), 1);
    let Some(Output::Event(event)) = lone.out.iter().find(|output| matches!(output, Output::Event(_))) else {
        panic!("an event was counted")
    };
    let crate::event::Event::Members { members, .. } = &**event else { panic!("{event:?}") };
    assert_eq!(members.len(), limits::COALESCED_MAX);
    works_on(&mut lone);
}

fn identity(number: usize) -> Arc<Identity> {
    Arc::new(Identity {
        name: Name::from(format!("m{number}").as_str()),
        addr: GossipAddr::from(addr(1)),
        meta: Meta::default(),
        versions: Versions::CURRENT,
    })
}

fn table(bounds: Bounds) -> Table {
    let mut table = Table::new(HashKey(1, 2), identity(0), Time::ZERO, bounds);
    table.set_state(table.me(), Some(SwimState::Alive), Time::ZERO);
    table
}

/// Adds a member that both layers then forget at `at`.
fn forgotten(table: &mut Table, number: usize, at: Time) -> Option<Slot> {
    let slot = table.insert(identity(number), at)?;
    table.set_state(slot, Some(SwimState::Dead), at);
    table.set_state(slot, None, at);
    Some(slot)
}

#[test]
fn a_full_member_table_takes_nobody_in_but_in_the_place_of_a_forgotten_one() {
    let mut table = table(Bounds { members: 100, tombstones: 10 });
    for number in 1..99 {
        let slot = table.insert(identity(number), Time::ZERO).expect("there is room");
        table.set_state(slot, Some(SwimState::Alive), Time::ZERO);
    }
    forgotten(&mut table, 99, Time::ZERO).expect("there is room");
    let slot = table.insert(identity(100), Time::ZERO).expect("the forgotten one makes room");
    assert_eq!((table.take_evicted(), table.slot(&identity(99).name)), (1, None));
    table.set_state(slot, Some(SwimState::Alive), Time::ZERO);
    assert_eq!((table.known(), table.insert(identity(101), Time::ZERO)), (100, None));
    table.check().expect("the invariants hold");
    table.set_state(slot, Some(SwimState::Dead), Time::ZERO);
    table.set_state(slot, None, Time::ZERO);
    assert!(table.insert(identity(101), Time::ZERO).is_some(), "who is forgotten makes room");
}

#[test]
fn one_more_forgotten_member_than_the_bound_costs_the_oldest() {
    let mut table = table(Bounds::default());
    for number in 1..=limits::TOMBSTONES_MAX {
        forgotten(&mut table, number, Time::from_millis(number as u64));
    }
    assert_eq!(table.take_evicted(), 0);
    assert!(table.slot(&identity(1).name).is_some());
    let beyond = limits::TOMBSTONES_MAX + 1;
    forgotten(&mut table, beyond, Time::from_millis(beyond as u64));
    assert_eq!((table.take_evicted(), table.slot(&identity(1).name)), (1, None));
    assert!(table.slot(&identity(2).name).is_some() && table.slot(&identity(beyond).name).is_some());
    table.check().expect("the invariants hold");
}

#[test]
fn one_more_key_than_the_bound_is_refused() {
    let keys: Vec<Key> =
        (0..=limits::KEYS_MAX).map(|number| Key::new(&[number as u8; 16]).expect("16 bytes")).collect();
    let mut ring = Keyring::default();
    for key in &keys[..limits::KEYS_MAX] {
        ring.add(key.clone()).expect("there is room");
    }
    assert_eq!(ring.add(keys[limits::KEYS_MAX].clone()), Err(KeyError::Full));
    let config = |count: usize| Config { keys: keys[..count].to_vec(), ..config(0, Profile::Lan) };
    assert_eq!(config(limits::KEYS_MAX).validate(), Ok(()));
    let beyond = limits::KEYS_MAX + 1;
    assert_eq!(config(beyond).validate(), Err(ConfigError::Keys { keys: beyond }));
}

#[test]
fn an_incarnation_beyond_belief_is_ignored_without_keys() {
    let mut lone = Lone::new(|_| ());
    lone.hear(1, &[Message::Alive(alive(1, limits::INCARNATION_SUSPICIOUS))]);
    assert_eq!(lone.belief(1), None);
    lone.hear(1, &[Message::Alive(alive(1, limits::INCARNATION_SUSPICIOUS - 1))]);
    assert_eq!(lone.belief(1), Some((SwimState::Alive, limits::INCARNATION_SUSPICIOUS - 1)));
    works_on(&mut lone);
}

/// Even the smallest of broadcasts in the largest of packets: what is sent counts, what had no part does not.
#[test]
fn a_packet_of_more_broadcasts_than_parts_leaves_the_rest_for_the_next() {
    let mut lone = Lone::new(|config| {
        config.swim.packet_bytes = 60_000;
        config.swim.gossip_nodes = 1;
    });
    let count = limits::PARTS_MAX + 45;
    let members: Vec<Message> = (1..=count).map(|number| Message::Alive(alive(number, 1))).collect();
    for members in members.chunks(50) {
        lone.hear(1, members);
    }
    lone.wait(Duration::from_millis(210));
    let first: BTreeSet<String> = lone.sent().iter().map(|(_, message)| format!("{message:?}")).collect();
    assert_eq!(first.len(), limits::PARTS_MAX);
    lone.wait(Duration::from_millis(200));
    let second: BTreeSet<String> = lone.sent().iter().map(|(_, message)| format!("{message:?}")).collect();
    let all = first.union(&second).count();
    assert!(all > count, "{all} of {count} members and the node itself: who was left out comes first");
}

/// The suspicion keeps no more accusers than it needs.
#[test]
fn a_suspicion_remembers_no_more_accusers_than_confirm_it() {
    let mut lone = Lone::new(|_| ());
    for number in 1..=9 {
        lone.hear(1, &[Message::Alive(alive(number, 1))]);
    }
    lone.hear(1, &[Message::Suspect(accused(1, 1, 2))]);
    let before = lone.node.checkpoint().len();
    for number in 0..500 {
        let from = Name::from(format!("accuser{number}").as_str());
        lone.hear(1, &[Message::Suspect(Accused { from, ..accused(1, 1, 2) })]);
    }
    let grown = lone.node.checkpoint().len().saturating_sub(before);
    assert!(grown < 1_000, "500 accusers have left {grown} bytes");
}

/// What a frame announces reserves nothing.
#[test]
fn a_finished_frame_gives_its_bytes_back() {
    let mut lone = Lone::new(|_| ());
    let ping = StreamMessage::Ping(Ping { seq: SeqNo(1), node: name(0), source: None });
    let frame = native::seal_stream(&ping, Envelope { keyring: &Keyring::default(), label: &[] }, [0; 12], true);
    for number in 0..limits::STREAMS_IN_MAX as u64 * 4 {
        accept(&mut lone, number, addr(1));
        lone.give(Stimulus::Stream { id: StreamId(number * 2 + 1), event: StreamEvent::Bytes(&frame) });
    }
    assert_eq!((drops(&lone, "inbound streams"), lone.node.stats().dropped), (0, 0));
}

#[test]
fn a_stream_is_compressed_from_the_bound_on() {
    let envelope = Envelope { keyring: &Keyring::default(), label: &[] };
    let sealed = |payload: usize, compress: bool| {
        let message = StreamMessage::User(vec![0; payload].into());
        memberlist::seal_stream(&message, envelope, [0; 12], true, compress)
    };
    let head = sealed(limits::COMPRESS_STREAM_BYTES_MIN, false).len() - limits::COMPRESS_STREAM_BYTES_MIN;
    let payload = limits::COMPRESS_STREAM_BYTES_MIN - head;
    assert_eq!(sealed(payload, false).len(), limits::COMPRESS_STREAM_BYTES_MIN);
    assert!(sealed(payload, true).len() < 1_000, "zeros take little room");
    assert_eq!(sealed(payload - 1, true), sealed(payload - 1, false));
}
