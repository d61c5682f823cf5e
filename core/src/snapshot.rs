//! The text of the snapshot file, without a file: lines, what they add up to, and the file that says just that.
//!
//! The format is upstream's (protocol.md 2.13, cli.md 3.9). What upstream has no line for, failed members and our own
//! incarnation, stands in comments, which its reader skips (protocol.md 3.2, U-28).

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::lamport::LamportTime;
use crate::limits::{
    MEMBERS_MAX, NAME_BYTES_MAX, SNAPSHOT_BYTES_MAX, SNAPSHOT_FAILED_MAX, SNAPSHOT_LINE_BYTES_MAX, SNAPSHOT_NOTICES_MAX,
};
use crate::log::Level;
use crate::types::{GossipAddr, Incarnation, Name};

/// One record of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A member came.
    Alive(Name, GossipAddr),
    /// A member is no longer alive: it left, failed, or was forgotten. Forgets a failed member too.
    NotAlive(Name),
    /// A member failed but is worth trying after a restart. Upstream needs [`NotAlive`](Self::NotAlive) before it.
    Failed(Name, GossipAddr),
    /// The members' Lamport clock.
    Clock(LamportTime),
    /// The clock of user events.
    EventClock(LamportTime),
    /// The clock of queries.
    QueryClock(LamportTime),
    /// Our own largest incarnation.
    Incarnation(Incarnation),
    /// We left.
    Leave,
}

impl Line {
    /// Appends the record with its newline. `None`, with nothing appended, for a name that no line can hold: one with
    /// a newline would forge records, one with a NUL byte is what a machine's crash leaves, one that is too long is
    /// not read back.
    pub fn write(&self, out: &mut Vec<u8>) -> Option<()> {
        match self {
            Self::Alive(name, addr) => write_member(out, ALIVE, name, Some(addr))?,
            Self::NotAlive(name) => write_member(out, NOT_ALIVE, name, None)?,
            Self::Failed(name, addr) => write_member(out, FAILED, name, Some(addr))?,
            Self::Clock(time) => write_number(out, CLOCK, time),
            Self::EventClock(time) => write_number(out, EVENT_CLOCK, time),
            Self::QueryClock(time) => write_number(out, QUERY_CLOCK, time),
            Self::Incarnation(incarnation) => write_number(out, INCARNATION, incarnation),
            Self::Leave => out.extend_from_slice(LEAVE),
        }
        out.push(b'\n');
        Some(())
    }

    /// Reads one record, without its newline; `None` for comments and what old versions wrote.
    ///
    /// # Errors
    ///
    /// What the line lacks, in upstream's words.
    pub fn read(text: &[u8]) -> Result<Option<Self>, NoticeKind> {
        if text.len() > SNAPSHOT_LINE_BYTES_MAX {
            return Err(NoticeKind::LineTooLong(text.len()));
        }
        let unparsed = || NoticeKind::Address(text.into());
        let line = if let Some(rest) = text.strip_prefix(ALIVE) {
            let (name, addr) = read_member(rest).ok_or_else(unparsed)?;
            Self::Alive(name, addr)
        } else if let Some(name) = text.strip_prefix(NOT_ALIVE) {
            Self::NotAlive(Name::new(name))
        } else if let Some(number) = text.strip_prefix(CLOCK) {
            Self::Clock(read_time(number, Clock::Member)?)
        } else if let Some(number) = text.strip_prefix(EVENT_CLOCK) {
            Self::EventClock(read_time(number, Clock::Event)?)
        } else if let Some(number) = text.strip_prefix(QUERY_CLOCK) {
            Self::QueryClock(read_time(number, Clock::Query)?)
        } else if text == LEAVE {
            Self::Leave
        } else if text.starts_with(b"#") {
            return Ok(read_comment(text));
        } else if text.starts_with(COORDINATE) {
            return Ok(None);
        } else {
            return Err(NoticeKind::Unrecognized(text.into()));
        };
        Ok(Some(line))
    }
}

