//! Digests: who agrees exchanges nothing, and whatever a push/pull would tell makes a difference (protocol.md 1.10).

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use crate::command::Command;
use crate::io::{Activity, Output, Stimulus, StreamAction, StreamEvent, StreamId};
use crate::keyring::Keyring;
use crate::lamport::LamportTime;
use crate::limits;
use crate::log::Log;
use crate::tests::harness::{Cluster, Lone, accused, addr, alive, name, signed};
use crate::types::Tags;
use crate::wire::{
    Alive, Clocks, Digest, Envelope, Intent, Message, NodeState, PushPull, SerfMessage, SerfState, StreamMessage,
    SwimState, UserEvent, native,
};

const SECOND: Duration = Duration::from_secs(1);

fn envelope(keyring: &Keyring) -> Envelope<'_> {
    Envelope { keyring, label: &[] }
}

fn frame(message: &StreamMessage, dialler: bool) -> Box<[u8]> {
    native::seal_stream(message, envelope(&Keyring::default()), [0; 12], dialler)
}

/// What was written to the stream since the last look, and how the node has closed it.
fn said(lone: &mut Lone, id: StreamId) -> (Vec<StreamMessage>, Option<StreamAction>) {
    let (mut messages, mut end) = (Vec::new(), None);
    for output in lone.out.extract_if(.., |output| matches!(output, Output::Stream { id: other, .. } if *other == id)) {
        let Output::Stream { action, .. } = output else { unreachable!("only streams were taken") };
        match action {
            StreamAction::Write(mut bytes) => {
                let opened = native::open_stream(&mut bytes, envelope(&Keyring::default()), id.is_ours());
                messages.push(opened.expect("a frame of our own").expect("the whole frame"));
            }
            StreamAction::Finish | StreamAction::Abort => end = Some(action),
            StreamAction::Connect(_) => (),
        }
    }
    (messages, end)
}

const NOTHING: Digest = Digest {
    clocks: Clocks { members: LamportTime(0), events: LamportTime(0), queries: LamportTime(0) },
    members: 0,
    events_since: LamportTime(0),
    events: 0,
};

/// Asks on an inbound stream of that number what the node knows; the stream stays open.
fn ask(lone: &mut Lone, id: StreamId, digest: Digest) -> Digest {
    lone.give(Stimulus::Stream { id, event: StreamEvent::Accepted { from: addr(1) } });
    lone.give(Stimulus::Stream { id, event: StreamEvent::Bytes(&frame(&StreamMessage::Digest(digest), true)) });
    match said(lone, id) {
        (messages, None) if messages.len() == 1 => match messages.first() {
            Some(StreamMessage::Digest(digest)) => *digest,
            other => panic!("answered {other:?}"),
        },
        other => panic!("answered {other:?}"),
    }
}

/// What the node knows; a stream of its own, which is closed again.
fn digest(lone: &mut Lone) -> Digest {
    let id = StreamId(99);
    let digest = ask(lone, id, NOTHING);
    lone.give(Stimulus::Stream { id, event: StreamEvent::Closed });
    assert_eq!(said(lone, id), (vec![], Some(StreamAction::Abort)));
    digest
}

/// A node that was told of these members and probes nobody, so that they stay.
fn knowing(members: &[Alive]) -> Lone {
    let mut lone = Lone::new(|config| config.swim.probe_interval = limits::DURATION_MAX);
    for member in members {
        lone.hear(1, &[Message::Alive(member.clone())]);
    }
    lone
}

/// Starts the node's own push/pull and lets it connect; its first words.
fn begin(lone: &mut Lone) -> (StreamId, Vec<StreamMessage>) {
    let mut begun = None;
    for _ in 0..200 {
        lone.wait(SECOND);
        begun = lone.out.iter().find_map(|output| match output {
            Output::Stream { activity: Activity::PushPull, id, action: StreamAction::Connect(_) } => Some(*id),
            _ => None,
        });
        if begun.is_some() {
            break;
        }
        lone.out.clear();
    }
    let id = begun.expect("a push/pull begins");
    lone.give(Stimulus::Stream { id, event: StreamEvent::Connected });
    let (messages, end) = said(lone, id);
    assert_eq!(end, None);
    (id, messages)
}

