//! What many flows share, across lanes: thresholds, hostbits and xbits. Bounded, expiring.
//!
//! A shard's lock is taken only after a signature with such an option has matched in full, so a
//! packet that matches nothing never comes here. When a shard is full, what has expired is thrown
//! out first; if that does not help, the new entry is a counted loss. Semantics of thresholds
//! stand in threshold.rs. In ordered replay a [`Turn`] makes the lanes come here in the order of
//! the capture.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;

use super::tag::{TAGGED_DEFAULT, Tags};
use super::threshold::{self, Counted, Rate, Tally};
use crate::packet::{Context, FlowHandle};
use crate::rules::signature::{RateFilter, Signature, Threshold, ThresholdKind, Track};

/// Shards of the state, a power of two.
const SHARDS: usize = 64;
/// Entries that all shards hold by default.
pub const ENTRIES_DEFAULT: usize = 1 << 16;
/// Seconds that a bit holds where the rule does not say.
const BIT_SECONDS: u32 = 300;
const NANOS: u64 = 1_000_000_000;

/// Lets a lane wait until all packets before the one with this order number have been decided.
pub trait Turn: Send {
    /// Returns when it is this packet's turn.
    fn wait_turn(&mut self, order: u64);
}

/// No waiting: lanes come as they come.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTurn;

impl Turn for NoTurn {
    fn wait_turn(&mut self, _order: u64) {}
}

/// What a piece of state is named by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Key {
    Threshold {
        gid: u32,
        sid: u32,
        kind: Kind,
        who: Who,
    },
    Bit {
        bit: u32,
        who: Who,
    },
    /// A port that a `unique_on` count has seen in the window since then, beyond those that its
    /// tally remembers. It stands in the shard of the tally.
    Port {
        gid: u32,
        sid: u32,
        who: Who,
        since_ns: u64,
        port: u16,
    },
}

/// Which of a rule's counts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Kind {
    Threshold,
    Filter,
    Rate,
}

/// What state hangs on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Who {
    One([u8; 16]),
    Pair([u8; 16], [u8; 16]),
    Flow(FlowHandle),
    All,
}

#[derive(Debug)]
enum Entry {
    Tally(Tally),
    Rate(Rate),
    Bit,
}

#[derive(Debug)]
struct Kept {
    entry: Entry,
    expires_ns: u64,
}

type Shard = HashMap<Key, Kept, RandomState>;

/// Shared by all lanes.
pub struct HostState {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    shard_max: usize,
    /// Tagged flows and hosts.
    pub(super) tags: Tags,
}

/// State could not be kept; the caller counts it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lost;

