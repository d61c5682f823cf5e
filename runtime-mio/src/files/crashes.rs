//! Power cuts after every operation of what an agent writes, for each kind of file, in every state that they may leave.
//!
//! `VILLEIN_CRASH_SWEEP=full` takes more workloads and lets every write end at every length: that is for release builds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use villein_core::io::PersistError;
use villein_core::lamport::LamportTime;
use villein_core::snapshot::{Book, Line, parse};
use villein_core::types::{GossipAddr, Incarnation, Name};

use super::writer::{Job, Writer};
use crate::durable::simulated::{DIRECTORY, Loss, SimulatedDisk, Trouble};
use crate::durable::{Disk, PRIVATE, replace};

const PATH: &str = "/d/file";
const BESIDE: &str = "/d/file.new";

/// What a disk does with a job: the real thing, or something careless that must be found out.
type Perform = fn(&mut Writer<SimulatedDisk>, &mut SimulatedDisk, &Job) -> Result<(), PersistError>;

fn real(writer: &mut Writer<SimulatedDisk>, _: &mut SimulatedDisk, job: &Job) -> Result<(), PersistError> {
    writer.write(job)
}

/// A workload on one file.
trait Kind {
    /// What it does, in order.
    fn jobs(seed: u64) -> Vec<Job>;

    /// Whether the file is opened when an agent starts.
    const SNAPSHOT: bool;

    /// What may be found.
    type Expected;

    /// What may be found when the first jobs were acknowledged and perhaps another had begun.
    fn expect(acknowledged: &[Job], begun: Option<&Job>) -> Self::Expected;

    fn judge(expected: &Self::Expected, found: Option<&[u8]>) -> Result<(), String>;
}

/// How much a sweep looked at.
#[derive(Debug, Default)]
struct Counts {
    workloads: usize,
    cuts: usize,
    states: usize,
    /// States in which the file held less than was tried and more than was acknowledged, or a new file stood beside it.
    between: usize,
}

/// The numbers of a seed (splitmix64).
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % bound as u64) as usize
    }
}

fn open<K: Kind>(disk: &SimulatedDisk) -> Option<Writer<SimulatedDisk>> {
    Writer::open(disk.clone(), K::SNAPSHOT.then_some(Path::new(PATH))).ok()
}

/// Does the jobs until the power goes; gives how many were acknowledged, and whether it went within one.
fn work<K: Kind>(disk: &mut SimulatedDisk, jobs: &[Job], perform: Perform) -> (usize, bool) {
    let Some(mut writer) = open::<K>(disk) else { return (0, false) };
    let done = jobs.iter().take_while(|job| perform(&mut writer, disk, job).is_ok()).count();
    (done, done < jobs.len())
}

/// Cuts the workloads of the seeds after each of their operations.
fn sweep<K: Kind>(seeds: u64, step: usize, perform: Perform) -> Result<Counts, String> {
    let mut counts = Counts::default();
    for seed in 0..seeds {
        let jobs = K::jobs(seed);
        let mut undisturbed = SimulatedDisk::new(seed, Trouble::None);
        if work::<K>(&mut undisturbed, &jobs, perform) != (jobs.len(), false) {
            return Err("an undisturbed disk refuses".into());
        }
        counts.workloads += 1;
        for at in 0..=undisturbed.operations() {
            let mut disk = SimulatedDisk::new(seed, Trouble::PowerCut(at));
            let (acknowledged, begun) = work::<K>(&mut disk, &jobs, perform);
            let expected = K::expect(&jobs[..acknowledged], jobs.get(acknowledged).filter(|_| begun));
            let nothing_more = disk.after_power_cut(Loss::All).read(PATH);
            let mut problem = None;
            disk.each_after_power_cut(step, |found| {
                counts.states += 1;
                let content = found.read(PATH);
                counts.between += usize::from(found.has(BESIDE) || content != nothing_more);
                let judged = K::judge(&expected, content.as_deref()).and_then(|()| goes_on::<K>(found));
                if let Err(error) = judged {
                    problem.get_or_insert_with(|| format!("seed {seed}, power cut at operation {at}: {error}"));
                }
            });
            if let Some(problem) = problem {
                return Err(problem);
            }
            counts.cuts += 1;
        }
    }
    Ok(counts)
}

