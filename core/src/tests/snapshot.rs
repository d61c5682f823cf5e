//! The snapshot file: a captured one, broken ones, and laws that hold for any.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::lamport::LamportTime;
use crate::limits::{
    NAME_BYTES_MAX, SNAPSHOT_BYTES_MAX, SNAPSHOT_FAILED_MAX, SNAPSHOT_LINE_BYTES_MAX, SNAPSHOT_NOTICES_MAX,
};
use crate::log::Level;
use crate::rng::{Purpose, Rng, Seed};
use crate::snapshot::{Book, Line, NoticeKind, Parsed, parse, should_compact};
use crate::types::{GossipAddr, Incarnation, Name};

/// What a Serf 0.9.4 agent wrote.
const CAPTURED: &[u8] = include_bytes!("vectors/snapshot.txt");

fn addr(text: &str) -> GossipAddr {
    GossipAddr::from(text.parse::<SocketAddr>().expect("an address"))
}

fn alive(name: &str, at: &str) -> Line {
    Line::Alive(Name::from(name), addr(at))
}

fn failed(name: &str, at: &str) -> Line {
    Line::Failed(Name::from(name), addr(at))
}

fn text(lines: &[Line]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in lines {
        line.write(&mut out).expect("a line can hold it");
    }
    out
}

fn book(lines: &[Line], rejoin: bool) -> Book {
    let mut book = Book::new(rejoin);
    lines.iter().for_each(|line| book.apply(line));
    book
}

fn members<'a>(members: impl Iterator<Item = (&'a Name, &'a GossipAddr)>) -> Vec<String> {
    members.map(|(name, addr)| format!("{name} {addr}")).collect()
}

fn notices(parsed: &Parsed) -> Vec<String> {
    parsed.notices.iter().map(ToString::to_string).collect()
}

#[test]
fn a_captured_file_is_read_and_written_as_serf_wrote_it() {
    let parsed = parse(CAPTURED, false);
    assert_eq!(notices(&parsed), Vec::<String>::new());
    assert!(!parsed.torn && !parsed.book.has_left());
    assert_eq!(members(parsed.book.alive()), ["a node 127.42.0.2:7946"]);
    assert_eq!(parsed.book.clock(), LamportTime(3));
    assert_eq!(parsed.book.event_clock(), LamportTime(2));
    assert_eq!(parsed.book.query_clock(), LamportTime(1));

    let lines: Vec<_> = CAPTURED.split_inclusive(|&byte| byte == b'\n').collect();
    assert_eq!(lines.len(), 11);
    for line in lines {
        let read = Line::read(line.strip_suffix(b"\n").expect("whole")).expect("read").expect("a record");
        assert_eq!(text(&[read]), line);
    }
}

#[test]
fn bad_lines_are_passed_over_in_upstreams_words() {
    let bad = b"bogus\nalive: broken\nalive: x host.invalid:5\nalive:\nclock: abc\nclock: -1\nclock:\n\
        clock: 18446744073709551616\nevent-clock: 1x\nquery-clock: q\nnot-alive: nobody\nnot-alive:\ncoordinate: {}\n\
        coordinate:\n# comment\n# failed: nobody\n#\n\nleave now\nclock: 1\r\n\0\0\0alive: back 127.42.0.7:7946\n\
        clock: 5\nquery-clock: \nalive: to";
    let parsed = parse(bad, false);
    insta::assert_snapshot!("snapshot-file-notices", notices(&parsed).join("\n"));
    assert!(parsed.notices.iter().all(|notice| notice.level() == Level::Warn));
    assert_eq!(members(parsed.book.alive()), ["back 127.42.0.7:7946"]);
    assert_eq!((parsed.book.clock(), parsed.torn), (LamportTime(5), true));
}

