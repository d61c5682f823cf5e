//! Event handlers: which script runs when (cli.md 4).
//!
//! One event at a time, and of its scripts one at a time, in the order of the configuration. A script is a process with
//! pipes in the poll loop; nothing here waits. What a script leaves running may go on talking: it is not listened to.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use mio::{Registry, Waker};
use villein_core::Time;
use villein_core::command::{Command, CommandError, Reply};
use villein_core::event::{Event, QueryKey};
use villein_core::log::Level;
use villein_core::types::{Name, Tags};

use crate::address::errno_text;
use crate::agent::Agent;
use crate::event_script::EventScript;
use crate::invocation::Occurrence;
use crate::log_ring::Journal;
use crate::requests::Asker;
use crate::script::{Ended, OUTPUT_BYTES_MAX, Output, Script};

/// Events that wait for their scripts; upstream has room for as many (cli.md 4.4).
const WAITING_MAX: usize = 1_024;
/// Bytes of the events that wait.
const WAITING_BYTES_MAX: usize = 16 << 20;
/// Outputs that background processes of ended scripts hold.
const LEFT_OPEN_MAX: usize = 64;
/// When a script that runs is said to be slow.
const SLOW: Duration = Duration::from_secs(1);

/// The events that wait, and the script that runs.
pub(crate) struct Handlers {
    waker: Arc<Waker>,
    waiting: VecDeque<Occurrence>,
    waiting_bytes: usize,
    /// Events that were dropped since the last one was taken up.
    dropped: u64,
    current: Option<Current>,
    left_open: VecDeque<Output>,
    /// Pipes that there have been.
    pipes: u64,
}

/// The event whose scripts run.
struct Current {
    occurrence: Occurrence,
    lines: VecDeque<String>,
    script: Option<Script>,
}

impl Handlers {
    /// Handlers with nothing to do.
    pub(crate) const fn new(waker: Arc<Waker>) -> Self {
        Self {
            waker,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            dropped: 0,
            current: None,
            left_open: VecDeque::new(),
            pipes: 0,
        }
    }

    /// Queues an event. One that comes while others wait is kept even if no script is for it now: the scripts may be
    /// others when its turn comes.
    fn add(&mut self, event: &Event, scripts: &[EventScript], journal: &mut Journal) {
        let idle = self.current.is_none() && self.waiting.is_empty();
        if idle && scripts.is_empty() {
            return;
        }
        let Some(occurrence) = Occurrence::of(event) else { return };
        if idle && lines_for(&occurrence, scripts).next().is_none() {
            return;
        }
        let bytes = self.waiting_bytes + occurrence.bytes();
        if self.waiting.len() >= WAITING_MAX || bytes > WAITING_BYTES_MAX {
            self.dropped += 1;
            if self.dropped == 1 {
                let count = self.waiting.len();
                let problem =
                    format_args!("agent: event handlers lag behind: {count} events wait, new ones are dropped");
                journal.log(Level::Warn, problem);
            }
            return;
        }
        self.waiting_bytes = bytes;
        self.waiting.push_back(occurrence);
    }

    /// The line to run next; `None`: there is none, or one runs.
    fn next_line(&mut self, scripts: &[EventScript], journal: &mut Journal) -> Option<String> {
        loop {
            match &mut self.current {
                Some(Current { script: Some(_), .. }) => return None,
                Some(current) => match current.lines.pop_front() {
                    Some(line) => return Some(line),
                    None => self.current = None,
                },
                None => {
                    let occurrence = self.waiting.pop_front()?;
                    self.waiting_bytes -= occurrence.bytes();
                    if self.dropped > 0 {
                        let dropped = std::mem::take(&mut self.dropped);
                        let problem =
                            format_args!("agent: {dropped} events were dropped: event handlers lagged behind");
                        journal.log(Level::Warn, problem);
                    }
                    let lines = lines_for(&occurrence, scripts).map(str::to_owned).collect();
                    self.current = Some(Current { occurrence, lines, script: None });
                }
            }
        }
    }

