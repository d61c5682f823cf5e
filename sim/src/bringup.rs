//! How the processes of a world come up, and how they come to know each other where the scenario says that they do.

use villein_core::io::{StreamEvent, StreamId};
use villein_core::keyring::Keyring;
use villein_core::lamport::LamportTime;
use villein_core::wire::{Encoding, Envelope, NodeState, PushPull, SerfState, StreamMessage, SwimState, seal_stream};
use villein_core::{Node, Stimulus};

use crate::checkers::Broken;
use crate::faults::Faults;
use crate::scenario::{HostId, Start};
use crate::world::{Happening, Meter, World};

/// How long the members of a cluster that has found each other may take to agree about it.
const FORMING_MAX: u64 = 120;

impl World<'_> {
    /// Starts the processes, and lets them find each other where the scenario says so; false: they do not. Then the
    /// scenario's own time begins.
    pub(crate) fn bring_up(&mut self) -> bool {
        for host in self.scenario.hosts().filter(|host| !self.scenario.nodes[host.index()].down) {
            self.push(0, Happening::Start(host));
        }
        let formed = self.scenario.start != Start::Joined || self.form();
        if formed {
            self.begin();
        }
        formed
    }

    /// The scenario's own time begins: from now on its network, its steps and its expectations hold.
    fn begin(&mut self) {
        self.zero = self.now;
        self.faults = Faults { restores: self.faults.restores, ..Faults::default() };
        self.timeline.clear();
        self.judge.clear();
        self.meter = self.meter.as_ref().map(|_| Meter::default());
        if let Some(history) = &mut self.history {
            history.begin();
            self.look_at_all();
        }
        self.network.begin(self.scenario.link, &self.scenario.rules);
        // What is judged at the time of a step is judged before the step.
        for (place, expect) in self.scenario.expects.iter().enumerate() {
            self.push(expect.from, Happening::Judge { expect: place, verdict: false });
            self.push(expect.by, Happening::Judge { expect: place, verdict: true });
        }
        for (place, step) in self.scenario.steps.iter().enumerate() {
            self.push(step.at, Happening::Step(place));
        }
    }

    /// Every process hears of all others, and over a perfect network they agree about it.
    fn form(&mut self) -> bool {
        self.run_until(0);
        self.acquaint();
        for second in 1..=FORMING_MAX {
            self.run_until(second * 1_000_000_000);
            if self.broken.is_some() {
                return false;
            }
            if self.is_whole() && self.hosts.iter().all(|host| host.pending.is_empty()) {
                return true;
            }
        }
        let seen = self.disagreement().unwrap_or_else(|| "not every node knows all others".to_owned());
        self.fail(None, Broken { rule: "the cluster forms before the scenario begins", seen });
        false
    }

    /// Hands each process one push/pull with what all of them say of themselves. Joining one by one would cost n² words
    /// in as many messages; this is the same for a node, an ordinary stream of an ordinary peer, and is built once.
    fn acquaint(&mut self) {
        let nodes = self.hosts.iter().filter_map(|host| host.node.as_ref());
        let nodes: Vec<NodeState> =
            nodes.map(|node| NodeState { alive: node.alive(), state: SwimState::Alive }).collect();
        let statuses = nodes.iter().map(|node| (node.alive.node.clone(), LamportTime::default())).collect();
        let serf = SerfState { statuses, ..SerfState::default() };
        let state = StreamMessage::PushPull(PushPull { join: false, nodes, serf, unreadable: 0 });
        let streams = [Encoding::Native, Encoding::Memberlist].map(|encoding| self.sealed_stream(encoding, &state));
        for host in self.scenario.hosts() {
            let bytes = match self.hosts[host.index()].wire {
                villein_core::config::Wire::Memberlist => &streams[1],
                villein_core::config::Wire::Native | villein_core::config::Wire::Auto => &streams[0],
            };
            let place = &mut self.hosts[host.index()];
            place.accepted += 1;
            let id = StreamId(place.accepted * 2 - 1);
            let from = crate::network::addr(HostId(0));
            // What it answers has nobody to go to: its stream is known to no host.
            for event in [StreamEvent::Accepted { from }, StreamEvent::Bytes(bytes)] {
                self.input_now(host, Stimulus::Stream { id, event });
            }
        }
    }

    /// The stream of somebody who has the cluster's key and label.
    fn sealed_stream(&self, encoding: Encoding, message: &StreamMessage) -> Box<[u8]> {
        let keys = self.hosts.iter().find_map(|host| host.node.as_ref()).into_iter().flat_map(Node::keys);
        let keyring = Keyring::new(keys.cloned().collect());
        let envelope = Envelope { keyring: &keyring, label: self.scenario.label.as_bytes() };
        seal_stream(encoding, message, envelope, [0; 12], true, false)
    }
}
