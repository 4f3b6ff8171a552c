//! A burst through the table, as a software pipeline: while one packet is hashed and its tag line is
//! asked for, an earlier one compares tags and asks for its entry, and a still earlier one compares
//! keys and answers. Twenty memory accesses are then in flight instead of one. What a miss does is here too: evict if
//! the table is full, then insert.

use super::core::{Core, View};
use super::line::GROUP_SLOTS;
use super::probe::{self, Instructions, Probe, Scalar};
#[cfg(all(target_arch = "x86_64", not(miri)))]
use super::probe::{Avx2, Avx512};
use super::protocol::{self, Inserted, Newcomer, PATH_GROUPS_MAX};
use super::{
    Admit, Answer, Class, FlowSide, FullReason, KeyWords, Request, TableMode, Visit, Visitor,
    evict, key_words,
};
use crate::packet::FlowHandle;
use crate::time::Tick;
use std::sync::atomic::Ordering::Relaxed;

/// Packets of one pipeline step. A pipeline that turns packet by packet is 1.7 times slower (its
/// stores and loads of different packets get into each other's way).
const CHUNK: usize = 64;
/// Lines are asked for twice: into the second-level cache at once, because it can have two to three
/// times as many under way as the first, and into the first so many packets before their use. The
/// second asking also makes good the requests of the first kind that a busy memory drops.
const NEAR: usize = 8;
/// Chunks under way.
const DEPTH: usize = 3;

/// What the pipeline remembers of a packet between its steps.
#[derive(Clone, Copy, Default)]
struct Pending {
    hash: u64,
    home: u32,
    hits: u32,
    /// Place in the home group whose entry was asked for; [`NO_PLACE`]: none.
    place: u32,
}

/// The chunks under way: a side keeps them, because to clear them for each burst would cost as much
/// as to hash it.
pub struct Pipeline([[Pending; CHUNK]; DEPTH]);

impl Default for Pipeline {
    fn default() -> Pipeline {
        Pipeline([[Pending::default(); CHUNK]; DEPTH])
    }
}

/// No place in a group.
const NO_PLACE: u32 = u32::MAX;

