//! Equal plans are one node: how many nodes and arrangements views make, and what stays when one goes.

use super::expr::{Comparison, Expr};
use super::query::{Node, Query};
use super::source::columns;
use super::value::{Type, Value};
use crate::graph::Dataflow;
use crate::plan::{Call, Function, JoinKind, On, Op, Plan, RelationId};

/// Nodes, and those of them that have an arrangement.
fn counts(dataflow: &Dataflow) -> (usize, usize) {
    let arrangements = dataflow.nodes().filter(|(_, node)| node.op.arrangement().is_some()).count();
    (dataflow.nodes().count(), arrangements)
}

fn table(id: u32) -> Query {
    Query { node: Node::View { relation: id }, types: columns() }
}

fn filtered(input: Query, value: i128) -> Query {
    let literal = Expr::Literal(Value::Int(value), Type::Int8);
    let filter = Expr::Compare(Comparison::Less, Box::new(Expr::Column(1)), Box::new(literal));
    let types = vec![Type::Text, Type::Int8];
    let project = vec![Expr::Column(0), Expr::Column(1)];
    Query { node: Node::Map { input: Box::new(input), filters: vec![filter], project }, types }
}

fn joined(left: Query, right: Query, kind: JoinKind) -> Query {
    let types = left.types.iter().chain(&right.types).copied().collect();
    let on = vec![On { left: 0, right: 0, nulls_equal: false }];
    Query { node: Node::Join { left: Box::new(left), right: Box::new(right), kind, on }, types }
}

fn counted(input: Query, function: Function) -> Query {
    let call = Call { function, argument: Some(1), distinct: false, filter: None };
    let types = vec![Type::Text, Type::Int8];
    Query { node: Node::Reduce { input: Box::new(input), keys: vec![0], calls: vec![call] }, types }
}

fn add(dataflow: &mut Dataflow, id: u32, query: &Query) {
    dataflow.add_view(RelationId(id), &query.lower(), &|_| None).unwrap();
}

#[test]
fn views_with_equal_parts_share_them() {
    let mut dataflow = Dataflow::default();
    for id in [3, 4] {
        let plan = Plan { op: Op::Table { relation: RelationId(id) }, schema: super::value::schema(&columns()) };
        dataflow.add_view(RelationId(id), &plan, &|_| None).unwrap();
    }
    let tables = counts(&dataflow);
    assert_eq!(tables, (4, 2), "a table and its rows, twice");

    let part = || joined(filtered(table(3), 5), table(4), JoinKind::Inner);
    add(&mut dataflow, 10, &counted(part(), Function::Count));
    let one = counts(&dataflow);
    assert_eq!(one, (tables.0 + 5, tables.1 + 3), "a map, two indexes, a join, a reduce");

    // The whole query again: nothing new. Another aggregate over the same join: one node.
    add(&mut dataflow, 11, &counted(part(), Function::Count));
    assert_eq!(counts(&dataflow), one);
    add(&mut dataflow, 12, &counted(part(), Function::Max));
    assert_eq!(counts(&dataflow), (one.0 + 1, one.1 + 1));
    // Another join of the same sides reads the same indexes; a view of it keeps its rows.
    add(&mut dataflow, 13, &joined(filtered(table(3), 5), table(4), JoinKind::Left));
    assert_eq!(counts(&dataflow), (one.0 + 3, one.1 + 2));
    // Another filter is another input: a map and an index of its own, but the other index.
    add(&mut dataflow, 14, &joined(filtered(table(3), 6), table(4), JoinKind::Left));
    assert_eq!(counts(&dataflow), (one.0 + 7, one.1 + 4));

    for (gone, left) in [
        (14, (one.0 + 3, one.1 + 2)),
        (13, (one.0 + 1, one.1 + 1)),
        (10, (one.0 + 1, one.1 + 1)),
        (12, one),
        (11, tables),
    ] {
        dataflow.remove_view(RelationId(gone));
        assert_eq!(counts(&dataflow), left, "after view {gone} went");
        dataflow.check_users(&[]).unwrap();
    }
}
