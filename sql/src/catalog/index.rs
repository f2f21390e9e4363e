//! Indexes that are no constraint's.
//!
//! A unique one is a key of its relation, in the engine. All else that one says (expressions, some rows
//! only, its method) is kept and shown, and has no effect.

use serde::{Deserialize, Serialize};
use thalweg_dataflow::source::Column;

use crate::statement::definition::quoted;

/// The methods that an index may name, each with its oid in `pg_am`.
const METHODS: [(&str, i32); 4] = [("btree", BTREE), ("hash", 405), ("gin", 2742), ("brin", 3580)];

/// The oid of btree.
pub(crate) const BTREE: i32 = 403;

/// An index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Index {
    /// Its oid.
    pub(crate) oid: u32,
    /// Its name.
    pub(crate) name: String,
    /// CREATE UNIQUE INDEX.
    pub(crate) unique: bool,
    /// The place of each of its columns, and behind it ` DESC` and the like.
    pub(crate) columns: Vec<(usize, String)>,
    /// What it has besides.
    #[serde(default, skip_serializing_if = "Extras::is_none")]
    pub(crate) extras: Extras,
}

/// What an index has that changes nothing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Extras {
    /// USING; `None`: btree.
    pub(crate) method: Option<String>,
    /// The expressions among its keys, in their order.
    pub(crate) expressions: Vec<IndexExpression>,
    /// INCLUDE.
    pub(crate) included: Vec<usize>,
    /// WHERE.
    pub(crate) predicate: Option<String>,
}

/// An expression among the keys of an index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct IndexExpression {
    /// How many keys stand before it.
    pub(crate) at: usize,
    /// What it is as a column of the index.
    pub(crate) column: Column,
    /// The expression, as it stands in a list of keys.
    pub(crate) text: String,
    /// Behind it ` DESC` and the like.
    pub(crate) order: String,
}

/// A key of an index.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part<'a> {
    /// A column, by its place.
    Column(usize),
    /// An expression.
    Expression(&'a IndexExpression),
}

impl Part<'_> {
    /// The key as it stands in a list of keys.
    pub(crate) fn text(self, columns: &[Column]) -> String {
        match self {
            Part::Column(place) => columns.get(place).map(|column| quoted(&column.name)).unwrap_or_default(),
            Part::Expression(expression) => expression.text.clone(),
        }
    }
}

impl Extras {
    fn is_none(&self) -> bool {
        *self == Extras::default()
    }

    /// Its texts.
    pub(crate) fn texts_mut(&mut self) -> impl Iterator<Item = &mut String> {
        self.expressions.iter_mut().map(|one| &mut one.text).chain(&mut self.predicate)
    }

    /// Its texts.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &String> {
        self.expressions.iter().map(|one| &one.text).chain(&self.predicate)
    }
}

impl Index {
    /// The places of its columns, each once.
    pub(crate) fn places(&self) -> Vec<usize> {
        let mut places = Vec::with_capacity(self.columns.len());
        for (place, _) in &self.columns {
            if !places.contains(place) {
                places.push(*place);
            }
        }
        places
    }

    /// Its keys, and what stands behind each.
    pub(crate) fn parts(&self) -> Vec<(Part<'_>, &str)> {
        let mut parts: Vec<_> =
            self.columns.iter().map(|(place, order)| (Part::Column(*place), order.as_str())).collect();
        for expression in &self.extras.expressions {
            parts.insert(expression.at.min(parts.len()), (Part::Expression(expression), &expression.order));
        }
        parts
    }

    /// A column of its table goes: the places of those behind it.
    pub(crate) fn without(&mut self, place: usize) {
        let keys = self.columns.iter_mut().map(|(known, _)| known);
        keys.chain(&mut self.extras.included).filter(|known| **known > place).for_each(|known| *known -= 1);
    }
}

/// The name of an index's method.
pub(crate) fn method(extras: Option<&Extras>) -> &str {
    extras.and_then(|extras| extras.method.as_deref()).unwrap_or("btree")
}

/// The oid of a method, if an index may have it.
pub(crate) fn method_oid(name: &str) -> Option<i32> {
    METHODS.iter().find(|(known, _)| *known == name).map(|(_, oid)| *oid)
}

/// An expression without the parentheses that a list of keys or WHERE needs around it.
pub(crate) fn bare(text: &str) -> &str {
    text.strip_prefix('(').and_then(|text| text.strip_suffix(')')).unwrap_or(text)
}

/// What stands behind the method in the statement that makes an index: `(a, lower(b)) INCLUDE (c) WHERE (d)`.
pub(crate) fn tail(parts: &[(Part<'_>, &str)], extras: Option<&Extras>, columns: &[Column]) -> String {
    let keys: Vec<String> = parts.iter().map(|(part, order)| format!("{}{order}", part.text(columns))).collect();
    let mut text = format!("({})", keys.join(", "));
    let Some(extras) = extras else { return text };
    let included: Vec<String> = extras.included.iter().map(|place| Part::Column(*place).text(columns)).collect();
    if !included.is_empty() {
        text.push_str(&format!(" INCLUDE ({})", included.join(", ")));
    }
    if let Some(predicate) = &extras.predicate {
        text.push_str(&format!(" WHERE {predicate}"));
    }
    text
}
