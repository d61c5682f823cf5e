//! Sessions against captured connections: same bytes in, same values out, in upstream's forms.

use std::collections::VecDeque;
use std::string::String;
use std::vec::Vec;
use std::{format, vec};

use serde_json::Value as Json;

use super::rpc_vectors::{
    HANDSHAKE, Vector, blob, bytes, has_request_body, is_header, members, number, request, sorted, value,
};
use crate::log::Level;
use crate::msgpack::{Limits, Reader, Value};
use crate::rpc::{CloseReason, QueryRecord, Reply, Request, Session, SessionAction, StreamEvent};

const LIMITS: Limits = Limits { length: 1 << 20, depth: 16 };

/// A reply or record as the capture shows it: its header, and what follows.
#[derive(Clone, Debug)]
struct Shown {
    header: Json,
    body: Option<Json>,
    record: bool,
}

#[test]
fn sessions_answer_captured_requests_as_serf_did() {
    for vector in Vector::all() {
        let shown = shown(&vector);
        let mut session = session(&vector);
        let (mut outputs, mut asked, mut closed) = (Vec::new(), Vec::new(), None);
        if vector.name == "stream_member_leave" {
            // Its stream was opened before the first captured byte.
            session.receive(b"\x82\xa7Command\xa6stream\xa3Seq\x46\x80");
            assert_eq!(session.next_action(), None);
            let opened = [session.next_output().expect("a reply")];
            outputs.extend(publish_due(&mut session, &shown, &opened));
        }
        outputs.extend(publish_due(&mut session, &shown, &outputs));
        for chunk in vector.client_chunks() {
            session.receive(&chunk);
            while let Some(action) = session.next_action() {
                match action {
                    SessionAction::Request(request) => {
                        let seq = session.outstanding().expect("a request is outstanding");
                        match reply(&request, seq, &shown, &asked) {
                            Some(reply) => session.reply(&reply),
                            // A pattern that cannot be compiled: upstream does not answer.
                            None => assert_eq!(vector.name, "members_filtered_bad_regex"),
                        }
                        asked.push((seq, request));
                    }
                    SessionAction::MonitorStarted | SessionAction::Unauthenticated => {}
                    SessionAction::Close(reason) => closed = Some(reason),
                }
            }
            outputs.extend(core::iter::from_fn(|| session.next_output()));
            outputs.extend(publish_due(&mut session, &shown, &outputs));
        }
        assert_same(&vector, &shown, &outputs);
        // What a leave or a bad pattern closes, the driver closes.
        let by_driver = matches!(vector.name.as_str(), "leave" | "members_filtered_bad_regex");
        assert_eq!(closed.is_some(), vector.server_closes() && !by_driver, "{}: {closed:?}", vector.name);
        if vector.name.starts_with("malformed") {
            assert!(matches!(closed, Some(CloseReason::BadHeader(_))), "{}: {closed:?}", vector.name);
        }
    }
}

