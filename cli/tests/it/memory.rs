//! What is left of a key in the memory of an agent.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use villein_core::keyring::Key;

use crate::process::{Agent, Net};

const FIRST: &str = "HvY8ubRZMgafUOWvrOadwOckVa1wN3QWAo46FVKbVN8=";
const SECOND: &str = "5K9OtfP7efFrNKe5WCQvXvnaXJ5cWP0SvXiwe0kkjM4=";
const THIRD: &str = "WbL6oaPPog4sS3UuGu7pPQHPXYDrNOcpFvWGVzoNJD8=";

/// All memory that a process may write to: heap, stacks, buffers.
fn memory(agent: &Agent) -> Vec<Vec<u8>> {
    let process = format!("/proc/{}", agent.process.id());
    let memory = File::open(format!("{process}/mem")).expect("a child's memory may be read");
    let maps = fs::read_to_string(format!("{process}/maps")).expect("it runs");
    let read = |line: &str| {
        let mut words = line.split_whitespace();
        let (begin, end) = words.next()?.split_once('-')?;
        words.next()?.strip_prefix("rw")?;
        let address = |text| u64::from_str_radix(text, 16).expect("an address");
        let mut bytes = vec![0; usize::try_from(address(end) - address(begin)).expect("it fits into memory")];
        // What cannot be read has been given back meanwhile.
        memory.read_exact_at(&mut bytes, address(begin)).ok().map(|()| bytes)
    };
    maps.lines().filter_map(read).collect()
}

/// In which of their forms keys stand there, half of one being enough: `1 raw`, `2 text`.
fn found(agent: &Agent, keys: &[&str]) -> Vec<String> {
    let memory = memory(agent);
    let holds = |bytes: &[u8]| memory.iter().any(|area| area.windows(bytes.len()).any(|window| window == bytes));
    let mut found = Vec::new();
    for (number, text) in (1..).zip(keys) {
        let key = Key::from_base64(text).expect("a key");
        let raw = key.as_bytes().split_at(16);
        if holds(raw.0) || holds(raw.1) {
            found.push(format!("{number} raw"));
        }
        let text = text.as_bytes().split_at(22);
        if holds(text.0) || holds(text.1) {
            found.push(format!("{number} text"));
        }
    }
    found
}

/// Two agents that have had three keys, of which one is left.
fn only_what_is_kept_is_found(net: Net, words: &[&str]) {
    let folder = tempfile::tempdir().expect("a directory");
    let first = net.ip(11);
    let start = |host: u8, name: &str| {
        let path = folder.path().join(name);
        fs::write(&path, format!("[\"{FIRST}\"]")).expect("a file");
        let path = path.to_str().expect("text").to_owned();
        let words = [words, &["-profile=local", "-keyring-file", &path, "-retry-join", &first]].concat();
        Agent::start(net, host, name, &words)
    };
    let agents = [start(11, "n1"), start(12, "n2")];
    for agent in &agents {
        agent.wait_for_members("n1 alive, n2 alive");
    }
    let [one, two] = &agents;
    one.ask(&["keys", "-install", SECOND]);
    two.ask(&["keys", "-install", THIRD]);
    one.ask(&["keys", "-list"]);
    let ask = |agent: &Agent| found(agent, &[FIRST, SECOND, THIRD]);
    for seen in agents.iter().map(ask) {
        assert!(["1 raw", "2 raw", "3 raw"].iter().all(|key| seen.iter().any(|seen| seen == key)), "{seen:?}");
    }
    one.ask(&["keys", "-use", SECOND]);
    two.ask(&["keys", "-remove", FIRST]);
    one.ask(&["keys", "-remove", THIRD]);
    for agent in &agents {
        // Words that wait to be gossiped hold it for a moment, and a call that is deeper overwrites the stack.
        agent.wait_until("2 raw", ask, |seen| *seen == ["2 raw"]);
    }
}

#[test]
fn a_key_that_is_removed_is_nowhere_in_memory_any_more() {
    only_what_is_kept_is_found(Net(165), &[]);
    only_what_is_kept_is_found(Net(166), &["-wire=memberlist"]);
}
