//! The dataflow: a DAG of shared nodes, run once an epoch in the order of their numbers.
//!
//! Equal plans become one node; a node lives as long as somebody uses it. A view is a name for a
//! node. Inputs have smaller numbers than their users, so one pass from low to high is an epoch.
//! Knows neither threads nor storage.

mod epoch;
mod iterate;
mod key;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};

use crate::arrangement::Arrangement;
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::operator::Errors;
use crate::operator::expand::Expand;
use crate::operator::group_apply::GroupApply;
use crate::operator::index::{Index, IndexReader};
use crate::operator::join::{Join, Side};
use crate::operator::map::Map;
use crate::operator::reduce::Reduce;
use crate::operator::top_k::TopK;
use crate::plan::{JoinKind, Op, Plan, RelationId};

use epoch::{Epoch, Place, run_node};
pub(crate) use key::NodeKey;
use key::{fingerprint, indexed, inputs_of, key_of, rename, variable_of};

/// A node's number.
pub(crate) type NodeId = u32;

/// What a node does.
#[derive(Debug)]
pub(crate) enum NodeOp {
    /// Takes a source's rows in.
    Source,
    /// Takes a table's changes in.
    Table,
    /// See [`Map`].
    Map(Arc<Map>),
    /// Hands its inputs on.
    Union,
    /// See [`Reduce`].
    Reduce(Box<Reduce>),
    /// See [`Index`].
    Index(Box<Index>),
    /// See [`Join`].
    Join(Box<Join>),
    /// See [`TopK`].
    TopK(Box<TopK>),
    /// See [`GroupApply`].
    GroupApply(Box<GroupApply>),
    /// See [`Expand`].
    Expand(Box<Expand>),
    /// Gives its rows at its first barrier.
    Values,
    /// Hands the rows of an iteration on, within a body.
    Variable,
    /// See [`iterate`].
    Iterate,
    /// Takes a live node's rows in.
    Imported,
}

