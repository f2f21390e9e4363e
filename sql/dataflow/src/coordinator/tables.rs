//! The heads of the tables: what commits are held against, one after the other.
//!
//! A table's rows lie in its arrangement; here are the changes of the epoch that is open and an
//! index of every unique key, both derived and never saved. Promises: a commit that fails leaves
//! no trace; one that is accepted is seen by the next one of the same epoch.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};

use super::unique_index::{Epochs, UniqueIndex};
use crate::arrangement::Arrangement;
use crate::arrangement::codec::EncodedRows;
use crate::arrangement::hash::{SHARDS, hash_bytes, shard_of};
use crate::cut::LoggedChange;
use crate::delta::{Batch, Delta};
use crate::error::{Error, Result, SqlState};
use crate::operator::reduce::output::Output;
use crate::plan::RelationId;
#[cfg(test)]
use crate::simulation::fault::{Fault, planted};
use crate::table::{Change, Keys, OnConflict, Rows, TableDefinition, UniqueKey};

/// All tables.
#[derive(Debug, Default)]
pub(super) struct Tables {
    tables: BTreeMap<RelationId, Table>,
    epochs: Epochs,
}

/// One table's head.
#[derive(Debug)]
struct Table {
    definition: TableDefinition,
    arrangement: Arc<Arrangement>,
    /// The index of each unique key.
    keys: Vec<Arc<UniqueIndex>>,
    /// Rows that came, less those that went, in the epoch that is open.
    open: HashMap<Box<[u8]>, i64>,
    /// The same as a delta, in the order of the commits.
    delta: Vec<(RecordBatch, i64)>,
    /// Whether it follows another: no commit changes it by itself.
    follows: bool,
}

/// What must be done to take a step of a commit back.
enum Undo {
    /// The row's count changed by this.
    Row(Box<[u8]>, i64),
    /// The key was taken.
    Taken(usize, Box<[u8]>),
    /// The key was freed by the row with this hash.
    Freed(usize, Box<[u8]>, u64),
}

/// What an accepted commit does to a table.
struct Done {
    table: RelationId,
    deletes: Rows,
    inserts: Rows,
}

/// A commit that was accepted.
pub(super) struct Accepted {
    /// For each change the places of the rows that were left out.
    pub(super) skipped: Vec<Vec<usize>>,
    /// What goes into the cut log.
    pub(super) logged: Vec<LoggedChange>,
    /// Rows that go and come.
    pub(super) rows: usize,
}

impl Tables {
    /// Adds a table whose rows this arrangement holds. They are not indexed yet.
    pub(super) fn add(&mut self, definition: TableDefinition, arrangement: Arc<Arrangement>) {
        let id = definition.id;
        let keys = definition.keys.iter().map(|_| Arc::new(UniqueIndex::new())).collect();
        let table = Table { definition, arrangement, keys, open: HashMap::new(), delta: Vec::new(), follows: false };
        self.tables.insert(id, table);
    }

    /// Indexes the rows of all tables. Replay needs no index, and could not keep one: what it repeats
    /// may be older than a key.
    pub(super) fn index(&mut self) -> Result<()> {
        for table in self.tables.values_mut() {
            table.keys = indexes(&table.definition, &table.arrangement)?;
        }
        Ok(())
    }

    /// Gives a table other unique keys, between two epochs; 23505 if its rows do not allow them.
    pub(super) fn set_keys(&mut self, definition: TableDefinition) -> Result<()> {
        let id = definition.id;
        let table = self.tables.get_mut(&id).ok_or_else(|| super::not_there(id))?;
        table.keys = indexes(&definition, &table.arrangement)?;
        table.definition = definition;
        Ok(())
    }

    /// Forgets a table.
    pub(super) fn remove(&mut self, id: RelationId) {
        self.tables.remove(&id);
    }

    /// The unique keys of a table with their indexes, as they are from the next publication on.
    pub(super) fn keys(&self, id: RelationId) -> impl Iterator<Item = (&UniqueKey, &Arc<UniqueIndex>)> {
        let table = self.tables.get(&id);
        table.into_iter().flat_map(|table| table.definition.keys.iter().zip(&table.keys))
    }

