//! The set-returning functions: which there are, what a call means, how several go together.
//!
//! In an expression a call stands as a function that is never evaluated, like `grouping(...)`;
//! [`set_calls`] finds it and the binder puts a column of an `Expand` in its place.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, UInt32Array, new_empty_array};
use arrow::compute::{concat, take};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, ScalarUDF};
use thalweg_dataflow::plan::{ByText, Expanded, SetFunction, Text};
use thalweg_dataflow::types::{PgType, Zone};
use thalweg_dataflow::{Error, Result};

use super::elements::{Elements, Gives};
use super::json::path::{PathRows, QUERY};
use super::json::rows::Rows;
use super::regexp::Matches;
use super::series::{self, Series};
use super::slices::SLICE_ROWS;
use super::udf::{Kernel, PgFunction};
use super::{choose, no_function};
use crate::planner::typed::{Category, Typed, category, implicit};

/// Whether a function gives a set of rows.
pub(crate) fn is_set_returning(name: &str) -> bool {
    name == QUERY
        || Rows::named(name).is_some()
        || matches!(
            name,
            "generate_series"
                | "unnest"
                | "generate_subscripts"
                | "_pg_expandarray"
                | SUBSCRIPTS_FROM_ZERO
                | "regexp_matches"
        )
        || array_behind(name).is_some()
}

/// The function that gives as an array what this one gives as rows.
pub(crate) fn array_behind(name: &str) -> Option<&'static str> {
    Some(match name {
        "regexp_split_to_table" => "regexp_split_to_array",
        "string_to_table" => "string_to_array",
        _ => return None,
    })
}

/// generate_subscripts of a vector.
pub(crate) const SUBSCRIPTS_FROM_ZERO: &str = "generate_subscripts from 0";

/// The overload of a set-returning function that a call means: its arguments' types and its own.
pub(crate) fn resolve(name: &str, args: &[Typed]) -> Result<(Vec<PgType>, PgType)> {
    let array = args.first().and_then(|arg| arg.ty.clone()).filter(|ty| ty.element().is_some());
    if name == QUERY {
        let params = [PgType::Jsonb, PgType::Text, PgType::Jsonb, PgType::Bool];
        let fits = |(arg, param): (&Typed, &PgType)| arg.ty.as_ref().is_none_or(|ty| implicit(ty, param));
        if !(2..=4).contains(&args.len()) || !args.iter().zip(&params).all(fits) {
            return Err(no_function(name, args));
        }
        return Ok((params[..args.len()].to_vec(), PgType::Jsonb));
    }
    if let Some(rows) = Rows::named(name) {
        return match args {
            [document] if document.ty.as_ref().is_none_or(|ty| *ty == rows.argument()) => {
                Ok((vec![rows.argument()], rows.value()))
            }
            _ => Err(no_function(name, args)),
        };
    }
    match (name, args.len(), array) {
        ("unnest", 1, Some(array)) => {
            let element = array.element().cloned().unwrap_or(PgType::Text);
            return Ok((vec![array], element));
        }
        ("_pg_expandarray", 1, Some(array)) => return Ok((vec![array], PgType::Array(&PgType::Int4))),
        ("_pg_expandarray", ..) => return Err(no_function(name, args)),
        ("generate_subscripts" | SUBSCRIPTS_FROM_ZERO, 2, Some(array)) => {
            return Ok((vec![array, PgType::Int4], PgType::Int4));
        }
        ("generate_subscripts" | SUBSCRIPTS_FROM_ZERO, 3, Some(array)) => {
            return Ok((vec![array, PgType::Int4, PgType::Bool], PgType::Int4));
        }
        ("unnest", 1, None) if args[0].ty.is_none() => {
            return Err(super::ambiguous(name, args));
        }
        ("regexp_matches", 2 | 3, _) => {
            let text = |arg: &Typed| arg.ty.as_ref().is_none_or(|ty| category(ty) == Category::Text);
            if !args.iter().all(text) {
                return Err(no_function(name, args));
            }
            return Ok((vec![PgType::Text; args.len()], PgType::Array(&PgType::Text)));
        }
        ("unnest" | "generate_subscripts" | "regexp_matches", ..) => return Err(no_function(name, args)),
        _ => {}
    }
    let types: Vec<Option<&PgType>> = args.iter().map(|arg| arg.ty.as_ref()).collect();
    let fitting = series::OVERLOADS.iter().filter(|overload| overload.len() == args.len());
    let chosen = choose(fitting.map(|overload| (*overload, *overload)).collect(), &types)
        .map_err(|several| if several { super::ambiguous(name, args) } else { no_function(name, args) })?;
    Ok((chosen.to_vec(), chosen[0].clone()))
}

