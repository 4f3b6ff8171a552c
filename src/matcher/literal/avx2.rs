//! The filters with AVX2: eight windows a gather, byte classes by halves of bytes.

use std::arch::x86_64::*;

use super::filter::{Classes, HALVES, MULTIPLY_HIGH, MULTIPLY_LOW, Windows};
use super::table::load;

/// For each mask of eight elements of two bytes, the shuffle that brings the set ones to the front.
static TO_FRONT: [[u8; 16]; 256] = {
    let mut table = [[0; 16]; 256];
    let mut mask = 0;
    while mask < 256 {
        let (mut element, mut to) = (0, 0);
        while element < 8 {
            if mask >> element & 1 != 0 {
                table[mask][2 * to] = 2 * element as u8;
                table[mask][2 * to + 1] = 2 * element as u8 + 1;
                to += 1;
            }
            element += 1;
        }
        mask += 1;
    }
    table
};

/// Copies `from` in lower case.
///
/// # Safety
/// `to` has room for the bytes, rounded up to 32. The processor has these instructions.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn fold(from: &[u8], to: *mut u8) {
    let below_a = _mm256_set1_epi8(b'A' as i8 - 1);
    let above_z = _mm256_set1_epi8(b'Z' as i8 + 1);
    let bit = _mm256_set1_epi8(0x20);
    let mut at = 0;
    while at < from.len() {
        let mut last = [0u8; 32];
        let left = from.len() - at;
        // SAFETY: 32 bytes of the buffer, or of the copy of its last ones; `to` has room.
        unsafe {
            let text = if left >= 32 {
                _mm256_loadu_si256(from.as_ptr().add(at).cast())
            } else {
                last[..left].copy_from_slice(&from[at..]);
                _mm256_loadu_si256(last.as_ptr().cast())
            };
            let from_a = _mm256_cmpgt_epi8(text, below_a);
            let to_z = _mm256_cmpgt_epi8(above_z, text);
            let upper = _mm256_and_si256(_mm256_and_si256(from_a, to_z), bit);
            _mm256_storeu_si256(to.add(at).cast(), _mm256_or_si256(text, upper));
        }
        at += 32;
    }
}

/// Writes the positions `base + order[i]` of the set bits; gives how many.
///
/// # Safety
/// `out` has room for eight.
#[inline]
#[target_feature(enable = "avx2,popcnt")]
unsafe fn put(mask: u32, order: __m128i, base: usize, out: *mut u16) -> usize {
    let mask = (mask & 255) as usize;
    // SAFETY: sixteen bytes each.
    unsafe {
        let to_front = _mm_loadu_si128(TO_FRONT[mask].as_ptr().cast());
        let positions = _mm_add_epi16(order, _mm_set1_epi16(base as i16));
        _mm_storeu_si128(out.cast(), _mm_shuffle_epi8(positions, to_front));
    }
    mask.count_ones() as usize
}

/// Folds `from` into `to`, and writes the positions before `length` that pass; gives how many.
///
/// # Safety
/// `to` has room for the bytes of `from` and 128 more; `out` for `length / 2 + 64`. The processor
/// has these instructions.
#[target_feature(enable = "avx2,popcnt")]
pub(super) unsafe fn windows<const LOADS: bool>(
    filter: &Windows,
    from: &[u8],
    length: usize,
    to: *mut u8,
    out: *mut u16,
) -> usize {
    // SAFETY: the caller's promises.
    unsafe {
        fold(from, to);
        to.add(from.len()).write_bytes(0, 80);
        match (filter.stride, filter.has_four, filter.has_three) {
            (4, false, _) => pass::<LOADS, false, false, false>(filter, to, length, out),
            (4, true, _) => pass::<LOADS, false, true, false>(filter, to, length, out),
            (_, false, false) => pass::<LOADS, true, false, false>(filter, to, length, out),
            (_, true, false) => pass::<LOADS, true, true, false>(filter, to, length, out),
            (_, _, true) => pass::<LOADS, true, true, true>(filter, to, length, out),
        }
    }
}

/// # Safety
/// As `windows`.
#[inline]
#[target_feature(enable = "avx2,popcnt")]
unsafe fn pass<const LOADS: bool, const TWO: bool, const FOUR: bool, const THREE: bool>(
    filter: &Windows,
    folded: *const u8,
    length: usize,
    out: *mut u16,
) -> usize {
    let bits = filter.words_bits as i32;
    let to_index = _mm_cvtsi32_si128(32 - bits);
    let to_next = _mm_cvtsi32_si128(27 - bits);
    let words = filter.words.as_ptr().cast::<i32>();
    let low_by = _mm256_set1_epi32(MULTIPLY_LOW as i32);
    let high_by = _mm256_set1_epi32(MULTIPLY_HIGH as i32);
    let one = _mm256_set1_epi32(1);
    let mask31 = _mm256_set1_epi32(31);
    let test = |low: __m256i, high: __m256i| -> u32 {
        let low = _mm256_mullo_epi32(low, low_by);
        let high = _mm256_mullo_epi32(high, high_by);
        let base = if THREE {
            _mm256_slli_epi32::<8>(low)
        } else {
            low
        };
        let index = _mm256_srl_epi32(base, to_index);
        // SAFETY: an index has `words_bits` bits, and there are as many words.
        let word = unsafe { gather::<LOADS>(words, index) };
        let eight = _mm256_srli_epi32::<27>(_mm256_add_epi32(low, high));
        let mut wanted = _mm256_sllv_epi32(one, eight);
        let next = || {
            let next = _mm256_and_si256(_mm256_srl_epi32(base, to_next), mask31);
            _mm256_sllv_epi32(one, next)
        };
        if THREE {
            let four = _mm256_sllv_epi32(one, _mm256_srli_epi32::<27>(low));
            wanted = _mm256_or_si256(wanted, _mm256_or_si256(four, next()));
        } else if FOUR {
            wanted = _mm256_or_si256(wanted, next());
        }
        let none = _mm256_cmpeq_epi32(_mm256_and_si256(word, wanted), _mm256_setzero_si256());
        !_mm256_movemask_ps(_mm256_castsi256_ps(none)) as u32 & 255
    };
    let order = _mm_setr_epi16(0, 4, 8, 12, 16, 20, 24, 28);
    let (mut at, mut count) = (0, 0);
    while at < length {
        // SAFETY: `at < length`, and 72 bytes more can be read; what passes are at most as many as
        // the even positions so far, and each store writes eight elements.
        unsafe {
            let part = |offset| _mm256_loadu_si256(folded.add(at + offset).cast());
            let mut even = test(part(0), part(4));
            let left = length - at;
            if left < 32 {
                even &= (1 << left.div_ceil(4)) - 1;
            }
            count += put(even, order, at, out.add(count));
            if TWO {
                let mut odd = test(part(2), part(6));
                if left < 32 {
                    odd &= (1 << ((left + 1) / 4)) - 1;
                }
                count += put(odd, order, at + 2, out.add(count));
            }
        }
        at += 32;
    }
    count
}

