//! Streams: reassembly, bounds, deadlines, and which exchange each one carries (gossip-wire.md 2).

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::command::ExchangeError;
use crate::config::Wire;
use crate::ctx::Ctx;
use crate::io::{Activity, Output, StreamAction, StreamError, StreamEvent, StreamId};
use crate::junk::network;
use crate::limits;
use crate::log::Log;
use crate::time::Time;
use crate::timers::{TimerKind, Timers};
use crate::types::SeqNo;
use crate::wire::memberlist::Progress;
use crate::wire::{
    Digest, Encoding, Pieces, Ping, PushPull, StreamMessage, WireError, open_stream, seal_stream, stream_encoding,
};

/// Every open stream of a node.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Streams {
    open: BTreeMap<StreamId, Stream>,
    /// How many were opened by us; the next one's number is twice that.
    opened: u64,
    /// Bytes held by all of them.
    held: usize,
    outcomes: Vec<Outcome>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Stream {
    #[serde(with = "crate::types::socket_addr")]
    peer: SocketAddr,
    role: Role,
    connected: bool,
    /// What is spoken on it; of one that a peer has opened its first bytes say it.
    encoding: Encoding,
    received: Pieces,
    progress: Progress,
    /// Whether the peer's digest came: there is one of each side.
    compared: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Role {
    /// A peer opened it and asks something.
    Inbound,
    /// A stream ping of ours.
    Ping(Ping),
    /// A push/pull of ours.
    Exchange(Exchange),
}

/// A push/pull that we began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Exchange {
    pub(crate) kind: ExchangeKind,
    #[serde(with = "crate::types::socket_addr")]
    pub(crate) to: SocketAddr,
    pub(crate) encoding: Encoding,
}

impl Exchange {
    /// An exchange with somebody of whom nothing sure is known.
    pub(crate) const fn opening(ctx: &Ctx<'_>, kind: ExchangeKind, to: SocketAddr) -> Self {
        Self { kind, to, encoding: ctx.opening() }
    }

    /// Whether digests are compared first. Only members who exchange regularly have reason to agree.
    pub(crate) fn compares(&self) -> bool {
        self.kind == ExchangeKind::Periodic && self.encoding == Encoding::Native
    }
}

/// What a push/pull is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ExchangeKind {
    /// The periodic exchange.
    Periodic,
    /// A join.
    Join,
    /// An attempt to reach a failed member.
    Reconnect,
    /// An attempt to reach a peer of the snapshot.
    Snapshot,
}

/// A push/pull of ours is over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) exchange: Exchange,
    pub(crate) result: Result<(), ExchangeError>,
}

/// What the node must do after an event of a stream.
#[derive(Debug)]
pub(crate) enum StreamStep {
    /// Nothing more.
    Done,
    /// A stream ping asks whether we are there.
    Ping(StreamId, Ping),
    /// Our stream ping was answered.
    Ack(SeqNo),
    /// The stream is connected and waits for what we know.
    Begin(StreamId, Exchange),
    /// A peer sent the digest of what it knows and waits for ours.
    AnswerDigest(StreamId, Digest),
    /// The peer answered with its digest: if it is not ours, it waits for our state.
    Compare(StreamId, Exchange, Digest),
    /// A peer sent its state and waits for ours.
    AnswerState(StreamId, SocketAddr, Encoding, PushPull),
    /// The peer answered with its state.
    State(Exchange, PushPull),
    /// A peer sent a message of the layer above.
    User(SocketAddr, Box<[u8]>),
}

impl Streams {
    /// Opens a stream ping; `None` if too many streams are open.
    pub(super) fn open_ping(
        &mut self,
        ctx: &mut Ctx<'_>,
        to: SocketAddr,
        ping: Ping,
        deadline: Time,
    ) -> Option<StreamId> {
        self.open(ctx, to, Role::Ping(ping), deadline)
    }

