//! A disk that loses power or fails at a chosen operation.

mod leftovers;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::durable::{Attributes, Disk};

/// The one directory of the disk.
pub(crate) const DIRECTORY: &str = "/d";

/// What goes wrong, counted in operations from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    None,
    /// Operation number n and all after it do nothing: the power is gone.
    PowerCut(u32),
    /// Operation number n fails with the given error, and so do all up to the second number.
    Between(u32, u32, i32),
    /// Every n-th operation fails.
    Every(u32, i32),
}

/// What of the things that were not synced a power cut leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Nothing.
    All,
    /// All of them.
    Nothing,
    /// Of each file and of the directory any earlier state, half writes and runs of NUL bytes included.
    Some,
}

/// Handles to one disk share it.
#[derive(Clone, Debug)]
pub(crate) struct SimulatedDisk(Rc<RefCell<State>>);

#[derive(Clone, Debug)]
struct State {
    files: Vec<Inode>,
    /// The directory as it was synced last, and as it was after each change since.
    names: Vec<BTreeMap<PathBuf, usize>>,
    trouble: Trouble,
    operations: u32,
    random: u64,
}

#[derive(Clone, Debug)]
struct Inode {
    /// The content as it was synced last, and as it was after each change since.
    contents: Vec<Vec<u8>>,
    /// A sync of these bytes has failed: the system takes them for written, and no later sync brings them to the disk.
    forgotten: Range<usize>,
    mode: u32,
}

impl SimulatedDisk {
    pub(crate) fn new(seed: u64, trouble: Trouble) -> Self {
        let state = State { files: vec![], names: vec![BTreeMap::new()], trouble, operations: 0, random: seed };
        Self(Rc::new(RefCell::new(state)))
    }

    /// Goes on with other troubles, counted from here.
    pub(crate) fn expect(&self, trouble: Trouble) {
        let mut state = self.0.borrow_mut();
        state.trouble = trouble;
        state.operations = 0;
    }

    /// Operations so far.
    pub(crate) fn operations(&self) -> u32 {
        self.0.borrow().operations
    }

    /// The disk as it is found when the power is back.
    pub(crate) fn after_power_cut(&self, loss: Loss) -> Self {
        let mut state = self.0.borrow().clone();
        let names = state.survivor(state.names.len(), loss);
        state.names = vec![state.names.swap_remove(names)];
        for number in 0..state.files.len() {
            let content = state.survivor(state.files[number].contents.len(), loss);
            let content = match loss {
                Loss::All | Loss::Nothing => state.files[number].contents[content].clone(),
                Loss::Some => state.half(number, content),
            };
            state.files[number].contents = vec![content];
        }
        state.trouble = Trouble::None;
        Self(Rc::new(RefCell::new(state)))
    }

    /// What a reader sees.
    pub(crate) fn read(&self, path: &str) -> Option<Vec<u8>> {
        let state = self.0.borrow();
        let file = state.visible().get(Path::new(path))?;
        state.files[*file].contents.last().cloned()
    }

    pub(crate) fn names(&self) -> Vec<PathBuf> {
        self.0.borrow().visible().keys().cloned().collect()
    }
}

impl State {
    fn visible(&self) -> &BTreeMap<PathBuf, usize> {
        self.names.last().expect("a directory")
    }

