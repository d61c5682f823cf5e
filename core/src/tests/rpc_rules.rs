//! What holds of every session whatever the cut of its input, and the bounds on what ended subscriptions leave behind.

use std::format;
use std::string::ToString;
use std::vec::Vec;

use super::rpc_vectors::{HANDSHAKE, Vector};
use crate::log::Level;
use crate::rpc::{
    Client, CloseReason, RECORDS_MAX, REQUEST_BYTES_MAX, Refusal, Reply, Request, Session, SessionAction, StreamEvent,
    texts,
};

/// What came of a run of a session, in order of actions and of outputs.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    actions: Vec<SessionAction>,
    outputs: Vec<Vec<u8>>,
}

impl Outcome {
    fn feed(&mut self, session: &mut Session, bytes: &[u8]) {
        session.receive(bytes);
        while let Some(action) = session.next_action() {
            if let SessionAction::Request(request) = &action {
                session.reply(&Reply::error(request, "no"));
            }
            self.actions.push(action);
            self.outputs.extend(core::iter::from_fn(|| session.next_output()));
        }
        self.outputs.extend(core::iter::from_fn(|| session.next_output()));
    }
}

fn started() -> Session {
    let mut session = Session::new("");
    Outcome::default().feed(&mut session, HANDSHAKE);
    session
}

fn user(ltime: u64) -> StreamEvent {
    StreamEvent::User { ltime, name: b"deploy".to_vec(), payload: None, coalesce: false }
}

/// A header with its number and body, as any client may write it.
fn bytes_of(seq: u8, request: &Request) -> Vec<u8> {
    let mut bytes = Client::new().request(request).1;
    let at = bytes.windows(4).position(|window| window == b"\xa3Seq").expect("a number") + 4;
    bytes[at] = seq;
    bytes
}

#[test]
fn captured_input_has_the_same_outcome_whole_and_byte_by_byte() {
    for vector in Vector::all() {
        let new = || {
            let mut session = Session::new(vector.auth_key());
            if vector.after_handshake() {
                Outcome::default().feed(&mut session, HANDSHAKE);
            }
            session
        };
        let (mut whole, mut pieces) = (Outcome::default(), Outcome::default());
        whole.feed(&mut new(), &vector.request_bytes());
        let mut session = new();
        for byte in vector.request_bytes() {
            pieces.feed(&mut session, &[byte]);
        }
        assert_eq!(pieces, whole, "{}", vector.name);
    }
}

#[test]
fn a_header_has_a_greatest_length() {
    // An unknown field of ever more nil values is skipped as long as it fits.
    let header = |items: usize| {
        let mut bytes = b"\x83\xa7Command\xa5stats\xa3Seq\x01\xa1x\xdd".to_vec();
        bytes.extend(u32::try_from(items).expect("fits").to_be_bytes());
        bytes.resize(bytes.len() + items, 0xc0);
        bytes
    };
    let overhead = header(0).len();
    for (surplus, taken) in [(0, true), (1, false)] {
        let mut session = started();
        let bytes = header(REQUEST_BYTES_MAX - overhead + surplus);
        session.receive(&bytes[..REQUEST_BYTES_MAX]);
        assert!(!session.wants_input());
        let too_long = CloseReason::BadHeader(crate::msgpack::ReadError::Invalid("the request is too long"));
        let want = if taken { SessionAction::Request(Request::Stats) } else { SessionAction::Close(too_long) };
        assert_eq!(session.next_action(), Some(want));
    }
}

#[test]
fn an_unknown_field_may_nest_a_hundred_thousand_deep() {
    let mut session = started();
    session.receive(b"\x83\xa7Command\xa5stats\xa3Seq\x01\xa1x");
    session.receive(&[0x91; 100_000]);
    assert_eq!(session.next_action(), None, "its innermost value is missing");
    session.receive(&[0xc0]);
    assert_eq!(session.next_action(), Some(SessionAction::Request(Request::Stats)));
}

#[test]
fn a_number_is_free_again_after_its_stop() {
    let mut session = started();
    let stream = bytes_of(9, &Request::Stream { kind: b"user".to_vec() });
    let mut outcome = Outcome::default();
    outcome.feed(&mut session, &stream);
    outcome.feed(&mut session, &stream);
    outcome.feed(&mut session, &bytes_of(8, &Request::Stop { seq: 9 }));
    assert!(!session.is_subscribed());
    outcome.feed(&mut session, &stream);
    assert!(session.is_subscribed());
    let refused = outcome.outputs.iter().map(|output| {
        output.windows(texts::STREAM_EXISTS.len()).any(|window| window == texts::STREAM_EXISTS.as_bytes())
    });
    assert_eq!(refused.collect::<Vec<_>>(), [false, true, false, false]);
}

#[test]
fn a_second_monitor_is_refused_until_the_first_is_stopped() {
    let mut session = started();
    let monitor = |seq| bytes_of(seq, &Request::Monitor { level: b"info".to_vec() });
    let mut outcome = Outcome::default();
    outcome.feed(&mut session, &monitor(3));
    outcome.feed(&mut session, &monitor(4));
    assert_eq!(outcome.actions, [SessionAction::MonitorStarted], "the second does not begin");
    outcome.feed(&mut session, &bytes_of(5, &Request::Stop { seq: 3 }));
    outcome.feed(&mut session, &monitor(4));
    assert_eq!(outcome.actions.len(), 2);
}