impl NodeOp {
    /// Its state, if it has any.
    pub(crate) fn arrangement(&self) -> Option<&Arc<Arrangement>> {
        match self {
            NodeOp::Reduce(reduce) => Some(&reduce.arrangement),
            NodeOp::Index(index) => Some(&index.arrangement),
            NodeOp::Source
            | NodeOp::Table
            | NodeOp::Map(_)
            | NodeOp::Union
            | NodeOp::Join(_)
            | NodeOp::TopK(_)
            | NodeOp::GroupApply(_)
            | NodeOp::Expand(_)
            | NodeOp::Values
            | NodeOp::Variable
            | NodeOp::Iterate
            | NodeOp::Imported => None,
        }
    }
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
    /// Rows it has looked at since it was made: what its work is.
    pub(crate) touched: u64,
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

impl Reading {
    /// The arrangement's rows as the node gives them. Rows that fail do so at the node itself.
    pub(crate) fn mapped(&self, rows: Delta) -> Result<Delta> {
        self.maps.iter().try_fold(rows, |rows, map| {
            let (mut out, mut errors) = (Delta::new(), Vec::new());
            rows.iter().try_for_each(|batch| map.apply(batch, &mut out, &mut errors))?;
            Ok(out)
        })
    }
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
    /// Changes of tables, in the order in which they were committed.
    pub(crate) tables: HashMap<RelationId, Delta>,
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
pub(crate) fn nullable(schema: &SchemaRef) -> SchemaRef {
    Arc::new(Schema::new(
        schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect::<Vec<_>>(),
    ))
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
            Some(
                NodeKey::Source(..)
                | NodeKey::Table(_)
                | NodeKey::Union(_)
                | NodeKey::Index(..)
                | NodeKey::Join(..)
                | NodeKey::TopK(..)
                | NodeKey::GroupApply(..)
                | NodeKey::Expand(..)
                | NodeKey::Variable(_)
                | NodeKey::Iterate(..)
                | NodeKey::Values(_),
            )
            | None => false,
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

    /// Whether a node keeps the rows of a table: state that cannot be computed again.
    pub(crate) fn keeps_table(&self, node: &Node) -> bool {
        matches!(&node.key, NodeKey::Rows(input)
            if self.nodes.get(input).is_some_and(|below| matches!(below.key, NodeKey::Table(_))))
    }

    /// The errors of a view: those of its node and of all below it.
    pub(crate) fn errors(&self, view: RelationId) -> Vec<Arc<Errors>> {
        self.below(view).into_iter().filter(|node| node.errors.count() > 0).map(|node| node.errors.clone()).collect()
    }

    /// The node of a plan, if it is there with everything below it.
    pub(crate) fn find(&self, plan: &Plan) -> Option<NodeId> {
        self.find_within(plan, &mut Vec::new())
    }

    fn find_within(&self, plan: &Plan, around: &mut Vec<Arc<Plan>>) -> Option<NodeId> {
        match &plan.op {
            Op::View { relation } => return self.views.get(relation).copied(),
            Op::Iterate { body, limit, .. } => {
                around.push(Arc::new(plan.clone()));
                let variable = self.index.get(&variable_of(around)).copied();
                let body = self.find_within(body, around);
                around.pop();
                let variable = variable?;
                return self.index.get(&NodeKey::Iterate(variable, body?, *limit)).copied();
            }
            _ => {}
        }
        let inputs = plan.inputs().into_iter().map(|input| self.find_within(input, around));
        let inputs = inputs.collect::<Option<Vec<_>>>()?;
        let mut indexes = Vec::new();
        for key in indexed(plan, &inputs) {
            indexes.push(self.index.get(&key).copied()?);
        }
        self.index.get(&key_of(plan, &inputs, &indexes, around)?).copied()
    }

    /// Adds the node of a view's plan and what it lacks below; the last node can be read. `import`
    /// says which plans stand for nodes of another dataflow.
    pub(crate) fn add_view(
        &mut self,
        view: RelationId,
        plan: &Plan,
        import: &dyn Fn(&Plan) -> Option<Import>,
    ) -> Result<NodeId> {
        let mut root = self.add(plan, import, &mut Vec::new())?;
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

    /// `around`: the [`Op::Iterate`]s around the plan, the innermost last.
    fn add(
        &mut self,
        plan: &Plan,
        import: &dyn Fn(&Plan) -> Option<Import>,
        around: &mut Vec<Arc<Plan>>,
    ) -> Result<NodeId> {
        if let Some(import) = import(plan) {
            let id = self.intern(NodeKey::Imported(import.node), import.schema)?;
            if let Some(node) = self.nodes.get_mut(&id) {
                // What is built over it must be the same as if it were built over the live node.
                node.fingerprint = import.fingerprint;
                node.retracts = import.retracts;
            }
            return Ok(id);
        }
        match &plan.op {
            Op::View { relation } => {
                return self
                    .views
                    .get(relation)
                    .copied()
                    .ok_or_else(|| Error::internal(format!("view {} is not in the dataflow", relation.0)));
            }
            Op::Iterate { body, limit, .. } => {
                around.push(Arc::new(plan.clone()));
                let variable = self.intern(variable_of(around), nullable(&plan.schema))?;
                let body = self.add(body, import, around)?;
                around.pop();
                return self.intern(NodeKey::Iterate(variable, body, *limit), nullable(&plan.schema));
            }
            _ => {}
        }
        let inputs =
            plan.inputs().into_iter().map(|input| self.add(input, import, around)).collect::<Result<Vec<_>>>()?;
        let mut indexes = Vec::new();
        for key in indexed(plan, &inputs) {
            let schema =
                inputs_of(&key).first().map(|input| self.node(*input)).transpose()?.map(|node| node.schema.clone());
            indexes.push(self.intern(key, schema.unwrap_or_else(|| plan.schema.clone()))?);
        }
        let key = key_of(plan, &inputs, &indexes, around).ok_or_else(|| Error::internal("a plan without a node"))?;
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
            NodeKey::Table(_) => (NodeOp::Table, true),
            NodeKey::Imported(_) => (NodeOp::Imported, true),
            NodeKey::Union(_) => (NodeOp::Union, retracts_below),
            NodeKey::Map(_, filters, project, _) => {
                let map = Map { filters: filters.clone(), project: project.clone(), schema: schema.clone() };
                (NodeOp::Map(Arc::new(map)), retracts_below)
            }
            NodeKey::Groups(_, keys, calls) => {
                #[cfg(test)]
                let retracts_below =
                    retracts_below && !crate::simulation::fault::planted(crate::simulation::fault::Fault::StaleMin);
                let reduce = Reduce::groups(&below[0].schema, keys, calls, schema.clone(), retracts_below)?;
                // DISTINCT over rows that never leave never takes a row back.
                (NodeOp::Reduce(Box::new(reduce)), retracts_below || !calls.is_empty())
            }
            NodeKey::Rows(_) => (NodeOp::Reduce(Box::new(Reduce::rows(&below[0].schema)?)), retracts_below),
            NodeKey::Index(_, keys, order) => {
                (NodeOp::Index(Box::new(Index::new(&below[0].schema, keys, order.as_deref())?)), retracts_below)
            }
            NodeKey::TopK(_, index, offset, limit) => {
                (NodeOp::TopK(Box::new(TopK::new(self.reader(*index)?, *offset, *limit, schema.clone()))), true)
            }
            NodeKey::GroupApply(_, index, [passed, arguments], function) => {
                let apply =
                    GroupApply::new(self.reader(*index)?, passed, arguments, function.0.clone(), schema.clone());
                (NodeOp::GroupApply(Box::new(apply)), true)
            }
            NodeKey::Join(kind, _, [left, right]) => {
                let join = Join::new(*kind, self.side(*left)?, self.side(*right)?, schema.clone());
                let takes_back = !matches!(kind, JoinKind::Inner | JoinKind::Semi);
                (NodeOp::Join(Box::new(join)), retracts_below || takes_back)
            }
            NodeKey::Expand(_, [passed, arguments], function) => {
                let expand = Expand::new(passed, arguments, function.0.clone(), schema.clone());
                (NodeOp::Expand(Box::new(expand)), retracts_below)
            }
            NodeKey::Values(_) => (NodeOp::Values, false),
            // What the body takes back is only known once it is there.
            NodeKey::Variable(_) => (NodeOp::Variable, true),
            NodeKey::Iterate(..) => (NodeOp::Iterate, true),
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
            touched: 0,
            fingerprint,
        };
        self.put(id, node);
        Ok(id)
    }

    /// One side of a join, read from this index.
    fn side(&self, index: NodeId) -> Result<Side> {
        let node = self.node(index)?;
        match (&node.op, &node.key) {
            (NodeOp::Index(index), NodeKey::Index(_, keys, None)) => {
                Ok(Side::new(&node.schema, keys, index.arrangement.clone()))
            }
            _ => Err(Error::internal(format!("node {index} is no index"))),
        }
    }

    /// An ordered index, to be read.
    fn reader(&self, index: NodeId) -> Result<IndexReader> {
        let node = self.node(index)?;
        match (&node.op, &node.key) {
            (NodeOp::Index(index), NodeKey::Index(_, keys, Some(order))) => {
                Ok(IndexReader::new(&node.schema, keys, order, index.arrangement.clone()))
            }
            _ => Err(Error::internal(format!("node {index} is no ordered index"))),
        }
    }

    /// Lets an operator that moved in read the indexes that are here.
    fn attach(&self, node: &mut Node) -> Result<()> {
        match (&mut node.op, &node.key) {
            (NodeOp::Join(join), NodeKey::Join(_, _, [left, right])) => {
                (join.left, join.right) = (self.side(*left)?, self.side(*right)?);
            }
            (NodeOp::TopK(top), NodeKey::TopK(_, index, ..)) => top.input = self.reader(*index)?,
            (NodeOp::GroupApply(partition), NodeKey::GroupApply(_, index, ..)) => {
                partition.input = self.reader(*index)?
            }
            _ => {}
        }
        Ok(())
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
                    if let Some(arrangement) = node.op.arrangement() {
                        // Private epochs have numbers of their own.
                        arrangement.forget_epochs();
                    }
                    self.attach(&mut node)?;
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

    /// Whether every node has as many users as read it, name it or (`held`) hold it.
    #[cfg(test)]
    pub(crate) fn check_users(&self, held: &[NodeId]) -> Result<(), String> {
        let read = self.nodes.values().flat_map(|node| inputs_of(&node.key));
        let mut users: BTreeMap<NodeId, usize> = BTreeMap::new();
        for id in read.chain(self.views.values().copied()).chain(held.iter().copied()) {
            *users.entry(id).or_default() += 1;
        }
        let wrong = self.nodes.iter().find(|(id, node)| users.get(id).copied().unwrap_or(0) != node.users);
        wrong
            .map_or(Ok(()), |(id, node)| Err(format!("node {id} counts {} users, has {:?}", node.users, users.get(id))))
    }

    /// Every node has its state from a checkpoint: none is new.
    pub(crate) fn settled(&mut self) {
        self.fresh.clear();
    }

    /// Runs one epoch; whether errors changed.
    pub(crate) fn run(&mut self, mut inputs: Inputs, frame: Frame) -> Result<bool> {
        #[cfg(test)]
        let frame = crate::simulation::fault::framed(frame);
        let mut epoch = Epoch { deltas: HashMap::new(), frame, errors_changed: false };
        let fresh = std::mem::take(&mut self.fresh);
        let read: BTreeSet<NodeId> = self.nodes.values().flat_map(|node| inputs_of(&node.key)).collect();
        let all: Vec<NodeId> = self.nodes.keys().copied().collect();
        for id in all {
            let place = Place { frame, fresh: fresh.contains(&id), read: read.contains(&id) };
            self.step(id, &mut inputs, place, &mut epoch)?;
        }
        Ok(epoch.errors_changed)
    }

    /// Runs one node.
    fn step(&mut self, id: NodeId, inputs: &mut Inputs, place: Place, epoch: &mut Epoch) -> Result<()> {
        let node = self.nodes.get_mut(&id).ok_or_else(|| Error::internal(format!("node {id} is gone")))?;
        if let NodeKey::Iterate(variable, body, limit) = node.key {
            return self.iterate(id, (variable, body, limit), epoch);
        }
        let changed = run_node(id, node, &epoch.deltas, inputs, place)?;
        #[cfg(test)]
        let changed = crate::simulation::fault::altered(node, changed);
        epoch.take(id, node, changed);
        Ok(())
    }
}
