//! RPC clients: their sockets around `villein_core::rpc` sessions. What they ask for is done in `requests.rs`.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::mem;
use std::net::SocketAddr;
use std::time::Duration;

use mio::{Interest, Registry};
use rustix::process::{Resource, getrlimit};
use villein_core::Time;
use villein_core::event::QueryKey;
use villein_core::limits;
use villein_core::log::Level;
use villein_core::rpc::{QueryRecord, Session, StreamEvent};

use crate::limits::{
    CLIENT_CLOSE_MAX, CLIENT_GREETING_BYTES_MAX, CLIENT_GREETING_MAX, CLIENT_READ_BYTES, CLIENT_STALL_MAX,
    PROGRAM_BYTES_PER_TURN, SEARCH_PER_TURN, SEARCHES_MAX,
};
use crate::log_ring::Journal;
use crate::requests::search::Postponed;
use crate::rpc_socket::{Arrival, Connection, Peer, RpcListener};
use crate::tokens::Source;

mod bounds;
mod owed;

/// The listener and its clients.
pub(crate) struct RpcServer {
    listener: RpcListener,
    auth: Vec<u8>,
    clients: BTreeMap<u64, Client>,
    clients_max: usize,
    accepted: u64,
    /// The client that was last said to miss events.
    told: u64,
    /// Bytes of patterns that were compiled for clients in this turn.
    programs: usize,
    /// The client that is served first, where it is there: the one before has had what a turn has of patterns.
    next_served: u64,
    /// Clients that are gone, and how many events they have missed of which nothing was said.
    gone: VecDeque<(Peer, u64)>,
    /// Bytes that clients are owed, by what is counted of each.
    owed: usize,
    /// Clients that are gone and whose queries have not been ended yet.
    left: Vec<u64>,
}

/// A connected client.
pub(crate) struct Client {
    /// What was said so far, and what must be said.
    pub(crate) session: Session,
    peer: Peer,
    socket: Connection,
    since: Time,
    /// The queries that its streams have shown, by the ids that they have there.
    queries: BTreeMap<u64, QueryKey>,
    readable: bool,
    writable: bool,
    /// Bytes read so far.
    received: u64,
    /// One reply or record, and how much of it is written.
    unsent: Option<(Vec<u8>, usize)>,
    /// Bytes written so far.
    written: u64,
    /// Since when it has taken nothing of what it is owed, and how much it had taken by then.
    stalled: Option<(Time, u64)>,
    /// Whether requests wait that this turn had no room for.
    pub(crate) busy: bool,
    /// What waits for the next turn: this one has had patterns enough.
    pub(crate) postponed: Option<Postponed>,
    /// Set when nothing more is read; the client goes once it has what it is owed, or at that time.
    close_by: Option<Time>,
    /// Number of the next log line for its monitor.
    monitor: Option<u64>,
    /// Whether its monitor has lost lines since it last kept up.
    drops_lines: bool,
    /// Events that its streams have missed and of which nothing was said yet.
    missed: u64,
    /// Bytes that have come of a request whose end has not.
    held: usize,
    /// Bytes that it is owed, as they are counted among those of all.
    owed: usize,
    /// Whether lines that waited for its monitor were dropped to make room.
    lost_lines: bool,
}

/// What reading from a client gave.
pub(crate) enum Input {
    /// So many bytes.
    Bytes(usize),
    /// It sends no more.
    End,
    /// Nothing now.
    Nothing,
    /// The connection is gone.
    Gone,
    /// It has sent more than it may without saying who it is.
    TooMuch,
}

impl RpcServer {
    /// Serves who comes to `listener`. An empty token lets everybody in.
    pub(crate) fn new(listener: RpcListener, auth: Vec<u8>) -> Self {
        Self {
            listener,
            auth,
            clients: BTreeMap::new(),
            clients_max: bounds::clients_max(getrlimit(Resource::Nofile).current),
            accepted: 0,
            told: 0,
            programs: 0,
            next_served: 0,
            gone: VecDeque::new(),
            owed: 0,
            left: Vec::new(),
        }
    }

    /// The address of its port, if it has one.
    pub(crate) const fn local_addr(&self) -> Option<SocketAddr> {
        self.listener.addr()
    }

