//! Text functions. Lengths and places count characters, comparisons are bytewise.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, StringArray, StringBuilder};
use arrow::datatypes::Int32Type;
use thalweg_dataflow::types::{PgType, TextStyle, TextWriter};
use thalweg_dataflow::{Error, Result, SqlState};

use super::Definition;
use super::arithmetic::primitive;
use super::udf::Input;

const TEXT: PgType = PgType::Text;
const INT: PgType = PgType::Int4;
const BPCHAR: PgType = PgType::Bpchar(None);
/// The longest text a function makes, as in PostgreSQL.
pub(super) const MAX_BYTES: usize = 1 << 30;

pub(crate) fn strings(input: &Input<'_>, place: usize) -> Result<StringArray> {
    let array = input.array(place)?;
    array
        .as_string_opt::<i32>()
        .cloned()
        .ok_or_else(|| Error::internal(format!("argument {place} has the layout {}", array.data_type())))
}

/// A text column from a function that appends one row's text.
pub(super) fn build(
    rows: usize,
    nulls: impl Fn(usize) -> bool,
    append: impl Fn(usize, &mut String) -> Result<()>,
) -> Result<ArrayRef> {
    let mut builder = StringBuilder::with_capacity(rows, rows * 8);
    let mut text = String::new();
    for row in 0..rows {
        if nulls(row) {
            builder.append_null();
            continue;
        }
        text.clear();
        append(row, &mut text)?;
        builder.append_value(&text);
    }
    Ok(Arc::new(builder.finish()))
}

fn map_text(input: &Input<'_>, append: impl Fn(&str, &mut String)) -> Result<ArrayRef> {
    let values = strings(input, 0)?;
    build(
        input.rows,
        |row| values.is_null(row),
        |row, out| {
            append(values.value(row), out);
            Ok(())
        },
    )
}

fn lower(input: &Input<'_>) -> Result<ArrayRef> {
    map_text(input, |text, out| out.extend(text.chars().flat_map(char::to_lowercase)))
}

fn upper(input: &Input<'_>) -> Result<ArrayRef> {
    // PostgreSQL maps one character to one: a sharp s stays.
    map_text(input, |text, out| {
        for c in text.chars() {
            let mut upper = c.to_uppercase();
            match (upper.next(), upper.next()) {
                (Some(one), None) => out.push(one),
                _ => out.push(c),
            }
        }
    })
}

fn initcap(input: &Input<'_>) -> Result<ArrayRef> {
    map_text(input, |text, out| {
        let mut inside = false;
        for c in text.chars() {
            if inside {
                out.extend(c.to_lowercase());
            } else {
                out.extend(c.to_uppercase());
            }
            inside = c.is_alphanumeric();
        }
    })
}

fn reverse(input: &Input<'_>) -> Result<ArrayRef> {
    map_text(input, |text, out| out.extend(text.chars().rev()))
}

fn text_int(input: &Input<'_>, value: impl Fn(&str) -> usize) -> Result<ArrayRef> {
    let values = strings(input, 0)?;
    Ok(Arc::new(values.iter().map(|text| text.map(|text| value(text) as i32)).collect::<Int32Array>()))
}

fn length(input: &Input<'_>) -> Result<ArrayRef> {
    // Spaces at the end are no part of a char(n).
    let padded = matches!(input.types[0], PgType::Bpchar(_));
    text_int(input, |text| if padded { text.trim_end_matches(' ') } else { text }.chars().count())
}

fn octet_length(input: &Input<'_>) -> Result<ArrayRef> {
    text_int(input, str::len)
}

fn bit_length(input: &Input<'_>) -> Result<ArrayRef> {
    text_int(input, |text| text.len() * 8)
}

fn ascii(input: &Input<'_>) -> Result<ArrayRef> {
    text_int(input, |text| text.chars().next().map_or(0, |c| c as usize))
}

