//! HashiCorp's encoding against what nobody honest sends: captures cut short and with bits turned, bombs, and forms that
//! upstream accepts or refuses (gossip-wire.md 3.2 and 10.3). Work and memory are counted.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use crate::config::Wire;
use crate::io::{Stimulus, StreamEvent, StreamId};
use crate::keyring::Keyring;
use crate::limits;
use crate::msgpack::{Dialect, Writer};
use crate::rng::{Purpose, Rng, Seed};
use crate::tests::harness::{Lone, addr};
use crate::tests::memberlist_vectors::{Vector, open_whole_stream, read_stream, unhex, vectors};
use crate::wire::memberlist::{Progress, decode, seal_parts};
use crate::wire::{
    Budget, Envelope, Filter, Incoming, Message, Pieces, SerfMessage, StreamMessage, WireError, memberlist, open_stream,
};

const BARE: Keyring = Keyring::empty();

/// Reads a datagram. Whatever it is, it costs no more than it may, and gives nothing beyond a bound.
fn read(bytes: &[u8], envelope: Envelope<'_>) -> (Vec<Message>, Result<u32, WireError>) {
    let mut incoming = Incoming::default();
    let mut budget = Budget::datagram(bytes.len());
    let result = incoming.open(bytes, envelope, &mut budget);
    let work_max = limits::WORK_PER_BYTE * bytes.len() + limits::WORK_BYTES;
    assert!(budget.work_done() <= work_max, "{} bytes of work for {bytes:?}", budget.work_done());
    assert!(budget.allocated() <= limits::DATAGRAM_ALLOCATED_MAX, "{} bytes for {bytes:?}", budget.allocated());
    assert!(incoming.messages.len() <= limits::PARTS_MAX);
    let messages: Vec<Message> = incoming.messages.into_iter().map(|received| received.message).collect();
    messages.iter().for_each(assert_bounded);
    (messages, result)
}

fn read_bare(bytes: &[u8]) -> (Vec<Message>, Result<u32, WireError>) {
    read(bytes, Envelope { keyring: &BARE, label: &[] })
}

fn assert_bounded(message: &Message) {
    let name = |bytes: &[u8]| assert!(bytes.len() <= limits::NAME_BYTES_MAX, "a name of {} bytes", bytes.len());
    match message {
        Message::Ping(ping) => name(ping.node.as_bytes()),
        Message::IndirectPing(ask) => name(ask.node.as_bytes()),
        Message::Ack(_) | Message::Nack(_) => (),
        Message::Suspect(accused) | Message::Dead(accused) => {
            name(accused.node.as_bytes());
            name(accused.from.as_bytes());
        }
        Message::Alive(alive) => {
            name(alive.node.as_bytes());
            assert!(alive.meta.as_bytes().len() <= limits::META_BYTES_ACCEPTED);
        }
        Message::Serf(SerfMessage::Leave(intent) | SerfMessage::Join(intent)) => name(intent.node.as_bytes()),
        Message::Serf(SerfMessage::Event(event)) => {
            assert!(event.name.len() + event.payload.len() <= limits::USER_EVENT_BYTES_MAX);
        }
        Message::Serf(SerfMessage::Query(query)) => {
            name(query.node.as_bytes());
            assert!(query.filters.len() <= limits::FILTERS_MAX && query.timeout <= limits::DURATION_MAX);
        }
        Message::Serf(SerfMessage::Response(response)) => name(response.from.as_bytes()),
        Message::Serf(SerfMessage::Relay(relay)) => name(relay.node.as_bytes()),
    }
}

fn datagrams() -> Vec<Vector> {
    vectors().into_iter().filter(|vector| !vector.is_stream).collect()
}

fn streams() -> Vec<Vector> {
    vectors().into_iter().filter(|vector| vector.is_stream).collect()
}

