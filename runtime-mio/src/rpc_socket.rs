//! Where RPC clients come from: a TCP port, a socket file, or nowhere; and their connections.

use std::fmt;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mio::event::Source;
use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_peercred};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::{Pid, Uid, geteuid};
use villein_core::Time;

use crate::address::errno_text;
use crate::sockets;
use crate::tcp::{Accept, Accepts, Listener};
use crate::tokens;

/// What is configured where there is no RPC.
const OFF: &str = "off";
/// What stands before the path of a socket file.
const UNIX: &str = "unix:";
/// Longest time that an agent may take to let somebody in who asks whether it is there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Only the agent's user may connect; that is asked of each connection too.
const FILE_MODE: u32 = 0o600;

/// What clients connect to.
pub(crate) enum RpcListener {
    /// Nothing.
    Off,
    /// A port.
    Tcp(Listener, SocketAddr),
    /// A file, which goes before the listener: while that is there no other agent takes the file for a stale one.
    Unix(#[expect(dead_code, reason = "it goes with the listener")] SocketFile, Listener<UnixListener>),
}

/// The file of a socket; removed with it.
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Device and number, which no other file gets while the socket is there.
    id: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), id: id_of(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Who has removed or renamed ours may have put another there, such as the agent that is to follow.
        if id_of(&self.path).is_ok_and(|id| id == self.id) {
            // What does not go now is found stale by the next agent.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn id_of(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Somebody at an address.
    Addr(SocketAddr),
    /// A process of this host.
    Process {
        /// Its user.
        uid: Uid,
        /// Its number, where the kernel knows it.
        pid: Pid,
    },
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addr(addr) => addr.fmt(f),
            Self::Process { uid, pid } => write!(f, "process {} of user {}", pid.as_raw_nonzero(), uid.as_raw()),
        }
    }
}

impl Peer {
    /// Whether it may be served: whoever is at a port may, and of this host's users the agent's own and root.
    pub(crate) fn is_admitted(self) -> bool {
        match self {
            Self::Addr(_) => true,
            Self::Process { uid, .. } => uid.is_root() || uid == geteuid(),
        }
    }
}

/// A connection with a client.
pub(crate) enum Connection {
    /// Over a port.
    Tcp(TcpStream),
    /// Over a file.
    Unix(UnixStream),
}

/// One look at the listener.
pub(crate) enum Arrival {
    /// A client.
    Client(Connection, Peer),
    /// It could not be taken; the listener rests.
    Failed(io::Error),
}

impl Accepts for UnixListener {
    type Stream = UnixStream;
    type Peer = ();

    fn accept(&self) -> io::Result<(UnixStream, ())> {
        self.accept().map(|(socket, _)| (socket, ()))
    }
}

impl RpcListener {
    /// Opens what `addr` names: `off`, `unix:PATH` or `host:port`.
    ///
    /// # Errors
    /// The system's refusal, in Go's words.
    pub(crate) fn open(addr: &str, registry: &Registry) -> Result<Self, String> {
        let token = tokens::Source::RpcListener.token();
        let registered = |error: io::Error| errno_text(&error);
        if addr == OFF {
            return Ok(Self::Off);
        }
        if let Some(path) = addr.strip_prefix(UNIX) {
            let (socket, file) = listen_at(Path::new(path)).map_err(|error| format!("listen unix {path}: {error}"))?;
            return Ok(Self::Unix(file, Listener::new(socket, registry, token).map_err(registered)?));
        }
        let socket = sockets::rpc_listener(addr)?;
        let addr = socket.local_addr().map_err(registered)?;
        Ok(Self::Tcp(Listener::new(TcpListener::from_std(socket), registry, token).map_err(registered)?, addr))
    }

    /// The address of the port, if it is one.
    pub(crate) const fn addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(_, addr) => Some(*addr),
            Self::Off | Self::Unix(..) => None,
        }
    }

    /// The system says that clients wait.
    pub(crate) const fn set_ready(&mut self) {
        match self {
            Self::Off => (),
            Self::Tcp(listener, _) => listener.set_ready(),
            Self::Unix(_, listener) => listener.set_ready(),
        }
    }

    /// When it wants to be looked at again although the system says nothing; `now` if it is ready.
    pub(crate) fn deadline(&self, now: Time) -> Option<Time> {
        match self {
            Self::Off => None,
            Self::Tcp(listener, _) => listener.deadline(now),
            Self::Unix(_, listener) => listener.deadline(now),
        }
    }

    /// Takes what waits, up to a bound.
    pub(crate) fn accept(&mut self, now: Time, mut each: impl FnMut(Arrival)) {
        match self {
            Self::Off => (),
            Self::Tcp(listener, _) => listener.accept(now, |accept| {
                each(match accept {
                    Accept::Taken(socket, from) => Arrival::Client(Connection::Tcp(socket), Peer::Addr(from)),
                    Accept::Failed(error) => Arrival::Failed(error),
                });
            }),
            Self::Unix(_, listener) => listener.accept(now, |accept| {
                each(match accept {
                    Accept::Taken(socket, ()) => match socket_peercred(&socket) {
                        Ok(peer) => {
                            Arrival::Client(Connection::Unix(socket), Peer::Process { uid: peer.uid, pid: peer.pid })
                        }
                        Err(error) => Arrival::Failed(error.into()),
                    },
                    Accept::Failed(error) => Arrival::Failed(error),
                });
            }),
        }
    }
}

