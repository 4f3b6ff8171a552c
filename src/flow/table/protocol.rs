//! The protocol of one slot: claim, publish, promote, close, release; written once, for the owner's
//! plain stores and for the shared table's CAS, over the few operations of [`Slots`]. core.rs gives
//! them on the real memory; the model check at the end gives them on loom's atomics, with a table of
//! four slots, and tries every interleaving. What to evict and how to probe fast is not here.
//!
//! Life of a slot, by tag word and version (even: nobody lives here, odd: alive):
//! ```text
//!   tag 0            ──claim──►  hidden|tag  ──publish──►  half-open|tag ──promote──► established|tag
//!   version even                 version odd               version odd        │                │
//!      ▲                              │ killed, duplicate                     └─────close──────┤
//!      │                              ▼                                                        ▼
//!      └────────────────────── slot given back                  release, version even ◄── QUARANTINE
//! ```
//! Shared insert. Two inserters of one tuple must not both publish:
//! 1. raise the counts of the groups passed over, before the search of step 3 and before anyone can
//!    find the flow (so that no search stops before the new slot);
//! 2. claim by CAS 0 -> hidden|tag, in sequentially consistent order;
//! 3. write the key; search the whole path for the same tag. Whoever claims second sees the first:
//!    - published with the same key: give the slot back, the flow is there;
//!    - still hidden: the lower slot wins. The higher one gives way, the lower one *kills* the other's
//!      claim (CAS hidden|tag -> KILLED). One that gave way often kills too, so that nobody waits
//!      for a thread that was put to sleep between its claim and its publication;
//! 4. publish by CAS hidden|tag -> class|tag; it fails only if the claim was killed: give it back.
//!
//! Readers never wait: a key is believed only if the slot's version was alive and the same before
//! and after reading it. An entry's lock (a bit of the version) is held for a few stores by whoever
//! closes, releases, promotes or changes the state of a flow that several lanes may hold.

use super::line::{
    ALIVE, CLASS_HIDDEN, CLASS_MASK, GROUP_SLOTS, KILLED, LOCKED, QUARANTINE, TAG_MASK, TAG_MAX,
};
use super::{Class, FullReason};
use crate::packet::FlowHandle;
use crate::time::Tick;

/// Groups a flow may be placed in: its home and seven more.
pub const PATH_GROUPS_MAX: u32 = 8;
/// A group that so many flows passed over takes no more passers-by; below u16::MAX with room for
/// every side to add one at the same moment.
pub const PASSED_MAX: u16 = 60_000;
/// How often an inserter gives way to a lower claim before it kills it.
const YIELDS_MAX: u32 = 16;
/// Attempts of one insert before it reports the path as full; each failed one means that another
/// side succeeded meanwhile, or killed us.
const ATTEMPTS_MAX: u32 = 1024;

/// Where a flow may stand: home, then steps of a second hash.
#[derive(Clone, Copy)]
pub struct Path {
    /// Home group.
    pub home: u64,
    /// Hash of the key.
    pub hash: u64,
}

impl Path {
    /// The tag; values above [`TAG_MAX`] are reserved words.
    #[inline(always)]
    pub fn tag(self) -> u16 {
        tag(self.hash)
    }
}

/// The tag of a hash, from its lower bits; the group comes from the upper ones.
#[inline(always)]
pub fn tag(hash: u64) -> u16 {
    (((hash as u32 & 0xFFFF) * (u32::from(TAG_MAX) + 1)) >> 16) as u16
}

/// What the protocol needs of the table's memory.
pub trait Slots {
    /// Whether other threads write too.
    const SHARED: bool;
    /// A key as stored.
    type Key;

