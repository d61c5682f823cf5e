//! Network coordinates: Vivaldi with height, adjustment and gravity, as upstream computes them (protocol.md 2.14).
//!
//! The only floating point of the core. It uses `+ - * /` and a correctly rounded square root, nothing fused, so that
//! every machine computes the same bits; no coordinate is ever a sort key or a timer's input.

#![expect(clippy::float_arithmetic, reason = "Vivaldi is defined over reals")]

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use hashbrown::HashTable;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::log::GoDuration;
use crate::rng::{Purpose, Rng};
use crate::time::nanos;
use crate::types::Slot;

/// Axes of the vector.
pub const AXES: usize = 8;
/// Numbers of a coordinate in its short form: the vector, error, adjustment, height.
pub const NUMBERS: usize = AXES + 3;
/// Longest round trip that is believed.
pub const RTT_MAX: Duration = Duration::from_secs(10);

/// A point in the space where distances are round-trip times. Lengths are in seconds, the error has no unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Coordinate {
    /// The place in the core of the network.
    pub vec: [f64; AXES],
    /// How little the node trusts the rest: 1.5 knows nothing, 0 would be perfect.
    pub error: f64,
    /// Correction of estimates, from how wrong the latest ones were.
    pub adjustment: f64,
    /// Length of the access link, from the node to the core of the network.
    pub height: f64,
}

impl Coordinate {
    /// Where every node begins.
    pub const fn start() -> Self {
        Self { vec: [0.0; AXES], error: ERROR_MAX, adjustment: 0.0, height: HEIGHT_MIN }
    }

    /// The estimated round trip between two nodes, cut to whole nanoseconds; zero for coordinates that are not valid.
    pub fn distance(&self, other: &Self) -> Duration {
        // The cast cuts towards zero, saturates, and turns what is no number into zero.
        Duration::from_nanos((self.adjusted_distance(other) * NANOS_PER_SECOND) as u64)
    }

    /// Whether an honest node can have this coordinate: finite numbers, no negative error or height, and a vector,
    /// height and adjustment of at most 10 s. Upstream asks for finite numbers only (protocol.md 3.2, U-32).
    pub fn is_valid(&self) -> bool {
        self.is_finite() && self.is_in_bounds()
    }

    /// The coordinate in single precision, as it is cached and as native acks carry it: the vector, then error,
    /// adjustment and height.
    pub fn to_f32s(&self) -> [f32; NUMBERS] {
        let mut numbers = [0.0; NUMBERS];
        let all = self.vec.iter().chain([&self.error, &self.adjustment, &self.height]);
        for (short, &number) in numbers.iter_mut().zip(all) {
            *short = number as f32;
        }
        numbers
    }

    /// Reads what [`to_f32s`](Self::to_f32s) gave. A height that single precision has rounded below the least possible
    /// one is that one.
    pub fn from_f32s(numbers: &[f32; NUMBERS]) -> Self {
        let [vec @ .., error, adjustment, height] = numbers.map(f64::from);
        let least_rounded = f64::from(HEIGHT_MIN as f32);
        Self { vec, error, adjustment, height: if height == least_rounded { HEIGHT_MIN } else { height } }
    }

    fn is_finite(&self) -> bool {
        self.vec.iter().chain([&self.error, &self.adjustment, &self.height]).all(|number| number.is_finite())
    }

    fn is_in_bounds(&self) -> bool {
        magnitude(&self.vec) <= LENGTH_MAX
            && self.error >= 0.0
            && (-LENGTH_MAX..=LENGTH_MAX).contains(&self.adjustment)
            && (0.0..=LENGTH_MAX).contains(&self.height)
    }

    fn raw_distance(&self, other: &Self) -> f64 {
        magnitude(&difference(&self.vec, &other.vec)) + self.height + other.height
    }

    /// Seconds; adjustments count only where they leave something.
    fn adjusted_distance(&self, other: &Self) -> f64 {
        let raw = self.raw_distance(other);
        let adjusted = raw + self.adjustment + other.adjustment;
        if adjusted > 0.0 { adjusted } else { raw }
    }

