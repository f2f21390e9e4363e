//! Which piece of a text matches, where, and how often.

use arrow::array::ArrayRef;
use thalweg_dataflow::{Error, Result, SqlState};

use super::super::text::build;
use super::super::udf::Input;
use super::matcher::{Pattern, Span};
use super::options::Options;
use super::{Call, compiled, integers};

/// `substring(text from pattern)`: the first group of the first match, or all of it.
pub(super) fn substring(input: &Input<'_>) -> Result<ArrayRef> {
    let call = Call::new(input)?;
    let found = |row: usize| -> Result<Option<Span>> {
        if call.is_null(row) {
            return Ok(None);
        }
        let pattern = compiled(call.text(1, row), Options::default())?;
        let groups = pattern.captures(call.text(0, row), 0)?;
        Ok(groups.and_then(|groups| groups[usize::from(pattern.groups > 0)]))
    };
    pieces(&call, input.rows, found)
}

/// A column of pieces of the texts at place 0; null where there is none.
fn pieces(call: &Call<'_>, rows: usize, found: impl Fn(usize) -> Result<Option<Span>>) -> Result<ArrayRef> {
    let spans = (0..rows).map(found).collect::<Result<Vec<_>>>()?;
    build(
        rows,
        |row| spans[row].is_none(),
        |row, out| {
            out.push_str(spans[row].map_or("", |(from, until)| &call.text(0, row)[from..until]));
            Ok(())
        },
    )
}

/// `regexp_count(text, pattern, start, flags)`.
pub(super) fn count(input: &Input<'_>) -> Result<ArrayRef> {
    integers(input, |call, row| {
        let start = call.start(2, row)?;
        let pattern = call.pattern(3, row)?;
        let (text, mut from, mut count) = (call.text(0, row), start, 0);
        while let Some(at) = from
            && let Some(span) = pattern.find(text, at)?
        {
            count += 1;
            from = Pattern::behind(text, span);
        }
        Ok(count)
    })
}

/// The piece that the n-th match gives of a group; 0: all of it.
fn nth(call: &Call<'_>, row: usize, flags: usize, group: usize) -> Result<Option<Span>> {
    let start = call.start(2, row)?;
    let wanted = call.number(3, row, "n", 1)?.unwrap_or(1);
    if call.input.op() == "regexp_instr"
        && let Some(ends @ 2..) = call.number(4, row, "endoption", 0)?
    {
        let message = format!("invalid value for parameter \"endoption\": {ends}");
        return Err(Error::new(SqlState::InvalidParameter, message));
    }
    let group = call.number(group, row, "subexpr", 0)?.unwrap_or(0);
    let pattern = call.pattern(flags, row)?;
    let (text, mut from) = (call.text(0, row), start);
    if group > pattern.groups {
        return Ok(None);
    }
    for round in 1..=wanted {
        let Some(at) = from else { return Ok(None) };
        let Some(span) = pattern.find(text, at)? else { return Ok(None) };
        if round == wanted {
            return Ok(pattern.captures(text, at)?.and_then(|groups| groups[group]));
        }
        from = Pattern::behind(text, span);
    }
    Ok(None)
}

/// `regexp_instr(text, pattern, start, n, endoption, flags, subexpr)`.
pub(super) fn instr(input: &Input<'_>) -> Result<ArrayRef> {
    integers(input, |call, row| {
        let Some((from, until)) = nth(call, row, 5, 6)? else { return Ok(0) };
        let ends = call.number(4, row, "endoption", 0)? == Some(1);
        let place = if ends { until } else { from };
        Ok(call.text(0, row)[..place].chars().count() + 1)
    })
}

/// `regexp_substr(text, pattern, start, n, flags, subexpr)`.
pub(super) fn substr(input: &Input<'_>) -> Result<ArrayRef> {
    let call = Call::new(input)?;
    let found = |row: usize| if call.is_null(row) { Ok(None) } else { nth(&call, row, 4, 5) };
    pieces(&call, input.rows, found)
}
