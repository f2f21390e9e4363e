//! Random SELECTs over the grammar that views take, each as a template.
//!
//! A relation in FROM stands as `⟦name⟧`: a view's definition names it, the reference puts the
//! relation's own definition there. Knows the type of every expression it writes, so that what it
//! makes is accepted; only hostile columns, and divisions now and then, fail on rows.

use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};

use super::value::{KINDS, Kind};

/// A column that can be referred to.
#[derive(Debug, Clone)]
pub(crate) struct Col {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Whether its value is the same whatever order rows are added in (not an average of floats):
    /// only then it may decide anything.
    pub(crate) exact: bool,
}

/// A relation that FROM may name.
#[derive(Debug, Clone)]
pub(crate) struct Rel {
    pub(crate) name: String,
    pub(crate) cols: Vec<Col>,
    /// Not to be joined any more.
    pub(crate) wide: bool,
}

/// Draws SELECTs.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    pub(crate) random: &'a mut StdRng,
    pub(crate) relations: &'a [Rel],
    /// Names given so far.
    pub(crate) names: usize,
    /// How often each construct was used.
    pub(crate) used: &'a mut BTreeMap<&'static str, usize>,
    /// Whether the query has its join: one is enough, or its rows would be too many.
    pub(crate) joined: bool,
    /// What the WHERE of the SELECT being written must hold: the condition of a comma in FROM.
    pub(crate) pending: Option<String>,
}

/// A SELECT and its columns.
pub(crate) type Select = (String, Vec<Col>);

