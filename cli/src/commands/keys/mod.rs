//! `serf keys`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use clap::{ArgAction, Parser};
use serde_json::{Map, Value, json};
use villein_core::rpc::{KeyOperation, KeyReport};

use super::{ClientCommand, Failure};
use crate::go::number::parse_bool;
use crate::output::{self, Form, Output, lossy};
use crate::rpc::{Client, RpcArgs};
use crate::{table, ui};

/// Changes the encryption keys of all members, or lists them. A new key is installed, then used, then the old one is
/// removed; between these steps members read what is encrypted with either. Every operation can be repeated, and
/// succeeds only if every member says that it did it.
#[derive(Debug, Parser)]
#[command(name = "keys", about = "Manipulate the internal encryption keyring used by Serf", long_about)]
#[command(override_usage = "serf keys [options]...", disable_help_flag = true, disable_version_flag = true)]
pub(crate) struct Keys {
    /// Form of the output: text, the default, or json.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: String,
    /// Add this key to the ring of every member. What is encrypted with it can be read from then on.
    #[arg(long, value_name = "KEY", default_value = "")]
    install: OsString,
    /// Show the keys that members have, and how many have each.
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, value_parser = parse_bool, default_value_t = false)]
    list: bool,
    /// Take this key off the ring of every member. The one that is used cannot be removed.
    #[arg(long, value_name = "KEY", default_value = "")]
    remove: OsString,
    /// Encrypt with this key, which must be installed everywhere.
    #[arg(long = "use", value_name = "KEY", default_value = "")]
    primary: OsString,
    #[command(flatten)]
    rpc: RpcArgs,
}

/// What an operation says when it begins, when it has worked, and when it has not.
struct Sentences {
    begins: &'static str,
    works: &'static str,
    fails: &'static str,
}

const LIST: Sentences = Sentences {
    begins: "==> Asking all members for installed keys...",
    works: "==> Keys gathered, listing cluster keys...",
    fails: "Failed to gather member keys",
};
const INSTALL: Sentences = Sentences {
    begins: "==> Installing key on all members...",
    works: "==> Successfully installed key!",
    fails: "Error installing key",
};
const USE: Sentences = Sentences {
    begins: "==> Changing primary key on all members...",
    works: "==> Successfully changed primary key!",
    fails: "Error changing primary key",
};
const REMOVE: Sentences = Sentences {
    begins: "==> Removing key on all members...",
    works: "==> Successfully removed key!",
    fails: "Error removing key",
};

impl ClientCommand for Keys {
    fn run(self, _operands: Vec<OsString>) -> Result<(), Failure> {
        let mut wanted = Vec::new();
        for (sentences, operation, key) in [
            (INSTALL, KeyOperation::Install, self.install),
            (USE, KeyOperation::Use, self.primary),
            (REMOVE, KeyOperation::Remove, self.remove),
        ] {
            if !key.is_empty() {
                wanted.push((sentences, operation, key.into_vec()));
            }
        }
        if self.list {
            wanted.push((LIST, KeyOperation::List, Vec::new()));
        }
        if wanted.len() > 1 {
            return Err(Failure::Said("Only one of -install, -use, -remove, or -list allowed".into()));
        }
        let Some((sentences, operation, key)) = wanted.pop() else { return Err(Failure::Lost) };
        let form = Form::read(&self.format)?;
        let mut client = Client::connect(&self.rpc)?;
        if form == Form::Text {
            ui::say(sentences.begins);
        }
        let (error, report) = match client.keys(operation, key) {
            Ok((error, report)) => ((!error.is_empty()).then(|| lossy(&error)), report),
            Err(error) => (Some(error.to_string()), KeyReport::default()),
        };
        let report = Outcome::new(report, error, sentences, operation);
        output::show(&report, form)?;
        if report.error.is_some() { Err(Failure::Shown) } else { Ok(()) }
    }
}

/// What became of the operation, all of it in the order of keys and names.
struct Outcome {
    report: KeyReport,
    error: Option<String>,
    sentences: Sentences,
    lists: bool,
}

impl Outcome {
    fn new(mut report: KeyReport, error: Option<String>, sentences: Sentences, operation: KeyOperation) -> Self {
        report.messages.sort();
        report.keys.iter_mut().for_each(|keys| keys.sort());
        Self { report, error, sentences, lists: operation == KeyOperation::List }
    }
}

impl Output for Outcome {
    fn text(&self) -> Vec<u8> {
        if let Some(error) = &self.error {
            let row = |(node, message): &(Vec<u8>, Vec<u8>)| vec![b"failed: ".to_vec(), node.clone(), message.clone()];
            let rows: Vec<Vec<Vec<u8>>> = self.report.messages.iter().map(row).collect();
            let rows = if rows.is_empty() { Vec::new() } else { [table::columns(&rows), b"\n".to_vec()].concat() };
            return [&rows[..], b"\n", self.sentences.fails.as_bytes(), b": ", error.as_bytes()].concat();
        }
        if !self.lists {
            return self.sentences.works.into();
        }
        let keys = self.report.keys.iter().flatten();
        let row =
            |(key, nodes): &(Vec<u8>, u64)| vec![key.clone(), format!("[{nodes}/{}]", self.report.nodes).into_bytes()];
        let rows: Vec<Vec<Vec<u8>>> = keys.map(row).collect();
        [self.sentences.works.as_bytes(), b"\n\n", &table::columns(&rows)].concat()
    }

    fn json(&self) -> Value {
        let messages: Map<String, Value> =
            self.report.messages.iter().map(|(node, message)| (lossy(node), lossy(message).into())).collect();
        let mut object = json!({
            "nodes": self.report.nodes,
            "responses": self.report.responses,
            "errors": self.report.errors,
            "error": self.error,
            "messages": messages,
        });
        if self.lists {
            let keys = self.report.keys.iter().flatten();
            object["keys"] = keys.map(|(key, nodes)| (lossy(key), Value::from(*nodes))).collect::<Map<_, _>>().into();
        }
        object
    }
}
