//! Typed expressions and PostgreSQL's coercion rules.
//!
//! A literal in quotes, NULL and `$n` have no type until their surroundings give them one; then a
//! literal is read by that type's input function. Says which casts are implicit and which type
//! several operands have in common. Does not know operators or functions.

use arrow::datatypes::DataType;
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::{DFSchema, ExprSchema, ScalarValue};
use datafusion::logical_expr::Expr;
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, SqlState};

/// An expression and its type.
#[derive(Debug, Clone)]
pub(crate) struct Typed {
    /// What DataFusion evaluates.
    pub(crate) expr: Expr,
    /// `None`: a literal in quotes, NULL or a parameter whose type is still open.
    pub(crate) ty: Option<PgType>,
    /// The place in the text, for errors.
    pub(crate) at: Option<usize>,
}

impl Typed {
    /// An expression of a known type.
    pub(crate) fn new(expr: Expr, ty: PgType) -> Typed {
        Typed { expr, ty: Some(ty), at: None }
    }

    /// A constant of a known type.
    pub(crate) fn constant(value: ScalarValue, ty: PgType) -> Typed {
        Typed::new(literal(value, &ty), ty)
    }

    /// A literal in quotes.
    pub(crate) fn unknown(text: Option<String>) -> Typed {
        Typed { expr: Expr::Literal(ScalarValue::Utf8(text), None), ty: None, at: None }
    }

    /// The same, with its place in the text.
    pub(crate) fn at(mut self, at: Option<usize>) -> Typed {
        self.at = self.at.or(at);
        self
    }

    /// PostgreSQL's name of the type, for messages.
    pub(crate) fn type_name(&self) -> String {
        self.ty.as_ref().map_or_else(|| "unknown".to_string(), base_name)
    }
}

/// A constant as DataFusion carries it; the type travels along where the layout does not tell it.
pub(crate) fn literal(value: ScalarValue, ty: &PgType) -> Expr {
    let metadata = match ty {
        PgType::Numeric(None) | PgType::Uuid | PgType::Bpchar(_) | PgType::Json | PgType::Jsonb | PgType::Record => {
            Some(metadata(ty))
        }
        _ => None,
    };
    Expr::Literal(value, metadata)
}

/// A type as the metadata of an expression.
pub(crate) fn metadata(ty: &PgType) -> FieldMetadata {
    FieldMetadata::new(ty.metadata().into_iter().collect())
}

/// An expression over a plan with this schema as a column of a type. One that is a column with the
/// type's marks keeps them: DataFusion works twice as long on every marked alias in another.
pub(crate) fn marked(expr: Expr, name: &str, ty: &PgType, schema: &DFSchema) -> Expr {
    match &expr {
        Expr::Column(column)
            if schema.field_from_column(column).is_ok_and(|field| *field.metadata() == ty.metadata()) =>
        {
            expr.alias(name)
        }
        _ => expr.alias_with_metadata(name, Some(metadata(ty))),
    }
}

/// The NULL of a type.
pub(crate) fn null(ty: &PgType) -> ScalarValue {
    ScalarValue::try_from(&ty.arrow()).unwrap_or(ScalarValue::Null)
}

/// The type's name without modifier, as messages show it.
pub(crate) fn base_name(ty: &PgType) -> String {
    match ty {
        PgType::Numeric(_) => "numeric".to_string(),
        PgType::Varchar(_) => "character varying".to_string(),
        PgType::Time(_) => "time without time zone".to_string(),
        PgType::Bpchar(_) => "character".to_string(),
        PgType::Array(PgType::Bpchar(_)) => "character[]".to_string(),
        other => other.name(),
    }
}

/// Whether two types differ in their modifiers at most.
pub(crate) fn same_base(one: &PgType, other: &PgType) -> bool {
    one.base() == other.base()
}

/// PostgreSQL's type categories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Category {
    /// boolean.
    Bool,
    /// Numbers, oid among them.
    Number,
    /// text, varchar, char.
    Text,
    /// date, time, timestamp, timestamptz.
    Datetime,
    /// interval.
    Timespan,
    /// Arrays.
    Array,
    /// The rest.
    User,
}

/// The category of a type.
pub(crate) fn category(ty: &PgType) -> Category {
    match ty {
        PgType::Bool => Category::Bool,
        PgType::Int2
        | PgType::Int4
        | PgType::Int8
        | PgType::Float4
        | PgType::Float8
        | PgType::Numeric(_)
        | PgType::Oid => Category::Number,
        PgType::Text | PgType::Varchar(_) | PgType::Bpchar(_) => Category::Text,
        PgType::Date | PgType::Timestamp | PgType::Timestamptz | PgType::Time(_) => Category::Datetime,
        PgType::Interval => Category::Timespan,
        PgType::Bytea | PgType::Uuid | PgType::Json | PgType::Jsonb => Category::User,
        PgType::Array(_) => Category::Array,
        PgType::Record => Category::User,
    }
}

