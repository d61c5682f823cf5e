//! Tests of whole nodes.

mod cluster;
mod contract;
mod harness;
mod probe;
mod rules_alive;
mod rules_suspect_dead;
mod serf;
