//! Whether the running nodes agree on who is a member.

use std::collections::BTreeMap;

use villein_core::Node;
use villein_core::event::Status;
use villein_core::types::Name;

use crate::judge::status_of;
use crate::scenario::HostId;
use crate::world::World;

impl World<'_> {
    /// Whether a process runs and counts itself in: one that has left and stays is no member.
    fn is_member(&self, host: HostId) -> bool {
        let place = &self.hosts[host.index()];
        let left = |node: &Node| status_of(&node.members(), &place.name) == Status::Left;
        place.runs() && !place.node.as_ref().is_some_and(left)
    }

    /// Whether a process runs on every host and knows as many members, none of them failed.
    pub(crate) fn is_whole(&self) -> bool {
        self.hosts.iter().all(|host| {
            host.node
                .as_ref()
                .map(Node::stats)
                .is_some_and(|stats| stats.failed == 0 && stats.members == self.hosts.len())
        })
    }

    /// Why the running nodes do not agree, if they do not: in each part of the network that is connected, all list
    /// the same members with the same statuses, and each other as alive (protocol.md 5.5).
    pub(crate) fn disagreement(&self) -> Option<String> {
        let running: Vec<HostId> = self.scenario.hosts().filter(|host| self.is_member(*host)).collect();
        let mut part = vec![usize::MAX; self.hosts.len()];
        for (number, &host) in running.iter().enumerate() {
            if part[host.index()] != usize::MAX {
                continue;
            }
            let mut reached = vec![host];
            part[host.index()] = number;
            while let Some(here) = reached.pop() {
                for &other in &running {
                    let open = !self.network.is_cut(here, other) && !self.network.is_cut(other, here);
                    if open && part[other.index()] == usize::MAX {
                        part[other.index()] = number;
                        reached.push(other);
                    }
                }
            }
        }
        // Every node of a part is compared with the part's first one.
        let mut first: BTreeMap<usize, (HostId, Vec<(Name, Status)>)> = BTreeMap::new();
        for &host in &running {
            let Some(node) = &self.hosts[host.index()].node else { continue };
            let own: Vec<(Name, Status)> =
                node.members().into_iter().map(|member| (member.info.name, member.info.status)).collect();
            let (other, theirs) = first.entry(part[host.index()]).or_insert_with(|| (host, own.clone()));
            if let Some(seen) = difference(self.scenario.name(host), &own, self.scenario.name(*other), theirs) {
                return Some(seen);
            }
        }
        running.iter().find_map(|&host| {
            let (watcher, listed) = first.get(&part[host.index()])?;
            let name = &self.hosts[host.index()].name;
            let status = listed.iter().find(|(member, _)| member == name).map_or(Status::None, |(_, status)| *status);
            (status != Status::Alive).then(|| format!("{} sees {name} {status}", self.scenario.name(*watcher)))
        })
    }
}

/// Who is gone is not told to newcomers (a dead message about an unknown name is dropped), so to have forgotten or never
/// heard of a member agrees with "left" and "failed".
fn difference(one: &str, left: &[(Name, Status)], other: &str, right: &[(Name, Status)]) -> Option<String> {
    if left == right {
        return None;
    }
    let status = |list: &[(Name, Status)], name: &Name| {
        list.iter().find(|(member, _)| member == name).map_or(Status::None, |(_, status)| *status)
    };
    let agree = |here, there| match (here, there) {
        (Status::None, Status::Left | Status::Failed) | (Status::Left | Status::Failed, Status::None) => true,
        (here, there) => here == there,
    };
    left.iter().chain(right).find_map(|(name, _)| {
        let (here, there) = (status(left, name), status(right, name));
        (!agree(here, there)).then(|| format!("{one} sees {name} {here}, {other} sees it {there}"))
    })
}
