//! `sim replay`.

use std::cell::Cell;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};
use villein_core::Node;
use villein_sim::Seconds;
use villein_sim::replay::{Difference, End, Plan, Run, replay, segments};

use super::progress::Progress;
use crate::Format;

/// Let an agent that was recorded by `serf agent -record` live again, and compare what it puts out.
///
/// Exit codes: 0 it does as it did, up to the end or to where the recording was cut off; 1 it does not; 2 bad usage, a
/// damaged recording, or one of another build; 101 the core panicked.
#[derive(clap::Args)]
pub(crate) struct Replay {
    /// Directories of a recording, or segments.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Stop after this time since the first input: 90s, 1h30m.
    #[arg(long, value_name = "TIME", value_parser = villein_sim::time)]
    until: Option<u64>,
    /// Show the node as it is then.
    #[arg(long)]
    print: bool,
    /// Replay the inputs under another configuration too, and show where it parts: KEY=VALUE as in a scenario's config,
    /// such as suspicion_mult=6 or 'probe_interval="2s"'. Can be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// What to write.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Outputs of one input that are shown.
const OUTPUTS_MAX: usize = 8;
/// Characters of one output that are shown.
const OUTPUT_CHARS_MAX: usize = 300;

impl Replay {
    pub(crate) fn execute(self) -> ExitCode {
        let plan = Plan { until: self.until, set: self.set.clone() };
        let runs = segments(&self.paths).and_then(|segments| {
            let (progress, done) = (Progress::new(segments.len() as u64, "segments"), Cell::new(0));
            let runs = replay(&plan, &segments, &|_| {
                done.set(done.get() + 1);
                progress.reach(done.get(), || format!("{} of {} segments", done.get(), segments.len()));
            });
            progress.finish();
            runs
        });
        match runs {
            Ok(runs) => {
                for run in &runs {
                    super::print(&match self.format {
                        Format::Text => self.text(run),
                        Format::Json => self.json(run),
                    });
                }
                ExitCode::from(runs.iter().map(|run| exit_code(&run.end)).max().unwrap_or_default())
            }
            Err(error) => {
                eprintln!("{error}");
                ExitCode::from(2)
            }
        }
    }

    fn text(&self, run: &Run) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "node      {}, recorded by villein {}", run.name, run.build);
        let _ = writeln!(text, "started   {} (Unix time)", Seconds(run.started));
        for (path, inputs) in &run.segments {
            let _ = writeln!(text, "segment   {}: {inputs} inputs", path.display());
        }
        let _ = writeln!(text, "replayed  {} inputs over {}", run.inputs(), Seconds(span(run)));
        if self.prints(run) {
            text.push_str(&state(run.changed.as_ref().unwrap_or(&run.node)));
        }
        if !self.set.is_empty() {
            let _ = writeln!(text, "what if   {}", self.set.join(", "));
            let (before, after) = run.events;
            let _ = writeln!(text, "events    {before} member events as it was, {after} as it would have been");
            match &run.first {
                None => text.push_str("          nothing that was put out would have been another\n"),
                Some(first) => text.push_str(&parting(run, first, &["as it was", "as it would have been"])),
            }
        }
        let _ = writeln!(text, "digest    {}", run.digest());
        let verdict = match &run.end {
            End::Equal => "replays exactly".to_owned(),
            End::Cut => "replays exactly, up to where the recording was cut off".to_owned(),
            End::Differs(difference) => {
                text.push_str(&parting(run, difference, &["put out now"]));
                "DIFFERS from what was recorded".to_owned()
            }
            End::Panicked(difference) => {
                text.push_str(&parting(run, difference, &[]));
                "the core PANICKED at this input".to_owned()
            }
        };
        let _ = writeln!(text, "{verdict}\n");
        text
    }

    fn json(&self, run: &Run) -> String {
        let mut lines = vec![json!({
            "kind": "run",
            "node": run.name,
            "build": run.build,
            "started_unix_ns": run.started,
            "inputs": run.inputs(),
            "span_ns": span(run),
        })];
        lines.extend(
            run.segments.iter().map(
                |(path, inputs)| json!({ "kind": "segment", "path": path.display().to_string(), "inputs": inputs }),
            ),
        );
        if self.prints(run) {
            lines.extend(members(run.changed.as_ref().unwrap_or(&run.node)));
        }
        if !self.set.is_empty() {
            lines.push(json!({ "kind": "what-if", "set": self.set, "events": [run.events.0, run.events.1] }));
            lines.extend(run.first.as_ref().map(|first| difference(run, first)));
        }
        lines.push(json!({ "kind": "digest", "digest": run.digest().to_string() }));
        if let End::Differs(found) | End::Panicked(found) = &run.end {
            lines.push(difference(run, found));
        }
        let verdict = match run.end {
            End::Equal => "equal",
            End::Cut => "cut",
            End::Differs(_) => "differs",
            End::Panicked(_) => "panicked",
        };
        lines.push(json!({ "kind": "verdict", "verdict": verdict }));
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// Whether the node is shown: what a panic leaves behind is not to be looked at.
    const fn prints(&self, run: &Run) -> bool {
        self.print && !matches!(run.end, End::Panicked(_))
    }
}

