//! The functions and operators over json and jsonb.
//!
//! They work on the text of the documents (`thalweg_dataflow::types::json`): a part of a document is a
//! piece of its text, and a changed one is put together from pieces. What a call means is chosen here by its
//! types, where they are fixed, else by the binder (`crate::planner::json`).

mod access;
mod build;
mod change;
mod contain;
pub(super) mod path;
pub(super) mod rows;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use thalweg_dataflow::types::{PgType, array};
use thalweg_dataflow::{Error, Result};

use super::Definition;
use super::arithmetic::overloads;
use super::udf::Input;

pub(crate) use build::{COLLECTED, COLLECTED_ARRAYS, PAIR, PAIRS, TO_JSON};
pub(crate) use change::LINES;

const TEXTS: PgType = PgType::Array(&PgType::Text);

/// A column of text, of whatever type it is.
fn strings(input: &Input<'_>, place: usize) -> Result<StringArray> {
    let array = input.array(place)?;
    let strings = array.as_string_opt::<i32>().cloned();
    strings.ok_or_else(|| Error::internal(format!("argument {place} has the layout {}", array.data_type())))
}

/// A value of a column, if it is not null.
fn at(column: &StringArray, row: usize) -> Option<&str> {
    column.is_valid(row).then(|| column.value(row))
}

/// The elements of text arrays, row by row.
struct Texts(ArrayRef);

impl Texts {
    fn of(input: &Input<'_>, place: usize) -> Result<Texts> {
        Ok(Texts(input.array(place)?))
    }

    /// `None`: the array is null.
    fn at(&self, row: usize) -> Result<Option<Vec<Option<String>>>> {
        let arrays = self.0.as_binary::<i32>();
        if arrays.is_null(row) {
            return Ok(None);
        }
        let values = array::element_values(&PgType::Text, array::items(&PgType::Text, arrays.value(row)))?;
        Ok(Some(values.as_string::<i32>().iter().map(|text| text.map(str::to_string)).collect()))
    }
}

