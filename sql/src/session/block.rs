//! A transaction block: what its statements share, and the savepoints in it.

use thalweg_dataflow::error::{Error, Result, SqlState};

use super::ddl::Ddl;
use super::own::TransactionNumber;
use super::{View, Writes};
use crate::settings::Mark;

/// The most savepoints of one block.
const MAX_SAVEPOINTS: usize = 10_000;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    /// What every read of the block sees; pinned by the first.
    pub(crate) view: Option<View>,
    /// `now()` of the block.
    pub(crate) now: i64,
    /// Its number.
    pub(crate) number: TransactionNumber,
    /// What it did with objects.
    pub(super) ddl: Ddl,
    /// It is a request of the extended protocol.
    pub(super) pipelined: bool,
    savepoints: Vec<Savepoint>,
}

/// What ROLLBACK TO goes back to.
#[derive(Debug, Clone)]
struct Savepoint {
    name: String,
    writes: Option<Writes>,
    settings: Mark,
    ddl: Ddl,
    /// How many locks the transaction had.
    locks: usize,
}

impl Block {
    /// One that begins now.
    pub(super) fn new() -> Block {
        Block {
            view: None,
            now: super::now(),
            number: TransactionNumber::default(),
            ddl: Ddl::default(),
            pipelined: false,
            savepoints: Vec::new(),
        }
    }

    /// That of a request, which may be one of the extended protocol.
    pub(super) fn of_request(pipelined: bool) -> Block {
        Block { pipelined, ..Block::new() }
    }

    /// How many savepoints there are.
    pub(super) fn depth(&self) -> usize {
        self.savepoints.len()
    }

    /// SAVEPOINT. A name may be used again: the newest of it is meant then.
    pub(super) fn savepoint(&mut self, name: &str, settings: Mark, locks: usize) -> Result<()> {
        if self.savepoints.len() >= MAX_SAVEPOINTS {
            let error = Error::new(SqlState::ProgramLimitExceeded, "too many savepoints");
            return Err(error.detail(format!("A transaction may have {MAX_SAVEPOINTS}.")));
        }
        let writes = self.view.as_ref().and_then(|view| view.writes.clone());
        self.savepoints.push(Savepoint { name: name.into(), writes, settings, ddl: self.ddl.clone(), locks });
        Ok(())
    }

    /// How many locks the transaction had at its last savepoint.
    pub(super) fn locks_before(&self) -> usize {
        self.savepoints.last().map_or(0, |savepoint| savepoint.locks)
    }

    /// RELEASE: it goes, and all after it.
    pub(super) fn release(&mut self, name: &str) -> Result<()> {
        let place = self.find(name)?;
        self.savepoints.truncate(place);
        Ok(())
    }

    /// What the block had done with objects at a savepoint.
    pub(super) fn ddl_at(&self, name: &str) -> Result<Ddl> {
        Ok(self.savepoints[self.find(name)?].ddl.clone())
    }

    /// ROLLBACK TO: it stays, all after it go; the settings of then.
    pub(super) fn back_to(&mut self, name: &str) -> Result<Mark> {
        let place = self.find(name)?;
        self.savepoints.truncate(place + 1);
        let savepoint = &self.savepoints[place];
        self.ddl.clone_from(&savepoint.ddl);
        if let Some(view) = &mut self.view {
            view.writes.clone_from(&savepoint.writes);
        }
        Ok(savepoint.settings.clone())
    }

    fn find(&self, name: &str) -> Result<usize> {
        let place = self.savepoints.iter().rposition(|savepoint| savepoint.name == name);
        place.ok_or_else(|| Error::new(SqlState::InvalidSavepoint, format!("savepoint \"{name}\" does not exist")))
    }
}
