//! What went wrong on purpose, counted; and a warning for what was meant to go wrong and never did.

use serde_json::{Value, json};

use crate::scenario::{Block, DiskFault, Link, Scenario, Verb};

/// Declares the counters once: their names in the report are those of the fields.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// How often each fault happened.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Faults {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Faults {
            /// Names and counts in the order of the report.
            pub const fn list(&self) -> [(&'static str, u64); [$(stringify!($name)),*].len()] {
                [$((stringify!($name), self.$name)),*]
            }

            /// Adds the counts of another run.
            pub const fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

counters! {
    /// Datagrams sent, for comparison.
    packets,
    /// Datagrams lost on their way.
    lost,
    /// Datagrams that came twice.
    duplicated,
    /// Datagrams that were held back.
    reordered,
    /// Datagrams held up with all others of their link, to come at once.
    clogged,
    /// Datagrams with turned bits.
    corrupted,
    /// Datagrams of which the end is missing.
    truncated,
    /// Datagrams that were larger than their link lets through.
    oversized,
    /// Datagrams and stream segments that a cut stopped, in flight ones too.
    cut,
    /// Datagrams on links that let only streams through.
    udp_blocked,
    /// Stream segments on links that let only datagrams through.
    tcp_blocked,
    /// Datagrams for a host or process that is down or for no host.
    undeliverable,
    /// Datagrams dropped because a frozen process did not read them.
    overflowed,
    /// Forged datagrams of somebody who has the key.
    forged,
    /// Streams opened, for comparison.
    streams,
    /// Stream segments sent again after a loss or into a cut.
    resent,
    /// Connections refused.
    refused,
    /// Streams reset.
    resets,
    /// Streams that timed out.
    timeouts,
    /// Processes or hosts that crashed.
    crashes,
    /// Processes that started again.
    restarts,
    /// Processes that started under a name that was another host's, so at another address.
    moved,
    /// Processes that started under another name than the one before them on their host.
    renamed,
    /// Processes that were frozen.
    pauses,
    /// Clocks that were set forward.
    clock_steps,
    /// Datagrams and stream actions that a closed gate held back.
    stalled,
    /// Datagrams that could not even be sent.
    unsent,
    /// Records that found no room on a disk.
    unwritten,
    /// Records that a slow disk took long for.
    slow_writes,
    /// Records that were on their way to the disk when their process ended.
    lost_writes,
    /// Records of which a loss of power left a part on the disk.
    torn_writes,
    /// Names that the name server knew nothing of, or said it could not look up.
    unresolved,
    /// Names for which the name server gave an address where no process runs.
    misresolved,
    /// Nodes replaced by their own checkpoint.
    restores,
}

impl Faults {
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
        let asked = |of: fn(&Link) -> crate::units::Chance| links.iter().any(|link| of(link).is_possible());
        let link = |of: fn(&Link) -> bool| links.iter().any(of);
        let step = |of: fn(&Verb) -> bool| scenario.steps.iter().any(|step| of(&step.verb));
        [
            ("loss", asked(|link| link.loss), self.lost),
            ("duplicate", asked(|link| link.duplicate), self.duplicated),
            ("reorder", asked(|link| link.reorder), self.reordered),
            ("corrupt", asked(|link| link.corrupt), self.corrupted),
            ("truncate", asked(|link| link.truncate), self.truncated),
            ("refuse", asked(|link| link.refuse), self.refused),
            ("reset", asked(|link| link.reset), self.resets),
            ("cut", step(|verb| matches!(verb, Verb::Cut { .. } | Verb::CutOneWay { .. })), self.cut),
            ("crash", step(|verb| matches!(verb, Verb::Crash { .. })), self.crashes),
            ("restart", step(|verb| matches!(verb, Verb::Restart { .. })), self.restarts),
            ("pause", step(|verb| matches!(verb, Verb::Pause(_))), self.pauses),
            ("unplug", step(|verb| matches!(verb, Verb::Unplug(_))), self.unsent),
            ("clog", link(|link| link.clog > 0), self.clogged),
            ("mtu", link(|link| link.mtu.is_some()), self.oversized),
            ("block = \"udp\"", link(|link| link.block == Block::Datagrams), self.udp_blocked),
            ("block = \"tcp\"", link(|link| link.block == Block::Streams), self.tcp_blocked),
            ("clock", step(|verb| matches!(verb, Verb::Clock { .. })), self.clock_steps),
            ("forge", step(|verb| matches!(verb, Verb::Forge { .. })), self.forged),
            ("disk_slow", step(|verb| matches!(verb, Verb::Disk { disk: DiskFault::Slow(_), .. })), self.slow_writes),
            ("disk_full", step(|verb| matches!(verb, Verb::Disk { disk: DiskFault::Full, .. })), self.unwritten),
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
