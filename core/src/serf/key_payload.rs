//! What the key queries and their answers carry (gossip-wire.md 6.7): the same bytes in both encodings.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use zeroize::Zeroizing;

use crate::limits;
use crate::msgpack::{Dialect, Limits, ReadError, Reader, Writer};

const REQUEST: u8 = 7;
const RESPONSE: u8 = 8;
/// Bytes of a key in a request: one that is too long is read, so that it can be refused in words.
const KEY_BYTES_ACCEPTED: usize = 1_024;

/// What a member has to say about its keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KeyAnswer {
    /// Whether it has done what it was asked to do.
    pub(super) result: bool,
    /// Why not; or a warning.
    pub(super) message: String,
    /// Its keys in base64, where they were asked for.
    pub(super) keys: Vec<String>,
    /// Its primary key in base64, where it was asked for.
    pub(super) primary: String,
}

/// Writes what a key query carries; the list asks with an empty key.
pub(super) fn write_request(key: &[u8]) -> Box<[u8]> {
    let mut writer = Writer::append_to(Dialect::Gossip, [REQUEST].into());
    writer.map(1).text("Key").blob(key);
    writer.finish().into()
}

/// Reads what a key query carries.
pub(super) fn read_request(payload: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (&REQUEST, rest) = payload.split_first()? else { return None };
    let mut reader = Reader::new(rest, Limits { length: KEY_BYTES_ACCEPTED, depth: 4 });
    let mut key = Zeroizing::new(Vec::new());
    read_map(&mut reader, |name, reader| {
        match name {
            b"Key" => *key = reader.blob()?.unwrap_or_default(),
            _ => reader.skip()?,
        }
        Ok(())
    })
    .ok()?;
    Some(key)
}

/// Writes an answer.
pub(super) fn write_answer(answer: &KeyAnswer) -> Box<[u8]> {
    let mut writer = Writer::append_to(Dialect::Gossip, [RESPONSE].into());
    writer.map(4).text("Keys");
    if answer.keys.is_empty() {
        writer.nil();
    } else {
        writer.array(answer.keys.len());
        for key in &answer.keys {
            writer.text(key);
        }
    }
    writer.text("Message").text(&answer.message).text("PrimaryKey").text(&answer.primary);
    writer.text("Result").boolean(answer.result);
    writer.finish().into()
}

/// Reads an answer.
pub(super) fn read_answer(payload: &[u8]) -> Option<KeyAnswer> {
    let (&RESPONSE, rest) = payload.split_first()? else { return None };
    let mut reader = Reader::new(rest, Limits { length: payload.len(), depth: 4 });
    let mut answer = KeyAnswer::default();
    read_map(&mut reader, |name, reader| {
        match name {
            b"Keys" => {
                for _ in 0..reader.array()? {
                    let key = lossy(reader)?;
                    if answer.keys.len() < limits::KEYS_MAX {
                        answer.keys.push(key);
                    }
                }
            }
            b"Message" => answer.message = lossy(reader)?,
            b"PrimaryKey" => answer.primary = lossy(reader)?,
            b"Result" => answer.result = reader.boolean()?,
            _ => reader.skip()?,
        }
        Ok(())
    })
    .ok()?;
    Some(answer)
}

fn lossy(reader: &mut Reader<'_>) -> Result<String, ReadError> {
    reader.text().map(|text| String::from_utf8_lossy(text).into_owned())
}

/// Reads a map of named values.
pub(super) fn read_map<'a>(
    reader: &mut Reader<'a>,
    mut each: impl FnMut(&'a [u8], &mut Reader<'a>) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    for _ in 0..reader.map()? {
        let name = reader.text()?;
        each(name, reader)?;
    }
    Ok(())
}
