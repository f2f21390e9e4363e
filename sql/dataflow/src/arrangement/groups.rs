//! One shard of an arrangement: keys, each with a fixed number of state bytes and some blobs.
//!
//! A single writer changes it epoch by epoch, in place; readers at an older epoch get the old
//! images from the undo lists, which go once no pinned epoch needs them. What changed since the
//! last checkpoint is marked dirty. Does not know what the state bytes mean.

use std::collections::{BTreeMap, VecDeque};

use super::hash::hash_bytes;
use super::key_table::KeyTable;
#[cfg(test)]
use crate::simulation::fault::{Fault, planted};

/// State of variable length, `None` at first.
pub(crate) type Blob = Option<Box<[u8]>>;

/// The groups of one shard.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    pub(crate) keys: KeyTable,
    /// State bytes of a group.
    stride: usize,
    /// Blobs of a group.
    blob_count: usize,
    fixed: Vec<u8>,
    blobs: Vec<Blob>,
    undo: VecDeque<Undo>,
    dirty: Marks,
}

/// A set of numbers, and their list.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    bits: Vec<u64>,
    list: Vec<u32>,
}

impl Marks {
    /// Adds a number; whether it was not in yet.
    #[inline]
    pub(crate) fn insert(&mut self, id: u32) -> bool {
        let word = id as usize / 64;
        if word >= self.bits.len() {
            self.bits.resize(word + 1 + word / 4, 0);
        }
        let bit = 1u64 << (id % 64);
        if self.bits[word] & bit != 0 {
            return false;
        }
        self.bits[word] |= bit;
        self.list.push(id);
        true
    }

    /// Empties it and gives what was in it, in the order it came.
    pub(crate) fn take(&mut self) -> Vec<u32> {
        let list = std::mem::take(&mut self.list);
        for id in &list {
            self.bits[*id as usize / 64] &= !(1 << (id % 64));
        }
        list
    }

    /// Whether it is empty.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Bytes of memory.
    pub(crate) fn memory(&self) -> usize {
        self.bits.capacity() * 8 + self.list.capacity() * 4
    }
}

/// The images of what an epoch changed, before it did; an epoch that changes the shard in several
/// steps has a list for each.
#[derive(Debug)]
struct Undo {
    epoch: u64,
    /// Nothing is added any more.
    ended: bool,
    marks: Marks,
    entries: Vec<UndoEntry>,
    fixed: Vec<u8>,
    blobs: Vec<Blob>,
}

#[derive(Debug)]
struct UndoEntry {
    id: u32,
    existed: bool,
    /// The key, once the group is removed and its number may be used again.
    key: Option<Box<[u8]>>,
}

/// A group as it was or is at some epoch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Image<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) fixed: &'a [u8],
    pub(crate) blobs: &'a [Blob],
}

impl Groups {
    /// An empty shard whose groups have so much state.
    pub(crate) fn new(stride: usize, blob_count: usize) -> Groups {
        Groups { stride, blob_count, ..Groups::default() }
    }

    /// Groups in it.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Bytes of memory, blobs estimated.
    pub(crate) fn memory(&self) -> usize {
        let undo: usize =
            self.undo.iter().map(|undo| undo.fixed.capacity() + undo.entries.capacity() * size_of::<UndoEntry>()).sum();
        let blobs: usize =
            self.blobs.iter().flatten().map(|blob| blob.len() + 16).sum::<usize>() + self.blobs.capacity() * 16;
        self.keys.memory() + self.fixed.capacity() + blobs + undo + self.dirty.memory()
    }

    /// Opens an undo list of an epoch unless one is open, and drops those that no reader needs: of epochs up to
    /// `oldest`.
    pub(crate) fn begin(&mut self, epoch: u64, oldest: u64) {
        while self.undo.front().is_some_and(|undo| undo.epoch <= oldest && undo.epoch < epoch) {
            self.undo.pop_front();
        }
        if self.undo.back().is_none_or(|undo| undo.epoch < epoch || undo.ended) {
            self.undo.push_back(Undo {
                epoch,
                ended: false,
                marks: Marks::default(),
                entries: Vec::new(),
                fixed: Vec::new(),
                blobs: Vec::new(),
            });
        }
    }

    /// Drops every old image.
    pub(crate) fn forget_epochs(&mut self) {
        self.undo.clear();
    }

    /// The number of a key's group, made if it is new, and its old image kept: call it before every
    /// change. [`Groups::begin`] was called for this epoch.
    #[inline]
    pub(crate) fn touch(&mut self, hash: u64, key: &[u8]) -> u32 {
        let (id, new) = self.keys.insert(hash, key);
        if new {
            self.reset(id);
        }
        self.remember(id, !new);
        id
    }

