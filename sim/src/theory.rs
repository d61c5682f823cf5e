//! What theory says of the protocol, measured on simulated clusters of the production core (protocol.md 5).

use std::collections::BTreeMap;
use std::time::Duration;

use villein_core::command::Command;
use villein_core::event::MemberEventKind;
use villein_core::scale::suspicion_min;
use villein_core::time::nanos;
use villein_core::types::Name;

use crate::draw::{Draw, Purpose};
use crate::host::Down;
use crate::scenario::{HostId, Scenario};
use crate::world::{Meter, World};

const SECOND: u64 = 1_000_000_000;
const A: HostId = HostId(0);

fn scenario(nodes: u32, config: &str, link: &str) -> Scenario {
    let text = format!(
        "[run]\nuntil = \"1h\"\n[cluster]\ncount = {nodes}\nstart = \"joined\"\nwire = \"memberlist\"\ncompress = false\nconfig = {{ {config} \
         }}\n[link]\ndelay = \"0.1ms..0.2ms\"\n{link}\n"
    );
    Scenario::parse("theory", &text).unwrap_or_else(|error| panic!("{error}"))
}

/// A cluster that has found together and has nothing left to say.
fn world(scenario: &Scenario, seed: u64) -> World<'_> {
    let mut world = World::measured(scenario, seed);
    assert!(world.bring_up(), "a cluster forms on a perfect network");
    world.run_until(world.now + 15 * SECOND);
    world.meter = Some(Meter::default());
    world.faults = crate::faults::Faults::default();
    world
}

fn meter<'a>(world: &'a World<'_>) -> &'a Meter {
    world.meter.as_ref().expect("the world is measured")
}

fn say(world: &mut World<'_>, name: &str) {
    let (name, payload) = (name.as_bytes().into(), b"needle in the haystack".as_slice().into());
    world.command(A, String::new(), false, Command::UserEvent { name, payload, coalesce: false });
}

/// 5.4: in an idle cluster each node sends one ping and one ack a period, whatever the cluster's size.
#[test]
fn an_idle_node_sends_two_packets_a_period() {
    for nodes in [5, 25] {
        let scenario = scenario(nodes, "push_pull_interval = \"0s\"", "");
        let mut world = world(&scenario, 1);
        world.run_until(world.now + 200 * SECOND);
        let wanted = u64::from(nodes) * 200 * 2;
        let sent = world.faults.packets;
        assert!(sent.abs_diff(wanted) * 100 <= wanted, "{sent} packets of {nodes} nodes in 200 periods");
    }
}

/// 5.1: with phases that do not depend on each other, the first ping of a member that is gone comes after an exponential
/// time of mean T (N - 1) / H; the verdict of a fixed suspicion comes T and the suspicion later.
#[test]
fn the_first_verdict_comes_after_an_exponential_time() {
    let nodes = 16_u32;
    let config = "awareness = false, confirmations = false, buddy = false, suspicion_mult = 2";
    let scenario = scenario(nodes, config, "");
    let mut waits: Vec<f64> = Vec::new();
    for seed in 0..60 {
        let (mut world, mut draw) = (world(&scenario, seed), Draw::new(seed, Purpose::Weather));
        for victim in 1..=6 {
            world.run_until(world.now + draw.below(SECOND));
            let (victim, begun) = (HostId(victim), world.now);
            // The suspicion's length goes by how many members there are, the victim among them.
            let members = u64::from(nodes - victim.0 + 1);
            let rest = SECOND + nanos(suspicion_min(2, members, Duration::from_secs(1)));
            world.stop(victim, Down::Power);
            world.run_until(world.now + 15 * SECOND);
            let events = std::mem::take(&mut world.meter.as_mut().expect("measured").events);
            let failed = events.iter().filter(|(_, _, kind, _)| *kind == MemberEventKind::Failed);
            let first = failed.map(|(at, ..)| at - begun).min().expect("somebody notices");
            // H = N - 1: who is gone is not looked for any more.
            waits.push((first as f64 - rest as f64) / SECOND as f64);
        }
    }
    waits.sort_unstable_by(f64::total_cmp);
    let (mean, median) = (waits.iter().sum::<f64>() / waits.len() as f64, waits[waits.len() / 2]);
    assert!(waits.len() == 360 && waits[0] > -0.05, "{waits:?}");
    // 360 samples of an exponential law: three standard errors are 16 % of the mean.
    assert!((0.84..1.16).contains(&mean), "the mean is {mean} periods");
    assert!((0.54..0.87).contains(&median), "the median is {median} periods, 0.693 by the law");
    assert!(mean <= 1.582, "the bound of SWIM's rounds");
}

/// 5.2: where streams get through, a lossy network alone makes nobody fail.
#[test]
fn loss_alone_makes_nobody_fail_while_streams_get_through() {
    let scenario = scenario(32, "", "loss = \"10%\"");
    for seed in 0..3 {
        let mut world = world(&scenario, seed);
        world.run_until(world.now + 120 * SECOND);
        let failed: Vec<_> = meter(&world).events.iter().filter(|event| event.2 == MemberEventKind::Failed).collect();
        assert!(failed.is_empty(), "seed {seed}: {failed:?}");
        assert!(world.faults.lost * 12 > world.faults.packets, "a tenth is lost: {:?}", world.faults);
    }
}

