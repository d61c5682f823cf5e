//! The Serf layer: intents, statuses, reaping, joins, coalescing (protocol.md 2).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::command::{Command, CommandError, JoinError, Reply};
use crate::config::{Coalesce, RetryJoin};
use crate::event::Status;
use crate::io::{Output, ResolveError, ResolveId, Stimulus, StreamAction, StreamError, StreamEvent, StreamId};
use crate::lamport::LamportTime;
use crate::log::Log;
use crate::tests::harness::{Cluster, Lone, accused, addr, alive, name, signed};
use crate::time::Time;
use crate::types::{Name, SeqNo, Tags};
use crate::wire::{Ack, Alive, Intent, Message, Ping, SerfMessage, SwimState};

const SECOND: Duration = Duration::from_secs(1);

fn leave(node: usize, ltime: u64) -> Message {
    Message::Serf(SerfMessage::Leave(Intent { ltime: LamportTime(ltime), node: name(node), prune: false }))
}

fn join(node: usize, ltime: u64) -> Message {
    Message::Serf(SerfMessage::Join(Intent { ltime: LamportTime(ltime), node: name(node), prune: false }))
}

/// A node that knows n1 alive.
fn with_peer(change: impl FnOnce(&mut crate::Config)) -> Lone {
    let mut lone = Lone::new(change);
    lone.hear(1, &[Message::Alive(alive(1, 1)), Message::Alive(alive(2, 1))]);
    lone.out.clear();
    lone
}

#[test]
fn a_leave_intent_then_death_is_left_without_it_failed() {
    let mut lone = with_peer(|_| ());
    lone.hear(1, &[leave(1, 5)]);
    assert_eq!(lone.status(1), Some(Status::Leaving));
    lone.hear(2, &[Message::Dead(accused(1, 1, 2)), Message::Dead(accused(2, 1, 1))]);
    assert_eq!((lone.status(1), lone.status(2)), (Some(Status::Left), Some(Status::Failed)));
}

#[test]
fn u19_who_says_itself_that_it_is_gone_has_left_even_if_the_intent_was_lost() {
    let mut lone = with_peer(|_| ());
    lone.hear(2, &[Message::Dead(accused(1, 1, 1))]);
    assert_eq!(lone.status(1), Some(Status::Left));
}

#[test]
fn an_old_intent_is_dropped_and_a_new_one_is_passed_on_once() {
    let mut lone = with_peer(|_| ());
    lone.hear(1, &[join(1, 7)]);
    assert!(lone.gossips(&join(1, 7)));
    lone.hear(1, &[leave(1, 7), leave(1, 6)]);
    assert_eq!(lone.status(1), Some(Status::Alive));
    lone.hear(1, &[leave(1, 8)]);
    lone.hear(1, &[join(1, 9)]);
    assert_eq!(lone.status(1), Some(Status::Alive), "a newer join undoes the leave");
}

#[test]
fn an_intent_about_an_unknown_member_waits_for_it() {
    let mut lone = with_peer(|_| ());
    lone.hear(2, &[leave(5, 9), join(5, 8), Message::Alive(alive(5, 1))]);
    assert_eq!(lone.status(5), Some(Status::Leaving));
    let ltime = lone.node.member(&name(5)).map(|view| view.status_ltime);
    assert_eq!(ltime, Some(LamportTime(9)));
}

#[test]
fn a_buffered_intent_is_forgotten_after_its_time() {
    let mut lone = with_peer(|config| config.serf.recent_intent_timeout = 20 * SECOND);
    lone.hear(2, &[leave(5, 9)]);
    lone.wait(40 * SECOND);
    lone.hear(2, &[Message::Alive(alive(5, 1))]);
    assert_eq!(lone.status(5), Some(Status::Alive));
}

#[test]
fn a_leave_about_ourselves_is_answered_with_a_later_join() {
    let mut lone = with_peer(|_| ());
    lone.hear(1, &[leave(0, 40)]);
    assert_eq!(lone.status(0), Some(Status::Alive));
    assert!(lone.gossips(&join(0, 41)));
}

