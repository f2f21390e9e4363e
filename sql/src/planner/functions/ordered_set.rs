//! Ordered-set and hypothetical-set aggregates: those with WITHIN GROUP.
//!
//! The values of a group are kept and sorted when the result is asked for. Arguments of a call are the
//! values, their sort keys where Arrow orders the values otherwise than PostgreSQL, and last the direct
//! arguments, which are the same for all rows of a group.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, ListArray, UInt32Array, new_empty_array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{SortColumn, SortOptions, concat, filter, is_not_null, lexsort_to_indices, partition, take};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, IntervalMonthDayNanoType};
use arrow::row::{RowConverter, SortField};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Expr, Signature, SortExpr, Volatility};
use thalweg_dataflow::types::{Interval, PgType, array};
use thalweg_dataflow::{Error, Result, SqlState};

/// What is asked of the sorted values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// percentile_cont: a share of the way, between two values if need be.
    Continuous,
    /// percentile_disc: the first value that so large a share does not lie behind.
    Discrete,
    /// The most frequent value, the first of several.
    Mode,
    /// The place that a row would have.
    Rank,
    /// The same, peers counted once.
    DenseRank,
    /// The same as a share of the rows there are.
    PercentRank,
    /// The share of the rows up to the row's peers.
    CumeDist,
}

impl Kind {
    /// The aggregate of this name.
    pub(crate) fn named(name: &str) -> Option<Kind> {
        Some(match name {
            "percentile_cont" => Kind::Continuous,
            "percentile_disc" => Kind::Discrete,
            "mode" => Kind::Mode,
            "rank" => Kind::Rank,
            "dense_rank" => Kind::DenseRank,
            "percent_rank" => Kind::PercentRank,
            "cume_dist" => Kind::CumeDist,
            _ => return None,
        })
    }

    /// Whether it is asked about a row that is not there.
    pub(crate) fn is_hypothetical(self) -> bool {
        matches!(self, Kind::Rank | Kind::DenseRank | Kind::PercentRank | Kind::CumeDist)
    }
}

/// A call with its types settled.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct OrderedSet {
    /// Its name and order: what tells it from others over the same arguments.
    name: String,
    kind: Kind,
    /// What it gives for one fraction.
    value: PgType,
    result: PgType,
    /// How the keys are ordered: descending, nulls first.
    order: Vec<(bool, bool)>,
    /// How many direct arguments there are.
    direct: usize,
    signature: Signature,
}

impl OrderedSet {
    /// The call over `args`: values and keys (the keys alone of a hypothetical row), direct arguments.
    pub(crate) fn call(
        name: &str,
        kind: Kind,
        types: (PgType, PgType),
        order: &[SortExpr],
        args: Vec<Expr>,
        direct: usize,
    ) -> AggregateFunction {
        let order: Vec<(bool, bool)> = order.iter().map(|by| (!by.asc, by.nulls_first)).collect();
        let shown: Vec<String> = order
            .iter()
            .map(|(descending, first)| {
                format!("{}{}", if *descending { " desc" } else { "" }, if *first { " nulls first" } else { "" })
            })
            .collect();
        let function = OrderedSet {
            name: format!("{name}{}", shown.join(",")),
            kind,
            value: types.0,
            result: types.1,
            order,
            direct,
            signature: Signature::user_defined(Volatility::Immutable),
        };
        let function = Arc::new(AggregateUDF::new_from_impl(function));
        AggregateFunction::new_udf(function, args, false, None, Vec::new(), None)
    }

    fn of(call: &AggregateFunction) -> Option<&OrderedSet> {
        call.func.inner().downcast_ref::<OrderedSet>()
    }

    fn options(&self) -> Vec<SortOptions> {
        let options = |(descending, nulls_first): &(bool, bool)| SortOptions {
            descending: *descending,
            nulls_first: *nulls_first,
        };
        self.order.iter().map(options).collect()
    }
}