fn answer(lone: &mut Lone, id: StreamId, message: &StreamMessage) {
    lone.give(Stimulus::Stream { id, event: StreamEvent::Bytes(&frame(message, false)) });
}

#[test]
fn whatever_a_push_pull_would_tell_changes_the_digest() {
    let members = [alive(1, 1), alive(2, 1), alive(3, 1)];
    let intent = |ltime| Intent { ltime: LamportTime(ltime), node: name(2), prune: false };
    let event = UserEvent { ltime: LamportTime(7), name: Box::from(*b"x"), payload: Box::from(*b"y"), coalesce: false };
    let tagged = Alive { meta: signed(&Tags::from([(b"role".to_vec(), b"db".to_vec())])), ..alive(2, 2) };
    let changes = [
        ("an incarnation", Message::Alive(alive(2, 2))),
        ("tags", Message::Alive(tagged)),
        ("a new member", Message::Alive(alive(4, 1))),
        ("a suspicion", Message::Suspect(accused(3, 1, 2))),
        ("a failure", Message::Dead(accused(3, 1, 2))),
        ("a going on purpose", Message::Dead(accused(3, 1, 3))),
        ("the time of a status", Message::Serf(SerfMessage::Join(intent(5)))),
        ("an event", Message::Serf(SerfMessage::Event(event))),
    ]
    .map(|(what, change)| (what, vec![change]));
    // Only who has gone on purpose may come back from elsewhere.
    let moved = Message::Alive(Alive { addr: alive(9, 1).addr, ..alive(2, 2) });
    let moves = ("an address", vec![Message::Dead(accused(2, 1, 2)), moved]);
    let before = digest(&mut knowing(&members));
    let mut seen = vec![(before.members, before.events)];
    for (what, change) in changes.into_iter().chain([moves]) {
        let mut lone = knowing(&members);
        assert_eq!(digest(&mut lone), before, "before {what}");
        lone.hear(1, &change);
        let after = digest(&mut lone);
        assert!(!seen.contains(&(after.members, after.events)), "{what} makes no difference");
        seen.push((after.members, after.events));
    }
}

#[test]
fn the_order_in_which_members_and_events_came_makes_no_difference() {
    let event = |payload: &[u8]| {
        let (name, payload) = (Box::from(*b"x"), payload.into());
        Message::Serf(SerfMessage::Event(UserEvent { ltime: LamportTime(7), name, payload, coalesce: false }))
    };
    let mut one = knowing(&[alive(1, 1), alive(2, 1), alive(3, 4)]);
    one.hear(1, &[event(b"a"), event(b"b")]);
    let mut other = knowing(&[alive(3, 4), alive(1, 1), alive(2, 1)]);
    other.hear(1, &[event(b"b"), event(b"a")]);
    assert_eq!(digest(&mut one), digest(&mut other));
}

#[test]
fn who_is_forgotten_by_both_layers_makes_no_difference() {
    let change = |config: &mut crate::config::Config| config.serf.tombstone_timeout = 10 * SECOND;
    let mut lone = Lone::new(change);
    lone.hear(1, &[Message::Alive(alive(1, 1))]);
    let alone = Lone::new(change).node.members().len();
    lone.hear(1, &[Message::Dead(accused(1, 1, 1))]);
    lone.wait(400 * SECOND);
    assert_eq!((lone.node.members().len(), lone.node.entries()), (alone, 2), "only the entry is left");
    assert_eq!(digest(&mut lone).members, digest(&mut Lone::new(change)).members);
}

