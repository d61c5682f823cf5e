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
        let answer = match output {
            Output::Datagram { activity, to, bytes } => self.network.send(self.poll.registry(), activity, to, bytes),
            Output::Stream { activity: _, id, action } => {
                let finish_by = self.last + self.node.config().swim.stream_timeout;
                self.network.act(self.poll.registry(), id, action, finish_by)
            }
            Output::Resolve { id, host } => {
                self.resolver.ask(id, host).err().map(|error| Answer::Unresolved(id, error))
            }
            Output::Persist { id, record: _ } => {
                let error = PersistError("the agent has no file to keep it in".to_owned());
                Some(Answer::NotPersisted(id, error))
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
                self.journal.log(log.level(), format_args!("{log}"));
                None
            }
        };
        self.answers.extend(answer);
    }

    fn happened(&mut self, event: &Event) {
        match event {
            Event::Members { kind, members } => {
                self.journal.log(Level::Info, format_args!("agent: Received event: {kind}"));
                self.measure_members(*kind, members.len());
                self.publish(*kind, members);
            }
            Event::Shutdown(ShutdownReason::RetryJoinExhausted) => {
                self.stage = Stage::Stopping { left: false, exit: Exit::Abrupt };
            }
        }
    }

    fn replied(&mut self, id: RequestId, reply: Reply) {
        match self.requests.remove(&id) {
            Some(Asker::Start) => self.start_joined(reply),
            Some(Asker::Signal) => self.signal_left(&reply),
            Some(Asker::Discovery(hosts)) => self.discovered_joined(&hosts, &reply),
            Some(Asker::Client(ticket)) => self.answer_client(&ticket, reply),
            None => {}
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
            Reply::Left | Reply::Rejoined | Reply::ForceLeft => {
                self.refuse_start(format_args!("the join was answered with {reply:?}"));
            }
        }
    }

    fn refuse_start(&mut self, problem: std::fmt::Arguments<'_>) {
        self.journal.say(format_args!("==> {problem}"));
        self.stage = Stage::Stopping { left: false, exit: Exit::Abrupt };
    }
}
