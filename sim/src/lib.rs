//! Villein's simulator: whole clusters of [`villein_core::Node`]s in virtual time, on a network that misbehaves.
//!
//! A run is a [`Scenario`](scenario::Scenario) and a seed; [`play_twice`](play::play_twice) gives its
//! [`Outcome`](play::Outcome), the same on every machine. The nodes are the very code of production: the simulator
//! uses nothing of them but what a driver uses, and the read-only getters.
//!
//! - `scenario` reads the file into a checked form; every error names file and line.
//! - `world` is the queue of happenings and the one place where a node is handed its input; `drive`
//!   performs what comes out; `host` is one process with its disk and clock, `process` its life, `network` the links, `streams` the connections, `script` the scenario's steps.
//! - `checkers` holds what must hold at every step, `judge` what the scenario expects, `trace` the digest.
//! - `experiment` repeats the published measurements on worlds that are counted and not checked.
//! - `tune` says what an agent's configuration comes to.
//! - `replay` lets a recorded agent live again.
//! - `timeline` is what happened, `report` writes what a person or a program reads.
//! - `history` is what a play leaves for the page that `html` makes; it looks on and changes nothing.
//!
//! Randomness comes from one ChaCha stream per purpose of the seed, in integers; maps are ordered.

#![deny(clippy::float_arithmetic, clippy::print_stdout)]

mod agree;
mod bringup;
pub mod checkers;
mod disk;
mod draw;
mod drive;
pub mod experiment;
pub mod faults;
mod forge;
pub mod history;
mod host;
pub mod html;
mod judge;
mod network;
mod operate;
pub mod play;
mod process;
mod queue;
pub mod replay;
pub mod report;
pub mod scenario;
mod script;
pub mod shrink;
pub mod speed;
mod streams;
pub mod sweep;
#[cfg(test)]
mod theory;
pub mod timeline;
mod trace;
pub mod tune;
mod units;
mod watch;
pub mod weather;
mod workers;
mod world;

pub use judge::Unmet;
pub use trace::Digest;
pub use units::{Chance, Delay, Seconds};

/// Reads a time such as `90s` or `1h30m`, in nanoseconds.
///
/// # Errors
/// What would be right.
pub fn time(text: &str) -> Result<u64, String> {
    units::nanos(text)
}
