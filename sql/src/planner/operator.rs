//! Operators: which one PostgreSQL means for these operand types, and what evaluates it.
//!
//! Comparisons become DataFusion's own over sort keys (see [`functions::key`]), so that the
//! optimiser understands them and joins find their keys; arithmetic becomes our functions, which
//! check for overflow.

use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::sql::sqlparser::ast::{self, BinaryOperator};
use thalweg_dataflow::types::numeric::Numeric;
use thalweg_dataflow::types::{PgType, Zone};
use thalweg_dataflow::{Error, Result, SqlState};

use super::binder::{Binder, Env};
use super::expr::Cast;
use super::functions;
use super::functions::udf::PgFunction;
use super::like::is_text;
use super::precedence;
use super::typed::{Category, Typed, category};

impl Binder<'_> {
    /// `left op right`.
    pub(crate) fn binary(
        &self,
        env: &Env<'_>,
        left: &ast::Expr,
        op: &BinaryOperator,
        right: &ast::Expr,
    ) -> Result<Typed> {
        use BinaryOperator as B;
        match op {
            B::And | B::Or => {
                let (name, operator) = if *op == B::And { ("AND", Operator::And) } else { ("OR", Operator::Or) };
                let operands = chain(left, op, right);
                let conditions = operands.into_iter().map(|operand| self.condition(env, operand, name));
                Ok(Typed::new(joined(conditions.collect::<Result<Vec<_>>>()?, operator), PgType::Bool))
            }
            B::PGCustomBinaryOperator(parts) => match parts.last().and_then(|name| named_operator(name)) {
                Some(op) => self.binary(env, left, &op, right),
                None => Err(Error::unsupported(format!("the operator {}", parts.join(".")))),
            },
            B::Overlaps => self.overlaps(env, left, right),
            _ => match self.rows_compared(env, left, op, right, false)? {
                Some(result) => Ok(result),
                None => self.operate(op, self.expr(env, left)?, self.expr(env, right)?),
            },
        }
    }

    /// `(begin, end) OVERLAPS (begin, end)`; an end may be an interval from the beginning on.
    fn overlaps(&self, env: &Env<'_>, left: &ast::Expr, right: &ast::Expr) -> Result<Typed> {
        let mut ends = Vec::with_capacity(4);
        for (side, which) in [(left, "left"), (right, "right")] {
            let ast::Expr::Tuple(items) = side else {
                return Err(Error::new(SqlState::SyntaxError, "syntax error at or near \"overlaps\""));
            };
            let [begin, end] = items.as_slice() else {
                let message = format!("wrong number of parameters on {which} side of OVERLAPS expression");
                return Err(Error::new(SqlState::SyntaxError, message));
            };
            let (begin, mut end) = (self.expr(env, begin)?, self.expr(env, end)?);
            if end.ty == Some(PgType::Interval) {
                end = self.operate(&BinaryOperator::Plus, begin.clone(), end)?;
            }
            ends.extend([begin, end]);
        }
        self.call_by_name("overlaps", ends)
    }

    /// `left op right` over bound operands.
    pub(crate) fn operate(&self, op: &BinaryOperator, left: Typed, right: Typed) -> Result<Typed> {
        let names = (left.type_name(), right.type_name());
        self.operated(op, left, right).map_err(|error| of_the_operator(error, op, &names.0, &names.1))
    }

    fn operated(&self, op: &BinaryOperator, left: Typed, right: Typed) -> Result<Typed> {
        use BinaryOperator as B;
        if let Some(result) = self.json_operator(op, &left, &right)? {
            return Ok(result);
        }
        if let Some(result) = self.array_operator(op, &left, &right)? {
            return Ok(result);
        }
        match op {
            B::Eq | B::NotEq | B::Lt | B::LtEq | B::Gt | B::GtEq => self.compare(op, left, right, false),
            B::Plus | B::Minus | B::Multiply | B::Divide | B::Modulo => self.arithmetic(op, left, right),
            B::PGExp => self.call_by_name("power", vec![left, right]),
            B::BitwiseAnd | B::BitwiseOr | B::PGBitwiseXor | B::PGBitwiseShiftLeft | B::PGBitwiseShiftRight => {
                self.bitwise(op, left, right)
            }
            B::StringConcat => self.concat(left, right),
            B::PGRegexMatch | B::PGRegexIMatch | B::PGRegexNotMatch | B::PGRegexNotIMatch => {
                self.text_match(&op.to_string(), left, right)
            }
            B::PGLikeMatch => self.like_typed(left, right, false, false),
            B::PGNotLikeMatch => self.like_typed(left, right, true, false),
            B::PGILikeMatch => self.like_typed(left, right, false, true),
            B::PGNotILikeMatch => self.like_typed(left, right, true, true),
            B::AtArrow | B::ArrowAt | B::PGOverlap => Err(no_operator(&op.to_string(), &left, &right)),
            B::PGStartsWith => self.call_by_name("starts_with", vec![left, right]),
            // PostgreSQL has it for none of the types that are there.
            other => Err(no_operator(&other.to_string(), &left, &right)),
        }
    }

    /// A comparison; `distinct`: `IS [NOT] DISTINCT FROM`, where nulls are values.
    pub(crate) fn compare(&self, op: &BinaryOperator, left: Typed, right: Typed, distinct: bool) -> Result<Typed> {
        let operator = match (op, distinct) {
            (BinaryOperator::Eq, true) => Operator::IsNotDistinctFrom,
            (_, true) => Operator::IsDistinctFrom,
            (BinaryOperator::Eq, _) => Operator::Eq,
            (BinaryOperator::NotEq, _) => Operator::NotEq,
            (BinaryOperator::Lt, _) => Operator::Lt,
            (BinaryOperator::LtEq, _) => Operator::LtEq,
            (BinaryOperator::Gt, _) => Operator::Gt,
            _ => Operator::GtEq,
        };
        let (left, right) = self.reg_operands(left, right)?;
        if let Some((left, right)) = decimal_fast_path(&left, &right) {
            return Ok(Typed::new(binary(left, operator, right), PgType::Bool));
        }
        let shown = if distinct { &BinaryOperator::Eq } else { op };
        let (left, right) = self.comparable(shown, left, right)?;
        Ok(Typed::new(binary(left, operator, right), PgType::Bool))
    }

    /// Two values as keys of the type in which they are compared.
    pub(crate) fn comparable(&self, op: &BinaryOperator, left: Typed, right: Typed) -> Result<(Expr, Expr)> {
        let ty = match (&left.ty, &right.ty) {
            (None, None) => PgType::Text,
            (Some(PgType::Json), None) | (None, Some(PgType::Json)) => {
                return Err(no_operator(&op.to_string(), &left, &right));
            }
            (Some(known), None) | (None, Some(known)) => match known {
                PgType::Varchar(_) => PgType::Text,
                PgType::Numeric(_) => PgType::Numeric(None),
                other => other.base(),
            },
            (Some(one), Some(other)) => {
                comparison_type(one, other).ok_or_else(|| no_operator(&op.to_string(), &left, &right))?
            }
        };
        let left = self.coerce(left, &ty, Cast::Explicit)?;
        let right = self.coerce(right, &ty, Cast::Explicit)?;
        Ok((functions::key(left.expr, &ty)?, functions::key(right.expr, &ty)?))
    }

    fn arithmetic(&self, op: &BinaryOperator, left: Typed, right: Typed) -> Result<Typed> {
        let symbol = op.to_string();
        let (left_type, right_type) = match (&left.ty, &right.ty) {
            (None, None) => {
                let message = format!("operator is not unique: unknown {symbol} unknown");
                return Err(Error::new(SqlState::AmbiguousFunction, message).hint(NOT_UNIQUE));
            }
            (Some(one), None) => (one.clone(), unknown_operand(op, one, false)),
            (None, Some(other)) => (unknown_operand(op, other, true), other.clone()),
            (Some(PgType::Time(_)), Some(PgType::Time(_))) if *op == BinaryOperator::Plus => {
                let name = left.type_name();
                return Err(Error::new(
                    SqlState::AmbiguousFunction,
                    format!("operator is not unique: {name} + {name}"),
                )
                .hint(NOT_UNIQUE));
            }
            (Some(one), Some(other)) => (one.clone(), other.clone()),
        };
        let Some((left_type, right_type, result)) = functions::arithmetic_types(&symbol, &left_type, &right_type)
        else {
            return Err(no_operator(&symbol, &left, &right));
        };
        let left = self.coerce(left, &left_type, Cast::Explicit)?;
        let right = self.coerce(right, &right_type, Cast::Explicit)?;
        let expr = functions::arithmetic(
            &symbol,
            (left.expr, &left_type),
            (right.expr, &right_type),
            &result,
            &self.settings.zone,
        )?;
        Ok(Typed::new(expr, result))
    }

    fn bitwise(&self, op: &BinaryOperator, left: Typed, right: Typed) -> Result<Typed> {
        let symbol = match op {
            BinaryOperator::PGBitwiseXor => "#".to_string(),
            other => other.to_string(),
        };
        let integer = |ty: &Option<PgType>| matches!(ty, None | Some(PgType::Int2 | PgType::Int4 | PgType::Int8));
        if !integer(&left.ty) || !integer(&right.ty) {
            return Err(no_operator(&symbol, &left, &right));
        }
        let left = match (&left.ty, &right.ty) {
            (None, None) => {
                let message = format!("operator is not unique: unknown {symbol} unknown");
                return Err(Error::new(SqlState::AmbiguousFunction, message).hint(NOT_UNIQUE));
            }
            (None, Some(PgType::Int4)) => self.coerce(left, &PgType::Int4, Cast::Implicit)?,
            _ => left,
        };
        let name = match symbol.as_str() {
            "&" => "bit_and_op",
            "|" => "bit_or_op",
            "#" => "bit_xor_op",
            "<<" => "bit_shift_left",
            _ => "bit_shift_right",
        };
        self.call_by_name(name, vec![left, right])
    }

    fn concat(&self, left: Typed, right: Typed) -> Result<Typed> {
        if left.ty == Some(PgType::Bytea) && matches!(right.ty, None | Some(PgType::Bytea))
            || right.ty == Some(PgType::Bytea) && left.ty.is_none()
        {
            return self.call_by_name("byteacat", vec![left, right]);
        }
        let text = |typed: &Typed| typed.ty.as_ref().is_none_or(|ty| category(ty) == Category::Text);
        if !text(&left) && !text(&right) {
            return Err(no_operator("||", &left, &right));
        }
        let left = self.coerce(left, &PgType::Text, Cast::Explicit)?;
        let right = self.coerce(right, &PgType::Text, Cast::Explicit)?;
        self.call_by_name("textcat", vec![left, right])
    }

    /// A value as text that keeps the spaces of a char(n), as patterns see it.
    pub(super) fn with_spaces(&self, typed: Typed) -> Result<Typed> {
        let Some(ty @ PgType::Bpchar(_)) = &typed.ty else {
            return self.coerce(typed, &PgType::Text, Cast::Implicit);
        };
        let function =
            PgFunction::new("padded", vec![ty.clone()], PgType::Text, Zone::default(), |input| input.array(0));
        Ok(Typed { expr: functions::evaluated(function, vec![typed.expr]), ty: Some(PgType::Text), at: typed.at })
    }

    /// `left ~ right` and its kin: regular expressions.
    fn text_match(&self, symbol: &str, left: Typed, right: Typed) -> Result<Typed> {
        if !is_text(&left) || !is_text(&right) {
            return Err(no_operator(symbol, &left, &right));
        }
        let left = self.with_spaces(left)?;
        self.call_by_name(symbol, vec![left, right])
    }

    /// `inner [NOT] SIMILAR TO pattern [ESCAPE c]`.
    pub(crate) fn similar(
        &self,
        env: &Env<'_>,
        inner: &ast::Expr,
        pattern: &ast::Expr,
        escape: Option<&ast::ValueWithSpan>,
        negated: bool,
    ) -> Result<Typed> {
        let (left, right) = (self.expr(env, inner)?, self.expr(env, pattern)?);
        let escape = escape.and_then(|escape| escape.value.clone().into_string());
        let escape = escape.map(|escape| Typed::unknown(Some(escape)));
        let pattern = self.call_by_name("similar_to_escape", [right].into_iter().chain(escape).collect())?;
        self.text_match(if negated { "!~" } else { "~" }, left, pattern)
    }
}

