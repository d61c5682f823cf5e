//! A scenario: the cluster, its network, what happens to them and what is expected. The format's reference is
//! `scenarios/README.md`.

use std::collections::BTreeMap;
use std::path::Path;

use villein_core::command::Question;
use villein_core::config::{Profile, SerfConfig, SwimConfig, Wire};
use villein_core::event::{MemberEventKind, Status};
use villein_core::io::Activity;
use villein_core::log::Level;
use villein_core::types::{JoinTarget, Tags};

use crate::units::{Chance, Delay};

mod cluster;
mod commands;
mod expects;
mod knobs;
mod link;
mod read;
mod steps;
pub(crate) use knobs::settings;
pub(crate) use steps::ACTIVITIES;

pub use read::ScenarioError;

/// A host, by its place in the cluster's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub u32);

impl HostId {
    /// Its place.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A checked scenario.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The file as given.
    pub file: String,
    /// What it shows, in a few words.
    pub title: String,
    /// The seed unless the command line gives one.
    pub seed: u64,
    /// How often `sim run` plays it: twice, which shows that it is deterministic, or once, because it takes long.
    pub plays: u8,
    /// When it ends, in nanoseconds.
    pub until: u64,
    /// Log lines of the nodes from this level on are part of the timeline.
    pub logs: Option<Level>,
    /// The profile that the nodes' timings come from.
    pub profile: Profile,
    /// How the cluster comes about.
    pub start: Start,
    /// Whether the gossip is encrypted.
    pub encrypt: bool,
    /// The cluster's label.
    pub label: String,
    /// The nodes.
    pub nodes: Vec<NodeSpec>,
    /// What every link does.
    pub link: Link,
    /// What some links do otherwise, later ones over earlier ones.
    pub rules: Vec<LinkRule>,
    /// What happens, in order.
    pub steps: Vec<Step>,
    /// What is expected, in the file's order.
    pub expects: Vec<Expect>,
}

/// How the cluster comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The nodes start at 0 s, and all but the first join the first within a second.
    Join,
    /// They have found each other over a perfect network before 0 s.
    Joined,
    /// They start at 0 s and nobody joins anybody unless a step or a retry-join says so.
    Apart,
}

/// One node.
#[derive(Clone, Debug)]
pub struct NodeSpec {
    /// Its name.
    pub name: String,
    /// Failure detection and gossip.
    pub swim: SwimConfig,
    /// The layer above.
    pub serf: SerfConfig,
    /// Its tags.
    pub tags: Tags,
    /// Which encoding it speaks; one of memberlist's alone stands for a HashiCorp agent.
    pub wire: Wire,
    /// Whether it compresses what it sends in memberlist's encoding.
    pub compress: bool,
    /// Whether it keeps its incarnation on its disk.
    pub persist: bool,
    /// Whether it waits for a `restart` step.
    pub down: bool,
    /// How much faster its clock runs than true time, in millionths.
    pub drift_ppm: i32,
    /// Queries that it answers by itself, by name, as an agent with a handler does.
    pub answers: BTreeMap<String, HandlerAnswer>,
}

/// How a node answers a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerAnswer {
    /// What it says.
    pub payload: String,
    /// How long it takes.
    pub after: Delay,
}

/// What a link does to packets and streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// How long a packet travels.
    pub delay: Delay,
    /// Packets that get lost; streams send such a segment again and are late.
    pub loss: Chance,
    /// Packets that come twice.
    pub duplicate: Chance,
    /// Packets that are held back.
    pub reorder: Chance,
    /// For how long they are.
    pub reorder_delay: Delay,
    /// Packets of which some bits are turned over.
    pub corrupt: Chance,
    /// Packets of which the end is missing.
    pub truncate: Chance,
    /// The largest datagram that gets through, in bytes; `None`: any.
    pub mtu: Option<u32>,
    /// Datagrams are held up and let go together at each multiple of this time, in nanoseconds; 0: they are not.
    pub clog: u64,
    /// What does not get through at all.
    pub block: Block,
    /// Connections that are refused.
    pub refuse: Chance,
    /// Stream segments that end their stream with a reset.
    pub reset: Chance,
}

/// What a link does not let through, as a filter on the way does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Block {
    /// It lets everything through.
    #[default]
    Nothing,
    /// No datagrams.
    Datagrams,
    /// No streams.
    Streams,
}

impl Link {
    /// A local network without faults: 0.2 ms.
    pub const PERFECT: Self = Self {
        delay: Delay::Fixed(200_000),
        loss: Chance(0),
        duplicate: Chance(0),
        reorder: Chance(0),
        reorder_delay: Delay::Uniform(5_000_000, 50_000_000),
        corrupt: Chance(0),
        truncate: Chance(0),
        mtu: None,
        clog: 0,
        block: Block::Nothing,
        refuse: Chance(0),
        reset: Chance(0),
    };
}

