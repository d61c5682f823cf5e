//! What the agent counts and measures, under upstream's names (cli.md 3.11).
//!
//! Values are added up in intervals of ten seconds, of which the last minute is kept for SIGUSR1. An interval begins
//! when something happens in it, so an agent that rests is not woken for it. Only where values go to a sink the loop
//! wakes once a second to hand over what there is.

mod aggregate;
mod process;
mod sinks;

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::mem;
use std::time::Duration;

use villein_core::event::{Event, MemberEventKind};
use villein_core::io::StreamAction;
use villein_core::{Node, Output, Time};

use self::aggregate::Aggregate;
use self::sinks::Sinks;
use crate::agent::Agent;
use crate::clock::Clock;
use crate::limits::{METRIC_INTERVALS_MAX, METRIC_NAME_BYTES_MAX, METRIC_NAMES_MAX, METRIC_PENDING_BYTES_MAX};
use crate::local_time::Zone;
use crate::network::Arrival;

/// Where values are sent while the agent runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TelemetryOptions {
    /// A statsd server, `host:port`, over UDP; empty: none.
    pub statsd: String,
    /// A statsite server, `host:port`, over TCP; empty: none.
    pub statsite: String,
}

/// The first part of every name.
const PREFIX: &str = "serf-agent";
/// Length of an interval.
const INTERVAL_SECS: i64 = 10;
/// How often values are handed to the sinks.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// Everything that is counted and measured.
pub(crate) struct Telemetry {
    /// The oldest first; the last one is not over.
    intervals: VecDeque<Interval>,
    sinks: Option<Sinks>,
    host: String,
    /// Nanoseconds from 1970 to the origin of the loop's time.
    origin: i128,
    /// When the last interval is over.
    interval_ends: Time,
    flush_at: Time,
}

/// Ten seconds.
struct Interval {
    /// Seconds since 1970.
    start: i64,
    /// Whether what is only read once in an interval has been read.
    is_begun: bool,
    gauges: BTreeMap<Cow<'static, str>, f64>,
    counters: BTreeMap<Cow<'static, str>, Aggregate>,
    samples: BTreeMap<Cow<'static, str>, Aggregate>,
    /// Bytes of datagrams: too many for a look-up each.
    udp: [Aggregate; 2],
    /// As much of them as the sinks have been told.
    udp_told: [f64; 2],
}

const UDP: [&str; 2] = ["memberlist.udp.sent", "memberlist.udp.received"];

impl Telemetry {
    /// Nothing has been counted yet. Sinks get a thread each.
    pub(crate) fn new(options: &TelemetryOptions, now: Time) -> Self {
        Self {
            intervals: VecDeque::new(),
            sinks: Sinks::start(options),
            host: String::from_utf8_lossy(rustix::system::uname().nodename().to_bytes()).into_owned(),
            origin: 0,
            interval_ends: now,
            flush_at: now + FLUSH_INTERVAL,
        }
    }

    /// Adds to a counter. Blanks and what means something to a sink become `_` in the name.
    pub(crate) fn count(&mut self, now: Time, name: impl Into<Cow<'static, str>>, n: u64) {
        let name = clean(name.into());
        let value = to_float(n);
        self.line(&name, value, "c");
        add(&mut self.interval(now).counters, name, now, value);
    }

    /// Adds a value to a series: milliseconds, or another measure.
    pub(crate) fn sample(&mut self, now: Time, name: impl Into<Cow<'static, str>>, value: f64) {
        let name = clean(name.into());
        self.line(&name, value, "ms");
        add(&mut self.interval(now).samples, name, now, value);
    }

    /// Sets a value that holds until it is set again.
    pub(crate) fn gauge(&mut self, now: Time, name: impl Into<Cow<'static, str>>, value: f64) {
        let name = clean(name.into());
        // Upstream tells whose it is where the values of several hosts meet.
        let name = if self.sinks.is_some() { clean(format!("{}.{name}", self.host).into()) } else { name };
        self.line(&name, value, "g");
        let gauges = &mut self.interval(now).gauges;
        if gauges.len() < METRIC_NAMES_MAX || gauges.contains_key(&name) {
            gauges.insert(name, value);
        }
    }

