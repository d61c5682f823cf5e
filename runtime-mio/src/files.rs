//! The files of an agent: snapshot, keyring and tags, written off the loop (cli.md 3.8 and 3.9).

mod writer;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use mio::Waker;
use villein_core::io::{Persist, PersistError, PersistId};
use villein_core::keyring::Key;
use villein_core::limits;
use villein_core::types::Tags;

use crate::address::errno_text;
use crate::durable::RealDisk;
use crate::limits::{APPENDED_BYTES_MAX, RECORDS_WAITING_BYTES_MAX, RECORDS_WAITING_MAX};

use self::writer::{Job, Writer};

/// Writing to a file needs far less.
const STACK_BYTES: usize = 128 << 10;

/// Which files an agent keeps. Their content at the start is part of the configuration, but for the snapshot's.
#[derive(Clone, Debug, Default)]
pub struct FileOptions {
    /// What is worth knowing after a restart; created if it is not there.
    pub snapshot: Option<PathBuf>,
    /// The keys; written when they change.
    pub keyring: Option<KeptFile<[Key]>>,
    /// The tags; written when they change.
    pub tags: Option<KeptFile<Tags>>,
}

/// A small file that is written as a whole.
#[derive(Debug)]
pub struct KeptFile<T: ?Sized> {
    /// Where.
    pub path: PathBuf,
    /// Gives the content, or the whole sentence why the file cannot hold it.
    pub encode: fn(&T) -> Result<Vec<u8>, String>,
}

impl<T: ?Sized> Clone for KeptFile<T> {
    fn clone(&self) -> Self {
        Self { path: self.path.clone(), encode: self.encode }
    }
}

/// What a file holds.
type Content = Box<[u8]>;
/// What has become of a record.
pub(crate) type Kept = (PersistId, Result<(), PersistError>);

/// Starts a thread when something must be written, and lets it end when nothing is left.
pub(crate) struct Files {
    options: FileOptions,
    writer: Arc<Mutex<Writer<RealDisk>>>,
    waker: Arc<Waker>,
    worker: Option<Worker>,
}

struct Worker {
    jobs: SyncSender<(PersistId, Job)>,
    kept: Receiver<Kept>,
    /// Bytes of each record that waits, in the order in which they are answered.
    waiting: VecDeque<usize>,
    waiting_bytes: usize,
}

impl Files {
    /// Reads the snapshot and opens it for more.
    ///
    /// # Errors
    /// It cannot be read or written: upstream's text, with the file.
    pub(crate) fn open(options: FileOptions, waker: Arc<Waker>) -> Result<(Self, Option<Content>), String> {
        let failed = |problem: String| format!("Failed to setup snapshot: failed to open snapshot: {problem}");
        let found = match &options.snapshot {
            Some(path) => {
                read(path).map_err(|error| failed(format!("open {}: {}", path.display(), errno_text(&error))))?
            }
            None => None,
        };
        let writer = Writer::open(RealDisk, options.snapshot.as_deref()).map_err(|error| failed(error.to_string()))?;
        Ok((Self { options, writer: Arc::new(Mutex::new(writer)), waker, worker: None }, found))
    }

    /// Has a record written; the answer is there when the waker has woken the loop.
    ///
    /// # Errors
    /// Why it cannot be kept: there is no file for it or none that can hold it, too many wait, or there is no thread.
    pub(crate) fn keep(&mut self, id: PersistId, record: Persist) -> Result<(), PersistError> {
        let job = Job::of(record, &self.options)?;
        let worker = match &mut self.worker {
            Some(worker) => worker,
            none => {
                let started = Worker::start(Arc::clone(&self.writer), &self.waker);
                none.insert(
                    started.map_err(|error| PersistError(format!("no thread to write: {}", errno_text(&error))))?,
                )
            }
        };
        if worker.waiting.len() >= RECORDS_WAITING_MAX || worker.waiting_bytes >= RECORDS_WAITING_BYTES_MAX {
            let (records, bytes) = (worker.waiting.len(), worker.waiting_bytes);
            return Err(PersistError(format!("{records} other records of {bytes} bytes wait for the disk")));
        }
        let bytes = job.bytes();
        worker.jobs.try_send((id, job)).map_err(|_| PersistError("the thread that writes has ended".to_owned()))?;
        worker.waiting.push_back(bytes);
        worker.waiting_bytes += bytes;
        Ok(())
    }

    /// The next answer that is there.
    pub(crate) fn take(&mut self) -> Option<Kept> {
        self.answer(|kept| kept.try_recv().ok())
    }

    /// Waits for the next answer, at the end of an agent; `None`: nothing waits, or it takes too long.
    pub(crate) fn wait(&mut self, timeout: Duration) -> Option<Kept> {
        self.answer(|kept| kept.recv_timeout(timeout).ok())
    }

