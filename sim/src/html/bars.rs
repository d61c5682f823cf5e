//! The scenario's steps on the time axis: what lasts is a bar from its beginning to its end, the rest is a mark.

use std::collections::BTreeSet;

use serde::Serialize;

use super::link;
use crate::report;
use crate::scenario::{DiskFault, HostId, KeyOperation, LinkRule, Scenario, Verb, across};

/// More than so many are not drawn.
const BARS_MAX: usize = 4_000;

/// One bar or mark.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Bar {
    /// What kind of thing it is; one kind stands in one lane.
    lane: &'static str,
    /// In milliseconds.
    from: u64,
    /// The end of a bar, in milliseconds; marks have none.
    until: Option<u64>,
    text: String,
}

/// What goes on until something ends it, in parts: each part can end by itself.
struct Open {
    lane: &'static str,
    from: u64,
    text: String,
    parts: BTreeSet<(u32, u32)>,
    /// Whether the parts are nodes, so that the bar of those that end names them.
    named: bool,
    rule: Option<LinkRule>,
}

/// The bars and marks of all steps up to `end` (in milliseconds), and how many there are beyond the bound.
pub(super) fn bars(scenario: &Scenario, end: u64) -> (Vec<Bar>, usize) {
    let mut drawn = Drawn { scenario, bars: Vec::new(), open: Vec::new() };
    for step in &scenario.steps {
        let now = step.at / 1_000_000;
        if now <= end {
            drawn.step(now, &step.verb);
        }
    }
    drawn.close(end, |_, _| true);
    let mut bars = drawn.bars;
    bars.sort_by_key(|bar| bar.from);
    let left_out = bars.len().saturating_sub(BARS_MAX);
    bars.truncate(BARS_MAX);
    (bars, left_out)
}

struct Drawn<'a> {
    scenario: &'a Scenario,
    bars: Vec<Bar>,
    open: Vec<Open>,
}

