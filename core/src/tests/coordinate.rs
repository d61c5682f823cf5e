//! Network coordinates: upstream's acceptance tests (coordinate/performance_test.go) and what bad measurements do.

#![expect(clippy::float_arithmetic, reason = "coordinates are reals")]

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::f64::consts::PI;
use core::time::Duration;

use crate::coordinate::{AXES, Coordinate, RTT_MAX, Rejected, Vivaldi};
use crate::rng::{Purpose, Rng, Seed};
use crate::types::Slot;

type Truth = Vec<Vec<Duration>>;

/// Real round trips, from a formula for each pair.
fn truth(nodes: usize, rtt: impl Fn(usize, usize) -> f64) -> Truth {
    let row = |i: usize| (0..nodes).map(|j| Duration::from_secs_f64(rtt(i.min(j), i.max(j)))).collect();
    (0..nodes).map(row).collect()
}

/// Nodes apart by a hair and in one plane, where they then stay: only nodes in one place are pushed in any direction.
fn in_a_plane(nodes: usize) -> Vec<Vivaldi> {
    let place = |node: usize| {
        let turn = node as f64 * 2.4;
        let mut own = Coordinate::start();
        own.vec[0] = turn.cos() * 1e-4 * (node + 1) as f64;
        own.vec[1] = turn.sin() * 1e-4 * (node + 1) as f64;
        Vivaldi::at(own)
    };
    (0..nodes).map(place).collect()
}

fn simulate(nodes: &mut [Vivaldi], truth: &Truth, rng: &mut Rng, cycles: usize) {
    for _ in 0..cycles {
        for i in 0..nodes.len() {
            let j = rng.index(Purpose::Helpers, nodes.len());
            if i != j {
                let other = *nodes[j].own();
                let slot = Slot(u32::try_from(j).expect("few nodes"));
                nodes[i].update(rng, slot, &other, truth[i][j]).expect("an honest measurement");
            }
        }
    }
}

/// Mean and largest relative error of the estimates.
fn errors(nodes: &[Vivaldi], truth: &Truth) -> (f64, f64) {
    let (mut sum, mut max, mut count) = (0.0, 0.0_f64, 0.0);
    for i in 0..nodes.len() {
        for j in i + 1..nodes.len() {
            let real = truth[i][j].as_secs_f64();
            let error = (nodes[i].own().distance(nodes[j].own()).as_secs_f64() - real).abs() / real;
            sum += error;
            max = max.max(error);
            count += 1.0;
        }
    }
    (sum / count, max)
}

/// Upstream's tolerances hold for Go's random numbers and seed 1; a margin of two holds for all of our seeds.
#[track_caller]
fn settles_within(truth: &Truth, mean: f64, max: f64) {
    for seed in 1..=5 {
        let mut rng = Rng::new(Seed::simulated(seed));
        let mut nodes = vec![Vivaldi::default(); truth.len()];
        simulate(&mut nodes, truth, &mut rng, 1_000);
        let seen = errors(&nodes, truth);
        assert!(seen.0 <= 2.0 * mean && seen.1 <= 2.0 * max, "seed {seed}: {seen:?}, upstream has {mean} and {max}");
    }
}

#[test]
fn a_line_is_found() {
    settles_within(&truth(10, |i, j| (j - i) as f64 * 0.010), 0.0031, 0.0130);
}

#[test]
fn a_grid_is_found() {
    let place = |node: usize| ((node % 5) as f64, (node / 5) as f64);
    let rtt = |i: usize, j: usize| {
        let ((x, y), (u, v)) = (place(i), place(j));
        ((x - u).powi(2) + (y - v).powi(2)).sqrt() * 0.010
    };
    settles_within(&truth(25, rtt), 0.0016, 0.0230);
}

#[test]
fn two_sites_are_told_apart() {
    settles_within(&truth(25, |i, j| if i <= 12 && j > 12 { 0.011 } else { 0.001 }), 6.0e-5, 4.8e-4);
}

#[test]
fn scattered_round_trips_are_fitted() {
    let mut rng = Rng::new(Seed::simulated(1));
    // Twelve uniform numbers less six are near enough to a normal one.
    let mut normal =
        || (0..12).map(|_| rng.below_inclusive(Purpose::Relay, 1 << 20) as f64 / 1_048_576.0).sum::<f64>() - 6.0;
    let draws: Vec<f64> = (0..625).map(|_| 0.100 + 0.010 * normal()).collect();
    settles_within(&truth(25, |i, j| draws[i * 25 + j]), 0.075, 0.33);
}

