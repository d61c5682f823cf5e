//! One run: the cluster comes together, is left alone for 15 s, and then some of its members are held up.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use villein_core::event::MemberEventKind;

use super::{Job, Model, NODES, Sample};
use crate::draw::{Draw, Purpose};
use crate::host::Gate;
use crate::scenario::{ACTIVITIES, HostId, Scenario};
use crate::world::World;

const SECOND: u64 = 1_000_000_000;
/// How long the cluster is left alone before anything happens.
const QUIET: u64 = 15 * SECOND;
/// After so long a run ends: at once, or with the anomaly that is under way.
const LENGTH: u64 = 120 * SECOND;

/// The cluster of the paper: 128 agents on one machine, a probe a second that waits half a second, and memberlist's own
/// encoding, so that messages are as large as there. Nothing is compressed, which takes more than half of the time and decides
/// nothing but how many bytes are counted: packets are filled before they are compressed.
fn scenario(job: &Job) -> Scenario {
    let row = &job.row;
    let mut text =
        format!("[run]\nuntil = \"1000s\"\n[cluster]\ncount = {NODES}\nprofile = \"lan\"\nstart = \"joined\"\n");
    let _ = write!(
        text,
        "wire = \"memberlist\"\ncompress = false\npersist = false\nconfig = {{ lifeguard = \"{}\", confirmations_needed = 3, awareness = {}, \
         confirmations = {}, buddy = {}, suspicion_mult = {}, suspicion_max_mult = {} }}\n[link]\ndelay = \"80us..140us\"\n",
        if row.mended { "ours" } else { "upstream" },
        row.probe,
        row.suspicion,
        row.buddy,
        row.alpha,
        row.beta
    );
    Scenario::parse("experiment", &text).unwrap_or_else(|error| panic!("{error}"))
}

/// Plays one run.
pub(super) fn play(job: &Job) -> Sample {
    let (scenario, seed) = (scenario(job), job.seed());
    let mut world = World::measured(&scenario, seed);
    assert!(world.bring_up(), "a cluster of {NODES} nodes forms on a perfect network");
    let hit = chosen(seed, job.concurrent);
    let (begin, hold) = (world.zero + QUIET, job.duration_ms * 1_000_000);
    let mut at = begin;
    loop {
        world.run_until(at);
        world.hold_up(&hit, job.model, true);
        world.run_until(at + hold);
        world.hold_up(&hit, job.model, false);
        at += hold;
        match job.interval_ms {
            Some(interval) if at < world.zero + LENGTH => at += interval * 1_000_000,
            Some(_) => break,
            None => {
                settle(&mut world);
                break;
            }
        }
    }
    sample(&world, &hit, begin)
}

/// Members drawn by the seed.
fn chosen(seed: u64, count: u32) -> BTreeSet<HostId> {
    let mut draw = Draw::new(seed, Purpose::Weather);
    let mut hit = BTreeSet::new();
    while hit.len() < count as usize {
        hit.insert(HostId(u32::try_from(draw.below(u64::from(NODES))).unwrap_or_default()));
    }
    hit
}

/// Until all see all alive again, but not for ever.
fn settle(world: &mut World<'_>) {
    while world.now < world.zero + LENGTH {
        world.run_until(world.now + SECOND);
        if world.is_whole() {
            return;
        }
    }
}

fn sample(world: &World<'_>, hit: &BTreeSet<HostId>, begin: u64) -> Sample {
    let Some(meter) = &world.meter else { return Sample::default() };
    let place: BTreeMap<_, _> = world.scenario.hosts().map(|host| (&world.hosts[host.index()].name, host)).collect();
    let mut sample = Sample { packets: world.faults.packets + meter.frames, bytes: meter.bytes, ..Sample::default() };
    // The first report of each member that was hit, at each other.
    let mut reports: BTreeMap<HostId, BTreeMap<HostId, u64>> = BTreeMap::new();
    for (at, host, kind, name) in &meter.events {
        let Some(&member) = place.get(name).filter(|_| *kind == MemberEventKind::Failed) else { continue };
        if !hit.contains(&member) {
            sample.false_positives += 1;
            sample.at_healthy += u64::from(!hit.contains(host));
        } else if *host != member && *at >= begin {
            reports.entry(member).or_default().entry(*host).or_insert((at - begin) / 1_000_000);
        }
    }
    let healthy = NODES as usize - hit.len();
    for seen in reports.values() {
        sample.first_ms.extend(seen.values().min());
        let at_healthy: Vec<u64> = seen.iter().filter(|(host, _)| !hit.contains(host)).map(|(_, at)| *at).collect();
        if at_healthy.len() == healthy {
            sample.full_ms.extend(at_healthy.iter().max());
        }
    }
    sample
}

impl World<'_> {
    /// The anomaly begins or ends.
    fn hold_up(&mut self, hit: &BTreeSet<HostId>, model: Model, begins: bool) {
        let hit: Vec<HostId> = hit.iter().copied().collect();
        let all = ACTIVITIES.map(|(_, activity)| activity);
        match (model, begins) {
            (Model::ActorGate, _) => self.gates(&hit, &all, if begins { Gate::Closed } else { Gate::Open }),
            (Model::IoGate, _) => self.gates(&hit, &all, if begins { Gate::Buffered } else { Gate::Open }),
            (Model::ProcessFreeze, true) => self.pause(&hit),
            (Model::ProcessFreeze, false) => self.resume(&hit),
        }
    }
}
