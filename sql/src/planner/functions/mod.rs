//! The scalar functions: which there are, which overload a call means, and how they are evaluated.
//!
//! Each table of overloads stands beside its kernels (`math`, `text`, `time`); choosing among them
//! follows PostgreSQL: exact types first, then implicit casts, preferred types, and text for open
//! literals. Also the helpers that the binder composes: casts, sort keys, constants.

pub(crate) mod aggregates;
pub(crate) mod approximate;
mod arithmetic;
mod array_agg;
pub(crate) mod array_part;
pub(crate) mod array_shape;
pub(crate) mod arrays;
mod bytes;
mod distinct_items;
mod elements;
mod encodings;
pub(crate) mod extreme_key;
mod format;
mod formatting;
pub(crate) mod frame;
pub(crate) mod framed;
mod hashes;
pub(crate) mod identifiers;
mod integers;
mod interval_sums;
pub(crate) mod joined_by;
pub(crate) mod json;
mod math;
pub(crate) mod ordered_set;
pub(crate) mod random;
pub(crate) mod regexp;
mod series;
pub(crate) mod sets;
pub(crate) mod sizes;
pub(crate) mod sleep;
mod slices;
mod spans;
mod spread;
pub(crate) mod stable;
mod string_agg;
mod sums;
mod text;
mod time;
mod times_of_day;
mod trigonometry;
pub(crate) mod udf;
mod unicode;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, StringArray};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarUDF};
use thalweg_dataflow::types::numeric::canonical_bytes;
use thalweg_dataflow::types::{Numeric, PgType, TextStyle, Zone, json as document, parse_text, record};
use thalweg_dataflow::{Error, Result, SqlState};

pub(crate) use arithmetic::{arithmetic, arithmetic_types, extreme, key, primitive};
pub(crate) use text::strings;
use udf::{Input, Kernel, PgFunction};

use super::call::type_names;
use super::typed::{Category, Typed, category, implicit, literal, same_base};
use crate::parser::elsewhere;

/// One overload of a function.
pub(crate) struct Definition {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its argument types.
    pub(crate) args: &'static [PgType],
    /// Whether the last argument may be repeated, any number of times, in any type.
    pub(crate) variadic: bool,
    /// The type of its result.
    pub(crate) result: PgType,
    /// What computes it.
    pub(crate) kernel: Kernel,
}

/// The overload that a call means, its argument types spelled out.
pub(crate) struct Overload {
    pub(crate) name: &'static str,
    pub(crate) args: Vec<PgType>,
    pub(crate) result: PgType,
    pub(crate) kernel: Kernel,
}

/// All overloads.
const ALL: &[&[Definition]] = &[
    math::FUNCTIONS,
    trigonometry::FUNCTIONS,
    integers::FUNCTIONS,
    integers::VARIADIC,
    text::FUNCTIONS,
    bytes::FUNCTIONS,
    encodings::FUNCTIONS,
    hashes::FUNCTIONS,
    unicode::FUNCTIONS,
    regexp::FUNCTIONS,
    identifiers::FUNCTIONS,
    format::FUNCTIONS,
    time::FUNCTIONS,
    spans::FUNCTIONS,
    formatting::FUNCTIONS,
    arithmetic::FUNCTIONS,
    json::FUNCTIONS,
    json::VARIADIC,
];

