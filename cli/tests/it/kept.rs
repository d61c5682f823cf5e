//! Files that keep tags, keys and members over a restart (cli.md 3.3, 3.8 and 3.9).

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;

use crate::process::{Agent, Net, Program};
use crate::serf::transcript;

const KEY: &str = "HvY8ubRZMgafUOWvrOadwOckVa1wN3QWAo46FVKbVN8=";
const SETUP: &str = "==> Starting Serf agent...\n==> Failed to setup the Serf agent: ";

fn write(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    fs::write(&path, text).expect("a file");
    path.to_str().expect("text").to_owned()
}

#[test]
fn settings_that_exclude_each_other_are_refused() {
    let net = Net(145);
    let directory = tempfile::tempdir().expect("a directory");
    let (tags, keys) = (write(directory.path(), "t.json", "{}"), write(directory.path(), "k.json", "[]"));
    let tagged = ["-tags-file", &tags, "-role", "web"];
    let (code, text) = Agent::refused(net, 21, "t1", &tagged);
    let warning = "==> Deprecation warning: 'Role' has been replaced with 'Tags'\n";
    assert_eq!((code, text), (Some(1), warning.to_owned() + &transcript("agent-tags-conflict")));
    let encrypted = ["-keyring-file", &keys, "-encrypt", KEY];
    assert_eq!(Agent::refused(net, 21, "t1", &encrypted), (Some(1), transcript("agent-key-conflict")));
}

#[test]
fn damaged_files_are_refused_with_their_place() {
    let net = Net(146);
    let directory = tempfile::tempdir().expect("a directory");
    let gone = directory.path().join("gone.json");
    let gone = gone.to_str().expect("text");
    let bad = |name, text| write(directory.path(), name, text);
    let cases = [
        (["-keyring-file", gone], format!("stat {gone}: no such file or directory")),
        (
            ["-tags-file", &bad("t1", "{\"a\": \"b\"\n")],
            "Failed to decode tags file: unexpected end of JSON input (DIR/t1, line 2, column 1)".to_owned(),
        ),
        (
            ["-tags-file", &bad("t2", "{\"a\": 1}")],
            "Failed to decode tags file: json: cannot unmarshal number into Go value of type string (tag 'a' in DIR/t2)"
                .to_owned(),
        ),
        (["-keyring-file", &bad("k1", "[]")], "Keyring file contains no keys (DIR/k1)".to_owned()),
        (
            ["-keyring-file", &bad("k2", &format!("[\"{KEY}\", \"abc\"]"))],
            "Failed to decode key from keyring: illegal base64 data at input byte 0 (key 2 in DIR/k2)".to_owned(),
        ),
    ];
    for (words, refusal) in cases {
        let refusal = refusal.replace("DIR", directory.path().to_str().expect("text"));
        assert_eq!(Agent::refused(net, 21, "t1", &words), (Some(1), format!("{SETUP}{refusal}\n")), "{words:?}");
    }
}

