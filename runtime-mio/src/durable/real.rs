//! The disk of the host.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, XattrFlags, accessat, fremovexattr, fsetxattr, getxattr};
use rustix::io::{Errno, retry_on_intr};

use crate::durable::{Attributes, Disk};

/// The operating system's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    type File = File;

    fn read_link(&mut self, path: &Path) -> io::Result<Option<PathBuf>> {
        match fs::read_link(path) {
            Ok(to) => Ok(Some(to)),
            // readlink(2) says InvalidInput of what is no link.
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn attributes(&mut self, path: &Path) -> io::Result<Option<Attributes>> {
        match fs::metadata(path) {
            Ok(found) => Ok(Some(attributes(&found))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn create(&mut self, path: &Path, mode: u32) -> io::Result<File> {
        OpenOptions::new().append(true).create_new(true).mode(mode).open(path)
    }

    fn open(&mut self, path: &Path) -> io::Result<File> {
        // A pipe that nobody reads must refuse, not wait for a reader.
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()))?.into())
    }

    fn set_attributes(&mut self, file: &mut File, wanted: Attributes, like: &Path) -> io::Result<()> {
        let has = attributes(&file.metadata()?);
        if (has.uid, has.gid) != (wanted.uid, wanted.gid) {
            // Only root gives files away, but anybody can give one to a group of theirs.
            let both = fchown(&*file, Some(wanted.uid), Some(wanted.gid));
            permitted(both.or_else(|_| fchown(&*file, None, Some(wanted.gid))))?;
        }
        let is_same_group = file.metadata()?.gid() == wanted.gid;
        let list = if is_same_group { copy_access_list(like, file) } else { remove_access_list(file) };
        let mode = if is_same_group && list.is_ok() { wanted.mode } else { without_group(wanted.mode) };
        // Behind the owner: a change of that takes bits away.
        file.set_permissions(Permissions::from_mode(mode))
    }

    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<usize> {
        file.write(bytes)
    }

    fn truncate(&mut self, file: &mut File, len: u64) -> io::Result<()> {
        file.set_len(len)
    }

    fn sync(&mut self, file: &mut File) -> io::Result<()> {
        syncable(file.sync_all())
    }

    fn sync_data(&mut self, file: &mut File) -> io::Result<()> {
        syncable(file.sync_data())
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn is_closed(&mut self, directory: &Path) -> bool {
        let asked = accessat(CWD, directory, Access::WRITE_OK, AtFlags::EACCESS);
        matches!(asked, Err(Errno::ACCESS | Errno::PERM | Errno::ROFS))
    }

    fn sync_directory(&mut self, path: &Path) -> io::Result<()> {
        syncable(File::open(path)?.sync_all())
    }
}

fn attributes(found: &fs::Metadata) -> Attributes {
    Attributes {
        regular: found.is_file(),
        mode: found.mode() & 0o7777,
        uid: found.uid(),
        gid: found.gid(),
        len: found.len(),
    }
}

/// Whom besides its owner and group a file is open to. Where there is such a list the bits of the group are a bound for all
/// whom it names, and what the group itself may stands in the list.
const ACCESS_LIST: &str = "system.posix_acl_access";
/// No list is longer (XATTR_SIZE_MAX).
const ACCESS_LIST_BYTES_MAX: usize = 64 << 10;

fn copy_access_list(from: &Path, to: &File) -> io::Result<()> {
    let mut list = vec![0; ACCESS_LIST_BYTES_MAX];
    match getxattr(from, ACCESS_LIST, &mut list[..]) {
        Ok(len) => Ok(fsetxattr(to, ACCESS_LIST, list.get(..len).unwrap_or_default(), XattrFlags::empty())?),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => remove_access_list(to),
        Err(error) => Err(error.into()),
    }
}

/// A new file may have one from its directory.
fn remove_access_list(file: &File) -> io::Result<()> {
    match fremovexattr(file, ACCESS_LIST) {
        Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The mode with nothing for the group that all others have not.
const fn without_group(mode: u32) -> u32 {
    const GROUP: u32 = 0o070;
    mode & (!GROUP | (mode << 3 & GROUP))
}

fn permitted(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        other => other,
    }
}

/// Devices, pipes and some file systems' directories have nothing to sync: fsync(2) says InvalidInput of them.
fn syncable(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        other => other,
    }
}