#[test]
fn members_that_failed_stand_where_upstream_does_not_look() {
    let lines = [
        alive("b c", "127.0.0.2:7946"),
        alive("a", "[::1]:7946"),
        Line::NotAlive(Name::from("b c")),
        failed("b c", "127.0.0.2:7946"),
        Line::Incarnation(Incarnation(7)),
        Line::Incarnation(Incarnation(3)),
    ];
    let file = text(&lines);
    assert!(file.ends_with(b"not-alive: b c\n# failed: b c 127.0.0.2:7946\n# incarnation: 7\n# incarnation: 3\n"));
    let book = parse(&file, false).book;
    assert_eq!(members(book.alive()), ["a [::1]:7946"]);
    assert_eq!(members(book.failed()), ["b c 127.0.0.2:7946"]);
    assert_eq!(book.incarnation(), Incarnation(7));

    // What upstream appends to our file is understood: it knows only of alive and not.
    let mut back = file;
    back.extend_from_slice(b"alive: b c 127.0.0.9:7946\n");
    assert_eq!(members(parse(&back, false).book.failed()), Vec::<String>::new());
    assert_eq!(members(parse(&back, false).book.alive()), ["a [::1]:7946", "b c 127.0.0.9:7946"]);
}

#[test]
fn a_compacted_file_reads_like_this() {
    let mut book = parse(CAPTURED, false).book;
    for line in [
        alive("e f", "127.42.0.5:7946"),
        alive("six", "[::1]:7946"),
        Line::NotAlive(Name::from("b")),
        failed("b", "127.42.0.3:7946"),
        Line::Incarnation(Incarnation(4)),
    ] {
        book.apply(&line);
    }
    insta::assert_snapshot!("snapshot-file-compacted", String::from_utf8_lossy(&book.compact()));
}

#[test]
fn a_leave_forgets_everything_but_the_incarnation_unless_we_rejoin() {
    let lines = [
        alive("a", "127.0.0.1:1"),
        failed("b", "127.0.0.2:1"),
        Line::Clock(LamportTime(4)),
        Line::EventClock(LamportTime(5)),
        Line::QueryClock(LamportTime(6)),
        Line::Incarnation(Incarnation(7)),
        Line::Leave,
        Line::Clock(LamportTime(8)),
    ];
    let file = text(&lines);
    let gone = parse(&file, false);
    assert_eq!(gone.book, book(&[Line::Leave, Line::Clock(LamportTime(8)), Line::Incarnation(Incarnation(7))], false));
    assert!(gone.book.has_left() && gone.notices.is_empty());

    let kept = parse(&file, true);
    assert_eq!(kept.book.alive().len() + kept.book.failed().len(), 2);
    assert_eq!((kept.book.clock(), kept.book.event_clock()), (LamportTime(8), LamportTime(5)));
    assert_eq!(notices(&kept), ["serf: Ignoring previous leave in snapshot (line 7 of the snapshot)"]);
    assert_eq!(kept.notices[0].level(), Level::Info);
    assert!(kept.book.has_left());

    let mut again = kept.book;
    again.apply(&alive("a", "127.0.0.1:1"));
    assert!(!again.has_left());
}

#[test]
fn names_that_would_forge_lines_are_refused() {
    let at = addr("127.0.0.1:1");
    let longest = vec![b'n'; NAME_BYTES_MAX];
    let longer = vec![b'n'; NAME_BYTES_MAX + 1];
    for bad in [&b"x\nleave"[..], b"\n", b"nul\0", &longer] {
        let name = Name::new(bad);
        for line in [Line::Alive(name.clone(), at), Line::NotAlive(name.clone()), Line::Failed(name, at)] {
            let mut out = b"before\n".to_vec();
            assert_eq!(line.write(&mut out), None, "{line:?}");
            assert_eq!(out, b"before\n");
        }
    }
    for good in [&b""[..], b" ", b"a b ", b"\r", b"\xff", b"#", b"leave", &longest] {
        let line = Line::Alive(Name::new(good), at);
        assert_eq!(book(core::slice::from_ref(&line), false), parse(&text(core::slice::from_ref(&line)), false).book);
    }
    let mut book = book(&[alive("good", "127.0.0.1:1")], false);
    let before = book.compact();
    book.apply(&Line::Alive(Name::from("x\nleave"), at));
    assert_eq!(book.compact(), before);
}

#[test]
fn nul_bytes_end_one_record_and_begin_another() {
    let mut file = b"alive: a 127.0.0.1:1\nclock: 1".to_vec();
    file.extend(vec![0; 4_096]);
    file.extend_from_slice(b"alive: b 127.0.0.2:1\n");
    file.extend(vec![0; 100]);
    let parsed = parse(&file, false);
    assert_eq!(members(parsed.book.alive()), ["a 127.0.0.1:1", "b 127.0.0.2:1"]);
    assert_eq!(parsed.book.clock(), LamportTime(0));
    let kinds: Vec<_> = parsed.notices.iter().map(|notice| (notice.line, notice.kind.clone())).collect();
    assert_eq!(kinds, [(2, NoticeKind::Nuls(4_096)), (3, NoticeKind::Nuls(100))]);
    assert!(parsed.torn);
}

