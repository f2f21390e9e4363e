//! What DataFusion 55 believes of an outer join's rows, taken back.
//!
//! Under `a RIGHT JOIN b ON a.x = b.x AND b.x = 1` it filters `a` by `x = 1`, rightly, and holds
//! `a.x` for a constant above the join too, where the rows without a pair have null: a sort by
//! `a.x` is then left out, and LIMIT shows other rows. A physical rule puts a node above every outer
//! join that promises nothing about values and their order. Costs nothing at execution.

use std::fmt;
use std::sync::Arc;

use datafusion::common::JoinType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};

/// The rule; it runs before sorts are judged.
#[derive(Debug)]
pub(super) struct DoubtOuterJoins;

impl PhysicalOptimizerRule for DoubtOuterJoins {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let changed = plan.transform_up(|node| {
            let kind = node
                .downcast_ref::<HashJoinExec>()
                .map(|join| *join.join_type())
                .or_else(|| node.downcast_ref::<NestedLoopJoinExec>().map(|join| *join.join_type()))
                .or_else(|| node.downcast_ref::<SortMergeJoinExec>().map(|join| join.join_type()));
            let outer = matches!(kind, Some(JoinType::Left | JoinType::Right | JoinType::Full));
            Ok(if outer { Transformed::yes(Doubted::above(node)) } else { Transformed::no(node) })
        })?;
        Ok(changed.data)
    }

    fn name(&self) -> &str {
        "doubt_outer_joins"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The same rows, of whose values nothing is known.
#[derive(Debug)]
struct Doubted {
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl Doubted {
    fn above(input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        let known = input.properties();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(input.schema()),
            known.output_partitioning().clone(),
            known.emission_type,
            known.boundedness,
        );
        Arc::new(Doubted { input, properties: Arc::new(properties) })
    }
}

impl DisplayAs for Doubted {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Doubted")
    }
}

impl ExecutionPlan for Doubted {
    fn name(&self) -> &str {
        "Doubted"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _each: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Doubted::above(children.pop().unwrap_or_else(|| self.input.clone())))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.input.execute(partition, context)
    }
}
