//! Sections: the entries of one unit as bytes, in chunks of at most about 64 KiB.
//!
//! A chunk is a row of sections; a section is its unit, its length, its entries. Part of the
//! format version.

use super::Unit;
use crate::arrangement::Arrangement;
use crate::arrangement::codec::{read_bytes, read_length, write_length};
use crate::arrangement::groups::{Blob, Image};
use crate::arrangement::hash::hash_bytes;
use crate::engine::SourceError;
use crate::error::{Error, Result, SqlState};

/// Bytes at which a chunk is full; an entry may go past it.
const CHUNK_BYTES: usize = 60 << 10;

/// Bytes before a section's entries: unit and length.
const HEADER_BYTES: usize = 4 + 2 + 1 + 4;

/// Tables an arrangement has: its groups, its distinct tables, a multiset a call.
pub(super) fn tables(arrangement: &Arrangement) -> u16 {
    (1 + arrangement.distincts.len() + arrangement.output.layout.calls.len()) as u16
}

enum TableRef {
    Groups,
    Distinct(usize),
    Multiset(usize),
}

fn table_of(arrangement: &Arrangement, table: u16) -> TableRef {
    let distincts = arrangement.distincts.len();
    match table as usize {
        0 => TableRef::Groups,
        table if table <= distincts => TableRef::Distinct(table - 1),
        table => TableRef::Multiset(table - 1 - distincts),
    }
}

/// Whether a unit changed since the last checkpoint.
pub(super) fn is_dirty(arrangement: &Arrangement, table: u16, shard: usize) -> bool {
    match table_of(arrangement, table) {
        TableRef::Groups => arrangement.shards[shard].read().groups.is_dirty(),
        TableRef::Distinct(place) => arrangement.distincts[place].shards[shard].lock().is_dirty(),
        TableRef::Multiset(call) => !arrangement.shards[shard].read().multisets[call].dirty.is_empty(),
    }
}

/// About how many bytes a unit has.
pub(super) fn memory(arrangement: &Arrangement, table: u16, shard: usize) -> usize {
    match table_of(arrangement, table) {
        TableRef::Groups => arrangement.shards[shard].read().groups.memory(),
        TableRef::Distinct(place) => arrangement.distincts[place].shards[shard].lock().memory(),
        TableRef::Multiset(call) => arrangement.shards[shard].read().multisets[call].values.len() * 32,
    }
}

/// Writes one unit's entries.
struct Writer {
    unit: Unit,
    chunks: Vec<Vec<u8>>,
    current: Vec<u8>,
}

impl Writer {
    fn new(unit: Unit) -> Writer {
        Writer { unit, chunks: Vec::new(), current: Vec::new() }
    }

    fn entry(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.current.is_empty() {
            self.current.extend_from_slice(&self.unit.arrangement.to_be_bytes());
            self.current.extend_from_slice(&self.unit.table.to_be_bytes());
            self.current.push(self.unit.shard);
            self.current.extend_from_slice(&[0; 4]);
        }
        write(&mut self.current);
        if self.current.len() >= CHUNK_BYTES {
            self.close();
        }
    }

    fn close(&mut self) {
        if self.current.is_empty() {
            return;
        }
        let length = (self.current.len() - HEADER_BYTES) as u32;
        self.current[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&length.to_be_bytes());
        self.chunks.push(std::mem::take(&mut self.current));
    }

    fn finish(mut self) -> Vec<Vec<u8>> {
        self.close();
        self.chunks
    }
}

/// Copies a unit out: what changed, or all of it. Nothing is dirty afterwards.
pub(super) fn freeze(unit: Unit, arrangement: &Arrangement, whole: bool) -> Vec<Vec<u8>> {
    let mut writer = Writer::new(unit);
    let shard = unit.shard as usize;
    match table_of(arrangement, unit.table) {
        TableRef::Groups => {
            let groups = &mut arrangement.shards[shard].write().groups;
            if whole {
                groups.take_all(|id, image| writer.entry(|out| write_group(id, Some(image), out)));
            } else {
                groups.take_dirty(|id, image| writer.entry(|out| write_group(id, image, out)));
            }
        }
        TableRef::Distinct(place) => {
            let mut table = arrangement.distincts[place].shards[shard].lock();
            if whole {
                table.take_all(|id, key, state| writer.entry(|out| write_distinct(id, Some((key, state)), out)));
            } else {
                table.take_dirty(|id, entry| writer.entry(|out| write_distinct(id, entry, out)));
            }
        }
        TableRef::Multiset(call) => {
            let set = &mut arrangement.shards[shard].write().multisets[call];
            let dirty = std::mem::take(&mut set.dirty);
            if whole {
                set.values.iter().for_each(|(key, count)| writer.entry(|out| write_value(key, *count, out)));
            } else {
                dirty.iter().for_each(|key| {
                    writer.entry(|out| write_value(key, set.values.get(key).copied().unwrap_or(0), out))
                });
            }
        }
    }
    writer.finish()
}

/// The source errors, each behind its number.
pub(super) fn errors<'a>(unit: Unit, entries: impl Iterator<Item = (u64, &'a SourceError)>) -> Vec<Vec<u8>> {
    let mut writer = Writer::new(unit);
    for (number, error) in entries {
        let json = serde_json::to_vec(&(error.source, error.partition, &error.record)).unwrap_or_default();
        writer.entry(|out| {
            out.extend_from_slice(&number.to_be_bytes());
            write_length(json.len(), out);
            out.extend_from_slice(&json);
        });
    }
    writer.finish()
}