impl Writer<'_> {
    fn name(&mut self, prefix: &str) -> String {
        self.names += 1;
        format!("{prefix}{}", self.names)
    }

    pub(crate) fn count(&mut self, construct: &'static str) {
        *self.used.entry(construct).or_insert(0) += 1;
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    /// A change of a table that no value makes fail.
    pub(crate) fn change(&mut self, table: &str, cols: &[Col]) -> String {
        let condition = if self.chance(90) { self.comparison(cols) } else { "true".to_string() };
        match self.random.random_range(0..10) {
            0..=3 => {
                self.count("DELETE");
                format!("DELETE FROM {table} WHERE {condition}")
            }
            4 if self.chance(20) => {
                self.count("TRUNCATE");
                format!("TRUNCATE {table}")
            }
            _ => {
                self.count("UPDATE");
                let count = self.random.random_range(1..4);
                let chosen: Vec<Col> = cols.choose_multiple(self.random, count).cloned().collect();
                let sets: Vec<String> =
                    chosen.iter().map(|col| format!("{} = {}", col.name, col.kind.literal(self.random))).collect();
                format!("UPDATE {table} SET {} WHERE {condition}", sets.join(", "))
            }
        }
    }

    /// A whole query.
    pub(crate) fn query(&mut self, depth: usize) -> Select {
        if self.chance(8)
            && let Some(select) = self.recursive()
        {
            return select;
        }
        match self.random.random_range(0..10) {
            0 | 1 if depth > 0 => self.union(depth),
            2 if depth > 0 => self.with(depth),
            3 if depth > 0 => self.limited(depth),
            4 => self.windowed(depth),
            5..=6 => self.grouped(depth),
            7 => self.global(depth),
            _ => self.plain(depth, None),
        }
    }

    /// The first rows of a query, in an order that leaves open only which of equal rows come.
    fn limited(&mut self, depth: usize) -> Select {
        let (inner, cols) = self.query(depth - 1);
        if !cols.iter().all(|col| col.exact) {
            return (inner, cols);
        }
        self.count("LIMIT");
        let alias = self.name("r");
        let mut keys: Vec<String> = (1..=cols.len()).map(|place| place.to_string()).collect();
        keys.shuffle(self.random);
        for key in &mut keys {
            let turn = ["", " DESC", " NULLS FIRST", " DESC NULLS LAST"].choose(self.random).unwrap();
            key.push_str(turn);
        }
        let limit = self.random.random_range(0..20);
        let offset =
            if self.chance(30) { format!(" OFFSET {}", self.random.random_range(0..10)) } else { String::new() };
        let names: Vec<&str> = cols.iter().map(|col| col.name.as_str()).collect();
        let (names, keys) = (names.join(", "), keys.join(", "));
        (format!("SELECT {names} FROM ({inner}) AS {alias} ORDER BY {keys} LIMIT {limit}{offset}"), cols)
    }

    /// Window functions; equal rows are told apart by none of them.
    fn windowed(&mut self, depth: usize) -> Select {
        let (from, cols) = self.from(depth);
        let condition = self.where_clause(&cols);
        let exact: Vec<Col> = cols.iter().filter(|col| col.exact).cloned().collect();
        let mut items = Vec::new();
        let mut out = Vec::new();
        let mut shown = Vec::new();
        for place in 0..self.random.random_range(1..4) {
            let Some(col) = exact.choose(self.random).cloned() else { break };
            items.push(format!("{} AS c{place}", col.name));
            out.push(Col { name: format!("c{place}"), kind: col.kind, exact: true });
            shown.push(col);
        }
        if shown.is_empty() {
            return (
                format!("SELECT 1 AS c0 FROM {from}{condition}"),
                vec![Col { name: "c0".into(), kind: Kind::Int4, exact: true }],
            );
        }
        // Two of those that tell equal rows apart could pair their results in any way.
        let mut apart = false;
        for _ in 0..self.random.random_range(1..3) {
            let name = format!("c{}", out.len());
            let partition = match shown.choose(self.random) {
                Some(col) if self.random.random_bool(0.8) => format!("PARTITION BY {} ", col.name),
                _ => String::new(),
            };
            let mut order: Vec<String> = shown.iter().map(|col| col.name.clone()).collect();
            order.shuffle(self.random);
            if self.chance(30) {
                order[0].push_str(" DESC");
            }
            let order = format!("ORDER BY {}", order.join(", "));
            let col = shown.choose(self.random).cloned().unwrap_or_else(|| shown[0].clone());
            let summed = shown.iter().find(|col| matches!(col.kind, Kind::Int2 | Kind::Int4));
            let draw = if apart { self.random.random_range(0..5) } else { self.random.random_range(0..9) };
            apart |= draw >= 5;
            let (call, over, kind) = match (draw, summed) {
                (0, _) => ("rank()".to_string(), order, Kind::Int8),
                (1, _) => ("dense_rank()".to_string(), order, Kind::Int8),
                (2, _) => ("count(*)".to_string(), String::new(), Kind::Int8),
                (3, Some(summed)) => (format!("sum({})", summed.name), order, Kind::Int8),
                (3, None) => ("count(*)".to_string(), order, Kind::Int8),
                (4, _) => (format!("first_value({})", col.name), order, col.kind),
                (5, _) => ("row_number()".to_string(), order, Kind::Int8),
                (6, _) => (format!("lag({})", col.name), order, col.kind),
                (7, _) => (format!("lead({}, 2)", col.name), order, col.kind),
                (_, Some(summed)) => (
                    format!("sum({})", summed.name),
                    format!("{order} ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING"),
                    Kind::Int8,
                ),
                (_, None) => ("row_number()".to_string(), order, Kind::Int8),
            };
            self.count("window function");
            items.push(format!("{call} OVER ({partition}{over}) AS {name}"));
            out.push(Col { name, kind, exact: true });
        }
        (format!("SELECT {} FROM {from}{condition}", items.join(", ")), out)
    }

    fn with(&mut self, depth: usize) -> Select {
        self.count("WITH");
        let name = self.name("w");
        let (inner, cols) = self.query(depth - 1);
        let alias = self.name("r");
        let from = (format!("{name} AS {alias}"), self.visible(&alias, &cols));
        let (body, cols) = if self.chance(50) { self.grouped_over(from) } else { self.plain_over(from, None) };
        (format!("WITH {name} AS ({inner}) {body}"), cols)
    }

    fn union(&mut self, depth: usize) -> Select {
        let kinds: Vec<Kind> = (0..self.random.random_range(1..4)).map(|_| self.kind()).collect();
        let sides = self.random.random_range(2..4);
        let (operator, construct) = match self.random.random_range(0..10) {
            0..=4 => (" UNION ALL ", "UNION ALL"),
            5 => (" UNION ", "UNION"),
            6 => (" INTERSECT ", "INTERSECT"),
            7 => (" EXCEPT ", "EXCEPT"),
            8 => (" INTERSECT ALL ", "INTERSECT ALL"),
            _ => (" EXCEPT ALL ", "EXCEPT ALL"),
        };
        self.count(construct);
        let mut parts = Vec::new();
        let mut cols = Vec::new();
        for side in 0..sides {
            let (part, of_part) = self.plain(depth - 1, Some(&kinds));
            parts.push(part);
            if side == 0 {
                cols = of_part;
            }
        }
        (parts.join(operator), cols)
    }

    fn kind(&mut self) -> Kind {
        *KINDS.choose(self.random).unwrap()
    }

    /// What FROM names, and its columns as they are written.
    fn from(&mut self, depth: usize) -> (String, Vec<Col>) {
        if !self.joined && self.chance(35) {
            return self.join();
        }
        if !self.joined
            && self.chance(10)
            && let Some(from) = self.with_set()
        {
            self.joined = true;
            return from;
        }
        if depth > 0 && self.chance(30) {
            self.count("sub-SELECT in FROM");
            let (inner, cols) = self.query(depth - 1);
            let alias = self.name("r");
            return (format!("({inner}) AS {alias}"), self.visible(&alias, &cols));
        }
        // Later relations are views, whose rows may go again: prefer them.
        let last = self.relations.len();
        let place =
            if self.chance(60) { self.random.random_range(last / 2..last) } else { self.random.random_range(0..last) };
        let relation = self.relations[place].clone();
        let alias = self.name("r");
        (format!("⟦{}⟧ AS {alias}", relation.name), self.visible(&alias, &relation.cols))
    }

    /// Two relations joined on some columns of equal type, sometimes with a further condition.
    fn join(&mut self) -> (String, Vec<Col>) {
        self.joined = true;
        let narrow: Vec<Rel> = self.relations.iter().filter(|relation| !relation.wide).cloned().collect();
        let mut side = || {
            let relation = narrow.choose(self.random).cloned().unwrap_or_else(|| self.relations[0].clone());
            self.names += 1;
            let alias = format!("r{}", self.names);
            let name = |col: &Col| Col { name: format!("{alias}.{}", col.name), ..col.clone() };
            let cols: Vec<Col> = relation.cols.iter().map(name).collect();
            (format!("⟦{}⟧ AS {alias}", relation.name), cols)
        };
        let ((left, left_cols), (right, right_cols)) = (side(), side());
        let mut conditions = Vec::new();
        for _ in 0..self.random.random_range(1..4) {
            let Some(one) = self.exact_of(&left_cols, &KINDS) else { continue };
            let Some(other) = self.exact_of(&right_cols, &[one.kind]) else { continue };
            let operator = if self.chance(10) { "IS NOT DISTINCT FROM" } else { "=" };
            conditions.push(format!("{} {operator} {}", one.name, other.name));
        }
        let cols = [left_cols, right_cols].concat();
        let full = conditions.iter().any(|condition| condition.contains(" = "));
        if conditions.is_empty() {
            conditions.push(self.comparison(&cols));
        }
        if self.chance(25) {
            self.count("join with a further condition");
            conditions.push(self.comparison(&cols));
        }
        let on = conditions.join(" AND ");
        let (word, construct) = match self.random.random_range(0..6) {
            0 | 1 => ("JOIN", "JOIN"),
            2 => ("LEFT JOIN", "LEFT JOIN"),
            3 => ("RIGHT JOIN", "RIGHT JOIN"),
            // PostgreSQL wants a full join to have an equality.
            4 if full => ("FULL JOIN", "FULL JOIN"),
            _ => {
                self.count("comma in FROM");
                self.pending = Some(on);
                return (format!("{left}, {right}"), cols);
            }
        };
        self.count(construct);
        (format!("{left} {word} {right} ON {on}"), cols)
    }

    fn visible(&mut self, alias: &str, cols: &[Col]) -> Vec<Col> {
        let qualified = self.chance(50);
        let name = |col: &Col| if qualified { format!("{alias}.{}", col.name) } else { col.name.clone() };
        cols.iter().map(|col| Col { name: name(col), ..col.clone() }).collect()
    }

    fn where_clause(&mut self, cols: &[Col]) -> String {
        let mut joined = self.pending.take();
        if self.chance(30)
            && let Some(condition) = self.subquery_condition(cols)
        {
            joined = Some(joined.map_or_else(|| condition.clone(), |joined| format!("{joined} AND {condition}")));
        }
        if !self.chance(45) {
            return joined.map_or_else(String::new, |joined| format!(" WHERE {joined}"));
        }
        self.count("WHERE");
        let condition = self.expr(Kind::Bool, cols, 2);
        match joined {
            Some(joined) => format!(" WHERE {joined} AND {condition}"),
            None => format!(" WHERE {condition}"),
        }
    }

    fn plain(&mut self, depth: usize, kinds: Option<&[Kind]>) -> Select {
        let from = self.from(depth);
        self.plain_over(from, kinds)
    }

    fn plain_over(&mut self, (from, cols): (String, Vec<Col>), kinds: Option<&[Kind]>) -> Select {
        let condition = self.where_clause(&cols);
        let distinct = kinds.is_none() && self.chance(30);
        if distinct {
            self.count("SELECT DISTINCT");
        }
        let mut items = Vec::new();
        let mut out = Vec::new();
        let wanted = kinds.map_or_else(|| self.random.random_range(1..5), <[Kind]>::len);
        for place in 0..wanted {
            let name = format!("c{place}");
            if kinds.is_none()
                && !distinct
                && self.chance(12)
                && let Some((text, kind)) = self.subquery_value(&cols)
            {
                items.push(format!("{text} AS {name}"));
                out.push(Col { name, kind, exact: true });
                continue;
            }
            let passed = if kinds.is_none() && self.chance(60) { cols.choose(self.random).cloned() } else { None };
            let (text, kind, exact) = match passed.filter(|col| col.exact || !distinct) {
                Some(col) => (col.name, col.kind, col.exact),
                None => {
                    let kind = kinds.map_or_else(|| self.kind(), |kinds| kinds[place]);
                    (self.expr(kind, &cols, 2), kind, true)
                }
            };
            items.push(format!("{text} AS {name}"));
            out.push(Col { name, kind, exact });
        }
        let distinct = if distinct { "DISTINCT " } else { "" };
        self.count("SELECT");
        (format!("SELECT {distinct}{} FROM {from}{condition}", items.join(", ")), out)
    }

    fn grouped(&mut self, depth: usize) -> Select {
        let from = self.from(depth);
        self.grouped_over(from)
    }

    fn grouped_over(&mut self, (from, cols): (String, Vec<Col>)) -> Select {
        self.count("GROUP BY");
        let condition = self.where_clause(&cols);
        let mut items = Vec::new();
        let mut out = Vec::new();
        let mut keys = Vec::new();
        for place in 0..self.random.random_range(1..4) {
            let name = format!("c{place}");
            let exact: Vec<Col> = cols.iter().filter(|col| col.exact).cloned().collect();
            let (text, kind) = match exact.choose(self.random).cloned() {
                Some(col) if self.chance(75) => (col.name, col.kind),
                _ => {
                    let kind = self.kind();
                    // A key that is a constant must not look like a position.
                    (format!("coalesce({}, {})", self.expr(kind, &cols, 1), kind.literal(self.random)), kind)
                }
            };
            keys.push(if self.chance(50) { text.clone() } else { (place + 1).to_string() });
            items.push(format!("{text} AS {name}"));
            out.push(Col { name, kind, exact: true });
        }
        for _ in 0..self.random.random_range(0..4) {
            let name = format!("c{}", out.len());
            let (text, kind, exact) = self.aggregate(&cols);
            items.push(format!("{text} AS {name}"));
            out.push(Col { name, kind, exact });
        }
        let having = self.having(&cols);
        let keys = keys.join(", ");
        (format!("SELECT {} FROM {from}{condition} GROUP BY {keys}{having}", items.join(", ")), out)
    }

    fn global(&mut self, depth: usize) -> Select {
        self.count("global aggregate");
        let (from, cols) = self.from(depth);
        let condition = self.where_clause(&cols);
        let mut items = Vec::new();
        let mut out = Vec::new();
        for place in 0..self.random.random_range(1..5) {
            let name = format!("c{place}");
            let (text, kind, exact) = self.aggregate(&cols);
            items.push(format!("{text} AS {name}"));
            out.push(Col { name, kind, exact });
        }
        let having = self.having(&cols);
        (format!("SELECT {} FROM {from}{condition}{having}", items.join(", ")), out)
    }

    fn having(&mut self, cols: &[Col]) -> String {
        if !self.chance(25) {
            return String::new();
        }
        self.count("HAVING");
        let aggregate = loop {
            let (text, kind, exact) = self.aggregate(cols);
            if exact {
                break Col { name: text, kind, exact };
            }
        };
        format!(" HAVING {}", self.comparison(&[aggregate]))
    }

    pub(crate) fn exact_of(&mut self, cols: &[Col], kinds: &[Kind]) -> Option<Col> {
        let fitting: Vec<&Col> = cols.iter().filter(|col| col.exact && kinds.contains(&col.kind)).collect();
        fitting.choose(self.random).map(|col| (*col).clone())
    }

    /// An aggregate call, its type, and whether it is exact.
    fn aggregate(&mut self, cols: &[Col]) -> (String, Kind, bool) {
        const SUMMED: [Kind; 5] = [Kind::Int2, Kind::Int4, Kind::Int8, Kind::Float8, Kind::Numeric];
        let distinct = self.chance(25);
        let word = if distinct { "DISTINCT " } else { "" };
        let (text, kind, exact, name) = match self.random.random_range(0..10) {
            0 | 1 => ("count(*)".to_string(), Kind::Int8, true, "count(*)"),
            2 | 3 => {
                let kind = self.kind();
                let argument = self.expr(kind, cols, 1);
                (
                    format!("count({word}{argument})"),
                    Kind::Int8,
                    true,
                    if distinct { "count(DISTINCT)" } else { "count" },
                )
            }
            4 | 5 => {
                let kind = *SUMMED.choose(self.random).unwrap();
                let argument = self.expr(kind, cols, 1);
                let result = match kind {
                    Kind::Int2 | Kind::Int4 => Kind::Int8,
                    Kind::Int8 => Kind::Numeric,
                    other => other,
                };
                (format!("sum({word}{argument})"), result, true, if distinct { "sum(DISTINCT)" } else { "sum" })
            }
            6 => {
                let kind = *SUMMED.choose(self.random).unwrap();
                let argument = self.expr(kind, cols, 1);
                let float = kind == Kind::Float8;
                let result = if float { Kind::Float8 } else { Kind::Numeric };
                (format!("avg({word}{argument})"), result, !float, if distinct { "avg(DISTINCT)" } else { "avg" })
            }
            7 => {
                let kind = *KINDS[1..].choose(self.random).unwrap();
                let name = if self.chance(50) { "min" } else { "max" };
                let argument = self.expr(kind, cols, 1);
                (format!("{name}({word}{argument})"), kind, true, name)
            }
            8 => {
                let kind = *[Kind::Int4, Kind::Text, Kind::Int8].choose(self.random).unwrap();
                let argument = self.expr(kind, cols, 1);
                if self.chance(30) {
                    let pair = format!("ARRAY[{argument}, {argument}]");
                    self.count("array_agg of arrays");
                    return (format!("array_agg({word}{pair} ORDER BY {pair})::text"), Kind::Text, true);
                }
                let list = format!("array_agg({word}{argument} ORDER BY {argument})");
                self.count("array_agg");
                return (format!("array_to_string({list}, ',', '-')"), Kind::Text, true);
            }
            _ => {
                let name = if self.chance(50) { "bool_and" } else { "bool_or" };
                let argument = self.expr(Kind::Bool, cols, 1);
                (format!("{name}({word}{argument})"), Kind::Bool, true, name)
            }
        };
        self.count(name);
        if self.chance(30) {
            self.count("FILTER");
            let condition = self.expr(Kind::Bool, cols, 1);
            return (format!("{text} FILTER (WHERE {condition})"), kind, exact);
        }
        (text, kind, exact)
    }

    /// An expression of exactly this type.
    pub(crate) fn expr(&mut self, kind: Kind, cols: &[Col], depth: usize) -> String {
        if depth == 0 || self.chance(40) {
            return match self.exact_of(cols, &[kind]) {
                Some(col) => col.name,
                None if depth > 0 => self.call(kind, cols, depth),
                None => kind.literal(self.random),
            };
        }
        match self.random.random_range(0..8) {
            0 => {
                self.count("CASE");
                let condition = self.expr(Kind::Bool, cols, depth - 1);
                let (yes, no) = (self.expr(kind, cols, depth - 1), self.expr(kind, cols, depth - 1));
                format!("CASE WHEN {condition} THEN {yes} ELSE {no} END")
            }
            1 => {
                self.count("coalesce");
                format!("coalesce({}, {})", self.expr(kind, cols, depth - 1), kind.literal(self.random))
            }
            2 => {
                self.count("nullif");
                format!("nullif({}, {})", self.expr(kind, cols, depth - 1), kind.literal(self.random))
            }
            _ => self.call(kind, cols, depth),
        }
    }

    fn call(&mut self, kind: Kind, cols: &[Col], depth: usize) -> String {
        let depth = depth - 1;
        let draw = self.random.random_range(0..6);
        match (kind, draw) {
            (Kind::Bool, 0) => format!("({} AND {})", self.expr(kind, cols, depth), self.expr(kind, cols, depth)),
            (Kind::Bool, 1) => format!("({} OR {})", self.expr(kind, cols, depth), self.expr(kind, cols, depth)),
            (Kind::Bool, 2) => format!("(NOT {})", self.expr(kind, cols, depth)),
            (Kind::Bool, 3) => {
                let of = self.kind();
                let not = if self.chance(50) { "NOT " } else { "" };
                format!("({} IS {not}NULL)", self.expr(of, cols, depth))
            }
            (Kind::Bool, _) => self.comparison(cols),
            (Kind::Int2, _) => format!("({})::smallint", Kind::Int2.literal(self.random)),
            (Kind::Int4, 0) => format!("length({})", self.expr(Kind::Text, cols, depth)),
            (Kind::Int4, 1) => format!("({} % 3)", self.expr(kind, cols, depth)),
            (Kind::Int4, 2) => format!("({} + {})", self.expr(Kind::Int2, cols, depth), kind.literal(self.random)),
            (Kind::Int4 | Kind::Int8 | Kind::Numeric, 3) if self.chance(25) => {
                self.count("division");
                let (above, below) = (self.expr(kind, cols, depth), self.expr(kind, cols, depth));
                if self.chance(8) { format!("({above} / {below})") } else { format!("({above} / nullif({below}, 0))") }
            }
            (Kind::Int4 | Kind::Int8 | Kind::Numeric | Kind::Float8, 4) => {
                format!("({} - {})", self.expr(kind, cols, depth), self.expr(kind, cols, depth))
            }
            (Kind::Int8, 0 | 1) => format!("{}::bigint", self.parenthesized(Kind::Int4, cols, depth)),
            (Kind::Int8, 2) => format!("({} + {})", self.expr(kind, cols, depth), self.expr(Kind::Int4, cols, depth)),
            (Kind::Float8, 0) => format!("{}::double precision", self.parenthesized(Kind::Int4, cols, depth)),
            (Kind::Numeric, 0) => format!("{}::numeric", self.parenthesized(Kind::Int8, cols, depth)),
            (Kind::Numeric, 1) => format!("round({}, 1)", self.expr(kind, cols, depth)),
            (Kind::Numeric, 2) => format!("({} * {})", self.expr(kind, cols, depth), kind.literal(self.random)),
            (Kind::Int4 | Kind::Int8 | Kind::Numeric | Kind::Float8, _) => {
                format!("abs({})", self.expr(kind, cols, depth))
            }
            (Kind::Text, 0 | 1) => format!("({} || {})", self.expr(kind, cols, depth), self.expr(kind, cols, depth)),
            (Kind::Text, 2) => format!("upper({})", self.expr(kind, cols, depth)),
            (Kind::Text, 3) => format!("{}::text", self.parenthesized(Kind::Int8, cols, depth)),
            (Kind::Text, _) => format!("lower({})", self.expr(kind, cols, depth)),
            (Kind::Date, 0 | 1) => format!("{}::date", self.parenthesized(Kind::Timestamptz, cols, depth)),
            (Kind::Date, _) => format!("({} + 1)", self.literal_or_column(kind, cols)),
            (Kind::Timestamptz, 0 | 1) => format!("date_trunc('hour', {})", self.expr(kind, cols, depth)),
            (Kind::Timestamptz, _) => format!("({} - interval '1 day')", self.literal_or_column(kind, cols)),
        }
    }

    fn parenthesized(&mut self, kind: Kind, cols: &[Col], depth: usize) -> String {
        format!("({})", self.expr(kind, cols, depth))
    }

    fn literal_or_column(&mut self, kind: Kind, cols: &[Col]) -> String {
        self.expr(kind, cols, 0)
    }

    /// A predicate over some column.
    fn comparison(&mut self, cols: &[Col]) -> String {
        let col = self.exact_of(cols, &KINDS);
        let kind = col.as_ref().map_or_else(|| self.kind(), |col| col.kind);
        let left = col.map_or_else(|| kind.literal(self.random), |col| col.name);
        let right = if self.chance(70) { kind.literal(self.random) } else { self.expr(kind, cols, 0) };
        match self.random.random_range(0..8) {
            0 => {
                self.count("IS DISTINCT FROM");
                format!("({left} IS DISTINCT FROM {right})")
            }
            1 => {
                self.count("IN");
                format!("({left} IN ({right}, {}))", kind.literal(self.random))
            }
            2 => {
                self.count("BETWEEN");
                format!("({left} BETWEEN {right} AND {})", kind.literal(self.random))
            }
            3 if kind == Kind::Text => {
                self.count("LIKE");
                format!("({left} LIKE '%a%')")
            }
            _ => {
                let operator = ["=", "<>", "<", "<=", ">", ">="].choose(self.random).unwrap();
                format!("({left} {operator} {right})")
            }
        }
    }
}
