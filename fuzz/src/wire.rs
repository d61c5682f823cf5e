//! Datagrams and streams, layer by layer: what each layer lets through is given to the next without the one before.

use villein_core::keyring::{Key, Keyring};
use villein_core::limits;
use villein_core::wire::memberlist::{self, Progress};
use villein_core::wire::{
    Budget, Encoding, Envelope, Incoming, Message, Pieces, StreamMessage, WireError, native, open_stream, seal_stream,
};
use villein_runtime_mio::reread_mdns;

use crate::measure::within;
use crate::pick::Pick;

/// Type bytes of memberlist's encoding (gossip-wire.md 1).
const COMPOUND: u8 = 7;
const COMPRESSED: u8 = 9;
const NONCE: [u8; 12] = [7; 12];

fn ring(keys: usize) -> Keyring {
    let lengths = [16, 24, 32];
    let key = |number: usize| Key::new(&[7 + number as u8; 32][..lengths[number % lengths.len()]]).expect("a length");
    Keyring::new((0..keys).map(key).collect())
}

/// Opens a datagram; what may be used of it is written again, in both encodings.
fn open(bytes: &[u8], envelope: Envelope<'_>) {
    let bytes = &bytes[..bytes.len().min(limits::DATAGRAM_BYTES_MAX)];
    let mut incoming = Incoming::default();
    let mut budget = Budget::datagram(bytes.len());
    let read = within(limits::DATAGRAM_ALLOCATED_MAX, || incoming.open(bytes, envelope, &mut budget));
    assert!(budget.allocated() <= limits::DATAGRAM_ALLOCATED_MAX, "{} bytes are allocated", budget.allocated());
    assert!(read.is_ok() || incoming.messages.is_empty(), "messages of a packet that cannot be used");
    for received in &incoming.messages {
        rewrite(&received.message);
    }
}

/// Reads what has come on a stream so far.
fn read(
    received: &mut Pieces,
    envelope: Envelope<'_>,
    dialler: bool,
    progress: &mut Progress,
) -> Result<Option<StreamMessage>, WireError> {
    within(2 * limits::STREAM_EXPANDED_MAX, || open_stream(received, envelope, dialler, progress))
}

/// Reads a stream that comes all at once.
fn stream_of(bytes: &[u8], envelope: Envelope<'_>, dialler: bool) -> Result<Option<StreamMessage>, WireError> {
    read(&mut Pieces::from(bytes), envelope, dialler, &mut Progress::default())
}

/// What was read is written in either encoding, reads as the same, and writes as the same.
fn rewrite(message: &Message) {
    let mut once = Vec::new();
    native::encode(message, &mut once);
    let again = native::decode(&once).unwrap_or_else(|error| panic!("{message:?} is written and not read: {error}"));
    let mut twice = Vec::new();
    native::encode(&again, &mut twice);
    assert_eq!(once, twice, "{message:?}");
    // Memberlist's encoding cannot say all of it; what it has said stays the same.
    if let Some((said, _)) = in_memberlist(message)
        && let Some((again, once)) = in_memberlist(&said)
    {
        let (_, twice) = in_memberlist(&again).unwrap_or_else(|| panic!("{again:?} is written and not read"));
        assert_eq!(once, twice, "{message:?}");
    }
}

/// A message as memberlist's encoding says it, with the bytes; `None`: it is not read.
fn in_memberlist(message: &Message) -> Option<(Message, Vec<u8>)> {
    let mut bytes = Vec::new();
    memberlist::encode(message, &mut bytes);
    let said = memberlist::decode(&bytes, &mut Budget::datagram(bytes.len())).ok()?;
    Some((said, bytes))
}

/// A datagram under one of some keyrings and labels.
pub(crate) fn packet(bytes: &[u8]) {
    let mut pick = Pick::new(bytes);
    let (keyring, label) = (ring(pick.below(4)), pick.one_of(&[&b""[..], b"blue"]));
    open(pick.rest(), Envelope { keyring: &keyring, label });
}

/// A datagram and a stream behind a label header of any length and text.
pub(crate) fn label(bytes: &[u8]) {
    let mut pick = Pick::new(bytes);
    let label = pick.bytes();
    let keyring = Keyring::default();
    let headed = [&[0xf4], bytes].concat();
    for label in [label, b""] {
        let envelope = Envelope { keyring: &keyring, label };
        open(&headed, envelope);
        let _ = stream_of(&headed, envelope, true);
    }
}

/// Ciphertext that nobody has made: version 0, version 1 and native, with one key and with three.
pub(crate) fn sealed(bytes: &[u8]) {
    for keys in [1, 3] {
        let keyring = ring(keys);
        let envelope = Envelope { keyring: &keyring, label: b"" };
        for head in [&[0_u8][..], &[1], &[native::MAGIC, native::VERSION, 1]] {
            open(&[head, bytes].concat(), envelope);
        }
        let _ = stream_of(&[&[native::MAGIC, native::VERSION, 1], bytes].concat(), envelope, false);
    }
}

/// What somebody with the key has sealed: version 0 and its padding, version 1, native.
pub(crate) fn opened(bytes: &[u8]) {
    let keyring = ring(1);
    let envelope = Envelope { keyring: &keyring, label: b"" };
    let seal = |head: &[u8], aad: &[u8]| {
        let mut plain = bytes.to_vec();
        let tag = keyring.seal(&NONCE, aad, &mut plain).expect("there is a key");
        [head, &NONCE, &plain, &tag].concat()
    };
    for version in [0, 1] {
        open(&seal(&[version], b""), envelope);
    }
    let header = [native::MAGIC, native::VERSION, 1];
    open(&seal(&header, &header), envelope);
}

