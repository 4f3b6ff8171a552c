//! From a window that passed the filter to the literals it may belong to: tags by slot, entries of
//! a slot with eight bytes of context inline, and the bytes of the literals for the last word.
//!
//! Only a tag (one byte, a quarter of the slots in use at most) is read for most of what the filter lets
//! through by mistake; an entry (24 bytes) answers nearly all of what remains.

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
/// Tag of a slot whose keys have several tags. Other tags have the highest bit set; 0 is an empty slot.
const TAG_ANY: u8 = 1;
/// Slots per key.
const SLOTS_PER_KEY: usize = 4;

/// The bytes of all literals.
#[derive(Clone, Debug, Default)]
pub(super) struct Store {
    /// Bytes of the literals, lower case where case does not matter, then eight of fill.
    bytes: Vec<u8>,
    /// 0x20 for each letter whose case does not matter, else 0.
    folds: Vec<u8>,
    starts: Vec<u32>,
}

impl Store {
    pub fn push(&mut self, literal: &Literal) {
        self.starts.push(self.bytes.len() as u32);
        for &byte in &literal.bytes {
            let (byte, fold) = folded(byte, literal.nocase);
            self.bytes.push(byte);
            self.folds.push(fold);
        }
    }

    pub fn finish(&mut self) {
        self.starts.push(self.bytes.len() as u32);
        self.bytes.extend([0; 8]);
        self.folds.extend([0; 8]);
    }

    pub fn memory(&self) -> usize {
        self.bytes.len() * 2 + self.starts.len() * 4
    }

    /// Length of a literal.
    pub fn length(&self, literal: u32) -> usize {
        let start = |number: usize| self.starts.get(number).map_or(0, |start| *start as usize);
        let number = literal as usize;
        start(number + 1).saturating_sub(start(number))
    }

    /// Whether the bytes at `at` are those of the literal, of this length.
    ///
    /// # Safety
    /// The literal is one of the store, `length` its length, and `at..at + length` lies in
    /// `haystack`.
    #[inline(never)]
    unsafe fn equals(&self, literal: u32, length: usize, haystack: &[u8], at: usize) -> bool {
        debug_assert!(at + length <= haystack.len());
        // SAFETY: the literal is one of the store; eight bytes of fill follow the last one.
        let (bytes, folds, text) = unsafe {
            let start = *self.starts.get_unchecked(literal as usize) as usize;
            (
                self.bytes.as_ptr().add(start),
                self.folds.as_ptr().add(start),
                haystack.as_ptr().add(at),
            )
        };
        let mut i = 0;
        while i + 8 <= length {
            // SAFETY: `i + 8 <= length`, inside the literal and inside the haystack.
            let same = unsafe { load(text.add(i)) | load(folds.add(i)) == load(bytes.add(i)) };
            if !same {
                return false;
            }
            i += 8;
        }
        while i < length {
            // SAFETY: `i < length`.
            let same = unsafe { *text.add(i) | *folds.add(i) == *bytes.add(i) };
            if !same {
                return false;
            }
            i += 1;
        }
        true
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

/// Where a literal's window lies, and eight of its bytes.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Eight bytes of the literal from `context` on; 0xff behind the end of a short one.
    value: u64,
    /// What is set in the haystack's bytes before they are compared with `value`.
    fold: u64,
    literal: u32,
    /// Offset of the window in the literal.
    offset: u8,
    /// Offset of `value` in the literal.
    context: u8,
    length: u8,
    /// Further demands: `REST`, `WHOLE`.
    flags: u8,
}

/// The literal is longer than the eight bytes of the entry.
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
    heads: Vec<u32>,
    entries: Vec<Entry>,
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
        let mut order: Vec<(usize, u8, Entry)> = windows
            .iter()
            .map(|window| {
                let hash = hash(window.key, window.class);
                let slot = (hash >> shift) as usize;
                (slot, tag(hash, shift), entry(window, literals))
            })
            .collect();
        order.sort_by_key(|(slot, _, entry)| (*slot, entry.literal, entry.offset));
        let mut tags = vec![0u8; slots];
        let mut heads = vec![0u32; slots + 1];
        for (slot, tag, _) in &order {
            heads[slot + 1] += 1;
            tags[*slot] = match tags[*slot] {
                0 => *tag,
                same if same == *tag => same,
                _ => TAG_ANY,
            };
        }
        for slot in 0..slots {
            heads[slot + 1] += heads[slot];
        }
        Table {
            shift,
            tags,
            heads,
            entries: order.into_iter().map(|(_, _, entry)| entry).collect(),
        }
    }

    pub fn memory(&self) -> usize {
        self.tags.len() + self.heads.len() * 4 + self.entries.len() * size_of::<Entry>()
    }

    /// The slot of a hash, and whether something may be there.
    #[inline(always)]
    pub fn probe(&self, hash: u64) -> (u32, bool) {
        let slot = hash >> self.shift;
        // SAFETY: there are `1 << (64 - shift)` slots.
        let there = unsafe { *self.tags.get_unchecked(slot as usize) };
        (
            slot as u32,
            there == tag(hash, self.shift) || there == TAG_ANY,
        )
    }

    /// Entries of a slot, from the first up to one behind the last; the first is asked for.
    ///
    /// # Safety
    /// The slot is one that `probe` gave.
    #[inline(always)]
    pub unsafe fn entries_of(&self, slot: u32) -> (u32, u32) {
        let slot = slot as usize;
        // SAFETY: there is one head more than there are slots; heads are sums of counts of the
        // entries, and a slot that `probe` gave has one at least.
        unsafe {
            let from = *self.heads.get_unchecked(slot);
            let to = *self.heads.get_unchecked(slot + 1);
            prefetch_read(self.entries.as_ptr().add(from as usize));
            (from, to)
        }
    }

    /// Calls `found` with each literal of these entries that stands in `haystack` so that its window
    /// lies at `at`, and where it starts. Gives how many entries were looked at.
    ///
    /// # Safety
    /// The entries are those of a slot; the literals are those of `store`.
    #[inline(always)]
    pub unsafe fn confirm(
        &self,
        (from, to): (u32, u32),
        store: &Store,
        haystack: &[u8],
        at: usize,
        found: &mut impl FnMut(u32, usize),
    ) -> u32 {
        for i in from..to {
            // SAFETY: heads are sums of counts of the entries.
            let entry = unsafe { self.entries.get_unchecked(i as usize) };
            let length = usize::from(entry.length);
            let start = at.wrapping_sub(usize::from(entry.offset));
            if start >= haystack.len() || haystack.len() - start < length {
                continue;
            }
            // SAFETY: the literal, and so its context where it has eight bytes, lies inside.
            let text = unsafe { context(haystack, start + usize::from(entry.context)) };
            if text | entry.fold != entry.value {
                continue;
            }
            let whole = entry.flags & WHOLE == 0 || haystack.len() == length;
            // SAFETY: bounds were compared above; the entry's literal is one of the store.
            let rest = entry.flags & REST == 0
                || unsafe { store.equals(entry.literal, length, haystack, start) };
            if whole && rest {
                found(entry.literal, start);
            }
        }
        to - from
    }
}

