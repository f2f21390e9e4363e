//! The index of a unique key: which row has a value of it.
//!
//! The coordinator keeps it in step with the head of the table; readers look rows up in it at their
//! own, older epochs. So it remembers the rows that had a value before, as long as some reader may
//! see them. Promises: the row that has a value at any epoch from the oldest pinned one to the head
//! is among [`UniqueIndex::candidates`]; whether it is that one is the arrangement's to say.
//! Derived from the rows, never saved.
//!
//! The first reader of a range of values has them put in order; from then on they are kept so.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use parking_lot::RwLock;

use crate::arrangement::hash::{SHARDS, hash_bytes, shard_of};
use crate::arrangement::key_table::KeyTable;
#[cfg(test)]
use crate::simulation::fault::{Fault, planted};

/// See the module.
#[derive(Debug)]
pub(crate) struct UniqueIndex {
    /// The values in order, each with the hash of its row, once they were asked for. Its lock is taken
    /// before a shard's.
    ordered: RwLock<Option<BTreeMap<Box<[u8]>, u64>>>,
    shards: Vec<RwLock<Shard>>,
}

/// The ends of a range of values.
pub(crate) type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// The values of one shard.
#[derive(Debug, Default)]
struct Shard {
    keys: KeyTable,
    /// By number of value: the hash of the row that has it.
    rows: Vec<u64>,
    former: VecDeque<Former>,
}

/// A row that had a value until an epoch.
#[derive(Debug)]
struct Former {
    epoch: u64,
    /// Of the value.
    hash: u64,
    /// Of the row.
    row: u64,
}

/// The epoch that is open, and the oldest that somebody reads.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Epochs {
    pub(crate) open: u64,
    pub(crate) oldest: u64,
}

impl Shard {
    fn get(&self, hash: u64, value: &[u8]) -> Option<u64> {
        self.rows.get(self.keys.find(hash, value)? as usize).copied()
    }

    /// Notes that the row which has a value loses it, and forgets what nobody may see any more.
    fn note(&mut self, hash: u64, value: &[u8], epochs: Epochs) {
        while self.former.front().is_some_and(|former| former.epoch <= epochs.oldest) {
            self.former.pop_front();
        }
        if let Some(row) = self.get(hash, value) {
            self.former.push_back(Former { epoch: epochs.open, hash, row });
        }
    }
}

impl UniqueIndex {
    /// An empty one.
    pub(crate) fn new() -> UniqueIndex {
        UniqueIndex { ordered: RwLock::default(), shards: (0..SHARDS).map(|_| RwLock::default()).collect() }
    }

    /// The hash of the row that has a value at the head.
    pub(crate) fn find(&self, value: &[u8]) -> Option<u64> {
        let hash = hash_bytes(value);
        self.shards[shard_of(hash)].read().get(hash, value)
    }

    /// Whether a value is taken at the head.
    pub(crate) fn contains(&self, value: &[u8]) -> bool {
        self.find(value).is_some()
    }

    /// The hashes of the rows of which one may have had the value at a pinned epoch.
    pub(crate) fn candidates(&self, value: &[u8]) -> Vec<u64> {
        let hash = hash_bytes(value);
        let shard = self.shards[shard_of(hash)].read();
        #[cfg(test)]
        if planted(Fault::FormerRowForgotten) {
            return shard.get(hash, value).into_iter().collect();
        }
        let former = shard.former.iter().filter(|former| former.hash == hash).map(|former| former.row);
        shard.get(hash, value).into_iter().chain(former).collect()
    }

    /// The hashes of the rows with the first `most` values between two bounds at the head, forwards or
    /// backwards, and the last of these values.
    pub(crate) fn range(&self, bounds: Bounds<'_>, backwards: bool, most: usize) -> (Vec<u64>, Option<Vec<u8>>) {
        self.put_in_order();
        let ordered = self.ordered.read();
        let mut last = None;
        let Some(values) = ordered.as_ref().filter(|_| is_range(bounds)) else { return (Vec::new(), None) };
        let found = values.range::<[u8], _>(bounds).map(|(value, row)| {
            last = Some(value);
            *row
        });
        let hashes = match backwards {
            true => found.rev().take(most).collect(),
            false => found.take(most).collect(),
        };
        (hashes, last.map(|value| value.to_vec()))
    }

