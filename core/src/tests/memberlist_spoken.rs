//! Which encoding is spoken: memberlist's until every live member has shown the native sign, then native, and back at once
//! when one has not.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use crate::command::{Command, CommandError, Reply};
use crate::config::{Config, Profile, Wire};
use crate::io::{Output, Stimulus, StreamAction, StreamError, StreamEvent, StreamId};
use crate::keyring::Keyring;
use crate::lamport::LamportTime;
use crate::limits;
use crate::log::Log;
use crate::msgpack::{Dialect, Writer};
use crate::serf::tags;
use crate::tests::harness::{Lone, accused, addr, alive, config, name, packet, reply_to, signed};
use crate::time::Time;
use crate::types::{GossipAddr, Meta, SeqNo, Tags, Versions};
use crate::wire::memberlist::{PacketForm, seal_parts};
use crate::wire::{
    Ack, Alive, Budget, Encoding, Envelope, Incoming, IndirectPing, Message, Ping, SerfMessage, StreamMessage,
    SwimState, UserEvent, WireError, stream_encoding,
};

const SECOND: Duration = Duration::from_secs(1);
const BARE: Keyring = Keyring::empty();
const ENVELOPE: Envelope<'_> = Envelope { keyring: &BARE, label: &[] };

/// A node that chooses by itself.
fn auto(change: impl FnOnce(&mut Config)) -> Lone {
    Lone::new(|config| {
        config.wire = Wire::Auto;
        change(config);
    })
}

/// An alive message of a member without the sign.
fn stranger(number: usize, incarnation: u32) -> Alive {
    Alive { meta: tags::encode(&Tags::new()), ..alive(number, incarnation) }
}

/// Hands messages in as a HashiCorp agent would send them.
fn hear_memberlist(lone: &mut Lone, from: usize, messages: &[Message]) {
    let encoded: Vec<Vec<u8>> = messages
        .iter()
        .map(|message| {
            let mut bytes = Vec::new();
            Encoding::Memberlist.encode(message, &mut bytes);
            bytes
        })
        .collect();
    let bytes = seal_parts(encoded.iter().map(Vec::as_slice), ENVELOPE, [0; 12], PacketForm::default());
    lone.give(Stimulus::Datagram { from: addr(from), bytes: &bytes });
}

struct Sent {
    to: SocketAddr,
    encoding: Encoding,
    messages: Vec<Message>,
    bytes: Box<[u8]>,
}

/// Takes the packets sent since the last call.
fn sent(lone: &mut Lone) -> Vec<Sent> {
    let mut all = Vec::new();
    lone.out.retain(|output| {
        let Output::Datagram { to, bytes, .. } = output else { return true };
        let mut incoming = Incoming::default();
        assert_eq!(incoming.open(bytes, ENVELOPE, &mut Budget::datagram(bytes.len())), Ok(0));
        let messages = incoming.messages.into_iter().map(|received| received.message).collect();
        all.push(Sent { to: *to, encoding: incoming.encoding, messages, bytes: bytes.clone() });
        false
    });
    all
}

fn encodings(lone: &mut Lone) -> Vec<Encoding> {
    let mut encodings: Vec<_> = sent(lone).into_iter().map(|sent| sent.encoding).collect();
    encodings.dedup();
    encodings
}

fn ping(seq: u32) -> Message {
    Message::Ping(Ping { seq: SeqNo(seq), node: name(0), source: None })
}

/// One that says whose it is.
fn members_ping(number: usize, seq: u32) -> Message {
    Message::Ping(Ping { seq: SeqNo(seq), node: name(0), source: Some(reply_to(number)) })
}

