//! What a step changes about links, in a few words.

use crate::scenario::{Block, LinkRule};
use crate::units::{Chance, Delay};

/// What a rule about links changes.
pub(super) fn settings(rule: &LinkRule) -> String {
    let percent = |chance: Chance| match (chance.0 / 10_000, chance.0 % 10_000) {
        (whole, 0) => format!("{whole}%"),
        (whole, rest) => format!("{whole}.{}%", format!("{rest:04}").trim_end_matches('0')),
    };
    let chances = [
        ("loss", rule.loss),
        ("duplicate", rule.duplicate),
        ("reorder", rule.reorder),
        ("corrupt", rule.corrupt),
        ("truncate", rule.truncate),
        ("refuse", rule.refuse),
        ("reset", rule.reset),
    ];
    let chances =
        chances.iter().filter_map(|(name, chance)| chance.map(|chance| format!("{name} {}", percent(chance))));
    let delay = rule.delay.map(|by| format!("delay {}", delay(by)));
    let mtu = rule.mtu.map(|mtu| mtu.map_or_else(|| "no mtu".to_owned(), |mtu| format!("mtu {mtu}")));
    let clog = rule.clog.map(|clog| format!("clog {}", length(clog)));
    let block = rule.block.map(|block| match block {
        Block::Nothing => "nothing blocked".to_owned(),
        Block::Datagrams => "udp blocked".to_owned(),
        Block::Streams => "tcp blocked".to_owned(),
    });
    delay.into_iter().chain(chances).chain(mtu).chain(clog).chain(block).collect::<Vec<_>>().join(", ")
}

/// A delay as a scenario writes it.
pub(super) fn delay(delay: Delay) -> String {
    match delay {
        Delay::Fixed(nanos) => length(nanos),
        Delay::Uniform(low, high) => format!("{}..{}", length(low), length(high)),
        Delay::Bell(middle, deviation) => format!("{}~{}", length(middle), length(deviation)),
        Delay::Tail(least, mean) => format!("{}+{}", length(least), length(mean)),
    }
}

/// A time in milliseconds, down to a hundredth of one.
fn length(nanos: u64) -> String {
    match (nanos / 1_000_000, nanos % 1_000_000 / 10_000) {
        (whole, 0) => format!("{whole}ms"),
        (whole, rest) => format!("{whole}.{}ms", format!("{rest:02}").trim_end_matches('0')),
    }
}
