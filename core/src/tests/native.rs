//! The native encoding: golden bytes, round trips, damage, bounds.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt::Write;
use core::time::Duration;

use crate::coordinate::Coordinate;
use crate::keyring::{Key, Keyring};
use crate::lamport::LamportTime;
use crate::limits;
use crate::types::{GossipAddr, Incarnation, Meta, Name, QueryId, SeqNo, Versions};
use crate::wire::native::{
    self, PART_OVERHEAD, decode, encode, open_packet, open_packet_with, packet_overhead, seal_packet, seal_stream,
};
use crate::wire::{
    Accused, Ack, Alive, Budget, Clocks, Digest, Envelope, EventsAt, Filter, Fired, Incoming, IndirectPing, Intent,
    Message, NodeState, Ping, PushPull, Query, QueryResponse, Relay, ReplyTo, SerfMessage, SerfState, StreamMessage,
    SwimState, UserEvent, WireError,
};

const NONCE: [u8; 12] = *b"twelve bytes";

fn open_stream(bytes: &[u8], envelope: Envelope<'_>, dialler: bool) -> Result<Option<StreamMessage>, WireError> {
    native::open_stream(&mut bytes.to_vec(), envelope, dialler)
}

fn ring(keys: &[&[u8]]) -> Keyring {
    Keyring::new(keys.iter().map(|bytes| Key::new(bytes).expect("key size")).collect())
}

fn addr(ip: &[u8]) -> GossipAddr {
    GossipAddr::from_bytes(ip, 7946).expect("4 or 16 bytes")
}

fn alive(node: &str) -> Alive {
    Alive {
        node: node.into(),
        incarnation: Incarnation(300),
        addr: addr(&[127, 0, 0, 1]),
        meta: Meta::new(*b"\xff\x81\xa4role\xa2db"),
        versions: Versions::CURRENT,
    }
}

fn query() -> Message {
    Message::Serf(SerfMessage::Query(Box::new(Query {
        ltime: LamportTime(7),
        id: QueryId(0x0102_0304),
        origin: addr(&[127, 0, 0, 1]),
        node: "alpha".into(),
        filters: vec![
            Filter::Nodes(vec!["bravo".into(), "charlie".into()]),
            Filter::Tag { key: Box::from(*b"role"), pattern: Box::from(*b"web|db") },
        ],
        ack: true,
        no_broadcast: false,
        relay_factor: 2,
        timeout: Duration::from_millis(3_200),
        name: Box::from(*b"deploy"),
        payload: Box::from(*b"now"),
    })))
}

fn response(ack: bool, payload: &[u8]) -> QueryResponse {
    let (ltime, id) = (LamportTime(7), QueryId(0x0102_0304));
    QueryResponse { ltime, id, from: "bravo".into(), ack, payload: payload.into() }
}

fn messages() -> Vec<(&'static str, Message)> {
    let accused = || Accused { node: "bravo".into(), incarnation: Incarnation(u32::MAX), from: "alpha".into() };
    let intent = |prune| Intent { ltime: LamportTime(u64::MAX), node: "bravo".into(), prune };
    vec![
        ("ping", Message::Ping(Ping { seq: SeqNo(1), node: "bravo".into(), source: None })),
        ("ping-source", {
            let addr = addr(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, 1]);
            let source = Some(ReplyTo { addr, node: "alpha".into() });
            Message::Ping(Ping { seq: SeqNo(200), node: "bravo".into(), source })
        }),
        (
            "indirect-ping",
            Message::IndirectPing(IndirectPing {
                seq: SeqNo(2),
                node: "bravo".into(),
                target: addr(&[127, 0, 0, 2]),
                nack: true,
                source: None,
            }),
        ),
        ("ack", Message::Ack(Ack { seq: SeqNo(1), coordinate: Some(Coordinate::start()) })),
        ("forwarded ack", Message::Ack(Ack { seq: SeqNo(1), coordinate: None })),
        ("nack", Message::Nack(SeqNo(2))),
        ("suspect", Message::Suspect(accused())),
        ("alive", Message::Alive(alive("alpha"))),
        ("dead", Message::Dead(accused())),
        ("leave", Message::Serf(SerfMessage::Leave(intent(true)))),
        ("join", Message::Serf(SerfMessage::Join(intent(false)))),
        ("event", {
            let (name, payload) = (Box::from(*b"deploy"), Box::from(*b"now"));
            Message::Serf(SerfMessage::Event(UserEvent { ltime: LamportTime(300), name, payload, coalesce: true }))
        }),
        ("query", query()),
        ("query-ack", Message::Serf(SerfMessage::Response(response(true, b"")))),
        ("query-response", Message::Serf(SerfMessage::Response(response(false, b"done")))),
        ("relay", {
            let (to, node) = (addr(&[127, 0, 0, 1]), "alpha".into());
            Message::Serf(SerfMessage::Relay(Relay { to, node, response: response(false, b"done") }))
        }),
    ]
}

