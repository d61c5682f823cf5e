//! What an operator can ask of a node, and what it answers.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::QueryKey;
use crate::io::RequestId;
use crate::types::{JoinTarget, Name, Tags};
use crate::wire::Filter;

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
        /// Whether the member is forgotten everywhere, too.
        prune: bool,
    },
    /// Tell everybody something.
    UserEvent {
        /// Its name.
        name: Box<[u8]>,
        /// What it carries; with the name at most as many bytes as the configuration says.
        payload: Box<[u8]>,
        /// Whether receivers may put events of one name together.
        coalesce: bool,
    },
    /// Ask everybody something.
    Query(Box<Question>),
    /// Answer a query that was handed out as [`crate::event::Event::Query`].
    Respond {
        /// Which one.
        query: QueryKey,
        /// The answer.
        payload: Box<[u8]>,
    },
    /// Change the node's tags: first the deletions, then what is set.
    SetTags {
        /// The tags to set.
        set: Tags,
        /// The tags to delete; absent ones are no error.
        delete: Vec<Vec<u8>>,
    },
    /// Give the node these tags and no others.
    ReplaceTags(Tags),
    /// Do something with the keys of all members.
    Key(KeyRequest),
    /// End a query of ours before its time, because nobody waits for its words any more. It has its
    /// [`Reply::QueryDone`] first; one that is unknown or over is no error.
    EndQuery(RequestId),
}

/// A query as an operator asks it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Its name; those that begin with `_serf_` are the cluster's own.
    pub name: Box<[u8]>,
    /// What it carries.
    pub payload: Box<[u8]>,
    /// Who is asked: every filter must match.
    pub filters: Vec<Filter>,
    /// Whether those who are asked say at once that they are.
    pub ack: bool,
    /// By how many other members each word is passed on too.
    pub relay_factor: u8,
    /// How long words are waited for; `None`: as long as the size of the cluster suggests (protocol.md 2.8).
    pub timeout: Option<Duration>,
}

/// What all members do with their keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyRequest {
    /// Add a key to the ring.
    Install(Box<[u8]>),
    /// Encrypt with this key of the ring.
    Use(Box<[u8]>),
    /// Take a key off the ring.
    Remove(Box<[u8]>),
    /// Say which keys there are.
    List,
    /// Say who has which keys: the same question.
    Status,
}

/// The answer to a command: exactly one for each, but for a query, whose [`Reply::QueryStarted`] is followed by
/// [`Reply::QueryAck`]s, [`Reply::QueryResponse`]s and one [`Reply::QueryDone`].
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
    /// The event is on its way.
    EventSent,
    /// The query is on its way.
    QueryStarted,
    /// A member has got the query.
    QueryAck {
        /// Which one; each at most once.
        from: Name,
    },
    /// A member has answered the query.
    QueryResponse {
        /// Which one; each at most once.
        from: Name,
        /// The answer.
        payload: Box<[u8]>,
    },
    /// Nothing more will be heard of the query.
    QueryDone,
    /// The answer is on its way.
    Responded,
    /// The tags are as they were asked to be, and the word is out or has had its time.
    TagsSet,
    /// What the members have done with their keys.
    Keys(Box<KeyOutcome>),
    /// The command could not be done.
    Failed(CommandError),
    /// The query does not run, or no more.
    QueryEnded,
}

/// What the members have done with their keys (protocol.md 2.9). A success only where every member has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyOutcome {
    /// Members when the question was asked.
    pub nodes: u32,
    /// Members that answered.
    pub responses: u32,
    /// Members that answered that they could not.
    pub errors: u32,
    /// What members had to say.
    pub messages: BTreeMap<Name, String>,
    /// How many members have each key, in base64.
    pub keys: BTreeMap<String, u32>,
    /// How many members encrypt with each key, in base64.
    pub primaries: BTreeMap<String, u32>,
    /// Members that did not answer.
    pub missing: Vec<Name>,
    /// The keys of each member that answered, in base64, primary first; only a status asks for them.
    pub rings: BTreeMap<Name, Vec<String>>,
}

