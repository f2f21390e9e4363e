//! `Map`: filters, then projections, over a batch at a time.
//!
//! Filters run one after the other, each only over the rows that passed the ones before. When an
//! expression fails on a batch, the batch is halved until the failing rows stand alone: they
//! become errors, the rest goes on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::compute::{filter, filter_record_batch, prep_null_mask_filter};
use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;

use super::{ErrorChange, row_text};
use crate::delta::{Batch, Delta, of_columns};
use crate::error::{Error, Result};

/// The operator; it has no state.
#[derive(Debug)]
pub(crate) struct Map {
    pub(crate) filters: Vec<Arc<dyn PhysicalExpr>>,
    pub(crate) project: Vec<Arc<dyn PhysicalExpr>>,
    pub(crate) schema: SchemaRef,
}

impl Map {
    /// One batch through; rows that fail go to `errors`.
    pub(crate) fn apply(&self, batch: &Batch, out: &mut Delta, errors: &mut Vec<ErrorChange>) -> Result<()> {
        by_halves(batch, &|batch| Ok(self.evaluate(batch)?.into_iter().collect()), out, errors)
    }

    /// What passes, if anything does: projections are not looked at for no row at all.
    fn evaluate(&self, batch: &Batch) -> Result<Option<Batch>> {
        let mut rows = batch.rows.clone();
        let mut diffs = batch.diffs.clone();
        for predicate in &self.filters {
            let verdict = predicate.evaluate(&rows)?.into_array(rows.num_rows())?;
            let mask = verdict
                .as_boolean_opt()
                .ok_or_else(|| Error::internal(format!("filter {predicate} is not boolean")))?;
            if mask.true_count() == rows.num_rows() {
                continue;
            }
            let mask = if mask.null_count() > 0 { prep_null_mask_filter(mask) } else { mask.clone() };
            diffs = diffs.map(|diffs| filter_diffs(&diffs, &mask)).transpose()?;
            rows = filter_record_batch(&rows, &mask)?;
            if rows.num_rows() == 0 {
                return Ok(None);
            }
        }
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.project.len());
        for (place, expr) in self.project.iter().enumerate() {
            let column = expr.evaluate(&rows)?.into_array(rows.num_rows())?;
            let declared = self.schema.field(place).data_type();
            if column.data_type() != declared {
                return Err(Error::internal(format!(
                    "expression {expr} gives {} where {declared} was planned",
                    column.data_type()
                )));
            }
            columns.push(column);
        }
        Ok(Some(Batch { rows: of_columns(&self.schema, columns, rows.num_rows())?, diffs }))
    }
}

/// Runs `work` over a batch, halving it as long as it fails: the rows on which it fails alone become
/// errors.
pub(super) fn by_halves(
    batch: &Batch,
    work: &dyn Fn(&Batch) -> Result<Delta>,
    out: &mut Delta,
    errors: &mut Vec<ErrorChange>,
) -> Result<()> {
    if batch.rows.num_rows() == 0 {
        return Ok(());
    }
    // An expression that panics is a defect; it fails its row, not the engine.
    let outcome = catch_unwind(AssertUnwindSafe(|| work(batch)));
    match outcome.unwrap_or_else(|_| Err(Error::internal("an expression panicked"))) {
        Ok(result) => {
            out.extend(result);
            Ok(())
        }
        Err(error) if batch.rows.num_rows() == 1 => {
            let row = row_text(batch.rows.columns(), 0, &batch.rows.schema());
            errors.push(ErrorChange { error, row, diff: batch.diff(0) });
            Ok(())
        }
        Err(_) => {
            let half = batch.rows.num_rows() / 2;
            by_halves(&slice(batch, 0, half), work, out, errors)?;
            by_halves(&slice(batch, half, batch.rows.num_rows() - half), work, out, errors)
        }
    }
}

fn filter_diffs(diffs: &Arc<[i64]>, mask: &BooleanArray) -> Result<Arc<[i64]>> {
    let array = Int64Array::from(diffs.to_vec());
    let kept = filter(&array, mask)?;
    Ok(kept.as_primitive::<arrow::datatypes::Int64Type>().values().to_vec().into())
}

fn slice(batch: &Batch, from: usize, rows: usize) -> Batch {
    Batch {
        rows: batch.rows.slice(from, rows),
        diffs: batch.diffs.as_ref().map(|diffs| diffs[from..from + rows].into()),
    }
}