fn push_pull() -> StreamMessage {
    let state = |node, state| NodeState { alive: alive(node), state };
    StreamMessage::PushPull(PushPull {
        join: true,
        nodes: vec![state("alpha", SwimState::Alive), state("bravo", SwimState::Left)],
        serf: SerfState {
            ltime: LamportTime(5),
            event_ltime: LamportTime(1),
            query_ltime: LamportTime(128),
            statuses: vec![("alpha".into(), LamportTime(1)), ("bravo".into(), LamportTime(4))],
            left: vec!["bravo".into()],
            events: vec![EventsAt {
                ltime: LamportTime(3),
                events: vec![Fired { name: Box::from(*b"deploy"), payload: Box::from(*b"now") }],
            }],
        },
        unreadable: 0,
    })
}

fn digest() -> Digest {
    let clocks = Clocks { members: LamportTime(5), events: LamportTime(1), queries: LamportTime(128) };
    Digest { clocks, members: 0x0102_0304_0506_0708, events_since: LamportTime(3), events: u64::MAX }
}

fn stream_messages() -> Vec<(&'static str, StreamMessage)> {
    vec![
        ("ping", StreamMessage::Ping(Ping { seq: SeqNo(7), node: "bravo".into(), source: None })),
        ("ack", StreamMessage::Ack(SeqNo(7))),
        ("push-pull", push_pull()),
        ("error", StreamMessage::Error("no".into())),
        ("digest", StreamMessage::Digest(digest())),
    ]
}

fn encoded(message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    encode(message, &mut out);
    out
}

