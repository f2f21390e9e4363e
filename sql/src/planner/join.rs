//! Lowering joins: every kind of SQL's becomes an engine join over equal columns, with maps.
//!
//! A condition beyond equality filters the pairs of an inner join. Where rows without a pair
//! matter (outer, semi- and anti-joins), such a condition makes the rows that do have one a
//! relation of their own, which the rest is then joined with, whole row against whole row.
//! The order of inner joins is `arrange`'s.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::{JoinType, NullEquality, ScalarValue};
use datafusion::logical_expr::{Expr, Join, Operator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, IsNotNullExpr, Literal};
use thalweg_dataflow::plan::{Call, Function, JoinKind, On, Op, Plan};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result};

use super::factor::conjuncts;
use super::lower::{columns_of, identity, lower, map, physical, type_of};

type PhysicalRef = Arc<dyn PhysicalExpr>;

/// The inputs of a join with what is known of the condition.
struct Inputs {
    left: Plan,
    right: Plan,
    /// Columns of the left input that the join's output has: key expressions follow them.
    left_width: usize,
    right_width: usize,
    on: Vec<On>,
    /// Conditions over the left columns and then the right ones, without the key expressions.
    residual: Vec<PhysicalRef>,
}

/// A join.
pub(super) fn join(join: &Join) -> Result<Plan> {
    if matches!(join.join_type, JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark | JoinType::Right) {
        return swapped(join);
    }
    let mut inputs = Inputs {
        left: lower(&join.left)?,
        right: lower(&join.right)?,
        left_width: join.left.schema().fields().len(),
        right_width: join.right.schema().fields().len(),
        on: Vec::new(),
        residual: Vec::new(),
    };
    for (left, right) in &join.on {
        inputs.equal(join, left, right)?;
    }
    if let Some(filter) = &join.filter {
        let both = join.left.schema().join(join.right.schema())?;
        for part in conjuncts(filter) {
            let condition = physical(&part, &both)?;
            inputs.condition(join.join_type, condition);
        }
    }
    match join.join_type {
        JoinType::Inner => Ok(inputs.inner()),
        JoinType::Left => inputs.left_outer(),
        JoinType::Full => inputs.full(),
        JoinType::LeftSemi => Ok(inputs.semi(JoinKind::Semi)),
        JoinType::LeftAnti if join.null_aware => inputs.not_in(),
        JoinType::LeftAnti => Ok(inputs.semi(JoinKind::Anti)),
        JoinType::LeftMark => inputs.mark(),
        other => Err(Error::internal(format!("a {other} join"))),
    }
}

/// The same join with its inputs the other way round.
fn swapped(join: &Join) -> Result<Plan> {
    let turned = Join::try_new(
        join.right.clone(),
        join.left.clone(),
        join.on.iter().map(|(left, right)| (right.clone(), left.clone())).collect(),
        join.filter.clone(),
        join.join_type.swap(),
        join.join_constraint,
        join.null_equality,
        join.null_aware,
    )?;
    let plan = self::join(&turned)?;
    if join.join_type != JoinType::Right {
        return Ok(plan);
    }
    let (left, right) = (join.left.schema().fields().len(), join.right.schema().fields().len());
    let order: Vec<usize> = (right..right + left).chain(0..right).collect();
    Ok(picked(plan, &order))
}

/// A plan with these of its columns.
pub(super) fn picked(plan: Plan, order: &[usize]) -> Plan {
    let project = order.iter().map(|place| column(&plan.schema, *place)).collect();
    let schema = select(&plan.schema, order);
    map(plan, Vec::new(), project, schema)
}

fn select(schema: &SchemaRef, places: &[usize]) -> SchemaRef {
    Arc::new(Schema::new(places.iter().map(|place| schema.field(*place).clone()).collect::<Vec<_>>()))
}

pub(super) fn column(schema: &SchemaRef, place: usize) -> PhysicalRef {
    Arc::new(Column::new(schema.field(place).name(), place))
}

/// The fields of two schemas, one after the other.
pub(super) fn side_by_side(left: &SchemaRef, right: &SchemaRef) -> SchemaRef {
    let fields = left.fields().iter().chain(right.fields());
    Arc::new(Schema::new(fields.map(|field| field.as_ref().clone().with_nullable(true)).collect::<Vec<Field>>()))
}

/// Whether values of two fields are compared by their bytes alone.
pub(super) fn comparable(left: &Field, right: &Field) -> bool {
    let text = |ty: &PgType| matches!(ty, PgType::Text | PgType::Varchar(_));
    let (one, other) = (PgType::of(left), PgType::of(right));
    left.data_type() == right.data_type() && one != PgType::Interval && (one == other || text(&one) && text(&other))
}