    fn answer(&mut self, receive: impl FnOnce(&Receiver<Kept>) -> Option<Kept>) -> Option<Kept> {
        let worker = self.worker.as_mut()?;
        let kept = receive(&worker.kept)?;
        worker.waiting_bytes -= worker.waiting.pop_front().unwrap_or_default();
        if worker.waiting.is_empty() {
            self.worker = None;
        }
        Some(kept)
    }
}

impl Worker {
    fn start(writer: Arc<Mutex<Writer<RealDisk>>>, waker: &Arc<Waker>) -> io::Result<Self> {
        let (jobs, asked) = sync_channel::<(PersistId, Job)>(RECORDS_WAITING_MAX);
        let (answers, kept) = sync_channel(RECORDS_WAITING_MAX);
        let waker = Arc::clone(waker);
        thread::Builder::new().name("files".to_owned()).stack_size(STACK_BYTES).spawn(move || {
            let mut next = asked.recv().ok();
            while let Some((id, mut job)) = next.take() {
                let mut ids = vec![id];
                if let Job::Append(lines) = &mut job {
                    next = gather(&asked, &mut ids, lines);
                }
                let result = writer.lock().unwrap_or_else(PoisonError::into_inner).write(&job);
                for id in ids {
                    if answers.send((id, result.clone())).is_err() {
                        return;
                    }
                }
                if waker.wake().is_err() {
                    return;
                }
                next = next.or_else(|| asked.recv().ok());
            }
        })?;
        Ok(Self { jobs, kept, waiting: VecDeque::new(), waiting_bytes: 0 })
    }
}

/// Puts the appends that wait to the one at hand; gives the first job that is another.
fn gather(
    asked: &Receiver<(PersistId, Job)>,
    ids: &mut Vec<PersistId>,
    lines: &mut Vec<u8>,
) -> Option<(PersistId, Job)> {
    while lines.len() < APPENDED_BYTES_MAX {
        match asked.try_recv().ok()? {
            (id, Job::Append(more)) => {
                ids.push(id);
                lines.extend(more);
            }
            other => return Some(other),
        }
    }
    None
}

/// What a file holds, up to what a snapshot may; `None`: there is none.
fn read(path: &Path) -> io::Result<Option<Content>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut bytes = Vec::new();
    file.take(limits::SNAPSHOT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes.into()))
}

