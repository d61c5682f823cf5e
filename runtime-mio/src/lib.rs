//! The driver of `villein-core` for real hosts: sockets, name resolution, signals, the RPC server, the log.
//!
//! One thread, one poll loop: readiness becomes one input of the core, its outputs are performed, the loop sleeps until
//! the core's next deadline. Looking up a name can block, so it is done by a thread that only lives while there is
//! a name to look up. No rule of the protocol is in this crate.

#![deny(clippy::print_stdout)]

pub mod address;
mod agent;
mod answers;
mod clock;
pub mod durable;
mod event_script;
mod files;
mod handlers;
mod invocation;
mod lifecycle;
mod local_time;
mod log_ring;
mod network;
mod options;
mod perform;
mod requests;
mod resolver;
mod rpc_server;
mod script;
mod signals;
mod sockets;
mod stats;

mod tcp;
mod tokens;
mod udp;
mod views;

pub use agent::Agent;
pub use event_script::{EventKind, EventScript, InvalidEventScript};
pub use files::{FileOptions, KeptFile};
pub use log_ring::Sink;
pub use options::{AgentOptions, Control, Controls, Exit, LiveOptions, Reload, Reloader, StartError};
pub use signals::{Signal, die_of_broken_pipe};
