//! Every deadline of a node, in one ordered index.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::io::{Activity, Deadline, StreamId};
use crate::time::Time;
use crate::types::{SeqNo, Slot};

/// What a timer is for; each value is armed at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TimerKind {
    /// The next probe is due.
    ProbeTick,
    /// The direct ping of the running probe has had its time.
    ProbeTimeout,
    /// The running probe ends.
    ProbeDeadline,
    /// A helper owes the originator a nack for this ping of ours.
    RelayNack(SeqNo),
    /// A helper stops waiting for the ack of this ping of ours.
    RelayEnd(SeqNo),
    /// The suspicion of this member runs out.
    Suspicion(Slot),
    /// The next gossip round is due.
    Gossip,
    /// The next periodic push/pull is due.
    PushPull,
    /// A stream has had its time.
    Stream(StreamId),
    /// Members, tombstones or buffered intents may have to be forgotten.
    Reap,
    /// A failed member may be contacted again.
    Reconnect,
    /// The next attempt to reach the retry-join targets.
    RetryJoin,
    /// The current step of a graceful leave ends.
    Leave,
    /// A force-leave or tag change has waited long enough for its broadcast.
    BroadcastWait(u64),
    /// Members that are leaving although they answer may turn alive again.
    LeavingCheck,
    /// The window of coalesced member events closes.
    CoalescePeriod,
    /// No member event has come for the quiet time.
    CoalesceQuiet,
    /// The broadcast queues are measured.
    QueueCheck,
    /// A query of our own has had its time.
    QueryEnd(u64),
    /// Members that have not answered about their keys are asked again.
    KeyRetry,
    /// Members that were leaving when they were pruned are forgotten.
    Prune,
    /// Clocks that have moved are written to the snapshot.
    SnapshotClocks,
    /// A snapshot that could not be written is written anew.
    SnapshotRetry,
    /// The peers of the snapshot are contacted again.
    SnapshotJoin,
    /// The window of coalesced user events closes.
    UserCoalescePeriod,
    /// No user event has come for the quiet time.
    UserCoalesceQuiet,
}

impl TimerKind {
    /// Whether there may be many of the kind, each with a number of its own.
    const fn is_numbered(self) -> bool {
        matches!(
            self,
            Self::RelayNack(_)
                | Self::RelayEnd(_)
                | Self::Suspicion(_)
                | Self::Stream(_)
                | Self::BroadcastWait(_)
                | Self::QueryEnd(_)
        )
    }

    /// The activity that the timer belongs to: it is not due while that activity is stalled.
    pub const fn activity(self) -> Activity {
        match self {
            Self::ProbeTick | Self::ProbeTimeout | Self::ProbeDeadline => Activity::Probe,
            Self::RelayNack(_) | Self::RelayEnd(_) => Activity::Nack,
            Self::Gossip => Activity::Gossip,
            Self::PushPull => Activity::PushPull,
            Self::Stream(_) => Activity::Stream,
            Self::Reconnect
            | Self::RetryJoin
            | Self::Leave
            | Self::BroadcastWait(_)
            | Self::KeyRetry
            | Self::SnapshotJoin => Activity::Serf,
            Self::Suspicion(_)
            | Self::Reap
            | Self::LeavingCheck
            | Self::CoalescePeriod
            | Self::CoalesceQuiet
            | Self::QueueCheck
            | Self::QueryEnd(_)
            | Self::Prune
            | Self::SnapshotClocks
            | Self::SnapshotRetry
            | Self::UserCoalescePeriod
            | Self::UserCoalesceQuiet => Activity::Upkeep,
        }
    }
}

type Key = (Time, u64);

/// The ordered deadline index.
///
/// Timers fire in (deadline, insertion) order. Arming a kind again moves it; nothing stale can fire.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Timers {
    /// Those of which a node has one: never more than there are kinds, of which few are armed at a time.
    few: Vec<(Key, TimerKind)>,
    /// Those of which there may be thousands, by deadline and by kind.
    queues: [BTreeMap<Key, TimerKind>; Activity::COUNT],
    numbered: BTreeMap<TimerKind, Key>,
    stalled: [bool; Activity::COUNT],
    insertions: u64,
    /// The earliest of those that are not stalled: every input asks for it, few change it.
    first: Option<(Key, TimerKind)>,
}

impl Timers {
    /// Arms `kind` for `at`, replacing an earlier deadline of the same kind.
    pub fn arm(&mut self, kind: TimerKind, at: Time) {
        let key = (at, self.insertions);
        self.insertions = self.insertions.wrapping_add(1);
        if kind.is_numbered() {
            if let Some(before) = self.numbered.insert(kind, key) {
                self.queue(kind.activity()).remove(&before);
            }
            self.queue(kind.activity()).insert(key, kind);
        } else if let Some(place) = self.few.iter_mut().find(|(_, armed)| *armed == kind) {
            place.0 = key;
        } else {
            self.few.push((key, kind));
        }
        if self.first.is_some_and(|(_, first)| first == kind) {
            self.first = self.find_first();
        } else if !self.is_stalled(kind.activity()) && self.first.is_none_or(|(first, _)| key < first) {
            self.first = Some((key, kind));
        }
    }

    /// Arms `kind` unless it is armed already.
    pub fn arm_if_idle(&mut self, kind: TimerKind, at: Time) {
        if self.deadline(kind).is_none() {
            self.arm(kind, at);
        }
    }