/// The overload for these arguments. Errors 42883 if there is none, 42725 if several fit.
pub(crate) fn resolve(name: &str, args: &[Typed]) -> Result<Overload> {
    let named: Vec<&'static Definition> =
        ALL.iter().copied().flatten().filter(|definition| definition.name == name).collect();
    if let Some(definition) = named.iter().find(|definition| definition.variadic && args.len() >= definition.args.len())
    {
        let mut types = definition.args.to_vec();
        types.extend(args[types.len()..].iter().map(|arg| arg.ty.clone().unwrap_or(PgType::Text)));
        return Ok(Overload {
            name: definition.name,
            args: types,
            result: definition.result.clone(),
            kernel: definition.kernel,
        });
    }
    let types: Vec<Option<&PgType>> = args.iter().map(|arg| arg.ty.as_ref()).collect();
    let candidates: Vec<(&'static Definition, &[PgType])> = named
        .into_iter()
        .filter(|definition| definition.args.len() == args.len() && !definition.variadic)
        .map(|definition| (definition, definition.args))
        .collect();
    let chosen = choose(candidates, &types)
        .map_err(|several| if several { ambiguous(name, args) } else { no_function(name, args) })?;
    Ok(Overload { name: chosen.name, args: chosen.args.to_vec(), result: chosen.result.clone(), kernel: chosen.kernel })
}

/// PostgreSQL's choice among overloads; the error tells whether several fit.
pub(crate) fn choose<D: Copy>(candidates: Vec<(D, &[PgType])>, types: &[Option<&PgType>]) -> Result<D, bool> {
    let fits = |params: &[PgType]| params.iter().zip(types).all(|(param, ty)| ty.is_none_or(|ty| implicit(ty, param)));
    let mut left: Vec<(D, &[PgType])> = candidates.into_iter().filter(|(_, params)| fits(params)).collect();
    let score = |params: &[PgType], good: &dyn Fn(&PgType, &PgType) -> bool| {
        params.iter().zip(types).filter(|(param, ty)| ty.is_some_and(|ty| good(param, ty))).count()
    };
    let exact = |param: &PgType, ty: &PgType| {
        same_base(param, ty) || (*param == PgType::Text && matches!(ty, PgType::Varchar(_)))
    };
    keep_best(&mut left, |params| score(params, &exact));
    keep_best(&mut left, |params| {
        score(params, &|param, ty| exact(param, ty) || (param.is_preferred() && category(param) == category(ty)))
    });
    if left.len() > 1 {
        // Open literals: text if any candidate takes text there, else the preferred type.
        for (place, _) in types.iter().enumerate().filter(|(_, ty)| ty.is_none()) {
            if left.iter().any(|(_, params)| category(&params[place]) == Category::Text) {
                left.retain(|(_, params)| category(&params[place]) == Category::Text);
            }
            if left.iter().any(|(_, params)| params[place].is_preferred()) {
                left.retain(|(_, params)| params[place].is_preferred());
            }
        }
    }
    match left.as_slice() {
        [] => Err(false),
        [(only, _)] => Ok(*only),
        _ => Err(true),
    }
}

fn keep_best<D>(left: &mut Vec<(D, &[PgType])>, score: impl Fn(&[PgType]) -> usize) {
    let best = left.iter().map(|(_, params)| score(params)).max().unwrap_or(0);
    left.retain(|(_, params)| score(params) == best);
}

/// The error for a function that nobody knows.
pub(crate) fn no_function(name: &str, args: &[Typed]) -> Error {
    Error::new(SqlState::UndefinedFunction, format!("function {name}({}) does not exist", type_names(args))).hint(
        elsewhere::function(name).unwrap_or(
            "No function matches the given name and argument types. You might need to add explicit type casts.",
        ),
    )
}

pub(crate) fn ambiguous(name: &str, args: &[Typed]) -> Error {
    Error::new(SqlState::AmbiguousFunction, format!("function {name}({}) is not unique", type_names(args)))
        .hint("Could not choose a best candidate function. You might need to add explicit type casts.")
}

/// A resolved call.
pub(crate) fn call(overload: Overload, args: Vec<Expr>, zone: &str) -> Result<Typed> {
    let result = overload.result.clone();
    let function = PgFunction::new(overload.name, overload.args, overload.result, Zone::parse(zone)?, overload.kernel);
    Ok(Typed::new(evaluated(function, args), result))
}

/// The call of a function, already computed if its arguments are constants. An error is left to
/// run time: the row that has it may never be reached.
pub(crate) fn evaluated(function: PgFunction, args: Vec<Expr>) -> Expr {
    let constants: Option<Vec<ColumnarValue>> = args
        .iter()
        .map(|arg| match arg {
            Expr::Literal(value, _) => Some(ColumnarValue::Scalar(value.clone())),
            _ => None,
        })
        .collect();
    if let Some(constants) = constants
        && let Ok(ColumnarValue::Scalar(value)) = function.run(&constants, 1)
    {
        return literal(value, &function.result);
    }
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::new_from_impl(function)), args))
}

