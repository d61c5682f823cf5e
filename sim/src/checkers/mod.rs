//! Safety: what must hold at every step, whatever happens (protocol.md 3.1, 5.5).
//!
//! A checker sees what an operator could see: member events, listings, deadlines, replies. Each rule has a test that
//! forges a bad history.

mod own;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use villein_core::command::Reply;
use villein_core::event::{MemberEventKind, QueryKey, Status, UserEvent};
use villein_core::io::RequestId;
use villein_core::lamport::LamportTime;
use villein_core::node::{MemberView, Stats};
use villein_core::types::{GossipAddr, Incarnation, Name, Tags};
use villein_core::{Time, limits};

use crate::scenario::HostId;
use own::Clocks;
pub use own::Remembered;

/// A rule that does not hold: a defect of the core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The rule.
    pub rule: &'static str,
    /// What was seen.
    pub seen: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.seen)
    }
}

fn broken(rule: &'static str, seen: impl Into<String>) -> Result<(), Broken> {
    Err(Broken { rule, seen: seen.into() })
}

/// What one node last said of one member.
#[derive(Clone, Debug)]
struct Seen {
    incarnation: Incarnation,
    status: Status,
    addr: GossipAddr,
    tags: Arc<Tags>,
    /// Since when it has that status, by the node's own clock.
    since: Time,
}

/// After so much time no window of coalesced events is open any more.
const WINDOW_MAX: Duration = Duration::from_secs(20);

/// A listing that has not changed is looked at closely only so often.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Listings up to this length are remembered, to see whether they change.
const LISTED_MAX: usize = 64;

/// What one process has shown so far.
#[derive(Debug, Default)]
struct Life {
    name: Option<Name>,
    saved: Option<Incarnation>,
    coalesces: bool,
    health_limit: u8,
    seen: BTreeMap<Name, Seen>,
    /// What it listed last, in a small cluster, and when that was looked at closely.
    listed: Vec<MemberView>,
    looked: Time,
    /// Whether it has told of a member since.
    told: bool,
    /// The last event about each member; a forgotten one has none.
    events: BTreeMap<Name, MemberEventKind>,
    pending: BTreeMap<RequestId, Asked>,
    user_events: BTreeMap<LamportTime, Vec<UserEvent>>,
    queries: BTreeSet<QueryKey>,
    clocks: Clocks,
}

/// A command that is not answered, or a query that is not over.
#[derive(Clone, Debug, Default)]
struct Asked {
    is_query: bool,
    is_started: bool,
    acks: BTreeSet<Name>,
    answers: BTreeSet<Name>,
}

/// All safety rules over all nodes.
#[derive(Debug)]
pub struct Checkers {
    names: Vec<Name>,
    lives: Vec<Life>,
}

impl Checkers {
    /// Rules for a cluster of these names; no process has started yet.
    pub fn new(names: &[Name]) -> Self {
        let mut sorted = names.to_vec();
        sorted.sort();
        Self { names: sorted, lives: names.iter().map(|_| Life::default()).collect() }
    }

    /// A process starts: nothing that an earlier one showed binds it but the incarnation on its disk.
    pub fn start(&mut self, host: HostId, name: Name, saved: Option<Incarnation>, coalesces: bool, awareness_max: u8) {
        let health_limit = awareness_max;
        self.lives[host.index()] = Life { name: Some(name), saved, coalesces, health_limit, ..Life::default() };
    }

    /// After each input the node's next deadline is later than the input.
    ///
    /// # Errors
    /// The rule that does not hold.
    pub fn deadline(&self, at: Time, next: Option<Time>) -> Result<(), Broken> {
        match next {
            Some(next) if next <= at => {
                broken("the next deadline is later than the input", format!("input at {at}, deadline at {next}"))
            }
            _ => Ok(()),
        }
    }

    /// A command is given.
    pub fn command(&mut self, host: HostId, id: RequestId, is_query: bool) {
        self.lives[host.index()].pending.insert(id, Asked { is_query, ..Asked::default() });
    }

