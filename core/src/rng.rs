//! Randomness: one ChaCha stream per purpose, drawn from one seed.

use core::fmt;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Where a node's randomness comes from.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seed {
    bytes: [u8; 32],
    simulated: bool,
}

impl Seed {
    /// A production seed: 32 bytes of the operating system's entropy.
    pub const fn from_entropy(bytes: [u8; 32]) -> Self {
        Self { bytes, simulated: false }
    }

    /// A simulator's seed, spread over 32 bytes. `Node::new` refuses it together with keys unless
    /// `Config::simulation` is set: its nonces can be guessed.
    pub fn simulated(seed: u64) -> Self {
        let mut bytes = [0; 32];
        ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut bytes);
        Self { bytes, simulated: true }
    }

    /// Whether the seed came from a simulator.
    pub const fn is_simulated(&self) -> bool {
        self.simulated
    }
}

impl fmt::Debug for Seed {
    /// Hides the bytes: whoever knows them knows every nonce.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seed {{ simulated: {} }}", self.simulated)
    }
}

/// What a random number is for. The stream numbers are part of the format and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Shuffling the probe list.
    ProbeOrder = 0,
    /// Placing a new member in the probe list.
    ProbeInsert = 1,
    /// Choosing helpers for indirect pings.
    Helpers = 2,
    /// Choosing gossip targets.
    GossipTargets = 3,
    /// Choosing the peer of a periodic push/pull.
    PushPullPeer = 4,
    /// Phases of periodic activities.
    Stagger = 5,
    /// Whether and whom to reconnect.
    Reconnect = 6,
    /// Query ids.
    QueryId = 7,
    /// Relays of query answers.
    Relay = 8,
    /// Order of the snapshot's peers.
    SnapshotOrder = 9,
    /// Direction between two coordinates in one place.
    CoordinateDirection = 10,
    /// Nonces of sealed packets.
    Nonce = 11,
    /// Key of the maps' hash.
    HashKey = 12,
    /// When standing seeds and the snapshot's peers are tried again.
    Retry = 13,
    /// Where the numbers of probes begin.
    Sequence = 14,
}

impl Purpose {
    const COUNT: usize = 15;
}

/// One ChaCha8 generator per [`Purpose`], so that a new draw in one place does not shift the others.
#[derive(Clone, Debug)]
pub struct Rng {
    seed: Seed,
    nonce_seed: [u8; 32],
    streams: [ChaCha8Rng; Purpose::COUNT],
}

impl Rng {
    /// Starts every stream at its beginning.
    pub fn new(seed: Seed) -> Self {
        let nonce_seed = seed.bytes;
        Self::at(seed, nonce_seed, [0; Purpose::COUNT])
    }

    fn at(seed: Seed, nonce_seed: [u8; 32], positions: [u128; Purpose::COUNT]) -> Self {
        let streams = core::array::from_fn(|number| {
            let bytes = if number == Purpose::Nonce as usize { nonce_seed } else { seed.bytes };
            let mut stream = ChaCha8Rng::from_seed(bytes);
            stream.set_stream(number as u64);
            stream.set_word_pos(positions.get(number).copied().unwrap_or_default());
            stream
        });
        Self { seed, nonce_seed, streams }
    }

    /// Mixes fresh entropy into the nonce stream; the other streams stay as they are.
    pub fn mix_nonce(&mut self, entropy: &[u8; 32]) {
        let mut next = [0; 32];
        self.fill(Purpose::Nonce, &mut next);
        for (byte, fresh) in next.iter_mut().zip(entropy) {
            *byte ^= fresh;
        }
        self.nonce_seed = next;
        let mut stream = ChaCha8Rng::from_seed(next);
        stream.set_stream(Purpose::Nonce as u64);
        *self.stream(Purpose::Nonce) = stream;
    }

    /// The seed that the streams were made from.
    pub const fn seed(&self) -> &Seed {
        &self.seed
    }

    /// A uniform 64-bit number.
    pub fn next_u64(&mut self, purpose: Purpose) -> u64 {
        self.stream(purpose).next_u64()
    }

    /// A uniform 32-bit number.
    pub fn next_u32(&mut self, purpose: Purpose) -> u32 {
        self.stream(purpose).next_u32()
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, purpose: Purpose, bytes: &mut [u8]) {
        self.stream(purpose).fill_bytes(bytes);
    }