/// Eight words: by the processor's gather, or by eight loads, which take half the time where
/// gathers are a program of the processor's own (Zen 3; Skylake since it guards them).
///
/// # Safety
/// All indexes lie inside what `words` points to.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn gather<const LOADS: bool>(words: *const i32, index: __m256i) -> __m256i {
    // SAFETY: the caller's promise, of each index.
    unsafe {
        if !LOADS {
            return _mm256_i32gather_epi32::<4>(words, index);
        }
        let four = |pairs: __m128i| {
            let (first, second) = (_mm_cvtsi128_si64(pairs), _mm_extract_epi64::<1>(pairs));
            let word = |index: u64| *words.add(index as usize);
            let low = |pair: i64| word(pair as u64 & 0xffff_ffff);
            let high = |pair: i64| word(pair as u64 >> 32);
            _mm_setr_epi32(low(first), high(first), low(second), high(second))
        };
        let front = four(_mm256_castsi256_si128(index));
        let back = four(_mm256_extracti128_si256::<1>(index));
        _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(front), back)
    }
}

/// Writes the positions that pass, and the buckets of each; gives how many.
///
/// # Safety
/// `length + 72` bytes can be read from `folded`; `out` and `buckets` have room for `length + 64`.
/// The processor has these instructions.
#[target_feature(enable = "avx2,popcnt")]
pub(super) unsafe fn classes(
    filter: &Classes,
    folded: *const u8,
    length: usize,
    out: *mut u16,
    buckets: *mut u8,
) -> usize {
    let places = [0, 1, 2, 3].map(|place| Place::load(&filter.halves[place]));
    let order = _mm_setr_epi16(0, 1, 2, 3, 4, 5, 6, 7);
    let (mut at, mut count) = (0, 0);
    while at < length {
        // SAFETY: `at < length`, and 72 bytes more can be read; each store writes eight elements.
        unsafe {
            let part = |offset| _mm256_loadu_si256(folded.add(at + offset).cast());
            let [first, second, third, fourth] = places;
            let (front, back) = (
                _mm256_and_si256(first.buckets(part(0)), second.buckets(part(1))),
                _mm256_and_si256(third.buckets(part(2)), fourth.buckets(part(3))),
            );
            let none = _mm256_cmpeq_epi8(_mm256_and_si256(front, back), _mm256_setzero_si256());
            let mut passed = !_mm256_movemask_epi8(none) as u32;
            let left = length - at;
            if left < 32 {
                passed &= (1 << left) - 1;
            }
            if passed != 0 {
                for eighth in 0..4 {
                    let base = at + 8 * eighth;
                    count += put(passed >> (8 * eighth), order, base, out.add(count));
                }
            }
        }
        at += 32;
    }
    // What halves let pass is looked at by whole bytes, which is cheaper than a probe of the table.
    let mut kept = 0;
    for i in 0..count {
        // SAFETY: `count` positions were written, all before `length`; as many or fewer are kept.
        unsafe {
            let position = *out.add(i);
            let at = usize::from(position);
            let marks = filter.buckets_of(load(folded.add(at)) as u32);
            out.add(kept).write(position);
            buckets.add(at).write(marks);
            kept += usize::from(marks != 0);
        }
    }
    kept
}

/// The buckets of all bytes at one place of a window, by three halves of them (`filter::halves_of`).
#[derive(Clone, Copy)]
struct Place([__m256i; HALVES]);

impl Place {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn load(halves: &[[u8; 16]; HALVES]) -> Place {
        // SAFETY: 16 bytes each.
        let table = |half: &[u8; 16]| unsafe { _mm_loadu_si128(half.as_ptr().cast()) };
        let [low, high, both] = halves;
        Place([
            _mm256_broadcastsi128_si256(table(low)),
            _mm256_broadcastsi128_si256(table(high)),
            _mm256_broadcastsi128_si256(table(both)),
        ])
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn buckets(self, text: __m256i) -> __m256i {
        let mask15 = _mm256_set1_epi8(15);
        let above = _mm256_and_si256(_mm256_srli_epi16::<4>(text), mask15);
        let below = _mm256_and_si256(text, mask15);
        let [low, high, both] = self.0;
        let by_one = _mm256_and_si256(
            _mm256_shuffle_epi8(low, below),
            _mm256_shuffle_epi8(high, above),
        );
        let mixed = _mm256_xor_si256(above, below);
        _mm256_and_si256(by_one, _mm256_shuffle_epi8(both, mixed))
    }
}
