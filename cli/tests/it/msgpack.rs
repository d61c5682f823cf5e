//! Just enough MessagePack to play an agent; written apart from the code under test.

use std::io::{self, Read};

/// A value as it stands on the wire.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Nil,
    Bool(bool),
    Uint(u64),
    Float(f64),
    Str(Vec<u8>),
    Bin(Vec<u8>),
    Array(Vec<Self>),
    Map(Vec<(Self, Self)>),
}

/// Text.
pub(crate) fn text(text: impl AsRef<[u8]>) -> Value {
    Value::Str(text.as_ref().to_vec())
}

/// A map whose keys are texts.
pub(crate) fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Map(entries.into_iter().map(|(key, value)| (text(key), value)).collect())
}

impl Value {
    /// The value of a text key.
    pub(crate) fn field(&self, name: &str) -> &Self {
        let Self::Map(entries) = self else { panic!("{self:?} is no map") };
        let found = entries.iter().find(|(key, _)| *key == text(name));
        &found.unwrap_or_else(|| panic!("no {name} in {self:?}")).1
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Nil => out.push(0xc0),
            Self::Bool(value) => out.push(0xc2 + u8::from(*value)),
            Self::Uint(number @ 0..=0x7f) => out.push(*number as u8),
            Self::Uint(number @ 0x80..=0xff) => out.extend([0xcc, *number as u8]),
            Self::Uint(number @ 0x100..=0xffff) => {
                out.push(0xcd);
                out.extend((*number as u16).to_be_bytes());
            }
            Self::Uint(number) => {
                out.push(0xcf);
                out.extend(number.to_be_bytes());
            }
            Self::Float(number) => {
                out.push(0xcb);
                out.extend(number.to_be_bytes());
            }
            Self::Str(bytes) if bytes.len() < 32 => {
                out.push(0xa0 | bytes.len() as u8);
                out.extend(bytes);
            }
            Self::Str(bytes) => {
                out.push(0xda);
                out.extend((bytes.len() as u16).to_be_bytes());
                out.extend(bytes);
            }
            Self::Bin(bytes) => {
                out.extend([0xc4, bytes.len() as u8]);
                out.extend(bytes);
            }
            Self::Array(values) => {
                out.push(0xdc);
                out.extend((values.len() as u16).to_be_bytes());
                values.iter().for_each(|value| value.encode(out));
            }
            Self::Map(entries) => {
                out.push(0xde);
                out.extend((entries.len() as u16).to_be_bytes());
                for (key, value) in entries {
                    key.encode(out);
                    value.encode(out);
                }
            }
        }
    }

    /// Reads one value; the kinds that clients send.
    pub(crate) fn read(from: &mut impl Read) -> io::Result<Self> {
        let marker = uint(from, 1)? as u8;
        Ok(match marker {
            0x00..=0x7f => Self::Uint(marker.into()),
            0x80..=0x8f => Self::read_map(from, (marker & 0x0f).into())?,
            0xde => {
                let entries = uint(from, 2)?;
                Self::read_map(from, entries)?
            }
            0x90..=0x9f => Self::read_array(from, (marker & 0x0f).into())?,
            0xdc => {
                let values = uint(from, 2)?;
                Self::read_array(from, values)?
            }
            0xa0..=0xbf => Self::Str(bytes(from, (marker & 0x1f).into())?),
            0xc0 => Self::Nil,
            0xc2 | 0xc3 => Self::Bool(marker == 0xc3),
            0xc4..=0xc6 => {
                let length = uint(from, 1 << (marker - 0xc4))?;
                Self::Bin(bytes(from, length)?)
            }
            0xcc..=0xcf => Self::Uint(uint(from, 1 << (marker - 0xcc))?),
            0xd9..=0xdb => {
                let length = uint(from, 1 << (marker - 0xd9))?;
                Self::Str(bytes(from, length)?)
            }
            other => panic!("marker {other:#x} is none that a client sends"),
        })
    }

    fn read_map(from: &mut impl Read, entries: u64) -> io::Result<Self> {
        let entry = |_| Ok((Self::read(from)?, Self::read(from)?));
        (0..entries).map(entry).collect::<io::Result<_>>().map(Self::Map)
    }

    fn read_array(from: &mut impl Read, values: u64) -> io::Result<Self> {
        (0..values).map(|_| Self::read(from)).collect::<io::Result<_>>().map(Self::Array)
    }
}

fn uint(from: &mut impl Read, width: usize) -> io::Result<u64> {
    Ok(bytes(from, width as u64)?.into_iter().fold(0, |number, byte| number << 8 | u64::from(byte)))
}

fn bytes(from: &mut impl Read, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if from.take(length).read_to_end(&mut bytes)? as u64 == length {
        Ok(bytes)
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}
