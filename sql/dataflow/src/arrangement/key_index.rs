//! The rows of a shard by their key: what joins, top-n and windows look up.
//!
//! Derived from the shard's groups, each of which is a row with its multiplicity: never saved,
//! built again when a checkpoint is loaded. Within a key the rows are in the order of their sort
//! keys, if the index has an order, else in none. Does not know what the bytes mean.

use std::collections::BTreeMap;

use super::key_table::KeyTable;

/// No row.
const NONE: u32 = u32::MAX;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct KeyIndex {
    keys: KeyTable,
    /// By number of key.
    entries: Vec<KeyEntry>,
    /// By number of row.
    links: Vec<Link>,
}

#[derive(Debug, Default)]
struct KeyEntry {
    members: Members,
    /// The multiplicities of its rows, added up.
    total: i64,
    /// How many different rows it has.
    rows: u32,
}

/// The rows of one key.
#[derive(Debug)]
enum Members {
    /// The first of a chain.
    Chain(u32),
    /// By sort key.
    Sorted(BTreeMap<Box<[u8]>, u32>),
}

impl Default for Members {
    fn default() -> Members {
        Members::Chain(NONE)
    }
}

/// A row's neighbours in its chain; in sorted indexes only its key.
#[derive(Debug, Clone, Copy)]
struct Link {
    key: u32,
    next: u32,
    previous: u32,
}

const UNLINKED: Link = Link { key: NONE, next: NONE, previous: NONE };

impl KeyIndex {
    /// Bytes of memory.
    pub(crate) fn memory(&self) -> usize {
        let sorted = |entry: &KeyEntry| match &entry.members {
            Members::Chain(_) => 0,
            Members::Sorted(rows) => rows.len() * 64,
        };
        self.keys.memory()
            + self.entries.capacity() * size_of::<KeyEntry>()
            + self.links.capacity() * size_of::<Link>()
            + self.entries.iter().map(sorted).sum::<usize>()
    }

    /// Adds to the multiplicity of a row under its key; `sort` is its sort key, where there is an
    /// order.
    pub(crate) fn add(&mut self, hash: u64, key: &[u8], sort: Option<&[u8]>, row: u32, diff: i64) {
        let (number, new) = self.keys.insert(hash, key);
        if number as usize >= self.entries.len() {
            self.entries.resize_with(number as usize + 1, KeyEntry::default);
        }
        if row as usize >= self.links.len() {
            self.links.resize(row as usize + 1, UNLINKED);
        }
        let entry = &mut self.entries[number as usize];
        if new {
            *entry = KeyEntry::default();
        }
        entry.total += diff;
        if self.links[row as usize].key != NONE {
            return;
        }
        entry.rows += 1;
        let mut link = Link { key: number, ..UNLINKED };
        match (sort, &mut entry.members) {
            (Some(sort), Members::Sorted(rows)) => {
                rows.insert(sort.into(), row);
            }
            (Some(sort), members) => *members = Members::Sorted(BTreeMap::from([(sort.into(), row)])),
            (None, Members::Chain(first)) => {
                link.next = std::mem::replace(first, row);
                if link.next != NONE {
                    self.links[link.next as usize].previous = row;
                }
            }
            (None, Members::Sorted(_)) => {}
        }
        self.links[row as usize] = link;
    }

    /// Takes a row out that is there no more: its multiplicity has become zero.
    pub(crate) fn remove(&mut self, row: u32, sort: Option<&[u8]>) {
        let Some(link) = self.links.get_mut(row as usize) else { return };
        let Link { key, next, previous } = std::mem::replace(link, UNLINKED);
        let Some(entry) = self.entries.get_mut(key as usize) else { return };
        entry.rows -= 1;
        match (&mut entry.members, sort) {
            (Members::Sorted(rows), Some(sort)) => {
                rows.remove(sort);
            }
            (Members::Chain(first), _) => {
                if next != NONE {
                    self.links[next as usize].previous = previous;
                }
                match previous {
                    NONE => *first = next,
                    previous => self.links[previous as usize].next = next,
                }
            }
            (Members::Sorted(_), None) => {}
        }
        if entry.rows == 0 {
            self.keys.remove(key);
        }
    }

    fn entry(&self, hash: u64, key: &[u8]) -> Option<&KeyEntry> {
        self.entries.get(self.keys.find(hash, key)? as usize)
    }

    /// How many rows a key has, with their multiplicities.
    pub(crate) fn total(&self, hash: u64, key: &[u8]) -> i64 {
        self.entry(hash, key).map_or(0, |entry| entry.total)
    }

    /// The rows of a key.
    pub(crate) fn rows(&self, hash: u64, key: &[u8]) -> impl Iterator<Item = u32> {
        let first = match self.entry(hash, key).map(|entry| &entry.members) {
            Some(Members::Chain(first)) => *first,
            _ => NONE,
        };
        std::iter::successors((first != NONE).then_some(first), |row| {
            let next = self.links[*row as usize].next;
            (next != NONE).then_some(next)
        })
    }

    /// The rows of a key with their sort keys, in order.
    pub(crate) fn sorted(&self, hash: u64, key: &[u8]) -> impl Iterator<Item = (&[u8], u32)> {
        let rows = match self.entry(hash, key).map(|entry| &entry.members) {
            Some(Members::Sorted(rows)) => Some(rows),
            _ => None,
        };
        rows.into_iter().flatten().map(|(sort, row)| (sort.as_ref(), *row))
    }
}

#[cfg(test)]
mod tests {
    use super::super::hash::hash_bytes;
    use super::*;

    #[test]
    fn rows_are_found_by_key_in_and_out_of_order() {
        let hash = |key: &[u8]| hash_bytes(key);
        let mut index = KeyIndex::default();
        for row in 0..100u32 {
            let key = [row as u8 % 7];
            index.add(hash(&key), &key, None, row, 2);
        }
        let rows = |index: &KeyIndex, key: u8| {
            let mut rows: Vec<u32> = index.rows(hash(&[key]), &[key]).collect();
            rows.sort_unstable();
            rows
        };
        assert_eq!(rows(&index, 3), (0..100).filter(|row| row % 7 == 3).collect::<Vec<_>>());
        assert_eq!(index.total(hash(&[3]), &[3]), 28);
        for row in (0..100).filter(|row| row % 7 == 3 || row % 2 == 0) {
            index.add(hash(&[(row % 7) as u8]), &[(row % 7) as u8], None, row, -2);
            index.remove(row, None);
        }
        assert_eq!(rows(&index, 3), Vec::<u32>::new());
        assert_eq!(index.total(hash(&[3]), &[3]), 0);
        assert_eq!(rows(&index, 4), (0..100).filter(|row| row % 7 == 4 && row % 2 == 1).collect::<Vec<_>>());
        let mut sorted = KeyIndex::default();
        for (row, sort) in [b"c", b"a", b"b"].into_iter().enumerate() {
            sorted.add(hash(b"k"), b"k", Some(sort), row as u32, 1);
        }
        sorted.remove(2, Some(b"b"));
        assert_eq!(sorted.sorted(hash(b"k"), b"k").map(|(_, row)| row).collect::<Vec<_>>(), [1, 0]);
    }
}
