//! The scenario's steps, turned into actions; and the bounds within which commands must be answered.

use villein_core::command::Command;
use villein_core::io::Activity;
use villein_core::time::nanos;
use villein_core::types::{JoinTarget, Name};

use crate::checkers::Broken;
use crate::host::{Down, Gate};
use crate::report::Entry;
use crate::scenario::{HostId, Start, Verb};
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
            Verb::Cut { groups, reset } => {
                self.between(groups, |world, from, to| world.network.cut(from, to));
                self.drop_cut();
                self.streams_cut(*reset);
            }
            Verb::CutOneWay { from, to } => {
                for &from in from {
                    to.iter().filter(|to| **to != from).for_each(|&to| self.network.cut(from, to));
                }
                self.drop_cut();
                self.streams_cut(false);
            }
            Verb::Heal(None) => self.network.heal_all(),
            Verb::Heal(Some(groups)) => self.between(groups, |world, from, to| world.network.heal(from, to)),
            Verb::Crash { nodes, power } => self.crash(nodes, *power),
            Verb::Restart { nodes, disk, join } => {
                nodes.iter().for_each(|&host| self.restart(host, *disk, join.as_deref()));
            }
            Verb::Pause(nodes) => {
                for host in nodes {
                    if self.hosts[host.index()].runs() {
                        self.hosts[host.index()].paused = true;
                        self.faults.pauses += 1;
                    }
                }
            }
            Verb::Resume(nodes) => {
                for &host in nodes {
                    if std::mem::take(&mut self.hosts[host.index()].paused) {
                        self.drain(host);
                    }
                }
            }
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
            Verb::ForceLeave { nodes, target } => {
                for &host in nodes {
                    let node = Name::from(target.as_str());
                    self.command(host, format!("force-leave {target}"), false, Command::ForceLeave { node });
                }
            }
            Verb::Link(rule) => self.network.add_rule(rule),
            Verb::Dns(answers) => self.dns.extend(answers.iter().cloned()),
            Verb::Stall { nodes, activities } => self.gates(nodes, activities, false),
            Verb::Unstall { nodes, activities } => self.gates(nodes, activities, true),
        }
    }

    fn between(&mut self, groups: &[Vec<HostId>], act: impl Fn(&mut Self, HostId, HostId)) {
        for (place, group) in groups.iter().enumerate() {
            for (_, other) in groups.iter().enumerate().filter(|(other, _)| *other != place) {
                for &from in group {
                    other.iter().for_each(|&to| act(self, from, to));
                }
            }
        }
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
            self.hosts[host.index()].disk = None;
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

    fn join(&mut self, host: HostId, targets: Vec<JoinTarget>, replay: bool) {
        let text = format!("join {}", crate::report::targets(self.scenario, &targets));
        self.command(host, text, false, Command::Join { targets, replay });
    }

    fn gates(&mut self, nodes: &[HostId], activities: &[Activity], open: bool) {
        for &host in nodes {
            if self.hosts[host.index()].node.is_none() {
                continue;
            }
            for &activity in activities {
                if open {
                    self.open_gate(host, activity);
                } else if self.hosts[host.index()].gates[activity.index()] == Gate::Open {
                    self.hosts[host.index()].gates[activity.index()] = Gate::Closed;
                }
            }
            let place = &self.hosts[host.index()];
            if open && !place.paused && !place.draining && !place.backlog.is_empty() {
                self.drain(host);
            }
        }
    }

    /// How long a reply may take, by the node's own timeouts; for a frozen or stalled node the clock is not running.
    pub(crate) fn patience(&self, host: HostId, command: &Command) -> u64 {
        let node = &self.scenario.nodes[host.index()];
        let stream = nanos(node.swim.stream_timeout);
        let broadcast = nanos(node.serf.broadcast_timeout);
        let patience = match command {
            // An address takes one exchange; a name has as many addresses as the name server says.
            Command::Join { targets, .. } => {
                let addresses = self.dns.values().map(|answer| match answer {
                    crate::scenario::Answer::Addresses(ips) => ips.len(),
                    crate::scenario::Answer::Error(_) => 0,
                });
                let most = addresses.max().unwrap_or(0).max(1) as u64;
                stream.saturating_mul(2).saturating_mul(targets.len() as u64).saturating_mul(most)
            }
            Command::Leave => broadcast.saturating_mul(2).saturating_add(nanos(node.serf.leave_propagate_delay)),
            Command::Rejoin => broadcast,
            Command::ForceLeave { .. } => broadcast,
        };
        patience.saturating_mul(2).saturating_add(1_000_000_000)
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
