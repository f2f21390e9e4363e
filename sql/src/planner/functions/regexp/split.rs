//! Matches as arrays of texts, and texts cut where a pattern matches.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, RecordBatch, StringArray};
use thalweg_dataflow::plan::{Expanded, SetFunction, Text};
use thalweg_dataflow::types::{PgType, array};
use thalweg_dataflow::{Error, Result};

use super::super::slices::{Values, sliced};
use super::super::udf::Input;
use super::matcher::{Pattern, Span};
use super::options::Options;
use super::{Call, compiled};

/// An array of these texts.
fn text_array<'a>(texts: impl IntoIterator<Item = Option<&'a str>>) -> Result<Vec<u8>> {
    let texts: ArrayRef = Arc::new(texts.into_iter().collect::<StringArray>());
    let items = array::element_bytes(&PgType::Text, &texts, false)?;
    Ok(array::of_items(items.iter().map(Vec::as_slice)))
}

/// The groups of a match, or all of it if there is none.
fn groups_of(text: &str, groups: &[Option<Span>]) -> Result<Vec<u8>> {
    let first = usize::from(groups.len() > 1);
    text_array(groups[first..].iter().map(|span| span.map(|(from, until)| &text[from..until])))
}

/// `regexp_match(text, pattern, flags)`.
pub(super) fn first_match(input: &Input<'_>) -> Result<ArrayRef> {
    let call = Call::new(input)?;
    let mut built = BinaryBuilder::new();
    for row in 0..input.rows {
        if call.is_null(row) {
            built.append_null();
            continue;
        }
        let text = call.text(0, row);
        let found = call.pattern(2, row)?.captures(text, 0)?;
        built.append_option(found.map(|groups| groups_of(text, &groups)).transpose()?);
    }
    Ok(Arc::new(built.finish()))
}

/// `regexp_split_to_array(text, pattern, flags)`.
pub(super) fn to_array(input: &Input<'_>) -> Result<ArrayRef> {
    let call = Call::new(input)?;
    let mut built = BinaryBuilder::new();
    for row in 0..input.rows {
        if call.is_null(row) {
            built.append_null();
            continue;
        }
        let text = call.text(0, row);
        let pieces = cut(&*call.pattern(2, row)?, text)?;
        built.append_value(text_array(pieces.into_iter().map(Some))?);
    }
    Ok(Arc::new(built.finish()))
}

/// The pieces between matches. One of no length counts only between two characters.
fn cut<'t>(pattern: &Pattern, text: &'t str) -> Result<Vec<&'t str>> {
    let (mut pieces, mut copied, mut ended, mut from) = (Vec::new(), 0, 0, Some(0));
    while let Some(at) = from
        && let Some(span) = pattern.find(text, at)?
    {
        if span.0 < text.len() && span.1 > ended {
            pieces.push(&text[copied..span.0]);
            copied = span.1;
        }
        ended = span.1;
        from = Pattern::behind(text, span);
    }
    pieces.push(&text[copied..]);
    Ok(pieces)
}

/// `regexp_matches(text, pattern, flags)`: a row for each match, with `g` all of them.
#[derive(Debug)]
pub(crate) struct Matches;

impl Text for Matches {
    fn text(&self) -> String {
        "regexp_matches".into()
    }
}

impl SetFunction for Matches {
    fn columns(&self) -> Vec<PgType> {
        vec![PgType::Array(&PgType::Text)]
    }

    fn expand(&self, arguments: RecordBatch) -> Box<dyn Iterator<Item = Result<Expanded>> + Send> {
        let columns = arguments.columns().to_vec();
        let matches = move |row: usize| -> Result<Values<Vec<u8>>> {
            let mut texts = Vec::with_capacity(columns.len());
            for column in &columns {
                let column = column
                    .as_string_opt::<i32>()
                    .ok_or_else(|| Error::internal("an argument of regexp_matches that is no text"))?;
                if column.is_null(row) {
                    return Ok(Box::new(std::iter::empty()));
                }
                texts.push(column.value(row));
            }
            let found = all_matches(texts[0], texts[1], texts.get(2).copied().unwrap_or_default())?;
            Ok(Box::new(found.into_iter().map(Ok)))
        };
        let column = |arrays: Vec<Vec<u8>>| Ok(vec![Arc::new(BinaryArray::from_iter_values(arrays)) as ArrayRef]);
        sliced(arguments.num_rows(), matches, column)
    }
}

fn all_matches(text: &str, pattern: &str, flags: &str) -> Result<Vec<Vec<u8>>> {
    let (options, all) = Options::parse(flags)?;
    let pattern = compiled(pattern, options)?;
    let (mut found, mut from) = (Vec::new(), Some(0));
    while let Some(at) = from
        && let Some(groups) = pattern.captures(text, at)?
    {
        found.push(groups_of(text, &groups)?);
        from = groups[0].filter(|_| all).and_then(|span| Pattern::behind(text, span));
    }
    Ok(found)
}
