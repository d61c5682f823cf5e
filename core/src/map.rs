//! A map without an observable order.

use alloc::vec::Vec;
use core::hash::{BuildHasher, Hash};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use siphasher::sip::SipHasher13;

/// The key of the maps' hash: stable in simulation, unguessable in production, where peers choose the map keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashKey(pub u64, pub u64);

impl BuildHasher for HashKey {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
    }
}

/// A hash map that can be looked up but not iterated; [`DetMap::sorted`] lists it in key order.
#[derive(Clone, Debug)]
pub struct DetMap<K, V> {
    entries: hashbrown::HashMap<K, V, HashKey>,
}

impl<K: Eq + Hash + Ord, V> DetMap<K, V> {
    /// Makes an empty map hashed with `key`.
    pub const fn new(key: HashKey) -> Self {
        Self { entries: hashbrown::HashMap::with_hasher(key) }
    }

    /// The value of `key`.
    pub fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: core::borrow::Borrow<Q>,
    {
        self.entries.get(key)
    }

    /// The value of `key`, to change.
    pub fn get_mut<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: core::borrow::Borrow<Q>,
    {
        self.entries.get_mut(key)
    }

    /// Puts `value` at `key` and returns what was there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.entries.insert(key, value)
    }

    /// Takes the value of `key` out.
    pub fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: core::borrow::Borrow<Q>,
    {
        self.entries.remove(key)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Every entry, sorted by key.
    #[expect(clippy::disallowed_methods, reason = "the order is made here, before anybody sees it")]
    pub fn sorted(&self) -> Vec<(&K, &V)> {
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_by(|left, right| left.0.cmp(right.0));
        entries
    }
}

impl<K: Eq + Hash + Ord + Serialize, V: Serialize> Serialize for DetMap<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.entries.hasher(), self.sorted()).serialize(serializer)
    }
}

impl<'de, K: Eq + Hash + Ord + Deserialize<'de>, V: Deserialize<'de>> Deserialize<'de> for DetMap<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (key, entries) = <(HashKey, Vec<(K, V)>)>::deserialize(deserializer)?;
        let mut map = Self::new(key);
        for (key, value) in entries {
            map.insert(key, value);
        }
        Ok(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listing_does_not_depend_on_the_hash() {
        let mut one = DetMap::new(HashKey(1, 2));
        let mut other = DetMap::new(HashKey(3, 4));
        for number in [5, 3, 9, 1] {
            one.insert(number, ());
            other.insert(number, ());
        }
        assert_eq!(one.sorted(), other.sorted());
        let bytes = postcard::to_allocvec(&one).expect("encodes");
        let restored: DetMap<i32, ()> = postcard::from_bytes(&bytes).expect("decodes");
        assert_eq!(restored.sorted(), one.sorted());
    }
}
