//! Tests of whole nodes, of the encodings, and of captured vectors.

mod bounds;
mod cluster;
mod contract;
mod go_regex;
mod harness;
mod keyring;
mod native;
mod probe;
mod random_inputs;
mod rules_alive;
mod rules_suspect_dead;
mod serf;
mod tags;
