//! The driver of `villein-core` for real hosts: sockets, name resolution, signals, files, event
//! handlers, the RPC server, the log.
//!
//! One thread, one poll loop: readiness becomes one input of the core, its outputs are performed, the loop sleeps until
//! the core's next deadline. What can block has threads that know nothing of the core: one looks up names and only
//! lives while there is a name to look up, one writes files, one the output, and one waits for the script of an event
//! handler, each only while there is one; one finds agents by multicast DNS, one feeds each server of measurements.
//! No rule of the protocol is in this crate.

#![deny(clippy::print_stdout)]

pub mod address;
mod agent;
mod answers;
mod clock;
pub mod durable;
mod event_script;
mod files;
mod handler_warnings;
mod handlers;
mod invocation;
mod lifecycle;
mod limits;
mod local_time;
mod log_pace;
mod log_ring;
mod log_text;
mod mdns;
mod network;
mod options;
mod outlet;
mod perform;
mod recorder;
mod requests;
mod resolver;
mod rpc_server;
mod rpc_socket;
mod script;
mod signals;
mod sockets;
mod stats;
mod syslog;
mod tcp;
mod telemetry;
mod tokens;
mod udp;
mod views;

pub use agent::Agent;
pub use event_script::{EventKind, EventScript, InvalidEventScript};
pub use files::{FileOptions, KeptFile};
pub use limits::HANDLER_CONCURRENCY_MAX;
pub use mdns::{MdnsOptions, reread_mdns};
pub use options::{AgentOptions, Control, Controls, Exit, LiveOptions, Reload, Reloader, StartError};
pub use outlet::Sink;
pub use recorder::RecordOptions;
pub use rpc_socket::connect_unix;
pub use signals::{Signal, die_of_broken_pipe};
pub use syslog::{SYSLOG_PATHS, Syslog, SyslogError};
pub use telemetry::TelemetryOptions;
