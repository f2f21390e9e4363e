//! `approx_count_distinct` and `approx_percentile` in batch: the engine's own sketches, so that a view
//! equals its query to the last bit.

use std::any::Any;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Schema};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Expr, Signature, Volatility};
use datafusion::physical_expr::create_physical_expr;
use thalweg_dataflow::plan::Function;
use thalweg_dataflow::sketch::{Bytes, Hashes, distinct, quantile};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result, SqlState};

use super::super::binder::at;
use super::super::typed::Typed;
use super::cast;

/// Whether an aggregate is one of these.
pub(crate) fn is_approximate(name: &str) -> bool {
    matches!(name, "approx_count_distinct" | "approx_percentile")
}

/// One of them over one type.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Approximate {
    input: PgType,
    /// The engine's own.
    function: Function,
    signature: Signature,
}

impl Approximate {
    /// `approx_count_distinct` of this type.
    pub(super) fn count_distinct(input: PgType) -> Approximate {
        Approximate::new(input, Function::ApproxCountDistinct)
    }

    /// `approx_percentile` at a share that is a constant.
    pub(super) fn percentile(fraction: &Typed) -> Result<Approximate> {
        let value = constant(fraction).map_err(|error| at(error, fraction.at))?;
        if !(0.0..=1.0).contains(&value) {
            let message = format!("percentile value {value} is not between 0 and 1");
            return Err(at(Error::new(SqlState::NumericOutOfRange, message), fraction.at));
        }
        Ok(Approximate::new(PgType::Float8, Function::ApproxPercentile(value.to_bits())))
    }

    fn new(input: PgType, function: Function) -> Approximate {
        Approximate { input, function, signature: Signature::user_defined(Volatility::Immutable) }
    }

    /// The engine's function, if this is one of these.
    pub(crate) fn engine_function(function: &AggregateUDF) -> Option<Function> {
        let inner = function.inner().as_ref() as &dyn Any;
        inner.downcast_ref::<Approximate>().map(|approximate| approximate.function)
    }

    fn result(&self) -> PgType {
        match self.function {
            Function::ApproxCountDistinct => PgType::Int8,
            _ => PgType::Float8,
        }
    }
}

/// A constant double precision.
fn constant(fraction: &Typed) -> Result<f64> {
    let variable = || Error::unsupported("approx_percentile with a fraction that is not a constant");
    let expr = match (&fraction.ty, &fraction.expr) {
        (None, Expr::Literal(ScalarValue::Utf8(Some(text)), _)) => {
            return text.trim().parse().map_err(|_| {
                let message = format!("invalid input syntax for type double precision: \"{text}\"");
                Error::new(SqlState::InvalidTextRepresentation, message)
            });
        }
        (Some(PgType::Float8), expr) => expr.clone(),
        (Some(from), expr) => cast(expr.clone(), from, &PgType::Float8, "UTC")?,
        (None, _) => return Err(variable()),
    };
    if !expr.column_refs().is_empty() || expr.any_column_refs() {
        return Err(variable());
    }
    let (nothing, context) = (DFSchema::empty(), PhysicalPlanningContext::default());
    let physical = create_physical_expr(&expr, &nothing, &ExecutionProps::new(), &context).map_err(|_| variable())?;
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(1));
    let row = arrow::array::RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?;
    let value = physical.evaluate(&row).map_err(|_| variable())?.into_array(1)?;
    match value.as_primitive_opt::<Float64Type>() {
        Some(value) if value.is_valid(0) => Ok(value.value(0)),
        _ => Err(variable()),
    }
}

impl AggregateUDFImpl for Approximate {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.result().arrow())
    }

    fn return_field(&self, _arg_fields: &[FieldRef]) -> DataFusionResult<FieldRef> {
        Ok(Arc::new(self.result().field(self.name(), true)))
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    fn accumulator(&self, _args: AccumulatorArgs<'_>) -> DataFusionResult<Box<dyn Accumulator>> {
        Ok(Box::new(Sketch { input: self.input.clone(), function: self.function, bytes: None }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DataFusionResult<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[sketch]", args.name), DataType::Binary, true))])
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn default_value(&self, data_type: &DataType) -> DataFusionResult<ScalarValue> {
        match self.function {
            Function::ApproxCountDistinct => Ok(ScalarValue::Int64(Some(0))),
            _ => ScalarValue::try_from(data_type),
        }
    }
}

/// A sketch that grows.
#[derive(Debug)]
struct Sketch {
    input: PgType,
    function: Function,
    bytes: Bytes,
}

impl Accumulator for Sketch {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        let Some(values) = values.first() else { return Ok(()) };
        if self.function == Function::ApproxCountDistinct {
            let mut hashes = Hashes::new(&self.input, values).map_err(Error::into_datafusion)?;
            let hashes = (0..values.len()).filter_map(|row| hashes.of(row));
            hashes.for_each(|hash| distinct::add(&mut self.bytes, hash));
        } else if let Some(values) = values.as_primitive_opt::<Float64Type>() {
            values.iter().flatten().for_each(|value| quantile::add(&mut self.bytes, value, 1));
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        for sketch in states.first().into_iter().flat_map(|states| states.as_binary::<i32>()).flatten() {
            let merged = match self.function {
                Function::ApproxCountDistinct => distinct::merge(&mut self.bytes, sketch),
                _ => quantile::merge(&mut self.bytes, sketch),
            };
            merged.map_err(Error::into_datafusion)?;
        }
        Ok(())
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Binary(self.bytes.as_deref().map(<[u8]>::to_vec))])
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        Ok(match self.function {
            Function::ApproxPercentile(fraction) => {
                ScalarValue::Float64(quantile::value_at(self.bytes.as_deref(), f64::from_bits(fraction)))
            }
            _ => ScalarValue::Int64(Some(distinct::estimate(self.bytes.as_deref()))),
        })
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.bytes.as_ref().map_or(0, |bytes| bytes.len())
    }
}
