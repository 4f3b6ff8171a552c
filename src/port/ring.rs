//! netmap's rings as they lie in shared memory, and the arithmetic on them. The layout is the
//! kernel's ABI 14 (netmap-sys, checked at compile time); the halves of a port that work on rings
//! are in ring/halves.rs, the kernels that tests play are memory.rs and netmap/emulation.rs.
//!
//! ```text
//!            head      cur              tail
//!              v        v                 v
//!  +-----------+--------+-----------------+-------------+
//!  | kernel's  |        ours              |  kernel's   |     slots, modulo num_slots
//!  +-----------+--------------------------+-------------+
//! ```
//!
//! Ownership, written once: slots in [head..tail) are ours, all others the kernel's. We move head
//! (and cur, which we keep equal) forward to give slots back, with a release store after the slots
//! are written; the kernel moves tail at a sync, and we read it with acquire. A slot's first eight
//! bytes (buffer index, length, flags) are one atomic word, so that even a peer that breaks the
//! rules gives us a wrong slot and never half of one. No reference to a slot or ring is ever held.

pub mod halves;

use std::mem::offset_of;
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use netmap_sys::{NetmapIf, NetmapRing, NetmapSlot};

use crate::memory::{Buffer, Region, Span, between};

/// Slot flag: the buffer index was changed; the kernel must take note of the new buffer.
pub const BUF_CHANGED: u16 = netmap_sys::slot::BUF_CHANGED;
/// Slot flag: the frame goes on in the next slot.
pub const MORE_FRAGMENTS: u16 = netmap_sys::slot::MOREFRAG;
/// Lowest buffer index that may stand in a slot: 0 and 1 are the kernel's own.
pub const BUFFER_INDEX_MIN: u32 = netmap_sys::BUFFER_INDEX_MIN;
/// Byte position of the slots in a ring.
pub const SLOTS_AT: usize = size_of::<NetmapRing>();
/// Bytes of a slot.
pub const SLOT_BYTES: usize = size_of::<NetmapSlot>();
/// Byte position of the rings' distances in a netmap_if.
pub const RING_OFFSETS_AT: usize = size_of::<NetmapIf>();
/// Byte position of the head of the extra buffers in a netmap_if.
pub const BUFS_HEAD_AT: usize = offset_of!(NetmapIf, ni_bufs_head);

// ---------------------------------------------------------------------------------------------
// Mapped memory
// ---------------------------------------------------------------------------------------------

/// Memory mapped shared from a descriptor; unmapped when the last user is gone.
pub struct Mapping {
    base: *mut u8,
    length: usize,
}

