//! What PostgreSQL's catalog says of each type: oids, names, sizes, categories.
//!
//! The numbers are those of pg_type in every PostgreSQL. Knows no catalog tables.

use super::PgType;

impl PgType {
    /// The oid of the type (pg_type.oid).
    pub fn oid(&self) -> u32 {
        match self {
            PgType::Bool => 16,
            PgType::Bytea => 17,
            PgType::Int8 => 20,
            PgType::Int2 => 21,
            PgType::Int4 => 23,
            PgType::Text => 25,
            PgType::Oid => 26,
            PgType::Float4 => 700,
            PgType::Float8 => 701,
            PgType::Varchar(_) => 1043,
            PgType::Date => 1082,
            PgType::Timestamp => 1114,
            PgType::Timestamptz => 1184,
            PgType::Interval => 1186,
            PgType::Numeric(_) => 1700,
            PgType::Array(element) => element.array_oid(),
            PgType::Time(_) => 1083,
            PgType::Uuid => 2950,
            PgType::Bpchar(_) => 1042,
            PgType::Json => 114,
            PgType::Jsonb => 3802,
            PgType::Record => 2249,
        }
    }

    /// The oid of the type's array (pg_type.typarray); 0 for an array.
    pub fn array_oid(&self) -> u32 {
        match self {
            PgType::Bool => 1000,
            PgType::Bytea => 1001,
            PgType::Int8 => 1016,
            PgType::Int2 => 1005,
            PgType::Int4 => 1007,
            PgType::Text => 1009,
            PgType::Oid => 1028,
            PgType::Float4 => 1021,
            PgType::Float8 => 1022,
            PgType::Varchar(_) => 1015,
            PgType::Date => 1182,
            PgType::Timestamp => 1115,
            PgType::Timestamptz => 1185,
            PgType::Interval => 1187,
            PgType::Numeric(_) => 1231,
            PgType::Array(_) => 0,
            PgType::Time(_) => 1183,
            PgType::Uuid => 2951,
            PgType::Bpchar(_) => 1014,
            PgType::Json => 199,
            PgType::Jsonb => 3807,
            PgType::Record => 2287,
        }
    }

    /// The type with this oid, without modifier.
    pub fn from_oid(oid: u32) -> Option<PgType> {
        let plain = ALL.iter().find(|data_type| data_type.oid() == oid).cloned();
        plain.or_else(|| ALL.iter().find(|element| element.array_oid() == oid).map(PgType::Array))
    }

    /// The type with this oid and modifier (pg_attribute.atttypmod); -1 is none.
    pub fn from_oid_and_typmod(oid: u32, typmod: i32) -> Option<PgType> {
        let plain = PgType::from_oid(oid)?;
        if let (PgType::Time(_), 0..=6) = (&plain, typmod) {
            return Some(PgType::Time(Some(typmod as u8)));
        }
        if typmod < 4 {
            return Some(plain);
        }
        let inner = (typmod - 4) as u32;
        Some(match plain {
            PgType::Varchar(_) => PgType::Varchar(Some(inner)),
            PgType::Bpchar(_) => PgType::Bpchar(Some(inner)),
            PgType::Numeric(_) => match (inner >> 16, inner & 0x7FF) {
                (precision @ 1..=38, scale) if scale <= precision => {
                    PgType::Numeric(Some((precision as u8, scale as i8)))
                }
                _ => PgType::Numeric(None),
            },
            other => other,
        })
    }

    /// The modifier as pg_attribute.atttypmod and RowDescription hold it; -1 is none.
    pub fn typmod(&self) -> i32 {
        match self {
            PgType::Varchar(Some(length)) | PgType::Bpchar(Some(length)) => *length as i32 + 4,
            PgType::Numeric(Some((precision, scale))) => {
                ((i32::from(*precision) << 16) | (i32::from(*scale) & 0x7FF)) + 4
            }
            PgType::Time(Some(digits)) => i32::from(*digits),
            _ => -1,
        }
    }

    /// The bytes of a value (pg_type.typlen); -1 where they vary.
    pub fn size(&self) -> i16 {
        match self {
            PgType::Bool => 1,
            PgType::Int2 => 2,
            PgType::Int4 | PgType::Float4 | PgType::Date | PgType::Oid => 4,
            PgType::Int8 | PgType::Float8 | PgType::Timestamp | PgType::Timestamptz | PgType::Time(_) => 8,
            PgType::Interval | PgType::Uuid => 16,
            PgType::Numeric(_) | PgType::Text | PgType::Varchar(_) | PgType::Bytea | PgType::Array(_) => -1,
            PgType::Bpchar(_) | PgType::Json | PgType::Jsonb | PgType::Record => -1,
        }
    }

