//! Expectations: what is counted on the way, and the verdicts.

use std::collections::BTreeMap;

use villein_core::event::{MemberEventKind, Status};
use villein_core::log::Log;
use villein_core::node::MemberView;
use villein_core::types::Name;

use crate::scenario::{Expectation, HostId, Scenario};
use crate::units::Seconds;
use crate::world::World;

/// An expectation that is not met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// Its line in the scenario.
    pub line: usize,
    /// When it was judged, or when it became false.
    pub at: u64,
    /// What was expected.
    pub expected: String,
    /// What was seen instead.
    pub seen: String,
}

/// One expectation under way.
struct Watch {
    from: u64,
    by: u64,
    what: Counted,
    counts: Vec<u64>,
    /// The first time at which something happened that must never happen.
    spoiled: Option<(u64, String)>,
}

enum Counted {
    Nothing,
    Never { at: Vec<bool>, sees: BTreeMap<Name, Vec<Status>> },
    Events { kind: MemberEventKind, of: Option<Vec<Name>> },
    Logs(String),
    Shutdown,
}

/// Counts what expectations are about.
pub(crate) struct Judge {
    names: Vec<Name>,
    watches: Vec<Watch>,
    pub(crate) unmet: Vec<Unmet>,
    pub(crate) met: usize,
}

impl Judge {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let names: Vec<Name> = scenario.nodes.iter().map(|node| Name::from(node.name.as_str())).collect();
        let watches = scenario.expects.iter().map(|expect| {
            let what = match &expect.what {
                Expectation::Sees(_) | Expectation::Converged => Counted::Nothing,
                Expectation::NeverSees(sees) => {
                    let mut at = vec![expect.at.is_none(); names.len()];
                    expect.at.iter().flatten().for_each(|host| at[host.index()] = true);
                    let mut by_name: BTreeMap<Name, Vec<Status>> = BTreeMap::new();
                    for (member, status) in sees {
                        by_name.entry(names[member.index()].clone()).or_default().push(*status);
                    }
                    Counted::Never { at, sees: by_name }
                }
                Expectation::Events { kind, of, .. } => {
                    let of = of.as_ref().map(|of| of.iter().map(|host| names[host.index()].clone()).collect());
                    Counted::Events { kind: *kind, of }
                }
                Expectation::Logs { contains, .. } => Counted::Logs(contains.clone()),
                Expectation::Shutdown(_) => Counted::Shutdown,
            };
            Watch { from: expect.from, by: expect.by, what, counts: vec![0; names.len()], spoiled: None }
        });
        Self { watches: watches.collect(), names, unmet: Vec::new(), met: 0 }
    }

    /// Forgets what was counted before the scenario's own time began.
    pub(crate) fn clear(&mut self) {
        for watch in &mut self.watches {
            watch.counts.fill(0);
            watch.spoiled = None;
        }
    }

    pub(crate) fn event(&mut self, now: u64, host: HostId, kind: MemberEventKind, name: &Name) {
        let own = &self.names[host.index()] == name;
        for watch in self.watches.iter_mut().filter(|watch| (watch.from..=watch.by).contains(&now)) {
            if let Counted::Events { kind: wanted, of } = &watch.what
                && *wanted == kind
                && of.as_ref().map_or(!own, |of| of.contains(name))
            {
                watch.counts[host.index()] += 1;
            }
        }
    }

    pub(crate) fn log(&mut self, now: u64, host: HostId, log: &Log) {
        for watch in self.watches.iter_mut().filter(|watch| (watch.from..=watch.by).contains(&now)) {
            if let Counted::Logs(text) = &watch.what
                && log.to_string().contains(text)
            {
                watch.counts[host.index()] += 1;
            }
        }
    }

    pub(crate) fn shutdown(&mut self, now: u64, host: HostId) {
        for watch in self.watches.iter_mut().filter(|watch| (watch.from..=watch.by).contains(&now)) {
            if matches!(watch.what, Counted::Shutdown) {
                watch.counts[host.index()] += 1;
            }
        }
    }

    pub(crate) fn view(&mut self, now: u64, host: HostId, members: &[MemberView]) {
        for watch in self.watches.iter_mut().filter(|watch| (watch.from..=watch.by).contains(&now)) {
            let Counted::Never { at, sees } = &watch.what else { continue };
            if !at[host.index()] || watch.spoiled.is_some() {
                continue;
            }
            let bad = sees.iter().find_map(|(name, never)| {
                let status = status_of(members, name);
                never.contains(&status).then(|| (name.clone(), status))
            });
            if let Some((name, status)) = bad {
                watch.spoiled = Some((now, format!("{} sees {name} {status}", self.names[host.index()])));
            }
        }
    }
}

