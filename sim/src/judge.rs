//! Expectations: what is counted on the way, and the verdicts.

use std::collections::{BTreeMap, BTreeSet};

use villein_core::event::{MemberEventKind, Status, UserEvent};
use villein_core::keyring::Key;
use villein_core::lamport::LamportTime;
use villein_core::log::Log;
use villein_core::node::MemberView;
use villein_core::types::{Name, Tags};

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
    /// Whether something did not come that was waited for; otherwise something came that must not.
    pub missing: bool,
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
    Events { kind: MemberEventKind, of: Option<BTreeSet<Name>> },
    Heard { query: bool, name: Option<String>, payload: Option<String> },
    Ordered { at: Vec<bool>, last: Vec<LamportTime> },
    Replies(String),
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
                Expectation::Sees(_) | Expectation::Converged | Expectation::Tags(_) | Expectation::Keys(_) => {
                    Counted::Nothing
                }
                Expectation::NeverSees(sees) => {
                    let mut by_name: BTreeMap<Name, Vec<Status>> = BTreeMap::new();
                    for (member, status) in sees {
                        by_name.entry(names[member.index()].clone()).or_default().push(*status);
                    }
                    Counted::Never { at: places(expect.at.as_deref(), names.len()), sees: by_name }
                }
                Expectation::Events { kind, of, .. } => {
                    let of = of.as_ref().map(|of| of.iter().map(|host| names[host.index()].clone()).collect());
                    Counted::Events { kind: *kind, of }
                }
                Expectation::Heard { query, name, payload, .. } => {
                    Counted::Heard { query: *query, name: name.clone(), payload: payload.clone() }
                }
                Expectation::Ordered => Counted::Ordered {
                    at: places(expect.at.as_deref(), names.len()),
                    last: vec![LamportTime(0); names.len()],
                },
                Expectation::Replies { contains, .. } => Counted::Replies(contains.clone()),
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
            if let Counted::Ordered { last, .. } = &mut watch.what {
                last.fill(LamportTime(0));
            }
        }
    }

    pub(crate) fn event(&mut self, now: u64, host: HostId, kind: MemberEventKind, name: &Name) {
        let own = &self.names[host.index()] == name;
        for watch in open(&mut self.watches, now) {
            if let Counted::Events { kind: wanted, of } = &watch.what
                && *wanted == kind
                && of.as_ref().map_or(!own, |of| of.contains(name))
            {
                watch.counts[host.index()] += 1;
            }
        }
    }

    pub(crate) fn user_event(&mut self, now: u64, host: HostId, event: &UserEvent) {
        self.heard(now, host, false, &event.name, &event.payload);
        let name = &self.names[host.index()];
        for watch in open(&mut self.watches, now) {
            let Counted::Ordered { at, last } = &mut watch.what else { continue };
            let before = std::mem::replace(&mut last[host.index()], event.ltime);
            if at[host.index()] && event.ltime < before && watch.spoiled.is_none() {
                let seen = format!("{name} gets an event of time {} after one of time {before}", event.ltime);
                watch.spoiled = Some((now, seen));
            }
        }
    }

    pub(crate) fn asked(&mut self, now: u64, host: HostId, name: &[u8]) {
        self.heard(now, host, true, name, &[]);
    }

    fn heard(&mut self, now: u64, host: HostId, is_query: bool, is_name: &[u8], is_payload: &[u8]) {
        for watch in open(&mut self.watches, now) {
            if let Counted::Heard { query, name, payload } = &watch.what
                && *query == is_query
                && name.as_ref().is_none_or(|name| name.as_bytes() == is_name)
                && payload.as_ref().is_none_or(|payload| payload.as_bytes() == is_payload)
            {
                watch.counts[host.index()] += 1;
            }
        }
    }

    pub(crate) fn reply(&mut self, now: u64, host: HostId, line: &str) {
        for watch in open(&mut self.watches, now) {
            if let Counted::Replies(text) = &watch.what
                && line.contains(text)
            {
                watch.counts[host.index()] += 1;
            }
        }
    }

    pub(crate) fn log(&mut self, now: u64, host: HostId, log: &Log) {
        for watch in open(&mut self.watches, now) {
            if let Counted::Logs(text) = &watch.what
                && log.to_string().contains(text)
            {
                watch.counts[host.index()] += 1;
            }
        }
    }

    pub(crate) fn shutdown(&mut self, now: u64, host: HostId) {
        for watch in open(&mut self.watches, now) {
            if matches!(watch.what, Counted::Shutdown) {
                watch.counts[host.index()] += 1;
            }
        }
    }

    /// Whether it matters what a node lists now.
    pub(crate) fn wants_view(&self, now: u64, host: HostId) -> bool {
        self.watches.iter().any(|watch| {
            let Counted::Never { at, .. } = &watch.what else { return false };
            (watch.from..=watch.by).contains(&now) && at[host.index()] && watch.spoiled.is_none()
        })
    }

    pub(crate) fn view(&mut self, now: u64, host: HostId, members: &[MemberView]) {
        for watch in open(&mut self.watches, now) {
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

/// The status that a listing, which is sorted, shows of a member.
pub(crate) fn status_of(members: &[MemberView], name: &Name) -> Status {
    let place = members.binary_search_by(|member| member.info.name.cmp(name));
    place.map_or(Status::None, |place| members[place].info.status)
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
                let expected = self.listed(&format!("from {} on, never to see", Seconds(expect.from)), sees);
                (expected, self.spoiled(place, &mut at))
            }
            Expectation::Ordered => {
                let expected = format!("from {} on, user events in the order of their times", Seconds(expect.from));
                (expected, self.spoiled(place, &mut at))
            }
            Expectation::Heard { query, name, payload, min, max } => {
                let what = if *query { "queries" } else { "user events" };
                let quoted =
                    |text: &Option<String>| text.as_ref().map_or_else(String::new, |text| format!(" \"{text}\""));
                let window = format!("between {} and {}", Seconds(expect.from), Seconds(expect.by));
                let expected = format!("{} {what}{}{} {window}", range(*min, *max), quoted(name), quoted(payload));
                (expected, self.miscounted(place, expect.at.as_deref(), *min, *max))
            }
            Expectation::Replies { contains, min, max } => {
                let window = format!("between {} and {}", Seconds(expect.from), Seconds(expect.by));
                let expected = format!("{} replies with \"{contains}\" {window}", range(*min, *max));
                (expected, self.miscounted(place, expect.at.as_deref(), *min, *max))
            }
            Expectation::Tags(members) => {
                let shown = members.iter().map(|(host, tags)| format!("{}:{}", self.scenario.name(*host), shown(tags)));
                let expected = format!("to see the tags {}", shown.collect::<Vec<_>>().join(", "));
                (expected, self.untagged(members, expect.at.as_deref()))
            }
            Expectation::Keys(words) => {
                (format!("the keys {}", words.join(", ")), self.wrong_keys(words, expect.at.as_deref()))
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
                let (line, missing) = (expect.line, self.is_missing(place));
                self.judge.unmet.push(Unmet { line, at, expected, seen, missing });
            }
        }
    }

    /// Whether an expectation that is not met waits for something, and did not get enough of it.
    fn is_missing(&self, place: usize) -> bool {
        let expect = &self.scenario.expects[place];
        match &expect.what {
            Expectation::NeverSees(_) | Expectation::Ordered => false,
            Expectation::Heard { max, .. }
            | Expectation::Events { max, .. }
            | Expectation::Replies { max, .. }
            | Expectation::Logs { max, .. } => self.miscounted(place, expect.at.as_deref(), 0, *max).is_none(),
            Expectation::Shutdown(nodes) => !nodes.is_empty(),
            Expectation::Sees(_) | Expectation::Converged | Expectation::Tags(_) | Expectation::Keys(_) => true,
        }
    }

    /// When and how something happened that must not.
    fn spoiled(&self, place: usize, at: &mut u64) -> Option<String> {
        let (when, seen) = self.judge.watches[place].spoiled.clone()?;
        *at = when;
        Some(seen)
    }

    /// The nodes that are looked at; without any said those that run.
    fn watchers(&self, at: Option<&[HostId]>) -> Vec<HostId> {
        match at {
            Some(hosts) => hosts.to_vec(),
            None => self.scenario.hosts().filter(|host| self.hosts[host.index()].node.is_some()).collect(),
        }
    }

    fn untagged(&self, wanted: &[(HostId, Tags)], at: Option<&[HostId]>) -> Option<String> {
        self.watchers(at).iter().find_map(|&host| {
            let name = self.scenario.name(host);
            let Some(node) = &self.hosts[host.index()].node else {
                return Some(format!("no process runs on {name}"));
            };
            wanted.iter().find_map(|(member, tags)| {
                let member = &self.hosts[member.index()].name;
                let Some(view) = node.member(member) else { return Some(format!("{name} does not list {member}")) };
                let seen = view.info.tags();
                (seen != *tags).then(|| format!("{name} sees {member}:{}", shown(&seen)))
            })
        })
    }

    fn wrong_keys(&self, words: &[String], at: Option<&[HostId]>) -> Option<String> {
        let wanted: Vec<Key> = words.iter().map(|word| crate::host::key(self.seed, word)).collect();
        self.watchers(at).iter().find_map(|&host| {
            let name = self.scenario.name(host);
            let Some(node) = &self.hosts[host.index()].node else {
                return Some(format!("no process runs on {name}"));
            };
            let word = |key: &Key| {
                let place = wanted.iter().position(|wanted| wanted.as_bytes() == key.as_bytes());
                place.map_or("another", |place| words[place].as_str())
            };
            let ring: Vec<&str> = node.keys().map(word).collect();
            let has_all = ring.len() == words.len() && words.iter().all(|word| ring.contains(&word.as_str()));
            let fits = has_all && ring.first().copied() == words.first().map(String::as_str);
            (!fits).then(|| format!("{name} has {}", if ring.is_empty() { "none".to_owned() } else { ring.join(", ") }))
        })
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
        self.watchers(at).iter().find_map(|&host| {
            let name = self.scenario.name(host);
            let Some(node) = &self.hosts[host.index()].node else {
                return Some(format!("no process runs on {name}"));
            };
            sees.iter().find_map(|(member, wanted)| {
                let member = &self.hosts[member.index()].name;
                let status = node.status(member);
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
}

/// The watches whose window is open.
fn open(watches: &mut [Watch], now: u64) -> impl Iterator<Item = &mut Watch> {
    watches.iter_mut().filter(move |watch| (watch.from..=watch.by).contains(&now))
}

/// Who of so many hosts is looked at.
fn places(at: Option<&[HostId]>, count: usize) -> Vec<bool> {
    let mut places = vec![at.is_none(); count];
    at.into_iter().flatten().for_each(|host| places[host.index()] = true);
    places
}

fn shown(tags: &Tags) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    tags.iter().map(|(key, value)| format!(" {}={}", text(key), text(value))).collect()
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
