//! The functions and operators over arrays.
//!
//! They work on the elements' bytes (`thalweg_dataflow::types::array`) and so serve every element
//! type alike: equal elements have equal canonical bytes, greater ones greater bytes. Which types
//! a call has is the binder's choice (`crate::planner::array`).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray, Int32Array, StringBuilder};
use arrow::datatypes::Int32Type;
use thalweg_dataflow::types::{PgType, TextStyle, TextWriter, array};
use thalweg_dataflow::{Error, Result, SqlState};

use super::udf::{Input, Kernel};

/// The element of the array that an argument or the result is.
fn element(ty: &PgType) -> Result<&'static PgType> {
    ty.element().ok_or_else(|| Error::internal(format!("{} is no array", ty.name())))
}

/// Array arguments as their elements' bytes.
struct Arrays {
    array: ArrayRef,
    element: &'static PgType,
}

impl Arrays {
    fn of(input: &Input<'_>, place: usize) -> Result<Arrays> {
        Ok(Arrays { array: input.array(place)?, element: element(&input.types[place])? })
    }

    fn bytes(&self) -> &BinaryArray {
        self.array.as_binary::<i32>()
    }

    /// The elements of a row's array, each as its bytes; `None`: the array is null.
    fn items(&self, row: usize) -> Option<Vec<&[u8]>> {
        let bytes = self.bytes();
        bytes.is_valid(row).then(|| array::items(self.element, bytes.value(row)).collect())
    }

    /// The same in the one form that equal elements have.
    fn canonical(&self, row: usize) -> Option<Vec<Vec<u8>>> {
        let bytes = self.bytes();
        bytes.is_valid(row).then(|| {
            let owned = |bytes: &[u8]| array::items(self.element, bytes).map(<[u8]>::to_vec).collect();
            match array::has_forms(self.element) {
                true => owned(&array::canonical(self.element, bytes.value(row))),
                false => owned(bytes.value(row)),
            }
        })
    }
}

/// A column of elements, each as its bytes.
fn elements(input: &Input<'_>, place: usize, canonical: bool) -> Result<Vec<Vec<u8>>> {
    array::element_bytes(&input.types[place], &input.array(place)?, canonical)
}

fn integers(input: &Input<'_>, place: usize) -> Result<ArrayRef> {
    input.array(place)
}

/// A column of arrays, made row by row.
fn built(rows: usize, each: impl Fn(usize) -> Result<Option<Vec<u8>>>) -> Result<ArrayRef> {
    let mut builder = BinaryBuilder::new();
    for row in 0..rows {
        builder.append_option(each(row)?);
    }
    Ok(Arc::new(builder.finish()))
}

/// `ARRAY[...]`.
pub(crate) const CONSTRUCT: Kernel = |input| {
    let columns = (0..input.args.len()).map(|place| elements(input, place, false)).collect::<Result<Vec<_>>>()?;
    built(input.rows, |row| Ok(Some(array::of_items(columns.iter().map(|column| column[row].as_slice())))))
};

/// `array[n]`.
pub(crate) const SUBSCRIPT: Kernel = |input| {
    let (arrays, places) = (Arrays::of(input, 0)?, integers(input, 1)?);
    let places = places.as_primitive::<Int32Type>();
    let null: &[u8] = &[2];
    let mut chosen = Vec::with_capacity(input.rows);
    for row in 0..input.rows {
        let place = places.is_valid(row).then(|| places.value(row)).and_then(|place| usize::try_from(place).ok());
        let items = arrays.items(row).unwrap_or_default();
        chosen.push(place.and_then(|place| items.get(place.wrapping_sub(1)).copied()).unwrap_or(null));
    }
    array::element_values(input.result, chosen)
};

/// `array[from:to]`; a bound that is left out comes as the smallest or greatest integer.
pub(crate) const SLICE: Kernel = |input| {
    let (arrays, from, to) = (Arrays::of(input, 0)?, integers(input, 1)?, integers(input, 2)?);
    let (from, to) = (from.as_primitive::<Int32Type>(), to.as_primitive::<Int32Type>());
    built(input.rows, |row| {
        if from.is_null(row) || to.is_null(row) {
            return Ok(None);
        }
        let Some(items) = arrays.items(row) else { return Ok(None) };
        let until = usize::try_from(to.value(row)).unwrap_or(0).min(items.len());
        let first = usize::try_from(from.value(row)).unwrap_or(1).max(1) - 1;
        Ok(Some(array::of_items(items.get(first..until).unwrap_or_default().iter().copied())))
    })
};

