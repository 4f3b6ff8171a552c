//! The Line ring: an array of 64-byte cells, each with its own full/empty word and up to 7 items.
//!
//! What lives here: the protocol and every unsafe block of the queue. What does not: the choice of
//! atomics (queue.rs and its model check each bring a `sync` module) and waiting.
//!
//! ```text
//!   cell t (one cache line):  | item 0 | ... | item 6 | lap+1 : 60 bits, count : 4 bits |
//!
//!   push:  room = cells - (tail - head as last seen); if too little, read head once (Acquire)
//!          for each cell t of the burst, last to first: write the items,
//!              then state = (lap(t)+1, count)  (Release)
//!          tail += cells of the burst
//!   pop:   for each cell: state (Acquire) of lap(head)+1?  read the items; head += 1
//!          after the burst: publish head (Release), once
//! ```
//! Why it is fast: the line that carries the items also says that they are there, so a hop moves
//! one line; the producer reads the consumer's head once for each time round the ring; a burst is
//! published last cell first, so a consumer that polls fights for its first line only and then
//! finds the burst whole; a cell never waits to be filled. What it costs: a burst that is not a
//! multiple of seven leaves the rest of its last cell unused, so single pushes use a cell each and
//! move a line each; there an index ring, which packs eight items to a line, is ahead.

use super::Word;
use super::sync::{Arc, AtomicBool, AtomicU64, MODELLED, Ordering, UnsafeCell};
use std::marker::PhantomData;

/// Items in one cell: a 64-byte line less the word that says how many there are.
pub const CELL_ITEMS: usize = 7;

/// The largest ring, in cells (64 MiB). A ring longer than L2 is a mistake, not a buffer.
pub const CELLS_MAX: usize = 1 << 20;

/// Low bits of a cell's state that hold the count of items, 1 to 7. The rest holds the lap.
const COUNT_BITS: u32 = 4;

/// One cache line of the ring.
#[repr(C, align(64))]
struct Cell {
    words: UnsafeCell<[u64; CELL_ITEMS]>,
    /// Lap and count as drawn above; 0 before the first lap, which no lap's value equals.
    state: AtomicU64,
}

const _: () = assert!(MODELLED || size_of::<Cell>() == 64);

/// Two lines, because the adjacent-line prefetcher pulls lines in pairs.
#[repr(align(128))]
struct Padded<T>(T);

/// What both ends see.
///
/// Ownership of a cell's words is written once, here: with `head` the consumer's published count
/// of released cells and `tail` the producer's count of published ones, the words of cells
/// `[head, tail)` belong to the consumer and all others to the producer. A cell passes to the
/// consumer by the Release store of its state, and back by the Release store of `head`.
struct Shared {
    cells: Box<[Cell]>,
    /// Cells released by the consumer since the start; written by it alone.
    head: Padded<AtomicU64>,
    /// Set once by the producer after its last push.
    closed: Padded<AtomicBool>,
    /// Set once by the consumer when it goes.
    abandoned: AtomicBool,
}

// SAFETY: the only field that is not Sync by itself is the cells' words, and the ownership rule
// above gives each of them to one end at a time, passed on by Release and Acquire.
unsafe impl Sync for Shared {}

impl Shared {
    #[inline(always)]
    fn cell(&self, index: u64) -> &Cell {
        let position = index as usize & (self.cells.len() - 1);
        // SAFETY: the length is a power of two (see `ring`), so the mask keeps it in bounds.
        unsafe { self.cells.get_unchecked(position) }
    }
}

/// Makes a ring whose cells, when full, hold at least `capacity_items`.
///
/// The count of cells is the power of two at or above `capacity_items / 7`. A burst of `n` takes
/// `n / 7` cells, rounded up; who pushes items one by one has room for `cells()` of them, so an
/// owner that must never see "full" asks for seven times its items. Items that are still inside
/// when both ends are gone are leaked, not dropped: their owner counts them (`remaining`).
///
/// # Panics
/// At start only: if the ring would be longer than [`CELLS_MAX`].
pub fn ring<T: Word>(capacity_items: usize) -> (Producer<T>, Consumer<T>) {
    let cells = capacity_items.div_ceil(CELL_ITEMS).max(1);
    assert!(
        cells <= CELLS_MAX,
        "a ring of {cells} cells is longer than {CELLS_MAX}"
    );
    let cells = cells.next_power_of_two();
    let empty = |_| Cell {
        state: AtomicU64::new(0),
        words: UnsafeCell::new([0; CELL_ITEMS]),
    };
    let shared = Arc::new(Shared {
        cells: (0..cells).map(empty).collect(),
        head: Padded(AtomicU64::new(0)),
        closed: Padded(AtomicBool::new(false)),
        abandoned: AtomicBool::new(false),
    });
    let lap_shift = cells.trailing_zeros();
    let limit = cells as u64;
    let producer = Producer {
        shared: shared.clone(),
        tail: 0,
        head_seen: 0,
        limit,
        lap_shift,
        of: PhantomData,
    };
    (
        producer,
        Consumer {
            shared,
            head: 0,
            taken: 0,
            lap_shift,
            of: PhantomData,
        },
    )
}

