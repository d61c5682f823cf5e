//! How agents end, and how they read their configuration again.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use villein_core::config::RetryJoin;
use villein_core::log::Level;
use villein_core::types::JoinTarget;
use villein_runtime_mio::{Agent, Exit, LiveOptions, Reload, Signal};

use crate::client::{Value, map, text};
use crate::support::{Output, Running, options};

/// The lines from `first` on.
fn tail(output: &Output, first: &str) -> Vec<String> {
    output.lines().into_iter().skip_while(|line| line != first).collect()
}

#[test]
fn an_interrupt_leaves_and_ends_with_0() {
    let one = Running::start("t1", "127.0.97.1", |_| ());
    one.output.wait_for("Received event: member-join");
    one.signal(Signal::Interrupt);
    let (exit, output) = one.wait();
    assert_eq!((exit, exit.code()), (Exit::Graceful, 0));
    let mut lines = tail(&output, "==> Caught signal: interrupt");
    // Upstream's races decide whether it comes before the end (cli.md 3.5).
    lines.retain(|line| line != "    [INFO] agent: Received event: member-leave");
    assert_eq!(
        lines,
        [
            "==> Caught signal: interrupt",
            "==> Gracefully shutting down agent...",
            "    [INFO] agent: requesting graceful leave from Serf",
            "    [INFO] serf: EventMemberLeave: t1 127.0.97.1",
            "    [INFO] agent: requesting serf shutdown",
            "    [INFO] agent: shutdown complete",
        ]
    );
}

#[test]
fn a_termination_ends_at_once_with_1_unless_it_is_told_to_leave() {
    let one = Running::start("t1", "127.0.97.2", |_| ());
    one.output.wait_for("EventMemberJoin");
    one.signal(Signal::Terminate);
    let (exit, output) = one.wait();
    assert_eq!(exit, Exit::Abrupt);
    assert_eq!(
        tail(&output, "==> Caught signal: terminated"),
        [
            "==> Caught signal: terminated",
            "    [INFO] agent: requesting serf shutdown",
            "    [WARN] serf: Shutdown without a Leave",
            "    [INFO] agent: shutdown complete",
        ]
    );
    let one = Running::start("t1", "127.0.97.3", |options| options.live.leave_on_terminate = true);
    one.output.wait_for("EventMemberJoin");
    one.signal(Signal::Terminate);
    assert_eq!(one.wait().0, Exit::Graceful);
}

#[test]
fn an_interrupt_that_must_not_leave_ends_with_1() {
    let one = Running::start("t1", "127.0.97.4", |options| options.live.skip_leave_on_interrupt = true);
    one.output.wait_for("EventMemberJoin");
    one.signal(Signal::Interrupt);
    let (exit, output) = one.wait();
    assert_eq!(exit, Exit::Abrupt);
    assert!(output.text().contains("Shutdown without a Leave") && !output.text().contains("Gracefully"));
}

#[test]
fn a_second_signal_ends_a_leave_at_once() {
    let one = Running::start("t1", "127.0.97.5", |options| {
        options.config.serf.leave_propagate_delay = Duration::from_secs(60);
    });
    one.output.wait_for("EventMemberJoin");
    one.signal(Signal::Interrupt);
    one.output.wait_for("requesting graceful leave");
    one.signal(Signal::Hangup);
    let (exit, output) = one.wait();
    assert_eq!(exit, Exit::Abrupt);
    assert!(output.text().contains("[WARN] serf: Shutdown without a Leave"), "{}", output.text());
}

#[test]
fn a_leave_that_takes_longer_than_three_seconds_is_given_up() {
    let one = Running::start("t1", "127.0.97.6", |options| {
        options.config.serf.leave_propagate_delay = Duration::from_secs(600);
    });
    one.output.wait_for("EventMemberJoin");
    one.signal(Signal::Interrupt);
    let (exit, output) = one.wait();
    assert_eq!(exit, Exit::Abrupt);
    assert!(output.text().contains("[WARN] serf: Shutdown without a Leave"), "{}", output.text());
}

#[test]
fn a_leave_by_rpc_is_answered_and_ends_with_0() {
    let one = Running::start("t1", "127.0.97.7", |_| ());
    let mut client = one.client();
    assert_eq!(client.call("leave", None), "");
    assert_eq!(client.next(), None, "the connection is closed");
    let (exit, output) = one.wait();
    assert_eq!(exit, Exit::Graceful);
    let mut lines = tail(&output, "    [INFO] agent.ipc: Graceful leave triggered");
    lines.retain(|line| !line.contains("Received event"));
    assert_eq!(
        lines,
        [
            "    [INFO] agent.ipc: Graceful leave triggered",
            "    [INFO] agent: requesting graceful leave from Serf",
            "    [INFO] serf: EventMemberLeave: t1 127.0.97.7",
            "    [INFO] agent: requesting serf shutdown",
            "    [INFO] agent: shutdown complete",
        ]
    );
}

