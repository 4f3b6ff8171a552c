//! One direction of a TCP connection as ordered bytes: what is in order is marked in place, what
//! waits behind a gap is kept in pages, and what is not acknowledged yet is kept too, so that a
//! segment that says something else about the same bytes is found out (DESIGN.md 4). Whether a
//! segment is valid at all is tcp.rs; what becomes of the packet is stage.rs.
//!
//! Offsets count from the first byte after the SYN and wrap as sequence numbers do.
//!
//! ```text
//!   released          delivered                acked/next
//!      |  compared with  |  gap  |### ahead ###|
//!      +-----------------+       +-------------+      kept in pages: both
//! ```

use super::pages::{Compared, PAGE_BYTES, PagePool, Pages};
use super::record::SeqNum;

/// One page in so many is for bytes in order, which their receiver soon acknowledges: bytes behind
/// gaps that nobody fills must not stop every stream.
const IN_ORDER_SHARE: u32 = 8;

/// Urgent bytes that may wait in one direction; further ones are read as ordinary data.
pub const URGENT_MAX: usize = 4;

/// The stream has shown its first bytes.
const STARTED: u8 = 1;
/// A gap lies right before the next bytes.
const GAP: u8 = 2;
/// Inspection depth is reached.
const DEPTH: u8 = 4;
/// Bytes were lost somewhere; it stays.
const LOST: u8 = 8;

/// What a direction may keep.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes inspected, 0 for all.
    pub depth: u32,
    /// Pages of a direction that has a gap.
    pub ahead_pages_max: u32,
    /// Pages of a direction at all.
    pub kept_pages_max: u32,
    /// In the path: a conflict or a lack of room refuses the segment instead of being worked round.
    pub inline: bool,
    /// Skipped urgent bytes are a gap rather than absent (`Urgent::Gap`).
    pub urgent_gap: bool,
}

/// What became of a segment's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Taking {
    /// No bytes.
    #[default]
    Nothing,
    /// `length` bytes after `skip` are next in order.
    InOrder,
    /// They wait behind a gap.
    Buffered,
    /// Nothing new.
    Retransmit,
    /// They contradict bytes kept, and nothing was taken (inline).
    Conflict,
    /// No room by the direction's limit; nothing was taken (inline, or behind a gap).
    Limit,
    /// No room in the pool; as above.
    Memory,
    /// All new bytes lie beyond the inspection depth.
    BeyondDepth,
}

/// The result of [`Stream::offer`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Taken {
    /// What became of the bytes.
    pub taking: Taking,
    /// Offset of the in-order piece.
    pub offset: u32,
    /// Payload bytes before it.
    pub skip: u16,
    /// Its length.
    pub length: u16,
    /// It is the stream's first.
    pub start: bool,
    /// A gap was given up right before it.
    pub gap: bool,
    /// The segment overlaps kept bytes.
    pub overlap: bool,
    /// It contradicts kept bytes and the first ones were preferred (tap).
    pub conflict: bool,
    /// The depth was reached with this segment.
    pub depth_reached: bool,
    /// The piece could not be kept for comparison (tap).
    pub unkept: bool,
}

/// Kept bytes that are next in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ready {
    /// Offset of the first.
    pub offset: u32,
    /// How many.
    pub length: u32,
    /// They are the stream's first.
    pub start: bool,
    /// A gap was given up right before them.
    pub gap: bool,
}

/// One direction's bytes.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// Sequence number of offset 0.
    start: SeqNum,
    /// Offset of the next byte to deliver.
    delivered: u32,
    /// Offset up to which the receiver has acknowledged.
    acked: u32,
    /// Bytes kept at or beyond `delivered`.
    ahead: u32,
    pages: Pages,
    /// Offsets of urgent bytes to leave out.
    urgent: [u32; URGENT_MAX],
    urgent_count: u8,
    flags: u8,
    /// Urgent bytes left out so far.
    removed: u32,
}

/// Distance from offset `b` on to `a`, negative the other way round.
fn distance(a: u32, b: u32) -> i64 {
    i64::from(a.wrapping_sub(b) as i32)
}

