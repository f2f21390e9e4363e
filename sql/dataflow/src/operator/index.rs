//! `Index`: whole rows kept by key, for the operators that look rows up: joins, top-n, windows.
//!
//! An index is a node of its own, so that all who look up the same rows by the same key share it.
//! Rows whose key has a null that equals nothing are not kept: nobody can look them up. Gives no
//! delta; who reads it reads its input's delta too.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use rayon::prelude::*;

use super::keyed::{Entry, KeyCodec, Keyed};
use super::reduce::layout::Layout;
use super::reduce::output::Output;
use super::reduce::update::add_i64;
use crate::arrangement::codec::{EncodedRows, RowCodec};
use crate::arrangement::hash::{SHARDS, hash_bytes};
use crate::arrangement::sort_key::SortCodec;
use crate::arrangement::{Arrangement, Lookup, Shard};
use crate::delta::Batch;
use crate::error::Result;
use crate::plan::{Key, SortColumn};

/// Rows of a delta from which on workers share it; few in unit tests, so that they do.
const PARALLEL_ROWS: usize = if cfg!(test) { 8 } else { 4096 };

/// The operator.
#[derive(Debug)]
pub(crate) struct Index {
    rows: RowCodec,
    keys: KeyCodec,
    order: Option<SortCodec>,
    pub(crate) arrangement: Arc<Arrangement>,
}

/// One batch's rows and sort keys as bytes.
struct Encoded {
    rows: EncodedRows,
    sorts: Option<Vec<Vec<u8>>>,
}

impl Index {
    /// The rows of a schema by these keys, within a key in this order (none if it is empty); empty.
    pub(crate) fn new(input: &SchemaRef, keys: &[Key], order: Option<&[SortColumn]>) -> Result<Index> {
        let all: Vec<usize> = (0..input.fields().len()).collect();
        let rows = RowCodec::new(input, &all, false);
        let layout = Layout::new(input, &[], true)?;
        let keys = KeyCodec::new(input, keys);
        let order = order.map(|order| SortCodec::new(input, order));
        let output = Output { schema: input.clone(), keys: rows.clone(), layout };
        let lookup = Lookup { keys: keys.clone(), order: order.clone() };
        let arrangement = Arc::new(Arrangement::indexed(output, lookup));
        Ok(Index { rows, keys, order, arrangement })
    }

    fn encode(&self, batch: &Batch) -> Result<Encoded> {
        let count = batch.rows.num_rows();
        let rows = self.rows.encode(batch.rows.columns(), count)?;
        let sorts = match &self.order {
            None => None,
            Some(order) => {
                let keys = order.over(batch.rows.columns())?;
                Some((0..count).map(|row| sort_key(&keys, row, rows.row(row))).collect())
            }
        };
        Ok(Encoded { rows, sorts })
    }

    /// Takes one epoch's delta in, whole.
    pub(crate) fn apply(&self, delta: &[Batch], epoch: u64, oldest: u64, workers: usize) -> Result<()> {
        let keyed = self.keys.sort(delta)?;
        let encoded: Vec<Encoded> = delta.iter().map(|batch| self.encode(batch)).collect::<Result<_>>()?;
        let work = |shard: usize| {
            let entries = keyed.shard(shard);
            if !entries.is_empty() {
                self.apply_shard(shard, entries, &keyed, &encoded, (epoch, oldest));
            }
        };
        if workers > 1 && keyed.len() >= PARALLEL_ROWS {
            (0..SHARDS).into_par_iter().for_each(work);
        } else {
            (0..SHARDS).for_each(work);
        }
        Ok(())
    }

