//! The order of inner joins, and where their conditions go.
//!
//! A tree of inner joins with filters above is taken apart into relations and conditions and put
//! together again: a condition over one relation filters it, an equality between relations is a
//! join's key, every other one filters as soon as its columns are there. Relations are joined in
//! the order they were written, except that one which shares an equality with those before comes
//! ahead of one that would have to meet every row.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal};
use thalweg_dataflow::Result;
use thalweg_dataflow::plan::{JoinKind, On, Op, Plan};

use super::join::{comparable, equality, field_of, filter, keyed, moved, side_by_side};
use super::lower::{columns_of, identity, map};

type PhysicalRef = Arc<dyn PhysicalExpr>;

/// The same plan, its inner joins in order.
pub(super) fn arrange(plan: Plan) -> Result<Plan> {
    if is_joined(&plan) {
        let schema = plan.schema.clone();
        let mut parts = Parts::default();
        let outputs = parts.gather(plan)?;
        return parts.assemble(outputs, schema);
    }
    plan.map_inputs(&mut arrange)
}

/// Whether a plan is an inner join below nothing but a map.
fn is_joined(plan: &Plan) -> bool {
    match &plan.op {
        Op::Join { kind: JoinKind::Inner, .. } => true,
        Op::Map { input, .. } => is_joined(input),
        _ => false,
    }
}

/// Relations and conditions; columns are counted over all relations, one after the other.
#[derive(Default)]
struct Parts {
    relations: Vec<Plan>,
    conditions: Vec<PhysicalRef>,
    width: usize,
}

impl Parts {
    /// Takes a plan apart; its outputs over the columns of all relations.
    fn gather(&mut self, plan: Plan) -> Result<Vec<PhysicalRef>> {
        match plan.op {
            Op::Join { left, right, kind: JoinKind::Inner, on } => {
                let left = self.gather(*left)?;
                let right = self.gather(*right)?;
                for On { left: one, right: other, nulls_equal } in on {
                    use datafusion::logical_expr::Operator;
                    let op = if nulls_equal { Operator::IsNotDistinctFrom } else { Operator::Eq };
                    self.conditions.push(Arc::new(BinaryExpr::new(left[one].clone(), op, right[other].clone())));
                }
                Ok(left.into_iter().chain(right).collect())
            }
            Op::Map { input, filters, project } if is_joined(&input) && (self.width == 0 || is_simple(&project)) => {
                let below = self.gather(*input)?;
                for condition in filters {
                    self.conditions.push(substituted(&condition, &below)?);
                }
                project.iter().map(|expr| substituted(expr, &below)).collect()
            }
            op => {
                let relation = arrange(Plan { op, schema: plan.schema })?;
                let first = self.width;
                self.width += relation.schema.fields().len();
                let outputs = (0..relation.schema.fields().len()).map(|place| {
                    Arc::new(Column::new(relation.schema.field(place).name(), first + place)) as PhysicalRef
                });
                let outputs = outputs.collect();
                self.relations.push(relation);
                Ok(outputs)
            }
        }
    }

    /// The first column of each relation, and the end.
    fn starts(&self) -> Vec<usize> {
        let mut starts = vec![0];
        for relation in &self.relations {
            starts.push(starts[starts.len() - 1] + relation.schema.fields().len());
        }
        starts
    }

    fn assemble(mut self, outputs: Vec<PhysicalRef>, schema: arrow::datatypes::SchemaRef) -> Result<Plan> {
        let starts = self.starts();
        let relation_of = |place: usize| starts.partition_point(|start| *start <= place) - 1;
        let touched = |expr: &PhysicalRef| {
            let mut relations = BTreeSet::new();
            columns_of(expr, &mut |place| {
                relations.insert(relation_of(place));
            });
            relations
        };
        let mut open = Vec::new();
        for condition in std::mem::take(&mut self.conditions) {
            let relations = touched(&condition);
            match (relations.len(), relations.first()) {
                (1, Some(only)) => {
                    let local = moved(&condition, &|place| place - starts[*only]);
                    filter(&mut self.relations[*only], local);
                }
                _ => open.push((condition, relations)),
            }
        }
        let mut waiting: Vec<usize> = (1..self.relations.len()).collect();
        let mut joined = Joined::of(&self.relations[0], 0, &starts);
        while !waiting.is_empty() {
            let connected = waiting
                .iter()
                .position(|next| open.iter().any(|(condition, _)| joined.key(condition, *next, &touched).is_some()));
            let next = waiting.remove(connected.unwrap_or(0));
            joined.add(self.relations[next].clone(), next, &mut open, &touched, &starts);
        }
        let filters = open.iter().map(|(condition, _)| joined.local(condition)).collect();
        let project = outputs.iter().map(|expr| joined.local(expr)).collect();
        Ok(map(joined.plan, filters, project, schema))
    }
}