#[test]
fn a_clock_behind_nul_bytes_may_be_another_ones_and_turns_nothing_back() {
    let clock_after = |behind: &[u8]| parse(&[b"clock: 500\n", &[0; 512][..], behind].concat(), false).book.clock();
    assert_eq!(clock_after(b"clock: 3\n"), LamportTime(500), "of `event-clock: 3`");
    assert_eq!(clock_after(b"clock: 501\n"), LamportTime(501));
    assert_eq!(clock_after(b"leave\nclock: 3\n"), LamportTime(3), "the line behind begins where it says");
}

#[test]
fn lines_files_and_complaints_have_a_longest_length() {
    let comment = |len: usize| [vec![b'#'; len], b"\n".to_vec()].concat();
    assert_eq!(parse(&comment(SNAPSHOT_LINE_BYTES_MAX), false).notices.len(), 0);
    assert_eq!(
        parse(&comment(SNAPSHOT_LINE_BYTES_MAX + 1), false).notices[0].kind,
        NoticeKind::LineTooLong(SNAPSHOT_LINE_BYTES_MAX + 1)
    );

    let parsed = parse("bad\n".repeat(SNAPSHOT_NOTICES_MAX + 1).as_bytes(), false);
    assert_eq!((parsed.notices.len(), parsed.notices_dropped), (SNAPSHOT_NOTICES_MAX, 1));
    assert_eq!(parse("bad\n".repeat(SNAPSHOT_NOTICES_MAX).as_bytes(), false).notices_dropped, 0);
    const { assert!(SNAPSHOT_BYTES_MAX < u32::MAX as usize, "line numbers have 32 bits") };
}

#[test]
fn failed_members_beyond_the_bound_are_counted() {
    let mut book = Book::new(false);
    let line_of = |number: usize| failed(&number.to_string(), "127.0.0.1:1");
    for number in 0..SNAPSHOT_FAILED_MAX {
        book.apply(&line_of(number));
    }
    assert_eq!((book.failed().len(), book.dropped()), (SNAPSHOT_FAILED_MAX, 0));
    book.apply(&line_of(0));
    assert_eq!(book.dropped(), 0, "a known member takes no more room");
    book.apply(&line_of(SNAPSHOT_FAILED_MAX));
    assert_eq!((book.failed().len(), book.dropped()), (SNAPSHOT_FAILED_MAX, 1));
}

#[test]
fn a_file_is_compacted_at_128_kib_or_twice_128_bytes_a_node() {
    let mut book = Book::new(false);
    assert!(!should_compact(book.alive().len() + book.failed().len(), 128 << 10, 0));
    assert!(should_compact(book.alive().len() + book.failed().len(), (128 << 10) + 1, 0));
    for number in 0..600 {
        let line = if number % 2 == 0 { alive } else { failed };
        book.apply(&line(&number.to_string(), "127.0.0.1:1"));
    }
    assert!(!should_compact(book.alive().len() + book.failed().len(), 600 * 256, 0));
    assert!(should_compact(book.alive().len() + book.failed().len(), 600 * 256 + 1, 0));
    // Names are so long that the compacted file is beyond the bound already.
    assert!(!should_compact(book.alive().len() + book.failed().len(), 600 * 256 + 1, 600 * 256));
    assert!(should_compact(book.alive().len() + book.failed().len(), 600 * 512 + 1, 600 * 256));
}

struct Generator(Rng);

impl Generator {
    fn new(seed: u64) -> Self {
        Self(Rng::new(Seed::simulated(seed)))
    }

