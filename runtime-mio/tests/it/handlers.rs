//! Event handlers, with real scripts (cli.md 4).

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use villein_core::log::Level;
use villein_runtime_mio::{AgentOptions, EventScript, LiveOptions, Reload, Signal};

use crate::client::{Client, Value, map, text};
use crate::support::{Running, wait_until};

fn handlers(handlers: &[&str]) -> Vec<EventScript> {
    handlers.iter().flat_map(|handler| EventScript::parse(handler).expect("reads")).collect()
}

fn with(options: &mut AgentOptions, scripts: &[&str]) {
    options.log_level = Level::Debug;
    options.live.event_handlers = handlers(scripts);
}

fn start(ip: &str, scripts: &[&str]) -> Running {
    Running::start("t1", ip, |options| with(options, scripts))
}

fn event(client: &mut Client, name: &str, payload: &str) {
    let body = map([("Name", text(name)), ("Payload", text(payload)), ("Coalesce", Value::Bool(false))]);
    assert_eq!(client.call("event", Some(body)), "");
}

/// Asks a query without acks; gives its number.
fn ask(client: &mut Client, name: &str, payload: &str, millis: u64) -> u64 {
    let timeout = Value::Int(millis * 1_000_000);
    let body = map([("Name", text(name)), ("Payload", text(payload)), ("Timeout", timeout)]);
    let seq = client.send("query", Some(body));
    assert_eq!(client.header(seq), "");
    seq
}

/// Asks a query; the answers, up to the end.
fn query(client: &mut Client, name: &str, payload: &str, millis: u64) -> Vec<String> {
    let seq = ask(client, name, payload, millis);
    answers(client, seq)
}

/// The answers to a query that was asked, up to the end.
fn answers(client: &mut Client, seq: u64) -> Vec<String> {
    let mut answers = Vec::new();
    loop {
        assert_eq!(client.header(seq), "");
        let record = client.next().expect("a record");
        match record.field("Type").text().as_str() {
            "response" => answers.push(record.field("Payload").text()),
            "done" => return answers,
            other => panic!("a record of type {other}"),
        }
    }
}

const LONG: u64 = 20_000;

#[test]
fn a_script_is_told_of_members_on_its_input() {
    let one = Running::start("t1", "127.45.2.1", |options| {
        with(options, &["member-join=echo $SERF_EVENT of $SERF_SELF_NAME, $SERF_SELF_ROLE, $SERF_TAG_MY_TAG; cat"]);
        options.config.tags.extend([(b"role".to_vec(), b"web".to_vec()), (b"my-tag".to_vec(), b"x y".to_vec())]);
    });
    let said = "member-join of t1, web, x y\nt1\t127.45.2.1\tweb\tmy-tag=x y,role=web\n";
    one.output.wait_for(&format!("[DEBUG] agent: Event 'member-join' script output: {said}"));
}

#[test]
fn what_a_script_says_answers_a_query() {
    let one = start("127.45.2.2", &["query:load=echo out; echo err >&2; cat; echo $SERF_QUERY_NAME $SERF_QUERY_LTIME"]);
    let answers = query(&mut one.client(), "load", "now", LONG);
    assert_eq!(answers, ["out\nerr\nnow\nload 1\n"]);
}

#[test]
fn a_failure_and_silence_answer_nothing() {
    let one = start("127.45.2.3", &["query:bad=echo out; exit 3", "query:killed=kill -9 $$", "query:mute=true"]);
    let mut client = one.client();
    for (name, line) in [
        ("bad", "[ERR] agent: Error invoking script 'echo out; exit 3': exit status 3\n"),
        ("killed", "[ERR] agent: Error invoking script 'kill -9 $$': signal: killed\n"),
        ("mute", "[DEBUG] agent: Event 'query' script output: \n"),
    ] {
        assert_eq!(query(&mut client, name, "", 300), [""; 0], "{name}");
        one.output.wait_for(line);
    }
    let text = one.output.text();
    assert!(text.contains("[DEBUG] agent: Event 'query' script output: out\n"), "{text}");
    assert!(!text.contains("Failed to respond"), "{text}");
}

