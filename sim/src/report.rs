//! What a person or a program reads: header, timeline, counters, digest, verdict.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};
use villein_core::command::{JoinError, KeyOutcome, Reply};
use villein_core::event::{MemberEventKind, ShutdownReason};
use villein_core::types::{JoinTarget, Tags};

use crate::operate::Words;
use crate::play::{Outcome, Verdict};
use crate::scenario::{DiskFault, HostId, Scenario, Start, Verb};
use crate::timeline::Entry;
use crate::units::Seconds;

/// The text shows so many lines.
const LINES_MAX: usize = 200;
/// The value of a tag is shown up to this length.
const VALUE_MAX: usize = 32;
/// A list of nodes is shown up to this length.
const NAMES_MAX: usize = 8;

/// The whole report as text; the last line of a failed run is the command that repeats it.
pub fn text(scenario: &Scenario, outcome: &Outcome) -> String {
    let mut text = header(scenario, outcome.seed);
    let lines = outcome.timeline.lines(scenario);
    for line in lines.iter().take(LINES_MAX) {
        let _ = writeln!(text, "{line}");
    }
    let left_out = lines.len().saturating_sub(LINES_MAX) + outcome.timeline.left_out();
    if left_out > 0 {
        let _ = writeln!(text, "           … {left_out} more; --format=json has more of them");
    }
    let _ = writeln!(text, "\nfaults    {}", outcome.faults.line());
    for warning in &outcome.warnings {
        let _ = writeln!(text, "{warning}");
    }
    let _ = writeln!(text, "digest    {}", outcome.digest);
    for (_, line) in findings(scenario, outcome) {
        let _ = writeln!(text, "{line}");
    }
    let _ = writeln!(text, "{}", verdict(outcome));
    if outcome.verdict != Verdict::AsExpected {
        let _ = writeln!(text, "{}", repeat(scenario, outcome.seed));
    }
    text
}

/// The whole report as JSON, one object a line.
pub fn json(scenario: &Scenario, outcome: &Outcome) -> String {
    let end = scenario.until;
    let mut lines = vec![json!({
        "t_ns": 0, "kind": "run", "scenario": scenario.file, "title": scenario.title, "seed": outcome.seed,
        "nodes": scenario.nodes.len(), "profile": scenario.profile.to_string(), "start": start(scenario.start),
        "encrypt": scenario.encrypt, "until_ns": end,
    })];
    lines.extend(outcome.timeline.entries().iter().map(|(at, entry)| entry_json(scenario, *at, entry)));
    lines.push(outcome.faults.json(end));
    lines.extend(outcome.warnings.iter().map(|warning| json!({ "t_ns": end, "kind": "warning", "text": warning })));
    lines.push(json!({ "t_ns": end, "kind": "digest", "digest": outcome.digest.to_string() }));
    for unmet in &outcome.unmet {
        lines.push(json!({
            "t_ns": unmet.at, "kind": "unmet", "file": scenario.file, "line": unmet.line,
            "expected": unmet.expected, "seen": unmet.seen,
        }));
    }
    if let Some((at, host, broken)) = &outcome.broken {
        lines.push(json!({
            "t_ns": at, "kind": "broken", "node": host.map(|host| scenario.name(host)),
            "rule": broken.rule, "seen": broken.seen,
        }));
    }
    let mut last = json!({
        "t_ns": end, "kind": "verdict", "as_expected": outcome.verdict == Verdict::AsExpected,
        "text": verdict(outcome), "expectations": outcome.met + outcome.unmet.len(), "inputs": outcome.inputs,
    });
    if outcome.verdict != Verdict::AsExpected {
        last["repeat"] = repeat(scenario, outcome.seed).into();
    }
    lines.push(last);
    lines.iter().fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "{line}");
        text
    })
}

fn entry_json(scenario: &Scenario, at: u64, entry: &Entry) -> Value {
    let node = |host: &HostId| scenario.name(*host).to_owned();
    match entry {
        Entry::Step { text } => json!({ "t_ns": at, "kind": "step", "text": text }),
        Entry::Member { host, kind, name } => {
            json!({ "t_ns": at, "kind": kind.to_string(), "node": node(host), "member": name })
        }
        Entry::Heard { host, text } => json!({ "t_ns": at, "kind": "heard", "node": node(host), "text": text }),
        Entry::Reply { host, text } => json!({ "t_ns": at, "kind": "reply", "node": node(host), "text": text }),
        Entry::Shutdown { host, reason } => {
            json!({ "t_ns": at, "kind": "shutdown", "node": node(host), "reason": why(*reason) })
        }
        Entry::Log { host, text } => json!({ "t_ns": at, "kind": "log", "node": node(host), "text": text }),
    }
}

