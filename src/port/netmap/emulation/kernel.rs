//! The emulated machine's syncs: what the kernel does with a ring inside a call, and the checks
//! that make it stricter than the kernel (emulation.rs says which).

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};

use super::{CABLE_FRAMES_MAX, Faults, Kind, Memory, Owner, Port, State, Violation, errno};
use crate::port::ring::{BUF_CHANGED, MORE_FRAGMENTS, Ring, Slot};

/// Syncs between two looks at all slots of a ring.
const SCAN_EVERY: u32 = 64;

/// The kernel's side of a ring.
pub(super) struct Kring {
    pub ring: Ring,
    /// Byte position of the ring in its region.
    pub at: usize,
    /// First slot that the kernel has not taken back yet.
    hwcur: u32,
    /// First slot behind the application's.
    pub hwtail: u32,
    /// Transmit: slots sent whose return is delayed.
    sent: u32,
    /// What each slot said when the application got it, or gave it.
    shadow: Vec<Slot>,
    syncs: u32,
    /// The next sync sets the ring anew.
    pub reinit_next: bool,
    /// Polls readable while frames wait.
    pub wake: File,
    signalled: bool,
}

impl Kring {
    pub fn new(ring: Ring, at: usize, wake: File) -> Kring {
        let shadow = vec![Slot::default(); ring.num_slots() as usize];
        Kring {
            ring,
            at,
            hwcur: 0,
            hwtail: 0,
            sent: 0,
            shadow,
            syncs: 0,
            reinit_next: false,
            wake,
            signalled: false,
        }
    }

    /// Writes a slot, as the kernel.
    pub fn set(&mut self, slot: u32, value: Slot) {
        self.ring.set_slot(slot, value);
        self.shadow[slot as usize] = value;
    }

    /// Whether a slot is the application's.
    pub fn is_users(&self, slot: u32) -> bool {
        let from = |to| self.ring.distance(self.hwcur, to);
        from(slot) < from(self.hwtail)
    }

    /// Names the buffers of a pipe's transmitter.
    pub fn mirror(&mut self, other: &Kring) {
        for slot in 0..self.ring.num_slots() {
            self.set(slot, other.ring.slot(slot));
        }
        // Nothing was sent: the transmitter has all slots but one.
        self.sent = 0;
    }

    /// Buffers of a pipe: a slot that the receiver holds may have another than its twin.
    pub fn pipe_indexes<'a>(&'a self, tx: &'a Kring) -> impl Iterator<Item = u32> + 'a {
        (0..self.ring.num_slots()).map(|slot| match self.is_users(slot) {
            true => self.ring.slot(slot).index,
            false => tx.ring.slot(slot).index,
        })
    }

    /// Sets head, cur and tail anew.
    pub fn reinit(&mut self) {
        self.ring.kernel_reinit(self.hwcur);
        self.ring.kernel_set_tail(self.hwtail);
    }

    /// Head, if it and cur lie where they may.
    fn checked_head(&mut self) -> Result<u32, Violation> {
        let (head, cur) = self.ring.published();
        let ring = &self.ring;
        let owned = ring.distance(self.hwcur, self.hwtail);
        let within = |to: u32| to < ring.num_slots() && ring.distance(self.hwcur, to) <= owned;
        let order = ring.distance(self.hwcur, head) <= ring.distance(self.hwcur, cur);
        if within(head) && within(cur) && order {
            return Ok(head);
        }
        self.reinit();
        Err(Violation::HeadInvalid)
    }

    /// Wakes who waits for frames.
    fn signal(&mut self) {
        if !self.signalled {
            self.signalled = true;
            // An eventfd that is full is readable already: a failed write loses no wake-up.
            let _ = self.wake.write(&1u64.to_ne_bytes());
        }
    }

    fn unsignal(&mut self) {
        if self.signalled {
            self.signalled = false;
            // It does not block; that nothing was there to read is as good.
            let _ = self.wake.read(&mut [0; 8]);
        }
    }

    /// Kernel's slots that the application has written.
    fn touched(&self) -> usize {
        let slots = 0..self.ring.num_slots();
        slots
            .filter(|slot| !self.is_users(*slot))
            .filter(|slot| self.ring.slot(*slot) != self.shadow[*slot as usize])
            .count()
    }

