//! Serf.
pub mod tags;
