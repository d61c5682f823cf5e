//! Every bound on events, queries, tags and keys: what happens at the limit, what one beyond it, and that the node works
//! on.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use crate::Config;
use crate::command::{Command, CommandError, KeyRequest, Question, Reply};
use crate::config::Coalesce;
use crate::event::QueryKey;
use crate::io::Stimulus;
use crate::lamport::LamportTime;
use crate::limits;
use crate::tests::bounds::{drops, works_on};
use crate::tests::harness::{Lone, addr, alive, name};
use crate::types::{GossipAddr, QueryId};
use crate::wire::{Message, Query, SerfMessage, UserEvent};

const SECOND: Duration = Duration::from_secs(1);

/// A node that knows one other, which never says a word again.
fn with_peer(change: impl FnOnce(&mut Config)) -> Lone {
    let mut lone = Lone::new(change);
    lone.hear(1, &[Message::Alive(alive(1, 1))]);
    lone.out.clear();
    lone
}

fn event(ltime: u64, name: &str, bytes: usize) -> Message {
    let (name, payload) = (name.as_bytes().into(), vec![0; bytes].into());
    Message::Serf(SerfMessage::Event(UserEvent { ltime: LamportTime(ltime), name, payload, coalesce: true }))
}

fn query(ltime: u64, id: u32) -> Message {
    Message::Serf(SerfMessage::Query(Box::new(Query {
        ltime: LamportTime(ltime),
        id: QueryId(id),
        origin: GossipAddr::from(addr(1)),
        node: name(1),
        filters: Vec::new(),
        ack: false,
        no_broadcast: true,
        relay_factor: 0,
        timeout: 3 * SECOND,
        name: b"load"[..].into(),
        payload: [].into(),
    })))
}

fn question(timeout: Duration) -> Command {
    Command::Query(Box::new(Question {
        name: b"load"[..].into(),
        payload: [].into(),
        filters: Vec::new(),
        ack: true,
        relay_factor: 0,
        timeout: Some(timeout),
    }))
}

#[test]
fn one_more_remembered_event_than_the_bound_costs_the_oldest_time() {
    let mut lone = with_peer(|_| ());
    for number in 0..limits::EVENTS_SEEN_MAX {
        lone.hear_unchecked(1, &event(10, &format!("e{number}"), 0));
    }
    assert_eq!(lone.events().len(), limits::EVENTS_SEEN_MAX);
    assert_eq!(drops(&lone, "user event memory"), 0);
    lone.hear(1, &[event(11, "new", 0)]);
    assert_eq!(lone.events(), ["user 11 new "]);
    assert_eq!(drops(&lone, "user event memory"), 1);
    lone.hear(1, &[event(10, "e0", 0), event(11, "new", 0)]);
    assert_eq!(lone.events(), [""; 0], "what is forgotten does not come again");
    works_on(&mut lone);
}

#[test]
fn events_beyond_the_bound_on_their_bytes_cost_the_oldest_time() {
    let mut lone = with_peer(|_| ());
    let bytes = limits::USER_EVENT_BYTES_MAX - 1;
    let fits = (limits::EVENTS_SEEN_BYTES_MAX / limits::USER_EVENT_BYTES_MAX) as u64;
    assert!(fits < limits::SEEN_TIMES, "the window does not help");
    for ltime in 1..=fits {
        lone.hear_unchecked(1, &event(ltime, "e", bytes));
    }
    assert_eq!((lone.events().len() as u64, drops(&lone, "user event memory")), (fits, 0));
    lone.hear(1, &[event(fits + 1, "e", bytes)]);
    assert_eq!((lone.events().len(), drops(&lone, "user event memory")), (1, 1));
    lone.hear(1, &[event(1, "e", bytes), event(2, "e", bytes)]);
    assert_eq!(lone.events(), [""; 0]);
    works_on(&mut lone);
}

#[test]
fn one_more_remembered_query_than_the_bound_costs_the_oldest_time() {
    let mut lone = with_peer(|_| ());
    for id in 0..limits::QUERIES_SEEN_MAX as u32 {
        lone.hear_unchecked(1, &query(10, id));
    }
    assert_eq!((lone.events().len(), drops(&lone, "query memory")), (limits::QUERIES_SEEN_MAX, 0));
    lone.hear(1, &[query(11, 0)]);
    assert_eq!((lone.events().len(), drops(&lone, "query memory")), (1, 1));
    lone.hear(1, &[query(10, 0), query(11, 0)]);
    assert_eq!(lone.events(), [""; 0]);
    works_on(&mut lone);
}

#[test]
fn one_more_open_query_than_the_bound_cannot_be_answered() {
    let mut lone = with_peer(|_| ());
    let most = limits::QUERIES_OPEN_MAX as u32;
    for id in 0..most {
        lone.hear_unchecked(1, &query(10, id));
    }
    assert_eq!(drops(&lone, "open queries"), 0);
    lone.hear(1, &[query(10, most)]);
    assert_eq!(drops(&lone, "open queries"), 1);
    let respond =
        |id| Command::Respond { query: QueryKey { ltime: LamportTime(10), id: QueryId(id) }, payload: b"x"[..].into() };
    lone.command(respond(most));
    lone.command(respond(most - 1));
    assert_eq!(lone.replies(), [Reply::Failed(CommandError::UnknownQuery), Reply::Responded]);
    // Those whose time is over make room.
    lone.wait(4 * SECOND);
    lone.hear(1, &[query(10, most + 1)]);
    lone.command(respond(most + 1));
    assert_eq!(lone.replies(), [Reply::Responded]);
    works_on(&mut lone);
}