    /// Which epoch the commits that come next belong to.
    pub(super) fn open(&mut self, epochs: Epochs) {
        self.epochs = epochs;
    }

    /// Takes a commit into the open epoch, or refuses it whole.
    pub(super) fn commit(&mut self, changes: Vec<Change>) -> Result<Accepted> {
        let mut undo: Vec<(RelationId, Undo)> = Vec::new();
        let mut skipped = Vec::with_capacity(changes.len());
        let epochs = self.epochs;
        for change in &changes {
            let applied = match self.tables.get_mut(&change.table) {
                Some(table) if !table.follows => {
                    table.apply(change, epochs, &mut |step| undo.push((change.table, step)))
                }
                _ => Err(super::not_there(change.table)),
            };
            match applied {
                Ok(left_out) => skipped.push(left_out),
                Err(error) => {
                    self.take_back(undo);
                    return Err(error);
                }
            }
        }
        let done = match self.with_followers(changes, &skipped) {
            Ok(done) => done,
            Err(error) => {
                self.take_back(undo);
                return Err(error);
            }
        };
        let mut accepted = Accepted { skipped, logged: Vec::with_capacity(done.len()), rows: 0 };
        for Done { table: id, deletes, inserts } in done {
            let Some(table) = self.tables.get_mut(&id) else { continue };
            accepted.rows += deletes.len() + inserts.len();
            table.push(deletes.batch, -1);
            table.push(inserts.batch, 1);
            accepted.logged.push(LoggedChange { table: id, deletes: deletes.bytes, inserts: inserts.bytes });
        }
        Ok(accepted)
    }

    /// What changes in the tables, and in those that follow them.
    fn with_followers(&self, changes: Vec<Change>, skipped: &[Vec<usize>]) -> Result<Vec<Done>> {
        let mut done = Vec::with_capacity(changes.len());
        for (change, skipped) in changes.into_iter().zip(skipped) {
            let inserts = without(change.inserts, skipped)?;
            done.push(Done { table: change.table, deletes: change.deletes, inserts });
        }
        let own = done.len();
        let mut ids = BTreeSet::new();
        for place in 0..own {
            let Some(table) = self.tables.get(&done[place].table) else { continue };
            for follower in &table.definition.followers {
                let Some(other) = self.tables.get(&follower.id) else { continue };
                let deletes = done[place].deletes.followed(follower, &other.definition)?;
                let inserts = done[place].inserts.followed(follower, &other.definition)?;
                done.push(Done { table: follower.id, deletes, inserts });
                ids.insert(follower.id);
            }
        }
        for id in ids {
            // What a follower loses and gets again is no change.
            let of_it = || done.iter().filter(|done| done.table == id);
            let deletes = of_it().flat_map(|done| rows_of(&done.deletes));
            if deletes.eq(of_it().flat_map(|done| rows_of(&done.inserts))) {
                done.retain(|done| done.table != id);
            }
        }
        Ok(done)
    }

    /// Makes a table one that follows another.
    pub(super) fn follow(&mut self, id: RelationId) {
        if let Some(table) = self.tables.get_mut(&id) {
            (table.definition.keys, table.keys, table.definition.followers) = (Vec::new(), Vec::new(), Vec::new());
            table.follows = true;
        }
    }

    fn take_back(&mut self, undo: Vec<(RelationId, Undo)>) {
        #[cfg(test)]
        if planted(Fault::TakeBackForgotten) {
            return;
        }
        for (id, step) in undo.into_iter().rev() {
            let Some(table) = self.tables.get_mut(&id) else { continue };
            match step {
                Undo::Row(row, diff) => *table.open.entry(row).or_insert(0) -= diff,
                Undo::Taken(place, key) => table.keys[place].remove(&key, self.epochs),
                Undo::Freed(place, key, row) => table.keys[place].insert(&key, row, self.epochs),
            }
        }
    }