/// The state's upper bits of cell `index`: one more than the times the ring was gone round.
#[inline(always)]
fn lap(index: u64, lap_shift: u32) -> u64 {
    (index >> lap_shift) + 1
}

/// The end that puts items in. One thread's at a time: `Send`, neither `Sync` nor `Clone`.
#[repr(align(128))]
pub struct Producer<T: Word> {
    shared: Arc<Shared>,
    /// Cells published since the start.
    tail: u64,
    /// The consumer's head when it was last read; the true one is never behind it.
    head_seen: u64,
    /// Cells that may be in use: all of them, or none once closed.
    limit: u64,
    lap_shift: u32,
    /// `Cell` makes the end unshareable, `T` makes it exactly as sendable as its items.
    of: PhantomData<std::cell::Cell<T>>,
}

impl<T: Word> Producer<T> {
    /// Moves as many of `items` as fit into the ring, in order, and returns how many. The rest
    /// stays in `items`, in order. Allocates nothing.
    #[inline]
    pub fn push_burst(&mut self, items: &mut Vec<T>) -> usize {
        let have = items.len();
        let room = self.room(have.div_ceil(CELL_ITEMS) as u64) as usize;
        let count = have.min(room * CELL_ITEMS);
        let base = items.as_mut_ptr();
        // SAFETY: 0 is within the capacity. From here the vector owns nothing, so that an
        // `into_word` that panics leaks its items and never leaves one with two owners.
        unsafe { items.set_len(0) };
        self.fill(count, |index| {
            // SAFETY: `fill` asks for each index below `count <= have` once, and the elements up
            // to `have` are initialised and no longer the vector's.
            unsafe { base.add(index).read() }.into_word()
        });
        // SAFETY: elements `count..have` were not moved out; they go to the front, which lies in
        // the same allocation, and exactly those are given back to the vector.
        unsafe {
            std::ptr::copy(base.add(count), base, have - count);
            items.set_len(have - count);
        }
        count
    }

    /// Moves one item into a cell of its own, or gives it back when the ring is full or closed.
    #[inline]
    pub fn push(&mut self, item: T) -> Result<(), T> {
        if self.room(1) == 0 {
            return Err(item);
        }
        let word = item.into_word();
        self.fill(1, |_| word);
        Ok(())
    }

    /// How many items one `push_burst` is sure to take now: a lower bound, since the consumer goes
    /// on. Its head is read only when less than half of the ring is known to be free, so that
    /// asking each burst does not pull the line over each burst.
    #[inline]
    pub fn free(&mut self) -> usize {
        self.room(self.limit / 2) as usize * CELL_ITEMS
    }

    /// Cells of the ring, used or not: the count of items it holds if each is pushed alone.
    pub fn cells(&self) -> usize {
        self.shared.cells.len()
    }

    /// Ends the ring: nothing more goes in, and the consumer sees `is_closed` once it has drained
    /// it. Dropping the producer does the same.
    pub fn close(&mut self) {
        self.limit = 0;
        self.shared.closed.0.store(true, Ordering::Release);
    }

    /// True when the consumer is gone, and whatever is pushed will be leaked.
    pub fn is_abandoned(&self) -> bool {
        self.shared.abandoned.load(Ordering::Acquire)
    }

    /// Free cells: at least those that were free at the last look, which is renewed when they are
    /// fewer than `wanted`.
    #[inline(always)]
    fn room(&mut self, wanted: u64) -> u64 {
        let room = self.limit.saturating_sub(self.tail - self.head_seen);
        if room >= wanted {
            return room;
        }
        // Acquire pairs with the consumer's Release: it has read the cells before this head.
        self.head_seen = self.shared.head.0.load(Ordering::Acquire);
        self.limit.saturating_sub(self.tail - self.head_seen)
    }

    /// Publishes `count` words, made by `word_at`, in cells that `room` found free, the last cell
    /// first (why: see the top of the file).
    #[inline(always)]
    fn fill(&mut self, count: usize, word_at: impl Fn(usize) -> u64) {
        // Should `word_at` panic, cells beyond `tail` are published: none may be written again.
        let limit = std::mem::replace(&mut self.limit, 0);
        let (full, rest) = (count / CELL_ITEMS, count % CELL_ITEMS);
        if rest > 0 {
            self.fill_cell(full, rest, |place| {
                for index in (0..CELL_ITEMS).take_while(|&index| index < rest) {
                    // SAFETY: `index` is in the array, and the cell is the producer's.
                    unsafe {
                        place
                            .cast::<u64>()
                            .add(index)
                            .write(word_at(full * CELL_ITEMS + index))
                    };
                }
            });
        }
        for cell in (0..full).rev() {
            let words = std::array::from_fn(|index| word_at(cell * CELL_ITEMS + index));
            // SAFETY: the place is one array, and the cell is the producer's.
            self.fill_cell(cell, CELL_ITEMS, |place| unsafe { place.write(words) });
        }
        self.tail += (full + usize::from(rest > 0)) as u64;
        self.limit = limit;
    }