/// What a function calls its columns, if that is not its name.
pub(crate) fn column_names(name: &str) -> &'static [&'static str] {
    Rows::named(name).map_or(&[], Rows::column_names)
}

/// A call as an expression; never evaluated.
pub(crate) fn call(name: &str, types: Vec<PgType>, result: PgType, zone: &str, args: Vec<Expr>) -> Result<Typed> {
    let kernel: Kernel = |_| Err(Error::internal("a set that is evaluated"));
    let function = PgFunction::new(name, types, result.clone(), Zone::parse(zone)?, kernel);
    let expr = Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::new_from_impl(function)), args));
    Ok(Typed::new(expr, result))
}

/// A call, taken apart.
pub(crate) struct SetCall {
    /// The function.
    pub(crate) function: ByText<dyn SetFunction>,
    /// Its arguments.
    pub(crate) arguments: Vec<Expr>,
}

impl SetCall {
    /// The call that an expression is, if it is one.
    pub(crate) fn of(expr: &Expr) -> Option<SetCall> {
        let Expr::ScalarFunction(call) = expr else { return None };
        let function = call.func.inner().downcast_ref::<PgFunction>()?;
        if !is_set_returning(&function.name) {
            return None;
        }
        let element = function.args.first().and_then(PgType::element);
        if let Some(rows) = Rows::named(&function.name) {
            return Some(SetCall { function: ByText(Arc::new(rows)), arguments: call.args.clone() });
        }
        if function.name == QUERY {
            return Some(SetCall { function: ByText(Arc::new(PathRows)), arguments: call.args.clone() });
        }
        let function: Arc<dyn SetFunction> = match (function.name.as_str(), element) {
            ("unnest", Some(element)) => Arc::new(Elements { element, gives: Gives::Values }),
            ("regexp_matches", _) => Arc::new(Matches),
            ("_pg_expandarray", Some(element)) => Arc::new(Elements { element, gives: Gives::Pairs }),
            (SUBSCRIPTS_FROM_ZERO, Some(element)) => Arc::new(Elements { element, gives: Gives::Places(0) }),
            (_, Some(element)) => Arc::new(Elements { element, gives: Gives::Places(1) }),
            _ => Arc::new(Series { ty: function.result.clone(), zone: function.zone.clone() }),
        };
        Some(SetCall { function: ByText(function), arguments: call.args.clone() })
    }

    /// Several calls row by row side by side, the shorter ones filled up with nulls; `numbered`: the
    /// number of each row, from 1, behind them.
    pub(crate) fn together(calls: Vec<SetCall>, numbered: bool) -> SetCall {
        match <[SetCall; 1]>::try_from(calls) {
            Ok([only]) if !numbered => only,
            Ok([only]) => SetCall::zip(vec![only], numbered),
            Err(calls) => SetCall::zip(calls, numbered),
        }
    }

    fn zip(calls: Vec<SetCall>, numbered: bool) -> SetCall {
        let parts = calls.iter().map(|call| (call.function.0.clone(), call.arguments.len())).collect();
        let arguments = calls.into_iter().flat_map(|call| call.arguments).collect();
        SetCall { function: ByText(Arc::new(Zip { parts, numbered })), arguments }
    }
}

