//! The member table: one entry per name, shared by both layers.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hash::BuildHasher;
use core::time::Duration;

use hashbrown::HashTable;
use serde::{Deserialize, Serialize};

use crate::event::{MemberEventKind, MemberInfo, Status};
use crate::identity::{Identity, Interner};
use crate::junk::network;
use crate::lamport::LamportTime;
use crate::limits;
use crate::map::HashKey;
use crate::rng::{Purpose, Rng};
use crate::serf::tags::shows_native;
use crate::swim::digest;
use crate::time::Time;
use crate::types::{Incarnation, Name, Slot};
use crate::wire::SwimState;

/// What is known of one member by either layer. Each entry is one cache line: in a large cluster reaching it is what a
/// word about the member costs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[repr(align(64))]
pub struct Member {
    /// What its last accepted alive message said; changed by [`Table::set_identity`].
    pub identity: Arc<Identity>,
    /// When `state` last changed.
    pub state_since: Time,
    /// When a stale alive message about it was last answered with an accusation (U-04).
    pub accused_at: Option<Time>,
    /// Lamport time of the last intent that was applied to it.
    pub status_ltime: LamportTime,
    /// When `status` last changed.
    pub status_since: Time,
    /// The largest incarnation known.
    pub incarnation: Incarnation,
    /// Where it stands in the list that its state puts it in.
    listed_at: u32,
    /// What the failure detector believes; `None`: forgotten, but the incarnation is remembered (U-05).
    state: Option<SwimState>,
    /// What Serf shows.
    pub status: Status,
    /// The last event that was handed out about it.
    pub last_event: Option<MemberEventKind>,
    /// Whether it understands the native encoding, by its metadata or by what was heard of it since.
    native: bool,
    /// Whether its metadata shows so.
    signed: bool,
    /// Whether it is suspected by so many that another word to that effect changes nothing.
    pub enough_accusers: bool,
}

const _: () = assert!(size_of::<Option<Member>>() == 64, "a member entry must stay small");

impl Member {
    /// What the failure detector believes; `None`: forgotten.
    pub const fn state(&self) -> Option<SwimState> {
        self.state
    }

    /// Whether it shows that it understands the native encoding.
    pub const fn understands_native(&self) -> bool {
        self.native
    }

    /// Whether its metadata shows that it understands the native encoding, and nothing that was heard since denies it.
    pub const fn is_native(&self) -> bool {
        self.native && self.signed
    }

    /// Whether its metadata shows that it understands the native encoding.
    pub const fn is_signed(&self) -> bool {
        self.signed
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        &self.identity.name
    }

    /// Whether an old word about it may be answered now: once per `interval`. Notes the answer.
    pub fn may_answer(&mut self, now: Time, interval: Duration) -> bool {
        let due = self.accused_at.is_none_or(|last| now.since(last) >= interval);
        if due {
            self.accused_at = Some(now);
        }
        due
    }

    /// The member as events and listings show it.
    pub fn info(&self) -> MemberInfo {
        MemberInfo {
            name: self.identity.name.clone(),
            addr: self.identity.addr,
            meta: self.identity.meta.clone(),
            status: self.status,
            versions: self.identity.versions,
        }
    }
}

/// Every member by slot and by name, with the lists that the protocol draws from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Table {
    key: HashKey,
    #[serde(skip)]
    index: HashTable<Slot>,
    /// Chunks of equal room, so that growing never copies an entry; all but the last are full.
    chunks: Vec<Vec<Option<Member>>>,
    free: BTreeSet<Slot>,
    /// Alive and suspect members, the node itself included, dense.
    live: Vec<Slot>,
    /// Dead members (not those that left) that are not forgotten, dense.
    dead: Vec<Slot>,
    /// Members that both layers have forgotten, by the time of the forgetting.
    tombstones: BTreeSet<(Time, Slot)>,
    probe_order: Vec<Slot>,
    cursor: usize,
    /// Live members, the node itself not among them, that do not show that they understand the native encoding.
    strangers: usize,
    known: usize,
    me: Slot,
    bounds: Bounds,
    /// Tombstones that a bound has cost since [`Table::take_evicted`].
    evicted: u64,
    /// The digest over all members, until one of them changes.
    #[serde(skip)]
    digest: Option<u64>,
}

