//! What operators do: user events, queries, tags, keys, force-leave.

use std::time::Duration;

use villein_core::command::Question;
use villein_core::types::{Name, Tags};
use villein_core::wire::Filter;

use super::cluster::tags;
use super::read::{ScenarioError, Table, Value};
use super::steps::flag;
use super::{KeyOperation, Names, Verb};
use crate::units::nanos;

/// How many events one step sends.
const COUNT_MAX: i64 = 100_000;

pub(super) fn force_leave(table: &Table<'_>, names: &Names<'_>) -> Result<Verb, ScenarioError> {
    Ok(Verb::ForceLeave {
        nodes: names.list(&table.need("nodes")?, "force_leave")?,
        target: table.need("target")?.text()?.to_owned(),
        prune: flag(Some(table), "prune")?,
    })
}

pub(super) fn event(table: &Table<'_>, names: &Names<'_>) -> Result<Verb, ScenarioError> {
    let count = table.take("count").map(|value| value.number(1, COUNT_MAX)).transpose()?.unwrap_or(1);
    Ok(Verb::Event {
        nodes: names.list(&table.need("nodes")?, "event")?,
        name: table.need("name")?.text()?.to_owned(),
        payload: text(table, "payload")?,
        coalesce: flag(Some(table), "coalesce")?,
        numbers: 1..count.unsigned_abs() + 1,
    })
}

pub(super) fn query(table: &Table<'_>, names: &Names<'_>) -> Result<Verb, ScenarioError> {
    let nodes = names.list(&table.need("nodes")?, "query")?;
    let mut filters = Vec::new();
    if let Some(value) = table.take("for") {
        let asked = value.texts()?;
        filters.push(Filter::Nodes(asked.into_iter().map(|(name, _)| Name::from(name)).collect()));
    }
    if let Some(value) = table.take("tags") {
        filters.extend(
            tags(&value)?.into_iter().map(|(key, pattern)| Filter::Tag { key: key.into(), pattern: pattern.into() }),
        );
    }
    let timeout = table.take("timeout").map(|value| value.parsed(nanos)).transpose()?;
    let relay_factor = table.take("relay_factor").map(|value| value.number(0, 255)).transpose()?.unwrap_or(0);
    let question = Question {
        name: table.need("name")?.text()?.as_bytes().into(),
        payload: text(table, "payload")?.as_bytes().into(),
        filters,
        ack: table.take("ack").map(|value| value.flag()).transpose()?.unwrap_or(true),
        relay_factor: u8::try_from(relay_factor).unwrap_or(u8::MAX),
        timeout: timeout.map(Duration::from_nanos),
    };
    Ok(Verb::Query { nodes, question })
}

pub(super) fn change_tags(table: &Table<'_>, names: &Names<'_>) -> Result<Verb, ScenarioError> {
    let nodes = names.list(&table.need("nodes")?, "tags")?;
    let set = table.take("set").map(|value| tags(&value)).transpose()?.unwrap_or_else(Tags::new);
    let delete = match table.take("delete") {
        Some(value) => value.texts()?.into_iter().map(|(key, _)| key.to_owned()).collect(),
        None => Vec::new(),
    };
    Ok(Verb::Tags { nodes, set, delete })
}

pub(super) fn key(table: &Table<'_>, names: &Names<'_>) -> Result<Verb, ScenarioError> {
    let nodes = names.list(&table.need("nodes")?, "key")?;
    let word = |value: Value<'_>| value.text().map(ToOwned::to_owned);
    let mut operations = Vec::new();
    if let Some(value) = table.take("install") {
        operations.push(KeyOperation::Install(word(value)?));
    }
    if let Some(value) = table.take("use") {
        operations.push(KeyOperation::Use(word(value)?));
    }
    if let Some(value) = table.take("remove") {
        operations.push(KeyOperation::Remove(word(value)?));
    }
    if flag(Some(table), "list")? {
        operations.push(KeyOperation::List);
    }
    match <[_; 1]>::try_from(operations) {
        Ok([operation]) => Ok(Verb::Key { nodes, operation }),
        Err(_) => {
            Err(table.error("key needs one of install, use, remove (each with a word for the key) and list = true"))
        }
    }
}

fn text(table: &Table<'_>, key: &'static str) -> Result<String, ScenarioError> {
    Ok(table.take(key).map(|value| value.text()).transpose()?.unwrap_or_default().to_owned())
}
