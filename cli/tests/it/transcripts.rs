//! Every command and output that was captured from the original, played again with our binary.

use std::collections::BTreeSet;
use std::fs;

use rustix::process::Signal;

use crate::play::{DIFFERENCES, MEMBER_JOIN, Play, index};
use crate::process::{Agent, Net, Program};
use crate::serf::transcript;

const FIRST: &str = "HvY8ubRZMgafUOWvrOadwOckVa1wN3QWAo46FVKbVN8=";

/// Without an agent.
const ALONE: [&str; 14] = [
    "usage-none",
    "usage-unknown",
    "usage-help",
    "version",
    "help-members",
    "noagent-members",
    "badflag-query",
    "badval-query",
    "noargs-event",
    "args-event",
    "noargs-tags",
    "noargs-keys",
    "two-keys",
    "badtag-members",
];

#[test]
fn without_an_agent() {
    let play = Play::new(Net(185));
    play.run(&ALONE);
    play.finish(&ALONE);
}

/// With three agents; these commands change nothing that a later one shows.
const ASKED: [&str; 33] = [
    "members-text",
    "members-detailed",
    "members-json",
    "members-status",
    "members-unanchored",
    "members-empty-json",
    "members-empty-text",
    "members-role",
    "members-badregex",
    "members-badformat",
    "info-text",
    "info-json",
    "rtt",
    "rtt-unknown",
    "reachability",
    "reachability-verbose",
    "join-ok",
    "join-fail",
    "event-ok",
    "event-nocoalesce",
    "event-too-big",
    "event-too-big-encoded",
    "query-text",
    "query-json",
    "query-noack-json",
    "query-node",
    "query-tag-unanchored",
    "query-fail",
    "query-reserved",
    "query-too-big",
    "query-badformat",
    "tags-set",
    "tags-toobig",
];
/// With three agents, in this order; one is killed in between.
const CHANGED: [&str; 14] = [
    "keys-noenc",
    "keys-badb64",
    "monitor-badlevel",
    "monitor-debug",
    "members-failed",
    "force-leave",
    "members-left",
    "force-leave-prune",
    "members-pruned",
    "force-leave-unknown",
    "agent-n2-joined",
    "leave",
    "agent-leave-tail",
    "agent-sigterm-tail",
];

#[test]
fn with_three_agents() {
    let play = Play::new(Net(182));
    let handlers = play.write(
        "n1.json",
        &r#"{"tags": {"role": "web", "dc": "east"}, "event_handlers": ["query:sh=sh", "query:up=tr a-z A-Z",
            "query:fail=echo no; exit 3", "user:deploy=cat >>/tmp/w/deploy.log"]}"#
            .replace("/tmp/w/", &play.path("")),
    );
    let one = Agent::start(play.net, 11, "n1", &["-config-file", &handlers]);
    let others = ["-join", &one.ip];
    let tagged = [&others[..], &["-tag", "role=db", "-event-handler", "query:sh=sh"]].concat();
    let two = Agent::start(play.net, 12, "n2", &tagged);
    let three = Agent::start(play.net, 13, "n3", &others);
    for agent in [&one, &two, &three] {
        agent.wait_for_members("n1 alive, n2 alive, n3 alive");
    }
    // Coordinates come with the first answers to pings, and the events of the beginning are not to be mixed with others.
    one.wait_until("all coordinates", Agent::estimates, |known| *known);
    two.process.output.wait_for(MEMBER_JOIN);
    play.run(&ASKED);
    // The first event waits for others that it could be put together with.
    assert_eq!(play.read("deploy.log"), "v2\nv1\n", "the handler has got both events");

    play.run(&["keys-noenc", "keys-badb64", "monitor-badlevel"]);
    let monitor = play.launch_at("monitor-debug");
    monitor.output.wait_for("agent.ipc: Accepted client: ");
    one.ask(&["event", "-coalesce=false", "hello", "world"]);
    one.ask(&["tags", "-set", "z=9"]);
    monitor.output.wait_for("{\"hello\":\"world\", \"role\":\"web\", \"z\":\"9\"}");
    monitor.output.wait_for("agent: Received event: member-update\n");
    monitor.signal(Signal::INT);
    let (code, text) = monitor.end();
    assert_eq!(code, Some(0));
    play.monitored(&text);

    drop(three);
    for agent in [&one, &two] {
        agent.wait_for_members("n1 alive, n2 alive, n3 failed");
        agent.process.output.wait_for("agent: Received event: member-failed\n");
    }
    play.run(&["members-failed", "force-leave", "members-left", "force-leave-prune", "members-pruned"]);
    play.run(&["force-leave-unknown"]);
    two.process.output.wait_for("serf: EventMemberReap (forced): n3");
    play.same("agent-n2-joined", &two.process.output.text(), None);
    one.process.output.wait_for("agent: Received event: member-reap\n");
    play.run(&["leave"]);
    let (code, text) = one.process.end();
    play.tail("agent-leave-tail", "agent.ipc: Graceful leave triggered", &text, code);
    two.wait_for_members("n1 left, n2 alive");
    two.process.signal(Signal::TERM);
    let (code, text) = two.process.end();
    play.tail("agent-sigterm-tail", "==> Caught signal: terminated", &text, code);
    play.finish(&[&ASKED[..], &CHANGED[..]].concat());
}