    /// A uniform number in `0..=max`: widening multiply with rejection (protocol.md 3.1, D-03).
    pub fn below_inclusive(&mut self, purpose: Purpose, max: u64) -> u64 {
        let Some(count) = max.checked_add(1) else {
            return self.next_u64(purpose);
        };
        // 2^64 mod count: products whose low half is below it would make the first results too likely.
        let unfair = count.wrapping_neg().checked_rem(count).unwrap_or_default();
        loop {
            let product = u128::from(self.next_u64(purpose)).wrapping_mul(u128::from(count));
            let [low, high] = [product as u64, (product >> 64) as u64];
            if low >= unfair {
                return high;
            }
        }
    }

    /// A uniform index below `len`; zero if there is nothing to choose from.
    pub fn index(&mut self, purpose: Purpose, len: usize) -> usize {
        usize::try_from(self.below_inclusive(purpose, (len as u64).saturating_sub(1))).unwrap_or_default()
    }

    /// True with probability `numerator / denominator`; always true where that is one or more.
    pub fn ratio(&mut self, purpose: Purpose, numerator: u64, denominator: u64) -> bool {
        self.below_inclusive(purpose, denominator.saturating_sub(1)) < numerator
    }

    /// Shuffles uniformly: Fisher-Yates from the end (protocol.md 3.1, D-03).
    pub fn shuffle<T>(&mut self, purpose: Purpose, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.index(purpose, last.saturating_add(1));
            items.swap(last, other);
        }
    }

    #[expect(clippy::indexing_slicing, reason = "every purpose is below COUNT")]
    const fn stream(&mut self, purpose: Purpose) -> &mut ChaCha8Rng {
        &mut self.streams[purpose as usize]
    }
}

#[derive(Serialize, Deserialize)]
struct Positions {
    seed: Seed,
    nonce_seed: [u8; 32],
    positions: [u128; Purpose::COUNT],
}

impl Serialize for Rng {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let positions = core::array::from_fn(|number| self.streams.get(number).map_or(0, ChaCha8Rng::get_word_pos));
        Positions { seed: self.seed.clone(), nonce_seed: self.nonce_seed, positions }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Rng {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Positions { seed, nonce_seed, positions } = Positions::deserialize(deserializer)?;
        Ok(Self::at(seed, nonce_seed, positions))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn rng() -> Rng {
        Rng::new(Seed::simulated(7))
    }

    #[test]
    fn a_draw_for_one_purpose_does_not_shift_another() {
        let mut one = rng();
        let mut other = rng();
        other.next_u64(Purpose::Helpers);
        other.mix_nonce(&[1; 32]);
        assert_eq!(one.next_u64(Purpose::GossipTargets), other.next_u64(Purpose::GossipTargets));
        assert_ne!(one.next_u64(Purpose::Nonce), other.next_u64(Purpose::Nonce));
    }

    #[test]
    fn a_restored_generator_goes_on_where_it_was() {
        let mut original = rng();
        original.mix_nonce(&[9; 32]);
        original.fill(Purpose::Nonce, &mut [0; 12]);
        original.next_u64(Purpose::Stagger);
        let bytes = postcard::to_allocvec(&original).expect("encodes");
        let mut restored: Rng = postcard::from_bytes(&bytes).expect("decodes");
        for purpose in [Purpose::Nonce, Purpose::Stagger, Purpose::Relay] {
            assert_eq!(original.next_u64(purpose), restored.next_u64(purpose), "{purpose:?}");
        }
    }

    #[test]
    fn every_index_is_drawn_about_equally_often() {
        let mut rng = rng();
        let mut seen = [0_u32; 5];
        for _ in 0..5_000 {
            seen[rng.index(Purpose::Helpers, 5)] += 1;
        }
        assert!(seen.iter().all(|&count| (850..1150).contains(&count)), "{seen:?}");
    }

    #[test]
    fn a_shuffle_keeps_every_item() {
        let mut items: Vec<u32> = (0..50).collect();
        rng().shuffle(Purpose::ProbeOrder, &mut items);
        assert_ne!(items, (0..50).collect::<Vec<_>>());
        items.sort();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn odds_of_one_or_more_always_hold() {
        let mut rng = rng();
        assert!((0..100).all(|_| rng.ratio(Purpose::Reconnect, 3, 2) && rng.ratio(Purpose::Reconnect, 1, 0)));
        assert!((0..100).all(|_| !rng.ratio(Purpose::Reconnect, 0, 2)));
    }
}
