//! Bounds on what events, queries, keys and tags make a node hold: at the limit, one beyond it, and that it works on.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use crate::command::{Command, CommandError, KeyOutcome, KeyRequest, Question, Reply};
use crate::config::{Coalesce, Config, Wire};
use crate::event::{Event, QueryKey};
use crate::io::{Output, Persist, PersistId, RequestId, Stimulus};
use crate::keyring::{Key, Keyring};
use crate::lamport::LamportTime;
use crate::limits;
use crate::msgpack::{Dialect, Writer};
use crate::serf::tags;
use crate::tests::bounds::{drops, works_on};
use crate::tests::harness::{Lone, addr, alive, name, signed};
use crate::types::{GossipAddr, Meta, Name, QueryId, Tags};
use crate::wire::{
    Alive, Envelope, Filter, Message, NodeState, PushPull, Query, QueryResponse, SerfMessage, SerfState, SwimState,
    UserEvent, memberlist, native,
};

const SECOND: Duration = Duration::from_secs(1);
/// Far beyond every test.
const HOUR: Duration = Duration::from_secs(3_600);

fn event(ltime: u64, name: usize, bytes: usize) -> Message {
    let name = format!("e{name}").into_bytes().into();
    let payload = vec![b'x'; bytes].into();
    Message::Serf(SerfMessage::Event(UserEvent { ltime: LamportTime(ltime), name, payload, coalesce: true }))
}

fn query(ltime: u64, id: usize, name: &str, payload: &[u8]) -> Message {
    Message::Serf(SerfMessage::Query(Box::new(Query {
        ltime: LamportTime(ltime),
        id: QueryId(u32::try_from(id).expect("a small id")),
        origin: GossipAddr::from(addr(1)),
        node: crate::tests::harness::name(1),
        filters: Vec::new(),
        ack: false,
        no_broadcast: false,
        relay_factor: 0,
        timeout: 3 * SECOND,
        name: name.as_bytes().into(),
        payload: payload.into(),
    })))
}

/// Hands messages in, 32 to a packet.
fn flood(lone: &mut Lone, messages: &[Message]) {
    messages.chunks(32).for_each(|messages| lone.hear(1, messages));
}

fn ask(question: Question) -> Command {
    Command::Query(Box::new(question))
}

fn question(filters: Vec<Filter>) -> Question {
    let (name, payload) = (b"q".as_slice().into(), [].into());
    Question { name, payload, filters, ack: true, relay_factor: 0, timeout: Some(60 * SECOND) }
}

/// Sixteen things at each of the times that are remembered: the bound.
const AT_A_TIME: usize = 16;

#[test]
fn one_more_user_event_than_can_be_remembered_costs_the_oldest_time_and_that_is_not_news_again() {
    let mut lone = Lone::new(|_| ());
    let times = 1..=(limits::EVENTS_SEEN_MAX / AT_A_TIME) as u64;
    let (first, last) = (*times.start(), *times.end());
    assert!(last <= limits::SEEN_TIMES, "the window of times is not what is tested");
    let events: Vec<Message> =
        times.flat_map(|time| (0..AT_A_TIME).map(move |number| event(time, number, 0))).collect();
    flood(&mut lone, &events);
    assert_eq!((lone.events().len(), drops(&lone, "user event memory")), (limits::EVENTS_SEEN_MAX, 0));
    let before = lone.node.stats().dropped;
    lone.hear(1, &[event(last, AT_A_TIME, 0)]);
    assert_eq!((lone.events().len(), drops(&lone, "user event memory")), (1, 1));
    // One of those is the broadcast that found the queue full.
    assert_eq!(lone.node.stats().dropped - before, AT_A_TIME as u64 + 1);
    lone.hear(1, &[event(first, 0, 0), event(first, AT_A_TIME, 0), event(first + 1, 0, 0), event(last, 0, 0)]);
    assert_eq!(lone.events(), [""; 0], "neither what was forgotten nor what is known is news");
    lone.hear(1, &[event(last + 1, 0, 0)]);
    assert_eq!(lone.events(), [format!("user {} e0 ", last + 1)]);
    works_on(&mut lone);
}

