//! A memory whose inner ends change hands: how an engine attaches to ends that the keeper has open,
//! and how the keeper mends what an engine left half done when it died.
//!
//! A kernel does not die in the middle of a sync; the one that is played here runs in the engine's
//! own threads, so it can. Each step of a sync is either repeated (what was done twice is made to
//! look as if it had not been done) or already complete. What belonged to the engine and stands in
//! no slot goes back to the pool: the set difference of NETMAP.md, as for a real ring.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::{Duration, Instant};

use super::{
    End, IN_PIPE, IN_POOL, LINK_ETHERNET, Memory, Pipe, Place, RingReceiver, RingTransmitter, Side,
    header, pipe_state, ring,
};
use crate::port::ring::{BUF_CHANGED, Ring, Slot};

/// How long to wait for a far end that is in the middle of a sync, and between two looks at it. It
/// may be waiting for this very processor, so that to spin would be to wait for ourselves.
const SYNC_WAIT: Duration = Duration::from_micros(500);
const SYNC_LOOK: Duration = Duration::from_micros(50);

impl Memory {
    /// Both halves of a ring of an end, without ring and buffers until they `resume`. `counted`
    /// says that these halves keep the end open (the keeper's); an engine's come and go.
    ///
    /// # Errors
    /// No such ring, or a memory that was damaged.
    pub fn attach(
        self: &Arc<Memory>,
        end: End,
        ring: u32,
        extra: u32,
        port: u8,
        counted: bool,
    ) -> std::io::Result<(RingReceiver<Pipe>, RingTransmitter<Pipe>)> {
        if ring >= self.plan.shape.rings || u32::from(end.cable) >= super::CABLES {
            let what = "there is no such ring in the memory";
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, what));
        }
        let far = End {
            cable: end.cable,
            side: end.side.other(),
        };
        let interface_at = self.plan.interface_at(end);
        let ring_of = |at: usize| {
            Ring::new(Arc::clone(&self.mapping), at)
                .map_err(|error| std::io::Error::other(error.what))
        };
        let receive_ring = ring_of(ring::rx_ring_at(&self.mapping, interface_at, ring))?;
        let transmit_ring = ring_of(ring::tx_ring_at(&self.mapping, interface_at, ring))?;
        let mut receive = self.pipe_half(self.plan.pipe(far, ring), end, 1)?;
        let mut transmit = self.pipe_half(self.plan.pipe(end, ring), end, 0)?;
        (receive.counted, transmit.counted) = (counted, counted);
        receive.extra = extra;
        if counted {
            let place = header::OPEN + super::Plan::end_number(end) * 4;
            self.mapping
                .word(place)
                .fetch_add(2, std::sync::atomic::Ordering::AcqRel);
        }
        let place = || Place {
            region: Arc::clone(&self.region),
            port,
            link: LINK_ETHERNET,
            longest: 0,
        };
        Ok((
            RingReceiver::parked(receive_ring, receive, extra as usize, place()),
            RingTransmitter::new(transmit_ring, transmit, place()),
        ))
    }

    /// Frees the pool if a dead engine had it locked. Before anything else is mended.
    pub fn unlock_pool(&self) {
        let lock = self.mapping.word(header::POOL_LOCK);
        let held = 1 + Side::Inner as u32;
        let _ = lock.compare_exchange(held, 0, Acquire, Acquire);
    }

    /// Buffers in the pool.
    pub fn pooled(&self) -> u32 {
        self.mapping.word(header::POOL_COUNT).load(Acquire)
    }

    /// Gives the buffers back to the pool that a dead engine held and that stand in no slot. To be
    /// called by who has the inner ends and holds no buffer, after their rings were mended. False:
    /// the far end is in the middle of a sync, and it is to be called again later.
    #[must_use]
    pub fn reclaim(&self) -> bool {
        let mut lost = self.unplaced(&self.inner_owned());
        if lost.is_empty() {
            return true;
        }
        // A far end in the middle of a sync has perhaps given a buffer to us and not yet written
        // it into our slot: once it is through, the slot shows it.
        if !self.far_end_at_rest() {
            return false;
        }
        lost = self.unplaced(&lost);
        self.with_pool(Side::Inner, |available| {
            for index in lost {
                let place = available.load(Acquire);
                self.owner(index).store(IN_POOL, Release);
                self.pool_word(place).store(index, Release);
                available.store(place + 1, Release);
            }
        });
        true
    }

    /// Buffers that the inner side owns, and those that were on their way from or to the pool.
    fn inner_owned(&self) -> Vec<u32> {
        let pooled: Vec<u32> = self.with_pool(Side::Inner, |available| {
            let count = available.load(Acquire);
            (0..count)
                .map(|place| self.pool_word(place).load(Acquire))
                .collect()
        });
        let mut in_pool = vec![false; self.plan.buffers as usize];
        for index in pooled {
            if let Some(known) = in_pool.get_mut(index as usize) {
                *known = true;
            }
        }
        (ring::BUFFER_INDEX_MIN..self.plan.buffers)
            .filter(|index| match self.owner(*index).load(Acquire) {
                owner if owner == Side::Inner as u32 => true,
                IN_POOL => !in_pool.get(*index as usize).copied().unwrap_or(true),
                _ => false,
            })
            .collect()
    }

    /// Those of `candidates` that stand in no slot of a ring of the inner ends.
    fn unplaced(&self, candidates: &[u32]) -> Vec<u32> {
        let mut placed = vec![false; self.plan.buffers as usize];
        for (pipe, receiving) in self.inner_halves() {
            let at = self.plan.ring_at(pipe, receiving);
            for slot in 0..self.plan.shape.slots as usize {
                let word = self
                    .mapping
                    .double(at + ring::SLOTS_AT + slot * ring::SLOT_BYTES);
                let index = Slot::from_word(word.load(Acquire)).index;
                if let Some(known) = placed.get_mut(index as usize) {
                    *known = true;
                }
            }
        }
        let is_unplaced = |index: &&u32| !placed.get(**index as usize).copied().unwrap_or(true);
        candidates.iter().filter(is_unplaced).copied().collect()
    }

    /// The pipe and its end (0 TX, 1 RX) of every ring of the inner ends.
    fn inner_halves(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        (0..super::CABLES as u8).flat_map(move |cable| {
            let end = move |side| End { cable, side };
            (0..self.plan.shape.rings).flat_map(move |ring| {
                [
                    (self.plan.pipe(end(Side::Inner), ring), 0),
                    (self.plan.pipe(end(Side::Outer), ring), 1),
                ]
            })
        })
    }

    /// Waits until the far end has been seen outside of each sync that could be under way.
    fn far_end_at_rest(&self) -> bool {
        let until = Instant::now() + SYNC_WAIT;
        self.inner_halves().all(|(pipe, receiving)| {
            let field = match receiving {
                0 => pipe_state::RX_BUSY,
                _ => pipe_state::TX_BUSY,
            };
            loop {
                if self.state(pipe, field).load(Acquire) == 0 {
                    return true;
                }
                if Instant::now() > until {
                    return false;
                }
                std::thread::sleep(SYNC_LOOK);
            }
        })
    }
}

