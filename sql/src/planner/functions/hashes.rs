//! PostgreSQL's hash functions of text and integers, which clients call for the numbers of locks.
//!
//! Promises: PostgreSQL 15's numbers, on every machine: Bob Jenkins's lookup3, read as little-endian.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array};
use arrow::datatypes::{Int16Type, Int32Type, Int64Type};
use thalweg_dataflow::Result;
use thalweg_dataflow::types::PgType::{Int2, Int4, Int8, Text};

use super::Definition;
use super::arithmetic::primitive;
use super::text::strings;
use super::udf::Input;

/// The functions.
pub(super) const FUNCTIONS: &[Definition] = &[
    Definition { name: "hashtext", args: &[Text], variadic: false, result: Int4, kernel: hash_text },
    Definition { name: "hashtextextended", args: &[Text, Int8], variadic: false, result: Int8, kernel: extended },
    Definition { name: "hashint2", args: &[Int2], variadic: false, result: Int4, kernel: hash_number },
    Definition { name: "hashint4", args: &[Int4], variadic: false, result: Int4, kernel: hash_number },
    Definition { name: "hashint8", args: &[Int8], variadic: false, result: Int4, kernel: hash_number },
];

/// The three numbers that the bytes go through.
#[derive(Debug, Clone, Copy)]
struct Mixer {
    a: u32,
    b: u32,
    c: u32,
}

impl Mixer {
    fn new(length: usize) -> Mixer {
        let start = 0x9e37_79b9u32.wrapping_add(length as u32).wrapping_add(3_923_095);
        Mixer { a: start, b: start, c: start }
    }

    /// `x -= y; x ^= y rotated; y += z`.
    fn step(x: &mut u32, y: &mut u32, z: u32, by: u32) {
        *x = x.wrapping_sub(*y) ^ y.rotate_left(by);
        *y = y.wrapping_add(z);
    }

    fn mix(&mut self) {
        let Mixer { a, b, c } = self;
        Mixer::step(a, c, *b, 4);
        Mixer::step(b, a, *c, 6);
        Mixer::step(c, b, *a, 8);
        Mixer::step(a, c, *b, 16);
        Mixer::step(b, a, *c, 19);
        Mixer::step(c, b, *a, 4);
    }

    fn finish(&mut self) {
        let turn = |x: &mut u32, y: u32, by: u32| *x = (*x ^ y).wrapping_sub(y.rotate_left(by));
        turn(&mut self.c, self.b, 14);
        turn(&mut self.a, self.c, 11);
        turn(&mut self.b, self.a, 25);
        turn(&mut self.c, self.b, 16);
        turn(&mut self.a, self.c, 4);
        turn(&mut self.b, self.a, 14);
        turn(&mut self.c, self.b, 24);
    }

    fn eat(&mut self, bytes: &[u8]) {
        let mut blocks = bytes.chunks_exact(12);
        for block in &mut blocks {
            self.add(block);
            self.mix();
        }
        let rest = blocks.remainder();
        let mut last = [0; 12];
        last[..rest.len().min(8)].copy_from_slice(&rest[..rest.len().min(8)]);
        // The lowest byte of the third number is the length's.
        last[9..][..rest.len().saturating_sub(8)].copy_from_slice(rest.get(8..).unwrap_or_default());
        self.add(&last);
        self.finish();
    }

    fn add(&mut self, block: &[u8]) {
        let word = |at: usize| u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
        self.a = self.a.wrapping_add(word(0));
        self.b = self.b.wrapping_add(word(4));
        self.c = self.c.wrapping_add(word(8));
    }
}

fn hash_bytes(bytes: &[u8]) -> u32 {
    let mut mixer = Mixer::new(bytes.len());
    mixer.eat(bytes);
    mixer.c
}

fn hash_word(word: u32) -> u32 {
    let mut mixer = Mixer::new(4);
    mixer.a = mixer.a.wrapping_add(word);
    mixer.finish();
    mixer.c
}

fn hash_extended(bytes: &[u8], seed: i64) -> i64 {
    let mut mixer = Mixer::new(bytes.len());
    if seed != 0 {
        mixer.a = mixer.a.wrapping_add((seed >> 32) as u32);
        mixer.b = mixer.b.wrapping_add(seed as u32);
        mixer.mix();
    }
    mixer.eat(bytes);
    ((u64::from(mixer.b) << 32) | u64::from(mixer.c)) as i64
}

fn hash_text(input: &Input<'_>) -> Result<ArrayRef> {
    let texts = strings(input, 0)?;
    Ok(Arc::new(texts.iter().map(|text| text.map(|text| hash_bytes(text.as_bytes()) as i32)).collect::<Int32Array>()))
}

fn extended(input: &Input<'_>) -> Result<ArrayRef> {
    let (texts, seeds) = (strings(input, 0)?, primitive::<Int64Type>(input, 1)?);
    let hashed = texts.iter().zip(seeds.iter());
    let hashed = hashed.map(|(text, seed)| Some(hash_extended(text?.as_bytes(), seed?)));
    Ok(Arc::new(hashed.collect::<Int64Array>()))
}

/// Equal numbers have one hash, whatever their type.
fn hash_number(input: &Input<'_>) -> Result<ArrayRef> {
    let numbers: Vec<Option<i64>> = match input.op() {
        "hashint2" => primitive::<Int16Type>(input, 0)?.iter().map(|number| number.map(i64::from)).collect(),
        "hashint4" => primitive::<Int32Type>(input, 0)?.iter().map(|number| number.map(i64::from)).collect(),
        _ => primitive::<Int64Type>(input, 0)?.iter().collect(),
    };
    let hash = |number: i64| {
        let (low, high) = (number as u32, (number >> 32) as u32);
        hash_word(low ^ if number >= 0 { high } else { !high }) as i32
    };
    Ok(Arc::new(numbers.into_iter().map(|number| number.map(hash)).collect::<Int32Array>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_postgresqls() {
        assert_eq!(hash_bytes(b"") as i32, -1_477_818_771);
        assert_eq!(hash_bytes(b"abc") as i32, -785_388_649);
        assert_eq!(hash_bytes(b"hello world, this is longer than twelve") as i32, -1_245_504_862);
        assert_eq!(hash_extended(b"abc", 5), -8_227_931_761_584_822_072);
        assert_eq!(hash_extended(b"abc", 0), -6_747_756_470_228_489_321);
        assert_eq!(hash_word(5) as i32, -1_330_264_708);
    }
}
