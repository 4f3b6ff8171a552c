//! Elephant flows: the bytes of each direction over the last seconds, where a rate is set
//! (`flow.rate-tracking`). A direction that reached it stays marked until its flow ends.
//!
//! Seconds are those of the packets' time stamps. A window is a ring of at most [`CELLS`] cells of
//! one second each, the one under way included; an interval longer than that has cells of several
//! seconds, and its window is exact to one cell. Nothing is kept, and nothing asked, without a rate.

use crate::config::RateTracking;
use crate::counters::{Counter, Counters};
use crate::packet::{Context, Direction};

/// Cells of a window at most.
pub const CELLS: usize = 16;
/// Bit of a flow that was an elephant to the server; see `FlowValues::elephant`.
const TO_SERVER: u8 = 1;
/// The same to the client.
const TO_CLIENT: u8 = 2;

/// One direction of a flow: 144 bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    /// Bytes by cell of time, modulo the number of cells.
    cells: [u64; CELLS],
    /// Their sum.
    sum: u64,
    /// The newest cell of time, counted from the epoch.
    newest: u64,
}

/// Both directions of a flow, and which of them are elephants.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    windows: [Window; 2],
    elephant: u8,
}

/// Counts a packet whose flow and direction are known, if rates are tracked.
#[inline(always)]
pub fn track(rates: &mut Option<Rates>, context: &mut Context, length: u32, counters: &Counters) {
    if let Some(rates) = rates {
        let (slot, direction) = (context.flow.slot, context.direction);
        rates.count(slot, direction, (context.time_ns, length), counters);
        context.values.elephant = rates.elephant(slot);
    }
}

/// The rates of all flows of a lane, by slot of its table.
pub struct Rates {
    flows: Box<[Rate]>,
    /// Bytes of a window that make an elephant.
    bytes: u64,
    /// Nanoseconds of a cell.
    cell_ns: u64,
    /// Cells of a window.
    cells: u64,
}

impl Rates {
    /// Room for so many slots; `None` where no rate is set.
    pub fn new(tracking: RateTracking, slots: usize) -> Option<Rates> {
        let seconds = u64::from(tracking.interval.max(1));
        let cell = seconds.div_ceil(CELLS as u64);
        (tracking.bytes != 0).then(|| Rates {
            flows: vec![Rate::default(); slots].into_boxed_slice(),
            bytes: tracking.bytes,
            cell_ns: cell * 1_000_000_000,
            cells: seconds.div_ceil(cell),
        })
    }

    /// Bytes that so many slots take.
    pub fn size_of(tracking: RateTracking, slots: usize) -> usize {
        match tracking.bytes {
            0 => 0,
            _ => slots * size_of::<Rate>(),
        }
    }

    /// A flow begins in a slot.
    pub fn begin(&mut self, slot: u32) {
        if let Some(rate) = self.flows.get_mut(slot as usize) {
            *rate = Rate::default();
        }
    }

    /// The directions of a flow that are elephants, as bits.
    pub fn elephant(&self, slot: u32) -> u8 {
        self.flows.get(slot as usize).map_or(0, |r| r.elephant)
    }

    /// Counts a packet of a direction.
    pub fn count(
        &mut self,
        slot: u32,
        direction: Direction,
        (time_ns, length): (u64, u32),
        counters: &Counters,
    ) {
        let Some(rate) = self.flows.get_mut(slot as usize) else {
            return;
        };
        let (bit, counter) = match direction {
            Direction::ToServer => (TO_SERVER, Counter::FlowsElephantToServer),
            Direction::ToClient => (TO_CLIENT, Counter::FlowsElephantToClient),
        };
        if rate.elephant & bit != 0 {
            return;
        }
        let window = &mut rate.windows[direction.index()];
        window.count(time_ns / self.cell_ns, self.cells, u64::from(length));
        if window.sum >= self.bytes {
            if rate.elephant == 0 {
                counters.inc(Counter::FlowsElephant);
            }
            counters.inc(counter);
            rate.elephant |= bit;
        }
    }
}

impl Window {
    /// Adds bytes at a cell of time, `count` of which are a window. Time that goes back stands still.
    fn count(&mut self, cell: u64, count: u64, length: u64) {
        let cell = cell.max(self.newest);
        let passed = (cell - self.newest).min(count);
        for past in 1..=passed {
            // Of a long silence, the cells before the last window are the same ones again.
            let place = ((cell - passed + past) % count) as usize;
            if let Some(bytes) = self.cells.get_mut(place) {
                self.sum = self.sum.saturating_sub(*bytes);
                *bytes = 0;
            }
        }
        self.newest = cell;
        if let Some(bytes) = self.cells.get_mut((cell % count) as usize) {
            *bytes = bytes.saturating_add(length);
            self.sum = self.sum.saturating_add(length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn rates(bytes: u64, interval: u16) -> Rates {
        Rates::new(RateTracking { bytes, interval }, 2).unwrap()
    }

    #[test]
    fn bytes_within_the_interval_make_an_elephant_and_it_stays_one() {
        let (mut rates, counters) = (rates(100, 4), Counters::default());
        let mut at = |second: u64, direction, length| {
            rates.count(1, direction, (second * SECOND, length), &counters);
            rates.elephant(1)
        };
        // 50 bytes each 4 seconds: the window never holds two.
        for second in [1000, 1004, 1008] {
            assert_eq!(at(second, Direction::ToServer, 50), 0);
        }
        assert_eq!(at(1011, Direction::ToClient, 99), 0);
        assert_eq!(at(1011, Direction::ToServer, 49), 0);
        assert_eq!(at(1011, Direction::ToServer, 1), 1);
        assert_eq!(at(1014, Direction::ToClient, 1), 3);
        assert_eq!(at(9000, Direction::ToServer, 1), 3);
        let told = |counter| counters.get(counter);
        assert_eq!(told(Counter::FlowsElephant), 1);
        assert_eq!(told(Counter::FlowsElephantToServer), 1);
        assert_eq!(told(Counter::FlowsElephantToClient), 1);
        rates.begin(1);
        assert_eq!((rates.elephant(0), rates.elephant(1)), (0, 0));
    }

    /// The naive twin: all packets of the last cells, added up.
    #[test]
    fn a_window_holds_what_came_in_its_last_cells() {
        let mut seed = 7_u64;
        let mut random = |bound: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % bound
        };
        for count in [1, 2, 5, 16] {
            let (mut window, mut all, mut now) = (Window::default(), Vec::new(), 0);
            for _ in 0..2000 {
                now += random(3) * random(3) * random(10);
                let length = random(1500);
                window.count(now, count, length);
                all.push((now, length));
                let recent = all.iter().filter(|(cell, _)| cell + count > now);
                assert_eq!(window.sum, recent.map(|(_, length)| length).sum::<u64>());
            }
        }
    }

    #[test]
    fn a_long_interval_has_cells_of_several_seconds() {
        let long = rates(1, 100);
        assert_eq!((long.cell_ns, long.cells), (7 * SECOND, 15));
        let short = rates(1, 16);
        assert_eq!((short.cell_ns, short.cells), (SECOND, 16));
        let off = RateTracking::OFF;
        assert!(Rates::new(off, 8).is_none());
        assert_eq!(Rates::size_of(off, 8), 0);
    }
}
