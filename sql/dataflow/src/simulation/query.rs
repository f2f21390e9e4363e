//! Queries: the plans of the simulation in its own words, which the reference computes and the engine
//! is given lowered.

use std::sync::Arc;

use super::expr::Expr;
use super::fault::{Fault, planted};
use super::function::{Function as GroupFunction, Lowered};
use super::value::{Row, Type, batch, schema};
use crate::plan::{ByText, Call, Constants, JoinKind, On, Op, Plan, RelationId, SortColumn};

/// A query and the types of its columns.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    pub(crate) node: Node,
    pub(crate) types: Vec<Type>,
}

/// Its last operator; as in [`Op`].
#[derive(Debug, Clone)]
pub(crate) enum Node {
    Source {
        relation: u32,
        columns: Vec<usize>,
    },
    View {
        relation: u32,
    },
    Map {
        input: Box<Query>,
        filters: Vec<Expr>,
        project: Vec<Expr>,
    },
    Union {
        inputs: Vec<Query>,
    },
    Reduce {
        input: Box<Query>,
        keys: Vec<usize>,
        calls: Vec<Call>,
    },
    Join {
        left: Box<Query>,
        right: Box<Query>,
        kind: JoinKind,
        on: Vec<On>,
    },
    Top {
        input: Box<Query>,
        keys: Vec<usize>,
        order: Vec<SortColumn>,
        offset: u64,
        limit: Option<u64>,
    },
    Apply {
        input: Box<Query>,
        keys: Vec<usize>,
        order: Vec<SortColumn>,
        passed: Vec<usize>,
        argument: usize,
        function: GroupFunction,
    },
    Values {
        rows: Vec<Row>,
    },
}

impl Query {
    /// The relations it reads.
    pub(crate) fn reads(&self, found: &mut Vec<u32>) {
        match &self.node {
            Node::Source { relation, .. } | Node::View { relation } => found.push(*relation),
            Node::Values { .. } => {}
            Node::Map { input, .. }
            | Node::Reduce { input, .. }
            | Node::Top { input, .. }
            | Node::Apply { input, .. } => {
                input.reads(found);
            }
            Node::Union { inputs } => inputs.iter().for_each(|input| input.reads(found)),
            Node::Join { left, right, .. } => {
                left.reads(found);
                right.reads(found);
            }
        }
    }

    /// The plan, faults included if some are planted.
    pub(crate) fn lower(&self) -> Plan {
        let op = match &self.node {
            Node::Source { relation, columns } => {
                Op::Source { relation: RelationId(*relation), columns: columns.clone() }
            }
            Node::View { relation } => Op::View { relation: RelationId(*relation) },
            Node::Map { input, filters, project } => {
                let filters = if planted(Fault::FilterForgotten) { &[][..] } else { filters };
                Op::Map {
                    input: boxed(input),
                    filters: filters.iter().map(lower_filter).collect(),
                    project: project.iter().map(Expr::lower).collect(),
                }
            }
            Node::Union { inputs } => Op::Union { inputs: inputs.iter().map(Query::lower).collect() },
            Node::Reduce { input, keys, calls } if calls.is_empty() && planted(Fault::DistinctCounts) => {
                let project = keys.iter().map(|key| Expr::Column(*key).lower()).collect();
                Op::Map { input: boxed(input), filters: Vec::new(), project }
            }
            Node::Reduce { input, keys, calls } => {
                Op::Reduce { input: boxed(input), keys: keys.clone(), calls: calls.iter().map(lower_call).collect() }
            }
            Node::Join { left, right, kind, on } => {
                let nulls = planted(Fault::NullsMeet);
                let on = on.iter().map(|on| On { nulls_equal: on.nulls_equal || nulls, ..*on }).collect();
                let kind = match kind {
                    JoinKind::Full if planted(Fault::FullIsLeft) => JoinKind::Left,
                    other => *other,
                };
                Op::Join { left: boxed(left), right: boxed(right), kind, on }
            }
            Node::Top { input, keys, order, offset, limit } => Op::TopK {
                input: boxed(input),
                keys: keys.clone(),
                order: lower_order(order),
                offset: if planted(Fault::OffsetForgotten) { 0 } else { *offset },
                limit: limit.map(|limit| limit + u64::from(planted(Fault::TopOneMore))),
            },
            Node::Apply { input, keys, order, passed, argument, function } => Op::GroupApply {
                input: boxed(input),
                keys: keys.clone(),
                order: lower_order(order),
                passed: passed.clone(),
                arguments: vec![*argument],
                function: ByText(Arc::new(Lowered { function: *function, argument: input.types[*argument] })),
            },
            Node::Values { rows } => Op::Values { rows: Arc::new(Constants::new(batch(&self.types, rows.iter()))) },
        };
        Plan { op, schema: schema(&self.types) }
    }
}

fn boxed(query: &Query) -> Box<Plan> {
    Box::new(query.lower())
}

fn lower_filter(filter: &Expr) -> Arc<dyn datafusion::physical_expr::PhysicalExpr> {
    if planted(Fault::NullIsTrue) {
        let null = Expr::IsNull(Box::new(filter.clone()));
        return Expr::Or(Box::new(null), Box::new(filter.clone())).lower();
    }
    filter.lower()
}

fn lower_call(call: &Call) -> Call {
    let mut call = call.clone();
    call.distinct &= !planted(Fault::DistinctForgotten);
    if planted(Fault::ConditionForgotten) {
        call.filter = None;
    }
    call
}

fn lower_order(order: &[SortColumn]) -> Vec<SortColumn> {
    let turn = planted(Fault::NullsElsewhere);
    order.iter().map(|column| SortColumn { nulls_first: column.nulls_first != turn, ..*column }).collect()
}
