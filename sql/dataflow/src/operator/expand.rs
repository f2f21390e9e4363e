//! `Expand`: what a function makes of each row, any number of rows, beside columns of the row itself.
//!
//! A row that goes takes the rows it became with it: the function gives the same for the same row, so
//! nothing is kept. A row on which the function fails becomes an error.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::ErrorChange;
use super::map::by_halves;
use crate::delta::{Batch, Delta, of_columns, take};
use crate::error::Result;
use crate::plan::SetFunction;

/// The operator; it has no state.
#[derive(Debug)]
pub(crate) struct Expand {
    passed: Vec<usize>,
    arguments: Vec<usize>,
    function: Arc<dyn SetFunction>,
    schema: SchemaRef,
}

impl Expand {
    /// A function over these columns.
    pub(crate) fn new(
        passed: &[usize],
        arguments: &[usize],
        function: Arc<dyn SetFunction>,
        schema: SchemaRef,
    ) -> Expand {
        Expand { passed: passed.to_vec(), arguments: arguments.to_vec(), function, schema }
    }

    /// One batch through; rows that fail go to `errors`.
    pub(crate) fn apply(&self, batch: &Batch, out: &mut Delta, errors: &mut Vec<ErrorChange>) -> Result<()> {
        by_halves(batch, &|batch| self.expand(batch), out, errors)
    }

    fn expand(&self, batch: &Batch) -> Result<Delta> {
        let passed = batch.rows.project(&self.passed)?;
        let mut out = Delta::new();
        for slice in self.function.expand(batch.rows.project(&self.arguments)?) {
            let slice = slice?;
            let diffs = batch.diffs.as_ref();
            let diffs = diffs.map(|all| slice.origins.values().iter().map(|row| all[*row as usize]).collect());
            let mut columns = take(&passed, &slice.origins)?.columns().to_vec();
            columns.extend(slice.columns);
            let rows = of_columns(&self.schema, columns, slice.origins.len())?;
            out.push(Batch { rows, diffs });
        }
        Ok(out)
    }
}
