//! What a scenario that waits for something must keep: otherwise the smallest scenario in which it does not come is one in
//! which it cannot come.

use std::collections::{BTreeMap, BTreeSet};

use crate::network::Network;
use crate::scenario::{Block, DiskFault, HostId, Link, NodeSpec, Scenario, Start, Verb, across};

/// What must not be taken away.
pub(super) struct Needs {
    start: Start,
    /// What is still wrong when all steps are done.
    standing: BTreeSet<String>,
    /// What operators do to bring it about, and where.
    deeds: BTreeSet<(String, String)>,
    nodes: BTreeMap<String, NodeSpec>,
    expected: String,
}

impl Needs {
    /// What `scenario` has, of which nothing may be missing in a smaller one.
    pub(super) fn of(scenario: &Scenario, expected: &str) -> Self {
        Self {
            start: scenario.start,
            standing: standing(scenario),
            deeds: deeds(scenario, expected),
            nodes: scenario.nodes.iter().map(|node| (node.name.clone(), node.clone())).collect(),
            expected: expected.to_owned(),
        }
    }

    /// Whether a smaller scenario still ends its faults, is told what is waited for, and has the same means.
    pub(super) fn are_met_by(&self, scenario: &Scenario) -> bool {
        let now = deeds(scenario, &self.expected);
        let is_here = |name: &String| scenario.nodes.iter().any(|node| node.name == *name);
        let kinds: BTreeSet<&String> = now.iter().map(|(what, _)| what).collect();
        self.start == scenario.start
            && self.deeds.iter().all(|(what, _)| kinds.contains(what))
            && standing(scenario).is_subset(&self.standing)
            && self.deeds.iter().all(|deed| !is_here(&deed.1) || now.contains(deed))
            && scenario.nodes.iter().all(|node| self.nodes.get(&node.name).is_some_and(|before| means(before, node)))
    }
}

/// Whether a node finds the others as soon as before, by the same means.
fn means(before: &NodeSpec, now: &NodeSpec) -> bool {
    before.swim.push_pull_interval == now.swim.push_pull_interval
        && before.serf.reconnect_interval == now.serf.reconnect_interval
        && before.serf.retry_join.is_some() == now.serf.retry_join.is_some()
        && before.down == now.down
}

/// Commands without which nothing would be waited for, and where they are given.
fn deeds(scenario: &Scenario, expected: &str) -> BTreeSet<(String, String)> {
    let mut deeds = BTreeSet::new();
    for step in &scenario.steps {
        let (what, nodes) = match &step.verb {
            Verb::Join { nodes, .. } => ("join".to_owned(), nodes),
            Verb::Rejoin(nodes) => ("rejoin".to_owned(), nodes),
            Verb::Event { nodes, name, .. } if expected.contains(&format!("\"{name}\"")) => {
                (format!("event {name}"), nodes)
            }
            Verb::Query { nodes, question } => (format!("query {}", String::from_utf8_lossy(&question.name)), nodes),
            Verb::Tags { nodes, .. } if expected.contains("tags") => ("tags".to_owned(), nodes),
            Verb::Key { nodes, operation } if expected.contains("key") => (format!("{operation:?}"), nodes),
            _ => continue,
        };
        deeds.extend(nodes.iter().map(|node| (what.clone(), scenario.name(*node).to_owned())));
    }
    deeds
}

/// What is still wrong when all steps are done, in words that mean the same in a smaller scenario.
fn standing(scenario: &Scenario) -> BTreeSet<String> {
    let mut faults = BTreeSet::new();
    let mut network = Network::new(scenario.seed, scenario.nodes.len(), Link::PERFECT);
    network.begin(scenario.link, &scenario.rules);
    for step in &scenario.steps {
        match &step.verb {
            Verb::Cut { groups, .. } => across(groups).for_each(|(from, to)| network.cut(from, to)),
            Verb::CutOneWay { from, to } => {
                for from in from {
                    to.iter().for_each(|to| network.cut(*from, *to));
                }
            }
            Verb::Heal(None) => network.heal_all(),
            Verb::Heal(Some(groups)) => across(groups).for_each(|(from, to)| network.heal(from, to)),
            Verb::Crash { nodes, .. } => mark(scenario, &mut faults, nodes, "down", true),
            Verb::Leave { nodes, .. } => mark(scenario, &mut faults, nodes, "out", true),
            Verb::Restart { nodes, .. } => {
                mark(scenario, &mut faults, nodes, "down", false);
                mark(scenario, &mut faults, nodes, "out", false);
            }
            Verb::Rejoin(nodes) => mark(scenario, &mut faults, nodes, "out", false),
            Verb::Pause(nodes) => mark(scenario, &mut faults, nodes, "paused", true),
            Verb::Resume(nodes) => mark(scenario, &mut faults, nodes, "paused", false),
            Verb::Unplug(nodes) => mark(scenario, &mut faults, nodes, "unplugged", true),
            Verb::Plug(nodes) => mark(scenario, &mut faults, nodes, "unplugged", false),
            Verb::Disk { nodes, disk } => mark(scenario, &mut faults, nodes, "disk", *disk != DiskFault::None),
            Verb::Stall { nodes, .. } => mark(scenario, &mut faults, nodes, "stalled", true),
            Verb::Unstall { nodes, .. } => mark(scenario, &mut faults, nodes, "stalled", false),
            Verb::Link(rule) => network.add_rule(rule),
            Verb::Join { .. }
            | Verb::ForceLeave { .. }
            | Verb::Event { .. }
            | Verb::Query { .. }
            | Verb::Tags { .. }
            | Verb::Key { .. }
            | Verb::Clock { .. }
            | Verb::Forge { .. }
            | Verb::Dns(_) => {}
        }
    }
    for from in scenario.hosts() {
        for to in scenario.hosts().filter(|to| *to != from) {
            let ends = format!("{} {}", scenario.name(from), scenario.name(to));
            let wrong = wrongs(network.link(from, to)).chain(network.is_cut(from, to).then_some("cut"));
            faults.extend(wrong.map(|what| format!("{what} {ends}")));
        }
    }
    faults
}

