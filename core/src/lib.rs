//! Villein's core: cluster membership, failure detection and dissemination as a pure state machine.
//!
//! [`Node::handle`](node::Node::handle) takes one [`Input`] and returns every [`Output`] that
//! follows from it. Nothing else goes in: no clock, no environment, no file, no socket, no global random number.
//! Same configuration, seed and inputs give the same bytes out, on every machine.

#![no_std]
#![deny(clippy::float_arithmetic, clippy::print_stdout)]
#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod broadcasts;
pub mod command;
pub mod config;
pub mod coordinate;
mod ctx;
pub mod event;
pub mod go_quote;
pub mod go_regex;
pub mod identity;
pub mod io;
mod junk;
pub mod keyring;
pub mod lamport;
pub mod limits;
pub mod log;
pub mod map;
pub mod msgpack;
pub mod node;
mod queues;
pub mod record;
pub mod rng;
pub mod rpc;
pub mod scale;
pub mod serf;
pub mod snapshot;
pub mod swim;
pub mod time;
pub mod timers;
pub mod types;
pub mod wire;

pub use config::Config;
pub use io::{Activity, Deadline, Input, Output, Saved, Stimulus};
pub use node::Node;
pub use rng::Seed;
pub use time::Time;

#[cfg(test)]
mod tests;
