//! What an agent says at its start, and why it does not start.

use std::net::{TcpListener, UdpSocket};

use villein_core::types::JoinTarget;
use villein_runtime_mio::Exit;

use crate::support::{Output, Running};

fn refused(ip: &str, change: impl FnOnce(&mut villein_runtime_mio::AgentOptions)) -> (String, Output) {
    match Running::try_start("t1", ip, change) {
        Ok(_) => panic!("it starts"),
        Err((error, output)) => (error.to_string(), output),
    }
}

const NO_MEMBERLIST: &str = "Failed to start the Serf agent: Error creating Serf: Failed to create memberlist: ";

#[test]
fn a_taken_gossip_port_is_named() {
    let taken = TcpListener::bind("127.0.95.1:0").expect("binds");
    let addr = taken.local_addr().expect("is bound");
    let (error, output) = refused("127.0.95.1", |options| options.bind = addr);
    let port = addr.port();
    assert_eq!(
        error,
        format!(
            "{NO_MEMBERLIST}Could not set up network transport: failed to obtain an address: Failed to start TCP \
             listener on \"127.0.95.1\" port {port}: listen tcp 127.0.95.1:{port}: bind: address already in use"
        )
    );
    assert_eq!(output.text(), "==> Starting Serf agent...\n");
}

#[test]
fn a_port_that_is_free_for_streams_only_is_refused() {
    let taken = UdpSocket::bind("127.0.95.2:0").expect("binds");
    let addr = taken.local_addr().expect("is bound");
    let (error, _) = refused("127.0.95.2", |options| options.bind = addr);
    assert!(error.ends_with(&format!("listen udp {addr}: bind: address already in use")), "{error}");
}

#[test]
fn an_address_of_another_host_is_refused() {
    let (error, _) = refused("127.0.95.3", |options| options.bind = "192.0.2.77:7946".parse().expect("an address"));
    assert!(error.ends_with("listen tcp 192.0.2.77:7946: bind: cannot assign requested address"), "{error}");
}

#[test]
fn a_taken_rpc_port_is_named() {
    let taken = TcpListener::bind("127.0.95.4:0").expect("binds");
    let addr = taken.local_addr().expect("is bound").to_string();
    let (error, output) = refused("127.0.95.4", |options| options.rpc_addr = addr.clone());
    assert_eq!(error, format!("Error starting RPC listener: listen tcp {addr}: bind: address already in use"));
    assert_eq!(output.text(), "==> Starting Serf agent...\n");
}

#[test]
fn a_key_of_a_wrong_length_is_refused() {
    let (error, _) = refused("127.0.95.5", |options| options.encrypt_key = Some(b"abc".to_vec()));
    assert_eq!(error, format!("{NO_MEMBERLIST}key size must be 16, 24 or 32 bytes"));
}

#[test]
fn tags_that_are_too_long_are_refused() {
    let (error, _) = refused("127.0.95.6", |options| {
        options.config.tags.insert(b"k".to_vec(), vec![b'v'; 600]);
    });
    assert_eq!(
        error,
        "Failed to start the Serf agent: Error creating Serf: Encoded length of tags exceeds limit of 512 bytes: \
         they take 607 (k 605)"
    );
}

#[test]
fn the_start_is_said_in_order_and_the_log_waits_for_it() {
    let one = Running::start("t1", "127.0.96.1", |_| ());
    one.output.wait_for("[INFO] agent: Received event: member-join");
    assert_eq!(
        one.output.lines(),
        [
            "==> Starting Serf agent...",
            "==> Starting Serf agent RPC...",
            "==> Serf agent running!",
            "                      Node name: 't1'",
            "",
            "==> Log data will now stream in as it occurs:",
            "",
            "    [INFO] agent: Serf agent starting",
            "    [INFO] serf: EventMemberJoin: t1 127.0.96.1",
            "    [INFO] agent: Received event: member-join",
        ]
    );
}

#[test]
fn a_join_at_the_start_is_said_before_the_log() {
    let one = Running::start("t1", "127.0.96.2", |_| ());
    let two = Running::start("t2", "127.0.96.3", |options| {
        options.start_join = vec![JoinTarget::from(one.gossip.to_string().as_str())];
        options.replay = true;
    });
    two.output.wait_for("[INFO] agent: joined: 1 nodes");
    let target = one.gossip;
    let lines = two.output.lines();
    assert_eq!(
        lines.get(4..14).unwrap_or(&lines),
        [
            "==> Joining cluster...(replay: true)",
            "    Join completed. Synced with 1 initial agents",
            "",
            "==> Log data will now stream in as it occurs:",
            "",
            "    [INFO] agent: Serf agent starting",
            "    [INFO] serf: EventMemberJoin: t2 127.0.96.3",
            &format!("    [INFO] agent: joining: [{target}] replay: true"),
            "    [INFO] serf: EventMemberJoin: t1 127.0.96.2",
            "    [INFO] agent: joined: 1 nodes",
        ]
    );
}

#[test]
fn a_join_that_reaches_nobody_ends_the_agent_without_a_log() {
    let one = Running::start("t1", "127.0.96.4", |options| {
        options.start_join = vec![JoinTarget::from("127.0.96.99:7946"), JoinTarget::from("127.0.96.98:7946")];
    });
    let (exit, output) = one.wait();
    assert_eq!((exit, exit.code()), (Exit::Abrupt, 1));
    assert_eq!(
        output.text(),
        "==> Starting Serf agent...\n==> Starting Serf agent RPC...\n==> Serf agent running!\n                      \
         Node name: 't1'\n==> Joining cluster...(replay: false)\n==> 2 errors occurred:\n\t* Failed to join \
         127.0.96.99: dial tcp 127.0.96.99:7946: connect: connection refused\n\t* Failed to join 127.0.96.98: dial tcp \
         127.0.96.98:7946: connect: connection refused\n\n\n"
    );
}

#[test]
fn an_agent_on_all_addresses_advertises_a_private_one_or_says_that_there_is_none() {
    match Running::try_start("t1", "0.0.0.0", |options| options.rpc_addr = "127.0.96.5:0".to_owned()) {
        Ok(agent) => {
            assert!(!agent.gossip.ip().is_loopback() && !agent.gossip.ip().is_unspecified(), "{}", agent.gossip);
            assert_ne!(agent.gossip.port(), 0);
        }
        Err((error, _)) => assert_eq!(
            error.to_string(),
            format!(
                "{NO_MEMBERLIST}Failed to get final advertise address: No private IP address found, and explicit IP \
                 not provided"
            )
        ),
    }
}
