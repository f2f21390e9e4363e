//! What a set-returning function gives for many rows, cut into slices: never a whole set at once.

use arrow::array::{ArrayRef, UInt32Array};
use thalweg_dataflow::Result;
use thalweg_dataflow::plan::Expanded;

/// Rows of one slice.
pub(super) const SLICE_ROWS: usize = 8192;

/// The values of one row.
pub(super) type Values<T> = Box<dyn Iterator<Item = Result<T>> + Send>;

/// The values of all rows, a slice at a time.
pub(super) fn sliced<T: Send + 'static>(
    rows: usize,
    open: impl Fn(usize) -> Result<Values<T>> + Send + 'static,
    columns: impl Fn(Vec<T>) -> Result<Vec<ArrayRef>> + Send + 'static,
) -> Box<dyn Iterator<Item = Result<Expanded>> + Send> {
    let mut row = 0;
    let mut current: Option<Values<T>> = None;
    let mut fill = move || -> Result<Option<Expanded>> {
        let (mut origins, mut values) = (Vec::new(), Vec::new());
        while row < rows && values.len() < SLICE_ROWS {
            let series = match &mut current {
                Some(series) => series,
                None => current.insert(open(row)?),
            };
            match series.next() {
                Some(value) => {
                    origins.push(row as u32);
                    values.push(value?);
                }
                None => {
                    current = None;
                    row += 1;
                }
            }
        }
        if values.is_empty() {
            return Ok(None);
        }
        Ok(Some(Expanded { origins: UInt32Array::from(origins), columns: columns(values)? }))
    };
    // Behind an error there is nothing more.
    let mut failed = false;
    Box::new(std::iter::from_fn(move || {
        if failed {
            return None;
        }
        let slice = fill();
        failed = slice.is_err();
        slice.transpose()
    }))
}
