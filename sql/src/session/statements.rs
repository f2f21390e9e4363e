//! The prepared statements of a session: those of the wire and those of PREPARE share their names.

use std::collections::HashMap;

use thalweg_dataflow::error::{Error, Result, SqlState};

use super::Prepared;

/// The most prepared statements of one session.
const MAX_STATEMENTS: usize = 10_000;

/// See the module. The wire's unnamed statement has the empty name.
#[derive(Debug, Default)]
pub struct Statements(HashMap<String, Prepared>);

impl Statements {
    /// Keeps a statement; the unnamed one takes the place of the last.
    pub fn keep(&mut self, name: String, prepared: Prepared) -> Result<()> {
        self.check(&name)?;
        self.0.insert(name, prepared);
        Ok(())
    }

    /// Refuses a name that is taken, and one statement too many.
    pub fn check(&self, name: &str) -> Result<()> {
        if !name.is_empty() && self.0.contains_key(name) {
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(Error::new(SqlState::DuplicatePreparedStatement, message));
        }
        if self.0.len() >= MAX_STATEMENTS {
            let error = Error::new(SqlState::ProgramLimitExceeded, "too many prepared statements");
            return Err(error.detail(format!("A session may have {MAX_STATEMENTS}.")));
        }
        Ok(())
    }

    /// The statement of a name.
    pub fn get(&self, name: &str) -> Result<&Prepared> {
        self.0.get(name).ok_or_else(|| {
            let message = match name {
                "" => "unnamed prepared statement does not exist".to_string(),
                name => format!("prepared statement \"{name}\" does not exist"),
            };
            Error::new(SqlState::InvalidStatementName, message)
        })
    }

    /// Forgets a statement; whether it was there.
    pub fn forget(&mut self, name: &str) -> bool {
        self.0.remove(name).is_some()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}
