//! Compression (gossip-wire.md 1.4): LZW, least significant bit first, 8 bits a literal, in a map of two fields.

use alloc::vec;
use alloc::vec::Vec;

use weezl::decode::Decoder;
use weezl::encode::Encoder;
use weezl::{BitOrder, LzwStatus};

use super::fields::{self, Raw};
use super::kind;
use crate::limits;
use crate::msgpack::{Dialect, Writer};
use crate::wire::{Budget, WireError};

const LZW: u8 = 0;
const LITERAL_BITS: u8 = 8;
/// Bytes that a decoder takes for its tables.
const TABLE_BYTES: usize = 60 << 10;

/// Compresses a whole message: type byte, then the map; `None`: that cannot be done.
pub(super) fn compress(plain: &[u8]) -> Option<Vec<u8>> {
    let compressed = Encoder::new(BitOrder::Lsb, LITERAL_BITS).encode(plain).ok()?;
    let mut writer = Writer::append_to(Dialect::Gossip, [kind::COMPRESSED].into());
    writer.map(2).text("Algo").uint(u64::from(LZW)).text("Buf").blob(&compressed);
    Some(writer.finish())
}

/// Takes a compressed message apart behind its type byte, and expands it to at most `max` bytes.
pub(super) fn expand(bytes: &[u8], max: usize, budget: &mut Budget) -> Result<Vec<u8>, WireError> {
    let mut reader = super::reader(bytes);
    let (mut algorithm, mut compressed) = (0, Raw::default());
    reader.structure(&["Algo", "Buf"], |reader, field| {
        match field {
            "Algo" => algorithm = fields::u8(reader)?,
            _ => compressed = reader.raw()?,
        }
        Ok(())
    })?;
    if algorithm != LZW {
        return Err(WireError::Compression(algorithm));
    }
    decode(&compressed, max, budget)
}

/// Expands piece by piece: how much comes out is known only when it is there. The end code is wanted.
fn decode(mut compressed: &[u8], max: usize, budget: &mut Budget) -> Result<Vec<u8>, WireError> {
    budget.spend(compressed.len())?;
    budget.allocate(TABLE_BYTES.saturating_add(limits::EXPANSION_STEP))?;
    let mut decoder = Decoder::new(BitOrder::Lsb, LITERAL_BITS);
    let mut plain = Vec::new();
    let mut piece = vec![0; limits::EXPANSION_STEP];
    loop {
        let step = decoder.decode_bytes(compressed, &mut piece);
        compressed = compressed.get(step.consumed_in..).unwrap_or_default();
        let expanded = piece.get(..step.consumed_out).unwrap_or_default();
        if plain.len().saturating_add(expanded.len()) > max {
            return Err(WireError::TooLarge { max });
        }
        budget.spend(expanded.len())?;
        let wanted = plain.len().saturating_add(expanded.len());
        if wanted > plain.capacity() {
            // What it has and what it gets are held at one time: the last step is one to all that there may be.
            let doubled = wanted.max(plain.capacity().saturating_mul(2));
            let capacity = if doubled > max >> 1 { max } else { doubled };
            budget.allocate(capacity)?;
            plain.reserve_exact(capacity.saturating_sub(plain.len()));
        }
        plain.extend_from_slice(expanded);
        match step.status {
            Ok(LzwStatus::Done) => return Ok(plain),
            // The first call may give nothing although it has read.
            Ok(LzwStatus::Ok) if step.consumed_in > 0 || step.consumed_out > 0 => (),
            Ok(LzwStatus::Ok | LzwStatus::NoProgress) => return Err(WireError::Truncated),
            Err(_) => return Err(WireError::Malformed),
        }
    }
}
