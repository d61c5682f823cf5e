//! Refusals of `serf agent`.

use crate::serf::{Run, serf};

const ADDRESSES: [&str; 6] = ["-node", "t1", "-bind", "127.0.77.21", "-rpc-addr", "127.0.77.21:7373"];

fn agent(words: &[&str]) -> Run {
    let line: Vec<&str> = std::iter::once("agent").chain(ADDRESSES).chain(words.iter().copied()).collect();
    serf(&line)
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