// SAFETY: the mapping lives until drop; all access goes through atomics or the token protocol.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `length` bytes of `fd` from `offset`, shared and populated, so that no page fault
    /// waits on the packet path.
    ///
    /// # Errors
    /// What `mmap` says.
    pub fn new(fd: BorrowedFd<'_>, length: usize) -> std::io::Result<Arc<Mapping>> {
        let base = between::map(fd, length)?;
        Ok(Arc::new(Mapping { base, length }))
    }

    /// Puts a mapping of another descriptor in this one's place.
    ///
    /// # Errors
    /// What `mmap` says; all is as it was then.
    ///
    /// # Safety
    /// No reference into the mapping lives on: none of its frames is in flight.
    pub unsafe fn replace(&self, fd: BorrowedFd<'_>) -> std::io::Result<()> {
        // SAFETY: the mapping is ours until drop; nobody looks into it, as the caller says.
        unsafe { between::map_over(fd, self.base, self.length) }
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing is mapped.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The mapping as a region that frames lie in.
    pub fn region(self: &Arc<Mapping>) -> Arc<Region> {
        // SAFETY: the Arc given along keeps the bytes mapped; a frame's buffer is written only by
        // who holds its token, and not while its span is in flight (module comment).
        let region = unsafe { Region::shared(self.base, self.length, Box::new(Arc::clone(self))) };
        Arc::new(region)
    }

    /// A 32-bit word at `offset`; a word that every read finds 0 where that is out of bounds or
    /// not aligned.
    pub fn word(&self, offset: usize) -> &AtomicU32 {
        #[cfg(test)]
        death::point();
        static NOWHERE: AtomicU32 = AtomicU32::new(0);
        if !offset.is_multiple_of(4) || offset.saturating_add(4) > self.length {
            return &NOWHERE;
        }
        // SAFETY: in bounds and aligned by the check above; others access it atomically too.
        unsafe { AtomicU32::from_ptr(self.base.add(offset).cast()) }
    }

    /// A 64-bit word at `offset`; as [`Mapping::word`].
    pub fn double(&self, offset: usize) -> &AtomicU64 {
        #[cfg(test)]
        death::point();
        static NOWHERE: AtomicU64 = AtomicU64::new(0);
        if !offset.is_multiple_of(8) || offset.saturating_add(8) > self.length {
            return &NOWHERE;
        }
        // SAFETY: in bounds and aligned by the check above; others access it atomically too.
        unsafe { AtomicU64::from_ptr(self.base.add(offset).cast()) }
    }

    /// A 64-bit word at an offset that was checked once and for all.
    ///
    /// # Safety
    /// `offset` is a multiple of 8 and `offset + 8` at most the mapping's length.
    unsafe fn double_at(&self, offset: usize) -> &AtomicU64 {
        #[cfg(test)]
        death::point();
        debug_assert!(offset.is_multiple_of(8) && offset + 8 <= self.length);
        // SAFETY: in bounds and aligned by the caller's word; others access it atomically too.
        unsafe { AtomicU64::from_ptr(self.base.add(offset).cast()) }
    }

    /// `count` 64-bit words from `offset` on; none where they are out of bounds or not aligned.
    fn doubles(&self, offset: usize, count: usize) -> &[AtomicU64] {
        let bytes = count.saturating_mul(8);
        if !offset.is_multiple_of(8) || offset.saturating_add(bytes) > self.length {
            return &[];
        }
        // SAFETY: in bounds and aligned by the check above; others access them atomically too.
        unsafe { std::slice::from_raw_parts(self.base.add(offset).cast(), count) }
    }

    /// A byte at `offset`; as [`Mapping::word`].
    pub fn byte(&self, offset: usize) -> &AtomicU8 {
        #[cfg(test)]
        death::point();
        static NOWHERE: AtomicU8 = AtomicU8::new(0);
        if offset >= self.length {
            return &NOWHERE;
        }
        // SAFETY: in bounds by the check above; others access it atomically too.
        unsafe { AtomicU8::from_ptr(self.base.add(offset)) }
    }

    /// Copies `bytes` to `offset`; nothing where they do not fit. The caller owns the place.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        #[cfg(test)]
        death::point();
        if offset
            .checked_add(bytes.len())
            .is_none_or(|end| end > self.length)
        {
            return;
        }
        // SAFETY: in bounds by the check above; the source is a borrowed slice that may overlap
        // the mapping (frames of the same region), which `copy` allows.
        unsafe { std::ptr::copy(bytes.as_ptr(), self.base.add(offset), bytes.len()) };
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length, and nobody is left who uses it.
        unsafe { libc::munmap(self.base.cast(), self.length) };
    }
}

// ---------------------------------------------------------------------------------------------
// Rings
// ---------------------------------------------------------------------------------------------

/// A copy of what a slot says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Slot {
    /// Buffer index.
    pub index: u32,
    /// Frame length in bytes.
    pub length: u16,
    /// [`BUF_CHANGED`], [`MORE_FRAGMENTS`], ...
    pub flags: u16,
}

impl Slot {
    /// The slot's first eight bytes.
    pub fn word(self) -> u64 {
        u64::from(self.index) | u64::from(self.length) << 32 | u64::from(self.flags) << 48
    }

