//! INSERT, UPDATE, DELETE, MERGE and TRUNCATE: what they do is computed over a snapshot and committed whole.
//!
//! Outside a block a statement that met a concurrent change of the same rows is computed again over
//! a newer snapshot; once it has lost twice it takes its turn with others that have. Inside a block
//! its rows stay with the session until COMMIT. Promises: an error leaves nothing behind; a cancel
//! is heard until the commit is under way, and no longer.

mod allowed;
pub(crate) mod alter;
pub(crate) mod check;
pub(crate) mod copy;
mod copy_binary;
pub(crate) mod copy_format;
pub(crate) mod draft;
mod evaluate;
mod insert;
mod merge;
mod modify;
mod target;
mod truncate;
pub(crate) mod with_changes;

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::LogicalPlan;
use datafusion::scalar::ScalarValue;
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::table::{OnConflict, TableChange};
use thalweg_dataflow::types::PgType;

use super::one_batch;
use super::query::planning;
use crate::guard::Guard;
use crate::parser::{Kind, Statement};
use crate::planner::Settings;
use crate::session::{Outcome, Prepared, RowsTag, Session, View};
use evaluate::Evaluation;
pub(crate) use target::Target;

/// How often a statement is computed again because others changed its rows. With their turns taken
/// one after the other, a statement loses only to those that never lost.
const MAX_TRIES: usize = 1000;

/// Tries after which a statement takes its turn.
const TRIES_BEFORE_TURN: usize = 2;

/// What a statement does to a table.
pub(crate) struct Effect {
    /// The rows that go and come.
    pub(crate) change: TableChange,
    /// Rows for the command tag.
    pub(crate) rows: usize,
    /// RETURNING: one row for each of them.
    pub(crate) returned: Option<RecordBatch>,
    /// The command.
    pub(crate) tag: RowsTag,
}

/// The types of the parameters, and the columns of RETURNING.
pub(crate) async fn describe(
    session: &Session,
    statement: &Statement,
    types: &[Option<PgType>],
) -> Result<(Vec<PgType>, Option<SchemaRef>)> {
    described(session, &session.peek_view(), statement, types).await
}

async fn described(
    session: &Session,
    view: &View,
    statement: &Statement,
    types: &[Option<PgType>],
) -> Result<(Vec<PgType>, Option<SchemaRef>)> {
    match statement.kind() {
        Kind::Insert(insert) => insert::describe(session, view, statement, insert, types).await,
        Kind::Update(_) | Kind::Delete(_) => modify::describe(session, view, statement, types).await,
        Kind::Merge(merge) => merge::describe(session, view, statement, merge, types).await,
        _ => Ok((Vec::new(), None)),
    }
}

async fn effect(session: &Session, view: &View, prepared: &Prepared, parameters: &[ScalarValue]) -> Result<Effect> {
    let statement = &prepared.statement;
    match statement.kind() {
        Kind::Insert(insert) => insert::effect(session, view, statement, insert, prepared, parameters).await,
        Kind::Merge(merge) => merge::effect(session, view, merge, prepared, parameters).await,
        _ => modify::effect(session, view, prepared, parameters).await,
    }
}

/// What the planner is told of the session, and of the statement around this one.
fn settings(session: &Session, view: &View, statement: &Statement) -> Settings {
    let shared_parameters = view.given.parameters.clone();
    Settings { shared_parameters, ..planning(session, statement.request(), false) }
}

/// Runs INSERT, UPDATE, DELETE or MERGE.
pub(crate) async fn run(
    session: &mut Session,
    prepared: &Prepared,
    parameters: &[ScalarValue],
    guard: &Guard,
) -> Result<Outcome> {
    let database = session.database.clone();
    let mut turn = None;
    for tries in 0..MAX_TRIES {
        let view = session.view();
        let mut stop = guard.clone();
        let mut effect = tokio::select! {
            biased;
            error = stop.stopped() => return Err(error),
            effect = effect(session, &view, prepared, parameters) => effect?,
        };
        if session.is_in_block() {
            keep(session, view, &effect.change).await?;
            return done(effect);
        }
        let rows = effect.change.deletes.num_rows() + effect.change.inserts.num_rows();
        if rows == 0 || session.loses_rows(effect.change.table.id) {
            return done(effect);
        }
        match database.0.engine.commit(std::slice::from_ref(&effect.change)).await {
            Ok(committed) => {
                effect.leave_out(committed.skipped.first().map_or(&[], Vec::as_slice))?;
                return done(effect);
            }
            Err(error) if error.state() == SqlState::SerializationFailure => {
                if turn.is_none() && tries + 1 >= TRIES_BEFORE_TURN {
                    turn = Some(database.0.turn.lock().await);
                }
            }
            // ALTER TABLE put another in its place: the next try finds that one, or none.
            Err(error) if error.state() == SqlState::UndefinedTable && tries < TRIES_BEFORE_TURN => {}
            Err(error) => return Err(gone(error, &effect.change.table.name)),
        }
    }
    Err(concurrent_update())
}

