//! `event`, `query`, `tags`, `keys`, `reachability` and `rtt` against an agent that is played from a script, compared
//! with what the original printed.

use std::process::Stdio;

use rustix::process::Signal;

use crate::client::{against, failure, member, success};
use crate::fake_agent::{Answer, FakeAgent, Step};
use crate::msgpack::{Value, map, text};
use crate::process::Process;
use crate::serf::{command, serf, transcript};

/// A record of the query, which is the command's second request after the handshake or its third after the members.
fn record(seq: u64, kind: &str, from: &str, payload: &str) -> [Value; 2] {
    let header = map([("Error", text("")), ("Seq", Value::Uint(seq))]);
    let payload = Value::Bin(payload.as_bytes().to_vec());
    [header, map([("From", text(from)), ("Payload", payload), ("Type", text(kind))])]
}

/// A query and what comes of it: kind, from, payload.
fn query(seq: u64, records: &[(&str, &str, &str)]) -> Step {
    let records = records.iter().flat_map(|(kind, from, payload)| record(seq, kind, from, payload));
    Step::with("query", Answer::Reply { error: "", then: records.collect() })
}

/// What the transcripts' cluster says.
const SAID: [(&str, &str, &str); 6] = [
    ("ack", "n1", ""),
    ("response", "n1", "hello from n1\n"),
    ("ack", "n3", ""),
    ("ack", "n2", ""),
    ("response", "n2", "hello from n2\n"),
    ("done", "", ""),
];

#[test]
fn an_event_goes_to_the_agent_as_it_is_written() {
    let (run, bodies) = against(vec![Step::ok("event")], &["event", "deploy", ""]);
    assert_eq!(success(run), "Event 'deploy' dispatched! Coalescing enabled: true\n");
    assert_eq!((bodies[1].field("Name"), bodies[1].field("Coalesce")), (&text("deploy"), &Value::Bool(true)));
    let (run, bodies) = against(vec![Step::ok("event")], &["event", "-coalesce=0", ""]);
    assert_eq!(success(run), "Event '' dispatched! Coalescing enabled: false\n");
    assert_eq!(*bodies[1].field("Payload"), Value::Nil);
    let (run, _) = against(vec![Step::refused("event", "Authentication required")], &["event", "x"]);
    assert_eq!(failure(run), "Error sending event: Authentication required\n");
}

#[test]
fn a_query_shows_each_word_when_it_comes_and_counts_them() {
    let words = ["query", "-node=n1", "-node", "n2", "-tag=role=w", "-timeout=1.5s", "-relay-factor=2", "sh", "x"];
    let (run, bodies) = against(vec![query(2, &SAID)], &words);
    assert_eq!(success(run), transcript("query-text"));
    let asked = &bodies[1];
    assert_eq!(*asked.field("FilterNodes"), Value::Array(vec![text("n1"), text("n2")]));
    assert_eq!(*asked.field("FilterTags"), map([("role", text("w"))]));
    assert_eq!((asked.field("Timeout"), asked.field("RelayFactor")), (&Value::Uint(1_500_000_000), &Value::Uint(2)));
    assert_eq!(*asked.field("RequestAck"), Value::Bool(true));
    let (run, _) = against(vec![query(2, &SAID)], &["query", "-format=json", "sh"]);
    assert_eq!(success(run), transcript("query-json"));
    let (run, bodies) = against(vec![query(2, &SAID[5..])], &["query", "-no-ack", "sh"]);
    assert_eq!(success(run), "Query 'sh' dispatched\nTotal Responses: 0\n");
    assert_eq!(*bodies[1].field("RequestAck"), Value::Bool(false));
    let (run, _) = against(vec![query(2, &SAID[5..])], &["query", "-no-ack", "-format=json", "sh"]);
    assert_eq!(success(run), transcript("query-noack-json"));
}

#[test]
fn a_query_ends_with_what_it_has_when_the_agent_goes_away_or_speaks_for_nobody() {
    let begun = "Query 'x' dispatched\nAck from 'a'\n";
    let (run, _) = against(vec![query(2, &[("ack", "a", ""), ("response", "a", "p\n\n")])], &["query", "x"]);
    assert_eq!(success(run), format!("{begun}Response from 'a': p\n\nTotal Acks: 1\nTotal Responses: 1\n"));
    for nobody in [("ack", "", ""), ("response", "", "x")] {
        let (run, _) = against(vec![query(2, &[("ack", "a", ""), nobody, ("ack", "b", "")])], &["query", "x"]);
        assert_eq!(success(run), format!("{begun}Total Acks: 1\nTotal Responses: 0\n"));
    }
    // What a later agent may say is passed over.
    let (run, _) = against(vec![query(2, &[("new", "c", ""), ("ack", "a", ""), ("done", "", "")])], &["query", "x"]);
    assert_eq!(success(run), format!("{begun}Total Acks: 1\nTotal Responses: 0\n"));
}

