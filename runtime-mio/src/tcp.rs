//! Gossip streams: accepted and opened sockets, each with a bounded queue of frames to write.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::time::Duration;

use mio::event::Source;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use villein_core::Time;
use villein_core::io::{StreamError, StreamId};
use villein_core::limits;

use crate::limits::{ACCEPTED_PER_TURN, STREAMS_FINISHING_MAX, STREAMS_QUEUED_BYTES_MAX};
use crate::tokens;
use crate::udp::canonical;

/// How long the listener rests when the process has no descriptor left.
const ACCEPT_REST: Duration = Duration::from_secs(1);

/// A listening socket.
pub(crate) trait Accepts: Source {
    /// A connection.
    type Stream;
    /// Who is at its other end, as far as the socket says.
    type Peer;

    fn accept(&self) -> io::Result<(Self::Stream, Self::Peer)>;
}

impl Accepts for TcpListener {
    type Stream = TcpStream;
    type Peer = SocketAddr;

    fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (socket, from) = self.accept()?;
        Ok((socket, canonical(from)))
    }
}

/// Accepts connections for as long as there are descriptors.
#[derive(Debug)]
pub(crate) struct Listener<S = TcpListener> {
    socket: S,
    ready: bool,
    rests_until: Option<Time>,
}

/// One look at the listener.
pub(crate) enum Accept<S: Accepts = TcpListener> {
    /// A connection.
    Taken(S::Stream, S::Peer),
    /// It could not be taken; the listener rests.
    Failed(io::Error),
}

impl<S: Accepts> Listener<S> {
    /// Registers `socket` for reading.
    pub(crate) fn new(mut socket: S, registry: &Registry, token: Token) -> io::Result<Self> {
        registry.register(&mut socket, token, Interest::READABLE)?;
        Ok(Self { socket, ready: false, rests_until: None })
    }

    /// The system says that connections wait.
    pub(crate) const fn set_ready(&mut self) {
        self.ready = true;
    }

    /// When it wants to be looked at again although the system says nothing; `now` if it is ready.
    pub(crate) fn deadline(&self, now: Time) -> Option<Time> {
        self.rests_until.or_else(|| self.ready.then_some(now))
    }

    /// Takes what waits, up to a bound.
    pub(crate) fn accept(&mut self, now: Time, mut each: impl FnMut(Accept<S>)) {
        if self.rests_until.is_some_and(|until| now < until) {
            return;
        }
        if self.rests_until.take().is_some() {
            self.ready = true;
        }
        for _ in 0..ACCEPTED_PER_TURN {
            if !self.ready {
                return;
            }
            match self.socket.accept() {
                Ok((socket, from)) => each(Accept::Taken(socket, from)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.ready = false,
                // The peer has gone again.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    self.rests_until = Some(now + ACCEPT_REST);
                    each(Accept::Failed(error));
                    return;
                }
            }
        }
    }
}

/// All gossip streams.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    open: BTreeMap<StreamId, Stream>,
    /// Ids whose sockets may have something to read.
    ready: VecDeque<StreamId>,
    accepted: u64,
    /// Streams that were given up because too much waited for their peers.
    shed: u64,
}

#[derive(Debug)]
struct Stream {
    socket: TcpStream,
    peer: IpAddr,
    connecting: bool,
    frames: VecDeque<Box<[u8]>>,
    /// Bytes of the first frame that are written.
    written: usize,
    queued: usize,
    readable: bool,
    read_closed: bool,
    /// Set once the core is done with it: it only lives until its frames are written, or until then.
    finish_by: Option<Time>,
}

/// What reading gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// So many bytes.
    Bytes(usize),
    /// The peer will send no more.
    Closed,
    /// The stream is gone.
    Failed(StreamError),
    /// Nothing now.
    Nothing,
}

impl Streams {
    /// Takes an accepted socket; its id is odd.
    pub(crate) fn accepted(
        &mut self,
        mut socket: TcpStream,
        from: SocketAddr,
        registry: &Registry,
    ) -> io::Result<StreamId> {
        let id = StreamId(self.accepted * 2 + 1);
        registry.register(&mut socket, tokens::Source::Stream(id).token(), Interest::READABLE | Interest::WRITABLE)?;
        self.accepted += 1;
        self.open.insert(id, Stream::new(socket, from.ip(), false));
        Ok(id)
    }

