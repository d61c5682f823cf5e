//! `serf version`.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use crate::ui;

/// Prints the version of this program and the Serf protocol versions that it speaks.
#[derive(Debug, Parser)]
#[command(name = "version", about = "Prints the Serf version", long_about, override_usage = "serf version")]
#[command(disable_help_flag = true, disable_version_flag = true)]
pub(crate) struct Version {}

/// Flags and operands mean nothing to this command.
pub(crate) fn run(_words: &[OsString]) -> ExitCode {
    print()
}

/// Prints the two lines; scripts read the second.
pub(crate) fn print() -> ExitCode {
    ui::say(concat!("villein ", env!("CARGO_PKG_VERSION"), "\nAgent Protocol: 5 (Understands back to: 2)"));
    ExitCode::SUCCESS
}
