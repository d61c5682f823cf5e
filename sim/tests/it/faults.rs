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
    check(r#"truncate = "5%""#, "", |outcome| outcome.faults.truncated);
    check("mtu = 40", "", |outcome| outcome.faults.oversized);
    check(r#"clog = "300ms""#, "", |outcome| outcome.faults.clogged);
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
    let block = |kind| format!("[[step]]\nat = \"5s\"\nlink = {{ from = [\"a\"], both = true, block = \"{kind}\" }}");
    check("", &block("udp"), |outcome| outcome.faults.udp_blocked);
    check("", &block("tcp"), |outcome| outcome.faults.tcp_blocked);
    check("", "[[step]]\nat = \"5s\"\nclock = { nodes = [\"a\"], forward = \"1h\" }", |outcome| {
        outcome.faults.clock_steps
    });
    check("", "[[step]]\nat = \"5s\"\nforge = { nodes = [\"a\"], count = 50 }", |outcome| outcome.faults.forged);
    check("", "[[step]]\nat = \"5s\"\nstall = { nodes = [\"a\"], activities = \"probe\" }", |outcome| {
        outcome.faults.stalled
    });
}

/// A frozen process has room for some thousands of small packets in its socket's buffer.
#[test]
fn what_finds_no_room_in_a_frozen_process_is_dropped() {
    let forge = "[[step]]\nat = \"6s\"\nforge = { nodes = [\"a\"], count = 9000 }";
    check("", &format!("[[step]]\nat = \"5s\"\npause = [\"a\"]\n{forge}"), |outcome| outcome.faults.overflowed);
}

fn check_disk(more: &str, count: fn(&Outcome) -> u64) {
    let outcome = super::play(&format!(
        "[run]\nuntil = \"40s\"\n[cluster]\nnodes = [\"a\", \"b\", \"c\"]\nsnapshot = true\n{more}"
    ));
    assert_eq!(outcome.verdict, Verdict::AsExpected, "{more}: {:?}, {:?}", outcome.unmet, outcome.broken);
    assert!(count(&outcome) > 0, "{more}: it never happened: {:?}", outcome.faults);
}

#[test]
fn disks_are_slow_and_lose_what_is_on_its_way() {
    let slow = "[[step]]\nat = \"0s\"\ndisk_slow = { nodes = \"*\", by = \"30s\" }\n";
    check_disk(slow, |outcome| outcome.faults.slow_writes);
    let crash = |power| format!("{slow}[[step]]\nat = \"5s\"\ncrash = {{ nodes = [\"b\"], power = {power} }}\n");
    check_disk(&crash(false), |outcome| outcome.faults.lost_writes);
    let back = "[[step]]\nat = \"9s\"\nrestart = [\"b\"]\n[[expect]]\nsees = { \"*\" = \"alive\" }\n";
    check_disk(&(crash(true) + back), |outcome| outcome.faults.torn_writes);
}

#[test]
fn a_name_may_be_unknown_or_lead_nowhere() {
    let named = |answer: &str| {
        super::play(&format!(
            "[run]\nuntil = \"20s\"\n[cluster]\nnodes = [\"a\", \"b\"]\nretry_join = {{ targets = [\"seeds.example\"], interval = \
             \"5s\" }}\n[[step]]\nat = \"0s\"\ndns = {{ \"seeds.example\" = {answer} }}\n"
        ))
    };
    assert!(named("[]").faults.unresolved > 0);
    assert!(named("\"server misbehaving\"").faults.unresolved > 0);
    assert!(named("[\"10.0.0.200\"]").faults.misresolved > 0);
}

#[test]
fn a_member_can_move_to_another_host_or_its_host_take_another_name() {
    let play = |steps: &str| {
        super::play(&format!(
            "[run]\nuntil = \"60s\"\n[cluster]\nnodes = [\"a\", \"b\", \"c\", \"z\"]\n[[node]]\nname = \"z\"\ndown = true\n{steps}\n\
             [[expect]]\nconverged = true\n"
        ))
    };
    let leave = "[[step]]\nat = \"5s\"\nleave = [\"b\"]\n";
    let moved = play(&format!("{leave}[[step]]\nat = \"20s\"\nrestart = {{ nodes = [\"z\"], as = \"b\" }}"));
    assert_eq!((moved.verdict, moved.faults.moved), (Verdict::AsExpected, 1));
    let crash = "[[step]]\nat = \"5s\"\ncrash = [\"b\"]\n";
    let renamed = play(&format!("{crash}[[step]]\nat = \"20s\"\nrestart = {{ nodes = [\"b\"], as = \"z\" }}"));
    assert_eq!((renamed.verdict, renamed.faults.renamed), (Verdict::AsExpected, 1));
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