#[test]
fn native_is_spoken_while_every_live_member_shows_the_sign_and_no_longer() {
    let mut lone = auto(|_| ());
    assert_eq!(lone.node.stats().encoding, Encoding::Memberlist, "nobody has shown anything yet");
    lone.hear(1, &[Message::Alive(alive(1, 1)), Message::Alive(alive(2, 1))]);
    lone.wait(2 * SECOND);
    assert_eq!(encodings(&mut lone), [Encoding::Native]);
    // A stranger: from the next packet on.
    lone.hear(1, &[Message::Alive(stranger(3, 1))]);
    assert_eq!((lone.node.stats().encoding, lone.node.strangers()), (Encoding::Memberlist, vec![name(3)]));
    lone.wait(2 * SECOND);
    assert_eq!(encodings(&mut lone), [Encoding::Memberlist]);
    // A suspect is alive.
    lone.hear(1, &[Message::Suspect(accused(3, 1, 1))]);
    lone.wait(SECOND);
    assert_eq!(encodings(&mut lone), [Encoding::Memberlist]);
    // One that leaves does not count any longer, one that is replaced in place neither.
    lone.hear(1, &[Message::Dead(accused(3, 1, 3))]);
    assert_eq!((lone.node.stats().encoding, lone.node.stats().strangers), (Encoding::Native, 0));
    lone.hear(1, &[Message::Alive(stranger(2, 2))]);
    assert_eq!(lone.node.strangers(), [name(2)]);
    lone.hear(1, &[Message::Alive(alive(2, 3))]);
    assert_eq!(
        (lone.node.stats().encoding, lone.node.stats().strangers),
        (Encoding::Memberlist, 0),
        "not so soon again"
    );
    lone.wait(limits::NATIVE_AGAIN_AFTER);
    assert_eq!(lone.node.stats().encoding, Encoding::Native);
    // Alone again, whoever comes next is not known.
    lone.hear(1, &[Message::Dead(accused(1, 1, 1)), Message::Dead(accused(2, 3, 2))]);
    assert_eq!(lone.node.stats().encoding, Encoding::Memberlist);
}

#[test]
fn an_agent_that_is_replaced_in_place_is_believed_to_be_a_stranger_before_its_word_counts() {
    let mut lone = auto(|_| ());
    lone.hear(1, &[Message::Alive(alive(1, 5)), Message::Alive(alive(2, 1))]);
    assert_eq!(lone.node.stats().encoding, Encoding::Native);
    hear_memberlist(&mut lone, 1, &[Message::Alive(stranger(1, 1))]);
    assert_eq!(lone.node.strangers(), [name(1)], "whatever its incarnation");
    assert_eq!(lone.belief(1), Some((SwimState::Alive, 5)), "and nothing else changes");
    // It was an old word, and the one that counts is said again.
    lone.hear(2, &[Message::Alive(alive(1, 4))]);
    assert_eq!(lone.node.strangers(), [name(1)]);
    lone.hear(2, &[Message::Alive(alive(1, 5))]);
    assert_eq!(lone.node.stats().encoding, Encoding::Native);
    // Or it was true, and it speaks for itself.
    hear_memberlist(&mut lone, 1, &[Message::Alive(stranger(1, 2)), Message::Alive(stranger(1, 6))]);
    lone.hear(2, &[Message::Alive(alive(1, 5))]);
    assert_eq!(lone.node.strangers(), [name(1)]);
}

#[test]
fn a_stranger_that_comes_and_goes_with_every_word_does_not_have_the_queues_encoded_each_time() {
    let mut lone = auto(|config| config.swim.probe_interval = 600 * SECOND);
    lone.hear(1, &[Message::Alive(alive(1, 1))]);
    let flip = |round| [Message::Alive(stranger(3, round)), Message::Dead(accused(3, round, 1))];
    let flips: Vec<Message> = (1..=20).flat_map(flip).collect();
    lone.hear(1, &flips);
    let changes = |lone: &Lone| lone.logs().into_iter().filter(|log| matches!(log, Log::Spoken(..))).count();
    assert!(lone.node.strangers().is_empty());
    assert_eq!(changes(&lone), 2, "native at first, then memberlist's");
    lone.wait(limits::NATIVE_AGAIN_AFTER);
    lone.hear(1, &[ping(7)]);
    assert_eq!((lone.node.stats().encoding, changes(&lone)), (Encoding::Native, 3));
}

#[test]
fn what_is_spoken_is_logged_when_it_changes_with_the_member_because_of_whom() {
    let mut lone = auto(|_| ());
    lone.hear(1, &[Message::Alive(alive(1, 1))]);
    lone.wait(SECOND);
    lone.hear(1, &[Message::Alive(stranger(3, 1))]);
    lone.wait(SECOND);
    let changes: Vec<Log> = lone.logs().into_iter().filter(|log| matches!(log, Log::Spoken(..))).collect();
    assert_eq!(changes, [Log::Spoken(Encoding::Native, None), Log::Spoken(Encoding::Memberlist, Some(name(3)))]);
}

