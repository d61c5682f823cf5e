//! Agents that join, fail, come back and leave.

use rustix::process::Signal;

use crate::process::{Agent, Net, Program, three};
use crate::serf::transcript;

#[test]
fn a_killed_agent_is_failed_and_comes_back_and_leaves() {
    let net = Net(1);
    let [one, two, three] = three(net, &["-profile=local"]);
    // The column of tags is empty; only the last row's blanks are cut, as in the original.
    let table = "n1  127.0.0.11:7946  alive  \nn2  127.0.0.12:7946  alive  \nn3  127.0.0.13:7946  alive\n";
    for agent in [&one, &two, &three] {
        assert_eq!(net.normalised(&agent.ask(&["members"])), table);
    }

    drop(three);
    for agent in [&one, &two] {
        agent.wait_for_members("n1 alive, n2 alive, n3 failed");
        agent.process.output.wait_for(&format!("[INFO] serf: EventMemberFailed: n3 {}", net.ip(13)));
    }
    let failed = "n1  127.0.0.11:7946  alive   \nn2  127.0.0.12:7946  alive   \nn3  127.0.0.13:7946  failed\n";
    assert_eq!(net.normalised(&one.ask(&["members"])), failed);

    let three = Agent::start(net, 13, "n3", &["-profile=local", "-join", &one.ip]);
    for agent in [&one, &two, &three] {
        agent.wait_for_members("n1 alive, n2 alive, n3 alive");
    }
    for agent in [&one, &two] {
        let text = agent.process.output.text();
        assert!(!text.contains("EventMemberLeave"), "a killed agent did not leave:\n{text}");
    }

    three.process.output.wait_for("agent: Received event: member-join");
    assert_eq!(three.ask(&["leave"]), transcript("leave"));
    let (code, text) = three.process.end();
    assert_eq!(code, Some(0), "{text}");
    for agent in [&one, &two] {
        agent.wait_for_members("n1 alive, n2 alive, n3 left");
    }
}

#[test]
fn a_termination_does_not_leave_and_an_interrupt_does() {
    let net = Net(2);
    let [one, two, three] = three(net, &["-profile=local"]);
    // The one to fail goes first: two accusers are faster than one.
    three.process.signal(Signal::TERM);
    let (code, text) = three.process.end();
    assert_eq!(code, Some(1), "{text}");
    for agent in [&one, &two] {
        agent.wait_for_members("n1 alive, n2 alive, n3 failed");
    }

    two.process.signal(Signal::INT);
    let (code, text) = two.process.end();
    assert_eq!(code, Some(0), "{text}");
    one.wait_for_members("n1 alive, n2 left, n3 failed");
}

#[test]
fn what_signals_do_can_be_configured() {
    let net = Net(4);
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("signals.json");
    std::fs::write(&config, r#"{"leave_on_terminate": true, "skip_leave_on_interrupt": true}"#).expect("a file");
    let words = ["-profile=local", "-config-file", config.to_str().expect("text")];
    let [one, two, three] = three(net, &words);
    three.process.signal(Signal::INT);
    let (code, text) = three.process.end();
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("[WARN] serf: Shutdown without a Leave"), "{text}");
    for agent in [&one, &two] {
        agent.wait_for_members("n1 alive, n2 alive, n3 failed");
    }

    two.process.signal(Signal::TERM);
    let (code, text) = two.process.end();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("==> Caught signal: terminated\n==> Gracefully shutting down agent...\n"), "{text}");
    one.wait_for_members("n1 alive, n2 left, n3 failed");
}

#[test]
fn a_second_interrupt_stops_at_once() {
    let net = Net(5);
    let [_one, two, _three] = three(net, &[]);
    two.process.signal(Signal::INT);
    two.process.output.wait_for("==> Gracefully shutting down agent...");
    two.process.signal(Signal::INT);
    let (code, text) = two.process.end();
    assert_eq!(code, Some(1), "{text}");
}

#[test]
fn the_loser_of_a_name_conflict_ends_with_success() {
    let net = Net(150);
    let [one, two, _three] = three(net, &["-profile=local"]);
    let impostor = Agent::launch(Program::Ours, net, 14, "n2", &["-profile=local", "-join", &one.ip]);
    let (code, text) = impostor.process.end();
    assert_eq!(code, Some(0), "{text}");
    let text = net.normalised(&text);
    let conflict = "[ERR] serf: Node name conflicts with another node at 127.0.0.12:7946. Names must be unique! \
                    (Resolution enabled: true)\n";
    assert!(text.contains(conflict), "{text}");
    let end = "    TIME [WARN] serf: Shutdown without a Leave\n    TIME [WARN] agent: Serf shutdown detected, quitting\n    \
               TIME [INFO] agent: requesting serf shutdown\n    TIME [INFO] agent: shutdown complete\n";
    assert!(
        text.contains("[WARN] serf: minority in name conflict resolution, quiting [") && text.ends_with(end),
        "{text}"
    );
    one.wait_for_members("n1 alive, n2 alive, n3 alive");
    assert!(one.ask(&["members"]).contains(&format!("n2  {}:7946", two.ip)));
}
