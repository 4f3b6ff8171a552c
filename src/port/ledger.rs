//! How far half a port has come in its ring, written so that whoever takes the ring over after a
//! crash knows exactly which frames were taken and which were given to the other side.
//!
//! Two entries and a word that says which of them holds. A step writes the entry that does not
//! hold, turns the word, and only then is the ring's own word stored (head, or a frame's status).
//! A death between any two of these stores leaves one entry that agrees with the ring: the one that
//! holds, or, if the ring's word was not stored yet, the other. The order of stores is that of the
//! program: the reader looks after the writer's thread is gone.
//!
//! Positions count slots since the ring was made, so that `position % slots` is the ring's head;
//! `other` counts slots that were no frame of the traffic (chains, frames that a stage built).

use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Release};

/// Words of a ledger: one cache line.
pub type LedgerCells = [AtomicU64; 8];

const WHICH: usize = 0;
/// Position at which the ledger began.
const BASE: usize = 1;
/// Whether it has begun.
const BEGUN: usize = 2;
/// Position and `other` of both entries.
const ENTRIES: [usize; 2] = [4, 6];

/// A ledger, in memory of its own or in the keeper's.
pub struct Ledger {
    home: Home,
}

enum Home {
    Own(Box<LedgerCells>),
    Given(&'static LedgerCells),
}

impl Default for Ledger {
    fn default() -> Ledger {
        Ledger {
            home: Home::Own(Box::new(std::array::from_fn(|_| AtomicU64::new(0)))),
        }
    }
}

impl Ledger {
    /// A ledger over cells that lie elsewhere.
    pub fn over(cells: &'static LedgerCells) -> Ledger {
        Ledger {
            home: Home::Given(cells),
        }
    }

    fn cell(&self, at: usize) -> &AtomicU64 {
        static NOWHERE: AtomicU64 = AtomicU64::new(0);
        let cells = match &self.home {
            Home::Own(cells) => &**cells,
            Home::Given(cells) => *cells,
        };
        cells.get(at).unwrap_or(&NOWHERE)
    }

    fn load(&self, at: usize) -> u64 {
        self.cell(at).load(Acquire)
    }

    fn store(&self, at: usize, value: u64) {
        #[cfg(test)]
        super::ring::death::point();
        self.cell(at).store(value, Release);
    }

    /// Place of the entry that holds, and of the other one.
    fn places(&self) -> (usize, usize) {
        let [even, odd] = ENTRIES;
        match self.load(WHICH) & 1 {
            0 => (even, odd),
            _ => (odd, even),
        }
    }

    /// Begins at a ring's head, unless it has begun: a ring may have been in use before.
    pub fn begin(&self, head: u64) {
        if self.load(BEGUN) == 0 {
            self.cell(BASE).store(head, Release);
            self.write(head, 0);
            self.cell(BEGUN).store(1, Release);
        }
    }

    fn write(&self, position: u64, other: u64) {
        let (_, idle) = self.places();
        self.store(idle, position);
        self.store(idle + 1, other);
        self.store(WHICH, self.load(WHICH) ^ 1);
    }

    /// Notes a step of `slots`, of which `other` were no frames. To be called before the ring's
    /// word is stored.
    pub fn advance(&self, slots: u64, other: u64) {
        let (holds, _) = self.places();
        self.write(
            self.load(holds).wrapping_add(slots),
            self.load(holds + 1).wrapping_add(other),
        );
    }

    /// Slots so far.
    pub fn position(&self) -> u64 {
        self.load(self.places().0)
    }

    /// Frames so far.
    pub fn frames(&self) -> u64 {
        let (holds, _) = self.places();
        let slots = self.load(holds).wrapping_sub(self.load(BASE));
        slots.wrapping_sub(self.load(holds + 1))
    }

    /// Goes on at the first slot of a ring that has taken the place of another: what lies between
    /// were no frames.
    pub fn skip_to_start(&self, slots: u64) {
        let slots = slots.max(1);
        let missing = self.position().next_multiple_of(slots) - self.position();
        self.advance(missing, missing);
    }

    /// Takes the last step back: the ring never learned of it.
    pub fn roll_back(&self) {
        let (_, before) = self.places();
        self.write(self.load(before), self.load(before + 1));
    }

    /// Makes the ledger agree with a ring's head after a death: rolls a step back that was noted
    /// and not published. What can only be explained by a ring that was set anew is taken as
    /// slots that were no frames. Returns whether a step was rolled back.
    pub fn settle(&self, head: u64, slots: u64) -> bool {
        let slots = slots.max(1);
        let (holds, before) = self.places();
        if self.load(holds) % slots == head {
            return false;
        }
        if self.load(BEGUN) != 0 && self.load(before) % slots == head {
            self.roll_back();
            return true;
        }
        let missing = (head + slots - self.load(holds) % slots) % slots;
        self.advance(missing, missing);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_slots_less_others_from_where_it_began() {
        let ledger = Ledger::default();
        ledger.begin(5);
        ledger.begin(9);
        ledger.advance(3, 1);
        ledger.advance(4, 0);
        assert_eq!((ledger.position(), ledger.frames()), (12, 6));
        assert!(!ledger.settle(12 % 8, 8));
        assert!(ledger.settle(0, 8), "the last step was never published");
        assert_eq!((ledger.position(), ledger.frames()), (8, 2));
        ledger.advance(2, 0);
        assert_eq!((ledger.position(), ledger.frames()), (10, 4));
        assert!(!ledger.settle(5, 8), "a ring that was set anew");
        assert_eq!((ledger.position() % 8, ledger.frames()), (5, 4));
    }
}
