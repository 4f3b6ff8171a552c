//! Literals that stand at the start or at the end of a buffer: a hash of the first or last bytes
//! finds them, whatever their number. Nothing is scanned.

use super::table::{self, CLASS_LENGTHS, CLASSES, Store, Table, Window};
use super::{Anchor, Literal};

/// Literals anchored at one end.
#[derive(Clone, Debug, Default)]
pub(super) struct Anchored {
    table: Option<Table>,
    /// The classes of windows that occur, shortest first.
    classes: Vec<u8>,
    /// How many of them are shorter than four bytes, and than eight.
    tiny: usize,
    short: usize,
    /// By the nearest four and eight bytes: nearly all buffers are done with after these.
    gates: [Gate; 2],
}

/// Classes of windows of four and of eight bytes.
const FOUR: usize = 3;
const EIGHT: usize = 5;
/// Bits of a gate for each window.
const BITS_PER_WINDOW: usize = 32;

/// Bits by a hash of bytes that all windows behind it share in length.
#[derive(Clone, Debug, Default)]
struct Gate {
    bits: Vec<u64>,
    shift: u32,
}

impl Gate {
    fn build(hashes: &[u64]) -> Gate {
        let bits = (hashes.len() * BITS_PER_WINDOW).next_power_of_two().max(64);
        let mut gate = Gate {
            bits: vec![0; bits / 64],
            shift: 64 - bits.trailing_zeros(),
        };
        for hash in hashes {
            let bit = hash >> gate.shift;
            gate.bits[(bit / 64) as usize] |= 1 << (bit % 64);
        }
        gate
    }

    #[inline]
    fn passes(&self, hash: u64) -> bool {
        let bit = hash >> self.shift;
        let word = self.bits.get((bit / 64) as usize).copied().unwrap_or(0);
        word >> (bit % 64) & 1 != 0
    }
}

impl Anchored {
    /// Those of `literals` that stand at the start, or at the end.
    pub fn build(literals: &[Literal], end: bool) -> Anchored {
        let mut any = [false; CLASSES];
        let mut windows = Vec::new();
        for (literal, number) in literals.iter().zip(0u32..) {
            let here = match literal.anchor {
                Anchor::Start => !end,
                Anchor::End | Anchor::Whole => end,
                Anchor::Floating => false,
            };
            if !here {
                continue;
            }
            let length = literal.bytes.len();
            let fits = |l: &usize| *l <= length;
            let class = CLASS_LENGTHS.iter().rposition(fits).unwrap_or(0);
            any[class] = true;
            let size = CLASS_LENGTHS[class];
            let key = if end {
                last(&literal.bytes)
            } else {
                first(&literal.bytes)
            };
            windows.push(Window {
                key: by_class(key, class, end),
                class,
                literal: number,
                offset: if end { length - size } else { 0 },
                whole: literal.anchor == Anchor::Whole,
            });
        }
        let classes: Vec<u8> = (0..CLASSES as u8)
            .filter(|class| any[usize::from(*class)])
            .collect();
        let table = (!windows.is_empty()).then(|| Table::build(&windows, literals));
        let gate = |class: usize, of: std::ops::Range<usize>| {
            let behind = windows.iter().filter(|window| of.contains(&window.class));
            let hashes: Vec<u64> = behind
                .map(|window| table::hash(nearer(window.key, window.class, class, end), class))
                .collect();
            Gate::build(&hashes)
        };
        let below = |class: usize| (0..class).filter(|class| any[*class]).count();
        Anchored {
            table,
            tiny: below(FOUR),
            short: below(EIGHT),
            gates: [gate(FOUR, FOUR..EIGHT), gate(EIGHT, EIGHT..CLASSES)],
            classes,
        }
    }

    pub fn memory(&self) -> usize {
        self.table.as_ref().map_or(0, Table::memory)
            + self
                .gates
                .iter()
                .map(|gate| gate.bits.len() * 8)
                .sum::<usize>()
    }