fn chr(input: &Input<'_>) -> Result<ArrayRef> {
    let codes = primitive::<Int32Type>(input, 0)?;
    build(
        input.rows,
        |row| codes.is_null(row),
        |row, out| {
            let code = codes.value(row);
            if code == 0 {
                return Err(Error::new(SqlState::ProgramLimitExceeded, "null character not permitted"));
            }
            if code < 0 {
                return Err(Error::new(SqlState::InvalidParameter, "character number must be positive"));
            }
            if code > 0x0010_ffff {
                let message = format!("requested character too large for encoding: {code}");
                return Err(Error::new(SqlState::ProgramLimitExceeded, message));
            }
            let c = u32::try_from(code).ok().and_then(char::from_u32);
            out.push(c.ok_or_else(|| {
                Error::new(
                    SqlState::ProgramLimitExceeded,
                    format!("requested character not valid for encoding: {code}"),
                )
            })?);
            Ok(())
        },
    )
}

fn substring(input: &Input<'_>) -> Result<ArrayRef> {
    let (values, starts) = (strings(input, 0)?, primitive::<Int32Type>(input, 1)?);
    let lengths = if input.args.len() == 3 { Some(primitive::<Int32Type>(input, 2)?) } else { None };
    let is_null = |row| {
        values.is_null(row) || starts.is_null(row) || lengths.as_ref().is_some_and(|lengths| lengths.is_null(row))
    };
    build(input.rows, is_null, |row, out| {
        let start = i64::from(starts.value(row));
        let end = match &lengths {
            Some(lengths) if lengths.value(row) < 0 => {
                return Err(Error::new(SqlState::SubstringError, "negative substring length not allowed"));
            }
            Some(lengths) => start + i64::from(lengths.value(row)),
            None => i64::MAX,
        };
        let first = start.max(1);
        if end > first {
            out.extend(
                values
                    .value(row)
                    .chars()
                    .skip((first - 1) as usize)
                    .take(usize::try_from(end - first).unwrap_or(usize::MAX)),
            );
        }
        Ok(())
    })
}

/// `left` and `right`: a negative count leaves characters off the other end.
fn ends(input: &Input<'_>) -> Result<ArrayRef> {
    let (values, counts) = (strings(input, 0)?, primitive::<Int32Type>(input, 1)?);
    let from_left = input.op() == "left";
    build(
        input.rows,
        |row| values.is_null(row) || counts.is_null(row),
        |row, out| {
            let (text, count) = (values.value(row), i64::from(counts.value(row)));
            let total = text.chars().count() as i64;
            let kept = if count < 0 { (total + count).max(0) } else { count.min(total) } as usize;
            let skipped = if from_left { 0 } else { total as usize - kept };
            out.extend(text.chars().skip(skipped).take(kept));
            Ok(())
        },
    )
}

fn trim(input: &Input<'_>) -> Result<ArrayRef> {
    let values = strings(input, 0)?;
    let sets = if input.args.len() == 2 { Some(strings(input, 1)?) } else { None };
    let (left, right) = (input.op() != "rtrim", input.op() != "ltrim");
    build(
        input.rows,
        |row| values.is_null(row) || sets.as_ref().is_some_and(|sets| sets.is_null(row)),
        |row, out| {
            let set = sets.as_ref().map_or(" ", |sets| sets.value(row));
            let mut text = values.value(row);
            if left {
                text = text.trim_start_matches(|c| set.contains(c));
            }
            if right {
                text = text.trim_end_matches(|c| set.contains(c));
            }
            out.push_str(text);
            Ok(())
        },
    )
}