    /// The slot of such a word.
    pub fn from_word(word: u64) -> Slot {
        Slot {
            index: word as u32,
            length: (word >> 32) as u16,
            flags: (word >> 48) as u16,
        }
    }
}

/// Why memory holds no ring where one should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RingError {
    /// What is wrong.
    pub what: &'static str,
}

const _: () = assert!(SLOTS_AT.is_multiple_of(8) && SLOT_BYTES.is_multiple_of(8));

/// One ring, for its one owner. Not `Clone`: two owners would both move head.
pub struct Ring {
    mapping: Arc<Mapping>,
    /// Byte position of the ring in the mapping.
    at: usize,
    num_slots: u32,
    buf_size: u32,
    /// Byte position of buffer 0 in the mapping.
    buffers_at: usize,
    /// First buffer index beyond the mapping.
    buffers_end: u32,
    /// Our head, as published or soon to be.
    head: u32,
    /// Whose each buffer is that is in no ring, where others must know when we die.
    marks: Option<Arc<Mapping>>,
}

impl Ring {
    /// The ring at byte `at` of a mapping, with its sizes checked against the mapping once, so
    /// that no later index can lead outside.
    ///
    /// # Errors
    /// The bytes there cannot be a ring.
    pub fn new(mapping: Arc<Mapping>, at: usize) -> Result<Ring, RingError> {
        if !at.is_multiple_of(8) || at.saturating_add(SLOTS_AT) > mapping.len() {
            return Err(RingError {
                what: "a ring lies outside the mapped memory",
            });
        }
        let load = |offset: usize| mapping.word(at + offset).load(Ordering::Acquire);
        let num_slots = load(offset_of!(NetmapRing, num_slots));
        let buf_size = load(offset_of!(NetmapRing, nr_buf_size));
        let buf_ofs = mapping.double(at).load(Ordering::Acquire).cast_signed();
        let slots_end = at + SLOTS_AT + num_slots as usize * SLOT_BYTES;
        if num_slots < 2 || slots_end > mapping.len() {
            return Err(RingError {
                what: "a ring's slots lie outside the mapped memory",
            });
        }
        let buffers_at = usize::try_from(at as i64 + buf_ofs).unwrap_or(usize::MAX);
        if buf_size < 64 || buffers_at >= mapping.len() {
            return Err(RingError {
                what: "a ring's buffers lie outside the mapped memory",
            });
        }
        let buffers_end = (mapping.len() - buffers_at) / buf_size as usize;
        let head = load(offset_of!(NetmapRing, head));
        if head >= num_slots {
            return Err(RingError {
                what: "a ring's head lies beyond its slots",
            });
        }
        Ok(Ring {
            mapping,
            at,
            num_slots,
            buf_size,
            buffers_at,
            buffers_end: u32::try_from(buffers_end).unwrap_or(u32::MAX),
            head,
            marks: None,
        })
    }

    /// The ring, which from now on notes every buffer that is taken out or put in: a byte for each
    /// buffer of the region, 0 for those in rings, else the number of the receiver that the buffer
    /// belongs to while it is in no ring.
    pub fn marked(self, marks: &Arc<Mapping>) -> Ring {
        Ring {
            marks: Some(Arc::clone(marks)),
            ..self
        }
    }

    /// Takes the buffers that are marked as a holder's, as many as there is room for in `free`.
    pub fn take_marked(&self, holder: u8, free: &mut Vec<Buffer>) {
        let Some(marks) = &self.marks else {
            return;
        };
        let end = (self.buffers_end as usize).min(marks.len());
        for at in (0..end).step_by(8) {
            // Most buffers are in rings: eight of them are passed over at once.
            if marks.double(at).load(Ordering::Acquire) == 0 {
                continue;
            }
            for index in at..end.min(at + 8) {
                let is_his = marks.byte(index).load(Ordering::Relaxed) == holder;
                if is_his && free.len() < free.capacity() && self.is_buffer(index as u32) {
                    free.push(Buffer::from_index(index as u32));
                }
            }
        }
    }

