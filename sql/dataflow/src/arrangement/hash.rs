//! The shard hash: our own function, part of the format version.
//!
//! Promises the same number on every machine and in every version of Thalweg; shards on disk
//! depend on it. Is no defence against chosen keys.

/// Shards an arrangement is split into. Fixed: a key's shard is the top bits of its hash.
pub(crate) const SHARDS: usize = 64;

const K0: u64 = 0xa076_1d64_78bd_642f;
const K1: u64 = 0xe703_7ed1_a0b4_28db;

/// Folds a 128-bit product: the mixing step (after Wang Yi's wyhash, 2019).
#[inline(always)]
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

#[inline(always)]
fn word(bytes: &[u8]) -> u64 {
    let mut buffer = [0u8; 8];
    buffer[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(buffer)
}

/// The hash of a byte string.
#[inline]
pub(crate) fn hash_bytes(bytes: &[u8]) -> u64 {
    let mut state = K0 ^ bytes.len() as u64;
    let mut chunks = bytes.chunks_exact(16);
    for chunk in &mut chunks {
        let (low, high) = chunk.split_at(8);
        state = mix(word(low) ^ K1, word(high) ^ state);
    }
    let rest = chunks.remainder();
    let (low, high) = rest.split_at(rest.len().min(8));
    mix(mix(word(low) ^ K1, word(high) ^ state), K0 ^ bytes.len() as u64)
}

/// The shard of a hash.
#[inline(always)]
pub(crate) fn shard_of(hash: u64) -> usize {
    (hash >> 58) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_function_is_part_of_the_format() {
        let known: Vec<u64> = [&b""[..], b"a", b"samsung", b"0123456789abcdef", b"0123456789abcdef-"]
            .iter()
            .map(|k| hash_bytes(k))
            .collect();
        assert_eq!(known.len(), known.iter().collect::<std::collections::HashSet<_>>().len());
        let mut counts = [0usize; SHARDS];
        for n in 0u64..64_000 {
            counts[shard_of(hash_bytes(&n.to_le_bytes()))] += 1;
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
    }
}
