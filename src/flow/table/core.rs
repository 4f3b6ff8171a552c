//! The table's memory, and the protocol's operations (table/protocol.rs) on it.
//! Everything is generic over the probe (which instructions) and over `SHARED`: false means that one
//! thread alone writes (plain stores), true means that any side may write (CAS). What to evict, when
//! to sweep and how a burst is pipelined is not decided here.

use super::hash::{FlowHash, KeyWords, reduce};
use super::line::{ALIVE, Block, Entry, FlowLine, GROUP_SLOTS, Group, HALF, LOCKED};
use super::probe::{self, Probe, Scalar};
use super::protocol::{self, PATH_GROUPS_MAX, Path, Slots};
use super::{TableConfig, TablePlan};
use crate::memory::{HugePages, MemoryError, PageKind};
use crate::packet::{FlowHandle, Tuple};
use crate::time::Tick;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
#[cfg(all(target_arch = "x86_64", not(miri)))]
use std::sync::atomic::compiler_fence;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, fence};

/// Spins for an entry's lock before the processor is offered to someone else.
const SPINS_MAX: u32 = 1024;

/// Flows created and closed by one side, on a line of its own.
#[repr(align(64))]
#[derive(Default)]
pub struct Population {
    pub created: AtomicU64,
    pub closed: AtomicU64,
}

/// The memory of one table.
pub struct Core {
    blocks: NonNull<Block>,
    group_count: u64,
    slot_count: u32,
    pub flows_max: u32,
    pub hash: FlowHash,
    pub populations: Vec<Population>,
    pages: HugePages,
}

// SAFETY: the pointers lead into the mappings owned by the same value, and everything behind them
// is made of atomics, reached only through shared references, or a record, reached only through the
// one RecordSide of an owner's table.
unsafe impl Send for Core {}
// SAFETY: as above.
unsafe impl Sync for Core {}

impl Core {
    /// Maps, touches and zeroes the memory of `plan`.
    pub fn new(
        plan: &TablePlan,
        config: &TableConfig,
        hash: FlowHash,
        sides: usize,
    ) -> Result<Core, MemoryError> {
        let pages = HugePages::map("flow table", plan.size(), config.pages)?;
        Ok(Core {
            blocks: pages.as_ptr().cast(),
            group_count: u64::from(plan.group_count),
            slot_count: plan.group_count * GROUP_SLOTS,
            flows_max: plan.flows_max,
            hash,
            populations: (0..sides).map(|_| Population::default()).collect(),
            pages,
        })
    }

    pub fn group_count(&self) -> u64 {
        self.group_count
    }

    /// Bytes mapped.
    pub fn size(&self) -> usize {
        self.pages.len()
    }

    /// The pages it stands on.
    pub fn page_kind(&self) -> PageKind {
        self.pages.kind()
    }

    /// Flows alive, as far as the sides have counted.
    pub fn population(&self) -> u64 {
        // Created first: whoever is put to sleep between the two sums must count too few flows then,
        // not too many, or it would evict without need.
        let created: u64 = self
            .populations
            .iter()
            .map(|side| side.created.load(Acquire))
            .sum();
        let closed: u64 = self
            .populations
            .iter()
            .map(|side| side.closed.load(Acquire))
            .sum();
        created.saturating_sub(closed)
    }

    #[inline(always)]
    pub fn group(&self, index: u64) -> &Group {
        debug_assert!(index < self.group_count);
        // SAFETY: every index comes from `Path::group` or a loop below group_count, and the
        // mapping holds group_count blocks (zeroed, a valid state) for as long as self lives.
        unsafe { &(*self.blocks.as_ptr().add(index as usize)).group }
    }

    /// The entry of a slot that this table made.
    #[inline(always)]
    pub fn entry(&self, slot: u32) -> &Entry {
        debug_assert!(slot < self.slot_count);
        // One line of tags lies before it for each block, and its own block's behind the first half:
        // a division, and no remainder.
        let line = 2 * slot as usize + (slot as usize + HALF) / GROUP_SLOTS as usize;
        // SAFETY: as for `entry_at`, whose place this is (tested for all slots of a table).
        unsafe {
            let lines = self.blocks.as_ptr().cast::<[u8; 64]>();
            &*lines.add(line).cast::<Entry>()
        }
    }

