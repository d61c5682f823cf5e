//! The experiments of the Lifeguard paper (protocol.md 4.4): what is played, and the book that the results stand in.
//!
//! A cluster of 128 nodes has C members that an anomaly holds up together, again and again (an interval run: how many
//! members are wrongly reported) or once (a threshold run: how soon they are reported rightly). Runs are independent, and
//! each has a line in the book: a measurement that was ended goes on where it ended.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::workers::work;

pub mod book;
mod figures;
mod lifeguard;
mod published;
mod swim;
mod tables;

pub use book::Book;
pub use figures::{Figure, Figures, Times};
pub use swim::{SwimFigures, SwimPlan, swim, swim_text};
pub use tables::{Band, acceptance, text};

/// How many nodes a cluster has.
pub const NODES: u32 = 128;
/// How many members are held up at the same time.
pub const CONCURRENT: [u32; 9] = [1, 4, 8, 12, 16, 20, 24, 28, 32];
/// How long an anomaly lasts, in milliseconds.
pub const DURATIONS_MS: [u64; 6] = [128, 512, 2_048, 8_192, 16_384, 32_768];
/// How long it is over before it comes again, in milliseconds.
pub const INTERVALS_MS: [u64; 8] = [1, 4, 16, 64, 256, 1_024, 4_096, 16_384];
/// How often the paper repeats everything.
pub const REPETITIONS: u32 = 10;

/// Which components are switched on, and how long suspicions last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// What the tables call it.
    pub name: &'static str,
    /// Whether local health scales the probe.
    pub probe: bool,
    /// Whether suspicions begin long and shrink with confirmations.
    pub suspicion: bool,
    /// Whether a suspect is told so by the next ping.
    pub buddy: bool,
    /// Multiplies the shortest suspicion: α.
    pub alpha: u32,
    /// How many times the shortest suspicion the longest is: β.
    pub beta: u32,
    /// Whether the defects of the published program that bear on it are mended (U-01, U-06, U-11).
    pub mended: bool,
    /// Whether it stands in table VII alone, which is about α and β.
    pub tuned: bool,
}

const fn row(name: &'static str, parts: [bool; 3], alpha: u32, beta: u32) -> Row {
    let [probe, suspicion, buddy] = parts;
    Row { name, probe, suspicion, buddy, alpha, beta, mended: false, tuned: false }
}

const fn tuned(name: &'static str, alpha: u32, beta: u32) -> Row {
    Row { tuned: true, ..row(name, [true; 3], alpha, beta) }
}

/// The rows of the tables IV to VII, and what this project does by default.
pub const ROWS: [Row; 14] = [
    row("SWIM", [false; 3], 5, 1),
    row("LHA-Probe", [true, false, false], 5, 1),
    row("LHA-Suspicion", [false, true, false], 5, 6),
    row("Buddy System", [false, false, true], 5, 1),
    row("Lifeguard", [true; 3], 5, 6),
    Row { mended: true, ..row("Villein", [true; 3], 5, 6) },
    tuned("Lifeguard 2,2", 2, 2),
    tuned("Lifeguard 2,4", 2, 4),
    tuned("Lifeguard 2,6", 2, 6),
    tuned("Lifeguard 4,2", 4, 2),
    tuned("Lifeguard 4,4", 4, 4),
    tuned("Lifeguard 4,6", 4, 6),
    tuned("Lifeguard 5,2", 5, 2),
    tuned("Lifeguard 5,4", 5, 4),
];

/// What an anomaly does to a member (protocol.md 4.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Model {
    /// What sends and receives stands still before its next packet, each part for itself; timers run on. The paper's.
    ActorGate,
    /// The process stands still, timers included.
    ProcessFreeze,
    /// Packets are held up in both directions, and the process does not notice.
    IoGate,
}

impl Model {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::ActorGate, Self::ProcessFreeze, Self::IoGate];

    /// What the command line and the book call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ActorGate => "actor-gate",
            Self::ProcessFreeze => "process-freeze",
            Self::IoGate => "io-gate",
        }
    }
}

/// One run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Job {
    /// Which of the repetitions.
    pub repetition: u32,
    /// What is switched on.
    pub row: Row,
    /// What the anomaly does.
    pub model: Model,
    /// How many members it hits.
    pub concurrent: u32,
    /// How long it lasts, in milliseconds.
    pub duration_ms: u64,
    /// How long it is over before it comes again, in milliseconds; `None`: it comes once.
    pub interval_ms: Option<u64>,
}

impl Job {
    /// What the book calls it.
    pub fn key(&self) -> String {
        let interval = self.interval_ms.map_or_else(|| "once".to_owned(), |interval| interval.to_string());
        let Self { repetition, row, model, concurrent, duration_ms, .. } = self;
        format!("{}/{}/{concurrent}/{duration_ms}/{interval}/{repetition}", row.name, model.name())
    }

