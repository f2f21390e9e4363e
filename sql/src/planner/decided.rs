//! Columns that a GROUP BY decides though it does not name them: those of a table whose primary key
//! it names, as in `SELECT id, name FROM t GROUP BY id`.
//!
//! Such a column becomes one more that is grouped by: the groups stay what they are.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::Expr;
use thalweg_dataflow::Result;

use super::grouping::Grouping;
use super::scope::Scope;
use super::select::{Item, Order};
use super::typed::Typed;
use super::unnest::outer_columns;

impl Grouping {
    /// Groups by the columns too that these clauses read outside of aggregates and that a primary key
    /// in every grouping set decides.
    pub(super) fn add_decided(
        &mut self,
        scope: &Scope,
        items: &[Item],
        having: Option<&Expr>,
        orders: &[Order],
    ) -> Result<()> {
        if !self.present || scope.keys.is_empty() {
            return Ok(());
        }
        let items = items.iter().map(|item| &item.value.expr);
        let orders = orders.iter().map(|order| &order.value.expr);
        let mut read = Vec::new();
        for expr in items.chain(having).chain(orders) {
            columns_read(expr, &self.keys, &mut read)?;
        }
        for known in &scope.keys {
            let is_common = |column: &Expr| {
                let place = self.keys.iter().position(|key| key.expr == *column);
                place.is_some_and(|place| self.sets.iter().all(|set| set.contains(&place)))
            };
            if !known.key.iter().all(is_common) {
                continue;
            }
            for (column, ty) in &known.columns {
                if read.contains(column) && !self.keys.iter().any(|key| key.expr == *column) {
                    self.sets.iter_mut().for_each(|set| set.push(self.keys.len()));
                    self.keys.push(Typed::new(column.clone(), ty.clone()));
                }
            }
        }
        Ok(())
    }
}

/// The columns that an expression reads, those of its subqueries too, but not inside of what is
/// grouped by and of aggregates.
fn columns_read(expr: &Expr, keys: &[Typed], read: &mut Vec<Expr>) -> Result<()> {
    expr.apply(|inner| {
        if matches!(inner, Expr::AggregateFunction(_)) || keys.iter().any(|key| key.expr == *inner) {
            return Ok(TreeNodeRecursion::Jump);
        }
        if let Expr::Column(_) = inner {
            read.push(inner.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    outer_columns(expr, &mut |column| read.push(Expr::Column(column.clone())))
}
