//! Scanning: a buffer, several small ones at once, or a stream piece by piece.

use std::mem::MaybeUninit;

use super::filter::{BUCKETS, Classes, ClassesBy, PLACES, STRIDE_MAX, Windows};
use super::path::Path;
use super::table::{self, Table, load};
use super::{LENGTH_MAX, Literals};

/// Bytes that go through the phases at once.
const BLOCK: usize = 4096;
/// Bytes read behind a block for the windows that begin in it.
const AHEAD: usize = 8;
/// Bytes that the vector code reads behind what it was given.
const FILL: usize = 80;
/// Positions that are probed before their entries are looked at.
const GROUP: usize = 64;
/// Buffers of a burst share a block if they are no longer than this.
const SMALL_MAX: usize = 512;
/// Buffers in a block are laid out in units of so many bytes.
const UNIT: usize = 16;
/// Bytes of a stream kept between pieces at most.
pub const CARRY_MAX: usize = 15;

/// Which ends of a buffer are at hand, for literals that stand at an end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// The bytes begin where the buffer does.
    pub starts: bool,
    /// The bytes end where the buffer does.
    pub ends: bool,
}

impl Extent {
    /// All of a buffer.
    pub const WHOLE: Extent = Extent {
        starts: true,
        ends: true,
    };
}

/// How a scan ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Scan {
    /// All was looked at.
    Complete,
    /// The budget of entries to confirm was spent; the rest was not looked at.
    Spent,
}

/// The last bytes of a stream, for literals that lie across the border of two pieces.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Carry {
    bytes: [u8; CARRY_MAX],
    length: u8,
}

const _: () = assert!(size_of::<Carry>() <= 16);

impl Carry {
    /// Whether the stream has not begun.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    fn push(&mut self, piece: &[u8]) {
        let kept = usize::from(self.length).min(CARRY_MAX.saturating_sub(piece.len()));
        let taken = piece.len().min(CARRY_MAX);
        let from = usize::from(self.length) - kept;
        self.bytes.copy_within(from..from + kept, 0);
        self.bytes[kept..kept + taken].copy_from_slice(&piece[piece.len() - taken..]);
        self.length = (kept + taken) as u8;
    }
}

/// Room for one block, on the stack of the scan.
struct Work {
    folded: [MaybeUninit<u8>; BLOCK + AHEAD + FILL + 128],
    passed: [MaybeUninit<u16>; BLOCK + 64],
    /// Buckets of each position, where the byte classes let it pass.
    buckets: [MaybeUninit<u8>; BLOCK + 64],
    hits: Room,
}

impl Work {
    #[inline(always)]
    fn new() -> Work {
        Work {
            folded: [MaybeUninit::uninit(); BLOCK + AHEAD + FILL + 128],
            passed: [MaybeUninit::uninit(); BLOCK + 64],
            buckets: [MaybeUninit::uninit(); BLOCK + 64],
            hits: Room {
                positions: [MaybeUninit::uninit(); PLACES * GROUP],
                slots: [MaybeUninit::uninit(); PLACES * GROUP],
            },
        }
    }

    fn folded(&mut self) -> *mut u8 {
        self.folded.as_mut_ptr().cast()
    }
}

/// Where a position of a block lies: the number of its buffer, the buffer, the position there.
trait Origin {
    fn of(&self, position: usize) -> (usize, &[u8], usize);
}

/// A block of one buffer.
struct Single<'a> {
    buffer: &'a [u8],
    base: usize,
}

impl Origin for Single<'_> {
    #[inline(always)]
    fn of(&self, position: usize) -> (usize, &[u8], usize) {
        (0, self.buffer, self.base + position)
    }
}

/// A block of several buffers.
struct Several<'a> {
    buffers: &'a [&'a [u8]],
    /// Buffer of each unit, counted from the first in the block.
    owners: &'a [u8; BLOCK / UNIT],
    /// First unit of each buffer.
    starts: &'a [u16; BLOCK / UNIT],
    first: usize,
}

