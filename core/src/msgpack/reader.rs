//! Reading: every form of either dialect, every announced length checked before it is believed.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::scan::Head;
use super::{Limits, ReadError};

/// Reads values one after another. Nil reads as the zero value of whatever is wanted.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    limits: Limits,
}

impl<'a> Reader<'a> {
    /// Begins at the start of `bytes`.
    pub const fn new(bytes: &'a [u8], limits: Limits) -> Self {
        Self { bytes, at: 0, limits }
    }

    /// How many bytes have been read.
    pub const fn position(&self) -> usize {
        self.at
    }

    /// How many bytes are left.
    pub const fn left(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    /// The limits that hold.
    pub const fn limits(&self) -> Limits {
        self.limits
    }

    /// The next byte, not taken.
    ///
    /// # Errors
    /// There is none.
    pub fn peek(&self) -> Result<u8, ReadError> {
        self.bytes.get(self.at).copied().ok_or(ReadError::Incomplete)
    }

    /// Takes nil if it is next.
    ///
    /// # Errors
    /// There is no byte.
    pub fn nil(&mut self) -> Result<bool, ReadError> {
        let nil = self.peek()? == 0xc0;
        if nil {
            self.at = self.at.saturating_add(1);
        }
        Ok(nil)
    }

    /// The number of pairs of a map.
    ///
    /// # Errors
    /// It is no map, or has too many pairs.
    pub fn map(&mut self) -> Result<usize, ReadError> {
        let len = match self.byte()? {
            0xc0 => 0,
            byte @ 0x80..=0x8f => u64::from(byte & 0x0f),
            0xde => self.big_endian(2)?,
            0xdf => self.big_endian(4)?,
            _ => return Err(ReadError::Invalid("a map is wanted")),
        };
        self.length(len)
    }

    /// The number of values of a list.
    ///
    /// # Errors
    /// It is no list, or has too many values.
    pub fn array(&mut self) -> Result<usize, ReadError> {
        let len = match self.byte()? {
            0xc0 => 0,
            byte @ 0x90..=0x9f => u64::from(byte & 0x0f),
            0xdc => self.big_endian(2)?,
            0xdd => self.big_endian(4)?,
            _ => return Err(ReadError::Invalid("a list is wanted")),
        };
        self.length(len)
    }

    /// Reads a struct: a map with any order of keys, or a list in the order of `fields` (rpc.md 4). `visit` gets
    /// each known key with the reader in front of its value; unknown keys and surplus values are skipped.
    ///
    /// # Errors
    /// It is neither, or a value is not what `visit` wants.
    pub fn structure<'f>(
        &mut self,
        fields: &'f [&'f str],
        mut visit: impl FnMut(&mut Self, &'f str) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        match self.peek()? {
            0x90..=0x9f | 0xdc | 0xdd => {
                for index in 0..self.array()? {
                    match fields.get(index) {
                        Some(field) => visit(self, field)?,
                        None => self.skip()?,
                    }
                }
            }
            _ => {
                for _ in 0..self.map()? {
                    let key = self.text()?;
                    match fields.iter().find(|field| field.as_bytes() == key) {
                        Some(field) => visit(self, field)?,
                        None => self.skip()?,
                    }
                }
            }
        }
        Ok(())
    }

    /// Text in any form; not checked for UTF-8.
    ///
    /// # Errors
    /// It is no text, or too long.
    pub fn text(&mut self) -> Result<&'a [u8], ReadError> {
        let len = match self.byte()? {
            0xc0 => 0,
            byte @ 0xa0..=0xbf => u64::from(byte & 0x1f),
            0xd9 | 0xc4 => self.big_endian(1)?,
            0xda | 0xc5 => self.big_endian(2)?,
            0xdb | 0xc6 => self.big_endian(4)?,
            _ => return Err(ReadError::Invalid("text is wanted")),
        };
        let len = self.length(len)?;
        self.take(len)
    }

    /// A byte string in any form, a list of small numbers included; `None` for nil.
    ///
    /// # Errors
    /// It is no byte string, or too long.
    pub fn blob(&mut self) -> Result<Option<Vec<u8>>, ReadError> {
        if self.nil()? { Ok(None) } else { self.raw().map(|bytes| Some(bytes.into_owned())) }
    }

    /// Text or a byte string in any form, borrowed where it stands in one piece; nil reads as empty.
    ///
    /// # Errors
    /// It is neither, or too long.
    pub fn raw(&mut self) -> Result<Cow<'a, [u8]>, ReadError> {
        match self.peek()? {
            0x90..=0x9f | 0xdc | 0xdd => {
                let mut bytes = Vec::new();
                for _ in 0..self.array()? {
                    let byte = u8::try_from(self.uint()?).map_err(|_| ReadError::Invalid("a byte is wanted"))?;
                    bytes.push(byte);
                }
                Ok(Cow::Owned(bytes))
            }
            _ => self.text().map(Cow::Borrowed),
        }
    }

    /// A number that is not negative, in any integer form; an integral float too (rpc.md 2, JavaScript clients).
    ///
    /// # Errors
    /// It is no such number.
    pub fn uint(&mut self) -> Result<u64, ReadError> {
        let negative = ReadError::Invalid("a number that is not negative is wanted");
        match self.integer()? {
            Integer::Unsigned(number) => Ok(number),
            Integer::Signed(number) => u64::try_from(number).map_err(|_| negative),
        }
    }

    /// A number in any integer form; one of 2^63 or more wraps, as upstream's does.
    ///
    /// # Errors
    /// It is no number.
    pub fn int(&mut self) -> Result<i64, ReadError> {
        Ok(match self.integer()? {
            Integer::Unsigned(number) => number.cast_signed(),
            Integer::Signed(number) => number,
        })
    }

    fn integer(&mut self) -> Result<Integer, ReadError> {
        Ok(match self.byte()? {
            0xc0 => Integer::Unsigned(0),
            byte @ 0x00..=0x7f => Integer::Unsigned(u64::from(byte)),
            byte @ 0xe0..=0xff => Integer::Signed(i64::from(byte.cast_signed())),
            0xcc => Integer::Unsigned(self.big_endian(1)?),
            0xcd => Integer::Unsigned(self.big_endian(2)?),
            0xce => Integer::Unsigned(self.big_endian(4)?),
            0xcf => Integer::Unsigned(self.big_endian(8)?),
            0xd0 => self.signed(1)?,
            0xd1 => self.signed(2)?,
            0xd2 => self.signed(4)?,
            0xd3 => self.signed(8)?,
            0xcb => integral(f64::from_bits(self.big_endian(8)?))?,
            _ => return Err(ReadError::Invalid("a number is wanted")),
        })
    }

    fn signed(&mut self, width: usize) -> Result<Integer, ReadError> {
        let raw = self.big_endian(width)?;
        // Move the sign to the top, then back with sign extension.
        let shift = u32::try_from(width.saturating_mul(8)).map_or(0, |bits| 64_u32.saturating_sub(bits));
        Ok(Integer::Signed(raw.wrapping_shl(shift).cast_signed().wrapping_shr(shift)))
    }

    /// A truth value; 0, 1 and nil count as one.
    ///
    /// # Errors
    /// It is none.
    pub fn boolean(&mut self) -> Result<bool, ReadError> {
        match self.byte()? {
            0xc0 | 0xc2 | 0x00 => Ok(false),
            0xc3 | 0x01 => Ok(true),
            _ => Err(ReadError::Invalid("a truth value is wanted")),
        }
    }

    /// A 64-bit float.
    ///
    /// # Errors
    /// It is none.
    pub fn float(&mut self) -> Result<f64, ReadError> {
        match self.byte()? {
            0xc0 => Ok(0.0),
            0xcb => Ok(f64::from_bits(self.big_endian(8)?)),
            0xca => {
                let bits = u32::try_from(self.big_endian(4)?).unwrap_or_default();
                Ok(f64::from(f32::from_bits(bits)))
            }
            _ => Err(ReadError::Invalid("a float is wanted")),
        }
    }

    /// Passes over one value of any kind, without recursion.
    ///
    /// # Errors
    /// It is cut short, too long, or begins with the reserved byte.
    pub fn skip(&mut self) -> Result<(), ReadError> {
        let mut pending: u64 = 1;
        while pending > 0 {
            pending = pending.saturating_sub(1).saturating_add(self.skip_one()?);
        }
        Ok(())
    }

    /// Passes over one value without those that it holds; how many they are.
    fn skip_one(&mut self) -> Result<u64, ReadError> {
        let head = Head::of(self.byte()?)?;
        let number = self.big_endian(head.width)?;
        let (values, bytes) = head.holds(number);
        let bytes = self.limits.length(bytes)?;
        self.take(bytes)?;
        Ok(values)
    }

    pub(super) fn byte(&mut self) -> Result<u8, ReadError> {
        let byte = self.peek()?;
        self.at = self.at.saturating_add(1);
        Ok(byte)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], ReadError> {
        let end = self.at.saturating_add(len);
        let bytes = self.bytes.get(self.at..end).ok_or(ReadError::Incomplete)?;
        self.at = end;
        Ok(bytes)
    }

    fn big_endian(&mut self, width: usize) -> Result<u64, ReadError> {
        Ok(self.take(width)?.iter().fold(0, |number, &byte| number.wrapping_shl(8) | u64::from(byte)))
    }

    fn length(&self, len: u64) -> Result<usize, ReadError> {
        self.limits.length(len)
    }
}

enum Integer {
    Unsigned(u64),
    Signed(i64),
}

/// The number that an integral float of at most 2^53 stands for.
fn integral(float: f64) -> Result<Integer, ReadError> {
    let bits = float.to_bits();
    let exponent = (bits >> 52) & 0x7ff;
    let mantissa = (bits & ((1 << 52) - 1)) | (1 << 52);
    if bits << 1 == 0 {
        return Ok(Integer::Unsigned(0));
    }
    // The value is mantissa * 2^(exponent - 1075): integral only if no set bit is shifted out.
    let shift = u32::try_from(1075_u64.saturating_sub(exponent)).unwrap_or(64);
    let whole = mantissa.checked_shr(shift).unwrap_or_default();
    if exponent > 1075 || whole.checked_shl(shift) != Some(mantissa) {
        return Err(ReadError::Invalid("a whole number is wanted"));
    }
    let magnitude = whole.cast_signed();
    Ok(Integer::Signed(if bits >> 63 == 1 { magnitude.wrapping_neg() } else { magnitude }))
}
