//! The numbers and names that `serf info` shows (rpc.md 6, stats).

use std::thread;

use villein_core::Node;
use villein_core::rpc::{Pairs, Stats};

/// Everything about a node.
pub(crate) fn sections(node: &Node, handlers: &[(String, String)]) -> Stats {
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
        ("coordinate_resets", stats.coordinate_resets.to_string()),
    ];
    let config = node.config();
    [
        ("agent", vec![(b"name".to_vec(), config.name.as_bytes().to_vec())]),
        ("runtime", runtime().map(text).into()),
        ("serf", serf.map(text).into()),
        ("tags", node.tags().into_iter().collect()),
        ("event_handlers", handlers.iter().flat_map(|(filter, script)| handler(filter, script)).collect()),
    ]
    .map(|(name, section)| (name.as_bytes().to_vec(), section))
    .into()
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

/// The entries of one handler: `EVENT:NAME` for each event of its filter.
fn handler(filter: &str, script: &str) -> Pairs {
    let filter = if filter.is_empty() { "*" } else { filter };
    let entry = |event: &str| {
        let colon = if event.contains(':') { "" } else { ":" };
        (format!("{event}{colon}").into_bytes(), script.as_bytes().to_vec())
    };
    filter.split(',').map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handler_is_shown_under_each_event_of_its_filter() {
        for (filter, want) in [
            ("", &["*:"][..]),
            ("*", &["*:"]),
            ("member-join,user:deploy,query", &["member-join:", "user:deploy", "query:"]),
        ] {
            let keys: Vec<_> = handler(filter, "x.sh").into_iter().map(|(key, _)| key).collect();
            let want: Vec<_> = want.iter().map(|key| key.as_bytes().to_vec()).collect();
            assert_eq!(keys, want, "{filter}");
        }
    }
}
