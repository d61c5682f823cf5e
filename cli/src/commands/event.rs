//! `serf event`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use clap::{ArgAction, Parser};

use super::{ClientCommand, Failure, name_and_payload};
use crate::go::number::parse_bool;
use crate::rpc::{Client, RpcArgs};
use crate::ui;

/// Sends a user event to every member of the cluster. Handlers get its name, and its payload on their standard input.
#[derive(Debug, Parser)]
#[command(name = "event", about = "Send a custom event through the Serf cluster", long_about)]
#[command(override_usage = "serf event [options] name payload", disable_help_flag = true, disable_version_flag = true)]
pub(crate) struct Event {
    /// Whether members may put events of this name that come shortly after each other together, so that only the last
    /// one remains. True by default.
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, value_parser = parse_bool, default_value_t = true)]
    coalesce: bool,
    #[command(flatten)]
    rpc: RpcArgs,
}

impl ClientCommand for Event {
    fn run(self, operands: Vec<OsString>) -> Result<(), Failure> {
        let (name, payload) = name_and_payload(operands, "An event name must be specified.")?;
        let shown = name.to_string_lossy().into_owned();
        let mut client = Client::connect(&self.rpc)?;
        client
            .event(name.into_vec(), payload.map(OsString::into_vec), self.coalesce)
            .map_err(|error| format!("Error sending event: {error}"))?;
        ui::say(format!("Event '{shown}' dispatched! Coalescing enabled: {}", self.coalesce));
        Ok(())
    }
}
