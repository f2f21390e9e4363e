//! INSERT: rows from VALUES or a query, and what becomes of those whose key is taken.
//!
//! Outside a block DO NOTHING is decided when the rows are committed; DO UPDATE, and all of it
//! inside a block, against what the statement sees.

use std::collections::HashSet;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;
use datafusion::scalar::ScalarValue;
use std::sync::Arc;
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::table::{Found, OnConflict, TableChange};
use thalweg_dataflow::types::PgType;

use super::evaluate::{Evaluation, rows_by_key};
use super::target::with_names;
use super::{Effect, Target, allowed, check, indices, settings};
use crate::aside::aside_if_long;
use crate::batch::one_row;
use crate::parser::Statement;
use crate::parser::change::{Arbiter, Conflict, ConflictAction, Insert};
use crate::planner::Planner;
use crate::planner::change::{BoundInsert, Returning, RowScope, Rows, constant};
use crate::session::{Prepared, RowsTag, Session, View};

/// The types of the parameters, and the columns of RETURNING.
pub(super) async fn describe(
    session: &Session,
    view: &View,
    statement: &Statement,
    insert: &Insert,
    types: &[Option<PgType>],
) -> Result<(Vec<PgType>, Option<SchemaRef>)> {
    let target = Target::find(session, view, &insert.target)?;
    let bound = bind(session, view, statement, insert, &target, types).await?;
    Ok((bound.parameters, bound.returning.map(|(returning, _)| returning.schema)))
}

async fn bind(
    session: &Session,
    view: &View,
    statement: &Statement,
    insert: &Insert,
    target: &Target,
    types: &[Option<PgType>],
) -> Result<BoundInsert> {
    allowed::check(session, view, statement.kind(), target)?;
    with_names(session, view, statement.kind(), |names| {
        let settings = settings(session, view, statement);
        let bind = || Planner.bind_insert(insert, &target.planned()?, names, &settings, types);
        aside_if_long(statement.request(), bind)
    })
    .await
}

/// What the statement does.
pub(super) async fn effect(
    session: &Session,
    view: &View,
    statement: &Statement,
    insert: &Insert,
    prepared: &Prepared,
    parameters: &[ScalarValue],
) -> Result<Effect> {
    let target = Target::find(session, view, &insert.target)?;
    let arbiter = arbiter(&target, insert.conflict.as_ref())?;
    let types: Vec<Option<PgType>> = prepared.parameters.iter().cloned().map(Some).collect();
    let bound = bind(session, view, statement, insert, &target, &types).await?;
    let evaluation = Evaluation { session, view, parameters, types: &bound.parameters };
    let rows = match &bound.rows {
        Rows::Values(rows) => values(&evaluation, rows, &target).await?,
        Rows::Query(plan) => evaluation.query(plan.clone(), target.definition.schema.clone()).await?,
    };
    let rows = check::complete(session, view, &target, rows).await?;
    let inserting = Inserting { evaluation, target: &target, bound: &bound, arbiter };
    match insert.conflict.as_ref().map(|conflict| &conflict.action) {
        None => inserting.effect(target.definition.no_rows(), rows, OnConflict::Fail).await,
        Some(ConflictAction::Nothing) if session.is_in_block() => {
            let rows = inserting.without_conflicts(rows).await?;
            inserting.effect(target.definition.no_rows(), rows, OnConflict::Retry(arbiter)).await
        }
        Some(ConflictAction::Nothing) => {
            inserting.effect(target.definition.no_rows(), rows, OnConflict::Skip(arbiter)).await
        }
        Some(ConflictAction::Update(..)) => inserting.or_update(rows).await,
    }
}

/// The key that ON CONFLICT names.
fn arbiter(target: &Target, conflict: Option<&Conflict>) -> Result<Option<usize>> {
    let keys = &target.definition.keys;
    match conflict.and_then(|conflict| conflict.arbiter.as_ref()) {
        None => Ok(None),
        Some(Arbiter::Constraint(name)) => match keys.iter().position(|key| key.name == *name) {
            // An index is no constraint.
            Some(key) if target.table()?.indexes.iter().all(|index| index.name != *name) => Ok(Some(key)),
            _ => Err(Error::new(
                SqlState::UndefinedObject,
                format!("constraint \"{name}\" for table \"{}\" does not exist", target.object.name),
            )),
        },
        Some(Arbiter::Columns(columns)) => {
            let planned = target.planned()?;
            let mut places = Vec::with_capacity(columns.len());
            for column in columns {
                let known = planned.columns.iter().position(|known| known.name == column.name);
                places.push(known.ok_or_else(|| {
                    let error =
                        Error::new(SqlState::UndefinedColumn, format!("column \"{}\" does not exist", column.name));
                    column.at.map_or(error.clone(), |place| error.at(place))
                })?);
            }
            let same = |key: &[usize]| {
                key.iter().all(|place| places.contains(place)) && places.iter().all(|place| key.contains(place))
            };
            keys.iter().position(|key| same(&key.columns)).map(Some).ok_or_else(|| {
                Error::new(
                    SqlState::InvalidColumnReference,
                    "there is no unique or exclusion constraint matching the ON CONFLICT specification",
                )
            })
        }
    }
}