type Conditions = Vec<(PhysicalRef, BTreeSet<usize>)>;

/// The relations joined so far.
struct Joined {
    plan: Plan,
    relations: BTreeSet<usize>,
    /// Where each column of all relations stands now.
    places: Vec<Option<usize>>,
}

impl Joined {
    fn of(plan: &Plan, relation: usize, starts: &[usize]) -> Joined {
        let mut places = vec![None; starts.last().copied().unwrap_or(0)];
        let own = &mut places[starts[relation]..starts[relation + 1]];
        own.iter_mut().enumerate().for_each(|(place, known)| *known = Some(place));
        Joined { plan: plan.clone(), relations: BTreeSet::from([relation]), places }
    }

    fn local(&self, expr: &PhysicalRef) -> PhysicalRef {
        moved(expr, &|place| self.places.get(place).copied().flatten().unwrap_or(place))
    }

    /// The two sides of an equality between what is joined and a relation, in this order.
    fn key(
        &self,
        condition: &PhysicalRef,
        next: usize,
        touched: &dyn Fn(&PhysicalRef) -> BTreeSet<usize>,
    ) -> Option<(PhysicalRef, PhysicalRef, bool)> {
        let binary = condition.downcast_ref::<BinaryExpr>()?;
        let nulls_equal = equality(binary.op())?;
        let (left, right) = (touched(binary.left()), touched(binary.right()));
        let only = BTreeSet::from([next]);
        let here = |relations: &BTreeSet<usize>| !relations.is_empty() && relations.is_subset(&self.relations);
        if here(&left) && right == only {
            Some((binary.left().clone(), binary.right().clone(), nulls_equal))
        } else if here(&right) && left == only {
            Some((binary.right().clone(), binary.left().clone(), nulls_equal))
        } else {
            None
        }
    }

    /// Joins one more relation.
    fn add(
        &mut self,
        mut relation: Plan,
        number: usize,
        open: &mut Conditions,
        touched: &dyn Fn(&PhysicalRef) -> BTreeSet<usize>,
        starts: &[usize],
    ) {
        let width = starts[number + 1] - starts[number];
        let mut on = Vec::new();
        open.retain(|(condition, _)| {
            let Some((left, right, nulls_equal)) = self.key(condition, number, touched) else { return true };
            let (left, right) = (self.local(&left), moved(&right, &|place| place - starts[number]));
            let fields = (field_of(&left, &self.plan.schema), field_of(&right, &relation.schema));
            if !comparable(&fields.0, &fields.1) {
                return true;
            }
            let left = keyed(&mut self.plan, left, fields.0);
            let right = keyed(&mut relation, right, fields.1);
            on.push(On { left, right, nulls_equal });
            false
        });
        let first = self.plan.schema.fields().len();
        for place in 0..width {
            self.places[starts[number] + place] = Some(first + place);
        }
        self.relations.insert(number);
        let schema = side_by_side(&self.plan.schema, &relation.schema);
        let left =
            std::mem::replace(&mut self.plan, Plan { op: Op::Union { inputs: Vec::new() }, schema: schema.clone() });
        let op = Op::Join { left: Box::new(left), right: Box::new(relation), kind: JoinKind::Inner, on };
        self.plan = Plan { op, schema };
        let ready = |relations: &BTreeSet<usize>| relations.is_subset(&self.relations);
        let (now, later): (Conditions, Conditions) =
            std::mem::take(open).into_iter().partition(|(_, relations)| ready(relations));
        *open = later;
        if !now.is_empty() {
            let filters = now.iter().map(|(condition, _)| self.local(condition)).collect();
            let (project, schema) = (identity(&self.plan.schema), self.plan.schema.clone());
            let input = std::mem::replace(
                &mut self.plan,
                Plan { op: Op::Union { inputs: Vec::new() }, schema: schema.clone() },
            );
            self.plan = map(input, filters, project, schema);
        }
    }
}

/// Whether a projection computes nothing.
fn is_simple(project: &[PhysicalRef]) -> bool {
    project.iter().all(|expr| expr.is::<Column>() || expr.is::<Literal>())
}

fn substituted(expr: &PhysicalRef, below: &[PhysicalRef]) -> Result<PhysicalRef> {
    let transformed = expr.clone().transform_down(|node| match node.downcast_ref::<Column>() {
        Some(column) => match below.get(column.index()) {
            Some(known) => Ok(Transformed::new(known.clone(), true, TreeNodeRecursion::Jump)),
            None => Ok(Transformed::no(node)),
        },
        None => Ok(Transformed::no(node)),
    })?;
    Ok(transformed.data)
}
