//! Small files that survive a power cut: replaced whole or appended to, and on the disk before anybody is told so.
//!
//! A replacement is written beside the file, synced, renamed over it, and the directory is synced: at every moment the
//! name stands for all of the old content or all of the new. What is appended is synced before it counts; when that
//! fails the file is cut back to what did count. A file whose directory takes no other beside it, or that cannot be renamed
//! over, is written where it is: then the loss of power, or a full disk, can leave half of it.

mod real;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::address::errno_text;

pub use self::real::RealDisk;

/// The operations on files that durability is made of. There is one that does them and one, in tests, that loses power.
pub trait Disk {
    /// An open file.
    type File;

    /// Where a symbolic link points; `None` for anything else, nothing included.
    ///
    /// # Errors
    ///
    /// As of `readlink(2)`.
    fn read_link(&mut self, path: &Path) -> io::Result<Option<PathBuf>>;

    /// What is known of the file at `path`; `None` where nothing is.
    ///
    /// # Errors
    ///
    /// As of `stat(2)`.
    fn attributes(&mut self, path: &Path) -> io::Result<Option<Attributes>>;

    /// Creates a file for appending; refuses to open one that exists.
    ///
    /// # Errors
    ///
    /// As of `open(2)`.
    fn create(&mut self, path: &Path, mode: u32) -> io::Result<Self::File>;

    /// Opens a file for appending; does not create one.
    ///
    /// # Errors
    ///
    /// As of `open(2)`.
    fn open(&mut self, path: &Path) -> io::Result<Self::File>;

    /// Gives the file the mode, the access list and, where that is permitted, the owner and group of the one at `like`.
    /// Nobody may do more with it than with that one: a group that is another one's gets what all others have.
    ///
    /// # Errors
    ///
    /// As of `fchmod(2)`; a change of owner that is not permitted is none.
    fn set_attributes(&mut self, file: &mut Self::File, attributes: Attributes, like: &Path) -> io::Result<()>;

    /// Appends some of the bytes and says how many.
    ///
    /// # Errors
    ///
    /// As of `write(2)`.
    fn write(&mut self, file: &mut Self::File, bytes: &[u8]) -> io::Result<usize>;

    /// Cuts the file to `len` bytes.
    ///
    /// # Errors
    ///
    /// As of `ftruncate(2)`.
    fn truncate(&mut self, file: &mut Self::File, len: u64) -> io::Result<()>;

    /// Waits until the file's content, length and mode are on the disk.
    ///
    /// # Errors
    ///
    /// As of `fsync(2)`; a file of which nothing can be lost is none.
    fn sync(&mut self, file: &mut Self::File) -> io::Result<()>;

    /// Waits until the file's content and length are on the disk.
    ///
    /// # Errors
    ///
    /// As of `fdatasync(2)`; a file of which nothing can be lost is none.
    fn sync_data(&mut self, file: &mut Self::File) -> io::Result<()>;

    /// Gives a file another's name, in one step.
    ///
    /// # Errors
    ///
    /// As of `rename(2)`.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a name.
    ///
    /// # Errors
    ///
    /// As of `unlink(2)`.
    fn remove(&mut self, path: &Path) -> io::Result<()>;

    /// Whether the directory takes no new names, of which its mode, its mount or a flag of it keep us.
    fn is_closed(&mut self, directory: &Path) -> bool;

    /// Waits until the directory's names are on the disk.
    ///
    /// # Errors
    ///
    /// As of `fsync(2)`.
    fn sync_directory(&mut self, path: &Path) -> io::Result<()>;
}

/// What is known of a file without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Whether it is an ordinary file: no device, pipe or directory.
    pub regular: bool,
    /// Permission bits.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its bytes.
    pub len: u64,
}

/// A step that failed.
#[derive(Debug)]
pub struct DurableError {
    /// What was tried.
    pub operation: Operation,
    /// With which file.
    pub path: PathBuf,
    /// Why it did not work.
    pub source: io::Error,
}

impl fmt::Display for DurableError {
    /// Reads as Go's errors do: operation, path, reason.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.operation.name(), self.path.display(), errno_text(&self.source))
    }
}

