//! The mesh between decode and flow: every frame goes to the lane that owns its two addresses.
//!
//! One SPSC ring leads from each decode worker to each flow worker; where both are one worker the
//! "ring" is a local list. A frame travels with its views (a chain), and chains are never taken
//! apart here. In an ordered feed (captures) the owner merges its sources by capture order: it
//! takes the smallest head, and only when every empty source has promised, through its watermark,
//! that nothing smaller will come. Live, the owner takes what is there.
//!
//! Why the ordered merge cannot stand still: take the smallest order that nobody has finished. It
//! is at the head of its ring, because whatever lies before it there is smaller; and every other
//! source has either something larger at its head or a watermark beyond it, because a decode
//! worker that cannot push holds larger orders only. A worker that is both a source and an owner
//! takes nothing that lies beyond its own unpushed frames (`limit`), so it cannot block in a later
//! stage while another lane waits for what it has not pushed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::owner::Owner;
use crate::memory::{Arena, Handle};
use crate::packet::{BURST_MAX, BURST_VIEWS_MAX, Burst, Context};
use crate::queue::{Consumer, Producer};

/// Handles that a source may hold ready; a chain always fits.
const STAGING: usize = BURST_VIEWS_MAX;

/// The next order that one decode worker could still push; shared with all owners.
#[derive(Default)]
pub struct Watermark(AtomicU64);

impl Watermark {
    /// Says that nothing below `order` will be pushed from now on.
    pub fn publish(&self, order: u64) {
        self.0.store(order, Ordering::Release);
    }

    /// Everything below this has been pushed.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

enum Way {
    /// To this very worker: `MeshIn` takes it from the list.
    Local,
    Ring(Producer<Handle>),
}

/// The decode side: from one worker to the owners.
pub struct MeshOut {
    ways: Vec<(Way, Burst)>,
    watermark: Arc<Watermark>,
    own_lane: usize,
    owner: Owner,
}

impl MeshOut {
    /// Ways to all lanes, in their order; `None` is the local one.
    pub fn new(
        rings: Vec<Option<Producer<Handle>>>,
        watermark: Arc<Watermark>,
        own_lane: usize,
        owner: Owner,
    ) -> MeshOut {
        let ways = rings
            .into_iter()
            .map(|ring| {
                (
                    ring.map_or(Way::Local, Way::Ring),
                    Vec::with_capacity(BURST_VIEWS_MAX),
                )
            })
            .collect();
        MeshOut {
            ways,
            watermark,
            own_lane,
            owner,
        }
    }

    /// Sorts a burst into the ways. Returns the frames that cross to another lane. Call only when
    /// [`MeshOut::is_clear`].
    pub fn dispatch(&mut self, burst: &mut Burst, contexts: &Arena<Context>) -> u64 {
        let mut crossed = 0;
        let mut owner = 0;
        let mut chain = false;
        for handle in burst.drain(..) {
            if !chain {
                owner = self.owner.lane(contexts.get(&handle));
                crossed += u64::from(owner != self.own_lane);
            }
            chain = handle.more();
            if let Some((_, staged)) = self.ways.get_mut(owner) {
                staged.push(handle);
            }
        }
        crossed
    }

    /// Pushes what the rings take. Then publishes the watermark: `next` is the next order that
    /// decode could deliver.
    pub fn flush(&mut self, next: u64, contexts: &Arena<Context>) {
        for (way, staged) in &mut self.ways {
            if let Way::Ring(ring) = way
                && !staged.is_empty()
            {
                ring.push_burst(staged);
            }
        }
        self.watermark
            .publish(next.min(self.first_unpushed(contexts)));
    }

    /// Smallest order that waits for room in a ring; `u64::MAX` if none does.
    pub fn first_unpushed(&self, contexts: &Arena<Context>) -> u64 {
        self.ways
            .iter()
            .filter(|(way, _)| matches!(way, Way::Ring(_)))
            .filter_map(|(_, staged)| staged.first().map(|handle| contexts.get(handle).order))
            .min()
            .unwrap_or(u64::MAX)
    }

    /// Whether everything for other workers has been pushed.
    pub fn is_clear(&self) -> bool {
        self.ways
            .iter()
            .all(|(way, staged)| matches!(way, Way::Local) || staged.is_empty())
    }

    /// Says that nothing will follow.
    pub fn close(&mut self) {
        self.watermark.publish(u64::MAX);
        for (way, _) in &mut self.ways {
            if let Way::Ring(ring) = way {
                ring.close();
            }
        }
    }

