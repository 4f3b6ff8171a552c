//! Checksums: the Internet's ones' complement sum (RFC 1071) and SCTP's CRC-32C (RFC 9260
//! appendix A), each with a vector path chosen at run time and a scalar twin that a test holds
//! it to. Also the one-line prefetch of decode's loop.
//!
//! The sum is taken over little-endian words, as the machine has them, and swapped once at the end
//! (RFC 1071 section 2B); to verify, no swap is needed. Vector path: each 32-bit element of an accumulator takes the low and the high
//! half of the input's element, so a carry is never lost before 2^15 steps; pieces of
//! `PIECE_BYTES` stay far below. What is still bad: the sum is a second pass over bytes that the
//! prefilter reads again; they are in L1 or L2 by then.

/// Bytes summed before the vector accumulators are folded; 2^14 steps of 32 bytes.
const PIECE_BYTES: usize = 1 << 19;

/// From this length on a vector path pays for its fold.
const VECTOR_BYTES: usize = 48;

/// Adds `bytes`, as big-endian 16-bit words with an odd last byte padded by zero, to `sum`.
///
/// `sum` is another result of this function, or any sum of such words. Pieces before the last
/// must have an even length.
pub fn ones_complement(sum: u32, bytes: &[u8]) -> u32 {
    let (total, carry) = sum.overflowing_add(u32::from(fold(partial(bytes)).swap_bytes()));
    total + u32::from(carry)
}

/// Folds a sum and takes its complement: the value for a checksum field, or 0 for bytes whose
/// checksum field is right.
pub fn finish(sum: u32) -> u16 {
    !fold(u64::from(sum))
}

/// The pseudo-header's part of a transport checksum (RFC 9293 3.1, RFC 8200 8.1): `addresses`
/// are source and destination as they stand in the IP header (8 or 32 bytes).
pub fn pseudo_header(addresses: &[u8], protocol: u8, length: u32) -> u32 {
    let sum = u32::from(protocol) + (length >> 16) + (length & 0xffff);
    ones_complement(sum, addresses)
}

/// Whether bytes whose checksum covers them alone (IPv4 header, ICMPv4, IGMP) are right.
#[inline]
pub(super) fn is_right(bytes: &[u8]) -> bool {
    is_ones(partial(bytes))
}

/// As [`is_right`], for an IPv4 header without options.
#[inline(always)]
pub(super) fn header_is_right(header: &[u8; 20]) -> bool {
    let words = header.as_chunks::<4>().0.iter();
    is_ones(words.map(|word| u64::from(u32::from_le_bytes(*word))).sum())
}

/// Whether a segment with a pseudo-header is right. `addresses` is [`partial`] of the addresses.
#[inline]
pub(super) fn segment_is_right(addresses: u64, protocol: u8, segment: &[u8]) -> bool {
    let [high, low] = (segment.len() as u16).to_be_bytes();
    let rest = u64::from(u32::from_le_bytes([0, protocol, high, low]));
    let sum = partial(segment);
    is_ones(
        (sum >> 32) + (sum & 0xffff_ffff) + (addresses >> 32) + (addresses & 0xffff_ffff) + rest,
    )
}

/// Whether a sum folds to 0xffff: a sum that is not nought folds to its rest by 0xffff, or to that
/// where there is none.
#[inline(always)]
fn is_ones(sum: u64) -> bool {
    sum != 0 && sum.is_multiple_of(0xffff)
}

/// Sum of little-endian words, for [`segment_is_right`]; folds to 16 bits with end-around carry.
#[inline]
pub(super) fn partial(bytes: &[u8]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if bytes.len() <= PIECE_BYTES && has_vnni() {
        // SAFETY: the processor has the instructions.
        return unsafe { sum_vnni(bytes) };
    }
    if bytes.len() < VECTOR_BYTES {
        sum_scalar(bytes)
    } else {
        sum_vector(bytes)
    }
}

/// Whether the processor has what [`sum_vnni`] needs: a load and a test after the first time.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn has_vnni() -> bool {
    is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512bw")
}

