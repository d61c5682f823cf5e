//! `serf tags`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use clap::Parser;

use super::{ClientCommand, Failure};
use crate::agent::tag_pair;
use crate::rpc::{Client, RpcArgs};
use crate::ui;

/// Changes the tags of the agent, and tells the cluster: first the deletions, then what is set.
#[derive(Debug, Parser)]
#[command(name = "tags", about = "Modify tags of a running Serf agent", long_about)]
#[command(override_usage = "serf tags [options] ...", disable_help_flag = true, disable_version_flag = true)]
pub(crate) struct Tags {
    /// Give a tag this value, which may be empty. Can be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<OsString>,
    /// Remove a tag, if there is one. Can be given several times.
    #[arg(long, value_name = "KEY")]
    delete: Vec<OsString>,
    #[command(flatten)]
    rpc: RpcArgs,
}

impl ClientCommand for Tags {
    fn run(self, _operands: Vec<OsString>) -> Result<(), Failure> {
        if self.set.is_empty() && self.delete.is_empty() {
            return Err(Failure::Lost);
        }
        let mut client = Client::connect(&self.rpc)?;
        let mut tags = BTreeMap::new();
        for tag in self.set {
            let (key, value) = tag_pair(&tag.into_vec()).map_err(|error| format!("Error: {error}"))?;
            tags.insert(key, value);
        }
        let delete = self.delete.into_iter().map(OsString::into_vec).collect();
        client.tags(tags.into_iter().collect(), delete).map_err(|error| format!("Error setting tags: {error}"))?;
        ui::say("Successfully updated agent tags");
        Ok(())
    }
}
