//! Keys as Go reads them, and the ring's rules.

use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use crate::keyring::{Key, KeyError, Keyring, SEALED_MAX, decode_base64};
use crate::limits;

fn key(byte: u8) -> Key {
    Key::new(&[byte; 16]).expect("16 bytes")
}

fn first_bytes(ring: &Keyring) -> Vec<u8> {
    ring.keys().map(|key| key.as_bytes()[0]).collect()
}

#[test]
fn keys_have_the_sizes_of_aes() {
    for len in 0..=64 {
        let key = Key::new(&vec![0; len]);
        assert_eq!(key.is_ok(), matches!(len, 16 | 24 | 32), "{len} bytes");
    }
    assert_eq!(KeyError::Size.to_string(), "key size must be 16, 24 or 32 bytes");
}

/// The positions are those of Go's `encoding/base64` (rpc.md, "keys").
#[test]
fn bad_base64_is_named_where_go_names_it() {
    for (text, at) in [
        ("badkey!", 6),
        ("not base64!", 3),
        ("bad", 0),
        ("=AAA", 0),
        ("AAA=AAAA", 4),
        ("A", 0),
        ("A=", 1),
        ("AA=", 3),
        ("AA=A", 2),
        ("AA==A", 4),
        ("AA==\nA", 5),
        ("AAAA\nAA", 5),
        ("AAAA====", 4),
        ("T0s/L0s_", 7),
    ] {
        assert_eq!(decode_base64(text.as_bytes()).err(), Some(KeyError::Base64 { at }), "{text:?}");
    }
    assert_eq!(decode_base64(&[b'A'; 43]).err(), Some(KeyError::Base64 { at: 40 }));
    assert_eq!(KeyError::Base64 { at: 40 }.to_string(), "illegal base64 data at input byte 40");
}

#[test]
fn base64_is_read_as_tolerantly_as_go_reads_it() {
    let want: Vec<u8> = (0..16).map(|byte| byte * 15).collect();
    let text = Key::new(&want).expect("16 bytes").to_base64();
    assert_eq!(text, "AA8eLTxLWml4h5altMPS4Q==");
    for form in [
        text.clone(),
        format!("\r\n{text}\n"),
        "AA8eLTxL\r\nWml4h5al\ntMPS4Q=\n=\n".to_string(),
        "AA8eLTxLWml4h5altMPS4f==".to_string(),
    ] {
        assert_eq!(Key::from_base64(&form).expect(&form).as_bytes(), want);
    }
    assert_eq!(decode_base64(b"").expect("nothing").len(), 0);
    assert_eq!(Key::from_base64("").err(), Some(KeyError::Size));
    for len in [24, 32] {
        let key = Key::new(&vec![0xfb; len]).expect("size");
        assert_eq!(Key::from_base64(&key.to_base64()), Ok(key));
    }
}

#[test]
fn a_key_is_not_shown() {
    let shown = format!("{:?} {:?}", key(42), Keyring::new(vec![key(42)]));
    assert_eq!(shown, "Key(16 bytes) [Key(16 bytes)]");
}

#[test]
fn the_ring_follows_upstreams_rules() {
    let mut ring = Keyring::default();
    assert!(ring.is_empty());
    assert_eq!(ring.remove(&key(1)), Ok(()), "a key that is not there is no error");
    for byte in [1, 2, 3, 2] {
        assert_eq!(ring.add(key(byte)), Ok(()));
    }
    assert_eq!(first_bytes(&ring), [1, 2, 3]);
    assert_eq!(ring.make_primary(&key(3)), Ok(()));
    assert_eq!(first_bytes(&ring), [3, 1, 2]);
    assert_eq!(ring.primary(), Some(&key(3)));
    assert_eq!(ring.make_primary(&key(3)), Ok(()));
    assert_eq!(ring.remove(&key(3)), Err(KeyError::Primary));
    assert_eq!(ring.make_primary(&key(9)), Err(KeyError::Unknown));
    assert_eq!(ring.remove(&key(1)), Ok(()));
    assert_eq!(first_bytes(&ring), [3, 2]);
    assert_eq!(KeyError::Unknown.to_string(), "Requested key is not in the keyring");
    assert_eq!(KeyError::Primary.to_string(), "Removing the primary key is not allowed");
}

#[test]
fn a_ring_is_full_at_its_bound() {
    let bytes = u8::try_from(limits::KEYS_MAX).expect("small");
    let mut ring = Keyring::new((0..bytes - 1).map(key).collect());
    assert_eq!(ring.add(key(bytes - 1)), Ok(()));
    assert_eq!(ring.add(key(bytes)), Err(KeyError::Full));
    assert_eq!(ring.add(key(0)), Ok(()), "it is there already");
    assert_eq!(ring.keys().len(), limits::KEYS_MAX);
}