    /// As [`Core::entry`], the slot being known as a place in its group.
    #[inline(always)]
    pub fn entry_at(&self, group: u64, position: u32) -> &Entry {
        debug_assert!(group < self.group_count && position < GROUP_SLOTS);
        // The tags' line lies between the halves.
        let line = 2 * position as usize + usize::from(position as usize >= HALF);
        // SAFETY: callers pass places in a group (index < group_count, position < 30) or slots of
        // handles that `holds` has checked; the mapping holds group_count blocks for as long as self
        // lives, and an entry of a block begins at that line of it (asserted in line.rs).
        unsafe {
            let lines = self.blocks.as_ptr().add(group as usize).cast::<[u8; 64]>();
            &*lines.add(line).cast::<Entry>()
        }
    }

    /// Whether the slot exists at all: handles come from outside.
    #[inline(always)]
    pub fn holds(&self, handle: FlowHandle) -> bool {
        handle.slot < self.slot_count
    }

    /// Cache lines of all entries.
    #[inline(always)]
    pub fn line_count(&self) -> u64 {
        u64::from(self.slot_count) * 2
    }

    /// First word of a line of the entries: a version or a detection generation.
    #[inline(always)]
    pub fn line_word(&self, index: u64) -> Option<&AtomicU32> {
        if index >= self.line_count() {
            return None;
        }
        let entry = self.entry((index / 2) as u32);
        Some(match index % 2 {
            0 => &entry.flow.version,
            _ => &entry.detection.generation,
        })
    }

    /// Line 0, if the handle's flow still lives there.
    #[inline(always)]
    pub fn line(&self, handle: FlowHandle) -> Option<&FlowLine> {
        if !self.holds(handle) {
            return None;
        }
        Core::live(&self.entry(handle.slot).flow, handle)
    }

    /// Line 0 of a handle's slot, if its flow still lives there.
    #[inline(always)]
    pub fn live(line: &FlowLine, handle: FlowHandle) -> Option<&FlowLine> {
        (line.generation() == handle.generation && handle.generation & ALIVE != 0).then_some(line)
    }

    #[inline(always)]
    pub fn path(&self, hash: u64) -> Path {
        Path {
            home: reduce(hash, self.group_count),
            hash,
        }
    }

    /// Group at a position of a path.
    #[inline(always)]
    pub fn group_at(&self, path: Path, position: u32) -> u64 {
        if position == 0 {
            return path.home;
        }
        // The group count is prime, so any step visits different groups.
        let spread = path.hash.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (path.hash << 40);
        let step = 1 + reduce(spread, self.group_count - 1);
        (path.home + u64::from(position) * step) % self.group_count
    }

    /// The tag word of a slot.
    #[inline(always)]
    pub fn tag_word(&self, slot: u32) -> Option<&AtomicU16> {
        self.group(u64::from(slot / GROUP_SLOTS))
            .tags
            .get((slot % GROUP_SLOTS) as usize)
    }

    /// Whether `slot` holds this key, and in which generation.
    #[inline(always)]
    pub fn matching<const SHARED: bool>(&self, slot: u32, key: &KeyWords) -> Option<u32> {
        let line = &self.entry(slot).flow;
        let before = line.generation();
        if line.key_differs(key) {
            return None;
        }
        Self::settled::<SHARED>(line, before)
    }

    /// As [`Core::matching`], by the probe's own compare.
    ///
    /// # Safety
    /// The processor has the instructions of `P`.
    #[inline(always)]
    pub unsafe fn matching_tuple<P: Probe, const SHARED: bool>(
        &self,
        group: u64,
        position: u32,
        tuple: &Tuple,
    ) -> Option<u32> {
        let line = &self.entry_at(group, position).flow;
        let before = line.generation();
        // SAFETY: passed on to the caller.
        if unsafe { P::key_differs(line, tuple) } {
            return None;
        }
        Self::settled::<SHARED>(line, before)
    }