impl Stream {
    /// Begins at sequence number `start`; what was kept must have been cleared.
    pub fn open(&mut self, start: SeqNum) {
        *self = Stream {
            start,
            pages: std::mem::take(&mut self.pages),
            ..Stream::default()
        };
    }

    /// Begins anew: the receiver said that it did not take the bytes on the SYN.
    pub fn restart(&mut self, pool: &mut PagePool, start: SeqNum) {
        self.pages.clear(pool);
        self.open(start);
    }

    /// Gives back all pages.
    pub fn close(&mut self, pool: &mut PagePool) {
        self.pages.clear(pool);
        self.ahead = 0;
    }

    /// Pages kept.
    pub fn pages(&self) -> u32 {
        self.pages.count()
    }

    /// Bytes that wait behind a gap (or for a view).
    pub fn ahead(&self) -> u32 {
        self.ahead
    }

    /// Whether the next segment may set bytes free that are not its own, or be shown in pieces.
    pub fn may_set_free(&self) -> bool {
        self.ahead != 0 || self.urgent_count != 0
    }

    /// Whether anything was delivered.
    pub fn is_started(&self) -> bool {
        self.flags & STARTED != 0
    }

    /// Whether all bytes before `seq` were delivered.
    pub fn reaches(&self, seq: SeqNum) -> bool {
        distance(self.delivered, self.offset_of(seq)) >= 0
    }

    /// Whether `length` more bytes may reach beyond the depth, which was not reached before.
    pub fn may_exceed(&self, length: usize, limits: &Limits) -> bool {
        let reach = self.delivered.saturating_add(length as u32);
        let waiting = limits.ahead_pages_max.saturating_mul(PAGE_BYTES);
        let is_near = reach.saturating_add(waiting) > limits.depth;
        limits.depth != 0 && is_near && self.flags & DEPTH == 0
    }

    /// Whether the depth is reached.
    pub fn is_beyond_depth(&self) -> bool {
        self.flags & DEPTH != 0
    }

    /// Offset of the next byte to deliver, as match counts.
    pub fn position(&self) -> u32 {
        self.delivered.wrapping_sub(self.removed)
    }

    fn offset_of(&self, seq: SeqNum) -> u32 {
        seq.since(self.start) as u32
    }

    /// Says that the byte at `seq` is urgent and not part of the stream. False when too many wait.
    pub fn leave_out(&mut self, seq: SeqNum) -> bool {
        let offset = self.offset_of(seq);
        let waiting = self
            .urgent
            .get(..usize::from(self.urgent_count))
            .unwrap_or(&[]);
        if distance(offset, self.delivered) < 0 || waiting.contains(&offset) {
            return true;
        }
        match self.urgent.get_mut(usize::from(self.urgent_count)) {
            Some(place) => {
                *place = offset;
                self.urgent_count += 1;
                true
            }
            None => false,
        }
    }

    /// Bytes up to the first one that is left out, `length` at most.
    fn until_urgent(&self, length: u32) -> u32 {
        self.urgent
            .iter()
            .take(usize::from(self.urgent_count))
            .map(|offset| distance(*offset, self.delivered))
            .filter(|at| *at >= 0)
            .min()
            .map_or(length, |at| length.min(at as u32))
    }

    /// Steps over a byte that is left out, if it is next and there.
    fn step_over(&mut self, pool: &PagePool, limits: &Limits) {
        while let Some(index) = self
            .urgent
            .iter()
            .take(usize::from(self.urgent_count))
            .position(|offset| *offset == self.delivered)
        {
            if self.pages.contiguous(pool, self.delivered, 1) == 0 {
                return;
            }
            self.urgent_count -= 1;
            self.urgent.swap(index, usize::from(self.urgent_count));
            self.delivered = self.delivered.wrapping_add(1);
            self.ahead = self.ahead.saturating_sub(1);
            if limits.urgent_gap {
                self.flags |= GAP | LOST;
            } else {
                self.removed = self.removed.wrapping_add(1);
            }
        }
    }