#[test]
fn one_more_byte_of_user_events_than_can_be_remembered_costs_the_oldest_time() {
    let mut lone = Lone::new(|_| ());
    let size = limits::EVENTS_SEEN_BYTES_MAX / 512;
    // The name takes two bytes.
    let events: Vec<Message> = (1..=512).map(|time| event(time, 1, size - 2)).collect();
    events.iter().for_each(|event| lone.hear(1, core::slice::from_ref(event)));
    assert_eq!((lone.events().len(), drops(&lone, "user event memory")), (512, 0));
    let before = lone.node.stats().dropped;
    lone.hear(1, &[event(512, 22, 0)]);
    assert_eq!((lone.events().len(), drops(&lone, "user event memory")), (1, 1));
    assert_eq!(lone.node.stats().dropped - before, 1);
    lone.hear(1, &[event(1, 1, size - 2), event(2, 1, size - 2)]);
    assert_eq!(lone.events(), [""; 0]);
    works_on(&mut lone);
}

#[test]
fn one_more_query_than_can_be_remembered_costs_the_oldest_time_and_that_is_not_news_again() {
    let mut lone = Lone::new(|_| ());
    let last = (limits::QUERIES_SEEN_MAX / AT_A_TIME) as u64;
    let queries: Vec<Message> =
        (1..=last).flat_map(|time| (0..AT_A_TIME).map(move |id| query(time, id, "q", b""))).collect();
    flood(&mut lone, &queries);
    assert_eq!((lone.events().len(), drops(&lone, "query memory")), (limits::QUERIES_SEEN_MAX, 0));
    lone.hear(1, &[query(last, AT_A_TIME, "q", b"")]);
    assert_eq!((lone.events().len(), drops(&lone, "query memory")), (1, 1));
    lone.hear(1, &[query(1, 0, "q", b""), query(1, AT_A_TIME, "q", b""), query(2, 0, "q", b"")]);
    assert_eq!(lone.events(), [""; 0], "neither what was forgotten nor what is known is news");
    lone.hear(1, &[query(last + 1, 0, "q", b"")]);
    assert_eq!(lone.events(), [format!("query {} q", last + 1)]);
    works_on(&mut lone);
}

#[test]
fn full_queues_of_events_and_queries_are_said_and_keep_their_bounds() {
    let most = limits::EVENTS_QUEUED_MAX;
    let message = |kind: usize, number: usize| {
        let time = (number / AT_A_TIME + 1) as u64;
        if kind == 0 { event(time, number, 0) } else { query(time, number, "_serf_ping", b"") }
    };
    for (kind, queue) in ["event queue", "query queue"].into_iter().enumerate() {
        let mut lone = Lone::new(|_| ());
        let messages: Vec<Message> = (0..most).map(|number| message(kind, number)).collect();
        flood(&mut lone, &messages);
        let depths = |lone: &Lone| [lone.node.stats().event_queue, lone.node.stats().query_queue];
        assert_eq!((depths(&lone)[kind], drops(&lone, queue)), (most, 0));
        lone.hear(1, &[message(kind, most)]);
        assert_eq!((depths(&lone)[kind], depths(&lone)[1 - kind]), (most, 0));
        assert_eq!((drops(&lone, queue), lone.node.stats().dropped), (1, 1));
        lone.hear(1, &[Message::Alive(alive(1, 1))]);
        assert!(lone.gossips(&message(kind, 0)), "the oldest is passed on");
        works_on(&mut lone);
    }
}

/// The bytes of a message in the encoding on which all lengths are measured.
fn encoded_len(message: &Message) -> usize {
    let mut bytes = Vec::new();
    memberlist::encode(message, &mut bytes);
    bytes.len()
}

/// The longest metadata that is accepted.
fn long_meta() -> Meta {
    let value = vec![7; limits::META_BYTES_ACCEPTED - 10];
    let tags = tags::encode(&Tags::from([(b"k".to_vec(), value)]));
    let signed = signed(&Tags::new());
    let meta = [tags.as_bytes(), &signed.as_bytes()[2..]].concat();
    assert!(meta.len() <= limits::META_BYTES_ACCEPTED, "{} bytes", meta.len());
    Meta::new(meta)
}

