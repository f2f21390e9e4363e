//! What the names in a stored query mean after ALTER TABLE.
//!
//! A stored query stays as it was written. When a table that it reads is altered, what the table was
//! to it is kept beside it: the name, and which columns had which names. A column is known by a number
//! that it has for ever. A dataflow goes on reading the table in the version it was built over, which
//! follows the table ([`Earlier`]) until no view needs it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use thalweg_dataflow::plan::RelationId;
use thalweg_dataflow::source::Column;

use super::{Catalog, NamedQuery, Object, ObjectData, TEMPORARY, ViewBody, is_temporary};

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Meaning {
    /// The tables that were altered since, by oid.
    pub(crate) tables: BTreeMap<u32, Seen>,
    /// The engine's name for what a dataflow reads of a table, by oid, also through named queries.
    pub(crate) versions: BTreeMap<u32, u32>,
}

/// A table as a stored query sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Its schema.
    pub(crate) schema: String,
    /// Its name.
    pub(crate) name: String,
    /// The number and name of each of its columns.
    pub(crate) columns: Vec<(u32, String)>,
}

/// A version that a table had, kept up for the views that read it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Earlier {
    /// The engine's name for it.
    pub(crate) relation: u32,
    /// The columns it has.
    pub(crate) columns: Vec<Column>,
    /// Their numbers.
    pub(crate) numbers: Vec<u32>,
}

/// A query that the catalog holds.
#[derive(Clone, Copy)]
pub(crate) struct Stored<'a> {
    pub(crate) text: &'a str,
    pub(crate) settings: &'a BTreeMap<String, String>,
    pub(crate) meaning: &'a Meaning,
    /// The oids that its names mean.
    pub(crate) reads: &'a [u32],
}

/// A table in one of its versions: the engine's name, the columns and their numbers.
pub(crate) struct TableVersion<'a> {
    pub(crate) relation: RelationId,
    pub(crate) columns: &'a [Column],
    pub(crate) numbers: Vec<u32>,
}

impl Object {
    /// The number of each column: its place unless ALTER TABLE came between.
    pub(crate) fn numbers(&self) -> Vec<u32> {
        match self.table() {
            Some(table) if !table.numbers.is_empty() => table.numbers.clone(),
            _ => (0..self.columns.len() as u32).collect(),
        }
    }

    /// The version of a table that the engine calls this; without a name, or under one that is gone, its own.
    pub(crate) fn version(&self, relation: Option<u32>) -> TableVersion<'_> {
        let earlier = self.table().into_iter().flat_map(|table| &table.earlier);
        match earlier.into_iter().find(|earlier| Some(earlier.relation) == relation) {
            Some(earlier) => TableVersion {
                relation: RelationId(earlier.relation),
                columns: &earlier.columns,
                numbers: earlier.numbers.clone(),
            },
            None => TableVersion { relation: self.relation(), columns: &self.columns, numbers: self.numbers() },
        }
    }

    /// Its stored queries, that of a replacement too.
    pub(crate) fn stored<'a>(&'a self) -> Vec<Stored<'a>> {
        match &self.data {
            ObjectData::NamedQuery(NamedQuery { text, settings, meaning, reads }) => {
                vec![Stored { text, settings, meaning, reads }]
            }
            ObjectData::View(view) => {
                let bodies = std::iter::once(&view.body).chain(view.replacement.iter().map(|(body, _)| body));
                let stored = |body: &'a ViewBody| {
                    let ViewBody { text, settings, meaning, reads, .. } = body;
                    Stored { text, settings, meaning, reads }
                };
                bodies.map(stored).collect()
            }
            _ => Vec::new(),
        }
    }

    /// What the names in its stored queries mean.
    fn meanings(&mut self) -> Vec<(&[u32], &mut Meaning)> {
        match &mut self.data {
            ObjectData::NamedQuery(query) => vec![(&query.reads, &mut query.meaning)],
            ObjectData::View(view) => {
                let bodies = std::iter::once(&mut view.body).chain(view.replacement.iter_mut().map(|(body, _)| body));
                bodies.map(|body| (body.reads.as_slice(), &mut body.meaning)).collect()
            }
            _ => Vec::new(),
        }
    }
}

