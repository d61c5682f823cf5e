//! Recordings of production agents (`serf agent -record`): lived again, compared hash by hash, or under another
//! configuration.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use villein_core::event::Event;
use villein_core::node::RestoreError;
use villein_core::record::{EXTENSION, Entry, Head, OtherBuild, OutputHash, Reader, RecordError};
use villein_core::{Config, Input, Node, Output, Time};

use crate::trace::Digest;

mod words;

/// What is replayed, and how far.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Nanoseconds from the first input of a run on after which nothing is replayed; `None`: all of it.
    pub until: Option<u64>,
    /// Settings that are changed, as `key = value` of a scenario's `config`.
    pub set: Vec<String>,
}

/// Why nothing is replayed.
#[derive(Debug)]
pub enum ReplayError {
    /// A file or directory cannot be read.
    File(PathBuf, std::io::Error),
    /// There is no segment.
    Nothing(PathBuf),
    /// All there is was cut off before it held a node.
    Empty(PathBuf),
    /// A segment is damaged, or none.
    Segment(PathBuf, RecordError),
    /// Another build recorded it.
    Build(PathBuf, OtherBuild),
    /// The checkpoint of a segment cannot be restored, or the changed configuration is refused.
    Restore(PathBuf, String),
    /// A setting cannot be read.
    Setting(String),
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Nothing(path) => {
                write!(f, "{}: there is no recording; segments are files *.{EXTENSION}", path.display())
            }
            Self::Empty(path) => {
                write!(
                    f,
                    "{}: cut off before its first checkpoint was whole: there is nothing to replay",
                    path.display()
                )
            }
            Self::Segment(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Build(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Restore(path, problem) => write!(f, "{}: {problem}", path.display()),
            Self::Setting(problem) => f.write_str(problem),
        }
    }
}

/// One life of an agent, as far as its segments are there.
#[derive(Debug)]
pub struct Run {
    /// The node's name.
    pub name: String,
    /// Which build recorded it.
    pub build: String,
    /// When the process started, in nanoseconds of Unix time.
    pub started: u64,
    /// The segments that were replayed, with how many inputs each has.
    pub segments: Vec<(PathBuf, u64)>,
    /// The times of the first and the last input.
    pub span: Option<(Time, Time)>,
    /// What came of it.
    pub end: End,
    /// The node as it is then.
    pub node: Node,
    /// The one under another configuration.
    pub changed: Option<Node>,
    /// The first output that is another one under it.
    pub first: Option<Difference>,
    /// Member events of the recorded node, and of the changed one.
    pub events: (u64, u64),
    /// Over all outputs of the run.
    whole: OutputHash,
    /// Over those of the segment.
    hash: OutputHash,
    is_over: bool,
}

/// Where two lives part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// In which file.
    pub path: PathBuf,
    /// At which input of it, from 1 on; 0: at its beginning.
    pub input: u64,
    /// When.
    pub at: Time,
    /// The input.
    pub stimulus: String,
    /// What was put out: here, and under another configuration.
    pub outputs: [Vec<String>; 2],
    /// The hash over all outputs of the segment up to there, as it was recorded and as it is; `None`: it is not what differs.
    pub hashes: Option<[u64; 2]>,
}

/// What came of a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// All is as it was recorded.
    Equal,
    /// It is, up to where the file was cut off.
    Cut,
    /// It is not: the outputs of this input are others than those that were recorded.
    Differs(Box<Difference>),
    /// The core panicked at this input, of which it put out nothing.
    Panicked(Box<Difference>),
}

/// The segments of these directories and files, by name.
///
/// # Errors
/// One cannot be read, or there is none.
pub fn segments(paths: &[PathBuf]) -> Result<Vec<PathBuf>, ReplayError> {
    let mut segments = Vec::new();
    for path in paths {
        if !path.is_dir() {
            segments.push(path.clone());
            continue;
        }
        let unreadable = |error| ReplayError::File(path.clone(), error);
        let before = segments.len();
        for entry in std::fs::read_dir(path).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.extension().is_some_and(|ending| ending == EXTENSION) {
                segments.push(path);
            }
        }
        segments[before..].sort();
        if segments.len() == before {
            return Err(ReplayError::Nothing(path.clone()));
        }
    }
    Ok(segments)
}

