//! What a node remembers of an earlier life, and how it comes back (protocol.md 2.13; user-asks 1, 3, 22).

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use crate::Config;
use crate::command::{Command, Reply};
use crate::config::{RetryJoin, SnapshotConfig};
use crate::io::{
    Output, Persist, PersistError, PersistId, ResolveError, ResolveId, Saved, Stimulus, StreamAction, StreamError,
    StreamEvent, StreamId,
};
use crate::lamport::LamportTime;
use crate::log::Log;
use crate::tests::harness::{Cluster, Lone, accused, addr, alive, name};
use crate::types::JoinTarget;
use crate::wire::{Message, SerfMessage, UserEvent};

const SECOND: Duration = Duration::from_secs(1);

fn with_snapshot(config: &mut Config) {
    config.serf.snapshot = Some(SnapshotConfig { rejoin_after_leave: false });
}

/// A node with that file, and what came out of its start.
fn started(file: &str, rejoin: bool) -> Lone {
    let mut config = crate::tests::harness::config(0, crate::config::Profile::Lan);
    config.serf.snapshot = Some(SnapshotConfig { rejoin_after_leave: rejoin });
    let saved = Saved { snapshot: Some(file.as_bytes().into()), ..Saved::default() };
    let now = crate::time::Time::from_millis(1);
    let node = crate::node::Node::new(config, crate::rng::Seed::simulated(1), now, saved).expect("valid");
    let mut lone = Lone { node, now, out: Vec::new() };
    lone.give(Stimulus::Tick);
    lone
}

/// The file as the records make it.
fn file(lone: &mut Lone, file: &mut String) {
    for (id, record) in lone.persists() {
        let Persist::Snapshot { lines, replace, .. } = record else { panic!("{record:?}") };
        if replace {
            file.clear();
        }
        file.push_str(core::str::from_utf8(&lines).expect("text"));
        lone.give(Stimulus::Persisted { id, result: Ok(()) });
    }
}

fn dials(lone: &mut Lone) -> Vec<(StreamId, SocketAddr)> {
    let dials =
        lone.out.extract_if(.., |output| matches!(output, Output::Stream { action: StreamAction::Connect(_), .. }));
    dials
        .map(|output| match output {
            Output::Stream { id, action: StreamAction::Connect(to), .. } => (id, to),
            _ => unreachable!("only dials were taken"),
        })
        .collect()
}

fn event(ltime: u64) -> Message {
    let (name, payload) = (Box::from(*b"e"), ltime.to_be_bytes().into());
    Message::Serf(SerfMessage::Event(UserEvent { ltime: LamportTime(ltime), name, payload, coalesce: false }))
}

#[test]
fn members_events_and_clocks_are_recorded_as_they_come() {
    let mut lone = Lone::new(with_snapshot);
    let mut text = String::new();
    lone.hear(1, &[Message::Alive(alive(1, 1)), event(7)]);
    file(&mut lone, &mut text);
    assert_eq!(text, "alive: n1 10.0.0.1:7946\nevent-clock: 7\n", "at once: a kill loses nothing");
    lone.hear(1, &[Message::Dead(accused(1, 1, 2))]);
    file(&mut lone, &mut text);
    assert!(text.ends_with("not-alive: n1\n# failed: n1 10.0.0.1:7946\n"), "{text}");
}

#[test]
fn a_clock_that_has_moved_is_recorded_within_half_a_second() {
    let mut lone = Lone::new(with_snapshot);
    let mut text = String::new();
    let intent = crate::wire::Intent { ltime: LamportTime(41), node: name(5), prune: false };
    lone.hear(1, &[Message::Serf(SerfMessage::Join(intent))]);
    lone.wait(Duration::from_millis(501));
    file(&mut lone, &mut text);
    assert_eq!(text, "clock: 41\n");
}

#[test]
fn the_clocks_of_an_earlier_life_hold_before_anything_comes_in() {
    let mut lone = started("clock: 30\nevent-clock: 20\nquery-clock: 10\n# incarnation: 8\n", false);
    let stats = lone.node.stats();
    assert_eq!([stats.member_time.0, stats.event_time.0, stats.query_time.0], [31, 21, 11]);
    assert_eq!(lone.node.member(&name(0)).map(|own| own.incarnation.0), Some(9), "above what was used");
    lone.events();
    lone.hear(1, &[event(20), event(21)]);
    assert_eq!(lone.events().len(), 1, "what was seen in the earlier life is not delivered again");
}