fn status_of(members: &[MemberView], name: &Name) -> Status {
    members.iter().find(|member| member.info.name == *name).map_or(Status::None, |member| member.info.status)
}

impl World<'_> {
    /// A window opens: what is seen now counts.
    pub(crate) fn open_window(&mut self, place: usize) {
        if matches!(self.scenario.expects[place].what, Expectation::NeverSees(_)) {
            for host in self.scenario.hosts() {
                if let Some(node) = &self.hosts[host.index()].node {
                    self.judge.view(self.now - self.zero, host, &node.members());
                }
            }
        }
    }

    /// Judges an expectation.
    pub(crate) fn verdict(&mut self, place: usize) {
        let expect = &self.scenario.expects[place];
        let now = self.now - self.zero;
        let mut at = now;
        let (expected, seen) = match &expect.what {
            Expectation::Sees(sees) => (self.listed("to see", sees), self.unseen(sees, expect.at.as_deref())),
            Expectation::NeverSees(sees) => {
                let spoiled = self.judge.watches[place].spoiled.clone();
                let expected = self.listed(&format!("from {} on, never to see", Seconds(expect.from)), sees);
                (
                    expected,
                    spoiled.map(|(when, seen)| {
                        at = when;
                        seen
                    }),
                )
            }
            Expectation::Events { kind, of, min, max } => {
                let about = of.as_ref().map_or_else(String::new, |of| format!(" of {}", self.named(of)));
                let window = format!("between {} and {}", Seconds(expect.from), Seconds(expect.by));
                let expected = format!("{} {kind}{about} {window}", range(*min, *max));
                (expected, self.miscounted(place, expect.at.as_deref(), *min, *max))
            }
            Expectation::Logs { contains, min, max } => {
                let window = format!("between {} and {}", Seconds(expect.from), Seconds(expect.by));
                let expected = format!("{} log lines with \"{contains}\" {window}", range(*min, *max));
                (expected, self.miscounted(place, expect.at.as_deref(), *min, *max))
            }
            Expectation::Shutdown(nodes) => {
                let expected = if nodes.is_empty() {
                    "no node to ask to be stopped".to_owned()
                } else {
                    format!("{} and nobody else to ask to be stopped", self.named(nodes))
                };
                (expected, self.wrong_shutdown(place, nodes))
            }
            Expectation::Converged => {
                ("all running nodes that reach each other to agree".to_owned(), self.disagreement())
            }
        };
        match seen {
            None => self.judge.met += 1,
            Some(seen) => {
                let line = expect.line;
                self.judge.unmet.push(Unmet { line, at, expected, seen });
            }
        }
    }

    fn named(&self, hosts: &[HostId]) -> String {
        crate::report::hosts(self.scenario, hosts)
    }

    fn listed(&self, verb: &str, sees: &[(HostId, Status)]) -> String {
        let parts: Vec<String> =
            sees.iter().take(8).map(|(host, status)| format!("{} {status}", self.scenario.name(*host))).collect();
        let more = if sees.len() > parts.len() { ", …" } else { "" };
        format!("{verb} {}{more}", parts.join(", "))
    }

    fn unseen(&self, sees: &[(HostId, Status)], at: Option<&[HostId]>) -> Option<String> {
        let hosts: Vec<HostId> = match at {
            Some(hosts) => hosts.to_vec(),
            None => self.scenario.hosts().filter(|host| self.hosts[host.index()].node.is_some()).collect(),
        };
        hosts.iter().find_map(|&host| {
            let name = self.scenario.name(host);
            let Some(node) = &self.hosts[host.index()].node else {
                return Some(format!("no process runs on {name}"));
            };
            let members = node.members();
            sees.iter().find_map(|(member, wanted)| {
                let member = &self.hosts[member.index()].name;
                let status = status_of(&members, member);
                (status != *wanted).then(|| format!("{name} sees {member} {status}"))
            })
        })
    }

    fn miscounted(&self, place: usize, at: Option<&[HostId]>, min: u64, max: u64) -> Option<String> {
        let all: Vec<HostId> = self.scenario.hosts().collect();
        let counts = &self.judge.watches[place].counts;
        at.unwrap_or(&all).iter().find_map(|host| {
            let count = counts[host.index()];
            (!(min..=max).contains(&count)).then(|| format!("{count} at {}", self.scenario.name(*host)))
        })
    }

    fn wrong_shutdown(&self, place: usize, wanted: &[HostId]) -> Option<String> {
        let counts = &self.judge.watches[place].counts;
        self.scenario.hosts().find_map(|host| {
            let asked = counts[host.index()] > 0;
            (asked != wanted.contains(&host))
                .then(|| format!("{} {}", self.scenario.name(host), if asked { "asked" } else { "did not ask" }))
        })
    }

    /// Whether a process runs and counts itself in: one that has left and stays is no member.
    fn is_member(&self, host: HostId) -> bool {
        let place = &self.hosts[host.index()];
        let left = |node: &villein_core::Node| status_of(&node.members(), &place.name) == Status::Left;
        place.runs() && !place.node.as_ref().is_some_and(left)
    }

    /// Why the running nodes do not agree, if they do not: in each part of the network that is connected, all list
    /// the same members with the same statuses, and each other as alive (protocol.md 5.5).
    pub(crate) fn disagreement(&self) -> Option<String> {
        let running: Vec<HostId> = self.scenario.hosts().filter(|host| self.is_member(*host)).collect();
        let mut part = vec![usize::MAX; self.hosts.len()];
        for (number, &host) in running.iter().enumerate() {
            if part[host.index()] != usize::MAX {
                continue;
            }
            let mut reached = vec![host];
            part[host.index()] = number;
            while let Some(here) = reached.pop() {
                for &other in &running {
                    let open = !self.network.is_cut(here, other) && !self.network.is_cut(other, here);
                    if open && part[other.index()] == usize::MAX {
                        part[other.index()] = number;
                        reached.push(other);
                    }
                }
            }
        }
        // Every node of a part is compared with the part's first one.
        let mut first: BTreeMap<usize, (HostId, Vec<(Name, Status)>)> = BTreeMap::new();
        for &host in &running {
            let Some(node) = &self.hosts[host.index()].node else { continue };
            let own: Vec<(Name, Status)> =
                node.members().into_iter().map(|member| (member.info.name, member.info.status)).collect();
            let (other, theirs) = first.entry(part[host.index()]).or_insert_with(|| (host, own.clone()));
            if let Some(seen) = difference(self.scenario.name(host), &own, self.scenario.name(*other), theirs) {
                return Some(seen);
            }
        }
        running.iter().find_map(|&host| {
            let (watcher, listed) = first.get(&part[host.index()])?;
            let name = &self.hosts[host.index()].name;
            let status = listed.iter().find(|(member, _)| member == name).map_or(Status::None, |(_, status)| *status);
            (status != Status::Alive).then(|| format!("{} sees {name} {status}", self.scenario.name(*watcher)))
        })
    }
}

/// Who is gone is not told to newcomers (a dead message about an unknown name is dropped), so to have forgotten or never
/// heard of a member agrees with "left" and "failed".
fn difference(one: &str, left: &[(Name, Status)], other: &str, right: &[(Name, Status)]) -> Option<String> {
    if left == right {
        return None;
    }
    let status = |list: &[(Name, Status)], name: &Name| {
        list.iter().find(|(member, _)| member == name).map_or(Status::None, |(_, status)| *status)
    };
    let agree = |here, there| match (here, there) {
        (Status::None, Status::Left | Status::Failed) | (Status::Left | Status::Failed, Status::None) => true,
        (here, there) => here == there,
    };
    left.iter().chain(right).find_map(|(name, _)| {
        let (here, there) = (status(left, name), status(right, name));
        (!agree(here, there)).then(|| format!("{one} sees {name} {here}, {other} sees it {there}"))
    })
}

fn range(min: u64, max: u64) -> String {
    match (min, max) {
        (0, 0) => "no".to_owned(),
        (min, u64::MAX) => format!("at least {min}"),
        (0, max) => format!("at most {max}"),
        (min, max) if min == max => format!("exactly {min}"),
        (min, max) => format!("{min} to {max}"),
    }
}
