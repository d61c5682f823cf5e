//! An agent that is flooded by strangers and by its own clients, in small; bench/flood.py does it in full.

use std::io::{self, BufReader, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::msgpack::{Value, map, text};
use crate::process::{Agent, Net, Process};
use crate::serf::serf;

const KEYS: [&str; 2] =
    ["T9jncgl9mbLus+baTTa7q7nPSUrXwbDi2dhbtqir37s=", "HvY8ubRZMgafUOWvrOadwOckVa1wN3QWAo46FVKbVN8="];

/// Datagrams of each kind.
const DATAGRAMS: usize = 4_000;
/// How many real packets are recorded.
const RECORDED: usize = 16;
/// Lines of one kind that a flood may cause here: ten at once, then one a second.
const LINES_MAX: usize = 30;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client that was there before the flood.
struct Client {
    stream: BufReader<TcpStream>,
    seq: u64,
}

impl Client {
    fn connect(rpc_addr: &str) -> Self {
        let stream = TcpStream::connect(rpc_addr).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("is a socket");
        let mut client = Self { stream: BufReader::new(stream), seq: 0 };
        client.call("handshake", Some(map([("Version", Value::Uint(1))])));
        client
    }

    fn addr(&self) -> String {
        self.stream.get_ref().local_addr().expect("is connected").to_string()
    }

    /// Asks, and reads the header of the reply.
    fn call(&mut self, command: &str, body: Option<Value>) {
        self.seq += 1;
        let mut bytes = Vec::new();
        map([("Command", text(command)), ("Seq", Value::Uint(self.seq))]).encode(&mut bytes);
        body.into_iter().for_each(|body| body.encode(&mut bytes));
        self.stream.get_mut().write_all(&bytes).expect("is sent");
        let head = self.read();
        assert_eq!((head.field("Seq"), head.field("Error")), (&Value::Uint(self.seq), &text("")), "{command}");
    }

    fn read(&mut self) -> Value {
        Value::read(&mut self.stream).expect("comes")
    }

    fn stats(&mut self) -> Value {
        self.call("stats", None);
        self.read()
    }

    /// Asks for the numbers, and reads the records that come before the answer; how many those are.
    fn read_events_before_stats(&mut self) -> usize {
        self.seq += 1;
        let mut bytes = Vec::new();
        map([("Command", text("stats")), ("Seq", Value::Uint(self.seq))]).encode(&mut bytes);
        self.stream.get_mut().write_all(&bytes).expect("is sent");
        (0..)
            .find(|_| {
                let head = self.read();
                self.read();
                *head.field("Seq") == Value::Uint(self.seq)
            })
            .expect("there is an answer")
    }

    /// Reads the records of events up to the one whose payload begins with `last`; how many those are.
    fn read_events_until(&mut self, last: &[u8]) -> usize {
        (1..)
            .find(|_| {
                self.read();
                let Value::Bin(payload) = self.read().field("Payload").clone() else { panic!("no payload") };
                payload.starts_with(last)
            })
            .expect("there is a last one")
    }
}

fn fire(client: &mut Client, payload: Vec<u8>) {
    let body = map([("Coalesce", Value::Bool(false)), ("Name", text("flood")), ("Payload", Value::Str(payload))]);
    client.call("event", Some(body));
}

/// Stands at the address that an agent has told the others, and passes on what comes there.
struct Relay {
    recorded: Receiver<Vec<u8>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    fn start(held: &str, to: &str) -> Self {
        let socket = UdpSocket::bind((held, 7946)).expect("binds");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("is a socket");
        let (sender, recorded) = sync_channel(RECORDED);
        let ends = Arc::new(AtomicBool::new(false));
        let (to, seen) = (to.to_owned(), Arc::clone(&ends));
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 2_048];
            while !seen.load(Ordering::Relaxed) {
                let Ok(len) = socket.recv(&mut buffer) else { continue };
                socket.send_to(&buffer[..len], (to.as_str(), 7946)).expect("is passed on");
                // What comes later is not wanted.
                let _ = sender.try_send(buffer[..len].to_vec());
            }
        });
        Self { recorded, ends, thread: Some(thread) }
    }

    /// The first packets.
    fn recorded(&self) -> Vec<Vec<u8>> {
        (0..RECORDED).map(|_| self.recorded.recv_timeout(PATIENCE).expect("the other agent talks to it")).collect()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

/// A number that looks random and is the same at every run.
fn scramble(number: usize) -> u64 {
    (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

fn noise(number: usize) -> Vec<u8> {
    let len = scramble(number) as usize % 1_400 + 1;
    (0..len).map(|at| (scramble(number ^ at << 16) >> 24) as u8).collect()
}

/// A compressed message of memberlist whose zeros take a thousand times the room: each code stands for one more than the last.
fn bomb() -> Vec<u8> {
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0);
    for code in [256, 0].into_iter().chain(258..4_095) {
        let width = 32 - u32::leading_zeros(code.max(256));
        bits |= code << held;
        held += width;
        while held >= 8 {
            bytes.push(bits as u8);
            bits >>= 8;
            held -= 8;
        }
    }
    let mut message = vec![9];
    map([("Algo", Value::Uint(0)), ("Buf", Value::Str(bytes))]).encode(&mut message);
    message
}

/// Lines of a log without what differs in lines of one kind, and how often each is there.
fn commonest(log: &str) -> (usize, String) {
    let complaints = log.lines().filter(|line| line.contains("[WARN]") || line.contains("[ERR]"));
    let kind = |line: &str| line[24..].split(|c: char| c.is_ascii_digit()).next().unwrap_or_default().to_owned();
    let mut kinds: Vec<String> = complaints.map(kind).collect();
    kinds.sort();
    kinds.chunk_by(|one, other| one == other).map(|same| (same.len(), same[0].clone())).max().unwrap_or_default()
}

/// Floods two agents, and checks that they stay members and do not fill their logs.
fn flood_with_junk(agents: &[Agent; 2], recorded: &[Vec<u8>], stranger: &UdpSocket) {
    let mutated = |number: usize| {
        let mut packet = recorded[number % RECORDED].clone();
        let at = scramble(number) as usize % packet.len();
        packet[at] ^= 1 << (number % 8);
        packet
    };
    let ping = [&[0][..], b"\x82\xa4Node\xa0\xa5SeqNo\x07"].concat();
    let compound = [&[7, 100][..], &[0, 16].repeat(100), &ping.repeat(100)].concat();
    let kinds: [&dyn Fn(usize) -> Vec<u8>; 6] = [
        &noise,
        &mutated,
        &|number| recorded[number % RECORDED].clone(),
        &|number| [&[(number % 14) as u8][..], &noise(number)].concat(),
        &|_| compound.clone(),
        &|_| bomb(),
    ];
    for kind in kinds {
        for number in 0..DATAGRAMS / kinds.len() {
            let packet = kind(number);
            for agent in agents {
                stranger.send_to(&packet, (agent.ip.as_str(), 7946)).expect("is sent");
            }
        }
    }
    for agent in agents {
        agent.process.output.wait_for("[ERR] memberlist: ");
        agent.wait_for_members("n1 alive, n2 alive");
        let log = agent.process.output.text();
        assert!(!log.contains("EventMemberFailed"), "{log}");
        let (count, kind) = commonest(&log);
        assert!(count <= LINES_MAX, "{count} lines like {kind:?}:\n{log}");
    }
}

#[test]
fn junk_of_each_kind_leaves_two_members_as_they_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let ring = folder.path().join("ring");
    std::fs::write(&ring, format!("{KEYS:?}")).expect("a file");
    let ring = format!("-keyring-file={}", ring.display());
    for (net, one, other) in [(Net(120), &[ring.as_str()][..], &["-encrypt", KEYS[0]][..]), (Net(121), &[], &[])] {
        let held = net.ip(22);
        let relay = Relay::start(&held, &net.ip(12));
        let n1 = Agent::start(net, 11, "n1", &[&["-profile=local"], one].concat());
        let words = ["-profile=local", "-advertise", &held, "-join", &n1.ip];
        let n2 = Agent::start(net, 12, "n2", &[&words, other].concat());
        let stranger = UdpSocket::bind((net.ip(66), 0)).expect("binds");
        for number in ["1", "2", "3", "4", "5"] {
            n1.ask(&["event", "to-be-recorded", number]);
        }
        flood_with_junk(&[n1, n2], &relay.recorded(), &stranger);
    }
}

/// Whether the agent has closed a connection.
fn is_closed(mut stream: &TcpStream) -> bool {
    match stream.read(&mut [0; 64]) {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}

#[test]
fn a_crowd_at_each_port_is_bounded_and_who_was_there_is_answered() {
    const DESCRIPTORS: usize = 400;
    let net = Net(122);
    let (ip, rpc_addr) = (net.ip(11), format!("{}:7373", net.ip(11)));
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &format!("ulimit -n {DESCRIPTORS} && exec \"$@\""), "sh", env!("CARGO_BIN_EXE_serf")]);
    shell.args(["agent", "-node=n1", "-profile=local", "-bind", &ip, "-rpc-addr", &rpc_addr]);
    let one = Agent { name: "n1".to_owned(), ip, rpc_addr, process: Process::spawn(&mut shell) };
    one.process.output.wait_for("==> Log data will now stream in as it occurs:");
    let two = Agent::start(net, 12, "n2", &["-profile=local", "-join", &one.ip]);
    let mut client = Client::connect(&one.rpc_addr);

    // 256 descriptors are kept for other than clients, and gossip takes 128 streams.
    for (port, most) in [(7373, DESCRIPTORS - 256), (7946, 128)] {
        let connect = |_| TcpStream::connect((one.ip.as_str(), port)).expect("connects");
        let crowd: Vec<TcpStream> = (0..most + 60).map(connect).collect();
        crowd.iter().for_each(|stream| stream.set_nonblocking(true).expect("is a socket"));
        let closed = |_: &Agent| crowd.iter().filter(|stream| is_closed(stream)).count();
        // The client has one of the places of its port.
        let refused = if port == 7373 { 61 } else { 60 };
        one.wait_until("as many refused as there is no room for", closed, |count| *count >= refused);
        for _ in 0..20 {
            assert_eq!(client.stats().field("agent").field("name"), &text("n1"));
        }
        drop(crowd);
    }
    let log = one.process.output.text();
    let (count, kind) = commonest(&log);
    assert!(count <= LINES_MAX, "{count} lines like {kind:?}:\n{log}");
    // Who is there and has said who it is stays; of the others the oldest gives way.
    assert!(log.contains("[WARN] agent.ipc: Closing client: 127."), "{log}");
    assert!(log.contains(": it does not say who it is, and 144 are connected"), "{log}");
    assert!(log.contains("[WARN] serf: inbound streams exceeds limit (128), dropping"), "{log}");
    for agent in [&one, &two] {
        agent.wait_for_members("n1 alive, n2 alive");
        assert!(!agent.process.output.text().contains("EventMemberFailed"));
    }
    assert_eq!(serf(&["members", "-rpc-addr", &one.rpc_addr]).code, Some(0), "there is room again");
}