    /// Removes `kind`; does nothing if it is not armed.
    pub fn disarm(&mut self, kind: TimerKind) {
        if kind.is_numbered() {
            let Some(key) = self.numbered.remove(&kind) else { return };
            self.queue(kind.activity()).remove(&key);
        } else {
            let Some(place) = self.few.iter().position(|&(_, armed)| armed == kind) else { return };
            self.few.swap_remove(place);
        }
        if self.first.is_some_and(|(_, first)| first == kind) {
            self.first = self.find_first();
        }
    }

    /// The deadline of `kind`, if it is armed.
    pub fn deadline(&self, kind: TimerKind) -> Option<Time> {
        if kind.is_numbered() {
            return self.numbered.get(&kind).map(|&(at, _)| at);
        }
        self.few.iter().find(|&&(_, armed)| armed == kind).map(|&((at, _), _)| at)
    }

    /// The earliest deadline of the activities that are not stalled.
    pub fn next(&self) -> Option<Deadline> {
        self.first.map(|((at, _), kind)| Deadline { at, why: kind, activity: kind.activity() })
    }

    /// Removes and returns the earliest timer that is due at `now` and not stalled.
    pub fn pop_due(&mut self, now: Time) -> Option<TimerKind> {
        let ((at, _), kind) = self.first?;
        if at > now {
            return None;
        }
        self.disarm(kind);
        Some(kind)
    }

    /// Holds the timers of `activity`; `Upkeep` cannot be held.
    pub fn stall(&mut self, activity: Activity) {
        if activity != Activity::Upkeep {
            *self.stalled_flag(activity) = true;
            self.first = self.find_first();
        }
    }

    /// Lets the timers of `activity` go on.
    pub fn resume(&mut self, activity: Activity) {
        *self.stalled_flag(activity) = false;
        self.first = self.find_first();
    }

    /// Whether `activity` is stalled.
    pub fn is_stalled(&self, activity: Activity) -> bool {
        self.stalled.get(activity.index()).copied().unwrap_or_default()
    }

    /// How many timers are armed.
    pub fn len(&self) -> usize {
        self.few.len().saturating_add(self.numbered.len())
    }

    /// Whether no timer is armed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Checks that the index agrees with itself.
    ///
    /// # Errors
    /// What does not hold.
    pub(crate) fn check(&self) -> Result<(), alloc::string::String> {
        if self.first != self.find_first() {
            return Err(alloc::format!("{:?} is held for the first timer, not {:?}", self.first, self.find_first()));
        }
        let queued = self.queues.iter().fold(0_usize, |sum, queue| sum.saturating_add(queue.len()));
        if queued != self.numbered.len() {
            return Err(alloc::format!("{queued} timers are queued, {} are armed", self.numbered.len()));
        }
        Ok(())
    }

    fn find_first(&self) -> Option<(Key, TimerKind)> {
        let few = self.few.iter().copied().filter(|(_, kind)| !self.is_stalled(kind.activity())).min();
        if self.numbered.is_empty() {
            return few;
        }
        let queues = self.queues.iter().zip(&self.stalled).filter(|&(_, &stalled)| !stalled);
        let firsts = queues.filter_map(|(queue, _)| queue.first_key_value()).map(|(&key, &kind)| (key, kind));
        firsts.chain(few).min()
    }

    #[expect(clippy::indexing_slicing, reason = "Activity::index is below COUNT for every variant")]
    fn queue(&mut self, activity: Activity) -> &mut BTreeMap<Key, TimerKind> {
        &mut self.queues[activity.index()]
    }

    #[expect(clippy::indexing_slicing, reason = "Activity::index is below COUNT for every variant")]
    fn stalled_flag(&mut self, activity: Activity) -> &mut bool {
        &mut self.stalled[activity.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn timers_fire_by_deadline_then_by_insertion() {
        let mut timers = Timers::default();
        timers.arm(TimerKind::Gossip, at(5));
        timers.arm(TimerKind::ProbeTick, at(5));
        timers.arm(TimerKind::Reap, at(4));
        assert_eq!(timers.pop_due(at(5)), Some(TimerKind::Reap));
        assert_eq!(timers.pop_due(at(5)), Some(TimerKind::Gossip));
        assert_eq!(timers.pop_due(at(5)), Some(TimerKind::ProbeTick));
        assert_eq!(timers.pop_due(at(5)), None);
    }

    #[test]
    fn arming_again_moves_the_deadline() {
        let mut timers = Timers::default();
        timers.arm(TimerKind::Gossip, at(5));
        timers.arm(TimerKind::Gossip, at(9));
        assert_eq!(timers.pop_due(at(8)), None);
        assert_eq!(timers.len(), 1);
        timers.arm_if_idle(TimerKind::Gossip, at(1));
        assert_eq!(timers.deadline(TimerKind::Gossip), Some(at(9)));
    }

    #[test]
    fn a_stalled_activity_holds_its_timers_and_no_others() {
        let mut timers = Timers::default();
        timers.arm(TimerKind::ProbeDeadline, at(1));
        timers.arm(TimerKind::Suspicion(Slot(3)), at(2));
        timers.stall(Activity::Probe);
        timers.stall(Activity::Upkeep);
        assert_eq!(timers.next().map(|next| next.why), Some(TimerKind::Suspicion(Slot(3))));
        assert_eq!(timers.pop_due(at(9)), Some(TimerKind::Suspicion(Slot(3))));
        assert_eq!(timers.pop_due(at(9)), None);
        timers.resume(Activity::Probe);
        assert_eq!(timers.pop_due(at(9)), Some(TimerKind::ProbeDeadline));
    }
}
