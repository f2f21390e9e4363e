//! What one statement reads: all views and tables at one published epoch.
//!
//! Promises: nothing in it changes while it is held; what it reads is copied out a shard at a time.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use super::{BuildState, SourceError, ViewError};
use crate::arrangement::hash::{SHARDS, hash_bytes, shard_of};
use crate::arrangement::{Arrangement, Pin, READ_BATCH_ROWS};
use crate::coordinator::shared::{Published, Shared, ViewHandle};
use crate::delta::{Batch, Delta};
use crate::error::{Error, Result, SqlState};
use crate::graph::Reading;
use crate::plan::RelationId;
use crate::table::TableDefinition;

/// All views at one epoch; pinned while it is held.
#[derive(Debug)]
pub struct Snapshot {
    pub(super) published: Arc<Published>,
    pub(super) shared: Arc<Shared>,
    pub(super) pin: Arc<Pin>,
}

/// The rows of a view, in no order. Dropping it ends the scan.
pub type Rows = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

impl Snapshot {
    /// The epoch.
    pub fn epoch(&self) -> u64 {
        self.published.epoch
    }

    /// The clock reading of its cut, microseconds since 1970 UTC.
    pub fn now(&self) -> i64 {
        self.published.now
    }

    /// The rows of a view, with the given columns of its schema (all if `None`). An error if the
    /// view is not there, is being built (55000) or has errors (theirs, with a hint).
    pub fn scan(&self, view: RelationId, columns: Option<Vec<usize>>) -> Result<Rows> {
        self.scan_stripe(view, columns, 0, 1)
    }

    /// The rows of one of so many stripes of a view (every n-th shard of n stripes), the first being 0;
    /// otherwise as [`Snapshot::scan`].
    pub fn scan_stripe(
        &self,
        view: RelationId,
        columns: Option<Vec<usize>>,
        stripe: usize,
        stripes: usize,
    ) -> Result<Rows> {
        let reading = self.readable(view)?.clone();
        let pin = self.pin.clone();
        if stripes == 1 && reading.arrangement.len() <= READ_BATCH_ROWS {
            let rows = Some(reading.arrangement.read_all(pin.epoch)?).filter(|rows| rows.num_rows() > 0);
            return Ok(Box::new(shown(&reading, rows.into_iter().collect(), columns.as_deref())?.into_iter().map(Ok)));
        }
        let shards = (stripe..SHARDS).step_by(stripes.max(1));
        let batches = shards.flat_map(move |shard| match read_shard(&reading, shard, pin.epoch, columns.as_deref()) {
            Ok(batches) => batches.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        });
        Ok(Box::new(batches))
    }

    /// About how many rows a view or table has: its keys, of now.
    pub fn about_rows(&self, view: RelationId) -> Result<usize> {
        Ok(self.readable(view)?.arrangement.len())
    }

    /// How a view is read; errors as [`Snapshot::scan`] has them.
    pub(super) fn readable(&self, view: RelationId) -> Result<&Reading> {
        if let Some(fatal) = &self.published.fatal {
            return Err(fatal.clone());
        }
        let handle = self.handle(view)?;
        match &*handle.state.borrow() {
            BuildState::Live => {}
            BuildState::Building { done, .. } => return Err(being_built(*done)),
            BuildState::Failed(error) => return Err(error.clone()),
        }
        if let Some((error, _, _)) = handle.errors.iter().flat_map(|errors| errors.iter()).next() {
            return Err(error.hint("SELECT * FROM thalweg.view_errors shows the rows that fail."));
        }
        handle.reading.as_ref().ok_or_else(|| being_built(1.0))
    }

    /// Which of these rows a table has at this epoch.
    pub fn holds(&self, table: &TableDefinition, rows: &RecordBatch) -> Result<Vec<bool>> {
        let arrangement = self.arrangement(table.id)?;
        let bytes = table.codec().encode(rows.columns(), rows.num_rows())?;
        let holds = |row: usize| {
            let row = bytes.row(row);
            let hash = hash_bytes(row);
            arrangement.shards[shard_of(hash)].read().groups.at(hash, |key| key == row, self.epoch()).is_some()
        };
        Ok((0..rows.num_rows()).map(holds).collect())
    }

    /// Whether a table has not changed after this epoch.
    pub fn is_newest(&self, table: RelationId) -> Result<bool> {
        let shards = &self.arrangement(table)?.shards;
        Ok(!shards.iter().any(|shard| shard.read().groups.changed_since(self.epoch())))
    }

    fn arrangement(&self, table: RelationId) -> Result<&Arrangement> {
        let reading = self.handle(table)?.reading.as_ref();
        reading.map(|reading| reading.arrangement.as_ref()).ok_or_else(|| being_built(1.0))
    }

    /// The schema of a view.
    pub fn schema(&self, view: RelationId) -> Option<SchemaRef> {
        self.published.views.get(&view)?.reading.as_ref().map(|reading| reading.schema.clone())
    }

    /// All of `thalweg.source_errors`.
    pub fn source_errors(&self) -> Vec<SourceError> {
        let log = self.shared.errors.lock();
        let count = self.published.error_end.saturating_sub(log.first) as usize;
        log.entries.iter().take(count).cloned().collect()
    }

    /// All of `thalweg.view_errors`.
    pub fn view_errors(&self) -> Vec<ViewError> {
        let mut out = Vec::new();
        for (view, handle) in self.published.views.iter() {
            for (error, row, count) in handle.errors.iter().flat_map(|errors| errors.iter()) {
                out.push(ViewError { view: *view, error, row: row.to_string(), count });
            }
        }
        out
    }

    pub(super) fn handle(&self, view: RelationId) -> Result<&ViewHandle> {
        let handle = self.published.views.get(&view);
        handle.ok_or_else(|| {
            Error::new(SqlState::UndefinedTable, format!("materialized view {} is not in this snapshot", view.0))
        })
    }
}

/// The SQL layer puts the name in.
fn being_built(done: f64) -> Error {
    Error::new(
        SqlState::ObjectNotInPrerequisiteState,
        format!("materialized view is being built ({} %)", (done * 100.0) as u64),
    )
}

fn read_shard(reading: &Reading, shard: usize, epoch: u64, columns: Option<&[usize]>) -> Result<Vec<RecordBatch>> {
    shown(reading, reading.arrangement.read_shard(shard, epoch)?, columns)
}

/// Rows of the arrangement as the view shows them.
fn shown(reading: &Reading, rows: Vec<RecordBatch>, columns: Option<&[usize]>) -> Result<Vec<RecordBatch>> {
    let rows: Delta = rows.into_iter().map(Batch::inserted).collect();
    let project = |batch: Batch| match columns {
        Some(columns) => Ok(batch.rows.project(columns)?),
        None => Ok(batch.rows),
    };
    reading.mapped(rows)?.into_iter().map(project).collect()
}
