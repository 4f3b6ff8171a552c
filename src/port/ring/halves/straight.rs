//! Frames straight from one ring into another of the same region, uninspected: what the keeper does
//! while no engine has the rings, and `passthrough` all the time. No context, no handle: each frame
//! costs two slots read and two written, as in netmap's own bridge.
//!
//! One free buffer of the receiver goes along (`Ring::move_frames`). The RX head is published before
//! the TX head, so that a frame between the two is lost with its keeper and never sent twice.

use super::{Exchange, RingReceiver, RingTransmitter};
use crate::port::{PortCounter, Received};

impl<X: Exchange> RingReceiver<X> {
    /// Moves up to `limit` frames into `to`, as far as that has room for them; its next sync sends
    /// them. `None`, and nothing was moved, where a frame waits that cannot go straight: the rings'
    /// regions differ, the other port is gone, no buffer is free, it is a chain, or its slot is
    /// broken. Then it goes by `receive`; frames behind such a one wait for the next call.
    pub fn straight(&mut self, to: &mut RingTransmitter<X>, limit: usize) -> Option<Received> {
        if self.region != to.region || !to.open || self.in_chain || self.free.is_empty() {
            return None;
        }
        let limit = u32::try_from(limit).unwrap_or(u32::MAX).min(to.space());
        let waiting = self.waiting(limit);
        self.counters.set_slots_used(u64::from(waiting));
        let limit = limit.min(waiting);
        let spare = self.free.pop()?;
        let from = self.ring.head();
        let (passed, bytes, spare) = self
            .ring
            .move_frames((from, to.next), &to.ring, limit, spare);
        self.free.push(spare);
        let received = Received {
            count: passed as usize,
            bytes,
            ..Received::default()
        };
        if passed == 0 {
            return (limit == 0).then_some(received);
        }
        self.since_sync += passed;
        self.ledger.advance(u64::from(passed), 0);
        if self.open {
            self.ring.publish(self.ring.ahead(from, passed));
        }
        to.next = to.ring.ahead(to.next, passed);
        received.count_in(&self.counters);
        to.counters.add(PortCounter::Packets, u64::from(passed));
        to.counters.add(PortCounter::Bytes, received.bytes);
        Some(received)
    }
}
