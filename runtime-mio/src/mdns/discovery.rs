//! What has been joined of what was found, and what is joined next.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};

use mio::{Poll, Waker};
use villein_core::Time;
use villein_core::command::{Command, JoinError, JoinErrors, Reply};
use villein_core::log::Level;
use villein_core::types::{JoinTarget, Name};

use super::links::Sockets;
use super::message::Message;
use super::{Found, MdnsError, MdnsOptions, Names, STACK_BYTES, WAKER, Worker};
use crate::agent::Agent;
use crate::clock::Clock;
use crate::limits::{MDNS_HOSTS_MAX, MDNS_JOIN_TARGETS_MAX, MDNS_JOINS_WAITING_MAX, MDNS_WAITING_MAX};
use crate::log_text::Breaks;
use crate::requests::Asker;

/// Failures after which the time between two attempts does not grow any more.
const FAILURES_MAX: u32 = 4;

/// What became of an address that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Joined,
    /// It is being joined, or waits for that, after so many failures.
    Joining {
        failures: u32,
    },
    /// It is left alone for so many answers more.
    Failed {
        failures: u32,
        wait: u32,
    },
}

/// The thread, and what has been joined of what it found.
pub(crate) struct Discovery {
    pub(super) hosts: BTreeMap<SocketAddr, Host>,
    /// Those that wait to be joined.
    pub(super) waiting: VecDeque<SocketAddr>,
    /// Whether others are being joined.
    pub(super) is_joining: bool,
    pub(super) found: Receiver<Found>,
    pub(super) stopped: Arc<AtomicBool>,
    pub(super) waker: Arc<Waker>,
    pub(super) thread: Option<JoinHandle<()>>,
}

impl Discovery {
    /// Starts the thread, which answers for `node` at `addr` and wakes the loop by `waker`.
    pub(crate) fn start(
        options: MdnsOptions,
        node: &Name,
        addr: SocketAddr,
        waker: &Arc<Waker>,
    ) -> Result<Self, MdnsError> {
        let names = Names::new(&options.cluster, node)?;
        let poll = Poll::new()?;
        let own_waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let (sender, found) = sync_channel(MDNS_WAITING_MAX);
        let stopped = Arc::new(AtomicBool::new(false));
        let mut worker = Worker {
            records: names.records(&options.cluster, addr),
            question: Message::query(&names.service).encode(),
            names,
            options,
            poll,
            sockets: Sockets::default(),
            clock: Clock::start(),
            ask_at: Time::ZERO,
            quiet_at: None,
            tell_at: Time::ZERO,
            hosts: BTreeSet::new(),
            failures: 0,
            found: sender,
            loop_waker: Arc::clone(waker),
            stopped: Arc::clone(&stopped),
        };
        worker.follow_links();
        if worker.sockets.is_empty() {
            return Err(MdnsError::NoListeners);
        }
        let builder = thread::Builder::new().name("mdns".to_owned()).stack_size(STACK_BYTES);
        let thread = Some(builder.spawn(move || worker.run())?);
        Ok(Self::new(found, stopped, own_waker, thread))
    }

    pub(super) const fn new(
        found: Receiver<Found>,
        stopped: Arc<AtomicBool>,
        waker: Arc<Waker>,
        thread: Option<JoinHandle<()>>,
    ) -> Self {
        Self { hosts: BTreeMap::new(), waiting: VecDeque::new(), is_joining: false, found, stopped, waker, thread }
    }

    /// Has those of `found` wait that are to be joined.
    pub(super) fn take_new(&mut self, found: Vec<SocketAddr>) {
        for addr in found {
            if self.waiting.len() >= MDNS_JOINS_WAITING_MAX {
                return;
            }
            if !self.hosts.contains_key(&addr) && self.hosts.len() == MDNS_HOSTS_MAX && !self.forget_one() {
                continue;
            }
            let failures = match self.hosts.get_mut(&addr) {
                Some(Host::Joined | Host::Joining { .. }) => continue,
                Some(Host::Failed { failures: _, wait }) if *wait > 0 => {
                    *wait -= 1;
                    continue;
                }
                Some(Host::Failed { failures, wait: _ }) => *failures,
                None => 0,
            };
            self.hosts.insert(addr, Host::Joining { failures });
            self.waiting.push_back(addr);
        }
    }

    /// Those that are joined next; `None`: nobody waits, or the last join is not over.
    pub(super) fn next_join(&mut self) -> Option<Vec<SocketAddr>> {
        if !self.has_next_join() {
            return None;
        }
        self.is_joining = true;
        Some(self.waiting.drain(..self.waiting.len().min(MDNS_JOIN_TARGETS_MAX)).collect())
    }

