//! The program `sim`.

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

mod commands;

/// Plays clusters of Villein nodes in virtual time.
#[derive(Parser)]
#[command(name = "sim", version, about)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(commands::run::Run),
    Sweep(commands::sweep::Sweep),
    Shrink(commands::shrink::Shrink),
    Replay(commands::replay::Replay),
    Tune(commands::tune::Tune),
    Experiment(commands::experiment::Experiment),
    Speed(commands::speed::Speed),
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON object a line, each with a `kind`.
    Json,
}

fn main() -> ExitCode {
    match Args::parse().command {
        Command::Run(run) => run.execute(),
        Command::Sweep(sweep) => sweep.execute(),
        Command::Shrink(shrink) => shrink.execute(),
        Command::Replay(replay) => replay.execute(),
        Command::Tune(tune) => tune.execute(),
        Command::Experiment(experiment) => experiment.execute(),
        Command::Speed(speed) => speed.execute(),
    }
}
