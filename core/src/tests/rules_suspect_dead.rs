//! The rows of protocol.md 1.7 for suspect and dead messages, as changed by 3.2. Each test names its row or rule.

use core::time::Duration;

use crate::command::Command;
use crate::log::{Accusation, Log};
use crate::tests::harness::{Lone, accused, alive, name};
use crate::tests::rules_alive::{knowing, knowing_with};
use crate::timers::TimerKind;
use crate::wire::{Message, SwimState};

const STATES: [SwimState; 4] = [SwimState::Alive, SwimState::Suspect, SwimState::Dead, SwimState::Left];

fn own_alive(incarnation: u32) -> Message {
    Message::Alive(alive(0, incarnation))
}

#[test]
fn suspect_unknown_is_ignored() {
    let mut lone = knowing(SwimState::Alive);
    lone.hear(2, &[Message::Suspect(accused(7, 1, 2))]);
    assert_eq!(lone.belief(7), None);
    assert!(!lone.gossips(&Message::Suspect(accused(7, 1, 2))));
}

#[test]
fn suspect_older_is_ignored_in_any_state() {
    for state in STATES {
        let mut lone = knowing(state);
        lone.hear(2, &[Message::Suspect(accused(1, 4, 3))]);
        assert_eq!(lone.belief(1), Some((state, 5)));
        assert!(!lone.gossips(&Message::Suspect(accused(1, 4, 3))));
    }
}

#[test]
fn suspect_about_suspect_by_a_new_accuser_confirms_and_is_passed_on() {
    let mut lone = knowing(SwimState::Suspect);
    let before = suspicion_end(&lone);
    lone.hear(2, &[Message::Suspect(accused(1, 5, 3))]);
    assert!(suspicion_end(&lone) < before, "a new accuser shortens the suspicion");
    let after = suspicion_end(&lone);
    lone.hear(2, &[Message::Suspect(accused(1, 5, 3)), Message::Suspect(accused(1, 5, 2))]);
    assert_eq!(suspicion_end(&lone), after, "known accusers do not");
    assert!(lone.gossips(&Message::Suspect(accused(1, 5, 3))));
}

fn suspicion_end(lone: &Lone) -> crate::Time {
    let deadline = lone.node.timer(TimerKind::Suspicion(crate::types::Slot(3)));
    deadline.expect("n1 stands in the fourth place and is suspected")
}

#[test]
fn u03_suspect_newer_about_suspect_raises_the_incarnation() {
    let mut lone = knowing(SwimState::Suspect);
    lone.hear(2, &[Message::Suspect(accused(1, 8, 2))]);
    assert_eq!(lone.belief(1), Some((SwimState::Suspect, 8)));
    lone.hear(2, &[Message::Alive(alive(1, 8))]);
    assert_eq!(lone.belief(1), Some((SwimState::Suspect, 8)), "an alive of that incarnation is no answer to it");
    lone.hear(2, &[Message::Alive(alive(1, 9))]);
    assert_eq!(lone.belief(1), Some((SwimState::Alive, 9)));
}

#[test]
fn suspect_about_dead_or_left_changes_no_state_and_u03_raises_the_incarnation() {
    for state in [SwimState::Dead, SwimState::Left] {
        let mut lone = knowing(state);
        lone.hear(2, &[Message::Suspect(accused(1, 5, 3)), Message::Suspect(accused(1, 8, 3))]);
        assert_eq!(lone.belief(1), Some((state, 8)));
        assert!(lone.events().is_empty());
        assert!(!lone.gossips(&Message::Suspect(accused(1, 8, 3))));
    }
}

#[test]
fn suspect_self_is_refuted_past_the_accusation() {
    for (accusation, want) in [(1, 2), (9, 10)] {
        let mut lone = knowing(SwimState::Alive);
        lone.hear(2, &[Message::Suspect(accused(0, accusation, 2))]);
        assert_eq!(lone.belief(0), Some((SwimState::Alive, want)));
        assert!(lone.logs().contains(&Log::Refute(Accusation::Suspect, name(2))));
        assert!(lone.gossips(&own_alive(want)));
    }
}

#[test]
fn suspect_self_in_an_old_incarnation_is_answered_again_once_per_interval() {
    let mut lone = knowing(SwimState::Alive);
    lone.hear(2, &[Message::Suspect(accused(0, 3, 2))]);
    lone.wait(Duration::from_secs(3));
    lone.sent();
    for answered in [true, false] {
        lone.hear(2, &[Message::Suspect(accused(0, 3, 2))]);
        assert_eq!(lone.gossips(&own_alive(4)), answered);
        lone.wait(Duration::from_millis(200));
        lone.sent();
    }
    assert_eq!(lone.belief(0), Some((SwimState::Alive, 4)), "the incarnation stands");
}

#[test]
fn suspect_about_alive_starts_the_suspicion_raises_the_incarnation_and_is_passed_on() {
    for incarnation in [5, 8] {
        let mut lone = knowing(SwimState::Alive);
        lone.hear(2, &[Message::Suspect(accused(1, incarnation, 2))]);
        assert_eq!(lone.belief(1), Some((SwimState::Suspect, incarnation)));
        assert!(lone.events().is_empty(), "users do not hear of suspicions");
        assert!(lone.gossips(&Message::Suspect(accused(1, incarnation, 2))));
    }
}

#[test]
fn suspicion_that_runs_out_is_a_verdict_by_ourselves() {
    let mut lone = knowing(SwimState::Suspect);
    lone.hear(2, &[Message::Suspect(accused(1, 5, 3)), Message::Suspect(accused(1, 5, 0))]);
    lone.wait(Duration::from_millis(4_010));
    assert_eq!(lone.belief(1), Some((SwimState::Dead, 5)));
    assert!(lone.logs().contains(&Log::MarkFailed(name(1), 2)));
    assert!(lone.events().contains(&"member-failed n1".into()));
}

