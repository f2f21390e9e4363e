//! Set-returning functions in a plan: the node, and where calls may stand.
//!
//! In FROM a function is an item like a LATERAL subquery. In a select list its rows multiply the
//! select's own, after grouping and windows; several go side by side. `crate::batch::expand` runs
//! the node, `lower` makes the engine's `Expand` of it.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::common::{Column, DFSchema, DFSchemaRef};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, LogicalPlanBuilder, UserDefinedLogicalNodeCore};
use datafusion::sql::sqlparser::ast;
use thalweg_dataflow::plan::{ByText, SetFunction};
use thalweg_dataflow::{Error, Result, SqlState};

use super::binder::{Binder, BoundQuery, Env, OutputColumn, at};
use super::expr::Cast;
use super::functions::sets::{self, SetCall};
use super::select::replace;
use super::typed::Typed;

/// What PostgreSQL advises where a set-returning function may not stand.
const MOVE_IT: &str = "You might be able to move the set-returning function into a LATERAL FROM item.";

/// The rows of the input, each with the rows that a function makes of it.
#[derive(Debug, Clone)]
pub(crate) struct Expand {
    /// The input; its columns come first.
    pub(crate) input: LogicalPlan,
    /// The function.
    pub(crate) function: ByText<dyn SetFunction>,
    /// Its arguments, over the input.
    pub(crate) arguments: Vec<Expr>,
    /// Its columns.
    pub(crate) columns: Vec<Column>,
    schema: DFSchemaRef,
}

impl Expand {
    /// The node over an input.
    pub(crate) fn plan(input: LogicalPlan, call: SetCall, columns: Vec<Column>) -> DataFusionResult<LogicalPlan> {
        let node = Arc::new(Expand::new(input, call.function, call.arguments, columns)?);
        Ok(LogicalPlan::Extension(Extension { node }))
    }

    /// The same function over another input and other arguments.
    pub(crate) fn over(&self, input: LogicalPlan, arguments: Vec<Expr>) -> DataFusionResult<LogicalPlan> {
        Expand::plan(input, SetCall { function: self.function.clone(), arguments }, self.columns.clone())
    }

    fn new(
        input: LogicalPlan,
        function: ByText<dyn SetFunction>,
        arguments: Vec<Expr>,
        columns: Vec<Column>,
    ) -> DataFusionResult<Expand> {
        let mut fields: Vec<_> = input.schema().iter().map(|(table, field)| (table.cloned(), field.clone())).collect();
        for (column, ty) in columns.iter().zip(function.0.columns()) {
            fields.push((column.relation.clone(), Arc::new(ty.field(&column.name, true))));
        }
        let schema = Arc::new(DFSchema::new_with_metadata(fields, input.schema().metadata().clone())?);
        Ok(Expand { input, function, arguments, columns, schema })
    }

    /// The node that a plan is, if it is one.
    pub(crate) fn of(plan: &LogicalPlan) -> Option<&Expand> {
        match plan {
            LogicalPlan::Extension(Extension { node }) => node.as_any().downcast_ref::<Expand>(),
            _ => None,
        }
    }

    fn parts(&self) -> (&LogicalPlan, &[Expr], &[Column]) {
        (&self.input, &self.arguments, &self.columns)
    }
}

impl PartialEq for Expand {
    fn eq(&self, other: &Expand) -> bool {
        self.function == other.function && self.parts() == other.parts()
    }
}

impl Eq for Expand {}

impl PartialOrd for Expand {
    fn partial_cmp(&self, other: &Expand) -> Option<Ordering> {
        (self.function.0.text(), self.parts()).partial_cmp(&(other.function.0.text(), other.parts()))
    }
}

impl Hash for Expand {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.function, self.parts()).hash(state);
    }
}

impl UserDefinedLogicalNodeCore for Expand {
    fn name(&self) -> &str {
        "Expand"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.arguments.clone()
    }

    /// What names only columns of the input comes before the function.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        self.columns.iter().map(|column| column.name.clone()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arguments: Vec<String> = self.arguments.iter().map(|argument| argument.to_string()).collect();
        write!(f, "Expand: {}({})", self.function.0.text(), arguments.join(", "))
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> DataFusionResult<Expand> {
        let input = inputs.pop().ok_or_else(|| DataFusionError::Internal("an expansion of nothing".into()))?;
        Expand::new(input, self.function.clone(), exprs, self.columns.clone())
    }
}

/// An argument, as the parser has it.
pub(super) enum Argument<'a> {
    Written(&'a ast::FunctionArg),
    Plain(&'a ast::Expr),
}

/// A function in FROM, as it is written.
pub(super) struct TableFunction<'a> {
    pub(super) name: String,
    pub(super) args: Vec<Argument<'a>>,
    pub(super) ordinality: bool,
}

