//! `[[step]]`: one verb at one time.

use std::net::IpAddr;

use villein_core::io::Activity;

use super::read::{ScenarioError, Table, Value, hint};
use super::{Answer, DiskFault, HostId, Names, Step, Verb, cluster, commands, link};
use crate::units::{Delay, nanos};

const VERBS: [&str; 26] = [
    "cut",
    "cut_one_way",
    "heal",
    "crash",
    "restart",
    "pause",
    "resume",
    "join",
    "leave",
    "rejoin",
    "force_leave",
    "event",
    "query",
    "tags",
    "key",
    "unplug",
    "plug",
    "disk_full",
    "disk_slow",
    "disk_freed",
    "clock",
    "forge",
    "link",
    "dns",
    "stall",
    "unstall",
];

/// How often one step may be repeated.
const TIMES_MAX: i64 = 100_000;

pub(super) fn steps(list: Option<Value<'_>>, names: &Names<'_>, until: u64) -> Result<Vec<Step>, ScenarioError> {
    let mut steps = Vec::new();
    let Some(list) = list else { return Ok(steps) };
    for item in list.items()? {
        let table = item.table()?.named("[[step]]");
        let at_value = table.need("at")?;
        let at = at_value.parsed(nanos)?;
        let (every, times) = repeats(&table)?;
        let (verb, value) = one_verb(&table)?;
        let line = value.source.line(&value.span);
        let verb = read_verb(verb, &value, names)?;
        table.finish()?;
        for round in 0..times {
            let at = at.saturating_add(every.saturating_mul(round));
            if at > until {
                return Err(at_value.error(format!("at: {} is after the end of the run", crate::units::Seconds(at))));
            }
            let mut verb = verb.clone();
            if let Verb::Event { numbers, .. } = &mut verb {
                let before = round * (numbers.end - numbers.start);
                *numbers = numbers.start + before..numbers.end + before;
            }
            steps.push(Step { at, line, verb });
        }
    }
    // A stable sort: what stands first in the file happens first.
    steps.sort_by_key(|step| step.at);
    Ok(steps)
}

fn repeats(table: &Table<'_>) -> Result<(u64, u64), ScenarioError> {
    match (table.take("every"), table.take("times")) {
        (None, None) => Ok((0, 1)),
        (Some(every), Some(times)) => Ok((every.parsed(nanos)?, times.number(1, TIMES_MAX)?.unsigned_abs())),
        (Some(_), None) => Err(table.error("\"every\" needs \"times\"")),
        (None, Some(_)) => Err(table.error("\"times\" needs \"every\"")),
    }
}

fn one_verb<'a>(table: &Table<'a>) -> Result<(&'static str, Value<'a>), ScenarioError> {
    let verbs: Vec<_> = VERBS.iter().filter_map(|verb| table.take(verb).map(|value| (*verb, value))).collect();
    match <[_; 1]>::try_from(verbs) {
        Ok([verb]) => Ok(verb),
        Err(verbs) if verbs.is_empty() => {
            let other =
                table.entries().into_iter().find(|(name, _)| !["at", "every", "times"].contains(&name.as_str()));
            Err(match other {
                Some((name, value)) => {
                    value.error(format!("unknown verb \"{name}\" in [[step]]{}", hint(&name, &VERBS)))
                }
                None => table.error(format!("[[step]] has no verb; known: {}", VERBS.join(", "))),
            })
        }
        Err(verbs) => {
            let names: Vec<&str> = verbs.iter().map(|(name, _)| *name).collect();
            Err(verbs[1].1.error(format!(
                "[[step]] has {} verbs ({}); one step has one",
                names.len(),
                names.join(", ")
            )))
        }
    }
}

