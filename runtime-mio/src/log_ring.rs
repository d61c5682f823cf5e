//! Log lines: the last ones in memory for `serf monitor`, those that pass the level on the output.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::io::ErrorKind;
use std::panic::Location;
use std::sync::Arc;

use mio::Waker;
use villein_core::log::{Level, Log};

use crate::clock::Clock;
use crate::limits::{LOG_BYTES_MAX, LOG_GATED_BYTES_MAX, LOG_LINE_BYTES_MAX, LOG_LINES_MAX};
use crate::local_time::Zone;
use crate::log_pace::{Kind, Pace, Paces, Verdict};
use crate::log_text::{Breaks, LogText};
use crate::outlet::{Outlet, Sink};
use crate::syslog::Syslog;

/// One line, with its time and level in the text.
#[derive(Debug)]
pub(crate) struct Line {
    /// Its level.
    pub(crate) level: Level,
    /// `2026/11/23 06:07:53 [INFO] agent: ...`, without a line break at the end.
    pub(crate) text: String,
}

/// What log lines that people see begin with.
const INDENT: &str = "    ";
/// Room that is kept for the next line; a longer one is rare, and gives back what it took.
const ROOM_KEPT: usize = 512;

/// The log and the output.
pub(crate) struct Journal {
    outlet: Outlet,
    /// Lines that found no room there since that was last said.
    lost: usize,
    zone: Zone,
    level: Level,
    /// The second of the last line, and how lines show it.
    second: (i64, String),
    /// Room in which lines are written.
    room: String,
    lines: VecDeque<Line>,
    bytes: usize,
    /// Number of the first line in `lines`, counted from the agent's start.
    first: u64,
    gate: Option<Gate>,
    broken: bool,
    syslog: Option<Syslog>,
    paces: Paces,
}

#[derive(Default)]
struct Gate {
    text: String,
    dropped: usize,
}

impl Journal {
    /// An empty log whose output is held back until [`Journal::open_gate`].
    pub(crate) fn new(sink: Sink, zone: Zone, level: Level) -> Self {
        Self {
            outlet: Outlet::new(sink),
            lost: 0,
            second: (0, zone.stamp(0).to_string()),
            zone,
            level,
            room: String::new(),
            lines: VecDeque::new(),
            bytes: 0,
            first: 0,
            gate: Some(Gate::default()),
            broken: false,
            syslog: None,
            paces: Paces::default(),
        }
    }

    /// The lowest level that is put out.
    pub(crate) const fn set_level(&mut self, level: Level) {
        self.level = level;
    }

    /// From now on the loop is woken when the output cannot be written, and when lines that were lost can be told of.
    pub(crate) fn set_waker(&mut self, waker: Arc<Waker>) {
        self.outlet.set_waker(waker);
    }

    /// Sends every line to the syslog too from now on, whatever holds back the output.
    pub(crate) fn set_syslog(&mut self, syslog: Option<Syslog>) {
        self.syslog = syslog;
    }

    /// Keeps a line and puts it out if its level is high enough. Lines that are written at one place are of one kind; in a
    /// flood of them some stand for many (`log_pace.rs`).
    #[track_caller]
    pub(crate) fn log(&mut self, level: Level, text: fmt::Arguments<'_>) {
        self.log_at((Kind::Place(Location::caller()), Pace::of_level(level)), level, 1, text);
    }

    /// Same as [`Journal::log`], for lines about clients that come.
    #[track_caller]
    pub(crate) fn log_visit(&mut self, level: Level, text: fmt::Arguments<'_>) {
        self.log_at((Kind::Place(Location::caller()), Pace::VISIT), level, 1, text);
    }

    /// Same as [`Journal::log`], for a text that has line breaks of its own.
    #[track_caller]
    pub(crate) fn log_lines(&mut self, level: Level, breaks: Breaks, text: fmt::Arguments<'_>) {
        self.log_text((Kind::Place(Location::caller()), Pace::of_level(level)), level, 1, LogText(text, breaks));
    }

    /// Same as [`Journal::log`], for a record of the core.
    pub(crate) fn log_record(&mut self, log: &Log) {
        let is_list = matches!(log, Log::JoinFailed(_) | Log::RetryJoinFailed(..));
        let breaks = if is_list { Breaks::List } else { Breaks::None };
        let text = LogText(format_args!("{log}"), breaks);
        self.log_text((Kind::of(log), Pace::of(log)), log.level(), 1, text);
    }

    /// Same as [`Journal::log`], for a line of that kind that stands for `count`.
    pub(crate) fn log_at(&mut self, kind: (Kind, Pace), level: Level, count: u64, text: fmt::Arguments<'_>) {
        self.log_text(kind, level, count, LogText(text, Breaks::None));
    }

    fn log_text(&mut self, kind: (Kind, Pace), level: Level, count: u64, text: LogText<'_>) {
        match self.paces.take(kind, Clock::wall(), level, count, format_args!("{text}")) {
            Verdict::Write => self.write_one_of(level, count.saturating_sub(1), format_args!("{text}")),
            Verdict::Held => {}
        }
    }

    /// Same as [`Journal::log`], for a line that has a sum in it: where it would have to wait nothing is done, false is given, and
    /// who has the sum keeps it.
    #[track_caller]
    pub(crate) fn log_sum(&mut self, level: Level, text: fmt::Arguments<'_>) -> bool {
        let kind = (Kind::Place(Location::caller()), Pace::of_level(level));
        let has_room = self.has_room(kind);
        if has_room {
            self.log_at(kind, level, 1, text);
        }
        has_room
    }

    /// Whether a line of that kind would be written at once.
    pub(crate) fn has_room(&mut self, kind: (Kind, Pace)) -> bool {
        self.paces.has_room(kind, Clock::wall())
    }

