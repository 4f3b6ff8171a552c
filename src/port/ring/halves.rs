//! The halves of a port over netmap's rings: the same code for rings in memory and for netmap; what
//! differs is the `Exchange`, the call that trades slots with the other side.
//!
//! Copying is the exception and counted: only frames of another region, and frames that a stage
//! built, are copied into a TX slot's buffer.

mod chains;
mod place;
mod straight;

use std::os::fd::RawFd;
use std::sync::Arc;

use chains::{CHAIN_SLOTS_MAX, Chains};
pub use place::Place;

use super::{MORE_FRAGMENTS, Ring, Slot};
use crate::memory::{Arena, Buffer, Handle, Regions};
use crate::packet::{BURST_MAX, Burst, Context};
use crate::port::ledger::Ledger;
use crate::port::{PortCounter, PortCounters, Receive, Received, Tally, Transmit, own};
use crate::reason::Reason;

/// Bytes of a frame of several slots (a chain, `NS_MOREFRAG`), at most: the largest frames that
/// Ethernet's cards take, and some room.
pub const CHAIN_BYTES_MAX: u32 = 16 << 10;

/// What a sync met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Synced {
    /// The port, which traded slots.
    Up,
    /// A port that is down: nothing was traded.
    Down,
    /// A port that is gone: the ring is nobody's any more, and must not be touched until it is
    /// reopened.
    Gone,
    /// A port that had been gone: the ring is another one now.
    Reopened,
}

/// The kernel's side of one ring: netmap's RXSYNC and TXSYNC, or their emulation.
pub trait Exchange {
    /// Trades slots: takes those behind our published head, hands over new ones by tail. A port
    /// that has come back may bring another ring.
    fn sync(&mut self, ring: &mut Ring) -> Synced;

    /// A descriptor that will poll readable when frames wait; `None` if some wait already.
    fn wait_fd(&mut self, ring: &Ring) -> Option<RawFd>;

    /// Gives the receiver's extra buffers back, when it closes.
    fn close(&mut self, ring: &Ring, free: &mut Vec<Buffer>);

    /// Ends what a dead process left half done in this ring's last sync.
    fn mend(&mut self, _ring: &Ring) {}

    /// Fetches extra buffers for a receiver that goes on with a ring, up to the room in `free`.
    /// Whoever has the ring has them; nothing where they stay with the descriptor.
    fn fetch(&mut self, _ring: &Ring, _free: &mut Vec<Buffer>) {}

    /// Puts the extra buffers of a receiver that lets go of its ring where the next one fetches
    /// them; those that stay in `free` stay with this process.
    fn leave(&mut self, _ring: &Ring, _free: &mut Vec<Buffer>) {}
}

/// Counts a sync of a port that was open or not before, and what it met.
fn count(counters: &PortCounters, synced: Synced, was_open: bool) {
    counters.add(PortCounter::Syncs, 1);
    match synced {
        Synced::Up => {}
        Synced::Down => counters.add(PortCounter::Down, 1),
        Synced::Gone => {
            counters.add(PortCounter::Vanished, u64::from(was_open));
            counters.add(PortCounter::Down, 1);
        }
        Synced::Reopened => counters.add(PortCounter::Reopened, 1),
    }
}

/// The receiving half over one RX ring.
pub struct RingReceiver<X: Exchange> {
    ring: Ring,
    exchange: X,
    /// Buffers that replace those which frames take along.
    free: Vec<Buffer>,
    place: Place,
    region: u16,
    /// Frames taken since the last sync.
    since_sync: u32,
    /// In the middle of a chain that is too long, and is thrown away whole.
    in_chain: bool,
    /// `None` until the regions are known.
    chains: Option<Chains>,
    /// The ring is somebody else's for now.
    parked: bool,
    /// The ring is there; not while its port is gone.
    open: bool,
    counters: Arc<PortCounters>,
    ledger: Ledger,
}

impl<X: Exchange> RingReceiver<X> {
    /// A receiver with its extra buffers: as many as frames may be in flight.
    pub fn new(ring: Ring, exchange: X, free: Vec<Buffer>, place: Place) -> RingReceiver<X> {
        let ledger = Ledger::default();
        ledger.begin(u64::from(ring.head()));
        RingReceiver {
            ring,
            exchange,
            free,
            place,
            region: 0,
            since_sync: 0,
            in_chain: false,
            chains: None,
            parked: false,
            open: true,
            counters: Arc::default(),
            ledger,
        }
    }

