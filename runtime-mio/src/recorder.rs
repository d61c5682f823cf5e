//! The files of a recording: what goes into the core is written before the core sees it.
//!
//! Segments are numbered files in one directory, which only the owner may read. When one is full the next begins with a
//! checkpoint, and the oldest go when all of them are larger than they may be: what is left still replays. A recording that
//! cannot be written goes on in a new segment when that is possible again.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use villein_core::record::{EXTENSION, Head, Writer, build};
use villein_core::{Input, Node, Output, Time};

/// A segment is this part of all that is kept.
const PARTS: u64 = 8;
/// Time between two attempts to go on after something could not be written; as of a snapshot.
const RETRY_INTERVAL: Duration = Duration::from_secs(30);

/// The last number of a segment that others may follow: more than will ever be written follow it.
const NUMBER_MAX: u64 = u64::MAX / 2;

/// What is recorded where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordOptions {
    /// The directory; it is made if it is not there.
    pub directory: PathBuf,
    /// Bytes of all segments together, about.
    pub limit: u64,
}

/// A recording under way.
pub(crate) struct Recorder {
    options: RecordOptions,
    /// When this run began; all its segments say so.
    run: u64,
    /// The number in the next file's name, and within this run.
    next: u64,
    number: u64,
    segment: Option<Segment>,
    /// Nothing is recorded before this time, because it could not be written.
    pause: Option<Time>,
    buffer: Vec<u8>,
}

/// What has become of an input's record.
#[derive(Debug)]
pub(crate) enum Recorded {
    /// It is as it was before: written, or not while nothing can be.
    Still,
    /// It is not written, and neither is what follows for a while. This is said once.
    Interrupted(io::Error),
    /// It is written, in a new segment, after others were not.
    Again,
}

struct Segment {
    file: File,
    writer: Writer,
    /// Bytes of its head.
    head: u64,
    /// Bytes of all of it.
    bytes: u64,
}

impl Segment {
    /// Whether the next one is due. One whose checkpoint is large goes on until its inputs are as large: a checkpoint before
    /// every input would be all that is written.
    const fn is_full(&self, limit: u64) -> bool {
        self.bytes >= limit / PARTS && self.bytes >= self.head.saturating_mul(2)
    }
}

impl Recorder {
    /// Begins with the node as it is. `run`: nanoseconds of Unix time.
    pub(crate) fn begin(options: RecordOptions, run: u64, node: &Node) -> io::Result<Self> {
        if !options.directory.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(&options.directory)?;
        }
        let next = match segments(&options.directory)?.pop() {
            Some((number, path)) if number >= NUMBER_MAX => {
                let why = format!("no number is left for a segment behind {}", path.display());
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
            last => last.map_or(0, |(number, _)| number + 1),
        };
        let mut recorder = Self { options, run, next, number: 0, segment: None, pause: None, buffer: Vec::new() };
        recorder.turn(node)?;
        Ok(recorder)
    }

    /// Writes down what the node is about to see.
    pub(crate) fn input(&mut self, node: &Node, input: &Input<'_>) -> Recorded {
        if self.pause.is_some_and(|until| input.at < until) {
            return Recorded::Still;
        }
        let pauses = self.pause.is_some();
        if pauses {
            // A number is left out, so that nobody takes the next segment for one that goes on where the last one ended.
            self.number += 1;
        }
        match self.write(node, input) {
            Ok(()) if pauses => {
                self.pause = None;
                Recorded::Again
            }
            Ok(()) => Recorded::Still,
            Err(error) => {
                // Behind half an entry, a whole one would look like damage.
                self.segment = None;
                self.pause = Some(input.at + RETRY_INTERVAL);
                if pauses { Recorded::Still } else { Recorded::Interrupted(error) }
            }
        }
    }

    fn write(&mut self, node: &Node, input: &Input<'_>) -> io::Result<()> {
        if self.segment.as_ref().is_none_or(|segment| segment.is_full(self.options.limit)) {
            self.turn(node)?;
        }
        let Some(segment) = &mut self.segment else { return Ok(()) };
        self.buffer.clear();
        segment.writer.input(input, &mut self.buffer);
        segment.bytes += self.buffer.len() as u64;
        segment.file.write_all(&self.buffer)
    }

