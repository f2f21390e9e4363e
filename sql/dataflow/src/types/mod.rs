//! The types: PostgreSQL's, each with its Arrow layout, its text and its binary form.
//!
//! One table (docs/model.md) says how each type is stored, compared and printed. Casts, COPY,
//! parameters, the CSV decoder, the wire and the engine's state all go through here, so that a
//! value means the same everywhere. Does not know SQL expressions.

pub mod array;
mod binary;
mod builder;
mod cast;
mod catalog;
pub(crate) mod codec;
pub mod datetime;
mod float;
pub mod formatting;
pub mod json;
pub mod numeric;
#[cfg(test)]
mod oracle;
mod parse;
pub mod record;
mod text;
mod uuid;

use std::collections::HashMap;

use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use serde::{Deserialize, Serialize};

pub use binary::{read_binary, write_binary};
pub use builder::{ColumnBuilder, FieldFault, numeric_at, validate_text};
pub use cast::{CastContext, assign, cast, castable};
pub use catalog::ALL;
pub use datetime::{Interval, Zone};
pub use float::{write_f32, write_f64};
pub use numeric::Numeric;
pub use parse::parse_text;
pub use text::{TextStyle, TextWriter, normalize, write_text};

/// The key in a field's metadata under which its PostgreSQL type's name stands.
pub const TYPE_KEY: &str = "thalweg.type";

/// A PostgreSQL type with its modifier.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PgType {
    /// boolean: Arrow Boolean.
    Bool,
    /// smallint: Int16.
    Int2,
    /// integer: Int32.
    Int4,
    /// bigint: Int64.
    Int8,
    /// real: Float32.
    Float4,
    /// double precision: Float64.
    Float8,
    /// numeric(p,s) with p <= 38: Decimal128(p,s). Unconstrained numeric: Binary, the
    /// order-preserving form of [`numeric::Numeric`], which keeps each value's own display scale.
    Numeric(Option<(u8, i8)>),
    /// text: Utf8.
    Text,
    /// varchar(n): Utf8.
    Varchar(Option<u32>),
    /// bytea: Binary (its metadata tells it from numeric).
    Bytea,
    /// date: Date32.
    Date,
    /// timestamp: Timestamp(Microsecond, None).
    Timestamp,
    /// timestamptz: Timestamp(Microsecond, "UTC").
    Timestamptz,
    /// interval: Interval(MonthDayNano); always whole microseconds.
    Interval,
    /// oid, regclass and the like of the catalog tables: UInt32.
    Oid,
    /// An array of any dimensions, its element one of [`ALL`]: Binary, the form of [`mod@array`].
    Array(#[serde(with = "element")] &'static PgType),
    /// time [without time zone], perhaps with digits of the second: Time64(Microsecond).
    Time(Option<u8>),
    /// uuid: Binary, its 16 bytes.
    Uuid,
    /// char(n): Utf8, filled up with spaces to n characters; bpchar, without n, as it was given. Spaces at the end
    /// are no part of the value.
    Bpchar(Option<u32>),
    /// json: Utf8, as it was written.
    Json,
    /// jsonb: Utf8, the normal form of [`mod@json`].
    Jsonb,
    /// A row as a value, of columns of any types: Binary, the form of [`mod@record`]. No column of a table is one.
    Record,
}

/// An array's element as its name.
mod element {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::PgType;

    pub(super) fn serialize<S: Serializer>(element: &&'static PgType, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&element.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<&'static PgType, D::Error> {
        let name = String::deserialize(from)?;
        let element = PgType::parse(&name).and_then(|ty| ty.as_element());
        element.ok_or_else(|| serde::de::Error::custom(format!("no element type: {name}")))
    }
}

impl PgType {
    /// The Arrow layout.
    pub fn arrow(&self) -> DataType {
        match self {
            PgType::Bool => DataType::Boolean,
            PgType::Int2 => DataType::Int16,
            PgType::Int4 => DataType::Int32,
            PgType::Int8 => DataType::Int64,
            PgType::Float4 => DataType::Float32,
            PgType::Float8 => DataType::Float64,
            PgType::Numeric(Some((precision, scale))) => DataType::Decimal128(*precision, *scale),
            PgType::Numeric(None) | PgType::Bytea | PgType::Array(_) | PgType::Uuid | PgType::Record => {
                DataType::Binary
            }
            PgType::Text | PgType::Varchar(_) | PgType::Bpchar(_) | PgType::Json | PgType::Jsonb => DataType::Utf8,
            PgType::Date => DataType::Date32,
            PgType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            PgType::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            PgType::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
            PgType::Oid => DataType::UInt32,
            PgType::Time(_) => DataType::Time64(TimeUnit::Microsecond),
        }
    }

