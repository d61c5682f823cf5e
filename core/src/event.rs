//! What users of a node subscribe to.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::lamport::LamportTime;
use crate::serf::tags;
use crate::types::{GossipAddr, Meta, Name, QueryId, Tags, Versions};
pub use crate::wire::UserEvent;

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
    /// Somebody has told everybody something.
    User(UserEvent),
    /// Somebody asks, and an answer is welcome: [`crate::command::Command::Respond`].
    Query(QueryEvent),
    /// The node must not go on: what the driver must do next is stop.
    Shutdown(ShutdownReason),
}

/// What tells a query from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct QueryKey {
    /// When it was asked, on the query clock.
    pub ltime: LamportTime,
    /// Random.
    pub id: QueryId,
}

/// A query that may be answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryEvent {
    /// What an answer must name.
    pub key: QueryKey,
    /// Its name.
    pub name: Box<[u8]>,
    /// What it carries.
    pub payload: Box<[u8]>,
}

/// Why a node asks its driver to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShutdownReason {
    /// The retry-join targets were tried as often as the configuration allows.
    RetryJoinExhausted,
    /// Another node has the same name, and most members know the name by the other.
    NameConflict,
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
    /// Its metadata. Read, the tags take up to forty times the room, and an event may be about thousands of members.
    pub meta: Meta,
    /// Its status.
    pub status: Status,
    /// Its version bytes.
    pub versions: Versions,
}

impl MemberInfo {
    /// Its tags, read from its metadata.
    pub fn tags(&self) -> Tags {
        tags::decode(&self.meta)
    }
}
