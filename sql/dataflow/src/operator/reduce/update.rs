//! Rows into states: one loop a call over the rows of one shard.
//!
//! A diff of -1 takes back what +1 did, exactly (floats: up to rounding, compensated).

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::{Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type};

use super::layout::{CallLayout, Layout, StateKind};
use super::numeric_sum;
use crate::arrangement::groups::Groups;
use crate::error::{Error, Result};
use crate::sketch::{self, Hashes};
use crate::types::PgType;
use crate::types::codec::ValueCodec;
use crate::types::numeric::Numeric;

/// The values behind min and max under retraction: (group, value bytes) to multiplicity.
#[derive(Debug, Default)]
pub(crate) struct Multiset {
    pub(crate) values: BTreeMap<Vec<u8>, i64>,
    pub(crate) dirty: std::collections::BTreeSet<Vec<u8>>,
}

/// The arguments of a call for one batch.
pub(crate) struct Arguments<'a> {
    pub(crate) values: Option<&'a ArrayRef>,
    pub(crate) filter: Option<&'a BooleanArray>,
}

/// The rows of one shard: their places in the batch, their groups, their diffs.
pub(crate) struct ShardRows<'a> {
    pub(crate) rows: &'a [u32],
    pub(crate) ids: &'a [u32],
    pub(crate) diffs: Option<&'a [i64]>,
}

impl Arguments<'_> {
    #[inline]
    fn passes(&self, row: usize) -> bool {
        self.filter.is_none_or(|filter| filter.value(row) && filter.is_valid(row))
    }
}

impl ShardRows<'_> {
    /// Calls `each(row, group, diff)` for the rows that count for this call.
    #[inline]
    fn each(&self, arguments: &Arguments<'_>, mut each: impl FnMut(usize, u32, i64)) {
        for (&row, &id) in self.rows.iter().zip(self.ids) {
            let row = row as usize;
            if arguments.passes(row) && arguments.values.is_none_or(|values| values.is_valid(row)) {
                each(row, id, self.diffs.map_or(1, |diffs| diffs[row]));
            }
        }
    }
}

#[inline(always)]
pub(crate) fn get<const N: usize>(state: &[u8], offset: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&state[offset..offset + N]);
    bytes
}

/// Adds to an i64 of the state.
#[inline(always)]
pub(crate) fn add_i64(state: &mut [u8], offset: usize, diff: i64) {
    let value = i64::from_le_bytes(get(state, offset)).wrapping_add(diff);
    state[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
}

/// Adds rows to (or takes them from) the states of one call.
pub(crate) fn update(
    call: &CallLayout,
    retracts: bool,
    groups: &mut Groups,
    multiset: &mut Multiset,
    arguments: &Arguments<'_>,
    rows: &ShardRows<'_>,
) -> Result<()> {
    let offset = call.offset;
    match call.state {
        StateKind::Count => rows.each(arguments, |_, id, diff| add_i64(groups.fixed_mut(id), offset, diff)),
        StateKind::Integer { .. } => integers(call, groups, arguments, rows)?,
        StateKind::Float => floats(call, groups, arguments, rows)?,
        StateKind::Numeric => numerics(call, groups, arguments, rows)?,
        StateKind::Extreme { max } => extremes(call, max, retracts, groups, multiset, arguments, rows)?,
        StateKind::Flags { decisive } => {
            let values = argument(arguments)?.as_boolean();
            rows.each(arguments, |row, id, _| {
                groups.fixed_mut(id)[offset] |= if values.value(row) == decisive { 3 } else { 1 }
            });
        }
        StateKind::DistinctSketch => {
            let data_type = call.argument.as_ref().ok_or_else(|| Error::internal("an aggregate lacks its argument"))?;
            let mut hashes = Hashes::new(data_type, argument(arguments)?)?;
            rows.each(arguments, |row, id, _| {
                if let Some(hash) = hashes.of(row) {
                    sketch::distinct::add(groups.blob_mut(id, call.blob), hash);
                }
            });
        }
        StateKind::QuantileSketch => {
            let values = argument(arguments)?.as_primitive::<Float64Type>().values();
            rows.each(arguments, |row, id, diff| {
                sketch::quantile::add(groups.blob_mut(id, call.blob), values[row], diff.unsigned_abs());
            });
        }
        StateKind::Decisive { decisive } => {
            let values = argument(arguments)?.as_boolean();
            rows.each(arguments, |row, id, diff| {
                let state = groups.fixed_mut(id);
                add_i64(state, offset, diff);
                if values.value(row) == decisive {
                    add_i64(state, offset + 8, diff);
                }
            });
        }
    }
    Ok(())
}

fn argument<'a>(arguments: &Arguments<'a>) -> Result<&'a ArrayRef> {
    arguments.values.ok_or_else(|| Error::internal("an aggregate lacks its argument"))
}

fn integers(call: &CallLayout, groups: &mut Groups, arguments: &Arguments<'_>, rows: &ShardRows<'_>) -> Result<()> {
    let offset = call.offset;
    let mut add = |id: u32, value: i128, diff: i64| {
        let state = groups.fixed_mut(id);
        let sum = i128::from_le_bytes(get(state, offset)).wrapping_add(value.wrapping_mul(i128::from(diff)));
        state[offset..offset + 16].copy_from_slice(&sum.to_le_bytes());
        add_i64(state, offset + 16, diff);
    };
    let array = argument(arguments)?;
    match call.argument {
        Some(PgType::Int2) => {
            let values = array.as_primitive::<Int16Type>().values();
            rows.each(arguments, |row, id, diff| add(id, i128::from(values[row]), diff));
        }
        Some(PgType::Int4) => {
            let values = array.as_primitive::<Int32Type>().values();
            rows.each(arguments, |row, id, diff| add(id, i128::from(values[row]), diff));
        }
        Some(PgType::Int8) => {
            let values = array.as_primitive::<Int64Type>().values();
            rows.each(arguments, |row, id, diff| add(id, i128::from(values[row]), diff));
        }
        _ => {
            let values = array.as_primitive::<Decimal128Type>().values();
            rows.each(arguments, |row, id, diff| add(id, values[row], diff));
        }
    }
    Ok(())
}

