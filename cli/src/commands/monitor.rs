//! `serf monitor`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Parser;
use signal_hook::consts::SIGINT;
use villein_core::msgpack::Value;

use super::{ClientCommand, Failure};
use crate::go::literal::literal;
use crate::rpc::{Client, Record, RpcArgs};
use crate::ui;

/// Shows the latest log lines of the agent, whatever its own log level is, and follows them. Events are shown too.
#[derive(Debug, Parser)]
#[command(name = "monitor", about = "Stream logs from a Serf agent", long_about)]
#[command(override_usage = "serf monitor [options]", disable_help_flag = true, disable_version_flag = true)]
pub(crate) struct Monitor {
    /// Least level of the lines to show: trace, debug, info, warn or err. Info by default.
    #[arg(long, value_name = "LEVEL", default_value = "INFO")]
    log_level: OsString,
    #[command(flatten)]
    rpc: RpcArgs,
}

/// What is said when the connection ends; the empty line in front sets it off from the logs.
const AGENT_GONE: &str =
    "\nRemote side ended the monitor! This usually means that the\nremote side has exited or crashed.";

impl ClientCommand for Monitor {
    fn run(self, _operands: Vec<OsString>) -> Result<(), Failure> {
        let mut client = Client::connect(&self.rpc)?;
        // Interrupting is how one ends this command; nothing has failed.
        let always = Arc::new(AtomicBool::new(true));
        signal_hook::flag::register_conditional_shutdown(SIGINT, 0, always)
            .map_err(|error| format!("Error handling interrupts: {error}"))?;
        client.stream().map_err(|error| format!("Error starting stream: {error}"))?;
        client.monitor(self.log_level.into_vec()).map_err(|error| format!("Error starting monitor: {error}"))?;
        while let Some(record) = client.next_record() {
            match record {
                Record::Log(line) => ui::say(line),
                Record::Event(fields) => ui::say(event_block(&fields)),
            }
        }
        Err(Failure::Said(AGENT_GONE.into()))
    }
}

/// An event as lines of names and Go literals.
fn event_block(fields: &[(Value, Value)]) -> String {
    let name = |name: &Value| match name {
        Value::Text(name) => String::from_utf8_lossy(name).into_owned(),
        other => literal(other),
    };
    let mut lines: Vec<String> =
        fields.iter().map(|(field, value)| format!("\n\t{}: {}", name(field), literal(value))).collect();
    lines.sort_unstable();
    format!("Event Info:{}", lines.concat())
}
