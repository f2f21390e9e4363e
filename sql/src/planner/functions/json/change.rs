//! Documents made of documents: put together, without some parts, with others, and printed for people.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use arrow::datatypes::Int32Type;
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::types::json::{self, Kind};
use thalweg_dataflow::{Error, Result, SqlState};

use super::super::udf::{Input, Kernel};
use super::access::{invalid, place_of};
use super::{Texts, at, strings};

type Piece<'a> = Cow<'a, str>;

/// An array in normal form.
fn array<'a>(values: impl IntoIterator<Item = Piece<'a>>) -> String {
    let mut out = String::from("[");
    for (place, value) in values.into_iter().enumerate() {
        if place > 0 {
            out.push_str(", ");
        }
        out.push_str(&value);
    }
    out.push(']');
    out
}

/// An object in normal form, from fields in their order.
fn object<'a>(fields: impl IntoIterator<Item = (Piece<'a>, Piece<'a>)>) -> String {
    let mut out = String::from("{");
    for (place, (key, value)) in fields.into_iter().enumerate() {
        if place > 0 {
            out.push_str(", ");
        }
        out.push_str(&key);
        out.push_str(": ");
        out.push_str(&value);
    }
    out.push('}');
    out
}

fn fields(document: &str) -> Vec<(Piece<'_>, Piece<'_>)> {
    json::members(document).map(|(key, value)| (key.unwrap_or_default().into(), value.into())).collect()
}

/// The order of keys, which stand in their quotes: the shorter one first.
fn key_order(one: &str, other: &str) -> Ordering {
    let text = |key| json::string_of(key).unwrap_or_default();
    let (one, other) = (text(one), text(other));
    one.len().cmp(&other.len()).then_with(|| one.cmp(&other))
}

/// The elements of an array; of any other value the value itself.
fn elements(document: &str) -> Vec<Piece<'_>> {
    match Kind::of(document) {
        Kind::Array => json::members(document).map(|(_, value)| value.into()).collect(),
        _ => vec![document.into()],
    }
}

fn joined(left: &str, right: &str) -> String {
    if Kind::of(left) != Kind::Object || Kind::of(right) != Kind::Object {
        return array(elements(left).into_iter().chain(elements(right)));
    }
    let mut all = fields(left);
    for (key, value) in fields(right) {
        match all.binary_search_by(|(own, _)| key_order(own, &key)) {
            Ok(place) => all[place].1 = value,
            Err(place) => all.insert(place, (key, value)),
        }
    }
    object(all)
}

/// A column of documents, each made of one that is not null.
fn made(input: &Input<'_>, make: impl Fn(usize, &str) -> Result<Option<String>>) -> Result<ArrayRef> {
    let documents = strings(input, 0)?;
    let mut out = StringBuilder::new();
    for row in 0..input.rows {
        out.append_option(match at(&documents, row) {
            Some(document) => make(row, document)?,
            None => None,
        });
    }
    Ok(Arc::new(out.finish()))
}

/// `||`.
pub(super) fn concat(input: &Input<'_>) -> Result<ArrayRef> {
    let others = strings(input, 1)?;
    made(input, |row, document| Ok(at(&others, row).map(|other| joined(document, other))))
}

/// `-` with a key, or several.
pub(super) fn without(input: &Input<'_>) -> Result<ArrayRef> {
    let names: Box<dyn Fn(usize) -> Result<Option<Vec<String>>>> = if input.types[1] == PgType::Text {
        let names = strings(input, 1)?;
        Box::new(move |row| Ok(at(&names, row).map(|name| vec![name.to_string()])))
    } else {
        let names = Texts::of(input, 1)?;
        Box::new(move |row| Ok(names.at(row)?.map(|names| names.into_iter().flatten().collect())))
    };
    made(input, |row, document| {
        let Some(names) = names(row)? else { return Ok(None) };
        let gone = |quoted: &str| {
            let text = json::string_of(quoted).unwrap_or_default();
            names.iter().any(|name| *name == text)
        };
        match Kind::of(document) {
            Kind::Object => Ok(Some(object(fields(document).into_iter().filter(|(key, _)| !gone(key))))),
            Kind::Array => {
                let stays = |value: &Piece<'_>| Kind::of(value) != Kind::String || !gone(value);
                Ok(Some(array(elements(document).into_iter().filter(stays))))
            }
            _ => Err(invalid("cannot delete from scalar")),
        }
    })
}

/// `-` with a place.
pub(super) fn without_place(input: &Input<'_>) -> Result<ArrayRef> {
    let places = input.array(1)?;
    let places = places.as_primitive::<Int32Type>();
    made(input, |row, document| {
        if places.is_null(row) {
            return Ok(None);
        }
        match Kind::of(document) {
            Kind::Array => {}
            Kind::Object => return Err(invalid("cannot delete from object using integer index")),
            _ => return Err(invalid("cannot delete from scalar")),
        }
        let mut values = elements(document);
        let place = match places.value(row) {
            place if place < 0 => (values.len() as i64) + i64::from(place),
            place => i64::from(place),
        };
        if let Some(place) = usize::try_from(place).ok().filter(|place| *place < values.len()) {
            values.remove(place);
        }
        Ok(Some(array(values)))
    })
}