#[test]
fn u23_one_intent_per_name_waits_in_the_queue() {
    let mut lone = with_peer(|_| ());
    for ltime in 5..60 {
        lone.hear(1, &[if ltime % 2 == 0 { leave(1, ltime) } else { join(1, ltime) }]);
    }
    assert_eq!(lone.node.stats().intent_queue, 1);
}

#[test]
fn u20_a_member_that_is_leaving_for_too_long_and_answers_is_alive() {
    let mut cluster = Cluster::joined(3, |_| ());
    // A leave that its subject never hears of, because it comes with a time that the subject is told to be its own.
    cluster.give(0, Stimulus::Datagram { from: addr(1), bytes: &crate::tests::harness::packet(&[leave(2, 50)]) });
    assert_eq!(cluster.status(0, 2), Some(Status::Leaving));
    cluster.run(60 * SECOND);
    assert_eq!(cluster.status(0, 2), Some(Status::Alive));
    assert_eq!(cluster.status(1, 2), Some(Status::Alive));
}

/// Lets time pass in which nodes 1 and 2 answer every ping, until node `number` has the status.
fn until_it_is(lone: &mut Lone, number: usize, status: Status) -> Time {
    for _ in 0..3_000 {
        if lone.node.member(&name(number)).is_some_and(|view| view.info.status == status) {
            return lone.now;
        }
        lone.wait(SECOND / 10);
        for (to, message) in lone.sent() {
            let Message::Ping(Ping { seq, .. }) = message else { continue };
            let from = (1..=2).find(|&number| addr(number) == to).expect("a known address");
            lone.hear(from, &[Message::Ack(Ack { seq, coordinate: None })]);
        }
    }
    panic!("node {number} does not become {status:?}")
}

#[test]
fn u20_of_several_that_are_leaving_and_answer_each_has_its_own_time() {
    let mut lone = with_peer(|_| ());
    lone.hear(1, &[Message::Alive(alive(2, 1)), leave(1, 50)]);
    until_it_is(&mut lone, 1, Status::Leaving);
    lone.wait(SECOND / 2);
    lone.hear(1, &[leave(2, 51)]);
    let [first, second] = [1, 2].map(|number| until_it_is(&mut lone, number, Status::Alive));
    let between = second.since(first);
    assert!(between > SECOND / 4 && between < SECOND, "{between:?}");
}

#[test]
fn a_force_leave_makes_a_failed_member_left_everywhere() {
    let mut cluster = Cluster::joined(4, |_| ());
    cluster.crash(3);
    cluster.run(15 * SECOND);
    let id = cluster.command(0, Command::ForceLeave { node: name(3), prune: false });
    cluster.run(5 * SECOND);
    assert_eq!(cluster.replies.get(&(0, id)), Some(&Reply::ForceLeft));
    for number in 0..3 {
        assert_eq!(cluster.status(number, 3), Some(Status::Left), "at node {number}");
    }
}

#[test]
fn a_force_leave_of_a_live_or_unknown_member_is_no_error() {
    let mut cluster = Cluster::joined(3, |_| ());
    let unknown = cluster.command(0, Command::ForceLeave { node: "nobody".into(), prune: false });
    let live = cluster.command(0, Command::ForceLeave { node: name(2), prune: false });
    cluster.run(10 * SECOND);
    for id in [unknown, live] {
        assert_eq!(cluster.replies.get(&(0, id)), Some(&Reply::ForceLeft));
    }
    assert_eq!(cluster.status(0, 2), Some(Status::Alive), "it refutes");
}

#[test]
fn u22_lamport_times_stand_still_in_an_idle_cluster_with_a_tombstone() {
    let mut cluster = Cluster::joined(3, |_| ());
    cluster.command(2, Command::Leave);
    cluster.run(60 * SECOND);
    let before = cluster.node(0).stats().member_time;
    cluster.run(600 * SECOND);
    assert_eq!(cluster.node(0).stats().member_time, before);
}

