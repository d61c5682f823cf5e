//! What is done with a record, on whatever disk: appended to the snapshot, or a file replaced.

use std::path::{Path, PathBuf};

use villein_core::io::{Persist, PersistError};

use crate::durable::{AppendFile, Disk, DurableError, PRIVATE, SHARED, replace};
use crate::files::{FileOptions, KeptFile};

/// Something to write.
pub(super) enum Job {
    /// Records for the end of the snapshot.
    Append(Vec<u8>),
    /// The whole snapshot.
    Compact(Box<[u8]>),
    /// A small file: what it is for, where, its content.
    Replace(&'static str, PathBuf, Vec<u8>),
}

impl Job {
    /// Bytes that it holds.
    pub(super) const fn bytes(&self) -> usize {
        match self {
            Self::Append(lines) => lines.len(),
            Self::Compact(lines) => lines.len(),
            Self::Replace(_, _, content) => content.len(),
        }
    }

    /// What a record comes to.
    ///
    /// # Errors
    /// There is no file for it, or the file cannot hold it.
    pub(super) fn of(record: Persist, files: &FileOptions) -> Result<Self, PersistError> {
        let no_file = || PersistError("the agent has no file to keep it in".to_owned());
        match record {
            Persist::Incarnation(_) => Err(no_file()),
            Persist::Snapshot { .. } if files.snapshot.is_none() => Err(no_file()),
            Persist::Snapshot { lines, replace: true } => Ok(Self::Compact(lines)),
            Persist::Snapshot { lines, replace: false } => Ok(Self::Append(lines.into())),
            Persist::Keyring(keys) => {
                let KeptFile { path, encode } = files.keyring.clone().ok_or_else(no_file)?;
                Ok(Self::Replace("keyring", path, encode(&keys).map_err(PersistError)?))
            }
            Persist::Tags(tags) => {
                let KeptFile { path, encode } = files.tags.clone().ok_or_else(no_file)?;
                Ok(Self::Replace("tags", path, encode(&tags).map_err(PersistError)?))
            }
        }
    }
}

/// A disk with the files of an agent.
pub(super) struct Writer<D: Disk> {
    disk: D,
    snapshot: Option<Snapshot<D>>,
}

impl<D: Disk + Clone> Writer<D> {
    /// Opens the snapshot, if there is to be one, for more records; creates it if it is not there.
    ///
    /// # Errors
    /// The step that failed.
    pub(super) fn open(disk: D, snapshot: Option<&Path>) -> Result<Self, DurableError> {
        let snapshot = match snapshot {
            Some(path) => Some(Snapshot {
                path: path.to_owned(),
                file: Some(AppendFile::open(disk.clone(), path, SHARED)?),
                incomplete: false,
            }),
            None => None,
        };
        Ok(Self { disk, snapshot })
    }

    /// Writes; it is on the disk when this returns.
    ///
    /// # Errors
    /// The step that failed, in the words that go into logs and answers.
    pub(super) fn write(&mut self, job: &Job) -> Result<(), PersistError> {
        match (job, &mut self.snapshot) {
            (Job::Append(lines), Some(snapshot)) => snapshot.append(&self.disk, lines),
            (Job::Compact(lines), Some(snapshot)) => snapshot.compact(&mut self.disk, lines),
            (Job::Append(_) | Job::Compact(_), None) => Ok(()),
            (Job::Replace(what, path, content), _) => replace(&mut self.disk, path, content, PRIVATE)
                .map_err(|error| PersistError(format!("Failed to write {what} file: {error}"))),
        }
    }
}

/// The snapshot file.
struct Snapshot<D: Disk> {
    path: PathBuf,
    /// `None`: it must be opened again.
    file: Option<AppendFile<D>>,
    /// Records are missing in it, and half of one may stand at its end. What is appended behind that could become one with
    /// it, so nothing is before the file has been replaced; the core does that soon.
    incomplete: bool,
}

impl<D: Disk + Clone> Snapshot<D> {
    fn append(&mut self, disk: &D, lines: &[u8]) -> Result<(), PersistError> {
        if self.incomplete {
            return Err(PersistError(format!("{} must be written anew first", self.path.display())));
        }
        let appended = self.opened(disk).and_then(|file| file.append(lines));
        self.incomplete = appended.is_err();
        appended.map_err(|error| PersistError(error.to_string()))
    }

    fn opened(&mut self, disk: &D) -> Result<&mut AppendFile<D>, DurableError> {
        match &mut self.file {
            Some(file) => Ok(file),
            none => Ok(none.insert(AppendFile::open(disk.clone(), &self.path, SHARED)?)),
        }
    }

    fn compact(&mut self, disk: &mut D, lines: &[u8]) -> Result<(), PersistError> {
        // Whatever comes of it, the open file may no longer be the one of that name.
        self.file = None;
        let replaced = replace(disk, &self.path, lines, SHARED);
        self.incomplete = replaced.is_err();
        replaced.map_err(|error| PersistError(error.to_string()))
    }
}
