//! The dataflow: a DAG of shared nodes, run once an epoch in the order of their numbers.
//!
//! Equal plans become one node; a node lives as long as somebody uses it. A view is a name for a
//! node. Inputs have smaller numbers than their users, so one pass from low to high is an epoch.
//! Knows neither threads nor storage.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::physical_expr::PhysicalExpr;

use crate::arrangement::Arrangement;
use crate::arrangement::hash::hash_bytes;
use crate::delta::{Batch, Delta, of_columns};
use crate::error::{Error, Result};
use crate::operator::Errors;
use crate::operator::map::Map;
use crate::operator::reduce::{Changed, Reduce};
use crate::plan::{Call, Op, Plan, RelationId};
use crate::types::PgType;

/// Changes with the form of any operator's state; part of every fingerprint.
const STATE_VERSION: u32 = 1;

/// A node's number.
pub(crate) type NodeId = u32;

/// What tells one node from another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum NodeKey {
    /// Columns of a source.
    Source(RelationId, Vec<usize>),
    /// Filters and projections, with the types of the output.
    Map(NodeId, Vec<Arc<dyn PhysicalExpr>>, Vec<Arc<dyn PhysicalExpr>>, Vec<PgType>),
    /// UNION ALL.
    Union(Vec<NodeId>),
    /// GROUP BY.
    Groups(NodeId, Vec<usize>, Vec<Call>),
    /// Whole rows, kept.
    Rows(NodeId),
    /// In a view's private dataflow: a node of the live one, read by snapshots.
    Imported(NodeId),
}

/// What a node does.
#[derive(Debug)]
pub(crate) enum NodeOp {
    /// Takes a source's rows in.
    Source,
    /// See [`Map`].
    Map(Arc<Map>),
    /// Hands its inputs on.
    Union,
    /// See [`Reduce`].
    Reduce(Box<Reduce>),
    /// Takes a live node's rows in.
    Imported,
}

/// One operator in its place.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) key: NodeKey,
    pub(crate) op: NodeOp,
    pub(crate) schema: SchemaRef,
    /// Whether rows can be taken back from its output.
    pub(crate) retracts: bool,
    /// Nodes and views that need it.
    users: usize,
    pub(crate) errors: Arc<Errors>,
    /// Rows of its output.
    pub(crate) rows: Arc<AtomicI64>,
    /// The same for the same computation, over restarts.
    pub(crate) fingerprint: String,
}

/// How a node's rows are read: an arrangement, and stateless operators over it.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    pub(crate) arrangement: Arc<Arrangement>,
    pub(crate) maps: Vec<Arc<Map>>,
    pub(crate) schema: SchemaRef,
}

/// A node of the live dataflow, as a private one sees it.
#[derive(Debug, Clone)]
pub(crate) struct Import {
    pub(crate) node: NodeId,
    pub(crate) schema: SchemaRef,
    pub(crate) fingerprint: String,
    pub(crate) retracts: bool,
}

/// The DAG.
#[derive(Debug, Default)]
pub(crate) struct Dataflow {
    nodes: BTreeMap<NodeId, Node>,
    index: HashMap<NodeKey, NodeId>,
    views: BTreeMap<RelationId, NodeId>,
    next: NodeId,
    /// Nodes that have seen no barrier yet.
    fresh: BTreeSet<NodeId>,
}

/// The rows that enter an epoch.
#[derive(Debug, Default)]
pub(crate) struct Inputs {
    /// A source's rows, with the places in its schema of the columns they have.
    pub(crate) sources: HashMap<RelationId, (Vec<usize>, Vec<RecordBatch>)>,
    /// Rows of imported nodes.
    pub(crate) imported: HashMap<NodeId, Delta>,
}

/// One epoch's frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    /// Its number.
    pub(crate) epoch: u64,
    /// The oldest epoch that somebody may read.
    pub(crate) oldest: u64,
    /// Threads.
    pub(crate) workers: usize,
}

/// The engine's own copy of a schema: everything may be null.
fn nullable(schema: &SchemaRef) -> SchemaRef {
    Arc::new(Schema::new(
        schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect::<Vec<_>>(),
    ))
}

