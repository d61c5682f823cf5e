//! Lamport clocks: logical time that orders intents, events and queries (protocol.md 2.1).

use core::fmt;

use serde::{Deserialize, Serialize};

/// A point of logical time. Zero means "never".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LamportTime(pub u64);

impl fmt::Display for LamportTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A logical clock that never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LamportClock(LamportTime);

impl Default for LamportClock {
    /// Starts at 1, so that 0 never appears on the wire.
    fn default() -> Self {
        Self(LamportTime(1))
    }
}

impl LamportClock {
    /// The time with which the next message is stamped.
    pub const fn time(&self) -> LamportTime {
        self.0
    }

    /// Moves one tick on; saturates.
    pub const fn increment(&mut self) {
        self.0.0 = self.0.0.saturating_add(1);
    }

    /// Moves past `seen` if it is not past it already.
    pub fn witness(&mut self, seen: LamportTime) {
        if seen >= self.0 {
            self.0 = LamportTime(seen.0.saturating_add(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn witnessing_moves_past_what_was_seen_and_never_back() {
        let mut clock = LamportClock::default();
        clock.witness(LamportTime(0));
        assert_eq!(clock.time(), LamportTime(1));
        clock.witness(LamportTime(41));
        assert_eq!(clock.time(), LamportTime(42));
        clock.witness(LamportTime(7));
        assert_eq!(clock.time(), LamportTime(42));
        clock.witness(LamportTime(u64::MAX));
        clock.increment();
        assert_eq!(clock.time(), LamportTime(u64::MAX));
    }
}
