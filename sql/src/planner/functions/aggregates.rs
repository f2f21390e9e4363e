//! The aggregate and window functions: overloads, result types, and what evaluates them in batch.
//!
//! count, min, max, bool_and and bool_or are DataFusion's, whose results are PostgreSQL's over the
//! types chosen here; sum and avg are our own exact ones (`sums`). The engine has its own of all.

use std::sync::Arc;

use datafusion::functions_aggregate as df;
use datafusion::functions_window as windows;
use datafusion::logical_expr::{AggregateUDF, Expr, WindowUDF};
use thalweg_dataflow::Result;
use thalweg_dataflow::plan::Function;
use thalweg_dataflow::types::PgType;

use super::super::typed::{Typed, implicit};
use super::approximate::{Approximate, is_approximate};
use super::array_agg::ArrayAgg;
use super::interval_sums::IntervalSum;
use super::spread::Spread;
use super::string_agg::StringAgg;
use super::sums::{ExactSum, Output};
use super::{ambiguous, choose, no_function};

/// An aggregate with its types settled.
pub(crate) struct Aggregate {
    /// What evaluates it in batch.
    pub(crate) function: Arc<AggregateUDF>,
    /// The types its arguments are cast to.
    pub(crate) args: Vec<PgType>,
    /// The type of its result.
    pub(crate) result: PgType,
}

/// A window function with its types settled.
pub(crate) struct Window {
    pub(crate) function: Arc<WindowUDF>,
    pub(crate) args: Vec<PgType>,
    pub(crate) result: PgType,
    /// Whether DataFusion's result has another layout.
    pub(crate) cast: bool,
}

/// The engine's function of this name.
pub(crate) fn engine_function(name: &str) -> Option<Function> {
    Some(match name {
        "count" => Function::Count,
        "sum" => Function::Sum,
        "avg" => Function::Avg,
        "min" => Function::Min,
        "max" => Function::Max,
        "bool_and" | "every" => Function::BoolAnd,
        "bool_or" => Function::BoolOr,
        _ => return None,
    })
}

/// Whether this is an aggregate function.
pub(crate) fn is_aggregate(name: &str) -> bool {
    engine_function(name).is_some()
        || is_approximate(name)
        || matches!(
            name,
            "string_agg"
                | "stddev"
                | "stddev_samp"
                | "stddev_pop"
                | "variance"
                | "var_samp"
                | "var_pop"
                | "corr"
                | "covar_pop"
                | "covar_samp"
                | "array_agg"
                | "json_agg"
                | "jsonb_agg"
                | "json_object_agg"
                | "jsonb_object_agg"
                | "bit_and"
                | "bit_or"
                | "bit_xor"
                | "regr_count"
                | "regr_slope"
                | "regr_intercept"
                | "regr_r2"
                | "regr_avgx"
                | "regr_avgy"
                | "regr_sxx"
                | "regr_syy"
                | "regr_sxy"
        )
}

/// Whether this is a function that needs OVER.
pub(crate) fn is_window_only(name: &str) -> bool {
    matches!(
        name,
        "row_number"
            | "rank"
            | "dense_rank"
            | "percent_rank"
            | "cume_dist"
            | "ntile"
            | "lag"
            | "lead"
            | "first_value"
            | "last_value"
            | "nth_value"
    )
}

/// Those that take any type, or a constant besides their argument.
fn of_any_type(name: &str, args: &[Typed]) -> Result<Option<Aggregate>> {
    use PgType::{Float8, Int8, Text};
    let aggregate = match (name, args) {
        ("count", []) => Aggregate { function: df::count::count_udaf(), args: Vec::new(), result: Int8 },
        ("count", [argument]) => {
            let input = argument.ty.clone().unwrap_or(Text);
            Aggregate { function: df::count::count_udaf(), args: vec![input], result: Int8 }
        }
        ("array_agg", [argument]) => {
            let element = argument.ty.as_ref().unwrap_or(&Text).base();
            let function = Arc::new(AggregateUDF::new_from_impl(ArrayAgg::new(element.clone())));
            Aggregate { function, result: element.array(), args: vec![element] }
        }
        ("approx_count_distinct", [argument]) => {
            let input = argument.ty.clone().unwrap_or(Text);
            let function = Arc::new(AggregateUDF::new_from_impl(Approximate::count_distinct(input.clone())));
            Aggregate { function, args: vec![input], result: Int8 }
        }
        ("approx_percentile", [value, fraction]) => {
            let fits = |argument: &Typed| argument.ty.as_ref().is_none_or(|ty| implicit(ty, &Float8));
            if !fits(value) || !fits(fraction) {
                return Err(no_function(name, args));
            }
            let function = Arc::new(AggregateUDF::new_from_impl(Approximate::percentile(fraction)?));
            Aggregate { function, args: vec![Float8], result: Float8 }
        }
        ("sum" | "avg", [argument]) if matches!(argument.ty, Some(PgType::Interval | PgType::Time(_))) => {
            let function = Arc::new(AggregateUDF::new_from_impl(IntervalSum::named(name)));
            Aggregate { function, args: vec![PgType::Interval], result: PgType::Interval }
        }
        ("regr_count", _) => {
            let types: Vec<Option<&PgType>> = args.iter().map(|arg| arg.ty.as_ref()).collect();
            let args = float_only(name, args, &types, 2)?;
            Aggregate { function: df::count::count_udaf(), args, result: Int8 }
        }
        _ if is_approximate(name) => return Err(no_function(name, args)),
        _ => return Ok(None),
    };
    Ok(Some(aggregate))
}