#[test]
fn an_interrupted_query_has_no_totals() {
    for (format, shown) in [("text", "Query 'x' dispatched\nAck from 'a'\n"), ("json", "")] {
        let agent = FakeAgent::start(vec![Step::ok("handshake"), query(2, &[("ack", "a", "")]), Step::idle()]);
        let words = ["query", "-format", format, "-rpc-addr", &agent.address, "x"];
        let process = Process::spawn(command(&words).stdout(Stdio::piped()));
        agent.wait_for("query");
        process.output.wait_for(shown);
        process.signal(Signal::INT);
        assert_eq!(process.end(), (Some(1), shown.to_owned()));
        agent.bodies();
    }
}

#[test]
fn tags_are_read_after_the_agent_is_reached() {
    let words = ["tags", "-set", "a=1", "-set=b=x=y", "-set", "c=", "-delete", "d", "-delete=e"];
    let (run, bodies) = against(vec![Step::ok("tags")], &words);
    assert_eq!(success(run), transcript("tags-set"));
    assert_eq!(*bodies[1].field("Tags"), map([("a", text("1")), ("b", text("x=y")), ("c", text(""))]));
    assert_eq!(*bodies[1].field("DeleteTags"), Value::Array(vec![text("d"), text("e")]));
    let (run, _) = against(Vec::new(), &["tags", "-set", "=v"]);
    assert_eq!(failure(run), "Error: Invalid tag: '=v'\n");
    let long = "Encoded length of tags exceeds limit of 512 bytes";
    let (run, _) = against(vec![Step::refused("tags", long)], &["tags", "-set", "a=b"]);
    assert_eq!(failure(run), transcript("tags-toobig"));
    assert_eq!(failure(serf(&["tags"])), serf(&["tags", "-h"]).stderr);
}

/// What an agent tells of the keys of three members.
fn keys(error: &'static str, keys: &[(&str, u64)], messages: &[(&str, &str)]) -> Step {
    let body = map([
        ("Keys", Value::Map(keys.iter().map(|(key, count)| (text(key), Value::Uint(*count))).collect())),
        ("Messages", Value::Map(messages.iter().map(|(from, said)| (text(from), text(said))).collect())),
        ("NumErr", Value::Uint(messages.len() as u64)),
        ("NumNodes", Value::Uint(3)),
        ("NumResp", Value::Uint(3)),
    ]);
    Step::with("list-keys", Answer::Reply { error, then: vec![body] })
}

#[test]
fn keys_are_listed_with_the_number_of_members_that_have_them() {
    let two = [("b", 3), ("a", 1)];
    let (run, _) = against(vec![keys("", &two, &[])], &["keys", "-list"]);
    let heading = "==> Asking all members for installed keys...\n==> Keys gathered, listing cluster keys...\n";
    assert_eq!(success(run), format!("{heading}\na  [1/3]\nb  [3/3]\n"));
    let (run, _) = against(vec![keys("", &two, &[])], &["keys", "-list", "-format=json"]);
    insta::assert_snapshot!("keys_json", run);
}

#[test]
fn members_that_fail_with_a_key_are_named() {
    let empty = "Keyring is empty (encryption not enabled)";
    let failed = [("n2", empty), ("n1", empty), ("n3", empty)];
    let step = || keys("3/3 nodes reported failure", &[], &failed);
    let (run, _) = against(vec![step()], &["keys", "-list"]);
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines[1..4].sort();
        lines
    };
    let shown = failure(run);
    assert_eq!(shown.lines().collect::<Vec<_>>(), sorted(&transcript("keys-noenc")));
    let (run, _) = against(vec![step()], &["keys", "-list", "-format=json"]);
    insta::assert_snapshot!("keys_failed_json", run);
    let refused = vec![Step::refused("install-key", "Authentication required")];
    let (run, bodies) = against(refused, &["keys", "-install", "YWJj"]);
    let begun = "==> Installing key on all members...\n";
    assert_eq!(failure(run), format!("{begun}\nError installing key: Authentication required\n"));
    assert_eq!(*bodies[1].field("Key"), text("YWJj"));
    let (run, _) = against(vec![Step::with("list-keys", Answer::Close)], &["keys", "-list"]);
    let begun = "==> Asking all members for installed keys...\n";
    assert_eq!(failure(run), format!("{begun}\nFailed to gather member keys: client closed\n"));
}

