//! Transactions of a session: blocks, their modes, savepoints in them.

use std::sync::atomic::Ordering;

use thalweg_dataflow::error::{Error, Result, SqlState};

use super::{Block, Session};
use crate::guard::Guard;
use crate::parser::{Kind, Modes};
use crate::statement::lock_table;

/// The isolation levels; every one of them reads one snapshot.
const ISOLATION_LEVELS: [&str; 4] = ["serializable", "repeatable read", "read committed", "read uncommitted"];

impl Session {
    /// Refuses what cannot run inside a transaction block. Error: 25001.
    pub(crate) fn refuse_in_block(&self, what: &str) -> Result<()> {
        let begun = |request: &Block| !request.pipelined || request.view.is_some();
        if self.block.is_some() || self.request.as_ref().is_some_and(begun) {
            let message = format!("{what} cannot run inside a transaction block");
            return Err(Error::new(SqlState::ActiveTransaction, message));
        }
        Ok(())
    }

    /// BEGIN.
    pub(crate) fn begin(&mut self, modes: Modes) -> Result<()> {
        if self.block.is_some() {
            self.warning(Error::new(SqlState::ActiveTransaction, "there is already a transaction in progress"));
            return Ok(());
        }
        self.failed.store(false, Ordering::Release);
        self.settings.begin();
        // What came before BEGIN in the same request belongs to the block.
        self.block = Some(self.request.clone().unwrap_or_else(Block::new));
        self.set_modes(modes)
    }

    /// SET TRANSACTION.
    pub(crate) fn set_modes(&mut self, modes: Modes) -> Result<()> {
        if self.block.is_none() {
            let message = "SET TRANSACTION can only be used in transaction blocks";
            self.warning(Error::new(SqlState::NoActiveTransaction, message));
            return Ok(());
        }
        let has_read = self.block.as_ref().is_some_and(|block| block.view.is_some());
        if let Some(level) = modes.isolation {
            if has_read && self.settings.get("transaction_isolation")? != level {
                let message = "SET TRANSACTION ISOLATION LEVEL must be called before any query";
                return Err(Error::new(SqlState::ActiveTransaction, message));
            }
            self.settings.set("transaction_isolation", Some(level), true)?;
        }
        if let Some(read_only) = modes.read_only {
            if has_read && !read_only && self.settings.is_read_only() {
                let message = "transaction read-write mode must be set before any query";
                return Err(Error::new(SqlState::ActiveTransaction, message));
            }
            self.settings.set("transaction_read_only", Some(if read_only { "on" } else { "off" }), true)?;
        }
        Ok(())
    }

    /// SET SESSION CHARACTERISTICS AS TRANSACTION.
    pub(crate) fn set_default_modes(&mut self, modes: Modes) -> Result<()> {
        if let Some(level) = modes.isolation {
            self.settings.set("default_transaction_isolation", Some(level), false)?;
        }
        if let Some(read_only) = modes.read_only {
            self.settings.set("default_transaction_read_only", Some(if read_only { "on" } else { "off" }), false)?;
        }
        Ok(())
    }