/// Looks members up in the order in which another member lists them. That is mostly the order of the slots, so each is
/// looked for behind the one before.
#[derive(Debug, Default)]
pub struct Walk {
    next: Slot,
}

impl Walk {
    /// The slot of `name` in `table`.
    pub fn slot(&mut self, table: &Table, name: &Name) -> Option<Slot> {
        let is_there = table.find(self.next).is_some_and(|member| member.name() == name);
        let slot = if is_there { Some(self.next) } else { table.slot(name) };
        self.next = slot.unwrap_or(self.next).next();
        slot
    }
}

/// How much a table may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Entries, tombstones included.
    pub members: usize,
    /// Tombstones.
    pub tombstones: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { members: limits::MEMBERS_MAX, tombstones: limits::TOMBSTONES_MAX }
    }
}

const CHUNK: usize = 1024;

impl Table {
    /// Makes a table of at most `bounds` that holds `me` alone, known to nobody yet.
    pub fn new(key: HashKey, me: Arc<Identity>, now: Time, bounds: Bounds) -> Self {
        let mut table = Self {
            key,
            index: HashTable::new(),
            chunks: Vec::new(),
            free: BTreeSet::new(),
            live: Vec::new(),
            dead: Vec::new(),
            tombstones: BTreeSet::new(),
            probe_order: Vec::new(),
            cursor: 0,
            strangers: 0,
            known: 0,
            me: Slot(0),
            bounds,
            evicted: 0,
            digest: None,
        };
        table.me = table.place(me, now);
        table
    }

    /// The key of the hash by which names are found.
    pub const fn hash_key(&self) -> HashKey {
        self.key
    }

    /// The node itself.
    pub const fn me(&self) -> Slot {
        self.me
    }

    /// The entry of `slot`; `None` if it was freed.
    pub fn find(&self, slot: Slot) -> Option<&Member> {
        let (chunk, offset) = position(slot);
        self.chunks.get(chunk)?.get(offset)?.as_ref()
    }

    /// The entry of `slot`, to change; `None` if it was freed.
    pub fn find_mut(&mut self, slot: Slot) -> Option<&mut Member> {
        let (chunk, offset) = position(slot);
        self.digest = None;
        self.chunks.get_mut(chunk)?.get_mut(offset)?.as_mut()
    }

    /// A number over what a push/pull says of members: of those who agree it is the same.
    pub fn digest(&mut self) -> u64 {
        let digest = self.digest.unwrap_or_else(|| digest::of_members(self.entries().map(|(_, member)| member)));
        self.digest = Some(digest);
        digest
    }

    /// The entry of the node itself.
    #[expect(clippy::expect_used, reason = "the node's own entry is placed by `new` and never freed")]
    pub fn own(&self) -> &Member {
        self.find(self.me).expect("the node's own entry")
    }

    /// The slot of `name`.
    pub fn slot(&self, name: &Name) -> Option<Slot> {
        let hash = self.key.hash_one(name);
        self.index.find(hash, |&slot| self.find(slot).is_some_and(|member| member.name() == name)).copied()
    }

    /// How many members are not forgotten, the node itself included.
    pub const fn known(&self) -> usize {
        self.known
    }

    /// Whether there are members that the failure detector has forgotten.
    pub fn has_forgotten(&self) -> bool {
        self.index.len() > self.known
    }

    /// Alive and suspect members, the node itself included.
    pub fn live(&self) -> &[Slot] {
        &self.live
    }

    /// Dead members that are not forgotten.
    pub fn dead(&self) -> &[Slot] {
        &self.dead
    }

    /// Whether a member other than the node itself is alive or suspect.
    pub fn has_live_others(&self) -> bool {
        self.live.iter().any(|&slot| slot != self.me)
    }

    /// Whether a live member other than the node itself has an address of that network.
    pub fn has_live_in(&self, wanted: u128) -> bool {
        let others = self.live.iter().filter(|&&slot| slot != self.me).filter_map(|&slot| self.find(slot));
        others.map(|member| network(member.identity.addr.ip())).any(|network| network == wanted)
    }

    /// How many live members do not show that they understand the native encoding.
    pub const fn strangers(&self) -> usize {
        self.strangers
    }