#[test]
fn acks_nacks_and_forwarded_acks_are_in_the_encoding_of_their_question() {
    let ask = |seq| {
        let target = GossipAddr::from(addr(9));
        Message::IndirectPing(IndirectPing { seq: SeqNo(seq), node: name(9), target, nack: true, source: None })
    };
    for (member, spoken) in [(alive(1, 1), Encoding::Native), (stranger(1, 1), Encoding::Memberlist)] {
        let mut lone = auto(|config| config.swim.probe_interval = 600 * SECOND);
        lone.hear(1, &[Message::Alive(member)]);
        lone.wait(5 * SECOND);
        sent(&mut lone);
        assert_eq!(lone.node.stats().encoding, spoken);
        for encoding in [Encoding::Native, Encoding::Memberlist] {
            let hear = |lone: &mut Lone, messages: &[Message]| match encoding {
                Encoding::Native => lone.hear(1, messages),
                Encoding::Memberlist => hear_memberlist(lone, 1, messages),
            };
            hear(&mut lone, &[ping(7)]);
            assert_eq!(encodings(&mut lone), [encoding], "an ack where {spoken} is spoken");
            // The helper's own ping goes to somebody unknown, the nack and the ack go back.
            hear(&mut lone, &[ask(8)]);
            let pings = sent(&mut lone);
            assert_eq!((pings[0].to, pings[0].encoding), (addr(9), Encoding::Memberlist));
            let [Message::Ping(Ping { seq, .. })] = pings[0].messages[..] else { panic!("a ping") };
            lone.wait(Duration::from_millis(450));
            assert_eq!(encodings(&mut lone), [encoding], "a nack where {spoken} is spoken");
            hear_memberlist(&mut lone, 9, &[Message::Ack(Ack { seq, coordinate: None })]);
            assert_eq!(encodings(&mut lone), [encoding], "a forwarded ack where {spoken} is spoken");
        }
    }
}

#[test]
fn a_packet_in_the_other_encoding_carries_nothing_else() {
    let mut lone = auto(|config| config.swim.gossip_interval = 600 * SECOND);
    lone.hear(1, &[Message::Alive(alive(1, 1))]);
    for (encoding, messages) in [(Encoding::Memberlist, 1), (Encoding::Native, 3)] {
        sent(&mut lone);
        match encoding {
            Encoding::Native => lone.hear(1, &[members_ping(1, 7)]),
            Encoding::Memberlist => hear_memberlist(&mut lone, 1, &[members_ping(1, 7)]),
        }
        let [ack] = &sent(&mut lone)[..] else { panic!("one ack") };
        assert_eq!((ack.encoding, ack.messages.len()), (encoding, messages));
    }
}

#[test]
fn what_waits_is_encoded_anew_at_a_switch_and_keeps_its_count() {
    let mut lone = auto(|config| {
        config.swim.gossip_interval = 10 * SECOND;
        config.swim.gossip_nodes = 1;
        config.swim.gossip_to_dead = Duration::ZERO;
        config.swim.probe_interval = 600 * SECOND;
    });
    lone.hear(1, &[Message::Alive(alive(1, 1))]);
    lone.command(Command::UserEvent { name: (*b"deploy").into(), payload: (*b"v1").into(), coalesce: false });
    let spread = |lone: &mut Lone, encoding| -> Vec<Message> {
        lone.wait(10 * SECOND);
        let sent = sent(lone);
        assert!(sent.iter().all(|sent| sent.encoding == encoding) && sent.len() <= 1, "{encoding}");
        sent.into_iter().flat_map(|sent| sent.messages).collect()
    };
    sent(&mut lone);
    let event = |messages: &[Message]| {
        messages
            .iter()
            .any(|message| matches!(message, Message::Serf(SerfMessage::Event(event)) if *event.name == *b"deploy"))
    };
    // Four times in all, whatever is spoken meanwhile: 4 x ceil(log10(n + 1)).
    assert!(event(&spread(&mut lone, Encoding::Native)));
    lone.hear(1, &[Message::Alive(stranger(2, 1))]);
    assert!(event(&spread(&mut lone, Encoding::Memberlist)));
    lone.hear(1, &[Message::Dead(accused(2, 1, 2))]);
    assert!(event(&spread(&mut lone, Encoding::Native)));
    assert!(event(&spread(&mut lone, Encoding::Native)));
    assert!(!event(&spread(&mut lone, Encoding::Native)));
    assert_eq!(lone.node.stats().event_queue, 0);
}

