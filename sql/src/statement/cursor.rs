//! SQL cursors: DECLARE, FETCH, MOVE, CLOSE.
//!
//! A cursor is a query's stream that waits in the session between two FETCHes; it reads the
//! snapshot of its DECLARE. Promises: FETCH takes no more of the stream than it gives; one that was
//! declared without SCROLL keeps no row, one with it keeps all it has read, at most
//! [`MAX_KEPT_BYTES`]. A cursor WITH HOLD outlives its transaction and keeps its snapshot until it
//! is closed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::scalar::ScalarValue;
use futures::StreamExt;
use thalweg_dataflow::error::{Error, Result, SqlState};
use tokio::sync::Mutex;

use crate::parser::{Declare, Direction, Fetch};
use crate::session::{Outcome, Prepared, RowsTag, Session};

/// The most cursors of one session.
const MAX_CURSORS: usize = 1_000;

/// Bytes of rows that one cursor with SCROLL may keep.
const MAX_KEPT_BYTES: usize = 256 << 20;

/// The cursors of a session, by name.
#[derive(Debug, Default)]
pub(crate) struct Cursors(BTreeMap<String, SqlCursor>);

/// One cursor.
#[derive(Debug)]
struct SqlCursor {
    schema: SchemaRef,
    /// Its rows are given in binary form where the client does not say which it wants.
    binary: bool,
    hold: bool,
    /// Declared in the transaction that is open.
    fresh: bool,
    /// How many savepoints there were when it was declared.
    depth: usize,
    /// Locked by the FETCH whose rows are being read.
    place: Arc<Mutex<Place>>,
}

/// Where a cursor stands.
struct Place {
    rows: Option<SendableRecordBatchStream>,
    /// What was read of the stream and not given yet.
    rest: Option<RecordBatch>,
    /// SCROLL: all that was read, and its bytes.
    kept: Option<(Vec<RecordBatch>, usize)>,
    /// The row that it stands on, from 1; 0 is before the first, and past the last there is one more.
    position: i64,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("position", &self.position).finish_non_exhaustive()
    }
}

impl Cursors {
    /// A transaction ends.
    pub(crate) fn end(&mut self, committed: bool) {
        self.0.retain(|_, cursor| cursor.hold && (committed || !cursor.fresh));
        self.0.values_mut().for_each(|cursor| cursor.fresh = false);
    }

    /// It goes back to where there were so many savepoints.
    pub(crate) fn back_to(&mut self, depth: usize) {
        self.0.retain(|_, cursor| !cursor.fresh || cursor.depth < depth);
    }

    /// All go.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    fn get(&self, name: &str) -> Result<&SqlCursor> {
        self.0.get(name).ok_or_else(|| missing(name))
    }

    /// The columns of one.
    pub(crate) fn schema(&self, name: &str) -> Result<SchemaRef> {
        self.get(name).map(|cursor| cursor.schema.clone())
    }

    /// One is closed; whether it was there.
    pub(crate) fn forget(&mut self, name: &str) -> bool {
        self.0.remove(name).is_some()
    }

    /// Whether one gives its rows in binary form.
    pub(crate) fn is_binary(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|cursor| cursor.binary)
    }
}

fn missing(name: &str) -> Error {
    Error::new(SqlState::InvalidCursorName, format!("cursor \"{name}\" does not exist"))
}

