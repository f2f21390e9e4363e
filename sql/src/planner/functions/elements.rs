//! unnest and generate_subscripts: an array's elements, and their places.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, RecordBatch};
use arrow::datatypes::Int32Type;
use thalweg_dataflow::Result;
use thalweg_dataflow::plan::{Expanded, SetFunction, Text};
use thalweg_dataflow::types::{PgType, array};

use super::slices::sliced;

/// The function over arrays of this element.
#[derive(Debug)]
pub(super) struct Elements {
    pub(super) element: &'static PgType,
    /// The places instead of the values.
    pub(super) subscripts: bool,
}

impl Text for Elements {
    fn text(&self) -> String {
        let name = if self.subscripts { "generate_subscripts" } else { "unnest" };
        format!("{name} of {}[]", self.element.name())
    }
}

impl SetFunction for Elements {
    fn columns(&self) -> Vec<PgType> {
        vec![if self.subscripts { PgType::Int4 } else { self.element.clone() }]
    }

    fn expand(&self, arguments: RecordBatch) -> Box<dyn Iterator<Item = Result<Expanded>> + Send> {
        let rows = arguments.num_rows();
        let element = self.element;
        let columns = arguments.columns().to_vec();
        let items = move |row: usize| -> Vec<Vec<u8>> {
            let arrays = columns[0].as_binary::<i32>();
            // Arrays have the one dimension.
            let first = columns.get(1).is_none_or(|dimensions| {
                dimensions.is_valid(row) && dimensions.as_primitive::<Int32Type>().value(row) == 1
            });
            if arrays.is_null(row) || !first {
                return Vec::new();
            }
            array::items(element, arrays.value(row)).map(<[u8]>::to_vec).collect()
        };
        if self.subscripts {
            let places = move |row: usize| {
                let count = items(row).len() as i32;
                Ok(Box::new((1..=count).map(Ok)) as Box<dyn Iterator<Item = Result<i32>> + Send>)
            };
            return sliced(rows, places, |places| Ok(Arc::new(Int32Array::from(places)) as ArrayRef));
        }
        let values = move |row: usize| {
            Ok(Box::new(items(row).into_iter().map(Ok)) as Box<dyn Iterator<Item = Result<Vec<u8>>> + Send>)
        };
        sliced(rows, values, move |items: Vec<Vec<u8>>| array::element_values(element, items.iter().map(Vec::as_slice)))
    }
}
