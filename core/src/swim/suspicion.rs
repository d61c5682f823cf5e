//! A suspicion: it runs out unless the suspect speaks, sooner with each new accuser (protocol.md 1.6).

use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::scale::suspicion_timeout;
use crate::time::Time;
use crate::types::Name;

/// The running suspicion of one member.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Suspicion {
    started: Time,
    min: Duration,
    max: Duration,
    /// Confirmations that shorten it; 0: it runs `min` from the start.
    needed: u8,
    /// How many have confirmed.
    confirmations: u8,
    /// Who has accused, as long as it matters; the first one does not count as a confirmation.
    accusers: Vec<Name>,
}

impl Suspicion {
    /// Starts a suspicion by `accuser` that needs `needed` confirmations to run out after `min` instead of `max`.
    pub fn new(now: Time, accuser: Name, needed: u8, min: Duration, max: Duration) -> Self {
        let accusers = if needed > 0 { [accuser].into() } else { Vec::new() };
        Self { started: now, min, max, needed, confirmations: 0, accusers }
    }

    /// Counts a confirmation; false if the accuser is known or enough have confirmed.
    pub fn confirm(&mut self, accuser: &Name) -> bool {
        if self.is_confirmed() || self.accusers.contains(accuser) {
            return false;
        }
        self.confirmations = self.confirmations.saturating_add(1);
        if self.is_confirmed() {
            self.accusers = Vec::new();
        } else {
            self.accusers.push(accuser.clone());
        }
        true
    }

    /// Whether another accuser changes nothing.
    pub const fn is_confirmed(&self) -> bool {
        self.confirmations >= self.needed
    }

    /// How many have confirmed.
    pub const fn confirmations(&self) -> u8 {
        self.confirmations
    }

    /// When it runs out.
    pub fn deadline(&self) -> Time {
        self.started + suspicion_timeout(self.confirmations(), self.needed, self.min, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_secs(2);
    const MAX: Duration = Duration::from_secs(30);

    #[test]
    fn only_new_accusers_shorten_it() {
        let mut suspicion = Suspicion::new(Time::ZERO, "first".into(), 3, MIN, MAX);
        assert_eq!(suspicion.deadline(), Time::ZERO + MAX);
        assert!(!suspicion.confirm(&"first".into()), "the first accuser must not confirm itself");
        assert!(suspicion.confirm(&"b".into()));
        assert!(!suspicion.confirm(&"b".into()), "a second word of one accuser is no news");
        assert_eq!(suspicion.deadline(), Time::ZERO + Duration::from_secs(16));
        assert!(suspicion.confirm(&"c".into()) && suspicion.confirm(&"d".into()));
        assert_eq!(suspicion.deadline(), Time::ZERO + MIN);
        assert!(!suspicion.confirm(&"e".into()), "enough have confirmed");
    }

    #[test]
    fn without_confirmations_it_is_short_from_the_start() {
        let mut suspicion = Suspicion::new(Time::ZERO, "first".into(), 0, MIN, MAX);
        assert_eq!(suspicion.deadline(), Time::ZERO + MIN);
        assert!(!suspicion.confirm(&"b".into()));
    }
}