#[test]
fn u11_suspicions_by_different_accusers_are_gossiped_side_by_side_and_alive_ends_them_all() {
    let mut lone = knowing(SwimState::Suspect);
    lone.hear(2, &[Message::Suspect(accused(1, 5, 3))]);
    lone.wait(Duration::from_millis(450));
    let sent = lone.sent();
    for accuser in [2, 3] {
        let suspicion = Message::Suspect(accused(1, 5, accuser));
        assert!(sent.iter().any(|(_, message)| *message == suspicion), "the word of n{accuser} was lost");
    }
    let mut lone = knowing(SwimState::Suspect);
    lone.hear(2, &[Message::Suspect(accused(1, 5, 3)), Message::Alive(alive(1, 6))]);
    lone.wait(Duration::from_millis(450));
    assert!(!lone.sent().iter().any(|(_, message)| matches!(message, Message::Suspect(_))));
}

#[test]
fn u11_upstreams_way_is_reachable_one_copy_displaces_the_other() {
    let mut lone = knowing_with(SwimState::Alive, |config| config.swim.lifeguard.confirmation_copies = false);
    lone.hear(2, &[Message::Suspect(accused(1, 5, 2)), Message::Suspect(accused(1, 5, 3))]);
    lone.wait(Duration::from_millis(450));
    let sent = lone.sent();
    assert!(!sent.iter().any(|(_, message)| *message == Message::Suspect(accused(1, 5, 2))));
    assert!(sent.iter().any(|(_, message)| *message == Message::Suspect(accused(1, 5, 3))));
}

#[test]
fn u12_a_refutation_displaces_the_older_word_about_ourselves() {
    let mut lone = knowing(SwimState::Alive);
    lone.hear(2, &[Message::Suspect(accused(0, 1, 2))]);
    lone.wait(Duration::from_millis(450));
    let sent = lone.sent();
    assert!(sent.iter().any(|(_, message)| *message == own_alive(2)));
    assert!(!sent.iter().any(|(_, message)| *message == own_alive(1)), "the older alive is still on its way");
}

#[test]
fn dead_unknown_is_ignored() {
    let mut lone = knowing(SwimState::Alive);
    lone.hear(2, &[Message::Dead(accused(7, 1, 2))]);
    assert_eq!(lone.belief(7), None);
    assert!(!lone.gossips(&Message::Dead(accused(7, 1, 2))));
}

#[test]
fn dead_older_is_ignored_in_any_state() {
    for state in STATES {
        let mut lone = knowing(state);
        lone.hear(2, &[Message::Dead(accused(1, 4, 2))]);
        assert_eq!(lone.belief(1), Some((state, 5)));
    }
}

#[test]
fn dead_about_dead_or_left_changes_no_state_and_u03_raises_the_incarnation() {
    for state in [SwimState::Dead, SwimState::Left] {
        for from in [1, 2] {
            let mut lone = knowing(state);
            lone.hear(2, &[Message::Dead(accused(1, 10, from))]);
            assert_eq!(lone.belief(1), Some((state, 10)), "dead never becomes left, left never dead");
            assert!(lone.events().is_empty());
        }
    }
}

#[test]
fn u03_the_published_hole_is_closed() {
    let mut lone = Lone::new(|_| ());
    lone.hear(2, &[Message::Alive(alive(1, 1)), Message::Dead(accused(1, 1, 2)), Message::Dead(accused(1, 10, 2))]);
    lone.hear(2, &[Message::Alive(alive(1, 2))]);
    assert_eq!(lone.belief(1), Some((SwimState::Dead, 10)), "alive@2 must not outdo dead@10");
}

#[test]
fn dead_self_while_not_leaving_is_refuted() {
    let mut lone = knowing(SwimState::Alive);
    lone.hear(2, &[Message::Dead(accused(0, 9, 2))]);
    assert_eq!(lone.belief(0), Some((SwimState::Alive, 10)));
    assert!(lone.logs().contains(&Log::Refute(Accusation::Dead, name(2))));
    assert!(lone.gossips(&own_alive(10)));
    lone.hear(2, &[Message::Dead(accused(0, 9, 2))]);
    assert_eq!(lone.belief(0), Some((SwimState::Alive, 10)), "the old accusation is answered already");
}

#[test]
fn dead_self_while_leaving_is_left_and_passed_on() {
    let mut lone = Lone::new(|_| ());
    lone.command(Command::Leave);
    assert_eq!(lone.belief(0), Some((SwimState::Left, 1)));
    assert!(lone.events().contains(&"member-leave n0".into()));
    // A late word of somebody else changes nothing any more.
    lone.hear(2, &[Message::Dead(accused(0, 9, 2)), Message::Suspect(accused(0, 9, 2))]);
    assert_eq!(lone.belief(0), Some((SwimState::Left, 1)));
}

#[test]
fn dead_about_alive_or_suspect_is_dead_or_left_by_who_says_so() {
    for state in [SwimState::Alive, SwimState::Suspect] {
        for (from, want, event) in [(2, SwimState::Dead, "member-failed n1"), (1, SwimState::Left, "member-leave n1")] {
            for incarnation in [5, 8] {
                let mut lone = knowing(state);
                lone.hear(2, &[Message::Dead(accused(1, incarnation, from))]);
                assert_eq!(lone.belief(1), Some((want, incarnation)));
                assert_eq!(lone.events(), [event]);
                assert!(lone.gossips(&Message::Dead(accused(1, incarnation, from))));
            }
        }
    }
}
