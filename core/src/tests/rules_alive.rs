//! The rows of protocol.md 1.7 for alive messages, as changed by 3.2. Each test names its row or rule.

use core::time::Duration;

use crate::command::Command;
use crate::io::Saved;
use crate::log::{Accusation, Log};
use crate::tests::harness::{Lone, accused, addr, alive, signed};
use crate::types::{GossipAddr, Incarnation, Tags, Versions};
use crate::wire::{Alive, Message, SwimState};

const STATES: [SwimState; 4] = [SwimState::Alive, SwimState::Suspect, SwimState::Dead, SwimState::Left];

/// A node that knows n2 and n3, and believes `state` of n1 in incarnation 5.
pub(super) fn knowing(state: SwimState) -> Lone {
    knowing_with(state, |_| ())
}

pub(super) fn knowing_with(state: SwimState, change: impl FnOnce(&mut crate::Config)) -> Lone {
    let mut lone = Lone::new(change);
    lone.hear(2, &[Message::Alive(alive(2, 1)), Message::Alive(alive(3, 1)), Message::Alive(alive(1, 5))]);
    match state {
        SwimState::Alive => (),
        SwimState::Suspect => lone.hear(2, &[Message::Suspect(accused(1, 5, 2))]),
        SwimState::Dead => lone.hear(2, &[Message::Dead(accused(1, 5, 2))]),
        SwimState::Left => lone.hear(2, &[Message::Dead(accused(1, 5, 1))]),
    }
    assert_eq!(lone.belief(1), Some((state, 5)));
    lone.out.clear();
    lone
}

fn elsewhere(incarnation: u32) -> Alive {
    Alive { addr: GossipAddr::from(addr(99)), ..alive(1, incarnation) }
}

fn with_meta(message: Alive) -> Alive {
    Alive { meta: signed(&Tags::from([(b"role".to_vec(), b"db".to_vec())])), ..message }
}

#[test]
fn alive_check_1_about_self_while_leaving_is_ignored() {
    let mut lone = Lone::new(|_| ());
    lone.command(Command::Leave);
    lone.wait(Duration::from_millis(100));
    lone.out.clear();
    lone.hear(2, &[Message::Alive(alive(0, 9))]);
    assert_eq!(lone.belief(0), Some((SwimState::Left, 1)));
    assert!(lone.logs().is_empty());
}

#[test]
fn alive_check_2_a_senseless_protocol_range_is_ignored() {
    for versions in [[0, 5, 2, 2, 5, 5], [1, 0, 2, 2, 5, 5], [4, 3, 3, 2, 5, 5]] {
        let mut lone = Lone::new(|_| ());
        lone.hear(1, &[Message::Alive(Alive { versions: Versions(versions), ..alive(1, 1) })]);
        assert_eq!(lone.belief(1), None, "{versions:?}");
    }
}

#[test]
fn alive_unknown_with_an_incarnation_joins_and_is_passed_on() {
    let mut lone = Lone::new(|_| ());
    lone.hear(1, &[Message::Alive(alive(1, 7))]);
    assert_eq!(lone.belief(1), Some((SwimState::Alive, 7)));
    assert_eq!(lone.events(), ["member-join n1"]);
    assert!(lone.gossips(&Message::Alive(alive(1, 7))));
}

#[test]
fn u37_alive_unknown_with_incarnation_0_is_refused() {
    let mut lone = Lone::new(|_| ());
    lone.hear(1, &[Message::Alive(alive(1, 0))]);
    assert_eq!(lone.belief(1), None);
    assert!(lone.events().is_empty());
    lone.hear(1, &[Message::Alive(alive(1, 1))]);
    assert_eq!(lone.belief(1), Some((SwimState::Alive, 1)), "the name is not spoilt");
}

#[test]
fn alive_other_address_of_a_member_that_left_is_accepted_whatever_its_incarnation() {
    for incarnation in [1, 5, 6] {
        let mut lone = knowing(SwimState::Left);
        lone.hear(2, &[Message::Alive(elsewhere(incarnation))]);
        assert_eq!(lone.belief(1), Some((SwimState::Alive, incarnation)));
        assert_eq!(lone.events(), ["member-join n1"]);
        assert!(lone.gossips(&Message::Alive(elsewhere(incarnation))));
    }
}