    /// Begins a push/pull; its [`Outcome`] follows.
    pub(crate) fn open_exchange(&mut self, ctx: &mut Ctx<'_>, exchange: Exchange) {
        let deadline = ctx.now + ctx.config.swim.stream_timeout;
        if self.open(ctx, exchange.to, Role::Exchange(exchange), deadline).is_none() {
            self.outcomes.push(Outcome { exchange, result: Err(ExchangeError::Busy) });
        }
    }

    fn open(&mut self, ctx: &mut Ctx<'_>, to: SocketAddr, role: Role, deadline: Time) -> Option<StreamId> {
        let ours = self.open.keys().filter(|id| id.is_ours()).count();
        if ours >= limits::STREAMS_OUT_MAX {
            ctx.dropped("outbound streams", limits::STREAMS_OUT_MAX, 1);
            return None;
        }
        self.opened = self.opened.saturating_add(1);
        let id = StreamId(self.opened.saturating_mul(2));
        let activity = role.activity();
        let encoding = match &role {
            Role::Exchange(exchange) => exchange.encoding,
            Role::Inbound | Role::Ping(_) => ctx.opening(),
        };
        self.open.insert(id, Stream { connected: false, ..Stream::new(to, role, encoding) });
        ctx.arm(TimerKind::Stream(id), deadline);
        ctx.out.push(Output::Stream { activity, id, action: StreamAction::Connect(to) });
        Some(id)
    }

    /// Handles what the driver says of a stream; an event of an unknown one is late and ignored.
    pub(crate) fn on_event(&mut self, ctx: &mut Ctx<'_>, id: StreamId, event: StreamEvent<'_>) -> StreamStep {
        match event {
            StreamEvent::Accepted { from } => self.accept(ctx, id, from),
            StreamEvent::Connected => return self.connected(ctx, id),
            StreamEvent::Bytes(bytes) => return self.receive(ctx, id, bytes),
            StreamEvent::Closed => self.fail(ctx, id, StreamError::Closed),
            StreamEvent::Failed(error) => self.fail(ctx, id, error),
        }
        StreamStep::Done
    }

    fn accept(&mut self, ctx: &mut Ctx<'_>, id: StreamId, from: SocketAddr) {
        let inbound = self.open.keys().filter(|id| !id.is_ours()).count();
        let full = inbound >= limits::STREAMS_IN_MAX;
        if full {
            ctx.dropped("inbound streams", limits::STREAMS_IN_MAX, 1);
        }
        let refused = id.is_ours() || self.open.contains_key(&id);
        if refused || (full && !self.make_room(ctx, from)) {
            ctx.out.push(Output::Stream { activity: Activity::Stream, id, action: StreamAction::Abort });
            return;
        }
        ctx.log(Log::StreamFrom(from));
        self.open.insert(id, Stream::new(from, Role::Inbound, Encoding::default()));
        ctx.arm(TimerKind::Stream(id), ctx.now + ctx.config.swim.stream_timeout);
    }

    fn connected(&mut self, ctx: &mut Ctx<'_>, id: StreamId) -> StreamStep {
        let Some(stream) = self.open.get_mut(&id).filter(|stream| !stream.connected) else { return StreamStep::Done };
        stream.connected = true;
        match &stream.role {
            Role::Inbound => StreamStep::Done,
            Role::Exchange(exchange) => StreamStep::Begin(id, *exchange),
            Role::Ping(ping) => {
                let (message, encoding) = (StreamMessage::Ping(ping.clone()), stream.encoding);
                write(ctx, Activity::Probe, id, encoding, &message);
                StreamStep::Done
            }
        }
    }