#[test]
fn a_datagram_cut_short_anywhere_is_rejected_and_counted() {
    for vector in datagrams() {
        for end in 0..vector.bytes.len() {
            let (_, result) = read(&vector.bytes[..end], vector.envelope());
            assert!(result.is_err() || result.is_ok_and(|bad| bad > 0), "{} of {end} bytes", vector.name);
        }
    }
    // The node counts what the decoder rejects.
    let mut lone = Lone::new(|config| config.wire = Wire::Auto);
    let mut cuts = 0;
    for vector in datagrams().iter().filter(|vector| vector.label.is_empty() && vector.keyring.is_empty()) {
        for end in 0..vector.bytes.len() {
            let before = lone.node.stats().rejected;
            lone.give(Stimulus::Datagram { from: addr(1), bytes: &vector.bytes[..end] });
            assert!(lone.node.stats().rejected > before, "{} of {end} bytes", vector.name);
            cuts += 1;
        }
    }
    assert!(cuts > 2_000, "{cuts} cuts");
}

/// Whether the bit tells version 0 from version 1, which the seal does not cover (gossip-wire.md 1.2).
fn is_version(vector: &Vector, head: usize, bit: usize) -> bool {
    let label = if vector.label.is_empty() || vector.bytes[0] != 0xf4 { 0 } else { vector.label.len() + 2 };
    bit == (label + head) * 8
}

#[test]
fn a_datagram_with_any_bit_turned_is_rejected_or_within_bounds() {
    for vector in datagrams() {
        for bit in 0..vector.bytes.len() * 8 {
            let mut bytes = vector.bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let (_, result) = read(&bytes, vector.envelope());
            if !vector.keyring.is_empty() && !is_version(&vector, 0, bit) {
                assert!(result.is_err(), "{}: bit {bit} is not authenticated", vector.name);
            }
        }
    }
}

#[test]
fn a_stream_cut_short_anywhere_is_never_whole() {
    for vector in streams() {
        let whole = open_whole_stream(&vector);
        // As the bytes come, one by one, and all of a sudden.
        let (mut received, mut progress) = (Pieces::of(0), Progress::default());
        let mut step = |received: &mut Pieces| open_stream(received, vector.envelope(), vector.dialler, &mut progress);
        for end in 0..vector.bytes.len() {
            assert_eq!(step(&mut received), Ok(None), "{} of {end} bytes", vector.name);
            received.push(&vector.bytes[end..=end]);
            let at_once = read_stream(&vector.bytes[..end], vector.envelope(), vector.dialler);
            assert_eq!(at_once, Ok(None), "{} of {end} bytes", vector.name);
        }
        assert_eq!(step(&mut received), Ok(Some(whole)), "{}", vector.name);
    }
}

#[test]
fn a_stream_with_any_bit_turned_is_rejected_unfinished_or_within_bounds() {
    for vector in streams() {
        for bit in 0..vector.bytes.len() * 8 {
            let mut bytes = vector.bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let result = read_stream(&bytes, vector.envelope(), vector.dialler);
            if let Ok(Some(StreamMessage::PushPull(state))) = &result {
                for node in &state.nodes {
                    assert_bounded(&Message::Alive(node.alive.clone()));
                }
            }
            if !vector.keyring.is_empty() && !is_version(&vector, 5, bit) {
                // Only a length that has grown is waited for.
                assert!(matches!(result, Err(_) | Ok(None)), "{}: bit {bit} is not authenticated", vector.name);
            }
        }
    }
}

#[test]
fn a_cut_stream_ends_and_leaves_nothing_behind() {
    let vector = streams().into_iter().find(|vector| vector.name == "pushpull-join-initiator").expect("captured");
    for end in 1..vector.bytes.len() {
        let mut lone = Lone::new(|config| config.wire = Wire::Auto);
        let id = StreamId(1);
        lone.give(Stimulus::Stream { id, event: StreamEvent::Accepted { from: addr(9) } });
        lone.give(Stimulus::Stream { id, event: StreamEvent::Bytes(&vector.bytes[..end]) });
        lone.give(Stimulus::Stream { id, event: StreamEvent::Closed });
        lone.wait(Duration::from_secs(11));
        assert_eq!(lone.node.members().len(), 1, "{end} bytes");
        assert_eq!(lone.node.next_deadline(), None, "{end} bytes");
    }
}