    /// Takes a slot that the application gave: checks it, and makes its buffer the kernel's.
    fn take_slot(&mut self, slot: u32, memory: &mut Memory, found: &mut Vec<Violation>) -> Slot {
        let given = self.ring.slot(slot);
        let before = self.shadow[slot as usize];
        let allotted = (given.index as usize) < memory.owners.len();
        if !self.ring.is_buffer(given.index) || !allotted {
            // The kernel cannot use a buffer that there is not: the slot keeps its old one.
            found.push(Violation::IndexInvalid);
            let value = Slot {
                length: 0,
                ..before
            };
            self.set(slot, value);
            return value;
        }
        if given.index != before.index && given.flags & BUF_CHANGED == 0 {
            found.push(Violation::ChangeUntold);
        }
        if u32::from(given.length) > self.ring.buf_size() {
            found.push(Violation::TooLong);
        }
        let owner = &mut memory.owners[given.index as usize];
        if *owner != Owner::User {
            found.push(Violation::BufferTwice);
        }
        *owner = Owner::Kernel;
        self.shadow[slot as usize] = given;
        given
    }

    /// Hands slots up to `tail` to the application.
    fn hand(&mut self, tail: u32, memory: &mut Memory) {
        let mut slot = self.hwtail;
        while slot != tail {
            let index = self.ring.slot(slot).index;
            if let Some(owner) = memory.owners.get_mut(index as usize) {
                *owner = Owner::User;
            }
            self.shadow[slot as usize] = self.ring.slot(slot);
            slot = self.ring.next(slot);
        }
        self.hwtail = tail;
        self.ring.kernel_set_tail(tail);
    }
}

impl Port {
    /// Queues a frame for a receive ring; cables hold only so many.
    pub(super) fn push(&mut self, ring: usize, frame: &[u8]) {
        match self.queues.get_mut(ring) {
            Some(queue) if queue.len() < CABLE_FRAMES_MAX => queue.push_back(frame.to_vec()),
            _ => {
                self.lost += 1;
                return;
            }
        }
        if let Some(kring) = self.rx.get_mut(ring) {
            kring.signal();
        }
    }

    /// The ring that a frame goes to: by both addresses, the same for both directions.
    fn spread(&self, frame: &[u8]) -> usize {
        let word = |at: usize| {
            let bytes = frame.get(at..at + 4).and_then(|b| b.try_into().ok());
            u32::from_be_bytes(bytes.unwrap_or([0; 4]))
        };
        let hash = (word(26) ^ word(30)).wrapping_mul(0x9e37_79b1) >> 16;
        hash as usize % usize::from(self.rings).max(1)
    }

    fn has_room(&self, ring: usize) -> bool {
        self.queues
            .get(ring)
            .is_some_and(|queue| queue.len() < CABLE_FRAMES_MAX)
    }
}

impl State {
    /// TXSYNC or RXSYNC of a descriptor.
    pub(super) fn sync(&mut self, number: usize, receiving: bool) -> io::Result<()> {
        let Some(Some(bound)) = self.bound.get(number) else {
            return Err(errno(libc::EBADF));
        };
        let (port, region) = (bound.port, bound.region);
        let state = &self.ports[port];
        if state.gone || state.generation != bound.generation {
            return Err(errno(libc::ENXIO));
        }
        if state.down {
            return Err(errno(libc::EIO));
        }
        let rings = match receiving {
            true => bound.rx.clone(),
            false => bound.tx.clone(),
        };
        for ring in rings {
            match receiving {
                true => self.receive(port, ring, region),
                false => self.transmit(port, ring, region),
            }
        }
        Ok(())
    }

    /// Looks at the head of a ring and, now and then, at all of its slots. `None` after a reinit.
    fn prologue(&mut self, port: usize, ring: usize, receiving: bool) -> Option<u32> {
        let port = &mut self.ports[port];
        let kring = match receiving {
            true => &mut port.rx[ring],
            false => &mut port.tx[ring],
        };
        kring.syncs = kring.syncs.wrapping_add(1);
        let touched = match kring.syncs.is_multiple_of(SCAN_EVERY) {
            true => kring.touched(),
            false => 0,
        };
        if std::mem::take(&mut kring.reinit_next) {
            kring.reinit();
            return None;
        }
        let head = kring.checked_head();
        self.violations[Violation::SlotTouched as usize] += touched as u64;
        head.map_err(|violation| self.record(violation)).ok()
    }

