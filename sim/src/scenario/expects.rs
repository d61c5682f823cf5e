//! `[[expect]]`: what must be so, and when.

use villein_core::event::{MemberEventKind, Status};

use super::cluster::tags;
use super::read::{ScenarioError, Table, Value, hint};
use super::{Expect, Expectation, HostId, Names};
use crate::units::nanos;

const KINDS: [&str; 11] =
    ["sees", "never", "events", "never_events", "in_order", "replies", "tags", "keys", "logs", "shutdown", "converged"];

const STATUSES: [(&str, Status); 6] = [
    ("alive", Status::Alive),
    ("leaving", Status::Leaving),
    ("left", Status::Left),
    ("failed", Status::Failed),
    ("none", Status::None),
    ("absent", Status::None),
];

const EVENTS: [(&str, MemberEventKind); 5] = [
    ("member-join", MemberEventKind::Join),
    ("member-leave", MemberEventKind::Leave),
    ("member-failed", MemberEventKind::Failed),
    ("member-update", MemberEventKind::Update),
    ("member-reap", MemberEventKind::Reap),
];

pub(super) fn expects(list: Option<Value<'_>>, names: &Names<'_>, until: u64) -> Result<Vec<Expect>, ScenarioError> {
    let mut expects = Vec::new();
    let Some(list) = list else { return Ok(expects) };
    for item in list.items()? {
        let table = item.table()?.named("[[expect]]");
        let by = table.take("by").map(|value| value.parsed(nanos)).transpose()?.unwrap_or(until);
        let from = table.take("from").map(|value| value.parsed(nanos)).transpose()?.unwrap_or(0);
        if by > until || from > by {
            return Err(table.error("from must not be after by, and by must not be after the end of the run"));
        }
        let at = table.take("at").map(|value| names.list(&value, "at")).transpose()?;
        let found: Vec<_> = KINDS.iter().filter_map(|kind| table.take(kind).map(|value| (*kind, value))).collect();
        let kind = match <[_; 1]>::try_from(found) {
            Ok([kind]) => kind,
            Err(found) if found.is_empty() => {
                table.finish()?;
                return Err(table.error(format!("[[expect]] expects nothing; known: {}", KINDS.join(", "))));
            }
            Err(found) => return Err(found[1].1.error("[[expect]] expects two things; write two of them")),
        };
        let line = kind.1.source.line(&kind.1.span);
        for what in what(kind.0, &kind.1, names)? {
            expects.push(Expect { line, from, by, at: at.clone(), what });
        }
        table.finish()?;
    }
    Ok(expects)
}

fn what(kind: &str, value: &Value<'_>, names: &Names<'_>) -> Result<Vec<Expectation>, ScenarioError> {
    Ok(vec![match kind {
        "sees" => Expectation::Sees(sees(value, names)?),
        "never" => {
            let table = value.table()?;
            let sees = sees(&table.need("sees")?, names)?;
            table.finish()?;
            Expectation::NeverSees(sees)
        }
        "events" => events(value, names)?,
        "never_events" => {
            return value
                .texts()?
                .iter()
                .map(|(_, item)| Ok(Expectation::Events { kind: item.word(&EVENTS)?, of: None, min: 0, max: 0 }))
                .collect();
        }
        "logs" => {
            let (contains, min, max) = texts(value)?;
            Expectation::Logs { contains, min, max }
        }
        "replies" => {
            let (contains, min, max) = texts(value)?;
            Expectation::Replies { contains, min, max }
        }
        "in_order" => {
            if !value.flag()? {
                return Err(value.error("in_order must be true"));
            }
            Expectation::Ordered
        }
        "tags" => {
            let mut members = Vec::new();
            for (name, value) in value.table()?.entries() {
                members.push((names.one(&name, &value, "tags")?, tags(&value)?));
            }
            Expectation::Tags(members)
        }
        "keys" => Expectation::Keys(value.texts()?.into_iter().map(|(word, _)| word.to_owned()).collect()),
        "shutdown" => Expectation::Shutdown(if value.is_list() && value.items()?.is_empty() {
            Vec::new()
        } else {
            names.list(value, "shutdown")?
        }),
        "converged" => {
            if !value.flag()? {
                return Err(value.error("converged must be true"));
            }
            Expectation::Converged
        }
        other => return Err(value.error(format!("unknown key \"{other}\" in [[expect]]{}", hint(other, &KINDS)))),
    }])
}

fn sees(value: &Value<'_>, names: &Names<'_>) -> Result<Vec<(HostId, Status)>, ScenarioError> {
    let mut sees = Vec::new();
    for (name, value) in value.table()?.entries() {
        let status = value.word(&STATUSES)?;
        sees.extend(names.some(&name, &value, "sees")?.map(|host| (host, status)));
    }
    Ok(sees)
}

fn events(value: &Value<'_>, names: &Names<'_>) -> Result<Expectation, ScenarioError> {
    let table = value.table()?;
    let text = |key| table.take(key).map(|value| value.text().map(ToOwned::to_owned)).transpose();
    let (min, max) = counts(&table)?;
    let mut kinds = EVENTS.map(|(word, kind)| (word, Some(kind))).to_vec();
    kinds.extend([("user", None), ("query", None)]);
    let kind = table.need("kind")?;
    let expectation = match kind.word(&kinds)? {
        Some(kind) => {
            let of = table.take("of").map(|value| names.list(&value, "of")).transpose()?;
            Expectation::Events { kind, of, min, max }
        }
        None if kind.text() == Ok("query") => {
            Expectation::Heard { query: true, name: text("name")?, payload: None, min, max }
        }
        None => Expectation::Heard { query: false, name: text("name")?, payload: text("payload")?, min, max },
    };
    table.finish()?;
    Ok(expectation)
}

/// A text, at least once, or a table with it and how often.
fn texts(value: &Value<'_>) -> Result<(String, u64, u64), ScenarioError> {
    if !value.is_table() {
        return Ok((value.text()?.to_owned(), 1, u64::MAX));
    }
    let table = value.table()?;
    let contains = table.need("contains")?.text()?.to_owned();
    let (min, max) = counts(&table)?;
    table.finish()?;
    Ok((contains, min, max))
}

/// `count`, or `min` and `max`; without any of them at least one.
fn counts(table: &Table<'_>) -> Result<(u64, u64), ScenarioError> {
    let number = |key| table.take(key).map(|value| value.number(0, i64::MAX).map(i64::unsigned_abs)).transpose();
    let (count, min, max) = (number("count")?, number("min")?, number("max")?);
    match (count, min, max) {
        (Some(count), None, None) => Ok((count, count)),
        (Some(_), _, _) => Err(table.error("\"count\" stands alone; \"min\" and \"max\" are for ranges")),
        (None, None, None) => Ok((1, u64::MAX)),
        (None, min, max) => Ok((min.unwrap_or(0), max.unwrap_or(u64::MAX))),
    }
}
