//! `serf info`.

use std::ffi::OsString;

use clap::Parser;
use serde_json::{Map, Value};
use villein_core::rpc::Stats;

use super::{ClientCommand, Failure};
use crate::output::{self, Output, lossy};
use crate::rpc::{Client, RpcArgs};

/// Prints what the agent tells of itself: its name, its tags, its event handlers, counters.
#[derive(Debug, Parser)]
#[command(name = "info", about = "Provides debugging information for operators", long_about)]
#[command(override_usage = "serf info [options]", disable_help_flag = true, disable_version_flag = true)]
pub(crate) struct Info {
    /// Form of the output: text, the default, or json.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: String,
    #[command(flatten)]
    rpc: RpcArgs,
}

impl ClientCommand for Info {
    fn run(self, _operands: Vec<OsString>) -> Result<(), Failure> {
        let mut client = Client::connect(&self.rpc)?;
        let stats = client.stats().map_err(|error| format!("Error querying agent: {error}"))?;
        output::print(&Sections::new(stats), &self.format)?;
        Ok(())
    }
}

/// Sections and their entries, both sorted.
struct Sections(Stats);

impl Sections {
    fn new(mut stats: Stats) -> Self {
        stats.sort();
        for (_, entries) in &mut stats {
            entries.sort();
        }
        Self(stats)
    }
}

impl Output for Sections {
    fn text(&self) -> Vec<u8> {
        let mut lines = Vec::new();
        for (section, entries) in &self.0 {
            lines.push([section, &b":"[..]].concat());
            lines.extend(entries.iter().map(|(key, value)| [&b"\t"[..], key, b" = ", value].concat()));
        }
        lines.join(&b'\n')
    }

    fn json(&self) -> Value {
        let section = |entries: &[(Vec<u8>, Vec<u8>)]| {
            let entries = entries.iter().map(|(key, value)| (lossy(key), Value::String(lossy(value))));
            Value::Object(entries.collect::<Map<String, Value>>())
        };
        Value::Object(self.0.iter().map(|(name, entries)| (lossy(name), section(entries))).collect())
    }
}
