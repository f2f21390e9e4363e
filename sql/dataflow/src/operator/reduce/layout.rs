//! Where each aggregate call keeps its state: state bytes at fixed places, blobs for the rest.
//!
//! Part of the format version: a change here is a new version of the state.

use arrow::datatypes::Schema;

use crate::error::{Error, Result};
use crate::plan::{Call, Function};
use crate::types::PgType;

/// The state of a group: its row count if it can shrink, then every call's.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// Whether a row count leads: the input can retract, or rows are kept with multiplicity.
    pub(crate) counted: bool,
    /// The calls.
    pub(crate) calls: Vec<CallLayout>,
    /// State bytes of a group.
    pub(crate) stride: usize,
    /// Blobs of a group.
    pub(crate) blobs: usize,
    /// The arguments that some call wants distinct.
    pub(crate) distincts: Vec<DistinctLayout>,
}

/// One call's state.
#[derive(Debug, Clone)]
pub(crate) struct CallLayout {
    pub(crate) call: Call,
    pub(crate) argument: Option<PgType>,
    pub(crate) result: PgType,
    pub(crate) state: StateKind,
    /// Its first state byte.
    pub(crate) offset: usize,
    /// Its blob, if it has one.
    pub(crate) blob: usize,
}

/// What a call keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StateKind {
    /// i64: non-null rows.
    Count,
    /// i128 sum, i64 non-null rows; the sum's scale.
    Integer {
        /// Decimal digits after the point.
        scale: i32,
    },
    /// f64 sum, f64 compensation, i64 finite rows, i64 NaN, i64 +inf, i64 -inf.
    Float,
    /// Blob: sums by display scale ([`super::numeric_sum`]).
    Numeric,
    /// Blob: the extreme value's bytes. Under retraction the values live in a multiset beside.
    Extreme {
        /// max, not min.
        max: bool,
    },
    /// Insert-only: a byte of flags, 1 = a non-null row, 2 = a decisive one.
    Flags {
        /// The decisive value: false for bool_and, true for bool_or.
        decisive: bool,
    },
    /// i64 non-null rows, i64 decisive ones.
    Decisive {
        /// The decisive value.
        decisive: bool,
    },
    /// Insert-only. Blob: [`crate::sketch::distinct`].
    DistinctSketch,
    /// Insert-only. Blob: [`crate::sketch::quantile`].
    QuantileSketch,
}

impl StateKind {
    fn bytes(self) -> usize {
        match self {
            StateKind::Count => 8,
            StateKind::Integer { .. } => 24,
            StateKind::Float => 48,
            StateKind::Numeric | StateKind::Extreme { .. } | StateKind::DistinctSketch | StateKind::QuantileSketch => 0,
            StateKind::Flags { .. } => 1,
            StateKind::Decisive { .. } => 16,
        }
    }

    fn has_blob(self) -> bool {
        matches!(
            self,
            StateKind::Numeric | StateKind::Extreme { .. } | StateKind::DistinctSketch | StateKind::QuantileSketch
        )
    }

    /// Whether a value that comes twice changes nothing.
    fn ignores_repetition(self) -> bool {
        matches!(
            self,
            StateKind::Extreme { .. }
                | StateKind::Flags { .. }
                | StateKind::Decisive { .. }
                | StateKind::DistinctSketch
        )
    }
}

/// One argument of `DISTINCT` calls: they share one table of (group, value).
#[derive(Debug, Clone)]
pub(crate) struct DistinctLayout {
    /// The input's column.
    pub(crate) argument: usize,
    /// Its type.
    pub(crate) data_type: PgType,
    /// The different conditions; an entry has one bit or counter for each.
    pub(crate) filters: Vec<Option<usize>>,
    /// For each condition the calls that follow it.
    pub(crate) calls: Vec<Vec<usize>>,
}

