//! From fragments to datagrams: RFC 791 and 815 (IPv4), RFC 8200 section 4.5 and RFC 5722 (IPv6).
//! A tracker per datagram keeps its bytes in pages, where its fragments begin, and the header that
//! stands before them; trackers are bounded in number, memory and age. In the path, exact duplicates
//! pass and any other overlap condemns the datagram: whatever the receiver's policy is, what it puts
//! together has been inspected or is missing a fragment. A tap prefers bytes as Windows does in IPv4
//! and BSD in IPv6, Suricata's usual settings. The view of a whole datagram is made by views.rs; how
//! fragments are read is decode's.
//!
//! In the path a datagram is remembered after it was whole: the receiver may have lost a fragment,
//! and would take another one with the same number in its place.

use std::hash::{BuildHasher, RandomState};

use super::notice::{Notice, Notices};
use super::pages::{PagePool, Pages};
use super::record::NONE;
use super::stage::FlowStage;
use crate::config::{Area, Config, Mode};
use crate::counters::{Counter, Counters};
use crate::decode::{self, Fragment};
use crate::event::Emit;
use crate::memory::Handle;
use crate::packet::{Burst, Context, FlowHandle, Tuple, flag};
use crate::reason::Reason;

/// Trackers at most.
const TRACKERS_MAX: usize = 4096;
/// Pages per tracker on average: bounds the trackers of a small memory.
const PAGES_PER_TRACKER: usize = 4;
/// Longest header before the fragment's data that is kept: IPv4 with options, or IPv6 with
/// extension headers.
const HEADER_MAX: usize = 256;
/// Longest IP payload, and therefore end of a datagram's data (IPv6; IPv4 counts its header too).
const DATA_MAX: u32 = 65_535;
/// Fragments begin at multiples of eight.
const UNITS: usize = 8192;
/// Trackers given up for one fragment that needs room.
const EVICTIONS_MAX: usize = 64;
/// Trackers looked at in one sweep.
const EXPIRED_MAX: usize = 64;

/// One datagram that is being put together.
#[derive(Clone)]
struct Tracker {
    key: Tuple,
    started_ns: u64,
    pages: Pages,
    /// Bytes that are there.
    received: u32,
    /// Length of the data, once the last fragment is there.
    total: u32,
    /// Bit for each unit of eight bytes at which a fragment begins.
    starts: [u64; UNITS / 64],
    header: [u8; HEADER_MAX],
    header_length: u16,
    protocol_at: u16,
    /// Next header of the first fragment.
    protocol: u8,
    has_header: bool,
    condemned: bool,
    whole: bool,
    /// Next in the bucket, or next free one.
    next: u32,
    older: u32,
    newer: u32,
}

/// What became of a fragment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fitted {
    /// It waits for others.
    Waiting,
    /// It is there already.
    Duplicate,
    /// It was the last one missing, or is one of a datagram that was whole; the tracker is named.
    Whole(u32),
    /// It must not go on (in the path), or is left out (tap).
    Refused(Reason),
}

/// All datagrams that are being put together by one lane.
pub struct Defrag {
    trackers: Box<[Tracker]>,
    buckets: Box<[u32]>,
    free: u32,
    oldest: u32,
    newest: u32,
    used: usize,
    timeout_ns: u64,
    inline: bool,
    hash: RandomState,
}

impl Defrag {
    /// Trackers for a memory of so many pages.
    pub fn new(config: &Config, pages: u32) -> Defrag {
        let count = (pages as usize / PAGES_PER_TRACKER).clamp(1, TRACKERS_MAX);
        let trackers = (0..count as u32)
            .map(|index| Tracker {
                next: if index + 1 == count as u32 {
                    NONE
                } else {
                    index + 1
                },
                ..Tracker::empty()
            })
            .collect();
        Defrag {
            trackers,
            buckets: vec![NONE; count.next_power_of_two()].into_boxed_slice(),
            free: 0,
            oldest: NONE,
            newest: NONE,
            used: 0,
            timeout_ns: u64::from(config.defrag_timeout) * 1_000_000_000,
            inline: config.mode == Mode::Inline,
            hash: RandomState::new(),
        }
    }

    /// Trackers in use.
    pub fn used(&self) -> usize {
        self.used
    }

    fn bucket(&self, key: &Tuple) -> usize {
        self.hash.hash_one(key) as usize & (self.buckets.len() - 1)
    }