fn replace(input: &Input<'_>) -> Result<ArrayRef> {
    let (values, from, to) = (strings(input, 0)?, strings(input, 1)?, strings(input, 2)?);
    build(
        input.rows,
        |row| values.is_null(row) || from.is_null(row) || to.is_null(row),
        |row, out| {
            let (text, from, to) = (values.value(row), from.value(row), to.value(row));
            if from.is_empty() {
                out.push_str(text);
                return Ok(());
            }
            let mut last = 0;
            for (place, found) in text.match_indices(from) {
                out.push_str(&text[last..place]);
                out.push_str(to);
                last = place + found.len();
            }
            out.push_str(&text[last..]);
            Ok(())
        },
    )
}

fn translate(input: &Input<'_>) -> Result<ArrayRef> {
    let (values, from, to) = (strings(input, 0)?, strings(input, 1)?, strings(input, 2)?);
    build(
        input.rows,
        |row| values.is_null(row) || from.is_null(row) || to.is_null(row),
        |row, out| {
            for c in values.value(row).chars() {
                match from.value(row).chars().position(|known| known == c) {
                    Some(place) => out.extend(to.value(row).chars().nth(place)),
                    None => out.push(c),
                }
            }
            Ok(())
        },
    )
}

fn split_part(input: &Input<'_>) -> Result<ArrayRef> {
    let (values, separators, places) = (strings(input, 0)?, strings(input, 1)?, primitive::<Int32Type>(input, 2)?);
    build(
        input.rows,
        |row| values.is_null(row) || separators.is_null(row) || places.is_null(row),
        |row, out| {
            let (text, separator, place) = (values.value(row), separators.value(row), places.value(row));
            if place == 0 {
                return Err(Error::new(SqlState::InvalidParameter, "field position must not be zero"));
            }
            let part = if separator.is_empty() {
                if place == 1 || place == -1 { Some(text) } else { None }
            } else if place > 0 {
                text.split(separator).nth(place as usize - 1)
            } else {
                text.rsplit(separator).nth(place.unsigned_abs() as usize - 1)
            };
            out.push_str(part.unwrap_or(""));
            Ok(())
        },
    )
}

fn overlay(input: &Input<'_>) -> Result<ArrayRef> {
    let (values, pieces, starts) = (strings(input, 0)?, strings(input, 1)?, primitive::<Int32Type>(input, 2)?);
    let lengths = if input.args.len() == 4 { Some(primitive::<Int32Type>(input, 3)?) } else { None };
    let is_null = |row| {
        values.is_null(row)
            || pieces.is_null(row)
            || starts.is_null(row)
            || lengths.as_ref().is_some_and(|lengths| lengths.is_null(row))
    };
    build(input.rows, is_null, |row, out| {
        let (text, new, start) = (values.value(row), pieces.value(row), i64::from(starts.value(row)));
        if start <= 0 {
            return Err(Error::new(SqlState::SubstringError, "negative substring length not allowed"));
        }
        let length = lengths.as_ref().map_or_else(|| new.chars().count() as i64, |own| i64::from(own.value(row)));
        let behind = i32::try_from(start + length).map_err(|_| super::arithmetic::out_of_range(&INT))?;
        out.extend(text.chars().take(start as usize - 1));
        out.push_str(new);
        out.extend(text.chars().skip(usize::try_from(behind - 1).unwrap_or(0)));
        Ok(())
    })
}

fn strpos(input: &Input<'_>) -> Result<ArrayRef> {
    let (values, wanted) = (strings(input, 0)?, strings(input, 1)?);
    let result = values.iter().zip(wanted.iter()).map(|pair| match pair {
        (Some(text), Some(wanted)) => {
            Some(text.find(wanted).map_or(0, |place| text[..place].chars().count() as i32 + 1))
        }
        _ => None,
    });
    Ok(Arc::new(result.collect::<Int32Array>()))
}

fn starts_with(input: &Input<'_>) -> Result<ArrayRef> {
    let (values, wanted) = (strings(input, 0)?, strings(input, 1)?);
    let result = values.iter().zip(wanted.iter()).map(|pair| match pair {
        (Some(text), Some(wanted)) => Some(text.starts_with(wanted)),
        _ => None,
    });
    Ok(Arc::new(result.collect::<BooleanArray>()))
}