impl Inputs {
    /// `left = right`, or IS NOT DISTINCT FROM if the join says so.
    fn equal(&mut self, join: &Join, left: &Expr, right: &Expr) -> Result<()> {
        let nulls_equal = join.null_equality == NullEquality::NullEqualsNull;
        let one = physical(left, join.left.schema())?;
        let other = physical(right, join.right.schema())?;
        let fields = (
            type_of(left, join.left.schema()).field("key", true),
            type_of(right, join.right.schema()).field("key", true),
        );
        if comparable(&fields.0, &fields.1) {
            let left = keyed(&mut self.left, one, fields.0);
            let right = keyed(&mut self.right, other, fields.1);
            self.on.push(On { left, right, nulls_equal });
        } else {
            let op = if nulls_equal { Operator::IsNotDistinctFrom } else { Operator::Eq };
            let other = shifted(&other, self.left_width);
            self.residual.push(Arc::new(BinaryExpr::new(one, op, other)));
        }
        Ok(())
    }

    /// One conjunct of ON, over both inputs' columns.
    fn condition(&mut self, kind: JoinType, condition: PhysicalRef) {
        if let Some(binary) = condition.downcast_ref::<BinaryExpr>()
            && let Some(nulls_equal) = equality(binary.op())
        {
            let sides = (self.side_of(binary.left()), self.side_of(binary.right()));
            let (left, right) = match sides {
                (Some(false), Some(true)) => (binary.left(), binary.right()),
                (Some(true), Some(false)) => (binary.right(), binary.left()),
                _ => return self.place(kind, condition),
            };
            let right = moved(right, &|place| place - self.left_width);
            let (one, other) = (field_of(left, &self.left.schema), field_of(&right, &self.right.schema));
            if comparable(&one, &other) {
                let left = keyed(&mut self.left, left.clone(), one);
                let right = keyed(&mut self.right, right, other);
                return self.on.push(On { left, right, nulls_equal });
            }
        }
        self.place(kind, condition);
    }

    /// A condition that is no equality: below the join where it looks at one side only and that
    /// side's rows need not come out, else beside it.
    fn place(&mut self, kind: JoinType, condition: PhysicalRef) {
        let left_may = matches!(kind, JoinType::Inner | JoinType::LeftSemi);
        let right_may = kind != JoinType::Full;
        match self.side_of(&condition) {
            Some(false) if left_may => filter(&mut self.left, condition),
            Some(true) if right_may => {
                let condition = moved(&condition, &|place| place - self.left_width);
                filter(&mut self.right, condition);
            }
            _ => self.residual.push(condition),
        }
    }

    /// Whether an expression looks at the right side alone (true) or the left one alone (false).
    fn side_of(&self, expr: &PhysicalRef) -> Option<bool> {
        let (mut left, mut right) = (false, false);
        columns_of(expr, &mut |place| if place < self.left_width { left = true } else { right = true });
        match (left, right) {
            (true, false) => Some(false),
            (false, true) => Some(true),
            _ => None,
        }
    }

    /// The engine's join, without the key expressions in its output.
    fn joined(&self, kind: JoinKind) -> Plan {
        let both = side_by_side(&self.left.schema, &self.right.schema);
        let narrow = matches!(kind, JoinKind::Semi | JoinKind::Anti);
        let op = Op::Join {
            left: Box::new(self.left.clone()),
            right: Box::new(self.right.clone()),
            kind,
            on: self.on.clone(),
        };
        let plan = Plan { op, schema: if narrow { self.left.schema.clone() } else { both } };
        let (left, width) = (self.left_width, self.left.schema.fields().len());
        let right = width..width + if narrow { 0 } else { self.right_width };
        picked(plan, &(0..left).chain(right).collect::<Vec<_>>())
    }

    fn inner(&self) -> Plan {
        let pairs = self.joined(JoinKind::Inner);
        if self.residual.is_empty() {
            return pairs;
        }
        let (project, schema) = (identity(&pairs.schema), pairs.schema.clone());
        map(pairs, self.residual.clone(), project, schema)
    }

    fn left_outer(&self) -> Result<Plan> {
        if self.residual.is_empty() {
            return Ok(self.joined(JoinKind::Left));
        }
        let pairs = self.inner();
        let without = pad(self.unmatched(&pairs), &self.right_fields(), false)?;
        Ok(union(vec![pairs, without]))
    }