#[test]
fn the_hub_of_a_circle_has_a_long_access_link() {
    let on_circle = |node: usize| 2.0 * PI * node as f64 / 25.0;
    let rtt = |i: usize, j: usize| match i {
        0 => 0.200,
        _ => {
            ((on_circle(i).cos() - on_circle(j).cos()).powi(2) + (on_circle(i).sin() - on_circle(j).sin()).powi(2))
                .sqrt()
                * 0.100
        }
    };
    let truth = truth(25, rtt);
    for seed in 1..=5 {
        let mut nodes = in_a_plane(25);
        simulate(&mut nodes, &truth, &mut Rng::new(Seed::simulated(seed)), 1_000);
        let heights: Vec<f64> = nodes.iter().map(|node| node.own().height).collect();
        assert!(nodes.iter().all(|node| node.own().vec[2..] == [0.0; AXES - 2]), "seed {seed}: left the plane");
        // Upstream's bounds are 97 ms and, for its own seed, 3 ms.
        assert!(heights[0] >= 0.097, "seed {seed}: {heights:?}");
        assert!(heights[1..].iter().all(|&height| height <= 0.004), "seed {seed}: {heights:?}");
        let (mean, max) = errors(&nodes, &truth);
        assert!(mean <= 2.0 * 0.0028 && max <= 2.0 * 0.064, "seed {seed}: {mean} {max}");
    }
}

#[test]
fn gravity_pulls_a_drifted_cluster_back() {
    let truth = truth(4, |i, j| if i % 2 == 0 && j % 2 == 0 { 0.5 * 2.0_f64.sqrt() } else { 0.5 });
    let corner = |x: f64, y: f64| {
        let mut own = Coordinate::start();
        (own.vec[0], own.vec[1]) = (x, y);
        Vivaldi::at(own)
    };
    let centre_offset = |nodes: &[Vivaldi]| {
        let middle = |axis: usize| {
            let along: Vec<f64> = nodes.iter().map(|node| node.own().vec[axis]).collect();
            let (least, most) = along.iter().fold((f64::MAX, f64::MIN), |(l, m), &x| (l.min(x), m.max(x)));
            f64::midpoint(least, most)
        };
        (0..AXES).map(|axis| middle(axis).powi(2)).sum::<f64>().sqrt()
    };
    // A hair off the origin, where gravity would push in any direction and the square would fold.
    let mut nodes = [corner(1e-4, 1e-4), corner(0.0, 0.5), corner(0.5, 0.5), corner(0.5, 0.0)];
    let mut rng = Rng::new(Seed::simulated(1));
    simulate(&mut nodes, &truth, &mut rng, 1_000);
    let before = centre_offset(&nodes);
    simulate(&mut nodes, &truth, &mut rng, 10_000);
    let after = centre_offset(&nodes);
    assert!(nodes.iter().all(|node| node.own().vec[2..] == [0.0; AXES - 2]), "left the plane");
    // Upstream's bound, 0.8, holds for its own seed; over seeds the formulas give 0.80 to 0.82.
    assert!(after <= 0.85 * before, "{before} {after}");
}

fn rng() -> Rng {
    Rng::new(Seed::simulated(3))
}

fn far(seconds: f64) -> Coordinate {
    let mut other = Coordinate::start();
    other.vec[0] = seconds;
    other
}

const PEER: Slot = Slot(1);

#[test]
fn the_first_measurement_moves_the_node_by_upstreams_formula() {
    let mut node = Vivaldi::default();
    node.update(&mut rng(), PEER, &far(0.1), Duration::from_millis(50)).expect("accepted");
    let own = node.own();
    // Distance 100.02 ms, weight a half: error 0.125 * 1.0004 + 1.5 * 0.875, force 0.125 * -50.02 ms, towards the peer.
    assert!((own.error - 1.437_55).abs() < 1e-12, "{own:?}");
    // Gravity then pulls back by (6.26 ms / 150)^2, under two nanoseconds.
    assert!((own.vec[0] - 0.006_252_5).abs() < 2e-9, "{own:?}");
    assert_eq!(own.vec[1..], [0.0; AXES - 1]);
    assert_eq!(own.height, 1e-5);
    let surprise = 0.05 - (0.1 - 0.006_252_5 + 2e-5);
    assert!((own.adjustment - surprise / 40.0).abs() < 1e-12, "{own:?}");
}

