//! `serf join`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use clap::{ArgAction, Parser};

use super::{ClientCommand, Failure};
use crate::go::number::parse_bool;
use crate::rpc::{Client, RpcArgs};
use crate::ui;

/// Tells the agent to join a cluster by contacting the given members of it. One that answers is enough.
#[derive(Debug, Parser)]
#[command(name = "join", about = "Tell Serf agent to join cluster", long_about)]
#[command(override_usage = "serf join [options] address ...", disable_help_flag = true, disable_version_flag = true)]
pub(crate) struct Join {
    /// Receive the user events that happened in the cluster before.
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, value_parser = parse_bool, default_value_t = false)]
    replay: bool,
    #[command(flatten)]
    rpc: RpcArgs,
}

impl ClientCommand for Join {
    fn run(self, operands: Vec<OsString>) -> Result<(), Failure> {
        if operands.is_empty() {
            return Err(Failure::Misused("At least one address to join must be specified."));
        }
        let addresses = operands.into_iter().map(OsString::into_vec).collect();
        let mut client = Client::connect(&self.rpc)?;
        let contacted =
            client.join(addresses, self.replay).map_err(|error| format!("Error joining the cluster: {error}"))?;
        ui::say(format!("Successfully joined cluster by contacting {contacted} nodes."));
        Ok(())
    }
}
