//! `regexp_replace`.

use arrow::array::ArrayRef;
use thalweg_dataflow::{Error, Result, SqlState};

use super::super::text::build;
use super::super::udf::Input;
use super::matcher::{Pattern, Span};
use super::options::Options;
use super::{Call, compiled};

/// `regexp_replace(text, pattern, replacement [, start [, n]] [, flags])`.
pub(super) fn replace(input: &Input<'_>) -> Result<ArrayRef> {
    let call = Call::new(input)?;
    // Letters at place 3 follow nothing, those at place 5 the numbers.
    let with_numbers = call.numbers.get(3).is_some_and(Option::is_some);
    let letters = if with_numbers { 5 } else { 3 };
    build(
        input.rows,
        |row| call.is_null(row),
        |row, out| {
            let flags = call.text(letters, row);
            if !with_numbers && flags.starts_with(|c: char| c.is_ascii_digit()) {
                let letter = &flags[..1];
                let message = format!("invalid regular expression option: \"{letter}\"");
                return Err(Error::new(SqlState::InvalidParameter, message).hint(
                    "If you meant to use regexp_replace() with a start parameter, cast the fourth argument to integer explicitly.",
                ));
            }
            let start = call.start(3, row)?;
            let wanted = call.number(4, row, "n", 0)?;
            let (options, all) = Options::parse(flags)?;
            let pattern = compiled(call.text(1, row), options)?;
            let wanted = wanted.unwrap_or(usize::from(!all));
            one(&pattern, call.text(0, row), call.text(2, row), start, wanted, out)
        },
    )
}

/// Replaces the n-th match, or all of them (0).
fn one(
    pattern: &Pattern,
    text: &str,
    replacement: &str,
    start: Option<usize>,
    wanted: usize,
    out: &mut String,
) -> Result<()> {
    let parts = parts(replacement);
    let needs_groups = parts.iter().any(|part| matches!(part, Part::Group(1..)));
    let (mut from, mut copied, mut round) = (start, 0, 0);
    while let Some(at) = from {
        let groups = match needs_groups {
            true => pattern.captures(text, at)?,
            false => pattern.find(text, at)?.map(|span| vec![Some(span)]),
        };
        let Some((groups, span)) = groups.and_then(|groups| groups[0].map(|span| (groups, span))) else { break };
        round += 1;
        from = Pattern::behind(text, span);
        if wanted > 0 && round != wanted {
            continue;
        }
        out.push_str(&text[copied..span.0]);
        write(&parts, text, &groups, out);
        copied = span.1;
        if wanted > 0 {
            break;
        }
    }
    out.push_str(&text[copied..]);
    Ok(())
}

fn write(parts: &[Part<'_>], text: &str, groups: &[Option<Span>], out: &mut String) {
    for part in parts {
        match part {
            Part::Text(own) => out.push_str(own),
            Part::Group(number) => {
                let span = groups.get(*number).copied().flatten();
                out.push_str(span.map_or("", |(from, until)| &text[from..until]));
            }
        }
    }
}

/// A piece of what a match is replaced by.
enum Part<'r> {
    Text(&'r str),
    /// A group of the match; 0: all of it.
    Group(usize),
}

fn parts(replacement: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let (mut rest, mut searched) = (replacement, 0);
    while let Some(at) = rest[searched..].find('\\').map(|at| at + searched) {
        let part = match rest.as_bytes().get(at + 1) {
            Some(digit @ b'1'..=b'9') => Part::Group(usize::from(digit - b'0')),
            Some(b'&') => Part::Group(0),
            Some(b'\\') => Part::Text("\\"),
            // Any other backslash is one.
            _ => {
                searched = at + 1;
                continue;
            }
        };
        parts.extend((at > 0).then_some(Part::Text(&rest[..at])));
        parts.push(part);
        (rest, searched) = (&rest[at + 2..], 0);
    }
    parts.extend((!rest.is_empty()).then_some(Part::Text(rest)));
    parts
}
