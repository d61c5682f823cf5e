//! The queries that may still be answered here.

use alloc::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::query::Origin;
use crate::event::QueryKey;
use crate::limits;
use crate::time::Time;

/// A query that may be answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Open {
    pub(super) origin: Origin,
    pub(super) until: Time,
    pub(super) answered: bool,
}

/// The open queries, at most [`limits::QUERIES_OPEN_MAX`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct OpenQueries {
    queries: BTreeMap<QueryKey, Open>,
    /// All of them, by when their time is over.
    ends: BTreeSet<(Time, QueryKey)>,
}

impl OpenQueries {
    pub(super) fn get(&self, key: QueryKey) -> Option<&Open> {
        self.queries.get(&key)
    }

    /// Notes that a query has its answer.
    pub(super) fn set_answered(&mut self, key: QueryKey) {
        if let Some(open) = self.queries.get_mut(&key) {
            open.answered = true;
        }
    }

    /// Adds a query; false if that costs another. When there is no room, those whose time is over go, else the one that
    /// would wait longest: who asks decides how long that is, and nobody may keep the places for a year.
    pub(super) fn insert(&mut self, now: Time, key: QueryKey, origin: Origin, until: Time) -> bool {
        let mut fits = true;
        if self.queries.len() >= limits::QUERIES_OPEN_MAX {
            while self.ends.first().is_some_and(|&(end, _)| end <= now) {
                self.forget_end(false);
            }
        }
        while self.queries.len() >= limits::QUERIES_OPEN_MAX {
            self.forget_end(true);
            fits = false;
        }
        if let Some(before) = self.queries.insert(key, Open { origin, until, answered: false }) {
            self.ends.remove(&(before.until, key));
        }
        self.ends.insert((until, key));
        fits
    }

    /// Lets a query end at `until` if it would be open for longer.
    pub(super) fn end_by(&mut self, key: QueryKey, until: Time) {
        if let Some(open) = self.queries.get_mut(&key).filter(|open| open.until > until) {
            self.ends.remove(&(open.until, key));
            open.until = until;
            self.ends.insert((until, key));
        }
    }

    fn forget_end(&mut self, last: bool) {
        let end = if last { self.ends.pop_last() } else { self.ends.pop_first() };
        if let Some((_, key)) = end {
            self.queries.remove(&key);
        }
    }

    /// Checks that each query has its end.
    pub(super) fn check(&self) -> Result<(), alloc::string::String> {
        let agree = self.ends.iter().all(|(end, key)| self.get(*key).is_some_and(|open| open.until == *end));
        if agree && self.ends.len() == self.queries.len() && self.queries.len() <= limits::QUERIES_OPEN_MAX {
            return Ok(());
        }
        Err(alloc::format!("{} queries are open and have {} ends", self.queries.len(), self.ends.len()))
    }
}