/// The CRC-32C of `parts` in their order, as it stands in an SCTP header (little endian).
pub fn crc32c(parts: &[&[u8]]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("sse4.2") {
        // SAFETY: the feature was just detected.
        return !parts
            .iter()
            .fold(!0, |crc, part| unsafe { crc_sse42(crc, part) });
    }
    !parts.iter().fold(!0, |crc, part| crc_scalar(crc, part))
}

/// Asks for the cache line that `place` starts in.
#[inline(always)]
pub(super) fn prefetch<T: ?Sized>(place: &T) {
    crate::memory::prefetch::prefetch_read(std::ptr::from_ref(place).cast::<u8>());
}

/// Folds a sum of words to 16 bits with end-around carry.
#[inline]
fn fold(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    ((sum >> 16) + (sum & 0xffff)) as u16
}

/// Sum of little-endian words; the scalar twin.
#[inline]
fn sum_scalar(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut sum = 0u64;
    for word in words {
        sum = add(sum, u64::from_le_bytes(*word));
    }
    // The last bytes: 4, 2 and 1, each behind the one before.
    let (fours, rest) = rest.as_chunks::<4>();
    let (twos, rest) = rest.as_chunks::<2>();
    let four = fours.first().map_or(0, |four| u32::from_le_bytes(*four));
    let two = twos.first().map_or(0, |two| u16::from_le_bytes(*two));
    let one = rest.first().map_or(0, |one| u64::from(*one));
    add(sum, u64::from(four) + u64::from(two) + one)
}

/// Sum with end-around carry.
#[inline]
fn add(a: u64, b: u64) -> u64 {
    let (sum, carry) = a.overflowing_add(b);
    sum + u64::from(carry)
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn sum_vector(bytes: &[u8]) -> u64 {
    if bytes.len() <= PIECE_BYTES {
        return sum_piece(bytes);
    }
    bytes.chunks(PIECE_BYTES).map(sum_piece).sum()
}

/// Sum of a piece, in three tiers: first AVX-512 with VNNI, 64 bytes a step and no scalar rest, then
/// AVX2, 32 bytes a step, then SSE2, which every x86-64 has. Chosen once per process: the detection
/// is a load and a test after the first time.
#[cfg(target_arch = "x86_64")]
#[inline]
fn sum_piece(piece: &[u8]) -> u64 {
    if has_vnni() {
        // SAFETY: the features were just detected (AVX-512F is a part of both).
        unsafe { sum_vnni(piece) }
    } else if is_x86_feature_detected!("avx2") {
        // SAFETY: the feature was just detected.
        unsafe { sum_avx2(piece) }
    } else {
        sum_sse2(piece)
    }
}

/// Sum of a piece, at most [`PIECE_BYTES`]. One instruction adds four products of bytes to a 32-bit
/// element: with weights of 1 and 0 the low bytes of both words to one sum, the high bytes to the
/// other. An element takes 2^9 a step and stays far below 2^31.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn sum_vnni(piece: &[u8]) -> u64 {
    use std::arch::x86_64::*;
    let low = _mm512_set1_epi32(0x0001_0001);
    let high = _mm512_set1_epi32(0x0100_0100);
    let (blocks, rest) = piece.as_chunks::<64>();
    let (pairs, last) = blocks.as_chunks::<2>();
    let mut lows = [_mm512_setzero_si512(); 2];
    let mut highs = lows;
    for [first, second] in pairs {
        // SAFETY: a block has 64 readable bytes; the loads need no alignment.
        let (first, second) = unsafe {
            (
                _mm512_loadu_si512(first.as_ptr().cast()),
                _mm512_loadu_si512(second.as_ptr().cast()),
            )
        };
        lows[0] = _mm512_dpbusd_epi32(lows[0], first, low);
        highs[0] = _mm512_dpbusd_epi32(highs[0], first, high);
        lows[1] = _mm512_dpbusd_epi32(lows[1], second, low);
        highs[1] = _mm512_dpbusd_epi32(highs[1], second, high);
    }
    if let Some(block) = last.first() {
        // SAFETY: as above.
        let block = unsafe { _mm512_loadu_si512(block.as_ptr().cast()) };
        lows[0] = _mm512_dpbusd_epi32(lows[0], block, low);
        highs[0] = _mm512_dpbusd_epi32(highs[0], block, high);
    }
    // SAFETY: a masked load reads the elements of its mask only: the bytes of `rest`.
    let rest = unsafe {
        let mask = (1u64 << rest.len()) - 1;
        _mm512_maskz_loadu_epi8(mask, rest.as_ptr().cast())
    };
    lows[1] = _mm512_dpbusd_epi32(lows[1], rest, low);
    highs[1] = _mm512_dpbusd_epi32(highs[1], rest, high);
    let lows = _mm512_add_epi32(lows[0], lows[1]);
    let highs = _mm512_add_epi32(highs[0], highs[1]);
    // Both are below 2^23, so that a word's two bytes fit an element; elements add up in 64 bits.
    let words = _mm512_add_epi32(lows, _mm512_slli_epi32::<8>(highs));
    let even = _mm512_and_si512(words, _mm512_set1_epi64(0xffff_ffff));
    let odd = _mm512_srli_epi64::<32>(words);
    _mm512_reduce_add_epi64(_mm512_add_epi64(even, odd)) as u64
}

