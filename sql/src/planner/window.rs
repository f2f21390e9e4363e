//! Window functions: the window they go over, and its frame.
//!
//! A frame by RANGE counts in values of the one ORDER BY column: its offset is of that column's type, or
//! an interval beside times. Offsets are the same for all rows: constants, parameters, subqueries.

use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::{Exists, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{Expr, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition};
use datafusion::sql::sqlparser::ast::{self, DuplicateTreatment};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result, SqlState};

use super::binder::{Binder, Env, at, fold};
use super::call::needs_key;
use super::expr::Cast;
use super::functions::frame::{self, Exclusion};
use super::functions::{self, aggregates, extreme_key, joined_by};
use super::own_frame::Frame;
use super::typed::{Typed, base_name, implicit};
use crate::parser::exclude;

impl Binder<'_> {
    /// A call with OVER.
    pub(super) fn window_call(
        &self,
        env: &Env<'_>,
        name: &str,
        function: &ast::Function,
        list: &ast::FunctionArgumentList,
    ) -> Result<Typed> {
        if let Some(clause) = env.no_windows {
            return Err(misplaced(clause));
        }
        refuse_clauses(function, list, aggregates::is_aggregate(name))?;
        let inner = Env { no_windows: Some("window function calls"), ..env.clone() };
        if functions::approximate::is_approximate(name) {
            return Err(Error::unsupported(format!("{name} as a window function")));
        }
        let (spec, exclusion) = window_spec(env, function.over.as_ref())?;
        let (mut collected, mut parted) = (None, false);
        let (fun, args, ty, cast_to) = if aggregates::is_aggregate(name) {
            let args = self.aggregate_arguments(&inner, name, list, false)?;
            let (name, args, document) = self.collecting(name, args, false)?;
            collected = document;
            let (func, mut args, ty) = self.aggregate_function(name, args, false)?;
            parted = joined_by::is_needed(name, &args);
            if needs_key(name, &ty) {
                args = args.into_iter().map(|arg| extreme_key::key(arg, &ty)).collect();
            } else if parted {
                args = joined_by::packed(args);
            }
            (WindowFunctionDefinition::AggregateUDF(func), args, ty, None)
        } else {
            let args = self.arguments(&inner, name, list)?;
            let window = aggregates::window_function(name, &args)?;
            let mut exprs = Vec::with_capacity(args.len());
            for (arg, ty) in args.into_iter().zip(&window.args) {
                exprs.push(self.coerce(arg, ty, Cast::Implicit)?.expr);
            }
            let cast_to = window.cast.then(|| window.result.clone());
            (WindowFunctionDefinition::WindowUDF(window.function), exprs, window.result, cast_to)
        };
        let filter = match &function.filter {
            Some(filter) => Some(Box::new(self.condition(&inner, filter, "FILTER")?)),
            None => None,
        };
        let within = Env { no_windows: Some("window definitions"), ..env.clone() };
        let partition_by = spec
            .partition_by
            .iter()
            .map(|item| {
                let value = self.settled(self.expr(&within, item)?)?;
                functions::canonical(value.expr, value.ty.as_ref().unwrap_or(&PgType::Text))
            })
            .collect::<Result<_>>()?;
        let order_by = self.sorts(&within, &spec.order_by)?;
        let (window_frame, bounds) = self.frame(&inner, &spec)?;
        let params = WindowFunctionParams {
            args,
            partition_by,
            order_by,
            window_frame,
            filter,
            null_treatment: None,
            distinct: false,
        };
        let carried = if needs_key(name, &ty) { extreme_key::carried(&ty) } else { ty.clone() };
        let frame = Frame { spec: &spec, exclusion, bounds };
        let call = self.framed(&inner, frame, WindowFunction { fun, params }, &carried)?;
        let expr = Expr::WindowFunction(Box::new(call));
        let value = match cast_to {
            Some(result) => Typed::new(datafusion::prelude::cast(expr, result.arrow()), ty),
            None if needs_key(name, &ty) => Typed::new(extreme_key::value(expr, &ty), ty),
            None if parted => Typed::new(joined_by::unpacked(expr), ty),
            None => Typed::new(expr, ty),
        };
        self.document(name, collected, value)
    }

    /// The frame of a window, and its bounds that are computed.
    fn frame(&self, env: &Env<'_>, spec: &ast::WindowSpec) -> Result<(WindowFrame, [Option<Expr>; 2])> {
        let ordered = !spec.order_by.is_empty();
        let mut computed = [None, None];
        let Some(frame) = &spec.window_frame else {
            return Ok((WindowFrame::new(ordered.then_some(false)), computed));
        };
        check_bounds(frame, ordered)?;
        let (units, clause) = match frame.units {
            ast::WindowFrameUnits::Rows => (WindowFrameUnits::Rows, "window ROWS"),
            ast::WindowFrameUnits::Range => (WindowFrameUnits::Range, "window RANGE"),
            ast::WindowFrameUnits::Groups => (WindowFrameUnits::Groups, "window GROUPS"),
        };
        let env = Env { no_aggregates: Some(clause), no_windows: Some("window definitions"), ..env.clone() };
        let mut offset = |expr: &Option<Box<ast::Expr>>, place: usize| -> Result<ScalarValue> {
            let Some(expr) = expr else { return Ok(ScalarValue::UInt64(None)) };
            let distance = match units {
                WindowFrameUnits::Range => self.distance(&env, expr, &spec.order_by)?,
                _ => self.number_of_rows(&env, expr, &clause["window ".len()..])?,
            };
            match distance {
                Expr::Literal(value, _) => frame::offset(units, value, place),
                other => {
                    computed[place] = Some(other);
                    // It stands for one that is known when rows are there.
                    Ok(ScalarValue::UInt64(Some(0)))
                }
            }
        };
        let mut bound = |bound: &ast::WindowFrameBound, place: usize| -> Result<WindowFrameBound> {
            Ok(match bound {
                ast::WindowFrameBound::CurrentRow => WindowFrameBound::CurrentRow,
                ast::WindowFrameBound::Preceding(rows) => WindowFrameBound::Preceding(offset(rows, place)?),
                ast::WindowFrameBound::Following(rows) => WindowFrameBound::Following(offset(rows, place)?),
            })
        };
        let start = bound(&frame.start_bound, 0)?;
        let end = match &frame.end_bound {
            Some(end) => bound(end, 1)?,
            None => WindowFrameBound::CurrentRow,
        };
        Ok((WindowFrame::new_bounds(units, start, end), computed))
    }

    /// A bound's distance, which is the same for all rows.
    fn bound(&self, env: &Env<'_>, expr: &ast::Expr, units: &str) -> Result<Typed> {
        let value = self.expr(env, expr)?;
        let mut varies = value.expr.any_column_refs();
        value.expr.apply(|inner| {
            if let Expr::ScalarSubquery(query) | Expr::Exists(Exists { subquery: query, .. }) = inner {
                varies |= query.outer_ref_columns.iter().any(|outer| match outer {
                    Expr::OuterReferenceColumn(_, column) => env.scope.reads(column),
                    _ => false,
                });
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        if varies {
            let message = format!("argument of {units} must not contain variables");
            return Err(at(Error::new(SqlState::InvalidColumnReference, message), value.at));
        }
        Ok(value)
    }

    /// How many rows or groups a bound is away.
    fn number_of_rows(&self, env: &Env<'_>, expr: &ast::Expr, units: &str) -> Result<Expr> {
        let count = self.bound(env, expr, units)?;
        Ok(self.coerce(count, &PgType::Int8, Cast::Explicit)?.expr)
    }

    /// How far a bound of RANGE is away, in values of the ORDER BY column.
    fn distance(&self, env: &Env<'_>, expr: &ast::Expr, order: &[ast::OrderByExpr]) -> Result<Expr> {
        let [item] = order else {
            let message = "RANGE with offset PRECEDING/FOLLOWING requires exactly one ORDER BY column";
            return Err(Error::new(SqlState::WindowingError, message));
        };
        let ordered = self.settled(self.expr(env, &item.expr)?)?.ty.unwrap_or(PgType::Text);
        let offset = match expr {
            // The parser takes every literal in quotes there for an interval.
            ast::Expr::Interval(ast::Interval { value, leading_field: None, .. }) => self.expr(env, value)?,
            other => self.bound(env, other, "RANGE")?,
        };
        let refused = |message: String| {
            Error::new(SqlState::FeatureNotSupported, format!("RANGE with offset PRECEDING/FOLLOWING is {message}"))
        };
        let unit = match &ordered {
            PgType::Date | PgType::Timestamp | PgType::Timestamptz | PgType::Time(_) => PgType::Interval,
            PgType::Int2 | PgType::Int4 | PgType::Int8 | PgType::Float4 | PgType::Float8 => ordered.clone(),
            // Distances may have more digits than the column.
            PgType::Numeric(_) => PgType::Numeric(None),
            other => return Err(refused(format!("not supported for column type {}", base_name(other)))),
        };
        // An integer beside any number, a number with a point beside those that have one.
        let fits = offset.ty.as_ref().is_none_or(|ty| {
            implicit(ty, &unit) || matches!((ty, &unit), (PgType::Int4 | PgType::Int8, PgType::Int2 | PgType::Int4))
        });
        if !fits {
            let message =
                format!("not supported for column type {} and offset type {}", base_name(&ordered), offset.type_name());
            return Err(refused(message).hint("Cast the offset value to an appropriate type."));
        }
        Ok(self.coerce(offset, &unit, Cast::Explicit)?.expr)
    }
}

/// The error for a window function where `clause` does not take one.
fn misplaced(clause: &str) -> Error {
    match clause {
        "window function calls" => Error::new(SqlState::WindowingError, "window function calls cannot be nested"),
        "aggregate function calls" => {
            Error::new(SqlState::GroupingError, "aggregate function calls cannot contain window function calls")
        }
        _ => Error::new(SqlState::WindowingError, format!("window functions are not allowed in {clause}")),
    }
}

/// What a call with OVER does not take.
fn refuse_clauses(function: &ast::Function, list: &ast::FunctionArgumentList, aggregate: bool) -> Result<()> {
    let distinct = list.duplicate_treatment == Some(DuplicateTreatment::Distinct);
    let given = [
        (distinct, "DISTINCT is not implemented for window functions"),
        (!list.clauses.is_empty(), "aggregate ORDER BY is not implemented for window functions"),
        (function.filter.is_some() && !aggregate, "FILTER is not implemented for non-aggregate window functions"),
    ];
    match given.iter().find(|(given, _)| *given) {
        Some((_, message)) => Err(Error::new(SqlState::FeatureNotSupported, *message)),
        None => Ok(()),
    }
}

/// Refuses frames that cannot be.
fn check_bounds(frame: &ast::WindowFrame, ordered: bool) -> Result<()> {
    use ast::WindowFrameBound::{CurrentRow, Following, Preceding};
    let message = match (&frame.start_bound, &frame.end_bound) {
        (Following(None), _) => "frame start cannot be UNBOUNDED FOLLOWING",
        (_, Some(Preceding(None))) => "frame end cannot be UNBOUNDED PRECEDING",
        (CurrentRow, Some(Preceding(_))) => "frame starting from current row cannot have preceding rows",
        (Following(_), Some(Preceding(_) | CurrentRow)) => {
            "frame starting from following row cannot have preceding rows"
        }
        (Following(_), None) => "frame starting from following row cannot end with current row",
        _ if frame.units == ast::WindowFrameUnits::Groups && !ordered => "GROUPS mode requires an ORDER BY clause",
        _ => return Ok(()),
    };
    Err(Error::new(SqlState::WindowingError, message))
}

/// The window that a call goes over, and what its frames leave out.
fn window_spec(env: &Env<'_>, over: Option<&ast::WindowType>) -> Result<(ast::WindowSpec, Exclusion)> {
    match over {
        Some(ast::WindowType::WindowSpec(spec)) => resolved(env, spec, env.windows.len()),
        Some(ast::WindowType::NamedWindow(name)) => named(env, &fold(name), env.windows.len()),
        None => Err(Error::internal("a window function without window")),
    }
}

/// The window of this name among the first so many of the WINDOW clause.
fn named(env: &Env<'_>, name: &str, among: usize) -> Result<(ast::WindowSpec, Exclusion)> {
    let known = env.windows[..among].iter().enumerate().find_map(|(place, definition)| match definition {
        ast::NamedWindowDefinition(known, ast::NamedWindowExpr::WindowSpec(spec)) if fold(known) == name => {
            Some((place, spec))
        }
        _ => None,
    });
    let unknown = || Error::new(SqlState::UndefinedObject, format!("window \"{name}\" does not exist"));
    let (place, spec) = known.ok_or_else(unknown)?;
    resolved(env, spec, place)
}

/// A window with what it has of the one that it builds on.
fn resolved(env: &Env<'_>, spec: &ast::WindowSpec, among: usize) -> Result<(ast::WindowSpec, Exclusion)> {
    let Some(written) = &spec.window_name else { return Ok((spec.clone(), Exclusion::Nothing)) };
    let written = fold(written);
    let (excluded, base) = exclude::unmark(&written);
    let exclusion = match excluded {
        Some("current row") => Exclusion::CurrentRow,
        Some("group") => Exclusion::Group,
        Some("ties") => Exclusion::Ties,
        _ => Exclusion::Nothing,
    };
    let own = ast::WindowSpec { window_name: None, ..spec.clone() };
    match base {
        None => Ok((own, exclusion)),
        Some(base) => Ok((built(&own, named(env, base, among)?.0, base)?, exclusion)),
    }
}

/// A window that builds on a named one: its own order and frame over the other's partitions.
fn built(spec: &ast::WindowSpec, base: ast::WindowSpec, name: &str) -> Result<ast::WindowSpec> {
    let refused = |what: String| Err(Error::new(SqlState::WindowingError, what));
    if !spec.partition_by.is_empty() {
        return refused(format!("cannot override PARTITION BY clause of window \"{name}\""));
    }
    if !spec.order_by.is_empty() && !base.order_by.is_empty() {
        return refused(format!("cannot override ORDER BY clause of window \"{name}\""));
    }
    if base.window_frame.is_some() {
        return refused(format!("cannot copy window \"{name}\" because it has a frame clause"));
    }
    let order_by = if spec.order_by.is_empty() { base.order_by } else { spec.order_by.clone() };
    let window_frame = spec.window_frame.clone();
    Ok(ast::WindowSpec { window_name: None, partition_by: base.partition_by, order_by, window_frame })
}