    fn get(&self, index: u32) -> Option<&Tracker> {
        self.trackers.get(index as usize)
    }

    fn get_mut(&mut self, index: u32) -> Option<&mut Tracker> {
        self.trackers.get_mut(index as usize)
    }

    fn find(&self, key: &Tuple) -> Option<u32> {
        let mut at = self.buckets.get(self.bucket(key)).copied().unwrap_or(NONE);
        while let Some(tracker) = self.get(at) {
            if tracker.key == *key {
                return Some(at);
            }
            at = tracker.next;
        }
        None
    }

    fn open(&mut self, pool: &mut PagePool, key: &Tuple, now: u64, counters: &Counters) -> u32 {
        if self.free == NONE {
            self.give_up_oldest(pool, counters);
        }
        let (index, bucket) = (self.free, self.bucket(key));
        let head = self.buckets.get(bucket).copied().unwrap_or(NONE);
        let newest = self.newest;
        let Some(tracker) = self.get_mut(index) else {
            return NONE;
        };
        let free = tracker.next;
        *tracker = Tracker {
            key: *key,
            started_ns: now,
            next: head,
            older: newest,
            ..Tracker::empty()
        };
        self.free = free;
        if let Some(place) = self.buckets.get_mut(bucket) {
            *place = index;
        }
        match self.get_mut(newest) {
            Some(before) => before.newer = index,
            None => self.oldest = index,
        }
        self.newest = index;
        self.used += 1;
        index
    }

    /// Forgets a datagram.
    pub(super) fn close(&mut self, pool: &mut PagePool, index: u32) {
        let Some(tracker) = self.trackers.get_mut(index as usize) else {
            return;
        };
        tracker.pages.clear(pool);
        let (key, next, older, newer) = (tracker.key, tracker.next, tracker.older, tracker.newer);
        let bucket = self.bucket(&key);
        if self.buckets.get(bucket) == Some(&index) {
            if let Some(place) = self.buckets.get_mut(bucket) {
                *place = next;
            }
        } else {
            let mut at = self.buckets.get(bucket).copied().unwrap_or(NONE);
            while let Some(tracker) = self.get_mut(at) {
                if tracker.next == index {
                    tracker.next = next;
                    break;
                }
                at = tracker.next;
            }
        }
        match self.get_mut(older) {
            Some(tracker) => tracker.newer = newer,
            None => self.oldest = newer,
        }
        match self.get_mut(newer) {
            Some(tracker) => tracker.older = older,
            None => self.newest = older,
        }
        let free = self.free;
        if let Some(tracker) = self.get_mut(index) {
            tracker.next = free;
        }
        self.free = index;
        self.used -= 1;
    }

    fn give_up_oldest(&mut self, pool: &mut PagePool, counters: &Counters) -> bool {
        let oldest = self.oldest;
        let Some(tracker) = self.get(oldest) else {
            return false;
        };
        if !tracker.whole {
            counters.inc(Counter::FragmentsExpired);
        }
        self.close(pool, oldest);
        true
    }

    /// Forgets datagrams that have waited for too long.
    pub fn expire(&mut self, pool: &mut PagePool, now: u64, counters: &Counters) {
        for _ in 0..EXPIRED_MAX {
            let due = self
                .get(self.oldest)
                .is_some_and(|t| now.saturating_sub(t.started_ns) > self.timeout_ns);
            if !due || !self.give_up_oldest(pool, counters) {
                return;
            }
        }
    }

    /// Forgets all: no more fragments come.
    pub fn clear(&mut self, pool: &mut PagePool) {
        for _ in 0..self.trackers.len() {
            if self.oldest == NONE {
                return;
            }
            self.close(pool, self.oldest);
        }
    }

