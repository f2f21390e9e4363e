//! What one session has locked, and for how long: until it says so, or until its transaction ends.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use thalweg_dataflow::error::{Error, Result, SqlState};

use super::{Holder, Locks, Mode, Tag};

/// How long a lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    /// Until it is given back, or the session ends.
    Session,
    /// Until the transaction ends.
    Transaction,
}

/// The locks of one session. Cheap to clone; clones are one.
#[derive(Debug, Clone)]
pub(crate) struct SessionLocks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    locks: Arc<Locks>,
    holder: Holder,
    own: Mutex<Own>,
    /// Something was locked since somebody asked.
    taken: AtomicBool,
}

#[derive(Debug, Default)]
struct Own {
    /// How often each is held for the session.
    session: HashMap<(Tag, Mode), u32>,
    /// Those of the transaction, each once, in their order.
    transaction: Vec<(Tag, Mode)>,
    of_transaction: HashSet<(Tag, Mode)>,
    /// The session is gone.
    ended: bool,
}

impl SessionLocks {
    /// Those of a session of this number, which others know by `pid`.
    pub(crate) fn new(locks: &Arc<Locks>, session: u32, pid: i32) -> SessionLocks {
        let holder = Holder { session, pid };
        let (own, taken) = (Mutex::default(), AtomicBool::new(false));
        SessionLocks(Arc::new(Inner { locks: locks.clone(), holder, own, taken }))
    }

    /// All locks there are.
    pub(crate) fn all(&self) -> &Locks {
        &self.0.locks
    }

    /// Whether something was locked since this was asked last.
    pub(crate) fn was_taken(&self) -> bool {
        self.0.taken.swap(false, Ordering::Relaxed)
    }

    /// Locks, waiting for others; whether it did. Errors: 40P01, 55P03 after `limit`, 53200.
    pub(crate) async fn lock(&self, tag: Tag, mode: Mode, scope: Scope, limit: Option<Duration>) -> Result<bool> {
        if self.holds(tag, mode, scope) {
            return Ok(false);
        }
        let wait = self.0.locks.request(self.0.holder, tag, mode)?;
        let waits = wait.is_some();
        if let Some(mut wait) = wait {
            match limit {
                None => wait.granted().await,
                Some(limit) => tokio::time::timeout(limit, wait.granted())
                    .await
                    .map_err(|_| Error::new(SqlState::LockNotAvailable, "canceling statement due to lock timeout"))?,
            }
        }
        self.keep(tag, mode, scope);
        Ok(waits)
    }

    /// Locks if nobody stands in the way; whether it did. Error: 53200.
    pub(crate) fn try_lock(&self, tag: Tag, mode: Mode, scope: Scope) -> Result<bool> {
        if self.holds(tag, mode, scope) {
            return Ok(true);
        }
        let locked = self.0.locks.try_lock(self.0.holder, tag, mode)?;
        if locked {
            self.keep(tag, mode, scope);
        }
        Ok(locked)
    }

    /// Whether there is nothing to do: what a transaction has it has to its end.
    fn holds(&self, tag: Tag, mode: Mode, scope: Scope) -> bool {
        scope == Scope::Transaction && self.0.own.lock().of_transaction.contains(&(tag, mode))
    }

    fn keep(&self, tag: Tag, mode: Mode, scope: Scope) {
        // Statements take the others for themselves.
        if matches!(tag, Tag::Advisory { .. }) || ![Mode::AccessShare, Mode::RowExclusive].contains(&mode) {
            self.0.taken.store(true, Ordering::Relaxed);
        }
        let mut own = self.0.own.lock();
        if own.ended {
            drop(own);
            return self.0.locks.release(self.0.holder, tag, mode);
        }
        match scope {
            Scope::Session => *own.session.entry((tag, mode)).or_default() += 1,
            Scope::Transaction => {
                if mode == Mode::AccessExclusive {
                    self.0.locks.count_access_exclusive(true);
                }
                own.of_transaction.insert((tag, mode));
                own.transaction.push((tag, mode));
            }
        }
    }

    /// Gives back what the session locked once; whether it had.
    pub(crate) fn unlock(&self, tag: Tag, mode: Mode) -> bool {
        let mut own = self.0.own.lock();
        let Some(times) = own.session.get_mut(&(tag, mode)) else { return false };
        *times -= 1;
        if *times == 0 {
            own.session.remove(&(tag, mode));
        }
        drop(own);
        self.0.locks.release(self.0.holder, tag, mode);
        true
    }

    /// Gives back all that the session has, but for its transaction.
    pub(crate) fn unlock_all(&self) {
        let all = std::mem::take(&mut self.0.own.lock().session);
        for ((tag, mode), times) in all {
            (0..times).for_each(|_| self.0.locks.release(self.0.holder, tag, mode));
        }
    }

    /// How many the transaction has: what to go back to.
    pub(crate) fn mark(&self) -> usize {
        self.0.own.lock().transaction.len()
    }

    /// Gives back those that the transaction took since it had so many.
    pub(crate) fn back_to(&self, mark: usize) {
        let mut own = self.0.own.lock();
        let from = mark.min(own.transaction.len());
        let later = own.transaction.split_off(from);
        for one in &later {
            own.of_transaction.remove(one);
        }
        drop(own);
        for (tag, mode) in later.into_iter().rev() {
            self.0.locks.release(self.0.holder, tag, mode);
            if mode == Mode::AccessExclusive {
                self.0.locks.count_access_exclusive(false);
            }
        }
    }

    /// The session ends.
    pub(crate) fn end(&self) {
        self.0.own.lock().ended = true;
        self.back_to(0);
        self.unlock_all();
    }
}