    /// Lets `write` fill the `ahead`-th cell from `tail`, which `room` found free and which is
    /// therefore the producer's, and passes it to the consumer with `items` words.
    #[inline(always)]
    fn fill_cell(&self, ahead: usize, items: usize, write: impl FnOnce(*mut [u64; CELL_ITEMS])) {
        let index = self.tail + ahead as u64;
        let cell = self.shared.cell(index);
        cell.words.with_mut(write);
        let state = lap(index, self.lap_shift) << COUNT_BITS | items as u64;
        cell.state.store(state, Ordering::Release);
    }
}

impl<T: Word> Drop for Producer<T> {
    fn drop(&mut self) {
        self.close();
    }
}

/// The end that takes items out. One thread's at a time: `Send`, neither `Sync` nor `Clone`.
#[repr(align(128))]
pub struct Consumer<T: Word> {
    shared: Arc<Shared>,
    /// Cells released since the start.
    head: u64,
    /// Items already taken from the cell at `head`, which is not released before its last.
    taken: usize,
    lap_shift: u32,
    /// As in [`Producer`].
    of: PhantomData<std::cell::Cell<T>>,
}

impl<T: Word> Consumer<T> {
    /// Appends what is there to `out`, at most `max` items and never beyond its capacity, in the
    /// order of the pushes, and returns how many. Allocates nothing.
    #[inline]
    pub fn pop_burst(&mut self, out: &mut Vec<T>, max: usize) -> usize {
        let before = out.len();
        let room = max.min(out.capacity() - before);
        let head_before = self.head;
        let mut popped = 0;
        while popped < room {
            let count = self.count_at(self.head);
            if count == 0 {
                break;
            }
            let items = (count - self.taken).min(room - popped);
            let (cell, from) = (self.head, self.taken);
            // The words are counted as taken before they become items, so that none becomes two,
            // even if `from_word` panics.
            self.taken += items;
            if self.taken == count {
                self.taken = 0;
                self.head += 1;
            }
            // SAFETY: `popped + items <= room`, which is spare capacity; `from + items <= count`
            // words of a cell that `count_at` found full and whose release comes below.
            unsafe {
                self.read_cell(cell, from, items, out.as_mut_ptr().add(before + popped));
                popped += items;
                out.set_len(before + popped);
            }
            if self.taken > 0 {
                break;
            }
        }
        if self.head != head_before {
            // Release: the reads above are over before the producer may write there again.
            self.shared.head.0.store(self.head, Ordering::Release);
        }
        popped
    }

    /// True when nothing is there now.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.count_at(self.head) == 0
    }

    /// True when the producer has closed the ring *and* everything it pushed has been taken.
    /// The flag is read first: a push that came before the close is then visible below.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.shared.closed.0.load(Ordering::Acquire) && self.is_empty()
    }

    /// Items inside, by walking the cells: exact once the producer rests, for the owner who counts
    /// what a dropped ring leaks. Bounded by the cells of the ring.
    pub fn remaining(&self) -> usize {
        let cells = self.shared.cells.len() as u64;
        let counts = (self.head..self.head + cells).map(|index| self.count_at(index));
        counts.take_while(|&count| count > 0).sum::<usize>() - self.taken
    }

    /// Items of the cell at `index`, or 0 while the producer has not published it.
    #[inline(always)]
    fn count_at(&self, index: u64) -> usize {
        // Acquire pairs with the producer's Release: the words are there when the state is.
        let state = self.shared.cell(index).state.load(Ordering::Acquire);
        let is_full = state >> COUNT_BITS == lap(index, self.lap_shift);
        if is_full {
            (state & ((1 << COUNT_BITS) - 1)) as usize
        } else {
            0
        }
    }

    /// Makes items of `items` words of the cell at `index`, from word `from` on, in `out`.
    ///
    /// # Safety
    /// The cell is published, not released, and holds `from + items` words or more, none of which
    /// was made an item before; `out` is valid for writing `items` items.
    #[inline(always)]
    unsafe fn read_cell(&self, index: u64, from: usize, items: usize, out: *mut T) {
        self.shared.cell(index).words.with(|words| {
            if items == CELL_ITEMS {
                // SAFETY: by the caller's word both sides hold seven, and each word came from
                // `into_word` in `fill`.
                unsafe {
                    let made = words.read().map(|word| T::from_word(word));
                    out.cast::<[T; CELL_ITEMS]>().write(made);
                }
                return;
            }
            for index in (0..CELL_ITEMS).take_while(|&index| index < items) {
                // SAFETY: as above, for the words from `from` on.
                unsafe {
                    let word = words.cast::<u64>().add(from + index).read();
                    out.add(index).write(T::from_word(word));
                }
            }
        });
    }
}

impl<T: Word> Drop for Consumer<T> {
    fn drop(&mut self) {
        self.shared.abandoned.store(true, Ordering::Release);
    }
}