#[cfg(not(target_arch = "x86_64"))]
fn sum_vector(bytes: &[u8]) -> u64 {
    sum_scalar(bytes)
}

/// Sum of a piece, at most [`PIECE_BYTES`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn sum_avx2(piece: &[u8]) -> u64 {
    use std::arch::x86_64::*;
    let (blocks, rest) = piece.as_chunks::<64>();
    let low = _mm256_set1_epi32(0xffff);
    let mut sums = [_mm256_setzero_si256(); 4];
    for block in blocks {
        // SAFETY: a block has 64 readable bytes; the loads need no alignment.
        let (first, second) = unsafe {
            (
                _mm256_loadu_si256(block.as_ptr().cast()),
                _mm256_loadu_si256(block.as_ptr().add(32).cast()),
            )
        };
        sums[0] = _mm256_add_epi32(sums[0], _mm256_and_si256(first, low));
        sums[1] = _mm256_add_epi32(sums[1], _mm256_srli_epi32::<16>(first));
        sums[2] = _mm256_add_epi32(sums[2], _mm256_and_si256(second, low));
        sums[3] = _mm256_add_epi32(sums[3], _mm256_srli_epi32::<16>(second));
    }
    // Each of the four sums has at most 2^13 steps of 2^16: two of them fit an element.
    let pairs = [
        _mm256_add_epi32(sums[0], sums[1]),
        _mm256_add_epi32(sums[2], sums[3]),
    ];
    let mut total = 0u64;
    for pair in pairs {
        let mut elements = [0u32; 8];
        // SAFETY: the array has the 32 bytes that the store writes; no alignment is needed.
        unsafe { _mm256_storeu_si256(elements.as_mut_ptr().cast(), pair) };
        total += elements.iter().map(|&e| u64::from(e)).sum::<u64>();
    }
    total + u64::from(fold(sum_scalar(rest)))
}

/// Sum of a piece, at most [`PIECE_BYTES`], folded to 32 bits.
#[cfg(target_arch = "x86_64")]
fn sum_sse2(piece: &[u8]) -> u64 {
    use std::arch::x86_64::*;
    let (blocks, rest) = piece.as_chunks::<16>();
    let mut elements = [0u32; 4];
    // SAFETY: SSE2 is part of x86-64; a block has 16 readable bytes and the array 16 writable
    // ones, and neither needs alignment.
    unsafe {
        let low = _mm_set1_epi32(0xffff);
        let mut sum = _mm_setzero_si128();
        for block in blocks {
            let words = _mm_loadu_si128(block.as_ptr().cast());
            let halves = _mm_add_epi32(_mm_and_si128(words, low), _mm_srli_epi32::<16>(words));
            sum = _mm_add_epi32(sum, halves);
        }
        _mm_storeu_si128(elements.as_mut_ptr().cast(), sum);
    }
    let total: u64 = elements.iter().map(|&e| u64::from(e)).sum();
    total + u64::from(fold(sum_scalar(rest)))
}

