//! The values of array_agg with DISTINCT: each once, in their order.
//!
//! DataFusion's tells values apart by their bytes and cannot sort by PostgreSQL's order of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::Accumulator;
use thalweg_dataflow::types::{PgType, array};
use thalweg_dataflow::{Error, Result};

use super::array_agg;

/// Elements by their canonical bytes; of equal ones the greatest form (`planner::form`).
#[derive(Debug)]
pub(super) struct DistinctItems {
    element: PgType,
    order: SortOptions,
    items: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl DistinctItems {
    /// None yet; to be given out in this order.
    pub(super) fn new(element: PgType, order: SortOptions) -> DistinctItems {
        DistinctItems { element, order, items: BTreeMap::new() }
    }

    /// What is handed from one stage of an aggregation to the next: the elements' bytes.
    pub(super) fn state_field(name: &str) -> FieldRef {
        let item = Arc::new(Field::new_list_field(DataType::Binary, true));
        Arc::new(Field::new(format!("{name}[items]"), DataType::List(item), true))
    }

    fn add(&mut self, values: &ArrayRef) -> Result<()> {
        let keys = array::canonical_element_bytes(&self.element, values)?;
        let forms = array::element_bytes(&self.element, values, false)?;
        for (key, form) in keys.into_iter().zip(forms) {
            let known = self.items.entry(key).or_default();
            if *known < form {
                *known = form;
            }
        }
        Ok(())
    }

    /// An array, or nothing if there was no value.
    fn array(&self) -> Result<Option<Vec<u8>>> {
        let values = || self.items.values().map(Vec::as_slice).filter(|item| !array::is_null_item(item));
        let nulls = self.items.values().map(Vec::as_slice).filter(|item| array::is_null_item(item));
        let sorted: Vec<&[u8]> = match self.order.descending {
            true => values().rev().collect(),
            false => values().collect(),
        };
        if self.items.is_empty() {
            return Ok(None);
        }
        let items: Vec<&[u8]> = match self.order.nulls_first {
            true => nulls.chain(sorted).collect(),
            false => sorted.into_iter().chain(nulls).collect(),
        };
        Ok(Some(match self.element.element() {
            Some(inner) => array_agg::stacked(inner, &array::element_values(&self.element, items)?)?,
            None => array::of_items(items),
        }))
    }
}

impl Accumulator for DistinctItems {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        values.iter().take(1).try_for_each(|values| self.add(values)).map_err(Error::into_datafusion)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        for list in states.first().and_then(|states| states.as_list_opt::<i32>()).iter().flat_map(|lists| lists.iter())
        {
            let Some(items) = list.as_ref().and_then(|list| list.as_binary_opt::<i32>()) else { continue };
            let values = array::element_values(&self.element, items.iter().flatten());
            values.and_then(|values| self.add(&values)).map_err(Error::into_datafusion)?;
        }
        Ok(())
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        let items: BinaryArray = self.items.values().map(|item| Some(item.as_slice())).collect();
        Ok(vec![SingleRowListArrayBuilder::new(Arc::new(items)).build_list_scalar()])
    }

    fn size(&self) -> usize {
        let bytes: usize = self.items.iter().map(|(key, form)| key.capacity() + form.capacity()).sum();
        size_of_val(self) + bytes + self.items.len() * 2 * size_of::<Vec<u8>>()
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        Ok(ScalarValue::Binary(self.array().map_err(Error::into_datafusion)?))
    }
}
