//! What is wrong with a type that no column and no cast can have.

use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, SqlState};

/// Types of PostgreSQL's that are not there, besides those that are misspelt.
const SUPPORTED: &str = "Supported are boolean, smallint, integer, bigint, real, double precision, numeric up to 38 digits, text, varchar, char(n), bytea, uuid, json, jsonb, date, time, timestamp, timestamptz and interval.";

/// The error for a type as it was written: 22023 for a modifier that it cannot have, 0A000 for one of
/// PostgreSQL's, 42704 for one of nobody's.
pub(crate) fn refused_type(written: &str, known_elsewhere: &[&str]) -> Error {
    let lower = written.to_lowercase();
    let base = lower.split(['(', '[']).next().unwrap_or(&lower).trim();
    if let Some(message) = wrong_modifier(base, &lower) {
        return Error::new(SqlState::InvalidParameter, message);
    }
    if PgType::parse(base).is_some() || known_elsewhere.contains(&base) {
        return Error::new(SqlState::FeatureNotSupported, format!("type {lower} is not supported")).hint(SUPPORTED);
    }
    Error::new(SqlState::UndefinedObject, format!("type \"{lower}\" does not exist"))
}

fn wrong_modifier(base: &str, written: &str) -> Option<String> {
    let inside = written.split_once('(')?.1.split_once(')')?.0;
    let numbers: Vec<i64> = inside.split(',').map(|number| number.trim().parse().ok()).collect::<Option<_>>()?;
    let first = *numbers.first()?;
    match base {
        "numeric" | "decimal" | "dec" if !(1..=1000).contains(&first) => {
            Some(format!("NUMERIC precision {first} must be between 1 and 1000"))
        }
        "numeric" | "decimal" | "dec" => {
            let scale = numbers.get(1).filter(|scale| !(-1000..=1000).contains(*scale))?;
            Some(format!("NUMERIC scale {scale} must be between -1000 and 1000"))
        }
        "varchar" | "character varying" | "char" | "character" | "bpchar" => {
            let name = if base.contains("var") { "varchar" } else { "char" };
            match first {
                ..=0 => Some(format!("length for type {name} must be at least 1")),
                10_485_761.. => Some(format!("length for type {name} cannot exceed 10485760")),
                _ => None,
            }
        }
        _ => None,
    }
}
