//! How often lines of one kind are written: a flood must not fill a disk, and in ordinary use each line must be there.
//!
//! A line that comes too soon waits, for less than a second; others of its kind that come meanwhile are only counted, and
//! the line that waits says how many they were.

use std::fmt;
use std::mem::Discriminant;
use std::panic::Location;

use villein_core::log::{Level, Log};

/// What makes lines be of one kind, whatever names and numbers are in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One kind of record of the core; of what was dropped, each is a kind.
    Core(Discriminant<Log>, &'static str),
    /// Written at one place of the driver.
    Place(&'static Location<'static>),
    /// An event that a slow client misses.
    MissedEvent,
}

impl Kind {
    /// The kind of a record.
    pub(crate) fn of(log: &Log) -> Self {
        Self::Core(std::mem::discriminant(log), if let Log::Dropped(what, _) = log { what } else { "" })
    }
}

/// How many lines of a kind may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    per_second: u32,
    at_once: u32,
}

impl Pace {
    /// Complaints: who sees ten has understood.
    const COMPLAINT: Self = Self { per_second: 1, at_once: 10 };
    /// What others cause at will: a minute of it may come at once.
    pub(crate) const CAUSED: Self = Self { per_second: 1, at_once: 60 };
    /// Clients that come, of each of which upstream writes a line: a script that asks ten times a second may do so for a minute.
    pub(crate) const VISIT: Self = Self { per_second: 1, at_once: 600 };
    /// What the cluster does: more than the gossip of a cluster carries with upstream's configuration.
    const NEWS: Self = Self { per_second: 100, at_once: 6_000 };
    /// Changes of members: each is a line, however many members there are.
    const CHANGE: Self = Self { per_second: u32::MAX, at_once: u32::MAX };

    /// The pace of lines of that level that the driver writes.
    pub(crate) const fn of_level(level: Level) -> Self {
        match level {
            Level::Trace | Level::Debug | Level::Info => Self::NEWS,
            Level::Warn | Level::Err => Self::COMPLAINT,
        }
    }

    /// The pace of a record of the core.
    pub(crate) const fn of(log: &Log) -> Self {
        match log.level() {
            Level::Info => Self::CHANGE,
            Level::Trace | Level::Debug if matches!(log, Log::StreamFrom(_)) => Self::CAUSED,
            level => Self::of_level(level),
        }
    }
}

/// A line that waits, and for how many others of its kind it stands.
#[derive(Debug)]
struct Held {
    level: Level,
    text: String,
    more: u64,
}

/// One kind.
#[derive(Debug)]
struct Bucket {
    kind: Kind,
    pace: Pace,
    /// Lines that may be written now.
    room: u32,
    /// The second in which `room` was right.
    second: i64,
    held: Option<Held>,
}

/// All kinds there have been: as many as there are places that write lines.
#[derive(Debug, Default)]
pub(crate) struct Paces {
    buckets: Vec<Bucket>,
    /// How many lines wait.
    held: usize,
}

/// What is to be done with a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is written.
    Write,
    /// It waits, or is counted.
    Held,
}

impl Paces {
    /// Takes a line that stands for `count` of its kind. `second`: the wall clock's.
    pub(crate) fn take(
        &mut self,
        (kind, pace): (Kind, Pace),
        second: i64,
        level: Level,
        count: u64,
        text: fmt::Arguments<'_>,
    ) -> Verdict {
        if pace == Pace::CHANGE {
            return Verdict::Write;
        }
        let bucket = self.bucket(kind, pace);
        bucket.refill(second);
        match &mut bucket.held {
            Some(held) => held.more = held.more.saturating_add(count),
            None if bucket.room > 0 => {
                bucket.room -= 1;
                return Verdict::Write;
            }
            None => {
                bucket.held = Some(Held { level, text: text.to_string(), more: count.saturating_sub(1) });
                self.held += 1;
            }
        }
        Verdict::Held
    }

    /// Whether a line of that kind would be written at once.
    pub(crate) fn has_room(&mut self, (kind, pace): (Kind, Pace), second: i64) -> bool {
        let bucket = self.bucket(kind, pace);
        bucket.refill(second);
        bucket.room > 0 && bucket.held.is_none()
    }

    /// Whether a line waits.
    pub(crate) const fn is_holding(&self) -> bool {
        self.held > 0
    }