#[test]
fn peers_are_contacted_one_by_one_until_one_answers_then_again_with_growing_gaps() {
    let text =
        "alive: n0 10.0.0.0:7946\nalive: n1 10.0.0.1:7946\nalive: n2 10.0.0.2:7946\n# failed: n3 10.0.0.3:7946\n";
    let mut lone = started(text, false);
    let mut rounds = Vec::new();
    for _ in 0..3 {
        let mut round = Vec::new();
        while let [(id, to)] = dials(&mut lone).as_slice() {
            round.push(*to);
            lone.give(Stimulus::Stream { id: *id, event: StreamEvent::Failed(StreamError::Refused) });
        }
        assert_eq!(round.last(), Some(&addr(3)), "who had failed comes last");
        round.sort();
        assert_eq!(round, [addr(1), addr(2), addr(3)], "never ourselves");
        let begun = lone.now;
        lone.wait(lone.node.next_deadline().expect("another round").at.since(lone.now));
        rounds.push(lone.now.since(begun));
    }
    assert!(rounds[0] >= 30 * SECOND && rounds[0] <= 45 * SECOND, "{rounds:?}");
    assert!(rounds[1] >= 60 * SECOND && rounds[2] >= 120 * SECOND, "{rounds:?}");
}

#[test]
fn a_leave_forgets_the_peers_unless_we_rejoin() {
    let text = "alive: n1 10.0.0.1:7946\nclock: 5\nleave\n";
    let mut lone = started(text, false);
    assert!(dials(&mut lone).is_empty());
    assert_eq!(lone.node.stats().member_time, LamportTime(1));
    let mut lone = started(text, true);
    assert_eq!(dials(&mut lone).len(), 1);
    assert!(lone.logs().iter().any(|log| format!("{log}").starts_with("serf: Ignoring previous leave in snapshot")));
}

#[test]
fn what_is_wrong_with_the_file_is_said_and_a_torn_line_makes_a_new_file() {
    let mut lone = started("alive: n1 10.0.0.1:7946\nnonsense\nclock: 9\nevent-clo", false);
    let logs: Vec<String> = lone.logs().iter().map(|log| format!("{log}")).collect();
    assert!(logs.iter().any(|log| log.starts_with("serf: Unrecognized snapshot line: nonsense")), "{logs:?}");
    let persists = lone.persists();
    let (_, Persist::Snapshot { lines, replace: true, .. }) = &persists[0] else { panic!("{persists:?}") };
    let text = core::str::from_utf8(lines).expect("text");
    assert!(text.contains("alive: n1 10.0.0.1:7946\n") && text.contains("\nclock: 9\n"), "nothing is lost: {text}");
}

#[test]
fn a_leave_is_over_when_its_record_is_durable() {
    let mut lone = Lone::new(with_snapshot);
    lone.persists();
    lone.command(Command::Leave);
    let persists = lone.persists();
    let (id, Persist::Snapshot { lines, .. }) = &persists[0] else { panic!("{persists:?}") };
    assert_eq!(**lines, *b"leave\n");
    lone.wait(20 * SECOND);
    assert!(lone.replies().is_empty());
    lone.give(Stimulus::Persisted { id: *id, result: Ok(()) });
    assert_eq!(lone.replies(), [Reply::Left]);
    let after: Vec<_> = lone.persists();
    let members = |record: &Persist| matches!(record, Persist::Snapshot { lines, .. } if lines.starts_with(b"alive") || lines.starts_with(b"not"));
    assert!(!after.iter().any(|(_, record)| members(record)), "{after:?}");
}

fn full() -> Result<(), PersistError> {
    Err(PersistError("no space left on device".into()))
}

/// What is to be written next, and whether that is the whole file.
fn asked(lone: &mut Lone) -> (PersistId, String, bool) {
    let (id, record) = lone.persists().remove(0);
    let Persist::Snapshot { lines, replace } = record else { panic!("{record:?}") };
    (id, String::from_utf8(lines.into()).expect("text"), replace)
}

fn failures_said(logs: &[Log]) -> usize {
    logs.iter().filter(|log| matches!(log, Log::SnapshotNotWritten(_))).count()
}

#[test]
fn a_file_that_cannot_be_written_is_said_once_and_written_anew() {
    let mut lone = Lone::new(with_snapshot);
    lone.persists();
    lone.hear(1, &[Message::Alive(alive(1, 1))]);
    let (id, ..) = asked(&mut lone);
    lone.give(Stimulus::Persisted { id, result: full() });
    let (id, text, replace) = asked(&mut lone);
    assert!(replace && text.contains("n1 10.0.0.1:7946\n"), "at once (protocol.md 2.13): {text}");
    lone.give(Stimulus::Persisted { id, result: full() });
    lone.hear(1, &[Message::Alive(alive(2, 1))]);
    assert!(lone.persists().is_empty(), "the new file will say it");
    lone.wait(30 * SECOND);
    let (id, text, replace) = asked(&mut lone);
    assert!(replace && text.contains("n2 10.0.0.2:7946\n"), "{text}");
    lone.give(Stimulus::Persisted { id, result: Ok(()) });
    let said = lone.logs();
    assert_eq!((failures_said(&said), said.contains(&Log::SnapshotWritten)), (1, true), "{said:?}");
}

