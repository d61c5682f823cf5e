//! The commands, one file each.

pub(crate) mod agent;
mod event;
mod force_leave;
mod info;
mod join;
mod keygen;
mod keys;
mod leave;
mod members;
mod monitor;
mod query;
mod reachability;
mod rtt;
mod tags;
pub(crate) mod version;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Command, CommandFactory, Parser};

use crate::args::{self, Parsed};
use crate::{help, ui};

/// The commands, by name.
pub(crate) const ENTRIES: [Entry; 15] = [
    Entry { name: "agent", table: agent::table, run: agent::run_command },
    Entry { name: "event", table: event::Event::command, run: client::<event::Event> },
    Entry { name: "force-leave", table: force_leave::ForceLeave::command, run: client::<force_leave::ForceLeave> },
    Entry { name: "info", table: info::Info::command, run: client::<info::Info> },
    Entry { name: "join", table: join::Join::command, run: client::<join::Join> },
    Entry { name: "keygen", table: keygen::Keygen::command, run: keygen::run },
    Entry { name: "keys", table: keys::Keys::command, run: client::<keys::Keys> },
    Entry { name: "leave", table: leave::Leave::command, run: client::<leave::Leave> },
    Entry { name: "members", table: members::Members::command, run: client::<members::Members> },
    Entry { name: "monitor", table: monitor::Monitor::command, run: client::<monitor::Monitor> },
    Entry { name: "query", table: query::Query::command, run: client::<query::Query> },
    Entry {
        name: "reachability",
        table: reachability::Reachability::command,
        run: client::<reachability::Reachability>,
    },
    Entry { name: "rtt", table: rtt::Rtt::command, run: client::<rtt::Rtt> },
    Entry { name: "tags", table: tags::Tags::command, run: client::<tags::Tags> },
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
    /// Nothing was asked for: the help says what could be.
    Lost,
    /// All that there is to say has been said.
    Shown,
}

impl From<String> for Failure {
    fn from(sentence: String) -> Self {
        Self::Said(sentence)
    }
}

/// The operands of `event` and `query`; `missing` is what is said when there are none.
fn name_and_payload(operands: Vec<OsString>, missing: &'static str) -> Result<(OsString, Option<OsString>), Failure> {
    let mut operands = operands.into_iter();
    let Some(name) = operands.next() else { return Err(Failure::Misused(missing)) };
    let payload = operands.next();
    if operands.next().is_some() {
        return Err(Failure::Misused("Too many command line arguments. Only a name and payload must be specified."));
    }
    Ok((name, payload))
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
        Err(Failure::Shown) => {}
        Err(Failure::Lost) => ui::say(help::command(&T::command())),
        Err(Failure::Misused(complaint)) => {
            ui::say(complaint);
            ui::say("");
            ui::say(help::command(&T::command()));
        }
    }
    ExitCode::FAILURE
}
