//! Why a command ended badly: one message, perhaps a hint, and the exit code.
//!
//! The codes are part of the interface (docs/operations.md); scripts may rely on them.

use thalweg_dataflow::{Error, SqlState};

use crate::config::ConfigError;

/// A command's failure.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The process's exit code.
    pub(crate) code: u8,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
}

/// Something failed.
const FAILED: u8 = 1;
/// The command line or the configuration is wrong.
const USAGE: u8 = 2;
/// The data folder cannot be used.
const DATA_DIR: u8 = 3;
/// The address cannot be listened on.
const ADDRESS: u8 = 4;

impl Failure {
    /// A failure without further distinction.
    pub(crate) fn new(message: impl Into<String>) -> Failure {
        Failure { code: FAILED, message: message.into(), detail: None, hint: None }
    }

    /// A command line that asks for what cannot be.
    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure { code: USAGE, ..Failure::new(message) }
    }

    /// The address cannot be listened on.
    pub(crate) fn address(message: impl Into<String>) -> Failure {
        Failure { code: ADDRESS, ..Failure::new(message) }
    }

    /// The data folder cannot be used: locked by another server, damaged, not writable.
    pub(crate) fn data_dir(error: Error) -> Failure {
        Failure { code: DATA_DIR, ..Failure::from(error) }
    }

    /// Adds what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// Prints it on stderr.
    pub(crate) fn print(&self) {
        eprintln!("error: {}", self.message);
        for (name, text) in [("detail", &self.detail), ("hint", &self.hint)] {
            if let Some(text) = text {
                eprintln!("{name}: {text}");
            }
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        Failure { code: USAGE, message: error.message, detail: None, hint: error.hint }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let code = if error.state() == SqlState::LockNotAvailable { DATA_DIR } else { FAILED };
        Failure {
            code,
            message: error.message().to_string(),
            detail: error.detail_text().map(str::to_string),
            hint: error.hint_text().map(str::to_string),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::new(error.to_string())
    }
}