/// What is said about some links; what is not said stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkRule {
    /// Senders; `None`: all.
    pub from: Option<Vec<HostId>>,
    /// Receivers; `None`: all.
    pub to: Option<Vec<HostId>>,
    /// Whether the way back is meant too.
    pub both: bool,
    /// See [`Link::delay`].
    pub delay: Option<Delay>,
    /// See [`Link::loss`].
    pub loss: Option<Chance>,
    /// See [`Link::duplicate`].
    pub duplicate: Option<Chance>,
    /// See [`Link::reorder`].
    pub reorder: Option<Chance>,
    /// See [`Link::reorder_delay`].
    pub reorder_delay: Option<Delay>,
    /// See [`Link::corrupt`].
    pub corrupt: Option<Chance>,
    /// See [`Link::truncate`].
    pub truncate: Option<Chance>,
    /// See [`Link::mtu`]; `Some(None)`: any size again.
    pub mtu: Option<Option<u32>>,
    /// See [`Link::clog`].
    pub clog: Option<u64>,
    /// See [`Link::block`].
    pub block: Option<Block>,
    /// See [`Link::refuse`].
    pub refuse: Option<Chance>,
    /// See [`Link::reset`].
    pub reset: Option<Chance>,
}

impl LinkRule {
    /// Changes `link` to what the rule says.
    pub fn apply(&self, link: &mut Link) {
        link.delay = self.delay.unwrap_or(link.delay);
        link.loss = self.loss.unwrap_or(link.loss);
        link.duplicate = self.duplicate.unwrap_or(link.duplicate);
        link.reorder = self.reorder.unwrap_or(link.reorder);
        link.reorder_delay = self.reorder_delay.unwrap_or(link.reorder_delay);
        link.corrupt = self.corrupt.unwrap_or(link.corrupt);
        link.truncate = self.truncate.unwrap_or(link.truncate);
        link.mtu = self.mtu.unwrap_or(link.mtu);
        link.clog = self.clog.unwrap_or(link.clog);
        link.block = self.block.unwrap_or(link.block);
        link.refuse = self.refuse.unwrap_or(link.refuse);
        link.reset = self.reset.unwrap_or(link.reset);
    }
}

/// Something that happens at one time.
#[derive(Clone, Debug)]
pub struct Step {
    /// When, in nanoseconds.
    pub at: u64,
    /// Its line in the file.
    pub line: usize,
    /// What.
    pub verb: Verb,
}

/// What happens.
#[derive(Clone, Debug)]
pub enum Verb {
    /// Nothing passes between the groups any more.
    Cut {
        /// The groups.
        groups: Vec<Vec<HostId>>,
        /// Whether crossing streams are reset; otherwise they time out.
        reset: bool,
    },
    /// Nothing passes from some to others any more; the way back is open.
    CutOneWay {
        /// The senders.
        from: Vec<HostId>,
        /// The receivers.
        to: Vec<HostId>,
    },
    /// Cuts end: all of them, or those between the groups.
    Heal(Option<Vec<Vec<HostId>>>),
    /// Processes die without a word.
    Crash {
        /// Whose.
        nodes: Vec<HostId>,
        /// Whether the whole host goes: connections to it time out and are not refused.
        power: bool,
    },
    /// Processes start again.
    Restart {
        /// Whose.
        nodes: Vec<HostId>,
        /// Whether the disk is as it was; otherwise it is empty.
        disk: bool,
        /// Whom they join; `None`: as at the start.
        join: Option<Vec<JoinTarget>>,
        /// The name under which they run; `None`: their own.
        name: Option<String>,
        /// Which encoding they speak from now on; `None`: the one before.
        wire: Option<Wire>,
    },
    /// Processes are frozen, their sockets are not.
    Pause(Vec<HostId>),
    /// Frozen processes go on.
    Resume(Vec<HostId>),
    /// Operators join nodes to others.
    Join {
        /// Who joins.
        nodes: Vec<HostId>,
        /// Whom.
        targets: Vec<JoinTarget>,
        /// Whether past events are wanted.
        replay: bool,
    },
    /// Operators let nodes leave.
    Leave {
        /// Who leaves.
        nodes: Vec<HostId>,
        /// Whether the process goes on afterwards.
        stay: bool,
    },
    /// Operators let nodes that have left and stayed be members again.
    Rejoin(Vec<HostId>),
    /// Operators say that a failed member has left.
    ForceLeave {
        /// Where it is said.
        nodes: Vec<HostId>,
        /// Who has left.
        target: String,
        /// Whether it is forgotten, too.
        prune: bool,
    },
    /// Operators send user events.
    Event {
        /// Where.
        nodes: Vec<HostId>,
        /// The name; `{}` stands for the number of the event.
        name: String,
        /// What it carries; `{}` as in the name.
        payload: String,
        /// Whether events of one name may be put together.
        coalesce: bool,
        /// Their numbers.
        numbers: std::ops::Range<u64>,
    },
    /// Operators ask a query.
    Query {
        /// Where.
        nodes: Vec<HostId>,
        /// What is asked.
        question: Question,
    },
    /// Operators change tags.
    Tags {
        /// Whose.
        nodes: Vec<HostId>,
        /// What is set.
        set: Tags,
        /// What is deleted.
        delete: Vec<String>,
    },
    /// Operators do something with the cluster's keys.
    Key {
        /// Where.
        nodes: Vec<HostId>,
        /// What.
        operation: KeyOperation,
    },
    /// Network interfaces go down: nothing comes in, and what goes out fails at once.
    Unplug(Vec<HostId>),
    /// Network interfaces are up again.
    Plug(Vec<HostId>),
    /// Disks are as they should be, or are not.
    Disk {
        /// Whose.
        nodes: Vec<HostId>,
        /// What is wrong with them.
        disk: DiskFault,
    },
    /// Clocks jump forward, as that of a machine does which slept.
    Clock {
        /// Whose.
        nodes: Vec<HostId>,
        /// By how much, in nanoseconds.
        forward: u64,
    },
    /// Somebody who has the cluster's key sends forged packets.
    Forge {
        /// To whom.
        nodes: Vec<HostId>,
        /// How many to each.
        count: u64,
    },
    /// Links change.
    Link(LinkRule),
    /// The name server answers otherwise from now on.
    Dns(Vec<(String, Answer)>),
    /// What some activities send is held back, and they stand still.
    Stall {
        /// Where.
        nodes: Vec<HostId>,
        /// Which ones.
        activities: Vec<Activity>,
    },
    /// It goes out, and they go on.
    Unstall {
        /// Where.
        nodes: Vec<HostId>,
        /// Which ones.
        activities: Vec<Activity>,
    },
}

