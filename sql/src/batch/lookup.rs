//! Queries of few rows: `SELECT ... FROM t WHERE key = ...`, `key BETWEEN ... AND ...`, `SELECT 1`.
//!
//! The rows are found by their key in the snapshot, and what the query makes of them are expressions
//! over one small batch: DataFusion plans and runs nothing. What can be known without the values of
//! parameters is worked out once and kept with the bound query. Promises: the answer is what the batch
//! engine would give. A query of any other shape, or of more than [`MOST_ROWS`], is not taken.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{
    SortColumn, SortOptions, concat_batches, filter_record_batch, lexsort_to_indices, take_record_batch,
};
use arrow::datatypes::Schema;
use datafusion::common::{Column, DFSchemaRef};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, FetchType, Limit, LogicalPlan, Operator, SkipType, SortExpr, TableScan};
use thalweg_dataflow::Result;
use thalweg_dataflow::engine::KeyRange;
use thalweg_dataflow::plan::RelationId;

use super::computed::{Columns, Computed, Parameters, Value};
use super::key_range::Range;
use crate::planner::{Comparison, Relation, RelationSource, is_over_one_row};
use crate::session::View;

/// The most rows that are looked up: a task of a connection works on no more.
pub(super) const MOST_ROWS: usize = 1024;

/// A query that was recognised.
#[derive(Debug)]
pub(crate) struct Lookup {
    base: Base,
    /// What is done to the rows, first step first.
    steps: Vec<Step>,
}

/// Where the rows come from.
#[derive(Debug)]
enum Base {
    /// From nowhere: one row of no columns.
    Nothing,
    /// From a view or table.
    Key(Key, Wanted),
}

/// A key of a relation.
#[derive(Debug)]
struct Key {
    relation: RelationId,
    /// Its number among the relation's keys.
    number: usize,
    columns: Vec<usize>,
}

/// Which rows.
#[derive(Debug)]
enum Wanted {
    /// At most one: the values of the key's columns.
    One(Vec<Value>),
    /// Those of a range, and how many of its first are enough, from its end or not.
    Range(Range, Option<(usize, bool)>),
}

/// A node of the plan.
#[derive(Debug)]
enum Step {
    /// `said`: the rows of the base satisfy it, unless a block has changed them.
    Filter {
        condition: Computed,
        said: bool,
    },
    /// Columns as they are.
    Pick(Vec<usize>),
    Project(Vec<Computed>),
    Sort(Vec<(Computed, SortOptions)>),
    Limit {
        skip: usize,
        fetch: Option<usize>,
    },
}

/// The same as the plan has it.
#[derive(Debug, Clone, Copy)]
enum Node<'a> {
    Filter(&'a Expr, &'a DFSchemaRef),
    Project(&'a [Expr], &'a DFSchemaRef),
    Sort(&'a [SortExpr], &'a DFSchemaRef),
    Limit { skip: usize, fetch: Option<usize> },
}

impl Lookup {
    /// The lookup that this plan is, if it is one.
    pub(super) fn of(plan: &LogicalPlan, view: &View) -> Option<Lookup> {
        let (scan, nodes) = nodes(plan)?;
        let Some(scan) = scan else {
            return Some(Lookup { base: Base::Nothing, steps: steps(&nodes, &[]) });
        };
        let source = (scan.source.as_ref() as &dyn std::any::Any).downcast_ref::<RelationSource>()?;
        let Relation::View { id, schema, .. } = &source.relation else { return None };
        let is_whole = scan.projection.is_none() && scan.filters.is_empty() && scan.fetch.is_none();
        if !is_whole || source.schema.fields().len() != schema.fields().len() {
            return None;
        }
        let comparisons = comparisons(&nodes);
        let keys = view.snapshot.keys(*id);
        let key = |number: usize, columns: &[usize]| Key { relation: *id, number, columns: columns.to_vec() };
        let given = |column: &usize| comparisons.iter().find(|one| one.column == *column && one.op == Operator::Eq);
        let whole = keys.iter().enumerate().find_map(|(number, columns)| {
            Some((key(number, columns), columns.iter().map(given).collect::<Option<Vec<_>>>()?))
        });
        if let Some((key, named)) = whole {
            let said: Vec<&Expr> = named.iter().map(|one| one.condition).collect();
            let values = named.iter().map(|one| Value::of(one.value)).collect();
            return Some(Lookup { base: Base::Key(key, Wanted::One(values)), steps: steps(&nodes, &said) });
        }
        let ranges = keys.iter().enumerate();
        let ranges =
            ranges.filter_map(|(number, columns)| Some((key(number, columns), Range::of(columns, &comparisons)?)));
        let (key, (range, said)) = ranges.max_by_key(|(_, (_, said))| said.len())?;
        let first = first_of(&nodes, &range, &said);
        Some(Lookup { base: Base::Key(key, Wanted::Range(range, first)), steps: steps(&nodes, &said) })
    }