/// 5.3: gossip to f members every G reaches all of N in about 2 G ln N / f; each node that accepts a message sends it at
/// most L times.
#[test]
fn an_event_reaches_all_in_logarithmic_time_and_is_sent_a_bounded_number_of_times() {
    let mut medians = Vec::new();
    for nodes in [32_u32, 64, 128] {
        let scenario = scenario(nodes, "", "");
        let mut spreads = Vec::new();
        for seed in 0..2 {
            let mut world = world(&scenario, seed);
            for number in 0..6 {
                let meter = world.meter.as_mut().expect("measured");
                *meter = Meter { needle: b"needle in the haystack", ..Meter::default() };
                let begun = world.now;
                say(&mut world, &format!("event-{number}"));
                world.run_until(begun + 10 * SECOND);
                let meter = meter_of(&world, nodes);
                spreads.extend(meter.heard.iter().map(|(at, ..)| (at - begun) / 1_000_000).max());
                let most = u64::from(nodes * 4 * if nodes < 100 { 2 } else { 3 });
                assert!(meter.copies <= most, "{} copies among {nodes} nodes, at most {most}", meter.copies);
            }
        }
        spreads.sort_unstable();
        let median = spreads[spreads.len() / 2];
        let formula = 2.0 * 200.0 * f64::from(nodes).ln() / 3.0;
        assert!(median as f64 <= 1.15 * formula, "{median} ms among {nodes} nodes, {formula} by the law");
        medians.push(median);
    }
    // Twice the nodes, the same step: 2 G ln 2 / f = 92 ms, and a gossip round is 200 ms.
    let steps = [medians[1] as f64 - medians[0] as f64, medians[2] as f64 - medians[1] as f64];
    assert!(steps.iter().all(|step| (20.0..200.0).contains(step)), "{medians:?}");
}

/// What was counted, if everybody has heard.
fn meter_of<'a>(world: &'a World<'_>, nodes: u32) -> &'a Meter {
    let meter = meter(world);
    assert_eq!(meter.heard.len(), nodes as usize, "everybody hears of it once");
    meter
}

/// 5.4: gossip never sends more than f packets of 1400 bytes every G.
#[test]
fn gossip_stays_below_its_ceiling_however_much_there_is_to_say() {
    let nodes = 10_u64;
    let scenario = scenario(10, "", "");
    let mut world = world(&scenario, 1);
    let begun = world.now;
    for number in 0..3_000_u64 {
        world.run_until(begun + number * SECOND / 300);
        say(&mut world, &format!("an event with a name of some length, number {number}"));
    }
    world.run_until(begun + 10 * SECOND);
    let ceiling = nodes * 10 * 3 * 1_400 * 5;
    let sent = meter(&world).gossiped;
    assert!(sent <= ceiling && sent * 3 > ceiling, "{sent} bytes of at most {ceiling}");
}

/// 5.5: without loss everybody hears of a leave as a leave, before the process is gone.
#[test]
fn a_leave_is_known_to_all_before_the_leaver_is_gone() {
    let nodes = 100;
    let scenario = scenario(nodes, "", "");
    let mut world = world(&scenario, 1);
    let leaver = HostId(nodes - 1);
    world.command(leaver, String::new(), false, Command::Leave);
    while world.hosts[leaver.index()].node.is_some() {
        world.run_until(world.now + SECOND / 10);
    }
    let gone = world.now;
    world.run_until(world.now + 60 * SECOND);
    let about: Vec<_> = meter(&world).events.iter().filter(|event| event.1 != leaver).collect();
    let left = about.iter().filter(|event| event.2 == MemberEventKind::Leave && event.0 <= gone);
    assert_eq!(left.count(), nodes as usize - 1);
    assert!(!about.iter().any(|event| event.2 == MemberEventKind::Failed), "{about:?}");
}

/// 5.5: a failed member is forgotten in (ReconnectTimeout, ReconnectTimeout + ReapInterval].
#[test]
fn a_failed_member_is_forgotten_after_its_time_and_at_the_next_look() {
    let scenario = scenario(6, "reconnect_timeout = \"20s\", reap_interval = \"5s\"", "");
    let mut world = world(&scenario, 1);
    world.stop(HostId(5), Down::Power);
    world.run_until(world.now + 60 * SECOND);
    let times = |kind| -> BTreeMap<HostId, u64> {
        let victim = Name::from("n6");
        let events = meter(&world).events.iter().filter(|event| event.2 == kind && event.3 == victim);
        events.map(|(at, host, ..)| (*host, *at)).collect()
    };
    let (failed, reaped) = (times(MemberEventKind::Failed), times(MemberEventKind::Reap));
    assert_eq!(reaped.len(), 5);
    for (host, at) in reaped {
        let after = at - failed[&host];
        assert!(after > 20 * SECOND && after <= 25 * SECOND, "{after} ns");
    }
}
