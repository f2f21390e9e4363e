//! One sled database, with its known faults fenced in (docs/decisions/0002-sled.md).
//!
//! Promises: [`Database::commit`] makes its changes durable together or not at all, over all trees;
//! no input, no damaged file and no failing disk makes it panic or answer wrongly: after a failure it
//! refuses every call with the error that broke it. Memory stays bounded: sled never evicts a page
//! that was written since opening, so the database is closed and opened again after
//! [`Limits::reopen_after`] written bytes. One thread commits at a time (held by a mutex); readers
//! are not stopped by a commit, only by a reopening.

use std::fs;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

use super::lock::failed;
use super::overlay::{Change, PerTree};
use super::{Tree, frame, preflight};
use crate::error::{Error, Result, SqlState};

/// A key and its value.
type Entry = (Vec<u8>, Vec<u8>);

/// Entries a leaf: with chunks of tens of kilobytes a leaf is rewritten whole at every change of it.
const LEAF_FANOUT: usize = 4;

/// sled's cache of clean pages, in bytes. Small: the engine has its own arrangements in memory.
const CACHE_BYTES: usize = 64 << 20;

/// zstd's fastest practical level: chunks arrive dense, and sled compresses on the writer's path.
const ZSTD_LEVEL: i32 = -7;

/// sled's own flusher must not act: what it flushes early would break a commit in two. It is given an
/// interval it never reaches rather than none, because without it every dropped iterator flushes.
const NEVER_MS: usize = 1 << 52;

/// How long an opening waits for a previous one of this process to let go of sled's own lock.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// What bounds a database.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Close and open again after this many bytes were written: the bound of the memory that sled
    /// holds for pages written since opening.
    pub reopen_after: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { reopen_after: 256 << 20 }
    }
}

/// A database on disk.
pub(super) struct Database {
    path: PathBuf,
    limits: Limits,
    /// sled's handles are not `Sync`: every call works on a clone of this one,
    handle: Mutex<Option<Handle>>,
    /// taken from here and put back, because a clone counts its page reads against the cache only
    /// after 32 of them. As many as there were calls at once.
    idle: Mutex<Vec<Handle>>,
    /// Held for reading while a clone is in use, for writing by a reopening, which must own the last one.
    gate: RwLock<()>,
    /// Held during a commit.
    writer: Mutex<Writer>,
    broken: Mutex<Option<Error>>,
}

/// Our trees share sled's default one, a byte in front of each key: a damaged page of its list of
/// tree names would panic inside the opening and hang it there for ever.
#[derive(Clone)]
struct Handle(sled::Db<LEAF_FANOUT>);

struct Writer {
    /// Bytes handed to sled since it was opened.
    written: u64,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Database {
    /// Opens the database in the folder `path`, or makes it.
    pub(super) fn open(path: &Path, limits: Limits) -> Result<Database> {
        let handle = Handle::open(path)?;
        Ok(Database {
            path: path.to_path_buf(),
            limits,
            handle: Mutex::new(Some(handle)),
            idle: Mutex::default(),
            gate: RwLock::new(()),
            writer: Mutex::new(Writer { written: 0 }),
            broken: Mutex::new(None),
        })
    }

    /// Makes all changes durable, atomically. After an error nothing more is accepted: whether the
    /// changes are durable is known when the database is opened again.
    pub(super) fn commit(&self, changes: &PerTree<Change>) -> Result<()> {
        let mut writer = self.writer.lock();
        self.check()?;
        let result = self.with(|handle| handle.commit(changes));
        writer.written += self.or_break(result)?;
        preflight::note(&self.path);
        if writer.written >= self.limits.reopen_after {
            writer.written = 0;
            let result = self.reopen();
            self.or_break(result)?;
        }
        Ok(())
    }

    /// One value.
    pub(super) fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.check()?;
        let found = self.with(|handle| handle.0.get(key_in(tree, key)));
        match found.map_err(|error| self.name_key(error, tree, key))? {
            Some(framed) => frame::open(tree, key, &framed).map(Some),
            None => Ok(None),
        }
    }

    /// The entries with this prefix after `after`, in order, until `bytes` bytes are reached. Fewer
    /// (`false`) mean the end of the prefix.
    pub(super) fn range(
        &self,
        tree: Tree,
        prefix: &[u8],
        after: Option<&[u8]>,
        bytes: usize,
    ) -> Result<(Vec<Entry>, bool)> {
        self.check()?;
        let mut found = Vec::new();
        let mut size = 0;
        let more = self.with(|handle| {
            for entry in handle.0.range(key_in(tree, after.unwrap_or(prefix))..) {
                let (key, framed) = entry?;
                let Some(key) = key.strip_prefix(&[tree_byte(tree)]).filter(|key| key.starts_with(prefix)) else {
                    return Ok(false);
                };
                if after == Some(key) {
                    continue;
                }
                size += framed.len();
                found.push((key.to_vec(), framed.to_vec()));
                if size >= bytes {
                    return Ok(true);
                }
            }
            Ok(false)
        });
        let near = found.last().map_or(after.unwrap_or(prefix).to_vec(), |(key, _)| key.clone());
        let more = more.map_err(|error| self.name_key(error, tree, &near))?;
        for (key, value) in &mut found {
            *value = frame::open(tree, key, value)?;
        }
        Ok((found, more))
    }

    /// Bytes of its files.
    pub(super) fn size(&self) -> u64 {
        folder_size(&self.path)
    }

