//! sum and avg of intervals: months, days and microseconds added up each by itself.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Field, FieldRef, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};
use thalweg_dataflow::types::{Interval, PgType};
use thalweg_dataflow::{Error, Result};

/// The aggregate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct IntervalSum {
    /// Divided by how many there are.
    average: bool,
    signature: Signature,
}

impl IntervalSum {
    /// `sum` or `avg`.
    pub(super) fn named(name: &str) -> IntervalSum {
        IntervalSum { average: name == "avg", signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for IntervalSum {
    fn name(&self) -> &str {
        // Not those that the engine keeps up row by row.
        if self.average { "avg of intervals" } else { "sum of intervals" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(PgType::Interval.arrow())
    }

    fn return_field(&self, _arg_fields: &[FieldRef]) -> DataFusionResult<FieldRef> {
        Ok(Arc::new(PgType::Interval.field(self.name(), true)))
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DataFusionResult<Box<dyn Accumulator>> {
        let seen = args.is_distinct.then(HashSet::new);
        let sum = Interval::from_arrow(IntervalMonthDayNano::new(0, 0, 0));
        Ok(Box::new(Sums { average: self.average, count: 0, sum, seen }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DataFusionResult<Vec<FieldRef>> {
        let field = |what: &str, layout| Arc::new(Field::new(format!("{}[{what}]", args.name), layout, true));
        let interval = DataType::Interval(IntervalUnit::MonthDayNano);
        if args.is_distinct {
            return Ok(vec![field("values", DataType::List(Arc::new(Field::new_list_field(interval, true))))]);
        }
        Ok(vec![field("count", DataType::Int64), field("sum", interval)])
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// What is added up.
#[derive(Debug)]
struct Sums {
    average: bool,
    count: i64,
    sum: Interval,
    /// DISTINCT: the values, of equal ones the first.
    seen: Option<HashSet<IntervalMonthDayNano>>,
}

fn intervals(values: &ArrayRef) -> Result<&arrow::array::IntervalMonthDayNanoArray> {
    let values = values.as_primitive_opt::<IntervalMonthDayNanoType>();
    values.ok_or_else(|| Error::internal("a sum over another layout than interval's"))
}

impl Sums {
    fn add(&mut self, values: &ArrayRef, back: bool) -> Result<()> {
        for value in intervals(values)?.iter().flatten() {
            if let Some(seen) = &mut self.seen
                && !seen.insert(value)
            {
                continue;
            }
            let value = Interval::from_arrow(value);
            self.sum = self.sum.add(if back { value.neg()? } else { value })?;
            self.count += if back { -1 } else { 1 };
        }
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef]) -> Result<()> {
        if self.seen.is_some() {
            return states[0].as_list::<i32>().iter().flatten().try_for_each(|values| self.add(&values, false));
        }
        let (counts, sums) = (states[0].as_primitive::<Int64Type>(), intervals(&states[1])?);
        for row in (0..counts.len()).filter(|row| counts.is_valid(*row)) {
            self.count += counts.value(row);
            self.sum = self.sum.add(Interval::from_arrow(sums.value(row)))?;
        }
        Ok(())
    }

    fn result(&self) -> Result<Option<IntervalMonthDayNano>> {
        Ok(match (self.count, self.average) {
            (0, _) => None,
            (_, false) => Some(self.sum.to_arrow()),
            (count, true) => Some(self.sum.mul(1.0 / count as f64)?.to_arrow()),
        })
    }
}

impl Accumulator for Sums {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        self.add(&values[0], false).map_err(Error::into_datafusion)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        self.add(&values[0], true).map_err(Error::into_datafusion)
    }

    fn supports_retract_batch(&self) -> bool {
        self.seen.is_none()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        self.merge(states).map_err(Error::into_datafusion)
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        if let Some(seen) = &self.seen {
            let values: Vec<ScalarValue> =
                seen.iter().map(|value| ScalarValue::IntervalMonthDayNano(Some(*value))).collect();
            let layout = DataType::Interval(IntervalUnit::MonthDayNano);
            return Ok(vec![ScalarValue::List(ScalarValue::new_list_nullable(&values, &layout))]);
        }
        let sum = ScalarValue::IntervalMonthDayNano(Some(self.sum.to_arrow()));
        Ok(vec![ScalarValue::Int64(Some(self.count)), sum])
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        self.result().map(ScalarValue::IntervalMonthDayNano).map_err(Error::into_datafusion)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.seen.as_ref().map_or(0, |seen| seen.len() * 24)
    }
}
