//! The gossip sockets as one source of inputs for the core.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use mio::net::TcpListener;
use mio::{Registry, Token};
use villein_core::io::{StreamAction, StreamError, StreamEvent, StreamId};
use villein_core::log::Level;
use villein_core::{Activity, Stimulus, Time};

use crate::log_ring::Journal;
use crate::perform::Answer;
use crate::sockets::Gossip;
use crate::tcp::{Accept, Listener, Read, Streams};
use crate::tokens::Source;
use crate::udp::{Sent, Udp};

/// Datagrams and streams.
pub(crate) struct Network {
    udp: Udp,
    udp_readable: bool,
    udp_writable: bool,
    listener: Listener,
    streams: Streams,
    /// Inputs that need no more reading.
    told: VecDeque<Arrival>,
    /// Whether the last input was a datagram: streams are next.
    datagram_last: bool,
    accept_error: Option<io::Error>,
}

/// Something that came from the network. Its bytes are in the buffer that was read into.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// A datagram of that length.
    Datagram(SocketAddr, usize),
    /// A peer opened a stream.
    Accepted(StreamId, SocketAddr),
    /// A stream that we opened stands.
    Connected(StreamId),
    /// That many bytes on a stream.
    Bytes(StreamId, usize),
    /// The peer will send no more.
    Closed(StreamId),
    /// A stream is gone.
    Failed(StreamId, StreamError),
}

impl Arrival {
    /// How many bytes of a stream came.
    pub(crate) const fn stream_bytes(&self) -> usize {
        match self {
            Self::Bytes(_, len) => *len,
            Self::Datagram(..) | Self::Accepted(..) | Self::Connected(_) | Self::Closed(_) | Self::Failed(..) => 0,
        }
    }

    /// The input for the core; `buffer` is the one that was read into.
    pub(crate) fn stimulus(self, buffer: &[u8]) -> Stimulus<'_> {
        let bytes = |len| buffer.get(..len).unwrap_or_default();
        let (id, event) = match self {
            Self::Datagram(from, len) => return Stimulus::Datagram { from, bytes: bytes(len) },
            Self::Accepted(id, from) => (id, StreamEvent::Accepted { from }),
            Self::Connected(id) => (id, StreamEvent::Connected),
            Self::Bytes(id, len) => (id, StreamEvent::Bytes(bytes(len))),
            Self::Closed(id) => (id, StreamEvent::Closed),
            Self::Failed(id, error) => (id, StreamEvent::Failed(error)),
        };
        Stimulus::Stream { id, event }
    }
}

impl Network {
    /// Registers the sockets.
    pub(crate) fn new(gossip: Gossip, registry: &Registry) -> io::Result<Self> {
        Ok(Self {
            udp: Udp::new(gossip.udp, registry, Source::Udp.token())?,
            udp_readable: false,
            udp_writable: false,
            listener: Listener::new(TcpListener::from_std(gossip.tcp), registry, Source::Listener.token())?,
            streams: Streams::default(),
            told: VecDeque::new(),
            datagram_last: false,
            accept_error: None,
        })
    }

    /// Remembers what the system says is ready.
    pub(crate) fn note(&mut self, token: Token, readable: bool, writable: bool) {
        match Source::of(token) {
            Some(Source::Udp) => {
                self.udp_readable |= readable;
                self.udp_writable |= writable;
            }
            Some(Source::Listener) => self.listener.set_ready(),
            Some(Source::Stream(id)) => {
                if writable && let Some(told) = self.streams.writable(id) {
                    self.told
                        .push_back(told.map_or_else(|error| Arrival::Failed(id, error), |()| Arrival::Connected(id)));
                }
                if readable {
                    self.streams.readable(id);
                }
            }
            Some(Source::Waker | Source::Signals | Source::RpcListener | Source::Client(_) | Source::Script(_))
            | None => {}
        }
    }

    /// Whether something waits that the system will not tell again.
    pub(crate) fn is_ready(&self) -> bool {
        self.udp_readable || self.streams.is_ready() || !self.told.is_empty()
    }

    /// When the network wants to be looked at although the system says nothing.
    pub(crate) fn deadline(&self, now: Time) -> Option<Time> {
        [self.listener.deadline(now), self.streams.deadline()].into_iter().flatten().min()
    }

