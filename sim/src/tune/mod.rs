//! What an agent's configuration comes to in a cluster of a given size: how soon a crash is noticed, how often nobody has
//! crashed, what it costs, how many events it bears, how soon it heals.

use std::fmt::Write as _;
use std::sync::atomic::AtomicBool;

mod config;
mod measures;
mod table;

pub use config::{AgentSettings, read};
pub use table::{json, text};

use crate::scenario::{Scenario, ScenarioError};
use crate::workers::work;

/// What is measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many nodes.
    pub nodes: u32,
    /// What the link's loss is, as a scenario writes it.
    pub loss: String,
    /// What its delay is, as a scenario writes it.
    pub delay: String,
    /// What the configuration says.
    pub settings: AgentSettings,
    /// How many clusters each figure is measured in; their seeds are 1 and up.
    pub seeds: u64,
}

/// What came of it. Times are in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// From a crash to the first report of it.
    pub first_ms: Vec<u64>,
    /// To the report of the last live member.
    pub last_ms: Vec<u64>,
    /// Crashes that not everybody had reported after ten minutes.
    pub unnoticed: u64,
    /// Simulated seconds without a crash, of one node.
    pub node_seconds: u64,
    /// Reports of failures in that time: one for each node that takes a member for failed.
    pub false_failures: u64,
    /// Datagrams and stream frames in that time, and their bytes.
    pub packets: u64,
    /// See `packets`.
    pub bytes: u64,
    /// From an event to its delivery at the last node.
    pub spread_ms: Vec<u64>,
    /// Events that had not reached everybody after ten seconds.
    pub late: u64,
    /// Events a second of one node that all reach everybody, for each cluster.
    pub capacity: Vec<u64>,
    /// From the end of a minute's partition in halves until everybody sees everybody alive.
    pub heal_ms: Vec<u64>,
    /// Partitions that had not healed after twenty minutes.
    pub unhealed: u64,
}

impl Findings {
    /// Puts those of another cluster to them.
    fn add(&mut self, other: Self) {
        self.first_ms.extend(other.first_ms);
        self.last_ms.extend(other.last_ms);
        self.unnoticed += other.unnoticed;
        self.node_seconds += other.node_seconds;
        self.false_failures += other.false_failures;
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.spread_ms.extend(other.spread_ms);
        self.late += other.late;
        self.capacity.extend(other.capacity);
        self.heal_ms.extend(other.heal_ms);
        self.unhealed += other.unhealed;
        for list in [&mut self.first_ms, &mut self.last_ms, &mut self.spread_ms, &mut self.capacity, &mut self.heal_ms]
        {
            list.sort_unstable();
        }
    }
}

impl Plan {
    /// The cluster, before anything happens to it.
    ///
    /// # Errors
    /// Loss or delay cannot be read, or the core refuses the configuration.
    pub fn scenario(&self) -> Result<Scenario, ScenarioError> {
        let mut text = format!("[run]\nuntil = \"1h\"\n[cluster]\ncount = {}\nstart = \"joined\"\n", self.nodes);
        for line in &self.settings.cluster {
            let _ = writeln!(text, "{line}");
        }
        let _ = writeln!(text, "config = {{ {} }}", self.settings.config.join(", "));
        let _ = writeln!(text, "[link]\ndelay = \"{}\"\nloss = \"{}\"", self.delay, self.loss);
        Scenario::parse("the configuration", &text)
    }
}

/// Measures on so many threads, until all is measured or `stop` is set. `each` hears how many of the measurements are done.
///
/// # Errors
/// The cluster cannot be made.
pub fn tune(
    plan: &Plan,
    threads: usize,
    stop: &AtomicBool,
    each: &(dyn Fn(usize) + Sync),
) -> Result<Findings, ScenarioError> {
    let scenario = plan.scenario()?;
    let jobs: Vec<(u64, measures::Measure)> =
        (1..=plan.seeds).flat_map(|seed| measures::ALL.map(|measure| (seed, measure))).collect();
    let (mut findings, mut done) = (Findings::default(), 0);
    let one = |piece: u64| {
        let (seed, measure) = jobs[usize::try_from(piece).unwrap_or(usize::MAX)];
        measure(plan, &scenario, seed)
    };
    work(jobs.len() as u64, threads, stop, &one, &mut |found| {
        findings.add(found);
        done += 1;
        each(done);
    });
    Ok(findings)
}

/// How many measurements a plan has.
pub const fn measurements(plan: &Plan) -> u64 {
    plan.seeds * measures::ALL.len() as u64
}