/// The rows of VALUES. Constants, which most are, need no evaluation.
async fn values(
    evaluation: &Evaluation<'_>,
    rows: &[Vec<datafusion::logical_expr::Expr>],
    target: &Target,
) -> Result<RecordBatch> {
    let types: Vec<PgType> = target.object.columns.iter().map(|column| column.data_type.clone()).collect();
    let scope = RowScope::new(&[])?;
    let one = one_row()?;
    let mut columns: Vec<Vec<ScalarValue>> = vec![Vec::with_capacity(rows.len()); types.len()];
    for row in rows {
        let constants: Option<Vec<ScalarValue>> = row.iter().zip(&types).map(|(expr, ty)| constant(expr, ty)).collect();
        let values = match constants {
            Some(constants) => constants,
            None => evaluation
                .over(row, &types, &scope.schema, &one)
                .await?
                .iter()
                .map(|array| Ok(ScalarValue::try_from_array(array, 0)?))
                .collect::<Result<_>>()?,
        };
        columns.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
    }
    let columns: Vec<ArrayRef> =
        columns.into_iter().map(|column| Ok(ScalarValue::iter_to_array(column)?)).collect::<Result<_>>()?;
    Ok(RecordBatch::try_new(target.definition.schema.clone(), columns)?)
}

/// An INSERT whose rows are known.
struct Inserting<'a> {
    evaluation: Evaluation<'a>,
    target: &'a Target,
    bound: &'a BoundInsert,
    arbiter: Option<usize>,
}

