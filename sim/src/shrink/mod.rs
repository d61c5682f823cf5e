//! The smallest scenario that still fails in the same way: fewest steps, nodes and settings, least time, simplest values.
//!
//! It works on the text's own tables, so that whatever a scenario can say can be taken away; what the reader then refuses
//! is no candidate.

mod needs;

use std::fmt::Write as _;

use toml::{Table, Value};

use crate::play::{self, play_caught};
use crate::scenario::{Scenario, ScenarioError};
use crate::units::nanos;
use needs::Needs;

/// In which way a scenario fails: numbers may differ between two that fail alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A rule is broken.
    Broken(&'static str),
    /// An expectation of this text is not met; its digits are left out.
    Unmet(String),
    /// The same, and what is expected did not come. That is easily had by taking away what it comes from, so that is kept.
    Missing(String),
    /// Two plays differ.
    Differs,
    /// The core panics.
    Panicked,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The scenario, with a comment that says what fails.
    pub text: String,
    /// In which way.
    pub failure: Failure,
    /// How many candidates were played.
    pub plays: u64,
}

/// Why there is nothing to shrink.
#[derive(Debug)]
pub enum ShrinkError {
    /// The scenario cannot be read.
    Scenario(ScenarioError),
    /// It does not fail with this seed.
    Passes,
}

/// Candidates that are played at most; what is found by then is the result.
const PLAYS_MAX: u64 = 4_000;

/// Shrinks the scenario of a file. `progress` hears after each success of plays, steps and nodes.
///
/// # Errors
/// The scenario cannot be read, or does not fail.
pub fn shrink(
    file: &str,
    text: &str,
    seed: Option<u64>,
    progress: &dyn Fn(u64, usize, usize),
) -> Result<Shrunk, ShrinkError> {
    let scenario = Scenario::parse(file, text).map_err(ShrinkError::Scenario)?;
    let seed = seed.unwrap_or(scenario.seed);
    let (failure, at) = judge(&scenario, seed).ok_or(ShrinkError::Passes)?;
    let mut root: Table = toml::from_str(text).expect("the scenario's reader has read it");
    if let Some(run) = root.get_mut("run").and_then(Value::as_table_mut) {
        run.insert("seed".to_owned(), Value::Integer(seed.cast_signed()));
    }
    let needs = if let Failure::Missing(expected) = &failure { Some(Needs::of(&scenario, expected)) } else { None };
    let mut shrinker = Shrinker { root, seed, failure, needs, at, plays: 0, progress };
    shrinker.work();
    let text = shrinker.result(file);
    Ok(Shrunk { text, failure: shrinker.failure, plays: shrinker.plays })
}

/// In which way a scenario fails and when, in nanoseconds; `None`: it does not.
fn judge(scenario: &Scenario, seed: u64) -> Option<(Failure, u64)> {
    judge_plays(scenario, seed, false).or_else(|| judge_plays(scenario, seed, true))
}

/// The same of one play, or of two.
fn judge_plays(scenario: &Scenario, seed: u64, twice: bool) -> Option<(Failure, u64)> {
    let Some(outcome) = play_caught(scenario, seed, twice) else {
        return Some((Failure::Panicked, scenario.until));
    };
    outcome.failure().map(|failure| match failure {
        play::Failure::Differs(_) => (Failure::Differs, u64::MAX),
        play::Failure::Broken(at, broken) => (Failure::Broken(broken.rule), at),
        play::Failure::Unmet(unmet) if unmet.missing => (Failure::Missing(digitless(&unmet.expected)), unmet.at),
        play::Failure::Unmet(unmet) => (Failure::Unmet(digitless(&unmet.expected)), unmet.at),
    })
}

fn digitless(text: &str) -> String {
    text.chars().filter(|char| !char.is_ascii_digit()).collect()
}

