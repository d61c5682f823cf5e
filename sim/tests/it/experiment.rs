//! The quick form of the published experiment: the shape of its result.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use villein_sim::experiment::{Band, Book, Figures, Job, Plan, Sample, acceptance, run, text};

/// Figures of this plan, of samples that the test makes up.
fn made_up(plan: &Plan, sample: impl Fn(&Job) -> Sample) -> Vec<Figures> {
    let mut book = Book::in_memory();
    for job in plan.jobs() {
        book.add(&job, sample(&job)).expect("it is in memory");
    }
    plan.rows.iter().map(|&row| Figures::gather(&book, plan, row)).collect()
}

#[test]
fn a_run_that_is_in_the_book_is_not_played_again() {
    let plan = Plan::quick();
    let mut book = Book::in_memory();
    for job in plan.jobs() {
        book.add(&job, Sample::default()).expect("it is in memory");
    }
    let played = AtomicUsize::new(0);
    let each = |_| _ = played.fetch_add(1, Ordering::Relaxed);
    run(&plan.jobs(), &mut book, 1, &AtomicBool::new(false), &each).expect("nothing is written");
    assert_eq!(played.into_inner(), 0);
}

#[test]
fn the_tables_put_every_figure_beside_the_published_one() {
    let plan = Plan::quick();
    let rows = made_up(&plan, |job| Sample {
        false_positives: if job.row.name == "SWIM" { 900 } else { 12 },
        at_healthy: if job.row.name == "SWIM" { 4 } else { 0 },
        packets: 100_000,
        bytes: 30_000_000,
        first_ms: vec![12_300, 12_400, 17_000],
        full_ms: vec![12_700, 12_900, 17_500],
    });
    insta::assert_snapshot!(text(&rows));
}

#[test]
fn a_figure_outside_of_its_band_is_told() {
    let plan = Plan::quick();
    let rows = made_up(&plan, |job| Sample {
        false_positives: if job.row.name == "SWIM" { 100 } else { 11 },
        first_ms: vec![13_000],
        full_ms: vec![12_900],
        ..Sample::default()
    });
    let bands = acceptance(&rows);
    let unmet: Vec<&str> = bands.iter().filter(|band| !band.is_met()).map(|band| band.quantity.as_str()).collect();
    assert_eq!(
        unmet,
        [
            "SWIM: first median, % of the published",
            "Lifeguard: first median, % of the published",
            "FP: Lifeguard / SWIM at C=8, %",
            "FP: Lifeguard / SWIM at C=32, %"
        ]
    );
    assert!(bands.iter().any(Band::is_met));
}
