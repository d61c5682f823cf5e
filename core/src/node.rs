//! The node.

use alloc::vec::Vec;
use core::fmt;

use crate::config::{Config, ConfigError};
use crate::event::MemberInfo;
use crate::identity::Interner;
use crate::io::{Deadline, Input, Output, Saved};
use crate::lamport::LamportTime;
use crate::rng::Seed;
use crate::time::Time;
use crate::types::Incarnation;
use crate::wire::SwimState;

/// A member of a cluster, as a pure function of its inputs.
pub struct Node;

/// A member as [`Node::members`] lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberView {
    /// What events show of it too.
    pub info: MemberInfo,
    /// Its last known incarnation.
    pub incarnation: Incarnation,
    /// What the failure detector believes of it; `None`: it has forgotten the member.
    pub state: Option<SwimState>,
    /// Lamport time of its last intent.
    pub status_ltime: LamportTime,
}

/// Numbers about a node (rpc.md 6, stats).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// All members, failed and left ones too.
    pub members: usize,
    /// Members that failed.
    pub failed: usize,
    /// Members that left.
    pub left: usize,
    /// Local health: 0 is well.
    pub health_score: u8,
    /// The member clock.
    pub member_time: LamportTime,
    /// The event clock.
    pub event_time: LamportTime,
    /// The query clock.
    pub query_time: LamportTime,
    /// Intents that wait to be gossiped.
    pub intent_queue: usize,
    /// User events that wait to be gossiped.
    pub event_queue: usize,
    /// Queries that wait to be gossiped.
    pub query_queue: usize,
    /// Whether packets are encrypted.
    pub encrypted: bool,
    /// Packets from outside that could not be used.
    pub rejected: u64,
}

/// An invariant that does not hold (protocol.md 3.1): a defect of the core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(pub alloc::string::String);

/// Why a checkpoint cannot be restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreError;
impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes are no checkpoint of this version")
    }
}

impl Node {
    /// Makes a node.
    pub fn new(config: Config, seed: Seed, at: Time, saved: Saved) -> Result<Self, ConfigError> { let _ = (config, seed, at, saved); unimplemented!() }
    /// Handles one input.
    pub fn handle(&mut self, input: Input<'_>) -> Vec<Output> { let mut out = Vec::new(); self.handle_into(input, &mut out); out }
    /// Same, into the caller's Vec.
    pub fn handle_into(&mut self, input: Input<'_>, out: &mut Vec<Output>) { let _ = (input, out); unimplemented!() }
    /// Next deadline.
    pub fn next_deadline(&self) -> Option<Deadline> { unimplemented!() }
    /// Whole state.
    pub fn checkpoint(&self) -> Vec<u8> { unimplemented!() }
    /// Restore.
    pub fn restore(bytes: &[u8]) -> Result<Self, RestoreError> { Self::restore_in(bytes, Interner::default()) }
    /// Restore sharing identities with others of the process.
    pub fn restore_in(bytes: &[u8], interner: Interner) -> Result<Self, RestoreError> { let _ = (bytes, interner); unimplemented!() }
    /// Every member, sorted by name.
    pub fn members(&self) -> Vec<MemberView> { unimplemented!() }
    /// Numbers.
    pub fn stats(&self) -> Stats { unimplemented!() }
    /// The configuration.
    pub fn config(&self) -> &Config { unimplemented!() }
    /// Checks the invariants of protocol.md 3.1.
    pub fn check(&self) -> Result<(), Violation> { unimplemented!() }
}
