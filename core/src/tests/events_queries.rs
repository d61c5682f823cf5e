//! User events and queries (protocol.md 2.7, 2.8, 2.9).

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use crate::Config;
use crate::command::{Command, CommandError, Question, Reply};
use crate::config::Coalesce;
use crate::event::{Event, QueryKey};
use crate::io::{Output, RequestId, Stimulus};
use crate::lamport::LamportTime;
use crate::limits;
use crate::log::Log;
use crate::tests::harness::{Cluster, Lone, accused, addr, alive, name};
use crate::types::{GossipAddr, QueryId};
use crate::wire::{Filter, Message, Query, QueryResponse, Relay, SerfMessage, UserEvent};

const SECOND: Duration = Duration::from_secs(1);

fn fire(name: &str, payload: &[u8]) -> Command {
    Command::UserEvent { name: name.as_bytes().into(), payload: payload.into(), coalesce: false }
}

fn event(ltime: u64, name: &str) -> Message {
    let (name, payload) = (name.as_bytes().into(), [].into());
    Message::Serf(SerfMessage::Event(UserEvent { ltime: LamportTime(ltime), name, payload, coalesce: false }))
}

fn question(name: &str) -> Question {
    let (name, payload, filters) = (name.as_bytes().into(), [].into(), Vec::new());
    Question { name, payload, filters, ack: true, relay_factor: 0, timeout: None }
}

fn ask(question: Question) -> Command {
    Command::Query(Box::new(question))
}

fn query(ltime: u64, id: u32, name: &str) -> Query {
    Query {
        ltime: LamportTime(ltime),
        id: QueryId(id),
        origin: GossipAddr::from(addr(1)),
        node: crate::tests::harness::name(1),
        filters: Vec::new(),
        ack: true,
        no_broadcast: false,
        relay_factor: 0,
        timeout: 3 * SECOND,
        name: name.as_bytes().into(),
        payload: [].into(),
    }
}

fn asked(query: &Query) -> Message {
    Message::Serf(SerfMessage::Query(Box::new(query.clone())))
}

fn with_peer(change: impl FnOnce(&mut Config)) -> Lone {
    let mut lone = Lone::new(change);
    lone.hear(1, &[Message::Alive(alive(1, 1))]);
    lone.out.clear();
    lone
}

/// Every query that is handed out is answered with the node's name.
fn answer_queries(cluster: &mut Cluster, run: Duration, answering: &[usize]) -> Vec<(usize, QueryKey)> {
    let mut answered = BTreeSet::new();
    let mut order = Vec::new();
    for _ in 0..run.as_millis() / 10 {
        cluster.run(Duration::from_millis(10));
        for (number, key) in cluster.queries.clone() {
            if answering.contains(&number) && answered.insert((number, key)) {
                let payload = format!("from {number}").into_bytes().into();
                cluster.command(number, Command::Respond { query: key, payload });
                order.push((number, key));
            }
        }
    }
    order
}

/// Two nodes that have joined, and a third one that is not there yet.
fn with_latecomer() -> Cluster {
    let mut cluster = Cluster::new(3, |_| ());
    cluster.crash(2);
    cluster.join(1, 0);
    cluster.run(2 * SECOND);
    cluster
}

fn replies(cluster: &Cluster, number: usize, id: u64) -> Vec<String> {
    let of_query = cluster.heard.iter().filter(|(_, at, of, _)| (*at, *of) == (number, id));
    let show = |reply: &Reply| match reply {
        Reply::QueryStarted => "started".into(),
        Reply::QueryAck { from } => format!("ack {from}"),
        Reply::QueryResponse { from, payload } => format!("{from}: {}", String::from_utf8_lossy(payload)),
        Reply::QueryDone => "done".into(),
        other => format!("{other:?}"),
    };
    of_query.map(|(_, _, _, reply)| show(reply)).collect()
}

#[test]
fn an_event_reaches_every_member_exactly_once() {
    let mut cluster = Cluster::joined(12, |_| ());
    let id = cluster.command(3, fire("deploy", b"v2"));
    cluster.run(40 * SECOND);
    assert_eq!(cluster.replies.get(&(3, id)), Some(&Reply::EventSent));
    for number in 0..12 {
        let heard: Vec<_> = cluster.events(number).into_iter().filter(|line| line.starts_with("user")).collect();
        assert_eq!(heard, ["user 1 deploy v2"], "at node {number}, push/pulls included");
    }
}