    /// Whether `length` bytes at `seq` are the next in order while nothing waits and nothing is to be
    /// looked after, within the depth, and there are pages for them whatever is kept.
    #[inline]
    pub fn is_smooth(&self, seq: SeqNum, length: u32, pool: &PagePool, limits: &Limits) -> bool {
        let pages = length / PAGE_BYTES + 2;
        self.flags & !(STARTED | LOST) == 0
            && self.ahead == 0
            && self.urgent_count == 0
            && self.offset_of(seq) == self.delivered
            && (limits.depth == 0 || length <= limits.depth.saturating_sub(self.delivered))
            && pages <= pool.available()
            && pages + self.pages.count() <= limits.kept_pages_max
    }

    /// As [`Stream::offer`], for bytes that [`Stream::is_smooth`] speaks of. Gives the offset of the
    /// first, and whether it is the stream's first.
    #[inline(always)]
    pub fn append(&mut self, pool: &mut PagePool, bytes: &[u8]) -> (u32, bool) {
        let (offset, is_first) = (self.position(), self.flags & STARTED == 0);
        let kept = self.pages.insert(pool, self.delivered, bytes);
        debug_assert_eq!(
            kept,
            Some(bytes.len() as u32),
            "nothing waits, and pages are free"
        );
        self.delivered = self.delivered.wrapping_add(bytes.len() as u32);
        self.flags |= STARTED;
        (offset, is_first)
    }

    /// Takes a segment's bytes: compares them with what is kept, keeps what is new, and says which
    /// are next in order.
    pub fn offer(
        &mut self,
        pool: &mut PagePool,
        seq: SeqNum,
        bytes: &[u8],
        limits: &Limits,
    ) -> Taken {
        let offset = self.offset_of(seq);
        let lead = distance(offset, self.delivered);
        let inspected = self.within_depth(lead, bytes.len(), limits);
        let mut taken = Taken::default();
        if bytes.is_empty() {
            return taken;
        }
        if inspected < bytes.len() && self.flags & DEPTH == 0 {
            taken.depth_reached = true;
        }
        let beyond = inspected < bytes.len();
        let bytes = bytes.get(..inspected).unwrap_or(&[]);
        let plain = lead == 0 && self.ahead == 0;
        if !plain {
            let compared = self.compare_unacked(pool, offset, bytes);
            taken.overlap = compared.present != 0;
            taken.conflict = compared.differs;
            if compared.differs && limits.inline {
                taken.taking = Taking::Conflict;
                return taken;
            }
            if compared.differs {
                self.prefer_earlier(pool, offset, bytes);
            }
        }
        if taken.depth_reached {
            self.flags |= DEPTH;
        }
        let old = (-lead).max(0) as usize;
        if old >= bytes.len() {
            taken.taking = if beyond {
                Taking::BeyondDepth
            } else {
                Taking::Retransmit
            };
            return taken;
        }
        let offset = offset.wrapping_add(old as u32);
        let new = bytes.get(old..).unwrap_or(&[]);
        self.give_up_before(pool, offset);
        if distance(offset, self.delivered) > 0 {
            self.keep(pool, offset, new, limits, &mut taken);
        } else {
            self.deliver(pool, new, limits, &mut taken);
            taken.skip += old as u16;
        }
        taken
    }

    /// Compares with what is kept and not acknowledged: a receiver ignores what it has already,
    /// so a keep-alive's filler byte is no conflict.
    fn compare_unacked(&self, pool: &PagePool, offset: u32, bytes: &[u8]) -> Compared {
        let known = distance(self.acked, offset).clamp(0, bytes.len() as i64) as usize;
        let bytes = bytes.get(known..).unwrap_or(&[]);
        self.pages
            .compare(pool, offset.wrapping_add(known as u32), bytes)
    }

    /// A tap sees what most receivers make of an overlap (BSD, Windows, Linux): of two pieces, the
    /// bytes of the one that begins earlier. What waits behind the first hole of this one begins
    /// later than it does.
    fn prefer_earlier(&mut self, pool: &mut PagePool, offset: u32, bytes: &[u8]) {
        let known = distance(self.delivered, offset).clamp(0, bytes.len() as i64) as u32;
        let new = offset.wrapping_add(known);
        let run = self.pages.contiguous(pool, new, bytes.len() as u32 - known);
        let behind = bytes.get((known + run) as usize..).unwrap_or(&[]);
        self.pages.replace(pool, new.wrapping_add(run), behind);
    }

