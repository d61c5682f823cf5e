//! Starting: joins that fail or take time, and what stands in the way.

use std::net::{TcpListener, UdpSocket};

use crate::process::{Agent, Net, Program};
use crate::serf::{serf, transcript};

/// The last line of an agent that was refused.
fn refusal(net: Net, words: &[&str]) -> String {
    let (code, text) = Agent::refused(net, 21, "t1", words);
    assert_eq!(code, Some(1), "{text}");
    text.lines().last().unwrap_or_default().to_owned()
}

#[test]
fn joins_are_retried_until_somebody_is_up() {
    let net = Net(22);
    let early = Agent::start(net, 12, "n2", &["-retry-join", &net.ip(11), "-retry-interval=1s"]);
    early.process.output.wait_for(", retrying in 1s\n");
    let late = Agent::start(net, 11, "n1", &[]);
    early.process.output.wait_for("[INFO] agent: Join completed. Synced with 1 initial agents\n");
    for agent in [&early, &late] {
        agent.wait_for_members("n1 alive, n2 alive");
    }
}

#[test]
fn one_target_of_several_is_enough() {
    let net = Net(23);
    let first = Agent::start(net, 11, "n1", &[]);
    let second = Agent::start(net, 12, "n2", &["-join", &net.ip(99), "-join", &first.ip]);
    let text = second.process.output.text();
    let joined =
        "==> Joining cluster...(replay: false)\n    Join completed. Synced with 1 initial agents\n\n==> Log data";
    assert!(text.contains(joined), "{text}");
    second.wait_for_members("n1 alive, n2 alive");
}

#[test]
fn ports_in_use_are_named() {
    let net = Net(24);
    let start = "==> Failed to start the Serf agent: Error creating Serf: Failed to create memberlist: Could not set up \
                 network transport: failed to obtain an address: Failed to start";
    let gossip = TcpListener::bind((net.ip(21), 7946)).expect("binds");
    let expected = format!(
        "{start} TCP listener on \"127.0.0.21\" port 7946: listen tcp 127.0.0.21:7946: bind: address already in use"
    );
    assert_eq!(refusal(net, &[]), expected);
    drop(gossip);

    let gossip = UdpSocket::bind((net.ip(21), 7946)).expect("binds");
    let expected = format!(
        "{start} UDP listener on \"127.0.0.21\" port 7946: listen udp 127.0.0.21:7946: bind: address already in use"
    );
    assert_eq!(refusal(net, &[]), expected);
    drop(gossip);

    let _rpc = TcpListener::bind((net.ip(21), 7373)).expect("binds");
    let expected = "==> Error starting RPC listener: listen tcp 127.0.0.21:7373: bind: address already in use";
    assert_eq!(refusal(net, &[]), expected);
}

#[test]
fn bad_addresses_and_settings_are_named() {
    let net = Net(25);
    let setup = "==> Failed to start the Serf agent: Error creating Serf: Failed to create memberlist:";
    for (words, expected) in [
        (&["-bind=127.0.0.1:99999"][..], "==> Invalid bind address: address 99999: invalid port".to_owned()),
        (&["-bind=::1"], "==> Invalid bind address: address ::1: too many colons in address".to_owned()),
        (&["-bind=127.0.0.1:abc"], "==> Invalid bind address: address tcp/abc: unknown port".to_owned()),
        (&[&format!("-rpc-addr={}", net.ip(21))], "==> Error starting RPC listener: listen tcp: address 127.0.0.21: missing port in address".to_owned()),
        (&["-encrypt=*"], "==> Invalid encryption key: illegal base64 data at input byte 0".to_owned()),
        (&["-encrypt=YWJj"], format!("{setup} key size must be 16, 24 or 32 bytes")),
        (&["-profile=LAN"], "==> Unknown profile: LAN".to_owned()),
        (&["-protocol=9"], "==> Failed to start the Serf agent: Error creating Serf: Protocol version '9' too high. Must be in range: [2, 5]".to_owned()),
        (&["-config-file=/nosuch"], "==> Error reading '/nosuch': open /nosuch: no such file or directory".to_owned()),
    ] {
        assert_eq!(refusal(net, words), expected, "{words:?}");
    }
}

#[test]
fn unreadable_configuration_is_refused_with_its_reason() {
    let net = Net(26);
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("c.json");
    let path = path.to_str().expect("text");
    for (content, reason) in [
        ("", "EOF"),
        (r#"{"tags": "#, "unexpected EOF"),
        ("[]", "'' expected a map, got 'slice'"),
        (r#"{"retry_interval": "30"}"#, "time: missing unit in duration \"30\""),
    ] {
        std::fs::write(path, content).expect("a file");
        let (code, text) = Agent::refused(net, 21, "t1", &["-config-file", path]);
        assert_eq!((code, text), (Some(1), format!("==> Error decoding '{path}': {reason}\n")), "{content}");
    }
}

#[test]
fn commands_without_an_agent_say_so() {
    let net = Net(27);
    let rpc_addr = format!("{}:7373", net.ip(11));
    let run = Program::Ours.client(&rpc_addr, &["members"]);
    assert_eq!((run.code, net.normalised(&run.stdout)), (Some(1), transcript("noagent-members")));
    assert_eq!(serf(&["info", "-rpc-addr=:99999"]).code, Some(1));
}