    /// A field of this type: the Arrow layout, and the type's name in the metadata.
    pub fn field(&self, name: impl Into<String>, nullable: bool) -> Field {
        Field::new(name, self.arrow(), nullable).with_metadata(self.metadata())
    }

    /// The metadata that marks a field as this type.
    pub fn metadata(&self) -> HashMap<String, String> {
        HashMap::from([(TYPE_KEY.to_string(), self.name())])
    }

    /// The type of a field: what its metadata says if that agrees with its layout, else the one
    /// that its layout suggests (Binary without metadata is bytea; UInt64 and the like, which the
    /// engine never makes, count as the nearest that holds them).
    pub fn of(field: &Field) -> PgType {
        if let Some(name) = field.metadata().get(TYPE_KEY)
            && let Some(named) = PgType::parse(name)
            && named.arrow() == *field.data_type()
        {
            return named;
        }
        PgType::of_arrow(field.data_type())
    }

    /// The type that a layout without metadata suggests.
    pub fn of_arrow(layout: &DataType) -> PgType {
        match layout {
            DataType::Boolean => PgType::Bool,
            DataType::Int8 | DataType::Int16 | DataType::UInt8 => PgType::Int2,
            DataType::Int32 | DataType::UInt16 => PgType::Int4,
            DataType::UInt32 => PgType::Oid,
            DataType::Int64 | DataType::UInt64 => PgType::Int8,
            DataType::Float16 | DataType::Float32 => PgType::Float4,
            DataType::Float64 => PgType::Float8,
            DataType::Decimal128(precision, scale) => PgType::Numeric(Some((*precision, *scale))),
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                PgType::Bytea
            }
            DataType::Date32 | DataType::Date64 => PgType::Date,
            DataType::Time32(_) | DataType::Time64(_) => PgType::Time(None),
            DataType::Timestamp(_, None) => PgType::Timestamp,
            DataType::Timestamp(_, Some(_)) => PgType::Timestamptz,
            DataType::Interval(_) | DataType::Duration(_) => PgType::Interval,
            _ => PgType::Text,
        }
    }

    /// What `format_type` prints: `character varying(20)`, `timestamp with time zone`.
    pub fn name(&self) -> String {
        match self {
            PgType::Bool => "boolean".into(),
            PgType::Int2 => "smallint".into(),
            PgType::Int4 => "integer".into(),
            PgType::Int8 => "bigint".into(),
            PgType::Float4 => "real".into(),
            PgType::Float8 => "double precision".into(),
            PgType::Numeric(None) => "numeric".into(),
            PgType::Numeric(Some((precision, scale))) => format!("numeric({precision},{scale})"),
            PgType::Text => "text".into(),
            PgType::Varchar(None) => "character varying".into(),
            PgType::Varchar(Some(length)) => format!("character varying({length})"),
            PgType::Bytea => "bytea".into(),
            PgType::Date => "date".into(),
            PgType::Timestamp => "timestamp without time zone".into(),
            PgType::Timestamptz => "timestamp with time zone".into(),
            PgType::Interval => "interval".into(),
            PgType::Oid => "oid".into(),
            PgType::Array(element) => format!("{}[]", element.name()),
            PgType::Time(None) => "time without time zone".into(),
            PgType::Time(Some(digits)) => format!("time({digits}) without time zone"),
            PgType::Uuid => "uuid".into(),
            PgType::Bpchar(None) => "bpchar".into(),
            PgType::Bpchar(Some(length)) => format!("character({length})"),
            PgType::Json => "json".into(),
            PgType::Jsonb => "jsonb".into(),
            PgType::Record => "record".into(),
        }
    }

