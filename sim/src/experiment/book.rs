//! The book: one JSON object a line for each run. A measurement that was ended in the middle of a line loses that line.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::{Job, Sample};

/// What was measured so far, on disk and in memory.
#[derive(Debug)]
pub struct Book {
    samples: BTreeMap<String, Sample>,
    file: Option<File>,
}

impl Book {
    /// The book of this file; a new one if there is none.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let text = std::fs::read_to_string(path)?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        if whole < text.len() {
            // Ends the torn line, so that the next one begins a line of its own.
            writeln!(file)?;
        }
        let samples = text[..whole].lines().filter_map(read).collect();
        Ok(Self { samples, file: Some(file) })
    }

    /// A book that nobody keeps.
    pub const fn in_memory() -> Self {
        Self { samples: BTreeMap::new(), file: None }
    }

    /// Whether a run stands in it.
    pub fn has(&self, job: &Job) -> bool {
        self.samples.contains_key(&job.key())
    }

    /// What a run came to.
    pub fn sample(&self, job: &Job) -> Option<&Sample> {
        self.samples.get(&job.key())
    }

    /// Writes a run down.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add(&mut self, job: &Job, sample: Sample) -> std::io::Result<()> {
        if let Some(file) = &mut self.file {
            writeln!(file, "{}", line(job, &sample))?;
        }
        self.samples.insert(job.key(), sample);
        Ok(())
    }
}

fn line(job: &Job, sample: &Sample) -> Value {
    json!({
        "kind": "run",
        "run": job.key(),
        "seed": job.seed(),
        "fp": sample.false_positives,
        "fp_healthy": sample.at_healthy,
        "packets": sample.packets,
        "bytes": sample.bytes,
        "first_ms": sample.first_ms,
        "full_ms": sample.full_ms,
    })
}

/// A line that is not whole is passed over: its run is played again.
fn read(line: &str) -> Option<(String, Sample)> {
    let value: Value = serde_json::from_str(line).ok()?;
    let number = |key: &str| value.get(key).and_then(Value::as_u64);
    let numbers = |key: &str| value.get(key)?.as_array()?.iter().map(Value::as_u64).collect::<Option<Vec<u64>>>();
    let sample = Sample {
        false_positives: number("fp")?,
        at_healthy: number("fp_healthy")?,
        packets: number("packets")?,
        bytes: number("bytes")?,
        first_ms: numbers("first_ms")?,
        full_ms: numbers("full_ms")?,
    };
    Some((value.get("run")?.as_str()?.to_owned(), sample))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::Plan;

    #[test]
    fn what_was_measured_is_found_again_but_for_a_torn_line() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("deep").join("runs.jsonl");
        let jobs = Plan::quick().jobs();
        let sample = Sample { false_positives: 3, first_ms: vec![12_345], ..Sample::default() };
        let mut book = Book::open(&path).expect("a new book");
        book.add(&jobs[0], sample.clone()).expect("it is written");
        book.add(&jobs[1], sample.clone()).expect("it is written");
        let text = std::fs::read_to_string(&path).expect("it is there");
        std::fs::write(&path, &text[..text.len() - 5]).expect("it is torn");
        let mut book = Book::open(&path).expect("the book");
        assert_eq!(book.sample(&jobs[0]), Some(&sample));
        assert!(!book.has(&jobs[1]));
        book.add(&jobs[1], sample).expect("it is written");
        let book = Book::open(&path).expect("the book");
        assert!(book.has(&jobs[0]) && book.has(&jobs[1]));
    }
}
