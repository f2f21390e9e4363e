//! `sum` and `avg`, exact: integers and numerics are added as integers of 128 bits, and as numbers
//! of any size where those do not suffice.
//!
//! One partial state serves all of them: the sum (a numeric, or a double for floats) and how many
//! values it has. Needs no order of its input.

use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray, Float32Array, Float64Array, Int64Array,
    PrimitiveArray,
};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, Field, FieldRef, Float64Type, Int16Type, Int32Type, Int64Type,
};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility};
use std::collections::{HashSet, VecDeque};
use thalweg_dataflow::types::{Numeric, PgType, numeric_at};
use thalweg_dataflow::{Error, Result};

use super::arithmetic::{division_by_zero, out_of_range};

/// What comes out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Output {
    /// sum(smallint), sum(integer).
    Bigint,
    /// sum(bigint), sum(numeric).
    Numeric,
    /// avg of exact numbers.
    Average,
    /// sum of floats, in their type.
    FloatSum(PgType),
    /// avg of floats.
    FloatAverage,
}

impl Output {
    fn name(&self) -> &'static str {
        match self {
            Output::Average | Output::FloatAverage => "avg",
            _ => "sum",
        }
    }

    fn is_float(&self) -> bool {
        matches!(self, Output::FloatSum(_) | Output::FloatAverage)
    }

    fn result(&self) -> PgType {
        match self {
            Output::Bigint => PgType::Int8,
            Output::Numeric | Output::Average => PgType::Numeric(None),
            Output::FloatSum(ty) => ty.clone(),
            Output::FloatAverage => PgType::Float8,
        }
    }
}

/// `sum` or `avg` over one type.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ExactSum {
    input: PgType,
    output: Output,
    signature: Signature,
}

impl ExactSum {
    pub(super) fn new(input: PgType, output: Output) -> ExactSum {
        ExactSum { input, output, signature: Signature::user_defined(Volatility::Immutable) }
    }

    fn sums(&self) -> Sums {
        Sums::new(self.input.clone(), self.output.clone())
    }

    fn sum_layout(&self) -> DataType {
        if self.output.is_float() { DataType::Float64 } else { DataType::Binary }
    }
}

