//! An agent whose disk fills up and then takes nothing at all: it stays a member, says so once, and comes right by itself.

use std::process::Output;

use crate::namespaces::SmallDisk;
use crate::process::{Agent, Net, Program};

const KEY: &str = "HvY8ubRZMgafUOWvrOadwOckVa1wN3QWAo46FVKbVN8=";
const KEY_THREE: &str = "5K9OtfP7efFrNKe5WCQvXvnaXJ5cWP0SvXiwe0kkjM4=";
const OTHER_KEY: &str = "Dw4NDAsKCQgHBgUEAwIBAA==";

const UP: &str = "==> Log data will now stream in as it occurs:";
const TROUBLE: &str = "[ERR] serf: Failed to update snapshot: ";
const RECOVERY: &str = "[INFO] serf: the snapshot is written again";

fn start(disk: &SmallDisk, net: Net) -> Agent {
    let path = |name: &str| disk.path(name).to_str().expect("text").to_owned();
    let (tags, keyring, snapshot) = (path("tags"), path("keyring"), path("snapshot"));
    let words = ["-profile=local", "-tags-file", &tags, "-keyring-file", &keyring, "-snapshot", &snapshot];
    let agent = Agent::spawn(net, 21, "t1", &words, |line| disk.spawn(Program::Ours.command(line)));
    agent.process.output.wait_for(UP);
    agent
}

/// Runs a command that is refused; gives what it prints.
fn refused(agent: &Agent, words: &[&str]) -> String {
    let output: Output =
        Program::Ours.command(words).env("SERF_RPC_ADDR", &agent.rpc_addr).output().expect("it starts");
    assert_eq!(output.status.code(), Some(1), "{words:?}");
    [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat()
}

fn assert_refused(agent: &Agent, why: &str) {
    for words in [&["tags", "-set", "lost=1"], &["keys", "-install", OTHER_KEY]] {
        let text = refused(agent, words);
        assert!(text.contains(why), "{words:?}: {text}");
    }
}

#[test]
fn a_full_disk_and_one_that_cannot_be_written_are_lived_through() {
    let net = Net(125);
    let Some(disk) = SmallDisk::new(16) else { return };
    disk.run(&format!("echo '[\"{KEY}\"]' >keyring"));
    // Of the snapshot's page hardly anything is left: the next record needs another.
    disk.run("printf '#%04079d\\n' 0 >snapshot");
    let one = start(&disk, net);
    let two = Agent::start(net, 22, "t2", &["-profile=local", "-encrypt", KEY, "-join", &one.ip]);
    one.ask(&["tags", "-set", "kept=1"]);
    one.wait_for_members("t1 alive, t2 alive");
    let output = &one.process.output;

    disk.run("cat /dev/zero >fill 2>/dev/null || true");
    // Records have come to the page that is there; the first that does not fit is heard of.
    for number in 0..300 {
        if output.text().contains(TROUBLE) {
            break;
        }
        one.ask(&["event", &format!("e{number}")]);
    }
    output.wait_for(TROUBLE);
    assert!(output.text().contains("no space left on device\n"), "{}", output.text());
    assert_refused(&one, "no space left on device");
    // The file is closed, so that its directory can become one for reading alone.
    disk.run("mount -o remount,ro .");
    assert_refused(&one, "read-only file system");
    for number in 0..3 {
        one.ask(&["event", &format!("unheard-{number}")]);
    }
    assert_eq!(two.members(), "t1 alive, t2 alive");
    assert!(!one.ask(&["members"]).contains("lost="), "what is refused is not done");

    disk.run("mount -o remount,rw . && rm fill");
    one.ask(&["tags", "-set", "healed=1"]);
    one.ask(&["keys", "-install", OTHER_KEY]);
    output.wait_longer_for(RECOVERY);
    assert_eq!(output.text().matches(TROUBLE).count(), 1, "it is said once: {}", output.text());
    assert_eq!(output.text().matches(RECOVERY).count(), 1, "{}", output.text());
    assert_eq!(two.members(), "t1 alive, t2 alive");
    assert!(!two.process.output.text().contains("EventMemberFailed"), "{}", two.process.output.text());
    let event_time = field(&one, "event_time");
    let known = |text: &str| text.contains(&format!("event-clock: {}\n", event_time - 1));
    one.wait_until("the last event in the snapshot", |_| disk.read("snapshot"), |text| known(text));

    // Dropping an agent kills it.
    drop(one);
    let one = start(&disk, net);
    one.wait_for_members("t1 alive, t2 alive");
    assert!(one.ask(&["members", "-name", "t1"]).ends_with("  healed=1,kept=1\n"), "{}", disk.read("tags"));
    assert!(field(&one, "event_time") >= event_time, "{}", disk.read("snapshot"));
    let keys: Vec<String> = serde_json::from_str(&disk.read("keyring")).expect("JSON");
    assert_eq!(keys, [KEY, OTHER_KEY]);
}

/// A number of the section `serf` of `info`.
fn field(agent: &Agent, name: &str) -> u64 {
    let json: serde_json::Value = serde_json::from_str(&agent.ask(&["info", "-format=json"])).expect("JSON");
    json["serf"][name].as_str().expect("text").parse().expect("a number")
}

/// Containers have such files: the original writes them where they are, and whoever comes from it expects that.
#[test]
fn a_file_that_cannot_be_replaced_is_written_where_it_is() {
    let net = Net(164);
    let Some(disk) = SmallDisk::new(64) else { return };
    // A mount cannot be renamed over.
    disk.run(r#"echo '{"role": "a tag that is longer than what comes after it"}' >tags && mount --bind tags tags"#);
    // In a directory that is read-only nothing can be created.
    disk.run(&format!(
        "mkdir closed && echo '[\"{KEY}\"]' >open && mount -t tmpfs none closed && touch closed/keyring"
    ));
    disk.run("mount --bind open closed/keyring && mount -o remount,ro closed");
    let path = |name: &str| disk.path(name).to_str().expect("text").to_owned();
    let (tags, keyring) = (path("tags"), path("closed/keyring"));
    let words = ["-profile=local", "-tags-file", &tags, "-keyring-file", &keyring];
    let one = Agent::spawn(net, 21, "t1", &words, |line| disk.spawn(Program::Ours.command(line)));
    one.process.output.wait_for(UP);
    one.ask(&["tags", "-set", "a=1", "-delete", "role"]);
    assert_eq!(disk.read("tags"), "{\n  \"a\": \"1\"\n}");
    one.ask(&["keys", "-install", OTHER_KEY]);
    let wanted = format!("[\n  \"{KEY}\",\n  \"{OTHER_KEY}\"\n]");
    assert_eq!((disk.read("closed/keyring"), disk.read("open")), (wanted.clone(), wanted));

    // What cannot be written either is refused as before.
    disk.run("mount -o remount,ro,bind closed/keyring");
    let text = refused(&one, &["keys", "-install", KEY_THREE]);
    assert!(
        text.contains(&format!("Failed to write keyring file: open {keyring}.new: read-only file system")),
        "{text}"
    );
}
