//! The client side against captured connections of Serf's own command line and agent.

use std::vec::Vec;

use serde_json::Value as Json;

use super::rpc_vectors::{Vector, bytes, has_request_body, is_header, number, request, sorted, value};
use crate::msgpack::{Limits, Reader, Value};
use crate::rpc::{Client, Incoming, Request};

const LIMITS: Limits = Limits { length: 1 << 20, depth: 16 };

#[test]
fn requests_are_written_as_serfs_own_command_line_writes_them() {
    let mut compared = 0;
    for vector in Vector::all().into_iter().filter(Vector::is_of_serf_cli) {
        let mut client = Client::new();
        let ours: Vec<u8> = requests(&vector).iter().flat_map(|request| client.request(request).1).collect();
        assert_eq!(values(&ours), values(&vector.request_bytes()), "{}", vector.name);
        compared += 1;
    }
    assert_eq!(compared, 10, "captures of the command line");
}

#[test]
fn captured_replies_and_records_are_told_apart_however_they_are_cut() {
    for vector in Vector::all().into_iter().filter(Vector::is_of_serf_cli) {
        for step in [1, 7, usize::MAX] {
            let mut client = Client::new();
            for request in requests(&vector) {
                client.request(&request);
            }
            let bytes = vector.response_bytes();
            let mut incoming = Vec::new();
            for piece in bytes.chunks(step.min(bytes.len())) {
                client.receive(piece);
                while let Some(next) = client.next_incoming().expect("an agent's bytes") {
                    incoming.push(next);
                }
            }
            assert_incoming(&vector, &incoming);
        }
    }
}

fn assert_incoming(vector: &Vector, incoming: &[Incoming]) {
    let mut objects = vector.responses().iter().peekable();
    for incoming in incoming {
        let header = objects.next().expect("a header");
        let body = objects.next_if(|json| !is_header(json));
        let record = body.filter(|body| ["Event", "Log", "From"].iter().any(|field| body.get(field).is_some()));
        match (incoming, record) {
            (Incoming::Record { seq, value: got }, Some(record)) => {
                assert_eq!((*seq, sorted(got.clone())), (number(&header["Seq"]), value(record)), "{}", vector.name);
            }
            (Incoming::Reply { seq, error, .. }, None) => {
                assert_eq!((*seq, error), (number(&header["Seq"]), &bytes(&header["Error"])), "{}", vector.name);
            }
            (incoming, record) => panic!("{}: {incoming:?} for {record:?}", vector.name),
        }
    }
    assert_eq!(objects.next(), None, "{}", vector.name);
}

fn requests(vector: &Vector) -> Vec<Request> {
    let mut objects = vector.requests().iter();
    core::iter::from_fn(|| {
        let command = objects.next()?["Command"].as_str().expect("a command");
        let body = if has_request_body(command) { objects.next().expect("a body") } else { &Json::Null };
        request(command, body)
    })
    .collect()
}

fn values(bytes: &[u8]) -> Vec<Value> {
    let mut reader = Reader::new(bytes, LIMITS);
    let mut values = Vec::new();
    while reader.position() < bytes.len() {
        values.push(sorted(Value::read(&mut reader).expect("whole values")));
    }
    values
}