    /// Keeps the old image of an existing group.
    #[inline]
    pub(crate) fn remember(&mut self, id: u32, existed: bool) {
        let Some(undo) = self.undo.back_mut() else { return };
        if undo.marks.insert(id) {
            let place = id as usize;
            undo.entries.push(UndoEntry { id, existed, key: None });
            undo.fixed.extend_from_slice(&self.fixed[place * self.stride..(place + 1) * self.stride]);
            if self.blob_count > 0 {
                undo.blobs.extend_from_slice(&self.blobs[place * self.blob_count..(place + 1) * self.blob_count]);
            }
        }
    }

    fn reset(&mut self, id: u32) {
        let place = id as usize;
        if self.fixed.len() < (place + 1) * self.stride {
            if self.fixed.capacity() < (place + 1) * self.stride {
                self.fixed.reserve_exact((self.fixed.len() / 4).max(self.stride * 8));
            }
            self.fixed.resize((place + 1) * self.stride, 0);
        } else {
            self.fixed[place * self.stride..(place + 1) * self.stride].fill(0);
        }
        if self.blob_count > 0 {
            if self.blobs.len() < (place + 1) * self.blob_count {
                self.blobs.resize((place + 1) * self.blob_count, None);
            }
            self.blobs[place * self.blob_count..(place + 1) * self.blob_count].fill(None);
        }
    }

    /// The state bytes of a group.
    #[inline]
    pub(crate) fn fixed_mut(&mut self, id: u32) -> &mut [u8] {
        let place = id as usize * self.stride;
        &mut self.fixed[place..place + self.stride]
    }

    /// A blob of a group.
    #[inline]
    pub(crate) fn blob_mut(&mut self, id: u32, blob: usize) -> &mut Blob {
        &mut self.blobs[id as usize * self.blob_count + blob]
    }

    /// The numbers of all groups.
    pub(crate) fn ids(&self) -> impl Iterator<Item = u32> {
        (0..self.keys.limit()).filter(|id| self.keys.key(*id).is_some())
    }