impl Pipe {
    /// Makes a sync that a dead engine was in the middle of look as if it had not begun; the next
    /// one does it all.
    pub(super) fn mend_half(&self, ring: &Ring) {
        let busy = match self.receiving {
            true => self.state(pipe_state::RX_BUSY),
            false => self.state(pipe_state::TX_BUSY),
        };
        busy.store(0, Release);
        match self.receiving {
            true => self.mend_receive(ring),
            false => self.mend_transmit(ring),
        }
    }

    /// Slots that were handed over but not taken are this side's again; `taken` is the word that says
    /// up to where, `half` the ring's shadow.
    fn take_back(&self, ring: &Ring, taken: usize, half: usize) {
        let side = self.end.side as u32;
        let mut slot = self.state(taken).load(Acquire);
        let (head, _) = ring.published();
        while slot != head {
            let mut given = ring.slot(slot);
            if ring.is_buffer(given.index) {
                self.memory.owner(given.index).store(side, Release);
            }
            // Whether the flag was taken off already cannot be told, and it does no harm.
            given.flags |= BUF_CHANGED;
            ring.set_slot(slot, given);
            let beyond = self.opposite.slot(slot).word();
            self.memory
                .shadow(self.pipe, slot, half)
                .store(beyond, Release);
            slot = ring.next(slot);
        }
    }