    fn start(
        &mut self,
        line: String,
        (node, tags): (&Name, &Tags),
        registry: &Registry,
        limit: (Time, Option<Duration>),
    ) -> io::Result<()> {
        let Some(current) = &mut self.current else { return Ok(()) };
        let environment = current.occurrence.environment(node, tags)?;
        let pipes = [self.pipes, self.pipes + 1];
        self.pipes += 2;
        let input = current.occurrence.input.clone();
        current.script = Some(Script::start(line, environment, input, pipes, (registry, &self.waker), limit)?);
        Ok(())
    }

    /// Moves bytes; gives the script that has ended, if one has.
    fn progress(&mut self, now: Time, buffer: &mut [u8], journal: &mut Journal) -> Option<Ended> {
        self.left_open.retain_mut(|output| !output.discard(buffer));
        let slot = &mut self.current.as_mut()?.script;
        let script = slot.as_mut()?;
        let Some(result) = script.progress(now, buffer) else {
            if !script.said_slow && now.since(script.started) >= SLOW {
                script.said_slow = true;
                let problem = format_args!("agent: Script '{}' slow, execution exceeding 1s", script.line);
                journal.log(Level::Warn, problem);
            }
            return None;
        };
        let mut ended = slot.take()?.end(result, buffer);
        self.left_open.extend(ended.left_open.take());
        if self.left_open.len() > LEFT_OPEN_MAX {
            self.left_open.pop_front();
            let problem = format_args!(
                "agent: Script '{}' and others left more than {LEFT_OPEN_MAX} outputs open: the oldest is closed",
                ended.line
            );
            journal.log(Level::Warn, problem);
        }
        Some(ended)
    }

    /// The system says that a pipe is ready.
    pub(crate) fn ready(&mut self, pipe: u64) {
        if let Some(script) = self.current.as_mut().and_then(|current| current.script.as_mut()) {
            script.ready(pipe);
        }
        for output in &mut self.left_open {
            output.note(pipe);
        }
    }

    /// When there is something to do although the system says nothing; `now` if it is already.
    pub(crate) fn deadline(&self, now: Time) -> Option<Time> {
        let script = self.current.as_ref().and_then(|current| current.script.as_ref());
        if script.is_some_and(Script::is_ready) || self.left_open.iter().any(Output::is_ready) {
            return Some(now);
        }
        let slow = script.filter(|script| !script.said_slow).map(|script| script.started + SLOW);
        slow.into_iter().chain(script.and_then(Script::deadline)).min()
    }
}

fn lines_for<'a>(occurrence: &'a Occurrence, scripts: &'a [EventScript]) -> impl Iterator<Item = &'a str> {
    let wanted = |script: &&EventScript| script.is_for(occurrence.kind, &occurrence.name);
    scripts.iter().filter(wanted).map(|script| script.script.as_str())
}

impl Agent {
    /// Has an event handled, now or when its turn comes.
    pub(crate) fn handle_event(&mut self, event: &Event) {
        self.handlers.add(event, &self.live.event_handlers, &mut self.journal);
        self.start_scripts();
    }

    fn start_scripts(&mut self) {
        while let Some(line) = self.handlers.next_line(&self.live.event_handlers, &mut self.journal) {
            let (node, tags) = (&self.node.config().name, self.node.tags());
            let limit = (self.clock.now(), self.live.handler_limit);
            let started = self.handlers.start(line.clone(), (node, &tags), self.poll.registry(), limit);
            if let Err(error) = started {
                // What the system refuses has Go's words; what we refuse, our own.
                let reason = if error.raw_os_error().is_some() { errno_text(&error) } else { error.to_string() };
                let problem = format_args!("agent: Error invoking script '{line}': {reason}");
                self.journal.log(Level::Err, problem);
            }
        }
    }