/// The parts of a compound, in either encoding.
pub(crate) fn compound(bytes: &[u8]) {
    let keyring = Keyring::default();
    let envelope = Envelope { keyring: &keyring, label: b"" };
    open(&[&[COMPOUND], bytes].concat(), envelope);
    // The bytes cut into parts by their own lengths, with the checksum that stands before them.
    let mut pick = Pick::new(bytes);
    let mut parts = Vec::new();
    while !pick.is_done() && parts.len() < limits::PARTS_MAX {
        parts.extend(Some(pick.bytes()).filter(|part| !part.is_empty()));
    }
    open(&native::seal_packet(&parts, envelope, NONCE), envelope);
}

/// A compressed message around any compressed bytes, and around none of that form.
pub(crate) fn lzw(bytes: &[u8]) {
    let keyring = Keyring::default();
    let envelope = Envelope { keyring: &keyring, label: b"" };
    open(&[&[COMPRESSED], bytes].concat(), envelope);
    let bytes = &bytes[..bytes.len().min(usize::from(u16::MAX))];
    let [high, low] = (bytes.len() as u16).to_be_bytes();
    let mut packet = vec![COMPRESSED, 0x82, 0xa4];
    packet.extend(b"Algo\x00\xa3Buf\xda");
    packet.extend([high, low]);
    packet.extend(bytes);
    open(&packet, envelope);
    let _ = stream_of(&packet, envelope, false);
}

/// One native message, without the packet around it.
pub(crate) fn native(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(limits::DATAGRAM_BYTES_MAX)];
    if let Ok(message) = within(limits::DATAGRAM_ALLOCATED_MAX, || native::decode(bytes)) {
        rewrite(&message);
    }
}

/// One message of memberlist's encoding, without the packet around it.
pub(crate) fn memberlist(bytes: &[u8]) {
    let mut budget = Budget::datagram(bytes.len());
    if let Ok(message) = memberlist::decode(bytes, &mut budget) {
        rewrite(&message);
    }
    assert!(budget.allocated() <= limits::DATAGRAM_ALLOCATED_MAX, "{} bytes are allocated", budget.allocated());
    let _ = memberlist::decode_serf(bytes);
}

/// What one side says on a stream, whole and in pieces: either way it must come to the same.
pub(crate) fn stream(bytes: &[u8]) {
    let mut pick = Pick::new(bytes);
    let (keyring, label) = (ring(pick.below(2)), pick.one_of(&[&b""[..], b"blue"]));
    let (dialler, step, framed) = (pick.coin(), 1 + usize::from(pick.byte()), pick.coin());
    let envelope = Envelope { keyring: &keyring, label };
    let body = pick.rest();
    // The frame of a native message is not for a fuzzer to find.
    let native = if keyring.is_empty() && framed {
        let head = [native::MAGIC, native::VERSION, 0];
        let label =
            if dialler && !label.is_empty() { [&[0xf4, label.len() as u8], label].concat() } else { Vec::new() };
        Some([&label, &head[..], &(body.len() as u32).to_be_bytes(), body].concat())
    } else {
        None
    };
    let bytes = native.as_deref().unwrap_or(body);
    let whole = stream_of(bytes, envelope, dialler);
    // Pieces as short as they may be: most of what a fuzzer writes is longer.
    let (mut received, mut progress) = (Pieces::of(0), Progress::default());
    let mut chunks = bytes.chunks(step);
    let pieces = loop {
        let chunk = chunks.next();
        received.push(chunk.unwrap_or_default());
        match read(&mut received, envelope, dialler, &mut progress) {
            Ok(None) if chunk.is_some() => {}
            other => break other,
        }
    };
    match (&whole, &pieces) {
        (Ok(Some(one)), Ok(Some(other))) => assert_eq!(write(one), write(other)),
        (Ok(None), Ok(None)) | (Err(_), Err(_)) => {}
        // Pieces may show a whole message before what follows it makes it wrong, and a length before it is there.
        (Err(_), Ok(_)) | (Ok(_), Err(_)) => {}
        (Ok(None), Ok(Some(_))) | (Ok(Some(_)), Ok(None)) => panic!("whole: {whole:?}, in pieces: {pieces:?}"),
    }
    if let Ok(Some(message)) = whole {
        let once = write(&message);
        let plain = Envelope { keyring: &Keyring::default(), label: b"" };
        let again = stream_of(&once, plain, true).expect("is ours").expect("is whole");
        assert_eq!(once, write(&again));
    }
}

fn write(message: &StreamMessage) -> Box<[u8]> {
    let plain = Envelope { keyring: &Keyring::default(), label: b"" };
    seal_stream(Encoding::Native, message, plain, NONCE, true, false)
}

/// Bytes that reading a packet of multicast DNS may hold at one time, with what is written of it.
const MDNS_HELD_MAX: usize = 256 << 10;

/// A packet of multicast DNS: what is understood of it is written again, and understood as the same.
pub(crate) fn mdns(bytes: &[u8]) {
    if let Some((once, found)) = within(MDNS_HELD_MAX, || reread_mdns(bytes)) {
        assert_eq!(reread_mdns(&once), Some((once, found)));
    }
}
