//! The program `sim`.

use std::io::{IsTerminal as _, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use villein_sim::play::{Outcome, play_twice};
use villein_sim::report;
use villein_sim::scenario::Scenario;

/// Plays clusters of Villein nodes in virtual time.
#[derive(Parser)]
#[command(name = "sim", version, about)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Play one scenario with one seed, twice, and judge it.
    ///
    /// Exit codes: 0 as expected; 1 an expectation or a rule failed; 2 bad usage or scenario; 3 the two plays differ;
    /// 101 the core panicked.
    Run {
        /// The scenario; its format is described in scenarios/README.md.
        file: PathBuf,
        /// Play this seed and not the scenario's own.
        #[arg(long)]
        seed: Option<u64>,
        /// What to write.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// A timeline for people.
    Text,
    /// One JSON object a line, each with `t_ns` and `kind`.
    Json,
}

fn main() -> ExitCode {
    let Command::Run { file, seed, format } = Args::parse().command;
    let scenario = match Scenario::load(&file) {
        Ok(scenario) => scenario,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let seed = seed.unwrap_or(scenario.seed);
    // A panic leaves nothing behind that anybody would use again.
    match catch_unwind(AssertUnwindSafe(|| play(&scenario, seed))) {
        Ok(outcome) => {
            let text = match format {
                Format::Text => report::text(&scenario, &outcome),
                Format::Json => report::json(&scenario, &outcome),
            };
            // A reader that has seen enough may close the pipe: that is no failure of the run.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::from(outcome.verdict.exit_code())
        }
        Err(_) => {
            eprintln!("panicked with seed {seed}; to repeat it:\n{}", report::repeat(&scenario, seed));
            ExitCode::from(101)
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
