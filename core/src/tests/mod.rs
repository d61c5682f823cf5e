//! Tests of whole nodes, of the encodings, and of captured vectors.

mod bounds;
mod cluster;
mod contract;
mod coordinate;
mod go_regex;
mod harness;
mod keyring;
mod msgpack;
mod msgpack_laws;
mod native;
mod probe;
mod random_inputs;
mod rpc_client;
mod rpc_junk;
mod rpc_replies;
mod rpc_rules;
mod rpc_server;
mod rpc_session;
mod rpc_vectors;
mod rules_alive;
mod rules_suspect_dead;
mod serf;
mod snapshot;
mod tags;
