//! Streams (gossip-wire.md 2). A plain one has no length before it: where a message ends is known only from its values,
//! which are looked at once each as they come.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::fields::{self, Raw};
use super::{crypt, kind, lzw, push_pull, reader, swim};
use crate::limits;
use crate::msgpack::{Dialect, Limits, ReadError, Reader, Scan, Writer};
use crate::wire::label::{Aad, push_label};
use crate::wire::{Budget, Envelope, Pieces, StreamMessage, WireError};

/// Type byte and length before an encrypted message.
const SEAL_HEADER: usize = 5;

/// Whether a stream behind its label may begin like this.
pub(crate) const fn is_first_byte(byte: u8) -> bool {
    matches!(
        byte,
        kind::PING | kind::ACK | kind::PUSH_PULL | kind::USER | kind::COMPRESSED | kind::ENCRYPTED | kind::ERROR
    )
}

/// How far a plain stream has been looked at.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Progress {
    /// Where the value that is looked for begins, behind the type byte.
    at: usize,
    scan: Scan,
    /// How many values are missing; `None`: the first is not there yet.
    missing: Option<usize>,
    /// Bytes behind the last value.
    tail: usize,
}

impl Default for Progress {
    fn default() -> Self {
        Self::NEW
    }
}

impl Progress {
    /// Nothing has been looked at.
    pub(crate) const NEW: Self = Self { at: 0, scan: Scan::NEW, missing: None, tail: 0 };

    /// Where the message ends that begins there, of which an earlier call has seen the beginning; `None`: it is not all
    /// there.
    fn end(&mut self, received: &Pieces, begin: usize) -> Result<Option<usize>, WireError> {
        let Some(&kind) = received.run(begin).first() else { return Ok(None) };
        let behind = begin.saturating_add(1);
        let bounds = Limits { length: limits::STREAM_EXPANDED_MAX, depth: 4 };
        while self.missing != Some(0) {
            let value = behind.saturating_add(self.at);
            let len = loop {
                let more = received.run(value.saturating_add(self.scan.position()));
                match self.scan.go_on(more, bounds) {
                    Ok(len) => break len,
                    Err(ReadError::Incomplete) if more.is_empty() => return Ok(None),
                    // The next piece, if there is one.
                    Err(ReadError::Incomplete) => {}
                    Err(error @ ReadError::Invalid(_)) => return Err(error.into()),
                }
            };
            self.at = self.at.saturating_add(len);
            self.scan = Scan::NEW;
            self.missing = Some(match self.missing {
                Some(missing) => missing.saturating_sub(1),
                None => self.read_head(kind, &received.range(value, value.saturating_add(len)))?,
            });
        }
        let end = behind.saturating_add(self.at).saturating_add(self.tail);
        Ok((end <= received.len()).then_some(end))
    }

    /// Reads what the first value says of those behind it: how many there are.
    fn read_head(&mut self, kind: u8, value: &[u8]) -> Result<usize, WireError> {
        let (values, tail) = match kind {
            kind::PUSH_PULL => {
                let head = push_pull::Head::read(&mut reader(value))?;
                (head.nodes, head.serf_bytes)
            }
            kind::USER => (0, read_user_head(value)?),
            _ => (0, 0),
        };
        if tail > limits::STREAM_EXPANDED_MAX {
            return Err(WireError::TooLarge { max: limits::STREAM_EXPANDED_MAX });
        }
        self.tail = tail;
        Ok(values)
    }
}

fn read_user_head(value: &[u8]) -> Result<usize, WireError> {
    let mut bytes = 0;
    reader(value).structure(&["UserMsgLen"], |reader, _| {
        bytes = fields::int(reader)?;
        Ok(())
    })?;
    usize::try_from(bytes).map_err(|_| WireError::OutOfRange)
}

/// Seals the one message of a stream's direction. `dialler`: whether the sender opened the stream, and so sends the
/// label header. Upstream compresses every stream, even one that grows by it (gossip-wire.md 1.4); we those that are long.
///
/// # Panics
/// If the label is longer than [`limits::LABEL_BYTES_MAX`].
pub fn seal_stream(
    message: &StreamMessage,
    envelope: Envelope<'_>,
    nonce: [u8; 12],
    dialler: bool,
    compress: bool,
) -> Box<[u8]> {
    let mut writer = Writer::new(Dialect::Gossip);
    write(message, &mut writer);
    let plain = writer.finish();
    let compress = compress && plain.len() >= limits::COMPRESS_STREAM_BYTES_MIN;
    let body = compress.then(|| lzw::compress(&plain)).flatten().unwrap_or(plain);
    let mut out = Vec::new();
    if dialler {
        push_label(envelope.label, &mut out);
    }
    if envelope.keyring.is_empty() {
        out.extend_from_slice(&body);
        return out.into_boxed_slice();
    }
    let len = body.len().saturating_add(crypt::SEAL_BYTES);
    // A length that does not fit is beyond the bound: the receiver refuses it.
    let [a, b, c, d] = u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes();
    let header = [kind::ENCRYPTED, a, b, c, d];
    out.extend_from_slice(&header);
    let head_at = out.len();
    out.resize(head_at.saturating_add(crypt::HEAD_BYTES), 0);
    out.extend_from_slice(&body);
    crypt::seal(&mut out, head_at, envelope, Aad::new(&header, envelope.label).as_bytes(), nonce);
    out.into_boxed_slice()
}