/// Replays segments in this order; `each` hears of every finished file. Each life of the agent is one run: it ends where
/// the process ended, or where a segment is missing.
///
/// # Errors
/// Why nothing is replayed.
pub fn replay(plan: &Plan, segments: &[PathBuf], each: &dyn Fn(&Path)) -> Result<Vec<Run>, ReplayError> {
    let mut runs: Vec<Run> = Vec::new();
    let mut last: Option<(u64, u64)> = None;
    for path in segments {
        let bytes = std::fs::read(path).map_err(|error| ReplayError::File(path.clone(), error))?;
        let damaged = |error| ReplayError::Segment(path.clone(), error);
        let Some((head, mut reader)) = Reader::open(&bytes).map_err(damaged)? else {
            // The process was killed while it began this segment.
            if let Some(run) = runs.last_mut() {
                run.ends_torn(path);
            }
            continue;
        };
        head.check_build().map_err(|error| ReplayError::Build(path.clone(), error))?;
        let follows = last.is_some_and(|(run, number)| head.run == run && head.number == number + 1);
        last = Some((head.run, head.number));
        // What came behind a cut is missing, so the next segment is one to begin with.
        match runs.last_mut().filter(|run| follows && run.end != End::Cut) {
            None => runs.push(Run::begin(plan, path, &head)?),
            Some(run) => run.go_on(path, &head),
        }
        if let Some(run) = runs.last_mut().filter(|run| !run.is_over) {
            run.segments.push((path.clone(), 0));
            run.play(plan, path, &mut reader)?;
        }
        each(path);
    }
    match segments.first().filter(|_| runs.is_empty()) {
        Some(path) => Err(ReplayError::Empty(path.clone())),
        None => Ok(runs),
    }
}

impl Run {
    fn begin(plan: &Plan, path: &Path, head: &Head) -> Result<Self, ReplayError> {
        let refused = |error: RestoreError| ReplayError::Restore(path.to_owned(), error.to_string());
        let node = Node::restore(&head.checkpoint).map_err(refused)?;
        let changed = if plan.set.is_empty() {
            None
        } else {
            let Config { mut swim, mut serf, .. } = node.config().clone();
            crate::scenario::settings(&plan.set, &mut swim, &mut serf).map_err(ReplayError::Setting)?;
            let change = |config: &mut Config| (config.swim, config.serf) = (swim, serf);
            Some(Node::restore_with(&head.checkpoint, change).map_err(refused)?)
        };
        Ok(Self {
            name: node.config().name.to_string(),
            build: head.build.clone(),
            started: head.run,
            segments: Vec::new(),
            span: None,
            end: End::Equal,
            node,
            changed,
            first: None,
            events: (0, 0),
            whole: OutputHash::new((0, 0)),
            hash: OutputHash::new((0, 0)),
            is_over: false,
        })
    }

    /// The hash over all outputs.
    pub fn digest(&self) -> Digest {
        Digest(self.whole.digest())
    }

    /// How many inputs were replayed.
    pub fn inputs(&self) -> u64 {
        self.segments.iter().map(|(_, inputs)| inputs).sum()
    }

    /// The next segment begins: the node must be as it was.
    fn go_on(&mut self, path: &Path, head: &Head) {
        self.hash = OutputHash::new((0, 0));
        let at = self.span.map_or(Time::ZERO, |(_, last)| last);
        if !self.is_over && self.node.checkpoint() != head.checkpoint {
            let stimulus = "the checkpoint of the segment".to_owned();
            let outputs = [vec!["the node is in another state".to_owned()], Vec::new()];
            self.differs(Difference { path: path.to_owned(), input: 0, at, stimulus, outputs, hashes: None });
        }
    }