#[test]
fn a_message_that_no_packet_has_room_for_is_not_queued_and_holds_nobody_up() {
    let mut lone = Lone::new(|config| config.swim.probe_interval = 600 * SECOND);
    lone.hear(1, &[Message::Alive(alive(1, 1))]);
    // Until nothing else is gossiped.
    lone.wait(10 * SECOND);
    lone.out.clear();
    let keyring = Keyring::default();
    let most = limits::PACKET_BYTES
        - memberlist::packet_overhead(Envelope { keyring: &keyring, label: &[] })
        - memberlist::PART_OVERHEAD;
    let payload = most - encoded_len(&event(1, 10, 1_000)) + 1_000;
    let fits = event(1, 99, payload);
    // More than a search for a message that fits passes over.
    let too_long: Vec<Message> = (0..limits::MISFITS_MAX).map(|id| event(1, 100 + id, payload)).collect();
    assert_eq!((encoded_len(&fits), encoded_len(&too_long[0])), (most, most + 1));
    flood(&mut lone, &too_long);
    assert_eq!((lone.events().len(), lone.node.stats().event_queue), (too_long.len(), 0), "delivered, not queued");
    let refused = lone.node.stats().dropped;
    assert_eq!((drops(&lone, "length of a gossiped message"), refused), (1, too_long.len() as u64));
    lone.hear(1, core::slice::from_ref(&fits));
    assert!(lone.gossips(&fits));
    let alive = Message::Alive(Alive { meta: long_meta(), ..alive(2, 1) });
    lone.hear(1, core::slice::from_ref(&alive));
    assert!(lone.belief(2).is_some() && !lone.gossips(&alive));
    assert_eq!(lone.node.stats().dropped - refused, 1);
    works_on(&mut lone);
}

fn respond(time: u64, id: usize) -> Command {
    let id = QueryId(u32::try_from(id).expect("a small id"));
    Command::Respond { query: QueryKey { ltime: LamportTime(time), id }, payload: b"yes".as_slice().into() }
}

/// A query that waits for that long.
fn waiting(time: u64, id: usize, timeout: Duration) -> Message {
    match query(time, id, "q", b"") {
        Message::Serf(SerfMessage::Query(query)) => {
            Message::Serf(SerfMessage::Query(Box::new(Query { timeout, ..*query })))
        }
        other => other,
    }
}

#[test]
fn one_more_open_query_than_the_bound_costs_the_one_that_would_wait_longest() {
    let mut lone = Lone::new(|_| ());
    let most = limits::QUERIES_OPEN_MAX;
    let mut queries: Vec<Message> = (0..most).map(|id| query(1, id, "q", b"")).collect();
    queries[7] = waiting(1, 7, 4 * SECOND);
    flood(&mut lone, &queries);
    assert_eq!((lone.events().len(), lone.node.stats().dropped), (most, 0));
    lone.hear(1, &[query(1, most, "q", b"")]);
    assert_eq!((drops(&lone, "open queries"), lone.node.stats().dropped), (1, 1));
    lone.command(respond(1, 7));
    lone.command(respond(1, most));
    assert_eq!(lone.replies(), [Reply::Failed(CommandError::UnknownQuery), Reply::Responded]);
    lone.wait(3 * SECOND + Duration::from_millis(1));
    lone.hear(1, &[query(1, most + 1, "q", b"")]);
    lone.command(respond(1, most + 1));
    assert_eq!(lone.replies(), [Reply::Responded], "those whose time is over make room");
    assert_eq!(lone.node.stats().dropped, 1);
    works_on(&mut lone);
}

#[test]
fn queries_that_wait_for_a_year_keep_nobody_from_an_answer() {
    let mut lone = Lone::new(|_| ());
    let most = limits::QUERIES_OPEN_MAX;
    let year: Vec<Message> = (0..most).map(|id| waiting(1, id, Duration::MAX)).collect();
    flood(&mut lone, &year);
    lone.wait(HOUR);
    lone.hear(1, &[query(2, 0, "q", b"")]);
    // Nor those that come between a query and its answer.
    let more: Vec<Message> = (0..most).map(|id| waiting(3, id, Duration::MAX)).collect();
    flood(&mut lone, &more);
    lone.command(respond(2, 0));
    assert_eq!(lone.replies(), [Reply::Responded]);
    works_on(&mut lone);
}