    /// Takes in what the cut log says was committed. A table that is gone since is passed over.
    pub(super) fn replay(&mut self, change: LoggedChange) -> Result<()> {
        let Some(table) = self.tables.get_mut(&change.table) else { return Ok(()) };
        let deletes = Rows::decode(&table.definition, change.deletes)?;
        let inserts = Rows::decode(&table.definition, change.inserts)?;
        table.push(deletes.batch, -1);
        table.push(inserts.batch, 1);
        Ok(())
    }

    /// The rows that have these values of a key, as their bytes. To be asked between two epochs.
    pub(super) fn lookup(
        &self,
        id: RelationId,
        declared: &UniqueKey,
        values: &[Option<Box<[u8]>>],
    ) -> Result<Vec<Option<Vec<u8>>>> {
        let table = self.tables.get(&id).ok_or_else(|| super::not_there(id))?;
        let key = table.definition.keys.iter().position(|key| key == declared);
        let Some(index) = key.and_then(|key| table.keys.get(key)) else { return Err(changed_meanwhile()) };
        let (codec, key_codec) = (table.definition.codec(), table.definition.key_codec(declared));
        let has_key = |row: &[u8], wanted: &[u8]| {
            let columns = codec.decode(std::iter::once(row))?;
            let of_key: Vec<_> = declared.columns.iter().map(|place| columns[*place].clone()).collect();
            Ok::<_, Error>(key_codec.encode(&of_key, 1)?.row(0) == wanted)
        };
        let found = values.iter().map(|value| {
            let value = value.as_deref()?;
            let hash = index.find(value)?;
            let shard = table.arrangement.shards[shard_of(hash)].read();
            let keys = &shard.groups.keys;
            let id = keys.find_where(hash, |row| has_key(row, value).unwrap_or(false))?;
            keys.key(id).map(<[u8]>::to_vec)
        });
        Ok(found.collect())
    }

    /// The changes of the open epoch, which closes.
    pub(super) fn close(&mut self) -> Result<HashMap<RelationId, Delta>> {
        let mut deltas = HashMap::new();
        for (id, table) in &mut self.tables {
            table.open = HashMap::new();
            let parts = std::mem::take(&mut table.delta);
            let Some((first, _)) = parts.first() else { continue };
            let schema = first.schema();
            let rows = concat_batches(&schema, parts.iter().map(|(batch, _)| batch))?;
            let diffs = if parts.iter().all(|(_, diff)| *diff == 1) {
                None
            } else {
                let diffs = parts.iter().flat_map(|(batch, diff)| std::iter::repeat_n(*diff, batch.num_rows()));
                Some(diffs.collect::<Vec<i64>>().into())
            };
            deltas.insert(*id, vec![Batch { rows, diffs }]);
        }
        Ok(deltas)
    }
}

impl Table {
    fn push(&mut self, batch: RecordBatch, diff: i64) {
        if batch.num_rows() > 0 {
            self.delta.push((batch, diff));
        }
    }

    /// How often a row is there.
    fn count(&self, row: &[u8]) -> i64 {
        let hash = hash_bytes(row);
        let shard = self.arrangement.shards[shard_of(hash)].read();
        let stored = shard.groups.find(hash, row).map_or(0, |image| Output::multiplicity(&image));
        #[cfg(test)]
        if planted(Fault::HeadForgotten) {
            return stored;
        }
        stored + self.open.get(row).copied().unwrap_or(0)
    }