/// DECLARE.
pub(crate) async fn declare(
    session: &mut Session,
    declare: &Declare,
    prepared: &Prepared,
    parameters: &[ScalarValue],
) -> Result<Outcome> {
    if !declare.hold && !session.is_in_block() {
        let message = "DECLARE CURSOR can only be used in transaction blocks";
        return Err(Error::new(SqlState::NoActiveTransaction, message));
    }
    if session.cursors.0.contains_key(&declare.name) {
        let message = format!("cursor \"{}\" already exists", declare.name);
        return Err(Error::new(SqlState::DuplicateCursor, message));
    }
    if session.cursors.0.len() >= MAX_CURSORS {
        let error = Error::new(SqlState::ProgramLimitExceeded, "too many cursors");
        return Err(error.detail(format!("A session may have {MAX_CURSORS}.")));
    }
    let Outcome::Rows { schema, rows, .. } =
        super::query::run(session, &declare.query, &declare.text, prepared, parameters).await?
    else {
        return Err(Error::internal("a query without rows"));
    };
    let kept = (declare.scroll == Some(true)).then(Default::default);
    let place = Place { rows: Some(rows), rest: None, kept, position: 0 };
    let cursor = SqlCursor {
        schema,
        binary: declare.binary,
        hold: declare.hold,
        fresh: session.is_in_block(),
        depth: session.savepoints(),
        place: Arc::new(Mutex::new(place)),
    };
    session.cursors.0.insert(declare.name.clone(), cursor);
    Ok(Outcome::Done("DECLARE CURSOR".into()))
}

/// FETCH and MOVE.
pub(crate) async fn fetch(session: &mut Session, fetch: &Fetch) -> Result<Outcome> {
    let cursor = session.cursors.get(&fetch.name)?;
    let (schema, binary) = (cursor.schema.clone(), cursor.binary);
    let mut place = cursor.place.clone().lock_owned().await;
    let rows = match place.kept {
        Some(_) => Rows::Kept(place.scrolled(fetch.direction).await?),
        None => Rows::Next(place.ahead(fetch.direction).await?),
    };
    if fetch.moves {
        let moved = match rows {
            Rows::Kept(batches) => batches.iter().map(|batch| batch.num_rows() as u64).sum(),
            Rows::Next(count) => place.skip(count).await?,
        };
        return Ok(Outcome::Done(format!("MOVE {moved}")));
    }
    let rows: SendableRecordBatchStream = match rows {
        Rows::Kept(batches) => {
            let batches = futures::stream::iter(batches.into_iter().map(Ok));
            Box::pin(RecordBatchStreamAdapter::new(schema.clone(), batches))
        }
        Rows::Next(count) => {
            let batches = futures::stream::unfold((place, count), |(mut place, left)| async move {
                match place.next(left).await {
                    Ok(Some(batch)) => {
                        let left = left - batch.num_rows() as i64;
                        Some((Ok(batch), (place, left)))
                    }
                    Ok(None) => None,
                    Err(error) => Some((Err(error.into_datafusion()), (place, 0))),
                }
            });
            Box::pin(RecordBatchStreamAdapter::new(schema.clone(), batches))
        }
    };
    Ok(Outcome::Rows { schema, rows, tag: RowsTag::Fetch { binary } })
}

/// CLOSE.
pub(crate) fn close(session: &mut Session, name: Option<&str>) -> Result<Outcome> {
    match name {
        None => {
            session.cursors.clear();
            Ok(Outcome::Done("CLOSE CURSOR ALL".into()))
        }
        Some(name) => match session.cursors.0.remove(name) {
            Some(_) => Ok(Outcome::Done("CLOSE CURSOR".into())),
            None => Err(missing(name)),
        },
    }
}

/// What a FETCH gives.
enum Rows {
    /// So many of the next rows.
    Next(i64),
    /// These.
    Kept(Vec<RecordBatch>),
}

fn forward_only() -> Error {
    Error::new(SqlState::ObjectNotInPrerequisiteState, "cursor can only scan forward")
        .hint("Declare it with SCROLL option to enable backward scan.")
}

impl Place {
    /// At most so many of the next rows, in one batch; `None` at the end.
    async fn next(&mut self, limit: i64) -> Result<Option<RecordBatch>> {
        if limit <= 0 {
            return Ok(None);
        }
        loop {
            let batch = match (self.rest.take(), &mut self.rows) {
                (Some(rest), _) => rest,
                (None, Some(rows)) => match rows.next().await {
                    Some(batch) => batch.map_err(Error::from)?,
                    None => {
                        self.rows = None;
                        continue;
                    }
                },
                (None, None) => return Ok(None),
            };
            let count = (batch.num_rows() as i64).min(limit) as usize;
            if count < batch.num_rows() {
                self.rest = Some(batch.slice(count, batch.num_rows() - count));
            }
            if count > 0 {
                self.position += count as i64;
                return Ok(Some(batch.slice(0, count)));
            }
        }
    }