    /// The generation read before a key, if the key just read belongs to it.
    #[inline(always)]
    fn settled<const SHARED: bool>(line: &FlowLine, before: u32) -> Option<u32> {
        if SHARED {
            fence(Acquire);
            let after = line.version.load(Relaxed) & !LOCKED;
            if before != after || before & ALIVE == 0 {
                return None;
            }
        }
        Some(before)
    }

    /// Searches the slots of `mask` in one group for the key.
    #[inline(always)]
    pub fn matching_in<const SHARED: bool>(
        &self,
        group: u64,
        mut mask: u32,
        key: &KeyWords,
    ) -> Option<FlowHandle> {
        while mask != 0 {
            let slot = group as u32 * GROUP_SLOTS + mask.trailing_zeros();
            mask &= mask - 1;
            if let Some(generation) = self.matching::<SHARED>(slot, key) {
                return Some(FlowHandle { slot, generation });
            }
        }
        None
    }

    /// The flow of this key, if it is published.
    ///
    /// # Safety
    /// The processor has the instructions of `P`.
    #[inline(always)]
    pub unsafe fn find<P: Probe, const SHARED: bool>(
        &self,
        key: &KeyWords,
        hash: u64,
    ) -> Option<FlowHandle> {
        let path = self.path(hash);
        let home = self.group(path.home);
        // SAFETY: passed on to the caller.
        let mask = unsafe { probe::hits::<P>(P::load(home), protocol::tag(hash)) };
        let found = self.matching_in::<SHARED>(path.home, mask, key);
        if found.is_some() || home.overflow.load(Acquire) == 0 {
            return found;
        }
        // SAFETY: passed on to the caller.
        unsafe { self.find_beyond::<P, SHARED>(key, hash) }
    }

    /// The rest of [`Core::find`]: groups after the home. Under one flow in a hundred needs it.
    ///
    /// # Safety
    /// The processor has the instructions of `P`.
    #[inline(always)]
    unsafe fn find_beyond<P: Probe, const SHARED: bool>(
        &self,
        key: &KeyWords,
        hash: u64,
    ) -> Option<FlowHandle> {
        let path = self.path(hash);
        for position in 1..PATH_GROUPS_MAX {
            let index = self.group_at(path, position);
            let group = self.group(index);
            // SAFETY: passed on to the caller.
            let mask = unsafe { probe::hits::<P>(P::load(group), protocol::tag(hash)) };
            let found = self.matching_in::<SHARED>(index, mask, key);
            if found.is_some() || group.overflow.load(Acquire) == 0 {
                return found;
            }
        }
        None
    }

    /// Lines that [`Core::find`] reads for this key.
    pub fn lines_touched(&self, key: &KeyWords) -> u32 {
        let hash = self.hash.hash_words(key);
        let path = self.path(hash);
        let mut lines = 0;
        for position in 0..PATH_GROUPS_MAX {
            let index = self.group_at(path, position);
            let group = self.group(index);
            lines += 1;
            // SAFETY: the scalar probe needs no special instructions.
            let mut mask =
                unsafe { probe::hits::<Scalar>(Scalar::load(group), protocol::tag(hash)) };
            while mask != 0 {
                lines += 1;
                let slot = index as u32 * GROUP_SLOTS + mask.trailing_zeros();
                if self.matching::<true>(slot, key).is_some() {
                    return lines;
                }
                mask &= mask - 1;
            }
            if group.overflow.load(Acquire) == 0 {
                break;
            }
        }
        lines
    }
}

/// The table as the protocol sees it, with the instructions of `P`.
pub struct View<'a, P, const SHARED: bool> {
    core: &'a Core,
    probe: PhantomData<P>,
}

impl<'a, P: Probe, const SHARED: bool> View<'a, P, SHARED> {
    /// # Safety
    /// The processor has the instructions of `P`.
    #[inline(always)]
    pub unsafe fn new(core: &'a Core) -> View<'a, P, SHARED> {
        View {
            core,
            probe: PhantomData,
        }
    }

    #[inline(always)]
    fn version_of(&self, slot: u32) -> &AtomicU32 {
        &self.core.entry(slot).flow.version
    }
}

impl<'a, const SHARED: bool> View<'a, Scalar, SHARED> {
    /// For what needs no probing.
    #[inline(always)]
    pub fn plain(core: &'a Core) -> View<'a, Scalar, SHARED> {
        View {
            core,
            probe: PhantomData,
        }
    }
}

impl<P: Probe, const SHARED: bool> Slots for View<'_, P, SHARED> {
    const SHARED: bool = SHARED;
    type Key = KeyWords;

