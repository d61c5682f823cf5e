//! The measurements of the SWIM paper (DSN 2002; protocol.md 4.1 and 4.2), as far as the core can be set to its protocol.
//!
//! One helper, a period of two seconds, news on pings and acks alone, suspicions of a fixed length of about three natural
//! logarithms of the size, in periods. What differs: helpers and pings have a timeout within the period, a ping-req's answer may come
//! until the period's end, and joins are memberlist's push/pulls over a stream.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::atomic::AtomicBool;

use villein_core::event::MemberEventKind;
use villein_core::scale::suspicion_min;
use villein_core::time::nanos;
use villein_core::types::JoinTarget;

use super::figures::Times;
use super::tables::{Table, hundredths};
use crate::host::Down;
use crate::scenario::{HostId, Scenario};
use crate::workers::work;
use crate::world::{Meter, World};

const SECOND: u64 = 1_000_000_000;
/// The protocol period.
const PERIOD: u64 = 2 * SECOND;
/// About 3 ln N in decimal logarithms: suspicions are so long, and updates are sent so often.
const SUSPICION_MULT: u32 = 7;
const RETRANSMIT_MULT: u32 = 6;

/// Sizes at which the paper has a point, with what it read there: messages a member sends a period, in hundredths.
const LOAD: [(u32, u64); 8] = [(5, 208), (13, 212), (21, 210), (28, 200), (36, 202), (44, 198), (51, 213), (55, 198)];
/// The middle of each group of sizes, and the mean time to the first detection there, in hundredths of a period.
const DETECTION: [(u32, u64); 7] = [(10, 111), (15, 326), (19, 198), (24, 125), (28, 205), (32, 139), (37, 117)];
/// Sizes, and the median time until a member has heard, in hundredths of a period.
const INFECTION: [(u32, u64); 8] =
    [(6, 103), (13, 126), (20, 302), (28, 303), (35, 197), (43, 249), (52, 151), (56, 226)];
/// Members that join one after the other under loss, and how many the paper's group has in the end.
const JOINS: (u32, u64) = (17, 12);

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct SwimPlan {
    /// Clusters for each point.
    pub repetitions: u64,
}

/// What came of it: for each point the samples, in hundredths.
#[derive(Clone, Debug, Default)]
pub struct SwimFigures {
    load: Vec<(u32, u64)>,
    detection: Vec<(u32, u64)>,
    infection: Vec<(u32, u64)>,
    group: Vec<u64>,
}

#[derive(Clone, Copy)]
enum Point {
    Load(u32),
    Crash(u32),
    Joins,
}

impl SwimPlan {
    fn points(self) -> Vec<(u64, Point)> {
        // One crash is a sample of both.
        let sizes: BTreeSet<u32> = DETECTION.iter().chain(&INFECTION).map(|(size, _)| *size).collect();
        let crashes = sizes.into_iter().map(Point::Crash);
        let points: Vec<Point> =
            LOAD.iter().map(|(size, _)| Point::Load(*size)).chain(crashes).chain([Point::Joins]).collect();
        (1..=self.repetitions).flat_map(|seed| points.clone().into_iter().map(move |point| (seed, point))).collect()
    }

    /// How many clusters are simulated.
    pub fn runs(self) -> u64 {
        self.points().len() as u64
    }
}

/// Measures on so many threads, until all is measured or `stop` is set; `each` hears how many clusters are done.
pub fn swim(plan: SwimPlan, threads: usize, stop: &AtomicBool, each: &(dyn Fn(u64) + Sync)) -> SwimFigures {
    let points = plan.points();
    let (mut figures, mut done) = (SwimFigures::default(), 0);
    let one = |piece: u64| {
        let (seed, point) = points[usize::try_from(piece).unwrap_or(usize::MAX)];
        measure(seed, point)
    };
    work(points.len() as u64, threads, stop, &one, &mut |found| {
        figures.add(found);
        done += 1;
        each(done);
    });
    figures
}

impl SwimFigures {
    fn add(&mut self, other: Self) {
        self.load.extend(other.load);
        self.detection.extend(other.detection);
        self.infection.extend(other.infection);
        self.group.extend(other.group);
    }
}

fn scenario(nodes: u32, start: &str, loss: &str) -> Scenario {
    let text = format!(
        "[run]\nuntil = \"1h\"\n[cluster]\ncount = {nodes}\nprofile = \"lan\"\nstart = \"{start}\"\nwire = \"memberlist\"\ncompress = false\npersist = \
         false\nconfig = {{ indirect_checks = 1, probe_interval = \"2s\", probe_timeout = \"500ms\", gossip_nodes = 0, push_pull_interval = \
         \"60s\", stream_ping = false, awareness = false, confirmations = false, buddy = false, suspicion_mult = {SUSPICION_MULT}, \
         retransmit_mult = {RETRANSMIT_MULT} }}\n[link]\ndelay = \"0.2ms..2ms\"\nloss = \"{loss}\"\n"
    );
    Scenario::parse("experiment", &text).unwrap_or_else(|error| panic!("{error}"))
}

fn measure(seed: u64, point: Point) -> SwimFigures {
    match point {
        Point::Load(nodes) => load(seed, nodes),
        Point::Crash(nodes) => crash(seed, nodes),
        Point::Joins => joins(seed),
    }
}

/// A cluster that has found together, and what it counts from now on.
fn formed(scenario: &Scenario, seed: u64) -> World<'_> {
    let mut world = World::measured(scenario, seed);
    assert!(world.bring_up(), "a cluster forms on a perfect network");
    world.run_until(world.now + 60 * SECOND);
    world.meter = Some(Meter::default());
    world
}

