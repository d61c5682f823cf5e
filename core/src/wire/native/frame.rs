//! What stands around native messages: label, header, seal or checksum, and the parts of a packet.
//!
//! ```text
//! packet:  [f4 len label] b5 version 0 crc32(4)            parts
//!          [f4 len label] b5 version 1 nonce(12)           sealed parts, tag(16)
//! part:    len(2) message
//! stream:  [f4 len label] b5 version 0 len(4)              message
//!          [f4 len label] b5 version 1 len(4) nonce(12)    sealed message, tag(16)
//! ```
//!
//! Numbers are big-endian. Checksum and seal cover the header from `b5` on and the label. Of a stream only the
//! dialler sends the label; both directions are sealed with it.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{decode_stream, decode_within, encode_stream};
use crate::keyring::{NONCE_BYTES, TAG_BYTES};
use crate::limits;
use crate::wire::label::{Aad, check_label, label_overhead, push_label, split_label};
use crate::wire::{Budget, Envelope, Message, Received, StreamMessage, WireError};

/// First byte of everything native, behind the label.
pub const MAGIC: u8 = 0xb5;
/// Version of the native encoding.
pub const VERSION: u8 = 1;
/// Bytes that each message costs beside its own.
pub const PART_OVERHEAD: usize = 2;

const PLAIN: u8 = 0;
const SEALED: u8 = 1;
const PACKET_HEADER: usize = 3;
const STREAM_HEADER: usize = 7;
const CRC_BYTES: usize = 4;
const SEAL_BYTES: usize = NONCE_BYTES + TAG_BYTES;

/// The messages of a packet.
#[derive(Debug)]
pub struct Packet {
    /// In order.
    pub messages: Vec<Message>,
    /// How many parts could not be read.
    pub bad: u32,
}

/// Bytes of a packet that are no messages.
pub const fn packet_overhead(envelope: Envelope<'_>) -> usize {
    let check = if envelope.keyring.is_empty() { CRC_BYTES } else { SEAL_BYTES };
    label_overhead(envelope.label).saturating_add(PACKET_HEADER).saturating_add(check)
}

/// Seals a packet whose messages are encoded in `parts`.
///
/// # Panics
/// If there are more than [`limits::PARTS_MAX`] parts, if one is empty or longer than a datagram, or if the label is
/// longer than [`limits::LABEL_BYTES_MAX`]: the sender packs by those bounds.
pub fn seal_packet(parts: &[&[u8]], envelope: Envelope<'_>, nonce: [u8; 12]) -> Box<[u8]> {
    seal_parts(parts.iter().copied(), envelope, nonce)
}

/// Seals a packet like [`seal_packet`], of parts that stand in no slice.
///
/// # Panics
/// As [`seal_packet`] does.
pub fn seal_parts<'a>(
    parts: impl Iterator<Item = &'a [u8]> + Clone,
    envelope: Envelope<'_>,
    nonce: [u8; 12],
) -> Box<[u8]> {
    let (count, body) = parts.clone().fold((0_usize, 0_usize), |(count, body), part| {
        (count.saturating_add(1), body.saturating_add(PART_OVERHEAD).saturating_add(part.len()))
    });
    assert!(count <= limits::PARTS_MAX, "a packet of {count} parts");
    let mut out = Vec::with_capacity(packet_overhead(envelope).saturating_add(body));
    push_label(envelope.label, &mut out);
    let sealer = envelope.keyring.sealer();
    let header = [MAGIC, VERSION, if sealer.is_some() { SEALED } else { PLAIN }];
    out.extend_from_slice(&header);
    let check_at = out.len();
    match sealer {
        Some(_) => out.extend_from_slice(&nonce),
        None => out.extend_from_slice(&[0; CRC_BYTES]),
    }
    let body_at = out.len();
    for part in parts {
        let len = u16::try_from(part.len()).ok().filter(|len| *len > 0);
        assert!(len.is_some(), "a part of {} bytes", part.len());
        out.extend_from_slice(&len.unwrap_or_default().to_be_bytes());
        out.extend_from_slice(part);
    }
    let body = out.get_mut(body_at..).unwrap_or_default();
    if let Some(cipher) = sealer {
        let tag = cipher.seal(&nonce, Aad::new(&header, envelope.label).as_bytes(), body);
        out.extend_from_slice(&tag);
    } else {
        let crc = checksum(&header, envelope.label, body).to_be_bytes();
        if let Some(place) = out.get_mut(check_at..body_at) {
            place.copy_from_slice(&crc);
        }
    }
    out.into_boxed_slice()
}

/// Opens a packet: the messages, and how many of its parts could not be read.
///
/// # Errors
/// Why nothing of the packet can be used; a part that cannot be read is no error.
pub fn open_packet(bytes: &[u8], envelope: Envelope<'_>) -> Result<Packet, WireError> {
    let mut messages = Vec::new();
    let bad = open_packet_with(bytes, envelope, &mut Vec::new(), &mut messages)?;
    Ok(Packet { messages, bad })
}