/// CRC-32C of each byte value (Castagnoli polynomial, reflected).
const CRC_TABLE: [u32; 256] = {
    let mut table = [0u32; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

fn crc_scalar(crc: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(crc, |crc, &byte| {
        CRC_TABLE[usize::from((crc as u8) ^ byte)] ^ (crc >> 8)
    })
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse4.2")]
fn crc_sse42(crc: u32, bytes: &[u8]) -> u32 {
    use std::arch::x86_64::{_mm_crc32_u8, _mm_crc32_u64};
    let (words, rest) = bytes.as_chunks::<8>();
    let wide = words.iter().fold(u64::from(crc), |crc, word| {
        _mm_crc32_u64(crc, u64::from_le_bytes(*word))
    });
    rest.iter()
        .fold(wide as u32, |crc, &byte| _mm_crc32_u8(crc, byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 1071 as it is written: one word at a time.
    fn naive(bytes: &[u8]) -> u16 {
        let mut sum = 0u64;
        for pair in bytes.chunks(2) {
            sum += u64::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        }
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        sum as u16
    }

    /// Ones' complement has two zeros; both say the same.
    fn same(a: u16, b: u16) -> bool {
        a == b || (a == 0xffff && b == 0) || (a == 0 && b == 0xffff)
    }

    /// The sums of a piece by all paths that this processor has.
    fn paths(piece: &[u8]) -> Vec<u64> {
        let mut sums = vec![sum_scalar(piece)];
        #[cfg(target_arch = "x86_64")]
        {
            sums.push(sum_sse2(piece));
            if is_x86_feature_detected!("avx2") {
                // SAFETY: the feature was just detected.
                sums.push(unsafe { sum_avx2(piece) });
            }
            if is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512bw") {
                // SAFETY: the features were just detected.
                sums.push(unsafe { sum_vnni(piece) });
            }
        }
        sums
    }

    #[test]
    fn an_ipv4_header_sums_to_zero() {
        // The header of RFC 1071's commentators: 45 00 00 73 ..., checksum b8 61.
        let header = [
            0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8,
            0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7,
        ];
        assert_eq!(finish(ones_complement(0, &header)), 0);
        let mut empty = header;
        empty[10] = 0;
        empty[11] = 0;
        assert_eq!(finish(ones_complement(0, &empty)), 0xb861);
    }

    #[test]
    fn crc32c_of_the_check_string() {
        assert_eq!(crc32c(&[b"123456789"]), 0xe306_9283);
        assert_eq!(crc32c(&[b"1234", b"56789"]), 0xe306_9283);
        assert_eq!(!crc_scalar(!0, b"123456789"), 0xe306_9283);
    }

    #[test]
    fn all_ones_at_the_largest_piece_lose_no_carry() {
        for length in [PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 65] {
            let bytes = vec![0xff; length];
            assert!(same(fold(sum_vector(&bytes)).swap_bytes(), naive(&bytes)));
            for sum in paths(&bytes[..length.min(PIECE_BYTES)]) {
                let expected = naive(&bytes[..length.min(PIECE_BYTES)]);
                assert!(same(fold(sum).swap_bytes(), expected));
            }
        }
    }

    proptest! {
        #[test]
        fn every_path_agrees_with_the_naive_sum(
            bytes in proptest::collection::vec(any::<u8>(), 0..3000),
            skip in 0usize..64,
        ) {
            let bytes = bytes.get(skip..).unwrap_or(&[]);
            let expected = naive(bytes);
            prop_assert!(same(fold(sum_scalar(bytes)).swap_bytes(), expected));
            prop_assert!(same(fold(sum_vector(bytes)).swap_bytes(), expected));
            for sum in paths(bytes) {
                prop_assert!(same(fold(sum).swap_bytes(), expected));
            }
            prop_assert!(same(!finish(ones_complement(0, bytes)), expected));
        }

        #[test]
        fn sums_of_pieces_add_up(
            bytes in proptest::collection::vec(any::<u8>(), 0..600),
            cut in 0usize..300,
        ) {
            let cut = (cut * 2).min(bytes.len() & !1);
            let pieces = ones_complement(ones_complement(0, &bytes[..cut]), &bytes[cut..]);
            prop_assert!(same(finish(pieces), finish(ones_complement(0, &bytes))));
        }

        #[test]
        fn both_crc_paths_agree(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            prop_assert_eq!(crc32c(&[&bytes]), !crc_scalar(!0, &bytes));
        }
    }
}
