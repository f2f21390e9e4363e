//! What the dimensions of arrays decide: subscripts and slices, bounds, what is put together.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, StringBuilder};
use arrow::datatypes::Int32Type;
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::types::array::{self, Dimension};
use thalweg_dataflow::{Error, Result, SqlState};

use super::arrays::{Arrays, built, elements, integers};
use super::udf::{Input, Kernel};

/// `ARRAY[...]` of arrays: each is an element of the first dimension.
pub(crate) const STACK: Kernel = |input| {
    let arrays = (0..input.args.len()).map(|place| Arrays::of(input, place)).collect::<Result<Vec<_>>>()?;
    let Some(first) = arrays.first() else { return Err(Error::internal("an array of no arrays")) };
    built(input.rows, |row| {
        let each = arrays.iter().map(|array| array.bytes().is_valid(row).then(|| array.bytes().value(row)));
        array::stacked(first.element, each).map(Some)
    })
};

/// The numbers of each row; `None` if one of them is null.
fn numbers(input: &Input<'_>) -> Result<impl Fn(usize) -> Option<Vec<i32>>> {
    let columns = (1..input.args.len()).map(|place| integers(input, place)).collect::<Result<Vec<_>>>()?;
    Ok(move |row| {
        let value = |column: &ArrayRef| column.is_valid(row).then(|| column.as_primitive::<Int32Type>().value(row));
        columns.iter().map(value).collect()
    })
}

/// `array[n]`, `array[n][m]`: null unless there is a subscript for each dimension.
pub(crate) const SUBSCRIPT: Kernel = |input| {
    let (arrays, numbers) = (Arrays::of(input, 0)?, numbers(input)?);
    let null: &[u8] = &[2];
    let mut chosen = Vec::with_capacity(input.rows);
    for row in 0..input.rows {
        let (items, dimensions) = arrays.parts(row).unwrap_or_default();
        let place = numbers(row).and_then(|subscripts| place_of(&dimensions, &subscripts));
        chosen.push(place.and_then(|place| items.get(place).copied()).unwrap_or(null));
    }
    array::element_values(input.result, chosen)
};

fn place_of(dimensions: &[Dimension], subscripts: &[i32]) -> Option<usize> {
    if dimensions.len() != subscripts.len() {
        return None;
    }
    dimensions.iter().zip(subscripts).try_fold(0, |place, (dimension, subscript)| {
        let own = usize::try_from(i64::from(*subscript) - i64::from(dimension.lower)).ok()?;
        (own < dimension.length).then_some(place * dimension.length + own)
    })
}

/// `array[a:b]`, `array[a:b][c:d]`; a bound that is left out comes as the smallest or greatest integer.
pub(crate) const SLICE: Kernel = |input| {
    let (arrays, numbers) = (Arrays::of(input, 0)?, numbers(input)?);
    built(input.rows, |row| {
        let (Some(bounds), Some((items, dimensions))) = (numbers(row), arrays.parts(row)) else { return Ok(None) };
        Ok(Some(sliced(&items, &dimensions, &bounds)))
    })
};

fn sliced(items: &[&[u8]], dimensions: &[Dimension], bounds: &[i32]) -> Vec<u8> {
    let none = || array::of_items([]);
    if bounds.len() / 2 > dimensions.len() {
        return none();
    }
    let mut kept = Vec::with_capacity(dimensions.len());
    for (place, dimension) in dimensions.iter().enumerate() {
        // Dimensions that are not named are whole.
        let (from, to) = match bounds.get(2 * place..2 * place + 2) {
            Some([from, to]) => ((*from).max(dimension.lower), (*to).min(dimension.upper())),
            _ => (dimension.lower, dimension.upper()),
        };
        if from > to {
            return none();
        }
        let first = (i64::from(from) - i64::from(dimension.lower)) as usize;
        kept.push(first..first + (i64::from(to) - i64::from(from)) as usize + 1);
    }
    let mut places = vec![0];
    for (dimension, range) in dimensions.iter().zip(&kept) {
        let inner = |place: usize| range.clone().map(move |own| place * dimension.length + own);
        places = places.into_iter().flat_map(inner).collect();
    }
    let lengths: Vec<Dimension> = kept.iter().map(|range| Dimension::of(range.len())).collect();
    array::shaped(array::of_items(places.into_iter().filter_map(|place| items.get(place).copied())), &lengths)
}

