//! Writing: the smallest form of each number, nil for what is absent.

use alloc::vec::Vec;

use super::Dialect;

/// Appends values to a buffer. Keys of maps are written in the order in which the caller gives them.
#[derive(Clone, Debug)]
pub struct Writer {
    dialect: Dialect,
    bytes: Vec<u8>,
}

impl Writer {
    /// Makes an empty writer.
    pub const fn new(dialect: Dialect) -> Self {
        Self { dialect, bytes: Vec::new() }
    }

    /// Makes a writer that appends to `bytes`.
    pub const fn append_to(dialect: Dialect, bytes: Vec<u8>) -> Self {
        Self { dialect, bytes }
    }

    /// Writes a byte that is no MessagePack: what kind of message follows.
    pub fn raw_byte(&mut self, byte: u8) -> &mut Self {
        self.byte(byte)
    }

    /// Writes bytes that are no MessagePack, or are encoded already.
    pub fn raw_bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Begins a map of `len` pairs; each pair is a text key and a value.
    pub fn map(&mut self, len: usize) -> &mut Self {
        match len {
            0..16 => self.byte(0x80 | low(len)),
            16..0x1_0000 => self.tagged(0xde, len, 2),
            _ => self.tagged(0xdf, len, 4),
        }
    }

    /// Begins a list of `len` values.
    pub fn array(&mut self, len: usize) -> &mut Self {
        match len {
            0..16 => self.byte(0x90 | low(len)),
            16..0x1_0000 => self.tagged(0xdc, len, 2),
            _ => self.tagged(0xdd, len, 4),
        }
    }

    /// Writes text; it need not be UTF-8.
    pub fn text(&mut self, text: impl AsRef<[u8]>) -> &mut Self {
        let text = text.as_ref();
        match text.len() {
            0..32 => self.byte(0xa0 | low(text.len())),
            32..0x100 if self.dialect == Dialect::Rpc => self.tagged(0xd9, text.len(), 1),
            32..0x1_0000 => self.tagged(0xda, text.len(), 2),
            _ => self.tagged(0xdb, text.len(), 4),
        };
        self.bytes.extend_from_slice(text);
        self
    }

    /// Writes a byte string.
    pub fn blob(&mut self, bytes: &[u8]) -> &mut Self {
        if self.dialect == Dialect::Gossip {
            return self.text(bytes);
        }
        match bytes.len() {
            0..0x100 => self.tagged(0xc4, bytes.len(), 1),
            0x100..0x1_0000 => self.tagged(0xc5, bytes.len(), 2),
            _ => self.tagged(0xc6, bytes.len(), 4),
        };
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Writes a byte string, or nil where there is none.
    pub fn optional_blob(&mut self, bytes: Option<&[u8]>) -> &mut Self {
        match bytes {
            Some(bytes) => self.blob(bytes),
            None => self.nil(),
        }
    }

    /// Writes an unsigned number.
    pub fn uint(&mut self, number: u64) -> &mut Self {
        let (tag, width) = match number {
            0..0x80 => (None, 1),
            0x80..0x100 => (Some(0xcc), 1),
            0x100..0x1_0000 => (Some(0xcd), 2),
            0x1_0000..0x1_0000_0000 => (Some(0xce), 4),
            _ => (Some(0xcf), 8),
        };
        self.bytes.extend(tag);
        self.big_endian(number, width)
    }

    /// Writes a signed number: one that is not negative in the unsigned form (gossip-wire.md 3.3, the 0.5 way).
    pub fn int(&mut self, number: i64) -> &mut Self {
        let Err(()) = u64::try_from(number).map(|number| _ = self.uint(number)).map_err(|_| ()) else { return self };
        let (tag, width) = match number {
            -32.. => (None, 1),
            -0x80.. => (Some(0xd0), 1),
            -0x8000.. => (Some(0xd1), 2),
            -0x8000_0000.. => (Some(0xd2), 4),
            _ => (Some(0xd3), 8),
        };
        self.bytes.extend(tag);
        self.big_endian(number.cast_unsigned(), width)
    }

    /// Writes a truth value.
    pub fn boolean(&mut self, value: bool) -> &mut Self {
        self.byte(if value { 0xc3 } else { 0xc2 })
    }

    /// Writes nil.
    pub fn nil(&mut self) -> &mut Self {
        self.byte(0xc0)
    }

    /// Writes a 64-bit float.
    pub fn float(&mut self, number: f64) -> &mut Self {
        self.byte(0xcb);
        self.bytes.extend_from_slice(&number.to_be_bytes());
        self
    }

    /// The bytes written.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }

    fn byte(&mut self, byte: u8) -> &mut Self {
        self.bytes.push(byte);
        self
    }

    fn tagged(&mut self, tag: u8, len: usize, width: usize) -> &mut Self {
        self.bytes.push(tag);
        self.big_endian(len as u64, width)
    }

    fn big_endian(&mut self, number: u64, width: usize) -> &mut Self {
        let bytes = number.to_be_bytes();
        self.bytes.extend(bytes.iter().skip(bytes.len().saturating_sub(width)));
        self
    }
}

/// The low byte of a length that is known to be small.
fn low(len: usize) -> u8 {
    u8::try_from(len).unwrap_or_default()
}
