//! The table's memory and the protocol of one slot: find, claim, publish, close, release.
//! Everything here is generic over the probe (which instructions) and over `SHARED`: false means
//! that one thread alone writes (plain stores), true means that any side may write (CAS). What to
//! evict, when to sweep and how a burst is pipelined is not decided here.
//!
//! Life of a slot, by tag word and version (even: nobody lives here, odd: alive):
//! ```text
//!   tag 0            ──claim──►  hidden|tag  ──publish──►  half-open|tag ──promote──► established|tag
//!   version even                 version even              version odd        │                │
//!      ▲                              │ killed, duplicate                     └─────close──────┤
//!      │                              ▼                                                        ▼
//!      └────────────────────── slot given back                  release, version even ◄── QUARANTINE
//! ```
//! Shared insert. Two inserters of one tuple must not both publish:
//! 1. raise `overflow` of the groups passed over (so that no search stops before the new slot);
//! 2. claim by CAS 0 -> hidden|tag, in sequentially consistent order;
//! 3. write the key; search the whole path for the same tag. Whoever claims second sees the first:
//!    - published with the same key: give the slot back, the flow is there;
//!    - still hidden: the lower slot wins. The higher one gives way, or, being the lower, *kills* the
//!      other's claim (CAS hidden|tag -> KILLED). One that gave way often kills too, so that nobody
//!      waits for a thread that was put to sleep between its claim and its publication;
//! 4. publish by CAS hidden|tag -> class|tag; it fails only if the claim was killed: give it back.
//!
//! Readers never wait: a key is believed only if the slot's version was alive and the same before
//! and after reading it.

use super::hash::{FlowHash, KeyWords, reduce};
use super::line::{
    ALIVE, CLASS_HIDDEN, CLASS_MASK, Entry, FlowLine, GROUP_SLOTS, Group, KILLED, LOCKED,
    QUARANTINE, TAG_MASK,
};
use super::probe::{self, Probe, Scalar};
use super::{Class, FullReason, TableConfig, TablePlan};
use crate::memory::{HugePages, MemoryError, PageKind};
use crate::packet::{FlowHandle, Tuple};
use crate::time::Tick;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU16, AtomicU64, fence};

/// Groups a flow may be placed in: its home and seven more.
pub const PATH_GROUPS_MAX: u32 = 8;
/// A group that so many flows passed over takes no more passers-by; below u16::MAX with room for
/// every side to add one at the same moment.
const OVERFLOW_MAX: u16 = 60_000;
/// How often an inserter gives way to a lower claim before it kills it.
const YIELDS_MAX: u32 = 16;
/// Attempts of one insert before it reports the path as full; each failed one means that another
/// side succeeded meanwhile, or killed us.
const ATTEMPTS_MAX: u32 = 1024;
/// Spins for an entry's lock before the processor is offered to someone else.
const LOCK_SPINS_MAX: u32 = 1024;

/// Flows created and closed by one side, on a line of its own.
#[repr(align(64))]
#[derive(Default)]
pub struct Population {
    pub created: AtomicU64,
    pub closed: AtomicU64,
}

/// The memory of one table.
pub struct Core {
    groups: NonNull<Group>,
    entries: NonNull<Entry>,
    group_count: u64,
    slot_count: u32,
    pub flows_max: u32,
    pub hash: FlowHash,
    pub populations: Vec<Population>,
    tag_pages: HugePages,
    entry_pages: HugePages,
}

// SAFETY: the pointers lead into the mappings owned by the same value, and everything behind them
// is made of atomics, reached only through shared references.
unsafe impl Send for Core {}
// SAFETY: as above.
unsafe impl Sync for Core {}

/// Where a flow may stand: home, then steps of a second hash.
#[derive(Clone, Copy)]
pub struct Path {
    pub home: u64,
    hash: u64,
}

/// How a claim ended.
enum Claim {
    Published(FlowHandle),
    Present(FlowHandle),
    Retry,
}

/// How an insert ended.
pub enum Inserted {
    Created { handle: FlowHandle, passed: u32 },
    Present(FlowHandle),
    Full(FullReason),
}