impl Origin for Several<'_> {
    #[inline(always)]
    fn of(&self, position: usize) -> (usize, &[u8], usize) {
        let owner = usize::from(self.owners[position / UNIT % (BLOCK / UNIT)]);
        let start = usize::from(self.starts[owner]) * UNIT;
        let number = self.first + owner;
        (number, self.buffers[number], position - start)
    }
}

impl Literals {
    /// From now on, of the occurrences within a run of one byte only those near its ends are told
    /// of: a page of zeros or of `A`s holds a literal thousands of times. What is skipped stands
    /// one place earlier and one later too.
    pub fn skip_runs(&mut self) {
        if let Some(windows) = &mut self.windows {
            // So far before or behind a window no literal reaches.
            windows.deep = self.longest + STRIDE_MAX;
        }
        if let Some(classes) = &mut self.classes {
            classes.deep = self.longest + STRIDE_MAX;
        }
    }

    /// Calls `found` with the number of each literal in `buffer` and where it starts; all
    /// occurrences, unless told to skip some. Looks at no more than `budget` entries, and takes from
    /// it what it looked at.
    ///
    /// `found` is called through a pointer and the scan is never inlined: there is one copy of its
    /// eight kilobytes for all who scan, where a copy each would push one another out of the
    /// instruction cache with every packet.
    #[inline(never)]
    pub fn scan(
        &self,
        path: Path,
        buffer: &[u8],
        extent: Extent,
        budget: &mut u32,
        found: &mut dyn FnMut(u32, usize),
    ) -> Scan {
        self.ends(buffer, extent, budget, found);
        if self.windows.is_none() && self.classes.is_none() || buffer.is_empty() {
            return spent(*budget);
        }
        let mut work = Work::new();
        let mut base = 0;
        let mut found = |_, literal, at| found(literal, at);
        while base < buffer.len() && *budget > 0 {
            let length = (buffer.len() - base).min(BLOCK);
            let end = (base + length + AHEAD).min(buffer.len());
            let origin = Single { buffer, base };
            // SAFETY: a block and what lies ahead fit into the room.
            unsafe {
                let text = &buffer[base..end];
                self.block(path, &mut work, text, length, &origin, budget, &mut found);
            }
            base += length;
        }
        spent(*budget)
    }

    /// Scans whole buffers, small ones together: `found` gets the number of the buffer too.
    pub fn scan_burst(
        &self,
        path: Path,
        buffers: &[&[u8]],
        budget: &mut u32,
        mut found: impl FnMut(usize, u32, usize),
    ) -> Scan {
        let mut work = Work::new();
        let mut next = 0;
        while next < buffers.len() && *budget > 0 {
            if buffers[next].len() > SMALL_MAX {
                let number = next;
                let mut found = |literal, at| found(number, literal, at);
                let _ = self.scan(path, buffers[next], Extent::WHOLE, budget, &mut found);
                next += 1;
                continue;
            }
            let first = next;
            let (mut owners, mut starts) = ([0u8; BLOCK / UNIT], [0u16; BLOCK / UNIT]);
            let mut unit = 0;
            while let Some(buffer) = buffers.get(next).filter(|b| b.len() <= SMALL_MAX) {
                let units = buffer.len() / UNIT + 1;
                if unit + units > BLOCK / UNIT || next - first >= BLOCK / UNIT {
                    break;
                }
                starts[next - first] = unit as u16;
                owners[unit..unit + units].fill((next - first) as u8);
                // SAFETY: the units lie inside the block; a vector's surplus inside the fill.
                unsafe {
                    let to = work.folded().add(unit * UNIT);
                    path.fold(buffer, to);
                    let end = (unit + units) * UNIT - unit * UNIT;
                    to.add(buffer.len()).write_bytes(0, end - buffer.len());
                }
                unit += units;
                let number = next;
                let mut found = |literal, at| found(number, literal, at);
                self.ends(buffer, Extent::WHOLE, budget, &mut found);
                next += 1;
            }
            let length = unit * UNIT;
            let origin = Several {
                buffers,
                owners: &owners,
                starts: &starts,
                first,
            };
            // SAFETY: the units were written; the copy is folded in place, which changes nothing.
            unsafe {
                let text = std::slice::from_raw_parts(work.folded().cast_const(), length);
                self.block(path, &mut work, text, length, &origin, budget, &mut found);
            }
        }
        spent(*budget)
    }