    fn check(&self) -> Result<()> {
        self.broken.lock().clone().map_or(Ok(()), Err)
    }

    /// Runs something on the open database; errors and panics of sled become ours.
    fn with<T>(&self, run: impl FnOnce(&Handle) -> std::io::Result<T>) -> Result<T> {
        let _open = self.gate.read();
        let idle = self.idle.lock().pop();
        let Some(handle) = idle.or_else(|| self.handle.lock().clone()) else {
            return Err(Error::internal(format!("database {:?} is closed", self.path)));
        };
        let result = guarded(&self.path, || run(&handle));
        self.idle.lock().push(handle);
        result
    }

    /// On an error: refuses everything from now on, and leaves sled's handle open for ever. Closing
    /// would flush, which would make half a commit durable or wait for ever on the failed one.
    fn or_break<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            mem::forget(self.handle.lock().take());
            self.broken.lock().get_or_insert(error.clone());
        }
        result
    }

    fn name_key(&self, error: Error, tree: Tree, key: &[u8]) -> Error {
        if error.state() != SqlState::DataCorrupted {
            return error;
        }
        frame::damaged(tree, key, format!("The page at this key or after it cannot be read: {error}."))
    }

    fn reopen(&self) -> Result<()> {
        let start = Instant::now();
        let _closed = self.gate.write();
        self.idle.lock().clear();
        let mut handle = self.handle.lock();
        if let Some(open) = handle.take() {
            guarded(&self.path, || {
                drop(open);
                Ok(())
            })?;
        }
        *handle = Some(Handle::open(&self.path)?);
        tracing::debug!(path = ?self.path, elapsed = ?start.elapsed(), "reopened the database to free its memory");
        Ok(())
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let open = (std::mem::take(self.idle.get_mut()), self.handle.get_mut().take());
        // Closing writes nothing of ours (commits flush themselves), but sled may tidy its files.
        if catch_unwind(AssertUnwindSafe(|| drop(open))).is_err() {
            tracing::error!(path = ?self.path, "the database panicked when it was closed");
        }
    }
}

impl Handle {
    fn open(path: &Path) -> Result<Handle> {
        preflight::check(path)?;
        let config = sled::Config::new()
            .path(path)
            .cache_capacity_bytes(CACHE_BYTES)
            .zstd_compression_level(ZSTD_LEVEL)
            .flush_every_ms(Some(NEVER_MS));
        let start = Instant::now();
        loop {
            let opened = guarded(path, || match config.open::<LEAF_FANOUT>() {
                Ok(db) => Ok(Some(Handle(db))),
                // A closing database of this process may still hold the lock for a moment.
                Err(error) if locked(&error) && start.elapsed() < LOCK_WAIT => Ok(None),
                Err(error) => Err(error),
            });
            match opened {
                Ok(Some(handle)) => return Ok(handle),
                Ok(None) => thread::sleep(Duration::from_millis(2)),
                Err(error) => {
                    return Err(Error::new(error.state(), format!("could not open database {path:?}"))
                        .detail(format!("{}.", error.message()))
                        .hint(frame::REMEDY));
                }
            }
        }
    }

    /// The bytes handed to sled.
    fn commit(&self, changes: &PerTree<Change>) -> std::io::Result<u64> {
        let mut written = 0;
        for tree in Tree::ALL {
            for (key, change) in changes.tree(tree) {
                match change {
                    Some(value) => {
                        let framed = frame::seal(tree, key, value);
                        written += framed.len() as u64;
                        self.0.insert(key_in(tree, key), framed)?;
                    }
                    None => {
                        self.0.remove(key_in(tree, key))?;
                    }
                }
            }
        }
        self.0.flush()?;
        Ok(written)
    }
}

/// What stands in front of the keys of a tree.
fn tree_byte(tree: Tree) -> u8 {
    tree as u8 + 1
}

/// A key as it lies in the database.
fn key_in(tree: Tree, key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + key.len());
    bytes.push(tree_byte(tree));
    bytes.extend_from_slice(key);
    bytes
}

/// Runs something of sled: its panics become errors, its errors ours.
fn guarded<T>(path: &Path, run: impl FnOnce() -> std::io::Result<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(ours(path, &error)),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
            Err(Error::new(SqlState::DataCorrupted, format!("database {path:?} failed: {text}")).hint(frame::REMEDY))
        }
    }
}

/// An error of sled. A file that ends before the page that its metadata names is damage as well.
fn ours(path: &Path, error: &std::io::Error) -> Error {
    let text = error.to_string();
    // In front stand the places in sled's source that it went through.
    let text = text.rsplit(" -> ").next().unwrap_or(&text);
    let kind = match error.kind() {
        std::io::ErrorKind::UnexpectedEof => std::io::ErrorKind::InvalidData,
        kind => kind,
    };
    let error = failed(&format!("database {path:?} failed"), &std::io::Error::new(kind, text));
    if error.state() == SqlState::DataCorrupted { error.hint(frame::REMEDY) } else { error }
}

fn locked(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::WouldBlock || error.to_string().contains("temporarily unavailable")
}

fn folder_size(path: &Path) -> u64 {
    let Ok(list) = fs::read_dir(path) else { return 0 };
    list.flatten()
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => folder_size(&entry.path()),
            Ok(data) => data.len(),
            Err(_) => 0,
        })
        .sum()
}

/// Keeps the data folder's lock as long as the database is open.
pub(super) type Held = Option<Arc<super::lock::DataDirectory>>;
