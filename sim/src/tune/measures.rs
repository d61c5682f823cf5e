//! The measurements, each on a cluster of its own.

use std::collections::BTreeMap;

use villein_core::command::Command;
use villein_core::event::{MemberEventKind, Status};
use villein_core::scale::push_pull_interval;
use villein_core::time::nanos;

use super::{Findings, Plan};
use crate::draw::{Draw, Purpose};
use crate::host::Down;
use crate::scenario::{HostId, Scenario};
use crate::world::{Meter, World};

const SECOND: u64 = 1_000_000_000;
/// How long a cluster is left alone before anything happens.
const QUIET: u64 = 10 * SECOND;
/// Crashes in each cluster, as far as it has members for them.
const CRASHES: u32 = 8;
/// How long a crash may go unnoticed.
const NOTICED_BY: u64 = 600 * SECOND;
/// How long a cluster is watched while nothing happens.
const WATCHED: u64 = 3_600 * SECOND;
/// How long a partition lasts, and how long it may take to heal.
const PARTED: u64 = 60 * SECOND;
const HEALED_BY: u64 = 1_200 * SECOND;
/// Events of which the spread is taken.
const SINGLE: u64 = 20;
/// How long a single event may take before the next is sent.
const APART: u64 = 10 * SECOND;
/// How long events are sent at one rate.
const SENDING: u64 = 10 * SECOND;
/// Rates above this are not tried.
pub(super) const RATE_MAX: u64 = 4_096;

/// One measurement, on a cluster of this seed.
pub(super) type Measure = fn(&Plan, &Scenario, u64) -> Findings;

/// All of them.
pub(super) const ALL: [Measure; 5] = [crashes, quiet, spread, capacity, partition];

fn world(scenario: &Scenario, seed: u64) -> World<'_> {
    let mut world = World::measured(scenario, seed);
    assert!(world.bring_up(), "a cluster forms on a perfect network");
    world.run_until(world.now + QUIET);
    world
}

/// Members crash, one after the other.
fn crashes(plan: &Plan, scenario: &Scenario, seed: u64) -> Findings {
    let (mut world, mut draw) = (world(scenario, seed), Draw::new(seed, Purpose::Weather));
    let mut found = Findings::default();
    for _ in 0..CRASHES.min(plan.nodes / 3) {
        let running: Vec<HostId> = scenario.hosts().filter(|host| world.hosts[host.index()].node.is_some()).collect();
        let (victim, begun) = (running[draw.index(running.len())], world.now);
        let name = world.hosts[victim.index()].name.clone();
        // Who takes it for failed already will not report it again.
        let believes = |host: &HostId| {
            let member = world.hosts[host.index()].node.as_ref().and_then(|node| node.member(&name));
            *host != victim && member.is_some_and(|member| member.info.status == Status::Alive)
        };
        let wanted = running.iter().filter(|host| believes(host)).count();
        world.meter = Some(Meter::default());
        world.stop(victim, Down::Power);
        let mut reports: BTreeMap<HostId, u64> = BTreeMap::new();
        while reports.len() < wanted && world.now < begun + NOTICED_BY {
            world.run_until(world.now + SECOND);
            let events = world.meter.as_mut().map(|meter| std::mem::take(&mut meter.events)).unwrap_or_default();
            for (at, host, kind, about) in events {
                if kind == MemberEventKind::Failed && about == name {
                    reports.entry(host).or_insert((at - begun) / 1_000_000);
                }
            }
        }
        found.first_ms.extend(reports.values().min());
        if reports.len() < wanted {
            found.unnoticed += 1;
        } else {
            found.last_ms.extend(reports.values().max());
        }
    }
    found
}