/// A message of the layer above, behind both type bytes.
fn query_with(filters: &[u8]) -> Vec<u8> {
    let mut bytes = vec![8, 4];
    let mut writer = Writer::new(Dialect::Gossip);
    writer.map(4).text("Addr").blob(&[127, 0, 0, 1]).text("Port").uint(7946).text("Name").text("q").text("Filters");
    bytes.extend(writer.finish());
    bytes.extend(filters);
    bytes
}

fn compressed(plain: &[u8]) -> Vec<u8> {
    let packed = weezl::encode::Encoder::new(weezl::BitOrder::Lsb, 8).encode(plain).expect("LZW");
    let mut writer = Writer::append_to(Dialect::Gossip, vec![9]);
    writer.map(2).text("Algo").uint(0).text("Buf").blob(&packed);
    writer.finish()
}

fn compound(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![7, u8::try_from(parts.len()).expect("few")];
    for part in parts {
        bytes.extend(u16::try_from(part.len()).expect("short").to_be_bytes());
    }
    parts.iter().for_each(|part| bytes.extend(*part));
    bytes
}

fn ping(node: &str) -> Vec<u8> {
    let mut writer = Writer::append_to(Dialect::Gossip, vec![0]);
    writer.map(2).text("Node").text(node).text("SeqNo").uint(1);
    writer.finish()
}

#[test]
fn what_expands_beyond_a_datagram_is_refused() {
    let fits = compressed(&[ping("a"), vec![0; 30_000]].concat());
    let (messages, result) = read_bare(&fits);
    assert_eq!((messages.len(), result), (1, Ok(0)), "bytes behind a message are ignored");
    let (messages, result) = read_bare(&compressed(&vec![0; limits::DATAGRAM_BYTES_MAX + 1]));
    assert!(messages.is_empty());
    assert_eq!(result, Err(WireError::TooLarge { max: limits::DATAGRAM_BYTES_MAX }));
    let bomb = compressed(&vec![0; 20 << 20]);
    assert!(bomb.len() < limits::DATAGRAM_BYTES_MAX, "{} bytes", bomb.len());
    assert_eq!(read_bare(&bomb).1, Err(WireError::TooLarge { max: limits::DATAGRAM_BYTES_MAX }));
    // Many small bombs in one compound share one budget.
    let small = compressed(&vec![0; 60_000]);
    let parts = vec![&*small; 60];
    assert!(read_bare(&compound(&parts)).1.is_ok_and(|bad| bad == 60));
}

#[test]
fn nesting_has_an_end_and_what_is_within_it_counts() {
    let mut packet = ping("a");
    for depth in 1..=10_u8 {
        packet = if depth % 2 == 0 { compressed(&packet) } else { compound(&[&packet]) };
        let (messages, result) = read_bare(&packet);
        if depth <= limits::NESTING_MAX {
            assert_eq!((messages.len(), result), (1, Ok(0)), "depth {depth}");
        } else {
            // Whichever layer reaches the bound, the message is lost and counted.
            assert!(messages.is_empty() && result != Ok(0), "depth {depth}");
        }
    }
}

#[test]
fn a_bad_part_does_not_disturb_its_neighbours() {
    let (first, last) = (ping("a"), ping("b"));
    for bad in [&[][..], &[6], &[10, 0], &[13, 0x80], &[0xff], &[12, 0, 0, 0, 0, 0], &[8], &[8, 6, 0x80], &[8, 2, 0x80]]
    {
        let (messages, result) = read_bare(&compound(&[&first, bad, &last]));
        assert_eq!((messages.len(), result), (2, Ok(1)), "{bad:?}");
    }
    // A part that is not all there ends the list, a table that is not all there the packet; what is left over is ignored.
    let whole = compound(&[&first, &last]);
    assert_eq!(read_bare(&whole[..whole.len() - 1]).0.len(), 1);
    assert_eq!(read_bare(&[7, 200, 0, 1]).1, Err(WireError::Truncated));
    assert_eq!(read_bare(&[&whole[..], &[1, 2, 3]].concat()).1, Ok(0));
    assert_eq!(read_bare(&[7, 0]), (vec![], Ok(0)));
}