impl Inserting<'_> {
    async fn effect(&self, deletes: RecordBatch, inserts: RecordBatch, on_conflict: OnConflict) -> Result<Effect> {
        let returned = match &self.bound.returning {
            Some((returning, scope)) => Some(self.returned(returning, scope, &inserts).await?),
            None => None,
        };
        let rows = inserts.num_rows();
        let change = TableChange { table: self.target.definition.clone(), deletes, inserts, on_conflict };
        Ok(Effect { change, rows, returned, tag: RowsTag::Insert })
    }

    async fn returned(&self, returning: &Returning, scope: &RowScope, rows: &RecordBatch) -> Result<RecordBatch> {
        let types: Vec<PgType> = returning.schema.fields().iter().map(|field| PgType::of(field)).collect();
        let columns = self.evaluation.over(&returning.exprs, &types, &scope.schema, rows).await?;
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        Ok(RecordBatch::try_new_with_options(returning.schema.clone(), columns, &options)?)
    }

    async fn found(&self, key: usize, rows: &RecordBatch) -> Result<Found> {
        let Evaluation { session, view, .. } = self.evaluation;
        rows_by_key(session, view, &self.target.definition, key, rows).await
    }

    /// The rows whose key nobody has, the first of equal ones.
    async fn without_conflicts(&self, rows: RecordBatch) -> Result<RecordBatch> {
        let keys: Vec<usize> = match self.arbiter {
            Some(key) => vec![key],
            None => (0..self.target.definition.keys.len()).collect(),
        };
        let mut free = vec![true; rows.num_rows()];
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            let found = self.found(key, &rows).await?;
            free.iter_mut().zip(&found.of).for_each(|(free, found)| *free &= found.is_none());
            values.push(self.target.definition.key_values(key, &rows)?);
        }
        let mut seen: Vec<HashSet<&[u8]>> = vec![HashSet::new(); values.len()];
        let mut kept = Vec::new();
        for row in (0..rows.num_rows()).filter(|row| free[*row]) {
            let twice = values
                .iter()
                .zip(&seen)
                .any(|(values, seen)| values[row].as_deref().is_some_and(|value| seen.contains(value)));
            if twice {
                continue;
            }
            for (values, seen) in values.iter().zip(&mut seen) {
                seen.extend(values[row].as_deref());
            }
            kept.push(row);
        }
        Ok(take_record_batch(&rows, &indices(kept.into_iter()))?)
    }

    /// DO UPDATE: rows whose key is taken change the row that has it.
    async fn or_update(&self, rows: RecordBatch) -> Result<Effect> {
        let (Some(key), Some((exprs, condition, scope))) = (self.arbiter, &self.bound.update) else {
            return Err(Error::internal("DO UPDATE without a key"));
        };
        let table = &self.target.definition;
        let found = self.found(key, &rows).await?;
        // Each conflicting row beside the one that is there.
        let met: Vec<(usize, usize)> =
            found.of.iter().enumerate().filter_map(|(row, there)| Some((row, (*there)?))).collect();
        let there = take_record_batch(&found.rows, &indices(met.iter().map(|(_, there)| *there)))?;
        let given = take_record_batch(&rows, &indices(met.iter().map(|(row, _)| *row)))?;
        let columns: Vec<ArrayRef> = there.columns().iter().chain(given.columns()).cloned().collect();
        let pairs = RecordBatch::try_new(Arc::new(scope.schema.as_arrow().clone()), columns)?;
        let chosen = match condition {
            Some(condition) => {
                let verdict = self
                    .evaluation
                    .over(std::slice::from_ref(condition), &[PgType::Bool], &scope.schema, &pairs)
                    .await?;
                let verdict = verdict.first().map(|array| array.as_boolean().clone());
                (0..met.len())
                    .filter(|pair| verdict.as_ref().is_some_and(|array| array.is_valid(*pair) && array.value(*pair)))
                    .collect()
            }
            None => (0..met.len()).collect::<Vec<usize>>(),
        };
        self.refuse_twice(key, &rows, &found.of, &chosen.iter().map(|pair| met[*pair].0).collect())?;
        let pairs = take_record_batch(&pairs, &indices(chosen.iter().copied()))?;
        let types: Vec<PgType> = self.target.object.columns.iter().map(|column| column.data_type.clone()).collect();
        let updated = self.evaluation.over(exprs, &types, &scope.schema, &pairs).await?;
        let updated = RecordBatch::try_new(table.schema.clone(), updated)?;
        let updated = check::complete(self.evaluation.session, self.evaluation.view, self.target, updated).await?;
        let deletes = take_record_batch(&there, &indices(chosen.iter().copied()))?;
        self.refuse_taken(key, &deletes, &updated).await?;
        // In the order in which they were given: new rows as they are, others as they became.
        let mut order: Vec<(usize, usize)> =
            chosen.iter().enumerate().map(|(place, pair)| (met[*pair].0, rows.num_rows() + place)).collect();
        order.extend(found.of.iter().enumerate().filter(|(_, there)| there.is_none()).map(|(row, _)| (row, row)));
        order.sort_unstable();
        let all = concat_batches(&table.schema, [&rows, &updated])?;
        let inserts = take_record_batch(&all, &indices(order.into_iter().map(|(_, place)| place)))?;
        self.effect(deletes, inserts, OnConflict::Retry(Some(key))).await
    }

    /// A row that is changed may not take the key of one that stays.
    async fn refuse_taken(&self, key: usize, before: &RecordBatch, after: &RecordBatch) -> Result<()> {
        let table = &self.target.definition;
        let (old, new) = (table.key_values(key, before)?, table.key_values(key, after)?);
        if old == new {
            return Ok(());
        }
        let freed: HashSet<&[u8]> = old.iter().flatten().map(AsRef::as_ref).collect();
        let found = self.found(key, after).await?;
        let taken = |row: usize| new[row].as_deref().is_some_and(|value| !freed.contains(value));
        match (0..new.len()).find(|row| found.of[*row].is_some() && taken(*row)) {
            Some(row) => Err(table.violation(key, after, row)),
            None => Ok(()),
        }
    }

    /// A row may be changed once, and one that is new not at all.
    fn refuse_twice(
        &self,
        key: usize,
        rows: &RecordBatch,
        of: &[Option<usize>],
        changing: &HashSet<usize>,
    ) -> Result<()> {
        let values = self.target.definition.key_values(key, rows)?;
        let mut seen: HashSet<&[u8]> = HashSet::new();
        for (row, value) in values.iter().enumerate() {
            let Some(value) = value.as_deref() else { continue };
            let changes = of[row].is_none() || changing.contains(&row);
            if seen.contains(value) {
                return Err(Error::new(
                    SqlState::CardinalityViolation,
                    "ON CONFLICT DO UPDATE command cannot affect row a second time",
                )
                .hint("Ensure that no rows proposed for insertion within the same command have duplicate constrained values."));
            }
            if changes {
                seen.insert(value);
            }
        }
        Ok(())
    }
}
