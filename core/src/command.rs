//! What an operator can ask of a node, and what it answers.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::types::{JoinTarget, Name};

/// An operator's command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Contact each target in order and exchange state with every address of it.
    Join {
        /// Whom to contact.
        targets: Vec<JoinTarget>,
        /// Whether user events of the cluster's past are delivered too.
        replay: bool,
    },
    /// Leave the cluster in an orderly way. The node keeps answering until it is dropped.
    Leave,
    /// Be a member again after a leave, in the same process (protocol.md 3.2, U-15).
    Rejoin,
    /// Turn a failed member into one that has left.
    ForceLeave {
        /// The member's name; an unknown one is no error.
        node: Name,
    },
}

/// The answer to a command; exactly one for each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The join is over.
    Joined {
        /// How many addresses were contacted.
        contacted: u32,
        /// What went wrong; an error for the operator only where nobody was contacted.
        errors: Vec<JoinError>,
    },
    /// The node has left.
    Left,
    /// The node is a member again.
    Rejoined,
    /// The force-leave is under way; an unknown name and a live member get the same answer.
    ForceLeft,
    /// The command could not be done.
    Failed(CommandError),
}

/// Why one target of a join was not contacted. `Display` is upstream's line (rpc.md 5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinError {
    /// The name has no address.
    Resolve {
        /// The target as written.
        target: String,
        /// The resolver's or the parser's words.
        reason: String,
    },
    /// The address did not answer as a member does.
    Contact {
        /// The address as shown: an IP without its port.
        host: String,
        /// What went wrong.
        reason: ExchangeError,
    },
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve { target, reason } => write!(f, "Failed to resolve {target}: {reason}"),
            Self::Contact { host, reason } => write!(f, "Failed to join {host}: {reason}"),
        }
    }
}

/// Several join errors in upstream's form: a heading, one indented line each, two line breaks.
pub struct JoinErrors<'a>(pub &'a [JoinError]);

impl fmt::Display for JoinErrors<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0.len() == 1 { "" } else { "s" };
        write!(f, "{} error{plural} occurred:", self.0.len())?;
        for error in self.0 {
            write!(f, "\n\t* {error}")?;
        }
        f.write_str("\n\n")
    }
}

/// Why an exchange over a stream failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExchangeError {
    /// The address could not be dialled.
    Dial {
        /// Where to.
        #[serde(with = "crate::types::socket_addr")]
        to: core::net::SocketAddr,
        /// Why not.
        error: crate::io::StreamError,
    },
    /// The stream broke.
    Stream(crate::io::StreamError),
    /// The exchange took too long.
    TimedOut,
    /// What came could not be opened or read.
    Wire(crate::wire::WireError),
    /// The peer said why it refuses.
    Remote(String),
    /// The peer speaks protocol versions that we do not.
    Incompatible {
        /// The peer's name.
        node: Name,
    },
    /// Too many streams are open.
    Busy,
}

impl fmt::Display for ExchangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dial { to, error } => write!(f, "dial tcp {to}: {error}"),
            Self::Stream(error) => error.fmt(f),
            Self::TimedOut => f.write_str("i/o timeout"),
            Self::Wire(error) => error.fmt(f),
            Self::Remote(text) => write!(f, "remote error: {text}"),
            Self::Incompatible { node } => {
                write!(f, "Node '{node}' speaks protocol versions that are incompatible with ours")
            }
            Self::Busy => f.write_str("too many streams are open"),
        }
    }
}

/// Why a command could not be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommandError {
    /// The node is leaving or has left.
    NotAlive,
    /// A leave is under way.
    LeaveInProgress,
    /// The node has not left, so it cannot rejoin.
    NotLeft,
    /// A force-leave was not broadcast in time.
    ForceLeaveTimedOut,
    /// Too many commands of this kind wait already.
    Busy,
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAlive => "Serf can't Join after Leave or Shutdown",
            Self::LeaveInProgress => "Leave already in progress",
            Self::NotLeft => "the node has not left",
            Self::ForceLeaveTimedOut => "timed out broadcasting node removal",
            Self::Busy => "too many commands are waiting",
        })
    }
}
