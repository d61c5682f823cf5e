//! RPC: what a client may send to an agent, and an agent to a client.

use villein_core::msgpack::{Limits, Reader, Scan, Value};
use villein_core::rpc::{Client, REQUEST_BYTES_MAX, Reply, Request, Session, SessionAction};

use crate::measure::within;
use crate::pick::Pick;

/// What is read takes room for what it says, not for what it announces: a byte of an array is a value.
fn held_max(bytes: &[u8]) -> usize {
    (64 << 10) + 128 * bytes.len()
}

/// A connection of any client, whose bytes come in pieces.
pub(crate) fn session(bytes: &[u8]) {
    within(held_max(bytes), || connection(bytes));
}

fn connection(bytes: &[u8]) {
    let mut pick = Pick::new(bytes);
    let (token, hello, step) = (pick.one_of(&[&b""[..], b"secret"]), pick.coin(), 1 + usize::from(pick.byte()));
    let mut session = Session::new(token);
    if hello {
        let handshake = b"\x82\xa7Command\xa9handshake\xa3Seq\x00\x81\xa7Version\x01";
        drive(&mut session, handshake);
    }
    for piece in pick.rest().chunks(step) {
        if !session.wants_input() {
            break;
        }
        drive(&mut session, piece);
    }
    session.end_of_input();
    drive(&mut session, &[]);
    assert!(!session.wants_input(), "a session whose client has ended wants more");
}

/// Feeds bytes and does what is asked, with the answers that there are: an error, or nothing.
fn drive(session: &mut Session, bytes: &[u8]) {
    session.receive(bytes);
    let mut written = 0;
    // Each action takes a byte at least, and of what came before a session that wants more holds less than a request may have.
    for _ in 0..=bytes.len() + REQUEST_BYTES_MAX {
        let Some(action) = session.next_action() else { return };
        match action {
            SessionAction::Request(_) if written % 2 == 0 => session.reply(&Reply::ok()),
            SessionAction::Request(request) => session.reply(&Reply::error(&request, "no")),
            SessionAction::MonitorStarted => _ = session.log_line(None, b"a line"),
            SessionAction::Unauthenticated => {}
            SessionAction::Close(_) => {
                while session.next_output().is_some() {}
                return;
            }
        }
        while session.next_output().is_some() {
            written += 1;
        }
    }
    panic!("a session never comes to an end");
}

/// What any agent answers to a client that has asked for everything.
pub(crate) fn client(bytes: &[u8]) {
    within(held_max(bytes), || answers(bytes));
}

fn answers(bytes: &[u8]) {
    let mut pick = Pick::new(bytes);
    let step = 1 + usize::from(pick.byte());
    let mut client = Client::new();
    for request in [
        Request::Members,
        Request::Stats,
        Request::Stream { kind: Vec::new() },
        Request::Join { existing: Vec::new(), replay: false },
        Request::Monitor { level: b"debug".to_vec() },
    ] {
        client.request(&request);
    }
    for piece in pick.rest().chunks(step) {
        client.receive(piece);
        // Each value takes a byte at least.
        let mut left = bytes.len() + 1;
        while let Ok(Some(_)) = client.next_incoming() {
            left = left.checked_sub(1).expect("more values than bytes");
        }
    }
}

/// Any value: where it ends is told alike by what looks for the end and by what reads.
pub(crate) fn msgpack(bytes: &[u8]) {
    let limits = Limits { length: 1 << 16, depth: 8 };
    let mut reader = Reader::new(bytes, limits);
    let skipped = reader.skip().map(|()| reader.position());
    let scanned = Scan::default().end(bytes, limits);
    assert_eq!(skipped.is_ok(), scanned.is_ok(), "skip: {skipped:?}, scan: {scanned:?}");
    if let (Ok(skipped), Ok(scanned)) = (skipped, scanned) {
        assert_eq!(skipped, scanned);
    }
    let _ = within(held_max(bytes), || Value::read(&mut Reader::new(bytes, limits)));
}
