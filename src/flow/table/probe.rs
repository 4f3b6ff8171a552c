//! Comparing the thirty tags of a group at once: AVX-512BW, AVX2, and the scalar twin they must
//! agree with. Chosen once, at start, by what the processor has. No table logic lives here.

use super::hash::key_words;
use super::line::{
    CLASS_ESTABLISHED, CLASS_HALF_OPEN, CLASS_MASK, FlowLine, GROUP_SLOTS, Group, TAG_MASK,
};
pub use crate::memory::prefetch::{prefetch_read, prefetch_second, prefetch_write};
use crate::packet::Tuple;
use std::sync::atomic::Ordering::Relaxed;

/// Bits of the mask that stand for slots; the last two words of a group are no tags.
const SLOT_MASK: u32 = (1 << GROUP_SLOTS) - 1;

/// The instruction sets there are, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instructions {
    /// One 64-byte compare.
    Avx512,
    /// Two 32-byte compares.
    Avx2,
    /// Thirty compares.
    Scalar,
}

impl Instructions {
    /// The best set of this processor. Under Miri, which knows no assembly, the scalar twin.
    pub fn detect() -> Instructions {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        {
            if has_avx512() {
                return Instructions::Avx512;
            }
            if has_avx2() {
                return Instructions::Avx2;
            }
        }
        Instructions::Scalar
    }

