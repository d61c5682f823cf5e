//! The label header, which stands before everything of either encoding (gossip-wire.md 1.1): `f4 len label`.

use alloc::vec::Vec;

use super::WireError;
use crate::limits;

const LABEL_MAGIC: u8 = 0xf4;
/// Bytes of the longest header that is authenticated with the label.
const HEADER_MAX: usize = 7;

/// Bytes that the label takes before a packet or stream.
pub(super) const fn label_overhead(label: &[u8]) -> usize {
    if label.is_empty() { 0 } else { label.len().saturating_add(2) }
}

/// Appends the label header; no label: nothing.
///
/// # Panics
/// If the label is longer than [`limits::LABEL_BYTES_MAX`].
pub(super) fn push_label(label: &[u8], out: &mut Vec<u8>) {
    if label.is_empty() {
        return;
    }
    let len = u8::try_from(label.len());
    assert!(len.is_ok(), "a label of {} bytes", label.len());
    out.extend_from_slice(&[LABEL_MAGIC, len.unwrap_or_default()]);
    out.extend_from_slice(label);
}

/// A label (empty: none) and what stands behind it.
pub(super) type Labelled<'a> = (&'a [u8], &'a [u8]);

/// Takes the label header off; `None`: the label header is not all there.
pub(super) fn split_label(bytes: &[u8]) -> Result<Option<Labelled<'_>>, WireError> {
    match bytes {
        [LABEL_MAGIC] => Ok(None),
        [LABEL_MAGIC, 0, ..] => Err(WireError::Malformed),
        [LABEL_MAGIC, len, behind @ ..] => Ok(behind.split_at_checked(usize::from(*len))),
        _ => Ok(Some((&[], bytes))),
    }
}

/// Refuses another label than ours.
pub(super) fn check_label(got: &[u8], want: &[u8]) -> Result<(), WireError> {
    if got == want { Ok(()) } else { Err(WireError::Label { got: got.into(), want: want.into() }) }
}

/// Associated data: a header and the label in one piece, without the heap.
pub(super) struct Aad {
    bytes: [u8; HEADER_MAX + limits::LABEL_BYTES_MAX],
    len: usize,
}

impl Aad {
    pub(super) fn new(header: &[u8], label: &[u8]) -> Self {
        let mut bytes = [0; HEADER_MAX + limits::LABEL_BYTES_MAX];
        let len = header.len().saturating_add(label.len());
        assert!(len <= bytes.len(), "a header and label of {len} bytes");
        for (to, from) in bytes.iter_mut().zip(header.iter().chain(label)) {
            *to = *from;
        }
        Self { bytes, len }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}