    /// The distance as upstream's formulas take it: cut to whole nanoseconds first.
    fn measured_distance(&self, other: &Self) -> f64 {
        seconds(self.distance(other))
    }

    /// Pushes the coordinate away from `other`, or towards it where `force` is negative.
    fn push(&mut self, rng: &mut Rng, force: f64, other: &Self) {
        let mut away = difference(&self.vec, &other.vec);
        let apart = magnitude(&away);
        if apart > ZERO_THRESHOLD {
            self.height = at_least(HEIGHT_MIN, (self.height + other.height) * force / apart + self.height);
            scale(&mut away, 1.0 / apart);
        } else {
            away = random_direction(rng);
        }
        for (place, part) in self.vec.iter_mut().zip(away) {
            *place += part * force;
        }
    }

    /// Brings every length back to 10 s at most (U-32): no run of bad measurements moves a node out of reach.
    fn clamp(&mut self) {
        let length = magnitude(&self.vec);
        if length > LENGTH_MAX {
            // The margin keeps rounding from leaving the result a hair too long.
            scale(&mut self.vec, LENGTH_MAX * (1.0 - 1e-12) / length);
        }
        self.height = at_most(LENGTH_MAX, self.height);
        self.adjustment = at_least(-LENGTH_MAX, at_most(LENGTH_MAX, self.adjustment));
    }
}

/// One node's engine: its own coordinate, and what it knows of its peers.
///
/// Holds one entry per peer that was measured; the owner calls [`forget`](Self::forget) when a slot is given up, so
/// there are never more entries than members.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vivaldi {
    own: Coordinate,
    /// How much longer than estimated the latest round trips were, in seconds: a ring.
    surprises: [f64; ADJUSTMENT_WINDOW],
    next_surprise: u8,
    resets: u64,
    peers: Peers,
}

impl Default for Vivaldi {
    fn default() -> Self {
        Self::at(Coordinate::start())
    }
}

impl Vivaldi {
    /// An engine that knows no peer and stands at `own`.
    pub const fn at(own: Coordinate) -> Self {
        let surprises = [0.0; ADJUSTMENT_WINDOW];
        Self { own, surprises, next_surprise: 0, resets: 0, peers: Peers::new() }
    }

    /// The node's own coordinate.
    pub const fn own(&self) -> &Coordinate {
        &self.own
    }

    /// How often the own coordinate had to begin again because it was no longer a number.
    pub const fn resets(&self) -> u64 {
        self.resets
    }

    /// What the peer said last, in single precision; `None` before its first accepted answer.
    pub fn peer(&self, peer: Slot) -> Option<Coordinate> {
        self.peers.get(peer).map(|known| Coordinate::from_f32s(&known.coordinate))
    }

    /// Drops what is known of a peer.
    pub fn forget(&mut self, peer: Slot) {
        self.peers.remove(peer);
    }

    /// Learns from a direct answer of `peer`, which stands at `other` and took `rtt`.
    ///
    /// # Errors
    ///
    /// A coordinate that is not valid and a round trip longer than [`RTT_MAX`] change nothing.
    pub fn update(&mut self, rng: &mut Rng, peer: Slot, other: &Coordinate, rtt: Duration) -> Result<(), Rejected> {
        if !other.is_finite() {
            return Err(Rejected::NotFinite);
        }
        if !other.is_in_bounds() {
            return Err(Rejected::OutOfBounds);
        }
        if rtt > RTT_MAX {
            return Err(Rejected::RoundTrip(rtt));
        }
        let known = self.peers.get_or_insert(peer);
        known.coordinate = other.to_f32s();
        let rtt = seconds(known.filter(rtt));

        self.attract(rng, other, rtt);
        self.adjust(other, rtt);
        self.gravitate(rng);
        if self.own.is_finite() {
            self.own.clamp();
        } else {
            self.reset();
        }
        Ok(())
    }