    fn receive(&mut self, ctx: &mut Ctx<'_>, id: StreamId, bytes: &[u8]) -> StreamStep {
        // Nothing comes before the connection stands; what did would decide in which encoding we begin.
        let Some(stream) = self.open.get_mut(&id).filter(|stream| stream.connected) else { return StreamStep::Done };
        if stream.received.len().saturating_add(bytes.len()) > limits::STREAM_BYTES_MAX {
            let error = WireError::TooLong { bytes: stream.received.len().saturating_add(bytes.len()) as u64 };
            self.reject(ctx, id, error);
            return StreamStep::Done;
        }
        stream.received.push(bytes);
        self.held = self.held.saturating_add(bytes.len());
        self.shed(ctx);
        let Some(stream) = self.open.get_mut(&id) else { return StreamStep::Done };
        let theirs = matches!(stream.role, Role::Inbound);
        if let Some(encoding) = stream_encoding(stream.received.start(), theirs) {
            stream.encoding = encoding;
            if encoding == Encoding::Native && ctx.config.wire == Wire::Memberlist {
                self.reject(ctx, id, WireError::NotSpoken(encoding));
                return StreamStep::Done;
            }
        }
        let held = stream.received.len();
        let message = open_stream(&mut stream.received, ctx.envelope(), theirs, &mut stream.progress);
        self.held = self.held.saturating_sub(held.saturating_sub(stream.received.len()));
        match message {
            Ok(None) => StreamStep::Done,
            Ok(Some(message)) => self.on_message(ctx, id, message),
            Err(error) => {
                self.reject(ctx, id, error);
                StreamStep::Done
            }
        }
    }

    fn on_message(&mut self, ctx: &mut Ctx<'_>, id: StreamId, message: StreamMessage) -> StreamStep {
        let Some(stream) = self.open.get_mut(&id) else { return StreamStep::Done };
        stream.progress = Progress::NEW;
        let (peer, encoding) = (stream.peer, stream.encoding);
        match (&stream.role, message) {
            (Role::Inbound, StreamMessage::Ping(ping)) => StreamStep::Ping(id, ping),
            (Role::Inbound, StreamMessage::PushPull(state)) => StreamStep::AnswerState(id, peer, encoding, state),
            (Role::Inbound, StreamMessage::Digest(digest)) if !stream.compared => {
                stream.compared = true;
                StreamStep::AnswerDigest(id, digest)
            }
            (Role::Exchange(exchange), StreamMessage::Digest(digest)) if exchange.compares() && !stream.compared => {
                let exchange = *exchange;
                stream.compared = true;
                StreamStep::Compare(id, exchange, digest)
            }
            (Role::Inbound, StreamMessage::User(message)) => {
                self.close(ctx, id, StreamAction::Finish);
                StreamStep::User(peer, message)
            }
            (Role::Ping(ping), StreamMessage::Ack(seq)) if ping.seq == seq => {
                self.abort(ctx, id);
                StreamStep::Ack(seq)
            }
            (Role::Exchange(exchange), StreamMessage::PushPull(state)) => {
                let exchange = *exchange;
                self.close(ctx, id, StreamAction::Finish);
                StreamStep::State(exchange, state)
            }
            (Role::Exchange(_), StreamMessage::Error(text)) => {
                self.end(ctx, id, ExchangeError::Remote(text), Some(StreamAction::Abort));
                StreamStep::Done
            }
            (
                Role::Inbound | Role::Ping(_) | Role::Exchange(_),
                StreamMessage::Ping(_)
                | StreamMessage::Ack(_)
                | StreamMessage::PushPull(_)
                | StreamMessage::Digest(_)
                | StreamMessage::Error(_)
                | StreamMessage::User(_),
            ) => {
                self.reject(ctx, id, WireError::Unexpected);
                StreamStep::Done
            }
        }
    }

    /// Sends what is not the last word of a stream.
    pub(crate) fn send(&mut self, ctx: &mut Ctx<'_>, id: StreamId, message: &StreamMessage) {
        if let Some(stream) = self.open.get(&id) {
            write(ctx, stream.role.activity(), id, stream.encoding, message);
        }
    }

    /// Sends the one answer of an inbound stream and closes it.
    pub(crate) fn answer(&mut self, ctx: &mut Ctx<'_>, id: StreamId, message: &StreamMessage) {
        if let Some(stream) = self.open.get(&id) {
            write(ctx, Activity::Stream, id, stream.encoding, message);
            self.close(ctx, id, StreamAction::Finish);
        }
    }