impl Drawn<'_> {
    fn step(&mut self, now: u64, verb: &Verb) {
        let text = report::verb(self.scenario, verb).unwrap_or_else(|| command(self.scenario, verb));
        match verb {
            Verb::Cut { groups, .. } => self.open(now, "cut", text, pairs(groups), false),
            Verb::CutOneWay { from, to } => {
                let pairs = from.iter().flat_map(|from| to.iter().map(|to| (from.0, to.0)));
                self.open(now, "cut", text, pairs.filter(|(from, to)| from != to).collect(), false);
            }
            Verb::Heal(None) => self.close(now, |open, _| open.lane == "cut"),
            Verb::Heal(Some(groups)) => {
                let pairs = pairs(groups);
                self.close(now, |open, part| open.lane == "cut" && pairs.contains(&part));
            }
            Verb::Crash { nodes, power } => {
                self.end_of_process(now, nodes);
                self.open(now, "crash", if *power { "power off" } else { "crash" }.to_owned(), each(nodes), true);
            }
            Verb::Restart { nodes, disk, .. } => {
                self.end_of_process(now, nodes);
                self.close(now, |open, part| open.lane == "disk" && !disk && has(nodes, part.0));
                self.close(now, |open, part| open.lane == "crash" && has(nodes, part.0));
                self.mark(now, "crash", text);
            }
            Verb::Pause(nodes) => self.open(now, "pause", "pause".to_owned(), each(nodes), true),
            Verb::Resume(nodes) => self.close(now, |open, part| open.lane == "pause" && has(nodes, part.0)),
            Verb::Unplug(nodes) => self.open(now, "unplug", "unplug".to_owned(), each(nodes), true),
            Verb::Plug(nodes) => self.close(now, |open, (from, to)| match open.lane {
                "unplug" => has(nodes, from),
                "cut" => has(nodes, from) || has(nodes, to),
                _ => false,
            }),
            Verb::Disk { nodes, disk } => {
                self.close(now, |open, part| open.lane == "disk" && has(nodes, part.0));
                match disk {
                    DiskFault::None => {}
                    DiskFault::Full => self.open(now, "disk", "disk full".to_owned(), each(nodes), true),
                    DiskFault::Slow(by) => {
                        self.open(now, "disk", format!("disk slow by {}", link::delay(*by)), each(nodes), true);
                    }
                }
            }
            Verb::Clock { .. } => self.mark(now, "clock", text),
            Verb::Forge { .. } => self.mark(now, "forged", text),
            Verb::Stall { nodes, activities } => {
                let text = format!("stall ({})", report::activity_names(activities));
                let parts = nodes.iter().flat_map(|host| activities.iter().map(|activity| (host.0, place(*activity))));
                self.open(now, "stall", text, parts.collect(), true);
            }
            Verb::Unstall { nodes, activities } => {
                let stalled: Vec<u32> = activities.iter().map(|activity| place(*activity)).collect();
                self.close(now, |open, (host, activity)| {
                    open.lane == "stall" && has(nodes, host) && stalled.contains(&activity)
                });
            }
            Verb::Link(rule) => self.link(now, rule, format!("{text}: {}", link::settings(rule))),
            Verb::Dns(_) => self.mark(now, "dns", text),
            Verb::Event { .. } | Verb::Query { .. } => self.mark(now, "asked", text),
            Verb::Join { .. } | Verb::Leave { .. } | Verb::Rejoin(_) | Verb::ForceLeave { .. } => {
                self.mark(now, "members", text);
            }
            Verb::Tags { .. } | Verb::Key { .. } => self.mark(now, "settings", text),
        }
    }

    /// A rule about links holds until one about the same links comes.
    fn link(&mut self, now: u64, rule: &LinkRule, text: String) {
        let ends = |rule: &LinkRule| (rule.from.clone(), rule.to.clone(), rule.both);
        self.close(now, |open, _| open.rule.as_ref().is_some_and(|other| ends(other) == ends(rule)));
        let parts = BTreeSet::from([(0, 0)]);
        self.open.push(Open { lane: "link", from: now, text, parts, named: false, rule: Some(rule.clone()) });
    }

    fn end_of_process(&mut self, now: u64, nodes: &[HostId]) {
        self.close(now, |open, part| matches!(open.lane, "pause" | "stall") && has(nodes, part.0));
    }

    fn mark(&mut self, now: u64, lane: &'static str, text: String) {
        self.bars.push(Bar { lane, from: now, until: None, text });
    }

    fn open(&mut self, now: u64, lane: &'static str, text: String, parts: BTreeSet<(u32, u32)>, named: bool) {
        self.open.push(Open { lane, from: now, text, parts, named, rule: None });
    }

    /// Ends the parts that are meant. What has named parts gets a bar for those that end now, what has not when none is
    /// left.
    fn close(&mut self, now: u64, ends: impl Fn(&Open, (u32, u32)) -> bool) {
        for open in &mut self.open {
            let ended: BTreeSet<(u32, u32)> = open.parts.iter().copied().filter(|part| ends(open, *part)).collect();
            if ended.is_empty() {
                continue;
            }
            open.parts.retain(|part| !ended.contains(part));
            if !open.named && !open.parts.is_empty() {
                continue;
            }
            let mut text = open.text.clone();
            if open.named {
                let mut hosts: Vec<HostId> = ended.iter().map(|(host, _)| HostId(*host)).collect();
                hosts.dedup();
                text = format!("{text} {}", report::hosts(self.scenario, &hosts));
            }
            self.bars.push(Bar { lane: open.lane, from: open.from, until: Some(now), text });
        }
        self.open.retain(|open| !open.parts.is_empty());
    }
}

fn has(nodes: &[HostId], host: u32) -> bool {
    nodes.contains(&HostId(host))
}

fn each(nodes: &[HostId]) -> BTreeSet<(u32, u32)> {
    nodes.iter().map(|host| (host.0, 0)).collect()
}

fn place(activity: villein_core::Activity) -> u32 {
    u32::try_from(activity.index()).unwrap_or(u32::MAX)
}

/// Both directions between all groups.
fn pairs(groups: &[Vec<HostId>]) -> BTreeSet<(u32, u32)> {
    across(groups).map(|(from, to)| (from.0, to.0)).collect()
}

