//! A hash table from byte strings to dense numbers: the index of every piece of state.
//!
//! Numbers are reused, the lowest free one first, so that a table rebuilt from a checkpoint goes on
//! exactly as the one that was lost. Slots keep half of the hash: growing touches no key. One table
//! is one shard's, so growing one of 64 is short. Not thread safe; its shard's lock is outside.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use hashbrown::HashTable;

use super::codec::{read_bytes, read_length, write_length};

/// The place of a key that is not there.
const FREE: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Slot {
    hash: u32,
    id: u32,
}

/// Keys and their numbers.
#[derive(Debug, Default)]
pub(crate) struct KeyTable {
    slots: HashTable<Slot>,
    /// Every key behind its length.
    arena: Vec<u8>,
    /// Number to place in the arena.
    places: Vec<u32>,
    free: BinaryHeap<Reverse<u32>>,
    /// Bytes of the arena that belong to removed keys.
    garbage: usize,
}

/// Spreads the stored half of a hash over 64 bits again.
#[inline(always)]
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn key_at(arena: &[u8], place: u32) -> &[u8] {
    let mut rest = &arena[place as usize..];
    // A key was written by `append`, so its length is there.
    let length = read_length(&mut rest).unwrap_or(0);
    read_bytes(&mut rest, length).unwrap_or(&[])
}

impl KeyTable {
    /// Keys in it.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// One more than the largest number ever in use.
    pub(crate) fn limit(&self) -> u32 {
        self.places.len() as u32
    }

    /// Bytes of memory.
    pub(crate) fn memory(&self) -> usize {
        self.slots.capacity() * (size_of::<Slot>() + 1)
            + self.arena.capacity()
            + self.places.capacity() * 4
            + self.free.len() * 4
    }

    /// The number of a key, if it is there.
    #[inline]
    pub(crate) fn find(&self, hash: u64, key: &[u8]) -> Option<u32> {
        let half = hash as u32;
        self.slots
            .find(spread(half), |slot| slot.hash == half && key_at(&self.arena, self.places[slot.id as usize]) == key)
            .map(|slot| slot.id)
    }

    /// The number of a key with this hash for which `wanted` holds.
    pub(crate) fn find_where(&self, hash: u64, wanted: impl Fn(&[u8]) -> bool) -> Option<u32> {
        let half = hash as u32;
        let found = self
            .slots
            .find(spread(half), |slot| slot.hash == half && wanted(key_at(&self.arena, self.places[slot.id as usize])));
        found.map(|slot| slot.id)
    }

    /// The number of a key, and whether it is new.
    #[inline]
    pub(crate) fn insert(&mut self, hash: u64, key: &[u8]) -> (u32, bool) {
        if let Some(id) = self.find(hash, key) {
            return (id, false);
        }
        let id = match self.free.pop() {
            Some(Reverse(id)) => id,
            None => {
                self.places.push(FREE);
                self.places.len() as u32 - 1
            }
        };
        self.put(hash, key, id);
        (id, true)
    }

    /// Gives a key that is not there this number, which is free: for loading.
    pub(crate) fn restore(&mut self, hash: u64, key: &[u8], id: u32) {
        while self.places.len() <= id as usize {
            self.places.push(FREE);
        }
        self.put(hash, key, id);
    }

    /// Rebuilds the list of free numbers: ends loading.
    pub(crate) fn restored(&mut self) {
        self.free = self
            .places
            .iter()
            .enumerate()
            .filter(|(_, place)| **place == FREE)
            .map(|(id, _)| Reverse(id as u32))
            .collect();
    }

    fn put(&mut self, hash: u64, key: &[u8], id: u32) {
        let half = hash as u32;
        self.places[id as usize] = self.arena.len() as u32;
        let needed = key.len() + 10;
        if self.arena.capacity() - self.arena.len() < needed {
            // A quarter at a time: doubling would leave half of a large table's memory empty.
            self.arena.reserve_exact(needed.max(self.arena.len() / 4));
        }
        write_length(key.len(), &mut self.arena);
        self.arena.extend_from_slice(key);
        self.slots.insert_unique(spread(half), Slot { hash: half, id }, |slot| spread(slot.hash));
    }

    /// The key with this number; `None` if the number is free.
    pub(crate) fn key(&self, id: u32) -> Option<&[u8]> {
        match self.places.get(id as usize) {
            Some(&place) if place != FREE => Some(key_at(&self.arena, place)),
            _ => None,
        }
    }

    /// Frees a number.
    pub(crate) fn remove(&mut self, id: u32) {
        let Some(key) = self.key(id) else { return };
        let size = key.len() + 1;
        let half = super::hash::hash_bytes(key) as u32;
        if let Ok(entry) = self.slots.find_entry(spread(half), |slot| slot.id == id) {
            entry.remove();
        }
        self.places[id as usize] = FREE;
        self.free.push(Reverse(id));
        self.garbage += size;
        if self.garbage > 4096 && self.garbage * 2 > self.arena.len() {
            self.compact();
        }
    }

    fn compact(&mut self) {
        let mut arena = Vec::with_capacity(self.arena.len() - self.garbage.min(self.arena.len()));
        for place in self.places.iter_mut().filter(|place| **place != FREE) {
            let key = key_at(&self.arena, *place);
            *place = arena.len() as u32;
            write_length(key.len(), &mut arena);
            arena.extend_from_slice(key);
        }
        self.arena = arena;
        self.garbage = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::super::hash::hash_bytes;
    use super::*;

    #[test]
    fn numbers_are_dense_and_reused_lowest_first() {
        let mut table = KeyTable::default();
        for n in 0u32..10_000 {
            let key = format!("key {n}");
            assert_eq!(table.insert(hash_bytes(key.as_bytes()), key.as_bytes()), (n, true));
            assert_eq!(table.insert(hash_bytes(key.as_bytes()), key.as_bytes()), (n, false));
        }
        for n in (0..10_000).step_by(3) {
            table.remove(n);
        }
        assert_eq!(table.key(3), None);
        assert_eq!(table.key(4), Some(&b"key 4"[..]));
        assert_eq!(table.insert(hash_bytes(b"new"), b"new"), (0, true));
        assert_eq!(table.insert(hash_bytes(b"newer"), b"newer"), (3, true));
        for n in (0..10_000u32).filter(|n| n % 3 != 0) {
            let key = format!("key {n}");
            assert_eq!(table.find(hash_bytes(key.as_bytes()), key.as_bytes()), Some(n));
        }
    }
}