    /// A datagram was sent.
    pub(crate) fn udp_sent(&mut self, now: Time, bytes: usize) {
        self.interval(now).udp[0].add(now, to_float(bytes as u64));
    }

    /// A datagram was received.
    pub(crate) fn udp_received(&mut self, now: Time, bytes: usize) {
        self.interval(now).udp[1].add(now, to_float(bytes as u64));
    }

    /// The interval that `now` is in.
    fn interval(&mut self, now: Time) -> &mut Interval {
        if now >= self.interval_ends || self.intervals.is_empty() {
            // The monotonic clock stands still in a suspend, and the wall clock is set.
            self.begin_interval(now, Clock::wall_nanos() - i128::from(now.as_nanos()));
        }
        let last = self.intervals.len() - 1;
        &mut self.intervals[last]
    }

    fn begin_interval(&mut self, now: Time, origin: i128) {
        self.tell_udp();
        self.origin = origin;
        let nanos = origin + i128::from(now.as_nanos());
        let second = i64::try_from(nanos.div_euclid(1_000_000_000)).unwrap_or(i64::MAX);
        let start = second - second.rem_euclid(INTERVAL_SECS);
        let left = i128::from(start + INTERVAL_SECS) * 1_000_000_000 - nanos;
        self.interval_ends = now + Duration::from_nanos(u64::try_from(left).unwrap_or_default());
        self.intervals.push_back(Interval::new(start));
        while self.intervals.len() > METRIC_INTERVALS_MAX + 1 {
            self.intervals.pop_front();
        }
    }

    fn line(&mut self, name: &str, value: f64, kind: &str) {
        if let Some(sinks) = &mut self.sinks
            && sinks.pending.len() < METRIC_PENDING_BYTES_MAX
        {
            // A string takes everything.
            let _ = writeln!(sinks.pending, "{PREFIX}.{name}:{value:.6}|{kind}");
        }
    }

    /// Tells the sinks of datagrams, as one sum for many.
    fn tell_udp(&mut self) {
        let Some(interval) = self.intervals.back_mut() else { return };
        let sums = [0, 1].map(|index| {
            let sum = interval.udp[index].sum();
            sum - mem::replace(&mut interval.udp_told[index], sum)
        });
        for (name, sum) in UDP.into_iter().zip(sums) {
            if sum > 0.0 {
                self.line(name, sum, "c");
            }
        }
    }

    /// When the loop must wake to feed the sinks; `None` without one.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.sinks.is_some().then_some(self.flush_at)
    }

    /// Whether there is something to read or to feed.
    pub(crate) fn is_due(&self, now: Time) -> bool {
        let begins = now >= self.interval_ends || self.intervals.back().is_none_or(|interval| !interval.is_begun);
        begins || self.deadline().is_some_and(|at| at <= now)
    }

    /// Reads what can only be read now and then, at the begin of an interval and before the sinks are fed; feeds them.
    pub(crate) fn mind(&mut self, now: Time, node: &Node) {
        let begins = !mem::replace(&mut self.interval(now).is_begun, true);
        let feeds = self.deadline().is_some_and(|at| at <= now);
        if !begins && !feeds {
            return;
        }
        if self.sinks.is_some() {
            for (name, value) in process::gauges() {
                self.gauge(now, name, value);
            }
        }
        let stats = node.stats();
        self.gauge(now, "memberlist.health.score", f64::from(stats.health_score));
        if begins {
            for (name, len) in [
                ("serf.queue.Intent", stats.intent_queue),
                ("serf.queue.Event", stats.event_queue),
                ("serf.queue.Query", stats.query_queue),
            ] {
                self.sample(now, name, to_float(len as u64));
            }
        }
        if feeds {
            self.flush_at = now + FLUSH_INTERVAL;
            self.tell_udp();
            self.sinks.iter_mut().for_each(Sinks::flush);
        }
    }

    /// Asks the system about the process, before a dump: that takes longer than many packets take, so without a sink it is
    /// not asked in every interval but once, for the last one that is finished.
    pub(crate) fn ask_system(&mut self, now: Time) {
        let current = self.interval(now).start;
        let finished = self.intervals.iter_mut().rev().find(|interval| interval.start < current);
        if let Some(last) = finished.filter(|_| self.sinks.is_none()) {
            last.gauges.extend(process::gauges().map(|(name, value)| (Cow::Borrowed(name), value)));
        }
    }

    /// The finished intervals of the last minute, in go-metrics' form. Times are in UTC.
    pub(crate) fn dump(&mut self, now: Time) -> String {
        let current = self.interval(now).start;
        let mut text = String::new();
        let oldest = current - INTERVAL_SECS * i64::try_from(METRIC_INTERVALS_MAX).unwrap_or(i64::MAX);
        for interval in self.intervals.iter().filter(|interval| (oldest..current).contains(&interval.start)) {
            interval.dump(&mut text, self.origin);
        }
        text
    }
}