    /// Marks buffers as a holder's.
    pub fn mark(&self, holder: u8, buffers: &[Buffer]) {
        if let Some(marks) = &self.marks {
            for buffer in buffers {
                marks
                    .byte(buffer.index() as usize)
                    .store(holder, Ordering::Release);
            }
        }
    }

    /// After a death in the middle of an exchange: what stands in a slot of ours is in no other
    /// place, whatever the marks say.
    pub fn unmark_slots(&self) {
        let Some(marks) = &self.marks else {
            return;
        };
        let (mut slot, tail) = (self.head, self.tail());
        while slot != tail {
            let index = self.slot(slot).index;
            marks.byte(index as usize).store(0, Ordering::Release);
            slot = self.next(slot);
        }
    }

    /// Slots in the ring; at most all but one hold frames.
    pub fn num_slots(&self) -> u32 {
        self.num_slots
    }

    /// Bytes of a buffer.
    pub fn buf_size(&self) -> u32 {
        self.buf_size
    }

    /// First slot that is ours.
    pub fn head(&self) -> u32 {
        self.head
    }

    /// First slot behind ours, as the kernel last said. A tail beyond the ring counts as none.
    pub fn tail(&self) -> u32 {
        let tail = self
            .field(offset_of!(NetmapRing, tail))
            .load(Ordering::Acquire);
        if tail < self.num_slots {
            tail
        } else {
            self.head
        }
    }

    /// Slots from `from` to `to`, around the ring.
    pub fn distance(&self, from: u32, to: u32) -> u32 {
        if to >= from {
            to - from
        } else {
            to + self.num_slots - from
        }
    }

    /// Slots that are ours.
    pub fn space(&self) -> u32 {
        self.distance(self.head, self.tail())
    }

    /// The slot after `slot`.
    pub fn next(&self, slot: u32) -> u32 {
        if slot + 1 == self.num_slots {
            0
        } else {
            slot + 1
        }
    }

    /// The slot `count` slots behind `slot`, of at most all.
    pub fn ahead(&self, slot: u32, count: u32) -> u32 {
        let at = slot + count.min(self.num_slots);
        if at < self.num_slots {
            at
        } else {
            at - self.num_slots
        }
    }

    /// The slot before `slot`.
    pub fn previous(&self, slot: u32) -> u32 {
        if slot == 0 {
            self.num_slots - 1
        } else {
            slot - 1
        }
    }

    fn field(&self, offset: usize) -> &AtomicU32 {
        self.mapping.word(self.at + offset)
    }

    fn slot_word(&self, slot: u32) -> &AtomicU64 {
        debug_assert!(slot < self.num_slots, "slot {slot} of {}", self.num_slots);
        // A comparison, not a division: this is done four times for each frame that is forwarded.
        let slot = if slot < self.num_slots { slot } else { 0 };
        let offset = self.at + SLOTS_AT + slot as usize * SLOT_BYTES;
        // SAFETY: `new` checked that `at` is a multiple of 8 and all `num_slots` slots lie in the
        // mapping; neither changes, and a slot and the slots' place are multiples of 8.
        unsafe { self.mapping.double_at(offset) }
    }

    /// What a slot says.
    pub fn slot(&self, slot: u32) -> Slot {
        Slot::from_word(self.slot_word(slot).load(Ordering::Relaxed))
    }

    /// Writes a slot. For the port's halves (slots that are ours) and the kernel that tests play.
    pub(in crate::port) fn set_slot(&self, slot: u32, value: Slot) {
        self.slot_word(slot).store(value.word(), Ordering::Relaxed);
    }

    /// Gives the slots before `head` to the kernel: cur first, then head, both after all writes to
    /// the slots and their buffers.
    pub fn publish(&mut self, head: u32) {
        debug_assert!(self.distance(self.head, head) <= self.space());
        self.head = head;
        self.field(offset_of!(NetmapRing, cur))
            .store(head, Ordering::Relaxed);
        self.field(offset_of!(NetmapRing, head))
            .store(head, Ordering::Release);
    }

