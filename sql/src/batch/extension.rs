//! DataFusion's physical planner, which then knows the planner's own nodes.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::error::Result;
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};

use super::expand::ExpandExec;
use super::recursion::Recursion;
use crate::planner::{Expand, RecursiveQuery};

/// The planner.
#[derive(Debug)]
pub(super) struct Planner;

#[async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(&self, plan: &LogicalPlan, state: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(Nodes)]);
        planner.create_physical_plan(plan, state).await
    }
}

/// What it knows beyond DataFusion's nodes.
struct Nodes;

#[async_trait]
impl ExtensionPlanner for Nodes {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical: &[&LogicalPlan],
        inputs: &[Arc<dyn ExecutionPlan>],
        state: &dyn Session,
        context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let schema = node.schema().inner().clone();
        if let Some(query) = node.as_any().downcast_ref::<RecursiveQuery>() {
            return Recursion::of(query, inputs, schema).map(Some);
        }
        if let (Some(expand), [input]) = (node.as_any().downcast_ref::<Expand>(), inputs) {
            let below = expand.input.schema();
            let arguments =
                expand.arguments.iter().map(|expr| planner.create_physical_expr(expr, below, state, context));
            let arguments = arguments.collect::<Result<Vec<_>>>()?;
            return Ok(Some(ExpandExec::over(input.clone(), expand.function.clone(), arguments, schema)));
        }
        Ok(None)
    }
}
