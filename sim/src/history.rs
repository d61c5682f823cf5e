//! What a play leaves for the report that one looks at: who believed what of whom and since when, how well each node
//! was, what went over the network, and how far events had come.
//!
//! The world has a history only when a report is asked for. It looks and counts, and never draws or changes anything.
//! Whoever plays owns it, so that it is still there when the core panics.

use std::collections::BTreeMap;

use villein_core::event::{QueryKey, Status, UserEvent};
use villein_core::node::MemberView;
use villein_core::types::Name;
use villein_core::wire::SwimState;

use crate::scenario::{HostId, Scenario};
use crate::timeline::{Entry, Timeline};

/// Every pair of nodes is looked at once a simulated second, and is a cell on the page.
pub const NODES_MAX: usize = 1_000;
/// Changes of belief that are kept: at eight bytes each on the page.
const CHANGES_MAX: usize = 3_000_000;
const ENTRIES_MAX: usize = 200_000;
const HEALTH_MAX: usize = 500_000;
const SPREADS_MAX: usize = 1_000;
const HEARD_MAX: usize = 500_000;
/// How many intervals of traffic a page shows at the most.
const INTERVALS_MAX: u64 = 600;
/// How often a node of a large cluster is looked at besides at its events.
const LOOK_EVERY: u64 = 1_000_000_000;

const MILLISECOND: u64 = 1_000_000;

/// What one node believes of another, as the page knows it by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Belief {
    /// Nothing.
    #[default]
    Unknown = 0,
    /// A member that answers.
    Alive = 1,
    /// A member that does not answer and may still refute it.
    Suspect = 2,
    /// A member that is about to leave.
    Leaving = 3,
    /// Gone on purpose.
    Left = 4,
    /// Gone without a word.
    Failed = 5,
}

impl Belief {
    fn of(member: &MemberView) -> Self {
        match (member.info.status, member.state) {
            (Status::Alive | Status::Leaving, Some(SwimState::Suspect)) => Self::Suspect,
            (Status::Alive, _) => Self::Alive,
            (Status::Leaving, _) => Self::Leaving,
            (Status::Left, _) => Self::Left,
            (Status::Failed, _) => Self::Failed,
            (Status::None, _) => Self::Unknown,
        }
    }
}

/// What became of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Process {
    /// There is none; what it believed is gone.
    #[default]
    Down,
    /// It runs.
    Up,
    /// It is frozen.
    Frozen,
}

/// Something that changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// What a node believes of a member.
    Belief { of: u32, belief: Belief, incarnation: u32 },
    /// The node's own process.
    Process(Process),
}

/// What one node was seen with last.
#[derive(Debug)]
struct Watched {
    process: Process,
    beliefs: Vec<(Belief, u32)>,
    health: u8,
    next: u64,
}

/// Packets, their bytes, and bytes written into streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) stream_bytes: u64,
}

/// A user event or query, and who has got it when.
#[derive(Debug)]
pub(crate) struct Spread {
    pub(crate) text: String,
    /// Times in milliseconds.
    pub(crate) heard: Vec<(u64, HostId)>,
}

/// How much found no room.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LeftOut {
    pub(crate) changes: u64,
    pub(crate) health: u64,
    pub(crate) heard: u64,
}

/// A history; times are milliseconds of the scenario's own time.
#[derive(Debug)]
pub struct History {
    places: BTreeMap<Name, u32>,
    watched: Vec<Watched>,
    /// Length of an interval of traffic, in milliseconds.
    pub(crate) interval: u64,
    pub(crate) changes: Vec<(u64, HostId, Change)>,
    /// Local health scores.
    pub(crate) health: Vec<(u64, HostId, u8)>,
    /// Names under which hosts run that are not their own.
    pub(crate) aliases: Vec<(u64, HostId, String)>,
    pub(crate) traffic: Vec<Traffic>,
    pub(crate) spreads: Vec<Spread>,
    spread_of: BTreeMap<(bool, u64, u64, String), usize>,
    heard: usize,
    pub(crate) timeline: Timeline,
    /// The last time of which anything is known.
    pub(crate) end: u64,
    pub(crate) left_out: LeftOut,
    has_begun: bool,
}

