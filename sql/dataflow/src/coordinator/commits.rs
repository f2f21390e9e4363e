//! Commits on their way into an epoch: who waits, what was accepted, what goes into the cut.

use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use super::Coordinator;
use super::tables::Tables;
use super::unique_index::Epochs;
use crate::cut::LoggedChange;
use crate::error::Result;
use crate::plan::RelationId;
use crate::table::{Change, Committed, MAX_COMMIT_BYTES, TableDefinition, UniqueKey};

/// A commit to tables, and who waits for it.
pub(crate) struct Commit {
    pub(crate) changes: Vec<Change>,
    pub(crate) reply: oneshot::Sender<Result<Committed>>,
}

/// A table that takes the place of another with all its rows, and the catalog that says so. The other
/// goes, unless it follows from here on.
pub(crate) struct Replacement {
    pub(crate) old: RelationId,
    pub(crate) new: TableDefinition,
    /// All rows out of the old one, and into the new.
    pub(crate) changes: Vec<Change>,
    pub(crate) catalog: Vec<u8>,
    pub(crate) reply: oneshot::Sender<Result<()>>,
}

/// Other unique keys for a table, and the catalog that says so.
pub(crate) struct NewKeys {
    pub(crate) definition: TableDefinition,
    pub(crate) catalog: Vec<u8>,
    pub(crate) reply: oneshot::Sender<Result<()>>,
}

/// A question for the rows that have some values of a unique key.
pub(crate) struct LookupRows {
    pub(crate) table: RelationId,
    pub(crate) key: UniqueKey,
    pub(crate) values: Vec<Option<Box<[u8]>>>,
    pub(crate) reply: oneshot::Sender<Result<Vec<Option<Vec<u8>>>>>,
}

impl LookupRows {
    pub(super) fn answer(self, tables: &Tables) {
        let _ = self.reply.send(tables.lookup(self.table, &self.key, &self.values));
    }
}

/// Whether an epoch is new, or one that the cut log holds already.
pub(super) enum Logging {
    /// What goes into its cut.
    New {
        /// The catalog, if it changed.
        catalog: Option<Vec<u8>>,
        /// Changes of tables.
        changes: Vec<LoggedChange>,
    },
    /// It is played again.
    Replayed,
}

/// The commits of one epoch.
#[derive(Default)]
pub(super) struct Committing {
    /// Who waits for which answer.
    pub(super) answers: Vec<(oneshot::Sender<Result<Committed>>, Result<Committed>)>,
    /// What the accepted ones changed.
    pub(super) logged: Vec<LoggedChange>,
}

impl Coordinator {
    /// Gives a table other unique keys.
    pub(super) fn set_keys(&mut self, keys: NewKeys) {
        let NewKeys { definition, catalog, reply } = keys;
        let answer = self.tables.set_keys(definition).and_then(|()| {
            self.catalog.clone_from(&catalog);
            self.handles_stale = true;
            self.empty_epoch(Some(catalog))
        });
        let _ = reply.send(answer);
    }

    /// Which epoch the next commits are for, and who may still see what they change.
    fn epochs(&self) -> Epochs {
        Epochs { open: self.epoch + 1, oldest: self.shared.pins.oldest() }
    }

    /// Puts a table in the place of another: rows and catalog change in one cut.
    pub(super) fn replace_table(&mut self, replacement: Replacement) -> Result<()> {
        let Replacement { old, new, changes, catalog, reply } = replacement;
        let follows = new.followers.iter().any(|follower| follower.id == old);
        let answer = match self.moved(old, new, changes) {
            Ok(changes) => {
                self.catalog.clone_from(&catalog);
                self.run_epoch(Vec::new(), self.hands.clock(), Logging::New { catalog: Some(catalog), changes })?;
                if follows {
                    self.tables.follow(old);
                } else {
                    self.remove(&[old]);
                }
                self.publish();
                Ok(())
            }
            Err(error) => Err(error),
        };
        let _ = reply.send(answer);
        Ok(())
    }

    /// Adds the new table and takes the rows over; nothing stays if they are not all of them.
    fn moved(&mut self, old: RelationId, new: TableDefinition, changes: Vec<Change>) -> Result<Vec<LoggedChange>> {
        let node = self.dataflow.views().get(&old).copied().ok_or_else(|| super::not_there(old))?;
        let there = self.dataflow.node(node)?.rows.load(Ordering::Relaxed);
        let taken: usize = changes.iter().map(|change| change.deletes.len()).sum();
        if i64::try_from(taken) != Ok(there) {
            return Err(super::tables::changed_meanwhile());
        }
        let id = new.id;
        self.add_table(new)?;
        self.tables.open(self.epochs());
        let moved = self.tables.commit(changes);
        if moved.is_err() {
            self.remove(&[id]);
        }
        Ok(moved?.logged)
    }

    /// Holds the commits that wait against the heads of their tables, as many as an epoch takes.
    pub(super) fn take_commits(&mut self) -> Committing {
        let mut committing = Committing::default();
        let (mut rows, mut bytes) = (0, 0);
        self.tables.open(self.epochs());
        while rows < self.options.epoch_max_rows && bytes < MAX_COMMIT_BYTES {
            let Some(Commit { changes, reply }) = self.commits.pop_front() else { break };
            let answer = self.tables.commit(changes).map(|accepted| {
                rows += accepted.rows;
                bytes += accepted.logged.iter().map(LoggedChange::size).sum::<usize>();
                committing.logged.extend(accepted.logged);
                Committed { epoch: self.epoch + 1, skipped: accepted.skipped }
            });
            committing.answers.push((reply, answer));
        }
        committing
    }
}