#[test]
fn all_scripts_of_an_event_run_in_order_and_the_first_answer_counts() {
    let one = start("127.45.2.4", &["query:two=echo 1", "user=echo never", "*=echo 2", "query=echo 3"]);
    assert_eq!(query(&mut one.client(), "two", "", LONG), ["1\n"]);
    let refused = "[WARN] agent: Failed to respond to query 'query: two': failed to respond to key query: ";
    one.output.wait_for("script output: 3\n");
    one.output.wait_for(&format!("{refused}response already sent\n"));
    let text = one.output.text();
    let at = |said: &str| text.find(&format!("Event 'query' script output: {said}\n")).expect(said);
    assert!(at("1") < at("2") && at("2") < at("3") && !text.contains("never"), "{text}");
}

#[test]
fn answers_that_are_too_long_or_too_late_are_refused() {
    let one = start("127.45.2.5", &["query:long=head -c 1000 /dev/zero", "query:late=sleep 0.2; echo late"]);
    let mut client = one.client();
    let refused = "failed to respond to key query: ";
    ask(&mut one.client(), "long", "", LONG);
    one.output.wait_for(&format!("'query: long': {refused}response exceeds limit of 1024 bytes\n"));
    assert_eq!(query(&mut client, "late", "", 1), [""; 0]);
    one.output.wait_for(&format!("'query: late': {refused}response is past the deadline\n"));
}

#[test]
fn only_the_last_8_kib_of_output_are_kept() {
    let one = start("127.45.2.6", &["user=head -c 300000 /dev/zero | tr '\\0' x; echo end"]);
    event(&mut one.client(), "e", "");
    one.output.wait_for("generated 300004 bytes of output, truncated to 8192\n");
    one.output.wait_for(&format!("[DEBUG] agent: Event 'user' script output: {}end\n", "x".repeat(8192 - 4)));
}

#[test]
fn a_script_need_not_read_and_may_leave_a_process_behind() {
    let one = start("127.45.2.7", &["query:bg=sleep 600 & echo $!", "query:next=echo next"]);
    let mut client = one.client();
    let answers = query(&mut client, "bg", &"x".repeat(600), LONG);
    assert_eq!(query(&mut client, "next", "", LONG), ["next\n"], "the background process blocks nothing");
    let pid = answers[0].trim().parse().ok().and_then(rustix::process::Pid::from_raw).expect("a process id");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it runs");
}

#[test]
fn a_process_left_behind_may_go_on_talking() {
    let directory = tempfile::tempdir().expect("a directory");
    let [file, gate] = ["said", "gate"].map(|name| directory.path().join(name));
    // It waits until the script's output has been read: what it said before would belong to that. Then it says more than a
    // pipe holds: if nobody read it, it would not come to its end.
    let wait = format!("while [ ! -e {} ]; do sleep 0.01; done", gate.display());
    let script = format!("query=({wait}; head -c 200000 /dev/zero; echo done > {}) & echo started", file.display());
    let one = start("127.45.2.8", &[&script]);
    assert_eq!(query(&mut one.client(), "q", "", LONG), ["started\n"]);
    std::fs::write(&gate, "").expect("a file");
    wait_until(|| std::fs::read_to_string(&file).is_ok_and(|text| text == "done\n"));
}

#[test]
fn a_script_that_has_ended_leaves_no_zombie() {
    let one = start("127.45.2.9", &["query=echo $$"]);
    let pid = query(&mut one.client(), "q", "", LONG).concat();
    assert!(!Path::new(&format!("/proc/{}", pid.trim())).exists());
}

#[test]
fn scripts_run_one_at_a_time_and_others_from_the_next_event_on_after_a_reload() {
    let directory = tempfile::tempdir().expect("a directory");
    let gate = directory.path().join("gate");
    let old = format!("user=while [ ! -e {} ]; do sleep 0.01; done; echo old $SERF_USER_EVENT", gate.display());
    let mut reloads = vec![handlers(&["user=echo new $SERF_USER_EVENT"])].into_iter();
    let one = Running::start("t1", "127.45.2.10", |options| {
        with(options, &[&old]);
        options.reload = Some(Box::new(move || {
            Ok(Reload {
                warnings: Vec::new(),
                log_level: Ok(Level::Debug),
                tags: None,
                live: LiveOptions { event_handlers: reloads.next().expect("one reload"), ..LiveOptions::default() },
            })
        }));
    });
    let mut client = one.client();
    let stream = client.send("stream", Some(map([("Type", text("user"))])));
    assert_eq!(client.header(stream), "");
    let mut other = one.client();
    for name in ["a", "b", "c"] {
        event(&mut other, name, "");
        assert_eq!(client.header(stream), "");
        assert_eq!(client.next().expect("a record").field("Name").text(), name, "streams do not wait for scripts");
    }
    one.output.wait_for("[WARN] agent: Script 'while ");
    one.signal(Signal::Hangup);
    one.output.wait_for("==> Reloading configuration...");
    std::fs::write(&gate, "").expect("a file");
    one.output.wait_for("script output: new c\n");
    let text = one.output.text();
    let said: Vec<_> = text.lines().filter_map(|line| line.split_once("script output: ")).map(|line| line.1).collect();
    assert_eq!(said, ["old a", "new b", "new c"]);
    assert!(text.contains(" slow, execution exceeding 1s\n"));
}