    /// A receiver that has neither ring nor buffers until `resume`.
    pub fn parked(ring: Ring, exchange: X, buffers: usize, place: Place) -> RingReceiver<X> {
        let mut receiver = RingReceiver::new(ring, exchange, Vec::with_capacity(buffers), place);
        receiver.parked = true;
        receiver
    }

    /// Indexes of the free buffers, for audits.
    pub fn free_indexes(&self) -> Vec<u32> {
        self.free.iter().map(Buffer::index).collect()
    }

    /// The ring, to look at.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    fn sync(&mut self) {
        let synced = self.exchange.sync(&mut self.ring);
        self.since_sync = 0;
        count(&self.counters, synced, self.open);
        self.open = synced != Synced::Gone;
        if synced == Synced::Reopened {
            self.in_chain = false;
        } else if self.open && self.ring.is_reinit() {
            // Slots that we had given back may come again, which is for the kernel to know; the
            // buffers in them are not those of frames that we took.
            self.ring.resync();
            self.in_chain = false;
            self.counters.add(PortCounter::Reinit, 1);
        }
    }

    /// Slots waiting, after a sync if they are fewer than wanted or the kernel has waited long for
    /// the slots that we are done with.
    fn waiting(&mut self, limit: u32) -> u32 {
        let waiting = self.ring.space();
        if self.open && waiting >= limit && self.since_sync < self.ring.num_slots() / 2 {
            return waiting;
        }
        self.sync();
        if self.open { self.ring.space() } else { 0 }
    }

    /// Takes frames from the ring's head on, `count` at most, as long as each is one sound slot and
    /// there are contexts and buffers: nearly always that is the whole burst. Gives the slot behind
    /// them; those that [`RingReceiver::take_next`] must look at are left.
    #[inline]
    fn take_plain(
        &mut self,
        count: u32,
        contexts: &Arena<Context>,
        (free, burst): (&mut Vec<Handle>, &mut Burst),
        received: &mut Received,
        now_ns: u64,
    ) -> u32 {
        let mut slot = self.ring.head();
        let count = match self.in_chain {
            true => 0,
            false => (count as usize).min(free.len()).min(self.free.len()),
        };
        for _ in 0..count {
            let found = self.ring.slot(slot);
            let is_whole = found.flags & MORE_FRAGMENTS == 0
                && u32::from(found.length) <= self.ring.buf_size();
            if !is_whole {
                break;
            }
            let (Some(handle), Some(spare)) = (free.pop(), self.free.pop()) else {
                break;
            };
            let buffer = match self.ring.swap_found(slot, found, spare, 0) {
                Ok(buffer) => buffer,
                Err(spare) => {
                    self.free.push(spare);
                    free.push(handle);
                    break;
                }
            };
            let span = self.ring.span(found.index, found.length, self.region);
            burst.push(received.frame(contexts, handle, span, |context| {
                self.place.mark(context, now_ns);
                own(context, buffer);
            }));
            slot = self.ring.next(slot);
        }
        self.since_sync += received.count as u32;
        slot
    }

    /// Takes the frame of `slot` into a context; `None` if there is none in it, or no room.
    fn take(
        &mut self,
        (slot, found): (u32, Slot),
        contexts: &Arena<Context>,
        free: &mut Vec<Handle>,
        received: &mut Received,
        now_ns: u64,
    ) -> Taken {
        if found.flags & MORE_FRAGMENTS != 0 || self.in_chain {
            // The chain's slots go back as they are.
            received.too_long += u32::from(!self.in_chain);
            self.in_chain = found.flags & MORE_FRAGMENTS != 0;
            return Taken::Skipped;
        }
        if u32::from(found.length) > self.ring.buf_size() {
            received.too_long += 1;
            return Taken::Skipped;
        }
        let (Some(handle), Some(buffer)) = (free.pop(), self.free.pop()) else {
            return Taken::NoRoom;
        };
        let buffer = match self.ring.swap_found(slot, found, buffer, 0) {
            Ok(buffer) => buffer,
            Err(unused) => {
                self.free.push(unused);
                free.push(handle);
                self.counters.add(PortCounter::Reinit, 1);
                return Taken::Skipped;
            }
        };
        let span = self.ring.span(found.index, found.length, self.region);
        Taken::Frame(received.frame(contexts, handle, span, |context| {
            self.place.mark(context, now_ns);
            own(context, buffer);
        }))
    }
}

/// What became of a slot.
enum Taken {
    Frame(Handle),
    Skipped,
    NoRoom,
}

impl<X: Exchange> Receive for RingReceiver<X> {
    fn register(&mut self, regions: &mut Regions) {
        self.region = regions.add_once(&self.place.region);
        self.chains = Some(Chains::new(regions));
    }

