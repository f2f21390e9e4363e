//! The bytes of a numeric in an Arrow Binary column: memcmp order is numeric order.
//!
//! One byte of sign and magnitude (or it and a four-byte exponent), the digits in pairs without
//! leading and trailing zero pairs, a terminator; all of these complemented for a negative number.
//! The display scale follows only where it is larger than the digits need, so that the bytes
//! without it are the same for equal numbers. These bytes are a disk format: a change of them is
//! a change of the format version.

use std::borrow::Cow;

use num_bigint::{BigInt, Sign};

use super::{Int, Kind, MAX_SCALE, Numeric};
use crate::error::{Error, Result, SqlState};

const NEG_INFINITY: u8 = 0x01;
const ZERO: u8 = 0x80;
/// A positive number whose exponent is below the short range: four exponent bytes follow.
const TINY: u8 = 0x81;
/// The first of the 48 heads that hold their exponent.
const SHORT: u8 = 0x82;
/// A positive number whose exponent is above the short range.
const HUGE: u8 = 0xB2;
const INFINITY: u8 = 0xF0;
const NAN: u8 = 0xF1;
/// The exponents (in pairs of digits) that the head holds.
const SHORT_LOW: i32 = -16;
const SHORT_HIGH: i32 = 31;
const BIAS: i32 = 1 << 24;

impl Numeric {
    /// Appends the bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (value, scale) = match &self.0 {
            Kind::NegInfinity => return out.push(NEG_INFINITY),
            Kind::Infinity => return out.push(INFINITY),
            Kind::NaN => return out.push(NAN),
            Kind::Finite(value, scale) => (value, *scale),
        };
        match value {
            Int::Small(value) => encode_small(*value, scale, out),
            Int::Big(value) => {
                let even = if scale % 2 == 1 { value.magnitude() * 10u32 } else { value.magnitude().clone() };
                let pairs = even.to_radix_be(100);
                encode_pairs(value.sign() == Sign::Minus, &pairs, scale, out);
            }
        }
    }

    /// The number of some bytes (with or without their scale). Errors XX001 where they are none.
    pub fn decode(bytes: &[u8]) -> Result<Numeric> {
        let damaged = || Error::new(SqlState::DataCorrupted, "damaged numeric value");
        let (&head, _) = bytes.split_first().ok_or_else(damaged)?;
        match head {
            NEG_INFINITY => return Ok(Numeric::NEG_INFINITY),
            INFINITY => return Ok(Numeric::INFINITY),
            NAN => return Ok(Numeric::NAN),
            ZERO => {
                let scale = decode_scale(&bytes[1..]).ok_or_else(damaged)?.unwrap_or(0);
                return Ok(Numeric::finite(Int::ZERO, scale));
            }
            _ => {}
        }
        let flip = if head < ZERO { 0xFF } else { 0 };
        let (exponent, start) = decode_exponent(bytes, flip).ok_or_else(damaged)?;
        let end = start + bytes[start..].iter().position(|byte| byte ^ flip == 0).ok_or_else(damaged)?;
        let pairs = &bytes[start..end];
        if pairs.is_empty() || pairs.iter().any(|byte| (byte ^ flip) > 100) {
            return Err(damaged());
        }
        let least = least_scale(pairs.len(), exponent, (pairs[pairs.len() - 1] ^ flip) - 1);
        let scale = decode_scale(&bytes[end + 1..]).ok_or_else(damaged)?.unwrap_or(least);
        if scale < least || scale > MAX_SCALE {
            return Err(damaged());
        }
        let mut value = pairs_to_int(pairs, flip);
        // The pairs stand for value / 100^(len - exponent).
        let shift = i64::from(scale) - 2 * (pairs.len() as i64 - i64::from(exponent));
        value = match u32::try_from(shift) {
            Ok(shift) => value.shift(shift),
            Err(_) => value.div_rem(&Int::pow10(shift.unsigned_abs() as u32)).0,
        };
        Ok(Numeric::finite(if flip == 0 { value } else { value.neg() }, scale))
    }
}

/// The part of some encoded bytes that is the same for equal numbers (1.0 and 1.00): what keys are
/// made of. [`Numeric::decode`] reads it as the number without trailing zeros.
pub fn canonical_bytes(bytes: &[u8]) -> Cow<'_, [u8]> {
    Cow::Borrowed(&bytes[..canonical_len(bytes)])
}

/// How many of some encoded bytes are the canonical part.
fn canonical_len(bytes: &[u8]) -> usize {
    let Some(&head) = bytes.first() else { return 0 };
    if matches!(head, NEG_INFINITY | ZERO | INFINITY | NAN) {
        return 1;
    }
    let flip = if head < ZERO { 0xFF } else { 0 };
    let start = if matches!(head ^ flip, TINY | HUGE) { 5 } else { 1 };
    let digits = bytes.get(start..).unwrap_or_default();
    digits.iter().position(|byte| byte ^ flip == 0).map_or(bytes.len(), |end| start + end + 1)
}