    /// Group at a position of a path.
    fn group_at(&self, path: Path, position: u32) -> u64;
    /// Path of the key stored in a slot.
    fn path_of(&self, slot: u32) -> Path;
    /// Tag word (sequentially consistent where shared).
    fn word(&self, slot: u32) -> u16;
    /// Sets a tag word that nobody else may change.
    fn set_word(&self, slot: u32, word: u16);
    /// Changes a tag word if it is still `from`.
    fn swap_word(&self, slot: u32, from: u16, to: u16) -> bool;
    /// Free slots of a group.
    fn empty(&self, group: u64) -> u32;
    /// Slots of a group with this tag, whatever their class.
    fn same_tag(&self, group: u64, tag: u16) -> u32;
    /// How many flows passed over a group.
    fn passed(&self, group: u64) -> u16;
    /// One flow more.
    fn pass(&self, group: u64);
    /// One flow less.
    fn unpass(&self, group: u64);
    /// Version of a slot.
    fn version(&self, slot: u32) -> u32;
    /// Publishes a version, after everything written before.
    fn set_version(&self, slot: u32, version: u32);
    /// Changes a version if it is still `from`.
    fn swap_version(&self, slot: u32, from: u32, to: u32) -> bool;
    /// Writes key and fresh state of a slot whose version is even.
    fn write_new(&self, slot: u32, key: &Self::Key, now: Tick);
    /// The generation in which a slot holds this key, if it does.
    fn matching(&self, slot: u32, key: &Self::Key) -> Option<u32>;
    /// Orders our claim before our reading of others' tags.
    fn claim_fence(&self);
    /// Lets others go on; `spins` counts the calls in a row.
    fn pause(&self, spins: u32);
}

/// How an insert ended.
#[derive(Debug)]
pub enum Inserted {
    /// The flow is new, and stands this many groups from home.
    Created { handle: FlowHandle, passed: u32 },
    /// Another inserter was faster.
    Present(FlowHandle),
    /// No room.
    Full(FullReason),
}

/// A new flow before it has a slot.
pub struct Newcomer<'a, K> {
    /// Its key.
    pub key: &'a K,
    /// Its path.
    pub path: Path,
    /// Its class.
    pub class: Class,
    /// Its first tick.
    pub now: Tick,
}

/// What stands in the way of a claim.
enum Rival {
    Present(FlowHandle),
    Yield,
}

/// How a claim ended.
enum Claim {
    Published(FlowHandle),
    Present(FlowHandle),
    Retry,
}

/// Inserts a flow that has just not been found. `groups` is how much of the path it may use.
#[inline(always)]
pub fn insert<S: Slots>(slots: &S, newcomer: &Newcomer<'_, S::Key>, groups: u32) -> Inserted {
    for attempt in 0..ATTEMPTS_MAX {
        let (slot, passed) = match place(slots, newcomer.path, groups) {
            Ok(place) => place,
            Err(reason) => return Inserted::Full(reason),
        };
        if !S::SHARED {
            return Inserted::Created {
                handle: settle(slots, newcomer, slot, passed),
                passed,
            };
        }
        match claim(slots, newcomer, slot, passed, attempt) {
            Claim::Published(handle) => return Inserted::Created { handle, passed },
            Claim::Present(handle) => return Inserted::Present(handle),
            Claim::Retry => slots.pause(attempt),
        }
        if let Some(handle) = published(slots, newcomer.path, newcomer.key) {
            return Inserted::Present(handle);
        }
    }
    Inserted::Full(FullReason::Contended)
}

/// The first free slot on the path, and how many groups lie before it.
#[inline(always)]
fn place<S: Slots>(slots: &S, path: Path, groups: u32) -> Result<(u32, u32), FullReason> {
    for position in 0..groups {
        let group = slots.group_at(path, position);
        let free = slots.empty(group);
        if free != 0 {
            return Ok((group as u32 * GROUP_SLOTS + free.trailing_zeros(), position));
        }
        if slots.passed(group) >= PASSED_MAX {
            return Err(FullReason::Crowded);
        }
    }
    Err(FullReason::NoRoom)
}

/// Owner mode: nobody else writes, so order is all that matters (for readers elsewhere).
#[inline(always)]
fn settle<S: Slots>(
    slots: &S,
    newcomer: &Newcomer<'_, S::Key>,
    slot: u32,
    passed: u32,
) -> FlowHandle {
    raise(slots, newcomer.path, passed);
    let generation = slots.version(slot) | ALIVE;
    slots.write_new(slot, newcomer.key, newcomer.now);
    slots.set_version(slot, generation);
    slots.set_word(slot, newcomer.class.bits() | newcomer.path.tag());
    FlowHandle { slot, generation }
}