    /// Applies a change step by step, each told to `note`; the places of the rows left out.
    fn apply(&mut self, change: &Change, epochs: Epochs, note: &mut dyn FnMut(Undo)) -> Result<Vec<usize>> {
        let (deletes, inserts) = (&change.deletes, &change.inserts);
        if change.definition.keys != self.definition.keys {
            return Err(changed_meanwhile());
        }
        for row in 0..deletes.len() {
            let bytes = deletes.bytes.row(row);
            if self.count(bytes) <= 0 {
                return Err(Error::new(
                    SqlState::SerializationFailure,
                    "could not serialize access due to concurrent update",
                ));
            }
            self.add(bytes, -1, note);
            for (place, keys) in deletes.keys.iter().enumerate() {
                if let Some(key) = keys.get(row) {
                    self.keys[place].remove(key, epochs);
                    note(Undo::Freed(place, key.into(), hash_bytes(bytes)));
                }
            }
        }
        let mut skipped = Vec::new();
        for row in 0..inserts.len() {
            if self.is_left_out(change, row)? {
                skipped.push(row);
                continue;
            }
            self.add(inserts.bytes.row(row), 1, note);
            for (place, keys) in inserts.keys.iter().enumerate() {
                if let Some(key) = keys.get(row) {
                    self.keys[place].insert(key, hash_bytes(inserts.bytes.row(row)), epochs);
                    note(Undo::Taken(place, key.into()));
                }
            }
        }
        Ok(skipped)
    }

    fn add(&mut self, row: &[u8], diff: i64, note: &mut dyn FnMut(Undo)) {
        *self.open.entry(row.into()).or_insert(0) += diff;
        note(Undo::Row(row.into(), diff));
    }

    /// Whether a row is left out because another has its key; an error if the commit fails.
    fn is_left_out(&self, change: &Change, row: usize) -> Result<bool> {
        #[cfg(test)]
        if planted(Fault::KeyForgotten) {
            return Ok(false);
        }
        let inserts = &change.inserts;
        let taken = |place: usize| inserts.keys[place].get(row).is_some_and(|key| self.keys[place].contains(key));
        let Some(place) = (0..self.keys.len()).find(|place| taken(*place)) else { return Ok(false) };
        let concerns = |wanted: Option<usize>| wanted.is_none_or(taken);
        match change.on_conflict {
            OnConflict::Skip(wanted) if concerns(wanted) => Ok(true),
            OnConflict::Retry(wanted) if concerns(wanted) => Err(changed_meanwhile()),
            _ => Err(change.definition.violation(place, &inserts.batch, row)),
        }
    }
}

/// The indexes of a table's unique keys over its rows.
fn indexes(definition: &TableDefinition, arrangement: &Arrangement) -> Result<Vec<Arc<UniqueIndex>>> {
    let keys: Vec<Arc<UniqueIndex>> = definition.keys.iter().map(|_| Arc::new(UniqueIndex::new())).collect();
    if keys.is_empty() {
        return Ok(keys);
    }
    for shard in 0..SHARDS {
        for batch in arrangement.read_shard(shard, u64::MAX)? {
            let rows = Rows::new(definition, &batch)?;
            for (place, (index, taken)) in keys.iter().zip(&rows.keys).enumerate() {
                for (row, key) in (0..rows.len()).filter_map(|row| Some((row, taken.get(row)?))) {
                    if index.contains(key) {
                        return Err(definition.violation(place, &rows.batch, row));
                    }
                    index.insert(key, hash_bytes(rows.bytes.row(row)), Epochs::default());
                }
            }
        }
    }
    Ok(keys)
}

fn rows_of(rows: &Rows) -> impl Iterator<Item = &[u8]> {
    (0..rows.len()).map(|row| rows.bytes.row(row))
}

pub(super) fn changed_meanwhile() -> Error {
    Error::new(SqlState::SerializationFailure, "could not serialize access due to concurrent update")
}

/// Rows without those at these places.
fn without(rows: Rows, places: &[usize]) -> Result<Rows> {
    if places.is_empty() {
        return Ok(rows);
    }
    let mut left_out = places.iter().copied().peekable();
    let mut bytes = EncodedRows::default();
    let mut mask = Vec::with_capacity(rows.len());
    for row in 0..rows.len() {
        let keep = left_out.next_if_eq(&row).is_none();
        if keep {
            bytes.push(rows.bytes.row(row));
        }
        mask.push(keep);
    }
    let batch = filter_record_batch(&rows.batch, &BooleanArray::from(mask))?;
    Ok(Rows { batch, bytes, keys: Vec::<Keys>::new() })
}