fn encode_small(value: i128, scale: u32, out: &mut Vec<u8>) {
    let mut pairs = [0u8; 20];
    let mut at = pairs.len();
    let mut magnitude = value.unsigned_abs();
    if scale % 2 == 1 {
        // The lowest pair is the last digit and the zero that makes the scale even.
        at -= 1;
        pairs[at] = (magnitude % 10) as u8 * 10;
        magnitude /= 10;
    }
    while magnitude > u128::from(u64::MAX) {
        at -= 1;
        pairs[at] = (magnitude % 100) as u8;
        magnitude /= 100;
    }
    let mut low = magnitude as u64;
    while low > 0 {
        at -= 1;
        pairs[at] = (low % 100) as u8;
        low /= 100;
    }
    encode_pairs(value < 0, &pairs[at..], scale, out);
}

/// Encodes `pairs / 100^ceil(scale / 2)`.
fn encode_pairs(negative: bool, pairs: &[u8], scale: u32, out: &mut Vec<u8>) {
    let start = pairs.iter().position(|pair| *pair != 0);
    let Some(start) = start else {
        out.push(ZERO);
        if scale > 0 {
            encode_scale(scale, out);
        }
        return;
    };
    let end = pairs.iter().rposition(|pair| *pair != 0).map_or(start, |last| last + 1);
    let exponent = (pairs.len() - start) as i32 - scale.div_ceil(2) as i32;
    let flip = if negative { 0xFF } else { 0 };
    match exponent {
        SHORT_LOW..=SHORT_HIGH => out.push((SHORT + (exponent - SHORT_LOW) as u8) ^ flip),
        _ => {
            out.push((if exponent < SHORT_LOW { TINY } else { HUGE }) ^ flip);
            out.extend((exponent + BIAS).to_be_bytes().map(|byte| byte ^ flip));
        }
    }
    out.extend(pairs[start..end].iter().map(|pair| (pair + 1) ^ flip));
    out.push(flip);
    if scale > least_scale(end - start, exponent, pairs[end - 1]) {
        encode_scale(scale, out);
    }
}

/// The scale that these digits need.
fn least_scale(pairs: usize, exponent: i32, last: u8) -> u32 {
    let fraction = 2 * (pairs as i64 - i64::from(exponent));
    if fraction <= 0 { 0 } else { (fraction - i64::from(last.is_multiple_of(10))) as u32 }
}

fn encode_scale(scale: u32, out: &mut Vec<u8>) {
    if scale < 0x80 {
        out.push(scale as u8);
    } else {
        out.extend((scale as u16 | 0x8000).to_be_bytes());
    }
}

/// The scale at the end: `Some(None)` if there is none, `None` if the bytes are no scale.
fn decode_scale(bytes: &[u8]) -> Option<Option<u32>> {
    match bytes {
        [] => Some(None),
        [scale] if *scale < 0x80 => Some(Some(u32::from(*scale))),
        [high, low] if *high >= 0x80 => Some(Some(u32::from(u16::from_be_bytes([high & 0x7F, *low])))),
        _ => None,
    }
}

/// The exponent and where the digits start.
fn decode_exponent(bytes: &[u8], flip: u8) -> Option<(i32, usize)> {
    match bytes[0] ^ flip {
        head @ SHORT..HUGE => Some((i32::from(head - SHORT) + SHORT_LOW, 1)),
        TINY | HUGE => {
            let four: [u8; 4] = bytes.get(1..5)?.try_into().ok()?;
            let exponent = i32::from_be_bytes(four.map(|byte| byte ^ flip)).checked_sub(BIAS)?;
            (-10_000..=70_000).contains(&exponent).then_some((exponent, 5))
        }
        _ => None,
    }
}

fn pairs_to_int(pairs: &[u8], flip: u8) -> Int {
    if pairs.len() <= 9 {
        let value = pairs.iter().fold(0u64, |sum, byte| sum * 100 + u64::from((byte ^ flip) - 1));
        return Int::Small(i128::from(value));
    }
    if pairs.len() <= 19 {
        let value = pairs.iter().fold(0i128, |sum, byte| sum * 100 + i128::from((byte ^ flip) - 1));
        return Int::Small(value);
    }
    let digits: Vec<u8> = pairs.iter().map(|byte| (byte ^ flip) - 1).collect();
    Int::from_big(BigInt::from_radix_be(Sign::Plus, &digits, 100).unwrap_or_default())
}
