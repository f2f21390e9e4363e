//! Window functions over frames of our own (`frame`): aggregates, first_value, last_value, nth_value.
//!
//! To DataFusion each is a function over whole partitions, which computes a result again for every row
//! whose frame is another than the row's before.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, UInt32Array};
use arrow::compute::{concat, filter, interleave, prep_null_mask_filter, take};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, Schema};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::function::{AccumulatorArgs, PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{
    AggregateUDF, PartitionEvaluator, Signature, Volatility, WindowFrame, WindowFrameBound, WindowUDFImpl,
};
use datafusion::physical_expr::PhysicalExpr;
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result, SqlState};

use super::frame::{self, Exclusion, Measured, Rows};

/// What is computed of a frame.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Of {
    /// An aggregate.
    Aggregate(Arc<AggregateUDF>),
    /// The first row's value.
    First,
    /// The last row's.
    Last,
    /// That of the row with the number that the second argument says.
    Nth,
    /// That of the row so many before this one as the second argument says; the third where there is
    /// none.
    Lag,
    /// The same behind this one.
    Lead,
    /// The bucket, of as many as the first argument says in the first row.
    Ntile,
}

/// The function. Its arguments: the function's own, the condition of FILTER, the value that RANGE
/// counts in, the distances of the bounds that are computed, the sort keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Framed {
    name: String,
    of: Of,
    /// How many arguments are the function's own.
    own: usize,
    filtered: bool,
    measured: Option<Measured>,
    frame: WindowFrame,
    /// Which of its bounds' distances are arguments.
    computed: [bool; 2],
    exclusion: Exclusion,
    result: PgType,
    signature: Signature,
}

impl Framed {
    /// The function over such frames.
    pub(crate) fn new(
        of: Of,
        own: usize,
        filtered: bool,
        measured: Option<Measured>,
        frame: WindowFrame,
        exclusion: Exclusion,
        result: PgType,
    ) -> Framed {
        let name = match &of {
            Of::Aggregate(function) => function.name(),
            Of::First => "first_value",
            Of::Last => "last_value",
            Of::Nth => "nth_value",
            Of::Lag => "lag",
            Of::Lead => "lead",
            Of::Ntile => "ntile",
        };
        let name = format!("{name} {frame} {exclusion:?} {measured:?}");
        let signature = Signature::user_defined(Volatility::Immutable);
        Framed { name, of, own, filtered, measured, frame, computed: [false; 2], exclusion, result, signature }
    }

    /// The same with the distances of these bounds as arguments.
    pub(crate) fn bounded(mut self, computed: [bool; 2]) -> Framed {
        self.computed = computed;
        self.name = format!("{} {computed:?}", self.name);
        self
    }

    /// The frame with the distances that a partition's arguments say, those of its first row.
    fn bounds(&self, distances: &[ArrayRef]) -> Result<WindowFrame> {
        let mut bounds = [self.frame.start_bound.clone(), self.frame.end_bound.clone()];
        let places = (0..2).filter(|place| self.computed[*place]);
        for (place, distance) in places.zip(distances) {
            if let WindowFrameBound::Preceding(by) | WindowFrameBound::Following(by) = &mut bounds[place] {
                *by = frame::offset(self.frame.units, ScalarValue::try_from_array(distance, 0)?, place)?;
            }
        }
        let [start, end] = bounds;
        Ok(WindowFrame::new_bounds(self.frame.units, start, end))
    }
}

impl WindowUDFImpl for Framed {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    fn field(&self, args: WindowUDFFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        Ok(Arc::new(self.result.field(args.name(), true)))
    }

    fn partition_evaluator(&self, args: PartitionEvaluatorArgs<'_>) -> DataFusionResult<Box<dyn PartitionEvaluator>> {
        let fields = args.input_fields()[..self.own].to_vec();
        let exprs = args.input_exprs()[..self.own].to_vec();
        Ok(Box::new(Evaluator { function: self.clone(), fields, exprs }))
    }
}

struct Evaluator {
    function: Framed,
    fields: Vec<FieldRef>,
    exprs: Vec<Arc<dyn PhysicalExpr>>,
}

impl std::fmt::Debug for Evaluator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.function.fmt(f)
    }
}

impl PartitionEvaluator for Evaluator {
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> DataFusionResult<ArrayRef> {
        self.all(values, rows).map_err(Error::into_datafusion)
    }
}

impl Evaluator {
    fn all(&self, values: &[ArrayRef], count: usize) -> Result<ArrayRef> {
        let function = &self.function;
        let (own, rest) = values.split_at(function.own);
        match &function.of {
            Of::Lag | Of::Lead => return shifted(function.of == Of::Lead, own, count),
            Of::Ntile => return buckets(own, count),
            _ => {}
        }
        let (condition, rest) = rest.split_at(usize::from(function.filtered));
        let (measure, rest) = rest.split_at(usize::from(function.measured.is_some()));
        let (distances, keys) = rest.split_at(function.computed.iter().filter(|computed| **computed).count());
        let bounds = if count == 0 { function.frame.clone() } else { function.bounds(distances)? };
        let rows = Rows::new(count, keys, function.measured.as_ref().zip(measure.first()))?;
        let frames = (0..count).map(|row| rows.frame(row, &bounds, function.exclusion));
        match &function.of {
            Of::Aggregate(aggregate) => self.aggregated(aggregate, own, condition.first(), frames),
            of => picked(of, own, frames),
        }
    }