#[test]
fn a_retry_join_that_reaches_nobody_ends_the_agent() {
    let one = Running::start("t1", "127.0.97.8", |options| {
        let targets = vec![JoinTarget::from("127.0.97.98:7946"), JoinTarget::from("127.0.97.99:7946")];
        let interval = Duration::from_millis(1_200);
        options.config.serf.retry_join = Some(RetryJoin { targets, interval, max: 1, replay: false });
    });
    let (exit, output) = one.wait();
    assert_eq!((exit, exit.code()), (Exit::Abrupt, 1));
    let attempt = "    [INFO] agent: joining: [127.0.97.98:7946 127.0.97.99:7946] replay: false";
    assert_eq!(output.lines().iter().filter(|line| *line == attempt).count(), 2, "{}", output.text());
    assert!(output.text().contains("connection refused\n\n, retrying in 1.2s\n"), "{}", output.text());
    assert_eq!(
        tail(&output, "    [ERR] agent: maximum retry join attempts made, exiting"),
        [
            "    [ERR] agent: maximum retry join attempts made, exiting",
            "    [INFO] agent: requesting serf shutdown",
            "    [WARN] serf: Shutdown without a Leave",
            "    [INFO] agent: shutdown complete",
        ]
    );
}

#[test]
fn a_hangup_takes_over_what_can_change_and_says_what_cannot() {
    let long = villein_core::types::Tags::from([(b"role".to_vec(), vec![b'x'; 600])]);
    let mut reloads = vec![
        Err(vec!["Error decoding 'x.json': EOF".to_owned()]),
        Ok(Reload {
            warnings: vec!["Deprecation warning: 'Role' has been replaced with 'Tags'".to_owned()],
            log_level: Err("Invalid log level: BOGUS. Valid log levels are: [TRACE DEBUG INFO WARN ERR]".to_owned()),
            tags: Some(long),
            live: LiveOptions::default(),
        }),
        Ok(Reload {
            warnings: Vec::new(),
            log_level: Ok(Level::Err),
            tags: None,
            live: LiveOptions { skip_leave_on_interrupt: true, ..LiveOptions::default() },
        }),
    ]
    .into_iter();
    let one = Running::start("t1", "127.0.97.9", |options| {
        options.reload = Some(Box::new(move || reloads.next().expect("three reloads")));
    });
    one.output.wait_for("Received event: member-join");
    let before = one.output.lines().len();
    one.signal(Signal::Hangup);
    one.output.wait_for("==> Failed to reload configs");
    one.signal(Signal::Hangup);
    one.output.wait_for("==> Failed to update tags: ");
    one.signal(Signal::Hangup);
    one.signal(Signal::Interrupt);
    let (exit, output) = one.wait();
    assert_eq!(exit, Exit::Abrupt, "an interrupt no longer leaves");
    assert_eq!(
        output.lines()[before..],
        [
            "==> Caught signal: hangup",
            "==> Reloading configuration...",
            "==> Error decoding 'x.json': EOF",
            "==> Failed to reload configs",
            "==> Caught signal: hangup",
            "==> Reloading configuration...",
            "==> Deprecation warning: 'Role' has been replaced with 'Tags'",
            "==> Invalid log level: BOGUS. Valid log levels are: [TRACE DEBUG INFO WARN ERR]",
            "==> Failed to update tags: Encoded length of tags exceeds limit of 512 bytes: they take 610 (role 608)",
            "==> Caught signal: hangup",
            "==> Reloading configuration...",
            "==> Caught signal: interrupt",
        ],
        "the last lines are below the new level"
    );
}

/// A pipe whose reader has gone.
struct Broken;

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A terminal that was stopped: whoever writes waits until it is let go.
#[derive(Clone, Default)]
struct Stopped(Arc<(Mutex<bool>, Condvar)>, Output);

impl Write for Stopped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (goes_on, changed) = &*self.0;
        drop(changed.wait_while(goes_on.lock().expect("no panic"), |goes_on| !*goes_on).expect("no panic"));
        self.1.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_agent_whose_output_is_stopped_serves_and_writes_it_later() {
    let terminal = Stopped::default();
    let sink = terminal.clone();
    let one = Running::start("t1", "127.0.97.11", |options| options.sink = Box::new(sink));
    let mut client = one.client();
    assert_eq!(client.call("event", Some(map([("Name", text("x")), ("Coalesce", Value::Bool(false))]))), "");
    assert_eq!(terminal.1.text(), "");
    *terminal.0.0.lock().expect("no panic") = true;
    terminal.0.1.notify_all();
    terminal.1.wait_for("Received event: user-event: x");
    assert!(
        terminal
            .1
            .text()
            .contains("==> Starting Serf agent...\n==> Starting Serf agent RPC...\n==> Serf agent running!")
    );
}

#[test]
fn an_agent_ends_although_nobody_reads_its_last_lines() {
    let terminal = Stopped::default();
    let sink = terminal.clone();
    let one = Running::start("t1", "127.0.97.12", |options| options.sink = Box::new(sink));
    let mut client = one.client();
    assert_eq!(client.call("leave", None), "");
    assert_eq!(one.wait().0, Exit::Graceful);
    assert_eq!(terminal.1.text(), "");
}

#[test]
fn an_agent_whose_output_nobody_reads_ends() {
    let mut options = options("t1", "127.0.97.10", &Output::default());
    options.sink = Box::new(Broken);
    let exit = Agent::start(options).expect("starts").run();
    assert_eq!((exit, exit.code()), (Exit::BrokenPipe, 141));
}
