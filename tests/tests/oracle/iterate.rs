//! Random recursion and sets: WITH RECURSIVE over relations, generate_series and unnest beside them.

use rand::Rng;
use rand::seq::IndexedRandom;

use super::sql::{Col, Rel, Select, Writer};
use super::value::{KINDS, Kind};

impl Writer<'_> {
    /// What can be reached from some values over a relation's pairs, in any number of steps or in
    /// few; `None` if no relation has such pairs.
    pub(crate) fn recursive(&mut self) -> Option<Select> {
        let narrow: Vec<Rel> = self.relations.iter().filter(|relation| !relation.wide).cloned().collect();
        let (first, pairs) = (narrow.choose(self.random)?.clone(), narrow.choose(self.random)?.clone());
        let start = self.exact_of(&first.cols, &KINDS)?;
        let (from, to) = (self.exact_of(&pairs.cols, &[start.kind])?, self.exact_of(&pairs.cols, &[start.kind])?);
        self.count("WITH RECURSIVE");
        let few = self.random.random_bool(0.4);
        let (table, steps) = (format!("w{}", self.names), self.random.random_range(1..4));
        self.names += 1;
        let (column, one_more, condition) = match few {
            true => (", 0", format!(", {table}.c1 + 1"), format!(" AND {table}.c1 < {steps}")),
            false => ("", String::new(), String::new()),
        };
        // Both terms in one type: PostgreSQL wants the same modifier, too.
        let cast = if start.kind == Kind::Numeric { "::numeric" } else { "" };
        let names = if few { "c0, c1" } else { "c0" };
        let step = if few && self.random.random_bool(0.3) {
            self.count("WITH RECURSIVE in a recursive term");
            // A recursion of its own from what the outer one has reached.
            let inner = format!("i{}", self.names);
            format!(
                "SELECT q.m, q.d + 1 FROM (WITH RECURSIVE {inner}(m, k, d) AS (SELECT c0, 0, c1 FROM {table} WHERE c1 < {steps} \
                 UNION SELECT e.{}{cast}, k + 1, d FROM {inner} JOIN ⟦{}⟧ AS e ON e.{} = m AND k < 2) SELECT m, d FROM {inner}) AS q",
                to.name, pairs.name, from.name
            )
        } else {
            format!(
                "SELECT e.{}{cast}{one_more} FROM {table} JOIN ⟦{}⟧ AS e ON e.{} = {table}.c0{condition}",
                to.name, pairs.name, from.name
            )
        };
        let text = format!(
            "WITH RECURSIVE {table}({names}) AS (SELECT s.{}{cast}{column} FROM ⟦{}⟧ AS s UNION {step}) SELECT {names} FROM {table}",
            start.name, first.name
        );
        let mut cols = vec![Col { name: "c0".into(), kind: start.kind, exact: true }];
        if few {
            cols.push(Col { name: "c1".into(), kind: Kind::Int4, exact: true });
        }
        Some((text, cols))
    }

    /// A relation beside a set that each of its rows makes; `None` if it has no column for that.
    pub(crate) fn with_set(&mut self) -> Option<(String, Vec<Col>)> {
        let relation = self.relations.choose(self.random)?.clone();
        self.names += 1;
        let (alias, set) = (format!("r{}", self.names), format!("g{}", self.names));
        let name = |col: &Col| Col { name: format!("{alias}.{}", col.name), ..col.clone() };
        let mut cols: Vec<Col> = relation.cols.iter().map(name).collect();
        let own = format!("{set}.v");
        let (call, kind) = if self.random.random_bool(0.5) {
            let col = self.exact_of(&cols, &[Kind::Int2, Kind::Int4])?;
            self.count("generate_series");
            (format!("generate_series(1, {} % 4)", col.name), Kind::Int4)
        } else {
            let one = self.exact_of(&cols, &KINDS)?;
            let other = self.exact_of(&cols, &[one.kind])?;
            self.count("unnest");
            (format!("unnest(ARRAY[{}, {}])", one.name, other.name), one.kind)
        };
        cols.push(Col { name: own, kind, exact: true });
        Some((format!("⟦{}⟧ AS {alias}, {call} AS {set}(v)", relation.name), cols))
    }
}
