//! Finding delimiters, quotes and line feeds: 64 bytes at a time into a bit mask.
//!
//! On x86-64 with the vector instructions every such processor has (SSE2), elsewhere eight bytes at
//! a time. Promises all places of the three bytes, in order.

#![allow(unsafe_code)] // One call of a function compiled for SSE2.

/// The places of up to three byte values in some data, in order.
pub(super) struct Marks<'a> {
    data: &'a [u8],
    needles: [u8; 3],
    /// Where the block starts whose marks are in `mask`.
    base: usize,
    mask: u64,
}

impl<'a> Marks<'a> {
    /// The places at or after `from`. The needles must not be 0.
    pub(super) fn new(data: &'a [u8], needles: [u8; 3], from: usize) -> Marks<'a> {
        let mut marks = Marks { data, needles, base: 0, mask: 0 };
        marks.seek(from);
        marks
    }

    /// Goes on at `from`.
    pub(super) fn seek(&mut self, from: usize) {
        self.base = from;
        self.mask = self.load();
    }

    /// The next place.
    #[inline]
    pub(super) fn next(&mut self) -> Option<usize> {
        while self.mask == 0 {
            if self.data.len().saturating_sub(self.base) <= 64 {
                return None;
            }
            self.base += 64;
            self.mask = self.load();
        }
        let place = self.base + self.mask.trailing_zeros() as usize;
        self.mask &= self.mask - 1;
        Some(place)
    }

    #[inline]
    fn load(&self) -> u64 {
        match self.data.get(self.base..).and_then(|rest| rest.first_chunk::<64>()) {
            Some(block) => mask_of(block, self.needles),
            None => self.load_tail(),
        }
    }

    #[inline]
    fn load_tail(&self) -> u64 {
        let rest = self.data.get(self.base..).unwrap_or_default();
        let mut block = [0; 64];
        block[..rest.len()].copy_from_slice(rest);
        mask_of(&block, self.needles)
    }
}

#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[inline]
fn mask_of(block: &[u8; 64], needles: [u8; 3]) -> u64 {
    // SAFETY: the condition above says that every processor this is compiled for has SSE2.
    unsafe { mask_by_vectors(block, needles) }
}

#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[target_feature(enable = "sse2")]
#[inline]
fn mask_by_vectors(block: &[u8; 64], needles: [u8; 3]) -> u64 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8};

    let [a, b, c] = needles.map(|needle| _mm_set1_epi8(needle as i8));
    let mut mask = 0;
    let (quarters, _) = block.as_chunks::<16>();
    for (place, quarter) in quarters.iter().enumerate() {
        let bits = u128::from_le_bytes(*quarter);
        let bytes = _mm_set_epi64x((bits >> 64) as i64, bits as i64);
        let hits =
            _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(bytes, a), _mm_cmpeq_epi8(bytes, b)), _mm_cmpeq_epi8(bytes, c));
        mask |= (_mm_movemask_epi8(hits) as u32 as u64) << (16 * place);
    }
    mask
}

#[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
#[inline]
fn mask_of(block: &[u8; 64], needles: [u8; 3]) -> u64 {
    mask_by_words(block, needles)
}

/// The portable form: exact zero-byte detection in words of eight bytes.
#[cfg(any(test, not(all(target_arch = "x86_64", target_feature = "sse2"))))]
fn mask_by_words(block: &[u8; 64], needles: [u8; 3]) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let (words, _) = block.as_chunks::<8>();
    let mut mask = 0;
    for (place, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let mut hits = 0;
        for needle in needles {
            let x = word ^ (ONES * u64::from(needle));
            hits |= !(((x & LOW) + LOW) | x | LOW);
        }
        // One bit a byte, at its top: gather the eight of them.
        let bits = (hits >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        mask |= bits << (8 * place);
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_find_what_a_plain_loop_finds() {
        let mut state = 1u64;
        for round in 0..2_000 {
            let block: [u8; 64] = std::array::from_fn(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let byte = (state >> 56) as u8;
                if round % 2 == 0 { b"a,\n\"\x80\xac\x00-"[usize::from(byte % 8)] } else { byte }
            });
            let needles = *b",\n\"";
            let plain = (0..64).filter(|i| needles.contains(&block[*i])).fold(0u64, |mask, i| mask | 1 << i);
            assert_eq!(mask_of(&block, needles), plain);
            assert_eq!(mask_by_words(&block, needles), plain);
        }
    }

    #[test]
    fn places_come_in_order_from_anywhere() {
        let data: Vec<u8> = (0..1000).map(|i| if i % 7 == 0 || i % 64 == 63 { b',' } else { b'x' }).collect();
        for length in [0, 1, 63, 64, 65, 128, 1000] {
            let data = &data[..length];
            for from in [0, 1, 7, 63, 64, 100, length] {
                let mut marks = Marks::new(data, *b",\n\"", from);
                let found: Vec<usize> = std::iter::from_fn(|| marks.next()).collect();
                let plain: Vec<usize> = (from..length).filter(|i| data[*i] == b',').collect();
                assert_eq!(found, plain, "{length} from {from}");
            }
        }
    }
}
