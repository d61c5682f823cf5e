//! Tests of whole nodes.

mod cluster;
mod go_regex;
mod harness;