/// What is wrong with a link.
fn wrongs(link: Link) -> impl Iterator<Item = &'static str> {
    let all = [
        ("loss", link.loss.is_possible()),
        ("duplicate", link.duplicate.is_possible()),
        ("reorder", link.reorder.is_possible()),
        ("corrupt", link.corrupt.is_possible()),
        ("truncate", link.truncate.is_possible()),
        ("refuse", link.refuse.is_possible()),
        ("reset", link.reset.is_possible()),
        ("mtu", link.mtu.is_some()),
        ("clog", link.clog > 0),
        ("block", link.block != Block::Nothing),
    ];
    all.into_iter().filter_map(|(what, is_wrong)| is_wrong.then_some(what))
}

fn mark(scenario: &Scenario, faults: &mut BTreeSet<String>, nodes: &[HostId], what: &str, is_wrong: bool) {
    for node in nodes {
        let fault = format!("{what} {}", scenario.name(*node));
        if is_wrong { _ = faults.insert(fault) } else { _ = faults.remove(&fault) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "[run]\nuntil = \"60s\"\n[cluster]\nnodes = [\"a\", \"b\", \"c\"]\nretry_join = { targets = [\"a\"] }\n";

    fn scenario(steps: &str) -> Scenario {
        Scenario::parse("test.toml", &format!("{HEAD}{steps}")).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_fault_may_go_with_its_end_and_not_without_it() {
        let cut = "[[step]]\nat = \"5s\"\ncut = [[\"a\"], [\"b\", \"c\"]]\n";
        let heal = "[[step]]\nat = \"9s\"\nheal = \"all\"\n";
        let needs = Needs::of(&scenario(&[cut, heal].concat()), "all to agree");
        assert!(needs.are_met_by(&scenario(&[cut, heal].concat())));
        assert!(needs.are_met_by(&scenario(heal)) && needs.are_met_by(&scenario("")));
        assert!(!needs.are_met_by(&scenario(cut)));
    }

    #[test]
    fn a_bad_link_ends_where_and_when_it_did() {
        let rule = "[[link]]\nfrom = [\"a\"]\nto = [\"b\"]\nloss = \"50%\"\n";
        let good = "[[step]]\nat = \"9s\"\nlink = { loss = \"0%\" }\n";
        let needs = Needs::of(&scenario(&[rule, good].concat()), "all to agree");
        assert!(needs.are_met_by(&scenario(&[rule, good].concat())) && needs.are_met_by(&scenario("")));
        assert!(!needs.are_met_by(&scenario(rule)));
        let needs = Needs::of(&scenario(rule), "all to agree");
        assert!(needs.are_met_by(&scenario(rule)));
        assert!(!needs.are_met_by(&scenario(&rule.replace("[\"b\"]", "[\"c\"]"))));
    }

    #[test]
    fn what_is_waited_for_is_still_said() {
        let say = "[[step]]\nat = \"9s\"\nevent = { nodes = [\"a\"], name = \"calm\" }\n";
        let other = "[[step]]\nat = \"9s\"\nevent = { nodes = [\"a\"], name = \"storm\" }\n";
        let needs = Needs::of(&scenario(&[say, other].concat()), "exactly  user events \"calm\"");
        assert!(needs.are_met_by(&scenario(say)));
        assert!(!needs.are_met_by(&scenario(other)));
    }

    #[test]
    fn the_means_to_find_together_stay() {
        let needs = Needs::of(&scenario(""), "all to agree");
        let alone = HEAD.replace("retry_join = { targets = [\"a\"] }\n", "");
        assert!(!needs.are_met_by(&Scenario::parse("test.toml", &alone).expect("a scenario")));
    }
}
