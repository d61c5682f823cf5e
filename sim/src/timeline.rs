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
#[derive(Clone, Debug)]
pub struct Timeline {
    entries: Vec<(u64, Entry)>,
    room: usize,
    left_out: usize,
}

impl Timeline {
    pub(crate) const fn new() -> Self {
        Self::with_room(ENTRIES_MAX)
    }

    /// A timeline that keeps so many entries and counts the others.
    pub(crate) const fn with_room(room: usize) -> Self {
        Self { entries: Vec::new(), room, left_out: 0 }
    }

    pub(crate) fn add(&mut self, at: u64, entry: Entry) {
        if self.has_room() {
            self.entries.push((at, entry));
        } else {
            self.leave_out();
        }
    }

    /// Whether another entry is kept.
    pub(crate) const fn has_room(&self) -> bool {
        self.entries.len() < self.room
    }

    /// Counts an entry that is not kept.
    pub(crate) const fn leave_out(&mut self) {
        self.left_out += 1;
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

    /// The lines of the text.
    pub(crate) fn lines(&self, scenario: &Scenario) -> Vec<String> {
        self.told()
            .map(|told| {
                let who =
                    if told.hosts.is_empty() { String::new() } else { format!("{}: ", hosts(scenario, &told.hosts)) };
                let what = match told.what {
                    What::Step(text) | What::Reply(text) | What::Log(text) => text.to_owned(),
                    What::Shutdown(reason) => format!("asks to be stopped ({})", why(reason)),
                    What::Heard(texts) => few(&texts),
                    What::Member(kind, names) => format!("{} {}", short(&names), word(kind)),
                };
                format!("{:>9}  {who}{what}", Seconds(told.at))
            })
            .collect()
    }

    /// The entries as one tells of them: what several nodes have within one hundredth of a second stands together.
    pub(crate) fn told(&self) -> impl Iterator<Item = Told<'_>> {
        self.entries.chunk_by(|(one, _), (other, _)| one / 10_000_000 == other / 10_000_000).flat_map(moment)
    }
}

/// Something that happened at some nodes.
pub(crate) struct Told<'a> {
    /// The first time of its hundredth of a second.
    pub(crate) at: u64,
    /// The last one: by then all of it has happened.
    pub(crate) until: u64,
    /// Where; empty for a step.
    pub(crate) hosts: Vec<HostId>,
    pub(crate) what: What<'a>,
}

/// What happened.
pub(crate) enum What<'a> {
    Step(&'a str),
    Reply(&'a str),
    Log(&'a str),
    Shutdown(ShutdownReason),
    /// User events and queries.
    Heard(Vec<&'a str>),
    /// The same to each of these members.
    Member(MemberEventKind, Vec<&'a str>),
}

/// Puts together what belongs together: first by what happened, then by who tells of it.
fn moment(moment: &[(u64, Entry)]) -> Vec<Told<'_>> {
    let mut members: BTreeMap<(MemberEventKind, &str), Vec<HostId>> = BTreeMap::new();
    let mut order: Vec<(MemberEventKind, &str)> = Vec::new();
    let mut heard: Vec<(&str, Vec<HostId>)> = Vec::new();
    let (at, until) = (moment[0].0, moment[moment.len() - 1].0);
    let mut all = Vec::new();
    let mut tell = |hosts, what| all.push(Told { at, until, hosts, what });
    for (_, entry) in moment {
        match entry {
            Entry::Step { text } => tell(Vec::new(), What::Step(text)),
            Entry::Reply { host, text } => tell(vec![*host], What::Reply(text)),
            Entry::Log { host, text } => tell(vec![*host], What::Log(text)),
            Entry::Shutdown { host, reason } => tell(vec![*host], What::Shutdown(*reason)),
            Entry::Heard { host, text } => match heard.iter_mut().find(|(other, _)| other == text) {
                Some((_, hosts)) => hosts.push(*host),
                None => heard.push((text, vec![*host])),
            },
            Entry::Member { host, kind, name } => {
                let hosts = members.entry((*kind, name)).or_default();
                if hosts.is_empty() {
                    order.push((*kind, name));
                }
                hosts.push(*host);
            }
        }
    }
    let mut events: Vec<(Vec<HostId>, Vec<&str>)> = Vec::new();
    for (text, mut who) in heard {
        who.sort();
        match events.iter_mut().find(|(hosts, _)| *hosts == who) {
            Some((_, texts)) => texts.push(text),
            None => events.push((who, vec![text])),
        }
    }
    let mut merged: BTreeMap<(MemberEventKind, Vec<HostId>), Vec<&str>> = BTreeMap::new();
    for key in order {
        let mut who = members.remove(&key).unwrap_or_default();
        who.sort();
        merged.entry((key.0, who)).or_default().push(key.1);
    }
    all.extend(events.into_iter().map(|(hosts, texts)| Told { at, until, hosts, what: What::Heard(texts) }));
    all.extend(merged.into_iter().map(|((kind, hosts), names)| Told {
        at,
        until,
        hosts,
        what: What::Member(kind, names),
    }));
    all
}