/// Whatever was found, the next agent can write, and what it has written is there after the next cut.
fn goes_on<K: Kind>(found: &SimulatedDisk) -> Result<(), String> {
    let disk = found.clone();
    let mut writer = open::<K>(&disk).ok_or("the next agent does not start")?;
    let content = b"clock: 7\n".to_vec();
    let job = if K::SNAPSHOT {
        Job::Compact(content.clone().into())
    } else {
        Job::Replace("next", PATH.into(), content.clone())
    };
    writer.write(&job).map_err(|error| format!("the next agent cannot write: {error}"))?;
    let later = disk.after_power_cut(Loss::All);
    let names: Vec<_> = later.names().iter().map(|name| name.display().to_string()).collect();
    if later.read(PATH).as_ref() != Some(&content) || names != [PATH] {
        return Err(format!("what the next agent wrote is not there: {names:?}"));
    }
    Ok(())
}

/// A file that is replaced: the old content or the new.
struct Replaced<const KEYS: bool>;

impl<const KEYS: bool> Kind for Replaced<KEYS> {
    const SNAPSHOT: bool = false;

    fn jobs(seed: u64) -> Vec<Job> {
        let mut draw = Draw(seed);
        (0..6)
            .map(|number| {
                let entries: Vec<String> = (0..1 + draw.below(if KEYS { 8 } else { 24 }))
                    .map(|entry| match KEYS {
                        true => format!("  \"{}\"", format!("{:011x}", draw.below(1 << 44)).repeat(4)),
                        false => format!("  \"tag{entry}\": \"{}\"", "v".repeat(draw.below(60))),
                    })
                    .collect();
                let (first, last) = if KEYS { ('[', ']') } else { ('{', '}') };
                let text = format!("{first}\n{}\n{last}\n", entries.join(",\n"));
                // No content comes twice, so what is found is that of one job.
                let text = if KEYS { text } else { text.replacen("tag0", &format!("tag0-{number}"), 1) };
                Job::Replace(if KEYS { "keyring" } else { "tags" }, PATH.into(), text.into_bytes())
            })
            .collect()
    }

    /// The old content and the new.
    type Expected = [Option<Vec<u8>>; 2];

    fn expect(acknowledged: &[Job], begun: Option<&Job>) -> Self::Expected {
        [acknowledged.last(), begun].map(|job| job.map(|job| content(job).to_vec()))
    }

    fn judge([old, new]: &Self::Expected, found: Option<&[u8]>) -> Result<(), String> {
        if found == old.as_deref() || found.is_some() && found == new.as_deref() {
            serde_json::from_slice::<serde_json::Value>(found.unwrap_or(b"{}")).map_err(|error| error.to_string())?;
            return Ok(());
        }
        Err(format!("neither the old content nor the new: {:?}", found.map(String::from_utf8_lossy)))
    }
}

/// A snapshot: records are appended in batches, now and then it is written anew.
struct Snapshot;

fn text(lines: &[Line]) -> Vec<u8> {
    let mut text = vec![];
    for line in lines {
        line.write(&mut text).expect("a line can hold it");
    }
    text
}

fn lines(bytes: &[u8]) -> Vec<Line> {
    bytes.split(|&byte| byte == b'\n').filter_map(|line| Line::read(line).ok().flatten()).collect()
}

impl Kind for Snapshot {
    const SNAPSHOT: bool = true;

    fn jobs(seed: u64) -> Vec<Job> {
        let mut draw = Draw(seed);
        let mut book = Book::new(false);
        let mut time = 0;
        let mut jobs = vec![];
        for number in 0..6 {
            // What has waited for the disk is appended at once: up to several sectors.
            let mut batch = vec![];
            for _ in 0..1 + draw.below(if number % 2 == 0 { 3 } else { 48 }) {
                let name = Name::from(format!("node-{}", draw.below(12)).as_str());
                let addr = GossipAddr::from_bytes(&[10, 0, 0, draw.below(250) as u8], 7946).expect("4 bytes");
                time += 1;
                match draw.below(8) {
                    0..3 => batch.push(Line::Alive(name, addr)),
                    3 => batch.extend([Line::NotAlive(name.clone()), Line::Failed(name, addr)]),
                    4 => batch.push(Line::Clock(LamportTime(time))),
                    5 => batch.push(Line::EventClock(LamportTime(time + 1_000_000))),
                    6 => batch.push(Line::QueryClock(LamportTime(time + 2_000_000_000))),
                    _ => batch.push(Line::Incarnation(Incarnation(time as u32))),
                }
            }
            batch.iter().for_each(|line| book.apply(line));
            jobs.push(Job::Append(text(&batch)));
            if draw.below(3) == 0 {
                jobs.push(Job::Compact(book.compact().into()));
            }
        }
        jobs.push(Job::Append(text(&[Line::Leave])));
        jobs
    }