    /// The next line that has waited long enough, or any one that waits if `all` must go: its level, its text, how many
    /// it stands for besides itself.
    pub(crate) fn release(&mut self, second: i64, all: bool) -> Option<(Level, String, u64)> {
        if self.held == 0 {
            return None;
        }
        let mut waiting = self.buckets.iter_mut().filter(|bucket| bucket.held.is_some());
        let held = waiting.find_map(|bucket| {
            bucket.refill(second);
            if bucket.room == 0 && !all {
                return None;
            }
            bucket.room = bucket.room.saturating_sub(1);
            bucket.held.take()
        })?;
        self.held -= 1;
        Some((held.level, held.text, held.more))
    }

    fn bucket(&mut self, kind: Kind, pace: Pace) -> &mut Bucket {
        let at = self.buckets.iter().position(|bucket| bucket.kind == kind).unwrap_or_else(|| {
            self.buckets.push(Bucket { kind, pace, room: pace.at_once, second: i64::MAX, held: None });
            self.buckets.len() - 1
        });
        &mut self.buckets[at]
    }
}

impl Bucket {
    /// Makes room for what may be written since the last time. A clock that was set back makes none.
    fn refill(&mut self, second: i64) {
        let passed = u32::try_from(second.saturating_sub(self.second).max(0)).unwrap_or(u32::MAX);
        self.second = second;
        self.room = self.room.saturating_add(passed.saturating_mul(self.pace.per_second)).min(self.pace.at_once);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: (Kind, Pace) = (Kind::MissedEvent, Pace { per_second: 1, at_once: 3 });

    fn take(paces: &mut Paces, second: i64, count: u64) -> bool {
        paces.take(KIND, second, Level::Warn, count, format_args!("line")) == Verdict::Write
    }

    #[test]
    fn a_few_lines_are_written_at_once_and_then_one_a_second() {
        let mut paces = Paces::default();
        let written: Vec<usize> =
            (100..105).map(|second| (0..50).filter(|_| take(&mut paces, second, 1)).count()).collect();
        assert_eq!(written, [3, 0, 0, 0, 0], "then those that wait have precedence");
        assert_eq!(paces.release(104, false), Some((Level::Warn, "line".to_owned(), 5 * 50 - 3 - 1)));
        assert!(!paces.is_holding());
        assert!(take(&mut paces, 104, 1), "quiet seconds have made room");
    }

    #[test]
    fn what_waits_comes_in_the_next_second_and_counts_what_it_stands_for() {
        let mut paces = Paces::default();
        for _ in 0..3 {
            assert!(take(&mut paces, 7, 1));
        }
        assert!(!paces.is_holding() && !take(&mut paces, 7, 5) && paces.is_holding());
        assert_eq!(paces.release(7, false), None, "it is too soon");
        assert!(!take(&mut paces, 7, 2));
        assert_eq!(paces.release(8, false), Some((Level::Warn, "line".to_owned(), 6)));
        assert_eq!((paces.release(8, false), paces.is_holding()), (None, false));
    }

    #[test]
    fn everything_goes_at_the_end() {
        let mut paces = Paces::default();
        for _ in 0..5 {
            take(&mut paces, 7, 1);
        }
        assert_eq!(paces.release(7, true), Some((Level::Warn, "line".to_owned(), 1)));
        assert_eq!(paces.release(7, true), None);
    }

    #[test]
    fn kinds_do_not_wait_for_each_other_and_a_clock_that_is_set_back_makes_no_room() {
        let mut paces = Paces::default();
        let there = (Kind::Place(Location::caller()), KIND.1);
        for second in [9, 8, 7] {
            assert!(take(&mut paces, second, 1));
        }
        assert!(!paces.has_room(KIND, 6) && paces.has_room(there, 6));
        assert!(paces.has_room(KIND, 7));
    }

    #[test]
    fn changes_of_members_are_never_held_and_what_was_dropped_is_told_apart() {
        let mut paces = Paces::default();
        let log = Log::SeedsGone;
        for _ in 0..20_000 {
            let verdict = paces.take((Kind::of(&log), Pace::of(&log)), 1, Level::Info, 1, format_args!("{log}"));
            assert_eq!(verdict, Verdict::Write);
        }
        assert_ne!(Kind::of(&Log::Dropped("one", 1)), Kind::of(&Log::Dropped("other", 1)));
        assert_eq!(Kind::of(&Log::Dropped("one", 1)), Kind::of(&Log::Dropped("one", 2)));
    }
}
