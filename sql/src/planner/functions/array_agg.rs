//! array_agg: DataFusion's, whose lists become our arrays; with DISTINCT our own ([`super::distinct_items`]).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::functions_aggregate::array_agg::array_agg_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use thalweg_dataflow::types::{PgType, array};
use thalweg_dataflow::{Error, Result, SqlState};

use super::distinct_items::DistinctItems;

/// The aggregate over values of one type.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ArrayAgg {
    element: PgType,
    /// What collects the values.
    lists: Arc<AggregateUDF>,
    signature: Signature,
}

impl ArrayAgg {
    /// Over values of this type.
    pub(super) fn new(element: PgType) -> ArrayAgg {
        ArrayAgg::over(element, array_agg_udaf())
    }

    fn over(element: PgType, lists: Arc<AggregateUDF>) -> ArrayAgg {
        ArrayAgg { element, lists, signature: Signature::user_defined(Volatility::Immutable) }
    }

    fn list(&self) -> FieldRef {
        Arc::new(Field::new_list("list", Field::new_list_field(self.element.arrow(), true), true))
    }
}

impl AggregateUDFImpl for ArrayAgg {
    fn name(&self) -> &str {
        "array_agg"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.element.array().arrow())
    }

    fn return_field(&self, _arg_fields: &[FieldRef]) -> DataFusionResult<FieldRef> {
        Ok(Arc::new(self.element.array().field(self.name(), true)))
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DataFusionResult<Box<dyn Accumulator>> {
        if args.is_distinct {
            let order = args.order_bys.first().map(|by| by.options).unwrap_or_default();
            return Ok(Box::new(DistinctItems::new(self.element.clone(), order)));
        }
        let lists = self.lists.accumulator(AccumulatorArgs { return_field: self.list(), ..args })?;
        Ok(Box::new(Collected { lists, element: self.element.clone() }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DataFusionResult<Vec<FieldRef>> {
        if args.is_distinct {
            return Ok(vec![DistinctItems::state_field(args.name)]);
        }
        self.lists.state_fields(StateFieldsArgs { return_field: self.list(), ..args })
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.lists.order_sensitivity()
    }

    fn with_beneficial_ordering(
        self: Arc<Self>,
        beneficial: bool,
    ) -> DataFusionResult<Option<Arc<dyn AggregateUDFImpl>>> {
        let lists = self.lists.as_ref().clone().with_beneficial_ordering(beneficial)?;
        Ok(lists
            .map(|lists| Arc::new(ArrayAgg::over(self.element.clone(), Arc::new(lists))) as Arc<dyn AggregateUDFImpl>))
    }

    fn default_value(&self, _data_type: &DataType) -> DataFusionResult<ScalarValue> {
        Ok(ScalarValue::Binary(None))
    }
}

/// Lists, collected, and an array in the end.
#[derive(Debug)]
struct Collected {
    lists: Box<dyn Accumulator>,
    element: PgType,
}

impl Accumulator for Collected {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        self.lists.update_batch(values)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        self.lists.merge_batch(states)
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        self.lists.state()
    }

    fn size(&self) -> usize {
        self.lists.size()
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        let list = self.lists.evaluate()?.to_array()?;
        let Some(list) = list.as_list_opt::<i32>().filter(|list| list.is_valid(0)) else {
            return Ok(ScalarValue::Binary(None));
        };
        let values = list.value(0);
        let array = match self.element.element() {
            Some(inner) => stacked(inner, &values),
            None => array::element_bytes(&self.element, &values, false)
                .map(|items| array::of_items(items.iter().map(Vec::as_slice))),
        };
        Ok(ScalarValue::Binary(Some(array.map_err(|error| error.into_datafusion())?)))
    }
}

/// One array of arrays of one shape. Errors 22004 and 2202E.
pub(super) fn stacked(element: &PgType, arrays: &ArrayRef) -> Result<Vec<u8>> {
    let arrays = arrays.as_binary_opt::<i32>().ok_or_else(|| Error::internal("an array is bytes"))?;
    let refused = |message: &str| Err(Error::new(SqlState::ArraySubscript, message));
    let mut known = None;
    for bytes in arrays {
        let Some(bytes) = bytes else {
            return Err(Error::new(SqlState::NullValueNotAllowed, "cannot accumulate null arrays"));
        };
        let dimensions = array::dimensions(element, bytes);
        if dimensions.is_empty() {
            return refused("cannot accumulate empty arrays");
        }
        if *known.get_or_insert_with(|| dimensions.clone()) != dimensions {
            return refused("cannot accumulate arrays of different dimensionality");
        }
    }
    array::stacked(element, arrays.iter())
}