/// `array_dims`: the bounds as text.
pub(crate) const DIMENSIONS: Kernel = |input| {
    let arrays = Arrays::of(input, 0)?;
    let mut built = StringBuilder::new();
    for row in 0..input.rows {
        let dimensions = arrays.dimensions(row);
        let text = dimensions.iter().map(|dimension| format!("[{}:{}]", dimension.lower, dimension.upper()));
        built.append_option((!dimensions.is_empty()).then(|| text.collect::<String>()));
    }
    Ok(Arc::new(built.finish()))
};

/// `cardinality`, `array_ndims`; `array_length`, `array_upper` and `array_lower` of a dimension.
pub(crate) const COUNTED: Kernel = |input| {
    let (arrays, numbers) = (Arrays::of(input, 0)?, numbers(input)?);
    let count = |row: usize| -> Option<i32> {
        if arrays.bytes().is_null(row) {
            return None;
        }
        let dimensions = arrays.dimensions(row);
        match input.name {
            "cardinality" => return arrays.items(row).map(|items| items.len() as i32),
            "array_ndims" => return (!dimensions.is_empty()).then_some(dimensions.len() as i32),
            _ => {}
        }
        let number = numbers(row)?.first().copied()?;
        let dimension = dimensions.get(usize::try_from(number).ok()?.checked_sub(1)?)?;
        Some(match input.name {
            "array_length" => dimension.length as i32,
            "array_upper" => dimension.upper(),
            _ => dimension.lower,
        })
    };
    Ok(Arc::new((0..input.rows).map(count).collect::<Int32Array>()))
};

/// `trim_array`: without so many elements at the end.
pub(crate) const TRIM: Kernel = |input| {
    let (arrays, numbers) = (Arrays::of(input, 0)?, numbers(input)?);
    built(input.rows, |row| {
        let (Some((items, dimensions)), Some(count)) = (arrays.parts(row), numbers(row)) else { return Ok(None) };
        let count = count.first().copied().unwrap_or(0);
        let length = dimensions.first().map_or(0, |dimension| dimension.length);
        let kept = usize::try_from(count).ok().and_then(|count| length.checked_sub(count));
        let kept = kept.ok_or_else(|| {
            let message = format!("number of elements to trim must be between 0 and {length}");
            Error::new(SqlState::ArraySubscript, message)
        })?;
        let upper = dimensions.first().map_or(0, |dimension| dimension.lower.wrapping_add(kept as i32).wrapping_sub(1));
        Ok(Some(sliced(&items, &dimensions, &[i32::MIN, if kept == 0 { i32::MIN } else { upper }])))
    })
};

/// The most elements that array_fill makes.
const MAX_FILLED: i32 = 134_217_727;

/// `array_fill`: one value so many times.
pub(crate) const FILL: Kernel = |input| {
    let values = elements(input, 0, false)?;
    let bounds = (1..input.args.len()).map(|place| Arrays::of(input, place)).collect::<Result<Vec<_>>>()?;
    let null = |message: &str| Error::new(SqlState::NullValueNotAllowed, message.to_string());
    let integers = |bound: &Arrays, row: usize| -> Result<Vec<i32>> {
        let items = bound.items(row).ok_or_else(|| null("dimension array or low bound array cannot be null"))?;
        if bound.dimensions(row).len() > 1 {
            let error = Error::new(SqlState::ArraySubscript, "wrong number of array subscripts");
            return Err(error.detail("Dimension array must be one dimensional."));
        }
        let own = array::element_values(&PgType::Int4, items)?;
        let own = own.as_primitive::<Int32Type>();
        own.iter().collect::<Option<_>>().ok_or_else(|| null("dimension values cannot be null"))
    };
    built(input.rows, |row| {
        let lengths = integers(&bounds[0], row)?;
        let lowers = bounds.get(1).map(|bound| integers(bound, row)).transpose()?;
        if lowers.as_ref().is_some_and(|lowers| lowers.len() != lengths.len()) {
            let error = Error::new(SqlState::ArraySubscript, "wrong number of array subscripts");
            return Err(error.detail("Low bound array has different size than dimensions array."));
        }
        array::check_count(lengths.len())?;
        let too_many = || {
            let message = format!("array size exceeds the maximum allowed ({MAX_FILLED})");
            Error::new(SqlState::ProgramLimitExceeded, message)
        };
        let all = lengths.iter().try_fold(1_i32, |all, length| all.checked_mul(*length).filter(|_| *length >= 0));
        let count = all.filter(|count| *count <= MAX_FILLED).ok_or_else(too_many)?;
        let count = if lengths.is_empty() { 0 } else { count as usize };
        let dimension = |place: usize| Dimension {
            length: lengths[place] as usize,
            lower: lowers.as_ref().map_or(1, |lowers| lowers[place]),
        };
        let dimensions: Vec<Dimension> = (0..lengths.len()).map(dimension).collect();
        let filled = array::of_items(std::iter::repeat_n(values[row].as_slice(), count));
        Ok(Some(array::shaped(filled, &dimensions)))
    })
};