impl AggregateUDFImpl for ExactSum {
    fn name(&self) -> &str {
        self.output.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.output.result().arrow())
    }

    fn return_field(&self, _arg_fields: &[FieldRef]) -> DataFusionResult<FieldRef> {
        Ok(Arc::new(self.output.result().field(self.name(), true)))
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DataFusionResult<Box<dyn Accumulator>> {
        if args.is_distinct {
            return Ok(Box::new(DistinctSum { values: HashSet::new(), layout: self.input.arrow(), sums: self.sums() }));
        }
        Ok(Box::new(SingleSum { sums: self.sums() }))
    }

    fn create_sliding_accumulator(&self, _args: AccumulatorArgs<'_>) -> DataFusionResult<Box<dyn Accumulator>> {
        Ok(Box::new(MovingSum { frame: VecDeque::new(), empty: self.sums() }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DataFusionResult<Vec<FieldRef>> {
        if args.is_distinct {
            let item = Field::new_list_field(self.input.arrow(), true);
            return Ok(vec![Arc::new(Field::new_list(format!("{}[values]", args.name), item, true))]);
        }
        Ok(vec![
            Arc::new(Field::new(format!("{}[sum]", args.name), self.sum_layout(), true)),
            Arc::new(Field::new(format!("{}[count]", args.name), DataType::Int64, true)),
        ])
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(&self, _args: AccumulatorArgs<'_>) -> DataFusionResult<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(self.sums()))
    }

    fn order_sensitivity(&self) -> datafusion::logical_expr::utils::AggregateOrderSensitivity {
        datafusion::logical_expr::utils::AggregateOrderSensitivity::Insensitive
    }
}

/// The sums of all groups. Exact ones are `small` at the input's own scale, plus `large` where
/// that is set; floats have their own.
#[derive(Debug, Clone)]
struct Sums {
    input: PgType,
    output: Output,
    small: Vec<i128>,
    large: Vec<Option<Box<Numeric>>>,
    floats: Vec<f64>,
    counts: Vec<i64>,
}

/// Of each group the exact sum, the float sum and the count.
type Taken = (Vec<i128>, Vec<Option<Box<Numeric>>>, Vec<f64>, Vec<i64>);

impl Sums {
    fn new(input: PgType, output: Output) -> Sums {
        Sums { input, output, small: Vec::new(), large: Vec::new(), floats: Vec::new(), counts: Vec::new() }
    }

    fn grow(&mut self, groups: usize) {
        self.counts.resize(groups, 0);
        if self.output.is_float() {
            self.floats.resize(groups, 0.0);
        } else if self.input == PgType::Numeric(None) {
            self.large.resize(groups, None);
        } else {
            self.small.resize(groups, 0);
        }
    }

    fn scale(&self) -> i32 {
        match self.input {
            PgType::Numeric(Some((_, scale))) => i32::from(scale),
            _ => 0,
        }
    }

    fn spill(&mut self, group: usize, more: i128) -> Result<()> {
        let more = Numeric::from_i128(more, self.scale());
        self.add_large(group, &more)
    }

    fn add_large(&mut self, group: usize, more: &Numeric) -> Result<()> {
        if self.large.len() <= group {
            self.large.resize(group + 1, None);
        }
        let slot = &mut self.large[group];
        *slot = Some(Box::new(match slot {
            Some(sum) => sum.add(more)?,
            None => more.clone(),
        }));
        Ok(())
    }

    fn add_exact<T: ArrowPrimitiveType>(
        &mut self,
        values: &ArrayRef,
        groups: &[usize],
        filter: Option<&BooleanArray>,
    ) -> Result<()>
    where
        T::Native: Into<i128>,
    {
        let values: &PrimitiveArray<T> = typed(values)?;
        for (row, group) in groups.iter().copied().enumerate() {
            if values.is_null(row) || !passes(filter, row) {
                continue;
            }
            let value: i128 = values.value(row).into();
            self.counts[group] += 1;
            match self.small[group].checked_add(value) {
                Some(sum) => self.small[group] = sum,
                None => {
                    let full = std::mem::replace(&mut self.small[group], value);
                    self.spill(group, full)?;
                }
            }
        }
        Ok(())
    }

    fn add_floats(&mut self, values: &ArrayRef, groups: &[usize], filter: Option<&BooleanArray>) -> Result<()> {
        let widened = arrow::compute::cast(values, &DataType::Float64)?;
        let values: &Float64Array = typed::<Float64Type>(&widened)?;
        for (row, group) in groups.iter().copied().enumerate() {
            if values.is_null(row) || !passes(filter, row) {
                continue;
            }
            self.counts[group] += 1;
            let (sum, value) = (self.floats[group], values.value(row));
            self.floats[group] = sum + value;
            if self.floats[group].is_infinite() && sum.is_finite() && value.is_finite() {
                return Err(Error::new(thalweg_dataflow::SqlState::NumericOutOfRange, "value out of range: overflow"));
            }
        }
        Ok(())
    }

    fn update(
        &mut self,
        values: &ArrayRef,
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.grow(total);
        match self.input {
            PgType::Int2 => self.add_exact::<Int16Type>(values, groups, filter),
            PgType::Int4 => self.add_exact::<Int32Type>(values, groups, filter),
            PgType::Int8 => self.add_exact::<Int64Type>(values, groups, filter),
            PgType::Numeric(Some(_)) => self.add_exact::<Decimal128Type>(values, groups, filter),
            PgType::Numeric(None) => {
                let values = binary(values)?;
                for (row, group) in groups.iter().copied().enumerate() {
                    if passes(filter, row)
                        && let Some(value) = numeric_at(values, row)?
                    {
                        self.counts[group] += 1;
                        self.add_large(group, &value)?;
                    }
                }
                Ok(())
            }
            _ => self.add_floats(values, groups, filter),
        }
    }

    /// The exact sum of a group, out of its parts.
    fn total(small: i128, large: Option<Box<Numeric>>, scale: i32) -> Result<Numeric> {
        let small = Numeric::from_i128(small, scale);
        match large {
            Some(large) if small.is_zero() && scale == 0 => Ok(*large),
            Some(large) => large.add(&small),
            None => Ok(small),
        }
    }

    /// Takes the first groups out: their exact sums or float sums, and their counts.
    fn take(&mut self, emit: EmitTo) -> Taken {
        let groups = self.counts.len();
        if !self.output.is_float() {
            self.small.resize(groups, 0);
            self.large.resize(groups, None);
            (
                emit.take_needed(&mut self.small),
                emit.take_needed(&mut self.large),
                Vec::new(),
                emit.take_needed(&mut self.counts),
            )
        } else {
            (Vec::new(), Vec::new(), emit.take_needed(&mut self.floats), emit.take_needed(&mut self.counts))
        }
    }

    fn finish(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let scale = self.scale();
        let (small, large, floats, counts) = self.take(emit);
        match &self.output {
            Output::FloatSum(PgType::Float4) => {
                let values = floats.iter().zip(&counts).map(|(sum, count)| (*count > 0).then_some(*sum as f32));
                Ok(Arc::new(values.collect::<Float32Array>()))
            }
            Output::FloatSum(_) => Ok(Arc::new(
                floats.iter().zip(&counts).map(|(sum, count)| (*count > 0).then_some(*sum)).collect::<Float64Array>(),
            )),
            Output::FloatAverage => {
                let values = floats.iter().zip(&counts).map(|(sum, count)| (*count > 0).then(|| sum / *count as f64));
                Ok(Arc::new(values.collect::<Float64Array>()))
            }
            Output::Bigint => {
                let values = small.into_iter().zip(&counts).map(|(sum, count)| match *count {
                    0 => Ok(None),
                    _ => i64::try_from(sum).map(Some).map_err(|_| out_of_range(&PgType::Int8)),
                });
                Ok(Arc::new(values.collect::<Result<Int64Array>>()?))
            }
            Output::Numeric | Output::Average => {
                let average = self.output == Output::Average;
                let mut builder = BinaryBuilder::new();
                let mut bytes = Vec::new();
                for ((small, large), count) in small.into_iter().zip(large).zip(counts) {
                    if count == 0 {
                        builder.append_null();
                        continue;
                    }
                    let mut sum = Sums::total(small, large, scale)?;
                    if average {
                        let count = Numeric::from(count);
                        if count.is_zero() {
                            return Err(division_by_zero());
                        }
                        sum = sum.div(&count)?;
                    }
                    bytes.clear();
                    sum.encode(&mut bytes);
                    builder.append_value(&bytes);
                }
                Ok(Arc::new(builder.finish()))
            }
        }
    }

    fn partial(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        let scale = self.scale();
        let (small, large, floats, counts) = self.take(emit);
        let sums: ArrayRef = if self.output.is_float() {
            Arc::new(Float64Array::from(floats))
        } else {
            let mut builder = BinaryBuilder::with_capacity(counts.len(), counts.len() * 8);
            let mut bytes = Vec::new();
            for (small, large) in small.into_iter().zip(large) {
                bytes.clear();
                Sums::total(small, large, scale)?.encode(&mut bytes);
                builder.append_value(&bytes);
            }
            Arc::new(builder.finish())
        };
        Ok(vec![sums, Arc::new(Int64Array::from(counts))])
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.grow(total);
        let counts: &Int64Array = typed::<Int64Type>(&states[1])?;
        for (row, group) in groups.iter().copied().enumerate() {
            if counts.is_null(row) || counts.value(row) == 0 {
                continue;
            }
            self.counts[group] += counts.value(row);
            if self.output.is_float() {
                self.floats[group] += typed::<Float64Type>(&states[0])?.value(row);
                continue;
            }
            let Some(sum) = numeric_at(binary(&states[0])?, row)? else { continue };
            let own_scale = self.scale() as u32;
            let small = sum.to_i128().filter(|(_, scale)| *scale == own_scale).map(|(value, _)| value);
            match small
                .filter(|_| self.input != PgType::Numeric(None))
                .and_then(|small| self.small[group].checked_add(small))
            {
                Some(total) => self.small[group] = total,
                None => self.add_large(group, &sum)?,
            }
        }
        Ok(())
    }
}

fn passes(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
}

fn typed<T: ArrowPrimitiveType>(array: &ArrayRef) -> Result<&PrimitiveArray<T>> {
    array.as_primitive_opt::<T>().ok_or_else(|| Error::internal(format!("a sum over the layout {}", array.data_type())))
}

fn binary(array: &ArrayRef) -> Result<&BinaryArray> {
    array.as_binary_opt::<i32>().ok_or_else(|| Error::internal(format!("a sum over the layout {}", array.data_type())))
}

fn carried<T>(result: Result<T>) -> DataFusionResult<T> {
    result.map_err(Error::into_datafusion)
}

impl GroupsAccumulator for Sums {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> DataFusionResult<()> {
        carried(self.update(&values[0], group_indices, opt_filter, total_num_groups))
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> DataFusionResult<ArrayRef> {
        carried(self.finish(emit_to))
    }

    fn state(&mut self, emit_to: EmitTo) -> DataFusionResult<Vec<ArrayRef>> {
        carried(self.partial(emit_to))
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> DataFusionResult<()> {
        carried(self.merge(values, group_indices, total_num_groups))
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> DataFusionResult<Vec<ArrayRef>> {
        let rows = values[0].len();
        let groups: Vec<usize> = (0..rows).collect();
        let mut sums = Sums::new(self.input.clone(), self.output.clone());
        carried(sums.update(&values[0], &groups, opt_filter, rows))?;
        carried(sums.partial(EmitTo::All))
    }

    fn size(&self) -> usize {
        self.small.capacity() * 16
            + self.large.capacity() * 8
            + self.large.iter().flatten().count() * 48
            + self.floats.capacity() * 8
            + self.counts.capacity() * 8
    }
}

/// One group alone.
#[derive(Debug)]
struct SingleSum {
    sums: Sums,
}

impl Accumulator for SingleSum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        let groups = vec![0; values[0].len()];
        carried(self.sums.update(&values[0], &groups, None, 1))
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        // A window asks again and again: the state stays.
        self.sums.grow(1);
        let mut copy = self.sums.clone();
        ScalarValue::try_from_array(&carried(copy.finish(EmitTo::All))?, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self) + GroupsAccumulator::size(&self.sums)
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        self.sums.grow(1);
        let mut copy = self.sums.clone();
        carried(copy.partial(EmitTo::All))?.iter().map(|array| ScalarValue::try_from_array(array, 0)).collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        let groups = vec![0; states[0].len()];
        carried(self.sums.merge(states, &groups, 1))
    }
}

/// `sum(DISTINCT x)`, `avg(DISTINCT x)`: the set of values, summed at the end.
#[derive(Debug)]
struct DistinctSum {
    values: HashSet<ScalarValue>,
    layout: DataType,
    sums: Sums,
}

impl DistinctSum {
    fn insert(&mut self, array: &ArrayRef) -> DataFusionResult<()> {
        for row in 0..array.len() {
            if array.is_valid(row) {
                self.values.insert(ScalarValue::try_from_array(array, row)?);
            }
        }
        Ok(())
    }
}

impl Accumulator for DistinctSum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        self.insert(&values[0])
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        let mut sums = self.sums.clone();
        sums.grow(1);
        if !self.values.is_empty() {
            let array = ScalarValue::iter_to_array(self.values.iter().cloned())?;
            carried(sums.update(&array, &vec![0; array.len()], None, 1))?;
        }
        ScalarValue::try_from_array(&carried(sums.finish(EmitTo::All))?, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.capacity() * size_of::<ScalarValue>()
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        let values: Vec<ScalarValue> = self.values.iter().cloned().collect();
        Ok(vec![ScalarValue::List(ScalarValue::new_list_nullable(&values, &self.layout))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        let lists = states[0].as_list::<i32>();
        for list in lists.iter().flatten() {
            self.insert(&list)?;
        }
        Ok(())
    }
}

/// The sum over a window's moving frame: added up anew for every row, for what is taken away from a
/// float or a numeric's scale does not leave what would be there without it.
#[derive(Debug)]
struct MovingSum {
    frame: VecDeque<ArrayRef>,
    empty: Sums,
}

impl MovingSum {
    fn sums(&self) -> DataFusionResult<Sums> {
        let mut sums = self.empty.clone();
        sums.grow(1);
        for values in &self.frame {
            carried(sums.update(values, &vec![0; values.len()], None, 1))?;
        }
        Ok(sums)
    }
}

impl Accumulator for MovingSum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        self.frame.push_back(values[0].clone());
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        let mut leaving = values[0].len();
        while let Some(first) = self.frame.front_mut() {
            if leaving < first.len() {
                *first = first.slice(leaving, first.len() - leaving);
                break;
            }
            leaving -= first.len();
            self.frame.pop_front();
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        ScalarValue::try_from_array(&carried(self.sums()?.finish(EmitTo::All))?, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.frame.iter().map(|values| values.get_array_memory_size()).sum::<usize>()
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        carried(self.sums()?.partial(EmitTo::All))?.iter().map(|array| ScalarValue::try_from_array(array, 0)).collect()
    }

    fn merge_batch(&mut self, _states: &[ArrayRef]) -> DataFusionResult<()> {
        carried(Err(Error::internal("a window's frame is not put together of parts")))
    }
}