    /// The system says that clients wait.
    pub(crate) const fn listener_ready(&mut self) {
        self.listener.set_ready();
    }

    /// The system says what a client's socket is ready for.
    pub(crate) fn client_ready(&mut self, id: u64, readable: bool, writable: bool) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.readable |= readable;
            client.writable |= writable;
        }
    }

    /// When the server wants to be looked at although the system says nothing; `now` if something waits already.
    pub(crate) fn deadline(&self, now: Time) -> Option<Time> {
        let clients = self.clients.values().filter_map(|client| {
            if client.can_read() || client.busy {
                return Some(now);
            }
            client.patience().into_iter().chain(client.tell_by(now)).min()
        });
        clients.chain(self.listener.deadline(now)).chain(self.tell_by(now)).min()
    }

    /// Takes the clients that wait.
    pub(crate) fn accept(&mut self, now: Time, registry: &Registry, journal: &mut Journal) -> u64 {
        let before = self.accepted;
        let Self { listener, clients, accepted, auth, clients_max, left, .. } = self;
        listener.accept(now, |accept| match accept {
            Arrival::Client(_, peer) if !peer.is_admitted() => {
                let problem = format_args!("agent.ipc: Refused client: {peer}: neither root nor the agent's own user");
                journal.log(Level::Warn, problem);
            }
            Arrival::Client(_, peer) if clients.len() >= *clients_max && !bounds::make_room(clients, left, journal) => {
                let problem = format_args!("agent.ipc: Refused client: {peer}: {clients_max} are connected");
                journal.log(Level::Warn, problem);
            }
            Arrival::Client(socket, peer) => match Client::new(socket, peer, *accepted, auth, now, registry) {
                Ok(client) => {
                    journal.log_visit(Level::Info, format_args!("agent.ipc: Accepted client: {peer}"));
                    clients.insert(*accepted, client);
                    *accepted += 1;
                }
                Err(error) => journal.log(Level::Err, format_args!("agent.ipc: Failed to accept client: {error}")),
            },
            Arrival::Failed(error) => {
                journal.log(Level::Err, format_args!("agent.ipc: Failed to accept client: {error}"));
            }
        });
        self.accepted - before
    }

    /// Drops a client that has said much, and not who it is.
    pub(crate) fn turn_away(&mut self, id: u64, journal: &mut Journal) {
        if let Some(Client { peer, .. }) = self.clients.get(&id) {
            journal.log(Level::Warn, format_args!("agent.ipc: Closing client: {peer}: {STRANGER}"));
        }
        self.forget(id);
    }

    /// Drops a client.
    pub(crate) fn forget(&mut self, id: u64) {
        if let Some(client) = self.clients.remove(&id) {
            self.owed = self.owed.saturating_sub(client.owed);
            bounds::remember_gone(&mut self.gone, &client);
            self.left.push(id);
        }
    }

    /// Those that have gone since the last call.
    pub(crate) fn take_left(&mut self) -> Vec<u64> {
        mem::take(&mut self.left)
    }

    /// Every client, the longest connected first; but those behind the one for which patterns were compiled last come
    /// before it and the others.
    pub(crate) fn ids(&self) -> Vec<u64> {
        let mut ids: Vec<u64> = self.clients.keys().copied().collect();
        let next = ids.partition_point(|&id| id < self.next_served);
        ids.rotate_left(next);
        ids
    }

    /// A turn begins in which nothing was compiled yet.
    pub(crate) const fn begin_turn(&mut self) {
        self.programs = 0;
    }

    /// Notes that patterns of a client's request were compiled to so many bytes: others come before its next one.
    pub(crate) fn note_programs(&mut self, id: u64, bytes: usize) {
        self.programs = self.programs.saturating_add(bytes);
        if self.has_compiled() {
            self.next_served = id + 1;
        }
    }

    /// Whether this turn has compiled and matched what it may: requests with patterns wait for the next.
    pub(crate) const fn has_compiled(&self) -> bool {
        self.programs >= PROGRAM_BYTES_PER_TURN
    }

    /// Notes for how long a turn has looked through the members for a client.
    pub(crate) fn note_search(&mut self, id: u64, taken: Duration) {
        let part = taken.as_secs_f64() / SEARCH_PER_TURN.as_secs_f64();
        self.note_programs(id, (part * PROGRAM_BYTES_PER_TURN as f64) as usize);
    }

    /// Whether as many searches are under way as may be.
    pub(crate) fn is_searching(&self) -> bool {
        let searches = self.clients.values().filter(|client| matches!(client.postponed, Some(Postponed::Search(_))));
        searches.count() >= SEARCHES_MAX
    }

    pub(crate) fn client(&mut self, id: u64) -> Option<&mut Client> {
        self.clients.get_mut(&id)
    }

    /// Shows an event to every client that wants to see it; `query` is given with a query.
    pub(crate) fn publish(&mut self, event: &StreamEvent, query: Option<QueryKey>, journal: &mut Journal) {
        let mut next = 0;
        while let Some((&id, client)) = self.clients.range_mut(next..).next() {
            next = id + 1;
            if !client.session.is_subscribed() {
                continue;
            }
            let before = client.session.query_ids();
            client.missed += client.session.publish(event) as u64;
            client.queries.extend((before + 1..=client.session.query_ids()).zip(query.into_iter().cycle()));
            // The core forgets a query that is over when there are as many that are newer.
            while client.queries.len() > limits::QUERIES_OPEN_MAX {
                client.queries.pop_first();
            }
            self.settle(id, journal);
        }
        self.tell_missed(journal);
    }

    /// Gives a client a record of the query with that number.
    pub(crate) fn query_record(&mut self, id: u64, seq: u64, record: &QueryRecord, journal: &mut Journal) {
        if let Some(client) = self.clients.get_mut(&id)
            && client.session.query_record(seq, record)
        {
            owed::say_dropped_words(client.peer, 1, journal);
        }
        self.settle(id, journal);
    }

    /// Whether a client wants to see events.
    pub(crate) fn is_subscribed(&self) -> bool {
        self.clients.values().any(|client| client.session.is_subscribed())
    }

    /// Shows new log lines to the monitors.
    pub(crate) fn pump_log(&mut self, journal: &mut Journal) {
        let mut dropping = Vec::new();
        let mut next = 0;
        while let Some((&id, client)) = self.clients.range_mut(next..).next() {
            next = id + 1;
            let Some(from) = client.monitor.replace(journal.next()) else {
                client.monitor = None;
                continue;
            };
            let kept_up = !client.is_owed();
            let mut dropped = journal.first() > from;
            for line in journal.since(from) {
                dropped |= client.session.log_line(Some(line.level), line.text.as_bytes());
            }
            if from < journal.next() {
                self.settle(id, journal);
            }
            let Some(client) = self.clients.get_mut(&id) else { continue };
            dropped |= mem::take(&mut client.lost_lines);
            if dropped && !client.drops_lines {
                dropping.push(client.peer);
            }
            // The line about dropped lines is one itself: it is written once, until the client has kept up again.
            client.drops_lines = dropped || (client.drops_lines && !kept_up);
        }
        for peer in dropping {
            journal.log(Level::Warn, format_args!("agent.ipc: Dropping logs to ipc.client: {peer}"));
        }
    }

    /// Writes what the sockets take, and lets go of clients that are done.
    pub(crate) fn flush(&mut self, now: Time, journal: &mut Journal) {
        let Self { clients, gone, left, owed, .. } = self;
        *owed = 0;
        clients.retain(|&id, client| {
            if client.flush().is_err() || (client.close_by.is_some() && !client.is_owed()) {
                bounds::remember_gone(gone, client);
                left.push(id);
                return false;
            }
            client.note_stall(now);
            let stays = client.patience().is_none_or(|by| now < by);
            if !stays && client.close_by.is_none() {
                let (peer, reason) = (client.peer, client.impatience());
                journal.log(Level::Warn, format_args!("agent.ipc: Closing client: {peer}: {reason}"));
            }
            if stays {
                client.owed = client.owed_bytes();
                *owed += client.owed;
            } else {
                bounds::remember_gone(gone, client);
                left.push(id);
            }
            stays
        });
    }

    /// Whether a client has not got all that it must be sent.
    pub(crate) fn is_owed(&self) -> bool {
        self.clients.values().any(Client::is_owed)
    }
}