/// Shared mode: steps 1 to 4 of the protocol above, for one slot.
#[inline(always)]
fn claim<S: Slots>(
    slots: &S,
    newcomer: &Newcomer<'_, S::Key>,
    slot: u32,
    passed: u32,
    attempt: u32,
) -> Claim {
    let path = newcomer.path;
    let hidden = CLASS_HIDDEN | path.tag();
    raise(slots, path, passed);
    if !slots.swap_word(slot, 0, hidden) {
        lower(slots, path, passed);
        return Claim::Retry;
    }
    slots.claim_fence();
    let generation = slots.version(slot) | ALIVE;
    slots.write_new(slot, newcomer.key, newcomer.now);
    slots.set_version(slot, generation);
    let handle = FlowHandle { slot, generation };
    let rival = rival(slots, newcomer, slot, passed, attempt >= YIELDS_MAX);
    let word = newcomer.class.bits() | path.tag();
    if rival.is_none() && slots.swap_word(slot, hidden, word) {
        return Claim::Published(handle);
    }
    // Someone with a stale view of this slot's tag may hold our handle already, and its lock.
    lock(slots, handle);
    slots.set_version(slot, next_free(generation));
    slots.set_word(slot, 0);
    lower(slots, path, passed);
    match rival {
        Some(Rival::Present(handle)) => Claim::Present(handle),
        _ => Claim::Retry,
    }
}

/// Looks for the same key on the whole path after our claim of `slot`. None: nobody else can
/// publish it before we do.
#[inline(always)]
fn rival<S: Slots>(
    slots: &S,
    newcomer: &Newcomer<'_, S::Key>,
    slot: u32,
    passed: u32,
    impatient: bool,
) -> Option<Rival> {
    for position in 0..PATH_GROUPS_MAX {
        let group = slots.group_at(newcomer.path, position);
        let mut mask = slots.same_tag(group, newcomer.path.tag());
        while mask != 0 {
            let other = group as u32 * GROUP_SLOTS + mask.trailing_zeros();
            mask &= mask - 1;
            if other == slot {
                continue;
            }
            let rival = judge(slots, newcomer, slot, other, impatient);
            if rival.is_some() {
                return rival;
            }
        }
        if position >= passed && slots.passed(group) == 0 {
            break;
        }
    }
    None
}

/// One slot with our tag: a published twin, a claim to yield to, or nothing (any more).
fn judge<S: Slots>(
    slots: &S,
    newcomer: &Newcomer<'_, S::Key>,
    slot: u32,
    other: u32,
    impatient: bool,
) -> Option<Rival> {
    for _ in 0..ATTEMPTS_MAX {
        let seen = slots.word(other);
        if seen & TAG_MASK != newcomer.path.tag() || seen & CLASS_MASK == 0 {
            return None;
        }
        if seen & CLASS_MASK == CLASS_HIDDEN {
            if other < slot && !impatient {
                return Some(Rival::Yield);
            }
            if slots.swap_word(other, seen, KILLED) {
                return None;
            }
            continue;
        }
        let before = slots.version(other) & !LOCKED;
        if let Some(generation) = slots.matching(other, newcomer.key) {
            return Some(Rival::Present(FlowHandle {
                slot: other,
                generation,
            }));
        }
        // A different key, unless the slot changed hands while we read it.
        if slots.version(other) & !LOCKED == before && before & ALIVE != 0 {
            return None;
        }
    }
    Some(Rival::Yield)
}

/// The published flow of this key, if there is one; the slow search, for retries.
#[inline(always)]
pub fn published<S: Slots>(slots: &S, path: Path, key: &S::Key) -> Option<FlowHandle> {
    for position in 0..PATH_GROUPS_MAX {
        let group = slots.group_at(path, position);
        let mut mask = slots.same_tag(group, path.tag());
        while mask != 0 {
            let slot = group as u32 * GROUP_SLOTS + mask.trailing_zeros();
            mask &= mask - 1;
            if Class::of(slots.word(slot)).is_some()
                && let Some(generation) = slots.matching(slot, key)
            {
                return Some(FlowHandle { slot, generation });
            }
        }
        if slots.passed(group) == 0 {
            break;
        }
    }
    None
}

