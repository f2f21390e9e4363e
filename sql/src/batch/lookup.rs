//! Queries of few rows: `SELECT ... FROM t WHERE key = ...`, `key BETWEEN ... AND ...`, `SELECT 1`.
//!
//! The rows are found by their key in the snapshot, and what the query makes of them are expressions
//! over one small batch: DataFusion plans and runs nothing. Promises: the answer is what the batch
//! engine would give. A query of any other shape, or of more than [`MOST_ROWS`], is not taken.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{
    SortColumn, SortOptions, concat_batches, filter_record_batch, lexsort_to_indices, take_record_batch,
};
use arrow::datatypes::Schema;
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, FetchType, Limit, LogicalPlan, Operator, SkipType, SortExpr, TableScan};
use datafusion::physical_expr::create_physical_expr;
use thalweg_dataflow::Result;
use thalweg_dataflow::plan::RelationId;
use thalweg_dataflow::types::PgType;

use super::fill;
use super::key_range::Range;
use crate::planner::{Comparison, Relation, RelationSource, guard, is_over_one_row};
use crate::session::View;

/// The most rows that are looked up: a task of a connection works on no more.
pub(super) const MOST_ROWS: usize = 1024;

/// A query that was recognised.
pub(super) struct Lookup<'a> {
    base: Base<'a>,
    /// What is done to the row, first step first.
    steps: Vec<Step<'a>>,
}

/// Where the row comes from.
enum Base<'a> {
    /// From nowhere: one row of no columns.
    Nothing,
    /// From a view or table: at most one row.
    Row { relation: RelationId, key: usize, named: Vec<Comparison<'a>> },
    /// From a table.
    Range { relation: RelationId, key: usize, range: Range<'a> },
}

impl Base<'_> {
    /// Whether its rows satisfy a condition, whatever they are.
    fn says(&self, condition: &Expr) -> bool {
        match self {
            Base::Nothing => false,
            Base::Row { named, .. } => {
                let said = |part: &Expr| named.iter().any(|one| one.condition == part);
                split_conjunction(condition).into_iter().all(said)
            }
            Base::Range { range, .. } => range.is_all_of(condition),
        }
    }

    /// Whether a block's own changes come over its rows.
    fn is_changed(&self, view: &View) -> bool {
        match self {
            Base::Nothing => false,
            Base::Row { relation, .. } | Base::Range { relation, .. } => view.pending(*relation).is_some(),
        }
    }
}

/// A node of the plan.
enum Step<'a> {
    Filter(&'a Expr, &'a DFSchema),
    Project(&'a [Expr], &'a DFSchema),
    Sort(&'a [SortExpr], &'a DFSchema),
    Limit { skip: usize, fetch: Option<usize> },
}

