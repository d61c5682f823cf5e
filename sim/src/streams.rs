//! Streams: ordered bytes in both directions over the same links, as the runtime's sockets give them.
//!
//! A segment that is lost or meets a cut is sent again after 200 ms, 400 ms, …; after about 25 s in vain both ends
//! are told that the stream timed out. Corruption never gets through: the kernel's checksum turns it into a loss.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use villein_core::io::{StreamAction, StreamError, StreamId};

use crate::host::{Down, Heard, Waiting};
use crate::network::host_at;
use crate::scenario::HostId;
use crate::world::{Happening, World};

/// Wait before a segment is sent again the first time.
const RTO: u64 = 200_000_000;
/// How often it is sent again before the stream times out: 25.4 s in all.
const TRIES: u32 = 7;
/// How long the search for a host that does not exist takes.
const NO_ROUTE: u64 = 3_000_000_000;
/// The largest piece in which bytes are read.
const READ_BYTES: usize = 16 << 10;

/// The side that connects, and the index of its queue.
const CLIENT: usize = 0;
const SERVER: usize = 1;

enum Segment {
    Syn,
    SynAck,
    Refuse,
    Ack,
    Data(Box<[u8]>),
    Fin,
    Rst,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The handshake is not over.
    Opening,
    Open,
    /// Our process wants no more events.
    Finished,
    Gone,
}

struct End {
    host: HostId,
    life: u32,
    id: StreamId,
    state: State,
}

#[derive(Default)]
struct Way {
    queue: VecDeque<(u64, Segment)>,
    last: u64,
    tries: u32,
    armed: bool,
}

struct Conn {
    ends: [End; 2],
    /// What travels, by the side that sent it.
    ways: [Way; 2],
    /// What the client wrote before it was connected.
    early: Vec<StreamAction>,
}

impl Conn {
    fn is_over(&self) -> bool {
        self.ends.iter().all(|end| matches!(end.state, State::Finished | State::Gone))
            && self.ways.iter().all(|way| way.queue.is_empty())
    }
}

/// All streams.
#[derive(Default)]
pub(crate) struct Streams {
    conns: BTreeMap<u64, Conn>,
    opened: u64,
}

