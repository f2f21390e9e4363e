//! `ARRAY(SELECT ...)`: the rows of a query as an array, in the query's order.
//!
//! It is a scalar subquery whose value is an array_agg. The order is that of ORDER BY at the query's
//! top, and there as in FROM what VALUES and set-returning functions give one behind the other.

use datafusion::common::Column;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{
    Aggregate, Case, Expr, Filter, Limit, LogicalPlan, LogicalPlanBuilder, Projection, Sort, SortExpr, SubqueryAlias,
};
use datafusion::prelude::lit;
use datafusion::sql::sqlparser::ast;
use thalweg_dataflow::types::{PgType, array};
use thalweg_dataflow::{Error, Result, SqlState};

use super::binder::{Binder, Env};
use super::expand::Expand;
use super::expr::Cast;
use super::functions::sets::SetCall;
use super::functions::{self, aggregates};
use super::subquery::wrap;
use super::typed::{Typed, literal, metadata};

/// A plan and what orders its rows, over its columns.
type Ordered = (LogicalPlan, Vec<SortExpr>);

impl Binder<'_> {
    /// `ARRAY(query)`.
    pub(super) fn array_of_query(&self, env: &Env<'_>, query: &ast::Query) -> Result<Typed> {
        let bound = self.settled_query(self.subquery(env, query)?)?;
        let [column] = bound.columns.as_slice() else {
            return Err(Error::new(SqlState::SyntaxError, "subquery must return only one column"));
        };
        let value = Typed { expr: Expr::Column(column.column.clone()), ty: column.ty.clone(), at: None };
        let aggregate = aggregates::resolve("array_agg", std::slice::from_ref(&value))?;
        let element = aggregate.args.first().cloned().unwrap_or(PgType::Text);
        let value = self.coerce(value, &element, Cast::Explicit)?.expr;
        let (plan, order) = self.in_order(bound.plan)?;
        let call = AggregateFunction::new_udf(aggregate.function, vec![value], false, None, order, None);
        let (ty, name) = (aggregate.result, self.unique("array"));
        let call = Expr::AggregateFunction(call).alias(&name);
        let plan = LogicalPlan::Aggregate(Aggregate::try_new(plan.into(), Vec::new(), vec![call])?);
        let found = Expr::Column(Column::new_unqualified(name));
        let empty = datafusion::common::ScalarValue::Binary(Some(array::of_items([])));
        let value = Expr::Case(Case {
            expr: None,
            when_then_expr: vec![(Box::new(found.clone().is_not_null()), Box::new(found))],
            else_expr: Some(Box::new(literal(empty, &ty))),
        });
        let value = value.alias_with_metadata(self.unique("array"), Some(metadata(&ty)));
        let plan = LogicalPlanBuilder::from(plan).project([value])?.build()?;
        Ok(Typed::new(functions::nullable(Expr::ScalarSubquery(wrap(plan)), &ty), ty))
    }

    /// The same rows, with the columns that tell their order.
    fn in_order(&self, plan: LogicalPlan) -> Result<Ordered> {
        self.nested(|| match plan {
            LogicalPlan::Sort(sort) => {
                let (input, below) = self.in_order((*sort.input).clone())?;
                let order = sort.expr.iter().cloned().chain(below).collect();
                Ok((LogicalPlan::Sort(Sort { input: input.into(), ..sort }), order))
            }
            LogicalPlan::Limit(limit) => {
                let (input, order) = self.in_order((*limit.input).clone())?;
                Ok((LogicalPlan::Limit(Limit { input: input.into(), ..limit }), order))
            }
            LogicalPlan::Filter(filter) => {
                let (input, order) = self.in_order((*filter.input).clone())?;
                Ok((LogicalPlan::Filter(Filter::try_new(filter.predicate, input.into())?), order))
            }
            LogicalPlan::Projection(projection) => {
                let (input, order) = self.in_order((*projection.input).clone())?;
                self.with_order(input, projection.expr, order)
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let (input, order) = self.in_order((*alias.input).clone())?;
                let all = alias.input.schema().columns().into_iter().map(Expr::Column).collect();
                let (input, mut order) = self.with_order(input, all, order)?;
                for by in &mut order {
                    if let Expr::Column(column) = &mut by.expr {
                        column.relation = Some(alias.alias.clone());
                    }
                }
                Ok((LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(input.into(), alias.alias)?), order))
            }
            LogicalPlan::Values(values) => {
                let numbered = values.values.into_iter().enumerate().map(|(place, mut row)| {
                    row.push(lit(place as i64));
                    row
                });
                let plan = LogicalPlanBuilder::values(numbered.collect())?.build()?;
                let order = plan.schema().columns().into_iter().next_back().map(ascending).into_iter().collect();
                Ok((plan, order))
            }
            other => match Expand::of(&other) {
                Some(expand) => self.numbered_set(expand),
                None => Ok((other, Vec::new())),
            },
        })
    }

    /// A projection that has the order's columns too.
    fn with_order(&self, input: LogicalPlan, mut exprs: Vec<Expr>, order: Vec<SortExpr>) -> Result<Ordered> {
        let mut kept = Vec::with_capacity(order.len());
        for by in order {
            let name = self.unique("order");
            exprs.push(by.expr.clone().alias(&name));
            kept.push(by.with_expr(Expr::Column(Column::new_unqualified(name))));
        }
        Ok((LogicalPlan::Projection(Projection::try_new(exprs, input.into())?), kept))
    }

    /// A set whose rows have numbers.
    fn numbered_set(&self, expand: &Expand) -> Result<Ordered> {
        let (input, mut order) = self.in_order(expand.input.clone())?;
        let call = SetCall { function: expand.function.clone(), arguments: expand.arguments.clone() };
        let number = Column::new_unqualified(self.unique("order"));
        let columns = expand.columns.iter().cloned().chain([number.clone()]).collect();
        order.push(ascending(number));
        Ok((Expand::plan(input, SetCall::together(vec![call], true), columns)?, order))
    }
}

fn ascending(column: Column) -> SortExpr {
    SortExpr::new(Expr::Column(column), true, false)
}
