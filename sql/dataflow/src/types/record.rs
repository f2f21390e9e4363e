//! Rows as values (PostgreSQL's `record`): as bytes, as text and in the wire's binary form.
//!
//! A row is its fields one behind the other, each as the oid of its type, the tag and the bytes that
//! an array's element has, and an end. So a value tells its own types, and the bytes of rows of the same types
//! compare as PostgreSQL compares rows: field by field, null behind everything. The names of the fields
//! come behind the end, if they have any; they are no part of the value.

use arrow::array::{Array, ArrayRef, BinaryArray};

use super::array::{END, canonical_element_bytes, element_bytes, element_values, first_item};
use super::text::{TextStyle, TextWriter};
use super::{PgType, write_binary};
use crate::error::{Error, Result, SqlState};

/// One row value for each row of these columns, whose types have no modifiers. The fields have these
/// names, or f1, f2, ... if there are none.
pub fn of_columns(types: &[PgType], columns: &[ArrayRef], rows: usize, names: &[&str]) -> Result<BinaryArray> {
    let names: Vec<u8> =
        names.iter().flat_map(|name| (name.len() as u32).to_be_bytes().into_iter().chain(name.bytes())).collect();
    let fields: Vec<Vec<Vec<u8>>> =
        types.iter().zip(columns).map(|(ty, column)| element_bytes(ty, column, false)).collect::<Result<_>>()?;
    let row = |row| {
        let mut bytes = assembled(types.iter().zip(fields.iter().map(|field: &Vec<Vec<u8>>| &field[row])));
        bytes.extend(&names);
        bytes
    };
    Ok((0..rows).map(|at| Some(row(at))).collect())
}

fn assembled<'a>(fields: impl Iterator<Item = (&'a PgType, &'a Vec<u8>)>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (ty, field) in fields {
        bytes.extend(ty.oid().to_be_bytes());
        bytes.extend(field);
    }
    bytes.extend([END; 4]);
    bytes
}

/// A field of a row.
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its type, without modifier.
    pub ty: PgType,
    /// Its value, an array of one.
    pub value: ArrayRef,
}

/// The fields of a row. Errors XX000 for bytes that are none.
pub fn fields(bytes: &[u8]) -> Result<Vec<Field>> {
    let (values, mut rest) = values(bytes)?;
    let mut named = Vec::with_capacity(values.len());
    for (place, (ty, value)) in values.into_iter().enumerate() {
        let given = rest.split_first_chunk::<4>().and_then(|(length, behind)| {
            let (name, behind) = behind.split_at_checked(u32::from_be_bytes(*length) as usize)?;
            rest = behind;
            String::from_utf8(name.to_vec()).ok()
        });
        named.push(Field { name: given.unwrap_or_else(|| format!("f{}", place + 1)), ty, value });
    }
    Ok(named)
}

/// Types and values, each an array of one.
type Values = Vec<(PgType, ArrayRef)>;

/// Types and values of the fields, and what is behind them.
fn values(mut bytes: &[u8]) -> Result<(Values, &[u8])> {
    let damaged = || Error::internal("damaged bytes of a row value");
    let mut fields = Vec::new();
    loop {
        let (oid, rest) = bytes.split_first_chunk::<4>().ok_or_else(damaged)?;
        if *oid == [END; 4] {
            return Ok((fields, rest));
        }
        let ty = PgType::from_oid(u32::from_be_bytes(*oid)).ok_or_else(damaged)?;
        let item = first_item(&ty, rest).ok_or_else(damaged)?;
        fields.push((ty.clone(), element_values(&ty, [item])?));
        bytes = &rest[item.len()..];
    }
}

/// Whether each field of a row is null. Errors XX000 for bytes that are none.
pub fn nulls(bytes: &[u8]) -> Result<Vec<bool>> {
    Ok(values(bytes)?.0.iter().map(|(_, value)| value.is_null(0)).collect())
}

