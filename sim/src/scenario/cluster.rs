//! `[run]`, `[cluster]` and `[[node]]`.

use std::collections::BTreeMap;

use toml::de::DeTable;
use villein_core::config::{Profile, RetryJoin, SerfConfig, SnapshotConfig, SwimConfig, Wire};
use villein_core::log::Level;
use villein_core::types::Tags;

use super::read::{ScenarioError, Source, Table, Value};
use super::{HandlerAnswer, Link, Names, NodeSpec, Scenario, Start, expects, knobs, link, steps};
use crate::units::{Delay, nanos};

/// What nodes can speak.
pub(super) const WIRES: [(&str, Wire); 3] =
    [("auto", Wire::Auto), ("native", Wire::Native), ("memberlist", Wire::Memberlist)];

/// The largest cluster: one host has one address of 10.0.0.0/8.
const NODES_MAX: i64 = 20_000;

pub(super) fn scenario(source: &Source<'_>) -> Result<Scenario, ScenarioError> {
    let root = DeTable::parse(source.text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        source.error(&span, error.message())
    })?;
    let root = Table::new(source, "the scenario", root.span(), root.get_ref());
    let run = root.need("run")?.table()?.named("[run]");
    let cluster = root.need("cluster")?.table()?.named("[cluster]");
    let (profile, mut nodes) = nodes(&cluster)?;
    let start = match cluster.take("start") {
        Some(value) => value.word(&[("join", Start::Join), ("joined", Start::Joined), ("apart", Start::Apart)])?,
        None => Start::Join,
    };
    let encrypt = cluster.take("encrypt").map(|value| value.flag()).transpose()?.unwrap_or(false);
    let label = cluster.take("label").map(|value| value.text()).transpose()?.unwrap_or_default().to_owned();
    cluster.finish()?;
    overrides(&root, &mut nodes)?;
    let names = Names(&nodes);
    let (link, rules) = match root.take("link") {
        Some(value) => link::links(&value, &names)?,
        None => (Link::PERFECT, Vec::new()),
    };
    let (title, seed, plays, until, logs) = (
        run.take("title").map(|value| value.text()).transpose()?.unwrap_or_default().to_owned(),
        run.take("seed").map(|value| value.number(0, i64::MAX)).transpose()?.unwrap_or(1).unsigned_abs(),
        run.take("plays")
            .map(|value| value.number(1, 2))
            .transpose()?
            .map_or(2, |plays| if plays == 1 { 1 } else { 2 }),
        run.need("until")?.parsed(nanos)?,
        run.take("logs").map(|value| logs(&value)).transpose()?.flatten(),
    );
    run.take("description").map(|value| value.text()).transpose()?;
    run.finish()?;
    let steps = steps::steps(root.take("step"), &names, until)?;
    let expects = expects::expects(root.take("expect"), &names, until)?;
    root.finish()?;
    let file = source.file.to_owned();
    let scenario = Scenario {
        file,
        title,
        seed,
        plays,
        until,
        logs,
        profile,
        start,
        encrypt,
        label,
        nodes,
        link,
        rules,
        steps,
        expects,
    };
    check(source, &cluster, &scenario)?;
    Ok(scenario)
}

/// `true` means WARN and ERR.
fn logs(value: &Value<'_>) -> Result<Option<Level>, ScenarioError> {
    if value.is_text() {
        let levels = [("debug", Level::Debug), ("info", Level::Info), ("warn", Level::Warn), ("err", Level::Err)];
        return value.word(&levels).map(Some);
    }
    Ok(value.flag()?.then_some(Level::Warn))
}

/// The cluster's nodes with what holds for all of them.
fn nodes(cluster: &Table<'_>) -> Result<(Profile, Vec<NodeSpec>), ScenarioError> {
    let profile = match cluster.take("profile") {
        Some(value) => value.word(&[("lan", Profile::Lan), ("wan", Profile::Wan), ("local", Profile::Local)])?,
        None => Profile::Lan,
    };
    let names: Vec<String> = match (cluster.take("nodes"), cluster.take("count")) {
        (Some(list), None) => list.texts()?.into_iter().map(|(name, _)| name.to_owned()).collect(),
        (None, Some(count)) => (1..=count.number(1, NODES_MAX)?).map(|number| format!("n{number}")).collect(),
        (None, None) => return Err(cluster.error("[cluster] needs \"nodes\" (a list of names) or \"count\"")),
        (Some(_), Some(count)) => {
            return Err(count.error("[cluster] has \"nodes\" and \"count\"; one of them is enough"));
        }
    };
    let mut seen = std::collections::BTreeSet::new();
    if let Some(name) = names.iter().find(|name| name.is_empty() || name.as_str() == "*" || !seen.insert(name.as_str()))
    {
        return Err(cluster.error(format!("node name \"{name}\" is empty, \"*\" or stands twice in [cluster]")));
    }
    let (mut swim, mut serf) = (SwimConfig::new(profile), SerfConfig::default());
    if let Some(config) = cluster.take("config") {
        knobs::apply(&config.table()?, &mut swim, &mut serf)?;
    }
    files(cluster, &mut serf)?;
    let answers = answers(cluster)?;
    let wire = cluster.take("wire").map(|value| value.word(&WIRES)).transpose()?.unwrap_or(Wire::Native);
    let persist = cluster.take("persist").map(|value| value.flag()).transpose()?.unwrap_or(true);
    let compress = cluster.take("compress").map(|value| value.flag()).transpose()?.unwrap_or(true);
    let mut nodes: Vec<NodeSpec> = names
        .into_iter()
        .map(|name| NodeSpec {
            name,
            swim: swim.clone(),
            serf: serf.clone(),
            tags: Tags::new(),
            wire,
            compress,
            persist,
            down: false,
            drift_ppm: 0,
            answers: answers.clone(),
        })
        .collect();
    if let Some(value) = cluster.take("retry_join") {
        let retry = retry_join(&value, &Names(&nodes))?;
        for node in &mut nodes {
            node.serf.retry_join = Some(retry.clone());
        }
    }
    Ok((profile, nodes))
}