#[test]
fn what_happens_while_the_file_is_written_anew_is_not_lost() {
    for fails_again in [false, true] {
        let mut lone = Lone::new(with_snapshot);
        lone.persists();
        lone.hear(1, &[Message::Alive(alive(1, 1))]);
        let (id, ..) = asked(&mut lone);
        lone.give(Stimulus::Persisted { id, result: full() });
        let (anew, mut text, _) = asked(&mut lone);
        // The disk is slow: the file that is on its way does not have this member.
        lone.hear(1, &[Message::Alive(alive(2, 1))]);
        let (behind, more, replace) = asked(&mut lone);
        assert!(!replace && !text.contains("n2 ") && more.contains("alive: n2 10.0.0.2:7946\n"), "{text}{more}");
        let result = if fails_again { full() } else { Ok(()) };
        lone.give(Stimulus::Persisted { id: anew, result: result.clone() });
        lone.give(Stimulus::Persisted { id: behind, result });
        text.push_str(&more);
        if fails_again {
            lone.wait(30 * SECOND);
            let (id, anew, _) = asked(&mut lone);
            lone.give(Stimulus::Persisted { id, result: Ok(()) });
            text = anew;
        }
        assert!(text.contains("n1 10.0.0.1:7946\n") && text.contains("n2 10.0.0.2:7946\n"), "{text}");
        let said = lone.logs();
        assert_eq!((failures_said(&said), said.contains(&Log::SnapshotWritten)), (1, true), "{said:?}");
    }
}

#[test]
fn a_disk_that_fails_now_and_then_is_not_written_to_all_the_time() {
    let mut lone = Lone::new(with_snapshot);
    lone.persists();
    let (begun, mut anew) = (lone.now, 0);
    for ltime in 1..600 {
        lone.hear_unchecked(1, &event(ltime));
        for (id, record) in lone.persists() {
            let Persist::Snapshot { replace, .. } = record else { panic!("{record:?}") };
            anew += u32::from(replace);
            lone.give(Stimulus::Persisted { id, result: if replace { Ok(()) } else { full() } });
        }
        lone.wait(SECOND);
        lone.out.retain(|output| matches!(output, Output::Persist { .. }));
    }
    let most = lone.now.since(begun).as_secs() / 30 + 2;
    assert!(anew > 5 && u64::from(anew) <= most, "written anew {anew} times in {:?}", lone.now.since(begun));
}

#[test]
fn a_leave_whose_record_failed_waits_for_the_file_that_is_written_anew() {
    let mut lone = Lone::new(with_snapshot);
    lone.persists();
    lone.command(Command::Leave);
    let (id, ..) = asked(&mut lone);
    lone.give(Stimulus::Persisted { id, result: full() });
    let (id, text, replace) = asked(&mut lone);
    assert!(replace && text.starts_with("leave\n"), "{text}");
    lone.wait(20 * SECOND);
    assert!(lone.replies().is_empty());
    // A disk that stays full keeps nobody from leaving.
    lone.give(Stimulus::Persisted { id, result: full() });
    assert_eq!(lone.replies(), [Reply::Left]);
}

#[test]
fn a_file_that_has_grown_gives_way_to_one_with_the_same_sense() {
    let mut lone = Lone::new(with_snapshot);
    lone.hear(1, &[Message::Alive(alive(1, 1))]);
    let mut text = String::new();
    let mut replaced = false;
    for ltime in 1..9_000 {
        lone.hear_unchecked(1, &event(ltime));
        let before = text.len();
        file(&mut lone, &mut text);
        replaced |= text.len() < before;
        lone.out.clear();
    }
    assert!(replaced && text.len() <= (128 << 10) + 64, "{} bytes", text.len());
    assert!(text.contains("alive: n1 10.0.0.1:7946\n") && text.contains("event-clock: 8999\n"));
}

fn with_seed(config: &mut Config) {
    // Nobody reconnects, and failed members are soon forgotten: only the seeds lead back.
    config.serf.reconnect_interval = Duration::ZERO;
    config.serf.reconnect_timeout = 20 * SECOND;
    let targets = vec![JoinTarget::from(format!("{}", addr(0)).as_str())];
    config.serf.retry_join = Some(RetryJoin { targets, interval: 5 * SECOND, max: 1, replay: false });
}

