//! The timeline: what happened, in order.

use std::collections::BTreeMap;

use villein_core::event::{MemberEventKind, ShutdownReason};

use crate::report::{few, hosts, short, why, word};
use crate::scenario::{HostId, Scenario};
use crate::units::Seconds;

/// The timeline keeps so many entries; a run of a thousand nodes has a million, and nobody reads them.
const ENTRIES_MAX: usize = 20_000;

/// Something that the timeline tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A step of the scenario.
    Step {
        /// What it does.
        text: String,
    },
    /// A node tells of a member.
    Member {
        /// Which node.
        host: HostId,
        /// What happened.
        kind: MemberEventKind,
        /// To whom.
        name: String,
    },
    /// A node gets a user event or a query.
    Heard {
        /// Which node.
        host: HostId,
        /// What it gets.
        text: String,
    },
    /// A command was answered.
    Reply {
        /// Where.
        host: HostId,
        /// Command and answer.
        text: String,
    },
    /// A node asked to be stopped.
    Shutdown {
        /// Which one.
        host: HostId,
        /// Why.
        reason: ShutdownReason,
    },
    /// A log line of the level that the scenario asks for, or above it.
    Log {
        /// Whose.
        host: HostId,
        /// Level and text.
        text: String,
    },
}

/// What happened, in order.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    entries: Vec<(u64, Entry)>,
    left_out: usize,
}

impl Timeline {
    pub(crate) const fn new() -> Self {
        Self { entries: Vec::new(), left_out: 0 }
    }

    pub(crate) fn add(&mut self, at: u64, entry: Entry) {
        if self.entries.len() < ENTRIES_MAX {
            self.entries.push((at, entry));
        } else {
            self.left_out += 1;
        }
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.left_out = 0;
    }

    /// Every entry with its time in nanoseconds.
    pub fn entries(&self) -> &[(u64, Entry)] {
        &self.entries
    }

    /// How many entries found no room.
    pub(crate) const fn left_out(&self) -> usize {
        self.left_out
    }

    /// The lines of the text: events that several nodes have within one hundredth of a second stand together.
    pub(crate) fn lines(&self, scenario: &Scenario) -> Vec<String> {
        let mut lines = Vec::new();
        for moment in self.entries.chunk_by(|(one, _), (other, _)| one / 10_000_000 == other / 10_000_000) {
            let at = Seconds(moment[0].0);
            let mut group: Vec<(MemberEventKind, &str, Vec<HostId>)> = Vec::new();
            let mut heard: Vec<(&str, Vec<HostId>)> = Vec::new();
            let mut rest = Vec::new();
            for (_, entry) in moment {
                match entry {
                    Entry::Step { text } => rest.push(text.clone()),
                    Entry::Reply { host, text } | Entry::Log { host, text } => {
                        rest.push(format!("{}: {text}", scenario.name(*host)));
                    }
                    Entry::Shutdown { host, reason } => {
                        rest.push(format!("{}: asks to be stopped ({})", scenario.name(*host), why(*reason)));
                    }
                    Entry::Heard { host, text } => match heard.iter_mut().find(|(other, _)| other == text) {
                        Some((_, hosts)) => hosts.push(*host),
                        None => heard.push((text, vec![*host])),
                    },
                    Entry::Member { host, kind, name } => {
                        match group.iter_mut().find(|(other, about, _)| other == kind && about == name) {
                            Some((.., hosts)) => hosts.push(*host),
                            None => group.push((*kind, name, vec![*host])),
                        }
                    }
                }
            }
            let mut told: Vec<(Vec<HostId>, Vec<&str>)> = Vec::new();
            for (text, mut who) in heard {
                who.sort();
                match told.iter_mut().find(|(hosts, _)| *hosts == who) {
                    Some((_, texts)) => texts.push(text),
                    None => told.push((who, vec![text])),
                }
            }
            let heard = told.iter().map(|(who, texts)| format!("{}: {}", hosts(scenario, who), few(texts)));
            let mut merged: BTreeMap<(MemberEventKind, Vec<HostId>), Vec<&str>> = BTreeMap::new();
            for (kind, name, mut who) in group {
                who.sort();
                merged.entry((kind, who)).or_default().push(name);
            }
            let members = merged
                .iter()
                .map(|((kind, who), names)| format!("{}: {} {}", hosts(scenario, who), short(names), word(*kind)));
            lines.extend(rest.into_iter().chain(heard).chain(members).map(|text| format!("{at:>9}  {text}")));
        }
        lines
    }
}