#[test]
fn a_message_of_the_layer_above_is_passed_on_as_it_came() {
    let mut lone = auto(|config| config.compress = false);
    lone.hear(1, &[Message::Alive(stranger(1, 1)), Message::Alive(stranger(2, 1))]);
    // A field of a later time, and another order than ours.
    let mut writer = Writer::append_to(Dialect::Gossip, vec![8, 3]);
    writer.map(5).text("Name").text("deploy").text("Zone").text("east").text("LTime").uint(9).text("Payload").nil();
    writer.text("CC").boolean(true);
    let original = writer.finish();
    lone.give(Stimulus::Datagram { from: addr(1), bytes: &original });
    lone.wait(SECOND);
    let carries = |sent: &Sent| sent.bytes.windows(original.len()).any(|window| *window == *original);
    let all = sent(&mut lone);
    assert!(all.iter().any(carries), "the bytes as they came");
    // Where native is spoken its meaning is passed on.
    let mut lone = auto(|_| ());
    lone.hear(1, &[Message::Alive(alive(1, 1))]);
    lone.give(Stimulus::Datagram { from: addr(1), bytes: &original });
    let event = UserEvent { ltime: LamportTime(9), name: (*b"deploy").into(), payload: [].into(), coalesce: true };
    assert!(lone.gossips(&Message::Serf(SerfMessage::Event(event))));
}

#[test]
fn a_member_that_is_gone_hears_in_memberlists_encoding_what_is_said_of_it() {
    let mut lone = auto(|config| config.swim.probe_interval = 600 * SECOND);
    lone.hear(1, &[Message::Alive(alive(1, 1)), Message::Alive(alive(2, 1))]);
    lone.wait(5 * SECOND);
    sent(&mut lone);
    lone.hear(1, &[Message::Dead(accused(2, 1, 1))]);
    lone.wait(2 * SECOND);
    let sent = sent(&mut lone);
    let verdict = Message::Dead(accused(2, 1, 1));
    for (to, encoding) in [(addr(1), Encoding::Native), (addr(2), Encoding::Memberlist)] {
        let heard = sent.iter().find(|sent| sent.to == to).expect("gossip");
        assert_eq!(heard.encoding, encoding);
        assert!(heard.messages.contains(&verdict), "{:?}", heard.messages);
    }
}

/// The first bytes that were written on a stream, and its number.
fn written(lone: &mut Lone) -> Vec<(StreamId, Option<Encoding>)> {
    let mut all = Vec::new();
    lone.out.retain(|output| match output {
        Output::Stream { id, action: StreamAction::Write(bytes), .. } => {
            all.push((*id, stream_encoding(bytes, id.is_ours())));
            false
        }
        _ => true,
    });
    all
}

/// Streams that were opened since the last call.
fn connects(lone: &mut Lone) -> Vec<(StreamId, SocketAddr)> {
    let mut all = Vec::new();
    lone.out.retain(|output| match output {
        Output::Stream { id, action: StreamAction::Connect(to), .. } => {
            all.push((*id, *to));
            false
        }
        _ => true,
    });
    all
}

#[test]
fn joins_and_stream_pings_open_in_memberlists_encoding_whatever_is_spoken() {
    let mut lone = auto(|_| ());
    lone.hear(1, &[Message::Alive(alive(1, 1))]);
    lone.command(Command::Join { targets: vec!["10.0.0.9".into()], replay: false });
    let [(id, to)] = connects(&mut lone)[..] else { panic!("one join") };
    assert_eq!(to, addr(9));
    lone.give(Stimulus::Stream { id, event: StreamEvent::Connected });
    assert_eq!(written(&mut lone), [(id, Some(Encoding::Memberlist))]);
    // Nobody answers the probe.
    let mut opened = Vec::new();
    while opened.is_empty() && lone.now < Time::ZERO + 3 * SECOND {
        lone.wait(Duration::from_millis(50));
        opened = connects(&mut lone);
    }
    let [(id, to)] = opened[..] else { panic!("a stream ping") };
    assert_eq!(to, addr(1));
    lone.give(Stimulus::Stream { id, event: StreamEvent::Connected });
    assert_eq!(written(&mut lone), [(id, Some(Encoding::Memberlist))]);
}

