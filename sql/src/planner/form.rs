//! Which of the forms of equal values is shown: 1.0 or 1.00, 30 days or 1 mon, spaces at the end of a bpchar.
//!
//! Groups, DISTINCT and set operations compare canonical forms, and show the greatest of the forms
//! that their rows have. PostgreSQL shows the one it met first, which depends on its plan; the
//! greatest depends on the rows alone, so that a view shows what a query does. A recursive UNION shows
//! the greatest of the first iteration that makes the row. The two zeros of
//! floats are not told apart: groups show 0.

use datafusion::common::Column;
use datafusion::functions_aggregate as df;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, SortExpr};
use thalweg_dataflow::types::{PgType, Zone};
use thalweg_dataflow::{Error, Result};

use super::binder::{Binder, Env};
use super::expr::Cast;
use super::functions::udf::{Kernel, PgFunction};
use super::functions::{self, aggregates, extreme_key};
use super::recursive_query::Same;
use super::typed::{Typed, metadata};
use super::unnest::aggregate_call;

/// Whether equal values of a type may print differently.
pub(super) fn has_forms(ty: &PgType) -> bool {
    match ty {
        PgType::Numeric(None) | PgType::Interval | PgType::Record | PgType::Bpchar(None) | PgType::Jsonb => true,
        PgType::Array(element) => has_forms(element),
        _ => false,
    }
}

/// Whether equal values of a type may differ in their bytes, or are none.
fn needs_key(ty: &PgType) -> bool {
    has_forms(ty) || matches!(ty, PgType::Float4 | PgType::Float8 | PgType::Json | PgType::Array(PgType::Json))
}

/// The aggregate of the greatest form, which [`greatest`] reads.
pub(super) fn greatest_call(expr: Expr, ty: &PgType) -> Expr {
    aggregate_call(df::min_max::max_udaf(), extreme_key::key(expr, ty))
}

/// The form, from the column of its aggregate.
pub(super) fn greatest(column: Column, ty: &PgType) -> Expr {
    extreme_key::value(Expr::Column(column), ty)
}

/// Greater forms first.
pub(super) fn greatest_first(expr: Expr, ty: &PgType) -> SortExpr {
    SortExpr::new(extreme_key::key(expr, ty), false, false)
}

/// The types of the columns that [`Binder::told_apart`] adds for columns of these types.
pub(super) fn telling(types: &[PgType]) -> Vec<PgType> {
    types.iter().filter(|ty| has_forms(ty)).flat_map(|ty| [ty.clone(), PgType::Bytea]).collect()
}

/// The bytes of keys.
const FORM: Kernel = |input| Ok(arrow::compute::cast(&input.array(0)?, &PgType::Bytea.arrow())?);

/// Rows that are compared: a plan, what equal rows have in common, and what is shown of them.
pub(super) struct Compared {
    pub(super) plan: LogicalPlan,
    /// Canonical forms, one for each column.
    pub(super) keys: Vec<Column>,
    /// The columns as they are shown, under the names that they had.
    pub(super) shown: Vec<Expr>,
}

