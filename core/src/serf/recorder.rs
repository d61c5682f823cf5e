//! What is worth knowing after a restart, as lines of the snapshot file (protocol.md 2.13, cli.md 3.9).
//!
//! Lines go out at the end of each input, so that a kill loses none of them; upstream keeps them in a buffer. Clocks that
//! have moved without an event follow within half a second.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ctx::Ctx;
use crate::event::Status;
use crate::io::{Persist, PersistError, PersistId};
use crate::lamport::LamportTime;
use crate::log::Log;
use crate::serf::Serf;
use crate::snapshot::{Book, Line, Parsed, should_compact};
use crate::time::Time;
use crate::timers::TimerKind;
use crate::types::Incarnation;

/// How long a clock that has moved may wait (protocol.md 2.13).
const CLOCK_INTERVAL: Duration = Duration::from_millis(500);
/// Time between two attempts to write a file anew that could not be written (protocol.md 2.13).
const RETRY_INTERVAL: Duration = Duration::from_secs(30);

/// The snapshot file as far as it is written.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Recorder {
    /// What waits for the end of the input.
    lines: Vec<u8>,
    /// The file must be written anew: it ends in the middle of a line, or lines are missing.
    stale: bool,
    /// It could not be written.
    failed: bool,
    /// When it was last written anew because of that.
    retried: Option<Time>,
    /// Nothing but clocks is recorded after a leave.
    left: bool,
    written: Written,
    file_bytes: u64,
    compacted_bytes: u64,
    /// Files written anew that are not known to be durable.
    rewrites: BTreeMap<PersistId, u64>,
    /// The record of a leave that is not known to be durable.
    leave: Option<PersistId>,
}

/// The numbers that the file holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Written {
    clock: LamportTime,
    event_clock: LamportTime,
    query_clock: LamportTime,
    incarnation: Incarnation,
}

impl Recorder {
    /// Records something about a member; a name that no line can hold is left out.
    pub(super) fn member(&mut self, ctx: &Ctx<'_>, line: &Line) {
        if ctx.config.serf.snapshot.is_some() && !self.left {
            _ = line.write(&mut self.lines);
        }
    }

    /// A user event was delivered.
    pub(super) fn event(&mut self, ctx: &Ctx<'_>, ltime: LamportTime) {
        if ltime > self.written.event_clock {
            self.written.event_clock = ltime;
            self.number(ctx, &Line::EventClock(ltime));
        }
    }

    /// A query was taken in.
    pub(super) fn query(&mut self, ctx: &Ctx<'_>, ltime: LamportTime) {
        if ltime > self.written.query_clock {
            self.written.query_clock = ltime;
            self.number(ctx, &Line::QueryClock(ltime));
        }
    }

    fn number(&mut self, ctx: &Ctx<'_>, line: &Line) {
        if ctx.config.serf.snapshot.is_some() {
            _ = line.write(&mut self.lines);
        }
    }

    /// We are a member again.
    pub(super) const fn resume(&mut self) {
        self.left = false;
    }

    /// Whether the record of our leave is not durable yet.
    pub(super) const fn awaits_leave(&self) -> bool {
        self.leave.is_some()
    }

    /// Whether a file written anew is on its way to the disk.
    fn is_rewriting(&self) -> bool {
        !self.rewrites.is_empty()
    }
}

impl Serf {
    /// Takes in what the file of an earlier life says: the clocks, before anything else can come in (user-asks 22), and
    /// the peers.
    pub(super) fn recall(&mut self, ctx: &mut Ctx<'_>, parsed: &Parsed, file_bytes: usize) {
        let book = &parsed.book;
        self.clock.witness(book.clock());
        self.event_clock.witness(book.event_clock());
        self.query_clock.witness(book.query_clock());
        self.events.raise_min(next(book.event_clock()));
        self.queries.seen.raise_min(next(book.query_clock()));
        self.recorder = Recorder {
            stale: parsed.torn,
            written: Written {
                clock: book.clock(),
                event_clock: book.event_clock(),
                query_clock: book.query_clock(),
                incarnation: book.incarnation(),
            },
            file_bytes: file_bytes as u64,
            ..Recorder::default()
        };
        self.snapshot_peers.recall(ctx, parsed);
    }

    /// Hands out what there is to record. Called at the end of every input.
    pub(crate) fn record(&mut self, ctx: &mut Ctx<'_>) {
        if ctx.config.serf.snapshot.is_none() {
            return;
        }
        let incarnation = ctx.table.own().incarnation;
        if incarnation > self.recorder.written.incarnation {
            self.recorder.written.incarnation = incarnation;
            _ = Line::Incarnation(incarnation).write(&mut self.recorder.lines);
        }
        if self.member_clock() > self.recorder.written.clock {
            ctx.arm_if_idle(TimerKind::SnapshotClocks, ctx.now + CLOCK_INTERVAL);
        }
        if self.recorder.lines.is_empty() {
            return;
        }
        if self.recorder.failed && !self.recorder.is_rewriting() {
            // The file that will be written anew holds all of it; one that is on its way does not.
            return self.recorder.lines.clear();
        }
        let recorder = &self.recorder;
        let grown = recorder.file_bytes.saturating_add(recorder.lines.len() as u64);
        let full = should_compact(ctx.table.known(), grown, recorder.compacted_bytes) && !recorder.is_rewriting();
        if recorder.stale || full {
            self.rewrite(ctx);
        } else {
            let lines = core::mem::take(&mut self.recorder.lines).into();
            self.recorder.file_bytes = grown;
            ctx.persist(Persist::Snapshot { lines, replace: false });
        }
    }

