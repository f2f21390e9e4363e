//! Physical plans that outlive their query: planning again takes longer than running most of them.
//!
//! Promises: a kept plan holds no snapshot, and what it gives is what a new plan would. Kept are plans
//! without parameters over views and tables alone; a relation that has grown or shrunk much since
//! makes the plan unfit.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result as DataFusionResult;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use thalweg_dataflow::Error;
use thalweg_dataflow::engine::Snapshot;

use super::lookup::MOST_ROWS;
use super::view_scan::ViewScan;

/// A plan as it may be kept; `None` if it may not.
pub(super) fn kept(plan: &Arc<dyn ExecutionPlan>) -> DataFusionResult<Option<Arc<dyn ExecutionPlan>>> {
    let mut fit = true;
    let unbound = plan.clone().transform_up(|node| {
        if let Some(scan) = node.downcast_ref::<ViewScan>() {
            return Ok(match scan.unbound() {
                Some(scan) => Transformed::yes(Arc::new(scan)),
                None => {
                    fit = false;
                    Transformed::new(node, false, TreeNodeRecursion::Stop)
                }
            });
        }
        fit &= !node.children().is_empty() || node.is::<EmptyExec>() || node.is::<PlaceholderRowExec>();
        Ok(Transformed::no(node))
    })?;
    Ok(fit.then_some(unbound.data))
}

/// Whether a plan is over so few rows of one relation, and so simple, that it is run where it is asked for.
pub(super) fn is_small(plan: &Arc<dyn ExecutionPlan>) -> bool {
    if let Some(scan) = plan.downcast_ref::<ViewScan>() {
        return scan.about() <= MOST_ROWS;
    }
    // What makes no more rows of its input, starts no task and waits for nothing.
    let is_plain = plan.is::<FilterExec>()
        || plan.is::<ProjectionExec>()
        || plan.is::<AggregateExec>()
        || plan.is::<SortExec>()
        || plan.is::<GlobalLimitExec>()
        || plan.is::<LocalLimitExec>()
        || plan.is::<CooperativeExec>();
    match plan.children().as_slice() {
        [input] => is_plain && is_small(input),
        _ => false,
    }
}

/// A kept plan over a snapshot; `None` if it does not fit any more.
pub(super) fn over(
    plan: &Arc<dyn ExecutionPlan>,
    snapshot: &Arc<Snapshot>,
) -> DataFusionResult<Option<Arc<dyn ExecutionPlan>>> {
    let mut fit = true;
    let bound = reset_plan_states(plan.clone())?.transform_up(|node| {
        let Some(scan) = node.downcast_ref::<ViewScan>() else { return Ok(Transformed::no(node)) };
        Ok(match scan.bound(snapshot).map_err(Error::into_datafusion)? {
            Some(scan) => Transformed::yes(Arc::new(scan)),
            None => {
                fit = false;
                Transformed::new(node, false, TreeNodeRecursion::Stop)
            }
        })
    })?;
    Ok(fit.then_some(bound.data))
}