/// Ends a flow for searches: the tag goes, the slot waits for its release. False if the handle is
/// stale or the flow was closed before.
#[inline(always)]
pub fn close<S: Slots>(slots: &S, handle: FlowHandle) -> bool {
    if !enter(slots, handle) {
        return false;
    }
    let open = Class::of(slots.word(handle.slot)).is_some();
    if open {
        let path = slots.path_of(handle.slot);
        slots.set_word(handle.slot, QUARANTINE);
        let group = u64::from(handle.slot / GROUP_SLOTS);
        if group != path.home {
            let passed = (1..PATH_GROUPS_MAX).find(|&place| slots.group_at(path, place) == group);
            lower(slots, path, passed.unwrap_or(0));
        }
    }
    leave(slots, handle);
    open
}

/// Makes a closed slot free again and its handles stale. False if it is not in quarantine.
#[inline(always)]
pub fn release<S: Slots>(slots: &S, handle: FlowHandle) -> bool {
    if !enter(slots, handle) {
        return false;
    }
    if slots.word(handle.slot) != QUARANTINE {
        leave(slots, handle);
        return false;
    }
    slots.set_version(handle.slot, next_free(handle.generation));
    slots.set_word(handle.slot, 0);
    true
}

/// Half-open to established. False if the handle is stale or the flow is not half-open.
#[inline(always)]
pub fn promote<S: Slots>(slots: &S, handle: FlowHandle) -> bool {
    if !enter(slots, handle) {
        return false;
    }
    let seen = slots.word(handle.slot);
    let half_open = Class::of(seen) == Some(Class::HalfOpen);
    if half_open {
        slots.set_word(handle.slot, Class::Established.bits() | (seen & TAG_MASK));
    }
    leave(slots, handle);
    half_open
}

/// Before a change: the handle's flow lives in its slot, and stays there until [`leave`].
#[inline(always)]
pub fn enter<S: Slots>(slots: &S, handle: FlowHandle) -> bool {
    if S::SHARED {
        return handle.generation & ALIVE != 0 && lock(slots, handle);
    }
    slots.version(handle.slot) == handle.generation && handle.generation & ALIVE != 0
}

/// After a change.
#[inline(always)]
pub fn leave<S: Slots>(slots: &S, handle: FlowHandle) {
    if S::SHARED {
        slots.set_version(handle.slot, handle.generation);
    }
}

/// Takes an entry's lock, if the handle's flow lives there. Writers hold it for a few stores, so
/// the loop is bounded by them; [`Slots::pause`] gives the processor to one that was put to sleep.
#[inline(always)]
fn lock<S: Slots>(slots: &S, handle: FlowHandle) -> bool {
    let (open, locked) = (handle.generation, handle.generation | LOCKED);
    let mut spins = 0;
    while !slots.swap_version(handle.slot, open, locked) {
        if slots.version(handle.slot) & !LOCKED != open {
            return false;
        }
        slots.pause(spins);
        spins += 1;
    }
    true
}

#[inline(always)]
fn raise<S: Slots>(slots: &S, path: Path, passed: u32) {
    (0..passed).for_each(|position| slots.pass(slots.group_at(path, position)));
}

#[inline(always)]
fn lower<S: Slots>(slots: &S, path: Path, passed: u32) {
    (0..passed).for_each(|position| slots.unpass(slots.group_at(path, position)));
}

/// The free version after a generation; 31 bits, wrapping.
#[inline(always)]
fn next_free(generation: u32) -> u32 {
    generation.wrapping_add(1) & !LOCKED
}