    /// Whether lines wait for [`Journal::release`].
    pub(crate) const fn is_holding(&self) -> bool {
        self.paces.is_holding()
    }

    /// Writes the lines that have waited long enough, or `all` that wait; first, how many were lost.
    pub(crate) fn release(&mut self, all: bool) {
        self.tell_lost();
        while self.paces.is_holding()
            && let Some((level, text, more)) = self.paces.release(Clock::wall(), all)
        {
            self.write_one_of(level, more, format_args!("{text}"));
        }
    }

    fn write_one_of(&mut self, level: Level, more: u64, text: fmt::Arguments<'_>) {
        match more {
            0 => self.write(level, text),
            more => self.write(level, format_args!("{text} (and {more} more like it)")),
        }
    }

    fn write(&mut self, level: Level, text: fmt::Arguments<'_>) {
        let now = self.take_time();
        let is_put_out = level >= self.level;
        if is_put_out && let Some(syslog) = &mut self.syslog {
            syslog.send(level, &self.zone.stamp(now), &text.to_string());
        }
        let mut line = std::mem::take(&mut self.room);
        line.extend([INDENT, &self.second.1]);
        let _ = write!(line, " [{level}] {text}"); // Room for text cannot fail.
        cut(&mut line, INDENT.len() + LOG_LINE_BYTES_MAX);
        // As in Go: a line break of its own is enough, and one is taken off for `serf monitor`.
        if line.ends_with('\n') {
            line.pop();
        }
        self.keep(level, &line[INDENT.len()..]);
        if is_put_out {
            line.push('\n');
            match &mut self.gate {
                Some(gate) if gate.text.len() + line.len() > LOG_GATED_BYTES_MAX => gate.dropped += 1,
                Some(gate) => gate.text.push_str(&line),
                None => self.put(&line),
            }
        }
        line.clear();
        line.shrink_to(ROOM_KEPT);
        self.room = line;
    }

    /// The second, as lines show it from now on.
    fn take_time(&mut self) -> i64 {
        let now = Clock::wall();
        if now != self.second.0 {
            self.second = (now, self.zone.stamp(now).to_string());
        }
        now
    }

    /// Keeps a line for those that will ask, in the place of the oldest where all are taken.
    fn keep(&mut self, level: Level, text: &str) {
        let mut room = String::new();
        while self.lines.len() >= LOG_LINES_MAX || (self.bytes + text.len() > LOG_BYTES_MAX && !self.lines.is_empty()) {
            room = self.lines.pop_front().map(|line| line.text).unwrap_or_default();
            self.bytes -= room.len();
            self.first += 1;
        }
        room.clear();
        // LOG_BYTES_MAX counts text: a short line must not keep the room of a long one that stood here.
        if room.capacity() / 2 > text.len() {
            room.shrink_to(text.len());
        }
        room.push_str(text);
        self.bytes += room.len();
        self.lines.push_back(Line { level, text: room });
    }

    /// Puts out text for the person at the terminal; it is no log line and is not kept.
    pub(crate) fn say(&mut self, text: fmt::Arguments<'_>) {
        self.put(&format!("{text}\n"));
    }

    /// Lets log lines through from now on, those that were held back first.
    pub(crate) fn open_gate(&mut self) {
        let Some(gate) = self.gate.take() else { return };
        self.put(&gate.text);
        if gate.dropped > 0 {
            self.log(Level::Warn, format_args!("agent: {} log lines of the start were dropped", gate.dropped));
        }
    }

    fn put(&mut self, text: &str) {
        let is_taken = self.tell_lost() && self.outlet.put(text);
        if !is_taken {
            self.lost = self.lost.saturating_add(text.bytes().filter(|byte| *byte == b'\n').count());
        }
    }

    /// Puts out how many lines were lost, if any were; `false`: there is no room for that either.
    fn tell_lost(&mut self) -> bool {
        if self.lost > 0 {
            self.take_time();
            let notice = format!(
                "{INDENT}{} [{}] agent: {} lines of the log were lost: whoever reads them is too slow\n",
                self.second.1,
                Level::Warn,
                self.lost
            );
            if !self.outlet.put(&notice) {
                return false;
            }
            self.lost = 0;
        }
        true
    }

    /// Whether the reader of the output has gone, as far as that is known by now.
    pub(crate) fn is_broken(&mut self) -> bool {
        // Nobody can be told of other errors; the agent is worth more than its log.
        self.broken |= self.outlet.failure().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe);
        self.broken
    }

    /// Waits until everything is put out, but not for long where nobody reads.
    pub(crate) fn finish(&mut self) {
        // Where lines were lost, what waits has to be read before there is room to say so.
        if self.outlet.finish() && self.lost > 0 && self.tell_lost() {
            self.outlet.finish();
        }
    }

    /// The number that the next line will get.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.lines.len() as u64
    }

    /// The number of the first line that is still there.
    pub(crate) const fn first(&self) -> u64 {
        self.first
    }

    /// The lines from number `from` on that are still there.
    pub(crate) fn since(&self, from: u64) -> impl Iterator<Item = &Line> {
        let skip = usize::try_from(from.saturating_sub(self.first)).unwrap_or(usize::MAX).min(self.lines.len());
        self.lines.range(skip..)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Leaves out what is beyond so many bytes, and says how much that is.
fn cut(line: &mut String, bytes: usize) {
    if line.len() > bytes {
        let left = line.floor_char_boundary(bytes);
        let out = line.len() - left;
        line.truncate(left);
        let _ = write!(line, "... ({out} more bytes)"); // Room for text cannot fail.
    }
}

#[cfg(test)]
mod tests;
