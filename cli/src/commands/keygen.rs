//! `serf keygen`.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use villein_core::keyring::Key;

use crate::ui;

/// Makes a new key for the -encrypt flag of an agent: 32 random bytes in base64.
#[derive(Debug, Parser)]
#[command(name = "keygen", about = "Generates a new encryption key", long_about, override_usage = "serf keygen")]
#[command(disable_help_flag = true, disable_version_flag = true)]
pub(crate) struct Keygen {}

/// Flags and operands mean nothing to this command.
pub(crate) fn run(_words: &[OsString]) -> ExitCode {
    match new_key() {
        Ok(key) => {
            ui::say(key);
            ExitCode::SUCCESS
        }
        Err(complaint) => {
            ui::say(complaint);
            ExitCode::FAILURE
        }
    }
}

fn new_key() -> Result<String, String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| format!("Error reading random data: {error}"))?;
    let key = Key::new(&bytes).map_err(|error| format!("Error generating key: {error}"))?;
    Ok(key.to_base64())
}
