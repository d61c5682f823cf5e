//! What a session owes its client beyond the captured connections.

use std::vec;
use std::vec::Vec;

use super::rpc_vectors::HANDSHAKE;
use crate::log::Level;
use crate::msgpack::{Dialect, Limits, ReadError, Reader, Value, Writer};
use crate::rpc::{
    Body, Client, CloseReason, Dropped, FILTER_BYTES_MAX, Incoming, KeyOperation, KeyReport, QUERY_RECORD_BYTES_MAX,
    QueryRecord, RECORD_BYTES_MAX, RECORDS_MAX, REPLY_BYTES_MAX, REQUEST_BYTES_MAX, Reply, Request, SUBSCRIPTIONS_MAX,
    Session, SessionAction, StreamEvent, texts,
};

const LIMITS: Limits = Limits { length: 1 << 20, depth: 16 };

fn started() -> Session {
    let mut session = Session::new("");
    session.receive(HANDSHAKE);
    assert_eq!(session.next_action(), None);
    assert!(session.next_output().is_some());
    session
}

/// A session with an open stream for everything, of number 2, and its client.
fn streaming() -> (Session, Client) {
    let mut client = Client::new();
    let mut session = started();
    client.request(&Request::Stats);
    session.receive(&client.request(&Request::Stream { kind: b"*".to_vec() }).1);
    assert_eq!(session.next_action(), None);
    assert!(session.next_output().is_some());
    (session, client)
}

fn user(ltime: u64) -> StreamEvent {
    StreamEvent::User { ltime, name: b"deploy".to_vec(), payload: None, coalesce: false }
}

fn bodies(session: &mut Session) -> Vec<Value> {
    let outputs = core::iter::from_fn(|| session.next_output());
    outputs
        .map(|output| {
            let mut reader = Reader::new(&output, LIMITS);
            reader.skip().expect("a header");
            Value::read(&mut reader).expect("a body")
        })
        .collect()
}

#[test]
fn requests_wait_until_the_one_before_is_answered() {
    let mut session = started();
    let mut client = Client::new();
    session.receive(&client.request(&Request::Members).1);
    session.receive(&client.request(&Request::Stats).1);
    session.end_of_input();
    assert_eq!(session.next_action(), Some(SessionAction::Request(Request::Members)));
    assert_eq!((session.next_action(), session.outstanding()), (None, Some(1)));
    session.reply(&Reply::with(Body::Members(Vec::new())));
    assert_eq!(session.next_action(), Some(SessionAction::Request(Request::Stats)));
    session.reply(&Reply::with(Body::Stats(Vec::new())));
    assert!(matches!(session.next_action(), Some(SessionAction::Close(_))), "what came before the end is answered");
    assert_eq!(session.next_action(), None, "it closes once");
    assert!(session.next_output().is_some() && session.next_output().is_some() && session.next_output().is_none());
}

#[test]
fn a_slow_subscriber_loses_the_newest_record() {
    let (mut session, _) = streaming();
    for ltime in 0..RECORDS_MAX as u64 {
        assert_eq!(session.publish(&user(ltime)), 0);
    }
    assert_eq!(session.publish(&user(9_999)), 1, "one beyond the limit");
    let bodies = bodies(&mut session);
    assert_eq!(bodies.len(), RECORDS_MAX);
    assert_eq!(bodies.last().and_then(|body| body.get("LTime").cloned()), Some(Value::Uint(511)));
    assert_eq!(session.publish(&user(1)), 0, "there is room again");
}

#[test]
fn two_streams_get_a_query_under_a_number_each() {
    let (mut session, mut client) = streaming();
    session.receive(&client.request(&Request::Stream { kind: b"query:load".to_vec() }).1);
    assert_eq!(session.next_action(), None);
    assert!(session.next_output().is_some());
    let query = StreamEvent::Query { ltime: 3, name: b"load".to_vec(), payload: Some(Vec::new()) };
    assert_eq!((session.publish(&query), session.query_ids()), (0, 2));
    assert_eq!(session.publish(&user(4)), 0);
    assert_eq!(session.publish(&query), 0);
    let ids: Vec<_> = bodies(&mut session).iter().filter_map(|body| body.get("ID").cloned()).collect();
    assert_eq!(ids, [1, 2, 3, 4].map(Value::Int));
}

#[test]
fn a_stop_ends_the_stream_and_the_monitor_of_its_number() {
    let (mut session, mut client) = streaming();
    let mut monitor = Writer::new(Dialect::Rpc);
    monitor.map(2).text("Command").text("monitor").text("Seq").uint(2).map(1).text("LogLevel").text("warn");
    session.receive(&monitor.finish());
    assert_eq!(session.next_action(), Some(SessionAction::MonitorStarted));
    assert!(session.next_output().is_some());
    assert!(!session.log_line(Some(Level::Info), b"below"));
    assert!(!session.has_output());
    assert!(!session.log_line(Some(Level::Warn), b"at") && !session.log_line(None, b"without"));
    assert_eq!(bodies(&mut session).len(), 2);
    session.receive(&client.request(&Request::Stop { seq: 2 }).1);
    assert_eq!(session.next_action(), None);
    assert!(!session.is_subscribed());
}

