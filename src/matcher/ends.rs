//! Sets of addresses and ports that hold a packet's ends: nearly all rules name the same few, so a
//! packet searches each once.

use std::cell::Cell;

/// What is known of a packet's ends, its source and its destination: each set is searched once for
/// a packet, however many candidates name it.
#[derive(Debug, Default)]
pub struct Ends {
    /// Addresses.
    pub addresses: [Held; 2],
    /// Ports.
    pub ports: [Held; 2],
}

/// The first sets, those that most rules name, by bits: which were searched, and which of them hold
/// the end.
#[derive(Debug, Default)]
pub struct Held {
    known: Cell<u64>,
    holds: Cell<u64>,
}

impl Held {
    /// Whether the set of a number holds the end; `search` says so where nobody asked before.
    #[inline(always)]
    pub fn ask(&self, number: u16, search: impl FnOnce() -> bool) -> bool {
        if u32::from(number) >= u64::BITS {
            return search();
        }
        let bit = 1u64 << number;
        if self.known.get() & bit == 0 {
            self.known.set(self.known.get() | bit);
            if search() {
                self.holds.set(self.holds.get() | bit);
            }
        }
        self.holds.get() & bit != 0
    }
}
