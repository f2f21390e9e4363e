//! Expressions: from the syntax tree to typed expressions.
//!
//! One method a group of constructs. Every construct that is not listed here is refused by name.
//! Operators live in `operator`, calls in `call`, subqueries in `subquery`.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;
use datafusion::sql::sqlparser::ast::Spanned;
use datafusion::sql::sqlparser::ast::{self, BinaryOperator, Value};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::types::numeric::Numeric;
use thalweg_dataflow::{Error, Result, SqlState};

use super::binder::{Binder, Env, at, fold};
use super::functions::{self, numeric_constant};
use super::precedence;
use super::scope::Scope;
use super::system;
use super::typed::{Category, Typed, base_name, castable, category, common, implicit, literal, null, same_base};

/// How a value may change its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cast {
    /// Without being asked.
    Implicit,
    /// By CAST or `::`.
    Explicit,
}

impl Binder<'_> {
    /// Binds an expression whose type may stay open.
    pub(crate) fn expr(&self, env: &Env<'_>, expr: &ast::Expr) -> Result<Typed> {
        let position = || self.position(expr.span());
        let settled = precedence::settled(expr);
        self.nested(|| self.expr_inner(env, settled.as_ref().unwrap_or(expr)))
            .map(|typed| typed.at(position()))
            .map_err(|error| at(self.at_operator(error, expr), position()))
    }

    /// Binds an expression that must be boolean; `clause` is named in the error.
    pub(crate) fn condition(&self, env: &Env<'_>, expr: &ast::Expr, clause: &str) -> Result<Expr> {
        let typed = self.expr(env, expr)?;
        self.boolean(typed, clause)
    }

    fn boolean(&self, typed: Typed, clause: &str) -> Result<Expr> {
        let place = typed.at;
        if functions::sets::holds_set(&typed.expr)? {
            let message = format!("argument of {clause} must not return a set");
            return Err(at(Error::new(SqlState::DatatypeMismatch, message), place));
        }
        match &typed.ty {
            None | Some(PgType::Bool) => Ok(self.coerce(typed, &PgType::Bool, Cast::Implicit)?.expr),
            Some(other) => {
                let message = format!("argument of {clause} must be type boolean, not type {}", base_name(other));
                Err(at(Error::new(SqlState::DatatypeMismatch, message), place))
            }
        }
    }

    fn expr_inner(&self, env: &Env<'_>, expr: &ast::Expr) -> Result<Typed> {
        use ast::Expr as E;
        match expr {
            E::Identifier(ident) => self.column(env, None, &fold(ident)),
            E::CompoundIdentifier(parts) => self.compound(env, parts),
            E::Nested(inner) => self.expr(env, inner),
            E::Value(value) => self.value(&value.value),
            E::Prefixed { .. } => Err(Error::unsupported("a literal with a character set")),
            E::TypedString(typed) => self.typed_string(typed),
            E::Interval(interval) => self.interval(interval),
            E::Cast {
                expr: inner,
                data_type,
                array: false,
                kind: ast::CastKind::Cast | ast::CastKind::DoubleColon,
                ..
            } => self.written_cast(env, inner, data_type),
            E::Array(array) => self.array(env, array, None),
            E::CompoundFieldAccess { root, access_chain } => self.subscripted(env, root, access_chain),
            E::UnaryOp { op, expr: inner } => self.unary(env, *op, inner),
            E::BinaryOp { left, op, right } => self.binary(env, left, op, right),
            E::IsNull(_)
            | E::IsNotNull(_)
            | E::IsTrue(_)
            | E::IsNotTrue(_)
            | E::IsFalse(_)
            | E::IsNotFalse(_)
            | E::IsUnknown(_)
            | E::IsNotUnknown(_) => self.is_test(env, expr),
            E::IsDistinctFrom(left, right) => self.distinct(env, left, &BinaryOperator::NotEq, right),
            E::IsNotDistinctFrom(left, right) => self.distinct(env, left, &BinaryOperator::Eq, right),
            E::Between { expr: inner, negated, low, high } => self.between(env, inner, *negated, low, high),
            E::InList { expr: inner, list, negated } => self.in_list(env, inner, list, *negated),
            E::InSubquery { expr: inner, subquery, negated } => self.in_subquery(env, inner, subquery, *negated),
            E::Exists { subquery, negated } => self.exists(env, subquery, *negated),
            E::Subquery(query) => self.scalar_subquery(env, query),
            E::AnyOp { left, compare_op, right, .. } => self.quantified(env, left, compare_op, right, true),
            E::AllOp { left, compare_op, right } => self.quantified(env, left, compare_op, right, false),
            E::Case { operand, conditions, else_result, .. } => {
                self.case(env, operand.as_deref(), conditions, else_result.as_deref())
            }
            E::Collate { expr: inner, collation } => {
                let name = super::binder::name_parts(collation)?.pop().unwrap_or_default();
                if !matches!(name.as_str(), "C" | "POSIX" | "default" | "ucs_basic") {
                    return Err(Error::unsupported(format!("collation \"{name}\""))
                        .hint("Text is compared bytewise, as with COLLATE \"C\"."));
                }
                self.collated(self.expr(env, inner)?)
            }
            E::Like { negated, any: false, expr: inner, pattern, escape_char } => {
                self.like(env, inner, pattern, escape_char.as_ref(), *negated, false)
            }
            E::ILike { negated, any: false, expr: inner, pattern, escape_char } => {
                self.like(env, inner, pattern, escape_char.as_ref(), *negated, true)
            }
            E::Like { negated, any: true, expr: inner, pattern, .. } => {
                let op = if *negated { BinaryOperator::PGNotLikeMatch } else { BinaryOperator::PGLikeMatch };
                self.quantified(env, inner, &op, pattern, true)
            }
            E::ILike { negated, any: true, expr: inner, pattern, .. } => {
                let op = if *negated { BinaryOperator::PGNotILikeMatch } else { BinaryOperator::PGILikeMatch };
                self.quantified(env, inner, &op, pattern, true)
            }
            E::SimilarTo { negated, expr: inner, pattern, escape_char } => {
                self.similar(env, inner, pattern, escape_char.as_ref(), *negated)
            }
            other => self.special_call(env, other),
        }
    }

    /// `value COLLATE ...`.
    fn collated(&self, value: Typed) -> Result<Typed> {
        let value = self.settled(value)?;
        match &value.ty {
            Some(ty) if category(ty.element().unwrap_or(ty)) != Category::Text => {
                let message = format!("collations are not supported by type {}", base_name(ty));
                Err(Error::new(SqlState::DatatypeMismatch, message))
            }
            _ => Ok(value),
        }
    }

    /// `CAST(inner AS data_type)`.
    fn written_cast(&self, env: &Env<'_>, inner: &ast::Expr, data_type: &ast::DataType) -> Result<Typed> {
        if let Some(name) = system::reg_type(data_type) {
            return self.reg_cast(self.expr(env, inner)?, name);
        }
        let target = &self.data_type(data_type)?;
        let inner = match inner {
            ast::Expr::Array(array) if target.element().is_some() => self.array(env, array, Some(target))?,
            _ => self.expr(env, inner)?,
        };
        let (inner, _) = if target.element().is_some() { self.vector(inner)? } else { (inner, false) };
        self.with_digits(self.coerce(inner, target, Cast::Explicit)?, data_type)
    }

    pub(super) fn compound(&self, env: &Env<'_>, parts: &[ast::Ident]) -> Result<Typed> {
        match parts {
            [table, column] => self.column(env, Some(&fold(table)), &fold(column)),
            [_, table, column] => self.column(env, Some(&fold(table)), &fold(column)),
            _ => Err(Error::unsupported("a column name of more than three parts")),
        }
    }

    fn column(&self, env: &Env<'_>, table: Option<&str>, name: &str) -> Result<Typed> {
        let row = |scope: &Scope| if table.is_none() { scope.row(name).cloned() } else { None };
        if let Some(column) = env.scope.find(table, name)?.cloned().or_else(|| row(env.scope)) {
            return Ok(Typed::new(column.expr, column.ty));
        }
        if let (None, Some(row)) = (table, self.whole_row(env.scope, name)?) {
            return Ok(row);
        }
        let mut outer = env.outer;
        while let Some(surrounding) = outer {
            if let Some(column) = surrounding.scope.find(table, name)?.cloned().or_else(|| row(surrounding.scope)) {
                return Ok(Typed::new(surrounding.scope.outward(&column.expr)?, column.ty));
            }
            if let (None, Some(row)) = (table, self.whole_row(surrounding.scope, name)?) {
                return Ok(Typed::new(surrounding.scope.outward(&row.expr)?, PgType::Record));
            }
            outer = surrounding.outer;
        }
        if name == "tableoid"
            && let Some(oid) = env.scope.table_oid(table)
        {
            return Ok(Typed::constant(ScalarValue::UInt32(Some(oid)), PgType::Oid));
        }
        if table.is_none()
            && let Some(known) = self.keyword_value(name)?
        {
            return Ok(known);
        }
        // The nearest query that knows the table tells what is wrong.
        let mut nearest = env;
        while let (Some(table), Some(surrounding)) = (table, nearest.outer)
            && !nearest.scope.tables.iter().any(|known| known == table)
        {
            nearest = surrounding;
        }
        let knows = table.is_some_and(|table| nearest.scope.tables.iter().any(|known| known == table));
        let mut around = (!knows).then_some(env);
        while let (Some(table), Some(within)) = (table, around) {
            if let Some(error) = within.scope.hidden_table(table) {
                return Err(error);
            }
            around = within.outer;
        }
        Err(if knows { nearest.scope.no_column(table, name) } else { env.scope.no_column(table, name) })
    }

    fn value(&self, value: &Value) -> Result<Typed> {
        Ok(match value {
            Value::Number(digits, _) => number(digits)?,
            Value::Boolean(value) => Typed::constant(ScalarValue::Boolean(Some(*value)), PgType::Bool),
            Value::Null => Typed::unknown(None),
            Value::SingleQuotedString(text)
            | Value::EscapedStringLiteral(text)
            | Value::UnicodeStringLiteral(text)
            | Value::NationalStringLiteral(text) => Typed::unknown(Some(text.clone())),
            Value::DollarQuotedString(text) => Typed::unknown(Some(text.value.clone())),
            Value::Placeholder(name) => self.parameter(name)?,
            other => return Err(Error::unsupported(format!("the literal {other}"))),
        })
    }

    pub(super) fn parameter(&self, name: &str) -> Result<Typed> {
        let number: usize = name
            .strip_prefix('$')
            .and_then(|digits| digits.parse().ok())
            .filter(|number| (1..=65_535).contains(number))
            .ok_or_else(|| Error::new(SqlState::UndefinedParameter, format!("there is no parameter {name}")))?;
        if self.settings.view {
            return Err(Error::new(SqlState::UndefinedParameter, format!("there is no parameter {name}"))
                .hint("A view's query takes no parameters."));
        }
        let mut parameters = self.parameters.borrow_mut();
        if parameters.len() < number {
            parameters.resize(number, None);
        }
        let ty = parameters[number - 1].clone();
        Ok(Typed { expr: placeholder(name, ty.as_ref()), ty, at: None })
    }

    /// The value in another type.
    pub(crate) fn coerce(&self, typed: Typed, target: &PgType, cast: Cast) -> Result<Typed> {
        let place = typed.at;
        let Some(from) = typed.ty.clone() else {
            return self.resolve_unknown(typed, target).map_err(|error| at(error, place));
        };
        if *target == PgType::Oid && cast == Cast::Explicit && system::is_regproc(&typed) {
            return self.regproc_number(typed);
        }
        if matches!(target, PgType::Oid | PgType::Int4 | PgType::Int8)
            && let Some(number) = system::reg_number(&typed)
        {
            return self.coerce(number, target, Cast::Explicit);
        }
        if from == *target
            || (cast == Cast::Implicit && same_base(&from, target) && matches!(target, PgType::Varchar(None)))
        {
            return Ok(Typed { ty: Some(target.clone()), ..typed });
        }
        if matches!(
            (&from, target),
            (PgType::Varchar(_), PgType::Text) | (PgType::Text | PgType::Varchar(_), PgType::Varchar(None))
        ) {
            return Ok(Typed { ty: Some(target.clone()), ..typed });
        }
        let allowed = match cast {
            Cast::Implicit => implicit(&from, target),
            Cast::Explicit => castable(&from, target),
        };
        if !allowed {
            let message = format!("cannot cast type {} to {}", base_name(&from), base_name(target));
            return Err(at(Error::new(SqlState::CannotCoerce, message), place));
        }
        let expr = functions::cast(typed.expr, &from, target, &self.settings.zone)?;
        Ok(Typed { expr, ty: Some(target.clone()), at: place })
    }

    fn resolve_unknown(&self, typed: Typed, target: &PgType) -> Result<Typed> {
        let expr = match typed.expr {
            Expr::Placeholder(parameter) => {
                let number: usize = parameter.id.trim_start_matches('$').parse().unwrap_or(1);
                let mut parameters = self.parameters.borrow_mut();
                match &parameters[number - 1] {
                    Some(known) if known != target => {
                        let known = known.clone();
                        drop(parameters);
                        return self.coerce(
                            Typed::new(placeholder(&parameter.id, Some(&known)), known),
                            target,
                            Cast::Explicit,
                        );
                    }
                    _ => {
                        let open = target.base();
                        parameters[number - 1] = Some(open.clone());
                        drop(parameters);
                        let typed = Typed::new(placeholder(&parameter.id, Some(&open)), open);
                        return self.coerce(typed, target, Cast::Explicit);
                    }
                }
            }
            // A cast to varchar(n) and char(n) cuts, a literal too; the other types' input functions know their modifiers.
            Expr::Literal(ScalarValue::Utf8(Some(text)), _)
                if matches!(target, PgType::Varchar(Some(_)) | PgType::Bpchar(Some(_))) =>
            {
                let whole = Typed::constant(ScalarValue::Utf8(Some(text)), PgType::Varchar(None)).at(typed.at);
                return self.coerce(whole, target, Cast::Explicit);
            }
            Expr::Literal(ScalarValue::Utf8(Some(text)), _) => {
                let zone = self.settings.literal_zone.as_ref().unwrap_or(&self.settings.zone);
                if functions::names_a_moment(&text) {
                    self.reads_clock.set(true);
                }
                let value = functions::read_literal(target, &text, zone, self.settings.now, self.settings.view)?;
                literal(value, target)
            }
            Expr::Literal(_, _) => literal(null(target), target),
            // An output column of a subquery that is an unknown literal: text.
            other => {
                return self.coerce(
                    Typed { expr: other, ty: Some(PgType::Text), at: typed.at },
                    target,
                    Cast::Explicit,
                );
            }
        };
        Ok(Typed { expr, ty: Some(target.clone()), at: typed.at })
    }

    /// A value whose type is open becomes text.
    pub(crate) fn settled(&self, typed: Typed) -> Result<Typed> {
        match typed.ty {
            Some(_) => Ok(typed),
            None => self.coerce(typed, &PgType::Text, Cast::Implicit),
        }
    }

    /// Several values in the type they have in common.
    pub(crate) fn unify(&self, values: Vec<Typed>, construct: &str) -> Result<(Vec<Typed>, PgType)> {
        let ty = common(values.iter().map(|value| (value.ty.as_ref(), value.at)), construct)?;
        // A literal is read whole, whatever length the others have.
        let is_open =
            |value: &Typed| value.ty.is_none() && matches!(&value.expr, Expr::Literal(value, _) if !value.is_null());
        let ty = if values.iter().any(is_open) { ty.base() } else { ty };
        let unfit = |from: &Option<PgType>, error: Error| match (error.state(), from) {
            (SqlState::CannotCoerce, Some(from)) => {
                let construct = if construct == "CASE" { "CASE/WHEN" } else { construct };
                let (from, to) = (base_name(from), base_name(&ty));
                Error::new(SqlState::CannotCoerce, format!("{construct} could not convert type {from} to {to}"))
            }
            _ => error,
        };
        let coerced = values.into_iter().map(|value| {
            let (from, place) = (value.ty.clone(), value.at);
            self.coerce(value, &ty, Cast::Implicit).map_err(|error| at(unfit(&from, error), place))
        });
        let coerced = coerced.collect::<Result<_>>()?;
        Ok((coerced, ty))
    }

    fn distinct(&self, env: &Env<'_>, left: &ast::Expr, op: &BinaryOperator, right: &ast::Expr) -> Result<Typed> {
        // Beside a bare NULL it is a test of the other side, of whatever type.
        let tested = if is_null(right) { Some(left) } else { is_null(left).then_some(right) };
        if let Some(tested) = tested {
            let tested = Box::new(tested.clone());
            let equal = *op == BinaryOperator::Eq;
            let test = if equal { ast::Expr::IsNull(tested) } else { ast::Expr::IsNotNull(tested) };
            return self.is_test(env, &test);
        }
        match self.rows_compared(env, left, op, right, true)? {
            Some(result) => Ok(result),
            None => self.compare(op, self.expr(env, left)?, self.expr(env, right)?, true),
        }
    }

    fn is_test(&self, env: &Env<'_>, expr: &ast::Expr) -> Result<Typed> {
        use ast::Expr as E;
        if let E::IsNull(inner) | E::IsNotNull(inner) = expr
            && let Some(result) = self.row_is_null(env, inner, matches!(expr, E::IsNull(_)))?
        {
            return Ok(result);
        }
        let result = match expr {
            E::IsNull(inner) | E::IsNotNull(inner) => {
                let (value, null) = (self.settled(self.expr(env, inner)?)?, matches!(expr, E::IsNull(_)));
                match (value.ty == Some(PgType::Record), null) {
                    (true, null) => self.record_is_null(value.expr, null),
                    (false, true) => value.expr.is_null(),
                    (false, false) => value.expr.is_not_null(),
                }
            }
            E::IsTrue(inner) => Expr::IsTrue(Box::new(self.condition(env, inner, "IS TRUE")?)),
            E::IsNotTrue(inner) => Expr::IsNotTrue(Box::new(self.condition(env, inner, "IS NOT TRUE")?)),
            E::IsFalse(inner) => Expr::IsFalse(Box::new(self.condition(env, inner, "IS FALSE")?)),
            E::IsNotFalse(inner) => Expr::IsNotFalse(Box::new(self.condition(env, inner, "IS NOT FALSE")?)),
            E::IsUnknown(inner) => Expr::IsUnknown(Box::new(self.condition(env, inner, "IS UNKNOWN")?)),
            E::IsNotUnknown(inner) => Expr::IsNotUnknown(Box::new(self.condition(env, inner, "IS NOT UNKNOWN")?)),
            other => return Err(Error::unsupported(format!("{other}"))),
        };
        Ok(Typed::new(result, PgType::Bool))
    }

    fn in_list(&self, env: &Env<'_>, inner: &ast::Expr, list: &[ast::Expr], negated: bool) -> Result<Typed> {
        if let Some(result) = self.row_in_list(env, inner, list, negated)? {
            return Ok(result);
        }
        let value = self.expr(env, inner)?;
        let list = list.iter().map(|item| self.expr(env, item)).collect::<Result<Vec<_>>>()?;
        self.in_values(value, list, negated)
    }

    /// `value IN (list)`.
    pub(crate) fn in_values(&self, value: Typed, list: Vec<Typed>, negated: bool) -> Result<Typed> {
        let plain = list
            .iter()
            .all(|item| matches!(item.expr, Expr::Literal(..)) && (item.ty.is_none() || item.ty == value.ty));
        if plain
            && let Some(ty) = &value.ty
            && super::typed::compares_natively(ty)
        {
            let list = list
                .into_iter()
                .map(|item| Ok(self.coerce(item, ty, Cast::Implicit)?.expr))
                .collect::<Result<Vec<_>>>()?;
            return Ok(Typed::new(value.expr.in_list(list, negated), PgType::Bool));
        }
        let mut result: Option<Expr> = None;
        for item in list {
            let equal = self.compare(&BinaryOperator::Eq, value.clone(), item, false)?.expr;
            result = Some(match result {
                Some(so_far) => so_far.or(equal),
                None => equal,
            });
        }
        let result = result.unwrap_or_else(|| datafusion::prelude::lit(false));
        Ok(Typed::new(if negated { Expr::Not(Box::new(result)) } else { result }, PgType::Bool))
    }
}

/// Whether this is NULL, and nothing else.
fn is_null(expr: &ast::Expr) -> bool {
    match expr {
        ast::Expr::Nested(inner) => is_null(inner),
        ast::Expr::Value(value) => value.value == Value::Null,
        _ => false,
    }
}

/// A parameter as DataFusion carries it.
fn placeholder(name: &str, ty: Option<&PgType>) -> Expr {
    let field = ty.map(|ty| std::sync::Arc::new(ty.field(name, true)));
    Expr::Placeholder(datafusion::logical_expr::expr::Placeholder { id: name.to_string(), field })
}

/// A number as PostgreSQL types it: integer, bigint, else numeric.
pub(super) fn number(digits: &str) -> Result<Typed> {
    let clean = digits.replace('_', "");
    if let Ok(value) = clean.parse::<i32>() {
        return Ok(Typed::constant(ScalarValue::Int32(Some(value)), PgType::Int4));
    }
    if let Ok(value) = clean.parse::<i64>() {
        return Ok(Typed::constant(ScalarValue::Int64(Some(value)), PgType::Int8));
    }
    let value: Numeric = clean.parse()?;
    Ok(Typed::constant(numeric_constant(&value), PgType::Numeric(None)))
}