/// The command that repeats a run.
pub fn repeat(scenario: &Scenario, seed: u64) -> String {
    format!("cargo run --release -p villein-sim -- run {} --seed {seed}", scenario.file)
}

fn header(scenario: &Scenario, seed: u64) -> String {
    let title = if scenario.title.is_empty() { String::new() } else { format!(" ({})", scenario.title) };
    format!("scenario  {}{title}\nseed      {seed}\noptions   {}\n\n", scenario.file, options(scenario))
}

/// What kind of run it is, in a line.
pub(crate) fn options(scenario: &Scenario) -> String {
    let count = scenario.nodes.len();
    let sealed = if scenario.encrypt { "encrypted" } else { "plain" };
    format!(
        "{}, {count} node{}, start {}, {sealed}, until {}",
        scenario.profile,
        if count == 1 { "" } else { "s" },
        start(scenario.start),
        Seconds(scenario.until),
    )
}

const fn start(start: Start) -> &'static str {
    match start {
        Start::Join => "join",
        Start::Joined => "joined",
        Start::Apart => "apart",
    }
}

/// What went wrong: at which time, and a line about it.
pub(crate) fn findings(scenario: &Scenario, outcome: &Outcome) -> Vec<(u64, String)> {
    let mut lines: Vec<(u64, String)> = outcome
        .unmet
        .iter()
        .map(|unmet| {
            let (file, line, at) = (&scenario.file, unmet.line, Seconds(unmet.at));
            (unmet.at, format!("{file}:{line}: at {at} expected {}; {}", unmet.expected, unmet.seen))
        })
        .collect();
    if let Some((at, host, broken)) = &outcome.broken {
        let node = host.map_or_else(String::new, |host| format!(" at {}", scenario.name(host)));
        lines.push((*at, format!("broken rule: at {}{node}: {broken}", Seconds(*at))));
    }
    if let Verdict::Differs { from, first } = &outcome.verdict {
        let end = Seconds(from.0 + 1_000_000_000);
        lines.push((from.0, format!("two plays of one seed differ within the second that ends at {end}")));
        let plays =
            first.iter().flat_map(|(one, other)| [format!("  first play:  {one}"), format!("  second play: {other}")]);
        lines.extend(plays.map(|line| (from.0, line)));
    }
    lines
}

pub(crate) fn verdict(outcome: &Outcome) -> String {
    let all = outcome.met + outcome.unmet.len();
    let plural = if all == 1 { "" } else { "s" };
    match &outcome.verdict {
        Verdict::AsExpected => {
            let plays = if outcome.plays == 1 { "once" } else { "twice" };
            format!("ok        {all} expectation{plural} met, every rule held, played {plays}")
        }
        Verdict::Failed if outcome.broken.is_some() => "FAILED    a rule of the protocol is broken".to_owned(),
        Verdict::Failed => format!("FAILED    {} of {all} expectation{plural} not met", outcome.unmet.len()),
        Verdict::Differs { .. } => {
            "FAILED    the run is not deterministic, or a checkpoint does not hold everything".to_owned()
        }
    }
}

pub(crate) const fn word(kind: MemberEventKind) -> &'static str {
    match kind {
        MemberEventKind::Join => "joined",
        MemberEventKind::Leave => "left",
        MemberEventKind::Failed => "failed",
        MemberEventKind::Update => "updated",
        MemberEventKind::Reap => "forgotten",
    }
}

pub(crate) const fn why(reason: ShutdownReason) -> &'static str {
    match reason {
        ShutdownReason::RetryJoinExhausted => "retry-join exhausted",
        ShutdownReason::NameConflict => "its name is another's",
    }
}

