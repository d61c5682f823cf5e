//! Event handlers: which script runs when (cli.md 4).
//!
//! One event at a time, or as many as the configuration allows; they begin in order. Of an event the scripts run one at a
//! time, in the order of the configuration. A script is a process with pipes in the poll loop; nothing here waits. What a
//! script leaves running may go on talking: it is not listened to.

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroUsize;
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
use crate::event_script::{EventKind, EventScript};
use crate::invocation::Occurrence;
use crate::limits::{
    EVENTS_WAITING_BYTES_MAX, EVENTS_WAITING_MAX, HANDLER_CONCURRENCY_MAX, OUTPUTS_LEFT_OPEN_MAX,
    SCRIPT_OUTPUT_BYTES_MAX, SCRIPT_READS_PER_TURN,
};
use crate::log_ring::Journal;
use crate::log_text::Breaks;
use crate::requests::Asker;
use crate::script::{self, Ended, Output, Script};

/// When a script that runs is said to be slow.
const SLOW: Duration = Duration::from_secs(1);

/// The events that wait, and those whose scripts run.
pub(crate) struct Handlers {
    waker: Arc<Waker>,
    waiting: VecDeque<Occurrence>,
    waiting_bytes: usize,
    /// Events that were dropped since the last one was taken up.
    dropped: u64,
    /// In the order in which they began.
    current: Vec<Current>,
    left_open: VecDeque<Output>,
    /// Pipes that there have been.
    pipes: u64,
}

/// An event whose scripts run.
struct Current {
    occurrence: Occurrence,
    lines: VecDeque<String>,
    script: Option<Script>,
}

/// What a script that has ended was run for.
struct Cause {
    kind: EventKind,
    name: String,
    query: Option<QueryKey>,
}

impl Handlers {
    /// Handlers with nothing to do.
    pub(crate) const fn new(waker: Arc<Waker>) -> Self {
        Self {
            waker,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            dropped: 0,
            current: Vec::new(),
            left_open: VecDeque::new(),
            pipes: 0,
        }
    }

    /// Whether one more event may be handled now.
    fn has_room(&self, most: NonZeroUsize) -> bool {
        self.current.len() < most.get().min(HANDLER_CONCURRENCY_MAX)
    }

