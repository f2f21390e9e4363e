//! Cuts: what defines an epoch. The sequence of cuts is the input log of the engine.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, SqlState};
use crate::plan::RelationId;
use crate::source::Offsets;

/// One epoch's definition, as it stands in the cut log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cut {
    /// Its number.
    pub(crate) epoch: u64,
    /// Its clock reading, microseconds since 1970 UTC.
    pub(crate) now: i64,
    /// The position of every source that is read, after this epoch.
    pub(crate) sources: Vec<(RelationId, Offsets)>,
    /// The catalog, if this cut changed it.
    pub(crate) catalog: Option<Vec<u8>>,
}

impl Cut {
    /// Its bytes.
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|error| Error::internal(format!("a cut cannot be written: {error}")))
    }

    /// A cut from its bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Cut> {
        serde_json::from_slice(bytes).map_err(|error| {
            Error::new(SqlState::DataCorrupted, format!("a cut of the log is not understood: {error}"))
        })
    }
}
