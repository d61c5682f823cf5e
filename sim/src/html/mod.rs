//! The report that one looks at: one HTML file that needs nothing else, and whose bytes follow from scenario and seed
//! alone.
//!
//! The page holds one JSON object and the scripts that draw it. Times are milliseconds, nodes are numbers, and of beliefs
//! there are only the changes.

use serde::Serialize;
use serde_json::Value;

use crate::history::{Change, History, Process};
use crate::play::{Outcome, Verdict};
use crate::report;
use crate::scenario::Scenario;
use crate::timeline::What;

mod bars;
mod link;

use bars::Bar;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPTS: [&str; 5] = [
    include_str!("model.js"),
    include_str!("canvas.js"),
    include_str!("charts.js"),
    include_str!("matrix.js"),
    include_str!("page.js"),
];

/// How a run ended.
#[derive(Clone, Copy, Debug)]
pub enum Ending<'a> {
    /// With a verdict.
    Played(&'a Outcome),
    /// With a panic of the core, and these words.
    Panicked(&'a str),
}

/// The page about a run of `scenario` with `seed`.
pub fn page(scenario: &Scenario, seed: u64, history: &History, ending: Ending<'_>) -> String {
    let data = serde_json::to_string(&data(scenario, seed, history, ending)).expect("numbers and texts are JSON");
    // Within a script element nothing else ends it or begins a comment.
    let data = data.replace('<', "\\u003c");
    let mut page = String::with_capacity(data.len() + 100_000);
    let mut rest = PAGE;
    for (place, text) in [
        ("{{title}}", escaped(&scenario.file)),
        ("{{style}}", STYLE.to_owned()),
        ("{{data}}", data),
        ("{{script}}", SCRIPTS.concat()),
    ] {
        let (before, after) = rest.split_once(place).expect("the page has each place once, in this order");
        page.push_str(before);
        page.push_str(&text);
        rest = after;
    }
    page.push_str(rest);
    page
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// What the page knows.
#[derive(Serialize)]
struct Data<'a> {
    scenario: &'a str,
    title: &'a str,
    seed: String,
    options: String,
    digest: Option<String>,
    ok: bool,
    verdict: String,
    repeat: String,
    /// The last time of which anything is known.
    end: u64,
    nodes: Vec<&'a str>,
    findings: Vec<(u64, String)>,
    notes: Vec<String>,
    faults: Vec<(&'a str, u64)>,
    bars: Vec<Bar>,
    /// See [`changes`].
    changes: Vec<Vec<i64>>,
    aliases: Vec<(u64, u32, &'a str)>,
    health: Vec<(u64, u32, u8)>,
    interval: u64,
    packets: Vec<u64>,
    bytes: Vec<u64>,
    stream_bytes: Vec<u64>,
    /// Text, and who got it when.
    spreads: Vec<(&'a str, Vec<(u64, u32)>)>,
    /// Time at which all of it has happened, kind, nodes, and a text or members.
    entries: Vec<(u64, String, Vec<u32>, Value)>,
}

fn data<'a>(scenario: &'a Scenario, seed: u64, history: &'a History, ending: Ending<'a>) -> Data<'a> {
    let (bars, bars_left_out) = bars::bars(scenario, history.end);
    let mut notes = notes(history);
    if bars_left_out > 0 {
        notes.push(format!("{bars_left_out} steps are not shown"));
    }
    let (ok, verdict, findings, digest, faults) = match ending {
        Ending::Played(outcome) => {
            notes.extend(outcome.warnings.iter().cloned());
            (
                outcome.verdict == Verdict::AsExpected,
                report::verdict(outcome),
                report::findings(scenario, outcome),
                Some(outcome.digest.to_string()),
                outcome.faults.list().into_iter().filter(|(_, count)| *count > 0).collect(),
            )
        }
        Ending::Panicked(words) => {
            let finding = (history.end * 1_000_000, format!("the core panicked: {words}"));
            (false, "FAILED    the core panicked".to_owned(), vec![finding], None, Vec::new())
        }
    };
    Data {
        scenario: &scenario.file,
        title: &scenario.title,
        // A number of JavaScript has 53 bits.
        seed: seed.to_string(),
        options: report::options(scenario),
        digest,
        ok,
        verdict: words_of(&verdict),
        repeat: report::repeat(scenario, seed),
        end: history.end.max(1),
        nodes: scenario.nodes.iter().map(|node| node.name.as_str()).collect(),
        findings: findings.into_iter().map(|(at, text)| (at / 1_000_000, text)).collect(),
        notes,
        faults,
        bars,
        changes: changes(history),
        aliases: history.aliases.iter().map(|(at, host, name)| (*at, host.0, name.as_str())).collect(),
        health: history.health.iter().map(|&(at, host, score)| (at, host.0, score)).collect(),
        interval: history.interval,
        packets: history.traffic.iter().map(|traffic| traffic.packets).collect(),
        bytes: history.traffic.iter().map(|traffic| traffic.bytes).collect(),
        stream_bytes: history.traffic.iter().map(|traffic| traffic.stream_bytes).collect(),
        spreads: history
            .spreads
            .iter()
            .map(|spread| (spread.text.as_str(), spread.heard.iter().map(|&(at, host)| (at, host.0)).collect()))
            .collect(),
        entries: entries(scenario, history),
    }
}

/// A verdict without the word before it, which the page says by itself.
fn words_of(verdict: &str) -> String {
    verdict.split_once("  ").map_or(verdict, |(_, words)| words).trim_start().to_owned()
}

/// What the page does not show.
fn notes(history: &History) -> Vec<String> {
    let left_out = &history.left_out;
    [
        (left_out.changes, "changes of belief came after there was no more room: the matrix is older than its time"),
        (left_out.health, "changes of local health are not shown"),
        (left_out.heard, "deliveries of events and queries are not shown"),
        (history.timeline.left_out() as u64, "entries of the timeline are not shown"),
    ]
    .iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{count} {what}"))
    .collect()
}

/// Changes of one moment at one node to one belief stand together: time since the one before, node, belief,
/// incarnation, members. A number below zero stands for so many members more that follow the last one. A process that goes, comes or
/// freezes is the belief 10, 11 or 12, with nothing after it.
fn changes(history: &History) -> Vec<Vec<i64>> {
    let mut groups: Vec<Vec<i64>> = Vec::new();
    let (mut last, mut key, mut before) = (0, None, 0);
    for &(at, host, change) in &history.changes {
        let node = i64::from(host.0);
        let since = i64::try_from(at - last).unwrap_or(i64::MAX);
        let (of, belief, incarnation) = match change {
            Change::Belief { of, belief, incarnation } => (of, belief as i64, i64::from(incarnation)),
            Change::Process(process) => {
                let code = match process {
                    Process::Down => 10,
                    Process::Up => 11,
                    Process::Frozen => 12,
                };
                groups.push(vec![since, node, code]);
                (last, key) = (at, None);
                continue;
            }
        };
        match groups.last_mut().filter(|_| key == Some((at, host, belief, incarnation))) {
            Some(group) if of == before + 1 => match group.last_mut() {
                Some(more) if *more < 0 => *more -= 1,
                _ => group.push(-1),
            },
            Some(group) => group.push(i64::from(of)),
            None => groups.push(vec![since, node, belief, incarnation, i64::from(of)]),
        }
        (last, key, before) = (at, Some((at, host, belief, incarnation)), of);
    }
    groups
}

fn entries(scenario: &Scenario, history: &History) -> Vec<(u64, String, Vec<u32>, Value)> {
    let place = |name: &str| scenario.nodes.iter().position(|node| node.name == name);
    history
        .timeline
        .told()
        .map(|told| {
            let (kind, what) = match told.what {
                What::Step(text) => ("step".to_owned(), text.into()),
                What::Reply(text) => ("reply".to_owned(), text.into()),
                What::Log(text) => ("log".to_owned(), text.into()),
                What::Shutdown(reason) => {
                    ("shutdown".to_owned(), format!("asks to be stopped ({})", report::why(reason)).into())
                }
                What::Heard(texts) => ("heard".to_owned(), texts.join(", ").into()),
                What::Member(kind, names) => {
                    let places: Vec<usize> = names.iter().filter_map(|name| place(name)).collect();
                    (report::word(kind).to_owned(), places.into())
                }
            };
            (told.until / 1_000_000, kind, told.hosts.iter().map(|host| host.0).collect(), what)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Belief;
    use crate::scenario::HostId;
    use villein_core::types::Name;

    fn scenario() -> Scenario {
        let text = "[run]\nuntil = \"9s\"\n[cluster]\nnodes = [\"a\", \"b\", \"c\", \"d\"]\n";
        Scenario::parse("<x>.toml", text).expect("a scenario")
    }

    #[test]
    fn the_page_of_a_panic_has_what_is_known() {
        let scenario = scenario();
        let mut history = History::new(&scenario).expect("few nodes");
        history.reach(4_000_000_000);
        let page = page(&scenario, 7, &history, Ending::Panicked("index out of bounds"));
        assert!(page.contains(r#""findings":[[4000,"the core panicked: index out of bounds"]]"#), "{page}");
        assert!(page.contains("<title>&lt;x>.toml</title>") && page.contains(r#""scenario":"\u003cx>.toml""#));
    }

    #[test]
    fn changes_of_one_moment_to_one_belief_stand_together() {
        let scenario = scenario();
        let mut history = History::new(&scenario).expect("few nodes");
        let second = 1_000_000_000;
        history.process(second, HostId(0), &Name::from("a"), Process::Up);
        let at = |history: &mut History, now, of: &[(u32, Belief, u32)]| {
            of.iter().for_each(|&(of, belief, incarnation)| history.believe(now, HostId(0), of, (belief, incarnation)));
        };
        let alive = |of| (of, Belief::Alive, 1);
        at(&mut history, second, &[alive(0), alive(1), alive(2), (3, Belief::Alive, 2)]);
        at(&mut history, 3 * second, &[(0, Belief::Failed, 1), (2, Belief::Failed, 1)]);
        assert_eq!(
            changes(&history),
            [vec![1_000, 0, 11], vec![0, 0, 1, 1, 0, -2], vec![0, 0, 1, 2, 3], vec![2_000, 0, 5, 1, 0, 2],]
        );
    }
}
