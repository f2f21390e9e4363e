//! What queries about the catalog ask for and no view does: functions of the catalog, `reg...`
//! types, vectors.
//!
//! A value of a `reg...` type is its name, as text, behind which its number is found: whatever
//! wants a number of it gets that. A vector (`pg_index.indkey`, int2vector) is its text, as
//! PostgreSQL prints it; whatever wants an array of it gets one.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Field;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, LogicalPlan, ScalarUDF};
use datafusion::sql::sqlparser::ast;
use thalweg_dataflow::types::{PgType, Zone, array};
use thalweg_dataflow::{Error, Result};

use super::binder::{Binder, BoundQuery, Env, OutputColumn, fold, name_parts};
use super::expr::Cast;
use super::functions::{self, udf::Kernel, udf::PgFunction};
use super::scope::Origin;
use super::typed::{Typed, implicit, metadata};

/// A function that asks the catalog: what computes it and its result's type.
#[derive(Debug, Clone)]
pub struct SystemFunction {
    /// Takes any arguments.
    pub function: Arc<ScalarUDF>,
    /// The type of its result.
    pub result: PgType,
}

/// The columns of the catalog that are vectors: their subscripts begin at 0. The last is what pgjdbc
/// calls one in a subquery.
const VECTORS: &[&str] = &[
    "indkey",
    "indcollation",
    "indclass",
    "indoption",
    "proargtypes",
    "tgattr",
    "partattrs",
    "prattrs",
    "i_indoption",
];

/// The columns of the catalog that are of type regproc.
const REGPROCS: &[&str] = &[
    "typinput",
    "typoutput",
    "typreceive",
    "typsend",
    "typmodin",
    "typmodout",
    "typanalyze",
    "typsubscript",
    "oprcode",
    "oprrest",
    "oprjoin",
    "prosupport",
    "amhandler",
    "aggfnoid",
    "trffromsql",
    "trftosql",
    "aggfinalfn",
    "aggtransfn",
    "conproc",
    "amproc",
];

/// The key in a field's metadata under which the oid stands of the type that a client is told of.
pub const SHOWN_OID: &str = "thalweg.shown";

/// A column of a result as clients see it: vectors of the catalog by their own types.
pub(super) fn shown(field: Field) -> Field {
    let oid = match field.name().as_str() {
        "indkey" | "indoption" | "tgattr" | "prattrs" => "22",
        "indcollation" | "indclass" | "proargtypes" => "30",
        _ => return field,
    };
    if PgType::of(&field) != PgType::Text {
        return field;
    }
    let mut marks = field.metadata().clone();
    marks.insert(SHOWN_OID.into(), oid.into());
    field.with_metadata(marks)
}

/// The mark of a column of a result that is a column of a relation: the relation's oid and the
/// column's number, with a colon between them.
pub const ORIGIN: &str = "thalweg.origin";

/// A column of a result with its origin.
pub(super) fn with_origin(field: Field, origin: Option<Origin>) -> Field {
    let Some(Origin { table, column }) = origin else { return field };
    let mut marks = field.metadata().clone();
    marks.insert(ORIGIN.into(), format!("{table}:{column}"));
    field.with_metadata(marks)
}

/// The tables in FROM that are written as calls.
const CALLED_TABLES: &[&str] =
    &["aclexplode", "pg_get_keywords", "pg_listening_channels", "pg_options_to_table", "pg_available_extensions"];

/// The `reg...` type that a written type is, if its values have numbers.
pub(super) fn reg_type(data_type: &ast::DataType) -> Option<&'static str> {
    let name = match data_type {
        ast::DataType::Regclass => "regclass".to_string(),
        ast::DataType::Custom(name, _) => name_parts(name).ok()?.pop()?,
        _ => return None,
    };
    ["regclass", "regtype", "regnamespace", "regrole", "regproc"].into_iter().find(|known| *known == name)
}

/// Whether a call in FROM is a table of the catalog.
pub(super) fn is_called_table(name: &str) -> bool {
    CALLED_TABLES.contains(&name)
}

/// The number of a `reg...` value.
pub(super) fn reg_number(typed: &Typed) -> Option<Typed> {
    match &typed.expr {
        Expr::ScalarFunction(call) if call.func.name().starts_with("reg") && call.func.name().ends_with(" out") => {
            let number = call.args.first()?.clone();
            Some(Typed { expr: number, ty: Some(PgType::Oid), at: typed.at })
        }
        _ => None,
    }
}