#[test]
fn an_event_that_no_environment_can_hold_is_an_error_of_its_script() {
    let one = start("127.45.2.11", &["user=echo $SERF_USER_EVENT", "user=argv:/bin/echo hello"]);
    let mut client = one.client();
    event(&mut client, "a\0b", "");
    event(&mut client, "fine", "");
    one.output.wait_for("script output: fine\n");
    one.output.wait_for("script output: hello\n");
    let text = one.output.text();
    for (script, program) in [("echo $SERF_USER_EVENT", "/bin/sh"), ("argv:/bin/echo hello", "/bin/echo")] {
        let line = format!(
            "[ERR] agent: Error invoking script '{script}': fork/exec {program}: invalid argument: \
             the value of SERF_USER_EVENT has a zero byte, which no variable can have\n"
        );
        assert!(text.contains(&line), "{text}");
    }
}

#[test]
fn a_script_that_runs_too_long_is_killed_with_all_that_it_has_started() {
    let folder = tempfile::tempdir().expect("a folder");
    let (started, lived) = (folder.path().join("started"), folder.path().join("lived"));
    let line = format!("(sleep 3; touch {}) & touch {}; wait", lived.display(), started.display());
    let one = Running::start("t1", "127.45.2.31", |options| {
        with(options, &[&format!("user:slow={line}"), "user:next=echo next"]);
        options.live.handler_limit = Some(Duration::from_millis(500));
    });
    let mut client = one.client();
    event(&mut client, "slow", "");
    wait_until(|| started.exists());
    event(&mut client, "next", "");
    one.output
        .wait_for(&format!("[ERR] agent: Error invoking script '{line}': signal: killed: it ran longer than 500ms\n"));
    // The pipes that its child held are closed: the child has gone with it.
    one.output.wait_for("[DEBUG] agent: Event 'user' script output: next\n");
    assert!(!lived.exists());
}

/// Perl can change its process group, which no shell can without a terminal.
#[test]
fn a_script_that_has_left_its_process_group_is_killed_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("script");
    std::fs::write(&script, "setpgrp(0, getpgrp(getppid())) or die; sleep 300;\n").expect("a file");
    let line = format!("argv:perl {}", script.display());
    let one = Running::start("t1", "127.45.2.39", |options| {
        with(options, &[&format!("user:slow={line}"), "user:next=echo next"]);
        options.live.handler_limit = Some(Duration::from_secs(1));
    });
    let mut client = one.client();
    event(&mut client, "slow", "");
    event(&mut client, "next", "");
    one.output
        .wait_for(&format!("[ERR] agent: Error invoking script '{line}': signal: killed: it ran longer than 1s\n"));
    one.output.wait_for("[DEBUG] agent: Event 'user' script output: next\n");
}

#[test]
fn a_program_with_arguments_needs_no_shell() {
    let one =
        start("127.45.2.32", &["user:argv=argv:/bin/echo $HOME; two", "user:none=argv: ", "user:gone=argv:/no/such"]);
    let mut client = one.client();
    event(&mut client, "argv", "");
    one.output.wait_for("[DEBUG] agent: Event 'user' script output: $HOME; two\n");
    event(&mut client, "none", "");
    one.output.wait_for("[ERR] agent: Error invoking script 'argv: ': argv: names no program\n");
    event(&mut client, "gone", "");
    let refusal = "[ERR] agent: Error invoking script 'argv:/no/such': fork/exec /no/such: no such file or directory\n";
    one.output.wait_for(refusal);
}

/// An agent that handles two events at the same time.
fn start_two(ip: &str, scripts: &[&str]) -> Running {
    Running::start("t1", ip, |options| {
        with(options, scripts);
        options.live.handler_concurrency = NonZeroUsize::MIN.saturating_add(1);
    })
}