/// The fields of one row and those of another behind them, without names.
pub fn joined(one: &[u8], other: &[u8]) -> Vec<u8> {
    let of = |bytes| values(bytes).map_or(&[][..], |(_, behind)| &bytes[..bytes.len() - behind.len()]);
    let one = of(one);
    [&one[..one.len().saturating_sub(4)], of(other)].concat()
}

/// The same row, equal to the bytes of every row that is equal to it.
pub fn canonical(bytes: &[u8]) -> Vec<u8> {
    let canonical = || -> Result<Vec<u8>> {
        let (fields, _) = values(bytes)?;
        let items = fields.iter().map(|(ty, value)| canonical_element_bytes(ty, value));
        let items = items.collect::<Result<Vec<_>>>()?.concat();
        Ok(assembled(fields.iter().map(|(ty, _)| ty).zip(&items)))
    };
    canonical().unwrap_or_else(|_| bytes.to_vec())
}

/// Appends a row's text: `(1,"a b",)`.
pub(super) fn write(bytes: &[u8], style: &TextStyle, out: &mut String) {
    // Damaged bytes print as an empty row; state is checked where it is read.
    let (fields, _) = values(bytes).unwrap_or_default();
    let mut text = String::new();
    out.push('(');
    for (place, (ty, value)) in fields.iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        if value.is_null(0) {
            continue;
        }
        text.clear();
        if let Ok(writer) = TextWriter::new(ty, value) {
            writer.write(0, style, &mut text);
        }
        let special = |c: char| matches!(c, '"' | '\\' | '(' | ')' | ',') || c.is_ascii_whitespace() || c == '\x0b';
        if !text.is_empty() && !text.contains(special) {
            out.push_str(&text);
            continue;
        }
        out.push('"');
        for c in text.chars() {
            if matches!(c, '"' | '\\') {
                out.push(c);
            }
            out.push(c);
        }
        out.push('"');
    }
    out.push(')');
}

/// 0A000: a row's types are not known from its text or binary form.
pub(super) fn no_input() -> Error {
    Error::new(SqlState::FeatureNotSupported, "input of anonymous composite types is not implemented")
}

/// Appends a row's binary form: the number of fields, and of each its type, its length and its value
/// (record_send).
pub(super) fn write_wire(bytes: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let (fields, _) = values(bytes)?;
    out.extend((fields.len() as i32).to_be_bytes());
    for (ty, value) in &fields {
        out.extend(ty.oid().to_be_bytes());
        if value.is_null(0) {
            out.extend((-1_i32).to_be_bytes());
            continue;
        }
        let place = out.len();
        out.extend([0; 4]);
        write_binary(ty, value, 0, out)?;
        let length = (out.len() - place - 4) as i32;
        out[place..place + 4].copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int32Array, StringArray};

    use super::*;

    fn rows() -> BinaryArray {
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![Some(2), Some(1), None]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("a b"), Some(""), Some("\"")]));
        of_columns(&[PgType::Int4, PgType::Text], &[numbers, texts], 3, &["n", "t"]).unwrap()
    }

    #[test]
    fn rows_are_printed_as_postgresql_prints_them() {
        let texts: Vec<String> = rows()
            .iter()
            .flatten()
            .map(|bytes| {
                let mut out = String::new();
                write(bytes, &TextStyle::default(), &mut out);
                out
            })
            .collect();
        assert_eq!(texts, ["(2,\"a b\")", "(1,\"\")", "(,\"\"\"\")"]);
    }

    #[test]
    fn bytes_of_rows_are_in_the_order_of_rows() {
        let rows = rows();
        assert!(rows.value(1) < rows.value(0) && rows.value(0) < rows.value(2));
        assert!(rows.value(0).starts_with(&canonical(rows.value(0))));
        let names: Vec<String> = fields(rows.value(0)).unwrap().into_iter().map(|field| field.name).collect();
        assert_eq!(names, ["n", "t"]);
    }
}
