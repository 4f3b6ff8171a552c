//! From a window that passed the filter to the literals it may belong to: tags by slot, and for each
//! four slots a line of two entries with sixteen bytes of context inline; the bytes of a longer
//! literal for the last word.
//!
//! ```text
//!  tag of the slot    a byte, a quarter of the slots in use at most     most mistakes of the filter
//!  line               64 bytes: two entries, and where there are more   nearly all of what remains
//!  bytes, folds       of one literal, side by side                      literals beyond 16 bytes
//! ```
//! Each is a cache line of its own, and likely a cold one: that is what a position costs.

use super::Literal;
use crate::memory::prefetch::prefetch_read;

/// Lengths of windows that have keys, by class.
pub(super) const CLASS_LENGTHS: [usize; 8] = [1, 2, 3, 4, 6, 8, 12, 16];
/// Classes at most.
pub(super) const CLASSES: usize = CLASS_LENGTHS.len();
/// Multiplier of each class; odd, of random bits.
const MULTIPLIERS: [u64; CLASSES] = [
    0x9E37_79B9_7F4A_7C15,
    0xC2B2_AE3D_27D4_EB4F,
    0xD6E8_FEB8_6659_FD93,
    0xA076_1D64_78BD_642F,
    0xE703_7ED1_A0B4_28DB,
    0x8EBC_6AF0_9C88_C6E3,
    0x5899_65CC_7537_4CC3,
    0x1D8E_4E27_C47D_124F,
];
/// Tag of a slot whose keys have several tags.
const TAG_ANY: u8 = 255;
/// Slots per key.
const SLOTS_PER_KEY: usize = 4;

/// The bytes of all literals: of each, its bytes, lower case where case does not matter, and then its
/// folds, 0x20 for each letter whose case does not matter, else 0.
#[derive(Clone, Debug, Default)]
pub(super) struct Store {
    bytes: Vec<u8>,
    lengths: Vec<u8>,
}

impl Store {
    pub fn push(&mut self, literal: &Literal) {
        let folded = |byte: &u8| folded(*byte, literal.nocase);
        self.bytes.extend(literal.bytes.iter().map(|b| folded(b).0));
        self.bytes.extend(literal.bytes.iter().map(|b| folded(b).1));
        self.lengths.push(literal.bytes.len() as u8);
    }

    /// Places of literals that are pushed in this order.
    fn places(literals: &[Literal]) -> Vec<u32> {
        let lengths = literals
            .iter()
            .map(|literal| 2 * literal.bytes.len() as u32);
        let from = |end: &mut u32, length| Some(std::mem::replace(end, *end + length));
        lengths.scan(0, from).collect()
    }

    pub fn memory(&self) -> usize {
        self.bytes.len() + self.lengths.len()
    }

    /// Length of a literal.
    pub fn length(&self, literal: u32) -> usize {
        let length = self.lengths.get(literal as usize);
        length.map_or(0, |length| usize::from(*length))
    }

    /// Whether the bytes at `at` are those of the literal at a place, of this length.
    ///
    /// # Safety
    /// The place is that of a literal of `length`, which is eight or more, and
    /// `at..at + length` lies in `haystack`.
    #[inline]
    unsafe fn equals(&self, place: u32, length: usize, haystack: &[u8], at: usize) -> bool {
        debug_assert!(at + length <= haystack.len() && length >= 8);
        debug_assert!(place as usize + 2 * length <= self.bytes.len());
        // SAFETY: the literal's bytes and then its folds stand at its place.
        let (bytes, folds, text) = unsafe {
            let bytes = self.bytes.as_ptr().add(place as usize);
            (bytes, bytes.add(length), haystack.as_ptr().add(at))
        };
        let same = |i: usize| {
            // SAFETY: `i + 8 <= length`, inside the literal and inside the haystack.
            unsafe { load(text.add(i)) | load(folds.add(i)) == load(bytes.add(i)) }
        };
        // The last eight bytes may have been compared in part.
        (0..length / 8).all(|word| same(8 * word)) && same(length - 8)
    }
}

