//! Arrangements: collections kept indexed by key, the only place where operator state lives.
//!
//! An arrangement is split into [`hash::SHARDS`] shards by the hash of the key; each has a lock of
//! its own, held by the writer for one batch's rows, by a reader for one shard's read. A view's
//! last arrangement is its snapshot: readers at an older epoch are served from undo lists. Does
//! not compute anything: operators do.

pub(crate) mod codec;
pub(crate) mod groups;
pub(crate) mod hash;
pub(crate) mod key_index;
pub(crate) mod key_table;
pub(crate) mod sort_key;

use parking_lot::{Mutex, RwLock};

use crate::error::Result;
use crate::operator::reduce::distinct::DistinctTable;
use crate::operator::reduce::output::Output;
use crate::operator::reduce::update::Multiset;
use arrow::array::{RecordBatch, UInt32Array};
use groups::{Groups, Image};
use hash::{SHARDS, hash_bytes};
use key_index::KeyIndex;
use sort_key::SortCodec;
use std::sync::Arc;

use crate::delta::{Batch, take};
use crate::operator::index::sort_key;
use crate::operator::keyed::KeyCodec;

/// Rows of a read that become one batch.
pub(crate) const READ_BATCH_ROWS: usize = 8192;

/// What the groups of an arrangement stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// One row a group, computed from its state.
    Groups,
    /// The key is the row; the state is how often it is there.
    Rows,
}

/// The state of one `Reduce`, shared between the operator and the readers.
#[derive(Debug)]
pub(crate) struct Arrangement {
    pub(crate) mode: Mode,
    pub(crate) output: Output,
    pub(crate) shards: Vec<RwLock<Shard>>,
    pub(crate) distincts: Vec<DistinctTable>,
    /// By what the rows of an `Index` are looked up.
    lookup: Option<Lookup>,
}

/// By what rows are looked up, and in which order they stand within a key.
#[derive(Debug)]
pub(crate) struct Lookup {
    pub(crate) keys: KeyCodec,
    pub(crate) order: Option<SortCodec>,
}

/// One shard: its groups, the values behind min and max under retraction, one a call, and the
/// rows by key.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) groups: Groups,
    pub(crate) multisets: Vec<Multiset>,
    pub(crate) index: Option<KeyIndex>,
}

impl Arrangement {
    /// An empty arrangement.
    pub(crate) fn new(mode: Mode, output: Output) -> Arrangement {
        Arrangement::with(mode, output, None)
    }

    /// Whole rows that can be looked up; empty.
    pub(crate) fn indexed(output: Output, lookup: Lookup) -> Arrangement {
        Arrangement::with(Mode::Rows, output, Some(lookup))
    }

    fn with(mode: Mode, output: Output, lookup: Option<Lookup>) -> Arrangement {
        let layout = &output.layout;
        let shard = || {
            RwLock::new(Shard {
                groups: Groups::new(layout.stride, layout.blobs),
                multisets: layout.calls.iter().map(|_| Multiset::default()).collect(),
                index: lookup.as_ref().map(|_| KeyIndex::default()),
            })
        };
        let distincts = layout.distincts.iter().map(|distinct| DistinctTable::new(distinct, layout.counted)).collect();
        Arrangement { mode, shards: (0..SHARDS).map(|_| shard()).collect(), distincts, output, lookup }
    }

    /// Bytes of memory.
    pub(crate) fn memory(&self) -> usize {
        let shards: usize = self
            .shards
            .iter()
            .map(|shard| {
                let shard = shard.read();
                let values: usize = shard.multisets.iter().map(|set| set.values.len() * 64).sum();
                shard.groups.memory() + values + shard.index.as_ref().map_or(0, KeyIndex::memory)
            })
            .sum();
        shards + self.distincts.iter().map(DistinctTable::memory).sum::<usize>()
    }

    /// Drops every old image: the epochs change their numbering.
    pub(crate) fn forget_epochs(&self) {
        self.shards.iter().for_each(|shard| shard.write().groups.forget_epochs());
    }

    /// Ends loading: what is derived from the saved state is made again.
    pub(crate) fn restored(&self) -> Result<()> {
        self.distincts.iter().for_each(|table| table.shards.iter().for_each(|shard| shard.lock().keys.restored()));
        for shard in &self.shards {
            let mut shard = shard.write();
            shard.groups.restored();
            if let Some(lookup) = &self.lookup {
                let Shard { groups, index, .. } = &mut *shard;
                *index = Some(self.index_of(groups, lookup)?);
            }
        }
        Ok(())
    }

    fn index_of(&self, groups: &Groups, lookup: &Lookup) -> Result<KeyIndex> {
        let mut index = KeyIndex::default();
        let ids: Vec<u32> = groups.ids().collect();
        for part in ids.chunks(READ_BATCH_ROWS) {
            let images: Vec<Image<'_>> = part.iter().filter_map(|id| groups.image(*id)).collect();
            let columns = self.output.keys.decode(images.iter().map(|image| image.key))?;
            let keys = lookup.keys.encode(&columns, images.len())?;
            let sorts = lookup.order.as_ref().map(|order| order.over(&columns)).transpose()?;
            for (row, (id, image)) in part.iter().zip(&images).enumerate() {
                let key = keys.row(row);
                let sort = sorts.as_ref().map(|sorts| sort_key(sorts, row, image.key));
                index.add(hash_bytes(key), key, sort.as_deref(), *id, Output::multiplicity(image));
            }
        }
        Ok(index)
    }