    /// Opens a stream to `to`.
    pub(crate) fn connect(&mut self, id: StreamId, to: SocketAddr, registry: &Registry) -> Result<(), StreamError> {
        let mut socket = TcpStream::connect(to).map_err(|error| stream_error(&error))?;
        registry
            .register(&mut socket, tokens::Source::Stream(id).token(), Interest::READABLE | Interest::WRITABLE)
            .map_err(|error| stream_error(&error))?;
        self.open.insert(id, Stream::new(socket, to.ip(), true));
        Ok(())
    }

    /// Queues a frame and writes what the socket takes.
    pub(crate) fn write(&mut self, id: StreamId, frame: Box<[u8]>) -> Result<(), StreamError> {
        let Some(stream) = self.open.get_mut(&id) else { return Ok(()) };
        if stream.queued + frame.len() > limits::STREAM_BYTES_MAX {
            return Err(self.refuse(id));
        }
        stream.queued += frame.len();
        stream.frames.push_back(frame);
        if let Err(error) = stream.flush() {
            self.open.remove(&id);
            return Err(stream_error(&error));
        }
        self.shed();
        if self.queued() > STREAMS_QUEUED_BYTES_MAX {
            return Err(self.refuse(id));
        }
        Ok(())
    }

    /// There is no room for what is to be written.
    fn refuse(&mut self, id: StreamId) -> StreamError {
        self.open.remove(&id);
        StreamError::Other(rustix::io::Errno::NOBUFS.raw_os_error())
    }

    /// Bytes that wait for the peers.
    fn queued(&self) -> usize {
        self.open.values().map(|stream| stream.queued).sum()
    }

    /// While too much waits, the newest finishing stream of the address that holds most of it goes: the core is done with
    /// it, and who does not read must not cost those their answers who do.
    fn shed(&mut self) {
        let finishing = |streams: &Self| streams.open.values().filter(|stream| stream.finish_by.is_some()).count();
        while (self.queued() > STREAMS_QUEUED_BYTES_MAX || finishing(self) > STREAMS_FINISHING_MAX)
            && let Some(newest) = self.greediest()
        {
            self.open.remove(&newest);
            self.shed += 1;
        }
    }

    fn greediest(&self) -> Option<StreamId> {
        let mut holders = BTreeMap::<IpAddr, (usize, StreamId)>::new();
        for (id, stream) in self.open.iter().filter(|(_, stream)| stream.finish_by.is_some()) {
            let holder = holders.entry(stream.peer).or_insert((0, *id));
            *holder = (holder.0 + stream.queued, *id);
        }
        holders.into_values().max().map(|(_, newest)| newest)
    }

    /// How many streams were given up because too much waited for their peers, and nobody has been told.
    pub(crate) const fn shed_unsaid(&mut self) -> &mut u64 {
        &mut self.shed
    }

    /// Closes a stream once its frames are written, or at `by`.
    pub(crate) fn finish(&mut self, id: StreamId, by: Time) {
        if let Some(stream) = self.open.get_mut(&id) {
            stream.finish_by = Some(by);
            self.close_if_done(id);
            self.shed();
        }
    }

    /// Closes a stream at once.
    pub(crate) fn abort(&mut self, id: StreamId) {
        self.open.remove(&id);
    }

    /// When a stream that finishes must be given up.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.open.values().filter_map(|stream| stream.finish_by).min()
    }

    /// Gives up the streams whose peers did not take the last frame in time.
    pub(crate) fn expire(&mut self, now: Time) {
        self.open.retain(|_, stream| stream.finish_by.is_none_or(|by| now < by));
    }

    /// Whether a stream may have something to read.
    pub(crate) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The system says that the socket can be written to: whether it is connected now, or has failed.
    pub(crate) fn writable(&mut self, id: StreamId) -> Option<Result<(), StreamError>> {
        let stream = self.open.get_mut(&id)?;
        let result = if stream.connecting { stream.connected() } else { stream.flush().map(|()| false) };
        let finishing = stream.finish_by.is_some();
        match result {
            Err(error) => {
                self.open.remove(&id);
                (!finishing).then(|| Err(stream_error(&error)))
            }
            Ok(connected) => {
                self.close_if_done(id);
                (connected && !finishing).then_some(Ok(()))
            }
        }
    }

    /// The system says that the socket can be read.
    pub(crate) fn readable(&mut self, id: StreamId) {
        if let Some(stream) = self.open.get_mut(&id)
            && !stream.readable
            && !stream.read_closed
            && stream.finish_by.is_none()
        {
            stream.readable = true;
            self.ready.push_back(id);
        }
    }

    /// Reads once from the stream that has waited longest.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Option<(StreamId, Read)> {
        let id = self.ready.pop_front()?;
        let Some(stream) = self.open.get_mut(&id) else { return Some((id, Read::Nothing)) };
        stream.readable = false;
        if stream.connecting || stream.finish_by.is_some() {
            return Some((id, Read::Nothing));
        }
        let outcome = match stream.socket.read(buffer) {
            Ok(0) => {
                stream.read_closed = true;
                Read::Closed
            }
            Ok(len) => {
                stream.readable = true;
                self.ready.push_back(id);
                Read::Bytes(len)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Read::Nothing,
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                stream.readable = true;
                self.ready.push_back(id);
                Read::Nothing
            }
            Err(error) => {
                self.open.remove(&id);
                Read::Failed(stream_error(&error))
            }
        };
        Some((id, outcome))
    }

    fn close_if_done(&mut self, id: StreamId) {
        let Some(stream) = self.open.get_mut(&id) else { return };
        if stream.finish_by.is_some() && stream.frames.is_empty() && !stream.connecting {
            stream.close();
            self.open.remove(&id);
        }
    }
}

