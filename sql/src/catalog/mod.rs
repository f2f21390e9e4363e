//! The catalog: every object and schema a user made, as one immutable value.
//!
//! Promises: oids come from one counter and are never used twice; names are unique in a schema
//! over all kinds of objects; what [`Catalog::encode`] writes, [`Catalog::decode`] reads, or it
//! says which version wrote it. A change makes a new value: readers keep theirs. Does not know
//! what is open or running.

pub(crate) mod index;
mod meaning;
mod names;
mod object;
mod owned;
mod schemas;
pub(crate) mod sequence;

#[cfg(test)]
mod tests;

pub(crate) use index::Index;
pub(crate) use meaning::{Earlier, Meaning, Stored, found};
pub(crate) use names::{did_you_mean, nearest};
pub(crate) use object::{
    Constraint, Generated, NamedQuery, Object, ObjectData, Rule, StoredSource, Table, View, ViewBody,
};
pub(crate) use owned::{DefaultAcl, DefaultKind};
pub(crate) use schemas::{PUBLIC, PUBLIC_OID, SYSTEM_SCHEMAS, TEMPORARY, is_temporary};
pub(crate) use sequence::{Identity, Sequence};

use std::collections::{BTreeMap, BTreeSet};

use crate::roles::Roles;
use owned::Ownership;
use serde::{Deserialize, Serialize};
use thalweg_dataflow::error::{Error, Result, SqlState};

/// The first oid of an object, as in PostgreSQL.
pub(crate) const FIRST_OID: u32 = 16384;

/// The version of the encoding.
const FORMAT: u32 = 1;

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Catalog {
    format: u32,
    /// Counts changes.
    version: u64,
    next_oid: u32,
    objects: BTreeMap<u32, Object>,
    /// Those of them that an open transaction made.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    unsettled: BTreeSet<u32>,
    /// Those that an open transaction dropped: out of sight, and still there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    dropped: BTreeMap<u32, Object>,
    /// The schemas that users may change, by oid.
    #[serde(default = "first_schemas")]
    schemas: BTreeMap<u32, String>,
    /// Those of them that an open transaction dropped.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    dropped_schemas: BTreeMap<u32, String>,
    /// COMMENT ON, by oid and column; 0 is the object itself.
    #[serde(default)]
    comments: BTreeMap<u32, BTreeMap<u32, String>>,
    /// The roles.
    #[serde(default)]
    pub(crate) roles: Roles,
    #[serde(default)]
    ownership: Ownership,
}

/// The schemas of a new database.
fn first_schemas() -> BTreeMap<u32, String> {
    BTreeMap::from([(PUBLIC_OID, PUBLIC.into())])
}

impl Default for Catalog {
    fn default() -> Catalog {
        Catalog {
            format: FORMAT,
            version: 0,
            next_oid: FIRST_OID,
            objects: BTreeMap::new(),
            unsettled: BTreeSet::new(),
            dropped: BTreeMap::new(),
            schemas: first_schemas(),
            dropped_schemas: BTreeMap::new(),
            comments: BTreeMap::new(),
            roles: Roles::default(),
            ownership: Ownership::default(),
        }
    }
}