#[test]
fn who_agrees_ends_the_exchange_with_the_digest_and_takes_the_clocks() {
    let mut lone = knowing(&[alive(1, 1)]);
    let (id, words) = begin(&mut lone);
    let [StreamMessage::Digest(ours)] = words[..] else { panic!("began with {words:?}") };
    let clocks = Clocks { members: LamportTime(40), events: LamportTime(50), queries: LamportTime(60) };
    answer(&mut lone, id, &StreamMessage::Digest(Digest { clocks, ..ours }));
    assert_eq!(said(&mut lone, id), (vec![], Some(StreamAction::Finish)));
    let stats = lone.node.stats();
    assert_eq!((stats.member_time.0, stats.event_time.0, stats.query_time.0), (40, 50, 60));
    assert!(lone.node.timer(crate::timers::TimerKind::PushPull).is_some(), "the next one is due");
}

#[test]
fn who_disagrees_is_told_all_and_answers_with_all() {
    for change in [
        |digest: Digest| Digest { members: !digest.members, ..digest },
        |digest: Digest| Digest { events: !digest.events, ..digest },
    ] {
        let mut lone = knowing(&[alive(1, 1)]);
        let (id, words) = begin(&mut lone);
        let [StreamMessage::Digest(ours)] = words[..] else { panic!("began with {words:?}") };
        answer(&mut lone, id, &StreamMessage::Digest(change(ours)));
        let (words, end) = said(&mut lone, id);
        let [StreamMessage::PushPull(state)] = &words[..] else { panic!("went on with {words:?}") };
        assert_eq!((state.nodes.len(), end), (2, None));
        let nodes = [1, 5].map(|number| NodeState { alive: alive(number, 1), state: SwimState::Alive }).into();
        let theirs = PushPull { join: false, nodes, serf: SerfState::default(), unreadable: 0 };
        answer(&mut lone, id, &StreamMessage::PushPull(theirs));
        assert_eq!(said(&mut lone, id), (vec![], Some(StreamAction::Finish)));
        assert_eq!(lone.belief(5), Some((SwimState::Alive, 1)));
    }
}

#[test]
fn who_was_asked_for_its_digest_takes_a_state_on_the_same_stream_and_answers_it() {
    let (mut lone, id) = (knowing(&[alive(1, 1)]), StreamId(7));
    ask(&mut lone, id, NOTHING);
    let nodes = [1, 5].map(|number| NodeState { alive: alive(number, 1), state: SwimState::Alive }).into();
    let theirs = PushPull { join: false, nodes, serf: SerfState::default(), unreadable: 0 };
    lone.give(Stimulus::Stream { id, event: StreamEvent::Bytes(&frame(&StreamMessage::PushPull(theirs), true)) });
    let (words, end) = said(&mut lone, id);
    let [StreamMessage::PushPull(state)] = &words[..] else { panic!("answered {words:?}") };
    assert_eq!((state.nodes.len(), end), (3, Some(StreamAction::Finish)));
}

#[test]
fn there_is_one_digest_of_each_side() {
    let (mut lone, id) = (knowing(&[alive(1, 1)]), StreamId(7));
    ask(&mut lone, id, NOTHING);
    let again = frame(&StreamMessage::Digest(NOTHING), true);
    lone.give(Stimulus::Stream { id, event: StreamEvent::Bytes(&again) });
    let (words, end) = said(&mut lone, id);
    assert!(matches!(&words[..], [StreamMessage::Error(_)]), "{words:?}");
    assert_eq!(end, Some(StreamAction::Finish));
    let (id, words) = begin(&mut lone);
    let [StreamMessage::Digest(ours)] = words[..] else { panic!("began with {words:?}") };
    let unlike = StreamMessage::Digest(Digest { members: !ours.members, ..ours });
    answer(&mut lone, id, &unlike);
    said(&mut lone, id);
    answer(&mut lone, id, &unlike);
    assert_eq!(said(&mut lone, id), (vec![], Some(StreamAction::Abort)));
}

#[test]
fn a_join_is_told_all_at_once_and_takes_no_digest() {
    let mut lone = knowing(&[]);
    lone.command(Command::Join { targets: vec!["10.0.0.1".into()], replay: false });
    let id = StreamId(2);
    lone.give(Stimulus::Stream { id, event: StreamEvent::Connected });
    assert!(matches!(&said(&mut lone, id).0[..], [StreamMessage::PushPull(_)]));
    answer(&mut lone, id, &StreamMessage::Digest(NOTHING));
    assert_eq!(said(&mut lone, id), (vec![], Some(StreamAction::Abort)));
}

