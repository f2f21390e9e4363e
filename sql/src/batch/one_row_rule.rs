//! A logical rule: an aggregate without groups is limited to the one row it has.
//!
//! DataFusion 55 moves a condition below an aggregate when it names no column but the groups'. A
//! condition that names no column at all thus ends up below an aggregate without groups, which
//! gives its row over no rows too: `SELECT 1 FROM (SELECT count(*) FROM t) x WHERE false` would
//! have a row. Nothing is moved below a limit.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::{Limit, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;
use datafusion::prelude::lit;

/// The rule.
#[derive(Debug)]
pub(super) struct KeepOneRow;

impl AnalyzerRule for KeepOneRow {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let limited = plan.transform_up_with_subqueries(|node| {
            let global = matches!(&node, LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty());
            // A correlated subquery becomes a join, and its groups are then the outer columns.
            if !global || node.exists(|below| Ok(below.contains_outer_reference()))? {
                return Ok(Transformed::no(node));
            }
            let limit = Limit { skip: None, fetch: Some(Box::new(lit(1i64))), input: Arc::new(node) };
            Ok(Transformed::yes(LogicalPlan::Limit(limit)))
        })?;
        Ok(limited.data)
    }

    fn name(&self) -> &str {
        "keep_one_row"
    }
}
