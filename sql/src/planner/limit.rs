//! Lowering LIMIT and OFFSET: the first rows of an order that is kept up to date.

use datafusion::logical_expr::{FetchType, Limit, LogicalPlan, SkipType, Sort};
use thalweg_dataflow::plan::{Op, Plan, SortColumn};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result};

use super::join::{keyed, picked};
use super::lower::{lower, physical, projection, type_of};

/// The rows that LIMIT and OFFSET leave.
pub(super) fn limit(limit: &Limit) -> Result<Plan> {
    let (SkipType::Literal(skip), FetchType::Literal(fetch)) = (limit.get_skip_type()?, limit.get_fetch_type()?) else {
        return Err(Error::unsupported("LIMIT or OFFSET that is not a constant in a materialized view"));
    };
    first(&limit.input, skip as u64, fetch.map(|fetch| fetch as u64))
}

/// The first rows of a plan, in its order if it has one.
fn first(plan: &LogicalPlan, offset: u64, limit: Option<u64>) -> Result<Plan> {
    match plan {
        LogicalPlan::Projection(inner) => {
            let input = first(&inner.input, offset, limit)?;
            projection(inner, input)
        }
        LogicalPlan::SubqueryAlias(alias) => first(&alias.input, offset, limit),
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => ordered(sort, offset, limit),
        other => Ok(top(lower(other)?, Vec::new(), offset, limit)),
    }
}

fn ordered(sort: &Sort, offset: u64, limit: Option<u64>) -> Result<Plan> {
    let mut input = lower(&sort.input)?;
    let width = input.schema.fields().len();
    let mut order = Vec::with_capacity(sort.expr.len());
    for by in &sort.expr {
        let field = type_of(&by.expr, sort.input.schema()).field("order", true);
        if PgType::of(&field) == PgType::Interval {
            return Err(Error::unsupported("ORDER BY an interval with LIMIT in a materialized view"));
        }
        let expr = physical(&by.expr, sort.input.schema())?;
        let column = keyed(&mut input, expr, field);
        order.push(SortColumn { column, descending: !by.asc, nulls_first: by.nulls_first });
    }
    let top = top(input, order, offset, limit);
    Ok(picked(top, &(0..width).collect::<Vec<_>>()))
}

fn top(input: Plan, order: Vec<SortColumn>, offset: u64, limit: Option<u64>) -> Plan {
    let schema = input.schema.clone();
    Plan { op: Op::TopK { input: Box::new(input), keys: Vec::new(), order, offset, limit }, schema }
}