impl Binder<'_> {
    /// sum or avg of distinct numerics, with as many digits as the greatest forms have.
    pub(super) fn distinct_numbers(
        &self,
        env: &Env<'_>,
        average: bool,
        args: Vec<Typed>,
        filter: Option<Box<Expr>>,
    ) -> Result<Typed> {
        let ty = PgType::Numeric(None);
        let call = |name: &str, argument: Typed, distinct: bool| -> Result<Typed> {
            let args = vec![argument.expr.clone()];
            let overload = aggregates::resolve(name, &[argument])?;
            let call = AggregateFunction::new_udf(overload.function, args, distinct, filter.clone(), Vec::new(), None);
            self.in_its_query(env, Expr::AggregateFunction(call), &overload.result)
        };
        let [value] = <[Typed; 1]>::try_from(args).map_err(|_| Error::internal("sum or avg of several arguments"))?;
        let key = Typed::new(functions::canonical(value.expr.clone(), &ty)?, ty.clone());
        let scale = call("max", self.call_by_name("scale", vec![value])?, false)?;
        let sum = self.call_by_name("round", vec![call("sum", key.clone(), true)?, scale])?;
        if !average {
            return Ok(sum);
        }
        let count = self.coerce(call("count", key, true)?, &ty, Cast::Explicit)?;
        let quotient = functions::arithmetic("/", (sum.expr, &ty), (count.expr, &ty), &ty, &self.settings.zone)?;
        Ok(Typed::new(quotient, ty))
    }

    /// The distinct rows of a plan, under the names of its columns.
    pub(super) fn distinct_rows(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        if !columns_of(&plan).iter().any(|(_, ty)| needs_key(ty)) {
            return Ok(LogicalPlanBuilder::from(plan).distinct()?.build()?);
        }
        let distinct = self.distinct_groups(plan)?;
        Ok(LogicalPlanBuilder::from(distinct.plan).project(distinct.shown)?.build()?)
    }

    /// The distinct rows of a plan, with their keys.
    pub(super) fn distinct_groups(&self, plan: LogicalPlan) -> Result<Compared> {
        let columns = columns_of(&plan);
        let mut groups = Vec::with_capacity(columns.len());
        let mut calls = Vec::new();
        let mut keys = Vec::with_capacity(columns.len());
        let mut shown = Vec::with_capacity(columns.len());
        for (column, ty) in columns {
            let value = Expr::Column(column.clone());
            let key = self.unique(&column.name);
            let canonical = functions::canonical(value.clone(), &ty)?;
            groups.push(canonical.alias_with_metadata(&key, Some(metadata(&ty))));
            let key = Column::new_unqualified(key);
            let form = match has_forms(&ty) {
                true => {
                    let form = self.unique("form");
                    calls.push(greatest_call(value, &ty).alias(&form));
                    greatest(Column::new_unqualified(form), &ty)
                }
                false => Expr::Column(key.clone()),
            };
            shown.push(form.alias_with_metadata(&column.name, Some(metadata(&ty))));
            keys.push(key);
        }
        let plan = LogicalPlanBuilder::from(plan).aggregate(groups, calls)?.build()?;
        Ok(Compared { plan, keys, shown })
    }

    /// All rows of a term of a recursive UNION. Behind the columns whose equal values print
    /// differently stand, for each, what they have in common and its form.
    pub(super) fn told_apart(&self, plan: LogicalPlan, types: &[PgType]) -> Result<(LogicalPlan, Same)> {
        let mut exprs = Vec::with_capacity(types.len());
        let mut behind = Vec::new();
        let mut same = Same { keys: Vec::with_capacity(types.len()), forms: Vec::new() };
        for (place, ((column, _), ty)) in columns_of(&plan).into_iter().zip(types).enumerate() {
            let value = Expr::Column(column.clone());
            let canonical = functions::canonical(value.clone(), ty)?;
            let called = |expr: Expr, name: &str, ty: &PgType| expr.alias_with_metadata(name, Some(metadata(ty)));
            if !has_forms(ty) {
                same.keys.push(place);
                exprs.push(called(canonical, &column.name, ty));
                continue;
            }
            exprs.push(called(value.clone(), &column.name, ty));
            same.keys.push(types.len() + behind.len());
            behind.push(called(canonical, &self.unique("key"), ty));
            same.forms.push(types.len() + behind.len());
            let function =
                PgFunction::new("form", vec![extreme_key::carried(ty)], PgType::Bytea, Zone::default(), FORM);
            let form = functions::evaluated(function, vec![extreme_key::key(value, ty)]);
            behind.push(called(form, &self.unique("form"), &PgType::Bytea));
        }
        exprs.extend(behind);
        Ok((LogicalPlanBuilder::from(plan).project(exprs)?.build()?, same))
    }

    /// All rows of a plan, with their keys beside them.
    pub(super) fn keyed(&self, plan: LogicalPlan) -> Result<Compared> {
        let columns = columns_of(&plan);
        let mut exprs = Vec::with_capacity(columns.len());
        let mut keys = Vec::with_capacity(columns.len());
        let mut shown = Vec::with_capacity(columns.len());
        for (column, ty) in columns {
            let value = Expr::Column(column.clone());
            let key = self.unique(&column.name);
            let canonical = functions::canonical(value.clone(), &ty)?;
            exprs.push(canonical.alias_with_metadata(&key, Some(metadata(&ty))));
            let key = Column::new_unqualified(key);
            if has_forms(&ty) {
                exprs.push(value.clone());
                shown.push(value);
            } else {
                shown.push(Expr::Column(key.clone()).alias_with_metadata(&column.name, Some(metadata(&ty))));
            }
            keys.push(key);
        }
        let plan = LogicalPlanBuilder::from(plan).project(exprs)?.build()?;
        Ok(Compared { plan, keys, shown })
    }
}

fn columns_of(plan: &LogicalPlan) -> Vec<(Column, PgType)> {
    let fields = plan.schema().iter();
    fields.map(|(table, field)| (Column::new(table.cloned(), field.name()), PgType::of(field))).collect()
}