impl Agent {
    /// Whether the agent knows where all three members are.
    fn estimates(&self) -> bool {
        let estimate = |pair: [&str; 2]| Program::Ours.client(&self.rpc_addr, &["rtt", pair[0], pair[1]]).code;
        estimate(["n1", "n2"]) == Some(0) && estimate(["n2", "n3"]) == Some(0)
    }
}

/// With three agents that have a keyring file each.
const KEYED: [&str; 15] = [
    "keys-list",
    "keys-install",
    "keys-list-two",
    "keys-use",
    "keyring-after-use",
    "keys-remove-primary",
    "keys-remove",
    "keyring-after-remove",
    "keys-use-missing",
    "keys-install-badlen",
    "info-encrypted",
    "agent-wrong-key",
    "agent-no-key",
    "keys-list-partial",
    "agent-name-conflict",
];

fn captured_file(name: &str) -> String {
    let path = format!("{}/tests/transcripts/{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(path).expect("a captured file")
}

#[test]
fn with_keyring_files() {
    let play = Play::new(Net(183));
    let [first, second, third] =
        ["kr1.json", "kr2.json", "kr3.json"].map(|name| play.write(name, &format!("[\"{FIRST}\"]")));
    let one = Agent::start(play.net, 11, "n1", &["-keyring-file", &first]);
    let two = Agent::start(play.net, 12, "n2", &["-keyring-file", &second, "-join", &one.ip]);
    let three = Agent::start(play.net, 13, "n3", &["-keyring-file", &third, "-join", &one.ip]);
    for agent in [&one, &two, &three] {
        agent.wait_for_members("n1 alive, n2 alive, n3 alive");
    }
    play.run(&["keys-list", "keys-install", "keys-list-two", "keys-use"]);
    play.like("keyring-after-use", &play.read("kr1.json"), &captured_file("keyring-after-use.json"));
    play.run(&["keys-remove-primary", "keys-remove"]);
    play.like("keyring-after-remove", &play.read("kr1.json"), &captured_file("keyring-after-remove.json"));
    play.run(&["keys-use-missing", "keys-install-badlen", "info-encrypted"]);
    play.end(&["agent-wrong-key", "agent-no-key"]);
    three.process.signal(Signal::KILL);
    three.process.end();
    play.run(&["keys-list-partial"]);
    play.end(&["agent-name-conflict"]);
    drop(two);
    play.finish(&KEYED);
}

/// Single agents.
const SINGLE: [&str; 20] = [
    "agent-sigint",
    "agent-retry-fail",
    "agent-join-fail",
    "agent-options",
    "agent-bad-level",
    "agent-bad-profile",
    "agent-bad-handler",
    "agent-bad-keylen",
    "agent-key-conflict",
    "agent-tags-conflict",
    "agent-warnings",
    "agent-unknown-key",
    "agent-tags-file-sighup",
    "tags-file-after-set",
    "tags-file-after-sighup",
    "snapshot-after-kill",
    "agent-snapshot-rejoin",
    "snapshot-after-leave",
    "agent-snapshot-left",
    "agent-snapshot-rejoin-flag",
];

#[test]
fn with_single_agents() {
    let play = Play::new(Net(184));
    play.write("kr1.json", &format!("[\"{FIRST}\"]"));
    play.write("bad.json", r#"{"bogus": 1, "tags": 5}"#);
    play.interrupt("agent-sigint");
    play.end(&["agent-retry-fail", "agent-join-fail"]);
    play.interrupt("agent-options");
    play.end(&["agent-bad-level", "agent-bad-profile", "agent-bad-handler", "agent-bad-keylen"]);
    play.end(&["agent-key-conflict", "agent-tags-conflict"]);
    play.interrupt("agent-warnings");
    play.end(&["agent-unknown-key"]);

    play.write("tf.json", r#"{"role": "web"}"#);
    let agent = play.launch("agent-tags-file-sighup");
    agent.output.wait_for(MEMBER_JOIN);
    let rpc_addr = format!("{}:7373", play.net.ip(21));
    assert_eq!(Program::Ours.client(&rpc_addr, &["tags", "-set", "hello=world"]).code, Some(0));
    play.like("tags-file-after-set", &play.read("tf.json"), &captured_file("tags-file-after-set.json"));
    agent.signal(Signal::HUP);
    agent.output.wait_for("agent: Received event: member-update\n");
    // The original has forgotten all tags, in the file too.
    play.like("tags-file-after-sighup", &play.read("tf.json"), &captured_file("tags-file-after-sighup.json"));
    agent.signal(Signal::INT);
    let (code, text) = agent.end();
    play.same("agent-tags-file-sighup", &text, code);
    play.snapshots();
    play.finish(&SINGLE);
}

impl Play {
    fn snapshots(&self) {
        let one = self.launch("agent-snapshot-left");
        one.output.wait_for(MEMBER_JOIN);
        let two = Agent::start(self.net, 22, "t2", &["-join", &self.net.ip(21)]);
        one.output.wait_for("serf: EventMemberJoin: t2");
        let rpc_addr = format!("{}:7373", self.net.ip(21));
        assert_eq!(Program::Ours.client(&rpc_addr, &["event", "-coalesce=false", "flush"]).code, Some(0));
        two.wait_until(
            "the clocks in the snapshot",
            |_| self.read("s.snap"),
            |text| text.ends_with("event-clock: 1\n"),
        );
        one.signal(Signal::KILL);
        one.end();
        self.like("snapshot-after-kill", &self.read("s.snap"), &transcript("snapshot-after-kill"));
        let one = self.launch("agent-snapshot-rejoin");
        one.output.wait_for(MEMBER_JOIN);
        self.same("agent-snapshot-rejoin", &one.output.text(), None);
        two.wait_for_members("t1 alive, t2 alive");
        one.signal(Signal::INT);
        one.end();
        self.like("snapshot-after-leave", &self.read("s.snap"), &transcript("snapshot-after-leave"));
        self.interrupt("agent-snapshot-left");
        two.wait_for_members("t1 left, t2 alive");
        self.interrupt("agent-snapshot-rejoin-flag");
    }
}

#[test]
fn every_transcript_is_played() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/transcripts");
    let names = fs::read_dir(directory).expect("the directory").map(|entry| {
        let name = entry.expect("an entry").file_name().into_string().expect("text");
        name.split('.').next().unwrap_or_default().to_owned()
    });
    let mut known: BTreeSet<String> = names.collect();
    known.remove("README");
    known.remove("index");
    let played: BTreeSet<String> =
        [&ALONE[..], &ASKED, &CHANGED, &KEYED, &SINGLE].concat().iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(played, known);
    assert!(index().keys().all(|name| known.contains(name)));
    assert!(DIFFERENCES.iter().all(|(name, why)| known.contains(*name) && !why.is_empty()));
}