    fn receive(
        &mut self,
        contexts: &Arena<Context>,
        free: &mut Vec<Handle>,
        burst: &mut Burst,
        limit: usize,
        now_ns: u64,
    ) -> Received {
        let mut received = Received::default();
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let waiting = self.waiting(limit);
        self.counters.set_slots_used(u64::from(waiting));
        let waiting = waiting.min(limit);
        let tail = self.ring.tail();
        let mut slot = self.take_plain(waiting, contexts, (free, burst), &mut received, now_ns);
        for _ in received.count..waiting as usize {
            if slot == tail {
                break;
            }
            // Both lists are looked at before the slot, so that no pop has to be undone.
            if free.is_empty() || self.free.is_empty() {
                received.starved = true;
                self.counters.add(PortCounter::Starved, 1);
                break;
            }
            let (taken, next) = self.take_next(slot, contexts, free, &mut received, now_ns);
            match taken {
                Taken::Frame(handle) => burst.push(handle),
                Taken::Skipped => {}
                Taken::NoRoom => break,
            }
            self.since_sync += self.ring.distance(slot, next);
            slot = next;
        }
        let passed = u64::from(self.ring.distance(self.ring.head(), slot));
        let frames = received.count as u64 + u64::from(received.too_long);
        if passed > 0 {
            self.ledger.advance(passed, passed.saturating_sub(frames));
        }
        // Published before the frames are transmitted: a crash may lose them, never double them.
        if self.open {
            self.ring.publish(slot);
        }
        received.count_in(&self.counters);
        received
    }

    fn reclaim(&mut self, context: &mut Context) {
        if let Some(buffer) = context.buffer.take() {
            debug_assert!(
                self.free.len() < self.free.capacity(),
                "more buffers come home than went out"
            );
            self.free.push(buffer);
        } else if let Some(chains) = &mut self.chains {
            chains.reclaim(context);
        }
    }

    fn counters(&self) -> &Arc<PortCounters> {
        &self.counters
    }

    fn keep(&mut self, tally: Tally) {
        let head = u64::from(self.ring.head());
        tally.replace(head, &mut self.counters, &mut self.ledger);
    }

    fn park(&mut self) {
        if !self.parked {
            self.exchange.sync(&mut self.ring);
            self.exchange.leave(&self.ring, &mut self.free);
            self.parked = true;
        }
    }

    fn resume(&mut self) {
        self.ring.resync();
        self.since_sync = 0;
        self.in_chain = false;
        self.parked = false;
        self.exchange.fetch(&self.ring, &mut self.free);
    }

    fn take_over(&mut self) {
        // After a death: takes over what the dead one left of its last burst. Frames that it took and
        // did not get to publish (their slots have length 0) are passed over: they are lost with it.
        self.ring.resync();
        self.exchange.mend(&self.ring);
        // The kernel answers first: the ring of a port that is gone is read, and not written.
        self.sync();
        let (old, tail) = (self.ring.head(), self.ring.tail());
        let (mut slot, mut head, mut passed, mut taken) = (old, old, 0, 0);
        while slot != tail {
            slot = self.ring.next(slot);
            passed += 1;
            if self.ring.slot(self.ring.previous(slot)).length == 0 {
                (head, taken) = (slot, taken + 1);
            }
        }
        let moved = u64::from(self.ring.distance(old, head));
        let slots = u64::from(self.ring.num_slots());
        if self.ledger.position() % slots == u64::from(old) {
            self.ledger.advance(moved, moved.saturating_sub(taken));
        }
        debug_assert!(moved <= passed);
        self.ledger.settle(u64::from(head), slots);
        if self.open {
            self.ring.publish(head);
            self.sync();
        }
    }

    fn wait_fd(&mut self) -> Option<RawFd> {
        self.exchange.wait_fd(&self.ring)
    }
}

impl<X: Exchange> Drop for RingReceiver<X> {
    fn drop(&mut self) {
        if !self.parked {
            self.sync();
        }
        self.exchange.close(&self.ring, &mut self.free);
    }
}

/// The transmitting half over one TX ring.
pub struct RingTransmitter<X: Exchange> {
    ring: Ring,
    exchange: X,
    place: Place,
    region: u16,
    /// Next slot to fill; everything from the ring's head to here is queued and not published.
    next: u32,
    /// Tail when it was last looked at: the slots from `next` to here are free, and perhaps more.
    tail: u32,
    /// The full ring was synced once in this burst already.
    synced_full: bool,
    /// Frames queued and not published, and their bytes.
    queued: (u64, u64),
    /// Of the slots queued and not published, those that are no frame of the traffic: built by a
    /// stage, or the further slots of a chain.
    built: u64,
    /// The ring is there; not while its port is gone.
    open: bool,
    /// The port was down at the last sync: what was queued then is still to be taken.
    unsent: bool,
    /// The ring is somebody else's for now.
    parked: bool,
    counters: Arc<PortCounters>,
    ledger: Ledger,
}

