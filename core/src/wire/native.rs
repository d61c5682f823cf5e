//! The native encoding: postcard, between agents of this project.
//!
//! Messages are decoded through private forms that borrow from the packet, so that no length or count from outside
//! ever reserves memory; the bounds of `limits.rs` are checked before anything is copied.

use alloc::vec::Vec;

use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    Accused, Ack, Alive, Budget, Clocks, Digest, IndirectPing, Intent, Message, Ping, PushPull, ReplyTo, SerfMessage,
    SerfState, StreamMessage, WireError,
};
use crate::coordinate::{self, Coordinate};
use crate::lamport::LamportTime;
use crate::limits;
use crate::types::{GossipAddr, Incarnation, Meta, Name, SeqNo, Versions};
use serf::{EventForm, QueryForm, RelayForm, ResponseForm};

pub(crate) mod entries;
mod frame;
mod serf;
mod swim;

pub use frame::{
    MAGIC, PART_OVERHEAD, Packet, VERSION, open_packet, open_packet_with, open_stream, packet_overhead, seal_packet,
    seal_parts, seal_stream,
};
pub(crate) use frame::{read_packet, stream_len};

/// Appends one message.
pub fn encode(message: &Message, out: &mut Vec<u8>) {
    append(&Form::of(message), out);
}

/// Reads one message, which must take all of `bytes`.
///
/// # Errors
/// [`WireError::Truncated`], [`WireError::Malformed`] (trailing bytes too), [`WireError::OutOfRange`] or
/// [`WireError::TooCostly`].
pub fn decode(bytes: &[u8]) -> Result<Message, WireError> {
    decode_within(bytes, &mut Budget::datagram(bytes.len()))
}

/// Reads one message of a packet as [`decode`] does; all of the packet share the `budget`.
pub(crate) fn decode_within(bytes: &[u8], budget: &mut Budget) -> Result<Message, WireError> {
    // Each byte is copied at most once.
    budget.allocate(bytes.len())?;
    swim::decode(bytes).unwrap_or_else(|| decode_any(bytes, budget))
}

/// Reads any message as [`decode_within`] does, through serde.
pub(crate) fn decode_any(bytes: &[u8], budget: &mut Budget) -> Result<Message, WireError> {
    let mut rest = bytes;
    let form: Form<'_> = take(&mut rest)?;
    if rest.is_empty() { form.into_message(budget) } else { Err(WireError::Malformed) }
}

/// Bytes that a member takes in a push/pull with its status, if its name and tags are short.
const NODE_BYTES_USUAL: usize = 64;

