//! A run: the scenario is played twice with one seed, and both must come to the same.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::checkers::Broken;
use crate::draw::Purpose;
use crate::faults::Faults;
use crate::history::History;
use crate::judge::Unmet;
use crate::scenario::{HostId, Scenario};
use crate::timeline::Timeline;
use crate::trace::Digest;
use crate::units::Seconds;
use crate::world::World;

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed that was played.
    pub seed: u64,
    /// How often.
    pub plays: u8,
    /// The hash over every output of every node.
    pub digest: Digest,
    /// What happened.
    pub timeline: Timeline,
    /// What went wrong on purpose.
    pub faults: Faults,
    /// Faults that were asked for and never happened.
    pub warnings: Vec<String>,
    /// How many expectations were met.
    pub met: usize,
    /// Those that were not.
    pub unmet: Vec<Unmet>,
    /// The first broken safety rule: when, at which node, and what.
    pub broken: Option<(u64, Option<HostId>, Broken)>,
    /// How many inputs the nodes were handed.
    pub inputs: u64,
    /// The verdict.
    pub verdict: Verdict,
}

/// What failed first in a run.
#[derive(Clone, Copy, Debug)]
pub enum Failure<'a> {
    /// The two plays differ, from this second on.
    Differs(Seconds),
    /// A rule is broken, at this time.
    Broken(u64, &'a Broken),
    /// An expectation is not met.
    Unmet(&'a Unmet),
}

impl fmt::Display for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Differs(from) => write!(f, "the two plays differ after {from}"),
            Self::Broken(_, broken) => broken.fmt(f),
            Self::Unmet(unmet) => write!(f, "expected {}; {}", unmet.expected, unmet.seen),
        }
    }
}

impl Outcome {
    /// What failed first; `None`: nothing.
    pub fn failure(&self) -> Option<Failure<'_>> {
        if let Verdict::Differs { from, .. } = self.verdict {
            return Some(Failure::Differs(from));
        }
        let broken = self.broken.as_ref().map(|(at, _, broken)| Failure::Broken(*at, broken));
        broken.or_else(|| self.unmet.first().map(Failure::Unmet))
    }
}

/// The verdict over a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every expectation was met and every rule held.
    AsExpected,
    /// An expectation was not met or a rule is broken.
    Failed,
    /// The two plays differ.
    Differs {
        /// The last whole second, since the world began, at which they were still the same.
        from: Seconds,
        /// The first output that differs, in both.
        first: Option<(String, String)>,
    },
}

impl Verdict {
    /// The exit code of the program.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::AsExpected => 0,
            Self::Failed => 1,
            Self::Differs { .. } => 3,
        }
    }
}

/// Plays `scenario` twice with `seed`. In the two plays the nodes are replaced by their own checkpoints at different
/// times, so that equal digests also show that a restored node goes on exactly as the original would.
///
/// `progress` hears of each simulated second: which play (0 or 1), and the time in nanoseconds.
pub fn play_twice(scenario: &Scenario, seed: u64, progress: &dyn Fn(u8, u64)) -> Outcome {
    compare(scenario, [seed; 2], None, progress)
}

/// Plays `scenario` as often as it says, and `history` takes in what the first play shows; it keeps it when the core panics.
pub fn play_recorded(
    scenario: &Scenario,
    seed: u64,
    history: Option<&mut History>,
    progress: &dyn Fn(u8, u64),
) -> Outcome {
    if scenario.plays == 1 {
        let world = play(scenario, seed, Purpose::RestoreFirst, None, history, &|now| progress(0, now));
        return outcome(scenario, seed, 1, &world);
    }
    compare(scenario, [seed; 2], history, progress)
}

/// Plays `scenario` once with `seed`: half of the time, and nothing is known of whether a second play would come to the
/// same.
pub fn play_once(scenario: &Scenario, seed: u64) -> Outcome {
    outcome(scenario, seed, 1, &play(scenario, seed, Purpose::RestoreFirst, None, None, &|_| {}))
}

/// Plays `scenario` once or twice; `None`: the core panicked. A panic leaves nothing behind that anybody would use again.
pub fn play_caught(scenario: &Scenario, seed: u64, twice: bool) -> Option<Outcome> {
    let play = || if twice { play_twice(scenario, seed, &|_, _| {}) } else { play_once(scenario, seed) };
    catch_unwind(AssertUnwindSafe(play)).ok()
}

fn compare(scenario: &Scenario, seeds: [u64; 2], history: Option<&mut History>, progress: &dyn Fn(u8, u64)) -> Outcome {
    let first = play(scenario, seeds[0], Purpose::RestoreFirst, None, history, &|now| progress(0, now));
    let second = play(scenario, seeds[1], Purpose::RestoreSecond, None, None, &|now| progress(1, now));
    let mut outcome = outcome(scenario, seeds[0], 2, &first);
    if first.trace.digest() != second.trace.digest() {
        let from = first.trace.parting(&second.trace);
        let window = Some((from.0, from.0.saturating_add(1_000_000_001)));
        let again = |seed, restores| play(scenario, seed, restores, window, None, &|_| {}).trace;
        let one = again(seeds[0], Purpose::RestoreFirst);
        let other = again(seeds[1], Purpose::RestoreSecond);
        let first = one.first_difference(&other).map(|(one, other)| (one.to_owned(), other.to_owned()));
        outcome.verdict = Verdict::Differs { from, first };
    }
    outcome
}

fn play<'a>(
    scenario: &'a Scenario,
    seed: u64,
    restores: Purpose,
    window: Option<(u64, u64)>,
    history: Option<&'a mut History>,
    tick: &dyn Fn(u64),
) -> World<'a> {
    let mut world = World::new(scenario, seed, restores, window);
    world.history = history;
    world.play(tick);
    world.retire();
    world
}

fn outcome(scenario: &Scenario, seed: u64, plays: u8, world: &World<'_>) -> Outcome {
    let as_expected = world.broken.is_none() && world.judge.unmet.is_empty();
    Outcome {
        seed,
        plays,
        digest: world.trace.digest(),
        timeline: world.timeline.clone(),
        faults: world.faults.clone(),
        warnings: world.faults.silent(scenario),
        met: world.judge.met,
        unmet: world.judge.unmet.clone(),
        broken: world.broken.clone(),
        inputs: world.hosts.iter().map(|host| host.inputs).sum(),
        verdict: if as_expected { Verdict::AsExpected } else { Verdict::Failed },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_plays_that_differ_are_told_apart_and_the_first_difference_is_shown() {
        let text = "[run]\nuntil = \"9s\"\n[cluster]\nnodes = [\"a\", \"b\"]\n";
        let scenario = Scenario::parse("test.toml", text).expect("a scenario");
        let outcome = compare(&scenario, [1, 2], None, &|_, _| {});
        let Verdict::Differs { first: Some((one, other)), .. } = &outcome.verdict else {
            panic!("two seeds came to the same: {:?}", outcome.verdict);
        };
        assert_ne!(one, other);
        assert_eq!(outcome.verdict.exit_code(), 3);
        assert!(crate::report::text(&scenario, &outcome).contains("\n  first play:  "));
    }
}
