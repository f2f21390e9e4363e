//! What conditions on a key's columns say: equal to constants, or between them.
//!
//! A range is the first columns of a key equal to constants and the next one bounded. It may say less
//! than the conditions do, never more: they are judged again over the rows that are found.

use std::ops::Bound;

use arrow::array::{ArrayRef, RecordBatch};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, Operator};
use thalweg_dataflow::Result;
use thalweg_dataflow::engine::KeyRange;

use crate::planner::Comparison;

/// See the module.
pub(super) struct Range<'a> {
    equal: Vec<&'a Expr>,
    low: Bound<&'a Expr>,
    high: Bound<&'a Expr>,
    /// The column that the bounds are of: what the rows of the range are in order of.
    pub(super) column: usize,
    /// The conditions that the range says.
    conditions: Vec<&'a Expr>,
}

impl<'a> Range<'a> {
    /// The range of a key that comparisons say, if they say any.
    pub(super) fn of(key: &[usize], comparisons: &[Comparison<'a>]) -> Option<Range<'a>> {
        let mut conditions = Vec::new();
        let mut equal = Vec::new();
        for column in key {
            let given = comparisons.iter().find(|one| one.column == *column && one.op == Operator::Eq);
            let Some(given) = given else { break };
            equal.push(given.value);
            conditions.push(given.condition);
        }
        let column = *key.get(equal.len())?;
        let (mut low, mut high) = (Bound::Unbounded, Bound::Unbounded);
        for one in comparisons.iter().filter(|one| one.column == column) {
            let bound = match one.op {
                Operator::Gt | Operator::GtEq => &mut low,
                _ => &mut high,
            };
            // Of two conditions on one end the rows are held against both.
            if *bound == Bound::Unbounded {
                *bound = match one.op {
                    Operator::Gt | Operator::Lt => Bound::Excluded(one.value),
                    _ => Bound::Included(one.value),
                };
                conditions.push(one.condition);
            }
        }
        let says = !equal.is_empty() || low != Bound::Unbounded || high != Bound::Unbounded;
        says.then_some(Range { equal, low, high, column, conditions })
    }

    /// How many conditions it says.
    pub(super) fn used(&self) -> usize {
        self.conditions.len()
    }

    /// Whether a condition says nothing else.
    pub(super) fn is_all_of(&self, condition: &Expr) -> bool {
        split_conjunction(condition).into_iter().all(|part| self.conditions.contains(&part))
    }

    /// The rows of the range: `first`, if there is a number of first rows that is enough, and whether
    /// they are those from the end, else as many as may be looked up and one more.
    pub(super) fn rows(
        &self,
        value: &dyn Fn(&Expr) -> Result<ArrayRef>,
        first: Option<(usize, bool)>,
        find: &dyn Fn(&KeyRange<'_>) -> Result<Option<RecordBatch>>,
    ) -> Result<Option<RecordBatch>> {
        let equal = self.equal.iter().map(|expr| value(expr)).collect::<Result<Vec<_>>>()?;
        let end = |bound: Bound<&Expr>| -> Result<Bound<ArrayRef>> {
            Ok(match bound {
                Bound::Included(expr) => Bound::Included(value(expr)?),
                Bound::Excluded(expr) => Bound::Excluded(value(expr)?),
                Bound::Unbounded => Bound::Unbounded,
            })
        };
        let (low, high) = (end(self.low)?, end(self.high)?);
        let (most, backwards) = first.unwrap_or((super::lookup::MOST_ROWS + 1, false));
        find(&KeyRange { equal: &equal, low: low.as_ref(), high: high.as_ref(), backwards, most })
    }
}
