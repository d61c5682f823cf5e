//! Running the binary, and the captured output of the original.

use std::fmt;
use std::path::Path;
use std::process::{Command, Output};

/// A command line that has run.
pub(crate) struct Run {
    line: String,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The binary, in an environment that names no agent.
pub(crate) fn command(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_serf"));
    command.args(words).env_remove("SERF_RPC_ADDR").env_remove("SERF_RPC_AUTH").env_remove("SERF_RPC_AUTH_FILE");
    command
}

/// Runs the binary to its end.
pub(crate) fn serf(words: &[&str]) -> Run {
    Run::of(words, command(words).output().expect("the binary starts"))
}

impl Run {
    pub(crate) fn of(words: &[&str], output: Output) -> Self {
        Self {
            line: words.join(" "),
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("text on stdout"),
            stderr: String::from_utf8(output.stderr).expect("text on stderr"),
        }
    }
}

/// A text without the help behind its usage line: that is each program's own.
pub(crate) fn without_help(text: &str) -> &str {
    let usage = text.find("Usage: ").unwrap_or(text.len());
    let end = text[usage..].find('\n').map_or(text.len(), |end| usage + end);
    &text[..end]
}

/// A line of a list of members without the column that only ours has.
pub(crate) fn without_encoding(line: &str) -> &str {
    line.split("  Encoding: ").next().unwrap_or(line)
}

/// For snapshots: everything a user can see.
impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code.map_or_else(|| "killed".into(), |code| code.to_string());
        write!(f, "$ serf {}\nexit {code}\n--- stdout\n{}--- stderr\n{}", self.line, self.stdout, self.stderr)
    }
}

/// What the original printed; see the folder's README.
pub(crate) fn transcript(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts").join(format!("{name}.txt"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