const NO_OPERATOR: &str =
    "No operator matches the given name and argument types. You might need to add explicit type casts.";

pub(super) const NOT_UNIQUE: &str =
    "Could not choose a best candidate operator. You might need to add explicit type casts.";

/// Conditions joined in their order by fewer operators in a row stay one below the other.
const FEW: usize = 16;

/// The operands of AND, or of OR, in a row: what is written in a row comes as a tree as deep as it is
/// long.
fn chain<'e>(left: &'e ast::Expr, op: &BinaryOperator, right: &'e ast::Expr) -> Vec<&'e ast::Expr> {
    let (mut operands, mut first) = (vec![right], left);
    while let ast::Expr::BinaryOp { left, op: inner, right } = first
        && inner == op
        && precedence::settled(first).is_none()
    {
        operands.push(right);
        first = left;
    }
    operands.push(first);
    operands.reverse();
    operands
}

/// Conditions joined by AND or OR: many of them as a tree that is not deep.
fn joined(mut conditions: Vec<Expr>, op: Operator) -> Expr {
    if conditions.len() <= FEW {
        let all = conditions.into_iter().reduce(|left, right| binary(left, op, right));
        return all.unwrap_or_else(|| datafusion::prelude::lit(op == Operator::And));
    }
    let right = conditions.split_off(conditions.len() / 2);
    binary(joined(conditions, op), op, joined(right, op))
}