struct Shrinker<'a> {
    root: Table,
    seed: u64,
    failure: Failure,
    /// What must not be taken away.
    needs: Option<Needs>,
    /// When it fails.
    at: u64,
    plays: u64,
    progress: &'a dyn Fn(u64, usize, usize),
}

impl Shrinker<'_> {
    /// Repeats all passes until none finds anything.
    fn work(&mut self) {
        loop {
            let before = self.root.clone();
            self.end_early();
            self.less_time();
            for list in ["step", "expect", "node"] {
                self.fewer(list);
            }
            self.fewer_nodes();
            self.fewer_settings();
            self.simpler_times();
            if self.root == before || self.plays >= PLAYS_MAX {
                return;
            }
        }
    }

    /// Takes a candidate if it fails in the same way.
    fn accept(&mut self, candidate: Table) -> bool {
        if self.plays >= PLAYS_MAX || candidate == self.root {
            return false;
        }
        let Ok(scenario) = Scenario::parse("candidate", &write(&candidate)) else { return false };
        if self.needs.as_ref().is_some_and(|needs| !needs.are_met_by(&scenario)) {
            return false;
        }
        self.plays += 1;
        let judged = match self.failure {
            // Only two plays can show it.
            Failure::Differs => judge(&scenario, self.seed),
            Failure::Broken(_) | Failure::Unmet(_) | Failure::Missing(_) | Failure::Panicked => {
                judge_plays(&scenario, self.seed, false)
            }
        };
        let Some((_, at)) = judged.filter(|(failure, _)| *failure == self.failure) else { return false };
        self.at = at;
        self.root = candidate;
        let nodes = scenario.nodes.len();
        (self.progress)(self.plays, scenario.steps.len(), nodes);
        true
    }

    /// Tries the scenario after a change.
    fn try_with(&mut self, change: impl FnOnce(&mut Table)) -> bool {
        let mut candidate = self.root.clone();
        change(&mut candidate);
        self.accept(candidate)
    }

    /// Ends the run when it has failed.
    fn end_early(&mut self) {
        let second = 1_000_000_000;
        let end = self.at.div_ceil(second);
        if self.until().is_some_and(|until| until >= end.saturating_mul(second)) {
            self.end_at(end);
        }
    }

    /// Tries a run of so many seconds; what would come later is taken away.
    fn end_at(&mut self, seconds: u64) -> bool {
        let end = seconds.saturating_mul(1_000_000_000);
        self.try_with(|root| {
            set(root, &["run", "until"], Value::String(format!("{seconds}s")));
            for list in ["step", "expect"] {
                if let Some(items) = root.get_mut(list).and_then(Value::as_array_mut) {
                    items.retain(|item| {
                        !["at", "from", "by"].iter().any(|key| time(item, key).is_some_and(|at| at > end))
                    });
                }
            }
        })
    }

    /// Shortens the run where that does not make it fail for want of time.
    fn less_time(&mut self) {
        while self.needs.is_none()
            && let Some(half) = self.until().map(|until| until / 2_000_000_000)
            && half > 0
            && self.end_at(half)
        {}
    }

    /// When the run ends, in nanoseconds.
    fn until(&self) -> Option<u64> {
        time(self.root.get("run")?, "until")
    }

    /// Takes entries of a list away: halves first, then ever smaller parts.
    fn fewer(&mut self, list: &str) {
        let length = |root: &Table| root.get(list).and_then(Value::as_array).map_or(0, Vec::len);
        let mut part = length(&self.root).div_ceil(2);
        while part > 0 {
            let mut start = 0;
            while start < length(&self.root) {
                let taken = self.try_with(|root| {
                    if let Some(items) = root.get_mut(list).and_then(Value::as_array_mut) {
                        items.drain(start..(start + part).min(items.len()));
                    }
                    if length(root) == 0 {
                        root.remove(list);
                    }
                });
                if !taken {
                    start += part;
                }
            }
            part = if part == 1 { 0 } else { part.div_ceil(2) };
        }
    }

    /// Takes nodes away, the last first, with all that is said of them.
    fn fewer_nodes(&mut self) {
        if let Some(count) =
            self.root.get("cluster").and_then(|cluster| cluster.get("count")).and_then(Value::as_integer)
        {
            for fewer in (1..count).filter(|fewer| count / 2 == *fewer || count - 1 == *fewer) {
                self.try_with(|root| set(root, &["cluster", "count"], Value::Integer(fewer)));
            }
        }
        let nodes =
            self.root.get("cluster").and_then(|cluster| cluster.get("nodes")).and_then(Value::as_array).cloned();
        for name in nodes.into_iter().flatten().rev() {
            let Some(name) = name.as_str().map(str::to_owned) else { continue };
            self.try_with(|root| {
                *root = without(Value::Table(core::mem::take(root)), &name, true)
                    .and_then(|value| if let Value::Table(root) = value { Some(root) } else { None })
                    .unwrap_or_default();
            });
        }
    }

    /// Takes settings of the cluster, its links, its nodes and its steps away, one by one.
    fn fewer_settings(&mut self) {
        for path in settings(&self.root) {
            // Another window of an expectation that waits is another expectation.
            if self.needs.is_some() && path.first().is_some_and(|section| section == "expect") {
                continue;
            }
            self.try_with(|root| remove(root, &path));
        }
    }

    /// How many windows of expectations have begun or ended by a time.
    fn windows_by(&self, at: u64) -> usize {
        let expects = self.root.get("expect").and_then(Value::as_array).into_iter().flatten();
        let times = expects.flat_map(|expect| ["from", "by"].map(|key| time(expect, key)));
        times.flatten().filter(|window| *window <= at).count()
    }

    /// Rounds the times of steps to tens of seconds, seconds, or tenths.
    fn simpler_times(&mut self) {
        let count = self.root.get("step").and_then(Value::as_array).map_or(0, Vec::len);
        for place in 0..count {
            let step = self.root.get("step").and_then(|steps| steps.get(place));
            let Some(now) = step.and_then(|step| time(step, "at")) else { continue };
            let length = step.and_then(|step| step.get("at")).and_then(Value::as_str).map_or(0, str::len);
            for (unit, factor, name) in [(10_000_000_000, 10, "s"), (1_000_000_000, 1, "s"), (100_000_000, 100, "ms")] {
                let simple = format!("{}{name}", now / unit * factor);
                // What is said before its window begins is not what is waited for.
                let is_another = self.needs.is_some() && self.windows_by(now / unit * unit) != self.windows_by(now);
                if simple.len() >= length || is_another {
                    continue;
                }
                if self.try_with(|root| {
                    if let Some(step) =
                        root.get_mut("step").and_then(|steps| steps.get_mut(place)).and_then(Value::as_table_mut)
                    {
                        step.insert("at".to_owned(), Value::String(simple));
                    }
                }) {
                    break;
                }
            }
        }
    }

    /// The text, with what fails on top.
    fn result(&self, file: &str) -> String {
        let scenario = Scenario::parse(file, &write(&self.root)).expect("it has been played");
        let what = match play_caught(&scenario, self.seed, true) {
            Some(outcome) => {
                outcome.failure().map_or_else(|| "nothing any more".to_owned(), |failure| failure.to_string())
            }
            None => "the core panicked".to_owned(),
        };
        let comment: Vec<String> = what.lines().map(|line| format!("#   {line}")).collect();
        format!("# Shrunk by `sim shrink` from {file}. What fails:\n{}\n{}", comment.join("\n"), write(&self.root))
    }
}