/// `value op ANY (array)` and `value op ALL (array)`; the function's name is the operator and the word.
pub(crate) const QUANTIFIED: Kernel = |input| {
    let (values, arrays) = (elements(input, 0, true)?, Arrays::of(input, 1)?);
    let (op, any) = match input.op().split_once(' ') {
        Some((op, word)) => (op, word == "any"),
        None => return Err(Error::internal("a quantified comparison without a quantifier")),
    };
    let holds = |one: &[u8], other: &[u8]| match op {
        "=" => one == other,
        "<>" => one != other,
        "<" => one < other,
        "<=" => one <= other,
        ">" => one > other,
        _ => one >= other,
    };
    let verdict = |row: usize| -> Option<bool> {
        let items = arrays.canonical(row)?;
        let mut unknown = false;
        for item in &items {
            if array::is_null_item(item) || array::is_null_item(&values[row]) {
                unknown = true;
            } else if holds(&values[row], item) == any {
                return Some(any);
            }
        }
        (!unknown).then_some(!any)
    };
    Ok(Arc::new((0..input.rows).map(verdict).collect::<BooleanArray>()))
};

/// `array_dims`: the bounds as text.
pub(crate) const DIMENSIONS: Kernel = |input| {
    let arrays = Arrays::of(input, 0)?;
    let mut built = StringBuilder::new();
    for row in 0..input.rows {
        let count = arrays.items(row).map_or(0, |items| items.len());
        built.append_option((count > 0).then(|| format!("[1:{count}]")));
    }
    Ok(Arc::new(built.finish()))
};

/// `trim_array`: without so many elements at the end.
pub(crate) const TRIM: Kernel = |input| {
    let (arrays, counts) = (Arrays::of(input, 0)?, integers(input, 1)?);
    let counts = counts.as_primitive::<Int32Type>();
    built(input.rows, |row| {
        let Some(items) = arrays.items(row).filter(|_| counts.is_valid(row)) else { return Ok(None) };
        let kept = usize::try_from(counts.value(row)).ok().and_then(|count| items.len().checked_sub(count));
        let kept = kept.ok_or_else(|| {
            let message = format!("number of elements to trim must be between 0 and {}", items.len());
            Error::new(SqlState::ArraySubscript, message)
        })?;
        Ok(Some(array::of_items(items[..kept].iter().copied())))
    })
};

/// The most elements that array_fill makes.
const MAX_FILLED: i32 = 134_217_727;

/// `array_fill`: one value so many times.
pub(crate) const FILL: Kernel = |input| {
    let values = elements(input, 0, false)?;
    let bounds = (1..input.args.len()).map(|place| Arrays::of(input, place)).collect::<Result<Vec<_>>>()?;
    built(input.rows, |row| {
        let null = |message: &str| Err(Error::new(SqlState::NullValueNotAllowed, message.to_string()));
        let mut numbers = Vec::with_capacity(bounds.len());
        for bound in &bounds {
            let Some(items) = bound.items(row) else {
                return null("dimension array or low bound array cannot be null");
            };
            if items.len() > 1 {
                return Err(Error::unsupported("an array of several dimensions"));
            }
            let own = array::element_values(&PgType::Int4, items)?;
            let own = own.as_primitive::<Int32Type>();
            if own.null_count() > 0 {
                return null("dimension values cannot be null");
            }
            numbers.push(own.iter().flatten().next());
        }
        if numbers.get(1).copied().flatten().is_some_and(|lower| lower != 1) {
            return Err(Error::unsupported("an array that does not begin at 1"));
        }
        let count = numbers[0].unwrap_or(0);
        if !(0..=MAX_FILLED).contains(&count) {
            let message = format!("array size exceeds the maximum allowed ({MAX_FILLED})");
            return Err(Error::new(SqlState::ProgramLimitExceeded, message));
        }
        Ok(Some(array::of_items(std::iter::repeat_n(values[row].as_slice(), count as usize))))
    })
};