/// What is done at the end of a path.
#[derive(Clone, Copy)]
enum Change<'a> {
    /// The value there becomes this one; `create`: it also comes where there is none.
    Set { value: &'a str, create: bool },
    /// This one comes beside the value there.
    Insert { value: &'a str, after: bool },
    /// The value there goes.
    Delete,
}

impl<'a> Change<'a> {
    /// What comes where there is nothing.
    fn created(self) -> Option<&'a str> {
        match self {
            Change::Set { value, create: true } | Change::Insert { value, .. } => Some(value),
            _ => None,
        }
    }
}

/// `#-`, `jsonb_set` and `jsonb_insert`.
pub(super) fn at_path(input: &Input<'_>) -> Result<ArrayRef> {
    let paths = Texts::of(input, 1)?;
    let values = if input.types.len() > 2 { Some(strings(input, 2)?) } else { None };
    let flags = if input.types.len() > 3 { Some(input.array(3)?) } else { None };
    let inserts = input.name == "jsonb_insert";
    made(input, |row, document| {
        let flag = match &flags {
            Some(flags) if flags.is_null(row) => return Ok(None),
            Some(flags) => flags.as_boolean().value(row),
            None => !inserts,
        };
        let value = values.as_ref().map(|values| at(values, row));
        let (Some(path), false) = (paths.at(row)?, value == Some(None)) else { return Ok(None) };
        let change = match value.flatten() {
            Some(value) if inserts => Change::Insert { value, after: flag },
            Some(value) => Change::Set { value, create: flag },
            None => Change::Delete,
        };
        applied(document, &path, change).map(Some)
    })
}

fn applied(document: &str, path: &[Option<String>], change: Change<'_>) -> Result<String> {
    if !Kind::of(document).is_container() {
        let verb = if matches!(change, Change::Delete) { "delete" } else { "set" };
        return Err(invalid(format!("cannot {verb} path in scalar")));
    }
    match path.is_empty() {
        true => Ok(document.to_string()),
        false => changed(document, path, 0, change),
    }
}

/// `jsonb_set_lax`: a new value that is null is treated as the last argument says.
pub(super) fn set_lax(input: &Input<'_>) -> Result<ArrayRef> {
    let (paths, values) = (Texts::of(input, 1)?, strings(input, 2)?);
    let flags = if input.types.len() > 3 { Some(input.array(3)?) } else { None };
    let treatments = if input.types.len() > 4 { Some(strings(input, 4)?) } else { None };
    made(input, |row, document| {
        let create = match &flags {
            Some(flags) if flags.is_null(row) => return Ok(None),
            Some(flags) => flags.as_boolean().value(row),
            None => true,
        };
        let Some(path) = paths.at(row)? else { return Ok(None) };
        let treatment = treatments.as_ref().map_or(Some("use_json_null"), |treatments| at(treatments, row));
        let change = match (at(&values, row), treatment) {
            (Some(value), Some(_)) => Change::Set { value, create },
            (None, Some("use_json_null")) => Change::Set { value: "null", create },
            (None, Some("delete_key")) => Change::Delete,
            (None, Some("return_target")) => return Ok(Some(document.to_string())),
            (None, Some("raise_exception")) => {
                let message = "JSON value must not be null";
                return Err(Error::new(SqlState::NullValueNotAllowed, message)
                    .detail("Exception was raised because null_value_treatment is \"raise_exception\".")
                    .hint("To avoid, either change the null_value_treatment argument or ensure that an SQL NULL is not passed."));
            }
            _ => {
                let message = "null_value_treatment must be \"delete_key\", \"return_target\", \"use_json_null\", or \"raise_exception\"";
                return Err(Error::new(SqlState::InvalidParameter, message));
            }
        };
        applied(document, &path, change).map(Some)
    })
}

/// A document as `array_to_json` and `row_to_json` print it for people: each part of the outermost on a line
/// of its own.
pub(crate) const LINES: Kernel = |input| {
    let flags = input.array(1)?;
    let flags = flags.as_boolean();
    made(input, |row, document| {
        if flags.is_null(row) {
            return Ok(None);
        }
        if !flags.value(row) || !Kind::of(document).is_container() {
            return Ok(Some(document.to_string()));
        }
        let is_object = Kind::of(document) == Kind::Object;
        let parts = json::members(document).map(|(key, value)| match key {
            Some(key) => format!("{key}:{value}"),
            None => value.to_string(),
        });
        let parts = parts.collect::<Vec<_>>().join(",\n ");
        Ok(Some(if is_object { format!("{{{parts}}}") } else { format!("[{parts}]") }))
    })
};