    /// Ends an exchange that had nothing to tell.
    pub(crate) fn finish(&mut self, ctx: &mut Ctx<'_>, id: StreamId, exchange: Exchange) {
        self.close(ctx, id, StreamAction::Finish);
        self.note(exchange, Ok(()));
    }

    /// Notes how an exchange whose stream is closed already has ended.
    pub(crate) fn note(&mut self, exchange: Exchange, result: Result<(), ExchangeError>) {
        self.outcomes.push(Outcome { exchange, result });
    }

    /// Whether a push/pull of ours is under way.
    pub(crate) fn exchanges(&self) -> bool {
        self.open.values().any(|stream| matches!(stream.role, Role::Exchange(_)))
    }

    /// Whether no exchange is over that nobody has heard of.
    pub(super) const fn is_settled(&self) -> bool {
        self.outcomes.is_empty()
    }

    /// Takes the exchanges that are over.
    pub(crate) fn take_outcomes(&mut self) -> Vec<Outcome> {
        core::mem::take(&mut self.outcomes)
    }

    /// Closes a stream at once; nothing is noted.
    pub(crate) fn abort(&mut self, ctx: &mut Ctx<'_>, id: StreamId) {
        if self.open.contains_key(&id) {
            self.close(ctx, id, StreamAction::Abort);
        }
    }

    /// A stream has had its time.
    pub(super) fn on_deadline(&mut self, ctx: &mut Ctx<'_>, id: StreamId) {
        let Some(stream) = self.open.get(&id) else { return };
        let error = if stream.connected {
            ExchangeError::TimedOut
        } else {
            ExchangeError::Dial { to: stream.peer, error: StreamError::TimedOut }
        };
        self.end(ctx, id, error, Some(StreamAction::Abort));
    }

    /// The driver says that the stream is gone, or that the peer sends no more.
    fn fail(&mut self, ctx: &mut Ctx<'_>, id: StreamId, error: StreamError) {
        let Some(stream) = self.open.get(&id) else { return };
        let reason = if !stream.connected {
            ExchangeError::Dial { to: stream.peer, error }
        } else if ctx.config.wire == Wire::Native {
            ExchangeError::Unread(error)
        } else {
            ExchangeError::Stream(error)
        };
        // After `Closed` our side is still open; after `Failed` there is nothing left to close.
        let action = (error == StreamError::Closed).then_some(StreamAction::Abort);
        self.end(ctx, id, reason, action);
    }

    /// What came cannot be used: the peer is told why if it asked, and the exchange fails if we did.
    fn reject(&mut self, ctx: &mut Ctx<'_>, id: StreamId, error: WireError) {
        let Some(stream) = self.open.get(&id) else { return };
        ctx.log(Log::StreamRejected(stream.peer, error.clone()));
        if matches!(error, WireError::Magic(_) | WireError::Label { .. }) {
            // Who is no agent of this cluster gets no answer (gossip-wire.md 2).
            self.end(ctx, id, ExchangeError::Wire(error), Some(StreamAction::Abort));
        } else if matches!(stream.role, Role::Inbound) {
            let text = alloc::format!("{error}");
            self.answer(ctx, id, &StreamMessage::Error(text));
        } else {
            self.end(ctx, id, ExchangeError::Wire(error), Some(StreamAction::Abort));
        }
    }

    fn end(&mut self, ctx: &mut Ctx<'_>, id: StreamId, error: ExchangeError, action: Option<StreamAction>) {
        let Some(stream) = self.open.get(&id) else { return };
        if let Role::Exchange(exchange) = stream.role {
            self.outcomes.push(Outcome { exchange, result: Err(error) });
        }
        match action {
            Some(action) => self.close(ctx, id, action),
            None => self.forget(ctx, id),
        }
    }

    fn close(&mut self, ctx: &mut Ctx<'_>, id: StreamId, action: StreamAction) {
        let activity = self.open.get(&id).map_or(Activity::Stream, |stream| stream.role.activity());
        self.forget(ctx, id);
        ctx.out.push(Output::Stream { activity, id, action });
    }