/// A command in a few words; the timeline has its answer.
fn command(scenario: &Scenario, verb: &Verb) -> String {
    let at = |nodes: &[HostId]| report::hosts(scenario, nodes);
    match verb {
        Verb::Join { nodes, targets, .. } => format!("join {} at {}", report::targets(scenario, targets), at(nodes)),
        Verb::Leave { nodes, .. } => format!("leave {}", at(nodes)),
        Verb::Rejoin(nodes) => format!("rejoin {}", at(nodes)),
        Verb::ForceLeave { nodes, target, prune } => {
            format!("force-leave {}{target} at {}", if *prune { "-prune " } else { "" }, at(nodes))
        }
        Verb::Query { nodes, question } => {
            format!("query {} at {}", String::from_utf8_lossy(&question.name), at(nodes))
        }
        Verb::Tags { nodes, set, delete } => {
            let delete: Vec<Vec<u8>> = delete.iter().map(|key| key.clone().into_bytes()).collect();
            format!("tags{} at {}", report::tags(set, &delete), at(nodes))
        }
        Verb::Key { nodes, operation } => {
            let text = match operation {
                KeyOperation::Install(word) => format!("install {word}"),
                KeyOperation::Use(word) => format!("use {word}"),
                KeyOperation::Remove(word) => format!("remove {word}"),
                KeyOperation::List => "list".to_owned(),
            };
            format!("keys {text} at {}", at(nodes))
        }
        Verb::Cut { .. }
        | Verb::CutOneWay { .. }
        | Verb::Heal(_)
        | Verb::Crash { .. }
        | Verb::Restart { .. }
        | Verb::Pause(_)
        | Verb::Resume(_)
        | Verb::Event { .. }
        | Verb::Unplug(_)
        | Verb::Plug(_)
        | Verb::Disk { .. }
        | Verb::Clock { .. }
        | Verb::Forge { .. }
        | Verb::Link(_)
        | Verb::Dns(_)
        | Verb::Stall { .. }
        | Verb::Unstall { .. } => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(steps: &str, want: &[(&str, u64, Option<u64>, &str)]) {
        let text = format!("[run]\nuntil = \"60s\"\n[cluster]\nnodes = [\"a\", \"b\", \"c\"]\n{steps}");
        let scenario = Scenario::parse("test.toml", &text).unwrap_or_else(|error| panic!("{error}"));
        let (bars, left_out) = bars(&scenario, 60_000);
        let bars: Vec<_> = bars.iter().map(|bar| (bar.lane, bar.from, bar.until, bar.text.as_str())).collect();
        assert_eq!((bars.as_slice(), left_out), (want, 0));
    }

    fn step(second: u64, verb: &str) -> String {
        format!("[[step]]\nat = \"{second}s\"\n{verb}\n")
    }

    #[test]
    fn a_cut_lasts_until_its_last_pair_is_healed() {
        let cut = step(5, r#"cut = [["a"], ["b", "c"]]"#);
        let heal = step(10, r#"heal = [["a"], ["b"]]"#);
        check(&format!("{cut}{heal}"), &[("cut", 5_000, Some(60_000), "cut a | b,c")]);
        let rest = step(20, r#"heal = [["a"], ["c"]]"#);
        check(&format!("{cut}{heal}{rest}"), &[("cut", 5_000, Some(20_000), "cut a | b,c")]);
    }

    #[test]
    fn nodes_that_come_back_at_two_times_have_two_bars() {
        let crash = step(5, r#"crash = ["a", "b"]"#);
        let (one, other) = (step(10, r#"restart = ["a"]"#), step(20, r#"restart = ["b"]"#));
        check(
            &format!("{crash}{one}{other}"),
            &[
                ("crash", 5_000, Some(10_000), "crash a"),
                ("crash", 5_000, Some(20_000), "crash b"),
                ("crash", 10_000, None, "restart a"),
                ("crash", 20_000, None, "restart b"),
            ],
        );
    }

    #[test]
    fn a_process_that_ends_ends_its_pause_and_its_stall() {
        let stall = step(1, r#"stall = { nodes = ["a"], activities = ["probe"] }"#);
        let (pause, crash) = (step(2, r#"pause = ["a"]"#), step(3, r#"crash = { nodes = ["a"], power = true }"#));
        check(
            &format!("{stall}{pause}{crash}"),
            &[
                ("stall", 1_000, Some(3_000), "stall (probe) a"),
                ("pause", 2_000, Some(3_000), "pause a"),
                ("crash", 3_000, Some(60_000), "power off a"),
            ],
        );
    }

    #[test]
    fn a_rule_about_links_lasts_until_the_next_one_about_them() {
        let (slow, fast) =
            (step(5, r#"link = { delay = "1s", loss = "0.5%" }"#), step(9, r#"link = { delay = "1ms..1.5ms" }"#));
        check(
            &format!("{slow}{fast}"),
            &[
                ("link", 5_000, Some(9_000), "link all -> all: delay 1000ms, loss 0.5%"),
                ("link", 9_000, Some(60_000), "link all -> all: delay 1ms..1.5ms"),
            ],
        );
    }
}
