//! Ports in memory: two cables whose ends are netmap rings in one memfd, with the kernel's part of
//! the work played by the code here. Tests drive the engine's ring code through it in one process,
//! and keeper, engine and pcap-replay through `mem:PATH` ports in several (memory/handover.rs).
//!
//! ```text
//!   pcap-replay                    Sluice                     pcap-replay
//!   end }0  <==== cable 0 ====>  {0 inside  outside {1  <==== cable 1 ====>  end }1
//! ```
//!
//! A cable is a pair of netmap pipes for each ring: TX of one end to RX of the other. As in the
//! kernel's pipes (and like system calls), a sync runs in the caller's thread and copies slots
//! index for index; nothing copies bytes. It exercises our port layer, not the netmap kernel.
//!
//! It is stricter than the kernel: every buffer belongs to one side (or is in a pipe), and what the
//! kernel would forgive or corrupt is a recorded [`Violation`], so that tests can assert none.
//! Checks look only at slots that the sync in hand owns, so they hold with both ends running.

pub mod handover;
mod kernel;
mod recover;

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::ring::halves::{Place, RingReceiver, RingTransmitter};
use super::ring::{
    self, Audit, BUFFER_INDEX_MIN, Mapping, RING_OFFSETS_AT, Ring, SLOT_BYTES, SLOTS_AT, Slot,
};
use crate::memory::{Buffer, Region, between};

pub use super::served::Violation;
pub use kernel::Pipe;

/// Cables of a memory: one for the inside port, one for the outside port.
pub const CABLES: u32 = 2;
/// Rings of an end, at most: their descriptors must fit one message of the hand-over.
pub const RINGS_MAX: u32 = 32;
/// `Context::link` of frames in memory: Ethernet.
pub const LINK_ETHERNET: u8 = 1;

/// Which side of a cable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Side {
    /// The network's side: pcap-replay, tests.
    Outer = 0,
    /// The engine's side.
    Inner = 1,
}

impl Side {
    fn other(self) -> Side {
        match self {
            Side::Outer => Side::Inner,
            Side::Inner => Side::Outer,
        }
    }
}

/// One end of a cable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct End {
    /// 0 inside, 1 outside.
    pub cable: u8,
    /// Which side of it.
    pub side: Side,
}

/// Sizes of a memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// Slots of each ring; one stays empty.
    pub slots: u32,
    /// Rings of each end, in each direction.
    pub rings: u32,
    /// Bytes of a buffer.
    pub buf_size: u32,
    /// Buffers beyond those in slots, for all receivers together.
    pub extra: u32,
}

impl Default for Shape {
    fn default() -> Shape {
        Shape {
            slots: 1024,
            rings: 1,
            buf_size: 2048,
            extra: 16_384,
        }
    }
}

/// Byte positions in a memory, all from its shape.
#[derive(Clone, Copy, Debug)]
struct Plan {
    shape: Shape,
    buffers: u32,
    interfaces_at: usize,
    rings_at: usize,
    ring_bytes: usize,
    pipes_at: usize,
    shadow_at: usize,
    owners_at: usize,
    pool_at: usize,
    buffers_at: usize,
    length: usize,
}

mod header {
    //! Byte positions of the words at the start of a memory.
    pub const MAGIC: usize = 0;
    pub const SLOTS: usize = 4;
    pub const RINGS: usize = 8;
    pub const BUF_SIZE: usize = 12;
    pub const EXTRA: usize = 16;
    /// Most frames that an RX sync shows at once, 0 for all: a reluctant kernel.
    pub const SHOWN_MAX: usize = 24;
    pub const POOL_LOCK: usize = 32;
    pub const POOL_COUNT: usize = 36;
    /// Halves open, by end.
    pub const OPEN: usize = 64;
    pub const VIOLATIONS: usize = 128;
}

const MAGIC: u32 = 0x736c_7563;
const PAGE: usize = 4096;

mod pipe_state {
    //! Byte positions in a pipe's state; each group is written by one side, on a line of its own.
    pub const BYTES: usize = 256;
    /// Next slot that a TX sync takes; TX side.
    pub const TX_TAKEN: usize = 0;
    pub const TX_BUSY: usize = 4;
    /// First slot not handed to the receiver; TX side writes.
    pub const FILLED: usize = 64;
    /// The receiver waits to be woken.
    pub const WAITING: usize = 68;
    /// First slot that the transmitter may not fill; RX side writes.
    pub const EMPTIED: usize = 128;
    /// Next slot that an RX sync takes back; RX side.
    pub const RX_TAKEN: usize = 192;
    pub const RX_BUSY: usize = 196;
}

