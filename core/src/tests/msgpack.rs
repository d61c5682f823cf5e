//! The reader and the writer against another implementation, and at their limits.

use std::collections::BTreeMap;
use std::string::String;
use std::vec::Vec;
use std::{format, vec};

use crate::msgpack::{Dialect, Limits, ReadError, Reader, Scan, Value, Writer};

const LIMITS: Limits = Limits { length: 1 << 17, depth: 8 };

const NUMBERS: [i64; 22] = [
    0,
    1,
    127,
    128,
    255,
    256,
    32_767,
    32_768,
    65_535,
    65_536,
    2_147_483_648,
    4_294_967_295,
    4_294_967_296,
    i64::MAX,
    -1,
    -32,
    -33,
    -128,
    -129,
    -32_769,
    -2_147_483_649,
    i64::MIN,
];

fn written(dialect: Dialect, write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::new(dialect);
    write(&mut writer);
    writer.finish()
}

#[test]
fn numbers_are_written_as_another_implementation_writes_them() {
    for number in NUMBERS {
        let ours = written(Dialect::Rpc, |w| _ = w.int(number));
        assert_eq!(ours, rmp_serde::to_vec(&number).expect("a number"), "{number}");
        assert_eq!(Reader::new(&ours, LIMITS).int(), Ok(number));
        if let Ok(unsigned) = u64::try_from(number) {
            assert_eq!(ours, written(Dialect::Gossip, |w| _ = w.uint(unsigned)), "{number}");
            assert_eq!(Reader::new(&ours, LIMITS).uint(), Ok(unsigned));
        } else {
            assert!(matches!(Reader::new(&ours, LIMITS).uint(), Err(ReadError::Invalid(_))), "{number}");
        }
    }
    let largest = written(Dialect::Rpc, |w| _ = w.uint(u64::MAX));
    assert_eq!(largest, rmp_serde::to_vec(&u64::MAX).expect("a number"));
    assert_eq!(Reader::new(&largest, LIMITS).int(), Ok(-1), "a number of 2^63 or more wraps");
}

#[test]
fn every_width_of_a_signed_number_is_read_with_its_sign() {
    for (bytes, number) in [
        (&[0xd0, 0xff][..], -1),
        (&[0xd0, 0x7f], 127),
        (&[0xd1, 0x80, 0x00], -32_768),
        (&[0xd2, 0xff, 0xff, 0xff, 0xfe], -2),
        (&[0xd2, 0x29, 0xb9, 0x27, 0x00], 700_000_000),
        (&[0xd3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00], -256),
    ] {
        assert_eq!(Reader::new(bytes, LIMITS).int(), Ok(number));
        assert_eq!(Reader::new(bytes, LIMITS).uint().ok(), u64::try_from(number).ok());
    }
}

#[test]
fn whole_floats_count_as_numbers_and_others_do_not() {
    for (float, number) in [
        (0.0, Some(0)),
        (-0.0, Some(0)),
        (1.0, Some(1)),
        (-3.0, Some(-3)),
        (2_148_000_000.0, Some(2_148_000_000)),
        (9_007_199_254_740_992.0, None),
        (9_007_199_254_740_991.0, Some(9_007_199_254_740_991)),
        (0.5, None),
        (1e300, None),
        (f64::NAN, None),
        (f64::INFINITY, None),
        (f64::MIN_POSITIVE, None),
        (5e-324, None),
    ] {
        let bytes = written(Dialect::Rpc, |w| _ = w.float(float));
        assert_eq!(bytes, rmp_serde::to_vec(&float).expect("a float"));
        let read = Reader::new(&bytes, LIMITS).int();
        match number {
            Some(number) => assert_eq!(read, Ok(number), "{float}"),
            None if float == 9_007_199_254_740_992.0 => {}
            None => assert!(read.is_err(), "{float} as {read:?}"),
        }
    }
}

#[test]
fn each_length_of_text_and_bytes_has_its_form() {
    for len in [0, 1, 31, 32, 255, 256, 65_535, 65_536] {
        let text = "t".repeat(len);
        let ours = written(Dialect::Rpc, |w| _ = w.text(&text));
        assert_eq!(ours, rmp_serde::to_vec(&text).expect("text"), "{len}");
        assert_eq!(Reader::new(&ours, LIMITS).text(), Ok(text.as_bytes()));
        let blob = written(Dialect::Rpc, |w| _ = w.blob(text.as_bytes()));
        let tag = if len < 256 {
            0xc4
        } else if len < 65_536 {
            0xc5
        } else {
            0xc6
        };
        assert_eq!(blob[0], tag, "{len}");
        assert_eq!(Reader::new(&blob, LIMITS).blob(), Ok(Some(text.clone().into_bytes())));
        let raw = written(Dialect::Gossip, |w| _ = w.text(&text));
        let tag = if len < 32 {
            0xa0 + u8::try_from(len).expect("small")
        } else if len < 65_536 {
            0xda
        } else {
            0xdb
        };
        assert_eq!(raw[0], tag, "{len}");
        assert_eq!(
            raw,
            written(Dialect::Gossip, |w| _ = w.blob(text.as_bytes())),
            "text and bytes are alike in gossip"
        );
        assert_eq!(Reader::new(&raw, LIMITS).text(), Ok(text.as_bytes()));
    }
}