/// Listens at a path. A socket file that nobody listens at, of an agent that was killed, is replaced.
fn listen_at(path: &Path) -> Result<(UnixListener, SocketFile), String> {
    let call = |name: &'static str| move |error: io::Error| format!("{name}: {}", errno_text(&error));
    let socket = match UnixListener::bind(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse && is_stale(path, CONNECT_TIMEOUT) => {
            fs::remove_file(path).map_err(call("unlink"))?;
            UnixListener::bind(path)
        }
        result => result,
    };
    let socket = socket.map_err(call("bind"))?;
    let file = SocketFile::of(path).map_err(call("lstat"))?;
    fs::set_permissions(path, Permissions::from_mode(FILE_MODE)).map_err(call("chmod"))?;
    Ok((socket, file))
}

fn is_stale(path: &Path, timeout: Duration) -> bool {
    let refused = |error: io::Error| error.kind() == ErrorKind::ConnectionRefused;
    fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
        && connect_unix(path, timeout).is_err_and(refused)
}

/// Connects to the socket file at `path`; the timeout holds for what is written afterwards, too.
///
/// # Errors
/// As of `connect(2)`; `WouldBlock` when whoever listens has not taken the connection in time.
pub fn connect_unix(path: &Path, timeout: Duration) -> io::Result<std::os::unix::net::UnixStream> {
    // As Go says of a path that is too long.
    let addr = SocketAddrUnix::new(path).map_err(|_| Errno::INVAL)?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Send, Some(timeout))?;
    connect(&socket, &addr)?;
    Ok(socket.into())
}

impl Connection {
    /// Lets each write go at once.
    pub(crate) fn set_nodelay(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.set_nodelay(true),
            Self::Unix(_) => Ok(()),
        }
    }

    fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(socket) => socket,
            Self::Unix(socket) => socket,
        }
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read(buffer),
            Self::Unix(socket) => socket.read(buffer),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.write(bytes),
            Self::Unix(socket) => socket.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source for Connection {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.source().register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.source().reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.source().deregister(registry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll};

    fn open(path: &Path) -> Result<(Poll, RpcListener), String> {
        let poll = Poll::new().expect("a poll");
        let listener = RpcListener::open(&format!("unix:{}", path.display()), poll.registry())?;
        Ok((poll, listener))
    }

    #[test]
    fn a_socket_file_is_its_users_alone_and_goes_with_the_listener() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("rpc.sock");
        let (mut poll, mut listener) = open(&path).expect("listens");
        assert_eq!(fs::metadata(&path).expect("is there").permissions().mode() & 0o777, FILE_MODE);
        assert_eq!(listener.addr(), None);
        let _client = std::os::unix::net::UnixStream::connect(&path).expect("connects");
        poll.poll(&mut Events::with_capacity(8), Some(Duration::from_secs(10))).expect("wakes");
        listener.set_ready();
        let mut peers = Vec::new();
        listener.accept(Time::ZERO, |arrival| match arrival {
            Arrival::Client(_, peer) => peers.push(peer),
            Arrival::Failed(error) => panic!("{error}"),
        });
        let [Peer::Process { uid, pid }] = peers[..] else { panic!("{peers:?}") };
        assert_eq!((uid, pid), (geteuid(), rustix::process::getpid()));
        assert!(peers[0].is_admitted());
        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn what_has_come_in_the_place_of_the_socket_file_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("rpc.sock");
        let listener = open(&path).expect("listens");
        fs::remove_file(&path).expect("is there");
        let next = open(&path).expect("listens");
        drop(listener);
        assert!(path.exists(), "it is the next agent's");
        fs::rename(&path, folder.path().join("away")).expect("is there");
        fs::write(&path, "of somebody else").expect("writes");
        drop(next);
        assert_eq!(fs::read(&path).expect("is there"), b"of somebody else");
    }

    #[test]
    fn of_other_users_only_root_is_admitted() {
        let pid = rustix::process::getpid();
        let uid = geteuid().as_raw();
        for (other, admitted) in [(0, true), (uid, true), (uid + 1, false)] {
            let peer = Peer::Process { uid: Uid::from_raw(other), pid };
            assert_eq!(peer.is_admitted(), admitted, "{peer}");
        }
    }

    #[test]
    fn a_file_at_which_nobody_listens_is_replaced_and_no_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("rpc.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).expect("binds"));
        assert!(path.exists(), "it was left behind");
        let first = open(&path).expect("replaces it");
        let in_use = format!("listen unix {}: bind: address already in use", path.display());
        assert_eq!(open(&path).err(), Some(in_use.clone()), "somebody listens");
        drop(first);
        fs::write(&path, "precious").expect("writes");
        assert_eq!(open(&path).err(), Some(in_use), "that is no socket");
        assert_eq!(fs::read(&path).expect("is there"), b"precious");
    }

    #[test]
    fn connecting_to_one_that_takes_nobody_has_an_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("rpc.sock");
        let listener = std::os::unix::net::UnixListener::bind(&path).expect("binds");
        rustix::net::listen(&listener, 0).expect("fewer may wait");
        let (mut waiting, timeout) = (Vec::new(), Duration::from_millis(20));
        let error = (0..100).find_map(|_| match connect_unix(&path, timeout) {
            Ok(client) => {
                waiting.push(client);
                None
            }
            Err(error) => Some(error),
        });
        assert_eq!(error.map(|error| error.kind()), Some(ErrorKind::WouldBlock), "{} wait", waiting.len());
        assert!(!is_stale(&path, timeout), "somebody listens");
        let long = folder.path().join("x".repeat(200));
        assert_eq!(connect_unix(&long, timeout).expect_err("too long").kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn where_it_is_off_nothing_listens() {
        let poll = Poll::new().expect("a poll");
        let mut listener = RpcListener::open("off", poll.registry()).expect("there is nothing to open");
        listener.set_ready();
        listener.accept(Time::ZERO, |_| panic!("nobody can come"));
        assert_eq!((listener.addr(), listener.deadline(Time::ZERO)), (None, None));
    }
}