const STRANGER: &str = "it does not say who it is";

impl Client {
    fn new(
        mut socket: Connection,
        peer: Peer,
        id: u64,
        auth: &[u8],
        now: Time,
        registry: &Registry,
    ) -> io::Result<Self> {
        socket.set_nodelay()?;
        registry.register(&mut socket, Source::Client(id).token(), Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self {
            session: Session::new(auth),
            peer,
            socket,
            since: now,
            queries: BTreeMap::new(),
            readable: true,
            writable: true,
            received: 0,
            unsent: None,
            written: 0,
            stalled: None,
            busy: false,
            postponed: None,
            close_by: None,
            monitor: None,
            drops_lines: false,
            missed: 0,
            held: 0,
            owed: 0,
            lost_lines: false,
        })
    }

    /// A client that does not take its replies is not read from: its requests wait, as they do upstream.
    fn can_read(&self) -> bool {
        self.readable && self.close_by.is_none() && !self.is_owed() && !self.is_ahead() && self.session.wants_input()
    }

    /// Reads once. Of one that has not said who it is the session is not to hold as much as of others.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Input {
        if !self.can_read() {
            return Input::Nothing;
        }
        let greeting =
            usize::try_from(self.received).map_or(0, |before| CLIENT_GREETING_BYTES_MAX.saturating_sub(before));
        let most = buffer.len().min(CLIENT_READ_BYTES);
        let room = if self.session.is_admitted() { most } else { most.min(greeting) };
        if room == 0 {
            return Input::TooMuch;
        }
        match self.socket.read(buffer.get_mut(..room).unwrap_or_default()) {
            Ok(0) => {
                self.readable = false;
                Input::End
            }
            Ok(len) => {
                self.received += len as u64;
                Input::Bytes(len)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                Input::Nothing
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Input::Nothing,
            Err(_) => Input::Gone,
        }
    }

