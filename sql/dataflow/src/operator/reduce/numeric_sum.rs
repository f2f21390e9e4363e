//! The running sum of unconstrained numerics: one sum a display scale.
//!
//! PostgreSQL's sum shows the largest display scale among its rows. To take rows back, the sums
//! are kept apart by scale with their counts; special values are counted.

use crate::arrangement::codec::{read_bytes, read_length, write_length};
use crate::error::Result;
use crate::types::numeric::Numeric;

/// Sums by display scale; NaN, infinity and -infinity stand under scales of their own.
#[derive(Debug, Default)]
struct Sums {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    scale: usize,
    count: i64,
    sum: Numeric,
}

/// Past every display scale.
const SPECIAL: usize = 1 << 20;

fn slot(value: &Numeric) -> usize {
    match (value.is_finite(), value.is_nan(), value.signum()) {
        (true, _, _) => value.scale() as usize,
        (_, true, _) => SPECIAL,
        (_, _, 1) => SPECIAL + 1,
        _ => SPECIAL + 2,
    }
}

impl Sums {
    fn decode(blob: Option<&[u8]>) -> Result<Sums> {
        let mut sums = Sums::default();
        let mut rest = blob.unwrap_or(&[]);
        while !rest.is_empty() {
            let scale = read_length(&mut rest)?;
            let mut count = [0; 8];
            count.copy_from_slice(read_bytes(&mut rest, 8)?);
            let length = read_length(&mut rest)?;
            let sum = Numeric::decode(read_bytes(&mut rest, length)?)?;
            sums.entries.push(Entry { scale, count: i64::from_le_bytes(count), sum });
        }
        Ok(sums)
    }

    fn encode(&self) -> Option<Box<[u8]>> {
        let mut out = Vec::new();
        let mut number = Vec::new();
        for entry in &self.entries {
            write_length(entry.scale, &mut out);
            out.extend_from_slice(&entry.count.to_le_bytes());
            number.clear();
            entry.sum.encode(&mut number);
            write_length(number.len(), &mut out);
            out.extend_from_slice(&number);
        }
        (!out.is_empty()).then(|| out.into())
    }
}

/// The sum with `value` added `diff` times.
pub(crate) fn add(blob: Option<&[u8]>, value: &Numeric, diff: i64) -> Result<Option<Box<[u8]>>> {
    let mut sums = Sums::decode(blob)?;
    let scale = slot(value);
    let place = sums.entries.partition_point(|entry| entry.scale < scale);
    if sums.entries.get(place).is_none_or(|entry| entry.scale != scale) {
        let sum = if value.is_finite() { Numeric::from_i128(0, scale as i32) } else { value.clone() };
        sums.entries.insert(place, Entry { scale, count: 0, sum });
    }
    let entry = &mut sums.entries[place];
    entry.count += diff;
    if value.is_finite() {
        entry.sum = entry.sum.add(&value.mul(&Numeric::from_i128(i128::from(diff), 0))?)?;
    }
    if entry.count == 0 {
        sums.entries.remove(place);
    }
    Ok(sums.encode())
}

/// The whole sum and the number of rows in it; `None` over no rows.
pub(crate) fn total(blob: Option<&[u8]>) -> Result<Option<(Numeric, i64)>> {
    let mut total: Option<(Numeric, i64)> = None;
    for entry in Sums::decode(blob)?.entries {
        total = Some(match total {
            None => (entry.sum, entry.count),
            Some((sum, count)) => (sum.add(&entry.sum)?, count + entry.count),
        });
    }
    Ok(total)
}
