//! Local health: how much a node trusts its own view (protocol.md 1.5).

use core::time::Duration;

use serde::{Deserialize, Serialize};

/// The health score: 0 is well; a worse node gives its probes more time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Awareness {
    score: u8,
}

impl Awareness {
    /// The score, `0..max`.
    pub const fn score(self) -> u8 {
        self.score
    }

    /// Adds `delta` and keeps the score in `0..max`.
    pub fn apply(&mut self, delta: i32, max: u8) {
        let top = i32::from(max.saturating_sub(1));
        let score = i32::from(self.score).saturating_add(delta).clamp(0, top);
        self.score = u8::try_from(score).unwrap_or_default();
    }

    /// `base * (score + 1)`.
    pub fn scale(self, base: Duration) -> Duration {
        base.saturating_mul(u32::from(self.score).saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_score_follows_upstreams_vector_and_stays_in_range() {
        let mut awareness = Awareness::default();
        for (delta, want) in [(0, 0), (-1, 0), (-10, 0), (1, 1), (-1, 0), (10, 7), (-1, 6), (-1, 5), (-5, 0)] {
            awareness.apply(delta, 8);
            assert_eq!(awareness.score(), want, "after {delta}");
        }
    }

    #[test]
    fn a_worse_score_gives_more_time() {
        let mut awareness = Awareness::default();
        awareness.apply(2, 8);
        assert_eq!(awareness.scale(Duration::from_secs(1)), Duration::from_secs(3));
    }
}