    /// The rows of one shard at an epoch, in batches.
    pub(crate) fn read_shard(&self, shard: usize, epoch: u64) -> Result<Vec<RecordBatch>> {
        let shard = self.shards[shard].read();
        let mut out = Vec::new();
        let mut images: Vec<Image<'_>> = Vec::new();
        // The images borrow the shard, so they are gathered by a second closure's hand.
        let mut all: Vec<Image<'_>> = Vec::with_capacity(shard.groups.len());
        shard.groups.collect(epoch, &mut all);
        for image in all {
            images.push(image);
            if images.len() == READ_BATCH_ROWS {
                out.push(self.expand(&images)?);
                images.clear();
            }
        }
        if !images.is_empty() {
            out.push(self.expand(&images)?);
        }
        Ok(out)
    }

    /// How many keys there are, now.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().groups.len()).sum()
    }

    /// All rows at once, for few of them: shards are held until they are copied.
    pub(crate) fn read_all(&self, epoch: u64) -> Result<RecordBatch> {
        let shards: Vec<_> = self.shards.iter().map(|shard| shard.read()).collect();
        let mut images = Vec::new();
        shards.iter().for_each(|shard| shard.groups.collect(epoch, &mut images));
        self.expand(&images)
    }

    /// Rows of some images, each as often as it is there.
    pub(crate) fn expand(&self, images: &[Image<'_>]) -> Result<RecordBatch> {
        let (rows, _) = self.output.rows(images)?;
        if self.mode == Mode::Groups {
            return Ok(rows);
        }
        let counts: Vec<i64> = images.iter().map(Output::multiplicity).collect();
        if counts.iter().all(|count| *count == 1) {
            return Ok(rows);
        }
        let places = counts
            .iter()
            .enumerate()
            .flat_map(|(row, count)| std::iter::repeat_n(row as u32, (*count).max(0) as usize));
        take(&rows, &UInt32Array::from_iter_values(places))
    }

    /// What changed in one shard between two epochs, as rows with diffs.
    pub(crate) fn changes_shard(&self, shard: usize, from: u64, to: u64) -> Result<Vec<Batch>> {
        let shard = self.shards[shard].read();
        let mut images: Vec<Image<'_>> = Vec::new();
        let mut diffs: Vec<i64> = Vec::new();
        for (before, after) in shard.groups.changes(from, to) {
            // A number may have gone to another group meanwhile.
            if let (Some(before), Some(after)) = (&before, &after)
                && before.key == after.key
                && before.fixed == after.fixed
                && before.blobs == after.blobs
            {
                continue;
            }
            for (image, sign) in [(before, -1), (after, 1)] {
                if let Some(image) = image {
                    diffs.push(if self.mode == Mode::Rows { sign * Output::multiplicity(&image) } else { sign });
                    images.push(image);
                }
            }
        }
        if images.is_empty() {
            return Ok(Vec::new());
        }
        let (rows, failures) = self.output.rows(&images)?;
        let mut failed = failures.iter().map(|failure| failure.place).peekable();
        let mut place = 0;
        diffs.retain(|_| {
            let keep = failed.peek() != Some(&place);
            if !keep {
                failed.next();
            }
            place += 1;
            keep
        });
        Ok(vec![Batch { rows, diffs: Some(diffs.into()) }])
    }
}

/// The epochs that readers hold. The newest published epoch is pinned by itself.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    inner: Mutex<PinSet>,
}

#[derive(Debug, Default)]
struct PinSet {
    published: u64,
    held: std::collections::BTreeMap<u64, usize>,
}

/// One held epoch; dropping it lets go.
#[derive(Debug)]
pub(crate) struct Pin {
    pins: Arc<Pins>,
    pub(crate) epoch: u64,
}

impl Pins {
    /// Holds the newest published epoch.
    pub(crate) fn pin(self: &Arc<Pins>) -> Pin {
        let mut set = self.inner.lock();
        let epoch = set.published;
        *set.held.entry(epoch).or_insert(0) += 1;
        Pin { pins: self.clone(), epoch }
    }

    /// Publishes an epoch.
    pub(crate) fn publish(&self, epoch: u64) {
        self.inner.lock().published = epoch;
    }

    /// The oldest epoch that somebody may read.
    pub(crate) fn oldest(&self) -> u64 {
        let set = self.inner.lock();
        set.held.keys().next().copied().unwrap_or(set.published).min(set.published)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut set = self.pins.inner.lock();
        if let Some(count) = set.held.get_mut(&self.epoch) {
            *count -= 1;
            if *count == 0 {
                set.held.remove(&self.epoch);
            }
        }
    }
}