fn packet(messages: &[(&str, Message)], envelope: Envelope<'_>) -> Box<[u8]> {
    let parts: Vec<_> = messages.iter().map(|(_, message)| encoded(message)).collect();
    let parts: Vec<_> = parts.iter().map(Vec::as_slice).collect();
    seal_packet(&parts, envelope, NONCE)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

/// Runs the check with and without keys, with and without label.
fn in_every_envelope(check: impl Fn(Envelope<'_>)) {
    for keyring in [Keyring::default(), ring(&[&[7; 16], &[8; 24], &[9; 32]])] {
        for label in [&b""[..], b"blue"] {
            check(Envelope { keyring: &keyring, label });
        }
    }
}

#[test]
fn one_message_of_each_kind_has_these_bytes() {
    let mut text = String::new();
    for (name, message) in messages() {
        writeln!(text, "{name}: {}", hex(&encoded(&message))).expect("a string takes everything");
    }
    insta::assert_snapshot!("native-messages", text);
}

#[test]
fn packets_and_streams_have_these_bytes() {
    let mut text = String::new();
    for (name, keyring, label) in [
        ("plain", Keyring::default(), &b""[..]),
        ("label", Keyring::default(), b"blue"),
        ("aes-128", ring(&[&[7; 16]]), b""),
        ("aes-192", ring(&[&[7; 24]]), b""),
        ("aes-256 label", ring(&[&[7; 32]]), b"blue"),
    ] {
        let envelope = Envelope { keyring: &keyring, label };
        let packet = packet(&messages()[..2], envelope);
        writeln!(text, "packet {name}: {}", hex(&packet)).expect("a string takes everything");
        for (kind, message) in stream_messages() {
            let frame = seal_stream(&message, envelope, NONCE, true);
            writeln!(text, "stream {name} {kind}: {}", hex(&frame)).expect("a string takes everything");
        }
    }
    insta::assert_snapshot!("native-frames", text);
}

#[test]
fn what_is_sealed_opens_as_it_was() {
    in_every_envelope(|envelope| {
        let sealed = packet(&messages(), envelope);
        let bytes: usize = messages().iter().map(|(_, message)| encoded(message).len() + PART_OVERHEAD).sum();
        assert_eq!(sealed.len(), packet_overhead(envelope) + bytes);
        let opened = open_packet(&sealed, envelope).expect("opens");
        assert_eq!(opened.bad, 0);
        assert!(opened.messages.iter().eq(messages().iter().map(|(_, message)| message)));
        for dialler in [true, false] {
            for (_, message) in stream_messages() {
                let frame = seal_stream(&message, envelope, NONCE, dialler);
                assert_eq!(open_stream(&frame, envelope, dialler), Ok(Some(message)));
            }
        }
    });
}

/// A small generator, so that a failing case can be run again by its seed.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// Small numbers and large ones alike.
    fn number(&mut self) -> u64 {
        self.next() >> (self.next() % 64)
    }

    fn small(&mut self) -> u32 {
        u32::try_from(self.number() & u64::from(u32::MAX)).expect("masked")
    }

    fn bytes(&mut self, min: usize, max: usize) -> Vec<u8> {
        let span = u64::try_from(max - min + 1).expect("small");
        let len = min + usize::try_from(self.next() % span).expect("small");
        (0..len).map(|_| self.next().to_le_bytes()[0]).collect()
    }

    fn name(&mut self) -> Name {
        Name::new(self.bytes(1, limits::NAME_BYTES_MAX))
    }

    fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }

    fn addr(&mut self) -> GossipAddr {
        let len = if self.coin() { 4 } else { 16 };
        let port = self.next().to_le_bytes();
        GossipAddr::from_bytes(&self.bytes(len, len), u16::from_le_bytes([port[0], port[1]])).expect("4 or 16")
    }

    fn source(&mut self) -> Option<ReplyTo> {
        self.coin().then(|| ReplyTo { addr: self.addr(), node: self.name() })
    }

    fn alive(&mut self) -> Alive {
        Alive {
            node: self.name(),
            incarnation: Incarnation(self.small()),
            addr: self.addr(),
            meta: Meta::new(self.bytes(0, limits::META_BYTES_ACCEPTED)),
            versions: Versions(self.bytes(6, 6).try_into().expect("six")),
        }
    }

    fn accused(&mut self) -> Accused {
        Accused { node: self.name(), incarnation: Incarnation(self.small()), from: self.name() }
    }

    fn intent(&mut self) -> Intent {
        Intent { ltime: LamportTime(self.number()), node: self.name(), prune: self.coin() }
    }

    fn message(&mut self) -> Message {
        match self.next() % 13 {
            0 => Message::Ping(Ping { seq: SeqNo(self.small()), node: self.name(), source: self.source() }),
            1 => Message::IndirectPing(IndirectPing {
                seq: SeqNo(self.small()),
                node: self.name(),
                target: self.addr(),
                nack: self.coin(),
                source: self.source(),
            }),
            2 => Message::Ack(Ack { seq: SeqNo(self.small()), coordinate: self.coin().then(|| self.coordinate()) }),
            3 => Message::Nack(SeqNo(self.small())),
            4 => Message::Suspect(self.accused()),
            5 => Message::Alive(self.alive()),
            6 => Message::Dead(self.accused()),
            7 => Message::Serf(SerfMessage::Leave(self.intent())),
            8 => Message::Serf(SerfMessage::Event(self.event())),
            9 => Message::Serf(SerfMessage::Query(self.query().into())),
            10 => Message::Serf(SerfMessage::Response(self.response())),
            11 => {
                let (to, node, response) = (self.addr(), self.name(), self.response());
                Message::Serf(SerfMessage::Relay(Relay { to, node, response }))
            }
            _ => Message::Serf(SerfMessage::Join(self.intent())),
        }
    }

    /// Numbers that single precision holds: native acks carry no more.
    fn coordinate(&mut self) -> Coordinate {
        let mut number = || f64::from(self.small() as f32);
        let vec = core::array::from_fn(|_| number());
        Coordinate { vec, error: number(), adjustment: number(), height: number() }
    }

    fn event(&mut self) -> UserEvent {
        let ltime = LamportTime(self.number());
        UserEvent { ltime, name: self.bytes(0, 40).into(), payload: self.bytes(0, 300).into(), coalesce: self.coin() }
    }

    fn response(&mut self) -> QueryResponse {
        let (ltime, id) = (LamportTime(self.number()), QueryId(self.small()));
        QueryResponse { ltime, id, from: self.name(), ack: self.coin(), payload: self.bytes(0, 300).into() }
    }

    fn query(&mut self) -> Query {
        let filters = (0..self.next() % 4)
            .map(|_| match self.next() % 3 {
                0 => Filter::Nodes((0..self.next() % 4).map(|_| self.name()).collect()),
                1 => Filter::Tag { key: self.bytes(0, 9).into(), pattern: self.bytes(0, 40).into() },
                _ => Filter::Unreadable,
            })
            .collect();
        Query {
            ltime: LamportTime(self.number()),
            id: QueryId(self.small()),
            origin: self.addr(),
            node: self.name(),
            filters,
            ack: self.coin(),
            no_broadcast: self.coin(),
            relay_factor: self.small().to_le_bytes()[0],
            timeout: Duration::from_nanos(self.number()).min(limits::DURATION_MAX),
            name: self.bytes(0, 40).into(),
            payload: self.bytes(0, 300).into(),
        }
    }

    fn events(&mut self) -> Vec<EventsAt> {
        (1..=self.next() % 4)
            .map(|ltime| EventsAt {
                ltime: LamportTime(ltime),
                events: (0..=self.next() % 3)
                    .map(|_| Fired { name: self.bytes(0, 9).into(), payload: self.bytes(0, 9).into() })
                    .collect(),
            })
            .collect()
    }

    fn push_pull(&mut self) -> StreamMessage {
        let states = [SwimState::Alive, SwimState::Suspect, SwimState::Dead, SwimState::Left];
        let nodes = (0..self.next() % 5)
            .map(|_| NodeState { alive: self.alive(), state: states[usize::from(self.next().to_le_bytes()[0] % 4)] })
            .collect();
        let serf = SerfState {
            ltime: LamportTime(self.number()),
            event_ltime: LamportTime(self.number()),
            query_ltime: LamportTime(self.number()),
            statuses: (0..self.next() % 5).map(|_| (self.name(), LamportTime(self.number()))).collect(),
            left: (0..self.next() % 5).map(|_| self.name()).collect(),
            events: self.events(),
        };
        StreamMessage::PushPull(PushPull { join: self.coin(), nodes, serf, unreadable: 0 })
    }
}

