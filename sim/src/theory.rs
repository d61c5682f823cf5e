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
        world.run_until(world.now + 1_000 * SECOND);
        let wanted = u64::from(nodes) * 1_000 * 2;
        let sent = world.faults.packets;
        assert!(sent.abs_diff(wanted) * 100 <= wanted, "{sent} packets of {nodes} nodes in 1000 periods");
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
    for seed in 0..334 {
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
    let mean = waits.iter().sum::<f64>() / waits.len() as f64;
    let (median, late) = (waits[waits.len() / 2], waits[waits.len() * 99 / 100]);
    assert!(waits.len() == 2_004 && waits[0] > -0.05, "{} waits from {} on", waits.len(), waits[0]);
    // Three standard errors of so many samples of an exponential law.
    assert!((mean - 1.0).abs() < 0.067, "the mean is {mean} periods");
    assert!((median - 0.693).abs() < 0.067, "the median is {median} periods, 0.693 by the law");
    assert!((late - 4.61).abs() < 0.67, "99 % take {late} periods, 4.61 by the law");
    assert!(mean <= 1.582, "the bound of SWIM's rounds");
}

/// 5.1: two probes of one member are at most (2 N - 1) T apart, so who hears of nobody else finds all failures in that time, the
/// probe's and the suspicion's.
#[test]
fn a_single_observer_finds_every_failure_within_two_rounds() {
    let nodes = 16_u32;
    let scenario = scenario(nodes, "awareness = false", "");
    let suspicion = 6 * nanos(suspicion_min(4, u64::from(nodes), Duration::from_secs(1)));
    let rounds = u64::from(2 * nodes - 1) * SECOND;
    let mut slowest = 0;
    for seed in 0..20 {
        let mut world = world(&scenario, seed);
        let begun = world.now;
        (1..nodes).for_each(|victim| world.stop(HostId(victim), Down::Power));
        world.run_until(begun + rounds + suspicion + 2 * SECOND);
        let events = &meter(&world).events;
        let failed = events.iter().filter(|(_, at, kind, _)| (*at, *kind) == (A, MemberEventKind::Failed));
        let times: Vec<u64> = failed.map(|(at, ..)| at - begun).collect();
        assert_eq!(times.len(), nodes as usize - 1, "seed {seed}: all are found");
        slowest = slowest.max(times.into_iter().max().unwrap_or_default());
    }
    assert!(slowest <= rounds + SECOND + suspicion, "{slowest} ns");
    assert!(slowest > suspicion, "nobody confirms: {slowest} ns");
}

/// 5.2: where each packet gets through with the chance q and no stream helps, a probe fails with (1 - q²)(1 - q⁴)³.
#[test]
fn probes_fail_as_often_as_packets_are_lost() {
    for (percent, seconds) in [(25, 400), (10, 4_000)] {
        // Long suspicions: everybody refutes in time, nobody is taken for dead, and all are probed all the time.
        let config = "stream_ping = false, awareness = false, suspicion_mult = 10, suspicion_max_mult = 64, \
                      push_pull_interval = \"0s\"";
        let scenario = scenario(10, config, &format!("loss = \"{percent}%\""));
        let mut world = world(&scenario, 1);
        world.run_until(world.now + seconds * SECOND);
        let q = 1.0 - f64::from(percent) / 100.0;
        let probes = (10 * seconds) as f64;
        let (chance, found) = ((1.0 - q * q) * (1.0 - q.powi(4)).powi(3), meter(&world).suspicions as f64);
        let deviation = (probes * chance * (1.0 - chance)).sqrt();
        let wanted = probes * chance;
        assert!((found - wanted).abs() < 3.0 * deviation, "{found} of {probes}, {wanted} ± {deviation} by the law");
    }
}

/// 5.5: in each interval the cluster tries min(failed, alive) times to reach failed members.
#[test]
fn failed_members_are_tried_as_often_as_there_are_some_or_living_ones() {
    for failed in [4_u64, 8] {
        let config = "push_pull_interval = \"0s\", reconnect_interval = \"5s\", reconnect_timeout = \"24h\"";
        let scenario = scenario(12, config, "");
        let mut world = world(&scenario, 1);
        (12 - failed..12).for_each(|victim| world.stop(HostId(u32::try_from(victim).expect("small")), Down::Power));
        world.run_until(world.now + 120 * SECOND);
        world.faults = crate::faults::Faults::default();
        let intervals = 400;
        world.run_until(world.now + intervals * 5 * SECOND);
        let (alive, tried) = (12 - failed, world.faults.streams as f64);
        let chance = (failed as f64 / alive as f64).min(1.0);
        let wanted = (intervals * alive) as f64 * chance;
        // Where the chance is one, only where an interval begins is left to chance.
        let deviation = (wanted * (1.0 - chance)).sqrt().max(alive as f64 / 3.0);
        assert!((tried - wanted).abs() <= 3.0 * deviation, "{tried} attempts, {wanted} ± {deviation} by the law");
    }
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
    for (nodes, seeds) in [(32_u32, 2), (64, 2), (128, 2), (256, 1)] {
        let scenario = scenario(nodes, "", "");
        let mut spreads = Vec::new();
        for seed in 0..seeds {
            let mut world = world(&scenario, seed);
            // What forming has left to say is said first.
            world.run_until(world.now + 30 * SECOND);
            for number in 0..6 {
                let meter = world.meter.as_mut().expect("measured");
                *meter = Meter { needle: b"needle in the haystack", ..Meter::default() };
                let begun = world.now;
                say(&mut world, &format!("event-{number}"));
                world.run_until(begun + 5 * SECOND);
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
    assert!(medians.windows(2).all(|pair| (20..200).contains(&(pair[1] - pair[0]))), "{medians:?}");
    assert!((200..360).contains(&(medians[3] - medians[0])), "three steps of 92 ms: {medians:?}");
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