/// The place of a number type in the order of implicit casts.
fn rank(ty: &PgType) -> Option<u8> {
    match ty {
        PgType::Int2 => Some(0),
        PgType::Int4 => Some(1),
        PgType::Int8 => Some(2),
        PgType::Numeric(_) => Some(3),
        PgType::Float4 => Some(4),
        PgType::Float8 => Some(5),
        _ => None,
    }
}

/// Whether a value of `from` becomes one of `to` without being asked.
pub(crate) fn implicit(from: &PgType, to: &PgType) -> bool {
    if same_base(from, to) {
        return true;
    }
    if let (Some(from), Some(to)) = (rank(from), rank(to)) {
        return from < to;
    }
    if let (PgType::Array(from), PgType::Array(to)) = (from, to) {
        return implicit(from, to);
    }
    matches!(
        (from, to),
        (PgType::Varchar(_) | PgType::Bpchar(_), PgType::Text)
            | (PgType::Text | PgType::Bpchar(_), PgType::Varchar(_))
            | (PgType::Text | PgType::Varchar(_), PgType::Bpchar(_))
            | (PgType::Date, PgType::Timestamp | PgType::Timestamptz)
            | (PgType::Timestamp, PgType::Timestamptz)
            | (PgType::Time(_), PgType::Interval)
            | (PgType::Int2 | PgType::Int4 | PgType::Int8, PgType::Oid)
    )
}

/// Whether `CAST` takes this pair.
pub(crate) fn castable(from: &PgType, to: &PgType) -> bool {
    use Category::{Bool, Datetime, Number, Text, Timespan};
    if implicit(from, to) || category(to) == Text || category(from) == Text {
        return true;
    }
    if let (PgType::Array(from), PgType::Array(to)) = (from, to) {
        return castable(from, to);
    }
    if let (PgType::Json, PgType::Jsonb) | (PgType::Jsonb, PgType::Json) = (from, to) {
        return true;
    }
    match (category(from), category(to)) {
        (_, Bool) if *from == PgType::Jsonb => true,
        (_, Number) if *from == PgType::Jsonb => *to != PgType::Oid,
        (Number, Number) => match (from, to) {
            (PgType::Oid, to) => matches!(to, PgType::Int4 | PgType::Int8),
            (_, PgType::Oid) => false,
            _ => true,
        },
        (Bool, Number) => *to == PgType::Int4,
        (Number, Bool) => *from == PgType::Int4,
        // Of the moments, those with a date.
        (Datetime, Datetime) => {
            !matches!(from, PgType::Time(_)) && !matches!((from, to), (PgType::Date, PgType::Time(_)))
        }
        (Timespan, Timespan) => true,
        (Timespan, Datetime) => matches!(to, PgType::Time(_)),
        _ => false,
    }
}

/// The type that all of these have in common (UNION, CASE, COALESCE, IN, ...); `construct` is named
/// in the error.
pub(crate) fn common<'a>(
    types: impl IntoIterator<Item = (Option<&'a PgType>, Option<usize>)>,
    construct: &str,
) -> Result<PgType, Error> {
    let mut result: Option<PgType> = None;
    for (ty, at) in types {
        let Some(ty) = ty else { continue };
        let Some(so_far) = &result else {
            result = Some(ty.clone());
            continue;
        };
        if so_far == ty {
            continue;
        }
        if same_base(so_far, ty) {
            result = Some(ty.base());
        } else if category(so_far) != category(ty) {
            let message = format!("{construct} types {} and {} cannot be matched", base_name(so_far), base_name(ty));
            let error = Error::new(SqlState::DatatypeMismatch, message);
            return Err(if let Some(at) = at { error.at(at) } else { error });
        } else if !so_far.is_preferred() && implicit(so_far, ty) && !implicit(ty, so_far) {
            result = Some(ty.base());
        } else {
            result = Some(so_far.base());
        }
    }
    Ok(result.unwrap_or(PgType::Text))
}

/// Whether Arrow compares values of this layout as PostgreSQL compares the type.
pub(crate) fn compares_natively(ty: &PgType) -> bool {
    if let PgType::Array(element) = ty {
        return !thalweg_dataflow::types::array::has_forms(element);
    }
    !matches!(
        ty,
        PgType::Numeric(None)
            | PgType::Float4
            | PgType::Float8
            | PgType::Interval
            | PgType::Bpchar(_)
            | PgType::Json
            | PgType::Jsonb
            | PgType::Record
    )
}

/// The layout of a type's sort key: equal bytes if and only if equal values, ordered alike.
pub(crate) fn key_layout(ty: &PgType) -> DataType {
    match ty {
        PgType::Numeric(None) | PgType::Jsonb => DataType::Binary,
        PgType::Interval => DataType::Decimal128(38, 0),
        other => other.arrow(),
    }
}