    fn mend_transmit(&self, ring: &Ring) {
        self.take_back(ring, pipe_state::TX_TAKEN, 1);
        // Slots of a sync that was through but for telling the far end.
        let taken = self.state(pipe_state::TX_TAKEN).load(Acquire);
        self.state(pipe_state::FILLED).store(taken, Release);
        self.wake();
    }

    fn mend_receive(&self, ring: &Ring) {
        self.take_back(ring, pipe_state::RX_TAKEN, 0);
        let taken = self.state(pipe_state::RX_TAKEN).load(Acquire);
        self.state(pipe_state::EMPTIED)
            .store(ring.previous(taken), Release);
        // Frames that were being shown are not yet.
        let filled = self.state(pipe_state::FILLED).load(Acquire);
        let mut slot = ring.tail();
        while slot != filled {
            let index = ring.slot(slot).index;
            if ring.is_buffer(index) {
                self.memory.owner(index).store(IN_PIPE, Release);
            }
            slot = ring.next(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Shape, Violation};
    use super::*;
    use crate::port::ledger::{Ledger, LedgerCells};
    use crate::port::ring::{Audit, death};
    use crate::port::testing::{Totals, Worker};
    use crate::port::{Receive, Tally, Transmit};
    use std::cell::Cell;
    use std::mem::ManuallyDrop;
    use std::sync::atomic::AtomicU64;

    type Lane = Worker<RingReceiver<Pipe>, RingTransmitter<Pipe>>;

    const FRAMES: u64 = 40;

    fn end(cable: u8, side: Side) -> End {
        End { cable, side }
    }

    /// Ledgers of both ports, RX and TX, that outlive any lane.
    struct Ledgers([[&'static LedgerCells; 2]; 2]);

    impl Ledgers {
        fn new() -> Ledgers {
            let cells = || &*Box::leak(Box::new(std::array::from_fn(|_| AtomicU64::new(0))));
            Ledgers([[cells(), cells()], [cells(), cells()]])
        }

        fn frames(&self, half: usize) -> u64 {
            let ports = self.0.iter();
            ports.map(|port| Ledger::over(port[half]).frames()).sum()
        }
    }

    fn inner(memory: &Arc<Memory>, ledgers: &Ledgers, extra: u32, counted: bool) -> Lane {
        let halves = [0, 1].map(|port: u8| {
            let (mut receiver, mut transmitter) = memory
                .attach(end(port, Side::Inner), 0, extra, port, counted)
                .unwrap();
            let tally = |half: usize| Tally {
                ledger: Ledger::over(ledgers.0[usize::from(port)][half]),
                ..Tally::default()
            };
            receiver.keep(tally(0));
            transmitter.keep(tally(1));
            (receiver, transmitter)
        });
        Worker::new(halves, 32)
    }

    fn resume(lane: &mut Lane) {
        lane.receivers.iter_mut().for_each(Receive::resume);
        lane.transmitters.iter_mut().for_each(Transmit::resume);
    }

    fn park(lane: &mut Lane) {
        lane.receivers.iter_mut().for_each(Receive::park);
    }

    /// The far ends, and what they sent and saw.
    struct Far {
        lane: Lane,
        sent: [u64; 2],
        seen: [Vec<u64>; 2],
    }

    impl Far {
        fn new(memory: &Arc<Memory>) -> Far {
            let halves = [0, 1].map(|cable| {
                let end = end(cable, Side::Outer);
                memory.open(end, 0, 20, cable).unwrap()
            });
            Far {
                lane: Worker::new(halves, 32),
                sent: [0; 2],
                seen: Default::default(),
            }
        }

        fn turn(&mut self, send: u64) {
            for port in 0..2 {
                for _ in 0..send {
                    let mut bytes = [port as u8; 64];
                    bytes[..8].copy_from_slice(&self.sent[port].to_le_bytes());
                    if self.lane.transmitters[port].send_copy(&bytes).is_ok() {
                        self.sent[port] += 1;
                    }
                }
                self.lane.transmitters[port].sync();
                let seen = &mut self.seen[1 - port];
                self.lane.collect(port, |_, bytes| {
                    assert!(bytes[8..].iter().all(|byte| usize::from(*byte) == 1 - port));
                    seen.push(u64::from_le_bytes(bytes[..8].try_into().unwrap()));
                });
            }
        }
    }

    fn assert_whole(memory: &Memory, lanes: &[&Lane], what: &str) {
        let held = lanes.iter().flat_map(|lane| &lane.receivers);
        let held: Vec<u32> = held.flat_map(RingReceiver::free_indexes).collect();
        assert_eq!(memory.audit(held.into_iter()), Audit::default(), "{what}");
        let found = memory.violations_total();
        assert_eq!(found, 0, "{what}: {:?}", Violation::BufferTwice);
    }

    /// What an engine does between taking a ring and leaving it; dies on the way.
    fn life(engine: &mut Lane, far: &Cell<Option<Far>>, dropped: &Cell<u64>) {
        let mut totals = Totals::default();
        resume(engine);
        for _ in 0..4 {
            // The far end is another process: it does not die with us.
            death::pause(|| {
                let mut there = far.take().unwrap();
                there.turn(5);
                far.set(Some(there));
            });
            engine.turn(&mut totals, |_, bytes| {
                let keep = bytes[0] % 4 != 3;
                dropped.set(dropped.get() + u64::from(!keep));
                keep
            });
        }
        park(engine);
    }

    /// One engine that dies before its access number `at`; false if it lived on.
    fn die_at(at: u64) -> bool {
        let what = format!("death before access {at}");
        let memory = Memory::new(Shape {
            slots: 16,
            extra: 64,
            ..Shape::default()
        })
        .unwrap();
        let ledgers = Ledgers::new();
        let far = Cell::new(Some(Far::new(&memory)));
        let dropped = Cell::new(0);
        let mut keeper = inner(&memory, &ledgers, 8, true);
        let mut engine = ManuallyDrop::new(inner(&memory, &ledgers, 12, false));
        death::after(at);
        let lived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            life(&mut engine, &far, &dropped);
        }));
        death::after(0);
        let mut far = far.into_inner().unwrap();
        if lived.is_ok() {
            return false;
        }
        memory.unlock_pool();
        keeper.receivers.iter_mut().for_each(Receive::take_over);
        keeper.transmitters.iter_mut().for_each(Transmit::take_over);
        assert!(memory.reclaim(), "{what}");
        assert_whole(&memory, &[&far.lane, &keeper], &what);
        let lost = ledgers.frames(0) - ledgers.frames(1) - dropped.get();
        // In flight: both ports' bursts of a turn.
        assert!(lost <= 2 * 16, "{what}: {lost} lost");
        let mut totals = Totals::default();
        let mut forward = |lane: &mut Lane, far: &mut Far| {
            resume(lane);
            for turn in 0..12 {
                far.turn(if turn < 4 { 5 } else { 0 });
                lane.turn(&mut totals, |_, _| true);
            }
            park(lane);
            assert_whole(&memory, &[&far.lane, lane], &what);
        };
        forward(&mut keeper, &mut far);
        let mut next = inner(&memory, &ledgers, 12, false);
        forward(&mut next, &mut far);
        forward(&mut keeper, &mut far);
        far.turn(0);
        let sent = far.sent.iter().sum::<u64>();
        let arrived = far.seen.iter().map(|seen| seen.len() as u64).sum::<u64>();
        assert!(sent > FRAMES, "{what}");
        assert_eq!(sent, ledgers.frames(0), "{what}: all were received");
        assert_eq!(
            arrived,
            ledgers.frames(1),
            "{what}: all that were forwarded arrived"
        );
        assert_eq!(sent, arrived + dropped.get() + lost, "{what}: I1");
        for seen in &far.seen {
            assert!(seen.is_sorted_by(|a, b| a < b), "{what}: I3, I4");
        }
        true
    }

    #[test]
    fn a_death_at_every_access_of_a_hand_over_leaves_all_buffers_and_counts_whole() {
        let deaths = (1..).take_while(|at| die_at(*at)).count();
        println!("{deaths} deaths");
        assert!(deaths > 1000, "the engine lives after {deaths} accesses");
    }
}