/// Owner word of a buffer in a pipe; otherwise it is the `Side` that owns it.
const IN_PIPE: u32 = 2;
/// Owner word of a buffer in the pool.
const IN_POOL: u32 = 3;

impl Plan {
    fn new(shape: Shape) -> Plan {
        let pipes = (CABLES * 2 * shape.rings) as usize;
        let page = |bytes: usize| bytes.next_multiple_of(PAGE);
        let buffers = BUFFER_INDEX_MIN + CABLES * 2 * shape.rings * shape.slots + shape.extra;
        let interfaces_at = PAGE;
        let rings_at = interfaces_at + (CABLES as usize * 2) * PAGE;
        let ring_bytes = page(SLOTS_AT + shape.slots as usize * SLOT_BYTES);
        let pipes_at = rings_at + pipes * 2 * ring_bytes;
        let shadow_at = page(pipes_at + pipes * pipe_state::BYTES);
        let owners_at = page(shadow_at + pipes * shape.slots as usize * 16);
        let pool_at = page(owners_at + buffers as usize * 4);
        let buffers_at = page(pool_at + buffers as usize * 4);
        Plan {
            shape,
            buffers,
            interfaces_at,
            rings_at,
            ring_bytes,
            pipes_at,
            shadow_at,
            owners_at,
            pool_at,
            buffers_at,
            length: buffers_at + buffers as usize * shape.buf_size as usize,
        }
    }

    fn end_number(end: End) -> usize {
        usize::from(end.cable) * 2 + end.side as usize
    }

    fn interface_at(&self, end: End) -> usize {
        self.interfaces_at + Plan::end_number(end) * PAGE
    }

    /// The pipe whose TX ring is ring `ring` of `end`.
    fn pipe(&self, end: End, ring: u32) -> usize {
        Plan::end_number(end) * self.shape.rings as usize + ring as usize
    }

    /// The ring at the TX (0) or RX (1) end of a pipe.
    fn ring_at(&self, pipe: usize, receiving: usize) -> usize {
        self.rings_at + (pipe * 2 + receiving) * self.ring_bytes
    }

    fn pipes(&self) -> usize {
        (CABLES * 2 * self.shape.rings) as usize
    }
}

/// Two cables in shared memory.
pub struct Memory {
    mapping: Arc<Mapping>,
    region: Arc<Region>,
    plan: Plan,
    /// The memfd, to hand over.
    fd: OwnedFd,
    /// Descriptors that wake receivers, by pipe.
    wakes: Vec<File>,
}