#[test]
fn what_no_honest_peer_says_is_rejected_and_changes_nothing() {
    let before = {
        let mut node = Vivaldi::default();
        node.update(&mut rng(), PEER, &far(0.1), Duration::from_millis(50)).expect("accepted");
        node
    };
    let spoil: [fn(&mut Coordinate, f64); 5] = [
        |c, bad| c.vec[0] = bad,
        |c, bad| c.vec[AXES - 1] = bad,
        |c, bad| c.error = bad,
        |c, bad| c.adjustment = bad,
        |c, bad| c.height = bad,
    ];
    for (part, spoil) in spoil.iter().enumerate() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 10.1, -10.1, 1e300] {
            let mut other = Coordinate::start();
            spoil(&mut other, bad);
            let mut node = before.clone();
            let verdict = node.update(&mut rng(), PEER, &other, Duration::from_millis(1));
            // A large error is no lie: it only says that the peer is not to be trusted.
            let want = match (bad.is_finite(), part == 2 && bad > 0.0) {
                (false, _) => Err(Rejected::NotFinite),
                (true, false) => Err(Rejected::OutOfBounds),
                (true, true) => Ok(()),
            };
            assert_eq!(verdict, want, "part {part}, {bad}");
            assert_eq!(other.is_valid(), want.is_ok(), "part {part}, {bad}");
            assert!(want.is_ok() || node == before, "part {part}, {bad}");
            assert!(node.own().is_valid(), "part {part}, {bad}");
        }
    }
    let mut node = before.clone();
    let long = RTT_MAX + Duration::from_nanos(1);
    assert_eq!(node.update(&mut rng(), PEER, &far(0.1), long), Err(Rejected::RoundTrip(long)));
    assert_eq!(node, before);
    assert_eq!(node.update(&mut rng(), PEER, &far(0.1), RTT_MAX), Ok(()));
    assert_eq!(node.update(&mut rng(), PEER, &far(0.1), Duration::ZERO), Ok(()));
}

#[test]
fn rejections_read_as_upstreams() {
    assert_eq!(Rejected::Axes.to_string(), "dimensions aren't compatible");
    assert_eq!(Rejected::NotFinite.to_string(), "coordinate is invalid");
    assert_eq!(
        Rejected::RoundTrip(Duration::from_millis(10_500)).to_string(),
        "round trip time not in valid range, duration 10.5s is not a positive value less than 10s"
    );
}

#[test]
fn hostile_peers_cannot_push_a_node_out_of_bounds() {
    let mut rng = rng();
    let mut node = Vivaldi::default();
    for step in 0_u32..20_000 {
        let number =
            |rng: &mut Rng, max: f64| rng.below_inclusive(Purpose::Relay, 1 << 30) as f64 / (1_u64 << 30) as f64 * max;
        let mut other = Coordinate::start();
        // Close by in half of the cases: the height's change is divided by the distance.
        let spread = if step % 2 == 0 { 3.0 } else { 3e-6 };
        for (part, own) in other.vec.iter_mut().zip(node.own().vec) {
            *part = (own + number(&mut rng, 2.0 * spread) - spread).clamp(-3.5, 3.5);
        }
        other.height = number(&mut rng, 10.0);
        other.adjustment = number(&mut rng, 20.0) - 10.0;
        other.error = 0.0;
        let rtt = Duration::from_secs_f64(number(&mut rng, 10.0));
        assert_eq!(node.update(&mut rng, Slot(step % 7), &other, rtt).is_ok(), other.is_valid(), "step {step}");
        assert!(node.own().is_valid(), "step {step}: {:?}", node.own());
    }
    assert_eq!(node.resets(), 0);
}

#[test]
fn a_coordinate_that_is_no_number_begins_again_and_is_counted() {
    let mut broken = Coordinate::start();
    broken.vec[3] = f64::NAN;
    let mut node = Vivaldi::at(broken);
    node.update(&mut rng(), PEER, &far(0.1), Duration::from_millis(50)).expect("accepted");
    assert_eq!((node.own(), node.resets()), (&Coordinate::start(), 1));
    node.update(&mut rng(), PEER, &far(0.1), Duration::from_millis(50)).expect("accepted");
    assert!(node.own().is_valid() && node.own().vec[0] > 0.0);
    assert_eq!(node.resets(), 1);
}