    /// Live members that do not show that they understand the native encoding.
    pub fn live_strangers(&self) -> impl Iterator<Item = &Member> {
        let others = self.live.iter().filter(|&&slot| slot != self.me);
        others.filter_map(|&slot| self.find(slot)).filter(|member| !member.native)
    }

    /// Changes what a member says of itself.
    pub fn set_identity(&mut self, slot: Slot, identity: Arc<Identity>) {
        let native = shows_native(&identity.meta);
        if let Some(member) = self.find_mut(slot) {
            member.identity = identity;
            member.signed = native;
        }
        self.set_native(slot, native);
    }

    /// Changes whether a member counts as one that understands the native encoding.
    pub fn set_native(&mut self, slot: Slot, native: bool) {
        let me = self.me;
        let Some(member) = self.find_mut(slot) else { return };
        let before = core::mem::replace(&mut member.native, native);
        if slot != me && list_of(member.state) == List::Live {
            self.count_stranger(!before, !native);
        }
    }

    /// A member was or was not a live stranger, and is or is not one now.
    const fn count_stranger(&mut self, before: bool, now: bool) {
        match (before, now) {
            (false, true) => self.strangers = self.strangers.saturating_add(1),
            (true, false) => self.strangers = self.strangers.saturating_sub(1),
            (true, true) | (false, false) => (),
        }
    }

    /// Every entry, in slot order.
    pub fn entries(&self) -> impl Iterator<Item = (Slot, &Member)> {
        self.chunks
            .iter()
            .flatten()
            .enumerate()
            .filter_map(|(number, member)| Some((Slot(u32::try_from(number).ok()?), member.as_ref()?)))
    }

    /// Every entry that Serf shows, sorted by name.
    pub fn by_name(&self) -> Vec<&Member> {
        let mut members: Vec<_> =
            self.entries().map(|(_, member)| member).filter(|member| member.status != Status::None).collect();
        members.sort_by(|one, other| one.name().cmp(other.name()));
        members
    }

    /// Makes room for so many members more.
    pub fn reserve(&mut self, more: usize) {
        let more = more.min(self.bounds.members);
        let (key, chunks) = (self.key, &self.chunks);
        self.index.reserve(more, |&slot| hash_of(key, chunks, slot));
        self.live.reserve_exact(more);
        self.probe_order.reserve_exact(more);
    }

    /// Adds a forgotten entry for a new name; `None` if the table is full.
    pub fn insert(&mut self, identity: Arc<Identity>, now: Time) -> Option<Slot> {
        let held = self.index.len();
        if held >= self.bounds.members && !self.evict() {
            return None;
        }
        Some(self.place(identity, now))
    }

    fn place(&mut self, identity: Arc<Identity>, now: Time) -> Slot {
        let hash = self.key.hash_one(&identity.name);
        let native = shows_native(&identity.meta);
        let member = Member {
            identity,
            state_since: now,
            accused_at: None,
            status_ltime: LamportTime::default(),
            status_since: now,
            incarnation: Incarnation::default(),
            listed_at: 0,
            state: None,
            status: Status::None,
            last_event: None,
            native,
            signed: native,
            enough_accusers: false,
        };
        let slot = match self.free.pop_first() {
            Some(slot) => {
                let (chunk, offset) = position(slot);
                if let Some(place) = self.chunks.get_mut(chunk).and_then(|chunk| chunk.get_mut(offset)) {
                    *place = Some(member);
                }
                slot
            }
            None => self.append(member),
        };
        let (key, chunks) = (self.key, &self.chunks);
        self.index.insert_unique(hash, slot, |&slot| hash_of(key, chunks, slot));
        slot
    }

    /// Puts an entry behind all others. The room of a chunk is taken at once, and touched as it fills.
    fn append(&mut self, member: Member) -> Slot {
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let before = self.chunks.len().saturating_sub(1).saturating_mul(CHUNK);
        let Some(chunk) = self.chunks.last_mut() else { return Slot(0) };
        let number = before.saturating_add(chunk.len());
        chunk.push(Some(member));
        Slot(u32::try_from(number).unwrap_or(u32::MAX))
    }

