//! Documents made of values of any type.
//!
//! A value becomes what PostgreSQL's to_json makes of it: numbers and truth values themselves, dates and times as
//! XML Schema writes them, json as it is, everything else its text in quotes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use thalweg_dataflow::types::{PgType, TextStyle, TextWriter, array as arrays, json, record};
use thalweg_dataflow::{Error, Result, SqlState};

use super::super::udf::{Input, Kernel};
use super::Texts;
use super::access::invalid;

/// A column that is ready to be written as JSON.
struct Writer {
    ty: PgType,
    array: ArrayRef,
    text: TextWriter,
    style: TextStyle,
}

impl Writer {
    fn new(ty: &PgType, array: ArrayRef, style: &TextStyle) -> Result<Writer> {
        Ok(Writer { ty: ty.clone(), text: TextWriter::new(ty, &array)?, array, style: style.clone() })
    }

    /// The columns of a call's arguments.
    fn all(input: &Input<'_>) -> Result<Vec<Writer>> {
        let style = TextStyle { zone: input.zone.clone(), extra_float_digits: 1 };
        (0..input.args.len()).map(|place| Writer::new(&input.types[place], input.array(place)?, &style)).collect()
    }

    fn is_null(&self, row: usize) -> bool {
        self.array.is_null(row)
    }

    fn write(&self, row: usize, out: &mut String) -> Result<()> {
        if self.is_null(row) {
            out.push_str("null");
            return Ok(());
        }
        let mut text = String::new();
        match &self.ty {
            PgType::Array(element) => return self.write_array(element, row, out),
            PgType::Record => return self.write_row(row, out),
            PgType::Bool => out.push_str(if self.array.as_boolean().value(row) { "true" } else { "false" }),
            PgType::Json | PgType::Jsonb => self.text.write(row, &self.style, out),
            PgType::Int2 | PgType::Int4 | PgType::Int8 | PgType::Float4 | PgType::Float8 | PgType::Numeric(_) => {
                self.text.write(row, &self.style, &mut text);
                // NaN and the infinities are no numbers there.
                let is_number = text.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit());
                if is_number { out.push_str(&text) } else { json::push_quoted(&text, out) }
            }
            PgType::Timestamp | PgType::Timestamptz => {
                self.text.write(row, &self.style, &mut text);
                json::push_quoted(&xml_moment(&text, self.ty == PgType::Timestamptz), out);
            }
            _ => {
                self.text.write(row, &self.style, &mut text);
                json::push_quoted(&text, out);
            }
        }
        Ok(())
    }

    fn write_array(&self, element: &PgType, row: usize, out: &mut String) -> Result<()> {
        let bytes = self.array.as_binary::<i32>().value(row);
        let values = arrays::element_values(element, arrays::items(element, bytes))?;
        let rows = values.len();
        let writer = Writer::new(element, values, &self.style)?;
        let dimensions = arrays::dimensions(element, bytes);
        let depth = dimensions.len().max(1);
        out.extend(std::iter::repeat_n('[', depth));
        for row in 0..rows {
            if row > 0 {
                let inner = arrays::borders(&dimensions, row);
                out.extend(std::iter::repeat_n(']', inner));
                out.push(',');
                out.extend(std::iter::repeat_n('[', inner));
            }
            writer.write(row, out)?;
        }
        out.extend(std::iter::repeat_n(']', depth));
        Ok(())
    }

    fn write_row(&self, row: usize, out: &mut String) -> Result<()> {
        out.push('{');
        for (place, field) in record::fields(self.array.as_binary::<i32>().value(row))?.into_iter().enumerate() {
            if place > 0 {
                out.push(',');
            }
            json::push_quoted(&field.name, out);
            out.push(':');
            Writer::new(&field.ty, field.value, &self.style)?.write(0, out)?;
        }
        out.push('}');
        Ok(())
    }

    /// A value as a key, in quotes.
    fn write_key(&self, row: usize, out: &mut String) -> Result<()> {
        if matches!(self.ty, PgType::Array(_) | PgType::Record | PgType::Json | PgType::Jsonb) {
            return Err(invalid("key value must be scalar, not array, composite, or json"));
        }
        let mut key = String::new();
        self.write(row, &mut key)?;
        if key.starts_with('"') {
            out.push_str(&key)
        } else {
            json::push_quoted(&key, out)
        }
        Ok(())
    }
}

/// `2019-11-01 10:00:00+01` as `2019-11-01T10:00:00+01:00`.
fn xml_moment(text: &str, with_zone: bool) -> String {
    let (moment, era) = match text.strip_suffix(" BC") {
        Some(moment) => (moment, " BC"),
        None => (text, ""),
    };
    let Some((date, clock)) = moment.split_once(' ') else { return text.to_string() };
    let minutes = match clock.rfind(['+', '-']) {
        Some(sign) if with_zone && !clock[sign..].contains(':') => ":00",
        _ => "",
    };
    format!("{date}T{clock}{minutes}{era}")
}

/// A column of documents; of type jsonb they are put into normal form.
fn documents(input: &Input<'_>, write: impl Fn(usize, &mut String) -> Result<bool>) -> Result<ArrayRef> {
    let mut out = StringBuilder::new();
    let mut text = String::new();
    for row in 0..input.rows {
        text.clear();
        match (write(row, &mut text)?, input.result) {
            (false, _) => out.append_null(),
            (true, PgType::Jsonb) => out.append_value(json::normalize(&text)?),
            (true, _) => out.append_value(&text),
        }
    }
    Ok(Arc::new(out.finish()))
}

