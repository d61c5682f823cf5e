//! One seed, one history.

use villein_sim::play::{Verdict, play_twice};

#[test]
fn one_seed_gives_one_digest_and_another_seed_another() {
    let scenario = super::load("crash-restart");
    let digest = |seed| {
        let outcome = play_twice(&scenario, seed, &|_, _| {});
        assert!(outcome.faults.restores > 0, "no node was replaced by its checkpoint");
        assert!(!matches!(outcome.verdict, Verdict::Differs { .. }), "seed {seed}: {:?}", outcome.verdict);
        outcome.digest
    };
    let digests: Vec<_> = (1..=4).map(digest).collect();
    assert_eq!(digest(1), digests[0]);
    let distinct: std::collections::BTreeSet<_> = digests.iter().collect();
    assert_eq!(distinct.len(), digests.len(), "{digests:?}");
}

#[test]
fn a_clock_that_drifts_changes_the_history_and_not_the_outcome() {
    let text = |drift: i32| {
        format!(
            r#"
            [run]
            until = "30s"
            [cluster]
            nodes = ["a", "b", "c"]
            start = "joined"
            [[node]]
            name = "b"
            drift_ppm = {drift}
            [[expect]]
            converged = true
            "#
        )
    };
    let (plain, fast) = (super::play(&text(0)), super::play(&text(5_000)));
    assert_eq!((&plain.verdict, &fast.verdict), (&Verdict::AsExpected, &Verdict::AsExpected));
    assert_ne!(plain.digest, fast.digest);
}

#[test]
fn every_node_is_replaced_by_its_checkpoint_even_in_a_short_run() {
    let outcome = super::play(
        r#"
        [run]
        until = "8s"
        [cluster]
        count = 40
        "#,
    );
    assert_eq!(outcome.verdict, Verdict::AsExpected, "{:?} {:?}", outcome.unmet, outcome.broken);
    assert!(outcome.faults.restores >= 40, "{}", outcome.faults.restores);
}