impl Catalog {
    /// Reads what [`Catalog::encode`] wrote.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Catalog> {
        #[derive(Deserialize)]
        struct Header {
            format: u32,
        }
        let damaged = |error: serde_json::Error| {
            Error::new(SqlState::DataCorrupted, "the catalog cannot be read").detail(error.to_string())
        };
        let header: Header = serde_json::from_slice(bytes).map_err(damaged)?;
        if header.format != FORMAT {
            return Err(Error::new(
                SqlState::ObjectNotInPrerequisiteState,
                format!("the catalog has format {}, this binary reads {FORMAT}", header.format),
            )
            .hint("Start the version of Thalweg that wrote it, or use another data folder."));
        }
        let mut catalog: Catalog = serde_json::from_slice(bytes).map_err(damaged)?;
        catalog.ownership.upgrade();
        catalog.roll_back();
        Ok(catalog)
    }

    /// Transactions that were open when the server ended never were; sessions are gone, and what was
    /// temporary with them.
    fn roll_back(&mut self) {
        let mut made: Vec<u32> = std::mem::take(&mut self.unsettled).into_iter().collect();
        made.extend(self.schemas.iter().filter(|(_, name)| is_temporary(name)).map(|(oid, _)| *oid));
        self.dropped.retain(|_, object| !is_temporary(&object.schema));
        for oid in self.closure(&made).into_iter().chain(made) {
            self.disown(oid);
            self.objects.remove(&oid);
            self.forget_schema(oid);
        }
        self.schemas.append(&mut self.dropped_schemas);
        self.objects.append(&mut self.dropped);
        self.undo_open_rights();
    }

    /// The bytes that the engine makes durable.
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|error| Error::internal(format!("the catalog cannot be written: {error}")))
    }

    /// An oid that nothing ever had.
    pub(crate) fn allocate(&mut self) -> u32 {
        let oid = self.next_oid;
        self.next_oid += 1;
        oid
    }

    /// Adds or replaces an object.
    pub(crate) fn put(&mut self, object: Object) {
        self.version += 1;
        if let (Some(before), Some(comments)) = (self.objects.get(&object.oid), self.comments.get_mut(&object.oid)) {
            *comments = std::mem::take(comments)
                .into_iter()
                .filter_map(|(place, text)| Some((moved(before, &object, place)?, text)))
                .collect();
        }
        self.objects.insert(object.oid, object);
    }

    /// Adds an object that goes if its transaction does.
    pub(crate) fn put_unsettled(&mut self, object: Object) {
        self.unsettled.insert(object.oid);
        self.put(object);
    }

    /// The transaction that made these has committed.
    pub(crate) fn settle(&mut self, oids: &[u32]) {
        oids.iter().for_each(|oid| _ = self.unsettled.remove(oid));
        self.version += 1;
    }

    /// Puts an object or schema out of sight until its transaction ends.
    pub(crate) fn hide(&mut self, oid: u32) {
        self.version += 1;
        self.hide_schema(oid);
        if let Some(object) = self.objects.remove(&oid) {
            self.dropped.insert(oid, object);
        }
    }

    /// Brings back what a transaction has hidden.
    pub(crate) fn bring_all_back(&mut self, oids: &[u32]) {
        oids.iter().for_each(|oid| self.bring_schema_back(*oid, oids));
        oids.iter().for_each(|oid| self.bring_back(*oid));
    }

    /// Brings a hidden object back, under another name if its own is taken by now.
    fn bring_back(&mut self, oid: u32) {
        let Some(mut object) = self.dropped.remove(&oid) else { return };
        if self.is_taken(&object.schema, &object.name) {
            self.keep_names(&object);
            object.name = format!("{}_{oid}", object.name);
        }
        self.put(object);
    }

    /// Forgets an object or schema for good, in sight or hidden.
    pub(crate) fn forget(&mut self, oid: u32) -> Option<Object> {
        self.unsettled.remove(&oid);
        self.comments.remove(&oid);
        self.remove(oid).or_else(|| self.dropped.remove(&oid))
    }

    /// COMMENT ON an object or, by its number from 1, on a column; `None` takes the comment away.
    pub(crate) fn comment(&mut self, oid: u32, column: u32, text: Option<String>) {
        self.version += 1;
        let comments = self.comments.entry(oid).or_default();
        match text {
            Some(text) => comments.insert(column, text),
            None => comments.remove(&column),
        };
        if comments.is_empty() {
            self.comments.remove(&oid);
        }
    }

    /// All comments: oid, column (0: the object itself), text.
    pub(crate) fn comments(&self) -> impl Iterator<Item = (u32, u32, &str)> {
        self.comments
            .iter()
            .flat_map(|(oid, comments)| comments.iter().map(move |(column, text)| (*oid, *column, text.as_str())))
    }

    /// Removes an object or schema.
    pub(crate) fn remove(&mut self, oid: u32) -> Option<Object> {
        self.version += 1;
        self.comments.remove(&oid);
        self.disown(oid);
        self.forget_schema(oid);
        self.objects.remove(&oid)
    }

    /// The object with this oid.
    pub(crate) fn get(&self, oid: u32) -> Option<&Object> {
        self.objects.get(&oid)
    }

    /// All objects, by oid.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &Object> {
        self.objects.values()
    }

    /// The object of this name; without a schema the first of `path` that has it.
    pub(crate) fn find(&self, schema: Option<&str>, name: &str, path: &[String]) -> Option<&Object> {
        let named = |schema: &str| self.objects.values().find(|object| object.name == name && object.schema == schema);
        match schema {
            Some(TEMPORARY) => path.iter().find(|schema| is_temporary(schema)).and_then(|schema| named(schema)),
            // Other sessions' are not there.
            Some(schema) if is_temporary(schema) && !path.iter().any(|known| known == schema) => None,
            Some(schema) => named(schema),
            None => path.iter().find_map(|schema| named(schema)),
        }
    }

    /// Whether an object or an index has this name.
    pub(crate) fn is_taken(&self, schema: &str, name: &str) -> bool {
        let named = |object: &Object| object.name == name && object.schema == schema;
        self.objects.values().any(named) || self.index(schema, name).is_some()
    }

    /// The relation that has the index of this name, a constraint's too.
    pub(crate) fn index(&self, schema: &str, name: &str) -> Option<&Object> {
        let has = |object: &&Object| object.schema == schema && object.index_names().any(|own| own == name);
        self.objects.values().find(has)
    }

    /// The same; without a schema in the first of `path` that has one.
    pub(crate) fn find_index(&self, schema: Option<&str>, name: &str, path: &[String]) -> Option<&Object> {
        match schema {
            Some(schema) => self.index(schema, name),
            None => path.iter().find_map(|schema| self.index(schema, name)),
        }
    }

    /// The objects whose definition reads this one, or that are in this schema; nearest first.
    pub(crate) fn dependants(&self, oid: u32) -> Vec<&Object> {
        if self.schemas.contains_key(&oid) {
            return self.objects_in(oid).collect();
        }
        self.objects.values().filter(|object| object.reads().contains(&oid)).collect()
    }

    /// All that goes when these go: dependants after what they depend on, the given ones left out.
    pub(crate) fn closure(&self, oids: &[u32]) -> Vec<u32> {
        let mut all: Vec<u32> = oids.to_vec();
        let mut at = 0;
        while at < all.len() {
            for dependant in self.dependants(all[at]) {
                if !all.contains(&dependant.oid) {
                    all.push(dependant.oid);
                }
            }
            at += 1;
        }
        all.split_off(oids.len())
    }
}

/// The number of a column after a change of its object; `None` if it is gone. 0 is the object.
fn moved(before: &Object, after: &Object, place: u32) -> Option<u32> {
    let Some(index) = place.checked_sub(1) else { return Some(0) };
    let name = &before.columns.get(index as usize)?.name;
    let found = after.columns.iter().position(|column| column.name == *name);
    match found {
        Some(found) => u32::try_from(found + 1).ok(),
        // Renamed.
        None if before.columns.len() == after.columns.len() => Some(place),
        None => None,
    }
}