/// Opens a packet like [`open_packet`] and appends its messages. A plain packet is read in place, a sealed one is
/// opened in `scratch`, whose content is lost.
///
/// # Errors
/// Those of [`open_packet`]; `messages` is then as it was.
pub fn open_packet_with(
    bytes: &[u8],
    envelope: Envelope<'_>,
    scratch: &mut Vec<u8>,
    messages: &mut Vec<Message>,
) -> Result<u32, WireError> {
    let (label, behind) = split_label(bytes)?.ok_or(WireError::Truncated)?;
    check_label(label, envelope.label)?;
    read_packet(behind, envelope, scratch, &mut Budget::datagram(bytes.len()), &mut |message| messages.push(message))
}

/// Reads a packet behind its label and hands out its messages, like [`open_packet_with`].
///
/// # Errors
/// Those of [`open_packet`]; no message has then been handed out.
pub(crate) fn read_packet(
    bytes: &[u8],
    envelope: Envelope<'_>,
    scratch: &mut Vec<u8>,
    budget: &mut Budget,
    take: &mut impl FnMut(Message),
) -> Result<u32, WireError> {
    let (header, bytes) = bytes.split_first_chunk::<PACKET_HEADER>().ok_or_else(|| short_header(bytes))?;
    if is_sealed(*header, envelope)? {
        let aad = Aad::new(header, envelope.label);
        budget.allocate(bytes.len())?;
        scratch.clear();
        scratch.extend_from_slice(bytes);
        Ok(read_parts(open_in_place(scratch, envelope, &aad)?, budget, take))
    } else {
        let (crc, body) = bytes.split_first_chunk::<CRC_BYTES>().ok_or(WireError::Truncated)?;
        if u32::from_be_bytes(*crc) != checksum(header, envelope.label, body) {
            return Err(WireError::Checksum);
        }
        Ok(read_parts(body, budget, take))
    }
}

/// Seals one stream frame. `dialler`: whether the sender opened the stream, and so sends the label header.
///
/// # Panics
/// If the label is longer than [`limits::LABEL_BYTES_MAX`].
pub fn seal_stream(message: &StreamMessage, envelope: Envelope<'_>, nonce: [u8; 12], dialler: bool) -> Box<[u8]> {
    let mut out = Vec::new();
    if dialler {
        push_label(envelope.label, &mut out);
    }
    let sealer = envelope.keyring.sealer();
    let header_at = out.len();
    out.extend_from_slice(&[MAGIC, VERSION, if sealer.is_some() { SEALED } else { PLAIN }, 0, 0, 0, 0]);
    let body_at = out.len();
    if sealer.is_some() {
        out.extend_from_slice(&nonce);
    }
    let message_at = out.len();
    encode_stream(message, &mut out);
    let tag_bytes = if sealer.is_some() { TAG_BYTES } else { 0 };
    let len = out.len().saturating_sub(body_at).saturating_add(tag_bytes);
    // A length that does not fit is beyond the bound: the receiver refuses it.
    let len = u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes();
    if let Some(place) = out.get_mut(body_at.saturating_sub(len.len())..body_at) {
        place.copy_from_slice(&len);
    }
    if let Some(cipher) = sealer {
        let (head, body) = out.split_at_mut_checked(message_at).unwrap_or_default();
        let header = head.get(header_at..body_at).unwrap_or_default();
        let tag = cipher.seal(&nonce, Aad::new(header, envelope.label).as_bytes(), body);
        out.extend_from_slice(&tag);
    }
    out.into_boxed_slice()
}

/// Reads the one frame of a stream direction: `None` while bytes are missing. `dialler`: whether the sender opened
/// the stream. Until the frame is whole only its header is looked at, so it is cheap to ask again. A sealed one is opened
/// where it stands.
///
/// # Errors
/// Why the stream cannot be used, as soon as the bytes say so; bytes behind the frame are [`WireError::Malformed`].
/// Label header, header and body together may take [`limits::STREAM_BYTES_MAX`].
pub fn open_stream(
    bytes: &mut [u8],
    envelope: Envelope<'_>,
    dialler: bool,
) -> Result<Option<StreamMessage>, WireError> {
    let Some(Frame { header, body, len, sealed }) = read_header(bytes, envelope, dialler)? else { return Ok(None) };
    if body.len() > len {
        return Err(WireError::Malformed);
    }
    if body.len() < len {
        return Ok(None);
    }
    let (aad, body_at) = (Aad::new(header, envelope.label), bytes.len().saturating_sub(len));
    let body = bytes.get_mut(body_at..).unwrap_or_default();
    let plain = if sealed { open_in_place(body, envelope, &aad)? } else { body };
    decode_stream(plain)
        .map(Some)
        // The frame is whole: what ends too early in it never gets more bytes.
        .map_err(|error| if error == WireError::Truncated { WireError::Malformed } else { error })
}

