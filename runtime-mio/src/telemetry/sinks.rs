//! Servers that values are sent to. Each has a thread, because looking up a name and connecting can block.

use std::io::{self, Write};
use std::mem;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use super::TelemetryOptions;
use crate::address;
use crate::limits::{METRIC_BATCHES_MAX, METRIC_PACKET_BYTES_MAX};

/// How long a server may take to accept a connection, or to read.
const PATIENCE: Duration = Duration::from_secs(10);
const STACK_BYTES: usize = 256 << 10;

/// The threads, and what they get next.
pub(crate) struct Sinks {
    /// Lines of `NAME:VALUE|KIND`.
    pub(crate) pending: String,
    senders: Vec<SyncSender<Arc<str>>>,
}

impl Sinks {
    /// Starts the threads; `None` if there is nothing to send to. Nothing is said of servers that are not there.
    pub(crate) fn start(options: &TelemetryOptions) -> Option<Self> {
        let mut senders = Vec::new();
        for (name, addr, run) in [
            ("statsite", &options.statsite, statsite as fn(&str, &Receiver<Arc<str>>)),
            ("statsd", &options.statsd, statsd),
        ] {
            let (sender, batches) = sync_channel::<Arc<str>>(METRIC_BATCHES_MAX);
            let server = addr.clone();
            let builder = thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES);
            if !addr.is_empty() && builder.spawn(move || run(&server, &batches)).is_ok() {
                senders.push(sender);
            }
        }
        (!senders.is_empty()).then_some(Self { pending: String::new(), senders })
    }

    /// Hands the threads what there is.
    pub(crate) fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let batch: Arc<str> = mem::take(&mut self.pending).into();
        for sender in &self.senders {
            // A server that is slow or gone must not fill our memory.
            let _ = sender.try_send(Arc::clone(&batch));
        }
    }
}

/// Sends batches in packets. The name is looked up anew after a failure.
fn statsd(server: &str, batches: &Receiver<Arc<str>>) {
    let mut open = None;
    for batch in batches {
        let result = match open.take() {
            Some(socket) => Ok(socket),
            None => connect_udp(server),
        };
        // Whatever the reason: the next batch tries again.
        open = result
            .and_then(|socket| packets(&batch).try_for_each(|packet| send(&socket, packet)).map(|()| socket))
            .ok();
    }
}

fn connect_udp(server: &str) -> io::Result<UdpSocket> {
    let addr = resolve(server)?;
    let any = if addr.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.connect(addr)?;
    Ok(socket)
}

/// A refusal tells of an earlier packet; this one is sent all the same.
fn send(socket: &UdpSocket, packet: &str) -> io::Result<()> {
    match socket.send(packet.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => socket.send(packet.as_bytes()).map(drop),
        sent => sent.map(drop),
    }
}

/// As many whole lines as fit, each time.
fn packets(batch: &str) -> impl Iterator<Item = &str> {
    let mut rest = batch;
    std::iter::from_fn(move || {
        let end = match rest.len() {
            0 => return None,
            len if len <= METRIC_PACKET_BYTES_MAX => len,
            _ => {
                let whole = rest.as_bytes()[..METRIC_PACKET_BYTES_MAX].iter().rposition(|byte| *byte == b'\n');
                // A line that is longer than a packet goes alone.
                let end = whole.or_else(|| rest.find('\n'));
                end.map_or(rest.len(), |end| end + 1)
            }
        };
        let packet;
        (packet, rest) = rest.split_at(end);
        Some(packet)
    })
}

/// Sends batches over a connection, which is made when there is something to send and made anew when it broke.
fn statsite(server: &str, batches: &Receiver<Arc<str>>) {
    let mut open = None;
    for batch in batches {
        let result = match open.take() {
            Some(stream) => Ok(stream),
            None => connect_tcp(server),
        };
        open = result.and_then(|mut stream: TcpStream| stream.write_all(batch.as_bytes()).map(|()| stream)).ok();
    }
}

