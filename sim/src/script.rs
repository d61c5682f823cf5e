//! The scenario's steps, turned into actions; and the bounds within which commands must be answered.

use villein_core::command::{Command, KeyRequest};
use villein_core::io::Activity;
use villein_core::types::{JoinTarget, Name};

use crate::disk::Disk;
use crate::host::{Down, Gate};
use crate::scenario::{HostId, KeyOperation, Start, Verb, across};
use crate::timeline::Entry;
use crate::world::World;

impl World<'_> {
    /// Does one step.
    pub(crate) fn step(&mut self, place: usize) {
        let scenario = self.scenario;
        let verb = &scenario.steps[place].verb;
        if let Some(text) = crate::report::verb(scenario, verb) {
            self.note(Entry::Step { text });
        }
        match verb {
            Verb::Cut { groups, reset } => self.part(groups, *reset),
            Verb::CutOneWay { from, to } => {
                for &from in from {
                    to.iter().filter(|to| **to != from).for_each(|&to| self.network.cut(from, to));
                }
                self.drop_cut();
                self.streams_cut(false);
            }
            Verb::Heal(None) => self.network.heal_all(),
            Verb::Heal(Some(groups)) => across(groups).for_each(|(from, to)| self.network.heal(from, to)),
            Verb::Crash { nodes, power } => self.crash(nodes, *power),
            Verb::Restart { nodes, disk, join, name, wire } => {
                for &host in nodes {
                    let own = scenario.name(host);
                    self.hosts[host.index()].wire = wire.unwrap_or(self.hosts[host.index()].wire);
                    let name = Name::from(name.as_deref().unwrap_or(own));
                    let before = std::mem::replace(&mut self.hosts[host.index()].name, name.clone());
                    self.faults.renamed += u64::from(before != name);
                    self.faults.moved += u64::from(name.as_bytes() != own.as_bytes());
                    self.restart(host, *disk, join.as_deref());
                }
            }
            Verb::Pause(nodes) => self.pause(nodes),
            Verb::Resume(nodes) => self.resume(nodes),
            Verb::Join { nodes, targets, replay } => {
                for &host in nodes {
                    self.join(host, targets.clone(), *replay);
                }
            }
            Verb::Leave { nodes, stay } => {
                nodes.iter().for_each(|&host| self.command(host, "leave".to_owned(), *stay, Command::Leave));
            }
            Verb::Rejoin(nodes) => {
                nodes.iter().for_each(|&host| self.command(host, "rejoin".to_owned(), false, Command::Rejoin));
            }
            Verb::ForceLeave { nodes, target, prune } => {
                let text = format!("force-leave {}{target}", if *prune { "-prune " } else { "" });
                let command = Command::ForceLeave { node: Name::from(target.as_str()), prune: *prune };
                self.commands(nodes, &text, &command);
            }
            Verb::Event { nodes, name, payload, coalesce, numbers } => {
                for number in numbers.clone() {
                    let numbered = |text: &str| text.replace("{}", &number.to_string());
                    let (name, payload) = (numbered(name), numbered(payload));
                    let text = format!("event {name}");
                    let (name, payload) = (name.into_bytes().into(), payload.into_bytes().into());
                    self.commands(nodes, &text, &Command::UserEvent { name, payload, coalesce: *coalesce });
                }
            }
            Verb::Query { nodes, question } => {
                let text = format!("query {}", String::from_utf8_lossy(&question.name));
                self.commands(nodes, &text, &Command::Query(Box::new(question.clone())));
            }
            Verb::Tags { nodes, set, delete } => {
                let delete: Vec<Vec<u8>> = delete.iter().map(|key| key.clone().into_bytes()).collect();
                let text = format!("tags{}", crate::report::tags(set, &delete));
                self.commands(nodes, &text, &Command::SetTags { set: set.clone(), delete });
            }
            Verb::Key { nodes, operation } => {
                let bytes = |word: &str| crate::host::key(self.seed, word).as_bytes().into();
                let (text, request) = match operation {
                    KeyOperation::Install(word) => (format!("install {word}"), KeyRequest::Install(bytes(word))),
                    KeyOperation::Use(word) => (format!("use {word}"), KeyRequest::Use(bytes(word))),
                    KeyOperation::Remove(word) => (format!("remove {word}"), KeyRequest::Remove(bytes(word))),
                    KeyOperation::List => ("list".to_owned(), KeyRequest::List),
                };
                self.commands(nodes, &format!("keys {text}"), &Command::Key(request));
            }
            Verb::Unplug(nodes) => nodes.iter().for_each(|&host| self.plug(host, false)),
            Verb::Plug(nodes) => nodes.iter().for_each(|&host| self.plug(host, true)),
            Verb::Disk { nodes, disk } => {
                nodes.iter().for_each(|host| self.hosts[host.index()].disk.fault = *disk);
            }
            Verb::Clock { nodes, forward } => nodes.iter().for_each(|&host| self.set_forward(host, *forward)),
            Verb::Forge { nodes, count } => nodes.iter().for_each(|&host| self.forge(host, *count)),
            Verb::Link(rule) => self.network.add_rule(rule),
            Verb::Dns(answers) => self.dns.extend(answers.iter().cloned()),
            Verb::Stall { nodes, activities } => self.gates(nodes, activities, Gate::Closed),
            Verb::Unstall { nodes, activities } => self.gates(nodes, activities, Gate::Open),
        }
    }

    /// A clock jumps: its process is woken for what has come due.
    fn set_forward(&mut self, host: HostId, by: u64) {
        let place = &mut self.hosts[host.index()];
        place.clock.origin = place.clock.origin.saturating_add(by);
        place.wake = u64::MAX;
        self.faults.clock_steps += 1;
        self.plan_wake(host);
    }

    /// Freezes processes.
    pub(crate) fn pause(&mut self, nodes: &[HostId]) {
        for &host in nodes {
            if self.hosts[host.index()].runs() {
                self.hosts[host.index()].paused = true;
                self.faults.pauses += 1;
                self.look_at_process(host);
            }
        }
    }

    /// Lets frozen processes go on.
    pub(crate) fn resume(&mut self, nodes: &[HostId]) {
        for &host in nodes {
            if std::mem::take(&mut self.hosts[host.index()].paused) {
                self.look_at_process(host);
                self.drain(host);
            }
        }
    }

    fn commands(&mut self, nodes: &[HostId], text: &str, command: &Command) {
        nodes.iter().for_each(|&host| self.command(host, text.to_owned(), false, command.clone()));
    }

    /// A host's network interface goes up or down.
    fn plug(&mut self, host: HostId, up: bool) {
        self.hosts[host.index()].unplugged = !up;
        for other in self.scenario.hosts().filter(|other| *other != host) {
            for (from, to) in [(host, other), (other, host)] {
                if up { self.network.heal(from, to) } else { self.network.cut(from, to) }
            }
        }
        if !up {
            self.drop_cut();
            self.streams_cut(false);
        }
    }

    /// Nothing passes between the groups any more; streams across are reset, or time out.
    pub(crate) fn part(&mut self, groups: &[Vec<HostId>], reset: bool) {
        across(groups).for_each(|(from, to)| self.network.cut(from, to));
        self.drop_cut();
        self.streams_cut(reset);
    }

    fn crash(&mut self, nodes: &[HostId], power: bool) {
        for &host in nodes {
            if self.hosts[host.index()].node.is_some() {
                self.faults.crashes += 1;
                self.stop(host, if power { Down::Power } else { Down::Process });
            }
        }
    }

    fn restart(&mut self, host: HostId, disk: bool, join: Option<&[JoinTarget]>) {
        self.stop(host, Down::Process);
        if !disk {
            self.hosts[host.index()].disk = Disk::default();
        }
        self.faults.restarts += 1;
        self.start(host);
        match join {
            Some([]) => {}
            Some(targets) => self.join(host, targets.to_vec(), false),
            None if self.scenario.start == Start::Apart => {}
            None if self.scenario.nodes[host.index()].serf.retry_join.is_some() => {}
            None => self.first_join(host),
        }
    }

    /// Joins the first other host that runs.
    pub(crate) fn first_join(&mut self, host: HostId) {
        let other = self.scenario.hosts().find(|other| *other != host && self.hosts[other.index()].node.is_some());
        if let Some(other) = other {
            let target = JoinTarget::from(crate::network::addr(other).to_string().as_str());
            self.join(host, vec![target], false);
        }
    }

    /// An operator joins a node to others.
    pub(crate) fn join(&mut self, host: HostId, targets: Vec<JoinTarget>, replay: bool) {
        let text = format!("join {}", crate::report::targets(self.scenario, &targets));
        self.command(host, text, false, Command::Join { targets, replay });
    }

    /// Opens or shuts the gates of some activities; one that is shut stays as it is shut.
    pub(crate) fn gates(&mut self, nodes: &[HostId], activities: &[Activity], gate: Gate) {
        let open = gate == Gate::Open;
        for &host in nodes {
            if self.hosts[host.index()].node.is_none() {
                continue;
            }
            for &activity in activities {
                if open {
                    self.open_gate(host, activity);
                } else if self.hosts[host.index()].gates[activity.index()] == Gate::Open {
                    self.hosts[host.index()].gates[activity.index()] = gate;
                }
            }
            let place = &self.hosts[host.index()];
            if open && !place.paused && !place.draining && !place.backlog.is_empty() {
                self.drain(host);
            }
        }
    }
}