impl Memory {
    /// Makes a memory with all rings empty.
    ///
    /// # Errors
    /// A shape that makes no sense, or what the kernel says to its size.
    pub fn new(shape: Shape) -> std::io::Result<Arc<Memory>> {
        let invalid = |what| Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, what));
        if !(2..=65_536).contains(&shape.slots) || !(1..=RINGS_MAX).contains(&shape.rings) {
            return invalid("a ring has 2 to 65,536 slots, an end 1 to 32 rings");
        }
        if !(64..=65_535).contains(&shape.buf_size) || !shape.buf_size.is_multiple_of(64) {
            return invalid("a buffer has 64 to 65,535 bytes, a multiple of 64");
        }
        let plan = Plan::new(shape);
        let fd = between::memfd(c"sluice-ports", plan.length)?;
        let wakes = (0..plan.pipes())
            .map(|_| eventfd())
            .collect::<std::io::Result<_>>()?;
        let memory = Memory::over(plan, fd, wakes)?;
        memory.lay_out();
        Ok(Arc::new(memory))
    }

    fn over(plan: Plan, fd: OwnedFd, wakes: Vec<File>) -> std::io::Result<Memory> {
        let mapping = Mapping::new(fd.as_fd(), plan.length)?;
        let region = mapping.region();
        Ok(Memory {
            mapping,
            region,
            plan,
            fd,
            wakes,
        })
    }

    /// A memory that another process made, from its descriptors.
    fn adopt(fd: OwnedFd, wakes: Vec<File>) -> std::io::Result<Arc<Memory>> {
        let invalid = |what| std::io::Error::new(std::io::ErrorKind::InvalidData, what);
        let length = File::from(fd.try_clone()?).metadata()?.len();
        if length < PAGE as u64 {
            return Err(invalid("the memory is too small"));
        }
        let first = Mapping::new(fd.as_fd(), PAGE)?;
        let word = |at: usize| first.word(at).load(Ordering::Acquire);
        let shape = Shape {
            slots: word(header::SLOTS),
            rings: word(header::RINGS),
            buf_size: word(header::BUF_SIZE),
            extra: word(header::EXTRA),
        };
        if word(header::MAGIC) != MAGIC || shape.rings > RINGS_MAX || shape.slots > 65_536 {
            return Err(invalid("the memory is not one of this version's"));
        }
        let plan = Plan::new(shape);
        if plan.length as u64 != length || wakes.len() != plan.pipes() {
            return Err(invalid("the memory's size does not fit its shape"));
        }
        Memory::over(plan, fd, wakes).map(Arc::new)
    }

    /// Writes header, interfaces, rings and pool of a fresh (zeroed) memory.
    fn lay_out(&self) {
        let plan = &self.plan;
        let set = |at: usize, value: u32| self.mapping.word(at).store(value, Ordering::Release);
        for cable in 0..CABLES as u8 {
            for side in [Side::Outer, Side::Inner] {
                self.lay_out_end(End { cable, side });
            }
        }
        let first = BUFFER_INDEX_MIN + plan.pipes() as u32 * plan.shape.slots;
        for (place, index) in (first..plan.buffers).enumerate() {
            set(plan.pool_at + place * 4, index);
            self.owner(index).store(IN_POOL, Ordering::Release);
        }
        set(header::POOL_COUNT, plan.shape.extra);
        set(header::SLOTS, plan.shape.slots);
        set(header::RINGS, plan.shape.rings);
        set(header::BUF_SIZE, plan.shape.buf_size);
        set(header::EXTRA, plan.shape.extra);
        set(header::MAGIC, MAGIC);
    }

    fn lay_out_end(&self, end: End) {
        const API: u32 = 14;
        let plan = &self.plan;
        let interface_at = plan.interface_at(end);
        let set = |at: usize, value: u32| self.mapping.word(at).store(value, Ordering::Release);
        set(interface_at + 16, API);
        set(interface_at + 24, plan.shape.rings);
        set(interface_at + 28, plan.shape.rings);
        let opposite = End {
            cable: end.cable,
            side: end.side.other(),
        };
        for number in 0..plan.shape.rings {
            let pipe = plan.pipe(end, number);
            let transmit_at = plan.ring_at(pipe, 0);
            let receive_at = plan.ring_at(plan.pipe(opposite, number), 1);
            let offsets = interface_at + RING_OFFSETS_AT;
            for (place, at) in [
                (number, transmit_at),
                (plan.shape.rings + number, receive_at),
            ] {
                self.mapping
                    .double(offsets + place as usize * 8)
                    .store((at - interface_at) as u64, Ordering::Release);
            }
            // Both rings of a pipe start with the same buffers: the transmitter's.
            self.lay_out_ring(transmit_at, pipe, plan.shape.slots - 1);
            self.lay_out_ring(plan.ring_at(pipe, 1), pipe, 0);
            let emptied = self.state(pipe, pipe_state::EMPTIED);
            emptied.store(plan.shape.slots - 1, Ordering::Release);
            for slot in 0..plan.shape.slots {
                let index = self.first_index(pipe) + slot;
                self.owner(index).store(end.side as u32, Ordering::Release);
            }
        }
    }

    fn lay_out_ring(&self, at: usize, pipe: usize, tail: u32) {
        let set = |at: usize, value: u32| self.mapping.word(at).store(value, Ordering::Release);
        let shape = &self.plan.shape;
        let buf_ofs = (self.plan.buffers_at - at) as u64;
        self.mapping.double(at).store(buf_ofs, Ordering::Release);
        set(at + 8, shape.slots);
        set(at + 12, shape.buf_size);
        set(at + 28, tail);
        for slot in 0..shape.slots {
            let word = Slot {
                index: self.first_index(pipe) + slot,
                ..Slot::default()
            };
            self.mapping
                .double(at + SLOTS_AT + slot as usize * SLOT_BYTES)
                .store(word.word(), Ordering::Release);
            // What the kernel last saw in both slots: these.
            for half in 0..2 {
                self.shadow(pipe, slot, half)
                    .store(word.word(), Ordering::Release);
            }
        }
    }

    fn first_index(&self, pipe: usize) -> u32 {
        BUFFER_INDEX_MIN + pipe as u32 * self.plan.shape.slots
    }

    fn owner(&self, index: u32) -> &AtomicU32 {
        self.mapping.word(self.plan.owners_at + index as usize * 4)
    }

    fn state(&self, pipe: usize, field: usize) -> &AtomicU32 {
        let at = self.plan.pipes_at + pipe * pipe_state::BYTES + field;
        self.mapping.word(at)
    }

    /// The word that a slot of the TX (0) or RX (1) ring of a pipe had when the kernel got it.
    fn shadow(&self, pipe: usize, slot: u32, half: usize) -> &AtomicU64 {
        let number = pipe * self.plan.shape.slots as usize + slot as usize;
        self.mapping
            .double(self.plan.shadow_at + (number * 2 + half) * 8)
    }

    fn record(&self, violation: Violation) {
        self.mapping
            .double(header::VIOLATIONS + violation as usize * 8)
            .fetch_add(1, Ordering::Relaxed);
    }

    /// Violations of a kind so far, by both sides.
    pub fn violations(&self, violation: Violation) -> u64 {
        self.mapping
            .double(header::VIOLATIONS + violation as usize * 8)
            .load(Ordering::Relaxed)
    }

    /// All violations so far.
    pub fn violations_total(&self) -> u64 {
        (0..Violation::KINDS)
            .map(|kind| self.mapping.double(header::VIOLATIONS + kind * 8))
            .map(|count| count.load(Ordering::Relaxed))
            .sum()
    }

    /// Makes the kernel show at most `count` frames in an RX sync; 0 for all of them.
    pub fn show_at_most(&self, count: u32) {
        self.mapping
            .word(header::SHOWN_MAX)
            .store(count, Ordering::Release);
    }

    /// The shape.
    pub fn shape(&self) -> Shape {
        self.plan.shape
    }

    /// Halves open at an end, in all processes.
    pub fn open_halves(&self, end: End) -> u32 {
        self.mapping
            .word(header::OPEN + Plan::end_number(end) * 4)
            .load(Ordering::Acquire)
    }

    /// Opens ring `ring` of an end with up to `extra` buffers; fewer where the pool has not as
    /// many, as in the kernel. `port` is the port's index in its lane.
    ///
    /// # Errors
    /// No such ring, or a memory that was damaged.
    pub fn open(
        self: &Arc<Memory>,
        end: End,
        ring: u32,
        extra: u32,
        port: u8,
    ) -> std::io::Result<(RingReceiver<Pipe>, RingTransmitter<Pipe>)> {
        let invalid =
            |what: &'static str| std::io::Error::new(std::io::ErrorKind::InvalidInput, what);
        if ring >= self.plan.shape.rings || u32::from(end.cable) >= CABLES {
            return Err(invalid("there is no such ring in the memory"));
        }
        let opposite = End {
            cable: end.cable,
            side: end.side.other(),
        };
        let interface_at = self.plan.interface_at(end);
        let ring_of = |at: usize| {
            Ring::new(Arc::clone(&self.mapping), at).map_err(|error| invalid(error.what))
        };
        let receive_ring = ring_of(ring::rx_ring_at(&self.mapping, interface_at, ring))?;
        let transmit_ring = ring_of(ring::tx_ring_at(&self.mapping, interface_at, ring))?;
        let mut receive = self.pipe_half(self.plan.pipe(opposite, ring), end, 1)?;
        let mut transmit = self.pipe_half(self.plan.pipe(end, ring), end, 0)?;
        (receive.counted, transmit.counted) = (true, true);
        let head = self.grant(&receive_ring, extra, end.side);
        let free = receive_ring.take_list(head, extra as usize);
        let place = || Place {
            region: Arc::clone(&self.region),
            port,
            link: LINK_ETHERNET,
            longest: 0,
        };
        let receiver = RingReceiver::new(receive_ring, receive, free, place());
        let transmitter = RingTransmitter::new(transmit_ring, transmit, place());
        self.mapping
            .word(header::OPEN + Plan::end_number(end) * 4)
            .fetch_add(2, Ordering::AcqRel);
        Ok((receiver, transmitter))
    }

    fn pipe_half(self: &Arc<Memory>, pipe: usize, end: End, half: usize) -> std::io::Result<Pipe> {
        let opposite = Ring::new(Arc::clone(&self.mapping), self.plan.ring_at(pipe, 1 - half))
            .map_err(|error| std::io::Error::other(error.what))?;
        Ok(Pipe {
            memory: Arc::clone(self),
            pipe,
            end,
            receiving: half == 1,
            opposite,
            armed: false,
            counted: false,
            extra: 0,
        })
    }

    // --- the pool of extra buffers ---

    /// Locks the pool in a side's name, so that a lock which a dead engine held can be told.
    fn with_pool<T>(&self, side: Side, work: impl FnOnce(&AtomicU32) -> T) -> T {
        let lock = self.mapping.word(header::POOL_LOCK);
        while lock
            .compare_exchange(0, 1 + side as u32, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            std::thread::yield_now();
        }
        let result = work(self.mapping.word(header::POOL_COUNT));
        lock.store(0, Ordering::Release);
        result
    }

    fn pool_word(&self, place: u32) -> &AtomicU32 {
        self.mapping.word(self.plan.pool_at + place as usize * 4)
    }

    /// Takes up to `count` buffers from the pool, linked to a list as the kernel links them at an
    /// opening; gives its head.
    fn grant(&self, ring: &Ring, count: u32, side: Side) -> u32 {
        let mut list = Vec::with_capacity(count as usize);
        self.grant_to(&mut list, count, side);
        ring.give_list(&mut list)
    }

    /// Takes up to `count` buffers from the pool, as far as `free` has room. No buffer is looked
    /// into: a takeover waits for this, and thousands of them lie on as many pages.
    fn grant_to(&self, free: &mut Vec<Buffer>, count: u32, side: Side) {
        self.with_pool(side, |available| {
            let count = (count as usize).min(free.capacity() - free.len());
            for _ in 0..count {
                let left = available.load(Ordering::Relaxed);
                if left == 0 {
                    break;
                }
                available.store(left - 1, Ordering::Relaxed);
                let index = self.pool_word(left - 1).load(Ordering::Relaxed);
                self.owner(index).store(side as u32, Ordering::Relaxed);
                free.push(Buffer::from_index(index));
            }
        });
    }

    fn take_back(&self, free: &mut Vec<Buffer>, side: Side) {
        self.with_pool(side, |available| {
            for buffer in free.drain(..) {
                let place = available.load(Ordering::Relaxed);
                self.owner(buffer.index()).store(IN_POOL, Ordering::Relaxed);
                self.pool_word(place)
                    .store(buffer.into_index(), Ordering::Relaxed);
                available.store(place + 1, Ordering::Relaxed);
            }
        });
    }

    /// Checks at a quiet moment that every buffer stands in one place (I5): slots, the pool, and
    /// those `held` in free lists and contexts.
    pub fn audit(&self, held: impl Iterator<Item = u32>) -> Audit {
        let mut places: Vec<u32> = held.collect();
        for pipe in 0..self.plan.pipes() {
            let load = |field| self.state(pipe, field).load(Ordering::Acquire);
            let (taken, filled) = (load(pipe_state::RX_TAKEN), load(pipe_state::FILLED));
            let slots = self.plan.shape.slots;
            for slot in 0..slots {
                // A slot that the receiver holds may have another buffer by now than its twin.
                let in_flight = (slot + slots - taken) % slots < (filled + slots - taken) % slots;
                let at = self.plan.ring_at(pipe, usize::from(in_flight));
                let word = self
                    .mapping
                    .double(at + SLOTS_AT + slot as usize * SLOT_BYTES);
                places.push(Slot::from_word(word.load(Ordering::Acquire)).index);
            }
        }
        self.with_pool(Side::Outer, |available| {
            for place in 0..available.load(Ordering::Relaxed) {
                places.push(self.pool_word(place).load(Ordering::Relaxed));
            }
        });
        ring::audit(BUFFER_INDEX_MIN, self.plan.buffers, places.into_iter())
    }
}

