//! A [`Store`] in memory, with the durability of a real one modelled: what is not flushed is lost.
//!
//! Promises: [`MemoryStore::crash`] is a store as a killed process would find it again, exactly what
//! the last flush held. Serves tests, simulation and servers without a data folder. Does not bound
//! its memory.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::overlay::{Change, PerTree, lay_over};
use super::{Store, Tree};
use crate::error::Result;

/// A store that a process keeps for itself.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Content>);

#[derive(Debug, Default)]
struct Content {
    durable: PerTree<Vec<u8>>,
    pending: PerTree<Change>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    /// The store that is left when the process is killed now: what the last flush made durable.
    pub fn crash(&self) -> MemoryStore {
        let durable = self.0.lock().durable.clone();
        MemoryStore(Mutex::new(Content { durable, pending: PerTree::default() }))
    }
}

impl Store for MemoryStore {
    fn write(&self, tree: Tree, changes: Vec<(Vec<u8>, Change)>) -> Result<()> {
        self.0.lock().pending.tree_mut(tree).extend(changes);
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        let Content { durable, pending } = &mut *self.0.lock();
        for tree in Tree::ALL {
            for (key, change) in std::mem::take(pending.tree_mut(tree)) {
                match change {
                    Some(value) => durable.tree_mut(tree).insert(key, value),
                    None => durable.tree_mut(tree).remove(&key),
                };
            }
        }
        Ok(())
    }

    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let content = self.0.lock();
        match content.pending.tree(tree).get(key) {
            Some(change) => Ok(change.clone()),
            None => Ok(content.durable.tree(tree).get(key).cloned()),
        }
    }

    fn scan(&self, tree: Tree, prefix: &[u8], each: &mut dyn FnMut(&[u8], Vec<u8>) -> Result<()>) -> Result<()> {
        let mut entries: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        {
            let content = self.0.lock();
            for (key, value) in content.durable.tree(tree).range(prefix.to_vec()..) {
                if !key.starts_with(prefix) {
                    break;
                }
                entries.insert(key.clone(), value.clone());
            }
            lay_over(&mut entries, content.pending.tree(tree), prefix, None, None);
        }
        entries.into_iter().try_for_each(|(key, value)| each(&key, value))
    }

    fn size(&self) -> u64 {
        let content = self.0.lock();
        let entries = Tree::ALL.iter().flat_map(|tree| content.durable.tree(*tree));
        entries.map(|(key, value)| (key.len() + value.len()) as u64).sum()
    }
}