    /// The next thing that has come; datagrams and streams take turns, where streams are to be read.
    pub(crate) fn next_arrival(
        &mut self,
        now: Time,
        registry: &Registry,
        buffer: &mut [u8],
        streams: bool,
    ) -> Option<Arrival> {
        if self.told.is_empty() {
            self.accept(now, registry);
        }
        if let Some(told) = self.told.pop_front() {
            return Some(told);
        }
        if self.datagram_last
            && streams
            && let Some(arrival) = self.read_streams(buffer)
        {
            self.datagram_last = false;
            return Some(arrival);
        }
        if self.udp_readable {
            if let Some((len, from)) = self.udp.receive(buffer) {
                self.datagram_last = true;
                return Some(Arrival::Datagram(from, len));
            }
            self.udp_readable = false;
        }
        if streams { self.read_streams(buffer) } else { None }
    }

    fn read_streams(&mut self, buffer: &mut [u8]) -> Option<Arrival> {
        while let Some((id, read)) = self.streams.read(buffer) {
            match read {
                Read::Bytes(len) => return Some(Arrival::Bytes(id, len)),
                Read::Closed => return Some(Arrival::Closed(id)),
                Read::Failed(error) => return Some(Arrival::Failed(id, error)),
                Read::Nothing => {}
            }
        }
        None
    }

    fn accept(&mut self, now: Time, registry: &Registry) {
        let Self { listener, streams, told, accept_error, .. } = self;
        listener.accept(now, |accept| {
            let taken = match accept {
                Accept::Taken(socket, from) => {
                    streams.accepted(socket, from, registry).map(|id| Arrival::Accepted(id, from))
                }
                Accept::Failed(error) => Err(error),
            };
            match taken {
                Ok(arrival) => told.push_back(arrival),
                Err(error) => *accept_error = Some(error),
            }
        });
    }

    /// Says in the log why connections could not be accepted, and how many were given up.
    pub(crate) fn log_problems(&mut self, journal: &mut Journal) {
        if let Some(error) = self.accept_error.take() {
            journal.log(Level::Err, format_args!("memberlist: Error accepting TCP connection: {error}"));
        }
        let shed = self.streams.shed_unsaid();
        let problem = format_args!("memberlist: gave up {shed} streams: too much waits for peers that do not read");
        if *shed > 0 && journal.log_sum(Level::Warn, problem) {
            *shed = 0;
        }
    }

    /// Sends a datagram; what the core must hear of it, if anything.
    pub(crate) fn send(
        &mut self,
        registry: &Registry,
        activity: Activity,
        to: SocketAddr,
        bytes: Box<[u8]>,
    ) -> Option<Answer> {
        match self.udp.send(registry, activity, to, bytes) {
            Sent::Gone | Sent::Behind => None,
            // Upkeep has no timers that could be stalled.
            Sent::Stalled => (activity != Activity::Upkeep).then_some(Answer::Stalled(activity)),
            Sent::Failed => Some(Answer::SendFailed(activity, to)),
        }
    }

    /// Sends what waited for the socket; what the core must hear of it.
    pub(crate) fn flush(&mut self, registry: &Registry, journal: &mut Journal) -> Vec<Answer> {
        let mut answers = Vec::new();
        if std::mem::take(&mut self.udp_writable) {
            self.udp.flush(registry, &mut answers);
            answers.retain(|answer| !matches!(answer, Answer::Resumed(Activity::Upkeep)));
            let dropped = self.udp.dropped();
            let problem = format_args!("memberlist: dropped {dropped} packets: the socket was full");
            if dropped > 0 && journal.log_sum(Level::Warn, problem) {
                self.udp.forget_dropped();
            }
        }
        answers
    }

    /// Does what the core wants of a stream; what the core must hear of it, if anything.
    pub(crate) fn act(
        &mut self,
        registry: &Registry,
        id: StreamId,
        action: StreamAction,
        finish_by: Time,
    ) -> Option<Answer> {
        let done = match action {
            StreamAction::Connect(to) => self.streams.connect(id, to, registry),
            StreamAction::Write(frame) => self.streams.write(id, frame),
            StreamAction::Finish | StreamAction::Abort => {
                // No more events of it are wanted, those that wait included.
                self.told.retain(|told| !told.is_of(id));
                if action == StreamAction::Finish {
                    self.streams.finish(id, finish_by);
                } else {
                    self.streams.abort(id);
                }
                Ok(())
            }
        };
        done.err().map(|error| Answer::StreamFailed(id, error))
    }

    /// Gives up streams whose peers do not take what we sent last.
    pub(crate) fn expire(&mut self, now: Time) {
        self.streams.expire(now);
    }
}

impl Arrival {
    fn is_of(&self, stream: StreamId) -> bool {
        match self {
            Self::Datagram(..) => false,
            Self::Accepted(id, _)
            | Self::Connected(id)
            | Self::Bytes(id, _)
            | Self::Closed(id)
            | Self::Failed(id, _) => *id == stream,
        }
    }
}
