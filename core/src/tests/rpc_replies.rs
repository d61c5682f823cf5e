//! The client side against the replies of every captured agent, bodies included.

use std::vec::Vec;

use serde_json::Value as Json;

use super::rpc_vectors::{
    Vector, bytes, coordinate, has_request_body, is_header, key_report, members, number, request, stats,
};
use crate::msgpack::{Dialect, Limits, Reader, Writer};
use crate::rpc::{Body, Client, Incoming, Request};

const LIMITS: Limits = Limits { length: 1 << 20, depth: 16 };

/// Captures whose requests are no plain sequence that a client of ours could send.
const NOT_A_CLIENTS: [&str; 6] = [
    "auth_required_with_body",
    "header_as_array",
    "header_fields_carry_over",
    "malformed_reserved_byte",
    "malformed_seq_negative",
    "stream_member_leave",
];

/// A capture as a client of ours would have had it: the requests, and the agent's bytes under the client's numbers.
struct Exchange {
    requests: Vec<Request>,
    bytes: Vec<u8>,
    /// For each reply in order: its error and what followed.
    replies: Vec<(Vec<u8>, Option<Json>)>,
    records: usize,
}

#[test]
fn every_captured_reply_reads_as_its_values_however_it_is_cut() {
    let (mut bodies, mut skipped) = (0, Vec::new());
    for vector in Vector::all() {
        let Some(exchange) = exchange(&vector) else {
            skipped.push(vector.name);
            continue;
        };
        for step in [1, 7, usize::MAX] {
            let mut client = Client::new();
            for request in &exchange.requests {
                client.request(request);
            }
            let (mut replies, mut records) = (0, 0);
            for piece in exchange.bytes.chunks(step.min(exchange.bytes.len().max(1))) {
                client.receive(piece);
                while let Some(incoming) = client.next_incoming().expect("an agent's bytes") {
                    match incoming {
                        Incoming::Record { .. } => records += 1,
                        Incoming::Reply { seq, error, body } => {
                            replies += 1;
                            assert_eq!(seq, replies as u64, "{}", vector.name);
                            let (want_error, want_body) = &exchange.replies[replies - 1];
                            assert_eq!(&error, want_error, "{} reply {replies}", vector.name);
                            let want = shown_body(&exchange.requests[replies - 1], want_body.as_ref());
                            bodies += usize::from(want != Body::None);
                            assert_same_body(body, want, &vector.name);
                        }
                    }
                }
            }
            assert_eq!((replies, records), (exchange.replies.len(), exchange.records), "{}", vector.name);
        }
    }
    assert_eq!(skipped, NOT_A_CLIENTS);
    assert_eq!(bodies, 3 * 42, "bodies compared");
}

fn exchange(vector: &Vector) -> Option<Exchange> {
    if NOT_A_CLIENTS.contains(&vector.name.as_str()) {
        return None;
    }
    let asked = requests(vector);
    let mut exchange = Exchange {
        requests: asked.iter().map(|(_, request)| request.clone()).collect(),
        bytes: Vec::new(),
        replies: Vec::new(),
        records: 0,
    };
    let captured = vector.response_bytes();
    let mut reader = Reader::new(&captured, LIMITS);
    let objects = vector.responses();
    for (at, object) in objects.iter().enumerate() {
        let start = reader.position();
        reader.skip().expect("a whole value");
        if !is_header(object) {
            exchange.bytes.extend_from_slice(&captured[start..reader.position()]);
            continue;
        }
        let body = objects.get(at + 1).filter(|next| !is_header(next));
        let seq = if body.is_some_and(is_record) {
            exchange.records += 1;
            let replied = &asked[..exchange.replies.len()];
            let opener = |(seq, request): &(u64, Request)| *seq == number(&object["Seq"]) && has_records(request);
            replied.iter().rposition(opener).expect("a subscription") + 1
        } else {
            exchange.replies.push((bytes(&object["Error"]), body.cloned()));
            exchange.replies.len()
        };
        let mut header = Writer::new(Dialect::Rpc);
        header.map(2).text("Error").text(bytes(&object["Error"])).text("Seq").uint(seq as u64);
        exchange.bytes.extend(header.finish());
    }
    Some(exchange)
}

fn requests(vector: &Vector) -> Vec<(u64, Request)> {
    let mut objects = vector.requests().iter();
    let mut requests = Vec::new();
    while let Some(header) = objects.next() {
        let command = header["Command"].as_str().expect("a command");
        let body = if has_request_body(command) { objects.next().unwrap_or(&Json::Null) } else { &Json::Null };
        // A command that there is not gets a reply without a body, like a stop.
        let request = request(command, body).unwrap_or(Request::Stop { seq: 0 });
        requests.push((number(&header["Seq"]), request));
    }
    requests
}

fn is_record(body: &Json) -> bool {
    ["Event", "Log", "From"].iter().any(|field| body.get(field).is_some())
}

fn has_records(request: &Request) -> bool {
    matches!(request, Request::Stream { .. } | Request::Monitor { .. } | Request::Query(_))
}

/// The captured body of a reply, as the records that it decodes to.
pub(super) fn shown_body(request: &Request, body: Option<&Json>) -> Body {
    let Some(body) = body else { return Body::None };
    match request {
        Request::Join { .. } => Body::Joined(body["Num"].as_i64().expect("a count")),
        Request::Members | Request::MembersFiltered { .. } => Body::Members(members(&body["Members"])),
        Request::Stats => Body::Stats(stats(body)),
        Request::Key { .. } => Body::Keys(key_report(body)),
        Request::GetCoordinate { .. } => Body::Coordinate(coordinate(body)),
        other => panic!("{} has no body: {body}", other.command()),
    }
}

/// The order of Go's maps is random, and the JSON reader may be off by the last bit of a float.
fn assert_same_body(got: Body, want: Body, name: &str) {
    if let (Body::Coordinate(Some(got)), Body::Coordinate(Some(want))) = (&got, &want) {
        assert_eq!(got.vec.len(), want.vec.len(), "{name}");
        let floats = |of: &crate::rpc::Coordinate| [&[of.adjustment, of.error, of.height], &of.vec[..]].concat();
        for (got, want) in floats(got).into_iter().zip(floats(want)) {
            assert!(got.to_bits().abs_diff(want.to_bits()) <= 1, "{name}: {got} for {want}");
        }
        return;
    }
    assert_eq!(in_order(got), in_order(want), "{name}");
}

fn in_order(body: Body) -> Body {
    match body {
        Body::Members(mut members) => {
            members.iter_mut().for_each(|member| member.tags.sort());
            Body::Members(members)
        }
        Body::Stats(mut stats) => {
            stats.iter_mut().for_each(|(_, entries)| entries.sort());
            stats.sort();
            Body::Stats(stats)
        }
        Body::Keys(mut report) => {
            report.messages.sort();
            report.keys.iter_mut().for_each(|keys| keys.sort());
            Body::Keys(report)
        }
        body @ (Body::None | Body::Joined(_) | Body::Coordinate(_)) => body,
    }
}