    /// Scans the next piece of a stream; `found` gets where a literal starts, before the piece if
    /// negative. Floating literals up to sixteen bytes are found whatever the cut; literals at the
    /// start, where the first piece holds them.
    pub fn scan_piece(
        &self,
        path: Path,
        carry: &mut Carry,
        piece: &[u8],
        budget: &mut u32,
        mut found: impl FnMut(u32, isize),
    ) -> Scan {
        let before = usize::from(carry.length);
        let extent = Extent {
            starts: before == 0,
            ends: false,
        };
        if before > 0 && !piece.is_empty() {
            let mut line = [0u8; 2 * CARRY_MAX];
            let after = piece.len().min(CARRY_MAX);
            line[..before].copy_from_slice(&carry.bytes[..before]);
            line[before..before + after].copy_from_slice(&piece[..after]);
            let mut across = |literal: u32, at: usize| {
                let end = at + self.store.length(literal);
                if at < before && end > before {
                    found(literal, at as isize - before as isize);
                }
            };
            let _ = self.scan(path, &line[..before + after], extent, budget, &mut across);
        }
        carry.push(piece);
        self.scan(path, piece, extent, budget, &mut |literal, at| {
            found(literal, at as isize);
        })
    }

    fn ends(
        &self,
        buffer: &[u8],
        extent: Extent,
        budget: &mut u32,
        found: &mut dyn FnMut(u32, usize),
    ) {
        let mut looked = 0;
        if extent.starts {
            looked += self.starts.look(&self.store, buffer, false, found);
        }
        if extent.ends {
            looked += self.ends.look(&self.store, buffer, true, found);
        }
        *budget = budget.saturating_sub(looked);
    }

    /// Takes a block through the phases: the first `length` bytes of `text`, what lies ahead
    /// behind them.
    ///
    /// # Safety
    /// There are `BLOCK` bytes and `AHEAD` behind them at most.
    #[inline]
    #[allow(clippy::too_many_arguments)]
    unsafe fn block(
        &self,
        path: Path,
        work: &mut Work,
        text: &[u8],
        length: usize,
        origin: &impl Origin,
        budget: &mut u32,
        found: &mut impl FnMut(usize, u32, usize),
    ) {
        let to = work.folded();
        let folded = to.cast_const();
        let out = work.passed.as_mut_ptr().cast::<u16>();
        let buckets = work.buckets.as_mut_ptr().cast::<u8>();
        let mut run = Run::default();
        if let Some(filter) = &self.classes
            && path.classes_by() == ClassesBy::WholeBytes
        {
            filter.prefetch();
        }
        if let Some(filter) = &self.windows {
            // SAFETY: the caller's promise; a block's positions fit. What was counted was written.
            let passed = unsafe {
                let count = path.windows(filter, text, length, to, out);
                std::slice::from_raw_parts(out.cast_const(), count)
            };
            for group in passed.chunks(GROUP) {
                let mut hits = Hits::new(&mut work.hits);
                let known = text.len();
                // SAFETY: positions lie in the block.
                unsafe { probe_windows(filter, group, folded, known, origin, &mut run, &mut hits) };
                self.confirm(&filter.table, &hits, origin, budget, found);
                if *budget == 0 {
                    return;
                }
            }
        }
        if let Some(filter) = &self.classes {
            if self.windows.is_none() {
                // SAFETY: as above.
                unsafe {
                    path.fold(text, to);
                    to.add(text.len()).write_bytes(0, FILL);
                }
            }
            // SAFETY: as above; the block is folded now.
            let passed = unsafe {
                let count = path.classes(filter, folded, length, out, buckets);
                std::slice::from_raw_parts(out.cast_const(), count)
            };
            for group in passed.chunks(GROUP) {
                let mut hits = Hits::new(&mut work.hits);
                // SAFETY: positions lie in the block.
                unsafe {
                    let marks = buckets.cast_const();
                    probe_classes(filter, group, folded, marks, origin, &mut run, &mut hits);
                };
                self.confirm(&filter.table, &hits, origin, budget, found);
                if *budget == 0 {
                    return;
                }
            }
        }
    }

