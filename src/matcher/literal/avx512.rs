//! The filters with AVX-512 (VBMI, VBMI2).
//!
//! Windows: sixteen or thirty-two positions at a time, one gather for all classes; the text stays in
//! registers, and positions that pass are compressed without a branch. Whether sixteen elements are gathered at once or eight and
//! eight is `WIDE`: processors differ (Zen 4 gathers sixteen at half the speed).

use std::arch::x86_64::*;

use super::filter::{Classes, HALVES, MULTIPLY_HIGH, MULTIPLY_LOW, PLACES, Windows};

/// Copies `from` in lower case.
///
/// # Safety
/// `to` has room for the bytes, rounded up to 64. The processor has these instructions.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn fold(from: &[u8], to: *mut u8) {
    let mut at = 0;
    while at < from.len() {
        // SAFETY: `at < from.len()`, and `to` has room.
        unsafe { _mm512_storeu_si512(to.add(at).cast(), folded(from, at)) };
        at += 64;
    }
}

/// Sixty-four bytes from `at` on in lower case, zeros behind the end.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn folded(from: &[u8], at: usize) -> __m512i {
    let left = from.len().saturating_sub(at);
    let mask = if left >= 64 { !0 } else { (1 << left) - 1 };
    // SAFETY: masked elements are not read.
    let text = unsafe { _mm512_maskz_loadu_epi8(mask, from.as_ptr().wrapping_add(at).cast()) };
    let from_a = _mm512_sub_epi8(text, _mm512_set1_epi8(b'A' as i8));
    let upper = _mm512_cmplt_epu8_mask(from_a, _mm512_set1_epi8(26));
    _mm512_mask_add_epi8(text, upper, text, _mm512_set1_epi8(0x20))
}

/// Folds `from` into `to`, and writes the positions before `length` that pass; gives how many.
///
/// # Safety
/// `to` has room for the bytes of `from` and 128 more; `out` for `length / 2 + 64`. The processor
/// has these instructions.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi2,popcnt")]
pub(super) unsafe fn windows<const WIDE: bool>(
    filter: &Windows,
    from: &[u8],
    length: usize,
    to: *mut u8,
    out: *mut u16,
) -> usize {
    // SAFETY: the caller's promises.
    unsafe {
        match (filter.stride, filter.has_four, filter.has_three) {
            (4, false, _) => pass::<WIDE, false, false, false>(filter, from, length, to, out),
            (4, true, _) => pass::<WIDE, false, true, false>(filter, from, length, to, out),
            (_, false, false) => pass::<WIDE, true, false, false>(filter, from, length, to, out),
            (_, true, false) => pass::<WIDE, true, true, false>(filter, from, length, to, out),
            (_, _, true) => pass::<WIDE, true, true, true>(filter, from, length, to, out),
        }
    }
}

/// # Safety
/// As `windows`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi2,popcnt")]
unsafe fn pass<const WIDE: bool, const TWO: bool, const FOUR: bool, const THREE: bool>(
    filter: &Windows,
    from: &[u8],
    length: usize,
    to: *mut u8,
    out: *mut u16,
) -> usize {
    let bits = filter.words_bits as i32;
    let to_index = _mm_cvtsi32_si128(32 - bits);
    let to_next = _mm_cvtsi32_si128(27 - bits);
    let words = filter.words.as_ptr().cast::<i32>();
    let low_by = _mm512_set1_epi32(MULTIPLY_LOW as i32);
    let high_by = _mm512_set1_epi32(MULTIPLY_HIGH as i32);
    let one = _mm512_set1_epi32(1);
    let test = |low: __m512i, high: __m512i| -> __mmask16 {
        let low = _mm512_mullo_epi32(low, low_by);
        let high = _mm512_mullo_epi32(high, high_by);
        let base = if THREE {
            _mm512_slli_epi32::<8>(low)
        } else {
            low
        };
        let index = _mm512_srl_epi32(base, to_index);
        // SAFETY: an index has `words_bits` bits, and there are as many words.
        let word = unsafe { gather::<WIDE>(index, words) };
        let eight = _mm512_srli_epi32::<27>(_mm512_add_epi32(low, high));
        let mut wanted = _mm512_sllv_epi32(one, eight);
        let next = || {
            let next = _mm512_srl_epi32(base, to_next);
            _mm512_sllv_epi32(one, _mm512_and_si512(next, _mm512_set1_epi32(31)))
        };
        if THREE {
            let four = _mm512_sllv_epi32(one, _mm512_srli_epi32::<27>(low));
            wanted = _mm512_or_si512(wanted, _mm512_or_si512(four, next()));
        } else if FOUR {
            wanted = _mm512_or_si512(wanted, next());
        }
        _mm512_test_epi32_mask(word, wanted)
    };
    let order = order();
    let (mut at, mut count) = (0, 0);
    let mut text = folded(from, 0);
    while at < length {
        let after = folded(from, at + 64);
        let second = _mm512_alignr_epi32::<1>(after, text);
        let even = test(text, second);
        // SAFETY: `at < length`, and `to` has room for the vector of `at` and the one behind; what
        // passes are at most as many as there are positions, and each store writes 32 elements.
        unsafe {
            _mm512_storeu_si512(to.add(at).cast(), text);
            let mut passed = u32::from(even);
            if TWO {
                let third = _mm512_alignr_epi32::<2>(after, text);
                let low = _mm512_shrdi_epi32::<16>(text, second);
                let high = _mm512_shrdi_epi32::<16>(second, third);
                passed |= u32::from(test(low, high)) << 16;
            }
            if length - at < 64 {
                passed &= within(length - at);
            }
            put::<TWO>(passed, order, at, out.add(count));
            count += passed.count_ones() as usize;
        }
        text = after;
        at += 64;
    }
    // SAFETY: as above; the vector behind is read by whoever looks at the last positions.
    unsafe { _mm512_storeu_si512(to.add(at).cast(), text) };
    count
}

