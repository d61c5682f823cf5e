//! Whole clusters on a perfect network.

use alloc::collections::BTreeSet;
use alloc::vec;
use core::time::Duration;

use crate::command::{Command, Reply};
use crate::event::Status;
use crate::swim::push_pull::VIEW_PASSED_ON_BELOW;
use crate::tests::harness::{Cluster, Lone, alive, name};
use crate::types::Name;
use crate::wire::{Message, NodeState, PushPull, SerfState, SwimState};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn members_find_each_other_by_one_join_each() {
    let cluster = Cluster::joined(5, |_| ());
    assert!(cluster.replies.values().all(|reply| matches!(reply, Reply::Joined { contacted: 1, .. })));
    for number in 0..5 {
        let joins = cluster.events(number).iter().filter(|text| text.starts_with("member-join")).count();
        assert_eq!(joins, 5, "node {number}: {:?}", cluster.events(number));
    }
}

#[test]
fn a_crashed_member_is_found_failed_by_all() {
    let mut cluster = Cluster::joined(5, |_| ());
    cluster.crash(4);
    cluster.run(15 * SECOND);
    for number in 0..4 {
        assert_eq!(cluster.status(number, 4), Some(Status::Failed), "at node {number}");
    }
}

#[test]
fn a_member_that_leaves_is_left_and_never_failed() {
    let mut cluster = Cluster::joined(5, |_| ());
    let id = cluster.command(4, Command::Leave);
    cluster.run(10 * SECOND);
    assert_eq!(cluster.replies.get(&(4, id)), Some(&Reply::Left));
    for number in 0..4 {
        assert_eq!(cluster.status(number, 4), Some(Status::Left), "at node {number}");
        assert!(!cluster.events(number).contains(&"member-failed n4"));
    }
}

#[test]
fn a_crashed_member_that_restarts_is_taken_back() {
    let mut cluster = Cluster::joined(4, |_| ());
    cluster.crash(3);
    cluster.run(15 * SECOND);
    cluster.start(3, 2);
    cluster.join(3, 0);
    cluster.run(5 * SECOND);
    for number in 0..4 {
        assert_eq!(cluster.status(number, 3), Some(Status::Alive), "at node {number}");
        let view = cluster.node(number).member(&name(3)).expect("known");
        assert!(view.incarnation.0 >= 2, "it had to refute: {view:?}");
    }
    assert_eq!(cluster.events(0).iter().filter(|text| **text == "member-join n3").count(), 2);
}

#[test]
fn a_healed_partition_becomes_one_cluster_again() {
    let mut cluster = Cluster::joined(5, |_| ());
    cluster.cut(&[0, 1], &[2, 3, 4]);
    cluster.run(30 * SECOND);
    assert_eq!(cluster.status(0, 4), Some(Status::Failed));
    assert_eq!(cluster.status(4, 0), Some(Status::Failed));
    cluster.heal();
    cluster.run(90 * SECOND);
    for number in 0..5 {
        let statuses = cluster.statuses(number);
        assert!(statuses.values().all(|&status| status == Status::Alive), "node {number}: {statuses:?}");
    }
}

#[test]
fn two_members_that_have_forgotten_each_other_find_back_in_one_exchange() {
    let mut cluster = Cluster::joined(2, |_| ());
    cluster.cut(&[0], &[1]);
    cluster.run(Duration::from_secs(600));
    assert_eq!(cluster.node(0).member(&name(1)).and_then(|view| view.state), None, "forgotten");
    cluster.heal();
    cluster.run(35 * SECOND);
    assert_eq!(cluster.status(0, 1), Some(Status::Alive));
    assert_eq!(cluster.status(1, 0), Some(Status::Alive));
}

#[test]
fn an_idle_cluster_sends_two_packets_per_member_and_second() {
    let mut cluster = Cluster::joined(5, |_| ());
    cluster.run(Duration::from_secs(60));
    let before = cluster.packets;
    cluster.run(Duration::from_secs(100));
    assert_eq!(cluster.packets - before, 5 * 100 * 2);
}

/// What the members with these numbers say in a push/pull: that they are alive.
fn view_of(numbers: core::ops::RangeInclusive<usize>) -> PushPull {
    let nodes = numbers.map(|number| NodeState { alive: alive(number, 1), state: SwimState::Alive }).collect();
    PushPull { join: true, nodes, serf: SerfState::default(), unreadable: 0 }
}

#[test]
fn who_knew_nobody_alive_passes_nothing_on_of_the_first_view_that_it_is_told() {
    let mut lone = Lone::new(|_| ());
    lone.is_told(1, view_of(1..=VIEW_PASSED_ON_BELOW));
    assert_eq!(lone.node.members().len(), 1 + VIEW_PASSED_ON_BELOW);
    let said = said_of_others(&mut lone);
    assert!(said.is_empty(), "they have it from where we have it: {said:?}");
    let next = VIEW_PASSED_ON_BELOW + 1;
    lone.is_told(next, view_of(next..=next + 9));
    assert_eq!(said_of_others(&mut lone).len(), 10, "the first ones do not know the others");
}

#[test]
fn who_knew_nobody_alive_passes_a_small_view_on() {
    let mut lone = Lone::new(|_| ());
    lone.is_told(1, view_of(1..=VIEW_PASSED_ON_BELOW - 1));
    assert_eq!(said_of_others(&mut lone).len(), VIEW_PASSED_ON_BELOW - 1);
}

#[test]
fn who_is_told_a_view_while_it_joins_another_cluster_passes_it_on() {
    let mut lone = Lone::new(|_| ());
    lone.command(Command::Join { targets: vec!["10.0.0.99".into()], replay: false });
    lone.is_told(1, view_of(1..=VIEW_PASSED_ON_BELOW));
    assert_eq!(said_of_others(&mut lone).len(), VIEW_PASSED_ON_BELOW, "whom we join hears of them from us");
}

/// The members of which alive messages are gossiped within ten seconds.
fn said_of_others(lone: &mut Lone) -> BTreeSet<Name> {
    lone.wait(10 * SECOND);
    let alive = lone.sent().into_iter().filter_map(|(_, message)| match message {
        Message::Alive(alive) if alive.node != name(0) => Some(alive.node),
        _ => None,
    });
    alive.collect()
}
