//! The files of an agent: written before anybody is told (cli.md 3.8 and 3.9).

use std::fs;
use std::path::{Path, PathBuf};

use villein_core::config::SnapshotConfig;
use villein_core::keyring::Key;
use villein_core::types::Tags;
use villein_runtime_mio::{AgentOptions, KeptFile};

use crate::client::{Value, map, text};
use crate::support::Running;

const KEY: &str = "HvY8ubRZMgafUOWvrOadwOckVa1wN3QWAo46FVKbVN8=";
const OTHER: &str = "T9jncgl9mbLus+baTTa7q7nPSUrXwbDi2dhbtqir37s=";

/// Tags as lines: what counts here is when they are written.
fn tag_lines(tags: &Tags) -> Vec<u8> {
    tags.iter().flat_map(|(key, value)| [key, b"=".as_slice(), value, b"\n"].concat()).collect()
}

fn key_lines(keys: &[Key]) -> Vec<u8> {
    keys.iter().flat_map(|key| (key.to_base64() + "\n").into_bytes()).collect()
}

fn tags_file(options: &mut AgentOptions, path: PathBuf) {
    options.files.tags = Some(KeptFile { path, encode: |tags| Ok(tag_lines(tags)) });
}

fn set_tag(one: &Running, key: &str, value: &str) -> String {
    one.client().call("tags", Some(map([("Tags", map([(key, text(value))]))])))
}

fn content(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn tags_are_in_their_file_before_the_change_is_answered() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("tags");
    let one = Running::start("t1", "127.45.3.1", |options| {
        options.restored = vec!["Restored 1 tag(s) from tags".to_owned()];
        options.config.tags.insert(b"a".to_vec(), b"1".to_vec());
        tags_file(options, path.clone());
    });
    assert!(!path.exists(), "it is written when tags change");
    one.output.wait_for("agent: Serf agent starting");
    let lines = one.output.lines();
    let at = |wanted: &str| lines.iter().position(|line| line.ends_with(wanted)).expect(wanted);
    assert!(at("[INFO] agent: Restored 1 tag(s) from tags") < at("[INFO] agent: Serf agent starting"));
    assert_eq!(set_tag(&one, "b", "2"), "");
    assert_eq!(content(&path), "a=1\nb=2\n");
}

#[test]
fn tags_that_are_refused_never_reach_their_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("tags");
    let one = Running::start("t1", "127.45.3.2", |options| tags_file(options, path.clone()));
    let refusal = set_tag(&one, "long", &"x".repeat(600));
    assert!(refusal.starts_with("Encoded length of tags exceeds limit of 512 bytes"), "{refusal}");
    assert!(!path.exists());
}

#[test]
fn tags_that_cannot_be_kept_are_not_set() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("no").join("tags");
    let one = Running::start("t1", "127.45.3.3", |options| tags_file(options, path.clone()));
    let refusal = set_tag(&one, "a", "1");
    let wanted = format!("Failed to write tags file: open {}.new: no such file or directory", path.display());
    assert_eq!(refusal, wanted);
    assert_eq!(one.client().ask("stats", None).field("tags"), &map([]));
}

#[test]
fn keys_are_in_their_file_before_the_change_is_answered() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("keys");
    let one = Running::start("t1", "127.45.3.4", |options| {
        options.config.keys = vec![Key::from_base64(KEY).expect("a key")];
        options.files.keyring = Some(KeptFile { path: path.clone(), encode: |keys| Ok(key_lines(keys)) });
    });
    let mut client = one.client();
    for (command, key, lines) in [
        ("install-key", OTHER, [KEY, OTHER].as_slice()),
        ("use-key", OTHER, &[OTHER, KEY]),
        ("remove-key", KEY, &[OTHER]),
    ] {
        client.ask(command, Some(map([("Key", text(key))])));
        assert_eq!(content(&path).lines().collect::<Vec<_>>(), lines, "{command}");
    }
    let error = client.call("remove-key", Some(map([("Key", text(OTHER))])));
    assert_eq!(error, "1/1 nodes reported failure");
    client.next().expect("a body");
    assert_eq!(content(&path), format!("{OTHER}\n"));
}

#[test]
fn keys_that_cannot_be_kept_are_a_failure_of_their_node() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("no").join("keys");
    let one = Running::start("t1", "127.45.3.5", |options| {
        options.config.keys = vec![Key::from_base64(KEY).expect("a key")];
        options.files.keyring = Some(KeptFile { path: path.clone(), encode: |keys| Ok(key_lines(keys)) });
    });
    let mut client = one.client();
    assert_eq!(client.call("install-key", Some(map([("Key", text(OTHER))]))), "1/1 nodes reported failure");
    let message = client.next().expect("a body").field("Messages").field("t1").text();
    let wanted = format!("Failed to write keyring file: open {}.new: no such file or directory", path.display());
    assert_eq!(message, wanted);
    assert_eq!(client.call("event", Some(map([("Name", text("e")), ("Coalesce", Value::Bool(false))]))), "");
}

#[test]
fn a_snapshot_that_cannot_be_opened_ends_the_start() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("no").join("snapshot");
    let started = Running::try_start("t1", "127.45.3.6", |options| {
        options.config.serf.snapshot = Some(SnapshotConfig { rejoin_after_leave: false });
        options.files.snapshot = Some(path.clone());
    });
    let (error, _) = started.err().expect("does not start");
    let wanted =
        "Failed to start the Serf agent: Error creating Serf: Failed to setup snapshot: failed to open snapshot:";
    assert_eq!(error.to_string(), format!("{wanted} open {}: no such file or directory", path.display()));
}
