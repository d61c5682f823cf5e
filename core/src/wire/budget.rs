//! What one packet may cost whoever reads it, however it was made (gossip-wire.md 10.3).

use alloc::vec::Vec;

use super::WireError;
use crate::limits;

/// Entries that a list has room for once it has one.
const LIST_ENTRIES_MIN: usize = 4;

/// Counts the work and the memory that reading one packet takes, and ends the reading at a bound.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    work: usize,
    work_max: usize,
    allocated: usize,
    allocated_max: usize,
}

impl Budget {
    /// For a datagram of `bytes`.
    pub const fn datagram(bytes: usize) -> Self {
        Self {
            work: 0,
            work_max: bytes.saturating_mul(limits::WORK_PER_BYTE).saturating_add(limits::WORK_BYTES),
            allocated: 0,
            allocated_max: limits::DATAGRAM_ALLOCATED_MAX,
        }
    }

    /// For the message of a stream, whose length is bounded already.
    pub const fn stream() -> Self {
        Self { work: 0, work_max: usize::MAX, allocated: 0, allocated_max: usize::MAX }
    }

    /// For the lists of a push/pull: they are many small things, which take several times their bytes.
    pub(crate) const fn push_pull() -> Self {
        Self { allocated_max: limits::PUSH_PULL_ALLOCATED_MAX, ..Self::stream() }
    }

    /// Bytes read, copied or expanded so far.
    pub const fn work_done(&self) -> usize {
        self.work
    }

    /// Bytes allocated so far, freed ones included.
    pub const fn allocated(&self) -> usize {
        self.allocated
    }

    /// Counts bytes that are read, copied or expanded.
    ///
    /// # Errors
    /// [`WireError::TooCostly`] if that is too much; the bytes must then be left alone.
    pub const fn spend(&mut self, bytes: usize) -> Result<(), WireError> {
        let work = self.work.saturating_add(bytes);
        if work > self.work_max {
            return Err(WireError::TooCostly);
        }
        self.work = work;
        Ok(())
    }

    /// Counts bytes that are allocated.
    ///
    /// # Errors
    /// [`WireError::TooCostly`] if that is too much; nothing may then be allocated.
    pub const fn allocate(&mut self, bytes: usize) -> Result<(), WireError> {
        let allocated = self.allocated.saturating_add(bytes);
        if allocated > self.allocated_max {
            return Err(WireError::TooCostly);
        }
        self.allocated = allocated;
        Ok(())
    }

    /// Room for `count` entries, or for as many as can stand in `bytes` if each has `least` or more. What an entry allocates
    /// beside its place is not counted yet.
    ///
    /// # Errors
    /// Those of [`Self::allocate`].
    pub(super) fn list<T>(&mut self, count: usize, bytes: usize, least: usize) -> Result<Vec<T>, WireError> {
        let count = count.min(bytes.checked_div(least).unwrap_or_default());
        self.allocate(count.saturating_mul(size_of::<T>()))?;
        Ok(Vec::with_capacity(count))
    }

    /// Counts what one more entry of `list` allocates: a list that is full doubles, and begins with a few entries.
    ///
    /// # Errors
    /// Those of [`Self::allocate`]; nothing may then be added.
    pub(super) fn grow<T>(&mut self, list: &Vec<T>) -> Result<(), WireError> {
        if list.len() < list.capacity() {
            return Ok(());
        }
        let entries = list.capacity().saturating_mul(2).max(LIST_ENTRIES_MIN);
        self.allocate(entries.saturating_mul(size_of::<T>()))
    }
}