    fn below(&mut self, count: u64) -> u64 {
        self.0.below_inclusive(Purpose::Relay, count - 1)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.0.index(Purpose::Relay, from.len())]
    }

    fn name(&mut self) -> Name {
        let len = self.below(4);
        let letters: Vec<u8> = (0..len).map(|_| self.pick(b"ab #:\r\xff")).collect();
        Name::new(letters)
    }

    fn addr(&mut self) -> GossipAddr {
        let port = self.below(1 << 16) as u16;
        let len = self.pick(&[4, 16]);
        let bytes: Vec<u8> = (0..len).map(|_| self.below(256) as u8).collect();
        let any = GossipAddr::from_bytes(&bytes, port).expect("4 or 16 bytes");
        // An IPv4 address in 16 bytes is written as IPv4, as upstream does.
        GossipAddr::from(any.socket_addr())
    }

    fn line(&mut self) -> Line {
        let shift = self.below(64);
        let number = LamportTime(self.0.next_u64(Purpose::Relay) >> shift);
        match self.below(16) {
            0..=5 => Line::Alive(self.name(), self.addr()),
            6..=7 => Line::NotAlive(self.name()),
            8..=10 => Line::Failed(self.name(), self.addr()),
            11 => Line::Clock(number),
            12 => Line::EventClock(number),
            13 => Line::QueryClock(number),
            14 => Line::Incarnation(Incarnation(number.0 as u32)),
            _ => Line::Leave,
        }
    }

    fn lines(&mut self) -> Vec<Line> {
        let count = self.below(40);
        (0..count).map(|_| self.line()).collect()
    }
}

#[test]
fn what_is_written_is_what_is_read() {
    for seed in 0..500 {
        let lines = Generator::new(seed).lines();
        let file = text(&lines);
        let read: Vec<_> = file
            .split_inclusive(|&byte| byte == b'\n')
            .map(|line| Line::read(&line[..line.len() - 1]).expect("a record").expect("no comment"))
            .collect();
        assert_eq!(read, lines, "seed {seed}");
        for rejoin in [false, true] {
            let parsed = parse(&file, rejoin);
            assert_eq!(parsed.book, book(&lines, rejoin), "seed {seed}");
            assert!(!parsed.torn, "seed {seed}");
            let ignored = if rejoin { lines.iter().filter(|line| **line == Line::Leave).count() } else { 0 };
            assert_eq!(parsed.notices.len(), ignored, "seed {seed}");
        }
    }
}

#[test]
fn a_compacted_file_says_the_same() {
    for seed in 0..500 {
        for rejoin in [false, true] {
            let before = book(&Generator::new(seed).lines(), rejoin);
            let compacted = before.compact();
            assert_eq!(parse(&compacted, rejoin).book, before, "seed {seed}");
            assert_eq!(parse(&compacted, rejoin).book.compact(), compacted, "seed {seed}");
            // Whoever starts later without -rejoin must still see the leave.
            assert_eq!(parse(&compacted, false).book.has_left(), before.has_left(), "seed {seed}");
            assert!(!before.has_left() || parse(&compacted, false).book.alive().len() == 0, "seed {seed}");
        }
    }
}

#[test]
fn a_file_cut_anywhere_says_what_its_whole_lines_say() {
    for seed in 0..60 {
        let lines = Generator::new(seed).lines();
        let file = text(&lines);
        for cut in 0..=file.len() {
            let part = &file[..cut];
            let whole = part.iter().filter(|&&byte| byte == b'\n').count();
            let parsed = parse(part, false);
            assert_eq!(parsed.book, book(&lines[..whole], false), "seed {seed}, cut at {cut}");
            let torn = part.last().is_some_and(|&byte| byte != b'\n');
            assert_eq!(parsed.torn, torn, "seed {seed}, cut at {cut}");
            assert_eq!(parsed.notices.len(), usize::from(torn), "seed {seed}, cut at {cut}");
        }
    }
}

#[test]
fn any_bytes_are_read_without_a_panic() {
    for seed in 0..3_000 {
        let mut generator = Generator::new(seed);
        let mut file = text(&generator.lines());
        for _ in 0..generator.below(12) {
            let at = generator.below(file.len() as u64 + 1) as usize;
            match generator.below(3) {
                0 => file.insert(at, generator.pick(b"\0\n #:9\xff")),
                1 => drop(
                    file.splice(
                        at..at,
                        generator
                            .pick(&[&b"alive: "[..], b"\0\0\n", b"# failed: ", b"clock: 99999999999999999999"])
                            .iter()
                            .copied(),
                    ),
                ),
                _ => file.truncate(at),
            }
        }
        let parsed = parse(&file, seed % 2 == 0);
        notices(&parsed);
        let compacted = parsed.book.compact();
        assert_eq!(parse(&compacted, seed % 2 == 0).book, parsed.book, "seed {seed}");
    }
}
