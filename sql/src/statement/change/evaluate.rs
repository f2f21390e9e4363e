//! Rows computed: expressions over rows at hand, queries run to their end, rows found by key.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{Field, Int64Type, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Column, DFSchemaRef};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_expr::create_physical_expr;
use datafusion::scalar::ScalarValue;
use futures::TryStreamExt;
use thalweg_dataflow::engine::Rows;
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::table::{Found, MAX_COMMIT_BYTES, TableDefinition};
use thalweg_dataflow::types::{PgType, normalize};

use super::indices;
use crate::batch::fill;
use crate::planner::{Bound, guard, is_subquery, unnest, waits};
use crate::session::{Session, View};

/// Where expressions are evaluated, and with which parameters.
pub(super) struct Evaluation<'a> {
    pub(super) session: &'a Session,
    pub(super) view: &'a View,
    pub(super) parameters: &'a [ScalarValue],
    pub(super) types: &'a [PgType],
}

/// Whether an expression reads relations, or waits: it needs a query of its own.
fn needs_query(expr: &Expr) -> Result<bool> {
    Ok(expr.exists(|inner| Ok(is_subquery(inner) || waits(inner)))?)
}

impl Evaluation<'_> {
    /// The values of expressions over rows, in these types.
    pub(super) async fn over(
        &self,
        exprs: &[Expr],
        types: &[PgType],
        schema: &DFSchemaRef,
        rows: &RecordBatch,
    ) -> Result<Vec<ArrayRef>> {
        for expr in exprs {
            if needs_query(expr)? {
                return self.by_query(exprs, types, schema, rows).await;
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let named = Arc::new(schema.as_arrow().clone());
        let rows = RecordBatch::try_new_with_options(named, rows.columns().to_vec(), &options)?;
        exprs
            .iter()
            .zip(types)
            .map(|(expr, ty)| {
                let filled = fill(expr.clone(), self.parameters, self.types)?.data;
                let physical =
                    create_physical_expr(&filled, schema, &ExecutionProps::new(), &PhysicalPlanningContext::default())?;
                let array = guard(physical)?.evaluate(&rows)?.into_array(rows.num_rows())?;
                if *array.data_type() == ty.arrow() { Ok(array) } else { normalize(ty, &array) }
            })
            .collect()
    }

    /// The same where an expression reads relations: as a query over the rows, numbered to keep
    /// their order.
    async fn by_query(
        &self,
        exprs: &[Expr],
        types: &[PgType],
        schema: &DFSchemaRef,
        rows: &RecordBatch,
    ) -> Result<Vec<ArrayRef>> {
        let mut fields: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone()).collect();
        let number = PgType::Int8.field("row number", true);
        fields.push(number.clone());
        let mut columns = rows.columns().to_vec();
        columns.push(Arc::new(arrow::array::Int64Array::from_iter_values(0..rows.num_rows() as i64)));
        let numbered = Arc::new(Schema::new(fields));
        let batch = RecordBatch::try_new(numbered.clone(), columns)?;
        let table = provider_as_source(Arc::new(MemTable::try_new(numbered.clone(), vec![vec![batch]])?));
        // The expressions name the columns without a table.
        let plan = LogicalPlanBuilder::scan("rows at hand", table, None)?;
        let bare = numbered
            .fields()
            .iter()
            .map(|field| Expr::Column(Column::new(Some("rows at hand"), field.name())).alias(field.name()));
        let plan = plan.project(bare.collect::<Vec<_>>())?;
        let mut outputs = vec![Expr::Column(Column::new_unqualified(number.name()))];
        let mut fields = vec![number];
        for (place, (expr, ty)) in exprs.iter().zip(types).enumerate() {
            outputs.push(expr.clone().alias(format!("value {place}")));
            fields.push(ty.field(format!("value {place}"), true));
        }
        let schema = Arc::new(Schema::new(fields));
        let found = self.query(without_subqueries(plan.project(outputs)?.build()?)?, schema).await?;
        let numbers = found.column(0).as_primitive::<Int64Type>();
        let mut order: Vec<usize> = (0..found.num_rows()).collect();
        order.sort_by_key(|row| numbers.value(*row));
        let sorted = take_record_batch(&found, &indices(order.into_iter()))?;
        Ok(sorted.columns()[1..].to_vec())
    }

    /// All rows of a query.
    pub(super) async fn query(&self, plan: LogicalPlan, schema: SchemaRef) -> Result<RecordBatch> {
        let parameters = self.types.to_vec();
        let bound = Bound {
            plan,
            schema: schema.clone(),
            parameters,
            reads: Vec::new(),
            reads_clock: true,
            kept: Arc::default(),
        };
        let mut rows = self.session.database.0.batch.execute_in(&bound, self.parameters, self.view).await?;
        let mut batches = Vec::new();
        let mut bytes = 0;
        while let Some(batch) = rows.try_next().await? {
            bytes += batch.get_array_memory_size();
            // What a commit may not hold need not be gathered to its end.
            if bytes > 4 * MAX_COMMIT_BYTES {
                return Err(Error::new(SqlState::ProgramLimitExceeded, "the transaction changes too much")
                    .hint("Change the rows in several transactions."));
            }
            batches.push(batch);
        }
        Ok(concat_batches(&schema, &batches)?)
    }
}

