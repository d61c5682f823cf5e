//! Sessions and clients under bytes that are cut short or wrong.

use std::vec::Vec;

use super::rpc_vectors::{HANDSHAKE, Vector};
use crate::rpc::{Client, CloseReason, Reply, Request, Session, SessionAction};

/// Feeds everything and answers whatever is asked; the reason if the session closes.
fn drive(session: &mut Session, bytes: &[u8], end: bool) -> Option<CloseReason> {
    session.receive(bytes);
    if end {
        session.end_of_input();
    }
    while let Some(action) = session.next_action() {
        match action {
            SessionAction::Request(request) => session.reply(&Reply::error(&request, "no")),
            SessionAction::MonitorStarted | SessionAction::Unauthenticated => {}
            SessionAction::Close(reason) => return Some(reason),
        }
        while session.next_output().is_some() {}
    }
    None
}

fn started(vector: &Vector) -> Session {
    let mut session = Session::new(vector.auth_key());
    if vector.after_handshake() {
        assert_eq!(drive(&mut session, HANDSHAKE, false), None);
    }
    session
}

#[test]
fn a_captured_connection_may_be_cut_anywhere() {
    for vector in Vector::all().iter().filter(|vector| !vector.server_closes()) {
        let bytes = vector.request_bytes();
        let mut whole = started(vector);
        let mut pieces = whole.clone();
        assert_eq!(drive(&mut whole, &bytes, false), None, "{}", vector.name);
        for (at, byte) in bytes.iter().enumerate() {
            assert_eq!(drive(&mut pieces, &[*byte], false), None, "{} at {at}", vector.name);
            // What is cut short is no error: it ends with the connection.
            let end = drive(&mut pieces.clone(), &[], true);
            assert_eq!(end, Some(CloseReason::EndOfInput), "{} at {at}", vector.name);
        }
    }
}

#[test]
fn no_flipped_bit_upsets_a_session() {
    for vector in Vector::all() {
        let bytes = vector.request_bytes();
        for at in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff, 0xc1 ^ bytes[at]] {
                let mut wrong = bytes.clone();
                wrong[at] ^= flip;
                let end = drive(&mut started(&vector), &wrong, true);
                assert!(end.is_some(), "{} at {at}: the end of the input closes", vector.name);
            }
        }
    }
}

#[test]
fn no_flipped_bit_upsets_a_client() {
    let asked: [Request; 4] = [
        Request::Members,
        Request::Stats,
        Request::Stream { kind: Vec::new() },
        Request::Join { existing: Vec::new(), replay: false },
    ];
    for vector in Vector::all() {
        let bytes = vector.response_bytes();
        for at in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut client = Client::new();
                for request in &asked {
                    client.request(request);
                }
                let mut wrong = bytes.clone();
                wrong[at] ^= flip;
                client.receive(&wrong);
                // At most one value a byte, so this ends.
                assert!((0..=bytes.len()).any(|_| !matches!(client.next_incoming(), Ok(Some(_)))), "{}", vector.name);
            }
        }
    }
}