    fn apply_shard(
        &self,
        shard: usize,
        entries: &[Entry],
        keyed: &Keyed<'_>,
        encoded: &[Encoded],
        (epoch, oldest): (u64, u64),
    ) {
        let mut guard = self.arrangement.shards[shard].write();
        let Shard { groups, index, .. } = &mut *guard;
        let Some(index) = index else { return };
        groups.begin(epoch, oldest);
        let mut touched: Vec<(u32, Option<&[u8]>)> = Vec::with_capacity(entries.len());
        for entry in entries {
            let Encoded { rows, sorts } = &encoded[entry.batch as usize];
            let row = rows.row(entry.row as usize);
            let sort = sorts.as_ref().map(|sorts| sorts[entry.row as usize].as_slice());
            let diff = keyed.diff(entry);
            let id = groups.touch(hash_bytes(row), row);
            add_i64(groups.fixed_mut(id), 0, diff);
            index.add(entry.hash, keyed.key(entry), sort, id, diff);
            touched.push((id, sort));
        }
        for (id, sort) in touched {
            if groups.fixed_mut(id).iter().all(|byte| *byte == 0) {
                index.remove(id, sort);
            }
        }
        groups.end(epoch, |image| Output::multiplicity(&image) == 0);
    }
}

/// The sort key of a row, made unique by the row itself.
pub(crate) fn sort_key(keys: &crate::arrangement::sort_key::SortKeys<'_>, row: usize, bytes: &[u8]) -> Vec<u8> {
    let mut sort = Vec::with_capacity(bytes.len() + 16);
    keys.write(row, &mut sort);
    sort.extend_from_slice(bytes);
    sort
}

/// An ordered index, as an operator over its groups reads it.
#[derive(Debug)]
pub(crate) struct IndexReader {
    pub(crate) schema: SchemaRef,
    pub(crate) rows: RowCodec,
    keys: KeyCodec,
    order: SortCodec,
    pub(crate) arrangement: Arc<Arrangement>,
}

/// What an epoch changed under one key.
#[derive(Debug, Default)]
pub(crate) struct KeyChanges {
    pub(crate) hash: u64,
    pub(crate) rows: RowChanges,
}

/// Changed rows by sort key: the row and its change.
pub(crate) type RowChanges = BTreeMap<Vec<u8>, (Vec<u8>, i64)>;

impl IndexReader {
    /// The index over rows of this schema.
    pub(crate) fn new(
        schema: &SchemaRef,
        keys: &[Key],
        order: &[SortColumn],
        arrangement: Arc<Arrangement>,
    ) -> IndexReader {
        let all: Vec<usize> = (0..schema.fields().len()).collect();
        IndexReader {
            schema: schema.clone(),
            rows: RowCodec::new(schema, &all, false),
            keys: KeyCodec::new(schema, keys),
            order: SortCodec::new(schema, order),
            arrangement,
        }
    }

    /// Whether all rows are one group.
    pub(crate) fn is_keyless(&self) -> bool {
        self.keys.is_empty()
    }

    /// The changes of an epoch by shard and key.
    pub(crate) fn changes(&self, delta: &[Batch]) -> Result<Vec<BTreeMap<Vec<u8>, KeyChanges>>> {
        let keyed = self.keys.sort(delta)?;
        let mut changes: Vec<BTreeMap<Vec<u8>, KeyChanges>> = (0..SHARDS).map(|_| BTreeMap::new()).collect();
        let mut encoded = Vec::with_capacity(delta.len());
        for batch in delta {
            let rows = self.rows.encode(batch.rows.columns(), batch.rows.num_rows())?;
            encoded.push((rows, self.order.over(batch.rows.columns())?));
        }
        for (shard, changes) in changes.iter_mut().enumerate() {
            for entry in keyed.shard(shard) {
                let (rows, sorts) = &encoded[entry.batch as usize];
                let (place, row) = (entry.row as usize, rows.row(entry.row as usize));
                let known = match changes.get_mut(keyed.key(entry)) {
                    Some(known) => known,
                    None => changes
                        .entry(keyed.key(entry).to_vec())
                        .or_insert(KeyChanges { hash: entry.hash, ..KeyChanges::default() }),
                };
                let change = known.rows.entry(sort_key(sorts, place, row)).or_insert_with(|| (row.to_vec(), 0));
                change.1 += keyed.diff(entry);
            }
        }
        Ok(changes)
    }
}