fn connect_tcp(server: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&resolve(server)?, PATIENCE)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn resolve(server: &str) -> io::Result<SocketAddr> {
    address::resolve_with_port(server).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;

    use super::*;

    fn flush(sinks: &mut Sinks, lines: &str) {
        sinks.pending.push_str(lines);
        sinks.flush();
    }

    #[test]
    fn packets_hold_whole_lines() {
        let lines: String = (0..100).map(|n| format!("serf-agent.some.longer.name.{n}:1.000000|c\n")).collect();
        let all: Vec<&str> = packets(&lines).collect();
        assert!(
            all.len() > 1 && all.iter().all(|packet| packet.len() <= METRIC_PACKET_BYTES_MAX && packet.ends_with('\n'))
        );
        assert_eq!(all.concat(), lines);
        let long = format!("{}\nx\n", "y".repeat(2 * METRIC_PACKET_BYTES_MAX));
        assert_eq!(packets(&long).map(str::len).collect::<Vec<_>>(), [2 * METRIC_PACKET_BYTES_MAX + 1, 2]);
        assert_eq!(packets("").count(), 0);
        let [full, more] = [0, 1].map(|more| format!("{}\nx\n", "y".repeat(METRIC_PACKET_BYTES_MAX - 3 + more)));
        assert_eq!(packets(&full).map(str::len).collect::<Vec<_>>(), [METRIC_PACKET_BYTES_MAX]);
        assert_eq!(packets(&more).map(str::len).collect::<Vec<_>>(), [METRIC_PACKET_BYTES_MAX - 1, 2]);
    }

    #[test]
    fn batches_that_wait_for_a_server_are_bounded() {
        let (sender, batches) = sync_channel(METRIC_BATCHES_MAX);
        let mut sinks = Sinks { pending: String::new(), senders: vec![sender] };
        for number in 0..=METRIC_BATCHES_MAX {
            flush(&mut sinks, &number.to_string());
        }
        let waiting: Vec<Arc<str>> = batches.try_iter().collect();
        assert_eq!(waiting.len(), METRIC_BATCHES_MAX);
        assert_eq!((&*waiting[0], &*waiting[METRIC_BATCHES_MAX - 1]), ("0", "15"), "the newest is lost");
    }

    #[test]
    fn statsd_gets_packets() {
        let server = UdpSocket::bind("127.43.2.1:0").expect("binds");
        let statsd = server.local_addr().expect("is bound").to_string();
        let mut sinks = Sinks::start(&TelemetryOptions { statsd, ..Default::default() }).expect("starts");
        flush(&mut sinks, "a:1|c\nb:2|g\n");
        let mut buffer = [0; 64];
        let len = server.recv(&mut buffer).expect("arrives");
        assert_eq!(&buffer[..len], b"a:1|c\nb:2|g\n");
    }

    #[test]
    fn statsite_is_connected_to_again() {
        let server = TcpListener::bind("127.43.2.2:0").expect("binds");
        let statsite = server.local_addr().expect("is bound").to_string();
        let mut sinks = Sinks::start(&TelemetryOptions { statsite, ..Default::default() }).expect("starts");
        flush(&mut sinks, "first\n");
        let (mut stream, _) = server.accept().expect("connects");
        let mut line = [0; 6];
        stream.read_exact(&mut line).expect("arrives");
        assert_eq!(&line, b"first\n");
        drop(stream);
        // The first write after the end only brings the reset; a later one finds out.
        server.set_nonblocking(true).expect("does not block");
        let again = (0..100_000).find_map(|_| {
            flush(&mut sinks, "again\n");
            thread::yield_now();
            server.accept().ok()
        });
        assert!(again.is_some(), "no second connection");
    }

    #[test]
    fn a_server_that_is_not_there_stops_nobody() {
        let options = TelemetryOptions { statsd: "nosuch".to_owned(), statsite: "127.43.2.3:1".to_owned() };
        let mut sinks = Sinks::start(&options).expect("starts");
        for _ in 0..10 * METRIC_BATCHES_MAX {
            flush(&mut sinks, "x\n");
        }
        assert_eq!(sinks.pending, "");
        assert!(Sinks::start(&TelemetryOptions::default()).is_none());
    }
}