/// An answer in a few words.
pub(crate) fn answer(reply: &Reply) -> String {
    match reply {
        Reply::Joined { contacted, errors } if errors.is_empty() => format!("contacted {contacted}"),
        Reply::Joined { contacted, errors } => {
            let errors: Vec<String> = errors.iter().map(JoinError::to_string).collect();
            format!("contacted {contacted}; {}", errors.join("; "))
        }
        Reply::Left => "has left".to_owned(),
        Reply::Rejoined => "is a member again".to_owned(),
        Reply::ForceLeft
        | Reply::EventSent
        | Reply::QueryStarted
        | Reply::Responded
        | Reply::QueryDone
        | Reply::QueryEnded => "done".to_owned(),
        Reply::TagsSet => "set".to_owned(),
        Reply::QueryAck { from } => format!("an ack of {from}"),
        Reply::QueryResponse { from, payload } => format!("{from} \"{}\"", String::from_utf8_lossy(payload)),
        Reply::Keys(outcome) => keys(outcome),
        Reply::Failed(error) => format!("refused: {error}"),
    }
}

/// A change of tags as the command line has it.
pub(crate) fn tags(set: &Tags, delete: &[Vec<u8>]) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let set = set.iter().map(|(key, value)| match text(value) {
        long if long.chars().count() > VALUE_MAX => {
            format!(" -set {}={}… ({} bytes)", text(key), long.chars().take(8).collect::<String>(), value.len())
        }
        value => format!(" -set {}={value}", text(key)),
    });
    set.chain(delete.iter().map(|key| format!(" -delete {}", text(key)))).collect()
}

/// What the members have done with their keys; the keys themselves are not shown.
fn keys(outcome: &KeyOutcome) -> String {
    let mut text = format!("{} of {} nodes answered", outcome.responses, outcome.nodes);
    let list = |counts: &BTreeMap<String, u32>| {
        let mut counts: Vec<u32> = counts.values().copied().collect();
        counts.sort_unstable_by(|one, other| other.cmp(one));
        counts.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
    };
    if !outcome.keys.is_empty() {
        let (keys, primaries) = (list(&outcome.keys), list(&outcome.primaries));
        text = format!("{text}; {} keys on {keys} nodes, primary on {primaries}", outcome.keys.len());
    }
    if let Some(error) = outcome.error() {
        text = format!("{text}; {error}");
    }
    for (from, message) in &outcome.messages {
        text = format!("{text}; {from}: {message}");
    }
    if !outcome.missing.is_empty() {
        let missing: Vec<String> = outcome.missing.iter().map(ToString::to_string).collect();
        text = format!("{text}; silent: {}", missing.join(","));
    }
    text
}

/// How a query ended, members in the order of their names.
pub(crate) fn words(words: &Words, took: u64) -> String {
    let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let mut acks: Vec<String> = words.acks.iter().map(ToString::to_string).collect();
    acks.sort();
    let mut answers: Vec<String> = words
        .answers
        .iter()
        .map(|(from, payload)| format!("{from} \"{}\"", String::from_utf8_lossy(payload)))
        .collect();
    answers.sort();
    let listed = |list: &[String]| {
        let list: Vec<&str> = list.iter().map(String::as_str).collect();
        if list.is_empty() { String::new() } else { format!(" ({})", short(&list)) }
    };
    format!(
        "{}{}, {}{}, over after {}",
        count(acks.len(), "ack"),
        listed(&acks),
        count(answers.len(), "answer"),
        listed(&answers),
        Seconds(took)
    )
}

/// Names of hosts, shortened where there are many.
pub(crate) fn hosts(scenario: &Scenario, hosts: &[HostId]) -> String {
    let names: Vec<&str> = hosts.iter().map(|host| scenario.name(*host)).collect();
    short(&names)
}

/// The first of many things.
pub(crate) fn few(texts: &[&str]) -> String {
    match texts {
        [one, other, _, rest @ ..] => format!("{one}, {other} and {} more", rest.len() + 1),
        texts => texts.join(", "),
    }
}

pub(crate) fn short(names: &[&str]) -> String {
    if names.len() <= NAMES_MAX {
        return names.join(",");
    }
    format!("{},… ({})", names[..2].join(","), names.len())
}

/// Join targets; a host's address is shown as its name.
pub(crate) fn targets(scenario: &Scenario, targets: &[JoinTarget]) -> String {
    let shown: Vec<String> = targets
        .iter()
        .map(|target| {
            let text = target.to_string();
            let host = text.parse().ok().and_then(|addr| crate::network::host_at(addr, scenario.nodes.len()));
            host.map_or(text, |host| scenario.name(host).to_owned())
        })
        .collect();
    shown.join(",")
}

