//! What must hold in the world: after every published epoch each view is what the reference computes,
//! snapshots that are held stay, and after a restart nothing acknowledged is missing.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{ArrayRef, RecordBatch};
use tokio::sync::oneshot::{self, error::TryRecvError};

use super::evaluate::{Answer, Relations, evaluate};
use super::value::{Bag, Row, Type, Value, add, rows_of};
use super::world::{Failure, SOURCES, TABLES, World};
use crate::arrangement::Pin;
use crate::arrangement::hash::{SHARDS, hash_bytes};
use crate::coordinator::shared::{Published, ViewHandle};
use crate::delta::Batch;
use crate::engine::{Build, BuildState, KeyRange, ReadKey};
use crate::error::{Error, Result, SqlState};
use crate::graph::Reading;
use crate::plan::RelationId;
use crate::source::Offsets;

/// Lines of the log that are kept.
const LINES: usize = 400;

/// What was done, for whoever replays or counts.
#[derive(Debug, Default, Clone)]
pub(crate) struct Log {
    pub(crate) lines: VecDeque<String>,
    pub(crate) digest: u64,
    pub(crate) epochs: u64,
    /// Those of them with 1,000 changes or more.
    pub(crate) large: u64,
    pub(crate) comparisons: u64,
    pub(crate) crashes: u64,
    pub(crate) restarts: u64,
    pub(crate) checkpoints: u64,
    pub(crate) views: u64,
}

impl Log {
    pub(crate) fn note(&mut self, line: String) {
        self.digest = hash_bytes(&[&self.digest.to_be_bytes()[..], line.as_bytes()].concat());
        self.lines.push_back(line);
        if self.lines.len() > LINES {
            self.lines.pop_front();
        }
    }
}

/// What was seen of the engine.
#[derive(Default)]
pub(crate) struct Seen {
    /// The newest epoch, and the offsets in it of the sources that are read.
    pub(crate) epoch: u64,
    offsets: BTreeMap<u32, Offsets>,
    /// What every relation holds at it.
    pub(crate) answers: Relations,
    /// The catalog that recovery found.
    pub(crate) catalog: Vec<u32>,
    /// Answers that are awaited.
    pub(crate) added: Option<(u32, oneshot::Receiver<Result<Build>>)>,
    pub(crate) committed: Option<oneshot::Receiver<Result<()>>>,
    /// A view that outgrew the reference.
    pub(crate) too_large: Option<u32>,
}

/// A snapshot that is held, and what it must show.
pub(crate) struct Pinned {
    published: Arc<Published>,
    pin: Pin,
    answers: BTreeMap<u32, Answer>,
    left: usize,
}

/// Rows of a view beyond which it is dropped.
const TOO_MANY_ROWS: i64 = 3000;

/// Every how manyth epoch rows of a relation are looked up by key, and how many.
const LOOKUP_EVERY: u64 = 4;
const LOOKUPS: usize = 3;

/// Rows that each range is read up to.
const RANGE_ROWS: usize = 2;

/// Changes from which on an epoch counts as large.
const LARGE: usize = 1000;

impl World {
    /// Takes the answers in that the turn gave.
    pub(crate) fn settle(&mut self) -> Result<(), Failure> {
        while let Some(mut sent) = self.sent.pop_front() {
            match sent.reply.try_recv() {
                Ok(answer) => {
                    judge(&answer.map(drop), sent.accepted, &sent.text)?;
                    self.acknowledged = sent.after;
                }
                Err(_) => return Err(format!("no answer: {}", sent.text)),
            }
        }
        if let Some(mut committed) = self.seen.committed.take() {
            match committed.try_recv() {
                Ok(Ok(())) => self.catalog = self.next_catalog.take().unwrap_or_default(),
                other => return Err(format!("the catalog is not committed: {other:?}")),
            }
        }
        let Some(running) = &mut self.running else { return Ok(()) };
        if let Some((id, mut added)) = self.seen.added.take() {
            match added.try_recv() {
                Ok(Ok(build)) => drop(running.builds.insert(id, build.state)),
                other => return Err(format!("view {id} is not added: {other:?}")),
            }
        }
        for (id, state) in &running.builds {
            if let BuildState::Failed(error) = &*state.borrow() {
                return Err(format!("view {id} cannot be built: {error}"));
            }
        }
        let live = |state: &tokio::sync::watch::Receiver<BuildState>| *state.borrow() == BuildState::Live;
        let before = running.builds.len();
        running.builds.retain(|_, state| !live(state));
        self.log.views += (before - running.builds.len()) as u64;
        Ok(())
    }