fn read_verb(verb: &str, value: &Value<'_>, names: &Names<'_>) -> Result<Verb, ScenarioError> {
    let hosts = || names.list(value, verb);
    Ok(match verb {
        "cut" => cut(value, names)?,
        "cut_one_way" => {
            let table = value.table()?;
            let from = names.list(&table.need("from")?, "cut_one_way")?;
            let to = names.list(&table.need("to")?, "cut_one_way")?;
            table.finish()?;
            Verb::CutOneWay { from, to }
        }
        "heal" => match value.text() {
            Ok("all") => Verb::Heal(None),
            Ok(_) => return Err(value.error("heal must be \"all\" or groups such as [[\"a\"], [\"b\", \"c\"]]")),
            Err(_) => Verb::Heal(Some(groups(value, names, "heal")?)),
        },
        "crash" => {
            let (nodes, table) = nodes_of(value, names, verb)?;
            let power = flag(table.as_ref(), "power")?;
            finish(table)?;
            Verb::Crash { nodes, power }
        }
        "restart" => restart(value, names)?,
        "pause" => Verb::Pause(hosts()?),
        "resume" => Verb::Resume(hosts()?),
        "join" => {
            let table = value.table()?;
            let nodes = names.list(&table.need("nodes")?, "join")?;
            let targets = names.targets(&table.need("targets")?)?;
            let replay = flag(Some(&table), "replay")?;
            table.finish()?;
            Verb::Join { nodes, targets, replay }
        }
        "leave" => {
            let (nodes, table) = nodes_of(value, names, verb)?;
            let stay = flag(table.as_ref(), "stay")?;
            finish(table)?;
            Verb::Leave { nodes, stay }
        }
        "rejoin" => Verb::Rejoin(hosts()?),
        "force_leave" => whole(value, |table| commands::force_leave(table, names))?,
        "event" => whole(value, |table| commands::event(table, names))?,
        "query" => whole(value, |table| commands::query(table, names))?,
        "tags" => whole(value, |table| commands::change_tags(table, names))?,
        "key" => whole(value, |table| commands::key(table, names))?,
        "unplug" => Verb::Unplug(hosts()?),
        "plug" => Verb::Plug(hosts()?),
        "disk_full" => Verb::Disk { nodes: hosts()?, disk: DiskFault::Full },
        "disk_freed" => Verb::Disk { nodes: hosts()?, disk: DiskFault::None },
        "disk_slow" => whole(value, |table| {
            let nodes = names.list(&table.need("nodes")?, verb)?;
            Ok(Verb::Disk { nodes, disk: DiskFault::Slow(table.need("by")?.parsed(Delay::read)?) })
        })?,
        "clock" => whole(value, |table| {
            let nodes = names.list(&table.need("nodes")?, verb)?;
            Ok(Verb::Clock { nodes, forward: table.need("forward")?.parsed(nanos)? })
        })?,
        "forge" => whole(value, |table| {
            let nodes = names.list(&table.need("nodes")?, verb)?;
            let count = table.take("count").map(|value| value.number(1, TIMES_MAX)).transpose()?.unwrap_or(1);
            Ok(Verb::Forge { nodes, count: count.unsigned_abs() })
        })?,
        "link" => Verb::Link(link::rule(&value.table()?, names)?),
        "dns" => Verb::Dns(dns(value, names)?),
        "stall" => {
            let (nodes, activities) = stall(value, names)?;
            Verb::Stall { nodes, activities }
        }
        "unstall" => {
            let (nodes, activities) = stall(value, names)?;
            Verb::Unstall { nodes, activities }
        }
        other => return Err(value.error(format!("unknown verb \"{other}\" in [[step]]{}", hint(other, &VERBS)))),
    })
}

/// A table that holds nothing but what `read` asks for.
fn whole<'a>(
    value: &Value<'a>,
    read: impl Fn(&Table<'a>) -> Result<Verb, ScenarioError>,
) -> Result<Verb, ScenarioError> {
    let table = value.table()?;
    let verb = read(&table)?;
    table.finish()?;
    Ok(verb)
}

/// Nodes alone, or a table with `nodes` and more.
fn nodes_of<'a>(
    value: &Value<'a>,
    names: &Names<'_>,
    verb: &str,
) -> Result<(Vec<HostId>, Option<Table<'a>>), ScenarioError> {
    if !value.is_table() {
        return Ok((names.list(value, verb)?, None));
    }
    let table = value.table()?;
    Ok((names.list(&table.need("nodes")?, verb)?, Some(table)))
}

pub(super) fn flag(table: Option<&Table<'_>>, key: &'static str) -> Result<bool, ScenarioError> {
    Ok(table.and_then(|table| table.take(key)).map(|value| value.flag()).transpose()?.unwrap_or(false))
}