/// The byte as the store has it, and the bit that is set in the haystack's before comparing.
pub(super) fn folded(byte: u8, nocase: bool) -> (u8, u8) {
    if nocase && byte.is_ascii_alphabetic() {
        (byte.to_ascii_lowercase(), 0x20)
    } else {
        (byte, 0)
    }
}

/// Eight bytes, little end first.
///
/// # Safety
/// Eight bytes can be read from `at`.
#[inline(always)]
pub(super) unsafe fn load(at: *const u8) -> u64 {
    // SAFETY: the caller's promise; alignment is not needed.
    u64::from_le(unsafe { at.cast::<u64>().read_unaligned() })
}

/// Entries of a line.
const WIDTH: usize = 2;
/// Slots that share a line.
const SLOTS_PER_LINE: u32 = 4;
/// Bytes of a literal in an entry.
const CONTEXT: usize = 16;

/// Entries of four slots: where a literal's window lies, and sixteen of its bytes.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    /// Bytes of the literal from `context` on; zeros behind the end of a short one.
    values: [u128; WIDTH],
    literals: [u32; WIDTH],
    /// Where the literal stands in the store.
    places: [u32; WIDTH],
    /// A bit for each byte of the value: its case does not matter.
    folds: [u16; WIDTH],
    facts: [Facts; WIDTH],
    /// The line with further entries; 0: none.
    more: u32,
}

const _: () = assert!(size_of::<Line>() == 64);

/// What an entry is about.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Facts {
    /// Offset of the window in the literal.
    offset: u8,
    /// Offset of the value in the literal.
    context: u8,
    /// Of the literal; 0: no entry.
    length: u8,
    /// Further demands: `REST`, `WHOLE`.
    flags: u8,
}

/// An entry by itself.
#[derive(Clone, Copy, Debug)]
struct Entry {
    value: u128,
    literal: u32,
    place: u32,
    fold: u16,
    facts: Facts,
}

/// The literal is longer than the bytes of the entry.
const REST: u8 = 1;
/// The literal must be the whole buffer.
const WHOLE: u8 = 2;

/// A window of a literal, on its way into a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// Folded bytes of the window.
    pub key: [u64; 2],
    /// Which of `CLASS_LENGTHS` it has.
    pub class: usize,
    /// Number of the literal.
    pub literal: u32,
    /// Offset in the literal.
    pub offset: usize,
    /// The literal must be the whole buffer.
    pub whole: bool,
}

/// Windows by hash.
#[derive(Clone, Debug)]
pub(super) struct Table {
    shift: u32,
    tags: Vec<u8>,
    /// One for each `SLOTS_PER_LINE` slots, then those with what did not fit.
    lines: Vec<Line>,
}

/// Hash of a window's folded bytes.
#[inline(always)]
pub(super) fn hash(key: [u64; 2], class: usize) -> u64 {
    let multiplier = MULTIPLIERS[class];
    if class < 6 {
        masked(key[0], class).wrapping_mul(multiplier)
    } else {
        let second = masked(key[1], class);
        (key[0] ^ second.rotate_left(29).wrapping_mul(MULTIPLIERS[0])).wrapping_mul(multiplier)
    }
}

/// The bytes of a key's first word that belong to a window of the class (of its second, from
/// class 6 on).
#[inline(always)]
pub(super) fn masked(key: u64, class: usize) -> u64 {
    const MASKS: [u64; CLASSES] = [
        0xff,
        0xffff,
        0xff_ffff,
        0xffff_ffff,
        0xffff_ffff_ffff,
        u64::MAX,
        0xffff_ffff,
        u64::MAX,
    ];
    key & MASKS[class]
}

