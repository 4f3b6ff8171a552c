//! The two filters: what the vector code reads, and how one window passes. The vector code itself
//! is in avx512.rs, avx2.rs and portable.rs.

use super::table::{CLASS_LENGTHS, Table, Window};
use super::{Background, Literal};
use crate::memory::prefetch::prefetch_read;

/// Multipliers of the bit table's hashes.
pub(super) const MULTIPLY_LOW: u32 = 0x9E37_79B1;
pub(super) const MULTIPLY_HIGH: u32 = 0x85EB_CA77;
/// Bits of the table for each window.
const BITS_PER_WINDOW: usize = 128;
/// Words of the table, as powers of two: 16 KB, half of a first level of cache, to 256 KB.
const WORDS_BITS: std::ops::RangeInclusive<u32> = 12..=16;
/// Bytes of a window of the byte classes at most.
pub(super) const PLACES: usize = 4;
/// Positions looked at are no further apart.
pub(super) const STRIDE_MAX: usize = 4;
/// Buckets of the byte classes.
pub(super) const BUCKETS: usize = 8;
/// Halves of a byte that are looked up.
pub(super) const HALVES: usize = 3;
/// Sets of more windows than this are looked for by whole bytes: by their halves one position in
/// ten of ordinary traffic passed.
const COARSE_MAX: usize = 16;

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
    /// Positions so deep in a run are skipped; `usize::MAX`: none.
    pub deep: usize,
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
            deep: usize::MAX,
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

/// How a path looks up the classes of bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ClassesBy {
    /// By whole bytes, many at once.
    WholeBytes,
    /// By halves of bytes, many at once, which lets a little more pass.
    Halves,
    /// By whole bytes, one after another.
    OneByOne,
}

/// Up to four bytes at every position, by classes of bytes in eight buckets: a position passes
/// where some bucket has each of its bytes (the idea of Teddy).
#[derive(Clone, Debug)]
pub(super) struct Classes {
    /// Buckets of each byte, by place.
    pub buckets: Box<[[u8; 256]; PLACES]>,
    /// The same by three halves of a byte (`halves_of`), which let a little more pass.
    pub halves: Box<[[[u8; 16]; HALVES]; PLACES]>,
    /// Class of the windows in each bucket.
    pub class_of: [u8; BUCKETS],
    /// The buckets of the same class, of each.
    pub alike: [u8; BUCKETS],
    /// Whether whole bytes are looked at, where the path can.
    pub is_fine: bool,
    /// As in `Windows`.
    pub deep: usize,
    pub table: Table,
}

impl Classes {
    /// For a path that knows bytes by their halves, buckets are chosen so that few pass by those.
    pub fn build(
        windows: &[Window],
        literals: &[Literal],
        background: &Background,
        by: ClassesBy,
    ) -> Classes {
        let mut classes = Classes {
            buckets: Box::new([[0; 256]; PLACES]),
            halves: Box::new([[[0; 16]; HALVES]; PLACES]),
            class_of: [0; BUCKETS],
            alike: [0; BUCKETS],
            is_fine: windows.len() > COARSE_MAX,
            deep: usize::MAX,
            table: Table::build(windows, literals),
        };
        let share: Vec<f64> = (0..=255)
            .map(|byte| background.share(byte) + 1e-5)
            .collect();
        // How much of each place of each bucket is taken, in shares of traffic.
        let mut taken = [[0.0f64; PLACES]; BUCKETS];
        // The common ones first, so that the rare ones don't widen them.
        let bytes_of = |window: &Window| -> [Option<u8>; PLACES] {
            let bytes = window.key[0].to_le_bytes();
            [0, 1, 2, 3].map(|at| (at < CLASS_LENGTHS[window.class]).then_some(bytes[at]))
        };
        let weight = |window: &&Window| -> f64 {
            let of = |byte: Option<u8>| byte.map_or(1.0, |byte| share[usize::from(byte)]);
            bytes_of(window).map(of).iter().product()
        };
        let mut order: Vec<&Window> = windows.iter().collect();
        order.sort_by(|a, b| weight(b).total_cmp(&weight(a)));
        let mut owners = Owners::new(&order);
        for window in order {
            let bytes = bytes_of(window);
            let with = |bucket: usize| {
                let mut places = taken[bucket];
                for (at, byte) in bytes.iter().enumerate() {
                    let bit = 1u8 << bucket;
                    places[at] = match byte {
                        None => 1.0,
                        Some(byte) if classes.buckets[at][usize::from(*byte)] & bit != 0 => {
                            places[at]
                        }
                        Some(byte) if by == ClassesBy::Halves => {
                            classes.share_by_halves(bucket, at, *byte, &share).min(1.0)
                        }
                        Some(byte) => (places[at] + share[usize::from(*byte)]).min(1.0),
                    };
                }
                places
            };
            let passes = |places: [f64; PLACES]| places.iter().product::<f64>();
            let grows = |bucket: &usize| passes(with(*bucket)) - passes(taken[*bucket]);
            let fit = owners.open_to(window.class);
            let best = fit.min_by(|a, b| grows(a).total_cmp(&grows(b)));
            let best = best.unwrap_or(0);
            owners.give(best, window.class);
            taken[best] = with(best);
            classes.add(best, bytes);
        }
        for (bucket, owner) in owners.of.iter().enumerate() {
            let class = owner.unwrap_or(0);
            classes.class_of[bucket] = class as u8;
            let alike = (0..BUCKETS).filter(|other| owners.of[*other] == Some(class));
            classes.alike[bucket] = alike.fold(1 << bucket, |bits, other| bits | 1 << other);
        }
        classes
    }