    /// The same type, without modifier, as an array's element; `None` for an array.
    pub fn as_element(&self) -> Option<&'static PgType> {
        let base = self.base();
        ALL.iter().find(|known| **known == base)
    }

    /// The array of this type; of an array the array itself, as PostgreSQL has it.
    pub fn array(&self) -> PgType {
        self.as_element().map_or_else(|| self.clone(), PgType::Array)
    }

    /// The element's type, if it is an array.
    pub fn element(&self) -> Option<&'static PgType> {
        match self {
            PgType::Array(element) => Some(element),
            _ => None,
        }
    }

    /// The type with this name; every spelling of PostgreSQL's for it (`int8`, `timestamptz`,
    /// `numeric(10,2)`, `varchar(20)`, `decimal`), any case.
    pub fn parse(name: &str) -> Option<PgType> {
        let lower = name.trim().to_ascii_lowercase();
        // How many dimensions are written says nothing, as in PostgreSQL.
        if let Some((element, bounds)) = lower.split_once('[') {
            let bound = |c: char| c.is_ascii_digit() || matches!(c, '[' | ']' | ' ');
            let element = PgType::parse(element)?.as_element()?;
            return (bounds.ends_with(']') && bounds.chars().all(bound)).then_some(PgType::Array(element));
        }
        let (base, modifiers) = match lower.split_once('(') {
            Some((base, rest)) => (
                base.trim().to_string(),
                rest.split_once(')').map(|(inside, after)| (inside.to_string(), after.trim().to_string())),
            ),
            None => (lower, None),
        };
        let numbers: Vec<i64> = match &modifiers {
            Some((inside, _)) => inside.split(',').map(|number| number.trim().parse().ok()).collect::<Option<_>>()?,
            None => Vec::new(),
        };
        let full = match &modifiers {
            Some((_, after)) if !after.is_empty() => format!("{base} {after}"),
            _ => base,
        };
        Some(match (full.as_str(), numbers.as_slice()) {
            ("boolean" | "bool", []) => PgType::Bool,
            ("smallint" | "int2", []) => PgType::Int2,
            ("integer" | "int" | "int4", []) => PgType::Int4,
            ("bigint" | "int8", []) => PgType::Int8,
            ("real" | "float4", []) => PgType::Float4,
            ("double precision" | "float8" | "float" | "double", []) | ("float", [25..=53]) => PgType::Float8,
            ("float", [1..=24]) => PgType::Float4,
            ("numeric" | "decimal" | "dec", []) => PgType::Numeric(None),
            ("numeric" | "decimal" | "dec", [precision @ 1..=38]) => PgType::Numeric(Some((*precision as u8, 0))),
            ("numeric" | "decimal" | "dec", [precision @ 1..=38, scale]) if *scale >= 0 && scale <= precision => {
                PgType::Numeric(Some((*precision as u8, *scale as i8)))
            }
            ("text", []) => PgType::Text,
            ("character varying" | "varchar", []) => PgType::Varchar(None),
            ("character varying" | "varchar", [length @ 1..=10_485_760]) => PgType::Varchar(Some(*length as u32)),
            ("bytea", []) => PgType::Bytea,
            ("date", []) => PgType::Date,
            // Six digits of the second are all of them.
            ("timestamp" | "timestamp without time zone", [] | [6]) => PgType::Timestamp,
            ("timestamptz" | "timestamp with time zone", [] | [6]) => PgType::Timestamptz,
            ("interval", []) => PgType::Interval,
            ("oid", []) => PgType::Oid,
            ("time" | "time without time zone", []) => PgType::Time(None),
            // More digits than there are mean all of them, as in PostgreSQL.
            ("time" | "time without time zone", [digits]) if *digits >= 0 => PgType::Time(Some((*digits).min(6) as u8)),
            ("uuid", []) => PgType::Uuid,
            ("bpchar", []) => PgType::Bpchar(None),
            ("character" | "char", []) => PgType::Bpchar(Some(1)),
            ("character" | "char" | "bpchar", [length @ 1..=10_485_760]) => PgType::Bpchar(Some(*length as u32)),
            ("json", []) => PgType::Json,
            ("jsonb", []) => PgType::Jsonb,
            ("record", []) => PgType::Record,
            _ => return None,
        })
    }
}
