//! What happens next: a calendar of milliseconds, which gives out by time and then by the order in which things came.

use std::collections::BTreeMap;

/// A day of the calendar has 2^20 ns: about a millisecond, the time that most packets travel.
const SHIFT: u32 = 20;
/// How many days lie open: about a second, the interval of most timers. What comes later waits in a tree.
const DAYS: usize = 1024;
const WORDS: usize = DAYS / 64;

/// Something that happens at a time.
pub(crate) struct Scheduled<T> {
    pub(crate) at: u64,
    order: u64,
    pub(crate) what: T,
}

impl<T> Scheduled<T> {
    pub(crate) const fn key(&self) -> (u64, u64) {
        (self.at, self.order)
    }
}

/// What happens next. Putting something in and taking it out costs the same however much waits.
pub(crate) struct Queue<T> {
    /// What is left of today and of the days before it, the latest first.
    today: Vec<Scheduled<T>>,
    day: u64,
    /// The days behind it, each at its number modulo their count.
    open: Vec<Vec<Scheduled<T>>>,
    /// One bit for each of them that is not empty.
    filled: [u64; WORDS],
    /// The days that do not lie open.
    later: BTreeMap<u64, Vec<Scheduled<T>>>,
    order: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        let open = (0..DAYS).map(|_| Vec::new()).collect();
        Self { today: Vec::new(), day: 0, open, filled: [0; WORDS], later: BTreeMap::new(), order: 0 }
    }
}

impl<T> Queue<T> {
    /// Lets something happen at a time, behind all that happens at the same time and was put in before.
    pub(crate) fn push(&mut self, at: u64, what: T) {
        let scheduled = Scheduled { at, order: self.order, what };
        self.order += 1;
        let day = at >> SHIFT;
        if day <= self.day {
            let place = self.today.partition_point(|other| other.key() > scheduled.key());
            self.today.insert(place, scheduled);
        } else if day < self.day + DAYS as u64 {
            self.open(day).push(scheduled);
        } else {
            self.later.entry(day).or_default().push(scheduled);
        }
    }

    /// Takes out what happens next, if that is not after `end`.
    pub(crate) fn pop_until(&mut self, end: u64) -> Option<Scheduled<T>> {
        while self.today.is_empty() {
            if !self.turn() {
                return None;
            }
        }
        self.today.pop_if(|next| next.at <= end)
    }

    /// Everything that waits, in no order.
    #[cfg(test)]
    fn iter(&self) -> impl Iterator<Item = &Scheduled<T>> {
        self.today.iter().chain(self.open.iter().flatten()).chain(self.later.values().flatten())
    }

    /// Keeps what `keep` says is kept; hears of everything, in no order.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        for day in std::iter::once(&mut self.today).chain(&mut self.open).chain(self.later.values_mut()) {
            day.retain(|scheduled| keep(&scheduled.what));
        }
    }

    /// Takes out what `wanted` says, in the order in which it would happen.
    pub(crate) fn extract(&mut self, mut wanted: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut taken: Vec<Scheduled<T>> = Vec::new();
        for day in std::iter::once(&mut self.today).chain(&mut self.open).chain(self.later.values_mut()) {
            taken.extend(day.extract_if(.., |scheduled| wanted(&scheduled.what)));
        }
        taken.sort_unstable_by_key(Scheduled::key);
        taken.into_iter().map(|scheduled| scheduled.what).collect()
    }

    /// The next day that has anything becomes today; false: there is none.
    fn turn(&mut self) -> bool {
        match self.next_open() {
            Some(day) => {
                self.day = day;
                let place = place(day);
                self.filled[place / 64] &= !(1 << (place % 64));
                std::mem::swap(&mut self.today, &mut self.open[place]);
            }
            None => {
                let Some((day, things)) = self.later.pop_first() else { return false };
                self.day = day;
                self.today = things;
            }
        }
        self.today.sort_unstable_by_key(|scheduled| std::cmp::Reverse(scheduled.key()));
        while let Some(entry) = self.later.first_entry()
            && *entry.key() < self.day + DAYS as u64
        {
            let (day, mut things) = entry.remove_entry();
            self.open(day).append(&mut things);
        }
        true
    }

    /// An open day, to put something in.
    fn open(&mut self, day: u64) -> &mut Vec<Scheduled<T>> {
        let place = place(day);
        self.filled[place / 64] |= 1 << (place % 64);
        &mut self.open[place]
    }

    /// The first open day that is not empty.
    fn next_open(&self) -> Option<u64> {
        let first = place(self.day + 1);
        let from = |word: usize, mask: u64| {
            let bits = self.filled[word] & mask;
            (bits != 0).then(|| word * 64 + bits.trailing_zeros() as usize)
        };
        let (word, bit) = (first / 64, first % 64);
        let found = from(word, u64::MAX << bit)
            .or_else(|| (1..WORDS).find_map(|step| from((word + step) % WORDS, u64::MAX)))
            .or_else(|| from(word, (1 << bit) - 1))?;
        Some(self.day + 1 + ((found + DAYS - first) % DAYS) as u64)
    }
}

const fn place(day: u64) -> usize {
    (day % DAYS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::{Draw, Purpose};

    /// What waits, in the plainest form: a list that is searched.
    #[derive(Default)]
    struct Plain(Vec<(u64, u64)>);

    impl Plain {
        fn pop_until(&mut self, end: u64) -> Option<(u64, u64)> {
            let place = self.0.iter().enumerate().min_by_key(|(_, key)| **key).map(|(place, _)| place)?;
            (self.0[place].0 <= end).then(|| self.0.swap_remove(place))
        }
    }

    #[test]
    fn a_calendar_gives_out_what_a_plain_list_would() {
        for seed in 0..20 {
            let mut draw = Draw::new(seed, Purpose::Schedule);
            let (mut queue, mut plain) = (Queue::default(), Plain::default());
            let mut now = 0;
            for number in 0..2_000_u64 {
                for _ in 0..draw.below(3) {
                    let most = [1_000, 2_000_000, 900_000_000, 40_000_000_000][draw.index(4)];
                    let at = now + draw.below(most);
                    plain.0.push((at, queue.order));
                    queue.push(at, queue.order);
                }
                let end = now + draw.below(3_000_000);
                if number % 97 == 0 {
                    queue.retain(|what| what % 5 != 0);
                    plain.0.retain(|(_, what)| what % 5 != 0);
                }
                if number % 89 == 0 {
                    let taken = queue.extract(|what| what % 7 == 0);
                    let mut wanted: Vec<(u64, u64)> = plain.0.extract_if(.., |(_, what)| *what % 7 == 0).collect();
                    wanted.sort_unstable();
                    assert_eq!(taken, wanted.into_iter().map(|(_, what)| what).collect::<Vec<_>>(), "seed {seed}");
                }
                loop {
                    let (one, other) = (queue.pop_until(end), plain.pop_until(end));
                    assert_eq!(one.as_ref().map(Scheduled::key), other, "seed {seed}, step {number}");
                    if one.is_none() {
                        break;
                    }
                }
                now = end;
                assert_eq!(queue.iter().count(), plain.0.len(), "seed {seed}");
            }
        }
    }
}