    /// Takes a fragment in.
    pub fn fit(
        &mut self,
        pool: &mut PagePool,
        key: &Tuple,
        fragment: &Fragment<'_>,
        now: u64,
        counters: &Counters,
        notices: &mut Notices,
    ) -> Fitted {
        let v6 = fragment.protocol_at != 9 || fragment.header.len() > 60;
        if let Err(notice) = possible(fragment, v6) {
            notices.note(notice);
            if let Some(tracker) = self.find(key).and_then(|at| self.get_mut(at)) {
                tracker.condemned |= tracker.received != 0;
            }
            return Fitted::Refused(Reason::IpFragInvalid);
        }
        let index = match self.find(key) {
            Some(at) if self.is_due(at, now) => {
                self.give_up(pool, at, counters);
                self.open(pool, key, now, counters)
            }
            Some(at) => at,
            None => self.open(pool, key, now, counters),
        };
        if self.get(index).is_some_and(|tracker| tracker.condemned) {
            return Fitted::Refused(Reason::IpFragOverlap);
        }
        if let Some(fitted) = self.overlaps(pool, index, fragment, v6, notices) {
            return fitted;
        }
        let needed = self.get(index).map_or(0, |t| {
            t.pages
                .missing(pool, fragment.offset, fragment.data.len() as u32)
        });
        if !self.make_room(pool, index, needed, counters) {
            return Fitted::Refused(Reason::IpFragMemory);
        }
        let Some(tracker) = self.trackers.get_mut(index as usize) else {
            return Fitted::Refused(Reason::IpFragMemory);
        };
        if tracker.add(pool, fragment) {
            Fitted::Whole(index)
        } else {
            Fitted::Waiting
        }
    }

    fn is_due(&self, index: u32, now: u64) -> bool {
        self.get(index)
            .is_some_and(|t| now.saturating_sub(t.started_ns) > self.timeout_ns)
    }

    fn give_up(&mut self, pool: &mut PagePool, index: u32, counters: &Counters) {
        if self.get(index).is_some_and(|tracker| !tracker.whole) {
            counters.inc(Counter::FragmentsExpired);
        }
        self.close(pool, index);
    }

    /// Overlap, and contradictions about the end. `None`: the fragment is new altogether, or a tap
    /// takes what is new of it.
    fn overlaps(
        &mut self,
        pool: &mut PagePool,
        index: u32,
        fragment: &Fragment<'_>,
        v6: bool,
        notices: &mut Notices,
    ) -> Option<Fitted> {
        let inline = self.inline;
        let tracker = self.trackers.get_mut(index as usize)?;
        let end = fragment.offset + fragment.data.len() as u32;
        let compared = tracker.pages.compare(pool, fragment.offset, fragment.data);
        let is_duplicate = compared.present == fragment.data.len() as u32
            && !compared.differs
            && tracker.has_borders(pool, fragment.offset, end);
        let beyond = tracker.pages.next_present(pool, end).is_some();
        let ends_elsewhere = (tracker.total != NONE
            && (end > tracker.total || (!fragment.more && end != tracker.total)))
            || (!fragment.more && beyond);
        if ends_elsewhere {
            notices.note(match (v6, compared.present != 0) {
                (true, true) => Notice::Ipv6FragOverlap,
                (false, true) => Notice::Ipv4FragOverlap,
                (true, false) => Notice::Ipv6FragIgnored,
                (false, false) => Notice::Ipv4FragIgnored,
            });
            if inline {
                tracker.condemn(pool);
            }
            return Some(Fitted::Refused(Reason::IpFragInvalid));
        }
        let overlap = if v6 {
            Notice::Ipv6FragOverlap
        } else {
            Notice::Ipv4FragOverlap
        };
        if is_duplicate {
            if !tracker.whole {
                notices.note(overlap);
            }
            // The one that was dropped when it made the datagram whole would do so at the receiver.
            let again = tracker.whole.then_some(Fitted::Whole(index));
            return Some(again.unwrap_or(Fitted::Duplicate));
        }
        if compared.present == 0 && !tracker.whole {
            return None;
        }
        notices.note(overlap);
        if inline {
            tracker.condemn(pool);
            return Some(Fitted::Refused(Reason::IpFragOverlap));
        }
        if compared.differs {
            tracker.prefer_earlier(pool, fragment, v6);
        }
        None
    }

    /// Gives up the oldest datagrams until `needed` pages are free.
    fn make_room(
        &mut self,
        pool: &mut PagePool,
        index: u32,
        needed: u32,
        counters: &Counters,
    ) -> bool {
        for _ in 0..EVICTIONS_MAX {
            if pool.available() >= needed {
                return true;
            }
            let victim = if self.oldest == index {
                self.get(index).map_or(NONE, |tracker| tracker.newer)
            } else {
                self.oldest
            };
            if victim == NONE {
                return false;
            }
            self.give_up(pool, victim, counters);
        }
        pool.available() >= needed
    }