#[test]
fn a_failed_list_of_keys_has_an_empty_map_and_other_key_commands_nil() {
    for (operation, keys) in [
        (KeyOperation::List, Value::Map(Vec::new())),
        (KeyOperation::Status, Value::Map(Vec::new())),
        (KeyOperation::Install, Value::Nil),
        (KeyOperation::Use, Value::Nil),
        (KeyOperation::Remove, Value::Nil),
    ] {
        let mut session = started();
        let request = Request::Key { operation, key: b"k".to_vec() };
        session.receive(&Client::new().request(&request).1);
        assert!(session.next_action().is_some());
        session.reply(&Reply::error(&request, "1/1 nodes reported failure"));
        assert_eq!(bodies(&mut session)[0].get("Keys"), Some(&keys), "{operation:?}");
    }
}

#[test]
fn records_of_all_streams_of_a_connection_take_a_bounded_room() {
    let (mut session, mut client) = streaming();
    for _ in 0..99 {
        session.receive(&client.request(&Request::Stream { kind: b"user".to_vec() }).1);
        assert_eq!(session.next_action(), None);
        assert!(session.next_output().is_some());
    }
    let event = StreamEvent::User { ltime: 1, name: b"e".to_vec(), payload: Some(vec![0; 9_000]), coalesce: false };
    let mut dropped = 0;
    for _ in 0..20 {
        dropped += session.publish(&event);
    }
    let (mut waiting, mut largest) = (0, 0);
    while let Some(bytes) = session.next_output() {
        (waiting, largest) = (waiting + bytes.len(), largest.max(bytes.len()));
    }
    assert!((RECORD_BYTES_MAX..RECORD_BYTES_MAX + largest).contains(&waiting), "{waiting} bytes wait");
    assert_eq!(dropped, 20 * 100 - waiting / largest, "each that does not is told of");
    assert_eq!(session.publish(&event), 0, "who has caught up misses no more");
}

#[test]
fn one_connection_has_so_many_streams_and_no_more() {
    let mut session = started();
    let mut client = Client::new();
    let mut ask = |request: &Request| {
        let (seq, bytes) = client.request(request);
        session.receive(&bytes);
        assert_eq!(session.next_action(), None);
        let reply = session.next_output().expect("a reply");
        client.receive(&reply);
        match client.next_incoming() {
            Ok(Some(Incoming::Reply { error, .. })) => (seq, error),
            other => panic!("{other:?}"),
        }
    };
    let stream = Request::Stream { kind: b"user".to_vec() };
    let mut last = 0;
    for number in 0..SUBSCRIPTIONS_MAX {
        let (seq, error) = ask(&stream);
        assert_eq!(error, b"", "stream {number}");
        last = seq;
    }
    assert_eq!(ask(&stream).1, texts::STREAM_EXISTS.as_bytes());
    assert_eq!(ask(&Request::Stop { seq: last }).1, b"");
    assert_eq!(ask(&stream).1, b"", "one that is stopped makes room");
    let long = Request::Stream { kind: b"user,".repeat(FILTER_BYTES_MAX / 5 + 1) };
    assert_eq!(ask(&long).1, texts::INVALID_FILTER.as_bytes());
}

#[test]
fn a_status_of_keys_is_a_list_with_the_rings_of_all() {
    let rings = vec![(b"a".to_vec(), Some(vec![b"k1".to_vec(), b"k2".to_vec()])), (b"b".to_vec(), None)];
    let keys = Some(vec![(b"k1".to_vec(), 1), (b"k2".to_vec(), 1)]);
    let report = KeyReport { keys, nodes: 2, responses: 1, rings: Some(rings), ..KeyReport::default() };
    let mut session = started();
    let mut client = Client::new();
    let request = Request::Key { operation: KeyOperation::Status, key: Vec::new() };
    let (_, bytes) = client.request(&request);
    session.receive(&bytes);
    assert_eq!(session.next_action(), Some(SessionAction::Request(request)));
    session.reply(&Reply { error: b"1/2 nodes reported success".to_vec(), body: Body::Keys(report.clone()) });
    let written = session.next_output().expect("a reply");
    client.receive(&written);
    let want = Incoming::Reply { seq: 1, error: b"1/2 nodes reported success".to_vec(), body: Body::Keys(report) };
    assert_eq!(client.next_incoming(), Ok(Some(want)));
}

#[test]
fn a_client_reads_an_error_that_closes_whatever_it_waits_for() {
    for request in [
        Request::Join { existing: Vec::new(), replay: false },
        Request::Key { operation: KeyOperation::List, key: Vec::new() },
        Request::GetCoordinate { node: b"a".to_vec() },
        Request::Members,
    ] {
        for text in [texts::UNSUPPORTED_COMMAND, texts::HANDSHAKE_REQUIRED, texts::AUTH_REQUIRED] {
            let mut client = Client::new();
            client.request(&request);
            let mut header = Writer::new(Dialect::Rpc);
            header.map(2).text("Error").text(text).text("Seq").uint(1);
            client.receive(&header.finish());
            let want = Incoming::Reply { seq: 1, error: text.into(), body: Body::None };
            assert_eq!(client.next_incoming(), Ok(Some(want)), "{} {text}", request.command());
        }
    }
}

