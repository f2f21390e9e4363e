//! The types the oracle draws values and expressions of.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

/// A type, as far as the oracle tells types apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Bool,
    Int2,
    Int4,
    Int8,
    Float8,
    Numeric,
    Text,
    Date,
    Timestamptz,
}

pub(crate) const KINDS: [Kind; 9] = [
    Kind::Bool,
    Kind::Int2,
    Kind::Int4,
    Kind::Int8,
    Kind::Float8,
    Kind::Numeric,
    Kind::Text,
    Kind::Date,
    Kind::Timestamptz,
];

impl Kind {
    /// Its name in a cast.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Bool => "boolean",
            Kind::Int2 => "smallint",
            Kind::Int4 => "integer",
            Kind::Int8 => "bigint",
            Kind::Float8 => "double precision",
            Kind::Numeric => "numeric",
            Kind::Text => "text",
            Kind::Date => "date",
            Kind::Timestamptz => "timestamptz",
        }
    }

    /// The values drawn mostly: few, so that groups have several rows and distincts meet.
    ///
    /// Floats are small multiples of a quarter: their sums are exact in any order.
    fn common(self) -> &'static [&'static str] {
        match self {
            Kind::Bool => &["t", "f"],
            Kind::Int2 | Kind::Int4 | Kind::Int8 => &["0", "1", "2", "3", "-1", "7"],
            Kind::Float8 => &["0", "-0", "0.25", "1.5", "-2.75", "100", "3"],
            Kind::Numeric => &["0", "1", "1.5", "1.50", "-2.25", "0.01", "10", "100.00"],
            Kind::Text => &["a", "b", "A", "", "xiaomi", "nan", "view", "cart"],
            Kind::Date => &["2019-10-01", "2019-10-02", "2019-11-15", "2020-02-29"],
            Kind::Timestamptz => &[
                "2019-10-01 00:00:00+00",
                "2019-10-01 00:00:00.000001+00",
                "2019-11-15 12:34:56+00",
                "2019-10-01 00:59:59.999999+00",
            ],
        }
    }

    /// Values from the edges that no expression of the oracle runs over with.
    fn rare(self) -> &'static [&'static str] {
        match self {
            Kind::Bool => &["t"],
            Kind::Int2 => &["32767", "-32768"],
            Kind::Int4 => &["1000000", "-999999"],
            Kind::Int8 => &["9007199254740993", "-9007199254740993"],
            Kind::Float8 => &["NaN", "Infinity", "-Infinity", "1000000.25"],
            Kind::Numeric => &["NaN", "99999999.99", "-99999999.99", "0.00"],
            Kind::Text => {
                &["ä", "日本語", "a%b", "quote'd", "NULL", "\\", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"]
            }
            Kind::Date => &["0001-01-01", "9999-12-31", "1970-01-01", "1969-12-31"],
            Kind::Timestamptz => {
                &["1969-12-31 23:59:59.999999+00", "9999-12-31 23:59:59.999999+00", "0001-01-01 00:00:00+00"]
            }
        }
    }

    /// Values that make arithmetic overflow.
    fn hostile(self) -> &'static [&'static str] {
        match self {
            Kind::Int4 => &["2147483647", "-2147483648"],
            Kind::Int8 => &["9223372036854775807", "-9223372036854775808"],
            Kind::Numeric => &["123456789012345678901234567890.123456789"],
            other => other.rare(),
        }
    }

    /// A value's text; none is null.
    pub(crate) fn draw(self, random: &mut StdRng, column: &ColumnSpec) -> Option<String> {
        if random.random_bool(column.nulls) {
            return None;
        }
        let from = match random.random_range(0..100) {
            0..95 => self.common(),
            95..99 => self.rare(),
            _ if column.hostile => self.hostile(),
            _ => self.rare(),
        };
        let usual = if column.hot && random.random_bool(0.8) { from.first() } else { from.choose(random) };
        let text = (*usual.unwrap()).to_string();
        // numeric(10,2) takes no NaN of its own here and at most two decimals.
        let fits = column.declared != "numeric(10,2)" || (text != "NaN" && text.len() < 14);
        Some(if fits { text } else { "1.00".into() })
    }

    /// A literal of exactly this type.
    pub(crate) fn literal(self, random: &mut StdRng) -> String {
        let text = (*self.common().choose(random).unwrap()).replace('\'', "''");
        match self {
            Kind::Bool => {
                if text == "t" {
                    "true".into()
                } else {
                    "false".into()
                }
            }
            Kind::Int4 if !text.starts_with('-') => text,
            Kind::Text => format!("'{text}'"),
            Kind::Numeric if text.contains('.') && !text.starts_with('-') => text,
            other => format!("'{text}'::{}", other.name()),
        }
    }
}

/// A column of a source.
#[derive(Debug, Clone)]
pub(crate) struct ColumnSpec {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// The declared type.
    pub(crate) declared: String,
    /// How often it is null.
    pub(crate) nulls: f64,
    /// Whether most rows have one value in it.
    pub(crate) hot: bool,
    /// Whether it may hold values that arithmetic overflows with.
    pub(crate) hostile: bool,
}