    /// The internal name (pg_type.typname): `int8`, `timestamptz`.
    pub fn short_name(&self) -> &'static str {
        match self {
            PgType::Bool => "bool",
            PgType::Int2 => "int2",
            PgType::Int4 => "int4",
            PgType::Int8 => "int8",
            PgType::Float4 => "float4",
            PgType::Float8 => "float8",
            PgType::Numeric(_) => "numeric",
            PgType::Text => "text",
            PgType::Varchar(_) => "varchar",
            PgType::Bytea => "bytea",
            PgType::Date => "date",
            PgType::Timestamp => "timestamp",
            PgType::Timestamptz => "timestamptz",
            PgType::Interval => "interval",
            PgType::Oid => "oid",
            PgType::Time(_) => "time",
            PgType::Uuid => "uuid",
            PgType::Bpchar(_) => "bpchar",
            PgType::Json => "json",
            PgType::Jsonb => "jsonb",
            PgType::Record => "record",
            PgType::Array(element) => match element {
                PgType::Bool => "_bool",
                PgType::Int2 => "_int2",
                PgType::Int4 => "_int4",
                PgType::Int8 => "_int8",
                PgType::Float4 => "_float4",
                PgType::Float8 => "_float8",
                PgType::Numeric(_) => "_numeric",
                PgType::Text | PgType::Array(_) => "_text",
                PgType::Varchar(_) => "_varchar",
                PgType::Bytea => "_bytea",
                PgType::Date => "_date",
                PgType::Timestamp => "_timestamp",
                PgType::Timestamptz => "_timestamptz",
                PgType::Interval => "_interval",
                PgType::Oid => "_oid",
                PgType::Time(_) => "_time",
                PgType::Uuid => "_uuid",
                PgType::Bpchar(_) => "_bpchar",
                PgType::Json => "_json",
                PgType::Jsonb => "_jsonb",
                PgType::Record => "_record",
            },
        }
    }

    /// The category letter (pg_type.typcategory).
    pub fn category(&self) -> char {
        match self {
            PgType::Bool => 'B',
            PgType::Int2 | PgType::Int4 | PgType::Int8 | PgType::Float4 | PgType::Float8 => 'N',
            PgType::Numeric(_) | PgType::Oid => 'N',
            PgType::Text | PgType::Varchar(_) | PgType::Bpchar(_) => 'S',
            PgType::Bytea | PgType::Uuid | PgType::Json | PgType::Jsonb => 'U',
            PgType::Date | PgType::Timestamp | PgType::Timestamptz | PgType::Time(_) => 'D',
            PgType::Interval => 'T',
            PgType::Array(_) => 'A',
            PgType::Record => 'P',
        }
    }

    /// Whether it is the preferred type of its category (pg_type.typispreferred).
    pub fn is_preferred(&self) -> bool {
        matches!(
            self,
            PgType::Bool | PgType::Float8 | PgType::Oid | PgType::Text | PgType::Timestamptz | PgType::Interval
        )
    }

    /// The type without its modifier.
    pub fn base(&self) -> PgType {
        match self {
            PgType::Numeric(_) => PgType::Numeric(None),
            PgType::Varchar(_) => PgType::Varchar(None),
            PgType::Time(_) => PgType::Time(None),
            PgType::Bpchar(_) => PgType::Bpchar(None),
            other => other.clone(),
        }
    }
}

/// Every type that is no array, without modifiers.
pub const ALL: &[PgType] = &[
    PgType::Bool,
    PgType::Bytea,
    PgType::Int8,
    PgType::Int2,
    PgType::Int4,
    PgType::Text,
    PgType::Oid,
    PgType::Float4,
    PgType::Float8,
    PgType::Varchar(None),
    PgType::Date,
    PgType::Timestamp,
    PgType::Timestamptz,
    PgType::Interval,
    PgType::Numeric(None),
    PgType::Time(None),
    PgType::Uuid,
    PgType::Bpchar(None),
    PgType::Json,
    PgType::Jsonb,
    PgType::Record,
];
