//! The probe cycle, its relays and the health score (protocol.md 1.4, 1.5).

use core::time::Duration;

use crate::command::Command;
use crate::config::{Lifeguard, NackTiming};
use crate::coordinate::Coordinate;
use crate::io::{Activity, Output, Stimulus, StreamAction};
use crate::log::Log;
use crate::tests::harness::{Lone, accused, addr, alive, name, reply_to};
use crate::types::{GossipAddr, SeqNo};
use crate::wire::{Ack, IndirectPing, Message, Ping, SwimState};

/// A node that knows n1 to n`peers`, with its first probe just sent; the probed member's number and the ping's.
fn probing(peers: usize, change: impl FnOnce(&mut crate::Config)) -> (Lone, usize, SeqNo) {
    let mut lone = Lone::new(change);
    let alives: Vec<Message> = (1..=peers).map(|number| Message::Alive(alive(number, 1))).collect();
    lone.hear(1, &alives);
    let (target, seq) = next_ping(&mut lone);
    (lone, target, seq)
}

use alloc::vec::Vec;

/// Waits for the next ping of our own.
fn next_ping(lone: &mut Lone) -> (usize, SeqNo) {
    for _ in 0..3_000 {
        lone.wait(Duration::from_millis(1));
        for (to, message) in lone.sent() {
            if let Message::Ping(ping) = message {
                let target = (0..10).find(|&number| addr(number) == to).expect("a known address");
                return (target, ping.seq);
            }
        }
    }
    panic!("no ping within three seconds");
}

fn ack(lone: &mut Lone, from: usize, seq: SeqNo) {
    lone.hear(from, &[Message::Ack(Ack { seq, coordinate: None })]);
}

#[test]
fn a_ping_that_is_answered_ends_the_probe() {
    let (mut lone, target, seq) = probing(1, |_| ());
    ack(&mut lone, target, seq);
    lone.wait(Duration::from_millis(500));
    assert_eq!(lone.belief(1), Some((SwimState::Alive, 1)));
    assert!(!lone.logs().contains(&Log::PingFailed(name(1))));
}

#[test]
fn every_member_is_probed_once_per_pass() {
    let (mut lone, first, seq) = probing(5, |_| ());
    let mut seen = Vec::from([first]);
    ack(&mut lone, first, seq);
    for _ in 1..10 {
        let (target, seq) = next_ping(&mut lone);
        ack(&mut lone, target, seq);
        seen.push(target);
    }
    for pass in seen.chunks(5).skip(1) {
        let mut pass = pass.to_vec();
        pass.sort();
        assert_eq!(pass, [1, 2, 3, 4, 5], "all probes: {seen:?}");
    }
}

#[test]
fn an_unanswered_ping_asks_helpers_and_the_stream_then_suspects() {
    let (mut lone, target, seq) = probing(4, |_| ());
    lone.wait(Duration::from_millis(501));
    let asked: Vec<_> = lone
        .sent()
        .into_iter()
        .filter_map(|(_, message)| match message {
            Message::IndirectPing(ask) => Some(ask),
            _ => None,
        })
        .collect();
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|ask| ask.seq == seq && ask.node == name(target) && ask.nack));
    let dialled = lone.out.iter().any(|output| {
        matches!(output, Output::Stream { activity: Activity::Probe, action: StreamAction::Connect(to), .. } if *to == addr(target))
    });
    assert!(dialled, "the stream ping runs beside the helpers");
    lone.wait(Duration::from_millis(500));
    assert_eq!(lone.belief(target), Some((SwimState::Suspect, 1)));
    assert!(lone.logs().contains(&Log::Suspect(name(target))));
}

#[test]
fn u01_nacks_of_healthy_helpers_keep_the_score_at_0() {
    let (mut lone, target, seq) = probing(4, |_| ());
    lone.wait(Duration::from_millis(501));
    for helper in (1..=4).filter(|&helper| helper != target) {
        lone.hear(helper, &[Message::Nack(seq)]);
    }
    lone.wait(Duration::from_millis(500));
    assert_eq!(lone.belief(target), Some((SwimState::Suspect, 1)));
    assert_eq!(lone.node.stats().health_score, 0);
}