impl<X: Exchange> RingTransmitter<X> {
    /// A transmitter.
    pub fn new(ring: Ring, exchange: X, place: Place) -> RingTransmitter<X> {
        let next = ring.head();
        let ledger = Ledger::default();
        ledger.begin(u64::from(next));
        RingTransmitter {
            ring,
            exchange,
            place,
            region: 0,
            next,
            tail: next,
            synced_full: false,
            queued: (0, 0),
            built: 0,
            open: true,
            unsent: false,
            parked: false,
            counters: Arc::default(),
            ledger,
        }
    }

    /// The ring, to look at.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// The exchange, for tests that go behind the ring's back.
    #[cfg(test)]
    pub(in crate::port) fn exchange_mut(&mut self) -> &mut X {
        &mut self.exchange
    }

    fn publish(&mut self) {
        if self.open {
            let queued = self.ring.distance(self.ring.head(), self.next);
            if queued > 0 {
                self.ledger.advance(u64::from(queued), self.built);
                self.built = 0;
            }
            self.ring.publish(self.next);
        }
        let (packets, bytes) = std::mem::take(&mut self.queued);
        self.counters.add(PortCounter::Packets, packets);
        self.counters.add(PortCounter::Bytes, bytes);
        let synced = self.exchange.sync(&mut self.ring);
        count(&self.counters, synced, self.open);
        self.open = synced != Synced::Gone;
        self.unsent = synced == Synced::Down;
        if synced == Synced::Reopened {
            self.next = self.ring.head();
        } else if self.open && self.ring.is_reinit() {
            // What the kernel had not taken yet is not sent: its slots are free again, and the
            // buffers in them stay where they are.
            let before = self.ring.head();
            self.ring.resync();
            let lost = self.ring.distance(self.ring.head(), before);
            self.next = self.ring.head();
            self.counters.add(PortCounter::Reinit, 1);
            self.counters.add(PortCounter::ReinitLost, u64::from(lost));
        }
        self.space();
    }

    /// Free slots, by a look at the tail.
    fn space(&mut self) -> u32 {
        self.tail = match self.open {
            true => self.ring.tail(),
            false => self.next,
        };
        self.ring.distance(self.next, self.tail)
    }

    /// Whether a slot is free; a full ring is synced once a burst to get finished slots back.
    fn has_slot(&mut self) -> bool {
        if self.next != self.tail || self.space() > 0 {
            return true;
        }
        if !self.synced_full {
            self.synced_full = true;
            self.publish();
        }
        self.space() > 0
    }

    fn refuse(&self, reason: Reason) -> Result<(), Reason> {
        let counter = match reason {
            Reason::PortTxFull => PortCounter::RingFull,
            Reason::PortFrameTooLong => PortCounter::TooLong,
            _ => PortCounter::Reinit,
        };
        self.counters.add(counter, 1);
        Err(reason)
    }

    /// A frame that finds no slot: the ring of a port that is down or gone is not full of traffic.
    fn refuse_full(&self) -> Result<(), Reason> {
        match self.open && !self.unsent {
            true => self.refuse(Reason::PortTxFull),
            false => Err(Reason::PortTxDown),
        }
    }

    fn queued(&mut self, bytes: usize) -> Result<(), Reason> {
        self.next = self.ring.next(self.next);
        self.queued.0 += 1;
        self.queued.1 += bytes as u64;
        Ok(())
    }

    /// Whether the context's frame lies, whole and from the start, in the buffer that it owns.
    fn is_swappable(&self, context: &Context) -> bool {
        context.span.region == self.region
            && context.buffer.index().is_some_and(|index| {
                self.ring.is_buffer(index)
                    && self.ring.buffer_at(index) as u64 == context.span.offset
                    && context.span.length <= self.ring.buf_size()
            })
    }

    fn copy(&mut self, frame: &[u8]) -> Result<(), Reason> {
        let buf_size = self.ring.buf_size().min(u32::from(u16::MAX)) as usize;
        if frame.len() > buf_size {
            return self.copy_chain(frame, buf_size);
        }
        if !self.ring.write(self.next, frame, false) {
            return self.refuse(Reason::PortTxDown);
        }
        self.queued(frame.len())
    }