#[test]
fn as_many_messages_as_a_compound_can_have_are_read_and_one_more_is_not() {
    let part = ping("a");
    assert_eq!(read_bare(&compound(&vec![&*part; limits::PARTS_MAX])).0.len(), limits::PARTS_MAX);
    let inner = compound(&[&part, &part]);
    let (messages, result) = read_bare(&compound(&vec![&*inner; limits::PARTS_MAX]));
    assert_eq!(messages.len(), limits::PARTS_MAX);
    assert!(result.is_ok_and(|bad| bad > 0));
}

#[test]
fn lists_of_empty_names_cost_no_more_than_they_may() {
    let names = 60_000;
    let mut filter = Writer::append_to(Dialect::Gossip, vec![0]);
    filter.array(names);
    let filter = [filter.finish(), vec![0xa0; names]].concat();
    let mut filters = Writer::new(Dialect::Gossip);
    filters.array(1).blob(&filter);
    assert_eq!(read_bare(&query_with(&filters.finish())).1, Err(WireError::TooCostly));
    let mut filters = Writer::new(Dialect::Gossip);
    filters.array(limits::FILTERS_MAX + 1);
    let many = [filters.finish(), vec![0xa0; limits::FILTERS_MAX + 1]].concat();
    assert_eq!(read_bare(&query_with(&many)).1, Err(WireError::OutOfRange));
    let (messages, _) = read_bare(&query_with(&[0x92, 0xa0, 0xa1, 9]));
    let [Message::Serf(SerfMessage::Query(query))] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!(query.filters, [Filter::Unreadable, Filter::Unreadable], "an empty filter and an unknown one");
}

#[test]
fn a_length_that_is_announced_reserves_nothing() {
    for bytes in ["00dfffffffff", "00ddffffffff", "0081a44e6f6465dbffffffff", "0984a0", "09df7fffffff", "08045bdf"] {
        let (messages, result) = read_bare(&unhex(bytes));
        assert!(messages.is_empty() && result.is_err(), "{bytes}");
    }
    // A million nested lists behind an unknown key are passed over without recursion.
    let mut nested = vec![0, 0x81, 0xa1, b'x'];
    nested.extend(vec![0x91; 60_000]);
    nested.push(0xc0);
    assert_eq!(read_bare(&nested).1, Ok(0));
}