impl Core {
    /// Maps, touches and zeroes the memory of `plan`.
    pub fn new(
        plan: &TablePlan,
        config: &TableConfig,
        hash: FlowHash,
        sides: usize,
    ) -> Result<Core, MemoryError> {
        let tag_pages = HugePages::map("flow table tags", plan.tag_size, config.pages)?;
        let entry_pages = HugePages::map("flow table entries", plan.entry_size, config.pages)?;
        Ok(Core {
            groups: tag_pages.as_ptr().cast(),
            entries: entry_pages.as_ptr().cast(),
            group_count: u64::from(plan.group_count),
            slot_count: plan.group_count * GROUP_SLOTS,
            flows_max: plan.flows_max,
            hash,
            populations: (0..sides).map(|_| Population::default()).collect(),
            tag_pages,
            entry_pages,
        })
    }

    pub fn group_count(&self) -> u64 {
        self.group_count
    }

    /// Bytes mapped.
    pub fn size(&self) -> usize {
        self.tag_pages.len() + self.entry_pages.len()
    }

    /// The worse of the two mappings' pages.
    pub fn page_kind(&self) -> PageKind {
        self.tag_pages.kind().worse(self.entry_pages.kind())
    }

    /// Flows alive, as far as the sides have counted.
    pub fn population(&self) -> u64 {
        // Closed first: a flow may be closed between the two sums, never closed before created.
        let closed: u64 = self
            .populations
            .iter()
            .map(|side| side.closed.load(Acquire))
            .sum();
        let created: u64 = self
            .populations
            .iter()
            .map(|side| side.created.load(Acquire))
            .sum();
        created.saturating_sub(closed)
    }

    #[inline(always)]
    pub fn group(&self, index: u64) -> &Group {
        debug_assert!(index < self.group_count);
        // SAFETY: every index comes from `Path::group` or a loop below group_count, and the
        // mapping holds group_count groups (zeroed, a valid state) for as long as self lives.
        unsafe { self.groups.add(index as usize).as_ref() }
    }

    /// The entry of a slot that this table made.
    #[inline(always)]
    pub fn entry(&self, slot: u32) -> &Entry {
        debug_assert!(slot < self.slot_count);
        // SAFETY: callers pass slots of a group (index < group_count, position < 30) or handles
        // that `holds` has checked; the mapping holds slot_count entries for as long as self lives.
        unsafe { self.entries.add(slot as usize).as_ref() }
    }

    /// Whether the slot exists at all: handles come from outside.
    #[inline(always)]
    pub fn holds(&self, handle: FlowHandle) -> bool {
        handle.slot < self.slot_count
    }

    /// Line 0, if the handle's flow still lives there.
    #[inline(always)]
    pub fn line(&self, handle: FlowHandle) -> Option<&FlowLine> {
        if !self.holds(handle) {
            return None;
        }
        let line = &self.entry(handle.slot).flow;
        (line.generation() == handle.generation && handle.generation & ALIVE != 0).then_some(line)
    }

    #[inline(always)]
    pub fn path(&self, hash: u64) -> Path {
        Path {
            home: reduce(hash, self.group_count),
            hash,
        }
    }