#[test]
fn u22_a_leave_that_was_applied_is_no_news_about_who_has_come_back() {
    let mut cluster = Cluster::joined(3, |_| ());
    cluster.command(2, Command::Leave);
    cluster.run(10 * SECOND);
    // n1 hears nothing of the return, and then tells n0 what it believes.
    cluster.cut(&[1], &[0, 2]);
    cluster.command(2, Command::Rejoin);
    cluster.join(2, 0);
    cluster.run(3 * SECOND);
    cluster.heal();
    cluster.join(1, 0);
    cluster.run(60 * SECOND);
    for number in 0..3 {
        assert_eq!(cluster.status(number, 2), Some(Status::Alive), "at node {number}");
    }
}

#[test]
fn who_comes_back_reconnects_to_those_that_failed_meanwhile() {
    let mut cluster = Cluster::joined(3, |_| ());
    cluster.command(0, Command::Leave);
    cluster.run(10 * SECOND);
    cluster.cut(&[0], &[1, 2]);
    cluster.run(40 * SECOND);
    cluster.command(0, Command::Rejoin);
    cluster.run(10 * SECOND);
    cluster.heal();
    cluster.run(120 * SECOND);
    for number in 1..3 {
        assert_eq!(cluster.status(number, 0), Some(Status::Alive), "at node {number}");
    }
}

#[test]
fn failed_and_left_members_are_reaped_after_their_times_and_only_then() {
    let mut lone = with_peer(|config| {
        config.serf.reconnect_timeout = 60 * SECOND;
        config.serf.tombstone_timeout = 120 * SECOND;
        config.serf.reconnect_interval = Duration::ZERO;
    });
    lone.hear(2, &[Message::Dead(accused(1, 1, 2)), Message::Dead(accused(2, 1, 2))]);
    assert_eq!((lone.status(1), lone.status(2)), (Some(Status::Failed), Some(Status::Left)));
    lone.wait(59 * SECOND);
    assert_eq!(lone.status(1), Some(Status::Failed));
    lone.wait(17 * SECOND);
    assert_eq!((lone.status(1), lone.status(2)), (None, Some(Status::Left)));
    assert!(lone.events().contains(&"member-reap n1".into()));
    lone.wait(60 * SECOND);
    assert_eq!(lone.status(2), None);
}

#[test]
fn u36_a_forced_leave_starts_the_tombstones_time_anew() {
    let mut lone = with_peer(|config| {
        config.serf.tombstone_timeout = 60 * SECOND;
        config.serf.reconnect_interval = Duration::ZERO;
    });
    lone.hear(2, &[Message::Dead(accused(1, 1, 2))]);
    lone.wait(100 * SECOND);
    lone.command(Command::ForceLeave { node: name(1), prune: false });
    lone.wait(50 * SECOND);
    assert_eq!(lone.status(1), Some(Status::Left));
    lone.wait(30 * SECOND);
    assert_eq!(lone.status(1), None);
}

#[test]
fn a_tombstone_is_freed_in_time_and_its_place_is_used_again() {
    let mut lone = Lone::new(|config| {
        config.serf.reconnect_timeout = 20 * SECOND;
        config.serf.reconnect_interval = Duration::ZERO;
        config.swim.tombstone = 60 * SECOND;
    });
    for round in 0..20_usize {
        for number in 1..200 {
            let number = round * 200 + number;
            lone.hear(1, &[Message::Alive(alive(number, 1)), Message::Dead(accused(number, 1, 1))]);
        }
        lone.wait(200 * SECOND);
    }
    assert!(lone.node.entries() < 1_000, "{} entries are held", lone.node.entries());
}

#[test]
fn reconnects_go_on_until_the_failed_member_answers() {
    let mut lone = with_peer(|_| ());
    lone.hear(2, &[Message::Dead(accused(1, 1, 2)), Message::Dead(accused(2, 1, 2))]);
    lone.wait(95 * SECOND);
    let dials = lone
        .out
        .iter()
        .filter(|output| matches!(output, Output::Stream { action: StreamAction::Connect(to), .. } if *to == addr(1)));
    assert_eq!(dials.count(), 3, "one failed, one alive: every interval");
}