impl History {
    /// An empty history; `None`: the cluster is larger than [`NODES_MAX`].
    pub fn new(scenario: &Scenario) -> Option<Self> {
        let names = scenario.hosts().map(|host| (Name::from(scenario.name(host)), host.0));
        let count = scenario.nodes.len();
        (count <= NODES_MAX).then(|| Self {
            places: names.collect(),
            watched: scenario.hosts().map(|_| Watched::new(count)).collect(),
            interval: interval(scenario.until / MILLISECOND),
            changes: Vec::new(),
            health: Vec::new(),
            aliases: Vec::new(),
            traffic: Vec::new(),
            spreads: Vec::new(),
            spread_of: BTreeMap::new(),
            heard: 0,
            timeline: Timeline::with_room(ENTRIES_MAX),
            end: 0,
            left_out: LeftOut::default(),
            has_begun: false,
        })
    }

    /// The scenario's own time begins, and with it the history.
    pub(crate) fn begin(&mut self) {
        let count = self.watched.len();
        self.watched.iter_mut().for_each(|watched| *watched = Watched::new(count));
        self.changes.clear();
        self.health.clear();
        self.aliases.clear();
        self.traffic.clear();
        self.spreads.clear();
        self.spread_of.clear();
        self.heard = 0;
        self.timeline.clear();
        self.end = 0;
        self.left_out = LeftOut::default();
        self.has_begun = true;
    }

    /// Whether a node of a large cluster should be looked at again. Nobody looks while the cluster forms.
    pub(crate) fn is_due(&self, now: u64, host: HostId) -> bool {
        self.has_begun && now >= self.watched[host.index()].next
    }

    /// What a node lists, all of it, sorted by name.
    pub(crate) fn view(&mut self, now: u64, host: HostId, members: &[MemberView], health: u8) {
        let mut beliefs = vec![(Belief::Unknown, 0); self.watched.len()];
        // Both are sorted by name.
        let mut members = members.iter().peekable();
        for (name, &place) in &self.places {
            while members.next_if(|member| member.info.name < *name).is_some() {}
            if let Some(member) = members.next_if(|member| member.info.name == *name) {
                beliefs[place as usize] = (Belief::of(member), member.incarnation.0);
            }
        }
        for (place, belief) in (0..).zip(beliefs) {
            self.believe(now, host, place, belief);
        }
        let watched = &mut self.watched[host.index()];
        watched.next = now.saturating_add(LOOK_EVERY);
        if std::mem::replace(&mut watched.health, health) != health {
            if self.health.len() < HEALTH_MAX {
                self.health.push((now / MILLISECOND, host, health));
            } else {
                self.left_out.health += 1;
            }
        }
        self.end = self.end.max(now / MILLISECOND);
    }

    /// What a node lists of one member, after an event about it.
    pub(crate) fn member(&mut self, now: u64, host: HostId, name: &Name, member: Option<&MemberView>) {
        if let Some(&place) = self.places.get(name) {
            let belief = member.map_or((Belief::Unknown, 0), |member| (Belief::of(member), member.incarnation.0));
            self.believe(now, host, place, belief);
        }
    }

    /// What a node believes of one member, and at which incarnation.
    pub(crate) fn believe(&mut self, now: u64, host: HostId, of: u32, belief: (Belief, u32)) {
        let last = &mut self.watched[host.index()].beliefs[of as usize];
        if *last != belief {
            *last = belief;
            self.change(now, host, Change::Belief { of, belief: belief.0, incarnation: belief.1 });
        }
    }

    /// What becomes of a node's process; one that is gone believes nothing.
    pub(crate) fn process(&mut self, now: u64, host: HostId, name: &Name, process: Process) {
        let count = self.watched.len();
        let watched = &mut self.watched[host.index()];
        if watched.process == process {
            return;
        }
        let starts = watched.process == Process::Down;
        if process == Process::Down {
            *watched = Watched::new(count);
        }
        watched.process = process;
        self.change(now, host, Change::Process(process));
        if starts && self.places.get(name) != Some(&host.0) {
            self.aliases.push((now / MILLISECOND, host, name.to_string()));
        }
    }

    fn change(&mut self, now: u64, host: HostId, change: Change) {
        if self.changes.len() < CHANGES_MAX {
            self.changes.push((now / MILLISECOND, host, change));
        } else {
            self.left_out.changes += 1;
        }
    }

    /// A packet leaves a host.
    pub(crate) fn packet(&mut self, now: u64, bytes: usize) {
        if let Some(traffic) = self.traffic_at(now) {
            traffic.packets += 1;
            traffic.bytes += bytes as u64;
        }
    }

    /// A node writes into a stream.
    pub(crate) fn written(&mut self, now: u64, bytes: usize) {
        if let Some(traffic) = self.traffic_at(now) {
            traffic.stream_bytes += bytes as u64;
        }
    }

