//! Log records as values. `Display` gives upstream's text behind time and level; the driver writes those.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::command::{JoinError, JoinErrors};
use crate::event::QueryKey;
use crate::snapshot::Notice;
use crate::types::{GoList, GossipAddr, JoinTarget, Name, NameError, socket_addr};
use crate::wire::{Encoding, WireError};

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Level {
    /// Facts of single packets.
    Trace,
    /// For those who debug.
    Debug,
    /// For those who follow.
    Info,
    /// Worth reading at three in the morning.
    Warn,
    /// Something was lost or refused.
    Err,
}

impl Level {
    /// Every level, the least first.
    pub const ALL: [Self; 5] = [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Err];

    /// The level of that name, in capitals.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }

    /// Its name, in capitals.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Err => "ERR",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One fact for the log (texts: cli.md 3 and 8).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Log {
    /// A member came.
    MemberJoin(Name, GossipAddr),
    /// A member left.
    MemberLeave(Name, GossipAddr),
    /// A failed member was turned into one that left.
    MemberLeaveForced(Name, GossipAddr),
    /// A member failed.
    MemberFailed(Name, GossipAddr),
    /// A member changed.
    MemberUpdate(Name),
    /// A member was forgotten.
    MemberReap(Name),
    /// A probe failed.
    Suspect(Name),
    /// A suspicion ran out.
    MarkFailed(Name, u8),
    /// The node refuted an accusation of the named accuser.
    Refute(Accusation, Name),
    /// Only the stream ping came through.
    TcpOnly(Name),
    /// A ping was not answered in time.
    PingFailed(Name),
    /// Two addresses claim one name.
    Conflict {
        /// The name.
        name: Name,
        /// The address that we keep.
        mine: GossipAddr,
        /// The other one.
        theirs: GossipAddr,
        /// State of the member that we keep, in the wire's number.
        state: u8,
    },
    /// The layer above is told of a conflict between others.
    NameConflict(Name, GossipAddr, GossipAddr),
    /// Another node claims our own name.
    OwnNameConflict(GossipAddr, bool),
    /// A push/pull begins.
    PushPullStart(Name, #[serde(serialize_with = "socket_addr::serialize")] SocketAddr),
    /// A push/pull did not work.
    PushPullFailed(#[serde(serialize_with = "socket_addr::serialize")] SocketAddr, String),
    /// A stream was accepted.
    StreamFrom(#[serde(serialize_with = "socket_addr::serialize")] SocketAddr),
    /// Something that came in could not be used.
    Rejected(#[serde(serialize_with = "socket_addr::serialize")] SocketAddr, WireError),
    /// What came on a stream could not be used.
    StreamRejected(#[serde(serialize_with = "socket_addr::serialize")] SocketAddr, WireError),
    /// Packets from outside were dropped since the last such line.
    RejectedMore(u64),
    /// So many parts of a hundred of the messages that may be sealed with the primary key have been, by all members.
    KeyWorn(u64),
    /// A member was ignored because of its name.
    BadName(NameError),
    /// A member was ignored because it does not understand the native encoding, which is pinned.
    NotNative(Name),
    /// Another encoding is spoken from now on; because of that member, if memberlist's.
    Spoken(Encoding, Option<Name>),
    /// A push/pull entry was skipped because of its versions.
    Incompatible(Name),
    /// A message kind was received, about that member or of that name.
    Message(&'static str, Name),
    /// A query's pattern cannot be compiled, with the reason in Go's words.
    BadFilter(Box<[u8]>, String),
    /// A word came on a query that does not run.
    StrayResponse(Name, QueryKey),
    /// A word was to be passed on to an address that is no member's.
    RelayRefused(Name, GossipAddr),
    /// A query of the cluster's own could not be answered or asked, by its name and with the reason.
    InternalQueryFailed(Box<[u8]>, String),
    /// A query of the cluster's own that nobody knows.
    UnknownInternalQuery(Box<[u8]>),
    /// A query about our keys, by its name.
    KeyQuery(&'static str),
    /// A query about our keys, which we have none of.
    NoKeyring(&'static str),
    /// What a query of the cluster's own wants was not done, by what that is and with the reason.
    TaskFailed(&'static str, String),
    /// The cluster asks who bears a name that is not ours.
    ConflictQuery(Name),
    /// Members that did not say what they did with their keys.
    KeysUnanswered(Vec<Name>),
    /// The vote about our name was ours: so many of so many.
    ConflictWon(u32, u32),
    /// The vote about our name was the other's.
    ConflictLost(u32, u32),
    /// Nobody could say whose our name is.
    ConflictUndecided,
    /// A member's coordinate cannot be used, with the reason.
    CoordinateRejected(Name, String),
    /// A member was pruned.
    MemberReapForced(Name, GossipAddr),
    /// A member that was to be pruned still answers.
    PruneRefused(Name),
    /// Something about the snapshot file as it was found.
    Snapshot(Notice),
    /// There was more to say about the snapshot file.
    SnapshotMore(u64),
    /// A peer of the snapshot is contacted.
    SnapshotPeer(Name, #[serde(serialize_with = "socket_addr::serialize")] SocketAddr),
    /// A peer of the snapshot answered.
    SnapshotRejoined(Name, #[serde(serialize_with = "socket_addr::serialize")] SocketAddr),
    /// A peer of the snapshot did not answer, with the reason.
    SnapshotPeerFailed(Name, #[serde(serialize_with = "socket_addr::serialize")] SocketAddr, String),
    /// No peer of the snapshot answered; after that time they are tried again.
    SnapshotRejoinFailed(Option<Duration>),
    /// The snapshot cannot be written, with the reason.
    SnapshotNotWritten(String),
    /// The snapshot is written again.
    SnapshotWritten,
    /// None of the seeds is alive: they are tried again.
    SeedsGone,
    /// An attempt to reach the retry-join targets begins.
    RetryJoin(bool),
    /// A join begins.
    Joining(Vec<JoinTarget>, bool),
    /// A join reached somebody.
    Joined(u32),
    /// A retry-join reached somebody.
    JoinCompleted(u32),
    /// One target of a join, or one of its addresses, was not reached: others may have been.
    JoinTargetFailed(JoinError),
    /// A join reached nobody.
    JoinFailed(Vec<JoinError>),
    /// A retry-join will be repeated.
    RetryJoinFailed(Vec<JoinError>, Duration),
    /// A retry-join will not be repeated.
    RetryJoinExhausted,
    /// A failed member is contacted again.
    Reconnect(Name, #[serde(serialize_with = "socket_addr::serialize")] SocketAddr),
    /// A failed member did not answer.
    ReconnectFailed(#[serde(serialize_with = "socket_addr::serialize")] SocketAddr, String),
    /// The dice said not to reconnect now.
    ReconnectThrottled,
    /// A member that is leaving still answers and counts as alive again.
    LeavingReverted(Name),
    /// A leave went on although its broadcast was not finished.
    LeaveTimedOut,
    /// A queue is long.
    QueueDepth(&'static str, usize),
    /// A bound was reached and something was dropped.
    Dropped(&'static str, usize),
}

/// Of what a node was accused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Accusation {
    /// An alive message that is not ours.
    Alive,
    /// A suspicion.
    Suspect,
    /// A verdict.
    Dead,
}

impl Log {
    /// How much the record matters.
    pub const fn level(&self) -> Level {
        match self {
            Self::Snapshot(notice) => notice.level(),
            Self::MemberJoin(..)
            | Self::MemberLeave(..)
            | Self::MemberLeaveForced(..)
            | Self::MemberFailed(..)
            | Self::MemberUpdate(_)
            | Self::MemberReap(_)
            | Self::MemberReapForced(..)
            | Self::ConflictWon(..)
            | Self::SnapshotPeer(..)
            | Self::SnapshotRejoined(..)
            | Self::SnapshotWritten
            | Self::SeedsGone
            | Self::Suspect(_)
            | Self::MarkFailed(..)
            | Self::RetryJoin(_)
            | Self::Joining(..)
            | Self::Joined(_)
            | Self::JoinCompleted(_)
            | Self::KeyQuery(_)
            | Self::Reconnect(..) => Level::Info,
            Self::Refute(..)
            | Self::TcpOnly(_)
            | Self::NameConflict(..)
            | Self::Incompatible(_)
            | Self::BadName(_)
            | Self::NotNative(_)
            | Self::JoinTargetFailed(JoinError::Resolve { .. })
            | Self::JoinFailed(_)
            | Self::RetryJoinFailed(..)
            | Self::LeavingReverted(_)
            | Self::LeaveTimedOut
            | Self::QueueDepth(..)
            | Self::BadFilter(..)
            | Self::RelayRefused(..)
            | Self::InternalQueryFailed(..)
            | Self::UnknownInternalQuery(_)
            | Self::KeysUnanswered(_)
            | Self::ConflictLost(..)
            | Self::ConflictUndecided
            | Self::CoordinateRejected(..)
            | Self::PruneRefused(_)
            | Self::SnapshotMore(_)
            | Self::SnapshotRejoinFailed(_)
            | Self::RejectedMore(_)
            | Self::KeyWorn(_)
            | Self::Dropped(..) => Level::Warn,
            Self::PingFailed(_)
            | Self::Spoken(..)
            | Self::PushPullStart(..)
            | Self::StreamFrom(_)
            | Self::Message(..)
            | Self::ConflictQuery(_)
            | Self::StrayResponse(..)
            | Self::JoinTargetFailed(JoinError::Contact { .. })
            | Self::SnapshotPeerFailed(..)
            | Self::ReconnectFailed(..)
            | Self::ReconnectThrottled => Level::Debug,
            Self::Conflict { .. }
            | Self::OwnNameConflict(..)
            | Self::NoKeyring(_)
            | Self::TaskFailed(..)
            | Self::SnapshotNotWritten(_)
            | Self::PushPullFailed(..)
            | Self::Rejected(..)
            | Self::StreamRejected(..)
            | Self::RetryJoinExhausted => Level::Err,
        }
    }
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MemberJoin(name, addr) => write!(f, "serf: EventMemberJoin: {name} {}", addr.ip()),
            Self::MemberLeave(name, addr) => write!(f, "serf: EventMemberLeave: {name} {}", addr.ip()),
            Self::MemberLeaveForced(name, addr) => write!(f, "serf: EventMemberLeave (forced): {name} {}", addr.ip()),
            Self::MemberFailed(name, addr) => write!(f, "serf: EventMemberFailed: {name} {}", addr.ip()),
            Self::MemberUpdate(name) => write!(f, "serf: EventMemberUpdate: {name}"),
            Self::MemberReap(name) => write!(f, "serf: EventMemberReap: {name}"),
            Self::Suspect(name) => write!(f, "memberlist: Suspect {name} has failed, no acks received"),
            Self::MarkFailed(name, confirmations) => write!(
                f,
                "memberlist: Marking {name} as failed, suspect timeout reached ({confirmations} peer confirmations)"
            ),
            Self::Refute(accusation, from) => {
                let kind = match accusation {
                    Accusation::Alive => "an alive",
                    Accusation::Suspect => "a suspect",
                    Accusation::Dead => "a dead",
                };
                write!(f, "memberlist: Refuting {kind} message (from: {from})")
            }
            Self::TcpOnly(name) => write!(
                f,
                "memberlist: Was able to connect to {name} but other probes failed, network may be misconfigured"
            ),
            Self::PingFailed(name) => write!(f, "memberlist: Failed ping: {name} (timeout reached)"),
            Self::Conflict { name, mine, theirs, state } => {
                write!(
                    f,
                    "memberlist: Conflicting address for {name}. Mine: {mine} Theirs: {theirs} Old state: {state}"
                )
            }
            Self::NameConflict(name, one, other) => {
                write!(f, "serf: Name conflict for '{name}' both {one} and {other} are claiming")
            }
            Self::OwnNameConflict(other, resolve) => write!(
                f,
                "serf: Node name conflicts with another node at {other}. Names must be unique! (Resolution enabled: {resolve})"
            ),
            Self::PushPullStart(name, to) => write!(f, "memberlist: Initiating push/pull sync with: {name} {to}"),
            Self::PushPullFailed(to, why) => write!(f, "memberlist: Push/Pull with {to} failed: {why}"),
            Self::StreamFrom(from) => write!(f, "memberlist: Stream connection from={from}"),
            Self::Rejected(from, why @ (WireError::NoKey | WireError::NotEncrypted)) => {
                write!(f, "memberlist: Decrypt packet failed: {why} from={from}")
            }
            Self::Rejected(from, why) => write!(f, "memberlist: a packet cannot be used: {why} from={from}"),
            Self::StreamRejected(from, why) => write!(f, "memberlist: failed to receive: {why} from={from}"),
            Self::KeyWorn(percent) => write!(
                f,
                "serf: The primary key has been used for about {percent} % of the messages that are safe with one key: install another"
            ),
            Self::RejectedMore(count) => write!(f, "memberlist: {count} more packets could not be used"),
            Self::Incompatible(name) => {
                write!(f, "memberlist: skipped node {name} in a push/pull: its protocol versions are incompatible")
            }
            Self::Message(kind, name) => write!(f, "serf: {kind}: {name}"),
            Self::BadFilter(pattern, why) => {
                let pattern = String::from_utf8_lossy(pattern);
                write!(f, "serf: failed to compile filter regex ({pattern}): {why}")
            }
            Self::StrayResponse(from, key) => {
                write!(f, "serf: reply for non-running query (LTime: {}, ID: {}) From: {from}", key.ltime, key.id.0)
            }
            Self::RelayRefused(name, to) => {
                write!(f, "serf: a relay to {name} at {to} was refused: no such member is known")
            }
            Self::InternalQueryFailed(query, why) => {
                write!(f, "serf: internal query '{}' failed: {why}", String::from_utf8_lossy(query))
            }
            Self::UnknownInternalQuery(query) => {
                write!(f, "serf: Unhandled internal query '{}'", String::from_utf8_lossy(query))
            }
            Self::NotNative(name) => write!(
                f,
                "memberlist: ignoring alive message: '{name}' does not understand the native encoding, and this agent speaks \
                 no other (-wire=native)"
            ),
            Self::Spoken(encoding, None) => write!(f, "agent: speaking {encoding} from now on"),
            Self::Spoken(encoding, Some(name)) => {
                write!(f, "agent: speaking {encoding} from now on: '{name}' does not show that it understands native")
            }
            Self::BadName(error) => write!(f, "memberlist: ignoring alive message: {error}"),
            Self::KeyQuery(task) => write!(f, "serf: Received {task} query"),
            Self::NoKeyring(why) => write!(f, "serf: {why}"),
            Self::TaskFailed(task, why) => write!(f, "serf: Failed to {task}: {why}"),
            Self::ConflictQuery(name) => write!(f, "serf: Got conflict resolution query for '{name}'"),
            Self::KeysUnanswered(names) => {
                write!(f, "serf: {} members did not answer about their keys: {}", names.len(), GoList(names))
            }
            Self::ConflictWon(ours, answers) => {
                write!(f, "serf: majority in name conflict resolution [{ours} / {answers}]")
            }
            Self::ConflictLost(ours, answers) => {
                write!(f, "serf: minority in name conflict resolution, quiting [{ours} / {answers}]")
            }
            Self::ConflictUndecided => {
                f.write_str("serf: nobody could say whose the name is: the name conflict stays, and so do we")
            }
            Self::CoordinateRejected(name, why) => write!(f, "serf: Rejected coordinate from {name}: {why}"),
            Self::MemberReapForced(name, addr) => write!(f, "serf: EventMemberReap (forced): {name} {}", addr.ip()),
            Self::Snapshot(notice) => notice.fmt(f),
            Self::SnapshotMore(count) => write!(f, "serf: {count} more lines of the snapshot cannot be used"),
            Self::SnapshotPeer(name, addr) => {
                write!(f, "serf: Attempting re-join to previously known node: {name}: {addr}")
            }
            Self::SnapshotRejoined(name, addr) => write!(f, "serf: Re-joined to previously known node: {name}: {addr}"),
            Self::SnapshotPeerFailed(name, addr, why) => {
                write!(f, "serf: re-join to previously known node {name} at {addr} failed: {why}")
            }
            Self::SnapshotRejoinFailed(again) => {
                f.write_str("serf: Failed to re-join any previously known node")?;
                match again {
                    Some(again) => write!(f, ", retrying in {}", GoDuration(*again)),
                    None => Ok(()),
                }
            }
            Self::SnapshotNotWritten(why) => write!(f, "serf: Failed to update snapshot: {why}"),
            Self::SnapshotWritten => f.write_str("serf: the snapshot is written again"),
            Self::SeedsGone => f.write_str("agent: none of the retry-join targets is alive, trying them again"),
            Self::PruneRefused(name) => {
                write!(f, "serf: {name} was to be pruned but still answers: it stays a member")
            }
            Self::RetryJoin(replay) => write!(f, "agent: Joining cluster...(replay: {replay})"),
            Self::Joining(targets, replay) => write!(f, "agent: joining: {} replay: {replay}", GoList(targets)),
            Self::Joined(contacted) => write!(f, "agent: joined: {contacted} nodes"),
            Self::JoinCompleted(contacted) => {
                write!(f, "agent: Join completed. Synced with {contacted} initial agents")
            }
            Self::JoinTargetFailed(error) => write!(f, "memberlist: {error}"),
            Self::JoinFailed(errors) => write!(f, "agent: error joining: {}", JoinErrors(errors)),
            Self::RetryJoinFailed(errors, again) => {
                write!(f, "agent: Join failed: {}, retrying in {}", JoinErrors(errors), GoDuration(*again))
            }
            Self::RetryJoinExhausted => f.write_str("agent: maximum retry join attempts made, exiting"),
            Self::Reconnect(name, to) => write!(f, "serf: attempting reconnect to {name} {to}"),
            Self::ReconnectFailed(to, why) => write!(f, "serf: reconnect to {to} failed: {why}"),
            Self::ReconnectThrottled => f.write_str("serf: forgoing reconnect for random throttling"),
            Self::LeavingReverted(name) => {
                write!(f, "serf: {name} is said to be leaving but still answers: it is alive again")
            }
            Self::LeaveTimedOut => f.write_str("serf: timeout while waiting for graceful leave"),
            Self::QueueDepth(queue, depth) => write!(f, "serf: {queue} queue depth: {depth}"),
            Self::Dropped(what, limit) => write!(f, "serf: {what} exceeds limit ({limit}), dropping"),
        }
    }
}

/// A duration as Go writes it: `2s`, `1m30s`, `300ms`.
pub struct GoDuration(pub Duration);

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        let fraction = |f: &mut fmt::Formatter<'_>, value: u128, unit: u128, suffix: &str| {
            let (whole, rest) = (value / unit, value % unit);
            write!(f, "{whole}")?;
            if rest > 0 {
                let width = unit.ilog10() as usize;
                let digits = alloc::format!("{rest:0width$}");
                write!(f, ".{}", digits.trim_end_matches('0'))?;
            }
            f.write_str(suffix)
        };
        match nanos {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{nanos}ns"),
            1_000..1_000_000 => fraction(f, nanos, 1_000, "µs"),
            1_000_000..1_000_000_000 => fraction(f, nanos, 1_000_000, "ms"),
            _ => {
                const MINUTE: u128 = 60_000_000_000;
                let (hours, minutes) = (nanos / MINUTE / 60, nanos / MINUTE % 60);
                if hours > 0 {
                    write!(f, "{hours}h")?;
                }
                if hours > 0 || minutes > 0 {
                    write!(f, "{minutes}m")?;
                }
                fraction(f, nanos % MINUTE, 1_000_000_000, "s")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn durations_read_as_in_go() {
        for (nanos, want) in [
            (0, "0s"),
            (1_500_000, "1.5ms"),
            (2_000_000_000, "2s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
            (1_100_000_000, "1.1s"),
        ] {
            assert_eq!(GoDuration(Duration::from_nanos(nanos)).to_string(), want);
        }
    }
}
