//! What is kept, what is put out, and in which order.

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
fn a_name_that_a_peer_chose_is_no_line_of_its_own() {
    let (mut journal, text) = journal(Level::Info);
    journal.open_gate();
    let forged = "x\n    2026/11/23 06:07:53 [INFO] serf: EventMemberFailed: y\x1b[0m";
    journal.log_record(&Log::MemberUpdate(forged.into()));
    // One that waits first.
    for _ in 0..12 {
        journal.log(Level::Warn, format_args!("agent: {forged}"));
    }
    journal.release(true);
    let text = text(&mut journal);
    assert_eq!(text.lines().count(), 12, "{text}");
    let shown = r"x\n    2026/11/23 06:07:53 [INFO] serf: EventMemberFailed: y\x1b[0m";
    assert!(text.lines().all(|line| line.contains(shown)), "{text}");
    assert!(journal.since(0).all(|line| line.text.contains(shown) && !line.text.contains(['\n', '\x1b'])));
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