#[test]
fn a_native_exchange_that_fails_is_repeated_once_in_memberlists_encoding() {
    for event in [StreamEvent::Closed, StreamEvent::Failed(StreamError::Reset)] {
        let mut lone = auto(|config| config.swim.probe_interval = 6_000 * SECOND);
        lone.hear(1, &[Message::Alive(alive(1, 1))]);
        let mut opened = Vec::new();
        for _ in 0..70 {
            lone.wait(SECOND);
            opened.extend(connects(&mut lone));
            if !opened.is_empty() {
                break;
            }
        }
        let (first, to) = opened.remove(0);
        assert_eq!(to, addr(1));
        lone.give(Stimulus::Stream { id: first, event: StreamEvent::Connected });
        assert_eq!(written(&mut lone), [(first, Some(Encoding::Native))]);
        lone.out.clear();
        lone.give(Stimulus::Stream { id: first, event });
        let [(second, to)] = connects(&mut lone)[..] else { panic!("it is repeated") };
        assert_eq!(to, addr(1));
        assert!(!lone.logs().iter().any(|log| matches!(log, Log::PushPullFailed(..))), "nothing has failed yet");
        lone.give(Stimulus::Stream { id: second, event: StreamEvent::Connected });
        assert_eq!(written(&mut lone), [(second, Some(Encoding::Memberlist))]);
        lone.give(Stimulus::Stream { id: second, event });
        assert!(connects(&mut lone).is_empty(), "once");
        assert!(lone.logs().iter().any(|log| matches!(log, Log::PushPullFailed(..))));
    }
}

#[test]
fn a_stream_is_answered_in_the_encoding_of_its_question() {
    for encoding in [Encoding::Native, Encoding::Memberlist] {
        let mut lone = auto(|_| ());
        let id = StreamId(1);
        lone.give(Stimulus::Stream { id, event: StreamEvent::Accepted { from: addr(9) } });
        let Message::Ping(ping) = ping(5) else { unreachable!("a ping") };
        let question = crate::wire::seal_stream(encoding, &StreamMessage::Ping(ping), ENVELOPE, [0; 12], true, true);
        lone.give(Stimulus::Stream { id, event: StreamEvent::Bytes(&question) });
        assert_eq!(written(&mut lone), [(id, Some(encoding))]);
    }
}

#[test]
fn who_speaks_memberlist_alone_understands_nothing_else_and_says_so() {
    let mut lone = Lone::new(|config| config.wire = Wire::Memberlist);
    lone.hear(1, &[Message::Alive(alive(1, 1))]);
    assert_eq!((lone.node.members().len(), lone.node.stats().rejected), (1, 1));
    let why = WireError::NotSpoken(Encoding::Native);
    assert!(lone.logs().contains(&Log::Rejected(addr(1), why.clone())));
    assert_eq!(alloc::format!("{why}"), "the peer speaks native, this agent only memberlist (-wire=memberlist)");
    hear_memberlist(&mut lone, 1, &[Message::Alive(alive(1, 1))]);
    lone.wait(2 * SECOND);
    assert_eq!(encodings(&mut lone), [Encoding::Memberlist], "although the other shows the sign");
    assert!(!tags::shows_native(&Meta::new(own_meta(&lone))), "and shows none itself");
}

#[test]
fn who_speaks_native_alone_takes_no_stranger_in() {
    let mut lone = Lone::new(|_| ());
    hear_memberlist(&mut lone, 1, &[Message::Alive(alive(1, 1)), Message::Alive(stranger(2, 1))]);
    assert!(lone.belief(1).is_some() && lone.belief(2).is_none());
    assert!(lone.logs().contains(&Log::NotNative(name(2))));
    lone.wait(2 * SECOND);
    assert_eq!(encodings(&mut lone), [Encoding::Native]);
}

/// The metadata of the node itself.
fn own_meta(lone: &Lone) -> Vec<u8> {
    let own = lone.node.config();
    tags::encode_for(&lone.node.tags(), own).expect("short tags").as_bytes().to_vec()
}