fn binary(left: Expr, op: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr { left: Box::new(left), op, right: Box::new(right) })
}

/// The error for an operator that nobody knows before its operand.
pub(super) fn no_operator(symbol: &str, left: &Typed, right: &Typed) -> Error {
    let message = format!("operator does not exist: {} {symbol} {}", left.type_name(), right.type_name());
    Error::new(SqlState::UndefinedFunction, message).hint(NO_OPERATOR)
}

/// What is wrong with the function that stands for an operator, said of the operator.
fn of_the_operator(error: Error, op: &BinaryOperator, left: &str, right: &str) -> Error {
    if !error.message().starts_with("function ") {
        return error;
    }
    match error.state() {
        SqlState::UndefinedFunction => {
            Error::new(SqlState::UndefinedFunction, format!("operator does not exist: {left} {op} {right}"))
                .hint(NO_OPERATOR)
        }
        SqlState::AmbiguousFunction => {
            Error::new(SqlState::AmbiguousFunction, format!("operator is not unique: {left} {op} {right}"))
                .hint(NOT_UNIQUE)
        }
        _ => error,
    }
}

pub(super) fn named_operator(name: &str) -> Option<BinaryOperator> {
    use BinaryOperator as B;
    Some(match name {
        "=" => B::Eq,
        "<>" | "!=" => B::NotEq,
        "<" => B::Lt,
        "<=" => B::LtEq,
        ">" => B::Gt,
        ">=" => B::GtEq,
        "+" => B::Plus,
        "-" => B::Minus,
        "*" => B::Multiply,
        "/" => B::Divide,
        "%" => B::Modulo,
        "^" => B::PGExp,
        "&" => B::BitwiseAnd,
        "|" => B::BitwiseOr,
        "#" => B::PGBitwiseXor,
        "<<" => B::PGBitwiseShiftLeft,
        ">>" => B::PGBitwiseShiftRight,
        "||" => B::StringConcat,
        "~" => B::PGRegexMatch,
        "~*" => B::PGRegexIMatch,
        "!~" => B::PGRegexNotMatch,
        "!~*" => B::PGRegexNotIMatch,
        "~~" => B::PGLikeMatch,
        "!~~" => B::PGNotLikeMatch,
        "~~*" => B::PGILikeMatch,
        "!~~*" => B::PGNotILikeMatch,
        "@>" => B::AtArrow,
        "<@" => B::ArrowAt,
        "&&" => B::PGOverlap,
        "^@" => B::PGStartsWith,
        "->" => B::Arrow,
        "->>" => B::LongArrow,
        "#>" => B::HashArrow,
        "#>>" => B::HashLongArrow,
        "#-" => B::HashMinus,
        "?" => B::Question,
        "?|" => B::QuestionPipe,
        "?&" => B::QuestionAnd,
        "@?" => B::AtQuestion,
        "@@" => B::AtAt,
        _ => return None,
    })
}