    fn full(&self) -> Result<Plan> {
        if self.residual.is_empty() {
            return Ok(self.joined(JoinKind::Full));
        }
        let pairs = self.inner();
        let left = pad(self.unmatched(&pairs), &self.right_fields(), false)?;
        let right_columns: Vec<usize> = (self.left_width..self.left_width + self.right_width).collect();
        let met = distinct(picked(pairs.clone(), &right_columns));
        let right = narrowed(&self.right, self.right_width);
        let right = pad(whole_rows(JoinKind::Anti, right, met), &self.left_fields(), true)?;
        Ok(union(vec![pairs, left, right]))
    }

    fn left_fields(&self) -> Vec<Field> {
        (0..self.left_width).map(|place| self.left.schema.field(place).clone()).collect()
    }

    fn right_fields(&self) -> Vec<Field> {
        (0..self.right_width).map(|place| self.right.schema.field(place).clone()).collect()
    }

    /// The left rows that none of these pairs has.
    fn unmatched(&self, pairs: &Plan) -> Plan {
        self.by_match(JoinKind::Anti, pairs)
    }

    fn by_match(&self, kind: JoinKind, pairs: &Plan) -> Plan {
        let met = distinct(picked(pairs.clone(), &(0..self.left_width).collect::<Vec<_>>()));
        whole_rows(kind, narrowed(&self.left, self.left_width), met)
    }

    fn semi(&self, kind: JoinKind) -> Plan {
        if self.residual.is_empty() { self.joined(kind) } else { self.by_match(kind, &self.inner()) }
    }

    /// The left rows with a column that says whether they have a pair.
    fn mark(&self) -> Result<Plan> {
        let marked = |kind, mark: bool| {
            let plan = self.semi(kind);
            let mut project = identity(&plan.schema);
            project.push(Arc::new(Literal::new(ScalarValue::Boolean(Some(mark)))));
            let mut fields: Vec<Field> = self.left_fields();
            fields.push(PgType::Bool.field("mark", true));
            map(plan, Vec::new(), project, Arc::new(Schema::new(fields)))
        };
        Ok(union(vec![marked(JoinKind::Semi, true), marked(JoinKind::Anti, false)]))
    }

    /// NOT IN: no row if the right side has a null; without any right row all of them; else those
    /// whose key is not null and has no equal.
    fn not_in(&self) -> Result<Plan> {
        let [on] = self.on.as_slice() else { return Err(Error::internal("NOT IN over several columns")) };
        if !self.residual.is_empty() {
            return Err(Error::unsupported("NOT IN with a further condition in a materialized view"));
        }
        let right = picked(self.right.clone(), &[on.right]);
        let call = |argument| Call { function: Function::Count, argument, distinct: false, filter: None };
        let counts = Schema::new(vec![PgType::Int8.field("rows", true), PgType::Int8.field("values", true)]);
        let op = Op::Reduce { input: Box::new(right), keys: Vec::new(), calls: vec![call(None), call(Some(0))] };
        let counts = Plan { op, schema: Arc::new(counts) };
        let kept = Plan {
            op: Op::Join {
                left: Box::new(self.left.clone()),
                right: Box::new(self.right.clone()),
                kind: JoinKind::Anti,
                on: self.on.clone(),
            },
            schema: self.left.schema.clone(),
        };
        let width = kept.schema.fields().len();
        let schema = side_by_side(&kept.schema, &counts.schema);
        let op = Op::Join { left: Box::new(kept), right: Box::new(counts), kind: JoinKind::Inner, on: Vec::new() };
        let both = Plan { op, schema };
        let zero: PhysicalRef = Arc::new(Literal::new(ScalarValue::Int64(Some(0))));
        let binary = |left, op, right| Arc::new(BinaryExpr::new(left, op, right)) as PhysicalRef;
        let (rows, values) = (column(&both.schema, width), column(&both.schema, width + 1));
        let known: PhysicalRef = Arc::new(IsNotNullExpr::new(column(&both.schema, on.left)));
        let no_null = binary(rows.clone(), Operator::Eq, values);
        let condition = binary(binary(rows, Operator::Eq, zero), Operator::Or, binary(known, Operator::And, no_null));
        let (project, schema) = (identity(&both.schema), both.schema.clone());
        let kept = map(both, vec![condition], project, schema);
        Ok(picked(kept, &(0..self.left_width).collect::<Vec<_>>()))
    }
}

/// Whether an operator is equality, and then whether nulls are equal.
pub(super) fn equality(op: &Operator) -> Option<bool> {
    match op {
        Operator::Eq => Some(false),
        Operator::IsNotDistinctFrom => Some(true),
        _ => None,
    }
}