    /// Vivaldi itself: a spring between the two nodes, as stiff as the peer is sure and we are not.
    fn attract(&mut self, rng: &mut Rng, other: &Coordinate, rtt: f64) {
        let distance = self.own.measured_distance(other);
        let rtt = at_least(ZERO_THRESHOLD, rtt);
        let miss = rtt - distance;
        let wrong = (if miss < 0.0 { -miss } else { miss }) / rtt;
        let weight = self.own.error / at_least(ZERO_THRESHOLD, self.own.error + other.error);
        let error = ERROR_WEIGHT * weight * wrong + self.own.error * (1.0 - ERROR_WEIGHT * weight);
        self.own.error = at_most(ERROR_MAX, error);
        self.own.push(rng, COORDINATE_WEIGHT * weight * miss, other);
    }

    /// Half of the mean surprise is ours, the other half the peers'. A ring that is not full counts its zeros.
    fn adjust(&mut self, other: &Coordinate, rtt: f64) {
        let place = usize::from(self.next_surprise);
        if let Some(surprise) = self.surprises.get_mut(place) {
            *surprise = rtt - self.own.raw_distance(other);
        }
        let next = self.next_surprise.saturating_add(1);
        self.next_surprise = if usize::from(next) < ADJUSTMENT_WINDOW { next } else { 0 };
        self.own.adjustment = self.surprises.iter().sum::<f64>() / (2.0 * ADJUSTMENT_WINDOW as f64);
    }

    /// Pulls towards the origin, so that the whole cluster does not drift away; the pull grows with the square of the
    /// distance and is nothing next to it.
    fn gravitate(&mut self, rng: &mut Rng) {
        let origin = Coordinate::start();
        let pull = self.own.measured_distance(&origin) / GRAVITY_RHO;
        self.own.push(rng, -(pull * pull), &origin);
    }

    /// Begins again. The surprises go too: one that is no number would spoil the next twenty adjustments.
    fn reset(&mut self) {
        self.own = Coordinate::start();
        self.surprises = [0.0; ADJUSTMENT_WINDOW];
        self.resets = self.resets.saturating_add(1);
    }
}

/// Why a measurement was not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// The coordinate has another number of axes than ours; found where it is decoded.
    Axes,
    /// A number of the coordinate is infinite or none at all.
    NotFinite,
    /// The coordinate has a negative error or height, or is longer than 10 s (U-32).
    OutOfBounds,
    /// The round trip took longer than [`RTT_MAX`].
    RoundTrip(Duration),
}

impl fmt::Display for Rejected {
    /// Upstream's texts first (coordinate/client.go, Update).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Axes => f.write_str("dimensions aren't compatible"),
            Self::NotFinite => f.write_str("coordinate is invalid"),
            Self::OutOfBounds => f.write_str("coordinate is invalid: a part of it is negative or longer than 10s"),
            Self::RoundTrip(rtt) => write!(
                f,
                "round trip time not in valid range, duration {} is not a positive value less than {}",
                GoDuration(*rtt),
                GoDuration(RTT_MAX)
            ),
        }
    }
}

impl core::error::Error for Rejected {}

/// What is kept of the peers, each in a cache line of its own. The order of the table is nobody's to see.
#[derive(Clone, Debug)]
struct Peers(HashTable<Known>);

#[derive(Clone, Debug)]
#[repr(align(64))]
struct Known {
    slot: Slot,
    peer: Peer,
}

const _: () = assert!(size_of::<Known>() == 64, "what is known of a peer fits into a cache line");

impl Peers {
    const fn new() -> Self {
        Self(HashTable::new())
    }

    fn get(&self, slot: Slot) -> Option<&Peer> {
        self.0.find(spread(slot), |known| known.slot == slot).map(|known| &known.peer)
    }

    fn get_or_insert(&mut self, slot: Slot) -> &mut Peer {
        let entry = self.0.entry(spread(slot), |known| known.slot == slot, |known| spread(known.slot));
        &mut entry.or_insert_with(|| Known { slot, peer: Peer::default() }).into_mut().peer
    }

    fn remove(&mut self, slot: Slot) {
        if let Ok(entry) = self.0.find_entry(spread(slot), |known| known.slot == slot) {
            entry.remove();
        }
    }

    fn sorted(&self) -> Vec<(Slot, &Peer)> {
        let mut peers: Vec<_> = self.0.iter().map(|known| (known.slot, &known.peer)).collect();
        peers.sort_unstable_by_key(|(slot, _)| *slot);
        peers
    }
}

