//! The server side of one connection: bytes in; requests, replies and records out (rpc.md 3 to 6).

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::codec::{self, CommandName, Header};
use super::{
    Body, QUERY_RECORD_BYTES_MAX, QueryRecord, RECORD_BYTES_MAX, RECORDS_MAX, REPLY_BYTES_MAX, REQUEST_BYTES_MAX,
    Reply, Request, SUBSCRIPTIONS_MAX, StreamEvent, StreamFilter, VERSION, texts,
};
use crate::log::Level;
use crate::msgpack::{ReadError, Reader, Scan};

/// One connection. The driver feeds bytes, performs [`SessionAction`]s in order, and takes [`Session::next_output`]s
/// while its socket takes them; each is one whole reply or record.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// The token that is wanted; empty: none.
    auth_key: Vec<u8>,
    input: Vec<u8>,
    /// How many bytes at the front of `input` are done with. They go once they are most of it, so that many small
    /// requests do not each move all that waits behind them.
    consumed: usize,
    /// How far the next header or body of `input` has been looked through.
    scan: Scan,
    input_ended: bool,
    /// Carried from request to request: a missing field keeps its value.
    header: Header,
    /// The command whose header has been read and whose body has not.
    begun: Option<CommandName>,
    handshaken: bool,
    authenticated: bool,
    /// The request that is being performed; later ones wait.
    outstanding: Option<u64>,
    /// Set from the reply that refuses until the connection is closed for it.
    refusal: Option<Refusal>,
    closing: bool,
    closed: bool,
    outputs: VecDeque<OutputItem>,
    /// Bytes of the replies among the outputs.
    reply_bytes: usize,
    /// Bytes of the records of streams and of the monitor among the outputs.
    record_bytes: usize,
    /// Bytes of the query records among the outputs.
    query_record_bytes: usize,
    streams: BTreeMap<u64, Stream>,
    monitor: Option<Monitor>,
    /// How many subscriptions there have been.
    subscriptions: u64,
    /// Records among the outputs whose subscription has ended.
    ended_records: usize,
    query_ids: u64,
}

#[derive(Clone, Debug)]
struct OutputItem {
    bytes: Vec<u8>,
    source: Source,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Reply,
    Query,
    /// The record that ends a query: it is never dropped.
    QueryEnd,
    /// Of the stream that bears the number, or bore it before its end.
    Stream {
        seq: u64,
        id: u64,
    },
    Monitor {
        id: u64,
    },
}

#[derive(Clone, Debug)]
struct Stream {
    /// A number of its own, because `seq` is free again after a stop.
    id: u64,
    filter: StreamFilter,
    queued: usize,
}

#[derive(Clone, Debug)]
struct Monitor {
    id: u64,
    seq: u64,
    level: Level,
    queued: usize,
}

/// Records that were dropped after they had been queued.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Of streams.
    pub events: usize,
    /// Of the monitor.
    pub lines: usize,
    /// Acks and responses of queries.
    pub words: usize,
}

/// What the driver must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionAction {
    /// Perform a request; [`Session::reply`] answers it. Nothing else is read meanwhile.
    Request(Request),
    /// A monitor has begun: hand it the lines that are kept, with [`Session::log_line`].
    MonitorStarted,
    /// A client sent a command without having shown its token; worth a line in the log.
    Unauthenticated,
    /// Send what is queued, then close.
    Close(CloseReason),
}

/// Why a connection is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The client has sent all that it will, and everything is answered.
    EndOfInput,
    /// Nothing more is heard of this client; the reply has said so.
    Refused(Refusal),
    /// The header cannot be read.
    BadHeader(ReadError),
    /// The body cannot be read.
    BadBody(ReadError),
}

/// Why a client is not heard any more. `Display` is upstream's text, which is not that of the reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It did not begin with a handshake.
    NoHandshake,
    /// There is no command of that name.
    UnknownCommand(Vec<u8>),
}