    /// How many of the bytes lie within the depth.
    fn within_depth(&self, lead: i64, length: usize, limits: &Limits) -> usize {
        if limits.depth == 0 {
            return length;
        }
        let left = if self.flags & DEPTH != 0 {
            0
        } else {
            i64::from(limits.depth.saturating_sub(self.delivered))
        };
        (left - lead).clamp(0, length as i64) as usize
    }

    /// Keeps bytes that wait behind a gap.
    fn keep(
        &mut self,
        pool: &mut PagePool,
        offset: u32,
        new: &[u8],
        limits: &Limits,
        taken: &mut Taken,
    ) {
        let missing = self.pages.missing(pool, offset, new.len() as u32);
        if self.pages.count() + missing > limits.ahead_pages_max {
            taken.taking = Taking::Limit;
        } else if missing + pool.len() / IN_ORDER_SHARE > pool.available() {
            taken.taking = Taking::Memory;
        } else {
            let count = self.pages.insert(pool, offset, new).unwrap_or(0);
            self.ahead = self.ahead.saturating_add(count);
            taken.taking = if count == 0 {
                Taking::Retransmit
            } else {
                Taking::Buffered
            };
        }
    }

    /// Delivers in-order bytes in place, and keeps a copy until they are acknowledged.
    fn deliver(&mut self, pool: &mut PagePool, new: &[u8], limits: &Limits, taken: &mut Taken) {
        let length = new.len() as u32;
        let missing = self.pages.missing(pool, self.delivered, length);
        let full = self.pages.count() + missing > limits.kept_pages_max;
        if full || missing > pool.available() {
            if limits.inline {
                taken.taking = if full { Taking::Limit } else { Taking::Memory };
                return;
            }
            taken.unkept = true;
        }
        if !taken.unkept {
            let count = self.pages.insert(pool, self.delivered, new).unwrap_or(0);
            self.ahead = self.ahead.saturating_add(count);
        }
        let before = self.delivered;
        self.step_over(pool, limits);
        let stepped = self.delivered.wrapping_sub(before);
        taken.skip = stepped as u16;
        let piece = self.until_urgent(length.saturating_sub(stepped));
        taken.taking = Taking::InOrder;
        (taken.offset, taken.start, taken.gap) = self.advance(piece);
        taken.length = piece as u16;
        if taken.unkept {
            self.ahead = self.ahead.saturating_sub(self.present(pool, piece));
        } else {
            self.ahead = self.ahead.saturating_sub(piece);
        }
    }

    /// Bytes kept among the `length` ones before `delivered`.
    fn present(&self, pool: &PagePool, length: u32) -> u32 {
        if self.pages.count() == 0 {
            return 0;
        }
        self.pages
            .count_present(pool, self.delivered.wrapping_sub(length), length)
    }

    /// Moves on by `length`, and gives where that began, and its marks.
    fn advance(&mut self, length: u32) -> (u32, bool, bool) {
        let offset = self.position();
        if length == 0 {
            return (offset, false, false);
        }
        let start = self.flags & STARTED == 0;
        let gap = self.flags & GAP != 0;
        self.flags = (self.flags | STARTED) & !GAP;
        self.delivered = self.delivered.wrapping_add(length);
        (offset, start, gap)
    }

    /// Kept bytes that are next in order, `limit` at most.
    pub fn ready(&mut self, pool: &PagePool, limit: u32, limits: &Limits) -> Option<Ready> {
        if self.ahead == 0 {
            return None;
        }
        self.step_over(pool, limits);
        let length = self
            .pages
            .contiguous(pool, self.delivered, limit.min(self.ahead));
        let length = self.until_urgent(length);
        (length != 0).then(|| Ready {
            offset: self.position(),
            length,
            start: self.flags & STARTED == 0,
            gap: self.flags & GAP != 0,
        })
    }

