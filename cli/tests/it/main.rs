//! The built binary as a user, a script or an init system sees it.

mod agent;
mod agents;
mod client;
mod commands;
mod discovery;
mod encryption;
mod fake_agent;
mod interface;
mod interop;
mod interop_serf;
mod kept;
mod killed;
mod mixed;
mod mixed_changes;
mod monitor;
mod msgpack;
mod namespaces;
mod noise;
mod play;
mod process;
mod program;
mod serf;
mod signals;
mod start;
mod transcripts;
mod words;