/// The overloads; those with signs for names are operators.
pub(super) const FUNCTIONS: &[Definition] = overloads! {
    "->" (PgType::Json, PgType::Text) -> PgType::Json => access::part;
    "->" (PgType::Json, PgType::Int4) -> PgType::Json => access::part;
    "->" (PgType::Jsonb, PgType::Text) -> PgType::Jsonb => access::part;
    "->" (PgType::Jsonb, PgType::Int4) -> PgType::Jsonb => access::part;
    "->>" (PgType::Json, PgType::Text) -> PgType::Text => access::part;
    "->>" (PgType::Json, PgType::Int4) -> PgType::Text => access::part;
    "->>" (PgType::Jsonb, PgType::Text) -> PgType::Text => access::part;
    "->>" (PgType::Jsonb, PgType::Int4) -> PgType::Text => access::part;
    "#>" (PgType::Json, TEXTS) -> PgType::Json => access::by_path;
    "#>" (PgType::Jsonb, TEXTS) -> PgType::Jsonb => access::by_path;
    "#>>" (PgType::Json, TEXTS) -> PgType::Text => access::by_path;
    "#>>" (PgType::Jsonb, TEXTS) -> PgType::Text => access::by_path;
    "@>" (PgType::Jsonb, PgType::Jsonb) -> PgType::Bool => contain::contains;
    "<@" (PgType::Jsonb, PgType::Jsonb) -> PgType::Bool => contain::contains;
    "?" (PgType::Jsonb, PgType::Text) -> PgType::Bool => contain::has_key;
    "?|" (PgType::Jsonb, TEXTS) -> PgType::Bool => contain::has_keys;
    "?&" (PgType::Jsonb, TEXTS) -> PgType::Bool => contain::has_keys;
    "||" (PgType::Jsonb, PgType::Jsonb) -> PgType::Jsonb => change::concat;
    "-" (PgType::Jsonb, PgType::Text) -> PgType::Jsonb => change::without;
    "-" (PgType::Jsonb, PgType::Int4) -> PgType::Jsonb => change::without_place;
    "-" (PgType::Jsonb, TEXTS) -> PgType::Jsonb => change::without;
    "#-" (PgType::Jsonb, TEXTS) -> PgType::Jsonb => change::at_path;
    "jsonb_set" (PgType::Jsonb, TEXTS, PgType::Jsonb) -> PgType::Jsonb => change::at_path;
    "jsonb_set" (PgType::Jsonb, TEXTS, PgType::Jsonb, PgType::Bool) -> PgType::Jsonb => change::at_path;
    "jsonb_set_lax" (PgType::Jsonb, TEXTS, PgType::Jsonb) -> PgType::Jsonb => change::set_lax;
    "jsonb_set_lax" (PgType::Jsonb, TEXTS, PgType::Jsonb, PgType::Bool) -> PgType::Jsonb => change::set_lax;
    "jsonb_set_lax" (PgType::Jsonb, TEXTS, PgType::Jsonb, PgType::Bool, PgType::Text) -> PgType::Jsonb => change::set_lax;
    "jsonb_insert" (PgType::Jsonb, TEXTS, PgType::Jsonb) -> PgType::Jsonb => change::at_path;
    "jsonb_insert" (PgType::Jsonb, TEXTS, PgType::Jsonb, PgType::Bool) -> PgType::Jsonb => change::at_path;
    "json_strip_nulls" (PgType::Json) -> PgType::Json => change::strip_nulls;
    "jsonb_strip_nulls" (PgType::Jsonb) -> PgType::Jsonb => change::strip_nulls;
    "jsonb_pretty" (PgType::Jsonb) -> PgType::Text => change::pretty;
    "json_typeof" (PgType::Json) -> PgType::Text => access::kind;
    "jsonb_typeof" (PgType::Jsonb) -> PgType::Text => access::kind;
    "json_array_length" (PgType::Json) -> PgType::Int4 => access::array_length;
    "jsonb_array_length" (PgType::Jsonb) -> PgType::Int4 => access::array_length;
    "jsonb_path_exists" (PgType::Jsonb, PgType::Text) -> PgType::Bool => path::exists;
    "jsonb_path_exists" (PgType::Jsonb, PgType::Text, PgType::Jsonb) -> PgType::Bool => path::exists;
    "jsonb_path_exists" (PgType::Jsonb, PgType::Text, PgType::Jsonb, PgType::Bool) -> PgType::Bool => path::exists;
    "jsonb_path_match" (PgType::Jsonb, PgType::Text) -> PgType::Bool => path::matches;
    "jsonb_path_match" (PgType::Jsonb, PgType::Text, PgType::Jsonb) -> PgType::Bool => path::matches;
    "jsonb_path_match" (PgType::Jsonb, PgType::Text, PgType::Jsonb, PgType::Bool) -> PgType::Bool => path::matches;
    "jsonb_path_query_array" (PgType::Jsonb, PgType::Text) -> PgType::Jsonb => path::collected;
    "jsonb_path_query_array" (PgType::Jsonb, PgType::Text, PgType::Jsonb) -> PgType::Jsonb => path::collected;
    "jsonb_path_query_array" (PgType::Jsonb, PgType::Text, PgType::Jsonb, PgType::Bool) -> PgType::Jsonb => path::collected;
    "jsonb_path_query_first" (PgType::Jsonb, PgType::Text) -> PgType::Jsonb => path::collected;
    "jsonb_path_query_first" (PgType::Jsonb, PgType::Text, PgType::Jsonb) -> PgType::Jsonb => path::collected;
    "jsonb_path_query_first" (PgType::Jsonb, PgType::Text, PgType::Jsonb, PgType::Bool) -> PgType::Jsonb => path::collected;
    "@?" (PgType::Jsonb, PgType::Text) -> PgType::Bool => path::exists;
    "@@" (PgType::Jsonb, PgType::Text) -> PgType::Bool => path::matches;
    "json_object" (TEXTS) -> PgType::Json => build::object_of_texts;
    "json_object" (TEXTS, TEXTS) -> PgType::Json => build::object_of_texts;
    "jsonb_object" (TEXTS) -> PgType::Jsonb => build::object_of_texts;
    "jsonb_object" (TEXTS, TEXTS) -> PgType::Jsonb => build::object_of_texts;
};

/// Those that take any number of arguments of any types.
pub(super) const VARIADIC: &[Definition] = &[
    Definition { name: "json_build_object", args: &[], variadic: true, result: PgType::Json, kernel: build::object },
    Definition { name: "jsonb_build_object", args: &[], variadic: true, result: PgType::Jsonb, kernel: build::object },
    Definition { name: "json_build_array", args: &[], variadic: true, result: PgType::Json, kernel: build::array },
    Definition { name: "jsonb_build_array", args: &[], variadic: true, result: PgType::Jsonb, kernel: build::array },
];