    /// After a restart: what was acknowledged is there, and nothing that was refused.
    pub(crate) fn check_recovered(&mut self) -> Result<(), Failure> {
        let asked = self.next_catalog.take();
        if self.seen.catalog != self.catalog && Some(&self.seen.catalog) != asked.as_ref() {
            return Err(format!("the catalog is {:?}, must be {:?} or {asked:?}", self.seen.catalog, self.catalog));
        }
        self.catalog.clone_from(&self.seen.catalog);
        (self.seen.added, self.seen.committed) = (None, None);
        // Those who were answered before the crash count; of the others a first part may.
        let mut possible = vec![self.acknowledged.clone()];
        for mut sent in std::mem::take(&mut self.sent) {
            match sent.reply.try_recv() {
                Ok(answer) => {
                    let dying = answer.as_ref().err().is_some_and(|error| error.state() == SqlState::InternalError);
                    if dying {
                        possible.push(sent.after);
                        continue;
                    }
                    judge(&answer.map(drop), sent.accepted, &sent.text)?;
                    possible = vec![sent.after];
                }
                Err(TryRecvError::Closed | TryRecvError::Empty) => possible.push(sent.after),
            }
        }
        let mut held = BTreeMap::new();
        let published = self.running.as_ref().map(|running| running.shared.newest()).unwrap_or_default();
        for id in TABLES {
            let types = self.types(id);
            let reading = published.views.get(&RelationId(id)).and_then(|handle| handle.reading.as_ref());
            let reading = reading.ok_or_else(|| format!("table {id} cannot be read"))?;
            held.insert(id, read(reading, published.epoch, &types).map_err(text)?);
        }
        if !possible.contains(&held) {
            return Err(format!("the tables hold {held:?}, must be one of {possible:?}"));
        }
        for (id, rows) in &held {
            self.tables.get_mut(id).unwrap().rows.clone_from(rows);
        }
        self.acknowledged = held;
        self.check_no_step_back(&published)?;
        self.seen.epoch = 0;
        self.check()
    }

    /// What was published is not taken back, unless a source could not be read again.
    fn check_no_step_back(&self, published: &Published) -> Result<(), Failure> {
        if published.epoch < self.seen.epoch {
            return Err(format!("epoch {} after a restart, {} was published", published.epoch, self.seen.epoch));
        }
        for (id, before) in &self.seen.offsets {
            let Some(status) = published.sources.get(&RelationId(*id)).filter(|status| status.active) else { continue };
            let behind =
                |(partition, offset): (&i32, &i64)| status.offsets.get(partition).copied().unwrap_or(0) < *offset;
            if !self.sources[id].away.load(Ordering::Relaxed) && before.iter().any(behind) {
                return Err(format!("source {id} is at {:?} after a restart, was at {before:?}", status.offsets));
            }
        }
        Ok(())
    }

    /// The newest published epoch against the reference.
    pub(crate) fn check(&mut self) -> Result<(), Failure> {
        self.check_pins()?;
        let Some(running) = &self.running else { return Ok(()) };
        let published = running.shared.newest();
        if published.epoch == self.seen.epoch {
            return Ok(());
        }
        self.seen.epoch = published.epoch;
        self.log.epochs += 1;
        self.log.large += u64::from(std::mem::take(&mut self.changed) >= LARGE);
        self.log.digest = hash_bytes(&[self.log.digest.to_be_bytes(), published.epoch.to_be_bytes()].concat());
        let mut answers = Relations::new();
        self.seen.offsets.clear();
        for id in SOURCES {
            let Some(status) = published.sources.get(&RelationId(id)) else { continue };
            let (rows, bad) = self.sources[&id].before(&status.offsets);
            let valid = rows.values().sum::<i64>() as u64;
            if (status.rows, status.errors) != (valid, bad) {
                return Err(format!(
                    "source {id} counts {} rows, {} errors; it has {valid}, {bad}",
                    status.rows, status.errors
                ));
            }
            if status.active {
                self.seen.offsets.insert(id, status.offsets.clone());
            }
            answers.insert(id, Answer { rows, fails: false });
        }
        for (id, table) in &self.tables {
            answers.insert(*id, Answer { rows: table.rows.clone(), fails: false });
        }
        for id in self.catalog.iter().chain(self.next_catalog.iter().flatten()) {
            if !answers.contains_key(id) {
                let answer = evaluate(&self.queries[id], &answers);
                let most = if self.setup.large { 10 * TOO_MANY_ROWS } else { TOO_MANY_ROWS };
                if answer.rows.values().sum::<i64>() > most {
                    self.seen.too_large = Some(*id);
                }
                answers.insert(*id, answer);
            }
        }
        for (id, handle) in published.views.iter() {
            let (Some(reading), Some(answer)) = (&handle.reading, answers.get(&id.0)) else { continue };
            self.log.comparisons += 1;
            let fails = !handle.errors.is_empty();
            self.compare(id.0, reading, published.epoch, answer)?;
            self.check_lookups(id.0, handle, published.epoch, answer)?;
            if fails != answer.fails {
                return Err(self.explained(id.0, &format!("it fails: {fails}, must: {}", answer.fails)));
            }
            let (rows, must) = (handle.rows.load(Ordering::Relaxed), answer.rows.values().sum::<i64>());
            if rows != must {
                return Err(self.explained(id.0, &format!("it counts {rows} rows, has {must}")));
            }
        }
        self.seen.answers = answers;
        self.check_users()
    }