/// Mask bits of the windows that begin before `left`, which is less than 64.
fn within(left: usize) -> u32 {
    ((1 << left.div_ceil(4)) - 1) | ((1 << ((left + 1) / 4)) - 1) << 16
}

/// Writes the positions `at + order[i]` of the set bits, of the lower sixteen unless `TWO`.
///
/// # Safety
/// `out` has room for 32.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi2")]
unsafe fn put<const TWO: bool>(passed: u32, order: __m512i, at: usize, out: *mut u16) {
    let positions = _mm512_add_epi16(order, _mm512_set1_epi16(at as i16));
    // SAFETY: 32 elements, or 16.
    unsafe {
        if TWO {
            let positions = _mm512_maskz_compress_epi16(passed, positions);
            _mm512_storeu_si512(out.cast(), positions);
        } else {
            let positions = _mm512_castsi512_si256(positions);
            let positions = _mm256_maskz_compress_epi16(passed as u16, positions);
            _mm256_storeu_si256(out.cast(), positions);
        }
    }
}

/// Offsets of the windows of a vector, in the order of their mask bits: the multiples of four, then
/// the even positions between.
#[inline]
#[target_feature(enable = "avx512f")]
fn order() -> __m512i {
    const ORDER: [u16; 32] = {
        let mut order = [0; 32];
        let mut i = 0;
        while i < 16 {
            order[i] = 4 * i as u16;
            order[i + 16] = 4 * i as u16 + 2;
            i += 1;
        }
        order
    };
    // SAFETY: 64 bytes are there.
    unsafe { _mm512_loadu_si512(ORDER.as_ptr().cast()) }
}

/// Sixteen words.
///
/// # Safety
/// All indexes lie inside what `words` points to.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn gather<const WIDE: bool>(index: __m512i, words: *const i32) -> __m512i {
    // SAFETY: the caller's promise.
    unsafe {
        if WIDE {
            return _mm512_i32gather_epi32::<4>(index, words);
        }
        let low = _mm256_i32gather_epi32::<4>(words, _mm512_castsi512_si256(index));
        let high = _mm256_i32gather_epi32::<4>(words, _mm512_extracti64x4_epi64::<1>(index));
        _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
    }
}

/// Writes the positions that pass, and the buckets of each; gives how many.
///
/// # Safety
/// `length + 72` bytes can be read from `folded`; `out` and `buckets` have room for `length + 64`.
/// The processor has these instructions.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,popcnt")]
pub(super) unsafe fn classes(
    filter: &Classes,
    folded: *const u8,
    length: usize,
    out: *mut u16,
    buckets: *mut u8,
) -> usize {
    let halves = |place: usize| Halves::load(&filter.halves[place]);
    let whole = |place: usize| Whole::load(&filter.buckets[place]);
    // SAFETY: the caller's promises.
    unsafe {
        if filter.is_fine {
            let places = [whole(0), whole(1), whole(2), whole(3)];
            all_places(&places, folded, length, out, buckets)
        } else {
            // Two lines of memory for all places, where whole bytes take sixteen.
            let places = [halves(0), halves(1), halves(2), halves(3)];
            all_places(&places, folded, length, out, buckets)
        }
    }
}

