//! string_agg: DataFusion's, whose results become text of our layout.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::functions_aggregate::string_agg::string_agg_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use thalweg_dataflow::types::PgType;

/// The aggregate.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct StringAgg {
    /// What joins the texts.
    joined: Arc<AggregateUDF>,
    signature: Signature,
}

impl StringAgg {
    pub(super) fn new() -> StringAgg {
        StringAgg::over(string_agg_udaf())
    }

    fn over(joined: Arc<AggregateUDF>) -> StringAgg {
        StringAgg { joined, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

fn large() -> FieldRef {
    Arc::new(Field::new("joined", DataType::LargeUtf8, true))
}

impl AggregateUDFImpl for StringAgg {
    fn name(&self) -> &str {
        "string_agg"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(PgType::Text.arrow())
    }

    fn return_field(&self, _arg_fields: &[FieldRef]) -> DataFusionResult<FieldRef> {
        Ok(Arc::new(PgType::Text.field(self.name(), true)))
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DataFusionResult<Box<dyn Accumulator>> {
        let joined = self.joined.accumulator(AccumulatorArgs { return_field: large(), ..args })?;
        Ok(Box::new(Joined(joined)))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DataFusionResult<Vec<FieldRef>> {
        self.joined.state_fields(StateFieldsArgs { return_field: large(), ..args })
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.joined.order_sensitivity()
    }

    fn with_beneficial_ordering(
        self: Arc<Self>,
        beneficial: bool,
    ) -> DataFusionResult<Option<Arc<dyn AggregateUDFImpl>>> {
        let joined = self.joined.as_ref().clone().with_beneficial_ordering(beneficial)?;
        Ok(joined.map(|joined| Arc::new(StringAgg::over(Arc::new(joined))) as Arc<dyn AggregateUDFImpl>))
    }
}

/// DataFusion's accumulator, whose result is of another layout.
#[derive(Debug)]
struct Joined(Box<dyn Accumulator>);

impl Accumulator for Joined {
    fn update_batch(&mut self, values: &[arrow::array::ArrayRef]) -> DataFusionResult<()> {
        self.0.update_batch(values)
    }

    fn merge_batch(&mut self, states: &[arrow::array::ArrayRef]) -> DataFusionResult<()> {
        self.0.merge_batch(states)
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        self.0.state()
    }

    fn retract_batch(&mut self, values: &[arrow::array::ArrayRef]) -> DataFusionResult<()> {
        self.0.retract_batch(values)
    }

    fn supports_retract_batch(&self) -> bool {
        self.0.supports_retract_batch()
    }

    fn size(&self) -> usize {
        self.0.size()
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        self.0.evaluate()?.cast_to(&DataType::Utf8)
    }
}
