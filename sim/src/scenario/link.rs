//! `[link]`, `[[link]]` and the step `link`.

use super::read::{ScenarioError, Table, Value};
use super::{Link, LinkRule, Names};
use crate::units::{Chance, Delay};

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
        refuse: chance("refuse")?,
        reset: chance("reset")?,
    };
    table.finish()?;
    Ok(rule)
}
