//! The kernel's part of a memory: TXSYNC and RXSYNC of netmap pipes, index for index, with the
//! checks that make it stricter than the kernel (memory.rs says which).
//!
//! What crosses between the two sides are two words of a pipe's state, FILLED and EMPTIED, each
//! stored with release by one side and loaded with acquire by the other; everything else in a sync
//! is the caller's own. So the two ends need no lock between them.

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering, fence};

use super::{End, IN_PIPE, Memory, Plan, Violation, header, pipe_state};
use crate::memory::Buffer;
use crate::port::ring::halves::{Exchange, Synced};
use crate::port::ring::{BUF_CHANGED, Ring, Slot};

/// One half of one pipe: plays TXSYNC or RXSYNC for the ring at its end.
pub struct Pipe {
    pub(super) memory: Arc<Memory>,
    pub(super) pipe: usize,
    pub(super) end: End,
    pub(super) receiving: bool,
    /// The ring at the other end.
    pub(super) opposite: Ring,
    /// The receiver asked to be woken and its descriptor may be readable.
    pub(super) armed: bool,
    /// It stands in the count of open halves.
    pub(super) counted: bool,
    /// Extra buffers that the receiver fetches when it goes on.
    pub(super) extra: u32,
}

impl Pipe {
    pub(super) fn state(&self, field: usize) -> &AtomicU32 {
        self.memory.state(self.pipe, field)
    }

    /// Head, if it and cur lie where they may; otherwise sets the ring anew, as the kernel does.
    fn checked_head(&self, ring: &Ring, taken: u32) -> u32 {
        let (head, cur) = ring.published();
        let tail = ring.tail();
        let slots = ring.num_slots();
        let within = |to: u32| to < slots && ring.distance(taken, to) <= ring.distance(taken, tail);
        if within(head) && within(cur) && ring.distance(taken, head) <= ring.distance(taken, cur) {
            return head;
        }
        self.memory.record(Violation::HeadInvalid);
        ring.kernel_reinit(taken);
        taken
    }

    /// Checks a slot that its owner gave to the kernel: the buffer must be its side's, a change
    /// must be told. `before` is what the kernel last put there.
    fn check_given(&self, ring: &Ring, given: Slot, before: Slot) -> bool {
        let memory = &self.memory;
        if !ring.is_buffer(given.index) || given.index >= memory.plan.buffers {
            memory.record(Violation::IndexInvalid);
            return false;
        }
        if given.index != before.index && given.flags & BUF_CHANGED == 0 {
            memory.record(Violation::ChangeUntold);
        }
        if u32::from(given.length) > ring.buf_size() {
            memory.record(Violation::TooLong);
        }
        true
    }

    /// TXSYNC: moves slots from our TX ring to the receiver's ring.
    fn transmit(&self, ring: &Ring) {
        let (memory, side) = (&self.memory, self.end.side as u32);
        let taken = self.state(pipe_state::TX_TAKEN);
        let mut slot = taken.load(Ordering::Relaxed);
        let head = self.checked_head(ring, slot);
        let any = slot != head;
        while slot != head {
            let mut given = ring.slot(slot);
            let shadow = memory.shadow(self.pipe, slot, 0);
            let before = Slot::from_word(shadow.load(Ordering::Relaxed));
            if !self.check_given(ring, given, before) {
                // The kernel cannot send a buffer that there is not: the slot keeps its old one.
                given = Slot {
                    length: 0,
                    ..before
                };
            }
            if memory.owner(given.index).swap(IN_PIPE, Ordering::AcqRel) != side {
                memory.record(Violation::BufferTwice);
            }
            // The receiver must not have written to a slot that it gave back.
            let returned = memory.shadow(self.pipe, slot, 1).load(Ordering::Acquire);
            if self.opposite.slot(slot).word() != returned {
                memory.record(Violation::SlotTouched);
            }
            self.opposite.set_slot(slot, given);
            given.flags &= !BUF_CHANGED;
            ring.set_slot(slot, given);
            shadow.store(given.word(), Ordering::Release);
            slot = ring.next(slot);
        }
        taken.store(slot, Ordering::Relaxed);
        self.state(pipe_state::FILLED)
            .store(slot, Ordering::Release);
        ring.kernel_set_tail(self.state(pipe_state::EMPTIED).load(Ordering::Acquire));
        if any {
            self.wake();
        }
    }

