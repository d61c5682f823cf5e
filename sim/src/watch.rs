//! Where the world lets its history look on, if it has one.

use villein_core::types::Name;

use crate::history::Process;
use crate::scenario::HostId;
use crate::world::World;

impl World<'_> {
    /// What a node lists now.
    pub(crate) fn look_at(&mut self, host: HostId) {
        if let (Some(history), Some(node)) = (&mut self.history, &self.hosts[host.index()].node) {
            history.view(self.now - self.zero, host, &node.members(), node.stats().health_score);
        }
    }

    /// What a node lists of one member, after an event about it.
    pub(crate) fn look_at_member(&mut self, host: HostId, name: &Name) {
        if let (Some(history), Some(node)) = (&mut self.history, &self.hosts[host.index()].node) {
            history.member(self.now - self.zero, host, name, node.member(name).as_ref());
        }
    }

    /// What became of a process.
    pub(crate) fn look_at_process(&mut self, host: HostId) {
        let place = &self.hosts[host.index()];
        let process = match (&place.node, place.paused) {
            (None, _) => Process::Down,
            (Some(_), false) => Process::Up,
            (Some(_), true) => Process::Frozen,
        };
        if let Some(history) = &mut self.history {
            history.process(self.now - self.zero, host, &place.name, process);
        }
    }

    /// Every process and what it lists now, so that the history agrees with a verdict of this moment.
    pub(crate) fn look_at_all(&mut self) {
        if let Some(history) = &mut self.history {
            history.reach(self.now - self.zero);
            for host in self.scenario.hosts() {
                self.look_at_process(host);
                self.look_at(host);
            }
        }
    }
}
