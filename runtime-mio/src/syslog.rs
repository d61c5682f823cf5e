//! Log lines for the host's syslog (cli.md 3.12).

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};
use villein_core::log::Level;

use crate::local_time::Stamp;

/// Where the local syslog listens, in the order in which the sockets are tried.
pub const SYSLOG_PATHS: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];

/// Names of the facilities in the order of their codes; the codes from 12 to 15 have none.
const FACILITIES: [(&str, u8); 20] = [
    ("KERN", 0),
    ("USER", 1),
    ("MAIL", 2),
    ("DAEMON", 3),
    ("AUTH", 4),
    ("SYSLOG", 5),
    ("LPR", 6),
    ("NEWS", 7),
    ("UUCP", 8),
    ("CRON", 9),
    ("AUTHPRIV", 10),
    ("FTP", 11),
    ("LOCAL0", 16),
    ("LOCAL1", 17),
    ("LOCAL2", 18),
    ("LOCAL3", 19),
    ("LOCAL4", 20),
    ("LOCAL5", 21),
    ("LOCAL6", 22),
    ("LOCAL7", 23),
];

/// A connection to the host's syslog. It never blocks: a line that the syslog does not take at once is dropped, and
/// the number of dropped lines is told as soon as it listens again.
#[derive(Debug)]
pub struct Syslog {
    facility: u8,
    paths: Vec<PathBuf>,
    socket: Option<Socket>,
    dropped: u64,
}

impl Syslog {
    /// Connects to the first of `paths` where somebody listens.
    ///
    /// # Errors
    /// The facility is unknown, or nobody listens.
    pub fn open(facility: &str, paths: impl IntoIterator<Item = impl Into<PathBuf>>) -> Result<Self, SyslogError> {
        let name = facility.to_uppercase();
        let known = FACILITIES.iter().find(|(known, _)| *known == name);
        let Some(&(_, code)) = known else { return Err(SyslogError::UnknownFacility(name)) };
        let paths: Vec<PathBuf> = paths.into_iter().map(Into::into).collect();
        let socket = connect(&paths).ok_or(SyslogError::NobodyListens)?;
        Ok(Self { facility: code, paths, socket: Some(socket), dropped: 0 })
    }

    /// Sends a line, and first how many could not be sent before it.
    pub(crate) fn send(&mut self, level: Level, stamp: &Stamp, text: &str) {
        if self.dropped > 0 {
            let notice = format!("agent: {} lines were lost: the syslog did not take them", self.dropped);
            if self.deliver(&self.record(Level::Warn, stamp, &notice)).is_err() {
                self.dropped += 1;
                return;
            }
            self.dropped = 0;
        }
        if self.deliver(&self.record(level, stamp, text)).is_err() {
            self.dropped += 1;
        }
    }

    /// `<133>Nov 23 06:05:04 serf[5303]: agent: Serf agent starting`, with a line break.
    fn record(&self, level: Level, stamp: &Stamp, text: &str) -> String {
        let priority = self.facility * 8 + severity(level);
        let text = text.strip_suffix('\n').unwrap_or(text);
        format!("<{priority}>{} serf[{}]: {text}\n", stamp.rfc3164(), std::process::id())
    }

    /// Sends a record; where the syslog was restarted, over a new connection.
    fn deliver(&mut self, record: &str) -> io::Result<()> {
        if let Some(socket) = &self.socket {
            match send_whole(socket, record) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => self.socket = None,
                sent => return sent,
            }
        }
        let socket = self.socket.insert(connect(&self.paths).ok_or(io::ErrorKind::NotConnected)?);
        send_whole(socket, record)
    }
}

/// Why there is no syslog. `Display` is upstream's text (cli.md 3.3, 7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyslogError {
    /// There is no facility of that name.
    UnknownFacility(String),
    /// None of the sockets is there.
    NobodyListens,
}

impl fmt::Display for SyslogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Syslog setup failed: ")?;
        match self {
            Self::UnknownFacility(name) => write!(f, "invalid syslog facility: {name}"),
            Self::NobodyListens => f.write_str("Unix syslog delivery error"),
        }
    }
}

impl std::error::Error for SyslogError {}

/// Upstream's: its debug is informational and its info a notice.
const fn severity(level: Level) -> u8 {
    match level {
        Level::Trace => 7,
        Level::Debug => 6,
        Level::Info => 5,
        Level::Warn => 4,
        Level::Err => 3,
    }
}