impl Table {
    pub fn build(windows: &[Window], literals: &[Literal]) -> Table {
        let bits = (windows.len() * SLOTS_PER_KEY)
            .next_power_of_two()
            .max(64)
            .trailing_zeros();
        let shift = 64 - bits;
        let slots = 1usize << bits;
        let places = Store::places(literals);
        let mut order: Vec<(usize, u8, Entry)> = windows
            .iter()
            .map(|window| {
                let hash = hash(window.key, window.class);
                let slot = (hash >> shift) as usize;
                (slot, tag(hash, shift), entry(window, literals, &places))
            })
            .collect();
        order.sort_by_key(|(slot, _, entry)| (*slot, entry.literal, entry.facts.offset));
        let mut tags = vec![0u8; slots];
        for (slot, tag, _) in &order {
            tags[*slot] = match tags[*slot] {
                0 => *tag,
                same if same == *tag => same,
                _ => TAG_ANY,
            };
        }
        let mut lines = vec![Line::default(); slots / SLOTS_PER_LINE as usize];
        let by_line = order.chunk_by(|(one, ..), (other, ..)| line_of(*one) == line_of(*other));
        for entries in by_line {
            let mut at = line_of(entries[0].0);
            for (number, entries) in entries.chunks(WIDTH).enumerate() {
                if number > 0 {
                    lines[at].more = lines.len() as u32;
                    at = lines.len();
                    lines.push(Line::default());
                }
                for (i, (_, _, entry)) in entries.iter().enumerate() {
                    lines[at].put(i, entry);
                }
            }
        }
        Table { shift, tags, lines }
    }

    pub fn memory(&self) -> usize {
        self.tags.len() + self.lines.len() * size_of::<Line>()
    }

    /// The line of a hash, and whether something may be there.
    #[inline(always)]
    pub fn probe(&self, hash: u64) -> (u32, bool) {
        let slot = hash >> self.shift;
        // SAFETY: there are `1 << (64 - shift)` slots.
        let there = unsafe { *self.tags.get_unchecked(slot as usize) };
        (
            slot as u32 / SLOTS_PER_LINE,
            there == tag(hash, self.shift) || there == TAG_ANY,
        )
    }

    /// Asks for a line.
    ///
    /// # Safety
    /// `probe` gave it.
    #[inline(always)]
    pub unsafe fn ask(&self, line: u32) {
        // SAFETY: there is a line for each that `probe` gives.
        prefetch_read(unsafe { self.lines.as_ptr().add(line as usize) });
    }

    /// Calls `found` with each literal of this line that stands in `haystack` so that its window
    /// lies at `at`, and where it starts. Gives how many entries were looked at.
    ///
    /// # Safety
    /// `probe` gave the line; the literals are those of `store`.
    #[inline(always)]
    pub unsafe fn confirm(
        &self,
        line: u32,
        store: &Store,
        haystack: &[u8],
        at: usize,
        found: &mut impl FnMut(u32, usize),
    ) -> u32 {
        let (mut looked, mut next) = (0, line);
        loop {
            // SAFETY: there is a line for each that `probe` gives, and for each that follows one.
            let line = unsafe { self.lines.get_unchecked(next as usize) };
            for i in 0..WIDTH {
                let facts = line.facts[i];
                let length = usize::from(facts.length);
                if length == 0 {
                    return looked;
                }
                looked += 1;
                let start = at.wrapping_sub(usize::from(facts.offset));
                if start >= haystack.len() || haystack.len() - start < length {
                    continue;
                }
                // SAFETY: the literal, and so its context, lies inside.
                let text = unsafe { context(haystack, start + usize::from(facts.context)) };
                let differ = (text | unfold(line.folds[i])) ^ line.values[i];
                // What lies behind the end of a short literal does not matter.
                if differ << (8 * (CONTEXT - length.min(CONTEXT))) != 0 {
                    continue;
                }
                let whole = facts.flags & WHOLE == 0 || haystack.len() == length;
                // SAFETY: bounds were compared above; the entry's place is that of its literal,
                // which is longer than sixteen bytes.
                let rest = facts.flags & REST == 0
                    || unsafe { store.equals(line.places[i], length, haystack, start) };
                if whole && rest {
                    found(line.literals[i], start);
                }
            }
            if line.more == 0 {
                return looked;
            }
            next = line.more;
        }
    }
}

