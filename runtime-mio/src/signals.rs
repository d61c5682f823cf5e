//! Unix signals as events of the loop.

use std::io;
use std::sync::Arc;

use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGPIPE, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::flag;
use signal_hook_mio::v1_0::Signals as Pipe;

/// What tells an agent to stop or to reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT: leave, then stop.
    Interrupt,
    /// SIGTERM: stop; leave first only if the configuration says so.
    Terminate,
    /// SIGHUP: read the configuration again.
    Hangup,
    /// SIGUSR1: write what was measured.
    Measurements,
}

impl Signal {
    /// The name in upstream's messages (cli.md 3.5).
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "interrupt",
            Self::Terminate => "terminated",
            Self::Hangup => "hangup",
            Self::Measurements => "user defined signal 1",
        }
    }
}

/// The signals of this process.
pub(crate) struct Signals(Pipe);

impl Signals {
    /// Takes over SIGUSR1, and SIGUSR2 to ignore it.
    ///
    /// SIGCHLD is taken over too, but tells nothing: where whoever started us ignores it, so would we, and of a process whose
    /// parent does the system does not keep how it ended.
    pub(crate) fn listen(registry: &Registry, token: Token) -> io::Result<Self> {
        flag::register(SIGCHLD, Arc::default())?;
        let mut pipe = Pipe::new([SIGUSR1, SIGUSR2])?;
        registry.register(&mut pipe, token, Interest::READABLE)?;
        Ok(Self(pipe))
    }

    /// Takes over the others too; before that they end the process.
    pub(crate) fn listen_to_all(&self) -> io::Result<()> {
        [SIGINT, SIGTERM, SIGHUP].into_iter().try_for_each(|number| self.0.add_signal(number))
    }

    /// What has come, each signal once.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = Signal> {
        self.0.pending().filter_map(|number| match number {
            SIGINT => Some(Signal::Interrupt),
            SIGTERM => Some(Signal::Terminate),
            SIGHUP => Some(Signal::Hangup),
            SIGUSR1 => Some(Signal::Measurements),
            _ => None,
        })
    }
}

/// Ends the process as a write to a closed pipe ends any other: by SIGPIPE, which a shell shows as 141.
///
/// Rust's runtime ignores that signal, so a program has to say so. Does nothing where the signal cannot be raised.
pub fn die_of_broken_pipe() {
    // Only fails for a number that is no signal.
    let _ = signal_hook::low_level::emulate_default_handler(SIGPIPE);
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll};
    use std::time::Duration;

    #[test]
    fn signals_of_the_process_wake_the_loop() {
        let mut poll = Poll::new().expect("a poll");
        let mut signals = Signals::listen(poll.registry(), Token(0)).expect("listens");
        signals.listen_to_all().expect("listens");
        for number in [SIGUSR2, SIGHUP] {
            signal_hook::low_level::raise(number).expect("is raised");
        }
        let mut events = Events::with_capacity(1);
        let woken = poll.poll(&mut events, Some(Duration::from_secs(10)));
        // A signal may also interrupt the wait itself.
        assert!(woken.is_err() || !events.is_empty());
        assert_eq!(signals.take().collect::<Vec<_>>(), [Signal::Hangup]);
        signal_hook::low_level::raise(SIGTERM).expect("is raised");
        assert_eq!(signals.take().collect::<Vec<_>>(), [Signal::Terminate]);
        signal_hook::low_level::raise(SIGUSR1).expect("is raised");
        assert_eq!(signals.take().collect::<Vec<_>>(), [Signal::Measurements]);
    }
}
