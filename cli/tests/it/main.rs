//! The built binary as a user, a script or an init system sees it.

mod agent;
mod client;
mod fake_agent;
mod monitor;
mod msgpack;
mod program;
mod serf;
