//! An engine on kept netmap ports dies before each of its accesses to shared memory in turn, from
//! taking the rings to leaving them. The emulated kernel's part of a call is not its own: a call
//! that was begun ends, as the kernel ends it.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::*;
use crate::port::ledger::{Ledger, LedgerCells};
use crate::port::netmap::emulation::{Machine, Shape};
use crate::port::ring::death;
use crate::port::testing::{Totals, Worker};
use crate::port::{PortCounter, Receive, Tally, Transmit};

type Lane = Worker<RingReceiver<Binding>, RingTransmitter<Binding>>;

/// Extra buffers of each receiver of the kept ports.
const EXTRA: u32 = 24;
/// Slots of a ring.
const SLOTS: u32 = 16;

fn opener(machine: &Machine) -> Opener {
    Opener::with_machine("here", Arc::new(machine.clone()))
}

fn spec(port: &str) -> NetmapSpec {
    NetmapSpec::parse(&format!("netmap-emu:here:{port}")).unwrap()
}

fn wanted(port: u8) -> Wanted {
    Wanted {
        lanes: 1,
        extra: EXTRA,
        port,
        patience: Duration::ZERO,
    }
}

/// Kept ports of a machine, with ledgers that outlive any lane: RX and TX of both ports.
struct Rig {
    machine: Machine,
    kept: KeptPorts,
    ledgers: [[&'static LedgerCells; 2]; 2],
}

impl Rig {
    fn new() -> Rig {
        let machine = Machine::new(Shape {
            slots: SLOTS,
            buf_size: 256,
            buffers: 512,
            ..Shape::default()
        });
        let mut kept = KeptPorts::default();
        kept.opener = opener(&machine);
        for (port, name) in (0..).zip(["x{1", "y{1"]) {
            let (number, notes) = kept.open(&spec(name), &wanted(port)).unwrap();
            assert_eq!((number, notes), (usize::from(port), Vec::new()));
        }
        let cells = || &*Box::leak(Box::new(std::array::from_fn(|_| AtomicU64::new(0))));
        Rig {
            machine,
            kept,
            ledgers: [[cells(), cells()], [cells(), cells()]],
        }
    }

    fn frames(&self, half: usize) -> u64 {
        let ports = self.ledgers.iter();
        ports.map(|port| Ledger::over(port[half]).frames()).sum()
    }

    /// Halves of both ports, without the rings.
    fn lane(&self) -> Lane {
        let halves = [0, 1].map(|port: u8| {
            let (mut receiver, mut transmitter) =
                self.kept.halves(usize::from(port), 0, port).unwrap();
            let tally = |half: usize| Tally {
                ledger: Ledger::over(self.ledgers[usize::from(port)][half]),
                ..Tally::default()
            };
            receiver.keep(tally(0));
            transmitter.keep(tally(1));
            (receiver, transmitter)
        });
        Worker::new(halves, 32)
    }

    /// I5 of a lane that has the rings and no frame: each receiver has all of its extra buffers,
    /// and none of them stands in a second place.
    fn assert_whole(&self, lane: &Lane, what: &str) {
        let mut places = Vec::new();
        for receiver in &lane.receivers {
            let free = receiver.free_indexes();
            assert_eq!(free.len(), EXTRA as usize, "{what}: buffers of a receiver");
            places.extend(free);
        }
        for ring in lane
            .receivers
            .iter()
            .map(RingReceiver::ring)
            .chain(lane.transmitters.iter().map(RingTransmitter::ring))
        {
            let (mut slot, tail) = (ring.head(), ring.tail());
            while slot != tail {
                places.push(ring.slot(slot).index);
                slot = ring.next(slot);
            }
        }
        let count = places.len();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), count, "{what}: a buffer in two places");
        assert_eq!(self.machine.violations_total(), 0, "{what}");
    }
}

fn resume(lane: &mut Lane) {
    lane.transmitters.iter_mut().for_each(Transmit::resume);
    lane.receivers.iter_mut().for_each(Receive::resume);
}

fn park(lane: &mut Lane) {
    lane.transmitters.iter_mut().for_each(Transmit::park);
    lane.receivers.iter_mut().for_each(Receive::park);
}

/// The far ends of both pipes, and what they sent and saw.
struct Far {
    lane: Lane,
    sent: [u64; 2],
    seen: [Vec<u64>; 2],
}

impl Far {
    fn new(machine: &Machine) -> Far {
        let mut opener = opener(machine);
        let halves = [(0, "x}1"), (1, "y}1")].map(|(port, name)| {
            let mut opened = opener.open(&spec(name), &wanted(port)).unwrap();
            let (receiver, transmitter) = opened.lanes.remove(0);
            (receiver, transmitter.unwrap())
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
                assert!(
                    bytes[8..].iter().all(|byte| usize::from(*byte) == 1 - port),
                    "I2"
                );
                seen.push(u64::from_le_bytes(bytes[..8].try_into().unwrap()));
            });
        }
    }
}

