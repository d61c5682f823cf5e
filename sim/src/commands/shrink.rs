//! `sim shrink`.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use indicatif::ProgressBar;
use villein_sim::shrink::{ShrinkError, shrink};

/// Find the smallest scenario that still fails in the same way, and print it.
///
/// Steps, nodes, settings, time and values are taken away as long as the same rule is broken or the same expectation not
/// met. Exit codes: 0 there is a result; 1 the scenario does not fail; 2 bad usage or scenario.
#[derive(clap::Args)]
pub(crate) struct Shrink {
    /// The scenario that fails.
    file: PathBuf,
    /// Play this seed and not the scenario's own.
    #[arg(long)]
    seed: Option<u64>,
    /// Write the result there and not to stdout.
    #[arg(long)]
    out: Option<PathBuf>,
}

impl Shrink {
    pub(crate) fn execute(self) -> ExitCode {
        let file = self.file.display().to_string();
        let text = match std::fs::read_to_string(&self.file) {
            Ok(text) => text,
            Err(error) => {
                eprintln!("{file}: cannot be read: {error}");
                return ExitCode::from(2);
            }
        };
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        let shrunk = shrink(&file, &text, self.seed, &|plays, steps, nodes| {
            bar.set_message(format!("{plays} plays: {steps} steps, {nodes} nodes"));
            bar.tick();
        });
        bar.finish_and_clear();
        match shrunk {
            Ok(shrunk) => match &self.out {
                None => {
                    super::print(&shrunk.text);
                    ExitCode::SUCCESS
                }
                Some(path) => match std::fs::write(path, &shrunk.text) {
                    Ok(()) => ExitCode::SUCCESS,
                    Err(error) => {
                        eprintln!("{}: cannot be written: {error}", path.display());
                        ExitCode::from(2)
                    }
                },
            },
            Err(ShrinkError::Passes) => {
                eprintln!("{file}: the scenario does not fail with this seed, so there is nothing to shrink");
                ExitCode::FAILURE
            }
            Err(ShrinkError::Scenario(error)) => {
                eprintln!("{error}");
                ExitCode::from(2)
            }
        }
    }
}
