//! Several agents that find, lose and leave each other.

use std::io::Write as _;
use std::net::{TcpStream, UdpSocket};
use std::sync::{Arc, Condvar, Mutex};

use villein_core::log::Level;
use villein_core::types::JoinTarget;
use villein_runtime_mio::{AgentOptions, Exit, Signal};

use crate::client::{Value, map, text};
use crate::support::{PATIENCE, Running};

/// Joins `first` at the start.
fn join(first: &Running) -> impl Fn(&mut AgentOptions) {
    let target = first.gossip.to_string();
    move |options| options.start_join = vec![JoinTarget::from(target.as_str())]
}

fn three(net: u8) -> [Running; 3] {
    let one = Running::start("n1", &format!("127.0.{net}.1"), |_| ());
    let two = Running::start("n2", &format!("127.0.{net}.2"), join(&one));
    let three = Running::start("n3", &format!("127.0.{net}.3"), join(&one));
    for agent in [&one, &two, &three] {
        agent.wait_for_members(&[("n1", "alive"), ("n2", "alive"), ("n3", "alive")]);
    }
    [one, two, three]
}

#[test]
fn a_killed_agent_fails_and_a_forced_leave_makes_it_left() {
    let [one, two, three] = three(90);
    three.kill();
    for agent in [&one, &two] {
        agent.wait_for_members(&[("n1", "alive"), ("n2", "alive"), ("n3", "failed")]);
    }
    // Before the leave: of both within one window only the last would be reported.
    one.output.wait_for("[INFO] agent: Received event: member-failed");
    let leave = map([("Node", text("n3")), ("Prune", Value::Bool(false))]);
    assert_eq!(one.client().call("force-leave", Some(leave)), "");
    for agent in [&one, &two] {
        agent.wait_for_members(&[("n1", "alive"), ("n2", "alive"), ("n3", "left")]);
    }
    one.output.wait_for("[INFO] serf: EventMemberLeave (forced): n3 127.0.90.3");
}

#[test]
fn an_agent_that_leaves_is_left_and_not_failed() {
    let [one, two, three] = three(91);
    three.signal(Signal::Interrupt);
    let (exit, output) = three.wait();
    assert_eq!(exit, Exit::Graceful, "{}", output.text());
    for agent in [&one, &two] {
        agent.wait_for_members(&[("n1", "alive"), ("n2", "alive"), ("n3", "left")]);
    }
}

#[test]
fn an_encrypted_cluster_forms_and_a_wrong_key_is_refused_by_name() {
    let key = |byte: u8| move |options: &mut AgentOptions| options.encrypt_key = Some(vec![byte; 32]);
    let one = Running::start("n1", "127.0.92.1", key(1));
    let two = Running::start("n2", "127.0.92.2", |options| {
        key(1)(options);
        join(&one)(options);
    });
    two.wait_for_members(&[("n1", "alive"), ("n2", "alive")]);
    for (name, key, problem) in [
        ("wrong", Some(vec![2; 32]), "No installed keys could decrypt the message"),
        ("none", None, "Remote state is encrypted and encryption is not configured"),
    ] {
        let stranger = Running::start(name, "127.0.92.3", |options| {
            options.encrypt_key = key;
            join(&one)(options);
        });
        let (exit, output) = stranger.wait();
        assert_eq!(exit, Exit::Abrupt);
        let want = format!("==> 1 error occurred:\n\t* Failed to join 127.0.92.1: {problem}\n\n\n");
        assert!(output.text().ends_with(&want), "{}", output.text());
    }
    one.wait_for_members(&[("n1", "alive"), ("n2", "alive")]);
}

#[test]
fn junk_on_every_socket_disturbs_nobody() {
    let one = Running::start("n1", "127.0.93.1", |options| options.log_level = Level::Debug);
    let junk = UdpSocket::bind("127.0.93.9:0").expect("binds");
    for len in [0_usize, 1, 7, 1_400, 60_000] {
        let bytes: Vec<u8> = (0..len).map(|index| (index * 31 % 251) as u8).collect();
        junk.send_to(&bytes, one.gossip).expect("is sent");
        let mut stream = TcpStream::connect(one.gossip).expect("connects");
        // The agent may close it first.
        let _ = stream.write_all(&bytes);
    }
    let two = Running::start("n2", "127.0.93.2", join(&one));
    for agent in [&one, &two] {
        agent.wait_for_members(&[("n1", "alive"), ("n2", "alive")]);
    }
    one.output.wait_for("[ERR] memberlist:");
}

#[test]
fn a_join_by_rpc_says_how_many_were_reached_and_who_was_not() {
    let one = Running::start("n1", "127.0.94.1", |_| ());
    let two = Running::start("n2", "127.0.94.2", |_| ());
    let mut client = two.client();
    let nobody = "127.0.94.9:7946";
    let join = |targets: &[&str]| {
        let existing = targets.iter().map(|target| text(target)).collect();
        Some(map([("Existing", Value::List(existing)), ("Replay", Value::Bool(false))]))
    };
    let seq = client.send("join", join(&[nobody]));
    assert_eq!(
        client.header(seq),
        "1 error occurred:\n\t* Failed to join 127.0.94.9: dial tcp 127.0.94.9:7946: connect: connection refused\n\n"
    );
    assert_eq!(client.next().expect("a body").field("Num").int(), 0);
    let reached = client.ask("join", join(&[nobody, &one.gossip.to_string()]));
    assert_eq!(reached.field("Num").int(), 1);
    assert_eq!(client.ask("join", join(&[])).field("Num").int(), 0);
    one.wait_for_members(&[("n1", "alive"), ("n2", "alive")]);
    let seq = client.send("join", join(&["nosuch.invalid"]));
    let error = client.header(seq);
    assert!(
        error.starts_with("1 error occurred:\n\t* Failed to resolve nosuch.invalid: lookup nosuch.invalid: "),
        "{error}"
    );
    assert_eq!(client.next().expect("a body").field("Num").int(), 0);
}

/// Stops an agent's only thread while it reads its configuration again, for as long as it is told to.
#[derive(Clone, Default)]
struct Stall(Arc<(Mutex<bool>, Condvar)>);

impl Stall {
    fn end(&self) {
        *self.0.0.lock().expect("no panic") = true;
        self.0.1.notify_all();
    }

    fn wait(&self) {
        let over = self.0.0.lock().expect("no panic");
        let (_guard, result) = self.0.1.wait_timeout_while(over, PATIENCE, |over| !*over).expect("no panic");
        assert!(!result.timed_out(), "nobody ends the stall");
    }
}

#[test]
fn an_agent_that_stalls_suspects_nobody_when_it_goes_on() {
    let stall = Stall::default();
    let stalls = stall.clone();
    let one = Running::start("n1", "127.0.94.11", |options| {
        options.reload = Some(Box::new(move || {
            stalls.wait();
            Err(Vec::new())
        }));
    });
    let two = Running::start("n2", "127.0.94.12", join(&one));
    two.wait_for_members(&[("n1", "alive"), ("n2", "alive")]);
    one.output.wait_for("EventMemberJoin: n2");
    one.signal(Signal::Hangup);
    two.output.wait_for("[INFO] memberlist: Suspect n1 has failed");
    stall.end();
    one.output.wait_for("[WARN] memberlist: Refuting a suspect message (from: n2)");
    two.wait_for_members(&[("n1", "alive"), ("n2", "alive")]);
    let log = one.output.text();
    assert!(!log.contains("Suspect n2"), "what had come meanwhile counts as having come in time:\n{log}");
}
