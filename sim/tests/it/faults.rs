//! Every kind of fault fires, and the report says when one did not.

use villein_sim::play::{Outcome, Verdict};

/// Five nodes, 40 s; `more` adds to it.
fn play(link: &str, more: &str) -> Outcome {
    super::play(&format!(
        r#"
        [run]
        until = "40s"
        [cluster]
        nodes = ["a", "b", "c", "d", "e"]
        start = "joined"
        config = {{ push_pull_interval = "5s" }}
        [link]
        delay = "1ms..5ms"
        {link}
        {more}
        "#
    ))
}

fn check(link: &str, more: &str, count: fn(&Outcome) -> u64) {
    let outcome = play(link, more);
    assert_eq!(outcome.verdict, Verdict::AsExpected, "{link}{more}: {:?}, {:?}", outcome.unmet, outcome.broken);
    assert!(count(&outcome) > 0, "{link}{more}: it never happened: {:?}", outcome.faults);
    assert_eq!(outcome.warnings, [""; 0], "{link}{more}");
}

#[test]
fn each_fault_of_a_link_fires() {
    check(r#"loss = "5%""#, "", |outcome| outcome.faults.lost);
    check(r#"loss = "5%""#, "", |outcome| outcome.faults.resent);
    check(r#"duplicate = "5%""#, "", |outcome| outcome.faults.duplicated);
    check(r#"reorder = "5%""#, "", |outcome| outcome.faults.reordered);
    check(r#"corrupt = "5%""#, "", |outcome| outcome.faults.corrupted);
    check(r#"refuse = "50%""#, "", |outcome| outcome.faults.refused);
    check(r#"reset = "30%""#, "", |outcome| outcome.faults.resets);
}

#[test]
fn each_fault_of_a_step_fires() {
    check("", "[[step]]\nat = \"5s\"\ncut = [[\"a\"], [\"b\", \"c\"]]", |outcome| outcome.faults.cut);
    check("", "[[step]]\nat = \"5s\"\ncut_one_way = { from = [\"a\"], to = [\"b\"] }", |outcome| outcome.faults.cut);
    check("", "[[step]]\nat = \"5s\"\ncrash = { nodes = [\"a\"], power = true }", |outcome| {
        outcome.faults.timeouts + outcome.faults.resent
    });
    check("", "[[step]]\nat = \"5s\"\ncrash = [\"a\"]", |outcome| outcome.faults.undeliverable);
    check("", "[[step]]\nat = \"5s\"\ncrash = [\"a\"]", |outcome| outcome.faults.refused);
    check("", "[[step]]\nat = \"5s\"\ncrash = [\"a\"]\n[[step]]\nat = \"6s\"\nrestart = [\"a\"]", |outcome| {
        outcome.faults.restarts
    });
    check("", "[[step]]\nat = \"5s\"\nstall = { nodes = [\"a\"], activities = \"probe\" }", |outcome| {
        outcome.faults.stalled
    });
}

#[test]
fn a_frozen_process_reads_what_waited_before_it_blames_anybody() {
    let outcome = play(
        "",
        r#"
        [[step]]
        at = "5s"
        pause = ["a"]
        [[step]]
        at = "8s"
        resume = ["a"]
        [[expect]]
        from = "5s"
        at = ["a"]
        never_events = ["member-failed"]
        [[expect]]
        at = ["a"]
        logs = { contains = "has failed, no acks received", count = 0 }
        [[expect]]
        converged = true
        "#,
    );
    assert_eq!(outcome.verdict, Verdict::AsExpected, "{:?}, {:?}", outcome.unmet, outcome.broken);
    assert_eq!(outcome.faults.pauses, 1);
}

#[test]
fn a_node_whose_activities_are_stalled_for_long_is_found_failed_and_comes_back() {
    let outcome = play(
        "",
        r#"
        [[step]]
        at = "5s"
        stall = ["a"]
        [[step]]
        at = "20s"
        unstall = ["a"]
        [[expect]]
        by = "20s"
        at = ["b", "c", "d", "e"]
        sees = { a = "failed" }
        [[expect]]
        by = "40s"
        converged = true
        "#,
    );
    assert_eq!(outcome.verdict, Verdict::AsExpected, "{:?}, {:?}", outcome.unmet, outcome.broken);
    assert!(outcome.faults.stalled > 0);
}

#[test]
fn a_fault_that_never_fires_is_warned_of() {
    let outcome = play("", "[[step]]\nat = \"39s\"\nlink = { from = [\"a\"], to = [\"b\"], reset = \"0.0001%\" }");
    assert_eq!(outcome.warnings, ["warning: the scenario asks for reset, but it never happened"]);
}
