//! A burst through the table, as a software pipeline: while one packet is hashed and its tag line is
//! asked for, an earlier one compares tags and asks for its entry, and a still earlier one compares
//! keys and answers. Twenty memory accesses are then in flight instead of one. What a miss does is here too: evict if
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

/// Packets between two steps of the pipeline: enough lines in flight to cover one memory access.
const DISTANCE: usize = 12;
/// Packets the pipeline remembers; more than two distances, a power of two.
const WINDOW: usize = 32;

const _: () = assert!(WINDOW > 2 * DISTANCE && WINDOW.is_power_of_two());

/// What the pipeline remembers of a packet between its steps.
#[derive(Clone, Copy, Default)]
struct Pending {
    hash: u64,
    home: u32,
    hits: u32,
}

/// Runs a burst with the best instructions: 1. AVX-512BW, 2. AVX2, 3. scalar.
#[inline(always)]
pub fn run(
    side: &mut FlowSide,
    requests: &[Request<'_>],
    now: Tick,
    each: impl FnMut(&mut FlowSide, usize, Answer),
) {
    // SAFETY: `FlowSide::new` took `instructions` by `or_scalar`, so the processor has them.
    unsafe {
        match (side.instructions, side.mode) {
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            (Instructions::Avx512, TableMode::Owner) => {
                burst_avx512::<false>(side, requests, now, each);
            }
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            (Instructions::Avx512, TableMode::Shared) => {
                burst_avx512::<true>(side, requests, now, each);
            }
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            (Instructions::Avx2, TableMode::Owner) => {
                burst_avx2::<false>(side, requests, now, each);
            }
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            (Instructions::Avx2, TableMode::Shared) => {
                burst_avx2::<true>(side, requests, now, each);
            }
            (_, TableMode::Owner) => burst::<Scalar, false>(side, requests, now, each),
            (_, TableMode::Shared) => burst::<Scalar, true>(side, requests, now, each),
        }
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[target_feature(enable = "avx512bw,avx512f,avx2,bmi1,bmi2,popcnt")]
unsafe fn burst_avx512<const SHARED: bool>(
    side: &mut FlowSide,
    requests: &[Request<'_>],
    now: Tick,
    each: impl FnMut(&mut FlowSide, usize, Answer),
) {
    // SAFETY: this function is taken only where these instructions are.
    unsafe { burst::<Avx512, SHARED>(side, requests, now, each) }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
unsafe fn burst_avx2<const SHARED: bool>(
    side: &mut FlowSide,
    requests: &[Request<'_>],
    now: Tick,
    each: impl FnMut(&mut FlowSide, usize, Answer),
) {
    // SAFETY: as above, for AVX2.
    unsafe { burst::<Avx2, SHARED>(side, requests, now, each) }
}

/// The pipeline: packet n is hashed while n - DISTANCE is probed and n - 2 DISTANCE is answered.
///
/// # Safety
/// The processor has the instructions of `P`.
#[inline(always)]
unsafe fn burst<P: Probe, const SHARED: bool>(
    side: &mut FlowSide,
    requests: &[Request<'_>],
    now: Tick,
    mut each: impl FnMut(&mut FlowSide, usize, Answer),
) {
    let mut window = [Pending::default(); WINDOW];
    // Closes within this burst (evictions, the caller's) may outdate the hits of step two.
    let closed_before = side.counters.closed;
    for step in 0..requests.len() + 2 * DISTANCE {
        if let Some(request) = requests.get(step) {
            window[step % WINDOW] = hash_one(&side.core, request);
        }
        let probed = step.wrapping_sub(DISTANCE);
        if let Some(request) = requests.get(probed) {
            // SAFETY: passed on to the caller.
            unsafe { probe_one::<P>(&side.core, request, &mut window[probed % WINDOW]) };
        }
        let answered = step.wrapping_sub(2 * DISTANCE);
        if let Some(request) = requests.get(answered) {
            let pending = window[answered % WINDOW];
            let key = key_words(request.tuple);
            let home = u64::from(pending.home);
            let fresh = SHARED || side.counters.closed == closed_before;
            if fresh && let Some(handle) = side.core.matching_in::<SHARED>(home, pending.hits, &key)
            {
                each(side, answered, Answer::Found(handle));
                continue;
            }
            // SAFETY: passed on to the caller.
            let answer =
                unsafe { answer_late::<P, SHARED>(side, request.admit, &key, pending.hash, now) };
            each(side, answered, answer);
        }
    }
}

/// Step one: hash, and ask for the tag line.
#[inline(always)]
fn hash_one(core: &Core, request: &Request<'_>) -> Pending {
    let hash = core.hash.hash(request.tuple);
    let home = core.path(hash).home;
    probe::prefetch_read(core.group(home));
    Pending {
        hash,
        home: home as u32,
        hits: 0,
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
        let line = P::load(core.group(u64::from(pending.home)));
        pending.hits = probe::hits::<P>(line, Core::tag(pending.hash));
        let mut wanted = pending.hits;
        if wanted == 0 && request.admit != Admit::Never {
            wanted = probe::empty::<P>(line);
        }
        if wanted != 0 {
            let slot = pending.home * GROUP_SLOTS + wanted.trailing_zeros();
            probe::prefetch_write(&raw const core.entry(slot).flow);
        }
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
) -> Answer {
    // SAFETY: passed on to the caller.
    match (unsafe { side.core.find::<P, SHARED>(key, hash) }, admit) {
        (Some(handle), _) => Answer::Found(handle),
        (None, Admit::Never) => Answer::Missing,
        // SAFETY: passed on to the caller.
        (None, Admit::As(class)) => unsafe { create::<P, SHARED>(side, key, hash, class, now) },
    }
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