/// Every sender and receiver in two different groups.
pub(crate) fn across(groups: &[Vec<HostId>]) -> impl Iterator<Item = (HostId, HostId)> {
    groups.iter().enumerate().flat_map(move |(place, group)| {
        let others = groups.iter().enumerate().filter(move |(other, _)| *other != place).flat_map(|(_, group)| group);
        others.flat_map(move |to| group.iter().map(move |from| (*from, *to)))
    })
}

/// What is wrong with a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DiskFault {
    /// Nothing.
    #[default]
    None,
    /// There is no room for anything new.
    Full,
    /// Each record takes so much longer.
    Slow(Delay),
}

/// Something that is done with the cluster's keys; keys are called by words, from which they are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyOperation {
    /// Add it.
    Install(String),
    /// Encrypt with it.
    Use(String),
    /// Take it away.
    Remove(String),
    /// Say which there are.
    List,
}

/// What the name server says of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// These addresses, in this order; the port is the question's.
    Addresses(Vec<std::net::IpAddr>),
    /// An error in these words.
    Error(String),
}

/// Something that must be so.
#[derive(Clone, Debug)]
pub struct Expect {
    /// Its line in the file.
    pub line: usize,
    /// Begin of the window, in nanoseconds.
    pub from: u64,
    /// End of the window and time of the verdict.
    pub by: u64,
    /// The nodes that are looked at; `None`: those that run at the time of the verdict, or all for counts.
    pub at: Option<Vec<HostId>>,
    /// What must be so.
    pub what: Expectation,
}

/// What must be so.
#[derive(Clone, Debug)]
pub enum Expectation {
    /// At `by`, each node has each member in that status.
    Sees(Vec<(HostId, Status)>),
    /// From `from` to `by`, no node has any of the members in that status.
    NeverSees(Vec<(HostId, Status)>),
    /// From `from` to `by`, each node gets so many events of the kind.
    Events {
        /// The kind.
        kind: MemberEventKind,
        /// About whom; `None`: anybody but the node itself.
        of: Option<Vec<HostId>>,
        /// At least so many.
        min: u64,
        /// At most so many.
        max: u64,
    },
    /// From `from` to `by`, each node gets so many user events or queries.
    Heard {
        /// Queries, not user events.
        query: bool,
        /// Of this name; `None`: of any.
        name: Option<String>,
        /// With this payload; `None`: with any.
        payload: Option<String>,
        /// At least so many.
        min: u64,
        /// At most so many.
        max: u64,
    },
    /// From `from` to `by`, each node gets user events in the order of their Lamport times.
    Ordered,
    /// From `from` to `by`, each node gives so many replies whose line in the timeline has the text.
    Replies {
        /// The text.
        contains: String,
        /// At least so many.
        min: u64,
        /// At most so many.
        max: u64,
    },
    /// At `by`, each node knows these tags of these members, and no others of theirs.
    Tags(Vec<(HostId, Tags)>),
    /// At `by`, each node has these keys and no others, the first one primary.
    Keys(Vec<String>),
    /// From `from` to `by`, each node writes so many log lines with the text.
    Logs {
        /// The text.
        contains: String,
        /// At least so many.
        min: u64,
        /// At most so many.
        max: u64,
    },
    /// From `from` to `by`, these nodes ask to be stopped and no others do.
    Shutdown(Vec<HostId>),
    /// At `by`, all running nodes that can reach each other agree on every member, and see each other alive.
    Converged,
}