pub(super) fn eventfd() -> std::io::Result<File> {
    // SAFETY: no pointers; the result is checked.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if fd < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: just opened, and owned by nobody else.
    Ok(unsafe { File::from_raw_fd(fd) })
}

// ---------------------------------------------------------------------------------------------
// Descriptors over a socket
// ---------------------------------------------------------------------------------------------

// A memory's own descriptor and those of all its rings go in one message.
const _: () = assert!(((CABLES * 2 * RINGS_MAX) as usize) < between::DESCRIPTORS_MAX);

/// Sends a byte with descriptors along (SCM_RIGHTS).
pub(super) fn send_descriptors(socket: &UnixStream, fds: &[BorrowedFd<'_>]) -> std::io::Result<()> {
    between::send(socket.as_fd(), &[1], fds)
}

/// Receives a byte and the descriptors that came along.
pub(super) fn receive_descriptors(socket: &UnixStream) -> std::io::Result<Vec<OwnedFd>> {
    match between::receive(socket.as_fd(), &mut [0], true)? {
        Some((1, fds)) => Ok(fds),
        _ => Err(std::io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Whether a descriptor polls readable now, for tests of wake-ups.
#[cfg(test)]
fn polls_readable(fd: std::os::fd::RawFd) -> bool {
    let mut poll = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one valid pollfd, and no waiting.
    unsafe { libc::poll(&mut poll, 1, 0) == 1 }
}

#[cfg(test)]
mod tests;
