//! Expressions: how the reference computes them, and what the engine is given.

use std::sync::Arc;

use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, IsNullExpr, Literal, NotExpr};
use datafusion::scalar::ScalarValue;

use super::value::{Row, Type, Value};

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expr {
    Column(usize),
    Literal(Value, Type),
    Add(Box<Expr>, Box<Expr>),
    /// Fails on 0. Stands nowhere but on top of a projection, so that what fails is clear.
    Divide(Box<Expr>, Box<Expr>),
    Compare(Comparison, Box<Expr>, Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Not(Box<Expr>),
    IsNull(Box<Expr>),
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    AtMost,
    Distinct,
}

/// The expression fails on the row.
#[derive(Debug)]
pub(crate) struct Fails;

impl Expr {
    /// Its value over a row.
    pub(crate) fn value(&self, row: &Row) -> Result<Value, Fails> {
        Ok(match self {
            Expr::Column(place) => row[*place].clone(),
            Expr::Literal(value, _) => value.clone(),
            Expr::Add(left, right) => match (left.value(row)?, right.value(row)?) {
                (Value::Int(left), Value::Int(right)) => Value::Int(left + right),
                _ => Value::Null,
            },
            Expr::Divide(left, right) => match (left.value(row)?, right.value(row)?) {
                (Value::Int(_), Value::Int(0)) => return Err(Fails),
                (Value::Int(left), Value::Int(right)) => Value::Int(left / right),
                _ => Value::Null,
            },
            Expr::Compare(comparison, left, right) => comparison.holds(&left.value(row)?, &right.value(row)?),
            Expr::And(left, right) => match (left.value(row)?, right.value(row)?) {
                (Value::Bool(false), _) | (_, Value::Bool(false)) => Value::Bool(false),
                (Value::Bool(true), Value::Bool(true)) => Value::Bool(true),
                _ => Value::Null,
            },
            Expr::Or(left, right) => match (left.value(row)?, right.value(row)?) {
                (Value::Bool(true), _) | (_, Value::Bool(true)) => Value::Bool(true),
                (Value::Bool(false), Value::Bool(false)) => Value::Bool(false),
                _ => Value::Null,
            },
            Expr::Not(inner) => match inner.value(row)? {
                Value::Bool(value) => Value::Bool(!value),
                _ => Value::Null,
            },
            Expr::IsNull(inner) => Value::Bool(inner.value(row)? == Value::Null),
        })
    }

    /// What the engine is given.
    pub(crate) fn lower(&self) -> Arc<dyn PhysicalExpr> {
        let binary = |left: &Expr, operator, right: &Expr| -> Arc<dyn PhysicalExpr> {
            Arc::new(BinaryExpr::new(left.lower(), operator, right.lower()))
        };
        match self {
            Expr::Column(place) => Arc::new(Column::new(&format!("c{place}"), *place)),
            Expr::Literal(value, data_type) => Arc::new(Literal::new(scalar(value, *data_type))),
            Expr::Add(left, right) => binary(left, Operator::Plus, right),
            Expr::Divide(left, right) => binary(left, Operator::Divide, right),
            Expr::Compare(comparison, left, right) => binary(left, comparison.operator(), right),
            Expr::And(left, right) => binary(left, Operator::And, right),
            Expr::Or(left, right) => binary(left, Operator::Or, right),
            Expr::Not(inner) => Arc::new(NotExpr::new(inner.lower())),
            Expr::IsNull(inner) => Arc::new(IsNullExpr::new(inner.lower())),
        }
    }
}

impl Comparison {
    fn holds(self, left: &Value, right: &Value) -> Value {
        if self == Comparison::Distinct {
            return Value::Bool(left != right);
        }
        if *left == Value::Null || *right == Value::Null {
            return Value::Null;
        }
        Value::Bool(match self {
            Comparison::Equal => left == right,
            Comparison::NotEqual | Comparison::Distinct => left != right,
            Comparison::Less => left < right,
            Comparison::AtMost => left <= right,
        })
    }

    fn operator(self) -> Operator {
        match self {
            Comparison::Equal => Operator::Eq,
            Comparison::NotEqual => Operator::NotEq,
            Comparison::Less => Operator::Lt,
            Comparison::AtMost => Operator::LtEq,
            Comparison::Distinct => Operator::IsDistinctFrom,
        }
    }
}

fn scalar(value: &Value, data_type: Type) -> ScalarValue {
    let int = match value {
        Value::Int(value) => Some(*value),
        _ => None,
    };
    match data_type {
        Type::Bool => ScalarValue::Boolean(if let Value::Bool(value) = value { Some(*value) } else { None }),
        Type::Int4 => ScalarValue::Int32(int.map(|value| value as i32)),
        Type::Int8 => ScalarValue::Int64(int.map(|value| value as i64)),
        Type::Whole | Type::Average => ScalarValue::Binary(None),
        Type::Text => ScalarValue::Utf8(if let Value::Text(value) = value { Some(value.to_string()) } else { None }),
    }
}