/// The direct arguments of a call, which must not change within a group.
pub(crate) fn direct_arguments(call: &Expr) -> &[Expr] {
    match call {
        Expr::AggregateFunction(call) => match OrderedSet::of(call) {
            Some(function) => &call.params.args[call.params.args.len() - function.direct..],
            None => &[],
        },
        _ => &[],
    }
}

/// The call where some grouping expressions are null.
pub(crate) fn where_null(call: &Expr, nulls: &[(Expr, Expr)]) -> Result<Expr> {
    let mut call = call.clone();
    if let Expr::AggregateFunction(inner) = &mut call
        && let Some(direct) = OrderedSet::of(inner).map(|function| function.direct)
    {
        let first = inner.params.args.len() - direct;
        for argument in &mut inner.params.args[first..] {
            let replaced =
                argument.clone().transform_down(|part| match nulls.iter().find(|(known, _)| *known == part) {
                    Some((_, null)) => Ok(Transformed::yes(null.clone())),
                    None => Ok(Transformed::no(part)),
                })?;
            *argument = replaced.data;
        }
    }
    Ok(call)
}

impl AggregateUDFImpl for OrderedSet {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.result.arrow())
    }

    fn return_field(&self, _arg_fields: &[FieldRef]) -> DataFusionResult<FieldRef> {
        Ok(Arc::new(self.result.field(&self.name, true)))
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DataFusionResult<Box<dyn Accumulator>> {
        let types: Vec<DataType> = args.expr_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(Box::new(Collected { function: self.clone(), chunks: vec![Vec::new(); types.len()], types }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DataFusionResult<Vec<FieldRef>> {
        let list = |(place, field): (usize, &FieldRef)| {
            let item = Field::new_list_field(field.data_type().clone(), true);
            Arc::new(Field::new(format!("{}[{place}]", args.name), DataType::List(Arc::new(item)), true))
        };
        Ok(args.input_fields.iter().enumerate().map(list).collect())
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn default_value(&self, data_type: &DataType) -> DataFusionResult<ScalarValue> {
        match self.kind {
            Kind::Rank | Kind::DenseRank => Ok(ScalarValue::Int64(Some(1))),
            Kind::PercentRank => Ok(ScalarValue::Float64(Some(0.0))),
            Kind::CumeDist => Ok(ScalarValue::Float64(Some(1.0))),
            _ => ScalarValue::try_from(data_type),
        }
    }
}

/// The rows of a group.
#[derive(Debug)]
struct Collected {
    function: OrderedSet,
    types: Vec<DataType>,
    /// Each argument's values; a direct argument's first alone.
    chunks: Vec<Vec<ArrayRef>>,
}

impl Collected {
    fn first_direct(&self) -> usize {
        self.chunks.len() - self.function.direct
    }

    fn column(&self, place: usize) -> Result<ArrayRef> {
        let chunks: Vec<&dyn Array> = self.chunks[place].iter().map(|chunk| chunk.as_ref()).collect();
        Ok(if chunks.is_empty() { new_empty_array(&self.types[place]) } else { concat(&chunks)? })
    }

    fn add(&mut self, values: &[ArrayRef]) -> Result<()> {
        if values.first().is_none_or(|values| values.is_empty()) {
            return Ok(());
        }
        let direct = self.first_direct();
        for (chunks, values) in self.chunks[direct..].iter_mut().zip(&values[direct..]) {
            if chunks.is_empty() {
                chunks.push(take(values, &UInt32Array::from(vec![0]), None)?);
            }
        }
        let values = &values[..direct];
        let kept = match values.first() {
            // Only hypothetical rows have nulls beside them.
            Some(first) if !self.function.kind.is_hypothetical() && first.null_count() > 0 => {
                let present = is_not_null(first)?;
                values.iter().map(|values| Ok(filter(values, &present)?)).collect::<Result<Vec<_>>>()?
            }
            _ => values.to_vec(),
        };
        self.chunks.iter_mut().zip(kept).for_each(|(chunks, values)| chunks.push(values));
        Ok(())
    }

    fn result(&self) -> Result<ScalarValue> {
        if self.function.kind.is_hypothetical() {
            return self.place();
        }
        let fractions = match self.function.kind {
            Kind::Mode => None,
            _ => Some(self.fractions()?),
        };
        let sorted = self.sorted()?;
        let Some(fractions) = fractions else { return Ok(ScalarValue::try_from_array(&most_frequent(&sorted)?, 0)?) };
        let Some(fractions) = fractions else { return Ok(ScalarValue::try_from(&self.function.result.arrow())?) };
        let values = match self.function.kind {
            Kind::Continuous => between(&sorted[0], &fractions)?,
            _ => take(&sorted[0], &UInt32Array::from_iter(discrete(sorted[0].len(), &fractions)), None)?,
        };
        if self.function.value == self.function.result {
            return Ok(ScalarValue::try_from_array(&values, 0)?);
        }
        if sorted[0].is_empty() {
            return Ok(ScalarValue::Binary(None));
        }
        let items = array::element_bytes(&self.function.value, &values, false)?;
        let direct = self.column(self.first_direct())?;
        let shape = direct.as_binary_opt::<i32>().map(|bytes| array::dimensions(&PgType::Float8, bytes.value(0)));
        let items = array::of_items(items.iter().map(Vec::as_slice));
        Ok(ScalarValue::Binary(Some(array::shaped(items, &shape.unwrap_or_default()))))
    }

    /// The fractions that are asked for; `None`: null.
    fn fractions(&self) -> Result<Option<Float64Array>> {
        let direct = self.column(self.first_direct())?;
        if direct.is_empty() || direct.is_null(0) {
            return Ok(None);
        }
        let several = match direct.as_binary_opt::<i32>() {
            Some(bytes) => array::element_values(&PgType::Float8, array::items(&PgType::Float8, bytes.value(0)))?,
            None => direct,
        };
        let fractions = several
            .as_primitive_opt::<Float64Type>()
            .ok_or_else(|| Error::internal("a fraction is a double precision"))?;
        match fractions.iter().flatten().find(|fraction| !(0.0..=1.0).contains(fraction)) {
            Some(wrong) => {
                let shown = if wrong.is_infinite() { "Infinity".to_string() } else { wrong.abs().to_string() };
                let sign = if wrong < 0.0 { "-" } else { "" };
                let message = format!("percentile value {sign}{shown} is not between 0 and 1");
                Err(Error::new(SqlState::NumericOutOfRange, message))
            }
            None => Ok(Some(fractions.clone())),
        }
    }

    /// The values in order, with their keys if they have any. Values that are equal in all but form
    /// are put in order too, so that a view and its query take the same.
    fn sorted(&self) -> Result<Vec<ArrayRef>> {
        let columns = (0..self.first_direct()).map(|place| self.column(place)).collect::<Result<Vec<_>>>()?;
        let options = self.function.options().first().copied();
        let by: Vec<SortColumn> =
            columns.iter().rev().map(|column| SortColumn { values: column.clone(), options }).collect();
        let order = lexsort_to_indices(&by, None)?;
        columns.iter().map(|column| Ok(take(column, &order, None)?)).collect()
    }

    /// The place of the row that the direct arguments are.
    fn place(&self) -> Result<ScalarValue> {
        let count = self.function.order.len();
        let nothing = || Ok(self.function.default_value(&self.function.result.arrow())?);
        if self.chunks[0].is_empty() {
            return nothing();
        }
        let columns = (0..2 * count).map(|place| self.column(place)).collect::<Result<Vec<_>>>()?;
        let fields = columns[..count]
            .iter()
            .zip(self.function.options())
            .map(|(column, options)| SortField::new_with_options(column.data_type().clone(), options));
        let converter = RowConverter::new(fields.collect())?;
        let (rows, own) =
            (converter.convert_columns(&columns[..count])?, converter.convert_columns(&columns[count..])?);
        let own = own.row(0);
        let mut before: Vec<_> = rows.iter().filter(|row| *row < own).collect();
        let peers = rows.iter().filter(|row| *row == own).count();
        let (rank, all) = (before.len() + 1, rows.num_rows());
        Ok(match self.function.kind {
            Kind::Rank => ScalarValue::Int64(Some(rank as i64)),
            Kind::DenseRank => {
                before.sort_unstable();
                before.dedup();
                ScalarValue::Int64(Some(before.len() as i64 + 1))
            }
            Kind::PercentRank => ScalarValue::Float64(Some((rank - 1) as f64 / all as f64)),
            _ => ScalarValue::Float64(Some((rank + peers) as f64 / (all + 1) as f64)),
        })
    }
}

/// The places of these fractions among so many values.
fn discrete(count: usize, fractions: &Float64Array) -> impl Iterator<Item = Option<u32>> {
    let place = move |fraction: f64| ((fraction * count as f64).ceil() as u32).max(1) - 1;
    fractions.iter().map(move |fraction| fraction.filter(|_| count > 0).map(place))
}

/// What lies at these fractions of the way.
fn between(values: &ArrayRef, fractions: &Float64Array) -> Result<ArrayRef> {
    let last = values.len().saturating_sub(1) as f64;
    let places = |fraction: f64| {
        let at = fraction * last;
        (at.floor() as usize, at.ceil() as usize, at - at.floor())
    };
    let known = fractions.iter().map(|fraction| fraction.filter(|_| !values.is_empty()).map(places));
    if let Some(values) = values.as_primitive_opt::<Float64Type>() {
        let value = |(low, high, share): (usize, usize, f64)| {
            let (low, high) = (values.value(low), values.value(high));
            if share == 0.0 { low } else { low + share * (high - low) }
        };
        return Ok(Arc::new(known.map(|places| places.map(value)).collect::<Float64Array>()));
    }
    let values = values
        .as_primitive_opt::<IntervalMonthDayNanoType>()
        .ok_or_else(|| Error::internal("a percentile of neither numbers nor intervals"))?;
    let value = |(low, high, share): (usize, usize, f64)| -> Result<_> {
        let (low, high) = (Interval::from_arrow(values.value(low)), Interval::from_arrow(values.value(high)));
        let value = if share == 0.0 { low } else { high.add(low.neg()?)?.mul(share)?.add(low)? };
        Ok(value.to_arrow())
    };
    let found = known.map(|places| places.map(value).transpose()).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(arrow::array::IntervalMonthDayNanoArray::from(found)))
}

/// The first of the longest runs of values with equal keys: one value, or null.
fn most_frequent(sorted: &[ArrayRef]) -> Result<ArrayRef> {
    let key = sorted.last().ok_or_else(|| Error::internal("a mode of nothing"))?;
    let runs = partition(std::slice::from_ref(key))?.ranges();
    let longest = runs.into_iter().reduce(|best, run| if run.len() > best.len() { run } else { best });
    let place = longest.map(|run| run.start as u32);
    Ok(take(&sorted[0], &UInt32Array::from(vec![place]), None)?)
}

impl Accumulator for Collected {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        self.add(values).map_err(Error::into_datafusion)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        let direct = self.first_direct();
        for (place, lists) in states.iter().enumerate() {
            for list in lists.as_list::<i32>().iter().flatten().filter(|list| !list.is_empty()) {
                if place < direct || self.chunks[place].is_empty() {
                    self.chunks[place].push(list);
                }
            }
        }
        Ok(())
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        let list = |place: usize| {
            let values = self.column(place).map_err(Error::into_datafusion)?;
            let item = Arc::new(Field::new_list_field(self.types[place].clone(), true));
            let offsets = OffsetBuffer::from_lengths([values.len()]);
            Ok(ScalarValue::List(Arc::new(ListArray::try_new(item, offsets, values, None)?)))
        };
        (0..self.types.len()).map(list).collect()
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        self.result().map_err(Error::into_datafusion)
    }

    fn size(&self) -> usize {
        let chunks = self.chunks.iter().flatten();
        size_of_val(self) + chunks.map(|chunk| chunk.get_array_memory_size()).sum::<usize>()
    }
}