/// Runs a burst with the best instructions: 1. AVX-512BW, 2. AVX2, 3. scalar.
#[inline(always)]
pub fn run(side: &mut FlowSide, requests: &[Request<'_>], now: Tick, visitor: &mut impl Visitor) {
    // SAFETY: `FlowSide::new` took `instructions` by `or_scalar`, so the processor has them.
    unsafe {
        match (side.instructions, side.mode) {
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            (Instructions::Avx512, TableMode::Owner) => {
                burst_avx512::<false>(side, requests, now, visitor);
            }
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            (Instructions::Avx512, TableMode::Shared) => {
                burst_avx512::<true>(side, requests, now, visitor);
            }
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            (Instructions::Avx2, TableMode::Owner) => {
                burst_avx2::<false>(side, requests, now, visitor);
            }
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            (Instructions::Avx2, TableMode::Shared) => {
                burst_avx2::<true>(side, requests, now, visitor);
            }
            (_, TableMode::Owner) => burst::<Scalar, false, _>(side, requests, now, visitor),
            (_, TableMode::Shared) => burst::<Scalar, true, _>(side, requests, now, visitor),
        }
    }
}

/// Answers one packet alone, with the best instructions.
pub fn one(side: &mut FlowSide, request: &Request<'_>, now: Tick) -> Answer {
    let hash = side.core.hash.hash(request.tuple);
    // SAFETY: as in `run`.
    unsafe {
        match (side.instructions, side.mode) {
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            (Instructions::Avx512, TableMode::Owner) => {
                Avx512::late::<false>(side, request, hash, now)
            }
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            (Instructions::Avx512, TableMode::Shared) => {
                Avx512::late::<true>(side, request, hash, now)
            }
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            (Instructions::Avx2, TableMode::Owner) => Avx2::late::<false>(side, request, hash, now),
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            (Instructions::Avx2, TableMode::Shared) => Avx2::late::<true>(side, request, hash, now),
            (_, TableMode::Owner) => Scalar::late::<false>(side, request, hash, now),
            (_, TableMode::Shared) => Scalar::late::<true>(side, request, hash, now),
        }
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[target_feature(enable = "avx512bw,avx512f,avx2,bmi1,bmi2,popcnt")]
unsafe fn burst_avx512<const SHARED: bool>(
    side: &mut FlowSide,
    requests: &[Request<'_>],
    now: Tick,
    visitor: &mut impl Visitor,
) {
    // SAFETY: this function is taken only where these instructions are.
    unsafe { burst::<Avx512, SHARED, _>(side, requests, now, visitor) }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
unsafe fn burst_avx2<const SHARED: bool>(
    side: &mut FlowSide,
    requests: &[Request<'_>],
    now: Tick,
    visitor: &mut impl Visitor,
) {
    // SAFETY: as above, for AVX2.
    unsafe { burst::<Avx2, SHARED, _>(side, requests, now, visitor) }
}

/// The pipeline: while chunk n is hashed, n - 1 is probed and n - 2 answered.
///
/// # Safety
/// The processor has the instructions of `P`.
#[inline(always)]
unsafe fn burst<P: Late, const SHARED: bool, V: Visitor>(
    side: &mut FlowSide,
    requests: &[Request<'_>],
    now: Tick,
    visitor: &mut V,
) {
    // Each chunk is written before it is read, so what it holds from the time before does no harm.
    let mut pipeline = side.pipeline.take().unwrap_or_default();
    let chunks = &mut pipeline.0;
    // Closes within this burst (evictions, the caller's) may outdate the hits of step two.
    let closed_before = side.counters.closed;
    for step in 0..requests.len().div_ceil(CHUNK) + 2 {
        if let Some((requests, _)) = step.checked_sub(1).and_then(|step| chunk(requests, step)) {
            let pendings = &mut chunks[(step + 2) % DEPTH];
            for (index, request) in requests.iter().enumerate() {
                if let Some(near) = pendings
                    .get(index + NEAR)
                    .filter(|_| index + NEAR < requests.len())
                {
                    probe::prefetch_read(side.core.group(u64::from(near.home)));
                }
                if let Some(pending) = pendings.get_mut(index) {
                    // SAFETY: passed on to the caller.
                    unsafe { probe_one::<P>(&side.core, request, pending) };
                }
            }
        }
        if let Some((requests, _)) = chunk(requests, step) {
            hash_chunk(&side.core, requests, &mut chunks[step % DEPTH]);
        }
        if let Some((requests, first)) = step.checked_sub(2).and_then(|step| chunk(requests, step))
        {
            let pendings = &chunks[(step + 1) % DEPTH];
            for (index, (request, pending)) in requests.iter().zip(pendings).enumerate() {
                if let Some(near) = pendings
                    .get(index + NEAR)
                    .filter(|near| index + NEAR < requests.len() && near.place != NO_PLACE)
                {
                    let home = u64::from(near.home);
                    probe::prefetch_write(&raw const side.core.entry_at(home, near.place).flow);
                }
                let fresh = SHARED || side.counters.closed == closed_before;
                let hits = if fresh { pending.hits } else { 0 };
                let records = V::RECORDS;
                // SAFETY: passed on to the caller.
                let answer =
                    unsafe { answer_one::<P, SHARED>(side, request, pending, hits, now, records) };
                visitor.visit(Visit {
                    side,
                    index: first + index,
                    answer,
                    shared: SHARED,
                });
            }
        }
    }
    side.pipeline = Some(pipeline);
}

/// The requests of one chunk, and the index of its first.
#[inline(always)]
fn chunk<'a, 'b>(requests: &'a [Request<'b>], chunk: usize) -> Option<(&'a [Request<'b>], usize)> {
    let first = chunk * CHUNK;
    let end = (first + CHUNK).min(requests.len());
    requests
        .get(first..end)
        .filter(|chunk| !chunk.is_empty())
        .map(|chunk| (chunk, first))
}

/// Step one: hash, and ask for the tag lines. The secrets are copied first: behind a reference they
/// would be loaded anew after every prefetch.
#[inline(always)]
fn hash_chunk(core: &Core, requests: &[Request<'_>], pendings: &mut [Pending; CHUNK]) {
    let secrets = core.hash.clone();
    for (request, pending) in requests.iter().zip(pendings) {
        let hash = secrets.hash(request.tuple);
        let home = core.path(hash).home;
        probe::prefetch_second(core.group(home));
        *pending = Pending {
            hash,
            home: home as u32,
            hits: 0,
            place: NO_PLACE,
        };
    }
}

/// Step two: compare tags, and ask for the entry that will be read or filled.
///
/// # Safety
/// The processor has the instructions of `P`.
#[inline(always)]
unsafe fn probe_one<P: Probe>(core: &Core, request: &Request<'_>, pending: &mut Pending) {
    // SAFETY: passed on to the caller.
    unsafe {
        let group = core.group(u64::from(pending.home));
        let line = P::load(group);
        pending.hits = probe::hits::<P>(line, protocol::tag(pending.hash));
        let mut wanted = pending.hits;
        if wanted == 0 {
            if group.overflow.load(Relaxed) != 0 {
                let second = core.group_at(core.path(pending.hash), 1);
                probe::prefetch_read(core.group(second));
            }
            if request.admit != Admit::Never {
                wanted = probe::empty::<P>(line);
            }
        }
        if wanted != 0 {
            let (home, place) = (u64::from(pending.home), wanted.trailing_zeros());
            probe::prefetch_second(&raw const core.entry_at(home, place).flow);
            pending.place = place;
        }
    }
}

/// Step three: compare keys and answer. `records`: the entry's second line is asked for.
///
/// # Safety
/// The processor has the instructions of `P`.
#[inline(always)]
unsafe fn answer_one<P: Late, const SHARED: bool>(
    side: &mut FlowSide,
    request: &Request<'_>,
    pending: &Pending,
    mut hits: u32,
    now: Tick,
    records: bool,
) -> Answer {
    while hits != 0 {
        let (home, place) = (u64::from(pending.home), hits.trailing_zeros());
        hits &= hits - 1;
        // SAFETY: passed on to the caller.
        let found = unsafe {
            side.core
                .matching_tuple::<P, SHARED>(home, place, request.tuple)
        };
        if let Some(generation) = found {
            if records {
                probe::prefetch_write(side.core.entry_at(home, place).record.get());
            }
            let slot = pending.home * GROUP_SLOTS + place;
            return Answer::Found(FlowHandle { slot, generation });
        }
    }
    // SAFETY: passed on to the caller.
    let answer = unsafe { P::late::<SHARED>(side, request, pending.hash, now) };
    if let Answer::Found(flow) | Answer::Created(flow) = answer
        && records
    {
        probe::prefetch_write(side.core.entry(flow.slot).record.get());
    }
    answer
}

/// The rare answers of each probe, in a function of its own that has the probe's instructions too:
/// called from one that lacks them, every compare would be a call through memory.
trait Late: Probe + Sized {
    /// Answers a packet whose flow did not stand where step two expected it.
    ///
    /// # Safety
    /// The processor has the instructions of this probe.
    unsafe fn late<const SHARED: bool>(
        side: &mut FlowSide,
        request: &Request<'_>,
        hash: u64,
        now: Tick,
    ) -> Answer;
}

macro_rules! late {
    ($probe:ty $(, $features:literal)?) => {
        impl Late for $probe {
            #[inline(never)]
            $(#[target_feature(enable = $features)])?
            unsafe fn late<const SHARED: bool>(
                side: &mut FlowSide,
                request: &Request<'_>,
                hash: u64,
                now: Tick,
            ) -> Answer {
                // SAFETY: passed on to the caller.
                unsafe { answer_late::<Self, SHARED>(side, request, hash, now) }
            }
        }
    };
}

late!(Scalar);
#[cfg(all(target_arch = "x86_64", not(miri)))]
late!(Avx2, "avx2,bmi1,bmi2,popcnt");
#[cfg(all(target_arch = "x86_64", not(miri)))]
late!(Avx512, "avx512bw,avx512f,avx2,bmi1,bmi2,popcnt");

/// The tags may have changed since step two: an earlier packet of this burst may have created the
/// very flow. The line is in L1 now.
///
/// # Safety
/// The processor has the instructions of `P`.
#[inline(always)]
unsafe fn answer_late<P: Probe, const SHARED: bool>(
    side: &mut FlowSide,
    request: &Request<'_>,
    hash: u64,
    now: Tick,
) -> Answer {
    let key = &key_words(request.tuple);
    // SAFETY: passed on to the caller.
    if let Some(handle) = unsafe { side.core.find::<P, SHARED>(key, hash) } {
        return Answer::Found(handle);
    }
    match request.admit {
        Admit::Never => Answer::Missing,
        // SAFETY: passed on to the caller.
        Admit::As(class) => unsafe { create::<P, SHARED>(side, key, hash, class, now) },
    }
}

/// A miss that may create: make room by policy, then insert.
///
/// # Safety
/// The processor has the instructions of `P`.
#[inline(always)]
unsafe fn create<P: Probe, const SHARED: bool>(
    side: &mut FlowSide,
    key: &KeyWords,
    hash: u64,
    class: Class,
    now: Tick,
) -> Answer {
    // SAFETY: passed on to the caller.
    let made = unsafe { evict::make_room::<P, SHARED>(side, hash, class, now) };
    let home_only = match made {
        Ok(home_only) => home_only,
        Err(reason) => return refuse(side, reason),
    };
    let newcomer = Newcomer {
        key,
        path: side.core.path(hash),
        class,
        now,
    };
    let groups = if home_only { 1 } else { PATH_GROUPS_MAX };
    // SAFETY: passed on to the caller.
    let view = unsafe { View::<P, SHARED>::new(&side.core) };
    match protocol::insert(&view, &newcomer, groups) {
        Inserted::Created { handle, passed } => {
            side.counters.created += 1;
            side.counters.overflowed += u64::from(passed != 0);
            side.note_holding(handle.slot);
            side.publish_created();
            Answer::Created(handle)
        }
        Inserted::Present(handle) => Answer::Found(handle),
        Inserted::Full(_) if home_only => refuse(side, FullReason::HalfOpenCap),
        Inserted::Full(FullReason::NoRoom) => {
            // SAFETY: passed on to the caller.
            let _ = unsafe { evict::displace::<P, SHARED>(side, hash, class, now) };
            refuse(side, FullReason::NoRoom)
        }
        Inserted::Full(reason) => refuse(side, reason),
    }
}

#[cold]
fn refuse(side: &mut FlowSide, reason: FullReason) -> Answer {
    if let Some(counter) = side.counters.full.get_mut(reason as usize) {
        *counter += 1;
    }
    Answer::Full(reason)
}
