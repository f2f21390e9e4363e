//! The table behind `count(DISTINCT x) FILTER (...)`: (group, x) to one bit or counter a condition.
//!
//! All distinct calls over one argument share one table, sharded by (group, x), not by group: a
//! skewed group does not make a skewed shard. It says when a value appears in or vanishes from a
//! group; the calls then count values as they would count rows.

use arrow::array::{Array, ArrayRef, BooleanArray};
use parking_lot::Mutex;
use rayon::prelude::*;

use super::layout::DistinctLayout;
use crate::arrangement::groups::Marks;
use crate::arrangement::hash::{SHARDS, hash_bytes, shard_of};
use crate::arrangement::key_table::KeyTable;
use crate::error::{Error, Result};
use crate::types::codec::ValueCodec;

/// The sharded table of one argument.
#[derive(Debug)]
pub(crate) struct DistinctTable {
    pub(crate) layout: DistinctLayout,
    counted: bool,
    pub(crate) shards: Vec<Mutex<DistinctShard>>,
}

/// One shard of it.
#[derive(Debug)]
pub(crate) struct DistinctShard {
    pub(crate) keys: KeyTable,
    width: usize,
    state: Vec<u8>,
    dirty: Marks,
}

/// A value appeared in (+1) or vanished from (-1) a group under one condition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Transition {
    /// The group.
    pub(crate) group: u32,
    /// A row of the batch with this value.
    pub(crate) row: u32,
    /// The condition's place.
    pub(crate) filter: u32,
    /// +1 or -1.
    pub(crate) diff: i64,
}

/// The rows of a batch that a distinct table looks at.
pub(crate) struct DistinctRows<'a> {
    pub(crate) rows: &'a [u32],
    pub(crate) groups: &'a [u32],
    pub(crate) values: &'a ArrayRef,
    pub(crate) filters: &'a [Option<&'a BooleanArray>],
    pub(crate) diffs: Option<&'a [i64]>,
}

/// The keys of the rows that count, sorted by shard.
struct Prepared {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    starts: [usize; SHARDS + 1],
}

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    hash: u64,
    start: u32,
    end: u32,
    row: u32,
    group: u32,
    mask: u64,
}

impl DistinctTable {
    /// An empty table. `counted`: the input can retract, so values are counted.
    pub(crate) fn new(layout: &DistinctLayout, counted: bool) -> DistinctTable {
        let width = if counted { layout.filters.len() * 8 } else { layout.filters.len().div_ceil(8) };
        let shard = || {
            Mutex::new(DistinctShard { keys: KeyTable::default(), width, state: Vec::new(), dirty: Marks::default() })
        };
        DistinctTable { layout: layout.clone(), counted, shards: (0..SHARDS).map(|_| shard()).collect() }
    }

    /// Bytes of memory.
    pub(crate) fn memory(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().memory()).sum()
    }

    /// Takes a batch in; what appeared and vanished, in a fixed order.
    pub(crate) fn update(&self, input: &DistinctRows<'_>, parallel: bool) -> Result<Vec<Transition>> {
        if input.filters.len() > 64 {
            return Err(Error::unsupported("more than 64 conditions on one distinct argument"));
        }
        let prepared = self.prepare(input)?;
        let apply = |shard: usize| {
            let mut out = Vec::new();
            let entries = &prepared.entries[prepared.starts[shard]..prepared.starts[shard + 1]];
            if !entries.is_empty() {
                self.shards[shard].lock().apply(self.counted, &prepared.bytes, entries, input.diffs, &mut out);
            }
            out
        };
        Ok(if parallel {
            let parts: Vec<Vec<Transition>> = (0..SHARDS).into_par_iter().map(apply).collect();
            parts.concat()
        } else {
            (0..SHARDS).flat_map(apply).collect()
        })
    }

    fn prepare(&self, input: &DistinctRows<'_>) -> Result<Prepared> {
        let codec = ValueCodec::new(self.layout.data_type.clone(), true);
        let column = codec.column(input.values)?;
        let mut bytes = Vec::with_capacity(input.rows.len() * 12);
        let mut entries = Vec::with_capacity(input.rows.len());
        let mut starts = [0usize; SHARDS + 1];
        for (&row, &group) in input.rows.iter().zip(input.groups) {
            let place = row as usize;
            let mut mask = 0u64;
            for (bit, filter) in input.filters.iter().enumerate() {
                let passes = filter.is_none_or(|filter| filter.value(place) && filter.is_valid(place));
                mask |= u64::from(passes) << bit;
            }
            if mask == 0 || column.is_null(place) {
                continue;
            }
            let start = bytes.len();
            bytes.extend_from_slice(&group.to_le_bytes());
            codec.write(&column, place, &mut bytes);
            let hash = hash_bytes(&bytes[start..]);
            starts[shard_of(hash) + 1] += 1;
            entries.push(Entry { hash, start: start as u32, end: bytes.len() as u32, row, group, mask });
        }
        for shard in 0..SHARDS {
            starts[shard + 1] += starts[shard];
        }
        let mut next = starts;
        let mut sorted = vec![Entry::default(); entries.len()];
        for entry in entries {
            let place = &mut next[shard_of(entry.hash)];
            sorted[*place] = entry;
            *place += 1;
        }
        Ok(Prepared { bytes, entries: sorted, starts })
    }
}