    /// Writes a whole datagram, header first, to `out`. Gives its length.
    pub(super) fn write(
        &self,
        pool: &PagePool,
        index: u32,
        v6: bool,
        out: &mut [u8],
    ) -> Option<usize> {
        let tracker = self.get(index)?;
        let header_length = usize::from(tracker.header_length);
        let length = header_length + tracker.total as usize;
        let header = tracker.header.get(..header_length)?;
        out.get_mut(..header_length)?.copy_from_slice(header);
        tracker
            .pages
            .copy(pool, 0, out.get_mut(header_length..length)?);
        let header = out.get_mut(..header_length)?;
        if v6 {
            let payload = u16::try_from(length - 40).ok()?;
            header
                .get_mut(4..6)?
                .copy_from_slice(&payload.to_be_bytes());
            *header.get_mut(usize::from(tracker.protocol_at))? = tracker.protocol;
        } else {
            let total = u16::try_from(length).ok()?;
            header.get_mut(2..4)?.copy_from_slice(&total.to_be_bytes());
            // "Don't fragment" may stay; "more fragments" and the offset may not.
            *header.get_mut(6)? &= 0xc0;
            *header.get_mut(7)? = 0;
            header.get_mut(10..12)?.fill(0);
            let sum = header_checksum(header);
            header.get_mut(10..12)?.copy_from_slice(&sum.to_be_bytes());
        }
        Some(length)
    }
}

impl Tracker {
    fn empty() -> Tracker {
        Tracker {
            key: Tuple::default(),
            started_ns: 0,
            pages: Pages::default(),
            received: 0,
            total: NONE,
            starts: [0; UNITS / 64],
            header: [0; HEADER_MAX],
            header_length: 0,
            protocol_at: 0,
            protocol: 0,
            has_header: false,
            condemned: false,
            whole: false,
            next: NONE,
            older: NONE,
            newer: NONE,
        }
    }

    fn starts_at(&self, offset: u32) -> bool {
        let unit = offset / 8;
        self.starts
            .get((unit / 64) as usize)
            .is_some_and(|bits| bits >> (unit % 64) & 1 != 0)
    }

    /// Whether exactly one kept fragment covers the range.
    fn has_borders(&self, pool: &PagePool, offset: u32, end: u32) -> bool {
        let inner = (offset / 8 + 1..end.div_ceil(8)).any(|unit| self.starts_at(unit * 8));
        let next = self.pages.contiguous(pool, end, 1) != 0;
        self.starts_at(offset)
            && !inner
            && (!next || (end.is_multiple_of(8) && self.starts_at(end)))
    }

    /// Where the kept fragment that has the byte at `at` ends: where another begins, or at a hole.
    fn piece_end(&self, pool: &PagePool, at: u32) -> u32 {
        let run = at + self.pages.contiguous(pool, at, DATA_MAX + 1 - at);
        (at / 8 + 1..run.div_ceil(8))
            .find(|unit| self.starts_at(unit * 8))
            .map_or(run, |unit| unit * 8)
    }

    /// Writes a fragment over kept ones that give way to it: to Windows one that begins later and
    /// ends sooner, to BSD two that begin later. Where one begins no later, its bytes stay.
    fn prefer_earlier(&mut self, pool: &mut PagePool, fragment: &Fragment<'_>, v6: bool) {
        let (from, length) = (fragment.offset, fragment.data.len() as u32);
        let covered = self.pages.contiguous(pool, from, 1) != 0;
        let (mut at, pieces) = match (covered, v6) {
            (true, true) => (self.piece_end(pool, from), 1),
            (true, false) => return,
            (false, true) => (from, 2),
            (false, false) => (from, 1),
        };
        for _ in 0..pieces {
            let next = self.pages.next_present(pool, at);
            let Some(start) = next.filter(|start| *start < from + length) else {
                return;
            };
            at = self.piece_end(pool, start);
            if v6 || at < from + length {
                let end = at.min(from + length);
                let place = (start - from) as usize..(end - from) as usize;
                let bytes = fragment.data.get(place).unwrap_or(&[]);
                self.pages.replace(pool, start, bytes);
            }
        }
    }

    /// Nothing of this datagram may pass any more.
    fn condemn(&mut self, pool: &mut PagePool) {
        self.condemned = true;
        self.pages.clear(pool);
    }