/// The number of the stream that the node has dialled last, with its address.
fn dialled(lone: &mut Lone) -> Option<(StreamId, core::net::SocketAddr)> {
    let found = lone.out.iter().rev().find_map(|output| match output {
        Output::Stream { id, action: StreamAction::Connect(to), .. } => Some((*id, *to)),
        _ => None,
    });
    lone.out.retain(|output| !matches!(output, Output::Stream { .. }));
    found
}

fn refuse(lone: &mut Lone) -> core::net::SocketAddr {
    let (id, to) = dialled(lone).expect("a dialled address");
    lone.give(Stimulus::Stream { id, event: StreamEvent::Failed(StreamError::Refused) });
    to
}

#[test]
fn a_join_tries_every_target_in_order_and_says_what_went_wrong() {
    let mut lone = Lone::new(|_| ());
    let targets = ["10.0.0.5", "n6/10.0.0.6:7", "db.example:1", "a:b:c"].map(Into::into);
    lone.command(Command::Join { targets: targets.into(), replay: false });
    assert_eq!(refuse(&mut lone), "10.0.0.5:7946".parse().expect("address"));
    assert_eq!(refuse(&mut lone), "10.0.0.6:7".parse().expect("address"));
    let error = ResolveError("lookup db.example: no such host".into());
    lone.give(Stimulus::Resolved { id: ResolveId(1), result: Err(error) });
    let replies = lone.replies();
    let [Reply::Joined { contacted: 0, errors }] = replies.as_slice() else { panic!("{replies:?}") };
    let texts: Vec<_> = errors.iter().map(|error| format!("{error}")).collect();
    assert_eq!(
        texts,
        [
            "Failed to join 10.0.0.5: dial tcp 10.0.0.5:7946: connect: connection refused",
            "Failed to join 10.0.0.6: dial tcp 10.0.0.6:7: connect: connection refused",
            "Failed to resolve db.example:1: lookup db.example: no such host",
            "Failed to resolve a:b:c: lookup a:b:c: no such host",
        ]
    );
}

#[test]
fn a_target_that_is_not_reached_is_logged_though_another_is() {
    let mut cluster = Cluster::new(2, |_| ());
    let targets = ["10.0.0.1:x", "10.0.0.1:7946", "10.0.0.99:7946"].map(Into::into);
    let id = cluster.command(0, Command::Join { targets: targets.into(), replay: false });
    cluster.run(20 * SECOND);
    assert!(matches!(cluster.replies.get(&(0, id)), Some(Reply::Joined { contacted: 1, errors }) if errors.len() == 2));
    let lines = cluster.lines.iter().filter(|(_, log)| matches!(log, Log::JoinTargetFailed(_)));
    let lines: Vec<_> = lines.map(|(number, log)| format!("{number} [{}] {log}", log.level())).collect();
    let wanted = [
        "0 [WARN] memberlist: Failed to resolve 10.0.0.1:x: strconv.ParseUint: parsing \"x\": invalid syntax",
        "0 [DEBUG] memberlist: Failed to join 10.0.0.99: dial tcp 10.0.0.99:7946: i/o timeout",
    ];
    assert_eq!(lines, wanted);
}

#[test]
fn every_address_of_a_name_is_contacted_once() {
    let mut lone = Lone::new(|_| ());
    lone.command(Command::Join { targets: ["db".into()].into(), replay: false });
    let addrs = [addr(5), addr(6), addr(5)].into();
    lone.give(Stimulus::Resolved { id: ResolveId(1), result: Ok(addrs) });
    assert_eq!((refuse(&mut lone), refuse(&mut lone)), (addr(5), addr(6)));
    assert!(matches!(&lone.replies()[..], [Reply::Joined { contacted: 0, errors }] if errors.len() == 2));
}

#[test]
fn an_address_that_never_answers_is_given_up_after_the_stream_timeout() {
    let mut lone = Lone::new(|_| ());
    lone.command(Command::Join { targets: ["10.0.0.5".into()].into(), replay: false });
    lone.wait(10 * SECOND);
    let replies = lone.replies();
    let [Reply::Joined { errors, .. }] = replies.as_slice() else { panic!("{replies:?}") };
    let [JoinError::Contact { .. }] = errors.as_slice() else { panic!("{errors:?}") };
    assert_eq!(format!("{}", errors[0]), "Failed to join 10.0.0.5: dial tcp 10.0.0.5:7946: i/o timeout");
}

