//! Power cuts and faults at every operation, and the host's own files.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use rustix::fs::{Gid, Uid, XattrFlags};
use rustix::io::Errno;
use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};
use villein_core::snapshot::{Line, parse};

use super::simulated::{DIRECTORY, Loss, SimulatedDisk, Trouble};
use super::{AppendFile, Disk, DurableError, Operation, PRIVATE, RealDisk, SHARED, replace};

const TAGS: &str = "/d/tags.json";
const KEYRING: &str = "/d/keyring.json";
const SNAPSHOT: &str = "/d/snapshot";

/// A host's files: what stands for sure, and what was being written when the power went.
struct Host {
    disk: SimulatedDisk,
    tags: Promise,
    keyring: Promise,
    snapshot: Promise,
    log: Option<AppendFile<SimulatedDisk>>,
}

#[derive(Default)]
struct Promise {
    kept: Option<Vec<u8>>,
    /// The new content, and whether it comes by appending.
    tried: Option<(Vec<u8>, bool)>,
}

impl Host {
    fn new(disk: SimulatedDisk) -> Self {
        Self { disk, tags: Promise::default(), keyring: Promise::default(), snapshot: Promise::default(), log: None }
    }

    /// Changes files until the power goes or the work is done.
    fn work(&mut self, seed: u64) -> Result<(), DurableError> {
        for step in 0..8_u64 {
            let draw = seed.wrapping_mul(31).wrapping_add(step.wrapping_mul(7));
            let text = format!("{{\"seed\": {seed}, \"step\": {step}}}").repeat(1 + (draw % 5) as usize);
            match (seed + step) % 4 {
                0 => self.replace(TAGS, text.into_bytes())?,
                1 => self.replace(KEYRING, text.into_bytes())?,
                2 => self.append(draw)?,
                _ if draw % 3 == 0 => {
                    self.log = None;
                    self.replace(SNAPSHOT, lines(draw))?;
                }
                _ => self.append(draw)?,
            }
        }
        Ok(())
    }

    fn promise(&mut self, path: &str) -> &mut Promise {
        match path {
            TAGS => &mut self.tags,
            KEYRING => &mut self.keyring,
            SNAPSHOT => &mut self.snapshot,
            other => panic!("no such file: {other}"),
        }
    }

    fn replace(&mut self, path: &str, content: Vec<u8>) -> Result<(), DurableError> {
        self.promise(path).tried = Some((content.clone(), false));
        replace(&mut self.disk, Path::new(path), &content, PRIVATE)?;
        *self.promise(path) = Promise { kept: Some(content), tried: None };
        Ok(())
    }

    fn append(&mut self, draw: u64) -> Result<(), DurableError> {
        let added = lines(draw);
        let all = [self.snapshot.kept.clone().unwrap_or_default(), added.clone()].concat();
        self.snapshot.tried = Some((all.clone(), true));
        if self.log.is_none() {
            self.log = Some(AppendFile::open(self.disk.clone(), Path::new(SNAPSHOT), SHARED)?);
        }
        self.log.as_mut().expect("opened").append(&added)?;
        self.snapshot = Promise { kept: Some(all), tried: None };
        Ok(())
    }
}

/// Some records, different for each number.
fn lines(draw: u64) -> Vec<u8> {
    (0..=draw % 4)
        .map(|line| format!("alive: n{line} 127.0.0.1:{}\nclock: {draw}\n", draw % 60_000 + line))
        .collect::<String>()
        .into()
}

/// The old content or the new; of what was appended perhaps only a part.
#[track_caller]
fn holds(promise: &Promise, found: Option<Vec<u8>>, context: &str) {
    if found == promise.kept {
        return;
    }
    let (tried, appended) = promise.tried.as_ref().unwrap_or_else(|| panic!("{context}: lost {found:?}"));
    if !appended {
        assert_eq!(found.as_ref(), Some(tried), "{context}: neither the old content nor the new");
        return;
    }
    let found = found.unwrap_or_default();
    let kept = promise.kept.as_deref().unwrap_or_default();
    assert!(found.starts_with(kept), "{context}: what was synced is gone");
    let written = found.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    assert!(tried.starts_with(&found[..written]), "{context}: what nobody wrote: {found:?}");
    // The reader passes over all that is not whole.
    let whole = found[..written].iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
    assert_eq!(parse(&found, false).book, parse(&found[..whole], false).book, "{context}");
}