impl<'a> Lookup<'a> {
    /// The lookup that this plan is, if it is one.
    pub(super) fn of(plan: &'a LogicalPlan, view: &View) -> Option<Lookup<'a>> {
        let mut steps = Vec::new();
        let mut node = plan;
        let scan = loop {
            node = match node {
                LogicalPlan::Projection(projection) => {
                    steps.push(Step::Project(&projection.expr, projection.input.schema()));
                    &projection.input
                }
                LogicalPlan::Filter(filter) => {
                    steps.push(Step::Filter(&filter.predicate, filter.input.schema()));
                    &filter.input
                }
                LogicalPlan::Sort(sort) => {
                    if sort.fetch.is_some() {
                        steps.push(Step::Limit { skip: 0, fetch: sort.fetch });
                    }
                    steps.push(Step::Sort(&sort.expr, sort.input.schema()));
                    &sort.input
                }
                LogicalPlan::Limit(limit) => {
                    steps.push(first_rows(limit)?);
                    &limit.input
                }
                LogicalPlan::SubqueryAlias(alias) => &alias.input,
                LogicalPlan::EmptyRelation(empty) if empty.produce_one_row => break None,
                LogicalPlan::TableScan(scan) => break Some(scan),
                _ => return None,
            };
        };
        steps.reverse();
        for step in &steps {
            let exprs = match step {
                Step::Filter(condition, _) => vec![*condition],
                Step::Project(exprs, _) => exprs.iter().collect(),
                Step::Sort(exprs, _) => exprs.iter().map(|by| &by.expr).collect(),
                Step::Limit { .. } => Vec::new(),
            };
            if !exprs.into_iter().all(is_over_one_row) {
                return None;
            }
        }
        let base = match scan {
            None => Base::Nothing,
            Some(scan) => row_of(scan, &steps, view)?,
        };
        if !base.is_changed(view) {
            steps.retain(|step| !matches!(step, Step::Filter(condition, _) if base.says(condition)));
        }
        Some(Lookup { base, steps })
    }

    /// Whether it reads a relation.
    pub(super) fn reads(&self) -> bool {
        !matches!(self.base, Base::Nothing)
    }

    /// The rows that are there and pass; `None` if there are too many.
    pub(super) fn run(&self, parameters: &[ScalarValue], types: &[PgType], view: &View) -> Result<Option<RecordBatch>> {
        let filled = |expr: &Expr| Ok(fill(expr.clone(), parameters, types)?.data);
        let Some(mut rows) = self.base_rows(&filled, view)? else { return Ok(None) };
        let over = |expr: &Expr, schema: &DFSchema, rows: &RecordBatch| evaluated(&filled(expr)?, schema, rows);
        for step in &self.steps {
            rows = match step {
                Step::Filter(condition, schema) => {
                    let rows = named(&rows, schema)?;
                    let verdict = over(condition, schema, &rows)?;
                    let passes: BooleanArray =
                        verdict.as_boolean().iter().map(|verdict| Some(verdict == Some(true))).collect();
                    filter_record_batch(&rows, &passes)?
                }
                Step::Project(exprs, schema) => {
                    let columns = match exprs.iter().map(|expr| place(expr, schema)).collect::<Option<Vec<_>>>() {
                        Some(places) => places.into_iter().map(|place| rows.column(place).clone()).collect(),
                        None => {
                            let rows = named(&rows, schema)?;
                            exprs.iter().map(|expr| over(expr, schema, &rows)).collect::<Result<Vec<_>>>()?
                        }
                    };
                    let fields = columns.iter().enumerate().map(|(place, column)| {
                        arrow::datatypes::Field::new(place.to_string(), column.data_type().clone(), true)
                    });
                    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
                    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
                    RecordBatch::try_new_with_options(schema, columns, &options)?
                }
                Step::Sort(..) if rows.num_rows() < 2 => rows,
                Step::Sort(order, schema) => {
                    let rows = named(&rows, schema)?;
                    let column = |by: &SortExpr| -> Result<SortColumn> {
                        let options = SortOptions { descending: !by.asc, nulls_first: by.nulls_first };
                        Ok(SortColumn { values: over(&by.expr, schema, &rows)?, options: Some(options) })
                    };
                    let columns = order.iter().map(column).collect::<Result<Vec<_>>>()?;
                    take_record_batch(&rows, &lexsort_to_indices(&columns, None)?)?
                }
                Step::Limit { skip, fetch } => {
                    let skip = (*skip).min(rows.num_rows());
                    rows.slice(skip, fetch.unwrap_or(usize::MAX).min(rows.num_rows() - skip))
                }
            };
        }
        Ok(Some(rows))
    }

    fn base_rows(&self, filled: &dyn Fn(&Expr) -> Result<Expr>, view: &View) -> Result<Option<RecordBatch>> {
        let value = |expr: &Expr| match filled(expr)? {
            Expr::Literal(value, _) => Ok(value.to_array()?),
            other => evaluated(&other, &DFSchema::empty(), &one_row()?),
        };
        let (relation, found) = match &self.base {
            Base::Nothing => return one_row().map(Some),
            Base::Row { relation, key, named } => {
                let values = named.iter().map(|one| value(one.value)).collect::<Result<Vec<_>>>()?;
                (relation, view.snapshot.lookup(*relation, *key, &values)?)
            }
            Base::Range { relation, key, range } => {
                let limit = if view.pending(*relation).is_none() { self.wanted(range) } else { None };
                let found = range.rows(&value, limit, &|range| view.snapshot.range(*relation, *key, range))?;
                match found.filter(|rows| rows.num_rows() <= MOST_ROWS) {
                    Some(rows) => (relation, rows),
                    None => return Ok(None),
                }
            }
        };
        Ok(Some(match view.pending(*relation) {
            Some(pending) => {
                let all = pending.over(Box::new(std::iter::once(Ok(found.clone()))))?;
                concat_batches(&found.schema(), &all.collect::<Result<Vec<_>>>()?)?
            }
            None => found,
        }))
    }

    /// How many of a range's first rows are enough, and whether they are those from its end.
    fn wanted(&self, range: &Range<'_>) -> Option<(usize, bool)> {
        let mut backwards = None;
        // The steps up to LIMIT: columns, the order. A filter there is one that says more than the range.
        for (at, step) in self.steps.iter().enumerate() {
            match step {
                Step::Project(..) => {}
                Step::Sort([by], schema) if backwards.is_none() => {
                    let mut column = place(&by.expr, schema)?;
                    for step in self.steps[..at].iter().rev() {
                        if let Step::Project(exprs, schema) = step {
                            column = place(exprs.get(column)?, schema)?;
                        }
                    }
                    if column != range.column {
                        return None;
                    }
                    backwards = Some(!by.asc);
                }
                Step::Limit { skip, fetch: Some(fetch) } => {
                    return Some((skip.checked_add(*fetch)?.clamp(1, MOST_ROWS), backwards?));
                }
                _ => return None,
            }
        }
        None
    }
}

/// The column that an expression is, under whatever name.
fn place(expr: &Expr, schema: &DFSchema) -> Option<usize> {
    match expr {
        Expr::Alias(alias) => place(&alias.expr, schema),
        Expr::Column(column) => schema.index_of_column(column).ok(),
        _ => None,
    }
}

/// An expression's values for some rows, which have the schema's names.
fn evaluated(expr: &Expr, schema: &DFSchema, rows: &RecordBatch) -> Result<ArrayRef> {
    let physical = create_physical_expr(expr, schema, &ExecutionProps::new(), &PhysicalPlanningContext::default())?;
    Ok(guard(physical)?.evaluate(rows)?.into_array(rows.num_rows())?)
}

/// A row of no columns.
pub(crate) fn one_row() -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?)
}