/// Characters of a name that nobody knows which are shown.
const UNKNOWN_CHARS_MAX: usize = 64;

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHandshake => f.write_str(texts::HANDSHAKE_REQUIRED),
            Self::UnknownCommand(name) => {
                let name = String::from_utf8_lossy(name);
                let end = name.char_indices().nth(UNKNOWN_CHARS_MAX).map_or(name.len(), |(at, _)| at);
                let (shown, rest) = name.split_at(end);
                write!(f, "command '{shown}{}' not recognized", if rest.is_empty() { "" } else { "..." })
            }
        }
    }
}

impl Session {
    /// Makes the session of a new connection; `auth_key` empty: no token is wanted.
    pub fn new(auth_key: impl Into<Vec<u8>>) -> Self {
        Self { auth_key: auth_key.into(), ..Self::default() }
    }

    /// Takes bytes in. More than [`Session::wants_input`] asks for are refused when they are read.
    pub fn receive(&mut self, bytes: &[u8]) {
        if !self.closing {
            self.input.extend_from_slice(bytes);
        }
    }

    /// Whether more bytes are wanted now: not while many wait behind a request that is being performed.
    pub fn wants_input(&self) -> bool {
        !self.closing && !self.input_ended && self.unread().len() < REQUEST_BYTES_MAX
    }

    /// The client sends no more; what it has sent is still answered.
    pub const fn end_of_input(&mut self) {
        self.input_ended = true;
    }

    /// The next thing to do; `None`: nothing until more bytes or a reply come, or until replies that wait, or records of
    /// ended subscriptions, are taken: as with upstream, who does not read is not served.
    pub fn next_action(&mut self) -> Option<SessionAction> {
        loop {
            if self.outstanding.is_some() || self.closed {
                return None;
            }
            if let Some(refusal) = self.refusal.take() {
                return Some(self.close(CloseReason::Refused(refusal)));
            }
            if self.reply_bytes >= REPLY_BYTES_MAX || self.ended_records >= RECORDS_MAX {
                return None;
            }
            match self.read_request() {
                Ok(Some(action)) => return Some(action),
                Ok(None) => (),
                Err(Stop::Incomplete) if self.input_ended => return Some(self.close(CloseReason::EndOfInput)),
                Err(Stop::Incomplete) if self.unread().len() >= REQUEST_BYTES_MAX => {
                    let too_long = ReadError::Invalid("the request is too long");
                    let reason = if self.begun.is_some() { CloseReason::BadBody } else { CloseReason::BadHeader };
                    return Some(self.close(reason(too_long)));
                }
                Err(Stop::Incomplete) => return None,
                Err(Stop::Close(reason)) => return Some(self.close(reason)),
            }
        }
    }

    fn close(&mut self, reason: CloseReason) -> SessionAction {
        (self.closing, self.closed) = (true, true);
        self.streams.clear();
        self.monitor = None;
        SessionAction::Close(reason)
    }

    /// Reads one request and performs what is the session's own: `None` if nothing is left to do for it.
    fn read_request(&mut self) -> Result<Option<SessionAction>, Stop> {
        let name = match self.begun {
            Some(name) => name,
            None => {
                self.read_header()?;
                match self.admit() {
                    Admission::Command(name) => name,
                    Admission::Refused => return Ok(None),
                    Admission::Unauthenticated => return Ok(Some(SessionAction::Unauthenticated)),
                }
            }
        };
        self.begun = Some(name);
        let end = if name.has_body() { self.object_end(CloseReason::BadBody)? } else { 0 };
        let request = name
            .read_body(&mut Reader::new(unread(&self.input, self.consumed), codec::LIMITS))
            .map_err(|error| Stop::of(error, CloseReason::BadBody))?;
        self.begun = None;
        self.consume(end);
        Ok(self.begin(request))
    }

    fn read_header(&mut self) -> Result<(), Stop> {
        let end = self.object_end(CloseReason::BadHeader)?;
        self.header
            .update(&mut Reader::new(unread(&self.input, self.consumed), codec::LIMITS))
            .map_err(|error| Stop::of(error, CloseReason::BadHeader))?;
        self.consume(end);
        Ok(())
    }

    /// The length of the header or body at the front of the input. However small the pieces in which it comes, each
    /// byte is looked at once before the object is decoded.
    fn object_end(&mut self, reason: fn(ReadError) -> CloseReason) -> Result<usize, Stop> {
        self.scan.end(unread(&self.input, self.consumed), codec::LIMITS).map_err(|error| Stop::of(error, reason))
    }