    /// The tag of a hash; the two values above [`TAG_MAX`] are reserved words.
    #[inline(always)]
    pub fn tag(hash: u64) -> u16 {
        (((hash as u32 & 0xFFFF) * (u32::from(super::line::TAG_MAX) + 1)) >> 16) as u16
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
        slot: u32,
        tuple: &Tuple,
    ) -> Option<u32> {
        let line = &self.entry(slot).flow;
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
        let mask = unsafe { probe::hits::<P>(P::load(home), Self::tag(hash)) };
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
    #[cold]
    #[inline(never)]
    pub unsafe fn find_beyond<P: Probe, const SHARED: bool>(
        &self,
        key: &KeyWords,
        hash: u64,
    ) -> Option<FlowHandle> {
        let path = self.path(hash);
        for position in 1..PATH_GROUPS_MAX {
            let index = path.group(position, self.group_count);
            let group = self.group(index);
            // SAFETY: passed on to the caller.
            let mask = unsafe { probe::hits::<P>(P::load(group), Self::tag(hash)) };
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
            let index = path.group(position, self.group_count);
            let group = self.group(index);
            lines += 1;
            // SAFETY: the scalar probe needs no special instructions.
            let mut mask = unsafe { probe::hits::<Scalar>(Scalar::load(group), Self::tag(hash)) };
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

    /// Inserts a flow that the caller has just not found. `home_only` forbids other groups.
    ///
    /// # Safety
    /// The processor has the instructions of `P`.
    pub unsafe fn insert<P: Probe, const SHARED: bool>(
        &self,
        key: &KeyWords,
        hash: u64,
        class: Class,
        home_only: bool,
        now: Tick,
    ) -> Inserted {
        let path = self.path(hash);
        let groups = if home_only { 1 } else { PATH_GROUPS_MAX };
        for attempt in 0..ATTEMPTS_MAX {
            // SAFETY: passed on to the caller.
            let place = unsafe { self.place::<P>(path, groups) };
            let (slot, passed) = match place {
                Ok(place) => place,
                Err(reason) => return Inserted::Full(reason),
            };
            if !SHARED {
                let handle = self.insert_alone(slot, path, passed, key, class, now);
                return Inserted::Created { handle, passed };
            }
            // SAFETY: passed on to the caller.
            match unsafe { self.claim::<P>(slot, path, passed, key, class, now, attempt) } {
                Claim::Published(handle) => return Inserted::Created { handle, passed },
                Claim::Present(handle) => return Inserted::Present(handle),
                Claim::Retry => {}
            }
            // SAFETY: passed on to the caller.
            if let Some(handle) = unsafe { self.find::<P, SHARED>(key, hash) } {
                return Inserted::Present(handle);
            }
        }
        Inserted::Full(FullReason::Contended)
    }

    /// The first free slot on the path, and how many groups lie before it.
    ///
    /// # Safety
    /// The processor has the instructions of `P`.
    #[inline(always)]
    unsafe fn place<P: Probe>(&self, path: Path, groups: u32) -> Result<(u32, u32), FullReason> {
        for position in 0..groups {
            let index = path.group(position, self.group_count);
            let group = self.group(index);
            // SAFETY: passed on to the caller.
            let free = unsafe { probe::empty::<P>(P::load(group)) };
            if free != 0 {
                return Ok((index as u32 * GROUP_SLOTS + free.trailing_zeros(), position));
            }
            if group.overflow.load(Relaxed) >= OVERFLOW_MAX {
                return Err(FullReason::Crowded);
            }
        }
        Err(FullReason::NoRoom)
    }

    /// Owner mode: nobody else writes, so order is all that matters (for readers elsewhere).
    #[inline(always)]
    fn insert_alone(
        &self,
        slot: u32,
        path: Path,
        passed: u32,
        key: &KeyWords,
        class: Class,
        now: Tick,
    ) -> FlowHandle {
        self.raise_overflow::<false>(path, passed);
        let line = &self.entry(slot).flow;
        let generation = (line.version.load(Relaxed) | ALIVE) & !LOCKED;
        fence(Release);
        line.write_new(key, now);
        line.version.store(generation, Release);
        if let Some(word) = self.tag_word(slot) {
            word.store(class.bits() | Self::tag(path.hash), Release);
        }
        FlowHandle { slot, generation }
    }

    /// Shared mode: steps 1 to 4 of the protocol above, for one slot.
    ///
    /// # Safety
    /// The processor has the instructions of `P`.
    #[allow(clippy::too_many_arguments)]
    unsafe fn claim<P: Probe>(
        &self,
        slot: u32,
        path: Path,
        passed: u32,
        key: &KeyWords,
        class: Class,
        now: Tick,
        attempt: u32,
    ) -> Claim {
        let Some(word) = self.tag_word(slot) else {
            return Claim::Retry;
        };
        let hidden = CLASS_HIDDEN | Self::tag(path.hash);
        self.raise_overflow::<true>(path, passed);
        if word.compare_exchange(0, hidden, SeqCst, Relaxed).is_err() {
            self.lower_overflow::<true>(path, passed);
            return Claim::Retry;
        }
        claim_fence();
        let line = &self.entry(slot).flow;
        let free = line.version.load(Relaxed);
        let generation = free | ALIVE;
        fence(Release);
        line.write_new(key, now);
        line.version.store(generation, Release);
        // SAFETY: passed on to the caller.
        let rival = unsafe { self.rival::<P>(slot, path, passed, key, attempt >= YIELDS_MAX) };
        let handle = FlowHandle { slot, generation };
        let published = class.bits() | (hidden & TAG_MASK);
        if rival.is_none()
            && word
                .compare_exchange(hidden, published, SeqCst, Relaxed)
                .is_ok()
        {
            return Claim::Published(handle);
        }
        // Someone with a stale view of this slot's tag may hold our handle already, and its lock.
        self.lock(handle);
        line.version.store(next_free(generation), Release);
        word.store(0, SeqCst);
        self.lower_overflow::<true>(path, passed);
        match rival {
            Some(Rival::Present(handle)) => Claim::Present(handle),
            _ => {
                for _ in 0..attempt.min(64) {
                    std::hint::spin_loop();
                }
                Claim::Retry
            }
        }
    }

    /// Looks for the same key on the whole path after our claim of `slot`. None: nobody else can
    /// publish it before we do.
    ///
    /// # Safety
    /// The processor has the instructions of `P`.
    unsafe fn rival<P: Probe>(
        &self,
        slot: u32,
        path: Path,
        passed: u32,
        key: &KeyWords,
        impatient: bool,
    ) -> Option<Rival> {
        for position in 0..PATH_GROUPS_MAX {
            let index = path.group(position, self.group_count);
            let group = self.group(index);
            // SAFETY: passed on to the caller.
            let mut mask = unsafe { probe::same_tag::<P>(P::load(group), Self::tag(path.hash)) };
            while mask != 0 {
                let other = index as u32 * GROUP_SLOTS + mask.trailing_zeros();
                mask &= mask - 1;
                if other != slot
                    && let Some(rival) = self.judge(slot, other, path, key, impatient)
                {
                    return Some(rival);
                }
            }
            if position >= passed && group.overflow.load(SeqCst) == 0 {
                break;
            }
        }
        None
    }

    /// One slot with our tag: a published twin, a claim to yield to, or nothing (any more).
    fn judge(
        &self,
        slot: u32,
        other: u32,
        path: Path,
        key: &KeyWords,
        impatient: bool,
    ) -> Option<Rival> {
        let tag = Self::tag(path.hash);
        let word = self.tag_word(other)?;
        for _ in 0..ATTEMPTS_MAX {
            let seen = word.load(SeqCst);
            if seen & TAG_MASK != tag || seen == 0 {
                return None;
            }
            if seen & CLASS_MASK == CLASS_HIDDEN {
                if other < slot && !impatient {
                    return Some(Rival::Yield);
                }
                if word.compare_exchange(seen, KILLED, SeqCst, Relaxed).is_ok() {
                    return None;
                }
                continue;
            }
            if seen & CLASS_MASK == 0 {
                return None;
            }
            let before = self.entry(other).flow.generation();
            if let Some(generation) = self.matching::<true>(other, key) {
                return Some(Rival::Present(FlowHandle {
                    slot: other,
                    generation,
                }));
            }
            // A different key, unless the slot changed hands while we read it.
            if self.entry(other).flow.generation() == before && before & ALIVE != 0 {
                return None;
            }
        }
        Some(Rival::Yield)
    }

    /// Ends a flow for searches: the tag goes, the slot waits for its release. False if the handle
    /// is stale or the flow was closed before.
    pub fn close<const SHARED: bool>(&self, handle: FlowHandle) -> bool {
        let Some(line) = self.line(handle) else {
            return false;
        };
        let Some(word) = self.tag_word(handle.slot) else {
            return false;
        };
        if SHARED && !self.lock(handle) {
            return false;
        }
        let class = word.load(SeqCst) & CLASS_MASK;
        let open = class != 0 && class != CLASS_HIDDEN;
        if open {
            let path = self.path(self.hash.hash_words(&line.key_words()));
            word.store(QUARANTINE, if SHARED { SeqCst } else { Release });
            let passed = path.position(u64::from(handle.slot / GROUP_SLOTS), self.group_count);
            self.lower_overflow::<SHARED>(path, passed);
        }
        if SHARED {
            line.version.store(handle.generation, Release);
        }
        open
    }

    /// Makes a closed slot free again and its handles stale. False if it is not in quarantine.
    pub fn release<const SHARED: bool>(&self, handle: FlowHandle) -> bool {
        let Some(line) = self.line(handle) else {
            return false;
        };
        let Some(word) = self.tag_word(handle.slot) else {
            return false;
        };
        if SHARED && !self.lock(handle) {
            return false;
        }
        if word.load(SeqCst) != QUARANTINE {
            if SHARED {
                line.version.store(handle.generation, Release);
            }
            return false;
        }
        line.version.store(next_free(handle.generation), Release);
        word.store(0, if SHARED { SeqCst } else { Release });
        true
    }

    /// Half-open to established. False if the handle is stale or the flow is not half-open.
    pub fn promote<const SHARED: bool>(&self, handle: FlowHandle) -> bool {
        let Some(line) = self.line(handle) else {
            return false;
        };
        let Some(word) = self.tag_word(handle.slot) else {
            return false;
        };
        if SHARED && !self.lock(handle) {
            return false;
        }
        let seen = word.load(Relaxed);
        let half_open = seen & CLASS_MASK == Class::HalfOpen.bits();
        if half_open {
            word.store(Class::Established.bits() | (seen & TAG_MASK), Release);
        }
        if SHARED {
            line.version.store(handle.generation, Release);
        }
        half_open
    }

    /// Takes an entry's lock, if the handle's flow lives there. Writers hold it for a few stores.
    #[inline(always)]
    pub fn lock(&self, handle: FlowHandle) -> bool {
        let version = &self.entry(handle.slot).flow.version;
        let (open, locked) = (handle.generation, handle.generation | LOCKED);
        let mut spins = 0;
        // Bounded by the holder's few stores; a holder that was put to sleep is waited for by
        // giving the processor away.
        while let Err(seen) = version.compare_exchange_weak(open, locked, AcqRel, Relaxed) {
            if seen & !LOCKED != open {
                return false;
            }
            spins += 1;
            if spins % LOCK_SPINS_MAX == 0 {
                std::thread::yield_now();
            }
            std::hint::spin_loop();
        }
        true
    }

    /// Gives an entry's lock back.
    #[inline(always)]
    pub fn unlock(&self, handle: FlowHandle) {
        self.entry(handle.slot)
            .flow
            .version
            .store(handle.generation, Release);
    }

    #[inline(always)]
    fn raise_overflow<const SHARED: bool>(&self, path: Path, passed: u32) {
        for position in 0..passed {
            let overflow = &self.group(path.group(position, self.group_count)).overflow;
            if SHARED {
                overflow.fetch_add(1, SeqCst);
            } else {
                overflow.store(overflow.load(Relaxed).wrapping_add(1), Relaxed);
            }
        }
    }

    #[inline(always)]
    fn lower_overflow<const SHARED: bool>(&self, path: Path, passed: u32) {
        for position in 0..passed {
            let overflow = &self.group(path.group(position, self.group_count)).overflow;
            if SHARED {
                overflow.fetch_sub(1, SeqCst);
            } else {
                overflow.store(overflow.load(Relaxed).wrapping_sub(1), Release);
            }
        }
    }
}

/// What stands in the way of a claim.
enum Rival {
    Present(FlowHandle),
    Yield,
}

impl Path {
    /// Index of the group at a position of the path.
    #[inline(always)]
    pub fn group(self, position: u32, group_count: u64) -> u64 {
        if position == 0 {
            return self.home;
        }
        // The group count is prime, so any step visits different groups.
        let spread = self.hash.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (self.hash << 40);
        let step = 1 + reduce(spread, group_count - 1);
        (self.home + u64::from(position) * step) % group_count
    }

    /// Position of a group on the path; the last one if it is not on it at all, which cannot be for
    /// a flow of this hash.
    #[inline(always)]
    fn position(self, group: u64, group_count: u64) -> u32 {
        if self.home == group {
            return 0;
        }
        (1..PATH_GROUPS_MAX - 1)
            .find(|&position| self.group(position, group_count) == group)
            .unwrap_or(PATH_GROUPS_MAX - 1)
    }
}

/// The free version after a generation; 31 bits, wrapping.
#[inline(always)]
fn next_free(generation: u32) -> u32 {
    generation.wrapping_add(1) & !LOCKED
}

/// Orders our claim before our reading of others' tags. On x86 the locked CAS has done so already,
/// and the probe's assembly is not moved by the compiler.
#[inline(always)]
fn claim_fence() {
    #[cfg(not(target_arch = "x86_64"))]
    fence(SeqCst);
    #[cfg(target_arch = "x86_64")]
    std::sync::atomic::compiler_fence(SeqCst);
}
