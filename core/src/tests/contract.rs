//! The contract of the core: same inputs, same outputs; later deadlines; checkpoints; junk.

use alloc::vec::Vec;
use core::time::Duration;

use crate::config::Profile;
use crate::io::{Input, Output, Saved, Stimulus, StreamEvent, StreamId};
use crate::keyring::Key;
use crate::node::{Node, RestoreError};
use crate::rng::Seed;
use crate::tests::harness::{Cluster, Lone, accused, addr, alive, config, packet};
use crate::time::Time;
use crate::wire::Message;
use crate::{Config, config::ConfigError};

fn script(node: &mut Node, from: u64, steps: u64) -> Vec<Vec<Output>> {
    (from..from + steps)
        .map(|step| {
            let at = Time::from_millis(step * 137);
            let number = (step % 5) as usize + 1;
            let message = match step % 4 {
                0 => Message::Alive(alive(number, step as u32 + 1)),
                1 => Message::Suspect(accused(number, step as u32, 9)),
                2 => Message::Dead(accused(number, step as u32 / 2, 8)),
                _ => Message::Suspect(accused(0, step as u32, 7)),
            };
            node.handle(Input { at, stimulus: Stimulus::Datagram { from: addr(number), bytes: &packet(&[message]) } })
        })
        .collect()
}

fn node(seed: u64) -> Node {
    Node::new(config(0, Profile::Lan), Seed::simulated(seed), Time::ZERO, Saved::default()).expect("valid")
}

#[test]
fn the_same_inputs_give_the_same_outputs() {
    assert_eq!(script(&mut node(3), 0, 200), script(&mut node(3), 0, 200));
    assert_ne!(script(&mut node(3), 0, 200), script(&mut node(4), 0, 200));
}

#[test]
fn a_restored_node_goes_on_exactly_as_the_original() {
    let mut original = node(3);
    for from in (0..200).step_by(20) {
        let mut restored = Node::restore(&original.checkpoint()).expect("a checkpoint");
        assert_eq!(restored.checkpoint(), original.checkpoint());
        assert_eq!(script(&mut restored, from, 20), script(&mut original, from, 20), "from step {from}");
    }
}

#[test]
fn a_checkpoint_that_is_none_is_refused() {
    let bytes = node(1).checkpoint();
    for end in 0..bytes.len().min(400) {
        assert!(Node::restore(&bytes[..end]).is_err(), "cut at {end}");
    }
    assert_eq!(Node::restore(&[99]).err(), Some(RestoreError::Version(99)));
}

#[test]
fn a_shared_interner_changes_no_output() {
    let shared = Config { interner: crate::identity::Interner::default(), ..config(0, Profile::Lan) };
    let mut one = Node::new(shared.clone(), Seed::simulated(3), Time::ZERO, Saved::default()).expect("valid");
    let mut other = Node::new(shared, Seed::simulated(3), Time::ZERO, Saved::default()).expect("valid");
    assert_eq!(script(&mut one, 0, 100), script(&mut other, 0, 100));
    assert_eq!(script(&mut node(3), 0, 100), script(&mut Node::restore(&node(3).checkpoint()).expect("valid"), 0, 100));
}

#[test]
fn the_next_deadline_is_always_later_and_a_long_gap_fires_periodic_timers_once() {
    let mut lone = Lone::new(|_| ());
    lone.hear(1, &[Message::Alive(alive(1, 1))]);
    lone.wait(Duration::from_millis(1_500));
    lone.sent();
    lone.now = lone.now + Duration::from_secs(3_600);
    lone.give(Stimulus::Tick);
    let pings = lone.sent().iter().filter(|(_, message)| matches!(message, Message::Ping(_))).count();
    assert!(pings <= 2, "{pings} pings after a gap of an hour");
    assert!(lone.node.next_deadline().is_some_and(|deadline| deadline.at > lone.now));
}

#[test]
fn a_clock_that_goes_back_does_not_take_the_node_with_it() {
    let mut lone = Lone::new(|_| ());
    lone.wait(Duration::from_secs(10));
    lone.now = Time::from_millis(1);
    lone.hear(1, &[Message::Alive(alive(1, 1))]);
    assert!(lone.node.next_deadline().is_some_and(|deadline| deadline.at > Time::from_millis(10_000)));
}

#[test]
fn a_lone_idle_node_wants_no_waking() {
    let lone = Lone::new(|_| ());
    assert_eq!(lone.node.next_deadline(), None);
}

#[test]
fn junk_is_counted_and_logged_once_a_second() {
    let mut lone = Lone::new(|_| ());
    for step in 0..500_u64 {
        let junk: Vec<u8> = (0..step % 97).map(|byte| (byte * step % 251) as u8 | 0x20).collect();
        lone.give(Stimulus::Datagram { from: addr(1), bytes: &junk });
        lone.now = lone.now + Duration::from_millis(5);
    }
    assert_eq!(lone.node.stats().rejected, 500);
    assert!((2..=7).contains(&lone.logs().len()), "{} lines in 2.5 s", lone.logs().len());
    assert_eq!(lone.node.members().len(), 1);
}

#[test]
fn random_packets_behind_a_valid_header_never_panic() {
    for seed in 0..3_000_u64 {
        let mut lone = Lone::new(|_| ());
        let mut rng = crate::rng::Rng::new(Seed::simulated(seed));
        let mut bytes = packet(&[Message::Alive(alive(1, 1)), Message::Suspect(accused(0, 1, 2))]).to_vec();
        for _ in 0..4 {
            let place = rng.index(crate::rng::Purpose::Relay, bytes.len());
            bytes[place] = rng.next_u64(crate::rng::Purpose::Relay) as u8;
        }
        lone.give(Stimulus::Datagram { from: addr(1), bytes: &bytes });
        lone.give(Stimulus::Stream { id: StreamId(1), event: StreamEvent::Accepted { from: addr(1) } });
        lone.give(Stimulus::Stream { id: StreamId(1), event: StreamEvent::Bytes(&bytes) });
    }
}

#[test]
fn a_simulated_seed_with_keys_is_refused_outside_simulators() {
    let mut config = Config { simulation: false, ..config(0, Profile::Lan) };
    config.keys.push(Key::new(&[7; 16]).expect("16 bytes"));
    let refused = Node::new(config, Seed::simulated(1), Time::ZERO, Saved::default());
    assert_eq!(refused.err(), Some(ConfigError::SimulatedSeedWithKeys));
}

#[test]
fn an_encrypted_cluster_forms_and_another_key_stays_out() {
    let keyed = |config: &mut Config| {
        let byte = if config.name == crate::tests::harness::name(3) { 9 } else { 7 };
        config.keys.push(Key::new(&[byte; 32]).expect("32 bytes"));
    };
    let mut cluster = Cluster::new(4, keyed);
    for number in 1..4 {
        cluster.join(number, 0);
    }
    cluster.run(Duration::from_secs(5));
    assert_eq!(cluster.node(0).members().len(), 3);
    assert_eq!(cluster.node(3).members().len(), 1);
    let refused = cluster.replies.get(&(3, 3)).expect("answered");
    let crate::command::Reply::Joined { contacted: 0, errors } = refused else { panic!("{refused:?}") };
    assert_eq!(alloc::format!("{}", errors[0]), "Failed to join 10.0.0.0: No installed keys could decrypt the message");
}
