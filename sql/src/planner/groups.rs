//! Lowering what the engine computes of whole groups: windows, and aggregates it cannot keep up
//! row by row (string_agg, stddev, ORDER BY in an aggregate).
//!
//! What such a function looks at is computed below, as columns; DataFusion's own evaluators, the
//! same that batch queries use, then see one group at a time. Keeps no state.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{
    SortOptions, cast, filter_record_batch, lexsort_to_indices, prep_null_mask_filter, take_record_batch,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};
use datafusion::common::{Column as NamedColumn, DFSchema};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::expr::{
    AggregateFunction, AggregateFunctionParams, WindowFunction, WindowFunctionParams,
};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Aggregate, Expr, SortExpr, Window};
use datafusion::physical_expr::aggregate::{AggregateFunctionExpr, LoweredAggregateBuilder};
use datafusion::physical_expr::window::WindowExpr;
use datafusion::physical_planner::create_window_expr;
use thalweg_dataflow::plan::{ByText, GroupFunction, Op, Plan, SortColumn, Text};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result};

use super::join::{keyed, picked};
use super::lower::{lower, physical, refused, type_of};

/// A plan that functions of groups are lowered onto: its own columns, and those they look at.
struct Base<'a> {
    plan: Plan,
    schema: &'a DFSchema,
}

impl Base<'_> {
    /// The place of an expression over the input, computed if it is no column.
    fn place(&mut self, expr: &Expr) -> Result<usize> {
        let field = type_of(expr, self.schema).field("argument", true);
        let computed = physical(expr, self.schema)?;
        Ok(keyed(&mut self.plan, computed, field))
    }

    fn order(&mut self, order: &[SortExpr]) -> Result<Vec<SortColumn>> {
        let column = |by: &SortExpr| {
            Ok(SortColumn { column: self.place(&by.expr)?, descending: !by.asc, nulls_first: by.nulls_first })
        };
        order.iter().map(column).collect()
    }
}

/// The columns that some functions look at, under names of their own.
#[derive(Default)]
struct Arguments {
    places: Vec<usize>,
    fields: Vec<Field>,
}

impl Arguments {
    /// The expression as the functions see it: a literal, or a column of theirs.
    fn argument(&mut self, base: &mut Base<'_>, expr: &Expr) -> Result<Expr> {
        if matches!(expr, Expr::Literal(..)) {
            return Ok(expr.clone());
        }
        self.placed(base, expr)
    }

    /// The expression as a column, a literal too.
    fn placed(&mut self, base: &mut Base<'_>, expr: &Expr) -> Result<Expr> {
        let place = base.place(expr)?;
        Ok(self.column(&base.plan.schema, place))
    }

    fn column(&mut self, schema: &SchemaRef, place: usize) -> Expr {
        let number = self.places.iter().position(|known| *known == place).unwrap_or_else(|| {
            let name = format!("a{}", self.places.len());
            self.fields.push(schema.field(place).clone().with_name(name).with_nullable(true));
            self.places.push(place);
            self.places.len() - 1
        });
        Expr::Column(NamedColumn::new_unqualified(format!("a{number}")))
    }

    fn sorts(&mut self, base: &mut Base<'_>, order: &[SortExpr]) -> Result<Vec<SortExpr>> {
        let sort = |by: &SortExpr| Ok(SortExpr::new(self.argument(base, &by.expr)?, by.asc, by.nulls_first));
        order.iter().map(sort).collect()
    }

    fn schema(&self) -> Result<DFSchema> {
        Ok(DFSchema::try_from(Schema::new(self.fields.clone()))?)
    }
}

fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

/// What PostgreSQL has no type for, DataFusion gives as unsigned.
fn engine_type(declared: PgType, given: &DataType) -> PgType {
    if matches!(given, DataType::UInt64 | DataType::UInt32) { PgType::Int8 } else { declared }
}

