//! Sweeps: the weather is bad, nobody breaks, and what fails is kept.

use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use villein_sim::sweep::{Plan, sweep};

fn plan(seeds: std::ops::Range<u64>, shard: (u64, u64)) -> Plan {
    let out = std::env::temp_dir().join(format!("villein-sweep-{}", std::process::id()));
    Plan { seeds, shard, jobs: 2, out }
}

#[test]
fn no_seed_fails_and_every_fault_fires() {
    let tally = sweep(&plan(0..80, (0, 1)), &AtomicBool::new(false), &|_, _| {}).expect("nothing is written");
    assert_eq!((tally.played, tally.failed), (80, vec![]));
    // Two mebibytes do not fill up before a frozen process of so small a cluster goes on, and few seeds lose power while
    // lines are on their way to the disk. Both have tests of their own.
    let silent: Vec<&str> = tally
        .faults
        .list()
        .into_iter()
        .filter(|(name, count)| *count == 0 && !["overflowed", "torn_writes"].contains(name))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(silent, [""; 0], "faults that never fired");
}

#[test]
fn parts_are_the_whole_and_do_not_overlap() {
    let seen = Mutex::new(Vec::new());
    for part in 0..3 {
        let tally = sweep(&plan(10..20, (part, 3)), &AtomicBool::new(false), &|played, _| {
            seen.lock().expect("no panic").push(played.seed);
        });
        assert_eq!(tally.expect("nothing is written").next, None);
    }
    let mut seen = seen.into_inner().expect("no panic");
    seen.sort_unstable();
    assert_eq!(seen, (10..20).collect::<Vec<_>>());
}

#[test]
fn a_sweep_that_is_stopped_says_where_to_go_on() {
    let stop = AtomicBool::new(false);
    let mut plan = plan(0..1_000, (0, 1));
    plan.jobs = 1;
    let tally = sweep(&plan, &stop, &|_, known| {
        if known.played == 3 {
            stop.store(true, Ordering::Relaxed);
        }
    });
    let tally = tally.expect("nothing is written");
    assert_eq!((tally.played, tally.next), (3, Some(3)));
}

#[test]
fn the_command_prints_one_line_a_seed_and_one_in_the_end() {
    let run =
        |words: &[&str]| Command::new(env!("CARGO_BIN_EXE_sim")).arg("sweep").args(words).output().expect("it runs");
    let output = run(&["--seeds", "3..7", "--format=json", "--jobs", "2"]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("one object a line")).collect();
    assert_eq!(lines.len(), 5, "{text}");
    assert!(lines[..4].iter().all(|line| line["kind"] == "seed" && line["failure"].is_null()), "{text}");
    assert_eq!((&lines[4]["kind"], &lines[4]["seeds"]), (&"sweep".into(), &4.into()));
    for (words, wanted) in [
        (["--seeds", "7..3"], "two numbers are wanted"),
        (["--shard", "4/4"], "a part below their number is wanted"),
        (["--time-limit", "5"], "is no time; write it like"),
    ] {
        let output = run(&words);
        assert_eq!(output.status.code(), Some(2));
        let text = String::from_utf8(output.stderr).expect("text");
        assert!(text.contains(wanted), "{text}");
    }
}
