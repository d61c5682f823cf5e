//! The world's randomness: one ChaCha stream per purpose, integers only.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// What a number of the world is drawn for. A new draw in one place does not shift the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Delays, losses and copies of packets and stream segments.
    Network = 0,
    /// What a fault does: which bits flip.
    Fault = 1,
    /// When operators and resolvers act.
    Schedule = 2,
    /// Origins of the hosts' clocks.
    Clock = 3,
    /// Seeds of the nodes.
    Node = 4,
    /// The key of the digest.
    Digest = 5,
    /// When nodes are replaced by their own checkpoint, in the first of the two plays.
    RestoreFirst = 6,
    /// The same in the second play.
    RestoreSecond = 7,
    /// Keys of the gossip, made of the seed so that a scenario needs none.
    GossipKey = 8,
    /// Scenarios of a sweep.
    Weather = 9,
    /// What somebody with the key forges.
    Forge = 10,
}

/// A stream of numbers for one purpose.
#[derive(Clone, Debug)]
pub(crate) struct Draw(ChaCha8Rng);

impl Draw {
    /// The numbers that `seed` gives for `purpose`.
    pub(crate) fn new(seed: u64, purpose: Purpose) -> Self {
        let mut stream = ChaCha8Rng::seed_from_u64(seed);
        stream.set_stream(purpose as u64);
        Self(stream)
    }

    /// A uniform 64-bit number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A uniform number below `count`: a widening multiply, biased by less than `count / 2^64`; zero if `count` is.
    pub(crate) fn below(&mut self, count: u64) -> u64 {
        let product = u128::from(self.next()) * u128::from(count);
        (product >> 64) as u64
    }

    /// A uniform place in a list of this length; zero if it is empty.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or_default()
    }
}
