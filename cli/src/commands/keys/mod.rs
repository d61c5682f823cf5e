//! `serf keys`.

mod rotation;
mod status;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use std::time::Duration;

use clap::{ArgAction, Parser};
use serde_json::{Map, Value, json};
use villein_core::keyring::Key;
use villein_core::rpc::{KeyOperation, KeyReport};

use self::rotation::Rotation;
use self::status::KeyStatus;
use super::{ClientCommand, Failure};
use crate::go::duration::parse_flag;
use crate::go::number::parse_bool;
use crate::output::{self, Form, Output, lossy};
use crate::rpc::{Client, RpcArgs};
use crate::{table, ui};

/// Changes the encryption keys of all members, or lists them. A new key is installed, then used, then the old one is
/// removed; between these steps members read what is encrypted with either. Every operation can be repeated, and
/// succeeds only if every member says that it did it. -rotate does all of it.
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
    /// Make this key the only one, in all steps: a new one from keygen. Waits for members that do not answer, does not use
    /// the key as long as a member is failed, and goes on where it was interrupted if it is given again.
    #[arg(long, value_name = "KEY", default_value = "")]
    rotate: OsString,
    /// Show which keys each member has, and which of them it uses.
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, value_parser = parse_bool, default_value_t = false)]
    status: bool,
    /// With -rotate: how long each step waits for members that do not answer.
    #[arg(long, value_name = "DURATION", value_parser = parse_flag, default_value = "1m", allow_hyphen_values = true)]
    patience: i64,
    /// With -rotate: how long the old keys stay when the new one is in use everywhere.
    #[arg(long, value_name = "DURATION", value_parser = parse_flag, default_value = "10s", allow_hyphen_values = true)]
    grace: i64,
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
        if self.status || !self.rotate.is_empty() {
            return self.all_of_it();
        }
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

impl Keys {
    /// What takes more than one operation, or tells of every member.
    fn all_of_it(self) -> Result<(), Failure> {
        let single = [&self.install, &self.primary, &self.remove].iter().any(|key| !key.is_empty()) || self.list;
        if single || (self.status && !self.rotate.is_empty()) {
            return Err(Failure::Said("-rotate and -status go with no other operation".into()));
        }
        let form = Form::read(&self.format)?;
        if self.status { show_status(&self.rpc, form) } else { self.rotate(form) }
    }

    fn rotate(&self, form: Form) -> Result<(), Failure> {
        let failed = |error: String| Failure::Said(format!("Error rotating keys: {error}"));
        let key =
            Key::from_base64(&lossy(self.rotate.as_encoded_bytes())).map_err(|error| failed(error.to_string()))?;
        let positive = |name: &str, nanos: i64| match u64::try_from(nanos) {
            Ok(nanos) => Ok(Duration::from_nanos(nanos)),
            Err(_) => Err(Failure::Said(format!("-{name} must not be negative"))),
        };
        let (patience, grace) = (positive("patience", self.patience)?, positive("grace", self.grace)?);
        let mut client = Client::connect(&self.rpc)?;
        let rotated = Rotation { client: &mut client, form, patience, grace }.run(&key).map_err(failed)?;
        Ok(output::show(&rotated, form)?)
    }
}

fn show_status(rpc: &RpcArgs, form: Form) -> Result<(), Failure> {
    let mut client = Client::connect(rpc)?;
    if form == Form::Text {
        ui::say(LIST.begins);
    }
    let status = KeyStatus::ask(&mut client).map_err(|error| format!("{}: {error}", LIST.fails))?;
    if form == Form::Text {
        ui::say("==> Keys gathered, listing the keys of each member...\n");
    }
    output::show(&status, form)?;
    match status.error() {
        None => Ok(()),
        Some(_) if form == Form::Json => Err(Failure::Shown),
        Some(error) => Err(Failure::Said(format!("\n{}: {error}", LIST.fails))),
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
        let mut object = report_json(&self.report, self.error.as_deref());
        if self.lists {
            let keys = self.report.keys.iter().flatten();
            object["keys"] = keys.map(|(key, nodes)| (lossy(key), Value::from(*nodes))).collect::<Map<_, _>>().into();
        }
        object
    }
}

/// What every report of key operations shows to programs.
fn report_json(report: &KeyReport, error: Option<&str>) -> Value {
    let messages: Map<String, Value> =
        report.messages.iter().map(|(node, message)| (lossy(node), lossy(message).into())).collect();
    json!({
        "nodes": report.nodes,
        "responses": report.responses,
        "errors": report.errors,
        "error": error,
        "messages": messages,
    })
}