impl<'a> Stored<'a> {
    /// The object that a name in it means: one that it read when it was made, under its name of then.
    pub(crate) fn find(&self, catalog: &'a Catalog, path: &[String], name: (Option<&str>, &str)) -> Option<&'a Object> {
        found(catalog, (self.reads, self.meaning), path, name)
    }
}

/// See [`Stored::find`].
pub(crate) fn found<'a>(
    catalog: &'a Catalog,
    (reads, meaning): (&[u32], &Meaning),
    path: &[String],
    (schema, name): (Option<&str>, &str),
) -> Option<&'a Object> {
    let known = |schema: &str| {
        reads.iter().filter_map(|oid| catalog.get(*oid)).find(|object| match meaning.tables.get(&object.oid) {
            Some(seen) => seen.name == name && seen.schema == schema,
            None => object.name == name && object.schema == schema,
        })
    };
    match schema {
        Some(TEMPORARY) => path.iter().find(|schema| is_temporary(schema)).and_then(|schema| known(schema)),
        Some(schema) => known(schema),
        None => path.iter().find_map(|schema| known(schema)),
    }
}

impl Catalog {
    /// All objects in an order of dependence, those out of sight too.
    fn all(&self) -> Vec<&Object> {
        let mut all: Vec<&Object> = self.objects.values().chain(self.dropped.values()).collect();
        all.sort_by_key(|object| object.oid);
        all
    }

    /// The objects out of sight whose definition reads this one: a transaction that is open has
    /// dropped them.
    pub(crate) fn hidden_dependants(&self, oid: u32) -> Vec<&Object> {
        self.dropped.values().filter(|object| object.reads().contains(&oid)).collect()
    }

    /// Before an object is renamed, or a column of a table: those who read it keep the names.
    pub(crate) fn keep_names(&mut self, table: &Object) {
        let names = table.columns.iter().map(|column| column.name.clone());
        let columns = table.numbers().into_iter().zip(names).collect();
        let seen = Seen { schema: table.schema.clone(), name: table.name.clone(), columns };
        for object in self.objects.values_mut().chain(self.dropped.values_mut()) {
            for (reads, meaning) in object.meanings() {
                if reads.contains(&table.oid) {
                    meaning.tables.entry(table.oid).or_insert_with(|| seen.clone());
                }
            }
        }
    }

    /// Before a table gets other columns: those who read it keep the names, dataflows its version.
    pub(crate) fn keep_version(&mut self, table: &Object) {
        self.keep_names(table);
        let mut queries = BTreeSet::from([table.oid]);
        for object in self.all() {
            // An order of oids is one of dependence.
            let through = object.named_query().is_some_and(|query| query.reads.iter().any(|oid| queries.contains(oid)));
            if through {
                queries.insert(object.oid);
            }
        }
        let all = self.objects.values_mut().chain(self.dropped.values_mut());
        for object in all.filter(|object| object.named_query().is_none()) {
            for (reads, meaning) in object.meanings() {
                if reads.iter().any(|oid| queries.contains(oid)) {
                    meaning.versions.entry(table.oid).or_insert(table.relation().0);
                }
            }
        }
    }

    /// The versions of a table that dataflows read, its own too.
    pub(crate) fn versions_read(&self, table: u32) -> BTreeSet<u32> {
        let bodies = self.all().into_iter().filter_map(Object::view);
        let bodies =
            bodies.flat_map(|view| std::iter::once(&view.body).chain(view.replacement.iter().map(|(body, _)| body)));
        bodies.filter_map(|body| body.meaning.versions.get(&table)).copied().collect()
    }

    /// Forgets the versions of tables that no dataflow reads any more; the engine's names for them.
    pub(crate) fn release_versions(&mut self) -> Vec<RelationId> {
        let tables: Vec<u32> =
            self.objects.values().filter(|object| object.table().is_some()).map(|object| object.oid).collect();
        let mut released = Vec::new();
        for oid in tables {
            let read = self.versions_read(oid);
            let Some(ObjectData::Table(table)) = self.objects.get_mut(&oid).map(|object| &mut object.data) else {
                continue;
            };
            released.extend(
                table
                    .earlier
                    .iter()
                    .filter(|version| !read.contains(&version.relation))
                    .map(|version| RelationId(version.relation)),
            );
            table.earlier.retain(|version| read.contains(&version.relation));
        }
        released
    }
}