/// sum or avg of numbers of a type.
fn sum_or_mean(ty: &PgType, mean: bool) -> ExactSum {
    let output = match (ty, mean) {
        (PgType::Float4 | PgType::Float8, false) => Output::FloatSum(ty.clone()),
        (PgType::Float4 | PgType::Float8, true) => Output::FloatAverage,
        (PgType::Int2 | PgType::Int4, false) => Output::Bigint,
        (_, false) => Output::Numeric,
        (_, true) => Output::Average,
    };
    ExactSum::new(ty.clone(), output)
}

/// The aggregate that a call means. Errors 42883, 42725.
pub(crate) fn resolve(name: &str, args: &[Typed]) -> Result<Aggregate> {
    use PgType::{Bool, Float4, Float8, Int2, Int4, Int8, Text};
    let numeric = PgType::Numeric(None);
    // An open literal: there are sums of intervals too, and array_agg of arrays.
    if let ("sum" | "avg" | "array_agg", [Typed { ty: None, expr: Expr::Literal(..), .. }]) = (name, args) {
        return Err(ambiguous(name, args));
    }
    if let Some(aggregate) = of_any_type(name, args)? {
        return Ok(aggregate);
    }
    let types: Vec<Option<&PgType>> = args.iter().map(|arg| arg.ty.as_ref()).collect();
    let pick = |candidates: &[&[PgType]]| -> Result<Vec<PgType>> {
        let fitting = candidates
            .iter()
            .filter(|params| params.len() == args.len())
            .enumerate()
            .map(|(place, params)| (place, *params))
            .collect::<Vec<_>>();
        let all: Vec<&[PgType]> = fitting.iter().map(|(_, params)| *params).collect();
        match choose(fitting, &types) {
            Ok(place) => Ok(all[place].to_vec()),
            Err(_) => Err(no_function(name, args)),
        }
    };
    let engine = engine_function(name);
    let (params, function) = match name {
        "sum" | "avg" => {
            let mut params = pick(&[&[Int2], &[Int4], &[Int8], std::slice::from_ref(&numeric), &[Float4], &[Float8]])?;
            if let (PgType::Numeric(None), Some(Some(PgType::Numeric(Some(modifier))))) = (&params[0], types.first()) {
                // A fixed scale is summed as integers.
                params[0] = PgType::Numeric(Some(*modifier));
            }
            let function = sum_or_mean(&params[0], name == "avg");
            (params, Arc::new(AggregateUDF::new_from_impl(function)))
        }
        "min" | "max" => {
            let param = match types.as_slice() {
                [Some(PgType::Varchar(_)) | None] => Text,
                [Some(PgType::Bool | PgType::Bytea | PgType::Uuid | PgType::Json | PgType::Jsonb)] => {
                    return Err(no_function(name, args));
                }
                [Some(PgType::Numeric(modifier))] => PgType::Numeric(*modifier),
                [Some(PgType::Bpchar(_))] => PgType::Bpchar(None),
                [Some(ty)] => (*ty).clone(),
                _ => return Err(no_function(name, args)),
            };
            let function = if name == "min" { df::min_max::min_udaf() } else { df::min_max::max_udaf() };
            // The result's type is the argument's without modifier; the engine says the same.
            let result = Function::Min.result(Some(&param)).unwrap_or_else(|| param.base());
            let args = if let PgType::Numeric(_) = param { vec![PgType::Numeric(None)] } else { vec![param] };
            return Ok(Aggregate { function, args, result });
        }
        "bool_and" | "every" => (pick(&[&[Bool]])?, df::bool_and_or::bool_and_udaf()),
        "bool_or" => (pick(&[&[Bool]])?, df::bool_and_or::bool_or_udaf()),
        "string_agg" => (pick(&[&[Text, Text]])?, Arc::new(AggregateUDF::new_from_impl(StringAgg::new()))),
        "bit_and" | "bit_or" | "bit_xor" => {
            let params = pick(&[&[Int2], &[Int4], &[Int8]])?;
            return Ok(Aggregate { function: bitwise(name), result: params[0].clone(), args: params });
        }
        "stddev" | "stddev_samp" | "stddev_pop" | "variance" | "var_samp" | "var_pop" if is_exact(&types) => {
            let function = Arc::new(AggregateUDF::new_from_impl(Spread::named(name)));
            return Ok(Aggregate { function, args: vec![numeric.clone()], result: numeric });
        }
        other => match statistics(other) {
            Some((count, function)) => (float_only(name, args, &types, count)?, function),
            None => return Err(no_function(name, args)),
        },
    };
    let result = match engine {
        Some(function) => function.result(Some(&params[0])).ok_or_else(|| no_function(name, args))?,
        None if name == "string_agg" => Text,
        None => Float8,
    };
    Ok(Aggregate { function, args: params, result })
}

