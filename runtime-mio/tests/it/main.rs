//! Agents on loopback addresses: clusters, RPC sessions by bytes, starts that fail, and ends.

mod client;
mod cluster;
mod ending;
mod files;
mod handler_warnings;
mod handlers;
mod queries;
mod recording;
mod rpc;
mod start;
mod support;
mod syslog;
mod telemetry;
