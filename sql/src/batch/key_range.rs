//! What conditions on a key's columns say: equal to constants, or between them.
//!
//! A range is the first columns of a key equal to constants and the next one bounded. It may say less
//! than the conditions do, never more: they are judged again over the rows that are found.

use std::ops::Bound;

use arrow::array::{ArrayRef, RecordBatch};
use datafusion::logical_expr::{Expr, Operator};
use thalweg_dataflow::Result;
use thalweg_dataflow::engine::KeyRange;

use super::computed::{Parameters, Value};
use crate::planner::Comparison;

/// See the module.
#[derive(Debug)]
pub(super) struct Range {
    equal: Vec<Value>,
    low: Bound<Value>,
    high: Bound<Value>,
    /// The column that the bounds are of: what the rows of the range are in order of.
    pub(super) column: usize,
}

impl Range {
    /// The range of a key that comparisons say, if they say any, and the conditions that it says.
    pub(super) fn of<'a>(key: &[usize], comparisons: &[Comparison<'a>]) -> Option<(Range, Vec<&'a Expr>)> {
        let mut said = Vec::new();
        let mut equal = Vec::new();
        for column in key {
            let given = comparisons.iter().find(|one| one.column == *column && one.op == Operator::Eq);
            let Some(given) = given else { break };
            equal.push(Value::of(given.value));
            said.push(given.condition);
        }
        let column = *key.get(equal.len())?;
        let (mut low, mut high) = (Bound::Unbounded, Bound::Unbounded);
        for one in comparisons.iter().filter(|one| one.column == column) {
            let bound = match one.op {
                Operator::Gt | Operator::GtEq => &mut low,
                _ => &mut high,
            };
            // Of two conditions on one end the rows are held against both.
            if matches!(bound, Bound::Unbounded) {
                *bound = match one.op {
                    Operator::Gt | Operator::Lt => Bound::Excluded(Value::of(one.value)),
                    _ => Bound::Included(Value::of(one.value)),
                };
                said.push(one.condition);
            }
        }
        (!said.is_empty()).then_some((Range { equal, low, high, column }, said))
    }

    /// The rows of the range: `first`, if there is a number of first rows that is enough, and whether
    /// they are those from the end, else as many as may be looked up and one more.
    pub(super) fn rows(
        &self,
        parameters: Parameters<'_>,
        first: Option<(usize, bool)>,
        find: &dyn Fn(&KeyRange<'_>) -> Result<Option<RecordBatch>>,
    ) -> Result<Option<RecordBatch>> {
        let equal = self.equal.iter().map(|value| value.array(parameters)).collect::<Result<Vec<_>>>()?;
        let end = |bound: &Bound<Value>| -> Result<Bound<ArrayRef>> {
            Ok(match bound {
                Bound::Included(value) => Bound::Included(value.array(parameters)?),
                Bound::Excluded(value) => Bound::Excluded(value.array(parameters)?),
                Bound::Unbounded => Bound::Unbounded,
            })
        };
        let (low, high) = (end(&self.low)?, end(&self.high)?);
        let (most, backwards) = first.unwrap_or((super::lookup::MOST_ROWS + 1, false));
        find(&KeyRange { equal: &equal, low: low.as_ref(), high: high.as_ref(), backwards, most })
    }
}
