//! A sweep: the weather of many seeds, each drawn, played and judged; what failed is kept as a scenario file.

use std::io::Write as _;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::faults::Faults;
use crate::play::play_caught;
use crate::scenario::Scenario;
use crate::weather;
use crate::workers::work;

/// Every so many seeds one is played twice, which shows that it is deterministic.
const TWICE_EVERY: u64 = 16;

/// What is swept, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seeds.
    pub seeds: Range<u64>,
    /// Which part of them: seeds whose remainder by the second number is the first.
    pub shard: (u64, u64),
    /// How many threads play.
    pub jobs: usize,
    /// Where the scenarios of seeds that fail are written.
    pub out: PathBuf,
}

/// What is known so far.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Seeds that were played.
    pub played: u64,
    /// Those that failed, with what failed first.
    pub failed: Vec<(u64, String)>,
    /// What went wrong on purpose, in all of them.
    pub faults: Faults,
    /// Inputs that nodes were handed.
    pub inputs: u64,
    /// Simulated time, in nanoseconds.
    pub simulated_ns: u128,
    /// The smallest seed of the shard that was not taken up.
    pub next: Option<u64>,
}

/// One seed that was played.
#[derive(Clone, Debug)]
pub struct Played {
    /// Which one.
    pub seed: u64,
    /// What failed first; `None`: nothing.
    pub failure: Option<String>,
    /// The digest of its outputs; `None`: the core panicked.
    pub digest: Option<String>,
    /// What went wrong on purpose.
    pub faults: Faults,
    inputs: u64,
    simulated_ns: u64,
}

impl Played {
    /// One JSON object.
    pub fn json(&self) -> Value {
        json!({ "kind": "seed", "seed": self.seed, "failure": self.failure, "digest": self.digest, "inputs": self.inputs })
    }
}

impl Tally {
    fn add(&mut self, played: &Played) {
        self.played += 1;
        self.failed.extend(played.failure.clone().map(|failure| (played.seed, failure)));
        self.faults.add(&played.faults);
        self.inputs += played.inputs;
        self.simulated_ns += u128::from(played.simulated_ns);
    }

    /// One JSON object.
    pub fn json(&self) -> Value {
        let mut line = self.faults.json(0);
        line["kind"] = "sweep".into();
        line["seeds"] = self.played.into();
        line["failed"] = self.failed.iter().map(|(seed, _)| *seed).collect::<Vec<_>>().into();
        line["inputs"] = self.inputs.into();
        line["simulated_s"] = u64::try_from(self.simulated_ns / 1_000_000_000).unwrap_or(u64::MAX).into();
        line["next"] = self.next.into();
        line
    }
}

/// Sweeps until all seeds are played or `stop` is set; `each` hears of every seed and of what is known with it, in the
/// order in which they end.
///
/// # Errors
/// A failing scenario cannot be written.
pub fn sweep(plan: &Plan, stop: &AtomicBool, each: &(dyn Fn(&Played, &Tally) + Sync)) -> std::io::Result<Tally> {
    let (part, parts) = plan.shard;
    let first = (plan.seeds.start..plan.seeds.end).find(|seed| seed % parts == part).unwrap_or(plan.seeds.end);
    let count = (plan.seeds.end - first).div_ceil(parts);
    let (mut tally, mut result) = (Tally::default(), Ok(()));
    let one = |piece| {
        let played = play(first + piece * parts);
        let kept = if played.failure.is_some() { keep(plan, &played) } else { Ok(()) };
        (played, kept)
    };
    let taken = work(count, plan.jobs, stop, &one, &mut |(played, kept)| {
        tally.add(&played);
        each(&played, &tally);
        if kept.is_err() {
            result = kept;
            stop.store(true, Ordering::Relaxed);
        }
    });
    tally.next = (taken < count).then_some(first + taken * parts);
    result.map(|()| tally)
}

/// Plays the weather of one seed.
pub fn play(seed: u64) -> Played {
    let text = weather::scenario(seed);
    let scenario = match Scenario::parse("weather", &text) {
        Ok(scenario) => scenario,
        Err(error) => return Played::broken(seed, format!("the weather cannot be read: {error}")),
    };
    let twice = seed.is_multiple_of(TWICE_EVERY);
    match play_caught(&scenario, seed, twice) {
        Some(outcome) => Played {
            seed,
            failure: outcome.failure().map(|failure| failure.to_string()),
            digest: Some(outcome.digest.to_string()),
            inputs: outcome.inputs,
            simulated_ns: scenario.until,
            faults: outcome.faults,
        },
        None => Played::broken(seed, "the core panicked".to_owned()),
    }
}

impl Played {
    fn broken(seed: u64, failure: String) -> Self {
        Self { seed, failure: Some(failure), digest: None, faults: Faults::default(), inputs: 0, simulated_ns: 0 }
    }
}

/// Writes the scenario of a seed that failed, with what failed on top.
fn keep(plan: &Plan, played: &Played) -> std::io::Result<()> {
    std::fs::create_dir_all(&plan.out)?;
    let mut file = std::fs::File::create(plan.out.join(format!("seed-{}.toml", played.seed)))?;
    for line in played.failure.iter().flat_map(|failure| failure.lines()) {
        writeln!(file, "# {line}")?;
    }
    file.write_all(weather::scenario(played.seed).as_bytes())
}