impl std::error::Error for DurableError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// A step on the way to a durable file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Reading where a symbolic link points.
    ReadLink,
    /// Looking at the file.
    Stat,
    /// Opening or creating it.
    Open,
    /// Setting its mode and owner.
    Chmod,
    /// Writing.
    Write,
    /// Cutting back what was not written to its end.
    Truncate,
    /// Waiting for the disk.
    Sync,
    /// Renaming the new file over the old one.
    Rename,
    /// Removing a new file that an earlier attempt left.
    Remove,
    /// Waiting for the disk to know the name. The new content stands, but a power cut may bring the old one back.
    SyncDirectory,
}

impl Operation {
    /// The name, as Go gives it to its errors.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReadLink => "readlink",
            Self::Stat => "stat",
            Self::Open => "open",
            Self::Chmod => "chmod",
            Self::Write => "write",
            Self::Truncate => "truncate",
            Self::Sync | Self::SyncDirectory => "sync",
            Self::Rename => "rename",
            Self::Remove => "remove",
        }
    }

    fn on<T>(self, path: &Path, result: io::Result<T>) -> Result<T, DurableError> {
        result.map_err(|source| DurableError { operation: self, path: path.into(), source })
    }
}

/// Replaces the content of the file at `path`, durably and in one step. Creates it with `mode` where there is none;
/// otherwise its mode, its access list and, where permitted, its owner stay.
///
/// A symbolic link stays one: what it points to is replaced. A device or pipe is written to as it is, and refuses where
/// that would have to wait. So is a file that may be written in a directory that may not, or that is a mount of its own,
/// but it is emptied first; that is not in one step.
///
/// # Errors
///
/// Before the rename the old content stands and the file beside it is removed again, but not where it is written as it is;
/// otherwise only a failed [`Operation::SyncDirectory`] leaves the new content, with its durability in doubt.
pub fn replace<D: Disk>(disk: &mut D, path: &Path, content: &[u8], mode: u32) -> Result<(), DurableError> {
    let path = &follow(disk, path)?;
    let old = Operation::Stat.on(path, disk.attributes(path))?;
    if old.is_some_and(|old| !old.regular) {
        let mut device = Operation::Open.on(path, disk.open(path))?;
        return Operation::Write.on(path, write_all(disk, &mut device, content));
    }
    let beside = &beside(path);
    let written = write_beside(disk, beside, content, old.map(|old| (old, path.as_path())), mode)
        .and_then(|()| Operation::Rename.on(path, disk.rename(beside, path)));
    if let Err(error) = written {
        if error.operation != Operation::Open && error.operation != Operation::Remove {
            // The first error is the one to tell; what cannot be removed now is removed by the next attempt.
            let _ = disk.remove(beside);
        }
        if old.is_some()
            && takes_no_other(disk, path, &error)
            && let Ok(mut file) = disk.open(path)
        {
            return overwrite(disk, &mut file, path, content);
        }
        return Err(error);
    }
    sync_parent(disk, path)
}

/// Whether a replacement has failed for what will keep all others from it too: the file can only be written where it is.
fn takes_no_other<D: Disk>(disk: &mut D, path: &Path, error: &DurableError) -> bool {
    let errno = Errno::from_io_error(&error.source);
    match error.operation {
        // It is a mount, or another's in a directory where only owners rename.
        Operation::Rename if matches!(errno, Some(Errno::BUSY | Errno::PERM)) => true,
        Operation::Open | Operation::Remove | Operation::Rename => {
            matches!(errno, Some(Errno::ACCESS | Errno::PERM | Errno::ROFS)) && disk.is_closed(parent(path))
        }
        Operation::ReadLink
        | Operation::Stat
        | Operation::Chmod
        | Operation::Write
        | Operation::Truncate
        | Operation::Sync
        | Operation::SyncDirectory => false,
    }
}

fn overwrite<D: Disk>(disk: &mut D, file: &mut D::File, path: &Path, content: &[u8]) -> Result<(), DurableError> {
    Operation::Truncate.on(path, disk.truncate(file, 0))?;
    Operation::Write.on(path, write_all(disk, file, content))?;
    Operation::Sync.on(path, disk.sync(file))
}

/// A file that records are appended to.
#[derive(Debug)]
pub struct AppendFile<D: Disk> {
    disk: D,
    path: PathBuf,
    file: D::File,
    /// Bytes that are known to be on the disk.
    len: u64,
    /// Whether more than that may stand in the file.
    torn: bool,
    /// Whether the disk may not know the file's name yet.
    nameless: bool,
}