impl KeyOutcome {
    /// Why it is no success, in upstream's words; `None`: it is one.
    pub fn error(&self) -> Option<String> {
        if self.errors > 0 {
            return Some(alloc::format!("{}/{} nodes reported failure", self.errors, self.nodes));
        }
        (self.responses != self.nodes)
            .then(|| alloc::format!("{}/{} nodes reported success", self.responses, self.nodes))
    }
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
    /// The stream broke, and we speak nothing but the native encoding.
    Unread(crate::io::StreamError),
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
            Self::Unread(error) => {
                write!(f, "{error} (this agent speaks only native, -wire=native; the peer may speak only memberlist)")
            }
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
    /// Name and payload of a user event are too long.
    EventTooLong {
        /// The limit of the configuration.
        limit: usize,
    },
    /// A user event is too long once it is encoded.
    EncodedEventTooLong {
        /// The limit of the configuration.
        limit: usize,
    },
    /// A query is too long once it is encoded.
    QueryTooLong {
        /// The limit of the configuration.
        limit: usize,
    },
    /// The name is kept for the cluster's own queries.
    ReservedQuery,
    /// The node speaks a Serf protocol that does not have this.
    Unsupported,
    /// The query is unknown, or its time is over.
    UnknownQuery,
    /// The query has been answered.
    AlreadyResponded {
        /// Whether its time is over, too.
        is_over: bool,
    },
    /// The query's time is over.
    PastDeadline,
    /// An answer is too long once it is encoded.
    ResponseTooLong {
        /// The limit of the configuration.
        limit: usize,
    },
    /// The tags are too long once they are encoded.
    TagsTooLong(TagCosts),
    /// What had to be kept could not be.
    NotKept(String),
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAlive => f.write_str("Serf can't Join after Leave or Shutdown"),
            Self::LeaveInProgress => f.write_str("Leave already in progress"),
            Self::NotLeft => f.write_str("the node has not left"),
            Self::ForceLeaveTimedOut => f.write_str("timed out broadcasting node removal"),
            Self::Busy => f.write_str("too many commands are waiting"),
            Self::EventTooLong { limit } => {
                write!(f, "user event exceeds configured limit of {limit} bytes before encoding")
            }
            Self::EncodedEventTooLong { limit } => {
                write!(f, "encoded user event exceeds configured limit of {limit} bytes after encoding")
            }
            Self::QueryTooLong { limit } => write!(f, "query exceeds limit of {limit} bytes"),
            Self::ReservedQuery => f.write_str("Queries cannot contain the '_serf_' prefix"),
            Self::Unsupported => f.write_str("Feature not supported"),
            Self::UnknownQuery => f.write_str("No pending queries matching ID"),
            Self::AlreadyResponded { .. } => f.write_str("response already sent"),
            Self::PastDeadline => f.write_str("response is past the deadline"),
            Self::ResponseTooLong { limit } => write!(f, "response exceeds limit of {limit} bytes"),
            Self::TagsTooLong(costs) => costs.fmt(f),
            Self::NotKept(why) => f.write_str(why),
        }
    }
}

/// What tags that are too long take, encoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagCosts {
    /// All of them.
    pub total: usize,
    /// Each one, the dearest first.
    pub each: Vec<(Vec<u8>, usize)>,
}

/// Upstream's text (rpc.md 5), then what the tags take.
impl fmt::Display for TagCosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = crate::limits::META_BYTES_MAX;
        write!(f, "Encoded length of tags exceeds limit of {limit} bytes: they take {}", self.total)?;
        for (index, (key, bytes)) in self.each.iter().enumerate() {
            let between = if index == 0 { " (" } else { ", " };
            write!(f, "{between}{} {bytes}", String::from_utf8_lossy(key))?;
        }
        if self.each.is_empty() { Ok(()) } else { f.write_str(")") }
    }
}
