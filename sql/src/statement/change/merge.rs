//! MERGE: pairs of rows, each handed to the first WHEN that it meets.
//!
//! As in PostgreSQL a row of the table may be changed by one pair only (21000), and all WHENs see
//! the table as it was before the statement.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{Int64Type, SchemaRef};
use datafusion::logical_expr::Expr;
use datafusion::scalar::ScalarValue;
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::table::{OnConflict, TableChange};
use thalweg_dataflow::types::PgType;

use super::evaluate::Evaluation;
use super::target::with_names;
use super::{Effect, Target, allowed, check, indices, settings};
use crate::aside::aside_if_long;
use crate::parser::Statement;
use crate::parser::merge::Merge;
use crate::planner::Planner;
use crate::planner::merge::{BoundAction, BoundMerge};
use crate::session::{Prepared, RowsTag, Session, View};

/// The types of the parameters; there is no RETURNING.
pub(super) async fn describe(
    session: &Session,
    view: &View,
    statement: &Statement,
    merge: &Merge,
    types: &[Option<PgType>],
) -> Result<(Vec<PgType>, Option<SchemaRef>)> {
    let target = target(session, view, merge)?;
    let bound = bind(session, view, statement, merge, &target, types).await?;
    Ok((bound.parameters, None))
}

fn target(session: &Session, view: &View, merge: &Merge) -> Result<Target> {
    merge.check()?;
    Target::merged(session, view, &merge.target)
}

async fn bind(
    session: &Session,
    view: &View,
    statement: &Statement,
    merge: &Merge,
    target: &Target,
    types: &[Option<PgType>],
) -> Result<BoundMerge> {
    allowed::check(session, view, statement.kind(), target)?;
    with_names(session, view, statement.kind(), |names| {
        let settings = settings(session, view, statement);
        let bind = || Planner.bind_merge(merge, &target.planned()?, names, &settings, types);
        aside_if_long(statement.request(), bind)
    })
    .await
}

/// What the statement does.
pub(super) async fn effect(
    session: &Session,
    view: &View,
    merge: &Merge,
    prepared: &Prepared,
    parameters: &[ScalarValue],
) -> Result<Effect> {
    let target = target(session, view, merge)?;
    let types: Vec<Option<PgType>> = prepared.parameters.iter().cloned().map(Some).collect();
    let bound = bind(session, view, &prepared.statement, merge, &target, &types).await?;
    let evaluation = Evaluation { session, view, parameters, types: &bound.parameters };
    let found = evaluation.query(bound.plan.clone(), bound.schema.clone()).await?;
    refuse_twice(&found)?;
    let merging = Merging { evaluation, target: &target, bound: &bound };
    let table = &target.definition;
    let (mut deletes, mut inserts) = (vec![table.no_rows()], vec![table.no_rows()]);
    for (place, action) in bound.actions.iter().enumerate() {
        let pairs = merging.pairs(&found, place)?;
        if matches!(action, BoundAction::Update(_) | BoundAction::Delete) {
            let old = pairs.columns()[..table.schema.fields().len()].to_vec();
            deletes.push(RecordBatch::try_new(table.schema.clone(), old)?);
        }
        if let BoundAction::Update(values) | BoundAction::Insert(values) = action {
            inserts.push(merging.rows(values, &pairs).await?);
        }
    }
    let (deletes, inserts) = (concat_batches(&table.schema, &deletes)?, concat_batches(&table.schema, &inserts)?);
    let change = TableChange { table: Arc::clone(table), deletes, inserts, on_conflict: OnConflict::Fail };
    Ok(Effect { change, rows: found.num_rows(), returned: None, tag: RowsTag::Merge })
}

/// A MERGE whose pairs are known.
struct Merging<'a> {
    evaluation: Evaluation<'a>,
    target: &'a Target,
    bound: &'a BoundMerge,
}

impl Merging<'_> {
    /// The pairs that meet a WHEN, as its expressions see them.
    fn pairs(&self, found: &RecordBatch, when: usize) -> Result<RecordBatch> {
        let whens = found.column(1).as_primitive::<Int64Type>();
        let places = (0..found.num_rows()).filter(|row| whens.value(*row) == when as i64);
        let met = take_record_batch(found, &indices(places))?;
        let options = RecordBatchOptions::new().with_row_count(Some(met.num_rows()));
        let schema = Arc::new(self.bound.at_hand.as_arrow().clone());
        Ok(RecordBatch::try_new_with_options(schema, met.columns()[2..].to_vec(), &options)?)
    }

    /// The rows that a WHEN puts into the table.
    async fn rows(&self, values: &[Expr], pairs: &RecordBatch) -> Result<RecordBatch> {
        let types: Vec<PgType> = self.target.object.columns.iter().map(|column| column.data_type.clone()).collect();
        let columns: Vec<ArrayRef> = self.evaluation.over(values, &types, &self.bound.at_hand, pairs).await?;
        let rows = RecordBatch::try_new(self.target.definition.schema.clone(), columns)?;
        check::complete(self.evaluation.session, self.evaluation.view, self.target, rows).await
    }
}

/// A row of the table may stand in one pair that changes it.
fn refuse_twice(found: &RecordBatch) -> Result<()> {
    let numbers = found.column(0).as_primitive::<Int64Type>();
    let mut seen = HashSet::with_capacity(numbers.len());
    if numbers.iter().flatten().all(|number| seen.insert(number)) {
        return Ok(());
    }
    Err(Error::new(SqlState::CardinalityViolation, "MERGE command cannot affect row a second time")
        .hint("Ensure that not more than one source row matches any one target row."))
}