    /// Adds a fragment's new bytes. True if the datagram is whole with it, for the first time.
    fn add(&mut self, pool: &mut PagePool, fragment: &Fragment<'_>) -> bool {
        let new = self
            .pages
            .insert(pool, fragment.offset, fragment.data)
            .unwrap_or(0);
        self.received += new;
        let unit = fragment.offset / 8;
        if let Some(bits) = self.starts.get_mut((unit / 64) as usize) {
            *bits |= 1 << (unit % 64);
        }
        if !fragment.more {
            self.total = fragment.offset + fragment.data.len() as u32;
        }
        if fragment.offset == 0 && !self.has_header {
            let kept = fragment.header.len().min(HEADER_MAX);
            if let (Some(place), Some(header)) =
                (self.header.get_mut(..kept), fragment.header.get(..kept))
            {
                place.copy_from_slice(header);
            }
            self.header_length = kept as u16;
            self.protocol_at = fragment.protocol_at as u16;
            self.protocol = fragment.protocol;
            self.has_header = true;
        }
        let whole = self.has_header && self.received == self.total;
        let first = whole && !self.whole;
        self.whole |= whole;
        first
    }
}

/// Whether any datagram can have such a fragment.
fn possible(fragment: &Fragment<'_>, v6: bool) -> Result<(), Notice> {
    let length = fragment.data.len() as u32;
    let end = fragment.offset + length;
    let headers = if v6 {
        fragment.header.len() as u32 - 40
    } else {
        fragment.header.len() as u32
    };
    if end + headers > DATA_MAX {
        return Err(if v6 {
            Notice::Ipv6FragTooLarge
        } else {
            Notice::Ipv4FragTooLarge
        });
    }
    if fragment.more && !length.is_multiple_of(8) {
        return Err(if v6 {
            Notice::Ipv6FragInvalidLength
        } else {
            Notice::Ipv4FragIgnored
        });
    }
    if length == 0 || (fragment.offset == 0 && fragment.header.len() > HEADER_MAX) {
        return Err(if v6 {
            Notice::Ipv6FragIgnored
        } else {
            Notice::Ipv4FragIgnored
        });
    }
    Ok(())
}

/// RFC 1071 over a header of whole words.
fn header_checksum(header: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in header.chunks(2) {
        let word = match pair {
            [high, low] => u16::from_be_bytes([*high, *low]),
            [high] => u16::from_be_bytes([*high, 0]),
            _ => 0,
        };
        sum += u32::from(word);
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Which datagram a fragment belongs to: addresses in their order, number, protocol (IPv4) and the
/// scope of its flow.
fn key_of(context: &Context, fragment: &Fragment<'_>) -> Tuple {
    Tuple {
        a_addr: *context.src_addr(),
        b_addr: *context.dst_addr(),
        a_port: (fragment.id >> 16) as u16,
        b_port: fragment.id as u16,
        protocol: if context.has(flag::IPV4) {
            fragment.protocol
        } else {
            0
        },
        scope: context.tuple.scope,
    }
}

impl FlowStage {
    /// A fragment: pushes it, and behind it the datagram that it completes.
    pub(super) fn fragment(
        &mut self,
        mut handle: Handle,
        burst: &mut Burst,
        emit: &mut Emit,
        room: usize,
    ) {
        let contexts = std::sync::Arc::clone(&self.contexts);
        let regions = std::sync::Arc::clone(&self.regions);
        let context = contexts.get_mut(&mut handle);
        let bytes = regions.bytes(context.span);
        emit.counters.inc(Counter::Fragments);
        let mut whole = None;
        if let Some(fragment) = decode::fragment(context, bytes) {
            let mut notices = Notices::default();
            let key = key_of(context, &fragment);
            let fitted = self.defrag.fit(
                &mut self.fragments,
                &key,
                &fragment,
                self.clock,
                &emit.counters,
                &mut notices,
            );
            self.tell(context, &notices, &emit.counters);
            match fitted {
                Fitted::Waiting | Fitted::Duplicate => {}
                Fitted::Whole(index) => whole = Some(index),
                Fitted::Refused(reason) => {
                    emit.counters.inc(Counter::FragmentsRefused);
                    if reason == Reason::IpFragMemory {
                        let none = FlowHandle::NONE;
                        self.except(context, none, Area::Fragments, reason, &emit.counters);
                    } else {
                        self.refuse(context, reason);
                    }
                }
            }
        }
        burst.push(handle);
        if let Some(index) = whole {
            emit.counters.inc(Counter::FragmentsCompleted);
            self.datagram(index, burst, emit, room);
        }
    }
}