/// Eight bytes from `at` on, with zeros behind the end.
///
/// # Safety
/// `at` lies in `haystack`.
#[inline(always)]
unsafe fn context(haystack: &[u8], at: usize) -> u64 {
    debug_assert!(at < haystack.len());
    if at + 8 <= haystack.len() {
        // SAFETY: eight bytes are left.
        return unsafe { load(haystack.as_ptr().add(at)) };
    }
    // SAFETY: the caller's promise.
    unsafe { context_at_end(haystack, at) }
}

/// The same for the last seven positions.
///
/// # Safety
/// `at` lies in `haystack`, less than eight bytes before its end.
#[cold]
#[inline(never)]
unsafe fn context_at_end(haystack: &[u8], at: usize) -> u64 {
    let length = haystack.len();
    if length >= 8 {
        // SAFETY: the last eight bytes; `at` is at most seven further than their start.
        return unsafe { load(haystack.as_ptr().add(length - 8)) } >> (8 * (at + 8 - length));
    }
    let mut bytes = [0u8; 8];
    bytes[..length - at].copy_from_slice(&haystack[at..]);
    u64::from_le_bytes(bytes)
}

#[inline(always)]
fn tag(hash: u64, shift: u32) -> u8 {
    (hash >> (shift - 8)) as u8 | 0x80
}

fn entry(window: &Window, literals: &[Literal]) -> Entry {
    let literal = &literals[window.literal as usize];
    let length = literal.bytes.len();
    let last = length.saturating_sub(8);
    // The window itself is known to be there by its hash: other bytes say more.
    let context =
        if window.offset >= 8 || last < window.offset || last - window.offset < window.offset {
            0
        } else {
            last
        };
    let (mut value, mut fold) = ([0xffu8; 8], [0xffu8; 8]);
    for (i, &byte) in literal.bytes[context..].iter().take(8).enumerate() {
        (value[i], fold[i]) = folded(byte, literal.nocase);
    }
    let rest = if length > 8 { REST } else { 0 };
    let whole = if window.whole { WHOLE } else { 0 };
    Entry {
        value: u64::from_le_bytes(value),
        fold: u64::from_le_bytes(fold),
        literal: window.literal,
        offset: window.offset as u8,
        context: context as u8,
        length: length as u8,
        flags: rest | whole,
    }
}
