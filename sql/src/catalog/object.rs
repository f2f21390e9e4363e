//! One object of the catalog: a source, a materialized view or an external table.
//!
//! Holds definitions only, nothing open. A view's query is stored as it was written together with
//! the settings it was bound under and the ids that its names meant; since no object it reads can
//! be renamed, altered or dropped before it, binding the text again gives the same columns for the
//! same names and `*`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thalweg_dataflow::plan::RelationId;
use thalweg_dataflow::source::{Column, FileDefinition, SourceDefinition};

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
    /// CREATE EXTERNAL TABLE.
    Files(FileDefinition),
}

/// A materialized view.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct View {
    /// What is served.
    pub(crate) body: ViewBody,
    /// OR REPLACE: what is built beside, with its columns.
    pub(crate) replacement: Option<(ViewBody, Vec<Column>)>,
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
            ObjectData::Source(_) | ObjectData::Files(_) => Vec::new(),
        }
    }

    /// What kind it is.
    pub(crate) fn kind(&self) -> ObjectKind {
        match self.data {
            ObjectData::Source(_) => ObjectKind::Source,
            ObjectData::View(_) => ObjectKind::View,
            ObjectData::Files(_) => ObjectKind::Table,
        }
    }

    /// The engine's name for what is served under this oid.
    pub(crate) fn relation(&self) -> RelationId {
        match &self.data {
            ObjectData::View(view) => RelationId(view.body.relation),
            ObjectData::Source(_) | ObjectData::Files(_) => RelationId(self.oid),
        }
    }

    /// All of the engine's names for it.
    pub(crate) fn relations(&self) -> Vec<RelationId> {
        match &self.data {
            ObjectData::View(view) => {
                let replacement = view.replacement.iter().map(|(body, _)| RelationId(body.relation));
                std::iter::once(RelationId(view.body.relation)).chain(replacement).collect()
            }
            ObjectData::Source(_) => vec![RelationId(self.oid)],
            ObjectData::Files(_) => Vec::new(),
        }
    }

    /// The view in it, if it is one.
    pub(crate) fn view(&self) -> Option<&View> {
        match &self.data {
            ObjectData::View(view) => Some(view),
            ObjectData::Source(_) | ObjectData::Files(_) => None,
        }
    }
}