/// A step in a few words; commands are told by their replies instead.
pub(crate) fn verb(scenario: &Scenario, verb: &Verb) -> Option<String> {
    let named = |list: &[HostId]| hosts(scenario, list);
    let groups = |groups: &[Vec<HostId>]| groups.iter().map(|group| named(group)).collect::<Vec<_>>().join(" | ");
    Some(match verb {
        Verb::Cut { groups: list, reset } => {
            format!("cut {}{}", groups(list), if *reset { ", streams are reset" } else { "" })
        }
        Verb::CutOneWay { from, to } => format!("cut {} -> {}", named(from), named(to)),
        Verb::Heal(None) => "heal all".to_owned(),
        Verb::Heal(Some(list)) => format!("heal {}", groups(list)),
        Verb::Crash { nodes, power } => format!("crash {}{}", named(nodes), if *power { " (power)" } else { "" }),
        Verb::Restart { nodes, disk, name, wire, .. } => {
            let name = name.as_ref().map_or_else(String::new, |name| format!(" as {name}"));
            let wire = wire.map_or_else(String::new, |wire| format!(" with wire {wire}"));
            format!("restart {}{name}{wire}{}", named(nodes), if *disk { "" } else { " with an empty disk" })
        }
        Verb::Pause(nodes) => format!("pause {}", named(nodes)),
        Verb::Resume(nodes) => format!("resume {}", named(nodes)),
        Verb::Link(rule) => {
            let end = |list: &Option<Vec<HostId>>| list.as_ref().map_or_else(|| "all".to_owned(), |list| named(list));
            format!("link {} {} {}", end(&rule.from), if rule.both { "<->" } else { "->" }, end(&rule.to))
        }
        Verb::Dns(answers) => {
            let parts: Vec<String> = answers.iter().map(|(name, answer)| format!("{name} = {}", dns(answer))).collect();
            format!("dns {}", parts.join(", "))
        }
        Verb::Stall { nodes, activities } => format!("stall {} ({})", named(nodes), activity_names(activities)),
        Verb::Unstall { nodes, activities } => format!("unstall {} ({})", named(nodes), activity_names(activities)),
        Verb::Unplug(nodes) => format!("unplug {}", named(nodes)),
        Verb::Plug(nodes) => format!("plug {}", named(nodes)),
        Verb::Disk { nodes, disk } => {
            let word = match disk {
                DiskFault::None => "freed",
                DiskFault::Full => "full",
                DiskFault::Slow(_) => "slow",
            };
            format!("disk {word} {}", named(nodes))
        }
        Verb::Clock { nodes, forward } => format!("clock {} forward by {}", named(nodes), Seconds(*forward)),
        Verb::Forge { nodes, count } => format!("forge {count} to {}", named(nodes)),
        Verb::Event { nodes, name, payload, numbers, .. } => {
            let payload = if payload.is_empty() { String::new() } else { format!(" \"{payload}\"") };
            let (first, many) = (numbers.start, numbers.end - numbers.start);
            let text = format!("event {name}{payload}").replace("{}", &first.to_string());
            let more = if many == 1 { String::new() } else { format!(" and {} more", many - 1) };
            format!("{text}{more} at {}", named(nodes))
        }
        Verb::Join { .. }
        | Verb::Leave { .. }
        | Verb::Rejoin(_)
        | Verb::ForceLeave { .. }
        | Verb::Query { .. }
        | Verb::Tags { .. }
        | Verb::Key { .. } => return None,
    })
}

fn dns(answer: &crate::scenario::Answer) -> String {
    match answer {
        crate::scenario::Answer::Addresses(ips) => {
            let ips: Vec<String> = ips.iter().map(ToString::to_string).collect();
            format!("[{}]", ips.join(" "))
        }
        crate::scenario::Answer::Error(text) => format!("\"{text}\""),
    }
}

pub(crate) fn activity_names(activities: &[villein_core::Activity]) -> String {
    if activities.len() == 7 {
        return "all".to_owned();
    }
    activities.iter().map(|activity| format!("{activity:?}").to_lowercase()).collect::<Vec<_>>().join(",")
}
