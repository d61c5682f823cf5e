//! Events, queries, tags and keys: both programs' commands get the same from both programs' agents.

use crate::process::{Agent, Net, Program, original};
use crate::serf::{Run, without_encoding, without_help};

const KEY: &str = "HvY8ubRZMgafUOWvrOadwOckVa1wN3QWAo46FVKbVN8=";
const OTHER: &str = "T9jncgl9mbLus+baTTa7q7nPSUrXwbDi2dhbtqir37s=";

/// An agent of each program, alike and alone.
fn agents(original: &Program, net: Net, words: &[&str]) -> [Agent; 2] {
    let start = |program: &Program, host| Agent::start_program(program.clone(), net, host, "n1", words);
    [start(&Program::Ours, 11), start(original, 12)]
}

/// What a command shows of an agent. Rows of a table stand in any order.
fn shown(run: &Run, agent: &Agent) -> (Option<i32>, Vec<String>) {
    let mut lines: Vec<String> =
        without_help(&run.stdout).lines().map(|line| without_encoding(line).replace(&agent.ip, "IP")).collect();
    lines.sort_unstable();
    (run.code, lines)
}

/// Runs each command of both programs against both agents; what it changes must be the same when it is done twice.
fn both_show_the_same(original: &Program, [ours, theirs]: &[Agent; 2], commands: &[&[&str]]) {
    for words in commands {
        let wanted = shown(&original.client(&theirs.rpc_addr, words), theirs);
        for (client, agent) in [(&Program::Ours, theirs), (original, ours), (&Program::Ours, ours)] {
            assert_eq!(shown(&client.client(&agent.rpc_addr, words), agent), wanted, "{words:?} of {client:?}");
        }
    }
}

#[test]
fn events_and_tags_are_answered_alike() {
    let Some(original) = original() else { return };
    let agents = agents(&original, Net(151), &["-profile=local", "-tag", "a=1", "-tag", "b=2"]);
    let (long, longer) = ("x".repeat(490), "x".repeat(600));
    both_show_the_same(
        &original,
        &agents,
        &[
            &["event", "deploy", "v1"],
            &["event", "-coalesce=false", "", ""],
            &["event", "e", &long],
            &["event", "e", &longer],
            &["tags", "-set", "c=", "-set", "a=3", "-delete", "b", "-delete", "nosuch"],
            &["members", "-tag", "a=3", "-tag", "c=", "-status=alive", "-format=json", "-name=nosuch"],
            &["tags", "-set", "a"],
            &["rtt", "nosuch"],
            &["rtt", "n1"],
            &["rtt", "n1", "n1"],
            &["rtt"],
            &["reachability"],
            &["reachability", "-verbose=false"],
            &["force-leave", "-prune", "nosuch"],
        ],
    );
    for agent in &agents {
        agent.process.output.wait_for("[INFO] agent: Received event: user-event: \n");
        agent.process.output.wait_for("[INFO] agent: Received event: user-event: deploy\n");
        assert!(agent.ask(&["info"]).ends_with("tags:\n\ta = 3\n\tc = \n"));
    }
}

#[test]
fn queries_are_answered_alike() {
    let Some(original) = original() else { return };
    let words = [
        "-profile=local",
        "-tag=role=web",
        "-event-handler=query:load=echo 0.5; echo of $SERF_TAG_ROLE >&2; cat",
        "-event-handler=query:load=echo second",
        "-event-handler=query:bad=echo out; exit 1",
    ];
    let agents = agents(&original, Net(152), &words);
    let long = "x".repeat(1024);
    both_show_the_same(
        &original,
        &agents,
        &[
            &["query", "-timeout=1s", "load", "now"],
            &["query", "-timeout=1s", "-format=json", "load", "now\n"],
            &["query", "-timeout=1s", "-no-ack", "load"],
            &["query", "-timeout=1s", "-relay-factor=3", "bad"],
            &["query", "-timeout=100ms", "-node=n2", "load"],
            &["query", "-timeout=100ms", "-tag=role=db", "load"],
            &["query", "-timeout=1s", "-tag=role=e", "-node=n1", "load"],
            &["query", "-timeout=100ms", "-tag=role=(", "load"],
            &["query", "-timeout=-1s", "load"],
            &["query", "_serf_stats"],
            &["query", "load", &long],
        ],
    );
    for agent in &agents {
        let output = &agent.process.output;
        output.wait_for("[ERR] agent: Error invoking script 'echo out; exit 1': exit status 1\n");
        output.wait_for("'query: load': failed to respond to key query: response already sent\n");
    }
}

#[test]
fn keys_are_answered_alike() {
    let Some(original) = original() else { return };
    let commands: [&[&str]; 12] = [
        &["keys", "-list"],
        &["keys", "-install", OTHER],
        &["keys", "-install", OTHER],
        &["keys", "-install", "YWJj"],
        &["keys", "-install", "not base64!"],
        &["keys", "-list"],
        &["keys", "-remove", KEY],
        &["keys", "-use", "MDEyMzQ1Njc4OWFiY2RlZg=="],
        &["keys", "-use", OTHER],
        &["keys", "-remove", KEY],
        &["keys", "-remove", KEY],
        &["keys", "-list"],
    ];
    both_show_the_same(&original, &agents(&original, Net(153), &["-profile=local", "-encrypt", KEY]), &commands);
    both_show_the_same(&original, &agents(&original, Net(154), &["-profile=local"]), &commands);
}

#[test]
fn older_protocols_have_the_same_commands() {
    let Some(original) = original() else { return };
    for (host, protocol) in [(155, "-protocol=2"), (156, "-protocol=3"), (157, "-protocol=4")] {
        let words = ["-profile=local", protocol, "-role=web"];
        let agents = agents(&original, Net(host), &words);
        let commands: [&[&str]; 5] = [
            &["members", "-detailed"],
            &["event", "-coalesce=false", "deploy"],
            &["query", "-timeout=100ms", "load"],
            &["keys", "-list"],
            &["reachability", "-verbose=maybe"],
        ];
        both_show_the_same(&original, &agents, &commands);
    }
}