    /// Head and cur as they stand in memory: what the kernel reads.
    pub fn published(&self) -> (u32, u32) {
        let head = self
            .field(offset_of!(NetmapRing, head))
            .load(Ordering::Acquire);
        let cur = self
            .field(offset_of!(NetmapRing, cur))
            .load(Ordering::Relaxed);
        (head, cur)
    }

    /// Whether the kernel has set head anew (ring reinit): nobody else ever writes it.
    pub fn is_reinit(&self) -> bool {
        self.published().0 != self.head
    }

    /// Takes over a head that the kernel has set anew.
    pub fn resync(&mut self) {
        let (head, _) = self.published();
        self.head = if head < self.num_slots { head } else { 0 };
    }

    /// Sets tail, and at a reinit all three: the kernel's part, for the one that tests play.
    pub(in crate::port) fn kernel_set_tail(&self, tail: u32) {
        self.field(offset_of!(NetmapRing, tail))
            .store(tail, Ordering::Release);
    }

    /// Sets head and cur to `at`: a reinit by the kernel that tests play.
    pub(in crate::port) fn kernel_reinit(&self, at: u32) {
        for offset in [offset_of!(NetmapRing, cur), offset_of!(NetmapRing, head)] {
            self.field(offset).store(at, Ordering::Release);
        }
    }

    /// Whether a slot may name this buffer.
    pub fn is_buffer(&self, index: u32) -> bool {
        (BUFFER_INDEX_MIN..self.buffers_end).contains(&index)
    }

    /// Where `length` bytes of a buffer lie.
    pub fn span(&self, index: u32, length: u16, region: u16) -> Span {
        Span {
            offset: self.buffer_at(index) as u64,
            length: u32::from(length),
            region,
        }
    }

    /// Byte position of a buffer in the mapping.
    pub fn buffer_at(&self, index: u32) -> usize {
        self.buffers_at + index as usize * self.buf_size as usize
    }

    /// Notes in a slot of ours that its frame was taken, for who takes over after a death.
    pub fn note_taken(&self, slot: u32) {
        let found = self.slot(slot);
        self.set_slot(slot, Slot { length: 0, ..found });
    }

    /// The mapping that the ring lies in.
    pub fn mapping(&self) -> &Arc<Mapping> {
        &self.mapping
    }

    /// Takes the buffer out of a slot of ours and puts another in its place: the only way to take
    /// one. `None` (and the slot as it was) if the slot names no buffer of this region, which only
    /// a broken peer can bring about; then `free` comes back.
    pub fn swap_out(&self, slot: u32, free: Buffer, length: u16) -> Result<Buffer, Buffer> {
        self.swap_found(slot, self.slot(slot), free, length)
    }

    /// [`Ring::swap_out`] for who has looked at the slot already.
    pub fn swap_found(
        &self,
        slot: u32,
        found: Slot,
        free: Buffer,
        length: u16,
    ) -> Result<Buffer, Buffer> {
        if !self.is_buffer(found.index) {
            return Err(free);
        }
        let new = Slot {
            index: free.into_index(),
            length,
            flags: BUF_CHANGED,
        };
        let Some(marks) = &self.marks else {
            self.set_slot(slot, new);
            return Ok(Buffer::from_index(found.index));
        };
        // In this order, so that after a death anywhere in it no buffer is nowhere: at worst one
        // is marked and stands in a slot, and then the slot is right (`unmark_slots`).
        let given = marks.byte(new.index as usize);
        let holder = given.load(Ordering::Relaxed);
        marks
            .byte(found.index as usize)
            .store(holder, Ordering::Relaxed);
        self.slot_word(slot).store(new.word(), Ordering::Release);
        given.store(0, Ordering::Release);
        Ok(Buffer::from_index(found.index))
    }

