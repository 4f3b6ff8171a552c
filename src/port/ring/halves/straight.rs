//! Frames straight from one ring into another of the same region, uninspected: what the keeper does
//! while no engine has the rings, and `passthrough` all the time. No context, no handle: each frame
//! costs two slots read and two written, as in netmap's own bridge.
//!
//! One free buffer of the receiver goes along: it takes the frame's place in the RX slot, the frame's
//! buffer goes into the TX slot, and what stood there is the free one from then on. So at every
//! moment each buffer is in one place or noted as the receiver's, as when a lane forwards, and a
//! death is mended in the same way: a slot whose frame was taken has length 0, the RX head is
//! published before the TX head, and a frame between the two is lost and never sent twice.

use super::{Exchange, MORE_FRAGMENTS, RingReceiver, RingTransmitter};
use crate::memory::Buffer;
use crate::port::{PortCounter, Received};

impl<X: Exchange> RingReceiver<X> {
    /// Moves up to `limit` frames into `to`, as far as that has room for them; its next sync sends
    /// them. `None`, and nothing was moved, where a frame waits that cannot go straight: the rings'
    /// regions differ, no buffer is free, it is a chain, or its slot is broken. Then it goes by
    /// `receive`; frames behind such a one wait for the next call.
    pub fn straight(&mut self, to: &mut RingTransmitter<X>, limit: usize) -> Option<Received> {
        if self.region != to.region || self.in_chain || self.free.is_empty() {
            return None;
        }
        let limit = u32::try_from(limit).unwrap_or(u32::MAX).min(to.space());
        let waiting = self.waiting(limit);
        self.counters.set_slots_used(u64::from(waiting));
        let mut received = Received::default();
        let mut spare = self.free.pop()?;
        let (mut slot, mut next) = (self.ring.head(), to.next);
        for _ in 0..waiting.min(limit) {
            let (free, moved) = self.move_frame(slot, to, next, spare);
            spare = free;
            let Some(length) = moved else {
                break;
            };
            received.count += 1;
            received.bytes += u64::from(length);
            (slot, next) = (self.ring.next(slot), to.ring.next(next));
        }
        self.free.push(spare);
        if received.count == 0 {
            return (waiting.min(limit) == 0).then_some(received);
        }
        let passed = received.count as u32;
        self.since_sync += passed;
        self.ledger.advance(u64::from(passed), 0);
        if self.open {
            self.ring.publish(slot);
        }
        to.next = next;
        received.count_in(&self.counters);
        to.counters.add(PortCounter::Packets, u64::from(passed));
        to.counters.add(PortCounter::Bytes, received.bytes);
        Some(received)
    }

    /// Moves the frame of one slot, if it is one buffer. Gives the buffer that is free now, and the
    /// frame's length if it went.
    fn move_frame(
        &self,
        slot: u32,
        to: &RingTransmitter<X>,
        next: u32,
        spare: Buffer,
    ) -> (Buffer, Option<u16>) {
        let found = self.ring.slot(slot);
        let length_max = self.ring.buf_size().min(to.ring.buf_size());
        if found.flags & MORE_FRAGMENTS != 0 || u32::from(found.length) > length_max {
            return (spare, None);
        }
        let buffer = match self.ring.swap_out(slot, spare, 0) {
            Ok(buffer) => buffer,
            Err(unused) => return (unused, None),
        };
        match to.ring.swap_out(next, buffer, found.length) {
            Ok(displaced) => (displaced, Some(found.length)),
            // The other side's slot is broken: the frame goes back to where it was.
            Err(own) => match self.ring.swap_out(slot, own, found.length) {
                Ok(spare) => (spare, None),
                Err(own) => (own, None),
            },
        }
    }
}