/// Window functions: one operator for those that share PARTITION BY and ORDER BY, one on the other.
pub(super) fn windows(window: &Window) -> Result<Plan> {
    let width = window.input.schema().fields().len();
    let mut base = Base { plan: lower(&window.input)?, schema: window.input.schema() };
    let calls: Vec<&WindowFunction> = window
        .window_expr
        .iter()
        .map(|expr| match unaliased(expr) {
            Expr::WindowFunction(call) => Ok(call.as_ref()),
            other => Err(Error::internal(format!("{other} where a window function was planned"))),
        })
        .collect::<Result<_>>()?;
    let mut placed: Vec<Option<usize>> = vec![None; calls.len()];
    while let Some(first) = placed.iter().position(Option::is_none) {
        let over = |call: &WindowFunction| (call.params.partition_by.clone(), call.params.order_by.clone());
        let chosen: Vec<usize> =
            (first..calls.len()).filter(|place| over(calls[*place]) == over(calls[first])).collect();
        let below = base.plan.schema.fields().len();
        let results = windows_over(&mut base, &chosen.iter().map(|place| calls[*place]).collect::<Vec<_>>())?;
        debug_assert!(results.start >= below);
        for (place, result) in chosen.into_iter().zip(results) {
            placed[place] = Some(result);
        }
    }
    let order: Vec<usize> = (0..width).chain(placed.into_iter().flatten()).collect();
    let plan = picked(base.plan, &order);
    let names = window.schema.fields().iter().zip(plan.schema.fields());
    let fields: Vec<Field> = names.map(|(name, field)| field.as_ref().clone().with_name(name.name())).collect();
    Ok(Plan { schema: Arc::new(Schema::new(fields)), ..plan })
}

/// Adds the results of functions over one partitioning; their places.
fn windows_over(base: &mut Base<'_>, calls: &[&WindowFunction]) -> Result<std::ops::Range<usize>> {
    let params = &calls[0].params;
    let mut arguments = Arguments::default();
    let keys = params.partition_by.iter().map(|key| base.place(key)).collect::<Result<Vec<_>>>()?;
    let order = base.order(&params.order_by)?;
    let mut rewritten = Vec::with_capacity(calls.len());
    for call in calls {
        let WindowFunctionParams { args, filter, window_frame, null_treatment, distinct, .. } = &call.params;
        let args = args.iter().map(|arg| arguments.argument(base, arg)).collect::<Result<_>>()?;
        let filter = filter.as_ref().map(|filter| arguments.argument(base, filter)).transpose()?.map(Box::new);
        let order_by = arguments.sorts(base, &params.order_by)?;
        rewritten.push(Expr::WindowFunction(Box::new(WindowFunction {
            fun: call.fun.clone(),
            params: WindowFunctionParams {
                args,
                partition_by: Vec::new(),
                order_by,
                window_frame: window_frame.clone(),
                filter,
                null_treatment: *null_treatment,
                distinct: *distinct,
            },
        })));
    }
    let schema = arguments.schema()?;
    let text = rewritten.iter().map(|expr| format!("{expr} of {}", types(&arguments))).collect::<Vec<_>>().join(", ");
    let mut exprs = Vec::with_capacity(calls.len());
    let mut results = Vec::with_capacity(calls.len());
    for (place, (call, expr)) in calls.iter().zip(&rewritten).enumerate() {
        let expr = create_window_expr(expr, &schema, &ExecutionProps::new(), &PhysicalPlanningContext::default())?;
        let declared = type_of(&Expr::WindowFunction(Box::new((*call).clone())), base.schema);
        results.push(engine_type(declared, expr.field()?.data_type()).field(format!("w{place}"), true));
        exprs.push(expr);
    }
    let names: Vec<String> = calls.iter().map(|call| call.fun.name().to_string()).collect();
    let numbered = names.iter().position(|name| name == "row_number");
    let forward = names.iter().all(|name| matches!(name.as_str(), "row_number" | "rank" | "dense_rank"));
    let row_number = numbered.filter(|_| forward);
    let function = Windows { exprs, results: results.clone(), text, row_number };
    let input = std::mem::replace(
        &mut base.plan,
        Plan { op: Op::Union { inputs: Vec::new() }, schema: Arc::new(Schema::empty()) },
    );
    let below = input.schema.fields().len();
    let fields = input.schema.fields().iter().map(|field| field.as_ref().clone()).chain(results.iter().cloned());
    base.plan = Plan {
        schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
        op: Op::GroupApply {
            input: Box::new(input),
            keys,
            order,
            passed: (0..below).collect(),
            arguments: arguments.places,
            function: ByText(Arc::new(function)),
        },
    };
    Ok(below..below + results.len())
}