/// # Safety
/// As `classes`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,popcnt")]
unsafe fn all_places(
    places: &[impl Place; PLACES],
    folded: *const u8,
    length: usize,
    out: *mut u16,
    buckets: *mut u8,
) -> usize {
    let order = ascending();
    let [first, second, third, fourth] = places;
    let (mut at, mut count) = (0, 0);
    while at < length {
        // SAFETY: `at < length`, and 72 bytes more can be read; each store writes 32 elements, or
        // 64 buckets.
        unsafe {
            let first = first.buckets(_mm512_loadu_si512(folded.add(at).cast()));
            let second = second.buckets(_mm512_loadu_si512(folded.add(at + 1).cast()));
            let third = third.buckets(_mm512_loadu_si512(folded.add(at + 2).cast()));
            let fourth = fourth.buckets(_mm512_loadu_si512(folded.add(at + 3).cast()));
            let (front, back) = (
                _mm512_and_si512(first, second),
                _mm512_and_si512(third, fourth),
            );
            let all = _mm512_and_si512(front, back);
            let mut passed = _mm512_test_epi8_mask(all, all);
            let left = length - at;
            if left < 64 {
                passed &= (1 << left) - 1;
            }
            if passed != 0 {
                _mm512_storeu_si512(buckets.add(at).cast(), all);
                for half in [0, 32] {
                    let passed = (passed >> half) as u32;
                    let base = _mm512_set1_epi16((at + half) as i16);
                    let positions = _mm512_add_epi16(order, base);
                    let positions = _mm512_maskz_compress_epi16(passed, positions);
                    _mm512_storeu_si512(out.add(count).cast(), positions);
                    count += passed.count_ones() as usize;
                }
            }
        }
        at += 64;
    }
    count
}

/// The buckets of all bytes at one place of a window.
trait Place: Copy {
    /// Buckets of each of these bytes.
    ///
    /// # Safety
    /// The processor has the instructions of `classes`.
    unsafe fn buckets(self, text: __m512i) -> __m512i;
}

/// By the low and high halves of a byte, which lets a little more pass.
#[derive(Clone, Copy)]
struct Halves(__m512i, __m512i);

impl Halves {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load([low, high, _]: &[[u8; 16]; HALVES]) -> Halves {
        // SAFETY: twice 16 bytes.
        let [low, high] = unsafe {
            [
                _mm_loadu_si128(low.as_ptr().cast()),
                _mm_loadu_si128(high.as_ptr().cast()),
            ]
        };
        Halves(_mm512_broadcast_i32x4(low), _mm512_broadcast_i32x4(high))
    }
}

impl Place for Halves {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn buckets(self, text: __m512i) -> __m512i {
        let mask15 = _mm512_set1_epi8(15);
        let above = _mm512_and_si512(_mm512_srli_epi16::<4>(text), mask15);
        let below = _mm512_and_si512(text, mask15);
        _mm512_and_si512(
            _mm512_shuffle_epi8(self.0, below),
            _mm512_shuffle_epi8(self.1, above),
        )
    }
}

/// By whole bytes: four times 64 of them.
#[derive(Clone, Copy)]
struct Whole([__m512i; 4]);

impl Whole {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load(buckets: &[u8; 256]) -> Whole {
        // SAFETY: four times 64 bytes.
        let quarter = |i: usize| unsafe { _mm512_loadu_si512(buckets.as_ptr().add(64 * i).cast()) };
        Whole([quarter(0), quarter(1), quarter(2), quarter(3)])
    }
}

impl Place for Whole {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    unsafe fn buckets(self, text: __m512i) -> __m512i {
        let [first, second, third, fourth] = self.0;
        let below = _mm512_permutex2var_epi8(first, text, second);
        let above = _mm512_permutex2var_epi8(third, text, fourth);
        _mm512_mask_blend_epi8(_mm512_movepi8_mask(text), below, above)
    }
}

/// 0 to 31.
#[inline]
#[target_feature(enable = "avx512f")]
fn ascending() -> __m512i {
    const ORDER: [u16; 32] = {
        let mut order = [0; 32];
        let mut i = 0;
        while i < 32 {
            order[i] = i as u16;
            i += 1;
        }
        order
    };
    // SAFETY: 64 bytes are there.
    unsafe { _mm512_loadu_si512(ORDER.as_ptr().cast()) }
}
