//! The patterns of SIMILAR TO as regular expressions.

use arrow::array::{Array, ArrayRef};
use thalweg_dataflow::{Error, Result, SqlState};

use super::super::text::{build, strings};
use super::super::udf::Input;

/// `similar_to_escape(pattern [, escape])`.
pub(super) fn to_regular(input: &Input<'_>) -> Result<ArrayRef> {
    let patterns = strings(input, 0)?;
    let escapes = if input.args.len() == 2 { Some(strings(input, 1)?) } else { None };
    build(
        input.rows,
        |row| patterns.is_null(row) || escapes.as_ref().is_some_and(|escapes| escapes.is_null(row)),
        |row, out| {
            let mut escape = escapes.as_ref().map_or("\\", |escapes| escapes.value(row)).chars();
            match (escape.next(), escape.next()) {
                (_, Some(_)) => Err(Error::new(SqlState::InvalidEscapeSequence, "invalid escape string")
                    .hint("Escape string must be empty or one character.")),
                (escape, None) => translate(patterns.value(row), escape, out),
            }
        },
    )
}

fn translate(pattern: &str, escape: Option<char>, out: &mut String) -> Result<()> {
    let (mut escaped, mut in_class, mut quotes) = (false, false, 0);
    out.push_str("^(?:");
    for c in pattern.chars() {
        if escaped {
            escaped = false;
            match (c, quotes) {
                // Two of these enclose what substring gives.
                ('"', 0) if !in_class => out.push_str("){1,1}?("),
                ('"', 1) if !in_class => out.push_str("){1,1}(?:"),
                ('"', _) if !in_class => {
                    let message = "SQL regular expression may not contain more than two escape-double-quote separators";
                    return Err(Error::new(SqlState::InvalidUseOfEscapeCharacter, message));
                }
                _ => out.extend(['\\', c]),
            }
            quotes += usize::from(c == '"' && !in_class);
            continue;
        }
        match c {
            c if Some(c) == escape => escaped = true,
            '\\' if in_class => out.push_str("\\\\"),
            c if in_class => {
                out.push(c);
                in_class = c != ']';
            }
            '[' => {
                out.push('[');
                in_class = true;
            }
            '%' => out.push_str(".*"),
            '_' => out.push('.'),
            '(' => out.push_str("(?:"),
            '\\' | '.' | '^' | '$' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out.push_str(")$");
    Ok(())
}
