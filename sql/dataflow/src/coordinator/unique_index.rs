//! The index of a unique key: which row has a value of it.
//!
//! The coordinator keeps it in step with the head of the table; readers look rows up in it at their
//! own, older epochs. So it remembers the rows that had a value before, as long as some reader may
//! see them. Promises: the row that has a value at any epoch from the oldest pinned one to the head
//! is among [`UniqueIndex::candidates`]; whether it is that one is the arrangement's to say.
//! Derived from the rows, never saved.

use std::collections::VecDeque;

use parking_lot::RwLock;

use crate::arrangement::hash::{SHARDS, hash_bytes, shard_of};
use crate::arrangement::key_table::KeyTable;
#[cfg(test)]
use crate::simulation::fault::{Fault, planted};

/// See the module.
#[derive(Debug)]
pub(crate) struct UniqueIndex {
    shards: Vec<RwLock<Shard>>,
}

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
        UniqueIndex { shards: (0..SHARDS).map(|_| RwLock::default()).collect() }
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

    /// A row takes a value.
    pub(crate) fn insert(&self, value: &[u8], row: u64, epochs: Epochs) {
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
        let hash = hash_bytes(value);
        let mut shard = self.shards[shard_of(hash)].write();
        shard.note(hash, value, epochs);
        if let Some(id) = shard.keys.find(hash, value) {
            shard.keys.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