/// What a literal in quotes beside a `known` operand of arithmetic is read as.
fn unknown_operand(op: &BinaryOperator, known: &PgType, literal_is_left: bool) -> PgType {
    match (op, known) {
        (BinaryOperator::Plus, PgType::Date | PgType::Timestamp | PgType::Timestamptz | PgType::Time(_)) => {
            PgType::Interval
        }
        (BinaryOperator::Multiply | BinaryOperator::Divide, PgType::Interval)
            if !literal_is_left || *op == BinaryOperator::Multiply =>
        {
            PgType::Float8
        }
        (_, PgType::Numeric(_)) => PgType::Numeric(None),
        (_, other) => other.clone(),
    }
}

/// The type in which two values of different types are compared.
pub(super) fn comparison_type(one: &PgType, other: &PgType) -> Option<PgType> {
    use PgType::{Date, Float4, Float8, Int2, Int4, Int8, Interval, Numeric, Oid, Time, Timestamp, Timestamptz};
    if one == other {
        return Some(match one {
            PgType::Varchar(_) => PgType::Text,
            PgType::Json => return None,
            PgType::Array(PgType::Json) => return None,
            other => other.base(),
        });
    }
    Some(match (one, other) {
        (Float4, Float4) => Float4,
        (Float4 | Float8, Int2 | Int4 | Int8 | Numeric(_) | Float4 | Float8)
        | (Int2 | Int4 | Int8 | Numeric(_), Float4 | Float8) => Float8,
        (Numeric(_), Int2 | Int4 | Int8 | Numeric(_)) | (Int2 | Int4 | Int8, Numeric(_)) => Numeric(None),
        (Int8 | Oid, Int2 | Int4 | Int8 | Oid) | (Int2 | Int4, Int8 | Oid) => Int8,
        (Int2 | Int4, Int2 | Int4) => Int4,
        (Timestamptz, Date | Timestamp) | (Date | Timestamp, Timestamptz) => Timestamptz,
        (Timestamp, Date) | (Date, Timestamp) => Timestamp,
        (Time(_), Time(_)) => Time(None),
        (Time(_), Interval) | (Interval, Time(_)) => Interval,
        (PgType::Array(one), PgType::Array(other)) => comparison_type(one, other)?.array(),
        (PgType::Bpchar(_), PgType::Bpchar(_) | PgType::Varchar(_)) | (PgType::Varchar(_), PgType::Bpchar(_)) => {
            PgType::Bpchar(None)
        }
        (one, other) if category(one) == Category::Text && category(other) == Category::Text => PgType::Text,
        _ => return None,
    })
}

/// A numeric(p,s) beside a constant that it can hold: compared as integers.
fn decimal_fast_path(left: &Typed, right: &Typed) -> Option<(Expr, Expr)> {
    fn constant(typed: &Typed, precision: u8, scale: i8) -> Option<Expr> {
        let Expr::Literal(value, _) = &typed.expr else { return None };
        let number = functions::constant_as_numeric(value, typed.ty.as_ref())?;
        let rounded: Numeric = number.round(i32::from(scale)).ok()?;
        if rounded.sub(&number).ok()?.is_zero() {
            let unscaled = rounded.to_decimal128(precision, scale).ok()?;
            let value = datafusion::common::ScalarValue::Decimal128(Some(unscaled), precision, scale);
            return Some(Expr::Literal(value, None));
        }
        None
    }
    match (&left.ty, &right.ty) {
        (Some(PgType::Numeric(Some((precision, scale)))), _) => {
            Some((left.expr.clone(), constant(right, *precision, *scale)?))
        }
        (_, Some(PgType::Numeric(Some((precision, scale))))) => {
            Some((constant(left, *precision, *scale)?, right.expr.clone()))
        }
        _ => None,
    }
}
