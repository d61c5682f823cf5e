//! What users of a node subscribe to.

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::types::{GossipAddr, Name, Tags, Versions};

/// Something that happened in the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// Members changed; several in one event where events are coalesced.
    Members {
        /// What happened to them.
        kind: MemberEventKind,
        /// The members, sorted by name where there are several.
        members: Vec<MemberInfo>,
    },
    /// The node must not go on: what the driver must do next is stop.
    Shutdown(ShutdownReason),
}

/// Why a node asks its driver to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShutdownReason {
    /// The retry-join targets were tried as often as the configuration allows.
    RetryJoinExhausted,
}

/// What happened to a member, in the order in which coalesced events are handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum MemberEventKind {
    /// It came or came back.
    Join,
    /// It left on purpose or was forced to.
    Leave,
    /// It was found failed.
    Failed,
    /// Its address, tags or versions changed.
    Update,
    /// It was forgotten.
    Reap,
}

/// The name by which handlers and RPC clients know the event.
impl fmt::Display for MemberEventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Join => "member-join",
            Self::Leave => "member-leave",
            Self::Failed => "member-failed",
            Self::Update => "member-update",
            Self::Reap => "member-reap",
        })
    }
}

/// A member's status as Serf shows it (protocol.md 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Status {
    /// Not known to Serf.
    None,
    /// A member.
    Alive,
    /// About to leave.
    Leaving,
    /// Gone on purpose.
    Left,
    /// Gone without a word.
    Failed,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "none",
            Self::Alive => "alive",
            Self::Leaving => "leaving",
            Self::Left => "left",
            Self::Failed => "failed",
        })
    }
}

/// A member as events and listings show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberInfo {
    /// Its name.
    pub name: Name,
    /// Its gossip address, in the bytes in which it came.
    pub addr: GossipAddr,
    /// Its tags.
    pub tags: Tags,
    /// Its status.
    pub status: Status,
    /// Its version bytes.
    pub versions: Versions,
}