impl DistinctShard {
    pub(crate) fn memory(&self) -> usize {
        self.keys.memory() + self.state.capacity() + self.dirty.memory()
    }

    fn apply(
        &mut self,
        counted: bool,
        bytes: &[u8],
        entries: &[Entry],
        diffs: Option<&[i64]>,
        out: &mut Vec<Transition>,
    ) {
        for entry in entries {
            let key = &bytes[entry.start as usize..entry.end as usize];
            let diff = diffs.map_or(1, |diffs| diffs[entry.row as usize]);
            let (id, new) = self.keys.insert(entry.hash, key);
            self.reserve(id);
            let state = &mut self.state[id as usize * self.width..(id as usize + 1) * self.width];
            if new {
                state.fill(0);
            }
            let changed = if counted { count(state, entry, diff, out) } else { flag(state, entry, out) };
            let empty = counted && state.iter().all(|byte| *byte == 0);
            if changed {
                self.dirty.insert(id);
            }
            if empty {
                self.keys.remove(id);
            }
        }
    }

    fn reserve(&mut self, id: u32) {
        let needed = (id as usize + 1) * self.width;
        if self.state.len() < needed {
            if self.state.capacity() < needed {
                self.state.reserve_exact((self.state.len() / 4).max(self.width * 64));
            }
            self.state.resize(needed, 0);
        }
    }

    /// Whether something changed since the last checkpoint.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    fn entry(&self, id: u32) -> Option<(&[u8], &[u8])> {
        let key = self.keys.key(id)?;
        Some((key, &self.state[id as usize * self.width..(id as usize + 1) * self.width]))
    }

    /// Calls `each` with what changed since the last time: key and state, or `None` if it is gone.
    pub(crate) fn take_dirty(&mut self, mut each: impl FnMut(u32, Option<(&[u8], &[u8])>)) {
        for id in self.dirty.take() {
            each(id, self.entry(id));
        }
    }

    /// Calls `each` with every entry, and forgets what was dirty: for a base.
    pub(crate) fn take_all(&mut self, mut each: impl FnMut(u32, &[u8], &[u8])) {
        self.dirty.take();
        for id in 0..self.keys.limit() {
            if let Some((key, state)) = self.entry(id) {
                each(id, key, state);
            }
        }
    }

    /// Puts an entry as it was saved (`None`: it was removed).
    pub(crate) fn restore(&mut self, id: u32, entry: Option<(&[u8], &[u8])>) {
        let Some((key, state)) = entry else {
            if self.keys.key(id).is_some() {
                self.keys.remove(id);
            }
            return;
        };
        if self.keys.key(id).is_some_and(|present| present != key) {
            self.keys.remove(id);
        }
        if self.keys.key(id).is_none() {
            self.keys.restore(hash_bytes(key), key, id);
        }
        self.reserve(id);
        self.state[id as usize * self.width..(id as usize + 1) * self.width].copy_from_slice(state);
    }

    /// Bytes of state an entry has, for whoever loads.
    pub(crate) fn width(&self) -> usize {
        self.width
    }
}

fn flag(state: &mut [u8], entry: &Entry, out: &mut Vec<Transition>) -> bool {
    let mut changed = false;
    let mut mask = entry.mask;
    while mask != 0 {
        let filter = mask.trailing_zeros();
        mask &= mask - 1;
        let (byte, bit) = (filter as usize / 8, 1u8 << (filter % 8));
        if state[byte] & bit == 0 {
            state[byte] |= bit;
            changed = true;
            out.push(Transition { group: entry.group, row: entry.row, filter, diff: 1 });
        }
    }
    changed
}

fn count(state: &mut [u8], entry: &Entry, diff: i64, out: &mut Vec<Transition>) -> bool {
    let mut mask = entry.mask;
    while mask != 0 {
        let filter = mask.trailing_zeros();
        mask &= mask - 1;
        let place = filter as usize * 8;
        let before = i64::from_le_bytes(super::update::get(state, place));
        super::update::add_i64(state, place, diff);
        let after = before.wrapping_add(diff);
        // Multiplicities may dip below zero inside an epoch; only the sign of presence matters.
        if (before > 0) != (after > 0) {
            out.push(Transition { group: entry.group, row: entry.row, filter, diff: if after > 0 { 1 } else { -1 } });
        }
    }
    diff != 0
}