    /// The seed: the same for every row, so that rows are compared under the same anomalies.
    pub fn seed(&self) -> u64 {
        let parts = [
            u64::from(self.repetition),
            u64::from(self.concurrent),
            self.duration_ms,
            self.interval_ms.map_or(0, |interval| interval + 1),
        ];
        parts.iter().fold(0xcbf2_9ce4_8422_2325, |seed: u64, part| (seed ^ part).wrapping_mul(0x0100_0000_01b3))
    }
}

/// What one run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Reports about members that were well, anywhere.
    pub false_positives: u64,
    /// Those of them at members that were well themselves.
    pub at_healthy: u64,
    /// Packets sent: datagrams and stream frames.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// For each member that was hit and reported: milliseconds from the anomaly to the first report at any other member.
    pub first_ms: Vec<u64>,
    /// The same to the last first report of a member that was well, if all of them reported it.
    pub full_ms: Vec<u64>,
}

/// Which part of the experiment is run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which repetitions.
    pub repetitions: std::ops::Range<u32>,
    /// Which rows.
    pub rows: Vec<Row>,
    /// Which model of the anomaly.
    pub model: Model,
    /// How many members are hit.
    pub concurrent: Vec<u32>,
    /// For how long.
    pub durations_ms: Vec<u64>,
    /// How long it is over in between.
    pub intervals_ms: Vec<u64>,
}

impl Plan {
    /// Everything that the paper ran.
    pub fn whole(repetitions: std::ops::Range<u32>, rows: Vec<Row>, model: Model) -> Self {
        Self {
            repetitions,
            rows,
            model,
            concurrent: CONCURRENT.to_vec(),
            durations_ms: DURATIONS_MS.to_vec(),
            intervals_ms: INTERVALS_MS.to_vec(),
        }
    }

    /// A few runs that show the same in seconds.
    pub fn quick() -> Self {
        Self {
            repetitions: 0..1,
            rows: vec![ROWS[0], ROWS[4], ROWS[5]],
            model: Model::ActorGate,
            concurrent: vec![8, 32],
            durations_ms: vec![32_768],
            intervals_ms: vec![64],
        }
    }

    /// All runs, whole repetitions first, so that what is known when time is up is as even as can be.
    pub fn jobs(&self) -> Vec<Job> {
        let mut jobs = Vec::new();
        for repetition in self.repetitions.clone() {
            for &row in &self.rows {
                for &concurrent in &self.concurrent {
                    for &duration_ms in &self.durations_ms {
                        let job =
                            Job { repetition, row, model: self.model, concurrent, duration_ms, interval_ms: None };
                        jobs.push(job);
                        jobs.extend(
                            self.intervals_ms.iter().map(|&interval| Job { interval_ms: Some(interval), ..job }),
                        );
                    }
                }
            }
        }
        jobs
    }
}

/// Plays those jobs that the book does not have yet, on so many threads, until all are played or `stop` is set. `each`
/// hears how many are done.
///
/// # Errors
/// The book cannot be written.
pub fn run(
    jobs: &[Job],
    book: &mut Book,
    threads: usize,
    stop: &AtomicBool,
    each: &(dyn Fn(usize) + Sync),
) -> std::io::Result<()> {
    let todo: Vec<&Job> = jobs.iter().filter(|job| !book.has(job)).collect();
    let (mut done, mut result) = (jobs.len() - todo.len(), Ok(()));
    let one = |piece: u64| {
        let job = todo[usize::try_from(piece).unwrap_or(usize::MAX)];
        (job, lifeguard::play(job))
    };
    work(todo.len() as u64, threads, stop, &one, &mut |(job, sample)| {
        if let Err(error) = book.add(job, sample) {
            result = Err(error);
            stop.store(true, Ordering::Relaxed);
        }
        done += 1;
        each(done);
    });
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_has_as_many_runs_as_the_paper() {
        let plan = Plan::whole(0..REPETITIONS, vec![ROWS[0]], Model::ActorGate);
        let (once, again): (Vec<Job>, Vec<Job>) = plan.jobs().into_iter().partition(|job| job.interval_ms.is_none());
        assert_eq!((once.len(), again.len()), (540, 4_320));
    }

    #[test]
    fn rows_are_compared_under_the_same_anomalies_and_no_two_runs_of_a_row_are_alike() {
        let plan = Plan::whole(0..2, vec![ROWS[0], ROWS[4]], Model::ActorGate);
        let (one, other): (Vec<Job>, Vec<Job>) = plan.jobs().into_iter().partition(|job| job.row == ROWS[0]);
        let seeds = |jobs: &[Job]| jobs.iter().map(Job::seed).collect::<std::collections::BTreeSet<u64>>();
        assert_eq!(seeds(&one), seeds(&other));
        assert_eq!(seeds(&one).len(), one.len());
    }
}