#[test]
fn every_value_comes_back_as_it_was() {
    for seed in 0..500 {
        let mut draw = Draw(seed);
        let message = draw.message();
        assert_eq!(decode(&encoded(&message)), Ok(message), "seed {seed}");
        let message = draw.push_pull();
        in_every_envelope(|envelope| {
            let frame = seal_stream(&message, envelope, NONCE, true);
            assert_eq!(open_stream(&frame, envelope, true), Ok(Some(message.clone())), "seed {seed}");
        });
    }
}

#[test]
fn a_message_cut_short_is_an_error() {
    for (name, message) in messages() {
        let bytes = encoded(&message);
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len]).is_err(), "{name} at {len}");
        }
    }
}

#[test]
fn a_packet_cut_short_is_an_error_and_a_stream_waits() {
    in_every_envelope(|envelope| {
        let bytes = packet(&messages(), envelope);
        for len in 0..bytes.len() {
            assert!(open_packet(&bytes[..len], envelope).is_err(), "at {len}");
        }
        for dialler in [true, false] {
            let bytes = seal_stream(&push_pull(), envelope, NONCE, dialler);
            for len in 0..bytes.len() {
                assert_eq!(open_stream(&bytes[..len], envelope, dialler), Ok(None), "at {len}");
            }
        }
    });
}

fn flips(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.len() * 8).map(|bit| {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        flipped
    })
}

#[test]
fn a_flipped_bit_of_a_packet_is_always_found() {
    in_every_envelope(|envelope| {
        for (bit, flipped) in flips(&packet(&messages(), envelope)).enumerate() {
            assert!(open_packet(&flipped, envelope).is_err(), "bit {bit}");
        }
    });
}

#[test]
fn a_flipped_bit_of_a_sealed_stream_never_gives_a_message() {
    let keyring = ring(&[&[7; 32]]);
    for (dialler, label) in [(true, &b"blue"[..]), (false, b"blue"), (true, b"")] {
        let envelope = Envelope { keyring: &keyring, label };
        for (bit, flipped) in flips(&seal_stream(&push_pull(), envelope, NONCE, dialler)).enumerate() {
            // A longer length is waited for; everything else is refused.
            assert!(!matches!(open_stream(&flipped, envelope, dialler), Ok(Some(_))), "bit {bit}");
        }
    }
}