#[test]
fn of_events_only_those_count_that_both_sides_want() {
    let event = |ltime| {
        let (name, payload) = (Box::from(*b"x"), [].into());
        Message::Serf(SerfMessage::Event(UserEvent { ltime: LamportTime(ltime), name, payload, coalesce: false }))
    };
    let (mut old, mut new) = (knowing(&[alive(1, 1)]), knowing(&[alive(1, 1)]));
    old.hear(1, &[event(3), event(8)]);
    new.hear(1, &[event(8)]);
    assert_ne!(digest(&mut old).events, digest(&mut new).events);
    let since = Digest { events_since: LamportTime(4), ..NOTHING };
    let [old, new] = [&mut old, &mut new].map(|lone| ask(lone, StreamId(7), since));
    assert_eq!(old, new);
    assert_eq!(old.events_since, LamportTime(4));
}

#[test]
fn members_that_agree_exchange_digests_and_who_joins_without_the_past_agrees_too() {
    let mut cluster = Cluster::joined(4, |_| ());
    let event = Command::UserEvent { name: Box::from(*b"past"), payload: [].into(), coalesce: false };
    cluster.command(0, event);
    cluster.run(5 * SECOND);
    cluster.nodes.push(None);
    cluster.start(4, 1);
    cluster.join(4, 0);
    cluster.run(120 * SECOND);
    let (begun, before) = (exchanges(&cluster), cluster.states);
    cluster.run(600 * SECOND);
    assert!(exchanges(&cluster) >= begun + 5 * 5, "push/pulls go on");
    assert_eq!(cluster.states, before, "nobody has anything to tell");
}

fn exchanges(cluster: &Cluster) -> usize {
    cluster.lines.iter().filter(|(_, log)| matches!(log, Log::PushPullStart(..))).count()
}

/// When the next push/pull of the node is due, in seconds from now.
fn due(lone: &Lone) -> f64 {
    let at = lone.node.timer(crate::timers::TimerKind::PushPull).expect("is due");
    at.since(lone.now).as_secs_f64()
}

#[test]
fn who_has_found_others_compares_after_seconds_and_then_at_its_own_time_in_the_interval() {
    let mut lone = knowing(&[alive(1, 1)]);
    assert!((3.0..=6.0).contains(&due(&lone)), "{}", due(&lone));
    let (id, words) = begin(&mut lone);
    let [StreamMessage::Digest(ours)] = words[..] else { panic!("began with {words:?}") };
    answer(&mut lone, id, &StreamMessage::Digest(ours));
    assert!((30.0..=60.0).contains(&due(&lone)), "{}", due(&lone));
    lone.hear(1, &[Message::Alive(alive(2, 1))]);
    let (id, _) = begin(&mut lone);
    lone.give(Stimulus::Stream { id, event: StreamEvent::Closed });
    assert!(due(&lone) <= 30.0, "{}", due(&lone));
}

#[test]
fn where_everything_would_have_to_be_told_the_first_push_pull_waits_for_its_time() {
    let mut lone = Lone::new(|config| config.wire = crate::config::Wire::Memberlist);
    let state = PushPull {
        join: true,
        nodes: [NodeState { alive: alive(1, 1), state: SwimState::Alive }].into(),
        serf: SerfState::default(),
        unreadable: 0,
    };
    let (id, plain) = (StreamId(7), Keyring::default());
    let bytes =
        crate::wire::memberlist::seal_stream(&StreamMessage::PushPull(state), envelope(&plain), [0; 12], true, false);
    lone.give(Stimulus::Stream { id, event: StreamEvent::Accepted { from: addr(1) } });
    lone.give(Stimulus::Stream { id, event: StreamEvent::Bytes(&bytes) });
    assert!((30.0..=60.0).contains(&due(&lone)), "{}", due(&lone));
}
