//! What a host keeps when its process ends: the agent's files, as values.

use villein_core::io::Persist;
use villein_core::keyring::Key;
use villein_core::types::{Incarnation, Tags};
use villein_core::{Config, Saved};

use crate::scenario::DiskFault;

/// The files of one agent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    incarnation: Option<Incarnation>,
    snapshot: Option<Vec<u8>>,
    keys: Option<Vec<Key>>,
    tags: Option<Tags>,
    /// What is wrong with it.
    pub(crate) fault: DiskFault,
}

impl Disk {
    /// A record is written, and outlives the process and the host's power: the runtime syncs all that it keeps.
    pub(crate) fn store(&mut self, record: Persist) {
        match record {
            Persist::Incarnation(incarnation) => self.incarnation = Some(incarnation),
            Persist::Snapshot { lines, replace } => {
                let snapshot = self.snapshot.get_or_insert_default();
                if replace {
                    snapshot.clear();
                }
                snapshot.extend_from_slice(&lines);
            }
            Persist::Keyring(keys) => self.keys = Some(keys),
            Persist::Tags(tags) => self.tags = Some(tags),
        }
    }

    /// Power is lost while a record is written: of lines that are appended a part may stand, whatever replaces a file
    /// is there whole or not at all. Whether anything stands.
    pub(crate) fn tear(&mut self, record: &Persist, draw: impl FnOnce(usize) -> usize) -> bool {
        let Persist::Snapshot { lines, replace: false } = record else { return false };
        let part = draw(lines.len());
        self.snapshot.get_or_insert_default().extend_from_slice(&lines[..part]);
        part > 0
    }

    /// The tags that were kept last.
    pub(crate) const fn tags(&self) -> Option<&Tags> {
        self.tags.as_ref()
    }

    /// The largest incarnation that an earlier process is known to have used.
    pub(crate) const fn incarnation(&self) -> Option<Incarnation> {
        self.incarnation
    }

    /// What the next process is told of the earlier ones; files go before what the scenario says.
    pub(crate) fn load(&self, config: &mut Config) -> Saved {
        if let Some(keys) = &self.keys {
            config.keys.clone_from(keys);
        }
        if let Some(tags) = &self.tags {
            config.tags.clone_from(tags);
        }
        Saved { incarnation: self.incarnation, snapshot: self.snapshot.as_deref().map(Box::from) }
    }
}
