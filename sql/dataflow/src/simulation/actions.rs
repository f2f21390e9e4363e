//! What happens in the world, drawn from the seed: records, commits, DDL, builds that go a round
//! further, checkpoints that are written, time, restarts and crashes.

use std::sync::atomic::Ordering;

use rand::Rng;
use rand::seq::IndexedRandom;
use tokio::sync::oneshot;

use super::evaluate::evaluate;
use super::generate::{Draw, Relation, row};
use super::query::Query;
use super::source::{PARTITIONS, Record};
use super::storage::Full;
use super::value::{Bag, Row, add, batch};
use super::world::{Failure, HeldJob, SOURCES, Sent, TABLES, World};
use crate::coordinator::hands::Hands;
use crate::coordinator::{Command, Commit, SplicePoint, writer};
use crate::engine::{BuildState, ViewDefinition};
use crate::plan::RelationId;
use crate::table::{Change, OnConflict, TableChange};

/// Rows of a source or table, at most: the reference computes all of them after every epoch.
fn most_rows(large: bool) -> i64 {
    if large { 3000 } else { 70 }
}

/// Rows of a view when it is made, at most.
fn most_view_rows(large: bool) -> i64 {
    if large { 10_000 } else { 300 }
}

/// Views at a time.
const MOST_VIEWS: usize = 5;

impl World {
    /// One thing happens, then the coordinator has a turn.
    pub(crate) fn act(&mut self) -> Result<(), Failure> {
        let time = self.random.random_range(0..4000);
        self.hands.pass(time);
        match self.random.random_range(0..200) {
            0..20 => self.append(),
            20..60 => self.deliver(),
            60..106 => self.commit(),
            106..140 => self.advance_build()?,
            140..164 => self.write_checkpoint(),
            164..180 => self.create_view(),
            180..184 => self.drop_view(),
            184..190 => self.pin(),
            190 => self.stop(),
            191 => {
                self.log.note("crash".into());
                return self.crash();
            }
            192 | 193 => {
                let (touches, happens) = (self.random.random_range(0..25), self.random.random_bool(0.5));
                self.log.note(format!("will crash after {touches} touches"));
                self.fuse.light(touches, happens);
            }
            194 | 195 => self.go_away(),
            _ => self.hands.pass(60_000),
        }
        self.turn()
    }

    fn append(&mut self) {
        let source = self.sources[SOURCES.choose(&mut self.random).unwrap()].clone();
        let there: i64 = source.ends().values().sum();
        let large = self.setup.large;
        let most = if large { 1500 } else { 10 };
        for _ in 0..self.random.random_range(1..most) {
            if there > most_rows(large) {
                break;
            }
            let bad = self.random.random_bool(0.05);
            let record = if bad { Record::Bad } else { Record::Row(row(&mut self.random, large)) };
            source.append(self.random.random_range(0..PARTITIONS), record);
        }
        self.deliver();
    }

    fn deliver(&mut self) {
        for _ in 0..self.random.random_range(1..4) {
            let source = self.sources[SOURCES.choose(&mut self.random).unwrap()].clone();
            source.deliver(&mut self.random);
        }
    }

    fn go_away(&mut self) {
        let source = self.sources[SOURCES.choose(&mut self.random).unwrap()].clone();
        let away = !source.away.load(Ordering::Relaxed);
        self.log.note(format!("a source is {}", if away { "away" } else { "back" }));
        source.away.store(away, Ordering::Relaxed);
    }

    /// One to three commits for the same epoch; some must be refused.
    fn commit(&mut self) {
        for _ in 0..self.random.random_range(1..4) {
            let mut changes = Vec::new();
            let both = self.random.random_bool(0.2);
            let mut wanted = vec![*TABLES.choose(&mut self.random).unwrap()];
            if both {
                wanted = TABLES.to_vec();
            }
            for id in wanted {
                changes.push((id, self.deletes(id), self.inserts(id)));
            }
            self.send_commit(changes);
        }
    }

    /// Rows to be deleted: some of those that are there, now and then one that is not.
    fn deletes(&mut self, table: u32) -> Vec<Row> {
        let rows = self.tables[&table].rows.clone();
        let crowded = rows.values().sum::<i64>() > most_rows(self.setup.large);
        let mut deletes = Vec::new();
        for (row, count) in &rows {
            let share = if crowded { 0.5 } else { 0.08 };
            if self.random.random_bool(share) {
                let times = self.random.random_range(1..=*count);
                deletes.extend(std::iter::repeat_n(row.clone(), times as usize));
            }
        }
        if self.random.random_bool(0.04) {
            deletes.push(row(&mut self.random, self.setup.large));
        }
        deletes
    }

