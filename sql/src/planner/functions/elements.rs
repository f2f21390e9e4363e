//! unnest and generate_subscripts: an array's elements, and their places.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int32Array, RecordBatch};
use arrow::datatypes::Int32Type;
use thalweg_dataflow::Result;
use thalweg_dataflow::plan::{Expanded, SetFunction, Text};
use thalweg_dataflow::types::{PgType, array};

use super::slices::sliced;

/// The function over arrays of this element.
#[derive(Debug)]
pub(super) struct Elements {
    pub(super) element: &'static PgType,
    pub(super) gives: Gives,
}

/// What it gives of each element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gives {
    /// The value.
    Values,
    /// The place, counted from this.
    Places(i32),
    /// Value and place, from 1, as an array of the two: `_pg_expandarray` of integers.
    Pairs,
}

impl Text for Elements {
    fn text(&self) -> String {
        let name = match self.gives {
            Gives::Values => "unnest",
            Gives::Places(0) => "generate_subscripts from 0",
            Gives::Places(_) => "generate_subscripts",
            Gives::Pairs => "_pg_expandarray",
        };
        format!("{name} of {}[]", self.element.name())
    }
}

impl SetFunction for Elements {
    fn columns(&self) -> Vec<PgType> {
        vec![match self.gives {
            Gives::Values => self.element.clone(),
            Gives::Places(_) => PgType::Int4,
            Gives::Pairs => PgType::Array(&PgType::Int4),
        }]
    }

    fn expand(&self, arguments: RecordBatch) -> Box<dyn Iterator<Item = Result<Expanded>> + Send> {
        let rows = arguments.num_rows();
        let element = self.element;
        let columns = arguments.columns().to_vec();
        if let Gives::Places(first) = self.gives {
            let places = move |row: usize| {
                let (from, to) = subscripts(element, &columns, row).unwrap_or((0, -1));
                let shift = first - 1;
                let places = (from..=to).map(move |place| Ok(place + shift));
                let down =
                    columns.get(2).is_some_and(|reverse| reverse.is_valid(row) && reverse.as_boolean().value(row));
                Ok(match down {
                    true => Box::new(places.rev()) as Box<dyn Iterator<Item = Result<i32>> + Send>,
                    false => Box::new(places),
                })
            };
            return sliced(rows, places, |places| Ok(vec![Arc::new(Int32Array::from(places)) as ArrayRef]));
        }
        let items = move |row: usize| -> Vec<Vec<u8>> {
            let arrays = columns[0].as_binary::<i32>();
            if arrays.is_null(row) {
                return Vec::new();
            }
            array::items(element, arrays.value(row)).map(<[u8]>::to_vec).collect()
        };
        if self.gives == Gives::Pairs {
            let pairs = move |row: usize| {
                let pairs = (1..).zip(items(row)).map(move |(place, item)| pair(element, &item, place));
                Ok(Box::new(pairs) as Box<dyn Iterator<Item = Result<Vec<u8>>> + Send>)
            };
            let column = |pairs: Vec<Vec<u8>>| Ok(vec![Arc::new(BinaryArray::from_iter_values(pairs)) as ArrayRef]);
            return sliced(rows, pairs, column);
        }
        let values = move |row: usize| {
            Ok(Box::new(items(row).into_iter().map(Ok)) as Box<dyn Iterator<Item = Result<Vec<u8>>> + Send>)
        };
        sliced(rows, values, move |items: Vec<Vec<u8>>| {
            Ok(vec![array::element_values(element, items.iter().map(Vec::as_slice))?])
        })
    }
}

/// The first and the last subscript of a dimension; `None`: an argument is null, or there is none.
fn subscripts(element: &PgType, columns: &[ArrayRef], row: usize) -> Option<(i32, i32)> {
    let arrays = columns[0].as_binary::<i32>();
    let numbers = columns.get(1)?.as_primitive::<Int32Type>();
    if columns.iter().any(|column| column.is_null(row)) {
        return None;
    }
    let place = usize::try_from(numbers.value(row)).ok()?.checked_sub(1)?;
    let dimension = *array::dimensions(element, arrays.value(row)).get(place)?;
    Some((dimension.lower, dimension.upper()))
}

/// `{value, place}`.
fn pair(element: &PgType, item: &[u8], place: i32) -> Result<Vec<u8>> {
    let value = array::element_values(element, [item])?;
    let value = arrow::compute::cast(&value, &arrow::datatypes::DataType::Int32)?;
    let value = value.as_primitive::<Int32Type>();
    let pair: ArrayRef = Arc::new(Int32Array::from(vec![value.is_valid(0).then(|| value.value(0)), Some(place)]));
    let items = array::element_bytes(&PgType::Int4, &pair, false)?;
    Ok(array::of_items(items.iter().map(Vec::as_slice)))
}