    /// The query that a stream of this client has shown under that id.
    pub(crate) fn query(&self, id: u64) -> Option<QueryKey> {
        self.queries.get(&id).copied()
    }

    /// Shows the log from its first line that is kept on.
    pub(crate) const fn start_monitor(&mut self, from: u64) {
        self.monitor = Some(from);
    }

    /// Reads no more and goes once the client has what it is owed.
    pub(crate) fn close(&mut self, now: Time) {
        self.close_by = Some(now + CLIENT_CLOSE_MAX);
    }

    /// Whether something waits to be sent.
    pub(crate) fn is_owed(&self) -> bool {
        self.unsent.is_some() || self.session.has_output()
    }

    /// Notes since when it has taken nothing, if it is owed something.
    fn note_stall(&mut self, now: Time) {
        let written = self.written;
        let before = self.stalled.filter(|&(_, taken)| taken == written);
        self.stalled = self.is_owed().then(|| before.unwrap_or((now, written)));
    }

    /// Until when it may go on as it does; `None`: for ever.
    fn patience(&self) -> Option<Time> {
        let greeting = (!self.session.is_admitted()).then(|| self.since + CLIENT_GREETING_MAX);
        self.close_by.or(greeting).into_iter().chain(self.stalled.map(|(since, _)| since + CLIENT_STALL_MAX)).min()
    }