    fn inserts(&mut self, table: u32) -> Vec<Row> {
        let large = self.setup.large && table == TABLES[0];
        let count = if large { self.random.random_range(800..1200) } else { self.random.random_range(0..5) };
        let mut inserts: Vec<Row> = (0..count).map(|_| row(&mut self.random, large)).collect();
        if table == TABLES[1] && self.random.random_bool(0.7) {
            // Mostly none that must be refused.
            let taken = |rows: &Bag, row: &Row| rows.keys().any(|other| same_key(other, row));
            let rows = &self.tables[&table].rows;
            inserts.retain(|row| !taken(rows, row));
            let mut kept: Vec<Row> = Vec::new();
            for row in inserts {
                if !kept.iter().any(|other| same_key(other, &row)) {
                    kept.push(row);
                }
            }
            return kept;
        }
        if self.random.random_bool(0.3) {
            inserts.extend(inserts.first().cloned().filter(|_| table != TABLES[1]));
        }
        inserts
    }

    fn send_commit(&mut self, changes: Vec<(u32, Vec<Row>, Vec<Row>)>) {
        let mut after = self
            .tables
            .iter()
            .map(|(id, table)| (*id, table.rows.clone()))
            .collect::<std::collections::BTreeMap<_, _>>();
        let accepted = changes.iter().all(|(id, deletes, inserts)| {
            let rows = after.get_mut(id).unwrap();
            apply(rows, deletes, inserts, *id == TABLES[1])
        });
        let count: usize = changes.iter().map(|(_, deletes, inserts)| deletes.len() + inserts.len()).sum();
        let what = if count > 100 { format!("{count} rows") } else { format!("{changes:?}") };
        let text = format!("commit {what}, {}", if accepted { "accepted" } else { "refused" });
        let changes: Vec<TableChange> = changes
            .iter()
            .map(|(id, deletes, inserts)| TableChange {
                table: self.tables[id].definition.clone(),
                deletes: batch(&super::source::columns(), deletes.iter()),
                inserts: batch(&super::source::columns(), inserts.iter()),
                on_conflict: OnConflict::Fail,
            })
            .collect();
        if accepted {
            self.changed += count;
            for (id, rows) in &after {
                self.tables.get_mut(id).unwrap().rows.clone_from(rows);
            }
        } else {
            after = self.tables.iter().map(|(id, table)| (*id, table.rows.clone())).collect();
        }
        self.log.note(text.clone());
        let (reply, answer) = oneshot::channel();
        let changes = Change::encode(&changes).unwrap();
        self.send(Command::Commit(Commit { changes, reply }));
        self.sent.push_back(Sent { reply: answer, accepted, after, text });
    }

    /// A view over what is there, if the reference can keep up with it.
    fn create_view(&mut self) {
        if self.catalog.len() >= MOST_VIEWS || self.next_catalog.is_some() {
            return;
        }
        let mut relations: Vec<Relation> = SOURCES.iter().map(|id| self.relation(*id, true)).collect();
        relations.extend(TABLES.iter().map(|id| self.relation(*id, false)));
        let published = self.running.as_ref().map(|running| running.shared.newest()).unwrap_or_default();
        let is_live = |id: &u32| {
            let handle = published.views.get(&RelationId(*id));
            handle.is_some_and(|handle| *handle.state.borrow() == BuildState::Live)
        };
        let live: Vec<u32> = self.catalog.iter().copied().filter(is_live).collect();
        relations.extend(live.iter().map(|id| self.relation(*id, false)));
        let query = self.query(&relations);
        let answer = evaluate(&query, &self.seen.answers);
        if answer.rows.values().sum::<i64>() > most_view_rows(self.setup.large) {
            return;
        }
        let id = self.next_view;
        self.next_view += 1;
        self.log.note(format!("create view {id}: {query:?}"));
        let plan = query.lower();
        self.queries.insert(id, query);
        // As the SQL layer does it: first the catalog, then the build.
        let next = self.catalog.iter().copied().chain([id]).collect();
        self.commit_catalog(next);
        let (reply, answer) = oneshot::channel();
        self.send(Command::AddView { definition: ViewDefinition { id: RelationId(id), plan }, reply });
        self.seen.added = Some((id, answer));
    }

    /// A new query, or one that a view had before: what was dropped comes again.
    fn query(&mut self, relations: &[Relation]) -> Query {
        if self.random.random_bool(0.25) {
            let known = |query: &&Query| {
                let mut reads = Vec::new();
                query.reads(&mut reads);
                reads.iter().all(|id| relations.iter().any(|relation| relation.id == *id))
            };
            let before: Vec<&Query> = self.queries.values().filter(known).collect();
            if let Some(query) = before.choose(&mut self.random) {
                return (*query).clone();
            }
        }
        let depth = self.random.random_range(1..5);
        let joins = !self.setup.large;
        Draw { random: &mut self.random, relations, parts: &mut self.parts, joins }.query(depth)
    }

