//! `sim tune`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use villein_sim::tune::{Plan, json, measurements, read, text, tune};

use super::progress::Progress;
use crate::Format;

/// Say what an agent's configuration comes to in a cluster of this size: detection, false alarms, cost, events, healing.
///
/// Ctrl-C ends it with what is known so far. Exit codes: 0 measured; 2 bad usage or configuration.
#[derive(clap::Args)]
pub(crate) struct Tune {
    /// The configuration file of an agent, in JSON.
    config: PathBuf,
    /// How many nodes the cluster has.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(2..=2000))]
    nodes: u32,
    /// How many packets are lost.
    #[arg(long, default_value = "0%")]
    loss: String,
    /// How long a packet travels.
    #[arg(long, default_value = "0.2ms..2ms")]
    delay: String,
    /// How many clusters each figure is measured in.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Threads; as many as there are cores by default.
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// What to write.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

impl Tune {
    pub(crate) fn execute(self) -> ExitCode {
        let file = self.config.display();
        let settings = std::fs::read_to_string(&self.config).map_err(|error| format!("cannot be read: {error}"));
        let settings = match settings.and_then(|text| read(&text)) {
            Ok(settings) => settings,
            Err(problem) => {
                problem.lines().for_each(|line| eprintln!("{file}: {line}"));
                return ExitCode::from(2);
            }
        };
        let (loss, delay) = (self.loss.clone(), self.delay.clone());
        let plan = Plan { nodes: self.nodes, loss, delay, settings, seeds: self.seeds };
        let stop = super::interrupted();
        let progress = Progress::new(measurements(&plan), "measurements");
        let found = tune(&plan, super::threads(self.jobs), &stop, &|done| {
            progress.reach(done as u64, || format!("{done} of {} measurements", measurements(&plan)));
        });
        progress.finish();
        match found {
            Ok(found) => {
                super::print(&match self.format {
                    Format::Text => text(&plan, &found),
                    Format::Json => format!("{}\n", json(&plan, &found)),
                });
                if stop.load(Ordering::Relaxed) {
                    eprintln!("ended early: this is what is known so far");
                }
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("{file}: {}", error.problem);
                ExitCode::from(2)
            }
        }
    }
}