    /// Changes what the failure detector believes of `slot`; keeps the lists in step.
    pub fn set_state(&mut self, slot: Slot, state: Option<SwimState>, now: Time) {
        let Some(member) = self.find_mut(slot) else { return };
        let (before, at, status, since) = (member.state, member.listed_at, member.status, member.state_since);
        member.state = state;
        member.state_since = now;
        let was_tombstone = before.is_none() && status == Status::None;
        if was_tombstone {
            self.tombstones.remove(&(since, slot));
        }
        match list_of(before) {
            List::Live => unlist(&mut self.live, at),
            List::Dead => unlist(&mut self.dead, at),
            List::None => None,
        }
        .and_then(|moved| self.find_mut(moved))
        .into_iter()
        .for_each(|moved| moved.listed_at = at);
        let listed_at = match list_of(state) {
            List::Live => enlist(&mut self.live, slot),
            List::Dead => enlist(&mut self.dead, slot),
            List::None => 0,
        };
        if let Some(member) = self.find_mut(slot) {
            member.listed_at = listed_at;
        }
        if slot != self.me && self.find(slot).is_some_and(|member| !member.native) {
            self.count_stranger(list_of(before) == List::Live, list_of(state) == List::Live);
        }
        match (before.is_some(), state.is_some()) {
            (false, true) => self.known = self.known.saturating_add(1),
            (true, false) => self.known = self.known.saturating_sub(1),
            (true, true) | (false, false) => (),
        }
        self.note_tombstone(slot);
    }

    /// Changes the status that Serf shows.
    pub fn set_status(&mut self, slot: Slot, status: Status, now: Time) {
        let Some(member) = self.find_mut(slot) else { return };
        if member.state.is_none() && member.status == Status::None {
            let key = (member.state_since, slot);
            self.tombstones.remove(&key);
        }
        if let Some(member) = self.find_mut(slot) {
            member.status = status;
            member.status_since = now;
            // The time of a tombstone begins when the last layer has forgotten the member.
            if member.state.is_none() && status == Status::None {
                member.state_since = now;
            }
        }
        self.note_tombstone(slot);
    }

    /// Keeps count of an entry that both layers have forgotten; drops the oldest beyond the bound.
    fn note_tombstone(&mut self, slot: Slot) {
        let Some(member) = self.find(slot) else { return };
        if member.state.is_none() && member.status == Status::None && slot != self.me {
            let key = (member.state_since, slot);
            self.tombstones.insert(key);
            if self.tombstones.len() > self.bounds.tombstones {
                self.evict();
            }
        }
    }

    /// Frees the entries that both layers have forgotten before `before`.
    pub fn retire(&mut self, before: Time) {
        while self.tombstones.first().is_some_and(|&(since, _)| since < before) {
            self.free_oldest_tombstone();
        }
    }

    /// When the entry that waits longest to be freed was forgotten.
    pub fn oldest_tombstone(&self) -> Option<Time> {
        self.tombstones.first().map(|&(since, _)| since)
    }

    /// Frees the oldest tombstone before its time; false if there is none.
    fn evict(&mut self) -> bool {
        let done = self.free_oldest_tombstone();
        self.evicted = self.evicted.saturating_add(u64::from(done));
        done
    }

    /// Whether no bound has cost anything since [`Table::take_evicted`].
    pub const fn is_settled(&self) -> bool {
        self.evicted == 0
    }

    /// Takes the number of tombstones that a bound has cost.
    pub const fn take_evicted(&mut self) -> u64 {
        core::mem::replace(&mut self.evicted, 0)
    }

    fn free_oldest_tombstone(&mut self) -> bool {
        let Some((_, slot)) = self.tombstones.pop_first() else { return false };
        let (key, chunks) = (self.key, &self.chunks);
        let hash = hash_of(key, chunks, slot);
        if let Ok(entry) = self.index.find_entry(hash, |&other| other == slot) {
            entry.remove();
        }
        let (chunk, offset) = position(slot);
        if let Some(place) = self.chunks.get_mut(chunk).and_then(|chunk| chunk.get_mut(offset)) {
            *place = None;
        }
        self.free.insert(slot);
        true
    }

    /// Puts a new member at a random place of the probe list.
    pub fn enlist_for_probes(&mut self, slot: Slot, rng: &mut Rng) {
        self.probe_order.push(slot);
        let last = self.probe_order.len().saturating_sub(1);
        let place = rng.index(Purpose::ProbeInsert, self.probe_order.len());
        self.probe_order.swap(place, last);
    }

