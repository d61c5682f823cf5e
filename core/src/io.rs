//! The contract: one input, all outputs, a later deadline.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;
use core::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::command::{Command, Reply};
use crate::event::Event;
use crate::log::Log;
use crate::time::Time;
use crate::timers::TimerKind;

/// Everything that can happen to a node.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    /// When; never earlier than the input before.
    pub at: Time,
    /// What.
    pub stimulus: Stimulus<'a>,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Stimulus<'a> {
    /// A deadline has come.
    Tick,
    /// A datagram came in.
    Datagram {
        /// Its source.
        from: SocketAddr,
        /// Its bytes, whole.
        bytes: &'a [u8],
    },
    /// The local send of a datagram failed. A full buffer is [`Stimulus::Stalled`], not this.
    SendFailed {
        /// Where it was to go.
        to: SocketAddr,
        /// What sent it.
        activity: Activity,
    },
    /// Something happened on a stream.
    Stream {
        /// Which one.
        id: StreamId,
        /// What.
        event: StreamEvent<'a>,
    },
    /// The answer to [`Output::Resolve`].
    Resolved {
        /// The id of the question.
        id: ResolveId,
        /// The addresses in the resolver's order, or why there are none.
        result: Result<Box<[SocketAddr]>, ResolveError>,
    },
    /// A record is durable, or will not be.
    Persisted {
        /// The id of the record.
        id: PersistId,
        /// Whether it is on disk.
        result: Result<(), PersistError>,
    },
    /// The driver still holds what this activity last sent: its timers are not due.
    Stalled {
        /// The activity.
        activity: Activity,
    },
    /// What the activity sent has gone; its timers go on.
    Resumed {
        /// The activity.
        activity: Activity,
    },
    /// Fresh entropy of the operating system, mixed into the nonces.
    Entropy {
        /// The bytes.
        bytes: [u8; 32],
    },
    /// An operator's command; its [`Output::Reply`] carries the same id.
    Command {
        /// Chosen by the driver.
        id: RequestId,
        /// The command.
        command: Command,
    },
}

/// Something that the driver must do, or that somebody wants to know.
#[must_use = "an output that is not performed is a lost message"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a datagram.
    Datagram {
        /// What sends it.
        activity: Activity,
        /// Where to.
        to: SocketAddr,
        /// The bytes, whole.
        bytes: Box<[u8]>,
    },
    /// Do something on a stream.
    Stream {
        /// What it is for.
        activity: Activity,
        /// Which stream.
        id: StreamId,
        /// What to do.
        action: StreamAction,
    },
    /// Look up a host name, each time anew.
    Resolve {
        /// Repeated by the answer.
        id: ResolveId,
        /// The name to look up and the port to put behind each address.
        host: Box<Host>,
    },
    /// Something happened in the cluster.
    Event(Box<Event>),
    /// The answer to a command.
    Reply {
        /// The command's id.
        id: RequestId,
        /// The answer.
        reply: Box<Reply>,
    },
    /// Make a record durable.
    Persist {
        /// Repeated by the answer.
        id: PersistId,
        /// The record.
        record: Box<Persist>,
    },
    /// A line for the log.
    Log(Box<Log>),
}

const _: () = assert!(size_of::<Output>() <= 56, "outputs travel in one Vec and must stay small");

/// A host name and the port that is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// The name, as the operator wrote it.
    pub name: String,
    /// The port behind each address.
    pub port: u16,
}

/// What a node does at one time; on every output, every timer and in [`Deadline`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Activity {
    /// Pings of our own and their indirect stages.
    Probe,
    /// Periodic gossip.
    Gossip,
    /// The periodic full exchange.
    PushPull,
    /// Answers to packets: acks, relayed pings, forwarded acks.
    Receiver,
    /// A helper's nacks.
    Nack,
    /// Streams: inbound exchanges and their deadlines.
    Stream,
    /// The layer above: joins, reconnects, intents, events, queries.
    Serf,
    /// Suspicions, reaping, windows; cannot be stalled.
    Upkeep,
}

impl Activity {
    /// How many activities there are.
    pub const COUNT: usize = 8;

    /// The activity's number, below [`Activity::COUNT`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// The next time at which a node wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// When.
    pub at: Time,
    /// What for.
    pub why: TimerKind,
    /// Whose it is.
    pub activity: Activity,
}

/// A stream: even numbers are opened by the core, odd ones were accepted by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StreamId(pub u64);

impl StreamId {
    /// Whether the core opened it.
    pub const fn is_ours(self) -> bool {
        self.0.is_multiple_of(2)
    }
}

/// What the driver says of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEvent<'a> {
    /// A peer opened it.
    Accepted {
        /// The peer's address.
        from: SocketAddr,
    },
    /// Our `Connect` succeeded.
    Connected,
    /// Bytes came in.
    Bytes(&'a [u8]),
    /// The peer has sent all that it will send.
    Closed,
    /// The stream is gone; no more events follow.
    Failed(StreamError),
}

/// Why a stream failed. `Display` gives the second half of Go's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StreamError {
    /// Nobody listens there.
    Refused,
    /// No answer in time.
    TimedOut,
    /// The peer reset it.
    Reset,
    /// There is no route to the host.
    HostUnreachable,
    /// There is no route to the network.
    NetworkUnreachable,
    /// The peer closed it early.
    Closed,
    /// Another error, with the system's number.
    Other(i32),
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("connect: connection refused"),
            Self::TimedOut => f.write_str("i/o timeout"),
            Self::Reset => f.write_str("read: connection reset by peer"),
            Self::HostUnreachable => f.write_str("connect: no route to host"),
            Self::NetworkUnreachable => f.write_str("connect: network is unreachable"),
            Self::Closed => f.write_str("EOF"),
            Self::Other(code) => write!(f, "connect: errno {code}"),
        }
    }
}

/// What the driver must do with a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamAction {
    /// Open it.
    Connect(SocketAddr),
    /// Send one whole frame.
    Write(Box<[u8]>),
    /// Send what is queued, then close; no more events are wanted.
    Finish,
    /// Close at once; no more events are wanted.
    Abort,
}

/// Ties a [`Stimulus::Resolved`] to its [`Output::Resolve`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ResolveId(pub u64);

/// Ties a [`Stimulus::Persisted`] to its [`Output::Persist`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PersistId(pub u64);

/// Ties an [`Output::Reply`] to its command; chosen by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// Why a name has no address; the text is the resolver's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolveError(pub String);

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a record is not durable; the text is the system's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersistError(pub String);

impl fmt::Display for PersistError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A record that must survive a crash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Persist {
    /// The largest incarnation that this node has used (protocol.md 3.2, U-04): a restart begins above it.
    Incarnation(crate::types::Incarnation),
    /// Lines for the snapshot file (cli.md 3.9).
    Snapshot {
        /// The lines.
        lines: Box<[u8]>,
        /// Whether they are all that the file is to hold; else they are appended.
        replace: bool,
    },
    /// The keys for the keyring file, primary first.
    Keyring(alloc::vec::Vec<crate::keyring::Key>),
    /// The tags for the tags file.
    Tags(crate::types::Tags),
}

/// What survived of an earlier life.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The largest incarnation that the earlier life is known to have used.
    pub incarnation: Option<crate::types::Incarnation>,
    /// The snapshot file as it was found; `None`: there was none.
    pub snapshot: Option<Box<[u8]>>,
}