    fn consume(&mut self, bytes: usize) {
        self.consumed = self.consumed.saturating_add(bytes).min(self.input.len());
        if self.consumed >= self.unread().len() {
            // Keys and tokens are among what was read: nothing is left of it.
            let left = self.unread().len();
            self.input.copy_within(self.consumed.., 0);
            self.input.get_mut(left..).unwrap_or_default().fill(0);
            self.input.truncate(left);
            self.consumed = 0;
        }
        self.scan = Scan::default();
    }

    fn unread(&self) -> &[u8] {
        unread(&self.input, self.consumed)
    }

    /// Whether the command of the header may be performed. Refusals leave the body where it is, to be taken for the
    /// next header: it may never come (rpc.md 4).
    fn admit(&mut self) -> Admission {
        let name = CommandName::parse(&self.header.command);
        let early = matches!(name, Some(CommandName::Handshake | CommandName::Auth));
        if name != Some(CommandName::Handshake) && !self.handshaken {
            return self.refuse_and_close(texts::HANDSHAKE_REQUIRED, Refusal::NoHandshake);
        }
        if !early && !self.authenticated && !self.auth_key.is_empty() {
            self.queue_reply(self.header.seq, texts::AUTH_REQUIRED.as_bytes(), &Body::None);
            return Admission::Unauthenticated;
        }
        match name {
            Some(name) => Admission::Command(name),
            None => {
                let refusal = Refusal::UnknownCommand(self.header.command.clone());
                self.refuse_and_close(texts::UNSUPPORTED_COMMAND, refusal)
            }
        }
    }

    fn refuse_and_close(&mut self, text: &str, refusal: Refusal) -> Admission {
        self.queue_reply(self.header.seq, text.as_bytes(), &Body::None);
        self.refusal = Some(refusal);
        self.closing = true;
        Admission::Refused
    }

    /// Performs a request of the session's own, or hands it out.
    fn begin(&mut self, request: Request) -> Option<SessionAction> {
        let seq = self.header.seq;
        let error = match request {
            Request::Handshake { version } if version != VERSION => texts::UNSUPPORTED_VERSION,
            Request::Handshake { .. } if self.handshaken => texts::DUPLICATE_HANDSHAKE,
            Request::Handshake { .. } => {
                self.handshaken = true;
                ""
            }
            Request::Auth { key } if constant_time_eq(&key, &self.auth_key) => {
                self.authenticated = true;
                ""
            }
            Request::Auth { .. } => texts::INVALID_TOKEN,
            Request::Stream { kind } => self.begin_stream(seq, &kind),
            Request::Monitor { level } => return self.begin_monitor(seq, &level),
            Request::Stop { seq: stopped } => {
                self.stop(stopped);
                ""
            }
            request @ (Request::Event { .. }
            | Request::ForceLeave { .. }
            | Request::Join { .. }
            | Request::Members
            | Request::MembersFiltered { .. }
            | Request::Tags { .. }
            | Request::Leave
            | Request::Query(_)
            | Request::Respond { .. }
            | Request::Key { .. }
            | Request::Stats
            | Request::GetCoordinate { .. }) => {
                self.outstanding = Some(seq);
                return Some(SessionAction::Request(request));
            }
        };
        self.queue_reply(seq, error.as_bytes(), &Body::None);
        None
    }

    /// Ends the stream and the monitor of that number. What is queued of them still goes out, as upstream's does.
    fn stop(&mut self, seq: u64) {
        let stream = self.streams.remove(&seq).map_or(0, |stream| stream.queued);
        let monitor = self.monitor.take_if(|monitor| monitor.seq == seq).map_or(0, |monitor| monitor.queued);
        self.ended_records = self.ended_records.saturating_add(stream).saturating_add(monitor);
    }

    fn subscription_id(&mut self) -> u64 {
        self.subscriptions = self.subscriptions.saturating_add(1);
        self.subscriptions
    }

