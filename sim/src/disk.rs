//! What a host keeps when its process ends: the agent's files, as values.

use villein_core::io::Persist;
use villein_core::keyring::Key;
use villein_core::types::{Incarnation, Tags};
use villein_core::{Config, Saved};

/// The files of one agent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    incarnation: Option<Incarnation>,
    snapshot: Option<Vec<u8>>,
    /// How much of the snapshot outlives a loss of power: what was only appended may still be in the host's memory.
    synced: usize,
    keys: Option<Vec<Key>>,
    tags: Option<Tags>,
    /// Whether there is no room for anything new.
    pub(crate) full: bool,
}

impl Disk {
    /// A record is written.
    pub(crate) fn store(&mut self, record: Persist) {
        match record {
            Persist::Incarnation(incarnation) => self.incarnation = Some(incarnation),
            Persist::Snapshot { lines, replace, sync } => {
                let snapshot = self.snapshot.get_or_insert_default();
                if replace {
                    snapshot.clear();
                }
                snapshot.extend_from_slice(&lines);
                if replace || sync {
                    self.synced = snapshot.len();
                }
            }
            Persist::Keyring(keys) => self.keys = Some(keys),
            Persist::Tags(tags) => self.tags = Some(tags),
        }
    }

    /// The host loses its power: what was not synced is gone.
    pub(crate) fn lose_power(&mut self) {
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.truncate(self.synced);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, replace: bool, sync: bool) -> Persist {
        Persist::Snapshot { lines: text.as_bytes().into(), replace, sync }
    }

    #[test]
    fn a_loss_of_power_takes_what_was_not_synced_and_nothing_else() {
        let mut disk = Disk::default();
        let held = |disk: &Disk| String::from_utf8(disk.snapshot.clone().unwrap_or_default()).expect("text");
        disk.store(lines("a\n", false, true));
        disk.store(lines("b\n", false, false));
        assert_eq!(held(&disk), "a\nb\n");
        disk.lose_power();
        assert_eq!(held(&disk), "a\n");
        disk.store(lines("c\n", false, false));
        disk.store(lines("d\n", false, true));
        disk.lose_power();
        assert_eq!(held(&disk), "a\nc\nd\n");
        disk.store(lines("e\n", true, false));
        disk.lose_power();
        assert_eq!(held(&disk), "e\n");
    }
}
