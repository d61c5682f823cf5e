//! Keys of the gossip, and the ring that holds them.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::consts::U12;
use aes_gcm::aes::Aes192;
use aes_gcm::{Aes128Gcm, Aes256Gcm, AesGcm, KeyInit};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::limits;

/// Bytes of the nonce that each sealed message carries.
pub const NONCE_BYTES: usize = 12;
/// Messages that may be sealed with one key and random nonces, by all members together: beyond it two of them have the same
/// nonce with a chance above 2^-32, and that gives the key's authentication away (NIST SP 800-38D, 8.3).
pub const SEALED_MAX: u64 = 1 << 32;
/// Bytes of stack below a frame that working out a schedule reaches, and more.
const SCHEDULE_STACK: usize = 16 << 10;
/// Bytes of stack below a driver's loop that anything done with keys reaches, and more.
const DRIVER_STACK: usize = 64 << 10;
/// Bytes of the tag behind each ciphertext.
pub const TAG_BYTES: usize = 16;

/// A key of 16, 24 or 32 bytes: AES-128, AES-192 or AES-256. Compared in constant time, wiped when dropped.
#[derive(Clone)]
pub struct Key(Zeroizing<Box<[u8]>>);

impl Key {
    /// Makes a key of the given bytes.
    ///
    /// # Errors
    /// [`KeyError::Size`] for any other length than 16, 24 and 32.
    pub fn new(bytes: &[u8]) -> Result<Self, KeyError> {
        match bytes.len() {
            16 | 24 | 32 => Ok(Self(Zeroizing::new(bytes.into()))),
            _ => Err(KeyError::Size),
        }
    }

    /// Reads a key as operators write it; see [`decode_base64`].
    ///
    /// # Errors
    /// [`KeyError::Base64`] or [`KeyError::Size`].
    pub fn from_base64(text: &str) -> Result<Self, KeyError> {
        Self::new(&decode_base64(text.as_bytes())?)
    }

    /// The key as operators write it.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.as_bytes())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl Eq for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} bytes)", self.0.len())
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.as_bytes())
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(KeyVisitor)
    }
}

/// Reads the bytes into a place that is wiped, not into a vector that leaves copies behind as it grows.
struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("16, 24 or 32 bytes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Key, A::Error> {
        let mut bytes = Zeroizing::new([0; 32]);
        let mut len = 0_usize;
        while let Some(byte) = seq.next_element()? {
            *bytes.get_mut(len).ok_or_else(|| serde::de::Error::custom(KeyError::Size))? = byte;
            len += 1;
        }
        bytes.get(..len).ok_or(KeyError::Size).and_then(Key::new).map_err(serde::de::Error::custom)
    }
}

/// Decodes standard base64 exactly as far as Go's `StdEncoding` does (rpc.md, "keys"): CR and LF are skipped wherever
/// they stand, padding is required, and the last character may have bits that nothing needs.
///
/// # Errors
/// [`KeyError::Base64`] with the position that Go names: the bad character, or where the unfinished group begins.
pub fn decode_base64(text: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    // One allocation of the final size: a vector that grows would leave parts of a key behind.
    let mut out = Zeroizing::new(Vec::with_capacity(text.len() / 4 * 3 + 3));
    let is_newline = |byte: u8| matches!(byte, b'\r' | b'\n');
    let skip_newlines = |mut at: usize| {
        while text.get(at).is_some_and(|&byte| is_newline(byte)) {
            at += 1;
        }
        at
    };
    let mut at = 0;
    loop {
        let mut group = Zeroizing::new(0_u32);
        let mut digits = 0;
        while digits < 4 {
            let Some(&byte) = text.get(at) else {
                // Go counts back the digits, not the line breaks between them.
                return if digits == 0 { Ok(out) } else { Err(KeyError::Base64 { at: at - digits }) };
            };
            at += 1;
            if is_newline(byte) {
                continue;
            }
            if let Some(digit) = base64_digit(byte) {
                *group = *group << 6 | digit;
                digits += 1;
                continue;
            }
            if byte != b'=' || digits < 2 {
                return Err(KeyError::Base64 { at: at - 1 });
            }
            if digits == 2 {
                at = skip_newlines(at);
                match text.get(at) {
                    Some(b'=') => at += 1,
                    Some(_) => return Err(KeyError::Base64 { at: at - 1 }),
                    None => return Err(KeyError::Base64 { at: text.len() }),
                }
            }
            at = skip_newlines(at);
            if at < text.len() {
                return Err(KeyError::Base64 { at });
            }
            *group <<= 6 * (4 - digits);
            let bytes = Zeroizing::new(group.to_be_bytes());
            out.extend(bytes.iter().skip(1).take(digits - 1));
            return Ok(out);
        }
        let bytes = Zeroizing::new(group.to_be_bytes());
        out.extend(bytes.iter().skip(1));
    }
}

fn base64_digit(byte: u8) -> Option<u32> {
    let digit = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(digit.into())
}