#[test]
fn lists_and_maps_of_every_size_read_back() {
    for len in [0_usize, 15, 16, 65_535, 65_536] {
        let list = vec![1_u8; len];
        let ours = written(Dialect::Rpc, |w| {
            w.array(len);
            for item in &list {
                w.uint(u64::from(*item));
            }
        });
        assert_eq!(ours, rmp_serde::to_vec(&list).expect("a list"), "{len}");
        assert_eq!(Reader::new(&ours, LIMITS).blob(), Ok(Some(list)));
        let map: BTreeMap<String, u64> = (0..len).map(|key| (format!("{key:06}"), key as u64)).collect();
        let ours = written(Dialect::Rpc, |w| {
            w.map(len);
            for (key, number) in &map {
                w.text(key).uint(*number);
            }
        });
        assert_eq!(ours, rmp_serde::to_vec(&map).expect("a map"), "{len}");
        let mut reader = Reader::new(&ours, LIMITS);
        assert_eq!(reader.skip().map(|()| reader.position()), Ok(ours.len()));
    }
}

#[test]
fn a_length_beyond_the_limit_is_refused_before_its_bytes_come() {
    let limits = Limits { length: 16, depth: 2 };
    let refused = Err(ReadError::Invalid("the announced length is beyond the limit"));
    assert_eq!(Reader::new(&[0xc6, 0x12, 0xc0, 0x00, 0x00], limits).text(), refused);
    assert_eq!(Reader::new(&[0xc4, 17], limits).text(), refused);
    assert_eq!(Reader::new(&[0xc4, 16], limits).text(), Err(ReadError::Incomplete));
    assert_eq!(Reader::new(&[0xdd, 0xff, 0xff, 0xff, 0xff], limits).array().map(|_| &[][..]), refused);
    assert_eq!(Reader::new(&[0xdf, 0xff, 0xff, 0xff, 0xff], limits).map().map(|_| &[][..]), refused);
    assert_eq!(Reader::new(&[0xdc, 0, 16], limits).array(), Ok(16));
}

#[test]
fn skipped_values_may_nest_at_will_and_kept_ones_may_not() {
    let mut deep = vec![0x91; 20_000];
    deep.push(0xc0);
    let mut reader = Reader::new(&deep, LIMITS);
    assert_eq!(reader.skip().map(|()| reader.position()), Ok(20_001));
    assert!(matches!(Value::read(&mut Reader::new(&deep, LIMITS)), Err(ReadError::Invalid(_))));
    assert_eq!(Reader::new(&deep[..20_000], LIMITS).skip(), Err(ReadError::Incomplete));
    let kept = [&[0x91; 8][..], &[0xc0]].concat();
    assert!(Value::read(&mut Reader::new(&kept, LIMITS)).is_ok(), "as deep as the limit");
}

#[test]
fn every_extension_is_skipped_whole() {
    for (head, len) in [
        (&[0xd4][..], 2),
        (&[0xd5], 3),
        (&[0xd6], 5),
        (&[0xd7], 9),
        (&[0xd8], 17),
        (&[0xc7, 3], 4),
        (&[0xc8, 0, 3], 4),
        (&[0xc9, 0, 0, 0, 3], 4),
    ] {
        let bytes = [head, &vec![7; len]].concat();
        let mut reader = Reader::new(&bytes, LIMITS);
        assert_eq!(reader.skip().map(|()| reader.position()), Ok(bytes.len()), "{head:x?}");
        assert_eq!(Reader::new(&bytes[..bytes.len() - 1], LIMITS).skip(), Err(ReadError::Incomplete));
    }
}

#[test]
fn a_scan_finds_the_end_of_a_value_that_comes_byte_by_byte() {
    let value = written(Dialect::Rpc, |w| {
        w.map(2).text("list").array(3).nil().float(0.5).blob(&[7; 300]);
        w.text("t").text("u".repeat(40));
    });
    let followed = [&value[..], &[0x80, 0xc1]].concat();
    let mut scan = Scan::default();
    for len in 0..value.len() {
        assert_eq!(scan.end(&followed[..len], LIMITS), Err(ReadError::Incomplete), "{len} bytes");
    }
    assert_eq!(scan.end(&followed, LIMITS), Ok(value.len()));
    assert_eq!(scan.end(&followed, LIMITS), Ok(value.len()), "asked again");
    assert_eq!(Scan::default().end(&followed, LIMITS), Ok(value.len()), "in one piece");
    assert!(matches!(Scan::default().end(&[0x91, 0xc1], LIMITS), Err(ReadError::Invalid(_))));
}
