//! string_agg whose delimiter is not the same for all rows.
//!
//! DataFusion's has one delimiter. Each text is packed with the delimiter before it, the packed texts
//! are joined by nothing, and what comes out is unpacked: in the order of the call, in queries, views
//! and windows alike.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::Expr;
use thalweg_dataflow::types::{PgType, Zone};
use thalweg_dataflow::{Error, Result};

use super::evaluated;
use super::udf::{Input, PgFunction};
use crate::planner::contents::is_subquery;
use crate::planner::typed::literal;

/// Whether these are arguments of a string_agg that DataFusion's cannot do.
pub(crate) fn is_needed(name: &str, args: &[Expr]) -> bool {
    let varies = |inner: &Expr| matches!(inner, Expr::Column(_) | Expr::OuterReferenceColumn(..)) || is_subquery(inner);
    match args {
        [_, delimiter] if name == "string_agg" => {
            delimiter.exists(|inner| Ok(varies(inner))).is_ok_and(|varies| varies)
        }
        _ => false,
    }
}

/// The arguments over packed texts.
pub(crate) fn packed(args: Vec<Expr>) -> Vec<Expr> {
    let types = vec![PgType::Text, PgType::Text];
    let function = PgFunction::new("joined_by_pack", types, PgType::Text, Zone::default(), pack);
    let nothing = literal(ScalarValue::Utf8(Some(String::new())), &PgType::Text);
    vec![evaluated(function, args), nothing]
}

/// The texts and delimiters of a joined text.
pub(crate) fn unpacked(expr: Expr) -> Expr {
    let function = PgFunction::new("joined_by", vec![PgType::Text], PgType::Text, Zone::default(), unpack);
    evaluated(function, vec![expr])
}

/// `bytes of the delimiter:bytes of the text:delimiter text`; null for a text that is null.
fn pack(input: &Input<'_>) -> Result<ArrayRef> {
    let (texts, delimiters) = (input.array(0)?, input.array(1)?);
    let rows = texts.as_string::<i32>().iter().zip(delimiters.as_string::<i32>());
    let packed = rows.map(|(text, delimiter)| {
        let delimiter = delimiter.unwrap_or_default();
        text.map(|text| format!("{}:{}:{delimiter}{text}", delimiter.len(), text.len()))
    });
    Ok(Arc::new(packed.collect::<StringArray>()))
}

fn unpack(input: &Input<'_>) -> Result<ArrayRef> {
    let joined = input.array(0)?;
    let texts = joined.as_string::<i32>().iter().map(|joined| joined.map(unpacked_text).transpose());
    Ok(Arc::new(texts.collect::<Result<StringArray>>()?))
}

/// The first delimiter is left out.
fn unpacked_text(mut packed: &str) -> Result<String> {
    let mut text = String::with_capacity(packed.len());
    let mut is_first = true;
    while !packed.is_empty() {
        let (delimiter, value, rest) =
            first_part(packed).ok_or_else(|| Error::internal("a text that is not packed"))?;
        if !is_first {
            text.push_str(delimiter);
        }
        text.push_str(value);
        (packed, is_first) = (rest, false);
    }
    Ok(text)
}

/// The first delimiter, its text, and what comes after them.
fn first_part(packed: &str) -> Option<(&str, &str, &str)> {
    let (delimiter, packed) = packed.split_once(':')?;
    let (text, packed) = packed.split_once(':')?;
    let (delimiter, packed) = packed.split_at_checked(delimiter.parse().ok()?)?;
    let (text, packed) = packed.split_at_checked(text.parse().ok()?)?;
    Some((delimiter, text, packed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out_again() {
        let text = unpacked_text("1:1:-a2:0:+:3:4:ä:b:cd").unwrap();
        assert_eq!(text, "a+:ä:b:cd");
        assert_eq!(unpacked_text("").unwrap(), "");
        assert!(unpacked_text("9:1:x").is_err());
    }
}