fn repeat(input: &Input<'_>) -> Result<ArrayRef> {
    let (values, counts) = (strings(input, 0)?, primitive::<Int32Type>(input, 1)?);
    build(
        input.rows,
        |row| values.is_null(row) || counts.is_null(row),
        |row, out| {
            let (text, count) = (values.value(row), counts.value(row).max(0) as usize);
            check_length(text.len().saturating_mul(count))?;
            for _ in 0..count {
                out.push_str(text);
            }
            Ok(())
        },
    )
}

fn check_length(bytes: usize) -> Result<()> {
    if bytes >= MAX_BYTES {
        return Err(Error::new(SqlState::ProgramLimitExceeded, "requested length too large"));
    }
    Ok(())
}

fn pad(input: &Input<'_>) -> Result<ArrayRef> {
    let (values, lengths) = (strings(input, 0)?, primitive::<Int32Type>(input, 1)?);
    let fills = if input.args.len() == 3 { Some(strings(input, 2)?) } else { None };
    let left = input.op() == "lpad";
    build(
        input.rows,
        |row| values.is_null(row) || lengths.is_null(row) || fills.as_ref().is_some_and(|fills| fills.is_null(row)),
        |row, out| {
            let (text, wanted) = (values.value(row), lengths.value(row).max(0) as usize);
            let fill = fills.as_ref().map_or(" ", |fills| fills.value(row));
            check_length(wanted.saturating_mul(4))?;
            let own = text.chars().count();
            let padding = if fill.is_empty() { 0 } else { wanted.saturating_sub(own) };
            if left {
                out.extend(fill.chars().cycle().take(padding));
            }
            out.extend(text.chars().take(wanted));
            if !left {
                out.extend(fill.chars().cycle().take(padding));
            }
            Ok(())
        },
    )
}

fn textcat(input: &Input<'_>) -> Result<ArrayRef> {
    let (left, right) = (strings(input, 0)?, strings(input, 1)?);
    build(
        input.rows,
        |row| left.is_null(row) || right.is_null(row),
        |row, out| {
            out.push_str(left.value(row));
            out.push_str(right.value(row));
            Ok(())
        },
    )
}

/// `concat` and `concat_ws`: any types as text, nulls left out.
fn concat(input: &Input<'_>) -> Result<ArrayRef> {
    let style = TextStyle { zone: input.zone.clone(), extra_float_digits: 1 };
    let separators = if input.op() == "concat_ws" { Some(strings(input, 0)?) } else { None };
    let first = usize::from(separators.is_some());
    let mut writers = Vec::with_capacity(input.args.len());
    for place in first..input.args.len() {
        writers.push((TextWriter::new(&input.types[place], &input.array(place)?)?, input.types[place] == PgType::Bool));
    }
    build(
        input.rows,
        |row| separators.as_ref().is_some_and(|separators| separators.is_null(row)),
        |row, out| {
            let mut any = false;
            for (writer, _) in &writers {
                if writer.is_null(row) {
                    continue;
                }
                if let (true, Some(separators)) = (any, &separators) {
                    out.push_str(separators.value(row));
                }
                writer.write(row, &style, out);
                any = true;
            }
            Ok(())
        },
    )
}

/// A pattern with another escape character as one with the backslash.
fn like_escape(input: &Input<'_>) -> Result<ArrayRef> {
    let (patterns, escapes) = (strings(input, 0)?, strings(input, 1)?);
    build(
        input.rows,
        |row| patterns.is_null(row) || escapes.is_null(row),
        |row, out| {
            let mut escape = escapes.value(row).chars();
            let escape = match (escape.next(), escape.next()) {
                (_, Some(_)) => {
                    return Err(Error::new(SqlState::InvalidEscapeSequence, "invalid escape string")
                        .hint("Escape string must be empty or one character."));
                }
                (escape, None) => escape,
            };
            let mut pattern = patterns.value(row).chars();
            while let Some(c) = pattern.next() {
                if Some(c) == escape {
                    out.push('\\');
                    out.extend(pattern.next());
                } else {
                    out.extend((c == '\\').then_some('\\'));
                    out.push(c);
                }
            }
            Ok(())
        },
    )
}