/// A time of a table, in nanoseconds.
fn time(table: &Value, key: &str) -> Option<u64> {
    table.get(key).and_then(Value::as_str).and_then(|text| nanos(text).ok())
}

fn set(root: &mut Table, [table, key]: &[&str; 2], value: Value) {
    if let Some(table) = root.get_mut(*table).and_then(Value::as_table_mut) {
        table.insert((*key).to_owned(), value);
    }
}

/// A way to a setting: keys of tables and places in lists.
type Path = Vec<String>;

/// Every setting that may be missing.
fn settings(root: &Table) -> Vec<Path> {
    let mut paths = Vec::new();
    for (name, value) in root {
        match value {
            Value::Table(table) if name != "run" => collect(table, core::slice::from_ref(name), &mut paths),
            Value::Array(items) => {
                for (place, item) in items.iter().enumerate() {
                    if let Value::Table(table) = item {
                        collect(table, &[name.clone(), place.to_string()], &mut paths);
                    }
                }
            }
            _ => (),
        }
    }
    paths
}

fn collect(table: &Table, at: &[String], paths: &mut Vec<Path>) {
    for (key, value) in table {
        let path = [at, core::slice::from_ref(key)].concat();
        if let Value::Table(inner) = value {
            collect(inner, &path, paths);
        }
        paths.push(path);
    }
}