fn digest(text: &str) -> String {
    format!("{:016x}{:016x}", hash_bytes(text.as_bytes()), hash_bytes(format!("thalweg {text}").as_bytes()))
}

impl Dataflow {
    /// A node.
    pub(crate) fn node(&self, id: NodeId) -> Result<&Node> {
        self.nodes.get(&id).ok_or_else(|| Error::internal(format!("node {id} is not in the dataflow")))
    }

    /// All nodes, inputs before users.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes.iter().map(|(id, node)| (*id, node))
    }

    /// All nodes, to be changed.
    pub(crate) fn nodes_mut(&mut self) -> impl Iterator<Item = (NodeId, &mut Node)> {
        self.nodes.iter_mut().map(|(id, node)| (*id, node))
    }

    /// The views and their nodes.
    pub(crate) fn views(&self) -> &BTreeMap<RelationId, NodeId> {
        &self.views
    }

    /// The columns of a source that some node reads.
    pub(crate) fn source_columns(&self, relation: RelationId) -> BTreeSet<usize> {
        let columns = self.nodes.values().filter_map(|node| match &node.key {
            NodeKey::Source(source, columns) if *source == relation => Some(columns),
            _ => None,
        });
        columns.flatten().copied().collect()
    }

    /// Whether some node reads a source.
    pub(crate) fn reads(&self, relation: RelationId) -> bool {
        self.nodes.values().any(|node| matches!(&node.key, NodeKey::Source(source, _) if *source == relation))
    }

    /// How a node is read, if it is: an arrangement below nothing but maps.
    pub(crate) fn reading(&self, id: NodeId) -> Option<Reading> {
        let schema = self.nodes.get(&id)?.schema.clone();
        let mut maps = Vec::new();
        let mut at = id;
        loop {
            let node = self.nodes.get(&at)?;
            match (&node.op, &node.key) {
                (NodeOp::Reduce(reduce), _) => {
                    maps.reverse();
                    return Some(Reading { arrangement: reduce.arrangement.clone(), maps, schema });
                }
                (NodeOp::Map(map), NodeKey::Map(input, ..)) => {
                    maps.push(map.clone());
                    at = *input;
                }
                _ => return None,
            }
        }
    }

    /// Whether a node can be read, or will be once it is spliced: imported nodes can.
    fn is_readable(&self, id: NodeId) -> bool {
        match self.nodes.get(&id).map(|node| &node.key) {
            Some(NodeKey::Groups(..) | NodeKey::Rows(_) | NodeKey::Imported(_)) => true,
            Some(NodeKey::Map(input, ..)) => self.is_readable(*input),
            Some(NodeKey::Source(..) | NodeKey::Union(_)) | None => false,
        }
    }

    /// A view's node and all below it.
    pub(crate) fn below(&self, view: RelationId) -> Vec<&Node> {
        let mut seen = BTreeSet::new();
        let mut open: Vec<NodeId> = self.views.get(&view).copied().into_iter().collect();
        while let Some(id) = open.pop() {
            if let (true, Some(node)) = (seen.insert(id), self.nodes.get(&id)) {
                open.extend(inputs_of(&node.key));
            }
        }
        seen.iter().filter_map(|id| self.nodes.get(id)).collect()
    }

    /// The errors of a view: those of its node and of all below it.
    pub(crate) fn errors(&self, view: RelationId) -> Vec<Arc<Errors>> {
        self.below(view).into_iter().filter(|node| node.errors.count() > 0).map(|node| node.errors.clone()).collect()
    }

    /// The node of a plan, if it is there with everything below it.
    pub(crate) fn find(&self, plan: &Plan) -> Option<NodeId> {
        if let Op::View { relation } = &plan.op {
            return self.views.get(relation).copied();
        }
        let inputs = plan.inputs().into_iter().map(|input| self.find(input)).collect::<Option<Vec<_>>>()?;
        self.index.get(&key_of(plan, &inputs)?).copied()
    }

    /// Adds the node of a view's plan and what it lacks below; the last node can be read. `import`
    /// says which plans stand for nodes of another dataflow.
    pub(crate) fn add_view(
        &mut self,
        view: RelationId,
        plan: &Plan,
        import: &dyn Fn(&Plan) -> Option<Import>,
    ) -> Result<NodeId> {
        let mut root = self.add(plan, import)?;
        if !self.is_readable(root) {
            let schema = self.node(root)?.schema.clone();
            root = self.intern(NodeKey::Rows(root), schema)?;
        }
        self.name(view, root)?;
        Ok(root)
    }

    /// Makes a node a view.
    pub(crate) fn name(&mut self, view: RelationId, id: NodeId) -> Result<()> {
        let node = self.nodes.get_mut(&id).ok_or_else(|| Error::internal("a view of a node that is not there"))?;
        node.users += 1;
        if let Some(old) = self.views.insert(view, id) {
            self.release(old);
        }
        Ok(())
    }

    fn add(&mut self, plan: &Plan, import: &dyn Fn(&Plan) -> Option<Import>) -> Result<NodeId> {
        if let Some(import) = import(plan) {
            let id = self.intern(NodeKey::Imported(import.node), import.schema)?;
            if let Some(node) = self.nodes.get_mut(&id) {
                // What is built over it must be the same as if it were built over the live node.
                node.fingerprint = import.fingerprint;
                node.retracts = import.retracts;
            }
            return Ok(id);
        }
        if let Op::View { relation } = &plan.op {
            return self
                .views
                .get(relation)
                .copied()
                .ok_or_else(|| Error::internal(format!("view {} is not in the dataflow", relation.0)));
        }
        let inputs = plan.inputs().into_iter().map(|input| self.add(input, import)).collect::<Result<Vec<_>>>()?;
        let key = key_of(plan, &inputs).ok_or_else(|| Error::internal("a plan without a node"))?;
        self.intern(key, nullable(&plan.schema))
    }

    /// The node with this key, made if it is not there.
    pub(crate) fn intern(&mut self, key: NodeKey, schema: SchemaRef) -> Result<NodeId> {
        if let Some(id) = self.index.get(&key) {
            return Ok(*id);
        }
        let inputs = inputs_of(&key);
        let below = inputs.iter().map(|id| self.node(*id)).collect::<Result<Vec<_>>>()?;
        let retracts_below = below.iter().any(|node| node.retracts);
        let (op, retracts) = match &key {
            NodeKey::Source(..) => (NodeOp::Source, false),
            NodeKey::Imported(_) => (NodeOp::Imported, true),
            NodeKey::Union(_) => (NodeOp::Union, retracts_below),
            NodeKey::Map(_, filters, project, _) => {
                let map = Map { filters: filters.clone(), project: project.clone(), schema: schema.clone() };
                (NodeOp::Map(Arc::new(map)), retracts_below)
            }
            NodeKey::Groups(_, keys, calls) => {
                let reduce = Reduce::groups(&below[0].schema, keys, calls, schema.clone(), retracts_below)?;
                // DISTINCT over rows that never leave never takes a row back.
                (NodeOp::Reduce(Box::new(reduce)), retracts_below || !calls.is_empty())
            }
            NodeKey::Rows(_) => (NodeOp::Reduce(Box::new(Reduce::rows(&below[0].schema)?)), retracts_below),
        };
        let fingerprint = fingerprint(&key, &schema, &below);
        let id = self.next;
        self.next += 1;
        let node = Node {
            key: key.clone(),
            op,
            schema,
            retracts,
            users: 0,
            errors: Arc::default(),
            rows: Arc::default(),
            fingerprint,
        };
        self.put(id, node);
        Ok(id)
    }

    fn put(&mut self, id: NodeId, node: Node) {
        for input in inputs_of(&node.key) {
            if let Some(below) = self.nodes.get_mut(&input) {
                below.users += 1;
            }
        }
        self.index.insert(node.key.clone(), id);
        self.nodes.insert(id, node);
        self.fresh.insert(id);
    }

    /// Takes a name away, and every node that nobody needs any more.
    pub(crate) fn remove_view(&mut self, view: RelationId) {
        if let Some(id) = self.views.remove(&view) {
            self.release(id);
        }
    }

    /// Holds a node, so that it stays while a build reads it.
    pub(crate) fn hold(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.users += 1;
        }
    }

    /// Lets go of a node.
    pub(crate) fn release(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.users = node.users.saturating_sub(1);
        if node.users == 0 {
            let inputs = inputs_of(&node.key);
            if let Some(node) = self.nodes.remove(&id) {
                self.index.remove(&node.key);
                self.fresh.remove(&id);
            }
            inputs.into_iter().for_each(|input| self.release(input));
        }
    }

    /// Moves a view's private dataflow in: nodes that are here already are shared, arrangements
    /// move over with their state. Gives the view's node.
    pub(crate) fn splice(&mut self, private: Dataflow, view: RelationId) -> Result<NodeId> {
        let root = private.views.get(&view).copied().ok_or_else(|| Error::internal("a build without its view"))?;
        let mut here: HashMap<NodeId, NodeId> = HashMap::new();
        for (id, mut node) in private.nodes {
            if let NodeKey::Imported(live) = node.key {
                here.insert(id, live);
                continue;
            }
            node.key = rename(&node.key, &here)?;
            let new = match self.index.get(&node.key) {
                Some(present) => *present,
                None => {
                    let new = self.next;
                    self.next += 1;
                    node.users = 0;
                    if let NodeOp::Reduce(reduce) = &node.op {
                        // Private epochs have numbers of their own.
                        reduce.arrangement.forget_epochs();
                    }
                    self.put(new, node);
                    self.fresh.remove(&new);
                    new
                }
            };
            here.insert(id, new);
        }
        let root = *here.get(&root).ok_or_else(|| Error::internal("a build without its node"))?;
        self.name(view, root)?;
        Ok(root)
    }

    /// The nodes that stand for live ones: here and there.
    pub(crate) fn imports(&self) -> impl Iterator<Item = (NodeId, NodeId)> {
        self.nodes.iter().filter_map(|(id, node)| match node.key {
            NodeKey::Imported(live) => Some((*id, live)),
            _ => None,
        })
    }

    /// Drops nodes that nobody uses: left behind when a view could not be added whole.
    pub(crate) fn sweep(&mut self) {
        while let Some(id) = self.nodes.iter().find(|(_, node)| node.users == 0).map(|(id, _)| *id) {
            self.hold(id);
            self.release(id);
        }
    }

    /// Every node has its state from a checkpoint: none is new.
    pub(crate) fn settled(&mut self) {
        self.fresh.clear();
    }

    /// Runs one epoch; the nodes whose errors changed.
    pub(crate) fn run(&mut self, mut inputs: Inputs, frame: Frame) -> Result<bool> {
        let mut deltas: HashMap<NodeId, Delta> = HashMap::new();
        let mut errors_changed = false;
        let fresh = std::mem::take(&mut self.fresh);
        let read: BTreeSet<NodeId> = self.nodes.values().flat_map(|node| inputs_of(&node.key)).collect();
        for (id, node) in &mut self.nodes {
            let place = Place { frame, fresh: fresh.contains(id), read: read.contains(id) };
            let Changed { delta, rows, errors } = run_node(*id, node, &deltas, &mut inputs, place)?;
            if !errors.is_empty() {
                Arc::make_mut(&mut node.errors).apply(errors);
                errors_changed = true;
            }
            node.rows.fetch_add(rows, Ordering::Relaxed);
            if !delta.is_empty() {
                deltas.insert(*id, delta);
            }
        }
        Ok(errors_changed)
    }
}

