//! The reference: a query computed from nothing, over whole inputs, as the definition reads.
//!
//! Promises to be simple: nested loops over bags. Knows no delta, no index, no state.

use std::collections::{BTreeMap, BTreeSet};

use super::query::{Node, Query};
use super::value::{Bag, Row, Type, Value, add};
use crate::plan::{Call, Function, JoinKind, On, SortColumn};
use crate::types::Numeric;

/// What a query gives.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Answer {
    pub(crate) rows: Bag,
    /// Whether some row failed on the way.
    pub(crate) fails: bool,
}

/// The relations that are read, by number.
pub(crate) type Relations = BTreeMap<u32, Answer>;

/// A query's answer over these relations.
pub(crate) fn evaluate(query: &Query, relations: &Relations) -> Answer {
    let mut fails = false;
    let mut of = |query: &Query| {
        let Answer { rows, fails: below } = evaluate(query, relations);
        fails |= below;
        rows
    };
    let rows = match &query.node {
        Node::Source { relation, columns } => {
            let rows = relations.get(relation).map(|answer| &answer.rows);
            let mut out = Bag::new();
            for (row, count) in rows.into_iter().flatten() {
                add(&mut out, columns.iter().map(|place| row[*place].clone()).collect(), *count);
            }
            out
        }
        Node::View { relation } => {
            let answer = relations.get(relation).cloned().unwrap_or_default();
            fails |= answer.fails;
            answer.rows
        }
        Node::Map { input, filters, project } => {
            let mut out = Bag::new();
            for (row, count) in of(input) {
                let passes = filters.iter().all(|filter| matches!(filter.value(&row), Ok(Value::Bool(true))));
                match project.iter().map(|expr| expr.value(&row)).collect::<Result<Row, _>>() {
                    Ok(row) if passes => add(&mut out, row, count),
                    Err(_) if passes => fails = true,
                    _ => {}
                }
            }
            out
        }
        Node::Union { inputs } => {
            let mut out = Bag::new();
            for input in inputs {
                of(input).into_iter().for_each(|(row, count)| add(&mut out, row, count));
            }
            out
        }
        Node::Reduce { input, keys, calls } => groups(&of(input), keys, calls, &input.types),
        Node::Join { left, right, kind, on } => {
            join(&of(left), &of(right), *kind, on, (left.types.len(), right.types.len()))
        }
        Node::Top { input, keys, order, offset, limit } => {
            let mut out = Bag::new();
            for rows in ordered(&of(input), keys, order).into_values() {
                let limit = limit.map_or(usize::MAX, |limit| limit as usize);
                rows.into_iter().skip(*offset as usize).take(limit).for_each(|row| add(&mut out, row, 1));
            }
            out
        }
        Node::Apply { input, keys, order, passed, argument, function } => {
            applied(ordered(&of(input), keys, order), keys, passed, *argument, *function)
        }
        Node::Values { rows } => {
            let mut out = Bag::new();
            rows.iter().for_each(|row| add(&mut out, row.clone(), 1));
            out
        }
    };
    Answer { rows, fails }
}

/// A function over each group; one that aggregates has a result over no rows too, if there are no keys.
fn applied(
    mut groups: BTreeMap<Row, Vec<Row>>,
    keys: &[usize],
    passed: &[usize],
    argument: usize,
    function: super::function::Function,
) -> Bag {
    let mut out = Bag::new();
    if keys.is_empty() && function.aggregates() {
        groups.entry(Vec::new()).or_default();
    }
    for rows in groups.into_values() {
        let values: Vec<Value> = rows.iter().map(|row| row[argument].clone()).collect();
        for (place, result) in function.over(&values).into_iter().enumerate() {
            let kept = passed.iter().map(|column| rows[place][*column].clone());
            add(&mut out, kept.chain([result]).collect(), 1);
        }
    }
    out
}

fn key_of(row: &Row, keys: &[usize]) -> Row {
    keys.iter().map(|place| row[*place].clone()).collect()
}

/// The rows of each group one by one, in order.
fn ordered(rows: &Bag, keys: &[usize], order: &[SortColumn]) -> BTreeMap<Row, Vec<Row>> {
    let mut groups: BTreeMap<Row, Vec<Row>> = BTreeMap::new();
    for (row, count) in rows {
        groups.entry(key_of(row, keys)).or_default().extend(std::iter::repeat_n(row.clone(), *count as usize));
    }
    for rows in groups.values_mut() {
        rows.sort_by(|a, b| {
            let columns = order.iter().map(|column| {
                let (a, b) = (&a[column.column], &b[column.column]);
                match (a == &Value::Null, b == &Value::Null) {
                    (false, false) if column.descending => b.cmp(a),
                    (true, false) | (false, true) if !column.nulls_first => b.cmp(a),
                    _ => a.cmp(b),
                }
            });
            columns.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
        });
    }
    groups
}