#[test]
fn a_ring_that_was_saved_seals_and_opens_again() {
    let ring = Keyring::new(vec![Key::new(&[1; 32]).expect("size"), key(2), Key::new(&[3; 24]).expect("size")]);
    let saved = postcard::to_allocvec(&ring).expect("saves");
    let restored: Keyring = postcard::from_bytes(&saved).expect("restores");
    assert_eq!(restored, ring);
    let json: Keyring = serde_json::from_str(&serde_json::to_string(&ring).expect("saves")).expect("restores");
    assert_eq!(json, ring);
    let mut buffer = *b"attack at dawn";
    let tag = ring.seal(&[0; 12], b"aad", &mut buffer).expect("there is a key");
    assert_ne!(&buffer, b"attack at dawn");
    assert!(!restored.open(&[0; 12], b"other", &mut buffer, &tag));
    assert!(restored.open(&[0; 12], b"aad", &mut buffer, &tag), "a failed trial leaves the buffer as it was");
    assert_eq!(&buffer, b"attack at dawn");
    assert!(postcard::from_bytes::<Key>(&[15; 16]).is_err(), "15 bytes are no key");
}

#[test]
fn a_ring_knows_how_far_its_primary_key_is_worn() {
    let mut ring = Keyring::new(vec![key(1), key(2)]);
    for _ in 0..8 {
        ring.count_sealed();
    }
    assert_eq!(ring.sealed(), 8);
    let half = SEALED_MAX / 8 / 2;
    assert_eq!(ring.take_worn(half - 1), None);
    assert_eq!([half, half, half * 2 - 1].map(|members| ring.take_worn(members)), [Some(50), None, Some(75)]);
    let mut restored: Keyring = postcard::from_bytes(&postcard::to_allocvec(&ring).expect("saves")).expect("restores");
    assert_eq!((restored.sealed(), restored.take_worn(half), restored.take_worn(half * 2)), (8, None, Some(100)));
    assert_eq!(ring.make_primary(&key(2)), Ok(()));
    assert_eq!((ring.sealed(), ring.take_worn(u64::MAX)), (0, None), "a new key is not worn");
    assert_eq!(ring.make_primary(&key(1)), Ok(()));
    assert_eq!(ring.sealed(), 8, "one that comes back is");
    let mut none = Keyring::empty();
    none.count_sealed();
    assert_eq!((none.sealed(), none.take_worn(u64::MAX)), (0, None));
}

/// Test case 4 of the AES-GCM specification, for each of the three key sizes (cases 4, 10, 16).
#[test]
fn each_key_size_gives_the_tags_of_the_specification() {
    let key = b"\xfe\xff\xe9\x92\x86\x65\x73\x1c\x6d\x6a\x8f\x94\x67\x30\x83\x08".repeat(2);
    let nonce = *b"\xca\xfe\xba\xbe\xfa\xce\xdb\xad\xde\xca\xf8\x88";
    let aad = b"\xfe\xed\xfa\xce\xde\xad\xbe\xef\xfe\xed\xfa\xce\xde\xad\xbe\xef\xab\xad\xda\xd2";
    let text = b"\xd9\x31\x32\x25\xf8\x84\x06\xe5\xa5\x59\x09\xc5\xaf\xf5\x26\x9a\x86\xa7\xa9\x53\x15\x34\xf7\xda\
        \x2e\x4c\x30\x3d\x8a\x31\x8a\x72\x1c\x3c\x0c\x95\x95\x68\x09\x53\x2f\xcf\x0e\x24\x49\xa6\xb5\x25\
        \xb1\x6a\xed\xf5\xaa\x0d\xe6\x57\xba\x63\x7b\x39";
    for (len, want) in [
        (16, *b"\x5b\xc9\x4f\xbc\x32\x21\xa5\xdb\x94\xfa\xe9\x5a\xe7\x12\x1a\x47"),
        (24, *b"\x25\x19\x49\x8e\x80\xf1\x47\x8f\x37\xba\x55\xbd\x6d\x27\x61\x8c"),
        (32, *b"\x76\xfc\x6e\xce\x0f\x4e\x17\x68\xcd\xdf\x88\x53\xbb\x2d\x55\x1b"),
    ] {
        let ring = Keyring::new(vec![Key::new(&key[..len]).expect("size")]);
        let mut buffer = *text;
        assert_eq!(ring.seal(&nonce, aad, &mut buffer), Some(want), "{len} bytes");
    }
}