/// What the file's records add up to.
///
/// Holds at most [`MEMBERS_MAX`] alive and [`SNAPSHOT_FAILED_MAX`] failed members; more are counted, not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Book {
    rejoin: bool,
    alive: BTreeMap<Name, GossipAddr>,
    failed: BTreeMap<Name, GossipAddr>,
    clock: LamportTime,
    event_clock: LamportTime,
    query_clock: LamportTime,
    incarnation: Incarnation,
    left: bool,
    dropped: u64,
}

impl Book {
    /// An empty book. With `rejoin` a leave forgets nobody.
    pub fn new(rejoin: bool) -> Self {
        Self { rejoin, ..Self::default() }
    }

    /// The members that were alive, ourselves perhaps among them, by name.
    pub fn alive(&self) -> impl ExactSizeIterator<Item = (&Name, &GossipAddr)> {
        self.alive.iter()
    }

    /// The members that had failed, by name.
    pub fn failed(&self) -> impl ExactSizeIterator<Item = (&Name, &GossipAddr)> {
        self.failed.iter()
    }

    /// The last member clock; zero if there is none.
    pub const fn clock(&self) -> LamportTime {
        self.clock
    }

    /// The last clock of user events; zero if there is none.
    pub const fn event_clock(&self) -> LamportTime {
        self.event_clock
    }

    /// The last clock of queries; zero if there is none.
    pub const fn query_clock(&self) -> LamportTime {
        self.query_clock
    }

    /// Our own largest incarnation; zero if there is none. Outlives a leave: the others remember it too.
    pub const fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Whether we left, and nothing was recorded about members since.
    pub const fn has_left(&self) -> bool {
        self.left
    }

    /// How many members there was no room for.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Adds one record.
    pub fn apply(&mut self, line: &Line) {
        match line {
            Line::Alive(name, addr) => {
                self.left = false;
                self.failed.remove(name);
                self.dropped += u64::from(!remember(&mut self.alive, name, *addr, MEMBERS_MAX));
            }
            Line::NotAlive(name) => {
                self.left = false;
                self.alive.remove(name);
                self.failed.remove(name);
            }
            Line::Failed(name, addr) => {
                self.left = false;
                self.alive.remove(name);
                self.dropped += u64::from(!remember(&mut self.failed, name, *addr, SNAPSHOT_FAILED_MAX));
            }
            Line::Clock(time) => self.clock = *time,
            Line::EventClock(time) => self.event_clock = *time,
            Line::QueryClock(time) => self.query_clock = *time,
            Line::Incarnation(incarnation) => self.incarnation = self.incarnation.max(*incarnation),
            Line::Leave => self.leave(),
        }
    }

    fn leave(&mut self) {
        self.left = true;
        if !self.rejoin {
            self.alive.clear();
            self.failed.clear();
            self.clock = LamportTime::default();
            self.event_clock = LamportTime::default();
            self.query_clock = LamportTime::default();
        }
    }

    /// The whole text of the file that says the same in as few lines as possible, members sorted by name.
    ///
    /// Members whose names no line can hold are left out.
    pub fn compact(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let alive = self.alive.iter().map(|(name, addr)| Line::Alive(name.clone(), *addr));
        let failed = self.failed.iter().map(|(name, addr)| Line::Failed(name.clone(), *addr));
        let numbers = [
            Line::Clock(self.clock),
            Line::EventClock(self.event_clock),
            Line::QueryClock(self.query_clock),
            Line::Incarnation(self.incarnation),
        ];
        // A leave forgets what stands before it unless we rejoin: with nobody left to forget, the clocks go behind it;
        // and a later start without rejoin must find it behind everything.
        let (first, last) = match (self.left, self.rejoin) {
            (false, _) => (None, None),
            (true, false) => (Some(Line::Leave), None),
            (true, true) => (None, Some(Line::Leave)),
        };
        for line in first.into_iter().chain(alive).chain(failed).chain(numbers).chain(last) {
            line.write(&mut out);
        }
        out
    }
}