/// Nothing happens.
fn quiet(plan: &Plan, scenario: &Scenario, seed: u64) -> Findings {
    let mut world = world(scenario, seed);
    let packets = world.faults.packets;
    world.meter = Some(Meter::default());
    world.run_until(world.now + WATCHED);
    let Some(meter) = &world.meter else { return Findings::default() };
    let failed = meter.events.iter().filter(|(_, _, kind, _)| *kind == MemberEventKind::Failed);
    Findings {
        node_seconds: WATCHED / SECOND * u64::from(plan.nodes),
        false_failures: failed.count() as u64,
        packets: world.faults.packets - packets + meter.frames,
        bytes: meter.bytes,
        ..Findings::default()
    }
}

/// Single events, each given the time it needs.
fn spread(_plan: &Plan, scenario: &Scenario, seed: u64) -> Findings {
    let mut world = world(scenario, seed);
    let mut found = Findings::default();
    for number in 0..SINGLE {
        let begun = world.now;
        world.meter = Some(Meter::default());
        say(&mut world, HostId(0), number);
        world.run_until(begun + APART);
        let heard = world.meter.as_mut().map(|meter| std::mem::take(&mut meter.heard)).unwrap_or_default();
        // Its own node hears of it at once; an earlier event may still be on its way to others.
        let own = heard.iter().find(|(_, host, _)| *host == HostId(0)).map(|(.., ltime)| *ltime);
        let times: Vec<u64> =
            heard.iter().filter(|(.., ltime)| Some(*ltime) == own).map(|(at, ..)| (at - begun) / 1_000_000).collect();
        if times.len() == scenario.nodes.len() {
            found.spread_ms.extend(times.iter().max());
        } else {
            found.late += 1;
        }
    }
    found
}

/// The highest rate at which one node's events all reach everybody: doubled until it is too much, then halved in between.
fn capacity(_plan: &Plan, scenario: &Scenario, seed: u64) -> Findings {
    let (mut good, mut bad, mut rate) = (0, None, 4);
    loop {
        if bears(scenario, seed, rate) {
            good = rate;
        } else {
            bad = Some(rate);
        }
        rate = match bad {
            None if good >= RATE_MAX => break,
            None => (good * 2).min(RATE_MAX),
            // A tenth is close enough.
            Some(bad) if bad - good <= good / 10 + 1 => break,
            Some(bad) => good.midpoint(bad),
        };
    }
    Findings { capacity: vec![good], ..Findings::default() }
}

/// Whether all events of one node at this rate reach everybody.
fn bears(scenario: &Scenario, seed: u64, rate: u64) -> bool {
    let mut world = world(scenario, seed);
    let (begun, count) = (world.now, rate * SENDING / SECOND);
    for number in 0..count {
        world.run_until(begun + number * SECOND / rate);
        say(&mut world, HostId(0), number);
    }
    // What gossip has missed comes with the next push/pull (protocol.md 5.3).
    let swim = &scenario.nodes[0].swim;
    let exchange = nanos(push_pull_interval(swim.push_pull_interval, scenario.nodes.len() as u64));
    world.run_until(begun + SENDING + 2 * exchange);
    let wanted = count * scenario.nodes.len() as u64;
    world.meter.as_ref().is_some_and(|meter| meter.heard.len() as u64 == wanted)
}

/// Half of the cluster is cut off from the other for a minute.
fn partition(_plan: &Plan, scenario: &Scenario, seed: u64) -> Findings {
    let mut world = world(scenario, seed);
    let hosts: Vec<HostId> = scenario.hosts().collect();
    let (one, other) = hosts.split_at(hosts.len() / 2);
    world.part(&[one.to_vec(), other.to_vec()], false);
    world.run_until(world.now + PARTED);
    world.network.heal_all();
    let begun = world.now;
    while world.now < begun + HEALED_BY {
        world.run_until(world.now + SECOND / 10);
        if world.is_whole() {
            return Findings { heal_ms: vec![(world.now - begun) / 1_000_000], ..Findings::default() };
        }
    }
    Findings { unhealed: 1, ..Findings::default() }
}

fn say(world: &mut World<'_>, host: HostId, number: u64) {
    let name = format!("event-{number}").into_bytes().into();
    let command = Command::UserEvent { name, payload: b"payload".as_slice().into(), coalesce: false };
    world.command(host, String::new(), false, command);
}