fn types(arguments: &Arguments) -> String {
    let names: Vec<String> = arguments.fields.iter().map(|field| PgType::of(field).name()).collect();
    format!("({})", names.join(", "))
}

/// Window functions over one group.
#[derive(Debug)]
struct Windows {
    exprs: Vec<Arc<dyn WindowExpr>>,
    results: Vec<Field>,
    text: String,
    row_number: Option<usize>,
}

impl Text for Windows {
    fn text(&self) -> String {
        self.text.clone()
    }
}

impl GroupFunction for Windows {
    fn aggregates(&self) -> bool {
        false
    }

    fn row_number(&self) -> Option<usize> {
        self.row_number
    }

    fn evaluate(&self, arguments: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let result =
            |(expr, field): (&Arc<dyn WindowExpr>, &Field)| Ok(cast(&expr.evaluate(arguments)?, field.data_type())?);
        self.exprs.iter().zip(&self.results).map(result).collect()
    }
}

/// GROUP BY with an aggregate that is computed from all rows of a group.
pub(super) fn aggregates(aggregate: &Aggregate) -> Result<Plan> {
    let mut base = Base { plan: lower(&aggregate.input)?, schema: aggregate.input.schema() };
    let keys = aggregate.group_expr.iter().map(|key| base.place(key)).collect::<Result<Vec<_>>>()?;
    let mut arguments = Arguments::default();
    let mut rewritten = Vec::new();
    for expr in &aggregate.aggr_expr {
        let Expr::AggregateFunction(call) = unaliased(expr) else {
            return Err(refused(&format!("the aggregate {expr}")));
        };
        let AggregateFunctionParams { args, distinct, filter, order_by, null_treatment } = &call.params;
        let args = args.iter().map(|arg| arguments.argument(&mut base, arg)).collect::<Result<_>>()?;
        let filter = filter.as_ref().map(|filter| arguments.placed(&mut base, filter)).transpose()?;
        let order_by = arguments.sorts(&mut base, order_by)?;
        // It tells values apart and sorts them itself, as numbers and not as bytes.
        let own = *distinct && call.func.name() == "array_agg";
        let bare = Expr::AggregateFunction(AggregateFunction::new_udf(
            call.func.clone(),
            args,
            own,
            None,
            if own { order_by.clone() } else { Vec::new() },
            *null_treatment,
        ));
        let declared = type_of(expr, base.schema);
        rewritten.push(Call { expr: bare, distinct: *distinct && !own, filter, order_by, declared });
    }
    if arguments.places.is_empty() {
        // A batch of no columns would lose its rows.
        let one = Expr::Literal(datafusion::common::ScalarValue::Boolean(Some(true)), None);
        let place = base.place(&one)?;
        arguments.column(&base.plan.schema, place);
    }
    let (calls, text) = group_calls(&rewritten, &arguments)?;
    let names = aggregate.schema.fields().iter().map(|field| field.name().clone());
    let key_types = keys.iter().map(|key| PgType::of(base.plan.schema.field(*key)));
    let result_types =
        aggregate.aggr_expr.iter().zip(&calls).map(|(expr, call)| {
            engine_type(type_of(expr, aggregate.input.schema()), call.function.field().data_type())
        });
    let types: Vec<PgType> = key_types.chain(result_types).collect();
    let fields: Vec<Field> = names.zip(types).map(|(name, ty)| ty.field(name, true)).collect();
    Ok(Plan {
        schema: Arc::new(Schema::new(fields)),
        op: Op::GroupApply {
            input: Box::new(base.plan),
            passed: keys.clone(),
            keys,
            order: Vec::new(),
            arguments: arguments.places,
            function: ByText(Arc::new(Aggregates { calls, text })),
        },
    })
}

/// An aggregate call over argument columns, what stands around it taken off.
struct Call {
    expr: Expr,
    distinct: bool,
    filter: Option<Expr>,
    order_by: Vec<SortExpr>,
    declared: PgType,
}