    /// The next entry of the probe list, or `None` at its end.
    pub fn next_in_probe_order(&mut self) -> Option<Slot> {
        let slot = self.probe_order.get(self.cursor).copied()?;
        self.cursor = self.cursor.saturating_add(1);
        Some(slot)
    }

    /// How long the probe list is.
    pub const fn probe_order_len(&self) -> usize {
        self.probe_order.len()
    }

    /// Ends a pass: forgets members gone since before `before`, shuffles the rest, starts anew (protocol.md 1.4).
    pub fn end_probe_pass(&mut self, before: Time, now: Time, rng: &mut Rng) {
        let gone: Vec<Slot> = self
            .probe_order
            .iter()
            .copied()
            .filter(|&slot| {
                self.find(slot).is_some_and(|member| match member.state {
                    Some(SwimState::Dead | SwimState::Left) => member.state_since <= before,
                    Some(SwimState::Alive | SwimState::Suspect) | None => false,
                })
            })
            .collect();
        for slot in gone {
            self.set_state(slot, None, now);
        }
        let mut order = core::mem::take(&mut self.probe_order);
        order.retain(|&slot| self.find(slot).is_some_and(|member| member.state.is_some()));
        self.probe_order = order;
        rng.shuffle(Purpose::ProbeOrder, &mut self.probe_order);
        self.cursor = 0;
    }

    /// Makes what a checkpoint leaves out: the index, and identities shared with others of the process.
    pub fn rebuild(&mut self, interner: &Interner) {
        self.index = HashTable::new();
        interner.rekey(self.key);
        for member in self.chunks.iter_mut().flatten().flatten() {
            member.identity = interner.share((*member.identity).clone());
        }
        let slots: Vec<_> = self.entries().map(|(slot, _)| slot).collect();
        let (key, chunks) = (self.key, &self.chunks);
        for slot in slots {
            self.index.insert_unique(hash_of(key, chunks, slot), slot, |&slot| hash_of(key, chunks, slot));
        }
    }

    /// Up to `count` distinct members drawn uniformly from those of `live` and `dead` that are `eligible`
    /// (protocol.md 3.1, D-02): by rejection where few are wanted of many, else by a partial shuffle.
    pub fn draw(
        &self,
        rng: &mut Rng,
        purpose: Purpose,
        count: usize,
        with_dead: bool,
        eligible: impl Fn(Slot, &Member) -> bool,
    ) -> Vec<Slot> {
        let dead: &[Slot] = if with_dead { &self.dead } else { &[] };
        let total = self.live.len().saturating_add(dead.len());
        let nth =
            |number: usize| self.live.get(number).or_else(|| dead.get(number.checked_sub(self.live.len())?)).copied();
        let fits = |slot: Slot| self.find(slot).is_some_and(|member| eligible(slot, member));
        let mut drawn: Vec<Slot> = Vec::with_capacity(count.min(total));
        if count.saturating_mul(2) <= total {
            for _ in 0..count.saturating_mul(8) {
                if drawn.len() == count {
                    return drawn;
                }
                if let Some(slot) = nth(rng.index(purpose, total)).filter(|&slot| fits(slot) && !drawn.contains(&slot))
                {
                    drawn.push(slot);
                }
            }
        }
        let mut rest: Vec<Slot> =
            (0..total).filter_map(nth).filter(|&slot| fits(slot) && !drawn.contains(&slot)).collect();
        while drawn.len() < count && !rest.is_empty() {
            let place = rng.index(purpose, rest.len());
            drawn.push(rest.swap_remove(place));
        }
        drawn
    }

