//! The aggregate functions that the engine keeps up to date row by row.

use crate::types::PgType;

/// The aggregate functions. Result types are PostgreSQL's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Function {
    /// `count(*)` or `count(x)`: bigint.
    Count,
    /// `sum(x)`: smallint, integer -> bigint; bigint, numeric -> numeric; real -> real;
    /// double precision -> double precision.
    Sum,
    /// `avg(x)`: integers, numeric -> numeric; floats -> double precision.
    Avg,
    /// `min(x)`: the type of x.
    Min,
    /// `max(x)`: the type of x.
    Max,
    /// `bool_and(x)`, `every(x)`.
    BoolAnd,
    /// `bool_or(x)`.
    BoolOr,
    /// `approx_count_distinct(x)`: bigint. Over rows that only come.
    ApproxCountDistinct,
    /// `approx_percentile(x, fraction)` of double precision, the fraction as a double's bits. Over rows
    /// that only come.
    ApproxPercentile(u64),
}

impl Function {
    /// The type of the result for an argument of this type; `None`: there is no such function.
    pub fn result(self, argument: Option<&PgType>) -> Option<PgType> {
        match (self, argument) {
            (Function::Count, _) | (Function::ApproxCountDistinct, Some(_)) => Some(PgType::Int8),
            (_, None) => None,
            (Function::Sum, Some(PgType::Int2 | PgType::Int4)) => Some(PgType::Int8),
            (Function::Sum, Some(PgType::Int8 | PgType::Numeric(_))) => Some(PgType::Numeric(None)),
            (Function::Sum, Some(PgType::Float4)) => Some(PgType::Float4),
            (Function::Sum, Some(PgType::Float8)) => Some(PgType::Float8),
            (Function::Avg, Some(PgType::Int2 | PgType::Int4 | PgType::Int8 | PgType::Numeric(_))) => {
                Some(PgType::Numeric(None))
            }
            (Function::Avg, Some(PgType::Float4 | PgType::Float8)) => Some(PgType::Float8),
            (Function::Sum | Function::Avg, _) => None,
            // Of bytes there is none in SQL: these are sort keys.
            (Function::Min | Function::Max, Some(PgType::Bool)) => None,
            (Function::Min | Function::Max, Some(PgType::Varchar(_))) => Some(PgType::Text),
            (Function::Min | Function::Max, Some(PgType::Numeric(_))) => Some(PgType::Numeric(None)),
            (Function::Min | Function::Max, Some(other)) => Some(other.base()),
            (Function::BoolAnd | Function::BoolOr, Some(PgType::Bool)) => Some(PgType::Bool),
            (Function::BoolAnd | Function::BoolOr, _) => None,
            (Function::ApproxPercentile(_), Some(PgType::Float8)) => Some(PgType::Float8),
            (Function::ApproxPercentile(_), _) => None,
        }
    }

    /// PostgreSQL's name.
    pub fn name(self) -> &'static str {
        match self {
            Function::Count => "count",
            Function::Sum => "sum",
            Function::Avg => "avg",
            Function::Min => "min",
            Function::Max => "max",
            Function::BoolAnd => "bool_and",
            Function::BoolOr => "bool_or",
            Function::ApproxCountDistinct => "approx_count_distinct",
            Function::ApproxPercentile(_) => "approx_percentile",
        }
    }
}
