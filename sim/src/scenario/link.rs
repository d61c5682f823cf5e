//! `[link]`, `[[link]]` and the step `link`.

use super::read::{ScenarioError, Table, Value};
use super::{Block, Link, LinkRule, Names};
use crate::units::{Chance, Delay, nanos};

const BLOCKS: [(&str, Block); 3] = [("none", Block::Nothing), ("udp", Block::Datagrams), ("tcp", Block::Streams)];

/// `[link]` is about every link; of `[[link]]`, entries without `from` and `to` are.
pub(super) fn links(value: &Value<'_>, names: &Names<'_>) -> Result<(Link, Vec<LinkRule>), ScenarioError> {
    let mut link = Link::PERFECT;
    if value.is_table() {
        rule(&value.table()?, names)?.apply(&mut link);
        return Ok((link, Vec::new()));
    }
    let rules = value.items()?.iter().map(|item| rule(&item.table()?, names)).collect::<Result<_, _>>()?;
    Ok((link, rules))
}

pub(super) fn rule(table: &Table<'_>, names: &Names<'_>) -> Result<LinkRule, ScenarioError> {
    let hosts = |key| table.take(key).map(|value| names.list(&value, key)).transpose();
    let chance = |key| table.take(key).map(|value| value.parsed(Chance::read)).transpose();
    let delay = |key| table.take(key).map(|value| value.parsed(Delay::read)).transpose();
    let rule = LinkRule {
        from: hosts("from")?,
        to: hosts("to")?,
        both: table.take("both").map(|value| value.flag()).transpose()?.unwrap_or(false),
        delay: delay("delay")?,
        loss: chance("loss")?,
        duplicate: chance("duplicate")?,
        reorder: chance("reorder")?,
        reorder_delay: delay("reorder_delay")?,
        corrupt: chance("corrupt")?,
        truncate: chance("truncate")?,
        mtu: table.take("mtu").map(|value| mtu(&value)).transpose()?,
        clog: table.take("clog").map(|value| value.parsed(nanos)).transpose()?,
        block: table.take("block").map(|value| value.word(&BLOCKS)).transpose()?,
        refuse: chance("refuse")?,
        reset: chance("reset")?,
    };
    table.finish()?;
    Ok(rule)
}

/// A number of bytes, or `"none"`.
fn mtu(value: &Value<'_>) -> Result<Option<u32>, ScenarioError> {
    if value.is_text() {
        return value.word(&[("none", None)]);
    }
    Ok(u32::try_from(value.number(1, i64::from(u32::MAX))?).ok())
}
