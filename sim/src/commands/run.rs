//! `sim run`.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use villein_sim::history::{History, NODES_MAX};
use villein_sim::html::{self, Ending};
use villein_sim::play::{Outcome, play_recorded};
use villein_sim::report;
use villein_sim::scenario::Scenario;

use super::progress::Progress;
use crate::Format;

/// Play one scenario with one seed, twice unless it says once, and judge it.
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
    /// Write a page there, too, on which one can see who believed what of whom: one HTML file that needs nothing else.
    #[arg(long, value_name = "OUT.html")]
    report: Option<PathBuf>,
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
        let mut history = match self.history(&scenario) {
            Ok(history) => history,
            Err(problem) => {
                eprintln!("{problem}");
                return ExitCode::from(2);
            }
        };
        // A panic leaves nothing behind that anybody would use again, but the history.
        let played = catch_unwind(AssertUnwindSafe(|| play(&scenario, seed, history.as_mut())));
        let code = match &played {
            Ok(outcome) => {
                super::print(&match self.format {
                    Format::Text => report::text(&scenario, outcome),
                    Format::Json => report::json(&scenario, outcome),
                });
                outcome.verdict.exit_code()
            }
            Err(_) => {
                eprintln!("panicked with seed {seed}; to repeat it:\n{}", report::repeat(&scenario, seed));
                101
            }
        };
        if let (Some(path), Some(history)) = (&self.report, &history) {
            let ending = match &played {
                Ok(outcome) => Ending::Played(outcome),
                Err(panic) => Ending::Panicked(words(panic.as_ref())),
            };
            if let Err(error) = std::fs::write(path, html::page(&scenario, seed, history, ending)) {
                eprintln!("{}", unwritable(path, &error));
                return ExitCode::from(2);
            }
        }
        ExitCode::from(code)
    }

    /// Where a report is wanted, the place for what it shows; that the file can be written is better known before the run.
    fn history(&self, scenario: &Scenario) -> Result<Option<History>, String> {
        let Some(path) = &self.report else { return Ok(None) };
        let history = History::new(scenario).ok_or_else(|| {
            format!("--report shows up to {NODES_MAX} nodes; {} has {}", scenario.file, scenario.nodes.len())
        })?;
        let open = std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(path);
        open.map_err(|error| unwritable(path, &error))?;
        Ok(Some(history))
    }
}

fn unwritable(path: &Path, error: &std::io::Error) -> String {
    format!("{}: the report cannot be written: {error}", path.display())
}

/// What a panic says.
fn words(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word")
}

fn play(scenario: &Scenario, seed: u64, history: Option<&mut History>) -> Outcome {
    let length = scenario.until / 1_000_000_000;
    let all = length * u64::from(scenario.plays);
    let progress = Progress::new(all, "simulated seconds");
    let outcome = play_recorded(scenario, seed, history, &|play, now| {
        let done = u64::from(play) * length + now / 1_000_000_000;
        progress.reach(done, || format!("{done} of {all} simulated seconds"));
    });
    progress.finish();
    outcome
}
