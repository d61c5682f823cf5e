//! The life of a process: it starts, is woken, is replaced by its own checkpoint, and ends.

use villein_core::{Node, Stimulus};

use crate::checkers::Broken;
use crate::host::{self, Down};
use crate::scenario::{HostId, Start};
use crate::world::{Happening, World};

impl World<'_> {
    /// Starts a process when its world begins.
    pub(crate) fn start_first(&mut self, host: HostId) {
        self.start(host);
        let first = self.hosts.iter().position(|other| other.node.is_some());
        let alone = self.scenario.nodes[host.index()].serf.retry_join.is_some() || first == Some(host.index());
        if alone || self.scenario.start != Start::Join {
            return;
        }
        let after = self.schedule.below(1_000_000_000);
        self.push(after, Happening::FirstJoin(host));
    }

    /// Starts a process on a host.
    pub(crate) fn start(&mut self, host: HostId) {
        let first_restore = self.restores.below(self.restore_mean().min(self.scenario.until / 2).max(1));
        let place = &mut self.hosts[host.index()];
        let mut config = host::config(self.scenario, host, self.seed);
        config.interner = self.interner.clone();
        config.name = place.name.clone();
        config.wire = place.wire;
        let (coalesces, limit) = (config.serf.coalesce.is_some(), config.swim.lifeguard.awareness_max);
        let at = place.clock.local(self.now);
        let seed = host::seed(self.seed, host, place.life);
        let saved = place.disk.load(&mut config);
        let node =
            Node::new(config, seed, at, saved).expect("the scenario's configurations are checked when it is read");
        place.start(node);
        place.last_at = at;
        place.restore_at = self.now + first_restore;
        self.checkers.start(host, place.name.clone(), place.disk.incarnation(), coalesces, limit);
        self.look_at_process(host);
        self.input_now(host, Stimulus::Tick);
    }

    /// A checkpoint takes time by the member, so that large clusters are restored less often.
    fn restore_mean(&self) -> u64 {
        5_000_000_000 * (1 + self.hosts.len() as u64 / 32)
    }

    /// Ends a process.
    pub(crate) fn stop(&mut self, host: HostId, down: Down) {
        if self.hosts[host.index()].node.is_some() {
            self.streams_end(host, down == Down::Power);
            self.drop_writes(host, down == Down::Power);
            self.hosts[host.index()].stop(down);
            self.look_at_process(host);
        }
    }

    /// What is on its way to a disk does not arrive; without power the first of it may be torn.
    fn drop_writes(&mut self, host: HostId, power: bool) {
        let writes = self.queue.extract(|what| matches!(what, Happening::Stored { host: whose, .. } if *whose == host));
        self.faults.lost_writes += writes.len() as u64;
        if let Some(Happening::Stored { record, .. }) = writes.first().filter(|_| power) {
            let (disk, schedule) = (&mut self.hosts[host.index()].disk, &mut self.schedule);
            self.faults.torn_writes += u64::from(disk.tear(record, |bytes| schedule.index(bytes)));
        }
    }

    /// A time has come at which the process may have something to do.
    pub(crate) fn wake(&mut self, host: HostId) {
        let place = &mut self.hosts[host.index()];
        if place.wake != self.now {
            return;
        }
        place.wake = u64::MAX;
        if place.paused || place.draining {
            return;
        }
        let at = place.clock.local(self.now);
        match place.node.as_ref().and_then(Node::next_deadline) {
            Some(deadline) if deadline.at <= at => self.input(host, at, Stimulus::Tick),
            Some(_) => self.plan_wake(host),
            None => {}
        }
    }

    /// Wakes the process at its next deadline, unless it is woken before.
    pub(crate) fn plan_wake(&mut self, host: HostId) {
        let place = &mut self.hosts[host.index()];
        let Some(deadline) = place.node.as_ref().and_then(Node::next_deadline) else { return };
        let at = place.clock.real(deadline.at).max(self.now);
        if at < place.wake && !place.paused && !place.draining {
            place.wake = at;
            self.push_at(at, Happening::Wake(host));
        }
    }

    /// From time to time a node is replaced by its own checkpoint.
    pub(crate) fn restore_if_due(&mut self, host: HostId) {
        if self.now < self.hosts[host.index()].restore_at || self.meter.is_some() || !self.is_watched(host) {
            return;
        }
        let mean = self.restore_mean();
        let next = mean / 2 + self.restores.below(mean);
        let place = &mut self.hosts[host.index()];
        place.restore_at = self.now + next;
        self.faults.restores += 1;
        if let Err(seen) = place.restore(&self.interner) {
            self.fail(Some(host), Broken { rule: "a checkpoint can be restored", seen });
        }
    }
}