    /// What this worker keeps for itself.
    fn take_local(&mut self, into: &mut VecDeque<Handle>) {
        for (way, staged) in &mut self.ways {
            if matches!(way, Way::Local) {
                into.extend(staged.drain(..));
            }
        }
    }
}

struct Source {
    /// `None`: this very worker's decode.
    ring: Option<Consumer<Handle>>,
    watermark: Arc<Watermark>,
    staged: VecDeque<Handle>,
    scratch: Burst,
    ended: bool,
}

impl Source {
    /// Brings handles from the ring into the staging list.
    fn refill(&mut self) {
        if let Some(ring) = &mut self.ring
            && self.staged.len() < STAGING / 2
        {
            // Whether it is closed must be read before the last look for handles.
            let closed = ring.is_closed();
            ring.pop_burst(&mut self.scratch, STAGING / 2);
            let empty = self.scratch.is_empty();
            self.staged.extend(self.scratch.drain(..));
            self.ended = closed && empty;
        }
    }

    /// Handles of the first whole chain; 0 while none is complete.
    fn chain_length(&self) -> usize {
        self.staged
            .iter()
            .position(|handle| !handle.more())
            .map_or(0, |last| last + 1)
    }
}

/// The flow side: from all decode workers to one owner.
pub struct MeshIn {
    sources: Vec<Source>,
    ordered: bool,
    next: usize,
    /// All orders below this have been handed on (ordered feeds).
    low: u64,
}

impl MeshIn {
    /// Sources of an owner; `None` is its own decode.
    pub fn new(rings: Vec<(Option<Consumer<Handle>>, Arc<Watermark>)>, ordered: bool) -> MeshIn {
        let sources = rings
            .into_iter()
            .map(|(ring, watermark)| Source {
                ended: false,
                ring,
                watermark,
                staged: VecDeque::with_capacity(2 * STAGING),
                scratch: Vec::with_capacity(STAGING),
            })
            .collect();
        MeshIn {
            sources,
            ordered,
            next: 0,
            low: 0,
        }
    }

    /// Whether the worker's own decode may deliver more: its list has room for a burst.
    pub fn has_local_room(&self) -> bool {
        self.sources
            .iter()
            .all(|source| source.ring.is_some() || source.staged.len() <= STAGING)
    }

    /// Takes the local part of what decode dispatched. `ended`: no more will follow.
    pub fn take_local(&mut self, out: &mut MeshOut, ended: bool) {
        for source in self
            .sources
            .iter_mut()
            .filter(|source| source.ring.is_none())
        {
            out.take_local(&mut source.staged);
            source.ended = ended;
        }
    }

    /// Moves chains into `burst`, at most [`BURST_MAX`] frames, in order where the feed is ordered
    /// and then only orders below `limit`.
    pub fn fill(&mut self, burst: &mut Burst, contexts: &Arena<Context>, limit: u64) {
        if self.ordered {
            self.fill_ordered(burst, contexts, limit);
        } else {
            self.fill_free(burst);
        }
    }

    fn fill_free(&mut self, burst: &mut Burst) {
        let count = self.sources.len();
        for step in 0..count {
            let Some(source) = self.sources.get_mut((self.next + step) % count) else {
                continue;
            };
            source.refill();
            let mut length = source.chain_length();
            while length > 0 && burst.len() < BURST_MAX {
                burst.extend(source.staged.drain(..length));
                length = source.chain_length();
            }
        }
        self.next = (self.next + 1) % count.max(1);
    }

    fn fill_ordered(&mut self, burst: &mut Burst, contexts: &Arena<Context>, limit: u64) {
        while burst.len() < BURST_MAX {
            let mut best: Option<(usize, u64)> = None;
            // Below this no empty source will deliver anything.
            let mut promised = u64::MAX;
            for (index, source) in self.sources.iter_mut().enumerate() {
                // The promise must be read before the ring is found empty.
                let watermark = source.watermark.get();
                if source.chain_length() == 0 {
                    source.refill();
                }
                if source.chain_length() == 0 {
                    let head = source
                        .staged
                        .front()
                        .map(|handle| contexts.get(handle).order);
                    promised = promised.min(head.unwrap_or(watermark));
                } else if let Some(handle) = source.staged.front() {
                    let order = contexts.get(handle).order;
                    if best.is_none_or(|(_, smallest)| order < smallest) {
                        best = Some((index, order));
                    }
                }
            }
            match best {
                Some((index, order)) if order < promised && order < limit => {
                    self.low = order + 1;
                    if let Some(source) = self.sources.get_mut(index) {
                        let length = source.chain_length();
                        burst.extend(source.staged.drain(..length));
                    }
                }
                other => {
                    let head = other.map_or(u64::MAX, |(_, order)| order);
                    self.low = self.low.max(promised.min(head).min(limit));
                    return;
                }
            }
        }
    }

    /// Ordered feeds: nothing below this will be handed on any more.
    pub fn low(&self) -> u64 {
        self.low
    }

    /// Whether nothing has come that was not handed on.
    pub fn is_empty(&mut self) -> bool {
        self.sources.iter_mut().all(|source| {
            source.refill();
            source.staged.is_empty()
        })
    }

    /// Whether all sources have ended and nothing is left.
    pub fn is_ended(&mut self) -> bool {
        self.sources.iter_mut().all(|source| {
            source.refill();
            source.ended && source.staged.is_empty()
        })
    }
}