    /// Calls `found` with each literal at the buffer's start (or end). Gives how many entries were
    /// looked at.
    #[inline(never)]
    pub fn look(
        &self,
        store: &Store,
        buffer: &[u8],
        end: bool,
        found: &mut dyn FnMut(u32, usize),
    ) -> u32 {
        let Some(table) = &self.table else {
            return 0;
        };
        let key = if end { last(buffer) } else { first(buffer) };
        let passes = |gate: usize, class| {
            let hash = table::hash(by_class(key, class, end), class);
            self.gates[gate].passes(hash)
        };
        let (from, to) = match (passes(0, FOUR), passes(1, EIGHT)) {
            (false, false) => (self.tiny, self.tiny),
            (true, false) => (self.tiny, self.short),
            (false, true) => (self.short, self.classes.len()),
            (true, true) => (self.tiny, self.classes.len()),
        };
        let mut looked = 0;
        let mut slots = [u32::MAX; CLASSES];
        let near = self.classes[..self.tiny].iter();
        for class in near.chain(&self.classes[from..to]) {
            let class = usize::from(*class) % CLASSES;
            let length = CLASS_LENGTHS[class];
            if length > buffer.len() {
                break;
            }
            let (slot, there) = table.probe(table::hash(by_class(key, class, end), class));
            // A slot that two classes share is looked at once at the start; at the end only by
            // the class whose literals then end there.
            if !there || !end && slots.contains(&slot) {
                continue;
            }
            slots[class] = slot;
            let at = if end { buffer.len() - length } else { 0 };
            let mut found = |literal, start| {
                if !end || start + store.length(literal) == buffer.len() {
                    found(literal, start);
                }
            };
            // SAFETY: the slot is the probe's; the table was built with this store.
            looked += unsafe {
                let entries = table.entries_of(slot);
                table.confirm(entries, store, buffer, at, &mut found)
            };
        }
        looked
    }
}

/// The words of a class: of the end's, the bytes nearest to the end, first byte lowest.
fn by_class(key: [u64; 2], class: usize, end: bool) -> [u64; 2] {
    if !end {
        return key;
    }
    let size = CLASS_LENGTHS[class];
    if size <= 8 {
        [key[1] >> (64 - 8 * size), 0]
    } else {
        // The last eight bytes first; of those before them, the nearest.
        [key[1], key[0] >> (128 - 8 * size)]
    }
}

/// Of a window's words, those of the shorter class that is nearest to the same end.
fn nearer(key: [u64; 2], class: usize, shorter: usize, end: bool) -> [u64; 2] {
    let (size, less) = (CLASS_LENGTHS[class].min(8), CLASS_LENGTHS[shorter]);
    if end {
        // The last bytes stand highest in the window's first word.
        [key[0] >> (8 * (size - less)), 0]
    } else {
        key
    }
}

/// The first sixteen bytes, folded, zeros behind the end.
#[inline]
fn first(bytes: &[u8]) -> [u64; 2] {
    let words = match bytes.len() {
        16.. => [word(bytes, 0), word(bytes, 8)],
        8 => [word(bytes, 0), 0],
        length @ 9.. => [
            word(bytes, 0),
            word(bytes, length - 8) >> (8 * (16 - length)),
        ],
        _ => [few(bytes), 0],
    };
    words.map(fold)
}

/// The last sixteen bytes, folded, zeros before the start.
#[inline]
fn last(bytes: &[u8]) -> [u64; 2] {
    let words = match bytes.len() {
        length @ 16.. => [word(bytes, length - 16), word(bytes, length - 8)],
        8 => [0, word(bytes, 0)],
        length @ 9.. => [
            word(bytes, 0) << (8 * (16 - length)),
            word(bytes, length - 8),
        ],
        0 => [0; 2],
        length => [0, few(bytes) << (8 * (8 - length))],
    };
    words.map(fold)
}

/// Eight bytes at `at`.
#[inline]
fn word(bytes: &[u8], at: usize) -> u64 {
    bytes
        .get(at..at + 8)
        .and_then(|word| word.try_into().ok())
        .map_or(0, u64::from_le_bytes)
}

/// Less than eight bytes, zeros behind: two reads that overlap.
#[inline]
fn few(bytes: &[u8]) -> u64 {
    let length = bytes.len();
    let four = |at: usize| {
        let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
        u64::from(word.map_or(0, u32::from_le_bytes))
    };
    if length >= 4 {
        return four(0) | four(length - 4) << (8 * (length - 4));
    }
    let byte = |at: usize| bytes.get(at).map_or(0, |byte| u64::from(*byte) << (8 * at));
    byte(0) | byte(1) | byte(2)
}

/// Eight bytes with A-Z in lower case and all else as it was.
#[inline]
fn fold(word: u64) -> u64 {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let low = word & !HIGH;
    // Bit 7 of a byte: it is at least 'A'; it is above 'Z'. No carry leaves a byte.
    let from_a = low.wrapping_add(0x3f3f_3f3f_3f3f_3f3f);
    let above_z = low.wrapping_add(0x2525_2525_2525_2525);
    word | ((from_a & !above_z & !word & HIGH) >> 2)
}