/// A test of three members of which one has failed, and what comes of it.
fn reachability(records: &[(&str, &str, &str)], words: &[&str]) -> crate::serf::Run {
    let members = ["a", "b", "f"].map(|name| {
        let status = if name == "f" { "failed" } else { "alive" };
        member(name.as_bytes(), &[127, 0, 0, 1], status, &[])
    });
    let members = map([("Members", Value::Array(members.to_vec()))]);
    let (run, bodies) = against(vec![Step::body("members", members), query(3, records)], words);
    assert_eq!((bodies[2].field("Name"), bodies[2].field("RequestAck")), (&text("_serf_ping"), &Value::Bool(true)));
    run
}

#[test]
fn members_that_do_not_answer_or_should_not_are_named() {
    let ack = |from| ("ack", from, "");
    let test = |records: &[_]| reachability(records, &["reachability"]);
    let begun = "Total members: 3, live members: 2\nStarting reachability test...\n";
    assert_eq!(success(test(&[ack("b"), ack("a")])), format!("{begun}Successfully contacted all live nodes\n"));
    insta::assert_snapshot!("reachability_less", test(&[ack("b"), ("done", "", ""), ack("a")]));
    insta::assert_snapshot!("reachability_more", test(&[ack("b"), ack("z"), ack("a"), ack("f")]));
    insta::assert_snapshot!("reachability_twice", test(&[ack("a"), ack("a")]));
    let json = reachability(&[ack("z"), ack("a"), ack("z")], &["reachability", "-format=json"]);
    let shown: serde_json::Value = serde_json::from_str(&failure(json)).expect("an object");
    assert_eq!(shown["missing"], serde_json::json!(["b"]));
    assert_eq!(shown["unexpected"], serde_json::json!(["z"]));
    assert_eq!(shown["duplicates"], serde_json::json!(["z"]));
    let verbose = success(reachability(&[ack("b"), ack("a")], &["reachability", "-verbose"]));
    let lines: Vec<&str> = verbose.lines().collect();
    assert_eq!(lines[2..4], ["\tAck from 'b'", "\tAck from 'a'"]);
    assert!(
        lines[4].starts_with("Query time: 0.") && lines[4].contains(" sec, time to last response: 0."),
        "{verbose}"
    );
}

#[test]
fn an_interrupted_test_says_so() {
    let members = map([("Members", Value::Array(Vec::new()))]);
    let steps = vec![Step::ok("handshake"), Step::body("members", members), query(3, &[]), Step::idle()];
    let agent = FakeAgent::start(steps);
    let words = ["reachability", "-rpc-addr", &agent.address];
    let process = Process::spawn(command(&words).stdout(Stdio::piped()));
    process.output.wait_for("Starting reachability test...\n");
    process.signal(Signal::INT);
    let (code, shown) = process.end();
    assert_eq!(code, Some(1));
    assert!(shown.ends_with("\nTest interrupted\n"), "{shown}");
    agent.bodies();
}

fn coordinate(axes: usize, at: f64) -> Step {
    let place = map([
        ("Adjustment", Value::Float(0.0)),
        ("Error", Value::Float(1.5)),
        ("Height", Value::Float(0.000_01)),
        ("Vec", Value::Array(vec![Value::Float(at); axes])),
    ]);
    Step::body("get-coordinate", map([("Coord", place), ("Ok", Value::Bool(true))]))
}

#[test]
fn round_trips_are_estimated_between_two_members_or_from_the_agent() {
    let (run, bodies) = against(vec![coordinate(8, 0.001), coordinate(8, 0.002)], &["rtt", "n2", "n3"]);
    assert_eq!(success(run), "Estimated n2 <-> n3 rtt: 2.848 ms\n");
    assert_eq!((bodies[1].field("Node"), bodies[2].field("Node")), (&text("n2"), &text("n3")));
    let own = map([("agent", map([("name", text("n1"))]))]);
    let steps = vec![Step::body("stats", own), coordinate(8, 0.0), coordinate(8, 0.0)];
    let (run, _) = against(steps, &["rtt", "-format=json", "n1"]);
    assert_eq!(success(run), "{\n  \"node1\": \"n1\",\n  \"node2\": \"n1\",\n  \"rtt_ms\": 0.02\n}\n");
    let unknown = Step::body("get-coordinate", map([("Coord", Value::Nil), ("Ok", Value::Bool(false))]));
    let (run, _) = against(vec![unknown], &["rtt", "nosuch", "x"]);
    assert_eq!(failure(run), transcript("rtt-unknown"));
    // The original panics.
    let (run, _) = against(vec![coordinate(8, 0.0), coordinate(3, 0.0)], &["rtt", "a", "b"]);
    assert_eq!(failure(run), "The coordinate of node \"b\" has 3 axes; estimates need 8\n");
    let (run, _) = against(Vec::new(), &["rtt"]);
    let help = serf(&["rtt", "-h"]).stderr;
    assert_eq!(failure(run), format!("One or two node names must be specified\n\n{help}"));
}