impl Interval {
    const fn new(start: i64) -> Self {
        Self {
            start,
            is_begun: false,
            gauges: BTreeMap::new(),
            counters: BTreeMap::new(),
            samples: BTreeMap::new(),
            udp: [Aggregate::NONE; 2],
            udp_told: [0.0; 2],
        }
    }

    fn dump(&self, text: &mut String, origin: i128) {
        let time = Zone::default().stamp(self.start).dashed();
        // A string takes everything.
        for (name, value) in &self.gauges {
            let _ = writeln!(text, "[{time} +0000 UTC][G] '{PREFIX}.{name}': {value:.3}");
        }
        let udp = UDP.iter().copied().zip(&self.udp).filter(|(_, aggregate)| aggregate.is_used());
        let counters = self.counters.iter().map(|(name, aggregate)| (name.as_ref(), aggregate));
        let samples = self.samples.iter().map(|(name, aggregate)| ('S', name.as_ref(), aggregate));
        let mut counters: Vec<_> = counters.chain(udp).map(|(name, aggregate)| ('C', name, aggregate)).collect();
        counters.sort_by_key(|(_, name, _)| *name);
        for (kind, name, aggregate) in counters.into_iter().chain(samples) {
            let _ = writeln!(text, "[{time} +0000 UTC][{kind}] '{PREFIX}.{name}': {}", aggregate.shown(origin));
        }
    }
}

fn add(map: &mut BTreeMap<Cow<'static, str>, Aggregate>, name: Cow<'static, str>, now: Time, value: f64) {
    if map.len() < METRIC_NAMES_MAX || map.contains_key(&name) {
        map.entry(name).or_insert(Aggregate::NONE).add(now, value);
    }
}

/// A name without blanks and without what separates names, values and lines; only the beginning of a long one.
fn clean(mut name: Cow<'static, str>) -> Cow<'static, str> {
    if name.len() > METRIC_NAME_BYTES_MAX {
        name = name.get(..name.floor_char_boundary(METRIC_NAME_BYTES_MAX)).unwrap_or_default().to_owned().into();
    }
    let is_bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ':' | '|');
    if name.contains(is_bad) { name.replace(is_bad, "_").into() } else { name }
}

/// Values are floats, as in upstream.
#[expect(clippy::cast_precision_loss, reason = "counts and sizes are far below 2^53")]
const fn to_float(n: u64) -> f64 {
    n as f64
}

/// What the loop sees of the cluster's traffic.
impl Agent {
    /// The core has put something out.
    pub(crate) fn measure_output(&mut self, output: &Output) {
        match output {
            Output::Datagram { bytes, .. } => self.telemetry.udp_sent(self.last, bytes.len()),
            Output::Stream { action: StreamAction::Connect(_), .. } => {
                self.telemetry.count(self.last, "memberlist.tcp.connect", 1);
            }
            Output::Stream { action: StreamAction::Write(frame), .. } => {
                self.telemetry.count(self.last, "memberlist.tcp.sent", frame.len() as u64);
            }
            Output::Stream { action: StreamAction::Finish | StreamAction::Abort, .. }
            | Output::Resolve { .. }
            | Output::Persist { .. }
            | Output::Event(_)
            | Output::Reply { .. }
            | Output::Log(_) => {}
        }
    }

