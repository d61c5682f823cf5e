//! Commands against a running agent, and a reload of its configuration.

use rustix::process::Signal;

use crate::process::{Agent, Net, Process, Program, three};
use crate::serf::transcript;

#[test]
fn a_forced_leave_makes_a_failed_member_left_everywhere() {
    let net = Net(30);
    let [one, two, three] = three(net, &["-profile=local"]);
    drop(three);
    for agent in [&one, &two] {
        agent.wait_for_members("n1 alive, n2 alive, n3 failed");
    }
    assert_eq!(one.ask(&["force-leave", "n3"]), "");
    for agent in [&one, &two] {
        agent.wait_for_members("n1 alive, n2 alive, n3 left");
        agent.process.output.wait_for(&format!("[INFO] serf: EventMemberLeave (forced): n3 {}", net.ip(13)));
    }
    assert_eq!(one.ask(&["force-leave", "nosuch"]), "");
    assert_eq!(one.ask(&["force-leave", "-prune", "n3"]), "");
    for agent in [&one, &two] {
        agent.wait_for_members("n1 alive, n2 alive");
        agent.process.output.wait_for(&format!("[INFO] serf: EventMemberReap (forced): n3 {}", net.ip(13)));
    }
    one.process.output.wait_for("[INFO] agent: Force leaving node (prune): n3\n");
}

#[test]
fn a_forced_leave_of_a_live_member_is_refuted() {
    let net = Net(31);
    let agents = three(net, &["-profile=local"]);
    let before = agents.each_ref().map(Agent::member_time);
    assert_eq!(agents[0].ask(&["force-leave", "n3"]), "");
    for (agent, before) in agents.iter().zip(before) {
        // Then the word has come to it. One that is said before the first agent has heard of the last join is older than that,
        // and counts for nobody: an operator says it again.
        let ask = |agent: &Agent| {
            agents[0].ask(&["force-leave", "n3"]);
            agent.member_time()
        };
        agent.wait_until("a later time", ask, |now| *now > before);
        agent.wait_for_members("n1 alive, n2 alive, n3 alive");
        let text = agent.process.output.text();
        assert!(!text.contains("EventMemberLeave"), "{text}");
    }
}

#[test]
fn a_join_tells_who_was_reached_and_who_was_not() {
    let net = Net(32);
    let one = Agent::start(net, 11, "n1", &[]);
    let two = Agent::start(net, 12, "n2", &[]);
    let three = Agent::start(net, 13, "n3", &[]);
    let run = Program::Ours.client(&one.rpc_addr, &["join", &net.ip(98), &net.ip(99)]);
    assert_eq!((run.code, net.normalised(&run.stdout)), (Some(1), transcript("join-fail")));
    assert_eq!(one.ask(&["join", &net.ip(98), &two.ip, &three.ip]), transcript("join-ok"));
    for agent in [&one, &two, &three] {
        agent.wait_for_members("n1 alive, n2 alive, n3 alive");
    }
}

#[test]
fn a_monitor_shows_lines_and_events_until_an_interrupt() {
    let net = Net(33);
    let one = Agent::start(net, 11, "n1", &[]);
    let watch = |words: &[&str]| {
        let line = [&["monitor"], words].concat();
        let monitor = Process::spawn(Program::Ours.command(&line).env("SERF_RPC_ADDR", &one.rpc_addr));
        monitor.output.wait_for("[INFO] agent: Serf agent starting\n");
        monitor
    };
    let (info, debug) = (watch(&[]), watch(&["-log-level=debug"]));
    let _two = Agent::start(net, 12, "n2", &["-join", &one.ip]);
    for monitor in [&info, &debug] {
        monitor.output.wait_for(&format!("[INFO] serf: EventMemberJoin: n2 {}\n", net.ip(12)));
        monitor.output.wait_for("[INFO] agent: Received event: member-join\n");
        monitor.output.wait_for("Event Info:\n\tEvent: \"member-join\"\n\tMembers: ");
        monitor.signal(Signal::INT);
    }
    let ((code, info), (debug_code, debug)) = (info.end(), debug.end());
    assert_eq!((code, debug_code), (Some(0), Some(0)));
    assert!(debug.contains(" [DEBUG] memberlist: "), "{debug}");
    assert!(!info.contains("[DEBUG]"), "{info}");
    assert!(info.lines().next().is_some_and(|line| line.starts_with("20")), "{info}");
}

#[test]
fn a_monitor_ends_with_its_agent() {
    let net = Net(34);
    let one = Agent::start(net, 11, "n1", &[]);
    let run = Program::Ours.client(&one.rpc_addr, &["monitor", "-log-level=foo"]);
    assert_eq!((run.code, run.stdout), (Some(1), transcript("monitor-badlevel")));
    let monitor = Process::spawn(Program::Ours.command(&["monitor"]).env("SERF_RPC_ADDR", &one.rpc_addr));
    monitor.output.wait_for("[INFO] agent: Serf agent starting\n");
    drop(one);
    let (code, text) = monitor.end();
    assert_eq!(code, Some(1));
    let last = "\nRemote side ended the monitor! This usually means that the\nremote side has exited or crashed.\n";
    assert!(text.ends_with(last), "{text}");
}

#[test]
fn a_hangup_applies_the_changed_configuration() {
    let net = Net(35);
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("agent.json");
    let write = |text: &str| std::fs::write(&config, text).expect("a file");
    write(r#"{"log_level": "warn", "tags": {"role": "web"}}"#);
    let one = Agent::start(net, 11, "n1", &["-profile=local", "-config-file", config.to_str().expect("text")]);
    let output = &one.process.output;
    let reload = |after: &str| {
        let seen = output.text().len();
        one.process.signal(Signal::HUP);
        output.wait_for_after(seen, "==> Caught signal: hangup\n==> Reloading configuration...\n");
        if !after.is_empty() {
            output.wait_for_after(seen, after);
        }
    };
    one.ask(&["members"]);
    assert!(!output.text().contains("[INFO]"), "{}", output.text());

    write(r#"{"log_level": "info", "tags": {"role": "web"}}"#);
    reload("");
    one.ask(&["members"]);
    output.wait_for("[INFO] agent.ipc: Accepted client: ");

    write(r#"{"bogus": 1}"#);
    reload("* '' has invalid keys: bogus\n==> Failed to reload configs\n");
    write(r#"{"tags": {"role": "web"}, "log_level": "loud"}"#);
    reload("==> Invalid log level: LOUD. Valid log levels are: [TRACE DEBUG INFO WARN ERR]\n");
    write(r#"{"tags": {"role": "db"}}"#);
    reload("[INFO] serf: EventMemberUpdate: n1\n");
    assert!(one.ask(&["members"]).ends_with("  role=db\n"));
    write(&format!(r#"{{"tags": {{"a": "{}"}}}}"#, "x".repeat(600)));
    reload("==> Failed to update tags: Encoded length of tags exceeds limit of 512 bytes");
    assert!(one.ask(&["members"]).ends_with("  role=db\n"));

    write(r#"{"tags": {"role": "db"}, "leave_on_terminate": true, "event_handlers": ["user:a=x.sh"]}"#);
    reload("");
    let info = one.ask(&["info"]);
    assert!(info.contains("event_handlers:\n\tuser:a = x.sh\n"), "{info}");
    one.process.signal(Signal::TERM);
    let (code, text) = one.process.end();
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(text.matches("EventMemberUpdate").count(), 1, "tags as they were make no noise: {text}");
}
