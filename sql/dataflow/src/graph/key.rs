//! What tells one node of the dataflow from another: in the live dataflow its key, over restarts
//! its fingerprint.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;

use super::{Node, NodeId};
use crate::arrangement::hash::hash_bytes;
use crate::error::{Error, Result};
use crate::plan::{
    ByText, Call, Constants, GroupFunction, JoinKind, Key, On, Op, Plan, RelationId, SetFunction, SortColumn,
};
use crate::types::PgType;

/// Changes with the form of any operator's state; part of every fingerprint.
const STATE_VERSION: u32 = 1;

/// What tells one node from another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum NodeKey {
    /// Columns of a source.
    Source(RelationId, Vec<usize>),
    /// A table's changes.
    Table(RelationId),
    /// Filters and projections, with the types of the output.
    Map(NodeId, Vec<Arc<dyn PhysicalExpr>>, Vec<Arc<dyn PhysicalExpr>>, Vec<PgType>),
    /// UNION ALL.
    Union(Vec<NodeId>),
    /// GROUP BY.
    Groups(NodeId, Vec<usize>, Vec<Call>),
    /// Whole rows, kept.
    Rows(NodeId),
    /// Whole rows, kept by key for those who look them up, perhaps in an order within it.
    Index(NodeId, Vec<Key>, Option<Vec<SortColumn>>),
    /// The first rows of groups: the input, its ordered index, offset and limit.
    TopK(NodeId, NodeId, u64, Option<u64>),
    /// A function of groups: the input, its ordered index, columns passed through, arguments.
    GroupApply(NodeId, NodeId, [Vec<usize>; 2], ByText<dyn GroupFunction>),
    /// A function of rows: columns passed through, arguments.
    Expand(NodeId, [Vec<usize>; 2], ByText<dyn SetFunction>),
    /// A join: which, the inputs, their indexes.
    Join(JoinKind, [NodeId; 2], [NodeId; 2]),
    /// Rows that never change.
    Values(Arc<Constants>),
    /// The rows of the last of these [`Op::Iterate`]s, within its body; the others are around it, and
    /// its body reads their rows.
    Variable(Vec<Arc<Plan>>),
    /// A body's fixed point: its variable, the body, the first iteration that is too late.
    Iterate(NodeId, NodeId, u64),
    /// In a view's private dataflow: a node of the live one, read by snapshots.
    Imported(NodeId),
}

fn digest(text: &str) -> String {
    format!("{:016x}{:016x}", hash_bytes(text.as_bytes()), hash_bytes(format!("thalweg {text}").as_bytes()))
}

pub(super) fn inputs_of(key: &NodeKey) -> Vec<NodeId> {
    match key {
        NodeKey::Source(..) | NodeKey::Table(_) | NodeKey::Imported(_) | NodeKey::Values(_) | NodeKey::Variable(_) => {
            Vec::new()
        }
        NodeKey::Map(input, ..)
        | NodeKey::Expand(input, ..)
        | NodeKey::Groups(input, ..)
        | NodeKey::Rows(input)
        | NodeKey::Index(input, ..) => vec![*input],
        NodeKey::TopK(input, index, ..) | NodeKey::GroupApply(input, index, ..) => vec![*input, *index],
        NodeKey::Union(inputs) => inputs.clone(),
        NodeKey::Iterate(variable, body, _) => vec![*variable, *body],
        NodeKey::Join(_, inputs, indexes) => inputs.iter().chain(indexes).copied().collect(),
    }
}

pub(super) fn rename(key: &NodeKey, here: &HashMap<NodeId, NodeId>) -> Result<NodeKey> {
    let at = |id: &NodeId| here.get(id).copied().ok_or_else(|| Error::internal("a build's node before its input"));
    Ok(match key {
        NodeKey::Source(relation, columns) => NodeKey::Source(*relation, columns.clone()),
        NodeKey::Table(relation) => NodeKey::Table(*relation),
        NodeKey::Imported(live) => NodeKey::Imported(*live),
        NodeKey::Map(input, filters, project, types) => {
            NodeKey::Map(at(input)?, filters.clone(), project.clone(), types.clone())
        }
        NodeKey::Union(inputs) => NodeKey::Union(inputs.iter().map(at).collect::<Result<_>>()?),
        NodeKey::Groups(input, keys, calls) => NodeKey::Groups(at(input)?, keys.clone(), calls.clone()),
        NodeKey::Rows(input) => NodeKey::Rows(at(input)?),
        NodeKey::Index(input, keys, order) => NodeKey::Index(at(input)?, keys.clone(), order.clone()),
        NodeKey::TopK(input, index, offset, limit) => NodeKey::TopK(at(input)?, at(index)?, *offset, *limit),
        NodeKey::GroupApply(input, index, columns, function) => {
            NodeKey::GroupApply(at(input)?, at(index)?, columns.clone(), function.clone())
        }
        NodeKey::Expand(input, columns, function) => NodeKey::Expand(at(input)?, columns.clone(), function.clone()),
        NodeKey::Join(kind, [left, right], [left_index, right_index]) => {
            NodeKey::Join(*kind, [at(left)?, at(right)?], [at(left_index)?, at(right_index)?])
        }
        NodeKey::Values(rows) => NodeKey::Values(rows.clone()),
        NodeKey::Variable(wholes) => NodeKey::Variable(wholes.clone()),
        NodeKey::Iterate(variable, body, limit) => NodeKey::Iterate(at(variable)?, at(body)?, *limit),
    })
}