fn write(message: &StreamMessage, writer: &mut Writer) {
    match message {
        StreamMessage::Ping(ping) => swim::write_ping(ping, writer),
        StreamMessage::Ack(seq) => swim::write_ack(*seq, None, writer),
        StreamMessage::PushPull(state) => push_pull::write(state, writer),
        // Native alone; a core never asks for it in this encoding.
        StreamMessage::Digest(_) => debug_assert!(false, "memberlist's encoding has no digest"),
        StreamMessage::Error(text) => {
            let end = text.floor_char_boundary(limits::ERROR_BYTES_MAX);
            writer.raw_byte(kind::ERROR).map(1).text("Error").text(text.get(..end).unwrap_or_default());
        }
        StreamMessage::User(message) => {
            writer.raw_byte(kind::USER).map(1).text("UserMsgLen").uint(message.len() as u64).raw_bytes(message);
        }
    }
}

/// Reads the message of a stream behind the `label` bytes of its label, and takes what it reads: `None` while bytes are
/// missing.
///
/// # Errors
/// Why the stream cannot be used, as soon as the bytes say so.
pub(crate) fn read_stream(
    received: &mut Pieces,
    label: usize,
    envelope: Envelope<'_>,
    progress: &mut Progress,
) -> Result<Option<StreamMessage>, WireError> {
    match received.run(label).first() {
        None => Ok(None),
        Some(&kind::ENCRYPTED) => read_sealed(received, label, envelope),
        Some(_) if !envelope.keyring.is_empty() => Err(WireError::NotEncrypted),
        Some(_) => match progress.end(received, label)? {
            Some(end) => read_plain(received.take().get(label..end).unwrap_or_default()).map(Some),
            None => Ok(None),
        },
    }
}

fn read_sealed(
    received: &mut Pieces,
    label: usize,
    envelope: Envelope<'_>,
) -> Result<Option<StreamMessage>, WireError> {
    if envelope.keyring.is_empty() {
        return Err(WireError::Encrypted);
    }
    let Some(&header) = received.run(label).first_chunk::<SEAL_HEADER>() else { return Ok(None) };
    let [_, len @ ..] = header;
    let len = usize::try_from(u32::from_be_bytes(len)).unwrap_or(usize::MAX);
    if len > limits::STREAM_BYTES_MAX {
        return Err(WireError::TooLong { bytes: u64::try_from(len).unwrap_or(u64::MAX) });
    }
    let begin = label.saturating_add(SEAL_HEADER);
    let end = begin.saturating_add(len);
    if received.len() < end {
        return Ok(None);
    }
    let mut plain = Vec::new();
    let aad = Aad::new(&header, envelope.label);
    let bytes = received.take();
    let sealed = bytes.get(begin..end).unwrap_or_default();
    crypt::open(sealed, envelope, aad.as_bytes(), &mut plain, &mut Budget::stream())?;
    drop(bytes);
    read_plain(&plain).map(Some)
}

/// Reads a message that is all there, in or without its compression.
fn read_plain(bytes: &[u8]) -> Result<StreamMessage, WireError> {
    match bytes.split_first() {
        Some((&kind::COMPRESSED, behind)) => {
            let plain = lzw::expand(behind, limits::STREAM_EXPANDED_MAX, &mut Budget::stream())?;
            read_message(&plain)
        }
        Some(_) => read_message(bytes),
        None => Err(WireError::Truncated),
    }
}

fn read_message(bytes: &[u8]) -> Result<StreamMessage, WireError> {
    let (&kind, behind) = bytes.split_first().ok_or(WireError::Truncated)?;
    let reader = &mut reader(behind);
    Ok(match kind {
        kind::PING => StreamMessage::Ping(swim::read_ping(reader)?),
        kind::ACK => StreamMessage::Ack(swim::read_ack(reader)?.seq),
        kind::PUSH_PULL => StreamMessage::PushPull(push_pull::read(behind, reader)?),
        kind::ERROR => StreamMessage::Error(read_error(reader)?),
        kind::USER => StreamMessage::User(read_user(behind)?),
        _ => return Err(WireError::Unexpected),
    })
}

fn read_error(reader: &mut Reader<'_>) -> Result<String, WireError> {
    let mut text = Raw::default();
    reader.structure(&["Error"], |reader, _| {
        text = reader.raw()?;
        Ok(())
    })?;
    let text = text.get(..limits::ERROR_BYTES_MAX).unwrap_or(&text);
    Ok(String::from_utf8_lossy(text).into_owned())
}

fn read_user(bytes: &[u8]) -> Result<Box<[u8]>, WireError> {
    let mut reader = reader(bytes);
    reader.skip()?;
    let (head, behind) = bytes.split_at_checked(reader.position()).ok_or(WireError::Truncated)?;
    behind.get(..read_user_head(head)?).map(Box::from).ok_or(WireError::Truncated)
}