    #[inline(always)]
    fn group_at(&self, path: Path, position: u32) -> u64 {
        self.core.group_at(path, position)
    }

    #[inline(always)]
    fn path_of(&self, slot: u32) -> Path {
        let key = self.core.entry(slot).flow.key_words();
        self.core.path(self.core.hash.hash_words(&key))
    }

    #[inline(always)]
    fn word(&self, slot: u32) -> u16 {
        self.core.tag_word(slot).map_or(0, |word| word.load(SeqCst))
    }

    #[inline(always)]
    fn set_word(&self, slot: u32, value: u16) {
        if let Some(word) = self.core.tag_word(slot) {
            word.store(value, if SHARED { SeqCst } else { Release });
        }
    }

    #[inline(always)]
    fn swap_word(&self, slot: u32, from: u16, to: u16) -> bool {
        let Some(word) = self.core.tag_word(slot) else {
            return false;
        };
        word.compare_exchange(from, to, SeqCst, SeqCst).is_ok()
    }

    #[inline(always)]
    fn empty(&self, group: u64) -> u32 {
        // SAFETY: whoever made this view vouched for the instructions.
        unsafe { probe::empty::<P>(P::load(self.core.group(group))) }
    }

    #[inline(always)]
    fn same_tag(&self, group: u64, tag: u16) -> u32 {
        // SAFETY: as above.
        unsafe { probe::same_tag::<P>(P::load(self.core.group(group)), tag) }
    }

    #[inline(always)]
    fn passed(&self, group: u64) -> u16 {
        self.core.group(group).overflow.load(SeqCst)
    }

    #[inline(always)]
    fn pass(&self, group: u64) {
        let overflow = &self.core.group(group).overflow;
        if SHARED {
            overflow.fetch_add(1, SeqCst);
        } else {
            overflow.store(overflow.load(Relaxed).wrapping_add(1), Relaxed);
        }
    }

    #[inline(always)]
    fn unpass(&self, group: u64) {
        let overflow = &self.core.group(group).overflow;
        if SHARED {
            overflow.fetch_sub(1, SeqCst);
        } else {
            overflow.store(overflow.load(Relaxed).wrapping_sub(1), Release);
        }
    }

    #[inline(always)]
    fn version(&self, slot: u32) -> u32 {
        self.version_of(slot).load(Acquire)
    }

    #[inline(always)]
    fn set_version(&self, slot: u32, version: u32) {
        self.version_of(slot).store(version, Release);
    }

    #[inline(always)]
    fn swap_version(&self, slot: u32, from: u32, to: u32) -> bool {
        self.version_of(slot)
            .compare_exchange_weak(from, to, AcqRel, Relaxed)
            .is_ok()
    }

    #[inline(always)]
    fn write_new(&self, slot: u32, key: &KeyWords, now: Tick) {
        // The even version must be seen by whoever sees a word of the new key.
        fence(Release);
        self.core.entry(slot).flow.write_new(key, now);
    }

    #[inline(always)]
    fn matching(&self, slot: u32, key: &KeyWords) -> Option<u32> {
        self.core.matching::<SHARED>(slot, key)
    }

    /// On x86 the locked CAS has ordered them already, and the compiler does not move the probe's
    /// assembly.
    #[inline(always)]
    fn claim_fence(&self) {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        compiler_fence(SeqCst);
        #[cfg(not(all(target_arch = "x86_64", not(miri))))]
        fence(SeqCst);
    }

    #[inline(always)]
    fn pause(&self, spins: u32) {
        if spins % SPINS_MAX == SPINS_MAX - 1 {
            std::thread::yield_now();
        }
        std::hint::spin_loop();
    }
}
