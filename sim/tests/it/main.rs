//! The simulator from outside: shipped scenarios, determinism, faults that fire, checkers that bite.

mod bite;
mod determinism;
mod experiment;
mod faults;
mod replay;
mod report;
mod scenarios;
mod shrink;
mod sweep;
mod tune;

use std::path::PathBuf;

use villein_sim::play::{Outcome, play_twice};
use villein_sim::scenario::Scenario;

/// The directory of the shipped scenarios.
fn shipped() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../scenarios")
}

/// A shipped scenario, under the name by which its users call it.
fn load(name: &str) -> Scenario {
    let text = std::fs::read_to_string(shipped().join(format!("{name}.toml"))).expect("the scenario is there");
    Scenario::parse(&format!("scenarios/{name}.toml"), &text).unwrap_or_else(|error| panic!("{error}"))
}

/// A scenario of this text, played with its own seed.
fn play(text: &str) -> Outcome {
    let scenario = Scenario::parse("test.toml", text).unwrap_or_else(|error| panic!("{error}"));
    play_twice(&scenario, scenario.seed, &|_, _| {})
}