const fn exit_code(end: &End) -> u8 {
    match end {
        End::Equal | End::Cut => 0,
        End::Differs(_) => 1,
        End::Panicked(_) => 101,
    }
}

fn span(run: &Run) -> u64 {
    run.span.map_or(0, |(first, last)| last.as_nanos() - first.as_nanos())
}

/// When it parts, since the first input.
fn since(run: &Run, difference: &Difference) -> u64 {
    let first = run.span.map_or(0, |(first, _)| first.as_nanos());
    difference.at.as_nanos().saturating_sub(first)
}

fn parting(run: &Run, difference: &Difference, names: &[&str]) -> String {
    let Difference { path, input, stimulus, outputs, .. } = difference;
    let at = Seconds(since(run, difference));
    let mut text = format!("parts     at {at}, input {input} of {}\n  input: {}\n", path.display(), short(stimulus));
    if let Some([recorded, now]) = difference.hashes {
        let _ = writeln!(text, "  recorded: hash {recorded:016x}\n  now: hash {now:016x}");
    }
    for (name, outputs) in names.iter().zip(outputs) {
        let _ = writeln!(text, "  {name}: {} outputs", outputs.len());
        for output in outputs.iter().take(OUTPUTS_MAX) {
            let _ = writeln!(text, "    {}", short(output));
        }
    }
    text
}

fn short(text: &str) -> String {
    if text.chars().count() <= OUTPUT_CHARS_MAX {
        return text.to_owned();
    }
    text.chars().take(OUTPUT_CHARS_MAX).chain("…".chars()).collect()
}

fn difference(run: &Run, difference: &Difference) -> Value {
    json!({
        "kind": "difference",
        "t_ns": since(run, difference),
        "segment": difference.path.display().to_string(),
        "input": difference.input,
        "stimulus": difference.stimulus,
        "outputs": difference.outputs,
        "hashes": difference.hashes.map(|hashes| hashes.map(|hash| format!("{hash:016x}"))),
    })
}

/// What a node believes.
fn state(node: &Node) -> String {
    let stats = node.stats();
    let mut text = format!(
        "clocks    member {}, event {}, query {}\nqueues    {} intents, {} events, {} queries\nhealth    {}\nkeys      {}\n",
        stats.member_time,
        stats.event_time,
        stats.query_time,
        stats.intent_queue,
        stats.event_queue,
        stats.query_queue,
        stats.health_score,
        node.keys().len()
    );
    let rows: Vec<[String; 5]> = node
        .members()
        .into_iter()
        .map(|member| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let tags = member.info.tags();
            let tags = tags.iter().map(|(key, value)| format!("{}={}", text(key), text(value)));
            [
                member.info.name.to_string(),
                member.info.status.to_string(),
                member.incarnation.0.to_string(),
                member.info.addr.to_string(),
                tags.collect::<Vec<_>>().join(","),
            ]
        })
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    for row in &rows {
        let cells: Vec<String> =
            row.iter().enumerate().map(|(column, cell)| format!("{cell:<0$}", width(column))).collect();
        let _ = writeln!(text, "member    {}", cells.join("  ").trim_end());
    }
    text
}

fn members(node: &Node) -> Vec<Value> {
    let stats = node.stats();
    let mut lines = vec![json!({
        "kind": "state",
        "member_time": stats.member_time.0,
        "event_time": stats.event_time.0,
        "query_time": stats.query_time.0,
        "intent_queue": stats.intent_queue,
        "event_queue": stats.event_queue,
        "query_queue": stats.query_queue,
        "health": stats.health_score,
        "keys": node.keys().len(),
    })];
    lines.extend(node.members().into_iter().map(|member| {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let tags = member.info.tags();
        let tags = tags.iter().map(|(key, value)| (text(key), Value::from(text(value))));
        json!({
            "kind": "member",
            "name": member.info.name.to_string(),
            "status": member.info.status.to_string(),
            "incarnation": member.incarnation.0,
            "addr": member.info.addr.to_string(),
            "tags": tags.collect::<serde_json::Map<_, _>>(),
        })
    }));
    lines
}
