//! What an agent is told at its start, and what it tells at its end.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use mio::Waker;
use villein_core::Config;
use villein_core::log::Level;
use villein_core::types::{JoinTarget, Tags};

use crate::event_script::EventScript;
use crate::files::FileOptions;
use crate::mdns::MdnsOptions;
use crate::outlet::Sink;
use crate::recorder::RecordOptions;
use crate::signals::Signal;
use crate::syslog::Syslog;
use crate::telemetry::TelemetryOptions;

/// Everything that an agent is told at its start.
pub struct AgentOptions {
    /// The node's configuration. Its advertised address, and whether datagrams leave from it, are filled in.
    pub config: Config,
    /// Where gossip is received; port 0 lets the system choose. 0.0.0.0 and :: are both IP versions.
    pub bind: SocketAddr,
    /// The address that peers are told; `None`: the bind address, or a private address of the host.
    pub advertise: Option<SocketAddr>,
    /// The gossip key of 16, 24 or 32 bytes; it is put before the keys of the configuration.
    pub encrypt_key: Option<Vec<u8>>,
    /// Where RPC clients are served: `host:port`, `unix:PATH`, or `off`.
    pub rpc_addr: String,
    /// The token that RPC clients must show; empty: none.
    pub rpc_auth: Vec<u8>,
    /// The lowest level of log lines that are put out.
    pub log_level: Level,
    /// The value of the environment's `TZ`.
    pub time_zone: Option<String>,
    /// The files that are kept. `config` says what was found in those of the keys and tags.
    pub files: FileOptions,
    /// Lines for the beginning of the log, at INFO: what was restored from files.
    pub restored: Vec<String>,
    /// The lines below `==> Serf agent running!`, without a line break at the end.
    pub banner: String,
    /// Whom to join before the log is put out; the agent stops if nobody is reached.
    pub start_join: Vec<JoinTarget>,
    /// How other agents are found, if they are.
    pub mdns: Option<MdnsOptions>,
    /// Whether user events of the cluster's past are delivered after that join, and after joins of agents that were
    /// found.
    pub replay: bool,
    /// What can be changed while the agent runs.
    pub live: LiveOptions,
    /// Whether the process's signals are handled. Set it for one agent of a process at most.
    pub signals: bool,
    /// Reads the configuration again; `None`: there is nothing to read.
    pub reload: Option<Reloader>,
    /// Where log lines and messages go.
    pub sink: Sink,
    /// Where measured values go while the agent runs.
    pub telemetry: TelemetryOptions,
    /// Where they are written when SIGUSR1 asks for them: standard error.
    pub dump: Sink,
    /// Where everything that goes into the core is recorded, if it is.
    pub record: Option<RecordOptions>,
    /// The host's syslog, if log lines go there too.
    pub syslog: Option<Syslog>,
}

/// What can be changed while the agent runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveOptions {
    /// Whether SIGTERM leaves the cluster too.
    pub leave_on_terminate: bool,
    /// Whether SIGINT does not leave the cluster.
    pub skip_leave_on_interrupt: bool,
    /// The event handlers, in the order in which they run (cli.md 4).
    pub event_handlers: Vec<EventScript>,
    /// How long a script may run before it is killed, with all that it has started; `None`: for ever, as upstream.
    pub handler_limit: Option<Duration>,
    /// How many events are handled at the same time; upstream's is 1, more than [`crate::HANDLER_CONCURRENCY_MAX`] are not.
    pub handler_concurrency: NonZeroUsize,
}

impl Default for LiveOptions {
    fn default() -> Self {
        Self {
            leave_on_terminate: false,
            skip_leave_on_interrupt: false,
            event_handlers: Vec::new(),
            handler_limit: None,
            handler_concurrency: NonZeroUsize::MIN,
        }
    }
}

/// Reads the configuration again.
///
/// # Errors
/// What is wrong with it, line by line; the old settings stay.
pub type Reloader = Box<dyn FnMut() -> Result<Reload, Vec<String>> + Send>;

/// What a configuration that was read again says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reload {
    /// Warnings that the configuration deserves.
    pub warnings: Vec<String>,
    /// The new level, or the message about a bad one; then the old level stays.
    pub log_level: Result<Level, String>,
    /// The configured tags, which replace those of the node; `None`: a tags file has the say.
    pub tags: Option<Tags>,
    /// Everything else that is taken over.
    pub live: LiveOptions,
}

/// Why an agent does not start. `Display` is upstream's message (cli.md 3.3).
#[derive(Debug)]
pub enum StartError {
    /// The gossip or the node cannot be set up.
    Serf(String),
    /// Other agents cannot be found.
    Mdns(String),
    /// RPC clients cannot be served.
    Rpc(String),
    /// What goes in cannot be recorded.
    Record(String),
    /// The poll loop or the system's entropy is not available.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serf(problem) => write!(f, "Failed to start the Serf agent: Error creating Serf: {problem}"),
            Self::Mdns(problem) => write!(f, "Error starting mDNS listener: {problem}"),
            Self::Rpc(problem) => write!(f, "Error starting RPC listener: {problem}"),
            Self::Record(problem) => write!(f, "Error starting the recording: {problem}"),
            Self::System(problem) => write!(f, "Failed to start the Serf agent: {problem}"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// How an agent ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It left the cluster as it was asked to.
    Graceful,
    /// It stopped without a leave, or failed.
    Abrupt,
    /// Nobody reads its output any more; see [`crate::die_of_broken_pipe`].
    BrokenPipe,
}

impl Exit {
    /// The process's exit code (cli.md 3.5).
    pub const fn code(self) -> u8 {
        match self {
            Self::Graceful => 0,
            Self::Abrupt => 1,
            Self::BrokenPipe => 141,
        }
    }
}

/// What another thread can tell a running agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Act as if this signal had come.
    Signal(Signal),
    /// Drop everything at once, as if the process had been killed.
    Kill,
}

/// Controls an agent from another thread.
#[derive(Clone)]
pub struct Controls {
    pub(crate) sender: SyncSender<Control>,
    pub(crate) waker: Arc<Waker>,
}

impl Controls {
    /// Tells the agent; an agent that has ended, or is told too much at once, does not hear it.
    pub fn send(&self, control: Control) {
        // Both fail only where nobody listens.
        if self.sender.try_send(control).is_ok() {
            let _ = self.waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use mio::{Poll, Token};

    use super::*;
    use crate::limits::CONTROLS_MAX;

    #[test]
    fn an_agent_that_is_told_too_much_at_once_does_not_hear_the_rest() {
        let poll = Poll::new().expect("a poll");
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).expect("a waker"));
        let (sender, control) = sync_channel(CONTROLS_MAX);
        let controls = Controls { sender, waker };
        for _ in 0..CONTROLS_MAX {
            controls.send(Control::Signal(Signal::Hangup));
        }
        controls.send(Control::Kill);
        let heard: Vec<_> = control.try_iter().collect();
        assert_eq!(heard, [Control::Signal(Signal::Hangup); CONTROLS_MAX]);
        controls.send(Control::Kill);
        assert_eq!(control.try_recv(), Ok(Control::Kill), "there is room again");
    }
}