/// A node's place in an epoch.
#[derive(Debug, Clone, Copy)]
struct Place {
    frame: Frame,
    /// It has seen no barrier yet.
    fresh: bool,
    /// Another node reads it.
    read: bool,
}

fn run_node(
    id: NodeId,
    node: &mut Node,
    deltas: &HashMap<NodeId, Delta>,
    inputs: &mut Inputs,
    Place { frame, fresh, read }: Place,
) -> Result<Changed> {
    let mut errors = Vec::new();
    let empty = Delta::new();
    let delta_of = |id: &NodeId| deltas.get(id).unwrap_or(&empty);
    let delta = match (&mut node.op, &node.key) {
        (NodeOp::Source, NodeKey::Source(relation, columns)) => match inputs.sources.get(relation) {
            Some((built, batches)) => source_rows(built, batches, columns, &node.schema)?,
            None => Delta::new(),
        },
        (NodeOp::Imported, _) => inputs.imported.remove(&id).unwrap_or_default(),
        (NodeOp::Union, NodeKey::Union(below)) => {
            // The columns keep the union's own names.
            let schema = &node.schema;
            let parts = below.iter().flat_map(delta_of);
            parts
                .map(|batch| {
                    let rows = of_columns(schema, batch.rows.columns().to_vec(), batch.rows.num_rows())?;
                    Ok(Batch { rows, diffs: batch.diffs.clone() })
                })
                .collect::<Result<_>>()?
        }
        (NodeOp::Map(map), NodeKey::Map(input, ..)) => {
            let mut out = Delta::new();
            for batch in delta_of(input) {
                map.apply(batch, &mut out, &mut errors)?;
            }
            out
        }
        (NodeOp::Reduce(reduce), NodeKey::Groups(input, ..) | NodeKey::Rows(input)) => {
            let delta = delta_of(input);
            if fresh {
                reduce.seed(frame.epoch, frame.oldest);
            } else if delta.is_empty() {
                return Ok(Changed::default());
            }
            for batch in delta {
                reduce.push(batch, frame.epoch, frame.oldest, frame.workers)?;
            }
            return reduce.finish(frame.epoch, read);
        }
        _ => return Err(Error::internal(format!("node {id} is not what its key says"))),
    };
    Ok(Changed::of(delta, errors))
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

fn inputs_of(key: &NodeKey) -> Vec<NodeId> {
    match key {
        NodeKey::Source(..) | NodeKey::Imported(_) => Vec::new(),
        NodeKey::Map(input, ..) | NodeKey::Groups(input, ..) | NodeKey::Rows(input) => vec![*input],
        NodeKey::Union(inputs) => inputs.clone(),
    }
}

fn rename(key: &NodeKey, here: &HashMap<NodeId, NodeId>) -> Result<NodeKey> {
    let at = |id: &NodeId| here.get(id).copied().ok_or_else(|| Error::internal("a build's node before its input"));
    Ok(match key {
        NodeKey::Source(relation, columns) => NodeKey::Source(*relation, columns.clone()),
        NodeKey::Imported(live) => NodeKey::Imported(*live),
        NodeKey::Map(input, filters, project, types) => {
            NodeKey::Map(at(input)?, filters.clone(), project.clone(), types.clone())
        }
        NodeKey::Union(inputs) => NodeKey::Union(inputs.iter().map(at).collect::<Result<_>>()?),
        NodeKey::Groups(input, keys, calls) => NodeKey::Groups(at(input)?, keys.clone(), calls.clone()),
        NodeKey::Rows(input) => NodeKey::Rows(at(input)?),
    })
}

fn key_of(plan: &Plan, inputs: &[NodeId]) -> Option<NodeKey> {
    Some(match &plan.op {
        Op::Source { relation, columns } => NodeKey::Source(*relation, columns.clone()),
        Op::View { .. } => return None,
        Op::Map { filters, project, .. } => {
            let types = plan.schema.fields().iter().map(|field| PgType::of(field)).collect();
            NodeKey::Map(*inputs.first()?, filters.clone(), project.clone(), types)
        }
        Op::Union { .. } => NodeKey::Union(inputs.to_vec()),
        Op::Reduce { keys, calls, .. } => NodeKey::Groups(*inputs.first()?, keys.clone(), calls.clone()),
    })
}

/// A text that is the same for the same computation, digested.
fn fingerprint(key: &NodeKey, schema: &SchemaRef, below: &[&Node]) -> String {
    let types: Vec<String> = schema.fields().iter().map(|field| PgType::of(field).name()).collect();
    let inputs: Vec<&str> = below.iter().map(|node| node.fingerprint.as_str()).collect();
    let what = match key {
        NodeKey::Source(relation, columns) => format!("source {} {columns:?}", relation.0),
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
    };
    let retracts = below.iter().any(|node| node.retracts);
    digest(&format!("{STATE_VERSION} {what} -> {} retracts={retracts} over {}", types.join(", "), inputs.join(" ")))
}