/// Forms of a ping's fields, and whether upstream takes them (gossip-wire.md 3.2): what one of its codecs takes we take.
#[test]
fn fields_are_taken_in_the_forms_in_which_upstream_takes_them() {
    let taken = [
        ("82a44e6f6465a161a55365714e6f05", "as it is sent"),
        ("82a55365714e6f05a44e6f6465a161", "another order"),
        ("de0002a44e6f6465a161a55365714e6f05", "a long map header"),
        ("82d9044e6f6465d90161a55365714e6fcd0005", "str8 and a wide number"),
        ("82c4044e6f6465c40161a55365714e6fd005", "bin and a signed number"),
        ("83a178c1a44e6f6465a161a55365714e6f05", "!an unknown key with the reserved byte"),
        ("83a178c7020102ffa44e6f6465a161a55365714e6f05", "an unknown key with an extension"),
        ("83a17881909090a44e6f6465a161a55365714e6f05", "!an unknown key whose map is cut"),
        ("83a1788190c0a44e6f6465a161a55365714e6f05", "an unknown key with a map whose key is a list"),
        ("83a46e6f6465a162a44e6f6465a161a55365714e6f05", "a key in another case"),
        ("83a44e6f6465a162a44e6f6465a161a55365714e6f05", "a key that stands twice: the last one counts"),
        ("83c0a162a44e6f6465a161a55365714e6f05", "nil as a key"),
        ("9205a161", "a list in the declared order"),
        ("9605a161a47f000001cd1f0aa162c0", "a longer list"),
        ("82a44e6f64659161a55365714e6f05", "text as a list of numbers"),
        ("82a44e6f6465a161a55365714e6f05ffff", "bytes behind it"),
        ("82a44e6f646561a55365714e6f05", "!text from a number"),
        ("82a44e6f6465c3a55365714e6f05", "!text from a truth value"),
        ("82a44e6f6465a161a55365714e6fff", "!a negative number"),
        ("82a44e6f6465a161a55365714e6fcf0000000100000000", "!a number that is too large"),
        ("82a44e6f6465a161a55365714e6fcb4014000000000000", "!a float"),
        ("82a44e6f6465a161a55365714e6fa135", "!a number as text"),
        ("05", "!a number"),
        ("a161", "!text"),
        ("83a44e6f6465a161a55365714e6f05", "!a map with a pair missing"),
    ];
    for (hex, what) in taken {
        let (messages, result) = read_bare(&[vec![0], unhex(hex)].concat());
        if let Some(what) = what.strip_prefix('!') {
            assert!(messages.is_empty() && result.is_err(), "{what} is taken");
            continue;
        }
        let [Message::Ping(ping)] = &messages[..] else { panic!("{what}: {result:?}") };
        assert_eq!((ping.node.as_bytes(), ping.seq.0), (&b"a"[..], 5), "{what}");
    }
    for (hex, what) in [("80", "no fields"), ("c0", "nil"), ("81a44e6f6465c0", "a name that is nil")] {
        let (messages, _) = read_bare(&[vec![0], unhex(hex)].concat());
        let [Message::Ping(ping)] = &messages[..] else { panic!("{what}") };
        assert_eq!((ping.node.as_bytes(), ping.seq.0), (&b""[..], 0), "{what}");
    }
    let flag = |value: &str| read_bare(&unhex(&alloc::format!("080082a44e6f6465a161a55072756e65{value}"))).1;
    for (value, ok) in
        [("c2", true), ("c3", true), ("00", true), ("01", true), ("c0", true), ("02", false), ("cc01", false)]
    {
        assert_eq!(flag(value).is_ok(), ok, "{value} as a truth value");
    }
}

#[test]
fn a_member_without_all_version_bytes_is_never_taken_in() {
    let alive = |versions: &[u8]| {
        let mut writer = Writer::append_to(Dialect::Gossip, vec![4]);
        writer.map(5).text("Addr").blob(&[10, 0, 0, 1]).text("Incarnation").uint(1).text("Node").text("n1");
        writer.text("Port").uint(7946).text("Vsn").blob(versions);
        writer.finish()
    };
    for versions in 0..6 {
        let mut lone = Lone::new(|config| config.wire = Wire::Auto);
        lone.give(Stimulus::Datagram { from: addr(1), bytes: &alive(&[1, 5, 2, 2, 5, 5][..versions]) });
        assert_eq!((lone.node.members().len(), lone.node.stats().rejected), (1, 1), "{versions} bytes");
    }
    let mut lone = Lone::new(|config| config.wire = Wire::Auto);
    lone.give(Stimulus::Datagram { from: addr(1), bytes: &alive(&[1, 5, 2, 2, 5, 5, 9, 9]) });
    assert_eq!(lone.node.members().len(), 2, "more bytes are cut to six");
}