/// The first socket that takes a connection: one for datagrams before one for streams.
fn connect(paths: &[PathBuf]) -> Option<Socket> {
    let kinds = [Type::DGRAM, Type::STREAM];
    kinds.into_iter().find_map(|kind| paths.iter().find_map(|path| connect_one(kind, path).ok()))
}

fn connect_one(kind: Type, path: &Path) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, kind, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket)
}

/// A record that is cut short would spoil the next one on a stream, so it counts as a broken connection.
fn send_whole(socket: &Socket, record: &str) -> io::Result<()> {
    match socket.send(record.as_bytes()) {
        Ok(len) if len == record.len() => Ok(()),
        Ok(_) => Err(io::ErrorKind::WriteZero.into()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::{UnixDatagram, UnixListener};

    use super::*;
    use crate::local_time::Zone;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 1024];
        let len = socket.recv(&mut buffer).expect("arrives");
        String::from_utf8(buffer[..len].to_vec()).expect("text")
    }

    fn send(syslog: &mut Syslog, level: Level, text: &str) {
        syslog.send(level, &Zone::default().stamp(1_795_411_504), text);
    }

    #[test]
    fn a_line_has_the_priority_of_its_level_and_facility() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("log");
        let server = UnixDatagram::bind(&path).expect("binds");
        let mut syslog = Syslog::open("Local0", [directory.path().join("nosuch"), path.clone()]).expect("connects");
        let pid = std::process::id();
        for (level, priority) in
            [(Level::Trace, 135), (Level::Debug, 134), (Level::Info, 133), (Level::Warn, 132), (Level::Err, 131)]
        {
            send(&mut syslog, level, "agent: Serf agent starting");
            let want = format!("<{priority}>Nov 23 05:25:04 serf[{pid}]: agent: Serf agent starting\n");
            assert_eq!(received(&server), want);
        }
        let mut syslog = Syslog::open("daemon", [path]).expect("connects");
        send(&mut syslog, Level::Info, "x\n");
        assert_eq!(received(&server), format!("<29>Nov 23 05:25:04 serf[{pid}]: x\n"));
    }

    #[test]
    fn a_syslog_that_comes_back_is_told_what_it_missed() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("log");
        let server = UnixDatagram::bind(&path).expect("binds");
        let mut syslog = Syslog::open("USER", [path.clone()]).expect("connects");
        drop(server);
        std::fs::remove_file(&path).expect("is there");
        send(&mut syslog, Level::Info, "one");
        send(&mut syslog, Level::Info, "two");
        let server = UnixDatagram::bind(&path).expect("binds");
        send(&mut syslog, Level::Info, "three");
        assert!(received(&server).ends_with(": agent: 2 lines were lost: the syslog did not take them\n"));
        assert!(received(&server).ends_with(": three\n"));
    }

    #[test]
    fn a_syslog_that_does_not_read_blocks_nobody() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("log");
        let server = UnixDatagram::bind(&path).expect("binds");
        let mut syslog = Syslog::open("USER", [path]).expect("connects");
        let sent = 10_000;
        for _ in 0..sent {
            send(&mut syslog, Level::Info, &"x".repeat(200));
        }
        assert!(syslog.dropped > 0 && syslog.dropped < sent, "{}", syslog.dropped);
        server.set_nonblocking(true).expect("does not block");
        let taken = std::iter::from_fn(|| server.recv(&mut [0; 512]).ok()).count() as u64;
        assert!(taken + syslog.dropped >= sent, "{taken} and {}", syslog.dropped);
    }

    #[test]
    fn a_stream_is_as_good_as_datagrams() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("log");
        let server = UnixListener::bind(&path).expect("binds");
        let mut syslog = Syslog::open("USER", [path]).expect("connects");
        send(&mut syslog, Level::Err, "one");
        send(&mut syslog, Level::Err, "two");
        let (stream, _) = server.accept().expect("is connected");
        drop(syslog);
        let lines: Vec<String> = BufReader::new(stream).lines().map(|line| line.expect("text")).collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("<11>") && lines[1].ends_with(": two"), "{lines:?}");
    }

    #[test]
    fn what_stands_in_the_way_is_said_in_upstreams_words() {
        let refused = |facility| Syslog::open(facility, ["/nosuch/log"]).expect_err("nobody listens").to_string();
        assert_eq!(refused("bogus"), "Syslog setup failed: invalid syslog facility: BOGUS");
        assert_eq!(refused("LOCAL7"), "Syslog setup failed: Unix syslog delivery error");
    }
}