#[test]
fn missing_nacks_count_one_each_and_no_helper_counts_one() {
    let (mut lone, _, seq) = probing(4, |_| ());
    lone.wait(Duration::from_millis(501));
    lone.hear(1, &[Message::Nack(seq)]);
    lone.wait(Duration::from_millis(500));
    assert_eq!(lone.node.stats().health_score, 2, "one of three came");
    let (mut lone, ..) = probing(1, |_| ());
    lone.wait(Duration::from_millis(1_001));
    assert_eq!(lone.node.stats().health_score, 1);
}

#[test]
fn the_ablation_switch_pins_the_score_to_0() {
    let (mut lone, ..) = probing(4, |config| config.swim.lifeguard.awareness = false);
    lone.wait(Duration::from_millis(1_001));
    assert_eq!(lone.node.stats().health_score, 0);
}

#[test]
fn a_helper_pings_for_the_originator_and_passes_the_ack_on_without_payload() {
    let mut lone = Lone::new(|_| ());
    let seq = ask(&mut lone);
    ack(&mut lone, 2, seq);
    let forwarded = Message::Ack(Ack { seq: SeqNo(77), coordinate: None });
    assert!(lone.sent().contains(&(addr(1), forwarded)));
}

/// Asks the node to ping n2 for n1 and returns the number of its ping.
fn ask(lone: &mut Lone) -> SeqNo {
    let (node, target) = (name(2), GossipAddr::from(addr(2)));
    lone.hear(1, &[Message::IndirectPing(IndirectPing { seq: SeqNo(77), node, target, nack: true, source: None })]);
    let sent = lone.sent();
    let ping = sent.iter().find_map(|(to, message)| match message {
        Message::Ping(ping) if *to == addr(2) => Some(ping.seq),
        _ => None,
    });
    ping.expect("a ping on behalf of n1")
}

#[test]
fn u01_a_helper_sends_its_nack_in_time_and_still_passes_a_late_ack_on() {
    let mut lone = Lone::new(|_| ());
    let seq = ask(&mut lone);
    lone.wait(Duration::from_millis(399));
    assert!(lone.sent().is_empty());
    lone.wait(Duration::from_millis(1));
    assert_eq!(lone.sent().first(), Some(&(addr(1), Message::Nack(SeqNo(77)))));
    lone.wait(Duration::from_millis(200));
    ack(&mut lone, 2, seq);
    let forwarded = Message::Ack(Ack { seq: SeqNo(77), coordinate: None });
    assert!(lone.sent().contains(&(addr(1), forwarded)), "an ack after the nack still counts for the originator");
}

#[test]
fn u01_upstreams_timing_is_reachable() {
    let mut lone = Lone::new(|config| {
        config.swim.lifeguard = Lifeguard { nacks: NackTiming::OfTimeout { permille: 1000 }, ..Lifeguard::OURS }
    });
    ask(&mut lone);
    lone.wait(Duration::from_millis(499));
    assert!(lone.sent().is_empty());
    lone.wait(Duration::from_millis(1));
    assert_eq!(lone.sent().first(), Some(&(addr(1), Message::Nack(SeqNo(77)))));
    let upstream = |config: &mut crate::Config| config.swim.lifeguard = Lifeguard::UPSTREAM;
    let (mut lone, ..) = probing(4, upstream);
    lone.wait(Duration::from_millis(1_001));
    assert_eq!(lone.node.stats().health_score, 3, "every late nack counts as missing");
}

#[test]
fn a_ping_for_another_name_is_not_answered() {
    let mut lone = Lone::new(|_| ());
    lone.hear(1, &[Message::Ping(Ping { seq: SeqNo(5), node: name(9), source: None })]);
    assert!(lone.sent().is_empty());
    lone.hear(1, &[Message::Ping(Ping { seq: SeqNo(5), node: name(0), source: Some(reply_to(3)) })]);
    let ack = Message::Ack(Ack { seq: SeqNo(5), coordinate: Some(Coordinate::start()) });
    assert_eq!(lone.sent().first(), Some(&(addr(1), ack)), "to where it came from");
}

