//! What the program can do.

use std::io::Write as _;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub(crate) mod experiment;
mod progress;
pub(crate) mod replay;
pub(crate) mod run;
pub(crate) mod shrink;
pub(crate) mod speed;
pub(crate) mod sweep;
pub(crate) mod tune;

/// Becomes true at Ctrl-C. Where it cannot be watched for, Ctrl-C ends the program as it always does.
fn interrupted() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let _ = signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(&stop));
    stop
}

/// As many threads as are asked for, or as there are cores.
fn threads(wanted: Option<usize>) -> usize {
    wanted.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// Reads a range such as `0..1000`; `example` is shown where it is none.
fn range<T: FromStr + PartialOrd>(text: &str, example: &str) -> Result<Range<T>, String> {
    let range = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    range
        .filter(|range| !range.is_empty())
        .ok_or_else(|| format!("two numbers are wanted, the smaller first: {example}"))
}

/// Writes to stdout. A reader that has seen enough may close the pipe: that is no failure of the run.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