    /// COMMIT; the command tag. If the block's changes cannot be committed, it is rolled back.
    pub(crate) async fn commit(&mut self, chain: bool) -> Result<&'static str> {
        let modes = self.chained(chain, "COMMIT AND CHAIN")?;
        let failed = self.failed.load(Ordering::Acquire);
        let committed = if failed { Ok(()) } else { self.commit_writes().await };
        let tag = self.end(committed.is_ok()).await?;
        committed?;
        modes.map_or(Ok(()), |modes| self.begin(modes))?;
        Ok(tag)
    }

    /// ROLLBACK; the command tag.
    pub(crate) async fn rollback(&mut self, chain: bool) -> Result<&'static str> {
        let modes = self.chained(chain, "ROLLBACK AND CHAIN")?;
        let tag = self.end(false).await?;
        modes.map_or(Ok(()), |modes| self.begin(modes))?;
        Ok(tag)
    }

    /// The modes of the block, where another one is to follow.
    fn chained(&self, chain: bool, what: &str) -> Result<Option<Modes>> {
        if chain && self.block.is_none() {
            let message = format!("{what} can only be used in transaction blocks");
            return Err(Error::new(SqlState::NoActiveTransaction, message));
        }
        let level = self.settings.get("transaction_isolation")?;
        let isolation = ISOLATION_LEVELS.into_iter().find(|known| *known == level);
        Ok(chain.then(|| Modes { isolation, read_only: Some(self.settings.is_read_only()) }))
    }

    /// The end of a block; the command tag.
    async fn end(&mut self, commit: bool) -> Result<&'static str> {
        let failed = self.failed.swap(false, Ordering::AcqRel);
        let Some(block) = self.block.take() else {
            self.warning(Error::new(SqlState::NoActiveTransaction, "there is no transaction in progress"));
            if self.request.is_some() {
                self.request = Some(Block::new());
            }
            return Ok(if commit { "COMMIT" } else { "ROLLBACK" });
        };
        let committed = commit && !failed;
        self.settings.end(committed);
        self.cursors.end(committed);
        if self.request.is_some() {
            self.request = Some(Block::new());
        }
        let settled = self.settle(block.ddl, committed).await;
        self.locks.back_to(0);
        settled?;
        if committed {
            self.drop_on_commit().await?;
        }
        Ok(if committed { "COMMIT" } else { "ROLLBACK" })
    }

    /// How many savepoints there are.
    pub(crate) fn savepoints(&self) -> usize {
        self.block.as_ref().map_or(0, Block::depth)
    }

    /// SAVEPOINT.
    pub(crate) fn savepoint(&mut self, name: &str) -> Result<()> {
        let (mark, locks) = (self.settings.mark(), self.locks.mark());
        self.in_block("SAVEPOINT")?.savepoint(name, mark, locks)
    }

    /// RELEASE.
    pub(crate) fn release(&mut self, name: &str) -> Result<()> {
        self.in_block("RELEASE SAVEPOINT")?.release(name)
    }

    /// ROLLBACK TO: the block goes on as it was then.
    pub(crate) async fn rollback_to(&mut self, name: &str) -> Result<()> {
        let earlier = self.in_block("ROLLBACK TO SAVEPOINT")?.ddl_at(name)?;
        self.undo_since(&earlier).await?;
        let mark = self.in_block("ROLLBACK TO SAVEPOINT")?.back_to(name)?;
        self.settings.back_to(mark);
        let locks = self.in_block("ROLLBACK TO SAVEPOINT")?.locks_before();
        self.locks.back_to(locks);
        self.cursors.back_to(self.savepoints());
        self.forget_view();
        self.failed.store(false, Ordering::Release);
        Ok(())
    }

    /// Gives back the locks of a transaction that is over, or of what failed in it; what follows a lock that
    /// was taken sees what its last holder did, unless the block is to read one snapshot.
    pub(crate) fn settle_locks(&mut self) {
        if self.shared().is_none() {
            self.locks.back_to(0);
        } else if self.failed.load(Ordering::Acquire)
            && let Some(block) = &self.block
        {
            self.locks.back_to(block.locks_before());
        }
        if self.locks.was_taken() && !self.reads_one_snapshot() {
            self.forget_view();
        }
    }

    /// Whether its block asked for one snapshot, locks or not.
    fn reads_one_snapshot(&self) -> bool {
        let level = self.settings.get("transaction_isolation");
        level.is_ok_and(|level| ["repeatable read", "serializable"].contains(&level))
    }

    /// Locks what a statement begins with. Errors: those of waiting for locks, 57014.
    pub(crate) async fn lock_first(&mut self, kind: &Kind, stop: &mut Guard) -> Result<()> {
        let waited = tokio::select! {
            biased;
            error = stop.stopped() => return Err(error),
            waited = lock_table::before(self, kind) => waited?,
        };
        if waited && !self.reads_one_snapshot() {
            self.forget_view();
        }
        Ok(())
    }

    fn in_block(&mut self, what: &str) -> Result<&mut Block> {
        let message = || format!("{what} can only be used in transaction blocks");
        self.block.as_mut().ok_or_else(|| Error::new(SqlState::NoActiveTransaction, message()))
    }
}
