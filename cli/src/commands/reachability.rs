//! `serf reachability`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::thread;
use std::time::{Duration, Instant};

use clap::{ArgAction, Parser};
use serde_json::{Value, json};
use signal_hook::consts::SIGINT;
use signal_hook::iterator::Signals;
use villein_core::rpc;

use super::{ClientCommand, Failure};
use crate::go::number::parse_bool;
use crate::output::{self, Form, Output, lossy};
use crate::rpc::{Client, RpcArgs, Word};
use crate::ui;

/// Asks every member whether it hears this node, and compares who says so with the members that are alive.
#[derive(Debug, Parser)]
#[command(name = "reachability", about = "Test network reachability", long_about)]
#[command(override_usage = "serf reachability [options]", disable_help_flag = true, disable_version_flag = true)]
pub(crate) struct Reachability {
    /// Form of the output: text, the default, or json.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: String,
    /// Show each member when it answers, and how long it took.
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, value_parser = parse_bool, default_value_t = false)]
    verbose: bool,
    #[command(flatten)]
    rpc: RpcArgs,
}

const MORE: &str = "This could mean Serf is detecting false-failures due to a misconfiguration or network issue.";
const LESS: &str = "This could mean Serf gossip packets are being lost due to a misconfiguration or network issue.";
const TIPS: &str = "
Troubleshooting tips:
* Ensure that the bind addr:port is accessible by all other nodes
* If an advertise address is set, ensure it routes to the bind address
* Check that no nodes are behind a NAT
* If nodes are behind firewalls or iptables, check that Serf traffic is permitted (UDP and TCP)
* Verify networking equipment is functional";

impl ClientCommand for Reachability {
    fn run(self, _operands: Vec<OsString>) -> Result<(), Failure> {
        let form = Form::read(&self.format)?;
        let mut client = Client::connect(&self.rpc)?;
        let members = client.members().map_err(|error| format!("Error getting members: {error}"))?;
        let total = members.len();
        let live: BTreeSet<Vec<u8>> =
            members.into_iter().filter(|member| member.status == b"alive").map(|member| member.name).collect();
        exit_when_interrupted()?;
        let query = rpc::Query {
            filter_nodes: Vec::new(),
            filter_tags: Vec::new(),
            request_ack: true,
            relay_factor: 0,
            timeout: 0,
            name: b"_serf_ping".to_vec(),
            payload: None,
        };
        #[expect(clippy::disallowed_methods, reason = "a stopwatch for the person who waits; no rule depends on it")]
        let start = Instant::now();
        client.query(query).map_err(|error| format!("Error sending query: {error}"))?;
        if form == Form::Text {
            ui::say(format!("Total members: {total}, live members: {}", live.len()));
            ui::say("Starting reachability test...");
        }
        let mut test = Test { total, live, is_verbose: self.verbose, ..Test::default() };
        while let Some(word) = client.next_word() {
            let Word::Ack { from } = word else { continue };
            test.last = start.elapsed();
            if self.verbose && form == Form::Text {
                ui::say([b"\tAck from '", &from[..], b"'"].concat());
            }
            test.take(from, form);
        }
        test.took = start.elapsed();
        output::show(&test, form)?;
        if test.passes() { Ok(()) } else { Err(Failure::Shown) }
    }
}

/// Says that the test is over when somebody interrupts it.
fn exit_when_interrupted() -> Result<(), String> {
    let mut signals = Signals::new([SIGINT]).map_err(|error| format!("Error handling interrupts: {error}"))?;
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            ui::say("Test interrupted");
            std::process::exit(1);
        }
    });
    Ok(())
}

/// Who should have answered, and who has.
#[derive(Default)]
struct Test {
    total: usize,
    live: BTreeSet<Vec<u8>>,
    is_verbose: bool,
    acks: usize,
    answered: BTreeSet<Vec<u8>>,
    twice: BTreeSet<Vec<u8>>,
    took: Duration,
    last: Duration,
}

impl Test {
    fn take(&mut self, from: Vec<u8>, form: Form) {
        self.acks += 1;
        if self.answered.contains(&from) {
            if form == Form::Text {
                ui::say([b"Duplicate response from '", &from[..], b"'"].concat());
                ui::say("Duplicate responses means there is a misconfiguration. Verify that node names are unique.");
            }
            self.twice.insert(from);
        } else {
            self.answered.insert(from);
        }
    }

    fn passes(&self) -> bool {
        self.acks == self.live.len() && self.twice.is_empty()
    }
}

impl Output for Test {
    fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        if self.is_verbose {
            let (took, last) = (seconds(self.took), seconds(self.last));
            text.extend(format!("Query time: {took} sec, time to last response: {last} sec\n").into_bytes());
        }
        let (heading, names, meaning) = match self.acks.cmp(&self.live.len()) {
            std::cmp::Ordering::Equal => {
                text.extend(b"Successfully contacted all live nodes");
                return text;
            }
            std::cmp::Ordering::Greater => (
                "Received more acks than live nodes! Acks from non-live nodes:",
                self.answered.difference(&self.live),
                MORE,
            ),
            std::cmp::Ordering::Less => {
                ("Received less acks than live nodes! Missing acks from:", self.live.difference(&self.answered), LESS)
            }
        };
        text.extend(heading.as_bytes());
        for name in names {
            text.extend([b"\n\t", &name[..]].concat());
        }
        text.extend([b"\n", meaning.as_bytes(), b"\n", TIPS.as_bytes()].concat());
        text
    }

    fn json(&self) -> Value {
        let names = |names: &mut dyn Iterator<Item = &Vec<u8>>| names.map(|name| lossy(name)).collect::<Vec<String>>();
        json!({
            "members": self.total,
            "live": self.live.len(),
            "acks": names(&mut self.answered.iter()),
            "missing": names(&mut self.live.difference(&self.answered)),
            "unexpected": names(&mut self.answered.difference(&self.live)),
            "duplicates": names(&mut self.twice.iter()),
            "query_ms": millis(self.took),
            "last_response_ms": millis(self.last),
        })
    }
}

/// Seconds with two decimals.
fn seconds(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