    /// Takes in what the node put out.
    pub(crate) fn outputs(&mut self, outputs: &[Output]) {
        if let Some(segment) = &mut self.segment {
            segment.writer.outputs(outputs);
        }
    }

    fn close(&mut self) -> io::Result<()> {
        let Some(Segment { mut file, writer, .. }) = self.segment.take() else { return Ok(()) };
        self.buffer.clear();
        writer.end(&mut self.buffer);
        file.write_all(&self.buffer)
    }

    /// Ends a segment and begins the next.
    fn turn(&mut self, node: &Node) -> io::Result<()> {
        self.close()?;
        let path = self.options.directory.join(format!("{:08}.{EXTENSION}", self.next));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let head = Head { build: build(), run: self.run, number: self.number, checkpoint: node.checkpoint() };
        self.next += 1;
        self.number += 1;
        self.buffer.clear();
        let writer = Writer::begin(&head, &mut self.buffer);
        if let Err(error) = file.write_all(&self.buffer) {
            // Attempts that fail must not fill the directory; what cannot be removed is passed over by a replay.
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        let head = self.buffer.len() as u64;
        self.segment = Some(Segment { file, writer, head, bytes: head });
        self.forget()
    }

    /// Deletes the oldest segments as long as there are too many bytes; the last one stays.
    fn forget(&self) -> io::Result<()> {
        let mut segments = segments(&self.options.directory)?;
        segments.pop();
        let sized: Vec<(u64, PathBuf)> = segments
            .into_iter()
            .map(|(_, path)| Ok((std::fs::metadata(&path)?.len(), path)))
            .collect::<io::Result<_>>()?;
        // Room for the segment that begins.
        let room = self.options.limit - self.options.limit / PARTS;
        let mut total: u64 = sized.iter().map(|(bytes, _)| bytes).sum();
        for (bytes, path) in sized {
            if total <= room {
                break;
            }
            std::fs::remove_file(path)?;
            total -= bytes;
        }
        Ok(())
    }
}

impl Drop for Recorder {
    /// An end that cannot be written is a cut: what stands before it replays. A panic is no end: what came of the last input
    /// is unknown.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = self.close();
        }
    }
}