    /// One copy for both filters: it is walked twice in a row.
    #[inline(never)]
    fn confirm(
        &self,
        table: &Table,
        hits: &Hits,
        origin: &impl Origin,
        budget: &mut u32,
        found: &mut impl FnMut(usize, u32, usize),
    ) {
        // Most of the time goes into waiting for memory: all slots' heads are asked for at once, then
        // all entries, before the first is looked at.
        let mut heads = [MaybeUninit::<(u32, u32)>::uninit(); PLACES * GROUP];
        let slots = hits.room.slots.iter().zip(&mut heads).take(hits.count);
        for (slot, head) in slots {
            // SAFETY: the first `count` were written; the slot is the probe's.
            head.write(unsafe { table.entries_of(slot.assume_init()) });
        }
        for i in 0..hits.count {
            // SAFETY: the first `count` were written.
            let (position, entries) = unsafe {
                (
                    hits.room.positions.get_unchecked(i).assume_init(),
                    heads.get_unchecked(i).assume_init(),
                )
            };
            let (number, buffer, at) = origin.of(usize::from(position));
            let mut found = |literal, start| found(number, literal, start);
            // SAFETY: the entries are the slot's; the table was built with this store.
            let looked = unsafe { table.confirm(entries, &self.store, buffer, at, &mut found) };
            *budget = budget.saturating_sub(looked);
        }
    }
}

fn spent(budget: u32) -> Scan {
    if budget == 0 {
        Scan::Spent
    } else {
        Scan::Complete
    }
}

/// Room for positions whose tag was there, and their slots: up to four of each position probed.
struct Room {
    positions: [MaybeUninit<u16>; PLACES * GROUP],
    slots: [MaybeUninit<u32>; PLACES * GROUP],
}

/// Positions whose tag was there, and their slots.
struct Hits<'a> {
    room: &'a mut Room,
    count: usize,
}

impl Hits<'_> {
    #[inline(always)]
    fn new(room: &mut Room) -> Hits<'_> {
        Hits { room, count: 0 }
    }

    /// Keeps a position if `there`, without a branch.
    ///
    /// # Safety
    /// Called at most four times for each of `GROUP` positions.
    #[inline(always)]
    unsafe fn push(&mut self, position: u16, (slot, there): (u32, bool)) {
        // SAFETY: the caller's promise.
        unsafe {
            let room = &mut *self.room;
            room.positions.get_unchecked_mut(self.count).write(position);
            room.slots.get_unchecked_mut(self.count).write(slot);
        }
        self.count += usize::from(there);
    }
}

/// # Safety
/// Positions lie in `folded`, which is readable for `AHEAD` more; there are `GROUP` at most.
#[inline(always)]
unsafe fn probe_windows(
    filter: &Windows,
    group: &[u16],
    folded: *const u8,
    known: usize,
    origin: &impl Origin,
    run: &mut Run,
    hits: &mut Hits,
) {
    for &position in group {
        let at = usize::from(position);
        // SAFETY: the position lies in the block.
        let text = unsafe { load(folded.add(at)) };
        if text == text.rotate_left(8) && at >= 4 && at + 12 <= known {
            // Inside a run of one byte, four before and four behind the window: only a literal
            // that has such a run itself can stand here.
            // SAFETY: four bytes before, and twelve behind, are known.
            let in_run =
                unsafe { load(folded.add(at - 4)) == text && load(folded.add(at + 4)) == text };
            if in_run && !filter.is_hard(text as u8) {
                continue;
            }
            if in_run && run.is_deep(origin.of(at), filter.deep) {
                continue;
            }
        }
        let key = [text, 0];
        // A slot that two classes share is looked at once.
        let first = filter.table.probe(table::hash(key, 5));
        // SAFETY: three times for a position of the group.
        unsafe {
            hits.push(position, first);
            let mut second = (u32::MAX, false);
            if filter.has_four {
                second = filter.table.probe(table::hash(key, 3));
                second.1 &= second != first;
                hits.push(position, second);
            }
            if filter.has_three {
                let mut third = filter.table.probe(table::hash(key, 2));
                third.1 &= third != first && third != second;
                hits.push(position, third);
            }
        }
    }
}