#[test]
fn a_power_cut_leaves_the_old_content_or_the_new() {
    let mut cuts = 0;
    for seed in 0..48 {
        let undisturbed = SimulatedDisk::new(seed, Trouble::None);
        Host::new(undisturbed.clone()).work(seed).expect("no trouble");
        for at in 0..=undisturbed.operations() {
            let mut host = Host::new(SimulatedDisk::new(seed, Trouble::PowerCut(at)));
            assert_eq!(host.work(seed).is_ok(), at == undisturbed.operations(), "every error is told");
            for loss in [Loss::All, Loss::Nothing, Loss::Some, Loss::Some, Loss::Some] {
                let context = format!("seed {seed}, power cut at operation {at}, loss of {loss:?}");
                let disk = host.disk.after_power_cut(loss);
                holds(&host.tags, disk.read(TAGS), &context);
                holds(&host.keyring, disk.read(KEYRING), &context);
                holds(&host.snapshot, disk.read(SNAPSHOT), &context);
                works_again(disk, &context);
                cuts += 1;
            }
        }
    }
    assert!(cuts >= 10_000, "only {cuts} cuts");
}

/// Whatever an earlier attempt left beside the files is in nobody's way, and what is written now is there after the next cut.
#[track_caller]
fn works_again(disk: SimulatedDisk, context: &str) {
    let torn = parse(&disk.read(SNAPSHOT).unwrap_or_default(), false);
    let mut host = Host::new(disk);
    host.replace(TAGS, b"tags".to_vec()).expect(context);
    host.replace(KEYRING, b"keyring".to_vec()).expect(context);
    host.replace(SNAPSHOT, torn.book.compact()).expect(context);
    host.append(7).expect(context);
    let names: Vec<_> = host.disk.names().iter().map(|name| name.display().to_string()).collect();
    assert_eq!(names, [KEYRING, SNAPSHOT, TAGS], "{context}");
    let later = host.disk.after_power_cut(Loss::All);
    for path in [TAGS, KEYRING, SNAPSHOT] {
        assert_eq!(later.read(path), host.promise(path).kept, "{context}");
    }
}

const ERRORS: [Errno; 4] = [Errno::NOSPC, Errno::IO, Errno::ROFS, Errno::ACCESS];

#[test]
fn a_replacement_that_fails_says_where_and_leaves_the_old_content() {
    for errno in ERRORS {
        let mut operations = vec![];
        for stale in [false, true] {
            for at in 0.. {
                let mut disk = SimulatedDisk::new(1, Trouble::None);
                replace(&mut disk, Path::new(TAGS), b"the old content", PRIVATE).expect("no trouble");
                if stale {
                    disk.create(Path::new("/d/tags.json.new"), PRIVATE).expect("no trouble");
                }
                disk.expect(Trouble::Between(at, at + 1, errno.raw_os_error()));
                let Err(error) = replace(&mut disk, Path::new(TAGS), b"the new content", PRIVATE) else {
                    assert!(disk.operations() <= at, "operation {at} failed and nobody said so");
                    assert_eq!(disk.read(TAGS), Some(b"the new content".to_vec()));
                    break;
                };
                let told = error.to_string();
                let named = ["/d/tags.json", "/d/tags.json.new", "/d"].map(Path::new).contains(&error.path.as_path());
                assert!(named && told.starts_with(&format!("{} /d", error.operation.name())), "{told}");
                assert_eq!(error.source.raw_os_error(), Some(errno.raw_os_error()), "{told}");
                let stands = disk.read(TAGS);
                if error.operation == Operation::SyncDirectory {
                    assert_eq!(stands, Some(b"the new content".to_vec()), "{told}");
                } else {
                    assert_eq!(stands, Some(b"the old content".to_vec()), "{told}");
                }
                let in_the_way = matches!(
                    error.operation,
                    Operation::ReadLink | Operation::Stat | Operation::Open | Operation::Remove
                );
                assert!(disk.names().len() == 1 || stale && in_the_way, "{told}: {:?}", disk.names());
                if !operations.contains(&error.operation) {
                    operations.push(error.operation);
                }
                replace(&mut disk, Path::new(TAGS), b"a later one", PRIVATE).expect("the trouble is over");
                assert_eq!((disk.read(TAGS), disk.names().len()), (Some(b"a later one".to_vec()), 1), "{told}");
            }
        }
        assert_eq!(operations.len(), 9, "{operations:?}");
    }
}