#[cfg(test)]
mod crashes;
#[cfg(test)]
mod troubles;

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll, Token};

    struct Loop {
        poll: Poll,
        files: Files,
    }

    fn open(options: FileOptions) -> Result<(Loop, Option<Content>), String> {
        let poll = Poll::new().expect("a poll");
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).expect("a waker"));
        let (files, found) = Files::open(options, waker)?;
        Ok((Loop { poll, files }, found))
    }

    impl Loop {
        fn next(&mut self) -> Kept {
            let mut events = Events::with_capacity(1);
            loop {
                match self.files.take() {
                    Some(kept) => return kept,
                    None => self.poll.poll(&mut events, Some(Duration::from_secs(10))).expect("is woken"),
                }
            }
        }
    }

    fn lines(text: &str, replace: bool) -> Persist {
        Persist::Snapshot { lines: text.as_bytes().into(), replace }
    }

    fn tags_file(path: &Path) -> FileOptions {
        let encode = |tags: &Tags| Ok(tags.keys().flatten().copied().collect());
        FileOptions { tags: Some(KeptFile { path: path.into(), encode }), ..FileOptions::default() }
    }

    #[test]
    fn a_snapshot_is_appended_to_and_replaced_in_the_order_asked_for() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("snapshot");
        let options = FileOptions { snapshot: Some(path.clone()), ..FileOptions::default() };
        let (mut one, found) = open(options.clone()).expect("opens");
        assert_eq!((found, path.exists()), (None, true));
        let records = [lines("a\n", false), lines("b\n", false), lines("c\n", true), lines("d\n", false)];
        for (id, record) in (0..).map(PersistId).zip(records) {
            one.files.keep(id, record).expect("is taken");
        }
        assert_eq!([(); 4].map(|()| one.next()), [0, 1, 2, 3].map(|id| (PersistId(id), Ok(()))));
        assert!(one.files.worker.is_none(), "the thread has nothing left to do");
        one.files.keep(PersistId(4), lines("e\n", false)).expect("is taken");
        assert_eq!(one.next(), (PersistId(4), Ok(())));
        let (_, found) = open(options).expect("opens");
        assert_eq!(found.as_deref(), Some(&b"c\nd\ne\n"[..]));
    }

    #[test]
    fn a_snapshot_that_cannot_be_opened_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("no").join("snapshot");
        let refusal = open(FileOptions { snapshot: Some(path.clone()), ..FileOptions::default() }).err();
        let wanted = "Failed to setup snapshot: failed to open snapshot: open";
        assert_eq!(refusal, Some(format!("{wanted} {}: no such file or directory", path.display())));
    }

    #[test]
    fn what_has_no_file_is_refused_at_once() {
        let (mut one, _) = open(FileOptions::default()).expect("opens");
        for record in [Persist::Tags(Tags::new()), Persist::Keyring(Vec::new()), lines("a\n", false)] {
            let error = one.files.keep(PersistId(0), record).expect_err("is refused");
            assert_eq!(error.to_string(), "the agent has no file to keep it in");
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_says_so_in_its_answer() {
        let directory = tempfile::tempdir().expect("a directory");
        let tags = Tags::from([(b"a".to_vec(), b"1".to_vec())]);
        let path = directory.path().join("tags");
        let (mut one, _) = open(tags_file(&path)).expect("opens");
        one.files.keep(PersistId(7), Persist::Tags(tags.clone())).expect("is taken");
        assert_eq!(one.next(), (PersistId(7), Ok(())));
        assert_eq!(std::fs::read(&path).expect("is there"), b"a");
        let (mut one, _) = open(tags_file(&directory.path().join("no").join("tags"))).expect("opens");
        one.files.keep(PersistId(8), Persist::Tags(tags)).expect("is taken");
        let (id, result) = one.next();
        let error = result.expect_err("is not written").to_string();
        assert!(error.starts_with("Failed to write tags file: open ") && id == PersistId(8), "{error}");
    }

    #[test]
    fn records_that_wait_for_the_disk_are_bounded() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("snapshot");
        let (mut one, _) = open(FileOptions { snapshot: Some(path.clone()), ..FileOptions::default() }).expect("opens");
        let writer = Arc::clone(&one.files.writer);
        // A disk that takes nothing.
        let disk = writer.lock().expect("no panic");
        for id in 0..RECORDS_WAITING_MAX as u64 {
            assert_eq!(one.files.keep(PersistId(id), lines("a\n", false)), Ok(()));
        }
        let bytes = 2 * RECORDS_WAITING_MAX;
        let refusal = format!("{RECORDS_WAITING_MAX} other records of {bytes} bytes wait for the disk");
        assert_eq!(one.files.keep(PersistId(9_999), lines("b\n", false)), Err(PersistError(refusal)));
        drop(disk);
        for id in 0..RECORDS_WAITING_MAX as u64 {
            assert_eq!(one.next(), (PersistId(id), Ok(())));
        }
        assert_eq!(one.files.keep(PersistId(9_999), lines("c\n", false)), Ok(()));
        assert_eq!(one.next(), (PersistId(9_999), Ok(())));
        assert!(std::fs::read(&path).expect("is there").ends_with(b"a\nc\n"));
    }

    #[test]
    fn records_that_wait_for_the_disk_are_bounded_in_bytes_too() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("snapshot");
        let (mut one, _) = open(FileOptions { snapshot: Some(path), ..FileOptions::default() }).expect("opens");
        let writer = Arc::clone(&one.files.writer);
        let disk = writer.lock().expect("no panic");
        let mut keep = |bytes| {
            let record = Persist::Snapshot { lines: vec![b'\n'; bytes].into(), replace: true };
            one.files.keep(PersistId(0), record)
        };
        assert_eq!(keep(RECORDS_WAITING_BYTES_MAX - 1), Ok(()));
        assert_eq!(keep(1), Ok(()), "the limit is not reached before");
        let refusal = format!("2 other records of {RECORDS_WAITING_BYTES_MAX} bytes wait for the disk");
        assert_eq!(keep(0), Err(PersistError(refusal)));
        drop(disk);
        assert_eq!([(); 2].map(|()| one.next().1), [Ok(()), Ok(())]);
        assert_eq!(one.files.keep(PersistId(0), lines("a\n", true)), Ok(()));
    }

    #[test]
    fn what_is_appended_at_once_is_bounded() {
        let (jobs, asked) = sync_channel(8);
        for (id, text) in [(1, "a"), (2, "b"), (3, "c")] {
            jobs.send((PersistId(id), Job::Append(text.as_bytes().into()))).expect("there is room");
        }
        let (mut ids, mut lines) = (vec![PersistId(0)], vec![b'x'; APPENDED_BYTES_MAX - 2]);
        assert!(gather(&asked, &mut ids, &mut lines).is_none());
        assert_eq!((ids.len(), lines.len()), (3, APPENDED_BYTES_MAX), "the limit is reached");
        let (mut ids, mut lines) = (vec![PersistId(0)], vec![b'x'; APPENDED_BYTES_MAX]);
        assert!(gather(&asked, &mut ids, &mut lines).is_none());
        assert_eq!((ids.len(), asked.try_iter().count()), (1, 1), "the next record is not taken");
    }

    #[test]
    fn the_end_of_an_agent_can_wait_for_what_is_under_way() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("snapshot");
        let options = FileOptions { snapshot: Some(path.clone()), ..FileOptions::default() };
        let (mut one, _) = open(options).expect("opens");
        one.files.keep(PersistId(0), lines("a\n", false)).expect("is taken");
        assert_eq!(one.files.wait(Duration::from_secs(10)), Some((PersistId(0), Ok(()))));
        assert_eq!(one.files.wait(Duration::from_secs(10)), None, "nothing waits");
        assert_eq!(std::fs::read(&path).expect("is there"), b"a\n");
    }
}
