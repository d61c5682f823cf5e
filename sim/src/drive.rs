//! The driver of a simulated process: it performs what a node puts out, exactly as the runtime does.

use std::net::SocketAddr;

use villein_core::io::{Activity, ResolveError, StreamAction};
use villein_core::log::Log;
use villein_core::{Output, Stimulus};

use crate::host::{Gate, Waiting};
use crate::network::host_at;
use crate::scenario::{Answer, DiskFault, HostId};
use crate::timeline::Entry;
use crate::world::{Happening, World};

/// A checksum may stand before a full packet (gossip-wire.md 1.6).
const CHECKSUM: usize = 5;

impl World<'_> {
    /// Does what a node wants done, as the runtime does.
    pub(crate) fn perform(&mut self, host: HostId, output: Output) {
        match output {
            Output::Datagram { activity, .. } | Output::Stream { activity, .. } if self.is_shut(host, activity) => {
                self.faults.stalled += 1;
                self.hosts[host.index()].parked.push(output);
            }
            Output::Datagram { activity, to, .. } if self.hosts[host.index()].unplugged => {
                let life = self.hosts[host.index()].life;
                self.faults.unsent += 1;
                self.push(0, Happening::Arrive { host, life, waiting: Box::new(Waiting::SendFailed { to, activity }) });
            }
            Output::Datagram { activity, to, bytes } => {
                self.measure(0, bytes.len());
                self.measure_datagram(activity, &bytes);
                let most = self.scenario.nodes[host.index()].swim.packet_bytes + CHECKSUM;
                if let Err(broken) = self.checkers.datagram(bytes.len(), most) {
                    self.fail(Some(host), broken);
                }
                self.send(host, to, bytes);
            }
            Output::Stream { id, action, .. } => {
                if let StreamAction::Write(bytes) = &action {
                    self.measure(1, bytes.len());
                }
                self.stream_action(host, id, action);
            }
            Output::Resolve { id, host: question } => {
                let life = self.hosts[host.index()].life;
                let after = 1_000_000 + self.schedule.below(4_000_000);
                self.push(after, Happening::Look { host, life, id, name: question.name, port: question.port });
            }
            Output::Event(event) => self.event(host, *event),
            Output::Reply { id, reply } => self.reply(host, id, *reply),
            Output::Persist { id, record } => {
                let mut after = 1_000_000 + self.schedule.below(9_000_000);
                if let DiskFault::Slow(by) = self.hosts[host.index()].disk.fault {
                    after += by.draw(&mut self.schedule);
                    self.faults.slow_writes += 1;
                }
                let place = &mut self.hosts[host.index()];
                let (life, at) = (place.life, place.disk_until.max(self.now + after));
                place.disk_until = at;
                self.push_at(at, Happening::Stored { host, life, id, record });
            }
            Output::Log(log) => self.log(host, &log),
        }
    }

    fn log(&mut self, host: HostId, log: &Log) {
        if let Some(meter) = &mut self.meter {
            meter.suspicions += u64::from(matches!(log, Log::Suspect(_)));
            return;
        }
        self.judge.log(self.now - self.zero, host, log);
        if self.scenario.logs.is_some_and(|least| log.level() >= least) {
            let text = format!("[{}] {log}", log.level());
            self.note(Entry::Log { host, text });
        }
    }

    fn measure_datagram(&mut self, activity: Activity, bytes: &[u8]) {
        let Some(meter) = &mut self.meter else { return };
        if activity == Activity::Gossip {
            meter.gossiped += bytes.len() as u64;
        }
        if let Some(first) = meter.needle.first() {
            let found =
                bytes.iter().enumerate().filter(|(at, byte)| *byte == first && bytes[*at..].starts_with(meter.needle));
            meter.copies += found.count() as u64;
        }
    }

    fn measure(&mut self, frames: u64, bytes: usize) {
        if let Some(meter) = &mut self.meter {
            meter.frames += frames;
            meter.bytes += bytes as u64;
        }
    }

    /// Whether a gate holds the activity back; its first try tells the node so.
    fn is_shut(&mut self, host: HostId, activity: Activity) -> bool {
        let place = &self.hosts[host.index()];
        let (gate, life) = (place.gates[activity.index()], place.life);
        if gate == Gate::Closed {
            self.push(0, Happening::Stalled { host, life, activity });
        }
        gate != Gate::Open
    }

    /// A gate opens: what it held goes out, and the activity goes on.
    pub(crate) fn open_gate(&mut self, host: HostId, activity: Activity) {
        let place = &mut self.hosts[host.index()];
        let gate = std::mem::take(&mut place.gates[activity.index()]);
        let parked = std::mem::take(&mut place.parked);
        for output in parked {
            self.perform_parked(host, activity, output);
        }
        if gate == Gate::Stalled {
            self.input_now(host, Stimulus::Resumed { activity });
        }
    }

    fn perform_parked(&mut self, host: HostId, opened: Activity, output: Output) {
        match output {
            Output::Datagram { activity, .. } | Output::Stream { activity, .. } if activity != opened => {
                self.hosts[host.index()].parked.push(output);
            }
            other => self.perform(host, other),
        }
    }

    fn send(&mut self, from: HostId, to: SocketAddr, bytes: Box<[u8]>) {
        if let Some(history) = &mut self.history {
            history.packet(self.now - self.zero, bytes.len());
        }
        let Some(to) = host_at(to, self.hosts.len()) else {
            self.faults.undeliverable += 1;
            return;
        };
        let fate = self.network.packet((from, to), bytes.len(), self.now, &mut self.faults);
        if let Some(after) = fate.second {
            self.push(after, Happening::Packet { from, to, bytes: bytes.clone() });
        }
        if let Some(after) = fate.first {
            let mut bytes = bytes;
            if fate.corrupt {
                self.network.corrupt(&mut bytes, &mut self.faults);
            }
            if fate.truncate {
                self.network.truncate(&mut bytes, &mut self.faults);
            }
            self.push(after, Happening::Packet { from, to, bytes });
        }
    }

    pub(crate) fn look_up(&mut self, name: &str, port: u16) -> Result<Box<[SocketAddr]>, ResolveError> {
        let answer: Result<Box<[SocketAddr]>, ResolveError> = match self.dns.get(name) {
            Some(Answer::Addresses(ips)) => Ok(ips.iter().map(|ip| SocketAddr::new(*ip, port)).collect()),
            Some(Answer::Error(text)) => Err(ResolveError(text.clone())),
            None => Err(ResolveError(format!("lookup {name}: no such host"))),
        };
        let runs = |addr: &SocketAddr| {
            host_at(*addr, self.hosts.len()).is_some_and(|host| self.hosts[host.index()].node.is_some())
        };
        match &answer {
            Ok(addrs) if !addrs.is_empty() => self.faults.misresolved += u64::from(!addrs.iter().all(runs)),
            Ok(_) | Err(_) => self.faults.unresolved += 1,
        }
        answer
    }

    /// Adds to the timeline what is only made if anybody looks at it.
    pub(crate) fn note_with(&mut self, entry: impl FnOnce() -> Entry) {
        if self.history.is_some() || self.timeline.has_room() {
            self.note(entry());
        } else {
            self.timeline.leave_out();
        }
    }

    /// Adds to the timeline.
    pub(crate) fn note(&mut self, entry: Entry) {
        if let Some(history) = &mut self.history {
            history.note(self.now - self.zero, entry.clone());
        }
        self.timeline.add(self.now - self.zero, entry);
    }
}