impl Binder<'_> {
    /// A call of a function that asks the catalog; `None`: there is none of this name.
    pub(super) fn system_call(&self, name: &str, args: &[Typed]) -> Result<Option<Typed>> {
        let Some(known) = self.resolver.system_function(name) else { return Ok(None) };
        if self.settings.view {
            return Err(Error::unsupported(format!("{name}() in a materialized view"))
                .hint("Its value would change without any input changing."));
        }
        self.reads_clock.set(true);
        let mut exprs = Vec::with_capacity(args.len());
        for arg in args {
            exprs.push(match reg_number(arg) {
                Some(number) => number.expr,
                None => self.settled(arg.clone())?.expr,
            });
        }
        let expr = Expr::ScalarFunction(ScalarFunction::new_udf(known.function, exprs));
        let value = Typed::new(expr, known.result);
        match name.strip_prefix("to_") {
            Some(own) if own.starts_with("reg") => self.reg_cast(value, own).map(Some),
            _ => Ok(Some(value)),
        }
    }

    /// `pg_sleep(seconds)` and its kin.
    pub(super) fn sleep(&self, name: &str, ty: &PgType, args: Vec<Typed>) -> Result<Typed> {
        if self.settings.view {
            return Err(Error::unsupported(format!("the volatile function {name} in a materialized view")));
        }
        // A plan that sleeps is not kept.
        self.reads_clock.set(true);
        Ok(functions::sleep::call(name, self.only_argument(name, ty, args)?.expr))
    }

    /// The arguments of those functions of the session whose types matter; of others as they are.
    pub(super) fn typed_arguments(&self, name: &str, args: Vec<Typed>) -> Result<Vec<Typed>> {
        let locks = name.starts_with("pg_advisory_") || name.starts_with("pg_try_advisory_");
        match (name, args.len()) {
            ("setseed", _) => Ok(vec![self.only_argument(name, &PgType::Float8, args)?]),
            ("pg_blocking_pids", _) => Ok(vec![self.only_argument(name, &PgType::Int4, args)?]),
            ("pg_advisory_unlock_all", 0) => Ok(args),
            ("pg_advisory_unlock_all", _) => Err(functions::no_function(name, &args)),
            (_, 1) if locks => Ok(vec![self.only_argument(name, &PgType::Int8, args)?]),
            (_, 2) if locks => {
                let fits = |arg: &Typed| arg.ty.as_ref().is_none_or(|own| implicit(own, &PgType::Int4));
                if !args.iter().all(fits) {
                    return Err(functions::no_function(name, &args));
                }
                args.into_iter().map(|arg| self.coerce(arg, &PgType::Int4, Cast::Implicit)).collect()
            }
            (_, _) if locks => Err(functions::no_function(name, &args)),
            _ => Ok(args),
        }
    }

    /// The argument of a function that has one, of this type.
    pub(super) fn only_argument(&self, name: &str, ty: &PgType, args: Vec<Typed>) -> Result<Typed> {
        match args.as_slice() {
            [only] if only.ty.as_ref().is_none_or(|own| implicit(own, ty)) => {
                self.coerce(only.clone(), ty, Cast::Implicit)
            }
            _ => Err(functions::no_function(name, &args)),
        }
    }

    /// `pg_column_size(value)`.
    pub(super) fn column_size(&self, args: Vec<Typed>) -> Result<Typed> {
        let mut exprs = Vec::with_capacity(args.len());
        let mut types = Vec::with_capacity(args.len());
        for arg in args {
            let arg = self.settled(reg_number(&arg).unwrap_or(arg))?;
            types.push(arg.ty.unwrap_or(PgType::Text));
            exprs.push(arg.expr);
        }
        let zone = Zone::parse(&self.settings.zone)?;
        let function = PgFunction::new("pg_column_size", types, PgType::Int4, zone, functions::sizes::SIZE);
        Ok(Typed::new(functions::evaluated(function, exprs), PgType::Int4))
    }

    /// A value as one of a `reg...` type.
    pub(super) fn reg_cast(&self, value: Typed, name: &str) -> Result<Typed> {
        let number = match (reg_number(&value), &value.ty) {
            (Some(number), _) => number,
            (None, None | Some(PgType::Text | PgType::Varchar(_))) => self
                .system_call(&format!("{name} in"), &[value])?
                .ok_or_else(|| Error::unsupported(format!("the type {name} here")))?,
            (None, Some(_)) => self.coerce(value, &PgType::Oid, Cast::Implicit)?,
        };
        let shown = self.system_call(&format!("{name} out"), &[number])?;
        shown.ok_or_else(|| Error::unsupported(format!("the type {name} here")))
    }

    /// Two operands of a comparison: a `reg...` value beside a number, a literal or another one is
    /// compared as a number.
    pub(super) fn reg_operands(&self, left: Typed, right: Typed) -> Result<(Typed, Typed)> {
        let number_of = |value: &Typed, beside: &Typed| -> Result<Typed> {
            if let Some(number) = reg_number(value) {
                return Ok(number);
            }
            let Expr::ScalarFunction(call) = &beside.expr else { return Ok(value.clone()) };
            match (&value.ty, call.func.name().strip_suffix(" out")) {
                (None, Some(name)) => {
                    let typed = self.reg_cast(value.clone(), name)?;
                    Ok(reg_number(&typed).unwrap_or(typed))
                }
                _ => Ok(value.clone()),
            }
        };
        if let Some(operands) = regproc_operands(&left, &right) {
            return Ok(operands);
        }
        match (is_regproc(&left), is_regproc(&right)) {
            (true, false) if right.ty == Some(PgType::Oid) => return Ok((self.regproc_number(left)?, right)),
            (false, true) if left.ty == Some(PgType::Oid) => return Ok((left, self.regproc_number(right)?)),
            _ => {}
        }
        let is_text =
            |typed: &Typed| reg_number(typed).is_none() && matches!(typed.ty, Some(PgType::Text | PgType::Varchar(_)));
        if (reg_number(&left).is_none() && reg_number(&right).is_none()) || is_text(&left) || is_text(&right) {
            return Ok((left, right));
        }
        Ok((number_of(&left, &right)?, number_of(&right, &left)?))
    }

    /// The number of a regproc of the catalog.
    pub(super) fn regproc_number(&self, typed: Typed) -> Result<Typed> {
        let shown = self.reg_cast(typed, "regproc")?;
        Ok(reg_number(&shown).unwrap_or(shown))
    }

    /// `name[n]`, a byte of a name of the catalog; `None`: it is none.
    pub(super) fn name_byte(&self, name: &Typed, place: &Typed) -> Result<Option<Typed>> {
        let is_name = matches!((&name.expr, &name.ty), (Expr::Column(column), Some(PgType::Text))
            if column.name == "typname");
        if !is_name {
            return Ok(None);
        }
        let one = Typed::constant(ScalarValue::Int32(Some(1)), PgType::Int4);
        let from = self.operate(&ast::BinaryOperator::Plus, place.clone(), one.clone())?;
        self.call_by_name("substring", vec![name.clone(), from, one]).map(Some)
    }

    /// One side of a set operation: `reg...` values beside numbers are numbers.
    pub(super) fn numbers_beside(&self, side: BoundQuery, other: &BoundQuery) -> Result<BoundQuery> {
        let LogicalPlan::Projection(projection) = &side.plan else { return Ok(side) };
        let (mut exprs, mut columns) = (projection.expr.clone(), side.columns.clone());
        let mut changed = false;
        for (place, expr) in exprs.iter_mut().enumerate() {
            let (Some(own), Some(beside)) = (columns.get_mut(place), other.columns.get(place)) else { continue };
            let value = Typed { expr: expr.clone().unalias(), ty: own.ty.clone(), at: None };
            if let (Some(PgType::Oid), Some(number)) = (&beside.ty, reg_number(&value)) {
                *expr = number.expr.alias_with_metadata(&own.column.name, Some(metadata(&PgType::Oid)));
                own.ty = Some(PgType::Oid);
                changed = true;
            }
        }
        if !changed {
            return Ok(side);
        }
        let input = projection.input.as_ref().clone();
        let plan = datafusion::logical_expr::LogicalPlanBuilder::from(input).project(exprs)?.build()?;
        Ok(BoundQuery { plan, columns })
    }

    /// A vector as an array; anything else as it is. The flag tells whether it was a vector.
    pub(super) fn vector(&self, typed: Typed) -> Result<(Typed, bool)> {
        let column = match (&typed.expr, &typed.ty) {
            (Expr::Column(column) | Expr::OuterReferenceColumn(_, column), Some(PgType::Text)) => column.name.as_str(),
            _ => return Ok((typed, false)),
        };
        if !VECTORS.contains(&column) {
            return Ok((typed, false));
        }
        let oids = ["indclass", "indcollation", "proargtypes"].contains(&column);
        let result = PgType::Array(if oids { &PgType::Oid } else { &PgType::Int2 });
        let function =
            PgFunction::new("vector", vec![PgType::Text], result.clone(), Zone::parse(&self.settings.zone)?, VECTOR);
        Ok((Typed::new(functions::evaluated(function, vec![typed.expr]), result), true))
    }

    /// A scalar function in FROM: one row of one column.
    pub(super) fn one_row(&self, name: &str, args: Vec<Typed>) -> Result<BoundQuery> {
        let value = self.settled(self.call_by_name(name, args)?)?;
        let ty = value.ty.clone().unwrap_or(PgType::Text);
        let column = datafusion::common::Column::new_unqualified(self.unique(name));
        let expr = value.expr.alias_with_metadata(&column.name, Some(metadata(&ty)));
        let plan = datafusion::logical_expr::LogicalPlanBuilder::empty(true).project([expr])?.build()?;
        Ok(BoundQuery {
            plan,
            columns: vec![OutputColumn { name: name.to_string(), column, ty: Some(ty), origin: None }],
        })
    }

    /// `(pair).x` and `(pair).n` of what `_pg_expandarray` gives, which is an array of the two here.
    pub(super) fn pair_field(&self, env: &Env<'_>, root: &ast::Expr, field: &ast::Ident) -> Result<Option<Typed>> {
        let place = match fold(field).as_str() {
            "x" => 1,
            "n" => 2,
            _ => return Ok(None),
        };
        let pair = self.expr(env, root)?;
        if pair.ty != Some(PgType::Array(&PgType::Int4)) {
            return Ok(None);
        }
        let place = Typed::constant(ScalarValue::Int32(Some(place)), PgType::Int4);
        self.element(pair, place).map(Some)
    }
}

