//! EXISTS and IN with a subquery where a value is wanted: in a select list, in ORDER BY, in an
//! argument.
//!
//! DataFusion makes joins of both where rows are filtered, and knows neither elsewhere. There they
//! become scalar subqueries: EXISTS asks whether the count is not zero, IN looks its value up in
//! the collected list ([`Membership`]), null as PostgreSQL has it.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::DataType;
use arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::error::Result as DataFusionResult;
use datafusion::functions_aggregate::array_agg::array_agg_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, ScalarFunction};
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::prelude::lit;
use thalweg_dataflow::Result;

use super::functions;
use super::subquery::wrap;

/// Whether a query gives any row.
pub(super) fn exists(plan: LogicalPlan, name: String) -> Result<Expr> {
    // A subquery that reads the outer row must be aggregated whole.
    let one_will_do = plan.all_out_ref_exprs().is_empty();
    let rows = LogicalPlanBuilder::from(plan);
    let rows = if one_will_do { rows.limit(0, Some(1))? } else { rows };
    let no_keys: Vec<Expr> = Vec::new();
    let counted = rows.aggregate(no_keys, vec![functions::count_star().alias(&name)])?;
    let some = datafusion::prelude::col(format!("\"{name}\"")).gt(lit(0_i64));
    Ok(Expr::ScalarSubquery(wrap(counted.project(vec![some])?.build()?)))
}

/// Whether a value is among those of a query's only column; both as sort keys.
pub(super) fn is_member(value: Expr, plan: LogicalPlan, name: String) -> Result<Expr> {
    let Some(column) = plan.schema().columns().into_iter().next() else {
        return Err(thalweg_dataflow::Error::internal("a subquery without its column"));
    };
    let values = vec![Expr::Column(column)];
    let collected = AggregateFunction::new_udf(array_agg_udaf(), values, false, None, Vec::new(), None);
    let no_keys: Vec<Expr> = Vec::new();
    let collected = Expr::AggregateFunction(collected).alias(name);
    let list = LogicalPlanBuilder::from(plan).aggregate(no_keys, vec![collected])?.build()?;
    let args = vec![value, Expr::ScalarSubquery(wrap(list))];
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::new_from_impl(Membership::new())), args)))
}

/// `value IN list`; a list that is null has no elements.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Membership {
    signature: Signature,
}

impl Membership {
    fn new() -> Membership {
        Membership { signature: Signature::any(2, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Membership {
    fn name(&self) -> &str {
        "is_member"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let values = args.args[0].to_array(args.number_rows)?;
        let converter = RowConverter::new(vec![SortField::new(values.data_type().clone())])?;
        let answers = match &args.args[1] {
            ColumnarValue::Scalar(list) => {
                let members = Members::of(&converter, &list.to_array()?, 0)?;
                members.look_up(&converter, &values)?
            }
            ColumnarValue::Array(lists) => {
                let mut answers = Vec::with_capacity(values.len());
                for row in 0..values.len() {
                    let members = Members::of(&converter, lists, row)?;
                    answers.extend(members.look_up(&converter, &values.slice(row, 1))?.iter());
                }
                answers.into()
            }
        };
        Ok(ColumnarValue::Array(Arc::new(answers)))
    }
}

/// The elements of one list.
struct Members {
    known: HashSet<OwnedRow>,
    has_null: bool,
}

impl Members {
    fn of(converter: &RowConverter, lists: &ArrayRef, row: usize) -> DataFusionResult<Members> {
        let lists = lists.as_list::<i32>();
        if lists.is_null(row) {
            return Ok(Members { known: HashSet::new(), has_null: false });
        }
        let elements = lists.value(row);
        let rows = converter.convert_columns(std::slice::from_ref(&elements))?;
        let present = (0..elements.len()).filter(|place| elements.is_valid(*place));
        Ok(Members {
            known: present.map(|place| rows.row(place).owned()).collect(),
            has_null: elements.null_count() > 0,
        })
    }

    fn look_up(&self, converter: &RowConverter, values: &ArrayRef) -> DataFusionResult<BooleanArray> {
        if self.known.is_empty() && !self.has_null {
            return Ok(vec![Some(false); values.len()].into());
        }
        let rows = converter.convert_columns(std::slice::from_ref(values))?;
        let answer = |place: usize| match values.is_valid(place) && self.known.contains(&rows.row(place).owned()) {
            true => Some(true),
            false if values.is_null(place) || self.has_null => None,
            false => Some(false),
        };
        Ok((0..values.len()).map(answer).collect())
    }
}