    /// Moves up to `count` frames from our slots `from` on into our slots `to` on of another ring of the
    /// region, as far as each is one buffer. A free buffer goes along: it takes the frame's place, the
    /// frame's goes into the other ring, and what stood there is the free one from then on. Every slot
    /// of this ring whose frame went has length 0. Gives frames, bytes, and the free buffer.
    ///
    /// What a buffer is marked as is right before and after, not in between: for the keeper, after
    /// whose death there are no rings to mend.
    pub fn move_frames(
        &self,
        (mut from, mut to): (u32, u32),
        other: &Ring,
        count: u32,
        free: Buffer,
    ) -> (u32, u64, Buffer) {
        let words = |ring: &Ring| ring.num_slots as usize * (SLOT_BYTES / 8);
        let sources = self.mapping.doubles(self.at + SLOTS_AT, words(self));
        let targets = other.mapping.doubles(other.at + SLOTS_AT, words(other));
        let length_max = self.buf_size.min(other.buf_size);
        let first = free.into_index();
        let (mut frames, mut bytes, mut spare) = (0, 0, first);
        while frames < count
            && let Some(source) = sources.get(from as usize * (SLOT_BYTES / 8))
            && let Some(target) = targets.get(to as usize * (SLOT_BYTES / 8))
        {
            let found = Slot::from_word(source.load(Ordering::Relaxed));
            let there = Slot::from_word(target.load(Ordering::Relaxed)).index;
            let is_whole = found.flags & MORE_FRAGMENTS == 0
                && u32::from(found.length) <= length_max
                && self.is_buffer(found.index)
                && other.is_buffer(there);
            if !is_whole {
                break;
            }
            let put = |index, length| Slot {
                index,
                length,
                flags: BUF_CHANGED,
            };
            source.store(put(spare, 0).word(), Ordering::Relaxed);
            target.store(put(found.index, found.length).word(), Ordering::Relaxed);
            spare = there;
            frames += 1;
            bytes += u64::from(found.length);
            (from, to) = (self.next(from), other.next(to));
        }
        if let Some(marks) = self.marks.as_ref().filter(|_| spare != first) {
            let holder = marks.byte(first as usize).swap(0, Ordering::Release);
            marks.byte(spare as usize).store(holder, Ordering::Release);
        }
        (frames, bytes, Buffer::from_index(spare))
    }

    /// Copies a frame, or a part of one that goes on in the next slot (`more`), into the buffer that
    /// stands in a slot of ours.
    pub fn write(&self, slot: u32, frame: &[u8], more: bool) -> bool {
        let found = self.slot(slot);
        let length = u16::try_from(frame.len()).unwrap_or(u16::MAX);
        if !self.is_buffer(found.index) || u32::from(length) > self.buf_size || length == u16::MAX {
            return false;
        }
        self.mapping.write(self.buffer_at(found.index), frame);
        self.set_slot(
            slot,
            Slot {
                length,
                flags: found.flags & BUF_CHANGED | if more { MORE_FRAGMENTS } else { 0 },
                ..found
            },
        );
        true
    }

    /// Takes the list of extra buffers that starts at `head` (each buffer's first word names the
    /// next), at most `limit` of them.
    pub fn take_list(&self, mut head: u32, limit: usize) -> Vec<Buffer> {
        let mut list = Vec::with_capacity(limit);
        while self.is_buffer(head) && list.len() < limit {
            list.push(Buffer::from_index(head));
            head = self
                .mapping
                .word(self.buffer_at(head))
                .load(Ordering::Acquire);
        }
        list
    }

    /// Links buffers to a list and gives its head, 0 for none: how they go back to the kernel.
    pub fn give_list(&self, list: &mut Vec<Buffer>) -> u32 {
        let mut head = 0;
        for buffer in list.drain(..) {
            let index = buffer.into_index();
            self.mapping
                .word(self.buffer_at(index))
                .store(head, Ordering::Release);
            head = index;
        }
        head
    }
}