fn within_bounds(message: &Message) -> bool {
    let addressee = |name: &Name| name.as_bytes().len() <= limits::NAME_BYTES_MAX;
    let member = |name: &Name| addressee(name) && !name.as_bytes().is_empty();
    match message {
        Message::Ping(ping) => addressee(&ping.node),
        Message::IndirectPing(ping) => addressee(&ping.node),
        Message::Ack(_) | Message::Nack(_) => true,
        Message::Suspect(accused) | Message::Dead(accused) => member(&accused.node) && member(&accused.from),
        Message::Alive(alive) => member(&alive.node) && alive.meta.as_bytes().len() <= limits::META_BYTES_ACCEPTED,
        Message::Serf(SerfMessage::Leave(intent) | SerfMessage::Join(intent)) => member(&intent.node),
        Message::Serf(SerfMessage::Event(event)) => {
            event.name.len() + event.payload.len() <= limits::USER_EVENT_BYTES_MAX
        }
        Message::Serf(SerfMessage::Query(query)) => {
            addressee(&query.node)
                && query.filters.len() <= limits::FILTERS_MAX
                && query.timeout <= limits::DURATION_MAX
        }
        Message::Serf(SerfMessage::Response(response)) => member(&response.from),
        Message::Serf(SerfMessage::Relay(relay)) => addressee(&relay.node) && member(&relay.response.from),
    }
}

#[test]
fn a_flipped_bit_of_a_bare_message_is_refused_or_gives_values_within_bounds() {
    for (name, message) in messages() {
        for (bit, flipped) in flips(&encoded(&message)).enumerate() {
            if let Ok(message) = decode(&flipped) {
                assert!(within_bounds(&message), "{name} bit {bit}: {message:?}");
            }
        }
    }
}

#[test]
fn each_mismatch_has_its_own_error() {
    let none = Keyring::default();
    let one = ring(&[&[1; 16]]);
    let two = ring(&[&[2; 16]]);
    let label = |got: &[u8], want: &[u8]| WireError::Label { got: got.into(), want: want.into() };
    for (from, from_label, to, to_label, want) in [
        (&none, &b""[..], &one, &b""[..], WireError::NotEncrypted),
        (&one, b"", &none, b"", WireError::Encrypted),
        (&one, b"", &two, b"", WireError::NoKey),
        (&none, b"a", &none, b"b", label(b"a", b"b")),
        (&none, b"a", &none, b"", label(b"a", b"")),
        (&one, b"", &one, b"b", label(b"", b"b")),
    ] {
        let from = Envelope { keyring: from, label: from_label };
        let to = Envelope { keyring: to, label: to_label };
        assert_eq!(open_packet(&packet(&messages(), from), to).err(), Some(want.clone()));
        assert_eq!(open_stream(&seal_stream(&push_pull(), from, NONCE, true), to, true), Err(want));
    }
    let plain = Envelope { keyring: &none, label: b"" };
    for (bytes, want) in [
        (&b"\x00"[..], WireError::Magic(0)),
        (b"\xb5\x02", WireError::Version(2)),
        (b"\xb5\x01\x02", WireError::Kind(2)),
        (b"\xf4\x00", WireError::Malformed),
    ] {
        assert_eq!(open_packet(bytes, plain).err(), Some(want.clone()));
        assert_eq!(open_stream(bytes, plain, true), Err(want));
    }
    assert_eq!(open_packet(b"\xb5\x01\x00\x00\x00\x00\x00", plain).err(), Some(WireError::Checksum));
    assert_eq!(open_stream(b"\xf4\x01a", plain, false), Err(WireError::Magic(0xf4)));
}

#[test]
fn the_answer_is_sealed_with_the_label_that_it_does_not_carry() {
    let keyring = ring(&[&[1; 16]]);
    let blue = Envelope { keyring: &keyring, label: b"blue" };
    let none = Envelope { keyring: &keyring, label: b"" };
    let answer = seal_stream(&push_pull(), blue, NONCE, false);
    assert_eq!(open_stream(&answer, none, false), Err(WireError::NoKey));
}

#[test]
fn any_key_of_the_ring_opens() {
    let both = ring(&[&[1; 16], &[2; 32]]);
    let second = ring(&[&[2; 32]]);
    let sealed = packet(&messages(), Envelope { keyring: &second, label: b"" });
    let opened = open_packet(&sealed, Envelope { keyring: &both, label: b"" }).expect("the second key fits");
    assert_eq!(opened.messages.len(), messages().len());
}