/// The run of one byte that a position was last found in: its buffer, and where it begins and ends.
/// Each is walked once, however many positions it has.
#[derive(Default)]
struct Run {
    number: usize,
    from: usize,
    to: usize,
}

impl Run {
    /// Whether the run around a position of a buffer reaches so far before and behind it that
    /// whatever literal stands here stands a little earlier and a little later too: it is told of
    /// there, until the ends of the run.
    #[inline(never)]
    fn is_deep(&mut self, (number, buffer, at): (usize, &[u8], usize), reach: usize) -> bool {
        if reach > at || reach > buffer.len().saturating_sub(at) {
            return false;
        }
        if number != self.number || at < self.from || at >= self.to {
            *self = Run::around(number, buffer, at);
        }
        at - self.from >= reach && self.to - at >= reach
    }

    #[inline(never)]
    fn around(number: usize, buffer: &[u8], at: usize) -> Run {
        let (before, behind) = buffer.split_at(at);
        let byte = behind.first().copied().unwrap_or(0);
        let (is_other, word) = (|other: &u8| *other != byte, [byte; 8]);
        let words = behind.chunks_exact(8).take_while(|chunk| **chunk == word);
        let ahead = words.count() * 8;
        let rest = behind.get(ahead..).unwrap_or(&[]);
        let ahead = ahead + rest.iter().position(is_other).unwrap_or(rest.len());
        let words = before.rchunks_exact(8).take_while(|chunk| **chunk == word);
        let rest = before.get(..at - words.count() * 8).unwrap_or(&[]);
        Run {
            number,
            from: rest.iter().rposition(is_other).map_or(0, |last| last + 1),
            to: at + ahead,
        }
    }
}

/// # Safety
/// As `probe_windows`; `marks` holds the buckets of these positions, one of each at least.
#[inline(always)]
unsafe fn probe_classes(
    filter: &Classes,
    group: &[u16],
    folded: *const u8,
    marks: *const u8,
    origin: &impl Origin,
    run: &mut Run,
    hits: &mut Hits,
) {
    for &position in group {
        let at = usize::from(position);
        // SAFETY: the position lies in the block.
        let (text, mut marks) = unsafe { (load(folded.add(at)), *marks.add(at)) };
        if text == text.rotate_left(8) && run.is_deep(origin.of(at), filter.deep) {
            continue;
        }
        let bucket_of = |marks: u8| marks.trailing_zeros() as usize % BUCKETS;
        let mut before = [(u32::MAX, false); PLACES];
        // Buckets of one class are probed once: nearly always there is but one.
        for before_at in 0..PLACES {
            let bucket = bucket_of(marks);
            let class = usize::from(filter.class_of[bucket]) % PLACES;
            let mut hit = filter.table.probe(table::hash([text, 0], class));
            // A slot that two classes share is looked at once.
            hit.1 &= before_at == 0 || !before.contains(&hit);
            // SAFETY: four times for a position of the group.
            unsafe { hits.push(position, hit) };
            marks &= !filter.alike[bucket];
            if marks == 0 {
                break;
            }
            before[before_at] = hit;
        }
    }
}

const _: () = assert!(LENGTH_MAX < 256 && BLOCK <= 1 << 16);