/// The bucket of a value among sorted lower bounds.
pub(crate) const BUCKET: Kernel = |input| {
    let (values, arrays) = (elements(input, 0, true)?, Arrays::of(input, 1)?);
    let bucket = |row: usize| -> Result<Option<i32>> {
        let Some(items) = arrays.canonical(row) else { return Ok(None) };
        if array::is_null_item(&values[row]) {
            return Ok(None);
        }
        if items.iter().any(|item| array::is_null_item(item)) {
            let message = "thresholds array must not contain NULLs";
            return Err(Error::new(SqlState::NullValueNotAllowed, message));
        }
        Ok(Some(items.partition_point(|item| *item <= values[row]) as i32))
    };
    Ok(Arc::new((0..input.rows).map(bucket).collect::<Result<Int32Array>>()?))
};

/// How many elements: `cardinality`, `array_length`, `array_upper`; 1 for `array_lower`,
/// `array_ndims`.
pub(crate) const COUNTED: Kernel = |input| {
    let arrays = Arrays::of(input, 0)?;
    let dimension = if input.types.len() > 1 { Some(integers(input, 1)?) } else { None };
    let count = |row: usize| -> Option<i32> {
        let count = arrays.items(row)?.len() as i32;
        if let Some(dimension) = &dimension
            && (dimension.is_null(row) || dimension.as_primitive::<Int32Type>().value(row) != 1)
        {
            return None;
        }
        match input.name {
            "cardinality" => Some(count),
            "array_length" | "array_upper" => (count > 0).then_some(count),
            _ => (count > 0).then_some(1),
        }
    };
    Ok(Arc::new((0..input.rows).map(count).collect::<Int32Array>()))
};

/// `array_append`.
pub(crate) const APPEND: Kernel = |input| {
    let (arrays, values) = (Arrays::of(input, 0)?, elements(input, 1, false)?);
    built(input.rows, |row| {
        let mut items = arrays.items(row).unwrap_or_default();
        items.push(&values[row]);
        Ok(Some(array::of_items(items)))
    })
};

/// `array_prepend`.
pub(crate) const PREPEND: Kernel = |input| {
    let (values, arrays) = (elements(input, 0, false)?, Arrays::of(input, 1)?);
    built(input.rows, |row| {
        let items = arrays.items(row).unwrap_or_default();
        Ok(Some(array::of_items(std::iter::once(values[row].as_slice()).chain(items))))
    })
};

/// `array_cat`: null only if both are.
pub(crate) const CONCAT: Kernel = |input| {
    let (left, right) = (Arrays::of(input, 0)?, Arrays::of(input, 1)?);
    built(input.rows, |row| match (left.items(row), right.items(row)) {
        (None, None) => Ok(None),
        (one, other) => {
            let all = one.unwrap_or_default().into_iter().chain(other.unwrap_or_default());
            Ok(Some(array::of_items(all)))
        }
    })
};

/// `array_position`: a null is found like any other value.
pub(crate) const POSITION: Kernel = |input| {
    let (arrays, values) = (Arrays::of(input, 0)?, elements(input, 1, true)?);
    let start = if input.types.len() > 2 { Some(integers(input, 2)?) } else { None };
    let mut places = Vec::with_capacity(input.rows);
    for (row, value) in values.iter().enumerate() {
        let first = match &start {
            None => 0,
            Some(start) if start.is_null(row) => {
                return Err(Error::new(SqlState::NullValueNotAllowed, "initial position must not be null"));
            }
            Some(start) => usize::try_from(start.as_primitive::<Int32Type>().value(row)).unwrap_or(0).max(1) - 1,
        };
        places.push(arrays.canonical(row).and_then(|items| {
            let found = items.iter().enumerate().skip(first).find(|(_, item)| *item == value);
            found.map(|(place, _)| place as i32 + 1)
        }));
    }
    Ok(Arc::new(Int32Array::from(places)))
};

/// `array_positions`.
pub(crate) const POSITIONS: Kernel = |input| {
    let (arrays, values) = (Arrays::of(input, 0)?, elements(input, 1, true)?);
    built(input.rows, |row| {
        let Some(items) = arrays.canonical(row) else { return Ok(None) };
        let found = items.iter().enumerate().filter(|(_, item)| **item == values[row]);
        let places: ArrayRef = Arc::new(found.map(|(place, _)| place as i32 + 1).collect::<Int32Array>());
        let places = array::element_bytes(&PgType::Int4, &places, false)?;
        Ok(Some(array::of_items(places.iter().map(Vec::as_slice))))
    })
};