/// `array_append`.
pub(crate) const APPEND: Kernel = |input| {
    let (arrays, values) = (Arrays::of(input, 0)?, elements(input, 1, false)?);
    built(input.rows, |row| {
        let lower = lower_of_one(&arrays, row)?;
        let mut items = arrays.items(row).unwrap_or_default();
        items.push(&values[row]);
        let dimension = Dimension { length: items.len(), lower };
        Ok(Some(array::shaped(array::of_items(items), &[dimension])))
    })
};

/// `array_prepend`: the others keep their number, the first subscript is the same.
pub(crate) const PREPEND: Kernel = |input| {
    let (values, arrays) = (elements(input, 0, false)?, Arrays::of(input, 1)?);
    built(input.rows, |row| {
        let lower = lower_of_one(&arrays, row)?;
        let items = arrays.items(row).unwrap_or_default();
        let dimension = Dimension { length: items.len() + 1, lower };
        let all = std::iter::once(values[row].as_slice()).chain(items);
        Ok(Some(array::shaped(array::of_items(all), &[dimension])))
    })
};

/// The first subscript of an array that an element is put to. Errors 22000.
fn lower_of_one(arrays: &Arrays, row: usize) -> Result<i32> {
    match arrays.dimensions(row).as_slice() {
        [] => Ok(1),
        [only] => Ok(only.lower),
        _ => Err(Error::new(SqlState::DataException, "argument must be empty or one-dimensional array")),
    }
}

/// `array_cat`: null only if both are.
pub(crate) const CONCAT: Kernel = |input| {
    let (left, right) = (Arrays::of(input, 0)?, Arrays::of(input, 1)?);
    built(input.rows, |row| {
        let (Some(one), Some(other)) = (left.items(row), right.items(row)) else {
            let present = [&left, &right].into_iter().find(|arrays| arrays.bytes().is_valid(row));
            return Ok(present.map(|arrays| arrays.bytes().value(row).to_vec()));
        };
        let dimensions = joined(left.dimensions(row), right.dimensions(row))?;
        Ok(Some(array::shaped(array::of_items(one.into_iter().chain(other)), &dimensions)))
    })
};

/// The dimensions of two arrays, one behind the other; one may be an element of the other. Errors
/// 2202E.
fn joined(mut left: Vec<Dimension>, mut right: Vec<Dimension>) -> Result<Vec<Dimension>> {
    let refused = |detail: String| {
        Err(Error::new(SqlState::ArraySubscript, "cannot concatenate incompatible arrays").detail(detail))
    };
    if left.is_empty() || right.is_empty() {
        return Ok(if left.is_empty() { right } else { left });
    }
    let counts = (left.len(), right.len());
    let (inner, outer) = match () {
        () if counts.0 == counts.1 => {
            left[0].length += right[0].length;
            (right.split_off(1), left)
        }
        () if counts.0 == counts.1 + 1 => {
            left[0].length += 1;
            (right, left)
        }
        () if counts.0 + 1 == counts.1 => {
            right[0].length += 1;
            (left, right)
        }
        () => {
            let (one, other) = counts;
            return refused(format!("Arrays of {one} and {other} dimensions are not compatible for concatenation."));
        }
    };
    if inner == outer[1..] {
        return Ok(outer);
    }
    let what = if counts.0 == counts.1 { "element dimensions" } else { "dimensions" };
    refused(format!("Arrays with differing {what} are not compatible for concatenation."))
}
