//! `WITHIN GROUP (ORDER BY ...)`: which aggregate a call means, and what it may stand beside.
//!
//! What computes it is `functions::ordered_set`.

use datafusion::logical_expr::{Expr, SortExpr};
use datafusion::sql::sqlparser::ast::{self, DuplicateTreatment, FunctionArguments};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result, SqlState};

use super::binder::{Binder, Env};
use super::expr::Cast;
use super::functions::ordered_set::{Kind, OrderedSet};
use super::functions::{self, aggregates};
use super::query::sort;
use super::typed::{Category, Typed, category, implicit};

/// An ordered-set aggregate that is written without WITHIN GROUP, if these arguments would do for it.
pub(super) fn without_within_group(name: &str, args: usize) -> Option<Error> {
    let needed = match Kind::named(name)? {
        Kind::Continuous | Kind::Discrete => 2,
        Kind::Mode => 1,
        _ => 0,
    };
    let fits = if needed > 0 { args == needed } else { args > 0 };
    let message = format!("WITHIN GROUP is required for ordered-set aggregate {name}");
    fits.then(|| Error::new(SqlState::WrongObjectType, message))
}

impl Binder<'_> {
    /// A call with WITHIN GROUP.
    pub(super) fn within_group(&self, env: &Env<'_>, name: &str, function: &ast::Function) -> Result<Typed> {
        let FunctionArguments::List(list) = &function.args else {
            return Err(Error::unsupported(format!("{name} without parentheses")));
        };
        if list.duplicate_treatment == Some(DuplicateTreatment::Distinct) {
            return Err(Error::new(SqlState::SyntaxError, "cannot use DISTINCT with WITHIN GROUP"));
        }
        if !list.clauses.is_empty() {
            return Err(Error::new(SqlState::SyntaxError, "cannot use multiple ORDER BY clauses with WITHIN GROUP"));
        }
        let inner = self.within_aggregate(env);
        let direct = self.arguments(&inner, name, list)?;
        let items = &function.within_group;
        let sorted = items.iter().map(|item| self.expr(&inner, &item.expr)).collect::<Result<Vec<_>>>()?;
        let Some(kind) = Kind::named(name) else { return Err(not_ordered_set(name, direct, sorted)) };
        if function.over.is_some() {
            let message = format!("OVER is not supported for ordered-set aggregate {name}");
            return Err(Error::new(SqlState::FeatureNotSupported, message));
        }
        let (call, ty) = match kind.is_hypothetical() {
            true => self.hypothetical(name, kind, direct, sorted, items)?,
            false => self.ordered_set(name, kind, direct, sorted, items)?,
        };
        let Expr::AggregateFunction(mut call) = call else {
            return Err(Error::internal("an aggregate that is no call"));
        };
        call.params.filter = self.aggregate_filter(&inner, function)?;
        self.in_its_query(env, Expr::AggregateFunction(call), &ty)
    }

    /// percentile_cont, percentile_disc and mode.
    fn ordered_set(
        &self,
        name: &str,
        kind: Kind,
        mut direct: Vec<Typed>,
        mut sorted: Vec<Typed>,
        items: &[ast::OrderByExpr],
    ) -> Result<(Expr, PgType)> {
        let wanted = if kind == Kind::Mode { 0 } else { 1 };
        let (fraction, value) = match (direct.len() == wanted && sorted.len() == 1, sorted.pop()) {
            (true, Some(value)) => (direct.pop(), value),
            (_, last) => {
                return Err(functions::no_function(name, &[direct, sorted, last.into_iter().collect()].concat()));
            }
        };
        let given: Vec<Typed> = fraction.iter().chain([&value]).cloned().collect();
        let ty = match (kind, &value.ty) {
            (Kind::Continuous, Some(PgType::Interval)) => PgType::Interval,
            (Kind::Continuous, ty) if ty.as_ref().is_none_or(|ty| implicit(ty, &PgType::Float8)) => PgType::Float8,
            (Kind::Continuous, _) => return Err(functions::no_function(name, &given)),
            (_, ty) => ty.as_ref().unwrap_or(&PgType::Text).base(),
        };
        let value = self.coerce(value, &ty, Cast::Explicit)?;
        let mut result = ty.clone();
        let mut args = vec![value.expr.clone()];
        let order = sort(value.expr, &ty, &items[0].options)?;
        if order.expr != args[0] {
            args.push(order.expr.clone());
        }
        if let Some(fraction) = &fraction {
            let each = self.fraction(name, fraction, &given)?;
            if each.ty.as_ref().is_some_and(|ty| ty.element().is_some()) {
                if ty.element().is_some() {
                    let message = format!("could not find array type for data type {}", ty.name());
                    return Err(Error::new(SqlState::UndefinedObject, message));
                }
                result = ty.array();
            }
            args.push(each.expr);
        }
        let call = OrderedSet::call(name, kind, (ty, result.clone()), &[order], args, wanted);
        Ok((Expr::AggregateFunction(call), result))
    }

    /// A fraction, or an array of fractions.
    fn fraction(&self, name: &str, fraction: &Typed, given: &[Typed]) -> Result<Typed> {
        let several = PgType::Array(&PgType::Float8);
        let target = match (&fraction.ty, given.last().and_then(|value| value.ty.as_ref())) {
            // An open literal is of the type of what stands beside it.
            (None, Some(beside)) if category(beside) == Category::Number => PgType::Float8,
            (None, _) => return Err(functions::ambiguous(name, given)),
            (Some(ty), _) if implicit(ty, &PgType::Float8) => PgType::Float8,
            (Some(ty), _) if implicit(ty, &several) => several,
            _ => return Err(functions::no_function(name, given)),
        };
        self.coerce(fraction.clone(), &target, Cast::Explicit)
    }

    /// rank, dense_rank, percent_rank and cume_dist of a row that is not there.
    fn hypothetical(
        &self,
        name: &str,
        kind: Kind,
        direct: Vec<Typed>,
        sorted: Vec<Typed>,
        items: &[ast::OrderByExpr],
    ) -> Result<(Expr, PgType)> {
        if direct.len() != sorted.len() {
            let hint = format!(
                "To use the hypothetical-set aggregate {name}, the number of hypothetical direct arguments (here {}) \
                 must match the number of ordering columns (here {}).",
                direct.len(),
                sorted.len()
            );
            return Err(functions::no_function(name, &[direct, sorted].concat()).hint(hint));
        }
        let (mut keys, mut own): (Vec<SortExpr>, Vec<Expr>) = (Vec::new(), Vec::new());
        for ((direct, sorted), item) in direct.into_iter().zip(sorted).zip(items) {
            let (both, ty) = self.unify(vec![sorted, direct], "WITHIN GROUP")?;
            for (place, value) in both.into_iter().enumerate() {
                let key = sort(self.coerce(value, &ty, Cast::Implicit)?.expr, &ty, &item.options)?;
                if place == 0 { keys.push(key) } else { own.push(key.expr) }
            }
        }
        let count = own.len();
        let args = keys.iter().map(|key| key.expr.clone()).chain(own).collect();
        let ty = if matches!(kind, Kind::Rank | Kind::DenseRank) { PgType::Int8 } else { PgType::Float8 };
        let call = OrderedSet::call(name, kind, (ty.clone(), ty.clone()), &keys, args, count);
        Ok((Expr::AggregateFunction(call), ty))
    }
}

/// WITHIN GROUP behind another function.
fn not_ordered_set(name: &str, direct: Vec<Typed>, sorted: Vec<Typed>) -> Error {
    let args = [direct, sorted].concat();
    let message = if aggregates::is_aggregate(name) {
        if let Err(error) = aggregates::resolve(name, &args) {
            return error;
        }
        format!("{name} is not an ordered-set aggregate, so it cannot have WITHIN GROUP")
    } else {
        if let Err(error) = functions::resolve(name, &args) {
            return error;
        }
        format!("WITHIN GROUP specified, but {name} is not an aggregate function")
    };
    Error::new(SqlState::WrongObjectType, message)
}