    /// Whether it reads a relation.
    pub(crate) fn reads(&self) -> bool {
        !matches!(self.base, Base::Nothing)
    }

    /// The rows that are there and pass; `None` if there are too many, or the relation has other keys
    /// meanwhile.
    pub(super) fn run(&self, parameters: Parameters<'_>, view: &View) -> Result<Option<Columns>> {
        let (mut rows, is_changed) = match &self.base {
            Base::Nothing => (Columns { columns: Vec::new(), count: 1 }, false),
            Base::Key(key, wanted) => match key.rows(wanted, parameters, view)? {
                Some(rows) => (Columns::of(&rows), view.pending(key.relation).is_some()),
                None => return Ok(None),
            },
        };
        for step in &self.steps {
            match step {
                Step::Filter { said: true, .. } if !is_changed => {}
                other => rows = other.of(rows, parameters)?,
            }
        }
        Ok(Some(rows))
    }
}

impl Key {
    fn rows(&self, wanted: &Wanted, parameters: Parameters<'_>, view: &View) -> Result<Option<RecordBatch>> {
        if !view.snapshot.has_key(self.relation, self.number, &self.columns) {
            return Ok(None);
        }
        let pending = view.pending(self.relation);
        let found = match wanted {
            Wanted::One(values) => {
                let values = values.iter().map(|value| value.array(parameters)).collect::<Result<Vec<_>>>()?;
                view.snapshot.lookup(self.relation, self.number, &values)?
            }
            Wanted::Range(range, first) => {
                let first = first.filter(|_| pending.is_none());
                let find = |range: &KeyRange<'_>| view.snapshot.range(self.relation, self.number, range);
                match range.rows(parameters, first, &find)?.filter(|rows| rows.num_rows() <= MOST_ROWS) {
                    Some(rows) => rows,
                    None => return Ok(None),
                }
            }
        };
        let Some(pending) = pending else { return Ok(Some(found)) };
        let all = pending.over(Box::new(std::iter::once(Ok(found.clone()))))?;
        Ok(Some(concat_batches(&found.schema(), &all.collect::<Result<Vec<_>>>()?)?))
    }
}

impl Step {
    fn of(&self, rows: Columns, parameters: Parameters<'_>) -> Result<Columns> {
        Ok(match self {
            Step::Filter { condition, .. } => {
                let verdict = condition.over(&rows, parameters)?;
                let passes: BooleanArray =
                    verdict.as_boolean().iter().map(|verdict| Some(verdict == Some(true))).collect();
                Columns::of(&filter_record_batch(&rows.unnamed()?, &passes)?)
            }
            Step::Pick(places) => {
                let columns = places.iter().map(|place| rows.columns[*place].clone()).collect();
                Columns { columns, count: rows.count }
            }
            Step::Project(exprs) => {
                let columns = exprs.iter().map(|expr| expr.over(&rows, parameters)).collect::<Result<_>>()?;
                Columns { columns, count: rows.count }
            }
            Step::Sort(_) if rows.count < 2 => rows,
            Step::Sort(order) => {
                let column = |(by, options): &(Computed, SortOptions)| -> Result<SortColumn> {
                    Ok(SortColumn { values: by.over(&rows, parameters)?, options: Some(*options) })
                };
                let columns = order.iter().map(column).collect::<Result<Vec<_>>>()?;
                Columns::of(&take_record_batch(&rows.unnamed()?, &lexsort_to_indices(&columns, None)?)?)
            }
            Step::Limit { skip, fetch } => {
                let skip = (*skip).min(rows.count);
                let count = fetch.unwrap_or(usize::MAX).min(rows.count - skip);
                let columns = rows.columns.iter().map(|column| column.slice(skip, count)).collect();
                Columns { columns, count }
            }
        })
    }
}

