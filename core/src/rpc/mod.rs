//! The client protocol (rpc.md): records, their bytes, and a session for either side, without sockets.
//!
//! The records are types of their own: their field names are upstream's and frozen, those of the core are not.
//! Text is bytes throughout, because names, tags and event names need not be UTF-8.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use alloc::vec::Vec;

mod client;
mod codec;
mod filter;
mod session;

pub use client::{Client, Incoming};
pub use codec::BodyKind;
pub use filter::StreamFilter;
pub use session::{CloseReason, Dropped, Refusal, Session, SessionAction};

/// The one version of the protocol.
pub const VERSION: i32 = 1;

/// Records that wait for one slow subscriber; the newest are dropped beyond it (rpc.md, back-pressure).
pub const RECORDS_MAX: usize = 512;
/// Bytes of records that wait for one slow subscriber, of all its streams and its monitor; one record may be longer.
pub const RECORD_BYTES_MAX: usize = 8 << 20;
/// Bytes of one header or body, and of requests that wait behind one that is not answered yet.
pub const REQUEST_BYTES_MAX: usize = 1 << 20;
/// Bytes of replies that may wait for the client before its next request is read; one reply may be longer.
pub const REPLY_BYTES_MAX: usize = 1 << 16;
/// Bytes of query records that wait for one slow client; acks and responses are dropped beyond it, ends never.
pub const QUERY_RECORD_BYTES_MAX: usize = 1 << 22;
/// Streams and monitors of one connection.
pub const SUBSCRIPTIONS_MAX: usize = 1_024;
/// Bytes of one stream's filter.
pub const FILTER_BYTES_MAX: usize = 16 << 10;
/// Different kinds of events in one stream's filter.
pub const FILTER_KINDS_MAX: usize = 256;

/// Error texts that clients can see (rpc.md 5).
pub mod texts {
    /// The command's name is unknown; the connection is closed.
    pub const UNSUPPORTED_COMMAND: &str = "Unsupported command";
    /// The handshake asks for another version than 1.
    pub const UNSUPPORTED_VERSION: &str = "Unsupported IPC version";
    /// A second handshake.
    pub const DUPLICATE_HANDSHAKE: &str = "Handshake already performed";
    /// A command before the handshake; the connection is closed.
    pub const HANDSHAKE_REQUIRED: &str = "Handshake required";
    /// A second monitor on one connection.
    pub const MONITOR_EXISTS: &str = "Monitor already exists";
    /// The type of a stream cannot be read.
    pub const INVALID_FILTER: &str = "Invalid event filter";
    /// The number of a stream is in use.
    pub const STREAM_EXISTS: &str = "Stream with given sequence exists";
    /// A respond without its query.
    pub const NO_PENDING_QUERY: &str = "No pending queries matching ID";
    /// A command before the authentication. The one text that upstream's client compares.
    pub const AUTH_REQUIRED: &str = "Authentication required";
    /// A wrong token.
    pub const INVALID_TOKEN: &str = "Invalid authentication token";
}

/// A command with its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Opens the connection.
    Handshake {
        /// The version that the client speaks.
        version: i32,
    },
    /// Shows a token.
    Auth {
        /// The token.
        key: Vec<u8>,
    },
    /// Fires a user event.
    Event {
        /// Its name.
        name: Vec<u8>,
        /// Its payload.
        payload: Option<Vec<u8>>,
        /// Whether receivers may coalesce it.
        coalesce: bool,
    },
    /// Makes a failed member one that has left.
    ForceLeave {
        /// Its name.
        node: Vec<u8>,
        /// Whether it is forgotten at once.
        prune: bool,
    },
    /// Contacts members.
    Join {
        /// Whom.
        existing: Vec<Vec<u8>>,
        /// Whether old events are delivered.
        replay: bool,
    },
    /// Lists all members.
    Members,
    /// Lists the members that fit; an empty pattern fits all, but a tag's pattern always counts.
    MembersFiltered {
        /// Patterns by tag, in the order given.
        tags: Pairs,
        /// Pattern of the status.
        status: Vec<u8>,
        /// Pattern of the name.
        name: Vec<u8>,
        /// Whether the encoding of each member is wanted too: a field that only our agents know.
        encodings: bool,
    },
    /// Changes tags: deletes first, then sets.
    Tags {
        /// Tags to set.
        tags: Pairs,
        /// Tags to delete.
        delete: Vec<Vec<u8>>,
    },
    /// Subscribes to events.
    Stream {
        /// The filter, as text.
        kind: Vec<u8>,
    },
    /// Subscribes to log lines.
    Monitor {
        /// The least level.
        level: Vec<u8>,
    },
    /// Ends a subscription.
    Stop {
        /// Its number.
        seq: u64,
    },
    /// Leaves and shuts down.
    Leave,
    /// Asks the cluster.
    Query(Query),
    /// Answers a query.
    Respond {
        /// The number under which the query came.
        id: u64,
        /// The answer.
        payload: Option<Vec<u8>>,
    },
    /// Installs, uses, removes or lists keys.
    Key {
        /// Which.
        operation: KeyOperation,
        /// The key in base64; not used by the questions.
        key: Vec<u8>,
    },
    /// Asks for numbers.
    Stats,
    /// Asks for a coordinate.
    GetCoordinate {
        /// Of whom.
        node: Vec<u8>,
    },
}

/// What is done with keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOperation {
    /// Adds one.
    Install,
    /// Makes one the primary.
    Use,
    /// Removes one.
    Remove,
    /// Lists them.
    List,
    /// Lists who has which: a command that only our agents know.
    Status,
}

impl KeyOperation {
    /// Whether nothing changes, and so no key is named.
    pub const fn is_question(self) -> bool {
        matches!(self, Self::List | Self::Status)
    }
}

