//! `serf`: the agent of a cluster and the commands that talk to it.

mod agent;
mod args;
mod commands;
mod go;
mod help;
mod output;
#[doc(hidden)]
pub mod read;
mod rpc;
mod table;
mod token;
mod ui;

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the command of the process's arguments.
pub fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    match Invocation::read(&words) {
        Invocation::Version => commands::version::print(),
        Invocation::Usage { asked_for } => {
            ui::complain(help::usage(&commands::tables()));
            ExitCode::from(if asked_for { 0 } else { NO_SUCH_COMMAND })
        }
        Invocation::Help(command) => {
            ui::complain(command.help());
            ExitCode::SUCCESS
        }
        Invocation::MisplacedFlags(command) => {
            ui::complain(MISPLACED_FLAGS);
            ui::complain(command.help());
            ExitCode::FAILURE
        }
        Invocation::Run(command, words) => command.run(words),
    }
}

/// The exit code that a shell gives for a command that does not exist.
const NO_SUCH_COMMAND: u8 = 127;

const MISPLACED_FLAGS: &str = "Invalid flags before the subcommand. If these flags are for
the subcommand, please put them after the subcommand.
";

/// What a command line asks for.
enum Invocation<'a> {
    Version,
    /// No command, or none of ours.
    Usage {
        asked_for: bool,
    },
    Help(commands::Entry),
    /// Flags in front of a command.
    MisplacedFlags(commands::Entry),
    Run(commands::Entry, &'a [OsString]),
}

impl<'a> Invocation<'a> {
    fn read(words: &'a [OsString]) -> Self {
        // Anywhere, even behind `--`: scripts rely on it.
        if words.iter().any(|word| word == "-v" || word == "--version") {
            return Self::Version;
        }
        let flags = words.iter().take_while(|word| *word != "--");
        let asked_for = flags.clone().any(|word| word == "-h" || word == "-help" || word == "--help");
        let is_command = |word: &&OsString| !word.is_empty() && word.as_encoded_bytes()[0] != b'-';
        let at = flags.clone().position(|word| is_command(&word)).unwrap_or(words.len());
        let found = words.get(at).and_then(|name| commands::ENTRIES.iter().find(|entry| name == entry.name));
        let is_help = |word: &OsString| word == "-h" || word == "-help" || word == "--help";
        let misplaced = words[..at].iter().any(|word| word.as_encoded_bytes().starts_with(b"-") && !is_help(word));
        match found {
            // A name that is no command's stays a mistake, with a request for help or without.
            None => Self::Usage { asked_for: asked_for && at == words.len() },
            Some(command) if asked_for => Self::Help(*command),
            Some(command) if misplaced => Self::MisplacedFlags(*command),
            Some(command) => Self::Run(*command, &words[at + 1..]),
        }
    }
}