/// `to_json` and `to_jsonb`.
pub(crate) const TO_JSON: Kernel = |input| {
    let values = Writer::all(input)?;
    let value = values.first().ok_or_else(|| Error::internal("to_json of nothing"))?;
    documents(input, |row, out| {
        value.write(row, out)?;
        Ok(!value.is_null(row))
    })
};

/// `json_build_array`.
pub(super) fn array(input: &Input<'_>) -> Result<ArrayRef> {
    let values = Writer::all(input)?;
    documents(input, |row, out| {
        out.push('[');
        for (place, value) in values.iter().enumerate() {
            if place > 0 {
                out.push_str(", ");
            }
            value.write(row, out)?;
        }
        out.push(']');
        Ok(true)
    })
}

/// `json_build_object`.
pub(super) fn object(input: &Input<'_>) -> Result<ArrayRef> {
    let values = Writer::all(input)?;
    let (pairs, rest) = values.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(invalid("argument list must have even number of elements")
            .hint(format!("The arguments of {}() must consist of alternating keys and values.", input.name)));
    }
    documents(input, |row, out| {
        out.push('{');
        for (place, [key, value]) in pairs.iter().enumerate() {
            if place > 0 {
                out.push_str(", ");
            }
            if key.is_null(row) {
                let number = 2 * place + 1;
                return Err(match input.result {
                    PgType::Jsonb => invalid(format!("argument {number}: key must not be null")),
                    _ => invalid(format!("argument {number} cannot be null")).hint("Object keys should be text."),
                });
            }
            key.write_key(row, out)?;
            out.push_str(" : ");
            value.write(row, out)?;
        }
        out.push('}');
        Ok(true)
    })
}

/// `json_object`: of an array of keys and values in turn, or of one of keys and one of values.
pub(super) fn object_of_texts(input: &Input<'_>) -> Result<ArrayRef> {
    let wrong = |message: &str| Error::new(SqlState::ArraySubscript, message);
    let keys = Texts::of(input, 0)?;
    let values = if input.types.len() > 1 { Some(Texts::of(input, 1)?) } else { None };
    documents(input, |row, out| {
        let Some(keys) = keys.at(row)? else { return Ok(false) };
        let (keys, values): (Vec<_>, Vec<_>) = match &values {
            Some(values) => match values.at(row)? {
                Some(values) if values.len() != keys.len() => return Err(wrong("mismatched array dimensions")),
                Some(values) => (keys, values),
                None => return Ok(false),
            },
            None if keys.len() % 2 == 1 => return Err(wrong("array must have even number of elements")),
            None => keys.as_chunks::<2>().0.iter().map(|[key, value]| (key.clone(), value.clone())).unzip(),
        };
        out.push('{');
        for (place, (key, value)) in keys.iter().zip(values).enumerate() {
            if place > 0 {
                out.push_str(", ");
            }
            let missing = || Error::new(SqlState::NullValueNotAllowed, "null value not allowed for object key");
            json::push_quoted(key.as_deref().ok_or_else(missing)?, out);
            out.push_str(" : ");
            match value {
                Some(value) => json::push_quoted(&value, out),
                None => out.push_str("null"),
            }
        }
        out.push('}');
        Ok(true)
    })
}

/// The values that an aggregate has collected in an array, as a document: `json_agg`, `jsonb_agg`.
pub(crate) const COLLECTED: Kernel = |input| collected(input, ", ");

/// The same of arrays, which are documents themselves by now: each but a null on a line of its own.
pub(crate) const COLLECTED_ARRAYS: Kernel = |input| collected(input, ", \n ");

fn collected(input: &Input<'_>, separator: &str) -> Result<ArrayRef> {
    let arrays = input.array(0)?;
    let arrays = arrays.as_binary::<i32>();
    let element = input.types[0].element().ok_or_else(|| Error::internal("json_agg of no array"))?;
    let style = TextStyle { zone: input.zone.clone(), extra_float_digits: 1 };
    documents(input, |row, out| {
        if arrays.is_null(row) {
            return Ok(false);
        }
        let values = arrays::element_values(element, arrays::items(element, arrays.value(row)))?;
        let rows = values.len();
        let writer = Writer::new(element, values, &style)?;
        out.push('[');
        for row in 0..rows {
            if row > 0 {
                out.push_str(if writer.is_null(row) { ", " } else { separator });
            }
            writer.write(row, out)?;
        }
        out.push(']');
        Ok(true)
    })
}

/// A key and a value as a field, for an aggregate to collect: `json_object_agg`.
pub(crate) const PAIR: Kernel = |input| {
    let values = Writer::all(input)?;
    let [key, value] = values.as_slice() else { return Err(Error::internal("a field is a key and a value")) };
    documents(input, |row, out| {
        if key.is_null(row) {
            return Err(invalid("field name must not be null"));
        }
        key.write_key(row, out)?;
        out.push_str(" : ");
        value.write(row, out)?;
        Ok(true)
    })
};

/// The fields that an aggregate has collected, as a document.
pub(crate) const PAIRS: Kernel = |input| {
    let fields = Texts::of(input, 0)?;
    documents(input, |row, out| {
        let Some(fields) = fields.at(row)? else { return Ok(false) };
        let fields: Vec<String> = fields.into_iter().flatten().collect();
        out.push_str(&format!("{{ {} }}", fields.join(", ")));
        Ok(true)
    })
};
