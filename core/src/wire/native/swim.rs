//! The messages that a node reads most, read by hand: postcard's bytes, in a third of the time that serde takes for them. A
//! test holds both against each other.

use super::Bytes;
use super::entries::Reader;
use crate::coordinate::{self, Coordinate};
use crate::limits;
use crate::types::{Incarnation, Meta, SeqNo};
use crate::wire::{Accused, Ack, Alive, Message, Ping, ReplyTo, WireError};

/// Reads one message, which must take all of `bytes`; `None`: it is none of those that are read here.
pub(super) fn decode(bytes: &[u8]) -> Option<Result<Message, WireError>> {
    let (&kind, rest) = bytes.split_first()?;
    let reader = Reader(rest);
    Some(match kind {
        0 => ping(reader).map(Message::Ping),
        2 => ack(reader).map(Message::Ack),
        4 => accused(reader).map(Message::Suspect),
        5 => alive(reader).map(Message::Alive),
        6 => accused(reader).map(Message::Dead),
        _ => return None,
    })
}

fn ping(mut reader: Reader<'_>) -> Result<Ping, WireError> {
    let (seq, node) = (SeqNo(reader.u32()?), reader.bytes()?);
    let source = if reader.some()? { Some((reader.addr()?, reader.bytes()?)) } else { None };
    end(&reader)?;
    let source = source.map(|(addr, node)| Bytes(node).addressee().map(|node| ReplyTo { addr, node })).transpose()?;
    Ok(Ping { seq, node: Bytes(node).addressee()?, source })
}

fn ack(mut reader: Reader<'_>) -> Result<Ack, WireError> {
    let seq = SeqNo(reader.u32()?);
    let mut coordinate = None;
    if reader.some()? {
        let bytes = reader.take(size_of::<f32>().saturating_mul(coordinate::NUMBERS))?;
        let mut numbers = [0.0; coordinate::NUMBERS];
        for (number, bytes) in numbers.iter_mut().zip(bytes.as_chunks().0) {
            *number = f32::from_le_bytes(*bytes);
        }
        coordinate = Some(Coordinate::from_f32s(&numbers));
    }
    end(&reader)?;
    Ok(Ack { seq, coordinate })
}

fn accused(mut reader: Reader<'_>) -> Result<Accused, WireError> {
    let (node, incarnation, from) = (reader.bytes()?, Incarnation(reader.u32()?), reader.bytes()?);
    end(&reader)?;
    Ok(Accused { node: Bytes(node).member()?, incarnation, from: Bytes(from).member()? })
}

fn alive(mut reader: Reader<'_>) -> Result<Alive, WireError> {
    let (node, incarnation, addr) = (reader.bytes()?, Incarnation(reader.u32()?), reader.addr()?);
    let (meta, versions) = (reader.bytes()?, reader.versions()?);
    end(&reader)?;
    let meta = Meta::new(Bytes(meta).at_most(limits::META_BYTES_ACCEPTED)?);
    Ok(Alive { node: Bytes(node).member()?, incarnation, addr, meta, versions })
}

const fn end(reader: &Reader<'_>) -> Result<(), WireError> {
    if reader.0.is_empty() { Ok(()) } else { Err(WireError::Malformed) }
}