fn bitwise(name: &str) -> Arc<AggregateUDF> {
    match name {
        "bit_and" => df::bit_and_or_xor::bit_and_udaf(),
        "bit_or" => df::bit_and_or_xor::bit_or_udaf(),
        _ => df::bit_and_or_xor::bit_xor_udaf(),
    }
}

/// The aggregates over double precision, with the number of their arguments.
fn statistics(name: &str) -> Option<(usize, Arc<AggregateUDF>)> {
    Some(match name {
        "stddev" | "stddev_samp" => (1, df::stddev::stddev_udaf()),
        "stddev_pop" => (1, df::stddev::stddev_pop_udaf()),
        "variance" | "var_samp" => (1, df::variance::var_samp_udaf()),
        "var_pop" => (1, df::variance::var_pop_udaf()),
        "corr" => (2, df::correlation::corr_udaf()),
        "covar_pop" => (2, df::covariance::covar_pop_udaf()),
        "covar_samp" => (2, df::covariance::covar_samp_udaf()),
        "regr_slope" => (2, df::regr::regr_slope_udaf()),
        "regr_intercept" => (2, df::regr::regr_intercept_udaf()),
        "regr_r2" => (2, df::regr::regr_r2_udaf()),
        "regr_avgx" => (2, df::regr::regr_avgx_udaf()),
        "regr_avgy" => (2, df::regr::regr_avgy_udaf()),
        "regr_sxx" => (2, df::regr::regr_sxx_udaf()),
        "regr_syy" => (2, df::regr::regr_syy_udaf()),
        "regr_sxy" => (2, df::regr::regr_sxy_udaf()),
        _ => return None,
    })
}

/// Whether the one argument is an exact number.
fn is_exact(types: &[Option<&PgType>]) -> bool {
    matches!(types, [Some(PgType::Int2 | PgType::Int4 | PgType::Int8 | PgType::Numeric(_))])
}

/// These take so many values of double precision.
fn float_only(name: &str, args: &[Typed], types: &[Option<&PgType>], count: usize) -> Result<Vec<PgType>> {
    let number = |ty: &Option<&PgType>| ty.is_none_or(|ty| implicit(ty, &PgType::Float8));
    if types.len() != count || !types.iter().all(number) {
        return Err(no_function(name, args));
    }
    Ok(vec![PgType::Float8; count])
}

/// The window function that a call means. Errors 42883.
pub(crate) fn window_function(name: &str, args: &[Typed]) -> Result<Window> {
    use PgType::{Float8, Int4, Int8};
    let first = args.first().map(|arg| arg.ty.clone().unwrap_or(PgType::Text));
    let value = || first.clone().ok_or_else(|| no_function(name, args));
    let plain = |function, result, cast| Ok(Window { function, args: Vec::new(), result, cast });
    match (name, args.len()) {
        ("row_number", 0) => plain(windows::row_number::row_number_udwf(), Int8, true),
        ("rank", 0) => plain(windows::rank::rank_udwf(), Int8, true),
        ("dense_rank", 0) => plain(windows::rank::dense_rank_udwf(), Int8, true),
        ("percent_rank", 0) => plain(windows::rank::percent_rank_udwf(), Float8, false),
        ("cume_dist", 0) => plain(windows::cume_dist::cume_dist_udwf(), Float8, false),
        ("ntile", 1) => {
            Ok(Window { function: windows::ntile::ntile_udwf(), args: vec![Int8], result: Int4, cast: true })
        }
        ("lag" | "lead", 1..=3) => {
            let ty = value()?;
            let function = if name == "lag" { windows::lead_lag::lag_udwf() } else { windows::lead_lag::lead_udwf() };
            let params = [ty.clone(), Int8, ty.clone()][..args.len()].to_vec();
            Ok(Window { function, args: params, result: ty, cast: false })
        }
        ("first_value", 1) => Ok(Window {
            function: windows::nth_value::first_value_udwf(),
            args: vec![value()?],
            result: value()?,
            cast: false,
        }),
        ("last_value", 1) => Ok(Window {
            function: windows::nth_value::last_value_udwf(),
            args: vec![value()?],
            result: value()?,
            cast: false,
        }),
        ("nth_value", 2) => Ok(Window {
            function: windows::nth_value::nth_value_udwf(),
            args: vec![value()?, Int8],
            result: value()?,
            cast: false,
        }),
        _ => Err(no_function(name, args)),
    }
}