#[test]
fn retry_max_n_makes_n_plus_one_attempts_and_then_asks_to_stop() {
    let mut lone = Lone::new(|config| {
        config.serf.retry_join =
            Some(RetryJoin { targets: ["10.0.0.5".into()].into(), interval: 2 * SECOND, max: 1, replay: false });
    });
    // The first attempt has been made by the time the node is handed out.
    lone.give(Stimulus::Stream { id: StreamId(2), event: StreamEvent::Failed(StreamError::Refused) });
    assert!(lone.events().is_empty());
    lone.wait(2 * SECOND);
    refuse(&mut lone);
    assert_eq!(lone.events(), ["shutdown RetryJoinExhausted"]);
    lone.wait(60 * SECOND);
    assert_eq!(dialled(&mut lone), None);
}

#[test]
fn commands_out_of_place_are_refused() {
    let mut lone = Lone::new(|_| ());
    lone.command(Command::Rejoin);
    lone.command(Command::Leave);
    lone.command(Command::Leave);
    lone.command(Command::Join { targets: ["10.0.0.5".into()].into(), replay: false });
    assert_eq!(
        lone.replies(),
        [CommandError::NotLeft, CommandError::LeaveInProgress, CommandError::NotAlive].map(Reply::Failed)
    );
    lone.wait(2 * SECOND);
    assert_eq!(lone.replies(), [Reply::Left]);
}

#[test]
fn u15_a_node_that_has_left_can_come_back_in_the_same_process() {
    let mut cluster = Cluster::joined(3, |_| ());
    cluster.command(2, Command::Leave);
    cluster.run(10 * SECOND);
    let id = cluster.command(2, Command::Rejoin);
    cluster.join(2, 0);
    cluster.run(5 * SECOND);
    assert_eq!(cluster.replies.get(&(2, id)), Some(&Reply::Rejoined));
    for number in 0..3 {
        assert_eq!(cluster.status(number, 2), Some(Status::Alive), "at node {number}");
    }
}

#[test]
fn tags_set_after_a_leave_bring_nobody_back_and_are_told_by_a_rejoin() {
    let mut cluster = Cluster::joined(3, |_| ());
    cluster.command(2, Command::Leave);
    cluster.run(10 * SECOND);
    let set: Tags = [(b"v".to_vec(), b"1".to_vec())].into();
    let id = cluster.command(2, Command::SetTags { set: set.clone(), delete: [].into() });
    assert_eq!(cluster.replies.get(&(2, id)), Some(&Reply::TagsSet));
    cluster.run(30 * SECOND);
    for number in 0..3 {
        assert_eq!(cluster.status(number, 2), Some(Status::Left), "at node {number}");
    }
    cluster.command(2, Command::Rejoin);
    cluster.join(2, 0);
    cluster.run(5 * SECOND);
    let seen = cluster.node(0).members();
    let member = seen.iter().find(|member| member.info.tags() == set).expect("somebody has the tags");
    assert_eq!(member.info.status, Status::Alive);
}

#[test]
fn a_node_that_left_before_a_seed_answered_tries_them_again_when_it_comes_back() {
    let mut cluster = Cluster::new(2, |config| {
        config.serf.retry_join =
            Some(RetryJoin { targets: ["10.0.0.0".into()].into(), interval: 2 * SECOND, max: 0, replay: false });
    });
    cluster.cut(&[0], &[1]);
    cluster.run(5 * SECOND);
    cluster.command(1, Command::Leave);
    cluster.run(10 * SECOND);
    cluster.heal();
    cluster.command(1, Command::Rejoin);
    cluster.run(10 * SECOND);
    assert_eq!(cluster.status(0, 1), Some(Status::Alive));
}

fn coalescing(config: &mut crate::Config) {
    config.serf.coalesce = Some(Coalesce::AGENT);
}

