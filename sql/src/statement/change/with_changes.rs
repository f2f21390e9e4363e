//! A statement whose WITH changes rows: its parts run one after the other and are committed as one.
//!
//! As in PostgreSQL all parts see what was there before the statement, and of one another no more than
//! RETURNING says; each runs to its end, read or not. A row that one part changed, no other part
//! changes again. Outside a block the statement is a block of its own: an error leaves nothing behind,
//! and one that others were faster than runs again as a whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::datasource::MemTable;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::Query;
use parking_lot::Mutex;
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::plan::RelationId;
use thalweg_dataflow::table::Pending;
use thalweg_dataflow::types::PgType;

use super::evaluate::Evaluation;
use super::{Effect, MAX_TRIES, TRIES_BEFORE_TURN, concurrent_update, described, done, effect, keep, settings};
use crate::guard::Guard;
use crate::parser::with_changes::{Part, WithChanges};
use crate::parser::{Kind, Statement};
use crate::planner::change::known;
use crate::session::{Given, Outcome, Prepared, RowsTag, Session, View};
use crate::statement::one_batch;
use crate::statement::query::bind;

/// The types of the parameters, and the columns of the statement's rows.
pub(crate) async fn describe(
    session: &Session,
    changes: &WithChanges,
    types: &[Option<PgType>],
) -> Result<(Vec<PgType>, Option<SchemaRef>)> {
    let shared = Arc::new(Mutex::new(types.to_vec()));
    let given = Given { parameters: Some(shared.clone()), ..Given::default() };
    let mut view = View { given, ..session.peek_view() };
    for part in &changes.parts {
        let known = shared.lock().clone();
        let columns = columns(session, &view, &part.statement, &known).await?;
        give(&mut view.given, part, columns.map(RecordBatch::new_empty))?;
    }
    let so_far = shared.lock().clone();
    let columns = columns(session, &view, &changes.main, &so_far).await?;
    let types = shared.lock().clone();
    Ok((known(types)?, columns))
}

/// The columns of the rows that a part gives.
async fn columns(
    session: &Session,
    view: &View,
    statement: &Statement,
    types: &[Option<PgType>],
) -> Result<Option<SchemaRef>> {
    match statement.kind() {
        Kind::Query(query) => {
            let settings = settings(session, view, statement);
            Ok(Some(bind(session, view, unlocked(query)?, types, settings).await?.0.schema))
        }
        _ => Ok(described(session, view, statement, types).await?.1),
    }
}

/// A query that holds no rows.
fn unlocked(query: &Query) -> Result<&Query> {
    match query.locks.is_empty() {
        true => Ok(query),
        false => Err(Error::unsupported("FOR UPDATE and its kin behind a WITH that changes rows")),
    }
}

/// Gives the rows of a part to those after it.
fn give(given: &mut Given, part: &Part, rows: Option<RecordBatch>) -> Result<()> {
    if let (Some(name), Some(rows)) = (&part.given, rows) {
        given.rows.insert(name.clone(), Arc::new(MemTable::try_new(rows.schema(), vec![vec![rows]])?));
    }
    Ok(())
}

/// Runs the statement.
pub(crate) async fn run(
    session: &mut Session,
    prepared: &Prepared,
    changes: &WithChanges,
    parameters: &[ScalarValue],
    guard: &Guard,
) -> Result<Outcome> {
    let database = session.database.clone();
    let mut turn = None;
    for tries in 0..MAX_TRIES {
        let is_alone = !session.is_in_block();
        if is_alone {
            session.begin_request(false);
        }
        let mut stop = guard.clone();
        let ran = tokio::select! {
            biased;
            error = stop.stopped() => Err(error),
            ran = parts(session, prepared, changes, parameters) => ran,
        };
        if !is_alone {
            return ran;
        }
        let done = match ran {
            Ok(outcome) => session.commit_writes().await.map(|()| outcome),
            Err(error) => Err(error),
        };
        session.end_request();
        match done {
            Err(error) if error.state() == SqlState::SerializationFailure => {
                if turn.is_none() && tries + 1 >= TRIES_BEFORE_TURN {
                    turn = Some(database.0.turn.lock().await);
                }
            }
            Err(error) if error.state() == SqlState::UndefinedTable && tries < TRIES_BEFORE_TURN => {}
            done => return done,
        }
    }
    Err(concurrent_update())
}

/// All parts, in their order; what the statement itself gives.
async fn parts(
    session: &mut Session,
    prepared: &Prepared,
    changes: &WithChanges,
    parameters: &[ScalarValue],
) -> Result<Outcome> {
    let mut view = session.view();
    let mut changed = BTreeMap::new();
    let mut outcome = None;
    for place in &changes.order {
        let part = changes.parts.get(*place);
        let statement = part.map_or(&changes.main, |part| &part.statement);
        if let Kind::Query(query) = statement.kind() {
            let rows = rows(session, &view, statement, query, prepared, parameters).await?;
            match part {
                Some(part) => give(&mut view.given, part, Some(rows))?,
                None => {
                    let schema = rows.schema();
                    let rows = one_batch(schema.clone(), rows);
                    outcome = Some(Outcome::Rows { schema, rows, tag: RowsTag::Select });
                }
            }
            continue;
        }
        let own = Prepared::new(statement.clone(), prepared.parameters.clone(), None);
        let effect = effect(session, &view, &own, parameters).await?;
        let effect = once(effect, &mut changed)?;
        keep(session, view.clone(), &effect.change).await?;
        match part {
            Some(part) => give(&mut view.given, part, effect.returned)?,
            None => outcome = Some(done(effect)?),
        }
    }
    outcome.ok_or_else(|| Error::internal("a WITH without its statement"))
}

/// The rows of a query, all of them: nothing is committed if one of them fails.
async fn rows(
    session: &Session,
    view: &View,
    statement: &Statement,
    query: &Query,
    prepared: &Prepared,
    parameters: &[ScalarValue],
) -> Result<RecordBatch> {
    let types: Vec<Option<PgType>> = prepared.parameters.iter().cloned().map(Some).collect();
    let (bound, _) = bind(session, view, unlocked(query)?, &types, settings(session, view, statement)).await?;
    let evaluation = Evaluation { session, view, parameters, types: &bound.parameters };
    evaluation.query(bound.plan, bound.schema).await
}

/// Takes away what is to happen to rows that another part has changed already. Error 21000 for the
/// statements that mind it.
fn once(mut effect: Effect, changed: &mut BTreeMap<RelationId, Pending>) -> Result<Effect> {
    let change = &mut effect.change;
    let known = changed.entry(change.table.id).or_insert_with(|| Pending::new(change.table.clone()));
    let gone = known.gone(&change.deletes)?;
    if gone.contains(&true) {
        let stays = BooleanArray::from(gone.iter().map(|gone| !gone).collect::<Vec<_>>());
        match effect.tag {
            RowsTag::Update => change.inserts = filter_record_batch(&change.inserts, &stays)?,
            RowsTag::Delete => {}
            RowsTag::Merge => return Err(twice("MERGE")),
            _ => return Err(twice("ON CONFLICT DO UPDATE")),
        }
        change.deletes = filter_record_batch(&change.deletes, &stays)?;
        effect.rows = change.deletes.num_rows();
        effect.returned = effect.returned.map(|rows| filter_record_batch(&rows, &stays)).transpose()?;
    }
    known.delete(&effect.change.deletes)?;
    Ok(effect)
}

fn twice(command: &str) -> Error {
    Error::new(SqlState::CardinalityViolation, format!("{command} command cannot affect row a second time"))
}