fn write_group(id: u32, image: Option<Image<'_>>, out: &mut Vec<u8>) {
    write_length(id as usize, out);
    let Some(image) = image else { return out.push(0) };
    out.push(1);
    write_length(image.key.len(), out);
    out.extend_from_slice(image.key);
    out.extend_from_slice(image.fixed);
    for blob in image.blobs {
        match blob {
            None => write_length(0, out),
            Some(bytes) => {
                write_length(bytes.len() + 1, out);
                out.extend_from_slice(bytes);
            }
        }
    }
}

fn write_distinct(id: u32, entry: Option<(&[u8], &[u8])>, out: &mut Vec<u8>) {
    write_length(id as usize, out);
    let Some((key, state)) = entry else { return out.push(0) };
    out.push(1);
    write_length(key.len(), out);
    out.extend_from_slice(key);
    out.extend_from_slice(state);
}

fn write_value(key: &[u8], count: i64, out: &mut Vec<u8>) {
    write_length(key.len(), out);
    out.extend_from_slice(key);
    out.extend_from_slice(&count.to_be_bytes());
}

/// Packs small sections into full chunks.
#[derive(Debug, Default)]
pub(super) struct Packer {
    chunks: Vec<Vec<u8>>,
}

impl Packer {
    /// Adds the section(s) of one unit's chunk.
    pub(super) fn add(&mut self, section: &[u8]) {
        match self.chunks.last_mut() {
            Some(last) if last.len() + section.len() <= CHUNK_BYTES => last.extend_from_slice(section),
            _ => self.chunks.push(section.to_vec()),
        }
    }

    /// The chunks.
    pub(super) fn finish(self) -> Vec<Vec<u8>> {
        self.chunks
    }
}

fn damaged() -> Error {
    Error::new(SqlState::DataCorrupted, "a chunk of saved state does not have its form")
        .hint("Start with an empty data directory; views are built again from their sources.")
}

/// Takes a chunk apart: each section's unit and entries.
pub(super) fn sections(mut chunk: &[u8]) -> Result<Vec<(Unit, &[u8])>> {
    let mut out = Vec::new();
    while !chunk.is_empty() {
        let header = read_bytes(&mut chunk, HEADER_BYTES)?;
        let number =
            |range: std::ops::Range<usize>| header[range].iter().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte));
        let unit = Unit { arrangement: number(0..4), table: number(4..6) as u16, shard: header[6] };
        out.push((unit, read_bytes(&mut chunk, number(7..11) as usize)?));
    }
    Ok(out)
}

/// Puts a section's entries where they belong.
pub(super) fn restore(unit: Unit, arrangement: &Arrangement, mut entries: &[u8]) -> Result<()> {
    let shard = unit.shard as usize;
    if shard >= arrangement.shards.len() || unit.table >= tables(arrangement) {
        return Err(damaged());
    }
    match table_of(arrangement, unit.table) {
        TableRef::Groups => {
            let groups = &mut arrangement.shards[shard].write().groups;
            let (stride, blob_count) = groups.shape();
            while !entries.is_empty() {
                let id = read_length(&mut entries)? as u32;
                if read_bytes(&mut entries, 1)?[0] == 0 {
                    groups.restore_removed(id);
                    continue;
                }
                let length = read_length(&mut entries)?;
                let key = read_bytes(&mut entries, length)?;
                let fixed = read_bytes(&mut entries, stride)?;
                let blobs: Vec<Blob> = (0..blob_count).map(|_| read_blob(&mut entries)).collect::<Result<_>>()?;
                groups.restore(id, hash_bytes(key), key, fixed, blobs);
            }
        }
        TableRef::Distinct(place) => {
            let mut table = arrangement.distincts[place].shards[shard].lock();
            while !entries.is_empty() {
                let id = read_length(&mut entries)? as u32;
                if read_bytes(&mut entries, 1)?[0] == 0 {
                    table.restore(id, None);
                    continue;
                }
                let length = read_length(&mut entries)?;
                let key = read_bytes(&mut entries, length)?;
                let state = read_bytes(&mut entries, table.width())?;
                table.restore(id, Some((key, state)));
            }
        }
        TableRef::Multiset(call) => {
            let set = &mut arrangement.shards[shard].write().multisets[call];
            while !entries.is_empty() {
                let length = read_length(&mut entries)?;
                let key = read_bytes(&mut entries, length)?.to_vec();
                let count = i64::from_be_bytes(read_bytes(&mut entries, 8)?.try_into().map_err(|_| damaged())?);
                if count == 0 {
                    set.values.remove(&key);
                } else {
                    set.values.insert(key, count);
                }
            }
        }
    }
    Ok(())
}

fn read_blob(entries: &mut &[u8]) -> Result<Blob> {
    match read_length(entries)? {
        0 => Ok(None),
        length => Ok(Some(read_bytes(entries, length - 1)?.into())),
    }
}

/// The source errors of a section.
pub(super) fn restore_errors(mut entries: &[u8]) -> Result<Vec<(u64, SourceError)>> {
    let mut out = Vec::new();
    while !entries.is_empty() {
        let number = u64::from_be_bytes(read_bytes(&mut entries, 8)?.try_into().map_err(|_| damaged())?);
        let length = read_length(&mut entries)?;
        let (source, partition, record) =
            serde_json::from_slice(read_bytes(&mut entries, length)?).map_err(|_| damaged())?;
        out.push((number, SourceError { source, partition, record }));
    }
    Ok(out)
}
