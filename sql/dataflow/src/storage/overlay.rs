//! Changes that are written but not yet durable, laid over the entries that are.
//!
//! Promises: for every key the newest change, a removal included; merged scans in key order. Knows
//! neither disk nor threads.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::Tree;

/// A value, or the removal of one.
pub(super) type Change = Option<Vec<u8>>;

/// A map from keys to something, one for each tree.
#[derive(Debug, Clone)]
pub(super) struct PerTree<V>([BTreeMap<Vec<u8>, V>; Tree::ALL.len()]);

impl<V> Default for PerTree<V> {
    fn default() -> PerTree<V> {
        PerTree(std::array::from_fn(|_| BTreeMap::new()))
    }
}

impl<V> PerTree<V> {
    /// The map of one tree.
    pub(super) fn tree(&self, tree: Tree) -> &BTreeMap<Vec<u8>, V> {
        &self.0[tree as usize]
    }

    /// The map of one tree, to change.
    pub(super) fn tree_mut(&mut self, tree: Tree) -> &mut BTreeMap<Vec<u8>, V> {
        &mut self.0[tree as usize]
    }

    /// Whether no tree holds anything.
    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(BTreeMap::is_empty)
    }
}

/// Lays the changes of `over` within a prefix over `entries`: those after `after`, and up to `upto`
/// (both `None`: no limit on that side).
pub(super) fn lay_over(
    entries: &mut BTreeMap<Vec<u8>, Vec<u8>>,
    over: &BTreeMap<Vec<u8>, Change>,
    prefix: &[u8],
    after: Option<&[u8]>,
    upto: Option<&[u8]>,
) {
    let start = after.map_or(Bound::Included(prefix), Bound::Excluded);
    for (key, change) in over.range::<[u8], _>((start, Bound::Unbounded)) {
        if !key.starts_with(prefix) || upto.is_some_and(|upto| key.as_slice() > upto) {
            break;
        }
        match change {
            Some(value) => {
                entries.insert(key.clone(), value.clone());
            }
            None => {
                entries.remove(key);
            }
        }
    }
}