#[test]
fn seeds_are_tried_for_life_while_none_of_them_is_alive() {
    let mut cluster = Cluster::new(3, with_seed);
    cluster.run(10 * SECOND);
    assert_eq!(cluster.statuses(0).len(), 3);
    cluster.cut(&[0], &[1, 2]);
    cluster.run(300 * SECOND);
    assert_eq!(cluster.status(1, 0), None, "both sides have forgotten each other");
    cluster.heal();
    cluster.run(30 * SECOND);
    for (at, of) in [(0, 1), (0, 2), (1, 0), (2, 0)] {
        assert_eq!(cluster.status(at, of), Some(crate::event::Status::Alive), "{of} at {at}");
    }
    let gave_up = |number| cluster.events(number).iter().any(|line| line.starts_with("shutdown"));
    assert!(!gave_up(1) && !gave_up(2), "retry-max counts until the first success only");
}

#[test]
fn while_a_seed_is_alive_nobody_is_called() {
    let mut cluster = Cluster::new(3, with_seed);
    cluster.run(20 * SECOND);
    for number in 1..3 {
        assert_eq!(cluster.node(number).timer(crate::timers::TimerKind::RetryJoin), None);
    }
}

#[test]
fn what_the_name_server_said_last_is_tried_while_it_says_nothing() {
    let mut lone = Lone::new(|config| {
        let targets = vec![JoinTarget::from("seed.example")];
        config.serf.retry_join = Some(RetryJoin { targets, interval: 5 * SECOND, max: 0, replay: false });
    });
    let connects = |lone: &mut Lone| {
        let dialled = lone.out.drain(..).filter_map(|output| match output {
            Output::Stream { action: StreamAction::Connect(to), id, .. } => Some((id, to)),
            _ => None,
        });
        dialled.collect::<Vec<_>>()
    };
    lone.give(Stimulus::Resolved { id: ResolveId(1), result: Ok([addr(5), addr(6)].into()) });
    for number in [5, 6] {
        let dialled = connects(&mut lone);
        let [(id, to)] = dialled[..] else { panic!("{dialled:?}") };
        assert_eq!(to, addr(number));
        lone.give(Stimulus::Stream { id, event: StreamEvent::Failed(StreamError::Refused) });
    }
    lone.wait(6 * SECOND);
    lone.give(Stimulus::Resolved { id: ResolveId(2), result: Err(ResolveError("server misbehaving".into())) });
    assert_eq!(connects(&mut lone).iter().map(|(_, to)| *to).collect::<Vec<_>>(), [addr(5)]);
}

/// Lets a node that dials itself talk to itself; false: it does not dial.
fn talks_to_itself(lone: &mut Lone) -> bool {
    let connect = lone.out.drain(..).find_map(|output| match output {
        Output::Stream { action: StreamAction::Connect(to), id, .. } if to == addr(0) => Some(id),
        _ => None,
    });
    let Some(dialled) = connect else { return false };
    let accepted = StreamId(1);
    lone.give(Stimulus::Stream { id: accepted, event: StreamEvent::Accepted { from: addr(0) } });
    lone.give(Stimulus::Stream { id: dialled, event: StreamEvent::Connected });
    for (says, hears) in [(dialled, accepted), (accepted, dialled)] {
        let said = lone.out.drain(..).find_map(|output| match output {
            Output::Stream { action: StreamAction::Write(bytes), id, .. } if id == says => Some(bytes),
            _ => None,
        });
        let said = said.expect("its half of the exchange");
        lone.give(Stimulus::Stream { id: hears, event: StreamEvent::Bytes(&said) });
    }
    true
}

#[test]
fn a_name_that_is_only_ourselves_is_asked_again_while_nobody_else_is_there() {
    let lone = |target: &str| {
        Lone::new(|config| {
            let targets = vec![JoinTarget::from(target)];
            config.serf.retry_join = Some(RetryJoin { targets, interval: 5 * SECOND, max: 0, replay: false });
        })
    };
    let waits = |lone: &Lone| lone.node.timer(crate::timers::TimerKind::RetryJoin).is_some();
    let mut named = lone("seed.example");
    named.give(Stimulus::Resolved { id: ResolveId(1), result: Ok([addr(0)].into()) });
    assert!(talks_to_itself(&mut named) && waits(&named), "the next answer may be another");
    named.hear(1, &[Message::Alive(alive(1, 1))]);
    named.wait(11 * SECOND);
    assert!(!waits(&named), "somebody has come");
    let mut fixed = lone(&format!("{}", addr(0)));
    // The first attempt went unanswered.
    fixed.wait(16 * SECOND);
    assert!(talks_to_itself(&mut fixed) && !waits(&fixed), "an address stays what it is");
}