/// Whether a file of `file_bytes` about so many members should give way to a compacted one, which last had
/// `compacted_bytes` (zero if that is not known).
///
/// Upstream's bound is 128 KiB or twice 128 bytes per node; long names can make a compacted file as large as
/// that, and then it would be written again for every record.
pub fn should_compact(members: usize, file_bytes: u64, compacted_bytes: u64) -> bool {
    let usual = (members as u64).saturating_mul(BYTES_PER_NODE).saturating_mul(COMPACTION_THRESHOLD);
    file_bytes > usual.max(COMPACTION_BYTES_MIN).max(compacted_bytes.saturating_mul(COMPACTION_THRESHOLD))
}

/// What a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The sum of its records.
    pub book: Book,
    /// What was wrong with it, in the order of its lines; at most [`SNAPSHOT_NOTICES_MAX`].
    pub notices: Vec<Notice>,
    /// How many more notices there were.
    pub notices_dropped: u64,
    /// Whether the file does not end in a newline. A record that is appended to it would be glued to the rest, so it
    /// must be rewritten first.
    pub torn: bool,
}

/// Reads a whole file. With `rejoin` its leaves are ignored.
///
/// Never fails: what cannot be read is passed over with a notice, as upstream does. Beyond [`SNAPSHOT_BYTES_MAX`]
/// nothing is read.
pub fn parse(bytes: &[u8], rejoin: bool) -> Parsed {
    let mut parsed = Parsed { book: Book::new(rejoin), notices: Vec::new(), notices_dropped: 0, torn: false };
    let mut rest = bytes.get(..SNAPSHOT_BYTES_MAX).unwrap_or(bytes);
    let too_long = rest.len() < bytes.len();
    let mut number = 0_u32;
    while !rest.is_empty() {
        number = number.saturating_add(1);
        let (text, behind, torn) = match rest.iter().position(|&byte| byte == b'\n') {
            Some(end) => {
                let (text, behind) = rest.split_at(end);
                (text, behind.get(1..).unwrap_or_default(), false)
            }
            None => (rest, &[][..], true),
        };
        rest = behind;
        parsed.torn = torn;
        parsed.read_line(number, text, torn.then_some(too_long));
    }
    if too_long {
        parsed.notice(number, NoticeKind::FileTooLong(bytes.len()));
    }
    parsed
}

impl Parsed {
    /// Reads one line. `torn` says that it has no newline, and whether that is because we stopped reading.
    fn read_line(&mut self, number: u32, text: &[u8], torn: Option<bool>) {
        // A machine that crashed can leave NUL bytes where lines should be (consul#3362). A record that begins before
        // them never ended; behind them a new one begins.
        let nul = text.iter().rposition(|&byte| byte == 0);
        let text = match nul {
            Some(last) => {
                let count = text.iter().filter(|&&byte| byte == 0).count();
                self.notice(number, NoticeKind::Nuls(count));
                text.get(last.saturating_add(1)..).unwrap_or_default()
            }
            None => text,
        };
        if nul.is_some() && text.is_empty() {
            return;
        }
        match torn {
            Some(true) => {}
            Some(false) => self.notice(number, NoticeKind::Torn(clip(text))),
            None => match Line::read(text) {
                // The end of a longer record may stand behind NUL bytes, `clock:` of `event-clock:`: it turns nothing back.
                Ok(Some(Line::Clock(time))) if nul.is_some() && time < self.book.clock => {}
                Ok(Some(line)) => self.apply(number, &line),
                Ok(None) => {}
                Err(kind) => self.notice(number, kind),
            },
        }
    }

    fn apply(&mut self, number: u32, line: &Line) {
        let dropped = self.book.dropped;
        self.book.apply(line);
        if self.book.dropped > dropped {
            self.notice(number, NoticeKind::NoRoom);
        }
        if *line == Line::Leave && self.book.rejoin {
            self.notice(number, NoticeKind::LeaveIgnored);
        }
    }

    fn notice(&mut self, line: u32, kind: NoticeKind) {
        if self.notices.len() < SNAPSHOT_NOTICES_MAX {
            self.notices.push(Notice { line, kind });
        } else {
            self.notices_dropped = self.notices_dropped.saturating_add(1);
        }
    }
}

