//! `serf leave`.

use std::ffi::OsString;

use clap::Parser;

use super::{ClientCommand, Failure};
use crate::rpc::{Client, RpcArgs};
use crate::ui;

/// Makes the agent leave its cluster gracefully and exit, so that the others see it as left and not as failed.
#[derive(Debug, Parser)]
#[command(name = "leave", about = "Gracefully leaves the Serf cluster and shuts down", long_about)]
#[command(override_usage = "serf leave", disable_help_flag = true, disable_version_flag = true)]
pub(crate) struct Leave {
    #[command(flatten)]
    rpc: RpcArgs,
}

impl ClientCommand for Leave {
    fn run(self, _operands: Vec<OsString>) -> Result<(), Failure> {
        let mut client = Client::connect(&self.rpc)?;
        client.leave().map_err(|error| format!("Error leaving: {error}"))?;
        ui::say("Graceful leave complete");
        Ok(())
    }
}
