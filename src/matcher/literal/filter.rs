//! The two filters: what the vector code reads, and how one window passes. The vector code itself
//! is in avx512.rs, avx2.rs and portable.rs.

use super::Literal;
use super::table::{CLASS_LENGTHS, Table, Window};

/// Multipliers of the bit table's hashes.
pub(super) const MULTIPLY_LOW: u32 = 0x9E37_79B1;
pub(super) const MULTIPLY_HIGH: u32 = 0x85EB_CA77;
/// Bits of the table for each window.
const BITS_PER_WINDOW: usize = 128;
/// Words of the table, as powers of two: 16 KB, half of a first level of cache, to 256 KB.
const WORDS_BITS: std::ops::RangeInclusive<u32> = 12..=16;
/// Buckets of the byte classes.
const BUCKETS: usize = 8;

/// Windows at every second or fourth position, by a blocked bit table: the first bytes choose a word, all bytes of
/// the window a bit of it, so that one load asks for windows of eight, four and three bytes.
#[derive(Clone, Debug)]
pub(super) struct Windows {
    pub words: Vec<u32>,
    pub words_bits: u32,
    /// Positions looked at: every second or every fourth.
    pub stride: usize,
    /// Windows of four bytes occur; of three.
    pub has_four: bool,
    pub has_three: bool,
    /// Bytes of which some literal has a run around its window: the others' runs are skipped.
    hard: [u64; 4],
    pub table: Table,
}

impl Windows {
    pub fn build(windows: &[Window], stride: usize, literals: &[Literal]) -> Windows {
        let mut words_bits = *WORDS_BITS.start();
        while (32usize << words_bits) < windows.len() * BITS_PER_WINDOW
            && words_bits < *WORDS_BITS.end()
        {
            words_bits += 1;
        }
        let of_class = |class| windows.iter().any(|window| window.class == class);
        let mut filter = Windows {
            words: vec![0; 1 << words_bits],
            words_bits,
            stride,
            has_four: of_class(3),
            has_three: of_class(2),
            hard: [0; 4],
            table: Table::build(windows, literals),
        };
        for window in windows {
            let (word, bit) = filter.place(window.key[0], window.class);
            filter.words[word] |= bit;
            let bytes = literals[window.literal as usize].bytes.to_ascii_lowercase();
            let (from, to) = (
                window.offset.saturating_sub(4),
                (window.offset + 12).min(bytes.len()),
            );
            let first = bytes[window.offset];
            if bytes[from..to].iter().all(|byte| *byte == first) {
                filter.hard[usize::from(first >> 6)] |= 1 << (first & 63);
            }
        }
        filter
    }

    /// Word and bit of a window.
    fn place(&self, key: u64, class: usize) -> (usize, u32) {
        let [index, eight, four, three] = self.hashes(key);
        let bit = match class {
            5 => eight,
            3 => four,
            _ => three,
        };
        (index as usize, 1 << bit)
    }

    /// Number of the word, and of the bits for windows of eight, four and three bytes.
    #[inline(always)]
    fn hashes(&self, key: u64) -> [u32; 4] {
        let low = (key as u32).wrapping_mul(MULTIPLY_LOW);
        let high = ((key >> 32) as u32).wrapping_mul(MULTIPLY_HIGH);
        let index = if self.has_three { low << 8 } else { low };
        let next = (index >> (27 - self.words_bits)) & 31;
        let four = if self.has_three { low >> 27 } else { next };
        [
            index >> (32 - self.words_bits),
            low.wrapping_add(high) >> 27,
            four,
            next,
        ]
    }

    /// Whether a position passes; the definition of what the vector code does.
    #[inline(always)]
    pub fn passes(&self, text: u64) -> bool {
        let [index, eight, four, three] = self.hashes(text);
        // SAFETY: the index has `words_bits` bits.
        let word = unsafe { *self.words.get_unchecked(index as usize) };
        let mut bits = word >> eight;
        if self.has_four {
            bits |= word >> four;
        }
        if self.has_three {
            bits |= word >> three;
        }
        bits & 1 != 0
    }

    /// Whether a run of this byte must be looked at.
    #[inline(always)]
    pub fn is_hard(&self, byte: u8) -> bool {
        self.hard[usize::from(byte >> 6)] >> (byte & 63) & 1 != 0
    }

    pub fn memory(&self) -> usize {
        self.words.len() * 4 + self.table.memory()
    }
}

/// Up to three bytes at every position, by classes of bytes in eight buckets: a position passes
/// where some bucket has each of its bytes (the idea of Teddy).
#[derive(Clone, Debug)]
pub(super) struct Classes {
    /// Buckets of each byte, at the first, second and third place.
    pub buckets: Box<[[u8; 256]; 3]>,
    /// The same by low and high half of a byte, which lets a little more pass.
    pub halves: Box<[[[u8; 16]; 2]; 3]>,
    /// Windows of one, two and three bytes occur.
    pub has: [bool; 3],
    pub table: Table,
}

impl Classes {
    pub fn build(windows: &[Window], literals: &[Literal]) -> Classes {
        // Neighbours in this order share their bytes, so that a bucket has few of them.
        let mut order: Vec<&Window> = windows.iter().collect();
        order.sort_by_key(|window| (window.class, window.key[0].swap_bytes()));
        let mut classes = Classes {
            buckets: Box::new([[0; 256]; 3]),
            halves: Box::new([[[0; 16]; 2]; 3]),
            has: [0, 1, 2].map(|class| windows.iter().any(|window| window.class == class)),
            table: Table::build(windows, literals),
        };
        for (place, window) in order.iter().enumerate() {
            let bucket = 1u8 << (place * BUCKETS / order.len());
            let bytes = window.key[0].to_le_bytes();
            for at in 0..3 {
                let (from, to) = if at < CLASS_LENGTHS[window.class] {
                    (bytes[at], bytes[at])
                } else {
                    (0, 255)
                };
                for byte in from..=to {
                    classes.buckets[at][usize::from(byte)] |= bucket;
                    classes.halves[at][0][usize::from(byte & 15)] |= bucket;
                    classes.halves[at][1][usize::from(byte >> 4)] |= bucket;
                }
            }
        }
        classes
    }

    pub fn memory(&self) -> usize {
        size_of::<[[u8; 256]; 3]>() + size_of::<[[[u8; 16]; 2]; 3]>() + self.table.memory()
    }
}