#[test]
fn a_file_that_cannot_be_renamed_over_is_written_where_it_is() {
    let failures = |errno: Errno| {
        let mut operations = vec![];
        for at in 0.. {
            let mut disk = SimulatedDisk::new(1, Trouble::None);
            replace(&mut disk, Path::new(TAGS), b"the old and longer content", PRIVATE).expect("no trouble");
            disk.expect(Trouble::Between(at, at + 1, errno.raw_os_error()));
            let result = replace(&mut disk, Path::new(TAGS), b"the new content", PRIVATE);
            if disk.operations() <= at {
                break;
            }
            match result {
                Ok(()) => {
                    assert_eq!((disk.read(TAGS), disk.names().len()), (Some(b"the new content".to_vec()), 1));
                    assert_eq!(disk.after_power_cut(Loss::All).read(TAGS), Some(b"the new content".to_vec()));
                }
                Err(error) => operations.push(error.operation),
            }
        }
        operations
    };
    let ordinary = failures(Errno::IO);
    assert!(ordinary.contains(&Operation::Rename), "{ordinary:?}");
    // A directory that takes other files may take this one next time.
    assert_eq!((failures(Errno::ACCESS), failures(Errno::ROFS)), (ordinary.clone(), ordinary.clone()));
    let rest: Vec<Operation> = ordinary.into_iter().filter(|operation| *operation != Operation::Rename).collect();
    assert_eq!((failures(Errno::BUSY), failures(Errno::PERM)), (rest.clone(), rest));
}

#[test]
fn a_disk_that_keeps_failing_never_mixes_old_and_new() {
    for errno in ERRORS {
        for step in 1..40 {
            let mut disk = SimulatedDisk::new(u64::from(step), Trouble::None);
            replace(&mut disk, Path::new(KEYRING), b"old", PRIVATE).expect("no trouble");
            disk.expect(Trouble::Every(step, errno.raw_os_error()));
            let mut stands = b"old".to_vec();
            for attempt in 0..6 {
                let new = format!("the content of attempt {attempt}").into_bytes();
                let result = replace(&mut disk, Path::new(KEYRING), &new, PRIVATE);
                let found = disk.read(KEYRING).expect("never nothing");
                match result {
                    Ok(()) => assert_eq!(found, new),
                    Err(error) if error.operation == Operation::SyncDirectory => assert_eq!(found, new),
                    Err(_) => assert_eq!(found, stands),
                }
                stands = found;
            }
        }
    }
}

#[test]
fn records_that_could_not_be_appended_leave_no_half_line() {
    for errno in ERRORS {
        for step in 2..30 {
            let disk = SimulatedDisk::new(u64::from(step), Trouble::None);
            let mut log = AppendFile::open(disk.clone(), Path::new(SNAPSHOT), SHARED).expect("no trouble");
            disk.expect(Trouble::Every(step, errno.raw_os_error()));
            let mut kept = vec![];
            for number in 0..30 {
                let added = lines(number);
                match log.append(&added) {
                    Ok(()) => {
                        kept.extend_from_slice(&added);
                        assert_eq!(disk.read(SNAPSHOT).as_ref(), Some(&kept), "what failed before was cut off");
                        assert_eq!(disk.after_power_cut(Loss::All).read(SNAPSHOT).as_ref(), Some(&kept));
                    }
                    Err(error) => {
                        assert!(error.path.starts_with("/d"), "{error}");
                        assert!(disk.read(SNAPSHOT).expect("there").starts_with(&kept), "{error}");
                    }
                }
                assert_eq!(log.len(), kept.len() as u64);
            }
            disk.expect(Trouble::None);
            log.append(b"leave\n").expect("the trouble is over");
            kept.extend_from_slice(b"leave\n");
            assert_eq!(disk.read(SNAPSHOT), Some(kept));
        }
    }
}