#[test]
fn a_slow_client_is_told_what_it_missed_and_a_fast_one_misses_nothing() {
    let net = Net(123);
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("large.json");
    std::fs::write(&config, r#"{"user_event_size_limit": 9216}"#).expect("a file");
    let agent = Agent::start(net, 11, "n1", &["-config-file", config.to_str().expect("text")]);
    let [mut slow, mut fast] = [(); 2].map(|()| {
        let mut client = Client::connect(&agent.rpc_addr);
        client.call("stream", Some(map([("Type", text("user:flood"))])));
        client
    });
    let fast = std::thread::spawn(move || fast.read_events_until(b"last"));
    let mut firing = Client::connect(&agent.rpc_addr);
    let dropping = format!("[WARN] agent.ipc: Dropping event to ipc.client: {}", slow.addr());
    // As many as the system keeps for the slow one, and 512; then those that it misses.
    let (mut fired, mut more) = (0, 150);
    while more > 0 {
        fire(&mut firing, vec![b'x'; 9_000]);
        fired += 1;
        more -= usize::from(agent.process.output.text().contains(&dropping));
        assert!(fired < 10_000, "the slow one takes everything");
    }
    let missed = fired - slow.read_events_before_stats();
    assert!(missed >= 150, "{missed} of {fired}");
    let log = &agent.process.output;
    let more = |line: &str| line.split_once(" (and ").map_or(0, |(_, more)| more.split(' ').next().map_or(0, number));
    let told = |_: &Agent| log.text().lines().filter(|line| line.contains(&dropping)).map(|line| 1 + more(line)).sum();
    agent.wait_until("all that it missed", told, |told: &usize| *told == missed);
    // Ordinary lines first, then sums.
    assert!(log.text().contains(&format!("{dropping}\n")) && log.text().contains(" more like it)\n"));
    fire(&mut firing, b"last".to_vec());
    assert_eq!(fast.join().expect("no panic"), fired + 1);
    assert_eq!(slow.read_events_until(b"last"), 1, "it goes on for the slow one too");
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
}
