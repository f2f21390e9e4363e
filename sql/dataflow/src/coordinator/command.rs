//! What the coordinator is asked to do: by the engine's handle, by builds, by the checkpoint's thread.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::sync::oneshot;

use super::backfill::{Job, Target};
use super::commits::{Commit, LookupRows, NewKeys, Replacement};
use crate::engine::{Build, ViewDefinition};
use crate::error::{Error, Result};
use crate::graph::NodeId;
use crate::plan::RelationId;
use crate::source::{Offsets, Source};
use crate::table::TableDefinition;

/// What the coordinator is asked to do.
pub(crate) enum Command {
    AddSource {
        id: RelationId,
        source: Arc<dyn Source>,
        start: Offsets,
        reply: oneshot::Sender<Result<()>>,
    },
    AddView {
        definition: ViewDefinition,
        reply: oneshot::Sender<Result<Build>>,
    },
    Remove {
        ids: Vec<RelationId>,
        reply: oneshot::Sender<Result<()>>,
    },
    CommitCatalog {
        bytes: Vec<u8>,
        reply: oneshot::Sender<Result<()>>,
    },
    AddTable {
        definition: TableDefinition,
        reply: oneshot::Sender<Result<()>>,
    },
    /// Asks to hear when everything that was acknowledged before the start is there again.
    Replayed {
        reply: oneshot::Sender<Result<()>>,
    },
    /// A table takes the place of another.
    ReplaceTable(Box<Replacement>),
    /// A table gets other unique keys.
    SetKeys(Box<NewKeys>),
    /// Asks for rows by key.
    Lookup(LookupRows),
    /// Rows of tables go and come. Waits for the next epoch, with all the others.
    Commit(Commit),
    /// A build asks for a live epoch to read up to.
    Position {
        reply: mpsc::Sender<Target>,
    },
    /// A build is close behind and ready to move in.
    Splice(Box<SplicePoint>),
    /// A build ends without a view.
    BuildFailed {
        view: RelationId,
        /// The live nodes that were held for it.
        held: Vec<NodeId>,
        error: Error,
    },
    /// Wants a checkpoint now, and to hear when it is durable.
    Checkpoint {
        reply: oneshot::Sender<Result<()>>,
    },
    CheckpointDone {
        epoch: u64,
        views: Vec<RelationId>,
        took: Duration,
        result: Result<()>,
    },
    Stop {
        reply: oneshot::Sender<Result<()>>,
    },
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Command")
    }
}

/// A build that is ready to move in.
#[derive(Debug)]
pub(crate) struct SplicePoint {
    pub(crate) job: Job,
}
