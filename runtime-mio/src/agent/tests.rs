//! What one turn of the loop does at most.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::fs::FileExt as _;

use mio::{Interest, Token};
use villein_core::Config;
use villein_core::config::Profile;
use villein_core::rpc::{self, Incoming, QueryRecord, Request};

use super::*;
use crate::files::FileOptions;
use crate::limits::{CLIENT_ACTIONS_PER_TURN, CLIENT_GOODBYE_MAX, OUTPUT_BYTES_MAX, SEARCHES_MAX};
use crate::requests::search::Postponed;
use crate::requests::search::tests::among;
use crate::sockets::settle;
use crate::telemetry::TelemetryOptions;

/// An agent that nobody drives.
fn agent(ip: &str) -> Agent {
    agent_with_key(ip, None)
}

fn agent_with_key(ip: &str, encrypt_key: Option<Vec<u8>>) -> Agent {
    let bind: SocketAddr = format!("{ip}:0").parse().expect("an address");
    let options = AgentOptions {
        config: Config::new("t1".into(), bind.into(), Profile::Local),
        bind,
        advertise: None,
        encrypt_key,
        rpc_addr: format!("{ip}:0"),
        rpc_auth: Vec::new(),
        log_level: Level::Err,
        time_zone: None,
        files: FileOptions::default(),
        restored: Vec::new(),
        banner: String::new(),
        start_join: Vec::new(),
        mdns: None,
        replay: false,
        live: LiveOptions::default(),
        signals: false,
        reload: None,
        sink: Box::new(io::sink()),
        telemetry: TelemetryOptions::default(),
        dump: Box::new(io::sink()),
        record: None,
        syslog: None,
    };
    Agent::start(options).expect("starts")
}

impl Agent {
    /// Waits until something is ready, and notes what is.
    fn wake(&mut self) {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        self.poll.poll(&mut events, Some(Duration::from_secs(10))).expect("polls");
        assert!(!events.is_empty(), "nothing happens");
        for readiness in &events {
            self.note(readiness);
        }
    }

    /// Connects a client that sends these requests at once, behind its handshake.
    fn connect(&mut self, requests: usize) -> TcpStream {
        let mut client = rpc::Client::new();
        let mut bytes = client.request(&Request::Handshake { version: rpc::VERSION }).1;
        for _ in 0..requests {
            bytes.extend(client.request(&Request::Stats).1);
        }
        let mut stream = TcpStream::connect(self.rpc_addr().expect("a port")).expect("connects");
        stream.write_all(&bytes).expect("is sent");
        settle();
        self.wake();
        stream
    }
}

#[test]
fn of_the_network_so_much_is_taken_in_one_turn() {
    let mut agent = agent("127.0.87.1");
    let peer = UdpSocket::bind("127.0.87.2:0").expect("binds");
    for (sent, left) in [(INPUTS_PER_TURN, 0), (INPUTS_PER_TURN + 1, 1)] {
        for _ in 0..sent {
            peer.send_to(b"junk", agent.gossip_addr()).expect("sends");
        }
        settle();
        agent.wake();
        agent.take_network(agent.now());
        let mut buffer = mem::take(&mut agent.buffer);
        let now = agent.now();
        let waiting =
            std::iter::from_fn(|| agent.network.next_arrival(now, agent.poll.registry(), &mut buffer, true)).count();
        agent.buffer = buffer;
        assert_eq!(waiting, left, "of {sent}");
    }
}

#[test]
fn what_is_ready_beyond_one_turn_is_told_in_the_next() {
    let mut poll = Poll::new().expect("a poll");
    let peer = UdpSocket::bind("127.0.87.3:0").expect("binds");
    let mut sockets = Vec::new();
    for token in 0..=EVENTS_PER_TURN {
        let mut socket = mio::net::UdpSocket::bind("127.0.87.4:0".parse().expect("an address")).expect("binds");
        poll.registry().register(&mut socket, Token(token), Interest::READABLE).expect("registers");
        peer.send_to(b"x", socket.local_addr().expect("is bound")).expect("sends");
        sockets.push(socket);
    }
    settle();
    let mut events = Events::with_capacity(EVENTS_PER_TURN);
    let mut told = Vec::new();
    for wanted in [EVENTS_PER_TURN, 1] {
        poll.poll(&mut events, Some(Duration::from_secs(10))).expect("polls");
        assert_eq!(events.iter().count(), wanted);
        told.extend(events.iter().map(|event| event.token().0));
    }
    told.sort_unstable();
    assert_eq!(told, (0..=EVENTS_PER_TURN).collect::<Vec<_>>());
}

