//! Simulated storage: memory that crashes at the n-th touch, and a cut log without a thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use crate::error::{Error, Result};
use crate::storage::{Each, MemoryStore, SteppedCutLog, Storage, Store, Tree, Write};

/// When both stores crash: at the touch (write or flush of either) after so many others.
#[derive(Debug)]
pub(crate) struct Fuse {
    left: AtomicI64,
    /// Whether the last touch happens although nobody hears of it.
    last: AtomicBool,
}

impl Fuse {
    /// One that does not burn.
    pub(crate) fn new() -> Fuse {
        Fuse { left: AtomicI64::new(i64::MAX), last: AtomicBool::new(false) }
    }

    /// Lets the touch after so many others be the last.
    pub(crate) fn light(&self, touches: i64, last_happens: bool) {
        self.left.store(touches, Ordering::Relaxed);
        self.last.store(last_happens, Ordering::Relaxed);
    }

    /// Whether the process counts as dead.
    pub(crate) fn is_burnt(&self) -> bool {
        self.left.load(Ordering::Relaxed) < 0
    }

    /// Whether this touch still happens, and whether anybody hears of it.
    fn touch(&self) -> (bool, bool) {
        let left = self.left.load(Ordering::Relaxed);
        if left != i64::MAX && left >= 0 {
            self.left.store(left - 1, Ordering::Relaxed);
        }
        (left > 0 || left == 0 && self.last.load(Ordering::Relaxed), left > 0)
    }
}

/// A store with a fuse.
#[derive(Debug)]
struct Fused {
    store: Arc<MemoryStore>,
    fuse: Arc<Fuse>,
}

impl Fused {
    fn touched(&self, touch: impl FnOnce() -> Result<()>) -> Result<()> {
        let (happens, heard) = self.fuse.touch();
        if happens {
            touch()?;
        }
        if heard { Ok(()) } else { Err(Error::internal("the simulated process is dead")) }
    }
}

impl Store for Fused {
    fn write(&self, tree: Tree, changes: Vec<Write>) -> Result<()> {
        self.touched(|| self.store.write(tree, changes))
    }

    fn flush(&self) -> Result<()> {
        self.touched(|| self.store.flush())
    }

    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.store.get(tree, key)
    }

    fn scan(&self, tree: Tree, prefix: &[u8], each: Each<'_>) -> Result<()> {
        self.store.scan(tree, prefix, each)
    }

    fn size(&self) -> u64 {
        self.store.size()
    }
}

/// What outlives a crash.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) state: Arc<MemoryStore>,
    pub(crate) cuts: Arc<MemoryStore>,
}

impl Disk {
    /// Both stores, on one fuse.
    pub(crate) fn open(&self, fuse: &Arc<Fuse>) -> Result<Storage> {
        let fused = |store: &Arc<MemoryStore>| Arc::new(Fused { store: store.clone(), fuse: fuse.clone() });
        Ok(Storage { store: fused(&self.state), cuts: Arc::new(SteppedCutLog::open(fused(&self.cuts))?) })
    }

    /// What a killed process finds again.
    pub(crate) fn crash(&self) -> Disk {
        Disk { state: Arc::new(self.state.crash()), cuts: Arc::new(self.cuts.crash()) }
    }
}

/// A store whose flush fails: what a full disk does to a checkpoint.
#[derive(Debug)]
pub(crate) struct Full(pub(crate) Arc<dyn Store>);

impl Store for Full {
    fn write(&self, tree: Tree, changes: Vec<Write>) -> Result<()> {
        self.0.write(tree, changes)
    }

    fn flush(&self) -> Result<()> {
        Err(Error::internal("the simulated disk is full"))
    }

    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.0.get(tree, key)
    }

    fn scan(&self, tree: Tree, prefix: &[u8], each: Each<'_>) -> Result<()> {
        self.0.scan(tree, prefix, each)
    }

    fn size(&self) -> u64 {
        self.0.size()
    }
}