#[test]
fn two_events_are_handled_at_the_same_time_where_that_is_allowed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().display();
    // Each waits for the other to have begun.
    let script = format!(
        "user=touch {path}/$SERF_USER_EVENT; until [ -e {path}/a ] && [ -e {path}/b ]; do sleep 0.01; done; \
         echo saw both: $SERF_USER_EVENT"
    );
    let one = start_two("127.45.2.33", &[&script]);
    let mut client = one.client();
    event(&mut client, "a", "");
    event(&mut client, "b", "");
    one.output.wait_for("script output: saw both: a\n");
    one.output.wait_for("script output: saw both: b\n");
}

#[test]
fn no_more_events_than_allowed_are_handled_at_the_same_time_and_they_begin_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().display();
    std::fs::create_dir(folder.path().join("running")).expect("a folder");
    // `a` and `b` go on until they are let go; each says who runs beside it.
    let script = format!(
        "user=e=$SERF_USER_EVENT; touch {path}/running/$e; \
         case $e in a|b) until [ -e {path}/go-$e ]; do sleep 0.01; done;; esac; \
         echo $e: $(ls {path}/running); rm {path}/running/$e"
    );
    let one = start_two("127.45.2.34", &[&script, "user=echo $SERF_USER_EVENT: the second script"]);
    let mut client = one.client();
    for (name, begins) in [("a", true), ("b", true), ("c", false), ("d", false), ("e", false)] {
        event(&mut client, name, "");
        if begins {
            wait_until(|| folder.path().join("running").join(name).exists());
        }
    }
    std::fs::write(folder.path().join("go-b"), "").expect("a file");
    one.output.wait_for("script output: e: the second script\n");
    std::fs::write(folder.path().join("go-a"), "").expect("a file");
    one.output.wait_for("script output: a: the second script\n");
    let text = one.output.text();
    let said: Vec<_> = text.lines().filter_map(|line| line.split_once("script output: ")).map(|line| line.1).collect();
    let second = |name: &str| format!("{name}: the second script");
    let wanted = [
        "b: a b".to_owned(),
        second("b"),
        "c: a c".to_owned(),
        second("c"),
        "d: a d".to_owned(),
        second("d"),
        "e: a e".to_owned(),
        second("e"),
        "a: a".to_owned(),
        second("a"),
    ];
    let said: Vec<_> = said.into_iter().filter(|line| !line.is_empty()).collect();
    assert_eq!(said, wanted);
}

#[test]
fn queries_that_are_handled_at_the_same_time_get_their_own_answers() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().display();
    // The one that was asked first is answered last.
    let script = format!(
        "query=touch {path}/$SERF_QUERY_NAME; until [ -e {path}/second ]; do sleep 0.01; done; \
         [ $SERF_QUERY_NAME = second ] || until [ -e {path}/go ]; do sleep 0.01; done; echo to $SERF_QUERY_NAME: $(cat)"
    );
    let one = start_two("127.45.2.35", &[&script]);
    let (mut client, mut other) = (one.client(), one.client());
    let first = ask(&mut client, "first", "1", LONG);
    wait_until(|| folder.path().join("first").exists());
    assert_eq!(query(&mut other, "second", "2", LONG), ["to second: 2\n"]);
    std::fs::write(folder.path().join("go"), "").expect("a file");
    assert_eq!(answers(&mut client, first), ["to first: 1\n"]);
}

#[test]
fn the_time_limit_ends_only_the_script_that_it_is_over_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let (started, lived) = (folder.path().join("started"), folder.path().join("lived"));
    let slow = format!("(sleep 4; touch {}) & touch {}; wait", lived.display(), started.display());
    let one = Running::start("t1", "127.45.2.36", |options| {
        with(options, &[&format!("user:slow={slow}"), "user:next=echo next"]);
        options.live.handler_limit = Some(Duration::from_millis(1_500));
        options.live.handler_concurrency = NonZeroUsize::MIN.saturating_add(1);
    });
    let mut client = one.client();
    event(&mut client, "slow", "");
    wait_until(|| started.exists());
    event(&mut client, "next", "");
    let killed = format!("Error invoking script '{slow}': signal: killed: it ran longer than 1.5s\n");
    one.output.wait_for(&killed);
    let text = one.output.text();
    assert!(
        text.find("script output: next\n") < text.find(&killed) && text.contains("script output: next\n"),
        "{text}"
    );
    assert!(!text.contains("Error invoking script 'echo next'"), "{text}");
    // Its output ends with its process group: nobody holds the pipe any more, and nobody writes the file.
    assert!(!lived.exists());
}
