//! A delta by the key of its rows: what every operator over an index works on, shard by shard.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::Schema;

use crate::arrangement::codec::{EncodedRows, RowCodec};
use crate::arrangement::hash::{SHARDS, hash_bytes, shard_of};
use crate::delta::Batch;
use crate::error::Result;
use crate::plan::Key;

/// How rows become keys.
#[derive(Debug, Clone)]
pub(crate) struct KeyCodec {
    keys: Vec<Key>,
    codec: RowCodec,
}

/// A row of a delta.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Entry {
    /// The hash of its key.
    pub(crate) hash: u64,
    /// Its batch.
    pub(crate) batch: u32,
    /// Its place in the batch.
    pub(crate) row: u32,
}

/// Some batches, their rows sorted by the shard of their keys.
pub(crate) struct Keyed<'a> {
    pub(crate) batches: &'a [Batch],
    keys: Vec<EncodedRows>,
    entries: Vec<Entry>,
    starts: [usize; SHARDS + 1],
    /// The rows whose key has a null that equals nothing.
    pub(crate) unequal: Vec<Entry>,
}

impl KeyCodec {
    /// The key of these columns of a schema.
    pub(crate) fn new(schema: &Schema, keys: &[Key]) -> KeyCodec {
        let columns: Vec<usize> = keys.iter().map(|key| key.column).collect();
        KeyCodec { keys: keys.to_vec(), codec: RowCodec::new(schema, &columns, true) }
    }

    /// Whether all rows have one key.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys of some rows, given all their columns.
    pub(crate) fn encode(&self, columns: &[ArrayRef], rows: usize) -> Result<EncodedRows> {
        let arrays: Vec<ArrayRef> = self.keys.iter().map(|key| columns[key.column].clone()).collect();
        self.codec.encode(&arrays, rows)
    }

    /// A delta by key.
    pub(crate) fn sort<'a>(&self, batches: &'a [Batch]) -> Result<Keyed<'a>> {
        let mut keys = Vec::with_capacity(batches.len());
        let mut all = Vec::with_capacity(batches.iter().map(|batch| batch.rows.num_rows()).sum());
        let mut unequal = Vec::new();
        let mut starts = [0usize; SHARDS + 1];
        for (number, batch) in batches.iter().enumerate() {
            let rows = batch.rows.num_rows();
            let encoded = self.encode(batch.rows.columns(), rows)?;
            let strict: Vec<&ArrayRef> = self
                .keys
                .iter()
                .filter(|key| !key.nulls_equal)
                .map(|key| batch.rows.column(key.column))
                .filter(|column| column.null_count() > 0)
                .collect();
            for row in 0..rows {
                let hash = hash_bytes(encoded.row(row));
                let entry = Entry { hash, batch: number as u32, row: row as u32 };
                if strict.iter().any(|column| column.is_null(row)) {
                    unequal.push(entry);
                } else {
                    starts[shard_of(hash) + 1] += 1;
                    all.push(entry);
                }
            }
            keys.push(encoded);
        }
        for shard in 0..SHARDS {
            starts[shard + 1] += starts[shard];
        }
        let mut next = starts;
        let mut entries = vec![Entry::default(); all.len()];
        for entry in all {
            let place = &mut next[shard_of(entry.hash)];
            entries[*place] = entry;
            *place += 1;
        }
        Ok(Keyed { batches, keys, entries, starts, unequal })
    }
}

impl Keyed<'_> {
    /// The rows of one shard.
    pub(crate) fn shard(&self, shard: usize) -> &[Entry] {
        &self.entries[self.starts[shard]..self.starts[shard + 1]]
    }

    /// The rows that have a key.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The key of a row.
    pub(crate) fn key(&self, entry: &Entry) -> &[u8] {
        self.keys[entry.batch as usize].row(entry.row as usize)
    }

    /// The diff of a row.
    pub(crate) fn diff(&self, entry: &Entry) -> i64 {
        self.batches[entry.batch as usize].diff(entry.row as usize)
    }
}