#[cfg(all(test, feature = "loom"))]
mod model {
    //! Run with `cargo test --features loom --release --lib flow::table::protocol`.
    use super::*;
    use crate::flow::table::line::{CLASS_ESTABLISHED, CLASS_HALF_OPEN};
    use loom::sync::Arc;
    use loom::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
    use loom::sync::atomic::{AtomicU16, AtomicU32, fence};
    use loom::thread;

    /// Two groups of two slots; keys are two words, to be torn if they can be. Loom takes sequentially
    /// consistent accesses for acquire and release only, so tag words and counts are read and written
    /// by read-modify-write operations, which see the latest value, as the real ones do.
    struct Small {
        words: [AtomicU16; 4],
        versions: [AtomicU32; 4],
        keys: [[AtomicU32; 2]; 4],
        passed: [AtomicU16; 2],
    }

    /// Slot numbers keep thirty to a group; this is the index of one here.
    fn at(slot: u32) -> usize {
        (slot / GROUP_SLOTS * 2 + slot % GROUP_SLOTS) as usize
    }

    impl Small {
        fn new() -> Small {
            Small {
                words: std::array::from_fn(|_| AtomicU16::new(0)),
                versions: std::array::from_fn(|_| AtomicU32::new(0)),
                keys: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU32::new(0))),
                passed: std::array::from_fn(|_| AtomicU16::new(0)),
            }
        }

        fn mask(&self, group: u64, wanted: impl Fn(u16) -> bool) -> u32 {
            (0..2).fold(0, |mask, bit| {
                let word = self.words[group as usize * 2 + bit].fetch_or(0, SeqCst);
                mask | u32::from(wanted(word)) << bit
            })
        }
    }

    impl Slots for Small {
        const SHARED: bool = true;
        type Key = u32;

        fn group_at(&self, path: Path, position: u32) -> u64 {
            (path.home + u64::from(position)) % 2
        }
        fn path_of(&self, slot: u32) -> Path {
            path(self.keys[at(slot)][0].load(Relaxed))
        }
        fn word(&self, slot: u32) -> u16 {
            self.words[at(slot)].fetch_or(0, SeqCst)
        }
        fn set_word(&self, slot: u32, word: u16) {
            self.words[at(slot)].swap(word, SeqCst);
        }
        fn swap_word(&self, slot: u32, from: u16, to: u16) -> bool {
            self.words[at(slot)]
                .compare_exchange(from, to, SeqCst, SeqCst)
                .is_ok()
        }
        fn empty(&self, group: u64) -> u32 {
            self.mask(group, |word| word == 0)
        }
        fn same_tag(&self, group: u64, tag: u16) -> u32 {
            self.mask(group, |word| word != 0 && word & TAG_MASK == tag)
        }
        fn passed(&self, group: u64) -> u16 {
            self.passed[group as usize].fetch_or(0, SeqCst)
        }
        fn pass(&self, group: u64) {
            self.passed[group as usize].fetch_add(1, SeqCst);
        }
        fn unpass(&self, group: u64) {
            self.passed[group as usize].fetch_sub(1, SeqCst);
        }
        fn version(&self, slot: u32) -> u32 {
            self.versions[at(slot)].load(Acquire)
        }
        fn set_version(&self, slot: u32, version: u32) {
            self.versions[at(slot)].store(version, Release);
        }
        fn swap_version(&self, slot: u32, from: u32, to: u32) -> bool {
            self.versions[at(slot)]
                .compare_exchange(from, to, AcqRel, Relaxed)
                .is_ok()
        }
        fn write_new(&self, slot: u32, key: &u32, _: Tick) {
            fence(Release);
            self.keys[at(slot)]
                .iter()
                .for_each(|word| word.store(*key, Relaxed));
        }
        fn matching(&self, slot: u32, key: &u32) -> Option<u32> {
            let before = self.version(slot) & !LOCKED;
            let same = self.keys[at(slot)]
                .iter()
                .all(|word| word.load(Relaxed) == *key);
            fence(Acquire);
            let after = self.versions[at(slot)].load(Relaxed) & !LOCKED;
            (same && before == after && before & ALIVE != 0).then_some(before)
        }
        fn claim_fence(&self) {}
        fn pause(&self, _: u32) {
            thread::yield_now();
        }
    }

    /// All keys share a tag; odd and even ones differ in home.
    fn path(key: u32) -> Path {
        Path {
            home: u64::from(key % 2),
            hash: 0,
        }
    }

    fn put(table: &Small, key: u32) -> Inserted {
        if let Some(handle) = published(table, path(key), &key) {
            return Inserted::Present(handle);
        }
        let newcomer = Newcomer {
            key: &key,
            path: path(key),
            class: Class::Established,
            now: Tick(0),
        };
        insert(table, &newcomer, 2)
    }

    fn settled(table: &Small) -> usize {
        let words = table.words.iter().map(|word| word.load(SeqCst));
        for (word, version) in table.words.iter().zip(&table.versions) {
            let (word, version) = (word.load(SeqCst), version.load(SeqCst));
            assert_eq!(word != 0, version & ALIVE != 0, "{word:x} {version:x}");
            assert_eq!(version & LOCKED, 0);
        }
        words.fold(0, |count, word| {
            let class = word & CLASS_MASK;
            assert!(
                word == 0 || class == CLASS_ESTABLISHED || class == CLASS_HALF_OPEN,
                "{word:x}"
            );
            count + usize::from(word != 0)
        })
    }

    fn model(check: impl Fn() + Sync + Send + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(check);
    }

    #[test]
    fn two_inserts_of_one_key_publish_one_flow() {
        model(|| {
            let table = Arc::new(Small::new());
            let other = Arc::clone(&table);
            let thread = thread::spawn(move || put(&other, 2));
            let (one, two) = (put(&table, 2), thread.join().unwrap());
            let created = [&one, &two]
                .iter()
                .filter(|inserted| matches!(inserted, Inserted::Created { .. }))
                .count();
            assert_eq!(created, 1, "{one:?} {two:?}");
            assert_eq!(settled(&table), 1);
            let handle = published(&*table, path(2), &2).expect("not lost");
            assert!(close(&*table, handle) && release(&*table, handle));
            assert_eq!(
                (settled(&table), table.passed(0), table.passed(1)),
                (0, 0, 0)
            );
        });
    }

    #[test]
    fn a_later_claim_of_a_lower_slot_does_not_double_the_flow() {
        model(|| {
            let table = Arc::new(Small::new());
            let Inserted::Created { handle, .. } = put(&table, 2) else {
                panic!("room")
            };
            let other = Arc::clone(&table);
            let thread = thread::spawn(move || put(&other, 4));
            assert!(close(&*table, handle) && release(&*table, handle));
            let (one, two) = (put(&table, 4), thread.join().unwrap());
            let created = [&one, &two]
                .iter()
                .filter(|inserted| matches!(inserted, Inserted::Created { .. }))
                .count();
            assert_eq!((created, settled(&table)), (1, 1), "{one:?} {two:?}");
        });
    }

    /// One side passes over the full home while the other finds a place freed there.
    #[test]
    fn a_claim_beyond_the_home_and_one_in_it_make_one_flow() {
        model(|| {
            let table = Arc::new(Small::new());
            let Inserted::Created { handle, .. } = put(&table, 2) else {
                panic!("room")
            };
            put(&table, 4);
            let other = Arc::clone(&table);
            let thread = thread::spawn(move || put(&other, 6));
            assert!(close(&*table, handle) && release(&*table, handle));
            let (one, two) = (put(&table, 6), thread.join().unwrap());
            let created = [&one, &two]
                .iter()
                .filter(|inserted| matches!(inserted, Inserted::Created { .. }))
                .count();
            assert_eq!((created, settled(&table)), (1, 2), "{one:?} {two:?}");
            let handle = published(&*table, path(6), &6).expect("not lost");
            assert!(close(&*table, handle) && release(&*table, handle));
            assert_eq!((table.passed(0), table.passed(1)), (0, 0));
        });
    }

    /// Eviction: a flow is ended by one side while two others search for it and make it anew.
    #[test]
    fn a_flow_ended_while_others_want_it_is_there_once() {
        model(|| {
            let table = Arc::new(Small::new());
            let Inserted::Created { handle, .. } = put(&table, 2) else {
                panic!("room")
            };
            let (first, second) = (Arc::clone(&table), Arc::clone(&table));
            let evictor = thread::spawn(move || close(&*first, handle) && release(&*first, handle));
            let thread = thread::spawn(move || put(&second, 2));
            let one = put(&table, 2);
            let two = thread.join().unwrap();
            assert!(evictor.join().unwrap());
            let mut created = vec![];
            for inserted in [one, two] {
                match inserted {
                    Inserted::Created { handle, .. } => created.push(handle),
                    Inserted::Present(_) => (),
                    Inserted::Full(reason) => panic!("{reason:?}"),
                }
            }
            let left = published(&*table, path(2), &2);
            assert_eq!(settled(&table), created.len());
            assert_eq!(left, created.pop(), "no two, and what was made stays");
            assert!(created.is_empty());
        });
    }

    /// A stale view of a tag may have given someone the handle of a claim that is then given back.
    #[test]
    fn a_claim_given_back_is_free_even_if_someone_holds_its_lock() {
        model(|| {
            let table = Arc::new(Small::new());
            put(&table, 2);
            let other = Arc::clone(&table);
            let (slot, generation) = (1, ALIVE);
            let thread = thread::spawn(move || close(&*other, FlowHandle { slot, generation }));
            let newcomer = Newcomer {
                key: &2,
                path: path(2),
                class: Class::Established,
                now: Tick(0),
            };
            assert!(matches!(
                claim(&*table, &newcomer, slot, 0, 0),
                Claim::Present(_)
            ));
            assert!(!thread.join().unwrap(), "it was never published");
            assert_eq!(settled(&table), 1);
        });
    }

    #[test]
    fn two_keys_of_one_tag_are_both_there() {
        model(|| {
            let table = Arc::new(Small::new());
            let other = Arc::clone(&table);
            let thread = thread::spawn(move || put(&other, 4));
            let (one, two) = (put(&table, 2), thread.join().unwrap());
            assert!(matches!(one, Inserted::Created { .. }), "{one:?}");
            assert!(matches!(two, Inserted::Created { .. }), "{two:?}");
            assert!(published(&*table, path(2), &2).is_some());
            assert!(published(&*table, path(4), &4).is_some());
            assert_eq!(settled(&table), 2);
        });
    }

    #[test]
    fn a_slot_closed_and_taken_by_another_key_is_never_taken_for_the_old_one() {
        model(|| {
            let table = Arc::new(Small::new());
            let Inserted::Created { handle, .. } = put(&table, 2) else {
                panic!("room")
            };
            let other = Arc::clone(&table);
            let thread = thread::spawn(move || {
                assert!(close(&*other, handle) && release(&*other, handle));
                put(&other, 4)
            });
            if let Some(found) = published(&*table, path(2), &2) {
                assert_eq!(found, handle, "the old flow, under its own name");
            }
            if let Some(found) = published(&*table, path(4), &4) {
                assert_ne!(
                    found, handle,
                    "the new one is not known by the old one's name"
                );
            }
            promote(&*table, handle);
            let taken = thread.join().unwrap();
            assert!(matches!(taken, Inserted::Created { handle: new, .. } if new != handle));
            assert!(!close(&*table, handle));
            assert_eq!(settled(&table), 1);
        });
    }

    #[test]
    fn one_of_two_closers_wins_and_overflow_counts_come_back() {
        model(|| {
            let table = Arc::new(Small::new());
            put(&table, 2);
            put(&table, 4);
            // Group 0 is full, so this one passes over it.
            let Inserted::Created { handle, passed: 1 } = put(&table, 6) else {
                panic!("room")
            };
            let other = Arc::clone(&table);
            let thread = thread::spawn(move || close(&*other, handle));
            let here = close(&*table, handle);
            assert!(here != thread.join().unwrap());
            assert_eq!((table.passed(0), table.passed(1)), (0, 0));
            assert!(release(&*table, handle));
            assert_eq!(settled(&table), 2);
        });
    }
}