    /// Attends to the script that runs.
    pub(crate) fn mind_handlers(&mut self, now: Time) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let ended = self.handlers.progress(now, &mut buffer, &mut self.journal);
        self.buffer = buffer;
        if let Some(ended) = ended {
            self.conclude(ended);
            self.start_scripts();
        }
    }

    /// Says how a script ended, and answers the query that it was for (cli.md 4.4).
    fn conclude(&mut self, ended: Ended) {
        let Ended { line, started, problem, output, total, left_open: _ } = ended;
        self.measure_script(&line, started);
        let Some(Current { occurrence, .. }) = &self.handlers.current else { return };
        let (kind, query) = (occurrence.kind.as_str(), occurrence.query);
        let name = String::from_utf8_lossy(&occurrence.name).into_owned();
        if total > OUTPUT_BYTES_MAX as u64 {
            let problem = format_args!(
                "agent: Script '{line}' generated {total} bytes of output, truncated to {OUTPUT_BYTES_MAX}"
            );
            self.journal.log(Level::Warn, problem);
        }
        let said = String::from_utf8_lossy(&output);
        self.journal.log(Level::Debug, format_args!("agent: Event '{kind}' script output: {said}"));
        match (problem, query) {
            (Some(problem), _) => {
                let problem = format_args!("agent: Error invoking script '{line}': {problem}");
                self.journal.log(Level::Err, problem);
            }
            (None, Some(query)) if total > 0 => self.answer_query(query, name, output),
            (None, _) => {}
        }
    }

    fn answer_query(&mut self, query: QueryKey, name: String, output: Vec<u8>) {
        self.command(Asker::Handler(name), Command::Respond { query, payload: output.into() });
    }

    /// The core has taken a script's answer, or has not.
    pub(crate) fn handler_answered(&mut self, query: &str, reply: &Reply) {
        let Reply::Failed(error) = reply else { return };
        // The core has forgotten the query: its time has long been over.
        let error = if *error == CommandError::UnknownQuery { &CommandError::PastDeadline } else { error };
        let problem =
            format_args!("agent: Failed to respond to query 'query: {query}': failed to respond to key query: {error}");
        self.journal.log(Level::Warn, problem);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Poll, Token};
    use villein_core::event::UserEvent;
    use villein_core::lamport::LamportTime;

    use crate::local_time::Zone;

    fn user(name: &str, payload: usize) -> Event {
        let payload = vec![b'\n'; payload].into();
        Event::User(UserEvent { ltime: LamportTime(1), name: name.as_bytes().into(), payload, coalesce: false })
    }

    fn make() -> (Handlers, Journal, Vec<EventScript>) {
        let poll = Poll::new().expect("a poll");
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).expect("a waker"));
        let journal = Journal::new(Box::new(io::sink()), Zone::default(), Level::Err);
        (Handlers::new(waker), journal, EventScript::parse("user:a=x").expect("reads"))
    }

    fn lines(journal: &Journal, part: &str) -> usize {
        journal.since(0).filter(|line| line.text.contains(part)).count()
    }

    #[test]
    fn an_event_that_no_script_is_for_waits_only_behind_others() {
        let (mut handlers, mut journal, scripts) = make();
        handlers.add(&user("b", 0), &scripts, &mut journal);
        assert!(handlers.waiting.is_empty());
        handlers.add(&user("a", 0), &scripts, &mut journal);
        handlers.add(&user("b", 0), &scripts, &mut journal);
        assert_eq!(handlers.waiting.len(), 2);
    }

    #[test]
    fn beyond_the_bound_the_newest_events_are_dropped_and_that_is_said() {
        let (mut handlers, mut journal, scripts) = make();
        for _ in 0..WAITING_MAX {
            handlers.add(&user("a", 0), &scripts, &mut journal);
        }
        assert_eq!((handlers.waiting.len(), lines(&journal, "lag behind")), (WAITING_MAX, 0));
        for _ in 0..3 {
            handlers.add(&user("a", 0), &scripts, &mut journal);
        }
        assert_eq!((handlers.waiting.len(), lines(&journal, "lag behind: 1024 events wait")), (WAITING_MAX, 1));
        assert_eq!(handlers.next_line(&scripts, &mut journal).as_deref(), Some("x"));
        assert_eq!(lines(&journal, "agent: 3 events were dropped"), 1);
    }

    #[test]
    fn events_that_wait_are_bounded_in_bytes_too() {
        let (mut handlers, mut journal, scripts) = make();
        handlers.add(&user("a", WAITING_BYTES_MAX - 1), &scripts, &mut journal);
        handlers.add(&user("a", 0), &scripts, &mut journal);
        assert_eq!((handlers.waiting.len(), handlers.dropped), (1, 1));
    }
}