    fn relation(&self, id: u32, source: bool) -> Relation {
        Relation { id, types: self.types(id), source }
    }

    fn commit_catalog(&mut self, next: Vec<u32>) {
        let (reply, answer) = oneshot::channel();
        let bytes = serde_json::to_vec(&next).unwrap();
        self.next_catalog = Some(next);
        self.send(Command::CommitCatalog { bytes, reply });
        self.seen.committed = Some(answer);
    }

    /// Drops a view that no other reads, being built or not.
    fn drop_view(&mut self) {
        if self.next_catalog.is_some() {
            return;
        }
        let is_read = |id: u32| {
            self.catalog.iter().any(|other| {
                let mut reads = Vec::new();
                self.queries[other].reads(&mut reads);
                reads.contains(&id)
            })
        };
        let free: Vec<u32> = self.catalog.iter().copied().filter(|id| !is_read(*id)).collect();
        let Some(id) = free.choose(&mut self.random).copied() else { return };
        self.log.note(format!("drop view {id}"));
        self.drop_this(id);
    }

    /// Drops a view.
    pub(crate) fn drop_this(&mut self, id: u32) {
        let next = self.catalog.iter().copied().filter(|other| *other != id).collect();
        self.commit_catalog(next);
        let (reply, answer) = oneshot::channel();
        drop(answer);
        self.send(Command::Remove { ids: vec![RelationId(id)], reply });
        if let Some(running) = &mut self.running {
            running.builds.remove(&id);
        }
    }

    /// Lets a build do its next step: a round, or the question how far the epochs are, or its end.
    fn advance_build(&mut self) -> Result<(), Failure> {
        let count = self.hands.jobs.lock().len();
        if count == 0 {
            return Ok(());
        }
        let place = self.random.random_range(0..count);
        let HeldJob { mut job, target, begun } = self.hands.jobs.lock().remove(place);
        let Some(running) = &self.running else { return Ok(()) };
        let view = job.view;
        let mut failed = None;
        let next = match target {
            Some(target) => {
                self.log.note(format!("the build of {} goes a round", view.0));
                let begin = if begun { Ok(()) } else { job.begin() };
                failed = begin.and_then(|()| job.follow(target, self.hands.instant())).err();
                None
            }
            None => {
                let target = running.coordinator.target();
                if job.is_close(&target) && self.random.random_bool(0.6) {
                    self.log.note(format!("the build of {} is ready", view.0));
                    running.inbox.send(Command::Splice(Box::new(SplicePoint { job })));
                    return Ok(());
                }
                Some(target)
            }
        };
        match failed {
            None => self.hands.jobs.lock().push(HeldJob { job, target: next, begun: true }),
            Some(error) => running.inbox.send(Command::BuildFailed { view, held: job.held(), error }),
        }
        Ok(())
    }

    /// Lets the checkpoint that waits, if one does, be written; now and then the disk is full.
    pub(crate) fn write_checkpoint(&mut self) {
        let frozen = self.hands.frozen.lock().as_ref().and_then(|frozen| frozen.try_recv().ok());
        let (Some(frozen), Some(running)) = (frozen, &self.running) else { return };
        let now = || self.hands.instant();
        let full = self.random.random_bool(0.1);
        self.log.note(format!("checkpoint of epoch {} {}", frozen.epoch, if full { "fails" } else { "is written" }));
        if full {
            writer::write(frozen, &Full(running.storage.store.clone()), &running.inbox, now);
        } else {
            writer::write(frozen, running.storage.store.as_ref(), &running.inbox, now);
            self.log.checkpoints += 1;
        }
    }

    /// Stops the engine kindly.
    fn stop(&mut self) {
        self.log.note("stop".into());
        self.write_checkpoint();
        let (reply, answer) = oneshot::channel();
        drop(answer);
        self.send(Command::Stop { reply });
    }
}

/// Whether two rows have the same value of the unique key, which has no null then.
fn same_key(a: &Row, b: &Row) -> bool {
    use super::value::Value::Null;
    a[..2] == b[..2] && a[0] != Null && a[1] != Null
}

/// Changes rows as a commit does; whether it is accepted.
fn apply(rows: &mut Bag, deletes: &[Row], inserts: &[Row], keyed: bool) -> bool {
    for row in deletes {
        if !rows.contains_key(row) {
            return false;
        }
        add(rows, row.clone(), -1);
    }
    for row in inserts {
        if keyed && rows.keys().any(|other| same_key(other, row)) {
            return false;
        }
        add(rows, row.clone(), 1);
    }
    true
}
