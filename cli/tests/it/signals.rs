//! SIGUSR1, SIGUSR2, a SIGCHLD that is ignored, and the descriptors that an agent may have.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::process::{Agent, Net, Process, Program};

#[test]
fn numbers_go_to_stderr_and_user_signals_never_end_an_agent() {
    let net = Net(43);
    let ip = net.ip(11);
    let line = ["agent", "-node=n1", "-bind", &ip, "-rpc-addr", &format!("{ip}:7373")];
    let mut command = Program::Ours.command(&line);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let process = Process::spawn(command.stderr(Stdio::from(writer)));
    drop(command);
    process.output.wait_for("[INFO] agent: Received event: member-join\n");
    process.signal(Signal::USR2);
    let (sender, lines) = std::sync::mpsc::sync_channel(64);
    std::thread::spawn(move || {
        BufReader::new(reader).lines().map(|line| line.expect("text")).try_for_each(|line| sender.send(line))
    });
    // A finished interval of ten seconds is needed.
    let first = (0..100).find_map(|_| {
        process.signal(Signal::USR1);
        lines.recv_timeout(Duration::from_millis(200)).ok()
    });
    let first = first.expect("is written");
    assert!(first.contains(" +0000 UTC][G] 'serf-agent.memberlist.health.score': 0.000"), "{first}");
    process.signal(Signal::INT);
    let (code, text) = process.end();
    assert_eq!(code, Some(0), "{text}");
    assert!(!text.contains("user defined"), "{text}");
}

#[test]
fn handlers_of_an_agent_whose_parent_ignores_the_ends_of_children_answer() {
    // GNU's env knows how to; dash, for one, does not.
    let ignoring = ["--ignore-signal=CHLD", env!("CARGO_BIN_EXE_serf")];
    if !Command::new("env").args(ignoring).arg("version").output().is_ok_and(|output| output.status.success()) {
        return println!("skipped: env cannot have a program ignore signals");
    }
    let words = ["-event-handler=query:load=echo much"];
    let start = |line: &[&str]| Process::spawn(Command::new("env").args(ignoring).args(line));
    let agent = Agent::spawn(Net(170), 11, "n1", &words, start);
    agent.process.output.wait_for("==> Log data will now stream in as it occurs:");
    let answered = agent.ask(&["query", "load"]);
    assert!(answered.contains("Response from 'n1': much\n"), "{answered}{}", agent.process.output.text());
}

#[test]
fn an_agent_and_its_handlers_may_have_as_many_descriptors_as_the_host_allows() {
    let words = ["-event-handler=query:limit=ulimit -S -n; ulimit -H -n"];
    let limited = |line: &[&str]| {
        let script = "ulimit -S -n 200 && exec \"$0\" \"$@\"";
        Process::spawn(Command::new("sh").args(["-c", script, env!("CARGO_BIN_EXE_serf")]).args(line))
    };
    let agent = Agent::spawn(Net(171), 11, "n1", &words, limited);
    agent.process.output.wait_for("==> Log data will now stream in as it occurs:");
    let answered = agent.ask(&["query", "limit"]);
    let limits: Vec<&str> =
        answered.split("Response from 'n1': ").nth(1).expect("it answers").lines().take(2).collect();
    assert!(limits[0] == limits[1] && limits[0] != "200", "{limits:?}");
}