#[test]
fn a_sync_that_failed_cannot_be_made_up_for_by_the_next() {
    // What Linux does, and so what the simulated disk must: who only syncs again believes what is not so.
    let mut disk = SimulatedDisk::new(1, Trouble::None);
    let mut file = disk.create(Path::new(SNAPSHOT), SHARED).expect("no trouble");
    while disk.read(SNAPSHOT).expect("there").len() < 9 {
        let from = disk.read(SNAPSHOT).expect("there").len();
        disk.write(&mut file, &b"clock: 1\n"[from..]).expect("no trouble");
    }
    disk.expect(Trouble::Between(0, 1, Errno::IO.raw_os_error()));
    disk.sync(&mut file).expect_err("trouble");
    disk.sync(&mut file).expect("the trouble is over");
    disk.sync_directory(Path::new(DIRECTORY)).expect("the trouble is over");
    assert_eq!(disk.read(SNAPSHOT).as_deref(), Some(&b"clock: 1\n"[..]));
    assert_eq!(disk.after_power_cut(Loss::All).read(SNAPSHOT), Some(vec![0; 9]));
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("there").permissions().mode() & 0o7777
}

#[test]
fn a_new_file_gets_the_mode_asked_for_and_an_old_one_keeps_its_own() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("tags.json");
    replace(&mut RealDisk, &path, b"one", PRIVATE).expect("written");
    assert_eq!((mode(&path), fs::read(&path).expect("there")), (0o600, b"one".to_vec()));
    for kept in [0o640, 0o604, 0o400] {
        fs::set_permissions(&path, fs::Permissions::from_mode(kept)).expect("set");
        replace(&mut RealDisk, &path, b"two", PRIVATE).expect("written");
        assert_eq!((mode(&path), fs::read(&path).expect("there")), (kept, b"two".to_vec()));
    }
    assert_eq!(fs::read_dir(directory.path()).expect("read").count(), 1);
}

/// An access list: the owner may read and write, the user 1234 may read, and nobody else may do anything.
fn access_list() -> Vec<u8> {
    const ANY: u32 = u32::MAX;
    let entries: [(u16, u16, u32); 5] = [(1, 6, ANY), (2, 4, 1234), (4, 0, ANY), (16, 4, ANY), (32, 0, ANY)];
    let bytes =
        |(tag, may, whom): (u16, u16, u32)| [&tag.to_le_bytes()[..], &may.to_le_bytes(), &whom.to_le_bytes()].concat();
    [2_u32.to_le_bytes().to_vec()].into_iter().chain(entries.map(bytes)).flatten().collect()
}

fn list_of(path: &Path, name: &str) -> Result<Vec<u8>, Errno> {
    let mut list = vec![0; 1 << 10];
    let len = rustix::fs::getxattr(path, name, &mut list[..])?;
    list.truncate(len);
    Ok(list)
}

#[test]
fn an_old_file_keeps_its_access_list_and_gets_none_that_it_had_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("keyring.json");
    let set = |path: &Path, name: &str| rustix::fs::setxattr(path, name, &access_list(), XattrFlags::empty());
    let access = "system.posix_acl_access";
    fs::write(&path, "one").expect("written");
    match set(&path, access) {
        // There are none in this file system.
        Err(Errno::OPNOTSUPP) => return,
        result => result.expect("is set"),
    }
    replace(&mut RealDisk, &path, b"two", PRIVATE).expect("written");
    assert_eq!((mode(&path), list_of(&path, access)), (0o640, Ok(access_list())), "the group may nothing");
    // Every new file of this directory has the list now, but for what its mode takes away.
    rustix::fs::removexattr(&path, access).expect("is removed");
    set(directory.path(), "system.posix_acl_default").expect("is set");
    replace(&mut RealDisk, &path, b"three", PRIVATE).expect("written");
    assert_eq!((mode(&path), list_of(&path, access)), (0o640, Err(Errno::NODATA)));
}

#[test]
fn where_a_file_cannot_keep_its_group_no_other_group_gets_what_it_had() {
    // Nobody else can make a file of a strange group.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("keyring.json");
    let (user, strange) = (65_534, 65_533);
    chown(directory.path(), Some(user), Some(user)).expect("is root's to do");
    let replaced = |kept: u32| {
        fs::write(&path, "one").expect("written");
        chown(&path, Some(user), Some(strange)).expect("is root's to do");
        fs::set_permissions(&path, fs::Permissions::from_mode(kept)).expect("set");
        // Each thread has a user of its own.
        let write = || {
            set_thread_groups(&[]).expect("root may");
            set_thread_gid(Gid::from_raw(user)).expect("root may");
            set_thread_uid(Uid::from_raw(user)).expect("root may");
            replace(&mut RealDisk, &path, b"two", PRIVATE).expect("written");
        };
        std::thread::scope(|scope| scope.spawn(write).join()).expect("no panic");
        assert_eq!(fs::metadata(&path).expect("there").gid(), user);
        mode(&path)
    };
    assert_eq!([0o640, 0o660, 0o644, 0o664, 0o600].map(replaced), [0o600, 0o600, 0o644, 0o644, 0o600]);
}

