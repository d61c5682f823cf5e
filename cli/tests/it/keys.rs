//! `keys -status` and `keys -rotate` on real clusters.

use std::fs;

use rustix::process::Signal;
use villein_core::keyring::Key;

use crate::process::{Agent, Net, Program, original, three};
use crate::serf::serf;

const OLD: &str = "HvY8ubRZMgafUOWvrOadwOckVa1wN3QWAo46FVKbVN8=";
const NEW: &str = "5K9OtfP7efFrNKe5WCQvXvnaXJ5cWP0SvXiwe0kkjM4=";
const LAN: [&str; 2] = ["-profile", "local"];

fn shown(text: &str) -> String {
    text.replace(OLD, "OLD").replace(NEW, "NEW")
}

/// What a command prints that may fail, and its exit code.
fn run(agent: &Agent, words: &[&str]) -> (Option<i32>, String) {
    let run = Program::Ours.client(&agent.rpc_addr, words);
    (run.code, shown(&run.stdout))
}

/// Three agents that keep their keys in files, and the folder of these.
fn keyed(net: Net) -> ([Agent; 3], tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a directory");
    let first = net.ip(11);
    let start = |host: u8, name: &str| {
        let path = folder.path().join(name);
        fs::write(&path, format!("[\"{OLD}\"]")).expect("a file");
        let path = path.to_str().expect("text").to_owned();
        Agent::start(net, host, name, &[&LAN[..], &["-keyring-file", &path, "-retry-join", &first]].concat())
    };
    let agents = [start(11, "n1"), start(12, "n2"), start(13, "n3")];
    for agent in &agents {
        agent.wait_for_members("n1 alive, n2 alive, n3 alive");
    }
    (agents, folder)
}

#[test]
fn a_rotation_leaves_the_new_key_alone_and_says_how_it_goes_on() {
    let ([one, two, _three], folder) = keyed(Net(140));
    one.ask(&["keys", "-install", NEW]);
    insta::assert_snapshot!("keys_status", shown(&two.ask(&["keys", "-status"])));
    insta::assert_snapshot!("keys_status_json", shown(&two.ask(&["keys", "-status", "-format", "json"])));
    let rotate = ["keys", "-rotate", NEW, "-grace", "0s"];
    insta::assert_snapshot!("keys_rotated", shown(&two.ask(&rotate)));
    for name in ["n1", "n2", "n3"] {
        let ring: Vec<String> =
            serde_json::from_str(&fs::read_to_string(folder.path().join(name)).expect("a file")).expect("JSON");
        assert_eq!(ring, [NEW], "{name}");
    }
    assert!(one.ask(&["info"]).contains("\tkey_budget = 0.00 % ("));
    let again = shown(&one.ask(&[&rotate[..], &["-format", "json"]].concat()));
    assert_eq!(again.split_whitespace().collect::<String>(), r#"{"nodes":3,"removed":0}"#, "nothing is left to do");
}

/// A member shows about twenty of its keys. The new one is not among them, and what is behind them shows only later.
#[test]
fn a_rotation_removes_more_keys_than_fit_into_an_answer() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("keyring");
    let many: Vec<String> = (0..30).map(|byte| Key::new(&[byte; 32]).expect("32 bytes").to_base64()).collect();
    fs::write(&path, serde_json::to_string(&many).expect("JSON")).expect("a file");
    let one = Agent::start(Net(160), 11, "n1", &["-keyring-file", path.to_str().expect("text")]);
    let status = one.ask(&["keys", "-status"]);
    let shown = status.matches("  installed\n").count() + 1;
    assert!(shown < 30, "{status}");
    let words = format!("  truncated key list response, showing first {shown} of 30 keys\n");
    assert!(status.ends_with(&words), "{status}");

    let text = one.ask(&["keys", "-rotate", NEW, "-grace", "0s", "-patience", "5s"]);
    assert_eq!(text.matches("==> Installing it").count(), 1, "{text}");
    assert!(text.ends_with("==> Rotated: 1 members have this key alone; 30 other keys were removed\n"), "{text}");
    let ring: Vec<String> = serde_json::from_str(&fs::read_to_string(path).expect("a file")).expect("JSON");
    assert_eq!(ring, [NEW]);
}