#[test]
fn scratch_and_messages_are_used_again() {
    in_every_envelope(|envelope| {
        let (mut scratch, mut all) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            let sealed = packet(&messages(), envelope);
            assert_eq!(open_packet_with(&sealed, envelope, &mut scratch, &mut all), Ok(0));
        }
        assert_eq!(all.len(), 2 * messages().len());
        assert_eq!(scratch.is_empty(), envelope.keyring.is_empty(), "a plain packet is read in place");
    });
}

/// A plain packet with a right checksum around any body.
fn plain_packet(body: &[u8]) -> Vec<u8> {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&[0xb5, 1, 0]);
    crc.update(body);
    [&[0xb5, 1, 0], &crc.finalize().to_be_bytes()[..], body].concat()
}

fn part(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).expect("short").to_be_bytes()[..], bytes].concat()
}

#[test]
fn a_bad_part_does_not_disturb_its_neighbours() {
    let keyring = Keyring::default();
    let envelope = Envelope { keyring: &keyring, label: b"" };
    let nack = part(&encoded(&Message::Nack(SeqNo(1))));
    let check = |parts: &[&[u8]], good: usize, bad: u32| {
        let opened = open_packet(&plain_packet(&parts.concat()), envelope).expect("the frame is good");
        assert_eq!((opened.messages.len(), opened.bad), (good, bad), "{parts:?}");
    };
    check(&[], 0, 0);
    check(&[&nack, &nack], 2, 0);
    check(&[&nack, &part(b"\x63"), &nack], 2, 1);
    check(&[&nack, &part(b""), &nack], 2, 1);
    check(&[&nack, &part(b"\x03\x01\x00"), &nack], 2, 1);
    check(&[&nack, b"\xff\xff", &nack, &nack], 1, 1);
    check(&[&nack, b"\x00"], 1, 1);
    check(&vec![nack.as_slice(); limits::PARTS_MAX], limits::PARTS_MAX, 0);
    check(&vec![nack.as_slice(); limits::PARTS_MAX + 1], limits::PARTS_MAX, 1);
}

#[test]
fn each_value_is_taken_at_its_bound_and_refused_beyond_it() {
    let long = |bytes| Name::new(vec![b'n'; bytes]);
    let ping = |bytes| Message::Ping(Ping { seq: SeqNo(1), node: long(bytes), source: None });
    let node = |bytes| Message::Alive(Alive { node: long(bytes), ..alive("") });
    let meta = |bytes| Message::Alive(Alive { meta: Meta::new(vec![0; bytes]), ..alive("a") });
    let event = |bytes| {
        let (name, payload) = (Box::from(*b"name"), vec![0; bytes].into());
        Message::Serf(SerfMessage::Event(UserEvent { ltime: LamportTime(1), name, payload, coalesce: false }))
    };
    let filters = |count| {
        let Message::Serf(SerfMessage::Query(mut query)) = query() else { unreachable!("a query") };
        query.filters = vec![Filter::Unreadable; count];
        Message::Serf(SerfMessage::Query(query))
    };
    let from = |bytes| Message::Dead(Accused { node: "a".into(), incarnation: Incarnation(1), from: long(bytes) });
    let intent =
        |bytes| Message::Serf(SerfMessage::Join(Intent { ltime: LamportTime(1), node: long(bytes), prune: false }));
    let check = |message: &dyn Fn(usize) -> Message, min: usize, max: usize| {
        for good in [min, max] {
            assert_eq!(decode(&encoded(&message(good))), Ok(message(good)));
        }
        for bad in min.checked_sub(1).into_iter().chain([max + 1]) {
            assert_eq!(decode(&encoded(&message(bad))), Err(WireError::OutOfRange), "{bad} bytes");
        }
    };
    check(&ping, 0, limits::NAME_BYTES_MAX);
    check(&node, 1, limits::NAME_BYTES_MAX);
    check(&from, 1, limits::NAME_BYTES_MAX);
    check(&intent, 1, limits::NAME_BYTES_MAX);
    check(&meta, 0, limits::META_BYTES_ACCEPTED);
    check(&event, 0, limits::USER_EVENT_BYTES_MAX - 4);
    check(&filters, 0, limits::FILTERS_MAX);
}

