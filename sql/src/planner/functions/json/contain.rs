//! What a jsonb contains: other documents, and keys.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use thalweg_dataflow::Result;
use thalweg_dataflow::types::json::{self, Kind};

use super::super::udf::Input;
use super::access::field;
use super::{Texts, at, strings};

/// Whether one document has all that is in another.
fn holds(whole: &str, part: &str) -> Result<bool> {
    match (Kind::of(whole), Kind::of(part)) {
        (Kind::Object, Kind::Object) => {
            for (key, value) in json::members(part) {
                let name = json::string_of(key.unwrap_or_default())?;
                let inside = match field(whole, &name)? {
                    Some(own) => holds_value(own, value)?,
                    None => false,
                };
                if !inside {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Kind::Array, Kind::Array) => {
            for (_, value) in json::members(part) {
                if !holds_element(whole, value)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        // Alone, a scalar is looked for among the elements.
        (Kind::Array, kind) if !kind.is_container() => holds_element(whole, part),
        (one, other) if !one.is_container() && !other.is_container() => Ok(json::key(whole) == json::key(part)),
        _ => Ok(false),
    }
}

/// The same of values within documents, where a scalar is contained in its equal only.
fn holds_value(own: &str, value: &str) -> Result<bool> {
    match (Kind::of(own), Kind::of(value)) {
        (one, other) if one != other => Ok(false),
        (kind, _) if kind.is_container() => holds(own, value),
        _ => Ok(json::key(own) == json::key(value)),
    }
}

fn holds_element(array: &str, value: &str) -> Result<bool> {
    for (_, own) in json::members(array) {
        if holds_value(own, value)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// `@>` and `<@`.
pub(super) fn contains(input: &Input<'_>) -> Result<ArrayRef> {
    let (left, right) = (strings(input, 0)?, strings(input, 1)?);
    let (wholes, parts) = if input.op() == "@>" { (left, right) } else { (right, left) };
    let verdicts = (0..input.rows).map(|row| match (at(&wholes, row), at(&parts, row)) {
        (Some(whole), Some(part)) => holds(whole, part).map(Some),
        _ => Ok(None),
    });
    Ok(Arc::new(verdicts.collect::<Result<BooleanArray>>()?))
}

/// Whether a document has a key, or among its elements, or as itself, such a string.
fn has(document: &str, name: &str) -> Result<bool> {
    let is_it = |value: &str| {
        Ok::<_, thalweg_dataflow::Error>(Kind::of(value) == Kind::String && json::string_of(value)? == name)
    };
    match Kind::of(document) {
        Kind::Object => Ok(field(document, name)?.is_some()),
        Kind::Array => {
            for (_, value) in json::members(document) {
                if is_it(value)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        _ => is_it(document),
    }
}

/// `?`.
pub(super) fn has_key(input: &Input<'_>) -> Result<ArrayRef> {
    let (documents, names) = (strings(input, 0)?, strings(input, 1)?);
    let verdicts = (0..input.rows).map(|row| match (at(&documents, row), at(&names, row)) {
        (Some(document), Some(name)) => has(document, name).map(Some),
        _ => Ok(None),
    });
    Ok(Arc::new(verdicts.collect::<Result<BooleanArray>>()?))
}

/// `?|` and `?&`; nulls do not count.
pub(super) fn has_keys(input: &Input<'_>) -> Result<ArrayRef> {
    let (documents, names) = (strings(input, 0)?, Texts::of(input, 1)?);
    let any = input.op() == "?|";
    let verdicts = (0..input.rows).map(|row| {
        let (Some(document), Some(names)) = (at(&documents, row), names.at(row)?) else { return Ok(None) };
        for name in names.into_iter().flatten() {
            if has(document, &name)? == any {
                return Ok(Some(any));
            }
        }
        Ok(Some(!any))
    });
    Ok(Arc::new(verdicts.collect::<Result<BooleanArray>>()?))
}