#[test]
fn events_that_are_too_long_are_refused_in_upstreams_words() {
    let mut lone = with_peer(|_| ());
    lone.command(fire("e", &[0; 512]));
    lone.command(fire("e", &[0; 490]));
    lone.command(fire("e", &[0; 470]));
    let replies: Vec<String> = lone
        .replies()
        .iter()
        .map(|reply| match reply {
            Reply::Failed(error) => format!("{error}"),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(
        replies,
        [
            "user event exceeds configured limit of 512 bytes before encoding",
            "encoded user event exceeds configured limit of 512 bytes after encoding",
            "EventSent",
        ]
    );
}

#[test]
fn an_event_is_a_duplicate_by_time_name_and_payload_alone() {
    let mut lone = with_peer(|_| ());
    lone.hear(1, &[event(5, "a"), event(5, "a"), event(5, "b"), event(6, "a")]);
    assert_eq!(lone.events(), ["user 5 a ", "user 5 b ", "user 6 a "]);
    assert_eq!(lone.node.stats().event_queue, 3, "news is passed on, and nothing else");
}

#[test]
fn an_event_older_than_the_window_is_dropped() {
    let mut lone = with_peer(|_| ());
    lone.hear(1, &[event(1_000, "new"), event(488, "too old"), event(489, "just in")]);
    assert_eq!(lone.events(), ["user 1000 new ", "user 489 just in "]);
    assert_eq!(lone.node.stats().event_time, LamportTime(1_001));
}

#[test]
fn events_of_a_push_pull_come_out_in_lamport_order() {
    let mut cluster = with_latecomer();
    for number in [0, 1, 0, 1, 1, 0] {
        cluster.command(number, fire(&format!("from {number}"), b""));
        cluster.run(2 * SECOND);
    }
    cluster.start(2, 77);
    cluster.command(2, Command::Join { targets: vec![format!("{}", addr(0)).as_str().into()], replay: true });
    cluster.run(2 * SECOND);
    let heard: Vec<_> = cluster.events(2).into_iter().filter(|line| line.starts_with("user")).collect();
    let want =
        ["user 1 from 0 ", "user 2 from 1 ", "user 3 from 0 ", "user 4 from 1 ", "user 5 from 1 ", "user 6 from 0 "];
    assert_eq!(heard, want);
}

#[test]
fn a_join_without_replay_hears_nothing_of_the_past_then_or_later() {
    let mut cluster = with_latecomer();
    cluster.command(0, fire("old", b""));
    cluster.run(2 * SECOND);
    cluster.start(2, 77);
    cluster.join(2, 0);
    cluster.run(2 * SECOND);
    cluster.command(2, Command::Join { targets: vec![format!("{}", addr(1)).as_str().into()], replay: true });
    cluster.command(1, fire("new", b""));
    cluster.run(40 * SECOND);
    let heard: Vec<_> = cluster.events(2).into_iter().filter(|line| line.starts_with("user")).collect();
    assert_eq!(heard, ["user 2 new "]);
}

#[test]
fn u35_who_is_joined_while_it_joins_still_hears_the_past_of_those_who_join_it() {
    let mut lone = with_peer(|_| ());
    lone.command(Command::Join { targets: vec!["10.0.0.9".into()], replay: false });
    assert!(lone.out.iter().any(|output| matches!(output, Output::Stream { .. })), "the join is under way");
    // An inbound join of another node carries an event; only our own exchange may suppress the past.
    let state = crate::wire::PushPull {
        join: true,
        nodes: vec![crate::wire::NodeState { alive: alive(1, 1), state: crate::wire::SwimState::Alive }],
        serf: crate::wire::SerfState {
            event_ltime: LamportTime(9),
            events: vec![crate::wire::EventsAt {
                ltime: LamportTime(8),
                events: vec![crate::wire::Fired { name: Box::from(*b"past"), payload: [].into() }],
            }],
            ..crate::wire::SerfState::default()
        },
        unreadable: 0,
    };
    lone.is_told(1, state);
    assert_eq!(lone.events(), ["user 8 past "]);
}

#[test]
fn of_coalesced_events_the_latest_of_each_name_comes_out_after_the_quiet_time() {
    let mut lone = with_peer(|config| config.serf.coalesce = Some(Coalesce::AGENT));
    lone.wait(3 * SECOND);
    lone.events();
    for (name, payload) in [("a", "1"), ("a", "2"), ("b", "1"), ("a", "3")] {
        let (name, payload) = (name.as_bytes().into(), payload.as_bytes().into());
        lone.command(Command::UserEvent { name, payload, coalesce: true });
    }
    lone.command(fire("at once", b""));
    assert_eq!(lone.events(), ["user 5 at once "]);
    lone.wait(SECOND);
    assert_eq!(lone.events(), ["user 3 b 1", "user 4 a 3"]);
}

#[test]
fn a_query_is_acked_and_answered_by_each_member_once_and_ends_when_all_have() {
    let mut cluster = Cluster::joined(5, |_| ());
    let begun = cluster.now;
    let id = cluster.command(0, ask(question("who")));
    answer_queries(&mut cluster, 3 * SECOND, &[0, 1, 2, 3, 4]);
    let heard = replies(&cluster, 0, id);
    let sorted: BTreeSet<&str> = heard.iter().map(String::as_str).collect();
    let want: BTreeSet<String> = (0..5).flat_map(|n| [format!("ack n{n}"), format!("n{n}: from {n}")]).collect();
    assert_eq!(heard.len(), 12, "{heard:?}");
    assert!(want.iter().all(|line| sorted.contains(line.as_str())), "{heard:?}");
    assert_eq!((heard.first().map(String::as_str), heard.last().map(String::as_str)), (Some("started"), Some("done")));
    let done = cluster.heard.iter().find(|(.., reply)| *reply == Reply::QueryDone).map(|(at, ..)| at.since(begun));
    assert!(done < Some(2 * SECOND), "it ends before its 3.2 s: {done:?}");
}

#[test]
fn a_query_that_somebody_does_not_answer_ends_at_its_time() {
    let mut cluster = Cluster::joined(5, |_| ());
    let begun = cluster.now;
    let id = cluster.command(0, ask(question("who")));
    answer_queries(&mut cluster, 4 * SECOND, &[0, 1, 2, 3]);
    assert_eq!(replies(&cluster, 0, id).len(), 11);
    let done = cluster.heard.iter().find(|(.., reply)| *reply == Reply::QueryDone).map(|(at, ..)| at.since(begun));
    assert_eq!(done, Some(Duration::from_millis(3_200)), "gossip interval x 16 x ceil(log10(n + 1))");
}

#[test]
fn only_those_who_match_every_filter_ack_and_hand_the_query_out() {
    let mut cluster = Cluster::joined(4, |config| {
        let role: &[u8] = if config.name == name(2) { b"web" } else { b"db" };
        config.tags.insert(b"role".to_vec(), role.to_vec());
    });
    let filters = vec![
        Filter::Nodes(vec![name(1), name(2), name(3)]),
        Filter::Tag { key: Box::from(*b"role"), pattern: Box::from(*b"e") },
    ];
    let id = cluster.command(0, ask(Question { filters, ..question("who") }));
    answer_queries(&mut cluster, SECOND, &[0, 1, 2, 3]);
    assert_eq!(replies(&cluster, 0, id), ["started", "ack n2", "n2: from 2", "done"]);
    for number in [1, 3] {
        assert_eq!(cluster.node(number).stats().query_time, LamportTime(2), "it was passed on by node {number}");
    }
}

#[test]
fn a_pattern_that_cannot_be_compiled_matches_nobody_and_is_logged() {
    let mut lone = with_peer(|_| ());
    let filters = vec![Filter::Tag { key: Box::from(*b"role"), pattern: Box::from(*b"(") }];
    lone.hear(1, &[asked(&Query { filters, ..query(3, 1, "q") })]);
    assert!(lone.events().is_empty());
    let text = "serf: failed to compile filter regex ((): error parsing regexp: missing closing ): `(`";
    assert!(lone.logs().iter().any(|log| format!("{log}") == text), "{:?}", lone.logs());
}

#[test]
fn the_patterns_of_queries_compile_to_so_much_in_a_second() {
    let mut lone = with_peer(|_| ());
    let mut heard = |wait, id, pattern: &[u8], patterns: usize| {
        let filter = Filter::Tag { key: Box::from(*b"role"), pattern: pattern.into() };
        lone.wait(Duration::from_millis(wait));
        lone.hear(1, &[asked(&Query { filters: vec![filter; patterns], ..query(3, id, "q") })]);
        let refused = lone.logs().iter().filter(|log| matches!(log, Log::BadFilter(..))).count();
        (lone.events().len(), refused)
    };
    let (heavy, light) = (br"\pL{50}|", b"web|db|");
    assert_eq!(heard(0, 1, heavy, 1), (1, 0));
    assert_eq!(heard(0, 2, heavy, 1), (0, 1), "each takes more than half of what there is in a second");
    assert_eq!(heard(0, 3, heavy, limits::FILTERS_MAX), (0, 2));
    assert_eq!(heard(0, 4, light, 3), (1, 2), "what is not much is compiled all the same");
    assert_eq!(heard(500, 5, heavy, 1), (0, 3));
    assert_eq!(heard(1_000, 6, heavy, 1), (1, 3));
    assert_eq!(heard(1_000, 7, heavy, 2), (0, 4), "queries of one packet and filters of one query are alike");
}

#[test]
fn a_pattern_is_matched_against_a_long_tag_as_far_as_the_allowance_goes() {
    const LONG: usize = 400;
    let mut lone = with_peer(|config| {
        config.tags.insert(b"long".to_vec(), vec![b'a'; LONG]);
    });
    let mut heard = |wait, id, pattern: &[u8], patterns: usize| {
        let filter = Filter::Tag { key: Box::from(*b"long"), pattern: pattern.into() };
        lone.wait(Duration::from_millis(wait));
        lone.hear(1, &[asked(&Query { filters: vec![filter; patterns], ..query(3, id, "q") })]);
        let refused = lone.logs().iter().filter(|log| matches!(log, Log::BadFilter(..))).count();
        (lone.events().len(), refused)
    };
    // Each byte of the tag may be at each place of the pattern.
    let (slow, light) = (br"(a?){100}z?$", b"a");
    assert_eq!(heard(0, 1, light, 3), (1, 0));
    assert_eq!(heard(0, 2, br"(a?){1000}z?$", 1), (0, 1), "it compiles to a twentieth of what there is in a second");
    assert_eq!(heard(1_000, 3, slow, 2), (1, 1));
    assert_eq!(heard(0, 4, slow, limits::FILTERS_MAX), (0, 2), "what there is in a second is used up");
    assert_eq!(heard(1_000, 5, slow, 2), (1, 2));
}

#[test]
fn what_stands_behind_a_filter_that_does_not_match_is_not_looked_at() {
    let mut lone = with_peer(|_| ());
    let bad = Filter::Tag { key: Box::from(*b"role"), pattern: Box::from(*b"(") };
    lone.hear(1, &[asked(&Query { filters: vec![Filter::Nodes(vec![name(7)]), bad], ..query(3, 1, "q") })]);
    assert!(lone.events().is_empty() && !lone.logs().iter().any(|log| matches!(log, Log::BadFilter(..))));
}

#[test]
fn a_query_is_told_from_others_by_time_and_id_and_answered_at_most_once_in_time() {
    let mut lone = with_peer(|_| ());
    lone.hear(1, &[asked(&query(3, 1, "q")), asked(&query(3, 1, "q")), asked(&query(3, 2, "q"))]);
    assert_eq!(lone.events(), ["query 3 q", "query 3 q"]);
    let key = |id| QueryKey { ltime: LamportTime(3), id: QueryId(id) };
    let respond = |id, len| Command::Respond { query: key(id), payload: vec![0; len].into() };
    lone.command(respond(1, 1_000));
    lone.command(respond(1, 900));
    lone.command(respond(1, 1));
    lone.command(respond(9, 1));
    lone.wait(4 * SECOND);
    lone.command(respond(2, 1));
    lone.command(respond(1, 1));
    let failed = |error| Reply::Failed(error);
    assert_eq!(
        lone.replies(),
        [
            failed(CommandError::ResponseTooLong { limit: 1_024 }),
            Reply::Responded,
            failed(CommandError::AlreadyResponded { is_over: false }),
            failed(CommandError::UnknownQuery),
            failed(CommandError::PastDeadline),
            failed(CommandError::AlreadyResponded { is_over: true }),
        ]
    );
}

#[test]
fn a_word_is_relayed_by_as_many_members_as_asked_for_but_not_by_who_asks() {
    let mut lone = with_peer(|_| ());
    lone.hear(1, &(2..7).map(|number| Message::Alive(alive(number, 1))).collect::<Vec<_>>());
    lone.sent();
    lone.hear(1, &[asked(&Query { relay_factor: 3, ..query(3, 1, "q") })]);
    let sent = lone.sent();
    let relays: Vec<_> = sent.iter().filter(|(_, sent)| matches!(sent, Message::Serf(SerfMessage::Relay(_)))).collect();
    let direct = sent.iter().filter(|(_, sent)| matches!(sent, Message::Serf(SerfMessage::Response(_))));
    assert_eq!(direct.map(|(to, _)| *to).collect::<Vec<_>>(), [addr(1)]);
    let helpers: BTreeSet<_> = relays.iter().map(|(to, _)| *to).collect();
    assert_eq!((relays.len(), helpers.len(), helpers.contains(&addr(1))), (3, 3, false));
}

#[test]
fn a_relayed_word_goes_on_to_a_known_member_and_to_nobody_else() {
    let mut lone = with_peer(|_| ());
    let response =
        QueryResponse { ltime: LamportTime(3), id: QueryId(1), from: name(2), ack: true, payload: [].into() };
    let relay = |to: usize| {
        let relay = Relay { to: GossipAddr::from(addr(to)), node: name(1), response: response.clone() };
        Message::Serf(SerfMessage::Relay(relay))
    };
    lone.hear(2, &[relay(1), relay(66)]);
    let sent = lone.sent();
    assert_eq!(sent, [(addr(1), Message::Serf(SerfMessage::Response(response.clone())))]);
    assert!(lone.logs().contains(&Log::RelayRefused(name(1), GossipAddr::from(addr(66)))));
}

#[test]
fn names_of_the_clusters_own_queries_are_refused_but_for_the_ping() {
    let mut lone = with_peer(|_| ());
    lone.command(ask(question("_serf_list-keys")));
    lone.command(ask(Question { payload: Box::from(*b"x"), ..question("_serf_ping") }));
    lone.command(ask(question("_serf_ping")));
    let replies = lone.replies();
    assert_eq!(
        replies[..3],
        [Reply::Failed(CommandError::ReservedQuery), Reply::Failed(CommandError::ReservedQuery), Reply::QueryStarted,]
    );
    assert!(lone.events().is_empty(), "nobody is shown them");
    lone.hear(1, &[asked(&query(40, 4, "_serf_nonsense"))]);
    assert!(lone.events().is_empty() && lone.logs().iter().any(|log| matches!(log, Log::UnknownInternalQuery(_))));
}

#[test]
fn an_old_serf_protocol_has_no_queries() {
    let mut lone = Lone::new(|config| config.versions.0[5] = 3);
    lone.command(ask(question("q")));
    assert_eq!(lone.replies(), [Reply::Failed(CommandError::Unsupported)]);
}

#[test]
fn u24_two_queries_of_one_moment_have_collectors_of_their_own() {
    let mut cluster = Cluster::joined(3, |_| ());
    let one = cluster.command(0, ask(question("one")));
    let two = cluster.command(0, ask(question("two")));
    answer_queries(&mut cluster, SECOND, &[0, 1, 2]);
    for id in [one, two] {
        assert_eq!(replies(&cluster, 0, id).len(), 8, "{:?}", replies(&cluster, 0, id));
    }
}

#[test]
fn a_word_that_nobody_waits_for_is_ignored() {
    let mut lone = with_peer(|_| ());
    let response =
        QueryResponse { ltime: LamportTime(3), id: QueryId(1), from: name(1), ack: false, payload: [].into() };
    lone.hear(1, &[Message::Serf(SerfMessage::Response(response))]);
    assert!(lone.replies().is_empty());
}

#[test]
fn a_query_that_is_ended_has_its_end_and_its_place_is_free() {
    let mut lone = with_peer(|_| ());
    let question = |ack| Question { timeout: Some(Duration::from_secs(86_400)), ack, ..question("q") };
    let most = limits::QUERIES_RUNNING_MAX - limits::QUERIES_RESERVED;
    for id in 1..=most as u64 {
        lone.give(Stimulus::Command { id: RequestId(id), command: ask(question(false)) });
    }
    lone.replies();
    let shown = lone.out.iter().rev().find_map(|output| match output {
        Output::Event(event) => match &**event {
            Event::Query(event) => Some(event.key),
            _ => None,
        },
        _ => None,
    });
    let key = shown.expect("it is shown to us, too");
    lone.give(Stimulus::Command { id: RequestId(5_000), command: ask(question(false)) });
    assert_eq!(lone.replies(), [Reply::Failed(CommandError::Busy)]);
    lone.give(Stimulus::Command { id: RequestId(5_001), command: Command::EndQuery(RequestId(most as u64)) });
    assert_eq!(lone.replies(), [Reply::QueryDone, Reply::QueryEnded]);
    lone.wait(61 * SECOND);
    lone.command(Command::Respond { query: key, payload: b"late".as_slice().into() });
    assert_eq!(lone.replies(), [Reply::Failed(CommandError::PastDeadline)], "nobody waits for it");
    let QueryKey { ltime, id } = key;
    let response = QueryResponse { ltime, id, from: name(1), ack: false, payload: [].into() };
    lone.hear(1, &[Message::Serf(SerfMessage::Response(response))]);
    lone.give(Stimulus::Command { id: RequestId(5_002), command: Command::EndQuery(RequestId(most as u64)) });
    assert_eq!(lone.replies(), [Reply::QueryEnded], "it is over");
    lone.give(Stimulus::Command { id: RequestId(5_003), command: ask(question(false)) });
    assert_eq!(lone.replies(), [Reply::QueryStarted]);
}

#[test]
fn a_negative_timeout_ends_at_once() {
    let mut lone = with_peer(|_| ());
    lone.give(Stimulus::Command {
        id: RequestId(5),
        command: ask(Question { timeout: Some(Duration::ZERO), ack: false, ..question("q") }),
    });
    lone.wait(Duration::from_nanos(1));
    assert_eq!(lone.replies(), [Reply::QueryStarted, Reply::QueryDone]);
    assert!(lone.out.iter().any(|output| matches!(output, Output::Event(event) if matches!(**event, Event::Query(_)))));
}

#[test]
fn a_word_is_not_used_up_on_members_that_are_gone() {
    let heard = |gone: &[usize]| {
        let mut lone = Lone::new(|config| config.swim.retransmit_mult = 2);
        for number in 1..=4 {
            lone.hear(9, &[Message::Alive(alive(number, 1))]);
        }
        for &number in gone {
            lone.hear(9, &[Message::Dead(accused(number, 1, 9))]);
        }
        lone.command(fire("deploy", b"to all"));
        // Soon enough that nobody else is suspected.
        lone.wait(SECOND);
        let is_event = |message: &Message| matches!(message, Message::Serf(SerfMessage::Event(_)));
        let mut to = [0; 5];
        for (addr_of, _) in lone.sent().iter().filter(|(_, message)| is_event(message)) {
            let number = (1..=4).find(|&number| addr(number) == *addr_of).expect("a member");
            to[number] += 1;
        }
        to
    };
    let counts = heard(&[2, 3, 4]);
    assert_eq!(counts[1], 2, "{counts:?}");
    // With nobody alive a word does not wait for ever.
    let counts = heard(&[1, 2, 3, 4]);
    assert!(counts.iter().sum::<u32>() <= 4, "{counts:?}");
}