#[test]
fn a_body_has_a_greatest_length() {
    let name_for = |len: usize| {
        let mut body = Writer::new(Dialect::Rpc);
        body.map(2).text("Name").text("e").text("Payload").blob(&std::vec![0; len]);
        body.finish()
    };
    let overhead = name_for(1 << 16).len() - (1 << 16);
    for (surplus, taken) in [(0, true), (1, false)] {
        let mut session = started();
        session.receive(b"\x82\xa7Command\xa5event\xa3Seq\x01");
        assert_eq!(session.next_action(), None);
        let body = name_for(REQUEST_BYTES_MAX - overhead + surplus);
        session.receive(&body[..REQUEST_BYTES_MAX]);
        assert!(!session.wants_input());
        match session.next_action() {
            Some(SessionAction::Request(_)) => assert!(taken),
            action => {
                let too_long = ReadError::Invalid("the request is too long");
                assert_eq!(action, Some(SessionAction::Close(CloseReason::BadBody(too_long))));
                assert!(!taken);
            }
        }
    }
}

#[test]
fn records_of_a_query_carry_its_number_and_all_their_fields() {
    let mut session = started();
    session.query_record(7, &QueryRecord::Response { from: b"a".to_vec(), payload: Some(Vec::new()) });
    session.query_record(7, &QueryRecord::Done);
    let bodies = bodies(&mut session);
    assert_eq!(bodies[0].get("Payload"), Some(&Value::Blob(Vec::new())));
    assert_eq!((bodies[1].get("From"), bodies[1].get("Payload")), (Some(&Value::Text(Vec::new())), Some(&Value::Nil)));
}

#[test]
fn who_does_not_take_replies_gets_no_further_ones() {
    let mut session = started();
    // After one stop, each empty map repeats it.
    session.receive(&Client::new().request(&Request::Stop { seq: 0 }).1);
    let mut sent = 1;
    while session.wants_input() {
        session.receive(&[0x80; 4096]);
        sent += 4096 / 2;
        assert_eq!(session.next_action(), None);
    }
    session.end_of_input();
    let mut replies = 0;
    let mut closed = false;
    while !closed {
        closed = session.next_action().is_some();
        let waiting: Vec<_> = core::iter::from_fn(|| session.next_output()).collect();
        assert!(waiting.iter().map(Vec::len).sum::<usize>() < REPLY_BYTES_MAX + 16, "the bound and one reply");
        replies += waiting.len();
    }
    assert_eq!(replies, sent, "nothing is lost");
}

#[test]
fn a_slow_asker_loses_answers_but_never_the_end() {
    let mut session = started();
    let ack = QueryRecord::Response { from: b"node".to_vec(), payload: Some(std::vec![0; 1000]) };
    let kept = (0..).take_while(|_| !session.query_record(7, &ack)).count();
    assert!(!session.query_record(7, &QueryRecord::Done));
    let waiting: Vec<_> = core::iter::from_fn(|| session.next_output()).collect();
    assert_eq!(waiting.len(), kept + 1);
    let answers = waiting[..kept].iter().map(Vec::len).sum::<usize>();
    assert!(answers <= QUERY_RECORD_BYTES_MAX && answers + waiting[0].len() > QUERY_RECORD_BYTES_MAX);
    assert!(!session.query_record(7, &ack), "there is room again");
}

#[test]
fn records_that_are_dropped_are_the_newest_and_make_room_and_nothing_else_goes() {
    let (mut session, mut client) = streaming();
    session.receive(&client.request(&Request::Monitor { level: b"info".to_vec() }).1);
    assert_eq!(session.next_action(), Some(SessionAction::MonitorStarted));
    session.query_record(7, &QueryRecord::Done);
    for ltime in 0..RECORDS_MAX as u64 {
        assert_eq!(session.publish(&user(ltime)), 0);
        assert!(!session.log_line(Some(Level::Info), b"line"));
    }
    session.query_record(7, &QueryRecord::Ack { from: b"n1".to_vec() });
    let before = session.owed_bytes();
    let dropped = session.drop_records(1);
    assert_eq!(dropped, Dropped { words: 1, ..Dropped::default() }, "the newest, and no more than is wanted");
    let dropped = session.drop_records(before);
    assert_eq!(dropped, Dropped { events: RECORDS_MAX, lines: RECORDS_MAX, words: 0 });
    assert_eq!(session.drop_records(usize::MAX), Dropped::default());
    assert_eq!(session.publish(&user(1)), 0, "there is room again");
    assert!(!session.log_line(Some(Level::Info), b"line"));
    assert_eq!(outputs(&mut session), 4, "the monitor's reply, the end of the query, and what came since");
    assert_eq!(session.owed_bytes(), 0);
}

fn outputs(session: &mut Session) -> usize {
    core::iter::from_fn(|| session.next_output()).count()
}
