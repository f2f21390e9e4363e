//! From a dependent subquery to a part, node by node: those with one input.
//!
//! A node carries the keys of its input; what it did for one outer row it does for each value of
//! the keys: groups and partitions get them as further columns, a LIMIT counts within them.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::{WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Distinct, Expr, ExprSchemable, Limit, LogicalPlan, LogicalPlanBuilder, Operator, Projection,
    Sort, SortExpr, SubqueryAlias, Window, WindowFrame, WindowFunctionDefinition, WindowUDF,
};
use datafusion::prelude::lit;
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result};

use super::domain::Domain;
use super::part::{Part, localized};
use super::rows::keeps_one;
use super::value::bare;
use super::{Unnester, all_called, called, extend, filtered, named, project, select};
use crate::planner::binder::with_stack;
use crate::planner::expand::Expand;
use crate::planner::recursive_query::RecursiveQuery;
use crate::planner::typed::literal;

impl Unnester<'_> {
    /// The part that a piece of a dependent subquery is.
    pub(super) fn push(&self, plan: &LogicalPlan, domain: &Domain<'_>) -> Result<Part> {
        if !domain.concerns_plan(plan)? {
            return Ok(Part::independent(plan.clone()));
        }
        with_stack(|| self.push_node(plan, domain))
    }

    fn push_node(&self, plan: &LogicalPlan, domain: &Domain<'_>) -> Result<Part> {
        match plan {
            LogicalPlan::Projection(projection) => self.push_projection(projection, domain),
            LogicalPlan::SubqueryAlias(alias) => self.push_alias(alias, domain),
            LogicalPlan::Filter(filter) => {
                let part = self.completed(self.push(&filter.input, domain)?, domain)?;
                self.restricted(part, filter.predicate.clone(), domain)
            }
            LogicalPlan::Aggregate(aggregate) => self.push_aggregate(aggregate, domain),
            LogicalPlan::Window(window) => self.push_window(window, domain),
            LogicalPlan::Sort(sort) => self.push_sort(sort, domain),
            LogicalPlan::Limit(limit) => self.push_limit(limit, domain),
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let part = self.completed(self.push(input, domain)?, domain)?;
                let part = Part { order: Vec::new(), ..part }.exact(input.schema().columns())?;
                Ok(Part { plan: LogicalPlan::Distinct(Distinct::All(part.plan.into())), ..part })
            }
            LogicalPlan::Join(join) => self.push_join(join, domain),
            LogicalPlan::Union(union) => self.push_union(union, domain),
            LogicalPlan::TableScan(scan) if let Some(working) = domain.working(scan) => {
                self.push_working(scan, working)
            }
            LogicalPlan::Distinct(Distinct::On(_)) => Err(refused("DISTINCT ON")),
            other => match (Expand::of(other), RecursiveQuery::of(other)) {
                (Some(expand), _) => self.push_expand(expand, domain),
                (_, Some(query)) => self.push_recursive(query, domain),
                _ => Err(refused("this construct")),
            },
        }
    }

    fn push_projection(&self, projection: &Projection, domain: &Domain<'_>) -> Result<Part> {
        let mut part = self.push(&projection.input, domain)?;
        if part.defaults.is_some() {
            let mut open = false;
            for expr in &projection.expr {
                open |= domain.concerns(&localized(expr.clone(), &part.keys)?)?;
            }
            if open {
                part = self.completed(part, domain)?;
            }
        }
        let defaults = match &part.defaults {
            Some(defaults) => {
                let columns = projection.schema.columns();
                let exprs = projection.expr.iter().map(|expr| defaulted(expr, defaults));
                Some(columns.into_iter().zip(exprs.collect::<Result<Vec<_>>>()?).collect())
            }
            None => None,
        };
        let (part, local) = self.local(part, projection.expr.clone(), domain)?;
        let mut exprs = all_called(local, projection.schema.columns());
        exprs.extend(part.carried());
        Ok(Part { plan: project(part.plan, exprs)?, defaults, ..part })
    }

    fn push_expand(&self, expand: &Expand, domain: &Domain<'_>) -> Result<Part> {
        let part = self.completed(self.push(&expand.input, domain)?, domain)?;
        let (part, arguments) = self.local(part, expand.arguments.clone(), domain)?;
        Ok(Part { plan: expand.over(part.plan, arguments)?, ..part })
    }

    fn push_alias(&self, alias: &SubqueryAlias, domain: &Domain<'_>) -> Result<Part> {
        let mut part = self.push(&alias.input, domain)?.exact(alias.input.schema().columns())?;
        let over = |column: &Column| Column::new(Some(alias.alias.clone()), column.name.clone());
        part.plan = LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(part.plan.into(), alias.alias.clone())?);
        for key in &mut part.keys {
            key.column = over(&key.column);
        }
        for sort in &mut part.order {
            if let Expr::Column(column) = &mut sort.expr {
                *column = over(column);
            }
        }
        for (column, _) in part.defaults.iter_mut().flatten() {
            *column = over(column);
        }
        Ok(part)
    }

    fn push_aggregate(&self, aggregate: &Aggregate, domain: &Domain<'_>) -> Result<Part> {
        let part = self.completed(self.push(&aggregate.input, domain)?, domain)?;
        if let [Expr::GroupingSet(_)] = aggregate.group_expr.as_slice() {
            return Err(refused("GROUPING SETS"));
        }
        let exprs = aggregate.group_expr.iter().chain(&aggregate.aggr_expr).cloned().collect();
        let (part, local) = self.local(part, exprs, domain)?;
        let mut groups = all_called(local, aggregate.schema.columns());
        let calls = groups.split_off(aggregate.group_expr.len());
        let defaults = match groups.is_empty() {
            true => Some(defaults(aggregate)?),
            false => None,
        };
        groups.extend(part.key_columns());
        let plan = LogicalPlan::Aggregate(Aggregate::try_new(part.plan.into(), groups, calls)?);
        Ok(Part { plan, keys: part.keys, order: Vec::new(), defaults })
    }

    fn push_window(&self, window: &Window, domain: &Domain<'_>) -> Result<Part> {
        let part = self.completed(self.push(&window.input, domain)?, domain)?;
        let (part, local) = self.local(part, window.window_expr.clone(), domain)?;
        let keys = part.key_columns();
        let columns = window.schema.columns();
        let mut exprs = Vec::with_capacity(local.len());
        for (expr, column) in local.into_iter().zip(&columns[columns.len() - window.window_expr.len()..]) {
            let partitioned = expr.transform(|inner| match inner {
                Expr::WindowFunction(mut call) => {
                    call.params.partition_by.extend(keys.iter().cloned());
                    Ok(Transformed::yes(Expr::WindowFunction(call)))
                }
                other => Ok(Transformed::no(other)),
            })?;
            exprs.push(called(partitioned.data, column));
        }
        let plan = LogicalPlan::Window(Window::try_new(exprs, part.plan.into())?);
        Ok(Part { plan, keys: part.keys, order: Vec::new(), defaults: None })
    }

    fn push_sort(&self, sort: &Sort, domain: &Domain<'_>) -> Result<Part> {
        let part = self.push(&sort.input, domain)?;
        if part.defaults.is_some() {
            // One row has no order.
            return Ok(part);
        }
        let (part, local) = self.local(part, sort.expr.iter().map(|key| key.expr.clone()).collect(), domain)?;
        let names: Vec<Column> = local.iter().map(|_| self.fresh("sort")).collect();
        let plan = extend(part.plan, local.into_iter().zip(&names).map(|(expr, name)| named(expr, name)))?;
        let order = sort.expr.iter().zip(names).map(|(key, name)| key.with_expr(Expr::Column(name))).collect();
        let part = Part { plan, keys: part.keys, order, defaults: None };
        match sort.fetch {
            Some(fetch) => self.limited(part, None, Some(lit(fetch as i64))),
            None => Ok(part),
        }
    }

    fn push_limit(&self, limit: &Limit, domain: &Domain<'_>) -> Result<Part> {
        let part = self.push(&limit.input, domain)?;
        if part.defaults.is_some() && keeps_one(limit) {
            return Ok(part);
        }
        let part = self.completed(part, domain)?;
        let count = |expr: &Option<Box<Expr>>| expr.as_deref().cloned();
        self.limited(part, count(&limit.skip), count(&limit.fetch))
    }

    /// The rows number `skip + 1` to `skip + fetch` for each value of the keys.
    fn limited(&self, part: Part, skip: Option<Expr>, fetch: Option<Expr>) -> Result<Part> {
        let number = self.fresh("number");
        let call = named(row_number(part.key_columns(), part.order.clone()), &number);
        let plan = LogicalPlanBuilder::from(part.plan.clone()).window([call])?.build()?;
        let number = datafusion::prelude::cast(Expr::Column(number), arrow::datatypes::DataType::Int64);
        let mut conditions = Vec::new();
        let mut counted = number.clone();
        if let Some(skip) = skip {
            conditions.push(number.clone().gt(skip.clone()));
            counted = binary(number, Operator::Minus, skip);
        }
        if let Some(fetch) = fetch {
            conditions.push(counted.lt_eq(fetch));
        }
        let columns = part.plan.schema().columns();
        Ok(Part { plan: select(filtered(plan, conditions)?, columns)?, ..part })
    }
}