    /// The buckets of a window's first bytes, by whole bytes.
    #[inline(always)]
    pub fn buckets_of(&self, text: u32) -> u8 {
        let [first, second, third, fourth] = &*self.buckets;
        let bytes = text.to_le_bytes().map(usize::from);
        first[bytes[0]] & second[bytes[1]] & third[bytes[2]] & fourth[bytes[3]]
    }

    /// Asks for what the vector code will read.
    #[inline(always)]
    pub fn prefetch(&self) {
        if self.is_fine {
            for line in self.buckets.as_flattened().chunks(64) {
                prefetch_read(line.as_ptr());
            }
        }
    }

    /// Puts a window's bytes into a bucket; where it has none, all fit.
    fn add(&mut self, bucket: usize, bytes: [Option<u8>; PLACES]) {
        let bit = 1u8 << bucket;
        for (at, byte) in bytes.into_iter().enumerate() {
            let (from, to) = byte.map_or((0, 255), |byte| (byte, byte));
            for byte in from..=to {
                self.buckets[at][usize::from(byte)] |= bit;
                for (half, of_byte) in halves_of(byte).into_iter().enumerate() {
                    self.halves[at][half][of_byte] |= bit;
                }
            }
        }
    }

    /// Share of the bytes of traffic that pass at a place of a bucket by their halves, once `more`
    /// belongs to it.
    fn share_by_halves(&self, bucket: usize, at: usize, more: u8, share: &[f64]) -> f64 {
        let bit = 1u8 << bucket;
        let more = halves_of(more);
        let passes = |byte: &u8| {
            let mut halves = halves_of(*byte).into_iter().enumerate();
            halves.all(|(half, of)| of == more[half] || self.halves[at][half][of] & bit != 0)
        };
        let passing = (0..=255u8).filter(passes);
        passing.map(|byte| share[usize::from(byte)]).sum()
    }

    pub fn memory(&self) -> usize {
        size_of::<[[u8; 256]; PLACES]>()
            + size_of::<[[[u8; 16]; HALVES]; PLACES]>()
            + self.table.memory()
    }
}

/// The low and the high half of a byte, and both xored: two letters of unlike halves let pass two more
/// letters by the first two halves, and by the third mostly none.
fn halves_of(byte: u8) -> [usize; HALVES] {
    let (low, high) = (byte & 15, byte >> 4);
    [low, high, low ^ high].map(usize::from)
}

/// Whose the buckets are: each has windows of one class only, so that a position is looked up for
/// the class of its bucket and for no other.
struct Owners {
    of: [Option<usize>; BUCKETS],
    /// Classes that occur and have no bucket yet: each keeps one free.
    waiting: [bool; PLACES],
}

impl Owners {
    fn new(windows: &[&Window]) -> Owners {
        Owners {
            of: [None; BUCKETS],
            waiting: [0, 1, 2, 3].map(|class| windows.iter().any(|w| w.class == class)),
        }
    }

    /// The buckets that a window of a class can go to; one at least.
    fn open_to(&self, class: usize) -> impl Iterator<Item = usize> {
        let free = self.of.iter().filter(|owner| owner.is_none()).count();
        let others = (0..PLACES).filter(|other| *other != class && self.waiting[*other]);
        let spare = free > others.count();
        let of = self.of;
        (0..BUCKETS).filter(move |bucket| of[*bucket].map_or(spare, |owner| owner == class))
    }

    fn give(&mut self, bucket: usize, class: usize) {
        self.of[bucket] = Some(class);
        self.waiting[class] = false;
    }
}