macro_rules! texts {
    ($($name:literal ($($arg:expr),*) -> $result:expr, $variadic:literal => $kernel:expr;)*) => {
        &[$(Definition { name: $name, args: &[$($arg),*], variadic: $variadic, result: $result, kernel: $kernel },)*]
    };
}

/// The overloads.
pub(super) const FUNCTIONS: &[Definition] = texts! {
    "lower" (TEXT) -> TEXT, false => lower;
    "upper" (TEXT) -> TEXT, false => upper;
    "initcap" (TEXT) -> TEXT, false => initcap;
    "reverse" (TEXT) -> TEXT, false => reverse;
    "length" (TEXT) -> INT, false => length;
    "char_length" (TEXT) -> INT, false => length;
    "character_length" (TEXT) -> INT, false => length;
    "octet_length" (TEXT) -> INT, false => octet_length;
    "bit_length" (TEXT) -> INT, false => bit_length;
    "length" (BPCHAR) -> INT, false => length;
    "char_length" (BPCHAR) -> INT, false => length;
    "character_length" (BPCHAR) -> INT, false => length;
    "octet_length" (BPCHAR) -> INT, false => octet_length;
    "ascii" (TEXT) -> INT, false => ascii;
    "chr" (INT) -> TEXT, false => chr;
    "substring" (TEXT, INT) -> TEXT, false => substring;
    "substring" (TEXT, INT, INT) -> TEXT, false => substring;
    "substr" (TEXT, INT) -> TEXT, false => substring;
    "substr" (TEXT, INT, INT) -> TEXT, false => substring;
    "left" (TEXT, INT) -> TEXT, false => ends;
    "right" (TEXT, INT) -> TEXT, false => ends;
    "btrim" (TEXT) -> TEXT, false => trim;
    "btrim" (TEXT, TEXT) -> TEXT, false => trim;
    "ltrim" (TEXT) -> TEXT, false => trim;
    "ltrim" (TEXT, TEXT) -> TEXT, false => trim;
    "rtrim" (TEXT) -> TEXT, false => trim;
    "rtrim" (TEXT, TEXT) -> TEXT, false => trim;
    "replace" (TEXT, TEXT, TEXT) -> TEXT, false => replace;
    "translate" (TEXT, TEXT, TEXT) -> TEXT, false => translate;
    "split_part" (TEXT, TEXT, INT) -> TEXT, false => split_part;
    "strpos" (TEXT, TEXT) -> INT, false => strpos;
    "position" (TEXT, TEXT) -> INT, false => strpos;
    "textlen" (TEXT) -> INT, false => length;
    "overlay" (TEXT, TEXT, INT) -> TEXT, false => overlay;
    "overlay" (TEXT, TEXT, INT, INT) -> TEXT, false => overlay;
    "starts_with" (TEXT, TEXT) -> PgType::Bool, false => starts_with;
    "repeat" (TEXT, INT) -> TEXT, false => repeat;
    "lpad" (TEXT, INT) -> TEXT, false => pad;
    "lpad" (TEXT, INT, TEXT) -> TEXT, false => pad;
    "rpad" (TEXT, INT) -> TEXT, false => pad;
    "rpad" (TEXT, INT, TEXT) -> TEXT, false => pad;
    "like_escape" (TEXT, TEXT) -> TEXT, false => like_escape;
    "textcat" (TEXT, TEXT) -> TEXT, false => textcat;
    "concat" () -> TEXT, true => concat;
    "concat_ws" (TEXT) -> TEXT, true => concat;
};