    /// A reply comes: exactly one for each command; for a query a beginning, words, and an end.
    ///
    /// # Errors
    /// The rule that does not hold.
    pub fn reply(&mut self, host: HostId, id: RequestId, reply: &Reply) -> Result<(), Broken> {
        let pending = &mut self.lives[host.index()].pending;
        let Some(asked) = pending.get_mut(&id) else {
            let seen = format!("a reply to {id:?}, which is answered or was never given");
            return broken("each command has one reply", seen);
        };
        let (rule, fits) = match reply {
            Reply::QueryStarted => {
                ("a query begins once", asked.is_query && !std::mem::replace(&mut asked.is_started, true))
            }
            Reply::QueryAck { from } => {
                ("a member acknowledges a query once", asked.is_started && asked.acks.insert(from.clone()))
            }
            Reply::QueryResponse { from, .. } => {
                ("a member answers a query once", asked.is_started && asked.answers.insert(from.clone()))
            }
            Reply::QueryDone => {
                let fits = asked.is_started;
                pending.remove(&id);
                ("a query ends after its beginning", fits)
            }
            Reply::Joined { .. }
            | Reply::Left
            | Reply::Rejoined
            | Reply::ForceLeft
            | Reply::EventSent
            | Reply::Responded
            | Reply::TagsSet
            | Reply::Keys(_)
            | Reply::QueryEnded
            | Reply::Failed(_) => {
                let fits = !asked.is_started;
                pending.remove(&id);
                ("each command has one reply", fits)
            }
        };
        if fits { Ok(()) } else { broken(rule, format!("{reply:?} to {id:?}")) }
    }

    /// A user event comes.
    ///
    /// # Errors
    /// The rule that does not hold.
    pub fn user_event(&mut self, host: HostId, event: &UserEvent) -> Result<(), Broken> {
        let heard = &mut self.lives[host.index()].clocks.heard[0];
        *heard = event.ltime.max(*heard);
        let told = self.lives[host.index()].user_events.entry(event.ltime).or_default();
        if !told.iter().any(|other| (&other.name, &other.payload) == (&event.name, &event.payload)) {
            told.push(event.clone());
            return Ok(());
        }
        let name = String::from_utf8_lossy(&event.name);
        broken("a process gets an event once", format!("{name} of time {} comes again", event.ltime))
    }

    /// A query comes.
    ///
    /// # Errors
    /// The rule that does not hold.
    pub fn asked(&mut self, host: HostId, query: QueryKey) -> Result<(), Broken> {
        let heard = &mut self.lives[host.index()].clocks.heard[1];
        *heard = query.ltime.max(*heard);
        if self.lives[host.index()].queries.insert(query) {
            return Ok(());
        }
        broken("a process gets a query once", format!("the query of time {} comes again", query.ltime))
    }

    /// A member event comes.
    ///
    /// # Errors
    /// The rule that does not hold.
    pub fn event(&mut self, host: HostId, kind: MemberEventKind, name: &Name, status: Status) -> Result<(), Broken> {
        use MemberEventKind::{Failed, Join, Leave, Reap, Update};
        let life = &mut self.lives[host.index()];
        life.told = true;
        let last = life.events.get(name).copied();
        // An `Update` leaves the member as it was: only its coming and going are remembered.
        let allowed = match (last, kind) {
            (None, Join) => true,
            // Coalescing leaves out what a later event of the window makes untrue.
            (None, Leave | Failed | Update | Reap) => life.coalesces,
            (Some(Join | Update), Leave | Failed | Update) => true,
            (Some(Join | Update), Join | Reap) => false,
            (Some(Leave), Join | Reap) => true,
            (Some(Leave), Leave | Failed | Update) => false,
            // A failed member may be said to have left.
            (Some(Failed), Join | Leave | Reap) => true,
            (Some(Failed), Failed | Update) => false,
            (Some(Reap), _) => true,
        };
        if !allowed && !life.coalesces {
            let last = last.map_or_else(|| "nothing".to_owned(), |last| last.to_string());
            return broken(
                "events about a member follow each other sensibly",
                format!("{kind} of {name} after {last}"),
            );
        }
        let fits = match kind {
            Join | Update => matches!(status, Status::Alive | Status::Leaving),
            Leave => matches!(status, Status::Left | Status::Leaving),
            Failed => status == Status::Failed,
            Reap => true,
        };
        if !fits && !life.coalesces {
            return broken(
                "an event shows the status that it tells of",
                format!("{kind} of {name} with status {status}"),
            );
        }
        match kind {
            Reap => {
                life.events.remove(name);
            }
            Update if last.is_some() => {}
            Join | Leave | Failed | Update => {
                life.events.insert(name.clone(), kind);
            }
        }
        Ok(())
    }