    fn traffic_at(&mut self, now: u64) -> Option<&mut Traffic> {
        // A cluster that does not form in time goes on beyond the end of the scenario.
        let place = usize::try_from(now / MILLISECOND / self.interval).ok().filter(|&place| place < 10_000)?;
        if self.traffic.len() <= place {
            self.traffic.resize(place + 1, Traffic::default());
        }
        Some(&mut self.traffic[place])
    }

    /// A node gets a user event; `text` is what the timeline calls it.
    pub(crate) fn user_event(&mut self, now: u64, host: HostId, event: &UserEvent, text: &str) {
        self.hear(now, host, (false, event.ltime.0, 0, text.to_owned()));
    }

    /// A node gets a query.
    pub(crate) fn query(&mut self, now: u64, host: HostId, key: QueryKey, text: &str) {
        self.hear(now, host, (true, key.ltime.0, u64::from(key.id.0), text.to_owned()));
    }

    fn hear(&mut self, now: u64, host: HostId, key: (bool, u64, u64, String)) {
        let known = self.spread_of.get(&key).copied();
        if self.heard == HEARD_MAX || known.is_none() && self.spreads.len() == SPREADS_MAX {
            self.left_out.heard += 1;
            return;
        }
        self.heard += 1;
        let place = known.unwrap_or_else(|| {
            self.spreads.push(Spread { text: key.3.clone(), heard: Vec::new() });
            self.spread_of.insert(key, self.spreads.len() - 1);
            self.spreads.len() - 1
        });
        self.spreads[place].heard.push((now / MILLISECOND, host));
    }

    /// The timeline tells of something.
    pub(crate) fn note(&mut self, now: u64, entry: Entry) {
        self.timeline.add(now, entry);
        self.end = self.end.max(now / MILLISECOND);
    }

    /// Time has passed.
    pub(crate) fn reach(&mut self, now: u64) {
        self.end = self.end.max(now / MILLISECOND);
    }
}

impl Watched {
    fn new(count: usize) -> Self {
        Self { process: Process::Down, beliefs: vec![(Belief::Unknown, 0); count], health: 0, next: 0 }
    }
}

/// The shortest round interval of which so many milliseconds have no more than [`INTERVALS_MAX`].
fn interval(until: u64) -> u64 {
    let least = until.div_ceil(INTERVALS_MAX);
    let round = (2..).flat_map(|power| [1, 2, 5].map(|digit| digit * 10_u64.pow(power)));
    round.take_while(|&interval| interval <= 5_000_000_000).find(|&interval| interval >= least).unwrap_or(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history() -> History {
        let text = "[run]\nuntil = \"9s\"\n[cluster]\nnodes = [\"a\", \"b\"]\n";
        History::new(&Scenario::parse("test.toml", text).expect("a scenario")).expect("two nodes are few")
    }

    #[test]
    fn only_changes_are_kept_and_a_process_that_ends_forgets() {
        let (mut history, name) = (history(), Name::from("a"));
        history.process(0, HostId(0), &name, Process::Up);
        history.process(1, HostId(0), &name, Process::Up);
        for belief in [Belief::Alive, Belief::Alive, Belief::Failed] {
            history.believe(2_000_000, HostId(0), 1, (belief, 7));
        }
        history.process(3_000_000, HostId(0), &name, Process::Down);
        history.process(4_000_000, HostId(0), &name, Process::Up);
        history.believe(4_000_000, HostId(0), 1, (Belief::Failed, 7));
        let belief = |belief| Change::Belief { of: 1, belief, incarnation: 7 };
        let changes: Vec<(u64, Change)> = history.changes.iter().map(|&(at, _, change)| (at, change)).collect();
        assert_eq!(
            changes,
            [
                (0, Change::Process(Process::Up)),
                (2, belief(Belief::Alive)),
                (2, belief(Belief::Failed)),
                (3, Change::Process(Process::Down)),
                (4, Change::Process(Process::Up)),
                (4, belief(Belief::Failed)),
            ]
        );
    }

    #[test]
    fn a_change_beyond_the_bound_is_counted() {
        let mut history = history();
        for number in 0..=CHANGES_MAX as u32 {
            history.believe(5, HostId(0), 1, (Belief::Alive, number + 1));
        }
        assert_eq!((history.changes.len(), history.left_out.changes), (CHANGES_MAX, 1));
    }

    #[test]
    fn intervals_are_round_and_not_too_many() {
        for (until, want) in [(0, 100), (60_000, 100), (60_001, 200), (200_000, 500), (7_200_000, 20_000)] {
            assert_eq!(interval(until), want, "{until}");
        }
    }
}