#[test]
fn alive_other_address_of_a_dead_member_is_accepted_once_the_name_may_be_reclaimed() {
    let reclaim = |config: &mut crate::Config| config.swim.dead_reclaim = Duration::from_millis(200);
    let mut lone = knowing_with(SwimState::Dead, reclaim);
    lone.hear(2, &[Message::Alive(elsewhere(1))]);
    assert_eq!(lone.belief(1), Some((SwimState::Dead, 5)), "too early");
    lone.wait(Duration::from_millis(201));
    lone.hear(2, &[Message::Alive(elsewhere(1))]);
    assert_eq!(lone.belief(1), Some((SwimState::Alive, 1)));
}

#[test]
fn alive_other_address_otherwise_is_a_conflict_and_changes_nothing() {
    for state in [SwimState::Alive, SwimState::Suspect, SwimState::Dead] {
        let mut lone = knowing(state);
        lone.hear(2, &[Message::Alive(elsewhere(9))]);
        assert_eq!(lone.belief(1), Some((state, 5)));
        let (name, mine, theirs) = (alive(1, 1).node, GossipAddr::from(addr(1)), GossipAddr::from(addr(99)));
        let state = state as u8;
        assert!(lone.logs().contains(&Log::Conflict { name, mine, theirs, state }), "{:?}", lone.logs());
    }
}

#[test]
fn alive_other_address_of_our_own_name_is_a_conflict() {
    let mut lone = Lone::new(|_| ());
    lone.hear(2, &[Message::Alive(Alive { addr: GossipAddr::from(addr(99)), ..alive(0, 9) })]);
    assert_eq!(lone.belief(0), Some((SwimState::Alive, 1)));
    assert!(lone.logs().contains(&Log::OwnNameConflict(GossipAddr::from(addr(99)), true)));
}

#[test]
fn alive_older_or_equal_changes_nothing_in_any_state() {
    for state in STATES {
        for incarnation in [4, 5] {
            let mut lone = knowing(state);
            lone.hear(2, &[Message::Alive(with_meta(alive(1, incarnation)))]);
            assert_eq!(lone.belief(1), Some((state, 5)), "alive@{incarnation} about {state:?}@5");
            assert!(lone.events().is_empty());
        }
    }
}

#[test]
fn alive_newer_about_alive_updates_with_an_event_only_if_the_meta_changed() {
    for (message, events) in [(alive(1, 6), &[][..]), (with_meta(alive(1, 6)), &["member-update n1"][..])] {
        let mut lone = knowing(SwimState::Alive);
        lone.hear(2, &[Message::Alive(message.clone())]);
        assert_eq!(lone.belief(1), Some((SwimState::Alive, 6)));
        assert_eq!(lone.events(), events);
        assert!(lone.gossips(&Message::Alive(message)));
    }
}

#[test]
fn alive_newer_about_suspect_ends_the_suspicion_without_a_join() {
    for (message, events) in [(alive(1, 6), &[][..]), (with_meta(alive(1, 6)), &["member-update n1"][..])] {
        let mut lone = knowing(SwimState::Suspect);
        lone.hear(2, &[Message::Alive(message)]);
        assert_eq!(lone.belief(1), Some((SwimState::Alive, 6)));
        assert_eq!(lone.events(), events);
    }
}

#[test]
fn alive_newer_about_dead_or_left_is_a_join() {
    for state in [SwimState::Dead, SwimState::Left] {
        let mut lone = knowing(state);
        lone.hear(2, &[Message::Alive(alive(1, 6))]);
        assert_eq!(lone.belief(1), Some((SwimState::Alive, 6)));
        assert_eq!(lone.events(), ["member-join n1"]);
        assert!(lone.gossips(&Message::Alive(alive(1, 6))));
    }
}

#[test]
fn alive_self_older_is_ignored() {
    let mut lone = Lone::saved(|_| (), Saved { incarnation: Some(Incarnation(4)), ..Saved::default() });
    lone.hear(2, &[Message::Alive(alive(0, 4))]);
    assert_eq!(
        lone.belief(0),
        Some((SwimState::Alive, 5)),
        "U-04: a life begins above the last incarnation of the one before"
    );
}

#[test]
fn alive_self_equal_and_the_same_is_ignored() {
    let mut lone = Lone::new(|_| ());
    lone.hear(2, &[Message::Alive(alive(0, 1))]);
    assert_eq!(lone.belief(0), Some((SwimState::Alive, 1)));
    assert!(lone.logs().is_empty());
}