impl PartialEq for Peers {
    fn eq(&self, other: &Self) -> bool {
        self.sorted() == other.sorted()
    }
}

impl Serialize for Peers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.sorted().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Peers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut peers = Self::new();
        for (slot, peer) in Vec::<(Slot, Peer)>::deserialize(deserializer)? {
            *peers.get_or_insert(slot) = peer;
        }
        Ok(peers)
    }
}

/// A hash of a slot. Slots are numbered by us: nobody can choose them so that they meet.
const fn spread(slot: Slot) -> u64 {
    let mixed = (slot.0 as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 32)
}

/// What is kept of one peer; 60 bytes, because there is one per member.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Peer {
    coordinate: [f32; NUMBERS],
    /// The latest round trips in units of 4 ns, in which 10 s fit; the oldest first.
    rtts: [u32; LATENCY_FILTER],
    rtts_known: u8,
}

impl Peer {
    /// Remembers a round trip and gives the median of the latest three; of two, the longer.
    fn filter(&mut self, rtt: Duration) -> Duration {
        let units = u32::try_from(nanos(rtt) / RTT_UNIT_NANOS).unwrap_or(u32::MAX);
        let mut known = usize::from(self.rtts_known).min(LATENCY_FILTER);
        if known == LATENCY_FILTER {
            self.rtts.rotate_left(1);
            known = LATENCY_FILTER.saturating_sub(1);
        }
        if let Some(place) = self.rtts.get_mut(known) {
            *place = units;
        }
        known = known.saturating_add(1);
        self.rtts_known = known as u8;

        let mut sorted = self.rtts;
        let median = sorted.get_mut(..known).and_then(|sorted| {
            sorted.sort();
            sorted.get(sorted.len() / 2)
        });
        Duration::from_nanos(u64::from(median.copied().unwrap_or(units)).saturating_mul(RTT_UNIT_NANOS))
    }
}

fn seconds(duration: Duration) -> f64 {
    nanos(duration) as f64 / NANOS_PER_SECOND
}

fn difference(a: &[f64; AXES], b: &[f64; AXES]) -> [f64; AXES] {
    let mut difference = *a;
    for (part, other) in difference.iter_mut().zip(b) {
        *part -= other;
    }
    difference
}

fn scale(vec: &mut [f64; AXES], factor: f64) {
    for part in vec {
        *part *= factor;
    }
}

fn magnitude(vec: &[f64; AXES]) -> f64 {
    libm::sqrt(vec.iter().map(|part| part * part).sum())
}

/// A unit vector; by a chance of nearly nothing the first axis.
fn random_direction(rng: &mut Rng) -> [f64; AXES] {
    let mut direction = [0.0; AXES];
    for part in &mut direction {
        *part = half_around_zero(rng);
    }
    let length = magnitude(&direction);
    if length > ZERO_THRESHOLD {
        scale(&mut direction, 1.0 / length);
        direction
    } else {
        [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    }
}

/// A uniform number from -0.5 up to, but without, 0.5: 53 random bits, all of which a double holds.
fn half_around_zero(rng: &mut Rng) -> f64 {
    let bits = rng.next_u64(Purpose::CoordinateDirection) >> 11;
    bits as f64 / (1_u64 << 53) as f64 - 0.5
}

/// The larger one; what is no number stays, so that it is noticed.
fn at_least(least: f64, number: f64) -> f64 {
    if number < least { least } else { number }
}

/// The smaller one; what is no number stays.
fn at_most(most: f64, number: f64) -> f64 {
    if number > most { most } else { number }
}

const ERROR_MAX: f64 = 1.5;
const ERROR_WEIGHT: f64 = 0.25;
const COORDINATE_WEIGHT: f64 = 0.25;
const ADJUSTMENT_WINDOW: usize = 20;
const HEIGHT_MIN: f64 = 1e-5;
const LATENCY_FILTER: usize = 3;
const GRAVITY_RHO: f64 = 150.0;
const ZERO_THRESHOLD: f64 = 1e-6;
/// Seconds (U-32).
const LENGTH_MAX: f64 = 10.0;
const NANOS_PER_SECOND: f64 = 1e9;
const RTT_UNIT_NANOS: u64 = 4;