impl Stream {
    const fn new(socket: TcpStream, peer: IpAddr, connecting: bool) -> Self {
        Self {
            socket,
            peer,
            connecting,
            frames: VecDeque::new(),
            written: 0,
            queued: 0,
            readable: false,
            read_closed: false,
            finish_by: None,
        }
    }

    /// Looks whether the connection stands; then writes what waits for it.
    fn connected(&mut self) -> io::Result<bool> {
        if let Some(error) = self.socket.take_error()? {
            return Err(error);
        }
        match self.socket.peer_addr() {
            Ok(_) => {
                self.connecting = false;
                self.flush()?;
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.connecting {
            return Ok(());
        }
        while let Some(frame) = self.frames.front() {
            match self.socket.write(frame.get(self.written..).unwrap_or_default()) {
                Ok(len) => {
                    self.written += len;
                    if self.written >= frame.len() {
                        self.queued -= frame.len();
                        self.written = 0;
                        self.frames.pop_front();
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Ends the stream so that the last frame arrives: with unread bytes left the system would send a reset.
    fn close(&mut self) {
        let mut rest = [0; 512];
        for _ in 0..16 {
            if !matches!(self.socket.read(&mut rest), Ok(1..)) {
                break;
            }
        }
        // It is closed right after; an error changes nothing.
        let _ = self.socket.shutdown(Shutdown::Write);
    }
}

/// A system error in the core's words.
fn stream_error(error: &io::Error) -> StreamError {
    match error.kind() {
        ErrorKind::ConnectionRefused => StreamError::Refused,
        ErrorKind::TimedOut => StreamError::TimedOut,
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => StreamError::Reset,
        ErrorKind::HostUnreachable => StreamError::HostUnreachable,
        ErrorKind::NetworkUnreachable => StreamError::NetworkUnreachable,
        ErrorKind::UnexpectedEof => StreamError::Closed,
        _ => StreamError::Other(error.raw_os_error().unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll};

    struct Pair {
        poll: Poll,
        streams: Streams,
        peer: std::net::TcpStream,
        id: StreamId,
    }

    const OURS: StreamId = StreamId(2);
    const FAR: Time = Time::MAX;

    /// A stream that was opened and stands, and its far end.
    fn pair() -> Pair {
        let listener = std::net::TcpListener::bind("127.0.83.1:0").expect("binds");
        let mut poll = Poll::new().expect("a poll");
        let mut streams = Streams::default();
        streams.connect(OURS, listener.local_addr().expect("is bound"), poll.registry()).expect("begins");
        streams.write(OURS, b"hello".as_slice().into()).expect("waits for the connection");
        let (peer, _) = listener.accept().expect("connects");
        assert_eq!(wait(&mut poll, |_| streams.writable(OURS)), Ok(()));
        Pair { poll, streams, peer, id: OURS }
    }

    /// Polls until `each` gives something.
    fn wait<T>(poll: &mut Poll, mut each: impl FnMut(bool) -> Option<T>) -> T {
        let mut events = Events::with_capacity(8);
        for _ in 0..1_000 {
            poll.poll(&mut events, Some(Duration::from_secs(10))).expect("polls");
            assert!(!events.is_empty(), "nothing happens");
            for event in &events {
                if let Some(found) = each(event.is_readable()) {
                    return found;
                }
            }
        }
        panic!("it never comes");
    }

    #[test]
    fn frames_queued_before_the_connection_arrive_in_order() {
        let Pair { mut streams, mut peer, id, .. } = pair();
        streams.write(id, b" world".as_slice().into()).expect("writes");
        streams.finish(id, FAR);
        let mut text = String::new();
        peer.read_to_string(&mut text).expect("arrives");
        assert_eq!(text, "hello world");
        assert!(streams.open.is_empty());
    }

    #[test]
    fn bytes_and_the_end_of_a_stream_are_told_once() {
        let Pair { mut poll, mut streams, mut peer, id } = pair();
        peer.write_all(b"answer").expect("sends");
        peer.shutdown(Shutdown::Write).expect("closes");
        let mut buffer = [0; 64];
        let mut seen = Vec::new();
        while seen.last() != Some(&Read::Closed) {
            if !streams.is_ready() {
                wait(&mut poll, |readable| readable.then(|| streams.readable(id)));
            }
            let (from, read) = streams.read(&mut buffer).expect("is ready");
            assert_eq!(from, id);
            seen.push(read);
        }
        seen.retain(|read| *read != Read::Nothing);
        assert_eq!(seen, [Read::Bytes(6), Read::Closed]);
        streams.readable(id);
        assert!(!streams.is_ready(), "an ended stream is not read again");
    }

    #[test]
    fn a_refused_connection_says_so() {
        let listener = std::net::TcpListener::bind("127.0.83.2:0").expect("binds");
        let addr = listener.local_addr().expect("is bound");
        drop(listener);
        let mut poll = Poll::new().expect("a poll");
        let mut streams = Streams::default();
        if let Err(error) = streams.connect(OURS, addr, poll.registry()) {
            assert_eq!(error, StreamError::Refused);
            return;
        }
        assert_eq!(wait(&mut poll, |_| streams.writable(OURS)), Err(StreamError::Refused));
        assert!(streams.open.is_empty());
    }

    #[test]
    fn a_reset_is_told_with_its_reason() {
        let Pair { mut poll, mut streams, peer, id } = pair();
        socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).expect("resets");
        drop(peer);
        wait(&mut poll, |readable| readable.then(|| streams.readable(id)));
        assert_eq!(streams.read(&mut [0; 8]), Some((id, Read::Failed(StreamError::Reset))));
    }

    #[test]
    fn a_peer_that_takes_nothing_is_given_up_at_the_deadline() {
        let Pair { mut streams, peer, id, .. } = pair();
        streams.write(id, vec![7; 8 << 20].into()).expect("is queued");
        let by = Time::from_millis(5);
        streams.finish(id, by);
        assert_eq!(streams.deadline(), Some(by));
        streams.expire(by.previous());
        assert_eq!(streams.open.len(), 1);
        streams.expire(by);
        assert!(streams.open.is_empty());
        drop(peer);
    }

    /// Streams to these hosts that never stand, so that nothing that is written leaves; their ids count up from 2.
    struct Waiting {
        streams: Streams,
        poll: Poll,
        listeners: Vec<std::net::TcpListener>,
        next: u64,
    }

    impl Waiting {
        fn new<const N: usize>(hosts: [&str; N]) -> Self {
            let bind = |host| std::net::TcpListener::bind(format!("{host}:0")).expect("binds");
            let listeners = hosts.map(bind).into();
            Self { streams: Streams::default(), poll: Poll::new().expect("a poll"), listeners, next: 0 }
        }

        fn connect(&mut self, host: usize) -> StreamId {
            self.next += 2;
            let to = self.listeners[host].local_addr().expect("is bound");
            self.streams.connect(StreamId(self.next), to, self.poll.registry()).expect("begins");
            StreamId(self.next)
        }

        /// A stream that the core is done with.
        fn finishing(&mut self, host: usize, bytes: usize) -> StreamId {
            let id = self.connect(host);
            self.write(id, bytes).expect("is queued");
            self.streams.finish(id, FAR);
            id
        }

        fn write(&mut self, id: StreamId, bytes: usize) -> Result<(), StreamError> {
            self.streams.write(id, vec![0; bytes].into())
        }

        fn is_open(&self, id: StreamId) -> bool {
            self.streams.open.contains_key(&id)
        }
    }

    const NO_ROOM: Result<(), StreamError> = Err(StreamError::Other(rustix::io::Errno::NOBUFS.raw_os_error()));

    #[test]
    fn what_waits_for_a_slow_peer_is_bounded() {
        let mut waiting = Waiting::new(["127.0.83.4"]);
        let id = waiting.connect(0);
        assert_eq!(waiting.write(id, limits::STREAM_BYTES_MAX), Ok(()));
        assert_eq!(waiting.write(id, 1), NO_ROOM);
        assert!(!waiting.is_open(id));
    }

    #[test]
    fn what_waits_for_all_peers_is_bounded_and_the_greediest_loses_first() {
        let mut waiting = Waiting::new(["127.0.83.5", "127.0.83.6"]);
        let part = STREAMS_QUEUED_BYTES_MAX / 4;
        let [older, newer] = [(); 2].map(|()| waiting.finishing(0, part));
        let modest = waiting.finishing(1, part);
        let active = waiting.connect(1);
        assert_eq!(
            (waiting.write(active, part), std::mem::take(waiting.streams.shed_unsaid())),
            (Ok(()), 0),
            "the limit is reached"
        );
        assert_eq!((waiting.write(active, 1), std::mem::take(waiting.streams.shed_unsaid())), (Ok(()), 1));
        assert_eq!([older, newer, modest, active].map(|id| waiting.is_open(id)), [true, false, true, true]);
        // What the core is not done with is refused when nothing else is left to give up.
        let others = [(); 3].map(|()| waiting.connect(0));
        for id in others {
            assert_eq!(waiting.write(id, part - 1), Ok(()));
        }
        assert_eq!([older, modest].map(|id| waiting.is_open(id)), [false, false]);
        assert_eq!((waiting.streams.queued(), waiting.write(others[0], 2)), (STREAMS_QUEUED_BYTES_MAX - 2, Ok(())));
        assert_eq!(waiting.write(others[1], 1), NO_ROOM);
        assert!(waiting.is_open(active) && waiting.is_open(others[0]) && !waiting.is_open(others[1]));
    }

    #[test]
    fn streams_that_finish_are_bounded() {
        let mut waiting = Waiting::new(["127.0.83.7", "127.0.83.8"]);
        let modest = waiting.finishing(1, 1);
        let greedy: Vec<_> = (1..STREAMS_FINISHING_MAX).map(|_| waiting.finishing(0, 1)).collect();
        assert_eq!(
            (waiting.streams.open.len(), std::mem::take(waiting.streams.shed_unsaid())),
            (STREAMS_FINISHING_MAX, 0)
        );
        let beyond = waiting.finishing(0, 1);
        assert_eq!(
            (waiting.streams.open.len(), std::mem::take(waiting.streams.shed_unsaid())),
            (STREAMS_FINISHING_MAX, 1)
        );
        assert!(!waiting.is_open(beyond) && waiting.is_open(modest) && greedy.iter().all(|id| waiting.is_open(*id)));
    }

    #[test]
    fn so_many_connections_are_taken_in_one_turn() {
        let socket = std::net::TcpListener::bind("127.0.83.9:0").expect("binds");
        socket.set_nonblocking(true).expect("does not block");
        let addr = socket.local_addr().expect("is bound");
        let poll = Poll::new().expect("a poll");
        let mut listener = Listener::new(TcpListener::from_std(socket), poll.registry(), Token(0)).expect("registers");
        let _peers: Vec<_> =
            (0..=ACCEPTED_PER_TURN).map(|_| std::net::TcpStream::connect(addr).expect("connects")).collect();
        listener.set_ready();
        let taken = [(); 3].map(|()| {
            let mut taken = 0;
            listener.accept(Time::ZERO, |accept| taken += usize::from(matches!(accept, Accept::Taken(..))));
            taken
        });
        assert_eq!(taken, [ACCEPTED_PER_TURN, 1, 0]);
    }

    #[test]
    fn accepted_streams_have_odd_ids() {
        let mut poll = Poll::new().expect("a poll");
        let socket = std::net::TcpListener::bind("127.0.83.3:0").expect("binds");
        socket.set_nonblocking(true).expect("does not block");
        let addr = socket.local_addr().expect("is bound");
        let mut listener =
            Listener::new(TcpListener::from_std(socket), poll.registry(), tokens::Source::Listener.token())
                .expect("registers");
        let _peers = [addr; 2].map(|addr| std::net::TcpStream::connect(addr).expect("connects"));
        let mut streams = Streams::default();
        let mut ids = Vec::new();
        while ids.len() < 2 {
            wait(&mut poll, Some);
            listener.set_ready();
            assert_eq!(listener.deadline(Time::ZERO), Some(Time::ZERO));
            listener.accept(Time::ZERO, |accept| match accept {
                Accept::Taken(socket, from) => {
                    ids.push(streams.accepted(socket, from, poll.registry()).expect("registers"))
                }
                Accept::Failed(error) => panic!("{error}"),
            });
        }
        assert_eq!(ids, [StreamId(1), StreamId(3)]);
        assert_eq!(listener.deadline(Time::ZERO), None);
    }
}
