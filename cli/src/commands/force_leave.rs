//! `serf force-leave`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use clap::{ArgAction, Parser};

use super::{ClientCommand, Failure};
use crate::go::number::parse_bool;
use crate::rpc::{Client, RpcArgs};

/// Turns a failed member into one that has left, so that nobody tries to reach it any more. A member that is alive
/// will object and stay.
#[derive(Debug, Parser)]
#[command(name = "force-leave", about = "Forces a member of the cluster to enter the \"left\" state", long_about)]
#[command(override_usage = "serf force-leave [options] name")]
#[command(disable_help_flag = true, disable_version_flag = true)]
pub(crate) struct ForceLeave {
    /// Remove the member from the list at once.
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, value_parser = parse_bool, default_value_t = false)]
    prune: bool,
    #[command(flatten)]
    rpc: RpcArgs,
}

impl ClientCommand for ForceLeave {
    fn run(self, mut operands: Vec<OsString>) -> Result<(), Failure> {
        let (Some(name), true) = (operands.pop(), operands.is_empty()) else {
            return Err(Failure::Misused("A node name must be specified to force leave."));
        };
        let mut client = Client::connect(&self.rpc)?;
        client.force_leave(name.into_vec(), self.prune).map_err(|error| format!("Error force leaving: {error}"))?;
        Ok(())
    }
}
