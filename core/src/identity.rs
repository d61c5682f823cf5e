//! What stays the same between two alive messages of a member, kept once per process.

use alloc::sync::Arc;
use core::hash::{BuildHasher, Hash, Hasher};

use hashbrown::HashTable;
use serde::{Deserialize, Serialize};

use crate::map::HashKey;
use crate::types::{GossipAddr, Meta, Name, Versions};

/// The immutable part of a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its name.
    pub name: Name,
    /// Its gossip address, in the bytes in which it came.
    pub addr: GossipAddr,
    /// Its metadata.
    pub meta: Meta,
    /// Its version bytes.
    pub versions: Versions,
}

impl Hash for Identity {
    /// Every field, in few writes: peers choose all of them, and none may be left to make them meet.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { name, addr, meta, versions } = self;
        let ([a, b], [c, d, e, f, g, h]) = (addr.port().to_le_bytes(), versions.0);
        name.hash(state);
        meta.hash(state);
        state.write(addr.ip_bytes());
        state.write_u64(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
    }
}

/// Shares equal identities. An agent has one of its own, a simulator gives all its nodes one; outputs are the same.
#[derive(Clone, Debug)]
pub struct Interner(Arc<spin::Mutex<Pool>>);

#[derive(Debug)]
struct Pool {
    key: HashKey,
    identities: HashTable<Arc<Identity>>,
    sweep_at: usize,
}

const SWEEP_MIN: usize = 64;

impl Default for Interner {
    fn default() -> Self {
        Self::new(HashKey(0, 0))
    }
}

impl Interner {
    /// Makes an empty interner. The first node that uses it brings a key of its seed, because peers choose the names.
    pub fn new(key: HashKey) -> Self {
        Self(Arc::new(spin::Mutex::new(Pool { key, identities: HashTable::new(), sweep_at: SWEEP_MIN })))
    }

    /// Hashes with `key` from now on, unless identities are held already.
    pub fn rekey(&self, key: HashKey) {
        let mut pool = self.0.lock();
        if pool.identities.is_empty() {
            pool.key = key;
        }
    }

    /// The shared copy of `identity`.
    pub fn share(&self, identity: Identity) -> Arc<Identity> {
        let mut pool = self.0.lock();
        let hash = pool.key.hash_one(&identity);
        if let Some(shared) = pool.identities.find(hash, |shared| **shared == identity) {
            return Arc::clone(shared);
        }
        pool.sweep();
        let shared = Arc::new(identity);
        let key = pool.key;
        pool.identities.insert_unique(hash, Arc::clone(&shared), |shared| key.hash_one(&**shared));
        shared
    }

    /// How many identities are held.
    pub fn len(&self) -> usize {
        self.0.lock().identities.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Pool {
    /// Drops what nobody else holds, each time the pool has doubled.
    fn sweep(&mut self) {
        if self.identities.len() >= self.sweep_at {
            self.identities.retain(|shared| Arc::strong_count(shared) > 1);
            self.sweep_at = self.identities.len().saturating_mul(2).max(SWEEP_MIN);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::vec::Vec;

    fn identity(name: &str) -> Identity {
        let addr = GossipAddr::from_bytes(&[127, 0, 0, 1], 7946).expect("4 bytes");
        Identity { name: name.into(), addr, meta: Meta::default(), versions: Versions::CURRENT }
    }

    #[test]
    fn equal_identities_are_one() {
        let interner = Interner::default();
        let [one, other, third] = ["a", "a", "b"].map(|name| interner.share(identity(name)));
        assert!(Arc::ptr_eq(&one, &other) && !Arc::ptr_eq(&one, &third));
    }

    #[test]
    fn an_interner_in_use_keeps_its_key() {
        let interner = Interner::default();
        interner.rekey(HashKey(1, 2));
        let one = interner.share(identity("a"));
        interner.rekey(HashKey(3, 4));
        assert_eq!(interner.0.lock().key, HashKey(1, 2), "the first node's");
        assert!(Arc::ptr_eq(&one, &interner.share(identity("a"))));
    }

    #[test]
    fn identities_that_nobody_holds_are_dropped() {
        let interner = Interner::default();
        let kept: Vec<_> = (0..10).map(|number| interner.share(identity(&format!("kept{number}")))).collect();
        for number in 0..10_000 {
            interner.share(identity(&format!("gone{number}")));
        }
        assert!(interner.len() <= kept.len() + SWEEP_MIN, "{} are held", interner.len());
    }
}