    /// Something has come from the network.
    pub(crate) fn measure_arrival(&mut self, now: Time, arrival: &Arrival) {
        match arrival {
            Arrival::Datagram(_, len) => self.telemetry.udp_received(now, *len),
            Arrival::Accepted(..) => self.telemetry.count(now, "memberlist.tcp.accept", 1),
            Arrival::Connected(_) | Arrival::Bytes(..) | Arrival::Closed(_) | Arrival::Failed(..) => {}
        }
    }

    /// Something happened in the cluster.
    pub(crate) fn measure_event(&mut self, event: &Event) {
        match event {
            Event::Members { kind, members } => self.measure_members(*kind, members.len()),
            Event::User(event) => self.measure_named("serf.events", &event.name),
            Event::Query(query) => self.measure_named("serf.queries", &query.name),
            Event::Shutdown(_) => {}
        }
    }

    /// A script has ended.
    pub(crate) fn measure_script(&mut self, line: &str, started: Time) {
        let now = self.now();
        let millis = now.since(started).as_secs_f64() * 1_000.0;
        self.telemetry.sample(now, format!("agent.invoke.{line}"), millis);
    }

    fn measure_named(&mut self, kind: &'static str, name: &[u8]) {
        self.telemetry.count(self.last, kind, 1);
        self.telemetry.count(self.last, format!("{kind}.{}", String::from_utf8_lossy(name)), 1);
    }

