//! One object of the catalog: a source, a table, a view of either kind or an external table.
//!
//! Holds definitions only, nothing open. A view's query is stored as it was written together with
//! the settings it was bound under and the ids that its names meant; what it reads is not dropped
//! before it, and what a table was before it was altered is kept ([`Meaning`]), so that binding the
//! text again gives the same columns for the same names and `*`.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{Fields, Schema};
use serde::{Deserialize, Serialize};
use thalweg_dataflow::error::Subject;
use thalweg_dataflow::plan::RelationId;
use thalweg_dataflow::source::{Column, FileDefinition, SourceDefinition};
use thalweg_dataflow::table::{Follower, TableDefinition, UniqueKey};

use super::{Earlier, Identity, Index, Meaning, Sequence, sequence};
use crate::parser::ObjectKind;

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Object {
    /// Its oid, for ever.
    pub(crate) oid: u32,
    /// Its schema.
    pub(crate) schema: String,
    /// Its name.
    pub(crate) name: String,
    /// Its columns, those of INCLUDE too.
    pub(crate) columns: Vec<Column>,
    /// What it is.
    pub(crate) data: ObjectData,
}

/// The kinds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum ObjectData {
    /// CREATE SOURCE.
    Source(SourceDefinition),
    /// CREATE MATERIALIZED VIEW.
    View(View),
    /// CREATE VIEW.
    NamedQuery(NamedQuery),
    /// CREATE EXTERNAL TABLE.
    Files(FileDefinition),
    /// CREATE TABLE.
    Table(Table),
    /// CREATE TABLE ... WITH (connector = ...).
    StoredSource(StoredSource),
    /// CREATE SEQUENCE, and those of serial and identity columns.
    Sequence(Sequence),
}

/// A table that keeps what a source reads: the engine has a source and a view of all its rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredSource {
    /// The engine's name for the source; that of the rows is the oid.
    pub(crate) source: u32,
    /// The source.
    pub(crate) definition: SourceDefinition,
}

/// A table, besides its columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Table {
    /// The engine's name for it: the oid at first (`None`), a fresh number after ALTER TABLE.
    #[serde(default)]
    pub(crate) relation: Option<u32>,
    /// The DEFAULT of each column, as it was written.
    pub(crate) defaults: Vec<Option<String>>,
    /// The constraints but NOT NULL.
    pub(crate) constraints: Vec<Constraint>,
    /// CREATE INDEX.
    #[serde(default)]
    pub(crate) indexes: Vec<Index>,
    /// The number of each column, for ever; none: the places.
    #[serde(default)]
    pub(crate) numbers: Vec<u32>,
    /// The least number that no column ever had, once there are numbers.
    #[serde(default)]
    pub(crate) next_number: u32,
    /// What it was before ALTER TABLE, for the views that read it so.
    #[serde(default)]
    pub(crate) earlier: Vec<Earlier>,
    /// GENERATED ... AS IDENTITY.
    #[serde(default)]
    pub(crate) identities: Vec<Identity>,
    /// GENERATED ALWAYS AS ... STORED.
    #[serde(default)]
    pub(crate) generated: Vec<Generated>,
}

/// A column that is computed from others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Generated {
    /// The column's number.
    pub(crate) column: u32,
    /// From what, as it was written.
    pub(crate) expression: String,
}

impl Table {
    /// A table as CREATE TABLE makes it.
    pub(crate) fn new(defaults: Vec<Option<String>>, constraints: Vec<Constraint>) -> Table {
        Table {
            relation: None,
            defaults,
            constraints,
            indexes: Vec::new(),
            numbers: Vec::new(),
            next_number: 0,
            earlier: Vec::new(),
            identities: Vec::new(),
            generated: Vec::new(),
        }
    }
}

/// A constraint of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Constraint {
    /// Its oid.
    pub(crate) oid: u32,
    /// Its name, and that of its index.
    pub(crate) name: String,
    /// What it says.
    pub(crate) rule: Rule,
}