    /// Queues an event; `most` are handled at the same time. One that comes while others wait is kept even if no script is
    /// for it now: the scripts may be others when its turn comes.
    fn add(&mut self, event: &Event, scripts: &[EventScript], most: NonZeroUsize, journal: &mut Journal) {
        let its_turn = self.has_room(most) && self.waiting.is_empty();
        if its_turn && scripts.is_empty() {
            return;
        }
        let Some(occurrence) = Occurrence::of(event) else { return };
        if its_turn && lines_for(&occurrence, scripts).next().is_none() {
            return;
        }
        let bytes = self.waiting_bytes + occurrence.bytes();
        if self.waiting.len() >= EVENTS_WAITING_MAX || bytes > EVENTS_WAITING_BYTES_MAX {
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

    /// The line to run next, and the place of the event that it is for; `None`: nothing can begin.
    fn next_line(
        &mut self,
        scripts: &[EventScript],
        most: NonZeroUsize,
        journal: &mut Journal,
    ) -> Option<(usize, String)> {
        loop {
            if let Some(at) = self.current.iter().position(|current| current.script.is_none()) {
                match self.current.get_mut(at).and_then(|current| current.lines.pop_front()) {
                    Some(line) => return Some((at, line)),
                    None => drop(self.current.remove(at)),
                }
            } else if self.has_room(most) {
                self.take_up(scripts, journal)?;
            } else {
                return None;
            }
        }
    }

    /// Begins with the event that has waited longest; `None`: none waits.
    fn take_up(&mut self, scripts: &[EventScript], journal: &mut Journal) -> Option<()> {
        let occurrence = self.waiting.pop_front()?;
        self.waiting_bytes -= occurrence.bytes();
        self.say_dropped(journal);
        let lines = lines_for(&occurrence, scripts).map(str::to_owned).collect();
        self.current.push(Current { occurrence, lines, script: None });
        Some(())
    }

    /// Says how many events were dropped, now or when there may be such a line again.
    fn say_dropped(&mut self, journal: &mut Journal) {
        let dropped = self.dropped;
        let problem = format_args!("agent: {dropped} events were dropped: event handlers lagged behind");
        if dropped > 0 && journal.log_sum(Level::Warn, problem) {
            self.dropped = 0;
        }
    }

    /// Runs a line for the event at a place that [`Self::next_line`] has given.
    fn start(
        &mut self,
        (at, line): (usize, String),
        (node, tags): (&Name, &Tags),
        registry: &Registry,
        limit: (Time, Option<Duration>),
    ) -> io::Result<()> {
        let Some(current) = self.current.get_mut(at) else { return Ok(()) };
        let environment = current.occurrence.environment(node, tags).map_err(|error| script::refused(&line, &error))?;
        let pipes = [self.pipes, self.pipes + 1];
        self.pipes += 2;
        let input = current.occurrence.input.clone();
        current.script = Some(Script::start(line, environment, input, pipes, (registry, &self.waker), limit)?);
        Ok(())
    }

    /// Moves bytes; gives the scripts that have ended, and what they were run for.
    fn progress(&mut self, now: Time, buffer: &mut [u8], journal: &mut Journal) -> Vec<(Cause, Ended)> {
        // Together they are not to hold up the rest longer than one.
        let reads = (SCRIPT_READS_PER_TURN / (self.current.len() + self.left_open.len()).max(1)).max(1);
        self.left_open.retain_mut(|output| !output.discard(reads, buffer));
        if self.waiting.is_empty() {
            self.say_dropped(journal);
        }
        let mut ended = Vec::new();
        for current in &mut self.current {
            let Some(mut script) = current.script.take() else { continue };
            match script.progress(now, reads, buffer) {
                Some(result) => {
                    let Occurrence { kind, name, query, .. } = &current.occurrence;
                    let name = String::from_utf8_lossy(name).into_owned();
                    ended.push((Cause { kind: *kind, name, query: *query }, script.end(result, buffer)));
                }
                None => {
                    if !script.said_slow && now.since(script.started) >= SLOW {
                        script.said_slow = true;
                        let problem = format_args!("agent: Script '{}' slow, execution exceeding 1s", script.line);
                        journal.log(Level::Warn, problem);
                    }
                    current.script = Some(script);
                }
            }
        }
        for (_, ended) in &mut ended {
            self.leave_open(ended, journal);
        }
        ended
    }

    /// Keeps the output that a script has left to others.
    fn leave_open(&mut self, ended: &mut Ended, journal: &mut Journal) {
        self.left_open.extend(ended.left_open.take());
        if self.left_open.len() > OUTPUTS_LEFT_OPEN_MAX {
            self.left_open.pop_front();
            let problem = format_args!(
                "agent: Script '{}' and others left more than {OUTPUTS_LEFT_OPEN_MAX} outputs open: the oldest is closed",
                ended.line
            );
            journal.log(Level::Warn, problem);
        }
    }

    /// The system says that a pipe is ready.
    pub(crate) fn ready(&mut self, pipe: u64) {
        for script in self.current.iter_mut().filter_map(|current| current.script.as_mut()) {
            script.ready(pipe);
        }
        for output in &mut self.left_open {
            output.note(pipe);
        }
    }

    /// When there is something to do although the system says nothing; `now` if it is already.
    pub(crate) fn deadline(&self, now: Time) -> Option<Time> {
        let scripts = || self.current.iter().filter_map(|current| current.script.as_ref());
        if scripts().any(Script::is_ready) || self.left_open.iter().any(Output::is_ready) {
            return Some(now);
        }
        let slow = scripts().filter(|script| !script.said_slow).map(|script| script.started + SLOW);
        let unsaid = (self.dropped > 0 && self.waiting.is_empty()).then(|| now + SLOW);
        slow.chain(scripts().filter_map(Script::deadline)).chain(unsaid).min()
    }
}

fn lines_for<'a>(occurrence: &'a Occurrence, scripts: &'a [EventScript]) -> impl Iterator<Item = &'a str> {
    let wanted = |script: &&EventScript| script.is_for(occurrence.kind, &occurrence.name);
    scripts.iter().filter(wanted).map(|script| script.script.as_str())
}

impl Agent {
    /// Has an event handled, now or when its turn comes.
    pub(crate) fn handle_event(&mut self, event: &Event) {
        self.handlers.add(event, &self.live.event_handlers, self.live.handler_concurrency, &mut self.journal);
        self.start_scripts();
    }

    fn start_scripts(&mut self) {
        let most = self.live.handler_concurrency;
        while let Some((at, line)) = self.handlers.next_line(&self.live.event_handlers, most, &mut self.journal) {
            let (node, tags) = (&self.node.config().name, self.node.tags());
            let limit = (self.clock.now(), self.live.handler_limit);
            let started = self.handlers.start((at, line.clone()), (node, &tags), self.poll.registry(), limit);
            if let Err(error) = started {
                // What the system refuses has Go's words; what we refuse, our own.
                let reason = if error.raw_os_error().is_some() { errno_text(&error) } else { error.to_string() };
                let problem = format_args!("agent: Error invoking script '{line}': {reason}");
                self.journal.log(Level::Err, problem);
            }
        }
    }

    /// Attends to the scripts that run.
    pub(crate) fn mind_handlers(&mut self, now: Time) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let ended = self.handlers.progress(now, &mut buffer, &mut self.journal);
        self.buffer = buffer;
        if ended.is_empty() {
            return;
        }
        for (cause, ended) in ended {
            self.conclude(cause, ended);
        }
        self.start_scripts();
    }

    /// Says how a script ended, and answers the query that it was for (cli.md 4.4).
    fn conclude(&mut self, cause: Cause, ended: Ended) {
        let Cause { kind, name, query } = cause;
        let Ended { line, started, problem, output, total, left_open: _ } = ended;
        self.measure_script(&line, started);
        if total > SCRIPT_OUTPUT_BYTES_MAX as u64 {
            let problem = format_args!(
                "agent: Script '{line}' generated {total} bytes of output, truncated to {SCRIPT_OUTPUT_BYTES_MAX}"
            );
            self.journal.log(Level::Warn, problem);
        }
        let said = String::from_utf8_lossy(&output);
        let said = format_args!("agent: Event '{}' script output: {said}", kind.as_str());
        self.journal.log_lines(Level::Debug, Breaks::All, said);
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
        handlers.add(&user("b", 0), &scripts, NonZeroUsize::MIN, &mut journal);
        assert!(handlers.waiting.is_empty());
        handlers.add(&user("a", 0), &scripts, NonZeroUsize::MIN, &mut journal);
        handlers.add(&user("b", 0), &scripts, NonZeroUsize::MIN, &mut journal);
        assert_eq!(handlers.waiting.len(), 2);
    }

    #[test]
    fn beyond_the_bound_the_newest_events_are_dropped_and_that_is_said() {
        let (mut handlers, mut journal, scripts) = make();
        for _ in 0..EVENTS_WAITING_MAX {
            handlers.add(&user("a", 0), &scripts, NonZeroUsize::MIN, &mut journal);
        }
        assert_eq!((handlers.waiting.len(), lines(&journal, "lag behind")), (EVENTS_WAITING_MAX, 0));
        for _ in 0..3 {
            handlers.add(&user("a", 0), &scripts, NonZeroUsize::MIN, &mut journal);
        }
        assert_eq!((handlers.waiting.len(), lines(&journal, "lag behind: 1024 events wait")), (EVENTS_WAITING_MAX, 1));
        assert_eq!(handlers.next_line(&scripts, NonZeroUsize::MIN, &mut journal), Some((0, "x".to_owned())));
        assert_eq!(lines(&journal, "agent: 3 events were dropped"), 1);
        // Where such a line would have to wait nothing is forgotten.
        let mut said = 0;
        for round in 1..=100 {
            handlers.dropped += round;
            let before = lines(&journal, "events were dropped");
            handlers.say_dropped(&mut journal);
            let is_said = lines(&journal, "events were dropped") > before;
            assert_eq!(is_said, handlers.dropped == 0, "{round}");
            said += usize::from(is_said);
        }
        assert!((9..=11).contains(&said), "{said}");
    }

    #[test]
    fn as_many_events_run_as_are_allowed_and_the_next_begins_when_one_is_done() {
        let (mut handlers, mut journal, mut scripts) = make();
        scripts.extend(EventScript::parse("user:a=y").expect("reads"));
        let poll = Poll::new().expect("a poll");
        let two = NonZeroUsize::new(2).expect("is not zero");
        for _ in 0..3 {
            handlers.add(&user("a", 0), &scripts, two, &mut journal);
        }
        // A line that needs neither a shell nor time; how it ends does not matter here.
        let start = |handlers: &mut Handlers, at| {
            let line = (at, "argv:/nonexistent".to_owned());
            let now = Time::ZERO;
            handlers.start(line, (&"n1".into(), &Tags::new()), poll.registry(), (now, None)).expect("starts");
        };
        for at in [0, 1] {
            assert_eq!(handlers.next_line(&scripts, two, &mut journal), Some((at, "x".to_owned())));
            start(&mut handlers, at);
        }
        assert_eq!((handlers.next_line(&scripts, two, &mut journal), handlers.waiting.len()), (None, 1));
        // The second event's first script has ended; its second one is next, before the event that waits.
        handlers.current[1].script = None;
        assert_eq!(handlers.next_line(&scripts, two, &mut journal), Some((1, "y".to_owned())));
        start(&mut handlers, 1);
        assert_eq!(handlers.next_line(&scripts, two, &mut journal), None);
        handlers.current[0].script = None;
        handlers.current[0].lines.clear();
        assert_eq!(handlers.next_line(&scripts, two, &mut journal), Some((1, "x".to_owned())));
        assert_eq!((handlers.current.len(), handlers.waiting.len(), handlers.waiting_bytes), (2, 0, 0));
    }

    #[test]
    fn no_configuration_handles_more_events_at_the_same_time_than_there_may_be() {
        let (mut handlers, mut journal, _) = make();
        let scripts = EventScript::parse("user:a=argv:/nonexistent").expect("reads");
        let poll = Poll::new().expect("a poll");
        for _ in 0..=HANDLER_CONCURRENCY_MAX {
            handlers.add(&user("a", 0), &scripts, NonZeroUsize::MAX, &mut journal);
        }
        while let Some(line) = handlers.next_line(&scripts, NonZeroUsize::MAX, &mut journal) {
            let limit = (Time::ZERO, None);
            handlers.start(line, (&"n1".into(), &Tags::new()), poll.registry(), limit).expect("starts");
        }
        assert_eq!((handlers.current.len(), handlers.waiting.len()), (HANDLER_CONCURRENCY_MAX, 1));
    }

    #[test]
    fn outputs_that_are_left_open_are_bounded_and_the_oldest_is_closed() {
        let (mut handlers, mut journal, _) = make();
        let poll = Poll::new().expect("a poll");
        let mut writers = Vec::new();
        let mut leave = |handlers: &mut Handlers, journal: &mut Journal| {
            let (reader, writer) = io::pipe().expect("a pipe");
            let output = Output::new(writers.len() as u64, reader, poll.registry()).expect("registers");
            writers.push(writer);
            let mut ended = Ended {
                line: "x".to_owned(),
                started: Time::ZERO,
                problem: None,
                output: Vec::new(),
                total: 0,
                left_open: Some(output),
            };
            handlers.leave_open(&mut ended, journal);
        };
        for _ in 0..OUTPUTS_LEFT_OPEN_MAX {
            leave(&mut handlers, &mut journal);
        }
        assert_eq!((handlers.left_open.len(), lines(&journal, "outputs open")), (OUTPUTS_LEFT_OPEN_MAX, 0));
        leave(&mut handlers, &mut journal);
        assert_eq!((handlers.left_open.len(), lines(&journal, "outputs open")), (OUTPUTS_LEFT_OPEN_MAX, 1));
        let is_open = |handlers: &mut Handlers, pipe| {
            handlers.ready(pipe);
            handlers.left_open.iter().any(Output::is_ready)
        };
        assert_eq!([0, 1].map(|pipe| is_open(&mut handlers, pipe)), [false, true], "the first is gone");
    }

    #[test]
    fn events_that_wait_are_bounded_in_bytes_too() {
        let (mut handlers, mut journal, scripts) = make();
        handlers.add(&user("a", EVENTS_WAITING_BYTES_MAX - 1), &scripts, NonZeroUsize::MIN, &mut journal);
        handlers.add(&user("a", 0), &scripts, NonZeroUsize::MIN, &mut journal);
        assert_eq!((handlers.waiting.len(), handlers.dropped), (1, 1));
    }
}