/// The calls as they are evaluated, and their text.
fn group_calls(rewritten: &[Call], arguments: &Arguments) -> Result<(Vec<GroupCall>, String)> {
    let schema = arguments.schema()?;
    let mut calls = Vec::new();
    let mut texts = Vec::new();
    for Call { expr, distinct, filter, order_by, declared } in rewritten {
        let inner = schema.inner();
        let (props, context) = (ExecutionProps::new(), PhysicalPlanningContext::default());
        let lowered = LoweredAggregateBuilder::new(expr, &schema, inner, &props, &context);
        let function = lowered.with_name(expr.schema_name().to_string()).build()?.aggregate;
        let place = |expr: &Expr| match expr {
            Expr::Column(column) => inner.index_of(&column.name).map_err(|error| Error::internal(error.to_string())),
            other => Err(Error::internal(format!("{other} where a column was planned"))),
        };
        let distinctly = if *distinct { " distinct" } else { "" };
        let filtered = filter.as_ref().map_or_else(String::new, |filter| format!(" filter {filter}"));
        let by: Vec<String> = order_by.iter().map(|by| by.to_string()).collect();
        let ordered = if by.is_empty() { String::new() } else { format!(" order {}", by.join(", ")) };
        texts.push(format!("{expr}{distinctly}{filtered}{ordered} of {}", types(arguments)));
        let filter = filter.as_ref().map(place).transpose()?;
        let constant = |by: &SortExpr| matches!(by.expr, Expr::Literal(..));
        let order = order_by
            .iter()
            .filter(|by| !constant(by))
            .map(|by| Ok((place(&by.expr)?, SortOptions { descending: !by.asc, nulls_first: by.nulls_first })))
            .collect::<Result<_>>()?;
        let result = engine_type(declared.clone(), function.field().data_type());
        calls.push(GroupCall { function, distinct: *distinct, filter, order, result: result.arrow() });
    }
    Ok((calls, texts.join(", ")))
}

/// Aggregates over one group.
#[derive(Debug)]
struct Aggregates {
    calls: Vec<GroupCall>,
    text: String,
}

#[derive(Debug)]
struct GroupCall {
    function: Arc<AggregateFunctionExpr>,
    distinct: bool,
    filter: Option<usize>,
    order: Vec<(usize, SortOptions)>,
    result: DataType,
}

impl Text for Aggregates {
    fn text(&self) -> String {
        self.text.clone()
    }
}

impl GroupFunction for Aggregates {
    fn aggregates(&self) -> bool {
        true
    }

    fn row_number(&self) -> Option<usize> {
        None
    }

    fn evaluate(&self, arguments: &RecordBatch) -> Result<Vec<ArrayRef>> {
        self.calls.iter().map(|call| call.evaluate(arguments)).collect()
    }
}

impl GroupCall {
    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        let mut rows = rows.clone();
        if let Some(filter) = self.filter {
            let mask = rows.column(filter).as_boolean();
            let mask = if mask.null_count() > 0 { prep_null_mask_filter(mask) } else { mask.clone() };
            rows = filter_record_batch(&rows, &mask)?;
        }
        if !self.order.is_empty() {
            let columns: Vec<arrow::compute::SortColumn> = self
                .order
                .iter()
                .map(|(place, options)| arrow::compute::SortColumn {
                    values: rows.column(*place).clone(),
                    options: Some(*options),
                })
                .collect();
            rows = take_record_batch(&rows, &lexsort_to_indices(&columns, None)?)?;
        }
        let mut values: Vec<ArrayRef> = self
            .function
            .expressions()
            .iter()
            .map(|expr| Ok(expr.evaluate(&rows)?.into_array(rows.num_rows())?))
            .collect::<Result<_>>()?;
        if self.distinct {
            values = distinct(&values)?;
        }
        let mut accumulator = self.function.create_accumulator()?;
        accumulator.update_batch(&values)?;
        Ok(cast(&accumulator.evaluate()?.to_array()?, &self.result)?)
    }
}

/// The first of equal rows.
fn distinct(values: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
    let fields = values.iter().map(|values| SortField::new(values.data_type().clone()));
    let rows = RowConverter::new(fields.collect())?.convert_columns(values)?;
    let mut seen = std::collections::HashSet::new();
    let kept = (0..rows.num_rows()).filter(|row| seen.insert(rows.row(*row)));
    let kept = UInt32Array::from_iter_values(kept.map(|row| row as u32));
    Ok(values.iter().map(|values| arrow::compute::take(values, &kept, None)).collect::<std::result::Result<_, _>>()?)
}
