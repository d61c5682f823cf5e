//! The entries of a push/pull, of which there are as many as members: postcard's bytes, written and read by hand, in a
//! tenth of the time that it takes through serde. A test holds both against each other.

use alloc::vec::Vec;

use super::{Bytes, entry_count};
use crate::lamport::LamportTime;
use crate::limits;
use crate::types::{GossipAddr, Incarnation, Meta, Name, Versions};
use crate::wire::{Alive, Budget, NodeState, SwimState, WireError};

/// Bytes of the shortest member: a name of one byte, no metadata, an address of four.
pub(crate) const NODE_BYTES_MIN: usize = 17;
/// Bytes of the shortest status.
pub(crate) const STATUS_BYTES_MIN: usize = 3;
/// Bytes of the shortest name of a list.
pub(crate) const NAME_BYTES_MIN: usize = 2;

/// Appends a member.
pub(crate) fn push_node(NodeState { alive, state }: &NodeState, out: &mut Vec<u8>) {
    let Alive { node, incarnation, addr, meta, versions } = alive;
    push_bytes(node.as_bytes(), out);
    push_number(u64::from(incarnation.0), out);
    let ip = addr.ip_bytes();
    out.push(u8::from(ip.len() != FOUR));
    out.extend_from_slice(ip);
    push_number(u64::from(addr.port()), out);
    push_bytes(meta.as_bytes(), out);
    out.extend_from_slice(&versions.0);
    out.push(*state as u8);
}

/// Appends the Lamport time of a member's last intent.
pub(crate) fn push_status((name, ltime): &(Name, LamportTime), out: &mut Vec<u8>) {
    push_bytes(name.as_bytes(), out);
    push_number(ltime.0, out);
}

/// Reads so many members. Room is made for those that the bytes can hold.
pub(crate) fn take_nodes(rest: &mut &[u8], count: u32, budget: &mut Budget) -> Result<Vec<NodeState>, WireError> {
    take_all(rest, count, NODE_BYTES_MIN, budget, |reader, budget| {
        let node = reader.bytes()?;
        let incarnation = Incarnation(reader.u32()?);
        let addr = reader.addr()?;
        let meta = reader.bytes()?;
        let versions = reader.versions()?;
        let state = match reader.u32()? {
            0 => SwimState::Alive,
            1 => SwimState::Suspect,
            2 => SwimState::Dead,
            3 => SwimState::Left,
            _ => return Err(WireError::Malformed),
        };
        let meta = Meta::new(Bytes(meta).at_most(limits::META_BYTES_ACCEPTED)?);
        let alive = Alive { node: Bytes(node).member()?, incarnation, addr, meta, versions };
        budget.allocate(alive.allocated())?;
        Ok(NodeState { alive, state })
    })
}

/// Reads so many statuses.
pub(crate) fn take_statuses(
    rest: &mut &[u8],
    count: u32,
    budget: &mut Budget,
) -> Result<Vec<(Name, LamportTime)>, WireError> {
    take_all(rest, count, STATUS_BYTES_MIN, budget, |reader, budget| {
        let name = reader.name(budget)?;
        Ok((name, LamportTime(reader.number(u64::BITS)?)))
    })
}

/// Reads so many names of members.
pub(crate) fn take_names(rest: &mut &[u8], count: u32, budget: &mut Budget) -> Result<Vec<Name>, WireError> {
    take_all(rest, count, NAME_BYTES_MIN, budget, |reader, budget| reader.name(budget))
}

/// Reads `count` entries, each of `least` bytes or more.
fn take_all<T>(
    rest: &mut &[u8],
    count: u32,
    least: usize,
    budget: &mut Budget,
    read: impl Fn(&mut Reader<'_>, &mut Budget) -> Result<T, WireError>,
) -> Result<Vec<T>, WireError> {
    let count = entry_count(count)?;
    let mut reader = Reader(rest);
    let mut taken = budget.list(count, rest.len(), least)?;
    for _ in 0..count {
        taken.push(read(&mut reader, budget)?);
    }
    *rest = reader.0;
    Ok(taken)
}

const FOUR: usize = 4;
const SIXTEEN: usize = 16;
const VERSIONS: usize = 6;
/// Bits of a number that one byte holds, and the flag that says that more follow.
const GROUP: u32 = 7;
const MORE: u8 = 0x80;

fn push_number(mut number: u64, out: &mut Vec<u8>) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= GROUP;
        if number == 0 {
            return out.push(low);
        }
        out.push(low | MORE);
    }
}

fn push_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    push_number(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Takes values from the front.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    /// A number of at most so many bits, the lowest group first.
    fn number(&mut self, bits: u32) -> Result<u64, WireError> {
        let (mut number, mut shift) = (0_u64, 0_u32);
        while shift < bits {
            let (&byte, rest) = self.0.split_first().ok_or(WireError::Truncated)?;
            self.0 = rest;
            let group = u64::from(byte & !MORE);
            let room = bits.saturating_sub(shift);
            if byte & MORE == 0 {
                let fits = room >= GROUP || group >> room == 0;
                return if fits { Ok(number | group << shift) } else { Err(WireError::Malformed) };
            }
            number |= group << shift;
            shift = shift.saturating_add(GROUP);
        }
        Err(WireError::Malformed)
    }

    pub(super) fn u32(&mut self) -> Result<u32, WireError> {
        u32::try_from(self.number(u32::BITS)?).map_err(|_| WireError::Malformed)
    }

    fn u16(&mut self) -> Result<u16, WireError> {
        u16::try_from(self.number(u16::BITS)?).map_err(|_| WireError::Malformed)
    }

    pub(super) fn addr(&mut self) -> Result<GossipAddr, WireError> {
        let len = match self.u32()? {
            0 => FOUR,
            1 => SIXTEEN,
            _ => return Err(WireError::Malformed),
        };
        let ip = self.take(len)?;
        GossipAddr::from_bytes(ip, self.u16()?).ok_or(WireError::Malformed)
    }

    pub(super) fn versions(&mut self) -> Result<Versions, WireError> {
        Ok(Versions(*self.take(VERSIONS)?.first_chunk().ok_or(WireError::Truncated)?))
    }

    /// Whether there is a value, as postcard says it.
    pub(super) fn some(&mut self) -> Result<bool, WireError> {
        match self.take(1)? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(WireError::Malformed),
        }
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], WireError> {
        let len = self.number(usize::BITS)?;
        self.take(usize::try_from(len).unwrap_or(usize::MAX))
    }

    /// The name of a member.
    fn name(&mut self, budget: &mut Budget) -> Result<Name, WireError> {
        let name = Bytes(self.bytes()?).member()?;
        budget.allocate(name.allocated())?;
        Ok(name)
    }
}