#[test]
fn captured_requests_read_as_their_values() {
    let mut compared = 0;
    for vector in Vector::all() {
        let mut session = session(&vector);
        let mut wanted = wanted(&vector);
        session.receive(&vector.request_bytes());
        while let Some(action) = session.next_action() {
            if let SessionAction::Request(got) = action {
                let want = core::iter::from_fn(|| wanted.pop_front()).find(|want| !is_the_sessions(want));
                assert_eq!(Some(got), want, "{}", vector.name);
                session.reply(&Reply::ok());
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 74, "requests");
}

/// The requests of a capture, in order. Empty where the bytes are not a plain sequence of header and body.
fn wanted(vector: &Vector) -> VecDeque<Request> {
    let mut wanted = VecDeque::new();
    let mut objects = vector.requests().iter();
    while let Some(header) = objects.next() {
        let Some(command) = header["Command"].as_str() else { continue };
        let body = if has_request_body(command) { objects.next().unwrap_or(&Json::Null) } else { &Json::Null };
        wanted.extend(request(command, body));
    }
    wanted
}

fn is_the_sessions(request: &Request) -> bool {
    matches!(
        request,
        Request::Handshake { .. }
            | Request::Auth { .. }
            | Request::Stream { .. }
            | Request::Monitor { .. }
            | Request::Stop { .. }
    )
}

fn session(vector: &Vector) -> Session {
    let mut session = Session::new(vector.auth_key());
    if vector.after_handshake() {
        session.receive(HANDSHAKE);
        assert_eq!(session.next_action(), None);
        assert_eq!(session.next_output().as_deref(), Some(&b"\x82\xa5Error\xa0\xa3Seq\x00"[..]));
    }
    session
}

/// Splits what the agent sent into replies and records.
fn shown(vector: &Vector) -> Vec<Shown> {
    let mut shown: Vec<Shown> = Vec::new();
    for json in vector.responses() {
        match shown.last_mut() {
            Some(last) if !is_header(json) => {
                last.record = ["Event", "Log", "From"].iter().any(|field| json.get(field).is_some());
                last.body = Some(json.clone());
            }
            Some(_) | None => shown.push(Shown { header: json.clone(), body: None, record: false }),
        }
    }
    shown
}

/// What upstream answered to the request: the next reply with its number that is not taken yet.
fn reply(request: &Request, seq: u64, shown: &[Shown], asked: &[(u64, Request)]) -> Option<Reply> {
    let before = asked.iter().filter(|(other, _)| *other == seq).count();
    let mut replies = shown.iter().filter(|shown| !shown.record && number(&shown.header["Seq"]) == seq);
    let shown = replies.nth(before)?;
    let body = crate::tests::rpc_replies::shown_body(request, shown.body.as_ref());
    Some(Reply { error: bytes(&shown.header["Error"]), body })
}

/// Hands the session the captured records whose subscriptions are open and that have not been sent yet.
fn publish_due(session: &mut Session, shown: &[Shown], outputs: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut sent: Vec<_> = outputs.iter().map(|output| seen(output)).filter(|seen| seen.len() == 2).collect();
    let mut fresh = Vec::new();
    for shown in shown.iter().filter(|shown| shown.record) {
        let want = wanted_values(shown);
        if let Some(at) = sent.iter().position(|seen| *seen == want) {
            sent.remove(at);
            continue;
        }
        let acknowledged = outputs.iter().any(|output| seen(output).first() == want.first());
        let body = shown.body.as_ref().expect("a record");
        if !acknowledged {
            continue;
        }
        if let Some(kind) = body.get("Type") {
            let from = bytes(&body["From"]);
            let record = match kind.as_str() {
                Some("ack") => QueryRecord::Ack { from },
                Some("response") => QueryRecord::Response { from, payload: blob(&body["Payload"]) },
                _ => QueryRecord::Done,
            };
            session.query_record(number(&shown.header["Seq"]), &record);
        } else if let Some(line) = body.get("Log") {
            assert!(!session.log_line(Some(Level::Err), &bytes(line)));
        } else {
            assert_eq!(session.publish(&event(body)), 0);
        }
        fresh.extend(core::iter::from_fn(|| session.next_output()));
    }
    fresh
}

fn event(body: &Json) -> StreamEvent {
    let (ltime, name, payload) = (number(&body["LTime"]), bytes(&body["Name"]), blob(&body["Payload"]));
    match body["Event"].as_str().expect("a kind") {
        "user" => StreamEvent::User { ltime, name, payload, coalesce: body["Coalesce"] == true },
        "query" => StreamEvent::Query { ltime, name, payload },
        kind => {
            let kinds = ["member-join", "member-leave", "member-failed", "member-update", "member-reap"];
            let kind = kinds.into_iter().find(|known| *known == kind).expect("a kind");
            StreamEvent::Members { kind, members: members(&body["Members"]) }
        }
    }
}

fn wanted_values(shown: &Shown) -> Vec<Value> {
    [Some(&shown.header), shown.body.as_ref()].into_iter().flatten().map(value).collect()
}

/// The values of one output.
fn seen(output: &[u8]) -> Vec<Value> {
    let mut reader = Reader::new(output, LIMITS);
    let mut values = vec![];
    while reader.position() < output.len() {
        values.push(sorted(Value::read(&mut reader).expect("an output is whole")));
    }
    values
}

/// Replies come in the captured order, and so do the records of each number; how they mix is timing. The JSON keeps
/// the order of Go's maps, so each output is the captured bytes themselves.
fn assert_same(vector: &Vector, shown: &[Shown], outputs: &[Vec<u8>]) {
    let name = &vector.name;
    let mut want: Vec<_> = shown.iter().map(wanted_values).collect();
    let mut got: Vec<_> = outputs.iter().map(|output| seen(output)).collect();
    for values in [&mut want, &mut got] {
        values.sort_by_key(|values| order(values));
    }
    for (at, (want, got)) in want.iter().zip(&got).enumerate() {
        assert_eq!(got, want, "{name}, output {at}");
    }
    assert_eq!(got.len(), want.len(), "{name}: outputs");
    let captured = vector.response_bytes();
    // The JSON reader may be off by the last bit of a float.
    for output in outputs.iter().filter(|output| !output.windows(5).any(|window| window == b"Coord")) {
        assert!(captured.windows(output.len()).any(|window| window == output), "{name}: {output:x?} is not captured");
    }
    assert_eq!(outputs.iter().map(Vec::len).sum::<usize>(), captured.len(), "{name}: bytes");
}

/// Replies first, then the records of one number after those of another.
fn order(values: &[Value]) -> Option<String> {
    let body = values.get(1)?;
    let record = ["Event", "Log", "From"].iter().any(|field| body.get(field).is_some());
    record.then(|| format!("{:?}", values[0].get("Seq")))
}
