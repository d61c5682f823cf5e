//! Encryption (gossip-wire.md 1.2): `version nonce ciphertext tag`. We seal with version 1 and open version 0 too.

use alloc::vec::Vec;

use crate::keyring::{NONCE_BYTES, TAG_BYTES};
use crate::wire::{Budget, Envelope, WireError};

/// The plaintext is padded to whole blocks.
const PADDED: u8 = 0;
/// The plaintext stands as it is.
const VERSION: u8 = 1;
const BLOCK: usize = 16;

/// Version and nonce.
pub(super) const HEAD_BYTES: usize = 1 + NONCE_BYTES;
/// Bytes that sealing adds.
pub(super) const SEAL_BYTES: usize = HEAD_BYTES + TAG_BYTES;

/// Seals what stands in `out` behind the [`HEAD_BYTES`] that were left free at `head_at`.
pub(super) fn seal(out: &mut Vec<u8>, head_at: usize, envelope: Envelope<'_>, aad: &[u8], nonce: [u8; NONCE_BYTES]) {
    let plain_at = head_at.saturating_add(HEAD_BYTES);
    let Some((head, plain)) = out.split_at_mut_checked(plain_at) else { return };
    if let Some((version, place)) = head.get_mut(head_at..).and_then(<[u8]>::split_first_mut) {
        *version = VERSION;
        place.copy_from_slice(&nonce);
    }
    if let Some(tag) = envelope.keyring.seal(&nonce, aad, plain) {
        out.extend_from_slice(&tag);
    }
}

/// Opens `bytes` into `out` with the first key that fits.
pub(super) fn open(
    bytes: &[u8],
    envelope: Envelope<'_>,
    aad: &[u8],
    out: &mut Vec<u8>,
    budget: &mut Budget,
) -> Result<(), WireError> {
    let (&version, behind) = bytes.split_first().ok_or(WireError::Truncated)?;
    if version > VERSION {
        return Err(WireError::NotEncrypted);
    }
    let (nonce, behind) = behind.split_first_chunk::<NONCE_BYTES>().ok_or(WireError::Truncated)?;
    let (sealed, tag) = behind.split_last_chunk::<TAG_BYTES>().ok_or(WireError::Truncated)?;
    // A padded plaintext has at least one block.
    if version == PADDED && sealed.len() < BLOCK {
        return Err(WireError::Truncated);
    }
    // Every key that does not fit costs a look at all of it.
    budget.spend(sealed.len().saturating_mul(envelope.keyring.keys().len().saturating_add(2)))?;
    budget.allocate(sealed.len())?;
    out.clear();
    out.extend_from_slice(sealed);
    if !envelope.keyring.open(nonce, aad, out, tag) {
        return Err(WireError::NoKey);
    }
    if version == PADDED {
        let pad = out.last().copied().map_or(0, usize::from);
        if !(1..=BLOCK).contains(&pad) || pad > out.len() {
            return Err(WireError::Malformed);
        }
        out.truncate(out.len().saturating_sub(pad));
    }
    Ok(())
}
