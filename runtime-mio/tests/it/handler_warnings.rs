//! What an agent says of its event handlers before they do harm.

use villein_core::log::Level;
use villein_runtime_mio::{AgentOptions, EventScript, LiveOptions, Reload, Signal};

use crate::client::{Value, map, text};
use crate::support::Running;

fn with(options: &mut AgentOptions, scripts: &[&str], tags: &[(&str, &str)]) {
    options.log_level = Level::Debug;
    options.live.event_handlers = handlers(scripts);
    options.config.tags =
        tags.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec())).collect();
}

fn handlers(scripts: &[&str]) -> Vec<EventScript> {
    scripts.iter().flat_map(|script| EventScript::parse(script).expect("reads")).collect()
}

/// The lines at WARN, without their time.
fn warnings(one: &Running) -> Vec<String> {
    let lines = one.output.lines();
    lines.iter().filter_map(|line| line.trim_start().strip_prefix("[WARN] agent: ").map(str::to_owned)).collect()
}

const START: &str = "[INFO] agent: Received event: member-join\n";

fn shared(tags: &str, variable: &str, last: &str) -> String {
    format!("The tags {tags} are one variable for event handlers: {variable} is that of {last}")
}

#[test]
fn tags_that_are_one_variable_are_told_once_for_each_such_set() {
    let one = Running::start("t1", "127.45.2.41", |options| {
        with(options, &["user=echo told $SERF_TAG_A_B"], &[("a-b", "1"), ("a_b", "2"), ("c", "3")]);
    });
    one.output.wait_for(START);
    let first = shared("\"a-b\" and \"a_b\"", "SERF_TAG_A_B", "\"a_b\"");
    assert_eq!(warnings(&one), [first.as_str()]);
    let mut client = one.client();
    let event = map([("Name", text("e")), ("Payload", text("")), ("Coalesce", Value::Bool(false))]);
    assert_eq!(client.call("event", Some(event)), "");
    one.output.wait_for("script output: told 2\n");
    let mut set = |key: &str| {
        let tags = map([("Tags", map([(key, text("4"))]))]);
        assert_eq!(client.call("tags", Some(tags)), "");
    };
    set("d");
    set("A.b");
    let second = shared("\"A.b\", \"a-b\" and \"a_b\"", "SERF_TAG_A_B", "\"a_b\"");
    // What is answered may still be on its way to the output.
    one.output.wait_for(&second);
    assert_eq!(warnings(&one), [first, second]);
}

#[test]
fn where_no_handler_is_told_of_tags_their_names_are_nobodys_business() {
    let one = Running::start("t1", "127.45.2.42", |options| with(options, &[], &[("a-b", "1"), ("a_b", "2")]));
    one.output.wait_for(START);
    assert_eq!(warnings(&one), [""; 0]);
}

fn shell(handler: &str) -> String {
    format!(
        "The event handler '{handler}' runs what it is sent, and gossip is not encrypted: whoever can reach this agent can run \
         commands"
    )
}

#[test]
fn a_handler_that_is_a_shell_is_told_of_while_gossip_is_not_encrypted() {
    let mut reloads =
        vec![handlers(&["query:sh=sh", "user=cat"]), handlers(&["query:sh=sh", "user:x=bash -s"])].into_iter();
    let one = Running::start("t1", "127.45.2.43", |options| {
        with(options, &["query:sh=sh", "query:load=uptime"], &[]);
        options.reload = Some(Box::new(move || {
            let live = LiveOptions { event_handlers: reloads.next().expect("two reloads"), ..LiveOptions::default() };
            Ok(Reload { warnings: vec!["read again".to_owned()], log_level: Ok(Level::Debug), tags: None, live })
        }));
    });
    one.output.wait_for(START);
    assert_eq!(warnings(&one), [shell("query:sh=sh")]);
    for _ in 0..2 {
        one.signal(Signal::Hangup);
    }
    one.output.wait_for(&shell("user:x=bash -s"));
    assert_eq!(warnings(&one), [shell("query:sh=sh"), shell("user:x=bash -s")]);
}

#[test]
fn a_handler_that_is_a_shell_is_the_business_of_those_who_have_the_key() {
    let one = Running::start("t1", "127.45.2.44", |options| {
        with(options, &["query:sh=sh"], &[]);
        options.encrypt_key = Some(vec![7; 16]);
    });
    one.output.wait_for(START);
    assert_eq!(warnings(&one), [""; 0]);
}
