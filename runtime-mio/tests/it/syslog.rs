//! Log lines in the host's syslog.

use std::io;
use std::os::unix::net::UnixDatagram;

use villein_core::log::Level;
use villein_runtime_mio::{Signal, Syslog};

use crate::support::{PATIENCE, Running};

/// A syslog of our own.
struct Server {
    socket: UnixDatagram,
    directory: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = UnixDatagram::bind(directory.path().join("log")).expect("binds");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self { socket, directory }
    }

    fn connect(&self) -> Option<Syslog> {
        Some(Syslog::open("LOCAL0", [self.directory.path().join("log")]).expect("connects"))
    }

    fn next(&self) -> io::Result<String> {
        let mut buffer = [0; 2048];
        let len = self.socket.recv(&mut buffer)?;
        Ok(String::from_utf8_lossy(&buffer[..len]).into_owned())
    }

    /// Priority and text of what comes until the line with that text has come.
    fn until(&self, wanted: &str) -> Vec<(String, String)> {
        let mut lines = Vec::new();
        loop {
            let line = self.next().expect("comes");
            let (priority, rest) = line.split_once('>').expect("a priority");
            let (_, text) = rest.split_once(&format!(" serf[{}]: ", std::process::id())).expect("a tag");
            lines.push((priority.to_owned(), text.to_owned()));
            if text == format!("{wanted}\n") {
                return lines;
            }
        }
    }
}

#[test]
fn lines_that_pass_the_level_go_to_syslog_and_do_not_wait_for_the_gate() {
    let server = Server::start();
    let agent = Running::start("t1", "127.43.1.1", |options| options.syslog = server.connect());
    let lines = server.until("serf: EventMemberJoin: t1 127.43.1.1");
    let want = ["agent: Serf agent starting\n", "serf: EventMemberJoin: t1 127.43.1.1\n"];
    assert_eq!(lines, want.map(|text| ("<133".to_owned(), text.to_owned())));
    agent.output.wait_for("[INFO] serf: EventMemberJoin: t1 127.43.1.1");
    agent.signal(Signal::Terminate);
    agent.wait();
    let lines = server.until("agent: shutdown complete");
    assert!(lines.contains(&("<132".to_owned(), "serf: Shutdown without a Leave\n".to_owned())), "{lines:?}");
}

#[test]
fn the_level_holds_for_syslog_too() {
    let server = Server::start();
    let agent = Running::start("t1", "127.43.1.2", |options| {
        options.syslog = server.connect();
        options.log_level = Level::Warn;
    });
    agent.output.wait_for("==> Log data will now stream in as it occurs:");
    agent.signal(Signal::Terminate);
    agent.wait();
    assert!(server.next().expect("comes").ends_with(": serf: Shutdown without a Leave\n"));
    server.socket.set_nonblocking(true).expect("does not block");
    assert_eq!(server.next().map_err(|error| error.kind()), Err(io::ErrorKind::WouldBlock));
}

#[test]
fn a_syslog_that_is_restarted_is_found_again() {
    let mut server = Server::start();
    let agent = Running::start("t1", "127.43.1.3", |options| options.syslog = server.connect());
    server.until("serf: EventMemberJoin: t1 127.43.1.3");
    let path = server.directory.path().join("log");
    std::fs::remove_file(&path).expect("is there");
    server.socket = UnixDatagram::bind(&path).expect("binds");
    server.socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    agent.signal(Signal::Terminate);
    agent.wait();
    server.until("agent: shutdown complete");
}