    fn forget(&mut self, ctx: &mut Ctx<'_>, id: StreamId) {
        ctx.timers.disarm(TimerKind::Stream(id));
        if let Some(stream) = self.open.remove(&id) {
            self.held = self.held.saturating_sub(stream.received.len());
        }
    }

    /// While the bound for all streams is exceeded, the newest stream of the source that holds most goes.
    fn shed(&mut self, ctx: &mut Ctx<'_>) {
        while self.held > limits::STREAMS_BYTES_MAX
            && let Some(newest) = self.greediest()
        {
            ctx.dropped("bytes of all streams", limits::STREAMS_BYTES_MAX, 1);
            self.end(ctx, newest, ExchangeError::Busy, Some(StreamAction::Abort));
        }
    }

    /// Ends the oldest inbound stream of the source that has most of them, if it has two more than `from`'s.
    fn make_room(&mut self, ctx: &mut Ctx<'_>, from: SocketAddr) -> bool {
        let sources = shares(self.open.iter().filter(|(id, _)| !id.is_ours()), |_| 1);
        let theirs = sources.get(&network(from.ip())).map_or(0, |share| share.sum);
        let most = sources.values().max_by_key(|share| (share.sum, core::cmp::Reverse(share.oldest)));
        let Some(most) = most.filter(|most| most.sum > theirs.saturating_add(1)) else { return false };
        self.end(ctx, most.oldest, ExchangeError::Busy, Some(StreamAction::Abort));
        true
    }

    fn greediest(&self) -> Option<StreamId> {
        let sources = shares(self.open.iter(), |stream| stream.received.len());
        sources.values().max_by_key(|share| (share.sum, share.newest)).map(|share| share.newest)
    }

    /// Checks that every stream has its deadline and that the bytes add up.
    pub(super) fn check(&self, timers: &Timers) -> Result<(), alloc::string::String> {
        let held = self.open.values().fold(0_usize, |sum, stream| sum.saturating_add(stream.received.len()));
        if held != self.held {
            return Err(alloc::format!("streams hold {held} bytes, {} are counted", self.held));
        }
        match self.open.keys().find(|&&id| timers.deadline(TimerKind::Stream(id)).is_none()) {
            Some(id) => Err(alloc::format!("stream {} has no deadline", id.0)),
            None => Ok(()),
        }
    }
}

/// What the streams of one source come to.
struct Share {
    sum: usize,
    oldest: StreamId,
    newest: StreamId,
}

/// The streams by source, each with its weight.
fn shares<'a>(
    streams: impl Iterator<Item = (&'a StreamId, &'a Stream)>,
    weigh: impl Fn(&Stream) -> usize,
) -> BTreeMap<u128, Share> {
    let mut shares = BTreeMap::new();
    for (&id, stream) in streams {
        let share = shares.entry(network(stream.peer.ip())).or_insert(Share { sum: 0, oldest: id, newest: id });
        share.sum = share.sum.saturating_add(weigh(stream));
        share.newest = id;
    }
    shares
}

impl Stream {
    const fn new(peer: SocketAddr, role: Role, encoding: Encoding) -> Self {
        Self { peer, role, connected: true, encoding, received: Pieces::NEW, progress: Progress::NEW, compared: false }
    }
}

impl Role {
    const fn activity(&self) -> Activity {
        match self {
            Self::Inbound => Activity::Stream,
            Self::Ping(_) => Activity::Probe,
            Self::Exchange(exchange) => match exchange.kind {
                ExchangeKind::Periodic => Activity::PushPull,
                ExchangeKind::Join | ExchangeKind::Reconnect | ExchangeKind::Snapshot => Activity::Serf,
            },
        }
    }
}

/// Writes one whole frame. The dialling side is the one whose number is even.
fn write(ctx: &mut Ctx<'_>, activity: Activity, id: StreamId, encoding: Encoding, message: &StreamMessage) {
    let nonce = ctx.nonce();
    let frame = seal_stream(encoding, message, ctx.envelope(), nonce, id.is_ours(), ctx.config.compress);
    ctx.out.push(Output::Stream { activity, id, action: StreamAction::Write(frame) });
}