#[test]
fn tags_and_keys_are_restored_and_a_hangup_keeps_them() {
    let net = Net(147);
    let directory = tempfile::tempdir().expect("a directory");
    let tags = write(directory.path(), "tf.json", r#"{"role": "web", "hello": "world"}"#);
    let keys = write(directory.path(), "k.json", &format!(r#"["{KEY}"]"#));
    let one = Agent::start(net, 21, "t1", &["-tags-file", &tags, "-keyring-file", &keys]);
    let output = &one.process.output;
    output.wait_for(&format!("[INFO] agent: Restored 2 tag(s) from {tags}\n"));
    output.wait_for(&format!("[INFO] agent: Restored keyring with 1 keys from {keys}\n"));
    assert!(output.text().contains("Encrypted: true\n"));
    assert!(one.ask(&["members"]).ends_with("  hello=world,role=web\n"));
    one.process.signal(Signal::HUP);
    output.wait_for("==> Reloading configuration...\n");
    assert!(one.ask(&["members"]).ends_with("  hello=world,role=web\n"), "the original forgets them all");
    assert_eq!(fs::read_to_string(&tags).expect("is there"), r#"{"role": "web", "hello": "world"}"#);
}

#[test]
fn a_snapshot_is_made_and_a_rejoin_without_one_is_warned_about() {
    let net = Net(148);
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("snapshot");
    let one = Agent::start(net, 21, "t1", &["-snapshot", path.to_str().expect("text")]);
    assert!(one.process.output.text().contains("Snapshot: true\n") && path.exists());
    let two = Agent::start(net, 22, "t2", &["-rejoin"]);
    let text = two.process.output.text();
    assert!(text.starts_with("==> Warning: 'RejoinAfterLeave' enabled without snapshot file\n==> Starting"), "{text}");
}

/// What an agent logs of its old acquaintances.
fn rejoins(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| line.contains("re-join") || line.contains("Re-join"));
    lines.map(|line| line.split_once("] ").map_or(line, |(_, text)| text).to_owned()).collect()
}

#[test]
fn a_killed_agent_finds_the_others_again_by_its_snapshot() {
    let net = Net(149);
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("snapshot");
    let path = path.to_str().expect("text");
    let words = ["-profile=local", "-snapshot", path];
    let two = Agent::start(net, 22, "t2", &["-profile=local"]);
    let one = Agent::start(net, 21, "t1", &[&words[..], &["-join", &two.ip]].concat());
    one.wait_for_members("t1 alive, t2 alive");
    let known = format!("alive: t2 {}:7946\n", two.ip);
    one.wait_until(
        "the other in the snapshot",
        |_| fs::read_to_string(path).unwrap_or_default(),
        |text| text.contains(&known),
    );
    drop(one);

    let one = Agent::start(net, 21, "t1", &words);
    one.wait_for_members("t1 alive, t2 alive");
    let node = format!("t2: {}:7946", two.ip);
    one.process.output.wait_for(&format!("serf: Re-joined to previously known node: {node}\n"));
    assert_eq!(
        rejoins(&one.process.output.text()),
        [
            format!("serf: Attempting re-join to previously known node: {node}"),
            format!("serf: Re-joined to previously known node: {node}"),
        ]
    );

    one.process.signal(Signal::INT);
    assert_eq!(one.process.end().0, Some(0));
    assert!(fs::read_to_string(path).expect("is there").contains("leave\n"));
    let one = Agent::start(net, 21, "t1", &words);
    one.wait_for_members("t1 alive");
    assert_eq!(rejoins(&one.process.output.text()), [""; 0], "who has left does not come back by itself");
    one.process.signal(Signal::INT);
    assert_eq!(one.process.end().0, Some(0));

    let one = Agent::start(net, 21, "t1", &[&words[..], &["-rejoin"]].concat());
    one.wait_for_members("t1 alive, t2 alive");
    one.process.output.wait_for("[INFO] serf: Ignoring previous leave in snapshot");
}

/// JSON is text: the original writes U+FFFD for each byte that is none, and does not start again with what that comes to.
#[test]
fn tags_that_are_no_text_are_refused_where_a_file_keeps_them() {
    let net = Net(161);
    let directory = tempfile::tempdir().expect("a directory");
    let tags = write(directory.path(), "tags", r#"{"role": "web"}"#);
    let one = Agent::start(net, 21, "t1", &["-tags-file", &tags]);
    let set = |agent: &Agent| {
        let mut command = Program::Ours.command(&["tags", "-rpc-addr", &agent.rpc_addr, "-set"]);
        let run = command.arg(OsStr::from_bytes(&[b"x=", &[0xfc; 300][..]].concat())).output().expect("it starts");
        (run.status.code(), String::from_utf8(run.stdout).expect("text"))
    };
    let refusal = "Error setting tags: tag 'x' cannot be kept in the tags file: it is not UTF-8\n";
    assert_eq!(set(&one), (Some(1), refusal.to_owned()));
    assert!(one.ask(&["members"]).ends_with("  role=web\n"));
    assert_eq!(fs::read_to_string(&tags).expect("is there"), r#"{"role": "web"}"#);
    let two = Agent::start(net, 22, "t2", &[]);
    assert_eq!(set(&two).0, Some(0), "nothing has to be kept");
}

fn make_pipe(path: &str) {
    mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).expect("a pipe");
}

#[test]
fn a_tags_file_that_has_become_a_pipe_refuses_and_keeps_nobody_waiting() {
    let directory = tempfile::tempdir().expect("a directory");
    let tags = write(directory.path(), "tags", "{}");
    let snapshot = directory.path().join("snapshot");
    let words = ["-tags-file", &tags, "-snapshot", snapshot.to_str().expect("text")];
    let one = Agent::start(Net(162), 21, "t1", &words);
    fs::remove_file(&tags).expect("ours");
    make_pipe(&tags);
    let run = Program::Ours.client(&one.rpc_addr, &["tags", "-set", "a=1"]);
    let refusal = format!("Error setting tags: Failed to write tags file: open {tags}: no such device or address\n");
    assert_eq!((run.code, run.stdout), (Some(1), refusal));
    one.ask(&["leave"]);
    assert_eq!(one.process.end().0, Some(0));
    assert!(fs::read_to_string(snapshot).expect("is there").contains("leave\n"), "the thread of files went on");
}

#[test]
fn a_config_file_may_be_a_pipe_at_the_start_and_not_at_a_hangup() {
    let net = Net(163);
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("config.json");
    let config = config.to_str().expect("text");
    make_pipe(config);
    let one = Agent::launch(Program::Ours, net, 21, "t1", &["-config-file", config]);
    fs::write(config, r#"{"tags": {"a": "1"}}"#).expect("the agent reads");
    one.process.output.wait_for("==> Log data will now stream in as it occurs:");
    one.process.signal(Signal::HUP);
    let why = format!(
        "Error reading '{config}': open {config}: it is no regular file, and only the start of an agent waits for one"
    );
    one.process.output.wait_for(&why);
    assert!(one.ask(&["members"]).ends_with("  a=1\n"), "it goes on as it was");
}