/// Why a key cannot be read, or the ring not be changed. Texts with a twin upstream are upstream's (rpc.md, "keys").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyError {
    /// The key has a length that AES does not have.
    Size,
    /// The text is no base64.
    Base64 {
        /// Where, in bytes, as Go counts.
        at: usize,
    },
    /// The key that is to become the primary one is not on the ring.
    Unknown,
    /// The key that is to be removed is the primary one.
    Primary,
    /// The ring holds [`limits::KEYS_MAX`] keys.
    Full,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size => f.write_str("key size must be 16, 24 or 32 bytes"),
            Self::Base64 { at } => write!(f, "illegal base64 data at input byte {at}"),
            Self::Unknown => f.write_str("Requested key is not in the keyring"),
            Self::Primary => f.write_str("Removing the primary key is not allowed"),
            Self::Full => write!(f, "the keyring is full: it holds at most {} keys", limits::KEYS_MAX),
        }
    }
}

impl core::error::Error for KeyError {}

/// The keys of a node, primary first: it seals with that one and opens with any. Empty: no encryption.
///
/// A clone shares the keys and their schedules.
#[derive(Clone, Default)]
pub struct Keyring(Vec<Entry>);

/// A key of a ring.
#[derive(Clone)]
struct Entry {
    ready: Arc<Ready>,
    wear: Wear,
}

/// How much a key has been used.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Wear {
    /// Messages that this node has sealed with it.
    sealed: u64,
    /// Quarters of [`SEALED_MAX`] of which somebody was told.
    told: u64,
}

/// A key with its schedule worked out.
struct Ready {
    key: Key,
    cipher: Cipher,
}

impl Ready {
    /// Not in the frame of who calls it: what it leaves on the stack is below, where [`wipe_below`] gets to.
    #[inline(never)]
    fn new(key: Key) -> Arc<Self> {
        let cipher = Cipher::new(&key);
        Arc::new(Self { key, cipher })
    }
}

/// Overwrites what the last call of the caller has left on the stack: a schedule is moved to its place, not made there, and
/// its first part is the key itself.
#[inline(never)]
fn wipe_below<const BYTES: usize>() {
    core::hint::black_box(&mut [0_u8; BYTES]);
}

/// Overwrites what calls of the caller have left on the stack: sealing and opening keep the first part of a schedule there,
/// and words about keys pass through it. A driver calls this from its loop, where the stack is shallow, now and then while
/// there are keys: what is left of one that was removed would stay until something else is as deep.
pub fn wipe_stack() {
    wipe_below::<DRIVER_STACK>();
}

impl Keyring {
    /// Makes a ring of the given keys, primary first. A key that stands there twice counts once; keys beyond
    /// [`limits::KEYS_MAX`], which `Config::validate` refuses, are left out.
    pub fn new(keys: Vec<Key>) -> Self {
        let mut ring = Self::default();
        for key in keys {
            if ring.add(key).is_err() {
                break;
            }
        }
        ring
    }

    /// Makes a ring without keys.
    pub const fn empty() -> Self {
        Self(Vec::new())
    }

    /// Whether there is no key, and so no encryption.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key that seals.
    pub fn primary(&self) -> Option<&Key> {
        self.0.first().map(|entry| &entry.ready.key)
    }