fn load(seed: u64, nodes: u32) -> SwimFigures {
    let scenario = scenario(nodes, "joined", "0%");
    let mut world = formed(&scenario, seed);
    let (before, periods) = (world.faults.packets, 100);
    world.run_until(world.now + periods * PERIOD);
    let sent = (world.faults.packets - before) * 100 / (periods * u64::from(nodes));
    SwimFigures { load: vec![(nodes, sent)], ..SwimFigures::default() }
}

/// One member crashes: how long until somebody is sure, less the suspicion, and how long until the median member has heard.
fn crash(seed: u64, nodes: u32) -> SwimFigures {
    let scenario = scenario(nodes, "joined", "0%");
    let mut world = formed(&scenario, seed);
    // Not all crashes at the same place of the period.
    world.run_until(world.now + seed * 617_000_000 % PERIOD);
    let begun = world.now;
    world.stop(HostId(nodes - 1), Down::Power);
    world.run_until(begun + 120 * SECOND);
    let events = world.meter.as_ref().map(|meter| meter.events.as_slice()).unwrap_or_default();
    let reports: Vec<u64> =
        events.iter().filter(|(_, _, kind, _)| *kind == MemberEventKind::Failed).map(|(at, ..)| at - begun).collect();
    let suspicion = nanos(suspicion_min(SUSPICION_MULT, u64::from(nodes), std::time::Duration::from_nanos(PERIOD)));
    let mut found = SwimFigures::default();
    if let (Some(first), Some(median)) = (reports.iter().min(), Times::new(reports.clone()).at(500)) {
        found.detection.push((nodes, first.saturating_sub(suspicion) * 100 / PERIOD));
        found.infection.push((nodes, (median - first) * 100 / PERIOD));
    }
    found
}

/// Members join the first, one every ten seconds, under 10 % loss; how many it lists as alive after 175 s.
fn joins(seed: u64) -> SwimFigures {
    let scenario = scenario(JOINS.0, "apart", "10%");
    let mut world = World::measured(&scenario, seed);
    world.bring_up();
    let target = JoinTarget::from(crate::network::addr(HostId(0)).to_string().as_str());
    for host in 1..JOINS.0 {
        world.run_until(world.zero + u64::from(host) * 10 * SECOND);
        world.join(HostId(host), vec![target.clone()], false);
    }
    world.run_until(world.zero + 175 * SECOND);
    let stats = world.hosts[0].node.as_ref().map(villein_core::Node::stats);
    let alive = stats.map_or(0, |stats| (stats.members - stats.failed) as u64);
    SwimFigures { group: vec![alive * 100], ..SwimFigures::default() }
}

/// The tables, each figure beside the published one, in Markdown.
pub fn swim_text(plan: SwimPlan, figures: &SwimFigures) -> String {
    let mut text = format!("{} clusters a point, seeds 1 to {}\n\n", plan.repetitions, plan.repetitions);
    for (title, known, found, median) in [
        ("Messages that a member sends a period (figure 2)", LOAD.as_slice(), &figures.load, false),
        (
            "Mean time to the first detection, in periods; 2.00 by the law of independent phases (figure 3 a)",
            &DETECTION,
            &figures.detection,
            false,
        ),
        (
            "Median time from the first report to that of the median member, in periods (figure 3 b)",
            &INFECTION,
            &figures.infection,
            true,
        ),
    ] {
        let mut table = Table::new(title, &["members", "measured", "published", "samples"]);
        for (size, known) in known {
            let samples: Vec<u64> = found.iter().filter(|(nodes, _)| nodes == size).map(|(_, value)| *value).collect();
            let value = if median { Times::new(samples.clone()).at(500) } else { mean(&samples) };
            let value = value.map_or_else(|| "-".to_owned(), |value| hundredths(value.into()));
            table.row([size.to_string(), value, hundredths((*known).into()), samples.len().to_string()]);
        }
        let _ = writeln!(text, "{}", table.finish());
    }
    let group = mean(&figures.group).map_or_else(|| "-".to_owned(), |size| hundredths(size.into()));
    let (joins, known) = JOINS;
    let _ = writeln!(
        text,
        "Of {joins} members, of which all but one joined one after the other under 10 % loss, the first listed {group} as alive after 175 s; the paper had \
         {known}\nwith \
         suspicion, 4 without, 2 without news on pings.\n\nWhat differs from the paper's program: members exchange all they know once a minute, joins are such exchanges over a stream, which \
         arrive late under loss and are not lost;\nmachines are never slow; verdicts are those of the first member whose suspicion ends, less the suspicion; members that \
         suspected by themselves\nreport without having heard, so the time to the median report is shorter than that of news alone. Updates are sent 6 ceil(log10(N + 1)) times."
    );
    text
}

fn mean(samples: &[u64]) -> Option<u64> {
    samples.iter().sum::<u64>().checked_div(samples.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_member_sends_two_messages_a_period_and_a_crash_is_detected_soon() {
        let load = load(1, 13);
        assert!((198..=202).contains(&load.load[0].1), "{:?}", load.load);
        let found: Vec<u64> =
            (1..=20).filter_map(|seed| crash(seed, 10).detection.first().map(|(_, at)| *at)).collect();
        let mean = mean(&found).expect("every crash is detected");
        // One period to the end of the probe and one, on average, until somebody looks.
        assert!(found.len() == 20 && (100..300).contains(&mean), "{found:?}");
    }
}