/// The plan with joins for its subqueries; their names meet none that the binder gave.
fn without_subqueries(plan: LogicalPlan) -> Result<LogicalPlan> {
    let count = std::cell::Cell::new(0);
    let unique = |wanted: &str| {
        count.set(count.get() + 1);
        format!("{wanted} at hand {}", count.get())
    };
    unnest(plan, &unique, false)
}

/// The rows of the table, as the statement sees them, that have a key of the given rows: by the
/// index of the newest rows, unless the block sees older ones.
pub(super) async fn rows_by_key(
    session: &Session,
    view: &View,
    table: &Arc<TableDefinition>,
    key: usize,
    given: &RecordBatch,
) -> Result<Found> {
    let newest = session.database.0.engine.lookup(table, key, given).await?;
    if !session.is_in_block() {
        return Ok(newest);
    }
    let values = table.key_values(key, given)?;
    let unchanged = view.snapshot.is_newest(table.id)?;
    let seen = view.snapshot.holds(table, &newest.rows)?;
    let known = |row: usize| newest.of[row].map_or(unchanged, |place| seen[place]);
    let (own, gone) = match view.pending(table.id) {
        Some(pending) => (pending.with_keys(key, &values)?, pending.gone(&newest.rows)?),
        None => (Found { rows: table.no_rows(), of: vec![None; values.len()] }, vec![false; newest.rows.num_rows()]),
    };
    let is_known = |row: usize| own.of[row].is_some() || values[row].is_none() || known(row);
    if !(0..values.len()).all(is_known) {
        let (table, view, given) = (table.clone(), view.clone(), given.clone());
        let found = tokio::task::spawn_blocking(move || find(&table, key, view.rows(table.id)?, &given));
        return found.await.map_err(|error| Error::internal(format!("the keys could not be compared: {error}")))?;
    }
    let count = newest.rows.num_rows();
    let of = (0..values.len()).map(|row| match own.of[row] {
        Some(place) => Some(count + place),
        None => newest.of[row].filter(|place| !gone[*place]),
    });
    let of = of.collect();
    Ok(Found { rows: concat_batches(&newest.rows.schema(), [&newest.rows, &own.rows])?, of })
}

/// Looks through rows of a table for those that share a key with the given ones.
fn find(table: &TableDefinition, key: usize, rows: Rows, given: &RecordBatch) -> Result<Found> {
    let mut wanted: HashMap<Box<[u8]>, Vec<usize>> = HashMap::new();
    for (row, value) in table.key_values(key, given)?.into_iter().enumerate() {
        if let Some(value) = value {
            wanted.entry(value).or_default().push(row);
        }
    }
    let mut of = vec![None; given.num_rows()];
    let mut parts = Vec::new();
    let mut count = 0;
    for batch in rows {
        let batch = batch?;
        let mut taken = Vec::new();
        for (row, value) in table.key_values(key, &batch)?.into_iter().enumerate() {
            let Some(givens) = value.and_then(|value| wanted.get(&value)) else { continue };
            givens.iter().for_each(|given| of[*given] = Some(count));
            taken.push(row);
            count += 1;
        }
        if !taken.is_empty() {
            parts.push(take_record_batch(&batch, &indices(taken.into_iter()))?);
        }
    }
    Ok(Found { rows: concat_batches(&table.no_rows().schema(), &parts)?, of })
}
