//! `serf keygen`.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use crate::{go, ui};

/// Makes a new key for the -encrypt flag of an agent: 32 random bytes in base64.
#[derive(Debug, Parser)]
#[command(name = "keygen", about = "Generates a new encryption key", long_about, override_usage = "serf keygen")]
#[command(disable_help_flag = true, disable_version_flag = true)]
pub(crate) struct Keygen {}

/// Flags and operands mean nothing to this command.
pub(crate) fn run(_words: &[OsString]) -> ExitCode {
    let mut key = [0; 32];
    if let Err(error) = getrandom::fill(&mut key) {
        ui::say(format!("Error reading random data: {error}"));
        return ExitCode::FAILURE;
    }
    ui::say(go::base64::encode(&key));
    ExitCode::SUCCESS
}
