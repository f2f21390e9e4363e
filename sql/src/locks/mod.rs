//! Locks that sessions ask for: pg_advisory_lock and its kin, LOCK TABLE, and what the latter keeps away.
//!
//! PostgreSQL's eight modes and their conflicts. Promises: who waits is served in turn, but for who holds
//! the same lock already; a request that would wait for ever is refused (40P01); whoever stops waiting, or
//! goes, leaves nothing behind. In memory alone: no lock outlives the server. Knows no names.

mod deadlock;
mod session;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use thalweg_dataflow::error::{Error, Result, SqlState};
use tokio::sync::oneshot;

pub(crate) use session::{Scope, SessionLocks};

/// The most locks held and waited for at a time.
const MAX_LOCKS: usize = 1_000_000;

/// What is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Tag {
    /// A relation, by its oid.
    Relation(u32),
    /// What a client means by a number (`sub` 1) or by two (`sub` 2).
    Advisory {
        /// The higher half of the number, or the first of two.
        class: u32,
        /// The lower half, or the second of two.
        object: u32,
        /// Which of both.
        sub: i16,
    },
}

impl Tag {
    /// The lock of a number.
    pub(crate) fn number(key: i64) -> Tag {
        Tag::Advisory { class: (key >> 32) as u32, object: key as u32, sub: 1 }
    }

    /// What kind of thing it is, as PostgreSQL calls it.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Tag::Relation(_) => "relation",
            Tag::Advisory { .. } => "advisory",
        }
    }

    /// The lock of two numbers.
    pub(crate) fn pair(first: i32, second: i32) -> Tag {
        Tag::Advisory { class: first as u32, object: second as u32, sub: 2 }
    }
}

/// How it is locked, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Mode {
    AccessShare,
    RowShare,
    RowExclusive,
    ShareUpdateExclusive,
    Share,
    ShareRowExclusive,
    Exclusive,
    AccessExclusive,
}

/// The modes that each mode goes not together with, a bit each.
const CONFLICTS: [u8; 8] =
    [0b1000_0000, 0b1100_0000, 0b1111_0000, 0b1111_1000, 0b1110_1100, 0b1111_1100, 0b1111_1110, 0b1111_1111];

impl Mode {
    fn conflicts(self, other: Mode) -> bool {
        CONFLICTS[self as usize] & (1 << other as u8) != 0
    }

    /// As PostgreSQL calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Mode::AccessShare => "AccessShareLock",
            Mode::RowShare => "RowShareLock",
            Mode::RowExclusive => "RowExclusiveLock",
            Mode::ShareUpdateExclusive => "ShareUpdateExclusiveLock",
            Mode::Share => "ShareLock",
            Mode::ShareRowExclusive => "ShareRowExclusiveLock",
            Mode::Exclusive => "ExclusiveLock",
            Mode::AccessExclusive => "AccessExclusiveLock",
        }
    }
}

/// Who locks: a session, and the number by which others know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Holder {
    session: u32,
    pid: i32,
}

/// All locks of a database.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    state: Mutex<State>,
    /// How many are held ACCESS EXCLUSIVE.
    access_exclusive: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    locks: BTreeMap<Tag, Lock>,
    /// What each of those who wait waits for.
    waits: HashMap<Holder, (Tag, Mode)>,
    /// How many are held and waited for.
    count: usize,
}

#[derive(Debug, Default)]
struct Lock {
    held: Vec<Held>,
    queue: Vec<Waiter>,
}

#[derive(Debug)]
struct Held {
    holder: Holder,
    mode: Mode,
    /// How often.
    times: u32,
}

#[derive(Debug)]
struct Waiter {
    holder: Holder,
    mode: Mode,
    wake: oneshot::Sender<()>,
    /// Since when, in microseconds since 1970 UTC.
    since: i64,
}

/// A lock as `pg_locks` shows it.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    pub(crate) tag: Tag,
    pub(crate) mode: Mode,
    pub(crate) pid: i32,
    /// Since when it is waited for; `None`: it is held.
    pub(crate) waits_since: Option<i64>,
}

impl Lock {
    fn has(&self, holder: Holder) -> bool {
        self.held.iter().any(|held| held.holder == holder)
    }

    /// Those who keep a request from being granted, `ahead` of it in the queue.
    fn blockers(&self, holder: Holder, mode: Mode, ahead: usize) -> impl Iterator<Item = Holder> + '_ {
        let others = self.held.iter().filter(move |held| held.holder != holder && held.mode.conflicts(mode));
        // Who holds it already need not wait for those who wait for it.
        let ahead = if self.has(holder) { 0 } else { ahead };
        let before = self.queue.iter().take(ahead).filter(move |one| one.holder != holder && one.mode.conflicts(mode));
        others.map(|held| held.holder).chain(before.map(|waiter| waiter.holder))
    }

    fn is_free(&self, holder: Holder, mode: Mode, ahead: usize) -> bool {
        self.blockers(holder, mode, ahead).next().is_none()
    }

    fn grant(&mut self, holder: Holder, mode: Mode) -> usize {
        match self.held.iter_mut().find(|held| held.holder == holder && held.mode == mode) {
            Some(held) => {
                held.times = held.times.saturating_add(1);
                0
            }
            None => {
                self.held.push(Held { holder, mode, times: 1 });
                1
            }
        }
    }
}

