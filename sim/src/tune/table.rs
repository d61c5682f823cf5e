//! The findings in words and in numbers.

use std::fmt::Write as _;

use serde_json::{Value, json as object};

use super::measures::RATE_MAX;
use super::{Findings, Plan};
use crate::experiment::Times;

/// Seconds of a day.
const DAY: u64 = 86_400;

/// What a person reads.
pub fn text(plan: &Plan, found: &Findings) -> String {
    let mut text = format!(
        "{} nodes, {}, loss {}, delay {}; each figure from the clusters of the seeds 1 to {}\n\n",
        plan.nodes,
        plan.settings.shown.join(", "),
        plan.loss,
        plan.delay,
        plan.seeds,
    );
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<31}{value}");
    };
    row("crash noticed by the first", times(&found.first_ms, "crashes"));
    row("crash noticed by the last", times(&found.last_ms, "crashes"));
    if found.unnoticed > 0 {
        row("", format!("{} crashes were not noticed by everybody within ten minutes", found.unnoticed));
    }
    row("reports of false failures", false_failures(plan, found));
    row(
        "sent by a node when idle",
        format!("{} bytes/s, {} packets/s", per_second(found, found.bytes), packets(found)),
    );
    row("an event reaches everybody", times(&found.spread_ms, "events"));
    if found.late > 0 {
        row("", format!("{} events had not reached everybody after ten seconds", found.late));
    }
    row("events a second of one node", capacity(&found.capacity));
    row("halves of 60 s find together", times(&found.heal_ms, "partitions"));
    if found.unhealed > 0 {
        row("", format!("{} partitions had not healed after twenty minutes", found.unhealed));
    }
    text
}

/// The same as one JSON object.
pub fn json(plan: &Plan, found: &Findings) -> Value {
    let at = |times: &[u64]| {
        let times = Times::new(times.to_vec());
        object!({ "median_ms": times.at(500), "p99_ms": times.at(990), "samples": times.count() })
    };
    object!({
        "kind": "tune",
        "nodes": plan.nodes,
        "seeds": plan.seeds,
        "loss": plan.loss,
        "delay": plan.delay,
        "settings": plan.settings.shown,
        "crash_first": at(&found.first_ms),
        "crash_last": at(&found.last_ms),
        "unnoticed": found.unnoticed,
        "false_failures": found.false_failures,
        "node_seconds": found.node_seconds,
        "bytes_per_second": found.bytes.checked_div(found.node_seconds),
        "packets": found.packets,
        "events_late": found.late,
        "event_spread": at(&found.spread_ms),
        "events_per_second": at(&found.capacity)["median_ms"],
        "heal": at(&found.heal_ms),
        "unhealed": found.unhealed,
    })
}

fn times(times: &[u64], what: &str) -> String {
    let times = Times::new(times.to_vec());
    let (Some(median), Some(most)) = (times.at(500), times.at(990)) else { return format!("no {what} measured") };
    format!("median {}, 99 % {} ({} {what})", seconds(median), seconds(most), times.count())
}

fn seconds(millis: u64) -> String {
    format!("{}.{:02} s", millis / 1_000, millis % 1_000 / 10)
}

/// Per day of the whole cluster; where none was seen, what it is at most with 95 % confidence: three in the time watched.
fn false_failures(plan: &Plan, found: &Findings) -> String {
    let watched = found.node_seconds / u64::from(plan.nodes).max(1);
    let hundredths = found.node_seconds * 100 / DAY;
    let days = format!("{}.{:02} node-days", hundredths / 100, hundredths % 100);
    if watched == 0 {
        return "not measured".to_owned();
    }
    let a_day = |count: u64| {
        let tenths = count * 10 * DAY / watched;
        format!("{}.{}", tenths / 10, tenths % 10)
    };
    if found.false_failures == 0 {
        return format!("none in {days}; at most {} a day in the cluster with 95 % confidence", a_day(3));
    }
    format!("{} a day in the cluster ({} in {days})", a_day(found.false_failures), found.false_failures)
}

fn per_second(found: &Findings, count: u64) -> u64 {
    count.checked_div(found.node_seconds).unwrap_or_default()
}

fn packets(found: &Findings) -> String {
    let hundredths = per_second(found, found.packets * 100);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

fn capacity(rates: &[u64]) -> String {
    let (Some(least), Some(most)) = (rates.first(), rates.last()) else { return "not measured".to_owned() };
    let median = Times::new(rates.to_vec()).at(500).unwrap_or_default();
    let bound = if median == RATE_MAX { "at least " } else { "" };
    format!(
        "{bound}{median} reach everybody, the last with a push/pull ({least} to {most} in {} clusters)",
        rates.len()
    )
}