    /// RXSYNC: gives the slots that we are done with back to the transmitter, shows new ones.
    fn receive(&self, ring: &Ring) {
        let (memory, side) = (&self.memory, self.end.side as u32);
        let sender = self.end.side.other() as u32;
        let taken = self.state(pipe_state::RX_TAKEN);
        let first = taken.load(Ordering::Relaxed);
        let mut slot = first;
        let head = self.checked_head(ring, slot);
        while slot != head {
            let mut given = ring.slot(slot);
            let sent = memory.shadow(self.pipe, slot, 0);
            let before = Slot::from_word(sent.load(Ordering::Acquire));
            if !self.check_given(ring, given, before) {
                given = before;
            }
            // Either the frame's buffer comes back, or another one in its place: both are the
            // receiver's until now.
            if memory.owner(given.index).swap(sender, Ordering::AcqRel) != side {
                memory.record(Violation::BufferTwice);
            }
            // The transmitter must not have written to a slot in flight.
            if self.opposite.slot(slot) != before {
                memory.record(Violation::SlotTouched);
            }
            given.flags = 0;
            self.opposite.set_slot(slot, given);
            sent.store(given.word(), Ordering::Release);
            ring.set_slot(slot, given);
            memory
                .shadow(self.pipe, slot, 1)
                .store(given.word(), Ordering::Release);
            slot = ring.next(slot);
        }
        taken.store(slot, Ordering::Relaxed);
        if slot != first {
            self.state(pipe_state::EMPTIED)
                .store(ring.previous(slot), Ordering::Release);
        }
        let shown = self.shown(ring);
        let mut slot = ring.tail();
        while slot != shown {
            // From now on the frame's buffer is the receiver's, who may send it on before the slot
            // comes back.
            let index = ring.slot(slot).index;
            if memory.owner(index).swap(side, Ordering::AcqRel) != IN_PIPE {
                memory.record(Violation::BufferTwice);
            }
            slot = ring.next(slot);
        }
        ring.kernel_set_tail(shown);
    }

    /// How far the receiver may see.
    fn shown(&self, ring: &Ring) -> u32 {
        let filled = self.state(pipe_state::FILLED).load(Ordering::Acquire);
        let shown_max = self.memory.mapping.word(header::SHOWN_MAX);
        let shown_max = shown_max.load(Ordering::Relaxed);
        // Frames shown before stay shown: tail never goes back.
        let tail = ring.tail();
        if shown_max == 0 || ring.distance(tail, filled) <= shown_max {
            return filled;
        }
        (tail + shown_max) % ring.num_slots()
    }

    /// Wakes the receiver, if it waits.
    pub(super) fn wake(&self) {
        // Pairs with the fence in `wait_fd`: either we see that it waits, or it sees the frames.
        fence(Ordering::SeqCst);
        let waiting = self.state(pipe_state::WAITING);
        if waiting.load(Ordering::Relaxed) == 0 || waiting.swap(0, Ordering::AcqRel) == 0 {
            return;
        }
        if let Some(mut wake) = self.memory.wakes.get(self.pipe) {
            // An eventfd that is full is readable already: a failed write loses no wake-up.
            let _ = wake.write(&1u64.to_ne_bytes());
        }
    }

    /// Makes the descriptor unreadable again after a wake-up.
    fn disarm(&mut self) {
        self.state(pipe_state::WAITING).store(0, Ordering::Release);
        if let Some(mut wake) = self.memory.wakes.get(self.pipe) {
            // It does not block; that nothing was there to read is as good.
            let _ = wake.read(&mut [0; 8]);
        }
        self.armed = false;
    }
}

impl Exchange for Pipe {
    fn sync(&mut self, ring: &mut Ring) -> Synced {
        if self.armed {
            self.disarm();
        }
        // The kernel only tries its lock as well: who comes second is sent away.
        let busy = match self.receiving {
            true => self.state(pipe_state::RX_BUSY),
            false => self.state(pipe_state::TX_BUSY),
        };
        if busy.swap(1, Ordering::Acquire) != 0 {
            self.memory.record(Violation::TwoThreads);
            return Synced::Up;
        }
        match self.receiving {
            true => self.receive(ring),
            false => self.transmit(ring),
        }
        busy.store(0, Ordering::Release);
        Synced::Up
    }

    fn wait_fd(&mut self, ring: &Ring) -> Option<RawFd> {
        self.armed = true;
        self.state(pipe_state::WAITING).store(1, Ordering::Release);
        fence(Ordering::SeqCst);
        let filled = self.state(pipe_state::FILLED).load(Ordering::Acquire);
        if ring.space() > 0 || filled != ring.tail() {
            self.disarm();
            return None;
        }
        self.memory.wakes.get(self.pipe).map(AsRawFd::as_raw_fd)
    }

    fn fetch(&mut self, _ring: &Ring, free: &mut Vec<Buffer>) {
        let wanted = self.extra.saturating_sub(free.len() as u32);
        self.memory.grant_to(free, wanted, self.end.side);
    }

    fn leave(&mut self, _ring: &Ring, free: &mut Vec<Buffer>) {
        self.memory.take_back(free, self.end.side);
    }

    fn mend(&mut self, ring: &Ring) {
        self.mend_half(ring);
    }

    fn close(&mut self, _ring: &Ring, free: &mut Vec<Buffer>) {
        self.memory.take_back(free, self.end.side);
        if !self.counted {
            return;
        }
        let number = Plan::end_number(self.end);
        self.memory
            .mapping
            .word(header::OPEN + number * 4)
            .fetch_sub(1, Ordering::AcqRel);
    }
}