    /// Bytes that could be delivered now, `limit` at most: how much room views will take.
    pub fn ready_length(&self, pool: &PagePool, from: SeqNum, limit: u32) -> u32 {
        if self.ahead == 0 {
            return 0;
        }
        self.pages.contiguous(pool, self.offset_of(from), limit)
    }

    /// Delivers what [`Stream::ready`] announced: copies it to `out` and moves on.
    pub fn pull(&mut self, pool: &mut PagePool, out: &mut [u8]) {
        self.pages.copy(pool, self.delivered, out);
        self.skip_ready(pool, out.len() as u32);
    }

    /// Moves on over what [`Stream::ready`] announced without showing it.
    pub fn skip_ready(&mut self, pool: &mut PagePool, length: u32) {
        self.advance(length);
        self.ahead = self.ahead.saturating_sub(length);
        self.release(pool);
    }

    /// Loses what [`Stream::ready`] announced: nobody sees it, and a gap stands in its place.
    pub fn lose(&mut self, pool: &mut PagePool, length: u32) {
        self.delivered = self.delivered.wrapping_add(length);
        self.flags |= GAP | LOST;
        self.ahead = self.ahead.saturating_sub(length);
        self.release(pool);
    }

    /// The receiver has everything before `seq`: what was kept for comparison can go.
    pub fn acknowledge(&mut self, pool: &mut PagePool, seq: SeqNum) {
        let offset = self.offset_of(seq);
        if distance(offset, self.acked) > 0 {
            self.acked = offset;
            self.release(pool);
        }
    }

    fn release(&mut self, pool: &mut PagePool) {
        let below = if distance(self.acked, self.delivered) < 0 {
            self.acked
        } else {
            self.delivered
        };
        if self.ahead == 0 && below == self.delivered {
            // Nothing waits and nothing can be sent again: a quiet flow keeps no page.
            self.pages.clear(pool);
        } else {
            self.pages.release(pool, below);
        }
    }

    /// Forgets the oldest bytes kept for comparison, so that a direction that nobody acknowledges
    /// stays within `pages_max` pages.
    pub fn forget(&mut self, pool: &mut PagePool, pages_max: u32) {
        if self.pages.count() > pages_max {
            self.pages.release(pool, self.delivered);
        }
    }

    /// Gives up the gap before the first kept bytes, if the receiver acknowledged all of it.
    pub fn give_up_acked(&mut self, pool: &PagePool) -> bool {
        if self.ahead == 0 || distance(self.acked, self.delivered) <= 0 {
            return false;
        }
        match self.pages.next_present(pool, self.delivered) {
            Some(at) if distance(at, self.acked) <= 0 => self.jump(at),
            _ => false,
        }
    }

    /// Gives up the gap before `offset`, if the receiver acknowledged all of it: bytes that come
    /// now lie beyond it.
    fn give_up_before(&mut self, pool: &PagePool, offset: u32) {
        if distance(offset, self.delivered) <= 0 || distance(offset, self.acked) > 0 {
            return;
        }
        let kept = self.pages.next_present(pool, self.delivered);
        if kept.is_none_or(|at| distance(at, offset) >= 0) {
            self.jump(offset);
        }
    }

    /// Gives up whatever gap lies before the next kept bytes: the flow ends.
    pub fn give_up(&mut self, pool: &PagePool) -> bool {
        match self.pages.next_present(pool, self.delivered) {
            Some(at) if self.ahead != 0 => self.jump(at),
            _ => false,
        }
    }

    fn jump(&mut self, to: u32) -> bool {
        if distance(to, self.delivered) <= 0 {
            return false;
        }
        self.delivered = to;
        self.flags |= GAP | LOST;
        true
    }

    /// Whether a gap was given up and no bytes have come after it yet.
    pub fn has_gap(&self) -> bool {
        self.flags & GAP != 0
    }

    /// Whether bytes of it were ever given up.
    pub fn has_lost(&self) -> bool {
        self.flags & LOST != 0
    }
}

/// Bytes to whole pages.
pub fn pages_of(bytes: u32) -> u32 {
    bytes.div_ceil(PAGE_BYTES)
}