impl Scenario {
    /// Reads a file.
    ///
    /// # Errors
    /// File, line, what is wrong and what would be right.
    pub fn load(path: &Path) -> Result<Self, ScenarioError> {
        let file = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&file, &text),
            Err(error) => Err(ScenarioError { file, line: 0, problem: format!("cannot be read: {error}") }),
        }
    }

    /// Reads a text; `file` is what errors and reports call it.
    ///
    /// # Errors
    /// As [`Scenario::load`].
    pub fn parse(file: &str, text: &str) -> Result<Self, ScenarioError> {
        let source = read::Source { file, text };
        cluster::scenario(&source)
    }

    /// The name of a host.
    pub fn name(&self, host: HostId) -> &str {
        &self.nodes[host.index()].name
    }

    /// Every host.
    pub fn hosts(&self) -> impl Iterator<Item = HostId> + use<> {
        (0..u32::try_from(self.nodes.len()).unwrap_or(u32::MAX)).map(HostId)
    }
}

/// The names of the nodes, for everything that mentions one.
pub(crate) struct Names<'a>(&'a [NodeSpec]);

impl Names<'_> {
    fn find(&self, name: &str) -> Option<HostId> {
        let place = self.0.iter().position(|node| node.name == name)?;
        u32::try_from(place).ok().map(HostId)
    }

    /// One node, named by `value`.
    fn one(&self, name: &str, value: &read::Value<'_>, place: &str) -> Result<HostId, ScenarioError> {
        self.find(name).ok_or_else(|| {
            let known: Vec<&str> = self.0.iter().take(20).map(|node| node.name.as_str()).collect();
            let more = if self.0.len() > known.len() { ", …" } else { "" };
            value.error(format!("unknown node \"{name}\" in {place}; the cluster has {}{more}", known.join(", ")))
        })
    }

    /// The nodes that a word means: one, `"*"` for all, or `"n1..n9"` for those from one to another in the cluster's order.
    fn some(
        &self,
        word: &str,
        value: &read::Value<'_>,
        place: &str,
    ) -> Result<impl Iterator<Item = HostId> + use<>, ScenarioError> {
        let (first, last) = match word.split_once("..") {
            _ if word == "*" => (HostId(0), HostId(u32::try_from(self.0.len()).unwrap_or(u32::MAX).saturating_sub(1))),
            Some((first, last)) if self.find(word).is_none() => {
                (self.one(first, value, place)?, self.one(last, value, place)?)
            }
            Some(_) | None => {
                let host = self.one(word, value, place)?;
                (host, host)
            }
        };
        if first > last {
            return Err(value.error(format!("\"{word}\" in {place} goes from a later node to an earlier one")));
        }
        Ok((first.0..=last.0).map(HostId))
    }

    /// A list of words for nodes, or one word.
    fn list(&self, value: &read::Value<'_>, place: &str) -> Result<Vec<HostId>, ScenarioError> {
        let mut hosts = Vec::new();
        for (name, item) in value.texts()? {
            hosts.extend(self.some(name, &item, place)?);
        }
        let mut seen = std::collections::BTreeSet::new();
        if let Some(twice) = hosts.iter().find(|host| !seen.insert(**host)) {
            return Err(value.error(format!("node \"{}\" stands twice in {place}", self.0[twice.index()].name)));
        }
        if hosts.is_empty() {
            return Err(value.error(format!("{place} names no node")));
        }
        Ok(hosts)
    }

    /// Join targets: a node's name stands for its address, anything else is passed on as written.
    fn targets(&self, value: &read::Value<'_>) -> Result<Vec<JoinTarget>, ScenarioError> {
        Ok(value
            .texts()?
            .into_iter()
            .map(|(text, _)| match self.find(text) {
                Some(host) => JoinTarget::from(crate::network::addr(host).to_string().as_str()),
                None => JoinTarget::from(text),
            })
            .collect())
    }
}
