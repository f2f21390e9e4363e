//! Random queries over every operator, small enough for the reference to compute after every epoch.
//!
//! What is drawn is accepted by the engine and fails on rows only by a division. Parts are drawn
//! again now and then, so that nodes are shared.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};

use super::expr::{Comparison, Expr};
use super::function::Function as GroupFunction;
use super::query::{Node, Query};
use super::value::{Row, Type, Value};
use crate::plan::{Call, Function, JoinKind, On, SortColumn};

/// What a query may read.
#[derive(Debug, Clone)]
pub(crate) struct Relation {
    pub(crate) id: u32,
    pub(crate) types: Vec<Type>,
    /// A source: columns are chosen.
    pub(crate) source: bool,
}

/// Draws queries.
pub(crate) struct Draw<'a> {
    pub(crate) random: &'a mut StdRng,
    pub(crate) relations: &'a [Relation],
    /// Parts of queries, to be met again.
    pub(crate) parts: &'a mut Vec<Query>,
    /// Whether to join.
    pub(crate) joins: bool,
}

/// The types rows of sources and tables have.
pub(crate) const COLUMNS: [Type; 4] = [Type::Text, Type::Int8, Type::Int4, Type::Bool];

/// The values of a type that are drawn.
pub(crate) fn value(random: &mut StdRng, data_type: Type) -> Value {
    match data_type {
        _ if random.random_bool(0.15) => Value::Null,
        Type::Bool => Value::Bool(random.random_bool(0.5)),
        Type::Int4 | Type::Whole | Type::Average => Value::Int(random.random_range(-1..3)),
        Type::Int8 => Value::Int(random.random_range(-2..6)),
        Type::Text => Value::Text((*["", "a", "b", "ä"].choose(random).unwrap()).into()),
    }
}

/// A row of a source or table; `wide`: hardly any two are the same.
pub(crate) fn row(random: &mut StdRng, wide: bool) -> Row {
    let mut row: Row = COLUMNS.iter().map(|data_type| value(random, *data_type)).collect();
    if wide && row[1] != Value::Null {
        row[1] = Value::Int(random.random_range(-2..2000));
    }
    row
}