    type Expected = Records;

    fn expect(acknowledged: &[Job], begun: Option<&Job>) -> Records {
        let mut kept = None;
        for job in acknowledged {
            match job {
                Job::Append(lines) => kept.get_or_insert_with(Vec::new).extend_from_slice(lines),
                Job::Compact(lines) => kept = Some(lines.to_vec()),
                Job::Replace(..) => unreachable!("it is a snapshot"),
            }
        }
        Records::new(kept, begun)
    }

    fn judge(records: &Records, found: Option<&[u8]>) -> Result<(), String> {
        records.judge(found)
    }
}

/// What a snapshot may hold.
struct Records {
    /// What was acknowledged; `None`: nothing, and perhaps there is no file.
    kept: Option<Vec<u8>>,
    /// The content that is to take its place.
    anew: Option<Vec<u8>>,
    /// What is being appended.
    tried: Vec<u8>,
    was: Facts,
    /// Of each member and of each number what was acknowledged last and all that was tried.
    members: BTreeMap<Name, BTreeSet<String>>,
    numbers: [BTreeSet<u64>; 4],
}

impl Records {
    fn new(kept: Option<Vec<u8>>, begun: Option<&Job>) -> Self {
        let mut book = parse(kept.as_deref().unwrap_or_default(), false).book;
        let was = Facts::of(&book);
        let (anew, tried) = match begun {
            Some(Job::Append(lines)) => (None, lines.clone()),
            Some(Job::Compact(lines)) => (Some(lines.to_vec()), vec![]),
            Some(Job::Replace(..)) | None => (None, vec![]),
        };
        let mut members: BTreeMap<Name, BTreeSet<String>> = BTreeMap::new();
        let mut numbers = was.numbers.map(|number| BTreeSet::from([number]));
        for line in lines(&tried) {
            book.apply(&line);
            let facts = Facts::of(&book);
            if let Line::Alive(name, _) | Line::NotAlive(name) | Line::Failed(name, _) = &line {
                members.entry(name.clone()).or_default().insert(facts.member(name).to_owned());
            }
            for (allowed, number) in numbers.iter_mut().zip(facts.numbers) {
                allowed.insert(number);
            }
        }
        Self { kept, anew, tried, was, members, numbers }
    }

    fn judge(&self, found: Option<&[u8]>) -> Result<(), String> {
        let kept = self.kept.as_deref();
        if found == kept || found.is_some() && found == self.anew.as_deref() {
            return Ok(());
        }
        if self.anew.is_some() {
            return Err("neither the old content nor the new".into());
        }
        let kept = kept.unwrap_or_default();
        let found = found.ok_or("the file is gone")?;
        if !found.starts_with(kept) {
            return Err("what was acknowledged is gone".into());
        }
        let is = Facts::of(&parse(found, false).book);
        if is.left {
            // The leave stands behind everything else.
            let whole = found == [kept, &self.tried].concat();
            return if whole { Ok(()) } else { Err("it has left, and something is missing".into()) };
        }
        // The reader makes of it nothing but what was recorded.
        for name in self.was.members.keys().chain(is.members.keys()) {
            let (before, now) = (self.was.member(name), is.member(name));
            if now != before && !self.members.get(name).is_some_and(|allowed| allowed.contains(now)) {
                return Err(format!("{name} was {before:?} and is {now:?}, which nobody recorded"));
            }
        }
        for (number, allowed) in is.numbers.iter().zip(&self.numbers) {
            if !allowed.contains(number) {
                return Err(format!("{number} is none of {allowed:?}: {}", String::from_utf8_lossy(found)));
            }
        }
        Ok(())
    }
}

/// What a book says.
struct Facts {
    members: BTreeMap<Name, String>,
    numbers: [u64; 4],
    left: bool,
}

impl Facts {
    fn of(book: &Book) -> Self {
        let alive = book.alive().map(|(name, addr)| (name.clone(), format!("alive {addr}")));
        let failed = book.failed().map(|(name, addr)| (name.clone(), format!("failed {addr}")));
        let numbers = [book.clock().0, book.event_clock().0, book.query_clock().0, book.incarnation().0.into()];
        Self { members: alive.chain(failed).collect(), numbers, left: book.has_left() }
    }