/// The nodes of a plan over its scan, which may read nothing, the lowest first.
fn nodes(plan: &LogicalPlan) -> Option<(Option<&TableScan>, Vec<Node<'_>>)> {
    let mut nodes = Vec::new();
    let mut at = plan;
    let scan = loop {
        at = match at {
            LogicalPlan::Projection(projection) => {
                nodes.push(Node::Project(&projection.expr, projection.input.schema()));
                &projection.input
            }
            LogicalPlan::Filter(filter) => {
                nodes.push(Node::Filter(&filter.predicate, filter.input.schema()));
                &filter.input
            }
            LogicalPlan::Sort(sort) => {
                if sort.fetch.is_some() {
                    nodes.push(Node::Limit { skip: 0, fetch: sort.fetch });
                }
                nodes.push(Node::Sort(&sort.expr, sort.input.schema()));
                &sort.input
            }
            LogicalPlan::Limit(limit) => {
                nodes.push(first_rows(limit)?);
                &limit.input
            }
            LogicalPlan::SubqueryAlias(alias) => &alias.input,
            LogicalPlan::EmptyRelation(empty) if empty.produce_one_row => break None,
            LogicalPlan::TableScan(scan) => break Some(scan),
            _ => return None,
        };
    };
    nodes.reverse();
    let is_plain = |node: &Node<'_>| match node {
        Node::Filter(condition, _) => is_over_one_row(condition),
        Node::Project(exprs, _) => exprs.iter().all(is_over_one_row),
        Node::Sort(exprs, _) => exprs.iter().all(|by| is_over_one_row(&by.expr)),
        Node::Limit { .. } => true,
    };
    nodes.iter().all(is_plain).then_some((scan, nodes))
}

/// What is done to rows of which some conditions are known to hold.
fn steps(nodes: &[Node<'_>], said: &[&Expr]) -> Vec<Step> {
    let step = |node: &Node<'_>| match *node {
        Node::Filter(condition, schema) => Step::Filter {
            condition: Computed::new(condition, schema),
            said: split_conjunction(condition).iter().all(|part| said.contains(part)),
        },
        Node::Project(exprs, schema) => match exprs.iter().map(|expr| place(expr, schema)).collect() {
            Some(places) => Step::Pick(places),
            None => Step::Project(exprs.iter().map(|expr| Computed::new(expr, schema)).collect()),
        },
        Node::Sort(order, schema) => {
            let options = |by: &SortExpr| SortOptions { descending: !by.asc, nulls_first: by.nulls_first };
            Step::Sort(order.iter().map(|by| (Computed::new(&by.expr, schema), options(by))).collect())
        }
        Node::Limit { skip, fetch } => Step::Limit { skip, fetch },
    };
    nodes.iter().map(step).collect()
}

/// What the conditions right above the scan compare its columns with.
fn comparisons<'a>(nodes: &[Node<'a>]) -> Vec<Comparison<'a>> {
    let conditions = nodes.iter().map_while(|node| match node {
        Node::Filter(condition, schema) => Some((*condition, *schema)),
        _ => None,
    });
    conditions
        .flat_map(|(condition, schema)| {
            let find = |column: &Column| {
                let place = schema.index_of_column(column).ok()?;
                Some((place, schema.field(place).data_type().clone()))
            };
            split_conjunction(condition).into_iter().filter_map(move |part| Comparison::of(part, find))
        })
        .collect()
}

/// How many of a range's first rows are enough, and whether they are those from its end.
fn first_of(nodes: &[Node<'_>], range: &Range, said: &[&Expr]) -> Option<(usize, bool)> {
    let mut backwards = None;
    // The nodes up to LIMIT: columns, the order. A filter there may say more than the range.
    for (at, node) in nodes.iter().enumerate() {
        match *node {
            Node::Filter(condition, _) if split_conjunction(condition).iter().all(|part| said.contains(part)) => {}
            Node::Project(..) => {}
            Node::Sort([by], schema) if backwards.is_none() => {
                let mut column = place(&by.expr, schema)?;
                for node in nodes[..at].iter().rev() {
                    if let Node::Project(exprs, schema) = node {
                        column = place(exprs.get(column)?, schema)?;
                    }
                }
                if column != range.column {
                    return None;
                }
                backwards = Some(!by.asc);
            }
            Node::Limit { skip, fetch: Some(fetch) } => {
                return Some((skip.checked_add(fetch)?.clamp(1, MOST_ROWS), backwards?));
            }
            _ => return None,
        }
    }
    None
}

/// The column that an expression is, under whatever name.
fn place(expr: &Expr, schema: &DFSchemaRef) -> Option<usize> {
    match expr {
        Expr::Alias(alias) => place(&alias.expr, schema),
        Expr::Column(column) => schema.index_of_column(column).ok(),
        _ => None,
    }
}

/// A row of no columns.
pub(crate) fn one_row() -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?)
}

/// LIMIT and OFFSET of constants.
fn first_rows(limit: &Limit) -> Option<Node<'_>> {
    let (Ok(SkipType::Literal(skip)), Ok(FetchType::Literal(fetch))) = (limit.get_skip_type(), limit.get_fetch_type())
    else {
        return None;
    };
    Some(Node::Limit { skip, fetch })
}