impl Line {
    fn put(&mut self, at: usize, entry: &Entry) {
        self.values[at] = entry.value;
        self.literals[at] = entry.literal;
        self.places[at] = entry.place;
        self.folds[at] = entry.fold;
        self.facts[at] = entry.facts;
    }
}

/// The line of a slot.
fn line_of(slot: usize) -> usize {
    slot / SLOTS_PER_LINE as usize
}

/// What is set in the haystack's bytes before they are compared: 0x20 for each bit.
#[inline(always)]
fn unfold(bits: u16) -> u128 {
    u128::from(unfold_half(bits as u8)) | u128::from(unfold_half((bits >> 8) as u8)) << 64
}

/// 0x20 in each byte whose bit is set.
#[inline(always)]
fn unfold_half(bits: u8) -> u64 {
    // Each byte keeps its own bit of the eight; adding 0x7f carries it into the highest.
    let own = (u64::from(bits).wrapping_mul(0x0101_0101_0101_0101)) & 0x8040_2010_0804_0201;
    ((own + 0x7f7f_7f7f_7f7f_7f7f) & 0x8080_8080_8080_8080) >> 2
}

/// Sixteen bytes from `at` on, with zeros behind the end.
///
/// # Safety
/// `at` lies in `haystack`.
#[inline(always)]
unsafe fn context(haystack: &[u8], at: usize) -> u128 {
    debug_assert!(at < haystack.len());
    let length = haystack.len();
    if at + CONTEXT <= length {
        // SAFETY: sixteen bytes are left.
        return u128::from_le(unsafe { haystack.as_ptr().add(at).cast::<u128>().read_unaligned() });
    }
    if length >= CONTEXT {
        // SAFETY: the last sixteen bytes; `at` is at most fifteen further than their start.
        let last = unsafe { haystack.as_ptr().add(length - CONTEXT).cast::<u128>() };
        // SAFETY: as above.
        return u128::from_le(unsafe { last.read_unaligned() }) >> (8 * (at + CONTEXT - length));
    }
    let mut bytes = [0u8; CONTEXT];
    bytes[..length - at].copy_from_slice(&haystack[at..]);
    u128::from_le_bytes(bytes)
}

#[inline(always)]
fn tag(hash: u64, shift: u32) -> u8 {
    ((hash >> (shift - 8)) as u8).clamp(1, TAG_ANY - 1)
}

fn entry(window: &Window, literals: &[Literal], places: &[u32]) -> Entry {
    let literal = &literals[window.literal as usize];
    let length = literal.bytes.len();
    let last = length.saturating_sub(CONTEXT);
    // The window itself is known to be there by its hash: other bytes say more.
    let is_far = window.offset < CONTEXT && last >= 2 * window.offset;
    let context = if is_far { last } else { 0 };
    let (mut value, mut fold) = ([0; CONTEXT], 0);
    let bytes = literal.bytes[context..].iter().take(CONTEXT);
    for (i, &byte) in bytes.enumerate() {
        let (byte, bit) = folded(byte, literal.nocase);
        value[i] = byte;
        fold |= u16::from(bit != 0) << i;
    }
    let rest = if length > CONTEXT { REST } else { 0 };
    let whole = if window.whole { WHOLE } else { 0 };
    Entry {
        value: u128::from_le_bytes(value),
        literal: window.literal,
        place: places[window.literal as usize],
        fold,
        facts: Facts {
            offset: window.offset as u8,
            context: context as u8,
            length: length as u8,
            flags: rest | whole,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_unfold_into_their_bytes() {
        for bits in [0u16, 1, 0x80, 0x100, 0x8000, 0xffff, 0x5aa5, 0x1234] {
            let bytes = unfold(bits).to_le_bytes();
            let expected: [u8; 16] =
                std::array::from_fn(|i| if bits >> i & 1 != 0 { 0x20 } else { 0 });
            assert_eq!(bytes, expected, "{bits:#x}");
        }
    }
}