/// A question to the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Names of those who are asked; empty: all.
    pub filter_nodes: Vec<Vec<u8>>,
    /// Patterns by tag.
    pub filter_tags: Pairs,
    /// Whether acks are wanted.
    pub request_ack: bool,
    /// Over how many relays answers come too.
    pub relay_factor: u8,
    /// How long answers are taken, in nanoseconds; 0: the default.
    pub timeout: i64,
    /// Its name.
    pub name: Vec<u8>,
    /// Its payload.
    pub payload: Option<Vec<u8>>,
}

/// The answer to a request: an error text, empty for none, and what follows the header.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// Empty: success.
    pub error: Vec<u8>,
    /// The body; some commands have one even behind an error (rpc.md 6).
    pub body: Body,
}

impl Reply {
    /// Success with nothing to say.
    pub const fn ok() -> Self {
        Self { error: Vec::new(), body: Body::None }
    }

    /// Success with a body.
    pub const fn with(body: Body) -> Self {
        Self { error: Vec::new(), body }
    }

    /// A failure, with the empty body that `request` has behind an error.
    pub fn error(request: &Request, text: impl Into<Vec<u8>>) -> Self {
        Self { error: text.into(), body: Body::after_error(request) }
    }
}

/// What follows the header of a reply.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Nothing.
    None,
    /// How many were contacted.
    Joined(i64),
    /// Members.
    Members(Vec<Member>),
    /// Sections of numbers, all as text.
    Stats(Stats),
    /// What became of a key operation.
    Keys(KeyReport),
    /// A coordinate; `None`: unknown.
    Coordinate(Option<Coordinate>),
}

/// Pairs of text, in the order in which they came.
pub type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// Sections by name, each with its entries: all text.
pub type Stats = Vec<(Vec<u8>, Pairs)>;

/// A member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: Vec<u8>,
    /// Its address: 4 or 16 bytes.
    pub addr: Vec<u8>,
    /// Its port.
    pub port: u16,
    /// Its tags.
    pub tags: Pairs,
    /// alive, leaving, left, failed or none.
    pub status: Vec<u8>,
    /// Memberlist protocol: smallest, largest, spoken.
    pub protocol: [u8; 3],
    /// Serf protocol: smallest, largest, spoken.
    pub delegate: [u8; 3],
    /// The best encoding that it shows to understand, by name; `None`: not asked for, or not known.
    pub encoding: Option<Vec<u8>>,
}

/// What became of a key operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyReport {
    /// Words of single nodes.
    pub messages: Pairs,
    /// How many nodes hold each key; `None` where none were asked for.
    pub keys: Option<Vec<(Vec<u8>, u64)>>,
    /// Nodes asked.
    pub nodes: u64,
    /// Nodes that failed.
    pub errors: u64,
    /// Nodes that answered.
    pub responses: u64,
    /// The keys of each node, primary first; `None` for one that did not answer. A field of a status alone.
    pub rings: Option<Rings>,
}

/// Nodes with the keys that they have, in base64.
pub type Rings = Vec<(Vec<u8>, Option<Vec<Vec<u8>>>)>;

/// A network coordinate.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Coordinate {
    /// Adjustment, in seconds.
    pub adjustment: f64,
    /// Error, without unit.
    pub error: f64,
    /// Height, in seconds.
    pub height: f64,
    /// Position, in seconds.
    pub vec: Vec<f64>,
}

/// Something that subscribers of streams hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamEvent {
    /// Members changed.
    Members {
        /// member-join, member-leave, …
        kind: &'static str,
        /// The members.
        members: Vec<Member>,
    },
    /// A user event.
    User {
        /// Its Lamport time.
        ltime: u64,
        /// Its name.
        name: Vec<u8>,
        /// Its payload.
        payload: Option<Vec<u8>>,
        /// Whether it may be coalesced.
        coalesce: bool,
    },
    /// A query.
    Query {
        /// Its Lamport time.
        ltime: u64,
        /// Its name.
        name: Vec<u8>,
        /// Its payload.
        payload: Option<Vec<u8>>,
    },
}

/// One step of a running query, as its asker hears of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryRecord {
    /// A node has it.
    Ack {
        /// Which.
        from: Vec<u8>,
    },
    /// A node answers.
    Response {
        /// Which.
        from: Vec<u8>,
        /// What.
        payload: Option<Vec<u8>>,
    },
    /// No more will come.
    Done,
}

impl Request {
    /// The name of the command on the wire.
    pub const fn command(&self) -> &'static str {
        match self {
            Self::Handshake { .. } => "handshake",
            Self::Auth { .. } => "auth",
            Self::Event { .. } => "event",
            Self::ForceLeave { .. } => "force-leave",
            Self::Join { .. } => "join",
            Self::Members => "members",
            Self::MembersFiltered { .. } => "members-filtered",
            Self::Tags { .. } => "tags",
            Self::Stream { .. } => "stream",
            Self::Monitor { .. } => "monitor",
            Self::Stop { .. } => "stop",
            Self::Leave => "leave",
            Self::Query(_) => "query",
            Self::Respond { .. } => "respond",
            Self::Key { operation: KeyOperation::Install, .. } => "install-key",
            Self::Key { operation: KeyOperation::Use, .. } => "use-key",
            Self::Key { operation: KeyOperation::Remove, .. } => "remove-key",
            Self::Key { operation: KeyOperation::List, .. } => "list-keys",
            Self::Key { operation: KeyOperation::Status, .. } => "key-status",
            Self::Stats => "stats",
            Self::GetCoordinate { .. } => "get-coordinate",
        }
    }
}