impl Binder<'_> {
    /// A call of a set-returning function in an expression.
    pub(super) fn set_call(&self, env: &Env<'_>, name: &str, args: Vec<Typed>) -> Result<Typed> {
        if let Some(clause) = env.no_windows {
            let refused = |message: String| Error::new(SqlState::FeatureNotSupported, message);
            match clause {
                "GROUP BY" | "window definitions" => {}
                "aggregate function calls" | "window function calls" => {
                    let message = format!("{clause} cannot contain set-returning function calls");
                    return Err(refused(message).hint(MOVE_IT));
                }
                "functions in FROM" => {
                    return Err(refused("set-returning functions must appear at top level of FROM".into()));
                }
                _ => return Err(refused(format!("set-returning functions are not allowed in {clause}"))),
            }
        }
        if sets::column_names(name).len() > 1 {
            return Err(Error::unsupported(format!("the rows of {name} as values"))
                .hint("Use it in FROM, where it has columns."));
        }
        self.set_function(name, args)
    }

    fn set_function(&self, name: &str, args: Vec<Typed>) -> Result<Typed> {
        if let Some(array) = sets::array_behind(name) {
            let array = self.call_by_name(array, args.clone()).map_err(|error| match error.state() {
                SqlState::UndefinedFunction => super::functions::no_function(name, &args),
                _ => error,
            })?;
            return self.set_function("unnest", vec![array]);
        }
        let mut vector = false;
        let mut own = Vec::with_capacity(args.len());
        for arg in args {
            let (arg, is_vector) = self.vector(arg)?;
            vector |= is_vector;
            own.push(arg);
        }
        let args = own;
        let name = if vector && name == "generate_subscripts" { sets::SUBSCRIPTS_FROM_ZERO } else { name };
        let (types, result) = sets::resolve(name, &args)?;
        let mut exprs = Vec::with_capacity(args.len());
        for (arg, ty) in args.into_iter().zip(&types) {
            exprs.push(self.coerce(arg, ty, Cast::Explicit)?.expr);
        }
        sets::call(name, types, result, &self.settings.zone, exprs)
    }

    /// A function in FROM: its rows. `env` is what its arguments see.
    pub(super) fn table_function(&self, env: &Env<'_>, function: &TableFunction<'_>) -> Result<BoundQuery> {
        let name = function.name.as_str();
        let mut args = Vec::with_capacity(function.args.len());
        for arg in &function.args {
            match *arg {
                Argument::Plain(expr)
                | Argument::Written(ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr))) => {
                    args.push(self.expr(env, expr)?)
                }
                Argument::Written(_) => return Err(Error::unsupported("a named argument")),
            }
        }
        if !sets::is_set_returning(name) {
            if function.ordinality {
                return Err(Error::unsupported(format!("the function {name} in FROM WITH ORDINALITY")));
            }
            return self.one_row(name, args);
        }
        // Several arrays are unnested side by side.
        let each: Vec<Vec<Typed>> = match name {
            "unnest" if !args.is_empty() => args.into_iter().map(|arg| vec![arg]).collect(),
            _ => vec![args],
        };
        let mut calls = Vec::with_capacity(each.len());
        for args in each {
            calls.extend(SetCall::of(&self.set_function(name, args)?.expr));
        }
        let call = SetCall::together(calls, function.ordinality);
        let types = call.function.0.columns();
        let own = types.len() - usize::from(function.ordinality);
        let mut names: Vec<String> = match sets::column_names(name) {
            [] => vec![name.to_string(); own],
            known => known.iter().map(ToString::to_string).collect(),
        };
        names.extend(function.ordinality.then(|| "ordinality".to_string()));
        let columns: Vec<Column> = names.iter().map(|name| Column::new_unqualified(self.unique(name))).collect();
        let plan = Expand::plan(LogicalPlanBuilder::empty(true).build()?, call, columns.clone())?;
        let output = names.into_iter().zip(columns).zip(types);
        let columns =
            output.map(|((name, column), ty)| OutputColumn { name, column, ty: Some(ty), origin: None }).collect();
        Ok(BoundQuery { plan, columns })
    }

    /// The plan with the sets that expressions call for, and these expressions over it: those in
    /// arguments of others come first, all that are as deep side by side.
    pub(super) fn expanded(&self, mut plan: LogicalPlan, mut exprs: Vec<Expr>) -> Result<(LogicalPlan, Vec<Expr>)> {
        loop {
            let found = sets::set_calls(exprs.iter())?;
            if found.is_empty() {
                return Ok((plan, exprs));
            }
            let calls: Vec<SetCall> = found.iter().filter_map(SetCall::of).collect();
            let column = |_: &Expr| Column::new_unqualified(self.unique("set"));
            let columns: Vec<Column> = found.iter().map(column).collect();
            plan = Expand::plan(plan, SetCall::together(calls, false), columns.clone())?;
            let replacements: Vec<(Expr, Column)> = found.into_iter().zip(columns).collect();
            exprs = exprs.iter().map(|expr| replace(expr, &replacements)).collect::<Result<_>>()?;
        }
    }
}

/// The error for a set-returning function where `construct` does not take one.
pub(super) fn no_sets(values: &[&Typed], construct: &str) -> Result<()> {
    for value in values {
        if sets::holds_set(&value.expr)? {
            let message = format!("set-returning functions are not allowed in {construct}");
            return Err(at(Error::new(SqlState::FeatureNotSupported, message).hint(MOVE_IT), value.at));
        }
    }
    Ok(())
}
