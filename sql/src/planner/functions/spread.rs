//! variance and stddev of exact numbers: exact sums of the values and their squares, one rounding in
//! the end, PostgreSQL's digits (numeric_stddev_internal).

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};
use thalweg_dataflow::types::{Numeric, PgType};
use thalweg_dataflow::{Error, Result};

use super::numeric_constant;

/// The aggregate, over unconstrained numerics.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Spread {
    /// The square root of the variance.
    pub(super) root: bool,
    /// Over all values there are, not over a sample of them.
    pub(super) population: bool,
    signature: Signature,
}

impl Spread {
    /// The aggregate of this name.
    pub(super) fn named(name: &str) -> Spread {
        let signature = Signature::user_defined(Volatility::Immutable);
        Spread { root: name.starts_with("stddev"), population: name.ends_with("_pop"), signature }
    }
}

impl AggregateUDFImpl for Spread {
    fn name(&self) -> &str {
        match (self.root, self.population) {
            (true, true) => "stddev_pop",
            (true, false) => "stddev",
            (false, true) => "var_pop",
            (false, false) => "variance",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(PgType::Numeric(None).arrow())
    }

    fn return_field(&self, _arg_fields: &[FieldRef]) -> DataFusionResult<FieldRef> {
        Ok(Arc::new(PgType::Numeric(None).field(self.name(), true)))
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DataFusionResult<Box<dyn Accumulator>> {
        let seen = args.is_distinct.then(HashSet::new);
        let zero = Numeric::from(0);
        Ok(Box::new(Sums { spread: self.clone(), count: 0, sum: zero.clone(), squares: zero, seen }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DataFusionResult<Vec<FieldRef>> {
        let field = |what: &str, layout| Arc::new(Field::new(format!("{}[{what}]", args.name), layout, true));
        if args.is_distinct {
            let item = Field::new_list_field(DataType::Binary, true);
            return Ok(vec![field("values", DataType::List(Arc::new(item)))]);
        }
        Ok(vec![field("count", DataType::Int64), field("sum", DataType::Binary), field("squares", DataType::Binary)])
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// What is added up.
#[derive(Debug)]
struct Sums {
    spread: Spread,
    count: i64,
    sum: Numeric,
    squares: Numeric,
    /// DISTINCT: the values, encoded without their scale.
    seen: Option<HashSet<Vec<u8>>>,
}

impl Sums {
    fn add(&mut self, values: &ArrayRef, sign: i64) -> Result<()> {
        let values = binary(values)?;
        for bytes in values.iter().flatten() {
            if let Some(seen) = &mut self.seen
                && !seen.insert(thalweg_dataflow::types::numeric::canonical_bytes(bytes).to_vec())
            {
                continue;
            }
            let value = Numeric::decode(bytes)?;
            let square = value.mul(&value)?;
            self.count += sign;
            (self.sum, self.squares) = match sign {
                1 => (self.sum.add(&value)?, self.squares.add(&square)?),
                _ => (self.sum.sub(&value)?, self.squares.sub(&square)?),
            };
        }
        Ok(())
    }

    fn result(&self) -> Result<Option<Numeric>> {
        let count = Numeric::from(self.count);
        let others = Numeric::from(self.count - i64::from(!self.spread.population));
        if self.count == 0 || others.is_zero() {
            return Ok(None);
        }
        // count * sum of squares - square of the sum: count times the squared deviations.
        let above = self.squares.mul(&count)?.sub(&self.sum.mul(&self.sum)?)?;
        if !above.is_finite() {
            return Ok(Some(Numeric::NAN));
        }
        if above.signum() <= 0 {
            return Ok(Some(Numeric::from(0)));
        }
        let variance = above.div(&count.mul(&others)?)?;
        if !self.spread.root {
            return Ok(Some(variance));
        }
        let scale = variance.scale();
        variance.sqrt_to(scale).map(Some)
    }
}

fn binary(array: &ArrayRef) -> Result<&arrow::array::BinaryArray> {
    array.as_binary_opt::<i32>().ok_or_else(|| Error::internal("a variance over another layout than numeric's"))
}

impl Accumulator for Sums {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        self.add(&values[0], 1).map_err(Error::into_datafusion)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        self.add(&values[0], -1).map_err(Error::into_datafusion)
    }

    fn supports_retract_batch(&self) -> bool {
        self.seen.is_none()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        if self.seen.is_some() {
            let lists = states[0].as_list::<i32>();
            return lists.iter().flatten().try_for_each(|values| self.add(&values, 1)).map_err(Error::into_datafusion);
        }
        let merged = |sums: &mut Sums| -> Result<()> {
            let counts = states[0].as_primitive::<Int64Type>();
            let (sum, squares) = (binary(&states[1])?, binary(&states[2])?);
            for row in (0..counts.len()).filter(|row| counts.is_valid(*row)) {
                sums.count += counts.value(row);
                sums.sum = sums.sum.add(&Numeric::decode(sum.value(row))?)?;
                sums.squares = sums.squares.add(&Numeric::decode(squares.value(row))?)?;
            }
            Ok(())
        };
        merged(self).map_err(Error::into_datafusion)
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        if let Some(seen) = &self.seen {
            let values: Vec<ScalarValue> = seen.iter().map(|bytes| ScalarValue::Binary(Some(bytes.clone()))).collect();
            return Ok(vec![ScalarValue::List(ScalarValue::new_list_nullable(&values, &DataType::Binary))]);
        }
        let count = ScalarValue::Int64(Some(self.count));
        Ok(vec![count, numeric_constant(&self.sum), numeric_constant(&self.squares)])
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        let result = self.result().map_err(Error::into_datafusion)?;
        Ok(result.map_or(ScalarValue::Binary(None), |number| numeric_constant(&number)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.seen.as_ref().map_or(0, |seen| seen.len() * 32)
    }
}