    /// The hashes of the rows that left the head and may still be seen. Asked for after the head, it
    /// has those that left meanwhile.
    pub(crate) fn former(&self) -> Vec<u64> {
        let mut rows = Vec::new();
        #[cfg(test)]
        if planted(Fault::FormerRowForgotten) {
            return rows;
        }
        for shard in &self.shards {
            rows.extend(shard.read().former.iter().map(|former| former.row));
        }
        rows
    }

    fn put_in_order(&self) {
        if self.ordered.read().is_some() {
            return;
        }
        let mut ordered = self.ordered.write();
        let values = ordered.get_or_insert_default();
        for shard in &self.shards {
            let shard = shard.read();
            for id in 0..shard.keys.limit() {
                if let (Some(value), Some(row)) = (shard.keys.key(id), shard.rows.get(id as usize)) {
                    values.insert(value.into(), *row);
                }
            }
        }
    }

    /// A row takes a value.
    pub(crate) fn insert(&self, value: &[u8], row: u64, epochs: Epochs) {
        let mut ordered = self.ordered.write();
        if let Some(ordered) = ordered.as_mut() {
            ordered.insert(value.into(), row);
        }
        let hash = hash_bytes(value);
        let mut shard = self.shards[shard_of(hash)].write();
        shard.note(hash, value, epochs);
        let (id, _) = shard.keys.insert(hash, value);
        if shard.rows.len() <= id as usize {
            shard.rows.resize(id as usize + 1, 0);
        }
        shard.rows[id as usize] = row;
    }

    /// A value is free.
    pub(crate) fn remove(&self, value: &[u8], epochs: Epochs) {
        let mut ordered = self.ordered.write();
        if let Some(ordered) = ordered.as_mut() {
            ordered.remove(value);
        }
        let hash = hash_bytes(value);
        let mut shard = self.shards[shard_of(hash)].write();
        shard.note(hash, value, epochs);
        if let Some(id) = shard.keys.find(hash, value) {
            shard.keys.remove(id);
        }
    }
}

/// Whether bounds are in order: a map panics over others.
fn is_range(bounds: Bounds<'_>) -> bool {
    match bounds {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => true,
        (Bound::Excluded(low), Bound::Excluded(high)) => low < high,
        (Bound::Included(low) | Bound::Excluded(low), Bound::Included(high) | Bound::Excluded(high)) => low <= high,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_in_the_order_of_values() {
        let index = UniqueIndex::new();
        let at = |open, oldest| Epochs { open, oldest };
        for (value, row) in [(b"a", 1), (b"b", 2), (b"c", 3), (b"d", 4)] {
            index.insert(value, row, at(1, 0));
        }
        let rows = |bounds, backwards, most| -> Vec<u64> { index.range(bounds, backwards, most).0 };
        let (from, to) = (Bound::Included(b"b".as_slice()), Bound::Excluded(b"d".as_slice()));
        assert_eq!(rows((from, to), false, 9), [2, 3]);
        assert_eq!(rows((from, to), true, 1), [3]);
        assert!(rows((to, from), false, 9).is_empty());
        index.remove(b"b", at(2, 1));
        assert_eq!(rows((from, Bound::Unbounded), false, 9), [3, 4]);
        assert_eq!(index.former(), [2]);
        index.insert(b"bb", 5, at(3, 2));
        assert_eq!(rows((from, to), false, 9), [5, 3]);
    }

    #[test]
    fn rows_stay_candidates_as_long_as_somebody_may_see_them() {
        let index = UniqueIndex::new();
        let at = |open, oldest| Epochs { open, oldest };
        index.insert(b"k", 1, at(1, 0));
        index.remove(b"k", at(2, 1));
        index.insert(b"k", 2, at(2, 1));
        assert_eq!(index.candidates(b"k"), [2, 1]);
        assert_eq!(index.find(b"k"), Some(2));
        index.remove(b"k", at(3, 1));
        assert_eq!(index.candidates(b"k"), [1, 2]);
        assert!(!index.contains(b"k"));
        // Nobody reads an epoch before 3 any more.
        index.insert(b"k", 3, at(4, 3));
        assert_eq!(index.candidates(b"k"), [3]);
    }
}
