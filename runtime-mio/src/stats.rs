//! The numbers and names that `serf info` shows (rpc.md 6, stats).

use std::collections::BTreeMap;
use std::thread;

use villein_core::Node;
use villein_core::keyring::SEALED_MAX;
use villein_core::rpc::{Pairs, Stats};

use crate::event_script::EventScript;

/// Members that do not understand the native encoding and are named; more are counted.
const STRANGERS_SHOWN: usize = 5;

/// Everything about a node.
pub(crate) fn sections(node: &Node, scripts: &[EventScript]) -> Stats {
    let stats = node.stats();
    let serf = [
        ("members", stats.members.to_string()),
        ("failed", stats.failed.to_string()),
        ("left", stats.left.to_string()),
        ("health_score", stats.health_score.to_string()),
        ("member_time", stats.member_time.0.to_string()),
        ("event_time", stats.event_time.0.to_string()),
        ("query_time", stats.query_time.0.to_string()),
        ("intent_queue", stats.intent_queue.to_string()),
        ("event_queue", stats.event_queue.to_string()),
        ("query_queue", stats.query_queue.to_string()),
        ("encrypted", stats.encrypted.to_string()),
    ];
    let resets = stats.coordinate_resets.map(|resets| ("coordinate_resets", resets.to_string()));
    let config = node.config();
    let label = (!config.label.is_empty()).then(|| ("label", String::from_utf8_lossy(&config.label).into_owned()));
    let strangers = (stats.strangers > 0).then(|| ("because_of", strangers(node, stats.strangers)));
    let gossip = [("encoding", stats.encoding.to_string()), ("wire", config.wire.to_string())];
    let budget = stats.encrypted.then(|| ("key_budget", key_budget(stats.sealed, stats.sealed_by_all)));
    [
        ("agent", vec![(b"name".to_vec(), config.name.as_bytes().to_vec())]),
        ("runtime", runtime().map(text).into()),
        ("gossip", gossip.into_iter().chain(strangers).chain(label).chain(budget).map(text).collect()),
        ("serf", serf.into_iter().chain(resets).map(text).collect()),
        ("tags", node.tags().into_iter().collect()),
        ("event_handlers", handlers(scripts)),
    ]
    .map(|(name, section)| (name.as_bytes().to_vec(), section))
    .into()
}

/// The live members because of whom memberlist's encoding is spoken: the first of them by name.
fn strangers(node: &Node, count: usize) -> String {
    let mut names = node.strangers();
    names.truncate(STRANGERS_SHOWN);
    let shown = names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match count.saturating_sub(names.len()) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// How much of what may be sealed with one key has been, if all members seal as much as this agent since it started.
fn key_budget(sealed: u64, all: u64) -> String {
    let hundredths = u128::from(all) * 10_000 / u128::from(SEALED_MAX);
    format!("{}.{:02} % ({sealed} messages sealed here)", hundredths / 100, hundredths % 100)
}

fn text((key, value): (&'static str, String)) -> (Vec<u8>, Vec<u8>) {
    (key.as_bytes().to_vec(), value.into_bytes())
}

/// What Go's runtime says of itself there; ours has one thread that does all the work.
fn runtime() -> [(&'static str, String); 6] {
    [
        ("os", std::env::consts::OS.to_owned()),
        ("arch", go_arch(std::env::consts::ARCH).to_owned()),
        ("version", concat!("villein", env!("CARGO_PKG_VERSION")).to_owned()),
        ("max_procs", "1".to_owned()),
        ("goroutines", "1".to_owned()),
        ("cpu_count", thread::available_parallelism().map_or(1, usize::from).to_string()),
    ]
}

/// Go's name of a processor.
fn go_arch(arch: &str) -> &str {
    match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "loongarch64" => "loong64",
        "powerpc64" => "ppc64",
        other => other,
    }
}

/// The scripts by their filters; of several with one filter the last is shown, as upstream does.
fn handlers(scripts: &[EventScript]) -> Pairs {
    let shown: BTreeMap<String, &String> = scripts.iter().map(|script| (script.filter(), &script.script)).collect();
    shown.into_iter().map(|(filter, script)| (filter.into_bytes(), script.clone().into_bytes())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keys_budget_is_that_of_all_members() {
        assert_eq!(key_budget(429_497, 42_949_700), "1.00 % (429497 messages sealed here)");
        assert_eq!(key_budget(0, 0), "0.00 % (0 messages sealed here)");
    }

    #[test]
    fn of_several_scripts_with_one_filter_the_last_is_shown() {
        let parse = |text| EventScript::parse(text).expect("reads");
        let scripts = [parse("user:a,query=1.sh"), parse("2.sh"), parse("query=3.sh")].concat();
        let want = [("*:", "2.sh"), ("query:", "3.sh"), ("user:a", "1.sh")];
        assert_eq!(handlers(&scripts), want.map(|(key, script)| (key.as_bytes().to_vec(), script.as_bytes().to_vec())));
    }
}
