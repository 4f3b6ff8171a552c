//! A worker's side of the keeper: it beats, holds its robust futex, and learns whether the rings
//! are its own. All that costs a turn is a store and a load of a word that rarely changes.

use std::sync::atomic::Ordering::{Release, SeqCst};
use std::sync::atomic::fence;
use std::time::Duration;

use super::board::{Board, Holder, Post, state};
use super::futex;

/// How long a parked worker sleeps at most before it looks whether it is to end.
const PARKED_SLEEP: Duration = Duration::from_millis(2);

/// One worker's pulse.
pub struct Pulse {
    board: Board,
    post: &'static Post,
    engine: u32,
    seen: Holder,
    mine: bool,
    /// The rings are not taken again: it ends.
    left: bool,
    beats: u64,
}

/// What a worker finds when it looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// As before.
    Same,
    /// The rings are its own from now on.
    Take,
    /// The rings are wanted back, or not its own.
    Leave,
}

impl Pulse {
    /// The pulse of a worker of an engine.
    pub fn new(board: Board, engine: u32, worker: u32) -> Pulse {
        Pulse {
            board,
            post: board.post(engine, worker),
            engine,
            seen: Holder::default(),
            mine: false,
            left: false,
            beats: 0,
        }
    }

    /// Begins, on the worker's own thread. `receives`: it takes frames from ports.
    pub fn begin(&mut self, receives: bool) {
        self.beats = self.post.beat.load(std::sync::atomic::Ordering::Relaxed);
        self.post.receives.store(u32::from(receives), Release);
        // Without the list a death is still seen by the process's end, only later.
        let _ = futex::own(self.post);
        self.post.state.store(state::RUNS, Release);
    }

    /// A turn begins.
    pub fn beat(&mut self) {
        self.beats = self.beats.wrapping_add(1);
        self.post.beat.store(self.beats, Release);
    }

    /// Looks whose the rings are.
    pub fn look(&self) -> Order {
        let holder = self.board.holder();
        match holder.engine() == Some(self.engine) {
            _ if self.left => Order::Leave,
            _ if holder == self.seen && self.mine => Order::Same,
            true => Order::Take,
            false => Order::Leave,
        }
    }

    /// Claims the rings, before any half is touched. False if the keeper has changed its mind: it
    /// looks at the posts after it has taken the board's word back, so that one of both sees.
    pub fn claim(&mut self) -> bool {
        self.post.state.store(state::RUNS, SeqCst);
        fence(SeqCst);
        self.seen = self.board.holder();
        self.mine = self.seen.engine() == Some(self.engine);
        if !self.mine {
            self.post.state.store(state::PARKED, SeqCst);
        }
        self.mine
    }

    /// Whether frames may be taken from ports.
    pub fn may_receive(&self) -> bool {
        self.mine && self.board.holder() == self.seen
    }

    /// All frames are home and the rings let go of.
    pub fn park(&mut self) {
        self.mine = false;
        self.post.state.store(state::PARKED, Release);
    }

    /// As `park`, and the rings are not taken again: the engine ends, and what it still does
    /// concerns no frame.
    pub fn give_back(&mut self) {
        self.mine = false;
        self.left = true;
        self.post.state.store(state::LEFT, Release);
    }

    /// Sleeps a moment, or until the rings change hands.
    pub fn sleep(&self) {
        let word = self.board.holder();
        if word.engine() != Some(self.engine) {
            futex::wait(self.board.holder_word(), word.0, PARKED_SLEEP);
        }
    }

    /// Ends in order.
    pub fn end(&mut self) {
        self.mine = false;
        self.post.state.store(state::ENDED, Release);
        futex::release(self.post);
    }
}