    /// A group as it is now.
    pub(crate) fn image(&self, id: u32) -> Option<Image<'_>> {
        let place = id as usize;
        Some(Image {
            key: self.keys.key(id)?,
            fixed: &self.fixed[place * self.stride..(place + 1) * self.stride],
            blobs: &self.blobs[place * self.blob_count..(place + 1) * self.blob_count],
        })
    }

    /// The group of a key as it is now, if it is there.
    pub(crate) fn find(&self, hash: u64, key: &[u8]) -> Option<Image<'_>> {
        self.image(self.keys.find(hash, key)?)
    }

    /// Whether something changed after an epoch.
    pub(crate) fn changed_since(&self, epoch: u64) -> bool {
        self.undo.iter().any(|undo| undo.epoch > epoch && !undo.entries.is_empty())
    }

    /// The group at an epoch whose key has this hash and is `wanted`; at most one such key may have
    /// been there at any epoch.
    pub(crate) fn at(&self, hash: u64, wanted: impl Fn(&[u8]) -> bool, epoch: u64) -> Option<Image<'_>> {
        let mut id = self.keys.find_where(hash, &wanted);
        let mut image = id.and_then(|id| self.image(id));
        #[cfg(test)]
        if planted(Fault::LookupOfNow) {
            return image;
        }
        for undo in self.undo.iter().rev().take_while(|undo| undo.epoch > epoch) {
            let ours = undo.entries.iter().position(|entry| match &entry.key {
                // Removed in this step: its number may be another's since.
                Some(key) => hash_bytes(key) == hash && wanted(key),
                None => Some(entry.id) == id,
            });
            let Some(index) = ours else { continue };
            let entry = &undo.entries[index];
            let key = entry.key.as_deref().or(image.map(|image| image.key));
            image = key.filter(|_| entry.existed).map(|key| self.undo_image(undo, index, key));
            id = image.map(|_| entry.id);
        }
        image
    }

    /// The groups touched since [`Groups::begin`] of this epoch, each with its old and its new image,
    /// in order of touch.
    pub(crate) fn touched(&self, epoch: u64) -> impl Iterator<Item = (u32, Option<Image<'_>>, Option<Image<'_>>)> {
        let undo = self.undo.back().filter(|undo| undo.epoch == epoch);
        undo.into_iter().flat_map(move |undo| {
            undo.entries.iter().enumerate().map(move |(index, entry)| {
                let key = self.keys.key(entry.id).filter(|_| entry.existed);
                (entry.id, key.map(|key| self.undo_image(undo, index, key)), self.image(entry.id))
            })
        })
    }

    fn undo_image<'a>(&'a self, undo: &'a Undo, index: usize, key: &'a [u8]) -> Image<'a> {
        Image {
            key,
            fixed: &undo.fixed[index * self.stride..(index + 1) * self.stride],
            blobs: &undo.blobs[index * self.blob_count..(index + 1) * self.blob_count],
        }
    }

    /// Ends an epoch, or a step of it: what it touched is dirty; the groups for which `dead` holds are removed.
    pub(crate) fn end(&mut self, epoch: u64, dead: impl Fn(Image<'_>) -> bool) {
        let Some(mut undo) = self.undo.pop_back() else { return };
        if undo.epoch == epoch {
            for entry in &mut undo.entries {
                self.dirty.insert(entry.id);
                if self.image(entry.id).is_some_and(&dead) {
                    entry.key = self.keys.key(entry.id).map(Into::into);
                    self.keys.remove(entry.id);
                    self.reset(entry.id);
                }
            }
            undo.marks = Marks::default();
            undo.ended = true;
        }
        self.undo.push_back(undo);
    }

    /// Collects every group as of `epoch` (the present if nothing newer changed).
    pub(crate) fn collect<'a>(&'a self, epoch: u64, out: &mut Vec<Image<'a>>) {
        let old = self.old_images(epoch);
        for id in 0..self.keys.limit() {
            if old.is_empty() || !old.contains_key(&id) {
                out.extend(self.image(id));
            }
        }
        out.extend(old.into_values().flatten());
    }

    /// The image at `epoch` of every group changed since; `None`: it was not there. From the newest
    /// undo list to the oldest: a number's group keeps its key until the list that removed it.
    fn old_images(&self, epoch: u64) -> BTreeMap<u32, Option<Image<'_>>> {
        let mut images: BTreeMap<u32, Option<Image<'_>>> = BTreeMap::new();
        for undo in self.undo.iter().rev().take_while(|undo| undo.epoch > epoch) {
            for (index, entry) in undo.entries.iter().enumerate() {
                let newer = images.get(&entry.id).copied().flatten().map(|image| image.key);
                let key = entry.key.as_deref().or(newer).or_else(|| self.keys.key(entry.id));
                let image = key.filter(|_| entry.existed).map(|key| self.undo_image(undo, index, key));
                images.insert(entry.id, image);
            }
        }
        images
    }

    /// The images at two epochs of every group that changed in between.
    pub(crate) fn changes(&self, from: u64, to: u64) -> Vec<(Option<Image<'_>>, Option<Image<'_>>)> {
        let new = self.old_images(to);
        let after = |id: u32| new.get(&id).copied().unwrap_or_else(|| self.image(id));
        self.old_images(from).into_iter().map(|(id, before)| (before, after(id))).collect()
    }

    /// Whether something changed since the last [`Groups::take_dirty`].
    pub(crate) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Calls `each` with what changed since the last time: the group now, or `None` if it is gone.
    pub(crate) fn take_dirty(&mut self, mut each: impl FnMut(u32, Option<Image<'_>>)) {
        for id in self.dirty.take() {
            each(id, self.image(id));
        }
    }

    /// Calls `each` with every group now, and forgets what was dirty: for a base.
    pub(crate) fn take_all(&mut self, mut each: impl FnMut(u32, Image<'_>)) {
        self.dirty.take();
        for id in 0..self.keys.limit() {
            if let Some(image) = self.image(id) {
                each(id, image);
            }
        }
    }

    /// Puts a group as it was saved; [`Groups::restored`] ends loading.
    pub(crate) fn restore(&mut self, id: u32, hash: u64, key: &[u8], fixed: &[u8], blobs: Vec<Blob>) {
        if self.keys.key(id).is_some_and(|present| present != key) {
            self.keys.remove(id);
        }
        if self.keys.key(id).is_none() {
            self.keys.restore(hash, key, id);
        }
        self.reset(id);
        self.fixed_mut(id).copy_from_slice(fixed);
        for (blob, value) in blobs.into_iter().enumerate() {
            *self.blob_mut(id, blob) = value;
        }
    }

    /// Removes a group that a later change removed.
    pub(crate) fn restore_removed(&mut self, id: u32) {
        if self.keys.key(id).is_some() {
            self.keys.remove(id);
        }
    }

    /// Ends loading.
    pub(crate) fn restored(&mut self) {
        self.keys.restored();
    }

    /// State bytes and blobs of a group, for whoever loads.
    pub(crate) fn shape(&self) -> (usize, usize) {
        (self.stride, self.blob_count)
    }
}