fn remove(root: &mut Table, path: &[String]) {
    let Some((key, way)) = path.split_last() else { return };
    let mut place = match way.split_first() {
        None => return,
        Some((first, rest)) => {
            let Some(mut value) = root.get_mut(first) else { return };
            for step in rest {
                let next = match value {
                    Value::Table(table) => table.get_mut(step),
                    Value::Array(items) => step.parse::<usize>().ok().and_then(|place| items.get_mut(place)),
                    _ => None,
                };
                let Some(next) = next else { return };
                value = next;
            }
            value
        }
    };
    if let Value::Table(table) = &mut place {
        table.remove(key);
    }
}

/// A value without a node; `None` if nothing sensible is left of it. At the `top` only entries of lists go.
fn without(value: Value, name: &str, top: bool) -> Option<Value> {
    match value {
        Value::String(text) => (text != name).then_some(Value::String(text)),
        Value::Array(items) => {
            let before = items.len();
            let items: Vec<Value> = items.into_iter().filter_map(|item| without(item, name, false)).collect();
            (!items.is_empty() || before == 0 || top).then_some(Value::Array(items))
        }
        Value::Table(table) => {
            let mut kept = Table::new();
            for (key, value) in table {
                // Members are also named by the keys of `sees` and `tags`.
                if key == name {
                    continue;
                }
                let is_section = top || value.is_array() && matches!(key.as_str(), "step" | "expect" | "node" | "link");
                match without(value, name, is_section && key != "run") {
                    Some(value) => _ = kept.insert(key, value),
                    None if top => (),
                    None => return None,
                }
            }
            Some(Value::Table(kept))
        }
        other => Some(other),
    }
}

/// The text of a scenario: sections in the order in which people write them, everything below them in one line.
fn write(root: &Table) -> String {
    let mut text = String::new();
    let order = ["run", "cluster", "node", "link", "step", "expect"];
    let rest = root.keys().map(String::as_str).filter(|key| !order.contains(key));
    for name in order.into_iter().chain(rest) {
        match root.get(name) {
            Some(Value::Table(table)) if table.is_empty() => (),
            Some(Value::Table(table)) => section(&format!("[{name}]"), table, &mut text),
            Some(Value::Array(items)) => {
                for item in items.iter().filter_map(Value::as_table) {
                    section(&format!("[[{name}]]"), item, &mut text);
                }
            }
            Some(_) | None => (),
        }
    }
    text
}

fn section(head: &str, table: &Table, text: &mut String) {
    if !text.is_empty() {
        text.push('\n');
    }
    let _ = writeln!(text, "{head}");
    for (key, value) in table {
        let key = if key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            key.clone()
        } else {
            format!("{key:?}")
        };
        let _ = writeln!(text, "{key} = {value}");
    }
}
