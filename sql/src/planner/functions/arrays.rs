//! The functions and operators over arrays.
//!
//! They work on the elements' bytes (`thalweg_dataflow::types::array`) and so serve every element
//! type alike: equal elements have equal canonical bytes, greater ones greater bytes. Which types
//! a call has is the binder's choice (`crate::planner::array`). What looks at dimensions stands in
//! `array_shape`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray, Int32Array, StringBuilder};
use arrow::datatypes::Int32Type;
use thalweg_dataflow::types::array::{self, Dimension};
use thalweg_dataflow::types::{PgType, TextStyle, TextWriter};
use thalweg_dataflow::{Error, Result, SqlState};

use super::udf::{Input, Kernel};

/// The element of the array that an argument or the result is.
fn element(ty: &PgType) -> Result<&'static PgType> {
    ty.element().ok_or_else(|| Error::internal(format!("{} is no array", ty.name())))
}

/// Array arguments as their elements' bytes.
pub(super) struct Arrays {
    array: ArrayRef,
    pub(super) element: &'static PgType,
}

impl Arrays {
    pub(super) fn of(input: &Input<'_>, place: usize) -> Result<Arrays> {
        Ok(Arrays { array: input.array(place)?, element: element(&input.types[place])? })
    }

    pub(super) fn bytes(&self) -> &BinaryArray {
        self.array.as_binary::<i32>()
    }

    /// The elements of a row's array and its dimensions; `None`: the array is null.
    pub(super) fn parts(&self, row: usize) -> Option<(Vec<&[u8]>, Vec<Dimension>)> {
        let bytes = self.bytes();
        bytes.is_valid(row).then(|| array::parts(self.element, bytes.value(row)))
    }

    /// The dimensions of a row's array; none of one that is null.
    pub(super) fn dimensions(&self, row: usize) -> Vec<Dimension> {
        let bytes = self.bytes();
        if bytes.is_null(row) { Vec::new() } else { array::dimensions(self.element, bytes.value(row)) }
    }

    /// The first subscript of a row's array.
    fn lower(&self, row: usize) -> i32 {
        self.dimensions(row).first().map_or(1, |dimension| dimension.lower)
    }

    /// 0A000 if one of the arrays has several dimensions.
    fn refuse_several(&self, message: &str) -> Result<()> {
        match (0..self.bytes().len()).any(|row| self.dimensions(row).len() > 1) {
            true => Err(Error::new(SqlState::FeatureNotSupported, message)),
            false => Ok(()),
        }
    }

    /// The elements of a row's array, each as its bytes; `None`: the array is null.
    pub(super) fn items(&self, row: usize) -> Option<Vec<&[u8]>> {
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
pub(super) fn elements(input: &Input<'_>, place: usize, canonical: bool) -> Result<Vec<Vec<u8>>> {
    array::element_bytes(&input.types[place], &input.array(place)?, canonical)
}

pub(super) fn integers(input: &Input<'_>, place: usize) -> Result<ArrayRef> {
    input.array(place)
}

/// A column of arrays, made row by row.
pub(super) fn built(rows: usize, each: impl Fn(usize) -> Result<Option<Vec<u8>>>) -> Result<ArrayRef> {
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

/// The bucket of a value among sorted lower bounds.
pub(crate) const BUCKET: Kernel = |input| {
    let (values, arrays) = (elements(input, 0, true)?, Arrays::of(input, 1)?);
    let bucket = |row: usize| -> Result<Option<i32>> {
        if arrays.dimensions(row).len() > 1 {
            let message = "thresholds must be one-dimensional array";
            return Err(Error::new(SqlState::ArraySubscript, message));
        }
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

/// `array_position`: a null is found like any other value.
pub(crate) const POSITION: Kernel = |input| {
    let (arrays, values) = (Arrays::of(input, 0)?, elements(input, 1, true)?);
    arrays.refuse_several("searching for elements in multidimensional arrays is not supported")?;
    let start = if input.types.len() > 2 { Some(integers(input, 2)?) } else { None };
    let mut places = Vec::with_capacity(input.rows);
    for (row, value) in values.iter().enumerate() {
        let first = match &start {
            None => 0,
            Some(start) if start.is_null(row) => {
                return Err(Error::new(SqlState::NullValueNotAllowed, "initial position must not be null"));
            }
            Some(start) => {
                let first = i64::from(start.as_primitive::<Int32Type>().value(row)) - i64::from(arrays.lower(row));
                usize::try_from(first).unwrap_or(0)
            }
        };
        places.push(arrays.canonical(row).and_then(|items| {
            let found = items.iter().enumerate().skip(first).find(|(_, item)| *item == value);
            found.map(|(place, _)| arrays.lower(row).wrapping_add(place as i32))
        }));
    }
    Ok(Arc::new(Int32Array::from(places)))
};

/// `array_positions`.
pub(crate) const POSITIONS: Kernel = |input| {
    let (arrays, values) = (Arrays::of(input, 0)?, elements(input, 1, true)?);
    arrays.refuse_several("searching for elements in multidimensional arrays is not supported")?;
    built(input.rows, |row| {
        let Some(items) = arrays.canonical(row) else { return Ok(None) };
        let found = items.iter().enumerate().filter(|(_, item)| **item == values[row]);
        let places: ArrayRef =
            Arc::new(found.map(|(place, _)| arrays.lower(row).wrapping_add(place as i32)).collect::<Int32Array>());
        let places = array::element_bytes(&PgType::Int4, &places, false)?;
        Ok(Some(array::of_items(places.iter().map(Vec::as_slice))))
    })
};

/// `array_remove(array, value)` and `array_replace(array, from, to)`.
pub(crate) const REPLACE: Kernel = |input| {
    let (arrays, from) = (Arrays::of(input, 0)?, elements(input, 1, true)?);
    let to = if input.types.len() > 2 { Some(elements(input, 2, false)?) } else { None };
    if to.is_none() {
        arrays.refuse_several("removing elements from multidimensional arrays is not supported")?;
    }
    built(input.rows, |row| {
        let mut dimensions = arrays.dimensions(row);
        let (Some(items), Some(forms)) = (arrays.items(row), arrays.canonical(row)) else { return Ok(None) };
        let new = items.into_iter().zip(forms).filter_map(|(item, form)| match (&to, form == from[row]) {
            (_, false) => Some(item),
            (Some(to), true) => Some(to[row].as_slice()),
            (None, true) => None,
        });
        let new: Vec<&[u8]> = new.collect();
        if let ([only], None) = (&mut dimensions[..], &to) {
            only.length = new.len();
        }
        Ok(Some(array::shaped(array::of_items(new), &dimensions)))
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