    fn below(&mut self, count: usize) -> usize {
        // An LCG; its high bits are good enough to choose disasters.
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) as usize % count
    }

    fn survivor(&mut self, states: usize, loss: Loss) -> usize {
        match loss {
            Loss::All => 0,
            Loss::Nothing => states - 1,
            Loss::Some => self.below(states),
        }
    }

    /// A state of the content on its way to the next one.
    fn half(&mut self, file: usize, state: usize) -> Vec<u8> {
        let mut content = self.files[file].contents[state].clone();
        if let Some(next) = self.files[file].contents.get(state + 1).cloned()
            && next.len() > content.len()
        {
            let keep = content.len() + self.below(next.len() - content.len() + 1);
            let end = keep + if self.below(3) == 0 { self.below(40) } else { 0 };
            content = next[..keep].to_vec();
            content.resize(end, 0);
        }
        content
    }

    /// Counts the operation and says whether it works.
    fn operate(&mut self) -> io::Result<()> {
        let number = self.operations;
        self.operations += 1;
        match self.trouble {
            Trouble::PowerCut(at) if number >= at => Err(io::Error::other("the power is gone")),
            Trouble::Between(first, end, errno) if (first..end).contains(&number) => {
                Err(io::Error::from_raw_os_error(errno))
            }
            Trouble::Every(step, errno) if number % step == step - 1 => Err(io::Error::from_raw_os_error(errno)),
            Trouble::None | Trouble::PowerCut(_) | Trouble::Between(..) | Trouble::Every(..) => Ok(()),
        }
    }

    fn change_names(&mut self, change: impl FnOnce(&mut BTreeMap<PathBuf, usize>)) {
        let mut names = self.visible().clone();
        change(&mut names);
        self.names.push(names);
    }

    fn change_content(&mut self, file: usize, change: impl FnOnce(&mut Vec<u8>)) {
        let contents = &mut self.files[file].contents;
        let mut content = contents.last().expect("a content").clone();
        change(&mut content);
        contents.push(content);
    }

    fn sync(&mut self, file: usize) -> io::Result<()> {
        let result = self.operate();
        let Inode { contents, forgotten, .. } = &mut self.files[file];
        let content = contents.last().expect("a content").clone();
        if result.is_err() {
            let from = if forgotten.start < forgotten.end { forgotten.start } else { contents[0].len() };
            *forgotten = from..content.len();
            return result;
        }
        *contents = vec![content];
        if forgotten.start < forgotten.end {
            let mut durable = contents[0].clone();
            durable[forgotten.clone()].fill(0);
            contents.insert(0, durable);
        }
        Ok(())
    }
}

impl Disk for SimulatedDisk {
    type File = usize;

    fn read_link(&mut self, _: &Path) -> io::Result<Option<PathBuf>> {
        self.0.borrow_mut().operate().map(|()| None)
    }

    fn attributes(&mut self, path: &Path) -> io::Result<Option<Attributes>> {
        let mut state = self.0.borrow_mut();
        state.operate()?;
        Ok(state.visible().get(path).map(|&file| Attributes {
            regular: true,
            mode: state.files[file].mode,
            uid: 0,
            gid: 0,
            len: state.files[file].contents.last().expect("a content").len() as u64,
        }))
    }

    fn create(&mut self, path: &Path, mode: u32) -> io::Result<usize> {
        let mut state = self.0.borrow_mut();
        state.operate()?;
        if state.visible().contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = state.files.len();
        state.files.push(Inode { contents: vec![vec![]], forgotten: 0..0, mode });
        state.change_names(|names| {
            names.insert(path.into(), file);
        });
        Ok(file)
    }

    fn open(&mut self, path: &Path) -> io::Result<usize> {
        let mut state = self.0.borrow_mut();
        state.operate()?;
        state.visible().get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn set_attributes(&mut self, file: &mut usize, attributes: Attributes, _like: &Path) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.operate()?;
        state.files[*file].mode = attributes.mode;
        Ok(())
    }

    fn write(&mut self, file: &mut usize, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.borrow_mut();
        state.operate()?;
        let count = state.below(bytes.len()) + 1;
        state.change_content(*file, |content| content.extend_from_slice(&bytes[..count]));
        Ok(count)
    }

    fn truncate(&mut self, file: &mut usize, len: u64) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.operate()?;
        state.change_content(*file, |content| content.truncate(len as usize));
        let forgotten = &mut state.files[*file].forgotten;
        forgotten.end = forgotten.end.min(len as usize);
        Ok(())
    }

    fn sync(&mut self, file: &mut usize) -> io::Result<()> {
        self.0.borrow_mut().sync(*file)
    }

    fn sync_data(&mut self, file: &mut usize) -> io::Result<()> {
        self.sync(file)
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.operate()?;
        let file = *state.visible().get(from).ok_or(io::ErrorKind::NotFound)?;
        state.change_names(|names| {
            names.remove(from);
            names.insert(to.into(), file);
        });
        Ok(())
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.operate()?;
        if !state.visible().contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change_names(|names| {
            names.remove(path);
        });
        Ok(())
    }

    /// Its one directory takes what the disk takes.
    fn is_closed(&mut self, _: &Path) -> bool {
        false
    }

    fn sync_directory(&mut self, path: &Path) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.operate()?;
        assert_eq!(path, Path::new(DIRECTORY));
        let last = state.names.len() - 1;
        state.names.drain(..last);
        Ok(())
    }
}