    /// This set if the processor has it, else the scalar twin, which every one has.
    pub fn or_scalar(self) -> Instructions {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        if self == Instructions::Avx2 && has_avx2() || self == Instructions::Avx512 && has_avx512()
        {
            return self;
        }
        Instructions::Scalar
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("popcnt")
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
fn has_avx512() -> bool {
    has_avx2() && is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512f")
}

/// A way of comparing tags. Masks have bit n set for slot n.
pub trait Probe {
    /// A group's line as loaded.
    type Line: Copy;

    /// Loads a line; each of its words is one that really stood there, not all at one moment.
    ///
    /// # Safety
    /// The processor has the instructions of this probe.
    unsafe fn load(group: &Group) -> Self::Line;

    /// Slots whose word is exactly `word`.
    ///
    /// # Safety
    /// The processor has the instructions of this probe.
    unsafe fn equal(line: Self::Line, word: u16) -> u32;

    /// Slots whose word has exactly `bits` under `mask`.
    ///
    /// # Safety
    /// The processor has the instructions of this probe.
    unsafe fn masked(line: Self::Line, mask: u16, bits: u16) -> u32;

    /// Slots of published flows (half-open or established) with this tag.
    ///
    /// # Safety
    /// The processor has the instructions of this probe.
    #[inline]
    unsafe fn published(line: Self::Line, tag: u16) -> u32 {
        // SAFETY: passed on to the caller.
        unsafe {
            Self::equal(line, CLASS_ESTABLISHED | tag) | Self::equal(line, CLASS_HALF_OPEN | tag)
        }
    }

    /// Whether the key in an entry's line 0 is another.
    ///
    /// # Safety
    /// The processor has the instructions of this probe.
    #[inline]
    unsafe fn key_differs(line: &FlowLine, tuple: &Tuple) -> bool {
        line.key_differs(&key_words(tuple))
    }
}

/// Slots of published flows with this tag.
///
/// # Safety
/// The processor has the instructions of `P`.
#[inline(always)]
pub unsafe fn hits<P: Probe>(line: P::Line, tag: u16) -> u32 {
    // SAFETY: passed on to the caller.
    unsafe { P::published(line, tag) }
}

/// Slots of any flow with this tag, published or being inserted.
///
/// # Safety
/// The processor has the instructions of `P`.
#[inline(always)]
pub unsafe fn same_tag<P: Probe>(line: P::Line, tag: u16) -> u32 {
    // SAFETY: passed on to the caller.
    unsafe { P::masked(line, TAG_MASK, tag) }
}

/// Free slots.
///
/// # Safety
/// The processor has the instructions of `P`.
#[inline(always)]
pub unsafe fn empty<P: Probe>(line: P::Line) -> u32 {
    // SAFETY: passed on to the caller.
    unsafe { P::equal(line, 0) }
}

/// Slots of one class.
///
/// # Safety
/// The processor has the instructions of `P`.
#[inline(always)]
pub unsafe fn class<P: Probe>(line: P::Line, class: u16) -> u32 {
    // SAFETY: passed on to the caller.
    unsafe { P::masked(line, CLASS_MASK, class) }
}

/// The twin that needs no special instructions.
pub struct Scalar;

impl Probe for Scalar {
    type Line = [u16; GROUP_SLOTS as usize];

    #[inline]
    unsafe fn load(group: &Group) -> Self::Line {
        std::array::from_fn(|slot| group.tags.get(slot).map_or(0, |word| word.load(Relaxed)))
    }

    #[inline]
    unsafe fn equal(line: Self::Line, word: u16) -> u32 {
        // SAFETY: the scalar probe needs no special instructions.
        unsafe { Self::masked(line, u16::MAX, word) }
    }

    #[inline]
    unsafe fn masked(line: Self::Line, mask: u16, bits: u16) -> u32 {
        line.iter()
            .rev()
            .fold(0, |found, word| found << 1 | u32::from(word & mask == bits))
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
pub use x86::{Avx2, Avx512};

#[cfg(all(target_arch = "x86_64", not(miri)))]
mod x86 {
    use super::{CLASS_HALF_OPEN, FlowLine, Group, Probe, SLOT_MASK, Tuple};
    use std::arch::asm;
    use std::arch::x86_64::{
        __m256i, __m512i, __mmask8, _mm256_and_si256, _mm256_cmpeq_epi16, _mm256_movemask_epi8,
        _mm256_packs_epi16, _mm256_permute4x64_epi64, _mm256_set1_epi16, _mm512_and_si512,
        _mm512_cmpeq_epi16_mask, _mm512_mask_cmpneq_epi64_mask, _mm512_maskz_loadu_epi64,
        _mm512_set1_epi16, _mm512_sub_epi16, _mm512_testn_epi16_mask,
    };

    /// One 64-byte compare. The load is inline assembly because a racing vector read through a
    /// pointer is undefined, while the assembly's is what the processor does: each aligned word
    /// is read whole.
    pub struct Avx512;

    impl Probe for Avx512 {
        type Line = __m512i;

        #[inline]
        #[target_feature(enable = "avx512bw,avx512f")]
        unsafe fn load(group: &Group) -> __m512i {
            let line: __m512i;
            // SAFETY: a Group is 64 readable bytes, aligned to 64.
            unsafe {
                asm!("vmovdqa64 {line}, [{address}]", line = out(zmm_reg) line,
                    address = in(reg) group, options(nostack, preserves_flags, readonly));
            }
            line
        }

        #[inline]
        #[target_feature(enable = "avx512bw,avx512f")]
        unsafe fn equal(line: __m512i, word: u16) -> u32 {
            _mm512_cmpeq_epi16_mask(line, _mm512_set1_epi16(word as i16)) & SLOT_MASK
        }

        /// Less the half-open word, a published one with this tag leaves 0 or the bit between the
        /// two classes.
        #[inline]
        #[target_feature(enable = "avx512bw,avx512f")]
        unsafe fn published(line: __m512i, tag: u16) -> u32 {
            let wanted = _mm512_set1_epi16((CLASS_HALF_OPEN | tag) as i16);
            let rest = _mm512_set1_epi16(!CLASS_HALF_OPEN as i16);
            _mm512_testn_epi16_mask(_mm512_sub_epi16(line, wanted), rest) & SLOT_MASK
        }

        #[inline]
        #[target_feature(enable = "avx512bw,avx512f")]
        unsafe fn key_differs(line: &FlowLine, tuple: &Tuple) -> bool {
            // Words 1 to 5 of the line are the key; the tuple is loaded to the same elements, the
            // three words around it are not touched.
            const KEY: __mmask8 = 0b0011_1110;
            let start = std::ptr::from_ref(tuple).cast::<i64>().wrapping_sub(1);
            // SAFETY: a masked load reads the elements of the mask only: the tuple's 40 bytes.
            let wanted = unsafe { _mm512_maskz_loadu_epi64(KEY, start) };
            let stored: __m512i;
            // SAFETY: a FlowLine is 64 readable bytes, aligned to 64; see `load` for why assembly.
            unsafe {
                asm!("vmovdqa64 {stored}, [{address}]", stored = out(zmm_reg) stored,
                    address = in(reg) line, options(nostack, preserves_flags, readonly));
            }
            _mm512_mask_cmpneq_epi64_mask(KEY, stored, wanted) != 0
        }

        #[inline]
        #[target_feature(enable = "avx512bw,avx512f")]
        unsafe fn masked(line: __m512i, mask: u16, bits: u16) -> u32 {
            let kept = _mm512_and_si512(line, _mm512_set1_epi16(mask as i16));
            _mm512_cmpeq_epi16_mask(kept, _mm512_set1_epi16(bits as i16)) & SLOT_MASK
        }
    }

    /// Two 32-byte compares, their results packed to one mask.
    pub struct Avx2;

    impl Probe for Avx2 {
        type Line = (__m256i, __m256i);

        #[inline]
        #[target_feature(enable = "avx2")]
        unsafe fn load(group: &Group) -> (__m256i, __m256i) {
            let (low, high): (__m256i, __m256i);
            // SAFETY: a Group is 64 readable bytes, aligned to 64.
            unsafe {
                asm!("vmovdqa {low}, [{address}]", "vmovdqa {high}, [{address} + 32]",
                    low = out(ymm_reg) low, high = lateout(ymm_reg) high,
                    address = in(reg) group, options(nostack, preserves_flags, readonly));
            }
            (low, high)
        }

        #[inline]
        #[target_feature(enable = "avx2")]
        unsafe fn equal((low, high): (__m256i, __m256i), word: u16) -> u32 {
            let wanted = _mm256_set1_epi16(word as i16);
            pack(
                _mm256_cmpeq_epi16(low, wanted),
                _mm256_cmpeq_epi16(high, wanted),
            )
        }

        #[inline]
        #[target_feature(enable = "avx2")]
        unsafe fn masked((low, high): (__m256i, __m256i), mask: u16, bits: u16) -> u32 {
            let (mask, bits) = (
                _mm256_set1_epi16(mask as i16),
                _mm256_set1_epi16(bits as i16),
            );
            pack(
                _mm256_cmpeq_epi16(_mm256_and_si256(low, mask), bits),
                _mm256_cmpeq_epi16(_mm256_and_si256(high, mask), bits),
            )
        }
    }

    /// Two vectors of sixteen yes/no words to one bit each; packing works per 128-bit half, hence
    /// the permutation that puts the quarters back in order.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn pack(low: __m256i, high: __m256i) -> u32 {
        let bytes = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi16(low, high));
        _mm256_movemask_epi8(bytes) as u32 & SLOT_MASK
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::{CLASS_HIDDEN, QUARANTINE};
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::AtomicU16;

    fn group_of(words: &[u16; 32]) -> Group {
        let [tags @ .., overflow, hand] = words;
        Group {
            tags: std::array::from_fn(|slot| AtomicU16::new(tags[slot])),
            overflow: AtomicU16::new(*overflow),
            hand: AtomicU16::new(*hand),
        }
    }

    /// All five masks of a group, by one probe.
    unsafe fn masks<P: Probe>(group: &Group, tag: u16) -> [u32; 5] {
        // SAFETY: the caller chose a probe of this processor.
        unsafe {
            let line = P::load(group);
            [
                hits::<P>(line, tag),
                same_tag::<P>(line, tag),
                empty::<P>(line),
                class::<P>(line, CLASS_HALF_OPEN),
                class::<P>(line, CLASS_HIDDEN),
            ]
        }
    }

    proptest! {
        #[test]
        fn simd_and_scalar_agree(
            words in prop::array::uniform32(prop_oneof![
                Just(0_u16), Just(QUARANTINE), any::<u16>(),
                (0_u16..4, 0_u16..3).prop_map(|(class, tag)| class << 14 | tag),
            ]),
            tag in prop_oneof![0_u16..3, 0..TAG_MASK],
        ) {
            let group = group_of(&words);
            // SAFETY: the scalar probe needs nothing; the others are asked for first.
            unsafe {
                let expected = masks::<Scalar>(&group, tag);
                #[cfg(all(target_arch = "x86_64", not(miri)))]
                {
                    if is_x86_feature_detected!("avx2") {
                        prop_assert_eq!(masks::<Avx2>(&group, tag), expected);
                    }
                    if is_x86_feature_detected!("avx512bw") {
                        prop_assert_eq!(masks::<Avx512>(&group, tag), expected);
                    }
                }
                let by_hand = words[..30].iter().enumerate().fold(0, |mask, (slot, word)| {
                    mask | u32::from(*word == (CLASS_ESTABLISHED | tag)
                        || *word == (CLASS_HALF_OPEN | tag)) << slot
                });
                prop_assert_eq!(expected[0], by_hand);
            }
        }
    }
}
