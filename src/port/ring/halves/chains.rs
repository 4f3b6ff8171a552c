//! Frames of several slots (chains, `NS_MOREFRAG`): put together for inspection, which needs a frame
//! in one piece. Such a frame is copied twice, out of its slots here and into slots again when it is
//! sent (`copy_chain`), which is counted; a chain is taken, forwarded or dropped whole.

use super::{CHAIN_BYTES_MAX, Exchange, RingReceiver, Taken};
use crate::memory::{Arena, Block, BlockPool, Handle, Regions};
use crate::packet::Context;
use crate::port::ring::MORE_FRAGMENTS;
use crate::port::{PortCounter, Received};

/// Slots of a chain, at most (netmap(4)).
pub(super) const CHAIN_SLOTS_MAX: u32 = 64;
/// Chains of one receiver that may be in flight; more wait in the ring (`sluice_port_starved_total`).
const CHAINS_MAX: usize = 64;

/// Frames of several slots, put together: inspection needs a frame in one piece. Their slots stay
/// in the ring, and they are copied into slots again when they are sent.
pub(super) struct Chains {
    pool: BlockPool,
    region: u16,
    /// Blocks with frames in flight, by their place in the pool.
    out: Vec<Option<Block>>,
}

impl Chains {
    pub(super) fn new(regions: &mut Regions) -> Chains {
        let mut pool = BlockPool::new(CHAINS_MAX, CHAIN_BYTES_MAX as usize, regions);
        let region = match pool.take() {
            Some(block) => {
                let region = pool.span(&block, 0, 0).region;
                pool.give(block);
                region
            }
            None => u16::MAX,
        };
        Chains {
            pool,
            region,
            out: (0..CHAINS_MAX).map(|_| None).collect(),
        }
    }

    /// The block of a frame comes home.
    pub(super) fn reclaim(&mut self, context: &Context) {
        let place = context.span.offset as usize / CHAIN_BYTES_MAX as usize;
        let block = self.out.get_mut(place).and_then(Option::take);
        if context.span.region == self.region
            && let Some(block) = block
        {
            self.pool.give(block);
        }
    }
}

/// What stands in the ring from a slot on whose frame goes on.
enum Chain {
    /// All of a frame.
    Whole { slots: u32, bytes: u32 },
    /// Its end has not come yet.
    Unfinished,
    /// More than is taken.
    TooLong,
}

impl<X: Exchange> RingReceiver<X> {
    /// Takes the frame that begins at a slot, however many slots it has. Gives the slot behind what
    /// was passed.
    pub(super) fn take_next(
        &mut self,
        slot: u32,
        contexts: &Arena<Context>,
        free: &mut Vec<Handle>,
        received: &mut Received,
        now_ns: u64,
    ) -> (Taken, u32) {
        let next = self.ring.next(slot);
        let found = self.ring.slot(slot);
        if self.in_chain || found.flags & MORE_FRAGMENTS == 0 {
            let taken = self.take((slot, found), contexts, free, received, now_ns);
            return (taken, next);
        }
        match self.chain_at(slot) {
            Chain::Whole { slots, bytes } => {
                let taken =
                    self.take_chain(slot, (slots, bytes), (contexts, free), received, now_ns);
                let Some((handle, next)) = taken else {
                    received.starved = true;
                    self.counters.add(PortCounter::Starved, 1);
                    return (Taken::NoRoom, slot);
                };
                (Taken::Frame(handle), next)
            }
            Chain::Unfinished => {
                // The next receive syncs, whatever else waits.
                self.since_sync = self.ring.num_slots();
                (Taken::NoRoom, slot)
            }
            Chain::TooLong => {
                let taken = self.take((slot, found), contexts, free, received, now_ns);
                (taken, next)
            }
        }
    }

    /// Looks along the chain that begins at a slot.
    fn chain_at(&self, slot: u32) -> Chain {
        let (tail, slots_max) = (self.ring.tail(), self.ring.num_slots() - 1);
        let (mut at, mut bytes) = (slot, 0);
        for slots in 1..=CHAIN_SLOTS_MAX.min(slots_max) {
            if at == tail {
                return Chain::Unfinished;
            }
            let found = self.ring.slot(at);
            bytes += u32::from(found.length);
            let fits = u32::from(found.length) <= self.ring.buf_size();
            if !fits || bytes > CHAIN_BYTES_MAX || !self.ring.is_buffer(found.index) {
                return Chain::TooLong;
            }
            if found.flags & MORE_FRAGMENTS == 0 {
                return Chain::Whole { slots, bytes };
            }
            at = self.ring.next(at);
        }
        Chain::TooLong
    }

    /// Takes a whole chain. Gives its frame and the slot behind it; `None`: there is no room.
    fn take_chain(
        &mut self,
        slot: u32,
        (slots, bytes): (u32, u32),
        (contexts, free): (&Arena<Context>, &mut Vec<Handle>),
        received: &mut Received,
        now_ns: u64,
    ) -> Option<(Handle, u32)> {
        let chains = self.chains.as_mut()?;
        let mut block = chains.pool.take()?;
        let Some(handle) = free.pop() else {
            chains.pool.give(block);
            return None;
        };
        let (mut at, mut done) = (slot, 0);
        for _ in 0..slots {
            let found = self.ring.slot(at);
            let span = self.ring.span(found.index, found.length, self.region);
            let part = self.place.region.bytes(span.offset, span.length);
            let room = chains.pool.bytes_mut(&mut block).get_mut(done..);
            if let Some(room) = room.and_then(|room| room.get_mut(..part.len())) {
                room.copy_from_slice(part);
            }
            done += part.len();
            at = self.ring.next(at);
        }
        self.ring.note_taken(self.ring.previous(at));
        let span = chains.pool.span(&block, 0, bytes as usize);
        let handle = received.frame(contexts, handle, span, |context| {
            self.place.mark(context, now_ns);
        });
        let place = span.offset as usize / CHAIN_BYTES_MAX as usize;
        if let Some(out) = chains.out.get_mut(place) {
            *out = Some(block);
        }
        self.counters.add(PortCounter::Chains, 1);
        Some((handle, at))
    }
}