/// What a constraint says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Rule {
    /// PRIMARY KEY or UNIQUE.
    Unique {
        /// Which of the two.
        primary: bool,
        /// Places of its columns.
        columns: Vec<usize>,
        /// The oid of what clients take for its index.
        index: u32,
    },
    /// CHECK: the expression as it was written.
    Check(String),
}

/// A query that stands wherever its name does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct NamedQuery {
    /// The query as it was written.
    pub(crate) text: String,
    /// The settings that gave it its meaning: TimeZone for its literals, search_path.
    pub(crate) settings: BTreeMap<String, String>,
    /// The oids it reads.
    pub(crate) reads: Vec<u32>,
    /// What they were to it, where that has changed.
    #[serde(default)]
    pub(crate) meaning: Meaning,
}

/// A materialized view.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct View {
    /// What is served.
    pub(crate) body: ViewBody,
    /// OR REPLACE: what is built beside, with its columns.
    pub(crate) replacement: Option<(ViewBody, Vec<Column>)>,
    /// CREATE INDEX.
    #[serde(default)]
    pub(crate) indexes: Vec<Index>,
}

/// One definition of a view.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ViewBody {
    /// The engine's name for it: the oid at first, a fresh number after OR REPLACE.
    pub(crate) relation: u32,
    /// The query as it was written.
    pub(crate) text: String,
    /// The settings that gave it its meaning: TimeZone, search_path.
    pub(crate) settings: BTreeMap<String, String>,
    /// The oids it reads.
    pub(crate) reads: Vec<u32>,
    /// What they were to it, where that has changed.
    #[serde(default)]
    pub(crate) meaning: Meaning,
    /// WITH.
    pub(crate) options: BTreeMap<String, String>,
}

impl Object {
    /// The oids that its definition reads, those of a replacement too.
    pub(crate) fn reads(&self) -> Vec<u32> {
        match &self.data {
            ObjectData::View(view) => {
                let replacement = view.replacement.iter().flat_map(|(body, _)| body.reads.iter());
                view.body.reads.iter().chain(replacement).copied().collect()
            }
            ObjectData::NamedQuery(query) => query.reads.clone(),
            ObjectData::Source(_)
            | ObjectData::Files(_)
            | ObjectData::Table(_)
            | ObjectData::StoredSource(_)
            | ObjectData::Sequence(_) => Vec::new(),
        }
    }

    /// What kind it is.
    pub(crate) fn kind(&self) -> ObjectKind {
        match self.data {
            ObjectData::Source(_) => ObjectKind::Source,
            ObjectData::View(_) => ObjectKind::View,
            ObjectData::NamedQuery(_) => ObjectKind::NamedQuery,
            ObjectData::Sequence(_) => ObjectKind::Sequence,
            ObjectData::Files(_) | ObjectData::Table(_) | ObjectData::StoredSource(_) => ObjectKind::Table,
        }
    }

    /// The engine's name for what is served under this oid.
    pub(crate) fn relation(&self) -> RelationId {
        match &self.data {
            ObjectData::View(view) => RelationId(view.body.relation),
            ObjectData::Table(table) => RelationId(table.relation.unwrap_or(self.oid)),
            ObjectData::Source(_)
            | ObjectData::NamedQuery(_)
            | ObjectData::Files(_)
            | ObjectData::StoredSource(_)
            | ObjectData::Sequence(_) => RelationId(self.oid),
        }
    }

    /// All of the engine's names for it.
    pub(crate) fn relations(&self) -> Vec<RelationId> {
        match &self.data {
            ObjectData::View(view) => {
                let replacement = view.replacement.iter().map(|(body, _)| RelationId(body.relation));
                std::iter::once(RelationId(view.body.relation)).chain(replacement).collect()
            }
            ObjectData::Source(_) | ObjectData::Sequence(_) => vec![self.relation()],
            ObjectData::Table(table) => {
                let earlier = table.earlier.iter().map(|version| RelationId(version.relation));
                std::iter::once(self.relation()).chain(earlier).collect()
            }
            ObjectData::StoredSource(stored) => vec![self.relation(), RelationId(stored.source)],
            ObjectData::NamedQuery(_) | ObjectData::Files(_) => Vec::new(),
        }
    }

