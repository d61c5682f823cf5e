//! The commands, one file each.

pub(crate) mod agent;
mod force_leave;
mod info;
mod join;
mod keygen;
mod leave;
mod members;
mod monitor;
pub(crate) mod version;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Command, CommandFactory, Parser};

use crate::args::{self, Parsed};
use crate::{help, ui};

/// The commands of this release, by name.
pub(crate) const ENTRIES: [Entry; 9] = [
    Entry { name: "agent", table: agent::table, run: agent::run_command },
    Entry { name: "force-leave", table: force_leave::ForceLeave::command, run: client::<force_leave::ForceLeave> },
    Entry { name: "info", table: info::Info::command, run: client::<info::Info> },
    Entry { name: "join", table: join::Join::command, run: client::<join::Join> },
    Entry { name: "keygen", table: keygen::Keygen::command, run: keygen::run },
    Entry { name: "leave", table: leave::Leave::command, run: client::<leave::Leave> },
    Entry { name: "members", table: members::Members::command, run: client::<members::Members> },
    Entry { name: "monitor", table: monitor::Monitor::command, run: client::<monitor::Monitor> },
    Entry { name: "version", table: version::Version::command, run: version::run },
];

/// A command: its flags and help as clap holds them, and what it does.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    table: fn() -> Command,
    run: fn(&[OsString]) -> ExitCode,
}

impl Entry {
    pub(crate) fn help(self) -> String {
        help::command(&(self.table)())
    }

    pub(crate) fn run(self, words: &[OsString]) -> ExitCode {
        (self.run)(words)
    }
}

/// The clap tables of all commands.
pub(crate) fn tables() -> Vec<Command> {
    ENTRIES.iter().map(|entry| (entry.table)()).collect()
}

/// A command that talks to a running agent.
trait ClientCommand: Parser {
    /// Does what the command is for, and prints it.
    fn run(self, operands: Vec<OsString>) -> Result<(), Failure>;
}

/// Why a command ends with exit code 1; the text goes to stdout.
#[derive(Debug)]
enum Failure {
    /// A sentence.
    Said(String),
    /// A sentence about the operands; the help follows.
    Misused(&'static str),
}

impl From<String> for Failure {
    fn from(sentence: String) -> Self {
        Self::Said(sentence)
    }
}

/// Reads the flags of a command and runs it.
fn client<T: ClientCommand>(words: &[OsString]) -> ExitCode {
    let Parsed { flags, operands, .. } = match args::parse::<T>(words) {
        Ok(parsed) => parsed,
        Err(error) => {
            if let Some(line) = error.line() {
                ui::complain(line);
            }
            ui::say(help::command(&T::command()));
            return ExitCode::FAILURE;
        }
    };
    match flags.run(operands) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Said(sentence)) => ui::say(sentence),
        Err(Failure::Misused(complaint)) => {
            ui::say(complaint);
            ui::say("");
            ui::say(help::command(&T::command()));
        }
    }
    ExitCode::FAILURE
}
