//! Iterate: a body's fixed point, kept up to date (WITH RECURSIVE).
//!
//! Every row of a body carries the iteration it belongs to, so that the rows of all iterations are one
//! collection and the body's operators keep it as they keep any other. What changes in an iteration
//! is fed back through the body's variable and changes later ones only. So within an epoch the
//! iterations are settled one after the other, the lowest first: when one's turn comes, everything
//! that could still change it has been done, and what came and went meanwhile has cancelled out. A
//! cycle of rows that hold each other up therefore dies with the row it came from, and work is
//! proportional to what changes, iteration by iteration. (The order of time is that of McSherry,
//! Murray, Isaacs, Isard: Differential dataflow, CIDR 2013.) Within a body another may stand that reads
//! its rows: an iteration of the outer one runs the inner one to its end. Keeps nothing between
//! epochs.

use std::collections::{BTreeMap, HashMap};

use arrow::array::{AsArray, UInt32Array};
use arrow::datatypes::{Int64Type, SchemaRef};

use super::epoch::{Epoch, Place};
use super::{Dataflow, Inputs, NodeId, inputs_of};
use crate::arrangement::codec::RowCodec;
use crate::delta::{Batch, Delta, of_columns, take};
use crate::error::{Error, Result, SqlState};
use crate::operator::reduce::Changed;
use crate::operator::{ErrorChange, row_text};

impl Dataflow {
    /// Runs the iterations of an epoch. The body has seen what its other inputs changed.
    pub(super) fn iterate(
        &mut self,
        id: NodeId,
        (variable, body, limit): (NodeId, NodeId, u64),
        epoch: &mut Epoch,
    ) -> Result<()> {
        let mut pending = Pending::new(&self.node(id)?.schema);
        pending.add(epoch.deltas.remove(&body).unwrap_or_default())?;
        let members = self.readers_of(variable, body);
        let place = Place { frame: epoch.frame, fresh: false, read: true };
        let mut changed = Changed::default();
        while let Some((iteration, delta)) = pending.lowest()? {
            if iteration >= limit {
                changed.errors.extend(too_late(&delta, limit)?);
                continue;
            }
            let mut round =
                Epoch { deltas: HashMap::from([(variable, delta.clone())]), frame: epoch.frame, errors_changed: false };
            changed.delta.extend(delta);
            for member in &members {
                self.step(*member, &mut Inputs::default(), place, &mut round)?;
            }
            pending.add(round.deltas.remove(&body).unwrap_or_default())?;
            epoch.errors_changed |= round.errors_changed;
        }
        let touched = changed.delta.iter().map(|batch| batch.rows.num_rows() as u64).sum();
        let node = self.nodes.get_mut(&id).ok_or_else(|| Error::internal("an iteration without its node"))?;
        epoch.take(id, node, Changed { touched, ..Changed::of(changed.delta, changed.errors) });
        Ok(())
    }

    /// The nodes up to a body that read its variable, inputs before users.
    fn readers_of(&self, variable: NodeId, body: NodeId) -> Vec<NodeId> {
        let mut readers = vec![variable];
        for (id, node) in self.nodes.range(variable + 1..=body) {
            if inputs_of(&node.key).iter().any(|input| readers.contains(input)) {
                readers.push(*id);
            }
        }
        readers.split_off(1)
    }
}

/// Changes that wait for their iteration's turn.
struct Pending {
    codec: RowCodec,
    schema: SchemaRef,
    iterations: BTreeMap<u64, Delta>,
}

impl Pending {
    fn new(schema: &SchemaRef) -> Pending {
        let all: Vec<usize> = (0..schema.fields().len()).collect();
        Pending { codec: RowCodec::new(schema, &all, false), schema: schema.clone(), iterations: BTreeMap::new() }
    }

    fn add(&mut self, delta: Delta) -> Result<()> {
        for batch in delta {
            let Some(column) = batch.rows.columns().last() else { continue };
            let column = column.as_primitive_opt::<Int64Type>();
            let column = column.ok_or_else(|| Error::internal("an iteration that is no bigint"))?;
            let mut places: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
            for (row, iteration) in column.values().iter().enumerate() {
                places.entry(iteration.max(&0).unsigned_abs()).or_default().push(row as u32);
            }
            for (iteration, rows) in places {
                let part = if rows.len() == batch.rows.num_rows() {
                    batch.clone()
                } else {
                    let diffs = batch.diffs.as_ref().map(|all| rows.iter().map(|row| all[*row as usize]).collect());
                    Batch { rows: take(&batch.rows, &UInt32Array::from(rows))?, diffs }
                };
                self.iterations.entry(iteration).or_default().push(part);
            }
        }
        Ok(())
    }

    /// The first iteration of which something is left once it is added up.
    fn lowest(&mut self) -> Result<Option<(u64, Delta)>> {
        while let Some((iteration, delta)) = self.iterations.pop_first() {
            let delta = self.consolidated(delta)?;
            if !delta.is_empty() {
                return Ok(Some((iteration, delta)));
            }
        }
        Ok(None)
    }

    fn consolidated(&self, delta: Delta) -> Result<Delta> {
        if delta.iter().all(|batch| batch.diffs.is_none()) {
            return Ok(delta);
        }
        let mut sums: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
        for batch in &delta {
            let encoded = self.codec.encode(batch.rows.columns(), batch.rows.num_rows())?;
            for row in 0..batch.rows.num_rows() {
                *sums.entry(encoded.row(row).to_vec()).or_insert(0) += batch.diff(row);
            }
        }
        sums.retain(|_, diff| *diff != 0);
        if sums.is_empty() {
            return Ok(Delta::new());
        }
        let columns = self.codec.decode(sums.keys().map(Vec::as_slice))?;
        let rows = of_columns(&self.schema, columns, sums.len())?;
        Ok(vec![Batch { rows, diffs: Some(sums.into_values().collect()) }])
    }
}

/// The errors of rows that would need more iterations than there may be.
fn too_late(delta: &[Batch], limit: u64) -> Result<Vec<ErrorChange>> {
    let mut errors = Vec::new();
    for batch in delta {
        // The iteration is no column of the user's.
        let width = batch.rows.num_columns().saturating_sub(1);
        let schema = batch.rows.schema().project(&(0..width).collect::<Vec<_>>())?;
        for row in 0..batch.rows.num_rows() {
            let error =
                Error::new(SqlState::StatementTooComplex, format!("recursion did not end after {limit} iterations"));
            let row_text = row_text(&batch.rows.columns()[..width], row, &schema);
            errors.push(ErrorChange { error, row: row_text, diff: batch.diff(row) });
        }
    }
    Ok(errors)
}