/// `[[node]]`: what is otherwise for some nodes.
fn overrides(root: &Table<'_>, nodes: &mut [NodeSpec]) -> Result<(), ScenarioError> {
    let Some(list) = root.take("node") else { return Ok(()) };
    for item in list.items()? {
        let table = item.table()?.named("[[node]]");
        let names = Names(nodes);
        let hosts = names.list(&table.need("name")?, "[[node]]")?;
        let retry = table.take("retry_join").map(|value| retry_join(&value, &names)).transpose()?;
        let down = table.take("down").map(|value| value.flag()).transpose()?;
        let persist = table.take("persist").map(|value| value.flag()).transpose()?;
        let drift = table.take("drift_ppm").map(|value| value.number(-100_000, 100_000)).transpose()?;
        let tags = table.take("tags").map(|value| tags(&value)).transpose()?;
        let answers = answers(&table)?;
        let wire = table.take("wire").map(|value| value.word(&WIRES)).transpose()?;
        for host in hosts {
            let node = &mut nodes[host.index()];
            if let Some(config) = table.take("config") {
                knobs::apply(&config.table()?, &mut node.swim, &mut node.serf)?;
            }
            files(&table, &mut node.serf)?;
            node.answers.extend(answers.clone());
            node.serf.retry_join = retry.clone().or_else(|| node.serf.retry_join.take());
            node.wire = wire.unwrap_or(node.wire);
            node.down = down.unwrap_or(node.down);
            node.persist = persist.unwrap_or(node.persist);
            node.drift_ppm = drift.and_then(|ppm| i32::try_from(ppm).ok()).unwrap_or(node.drift_ppm);
            node.tags = tags.clone().unwrap_or_else(|| node.tags.clone());
        }
        table.finish()?;
    }
    Ok(())
}

fn retry_join(value: &Value<'_>, names: &Names<'_>) -> Result<RetryJoin, ScenarioError> {
    let table = value.table()?;
    let retry = RetryJoin {
        targets: names.targets(&table.need("targets")?)?,
        interval: match table.take("interval") {
            Some(value) => std::time::Duration::from_nanos(value.parsed(nanos)?),
            None => std::time::Duration::from_secs(30),
        },
        max: match table.take("max") {
            Some(value) => u32::try_from(value.number(0, i64::from(u32::MAX))?).unwrap_or(u32::MAX),
            None => 0,
        },
        replay: table.take("replay").map(|value| value.flag()).transpose()?.unwrap_or(false),
    };
    table.finish()?;
    Ok(retry)
}

/// Which of the agent's files nodes have.
fn files(table: &Table<'_>, serf: &mut SerfConfig) -> Result<(), ScenarioError> {
    if let Some(value) = table.take("snapshot") {
        serf.snapshot = if value.is_table() {
            let table = value.table()?;
            let rejoin = table.need("rejoin_after_leave")?.flag()?;
            table.finish()?;
            Some(SnapshotConfig { rejoin_after_leave: rejoin })
        } else {
            value.flag()?.then_some(SnapshotConfig { rejoin_after_leave: false })
        };
    }
    for (key, field) in [("tags_file", &mut serf.tags_file), ("keyring_file", &mut serf.keyring_file)] {
        if let Some(value) = table.take(key) {
            *field = value.flag()?;
        }
    }
    Ok(())
}

/// Queries that nodes answer: a text alone, or one with the time that it takes.
fn answers(table: &Table<'_>) -> Result<BTreeMap<String, HandlerAnswer>, ScenarioError> {
    let Some(value) = table.take("answers") else { return Ok(BTreeMap::new()) };
    let at_once = Delay::Uniform(1_000_000, 5_000_000);
    let answer = |(name, value): (String, Value<'_>)| {
        if value.is_text() {
            return Ok((name, HandlerAnswer { payload: value.text()?.to_owned(), after: at_once }));
        }
        let table = value.table()?;
        let payload = table.need("payload")?.text()?.to_owned();
        let after = table.take("after").map(|value| value.parsed(Delay::read)).transpose()?.unwrap_or(at_once);
        table.finish()?;
        Ok((name, HandlerAnswer { payload, after }))
    };
    value.table()?.entries().into_iter().map(answer).collect()
}

pub(super) fn tags(value: &Value<'_>) -> Result<Tags, ScenarioError> {
    let mut tags = Tags::new();
    for (key, value) in value.table()?.entries() {
        tags.insert(key.into_bytes(), value.text()?.as_bytes().to_vec());
    }
    Ok(tags)
}

/// Lets the core judge each node's configuration before anything runs.
fn check(source: &Source<'_>, cluster: &Table<'_>, scenario: &Scenario) -> Result<(), ScenarioError> {
    if scenario.until == 0 {
        return Err(source.error(&cluster.span, "[run] until must be later than 0s"));
    }
    for host in scenario.hosts() {
        let node = &scenario.nodes[host.index()];
        crate::host::config(scenario, host, scenario.seed)
            .validate()
            .map_err(|error| cluster.error(format!("node \"{}\": {error}", node.name)))?;
        if scenario.start == Start::Joined && node.down {
            return Err(
                cluster.error(format!("node \"{}\" is down, so the cluster cannot start \"joined\"", node.name))
            );
        }
    }
    Ok(())
}