/// Something about the file that its owner should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The line, counted from 1.
    pub line: u32,
    /// What it is.
    pub kind: NoticeKind,
}

/// What there is to know about a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NoticeKind {
    /// The line is none of the known records.
    Unrecognized(Vec<u8>),
    /// The member's address is no `IP:PORT`, or its name is too long.
    Address(Vec<u8>),
    /// The clock is no number of 64 bits.
    Clock(Clock, NumberError),
    /// A leave was ignored because we rejoin.
    LeaveIgnored,
    /// The last line has no newline and was dropped.
    Torn(Vec<u8>),
    /// So many NUL bytes were skipped.
    Nuls(usize),
    /// The line has that many bytes, which is too many.
    LineTooLong(usize),
    /// The file has that many bytes, and was read only in part.
    FileTooLong(usize),
    /// There are more members than the book can hold.
    NoRoom,
}

/// One of the three clocks of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Clock {
    /// That of members.
    Member,
    /// That of user events.
    Event,
    /// That of queries.
    Query,
}

/// Why text is no number of 64 bits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NumberError {
    /// It has something else than digits, or nothing.
    Syntax(Vec<u8>),
    /// It is too large.
    Range(Vec<u8>),
}

impl Notice {
    /// How much it matters.
    pub const fn level(&self) -> Level {
        match &self.kind {
            NoticeKind::LeaveIgnored => Level::Info,
            NoticeKind::Unrecognized(_)
            | NoticeKind::Address(_)
            | NoticeKind::Clock(..)
            | NoticeKind::Torn(_)
            | NoticeKind::Nuls(_)
            | NoticeKind::LineTooLong(_)
            | NoticeKind::FileTooLong(_)
            | NoticeKind::NoRoom => Level::Warn,
        }
    }
}

impl fmt::Display for Notice {
    /// Upstream's text where it has one (serf/snapshot.go, replay), and behind it the line's number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "serf: {} (line {} of the snapshot)", self.kind, self.line)
    }
}

impl fmt::Display for NoticeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unrecognized(text) => write!(f, "Unrecognized snapshot line: {}", String::from_utf8_lossy(text)),
            Self::Address(text) => write!(f, "Failed to parse address: {}", String::from_utf8_lossy(text)),
            Self::Clock(clock, why) => {
                let clock = match clock {
                    Clock::Member => "clock",
                    Clock::Event => "event clock",
                    Clock::Query => "query clock",
                };
                write!(f, "Failed to convert {clock} time: {why}")
            }
            Self::LeaveIgnored => f.write_str("Ignoring previous leave in snapshot"),
            Self::Torn(text) => write!(
                f,
                "Dropped the snapshot's last line because it was not written to its end: {}",
                String::from_utf8_lossy(text)
            ),
            Self::Nuls(count) => write!(f, "Skipped {count} NUL bytes, which a crash of the machine can leave behind"),
            Self::LineTooLong(bytes) => write!(
                f,
                "Unrecognized snapshot line: it has {bytes} bytes, a record has at most {SNAPSHOT_LINE_BYTES_MAX}"
            ),
            Self::FileTooLong(bytes) => {
                write!(f, "Read only {SNAPSHOT_BYTES_MAX} of the snapshot's {bytes} bytes")
            }
            Self::NoRoom => write!(
                f,
                "Ignored a member: a snapshot may have {MEMBERS_MAX} that are alive and {SNAPSHOT_FAILED_MAX} that failed"
            ),
        }
    }
}