    /// Passes over some rows; how many there were.
    async fn skip(&mut self, count: i64) -> Result<u64> {
        let mut skipped = 0;
        while let Some(batch) = self.next(count - skipped as i64).await? {
            skipped += batch.num_rows() as u64;
        }
        Ok(skipped)
    }

    /// How many of the next rows a FETCH gives that goes ahead only; it stands before them.
    async fn ahead(&mut self, direction: Direction) -> Result<i64> {
        let target = match direction {
            Direction::Forward(count) if count > 0 => return Ok(count),
            Direction::Relative(count) if count > 0 => self.position + count,
            Direction::Absolute(row) if row > self.position => row,
            // Before the first row there is nothing to give again.
            Direction::Forward(_) | Direction::Relative(0) if self.position == 0 => return Ok(0),
            _ => return Err(forward_only()),
        };
        self.skip(target - 1 - self.position).await?;
        Ok(1)
    }

    /// Reads until so many rows are kept.
    async fn keep(&mut self, wanted: i64) -> Result<i64> {
        let Some((mut batches, mut bytes)) = self.kept.take() else { return Ok(0) };
        let mut count: i64 = batches.iter().map(|batch| batch.num_rows() as i64).sum();
        while count < wanted {
            let Some(rows) = &mut self.rows else { break };
            match rows.next().await {
                Some(batch) => {
                    let batch = batch.map_err(Error::from)?;
                    count += batch.num_rows() as i64;
                    bytes += batch.get_array_memory_size();
                    batches.push(batch);
                }
                None => self.rows = None,
            }
            if bytes > MAX_KEPT_BYTES {
                return Err(Error::new(SqlState::ProgramLimitExceeded, "the cursor keeps too many rows")
                    .detail(format!("One with SCROLL may keep {MAX_KEPT_BYTES} bytes."))
                    .hint("Declare it without SCROLL."));
            }
        }
        self.kept = Some((batches, bytes));
        Ok(count)
    }

    /// What a FETCH gives of rows that are kept; it stands there afterwards.
    async fn scrolled(&mut self, direction: Direction) -> Result<Vec<RecordBatch>> {
        let at = self.position;
        let (from, to, stand) = match direction {
            Direction::Forward(0) | Direction::Backward(0) | Direction::Relative(0) => (at, at, at),
            Direction::Forward(count) => (at + 1, at.saturating_add(count), at.saturating_add(count)),
            Direction::Backward(count) => (at - count, at - 1, at - count),
            Direction::Relative(by) => {
                let row = at.saturating_add(by);
                (row, row, row)
            }
            Direction::Absolute(row) if row < 0 => {
                let row = self.keep(i64::MAX).await? + 1 + row;
                (row, row, row)
            }
            Direction::Absolute(row) => (row, row, row),
        };
        let there = self.keep(to).await?;
        self.position = stand.clamp(0, there + 1);
        let mut rows = self.picked(from.max(1), to.min(there));
        if matches!(direction, Direction::Backward(_)) {
            rows.reverse();
            return rows.iter().map(reversed).collect();
        }
        Ok(rows)
    }

    /// The kept rows from one number to another, both given.
    fn picked(&self, from: i64, to: i64) -> Vec<RecordBatch> {
        let mut picked = Vec::new();
        let mut before = 0;
        for batch in self.kept.iter().flat_map(|(batches, _)| batches) {
            let rows = batch.num_rows() as i64;
            let (low, high) = ((from - 1 - before).max(0), (to - before).min(rows));
            if low < high {
                picked.push(batch.slice(low as usize, (high - low) as usize));
            }
            before += rows;
        }
        picked
    }
}

/// The rows of a batch, last one first.
fn reversed(batch: &RecordBatch) -> Result<RecordBatch> {
    let places = arrow::array::UInt32Array::from_iter_values((0..batch.num_rows() as u32).rev());
    Ok(arrow::compute::take_record_batch(batch, &places)?)
}
