//! Every shipped scenario ends as expected, with the timeline that the snapshot shows.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use villein_sim::play::{Verdict, play_twice};
use villein_sim::report;
use villein_sim::scenario::Scenario;

const SHIPPED: [&str; 20] = [
    "partition",
    "one-way-partition",
    "retry-join",
    "crash-restart",
    "lossy-wan",
    "flapping",
    "leave-storm",
    "event-burst",
    "query-fanout",
    "tag-change",
    "key-rotation",
    "name-conflict",
    "name-conflict-pair",
    "snapshot-rejoin",
    "prune",
    "standing-seeds",
    "dns-moves",
    "send-errors",
    "rolling-upgrade",
    "one-pair-cut",
];

/// Scenarios that take minutes, and what is written for what in the form with fewer nodes that is played here.
const LARGE: [(&str, [(&str, &str); 3]); 2] = [
    ("scale-10k", [("10000", "100"), ("n1000", "n10"), ("n1001", "n11")]),
    ("heal-1k", [("1000", "100"), ("n500", "n50"), ("n501", "n51")]),
];

#[test]
fn every_shipped_scenario_ends_as_expected() {
    let mut digests = String::new();
    for name in SHIPPED {
        let scenario = super::load(name);
        let outcome = play_twice(&scenario, scenario.seed, &|_, _| {});
        let text = report::text(&scenario, &outcome);
        assert_eq!(outcome.verdict, Verdict::AsExpected, "{text}");
        assert_eq!(outcome.warnings, [""; 0], "{name}: a configured fault never fired");
        assert!(text.lines().count() <= 80, "{name}: a snapshot of {} lines is not read", text.lines().count());
        let digest = outcome.digest.to_string();
        let _ = writeln!(digests, "{name:<20} {digest}");
        // The digests stand in a file of their own: they change more often than what a person reads.
        insta::assert_snapshot!(name, text.replace(&digest, "[digest]"));
    }
    insta::assert_snapshot!("digests", digests);
}

/// What a sweep found once and what was mended stays mended.
#[test]
fn every_regression_ends_as_expected() {
    let files = std::fs::read_dir(super::shipped().join("regressions")).expect("the directory is there");
    let files: BTreeSet<_> = files.map(|entry| entry.expect("an entry").path()).collect();
    assert!(!files.is_empty());
    for file in files {
        let scenario = Scenario::load(&file).unwrap_or_else(|error| panic!("{error}"));
        let outcome = play_twice(&scenario, scenario.seed, &|_, _| {});
        assert_eq!(outcome.verdict, Verdict::AsExpected, "{}", report::text(&scenario, &outcome));
    }
}

#[test]
fn no_scenario_is_shipped_without_a_snapshot() {
    let files: BTreeSet<String> = std::fs::read_dir(super::shipped())
        .expect("the directory is there")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .filter_map(|name| name.strip_suffix(".toml").map(str::to_owned))
        .collect();
    let shipped = SHIPPED.iter().copied().chain(LARGE.map(|(name, _)| name));
    assert_eq!(files, shipped.map(str::to_owned).collect());
}

#[test]
fn a_small_form_of_each_large_scenario_ends_as_expected() {
    for (name, words) in LARGE {
        let text = std::fs::read_to_string(super::shipped().join(format!("{name}.toml"))).expect("it is there");
        let small = words.iter().fold(text, |text, (long, short)| text.replace(long, short));
        let scenario = Scenario::parse(name, &small).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(scenario.nodes.len(), 100, "{small}");
        let outcome = play_twice(&scenario, scenario.seed, &|_, _| {});
        assert_eq!(outcome.verdict, Verdict::AsExpected, "{}", report::text(&scenario, &outcome));
    }
}

#[test]
fn every_line_of_the_json_report_has_a_time_and_a_kind() {
    let scenario = super::load("one-way-partition");
    let outcome = play_twice(&scenario, scenario.seed, &|_, _| {});
    let text = report::json(&scenario, &outcome);
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect();
    assert!(lines.iter().all(|line| line["t_ns"].is_u64() && line["kind"].is_string()), "{text}");
    let kinds: BTreeSet<&str> = lines.iter().filter_map(|line| line["kind"].as_str()).collect();
    for kind in ["run", "step", "member-failed", "member-join", "faults", "digest", "verdict"] {
        assert!(kinds.contains(kind), "{kind} is missing: {kinds:?}");
    }
    let failed = lines.iter().find(|line| line["kind"] == "member-failed").expect("a member failed");
    assert!(failed["t_ns"].as_u64().is_some_and(|at| at > 10_000_000_000), "{failed}");
}
