//! pg_column_size: how many bytes a value takes.
//!
//! As PostgreSQL counts where a type has a size of its own, and for text, bytea and numeric as it stores
//! them in rows; documents, arrays and rows as Thalweg keeps them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array};
use thalweg_dataflow::types::{PgType, TextStyle, TextWriter};
use thalweg_dataflow::{Error, Result};

use super::udf::{Input, Kernel};

/// Bytes up to which a value has a header of one byte, that byte included.
const SHORT: usize = 127;

/// See the module.
pub(crate) const SIZE: Kernel = |input| {
    let values = input.array(0)?;
    let size = size_of(input, &values)?;
    let sizes = (0..values.len()).map(|row| values.is_valid(row).then(|| i32::try_from(size(row)).unwrap_or(i32::MAX)));
    Ok(Arc::new(sizes.collect::<Int32Array>()) as ArrayRef)
};

type Size<'a> = Box<dyn Fn(usize) -> usize + 'a>;

fn size_of<'a>(input: &Input<'a>, values: &'a ArrayRef) -> Result<Size<'a>> {
    let fixed = match &input.types[0] {
        PgType::Bool => 1,
        PgType::Int2 => 2,
        PgType::Int4 | PgType::Oid | PgType::Float4 | PgType::Date => 4,
        PgType::Int8 | PgType::Float8 | PgType::Time(_) | PgType::Timestamp | PgType::Timestamptz => 8,
        PgType::Interval | PgType::Uuid => 16,
        PgType::Numeric(_) => return numeric(input, values),
        _ => 0,
    };
    if fixed > 0 {
        return Ok(Box::new(move |_| fixed));
    }
    if let Some(texts) = values.as_string_opt::<i32>() {
        return Ok(Box::new(|row| with_header(texts.value_length(row) as usize)));
    }
    let Some(bytes) = values.as_binary_opt::<i32>() else {
        return Err(Error::internal(format!("pg_column_size of {}", values.data_type())));
    };
    Ok(Box::new(|row| with_header(bytes.value_length(row) as usize)))
}

fn with_header(bytes: usize) -> usize {
    if bytes < SHORT { bytes + 1 } else { bytes + 4 }
}

/// Four decimal digits take two bytes, but for zeros at either end; sign, scale and weight two.
fn numeric<'a>(input: &Input<'_>, values: &'a ArrayRef) -> Result<Size<'a>> {
    let writer = TextWriter::new(&input.types[0], values)?;
    let style = TextStyle { zone: input.zone.clone(), extra_float_digits: 1 };
    Ok(Box::new(move |row| {
        let mut text = String::new();
        writer.write(row, &style, &mut text);
        let (whole, fraction) =
            text.trim_start_matches('-').split_once('.').unwrap_or((text.trim_start_matches('-'), ""));
        let padded = "0".repeat((4 - whole.len() % 4) % 4) + whole;
        let fraction = fraction.to_string() + &"0".repeat((4 - fraction.len() % 4) % 4);
        let digits = (padded + &fraction).into_bytes();
        let groups: Vec<bool> = digits.chunks(4).map(|group| group.iter().any(|digit| *digit != b'0')).collect();
        let first = groups.iter().position(|some| *some);
        let last = groups.iter().rposition(|some| *some);
        let count = first.zip(last).map_or(0, |(first, last)| last - first + 1);
        with_header(2 + 2 * count)
    }))
}
