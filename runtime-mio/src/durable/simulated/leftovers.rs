//! Every state in which a power cut may leave a disk.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;

use super::{Inode, SimulatedDisk, State, Trouble};

/// A disk writes this many bytes whole or not at all.
const SECTOR: usize = 512;

/// Sectors that were written in any order: so many mixtures are taken for each length.
const MIXTURES_MAX: usize = 128;

impl SimulatedDisk {
    /// Shows every state in which the disk may be when the power is back, each once: any earlier state of the directory, and of
    /// each file any earlier content, any that ends within a write (at every length that `step` divides, and at the last),
    /// one whose length was written before its bytes, and those of which any sectors were written and the others not.
    pub(crate) fn each_after_power_cut(&self, step: usize, mut visit: impl FnMut(&Self)) {
        let mut state = self.0.borrow().clone();
        let mut all = vec![];
        for file in 0..state.files.len() {
            let contents = state.files[file].contents.clone();
            all.push(leftovers(&contents, step, |count| state.below(count)));
        }
        for names in 0..state.names.len() {
            // What has no name is gone, whatever it held.
            let named: BTreeSet<usize> = state.names[names].values().copied().collect();
            let count = named.iter().map(|&file| all[file].len()).product::<usize>();
            for mut number in 0..count {
                let mut files = vec![Inode { contents: vec![vec![]], forgotten: 0..0, mode: 0 }; state.files.len()];
                for &file in &named {
                    files[file].contents = vec![all[file][number % all[file].len()].clone()];
                    files[file].mode = state.files[file].mode;
                    number /= all[file].len();
                }
                let names = vec![state.names[names].clone()];
                let found = State { files, names, trouble: Trouble::None, operations: 0, random: state.random };
                visit(&Self(Rc::new(RefCell::new(found))));
            }
        }
    }

    /// What a reader sees, and whether the file is there at all.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.0.borrow().visible().contains_key(Path::new(path))
    }
}

/// What may be found of a file that was synced with the first content and then had the others in turn.
fn leftovers(contents: &[Vec<u8>], step: usize, mut below: impl FnMut(usize) -> usize) -> Vec<Vec<u8>> {
    let mut found: BTreeSet<Vec<u8>> = contents.iter().cloned().collect();
    for pair in contents.windows(2) {
        let (old, new) = (pair[0].len(), pair[1].len());
        for cut in (old..new).filter(|cut| cut % step == 0) {
            found.insert(pair[1][..cut].to_vec());
            let mut nuls = pair[1][..cut].to_vec();
            nuls.resize(new, 0);
            found.insert(nuls);
        }
    }
    let synced = contents.iter().map(Vec::len).min().unwrap_or(0);
    let lengths: BTreeSet<usize> = contents.iter().map(Vec::len).filter(|&len| len > synced).collect();
    for length in lengths {
        found.extend(mixtures(contents, synced, length, &mut below));
    }
    found.into_iter().collect()
}

/// Contents of that length of whose sectors each is as it was at any time, or was never written.
fn mixtures(
    contents: &[Vec<u8>],
    synced: usize,
    length: usize,
    below: &mut impl FnMut(usize) -> usize,
) -> BTreeSet<Vec<u8>> {
    let mut choices: Vec<Vec<Vec<u8>>> = vec![];
    for start in (synced / SECTOR * SECTOR..length).step_by(SECTOR) {
        let end = length.min(start + SECTOR);
        let mut states = BTreeSet::new();
        for content in contents {
            let mut sector = content.get(start..end.min(content.len())).unwrap_or_default().to_vec();
            sector.resize(end - start, 0);
            states.insert(sector);
        }
        choices.push(states.into_iter().collect());
    }
    let count = choices.iter().map(Vec::len).fold(1, usize::saturating_mul);
    let mut found = BTreeSet::new();
    for number in 0..count.min(MIXTURES_MAX) {
        let mut content = contents[0][..synced / SECTOR * SECTOR].to_vec();
        let mut rest = number;
        for states in &choices {
            let chosen = if count > MIXTURES_MAX { below(states.len()) } else { rest % states.len() };
            rest /= states.len();
            content.extend_from_slice(&states[chosen]);
        }
        found.insert(content);
    }
    found
}
