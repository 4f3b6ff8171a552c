//! The board: shared memory of keeper and engine that outlives the engine. Who has the rings, the
//! workers' beats and robust futexes, and every counter and ledger of the data plane stand here.
//!
//! ```text
//!  page 0   magic, shape, who has the rings
//!  posts    two engines (one may follow the other) x workers
//!  counters two engines x workers, then the keeper's own
//!  halves   lanes x ports x {receive, transmit}: port counters and ledger
//! ```
//!
//! Everything is atomic words, zero at first, mapped for as long as the process lives. A word has
//! one writer at a time: an engine's worker, or the keeper once that worker is gone or parked.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{
    AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Release, Ordering::SeqCst, fence,
};

use crate::counters::{CounterCells, Counters};
use crate::memory::between;
use crate::port::ledger::{Ledger, LedgerCells};
use crate::port::{PortCells, PortCounters, Tally};

/// Engines that can be there at once: one, and the one that follows it.
pub const ENGINES: u32 = 2;
const PAGE: usize = 4096;
const LINE: usize = 128;
/// Changes with the layout, besides the sizes that are part of it.
const MAGIC: u64 = 0x6b65_6570_0002;

/// How many of everything a board holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// Lanes.
    pub lanes: u32,
    /// Ports of a lane.
    pub ports: u32,
    /// Workers of an engine.
    pub workers: u32,
}

/// Which half of a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Half {
    /// Receiving.
    Receive = 0,
    /// Transmitting.
    Transmit = 1,
}

/// What a worker tells the keeper.
#[repr(C, align(128))]
pub struct Post {
    /// Robust futex: the thread's number while it lives; the kernel notes its death.
    pub(super) futex: AtomicU32,
    /// Thread number.
    pub(super) thread: AtomicU32,
    /// A `state` of below.
    pub(super) state: AtomicU32,
    /// Whether it takes frames from ports.
    pub(super) receives: AtomicU32,
    /// Turns so far.
    pub(super) beat: AtomicU64,
    /// Entry of the thread's robust list.
    pub(super) node: AtomicU64,
}

/// States of a post.
pub(super) mod state {
    /// No worker.
    pub const NONE: u32 = 0;
    /// At work, or idle with its rings.
    pub const RUNS: u32 = 1;
    /// All its frames are home, and the rings are not its own.
    pub const PARKED: u32 = 2;
    /// It ended in order.
    pub const ENDED: u32 = 3;
    /// All its frames are home, and it has given its rings back for good: it ends.
    pub const LEFT: u32 = 4;
}

#[repr(C, align(128))]
struct HalfCells {
    counters: PortCells,
    ledger: LedgerCells,
}

#[repr(C, align(128))]
struct Header {
    magic: AtomicU64,
    shape: [AtomicU32; 4],
    /// Who has the rings: `turn << 2 | 2 | engine`, or `turn << 2` for the keeper.
    holder: AtomicU32,
    /// The keeper's state, for metrics (`control::State`).
    state: AtomicU32,
    /// Process of the keeper.
    keeper: AtomicU32,
}

/// A word that says who has the rings.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Holder(pub(super) u32);

impl Holder {
    /// The engine that has them, if it is one.
    pub fn engine(self) -> Option<u32> {
        (self.0 & 2 != 0).then_some(self.0 & 1)
    }

    fn next(self, engine: Option<u32>) -> Holder {
        let turn = (self.0 >> 2).wrapping_add(1);
        Holder(turn << 2 | engine.map_or(0, |engine| 2 | engine & 1))
    }
}

/// The mapped board. Copies name the same memory, which is never unmapped.
#[derive(Clone, Copy)]
pub struct Board {
    base: *const u8,
    length: usize,
    shape: Shape,
}

// SAFETY: the mapping is never unmapped, and everything in it is reached as atomic words.
unsafe impl Send for Board {}
// SAFETY: as above.
unsafe impl Sync for Board {}

