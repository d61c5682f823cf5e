//! Laws of the reader that hold for whatever bytes come: captured ones, every one-byte form, cut and flipped.

use std::vec::Vec;

use super::rpc_vectors::Vector;
use crate::msgpack::{Limits, ReadError, Reader, Scan, Value};

const LIMITS: Limits = Limits { length: 1 << 20, depth: 16 };

/// How long the first value is by each of the four ways to pass over it: all must agree.
fn end(bytes: &[u8]) -> Result<usize, ReadError> {
    let mut reader = Reader::new(bytes, LIMITS);
    let skipped = reader.skip().map(|()| reader.position());
    assert_eq!(Scan::default().end(bytes, LIMITS), skipped, "{bytes:x?}");
    let mut scan = Scan::default();
    let mut steps = bytes.chunks(1).map(|byte| scan.go_on(byte, LIMITS));
    let step = steps.find(|step| *step != Err(ReadError::Incomplete)).unwrap_or(Err(ReadError::Incomplete));
    assert_eq!(step, skipped, "byte by byte: {bytes:x?}");
    let mut reader = Reader::new(bytes, LIMITS);
    match Value::read(&mut reader) {
        Ok(value) => {
            assert_eq!(skipped, Ok(reader.position()), "{bytes:x?}");
            assert!(held(&value) <= reader.position(), "more is held than has come: {bytes:x?}");
        }
        Err(ReadError::Incomplete) => assert_ne!(skipped, Ok(bytes.len()), "{bytes:x?}"),
        Err(ReadError::Invalid(_)) => {}
    }
    skipped
}

/// Values and bytes of text that a value is made of.
fn held(value: &Value) -> usize {
    1 + match value {
        Value::Nil | Value::Bool(_) | Value::Uint(_) | Value::Int(_) | Value::Float(_) => 0,
        Value::Text(bytes) | Value::Blob(bytes) => bytes.len(),
        Value::Array(items) => items.iter().map(held).sum(),
        Value::Map(pairs) => pairs.iter().map(|(key, value)| held(key) + held(value)).sum(),
    }
}

#[test]
fn captured_values_end_where_every_way_of_reading_says() {
    for vector in Vector::all().iter().filter(|vector| !vector.name.starts_with("malformed")) {
        for bytes in [vector.request_bytes(), vector.response_bytes()] {
            let mut at = 0;
            while at < bytes.len() {
                let len = end(&bytes[at..]).expect("a whole value");
                for cut in 0..len.min(300) {
                    assert_eq!(end(&bytes[at..at + cut]), Err(ReadError::Incomplete), "{} {at} {cut}", vector.name);
                }
                at += len;
            }
        }
    }
}

#[test]
fn wrong_bytes_never_hold_more_than_has_come() {
    for vector in Vector::all() {
        for bytes in [vector.request_bytes(), vector.response_bytes()] {
            for at in 0..bytes.len().min(400) {
                // A map, a list, text, a list and text of 4-byte length, the reserved byte.
                for byte in [0x8f, 0x9f, 0xbf, 0xdd, 0xc6, 0xc1, !bytes[at]] {
                    let mut wrong = bytes[..bytes.len().min(at + 64)].to_vec();
                    wrong[at] = byte;
                    let _ = end(&wrong);
                }
            }
        }
    }
}

#[test]
fn every_first_byte_is_read_alike_by_every_way() {
    for first in 0..=u8::MAX {
        for fill in [0x00, 0x01, 0xc0] {
            let mut bytes = Vec::from([first]);
            bytes.resize(300, fill);
            let _ = end(&bytes);
        }
    }
}

#[test]
fn every_integer_form_reads_as_another_implementation_reads_it() {
    let fills: [[u8; 8]; 5] = [[0; 8], [0x7f; 8], [0x80, 0, 0, 0, 0, 0, 0, 0], [0xff; 8], [0, 0, 0, 0, 0, 0, 0, 5]];
    let wide = [(0xcc, 1), (0xcd, 2), (0xce, 4), (0xcf, 8), (0xd0, 1), (0xd1, 2), (0xd2, 4), (0xd3, 8)];
    let mut forms: Vec<Vec<u8>> = (0..=0x7f).chain(0xe0..=0xff).map(|byte| Vec::from([byte])).collect();
    for (tag, width) in wide {
        // The last ones are longer than the number needs: a writer is free to do so.
        forms.extend(fills.iter().map(|fill| [&[tag], &fill[..width]].concat()));
        forms.push([&[tag], &[0; 8][..width - 1], &[9]].concat());
    }
    for form in forms {
        let unsigned = rmp_serde::from_slice::<u64>(&form).ok();
        assert_eq!(Reader::new(&form, LIMITS).uint().ok(), unsigned, "{form:x?}");
        // Of 2^63 and more the other implementation makes no signed number; ours wraps, as Go does.
        let signed = rmp_serde::from_slice::<i64>(&form).ok().or_else(|| unsigned.map(u64::cast_signed));
        assert_eq!(Reader::new(&form, LIMITS).int().ok(), signed, "{form:x?}");
        for cut in 1..form.len() {
            assert_eq!(Reader::new(&form[..cut], LIMITS).int(), Err(ReadError::Incomplete), "{form:x?}");
        }
    }
}

#[test]
fn nil_is_the_zero_of_whatever_is_wanted() {
    let reader = || Reader::new(&[0xc0], LIMITS);
    assert_eq!(reader().uint(), Ok(0));
    assert_eq!(reader().int(), Ok(0));
    assert_eq!(reader().boolean(), Ok(false));
    assert_eq!(reader().float(), Ok(0.0));
    assert_eq!(reader().text(), Ok(&[][..]));
    assert_eq!(reader().blob(), Ok(None));
    assert_eq!(reader().array(), Ok(0));
    assert_eq!(reader().map(), Ok(0));
}

#[test]
fn a_hundred_thousand_lists_and_maps_are_skipped_without_recursion() {
    for opening in [&[0x91][..], &[0x81, 0xc0], &[0xdc, 0, 1], &[0xdf, 0, 0, 0, 1, 0xc0]] {
        let mut deep = opening.repeat(100_000);
        assert_eq!(Reader::new(&deep, LIMITS).skip(), Err(ReadError::Incomplete));
        deep.push(0xc0);
        let mut reader = Reader::new(&deep, LIMITS);
        assert_eq!(reader.skip().map(|()| reader.position()), Ok(deep.len()));
        assert!(matches!(Value::read(&mut Reader::new(&deep, LIMITS)), Err(ReadError::Invalid(_))));
    }
}
