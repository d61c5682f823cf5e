//! What the program can do.

use std::io::Write as _;

pub(crate) mod experiment;
mod progress;
pub(crate) mod replay;
pub(crate) mod run;
pub(crate) mod shrink;
pub(crate) mod sweep;
pub(crate) mod tune;

/// Writes to stdout. A reader that has seen enough may close the pipe: that is no failure of the run.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
