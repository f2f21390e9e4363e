//! Joins of every kind against all pairs, over rows that come and go on both sides at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{Int64Type, Schema, SchemaRef};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::delta::{Batch, Delta};
use crate::graph::{Dataflow, Frame, Import, Inputs, NodeId};
use crate::plan::{JoinKind, On, Op, Plan, RelationId};
use crate::types::PgType;

const VIEW: RelationId = RelationId(9);

/// A row of a side: key and value.
type Row = (Option<i64>, i64);
/// An output row, whatever its width.
type Line = Vec<Option<i64>>;
/// Rows and how often each is there.
type Bag<T> = BTreeMap<T, i64>;

fn schema(columns: usize) -> SchemaRef {
    let fields = (0..columns).map(|place| PgType::Int8.field(format!("c{place}"), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn input(relation: u32) -> Plan {
    Plan { op: Op::View { relation: RelationId(relation) }, schema: schema(2) }
}

/// Lets a test feed every view that a plan reads.
pub(super) fn import_views(plan: &Plan) -> Option<Import> {
    match &plan.op {
        Op::View { relation } => Some(Import {
            node: relation.0,
            schema: plan.schema.clone(),
            fingerprint: relation.0.to_string(),
            retracts: true,
        }),
        _ => None,
    }
}

fn dataflow(kind: JoinKind, nulls_equal: bool, right: u32) -> Dataflow {
    let narrow = matches!(kind, JoinKind::Semi | JoinKind::Anti);
    let op = Op::Join {
        left: Box::new(input(1)),
        right: Box::new(input(right)),
        kind,
        on: vec![On { left: 0, right: 0, nulls_equal }],
    };
    let plan = Plan { op, schema: schema(if narrow { 2 } else { 4 }) };
    let mut dataflow = Dataflow::default();
    dataflow.add_view(VIEW, &plan, &import_views).unwrap();
    dataflow
}

/// Some changes of a side, in several batches, now and then a row and its opposite at once.
fn changes(random: &mut StdRng, rows: &mut Bag<Row>, most: usize) -> Delta {
    let mut delta = Delta::new();
    for _ in 0..random.random_range(0..3) {
        let (mut keys, mut values, mut diffs) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..random.random_range(0..most) {
            let leaving = random.random_bool(0.4).then(|| rows.iter().nth(random.random_range(0..rows.len().max(1))));
            let (row, diff) = match leaving.flatten() {
                Some((row, count)) => (*row, -random.random_range(1..=*count)),
                None => {
                    let key = random.random_bool(0.9).then(|| random.random_range(0..6));
                    ((key, random.random_range(0..4)), random.random_range(1..3))
                }
            };
            let count = rows.entry(row).or_insert(0);
            *count += diff;
            if *count == 0 {
                rows.remove(&row);
            }
            keys.push(row.0);
            values.push(row.1);
            diffs.push(diff);
        }
        let columns: Vec<arrow::array::ArrayRef> =
            vec![Arc::new(Int64Array::from(keys)), Arc::new(Int64Array::from(values))];
        let rows = RecordBatch::try_new(schema(2), columns).unwrap();
        delta.push(Batch { rows, diffs: Some(diffs.into()) });
    }
    delta
}

fn expected(kind: JoinKind, nulls_equal: bool, left: &Bag<Row>, right: &Bag<Row>) -> Bag<Line> {
    let equal = |a: &Row, b: &Row| if nulls_equal { a.0 == b.0 } else { a.0.is_some() && a.0 == b.0 };
    let wide = |a: Option<&Row>, b: Option<&Row>| {
        let side = |row: Option<&Row>| row.map_or(vec![None, None], |row| vec![row.0, Some(row.1)]);
        [side(a), side(b)].concat()
    };
    let mut out = Bag::new();
    let mut add = |line: Line, count: i64| *out.entry(line).or_insert(0) += count;
    for (a, n) in left {
        let met: Vec<(&Row, &i64)> = right.iter().filter(|(b, _)| equal(a, b)).collect();
        match kind {
            JoinKind::Semi if !met.is_empty() => add(vec![a.0, Some(a.1)], *n),
            JoinKind::Anti if met.is_empty() => add(vec![a.0, Some(a.1)], *n),
            JoinKind::Semi | JoinKind::Anti => {}
            JoinKind::Left | JoinKind::Full if met.is_empty() => add(wide(Some(a), None), *n),
            JoinKind::Inner | JoinKind::Left | JoinKind::Full => {
                met.into_iter().for_each(|(b, m)| add(wide(Some(a), Some(b)), n * m));
            }
        }
    }
    if kind == JoinKind::Full {
        let alone = right.iter().filter(|(b, _)| !left.keys().any(|a| equal(a, b)));
        alone.for_each(|(b, m)| add(wide(None, Some(b)), *m));
    }
    out
}

fn held(dataflow: &Dataflow, epoch: u64) -> Bag<Line> {
    let node: NodeId = dataflow.views()[&VIEW];
    let reading = dataflow.reading(node).unwrap();
    let mut out = Bag::new();
    for shard in 0..crate::arrangement::hash::SHARDS {
        for batch in reading.arrangement.read_shard(shard, epoch).unwrap() {
            for row in 0..batch.num_rows() {
                let value = |column: &arrow::array::ArrayRef| {
                    column.is_valid(row).then(|| column.as_primitive::<Int64Type>().value(row))
                };
                *out.entry(batch.columns().iter().map(value).collect()).or_insert(0) += 1;
            }
        }
    }
    out
}

fn check(kind: JoinKind, nulls_equal: bool, selfish: bool, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut dataflow = dataflow(kind, nulls_equal, if selfish { 1 } else { 2 });
    let (mut left, mut right) = (Bag::new(), Bag::new());
    let most = if seed.is_multiple_of(5) { 1500 } else { 12 };
    for epoch in 1..30 {
        let mut imported = std::collections::HashMap::new();
        for (private, live) in dataflow.imports().collect::<Vec<_>>() {
            let rows = if live == 1 { &mut left } else { &mut right };
            imported.insert(private, changes(&mut random, rows, most));
        }
        let workers = 1 + (seed % 2) as usize;
        dataflow.run(Inputs { imported, ..Inputs::default() }, Frame { epoch, oldest: epoch - 1, workers }).unwrap();
        let other = if selfish { &left } else { &right };
        let want = expected(kind, nulls_equal, &left, other);
        assert_eq!(held(&dataflow, epoch), want, "{kind:?} {nulls_equal} {selfish} seed {seed} epoch {epoch}");
    }
}

#[test]
fn every_join_equals_all_pairs() {
    for kind in [JoinKind::Inner, JoinKind::Left, JoinKind::Full, JoinKind::Semi, JoinKind::Anti] {
        for nulls_equal in [false, true] {
            for seed in 0..20 {
                check(kind, nulls_equal, false, seed);
                check(kind, nulls_equal, true, seed);
            }
        }
    }
}