    /// Every key, primary first.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &Key> {
        self.0.iter().map(|entry| &entry.ready.key)
    }

    /// Adds a key at the end; the first one becomes the primary one. A key that is there already stays where it is.
    ///
    /// # Errors
    /// [`KeyError::Full`].
    pub fn add(&mut self, key: Key) -> Result<(), KeyError> {
        if self.position(&key).is_some() {
            return Ok(());
        }
        if self.0.len() >= limits::KEYS_MAX {
            return Err(KeyError::Full);
        }
        let ready = Ready::new(key);
        wipe_below::<SCHEDULE_STACK>();
        self.0.push(Entry { ready, wear: Wear::default() });
        Ok(())
    }

    /// Counts a message that is sealed with the primary key.
    pub fn count_sealed(&mut self) {
        if let Some(primary) = self.0.first_mut() {
            primary.wear.sealed = primary.wear.sealed.saturating_add(1);
        }
    }

    /// Parts of a hundred that `members` who seal as much as this node have used of the primary key: 50 and more in steps of 25,
    /// each step once.
    pub fn take_worn(&mut self, members: u64) -> Option<u64> {
        let quarters = self.sealed_by(members) / (SEALED_MAX / 4);
        let wear = &mut self.0.first_mut()?.wear;
        (quarters >= 2 && quarters > wear.told).then(|| {
            wear.told = quarters;
            quarters.saturating_mul(25)
        })
    }

    /// Messages that this node has sealed with the primary key; 0 without one.
    pub fn sealed(&self) -> u64 {
        self.0.first().map_or(0, |primary| primary.wear.sealed)
    }

    /// Messages that `members` who seal as much as this node have sealed with the primary key.
    pub fn sealed_by(&self, members: u64) -> u64 {
        self.sealed().saturating_mul(members)
    }

    /// Makes a key of the ring the primary one; the others keep their order.
    ///
    /// # Errors
    /// [`KeyError::Unknown`].
    pub fn make_primary(&mut self, key: &Key) -> Result<(), KeyError> {
        let at = self.position(key).ok_or(KeyError::Unknown)?;
        if let Some(head) = self.0.get_mut(..=at) {
            head.rotate_right(1);
        }
        Ok(())
    }

    /// Takes a key from the ring; one that is not there is no error.
    ///
    /// # Errors
    /// [`KeyError::Primary`].
    pub fn remove(&mut self, key: &Key) -> Result<(), KeyError> {
        match self.position(key) {
            Some(0) => Err(KeyError::Primary),
            Some(at) => {
                self.0.remove(at);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The primary key's cipher; `None`: there is no key.
    pub fn sealer(&self) -> Option<&Cipher> {
        self.0.first().map(|entry| &entry.ready.cipher)
    }

    /// Seals `buffer` in place with the primary key and gives the tag; `None`, with `buffer` as it was: no key.
    pub fn seal(&self, nonce: &[u8; NONCE_BYTES], aad: &[u8], buffer: &mut [u8]) -> Option<[u8; TAG_BYTES]> {
        self.sealer().map(|cipher| cipher.seal(nonce, aad, buffer))
    }

    /// Opens `buffer` in place with the first key, in order, that fits; whether one did. If none did, `buffer` is as
    /// it was.
    #[must_use]
    pub fn open(&self, nonce: &[u8; NONCE_BYTES], aad: &[u8], buffer: &mut [u8], tag: &[u8; TAG_BYTES]) -> bool {
        self.0.iter().any(|entry| entry.ready.cipher.open(nonce, aad, buffer, tag))
    }

    fn position(&self, key: &Key) -> Option<usize> {
        self.keys().position(|other| other == key)
    }
}

impl PartialEq for Keyring {
    fn eq(&self, other: &Self) -> bool {
        self.keys().eq(other.keys())
    }
}

impl Eq for Keyring {}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys()).finish()
    }
}

impl Serialize for Keyring {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|entry| (&entry.ready.key, entry.wear)))
    }
}

impl<'de> Deserialize<'de> for Keyring {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut ring = Self::default();
        for (key, wear) in Vec::<(Key, Wear)>::deserialize(deserializer)? {
            ring.add(key).map_err(serde::de::Error::custom)?;
            if let Some(entry) = ring.0.last_mut() {
                entry.wear = wear;
            }
        }
        Ok(ring)
    }
}

/// AES-GCM with one key, its schedule worked out.
pub struct Cipher(Algorithm);

enum Algorithm {
    Aes128(Aes128Gcm),
    Aes192(AesGcm<Aes192, U12>),
    Aes256(Aes256Gcm),
}

impl Cipher {
    fn new(key: &Key) -> Self {
        let bytes = key.as_bytes();
        let cipher = Aes128Gcm::new_from_slice(bytes).map(Algorithm::Aes128).or_else(|_| {
            AesGcm::new_from_slice(bytes)
                .map(Algorithm::Aes192)
                .or_else(|_| Aes256Gcm::new_from_slice(bytes).map(Algorithm::Aes256))
        });
        Self(cipher.expect("a key has 16, 24 or 32 bytes"))
    }

    /// Seals `buffer` in place and gives the tag.
    ///
    /// # Panics
    /// If `buffer` is longer than 64 GiB, where AES-GCM ends.
    pub fn seal(&self, nonce: &[u8; NONCE_BYTES], aad: &[u8], buffer: &mut [u8]) -> [u8; TAG_BYTES] {
        let nonce = nonce.into();
        let buffer = buffer.into();
        let tag = match &self.0 {
            Algorithm::Aes128(cipher) => cipher.encrypt_inout_detached(nonce, aad, buffer),
            Algorithm::Aes192(cipher) => cipher.encrypt_inout_detached(nonce, aad, buffer),
            Algorithm::Aes256(cipher) => cipher.encrypt_inout_detached(nonce, aad, buffer),
        };
        tag.expect("a message is shorter than 64 GiB").into()
    }

    /// Opens `buffer` in place; whether the key fits. If not, `buffer` is as it was.
    #[must_use]
    pub fn open(&self, nonce: &[u8; NONCE_BYTES], aad: &[u8], buffer: &mut [u8], tag: &[u8; TAG_BYTES]) -> bool {
        let nonce = nonce.into();
        let tag = tag.into();
        let buffer = buffer.into();
        match &self.0 {
            Algorithm::Aes128(cipher) => cipher.decrypt_inout_detached(nonce, aad, buffer, tag),
            Algorithm::Aes192(cipher) => cipher.decrypt_inout_detached(nonce, aad, buffer, tag),
            Algorithm::Aes256(cipher) => cipher.decrypt_inout_detached(nonce, aad, buffer, tag),
        }
        .is_ok()
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Algorithm::Aes128(_) => "Cipher(AES-128-GCM)",
            Algorithm::Aes192(_) => "Cipher(AES-192-GCM)",
            Algorithm::Aes256(_) => "Cipher(AES-256-GCM)",
        })
    }
}