    /// What a node lists at one moment of its own clock.
    ///
    /// # Errors
    /// The rule that does not hold.
    pub fn view(&mut self, host: HostId, at: Time, members: &[MemberView], stats: &Stats) -> Result<(), Broken> {
        let life = &mut self.lives[host.index()];
        bounds(life, members, stats)?;
        if !life.told && at.since(life.looked) < LOOK_INTERVAL && life.listed == members {
            return Ok(());
        }
        (life.told, life.looked) = (false, at);
        if members.len() <= LISTED_MAX {
            life.listed.clear();
            life.listed.extend_from_slice(members);
        }
        if let Some(stranger) = members.iter().find(|member| self.names.binary_search(&member.info.name).is_err()) {
            return broken("only members of the cluster are listed", format!("{} is listed", stranger.info.name));
        }
        let mut now = BTreeMap::new();
        for member in members {
            let name = &member.info.name;
            let status = member.info.status;
            let before = life.seen.get(name);
            let since = before.filter(|before| before.status == status).map_or(at, |before| before.since);
            let tags = member.info.tags();
            let tags = match before {
                Some(before) if *before.tags == tags => Arc::clone(&before.tags),
                _ => Arc::new(tags),
            };
            let seen = Seen { incarnation: member.incarnation, status, addr: member.info.addr, tags, since };
            let own = life.name.as_ref() == Some(name);
            if let Some(before) = before {
                succession(name, own, before, &seen)?;
            } else if own && life.saved.is_some_and(|saved| seen.incarnation <= saved) {
                let saved = life.saved.map_or(0, |saved| saved.0);
                return broken(
                    "the own incarnation strictly increases",
                    format!("{name} begins at {} with {saved} on disk", seen.incarnation),
                );
            }
            if !life.coalesces || at.since(since) >= WINDOW_MAX {
                agreement(name, seen.status, life.events.get(name).copied())?;
            }
            now.insert(name.clone(), seen);
        }
        // Coalescing tells of a forgotten member later than the listing does.
        if !life.coalesces
            && let Some(gone) = life.events.keys().find(|name| !now.contains_key(*name))
        {
            return broken("a member is listed until it is forgotten", format!("{gone} is not listed any more"));
        }
        life.seen = now;
        Ok(())
    }

    /// Commands of a process that are not answered.
    pub fn unanswered(&self, host: HostId) -> impl Iterator<Item = RequestId> {
        self.lives[host.index()].pending.keys().copied()
    }
}

/// From one listing to the next of the same process.
fn succession(name: &Name, own: bool, before: &Seen, now: &Seen) -> Result<(), Broken> {
    let moved = before.addr != now.addr;
    if now.incarnation < before.incarnation && (own || !moved) {
        let rule =
            if own { "the own incarnation strictly increases" } else { "the incarnation of a member never decreases" };
        return broken(rule, format!("{name} went from {} to {}", before.incarnation, now.incarnation));
    }
    // What a node that has left sets is announced by a rejoin.
    let is_silent = own && now.status == Status::Left;
    if now.incarnation == before.incarnation && !moved && !is_silent && now.tags != before.tags {
        return broken(
            "tags change with a higher incarnation only",
            format!("those of {name} changed at incarnation {}", now.incarnation),
        );
    }
    let was_gone = matches!(before.status, Status::Left | Status::Failed);
    if was_gone && now.status == Status::Alive && now.incarnation <= before.incarnation && !moved {
        return broken(
            "nobody comes back without a higher incarnation",
            format!("{name} went from {} to alive at incarnation {}", before.status, now.incarnation),
        );
    }
    Ok(())
}

/// What is listed is what was told.
fn agreement(name: &Name, status: Status, last: Option<MemberEventKind>) -> Result<(), Broken> {
    use MemberEventKind::{Failed, Join, Leave, Reap, Update};
    let agrees = match (status, last) {
        (Status::Alive | Status::Leaving, Some(Join | Update)) => true,
        (Status::Left, Some(Leave)) => true,
        // A node that leaves tells of its own leave while it is still there.
        (Status::Leaving, Some(Leave)) => true,
        (Status::Failed, Some(Failed)) => true,
        (Status::None, None) => true,
        (_, Some(Join | Leave | Failed | Update | Reap) | None) => false,
    };
    if agrees {
        return Ok(());
    }
    let last = last.map_or_else(|| "nothing".to_owned(), |last| last.to_string());
    broken("the listing agrees with the events", format!("{name} is {status}, the last event was {last}"))
}

fn bounds(life: &Life, members: &[MemberView], stats: &Stats) -> Result<(), Broken> {
    let rule = "nothing grows beyond its bound";
    if stats.health_score >= life.health_limit {
        return broken(
            rule,
            format!("health score {} of at most {}", stats.health_score, life.health_limit.saturating_sub(1)),
        );
    }
    if stats.intent_queue > limits::INTENTS_QUEUED_MAX {
        return broken(rule, format!("{} intents of at most {}", stats.intent_queue, limits::INTENTS_QUEUED_MAX));
    }
    for (what, status, count) in [("failed", Status::Failed, stats.failed), ("left", Status::Left, stats.left)] {
        let listed = members.iter().filter(|member| member.info.status == status).count();
        if listed != count {
            return broken("the numbers agree with the listing", format!("{count} {what}, {listed} of them listed"));
        }
    }
    Ok(())
}