impl fmt::Display for NumberError {
    /// The words of Go's `strconv.ParseUint`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, why) = match self {
            Self::Syntax(text) => (text, "invalid syntax"),
            Self::Range(text) => (text, "value out of range"),
        };
        f.write_str("strconv.ParseUint: parsing \"")?;
        for chunk in text.utf8_chunks() {
            for letter in chunk.valid().chars() {
                match letter {
                    '"' | '\\' => write!(f, "\\{letter}")?,
                    '\r' => f.write_str("\\r")?,
                    '\t' => f.write_str("\\t")?,
                    letter if letter.is_ascii_control() => write!(f, "\\x{:02x}", u32::from(letter))?,
                    letter => write!(f, "{letter}")?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        write!(f, "\": {why}")
    }
}

/// Keeps the address unless the member is new and there is no room.
fn remember(members: &mut BTreeMap<Name, GossipAddr>, name: &Name, addr: GossipAddr, limit: usize) -> bool {
    if let Some(known) = members.get_mut(name) {
        *known = addr;
        return true;
    }
    if members.len() >= limit {
        return false;
    }
    members.insert(name.clone(), addr);
    true
}

fn write_member(out: &mut Vec<u8>, prefix: &[u8], name: &Name, addr: Option<&GossipAddr>) -> Option<()> {
    let name = name.as_bytes();
    if name.len() > NAME_BYTES_MAX || name.iter().any(|byte| matches!(byte, b'\n' | 0)) {
        return None;
    }
    out.extend_from_slice(prefix);
    out.extend_from_slice(name);
    if let Some(addr) = addr {
        write_text(out, format_args!(" {addr}"));
    }
    Some(())
}

fn write_number(out: &mut Vec<u8>, prefix: &[u8], number: impl fmt::Display) {
    out.extend_from_slice(prefix);
    write_text(out, format_args!("{number}"));
}

fn write_text(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    out.extend_from_slice(alloc::fmt::format(text).as_bytes());
}

/// `NAME IP:PORT`; the name may have blanks, so the last one parts them.
fn read_member(text: &[u8]) -> Option<(Name, GossipAddr)> {
    let blank = text.iter().rposition(|&byte| byte == b' ')?;
    let (name, addr) = text.split_at(blank);
    let addr: SocketAddr = core::str::from_utf8(addr.get(1..)?).ok()?.parse().ok()?;
    (name.len() <= NAME_BYTES_MAX).then(|| (Name::new(name), GossipAddr::from(addr)))
}

fn read_time(text: &[u8], clock: Clock) -> Result<LamportTime, NoticeKind> {
    let mut number = 0_u64;
    if text.is_empty() {
        return Err(NoticeKind::Clock(clock, NumberError::Syntax(text.into())));
    }
    for &byte in text {
        if !byte.is_ascii_digit() {
            return Err(NoticeKind::Clock(clock, NumberError::Syntax(text.into())));
        }
        // As in Go, a number that is too large is called so before what follows is looked at.
        let next = number.checked_mul(10).and_then(|tens| tens.checked_add(u64::from(byte & 0xf)));
        number = next.ok_or_else(|| NoticeKind::Clock(clock, NumberError::Range(text.into())))?;
    }
    Ok(LamportTime(number))
}

/// A comment that is a record of ours, if it is one; people may write comments too.
fn read_comment(text: &[u8]) -> Option<Line> {
    if let Some(rest) = text.strip_prefix(FAILED) {
        return read_member(rest).map(|(name, addr)| Line::Failed(name, addr));
    }
    let number = core::str::from_utf8(text.strip_prefix(INCARNATION)?).ok()?;
    number.parse().ok().map(|number| Line::Incarnation(Incarnation(number)))
}

/// What of a torn line is worth showing.
fn clip(text: &[u8]) -> Vec<u8> {
    text.get(..SNAPSHOT_LINE_BYTES_MAX).unwrap_or(text).into()
}

const ALIVE: &[u8] = b"alive: ";
const NOT_ALIVE: &[u8] = b"not-alive: ";
const CLOCK: &[u8] = b"clock: ";
const EVENT_CLOCK: &[u8] = b"event-clock: ";
const QUERY_CLOCK: &[u8] = b"query-clock: ";
const COORDINATE: &[u8] = b"coordinate: ";
const LEAVE: &[u8] = b"leave";
const FAILED: &[u8] = b"# failed: ";
const INCARNATION: &[u8] = b"# incarnation: ";
const BYTES_PER_NODE: u64 = 128;
const COMPACTION_THRESHOLD: u64 = 2;
const COMPACTION_BYTES_MIN: u64 = 128 << 10;
