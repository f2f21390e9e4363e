//! Parts of documents, and what can be said of a document without looking far into it.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, StringArray, StringBuilder};
use arrow::datatypes::Int32Type;
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::types::json::{self, Kind};
use thalweg_dataflow::{Error, Result, SqlState};

use super::super::udf::Input;
use super::{Texts, at, strings};

/// The value of an object's field; of fields with one name the last one's.
pub(super) fn field<'a>(document: &'a str, name: &str) -> Result<Option<&'a str>> {
    if Kind::of(document) != Kind::Object {
        return Ok(None);
    }
    let mut found = None;
    for (key, value) in json::members(document) {
        if let Some(key) = key
            && json::string_of(key)? == name
        {
            found = Some(value);
        }
    }
    Ok(found)
}

/// An array's element; places below zero count from the end.
pub(super) fn element(document: &str, place: i32) -> Option<&str> {
    if Kind::of(document) != Kind::Array {
        return None;
    }
    let place = match usize::try_from(place) {
        Ok(place) => place,
        Err(_) => json::members(document).count().checked_sub(place.unsigned_abs() as usize)?,
    };
    json::members(document).nth(place).map(|(_, value)| value)
}

/// The place that a step of a path names.
pub(super) fn place_of(step: &str) -> Option<i32> {
    step.trim_start().parse().ok()
}

/// The value at the end of a path.
fn walk<'a>(document: &'a str, path: &[Option<String>]) -> Result<Option<&'a str>> {
    let mut value = document;
    for step in path {
        let Some(step) = step else { return Ok(None) };
        let next = match Kind::of(value) {
            Kind::Object => field(value, step)?,
            Kind::Array => place_of(step).and_then(|place| element(value, place)),
            _ => None,
        };
        match next {
            Some(next) => value = next,
            None => return Ok(None),
        }
    }
    Ok(Some(value))
}

/// A value as text: null is none, a string is what stands between its quotes.
pub(super) fn text_of(value: &str) -> Result<Option<Cow<'_, str>>> {
    match Kind::of(value) {
        Kind::Null => Ok(None),
        Kind::String => json::string_of(value).map(Some),
        _ => Ok(Some(Cow::Borrowed(value))),
    }
}

/// A column of parts; as text if the operator says so.
fn parts<'a>(input: &Input<'_>, part: impl Fn(usize) -> Result<Option<&'a str>>) -> Result<ArrayRef> {
    let mut out = StringBuilder::new();
    let as_text = *input.result == PgType::Text;
    for row in 0..input.rows {
        match part(row)? {
            Some(value) if as_text => out.append_option(text_of(value)?),
            value => out.append_option(value),
        }
    }
    Ok(Arc::new(out.finish()))
}

/// `->` and `->>` with a name or a place.
pub(super) fn part(input: &Input<'_>) -> Result<ArrayRef> {
    let documents = strings(input, 0)?;
    if input.types[1] == PgType::Int4 {
        let places = input.array(1)?;
        let places = places.as_primitive::<Int32Type>();
        return parts(input, |row| {
            let Some(document) = at(&documents, row).filter(|_| places.is_valid(row)) else { return Ok(None) };
            // A jsonb that is a scalar counts as an array of one.
            let is_scalar = input.types[0] == PgType::Jsonb && !Kind::of(document).is_container();
            Ok(match places.value(row) {
                0 | -1 if is_scalar => Some(document),
                place => element(document, place),
            })
        });
    }
    let names = strings(input, 1)?;
    parts(input, |row| match (at(&documents, row), at(&names, row)) {
        (Some(document), Some(name)) => field(document, name),
        _ => Ok(None),
    })
}

/// `#>` and `#>>`.
pub(super) fn by_path(input: &Input<'_>) -> Result<ArrayRef> {
    let (documents, paths) = (strings(input, 0)?, Texts::of(input, 1)?);
    parts(input, |row| match (at(&documents, row), paths.at(row)?) {
        (Some(document), Some(path)) => walk(document, &path),
        _ => Ok(None),
    })
}

/// `json_typeof`.
pub(super) fn kind(input: &Input<'_>) -> Result<ArrayRef> {
    let documents = strings(input, 0)?;
    let names = documents.iter().map(|document| document.map(|document| Kind::of(document).name()));
    Ok(Arc::new(names.collect::<StringArray>()))
}

/// `json_array_length`.
pub(super) fn array_length(input: &Input<'_>) -> Result<ArrayRef> {
    let length = |document: &str| match Kind::of(document) {
        Kind::Array => Ok(json::members(document).count() as i32),
        Kind::Object => Err(invalid("cannot get array length of a non-array")),
        _ => Err(invalid("cannot get array length of a scalar")),
    };
    let documents = strings(input, 0)?;
    let lengths = documents.iter().map(|document| document.map(length).transpose());
    Ok(Arc::new(lengths.collect::<Result<Int32Array>>()?))
}

/// 22023.
pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::new(SqlState::InvalidParameter, message)
}
