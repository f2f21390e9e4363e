//! One node in one epoch: the deltas of its inputs in, its own out.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::{Frame, Inputs, Node, NodeId, NodeKey, NodeOp};
use crate::delta::{Batch, Delta, of_columns};
use crate::error::{Error, Result};
use crate::operator::reduce::{Changed, Reduce};

/// An epoch that is being run.
#[derive(Debug)]
pub(super) struct Epoch {
    /// What each node changed.
    pub(super) deltas: HashMap<NodeId, Delta>,
    pub(super) frame: Frame,
    /// Whether the errors of some node changed.
    pub(super) errors_changed: bool,
}

impl Epoch {
    /// Notes what a node did.
    pub(super) fn take(&mut self, id: NodeId, node: &mut Node, changed: Changed) {
        let Changed { delta, rows, errors, touched } = changed;
        node.touched += touched;
        node.rows.fetch_add(rows, Ordering::Relaxed);
        if !errors.is_empty() {
            Arc::make_mut(&mut node.errors).apply(errors);
            self.errors_changed = true;
        }
        if !delta.is_empty() {
            self.deltas.insert(id, delta);
        }
    }
}

/// A node's place in an epoch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) frame: Frame,
    /// It has seen no barrier yet.
    pub(super) fresh: bool,
    /// Another node reads it.
    pub(super) read: bool,
}

/// Runs one node: what it changes.
pub(super) fn run_node(
    id: NodeId,
    node: &mut Node,
    deltas: &HashMap<NodeId, Delta>,
    inputs: &mut Inputs,
    Place { frame, fresh, read }: Place,
) -> Result<Changed> {
    let mut errors = Vec::new();
    let mut touched = 0;
    let empty = Delta::new();
    let delta_of = |id: &NodeId| deltas.get(id).unwrap_or(&empty);
    let delta = match (&mut node.op, &node.key) {
        (NodeOp::Source, NodeKey::Source(relation, columns)) => match inputs.sources.get(relation) {
            Some((built, batches)) => source_rows(built, batches, columns, &node.schema)?,
            None => Delta::new(),
        },
        (NodeOp::Table, NodeKey::Table(relation)) => inputs.tables.remove(relation).unwrap_or_default(),
        (NodeOp::Imported, _) => inputs.imported.remove(&id).unwrap_or_default(),
        (NodeOp::Union, NodeKey::Union(below)) => {
            // The columns keep the union's own names.
            let parts = below.iter().flat_map(delta_of);
            parts
                .map(|batch| Ok(Batch { rows: renamed(&batch.rows, &node.schema)?, diffs: batch.diffs.clone() }))
                .collect::<Result<_>>()?
        }
        (NodeOp::Map(map), NodeKey::Map(input, ..)) => {
            let mut out = Delta::new();
            for batch in delta_of(input) {
                map.apply(batch, &mut out, &mut errors)?;
            }
            out
        }
        (NodeOp::Expand(expand), NodeKey::Expand(input, ..)) => {
            let mut out = Delta::new();
            for batch in delta_of(input) {
                expand.apply(batch, &mut out, &mut errors)?;
            }
            touched = rows_of(&out);
            out
        }
        (NodeOp::Reduce(reduce), NodeKey::Groups(input, ..) | NodeKey::Rows(input)) => {
            return run_reduce(reduce, delta_of(input), Place { frame, fresh, read });
        }
        (NodeOp::TopK(top), NodeKey::TopK(input, ..)) => {
            let (delta, walked) = top.run(delta_of(input), frame.workers)?;
            touched = walked;
            delta
        }
        (NodeOp::GroupApply(apply), NodeKey::GroupApply(input, ..)) => {
            let changed = apply.run(delta_of(input), fresh, frame.workers)?;
            (errors, touched) = (changed.errors, changed.touched);
            changed.delta
        }
        (NodeOp::Index(index), NodeKey::Index(input, ..)) => {
            let delta = delta_of(input);
            index.apply(delta, frame.epoch, frame.oldest, frame.workers)?;
            return Ok(Changed {
                rows: delta.iter().map(Batch::count).sum(),
                touched: rows_of(delta),
                ..Changed::default()
            });
        }
        (NodeOp::Join(join), NodeKey::Join(_, [left, right], _)) => {
            let (left, right) = (delta_of(left).as_slice(), delta_of(right).as_slice());
            #[cfg(test)]
            let (left, right) = crate::simulation::fault::sides(left, right);
            let delta = join.run(left, right, frame.workers)?;
            touched = rows_of(left) + rows_of(right) + rows_of(&delta);
            delta
        }
        (NodeOp::Values, NodeKey::Values(constants)) if fresh => {
            vec![Batch::inserted(renamed(constants.rows(), &node.schema)?)]
        }
        // The rows of an iteration are put there by the node that iterates.
        (NodeOp::Values | NodeOp::Variable, _) => Delta::new(),
        _ => return Err(Error::internal(format!("node {id} is not what its key says"))),
    };
    Ok(Changed { touched, ..Changed::of(delta, errors) })
}

fn run_reduce(reduce: &mut Reduce, delta: &[Batch], Place { frame, fresh, read }: Place) -> Result<Changed> {
    if fresh {
        reduce.seed(frame.epoch, frame.oldest);
    } else if delta.is_empty() {
        return Ok(Changed::default());
    }
    for batch in delta {
        reduce.push(batch, frame.epoch, frame.oldest, frame.workers)?;
    }
    let changed = reduce.finish(frame.epoch, read)?;
    Ok(Changed { touched: rows_of(delta) + rows_of(&changed.delta), ..changed })
}

/// The same columns under a schema's names.
fn renamed(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    of_columns(schema, rows.columns().to_vec(), rows.num_rows())
}

fn rows_of(delta: &[Batch]) -> u64 {
    delta.iter().map(|batch| batch.rows.num_rows() as u64).sum()
}

fn source_rows(built: &[usize], batches: &[RecordBatch], columns: &[usize], schema: &SchemaRef) -> Result<Delta> {
    let places = columns
        .iter()
        .map(|column| {
            built
                .iter()
                .position(|have| have == column)
                .ok_or_else(|| Error::internal(format!("column {column} of a source was not built")))
        })
        .collect::<Result<Vec<_>>>()?;
    let mut delta = Delta::with_capacity(batches.len());
    for batch in batches.iter().filter(|batch| batch.num_rows() > 0) {
        let arrays = places.iter().map(|place| batch.column(*place).clone()).collect();
        delta.push(Batch::inserted(of_columns(schema, arrays, batch.num_rows())?));
    }
    Ok(delta)
}