impl<D: Disk> AppendFile<D> {
    /// Opens the file at `path`, or that to which it links; creates it with `mode` where there is none.
    ///
    /// # Errors
    ///
    /// The step that failed.
    pub fn open(mut disk: D, path: &Path, mode: u32) -> Result<Self, DurableError> {
        let path = follow(&mut disk, path)?;
        let old = Operation::Stat.on(&path, disk.attributes(&path))?;
        let (file, len) = match old {
            Some(old) => (Operation::Open.on(&path, disk.open(&path))?, old.len),
            None => (Operation::Open.on(&path, disk.create(&path, mode))?, 0),
        };
        // An old file's name may have been created by a process that died before it was synced.
        Ok(Self { disk, path, file, len, torn: false, nameless: true })
    }

    /// Appends whole records and waits until they are on the disk.
    ///
    /// # Errors
    ///
    /// Nothing of the records counts: what stands of them in the file is cut off again, at the latest before the next
    /// ones, so they can be appended once more.
    pub fn append(&mut self, records: &[u8]) -> Result<(), DurableError> {
        if self.torn {
            self.cut_back()?;
        }
        let path = &self.path;
        let written = Operation::Write
            .on(path, write_all(&mut self.disk, &mut self.file, records))
            .and_then(|()| Operation::Sync.on(path, self.disk.sync_data(&mut self.file)))
            .and_then(|()| if self.nameless { sync_parent(&mut self.disk, path) } else { Ok(()) });
        match written {
            Ok(()) => {
                self.nameless = false;
                self.len = self.len.saturating_add(records.len() as u64);
                Ok(())
            }
            Err(error) => {
                self.torn = true;
                let _ = self.cut_back();
                Err(error)
            }
        }
    }

    /// Bytes of the file that count.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing counts yet.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where the file is; not where a link to it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn cut_back(&mut self) -> Result<(), DurableError> {
        Operation::Truncate.on(&self.path, self.disk.truncate(&mut self.file, self.len))?;
        self.torn = false;
        Ok(())
    }
}

/// Follows symbolic links to the place where the content is, or would be.
fn follow<D: Disk>(disk: &mut D, path: &Path) -> Result<PathBuf, DurableError> {
    let mut place = path.to_path_buf();
    for _ in 0..LINKS_MAX {
        match Operation::ReadLink.on(&place, disk.read_link(&place))? {
            // A relative link starts at its own directory; an absolute one replaces the whole path.
            Some(to) => place = parent(&place).join(to),
            None => return Ok(place),
        }
    }
    let endless = io::Error::from(Errno::LOOP);
    Operation::ReadLink.on(path, Err(endless))
}

fn write_beside<D: Disk>(
    disk: &mut D,
    beside: &Path,
    content: &[u8],
    old: Option<(Attributes, &Path)>,
    mode: u32,
) -> Result<(), DurableError> {
    let mode = if old.is_some() { PRIVATE } else { mode };
    let mut created = disk.create(beside, mode);
    if created.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists) {
        Operation::Remove.on(beside, disk.remove(beside))?;
        created = disk.create(beside, mode);
    }
    let mut file = Operation::Open.on(beside, created)?;
    Operation::Write.on(beside, write_all(disk, &mut file, content))?;
    if let Some((old, like)) = old {
        Operation::Chmod.on(beside, disk.set_attributes(&mut file, old, like))?;
    }
    Operation::Sync.on(beside, disk.sync(&mut file))
}

fn write_all<D: Disk>(disk: &mut D, file: &mut D::File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match disk.write(file, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn sync_parent<D: Disk>(disk: &mut D, path: &Path) -> Result<(), DurableError> {
    let directory = parent(path);
    Operation::SyncDirectory.on(directory, disk.sync_directory(directory))
}

/// The directory of a file; a bare name stands in the current one.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) | None => Path::new("."),
    }
}

/// Where the new content is written first: in the same directory, so that it can be renamed.
fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".new");
    name.into()
}

/// Mode of files with keys, and of a new file until it has the old one's.
pub const PRIVATE: u32 = 0o600;
/// Mode of a snapshot file (cli.md 3.9).
pub const SHARED: u32 = 0o644;
const LINKS_MAX: usize = 40;

#[cfg(test)]
pub(crate) mod simulated;
#[cfg(test)]
mod tests;