#[test]
fn one_more_query_of_our_own_than_the_bound_is_refused() {
    let mut lone = Lone::new(|_| ());
    lone.hear(1, &[Message::Alive(alive(1, 1))]);
    let most = limits::QUERIES_RUNNING_MAX - limits::QUERIES_RESERVED;
    for _ in 0..most {
        lone.command(ask(question(Vec::new())));
    }
    let started = lone.replies().into_iter().filter(|reply| *reply == Reply::QueryStarted).count();
    assert_eq!((started, drops(&lone, "open queries")), (most, 0));
    let before = lone.node.stats();
    lone.command(ask(question(Vec::new())));
    assert_eq!(lone.replies(), [Reply::Failed(CommandError::Busy)]);
    let after = lone.node.stats();
    assert_eq!((after.query_time, after.query_queue), (before.query_time, before.query_queue), "it was not asked");
    lone.command(Command::Key(KeyRequest::List));
    assert_eq!(lone.replies(), [], "the cluster's own have places of their own");
    lone.wait(61 * SECOND);
    let done = lone.replies().into_iter().filter(|reply| *reply == Reply::QueryDone).count();
    assert_eq!(done, most);
    lone.command(ask(question(Vec::new())));
    assert!(lone.replies().contains(&Reply::QueryStarted), "queries that end make room");
    works_on(&mut lone);
}

#[test]
fn a_query_of_more_filters_than_the_bound_is_refused() {
    let filters = |count: usize| vec![Filter::Nodes([name(0)].into()); count];
    let mut lone = Lone::new(|config| config.serf.query_bytes = limits::QUERY_BYTES_MAX);
    lone.command(ask(question(filters(limits::FILTERS_MAX))));
    assert_eq!(lone.replies().first(), Some(&Reply::QueryStarted));
    lone.command(ask(question(filters(limits::FILTERS_MAX + 1))));
    assert_eq!(lone.replies(), [Reply::Failed(CommandError::Busy)]);
    works_on(&mut lone);
}

#[test]
fn a_name_beyond_the_bound_that_is_made_to_leave_is_not_kept() {
    let mut lone = Lone::new(|_| ());
    let leave = |bytes: usize| Command::ForceLeave { node: Name::new(vec![b'x'; bytes]), prune: false };
    let before = lone.node.checkpoint().len();
    lone.command(leave(limits::NAME_BYTES_MAX));
    let kept = lone.node.checkpoint().len();
    assert!(kept > before + limits::NAME_BYTES_MAX, "it may be somebody's who comes");
    assert_eq!(drops(&lone, "names of members to leave"), 0);
    lone.command(leave(limits::NAME_BYTES_MAX + 1));
    assert_eq!((lone.replies(), drops(&lone, "names of members to leave")), (vec![Reply::ForceLeft; 2], 1));
    assert!(lone.node.checkpoint().len() < kept + limits::NAME_BYTES_MAX);
    works_on(&mut lone);
}

#[test]
fn an_event_about_a_member_of_many_tags_holds_its_metadata_as_it_came() {
    let all: Tags = (0..1_000_u16).map(|tag| (tag.to_be_bytes().to_vec(), Vec::new())).collect();
    let meta = tags::encode(&all);
    assert!(meta.as_bytes().len() <= limits::META_BYTES_ACCEPTED);
    let mut lone = Lone::new(|config| config.wire = Wire::Auto);
    let nodes = vec![NodeState { alive: Alive { meta: meta.clone(), ..alive(1, 1) }, state: SwimState::Alive }];
    lone.is_told(1, PushPull { join: false, nodes, serf: SerfState::default(), unreadable: 0 });
    let joined = lone.out.iter().find_map(|output| match output {
        Output::Event(event) => match &**event {
            Event::Members { members, .. } => members.first(),
            Event::User(_) | Event::Query(_) | Event::Shutdown(_) => None,
        },
        _ => None,
    });
    let joined = joined.expect("the member joins");
    assert_eq!((&joined.meta, joined.tags()), (&meta, all));
    assert!(size_of_val(joined) <= 96, "{} bytes beside the metadata", size_of_val(joined));
}

