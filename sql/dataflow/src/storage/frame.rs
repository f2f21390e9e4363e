//! How a value lies in a tree: one byte of format version, a CRC32, then the value itself.
//!
//! Promises: a value that was damaged, or that stands under another key than the one it was written
//! for, is an error that names the tree and the key; it is never handed out. The CRC covers version,
//! tree, key and value. Does not compress.

use super::Tree;
use crate::error::{Error, Result, SqlState};

/// The format of values written today. A reader refuses every other one by name.
const VERSION: u8 = 1;

/// Bytes in front of the value.
const HEADER: usize = 5;

/// Frames a value for `key` of `tree`.
pub(super) fn seal(tree: Tree, key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(HEADER + value.len());
    framed.push(VERSION);
    framed.extend_from_slice(&checksum(tree, key, value).to_le_bytes());
    framed.extend_from_slice(value);
    framed
}

/// The value inside a frame that was read at `key` of `tree`.
pub(super) fn open(tree: Tree, key: &[u8], framed: &[u8]) -> Result<Vec<u8>> {
    let Some((header, value)) = framed.split_at_checked(HEADER) else {
        return Err(damaged(tree, key, format!("The value has {} bytes, fewer than its frame.", framed.len())));
    };
    if header[0] != VERSION {
        return Err(damaged(tree, key, format!("Its format version is {}, known is {VERSION}.", header[0])));
    }
    let expected = u32::from_le_bytes([header[1], header[2], header[3], header[4]]);
    let actual = checksum(tree, key, value);
    if actual != expected {
        return Err(damaged(tree, key, format!("Its CRC32 is {actual:08x}, written was {expected:08x}.")));
    }
    Ok(value.to_vec())
}

fn checksum(tree: Tree, key: &[u8], value: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[VERSION, tree as u8]);
    hasher.update(&(key.len() as u64).to_le_bytes());
    hasher.update(key);
    hasher.update(value);
    hasher.finalize()
}

/// The error for an entry that cannot be trusted.
pub(super) fn damaged(tree: Tree, key: &[u8], detail: String) -> Error {
    Error::new(SqlState::DataCorrupted, format!("stored entry {tree:?}/{} is damaged", hex(key)))
        .detail(detail)
        .hint(REMEDY)
}

/// What a user can do about damaged files.
pub(super) const REMEDY: &str = "Check the disk, then restore the data directory from a copy, or start with an empty \
                                 one: sources are read again from their start position, the rows of tables are lost.";

/// A key as error messages print it.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_is_noticed() {
        let framed = seal(Tree::Base, b"key", b"some value");
        assert_eq!(open(Tree::Base, b"key", &framed).unwrap(), b"some value");
        for bit in 0..framed.len() * 8 {
            let mut broken = framed.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            let error = open(Tree::Base, b"key", &broken).unwrap_err();
            assert_eq!(error.state(), SqlState::DataCorrupted);
            assert_eq!(error.message(), "stored entry Base/6b6579 is damaged");
        }
    }

    #[test]
    fn a_value_under_another_key_or_tree_is_damaged() {
        let framed = seal(Tree::Base, b"key", b"v");
        assert!(open(Tree::Base, b"kez", &framed).is_err());
        assert!(open(Tree::Log, b"key", &framed).is_err());
        assert!(open(Tree::Base, b"ke", &seal(Tree::Base, b"key", b"")).is_err());
        assert!(open(Tree::Base, b"", &[]).is_err());
    }
}
