//! `config = { … }`: the core's settings by their own names.

use std::time::Duration;

use villein_core::config::{Coalesce, Lifeguard, NackTiming, SerfConfig, SwimConfig};

use toml::de::DeTable;

use super::read::{ScenarioError, Source, Table, Value};
use crate::units::nanos;

pub(super) fn apply(table: &Table<'_>, swim: &mut SwimConfig, serf: &mut SerfConfig) -> Result<(), ScenarioError> {
    // First, because the other switches change single ones of it.
    if let Some(value) = table.take("lifeguard") {
        let ours = value.word(&[("ours", true), ("upstream", false)])?;
        swim.lifeguard = if ours { Lifeguard::OURS } else { Lifeguard::UPSTREAM };
    }
    durations(table, swim, serf)?;
    numbers(table, swim, serf)?;
    switches(table, swim, serf)?;
    if let Some(value) = table.take("coalesce") {
        serf.coalesce = coalesce(&value)?;
    }
    table.finish()
}

/// Settings as `key = value`, each as it would stand in `config`.
///
/// # Errors
/// What is wrong with one.
pub(crate) fn settings(lines: &[String], swim: &mut SwimConfig, serf: &mut SerfConfig) -> Result<(), String> {
    for line in lines {
        let root = DeTable::parse(line).map_err(|error| format!("--set {line}: {}", error.message()))?;
        let source = Source { file: "--set", text: line };
        let table = Table::new(&source, "--set", root.span(), root.get_ref());
        apply(&table, swim, serf).map_err(|error| format!("--set {line}: {}", error.problem))?;
    }
    Ok(())
}

fn durations(table: &Table<'_>, swim: &mut SwimConfig, serf: &mut SerfConfig) -> Result<(), ScenarioError> {
    for (key, field) in [
        ("stream_timeout", &mut swim.stream_timeout),
        ("push_pull_interval", &mut swim.push_pull_interval),
        ("probe_timeout", &mut swim.probe_timeout),
        ("probe_interval", &mut swim.probe_interval),
        ("gossip_interval", &mut swim.gossip_interval),
        ("gossip_to_dead", &mut swim.gossip_to_dead),
        ("dead_reclaim", &mut swim.dead_reclaim),
        ("tombstone", &mut swim.tombstone),
        ("broadcast_timeout", &mut serf.broadcast_timeout),
        ("leave_propagate_delay", &mut serf.leave_propagate_delay),
        ("reap_interval", &mut serf.reap_interval),
        ("reconnect_interval", &mut serf.reconnect_interval),
        ("reconnect_timeout", &mut serf.reconnect_timeout),
        ("tombstone_timeout", &mut serf.tombstone_timeout),
        ("recent_intent_timeout", &mut serf.recent_intent_timeout),
        ("queue_check_interval", &mut serf.queue_check_interval),
    ] {
        if let Some(value) = table.take(key) {
            *field = Duration::from_nanos(value.parsed(nanos)?);
        }
    }
    Ok(())
}

fn numbers(table: &Table<'_>, swim: &mut SwimConfig, serf: &mut SerfConfig) -> Result<(), ScenarioError> {
    for (key, field) in [
        ("indirect_checks", &mut swim.indirect_checks),
        ("retransmit_mult", &mut swim.retransmit_mult),
        ("suspicion_mult", &mut swim.suspicion_mult),
        ("suspicion_max_mult", &mut swim.suspicion_max_mult),
        ("gossip_nodes", &mut swim.gossip_nodes),
        ("query_timeout_mult", &mut serf.query_timeout_mult),
    ] {
        if let Some(value) = table.take(key) {
            *field = small(&value)?;
        }
    }
    for (key, field) in [
        ("packet_bytes", &mut swim.packet_bytes),
        ("user_event_bytes", &mut serf.user_event_bytes),
        ("query_bytes", &mut serf.query_bytes),
        ("query_response_bytes", &mut serf.query_response_bytes),
    ] {
        if let Some(value) = table.take(key) {
            *field = small(&value)? as usize;
        }
    }
    if let Some(value) = table.take("awareness_max") {
        swim.lifeguard.awareness_max = u8::try_from(value.number(1, 64)?).unwrap_or(u8::MAX);
    }
    if let Some(value) = table.take("confirmations_needed") {
        swim.lifeguard.confirmations_needed = u8::try_from(value.number(0, 8)?).ok();
    }
    Ok(())
}

fn small(value: &Value<'_>) -> Result<u32, ScenarioError> {
    Ok(u32::try_from(value.number(0, i64::from(u32::MAX))?).unwrap_or(u32::MAX))
}

fn switches(table: &Table<'_>, swim: &mut SwimConfig, serf: &mut SerfConfig) -> Result<(), ScenarioError> {
    for (key, field) in [
        ("stream_ping", &mut swim.stream_ping),
        ("awareness", &mut swim.lifeguard.awareness),
        ("scale_timeout", &mut swim.lifeguard.scale_timeout),
        ("confirmations", &mut swim.lifeguard.confirmations),
        ("buddy", &mut swim.lifeguard.buddy),
        ("hearsay_confirms", &mut swim.lifeguard.hearsay_confirms),
        ("confirmation_copies", &mut swim.lifeguard.confirmation_copies),
        ("resolve_conflicts", &mut serf.resolve_conflicts),
        ("coordinates", &mut serf.coordinates),
    ] {
        if let Some(value) = table.take(key) {
            *field = value.flag()?;
        }
    }
    let permille = |value: Value<'_>| value.number(0, 1000).map(|number| u16::try_from(number).unwrap_or(1000));
    match (table.take("nack_fitted_permille"), table.take("nack_timeout_permille")) {
        (Some(fitted), None) => swim.lifeguard.nacks = NackTiming::Fitted { permille: permille(fitted)? },
        (None, Some(part)) => swim.lifeguard.nacks = NackTiming::OfTimeout { permille: permille(part)? },
        (None, None) => {}
        (Some(_), Some(part)) => {
            return Err(
                part.error("nack_fitted_permille and nack_timeout_permille stand together; one of them is enough")
            );
        }
    }
    Ok(())
}

/// `true` is the agent's windows, `false` none, a table others.
fn coalesce(value: &Value<'_>) -> Result<Option<Coalesce>, ScenarioError> {
    if !value.is_table() {
        return Ok(value.flag()?.then_some(Coalesce::AGENT));
    }
    let table = value.table()?;
    let period = Duration::from_nanos(table.need("period")?.parsed(nanos)?);
    let quiet = Duration::from_nanos(table.need("quiet")?.parsed(nanos)?);
    table.finish()?;
    Ok(Some(Coalesce { period, quiet }))
}
