//! Sequences in the catalog: how they count, whose they are, and which columns' values come from them.
//!
//! Where a sequence stands is not here: the engine keeps it as a table of one row ([`crate::sequence`]).
//! A DEFAULT names a sequence by its oid (`nextval('16390'::REGCLASS)`), so that it may be renamed.

use std::sync::Arc;

use arrow::datatypes::Schema;
use serde::{Deserialize, Serialize};
use thalweg_dataflow::plan::RelationId;
use thalweg_dataflow::source::Column;
use thalweg_dataflow::table::TableDefinition;
use thalweg_dataflow::types::PgType;

use super::{Catalog, Object, ObjectData, Table};
use crate::roles::acl::Thing;

/// How a sequence counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sequence {
    /// AS: smallint, integer or bigint.
    pub(crate) data_type: PgType,
    /// START.
    pub(crate) start: i64,
    /// INCREMENT.
    pub(crate) increment: i64,
    /// MINVALUE.
    pub(crate) min: i64,
    /// MAXVALUE.
    pub(crate) max: i64,
    /// CACHE: shown, and nothing else.
    pub(crate) cache: i64,
    /// CYCLE.
    pub(crate) cycle: bool,
    /// OWNED BY: the oid of a table and the number of its column.
    pub(crate) owned_by: Option<(u32, u32)>,
}

/// GENERATED ... AS IDENTITY.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// The number of the column.
    pub(crate) column: u32,
    /// ALWAYS; else BY DEFAULT.
    pub(crate) always: bool,
    /// The oid of its sequence.
    pub(crate) sequence: u32,
}

/// The columns that a sequence is read as.
pub(crate) fn columns() -> Vec<Column> {
    let column = |name: &str, data_type| Column { name: name.into(), data_type, not_null: true };
    vec![column("last_value", PgType::Int8), column("log_cnt", PgType::Int8), column("is_called", PgType::Bool)]
}

/// What stands before a sequence's oid in a DEFAULT, and behind it.
const REFERENCE: [&str; 2] = ["'", "'::REGCLASS"];

/// A sequence as a DEFAULT names it.
pub(crate) fn reference(oid: u32) -> String {
    format!("{}{oid}{}", REFERENCE[0], REFERENCE[1])
}

/// A DEFAULT with something else in place of each reference to a sequence.
pub(crate) fn with_references(text: &str, mut instead: impl FnMut(u32) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(end) = rest.find(REFERENCE[1]) {
        let start = rest[..end].rfind(REFERENCE[0]).unwrap_or(end);
        let oid = rest.get(start + 1..end).and_then(|digits| digits.parse().ok());
        let after = end + REFERENCE[1].len();
        match oid.and_then(&mut instead) {
            Some(text) => {
                out.push_str(&rest[..start]);
                out.push_str(&text);
            }
            None => out.push_str(&rest[..after]),
        }
        rest = &rest[after..];
    }
    out.push_str(rest);
    out
}

impl Table {
    /// The sequences that the DEFAULT of a column names.
    pub(crate) fn sequences_of_default(&self, place: usize) -> Vec<u32> {
        let mut found = Vec::new();
        if let Some(text) = self.defaults.get(place).and_then(Option::as_ref) {
            with_references(text, |oid| {
                found.push(oid);
                None
            });
        }
        found
    }
}

impl Object {
    /// The sequence in it, if it is one.
    pub(crate) fn sequence(&self) -> Option<&Sequence> {
        match &self.data {
            ObjectData::Sequence(sequence) => Some(sequence),
            _ => None,
        }
    }

    /// The identity of a column, by its place.
    pub(crate) fn identity(&self, place: usize) -> Option<&Identity> {
        let number = *self.numbers().get(place)?;
        self.table()?.identities.iter().find(|one| one.column == number)
    }

    /// What a column is computed from, if it is, by its place.
    pub(crate) fn generated(&self, place: usize) -> Option<&str> {
        let generated = &self.table()?.generated;
        if generated.is_empty() {
            return None;
        }
        let number = *self.numbers().get(place)?;
        generated.iter().find(|one| one.column == number).map(|one| one.expression.as_str())
    }

