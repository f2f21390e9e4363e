//! Recovery: the newest generation back into memory.
//!
//! A chunk that is missing or damaged is an error that names the remedy, never a wrong answer.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::section::{restore, restore_errors, sections};
use super::{Checkpointer, Manifest, SOURCE_ERRORS, SourceProgress, Unit, base_key, log_key};
use crate::arrangement::Arrangement;
use crate::engine::SourceError;
use crate::error::{Error, Result, SqlState};
use crate::graph::Dataflow;
use crate::plan::RelationId;
use crate::storage::{Store, Tree};

/// What the newest checkpoint says, its state not yet loaded.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    manifest: Manifest,
    pub(crate) catalog: Option<Vec<u8>>,
}

fn damaged(what: &str) -> Error {
    Error::new(SqlState::DataCorrupted, format!("the newest checkpoint cannot be read: {what}")).hint(
        "Restore the data directory from a copy, or start with an empty one; views are built again from their sources.",
    )
}

/// Reads the newest manifest; an empty store gives an empty state.
pub(crate) fn recover(store: &dyn Store) -> Result<Recovered> {
    let mut newest: Option<Vec<u8>> = None;
    store.scan(Tree::Manifest, &[], &mut |key, value| {
        // Other keys of the tree (the format version) are the store's.
        if key.len() == 8 {
            newest = Some(value);
        }
        Ok(())
    })?;
    let Some(bytes) = newest else { return Ok(Recovered::default()) };
    let (length, rest) = bytes.split_at_checked(8).ok_or_else(|| damaged("its manifest is cut"))?;
    let length = length.iter().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
    let (json, catalog) = rest.split_at_checked(length).ok_or_else(|| damaged("its manifest is cut"))?;
    let manifest =
        serde_json::from_slice(json).map_err(|error| damaged(&format!("its manifest is not understood ({error})")))?;
    Ok(Recovered { manifest, catalog: Some(catalog.to_vec()).filter(|catalog| !catalog.is_empty()) })
}

impl Recovered {
    /// Its epoch; 0 in a new store.
    pub(crate) fn epoch(&self) -> u64 {
        self.manifest.epoch
    }

    /// Its cut's clock reading.
    pub(crate) fn now(&self) -> i64 {
        self.manifest.now
    }

    /// How far the sources were read.
    pub(crate) fn sources(&self) -> BTreeMap<RelationId, SourceProgress> {
        self.manifest.sources.iter().cloned().collect()
    }

    /// Whether it holds the whole state of a view with this fingerprint.
    pub(crate) fn holds(&self, view: RelationId, fingerprint: &str) -> bool {
        self.manifest.views.iter().any(|(id, known)| *id == view && known == fingerprint)
    }

    /// Fails if the checkpoint has a table's rows in another form than this: nothing could make them
    /// again. A table that it does not know is younger than it.
    pub(crate) fn check_kept(&self, id: RelationId, name: &str, fingerprint: &str) -> Result<()> {
        match self.manifest.views.iter().find(|(known, _)| *known == id) {
            Some((_, known)) if known != fingerprint => Err(Error::new(
                SqlState::ObjectNotInPrerequisiteState,
                format!("the rows of table \"{name}\" are stored in a form that this version does not read"),
            )
            .hint("Start the version of Thalweg that wrote them.")),
            _ => Ok(()),
        }
    }

    /// Loads the state of every node of `dataflow`, and the source errors; the checkpointer goes on
    /// from here.
    pub(crate) fn load(
        &self,
        store: &dyn Store,
        dataflow: &mut Dataflow,
    ) -> Result<(Checkpointer, u64, VecDeque<SourceError>)> {
        let manifest = &self.manifest;
        let mut arrangements: HashMap<u32, Arc<Arrangement>> = HashMap::new();
        let mut checkpointer = Checkpointer { number: manifest.checkpoint, ..Checkpointer::default() };
        let known: HashMap<&str, &super::NodeMeta> =
            manifest.nodes.iter().map(|node| (node.fingerprint.as_str(), node)).collect();
        for (_, node) in dataflow.nodes_mut() {
            let Some(meta) = known.get(node.fingerprint.as_str()) else { continue };
            node.rows.store(meta.rows, Ordering::Relaxed);
            node.errors = Arc::new(meta.errors.clone());
            if let (Some(arrangement), Some(number)) = (node.op.arrangement(), meta.arrangement) {
                arrangements.insert(number, arrangement.clone());
                let numbered = super::Numbered { number, arrangement: Arc::downgrade(arrangement) };
                checkpointer.arrangements.insert(node.fingerprint.clone(), numbered);
            }
        }
        checkpointer.next_arrangement = manifest.nodes.iter().filter_map(|node| node.arrangement).max().unwrap_or(0);
        checkpointer.units = manifest.units.iter().copied().collect();
        checkpointer.log = manifest.log.iter().map(|(number, chunks, bytes)| (*number, (*chunks, *bytes))).collect();
        checkpointer.next_error_saved = manifest.next_error;
        let errors = self.load_state(store, &arrangements, &checkpointer)?;
        arrangements.values().try_for_each(|arrangement| arrangement.restored())?;
        let first = errors.keys().next().copied().unwrap_or(manifest.next_error);
        Ok((checkpointer, first, errors.into_values().collect()))
    }

    fn load_state(
        &self,
        store: &dyn Store,
        arrangements: &HashMap<u32, Arc<Arrangement>>,
        checkpointer: &Checkpointer,
    ) -> Result<BTreeMap<u64, SourceError>> {
        let mut errors: BTreeMap<u64, SourceError> = BTreeMap::new();
        let mut put = |unit: Unit, entries: &[u8]| -> Result<()> {
            if unit.arrangement == SOURCE_ERRORS {
                errors.extend(
                    restore_errors(entries)?.into_iter().filter(|(number, _)| *number >= self.manifest.first_error),
                );
            } else if let Some(arrangement) = arrangements.get(&unit.arrangement) {
                restore(unit, arrangement, entries)?;
            }
            Ok(())
        };
        for (unit, meta) in &checkpointer.units {
            for n in 0..meta.base_chunks {
                let chunk = store
                    .get(Tree::Base, &base_key(*unit, meta.base, n))?
                    .ok_or_else(|| damaged("a chunk of a base is missing"))?;
                for (unit, entries) in sections(&chunk)? {
                    put(unit, entries)?;
                }
            }
        }
        for (number, (chunks, _)) in &checkpointer.log {
            for n in 0..*chunks {
                let chunk = store
                    .get(Tree::Log, &log_key(*number, n))?
                    .ok_or_else(|| damaged("a chunk of the log is missing"))?;
                for (unit, entries) in sections(&chunk)? {
                    if checkpointer.units.get(&unit).is_some_and(|meta| meta.base < *number) {
                        put(unit, entries)?;
                    }
                }
            }
        }
        Ok(errors)
    }
}