impl Layout {
    /// The layout of a `Reduce`. `retracts`: whether its input can.
    pub(crate) fn new(input: &Schema, calls: &[Call], retracts: bool) -> Result<Layout> {
        let mut layout = Layout {
            counted: retracts,
            calls: Vec::new(),
            stride: if retracts { 8 } else { 0 },
            blobs: 0,
            distincts: Vec::new(),
        };
        for (place, call) in calls.iter().enumerate() {
            let argument = call.argument.map(|column| PgType::of(input.field(column)));
            let result = call
                .function
                .result(argument.as_ref())
                .ok_or_else(|| Error::internal(format!("aggregate {call} has no result type")))?;
            let state = state_kind(call.function, argument.as_ref(), retracts);
            if retracts && matches!(state, StateKind::DistinctSketch | StateKind::QuantileSketch) {
                return Err(cannot_take_back(call.function));
            }
            layout.calls.push(CallLayout {
                call: call.clone(),
                argument: argument.clone(),
                result,
                state,
                offset: layout.stride,
                blob: layout.blobs,
            });
            layout.stride += state.bytes();
            layout.blobs += usize::from(state.has_blob());
            // The extreme of distinct values is the extreme of all.
            if let (true, Some(column), Some(data_type)) = (call.distinct, call.argument, argument)
                && !state.ignores_repetition()
            {
                layout.add_distinct(place, column, data_type, call.filter);
            }
        }
        Ok(layout)
    }

    fn add_distinct(&mut self, call: usize, argument: usize, data_type: PgType, filter: Option<usize>) {
        let found = self.distincts.iter().position(|distinct| distinct.argument == argument);
        let place = found.unwrap_or_else(|| {
            self.distincts.push(DistinctLayout { argument, data_type, filters: Vec::new(), calls: Vec::new() });
            self.distincts.len() - 1
        });
        let distinct = &mut self.distincts[place];
        match distinct.filters.iter().position(|known| *known == filter) {
            Some(known) => distinct.calls[known].push(call),
            None => {
                distinct.filters.push(filter);
                distinct.calls.push(vec![call]);
            }
        }
    }

    /// Whether a call takes its rows from a distinct table.
    pub(crate) fn is_distinct(&self, call: usize) -> bool {
        self.distincts.iter().any(|distinct| distinct.calls.iter().any(|calls| calls.contains(&call)))
    }
}

/// The refusal of a sketch over rows that can go.
fn cannot_take_back(function: Function) -> Error {
    let error = Error::unsupported(format!("{} over rows that can change or go", function.name()));
    error.hint(match function {
        Function::ApproxCountDistinct => "Use count(DISTINCT x), which is exact.",
        _ => "Ask for the percentile in a query; a view keeps it over inputs whose rows only come.",
    })
}

fn state_kind(function: Function, argument: Option<&PgType>, retracts: bool) -> StateKind {
    match function {
        Function::Count => StateKind::Count,
        Function::Min => StateKind::Extreme { max: false },
        Function::Max => StateKind::Extreme { max: true },
        Function::ApproxCountDistinct => StateKind::DistinctSketch,
        Function::ApproxPercentile(_) => StateKind::QuantileSketch,
        Function::BoolAnd | Function::BoolOr => {
            let decisive = function == Function::BoolOr;
            if retracts { StateKind::Decisive { decisive } } else { StateKind::Flags { decisive } }
        }
        Function::Sum | Function::Avg => match argument {
            Some(PgType::Float4 | PgType::Float8) => StateKind::Float,
            Some(PgType::Numeric(None)) => StateKind::Numeric,
            // Past 28 digits the sum of many rows could leave 128 bits.
            Some(PgType::Numeric(Some((precision, _)))) if *precision > 28 => StateKind::Numeric,
            Some(PgType::Numeric(Some((_, scale)))) => StateKind::Integer { scale: i32::from(*scale) },
            _ => StateKind::Integer { scale: 0 },
        },
    }
}