    /// What the file calls the clock: the last time that was given out.
    const fn member_clock(&self) -> LamportTime {
        LamportTime(self.clock.time().0.saturating_sub(1))
    }

    /// The clocks have waited long enough.
    pub(super) fn on_snapshot_clocks(&mut self, ctx: &Ctx<'_>) {
        let clock = self.member_clock();
        if clock > self.recorder.written.clock {
            self.recorder.written.clock = clock;
            self.recorder.number(ctx, &Line::Clock(clock));
        }
    }

    /// Hands out the whole file anew.
    fn rewrite(&mut self, ctx: &mut Ctx<'_>) -> PersistId {
        let book = self.book(ctx);
        let lines = book.compact();
        let bytes = lines.len() as u64;
        self.recorder.lines.clear();
        self.recorder.stale = false;
        self.recorder.file_bytes = bytes;
        let id = ctx.persist(Persist::Snapshot { lines: lines.into(), replace: true });
        self.recorder.rewrites.insert(id, bytes);
        id
    }

    /// What the file has to say.
    fn book(&mut self, ctx: &Ctx<'_>) -> Book {
        let rejoin = ctx.config.serf.snapshot.is_some_and(|snapshot| snapshot.rejoin_after_leave);
        let mut book = Book::new(rejoin);
        for (name, addr, alive) in self.snapshot_peers.unknown(ctx) {
            book.apply(&if alive { Line::Alive(name, addr) } else { Line::Failed(name, addr) });
        }
        for (_, member) in ctx.table.entries() {
            let (name, addr) = (member.name().clone(), member.identity.addr);
            match member.status {
                Status::Alive | Status::Leaving => book.apply(&Line::Alive(name, addr)),
                Status::Failed => book.apply(&Line::Failed(name, addr)),
                Status::Left | Status::None => (),
            }
        }
        self.recorder.written.clock = self.member_clock();
        if self.recorder.left {
            book.apply(&Line::Leave);
        }
        let Written { clock, event_clock, query_clock, incarnation } = self.recorder.written;
        for line in [
            Line::Clock(clock),
            Line::EventClock(event_clock),
            Line::QueryClock(query_clock),
            Line::Incarnation(incarnation),
        ] {
            book.apply(&line);
        }
        book
    }

    /// Records that we leave; the leave is not over before that is durable.
    pub(super) fn record_leave(&mut self, ctx: &mut Ctx<'_>) {
        if ctx.config.serf.snapshot.is_none() {
            return;
        }
        if self.recorder.stale || self.recorder.failed {
            self.recorder.left = true;
            self.recorder.leave = Some(self.rewrite(ctx));
            return;
        }
        _ = Line::Leave.write(&mut self.recorder.lines);
        self.recorder.left = true;
        let lines: Vec<u8> = core::mem::take(&mut self.recorder.lines);
        self.recorder.file_bytes = self.recorder.file_bytes.saturating_add(lines.len() as u64);
        let record = Persist::Snapshot { lines: lines.into(), replace: false };
        self.recorder.leave = Some(ctx.persist(record));
    }

    /// Lines are in the file, or are not. A file that could not be written is written anew, at once if that was not tried
    /// a while ago, then after a while; that is said once, and the node stays a member.
    pub(super) fn on_snapshot_kept(&mut self, ctx: &mut Ctx<'_>, id: PersistId, result: Result<(), PersistError>) {
        let rewrite = self.recorder.rewrites.remove(&id);
        match result {
            Ok(()) => {
                if let Some(bytes) = rewrite {
                    self.recorder.compacted_bytes = bytes;
                    if core::mem::take(&mut self.recorder.failed) {
                        ctx.timers.disarm(TimerKind::SnapshotRetry);
                        ctx.log(Log::SnapshotWritten);
                    }
                }
            }
            Err(PersistError(why)) => {
                if !core::mem::replace(&mut self.recorder.failed, true) {
                    ctx.log(Log::SnapshotNotWritten(why));
                }
                let soon = self.recorder.retried.is_none_or(|at| ctx.now >= at + RETRY_INTERVAL);
                if soon && rewrite.is_none() && !self.recorder.is_rewriting() {
                    let again = self.retry(ctx);
                    if let Some(leave) = self.recorder.leave.as_mut().filter(|leave| **leave == id) {
                        *leave = again;
                    }
                } else {
                    ctx.arm_if_idle(TimerKind::SnapshotRetry, ctx.now + RETRY_INTERVAL);
                }
            }
        }
        if self.recorder.leave.take_if(|leave| *leave == id).is_some() {
            self.end_leave(ctx);
        }
    }

    /// A file that could not be written is written anew.
    pub(super) fn on_snapshot_retry(&mut self, ctx: &mut Ctx<'_>) {
        if self.recorder.failed {
            self.retry(ctx);
        }
    }

    fn retry(&mut self, ctx: &mut Ctx<'_>) -> PersistId {
        self.recorder.retried = Some(ctx.now);
        self.rewrite(ctx)
    }
}

/// The first time that is news after `last`; nothing is known after zero.
const fn next(last: LamportTime) -> LamportTime {
    if last.0 == 0 { last } else { LamportTime(last.0.saturating_add(1)) }
}