/// What the node's first step would be after round trips that were filtered to `rtt`.
#[track_caller]
fn filters_to(rtts: &[u64], rtt: u64) {
    let step = |rtts: &[u64]| {
        let mut node = Vivaldi::default();
        for &rtt in rtts {
            // The same peer each time, measured anew: only the filter remembers.
            let bytes = postcard::to_allocvec(&node).expect("encodes");
            node = postcard::from_bytes(&bytes).expect("decodes");
            node.update(&mut rng(), PEER, &Coordinate::start(), Duration::from_millis(rtt)).expect("accepted");
        }
        node
    };
    let (all, last) = rtts.split_at(rtts.len() - 1);
    let mut filtered = step(all);
    filtered.forget(PEER);
    filtered.update(&mut rng(), PEER, &Coordinate::start(), Duration::from_millis(rtt)).expect("accepted");
    let mut raw = step(all);
    raw.update(&mut rng(), PEER, &Coordinate::start(), Duration::from_millis(last[0])).expect("accepted");
    assert_eq!(raw.own(), filtered.own(), "{rtts:?}");
}

#[test]
fn one_slow_answer_in_three_is_passed_over() {
    filters_to(&[50], 50);
    filters_to(&[50, 10], 50);
    filters_to(&[10, 50], 50);
    filters_to(&[50, 900, 60], 60);
    filters_to(&[50, 60, 900], 60);
    filters_to(&[900, 40, 50, 60], 50);
    filters_to(&[1, 900, 900, 2, 3], 3);
}

#[test]
fn the_filter_remembers_each_peer_on_its_own() {
    let mut node = Vivaldi::default();
    for _ in 0..3 {
        node.update(&mut rng(), PEER, &far(0.1), Duration::from_millis(100)).expect("accepted");
    }
    let mut other = node.clone();
    node.update(&mut rng(), PEER, &far(0.1), Duration::from_millis(900)).expect("accepted");
    other.update(&mut rng(), Slot(2), &far(0.1), Duration::from_millis(900)).expect("accepted");
    assert!(other.own().adjustment > node.own().adjustment, "a new peer's first round trip counts in full");
}

#[test]
fn distances_are_cut_to_whole_nanoseconds_and_never_negative() {
    let here = Coordinate::start();
    let mut there = far(0.1);
    assert_eq!(here.distance(&there), Duration::from_nanos(100_020_000));
    there.vec[0] = 0.123_456_789_9;
    assert_eq!(here.distance(&there), Duration::from_nanos(123_476_789));
    there.adjustment = -0.1;
    assert_eq!(here.distance(&there), Duration::from_nanos(23_476_789));
    there.adjustment = -1.0;
    assert_eq!(
        here.distance(&there),
        Duration::from_nanos(123_476_789),
        "an adjustment that leaves nothing is ignored"
    );
    there.height = f64::NAN;
    assert_eq!(here.distance(&there), Duration::ZERO);
}

#[test]
fn the_short_form_comes_back() {
    let mut rng = rng();
    let mut node = Vivaldi::default();
    assert_eq!(Coordinate::from_f32s(&node.own().to_f32s()), Coordinate::start());
    for step in 0..200 {
        let rtt = Duration::from_nanos(rng.below_inclusive(Purpose::Relay, 1_000_000_000));
        node.update(&mut rng, Slot(step % 5), &far(0.05), rtt).expect("accepted");
        let short = node.own().to_f32s();
        let long = Coordinate::from_f32s(&short);
        assert_eq!(long.to_f32s(), short);
        let off = node.own().distance(&far(0.0)).abs_diff(long.distance(&far(0.0)));
        assert!(off < Duration::from_nanos(200), "{off:?}");
    }
}

#[test]
fn a_peer_is_known_from_its_answer_until_it_is_forgotten() {
    let mut node = Vivaldi::default();
    assert_eq!(node.peer(PEER), None);
    node.update(&mut rng(), PEER, &far(0.25), Duration::from_millis(50)).expect("accepted");
    assert_eq!(node.peer(PEER), Some(far(0.25)));
    assert_eq!(node.peer(Slot(2)), None);
    node.forget(PEER);
    assert_eq!(node.peer(PEER), None);
}

#[test]
fn a_restored_engine_goes_on_with_the_same_bits() {
    let mut rng = rng();
    let mut node = Vivaldi::default();
    let measure = |node: &mut Vivaldi, rng: &mut Rng, step: u32| {
        let rtt = Duration::from_nanos(rng.below_inclusive(Purpose::Relay, 200_000_000));
        node.update(rng, Slot(step % 3), &Coordinate::start(), rtt).expect("accepted");
    };
    (0..50).for_each(|step| measure(&mut node, &mut rng, step));
    let bytes = postcard::to_allocvec(&(&node, &rng)).expect("encodes");
    let (mut copy, mut copied_rng): (Vivaldi, Rng) = postcard::from_bytes(&bytes).expect("decodes");
    (50..100).for_each(|step| {
        measure(&mut node, &mut rng, step);
        measure(&mut copy, &mut copied_rng, step);
    });
    assert_eq!(copy, node);
}