/// Death on demand, for tests of hand-over: a thread says before which access to shared memory it
/// dies, counted from now; the panic that it dies of carries [`death::Death`].
#[cfg(test)]
pub(crate) mod death {
    use std::cell::Cell;

    /// What the panic carries.
    pub struct Death;

    thread_local! {
        static LEFT: Cell<u64> = const { Cell::new(0) };
    }

    /// Dies before the access with this number, from 1; 0 never.
    pub fn after(accesses: u64) {
        LEFT.set(accesses);
    }

    /// Does what another process does: it does not die.
    pub fn pause<T>(work: impl FnOnce() -> T) -> T {
        let left = LEFT.replace(0);
        let done = work();
        LEFT.set(left);
        done
    }

    /// An access to shared memory.
    pub fn point() {
        match LEFT.get() {
            0 => {}
            1 => {
                LEFT.set(0);
                std::panic::resume_unwind(Box::new(Death));
            }
            left => LEFT.set(left - 1),
        }
    }
}

/// Descriptors that can be waited for at once: ports of a lane.
pub const WAIT_MAX: usize = 8;

/// Waits until one of the descriptors polls readable, for at most so many milliseconds. Returns
/// whether one did. More than [`WAIT_MAX`] are cut off.
pub fn wait_readable(fds: &[RawFd], timeout_ms: i32) -> bool {
    let mut polls = [libc::pollfd {
        fd: -1,
        events: libc::POLLIN,
        revents: 0,
    }; WAIT_MAX];
    for (poll, fd) in polls.iter_mut().zip(fds) {
        poll.fd = *fd;
    }
    // SAFETY: as many valid pollfd as said; those of no descriptor (-1) are passed over.
    unsafe { libc::poll(polls.as_mut_ptr(), WAIT_MAX as libc::nfds_t, timeout_ms) > 0 }
}

/// What an audit of buffers found: both lists are empty while conservation (I5) holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Audit {
    /// Indexes that stand nowhere.
    pub missing: Vec<u32>,
    /// Indexes that stand in two places.
    pub doubled: Vec<u32>,
    /// Places that name no allotted buffer.
    pub foreign: usize,
}

/// Checks that `places` is a permutation of the allotted buffer indexes `first..end`.
pub fn audit(first: u32, end: u32, places: impl Iterator<Item = u32>) -> Audit {
    let mut seen = vec![0u32; end.saturating_sub(first) as usize];
    let mut audit = Audit::default();
    for index in places {
        match index
            .checked_sub(first)
            .and_then(|place| seen.get_mut(place as usize))
        {
            Some(count) => *count += 1,
            None => audit.foreign += 1,
        }
    }
    for (index, count) in (first..).zip(seen) {
        match count {
            0 => audit.missing.push(index),
            1 => {}
            _ => audit.doubled.push(index),
        }
    }
    audit
}

/// Byte position of TX ring `ring` of the interface at `interface_at`, as its netmap_if says. Only
/// rings that the descriptor was opened for have one.
pub fn tx_ring_at(mapping: &Mapping, interface_at: usize, ring: u32) -> usize {
    ring_at(mapping, interface_at, ring)
}

/// Byte position of RX ring `ring`; RX rings stand behind all TX rings, host rings included.
pub fn rx_ring_at(mapping: &Mapping, interface_at: usize, ring: u32) -> usize {
    let load = |offset: usize| mapping.word(interface_at + offset).load(Ordering::Acquire);
    let tx_rings =
        load(offset_of!(NetmapIf, ni_tx_rings)) + load(offset_of!(NetmapIf, ni_host_tx_rings));
    ring_at(mapping, interface_at, tx_rings.saturating_add(ring))
}

fn ring_at(mapping: &Mapping, interface_at: usize, number: u32) -> usize {
    let place = interface_at + RING_OFFSETS_AT + number as usize * 8;
    interface_at.wrapping_add(mapping.double(place).load(Ordering::Acquire) as usize)
}
