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

    /// Same as [`Journal::log`], for a record of the core.
    pub(crate) fn log_record(&mut self, log: &Log) {
        self.log_at((Kind::of(log), Pace::of(log)), log.level(), 1, format_args!("{log}"));
    }

    /// Same as [`Journal::log`], for a line of that kind that stands for `count`.
    pub(crate) fn log_at(&mut self, kind: (Kind, Pace), level: Level, count: u64, text: fmt::Arguments<'_>) {
        match self.paces.take(kind, Clock::wall(), level, count, text) {
            Verdict::Write => self.write_one_of(level, count.saturating_sub(1), text),
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
mod tests {
    use super::*;
    use std::io::{self, Write};
    use std::sync::Mutex;

    use crate::limits::OUTPUT_TEXTS_MAX;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn journal(level: Level) -> (Journal, impl Fn(&mut Journal) -> String) {
        let shared = Shared::default();
        let journal = Journal::new(Box::new(shared.clone()), Zone::default(), level);
        let text = move |journal: &mut Journal| {
            journal.finish();
            String::from_utf8(shared.0.lock().expect("no panic").clone()).expect("text")
        };
        (journal, text)
    }

    #[test]
    fn log_lines_wait_for_the_gate_and_other_lines_do_not() {
        let (mut journal, text) = journal(Level::Info);
        journal.log(Level::Info, format_args!("agent: early"));
        journal.log(Level::Debug, format_args!("agent: quiet"));
        journal.say(format_args!("==> Starting"));
        assert_eq!(text(&mut journal), "==> Starting\n");
        journal.open_gate();
        journal.log(Level::Err, format_args!("agent: late"));
        let text = text(&mut journal);
        let shown: Vec<_> = text.lines().skip(1).map(|line| line.split_at(24).1).collect();
        assert_eq!(shown, ["[INFO] agent: early", "[ERR] agent: late"]);
        assert!(text.lines().skip(1).all(|line| line.starts_with("    2")));
        assert_eq!(journal.since(0).count(), 3, "every level is kept");
    }

    #[test]
    fn the_ring_holds_the_last_lines_and_a_bounded_number_of_bytes() {
        let (mut journal, _) = journal(Level::Err);
        for number in 0..=LOG_LINES_MAX {
            journal.log(Level::Info, format_args!("{number}"));
        }
        assert_eq!((journal.first(), journal.next()), (1, LOG_LINES_MAX as u64 + 1));
        assert_eq!(journal.since(0).count(), LOG_LINES_MAX);
        assert!(journal.since(journal.next() - 1).all(|line| line.text.ends_with(" 512")));
        assert_eq!(journal.since(u64::MAX).count(), 0);
    }

    /// What stands before the text of a line at INFO.
    const STAMP_BYTES: usize = "2026/11/23 06:07:53 [INFO] ".len();

    fn line_of(bytes: usize) -> String {
        "x".repeat(bytes - STAMP_BYTES)
    }

    #[test]
    fn the_ring_holds_a_bounded_number_of_bytes() {
        let (mut journal, _) = journal(Level::Err);
        let part = LOG_BYTES_MAX / LOG_LINE_BYTES_MAX;
        for _ in 0..part {
            journal.log(Level::Info, format_args!("{}", line_of(LOG_LINE_BYTES_MAX)));
        }
        assert_eq!((journal.bytes, journal.since(0).count()), (LOG_BYTES_MAX, part), "the limit is reached");
        journal.log(Level::Info, format_args!("x"));
        assert_eq!(journal.since(0).count(), part);
        assert_eq!(journal.bytes, LOG_BYTES_MAX - LOG_LINE_BYTES_MAX + STAMP_BYTES + 1);
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_and_that_is_said() {
        let (mut journal, text) = journal(Level::Info);
        journal.open_gate();
        journal.log(Level::Info, format_args!("{}", line_of(LOG_LINE_BYTES_MAX)));
        journal.log(Level::Info, format_args!("{}", line_of(LOG_LINE_BYTES_MAX + 1)));
        // Not in the middle of a character.
        journal.log(Level::Info, format_args!("{}\u{e4}xyz", line_of(LOG_LINE_BYTES_MAX - 1)));
        let lines: Vec<_> = journal.since(0).map(|line| line.text.clone()).collect();
        assert_eq!(lines[0].len(), LOG_LINE_BYTES_MAX);
        assert_eq!(lines[1], format!("{}... (1 more bytes)", lines[0]));
        assert!(lines[2].ends_with("x... (5 more bytes)"), "{}", &lines[2][LOG_LINE_BYTES_MAX - 4..]);
        let text = text(&mut journal);
        let shown: Vec<_> = text.lines().map(str::trim_start).collect();
        assert!(shown == lines, "what is put out is cut like what is kept");
    }

    #[test]
    fn a_flood_of_one_kind_is_counted_and_other_lines_are_not_touched() {
        let (mut journal, text) = journal(Level::Info);
        journal.open_gate();
        for number in 0..1_000 {
            journal.log(Level::Warn, format_args!("agent: complaint {number}"));
            if number % 100 == 0 {
                journal.log(Level::Info, format_args!("agent: news {number}"));
            }
        }
        assert!(journal.is_holding());
        journal.release(true);
        let text = text(&mut journal);
        let complaints: Vec<_> = text.lines().filter(|line| line.contains("complaint")).collect();
        // A second may have ended meanwhile.
        assert!((11..=12).contains(&complaints.len()), "{text}");
        assert!(complaints[9].ends_with("agent: complaint 9"), "{text}");
        let more = |line: &str| {
            line.split_once(" (and ")
                .map_or(0, |(_, more)| more.trim_end_matches(" more like it)").parse::<usize>().expect("a number"))
        };
        assert_eq!(complaints.iter().map(|line| 1 + more(line)).sum::<usize>(), 1_000, "each is counted: {text}");
        assert_eq!(text.matches("agent: news").count(), 10);
        assert_eq!(text.lines().count(), complaints.len() + 10);
    }

    #[test]
    fn lines_that_find_no_room_are_counted_and_told_in_their_place() {
        let (reader, sink) = crate::outlet::tests::stalled();
        let mut journal = Journal::new(Box::new(sink), Zone::default(), Level::Info);
        for number in 0..OUTPUT_TEXTS_MAX {
            journal.say(format_args!("line {number}"));
        }
        journal.say(format_args!("lost\nlost"));
        journal.log(Level::Info, format_args!("agent: held by the gate"));
        journal.say(format_args!("lost"));
        reader.read_on();
        journal.outlet.wait_until_left(0);
        assert_eq!(reader.text().lines().count(), OUTPUT_TEXTS_MAX, "nothing else comes");
        journal.say(format_args!("back"));
        assert_eq!(journal.lost, 0);
        drop(journal);
        let text = reader.text();
        let last: Vec<_> = text.lines().skip(OUTPUT_TEXTS_MAX - 1).collect();
        let (first, notice, back) = (&last[0], &last[1], &last[2]);
        assert_eq!((*first, *back, last.len()), ("line 4095", "back", 3));
        let notice = notice.split_once(" [").map(|(_, notice)| notice);
        assert_eq!(notice, Some("WARN] agent: 3 lines of the log were lost: whoever reads them is too slow"));
    }

    #[test]
    fn lines_that_were_lost_before_the_end_are_told_at_the_end() {
        let (reader, sink) = crate::outlet::tests::stalled();
        let mut journal = Journal::new(Box::new(sink), Zone::default(), Level::Info);
        for _ in 0..=OUTPUT_TEXTS_MAX {
            journal.say(format_args!("line"));
        }
        reader.read_on();
        journal.outlet.wait_until_left(0);
        drop(journal);
        assert!(reader.text().ends_with(" 1 lines of the log were lost: whoever reads them is too slow\n"));
    }

    #[test]
    fn what_the_gate_holds_is_bounded_and_the_rest_is_counted() {
        let (mut journal, text) = journal(Level::Info);
        // With its indent and its line break.
        let part = line_of(LOG_GATED_BYTES_MAX / 16 - INDENT.len() - 1);
        for _ in 0..16 {
            journal.log(Level::Info, format_args!("{part}"));
        }
        assert_eq!(journal.gate.as_ref().map(|gate| (gate.text.len(), gate.dropped)), Some((LOG_GATED_BYTES_MAX, 0)));
        for _ in 0..2 {
            journal.log(Level::Info, format_args!("x"));
        }
        journal.open_gate();
        assert!(text(&mut journal).ends_with("[WARN] agent: 2 log lines of the start were dropped\n"));
    }
}