    fn aggregated(
        &self,
        aggregate: &AggregateUDF,
        own: &[ArrayRef],
        condition: Option<&ArrayRef>,
        frames: impl Iterator<Item = Result<Vec<Range<usize>>>>,
    ) -> Result<ArrayRef> {
        let mut results: Vec<ScalarValue> = Vec::new();
        let mut before: Option<Vec<Range<usize>>> = None;
        for frame in frames {
            let frame = frame?;
            if before.as_ref() == Some(&frame)
                && let Some(same) = results.last()
            {
                results.push(same.clone());
                continue;
            }
            let mut accumulator = self.accumulator(aggregate)?;
            for part in &frame {
                let slice = |array: &ArrayRef| array.slice(part.start, part.len());
                let mut columns: Vec<ArrayRef> = own.iter().map(slice).collect();
                if let Some(mask) = condition.map(slice) {
                    let mask = mask.as_boolean();
                    let mask = if mask.null_count() > 0 { prep_null_mask_filter(mask) } else { mask.clone() };
                    columns =
                        columns.iter().map(|column| filter(column, &mask)).collect::<std::result::Result<_, _>>()?;
                }
                accumulator.update_batch(&columns)?;
            }
            results.push(accumulator.evaluate()?);
            before = Some(frame);
        }
        let arrays = results.iter().map(ScalarValue::to_array).collect::<DataFusionResult<Vec<_>>>()?;
        Ok(match arrays.is_empty() {
            true => arrow::array::new_empty_array(&self.function.result.arrow()),
            false => concat(&arrays.iter().map(|array| array.as_ref()).collect::<Vec<_>>())?,
        })
    }

    fn accumulator(&self, aggregate: &AggregateUDF) -> Result<Box<dyn datafusion::logical_expr::Accumulator>> {
        let schema = Schema::new(self.fields.iter().map(|field| field.as_ref().clone()).collect::<Vec<Field>>());
        let return_field = aggregate.return_field(&self.fields)?;
        Ok(aggregate.accumulator(AccumulatorArgs {
            return_field,
            schema: &schema,
            ignore_nulls: false,
            order_bys: &[],
            is_reversed: false,
            name: &self.function.name,
            is_distinct: false,
            exprs: &self.exprs,
            expr_fields: &self.fields,
        })?)
    }
}

/// The value of one row of each frame.
fn picked(of: &Of, own: &[ArrayRef], frames: impl Iterator<Item = Result<Vec<Range<usize>>>>) -> Result<ArrayRef> {
    let numbers = own.get(1).and_then(|numbers| numbers.as_primitive_opt::<Int64Type>());
    let mut places: Vec<Option<u32>> = Vec::new();
    for (row, frame) in frames.enumerate() {
        let mut rows = frame?.into_iter().flatten();
        let place = match of {
            Of::First => rows.next(),
            Of::Last => rows.last(),
            _ => match numbers.filter(|numbers| numbers.is_valid(row)).map(|numbers| numbers.value(row)) {
                Some(number) if number <= 0 => {
                    let message = "argument of nth_value must be greater than zero";
                    return Err(Error::new(SqlState::InvalidArgumentForNthValue, message));
                }
                Some(number) => usize::try_from(number - 1).ok().and_then(|number| rows.nth(number)),
                None => None,
            },
        };
        places.push(place.map(|place| place as u32));
    }
    let values = own.first().ok_or_else(|| Error::internal("a value of nothing"))?;
    Ok(take(values, &UInt32Array::from(places), None)?)
}

/// The values of rows so far away.
fn shifted(ahead: bool, own: &[ArrayRef], count: usize) -> Result<ArrayRef> {
    let [value, distance, rest @ ..] = own else { return Err(Error::internal("a value of nothing")) };
    let distances = distance.as_primitive_opt::<Int64Type>().ok_or_else(|| Error::internal("a distance in rows"))?;
    let otherwise = match rest.first() {
        Some(default) => default.clone(),
        None => arrow::array::new_null_array(value.data_type(), count),
    };
    let place = |row: usize| -> (usize, usize) {
        let signed = if ahead { Some(distances.value(row)) } else { distances.value(row).checked_neg() };
        let target = signed.and_then(|by| i64::try_from(row).ok()?.checked_add(by));
        match target.and_then(|target| usize::try_from(target).ok()).filter(|target| *target < count) {
            Some(target) => (0, target),
            None => (1, row),
        }
    };
    let nulls = arrow::array::new_null_array(value.data_type(), 1);
    let places: Vec<(usize, usize)> =
        (0..count).map(|row| if distances.is_null(row) { (2, 0) } else { place(row) }).collect();
    Ok(interleave(&[value.as_ref(), otherwise.as_ref(), nulls.as_ref()], &places)?)
}

/// The number of each row's bucket; the first ones have a row more where they are not alike.
fn buckets(own: &[ArrayRef], count: usize) -> Result<ArrayRef> {
    let numbers = own.first().and_then(|numbers| numbers.as_primitive_opt::<Int64Type>());
    let number = numbers.filter(|numbers| !numbers.is_empty() && numbers.is_valid(0)).map(|numbers| numbers.value(0));
    let Some(number) = number else { return Ok(arrow::array::new_null_array(&DataType::Int32, count)) };
    if number <= 0 {
        let message = "argument of ntile must be greater than zero";
        return Err(Error::new(SqlState::InvalidArgumentForNtile, message));
    }
    let number = usize::try_from(number).unwrap_or(usize::MAX);
    let (each, longer) = (count / number, count % number);
    let bucket = |row: usize| match row.checked_sub(longer * (each + 1)) {
        None => row / (each + 1),
        Some(behind) => longer + behind / each.max(1),
    };
    Ok(Arc::new((0..count).map(|row| bucket(row) as i32 + 1).collect::<Int32Array>()))
}
