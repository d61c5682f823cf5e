//! Tests of whole nodes.

mod cluster;
mod harness;