impl State {
    /// Grants what can be granted of what is waited for.
    fn wake(&mut self, tag: Tag) {
        let Some(lock) = self.locks.get_mut(&tag) else { return };
        let mut place = 0;
        while let Some(waiter) = lock.queue.get(place) {
            if !lock.is_free(waiter.holder, waiter.mode, place) {
                place += 1;
                continue;
            }
            let waiter = lock.queue.remove(place);
            self.waits.remove(&waiter.holder);
            self.count -= 1;
            // Who stopped waiting a moment ago gets nothing.
            if waiter.wake.send(()).is_ok() {
                self.count += lock.grant(waiter.holder, waiter.mode);
            }
        }
        if lock.held.is_empty() && lock.queue.is_empty() {
            self.locks.remove(&tag);
        }
    }

    fn need_room(&self) -> Result<()> {
        if self.count < MAX_LOCKS {
            return Ok(());
        }
        let error = Error::new(SqlState::OutOfMemory, "out of shared memory");
        Err(error.detail(format!("All sessions together may hold {MAX_LOCKS} locks.")))
    }
}

/// A request that waits. Dropping it ends the wait.
#[derive(Debug)]
pub(crate) struct Wait<'a> {
    locks: &'a Locks,
    holder: Holder,
    tag: Tag,
    mode: Mode,
    /// `None`: it was granted, and whoever waited knows.
    granted: Option<oneshot::Receiver<()>>,
}

impl Wait<'_> {
    /// Waits until it is granted.
    pub(crate) async fn granted(&mut self) {
        if let Some(granted) = &mut self.granted {
            // Its sender goes only with the wish.
            let _ = granted.await;
        }
        self.granted = None;
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let Some(mut granted) = self.granted.take() else { return };
        let mut state = self.locks.state.lock();
        if granted.try_recv().is_ok() {
            drop(state);
            self.locks.release(self.holder, self.tag, self.mode);
            return;
        }
        state.waits.remove(&self.holder);
        if let Some(lock) = state.locks.get_mut(&self.tag) {
            let before = lock.queue.len();
            lock.queue.retain(|waiter| waiter.holder != self.holder);
            let gone = before - lock.queue.len();
            state.count -= gone;
        }
        state.wake(self.tag);
    }
}

impl Locks {
    /// Locks if nobody stands in the way; whether it did. Error: 53200.
    pub(crate) fn try_lock(&self, holder: Holder, tag: Tag, mode: Mode) -> Result<bool> {
        let mut state = self.state.lock();
        state.need_room()?;
        let lock = state.locks.entry(tag).or_default();
        let free = lock.is_free(holder, mode, lock.queue.len());
        let more = if free { lock.grant(holder, mode) } else { 0 };
        state.count += more;
        Ok(free)
    }

    /// Locks, or says what to wait for. Errors: 40P01, 53200.
    pub(crate) fn request(&self, holder: Holder, tag: Tag, mode: Mode) -> Result<Option<Wait<'_>>> {
        if self.try_lock(holder, tag, mode)? {
            return Ok(None);
        }
        let mut state = self.state.lock();
        let lock = state.locks.entry(tag).or_default();
        if lock.is_free(holder, mode, lock.queue.len()) {
            let more = lock.grant(holder, mode);
            state.count += more;
            return Ok(None);
        }
        deadlock::refuse(&state, holder, (tag, mode))?;
        let (wake, granted) = oneshot::channel();
        let waiter = Waiter { holder, mode, wake, since: chrono::Utc::now().timestamp_micros() };
        let Some(lock) = state.locks.get_mut(&tag) else { return Err(Error::internal("a lock without a state")) };
        let place = if lock.has(holder) { 0 } else { lock.queue.len() };
        lock.queue.insert(place, waiter);
        state.waits.insert(holder, (tag, mode));
        state.count += 1;
        Ok(Some(Wait { locks: self, holder, tag, mode, granted: Some(granted) }))
    }

    /// Gives back what was locked once.
    pub(crate) fn release(&self, holder: Holder, tag: Tag, mode: Mode) {
        let mut state = self.state.lock();
        let Some(lock) = state.locks.get_mut(&tag) else { return };
        let Some(place) = lock.held.iter().position(|held| held.holder == holder && held.mode == mode) else { return };
        lock.held[place].times -= 1;
        if lock.held[place].times == 0 {
            lock.held.remove(place);
            state.count -= 1;
            state.wake(tag);
        }
    }

    /// Whether somebody has locked something against readers.
    pub(crate) fn has_access_exclusive(&self) -> bool {
        self.access_exclusive.load(Ordering::Acquire) > 0
    }

    /// A session has got such a lock, or given it back.
    fn count_access_exclusive(&self, more: bool) {
        match more {
            true => self.access_exclusive.fetch_add(1, Ordering::AcqRel),
            false => self.access_exclusive.fetch_sub(1, Ordering::AcqRel),
        };
    }

    /// All that are held and waited for.
    pub(crate) fn shown(&self) -> Vec<Shown> {
        let state = self.state.lock();
        let mut all = Vec::with_capacity(state.count);
        for (tag, lock) in &state.locks {
            let held = lock.held.iter().map(|held| (held.holder, held.mode, None));
            let waiting = lock.queue.iter().map(|waiter| (waiter.holder, waiter.mode, Some(waiter.since)));
            let shown = |(holder, mode, waits_since): (Holder, Mode, _)| Shown {
                tag: *tag,
                mode,
                pid: holder.pid,
                waits_since,
            };
            all.extend(held.chain(waiting).map(shown));
        }
        all
    }

    /// The sessions that keep this one waiting, each once.
    pub(crate) fn blocking(&self, pid: i32) -> Vec<i32> {
        let state = self.state.lock();
        let waits = state.waits.iter().find(|(holder, _)| holder.pid == pid);
        let mut pids = Vec::new();
        for holder in waits.into_iter().flat_map(|(holder, wish)| deadlock::blockers(&state, *holder, *wish)) {
            if !pids.contains(&holder.pid) {
                pids.push(holder.pid);
            }
        }
        pids
    }
}
