//! What a node knows, in one number: two members that agree spare each other a push/pull.
//!
//! Each thing is hashed by itself and the hashes are added up, because no two nodes have the same order. The hash has no
//! key, since all must come to the same: a member could make two views meet that differ, and so keep two others from
//! repairing by push/pull what gossip has lost; it could as well lie to both.

use core::hash::Hasher;

use siphasher::sip::SipHasher13;

use crate::event::Status;
use crate::identity::Identity;
use crate::lamport::LamportTime;
use crate::swim::member::Member;
use crate::wire::Fired;

/// Hashes what is written in the same bytes by every build.
struct Digester(SipHasher13);

impl Digester {
    fn new() -> Self {
        Self(SipHasher13::new())
    }

    fn number(mut self, number: u64) -> Self {
        self.0.write(&number.to_le_bytes());
        self
    }

    fn bytes(self, bytes: &[u8]) -> Self {
        let mut hashed = self.number(bytes.len() as u64);
        hashed.0.write(bytes);
        hashed
    }

    fn finish(&self) -> u64 {
        self.0.finish()
    }
}

/// Over what a push/pull says of members, in any order.
pub(crate) fn of_members<'a>(members: impl Iterator<Item = &'a Member>) -> u64 {
    members.map(of_member).fold(0, u64::wrapping_add)
}

/// Nothing is said of a member that both layers have forgotten.
fn of_member(member: &Member) -> u64 {
    let shown = member.status != Status::None;
    if member.state().is_none() && !shown {
        return 0;
    }
    let Identity { name, addr, meta, versions } = &*member.identity;
    let ([a, b], [c, d, e, f, g, h]) = (addr.port().to_le_bytes(), versions.0);
    let state = member.state().map_or(u8::MAX, |state| state as u8);
    let [i, j, k, l] = member.incarnation.0.to_le_bytes();
    let left = member.status == Status::Left;
    Digester::new()
        .bytes(name.as_bytes())
        .bytes(addr.ip_bytes())
        .bytes(meta.as_bytes())
        .number(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
        .number(u64::from_le_bytes([i, j, k, l, state, u8::from(shown), u8::from(left), 0]))
        .number(if shown { member.status_ltime.0 } else { 0 })
        .finish()
}

/// Over user events with their Lamport times, in any order.
pub(crate) fn of_events<'a>(times: impl Iterator<Item = (LamportTime, &'a [Fired])>) -> u64 {
    let each = times.flat_map(|(ltime, events)| events.iter().map(move |event| of_event(ltime, event)));
    each.fold(0, u64::wrapping_add)
}

fn of_event(ltime: LamportTime, Fired { name, payload }: &Fired) -> u64 {
    Digester::new().number(ltime.0).bytes(name).bytes(payload).finish()
}