#[test]
fn the_queues_of_events_and_queries_keep_their_bounds_and_say_so() {
    let mut lone = with_peer(|config| config.serf.user_event_bytes = limits::USER_EVENT_BYTES_MAX);
    let fire = Command::UserEvent { name: b"e"[..].into(), payload: [].into(), coalesce: false };
    for _ in 0..limits::EVENTS_QUEUED_MAX {
        lone.command(fire.clone());
    }
    assert_eq!((lone.node.stats().event_queue, drops(&lone, "event queue")), (limits::EVENTS_QUEUED_MAX, 0));
    lone.command(fire);
    assert_eq!((lone.node.stats().event_queue, drops(&lone, "event queue")), (limits::EVENTS_QUEUED_MAX, 1));
    assert!(lone.replies().iter().all(|reply| *reply == Reply::EventSent));
    for id in 0..=limits::EVENTS_QUEUED_MAX as u32 {
        let Message::Serf(SerfMessage::Query(mut query)) = query(10, id) else { panic!("a query") };
        query.no_broadcast = false;
        lone.hear_unchecked(1, &Message::Serf(SerfMessage::Query(query)));
    }
    assert_eq!((lone.node.stats().query_queue, drops(&lone, "query queue")), (limits::EVENTS_QUEUED_MAX, 1));
    works_on(&mut lone);
}

#[test]
fn one_more_query_of_our_own_than_the_bound_is_refused() {
    let mut lone = with_peer(|_| ());
    for _ in 0..limits::QUERIES_RUNNING_MAX {
        lone.command(question(60 * SECOND));
    }
    let started = lone.replies().iter().filter(|reply| **reply == Reply::QueryStarted).count();
    assert_eq!(started, limits::QUERIES_RUNNING_MAX);
    lone.command(question(60 * SECOND));
    assert_eq!(lone.replies(), [Reply::Failed(CommandError::Busy)]);
    lone.wait(61 * SECOND);
    let done = lone.replies().iter().filter(|reply| **reply == Reply::QueryDone).count();
    assert_eq!(done, limits::QUERIES_RUNNING_MAX);
    lone.command(question(SECOND));
    assert!(lone.replies().contains(&Reply::QueryStarted), "and there is room again");
    works_on(&mut lone);
}

#[test]
fn one_more_key_operation_than_can_wait_is_refused() {
    let mut lone = with_peer(|_| ());
    for _ in 0..limits::KEY_REQUESTS_MAX {
        lone.command(Command::Key(KeyRequest::List));
    }
    assert_eq!(lone.replies(), []);
    lone.command(Command::Key(KeyRequest::List));
    assert_eq!(lone.replies(), [Reply::Failed(CommandError::Busy)]);
    // Each waits for the silent member as long as a query takes: two members, 200 ms, 16 times.
    lone.wait(limits::KEY_REQUESTS_MAX as u32 * 4 * SECOND);
    let all = lone.replies();
    assert_eq!(all.len(), limits::KEY_REQUESTS_MAX);
    assert!(all.iter().all(|reply| matches!(reply, Reply::Keys(_))), "{:?}", all.first());
}

#[test]
fn one_more_record_than_can_wait_is_refused() {
    let mut lone = with_peer(|config| config.serf.tags_file = true);
    let set = |number: usize| Command::SetTags {
        set: BTreeMap::from([(b"n".to_vec(), format!("{number}").into_bytes())]),
        delete: Vec::new(),
    };
    for number in 0..limits::PERSISTS_MAX {
        lone.command(set(number));
    }
    assert_eq!(lone.replies(), []);
    lone.command(set(0));
    assert_eq!(lone.replies(), [Reply::Failed(CommandError::Busy)]);
    let records = lone.persists();
    assert_eq!(records.len(), limits::PERSISTS_MAX);
    lone.give(Stimulus::Persisted { id: records[0].0, result: Ok(()) });
    lone.command(set(1));
    assert_eq!(lone.persists().len(), 1, "one that is done makes room");
    works_on(&mut lone);
}

#[test]
fn a_full_window_of_coalesced_user_events_is_flushed() {
    let window = 600 * SECOND;
    let mut lone = with_peer(|config| config.serf.coalesce = Some(Coalesce { period: window, quiet: window }));
    for number in 1..limits::COALESCED_EVENTS_MAX {
        lone.hear_unchecked(1, &event(10, &format!("e{number}"), 0));
    }
    assert_eq!(lone.events(), [""; 0]);
    lone.hear(1, &[event(11, "last", 0)]);
    let events: Vec<String> = lone.events();
    assert_eq!(events.len(), limits::COALESCED_EVENTS_MAX);
    assert_eq!(events.last().map(String::as_str), Some("user 11 last "), "in the order of their times");
    works_on(&mut lone);
}