#[test]
fn alive_self_equal_but_different_or_newer_is_refuted() {
    for (message, want) in [(with_meta(alive(0, 1)), 2), (alive(0, 3), 4), (with_meta(alive(0, 9)), 10)] {
        let mut lone = Lone::new(|_| ());
        lone.hear(2, &[Message::Alive(alive(2, 1))]);
        lone.hear(2, &[Message::Alive(message)]);
        assert_eq!(lone.belief(0), Some((SwimState::Alive, want)));
        assert!(lone.logs().contains(&Log::Refute(Accusation::Alive, alive(0, 1).node)));
        assert_eq!(lone.node.stats().health_score, 1, "who must refute trusts itself less");
        assert!(lone.gossips(&Message::Alive(alive(0, want))));
    }
}

#[test]
fn alive_self_bootstrap_is_stored_and_passed_on() {
    let mut lone = Lone::new(|_| ());
    assert_eq!(lone.belief(0), Some((SwimState::Alive, 1)));
    lone.hear(2, &[Message::Alive(alive(2, 1))]);
    assert!(lone.gossips(&Message::Alive(alive(0, 1))));
}

#[test]
fn u04_a_stale_alive_is_answered_with_what_must_be_refuted_once_per_interval() {
    for state in [SwimState::Suspect, SwimState::Dead, SwimState::Left] {
        let mut lone = knowing(state);
        lone.wait(Duration::from_millis(900));
        lone.sent();
        lone.hear(1, &[Message::Alive(alive(1, 1))]);
        let accusation = Message::Suspect(accused(1, 5, 0));
        assert!(lone.gossips(&accusation), "{state:?}");
        lone.wait(Duration::from_millis(500));
        lone.sent();
        lone.hear(1, &[Message::Alive(alive(1, 1))]);
        assert!(!lone.gossips(&accusation), "{state:?}: answered again within the interval");
    }
}

/// A node that has forgotten n1, last known in incarnation 5.
fn having_forgotten() -> Lone {
    let mut lone = knowing(SwimState::Dead);
    // Nobody of this cluster answers, so all fail; a pass of the probe list after the time for the dead forgets them.
    lone.wait(Duration::from_secs(60));
    assert_eq!(lone.belief(1), None);
    lone.out.clear();
    lone
}

#[test]
fn u05_a_stale_alive_does_not_revive_a_forgotten_member() {
    let mut lone = having_forgotten();
    for incarnation in [1, 5] {
        lone.hear(2, &[Message::Alive(alive(1, incarnation))]);
        assert_eq!(lone.belief(1), None, "alive@{incarnation}");
    }
    assert!(lone.events().is_empty());
    lone.hear(2, &[Message::Alive(alive(1, 6))]);
    assert_eq!(lone.belief(1), Some((SwimState::Alive, 6)));
    assert_eq!(lone.events(), ["member-join n1"]);
}

#[test]
fn u05_a_forgotten_member_that_restarted_hears_what_to_refute() {
    let mut lone = having_forgotten();
    lone.hear(2, &[Message::Alive(alive(2, 9))]);
    lone.hear(1, &[Message::Alive(alive(1, 1))]);
    assert!(lone.gossips(&Message::Suspect(accused(1, 5, 0))));
}

#[test]
fn u13_an_incarnation_from_the_upper_half_is_not_believed_without_keys() {
    let mut lone = knowing(SwimState::Alive);
    lone.hear(2, &[Message::Alive(alive(1, 1 << 31)), Message::Alive(alive(4, u32::MAX))]);
    lone.hear(2, &[Message::Suspect(accused(1, 1 << 31, 2)), Message::Dead(accused(1, u32::MAX, 2))]);
    lone.hear(2, &[Message::Suspect(accused(0, u32::MAX, 2))]);
    assert_eq!(lone.belief(1), Some((SwimState::Alive, 5)));
    assert_eq!(lone.belief(4), None);
    assert_eq!(lone.belief(0), Some((SwimState::Alive, 1)));
    lone.hear(2, &[Message::Alive(alive(1, (1 << 31) - 1))]);
    assert_eq!(lone.belief(1), Some((SwimState::Alive, (1 << 31) - 1)), "the last one that is believed");
}

#[test]
fn u13_the_own_incarnation_saturates_and_never_wraps() {
    let mut lone = Lone::saved(|_| (), Saved { incarnation: Some(Incarnation(u32::MAX - 1)), ..Saved::default() });
    assert_eq!(lone.belief(0), Some((SwimState::Alive, u32::MAX)));
    assert_eq!(Incarnation(u32::MAX).next(), Incarnation(u32::MAX));
    lone.hear(2, &[Message::Suspect(accused(0, (1 << 31) - 1, 2))]);
    assert_eq!(lone.belief(0), Some((SwimState::Alive, u32::MAX)));
}
