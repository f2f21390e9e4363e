//! AND and OR that evaluate their right side only on the rows that reach it.
//!
//! `x <> 0 AND 10 / x > 5` must not divide by zero: PostgreSQL stops at the left side. DataFusion
//! evaluates both sides of a batch, so wherever the right side can fail it is replaced by
//! [`Guarded`].

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray};
use arrow::compute::{and_kleene, or_kleene};
use arrow::datatypes::{DataType, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{ColumnarValue, Operator};
use datafusion::physical_expr::expressions::{BinaryExpr, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};

/// `left AND right` or `left OR right`, the right side only where the left leaves it open.
#[derive(Debug, Eq)]
pub(crate) struct Guarded {
    is_and: bool,
    left: Arc<dyn PhysicalExpr>,
    right: Arc<dyn PhysicalExpr>,
}

impl Guarded {
    /// `AND` or `OR`.
    pub(crate) fn word(&self) -> &'static str {
        if self.is_and { "AND" } else { "OR" }
    }

    /// The side that is evaluated on every row.
    pub(crate) fn left(&self) -> &Arc<dyn PhysicalExpr> {
        &self.left
    }

    /// The side that is evaluated where the left leaves the answer open.
    pub(crate) fn right(&self) -> &Arc<dyn PhysicalExpr> {
        &self.right
    }
}

impl PartialEq for Guarded {
    fn eq(&self, other: &Guarded) -> bool {
        self.is_and == other.is_and && self.left.eq(&other.left) && self.right.eq(&other.right)
    }
}

impl Hash for Guarded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.is_and.hash(state);
        self.left.hash(state);
        self.right.hash(state);
    }
}

/// The same expression with every AND and OR guarded whose right side can fail.
pub(crate) fn guard(expr: Arc<dyn PhysicalExpr>) -> DataFusionResult<Arc<dyn PhysicalExpr>> {
    let guarded = expr.transform_up(|node| {
        if let Some(binary) = node.downcast_ref::<BinaryExpr>()
            && matches!(binary.op(), Operator::And | Operator::Or)
            && can_fail(binary.right())
        {
            let (left, right) = (binary.left().clone(), binary.right().clone());
            return Ok(Transformed::yes(
                Arc::new(Guarded { is_and: *binary.op() == Operator::And, left, right }) as Arc<dyn PhysicalExpr>
            ));
        }
        Ok(Transformed::no(node))
    })?;
    Ok(guarded.data)
}

/// Whether evaluating the expression on some row may be an error.
pub(crate) fn can_fail(expr: &Arc<dyn PhysicalExpr>) -> bool {
    if let Some(function) = expr.downcast_ref::<ScalarFunctionExpr>()
        && !matches!(function.name(), "nullable" | "sort_key" | "canonical" | "extreme_key" | "extreme_value")
    {
        return true;
    }
    expr.children().into_iter().any(can_fail)
}

impl fmt::Display for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.left, self.word(), self.right)
    }
}

impl PhysicalExpr for Guarded {
    fn data_type(&self, _input_schema: &Schema) -> DataFusionResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, _input_schema: &Schema) -> DataFusionResult<bool> {
        Ok(true)
    }

    fn evaluate(&self, batch: &RecordBatch) -> DataFusionResult<ColumnarValue> {
        let left = self.left.evaluate(batch)?.into_array(batch.num_rows())?;
        let left = left.as_boolean();
        let decided = !self.is_and;
        let open: BooleanArray = left.iter().map(|value| Some(value != Some(decided))).collect();
        if !open.has_true() {
            return Ok(ColumnarValue::Array(Arc::new(left.clone())));
        }
        let right = self.right.evaluate_selection(batch, &open)?.into_array(batch.num_rows())?;
        let right = right.as_boolean();
        let result = if self.is_and { and_kleene(left, right)? } else { or_kleene(left, right)? };
        Ok(ColumnarValue::Array(Arc::new(result)))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.left, &self.right]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> DataFusionResult<Arc<dyn PhysicalExpr>> {
        let mut children = children.into_iter();
        let always = || Arc::new(Literal::new(ScalarValue::Boolean(None))) as Arc<dyn PhysicalExpr>;
        let (left, right) = (children.next().unwrap_or_else(always), children.next().unwrap_or_else(always));
        Ok(Arc::new(Guarded { is_and: self.is_and, left, right }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