/// `array_remove(array, value)` and `array_replace(array, from, to)`.
pub(crate) const REPLACE: Kernel = |input| {
    let (arrays, from) = (Arrays::of(input, 0)?, elements(input, 1, true)?);
    let to = if input.types.len() > 2 { Some(elements(input, 2, false)?) } else { None };
    built(input.rows, |row| {
        let (Some(items), Some(forms)) = (arrays.items(row), arrays.canonical(row)) else { return Ok(None) };
        let new = items.into_iter().zip(forms).filter_map(|(item, form)| match (&to, form == from[row]) {
            (_, false) => Some(item),
            (Some(to), true) => Some(to[row].as_slice()),
            (None, true) => None,
        });
        Ok(Some(array::of_items(new)))
    })
};

/// `@>` (the left one has all of the right one's elements) and `&&` (they share one). A null equals
/// nothing.
pub(crate) const CONTAINS: Kernel = |input| {
    let (left, right) = (Arrays::of(input, 0)?, Arrays::of(input, 1)?);
    let verdict = |row: usize| {
        let (one, other) = (left.canonical(row)?, right.canonical(row)?);
        let found = |item: &Vec<u8>| !array::is_null_item(item) && one.contains(item);
        Some(if input.op() == "@>" { other.iter().all(found) } else { other.iter().any(found) })
    };
    Ok(Arc::new((0..input.rows).map(verdict).collect::<BooleanArray>()))
};

/// `array_to_string`: nulls are left out, or stand as the third argument says.
pub(crate) const TO_TEXT: Kernel = |input| {
    let (arrays, separators) = (Arrays::of(input, 0)?, input.array(1)?);
    let nulls = if input.types.len() > 2 { Some(input.array(2)?) } else { None };
    let style = TextStyle { zone: input.zone.clone(), extra_float_digits: 1 };
    let mut out = StringBuilder::new();
    for row in 0..input.rows {
        let (Some(items), false) = (arrays.items(row), separators.is_null(row)) else {
            out.append_null();
            continue;
        };
        let separator = separators.as_string::<i32>().value(row);
        let null = nulls.as_ref().filter(|nulls| nulls.is_valid(row)).map(|nulls| nulls.as_string::<i32>().value(row));
        let values = array::element_values(arrays.element, items)?;
        let writer = TextWriter::new(arrays.element, &values)?;
        let mut text = String::new();
        let mut first = true;
        for place in 0..values.len() {
            if values.is_null(place) && null.is_none() {
                continue;
            }
            if !std::mem::take(&mut first) {
                text.push_str(separator);
            }
            match null.filter(|_| values.is_null(place)) {
                Some(null) => text.push_str(null),
                None => writer.write(place, &style, &mut text),
            }
        }
        out.append_value(text);
    }
    Ok(Arc::new(out.finish()))
};

/// `string_to_array`: by a separator, by characters if it is null, whole if it is empty.
pub(crate) const OF_TEXT: Kernel = |input| {
    let (texts, separators) = (input.array(0)?, input.array(1)?);
    let nulls = if input.types.len() > 2 { Some(input.array(2)?) } else { None };
    built(input.rows, |row| {
        if texts.is_null(row) {
            return Ok(None);
        }
        let text = texts.as_string::<i32>().value(row);
        let separator = separators.is_valid(row).then(|| separators.as_string::<i32>().value(row));
        let null = nulls.as_ref().filter(|nulls| nulls.is_valid(row)).map(|nulls| nulls.as_string::<i32>().value(row));
        let parts: Vec<String> = match separator {
            _ if text.is_empty() => Vec::new(),
            None => text.chars().map(String::from).collect(),
            Some("") => vec![text.to_string()],
            Some(separator) => text.split(separator).map(str::to_string).collect(),
        };
        let parts = parts.into_iter().map(|part| (Some(part.as_str()) != null).then_some(part));
        let values: ArrayRef = Arc::new(parts.collect::<arrow::array::StringArray>());
        let items = array::element_bytes(&PgType::Text, &values, false)?;
        Ok(Some(array::of_items(items.iter().map(Vec::as_slice))))
    })
};

/// An array in the form that equal arrays share.
pub(crate) const CANONICAL: Kernel = |input| {
    let arrays = Arrays::of(input, 0)?;
    built(input.rows, |row| {
        let bytes = arrays.bytes();
        Ok(bytes.is_valid(row).then(|| array::canonical(arrays.element, bytes.value(row))))
    })
};
