//! Measured values: on SIGUSR1, and at servers.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use villein_runtime_mio::Signal;

use crate::support::{Output, PATIENCE, Running};

#[test]
fn what_was_measured_is_written_once_its_interval_is_over() {
    let dump = Output::default();
    let agent = Running::start("t1", "127.43.3.1", |options| options.dump = Box::new(dump.clone()));
    agent.output.wait_for("==> Log data will now stream in as it occurs:");
    // The event of the start is reported by the loop, and so measured before the signal that follows it.
    agent.output.wait_for("[INFO] agent: Received event: member-join");
    agent.client().members();
    let wanted = [
        "[C] 'serf-agent.agent.ipc.accept': Count: 1 Sum: 1.000 LastUpdated: ",
        "[C] 'serf-agent.agent.ipc.command': Count: ",
        "[C] 'serf-agent.serf.member.join': Count: 1 Sum: 1.000 LastUpdated: ",
        "[G] 'serf-agent.memberlist.health.score': 0.000\n",
        "[G] 'serf-agent.runtime.num_goroutines': ",
        "[S] 'serf-agent.serf.queue.Intent': Count: 1 Sum: ",
    ];
    // An interval lasts ten seconds of the clock, and what is wanted may be in two. Until the next one is over, an
    // answer comes at once and repeats the one before.
    let is_complete = || {
        agent.signal(Signal::Measurements);
        dump.settles(Duration::from_millis(200));
        wanted.iter().all(|wanted| dump.text().contains(wanted))
    };
    assert!((0..200).any(|_| is_complete()), "all that is written is\n{}", dump.text());
    assert!(!agent.output.text().contains("Caught signal"), "{}", agent.output.text());
}

#[test]
fn servers_get_what_is_measured() {
    let statsd = UdpSocket::bind("127.43.3.2:0").expect("binds");
    statsd.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let statsite = TcpListener::bind("127.43.3.2:0").expect("binds");
    let other = Running::start("t2", "127.43.3.4", |_| ());
    let agent = Running::start("t1", "127.43.3.3", |options| {
        options.telemetry.statsd = statsd.local_addr().expect("is bound").to_string();
        options.telemetry.statsite = statsite.local_addr().expect("is bound").to_string();
        options.start_join = vec![other.gossip.to_string().as_str().into()];
    });
    agent.client().members();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let wanted = |line: &str| {
        let (name, value) = line.split_once(':').unwrap_or_default();
        [
            name == "serf-agent.agent.ipc.accept" && value == "1.000000|c",
            name == "serf-agent.serf.member.join" && value.ends_with(".000000|c"),
            name == "serf-agent.memberlist.tcp.connect" && value == "1.000000|c",
            name == "serf-agent.memberlist.udp.sent" && value.ends_with(".000000|c"),
            name == format!("serf-agent.{host}.runtime.num_goroutines") && value.ends_with("|g"),
            name == "serf-agent.serf.queue.Event" && value == "0.000000|ms",
        ]
    };
    let complete = |lines: &mut dyn Iterator<Item = String>| {
        let mut seen = [false; 6];
        while seen.contains(&false) {
            let Some(line) = lines.next() else { panic!("not all came: {seen:?}") };
            for (seen, came) in seen.iter_mut().zip(wanted(&line)) {
                *seen |= came;
            }
        }
    };
    let (stream, _) = statsite.accept().expect("connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    complete(&mut BufReader::new(stream).lines().map(|line| line.expect("comes")));
    let mut buffer = [0; 2048];
    let mut packets = std::iter::from_fn(|| {
        let len = statsd.recv(&mut buffer).expect("comes");
        assert!(len <= 1_400, "{len} bytes in a packet");
        Some(String::from_utf8_lossy(&buffer[..len]).lines().map(str::to_owned).collect::<Vec<_>>())
    });
    complete(&mut packets.by_ref().flatten());
}

#[test]
fn servers_that_are_not_there_are_no_reason_not_to_start() {
    let agent = Running::start("t1", "127.43.3.5", |options| {
        options.telemetry.statsd = "no address at all".to_owned();
        options.telemetry.statsite = "127.43.3.5:1".to_owned();
    });
    agent.output.wait_for("[INFO] agent: Received event: member-join");
}
