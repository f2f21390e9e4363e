//! How many different values there were: HyperLogLog with 2^14 registers.
//!
//! Standard error 1.04 / sqrt(2^14) = 0.8 %, at any number of values: registers as in Flajolet, Fusy,
//! Gandouet, Meunier (2007), the estimate as in Ertl, New cardinality estimation algorithms (2017),
//! which needs no correction of bias. Few values are a list of the registers that are not zero, three
//! bytes each; from `SPARSE` on all registers are there, a byte each.

use super::Bytes;
use crate::error::{Error, Result};

/// Bits of a hash that choose its register.
const PRECISION: u32 = 14;

/// Registers.
const REGISTERS: usize = 1 << PRECISION;

/// The bits of a hash behind those; a register holds at most one more.
const REST: u32 = 64 - PRECISION;

/// The longest list of registers that are not zero.
const SPARSE: usize = 1024;

/// Bytes of an entry of that list: the register, high byte first, and what it holds.
const ENTRY: usize = 3;

/// 1 / (2 ln 2).
const ALPHA: f64 = 0.721_347_520_444_481_7;

/// Takes a value in, by its hash.
pub fn add(sketch: &mut Bytes, hash: u64) {
    let register = (hash >> REST) as usize;
    let rank = (hash << PRECISION).leading_zeros().min(REST) + 1;
    raise(sketch, register, rank as u8);
}

/// Takes in what another sketch has.
pub fn merge(sketch: &mut Bytes, other: &[u8]) -> Result<()> {
    if other.len() != REGISTERS && (!other.len().is_multiple_of(ENTRY) || other.len() > SPARSE * ENTRY) {
        return Err(Error::internal("bytes that are no sketch of distinct values"));
    }
    registers(other, |register, rank| raise(sketch, register, rank));
    Ok(())
}

/// About how many different values were taken in.
pub fn estimate(sketch: Option<&[u8]>) -> i64 {
    let Some(sketch) = sketch else { return 0 };
    let mut counts = [0_u32; REST as usize + 2];
    counts[0] = REGISTERS as u32;
    registers(sketch, |_, rank| {
        counts[0] -= 1;
        counts[usize::from(rank).min(REST as usize + 1)] += 1;
    });
    let all = REGISTERS as f64;
    let mut sum = all * tau(1.0 - f64::from(counts[REST as usize + 1]) / all);
    for count in counts[1..=REST as usize].iter().rev() {
        sum = 0.5 * (sum + f64::from(*count));
    }
    sum += all * sigma(f64::from(counts[0]) / all);
    (ALPHA * all * all / sum).round() as i64
}

/// Calls `each` for every register that is not zero.
fn registers(sketch: &[u8], mut each: impl FnMut(usize, u8)) {
    if sketch.len() == REGISTERS {
        sketch.iter().enumerate().filter(|(_, rank)| **rank != 0).for_each(|(register, rank)| each(register, *rank));
    } else {
        sketch.chunks_exact(ENTRY).for_each(|entry| each(place(entry), entry[2]));
    }
}

fn place(entry: &[u8]) -> usize {
    usize::from(u16::from_be_bytes([entry[0], entry[1]]))
}

/// Raises a register to a rank, if it is below.
fn raise(sketch: &mut Bytes, register: usize, rank: u8) {
    let known = sketch.get_or_insert_default();
    if known.len() == REGISTERS {
        known[register] = known[register].max(rank);
        return;
    }
    let count = known.len() / ENTRY;
    // The first entry that is not before it.
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = usize::midpoint(low, high);
        if place(&known[middle * ENTRY..]) < register { low = middle + 1 } else { high = middle }
    }
    let at = low * ENTRY;
    if low < count && place(&known[at..]) == register {
        known[at + 2] = known[at + 2].max(rank);
        return;
    }
    if count == SPARSE {
        let mut all = vec![0_u8; REGISTERS].into_boxed_slice();
        registers(known, |register, rank| all[register] = rank);
        all[register] = rank;
        *known = all;
        return;
    }
    let mut longer = Vec::with_capacity(known.len() + ENTRY);
    longer.extend_from_slice(&known[..at]);
    longer.extend_from_slice(&(register as u16).to_be_bytes());
    longer.push(rank);
    longer.extend_from_slice(&known[at..]);
    *known = longer.into_boxed_slice();
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut weight, mut sum) = (1.0, x);
    loop {
        x *= x;
        let before = sum;
        sum += x * weight;
        weight += weight;
        if sum == before {
            return sum;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut weight, mut sum) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = sum;
        weight *= 0.5;
        sum -= (1.0 - x) * (1.0 - x) * weight;
        if sum == before {
            return sum / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrangement::hash::hash_bytes;

    fn of(values: impl Iterator<Item = u64>) -> Bytes {
        let mut sketch = None;
        values.for_each(|value| add(&mut sketch, hash_bytes(&value.to_be_bytes())));
        sketch
    }

    #[test]
    fn estimates_are_within_the_error_that_is_promised() {
        assert_eq!(estimate(None), 0);
        assert_eq!(estimate(of(0..1).as_deref()), 1);
        let mut squares = 0.0;
        let mut trials = 0;
        for count in [10_u64, 100, 1_000, 5_000, 20_000, 50_000, 100_000, 400_000] {
            for seed in 0..6_u64 {
                let sketch = of((0..count).map(|n| n + (seed << 40)));
                let error = estimate(sketch.as_deref()) as f64 / count as f64 - 1.0;
                assert!(error.abs() < 0.035, "{count} values, seed {seed}: {error}");
                squares += error * error;
                trials += 1;
            }
        }
        let standard = (squares / f64::from(trials)).sqrt();
        assert!(standard < 0.01, "the standard error is {standard}");
    }

    #[test]
    fn order_repetition_and_parts_do_not_matter() {
        for count in [50_u64, 1_020, 1_030, 30_000] {
            let forth = of(0..count);
            assert_eq!(forth, of((0..count).rev().chain(0..count)), "{count}");
            let mut merged = of(0..count / 3);
            merge(&mut merged, &of(count / 3..count).unwrap()).unwrap();
            merge(&mut merged, forth.as_deref().unwrap()).unwrap();
            assert_eq!(forth, merged, "{count}");
            assert!(forth.unwrap().len() <= REGISTERS);
        }
        assert!(merge(&mut None, &[1, 2]).is_err());
    }
}