/// The segments of a directory, by number.
fn segments(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let is_segment = path.extension().is_some_and(|ending| ending == EXTENSION);
        if let Some(number) = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok()).filter(|_| is_segment) {
            segments.push((number, path));
        }
    }
    segments.sort_unstable();
    Ok(segments)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use villein_core::config::Profile;
    use villein_core::record::{Entry, Reader};
    use villein_core::types::{GossipAddr, Name};
    use villein_core::{Config, Saved, Seed, Stimulus, Time};

    fn node() -> Node {
        let addr = GossipAddr::from_bytes(&[127, 0, 0, 1], 7946).expect("4 bytes");
        let config = Config::new(Name::from("a"), addr, Profile::Lan);
        Node::new(config, Seed::simulated(1), Time::ZERO, Saved::default()).expect("a node")
    }

    #[test]
    fn the_oldest_segments_go_and_the_rest_replays() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("deep").join("recording");
        let (mut node, limit) = (node(), 64 << 10);
        let mut recorder =
            Recorder::begin(RecordOptions { directory: path.clone(), limit }, 7, &node).expect("a recording");
        for second in 0..2_000 {
            let bytes = [0; 100];
            let from = "127.0.0.2:7946".parse().expect("an address");
            let at = Time::from_nanos(second * 1_000_000_000);
            let input = Input { at, stimulus: Stimulus::Datagram { from, bytes: &bytes } };
            assert!(matches!(recorder.input(&node, &input), Recorded::Still));
            recorder.outputs(&node.handle(input));
        }
        drop(recorder);
        let left = segments(&path).expect("the directory");
        assert!(left.len() > 3 && left[0].0 > 0, "{left:?}");
        let sizes = left.iter().map(|(_, path)| std::fs::metadata(path).expect("it is there"));
        let total: u64 = sizes
            .map(|meta| {
                assert_eq!(meta.permissions().mode() & 0o777, 0o600);
                meta.len()
            })
            .sum();
        assert!(total <= limit + limit / PARTS, "{total} bytes");
        assert_eq!(std::fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o700);
        let bytes = std::fs::read(&left[0].1).expect("a segment");
        let (head, mut reader) = Reader::open(&bytes).expect("a segment").expect("a head");
        let mut again = Node::restore(&head.checkpoint).expect("a checkpoint");
        let mut inputs = 0;
        while let Some(Entry::Input { at, stimulus, .. }) = reader.entry().expect("an entry") {
            let _ = again.handle(Input { at, stimulus: stimulus.stimulus() });
            inputs += 1;
        }
        let next = std::fs::read(&left[1].1).expect("a segment");
        let next = Reader::open(&next).expect("a segment").expect("a head").0;
        assert_eq!((again.checkpoint(), head.number + 1), (next.checkpoint, next.number));
        assert!(inputs > 10);
    }

    fn tick(recorder: &mut Recorder, node: &mut Node, second: u64) -> Recorded {
        let input = Input { at: Time::from_nanos(second * 1_000_000_000), stimulus: Stimulus::Tick };
        let recorded = recorder.input(node, &input);
        recorder.outputs(&node.handle(input));
        recorded
    }

    fn begin(directory: &Path, limit: u64, node: &Node) -> Recorder {
        Recorder::begin(RecordOptions { directory: directory.to_owned(), limit }, 0, node).expect("a recording")
    }

    /// What stands last in a segment, and how many inputs before it.
    fn end(path: &Path) -> (Entry<'static>, usize) {
        let bytes = std::fs::read(path).expect("a segment");
        let (_, mut reader) = Reader::open(&bytes).expect("a segment").expect("a head");
        let mut inputs = 0;
        loop {
            match reader.entry().expect("no damage").expect("an end") {
                Entry::Input { .. } => inputs += 1,
                Entry::End { hash } => return (Entry::End { hash }, inputs),
                Entry::Cut => return (Entry::Cut, inputs),
            }
        }
    }

    /// A disk that takes nothing; gives what was written to before.
    fn fill(recorder: &mut Recorder) -> File {
        let full = File::options().write(true).open("/dev/full").expect("full");
        std::mem::replace(&mut recorder.segment.as_mut().expect("a segment").file, full)
    }

    #[test]
    fn nothing_is_written_behind_what_could_not_be() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut node = node();
        let mut recorder = begin(directory.path(), 1 << 20, &node);
        assert!(matches!(tick(&mut recorder, &mut node, 0), Recorded::Still));
        let (_, path) = segments(directory.path()).expect("the directory").remove(0);
        let segment = recorder.segment.as_mut().expect("a segment");
        // Half an entry gets there, and then the disk is full.
        segment.file.write_all(&[200, 0, 0]).expect("it is written");
        let mut real = fill(&mut recorder);
        let Recorded::Interrupted(error) = tick(&mut recorder, &mut node, 1) else { panic!("the disk is full") };
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(recorder.segment.is_none(), "a later entry would stand behind half of one");
        assert!(matches!(tick(&mut recorder, &mut node, 2), Recorded::Still), "it is said once");
        drop(recorder);
        real.flush().expect("it is there");
        assert_eq!(end(&path), (Entry::Cut, 1));
    }

    #[test]
    fn a_recording_goes_on_when_it_can_be_written_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("recording");
        let away = directory.path().join("away");
        let mut node = node();
        let mut recorder = begin(&path, 1 << 20, &node);
        assert!(matches!(tick(&mut recorder, &mut node, 0), Recorded::Still));
        let _real = fill(&mut recorder);
        assert!(matches!(tick(&mut recorder, &mut node, 1), Recorded::Interrupted(_)));
        std::fs::rename(&path, &away).expect("moved");
        for second in 2..100 {
            assert!(matches!(tick(&mut recorder, &mut node, second), Recorded::Still), "it is said once");
        }
        std::fs::rename(&away, &path).expect("moved");
        let again = (100..131).find(|&second| matches!(tick(&mut recorder, &mut node, second), Recorded::Again));
        let again = again.expect("half a minute is enough");
        assert!(again <= 121, "{again}");
        drop(recorder);
        let left = segments(&path).expect("the directory");
        let heads = left.iter().map(|(_, path)| {
            let bytes = std::fs::read(path).expect("a segment");
            Reader::open(&bytes).expect("a segment").expect("a head").0
        });
        let heads: Vec<Head> = heads.collect();
        assert_eq!(heads.len(), 2, "attempts that failed leave nothing");
        assert_eq!(heads[0].run, heads[1].run);
        assert!(heads[1].number > heads[0].number + 1, "the second is not what follows the first");
        assert_eq!(end(&left[0].1), (Entry::Cut, 1));
        let (_, inputs) = end(&left[1].1);
        assert_eq!(inputs, 1, "from then on all is there");
        let mut restored = Node::restore(&heads[1].checkpoint).expect("a checkpoint");
        let _ = restored.handle(Input { at: Time::from_nanos(again * 1_000_000_000), stimulus: Stimulus::Tick });
        assert_eq!(restored.checkpoint(), node.checkpoint(), "the state of that time");
    }

    #[test]
    fn a_panic_is_a_cut_and_its_input_is_there() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut node = node();
        let mut recorder = begin(directory.path(), 1 << 20, &node);
        assert!(matches!(tick(&mut recorder, &mut node, 0), Recorded::Still));
        let panicked = std::thread::spawn(move || {
            let input = Input { at: Time::from_nanos(1), stimulus: Stimulus::Entropy { bytes: [1; 32] } };
            assert!(matches!(recorder.input(&node, &input), Recorded::Still));
            std::panic::resume_unwind(Box::new("as the core would"));
        });
        panicked.join().expect_err("a panic");
        let (_, path) = segments(directory.path()).expect("the directory").remove(0);
        assert_eq!(end(&path), (Entry::Cut, 2));
    }

    #[test]
    fn a_checkpoint_larger_than_a_segment_is_not_written_before_every_input() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut node = node();
        // A segment of 16 bytes; no checkpoint is that small.
        let mut recorder = begin(directory.path(), 128, &node);
        let head = recorder.segment.as_ref().expect("a segment").head;
        for second in 0..400 {
            assert!(matches!(tick(&mut recorder, &mut node, second), Recorded::Still));
            assert!(recorder.segment.as_ref().is_some_and(|segment| segment.bytes < segment.head * 2 + 100));
        }
        assert!(recorder.number > 1, "there is a next segment");
        assert!(recorder.number * head < 400 * 100, "{} checkpoints of {head} bytes", recorder.number);
        let left = segments(directory.path()).expect("the directory");
        assert_eq!(left.len(), 1, "the one that is written is left: {left:?}");
    }

    #[test]
    fn a_later_run_does_not_write_over_an_earlier_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let options = RecordOptions { directory: directory.path().to_owned(), limit: 1 << 20 };
        for run in 0..2 {
            drop(Recorder::begin(options.clone(), run, &node()).expect("a recording"));
        }
        assert_eq!(segments(directory.path()).expect("the directory").len(), 2);
    }

    #[test]
    fn a_segment_with_the_last_number_is_named() {
        for number in [NUMBER_MAX, u64::MAX] {
            let directory = tempfile::tempdir().expect("a directory");
            let path = directory.path().join(format!("{number}.{EXTENSION}"));
            std::fs::write(&path, "").expect("a file");
            let options = RecordOptions { directory: directory.path().to_owned(), limit: 1 << 20 };
            let refusal = Recorder::begin(options, 0, &node()).err().expect("is refused").to_string();
            assert_eq!(refusal, format!("no number is left for a segment behind {}", path.display()));
        }
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join(format!("{}.{EXTENSION}", NUMBER_MAX - 1)), "").expect("a file");
        let mut node = node();
        let mut recorder = begin(directory.path(), 1 << 20, &node);
        assert!(matches!(tick(&mut recorder, &mut node, 1), Recorded::Still));
        assert!(directory.path().join(format!("{NUMBER_MAX}.{EXTENSION}")).exists());
    }
}