/// A message as it travels in a packet. The order of the variants is the format: append, never reorder.
#[derive(Serialize, Deserialize)]
enum Form<'a> {
    Ping(#[serde(borrow)] PingForm<'a>),
    IndirectPing(#[serde(borrow)] IndirectPingForm<'a>),
    /// The coordinate in single precision: the one value that the two encodings do not carry alike.
    Ack(SeqNo, Option<[f32; coordinate::NUMBERS]>),
    Nack(SeqNo),
    Suspect(#[serde(borrow)] AccusedForm<'a>),
    Alive(#[serde(borrow)] AliveForm<'a>),
    Dead(#[serde(borrow)] AccusedForm<'a>),
    Leave(#[serde(borrow)] IntentForm<'a>),
    Join(#[serde(borrow)] IntentForm<'a>),
    Event(#[serde(borrow)] EventForm<'a>),
    Query(#[serde(borrow)] QueryForm<'a>),
    Response(#[serde(borrow)] ResponseForm<'a>),
    Relay(#[serde(borrow)] RelayForm<'a>),
}

#[derive(Serialize, Deserialize)]
struct PingForm<'a> {
    seq: SeqNo,
    #[serde(borrow)]
    node: Bytes<'a>,
    #[serde(borrow)]
    source: Option<SourceForm<'a>>,
}

#[derive(Serialize, Deserialize)]
struct IndirectPingForm<'a> {
    seq: SeqNo,
    #[serde(borrow)]
    node: Bytes<'a>,
    target: GossipAddr,
    nack: bool,
    #[serde(borrow)]
    source: Option<SourceForm<'a>>,
}

#[derive(Serialize, Deserialize)]
struct SourceForm<'a>(GossipAddr, #[serde(borrow)] Bytes<'a>);

#[derive(Serialize, Deserialize)]
struct AccusedForm<'a> {
    #[serde(borrow)]
    node: Bytes<'a>,
    incarnation: Incarnation,
    #[serde(borrow)]
    from: Bytes<'a>,
}

#[derive(Serialize, Deserialize)]
struct AliveForm<'a> {
    #[serde(borrow)]
    node: Bytes<'a>,
    incarnation: Incarnation,
    addr: GossipAddr,
    #[serde(borrow)]
    meta: Bytes<'a>,
    versions: Versions,
}

#[derive(Serialize, Deserialize)]
struct IntentForm<'a> {
    ltime: LamportTime,
    #[serde(borrow)]
    node: Bytes<'a>,
    prune: bool,
}

/// The message of a stream, or the head of a push/pull. The order of the variants is the format.
#[derive(Serialize, Deserialize)]
enum StreamForm<'a> {
    Ping(#[serde(borrow)] PingForm<'a>),
    Ack(SeqNo),
    PushPull(PushPullHead),
    Error(&'a str),
    User(#[serde(borrow)] Bytes<'a>),
    Digest(DigestForm),
}

/// A digest; what has no small values stands in whole bytes.
#[derive(Serialize, Deserialize)]
struct DigestForm {
    clocks: Clocks,
    members: [u8; 8],
    events_since: LamportTime,
    events: [u8; 8],
}

/// Stands before the entries, which follow in this order: nodes, statuses, left, events.
#[derive(Serialize, Deserialize)]
struct PushPullHead {
    join: bool,
    ltime: LamportTime,
    event_ltime: LamportTime,
    query_ltime: LamportTime,
    nodes: u32,
    statuses: u32,
    left: u32,
    /// Of the user events, each with its Lamport time.
    events: u32,
}

/// Bytes that are borrowed from the packet, in one piece.
#[derive(Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Bytes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Deserialize::deserialize(deserializer).map(Self)
    }
}

impl<'a> Bytes<'a> {
    const fn of(name: &'a Name) -> Self {
        Self(name.as_bytes())
    }

    /// The name of an addressee: empty means anybody (gossip-wire.md 4.1).
    fn addressee(self) -> Result<Name, WireError> {
        self.at_most(limits::NAME_BYTES_MAX).map(Name::new)
    }

    /// The name of a member: never empty.
    fn member(self) -> Result<Name, WireError> {
        if self.0.is_empty() { Err(WireError::OutOfRange) } else { self.addressee() }
    }

    fn at_most(self, max: usize) -> Result<&'a [u8], WireError> {
        if self.0.len() > max { Err(WireError::OutOfRange) } else { Ok(self.0) }
    }
}

impl<'a> Form<'a> {
    fn of(message: &'a Message) -> Self {
        match message {
            Message::Ping(ping) => Self::Ping(PingForm::of(ping)),
            Message::IndirectPing(IndirectPing { seq, node, target, nack, source }) => {
                Self::IndirectPing(IndirectPingForm {
                    seq: *seq,
                    node: Bytes::of(node),
                    target: *target,
                    nack: *nack,
                    source: source.as_ref().map(SourceForm::of),
                })
            }
            Message::Ack(Ack { seq, coordinate }) => Self::Ack(*seq, coordinate.as_ref().map(Coordinate::to_f32s)),
            Message::Nack(seq) => Self::Nack(*seq),
            Message::Suspect(accused) => Self::Suspect(AccusedForm::of(accused)),
            Message::Alive(alive) => Self::Alive(AliveForm::of(alive)),
            Message::Dead(accused) => Self::Dead(AccusedForm::of(accused)),
            Message::Serf(SerfMessage::Leave(intent)) => Self::Leave(IntentForm::of(intent)),
            Message::Serf(SerfMessage::Join(intent)) => Self::Join(IntentForm::of(intent)),
            Message::Serf(SerfMessage::Event(event)) => Self::Event(EventForm::of(event)),
            Message::Serf(SerfMessage::Query(query)) => Self::Query(QueryForm::of(query)),
            Message::Serf(SerfMessage::Response(response)) => Self::Response(ResponseForm::of(response)),
            Message::Serf(SerfMessage::Relay(relay)) => Self::Relay(RelayForm::of(relay)),
        }
    }

    fn into_message(self, budget: &mut Budget) -> Result<Message, WireError> {
        Ok(match self {
            Self::Ping(form) => Message::Ping(form.into_ping()?),
            Self::IndirectPing(IndirectPingForm { seq, node, target, nack, source }) => {
                let source = source.map(SourceForm::into_source).transpose()?;
                Message::IndirectPing(IndirectPing { seq, node: node.addressee()?, target, nack, source })
            }
            Self::Ack(seq, numbers) => {
                Message::Ack(Ack { seq, coordinate: numbers.as_ref().map(Coordinate::from_f32s) })
            }
            Self::Nack(seq) => Message::Nack(seq),
            Self::Suspect(form) => Message::Suspect(form.into_accused()?),
            Self::Alive(form) => Message::Alive(form.into_alive()?),
            Self::Dead(form) => Message::Dead(form.into_accused()?),
            Self::Leave(form) => Message::Serf(SerfMessage::Leave(form.into_intent()?)),
            Self::Join(form) => Message::Serf(SerfMessage::Join(form.into_intent()?)),
            Self::Event(form) => Message::Serf(SerfMessage::Event(form.into_event()?)),
            Self::Query(form) => Message::Serf(SerfMessage::Query(form.into_query(budget)?.into())),
            Self::Response(form) => Message::Serf(SerfMessage::Response(form.into_response()?)),
            Self::Relay(form) => Message::Serf(SerfMessage::Relay(form.into_relay()?)),
        })
    }
}

impl<'a> PingForm<'a> {
    fn of(Ping { seq, node, source }: &'a Ping) -> Self {
        Self { seq: *seq, node: Bytes::of(node), source: source.as_ref().map(SourceForm::of) }
    }

    fn into_ping(self) -> Result<Ping, WireError> {
        let source = self.source.map(SourceForm::into_source).transpose()?;
        Ok(Ping { seq: self.seq, node: self.node.addressee()?, source })
    }
}

impl<'a> SourceForm<'a> {
    const fn of(source: &'a ReplyTo) -> Self {
        Self(source.addr, Bytes::of(&source.node))
    }

    fn into_source(self) -> Result<ReplyTo, WireError> {
        Ok(ReplyTo { addr: self.0, node: self.1.addressee()? })
    }
}

impl<'a> AccusedForm<'a> {
    const fn of(Accused { node, incarnation, from }: &'a Accused) -> Self {
        Self { node: Bytes::of(node), incarnation: *incarnation, from: Bytes::of(from) }
    }

    fn into_accused(self) -> Result<Accused, WireError> {
        Ok(Accused { node: self.node.member()?, incarnation: self.incarnation, from: self.from.member()? })
    }
}

impl<'a> AliveForm<'a> {
    const fn of(Alive { node, incarnation, addr, meta, versions }: &'a Alive) -> Self {
        Self {
            node: Bytes::of(node),
            incarnation: *incarnation,
            addr: *addr,
            meta: Bytes(meta.as_bytes()),
            versions: *versions,
        }
    }

    fn into_alive(self) -> Result<Alive, WireError> {
        Ok(Alive {
            node: self.node.member()?,
            incarnation: self.incarnation,
            addr: self.addr,
            meta: Meta::new(self.meta.at_most(limits::META_BYTES_ACCEPTED)?),
            versions: self.versions,
        })
    }
}

impl<'a> IntentForm<'a> {
    const fn of(Intent { ltime, node, prune }: &'a Intent) -> Self {
        Self { ltime: *ltime, node: Bytes::of(node), prune: *prune }
    }

    fn into_intent(self) -> Result<Intent, WireError> {
        Ok(Intent { ltime: self.ltime, node: self.node.member()?, prune: self.prune })
    }
}

impl DigestForm {
    const fn of(&Digest { clocks, members, events_since, events }: &Digest) -> Self {
        Self { clocks, members: members.to_le_bytes(), events_since, events: events.to_le_bytes() }
    }

    const fn into_digest(self) -> Digest {
        let Self { clocks, members, events_since, events } = self;
        Digest { clocks, members: u64::from_le_bytes(members), events_since, events: u64::from_le_bytes(events) }
    }
}

/// Appends the message of a stream.
fn encode_stream(message: &StreamMessage, out: &mut Vec<u8>) {
    match message {
        StreamMessage::Ping(ping) => append(&StreamForm::Ping(PingForm::of(ping)), out),
        StreamMessage::Ack(seq) => append(&StreamForm::Ack(*seq), out),
        StreamMessage::Error(text) => {
            let end = text.floor_char_boundary(limits::ERROR_BYTES_MAX);
            append(&StreamForm::Error(text.get(..end).unwrap_or_default()), out);
        }
        StreamMessage::User(message) => {
            append(&StreamForm::User(Bytes(message)), out);
        }
        StreamMessage::Digest(digest) => append(&StreamForm::Digest(DigestForm::of(digest)), out),
        StreamMessage::PushPull(PushPull { join, nodes, serf, unreadable: _ }) => {
            let SerfState { ltime, event_ltime, query_ltime, statuses, left, events } = serf;
            let head = PushPullHead {
                join: *join,
                ltime: *ltime,
                event_ltime: *event_ltime,
                query_ltime: *query_ltime,
                nodes: count(nodes.len()),
                statuses: count(statuses.len()),
                left: count(left.len()),
                events: count(events.iter().fold(0, |sum, at| sum.saturating_add(at.events.len()))),
            };
            append(&StreamForm::PushPull(head), out);
            out.reserve(nodes.len().saturating_mul(NODE_BYTES_USUAL));
            nodes.iter().for_each(|node| entries::push_node(node, out));
            statuses.iter().for_each(|status| entries::push_status(status, out));
            for name in left {
                append(&Bytes::of(name), out);
            }
            serf::append_events(events, out);
        }
    }
}

/// Reads the message of a stream, which must take all of `bytes`.
fn decode_stream(bytes: &[u8]) -> Result<StreamMessage, WireError> {
    let mut rest = bytes;
    let message = match take(&mut rest)? {
        StreamForm::Ping(form) => StreamMessage::Ping(form.into_ping()?),
        StreamForm::Ack(seq) => StreamMessage::Ack(seq),
        StreamForm::Error(text) if text.len() > limits::ERROR_BYTES_MAX => return Err(WireError::OutOfRange),
        StreamForm::Error(text) => StreamMessage::Error(text.into()),
        StreamForm::User(message) => StreamMessage::User(message.0.into()),
        StreamForm::Digest(form) => StreamMessage::Digest(form.into_digest()),
        StreamForm::PushPull(PushPullHead { join, ltime, event_ltime, query_ltime, nodes, statuses, left, events }) => {
            let mut budget = Budget::push_pull();
            let nodes = entries::take_nodes(&mut rest, nodes, &mut budget)?;
            let statuses = entries::take_statuses(&mut rest, statuses, &mut budget)?;
            let left = entries::take_names(&mut rest, left, &mut budget)?;
            let events = serf::take_events(&mut rest, entry_count(events)?, &mut budget)?;
            let serf = SerfState { ltime, event_ltime, query_ltime, statuses, left, events };
            StreamMessage::PushPull(PushPull { join, nodes, serf, unreadable: 0 })
        }
    };
    if rest.is_empty() { Ok(message) } else { Err(WireError::Malformed) }
}

/// How many entries of one kind a push/pull says it has, if it may have so many.
fn entry_count(count: u32) -> Result<usize, WireError> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if count > limits::PUSH_PULL_NODES_MAX { Err(WireError::OutOfRange) } else { Ok(count) }
}

/// A count that does not fit is beyond every bound: the receiver refuses it.
fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

fn take<'a, F: Deserialize<'a>>(rest: &mut &'a [u8]) -> Result<F, WireError> {
    let (form, behind) = postcard::take_from_bytes(rest).map_err(|error| {
        if error == postcard::Error::DeserializeUnexpectedEnd { WireError::Truncated } else { WireError::Malformed }
    })?;
    *rest = behind;
    Ok(form)
}

fn append(form: &impl Serialize, out: &mut Vec<u8>) {
    let done = postcard::serialize_with_flavor(form, Appended(out));
    debug_assert!(done.is_ok(), "a form has only what postcard can write: {done:?}");
}

/// Appends to a vector that somebody else owns.
struct Appended<'a>(&'a mut Vec<u8>);

impl Flavor for Appended<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