#[test]
fn a_key_is_not_used_as_long_as_somebody_who_failed_could_not_come_back() {
    let net = Net(141);
    let ([one, two, three], folder) = keyed(net);
    three.process.signal(Signal::KILL);
    three.process.end();
    let silent = run(&one, &["keys", "-rotate", NEW, "-grace", "0s", "-patience", "0s"]);
    let (code, text) = &silent;
    assert_eq!(*code, Some(1), "{text}");
    // Whether it is alive or failed for the first agent by now is a matter of milliseconds.
    assert!(text.contains("Error rotating keys: Installing it: not all members have done it"), "{text}");
    for agent in [&one, &two] {
        agent.wait_for_members("n1 alive, n2 alive, n3 failed");
    }
    let (code, text) = run(&one, &["keys", "-rotate", NEW, "-grace", "0s"]);
    assert_eq!(code, Some(1), "{text}");
    insta::assert_snapshot!("keys_not_rotated", text);
    let path = folder.path().join("n3").to_str().expect("text").to_owned();
    let three = Agent::start(net, 13, "n3", &[&LAN[..], &["-keyring-file", &path, "-retry-join", &one.ip]].concat());
    for agent in [&one, &two, &three] {
        agent.wait_for_members("n1 alive, n2 alive, n3 alive");
    }
    let text = shown(&one.ask(&["keys", "-rotate", NEW, "-grace", "0s"]));
    assert!(text.ends_with("==> Rotated: 3 members have this key alone; 1 other key was removed\n"), "{text}");
    let status = shown(&three.ask(&["keys", "-status", "-format", "json"]));
    assert!(!status.contains("OLD"), "{status}");
}

#[test]
fn a_rotation_needs_one_key_that_is_one_and_a_keyring() {
    let [one, ..] = &three(Net(142), &LAN);
    let (code, text) = run(one, &["keys", "-rotate", "c2hvcnQ="]);
    assert_eq!((code, text.as_str()), (Some(1), "Error rotating keys: key size must be 16, 24 or 32 bytes\n"));
    let (code, text) = run(one, &["keys", "-rotate", NEW, "-use", NEW]);
    assert_eq!((code, text.as_str()), (Some(1), "-rotate and -status go with no other operation\n"));
    let (code, text) = run(one, &["keys", "-rotate", NEW, "-grace", "-1s"]);
    assert_eq!((code, text.as_str()), (Some(1), "-grace must not be negative\n"));
    let (code, text) = run(one, &["keys", "-status"]);
    assert_eq!(code, Some(1));
    insta::assert_snapshot!("keys_status_without", text);
    let (code, text) = run(one, &["keys", "-rotate", NEW, "-patience", "0s"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("n1, n2, n3 (3/3 nodes reported failure)"), "{text}");
}

/// Members of the original are asked as all are; an agent of the original cannot be asked about the others.
#[test]
fn members_of_the_original_rotate_too() {
    let Some(original) = original() else { return };
    let net = Net(143);
    let key = serf(&["keygen"]).stdout;
    let words = [&LAN[..], &["-encrypt", OLD]].concat();
    let ours = Agent::start(net, 11, "n1", &words);
    let joining = [&words[..], &["-join", &ours.ip]].concat();
    let theirs = Agent::start_program(original, net, 12, "n2", &joining);
    for agent in [&ours, &theirs] {
        agent.wait_for_members("n1 alive, n2 alive");
    }
    let (code, text) = run(&theirs, &["keys", "-status"]);
    let why = "Unsupported command: the agent is none of Villein's, and cannot tell who has which keys";
    assert_eq!((code, text.lines().last()), (Some(1), Some(format!("Failed to gather member keys: {why}").as_str())));
    ours.ask(&["keys", "-rotate", key.trim(), "-grace", "0s"]);
    let status = ours.ask(&["keys", "-status"]).replace(key.trim(), "KEY");
    assert!(status.ends_with("\n\nn1  KEY  primary\nn2  KEY  primary\n"), "{status}");
}