    /// The DEFAULT of each column, that of identities too.
    pub(crate) fn defaults(&self) -> Vec<Option<String>> {
        let Some(table) = self.table() else { return Vec::new() };
        let mut defaults = table.defaults.clone();
        if !table.identities.is_empty() {
            for (place, default) in defaults.iter_mut().enumerate() {
                if let Some(identity) = self.identity(place) {
                    *default = Some(format!("nextval({})", reference(identity.sequence)));
                }
            }
        }
        defaults
    }

    /// What rights there are on it.
    pub(crate) fn thing(&self) -> Thing {
        match &self.data {
            ObjectData::Sequence(_) => Thing::Sequence,
            _ => Thing::Relation,
        }
    }
}

/// What the engine keeps of a sequence: the last value that may have been given, and whether it was.
pub(crate) fn kept(oid: u32, name: &str) -> TableDefinition {
    let fields = vec![PgType::Int8.field("last_value", true), PgType::Bool.field("is_called", true)];
    let schema = Arc::new(Schema::new(fields));
    TableDefinition { id: RelationId(oid), name: name.into(), schema, keys: Vec::new(), followers: Vec::new() }
}

impl Catalog {
    /// These, and the sequences that go with the tables among them.
    pub(crate) fn with_owned(&self, oids: &[u32]) -> Vec<u32> {
        let mut all = oids.to_vec();
        for object in self.objects() {
            let owner = object.sequence().and_then(|sequence| sequence.owned_by);
            if owner.is_some_and(|(table, _)| oids.contains(&table)) && !all.contains(&object.oid) {
                all.push(object.oid);
            }
        }
        all
    }

    /// The sequences of a column.
    pub(crate) fn owned_by(&self, table: u32, column: u32) -> impl Iterator<Item = &Object> {
        self.objects()
            .filter(move |object| object.sequence().is_some_and(|sequence| sequence.owned_by == Some((table, column))))
    }

    /// The table and the place of the column that a sequence is owned by.
    pub(crate) fn owner_column(&self, sequence: &Sequence) -> Option<(&Object, usize)> {
        let (table, number) = sequence.owned_by?;
        let table = self.get(table)?;
        let place = table.numbers().iter().position(|known| *known == number)?;
        Some((table, place))
    }

    /// Whether a sequence is a column's identity.
    pub(crate) fn is_identity(&self, oid: u32) -> bool {
        self.objects().filter_map(Object::table).any(|table| table.identities.iter().any(|one| one.sequence == oid))
    }

    /// Takes away the DEFAULT of a column.
    pub(crate) fn drop_default(&mut self, table: u32, place: usize) {
        let Some(mut object) = self.get(table).cloned() else { return };
        if let ObjectData::Table(table) = &mut object.data
            && let Some(default) = table.defaults.get_mut(place)
        {
            *default = None;
            self.put(object);
        }
    }

    /// The columns, as table and place, whose DEFAULT names a sequence.
    pub(crate) fn defaults_of(&self, sequence: u32) -> Vec<(u32, usize)> {
        let mut found = Vec::new();
        for object in self.objects() {
            let Some(table) = object.table() else { continue };
            let names = |place: &usize| table.sequences_of_default(*place).contains(&sequence);
            found.extend((0..table.defaults.len()).filter(names).map(|place| (object.oid, place)));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_found_wherever_they_stand() {
        let text = format!("'a''::' || nextval({}) + nextval({})", reference(7), reference(16_390));
        let mut seen = Vec::new();
        assert_eq!(
            with_references(&text, |oid| {
                seen.push(oid);
                None
            }),
            text
        );
        assert_eq!(seen, [7, 16_390]);
        let shown = with_references(&text, |oid| (oid == 7).then(|| "'s'::regclass".to_string()));
        assert_eq!(shown, format!("'a''::' || nextval('s'::regclass) + nextval({})", reference(16_390)));
        assert_eq!(with_references("now()", |_| None), "now()");
    }
}