    fn member(&self, name: &Name) -> &str {
        self.members.get(name).map_or("", String::as_str)
    }
}

/// Whether everything is wanted.
pub(super) fn is_full() -> bool {
    std::env::var("VILLEIN_CRASH_SWEEP").is_ok_and(|how| how == "full")
}

/// Sweeps as far as the environment wants, and says how far that was.
#[expect(clippy::print_stdout, reason = "a test's figures")]
fn check<K: Kind>(kind: &str, seeds: u64, step: usize, states_min: usize) {
    let (seeds, step) = if is_full() { (seeds * 8, 1) } else { (seeds, step) };
    let counts = sweep::<K>(seeds, step, real).unwrap_or_else(|problem| panic!("{kind}: {problem}"));
    println!("{kind}: {counts:?}");
    assert!(
        counts.states >= states_min && counts.between * 2 >= counts.states,
        "{kind}: the sweep is thin: {counts:?}"
    );
}

#[test]
fn no_power_cut_leaves_a_mixture_of_two_tags_files() {
    check::<Replaced<false>>("tags", 4, 3, 50_000);
}

#[test]
fn no_power_cut_leaves_a_mixture_of_two_keyrings_or_none() {
    check::<Replaced<true>>("keyring", 16, 3, 50_000);
}

#[test]
fn no_power_cut_takes_acknowledged_records_out_of_a_snapshot() {
    check::<Snapshot>("snapshot", 4, 3, 50_000);
}

fn failed(error: impl ToString) -> PersistError {
    PersistError(error.to_string())
}

fn write_all(disk: &mut SimulatedDisk, file: &mut usize, mut bytes: &[u8]) -> Result<(), PersistError> {
    while !bytes.is_empty() {
        let count = disk.write(file, bytes).map_err(failed)?;
        bytes = &bytes[count..];
    }
    Ok(())
}

fn content(job: &Job) -> &[u8] {
    match job {
        Job::Replace(_, _, content) | Job::Append(content) => content,
        Job::Compact(content) => content,
    }
}

#[test]
fn careless_ways_to_write_are_found_out() {
    let in_place: Perform = |_, disk, job| {
        let path = Path::new(PATH);
        let mut file = match disk.attributes(path).map_err(failed)? {
            Some(_) => disk.open(path).map_err(failed)?,
            None => disk.create(path, PRIVATE).map_err(failed)?,
        };
        disk.truncate(&mut file, 0).map_err(failed)?;
        write_all(disk, &mut file, content(job))?;
        disk.sync(&mut file).map_err(failed)?;
        disk.sync_directory(Path::new(DIRECTORY)).map_err(failed)
    };
    let renamed_unsynced: Perform = |_, disk, job| {
        let (path, beside) = (Path::new(PATH), Path::new(BESIDE));
        if disk.attributes(beside).map_err(failed)?.is_some() {
            disk.remove(beside).map_err(failed)?;
        }
        let mut file = disk.create(beside, PRIVATE).map_err(failed)?;
        write_all(disk, &mut file, content(job))?;
        disk.rename(beside, path).map_err(failed)?;
        disk.sync_directory(Path::new(DIRECTORY)).map_err(failed)
    };
    let unsynced_name: Perform = |_, disk, job| {
        let (path, beside) = (Path::new(PATH), Path::new(BESIDE));
        let mut file = disk.create(beside, PRIVATE).map_err(failed)?;
        write_all(disk, &mut file, content(job))?;
        disk.sync(&mut file).map_err(failed)?;
        disk.rename(beside, path).map_err(failed)
    };
    for careless in [in_place, renamed_unsynced, unsynced_name] {
        let problem = sweep::<Replaced<false>>(1, 16, careless).expect_err("is found out");
        assert!(problem.contains("neither the old content nor the new"), "{problem}");
    }
    let unsynced: Perform = |writer, disk, job| match job {
        Job::Append(lines) => {
            let mut file = disk.open(Path::new(PATH)).map_err(failed)?;
            write_all(disk, &mut file, lines)
        }
        Job::Compact(_) | Job::Replace(..) => writer.write(job),
    };
    let anew_each_time: Perform = |_, disk, job| replace(disk, Path::new(PATH), content(job), PRIVATE).map_err(failed);
    for careless in [unsynced, anew_each_time] {
        sweep::<Snapshot>(1, 16, careless).expect_err("is found out");
    }
}