/// What an engine does between taking the rings and leaving them; dies on the way.
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
    let rig = Rig::new();
    let far = Cell::new(Some(Far::new(&rig.machine)));
    let dropped = Cell::new(0);
    let mut keeper = rig.lane();
    // What a dead process had is never dropped in order.
    let mut engine = ManuallyDrop::new(rig.lane());
    death::after(at);
    let lived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        life(&mut engine, &far, &dropped);
    }));
    death::after(0);
    let mut far = far.into_inner().unwrap();
    if lived.is_ok() {
        return false;
    }
    keeper.transmitters.iter_mut().for_each(Transmit::take_over);
    keeper.receivers.iter_mut().for_each(Receive::take_over);
    resume(&mut keeper);
    rig.assert_whole(&keeper, &what);
    let lost = rig.frames(0) - rig.frames(1) - dropped.get();
    // In flight: both ports' bursts of a turn.
    assert!(lost <= u64::from(2 * SLOTS), "{what}: {lost} lost");
    let mut totals = Totals::default();
    let mut forward = |lane: &mut Lane, far: &mut Far| {
        resume(lane);
        for turn in 0..12 {
            far.turn(if turn < 4 { 5 } else { 0 });
            lane.turn(&mut totals, |_, _| true);
        }
        rig.assert_whole(lane, &what);
        park(lane);
    };
    park(&mut keeper);
    forward(&mut keeper, &mut far);
    let mut next = rig.lane();
    forward(&mut next, &mut far);
    forward(&mut keeper, &mut far);
    far.turn(0);
    let sent = far.sent.iter().sum::<u64>();
    let arrived = far.seen.iter().map(|seen| seen.len() as u64).sum::<u64>();
    assert!(sent > 100, "{what}: {sent}");
    assert_eq!(sent, rig.frames(0), "{what}: all were received");
    assert_eq!(
        arrived,
        rig.frames(1),
        "{what}: all that were forwarded arrived"
    );
    assert_eq!(sent, arrived + dropped.get() + lost, "{what}: I1");
    for seen in &far.seen {
        assert!(seen.is_sorted_by(|a, b| a < b), "{what}: I3, I4");
    }
    // The kernel closes what the dead one had open; then all buffers must be back.
    let machine = rig.machine.clone();
    drop((keeper, next, far, rig));
    machine.close_all();
    assert_eq!(machine.leaked(), 0, "{what}: I5 at the end");
    assert_eq!(machine.violations_total(), 0, "{what}: at the end");
    true
}

#[test]
fn a_death_at_every_access_leaves_all_buffers_and_counts_whole() {
    let deaths = (1..).take_while(|at| die_at(*at)).count();
    println!("{deaths} deaths");
    assert!(deaths > 700, "the engine lives after {deaths} accesses");
}

#[test]
fn a_keeper_that_takes_over_while_a_port_is_gone_leaves_its_rings_alone() {
    let rig = Rig::new();
    let mut far = Far::new(&rig.machine);
    let mut keeper = rig.lane();
    let mut engine = ManuallyDrop::new(rig.lane());
    let mut totals = Totals::default();
    resume(&mut engine);
    far.turn(5);
    engine.turn(&mut totals, |_, _| true);
    assert_eq!((totals.received, totals.forwarded), (10, 10));
    // The last that the engine does is to fill slots of the port that is pulled out.
    far.turn(4);
    engine.receive(1, 4);
    let queued = engine.burst.len();
    assert_eq!(queued, 4);
    let dying: &mut Lane = &mut engine;
    for handle in &mut dying.burst {
        let context = dying.contexts.get_mut(handle);
        let queued = dying.transmitters[0].transmit(context, &dying.regions);
        queued.unwrap();
    }
    rig.machine.unplug("x{1");
    let heads = |lane: &Lane| {
        let (rx, tx) = (lane.receivers[0].ring(), lane.transmitters[0].ring());
        [rx.published(), tx.published()]
    };
    let before = heads(&keeper);
    keeper.transmitters.iter_mut().for_each(Transmit::take_over);
    keeper.receivers.iter_mut().for_each(Receive::take_over);
    resume(&mut keeper);
    let (mut dropped, frames) = (Totals::default(), rig.frames(1));
    for _ in 0..4 {
        far.turn(3);
        keeper.turn(&mut dropped, |_, _| true);
    }
    assert_eq!(heads(&keeper), before, "nothing was written");
    // What comes from the other port is dropped; what the dead engine had queued is lost.
    assert!(dropped.received > 0);
    assert_eq!((dropped.forwarded, dropped.full), (0, dropped.received));
    assert_eq!(rig.frames(1), frames, "nothing went out that was none");
    let gone = queued as u64 + dropped.received;
    assert_eq!(rig.frames(0) - rig.frames(1), gone);
    for (counters, gone) in [
        (keeper.receivers[0].counters(), 1),
        (keeper.transmitters[0].counters(), 1),
        (keeper.receivers[1].counters(), 0),
        (keeper.transmitters[1].counters(), 0),
    ] {
        assert_eq!(counters.get(PortCounter::Vanished), gone);
    }
    assert_eq!(rig.machine.violations_total(), 0);
}

/// A lane that let go of its rings while a port was down has frames in them that only the next sync
/// takes: its own end must not be that sync, for the rings are another's by then.
#[test]
fn a_lane_that_has_let_go_leaves_the_rings_alone_when_it_ends() {
    let rig = Rig::new();
    let mut far = Far::new(&rig.machine);
    let (mut engine, mut keeper) = (rig.lane(), rig.lane());
    let mut totals = Totals::default();
    resume(&mut engine);
    rig.machine.set_down("y{1", true);
    far.turn(5);
    engine.turn(&mut totals, |_, _| true);
    assert!(totals.forwarded > 0);
    park(&mut engine);
    resume(&mut keeper);
    let syncs = |lane: &Lane| {
        let halves = lane.transmitters.iter();
        let counters = halves.map(|half| half.counters().clone());
        counters.collect::<Vec<_>>()
    };
    let counters = syncs(&engine);
    let total = || {
        counters
            .iter()
            .map(|c| c.get(PortCounter::Syncs))
            .sum::<u64>()
    };
    let before = total();
    drop(engine);
    assert_eq!(total(), before);
    assert_eq!(rig.machine.violations_total(), 0);
}
