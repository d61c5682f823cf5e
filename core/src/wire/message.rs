//! The messages of both layers as plain values: no bytes, no encoding.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::coordinate::Coordinate;
use crate::lamport::LamportTime;
use crate::types::{GossipAddr, Incarnation, Meta, Name, QueryId, SeqNo, Versions};

/// One message of a datagram (gossip-wire.md 4 and 5).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Message {
    /// Asks a member to answer.
    Ping(Ping),
    /// Asks a helper to ping somebody.
    IndirectPing(IndirectPing),
    /// Answers a ping.
    Ack(Ack),
    /// A helper's word that its ping was not answered.
    Nack(SeqNo),
    /// A member does not answer.
    Suspect(Accused),
    /// A member speaks for itself.
    Alive(Alive),
    /// A member is gone; by its own word if it is itself the accuser.
    Dead(Accused),
    /// A message of the layer above.
    Serf(SerfMessage),
}

/// Asks `node` to answer with the same number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    /// Repeated by the ack.
    pub seq: SeqNo,
    /// Whom the sender believes to be there: another node does not answer.
    pub node: Name,
    /// Where to answer; `None`: to the packet's source.
    pub source: Option<ReplyTo>,
}

/// Where the answer to a ping is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplyTo {
    /// The address.
    pub addr: GossipAddr,
    /// Who is there; empty: not said.
    pub node: Name,
}

/// Asks the receiver to ping `node` at `target`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndirectPing {
    /// Repeated by the forwarded ack and by the nack.
    pub seq: SeqNo,
    /// Who should be there.
    pub node: Name,
    /// Where.
    pub target: GossipAddr,
    /// Whether a nack is wanted.
    pub nack: bool,
    /// Where to answer; `None`: to the packet's source.
    pub source: Option<ReplyTo>,
}

/// Answers a ping.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ack {
    /// The ping's number.
    pub seq: SeqNo,
    /// The answering node's network coordinate; a forwarded ack has none.
    pub coordinate: Option<Coordinate>,
}

/// An accusation: suspect or dead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accused {
    /// Who.
    pub node: Name,
    /// In which incarnation.
    pub incarnation: Incarnation,
    /// By whom.
    pub from: Name,
}

/// A member speaks for itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alive {
    /// Its name.
    pub node: Name,
    /// Larger is newer.
    pub incarnation: Incarnation,
    /// Where it is.
    pub addr: GossipAddr,
    /// Its metadata.
    pub meta: Meta,
    /// Its version bytes.
    pub versions: Versions,
}

impl Alive {
    /// Bytes that it takes beside those of the value itself.
    pub(crate) const fn allocated(&self) -> usize {
        self.node.allocated().saturating_add(self.meta.allocated())
    }
}

/// A message of the layer above.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SerfMessage {
    /// A member is about to leave, or is made to.
    Leave(Intent),
    /// A member is here to stay.
    Join(Intent),
    /// Something that an operator wants everybody to know.
    Event(UserEvent),
    /// Something that an operator wants to know of everybody.
    Query(Box<Query>),
    /// The word of one member on a query.
    Response(QueryResponse),
    /// Such a word, to be passed on.
    Relay(Relay),
}

/// What somebody wants a member's status to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// When it was said.
    pub ltime: LamportTime,
    /// Of whom.
    pub node: Name,
    /// Whether the member is to be forgotten too (leave only).
    pub prune: bool,
}

/// A user event (gossip-wire.md 6.2). Lamport time, name and payload are its identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserEvent {
    /// When it was fired, on the event clock.
    pub ltime: LamportTime,
    /// Its name; need not be text.
    pub name: Box<[u8]>,
    /// What it carries.
    pub payload: Box<[u8]>,
    /// Whether receivers may put events of one name together.
    pub coalesce: bool,
}

/// A query (gossip-wire.md 6.4). Lamport time and id are its identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// When it was asked, on the query clock.
    pub ltime: LamportTime,
    /// Random.
    pub id: QueryId,
    /// Where to answer.
    pub origin: GossipAddr,
    /// Who asks.
    pub node: Name,
    /// Who is asked: every filter must match; none: everybody.
    pub filters: Vec<Filter>,
    /// Whether an ack is wanted.
    pub ack: bool,
    /// Whether it is passed on by nobody.
    pub no_broadcast: bool,
    /// By how many other members each word on it is passed on too.
    pub relay_factor: u8,
    /// How long after its receipt answers are welcome.
    pub timeout: Duration,
    /// Its name; need not be text.
    pub name: Box<[u8]>,
    /// What it carries.
    pub payload: Box<[u8]>,
}