#[test]
fn a_query_with_which_more_names_are_awaited_than_the_bound_ends_at_its_time() {
    const MEMBERS: usize = 2_048;
    let mut lone = Lone::new(|config| (config.swim.gossip_nodes, config.swim.probe_interval) = (0, HOUR));
    (1..MEMBERS).for_each(|number| lone.hear_unchecked(1, &Message::Alive(alive(number, 1))));
    lone.out.clear();
    let early = |lone: &Lone| drops(lone, "early ends of queries");
    (0..limits::AWAITED_MAX / MEMBERS).for_each(|_| lone.command(ask(question(Vec::new()))));
    assert_eq!(early(&lone), 0);
    lone.command(ask(question(Vec::new())));
    assert_eq!(early(&lone), 1);
    assert!(lone.replies().iter().all(|reply| !matches!(reply, Reply::Failed(_))), "it is asked all the same");
    lone.wait(61 * SECOND);
    let done = lone.replies().into_iter().filter(|reply| *reply == Reply::QueryDone).count();
    assert_eq!(done, limits::AWAITED_MAX / MEMBERS + 1);
    lone.command(ask(question(Vec::new())));
    assert_eq!(early(&lone), 1, "those that are over wait for nobody");
    works_on(&mut lone);
}

#[test]
fn a_query_whose_members_take_too_long_to_find_ends_at_its_time() {
    let meta = signed(&[(b"long".to_vec(), vec![b'a'; 400])].into());
    let asked = |pattern: &[u8], members: usize| {
        let mut lone = Lone::new(|_| ());
        for number in 1..=members {
            lone.hear(number, &[Message::Alive(Alive { meta: meta.clone(), ..alive(number, 1) })]);
        }
        lone.command(ask(question(vec![Filter::Tag { key: b"long".as_slice().into(), pattern: pattern.into() }])));
        assert_eq!(lone.replies().first(), Some(&Reply::QueryStarted));
        let dropped = drops(&lone, "early ends of queries");
        works_on(&mut lone);
        dropped
    };
    let slow = b"(a?){300}(a?){300}z?$";
    assert_eq!((asked(b"a", 60), asked(slow, 5), asked(slow, 60)), (0, 0, 1));
}

/// An answer to a key query (gossip-wire.md 6.7).
fn key_answer(keys: &[String]) -> Box<[u8]> {
    let mut writer = Writer::append_to(Dialect::Gossip, [8].into());
    writer.map(4).text("Keys").array(keys.len());
    keys.iter().for_each(|key| _ = writer.text(key));
    writer.text("Message").text("").text("PrimaryKey").text(&keys[0]).text("Result").boolean(true);
    writer.finish().into()
}

/// The queries that the node has sent since the last call.
fn asked(lone: &mut Lone) -> Vec<Query> {
    lone.wait(Duration::from_millis(450));
    let of_queries = |(_, message)| match message {
        Message::Serf(SerfMessage::Query(query)) => Some(*query),
        _ => None,
    };
    let mut queries: Vec<Query> = lone.sent().into_iter().filter_map(of_queries).collect();
    queries.dedup();
    queries
}

fn answer(lone: &mut Lone, query: &Query, from: usize, payload: Box<[u8]>) {
    let (ltime, id, from) = (query.ltime, query.id, name(from));
    lone.hear(1, &[Message::Serf(SerfMessage::Response(QueryResponse { ltime, id, from, ack: false, payload }))]);
}