fn finish(table: Option<Table<'_>>) -> Result<(), ScenarioError> {
    table.map_or(Ok(()), |table| table.finish())
}

fn groups(value: &Value<'_>, names: &Names<'_>, verb: &str) -> Result<Vec<Vec<HostId>>, ScenarioError> {
    let groups: Vec<Vec<HostId>> =
        value.items()?.iter().map(|group| names.list(group, verb)).collect::<Result<_, _>>()?;
    let mut seen = std::collections::BTreeSet::new();
    if groups.len() < 2 || groups.iter().flatten().any(|host| !seen.insert(*host)) {
        return Err(value.error(format!("{verb} must be two or more groups, and no node may stand in two of them")));
    }
    Ok(groups)
}

fn cut(value: &Value<'_>, names: &Names<'_>) -> Result<Verb, ScenarioError> {
    if !value.is_table() {
        return Ok(Verb::Cut { groups: groups(value, names, "cut")?, reset: false });
    }
    let table = value.table()?;
    let groups = groups(&table.need("groups")?, names, "cut")?;
    let reset = flag(Some(&table), "reset")?;
    table.finish()?;
    Ok(Verb::Cut { groups, reset })
}

fn restart(value: &Value<'_>, names: &Names<'_>) -> Result<Verb, ScenarioError> {
    let (nodes, table) = nodes_of(value, names, "restart")?;
    let (mut disk, mut join, mut name, mut wire) = (true, None, None, None);
    if let Some(table) = table {
        if let Some(value) = table.take("disk") {
            disk = value.word(&[("kept", true), ("lost", false)])?;
        }
        join = table.take("join").map(|value| names.targets(&value)).transpose()?;
        name = table.take("as").map(|value| names.one(value.text()?, &value, "as")).transpose()?;
        wire = table.take("wire").map(|value| value.word(&cluster::WIRES)).transpose()?;
        table.finish()?;
    }
    Ok(Verb::Restart { nodes, disk, join, name: name.map(|host| names.0[host.index()].name.clone()), wire })
}

fn dns(value: &Value<'_>, names: &Names<'_>) -> Result<Vec<(String, Answer)>, ScenarioError> {
    let mut answers = Vec::new();
    for (name, value) in value.table()?.entries() {
        if names.find(&name).is_some() {
            return Err(value.error(format!("dns: \"{name}\" is a node; choose a name that no node has")));
        }
        let answer = match value.text() {
            Ok(text) => Answer::Error(text.to_owned()),
            Err(_) => Answer::Addresses(
                value.texts()?.iter().map(|(text, item)| address(text, item, names)).collect::<Result<_, _>>()?,
            ),
        };
        answers.push((name, answer));
    }
    Ok(answers)
}

fn address(text: &str, item: &Value<'_>, names: &Names<'_>) -> Result<IpAddr, ScenarioError> {
    match text.parse() {
        Ok(ip) => Ok(ip),
        Err(_) => names.one(text, item, "dns").map(|host| crate::network::addr(host).ip()),
    }
}

/// What can be stalled: everything but the upkeep.
pub(crate) const ACTIVITIES: [(&str, Activity); 7] = [
    ("probe", Activity::Probe),
    ("gossip", Activity::Gossip),
    ("push_pull", Activity::PushPull),
    ("receiver", Activity::Receiver),
    ("nack", Activity::Nack),
    ("stream", Activity::Stream),
    ("serf", Activity::Serf),
];

fn stall(value: &Value<'_>, names: &Names<'_>) -> Result<(Vec<HostId>, Vec<Activity>), ScenarioError> {
    let verb = value.what.as_str();
    let (nodes, table) = nodes_of(value, names, verb)?;
    let mut activities: Vec<Activity> = ACTIVITIES.iter().map(|&(_, activity)| activity).collect();
    if let Some(table) = table {
        if let Some(value) = table.take("activities") {
            let all = if value.is_list() { value.items()? } else { vec![value] };
            activities = all.iter().map(|item| item.word(&ACTIVITIES)).collect::<Result<_, _>>()?;
        }
        table.finish()?;
    }
    Ok((nodes, activities))
}
