//! A [`Store`] on disk, over one sled database.
//!
//! Promises: what lies between two flushes becomes durable together or not at all, whatever is read
//! meanwhile: writes wait in memory and reach sled only inside [`Store::flush`]. A flush does not stop
//! readers. A failed flush breaks the store: every later call returns its error. Memory: the unflushed
//! changes, sled's cache, and at most the bytes after which the database is opened again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::database::{Database, Held, Limits};
use super::overlay::{Change, PerTree, lay_over};
use super::{Store, Tree};
use crate::error::Result;

/// Bytes of values that a scan holds at a time.
const SCAN_BATCH_BYTES: usize = 4 << 20;

/// Entries in key order, and the last key if more follow.
type Batch = (BTreeMap<Vec<u8>, Vec<u8>>, Option<Vec<u8>>);

/// A store in a folder.
#[derive(Debug)]
pub struct SledStore {
    database: Database,
    pending: Mutex<Pending>,
    /// Serialises flushes: the caller promises one writer, this makes a second one harmless.
    flush: Mutex<()>,
    _held: Held,
}

/// Changes on their way: `fresh` are written, `flushing` are being made durable. Readers see both.
#[derive(Debug, Default)]
struct Pending {
    fresh: PerTree<Change>,
    flushing: Option<Arc<PerTree<Change>>>,
}

impl SledStore {
    /// Opens the store in the folder `path`, or makes it.
    ///
    /// Errors: XX001 when its files are damaged, 58030 when they cannot be read.
    pub fn open(path: &Path) -> Result<SledStore> {
        SledStore::open_with(path, Limits::default(), None)
    }

    pub(super) fn open_with(path: &Path, limits: Limits, held: Held) -> Result<SledStore> {
        let database = Database::open(path, limits)?;
        Ok(SledStore { database, pending: Mutex::default(), flush: Mutex::new(()), _held: held })
    }
}

impl Store for SledStore {
    fn write(&self, tree: Tree, changes: Vec<(Vec<u8>, Change)>) -> Result<()> {
        self.pending.lock().fresh.tree_mut(tree).extend(changes);
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        let _one = self.flush.lock();
        let changes = {
            let mut pending = self.pending.lock();
            if pending.fresh.is_empty() {
                return Ok(());
            }
            let changes = Arc::new(std::mem::take(&mut pending.fresh));
            pending.flushing = Some(changes.clone());
            changes
        };
        // On an error they stay visible to readers; the database refuses all that follows.
        self.database.commit(&changes)?;
        self.pending.lock().flushing = None;
        Ok(())
    }

    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>> {
        {
            let pending = self.pending.lock();
            let flushing = pending.flushing.as_ref().and_then(|changes| changes.tree(tree).get(key));
            if let Some(change) = pending.fresh.tree(tree).get(key).or(flushing) {
                return Ok(change.clone());
            }
        }
        self.database.get(tree, key)
    }

    fn scan(&self, tree: Tree, prefix: &[u8], each: &mut dyn FnMut(&[u8], Vec<u8>) -> Result<()>) -> Result<()> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let (entries, last) = self.batch(tree, prefix, after.as_deref())?;
            entries.into_iter().try_for_each(|(key, value)| each(&key, value))?;
            match last {
                Some(last) => after = Some(last),
                None => return Ok(()),
            }
        }
    }

    fn size(&self) -> u64 {
        self.database.size()
    }
}

impl SledStore {
    /// The next entries of a scan, and the last key if more follow. Under the lock of the changes: a
    /// flush that ended between reading the database and reading them would hide them.
    fn batch(&self, tree: Tree, prefix: &[u8], after: Option<&[u8]>) -> Result<Batch> {
        let pending = self.pending.lock();
        let (found, more) = self.database.range(tree, prefix, after, SCAN_BATCH_BYTES)?;
        let last = if more { found.last().map(|(key, _)| key.clone()) } else { None };
        let mut entries: BTreeMap<_, _> = found.into_iter().collect();
        if let Some(changes) = &pending.flushing {
            lay_over(&mut entries, changes.tree(tree), prefix, after, last.as_deref());
        }
        lay_over(&mut entries, pending.fresh.tree(tree), prefix, after, last.as_deref());
        Ok((entries, last))
    }
}