/// Types that may be seen in the board: atomic words only, valid whatever stands in memory.
///
/// # Safety
/// Every field is an atomic integer or an array of such.
unsafe trait Words {}
// SAFETY: atomic words only.
unsafe impl Words for Header {}
// SAFETY: atomic words only.
unsafe impl Words for Post {}
// SAFETY: atomic words only.
unsafe impl Words for HalfCells {}
// SAFETY: atomic words only (`#[repr(C)]`, counters.rs).
unsafe impl Words for CounterCells {}

impl Shape {
    fn posts_at(self) -> usize {
        PAGE
    }

    fn counters_at(self) -> usize {
        self.posts_at() + (ENGINES * self.workers) as usize * size_of::<Post>()
    }

    fn counters_bytes() -> usize {
        size_of::<CounterCells>().next_multiple_of(LINE)
    }

    fn halves_at(self) -> usize {
        self.counters_at() + (ENGINES * self.workers + 1) as usize * Shape::counters_bytes()
    }

    fn bytes(self) -> usize {
        let halves = (self.lanes * self.ports * 2) as usize;
        (self.halves_at() + halves * size_of::<HalfCells>()).next_multiple_of(PAGE)
    }

    fn magic() -> u64 {
        let sizes = [
            size_of::<CounterCells>(),
            size_of::<HalfCells>(),
            size_of::<Post>(),
        ];
        sizes.iter().fold(MAGIC, |sum, size| {
            sum.wrapping_mul(31).wrapping_add(*size as u64)
        })
    }
}

