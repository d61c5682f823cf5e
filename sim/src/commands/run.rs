//! `sim run`.

use std::io::IsTerminal as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use villein_sim::play::{Outcome, play_twice};
use villein_sim::report;
use villein_sim::scenario::Scenario;

use crate::Format;

/// Play one scenario with one seed, twice, and judge it.
///
/// Exit codes: 0 as expected; 1 an expectation or a rule failed; 2 bad usage or scenario; 3 the two plays differ;
/// 101 the core panicked.
#[derive(clap::Args)]
pub(crate) struct Run {
    /// The scenario; its format is described in scenarios/README.md.
    file: PathBuf,
    /// Play this seed and not the scenario's own.
    #[arg(long)]
    seed: Option<u64>,
    /// What to write.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

impl Run {
    pub(crate) fn execute(self) -> ExitCode {
        let scenario = match Scenario::load(&self.file) {
            Ok(scenario) => scenario,
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::from(2);
            }
        };
        let seed = self.seed.unwrap_or(scenario.seed);
        // A panic leaves nothing behind that anybody would use again.
        match catch_unwind(AssertUnwindSafe(|| play(&scenario, seed))) {
            Ok(outcome) => {
                super::print(&match self.format {
                    Format::Text => report::text(&scenario, &outcome),
                    Format::Json => report::json(&scenario, &outcome),
                });
                ExitCode::from(outcome.verdict.exit_code())
            }
            Err(_) => {
                eprintln!("panicked with seed {seed}; to repeat it:\n{}", report::repeat(&scenario, seed));
                ExitCode::from(101)
            }
        }
    }
}

fn play(scenario: &Scenario, seed: u64) -> Outcome {
    if !std::io::stderr().is_terminal() {
        return play_twice(scenario, seed, &|_, _| {});
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} simulated seconds")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let length = scenario.until / 1_000_000_000;
    let bar = ProgressBar::new(length * 2).with_style(style);
    let outcome = play_twice(scenario, seed, &|play, now| {
        bar.set_position(u64::from(play) * length + now / 1_000_000_000);
    });
    bar.finish_and_clear();
    outcome
}