    fn measure_members(&mut self, kind: MemberEventKind, members: usize) {
        let name = match kind {
            MemberEventKind::Join => "serf.member.join",
            MemberEventKind::Leave => "serf.member.left",
            MemberEventKind::Failed => "serf.member.failed",
            MemberEventKind::Update => "serf.member.update",
            MemberEventKind::Reap => return,
        };
        self.telemetry.count(self.last, name, members as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    /// 2026-11-23 05:25:00.
    const ORIGIN: i128 = 1_795_411_500_000_000_000;

    fn telemetry() -> Telemetry {
        Telemetry::new(&TelemetryOptions::default(), Time::ZERO)
    }

    /// The time so many seconds after the origin, with an interval for it.
    fn at(telemetry: &mut Telemetry, secs: u32) -> Time {
        let now = Time::ZERO + SECOND * secs;
        if now >= telemetry.interval_ends {
            telemetry.begin_interval(now, ORIGIN);
        }
        now
    }

    #[test]
    fn finished_intervals_are_shown_in_go_metrics_form() {
        let mut telemetry = telemetry();
        let now = at(&mut telemetry, 1);
        telemetry.count(now, "serf.events", 1);
        telemetry.count(now, "serf.events", 1);
        telemetry.count(now, "serf.events.my event:1", 1);
        telemetry.gauge(now, "runtime.num_goroutines", 22.0);
        for bytes in [61, 150, 272] {
            telemetry.udp_sent(now + SECOND, bytes);
        }
        telemetry.sample(now + Duration::from_micros(1_500), "agent.invoke.cat", 0.25);
        let now = at(&mut telemetry, 10);
        let want = [
            "[2026-11-23 05:25:00 +0000 UTC][G] 'serf-agent.runtime.num_goroutines': 22.000\n",
            "[2026-11-23 05:25:00 +0000 UTC][C] 'serf-agent.memberlist.udp.sent': Count: 3 Min: 61.000 Mean: 161.000 Max: \
             272.000 Stddev: 105.929 Sum: 483.000 LastUpdated: 2026-11-23 05:25:02 +0000 UTC m=+2.000000000\n",
            "[2026-11-23 05:25:00 +0000 UTC][C] 'serf-agent.serf.events': Count: 2 Sum: 2.000 LastUpdated: 2026-11-23 \
             05:25:01 +0000 UTC m=+1.000000000\n",
            "[2026-11-23 05:25:00 +0000 UTC][C] 'serf-agent.serf.events.my_event_1': Count: 1 Sum: 1.000 LastUpdated: \
             2026-11-23 05:25:01 +0000 UTC m=+1.000000000\n",
            "[2026-11-23 05:25:00 +0000 UTC][S] 'serf-agent.agent.invoke.cat': Count: 1 Sum: 0.250 LastUpdated: \
             2026-11-23 05:25:01.0015 +0000 UTC m=+1.001500000\n",
        ];
        assert_eq!(telemetry.dump(now), want.concat());
    }

    #[test]
    fn the_interval_that_runs_is_not_shown_and_old_ones_are_forgotten() {
        let mut telemetry = telemetry();
        for secs in (0..200).step_by(10) {
            let now = at(&mut telemetry, secs);
            telemetry.count(now, format!("n{secs}"), 1);
        }
        let now = Time::ZERO + SECOND * 195;
        let shown: Vec<String> =
            telemetry.dump(now).lines().map(|line| line.split('\'').nth(1).unwrap_or_default().to_owned()).collect();
        assert_eq!(shown, [130, 140, 150, 160, 170, 180].map(|secs| format!("serf-agent.n{secs}")));
        let later = at(&mut telemetry, 230);
        assert_eq!(telemetry.dump(later).lines().count(), 3, "those of 170, 180 and 190");
    }

    #[test]
    fn names_are_bounded() {
        let mut telemetry = telemetry();
        let now = at(&mut telemetry, 1);
        for n in 0..=METRIC_NAMES_MAX {
            telemetry.count(now, format!("serf.events.{n}"), 1);
        }
        telemetry.count(now, "serf.events.0", 1);
        let counters = &telemetry.interval(now).counters;
        assert_eq!(counters.len(), METRIC_NAMES_MAX);
        assert!(counters["serf.events.0"].shown(0).contains("Sum: 2.000"));
    }

    #[test]
    fn of_a_long_name_only_the_beginning_counts() {
        let mut telemetry = telemetry();
        let now = at(&mut telemetry, 1);
        let longest = "x".repeat(METRIC_NAME_BYTES_MAX);
        telemetry.count(now, longest.clone(), 1);
        telemetry.count(now, format!("{longest}y"), 1);
        // Not in the middle of a character.
        telemetry.count(now, format!("{}\u{e4}", &longest[1..]), 1);
        let names: Vec<_> = telemetry.interval(now).counters.keys().map(|name| name.len()).collect();
        assert_eq!(names, [METRIC_NAME_BYTES_MAX - 1, METRIC_NAME_BYTES_MAX]);
    }

    #[test]
    fn what_waits_for_the_sinks_is_bounded() {
        // Nobody listens there, and nothing is sent before a flush.
        let options = TelemetryOptions { statsd: "127.43.2.4:9".to_owned(), ..TelemetryOptions::default() };
        let mut telemetry = Telemetry::new(&options, Time::ZERO);
        let line = "serf-agent.x:1.000000|c\n".len();
        let now = at(&mut telemetry, 1);
        let mut count = |times| {
            for _ in 0..times {
                telemetry.count(now, "x", 1);
            }
            telemetry.sinks.as_ref().map(|sinks| sinks.pending.len())
        };
        let lines = METRIC_PENDING_BYTES_MAX.div_ceil(line);
        assert_eq!(count(lines), Some(lines * line));
        assert_eq!(count(1), Some(lines * line));
    }

    #[test]
    fn without_a_sink_nothing_waits_and_nothing_wakes() {
        let mut telemetry = telemetry();
        telemetry.count(Time::ZERO, "serf.events", 1);
        assert!(telemetry.deadline().is_none() && telemetry.sinks.is_none());
    }
}