impl Board {
    /// A new board, and the descriptor to hand it over by.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn create(shape: Shape) -> io::Result<(Board, OwnedFd)> {
        let fd = between::memfd(c"sluice-board", shape.bytes())?;
        let board = Board::map(fd.as_fd(), shape)?;
        let header = board.header();
        let words = [shape.lanes, shape.ports, shape.workers, 0];
        for (cell, word) in header.shape.iter().zip(words) {
            cell.store(word, Release);
        }
        header.keeper.store(std::process::id(), Release);
        header.magic.store(Shape::magic(), Release);
        Ok((board, fd))
    }

    /// The board that the keeper made.
    ///
    /// # Errors
    /// It is one of another version, or another shape than the arguments ask for.
    pub fn adopt(fd: BorrowedFd<'_>, shape: Shape) -> io::Result<Board> {
        let length = File::from(fd.try_clone_to_owned()?).metadata()?.len();
        let other = || io::Error::other("the keeper is of another version: restart it");
        if length != shape.bytes() as u64 {
            return Err(other());
        }
        let board = Board::map(fd, shape)?;
        let header = board.header();
        let found = header.shape.iter().map(|cell| cell.load(Acquire));
        let same = found.eq([shape.lanes, shape.ports, shape.workers, 0]);
        if header.magic.load(Acquire) != Shape::magic() || !same {
            return Err(other());
        }
        Ok(board)
    }

    fn map(fd: BorrowedFd<'_>, shape: Shape) -> io::Result<Board> {
        let length = shape.bytes();
        let base = between::map(fd, length)?;
        Ok(Board {
            base: base.cast_const(),
            length,
            shape,
        })
    }

    fn at<T: Words>(&self, offset: usize) -> &'static T {
        let fits = offset.is_multiple_of(align_of::<T>())
            && offset
                .checked_add(size_of::<T>())
                .is_some_and(|end| end <= self.length);
        assert!(fits, "the board's plan lies within the board");
        // SAFETY: in bounds and aligned by the check; mapped for ever; atomic words only (`Words`).
        unsafe { &*self.base.add(offset).cast::<T>() }
    }

    fn header(&self) -> &'static Header {
        self.at(0)
    }

    /// The shape.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Process of the keeper.
    pub fn keeper(&self) -> u32 {
        self.header().keeper.load(Acquire)
    }

    /// Post of a worker of an engine.
    pub fn post(&self, engine: u32, worker: u32) -> &'static Post {
        let number = (engine & 1) * self.shape.workers + worker.min(self.shape.workers - 1);
        self.at(self.shape.posts_at() + number as usize * size_of::<Post>())
    }

    /// Thread number of an engine's first worker.
    pub fn first_thread(&self, engine: u32) -> u32 {
        self.post(engine, 0).thread.load(Acquire)
    }

    /// All posts of an engine.
    pub fn posts(&self, engine: u32) -> impl Iterator<Item = &'static Post> + use<> {
        let board = *self;
        (0..self.shape.workers).map(move |worker| board.post(engine, worker))
    }

    /// Whether no worker of an engine takes frames, and none is in flight.
    pub fn is_parked(&self, engine: u32) -> bool {
        self.posts(engine).all(|post| {
            let state = post.state.load(Acquire);
            post.receives.load(Acquire) == 0
                || matches!(state, state::PARKED | state::LEFT | state::ENDED)
        })
    }

    /// Whether all that take frames have given their rings back for good, or ended altogether.
    pub fn has_left(&self, engine: u32) -> bool {
        let receives = |post: &&Post| post.receives.load(Acquire) != 0;
        let mut posts = self.posts(engine).filter(receives).peekable();
        posts.peek().is_some()
            && posts.all(|post| matches!(post.state.load(Acquire), state::LEFT | state::ENDED))
    }

    fn cells(&self, number: u32) -> &'static CounterCells {
        self.at(self.shape.counters_at() + number as usize * Shape::counters_bytes())
    }

    /// Counters of a worker of an engine; they go on from what the engine before in this place
    /// counted.
    pub fn counters(&self, engine: u32, worker: u32) -> Arc<Counters> {
        let number = (engine & 1) * self.shape.workers + worker.min(self.shape.workers - 1);
        Arc::new(Counters::over(self.cells(number)))
    }

    /// The keeper's own counters.
    pub fn keeper_counters(&self) -> Arc<Counters> {
        Arc::new(Counters::over(self.cells(ENGINES * self.shape.workers)))
    }

    /// Counters of all workers of both engines.
    pub fn all_counters(&self) -> impl Iterator<Item = &'static CounterCells> + use<> {
        let board = *self;
        (0..=ENGINES * self.shape.workers).map(move |number| board.cells(number))
    }

    fn half(&self, lane: u32, port: u32, half: Half) -> &'static HalfCells {
        let number = ((lane * self.shape.ports + port) * 2) as usize + half as usize;
        self.at(self.shape.halves_at() + number * size_of::<HalfCells>())
    }

    /// Where half a port counts, whoever has it.
    pub fn tally(&self, lane: u32, port: u32, half: Half) -> Tally {
        let cells = self.half(lane, port, half);
        Tally {
            counters: Arc::new(PortCounters::over(&cells.counters)),
            ledger: Ledger::over(&cells.ledger),
        }
    }

    /// Frames that all halves of a kind have moved.
    pub fn frames(&self, half: Half) -> u64 {
        let places = (0..self.shape.lanes)
            .flat_map(|lane| (0..self.shape.ports).map(move |port| (lane, port)));
        places.fold(0, |sum: u64, (lane, port)| {
            let cells = self.half(lane, port, half);
            sum.wrapping_add(Ledger::over(&cells.ledger).frames())
        })
    }

    /// Who has the rings.
    pub fn holder(&self) -> Holder {
        Holder(self.header().holder.load(Acquire))
    }

    /// The word itself, to wait on.
    pub(super) fn holder_word(&self) -> &'static AtomicU32 {
        &self.header().holder
    }

    /// Gives the rings to an engine, or asks for them back. Parked workers are woken.
    pub fn hand_to(&self, engine: Option<u32>) -> Holder {
        let next = self.holder().next(engine);
        self.header().holder.store(next.0, SeqCst);
        fence(SeqCst);
        super::futex::wake_all(&self.header().holder);
        next
    }

    /// Sets the keeper's state, a number of `control::State`.
    pub fn set_state(&self, state: u32) {
        self.header().state.store(state, Release);
    }

    /// The keeper's state.
    pub fn state(&self) -> u32 {
        self.header().state.load(Acquire)
    }
}
