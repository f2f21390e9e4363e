//! UPDATE and DELETE: a query over the table's numbered rows says which go and what they become.
//!
//! A row that a join meets several times is changed once, by the first of its matches.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{filter_record_batch, take_record_batch};
use arrow::datatypes::{Int64Type, SchemaRef};
use datafusion::logical_expr::Expr;
use datafusion::scalar::ScalarValue;
use thalweg_dataflow::error::{Error, Result};
use thalweg_dataflow::table::{OnConflict, TableChange};
use thalweg_dataflow::types::PgType;

use super::evaluate::{Evaluation, rows_by_key};
use super::target::with_names;
use super::{Effect, Target, allowed, check, indices, settings};
use crate::aside::aside_if_long;
use crate::batch::one_row;
use crate::parser::{Kind, Statement};
use crate::planner::Planner;
use crate::planner::change::{BoundChange, RowScope};
use crate::planner::change_by_key::ByKey;
use crate::session::{Prepared, RowsTag, Session, View};

/// The types of the parameters, and the columns of RETURNING.
pub(super) async fn describe(
    session: &Session,
    view: &View,
    statement: &Statement,
    types: &[Option<PgType>],
) -> Result<(Vec<PgType>, Option<SchemaRef>)> {
    let target = target(session, view, statement)?;
    let bound = bind(session, view, statement, &target, types).await?;
    Ok((bound.parameters, bound.returning))
}

fn target(session: &Session, view: &View, statement: &Statement) -> Result<Target> {
    match statement.kind() {
        Kind::Update(update) => Target::find(session, view, &update.target),
        Kind::Delete(delete) => Target::find(session, view, &delete.target),
        _ => Err(Error::internal("neither UPDATE nor DELETE")),
    }
}

async fn bind(
    session: &Session,
    view: &View,
    statement: &Statement,
    target: &Target,
    types: &[Option<PgType>],
) -> Result<BoundChange> {
    allowed::check(session, view, statement.kind(), target)?;
    with_names(session, view, statement.kind(), |names| {
        let settings = settings(session, view, statement);
        aside_if_long(statement.request(), || match statement.kind() {
            Kind::Update(update) => Planner.bind_update(update, &target.planned()?, names, &settings, types),
            Kind::Delete(delete) => Planner.bind_delete(delete, &target.planned()?, names, &settings, types),
            _ => Err(Error::internal("neither UPDATE nor DELETE")),
        })
    })
    .await
}

/// What the statement does.
pub(super) async fn effect(
    session: &Session,
    view: &View,
    prepared: &Prepared,
    parameters: &[ScalarValue],
) -> Result<Effect> {
    let statement = &prepared.statement;
    let is_update = matches!(statement.kind(), Kind::Update(_));
    let target = target(session, view, statement)?;
    let types: Vec<Option<PgType>> = prepared.parameters.iter().cloned().map(Some).collect();
    let bound = bind(session, view, statement, &target, &types).await?;
    let evaluation = Evaluation { session, view, parameters, types: &bound.parameters };
    if let Some(by_key) = &bound.by_key {
        return looked_up(&evaluation, &target, by_key).await;
    }
    let found = once(&evaluation.query(bound.plan, bound.schema).await?)?;
    let table = target.definition.clone();
    let width = table.schema.fields().len();
    let part = |from: usize, schema: &SchemaRef| {
        let columns = found.columns()[from..from + schema.fields().len()].to_vec();
        let options = RecordBatchOptions::new().with_row_count(Some(found.num_rows()));
        RecordBatch::try_new_with_options(schema.clone(), columns, &options)
    };
    let deletes = part(1, &table.schema)?;
    let inserts = if is_update { part(1 + width, &table.schema)? } else { table.no_rows() };
    if is_update {
        check::check(session, view, &target, &inserts).await?;
    }
    let behind = if is_update { 1 + 2 * width } else { 1 + width };
    let returned = bound.returning.as_ref().map(|schema| part(behind, schema)).transpose()?;
    Ok(Effect {
        change: TableChange { table: Arc::clone(&table), deletes, inserts, on_conflict: OnConflict::Fail },
        rows: found.num_rows(),
        returned,
        tag: if is_update { RowsTag::Update } else { RowsTag::Delete },
    })
}

