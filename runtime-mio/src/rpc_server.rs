//! RPC clients: their sockets around `villein_core::rpc` sessions. What they ask for is done in `requests.rs`.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Interest, Registry};
use villein_core::Time;
use villein_core::log::Level;
use villein_core::rpc::{Session, StreamEvent};

use crate::log_ring::Journal;
use crate::tcp::{Accept, Listener};
use crate::tokens::Source;

/// Clients at one time; upstream has no bound (rpc.md 1).
const CLIENTS_MAX: usize = 1_024;
/// How long a client that is being closed may take to read what it is still owed.
const CLOSE_MAX: Duration = Duration::from_secs(10);

/// The listener and its clients.
pub(crate) struct RpcServer {
    listener: Listener,
    addr: SocketAddr,
    auth: Vec<u8>,
    clients: BTreeMap<u64, Client>,
    accepted: u64,
}

/// A connected client.
pub(crate) struct Client {
    /// What was said so far, and what must be said.
    pub(crate) session: Session,
    peer: SocketAddr,
    socket: TcpStream,
    readable: bool,
    writable: bool,
    /// One reply or record, and how much of it is written.
    unsent: Option<(Vec<u8>, usize)>,
    /// Whether requests wait that this turn had no room for.
    pub(crate) busy: bool,
    /// Set when nothing more is read; the client goes once it has what it is owed, or at that time.
    close_by: Option<Time>,
    /// Number of the next log line for its monitor.
    monitor: Option<u64>,
    /// Whether its monitor has lost lines since it last kept up.
    drops_lines: bool,
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
}

impl RpcServer {
    /// Registers the listener. An empty token lets everybody in.
    pub(crate) fn new(socket: std::net::TcpListener, registry: &Registry, auth: String) -> io::Result<Self> {
        let addr = socket.local_addr()?;
        let listener = Listener::new(socket, registry, Source::RpcListener.token())?;
        Ok(Self { listener, addr, auth: auth.into_bytes(), clients: BTreeMap::new(), accepted: 0 })
    }

    pub(crate) const fn local_addr(&self) -> SocketAddr {
        self.addr
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
        let clients = self
            .clients
            .values()
            .filter_map(|client| if client.can_read() || client.busy { Some(now) } else { client.close_by });
        clients.chain(self.listener.deadline(now)).min()
    }

    /// Takes the clients that wait.
    pub(crate) fn accept(&mut self, now: Time, registry: &Registry, journal: &mut Journal) {
        let Self { listener, clients, accepted, auth, .. } = self;
        listener.accept(now, |accept| match accept {
            Accept::Taken(_, peer) if clients.len() >= CLIENTS_MAX => {
                journal
                    .log(Level::Warn, format_args!("agent.ipc: Refused client: {peer}: {CLIENTS_MAX} are connected"));
            }
            Accept::Taken(socket, peer) => match Client::new(socket, peer, *accepted, auth, registry) {
                Ok(client) => {
                    journal.log(Level::Info, format_args!("agent.ipc: Accepted client: {peer}"));
                    clients.insert(*accepted, client);
                    *accepted += 1;
                }
                Err(error) => journal.log(Level::Err, format_args!("agent.ipc: Failed to accept client: {error}")),
            },
            Accept::Failed(error) => {
                journal.log(Level::Err, format_args!("agent.ipc: Failed to accept client: {error}"));
            }
        });
    }

    /// Drops a client.
    pub(crate) fn forget(&mut self, id: u64) {
        self.clients.remove(&id);
    }

    /// Every client, the longest connected first.
    pub(crate) fn ids(&self) -> Vec<u64> {
        self.clients.keys().copied().collect()
    }

    pub(crate) fn client(&mut self, id: u64) -> Option<&mut Client> {
        self.clients.get_mut(&id)
    }

    /// Shows an event to every client that wants to see it.
    pub(crate) fn publish(&mut self, event: &StreamEvent, journal: &mut Journal) {
        for client in self.clients.values_mut() {
            for _ in 0..client.session.publish(event) {
                journal.log(Level::Warn, format_args!("agent.ipc: Dropping event to ipc.client: {}", client.peer));
            }
        }
    }

    /// Whether a client wants to see events.
    pub(crate) fn is_subscribed(&self) -> bool {
        self.clients.values().any(|client| client.session.is_subscribed())
    }

    /// Shows new log lines to the monitors.
    pub(crate) fn pump_log(&mut self, journal: &mut Journal) {
        let mut dropping = Vec::new();
        for client in self.clients.values_mut() {
            let Some(from) = client.monitor.replace(journal.next()) else {
                client.monitor = None;
                continue;
            };
            let mut dropped = journal.first() > from;
            for line in journal.since(from) {
                dropped |= client.session.log_line(Some(line.level), line.text.as_bytes());
            }
            if dropped && !client.drops_lines {
                dropping.push(client.peer);
            }
            // The line about dropped lines is one itself: it is written once, until the client has kept up again.
            if from < journal.next() {
                client.drops_lines = dropped;
            }
        }
        for peer in dropping {
            journal.log(Level::Warn, format_args!("agent.ipc: Dropping logs to ipc.client: {peer}"));
        }
    }

    /// Writes what the sockets take, and lets go of clients that are done.
    pub(crate) fn flush(&mut self, now: Time) {
        self.clients.retain(|_, client| {
            client.flush().is_ok() && client.close_by.is_none_or(|by| client.is_owed() && now < by)
        });
    }

    /// Whether a client has not got all that it must be sent.
    pub(crate) fn is_owed(&self) -> bool {
        self.clients.values().any(Client::is_owed)
    }
}

impl Client {
    fn new(mut socket: TcpStream, peer: SocketAddr, id: u64, auth: &[u8], registry: &Registry) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        registry.register(&mut socket, Source::Client(id).token(), Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self {
            session: Session::new(auth),
            peer,
            socket,
            readable: true,
            writable: true,
            unsent: None,
            busy: false,
            close_by: None,
            monitor: None,
            drops_lines: false,
        })
    }

    /// A client that does not take its replies is not read from: its requests wait, as they do upstream.
    fn can_read(&self) -> bool {
        self.readable && self.close_by.is_none() && !self.is_owed() && self.session.wants_input()
    }

    /// Reads once.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Input {
        if !self.can_read() {
            return Input::Nothing;
        }
        match self.socket.read(buffer) {
            Ok(0) => {
                self.readable = false;
                Input::End
            }
            Ok(len) => Input::Bytes(len),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                Input::Nothing
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Input::Nothing,
            Err(_) => Input::Gone,
        }
    }

    /// Shows the log from its first line that is kept on.
    pub(crate) const fn start_monitor(&mut self, from: u64) {
        self.monitor = Some(from);
    }

    /// Reads no more and goes once the client has what it is owed.
    pub(crate) fn close(&mut self, now: Time) {
        self.close_by = Some(now + CLOSE_MAX);
    }

    /// Whether something waits to be sent.
    pub(crate) fn is_owed(&self) -> bool {
        self.unsent.is_some() || self.session.has_output()
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
