//! Refusals of `serf agent`.

use crate::serf::{Run, command, serf, transcript};

const ADDRESSES: [&str; 6] = ["-node", "t1", "-bind", "127.0.77.21", "-rpc-addr", "127.0.77.21:7373"];

fn agent(words: &[&str]) -> Run {
    let line: Vec<&str> = std::iter::once("agent").chain(ADDRESSES).chain(words.iter().copied()).collect();
    serf(&line)
}

#[test]
fn bad_settings_are_refused_as_the_original_refuses_them() {
    for (words, name) in [
        (["-log-level=bogus"], "agent-bad-level"),
        (["-profile=bogus"], "agent-bad-profile"),
        (["-event-handler=foo=bar.sh"], "agent-bad-handler"),
        (["-encrypt=YWJj"], "agent-bad-keylen"),
    ] {
        let run = agent(&words);
        assert_eq!((run.code, run.stdout, run.stderr.as_str()), (Some(1), transcript(name), ""), "{words:?}");
    }
}

#[test]
fn unknown_keys_and_wrong_types_are_listed() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("bad.json"), r#"{"bogus": 1, "tags": 1}"#).expect("a file");
    let words = ["agent", "-config-file", "bad.json"];
    let run = Run::of(&words, command(&words).current_dir(directory.path()).output().expect("the binary starts"));
    assert_eq!((run.code, run.stdout, run.stderr.as_str()), (Some(1), transcript("agent-unknown-key"), ""));
}

#[test]
fn a_bad_flag_shows_the_help_with_the_agents_prefix() {
    let run = agent(&["-nosuch"]);
    let help = serf(&["agent", "-h"]).stderr;
    let expected = (Some(1), format!("==> {help}"), "flag provided but not defined: -nosuch\n");
    assert_eq!((run.code, run.stdout, run.stderr.as_str()), expected);
}

#[test]
fn warnings_come_before_refusals() {
    let run = agent(&["-role", "web", "-retry-interval", "10ms", "-broadcast-timeout", "10ms", "-log-level", "x"]);
    insta::assert_snapshot!("agent_warnings", run);
}
