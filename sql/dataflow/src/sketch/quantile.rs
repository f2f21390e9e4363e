//! Values at a share of the way through their order: DDSketch (Masson, Rim, Lee, 2019).
//!
//! Every value falls into a bucket whose bounds are 2 % apart, so that what stands for it is wrong by
//! at most [`ERROR`] of it; the answer is that of `percentile_disc` with that error. Zero, the
//! infinities and NaN (which is the greatest, as in PostgreSQL) are exact. No bucket is ever merged: a
//! double's range has about 73,000 of each sign, and that bounds the state; values of six orders of
//! magnitude need 700. A bucket is twelve bytes: its number, then its count.

use super::Bytes;
use crate::error::{Error, Result};

/// The relative error.
pub const ERROR: f64 = 0.01;

/// The ratio of a bucket's bounds.
const GAMMA: f64 = (1.0 + ERROR) / (1.0 - ERROR);

/// Added to the exponents of positive values, so that all of them are positive.
const SHIFT: i32 = 40_000;

const INFINITY: i32 = 100_000;
const NAN: i32 = 100_001;

const NUMBER: usize = 4;
const ENTRY: usize = NUMBER + 8;

/// Takes a value in, so many times.
pub fn add(sketch: &mut Bytes, value: f64, times: u64) {
    add_count(sketch, bucket(value), times);
}

/// Takes in what another sketch has.
pub fn merge(sketch: &mut Bytes, other: &[u8]) -> Result<()> {
    if !other.len().is_multiple_of(ENTRY) {
        return Err(Error::internal("bytes that are no sketch of quantiles"));
    }
    other.chunks_exact(ENTRY).for_each(|entry| add_count(sketch, number(entry), count(entry)));
    Ok(())
}

/// The first value, in order, of which at least this share of the values is no greater.
pub fn value_at(sketch: Option<&[u8]>, fraction: f64) -> Option<f64> {
    let sketch = sketch?;
    let all: u64 = sketch.chunks_exact(ENTRY).map(count).sum();
    let wanted = (fraction * all as f64).ceil().max(1.0) as u64;
    let mut seen = 0;
    let found = sketch.chunks_exact(ENTRY).find(|entry| {
        seen += count(entry);
        seen >= wanted
    });
    found.or(sketch.chunks_exact(ENTRY).next_back()).map(|entry| middle(number(entry)))
}

/// The number of a value's bucket; numbers have the order of the values.
fn bucket(value: f64) -> i32 {
    let exponent = |size: f64| (size.ln() / GAMMA.ln()).ceil() as i32 + SHIFT;
    match value {
        _ if value.is_nan() => NAN,
        f64::INFINITY => INFINITY,
        f64::NEG_INFINITY => -INFINITY,
        0.0 => 0,
        _ if value < 0.0 => -exponent(-value),
        _ => exponent(value),
    }
}

/// What stands for the values of a bucket.
fn middle(number: i32) -> f64 {
    // Halved before it is raised: twice the greatest double is none.
    let size = |number: i32| (2.0 / (GAMMA + 1.0)) * (f64::from(number - SHIFT) * GAMMA.ln()).exp();
    match number {
        NAN => f64::NAN,
        INFINITY => f64::INFINITY,
        0 => 0.0,
        _ if number == -INFINITY => f64::NEG_INFINITY,
        _ if number < 0 => -size(-number).min(f64::MAX),
        _ => size(number).min(f64::MAX),
    }
}

fn number(entry: &[u8]) -> i32 {
    let mut bytes = [0; NUMBER];
    bytes.copy_from_slice(&entry[..NUMBER]);
    i32::from_le_bytes(bytes)
}

fn count(entry: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&entry[NUMBER..ENTRY]);
    u64::from_le_bytes(bytes)
}

fn add_count(sketch: &mut Bytes, wanted: i32, more: u64) {
    let known = sketch.get_or_insert_default();
    let entries = known.len() / ENTRY;
    // The first entry that is not before it.
    let (mut low, mut high) = (0, entries);
    while low < high {
        let middle = usize::midpoint(low, high);
        if number(&known[middle * ENTRY..]) < wanted { low = middle + 1 } else { high = middle }
    }
    let at = low * ENTRY;
    if low < entries && number(&known[at..]) == wanted {
        let sum = count(&known[at..]) + more;
        known[at + NUMBER..at + ENTRY].copy_from_slice(&sum.to_le_bytes());
        return;
    }
    let mut longer = Vec::with_capacity(known.len() + ENTRY);
    longer.extend_from_slice(&known[..at]);
    longer.extend_from_slice(&wanted.to_le_bytes());
    longer.extend_from_slice(&more.to_le_bytes());
    longer.extend_from_slice(&known[at..]);
    *known = longer.into_boxed_slice();
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    fn of(values: &[f64]) -> Bytes {
        let mut sketch = None;
        values.iter().for_each(|value| add(&mut sketch, *value, 1));
        sketch
    }

    #[test]
    fn values_are_within_the_error_that_is_promised() {
        assert_eq!(value_at(None, 0.5), None);
        let mut random = StdRng::seed_from_u64(7);
        for (count, spread) in [(1, 1.0), (10, 3.0), (1_000, 0.1), (20_000, 12.0), (5_000, 300.0)] {
            let mut values: Vec<f64> = (0..count)
                .map(|_| {
                    let sign = if random.random_range(0..4) == 0 { -1.0_f64 } else { 1.0 };
                    sign * (random.random_range(-1.0..1.0_f64) * spread).exp()
                })
                .collect();
            let sketch = of(&values);
            values.sort_by(f64::total_cmp);
            for fraction in [0.0, 0.001, 0.1, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0] {
                let place = ((fraction * count as f64).ceil() as usize).max(1) - 1;
                let (exact, found) = (values[place], value_at(sketch.as_deref(), fraction).unwrap());
                let error = (found - exact).abs() / exact.abs();
                assert!(error <= ERROR * 1.000_001, "{fraction} of {count}: {found} for {exact}");
            }
        }
    }

    #[test]
    fn the_ends_of_the_range_are_kept_apart() {
        let values = [f64::NEG_INFINITY, f64::MIN, -1.0, -5e-324, 0.0, 5e-324, 1.0, f64::MAX, f64::INFINITY, f64::NAN];
        let sketch = of(&values);
        for (place, value) in values.iter().enumerate() {
            let found = value_at(sketch.as_deref(), (place as f64 + 1.0) / 10.0 - 1e-9).unwrap();
            let near = found == *value || (found.is_nan() && value.is_nan());
            // The least double has no neighbour within an hundredth of it.
            let near = near || (found - value).abs() <= (value.abs() * ERROR * 1.000_001).max(5e-324);
            assert!(near, "{found} for {value}");
        }
        assert_eq!(value_at(of(&[-0.0, 0.0]).as_deref(), 0.5), Some(0.0));
    }

    #[test]
    fn order_and_parts_do_not_matter() {
        let values: Vec<f64> = (0..2_000).map(|n| f64::from(n * 7919 % 2_003) - 700.0).collect();
        let forth = of(&values);
        assert_eq!(forth, of(&values.iter().rev().copied().collect::<Vec<_>>()));
        let mut merged = of(&values[..300]);
        merge(&mut merged, &of(&values[300..]).unwrap()).unwrap();
        assert_eq!(forth, merged);
        assert!(merge(&mut None, &[1]).is_err());
    }
}
