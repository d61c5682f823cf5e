//! `serf keys -status`: who has which keys.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use villein_core::rpc::{KeyOperation, KeyReport, texts};

use crate::output::{Output, lossy};
use crate::rpc::{Client, RpcError};
use crate::table;

/// How a member begins that shows not all of its keys (serf/internal_query.go).
const CUT: &[u8] = b"truncated key list response";

/// What every member has said of its keys.
pub(super) struct KeyStatus {
    members: BTreeMap<Vec<u8>, Answer>,
    report: KeyReport,
    error: Option<String>,
}

/// What one member has said.
enum Answer {
    /// Its keys, primary first.
    Keys(Vec<Vec<u8>>),
    /// The first of its keys, and that it has more: not all fit into an answer.
    Cut(Vec<Vec<u8>>, Vec<u8>),
    /// Why it shows none.
    Words(Vec<u8>),
    Nothing,
}

impl KeyStatus {
    /// Asks all members.
    ///
    /// # Errors
    /// The agent does not ask them; its text.
    pub(super) fn ask(client: &mut Client) -> Result<Self, String> {
        let (error, mut report) = client.keys(KeyOperation::Status, Vec::new()).map_err(|error| match error {
            RpcError::Refused(text) if text == texts::UNSUPPORTED_COMMAND.as_bytes() => {
                format!("{}: the agent is none of Villein's, and cannot tell who has which keys", lossy(&text))
            }
            other => other.to_string(),
        })?;
        let mut members = BTreeMap::new();
        for (node, keys) in report.rings.take().unwrap_or_default() {
            members.insert(node, keys.map_or(Answer::Nothing, Answer::Keys));
        }
        for (node, words) in &report.messages {
            let answer = members.entry(node.clone()).or_insert(Answer::Nothing);
            *answer = match std::mem::replace(answer, Answer::Nothing) {
                Answer::Keys(keys) if words.starts_with(CUT) => Answer::Cut(keys, words.clone()),
                Answer::Nothing => Answer::Words(words.clone()),
                other @ (Answer::Keys(_) | Answer::Cut(..) | Answer::Words(_)) => other,
            };
        }
        report.messages.sort();
        Ok(Self { members, report, error: (!error.is_empty()).then(|| lossy(&error)) })
    }

    /// Why not every member has answered with its keys.
    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// The members of whom it is not known that they have `key`, or that they seal with it where `primary` is set.
    pub(super) fn without(&self, key: &[u8], primary: bool) -> Vec<String> {
        self.names(|keys| {
            let mut counted = keys.iter().take(if primary { 1 } else { keys.len() });
            !counted.any(|other| other == key)
        })
    }

    /// Those of whom it is still not known that they have `key` when all have said that they installed it: who shows only
    /// some of its keys cannot show that.
    pub(super) fn without_though_installed(&self, key: &[u8]) -> Vec<String> {
        let cut = self.cut();
        self.without(key, false).into_iter().filter(|name| !cut.contains(name)).collect()
    }

    /// The members that have more keys than they show.
    pub(super) fn cut(&self) -> Vec<String> {
        let cut = self.members.iter().filter(|(_, answer)| matches!(answer, Answer::Cut(..)));
        cut.map(|(node, _)| lossy(node)).collect()
    }

    /// The members that show `key`.
    pub(super) fn with(&self, key: &[u8]) -> Vec<String> {
        self.names(|keys| keys.iter().any(|other| other == key))
    }

    /// Every key that somebody shows but `key`.
    pub(super) fn others(&self, key: &[u8]) -> BTreeSet<Vec<u8>> {
        self.members.values().flat_map(Answer::keys).filter(|other| *other != key).cloned().collect()
    }

    fn names(&self, is_one: impl Fn(&[Vec<u8>]) -> bool) -> Vec<String> {
        self.members.iter().filter(|(_, answer)| is_one(answer.keys())).map(|(node, _)| lossy(node)).collect()
    }

    /// How many members were asked.
    pub(super) const fn asked(&self) -> u64 {
        self.report.nodes
    }
}

impl Answer {
    /// The keys that it is known to have.
    fn keys(&self) -> &[Vec<u8>] {
        match self {
            Self::Keys(keys) | Self::Cut(keys, _) => keys,
            Self::Words(_) | Self::Nothing => &[],
        }
    }
}

impl Output for KeyStatus {
    fn text(&self) -> Vec<u8> {
        let mut rows = Vec::new();
        for (node, answer) in &self.members {
            let mut row = |key: &[u8], what: &[u8]| rows.push(vec![node.clone(), key.to_vec(), what.to_vec()]);
            match answer {
                Answer::Nothing => row(b"-", b"no answer"),
                Answer::Words(words) => row(b"-", words),
                Answer::Keys(keys) | Answer::Cut(keys, _) => {
                    for (index, key) in keys.iter().enumerate() {
                        row(key, if index == 0 { b"primary" } else { b"installed" });
                    }
                }
            }
            if let Answer::Cut(_, words) = answer {
                rows.push(vec![node.clone(), b"-".to_vec(), words.clone()]);
            }
        }
        table::columns(&rows)
    }

    fn json(&self) -> Value {
        let shown = |answer: &Answer| match answer {
            Answer::Keys(keys) | Answer::Cut(keys, _) => json!({
                "primary": keys.first().map(|key| lossy(key)),
                "keys": keys.iter().map(|key| lossy(key)).collect::<Vec<_>>(),
            }),
            Answer::Words(_) | Answer::Nothing => Value::Null,
        };
        let members: Map<String, Value> =
            self.members.iter().map(|(node, answer)| (lossy(node), shown(answer))).collect();
        let mut object = super::report_json(&self.report, self.error());
        object["members"] = members.into();
        object
    }
}