fn groups(rows: &Bag, keys: &[usize], calls: &[Call], types: &[Type]) -> Bag {
    let mut groups: BTreeMap<Row, Vec<(&Row, i64)>> = BTreeMap::new();
    if keys.is_empty() {
        groups.insert(Vec::new(), Vec::new());
    }
    for (row, count) in rows {
        groups.entry(key_of(row, keys)).or_default().push((row, *count));
    }
    let mut out = Bag::new();
    for (key, rows) in groups {
        let results = calls.iter().map(|call| aggregate(call, &rows, types));
        add(&mut out, key.iter().cloned().chain(results).collect(), 1);
    }
    out
}

fn aggregate(call: &Call, rows: &[(&Row, i64)], types: &[Type]) -> Value {
    let passes = |row: &Row| call.filter.is_none_or(|filter| row[filter] == Value::Bool(true));
    let passing = rows.iter().filter(|(row, _)| passes(row));
    let Some(argument) = call.argument else { return Value::Int(passing.map(|(_, count)| i128::from(*count)).sum()) };
    let mut values: Vec<(Value, i128)> = passing
        .map(|(row, count)| (row[argument].clone(), i128::from(*count)))
        .filter(|(value, _)| *value != Value::Null)
        .collect();
    if call.distinct {
        let once: BTreeSet<Value> = values.into_iter().map(|(value, _)| value).collect();
        values = once.into_iter().map(|value| (value, 1)).collect();
    }
    let count: i128 = values.iter().map(|(_, count)| count).sum();
    if call.function == Function::Count {
        return Value::Int(count);
    }
    if values.is_empty() {
        return Value::Null;
    }
    let total = || {
        values.iter().map(|(value, count)| if let Value::Int(value) = value { value * count } else { 0 }).sum::<i128>()
    };
    match call.function {
        Function::Count => Value::Int(count),
        Function::Sum => Value::Int(total()),
        Function::Avg => {
            debug_assert!(matches!(types[argument], Type::Int4 | Type::Int8 | Type::Whole));
            let whole = |value: i128| Numeric::from_i128(value, 0);
            Value::Text(whole(total()).div(&whole(count)).unwrap().to_string().into())
        }
        Function::Min => values.into_iter().map(|(value, _)| value).min().unwrap(),
        Function::Max => values.into_iter().map(|(value, _)| value).max().unwrap(),
        Function::BoolAnd => Value::Bool(values.iter().all(|(value, _)| *value == Value::Bool(true))),
        Function::BoolOr => Value::Bool(values.iter().any(|(value, _)| *value == Value::Bool(true))),
        Function::ApproxCountDistinct | Function::ApproxPercentile(_) => unreachable!("no plan drawn has a sketch"),
    }
}

fn join(left: &Bag, right: &Bag, kind: JoinKind, on: &[On], widths: (usize, usize)) -> Bag {
    let meets = |a: &Row, b: &Row| {
        on.iter().all(|on| a[on.left] == b[on.right] && (on.nulls_equal || a[on.left] != Value::Null))
    };
    let mut out = Bag::new();
    for (a, n) in left {
        let met: Vec<(&Row, &i64)> = right.iter().filter(|(b, _)| meets(a, b)).collect();
        match kind {
            JoinKind::Semi if !met.is_empty() => add(&mut out, a.clone(), *n),
            JoinKind::Anti if met.is_empty() => add(&mut out, a.clone(), *n),
            JoinKind::Semi | JoinKind::Anti => {}
            JoinKind::Left | JoinKind::Full if met.is_empty() => {
                add(&mut out, a.iter().cloned().chain(std::iter::repeat_n(Value::Null, widths.1)).collect(), *n);
            }
            JoinKind::Inner | JoinKind::Left | JoinKind::Full => {
                met.into_iter().for_each(|(b, m)| add(&mut out, a.iter().chain(b).cloned().collect(), n * m));
            }
        }
    }
    if kind == JoinKind::Full {
        for (b, m) in right.iter().filter(|(b, _)| !left.keys().any(|a| meets(a, b))) {
            add(&mut out, std::iter::repeat_n(Value::Null, widths.0).chain(b.iter().cloned()).collect(), *m);
        }
    }
    out
}
