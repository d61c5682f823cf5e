//! A value of any kind, for those who show what they do not know.

use alloc::vec::Vec;

use super::{ReadError, Reader};

/// A value of any kind. Extensions are not kept.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing.
    Nil,
    /// A truth value.
    Bool(bool),
    /// A number in an unsigned form of more than seven bits.
    Uint(u64),
    /// A number in a signed or one-byte form.
    Int(i64),
    /// A float.
    Float(f64),
    /// Text, not checked for UTF-8.
    Text(Vec<u8>),
    /// A byte string.
    Blob(Vec<u8>),
    /// A list.
    Array(Vec<Self>),
    /// A map, in the order in which it came.
    Map(Vec<(Self, Self)>),
}

impl Value {
    /// Reads one value.
    ///
    /// # Errors
    /// It is cut short, nests deeper than the reader's limit, or is an extension.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, ReadError> {
        let depth = reader.limits().depth;
        Self::read_within(reader, depth)
    }

    fn read_within(reader: &mut Reader<'_>, depth: u8) -> Result<Self, ReadError> {
        let deeper = || depth.checked_sub(1).ok_or(ReadError::Invalid("the value nests too deeply"));
        Ok(match reader.peek()? {
            0xc0 => {
                reader.nil()?;
                Self::Nil
            }
            0xc2 | 0xc3 => Self::Bool(reader.boolean()?),
            0xcc..=0xcf => Self::Uint(reader.uint()?),
            0x00..=0x7f | 0xe0..=0xff | 0xd0..=0xd3 => Self::Int(reader.int()?),
            0xca | 0xcb => Self::Float(reader.float()?),
            0xa0..=0xbf | 0xd9..=0xdb => Self::Text(reader.text()?.to_vec()),
            0xc4..=0xc6 => Self::Blob(reader.text()?.to_vec()),
            0x90..=0x9f | 0xdc | 0xdd => {
                let depth = deeper()?;
                let mut values = Vec::new();
                for _ in 0..reader.array()? {
                    values.push(Self::read_within(reader, depth)?);
                }
                Self::Array(values)
            }
            0x80..=0x8f | 0xde | 0xdf => {
                let depth = deeper()?;
                let mut pairs = Vec::new();
                for _ in 0..reader.map()? {
                    let key = Self::read_within(reader, depth)?;
                    pairs.push((key, Self::read_within(reader, depth)?));
                }
                Self::Map(pairs)
            }
            0xc1 | 0xc7..=0xc9 | 0xd4..=0xd8 => return Err(ReadError::Invalid("an extension or the reserved byte")),
        })
    }

    /// The value at a text key of a map.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Self::Map(pairs) = self else { return None };
        pairs
            .iter()
            .find(|(name, _)| matches!(name, Self::Text(name) if name == key.as_bytes()))
            .map(|(_, value)| value)
    }
}
