//! Shrinking: what is not needed goes, and what is left fails in the same way.

use villein_sim::play::{Verdict, play_twice};
use villein_sim::scenario::Scenario;
use villein_sim::shrink::{Failure, ShrinkError, shrink};

/// Much happens; that one node crashes and is seen to have failed is the one thing that is not allowed.
const BUSY: &str = r#"
[run]
seed = 9
until = "60s"

[cluster]
nodes = ["a", "b", "c", "d", "e", "f"]
start = "joined"
encrypt = true
snapshot = true
config = { push_pull_interval = "10s", coalesce = true }

[link]
delay = "1ms..20ms"
loss = "2%"
duplicate = "5%"

[[node]]
name = ["a", "b"]
tags = { role = "web" }

[[step]]
at = "3100ms"
event = { nodes = ["a"], name = "deploy", payload = "{}", count = 3 }

[[step]]
at = "5250ms"
tags = { nodes = ["b"], set = { v = "2" } }

[[step]]
at = "9730ms"
crash = { nodes = ["c"], power = true }

[[step]]
at = "12s"
cut = [["a", "b"], ["d", "e", "f"]]

[[step]]
at = "14s"
heal = "all"

[[step]]
at = "40s"
restart = ["c"]

[[expect]]
never_events = ["member-failed"]

[[expect]]
converged = true
"#;

#[test]
fn a_busy_scenario_shrinks_to_what_its_failure_needs() {
    let shrunk = shrink("busy.toml", BUSY, None, &|_, _, _| {}).expect("it fails");
    insta::assert_snapshot!("shrunk", shrunk.text);
    let Failure::Unmet(expected) = &shrunk.failure else { panic!("{:?}", shrunk.failure) };
    assert!(expected.contains("member-failed"), "{expected}");
    let scenario = Scenario::parse("shrunk.toml", &shrunk.text).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(play_twice(&scenario, scenario.seed, &|_, _| {}).verdict, Verdict::Failed);
    let again = shrink("busy.toml", &shrunk.text, None, &|_, _, _| {}).expect("it fails");
    assert_eq!(again.text, shrunk.text, "nothing is left to take away");
}

/// The event of a cluster that was cut and has healed does not come soon enough: neither the heal nor the event may go.
#[test]
fn what_is_waited_for_stays_possible() {
    let steps = "[[step]]\nat = \"14s\"\nheal = \"all\"\n\n[[step]]\nat = \"15s\"\nevent = { nodes = [\"a\"], name = \"calm\" }\n";
    let text = BUSY.replace("[[step]]\nat = \"14s\"\nheal = \"all\"\n", steps);
    let expects = "[[expect]]\nby = \"15010ms\"\nat = [\"f\"]\nevents = { kind = \"user\", name = \"calm\" }\n";
    let text = format!("{}{expects}", text.split("[[expect]]").next().unwrap_or_default());
    let shrunk = shrink("busy.toml", &text, None, &|_, _, _| {}).expect("it fails");
    assert!(matches!(shrunk.failure, Failure::Missing(_)), "{:?}", shrunk.failure);
    insta::assert_snapshot!("shrunk_waiting", shrunk.text);
}

#[test]
fn what_is_waited_for_is_not_said_before_its_window() {
    let text = "[run]\nuntil = \"30s\"\n[cluster]\nnodes = [\"a\", \"b\"]\n\
         [[step]]\nat = \"3400ms\"\nleave = { nodes = [\"b\"] }\n\
         [[step]]\nat = \"14901ms\"\nevent = { nodes = [\"a\"], name = \"calm\" }\n\
         [[expect]]\nfrom = \"14901ms\"\nat = [\"b\"]\nevents = { kind = \"user\", name = \"calm\", count = 1 }\n";
    let shrunk = shrink("left.toml", text, None, &|_, _, _| {}).expect("it fails");
    assert!(matches!(shrunk.failure, Failure::Missing(_)), "{:?}", shrunk.failure);
    assert!(shrunk.text.contains("leave") && shrunk.text.contains("14901ms"), "{}", shrunk.text);
}

#[test]
fn a_scenario_that_does_not_fail_or_cannot_be_read_is_not_shrunk() {
    let passes = BUSY.replace("never_events = [\"member-failed\"]", "never_events = [\"member-reap\"]");
    assert!(matches!(shrink("busy.toml", &passes, None, &|_, _, _| {}), Err(ShrinkError::Passes)));
    let bad = BUSY.replace("crash", "crsh");
    let Err(ShrinkError::Scenario(error)) = shrink("busy.toml", &bad, None, &|_, _, _| {}) else {
        panic!("it is read")
    };
    assert!(error.to_string().starts_with("busy.toml:"), "{error}");
}
