//! Who leaves: by time (the sweep), and by want of room (eviction).
//! Order of eviction: half-open flows of the newcomer's home group, half-open flows further along
//! its path, then - for an established newcomer, if policy allows - established ones of the path,
//! and the `evict_last` classes only when nothing else is there. Within each the oldest of a small
//! sample that a clock hand moves through. Every evicted flow goes to quarantine and to the list
//! that the flow stage drains.

use super::core::{Core, View};
use super::line::{CLASS_ESTABLISHED, CLASS_HALF_OPEN, GROUP_SLOTS};
use super::probe::{self, Instructions, Probe, Scalar};
#[cfg(all(target_arch = "x86_64", not(miri)))]
use super::probe::{Avx2, Avx512};
use super::protocol::{self, PATH_GROUPS_MAX};
use super::{Class, EVICTED_MAX, EXPIRY_CLASSES, FlowSide, FullReason, TableMode, Timeouts};
use crate::packet::FlowHandle;
use crate::time::Tick;
use std::sync::atomic::Ordering::Relaxed;

/// Entries whose age is compared for one eviction; each may be a cache miss.
const SAMPLE_MAX: u32 = 4;
/// Groups that the sweep asks for ahead, at most: more would push out what packets have asked for.
const AHEAD_MAX: u64 = 64;

/// Whom a search for a victim may take.
#[derive(Clone, Copy)]
struct Wanted {
    class: u16,
    /// Expiry classes to spare.
    spared: u16,
}

/// Before an insert: keeps the half-open share and the limit. Ok(true) means that the newcomer may
/// stand in its home group only.
///
/// # Safety
/// The processor has the instructions of `P`.
#[inline(always)]
pub unsafe fn make_room<P: Probe, const SHARED: bool>(
    side: &mut FlowSide,
    hash: u64,
    class: Class,
    now: Tick,
) -> Result<bool, FullReason> {
    let mut capped = false;
    if class == Class::HalfOpen {
        let home = side.core.path(hash).home;
        // SAFETY: passed on to the caller.
        let half_open = unsafe {
            probe::class::<P>(P::load(side.core.group(home)), CLASS_HALF_OPEN).count_ones()
        };
        if half_open >= u32::from(side.policy.half_open_per_group_max) {
            capped = true;
            if side.evicted.len() >= EVICTED_MAX {
                return Err(FullReason::Backlog);
            }
            let wanted = Wanted {
                class: CLASS_HALF_OPEN,
                spared: 0,
            };
            // SAFETY: passed on to the caller.
            if unsafe { take::<P, SHARED>(side, home, wanted, now) } {
                side.counters.evicted_half_open_cap += 1;
            }
        }
    }
    if side.core.population() >= u64::from(side.core.flows_max) {
        // SAFETY: passed on to the caller.
        unsafe { displace::<P, SHARED>(side, hash, class, now)? };
    }
    Ok(capped)
}

/// Evicts one flow of the path of `hash` for a newcomer of `class`.
///
/// # Safety
/// The processor has the instructions of `P`.
#[inline(never)]
pub unsafe fn displace<P: Probe, const SHARED: bool>(
    side: &mut FlowSide,
    hash: u64,
    class: Class,
    now: Tick,
) -> Result<(), FullReason> {
    if side.evicted.len() >= EVICTED_MAX {
        return Err(FullReason::Backlog);
    }
    let spared = side.policy.evict_last;
    // SAFETY: passed on to the caller, for all three.
    unsafe {
        if take_on_path::<P, SHARED>(
            side,
            hash,
            Wanted {
                class: CLASS_HALF_OPEN,
                spared,
            },
            now,
        ) {
            side.counters.evicted_half_open += 1;
            return Ok(());
        }
        if class == Class::HalfOpen || !side.policy.established_yields {
            return Err(FullReason::Limit);
        }
        let wanted = Wanted {
            class: CLASS_ESTABLISHED,
            spared,
        };
        if take_on_path::<P, SHARED>(side, hash, wanted, now) {
            side.counters.evicted_established += 1;
            return Ok(());
        }
        for class in [CLASS_HALF_OPEN, CLASS_ESTABLISHED] {
            if take_on_path::<P, SHARED>(side, hash, Wanted { class, spared: 0 }, now) {
                side.counters.evicted_last += 1;
                return Ok(());
            }
        }
    }
    Err(FullReason::Limit)
}

