//! The fast ways against the general one, and rows that are taken back.

use super::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const TYPES: &[PgType] = &[
    PgType::Bool,
    PgType::Int2,
    PgType::Int4,
    PgType::Int8,
    PgType::Float4,
    PgType::Float8,
    PgType::Numeric(None),
    PgType::Numeric(Some((10, 2))),
    PgType::Numeric(Some((38, 10))),
    PgType::Numeric(Some((18, 18))),
    PgType::Text,
    PgType::Varchar(Some(5)),
    PgType::Bytea,
    PgType::Date,
    PgType::Timestamp,
    PgType::Timestamptz,
    PgType::Interval,
    PgType::Oid,
];

/// Bytes that are often nearly a value.
fn any(random: &mut StdRng) -> Vec<u8> {
    let seeds: [&[u8]; 12] = [
        b"35.79",
        b"-1",
        b"2019-11-01 00:00:00 UTC",
        b"9223372036854775807",
        b"1 day 02:03:04",
        b"t",
        b"nan",
        b"caf\xc3\xa9",
        b"1.5e10",
        b"",
        b"99999999.995",
        b"\\x00ff",
    ];
    let mut bytes = seeds[random.random_range(0..seeds.len())].to_vec();
    let alphabet = b"0123456789.-+:eE TZ\x00\x80\xff9";
    for _ in 0..random.random_range(0..3) {
        let at = random.random_range(0..=bytes.len());
        let byte = alphabet[random.random_range(0..alphabet.len())];
        match random.random_range(0..3) {
            0 => bytes.insert(at, byte),
            1 if at < bytes.len() => bytes[at] = byte,
            _ => bytes.truncate(at),
        }
    }
    bytes
}

#[test]
fn fast_and_general_ways_agree() {
    let mut random = StdRng::seed_from_u64(21);
    for _ in 0..100_000 {
        let bytes = any(&mut random);
        let data_type = &TYPES[random.random_range(0..TYPES.len())];
        let mut builder = ColumnBuilder::new(data_type, 0);
        let built = builder.append_text(&bytes);
        assert_eq!(validate_text(data_type, &bytes), built, "{data_type:?} {bytes:?}");
        let general = parse_field(data_type, &bytes, &Zone::Utc);
        assert_eq!(general.as_ref().err(), built.as_ref().err(), "{data_type:?} {bytes:?}");
        assert_eq!(builder.len(), usize::from(built.is_ok()));
        if let Ok(scalar) = general {
            let array = scalar.to_array().expect("a scalar makes an array");
            assert_eq!(builder.finish().as_ref(), array.as_ref(), "{data_type:?} {bytes:?}");
        }
    }
}

#[test]
fn rows_can_be_taken_back() {
    let mut random = StdRng::seed_from_u64(22);
    for data_type in TYPES {
        let mut builder = ColumnBuilder::new(data_type, 4);
        let mut plain: Vec<Option<Vec<u8>>> = Vec::new();
        for _ in 0..2000 {
            let bytes = any(&mut random);
            match random.random_range(0..5) {
                0 => {
                    builder.append_null();
                    plain.push(None);
                }
                1 => {
                    builder.undo_last();
                    plain.pop();
                }
                _ => {
                    if builder.append_text(&bytes).is_ok() {
                        plain.push(Some(bytes));
                    }
                }
            }
            assert_eq!(builder.len(), plain.len());
        }
        let mut again = ColumnBuilder::new(data_type, 0);
        for value in &plain {
            match value {
                Some(bytes) => again.append_text(bytes).expect("it was valid before"),
                None => again.append_null(),
            }
        }
        assert_eq!(builder.finish().as_ref(), again.finish().as_ref(), "{data_type:?}");
        assert!(builder.is_empty());
    }
}

#[test]
fn broken_text_is_a_fault() {
    let mut builder = ColumnBuilder::new(&PgType::Text, 1);
    let fault = builder.append_text(b"a\xffb").expect_err("no UTF-8");
    assert_eq!(fault.message(), "invalid byte sequence for encoding \"UTF8\": 0xff");
    let fault = builder.append_text(b"12345678\0").expect_err("a NUL");
    assert_eq!(fault.message(), "invalid byte sequence for encoding \"UTF8\": 0x00");
    assert!(builder.is_empty());
}

/// What this thread has had of a processor: other processes do not disturb it much.
fn cpu_nanos() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    text.split(' ').next().and_then(|first| first.parse().ok()).expect("nanoseconds")
}

#[test]
fn integers_of_every_length() {
    for length in 0..22 {
        for pattern in ["1234567890123456789012", "9999999999999999999999", "0000000000000000000000"] {
            for sign in ["", "-"] {
                let text = format!("{sign}{}", &pattern[..length]);
                assert_eq!(fast_integer(text.as_bytes()), if length > 19 { None } else { text.parse().ok() }, "{text}");
            }
        }
    }
    for byte in 0..=255u8 {
        for at in 0..8 {
            let mut text = *b"12345678";
            text[at] = byte;
            let known = std::str::from_utf8(&text).ok().and_then(|text| text.parse::<i64>().ok());
            assert_eq!(fast_integer(&text), known.filter(|_| byte != b'+'), "{text:?}");
        }
    }
}

/// `cargo test --release --workspace --lib -- --ignored --nocapture speed_of_fields`
#[test]
#[ignore = "a measurement"]
fn speed_of_fields() {
    let fields: [(&PgType, &[u8]); 5] = [
        (&PgType::Int8, b"2053013555631882655"),
        (&PgType::Int8, b"44600062"),
        (&PgType::Numeric(Some((10, 2))), b"35.79"),
        (&PgType::Timestamptz, b"2019-11-01 00:00:00 UTC"),
        (&PgType::Text, b"electronics.smartphone"),
    ];
    for (data_type, bytes) in fields {
        let mut builder = ColumnBuilder::new(data_type, 8192);
        let start = cpu_nanos();
        for _ in 0..200 {
            for _ in 0..8192 {
                builder.append_text(std::hint::black_box(bytes)).expect("a value");
            }
            std::hint::black_box(builder.finish());
        }
        let nanos = (cpu_nanos() - start) / (200.0 * 8192.0);
        println!("{:<28} {:<26} {nanos:.1} ns", data_type.name(), String::from_utf8_lossy(bytes));
    }
}