    fn transmit(&mut self, port: usize, ring: usize, region: usize) {
        let Some(head) = self.prologue(port, ring, false) else {
            return;
        };
        let mut kring = self.ports[port].tx.remove(ring);
        let mut found = Vec::new();
        if let Kind::Pipe(other) = self.ports[port].kind {
            let receiver = &mut self.ports[other].rx[0];
            transmit_pipe(
                &mut kring,
                receiver,
                head,
                &mut self.regions[region],
                &mut found,
            );
        } else {
            self.transmit_copies(port, ring, region, &mut kring, head, &mut found);
        }
        self.ports[port].tx.insert(ring, kring);
        found
            .into_iter()
            .for_each(|violation| self.record(violation));
    }

    /// Puts frames on the wire, byte for byte; a full cable takes no more.
    fn transmit_copies(
        &mut self,
        port: usize,
        ring: usize,
        region: usize,
        kring: &mut Kring,
        head: u32,
        found: &mut Vec<Violation>,
    ) {
        let mut slot = kring.hwcur;
        let mut frame = Vec::new();
        while slot != head {
            if frame.is_empty() && !self.has_way(port, ring) {
                break;
            }
            let given = kring.take_slot(slot, &mut self.regions[region], found);
            frame.extend_from_slice(&bytes_of(kring, given));
            if given.flags & MORE_FRAGMENTS == 0 {
                self.deliver(port, ring, &frame);
                frame.clear();
            }
            let mut kept = given;
            kept.flags &= !BUF_CHANGED;
            kring.set(slot, kept);
            slot = kring.ring.next(slot);
            kring.sent += 1;
        }
        kring.hwcur = slot;
        complete(kring, &self.faults, &mut self.regions[region]);
    }

    /// Whether the other end of a cable has room; switches and the host stack drop instead.
    fn has_way(&self, port: usize, ring: usize) -> bool {
        match self.ports[port].kind {
            Kind::Nic(Some(other)) if ring < usize::from(self.ports[port].rings) => {
                let other = &self.ports[other];
                other.rx.is_empty()
                    || (0..usize::from(other.rings)).all(|ring| other.has_room(ring))
            }
            _ => true,
        }
    }

    fn deliver(&mut self, port: usize, ring: usize, frame: &[u8]) {
        match self.ports[port].kind {
            Kind::Nic(other) => {
                if ring >= usize::from(self.ports[port].rings) {
                    self.ports[port].host.push_back(frame.to_vec());
                } else if let Some(other) = other {
                    let ring = self.ports[other].spread(frame);
                    self.ports[other].push(ring, frame);
                }
            }
            Kind::Vale(switch) => {
                let others = self.ports.iter_mut().enumerate();
                for (_, other) in others.filter(|(number, _)| *number != port) {
                    if other.kind == Kind::Vale(switch) && other.users > 0 {
                        other.push(0, frame);
                    }
                }
            }
            Kind::Pipe(_) => {}
        }
    }

    fn receive(&mut self, port: usize, ring: usize, region: usize) {
        let Some(head) = self.prologue(port, ring, true) else {
            return;
        };
        let mut kring = self.ports[port].rx.remove(ring);
        let mut found = Vec::new();
        let memory = &mut self.regions[region];
        if let Kind::Pipe(other) = self.ports[port].kind {
            let sender = &mut self.ports[other].tx[0];
            receive_pipe(&mut kring, sender, head, memory, &mut found);
            let shown = shown(&kring, sender.hwcur, &self.faults);
            kring.hand(shown, memory);
            if shown == sender.hwcur {
                kring.unsignal();
            }
        } else {
            while kring.hwcur != head {
                let slot = kring.hwcur;
                let mut given = kring.take_slot(slot, memory, &mut found);
                given.flags = 0;
                kring.set(slot, given);
                kring.hwcur = kring.ring.next(slot);
            }
            let queue = &mut self.ports[port].queues[ring];
            let filled = fill_from(&mut kring, queue, &self.faults);
            kring.hand(filled, memory);
            if queue.is_empty() {
                kring.unsignal();
            }
        }
        if self.faults.spurious {
            kring.signal();
        }
        self.ports[port].rx.insert(ring, kring);
        found
            .into_iter()
            .for_each(|violation| self.record(violation));
    }
}