/// # Safety
/// The processor has the instructions of `P`.
unsafe fn take_on_path<P: Probe, const SHARED: bool>(
    side: &mut FlowSide,
    hash: u64,
    wanted: Wanted,
    now: Tick,
) -> bool {
    let path = side.core.path(hash);
    (0..PATH_GROUPS_MAX).any(|position| {
        let group = side.core.group_at(path, position);
        // SAFETY: passed on to the caller.
        unsafe { take::<P, SHARED>(side, group, wanted, now) }
    })
}

/// Evicts the oldest of a sample of one group.
///
/// # Safety
/// The processor has the instructions of `P`.
unsafe fn take<P: Probe, const SHARED: bool>(
    side: &mut FlowSide,
    group: u64,
    wanted: Wanted,
    now: Tick,
) -> bool {
    // SAFETY: passed on to the caller.
    let mask = unsafe { probe::class::<P>(P::load(side.core.group(group)), wanted.class) };
    let Some(victim) = oldest(&side.core, group, mask, wanted.spared, now) else {
        return false;
    };
    // In shared mode another side may have closed it meanwhile: then there is room too, but it is
    // not ours to report.
    if !protocol::close(&View::<Scalar, SHARED>::plain(&side.core), victim) {
        return SHARED;
    }
    side.counters.closed += 1;
    side.publish_closed();
    side.evicted.push(victim);
    true
}

/// The oldest of up to SAMPLE_MAX flows of `mask` that are not spared, from the clock hand on.
fn oldest(core: &Core, group: u64, mask: u32, spared: u16, now: Tick) -> Option<FlowHandle> {
    if mask == 0 {
        return None;
    }
    let hand = &core.group(group).hand;
    let start = u32::from(hand.load(Relaxed)) % GROUP_SLOTS;
    let mut oldest: Option<(u32, FlowHandle)> = None;
    let mut sampled = 0;
    for offset in 0..GROUP_SLOTS {
        let position = (start + offset) % GROUP_SLOTS;
        if mask >> position & 1 == 0 {
            continue;
        }
        let slot = group as u32 * GROUP_SLOTS + position;
        let line = &core.entry(slot).flow;
        let generation = line.generation();
        if spared >> (line.state().expiry as usize % EXPIRY_CLASSES) & 1 != 0 {
            continue;
        }
        let age = now.since(line.last_seen());
        if oldest.is_none_or(|(age_so_far, _)| age > age_so_far) {
            oldest = Some((age, FlowHandle { slot, generation }));
        }
        sampled += 1;
        if sampled == SAMPLE_MAX {
            break;
        }
    }
    hand.store(((start + 7) % GROUP_SLOTS) as u16, Relaxed);
    oldest.map(|(_, handle)| handle)
}

/// A bit for each group below `end`: none holds a flow. It is set when one is made there, and cleared
/// by a sweep that finds none. No bits for a shared table, where other sides make flows too.
pub fn nothing_held(mode: TableMode, end: u64) -> Vec<u64> {
    match mode {
        TableMode::Owner => vec![0; end.div_ceil(64) as usize],
        TableMode::Shared => Vec::new(),
    }
}

impl FlowSide {
    /// Whether a group may hold a flow.
    #[inline(always)]
    pub(super) fn may_hold(&self, group: u64) -> bool {
        let word = self.holding.get(group as usize / 64);
        word.is_none_or(|word| word >> (group % 64) & 1 != 0)
    }

    /// A flow was made in a slot.
    #[inline(always)]
    pub(super) fn note_holding(&mut self, slot: u32) {
        let group = slot / GROUP_SLOTS;
        if let Some(word) = self.holding.get_mut(group as usize / 64) {
            *word |= 1 << (group % 64);
        }
    }

    /// A group holds no flow.
    #[inline(always)]
    fn holds_none(&mut self, group: u64) {
        if let Some(word) = self.holding.get_mut(group as usize / 64) {
            *word &= !(1 << (group % 64));
        }
    }
}