    fn begin_stream(&mut self, seq: u64, kind: &[u8]) -> &'static str {
        let Some(filter) = StreamFilter::parse(kind) else { return texts::INVALID_FILTER };
        if self.streams.contains_key(&seq) || self.streams.len() >= SUBSCRIPTIONS_MAX {
            return texts::STREAM_EXISTS;
        }
        let id = self.subscription_id();
        self.streams.insert(seq, Stream { id, filter, queued: 0 });
        ""
    }

    fn begin_monitor(&mut self, seq: u64, level: &[u8]) -> Option<SessionAction> {
        let shown = String::from_utf8_lossy(level).to_uppercase();
        let Some(level) = Level::from_name(&shown) else {
            let text = alloc::format!("Unknown log level: {shown}");
            self.queue_reply(seq, text.as_bytes(), &Body::None);
            return None;
        };
        if self.monitor.is_some() {
            self.queue_reply(seq, texts::MONITOR_EXISTS.as_bytes(), &Body::None);
            return None;
        }
        self.queue_reply(seq, &[], &Body::None);
        self.monitor = Some(Monitor { id: self.subscription_id(), seq, level, queued: 0 });
        Some(SessionAction::MonitorStarted)
    }

    /// Answers the request that is being performed.
    pub fn reply(&mut self, reply: &Reply) {
        if let Some(seq) = self.outstanding.take() {
            self.queue_reply(seq, &reply.error, &reply.body);
        }
    }

    /// The number of the request that is being performed: records of a query carry it.
    pub const fn outstanding(&self) -> Option<u64> {
        self.outstanding
    }

    fn queue_reply(&mut self, seq: u64, error: &[u8], body: &Body) {
        let bytes = codec::write_reply(seq, error, body);
        self.reply_bytes = self.reply_bytes.saturating_add(bytes.len());
        self.outputs.push_back(OutputItem { bytes, source: Source::Reply });
    }

    /// Queues a record for each stream that wants `event`; returns for how many it was dropped, because they are slow.
    pub fn publish(&mut self, event: &StreamEvent) -> usize {
        let mut dropped: usize = 0;
        for (&seq, stream) in self.streams.iter_mut().filter(|(_, stream)| stream.filter.matches(event)) {
            if stream.queued >= RECORDS_MAX || self.record_bytes >= RECORD_BYTES_MAX {
                dropped = dropped.saturating_add(1);
                continue;
            }
            stream.queued = stream.queued.saturating_add(1);
            if matches!(event, StreamEvent::Query { .. }) {
                self.query_ids = self.query_ids.saturating_add(1);
            }
            let bytes = codec::write_event(seq, event, self.query_ids);
            self.record_bytes = self.record_bytes.saturating_add(bytes.len());
            self.outputs.push_back(OutputItem { bytes, source: Source::Stream { seq, id: stream.id } });
        }
        dropped
    }

    /// How many ids the queries of this connection's streams have got. They count up from 1, and the streams share
    /// them: a query that is published gets those above the number before, up to the number after.
    pub const fn query_ids(&self) -> u64 {
        self.query_ids
    }

    /// Queues a line for the monitor if it wants lines of that level; a line without a level always passes. True if
    /// it was dropped, because the client is slow.
    pub fn log_line(&mut self, level: Option<Level>, line: &[u8]) -> bool {
        let Some(monitor) = &mut self.monitor else { return false };
        if level.is_some_and(|level| level < monitor.level) {
            return false;
        }
        if monitor.queued >= RECORDS_MAX || self.record_bytes >= RECORD_BYTES_MAX {
            return true;
        }
        monitor.queued = monitor.queued.saturating_add(1);
        let bytes = codec::write_log(monitor.seq, line);
        self.record_bytes = self.record_bytes.saturating_add(bytes.len());
        self.outputs.push_back(OutputItem { bytes, source: Source::Monitor { id: monitor.id } });
        false
    }

    /// Queues a record of the query with that number. True if it was dropped, because the client is slow; the record
    /// that ends a query never is.
    pub fn query_record(&mut self, seq: u64, record: &QueryRecord) -> bool {
        let bytes = codec::write_query_record(seq, record);
        let waiting = self.query_record_bytes.saturating_add(bytes.len());
        let last = match record {
            QueryRecord::Done => true,
            QueryRecord::Ack { .. } | QueryRecord::Response { .. } => false,
        };
        if waiting > QUERY_RECORD_BYTES_MAX && !last {
            return true;
        }
        self.query_record_bytes = waiting;
        let source = if last { Source::QueryEnd } else { Source::Query };
        self.outputs.push_back(OutputItem { bytes, source });
        false
    }

    /// Whether the client has shaken hands, and has shown the token if one is wanted.
    pub const fn is_admitted(&self) -> bool {
        self.handshaken && (self.authenticated || self.auth_key.is_empty())
    }

    /// Whether any stream or the monitor is open.
    pub fn is_subscribed(&self) -> bool {
        !self.streams.is_empty() || self.monitor.is_some()
    }

    /// Takes the next reply or record: one write of the socket.
    pub fn next_output(&mut self) -> Option<Vec<u8>> {
        let item = self.outputs.pop_front()?;
        self.forget_output(&item);
        Some(item.bytes)
    }

    /// Bytes that the replies and records that wait take.
    pub fn owed_bytes(&self) -> usize {
        let items = self.outputs.len().saturating_mul(size_of::<OutputItem>());
        let records = self.record_bytes.saturating_add(self.query_record_bytes);
        self.reply_bytes.saturating_add(records).saturating_add(items)
    }

    /// Drops records, the newest first, until so many bytes are free or none is left. Replies and the ends of queries stay.
    pub fn drop_records(&mut self, bytes: usize) -> Dropped {
        let wanted = self.owed_bytes().saturating_sub(bytes);
        let mut dropped = Dropped::default();
        let mut kept = Vec::new();
        while self.owed_bytes().saturating_add(kept_bytes(&kept)) > wanted
            && let Some(item) = self.outputs.pop_back()
        {
            let count = match item.source {
                Source::Reply | Source::QueryEnd => {
                    kept.push(item);
                    continue;
                }
                Source::Query => &mut dropped.words,
                Source::Stream { .. } => &mut dropped.events,
                Source::Monitor { .. } => &mut dropped.lines,
            };
            *count = count.saturating_add(1);
            self.forget_output(&item);
        }
        self.outputs.extend(kept.into_iter().rev());
        dropped
    }

    /// Takes an output that is gone out of the counts.
    fn forget_output(&mut self, item: &OutputItem) {
        let bytes = item.bytes.len();
        if matches!(item.source, Source::Stream { .. } | Source::Monitor { .. }) {
            self.record_bytes = self.record_bytes.saturating_sub(bytes);
        }
        match item.source {
            Source::Reply => self.reply_bytes = self.reply_bytes.saturating_sub(bytes),
            Source::Query | Source::QueryEnd => self.query_record_bytes = self.query_record_bytes.saturating_sub(bytes),
            Source::Stream { seq, id } => match self.streams.get_mut(&seq).filter(|stream| stream.id == id) {
                Some(stream) => stream.queued = stream.queued.saturating_sub(1),
                None => self.ended_records = self.ended_records.saturating_sub(1),
            },
            Source::Monitor { id } => match self.monitor.as_mut().filter(|monitor| monitor.id == id) {
                Some(monitor) => monitor.queued = monitor.queued.saturating_sub(1),
                None => self.ended_records = self.ended_records.saturating_sub(1),
            },
        }
    }

    /// Whether a reply or record waits.
    pub fn has_output(&self) -> bool {
        !self.outputs.is_empty()
    }
}

/// What items that are put back take besides their bytes, which stay counted.
const fn kept_bytes(kept: &[OutputItem]) -> usize {
    size_of_val(kept)
}

/// A function of its own, so that the rest of a session can be changed meanwhile.
fn unread(input: &[u8], consumed: usize) -> &[u8] {
    input.get(consumed..).unwrap_or_default()
}

enum Admission {
    Command(CommandName),
    Refused,
    Unauthenticated,
}

enum Stop {
    Incomplete,
    Close(CloseReason),
}

impl Stop {
    fn of(error: ReadError, reason: fn(ReadError) -> CloseReason) -> Self {
        match error {
            ReadError::Incomplete => Self::Incomplete,
            ReadError::Invalid(_) => Self::Close(reason(error)),
        }
    }
}

fn constant_time_eq(one: &[u8], other: &[u8]) -> bool {
    subtle::ConstantTimeEq::ct_eq(one, other).into()
}
