//! `serf query`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{ArgAction, Parser};
use serde_json::{Map, Value, json};
use signal_hook::consts::SIGINT;
use villein_core::rpc;

use super::{ClientCommand, Failure, name_and_payload};
use crate::agent::tag_pair;
use crate::go::duration::parse_flag;
use crate::go::number::{parse_bool, parse_int};
use crate::output::{self, Output, lossy};
use crate::rpc::{Client, RpcArgs, Word};
use crate::ui;

/// Asks every member of the cluster, or those that the filters choose, and shows who has got the question and what was
/// answered, until the time is over.
#[derive(Debug, Parser)]
#[command(name = "query", about = "Send a query to the Serf cluster", long_about)]
#[command(override_usage = "serf query [options] name payload", disable_help_flag = true, disable_version_flag = true)]
pub(crate) struct Query {
    /// Form of the output: text, the default, or json.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: String,
    /// Ask this member only. Can be given several times.
    #[arg(long, value_name = "NAME")]
    node: Vec<OsString>,
    /// Ask only members whose tag matches anywhere in its value. Can be given several times.
    #[arg(long, value_name = "KEY=REGEXP")]
    tag: Vec<OsString>,
    /// How long answers are waited for, such as 15s. By default as long as the size of the cluster suggests.
    #[arg(long, value_name = "DURATION", value_parser = parse_flag, default_value = "0", allow_hyphen_values = true)]
    timeout: i64,
    /// Members do not say that they have got the query.
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, value_parser = parse_bool, default_value_t = false)]
    no_ack: bool,
    /// Over how many other members each word is sent a second time, in case the direct way fails: 0 to 255.
    #[arg(long, value_name = "NUMBER", value_parser = parse_int, default_value_t = 0, allow_hyphen_values = true)]
    relay_factor: i64,
    #[command(flatten)]
    rpc: RpcArgs,
}

impl ClientCommand for Query {
    fn run(self, operands: Vec<OsString>) -> Result<(), Failure> {
        let mut tags = BTreeMap::new();
        for tag in self.tag {
            let (key, pattern) = tag_pair(&tag.into_vec()).map_err(|error| format!("Error: {error}"))?;
            tags.insert(key, pattern);
        }
        let (name, payload) = name_and_payload(operands, "A query name must be specified.")?;
        let relay_factor = u8::try_from(self.relay_factor)
            .map_err(|_| Failure::Said("Relay factor must be between 0 and 255".into()))?;
        let mut client = Client::connect(&self.rpc)?;
        let is_json = match self.format.as_str() {
            "text" => false,
            "json" => true,
            other => return Err(Failure::Said(format!("Invalid format: {other}"))),
        };
        let shown = name.to_string_lossy().into_owned();
        let query = rpc::Query {
            filter_nodes: self.node.into_iter().map(OsString::into_vec).collect(),
            filter_tags: tags.into_iter().collect(),
            request_ack: !self.no_ack,
            relay_factor,
            timeout: self.timeout,
            name: name.into_vec(),
            payload: payload.map(OsString::into_vec),
        };
        // Who interrupts gets no totals.
        signal_hook::flag::register_conditional_shutdown(SIGINT, 1, Arc::new(AtomicBool::new(true)))
            .map_err(|error| format!("Error handling interrupts: {error}"))?;
        client.query(query).map_err(|error| format!("Error sending query: {error}"))?;
        let mut outcome = Outcome { is_told: !is_json, no_ack: self.no_ack, ..Outcome::default() };
        if outcome.is_told {
            ui::say(format!("Query '{shown}' dispatched"));
        }
        while let Some(word) = client.next_word() {
            outcome.take(word);
        }
        output::print(&outcome, &self.format)?;
        Ok(())
    }
}

/// What came of a query.
#[derive(Default)]
struct Outcome {
    /// Whether each word is shown when it comes.
    is_told: bool,
    no_ack: bool,
    acks: Vec<Vec<u8>>,
    responses: BTreeMap<Vec<u8>, Vec<u8>>,
    count: usize,
}

impl Outcome {
    fn take(&mut self, word: Word) {
        match word {
            Word::Ack { from } => {
                if self.is_told {
                    ui::say([b"Ack from '", &from[..], b"'"].concat());
                }
                self.acks.push(from);
            }
            Word::Response { from, payload } => {
                if self.is_told {
                    let shown = payload.strip_suffix(b"\n").unwrap_or(&payload);
                    ui::say([b"Response from '", &from[..], b"': ", shown].concat());
                }
                self.count += 1;
                self.responses.insert(from, payload);
            }
        }
    }
}

impl Output for Outcome {
    fn text(&self) -> Vec<u8> {
        let acks = if self.no_ack { String::new() } else { format!("Total Acks: {}\n", self.acks.len()) };
        format!("{acks}Total Responses: {}", self.count).into_bytes()
    }

    fn json(&self) -> Value {
        let acks: Vec<Value> = self.acks.iter().map(|from| lossy(from).into()).collect();
        let responses: Map<String, Value> =
            self.responses.iter().map(|(from, payload)| (lossy(from), lossy(payload).into())).collect();
        // No acks are null: programs that read this know it.
        json!({ "Acks": if acks.is_empty() { Value::Null } else { acks.into() }, "Responses": responses })
    }
}