/// LIMIT and OFFSET of constants.
fn first_rows<'a>(limit: &Limit) -> Option<Step<'a>> {
    let (Ok(SkipType::Literal(skip)), Ok(FetchType::Literal(fetch))) = (limit.get_skip_type(), limit.get_fetch_type())
    else {
        return None;
    };
    Some(Step::Limit { skip, fetch })
}

/// The rows that the conditions right above the scan name by a key.
fn row_of<'a>(scan: &'a TableScan, steps: &[Step<'a>], view: &View) -> Option<Base<'a>> {
    let source = (scan.source.as_ref() as &dyn std::any::Any).downcast_ref::<RelationSource>()?;
    let Relation::View { id, schema, .. } = &source.relation else { return None };
    let is_whole = scan.projection.is_none() && scan.filters.is_empty() && scan.fetch.is_none();
    if !is_whole || source.schema.fields().len() != schema.fields().len() {
        return None;
    }
    let conditions = steps.iter().map_while(|step| match step {
        Step::Filter(condition, schema) => Some((*condition, *schema)),
        _ => None,
    });
    let comparisons: Vec<Comparison<'_>> = conditions
        .flat_map(|(condition, schema)| {
            let find = |column: &Column| {
                let place = schema.index_of_column(column).ok()?;
                Some((place, schema.field(place).data_type().clone()))
            };
            split_conjunction(condition).into_iter().filter_map(move |part| Comparison::of(part, find))
        })
        .collect();
    let keys = view.snapshot.keys(*id);
    let given =
        |column: &usize| comparisons.iter().find(|one| one.column == *column && one.op == Operator::Eq).copied();
    let whole = keys
        .iter()
        .enumerate()
        .find_map(|(key, columns)| Some((key, columns.iter().map(given).collect::<Option<_>>()?)));
    if let Some((key, named)) = whole {
        return Some(Base::Row { relation: *id, key, named });
    }
    let ranges = keys.iter().enumerate().filter_map(|(key, columns)| Some((key, Range::of(columns, &comparisons)?)));
    let (key, range) = ranges.max_by_key(|(_, range)| range.used())?;
    Some(Base::Range { relation: *id, key, range })
}

/// The same rows under a plan's names.
fn named(rows: &RecordBatch, schema: &DFSchema) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    Ok(RecordBatch::try_new_with_options(schema, rows.columns().to_vec(), &options)?)
}
