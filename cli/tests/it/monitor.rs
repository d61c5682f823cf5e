//! `serf monitor` against an agent that is played from a script.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use crate::fake_agent::{Answer, FakeAgent, Step};
use crate::msgpack::{Value, map, text};
use crate::serf::{Run, command, serf, transcript};

/// Sequence numbers that the command gives: the handshake has 1.
const STREAM: u64 = 2;
const MONITOR: u64 = 3;

fn header(seq: u64) -> Value {
    map([("Error", text("")), ("Seq", Value::Uint(seq))])
}

fn log(line: &str) -> [Value; 2] {
    [header(MONITOR), map([("Log", text(line))])]
}

fn user_event() -> [Value; 2] {
    let event = map([
        ("Coalesce", Value::Bool(false)),
        ("Event", text("user")),
        ("LTime", Value::Uint(3)),
        ("Name", text("hello")),
        ("Payload", Value::Bin(b"world".to_vec())),
    ]);
    [header(STREAM), event]
}

fn query() -> [Value; 2] {
    let event = map([
        ("Event", text("query")),
        ("ID", Value::Uint(300)),
        ("LTime", Value::Uint(200)),
        ("Name", text("load")),
        ("Payload", Value::Nil),
    ]);
    [header(STREAM), event]
}

fn member_update() -> [Value; 2] {
    let member = map([
        ("Addr", Value::Bin(vec![127, 0, 0, 11])),
        ("DelegateCur", Value::Uint(5)),
        ("DelegateMax", Value::Uint(5)),
        ("DelegateMin", Value::Uint(2)),
        ("Name", text("n1")),
        ("Port", Value::Uint(7946)),
        ("ProtocolCur", Value::Uint(2)),
        ("ProtocolMax", Value::Uint(5)),
        ("ProtocolMin", Value::Uint(1)),
        ("Status", text("alive")),
        ("Tags", map([("role", text("web")), ("hello", text("world"))])),
    ]);
    [header(STREAM), map([("Event", text("member-update")), ("Members", Value::Array(vec![member]))])]
}

fn script(records: impl IntoIterator<Item = [Value; 2]>) -> Vec<Step> {
    let then = records.into_iter().flatten().collect();
    vec![Step::ok("handshake"), Step::ok("stream"), Step::with("monitor", Answer::Reply { error: "", then })]
}

#[test]
fn logs_and_events_are_shown_until_the_agent_goes_away() {
    let line = "2026/11/23 06:21:14 [INFO] serf: EventMemberUpdate: n1";
    let agent = FakeAgent::start(script([log(line), member_update(), user_event(), query()]));
    let run = serf(&["monitor", "-log-level=debug", "-rpc-addr", &agent.address]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(1), ""));
    // The captured blocks are the same but for the order of their lines, which is random there.
    let captured = transcript("monitor-debug");
    for line in run.stdout.lines().take(9).filter(|line| !line.is_empty()) {
        assert!(captured.lines().any(|known| known == line), "{line}");
    }
    insta::assert_snapshot!("monitor", run.stdout);
    let bodies = agent.bodies();
    assert_eq!(*bodies[1].field("Type"), text("*"));
    assert_eq!(*bodies[2].field("LogLevel"), text("debug"));
}

#[test]
fn a_level_that_the_agent_does_not_know_is_an_error() {
    let agent = FakeAgent::start(vec![
        Step::ok("handshake"),
        Step::ok("stream"),
        Step::refused("monitor", "Unknown log level: FOO"),
    ]);
    let run = serf(&["monitor", "-log-level=foo", "-rpc-addr", &agent.address]);
    assert_eq!((run.code, run.stdout), (Some(1), transcript("monitor-badlevel")));
    agent.bodies();
}

#[test]
fn a_refused_stream_is_an_error() {
    let agent = FakeAgent::start(vec![Step::ok("handshake"), Step::refused("stream", "Authentication required")]);
    let run: Run = serf(&["monitor", "-rpc-addr", &agent.address]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), "Error starting stream: Authentication required\n"));
    agent.bodies();
}

#[test]
fn an_interrupt_ends_the_monitor_with_success() {
    let mut steps = script([log("2026/11/23 06:21:14 [INFO] agent: one line")]);
    // The client never sends this, so the connection stays open until the client is gone.
    steps.push(Step::idle());
    let agent = FakeAgent::start(steps);
    let mut child = command(&["monitor", "-rpc-addr", &agent.address]).stdout(Stdio::piped()).spawn().expect("starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    // Once a line has come the signal handler stands.
    assert!(lines.next().expect("a line").expect("text").ends_with("one line"));
    kill_process(Pid::from_child(&child), Signal::INT).expect("the process is ours");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    assert_eq!(lines.count(), 0);
    agent.bodies();
}
