//! Durable state behind one narrow trait.
//!
//! A [`Store`] is a set of named trees of byte strings. One thread alone writes it; what lies
//! between two [`Store::flush`] calls becomes durable together or not at all, across trees.
//! Values carry a CRC and a format version (added and checked here, not by callers). Knows nothing
//! of what the bytes mean.

use std::path::Path;
use std::sync::Arc;

use crate::error::Result;

mod cut_log;
mod database;
mod frame;
mod lock;
#[cfg(test)]
mod measure;
mod memory;
mod overlay;
mod preflight;
mod sled;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use cut_log::SteppedCutLog;
pub use cut_log::StoreCutLog;
pub use lock::{DataDirectory, FORMAT_VERSION};
pub use memory::MemoryStore;
pub use sled::SledStore;

/// A key and its new value; `None` removes it.
pub type Write = (Vec<u8>, Option<Vec<u8>>);

/// What is called with every entry of a scan.
pub type Each<'a> = &'a mut dyn FnMut(&[u8], Vec<u8>) -> Result<()>;

/// Where the engine keeps what must survive.
pub trait Store: Send + Sync + std::fmt::Debug {
    /// Puts or (with `None`) removes keys of a tree. Not durable before [`Store::flush`].
    fn write(&self, tree: Tree, changes: Vec<Write>) -> Result<()>;

    /// Makes everything written so far durable, atomically.
    fn flush(&self) -> Result<()>;

    /// One value.
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>>;

    /// All entries whose key starts with `prefix`, in key order, handed one at a time to `each`.
    /// Not a snapshot: call it when nobody writes.
    fn scan(&self, tree: Tree, prefix: &[u8], each: Each<'_>) -> Result<()>;

    /// Bytes on disk.
    fn size(&self) -> u64;
}

/// The trees of the state database. (Their order is part of the format on disk.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tree {
    /// Manifests by generation, and the format version.
    Manifest,
    /// Chunks of the append-only log of changes: key = (checkpoint, n), big endian.
    Log,
    /// Chunks of the bases: key = (arrangement, shard, checkpoint, n), big endian.
    Base,
}

impl Tree {
    /// Every tree.
    pub const ALL: [Tree; 3] = [Tree::Manifest, Tree::Log, Tree::Base];
}

/// The write-ahead log of cuts: a store of its own, appended by its own thread.
pub trait CutLog: Send + Sync + std::fmt::Debug {
    /// Appends a record; `durable` is called, on the log's thread, once this record and all before
    /// it are durable (or with the error that makes the log unusable). Records appended meanwhile
    /// share one flush.
    fn append(&self, epoch: u64, record: Vec<u8>, durable: Box<dyn FnOnce(Result<()>) + Send>);

    /// Drops the records of all epochs below this one (in the background).
    fn truncate_below(&self, epoch: u64);

    /// All records from this epoch on, in order.
    fn read_from(&self, epoch: u64) -> Result<Vec<(u64, Vec<u8>)>>;
}

/// Both databases of one data folder, and the lock on it.
#[derive(Debug, Clone)]
pub struct Storage {
    /// The state.
    pub store: Arc<dyn Store>,
    /// The cuts.
    pub cuts: Arc<dyn CutLog>,
}

impl Storage {
    /// Opens the data folder `dir`, or makes it, and holds its lock as long as one of the two
    /// databases is in use: `dir/state` and `dir/cuts`.
    ///
    /// Errors: 55P03 when another process holds the folder, 55000 when a newer version wrote it,
    /// XX001 when its files are damaged, 58030 and 53100 from the system.
    pub fn open(dir: &Path) -> Result<Storage> {
        let held = Arc::new(DataDirectory::open(dir)?);
        let open = |name: &str| {
            SledStore::open_with(&dir.join(name), database::Limits::default(), Some(held.clone())).map(Arc::new)
        };
        Ok(Storage { store: open("state")?, cuts: Arc::new(StoreCutLog::open(open("cuts")?)?) })
    }

    /// Both in memory: nothing outlives the process.
    pub fn memory() -> Storage {
        let cuts = StoreCutLog::open(Arc::new(MemoryStore::new())).unwrap_or_else(|_| StoreCutLog::stopped());
        Storage { store: Arc::new(MemoryStore::new()), cuts: Arc::new(cuts) }
    }
}
