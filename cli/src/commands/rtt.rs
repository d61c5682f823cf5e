//! `serf rtt`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use clap::Parser;
use serde_json::{Value, json};
use villein_core::coordinate::{AXES, Coordinate};
use villein_core::rpc;

use super::{ClientCommand, Failure};
use crate::go;
use crate::output::{self, Form, Output, lossy};
use crate::rpc::{Client, RpcArgs};

/// Estimates how long a packet takes from one member to another and back, by where the members have found themselves in
/// the network. The second member is the agent itself unless it is named. The members need not be asked.
#[derive(Debug, Parser)]
#[command(name = "rtt", about = "Estimates network round trip time between nodes", long_about)]
#[command(override_usage = "serf rtt [options] node1 [node2]", disable_help_flag = true, disable_version_flag = true)]
pub(crate) struct Rtt {
    /// Form of the output: text, the default, or json.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: String,
    #[command(flatten)]
    rpc: RpcArgs,
}

impl ClientCommand for Rtt {
    fn run(self, operands: Vec<OsString>) -> Result<(), Failure> {
        let form = Form::read(&self.format)?;
        let mut client = Client::connect(&self.rpc)?;
        let mut names: Vec<Vec<u8>> = operands.into_iter().map(OsString::into_vec).collect();
        if names.is_empty() || names.len() > 2 {
            return Err(Failure::Misused("One or two node names must be specified"));
        }
        if names.len() == 1 {
            names.push(own_name(&mut client)?);
        }
        let mut places = Vec::new();
        for name in &names {
            let place = client
                .coordinate(name.clone())
                .map_err(|error| format!("Error getting coordinates: {error}"))?
                .ok_or_else(|| format!("Could not find a coordinate for node {}", go::quote(name)))?;
            places.push(read(&place, name)?);
        }
        let rtt = places[0].distance(&places[1]);
        output::show(&Estimate { names, rtt }, form)?;
        Ok(())
    }
}

/// What the agent calls itself.
fn own_name(client: &mut Client) -> Result<Vec<u8>, String> {
    let stats = client.stats().map_err(|error| format!("Error querying agent: {error}"))?;
    let agent = stats.into_iter().find(|(section, _)| section == b"agent").map(|(_, entries)| entries);
    let name = agent.into_iter().flatten().find(|(key, _)| key == b"name").map(|(_, name)| name);
    Ok(name.unwrap_or_default())
}

/// A coordinate in the space that estimates are made in.
fn read(place: &rpc::Coordinate, name: &[u8]) -> Result<Coordinate, String> {
    let rpc::Coordinate { adjustment, error, height, vec } = place;
    let vec = <[f64; AXES]>::try_from(&vec[..]).map_err(|_| {
        let name = go::quote(name);
        format!("The coordinate of node {name} has {} axes; estimates need {AXES}", vec.len())
    })?;
    Ok(Coordinate { vec, error: *error, adjustment: *adjustment, height: *height })
}

struct Estimate {
    names: Vec<Vec<u8>>,
    rtt: Duration,
}

impl Output for Estimate {
    fn text(&self) -> Vec<u8> {
        let rtt = format!(" rtt: {} ms", millis(self.rtt));
        [b"Estimated ", &self.names[0][..], b" <-> ", &self.names[1], rtt.as_bytes()].concat()
    }

    fn json(&self) -> Value {
        json!({ "node1": lossy(&self.names[0]), "node2": lossy(&self.names[1]), "rtt_ms": self.rtt.as_secs_f64() * 1e3 })
    }
}

/// Milliseconds with three decimals.
fn millis(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64() * 1e3)
}