/// The indexes a plan's node reads.
pub(super) fn indexed(plan: &Plan, inputs: &[NodeId]) -> Vec<NodeKey> {
    match (&plan.op, inputs) {
        (Op::Join { on, .. }, [left, right]) => {
            let keys = |column: fn(&On) -> usize| {
                on.iter().map(|on| Key { column: column(on), nulls_equal: on.nulls_equal }).collect::<Vec<_>>()
            };
            vec![NodeKey::Index(*left, keys(|on| on.left), None), NodeKey::Index(*right, keys(|on| on.right), None)]
        }
        (Op::TopK { keys, order, .. } | Op::GroupApply { keys, order, .. }, [input]) => {
            let keys = keys.iter().map(|column| Key { column: *column, nulls_equal: true }).collect();
            vec![NodeKey::Index(*input, keys, Some(order.clone()))]
        }
        _ => Vec::new(),
    }
}

/// The key of a plan's node; `around` are the [`Op::Iterate`]s around it, the innermost last.
pub(super) fn key_of(plan: &Plan, inputs: &[NodeId], indexes: &[NodeId], around: &[Arc<Plan>]) -> Option<NodeKey> {
    Some(match &plan.op {
        Op::Source { relation, columns } => NodeKey::Source(*relation, columns.clone()),
        Op::Table { relation } => NodeKey::Table(*relation),
        // The graph knows these by what is around them.
        Op::View { .. } | Op::Iterate { .. } => return None,
        Op::Variable { of } => {
            let named = |whole: &Arc<Plan>| matches!(&whole.op, Op::Iterate { name, .. } if name == of);
            variable_of(&around[..=around.iter().rposition(named)?])
        }
        Op::Map { filters, project, .. } => {
            let types = plan.schema.fields().iter().map(|field| PgType::of(field)).collect();
            NodeKey::Map(*inputs.first()?, filters.clone(), project.clone(), types)
        }
        Op::Union { .. } => NodeKey::Union(inputs.to_vec()),
        Op::Reduce { keys, calls, .. } => NodeKey::Groups(*inputs.first()?, keys.clone(), calls.clone()),
        Op::Join { kind, .. } => NodeKey::Join(*kind, inputs.try_into().ok()?, indexes.try_into().ok()?),
        Op::TopK { offset, limit, .. } => NodeKey::TopK(*inputs.first()?, *indexes.first()?, *offset, *limit),
        Op::GroupApply { function, passed, arguments, .. } => {
            let columns = [passed.clone(), arguments.clone()];
            NodeKey::GroupApply(*inputs.first()?, *indexes.first()?, columns, function.clone())
        }
        Op::Expand { passed, arguments, function, .. } => {
            NodeKey::Expand(*inputs.first()?, [passed.clone(), arguments.clone()], function.clone())
        }
        Op::Values { rows } => NodeKey::Values(rows.clone()),
    })
}

/// The rows of the last of these [`Op::Iterate`]s, each in the one before.
pub(super) fn variable_of(around: &[Arc<Plan>]) -> NodeKey {
    let own = match around.last() {
        Some(whole) if whole.is_closed() => around.len() - 1,
        _ => 0,
    };
    NodeKey::Variable(around[own..].to_vec())
}

/// A text that is the same for the same computation, digested.
pub(super) fn fingerprint(key: &NodeKey, schema: &SchemaRef, below: &[&Node]) -> String {
    let types: Vec<String> = schema.fields().iter().map(|field| PgType::of(field).name()).collect();
    let inputs: Vec<&str> = below.iter().map(|node| node.fingerprint.as_str()).collect();
    let what = match key {
        NodeKey::Source(relation, columns) => format!("source {} {columns:?}", relation.0),
        NodeKey::Table(relation) => format!("table {}", relation.0),
        NodeKey::Imported(live) => format!("imported {live}"),
        NodeKey::Map(_, filters, project, _) => {
            let list = |exprs: &[Arc<dyn PhysicalExpr>]| {
                exprs.iter().map(|expr| expr.to_string()).collect::<Vec<_>>().join(", ")
            };
            format!("map where {} give {}", list(filters), list(project))
        }
        NodeKey::Union(_) => "union".to_string(),
        NodeKey::Groups(_, keys, calls) => {
            let calls: Vec<String> = calls.iter().map(|call| call.to_string()).collect();
            format!("groups by {keys:?} {}", calls.join(", "))
        }
        NodeKey::Rows(_) => "rows".to_string(),
        NodeKey::Index(_, keys, order) => format!("index by {keys:?} in order {order:?}"),
        NodeKey::TopK(_, _, offset, limit) => format!("top {limit:?} after {offset}"),
        NodeKey::GroupApply(_, _, columns, function) => format!("apply {columns:?} {}", function.0.text()),
        NodeKey::Expand(_, columns, function) => format!("expand {columns:?} {}", function.0.text()),
        NodeKey::Join(kind, ..) => format!("{kind:?} join"),
        NodeKey::Values(rows) => format!("values {rows}"),
        NodeKey::Variable(wholes) => {
            let texts: Vec<String> = wholes.iter().map(|whole| whole.text()).collect();
            format!("variable of {}", texts.join(" within "))
        }
        NodeKey::Iterate(_, _, limit) => format!("iterate up to {limit}"),
    };
    let retracts = below.iter().any(|node| node.retracts);
    digest(&format!("{STATE_VERSION} {what} -> {} retracts={retracts} over {}", types.join(", "), inputs.join(" ")))
}