/// `expr` cast from one type to another.
pub(crate) fn cast(expr: Expr, from: &PgType, to: &PgType, zone: &str) -> Result<Expr> {
    fn kernel(input: &Input<'_>) -> Result<ArrayRef> {
        let style = TextStyle { zone: input.zone.clone(), extra_float_digits: 1 };
        thalweg_dataflow::types::cast(&input.array(0)?, &input.types[0], input.result, &style)
    }
    let function = PgFunction::new("cast", vec![from.clone()], to.clone(), Zone::parse(zone)?, kernel);
    Ok(evaluated(function, vec![expr]))
}

/// `expr` as it is stored into a column of another type: text that is too long is an error.
pub(crate) fn assign(expr: Expr, from: &PgType, to: &PgType, zone: &str) -> Result<Expr> {
    fn kernel(input: &Input<'_>) -> Result<ArrayRef> {
        let style = TextStyle { zone: input.zone.clone(), extra_float_digits: 1 };
        thalweg_dataflow::types::assign(&input.array(0)?, &input.types[0], input.result, &style)
    }
    let function = PgFunction::new("assign", vec![from.clone()], to.clone(), Zone::parse(zone)?, kernel);
    Ok(evaluated(function, vec![expr]))
}

/// Whether a literal in quotes may stand for a moment that the clock decides.
pub(crate) fn names_a_moment(text: &str) -> bool {
    matches!(text.trim().to_ascii_lowercase().as_str(), "now" | "today" | "tomorrow" | "yesterday")
}

/// What a literal in quotes means in a type.
pub(crate) fn read_literal(ty: &PgType, text: &str, zone: &str, now: i64, view: bool) -> Result<ScalarValue> {
    let zone = Zone::parse(zone)?;
    let clocked = match ty {
        PgType::Timestamptz | PgType::Timestamp | PgType::Date => names_a_moment(text),
        PgType::Time(_) => text.trim().eq_ignore_ascii_case("now"),
        _ => false,
    };
    if clocked {
        let word = text.trim().to_ascii_lowercase();
        if view {
            return Err(Error::unsupported(format!("'{word}' in a materialized view"))
                .hint("Its value would change without any input changing."));
        }
        return time::special(&word, ty, &zone, now);
    }
    parse_text(ty, text, &zone)
}

/// A numeric constant.
pub(crate) fn numeric_constant(value: &Numeric) -> ScalarValue {
    let mut bytes = Vec::new();
    value.encode(&mut bytes);
    ScalarValue::Binary(Some(bytes))
}

/// The number that a constant is, if it is an exact one.
pub(crate) fn constant_as_numeric(value: &ScalarValue, ty: Option<&PgType>) -> Option<Numeric> {
    match (value, ty) {
        (ScalarValue::Int16(Some(value)), _) => Some(Numeric::from(i64::from(*value))),
        (ScalarValue::Int32(Some(value)), _) => Some(Numeric::from(i64::from(*value))),
        (ScalarValue::Int64(Some(value)), _) => Some(Numeric::from(*value)),
        (ScalarValue::Binary(Some(bytes)), Some(PgType::Numeric(None))) => {
            Numeric::decode(bytes).ok().filter(Numeric::is_finite)
        }
        (ScalarValue::Utf8(Some(text)), None) => Numeric::parse(text).ok().filter(Numeric::is_finite),
        _ => None,
    }
}

/// `count(*)`.
pub(crate) fn count_star() -> Expr {
    let count = datafusion::functions_aggregate::count::count_udaf();
    Expr::AggregateFunction(datafusion::logical_expr::expr::AggregateFunction::new_udf(
        count,
        vec![datafusion::prelude::lit(1_i64)],
        false,
        None,
        Vec::new(),
        None,
    ))
}

/// `(a, b, ...)` before IN; never evaluated.
pub(crate) fn row(items: Vec<Expr>) -> Expr {
    let kernel: Kernel = |_| Err(Error::internal("a row that is evaluated"));
    let function = PgFunction::new(super::unnest::ROW, Vec::new(), PgType::Bool, Zone::default(), kernel);
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::new_from_impl(function)), items))
}

/// `grouping(...)`, as long as the grouping is not known; never evaluated.
pub(crate) fn grouping(args: Vec<Expr>) -> Expr {
    let kernel: Kernel = |_| Err(Error::internal("grouping() that is evaluated"));
    let function = PgFunction::new("grouping", Vec::new(), PgType::Int4, Zone::default(), kernel);
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::new_from_impl(function)), args))
}