/// The bytes of a slot's frame.
fn bytes_of(kring: &Kring, slot: Slot) -> Vec<u8> {
    let at = kring.ring.buffer_at(slot.index);
    let length = usize::from(slot.length).min(kring.ring.buf_size() as usize);
    let mapping = kring.ring.mapping();
    let words = (0..length.div_ceil(4)).map(|word| {
        let word = mapping.word(at + word * 4);
        word.load(std::sync::atomic::Ordering::Relaxed)
            .to_le_bytes()
    });
    let mut bytes: Vec<u8> = words.flatten().collect();
    bytes.truncate(length);
    bytes
}

/// Hands sent slots back, at once or late.
fn complete(kring: &mut Kring, faults: &Faults, memory: &mut Memory) {
    if faults.complete_every > 1 && !kring.syncs.is_multiple_of(faults.complete_every) {
        return;
    }
    kring.sent = 0;
    let tail = kring.ring.previous(kring.hwcur);
    kring.hand(tail, memory);
}

/// How far a receiver may see.
fn shown(kring: &Kring, filled: u32, faults: &Faults) -> u32 {
    let ring = &kring.ring;
    if faults.shown_max == 0 || ring.distance(kring.hwtail, filled) <= faults.shown_max {
        return filled;
    }
    (kring.hwtail + faults.shown_max) % ring.num_slots()
}

/// Moves a pipe's slots to its receiver, index for index, and takes back what it is done with.
fn transmit_pipe(
    kring: &mut Kring,
    receiver: &mut Kring,
    head: u32,
    memory: &mut Memory,
    found: &mut Vec<Violation>,
) {
    let any = kring.hwcur != head;
    while kring.hwcur != head {
        let slot = kring.hwcur;
        let given = kring.take_slot(slot, memory, found);
        // The receiver must not have written to a slot that it gave back.
        if receiver.ring.slot(slot) != receiver.shadow[slot as usize] {
            found.push(Violation::SlotTouched);
        }
        receiver.set(slot, given);
        let mut kept = given;
        kept.flags &= !BUF_CHANGED;
        kring.set(slot, kept);
        kring.hwcur = kring.ring.next(slot);
    }
    if any {
        receiver.signal();
    }
    // One slot stays empty, so a receiver that has given back all leaves room for all but one.
    let tail = kring.ring.previous(receiver.hwcur);
    kring.hand(tail, memory);
}

/// Gives a pipe's slots back to its transmitter, with the buffers that the receiver put in.
fn receive_pipe(
    kring: &mut Kring,
    sender: &mut Kring,
    head: u32,
    memory: &mut Memory,
    found: &mut Vec<Violation>,
) {
    while kring.hwcur != head {
        let slot = kring.hwcur;
        let mut given = kring.take_slot(slot, memory, found);
        // The transmitter must not have written to a slot in flight.
        if sender.ring.slot(slot) != sender.shadow[slot as usize] {
            found.push(Violation::SlotTouched);
        }
        given.flags = 0;
        kring.set(slot, given);
        sender.set(slot, given);
        kring.hwcur = kring.ring.next(slot);
    }
}

/// Fills receive slots from a cable's queue. Gives the new tail.
fn fill_from(kring: &mut Kring, queue: &mut VecDeque<Vec<u8>>, faults: &Faults) -> u32 {
    let buf_size = kring.ring.buf_size() as usize;
    let mut tail = kring.hwtail;
    let mut shown = 0;
    while let Some(frame) = queue.front() {
        let parts = frame.len().div_ceil(buf_size).max(1) as u32;
        let room = kring.ring.num_slots() - 1 - kring.ring.distance(kring.hwcur, tail);
        if parts > room || faults.shown_max != 0 && shown >= faults.shown_max {
            break;
        }
        let Some(frame) = queue.pop_front() else {
            break;
        };
        for (part, bytes) in (1..).zip(frame.chunks(buf_size)) {
            let index = kring.ring.slot(tail).index;
            let mapping = kring.ring.mapping();
            mapping.write(kring.ring.buffer_at(index), bytes);
            let value = Slot {
                index,
                length: bytes.len() as u16,
                flags: if part < parts { MORE_FRAGMENTS } else { 0 },
            };
            kring.set(tail, value);
            tail = kring.ring.next(tail);
        }
        shown += 1;
    }
    tail
}