impl World<'_> {
    /// Does what a node wants done with a stream.
    pub(crate) fn stream_action(&mut self, host: HostId, id: StreamId, action: StreamAction) {
        if let StreamAction::Connect(to) = action {
            return self.connect(host, id, to);
        }
        let Some(&(number, side)) = self.hosts[host.index()].streams.get(&id) else { return };
        let Some(conn) = self.streams.conns.get_mut(&number) else { return };
        if conn.ends[side].state == State::Opening && !matches!(action, StreamAction::Abort) {
            conn.early.push(action);
            return;
        }
        match action {
            StreamAction::Connect(_) => {}
            StreamAction::Write(bytes) => self.write(number, side, &bytes),
            StreamAction::Finish => {
                self.set_state(number, side, State::Finished);
                self.put(number, side, Segment::Fin);
            }
            StreamAction::Abort => {
                self.set_state(number, side, State::Gone);
                self.put(number, side, Segment::Rst);
            }
        }
        self.tidy(number);
    }

    fn connect(&mut self, host: HostId, id: StreamId, to: SocketAddr) {
        self.faults.streams += 1;
        let life = self.hosts[host.index()].life;
        if self.hosts[host.index()].unplugged {
            let waiting = Waiting::Stream { id, event: Heard::Failed(StreamError::NetworkUnreachable) };
            return self.push(0, Happening::Arrive { host, life, waiting: Box::new(waiting) });
        }
        let Some(server) = host_at(to, self.hosts.len()) else {
            let event = Heard::Failed(StreamError::HostUnreachable);
            let what = Happening::Arrive { host, life, waiting: Box::new(Waiting::Stream { id, event }) };
            return self.push(NO_ROUTE, what);
        };
        let number = self.streams.opened;
        self.streams.opened += 1;
        let end = |host, id| End { host, life, id, state: State::Opening };
        let ends = [end(host, id), end(server, StreamId(0))];
        self.streams.conns.insert(number, Conn { ends, ways: Default::default(), early: Vec::new() });
        self.hosts[host.index()].streams.insert(id, (number, CLIENT));
        self.put(number, CLIENT, Segment::Syn);
    }

    /// Cuts what is written into pieces as a network does, so that the reader meets every seam.
    fn write(&mut self, number: u64, side: usize, bytes: &[u8]) {
        if let Some(history) = &mut self.history {
            history.written(self.now - self.zero, bytes.len());
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let most = rest.len().min(READ_BYTES);
            let length = if self.network.below(2) == 0 { most } else { self.network.below(most as u64) as usize + 1 };
            let (piece, tail) = rest.split_at(length);
            self.put(number, side, Segment::Data(piece.into()));
            rest = tail;
        }
    }

    fn put(&mut self, number: u64, side: usize, segment: Segment) {
        let Some(conn) = self.streams.conns.get_mut(&number) else { return };
        let (from, to) = (conn.ends[side].host, conn.ends[1 - side].host);
        if matches!(segment, Segment::Data(_)) && self.network.resets(from, to) {
            return self.break_off(number, StreamError::Reset);
        }
        let at = self.now.saturating_add(self.network.segment(from, to, RTO, &mut self.faults));
        let way = &mut conn.ways[side];
        way.last = way.last.max(at);
        way.queue.push_back((way.last, segment));
        self.arm(number, side);
    }

    fn arm(&mut self, number: u64, side: usize) {
        let Some(conn) = self.streams.conns.get_mut(&number) else { return };
        let way = &mut conn.ways[side];
        if let (false, Some((at, _))) = (way.armed, way.queue.front()) {
            way.armed = true;
            // What stood behind a segment that was sent again comes right after it.
            let at = self.now.max(*at);
            self.push_at(at, Happening::Segment { number, side });
        }
    }

    /// The first segment of one way may have come.
    pub(crate) fn segment(&mut self, number: u64, side: usize) {
        let now = self.now;
        let Some(conn) = self.streams.conns.get_mut(&number) else { return };
        let (from, to) = (conn.ends[side].host, conn.ends[1 - side].host);
        let way = &mut conn.ways[side];
        way.armed = false;
        let Some((at, _)) = way.queue.front_mut() else { return };
        if *at > now {
            return self.arm(number, side);
        }
        let receiver = &self.hosts[to.index()];
        let is_off = receiver.node.is_none() && receiver.down == Down::Power;
        if is_off || self.network.stops_segment(from, to, &mut self.faults) {
            if way.tries == TRIES {
                return self.break_off(number, StreamError::TimedOut);
            }
            *at = now.saturating_add(RTO << way.tries);
            way.last = way.last.max(*at);
            way.tries += 1;
            self.faults.resent += 1;
            return self.arm(number, side);
        }
        way.tries = 0;
        if let Some((_, segment)) = way.queue.pop_front() {
            self.receive(number, 1 - side, segment);
        }
        self.arm(number, side);
        self.tidy(number);
    }

    fn receive(&mut self, number: u64, side: usize, segment: Segment) {
        let Some(conn) = self.streams.conns.get(&number) else { return };
        let state = conn.ends[side].state;
        let (peer, host) = (conn.ends[1 - side].host, conn.ends[side].host);
        match segment {
            Segment::Syn => {
                if self.hosts[host.index()].node.is_none() || self.network.refuses(peer, host) {
                    self.set_state(number, side, State::Gone);
                    self.put(number, side, Segment::Refuse);
                } else {
                    self.put(number, side, Segment::SynAck);
                }
            }
            Segment::SynAck if state == State::Opening => self.connected(number),
            Segment::SynAck => self.put(number, side, Segment::Rst),
            Segment::Refuse => {
                self.faults.refused += 1;
                self.lose(number, side, StreamError::Refused);
            }
            Segment::Ack => self.accept(number),
            Segment::Data(bytes) if state == State::Open => self.tell(number, side, Heard::Bytes(bytes)),
            Segment::Data(_) => {
                if !matches!(conn.ways[side].queue.back(), Some((_, Segment::Rst))) {
                    self.put(number, side, Segment::Rst);
                }
            }
            Segment::Fin if state == State::Open => self.tell(number, side, Heard::Closed),
            Segment::Fin => {}
            Segment::Rst => {
                if state == State::Open {
                    self.faults.resets += 1;
                }
                self.lose(number, side, StreamError::Reset);
            }
        }
    }

    fn connected(&mut self, number: u64) {
        self.set_state(number, CLIENT, State::Open);
        self.put(number, CLIENT, Segment::Ack);
        let early = self.streams.conns.get_mut(&number).map(|conn| std::mem::take(&mut conn.early));
        let client = self.streams.conns.get(&number).map(|conn| (conn.ends[CLIENT].host, conn.ends[CLIENT].id));
        self.tell(number, CLIENT, Heard::Connected);
        for action in early.unwrap_or_default() {
            if let Some((host, id)) = client {
                self.stream_action(host, id, action);
            }
        }
    }

    fn accept(&mut self, number: u64) {
        let Some(conn) = self.streams.conns.get_mut(&number) else { return };
        let end = &mut conn.ends[SERVER];
        let server = &mut self.hosts[end.host.index()];
        if server.node.is_none() {
            end.state = State::Gone;
            return self.put(number, SERVER, Segment::Rst);
        }
        server.accepted += 1;
        *end = End { host: end.host, life: server.life, id: StreamId(server.accepted * 2 - 1), state: State::Open };
        server.streams.insert(end.id, (number, SERVER));
        // The client's port: any but the agent's own; a number that differs from stream to stream.
        let port = 32_768 + u16::try_from(number % 28_000).unwrap_or_default();
        let from = SocketAddr::new(crate::network::addr(conn.ends[CLIENT].host).ip(), port);
        self.tell(number, SERVER, Heard::Accepted(from));
    }

    fn tell(&mut self, number: u64, side: usize, event: Heard) {
        let Some(conn) = self.streams.conns.get(&number) else { return };
        let end = &conn.ends[side];
        let (host, life, id) = (end.host, end.life, end.id);
        self.arrive(host, life, Waiting::Stream { id, event });
    }

    /// One end is told that the stream is gone, if it still wants to know.
    fn lose(&mut self, number: u64, side: usize, error: StreamError) {
        let Some(conn) = self.streams.conns.get_mut(&number) else { return };
        let wants = match conn.ends[side].state {
            State::Open => true,
            State::Opening => side == CLIENT,
            State::Finished | State::Gone => false,
        };
        if wants {
            self.tell(number, side, Heard::Failed(error));
        }
        self.set_state(number, side, State::Gone);
    }

    /// Both ends are told, and nothing travels any more.
    fn break_off(&mut self, number: u64, error: StreamError) {
        if error == StreamError::TimedOut {
            self.faults.timeouts += 1;
        } else {
            self.faults.resets += 1;
        }
        // Told later: this may stand in the middle of the outputs of one of the two.
        let Some(conn) = self.streams.conns.get_mut(&number) else { return };
        for way in &mut conn.ways {
            way.queue.clear();
        }
        self.push(0, Happening::Broken { number, error });
    }

    /// The ends of a broken stream hear of it.
    pub(crate) fn broken(&mut self, number: u64, error: StreamError) {
        self.lose(number, CLIENT, error);
        self.lose(number, SERVER, error);
        if let Some(conn) = self.streams.conns.get_mut(&number) {
            for way in &mut conn.ways {
                way.queue.clear();
            }
        }
        self.tidy(number);
    }

    fn set_state(&mut self, number: u64, side: usize, state: State) {
        let Some(conn) = self.streams.conns.get_mut(&number) else { return };
        let end = &mut conn.ends[side];
        end.state = state;
        if matches!(state, State::Finished | State::Gone) && self.hosts[end.host.index()].life == end.life {
            self.hosts[end.host.index()].streams.remove(&end.id);
        }
    }

    fn tidy(&mut self, number: u64) {
        if self.streams.conns.get(&number).is_some_and(Conn::is_over) {
            self.streams.conns.remove(&number);
        }
    }

    /// A process ends: its kernel resets what was open, unless the whole host is gone.
    pub(crate) fn streams_end(&mut self, host: HostId, power: bool) {
        let open: Vec<(u64, usize)> = self.hosts[host.index()].streams.values().copied().collect();
        for (number, side) in open {
            self.set_state(number, side, State::Gone);
            if power {
                if let Some(conn) = self.streams.conns.get_mut(&number) {
                    conn.ways[side].queue.clear();
                }
            } else {
                self.put(number, side, Segment::Rst);
            }
            self.tidy(number);
        }
    }

    /// A cut hits what is in flight: it is sent again, or its stream is reset at once.
    pub(crate) fn streams_cut(&mut self, reset: bool) {
        let mut hit = Vec::new();
        for (&number, conn) in &mut self.streams.conns {
            let [one, other] = [conn.ends[0].host, conn.ends[1].host];
            let cut = [self.network.is_cut(one, other), self.network.is_cut(other, one)];
            for (way, cut) in conn.ways.iter_mut().zip(cut) {
                if cut {
                    let again = self.now + RTO;
                    way.last = way.last.max(again);
                    way.queue.iter_mut().for_each(|(at, _)| *at = again.max(*at));
                }
            }
            if cut.contains(&true) {
                hit.push(number);
            }
        }
        for number in hit.into_iter().filter(|_| reset) {
            self.break_off(number, StreamError::Reset);
        }
    }
}