/// Who a query is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Filter {
    /// The members of these names.
    Nodes(Vec<Name>),
    /// The members whose tag matches; a missing tag is empty.
    Tag {
        /// The tag.
        key: Box<[u8]>,
        /// A regular expression in Go's syntax, not anchored.
        pattern: Box<[u8]>,
    },
    /// A filter that cannot be read matches nobody.
    Unreadable,
}

/// The word of one member on a query: an ack or a response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryResponse {
    /// The query's Lamport time.
    pub ltime: LamportTime,
    /// The query's id.
    pub id: QueryId,
    /// Who answers.
    pub from: Name,
    /// Whether this is the ack.
    pub ack: bool,
    /// What it carries; an ack nothing.
    pub payload: Box<[u8]>,
}

/// The word of one member on a query, to be passed on to who asked (gossip-wire.md 6.5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relay {
    /// Where to.
    pub to: GossipAddr,
    /// Whom to; empty: whoever is there.
    pub node: Name,
    /// What.
    pub response: QueryResponse,
}

/// The user events of one Lamport time, as they are remembered and exchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsAt {
    /// When they were fired.
    pub ltime: LamportTime,
    /// In the order of their arrival.
    pub events: Vec<Fired>,
}

/// What tells two user events of one Lamport time apart; the coalesce flag does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fired {
    /// The event's name.
    pub name: Box<[u8]>,
    /// What it carries.
    pub payload: Box<[u8]>,
}

/// One message of a stream (gossip-wire.md 2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StreamMessage {
    /// The stream ping.
    Ping(Ping),
    /// Its answer.
    Ack(SeqNo),
    /// The whole state, as a question or as the answer.
    PushPull(PushPull),
    /// What stands before a push/pull in the native encoding, and its answer: those who agree need none.
    Digest(Digest),
    /// Why the acceptor refuses.
    Error(String),
    /// A message of the layer above; only programs over upstream's library send one on a stream (gossip-wire.md 2.3).
    User(Box<[u8]>),
}

/// Everything that a node knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushPull {
    /// Whether the initiator joins.
    pub join: bool,
    /// Every member that is not forgotten. In the native encoding the sender stands first.
    pub nodes: Vec<NodeState>,
    /// The state of the layer above; the default: there is none.
    pub serf: SerfState,
    /// How many members were beyond a bound and are left out; always 0 in what is sent.
    pub unreadable: u32,
}

/// Everything that a node knows, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// The clocks, which are told and not compared.
    pub clocks: Clocks,
    /// Over what a push/pull says of members.
    pub members: u64,
    /// From which Lamport time on user events are compared.
    pub events_since: LamportTime,
    /// Over those of them that are remembered.
    pub events: u64,
}

/// What the three Lamport clocks of a node show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clocks {
    /// The member clock.
    pub members: LamportTime,
    /// The event clock.
    pub events: LamportTime,
    /// The query clock.
    pub queries: LamportTime,
}

/// One member of a push/pull.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeState {
    /// What its last alive message said.
    pub alive: Alive,
    /// What the sender believes of it.
    pub state: SwimState,
}

/// What a node believes of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SwimState {
    /// It answers.
    Alive = 0,
    /// It does not answer.
    Suspect = 1,
    /// It is gone.
    Dead = 2,
    /// It is gone on purpose.
    Left = 3,
}

/// The state of the layer above (gossip-wire.md 6.3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SerfState {
    /// The member clock.
    pub ltime: LamportTime,
    /// The event clock.
    pub event_ltime: LamportTime,
    /// The query clock.
    pub query_ltime: LamportTime,
    /// The Lamport time of each member's last intent.
    pub statuses: Vec<(Name, LamportTime)>,
    /// Who has left.
    pub left: Vec<Name>,
    /// The user events that are remembered, oldest first (U-21 of user-asks: sent in Lamport order).
    pub events: Vec<EventsAt>,
}