    /// Checks that lists and entries agree.
    pub fn check(&self) -> Result<(), alloc::string::String> {
        let mut known = 0_usize;
        for (slot, member) in self.entries() {
            known = known.saturating_add(usize::from(member.state.is_some()));
            let list = match list_of(member.state) {
                List::Live => Some(&self.live),
                List::Dead => Some(&self.dead),
                List::None => None,
            };
            if list.is_some_and(|list| list.get(member.listed_at as usize) != Some(&slot)) {
                return Err(alloc::format!("{} is not in the list of its state", member.name()));
            }
            if self.slot(member.name()) != Some(slot) {
                return Err(alloc::format!("{} is not found by its name", member.name()));
            }
            let tombstone = member.state.is_none() && member.status == Status::None && slot != self.me;
            if tombstone != self.tombstones.contains(&(member.state_since, slot)) {
                return Err(alloc::format!("{} is wrongly counted as forgotten", member.name()));
            }
        }
        if self.live_strangers().count() != self.strangers {
            return Err(alloc::format!("{} strangers are counted", self.strangers));
        }
        if known != self.known || self.live.len().saturating_add(self.dead.len()) > known {
            return Err(alloc::format!("{known} members are known, {} are counted", self.known));
        }
        Ok(())
    }
}

#[derive(PartialEq, Eq)]
enum List {
    Live,
    Dead,
    None,
}

const fn list_of(state: Option<SwimState>) -> List {
    match state {
        Some(SwimState::Alive | SwimState::Suspect) => List::Live,
        Some(SwimState::Dead) => List::Dead,
        Some(SwimState::Left) | None => List::None,
    }
}

fn enlist(list: &mut Vec<Slot>, slot: Slot) -> u32 {
    list.push(slot);
    u32::try_from(list.len().saturating_sub(1)).unwrap_or(u32::MAX)
}

/// Takes out what stands at `at` and returns what has moved into its place.
fn unlist(list: &mut Vec<Slot>, at: u32) -> Option<Slot> {
    let at = at as usize;
    if at < list.len() {
        list.swap_remove(at);
    }
    list.get(at).copied()
}

const fn position(slot: Slot) -> (usize, usize) {
    (slot.0 as usize / CHUNK, slot.0 as usize % CHUNK)
}

fn hash_of(key: HashKey, chunks: &[Vec<Option<Member>>], slot: Slot) -> u64 {
    let (chunk, offset) = position(slot);
    let member = chunks.get(chunk).and_then(|chunk| chunk.get(offset)).and_then(Option::as_ref);
    member.map_or(0, |member| key.hash_one(&member.identity.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;
    use crate::types::{GossipAddr, Meta, Versions};
    use alloc::format;

    /// A table of `count` members, all of them alive.
    fn table(count: usize) -> Table {
        let identity = |number: usize| {
            let name = Name::from(format!("n{number}").as_str());
            let addr = GossipAddr::from_bytes(&[127, 0, 0, 1], 7946).expect("4 bytes");
            Arc::new(Identity { name, addr, meta: Meta::default(), versions: Versions::CURRENT })
        };
        let mut rng = Rng::new(Seed::simulated(1));
        let mut table = Table::new(HashKey(1, 2), identity(0), Time::ZERO, Bounds::default());
        table.set_state(table.me(), Some(SwimState::Alive), Time::ZERO);
        for number in 1..count {
            let slot = table.insert(identity(number), Time::ZERO).expect("there is room");
            table.set_state(slot, Some(SwimState::Alive), Time::ZERO);
            table.enlist_for_probes(slot, &mut rng);
        }
        table
    }

    /// Bytes of the entries, and of the lists and the index with the room in which they may still grow.
    fn bytes(table: &Table) -> (usize, usize) {
        let entries = table.chunks.iter().map(|chunk| chunk.len() * size_of::<Option<Member>>()).sum();
        let slots = table.live.capacity() + table.dead.capacity() + table.probe_order.capacity();
        (entries, slots * size_of::<Slot>() + table.index.allocation_size())
    }

    #[test]
    fn a_member_costs_64_bytes_and_its_places_in_the_lists_at_most_32() {
        // Each is where a list or the index has just grown, and so has the most room to spare.
        for count in [1_026, 1_793, 2_050, 3_585, 4_098, 7_169, 8_194, 10_000] {
            let table = table(count);
            let (entries, lists) = bytes(&table);
            assert!(entries <= 64 * count, "{count} members: {entries} bytes of entries");
            assert!(lists <= 32 * count, "{count} members: {lists} bytes of lists");
        }
    }

    #[test]
    fn the_text_of_a_member_is_kept_once_and_small() {
        assert!(size_of::<Identity>() <= 80, "{} bytes", size_of::<Identity>());
    }
}
