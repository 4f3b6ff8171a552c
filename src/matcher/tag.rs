//! Tags: after an alert of a rule with `tag`, the packets of its flow, or of one of its hosts, are
//! told of for a while. Shared by all lanes, because a host has flows in many; bounded, expiring.
//!
//! A packet is looked up only where its flow's mark says so, or where a small table of counters,
//! read without a lock, says that one of its hosts may be tagged.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;

use super::host::{Lost, Who};
use crate::rules::signature::TagUntil;

/// Shards, a power of two.
const SHARDS: usize = 16;
/// Flows and hosts tagged at once, by default.
pub const TAGGED_DEFAULT: usize = 4096;
/// Tags of one flow or host; further ones are lost and counted.
const TAGS_MAX: usize = 4;
/// Counters that say whether a host may be tagged, a power of two.
const HINTS: usize = 4096;
/// A rule may start its tag anew so many times, so that an attacker cannot keep it going.
const RESTARTS_MAX: u32 = 10;
/// Seconds without a packet after which a tag ends.
const IDLE_SECONDS: u64 = 600;
const NANOS: u64 = 1_000_000_000;

/// One tag of a flow or host.
#[derive(Clone, Copy, Debug)]
struct One {
    gid: u32,
    sid: u32,
    until: TagUntil,
    first_ns: u64,
    packets: u32,
    bytes: u64,
    starts: u32,
    /// The packet that set it was seen; the alert tells of that one.
    begun: bool,
}

impl One {
    /// Counts a packet; `None` if the tag is over, else whether the packet is told of.
    fn count(&mut self, now_ns: u64, length: u32) -> Option<bool> {
        self.packets = self.packets.saturating_add(1);
        self.bytes = self.bytes.saturating_add(u64::from(length));
        if !self.begun {
            self.begun = true;
            return Some(false);
        }
        let over = match self.until {
            TagUntil::Packets(count) => self.packets > count,
            TagUntil::Bytes(count) => self.bytes > u64::from(count),
            TagUntil::Seconds(count) => {
                (now_ns / NANOS).saturating_sub(self.first_ns / NANOS) > u64::from(count)
            }
        };
        (!over).then_some(true)
    }
}

#[derive(Debug, Default)]
struct Kept {
    tags: [Option<One>; TAGS_MAX],
    last_ns: u64,
}

type Shard = HashMap<Who, Kept, RandomState>;

/// All tags.
pub struct Tags {
    shards: Box<[Mutex<Shard>]>,
    hints: Box<[AtomicU32]>,
    hasher: RandomState,
    shard_max: usize,
}

impl Tags {
    /// Room for about `count` tagged flows and hosts.
    pub fn new(count: usize) -> Tags {
        let hasher = RandomState::new();
        let shard_max = count.div_ceil(SHARDS).max(1);
        let shard = || Shard::with_capacity_and_hasher(2 * shard_max, hasher.clone());
        Tags {
            shards: (0..SHARDS).map(|_| Mutex::new(shard())).collect(),
            hints: (0..HINTS).map(|_| AtomicU32::new(0)).collect(),
            hasher,
            shard_max,
        }
    }

    /// Whether `who` may be tagged: one load, no lock.
    pub(super) fn may_have(&self, who: &Who) -> bool {
        self.hint(who).is_some_and(|hint| hint.load(Relaxed) != 0)
    }

    fn hint(&self, who: &Who) -> Option<&AtomicU32> {
        let hash = self.hasher.hash_one(who) as usize;
        self.hints.get(hash & (HINTS - 1))
    }

    fn shard(&self, who: &Who) -> Option<MutexGuard<'_, Shard>> {
        let at = self.hasher.hash_one(who) as usize >> 20 & (SHARDS - 1);
        let shard = self.shards.get(at)?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn forgotten(&self, who: &Who) {
        if let Some(hint) = self.hint(who) {
            hint.fetch_sub(1, Relaxed);
        }
    }

