//! Who sends nothing but junk: what comes from there is not even looked at for the rest of the second.
//!
//! Each unusable packet costs one trial of every key. Only sources that no live member has are held to this: whoever can
//! write another's address on packets could otherwise silence a member.

use alloc::vec::Vec;
use core::hash::BuildHasher;
use core::net::IpAddr;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::limits;
use crate::map::HashKey;
use crate::time::Time;

const WINDOW: Duration = Duration::from_secs(1);

/// The sources of unusable packets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sources {
    key: HashKey,
    /// One source each, at the place that its hash gives; empty until the first junk.
    places: Vec<Option<Source>>,
    /// Until when one of them may be blocked.
    watched_until: Time,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Source {
    network: u128,
    since: Time,
    junk: u32,
    /// A live member has the address.
    member: bool,
}

impl Sources {
    pub(crate) const fn new(key: HashKey) -> Self {
        Self { key, places: Vec::new(), watched_until: Time::ZERO }
    }

    /// Whether what comes from there is not read now.
    pub(crate) fn is_blocked(&self, now: Time, from: IpAddr) -> bool {
        if now >= self.watched_until {
            return false;
        }
        let network = network(from);
        let source = self.places.get(self.place(network)).copied().flatten();
        source.is_some_and(|source| {
            source.network == network
                && source.junk >= limits::JUNK_PER_SECOND_MAX
                && !source.member
                && now.since(source.since) < WINDOW
        })
    }

    /// Counts an unusable packet; `is_member` says whether a live member has an address, and is asked once in a window.
    pub(crate) fn note(&mut self, now: Time, from: IpAddr, is_member: impl FnOnce(u128) -> bool) {
        if self.places.is_empty() {
            self.places.resize(limits::JUNK_SOURCES_MAX, None);
        }
        let network = network(from);
        let index = self.place(network);
        let Some(place) = self.places.get_mut(index) else { return };
        let current = place.filter(|source| now.since(source.since) < WINDOW);
        let mut source = match current {
            // Two sources with one place: the first is watched until its second is over.
            Some(source) if source.network != network => return,
            Some(source) => source,
            None => Source { network, since: now, junk: 0, member: false },
        };
        source.junk = source.junk.saturating_add(1);
        if source.junk == limits::JUNK_PER_SECOND_MAX {
            source.member = is_member(network);
            self.watched_until = self.watched_until.max(source.since + WINDOW);
        }
        *place = Some(source);
    }

    fn place(&self, network: u128) -> usize {
        let hash = self.key.hash_one(network);
        usize::try_from(hash.checked_rem(self.places.len() as u64).unwrap_or_default()).unwrap_or_default()
    }
}

/// An IPv4 address, or the 64 bits of an IPv6 address that one host chooses freely left out.
pub(crate) fn network(ip: IpAddr) -> u128 {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits() >> 64 << 64,
    }
}
