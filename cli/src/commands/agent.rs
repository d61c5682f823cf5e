//! `serf agent`.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Command, CommandFactory};

use crate::agent::{AgentConfig, AgentFlags, ConfigError};
use crate::{help, ui};

pub(crate) fn table() -> Command {
    AgentFlags::command()
}

/// Reads the configuration and runs the agent that it describes.
pub(crate) fn run_command(words: &[OsString]) -> ExitCode {
    match AgentConfig::load(words) {
        Ok(config) => run(config),
        Err(error) => {
            if let ConfigError::Flags(complaint) = &error {
                if let Some(line) = complaint.line() {
                    ui::complain(line);
                }
                ui::say(format!("==> {}", help::command(&table())));
            } else {
                ui::say(format!("==> {error}"));
            }
            ExitCode::FAILURE
        }
    }
}

/// Runs an agent until it stops.
fn run(config: AgentConfig) -> ExitCode {
    for warning in &config.warnings {
        ui::say(format!("==> {warning}"));
    }
    let plan = match config.plan() {
        Ok(plan) => plan,
        Err(refusal) => return fail(&refusal),
    };
    if let Err(refusal) = config.check_serf(&plan) {
        ui::say("==> Starting Serf agent...");
        return fail(&refusal);
    }
    fail("Failed to start the Serf agent: this build has no runtime to run it with")
}

fn fail(refusal: &str) -> ExitCode {
    ui::say(format!("==> {refusal}"));
    ExitCode::FAILURE
}