    /// A rule with a tag alerted.
    ///
    /// # Errors
    /// `Lost` when there was no room.
    pub(super) fn set(
        &self,
        who: Who,
        (gid, sid): (u32, u32),
        until: TagUntil,
        now_ns: u64,
    ) -> Result<(), Lost> {
        let mut shard = self.shard(&who).ok_or(Lost)?;
        if !shard.contains_key(&who) {
            if shard.len() >= self.shard_max {
                shard.retain(|who, kept| {
                    let stays = !idle(kept, now_ns);
                    if !stays {
                        self.forgotten(who);
                    }
                    stays
                });
            }
            if shard.len() >= self.shard_max {
                return Err(Lost);
            }
            shard.insert(who, Kept::default());
            if let Some(hint) = self.hint(&who) {
                hint.fetch_add(1, Relaxed);
            }
        }
        let kept = shard.get_mut(&who).ok_or(Lost)?;
        kept.last_ns = now_ns;
        let known = |one: &&mut One| (one.gid, one.sid) == (gid, sid);
        if let Some(one) = kept.tags.iter_mut().flatten().find(known) {
            one.starts += 1;
            if one.starts < RESTARTS_MAX {
                (one.first_ns, one.packets, one.bytes) = (now_ns, 0, 0);
            }
            return Ok(());
        }
        let place = kept.tags.iter_mut().find(|place| place.is_none());
        *place.ok_or(Lost)? = Some(One {
            gid,
            sid,
            until,
            first_ns: now_ns,
            packets: 0,
            bytes: 0,
            starts: 0,
            begun: false,
        });
        Ok(())
    }

    /// Counts a packet of `who`: whether it is told of, and whether tags are left.
    pub(super) fn count(&self, who: &Who, now_ns: u64, length: u32) -> (bool, bool) {
        let Some(mut shard) = self.shard(who) else {
            return (false, false);
        };
        let Some(kept) = shard.get_mut(who) else {
            return (false, false);
        };
        let (mut told, mut left) = (false, false);
        let over = idle(kept, now_ns);
        for place in &mut kept.tags {
            let answer = place.as_mut().and_then(|one| one.count(now_ns, length));
            match answer.filter(|_| !over) {
                Some(answer) => (told, left) = (told | answer, true),
                None => *place = None,
            }
        }
        kept.last_ns = now_ns;
        if !left {
            shard.remove(who);
            self.forgotten(who);
        }
        (told, left)
    }

    /// A flow that ended.
    pub(super) fn forget(&self, who: &Who) {
        let removed = self.shard(who).is_some_and(|mut s| s.remove(who).is_some());
        if removed {
            self.forgotten(who);
        }
    }
}

fn idle(kept: &Kept, now_ns: u64) -> bool {
    now_ns > kept.last_ns.saturating_add(IDLE_SECONDS * NANOS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(last: u8) -> Who {
        Who::One([last; 16])
    }

    #[test]
    fn a_tag_takes_the_packets_after_its_alert() {
        let tags = Tags::new(16);
        let cases: [(TagUntil, &[u64], &str); 3] = [
            (TagUntil::Packets(3), &[1, 1, 1, 1, 1], ".TT.."),
            (TagUntil::Bytes(250), &[1, 1, 1, 1], ".T.."),
            (TagUntil::Seconds(10), &[1, 5, 11, 12], ".TT."),
        ];
        for (until, seconds, expected) in cases {
            assert!(!tags.may_have(&host(1)));
            tags.set(host(1), (1, 7), until, NANOS).unwrap();
            assert!(tags.may_have(&host(1)));
            let told: String = seconds
                .iter()
                .map(|second| match tags.count(&host(1), second * NANOS, 100) {
                    (true, _) => 'T',
                    (false, _) => '.',
                })
                .collect();
            assert_eq!(told, expected, "{until:?}");
        }
    }

    #[test]
    fn room_is_bounded_and_comes_back() {
        let tags = Tags::new(SHARDS);
        let until = TagUntil::Packets(9);
        let lost = (0..64).filter(|n| tags.set(host(*n), (1, 1), until, NANOS).is_err());
        let lost = lost.count();
        assert!(lost > 0 && lost < 64);
        // Ten minutes later all that is left is old.
        let again = (0..64).filter(|n| tags.set(host(*n), (1, 1), until, 700 * NANOS).is_ok());
        assert!(again.count() > 0);
        for n in 0..64 {
            tags.forget(&host(n));
        }
        assert!((0..64).all(|n| !tags.may_have(&host(n))));
        for sid in 0..TAGS_MAX as u32 {
            tags.set(host(1), (1, sid), until, NANOS).unwrap();
        }
        assert_eq!(tags.set(host(1), (1, 99), until, NANOS), Err(Lost));
    }
}