fn changed(document: &str, path: &[Option<String>], level: usize, change: Change<'_>) -> Result<String> {
    let Some(step) = &path[level] else {
        let message = format!("path element at position {} is null", level + 1);
        return Err(Error::new(SqlState::NullValueNotAllowed, message));
    };
    match Kind::of(document) {
        Kind::Object => changed_object(document, step, path, level, change),
        Kind::Array => changed_array(document, step, path, level, change),
        _ => Ok(document.to_string()),
    }
}

fn changed_object(
    document: &str,
    step: &str,
    path: &[Option<String>],
    level: usize,
    change: Change<'_>,
) -> Result<String> {
    let is_last = level + 1 == path.len();
    let mut quoted = String::new();
    json::push_quoted(step, &mut quoted);
    let mut all = fields(document);
    match all.binary_search_by(|(own, _)| key_order(own, &quoted)) {
        Ok(place) if !is_last => all[place].1 = changed(&all[place].1, path, level + 1, change)?.into(),
        Ok(place) => match change {
            Change::Set { value, .. } => all[place].1 = value.into(),
            Change::Delete => drop(all.remove(place)),
            Change::Insert { .. } => {
                return Err(invalid("cannot replace existing key")
                    .hint("Try using the function jsonb_set to replace key value."));
            }
        },
        Err(place) if is_last => {
            if let Some(value) = change.created() {
                all.insert(place, (quoted.into(), value.into()));
            }
        }
        Err(_) => {}
    }
    Ok(object(all))
}

fn changed_array(
    document: &str,
    step: &str,
    path: &[Option<String>],
    level: usize,
    change: Change<'_>,
) -> Result<String> {
    let is_last = level + 1 == path.len();
    let Some(place) = place_of(step) else {
        let message = format!("path element at position {} is not an integer: \"{step}\"", level + 1);
        return Err(Error::new(SqlState::InvalidTextRepresentation, message));
    };
    let mut all = elements(document);
    let from_start = if place < 0 { all.len() as i64 + i64::from(place) } else { i64::from(place) };
    let place = usize::try_from(from_start).ok();
    match place.filter(|place| *place < all.len()) {
        Some(place) if !is_last => all[place] = changed(&all[place], path, level + 1, change)?.into(),
        Some(place) => match change {
            Change::Set { value, .. } => all[place] = value.into(),
            Change::Insert { value, after } => all.insert(place + usize::from(after), value.into()),
            Change::Delete => drop(all.remove(place)),
        },
        // Before the first place is the start, behind the last one the end.
        None if is_last => {
            if let Some(value) = change.created() {
                let place = if from_start < 0 { 0 } else { all.len() };
                all.insert(place, value.into());
            }
        }
        None => {}
    }
    Ok(array(all))
}

/// `json_strip_nulls`, which leaves no spaces either, and `jsonb_strip_nulls`.
pub(super) fn strip_nulls(input: &Input<'_>) -> Result<ArrayRef> {
    let spaced = *input.result == PgType::Jsonb;
    made(input, |_, document| {
        let mut out = String::with_capacity(document.len());
        strip(document, spaced, &mut out)?;
        Ok(Some(out))
    })
}

fn strip(document: &str, spaced: bool, out: &mut String) -> Result<()> {
    let kind = Kind::of(document);
    match kind {
        Kind::String => {
            json::push_quoted(&json::string_of(document)?, out);
            return Ok(());
        }
        _ if !kind.is_container() => {
            out.push_str(document.trim());
            return Ok(());
        }
        _ => out.push(if kind == Kind::Object { '{' } else { '[' }),
    }
    let mut first = true;
    for (key, value) in json::members(document) {
        if key.is_some() && Kind::of(value) == Kind::Null {
            continue;
        }
        if !std::mem::take(&mut first) {
            out.push_str(if spaced { ", " } else { "," });
        }
        if let Some(key) = key {
            json::push_quoted(&json::string_of(key)?, out);
            out.push_str(if spaced { ": " } else { ":" });
        }
        strip(value, spaced, out)?;
    }
    out.push(if kind == Kind::Object { '}' } else { ']' });
    Ok(())
}

/// `jsonb_pretty`.
pub(super) fn pretty(input: &Input<'_>) -> Result<ArrayRef> {
    made(input, |_, document| {
        let mut out = String::with_capacity(document.len() * 2);
        print(document, 0, &mut out);
        Ok(Some(out))
    })
}

fn print(document: &str, depth: usize, out: &mut String) {
    let kind = Kind::of(document);
    if !kind.is_container() {
        return out.push_str(document);
    }
    let line = |depth: usize, out: &mut String| {
        out.push('\n');
        out.extend(std::iter::repeat_n("    ", depth));
    };
    out.push(if kind == Kind::Object { '{' } else { '[' });
    for (place, (key, value)) in json::members(document).enumerate() {
        if place > 0 {
            out.push(',');
        }
        line(depth + 1, out);
        if let Some(key) = key {
            out.push_str(key);
            out.push_str(": ");
        }
        print(value, depth + 1, out);
    }
    line(depth, out);
    out.push(if kind == Kind::Object { '}' } else { ']' });
}
