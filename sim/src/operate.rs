//! What operators ask of nodes and what they are told: commands, their replies, events, and answers to queries.

use villein_core::command::{Command, Reply};
use villein_core::event::{Event, MemberEventKind, QueryEvent, Status, UserEvent};
use villein_core::io::RequestId;
use villein_core::scale::ceil_log10;
use villein_core::time::nanos;
use villein_core::types::Name;

use crate::checkers::{Broken, Remembered};
use crate::host::{Gate, Waiting};
use crate::scenario::{Answer, HostId, Step, Verb};
use crate::timeline::Entry;
use crate::world::{Answered, Happening, World};

/// A command that has no reply yet, or a query that is not over.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    /// What the timeline calls it.
    text: String,
    /// Whether the process goes on after a leave.
    stay: bool,
    /// When it must be answered at the latest, in true time.
    until: u64,
    /// When it was given.
    since: u64,
    words: Words,
}

/// The words on a query so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Words {
    pub(crate) acks: Vec<Name>,
    pub(crate) answers: Vec<(Name, Box<[u8]>)>,
}

impl World<'_> {
    /// Gives a command to a process; `text` is what the timeline calls it.
    pub(crate) fn command(&mut self, host: HostId, text: String, stay: bool, command: Command) {
        if self.hosts[host.index()].node.is_none() {
            return self.note(Entry::Reply { host, text: format!("{text}: no process runs") });
        }
        let (since, until) = (self.now, self.now.saturating_add(self.patience(host, &command)));
        let place = &mut self.hosts[host.index()];
        let (id, life) = (RequestId(place.requests), place.life);
        place.requests += 1;
        place.pending.insert(id, Pending { text, stay, until, since, words: Words::default() });
        self.arrive(host, life, Waiting::Command { id, command });
    }

    /// A node answers a command.
    pub(crate) fn reply(&mut self, host: HostId, id: RequestId, reply: Reply) {
        if let Err(broken) = self.checkers.reply(host, id, &reply) {
            self.fail(Some(host), broken);
        }
        self.check_tags(host, &reply);
        let now = self.now;
        let place = &mut self.hosts[host.index()];
        let life = place.life;
        let Some(pending) = place.pending.get_mut(&id) else { return };
        match reply {
            Reply::QueryStarted => return,
            Reply::QueryAck { from } => return pending.words.acks.push(from),
            Reply::QueryResponse { from, payload } => return pending.words.answers.push((from, payload)),
            // That an answer was given is told where it comes in.
            Reply::Responded => {
                place.pending.remove(&id);
                return;
            }
            Reply::Left if !pending.stay => self.push(0, Happening::Stop { host, life }),
            Reply::Joined { .. }
            | Reply::Left
            | Reply::Rejoined
            | Reply::ForceLeft
            | Reply::QueryEnded
            | Reply::EventSent
            | Reply::QueryDone
            | Reply::TagsSet
            | Reply::Keys(_)
            | Reply::Failed(_) => {}
        }
        let Some(pending) = self.hosts[host.index()].pending.remove(&id) else { return };
        let answer = match &reply {
            Reply::QueryDone => crate::report::words(&pending.words, now - pending.since),
            other => crate::report::answer(other),
        };
        let text = format!("{}: {answer}", pending.text);
        self.judge.reply(now - self.zero, host, &text);
        // An event is told of by those who get it.
        if reply != Reply::EventSent {
            self.note(Entry::Reply { host, text });
        }
    }

    /// A node tells of something.
    pub(crate) fn event(&mut self, host: HostId, event: Event) {
        match event {
            Event::Members { kind, members } => {
                if let Some(meter) = &mut self.meter {
                    let now = self.now;
                    return meter.events.extend(members.into_iter().map(|member| (now, host, kind, member.name)));
                }
                for member in &members {
                    self.member_event(host, kind, &member.name, member.status);
                }
            }
            Event::User(event) => match &mut self.meter {
                Some(meter) => meter.heard.push((self.now, host, event.ltime)),
                None => self.user_event(host, &event),
            },
            Event::Query(query) => self.asked(host, query),
            Event::Shutdown(reason) => {
                let life = self.hosts[host.index()].life;
                self.judge.shutdown(self.now - self.zero, host);
                self.note(Entry::Shutdown { host, reason });
                self.push(0, Happening::Stop { host, life });
            }
        }
    }

    fn member_event(&mut self, host: HostId, kind: MemberEventKind, name: &Name, status: Status) {
        if self.is_watched(host) {
            if kind == MemberEventKind::Reap {
                self.check_reap(host, name);
            }
            if let Err(broken) = self.checkers.event(host, kind, name, status) {
                self.fail(Some(host), broken);
            }
        }
        self.judge.event(self.now - self.zero, host, kind, name);
        self.look_at_member(host, name);
        if *name != self.hosts[host.index()].name {
            self.note_with(|| Entry::Member { host, kind, name: name.to_string() });
        }
    }

    /// A member is forgotten: where nobody prunes, only after its time.
    fn check_reap(&mut self, host: HostId, name: &Name) {
        let prunes = |step: &Step| matches!(step.verb, Verb::ForceLeave { prune: true, .. });
        if self.scenario.steps.iter().any(prunes) {
            return;
        }
        let place = &self.hosts[host.index()];
        let (at, serf) = (place.clock.local(self.now), &self.scenario.nodes[host.index()].serf);
        let remembered = Remembered { failed: serf.reconnect_timeout, left: serf.tombstone_timeout };
        if let Err(broken) = self.checkers.reaped(host, at, name, remembered) {
            self.fail(Some(host), broken);
        }
    }

    /// What is acknowledged is kept. While a process catches up it may not have read yet that something newer is kept.
    fn check_tags(&mut self, host: HostId, reply: &Reply) {
        let place = &self.hosts[host.index()];
        let Some(node) = place.node.as_ref().filter(|_| place.backlog.is_empty()) else { return };
        if let Err(broken) = self.checkers.tags_set(reply, &node.tags(), place.disk.tags()) {
            self.fail(Some(host), broken);
        }
    }

    fn user_event(&mut self, host: HostId, event: &UserEvent) {
        if let Err(broken) = self.checkers.user_event(host, event) {
            self.fail(Some(host), broken);
        }
        self.judge.user_event(self.now - self.zero, host, event);
        let mut text = format!("event {}", String::from_utf8_lossy(&event.name));
        if !event.payload.is_empty() {
            text = format!("{text} \"{}\"", String::from_utf8_lossy(&event.payload));
        }
        if let Some(history) = &mut self.history {
            history.user_event(self.now - self.zero, host, event, &text);
        }
        self.note(Entry::Heard { host, text });
    }

    /// A query comes in; a node that has an answer to it gives it a little later, as a handler would.
    fn asked(&mut self, host: HostId, query: QueryEvent) {
        if let Err(broken) = self.checkers.asked(host, query.key) {
            self.fail(Some(host), broken);
        }
        self.judge.asked(self.now - self.zero, host, &query.name);
        let name = String::from_utf8_lossy(&query.name).into_owned();
        if let Some(answer) = self.scenario.nodes[host.index()].answers.get(&name) {
            let (life, payload) = (self.hosts[host.index()].life, answer.payload.as_bytes().into());
            let after = answer.after.draw(&mut self.schedule);
            let answer = Box::new(Answered { query: query.key, name: name.clone(), payload });
            self.push(after, Happening::Answer { host, life, answer });
        }
        let text = format!("query {name}");
        if let Some(history) = &mut self.history {
            history.query(self.now - self.zero, host, query.key, &text);
        }
        self.note(Entry::Heard { host, text });
    }

    /// A handler has its answer to a query.
    pub(crate) fn answer(&mut self, host: HostId, Answered { query, name, payload }: Answered) {
        self.command(host, format!("answer to {name}"), false, Command::Respond { query, payload });
    }

    /// How long a reply may take, by the node's own timeouts; for a frozen or stalled node the clock is not running.
    fn patience(&self, host: HostId, command: &Command) -> u64 {
        let node = &self.scenario.nodes[host.index()];
        let stream = nanos(node.swim.stream_timeout);
        let broadcast = nanos(node.serf.broadcast_timeout);
        let patience = match command {
            // An address takes one exchange; a name has as many addresses as the name server says.
            Command::Join { targets, .. } => {
                let addresses = self.dns.values().map(|answer| match answer {
                    Answer::Addresses(ips) => ips.len(),
                    Answer::Error(_) => 0,
                });
                let most = addresses.max().unwrap_or(0).max(1) as u64;
                stream.saturating_mul(2).saturating_mul(targets.len() as u64).saturating_mul(most)
            }
            Command::Leave => broadcast.saturating_mul(2).saturating_add(nanos(node.serf.leave_propagate_delay)),
            Command::Rejoin | Command::ForceLeave { .. } | Command::SetTags { .. } | Command::ReplaceTags(_) => {
                broadcast
            }
            Command::UserEvent { .. } | Command::Respond { .. } | Command::EndQuery(_) => 0,
            Command::Query(question) => question.timeout.map_or_else(|| self.query_timeout(host), nanos),
            // One key operation waits for the ones before it.
            Command::Key(_) => {
                let before = self.hosts[host.index()].pending.len() as u64 + 1;
                self.query_timeout(host).saturating_mul(before)
            }
        };
        patience.saturating_mul(2).saturating_add(1_000_000_000)
    }

    /// How long a query of a cluster of this size takes when nobody says otherwise (protocol.md 2.8).
    fn query_timeout(&self, host: HostId) -> u64 {
        let node = &self.scenario.nodes[host.index()];
        let size = ceil_log10(self.hosts.len() as u64 + 1).max(1);
        nanos(node.swim.gossip_interval).saturating_mul(u64::from(node.serf.query_timeout_mult * size))
    }

    /// At the end of the run: a command that should have been answered is not.
    pub(crate) fn overdue(&mut self) {
        for host in self.scenario.hosts() {
            let place = &self.hosts[host.index()];
            let open = place.gates.iter().all(|gate| *gate == Gate::Open);
            if !place.runs() || place.draining || !open {
                continue;
            }
            let late = place.pending.values().find(|pending| pending.until <= self.now);
            if let Some(pending) = late {
                let rule = "each command has one reply";
                let seen = format!("\"{}\" was never answered", pending.text);
                return self.fail(Some(host), Broken { rule, seen });
            }
        }
    }
}