#[test]
fn records_of_ended_subscriptions_hold_back_the_next_request() {
    for numbers in [[1, 1, 1], [1, 2, 3]] {
        let mut session = started();
        // Each stream is filled as soon as it is open, and nobody takes what is queued.
        let mut queued = 0;
        for seq in numbers {
            session.receive(&bytes_of(seq, &Request::Stream { kind: Vec::new() }));
            assert_eq!(session.next_action(), None);
            queued += (0..=RECORDS_MAX as u64)
                .filter(|ltime| session.publish(&user(*ltime)) == 0 && session.is_subscribed())
                .count();
            session.receive(&bytes_of(seq, &Request::Stop { seq: u64::from(seq) }));
            assert_eq!(session.next_action(), None);
        }
        assert_eq!(queued, RECORDS_MAX, "the second stream has not begun");
        assert!(session.wants_input(), "its request waits");
        let waiting = core::iter::from_fn(|| session.next_output()).count();
        assert_eq!(waiting, RECORDS_MAX + 2, "with the replies to the first and to its stop");
        assert_eq!(session.next_action(), None);
        assert_eq!(core::iter::from_fn(|| session.next_output()).count(), 4, "the rest is answered now");
    }
}

#[test]
fn one_record_fewer_than_the_bound_holds_nothing_back() {
    for (records, replies) in [(RECORDS_MAX - 1, 3), (RECORDS_MAX, 2)] {
        let mut session = started();
        session.receive(&bytes_of(1, &Request::Stream { kind: Vec::new() }));
        assert_eq!(session.next_action(), None);
        for ltime in 0..records as u64 {
            assert_eq!(session.publish(&user(ltime)), 0);
        }
        session.receive(&bytes_of(2, &Request::Stop { seq: 1 }));
        session.receive(&bytes_of(1, &Request::Stream { kind: Vec::new() }));
        assert_eq!(session.next_action(), None);
        assert_eq!(core::iter::from_fn(|| session.next_output()).count(), records + replies);
    }
}

#[test]
fn records_of_an_ended_stream_take_no_room_of_its_successor() {
    let mut session = started();
    let open = bytes_of(1, &Request::Stream { kind: Vec::new() });
    session.receive(&open);
    assert_eq!(session.next_action(), None);
    for ltime in 0..100 {
        session.publish(&user(ltime));
    }
    session.receive(&bytes_of(2, &Request::Stop { seq: 1 }));
    session.receive(&open);
    assert_eq!(session.next_action(), None);
    for ltime in 0..RECORDS_MAX as u64 {
        assert_eq!(session.publish(&user(ltime)), 0);
    }
    // The first reply, then records of the ended stream only.
    assert_eq!(core::iter::from_fn(|| session.next_output()).take(50).count(), 50);
    assert_eq!(session.publish(&user(0)), 1, "the successor is as full as before");
}

#[test]
fn a_monitor_begun_again_and_again_does_not_pile_its_lines_up() {
    let mut session = started();
    for _ in 0..100 {
        session.receive(&bytes_of(3, &Request::Monitor { level: b"debug".to_vec() }));
        session.receive(&bytes_of(4, &Request::Stop { seq: 3 }));
    }
    let fill = |session: &mut Session| {
        let mut begun = 0;
        while let Some(action) = session.next_action() {
            assert_eq!(action, SessionAction::MonitorStarted);
            begun += 1;
            for _ in 0..RECORDS_MAX {
                session.log_line(Some(Level::Info), b"agent: a line");
            }
        }
        begun
    };
    let (mut begun, mut outputs) = (0, 0);
    while begun < 100 {
        let fresh = fill(&mut session);
        assert!(fresh > 0, "taking the lines lets the next request be read");
        begun += fresh;
        let waiting = core::iter::from_fn(|| session.next_output()).count();
        assert!(waiting <= 2 * RECORDS_MAX + 8, "{waiting} lines wait");
        outputs += waiting;
    }
    assert_eq!(session.next_action(), None);
    outputs += core::iter::from_fn(|| session.next_output()).count();
    assert_eq!(outputs, 100 * (RECORDS_MAX + 2), "every line and every reply comes");
}

#[test]
fn a_refused_client_gets_no_further_records() {
    let mut session = started();
    let mut outcome = Outcome::default();
    outcome.feed(&mut session, &bytes_of(2, &Request::Stream { kind: Vec::new() }));
    outcome.feed(&mut session, b"\x82\xa7Command\xa4nope\xa3Seq\x03");
    let refusal = Refusal::UnknownCommand(b"nope".to_vec());
    assert_eq!(outcome.actions, [SessionAction::Close(CloseReason::Refused(refusal))]);
    assert!(!session.is_subscribed());
    session.publish(&user(1));
    assert!(!session.has_output());
}

#[test]
fn why_a_client_is_not_heard_any_more_is_said_in_upstreams_words() {
    let refusal = |session: &mut Session, bytes: &[u8]| {
        let mut outcome = Outcome::default();
        outcome.feed(session, bytes);
        match &outcome.actions[..] {
            [SessionAction::Close(CloseReason::Refused(refusal))] => refusal.to_string(),
            other => panic!("{other:?}"),
        }
    };
    let early = bytes_of(1, &Request::Members);
    assert_eq!(refusal(&mut Session::new(""), &early), "Handshake required");
    let unknown =
        |name: &str| [b"\x82\xa3Seq\x03\xa7Command\xda\x00", &[name.len() as u8][..], name.as_bytes()].concat();
    assert_eq!(refusal(&mut started(), &unknown("nope")), "command 'nope' not recognized");
    let shown = refusal(&mut started(), &unknown(&"é".repeat(100)));
    assert_eq!(shown, format!("command '{}...' not recognized", "é".repeat(64)), "it may be long");
}