impl Draw<'_> {
    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    /// A query of at most so many operators above its leaves.
    pub(crate) fn query(&mut self, depth: usize) -> Query {
        if depth == 0 || self.chance(8) {
            return self.leaf();
        }
        if !self.parts.is_empty() && self.chance(15) {
            let part = self.parts.choose(self.random).unwrap().clone();
            if self.is_known(&part) {
                return part;
            }
        }
        let drawn = match self.random.random_range(0..14) {
            0 | 1 => self.map(depth),
            2 => self.union(depth),
            3..=5 => self.reduce(depth),
            6 => self.distinct(depth),
            7..=10 if self.joins => self.join(depth),
            7..=8 | 11 | 12 => self.top(depth),
            _ => self.apply(depth),
        };
        if self.parts.len() < 20 {
            self.parts.push(drawn.clone());
        }
        drawn
    }

    /// Whether all that a part reads is there.
    fn is_known(&self, part: &Query) -> bool {
        let mut reads = Vec::new();
        part.reads(&mut reads);
        reads.iter().all(|id| self.relations.iter().any(|relation| relation.id == *id))
    }

    fn leaf(&mut self) -> Query {
        if self.chance(6) {
            let types: Vec<Type> = COLUMNS.choose_multiple(self.random, 2).copied().collect();
            let rows = (0..self.random.random_range(0..4))
                .map(|_| types.iter().map(|data_type| value(self.random, *data_type)).collect())
                .collect();
            return Query { node: Node::Values { rows }, types };
        }
        let relation = self.relations.choose(self.random).unwrap().clone();
        if !relation.source {
            return Query { node: Node::View { relation: relation.id }, types: relation.types };
        }
        let mut columns: Vec<usize> = (0..relation.types.len()).collect();
        columns.shuffle(self.random);
        columns.truncate(self.random.random_range(2..=relation.types.len()));
        let types = columns.iter().map(|place| relation.types[*place]).collect();
        Query { node: Node::Source { relation: relation.id, columns }, types }
    }

    /// Columns of a query that may decide.
    fn exact(query: &Query) -> Vec<usize> {
        (0..query.types.len()).filter(|place| query.types[*place].exact()).collect()
    }

    /// At most so many columns, all exact if asked.
    fn narrow(&mut self, query: Query, most: usize, exact: bool) -> Query {
        let mut columns = if exact { Draw::exact(&query) } else { (0..query.types.len()).collect() };
        if columns.len() == query.types.len() && columns.len() <= most {
            return query;
        }
        columns.shuffle(self.random);
        columns.truncate(most);
        if columns.is_empty() {
            let one = Expr::Literal(Value::Int(1), Type::Int8);
            return Query {
                node: Node::Map { input: Box::new(query), filters: Vec::new(), project: vec![one] },
                types: vec![Type::Int8],
            };
        }
        let types = columns.iter().map(|place| query.types[*place]).collect();
        let project = columns.into_iter().map(Expr::Column).collect();
        Query { node: Node::Map { input: Box::new(query), filters: Vec::new(), project }, types }
    }

    fn map(&mut self, depth: usize) -> Query {
        let input = self.query(depth - 1);
        let filters = (0..self.random.random_range(0..3)).filter_map(|_| self.condition(&input.types, 1)).collect();
        let mut project = Vec::new();
        let mut types = Vec::new();
        for _ in 0..self.random.random_range(1..5) {
            let (expr, data_type) = self.projected(&input.types);
            project.push(expr);
            types.push(data_type);
        }
        Query { node: Node::Map { input: Box::new(input), filters, project }, types }
    }

    fn projected(&mut self, types: &[Type]) -> (Expr, Type) {
        let place = self.random.random_range(0..types.len());
        let data_type = types[place];
        let column = Expr::Column(place);
        let literal = |draw: &mut Self| Box::new(Expr::Literal(value(draw.random, data_type), data_type));
        match (data_type, self.random.random_range(0..12)) {
            (Type::Int4 | Type::Int8, 0 | 1) => (Expr::Add(Box::new(column), literal(self)), data_type),
            (Type::Int8, 2) => {
                let ten = Box::new(Expr::Literal(Value::Int(10), Type::Int8));
                (Expr::Divide(ten, Box::new(column)), Type::Int8)
            }
            (_, 3) => (Expr::IsNull(Box::new(column)), Type::Bool),
            (_, 4) => match self.condition(types, 1) {
                Some(condition) => (condition, Type::Bool),
                None => (column, data_type),
            },
            (Type::Int4 | Type::Int8 | Type::Text | Type::Bool, 5) => (*literal(self), data_type),
            _ => (column, data_type),
        }
    }

    /// A condition over some column that expressions can compare.
    fn condition(&mut self, types: &[Type], depth: usize) -> Option<Expr> {
        if depth > 0 && self.chance(35) {
            let (left, right) = (self.condition(types, depth - 1)?, self.condition(types, depth - 1)?);
            return Some(match self.random.random_range(0..3) {
                0 => Expr::And(Box::new(left), Box::new(right)),
                1 => Expr::Or(Box::new(left), Box::new(right)),
                _ => Expr::Not(Box::new(left)),
            });
        }
        let plain = |place: &usize| matches!(types[*place], Type::Bool | Type::Int4 | Type::Int8 | Type::Text);
        let places: Vec<usize> = (0..types.len()).filter(plain).collect();
        let place = *places.choose(self.random)?;
        let data_type = types[place];
        let column = Box::new(Expr::Column(place));
        if self.chance(15) {
            return Some(Expr::IsNull(column));
        }
        let other = places.iter().find(|other| **other != place && types[**other] == data_type);
        let right = match other {
            Some(other) if self.chance(50) => Expr::Column(*other),
            _ => Expr::Literal(value(self.random, data_type), data_type),
        };
        use Comparison::{AtMost, Distinct, Equal, Less, NotEqual};
        let comparison = *[Equal, NotEqual, Less, AtMost, Distinct].choose(self.random).unwrap();
        Some(Expr::Compare(comparison, column, Box::new(right)))
    }

    fn union(&mut self, depth: usize) -> Query {
        let first = self.query(depth - 1);
        let first = self.narrow(first, 4, false);
        let types = first.types.clone();
        let mut inputs = vec![first];
        for _ in 0..self.random.random_range(1..3) {
            let other = self.query(depth - 1);
            inputs.push(self.shaped(other, &types));
        }
        Query { node: Node::Union { inputs }, types }
    }

    /// The same rows with columns of these types.
    fn shaped(&mut self, query: Query, types: &[Type]) -> Query {
        let project = types
            .iter()
            .map(|wanted| {
                let places: Vec<usize> =
                    (0..query.types.len()).filter(|place| query.types[*place] == *wanted).collect();
                match places.choose(self.random) {
                    Some(place) => Expr::Column(*place),
                    None if matches!(wanted, Type::Whole | Type::Average) => Expr::Literal(Value::Null, *wanted),
                    None => Expr::Literal(value(self.random, *wanted), *wanted),
                }
            })
            .collect();
        Query { node: Node::Map { input: Box::new(query), filters: Vec::new(), project }, types: types.to_vec() }
    }

    fn reduce(&mut self, depth: usize) -> Query {
        let input = self.query(depth - 1);
        let mut keys = Draw::exact(&input);
        keys.shuffle(self.random);
        keys.truncate(self.random.random_range(0..3));
        let mut calls = Vec::new();
        let mut types: Vec<Type> = keys.iter().map(|key| input.types[*key]).collect();
        let least = usize::from(keys.is_empty());
        for _ in 0..self.random.random_range(least..4) {
            let (call, data_type) = self.call(&input.types);
            calls.push(call);
            types.push(data_type);
        }
        Query { node: Node::Reduce { input: Box::new(input), keys, calls }, types }
    }

    fn call(&mut self, types: &[Type]) -> (Call, Type) {
        use Function::{Avg, BoolAnd, BoolOr, Count, Max, Min, Sum};
        let filters: Vec<usize> = (0..types.len()).filter(|place| types[*place] == Type::Bool).collect();
        let filter = if self.chance(35) { filters.choose(self.random).copied() } else { None };
        let place = self.random.random_range(0..types.len());
        let summed = match types[place] {
            Type::Int4 => Some(Type::Int8),
            Type::Int8 | Type::Whole => Some(Type::Whole),
            _ => None,
        };
        let lesser = if self.chance(50) { Min } else { Max };
        let (function, result) = match (self.random.random_range(0..8), types[place], summed) {
            (0, ..) => return (Call { function: Count, argument: None, distinct: false, filter }, Type::Int8),
            (1 | 2, data_type, _) if data_type.exact() => (Count, Type::Int8),
            (3, _, Some(result)) => (Sum, result),
            (4, _, Some(_)) => (Avg, Type::Average),
            (_, Type::Bool, _) => (if self.chance(50) { BoolAnd } else { BoolOr }, Type::Bool),
            (_, data_type, _) if data_type.exact() => (lesser, data_type),
            _ => return (Call { function: Count, argument: None, distinct: false, filter }, Type::Int8),
        };
        let distinct = self.chance(30);
        (Call { function, argument: Some(place), distinct, filter }, result)
    }

    fn distinct(&mut self, depth: usize) -> Query {
        let input = self.query(depth - 1);
        let input = self.narrow(input, 3, true);
        let keys = (0..input.types.len()).collect();
        let types = input.types.clone();
        Query { node: Node::Reduce { input: Box::new(input), keys, calls: Vec::new() }, types }
    }

    fn join(&mut self, depth: usize) -> Query {
        let left = self.query(depth - 1);
        let left = self.narrow(left, 4, false);
        let right = if self.chance(12) { left.clone() } else { self.query(depth - 1) };
        let right = self.narrow(right, 3, false);
        let pairs: Vec<(usize, usize)> = Draw::exact(&left)
            .into_iter()
            .flat_map(|a| Draw::exact(&right).into_iter().map(move |b| (a, b)))
            .filter(|(a, b)| left.types[*a] == right.types[*b] && left.types[*a] != Type::Bool)
            .collect();
        if pairs.is_empty() && !self.chance(10) {
            return left;
        }
        let wanted = self.random.random_range(1..3);
        let on = pairs.choose_multiple(self.random, wanted).copied().collect::<Vec<_>>();
        let on = on.into_iter().map(|(left, right)| On { left, right, nulls_equal: self.chance(25) }).collect();
        let kinds = [JoinKind::Inner, JoinKind::Left, JoinKind::Full, JoinKind::Semi, JoinKind::Anti];
        let kind = *kinds.choose(self.random).unwrap();
        let mut types = left.types.clone();
        if !matches!(kind, JoinKind::Semi | JoinKind::Anti) {
            types.extend(&right.types);
        }
        let joined = Query { node: Node::Join { left: Box::new(left), right: Box::new(right), kind, on }, types };
        if self.chance(60) { self.narrow(joined, 4, false) } else { joined }
    }

    /// All columns in some order: only equal rows are equal.
    fn order(&mut self, columns: usize) -> Vec<SortColumn> {
        let mut places: Vec<usize> = (0..columns).collect();
        places.shuffle(self.random);
        let column = |column| SortColumn {
            column,
            descending: self.random.random_bool(0.5),
            nulls_first: self.random.random_bool(0.5),
        };
        places.into_iter().map(column).collect()
    }

    fn group_keys(&mut self, columns: usize) -> Vec<usize> {
        if self.chance(60) { vec![self.random.random_range(0..columns)] } else { Vec::new() }
    }

    fn top(&mut self, depth: usize) -> Query {
        let input = self.query(depth - 1);
        let input = self.narrow(input, 4, true);
        let (types, columns) = (input.types.clone(), input.types.len());
        let (keys, order) = (self.group_keys(columns), self.order(columns));
        let offset = if self.chance(40) { self.random.random_range(1..4) } else { 0 };
        let limit = if offset > 0 && self.chance(30) { None } else { Some(self.random.random_range(0..5)) };
        Query { node: Node::Top { input: Box::new(input), keys, order, offset, limit }, types }
    }

    fn apply(&mut self, depth: usize) -> Query {
        let input = self.query(depth - 1);
        let input = self.narrow(input, 4, true);
        let columns = input.types.len();
        let (keys, order) = (self.group_keys(columns), self.order(columns));
        use GroupFunction::{Before, Count, Listed, Number};
        let function = *[Number, Count, Before, Listed].choose(self.random).unwrap();
        let passed: Vec<usize> = if function.aggregates() { keys.clone() } else { (0..columns).collect() };
        let argument = self.random.random_range(0..columns);
        let mut types: Vec<Type> = passed.iter().map(|place| input.types[*place]).collect();
        types.push(function.result(input.types[argument]));
        Query { node: Node::Apply { input: Box::new(input), keys, order, passed, argument, function }, types }
    }
}