#[test]
fn coalesced_events_come_as_one_per_kind_when_it_is_quiet() {
    let mut lone = Lone::new(coalescing);
    lone.hear(1, &[Message::Alive(alive(2, 1)), Message::Alive(alive(1, 1))]);
    lone.wait(Duration::from_millis(900));
    assert!(lone.events().is_empty());
    lone.wait(Duration::from_millis(200));
    assert_eq!(lone.events(), ["member-join n0,n1,n2"]);
}

#[test]
fn a_busy_window_is_closed_after_its_period() {
    let mut lone = Lone::new(coalescing);
    for number in 1..9 {
        lone.hear(number, &[Message::Alive(alive(number, 1))]);
        lone.wait(Duration::from_millis(400));
    }
    assert_eq!(lone.events().len(), 1, "3.2 s of events without a quiet second");
}

#[test]
fn what_was_said_last_is_not_said_again() {
    let mut lone = Lone::new(coalescing);
    lone.hear(1, &[Message::Alive(alive(1, 1))]);
    lone.wait(2 * SECOND);
    lone.events();
    lone.hear(1, &[Message::Dead(accused(1, 1, 2)), Message::Alive(alive(1, 2))]);
    lone.wait(2 * SECOND);
    assert!(lone.events().is_empty(), "failed and back within a window");
    assert_eq!(lone.belief(1), Some((SwimState::Alive, 2)));
}

#[test]
fn u29_a_join_before_an_update_in_one_window_is_not_lost() {
    let mut lone = Lone::new(coalescing);
    let tagged = Alive { meta: signed(&Tags::from([(b"role".to_vec(), b"db".to_vec())])), ..alive(1, 2) };
    lone.hear(1, &[Message::Alive(alive(1, 1)), Message::Alive(tagged)]);
    lone.wait(2 * SECOND);
    assert_eq!(lone.events(), ["member-join n0,n1", "member-update n1"]);
}

#[test]
fn where_names_are_checked_others_with_odd_ones_are_ignored() {
    for (checked, listed) in [(false, 3), (true, 2)] {
        let mut lone = Lone::new(|config| {
            config.name = Name::from("self");
            config.serf.validate_names = checked;
        });
        let called = |node: &str| Message::Alive(Alive { node: Name::from(node), ..alive(1, 1) });
        lone.hear(1, &[called("good-name.example"), called("bad name")]);
        assert_eq!(lone.node.members().len(), listed);
        let said: Vec<String> = lone.logs().iter().map(|log| format!("{log}")).collect();
        let complaint = "memberlist: ignoring alive message: Node name contains invalid characters bad name , Valid \
                         characters include all alpha-numerics and dashes and '.'";
        assert_eq!(said.iter().any(|line| line == complaint), checked, "{said:?}");
    }
}

#[test]
fn where_names_are_checked_ours_must_be_valid() {
    let refused = |name: &str| {
        let mut config = crate::tests::harness::config(0, crate::config::Profile::Lan);
        config.name = Name::from(name);
        config.serf.validate_names = true;
        config.validate().map_err(|error| format!("{error}"))
    };
    assert_eq!(refused("a-1.example"), Ok(()));
    assert_eq!(refused(&"a".repeat(128)), Ok(()));
    assert_eq!(
        refused("a_1"),
        Err("Node name contains invalid characters a_1 , Valid characters include all alpha-numerics and dashes and '.'".into())
    );
    assert_eq!(
        refused(&"a".repeat(129)),
        Err("Node name is 129 characters. Valid length is between 1 and 128 characters".into())
    );
}

#[test]
fn where_coordinates_are_off_none_is_said_kept_or_shown() {
    for on in [true, false] {
        let mut lone = Lone::new(|config| config.serf.coordinates = on);
        lone.hear(1, &[Message::Ping(Ping { seq: SeqNo(7), node: name(0), source: None })]);
        let sent = lone.sent();
        let said = sent.iter().find_map(|(_, message)| match message {
            Message::Ack(ack) => Some(ack.coordinate.is_some()),
            _ => None,
        });
        assert_eq!(said, Some(on));
        assert_eq!((lone.node.coordinate(&name(0)).is_some(), lone.node.stats().coordinate_resets.is_some()), (on, on));
    }
}