    /// The source in it, by itself or under a table that keeps what it reads.
    pub(crate) fn source(&self) -> Option<(RelationId, &SourceDefinition)> {
        match &self.data {
            ObjectData::Source(definition) => Some((RelationId(self.oid), definition)),
            ObjectData::StoredSource(stored) => Some((RelationId(stored.source), &stored.definition)),
            _ => None,
        }
    }

    /// The view in it, if it is one.
    pub(crate) fn view(&self) -> Option<&View> {
        match &self.data {
            ObjectData::View(view) => Some(view),
            _ => None,
        }
    }

    /// The named query in it, if it is one.
    pub(crate) fn named_query(&self) -> Option<&NamedQuery> {
        match &self.data {
            ObjectData::NamedQuery(query) => Some(query),
            _ => None,
        }
    }

    /// It, as what an error is about.
    pub(crate) fn subject(&self) -> Subject {
        Subject { schema: Some(self.schema.clone()), table: Some(self.name.clone()), ..Subject::default() }
    }

    /// The table in it, if it is one.
    pub(crate) fn table(&self) -> Option<&Table> {
        match &self.data {
            ObjectData::Table(table) => Some(table),
            _ => None,
        }
    }

    /// Its indexes but those of constraints.
    pub(crate) fn indexes(&self) -> &[Index] {
        match &self.data {
            ObjectData::Table(table) => &table.indexes,
            ObjectData::View(view) => &view.indexes,
            _ => &[],
        }
    }

    /// The same to be changed; `None`: it has none of its kind.
    pub(crate) fn indexes_mut(&mut self) -> Option<&mut Vec<Index>> {
        match &mut self.data {
            ObjectData::Table(table) => Some(&mut table.indexes),
            ObjectData::View(view) => Some(&mut view.indexes),
            _ => None,
        }
    }

    /// The names of its indexes, those of constraints too.
    pub(crate) fn index_names(&self) -> impl Iterator<Item = &String> {
        let constraints = self.table().into_iter().flat_map(|table| &table.constraints);
        let keys = constraints.filter(|one| matches!(one.rule, Rule::Unique { .. })).map(|one| &one.name);
        keys.chain(self.indexes().iter().map(|index| &index.name))
    }

    /// What the engine knows of it, if it is a table or a sequence. In the engine every column may be
    /// null: what may not be is checked before a row gets there.
    pub(crate) fn table_definition(&self) -> Option<TableDefinition> {
        if self.sequence().is_some() {
            return Some(sequence::kept(self.oid, &self.name));
        }
        let table = self.table()?;
        let indexes = table.indexes.iter().filter(|index| index.unique);
        let indexes = indexes.map(|index| UniqueKey { name: index.name.clone(), columns: index.places() });
        let keys = table.constraints.iter().filter_map(|constraint| match &constraint.rule {
            Rule::Unique { columns, .. } => Some(UniqueKey { name: constraint.name.clone(), columns: columns.clone() }),
            Rule::Check(_) => None,
        });
        let numbers = self.numbers();
        let followers = table.earlier.iter().map(|version| {
            let place = |wanted: &u32| numbers.iter().position(|number| number == wanted);
            Follower { id: RelationId(version.relation), columns: version.numbers.iter().map(place).collect() }
        });
        Some(TableDefinition {
            id: self.relation(),
            name: self.name.clone(),
            schema: nullable_schema(&self.columns),
            keys: keys.chain(indexes).collect(),
            followers: followers.collect(),
        })
    }

    /// What the engine knows of the versions that a table had.
    pub(crate) fn earlier_definitions(&self) -> Vec<TableDefinition> {
        let definition = |version: &Earlier| TableDefinition {
            id: RelationId(version.relation),
            name: self.name.clone(),
            schema: nullable_schema(&version.columns),
            keys: Vec::new(),
            followers: Vec::new(),
        };
        self.table().into_iter().flat_map(|table| &table.earlier).map(definition).collect()
    }
}

/// Columns as the engine has a table's.
fn nullable_schema(columns: &[Column]) -> Arc<Schema> {
    let fields: Fields = columns.iter().map(|column| column.data_type.field(&column.name, true)).collect();
    Arc::new(Schema::new(fields))
}