    /// Why patience with it is over.
    const fn impatience(&self) -> &'static str {
        if self.session.is_admitted() { "it takes nothing" } else { STRANGER }
    }

    /// Each reply and each record is one write: some clients decode segment by segment (rpc.md 7).
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while self.writable {
            let (bytes, written) = match &mut self.unsent {
                Some(unsent) => unsent,
                none => match self.session.next_output() {
                    Some(bytes) => none.insert((bytes, 0)),
                    None => return Ok(()),
                },
            };
            match self.socket.write(bytes.get(*written..).unwrap_or_default()) {
                Ok(len) => {
                    *written += len;
                    self.written += len as u64;
                    if *written >= bytes.len() {
                        self.unsent = None;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::LOG_LINES_MAX;
    use crate::local_time::Zone;
    use mio::{Events, Poll};
    use villein_core::lamport::LamportTime;
    use villein_core::rpc::{self, Request, SessionAction};
    use villein_core::types::QueryId;

    pub(super) struct Server {
        poll: Poll,
        pub(super) rpc: RpcServer,
        pub(super) journal: Journal,
    }

    impl Server {
        pub(super) fn new(ip: &str) -> Self {
            let poll = Poll::new().expect("a poll");
            let listener = RpcListener::open(&format!("{ip}:0"), poll.registry()).expect("listens");
            let rpc = RpcServer::new(listener, Vec::new());
            let journal = Journal::new(Box::new(io::sink()), Zone::default(), Level::Err);
            Self { poll, rpc, journal }
        }

        /// Connects, and accepts what has connected.
        pub(super) fn connect(&mut self) -> std::net::TcpStream {
            let peer = std::net::TcpStream::connect(self.rpc.local_addr().expect("a port")).expect("connects");
            self.poll.poll(&mut Events::with_capacity(8), Some(Duration::from_secs(10))).expect("wakes");
            self.rpc.listener_ready();
            self.rpc.accept(Time::ZERO, self.poll.registry(), &mut self.journal);
            peer
        }

        pub(super) fn lines(&self, part: &str) -> usize {
            self.journal.since(0).filter(|line| line.text.contains(part)).count()
        }
    }

    /// Makes the client's session perform `requests` that are its own.
    pub(super) fn perform(client: &mut Client, requests: &[Request]) {
        let mut peer = rpc::Client::new();
        for request in requests {
            client.session.receive(&peer.request(request).1);
        }
        while let Some(action) = client.session.next_action() {
            assert_eq!(action, SessionAction::MonitorStarted);
        }
        while client.session.next_output().is_some() {}
    }

    pub(super) const HANDSHAKE: Request = Request::Handshake { version: rpc::VERSION };

    #[test]
    fn a_client_too_many_is_refused_and_said_so() {
        let mut server = Server::new("127.0.84.1");
        server.rpc.clients_max = 2;
        let _peers = [(); 2].map(|()| server.connect());
        for id in [0, 1] {
            perform(server.rpc.client(id).expect("is connected"), &[HANDSHAKE]);
        }
        assert_eq!((server.rpc.ids().len(), server.lines("Refused client")), (2, 0));
        let mut third = server.connect();
        assert_eq!((server.rpc.ids().len(), server.lines("Refused client")), (2, 1));
        assert_eq!(third.read(&mut [0; 1]).ok(), Some(0), "it is closed");
    }

    #[test]
    fn where_all_places_are_taken_the_oldest_that_is_not_admitted_gives_way() {
        let mut server = Server::new("127.0.84.11");
        server.rpc.auth = b"token".to_vec();
        server.rpc.clients_max = 3;
        let mut peers = vec![server.connect(), server.connect(), server.connect()];
        let token = Request::Auth { key: b"token".to_vec() };
        perform(server.rpc.client(0).expect("is connected"), &[HANDSHAKE, token.clone()]);
        perform(server.rpc.client(1).expect("is connected"), &[HANDSHAKE]);
        peers.push(server.connect());
        assert_eq!((server.rpc.ids(), server.lines("it does not say who it is")), (vec![0, 2, 3], 1));
        assert_eq!(peers[1].read(&mut [0; 1]).ok(), Some(0), "it is closed, it has shown no token");
        peers.push(server.connect());
        assert_eq!(server.rpc.ids(), [0, 3, 4]);
        for id in [3, 4] {
            perform(server.rpc.client(id).expect("is connected"), &[HANDSHAKE, token.clone()]);
        }
        peers.push(server.connect());
        assert_eq!((server.rpc.ids(), server.lines("Refused client")), (vec![0, 3, 4], 1), "all are admitted");
        assert_eq!(server.rpc.take_left(), [1, 2]);
    }

    #[test]
    fn after_patterns_of_a_turn_those_behind_their_client_come_first_in_the_next() {
        let mut server = Server::new("127.0.84.10");
        let _peers = [(); 4].map(|()| server.connect());
        server.rpc.note_programs(0, PROGRAM_BYTES_PER_TURN - 1);
        assert_eq!((server.rpc.has_compiled(), server.rpc.ids()), (false, vec![0, 1, 2, 3]));
        server.rpc.note_programs(1, 1);
        assert!(server.rpc.has_compiled());
        server.rpc.begin_turn();
        assert_eq!((server.rpc.has_compiled(), server.rpc.ids()), (false, vec![2, 3, 0, 1]));
        server.rpc.note_programs(3, PROGRAM_BYTES_PER_TURN);
        assert_eq!(server.rpc.ids(), [0, 1, 2, 3]);
    }

    #[test]
    fn who_does_not_say_who_it_is_must_go_and_who_did_may_be_silent() {
        let mut server = Server::new("127.0.84.6");
        let _peers = [(); 2].map(|()| server.connect());
        perform(server.rpc.client(0).expect("is connected"), &[HANDSHAKE]);
        let end = Time::ZERO + CLIENT_GREETING_MAX;
        assert_eq!(server.rpc.client(1).expect("is connected").patience(), Some(end));
        for (now, left) in [(end.previous(), vec![0, 1]), (end, vec![0]), (end + CLIENT_STALL_MAX, vec![0])] {
            server.rpc.flush(now, &mut server.journal);
            assert_eq!(server.rpc.ids(), left);
        }
        assert_eq!(server.lines("Closing client"), 1);
    }

    #[test]
    fn who_says_much_and_not_who_it_is_must_go() {
        let mut server = Server::new("127.0.84.8");
        let mut buffer = vec![0; 2 * CLIENT_GREETING_BYTES_MAX];
        let mut peers = [(); 2].map(|()| server.connect());
        perform(server.rpc.client(1).expect("is connected"), &[HANDSHAKE]);
        for peer in &mut peers {
            peer.write_all(&vec![0x90; buffer.len()]).expect("is sent");
            peer.shutdown(std::net::Shutdown::Write).expect("ends");
        }
        let read = [0, 1].map(|id| {
            let mut taken = 0;
            loop {
                let client = server.rpc.client(id).expect("is connected");
                client.readable = true;
                match client.read(&mut buffer) {
                    Input::Bytes(len) => taken += len,
                    Input::Nothing => {}
                    Input::End => return (taken, "the end"),
                    Input::TooMuch => return (taken, "too much"),
                    Input::Gone => return (taken, "gone"),
                }
            }
        });
        assert_eq!(read, [(CLIENT_GREETING_BYTES_MAX, "too much"), (buffer.len(), "the end")]);
        server.rpc.turn_away(0, &mut server.journal);
        assert_eq!((server.rpc.ids(), server.lines("it does not say who it is")), (vec![1], 1));
    }

    #[test]
    fn who_takes_nothing_for_long_must_go_and_who_takes_a_little_may_stay() {
        let mut server = Server::new("127.0.84.7");
        let mut peer = server.connect();
        let client = server.rpc.client(0).expect("is connected");
        perform(client, &[HANDSHAKE]);
        let record = QueryRecord::Response { from: b"n1".to_vec(), payload: Some(vec![b'x'; 1 << 20]) };
        // Until the system has no more room.
        let fill = |client: &mut Client| {
            client.writable = true;
            client.flush().expect("is taken or waits");
            while !client.is_owed() {
                client.session.query_record(7, &record);
                client.flush().expect("is taken or waits");
            }
            client.written
        };
        let start = Time::from_millis(1);
        let written = fill(server.rpc.client(0).expect("is connected"));
        server.rpc.flush(start, &mut server.journal);
        peer.read_exact(&mut vec![0; usize::try_from(written / 2).expect("fits")]).expect("takes some");
        let more = fill(server.rpc.client(0).expect("is connected"));
        assert!(more > written, "there is room again");
        server.rpc.flush(start + CLIENT_STALL_MAX, &mut server.journal);
        assert_eq!(server.rpc.ids(), [0], "it has taken something");
        server.rpc.flush(start + CLIENT_STALL_MAX + CLIENT_STALL_MAX, &mut server.journal);
        assert_eq!((server.rpc.ids().len(), server.lines("it takes nothing")), (0, 1));
    }

    #[test]
    fn a_slow_monitor_loses_lines_and_that_is_said_once() {
        let mut server = Server::new("127.0.84.2");
        let _peer = server.connect();
        let client = server.rpc.client(0).expect("is connected");
        perform(client, &[HANDSHAKE, Request::Monitor { level: b"info".to_vec() }]);
        client.start_monitor(server.journal.next());
        for round in 0..3 {
            for _ in 0..LOG_LINES_MAX - 2 {
                server.journal.log(Level::Info, format_args!("agent: noise"));
            }
            server.rpc.pump_log(&mut server.journal);
            assert_eq!(server.lines("Dropping logs to ipc.client: 127.0.0.1:"), usize::from(round > 0), "{round}");
        }
        let client = server.rpc.client(0).expect("is connected");
        while client.session.next_output().is_some() {}
        server.journal.log(Level::Info, format_args!("agent: back"));
        server.rpc.pump_log(&mut server.journal);
        let client = server.rpc.client(0).expect("is connected");
        assert!(client.session.has_output() && !client.drops_lines, "it keeps up again");
    }

    #[test]
    fn a_slow_stream_loses_the_newest_events_and_each_is_said() {
        let mut server = Server::new("127.0.84.3");
        let _peer = server.connect();
        let client = server.rpc.client(0).expect("is connected");
        perform(client, &[HANDSHAKE, Request::Stream { kind: b"*".to_vec() }]);
        let event = StreamEvent::Members { kind: "member-join", members: Vec::new() };
        for _ in 0..rpc::RECORDS_MAX + 2 {
            server.rpc.publish(&event, None, &mut server.journal);
        }
        assert_eq!(server.lines("Dropping event to ipc.client: 127.0.0.1:"), 2);
    }

    #[test]
    fn a_slow_asker_loses_answers_but_not_the_end_and_each_is_said() {
        let mut server = Server::new("127.0.84.5");
        let _peer = server.connect();
        let answer = QueryRecord::Response { from: b"n1".to_vec(), payload: Some(vec![b'x'; 1 << 20]) };
        for _ in 0..5 {
            server.rpc.query_record(0, 7, &answer, &mut server.journal);
        }
        server.rpc.query_record(0, 7, &QueryRecord::Done, &mut server.journal);
        assert_eq!(server.lines("Dropping query record to ipc.client: 127.0.0.1:"), 2);
        let client = server.rpc.client(0).expect("is connected");
        let waiting = std::iter::from_fn(|| client.session.next_output()).count();
        assert_eq!(waiting, 3 + 1, "less than four of them fit into the bound");
    }

    #[test]
    fn ids_of_queries_are_remembered_up_to_a_bound() {
        let mut server = Server::new("127.0.84.6");
        let _peer = server.connect();
        let client = server.rpc.client(0).expect("is connected");
        perform(client, &[HANDSHAKE, Request::Stream { kind: b"query".to_vec() }]);
        let event = StreamEvent::Query { ltime: 1, name: b"q".to_vec(), payload: None };
        let key = |ltime| QueryKey { ltime: LamportTime(ltime), id: QueryId(0) };
        let last = limits::QUERIES_OPEN_MAX as u64 + 1;
        for ltime in 1..=last {
            server.rpc.publish(&event, Some(key(ltime)), &mut server.journal);
            let client = server.rpc.client(0).expect("is connected");
            while client.session.next_output().is_some() {}
        }
        let client = server.rpc.client(0).expect("is connected");
        assert_eq!([1, 2, last, last + 1].map(|id| client.query(id)), [None, Some(key(2)), Some(key(last)), None]);
    }

    #[test]
    fn a_client_that_is_closed_gets_what_it_is_owed_and_not_for_ever() {
        let mut server = Server::new("127.0.84.4");
        let mut peer = server.connect();
        let client = server.rpc.client(0).expect("is connected");
        client.session.receive(&rpc::Client::new().request(&HANDSHAKE).1);
        assert_eq!(client.session.next_action(), None);
        client.close(Time::ZERO);
        client.writable = false;
        server.rpc.flush(Time::ZERO, &mut server.journal);
        assert_eq!(server.rpc.deadline(Time::ZERO), Some(Time::ZERO + CLIENT_CLOSE_MAX));
        server.rpc.client_ready(0, false, true);
        server.rpc.flush(Time::ZERO, &mut server.journal);
        assert!(server.rpc.ids().is_empty());
        let mut reply = Vec::new();
        peer.read_to_end(&mut reply).expect("is sent");
        assert!(!reply.is_empty());
        let _peer = server.connect();
        let client = server.rpc.client(1).expect("is connected");
        client.session.receive(&rpc::Client::new().request(&HANDSHAKE).1);
        assert_eq!(client.session.next_action(), None);
        client.close(Time::ZERO);
        client.writable = false;
        server.rpc.flush(Time::ZERO + CLIENT_CLOSE_MAX, &mut server.journal);
        assert!(server.rpc.ids().is_empty());
    }
}
