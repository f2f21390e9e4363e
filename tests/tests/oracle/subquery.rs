//! Random subqueries: conditions and values that ask another relation, mostly about the row at hand.

use rand::Rng;
use rand::seq::IndexedRandom;

use super::sql::{Col, Rel, Writer};
use super::value::{KINDS, Kind};

/// Another relation inside a subquery, and what it is asked.
struct Inner {
    from: String,
    cols: Vec<Col>,
    condition: String,
}

impl Writer<'_> {
    /// A condition with a subquery; `None` if nothing fits.
    pub(crate) fn subquery_condition(&mut self, cols: &[Col]) -> Option<String> {
        self.spend()?;
        let inner = self.inner(cols)?;
        let Inner { from, condition, .. } = &inner;
        let draw = self.random.random_range(0..8);
        if draw <= 1 {
            let not = if self.random.random_bool(0.5) { "NOT " } else { "" };
            self.count("EXISTS");
            return Some(format!("{not}EXISTS (SELECT 1 FROM {from}{condition})"));
        }
        if draw == 2 {
            let (value, kind) = self.aggregate_of(&inner)?;
            let operator = self.operator();
            let literal = kind.literal(self.random);
            self.count("scalar subquery in WHERE");
            return Some(format!("(SELECT {value} FROM {from}{condition}) {operator} {literal}"));
        }
        let (outer, asked) = self.alike(cols, &inner.cols)?;
        let asked = format!("(SELECT {} FROM {from}{condition})", asked.name);
        let outer = outer.name;
        Some(match draw {
            3 => {
                self.count("IN with a subquery");
                format!("{outer} IN {asked}")
            }
            4 | 5 => {
                self.count("NOT IN with a subquery");
                format!("{outer} NOT IN {asked}")
            }
            6 => {
                self.count("OR with a subquery");
                format!("({outer} IN {asked} OR {outer} IS NULL)")
            }
            _ => {
                let quantifier = if self.random.random_bool(0.5) { "ANY" } else { "ALL" };
                self.count("ANY, ALL");
                format!("{outer} {} {quantifier} {asked}", self.operator())
            }
        })
    }

    /// A value of a subquery, and its type.
    pub(crate) fn subquery_value(&mut self, cols: &[Col]) -> Option<(String, Kind)> {
        self.spend()?;
        let inner = self.inner(cols)?;
        let Inner { from, condition, .. } = &inner;
        Some(match self.random.random_range(0..6) {
            0..=2 => {
                let (value, kind) = self.aggregate_of(&inner)?;
                self.count("scalar subquery");
                (format!("(SELECT {value} FROM {from}{condition})"), kind)
            }
            3 => {
                self.count("EXISTS as a value");
                (format!("EXISTS (SELECT 1 FROM {from}{condition})"), Kind::Bool)
            }
            4 => {
                let (outer, asked) = self.alike(cols, &inner.cols)?;
                self.count("IN as a value");
                (format!("({} IN (SELECT {} FROM {from}{condition}))", outer.name, asked.name), Kind::Bool)
            }
            _ => {
                let Col { name, kind, .. } = self.exact_of(&inner.cols, &KINDS)?;
                self.count("scalar subquery with LIMIT");
                (format!("(SELECT {name} FROM {from}{condition} ORDER BY {name} DESC LIMIT 1)"), kind)
            }
        })
    }

    /// One is enough, and not beside a join: rows times rows.
    fn spend(&mut self) -> Option<()> {
        (!std::mem::replace(&mut self.joined, true)).then_some(())
    }

    /// A relation for a subquery, with what ties it to the row at hand.
    fn inner(&mut self, cols: &[Col]) -> Option<Inner> {
        let narrow: Vec<&Rel> = self.relations.iter().filter(|relation| !relation.wide).collect();
        let relation = (*narrow.choose(self.random)?).clone();
        self.names += 1;
        let alias = format!("q{}", self.names);
        let name = |col: &Col| Col { name: format!("{alias}.{}", col.name), ..col.clone() };
        let inner: Vec<Col> = relation.cols.iter().map(name).collect();
        let mut conditions = Vec::new();
        for _ in 0..self.random.random_range(0..3) {
            let Some((outer, own)) = self.alike(cols, &inner) else { continue };
            let operator = match self.random.random_range(0..10) {
                0..=6 => "=",
                7 => "IS NOT DISTINCT FROM",
                8 => "<",
                _ => "<>",
            };
            self.count(if operator == "=" { "correlated by =" } else { "correlated otherwise" });
            conditions.push(format!("{} {operator} {}", own.name, outer.name));
        }
        if self.random.random_bool(0.3)
            && let Some(own) = self.exact_of(&inner, &KINDS)
        {
            conditions.push(format!("{} {} {}", own.name, self.operator(), own.kind.literal(self.random)));
        }
        let condition = match conditions.is_empty() {
            true => String::new(),
            false => format!(" WHERE {}", conditions.join(" AND ")),
        };
        Some(Inner { from: format!("⟦{}⟧ AS {alias}", relation.name), cols: inner, condition })
    }

    /// A column of the row at hand that the subquery can name, and one of its own of that type.
    fn alike(&mut self, outer: &[Col], inner: &[Col]) -> Option<(Col, Col)> {
        let qualified: Vec<Col> = outer.iter().filter(|col| col.name.contains('.')).cloned().collect();
        let outer = self.exact_of(&qualified, &KINDS)?;
        let inner = self.exact_of(inner, &[outer.kind])?;
        Some((outer, inner))
    }

    fn aggregate_of(&mut self, inner: &Inner) -> Option<(String, Kind)> {
        let summed = self.exact_of(&inner.cols, &[Kind::Int2, Kind::Int4]);
        let least = self.exact_of(&inner.cols, &KINDS[1..]);
        Some(match (self.random.random_range(0..4), summed, least) {
            (0, Some(col), _) => (format!("sum({})", col.name), Kind::Int8),
            (1 | 2, _, Some(col)) => (format!("max({})", col.name), col.kind),
            (3, _, Some(col)) => (format!("count({}) + 1", col.name), Kind::Int8),
            _ => ("count(*)".to_string(), Kind::Int8),
        })
    }

    fn operator(&mut self) -> &'static str {
        ["=", "<>", "<", "<=", ">", ">="].choose(self.random).copied().unwrap_or("=")
    }
}
