//! `sim sweep`.

use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use villein_sim::sweep::{Plan, Played, Tally, sweep};

use super::progress::Progress;
use crate::Format;

/// Play the weather of many seeds on all cores: each seed draws a cluster, its network and what goes wrong; then the faults
/// end and the cluster must find together.
///
/// A seed that fails leaves its scenario in --out, to be played by `sim run` and shrunk by `sim shrink`. Ctrl-C ends the
/// sweep with what is known so far and how to go on. Exit codes: 0 no seed failed; 1 one did; 2 bad usage.
#[derive(clap::Args)]
pub(crate) struct Sweep {
    /// Seeds to play, the last one not included.
    #[arg(long, value_name = "A..B", default_value = "0..1000", value_parser = seeds)]
    seeds: Range<u64>,
    /// Play the i-th of n parts, from 0 on: for many machines.
    #[arg(long, value_name = "I/N", default_value = "0/1", value_parser = shard)]
    shard: (u64, u64),
    /// End after this time: 90s, 10m, 2h.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    time_limit: Option<Duration>,
    /// End at the first seed that fails.
    #[arg(long)]
    fail_fast: bool,
    /// Threads; as many as there are cores by default.
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Where scenarios that fail are written.
    #[arg(long, value_name = "DIR", default_value = "sweep-failures")]
    out: PathBuf,
    /// What to write.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    super::range(text, "0..1000")
}

fn shard(text: &str) -> Result<(u64, u64), String> {
    let parts = text.split_once('/').and_then(|(part, parts)| Some((part.parse().ok()?, parts.parse().ok()?)));
    parts
        .filter(|(part, parts)| part < parts)
        .ok_or_else(|| "a part below their number is wanted: 0/4 to 3/4".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    villein_sim::time(text).map(Duration::from_nanos)
}

impl Sweep {
    pub(crate) fn execute(self) -> ExitCode {
        let stop = super::interrupted();
        let plan = Plan {
            seeds: self.seeds.clone(),
            shard: self.shard,
            jobs: super::threads(self.jobs),
            out: self.out.clone(),
        };
        let progress = Progress::new((self.seeds.end - self.seeds.start).div_ceil(self.shard.1), "seeds");
        let swept = sweep(&plan, &stop, &|played: &Played, known: &Tally| {
            if self.format == Format::Json {
                super::print(&format!("{}\n", played.json()));
            }
            if let Some(failure) = &played.failure {
                progress.say(&format!("seed {} failed: {failure}", played.seed));
            }
            progress.reach(known.played, || {
                let seconds = progress.elapsed().as_secs();
                format!("{} seeds, {} failed, {seconds} s", known.played, known.failed.len())
            });
            if self.fail_fast && played.failure.is_some() {
                stop.store(true, Ordering::Relaxed);
            }
            if self.time_limit.is_some_and(|limit| progress.elapsed() >= limit) {
                stop.store(true, Ordering::Relaxed);
            }
        });
        progress.finish();
        match swept {
            Ok(tally) => {
                self.report(&tally, progress.elapsed());
                if tally.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
            }
            Err(error) => {
                eprintln!("{}: cannot be written: {error}", self.out.display());
                ExitCode::from(2)
            }
        }
    }

    fn report(&self, tally: &Tally, took: Duration) {
        if self.format == Format::Json {
            return super::print(&format!("{}\n", tally.json()));
        }
        let mut text = format!("seeds     {} played, {} failed\n", tally.played, tally.failed.len());
        text.push_str(&format!("faults    {}\n", tally.faults.line()));
        let simulated = tally.simulated_ns / 1_000_000_000;
        text.push_str(&format!("simulated {simulated} s, {} inputs, in {} s\n", tally.inputs, took.as_secs()));
        for (seed, failure) in &tally.failed {
            let file = self.out.join(format!("seed-{seed}.toml"));
            text.push_str(&format!("seed {seed}: {failure}\n  sim run {0}\n  sim shrink {0}\n", file.display()));
        }
        if let Some(next) = tally.next {
            let shard = if self.shard == (0, 1) {
                String::new()
            } else {
                format!(" --shard {}/{}", self.shard.0, self.shard.1)
            };
            text.push_str(&format!("ended early; to go on: sim sweep --seeds {next}..{}{shard}\n", self.seeds.end));
        }
        super::print(&text);
    }
}
