//! pg_sleep and its kin.
//!
//! A call waits without a thread of its own: any number of them keep nobody else waiting, and a cancel or
//! `statement_timeout`, which drop the query, end it. So it stands only where DataFusion can wait
//! between batches: in select lists and conditions.

use std::future::Future;
use std::hash::{Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::{DataType, FieldRef, Float64Type, IntervalMonthDayNanoType, TimestampMicrosecondType};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use thalweg_dataflow::types::{Interval, PgType};
use thalweg_dataflow::{Error, Result};

use super::super::typed::Typed;

/// The longest a row sleeps: longer ones are not told apart from it.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

const NAMES: [&str; 3] = ["pg_sleep", "pg_sleep_for", "pg_sleep_until"];

/// Whether an expression is a call that waits: one of these, or of a lock.
pub(crate) fn waits(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.func.as_async().is_some())
}

/// Refuses calls where nothing can wait. Error: 0A000.
pub(crate) fn refuse_elsewhere(plan: &LogicalPlan) -> Result<()> {
    let (mut found, mut branched) = (None, None);
    plan.apply_with_subqueries(|node| {
        if !matches!(node, LogicalPlan::Projection(_) | LogicalPlan::Filter(_)) {
            node.apply_expressions(|expr| {
                expr.apply(|inner| {
                    if let Expr::ScalarFunction(call) = inner
                        && waits(inner)
                    {
                        found = Some(call.func.name().to_string());
                    }
                    Ok(TreeNodeRecursion::Continue)
                })
            })?;
        }
        node.apply_expressions(|expr| {
            locks_in_branch(expr)?.into_iter().for_each(|name| branched = Some(name));
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    if let Some(name) = branched {
        let error = Error::unsupported(format!("{name} inside CASE"));
        return Err(error.hint("It would lock whether its branch is taken or not."));
    }
    match found {
        Some(name) => Err(Error::unsupported(format!("{name} outside of a select list or WHERE"))),
        None => Ok(()),
    }
}

/// The name of a function that locks inside a CASE: it is computed before the CASE is.
fn locks_in_branch(expr: &Expr) -> DataFusionResult<Option<String>> {
    let mut found = None;
    expr.apply(|inner| {
        if matches!(inner, Expr::Case(_)) {
            inner.apply(|call| {
                if let Expr::ScalarFunction(call) = call
                    && call.func.as_async().is_some()
                    && !NAMES.contains(&call.func.name())
                {
                    found = Some(call.func.name().to_string());
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// The type of the argument of the function of this name, if it is one of these.
pub(crate) fn argument(name: &str) -> Option<PgType> {
    let place = NAMES.iter().position(|known| *known == name)?;
    Some([PgType::Float8, PgType::Interval, PgType::Timestamptz][place].clone())
}

/// A call over an argument of its type.
pub(crate) fn call(name: &str, argument: Expr) -> Typed {
    let name = NAMES.into_iter().find(|known| *known == name).unwrap_or(NAMES[0]);
    let signature = Signature::any(1, Volatility::Volatile);
    let function = AsyncScalarUDF::new(Arc::new(Sleep { name, signature })).into_scalar_udf();
    let call = ScalarFunction::new_udf(Arc::new(function), vec![argument]);
    // Its result is void, which prints as the empty text.
    Typed::new(Expr::ScalarFunction(call), PgType::Text)
}

#[derive(Debug)]
struct Sleep {
    name: &'static str,
    signature: Signature,
}

impl PartialEq for Sleep {
    fn eq(&self, other: &Sleep) -> bool {
        self.name == other.name
    }
}

impl Eq for Sleep {}

impl Hash for Sleep {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Sleep {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(PgType::Text.arrow())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        Ok(Arc::new(PgType::Text.field(self.name, true)))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        Err(Error::unsupported(format!("{} here", self.name)).into_datafusion())
    }
}

impl AsyncScalarUDFImpl for Sleep {
    fn invoke_async_with_args<'s, 'f>(
        &'s self,
        arguments: ScalarFunctionArgs,
    ) -> Pin<Box<dyn Future<Output = DataFusionResult<ColumnarValue>> + Send + 'f>>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let lengths = self.lengths(&arguments).map_err(Error::into_datafusion)?;
            for length in lengths.iter().flatten() {
                tokio::time::sleep(*length).await;
            }
            let slept = lengths.iter().map(|length| length.map(|_| ""));
            Ok(ColumnarValue::Array(Arc::new(slept.collect::<StringArray>())))
        })
    }
}

impl Sleep {
    /// How long each row sleeps; `None`: its argument is null.
    fn lengths(&self, arguments: &ScalarFunctionArgs) -> Result<Vec<Option<Duration>>> {
        let [argument] = arguments.args.as_slice() else {
            return Err(Error::internal(format!("{} without its argument", self.name)));
        };
        let values = argument.to_array(arguments.number_rows)?;
        let now = chrono::Utc::now().timestamp_micros();
        (0..values.len())
            .map(|row| if values.is_null(row) { Ok(None) } else { self.length(&values, row, now).map(Some) })
            .collect()
    }

    fn length(&self, values: &ArrayRef, row: usize, now: i64) -> Result<Duration> {
        let seconds = match self.name {
            "pg_sleep_until" => {
                let moments = values.as_primitive::<TimestampMicrosecondType>();
                moments.value(row).saturating_sub(now) as f64 / 1e6
            }
            "pg_sleep_for" => {
                let lengths = values.as_primitive::<IntervalMonthDayNanoType>();
                Interval::from_arrow(lengths.value(row)).canonical() as f64 / 1e6
            }
            _ => values.as_primitive::<Float64Type>().value(row),
        };
        // Nothing sleeps backwards; NaN is no time at all.
        let seconds = if seconds > 0.0 { seconds } else { 0.0 };
        Ok(Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST).min(LONGEST))
    }
}
