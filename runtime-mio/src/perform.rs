//! Outputs of the core, done.

use std::net::SocketAddr;

use villein_core::command::{JoinErrors, Reply};
use villein_core::event::{Event, ShutdownReason};
use villein_core::io::{
    PersistError, PersistId, RequestId, ResolveError, ResolveId, StreamError, StreamEvent, StreamId,
};
use villein_core::log::Level;
use villein_core::{Activity, Output, Stimulus};

use crate::agent::{Agent, Stage};
use crate::log_text::{Breaks, LogText};
use crate::options::Exit;
use crate::requests::Asker;

/// What the core is told at once of an output.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A datagram could not be sent.
    SendFailed(Activity, SocketAddr),
    /// A datagram waits for the socket.
    Stalled(Activity),
    /// No datagram of the activity waits any more.
    Resumed(Activity),
    /// A stream is gone.
    StreamFailed(StreamId, StreamError),
    /// A name cannot be looked up.
    Unresolved(ResolveId, ResolveError),
    /// A record cannot be kept.
    NotPersisted(PersistId, PersistError),
}

impl Answer {
    /// The input for the core.
    pub(crate) fn into_stimulus(self) -> Stimulus<'static> {
        match self {
            Self::SendFailed(activity, to) => Stimulus::SendFailed { to, activity },
            Self::Stalled(activity) => Stimulus::Stalled { activity },
            Self::Resumed(activity) => Stimulus::Resumed { activity },
            Self::StreamFailed(id, error) => Stimulus::Stream { id, event: StreamEvent::Failed(error) },
            Self::Unresolved(id, error) => Stimulus::Resolved { id, result: Err(error) },
            Self::NotPersisted(id, error) => Stimulus::Persisted { id, result: Err(error) },
        }
    }
}

impl Agent {
    /// Does what the core wants done.
    pub(crate) fn perform(&mut self, output: Output) {
        self.measure_output(&output);
        self.stirred |= !matches!(output, Output::Datagram { .. });
        let answer = match output {
            Output::Datagram { activity, to, bytes } => self.network.send(self.poll.registry(), activity, to, bytes),
            Output::Stream { activity: _, id, action } => {
                let finish_by = self.last + self.node.config().swim.stream_timeout;
                self.network.act(self.poll.registry(), id, action, finish_by)
            }
            Output::Resolve { id, host } => {
                self.resolver.ask(id, host).err().map(|error| Answer::Unresolved(id, error))
            }
            Output::Persist { id, record } => {
                self.files.keep(id, *record).err().map(|error| Answer::NotPersisted(id, error))
            }
            Output::Event(event) => {
                self.happened(&event);
                None
            }
            Output::Reply { id, reply } => {
                self.replied(id, *reply);
                None
            }
            Output::Log(log) => {
                self.journal.log_record(&log);
                None
            }
        };
        self.answers.extend(answer);
    }

    fn happened(&mut self, event: &Event) {
        self.measure_event(event);
        match event {
            Event::Members { kind, members: _ } => {
                self.journal.log(Level::Info, format_args!("agent: Received event: {kind}"));
            }
            Event::User(event) => {
                let name = String::from_utf8_lossy(&event.name);
                self.journal.log(Level::Info, format_args!("agent: Received event: user-event: {name}"));
            }
            Event::Query(query) => {
                let name = String::from_utf8_lossy(&query.name);
                self.journal.log(Level::Info, format_args!("agent: Received event: query: {name}"));
            }
            Event::Shutdown(reason) => return self.must_stop(*reason),
        }
        self.publish(event);
        self.handle_event(event);
    }

    /// The node must not go on (cli.md 3.5: the loser of a name conflict ends with 0).
    fn must_stop(&mut self, reason: ShutdownReason) {
        self.stage = match reason {
            ShutdownReason::RetryJoinExhausted => Stage::Stopping { warned: false, exit: Exit::Abrupt },
            ShutdownReason::NameConflict => {
                self.journal.log(Level::Warn, format_args!("serf: Shutdown without a Leave"));
                self.journal.log(Level::Warn, format_args!("agent: Serf shutdown detected, quitting"));
                Stage::Stopping { warned: true, exit: Exit::Graceful }
            }
        };
    }

    fn replied(&mut self, id: RequestId, reply: Reply) {
        let Some(asker) = self.requests.remove(&id) else { return };
        // Everything else is the one answer to its command.
        if matches!(reply, Reply::TagsSet) {
            self.warn_of_tags();
        }
        let goes_on = matches!(reply, Reply::QueryStarted | Reply::QueryAck { .. } | Reply::QueryResponse { .. });
        match &asker {
            Asker::Start => self.start_joined(reply),
            Asker::Signal => self.signal_left(&reply),
            Asker::Client(ticket) => self.answer_client(ticket, reply),
            Asker::Reload => self.tags_reloaded(&reply),
            Asker::Discovery(hosts) => self.discovered_joined(hosts, &reply),
            Asker::Handler(query) => self.handler_answered(query, &reply),
        }
        if goes_on {
            self.requests.insert(id, asker);
        }
    }

    /// The join of the start-up is over.
    fn start_joined(&mut self, reply: Reply) {
        match reply {
            Reply::Joined { contacted: 0, errors } => self.refuse_start(format_args!("{}", JoinErrors(&errors))),
            Reply::Joined { contacted, errors: _ } => {
                self.journal.say(format_args!("    Join completed. Synced with {contacted} initial agents"));
                self.open_gate();
            }
            Reply::Failed(error) => self.refuse_start(format_args!("{error}")),
            Reply::Left
            | Reply::Rejoined
            | Reply::ForceLeft
            | Reply::EventSent
            | Reply::QueryStarted
            | Reply::QueryAck { .. }
            | Reply::QueryResponse { .. }
            | Reply::QueryDone
            | Reply::Responded
            | Reply::TagsSet
            | Reply::QueryEnded
            | Reply::Keys(_) => {
                self.refuse_start(format_args!("the join was answered with {reply:?}"));
            }
        }
    }

    fn refuse_start(&mut self, problem: std::fmt::Arguments<'_>) {
        self.journal.say(format_args!("==> {}", LogText(problem, Breaks::List)));
        self.stage = Stage::Stopping { warned: false, exit: Exit::Abrupt };
    }
}
