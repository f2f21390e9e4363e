//! The top n of each group, written as `row_number() OVER (...) <= n`.
//!
//! Below the window only the first n rows of each group are kept in sight: an epoch then costs those
//! and its changes instead of the whole group.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, Column, Literal};
use thalweg_dataflow::Result;
use thalweg_dataflow::plan::{Op, Plan};

/// The same plan, its windows over no more rows than are asked for.
pub(super) fn top_n(plan: Plan) -> Result<Plan> {
    let mut plan = plan.map_inputs(&mut top_n)?;
    if let Op::Map { input, filters, .. } = &mut plan.op
        && let Op::GroupApply { input: rows, keys, order, passed, function, .. } = &mut input.op
        && let Some(number) = function.0.row_number()
        && let Some(limit) = filters.iter().filter_map(|filter| bound(filter, passed.len() + number)).min()
    {
        let below = rows.as_ref().clone();
        let schema = below.schema.clone();
        let op = Op::TopK {
            input: Box::new(below),
            keys: keys.clone(),
            order: order.clone(),
            offset: 0,
            limit: Some(limit),
        };
        **rows = Plan { op, schema };
    }
    Ok(plan)
}

/// The greatest value that a condition leaves a column, from 0.
fn bound(condition: &Arc<dyn PhysicalExpr>, place: usize) -> Option<u64> {
    let binary = condition.downcast_ref::<BinaryExpr>()?;
    let column = match binary.left().downcast_ref::<CastExpr>() {
        Some(cast) => cast.expr().downcast_ref::<Column>()?,
        None => binary.left().downcast_ref::<Column>()?,
    };
    let value = match binary.right().downcast_ref::<Literal>()?.value() {
        ScalarValue::Int64(Some(value)) => *value,
        ScalarValue::Int32(Some(value)) => i64::from(*value),
        _ => return None,
    };
    let most = match binary.op() {
        Operator::LtEq | Operator::Eq => value,
        Operator::Lt => value.saturating_sub(1),
        _ => return None,
    };
    (column.index() == place).then(|| u64::try_from(most).unwrap_or(0))
}