/// Whether a value is a regproc of the catalog.
pub(super) fn is_regproc(typed: &Typed) -> bool {
    match (&typed.expr, &typed.ty) {
        (Expr::Column(column) | Expr::OuterReferenceColumn(_, column), Some(PgType::Text)) => {
            REGPROCS.contains(&column.name.as_str())
        }
        _ => false,
    }
}

/// `typreceive <> 0`: a regproc of the catalog is its name, and `-` stands for 0.
fn regproc_operands(left: &Typed, right: &Typed) -> Option<(Typed, Typed)> {
    let is_zero = |typed: &Typed| matches!(typed.expr, Expr::Literal(ScalarValue::Int32(Some(0)), _));
    let none = || Typed::constant(ScalarValue::Utf8(Some("-".into())), PgType::Text);
    match (is_regproc(left), is_regproc(right)) {
        (true, false) if is_zero(right) => Some((left.clone(), none())),
        (false, true) if is_zero(left) => Some((none(), right.clone())),
        _ => None,
    }
}

/// A vector's text as an array.
const VECTOR: Kernel = |input| {
    let element = input.result.element().ok_or_else(|| Error::internal("a vector that becomes no array"))?;
    let values = input.array(0)?;
    let texts = values.as_string::<i32>();
    let mut made = arrow::array::BinaryBuilder::new();
    for row in 0..texts.len() {
        if texts.is_null(row) {
            made.append_null();
            continue;
        }
        let items = texts.value(row).split_whitespace();
        let items = items
            .map(|item| thalweg_dataflow::types::parse_text(element, item, input.zone))
            .collect::<Result<Vec<_>>>()?;
        let bytes = match items.is_empty() {
            true => Vec::new(),
            false => array::element_bytes(element, &ScalarValue::iter_to_array(items)?, false)?,
        };
        made.append_value(array::of_items(bytes.iter().map(Vec::as_slice)));
    }
    Ok(Arc::new(made.finish()))
};