/// The same where the condition names a key: at most one row.
async fn looked_up(evaluation: &Evaluation<'_>, target: &Target, by_key: &ByKey) -> Result<Effect> {
    let table = &target.definition;
    let scope = &by_key.scope.schema;
    let rows = named_row(evaluation, target, by_key).await?;
    let verdict = evaluation.over(std::slice::from_ref(&by_key.condition), &[PgType::Bool], scope, &rows).await?;
    let deletes = match verdict.first() {
        Some(verdict) => {
            let holds: BooleanArray = verdict.as_boolean().iter().map(|verdict| Some(verdict == Some(true))).collect();
            filter_record_batch(&rows, &holds)?
        }
        None => rows,
    };
    let types: Vec<PgType> = target.object.columns.iter().map(|column| column.data_type.clone()).collect();
    let inserts = match &by_key.set {
        Some(set) => {
            let updated = evaluation.over(set, &types, scope, &deletes).await?;
            let updated = RecordBatch::try_new(table.schema.clone(), updated)?;
            check::complete(evaluation.session, evaluation.view, target, updated).await?
        }
        None => table.no_rows(),
    };
    let returned = match &by_key.returning {
        Some(returning) => {
            let types: Vec<PgType> = returning.schema.fields().iter().map(|field| PgType::of(field)).collect();
            let shown = if by_key.set.is_some() { &inserts } else { &deletes };
            let columns = evaluation.over(&returning.exprs, &types, scope, shown).await?;
            let options = RecordBatchOptions::new().with_row_count(Some(shown.num_rows()));
            Some(RecordBatch::try_new_with_options(returning.schema.clone(), columns, &options)?)
        }
        None => None,
    };
    Ok(Effect {
        rows: deletes.num_rows(),
        tag: if by_key.set.is_some() { RowsTag::Update } else { RowsTag::Delete },
        change: TableChange { table: table.clone(), deletes, inserts, on_conflict: OnConflict::Fail },
        returned,
    })
}

/// The row that has the key, if there is one.
async fn named_row(evaluation: &Evaluation<'_>, target: &Target, by_key: &ByKey) -> Result<RecordBatch> {
    let table = &target.definition;
    let (exprs, places): (Vec<Expr>, Vec<usize>) =
        by_key.values.iter().map(|(place, value)| (value.clone(), *place)).unzip();
    let types: Vec<PgType> = places.iter().map(|place| target.object.columns[*place].data_type.clone()).collect();
    let nothing = RowScope::new(&[])?;
    let values = evaluation.over(&exprs, &types, &nothing.schema, &one_row()?).await?;
    let mut given: Vec<ArrayRef> =
        table.schema.fields().iter().map(|field| new_null_array(field.data_type(), 1)).collect();
    places.iter().zip(values).for_each(|(place, value)| given[*place] = value);
    let given = RecordBatch::try_new(table.schema.clone(), given)?;
    let found = rows_by_key(evaluation.session, evaluation.view, table, by_key.key, &given).await?;
    Ok(take_record_batch(&found.rows, &indices(found.of.into_iter().flatten()))?)
}

/// The first match of each row, by its number.
fn once(found: &RecordBatch) -> Result<RecordBatch> {
    let numbers = found.column(0).as_primitive::<Int64Type>().values();
    let mut seen = HashSet::with_capacity(numbers.len());
    let firsts: Vec<usize> = (0..numbers.len()).filter(|row| seen.insert(numbers[*row])).collect();
    if firsts.len() == numbers.len() {
        return Ok(found.clone());
    }
    Ok(take_record_batch(found, &indices(firsts.into_iter()))?)
}