/// The calls of `grouping(...)` in expressions, each once.
pub(crate) fn grouping_calls(exprs: &[&Expr]) -> Result<Vec<Expr>> {
    let mut calls = Vec::new();
    for expr in exprs {
        expr.apply(|inner| {
            if let Expr::ScalarFunction(call) = inner
                && call.func.name() == "grouping"
                && !calls.contains(inner)
            {
                calls.push(inner.clone());
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    Ok(calls)
}

/// The same value, which may be null whatever DataFusion makes of its expression: a scalar subquery
/// without a row is null, also if its column cannot be.
pub(crate) fn nullable(expr: Expr, ty: &PgType) -> Expr {
    let kernel: Kernel = |input| input.array(0);
    evaluated(PgFunction::new("nullable", vec![ty.clone()], ty.clone(), Zone::default(), kernel), vec![expr])
}

/// The value with the same bytes for equal values, still of its type: what is grouped by.
pub(crate) fn canonical(expr: Expr, ty: &PgType) -> Result<Expr> {
    fn numerics(input: &Input<'_>) -> Result<ArrayRef> {
        Ok(Arc::new(canonical_numerics(&input.array(0)?)))
    }
    match ty {
        PgType::Numeric(None) => Ok(evaluated(
            PgFunction::new("canonical", vec![ty.base()], ty.base(), Zone::default(), numerics),
            vec![expr],
        )),
        PgType::Float4 | PgType::Float8 => key(expr, ty),
        PgType::Interval => Ok(evaluated(
            PgFunction::new("canonical", vec![ty.base()], ty.base(), Zone::default(), time::canonical_intervals),
            vec![expr],
        )),
        PgType::Json | PgType::Array(PgType::Json) => {
            let message = format!("could not identify an equality operator for type {}", ty.name());
            Err(Error::new(SqlState::UndefinedFunction, message))
        }
        // With a length, equal ones are filled up alike.
        PgType::Bpchar(None) | PgType::Jsonb => {
            let function = PgFunction::new("canonical", vec![ty.clone()], ty.clone(), Zone::default(), canonical_texts);
            Ok(evaluated(function, vec![expr]))
        }
        PgType::Record => {
            let function = PgFunction::new("canonical", vec![ty.clone()], ty.clone(), Zone::default(), canonical_rows);
            Ok(evaluated(function, vec![expr]))
        }
        PgType::Array(element) if thalweg_dataflow::types::array::has_forms(element) => {
            let function =
                PgFunction::new("canonical", vec![ty.clone()], ty.clone(), Zone::default(), arrays::CANONICAL);
            Ok(evaluated(function, vec![expr]))
        }
        _ => Ok(expr),
    }
}

/// bpchar without spaces at the end, jsonb without zeros behind numbers.
fn canonical_texts(input: &Input<'_>) -> Result<ArrayRef> {
    let texts = input.array(0)?;
    let texts = texts.as_string::<i32>().iter();
    Ok(match input.result {
        PgType::Jsonb => Arc::new(texts.map(|text| text.map(document::canonical)).collect::<StringArray>()),
        _ => Arc::new(texts.map(|text| text.map(|text| text.trim_end_matches(' '))).collect::<StringArray>()),
    })
}

/// Rows whose fields are canonical, without the fields' names.
fn canonical_rows(input: &Input<'_>) -> Result<ArrayRef> {
    let rows = input.array(0)?;
    Ok(Arc::new(rows.as_binary::<i32>().iter().map(|row| row.map(record::canonical)).collect::<BinaryArray>()))
}

/// Encoded numerics without their display scales.
pub(crate) fn canonical_numerics(array: &ArrayRef) -> BinaryArray {
    let Some(array) = array.as_any().downcast_ref::<BinaryArray>() else {
        return BinaryArray::new_null(array.len());
    };
    let mut builder = BinaryBuilder::with_capacity(array.len(), array.values().len());
    for value in array {
        match value {
            Some(bytes) => builder.append_value(canonical_bytes(bytes)),
            None => builder.append_null(),
        }
    }
    builder.finish()
}