    /// Copies a frame that is longer than a buffer into as many slots as it takes, or into none.
    fn copy_chain(&mut self, frame: &[u8], buf_size: usize) -> Result<(), Reason> {
        let parts = frame.len().div_ceil(buf_size);
        let longest = self.place.longest.min(CHAIN_BYTES_MAX);
        if frame.len() > longest as usize || parts > CHAIN_SLOTS_MAX as usize {
            return self.refuse(Reason::PortFrameTooLong);
        }
        if (self.space() as usize) < parts && !self.synced_full {
            self.synced_full = true;
            self.publish();
        }
        if (self.space() as usize) < parts {
            return self.refuse_full();
        }
        let mut slot = self.next;
        for (part, number) in frame.chunks(buf_size).zip(1..) {
            if !self.ring.write(slot, part, number < parts) {
                return self.refuse(Reason::PortTxDown);
            }
            slot = self.ring.next(slot);
        }
        self.next = self.ring.previous(slot);
        self.built += parts as u64 - 1;
        self.counters.add(PortCounter::Chains, 1);
        self.queued(frame.len())
    }
}

impl<X: Exchange> Transmit for RingTransmitter<X> {
    fn register(&mut self, regions: &mut Regions) {
        self.region = regions.add_once(&self.place.region);
    }

    fn transmit(&mut self, context: &mut Context, regions: &Regions) -> Result<(), Reason> {
        if !self.has_slot() {
            return self.refuse_full();
        }
        if !self.is_swappable(context) {
            let frame = regions.bytes(context.span);
            self.copy(frame)?;
            self.counters.add(PortCounter::Copied, 1);
            self.counters
                .add(PortCounter::CopiedBytes, frame.len() as u64);
            return Ok(());
        }
        let length = context.span.length;
        let Some(buffer) = context.buffer.take() else {
            return self.refuse(Reason::PortTxDown);
        };
        let (home, result) = match self.ring.swap_out(self.next, buffer, length as u16) {
            Ok(displaced) => (displaced, self.queued(length as usize)),
            Err(own) => (own, self.refuse(Reason::PortTxDown)),
        };
        context.buffer.put(home);
        result
    }

    fn send_copy(&mut self, frame: &[u8]) -> Result<(), Reason> {
        if !self.has_slot() {
            return self.refuse_full();
        }
        self.copy(frame)?;
        self.built += 1;
        Ok(())
    }

    fn sync(&mut self) {
        self.synced_full = false;
        if self.unsent || self.next != self.ring.head() {
            self.publish();
        }
    }

    fn room(&mut self) -> usize {
        // Slots come back with a sync only, and each burst's own sync brings those that are done;
        // one more is for when not even a burst would find room.
        if self.space() < (BURST_MAX as u32).min(self.ring.num_slots() / 2) {
            self.publish();
        }
        match self.open {
            true => self.space() as usize,
            // What is for a port that is gone is dropped, and waits for nothing.
            false => usize::MAX,
        }
    }

    fn is_drained(&mut self) -> bool {
        self.publish();
        self.space() == self.ring.num_slots() - 1
    }

    fn counters(&self) -> &Arc<PortCounters> {
        &self.counters
    }

    fn keep(&mut self, tally: Tally) {
        let head = u64::from(self.ring.head());
        tally.replace(head, &mut self.counters, &mut self.ledger);
    }

    fn park(&mut self) {
        if !self.parked {
            self.sync();
            self.parked = true;
        }
    }

    fn resume(&mut self) {
        self.ring.resync();
        // Whether the port is there: what is put into the ring of one that is gone is nowhere.
        let synced = self.exchange.sync(&mut self.ring);
        count(&self.counters, synced, self.open);
        self.open = synced != Synced::Gone;
        self.unsent = synced == Synced::Down;
        self.next = self.ring.head();
        self.space();
        self.synced_full = false;
        self.parked = false;
        (self.queued, self.built) = ((0, 0), 0);
    }

    fn take_over(&mut self) {
        // After a death: what was queued and not published is lost; its slots are filled anew.
        self.ring.resync();
        self.exchange.mend(&self.ring);
        self.resume();
        let slots = u64::from(self.ring.num_slots());
        self.ledger.settle(u64::from(self.ring.head()), slots);
        if self.open {
            self.ring.publish(self.next);
        }
    }
}

impl<X: Exchange> Drop for RingTransmitter<X> {
    fn drop(&mut self) {
        self.park();
        self.exchange.close(&self.ring, &mut Vec::new());
    }
}
