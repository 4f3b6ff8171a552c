//! A burst through the table, as a software pipeline: while chunk n is hashed and its tag lines are
//! asked for, chunk n-1 compares tags and asks for entries, and chunk n-2 compares keys and answers.
//! Twenty memory accesses are then in flight instead of one. What a miss does is here too: evict if
//! the table is full, then insert.

use super::core::{Core, Inserted};
use super::line::GROUP_SLOTS;
use super::probe::{self, Instructions, Probe, Scalar};
#[cfg(all(target_arch = "x86_64", not(miri)))]
use super::probe::{Avx2, Avx512};
use super::{
    Admit, Answer, Class, FlowSide, FullReason, KeyWords, Request, TableMode, evict, key_words,
};
use crate::time::Tick;

/// A burst function for one set of instructions and one mode.
pub type BurstFn = unsafe fn(&mut FlowSide, &[Request<'_>], Tick, &mut [Answer]);

/// Packets of one pipeline step.
const CHUNK: usize = 16;
/// Chunks in flight.
const DEPTH: usize = 3;

/// What the pipeline remembers of a packet between its steps.
#[derive(Clone, Copy, Default)]
struct Pending {
    hash: u64,
    hits: u32,
}

type Chunks = [[Pending; CHUNK]; DEPTH];

/// Chooses the burst function: 1. AVX-512BW, 2. AVX2, 3. scalar.
pub fn choose(instructions: Instructions, mode: TableMode) -> BurstFn {
    match (instructions, mode) {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        (Instructions::Avx512, TableMode::Owner) => burst_avx512::<false>,
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        (Instructions::Avx512, TableMode::Shared) => burst_avx512::<true>,
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        (Instructions::Avx2, TableMode::Owner) => burst_avx2::<false>,
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        (Instructions::Avx2, TableMode::Shared) => burst_avx2::<true>,
        (_, TableMode::Owner) => burst::<Scalar, false>,
        (_, TableMode::Shared) => burst::<Scalar, true>,
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[target_feature(enable = "avx512bw,avx512f,avx2,bmi1,bmi2,popcnt")]
unsafe fn burst_avx512<const SHARED: bool>(
    side: &mut FlowSide,
    requests: &[Request<'_>],
    now: Tick,
    answers: &mut [Answer],
) {
    // SAFETY: this function is taken only where `Instructions::detect` found these instructions.
    unsafe { burst::<Avx512, SHARED>(side, requests, now, answers) }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
unsafe fn burst_avx2<const SHARED: bool>(
    side: &mut FlowSide,
    requests: &[Request<'_>],
    now: Tick,
    answers: &mut [Answer],
) {
    // SAFETY: as above, for AVX2.
    unsafe { burst::<Avx2, SHARED>(side, requests, now, answers) }
}

/// # Safety
/// The processor has the instructions of `P`.
#[inline(always)]
unsafe fn burst<P: Probe, const SHARED: bool>(
    side: &mut FlowSide,
    requests: &[Request<'_>],
    now: Tick,
    answers: &mut [Answer],
) {
    let count = requests.len().min(answers.len());
    let (requests, answers) = (&requests[..count], &mut answers[..count]);
    let chunk_count = count.div_ceil(CHUNK);
    let mut chunks: Chunks = [[Pending::default(); CHUNK]; DEPTH];
    // Closes within this burst (by eviction) may outdate the hits that step two has noted.
    let closed_before = side.counters.closed;
    for step in 0..chunk_count + 2 {
        if let Some(chunk) = chunk_of(requests, step) {
            hash_chunk(&side.core, chunk, &mut chunks[step % DEPTH]);
        }
        if let Some(previous) = step.checked_sub(1)
            && let Some(chunk) = chunk_of(requests, previous)
        {
            // SAFETY: passed on to the caller.
            unsafe { probe_chunk::<P>(&side.core, chunk, &mut chunks[previous % DEPTH]) };
        }
        let Some(oldest) = step.checked_sub(2) else {
            continue;
        };
        let Some(chunk) = chunk_of(requests, oldest) else {
            continue;
        };
        let pending = &chunks[oldest % DEPTH];
        let answers = &mut answers[oldest * CHUNK..];
        // SAFETY: passed on to the caller.
        unsafe { answer_chunk::<P, SHARED>(side, chunk, pending, closed_before, now, answers) };
    }
}

#[inline(always)]
fn chunk_of<'a, 'b>(requests: &'a [Request<'b>], index: usize) -> Option<&'a [Request<'b>]> {
    let start = index * CHUNK;
    requests
        .get(start..(start + CHUNK).min(requests.len()))
        .filter(|chunk| !chunk.is_empty())
}

/// Step one: hash, and ask for the tag line.
#[inline(always)]
fn hash_chunk(core: &Core, chunk: &[Request<'_>], pending: &mut [Pending; CHUNK]) {
    for (request, pending) in chunk.iter().zip(pending) {
        pending.hash = core.hash.hash(request.tuple);
        probe::prefetch_read(core.group(core.path(pending.hash).home));
    }
}

/// Step two: compare tags, and ask for the entry that will be read or filled.
///
/// # Safety
/// The processor has the instructions of `P`.
#[inline(always)]
unsafe fn probe_chunk<P: Probe>(
    core: &Core,
    chunk: &[Request<'_>],
    pending: &mut [Pending; CHUNK],
) {
    for (request, pending) in chunk.iter().zip(pending) {
        let home = core.path(pending.hash).home;
        let group = core.group(home);
        // SAFETY: passed on to the caller.
        unsafe {
            let line = P::load(group);
            pending.hits = probe::hits::<P>(line, Core::tag(pending.hash));
            let mut wanted = pending.hits;
            if wanted == 0 && request.admit != Admit::Never {
                wanted = probe::empty::<P>(line);
            }
            if wanted != 0 {
                let slot = home as u32 * GROUP_SLOTS + wanted.trailing_zeros();
                probe::prefetch_write(&raw const core.entry(slot).flow);
            }
        }
    }
}

/// Step three: compare keys and answer. Each answer is written where it goes, field by field: built
/// on the stack and copied, it would wait for its own stores.
///
/// # Safety
/// The processor has the instructions of `P`.
#[inline(always)]
unsafe fn answer_chunk<P: Probe, const SHARED: bool>(
    side: &mut FlowSide,
    chunk: &[Request<'_>],
    pending: &[Pending; CHUNK],
    closed_before: u64,
    now: Tick,
    answers: &mut [Answer],
) {
    for ((request, pending), answer) in chunk.iter().zip(pending).zip(answers) {
        let key = key_words(request.tuple);
        let home = side.core.path(pending.hash).home;
        let fresh = SHARED || side.counters.closed == closed_before;
        if fresh && let Some(handle) = side.core.matching_in::<SHARED>(home, pending.hits, &key) {
            *answer = Answer::Found(handle);
            continue;
        }
        // SAFETY: passed on to the caller.
        unsafe { answer_late::<P, SHARED>(side, request.admit, &key, pending.hash, now, answer) };
    }
}

/// A packet whose flow did not stand where step two expected it. The tags may have changed since:
/// an earlier packet of this burst may have created the very flow. The line is in L1 now.
///
/// # Safety
/// The processor has the instructions of `P`.
#[inline(never)]
unsafe fn answer_late<P: Probe, const SHARED: bool>(
    side: &mut FlowSide,
    admit: Admit,
    key: &KeyWords,
    hash: u64,
    now: Tick,
    answer: &mut Answer,
) {
    // SAFETY: passed on to the caller.
    *answer = match (unsafe { side.core.find::<P, SHARED>(key, hash) }, admit) {
        (Some(handle), _) => Answer::Found(handle),
        (None, Admit::Never) => Answer::Missing,
        // SAFETY: passed on to the caller.
        (None, Admit::As(class)) => unsafe { create::<P, SHARED>(side, key, hash, class, now) },
    };
}

/// A miss that may create: make room by policy, then insert.
///
/// # Safety
/// The processor has the instructions of `P`.
#[inline(never)]
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
    // SAFETY: passed on to the caller.
    match unsafe {
        side.core
            .insert::<P, SHARED>(key, hash, class, home_only, now)
    } {
        Inserted::Created { handle, passed } => {
            side.counters.created += 1;
            side.counters.overflowed += u64::from(passed != 0);
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