/// The sweep, by the side's instructions and mode.
pub fn sweep(
    side: &mut FlowSide,
    groups_max: u32,
    now: Tick,
    timeouts: &Timeouts,
    expired: impl FnMut(FlowHandle),
) {
    // SAFETY: `FlowSide::new` took `instructions` by `or_scalar`, so the processor has them.
    unsafe {
        match (side.instructions, side.mode) {
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            (Instructions::Avx512, TableMode::Owner) => {
                sweep_avx512::<false>(side, groups_max, now, timeouts, expired);
            }
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            (Instructions::Avx512, TableMode::Shared) => {
                sweep_avx512::<true>(side, groups_max, now, timeouts, expired);
            }
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            (Instructions::Avx2, TableMode::Owner) => {
                sweep_groups::<Avx2, false>(side, groups_max, now, timeouts, expired);
            }
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            (Instructions::Avx2, TableMode::Shared) => {
                sweep_groups::<Avx2, true>(side, groups_max, now, timeouts, expired);
            }
            (_, TableMode::Owner) => {
                sweep_groups::<Scalar, false>(side, groups_max, now, timeouts, expired);
            }
            (_, TableMode::Shared) => {
                sweep_groups::<Scalar, true>(side, groups_max, now, timeouts, expired);
            }
        }
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[target_feature(enable = "avx512bw,avx512f,avx2,bmi1,bmi2,popcnt")]
unsafe fn sweep_avx512<const SHARED: bool>(
    side: &mut FlowSide,
    groups_max: u32,
    now: Tick,
    timeouts: &Timeouts,
    expired: impl FnMut(FlowHandle),
) {
    // SAFETY: taken only where these instructions are.
    unsafe { sweep_groups::<Avx512, SHARED>(side, groups_max, now, timeouts, expired) }
}

/// Looks at groups that may hold a flow, and asks for those of the next two calls: their tags two
/// calls ahead, what the tags say one ahead. A call has little to do between two groups, so within
/// it no line would come in time.
///
/// # Safety
/// The processor has the instructions of `P`.
#[inline(always)]
unsafe fn sweep_groups<P: Probe, const SHARED: bool>(
    side: &mut FlowSide,
    groups_max: u32,
    now: Tick,
    timeouts: &Timeouts,
    mut expired: impl FnMut(FlowHandle),
) {
    let (first, end, mut next) = side.sweep;
    let count = u64::from(groups_max).min(end - first);
    let step = count.min(AHEAD_MAX);
    let after = |group: u64, by: u64| match group + by {
        // The range may be shorter than two steps.
        later if later >= end => first + (later - end) % (end - first).max(1),
        later => later,
    };
    let (mut entries, mut tags) = (after(next, step), after(next, 2 * step));
    for _ in 0..count {
        if side.may_hold(tags) {
            probe::prefetch_second(side.core.group(tags));
        }
        if side.may_hold(entries) {
            // SAFETY: passed on to the caller.
            let mut asked = unsafe { occupied::<P>(&side.core, entries) };
            while asked != 0 {
                let position = asked.trailing_zeros();
                asked &= asked - 1;
                probe::prefetch_second(&raw const side.core.entry_at(entries, position).flow);
            }
        }
        if side.may_hold(next) {
            // SAFETY: passed on to the caller.
            let mask = unsafe { occupied::<P>(&side.core, next) };
            match mask {
                0 => side.holds_none(next),
                _ => sweep_group::<SHARED>(side, next, mask, now, timeouts, &mut expired),
            }
        }
        (next, entries, tags) = (after(next, 1), after(entries, 1), after(tags, 1));
    }
    side.sweep.2 = next;
}

/// Closes the flows of a group, at the places of `mask`, that have rested for too long.
#[inline(always)]
fn sweep_group<const SHARED: bool>(
    side: &mut FlowSide,
    group: u64,
    mut mask: u32,
    now: Tick,
    timeouts: &Timeouts,
    expired: &mut impl FnMut(FlowHandle),
) {
    while mask != 0 {
        let position = mask.trailing_zeros();
        let slot = group as u32 * GROUP_SLOTS + position;
        mask &= mask - 1;
        let line = &side.core.entry_at(group, position).flow;
        let generation = line.generation();
        let age = now.since(line.last_seen());
        let limit = *timeouts
            .ticks
            .get(line.state().expiry as usize % EXPIRY_CLASSES)
            .unwrap_or(&u32::MAX);
        let handle = FlowHandle { slot, generation };
        // A clock that went back gives age 0: what may rest for no time ends all the same.
        let over = limit == 0 || age > limit;
        if over && protocol::close(&View::<Scalar, SHARED>::plain(&side.core), handle) {
            side.counters.closed += 1;
            side.counters.expired += 1;
            side.publish_closed();
            // Its end is told of from its record.
            probe::prefetch_read(side.core.entry_at(group, position).record.get());
            expired(handle);
        }
    }
}

/// Slots of a group that hold a flow.
///
/// # Safety
/// The processor has the instructions of `P`.
#[inline(always)]
unsafe fn occupied<P: Probe>(core: &Core, group: u64) -> u32 {
    // SAFETY: passed on to the caller.
    unsafe {
        let line = P::load(core.group(group));
        probe::class::<P>(line, CLASS_HALF_OPEN) | probe::class::<P>(line, CLASS_ESTABLISHED)
    }
}
