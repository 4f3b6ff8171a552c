//! What lies in the table's memory: blocks of a group of tags amid its entries of two cache lines.
//! Every field but the record is an atomic, so that a torn view can never be undefined behaviour; the
//! record belongs to one [`super::RecordSide`], which alone reaches it. Which orderings
//! make it *correct* is the business of table.rs. No probing lives here.
//!
//! ```text
//! group, 64 B   | 30 x u16 tag word | overflow u16 | hand u16 |      tag word = class 2 | tag 14
//! block, 3904 B | 15 entries | group | 15 entries |
//! entry, 128 B  | line 0: version 4 | last_seen 4 | key 40 | state 16 |      flow's
//!               | line 1: generation 4 | verdict, flags, rule set 4 | slab 4 | word 4 | record 48 |
//! ```

use super::hash::{KeyWords, tuple_of};
use crate::flow::record::Record;
use crate::packet::Tuple;
use crate::time::Tick;
use std::cell::UnsafeCell;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};

/// Slots of one group.
pub const GROUP_SLOTS: u32 = 30;
/// Mask of the class bits of a tag word.
pub const CLASS_MASK: u16 = 0xC000;
/// Class of a half-open flow. (Class 0 is a free slot, whose whole word is 0.)
pub const CLASS_HALF_OPEN: u16 = 0x4000;
/// Class of an established flow.
pub const CLASS_ESTABLISHED: u16 = 0x8000;
/// Class of a slot nobody may find: claimed and not yet published, or in quarantine.
pub const CLASS_HIDDEN: u16 = 0xC000;
/// Mask of the tag bits of a tag word.
pub const TAG_MASK: u16 = 0x3FFF;
/// Highest tag a hash yields; the values above it are the reserved words below.
pub const TAG_MAX: u16 = 0x3FFD;
/// Word of a closed slot that waits for its release.
pub const QUARANTINE: u16 = CLASS_HIDDEN | 0x3FFF;
/// Word of a claim that another inserter has ended; its claimer gives the slot back.
pub const KILLED: u16 = CLASS_HIDDEN | 0x3FFE;

/// Version bit that says: some flow lives here.
pub const ALIVE: u32 = 1;
/// Version bit a writer holds while it changes an entry in shared mode.
pub const LOCKED: u32 = 1 << 31;

/// One line of tags.
#[repr(C, align(64))]
pub struct Group {
    /// Tag words.
    pub tags: [AtomicU16; GROUP_SLOTS as usize],
    /// How many findable entries passed over this group: a miss stops here when it is 0.
    pub overflow: AtomicU16,
    /// Clock hand of the eviction sample.
    pub hand: AtomicU16,
}

/// Entries on each side of a block's tags.
pub const HALF: usize = GROUP_SLOTS as usize / 2;

/// A group with its entries around it. A packet reads the group and one entry: amid them the tags
/// lie 1 KiB from an entry on average, so three times in four both stand on one 4 KiB page, and one
/// translation serves both. That counts where 2 MiB pages are not to be had, in the guest or in the
/// host below it (a walk of nested page tables costs more than the line). Blocks are 61 lines, an
/// odd number, so tags spread over all sets of a cache.
#[repr(C, align(64))]
pub struct Block {
    /// Slots 0 to 14.
    pub before: [Entry; HALF],
    /// The tags.
    pub group: Group,
    /// Slots 15 to 29.
    pub after: [Entry; HALF],
}

/// One slot of the table.
#[repr(C, align(64))]
pub struct Entry {
    /// Line 0.
    pub flow: FlowLine,
    /// First 16 bytes of line 1.
    pub detection: DetectionLine,
    /// The rest of line 1: the flow stage's counters of the flow. Only a table of one owner uses it.
    pub record: UnsafeCell<Record>,
}

/// Line 0 of an entry: key, time and the flow stage's state. Touched by every packet.
#[repr(C, align(64))]
pub struct FlowLine {
    pub(super) version: AtomicU32,
    last_seen: AtomicU32,
    key: [AtomicU64; 5],
    state: Atomic128,
}

/// The 16 bytes of line 0 that belong to the flow stage. Read and written as one unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(16))]
pub struct FlowState {
    /// Index into [`super::Timeouts`]: which idle time ends this flow. Read by the sweep.
    pub expiry: u8,
    /// Connection state, coded by the flow stage.
    pub phase: u8,
    /// Cached verdict, coded by the flow stage.
    pub verdict: u8,
    /// Flags of the flow stage.
    pub flags: u8,
    /// Index of the flow's slab, or what the flow stage takes for none.
    pub slab: u32,
    /// Free for the flow stage.
    pub words: [u32; 2],
}

/// The match stage's part of line 1. The table only wipes it for a new flow.
#[repr(C, align(16))]
pub struct DetectionLine {
    pub(super) generation: AtomicU32,
    verdict: AtomicU8,
    flags: AtomicU8,
    rule_set: AtomicU16,
    slab: AtomicU32,
    word: AtomicU32,
}