impl HostState {
    /// Room for about `entries` entries.
    pub fn new(entries: usize) -> HostState {
        let hasher = RandomState::new();
        let shard_max = entries.div_ceil(SHARDS).max(1);
        // Twice the room: a map at most half full never allocates when it cleans up after removals.
        let shards = (0..SHARDS)
            .map(|_| {
                Mutex::new(Shard::with_capacity_and_hasher(
                    2 * shard_max,
                    hasher.clone(),
                ))
            })
            .collect();
        HostState {
            shards,
            hasher,
            shard_max,
            tags: Tags::new(TAGGED_DEFAULT),
        }
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        let at = self.hasher.hash_one(key) as usize >> 7 & (SHARDS - 1);
        // A lane that panicked while it held the lock left a map that is whole all the same.
        self.shards[at]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a match of `signature` under `option` and says what becomes of it.
    ///
    /// # Errors
    /// `Lost` with the answer of a fresh count, when the count could not be kept.
    pub fn count(
        &self,
        signature: &Signature,
        option: &Threshold,
        context: &Context,
    ) -> Result<Counted, (Counted, Lost)> {
        if let Some(answer) = threshold::without_state(option) {
            return Ok(answer);
        }
        if option.track == Track::Flow && !context.flow.is_some() {
            return Ok(Counted::Nothing);
        }
        let (gid, sid) = (signature.gid, signature.sid);
        let who = who(option.track, context, false);
        let key = Key::Threshold {
            gid,
            sid,
            kind: if option.kind == ThresholdKind::DetectionFilter {
                Kind::Filter
            } else {
                Kind::Threshold
            },
            who,
        };
        let now = context.clock();
        let mut shard = self.shard(&key);
        let beyond = match shard.get(&key).map(|kept| &kept.entry) {
            Some(Entry::Tally(tally)) => tally.beyond(option, context),
            _ => None,
        };
        let mut is_lost = false;
        if let Some((since_ns, port)) = beyond {
            let port = Key::Port {
                gid,
                sid,
                who,
                since_ns,
                port,
            };
            if shard.contains_key(&port) {
                return Ok(Counted::Nothing);
            }
            let kept = Kept {
                entry: Entry::Bit,
                expires_ns: since_ns.saturating_add(lifetime(option)),
            };
            is_lost = self.insert(&mut shard, port, kept, now).is_err();
        }
        if let Some(kept) = shard.get_mut(&key)
            && let Entry::Tally(tally) = &mut kept.entry
        {
            kept.expires_ns = now.saturating_add(lifetime(option));
            let answer = threshold::again(option, tally, context);
            return if is_lost {
                Err((answer, Lost))
            } else {
                Ok(answer)
            };
        }
        let (tally, answer) = threshold::first(option, context);
        let kept = Kept {
            entry: Entry::Tally(tally),
            expires_ns: now.saturating_add(lifetime(option)),
        };
        match self.insert(&mut shard, key, kept, now) {
            Ok(()) => Ok(answer),
            Err(lost) => Err((answer, lost)),
        }
    }

    /// Counts a match of `signature` under its rate filter: whether the other action is in force.
    ///
    /// # Errors
    /// `Lost` when the count could not be kept.
    pub fn exceeds(
        &self,
        signature: &Signature,
        filter: &RateFilter,
        track: Track,
        context: &Context,
    ) -> Result<bool, Lost> {
        if track == Track::Flow && !context.flow.is_some() {
            return Ok(false);
        }
        let key = Key::Threshold {
            gid: signature.gid,
            sid: signature.sid,
            kind: Kind::Rate,
            who: who(track, context, false),
        };
        let now = context.time_ns;
        let seconds = u64::from(filter.seconds.max(filter.timeout)) + 1;
        let expires_ns = now.saturating_add(seconds * NANOS);
        let mut shard = self.shard(&key);
        if let Some(kept) = shard.get_mut(&key)
            && let Entry::Rate(rate) = &mut kept.entry
        {
            kept.expires_ns = expires_ns;
            return Ok(rate.exceeds(filter, now));
        }
        let kept = Kept {
            entry: Entry::Rate(Rate::new(now)),
            expires_ns,
        };
        self.insert(&mut shard, key, kept, now).map(|()| false)
    }

    /// Whether a bit is set for what `track` names, as of this packet.
    pub fn bit(&self, bit: u32, track: Track, context: &Context) -> bool {
        let key = Key::Bit {
            bit,
            who: who(track, context, true),
        };
        let shard = self.shard(&key);
        shard
            .get(&key)
            .is_some_and(|kept| kept.expires_ns >= context.clock())
    }

    /// Sets a bit for `seconds` (0: 300) or takes it away.
    ///
    /// # Errors
    /// `Lost` when there was no room.
    pub fn set_bit(
        &self,
        bit: u32,
        track: Track,
        context: &Context,
        seconds: u32,
        value: bool,
    ) -> Result<(), Lost> {
        let key = Key::Bit {
            bit,
            who: who(track, context, true),
        };
        let mut shard = self.shard(&key);
        if !value {
            shard.remove(&key);
            return Ok(());
        }
        let seconds = if seconds == 0 { BIT_SECONDS } else { seconds };
        let expires_ns = context.clock().saturating_add(u64::from(seconds) * NANOS);
        if let Some(kept) = shard.get_mut(&key) {
            kept.expires_ns = expires_ns;
            return Ok(());
        }
        let kept = Kept {
            entry: Entry::Bit,
            expires_ns,
        };
        self.insert(&mut shard, key, kept, context.clock())
    }

    fn insert(&self, shard: &mut Shard, key: Key, kept: Kept, now: u64) -> Result<(), Lost> {
        if shard.len() >= self.shard_max {
            shard.retain(|_, kept| kept.expires_ns >= now);
        }
        if shard.len() >= self.shard_max {
            return Err(Lost);
        }
        shard.insert(key, kept);
        Ok(())
    }
}

/// How long a count may rest before it means nothing any more, nanoseconds.
fn lifetime(option: &Threshold) -> u64 {
    match option.track {
        // A flow's count lasts as long as the flow; an hour of rest stands for its end.
        Track::Flow => 3600 * NANOS,
        _ => (u64::from(option.seconds) + 1) * NANOS,
    }
}

pub(super) fn who(track: Track, context: &Context, bits: bool) -> Who {
    let (src, dst) = (*context.src_addr(), *context.dst_addr());
    match track {
        Track::Source => Who::One(src),
        Track::Destination => Who::One(dst),
        Track::Both => Who::Pair(src.min(dst), src.max(dst)),
        Track::Flow => Who::Flow(context.flow),
        Track::Rule if bits => Who::Pair(src.min(dst), src.max(dst)),
        Track::Rule => Who::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::ruleset::blank;
    use crate::rules::signature::ThresholdKind;

    fn at(seconds: u64, src: u8, dst: u8) -> Context {
        let mut context = Context {
            time_ns: seconds * NANOS,
            ..Context::default()
        };
        context.tuple.a_addr[15] = src;
        context.tuple.b_addr[15] = dst;
        context
    }

    #[test]
    fn a_bit_set_on_a_request_is_read_on_the_reply() {
        // Room for both bits in whatever part their hashes say.
        let state = HostState::new(2 * SHARDS);
        state
            .set_bit(3, Track::Destination, &at(100, 1, 2), 10, true)
            .unwrap();
        assert!(state.bit(3, Track::Source, &at(105, 2, 1)));
        assert!(!state.bit(3, Track::Source, &at(105, 1, 2)));
        assert!(!state.bit(4, Track::Source, &at(105, 2, 1)));
        assert!(!state.bit(3, Track::Source, &at(111, 2, 1)), "it expired");
        state
            .set_bit(5, Track::Both, &at(100, 1, 2), 0, true)
            .unwrap();
        assert!(
            state.bit(5, Track::Both, &at(399, 2, 1)),
            "direction-free, 300 s"
        );
        state
            .set_bit(5, Track::Both, &at(100, 1, 2), 0, false)
            .unwrap();
        assert!(!state.bit(5, Track::Both, &at(101, 2, 1)));
    }

    #[test]
    fn a_full_shard_throws_out_what_has_expired_and_then_refuses() {
        let state = HostState::new(1);
        let mut refused = 0;
        for src in 0..=255 {
            let kept = state.set_bit(1, Track::Source, &at(100, src, 0), 10, true);
            refused += u32::from(kept.is_err());
        }
        assert!(refused > 0);
        let late = state.set_bit(1, Track::Source, &at(200, 1, 0), 10, true);
        assert_eq!(late, Ok(()));
    }

    /// Suricata (main) has a map of all ports for each such count.
    #[test]
    fn a_count_tells_more_ports_apart_than_its_tally_remembers() {
        let state = HostState::new(1 << 14);
        let signature = blank(1);
        let filter = Threshold {
            kind: ThresholdKind::DetectionFilter,
            track: Track::Source,
            count: 99,
            seconds: 60,
            multiplier: 0,
            unique_on: 4,
        };
        let told = |seconds: u64, port: u16| {
            let mut context = at(seconds, 1, 2);
            context.tuple.b_port = port;
            state.count(&signature, &filter, &context)
        };
        for _ in 0..3 {
            for port in 1..=99 {
                assert_eq!(told(10, port), Ok(Counted::Nothing), "port {port}");
            }
        }
        assert_eq!(told(11, 100), Ok(Counted::Alert));
        assert_eq!(told(11, 50), Ok(Counted::Alert), "once over, each counts");
        for port in 1..=99 {
            assert_eq!(told(80, port), Ok(Counted::Nothing), "a new window");
        }
        assert_eq!(told(80, 100), Ok(Counted::Alert));
    }

    #[test]
    fn counts_are_kept_apart_by_what_they_track() {
        let state = HostState::new(1024);
        let signature = blank(1);
        let limit = |track| Threshold {
            kind: ThresholdKind::Limit,
            track,
            count: 1,
            seconds: 60,
            multiplier: 0,
            unique_on: 0,
        };
        let count = |sid, track, context: &Context| {
            let signature = Signature {
                sid,
                ..signature.clone()
            };
            state.count(&signature, &limit(track), context).unwrap()
        };
        assert_eq!(count(1, Track::Source, &at(1, 1, 2)), Counted::Alert);
        assert_eq!(count(1, Track::Source, &at(1, 1, 3)), Counted::Silent);
        assert_eq!(count(1, Track::Source, &at(1, 2, 2)), Counted::Alert);
        assert_eq!(count(2, Track::Both, &at(1, 1, 2)), Counted::Alert);
        assert_eq!(count(2, Track::Both, &at(1, 2, 1)), Counted::Silent);
        assert_eq!(count(3, Track::Rule, &at(1, 1, 2)), Counted::Alert);
        assert_eq!(count(3, Track::Rule, &at(1, 7, 8)), Counted::Silent);
        assert_eq!(count(4, Track::Flow, &at(1, 1, 2)), Counted::Nothing);
    }
}