    /// The file that would go on has no whole head.
    fn ends_torn(&mut self, path: &Path) {
        self.segments.push((path.to_owned(), 0));
        if self.end == End::Equal && !self.is_over {
            self.end = End::Cut;
        }
    }

    fn play(&mut self, plan: &Plan, path: &Path, reader: &mut Reader<'_>) -> Result<(), ReplayError> {
        let mut last: Option<Last<'_>> = None;
        while !self.is_over {
            let entry = reader.entry().map_err(|error| ReplayError::Segment(path.to_owned(), error))?;
            match entry {
                None => return Ok(()),
                Some(Entry::Cut) => {
                    self.end = End::Cut;
                    return Ok(());
                }
                Some(Entry::End { hash }) => self.check(path, hash, last.as_ref()),
                Some(Entry::Input { hash, at, stimulus }) => {
                    self.check(path, hash, last.as_ref());
                    let begun = self.span.map_or(at, |(first, _)| first);
                    self.is_over |= plan.until.is_some_and(|until| at.since(begun) > Duration::from_nanos(until));
                    if !self.is_over {
                        self.span = Some((begun, at));
                        last = self.input(path, Input { at, stimulus: stimulus.stimulus() });
                    }
                }
            }
        }
        Ok(())
    }

    /// All that was put out so far is what was recorded.
    fn check(&mut self, path: &Path, recorded: u64, last: Option<&Last<'_>>) {
        let now = self.hash.short();
        if recorded == now {
            return;
        }
        let mut difference = match last {
            Some(last) => last.difference(path, &[]),
            None => {
                let (stimulus, outputs) = ("nothing yet".to_owned(), [Vec::new(), Vec::new()]);
                Difference { path: path.to_owned(), input: 0, at: Time::ZERO, stimulus, outputs, hashes: None }
            }
        };
        difference.hashes = Some([recorded, now]);
        self.differs(difference);
    }

    fn differs(&mut self, difference: Difference) {
        self.end = End::Differs(Box::new(difference));
        self.is_over = true;
    }

    /// Feeds an input; `None`: the core panicked.
    fn input<'a>(&mut self, path: &Path, input: Input<'a>) -> Option<Last<'a>> {
        let number = self.segments.last_mut().map_or(0, |(_, inputs)| {
            *inputs += 1;
            *inputs
        });
        let mut last = Last { number, input: input.clone(), outputs: Vec::new() };
        // Nobody uses the node again after a panic.
        let Ok(outputs) = catch_unwind(AssertUnwindSafe(|| self.node.handle(input.clone()))) else {
            self.end = End::Panicked(Box::new(last.difference(path, &[])));
            self.is_over = true;
            return None;
        };
        last.outputs = outputs;
        for output in &last.outputs {
            self.hash.output(output);
            self.whole.output(output);
        }
        self.events.0 += member_events(&last.outputs);
        if let Some(changed) = &mut self.changed {
            let other = changed.handle(input);
            self.events.1 += member_events(&other);
            if self.first.is_none() && other != last.outputs {
                self.first = Some(last.difference(path, &other));
            }
        }
        Some(last)
    }
}

/// What the last input led to: it is put into words only where two lives part.
struct Last<'a> {
    /// Which one of its segment.
    number: u64,
    input: Input<'a>,
    outputs: Vec<Output>,
}

impl Last<'_> {
    fn difference(&self, path: &Path, other: &[Output]) -> Difference {
        let words = |outputs: &[Output]| outputs.iter().map(words::output).collect();
        let Input { at, stimulus } = &self.input;
        Difference {
            path: path.to_owned(),
            input: self.number,
            at: *at,
            stimulus: words::stimulus(stimulus),
            outputs: [words(&self.outputs), words(other)],
            hashes: None,
        }
    }
}

fn member_events(outputs: &[Output]) -> u64 {
    let members = outputs.iter().map(|output| match output {
        Output::Event(event) => match &**event {
            Event::Members { members, .. } => members.len() as u64,
            Event::User(_) | Event::Query(_) | Event::Shutdown(_) => 0,
        },
        _ => 0,
    });
    members.sum()
}