#[test]
fn buddy_a_suspect_is_told_of_its_suspicion_with_the_ping() {
    let told = |change: fn(&mut crate::Config)| {
        let (mut lone, ..) = probing(1, change);
        lone.hear(2, &[Message::Suspect(accused(1, 1, 2))]);
        lone.wait(Duration::from_millis(1_500));
        lone.sent().contains(&(addr(1), Message::Suspect(accused(1, 1, 0))))
    };
    assert!(told(|_| ()));
    assert!(!told(|config| config.swim.lifeguard.buddy = false));
}

#[test]
fn a_stale_probe_does_not_suspect_who_has_spoken_meanwhile() {
    let (mut lone, ..) = probing(1, |_| ());
    lone.hear(1, &[Message::Alive(alive(1, 2))]);
    lone.wait(Duration::from_millis(1_001));
    assert_eq!(lone.belief(1), Some((SwimState::Alive, 2)));
}

#[test]
fn a_ping_that_cannot_be_sent_asks_the_helpers_at_once() {
    let (mut lone, target, _) = probing(4, |_| ());
    lone.give(Stimulus::SendFailed { to: addr(target), activity: Activity::Probe });
    assert_eq!(lone.sent().iter().filter(|(_, message)| matches!(message, Message::IndirectPing(_))).count(), 3);
}

#[test]
fn while_the_probe_is_stalled_its_timers_are_not_due_and_the_others_are() {
    let (mut lone, target, _) = probing(4, |_| ());
    lone.give(Stimulus::Stalled { activity: Activity::Probe });
    lone.hear(5, &[Message::Alive(alive(5, 1))]);
    lone.wait(Duration::from_secs(5));
    assert_eq!(lone.belief(target), Some((SwimState::Alive, 1)));
    assert!(lone.sent().iter().any(|(_, message)| matches!(message, Message::Alive(_))), "gossip goes on");
    lone.give(Stimulus::Resumed { activity: Activity::Probe });
    assert_eq!(lone.belief(target), Some((SwimState::Suspect, 1)), "the expired deadline counts at once");
}

#[test]
fn a_repeated_ping_costs_what_waits_to_be_gossiped_nothing() {
    let mut lone = Lone::new(|config| config.swim.gossip_interval = Duration::from_secs(600));
    lone.hear(1, &[Message::Alive(alive(1, 1)), Message::Alive(alive(2, 1))]);
    lone.command(Command::UserEvent { name: (*b"deploy").into(), payload: [].into(), coalesce: false });
    lone.sent();
    let mut ask = |source| {
        lone.hear(9, &[Message::Ping(Ping { seq: SeqNo(7), node: name(0), source })]);
        let sent = lone.sent();
        (sent[0].0, sent.len() - 1)
    };
    for _ in 0..50 {
        assert_eq!(ask(None), (addr(9), 0), "a stranger is told nothing");
        assert_eq!(ask(Some(reply_to(9))), (addr(9), 0));
        // Repeated by whoever recorded it: the answer goes to the member, as often as it is asked for.
        let (to, waiting) = ask(Some(reply_to(1)));
        assert_eq!((to, waiting >= 3), (addr(1), true), "{waiting} messages");
    }
    assert_eq!(lone.node.stats().event_queue, 1);
}

#[test]
fn an_ack_of_an_earlier_life_answers_no_probe() {
    // Acks to the first probes of other lives: by number alone one of them would fit.
    let mut lone = Lone::new(|_| ());
    lone.hear(1, &[Message::Alive(alive(1, 1))]);
    for second in 1..=120 {
        let tape: Vec<Message> = (0..200).map(|seq| Message::Ack(Ack { seq: SeqNo(seq), coordinate: None })).collect();
        tape.chunks(100).for_each(|acks| lone.hear(9, acks));
        lone.wait(Duration::from_secs(1));
        if lone.belief(1).is_some_and(|(state, _)| state == SwimState::Dead) {
            assert!(second > 3, "it takes a suspicion");
            return;
        }
    }
    panic!("a member that never answered is still alive: {:?}", lone.belief(1));
}