fn binary(left: Expr, op: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr { left: Box::new(left), op, right: Box::new(right) })
}

fn refused(what: &str) -> Error {
    Error::unsupported(format!("{what} in a subquery that refers to its outer query"))
}

/// `row_number() OVER (PARTITION BY ... ORDER BY ...)`.
pub(in crate::planner) fn row_number(partition_by: Vec<Expr>, order_by: Vec<SortExpr>) -> Expr {
    numbering(row_number_udwf(), partition_by, order_by)
}

/// A window function that numbers rows.
pub(in crate::planner) fn numbering(
    function: Arc<WindowUDF>,
    partition_by: Vec<Expr>,
    order_by: Vec<SortExpr>,
) -> Expr {
    let window_frame = WindowFrame::new((!order_by.is_empty()).then_some(false));
    Expr::WindowFunction(Box::new(WindowFunction {
        fun: WindowFunctionDefinition::WindowUDF(function),
        params: WindowFunctionParams {
            args: Vec::new(),
            partition_by,
            order_by,
            window_frame,
            filter: None,
            null_treatment: None,
            distinct: false,
        },
    }))
}

/// What an aggregate without groups gives over no rows.
fn defaults(aggregate: &Aggregate) -> Result<Vec<(Column, Expr)>> {
    let columns = aggregate.schema.columns();
    let mut defaults = Vec::with_capacity(columns.len());
    for (expr, column) in aggregate.aggr_expr.iter().zip(columns) {
        let field = expr.to_field(aggregate.input.schema())?.1;
        let mut inner = expr;
        while let Expr::Alias(alias) = inner {
            inner = &alias.expr;
        }
        let Expr::AggregateFunction(call) = inner else {
            return Err(Error::internal("an aggregate that is no call"));
        };
        let value = call.func.default_value(field.data_type())?;
        defaults.push((column, literal(value, &PgType::of(&field))));
    }
    Ok(defaults)
}

/// A select item over an aggregate's defaults.
fn defaulted(expr: &Expr, defaults: &[(Column, Expr)]) -> Result<Expr> {
    let replaced = bare(expr.clone()).transform(|inner| match &inner {
        Expr::Column(column) => match defaults.iter().find(|(known, _)| known == column) {
            Some((_, default)) => Ok(Transformed::yes(default.clone())),
            None => Ok(Transformed::no(inner)),
        },
        _ => Ok(Transformed::no(inner)),
    })?;
    Ok(replaced.data)
}
