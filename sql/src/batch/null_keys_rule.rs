//! Which joins pair null with null, kept apart from those that do not.
//!
//! DataFusion 55 makes `a IS NOT DISTINCT FROM b` a key of its join, and says of the whole join that
//! null equals null. Two of its rules then lose what was said of which: one takes joins apart and
//! puts them together again, all like the outermost; the other adds `=` to the keys of such a join.
//! So rows are lost, or come that should not. [`Apart`] writes such keys as conditions again before
//! these rules look; [`rules`] has the conditions made keys at the end of each round.

use std::sync::Arc;

use datafusion::common::NullEquality;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator};
use datafusion::optimizer::optimizer::{ApplyOrder, Optimizer};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// DataFusion's logical rules, with ours among them.
pub(super) fn rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut rules = Vec::new();
    let mut keys = None;
    for rule in Optimizer::new().rules {
        match rule.name() {
            "extract_equijoin_predicate" => {
                rules.push(Arc::new(Apart) as Arc<dyn OptimizerRule + Send + Sync>);
                keys = Some(rule.clone());
            }
            "eliminate_cross_join" => rules.push(Arc::new(Apart)),
            _ => {}
        }
        rules.push(rule);
    }
    rules.extend(keys);
    rules
}

/// The rule: a join's keys in which null equals null become conditions.
#[derive(Debug)]
struct Apart;

impl OptimizerRule for Apart {
    fn name(&self) -> &str {
        "null_keys_apart"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Join(mut join) = plan else { return Ok(Transformed::no(plan)) };
        if join.null_equality == NullEquality::NullEqualsNothing || join.null_aware || join.on.is_empty() {
            return Ok(Transformed::no(LogicalPlan::Join(join)));
        }
        let keys = std::mem::take(&mut join.on).into_iter().map(|(left, right)| {
            Expr::BinaryExpr(BinaryExpr::new(Box::new(left), Operator::IsNotDistinctFrom, Box::new(right)))
        });
        join.filter = keys.chain(join.filter.take()).reduce(Expr::and);
        join.null_equality = NullEquality::NullEqualsNothing;
        Ok(Transformed::yes(LogicalPlan::Join(join)))
    }
}