#[test]
fn random_bytes_and_captures_with_random_damage_stay_within_their_budgets() {
    let mut rng = Rng::new(Seed::simulated(11));
    let vectors = datagrams();
    for _ in 0..60_000 {
        let vector = &vectors[rng.index(Purpose::Relay, vectors.len())];
        let mut bytes = vector.bytes.clone();
        for _ in 0..=rng.index(Purpose::Relay, 6) {
            let at = rng.index(Purpose::Relay, bytes.len());
            match rng.index(Purpose::Relay, 4) {
                0 => bytes[at] = u8::try_from(rng.index(Purpose::Relay, 256)).expect("a byte"),
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, [0xc0, 0xdd, 0xdb, 0x9f, 7, 9][rng.index(Purpose::Relay, 6)]),
                _ => bytes.extend_from_within(at..),
            }
            if bytes.is_empty() || bytes.len() > limits::DATAGRAM_BYTES_MAX {
                break;
            }
        }
        let _ = read_bare(&bytes);
    }
}

#[test]
fn a_compressed_stream_that_expands_too_far_is_refused() {
    let bomb = compressed(&vec![0; limits::STREAM_EXPANDED_MAX + 1]);
    assert!(bomb.len() < 64 << 10, "{} bytes", bomb.len());
    let envelope = Envelope { keyring: &BARE, label: &[] };
    let result = read_stream(&bomb, envelope, true);
    assert_eq!(result, Err(WireError::TooLarge { max: limits::STREAM_EXPANDED_MAX }));
}

#[test]
fn counts_of_a_push_pull_are_checked_before_they_are_believed() {
    let envelope = Envelope { keyring: &BARE, label: &[] };
    let head = |nodes: u64, bytes: u64| {
        let mut writer = Writer::append_to(Dialect::Gossip, vec![6]);
        writer.map(3).text("Join").boolean(true).text("Nodes").uint(nodes).text("UserStateLen").uint(bytes);
        writer.finish()
    };
    let open = |bytes: &[u8]| read_stream(bytes, envelope, true);
    let most = limits::PUSH_PULL_NODES_MAX as u64;
    assert_eq!(open(&head(most, 0)), Ok(None), "they may still come");
    assert_eq!(open(&head(most + 1, 0)), Err(WireError::OutOfRange));
    assert_eq!(open(&head(1 << 63, 0)), Err(WireError::OutOfRange), "a negative count");
    let beyond = limits::STREAM_EXPANDED_MAX as u64 + 1;
    assert_eq!(open(&head(0, beyond)), Err(WireError::TooLarge { max: limits::STREAM_EXPANDED_MAX }));
    let other = read_stream(b"GET / HTTP/1.1\r\n", envelope, true);
    assert_eq!(other, Err(WireError::Magic(b'G')));
}

#[test]
fn a_packet_of_many_keys_and_bytes_is_read_within_the_budget_or_not_at_all() {
    let keys: Vec<_> =
        (0..limits::KEYS_MAX as u8).map(|byte| crate::keyring::Key::new(&[byte; 16]).expect("a key")).collect();
    let ring = Keyring::new(keys.clone());
    let last = Keyring::new(vec![keys[limits::KEYS_MAX - 1].clone()]);
    let seal = |ring: &Keyring, len: usize| {
        let event =
            [&[8, 3, 0x81, 0xa1, b'x', 0xdb][..], &u32::try_from(len).expect("short").to_be_bytes(), &vec![0; len]]
                .concat();
        let envelope = Envelope { keyring: ring, label: &[] };
        seal_parts([&*event].into_iter(), envelope, [1; 12], memberlist::PacketForm::default())
    };
    let envelope = Envelope { keyring: &ring, label: &[] };
    assert!(read(&seal(&last, 1_300), envelope).1.is_ok(), "an honest packet under the last of all keys");
    // The longest possible one is allowed to be too costly, but not to cost more.
    let _ = read(&seal(&last, 65_000), envelope);
}

#[test]
fn what_is_decoded_alone_has_a_budget_too() {
    let bytes = ping("a");
    let mut budget = Budget::datagram(bytes.len());
    assert!(decode(&bytes, &mut budget).is_ok());
    assert_eq!((budget.work_done(), budget.allocated()), (2 * bytes.len(), bytes.len()));
}