    /// Whether somebody can be joined now.
    pub(crate) fn has_next_join(&self) -> bool {
        !self.is_joining && !self.waiting.is_empty()
    }

    /// Forgets the one that could not be joined most often; false: there is none. Whoever invents hosts on a link must not
    /// keep those that are there from being found.
    fn forget_one(&mut self) -> bool {
        let failures = |host: &Host| match host {
            Host::Failed { failures, .. } => Some(*failures),
            Host::Joined | Host::Joining { .. } => None,
        };
        let failed = self.hosts.iter().filter_map(|(addr, host)| Some((failures(host)?, *addr)));
        failed.max().is_some_and(|(_, addr)| self.hosts.remove(&addr).is_some())
    }

    /// A join is over. Those that failed are tried again when they answer the next time, then every second, fourth
    /// time and so on: an agent of another kind must not fill the log.
    pub(super) fn joined(&mut self, hosts: &[SocketAddr], failed: impl Fn(&SocketAddr) -> bool) {
        self.is_joining = false;
        for host in hosts {
            let Some(state) = self.hosts.get_mut(host) else { continue };
            *state = match *state {
                Host::Joining { failures } if failed(host) => {
                    Host::Failed { failures: failures + 1, wait: (1 << failures.min(FAILURES_MAX)) - 1 }
                }
                Host::Joining { .. } | Host::Joined | Host::Failed { .. } => Host::Joined,
            };
        }
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        if self.waker.wake().is_ok()
            && let Some(thread) = self.thread.take()
        {
            // Only fails if the thread has panicked, which has been reported then.
            let _ = thread.join();
        }
    }
}

impl Agent {
    /// Joins what the thread has found, a few at a time.
    pub(crate) fn take_discovered(&mut self) {
        while let Some(found) = self.discovery.as_ref().and_then(|discovery| discovery.found.try_recv().ok()) {
            match found {
                Found::Problem(problem) => {
                    self.journal.log(Level::Err, format_args!("agent.mdns: Failed to poll for new hosts: {problem}"));
                }
                Found::Hosts(found) => {
                    if let Some(discovery) = &mut self.discovery {
                        discovery.take_new(found);
                    }
                }
            }
        }
        // Who leaves has no use for others.
        while !self.leave_asked
            && let Some(hosts) = self.discovery.as_mut().and_then(Discovery::next_join)
        {
            let targets = hosts.iter().map(|addr| JoinTarget::from(addr.to_string().as_str())).collect();
            let command = Command::Join { targets, replay: self.replay };
            self.command(Asker::Discovery(hosts), command);
        }
    }

    /// Whether [`Agent::take_discovered`] has somebody to join.
    pub(crate) fn joins_discovered(&self) -> bool {
        !self.leave_asked && self.discovery.as_ref().is_some_and(Discovery::has_next_join)
    }

    /// The join of what was found is over.
    pub(crate) fn discovered_joined(&mut self, hosts: &[SocketAddr], reply: &Reply) {
        let Some(discovery) = &mut self.discovery else { return };
        let failed = |problem: fmt::Arguments<'_>, journal: &mut crate::log_ring::Journal| {
            journal.log_lines(Level::Err, Breaks::List, format_args!("agent.mdns: Failed to join: {problem}"));
        };
        match reply {
            Reply::Joined { contacted: 0, errors } => {
                discovery.joined(hosts, |_| true);
                failed(format_args!("{}", JoinErrors(errors)), &mut self.journal);
            }
            Reply::Joined { contacted, errors } => {
                discovery.joined(hosts, |host| errors.iter().any(|error| is_of(error, host)));
                self.journal.log(Level::Info, format_args!("agent.mdns: Joined {contacted} hosts"));
            }
            Reply::Failed(error) => {
                discovery.joined(hosts, |_| true);
                failed(format_args!("{error}"), &mut self.journal);
            }
            Reply::Left
            | Reply::Rejoined
            | Reply::ForceLeft
            | Reply::EventSent
            | Reply::QueryStarted
            | Reply::QueryAck { .. }
            | Reply::QueryResponse { .. }
            | Reply::QueryDone
            | Reply::Responded
            | Reply::TagsSet
            | Reply::QueryEnded
            | Reply::Keys(_) => discovery.joined(hosts, |_| true),
        }
    }
}

/// Whether a join failed with the host. The error does not tell its port.
pub(super) fn is_of(error: &JoinError, host: &SocketAddr) -> bool {
    match error {
        JoinError::Resolve { target, reason: _ } => *target == host.to_string(),
        JoinError::Contact { host: ip, reason: _ } => *ip == host.ip().to_string(),
    }
}