/// A client that has sent `requests` behind its handshake.
fn client_of(agent: &mut Agent, requests: &[Request]) -> TcpStream {
    let mut client = rpc::Client::new();
    let mut bytes = client.request(&Request::Handshake { version: rpc::VERSION }).1;
    for request in requests {
        bytes.extend(client.request(request).1);
    }
    let mut stream = TcpStream::connect(agent.rpc_addr().expect("a port")).expect("connects");
    stream.write_all(&bytes).expect("is sent");
    settle();
    agent.wake();
    stream
}

#[test]
fn patterns_of_so_many_bytes_are_compiled_in_one_turn_and_the_rest_waits() {
    let mut agent = agent("127.0.87.20");
    let heavy =
        Request::MembersFiltered { tags: Vec::new(), status: Vec::new(), name: br"\pL{60}".to_vec(), encodings: false };
    let requests = [heavy.clone(), heavy.clone(), heavy];
    let streams = [(); 4].map(|()| client_of(&mut agent, &requests));
    let mut turns = 0;
    let is_waiting = |agent: &mut Agent| {
        let ids = agent.rpc.ids();
        ids.into_iter().any(|id| agent.rpc.client(id).is_some_and(|client| client.postponed.is_some()))
    };
    loop {
        agent.serve_clients(agent.now());
        turns += 1;
        if !is_waiting(&mut agent) {
            break;
        }
        assert_eq!(agent.rpc.deadline(Time::ZERO), Some(Time::ZERO), "the next turn is at once");
    }
    assert!((4..=12).contains(&turns), "at most a few of the 12 in each: {turns}");
    assert_eq!(agent.rpc.ids().len(), streams.len());
}

#[test]
fn so_many_searches_are_under_way_at_one_time_and_others_wait_but_nobody_waits_with_something_else() {
    let mut agent = agent("127.0.87.33");
    let filtered =
        Request::MembersFiltered { tags: Vec::new(), status: Vec::new(), name: b"t1".to_vec(), encodings: false };
    let streams = [(); SEARCHES_MAX + 1].map(|()| client_of(&mut agent, std::slice::from_ref(&filtered)));
    agent.serve_clients(agent.now());
    let ids = agent.rpc.ids();
    let (&last, searching) = ids.split_last().expect("they are connected");
    for &id in searching {
        agent.rpc.client(id).expect("is there").postponed = Some(Postponed::Search(among(10_000)));
    }
    agent.rpc.client(last).expect("is there").postponed = Some(Postponed::Request(filtered));
    let other = client_of(&mut agent, &[Request::Stats]);
    let mut turns = 0;
    loop {
        agent.serve_clients(agent.now());
        turns += 1;
        let mut is_under_way = |id: u64| match &agent.rpc.client(id).expect("is there").postponed {
            Some(Postponed::Search(_)) => true,
            Some(Postponed::Request(_)) | None => false,
        };
        let under_way = searching.iter().filter(|&&id| is_under_way(id)).count();
        if turns == 1 {
            other.set_nonblocking(true).expect("is a socket");
            settle();
            assert!((&other).read(&mut [0; 64]).is_ok(), "who asks for something else has it at once");
        }
        if under_way < SEARCHES_MAX {
            break;
        }
        assert!(agent.rpc.client(last).expect("is there").postponed.is_some(), "turn {turns}");
        assert_eq!(agent.rpc.deadline(Time::ZERO), Some(Time::ZERO), "the next turn is at once");
    }
    assert!(turns > SEARCHES_MAX, "{turns}");
    while agent.rpc.client(last).expect("is there").postponed.is_some() {
        agent.serve_clients(agent.now());
        turns += 1;
        assert!(turns < 10_000, "it has its turn in the end");
    }
    drop(streams);
}

#[test]
fn queries_of_a_client_that_is_gone_are_ended() {
    let mut agent = agent("127.0.87.21");
    let year = 365 * 24 * 3_600 * 1_000_000_000;
    let query = Request::Query(rpc::Query { name: b"q".to_vec(), timeout: year, ..rpc::Query::default() });
    let requests = vec![query; CLIENT_ACTIONS_PER_TURN];
    // More than can run at one time, if each stayed.
    for round in 0..=limits::QUERIES_RUNNING_MAX / CLIENT_ACTIONS_PER_TURN {
        let stream = client_of(&mut agent, &requests);
        agent.serve_clients(agent.now());
        assert_eq!(agent.requests.len(), requests.len(), "round {round}");
        drop(stream);
        settle();
        agent.wake();
        agent.serve_clients(agent.now());
        agent.serve_clients(agent.now());
        assert_eq!((agent.requests.len(), agent.rpc.ids().len()), (0, 0), "round {round}");
    }
    let stream = client_of(&mut agent, &requests);
    agent.serve_clients(agent.now());
    assert_eq!(agent.requests.len(), requests.len(), "there is room");
    drop(stream);
}