/// The calls in expressions whose arguments hold none, each once.
pub(crate) fn set_calls<'e>(exprs: impl Iterator<Item = &'e Expr>) -> Result<Vec<Expr>> {
    let mut calls: Vec<Expr> = Vec::new();
    for expr in exprs {
        expr.apply(|inner| {
            if let Expr::ScalarFunction(call) = inner
                && SetCall::of(inner).is_some()
            {
                let mut nested = false;
                for argument in &call.args {
                    nested |= holds_set(argument)?;
                }
                if !nested && !calls.contains(inner) {
                    calls.push(inner.clone());
                }
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    Ok(calls)
}

/// Whether an expression holds a call of a set-returning function.
pub(crate) fn holds_set(expr: &Expr) -> datafusion::error::Result<bool> {
    expr.exists(|inner| Ok(SetCall::of(inner).is_some()))
}

/// Functions side by side. A row's sets are made whole before they are put together.
#[derive(Debug)]
struct Zip {
    /// Each function with the number of its arguments.
    parts: Vec<(Arc<dyn SetFunction>, usize)>,
    numbered: bool,
}

impl Text for Zip {
    fn text(&self) -> String {
        let parts: Vec<String> = self.parts.iter().map(|(part, args)| format!("{} /{args}", part.text())).collect();
        format!("({}){}", parts.join(", "), if self.numbered { " with ordinality" } else { "" })
    }
}

impl SetFunction for Zip {
    fn columns(&self) -> Vec<PgType> {
        let own = self.parts.iter().flat_map(|(part, _)| part.columns());
        own.chain(self.numbered.then_some(PgType::Int8)).collect()
    }

    fn expand(&self, arguments: RecordBatch) -> Box<dyn Iterator<Item = Result<Expanded>> + Send> {
        let (parts, numbered, types) = (self.parts.clone(), self.numbered, self.columns());
        let rows = 0..arguments.num_rows();
        Box::new(rows.flat_map(move |row| match side_by_side(&parts, numbered, &types, &arguments, row) {
            Ok(slices) => slices.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        }))
    }
}

/// The rows of one row's sets.
fn side_by_side(
    parts: &[(Arc<dyn SetFunction>, usize)],
    numbered: bool,
    types: &[PgType],
    arguments: &RecordBatch,
    row: usize,
) -> Result<Vec<Expanded>> {
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(types.len());
    let mut first = 0;
    for (part, count) in parts {
        let own = arguments.project(&(first..first + count).collect::<Vec<_>>())?.slice(row, 1);
        first += count;
        let slices = part.expand(own).collect::<Result<Vec<_>>>()?;
        for (place, ty) in part.columns().iter().enumerate() {
            let pieces: Vec<&dyn Array> = slices.iter().map(|slice| slice.columns[place].as_ref()).collect();
            columns.push(if pieces.is_empty() { new_empty_array(&ty.arrow()) } else { concat(&pieces)? });
        }
    }
    let longest = columns.iter().map(|column| column.len()).max().unwrap_or(0);
    let mut slices = Vec::with_capacity(longest / SLICE_ROWS + 1);
    for from in (0..longest).step_by(SLICE_ROWS) {
        let until = longest.min(from + SLICE_ROWS);
        let mut own = Vec::with_capacity(types.len());
        for column in &columns {
            let places = (from..until).map(|place| (place < column.len()).then_some(place as u32));
            own.push(take(column, &places.collect::<UInt32Array>(), None)?);
        }
        if numbered {
            own.push(Arc::new(Int64Array::from_iter_values((from as i64 + 1)..=until as i64)));
        }
        slices.push(Expanded { origins: UInt32Array::from(vec![row as u32; until - from]), columns: own });
    }
    Ok(slices)
}