#[test]
fn the_sign_is_left_out_where_there_is_no_room_or_no_tags() {
    let with = |bytes: usize| Tags::from([(b"k".to_vec(), vec![b'x'; bytes])]);
    let config = config(0, Profile::Lan);
    // Magic, map header, key with its header, value header of three bytes: 7 bytes and the value.
    for (bytes, total, shown) in [(502, 512, true), (503, 510, false), (505, 512, false)] {
        let meta = tags::encode_for(&with(bytes), &config).expect("short enough");
        assert_eq!((meta.as_bytes().len(), tags::shows_native(&meta)), (total, shown), "{bytes}");
        assert_eq!(tags::decode(&meta), with(bytes));
    }
    assert!(tags::encode_for(&with(506), &config).is_err());
    let old = Config { versions: Versions([1, 5, 2, 2, 5, 2]), ..config };
    let meta = tags::encode_for(&Tags::from([(b"role".to_vec(), b"web".to_vec())]), &old).expect("short");
    assert_eq!(meta.as_bytes(), b"web");
    // A sign of another version is none that we understand.
    let mut later = signed(&Tags::new()).as_bytes().to_vec();
    *later.last_mut().expect("the version") += 1;
    assert!(!tags::shows_native(&Meta::new(later)));
}

#[test]
fn a_checksum_stands_before_gossip_to_members_that_know_it_and_before_no_ping() {
    for (max, with_crc) in [(5, true), (4, false)] {
        let mut lone = auto(|_| ());
        let versions = Versions([1, max, 2, 2, 5, 5]);
        hear_memberlist(&mut lone, 1, &[Message::Alive(Alive { versions, ..stranger(1, 1) })]);
        lone.wait(Duration::from_millis(900));
        let is_crc = |sent: &&Sent| sent.bytes.first() == Some(&12);
        let (pings, gossip): (Vec<Sent>, Vec<Sent>) =
            sent(&mut lone).into_iter().partition(|sent| matches!(sent.messages.first(), Some(Message::Ping(_))));
        assert!(!pings.is_empty() && !gossip.is_empty());
        assert_eq!(pings.iter().filter(is_crc).count(), 0);
        assert_eq!(gossip.iter().filter(is_crc).count(), if with_crc { gossip.len() } else { 0 }, "maximum {max}");
        // The ping that tells its target of a suspicion has one.
        hear_memberlist(&mut lone, 1, &[Message::Suspect(accused(1, 1, 2))]);
        lone.wait(2 * SECOND);
        let suspected: Vec<Sent> = sent(&mut lone)
            .into_iter()
            .filter(|sent| matches!(sent.messages[..], [Message::Ping(_), Message::Suspect(_)]))
            .collect();
        assert!(!suspected.is_empty() && suspected.iter().all(|sent| is_crc(&sent) == with_crc));
    }
}

#[test]
fn what_is_accepted_does_not_depend_on_what_is_spoken() {
    for wire in [Wire::Native, Wire::Memberlist] {
        let mut lone = Lone::new(|config| config.wire = wire);
        // Two bytes of name and 480 of payload are 512 in memberlist's encoding (gossip-wire.md 6.8).
        for (payload, answer) in [
            (480, Reply::EventSent),
            (481, Reply::Failed(CommandError::EncodedEventTooLong { limit: limits::USER_EVENT_BYTES_MAX.min(512) })),
        ] {
            let event = Command::UserEvent { name: (*b"ab").into(), payload: vec![0; payload].into(), coalesce: false };
            lone.command(event);
            assert_eq!(lone.replies(), [answer], "{wire}: {payload}");
        }
    }
}

#[test]
fn a_packet_of_another_label_names_both() {
    let mut lone = auto(|config| config.label = b"blue"[..].into());
    let bytes = packet(&[ping(1)]);
    lone.give(Stimulus::Datagram { from: addr(1), bytes: &bytes });
    let [Log::Rejected(_, error)] = &lone.logs()[..] else { panic!("{:?}", lone.logs()) };
    assert_eq!(alloc::format!("{error}"), "label mismatch: theirs is '', ours is 'blue'");
    assert_eq!(lone.belief(0).map(|(state, _)| state), Some(SwimState::Alive));
}