const _: () = {
    assert!(size_of::<Group>() == 64);
    assert!(size_of::<FlowLine>() == 64 && size_of::<DetectionLine>() == 16);
    assert!(std::mem::offset_of!(Entry, detection) == 64);
    assert!(size_of::<Entry>() == 128 && size_of::<Block>() == 61 * 64);
    assert!(std::mem::offset_of!(Block, group) == HALF * size_of::<Entry>());
    assert!(std::mem::offset_of!(Block, after) == HALF * size_of::<Entry>() + 64);
    assert!(size_of::<FlowState>() == 16);
    assert!(std::mem::offset_of!(FlowLine, version) == 0);
    assert!(std::mem::offset_of!(FlowLine, state) == 48);
    assert!(std::mem::offset_of!(DetectionLine, generation) == 0);
};

impl FlowLine {
    /// Tick of the last packet.
    #[inline(always)]
    pub fn last_seen(&self) -> Tick {
        Tick(self.last_seen.load(Relaxed))
    }

    /// Refreshes the flow.
    #[inline(always)]
    pub fn touch(&self, now: Tick) {
        self.last_seen.store(now.0, Relaxed);
    }

    /// The flow stage's 16 bytes.
    #[inline(always)]
    pub fn state(&self) -> FlowState {
        FlowState::from_words(self.state.load())
    }

    /// Writes the flow stage's 16 bytes. Where several lanes may hold the same flow (shared mode),
    /// read-modify-write goes through [`super::FlowSide::update`].
    #[inline(always)]
    pub fn set_state(&self, state: FlowState) {
        self.state.store(state.to_words());
    }

    /// The flow's tuple.
    #[inline(always)]
    pub fn tuple(&self) -> Tuple {
        tuple_of(&self.key_words())
    }

    #[inline(always)]
    pub(super) fn key_words(&self) -> KeyWords {
        let [a, b, c, d, e] = &self.key;
        [
            a.load(Relaxed),
            b.load(Relaxed),
            c.load(Relaxed),
            d.load(Relaxed),
            e.load(Relaxed),
        ]
    }

    #[inline(always)]
    pub(super) fn key_differs(&self, words: &KeyWords) -> bool {
        let mine = self.key_words();
        let mut difference = 0;
        for (left, right) in mine.iter().zip(words) {
            difference |= left ^ right;
        }
        difference != 0
    }

    /// Writes key and fresh state of a new flow; the version is the caller's business.
    #[inline(always)]
    pub(super) fn write_new(&self, words: &KeyWords, now: Tick) {
        for (cell, word) in self.key.iter().zip(words) {
            cell.store(*word, Relaxed);
        }
        self.last_seen.store(now.0, Relaxed);
        self.state.store([0, 0]);
    }

    /// The generation, without the lock bit.
    #[inline(always)]
    pub(super) fn generation(&self) -> u32 {
        self.version.load(Acquire) & !LOCKED
    }
}

impl FlowState {
    #[inline(always)]
    fn from_words(words: [u64; 2]) -> FlowState {
        // SAFETY: both types are 16 bytes of integers without padding.
        unsafe { std::mem::transmute::<[u64; 2], FlowState>(words) }
    }

    #[inline(always)]
    fn to_words(self) -> [u64; 2] {
        // SAFETY: as above, the other way round.
        unsafe { std::mem::transmute::<FlowState, [u64; 2]>(self) }
    }
}

impl DetectionLine {
    /// Verdict on the whole flow, coded by the match stage; 0 for a new flow.
    #[inline(always)]
    pub fn verdict(&self) -> u8 {
        self.verdict.load(Relaxed)
    }

    /// Sets the verdict on the whole flow.
    #[inline(always)]
    pub fn set_verdict(&self, verdict: u8) {
        self.verdict.store(verdict, Relaxed);
    }

    /// Flags of the match stage.
    #[inline(always)]
    pub fn flags(&self) -> u8 {
        self.flags.load(Relaxed)
    }

    /// Sets the flags of the match stage.
    #[inline(always)]
    pub fn set_flags(&self, flags: u8) {
        self.flags.store(flags, Relaxed);
    }

    /// Generation of the rule set the carried state belongs to.
    #[inline(always)]
    pub fn rule_set(&self) -> u16 {
        self.rule_set.load(Relaxed)
    }

    /// Sets the rule set's generation.
    #[inline(always)]
    pub fn set_rule_set(&self, generation: u16) {
        self.rule_set.store(generation, Relaxed);
    }

    /// Index of the match stage's slab; 0 for a new flow, so store index + 1.
    #[inline(always)]
    pub fn slab(&self) -> u32 {
        self.slab.load(Relaxed)
    }

    /// Sets the slab index.
    #[inline(always)]
    pub fn set_slab(&self, slab: u32) {
        self.slab.store(slab, Relaxed);
    }

    /// Four bytes free for the match stage.
    #[inline(always)]
    pub fn word(&self) -> u32 {
        self.word.load(Relaxed)
    }

    /// Sets the four free bytes.
    #[inline(always)]
    pub fn set_word(&self, word: u32) {
        self.word.store(word, Relaxed);
    }

