//! A physical rule: filters and projections evaluate the right side of AND and OR only where it is
//! reached, and what cannot fail is tested first.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::BinaryExpr;
use datafusion::physical_expr::utils::split_conjunction;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};

use crate::planner::{can_fail, guard};

/// The rule.
#[derive(Debug)]
pub(super) struct GuardConditions;

impl PhysicalOptimizerRule for GuardConditions {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let guarded = plan.transform_up(|node| {
            if let Some(filter) = node.downcast_ref::<FilterExec>() {
                let (safe, risky): (Vec<_>, Vec<_>) =
                    split_conjunction(filter.predicate()).into_iter().cloned().partition(|part| !can_fail(part));
                let Some(predicate) = safe.into_iter().chain(risky).reduce(|left, right| {
                    Arc::new(BinaryExpr::new(left, Operator::And, right)) as Arc<dyn PhysicalExpr>
                }) else {
                    return Ok(Transformed::no(node));
                };
                let filter = FilterExecBuilder::from(filter).with_predicate(guard(predicate)?).build()?;
                return Ok(Transformed::yes(Arc::new(filter) as Arc<dyn ExecutionPlan>));
            }
            if let Some(projection) = node.downcast_ref::<ProjectionExec>() {
                let exprs = projection
                    .expr()
                    .iter()
                    .map(|item| Ok(ProjectionExpr { expr: guard(item.expr.clone())?, alias: item.alias.clone() }))
                    .collect::<Result<Vec<_>>>()?;
                let projection = ProjectionExec::try_new(exprs, projection.input().clone())?;
                return Ok(Transformed::yes(Arc::new(projection) as Arc<dyn ExecutionPlan>));
            }
            Ok(Transformed::no(node))
        })?;
        Ok(guarded.data)
    }

    fn name(&self) -> &str {
        "guard_conditions"
    }

    fn schema_check(&self) -> bool {
        false
    }
}
