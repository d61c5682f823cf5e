//! Signals, leaving, reloading and the end (cli.md 3.5 and 3.6).

use std::time::Duration;

use villein_core::Time;
use villein_core::command::{Command, Reply};
use villein_core::log::Level;

use crate::agent::{Agent, Stage};
use crate::options::{Exit, Reload};
use crate::requests::Asker;
use crate::signals::Signal;

/// How long a leave that a signal asked for may take.
const LEAVE_MAX: Duration = Duration::from_secs(3);
/// How long the disk may take for the last records, each time that it has none to tell of.
const DISK_MAX: Duration = Duration::from_secs(5);

impl Agent {
    /// A signal has come after the start-up.
    pub(crate) fn signalled(&mut self, signal: Signal, now: Time) {
        if signal == Signal::Measurements {
            return self.dump_measurements(now);
        }
        match self.stage {
            Stage::Running => {}
            Stage::Leaving(_) => return self.stop_abruptly(),
            Stage::Starting | Stage::Stopping { .. } => return,
        }
        self.journal.say(format_args!("==> Caught signal: {}", signal.name()));
        let leaves = match signal {
            Signal::Hangup => return self.reload_configuration(),
            Signal::Measurements => return,
            Signal::Interrupt => !self.live.skip_leave_on_interrupt,
            Signal::Terminate => self.live.leave_on_terminate,
        };
        if !leaves {
            return self.stop_abruptly();
        }
        self.journal.say(format_args!("==> Gracefully shutting down agent..."));
        self.stage = Stage::Leaving(now + LEAVE_MAX);
        // A client's leave that is under way is as good as our own.
        if !self.leave_asked {
            self.leave(Asker::Signal);
        }
    }

    /// Asks the node to leave.
    pub(crate) fn leave(&mut self, asker: Asker) {
        self.leave_asked = true;
        self.journal.log(Level::Info, format_args!("agent: requesting graceful leave from Serf"));
        self.command(asker, Command::Leave);
    }

    /// The leave that a signal asked for is over.
    pub(crate) fn signal_left(&mut self, reply: &Reply) {
        match reply {
            Reply::Left => self.stage = Stage::Stopping { warned: true, exit: Exit::Graceful },
            Reply::Failed(error) => {
                self.journal.say(format_args!("==> Error: {error}"));
                self.stop_abruptly();
            }
            Reply::Joined { .. }
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
            | Reply::Keys(_) => self.stop_abruptly(),
        }
    }

    /// Gives up a leave that takes too long.
    pub(crate) fn mind_leave(&mut self, now: Time) {
        if matches!(self.stage, Stage::Leaving(until) if until <= now) {
            self.stop_abruptly();
        }
    }

    pub(crate) const fn stop_abruptly(&mut self) {
        self.stage = Stage::Stopping { warned: false, exit: Exit::Abrupt };
    }

    /// Writes what was measured. The log says if that fails; the agent is worth more than its numbers.
    fn dump_measurements(&mut self, now: Time) {
        self.telemetry.ask_system(now);
        let text = self.telemetry.dump(now);
        self.put_measurements(&text);
    }

    pub(crate) fn put_measurements(&mut self, text: &str) {
        if !self.dump.put(text) {
            self.journal.log(
                Level::Warn,
                format_args!("agent: measurements cannot be written: whoever reads them is too slow"),
            );
        }
    }

    /// Says why measurements could not be written.
    pub(crate) fn mind_dump(&mut self) {
        if let Some(error) = self.dump.failure() {
            self.journal.log(Level::Warn, format_args!("agent: measurements cannot be written: {error}"));
        }
    }

    fn reload_configuration(&mut self) {
        self.journal.say(format_args!("==> Reloading configuration..."));
        let Some(reload) = &mut self.reload else { return };
        match reload() {
            Ok(reload) => self.apply(reload),
            Err(problems) => {
                for problem in problems {
                    self.journal.say(format_args!("==> {problem}"));
                }
                self.journal.say(format_args!("==> Failed to reload configs"));
            }
        }
    }

    fn apply(&mut self, reload: Reload) {
        for warning in reload.warnings {
            self.journal.say(format_args!("==> {warning}"));
        }
        match reload.log_level {
            Ok(level) => self.journal.set_level(level),
            Err(problem) => self.journal.say(format_args!("==> {problem}")),
        }
        let known = std::mem::replace(&mut self.live, reload.live).event_handlers;
        self.warn_of_shells(&known);
        self.warn_of_tags();
        if let Some(tags) = reload.tags {
            self.command(Asker::Reload, Command::ReplaceTags(tags));
        }
    }

    /// The tags of a reload are set, or are not.
    pub(crate) fn tags_reloaded(&mut self, reply: &Reply) {
        if let Reply::Failed(error) = reply {
            self.journal.say(format_args!("==> Failed to update tags: {error}"));
        }
    }

    /// Says goodbye to the clients and closes everything.
    pub(crate) fn shut_down(mut self, warned: bool, exit: Exit) -> Exit {
        self.journal.log(Level::Info, format_args!("agent: requesting serf shutdown"));
        if !warned {
            self.journal.log(Level::Warn, format_args!("serf: Shutdown without a Leave"));
        }
        // What is on its way to the disk must not be cut short by our end.
        while self.files.wait(DISK_MAX).is_some() {}
        self.rpc.tell_all_missed(&mut self.journal);
        self.journal.release(true);
        self.journal.log(Level::Info, format_args!("agent: shutdown complete"));
        self.close_clients();
        self.journal.finish();
        if self.journal.is_broken() { Exit::BrokenPipe } else { exit }
    }
}