fn floats(call: &CallLayout, groups: &mut Groups, arguments: &Arguments<'_>, rows: &ShardRows<'_>) -> Result<()> {
    let array = argument(arguments)?;
    let offset = call.offset;
    if call.argument == Some(PgType::Float4) {
        let values = array.as_primitive::<Float32Type>().values();
        rows.each(arguments, |row, id, diff| {
            add_float(&mut groups.fixed_mut(id)[offset..offset + 48], f64::from(values[row]), diff)
        });
    } else {
        let values = array.as_primitive::<Float64Type>().values();
        rows.each(arguments, |row, id, diff| {
            add_float(&mut groups.fixed_mut(id)[offset..offset + 48], values[row], diff)
        });
    }
    Ok(())
}

/// Neumaier's compensated sum (1974), so that taking back what was added leaves next to nothing;
/// NaN and infinities are counted, for they cannot be taken back.
fn add_float(state: &mut [u8], value: f64, diff: i64) {
    if !value.is_finite() {
        let place = if value.is_nan() {
            24
        } else if value > 0.0 {
            32
        } else {
            40
        };
        return add_i64(state, place, diff);
    }
    add_i64(state, 16, diff);
    if i64::from_le_bytes(get(state, 16)) == 0 {
        state[..16].fill(0);
        return;
    }
    let added = value * diff as f64;
    let sum = f64::from_le_bytes(get(state, 0));
    let mut lost = f64::from_le_bytes(get(state, 8));
    let total = sum + added;
    lost += if sum.abs() >= added.abs() { (sum - total) + added } else { (added - total) + sum };
    state[..8].copy_from_slice(&total.to_le_bytes());
    state[8..16].copy_from_slice(&lost.to_le_bytes());
}

fn numerics(call: &CallLayout, groups: &mut Groups, arguments: &Arguments<'_>, rows: &ShardRows<'_>) -> Result<()> {
    let array = argument(arguments)?;
    let mut failed = None;
    let mut add = |id: u32, value: Result<Numeric>, diff: i64| {
        let blob = groups.blob_mut(id, call.blob);
        match value.and_then(|value| numeric_sum::add(blob.as_deref(), &value, diff)) {
            Ok(sum) => *blob = sum,
            Err(error) => failed = Some(error),
        }
    };
    match call.argument {
        Some(PgType::Numeric(Some((_, scale)))) => {
            let values = array.as_primitive::<Decimal128Type>().values();
            rows.each(arguments, |row, id, diff| add(id, Ok(Numeric::from_i128(values[row], i32::from(scale))), diff));
        }
        _ => {
            let values = array.as_binary::<i32>();
            rows.each(arguments, |row, id, diff| add(id, Numeric::decode(values.value(row)), diff));
        }
    }
    failed.map_or(Ok(()), Err)
}

fn extremes(
    call: &CallLayout,
    max: bool,
    retracts: bool,
    groups: &mut Groups,
    multiset: &mut Multiset,
    arguments: &Arguments<'_>,
    rows: &ShardRows<'_>,
) -> Result<()> {
    let codec = ValueCodec::new(
        call.argument.clone().ok_or_else(|| Error::internal("an aggregate lacks its argument"))?,
        false,
    );
    let column = codec.column(argument(arguments)?)?;
    let mut bytes = Vec::new();
    let mut changed = Vec::new();
    rows.each(arguments, |row, id, diff| {
        bytes.clear();
        if retracts {
            bytes.extend_from_slice(&id.to_be_bytes());
        }
        codec.write(&column, row, &mut bytes);
        if !retracts {
            let blob = groups.blob_mut(id, call.blob);
            if blob.as_deref().is_none_or(|best| if max { bytes.as_slice() > best } else { bytes.as_slice() < best }) {
                *blob = Some(bytes.as_slice().into());
            }
            return;
        }
        let count = multiset.values.entry(bytes.clone()).or_insert(0);
        *count += diff;
        if *count == 0 {
            multiset.values.remove(&bytes);
        }
        multiset.dirty.insert(bytes.clone());
        changed.push(id);
    });
    changed.sort_unstable();
    changed.dedup();
    for id in changed {
        let (low, high) = (id.to_be_bytes().to_vec(), (u64::from(id) + 1).to_be_bytes()[4..].to_vec());
        // The last group's range has no upper end below 2^32.
        let mut range = if id == u32::MAX { multiset.values.range(low..) } else { multiset.values.range(low..high) };
        let best = if max { range.next_back() } else { range.next() };
        *groups.blob_mut(id, call.blob) = best.map(|(value, _)| value[4..].into());
    }
    Ok(())
}

/// Adds the rows' multiplicities to their groups' counts.
pub(crate) fn count_rows(layout: &Layout, groups: &mut Groups, rows: &ShardRows<'_>) {
    if layout.counted {
        for (&row, &id) in rows.rows.iter().zip(rows.ids) {
            add_i64(groups.fixed_mut(id), 0, rows.diffs.map_or(1, |diffs| diffs[row as usize]));
        }
    }
}