    /// The four free bytes as another stage sees them; 0 where the line is another flow's.
    pub(super) fn word_of(&self, generation: u32) -> u32 {
        match self.generation.load(Relaxed) == generation {
            true => self.word(),
            false => 0,
        }
    }

    /// Opens the line for `generation`: wipes it when a younger flow comes, refuses an older one.
    /// The version in line 0 is not asked, so that the flow stage's core keeps that line.
    #[inline(always)]
    pub(super) fn admit(&self, generation: u32) -> bool {
        let mine = self.generation.load(Relaxed);
        if mine == generation {
            return true;
        }
        // Generations count in 31 bits, so the shift leaves their order in the sign.
        if (generation.wrapping_sub(mine) << 1) as i32 <= 0 {
            return false;
        }
        self.wipe(generation);
        true
    }

    #[inline(never)]
    fn wipe(&self, generation: u32) {
        self.set_verdict(0);
        self.set_flags(0);
        self.set_rule_set(0);
        self.set_slab(0);
        self.set_word(0);
        self.generation.store(generation, Relaxed);
    }
}

/// Sixteen bytes that are read and written as one unit.
/// Processors with AVX guarantee that aligned 16-byte moves are atomic (Intel SDM 3A 8.1.1 since
/// 2021, AMD APM 2 7.3.2); [`Atomic128::is_atomic`] asks. Without it the halves are atomic each.
#[repr(C, align(16))]
struct Atomic128([AtomicU64; 2]);

impl Atomic128 {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    #[inline(always)]
    fn load(&self) -> [u64; 2] {
        let value: std::arch::x86_64::__m128i;
        // SAFETY: self is 16 bytes, aligned to 16, and alive; the move only reads it. Inline
        // assembly, because a racing non-atomic read would be undefined where this is not.
        unsafe {
            std::arch::asm!("movdqa {value}, [{address}]", value = out(xmm_reg) value,
                address = in(reg) self, options(nostack, preserves_flags, readonly));
            std::mem::transmute::<std::arch::x86_64::__m128i, [u64; 2]>(value)
        }
    }

    #[cfg(all(target_arch = "x86_64", not(miri)))]
    #[inline(always)]
    fn store(&self, words: [u64; 2]) {
        // SAFETY: as in `load`; the atomics inside allow writing through a shared reference.
        unsafe {
            let value = std::mem::transmute::<[u64; 2], std::arch::x86_64::__m128i>(words);
            std::arch::asm!("movdqa [{address}], {value}", value = in(xmm_reg) value,
                address = in(reg) self, options(nostack, preserves_flags));
        }
    }

    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    #[inline(always)]
    fn load(&self) -> [u64; 2] {
        let [low, high] = &self.0;
        [low.load(Relaxed), high.load(Relaxed)]
    }

    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    #[inline(always)]
    fn store(&self, words: [u64; 2]) {
        for (cell, word) in self.0.iter().zip(words) {
            cell.store(word, Relaxed);
        }
    }
}

impl super::FlowSide {
    /// What the match stage wrote of the flow's protocol; 0 where it has not yet.
    pub fn spoken(&self, handle: crate::packet::FlowHandle) -> u8 {
        let is_there = self.core.holds(handle);
        let line = is_there.then(|| &self.core.entry(handle.slot).detection);
        line.map_or(0, |line| line.word_of(handle.generation) as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blank() -> Entry {
        // SAFETY: every field is an integer, atomic or not, for which zero is a valid value.
        unsafe { std::mem::zeroed() }
    }

    #[test]
    fn state_and_detection_fields_come_back_as_written() {
        let entry = blank();
        let state = FlowState {
            expiry: 3,
            phase: 4,
            verdict: 5,
            flags: 6,
            slab: 0xDEAD_BEEF,
            words: [7, 8],
        };
        entry.flow.set_state(state);
        assert_eq!(entry.flow.state(), state);
        assert!(entry.detection.admit(1));
        entry.detection.set_verdict(1);
        entry.detection.set_flags(2);
        entry.detection.set_rule_set(3);
        entry.detection.set_slab(4);
        entry.detection.set_word(5);
        assert_eq!(entry.detection.verdict(), 1);
        assert_eq!(entry.detection.flags(), 2);
        assert_eq!(entry.detection.rule_set(), 3);
        assert_eq!(entry.detection.slab(), 4);
        assert_eq!(entry.detection.word(), 5);
    }

    #[test]
    fn a_younger_flow_wipes_the_detection_line_and_an_older_one_is_refused() {
        let entry = blank();
        assert!(entry.detection.admit(5));
        entry.detection.set_verdict(9);
        assert!(entry.detection.admit(5));
        assert_eq!(entry.detection.verdict(), 9);
        assert!(!entry.detection.admit(3));
        assert_eq!(entry.detection.verdict(), 9);
        assert!(entry.detection.admit(7));
        assert_eq!(entry.detection.verdict(), 0);
        // The order holds where the 31-bit count wraps.
        assert!(entry.detection.admit(0x3000_0001));
        assert!(entry.detection.admit(0x6000_0001));
        assert!(entry.detection.admit(3));
    }
}