/// How long the one frame of a stream direction is with all that stands before it; `None`: its header is not there yet.
///
/// # Errors
/// As those of [`open_stream`] that the header shows.
pub(crate) fn stream_len(start: &[u8], envelope: Envelope<'_>, dialler: bool) -> Result<Option<usize>, WireError> {
    let before_body = |frame: &Frame<'_>| start.len().saturating_sub(frame.body.len());
    Ok(read_header(start, envelope, dialler)?.map(|frame| frame.len.saturating_add(before_body(&frame))))
}

/// A stream frame of which the header is there.
struct Frame<'a> {
    header: &'a [u8; STREAM_HEADER],
    /// What has come behind the header.
    body: &'a [u8],
    /// Bytes that the body will have.
    len: usize,
    sealed: bool,
}

fn read_header<'a>(bytes: &'a [u8], envelope: Envelope<'_>, dialler: bool) -> Result<Option<Frame<'a>>, WireError> {
    let mut rest = bytes;
    if dialler {
        if bytes.is_empty() {
            return Ok(None);
        }
        let Some((label, behind)) = split_label(bytes)? else { return Ok(None) };
        check_label(label, envelope.label)?;
        rest = behind;
    }
    let Some((header, body)) = rest.split_first_chunk::<STREAM_HEADER>() else {
        let error = short_header(rest);
        return if error == WireError::Truncated { Ok(None) } else { Err(error) };
    };
    let [magic, version, kind, len @ ..] = *header;
    let before_body = bytes.len().saturating_sub(body.len());
    let len = usize::try_from(u32::from_be_bytes(len)).unwrap_or(usize::MAX);
    let total = len.saturating_add(before_body);
    let sealed = is_sealed([magic, version, kind], envelope)?;
    if total > limits::STREAM_BYTES_MAX {
        return Err(WireError::TooLong { bytes: u64::try_from(total).unwrap_or(u64::MAX) });
    }
    if sealed && len < SEAL_BYTES {
        return Err(WireError::Malformed);
    }
    Ok(Some(Frame { header, body, len, sealed }))
}

/// Opens `nonce | ciphertext | tag` where it stands.
fn open_in_place<'a>(bytes: &'a mut [u8], envelope: Envelope<'_>, aad: &Aad) -> Result<&'a [u8], WireError> {
    let (nonce, bytes) = bytes.split_first_chunk_mut::<NONCE_BYTES>().ok_or(WireError::Truncated)?;
    let (sealed, tag) = bytes.split_last_chunk_mut::<TAG_BYTES>().ok_or(WireError::Truncated)?;
    if envelope.keyring.open(nonce, aad.as_bytes(), sealed, tag) { Ok(sealed) } else { Err(WireError::NoKey) }
}

/// Reads the parts of a packet. A bad one does not disturb its neighbours; where the lengths stop making sense, or
/// behind [`limits::PARTS_MAX`] parts, the rest counts as one.
fn read_parts(mut rest: &[u8], budget: &mut Budget, take: &mut impl FnMut(Message)) -> u32 {
    let mut bad = 0_u32;
    for _ in 0..limits::PARTS_MAX {
        if rest.is_empty() {
            return bad;
        }
        let part = rest
            .split_first_chunk::<PART_OVERHEAD>()
            .and_then(|(len, behind)| behind.split_at_checked(usize::from(u16::from_be_bytes(*len))));
        let Some((part, behind)) = part else { return bad.saturating_add(1) };
        // A list of messages doubles when it is full.
        let room = budget.allocate(size_of::<Received>().saturating_mul(2));
        match room.and_then(|()| decode_within(part, budget)) {
            Ok(message) => take(message),
            Err(_) => bad = bad.saturating_add(1),
        }
        rest = behind;
    }
    if rest.is_empty() { bad } else { bad.saturating_add(1) }
}

/// Whether the packet or frame is sealed; an error if it is not what the ring asks for.
const fn is_sealed([magic, version, kind]: [u8; 3], envelope: Envelope<'_>) -> Result<bool, WireError> {
    match (magic, version, kind) {
        (MAGIC, VERSION, PLAIN) if envelope.keyring.is_empty() => Ok(false),
        (MAGIC, VERSION, PLAIN) => Err(WireError::NotEncrypted),
        (MAGIC, VERSION, SEALED) if envelope.keyring.is_empty() => Err(WireError::Encrypted),
        (MAGIC, VERSION, SEALED) => Ok(true),
        (MAGIC, VERSION, kind) => Err(WireError::Kind(kind)),
        (MAGIC, version, _) => Err(WireError::Version(version)),
        (magic, _, _) => Err(WireError::Magic(magic)),
    }
}

/// What is wrong with a header that has not all of its bytes.
const fn short_header(bytes: &[u8]) -> WireError {
    match bytes {
        [] | [MAGIC] | [MAGIC, VERSION] | [MAGIC, VERSION, PLAIN | SEALED, ..] => WireError::Truncated,
        [MAGIC, VERSION, kind, ..] => WireError::Kind(*kind),
        [MAGIC, version, ..] => WireError::Version(*version),
        [magic, ..] => WireError::Magic(*magic),
    }
}

fn checksum(header: &[u8], label: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(label);
    hasher.update(body);
    hasher.finalize()
}
