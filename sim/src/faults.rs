//! What went wrong on purpose, counted; and a warning for what was meant to go wrong and never did.

use serde_json::{Value, json};

use crate::scenario::{Scenario, Verb};

/// How often each fault happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Datagrams sent, for comparison.
    pub packets: u64,
    /// Datagrams lost on their way.
    pub lost: u64,
    /// Datagrams that came twice.
    pub duplicated: u64,
    /// Datagrams that were held back.
    pub reordered: u64,
    /// Datagrams with turned bits.
    pub corrupted: u64,
    /// Datagrams that a cut stopped, in flight ones too.
    pub cut: u64,
    /// Datagrams for a host or process that is down or for no host.
    pub undeliverable: u64,
    /// Datagrams dropped because a frozen process did not read them.
    pub overflowed: u64,
    /// Streams opened, for comparison.
    pub streams: u64,
    /// Stream segments sent again after a loss or into a cut.
    pub resent: u64,
    /// Connections refused.
    pub refused: u64,
    /// Streams reset.
    pub resets: u64,
    /// Streams that timed out.
    pub timeouts: u64,
    /// Processes or hosts that crashed.
    pub crashes: u64,
    /// Processes that started again.
    pub restarts: u64,
    /// Processes that were frozen.
    pub pauses: u64,
    /// Datagrams and stream actions that a closed gate held back.
    pub stalled: u64,
    /// Datagrams that could not even be sent.
    pub unsent: u64,
    /// Records that found no room on a disk.
    pub unwritten: u64,
    /// Nodes replaced by their own checkpoint.
    pub restores: u64,
}

impl Faults {
    /// Names and counts in the order of the report.
    pub const fn list(&self) -> [(&'static str, u64); 20] {
        [
            ("packets", self.packets),
            ("lost", self.lost),
            ("duplicated", self.duplicated),
            ("reordered", self.reordered),
            ("corrupted", self.corrupted),
            ("cut", self.cut),
            ("undeliverable", self.undeliverable),
            ("overflowed", self.overflowed),
            ("streams", self.streams),
            ("resent", self.resent),
            ("refused", self.refused),
            ("resets", self.resets),
            ("timeouts", self.timeouts),
            ("crashes", self.crashes),
            ("restarts", self.restarts),
            ("pauses", self.pauses),
            ("stalled", self.stalled),
            ("unsent", self.unsent),
            ("unwritten", self.unwritten),
            ("restores", self.restores),
        ]
    }

    /// Adds the counts of another run.
    pub const fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.corrupted += other.corrupted;
        self.cut += other.cut;
        self.undeliverable += other.undeliverable;
        self.overflowed += other.overflowed;
        self.streams += other.streams;
        self.resent += other.resent;
        self.refused += other.refused;
        self.resets += other.resets;
        self.timeouts += other.timeouts;
        self.crashes += other.crashes;
        self.restarts += other.restarts;
        self.pauses += other.pauses;
        self.stalled += other.stalled;
        self.unsent += other.unsent;
        self.unwritten += other.unwritten;
        self.restores += other.restores;
    }

    /// One line of text: what never happened is left out.
    pub fn line(&self) -> String {
        let parts: Vec<String> =
            self.list().iter().filter(|(_, count)| *count > 0).map(|(name, count)| format!("{name} {count}")).collect();
        parts.join(", ")
    }

    /// One JSON object with every count.
    pub fn json(&self, t_ns: u64) -> Value {
        let mut line = json!({ "t_ns": t_ns, "kind": "faults" });
        for (name, count) in self.list() {
            line[name] = count.into();
        }
        line
    }

    /// What the scenario asks for and never came.
    pub fn silent(&self, scenario: &Scenario) -> Vec<String> {
        let stepped = scenario.steps.iter().filter_map(|step| rule(&step.verb));
        let mut links = vec![scenario.link];
        for rule in scenario.rules.iter().chain(stepped) {
            let mut link = scenario.link;
            rule.apply(&mut link);
            links.push(link);
        }
        let asked =
            |of: fn(&crate::scenario::Link) -> crate::units::Chance| links.iter().any(|link| of(link).is_possible());
        let step = |of: fn(&Verb) -> bool| scenario.steps.iter().any(|step| of(&step.verb));
        [
            ("loss", asked(|link| link.loss), self.lost),
            ("duplicate", asked(|link| link.duplicate), self.duplicated),
            ("reorder", asked(|link| link.reorder), self.reordered),
            ("corrupt", asked(|link| link.corrupt), self.corrupted),
            ("refuse", asked(|link| link.refuse), self.refused),
            ("reset", asked(|link| link.reset), self.resets),
            ("cut", step(|verb| matches!(verb, Verb::Cut { .. } | Verb::CutOneWay { .. })), self.cut),
            ("crash", step(|verb| matches!(verb, Verb::Crash { .. })), self.crashes),
            ("restart", step(|verb| matches!(verb, Verb::Restart { .. })), self.restarts),
            ("pause", step(|verb| matches!(verb, Verb::Pause(_))), self.pauses),
            ("unplug", step(|verb| matches!(verb, Verb::Unplug(_))), self.unsent),
            ("disk_full", step(|verb| matches!(verb, Verb::Disk { full: true, .. })), self.unwritten),
            ("stall", step(|verb| matches!(verb, Verb::Stall { .. })), self.stalled),
        ]
        .into_iter()
        .filter(|&(_, asked, count)| asked && count == 0)
        .map(|(name, ..)| format!("warning: the scenario asks for {name}, but it never happened"))
        .collect()
    }
}

const fn rule(verb: &Verb) -> Option<&crate::scenario::LinkRule> {
    if let Verb::Link(rule) = verb { Some(rule) } else { None }
}