/// The type of an expression over a schema, as a field.
pub(super) fn field_of(expr: &PhysicalRef, schema: &SchemaRef) -> Field {
    match expr.return_field(schema) {
        Ok(field) => PgType::of(&field).field("key", true),
        Err(_) => PgType::Text.field("key", true),
    }
}

/// The place of a key among a plan's columns, computed behind them if it is not one.
pub(super) fn keyed(plan: &mut Plan, expr: PhysicalRef, field: Field) -> usize {
    if let Some(column) = expr.downcast_ref::<Column>() {
        return column.index();
    }
    let mut project = identity(&plan.schema);
    project.push(expr);
    let mut fields: Vec<Field> = plan.schema.fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.push(field);
    let place = fields.len() - 1;
    let input = std::mem::replace(plan, nothing());
    *plan = map(input, Vec::new(), project, Arc::new(Schema::new(fields)));
    place
}

/// Adds a condition to a plan.
pub(super) fn filter(plan: &mut Plan, condition: PhysicalRef) {
    let (project, schema) = (identity(&plan.schema), plan.schema.clone());
    let input = std::mem::replace(plan, nothing());
    *plan = map(input, vec![condition], project, schema);
}

/// What stands in a plan's place for the moment it is changed.
fn nothing() -> Plan {
    Plan { op: Op::Union { inputs: Vec::new() }, schema: Arc::new(Schema::empty()) }
}

/// The first columns of a plan: without the key expressions behind them.
fn narrowed(plan: &Plan, width: usize) -> Plan {
    if plan.schema.fields().len() == width {
        return plan.clone();
    }
    picked(plan.clone(), &(0..width).collect::<Vec<_>>())
}

fn distinct(input: Plan) -> Plan {
    let (keys, schema) = ((0..input.schema.fields().len()).collect(), input.schema.clone());
    Plan { op: Op::Reduce { input: Box::new(input), keys, calls: Vec::new() }, schema }
}

/// The left rows that are, or are not, among the right ones.
fn whole_rows(kind: JoinKind, left: Plan, right: Plan) -> Plan {
    let on = (0..left.schema.fields().len()).map(|place| On { left: place, right: place, nulls_equal: true }).collect();
    let schema = left.schema.clone();
    Plan { op: Op::Join { left: Box::new(left), right: Box::new(right), kind, on }, schema }
}

fn union(inputs: Vec<Plan>) -> Plan {
    let schema = inputs.first().map(|input| input.schema.clone()).unwrap_or_else(|| Arc::new(Schema::empty()));
    Plan { op: Op::Union { inputs }, schema }
}

/// Rows with nulls of some types beside them, before or behind.
fn pad(plan: Plan, nulls: &[Field], before: bool) -> Result<Plan> {
    let mut padding: Vec<PhysicalRef> = Vec::with_capacity(nulls.len());
    for field in nulls {
        padding.push(Arc::new(Literal::new(ScalarValue::try_from(field.data_type())?)));
    }
    let own = identity(&plan.schema);
    let fields = plan.schema.fields().iter().map(|field| field.as_ref().clone());
    let nulls = nulls.iter().map(|field| field.clone().with_nullable(true));
    let (project, fields): (Vec<_>, Vec<Field>) = if before {
        (padding.into_iter().chain(own).collect(), nulls.chain(fields).collect())
    } else {
        (own.into_iter().chain(padding).collect(), fields.chain(nulls).collect())
    };
    Ok(map(plan, Vec::new(), project, Arc::new(Schema::new(fields))))
}

/// An expression with its columns in other places.
pub(super) fn moved(expr: &PhysicalRef, to: &dyn Fn(usize) -> usize) -> PhysicalRef {
    use datafusion::common::tree_node::{Transformed, TreeNode};
    let transformed = expr.clone().transform_up(|node| match node.downcast_ref::<Column>() {
        Some(column) => {
            let column = Column::new(column.name(), to(column.index()));
            Ok(Transformed::yes(Arc::new(column) as PhysicalRef))
        }
        None => Ok(Transformed::no(node)),
    });
    transformed.map_or_else(|_| expr.clone(), |transformed| transformed.data)
}

fn shifted(expr: &PhysicalRef, by: usize) -> PhysicalRef {
    moved(expr, &|place| place + by)
}

/// VALUES, and a SELECT without FROM: rows that never change.
pub(super) fn constants(rows: RecordBatch, schema: SchemaRef) -> Result<Plan> {
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    let rows = RecordBatch::try_new_with_options(schema.clone(), rows.columns().to_vec(), &options)?;
    let rows = Arc::new(thalweg_dataflow::plan::Constants::new(rows));
    Ok(Plan { op: Op::Values { rows }, schema })
}
