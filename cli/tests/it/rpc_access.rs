//! Where an agent serves RPC clients: at a socket file, or nowhere.

use std::path::Path;

use rustix::process::Signal;

use crate::process::{Net, Process, Program};

fn start(net: Net, words: &[&str]) -> Process {
    let bind = net.ip(11);
    let process = Process::spawn(&mut Program::Ours.command(&[&["agent", "-node=n1", "-bind", &bind], words].concat()));
    process.output.wait_for("[INFO] agent: Received event: member-join\n");
    process
}

#[test]
fn an_agent_serves_its_user_at_a_socket_file_which_goes_with_it() {
    let net = Net(111);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("serf.sock");
    let addr = format!("unix:{}", path.display());
    let process = start(net, &["-rpc-addr", &addr]);
    assert!(process.output.text().contains(&format!("RPC addr: '{addr}'\n")), "{}", process.output.text());
    let run = Program::Ours.client(&addr, &["members"]);
    assert_eq!(net.normalised(&run.stdout), "n1  127.0.0.11:7946  alive\n");
    let run = Program::Ours.client("unused", &["leave", "-rpc-addr", &addr]);
    assert_eq!(run.stdout, "Graceful leave complete\n");
    let (code, text) = process.end();
    assert_eq!(code, Some(0), "{text}");
    assert!(!Path::new(&path).exists(), "the file is left behind");
    let run = Program::Ours.client(&addr, &["members"]);
    let refusal =
        format!("Error connecting to Serf agent: dial unix {}: connect: no such file or directory\n", path.display());
    assert_eq!((run.code, run.stdout), (Some(1), refusal));
}

#[test]
fn an_agent_without_rpc_runs_and_leaves_on_a_signal() {
    let net = Net(112);
    let process = start(net, &["-rpc-addr=off"]);
    let run = Program::Ours.client(&format!("{}:7373", net.ip(11)), &["members"]);
    assert!(run.stdout.contains("connection refused"), "{}", run.stdout);
    process.signal(Signal::INT);
    let (code, text) = process.end();
    assert_eq!(code, Some(0), "{text}");
}
