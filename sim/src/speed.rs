//! How fast the simulator is: what a quiet second of a formed cluster costs.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::json;
use villein_core::config::SwimConfig;
use villein_core::scale::push_pull_interval;
use villein_core::time::nanos;

use crate::scenario::{Scenario, ScenarioError};
use crate::world::World;

/// What one cluster cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speed {
    /// How many nodes.
    pub nodes: u64,
    /// How long, in simulated seconds.
    pub seconds: u64,
    /// CPU time until everybody knew everybody.
    pub forming: Duration,
    /// CPU time of the quiet seconds.
    pub quiet: Duration,
    /// CPU time of the same seconds without push/pull.
    pub without_push_pull: Duration,
    /// Inputs that the nodes were handed in the quiet seconds.
    pub inputs: u64,
}

impl Speed {
    /// Simulated seconds of a node for each second of a CPU.
    pub fn per_cpu_second(&self) -> u64 {
        self.nodes * self.seconds * 1_000_000 / micros(self.quiet).max(1)
    }

    /// The part of the cost that the periodic push/pull is, in percent.
    pub fn push_pull(&self) -> u64 {
        let with = micros(self.quiet).max(1);
        with.saturating_sub(micros(self.without_push_pull)) * 100 / with
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Simulates a quiet cluster that has formed, twice: as it is, and without push/pull. The first push/pulls come after an
/// interval, so only what follows is measured. `cpu` gives the CPU time that the thread has used. Nothing is checked or
/// hashed: it is the time of the nodes, their network and the event queue.
///
/// # Errors
/// No cluster has so many nodes.
pub fn measure(nodes: u64, seconds: u64, cpu: &dyn Fn() -> Duration) -> Result<Speed, ScenarioError> {
    let (forming, quiet, inputs) = quiet(nodes, seconds, "", cpu)?;
    let (_, without_push_pull, _) = self::quiet(nodes, seconds, "config = { push_pull_interval = \"0s\" }\n", cpu)?;
    Ok(Speed { nodes, seconds, forming, quiet, without_push_pull, inputs })
}

fn quiet(
    nodes: u64,
    seconds: u64,
    config: &str,
    cpu: &dyn Fn() -> Duration,
) -> Result<(Duration, Duration, u64), ScenarioError> {
    let text = format!(
        "[run]\nuntil = \"{seconds}s\"\n[cluster]\ncount = {nodes}\nstart = \"joined\"\n{config}[link]\ndelay = \"0.2ms..2ms\"\n"
    );
    let scenario = Scenario::parse("a quiet cluster", &text)?;
    let interval = push_pull_interval(SwimConfig::new(scenario.profile).push_pull_interval, nodes);
    let mut world = World::measured(&scenario, 1);
    let begun = cpu();
    world.bring_up();
    let forming = cpu().saturating_sub(begun);
    let start = world.zero + nanos(interval);
    world.run_until(start);
    let (begun, before) = (cpu(), inputs(&world));
    world.run_until(start + scenario.until);
    Ok((forming, cpu().saturating_sub(begun), inputs(&world) - before))
}

fn inputs(world: &World<'_>) -> u64 {
    world.hosts.iter().map(|host| host.inputs).sum()
}

/// The figures as a table.
pub fn text(speeds: &[Speed]) -> String {
    let mut text = format!(
        "{:>7} {:>8} {:>12} {:>11} {:>14} {:>16} {:>10}\n",
        "nodes", "seconds", "forming, ms", "quiet, ms", "inputs", "node-s/CPU-s", "push/pull"
    );
    for speed in speeds {
        let _ = writeln!(
            text,
            "{:>7} {:>8} {:>12} {:>11} {:>14} {:>16} {:>9}%",
            speed.nodes,
            speed.seconds,
            speed.forming.as_millis(),
            speed.quiet.as_millis(),
            speed.inputs,
            speed.per_cpu_second(),
            speed.push_pull()
        );
    }
    text
}

/// The figures as JSON, one object a line.
pub fn json(speeds: &[Speed]) -> String {
    speeds.iter().fold(String::new(), |mut text, speed| {
        let line = json!({
            "kind": "speed", "nodes": speed.nodes, "seconds": speed.seconds, "inputs": speed.inputs,
            "forming_cpu_ms": speed.forming.as_millis() as u64, "quiet_cpu_ms": speed.quiet.as_millis() as u64,
            "without_push_pull_cpu_ms": speed.without_push_pull.as_millis() as u64,
            "node_seconds_per_cpu_second": speed.per_cpu_second(), "push_pull_percent": speed.push_pull(),
        });
        let _ = writeln!(text, "{line}");
        text
    })
}