#[test]
fn of_one_client_so_many_requests_are_served_in_one_turn() {
    let mut agent = agent("127.0.87.5");
    for (sent, served) in [
        (CLIENT_ACTIONS_PER_TURN, [CLIENT_ACTIONS_PER_TURN; 2]),
        (CLIENT_ACTIONS_PER_TURN + 1, [CLIENT_ACTIONS_PER_TURN, CLIENT_ACTIONS_PER_TURN + 1]),
    ] {
        let mut stream = agent.connect(sent);
        let mut client = rpc::Client::new();
        client.request(&Request::Handshake { version: rpc::VERSION });
        for _ in 0..sent {
            client.request(&Request::Stats);
        }
        let mut replies = 0;
        for wanted in served {
            agent.serve_clients(agent.now());
            settle();
            stream.set_nonblocking(true).expect("does not block");
            let mut buffer = vec![0; 1 << 16];
            loop {
                match stream.read(&mut buffer) {
                    Ok(len) => client.receive(&buffer[..len]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("{error}"),
                }
            }
            while let Some(Incoming::Reply { .. }) = client.next_incoming().expect("the protocol") {
                replies += 1;
            }
            assert_eq!(replies, 1 + wanted, "of {sent} and the handshake");
        }
    }
}

#[test]
fn at_the_end_clients_have_a_moment_to_read_what_they_are_owed() {
    let mut agent = agent("127.0.87.6");
    let _stream = agent.connect(0);
    agent.serve_clients(agent.now());
    let before = agent.now();
    agent.close_clients();
    assert!(agent.now().since(before) < CLIENT_GOODBYE_MAX, "nobody is owed anything");
    let record = QueryRecord::Response { from: b"n1".to_vec(), payload: Some(vec![b'x'; 1 << 20]) };
    let client = agent.rpc.client(0).expect("is connected");
    while !client.is_owed() {
        client.session.query_record(7, &record);
        client.flush().expect("is taken or waits");
    }
    let before = agent.now();
    agent.close_clients();
    assert!(agent.now().since(before) >= CLIENT_GOODBYE_MAX && agent.rpc.is_owed());
}

#[test]
fn measurements_that_nobody_reads_are_given_up_and_that_is_said() {
    let mut agent = agent("127.0.87.7");
    let (reader, sink) = crate::outlet::tests::stalled();
    agent.dump = Outlet::new(Box::new(sink));
    let text = "x".repeat(OUTPUT_BYTES_MAX);
    let problem = "agent: measurements cannot be written: whoever reads them is too slow";
    let problems = [(); 2].map(|()| {
        agent.put_measurements(&text);
        agent.journal.since(0).filter(|line| line.text.ends_with(problem)).count()
    });
    assert_eq!(problems, [0, 1]);
    reader.read_on();
    agent.dump.wait_until_left(0);
    assert!(reader.text() == text);
}

/// Leaves a word on the stack, all over 32 KiB of it and some way below the frame of who calls this.
#[inline(never)]
fn leave(word: [u8; 16]) {
    let mut frame = [0; 48 << 10];
    for place in frame[..32 << 10].chunks_mut(word.len()) {
        place.copy_from_slice(&word);
    }
    std::hint::black_box(&mut frame);
}

/// How often a word stands on the stack, 8 to 56 KiB below the frame of who calls this.
#[inline(never)]
fn left(word: [u8; 16]) -> usize {
    let here = std::hint::black_box(&word).as_ptr() as u64;
    let mut stack = vec![0; 48 << 10];
    let memory = std::fs::File::open("/proc/self/mem").expect("our own memory may be read");
    memory.read_exact_at(&mut stack, here - (56 << 10)).expect("the stack is there");
    stack.windows(word.len()).filter(|place| *place == word).count()
}

#[test]
fn while_there_are_keys_what_they_left_on_the_stack_is_wiped_every_second() {
    let word = *b"a key's schedule";
    let mut events = Events::with_capacity(EVENTS_PER_TURN);
    let mut turn_at = |agent: &mut Agent, wipe_at| {
        agent.wipe_at = wipe_at;
        // Something waits already: the turn does not sleep.
        agent.controls.waker.wake().expect("wakes");
        leave(word);
        agent.turn(&mut events).expect("goes on");
        left(word)
    };
    let mut plain = agent("127.0.87.31");
    assert!(turn_at(&mut plain, Time::ZERO) > 0, "there are no keys");
    let mut sealed = agent_with_key("127.0.87.32", Some(vec![7; 32]));
    assert_eq!(turn_at(&mut sealed, Time::ZERO), 0);
    let next = sealed.wipe_at.since(sealed.now());
    assert!(next > Duration::ZERO && next <= STACK_WIPED_EVERY, "{next:?}");
    let later = sealed.now() + Duration::from_secs(60);
    assert!(turn_at(&mut sealed, later) > 0, "it is not time");
}