fn outcome(lone: &mut Lone) -> KeyOutcome {
    match lone.replies().as_slice() {
        [Reply::Keys(outcome)] => (**outcome).clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_more_key_operation_than_can_wait_is_refused() {
    let mut lone = Lone::new(|_| ());
    lone.hear(1, &[Message::Alive(alive(1, 1))]);
    for _ in 0..limits::KEY_REQUESTS_MAX {
        lone.command(Command::Key(KeyRequest::List));
    }
    assert_eq!(lone.replies(), []);
    lone.command(Command::Key(KeyRequest::List));
    assert_eq!(lone.replies(), [Reply::Failed(CommandError::Busy)]);
    let queries = asked(&mut lone);
    assert_eq!(queries.len(), 1, "one at a time");
    answer(&mut lone, &queries[0], 1, key_answer(&["key".into()]));
    assert_eq!(outcome(&mut lone).responses, 2);
    lone.command(Command::Key(KeyRequest::List));
    assert_eq!(lone.replies(), [], "an operation that ends makes room");
    works_on(&mut lone);
}

#[test]
fn different_keys_of_a_cluster_beyond_the_bound_are_not_listed() {
    let most = limits::KEYS_LISTED_MAX;
    let members = most / limits::KEYS_MAX + 1;
    let mut lone = Lone::new(|_| ());
    for number in 1..=members {
        lone.hear(1, &[Message::Alive(alive(number, 1))]);
    }
    lone.command(Command::Key(KeyRequest::List));
    let query = asked(&mut lone).remove(0);
    for number in 1..members {
        // One more than a ring holds is not even read.
        let keys: Vec<String> = (0..=limits::KEYS_MAX).map(|key| format!("key {number} {key}")).collect();
        answer(&mut lone, &query, number, key_answer(&keys));
    }
    assert_eq!((drops(&lone, "list of keys"), lone.node.stats().dropped), (0, 0));
    let (known, new) = (format!("key 1 {}", limits::KEYS_MAX - 1), "new".into());
    answer(&mut lone, &query, members, key_answer(&[known.clone(), new]));
    assert_eq!((drops(&lone, "list of keys"), lone.node.stats().dropped), (1, 1));
    let KeyOutcome { keys, primaries, .. } = outcome(&mut lone);
    assert_eq!((keys.len(), keys.get(&known), keys.get("new")), (most, Some(&2), None));
    assert_eq!(primaries.len(), members);
    works_on(&mut lone);
}

#[test]
fn keys_of_a_status_beyond_the_bound_are_not_shown() {
    let members = limits::KEYS_SHOWN_MAX / limits::KEYS_MAX + 1;
    let mut lone = Lone::new(|_| ());
    for number in 1..=members {
        lone.hear(1, &[Message::Alive(alive(number, 1))]);
    }
    lone.command(Command::Key(KeyRequest::Status));
    let query = asked(&mut lone).remove(0);
    let keys: Vec<String> = (0..limits::KEYS_MAX).map(|key| format!("key {key}")).collect();
    for number in 1..members {
        answer(&mut lone, &query, number, key_answer(&keys));
    }
    assert_eq!(drops(&lone, "list of keys"), 0);
    answer(&mut lone, &query, members, key_answer(&keys[..1]));
    assert_eq!(drops(&lone, "list of keys"), 1);
    let KeyOutcome { rings, responses, .. } = outcome(&mut lone);
    assert_eq!(
        (rings.len(), responses as usize),
        (members - 1, members + 1),
        "who is beyond it has answered all the same"
    );
    assert!(rings.values().all(|ring| ring.len() == limits::KEYS_MAX));
    works_on(&mut lone);
}

#[test]
fn what_is_too_long_for_a_key_is_not_shown_as_one() {
    let mut lone = Lone::new(|_| ());
    lone.hear(1, &[Message::Alive(alive(1, 1))]);
    lone.command(Command::Key(KeyRequest::Status));
    let query = asked(&mut lone).remove(0);
    answer(&mut lone, &query, 1, key_answer(&["a".repeat(44), "b".repeat(45), String::new()]));
    assert_eq!(outcome(&mut lone).rings, [(name(1), vec!["a".repeat(44)])].into());
}

fn key(number: usize) -> [u8; 32] {
    let mut key = [7; 32];
    key[..8].copy_from_slice(&number.to_be_bytes());
    key
}

/// Has the node hear a request to install a key, as a peer of the same key would send it.
fn hear_install(lone: &mut Lone, keyring: &Keyring, id: usize, number: usize) {
    let mut writer = Writer::append_to(Dialect::Gossip, [7].into());
    writer.map(1).text("Key").blob(&key(number));
    let mut bytes = Vec::new();
    native::encode(&query(1, id, "_serf_install-key", &writer.finish()), &mut bytes);
    let bytes = native::seal_packet(&[&bytes], Envelope { keyring, label: &[] }, [0; 12]);
    lone.give(Stimulus::Datagram { from: addr(1), bytes: &bytes });
}

fn with_keyring_file(config: &mut Config) {
    config.keys = vec![Key::new(&key(0)).expect("32 bytes")];
    config.serf.keyring_file = true;
}

#[test]
fn one_more_key_change_than_can_wait_for_the_disk_is_refused_and_does_not_happen() {
    let mut lone = Lone::new(with_keyring_file);
    let keyring = Keyring::new(vec![Key::new(&key(0)).expect("32 bytes")]);
    for number in 0..limits::PERSISTS_MAX {
        hear_install(&mut lone, &keyring, number, 1);
    }
    let persists = lone.persists();
    assert_eq!((persists.len(), lone.node.keys().count()), (limits::PERSISTS_MAX, 2));
    lone.out.clear();
    hear_install(&mut lone, &keyring, limits::PERSISTS_MAX, 2);
    let refusal = format!("serf: Failed to install key: {}", CommandError::Busy);
    assert!(lone.logs().iter().any(|log| format!("{log}") == refusal), "{:?}", lone.logs());
    assert_eq!((lone.persists(), lone.node.keys().count()), (vec![], 2));
    lone.command(Command::SetTags { set: Tags::from([(b"a".to_vec(), b"b".to_vec())]), delete: Vec::new() });
    assert_eq!(lone.replies(), [Reply::TagsSet], "there is no file of tags to wait for");
    lone.give(Stimulus::Persisted { id: persists[0].0, result: Ok(()) });
    hear_install(&mut lone, &keyring, limits::PERSISTS_MAX + 1, 2);
    let persists = lone.persists();
    let [(_, Persist::Keyring(keys))] = persists.as_slice() else { panic!("{persists:?}") };
    assert_eq!((keys.len(), lone.node.keys().count()), (3, 3), "a record that is kept makes room");
}

#[test]
fn one_more_tag_change_than_can_wait_for_the_disk_is_refused() {
    let mut lone = Lone::new(|config| config.serf.tags_file = true);
    let set = |number: usize| {
        let (key, value) = (format!("k{}", number % 16).into_bytes(), format!("{number}").into_bytes());
        Command::SetTags { set: Tags::from([(key, value)]), delete: Vec::new() }
    };
    for number in 0..limits::PERSISTS_MAX {
        lone.command(set(number));
    }
    assert_eq!(lone.replies(), []);
    lone.give(Stimulus::Command { id: RequestId(9), command: set(limits::PERSISTS_MAX) });
    assert_eq!(lone.replies(), [Reply::Failed(CommandError::Busy)]);
    let mut kept: BTreeMap<PersistId, Persist> = BTreeMap::new();
    while let [(id, record)] = lone.persists().as_slice() {
        kept.insert(*id, record.clone());
        lone.give(Stimulus::Persisted { id: *id, result: Ok(()) });
    }
    assert_eq!((kept.len(), lone.replies().len()), (limits::PERSISTS_MAX, limits::PERSISTS_MAX));
    let Some((_, Persist::Tags(last))) = kept.pop_last() else { panic!("{kept:?}") };
    assert_eq!((last.len(), lone.node.tags()), (16, last));
    works_on(&mut lone);
}

#[test]
fn a_full_window_of_coalesced_user_events_is_flushed() {
    let mut lone = Lone::new(|config| config.serf.coalesce = Some(Coalesce { period: HOUR, quiet: HOUR }));
    let most = limits::COALESCED_EVENTS_MAX;
    let events: Vec<Message> = (0..most).map(|number| event((number / AT_A_TIME + 1) as u64, number, 0)).collect();
    let (last, others) = events.split_last().expect("some");
    flood(&mut lone, others);
    assert_eq!(lone.events(), [""; 0]);
    lone.hear(1, core::slice::from_ref(last));
    assert_eq!(lone.events().len(), most);
    lone.hear(1, &[event(1 + (most / AT_A_TIME) as u64, most, 0)]);
    assert_eq!(lone.events(), [""; 0], "the next window has begun");
    lone.wait(HOUR);
    // The node's own join has a window too.
    assert_eq!(lone.events(), ["member-join n0".to_owned(), format!("user {} e{most} ", 1 + most / AT_A_TIME)]);
    works_on(&mut lone);
}