    /// Every node has as many users as it has readers, names and builds.
    fn check_users(&self) -> Result<(), Failure> {
        let jobs = self.hands.jobs.lock();
        let held: Vec<u32> = jobs.iter().flat_map(|held| held.job.dataflow.imports()).map(|(_, live)| live).collect();
        let Some(running) = &self.running else { return Ok(()) };
        if running.coordinator.is_splicing() || running.inbox.has_commands() {
            return Ok(());
        }
        running.coordinator.dataflow().check_users(&held)
    }

    fn compare(&self, id: u32, reading: &Reading, epoch: u64, answer: &Answer) -> Result<(), Failure> {
        let rows = read(reading, epoch, &self.types(id)).map_err(text)?;
        if rows == answer.rows {
            return Ok(());
        }
        let mut difference = rows;
        answer.rows.iter().for_each(|(row, count)| add(&mut difference, row.clone(), -count));
        let lines: Vec<String> =
            difference.iter().take(12).map(|(row, count)| format!("  {count:+} {row:?}")).collect();
        Err(self.explained(id, &format!("+ only in the engine, - only in the reference:\n{}", lines.join("\n"))))
    }

    /// Rows found by key are those that a scan gives: for keys that there are now and that there were
    /// at the epoch. Some of them, now and then.
    fn check_lookups(&self, id: u32, handle: &ViewHandle, epoch: u64, answer: &Answer) -> Result<(), Failure> {
        let chosen = self.seen.epoch + u64::from(id);
        let Some(reading) = handle.reading.as_ref().filter(|_| !answer.fails && chosen.is_multiple_of(LOOKUP_EVERY))
        else {
            return Ok(());
        };
        let types = self.types(id);
        for (key, at) in handle.keys.iter().flat_map(|key| [(key, epoch), (key, u64::MAX)]) {
            let first = (chosen / LOOKUP_EVERY) as usize;
            let read = |shard: usize| reading.arrangement.read_shard((first + shard) % SHARDS, at);
            let found = (0..SHARDS).map(read).find(|read| !matches!(read, Ok(batches) if batches.is_empty()));
            let delta = found.transpose().map_err(text)?.unwrap_or_default().into_iter().map(Batch::inserted).collect();
            for batch in reading.mapped(delta).map_err(text)? {
                for (place, row) in rows_of(&types, &batch.rows).enumerate().take(LOOKUPS) {
                    let columns = key.columns();
                    let values: Vec<_> =
                        columns.iter().map(|column| batch.rows.column(*column).slice(place, 1)).collect();
                    let mut found = Bag::new();
                    let batch = key.find(reading, epoch, &values).map_err(text)?;
                    rows_of(&types, &batch).for_each(|row| add(&mut found, row, 1));
                    let same = |other: &&Vec<Value>| {
                        columns.iter().all(|column| other[*column] == row[*column] && row[*column] != Value::Null)
                    };
                    let mut wanted = Bag::new();
                    answer.rows.keys().filter(same).for_each(|row| add(&mut wanted, row.clone(), 1));
                    if found != wanted {
                        let message = format!("by {columns:?} of {row:?} is found {found:?}, must {wanted:?}");
                        return Err(self.explained(id, &message));
                    }
                    for backwards in [false, true] {
                        let found = range_from(key, (reading, epoch), &values, backwards).map_err(text)?;
                        let Some(found) = found.map(|rows| rows_of(&types, &rows).collect::<Vec<_>>()) else {
                            continue;
                        };
                        check_range(columns, &row, backwards, found, answer)
                            .map_err(|message| self.explained(id, &message))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn explained(&self, id: u32, text: &str) -> String {
        let query = self.queries.get(&id).map_or_else(String::new, |query| format!("{query:?}"));
        format!("relation {id} at epoch {}: {text}\n{query}", self.seen.epoch)
    }

    /// Holds the newest snapshot for a while.
    pub(crate) fn pin(&mut self) {
        let Some(running) = &self.running else { return };
        if self.pins.len() > 2 || running.shared.newest().epoch != self.seen.epoch {
            return;
        }
        let (published, pin) = running.shared.pin();
        self.pins.push(Pinned { published, pin, answers: self.seen.answers.clone(), left: 12 });
    }

    fn check_pins(&mut self) -> Result<(), Failure> {
        for pinned in &self.pins {
            for (id, handle) in pinned.published.views.iter() {
                let (Some(reading), Some(answer)) = (&handle.reading, pinned.answers.get(&id.0)) else { continue };
                let compared = self.compare(id.0, reading, pinned.pin.epoch, answer);
                let compared = compared.and_then(|()| self.check_lookups(id.0, handle, pinned.pin.epoch, answer));
                compared.map_err(|text| format!("a snapshot of epoch {} that is held: {text}", pinned.pin.epoch))?;
            }
        }
        self.pins.iter_mut().for_each(|pinned| pinned.left -= 1);
        self.pins.retain(|pinned| pinned.left > 0);
        Ok(())
    }
}

fn text(error: Error) -> String {
    format!("it cannot be read: {error}")
}

/// Whether a commit was answered as it must be.
fn judge(answer: &Result<()>, accepted: bool, text: &str) -> Result<(), Failure> {
    let refused = |error: &Error| matches!(error.state(), SqlState::SerializationFailure | SqlState::UniqueViolation);
    match answer {
        Ok(()) if accepted => Ok(()),
        Err(error) if !accepted && refused(error) => Ok(()),
        other => Err(format!("{text}: {other:?}")),
    }
}

/// All rows at an epoch.
pub(crate) fn read(reading: &Reading, epoch: u64, types: &[Type]) -> Result<Bag> {
    let mut out = Bag::new();
    let mut delta = Vec::new();
    for shard in 0..SHARDS {
        delta.extend(reading.arrangement.read_shard(shard, epoch)?.into_iter().map(Batch::inserted));
    }
    for batch in reading.mapped(delta)? {
        rows_of(types, &batch.rows).for_each(|row| add(&mut out, row, 1));
    }
    Ok(out)
}

/// The first rows of a key from these values on.
fn range_from(
    key: &ReadKey,
    (reading, epoch): (&Reading, u64),
    values: &[ArrayRef],
    backwards: bool,
) -> Result<Option<RecordBatch>> {
    let Some((last, equal)) = values.split_last() else { return Ok(None) };
    let (low, high) = match backwards {
        false => (Bound::Included(last), Bound::Unbounded),
        true => (Bound::Unbounded, Bound::Excluded(last)),
    };
    key.range(reading, epoch, &KeyRange { equal, low, high, backwards, most: RANGE_ROWS })
}

/// Whether the first rows of such a range are among those found, and those found are in it.
fn check_range(
    columns: &[usize],
    from: &Row,
    backwards: bool,
    found: Vec<Row>,
    answer: &Answer,
) -> std::result::Result<(), String> {
    let key = |row: &Row| -> Row { columns.iter().map(|column| row[*column].clone()).collect() };
    let start = key(from);
    let last = start.len() - 1;
    let is_within = |row: &&Row| {
        let key = key(row);
        let is_nulls = start.contains(&Value::Null) || key.contains(&Value::Null);
        !is_nulls && key[..last] == start[..last] && (key[last] < start[last]) == backwards
    };
    let mut wanted: Vec<&Row> = answer.rows.keys().filter(is_within).collect();
    wanted.sort_by_key(|row| key(row));
    if backwards {
        wanted.reverse();
    }
    let stray = found.iter().find(|row| !wanted.contains(row));
    let missing = wanted.iter().take(RANGE_ROWS).find(|row| !found.contains(row));
    match (stray, missing) {
        (None, None) => Ok(()),
        _ => Err(format!("range by {columns:?} from {start:?}: found and not there {stray:?}, missing {missing:?}")),
    }
}
