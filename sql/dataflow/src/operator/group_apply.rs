//! `GroupApply`: a function of whole groups: windows, and aggregates that cannot be kept up row by
//! row.
//!
//! Read from an ordered index that already holds this epoch's changes. A group that changed is
//! computed as it was and as it is, and the difference of both results goes out: the work of an
//! epoch is the groups it touches, whole. A group whose function fails gives an error instead of
//! rows.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use rayon::prelude::*;

use super::index::{IndexReader, KeyChanges};
use super::reduce::Changed;
use super::reduce::output::Output;
use super::top_k::Walk;
use super::{ErrorChange, row_text};
use crate::arrangement::Shard;
use crate::arrangement::codec::RowCodec;
use crate::arrangement::hash::{SHARDS, hash_bytes, shard_of};
use crate::delta::{Batch, Delta, of_columns};
use crate::error::{Error, Result};
use crate::plan::GroupFunction;

/// The operator.
#[derive(Debug)]
pub(crate) struct GroupApply {
    pub(crate) input: IndexReader,
    passed: Vec<usize>,
    arguments: Vec<usize>,
    function: Arc<dyn GroupFunction>,
    output: RowCodec,
    schema: SchemaRef,
}

/// What one shard gives.
#[derive(Default)]
struct Results {
    rows: HashMap<Vec<u8>, i64>,
    errors: Vec<ErrorChange>,
    touched: u64,
}

impl GroupApply {
    /// A function over the groups of an index.
    pub(crate) fn new(
        input: IndexReader,
        passed: &[usize],
        arguments: &[usize],
        function: Arc<dyn GroupFunction>,
        schema: SchemaRef,
    ) -> GroupApply {
        let all: Vec<usize> = (0..schema.fields().len()).collect();
        let output = RowCodec::new(&schema, &all, false);
        GroupApply { input, passed: passed.to_vec(), arguments: arguments.to_vec(), function, output, schema }
    }

    /// Whether it has a result over no rows at all: an aggregate without GROUP BY.
    fn is_global(&self) -> bool {
        self.function.aggregates() && self.input.is_keyless()
    }

    /// One epoch; `fresh`: the node's first.
    pub(crate) fn run(&self, delta: &[Batch], fresh: bool, workers: usize) -> Result<Changed> {
        let mut changes = self.input.changes(delta)?;
        let global = self.is_global();
        let hash = hash_bytes(b"");
        if global && fresh {
            changes[shard_of(hash)].entry(Vec::new()).or_insert_with(|| KeyChanges { hash, ..KeyChanges::default() });
        }
        let work = |shard: usize| -> Result<Changed> {
            let mut results = Results::default();
            let guard = self.input.arrangement.shards[shard].read();
            for (key, change) in &changes[shard] {
                self.group(&guard, key, change, global && fresh, &mut results)?;
            }
            drop(guard);
            let changed = Changed::of(self.delta(results.rows)?, results.errors);
            Ok(Changed { touched: results.touched, ..changed })
        };
        let parts: Vec<Changed> = if workers > 1 {
            (0..SHARDS).into_par_iter().map(work).collect::<Result<_>>()?
        } else {
            (0..SHARDS).map(work).collect::<Result<_>>()?
        };
        let mut whole = Changed::default();
        for part in parts {
            whole.delta.extend(part.delta);
            whole.errors.extend(part.errors);
            whole.touched += part.touched;
        }
        Ok(whole)
    }

    fn group(&self, shard: &Shard, key: &[u8], change: &KeyChanges, first: bool, results: &mut Results) -> Result<()> {
        let (mut now, mut before): (Vec<&[u8]>, Vec<&[u8]>) = Default::default();
        let kept = shard.index.iter().flat_map(|index| index.sorted(change.hash, key)).filter_map(|(sort, row)| {
            let image = shard.groups.image(row)?;
            Some((sort, image.key, Output::multiplicity(&image)))
        });
        for (row, count, diff) in Walk::new(kept, &change.rows) {
            now.extend(std::iter::repeat_n(row, count.max(0) as usize));
            before.extend(std::iter::repeat_n(row, (count - diff).max(0) as usize));
        }
        // A function of all rows has a result over none too, from its first barrier on.
        let empty = self.is_global();
        if !before.is_empty() || (empty && !first) {
            self.evaluate(&before, -1, results)?;
        }
        if !now.is_empty() || empty {
            self.evaluate(&now, 1, results)?;
        }
        Ok(())
    }

    fn evaluate(&self, rows: &[&[u8]], diff: i64, results: &mut Results) -> Result<()> {
        results.touched += rows.len() as u64;
        let columns = self.input.rows.decode(rows.iter().copied())?;
        let input = of_columns(&self.input.schema, columns, rows.len())?;
        let arguments = input.project(&self.arguments)?;
        let outcome = catch_unwind(AssertUnwindSafe(|| self.function.evaluate(&arguments)));
        match outcome.unwrap_or_else(|_| Err(Error::internal("a function of a group panicked"))) {
            Ok(results_of) => {
                let count = if self.function.aggregates() { 1 } else { rows.len() };
                let passed = self.passed.iter().map(|place| input.column(*place).slice(0, count));
                let output: Vec<ArrayRef> = passed.chain(results_of).collect();
                let encoded = self.output.encode(&output, count)?;
                for row in 0..count {
                    *results.rows.entry(encoded.row(row).to_vec()).or_insert(0) += diff;
                }
            }
            Err(error) => {
                let row = if rows.is_empty() { "()".into() } else { row_text(input.columns(), 0, &input.schema()) };
                results.errors.push(ErrorChange { error, row, diff });
            }
        }
        Ok(())
    }

    fn delta(&self, rows: HashMap<Vec<u8>, i64>) -> Result<Delta> {
        let mut rows: Vec<(Vec<u8>, i64)> = rows.into_iter().filter(|(_, diff)| *diff != 0).collect();
        if rows.is_empty() {
            return Ok(Delta::new());
        }
        // The same epoch gives the same bytes.
        rows.sort_unstable();
        let columns = self.output.decode(rows.iter().map(|(row, _)| row.as_slice()))?;
        let diffs = rows.iter().map(|(_, diff)| *diff).collect();
        let batch: RecordBatch = of_columns(&self.schema, columns, rows.len())?;
        Ok(vec![Batch { rows: batch, diffs: Some(diffs) }])
    }
}
