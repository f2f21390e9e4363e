//! Patterns compared with a text, one of an array or all of it: `x ~ ANY (array)`, `x LIKE ALL (array)`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use thalweg_dataflow::types::{PgType, array};
use thalweg_dataflow::{Error, Result, SqlState};

use super::super::text::strings;
use super::super::udf::Kernel;
use super::compiled;
use super::options::Options;

/// `value op ANY (array)` and `value op ALL (array)`; the function's name is the operator and the word.
pub(crate) const QUANTIFIED: Kernel = |input| {
    let (values, arrays) = (strings(input, 0)?, input.array(1)?);
    let arrays = arrays.as_binary::<i32>();
    let Some((op, word)) = input.op().split_once(' ') else {
        return Err(Error::internal("a quantified comparison without a quantifier"));
    };
    let any = word == "any";
    let verdict = |row: usize| -> Result<Option<bool>> {
        if arrays.is_null(row) {
            return Ok(None);
        }
        let patterns = array::element_values(&PgType::Text, array::items(&PgType::Text, arrays.value(row)))?;
        let mut unknown = false;
        for pattern in patterns.as_string::<i32>() {
            match pattern {
                Some(pattern) if values.is_valid(row) => {
                    if matches(op, values.value(row), pattern)? == any {
                        return Ok(Some(any));
                    }
                }
                _ => unknown = true,
            }
        }
        Ok((!unknown).then_some(!any))
    };
    Ok(Arc::new((0..input.rows).map(verdict).collect::<Result<BooleanArray>>()?) as ArrayRef)
};

fn matches(op: &str, text: &str, pattern: &str) -> Result<bool> {
    let options = Options { any_case: op.ends_with('*'), ..Options::default() };
    let found = match op.contains("~~") {
        true => compiled(&of_like(pattern)?, options)?.is_match(text),
        false => compiled(pattern, options)?.is_match(text),
    };
    Ok(found != op.starts_with('!'))
}

/// A pattern of LIKE as a regular expression.
fn of_like(pattern: &str) -> Result<String> {
    let mut regular = String::from("***:^(?:");
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        let c = match c {
            '%' => {
                regular.push_str(".*");
                continue;
            }
            '_' => {
                regular.push('.');
                continue;
            }
            '\\' => chars.next().ok_or_else(|| {
                Error::new(SqlState::InvalidEscapeSequence, "LIKE pattern must not end with escape character")
            })?,
            c => c,
        };
        if !c.is_alphanumeric() && c.is_ascii() {
            regular.push('\\');
        }
        regular.push(c);
    }
    regular.push_str(")$");
    Ok(regular)
}
