//! Tags against captured metadata, and against metadata that nobody honest sends.

use alloc::vec;
use alloc::vec::Vec;

use crate::serf::tags::{decode, encode};
use crate::types::{Meta, Tags};

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).expect("two digits")).collect()
}

fn tags(pairs: &[(&[u8], &[u8])]) -> Tags {
    pairs.iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
}

#[test]
fn captured_metadata_reads_and_writes_as_serf_does() {
    let mut lines = 0;
    for line in include_str!("vectors/tags.txt").lines() {
        let mut words = line.split(' ');
        let (name, form, hex) = (words.next(), words.next(), words.next().expect("three words"));
        let want: Tags = words
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec()))
            .collect();
        let meta = Meta::new(unhex(hex));
        assert_eq!(decode(&meta), want, "{name:?}");
        assert_eq!(encode(&want) == meta, form == Some("sorted"), "{name:?}");
        lines += 1;
    }
    assert_eq!(lines, 9);
}

#[test]
fn every_length_of_text_and_map_comes_back() {
    for len in [0, 1, 31, 32, 255, 256, 65_535, 65_536] {
        let want = tags(&[(b"k", &vec![0xe9; len])]);
        let meta = encode(&want);
        let head = meta.as_bytes()[4];
        assert_eq!(
            head,
            if len < 32 {
                0xa0 | len.to_le_bytes()[0]
            } else if len < 65_536 {
                0xda
            } else {
                0xdb
            }
        );
        assert_eq!(decode(&meta), want, "{len} bytes");
    }
    for count in [15_u16, 16] {
        let want: Tags = (0..count).map(|key| (key.to_be_bytes().to_vec(), vec![])).collect();
        let meta = encode(&want);
        assert_eq!(meta.as_bytes()[1], if count < 16 { 0x8f } else { 0xde });
        assert_eq!(decode(&meta), want, "{count} tags");
    }
}

#[test]
fn bytes_behind_the_map_are_ignored() {
    assert_eq!(decode(&Meta::new(*b"\xff\x81\xa1a\xa1b\xb5\x01")), tags(&[(b"a", b"b")]));
}

#[test]
fn the_tags_before_a_fault_are_kept() {
    let one = tags(&[(b"a", b"b")]);
    for behind in [&b""[..], b"\xa1", b"\xa1c", b"\xa1c\xdb\xff\xff\xff\xff", b"\xa1c\x01", b"\xc0\xa1d"] {
        let meta = Meta::new([b"\xff\x82\xa1a\xa1b", behind].concat());
        assert_eq!(decode(&meta), one, "{behind:?}");
    }
    for nothing in [&b"\xff"[..], b"\xff\xc0", b"\xff\x01", b"\xff\xdf\xff\xff\xff\xff", b"\xff\xde\x00"] {
        assert_eq!(decode(&Meta::new(nothing)), Tags::new(), "{nothing:?}");
    }
}

#[test]
fn every_form_of_text_is_read() {
    for text in [&b"\xa1b"[..], b"\xd9\x01b", b"\xda\x00\x01b", b"\xdb\0\0\0\x01b", b"\xc4\x01b", b"\xc5\0\x01b"] {
        let meta = Meta::new([b"\xff\x81\xa1a", text].concat());
        assert_eq!(decode(&meta), tags(&[(b"a", b"b")]), "{text:?}");
    }
    assert_eq!(decode(&Meta::new(*b"\xff\x81\xa1a\xc0")), tags(&[(b"a", b"")]));
    assert_eq!(decode(&Meta::new(*b"\xff\x82\xa1a\xa1b\xa1a\xa1c")), tags(&[(b"a", b"c")]), "the last one counts");
}