/// Runs TRUNCATE.
pub(crate) use truncate::run as truncate;

/// A table that went meanwhile, by its name.
fn gone(error: Error, name: &str) -> Error {
    match error.state() {
        SqlState::UndefinedTable => Error::new(SqlState::UndefinedTable, format!("relation \"{name}\" does not exist")),
        _ => error,
    }
}

impl Effect {
    /// Takes away the rows that were not inserted after all.
    fn leave_out(&mut self, skipped: &[usize]) -> Result<()> {
        if skipped.is_empty() {
            return Ok(());
        }
        if let Some(returned) = &self.returned {
            let stays: BooleanArray =
                (0..returned.num_rows()).map(|row| Some(skipped.binary_search(&row).is_err())).collect();
            self.returned = Some(filter_record_batch(returned, &stays)?);
        }
        self.rows -= skipped.len();
        Ok(())
    }
}

fn done(effect: Effect) -> Result<Outcome> {
    Ok(match effect.returned {
        Some(batch) => {
            let schema = batch.schema();
            Outcome::Rows { schema: schema.clone(), rows: one_batch(schema, batch), tag: effect.tag }
        }
        None => Outcome::Done(effect.tag.complete(effect.rows as u64)),
    })
}

/// Puts a change into the block's own, its keys held against the newest rows and the block's.
pub(super) async fn keep(session: &mut Session, view: View, change: &TableChange) -> Result<()> {
    // Held any longer, it would have what the block changed copied.
    drop(view);
    let table = &change.table;
    let mut pending = session.take_pending(table);
    let own = Arc::make_mut(&mut pending);
    own.delete(&change.deletes)?;
    for key in 0..table.keys.len() {
        if change.inserts.num_rows() == 0 {
            break;
        }
        let found = session.database.0.engine.lookup(table, key, &change.inserts).await;
        let found = found.map_err(|error| gone(error, &table.name))?;
        let gone = own.gone(&found.rows)?;
        let mut seen = HashSet::new();
        for (row, value) in table.key_values(key, &change.inserts)?.into_iter().enumerate() {
            let Some(value) = value else { continue };
            let others = found.of[row].is_some_and(|place| !gone[place]);
            if others && (change.on_conflict != OnConflict::Fail || own.has_freed(key, &value)) {
                // The statement, which would have minded it, did not see it; or it is what became
                // of a row that the block has changed too.
                return Err(concurrent_update());
            }
            if others || own.has_key(key, &value) || !seen.insert(value) {
                return Err(table.violation(key, &change.inserts, row));
            }
        }
    }
    own.insert(&change.inserts, change.on_conflict)?;
    session.put_pending(table.id, pending);
    Ok(())
}

fn concurrent_update() -> Error {
    Error::new(SqlState::SerializationFailure, "could not serialize access due to concurrent update")
}

/// The rows of a query, whole.
pub(super) async fn rows_of(
    session: &Session,
    view: &View,
    plan: LogicalPlan,
    schema: SchemaRef,
) -> Result<RecordBatch> {
    Evaluation { session, view, parameters: &[], types: &[] }.query(plan, schema).await
}

/// Makes a change part of the block, or durable.
pub(super) async fn commit_rows(session: &mut Session, change: &TableChange) -> Result<()> {
    if session.is_in_block() {
        let view = session.view();
        return keep(session, view, change).await;
    }
    if session.loses_rows(change.table.id) {
        return Ok(());
    }
    session.database.0.engine.commit(std::slice::from_ref(change)).await.map(drop)
}

/// Commits what a block changed.
pub(crate) async fn commit(session: &Session, view: &View) -> Result<()> {
    let Some(writes) = &view.writes else { return Ok(()) };
    let changes = writes.values().map(|pending| pending.change()).collect::<Result<Vec<_>>>()?;
    let changes = changes.into_iter().filter(|change| change.deletes.num_rows() + change.inserts.num_rows() > 0);
    // ON COMMIT DELETE ROWS: they never were.
    let changes: Vec<TableChange> = changes.filter(|change| !session.loses_rows(change.table.id)).collect();
    if changes.is_empty() {
        return Ok(());
    }
    let name = changes.first().map(|change| change.table.name.clone()).unwrap_or_default();
    session.database.0.engine.commit(&changes).await.map(drop).map_err(|error| gone(error, &name))
}

/// A row's place in a batch, as an index that kernels take.
fn indices(places: impl Iterator<Item = usize>) -> arrow::array::UInt64Array {
    arrow::array::UInt64Array::from_iter_values(places.map(|place| place as u64))
}