/// A plain frame around any body.
fn plain_frame(body: &[u8]) -> Vec<u8> {
    [&[0xb5, 1, 0], &u32::try_from(body.len()).expect("short").to_be_bytes()[..], body].concat()
}

#[test]
fn counts_and_lengths_of_streams_are_bounded_before_they_are_believed() {
    let keyring = Keyring::default();
    let envelope = Envelope { keyring: &keyring, label: b"" };
    let open = |bytes: &[u8]| open_stream(bytes, envelope, true);

    let max = limits::PUSH_PULL_NODES_MAX;
    let left = |count: u32| {
        let head =
            postcard::to_allocvec(&(2_u32, true, 0_u64, 0_u64, 0_u64, 0_u32, 0_u32, count, 0_u32)).expect("head");
        plain_frame(&[head, b"\x01n".repeat(usize::try_from(count.min(max as u32 + 1)).expect("small"))].concat())
    };
    assert_eq!(open(&left(max as u32)), Err(WireError::TooCostly), "what so many take is another bound");
    assert_eq!(open(&left(max as u32 + 1)), Err(WireError::OutOfRange));
    // Counts without entries.
    assert_eq!(open(&plain_frame(b"\x02\x01\0\0\0\x40\0\0\0")), Err(WireError::Malformed));

    let announced = |len: usize| [&[0xb5, 1, 0], &u32::try_from(len).expect("short").to_be_bytes()[..]].concat();
    assert_eq!(open(&announced(limits::STREAM_BYTES_MAX - 7)), Ok(None));
    let bytes = limits::STREAM_BYTES_MAX as u64 + 1;
    assert_eq!(open(&announced(limits::STREAM_BYTES_MAX - 6)), Err(WireError::TooLong { bytes }));

    let error = |len| StreamMessage::Error("e".repeat(len));
    let text = [&b"\x03\x81\x08"[..], &[b'e'; limits::ERROR_BYTES_MAX + 1]].concat();
    assert_eq!(open(&plain_frame(&text)), Err(WireError::OutOfRange));
    let cut = seal_stream(&error(limits::ERROR_BYTES_MAX + 1), envelope, NONCE, true);
    assert_eq!(open(&cut), Ok(Some(error(limits::ERROR_BYTES_MAX))), "our own text is cut to the bound");

    let frame = seal_stream(&StreamMessage::Ack(SeqNo(1)), envelope, NONCE, true);
    assert_eq!(open(&[&frame, &b"x"[..]].concat()), Err(WireError::Malformed));
}

#[test]
fn a_label_may_have_255_bytes() {
    let keyring = ring(&[&[1; 16]]);
    let label = [b'l'; limits::LABEL_BYTES_MAX];
    let envelope = Envelope { keyring: &keyring, label: &label };
    assert_eq!(open_packet(&packet(&messages(), envelope), envelope).expect("opens").bad, 0);
    let frame = seal_stream(&push_pull(), envelope, NONCE, true);
    assert_eq!(open_stream(&frame, envelope, true), Ok(Some(push_pull())));
}

/// A query of a filter that names nobody so often.
fn names_nobody(count: usize) -> Vec<u8> {
    let query = messages().into_iter().find_map(|(_, message)| match message {
        Message::Serf(SerfMessage::Query(query)) => Some(query),
        _ => None,
    });
    let filters = vec![Filter::Nodes(vec![Name::from(""); count])];
    encoded(&Message::Serf(SerfMessage::Query(Box::new(Query { filters, ..*query.expect("one of them") }))))
}

#[test]
fn a_datagram_of_empty_entries_is_not_read_beyond_what_it_may_allocate() {
    let most = names_nobody(4_096);
    assert!(decode(&most).is_ok());
    for count in [8_193, 65_000] {
        assert_eq!(decode(&names_nobody(count)), Err(WireError::TooCostly), "{count} names");
    }
    // Nor in many messages that are each within it.
    let keyring = Keyring::default();
    let envelope = Envelope { keyring: &keyring, label: &[] };
    let (parts, mut budget) = (vec![&*most; 15], Budget::datagram(limits::DATAGRAM_BYTES_MAX));
    let mut incoming = Incoming::default();
    let bad = incoming.open(&seal_packet(&parts, envelope, NONCE), envelope, &mut budget).expect("some can be read");
    assert_eq!((incoming.messages.len(), bad), (1, 14));
    assert!(budget.allocated() <= limits::DATAGRAM_ALLOCATED_MAX);
}
