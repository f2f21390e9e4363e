//! Arguments of calls: by name, left out, and VARIADIC.

use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::{self, FunctionArg, FunctionArgExpr};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result, SqlState};

use super::binder::{Binder, Env, fold};
use super::functions;
use super::typed::Typed;
use crate::parser::grammar_marks::VARIADIC;

/// A parameter: its name, and what it is if it is left out.
type Parameter = (&'static str, Option<ScalarValue>);

const ZERO: Option<ScalarValue> = Some(ScalarValue::Int32(Some(0)));
const TRUE: Option<ScalarValue> = Some(ScalarValue::Boolean(Some(true)));

/// The functions whose parameters have names.
const NAMED: &[(&str, &[Parameter])] = &[
    ("make_date", &[("year", None), ("month", None), ("day", None)]),
    ("make_time", &[("hour", None), ("min", None), ("sec", None)]),
    (
        "make_interval",
        &[
            ("years", ZERO),
            ("months", ZERO),
            ("weeks", ZERO),
            ("days", ZERO),
            ("hours", ZERO),
            ("mins", ZERO),
            ("secs", ZERO),
        ],
    ),
    ("make_timestamp", MOMENT),
    ("make_timestamptz", MOMENT),
    (
        "make_timestamptz",
        &[
            ("year", None),
            ("month", None),
            ("mday", None),
            ("hour", None),
            ("min", None),
            ("sec", None),
            ("timezone", None),
        ],
    ),
    ("parse_ident", &[("str", None), ("strict", TRUE)]),
];

const MOMENT: &[Parameter] =
    &[("year", None), ("month", None), ("mday", None), ("hour", None), ("min", None), ("sec", None)];

/// An argument, and its name if it was written with one.
struct Argument {
    name: Option<String>,
    value: Typed,
}

impl Binder<'_> {
    /// The arguments of a call of a scalar function in their order, those left out put in, and whether
    /// the last was written VARIADIC.
    pub(super) fn call_arguments(
        &self,
        env: &Env<'_>,
        name: &str,
        list: &ast::FunctionArgumentList,
    ) -> Result<(Vec<Typed>, bool)> {
        let mut args = Vec::with_capacity(list.args.len());
        let mut variadic = false;
        for arg in &list.args {
            let (own, value) = match arg {
                FunctionArg::Named { name, arg: FunctionArgExpr::Expr(value), .. }
                | FunctionArg::ExprNamed {
                    name: ast::Expr::Identifier(name), arg: FunctionArgExpr::Expr(value), ..
                } => (Some(fold(name)), value),
                FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => (None, value),
                _ => return self.arguments(env, name, list).map(|args| (args, false)),
            };
            let value = self.expr(env, value)?;
            match own {
                Some(own) if own == VARIADIC => {
                    variadic = true;
                    args.push(Argument { name: None, value });
                }
                None if args.iter().any(|arg: &Argument| arg.name.is_some()) => {
                    let message = "positional argument cannot follow named argument";
                    return Err(Error::new(SqlState::SyntaxError, message));
                }
                name => args.push(Argument { name, value }),
            }
        }
        if args.iter().all(|arg| arg.name.is_none()) && !NAMED.iter().any(|(known, _)| *known == name) {
            return Ok((args.into_iter().map(|arg| arg.value).collect(), variadic));
        }
        ordered(name, args).map(|args| (args, variadic))
    }

    /// A call whose last argument is an array of the arguments from there on.
    pub(super) fn variadic_call(&self, name: &str, mut args: Vec<Typed>) -> Result<Typed> {
        let Some(array) = args.last() else { return Err(functions::no_function(name, &args)) };
        let is_array = array.ty.as_ref().is_some_and(|ty| ty.element().is_some());
        if !is_array {
            return match (name, array.ty.is_none()) {
                ("concat" | "concat_ws" | "format" | "num_nulls" | "num_nonnulls", true) => {
                    Err(Error::new(SqlState::DatatypeMismatch, "VARIADIC argument must be an array"))
                }
                ("concat" | "concat_ws" | "format" | "num_nulls" | "num_nonnulls", _) => {
                    Err(Error::new(SqlState::DatatypeMismatch, "VARIADIC argument must be an array"))
                }
                _ => Err(functions::no_function(name, &args)),
            };
        }
        match (name, args.len()) {
            ("concat", 1) => {
                args.push(Typed::unknown(Some(String::new())));
                self.call_by_name("array_to_string", args)
            }
            ("concat_ws", 2) => {
                args.swap(0, 1);
                self.call_by_name("array_to_string", args)
            }
            ("format", 2) | ("num_nulls" | "num_nonnulls", 1) => self.call_by_name(&format!("{name} variadic"), args),
            _ => Err(functions::no_function(name, &args)),
        }
    }
}

/// The arguments in the order of the parameters.
fn ordered(name: &str, args: Vec<Argument>) -> Result<Vec<Typed>> {
    let fits = |parameters: &[Parameter]| {
        let places: Option<Vec<usize>> = args
            .iter()
            .enumerate()
            .map(|(place, arg)| match &arg.name {
                None => (place < parameters.len()).then_some(place),
                Some(name) => parameters.iter().position(|(known, _)| known == name),
            })
            .collect();
        let places = places?;
        let given = |place: usize| places.contains(&place);
        let whole = parameters.iter().enumerate().all(|(place, (_, default))| given(place) || default.is_some());
        let twice = (0..places.len()).any(|place| places[..place].contains(&places[place]));
        (whole && !twice).then_some(places)
    };
    let mut found = NAMED.iter().filter(|(known, _)| *known == name);
    let found = found.find_map(|(_, parameters)| fits(parameters).map(|places| (*parameters, places)));
    let Some((parameters, places)) = found else {
        return match args.iter().all(|arg| arg.name.is_none()) {
            true => Ok(args.into_iter().map(|arg| arg.value).collect()),
            false => Err(no_named(name, &args)),
        };
    };
    let mut values: Vec<Option<Typed>> = parameters
        .iter()
        .map(|(_, default)| {
            default.clone().map(|value| {
                let ty = if matches!(value, ScalarValue::Boolean(_)) { PgType::Bool } else { PgType::Int4 };
                Typed::constant(value, ty)
            })
        })
        .collect();
    for (arg, place) in args.into_iter().zip(places) {
        values[place] = Some(arg.value);
    }
    Ok(values.into_iter().flatten().collect())
}

fn no_named(name: &str, args: &[Argument]) -> Error {
    let shown: Vec<String> = args
        .iter()
        .map(|arg| {
            let ty = super::call::type_names(std::slice::from_ref(&arg.value));
            arg.name.as_ref().map_or_else(|| ty.clone(), |name| format!("{name} => {ty}"))
        })
        .collect();
    Error::new(SqlState::UndefinedFunction, format!("function {name}({}) does not exist", shown.join(", ")))
        .hint("No function matches the given name and argument types. You might need to add explicit type casts.")
}
