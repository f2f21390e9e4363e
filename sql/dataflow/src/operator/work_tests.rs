//! The work of an epoch grows with the change, not with the data: rows looked at for the same ten
//! changes, over collections of which one is a hundred times the other.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};

use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal};

use super::join_tests::import_views;
use crate::delta::{Batch, Delta};
use crate::graph::{Dataflow, Frame, Inputs};
use crate::plan::{ByText, Call, Function, GroupFunction, JoinKind, On, Op, Plan, RelationId, SortColumn, Text};
use crate::types::PgType;

fn schema(columns: usize) -> SchemaRef {
    let fields = (0..columns).map(|place| PgType::Int8.field(format!("c{place}"), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn input(relation: u32) -> Box<Plan> {
    Box::new(Plan { op: Op::View { relation: RelationId(relation) }, schema: schema(2) })
}

/// Rows (n / 4, n): four of each key.
fn rows(numbers: impl Iterator<Item = i64>, diff: i64) -> Delta {
    let numbers: Vec<i64> = numbers.collect();
    let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers.iter().map(|n| n / 4)));
    let diffs = vec![diff; numbers.len()].into();
    let columns = vec![keys, Arc::new(Int64Array::from(numbers)) as ArrayRef];
    vec![Batch { rows: RecordBatch::try_new(schema(2), columns).unwrap(), diffs: Some(diffs) }]
}

/// How many rows are there, beside each.
#[derive(Debug)]
struct Count;

impl Text for Count {
    fn text(&self) -> String {
        "count".into()
    }
}

impl GroupFunction for Count {
    fn aggregates(&self) -> bool {
        false
    }

    fn row_number(&self) -> Option<usize> {
        None
    }

    fn evaluate(&self, arguments: &RecordBatch) -> crate::Result<Vec<ArrayRef>> {
        let count = arguments.num_rows();
        Ok(vec![Arc::new(Int64Array::from(vec![count as i64; count]))])
    }
}

/// UNION of the rows and, again and again, those with an equal key.
fn recursion() -> Plan {
    let plan = |op, columns| Plan { op, schema: schema(columns) };
    let column = |place: usize| Arc::new(Column::new("c", place)) as Arc<dyn PhysicalExpr>;
    let number = |value| Arc::new(Literal::new(ScalarValue::Int64(Some(value)))) as Arc<dyn PhysicalExpr>;
    let next = Arc::new(BinaryExpr::new(column(2), Operator::Plus, number(1))) as Arc<dyn PhysicalExpr>;
    let map = |input, project| plan(Op::Map { input, filters: vec![], project }, 3);
    let first = map(input(1), vec![column(0), column(1), number(0)]);
    let on = vec![On { left: 0, right: 0, nulls_equal: false }];
    let met = Op::Join {
        left: Box::new(plan(Op::Variable { of: "0".into() }, 3)),
        right: input(1),
        kind: JoinKind::Inner,
        on,
    };
    let step = map(Box::new(plan(met, 5)), vec![column(0), column(4), next]);
    let all = Box::new(plan(Op::Union { inputs: vec![first, step] }, 3));
    let order = vec![SortColumn { column: 2, descending: false, nulls_first: false }];
    let once = Op::TopK { input: all, keys: vec![0, 1], order, offset: 0, limit: Some(1) };
    plan(Op::Iterate { name: "0".into(), body: Box::new(plan(once, 3)), limit: 100 }, 3)
}

/// Rows looked at by ten changes after so many rows.
fn work(plan: &Plan, size: i64) -> u64 {
    let mut dataflow = Dataflow::default();
    dataflow.add_view(RelationId(9), plan, &import_views).unwrap();
    let inputs: Vec<u32> = dataflow.imports().map(|(private, _)| private).collect();
    let mut run = |epoch: u64, delta: &dyn Fn() -> Delta| {
        let imported: HashMap<u32, Delta> = inputs.iter().map(|node| (*node, delta())).collect();
        dataflow.run(Inputs { imported, ..Inputs::default() }, Frame { epoch, oldest: epoch - 1, workers: 1 }).unwrap();
        dataflow.nodes().map(|(_, node)| node.touched).sum::<u64>()
    };
    let before = run(1, &|| rows(0..size, 1));
    run(2, &|| rows((0..5).map(|n| n * 40), 1));
    run(3, &|| rows((0..5).map(|n| n * 44 + 1), -1)) - before
}

#[test]
fn work_follows_the_change() {
    let call = |function, argument| Call { function, argument, distinct: false, filter: None };
    let order = vec![SortColumn { column: 1, descending: true, nulls_first: false }];
    let plan = |op, columns| Plan { op, schema: schema(columns) };
    let on = vec![On { left: 0, right: 0, nulls_equal: false }];
    let join = |kind| Op::Join { left: input(1), right: input(2), kind, on: on.clone() };
    let plans = [
        ("join", plan(join(JoinKind::Inner), 4)),
        ("left join", plan(join(JoinKind::Left), 4)),
        ("anti-join", plan(join(JoinKind::Anti), 2)),
        (
            "aggregate",
            plan(
                Op::Reduce {
                    input: input(1),
                    keys: vec![0],
                    calls: vec![call(Function::Count, None), call(Function::Max, Some(1))],
                },
                3,
            ),
        ),
        ("distinct", plan(Op::Reduce { input: input(1), keys: vec![0], calls: vec![] }, 1)),
        (
            "top-n of all",
            plan(Op::TopK { input: input(1), keys: vec![], order: order.clone(), offset: 2, limit: Some(10) }, 2),
        ),
        (
            "top-n of each",
            plan(Op::TopK { input: input(1), keys: vec![0], order: order.clone(), offset: 0, limit: Some(2) }, 2),
        ),
        (
            "window",
            plan(
                Op::GroupApply {
                    input: input(1),
                    keys: vec![0],
                    order: order.clone(),
                    passed: vec![0, 1],
                    arguments: vec![1],
                    function: ByText(Arc::new(Count)),
                },
                3,
            ),
        ),
        ("recursion", recursion()),
    ];
    for (what, plan) in &plans {
        let (small, large) = (work(plan, 1_000), work(plan, 100_000));
        assert!(small > 0 && large <= small * 2, "{what}: {small} rows of 1,000, {large} rows of 100,000");
    }
}