#[test]
fn what_a_link_points_to_is_replaced_and_not_the_link() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    fs::create_dir(path("elsewhere")).expect("created");
    symlink("second", path("first")).expect("linked");
    symlink("elsewhere/target", path("second")).expect("linked");
    // At first the links point to nothing: the target is created.
    for content in [&b"one"[..], b"two"] {
        replace(&mut RealDisk, &path("first"), content, PRIVATE).expect("written");
        assert_eq!(fs::read(path("elsewhere/target")).expect("there"), content);
        assert_eq!(fs::read_link(path("first")).expect("a link"), Path::new("second"));
        assert_eq!(fs::read_dir(path("elsewhere")).expect("read").count(), 1);
    }
    let mut log = AppendFile::open(RealDisk, &path("first"), SHARED).expect("opened");
    log.append(b"three").expect("written");
    assert_eq!(log.path(), path("elsewhere/target"));
    assert_eq!(fs::read(path("elsewhere/target")).expect("there"), b"twothree");

    symlink("loop", path("loop")).expect("linked");
    let error = replace(&mut RealDisk, &path("loop"), b"", PRIVATE).expect_err("endless");
    assert_eq!(error.operation, Operation::ReadLink);
    assert_eq!(error.source.raw_os_error(), Some(Errno::LOOP.raw_os_error()));
}

#[test]
fn a_device_is_written_to_and_not_replaced() {
    replace(&mut RealDisk, Path::new("/dev/null"), b"gone", PRIVATE).expect("written");
    assert!(fs::metadata("/dev/null").expect("there").file_type().is_char_device());
    let mut log = AppendFile::open(RealDisk, Path::new("/dev/null"), SHARED).expect("opened");
    log.append(b"gone\n").expect("written");
    let error = replace(&mut RealDisk, Path::new("/dev/full"), b"gone", PRIVATE).expect_err("full");
    assert_eq!(error.to_string(), "write /dev/full: no space left on device");
}

#[test]
fn errors_name_the_operation_and_the_path_as_go_does() {
    let directory = tempfile::tempdir().expect("a directory");
    let missing = directory.path().join("missing/tags.json");
    let error = replace(&mut RealDisk, &missing, b"", PRIVATE).expect_err("no directory");
    assert_eq!(error.to_string(), format!("open {}.new: no such file or directory", missing.display()));
    assert_eq!(error.source.kind(), io::ErrorKind::NotFound);
    let error = AppendFile::open(RealDisk, directory.path(), SHARED).expect_err("a directory");
    assert_eq!(error.to_string(), format!("open {}: is a directory", directory.path().display()));
    let error = replace(&mut RealDisk, directory.path(), b"", PRIVATE).expect_err("a directory");
    assert_eq!(error.to_string(), format!("open {}: is a directory", directory.path().display()));
}

#[test]
fn a_file_is_appended_to_where_it_ends() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("snapshot");
    let mut log = AppendFile::open(RealDisk, &path, SHARED).expect("created");
    assert!(log.is_empty());
    log.append(b"clock: 1\n").expect("written");
    drop(log);
    let mut log = AppendFile::open(RealDisk, &path, SHARED).expect("opened");
    assert_eq!(log.len(), 9);
    log.append(b"clock: 2\n").expect("written");
    assert_eq!(fs::read(&path).expect("there"), b"clock: 1\nclock: 2\n");
    assert_eq!(mode(&path) & 0o600, 0o600);
    assert_eq!(
        parse(&fs::read(&path).expect("there"), false).book.compact().len(),
        parse(b"clock: 2\n", false).book.compact().len()
    );
    let mut line = vec![];
    Line::Leave.write(&mut line).expect("no name in it");
    log.append(&line).expect("written");
    assert!(parse(&fs::read(&path).expect("there"), false).book.has_left());
}
