//! Tests of opening and trading over the emulated machine: that it is as strict as it says, and
//! that ports stand what it can do to them. The long runs, which a real module passes too, are
//! tests/netmap_port.rs.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::emulation::{Faults, Machine, Shape, Violation};
use super::*;
use crate::port::ring::{BUF_CHANGED, MORE_FRAGMENTS, Slot};
use crate::port::testing::{self, Totals};
use crate::port::{PortCounter, Receive, Transmit};
use crate::reason::Reason;

type Worker = testing::Worker<RingReceiver<Binding>, RingTransmitter<Binding>>;

fn machine(slots: u32) -> Machine {
    let machine = Machine::new(Shape {
        slots,
        buffers: 2048,
        ..Shape::default()
    });
    for name in ["a0", "a1", "b0", "b1"] {
        machine.add_nic(name, 1);
    }
    machine.cable("a0", "a1");
    machine.cable("b0", "b1");
    machine
}

fn spec(name: &str) -> NetmapSpec {
    NetmapSpec::parse(&format!("netmap-emu:here:{name}")).unwrap()
}

fn wanted(lanes: usize, port: u8) -> Wanted {
    Wanted {
        lanes,
        extra: 100,
        port,
        patience: Duration::ZERO,
    }
}

fn try_open(machine: &Machine, names: [&str; 2]) -> Result<(Worker, Vec<String>), PortError> {
    let mut opener = Opener::with_machine("here", Arc::new(machine.clone()));
    let (mut halves, mut notes) = (Vec::new(), Vec::new());
    for (port, name) in (0..).zip(names) {
        let mut opened = opener.open(&spec(name), &wanted(1, port))?;
        let (receiver, transmitter) = opened.lanes.remove(0);
        halves.push((receiver, transmitter.unwrap()));
        notes.append(&mut opened.notes);
    }
    Ok((Worker::new(halves, 256), notes))
}

fn open(machine: &Machine, names: [&str; 2]) -> Worker {
    try_open(machine, names).unwrap().0
}

fn frame(number: u8) -> Vec<u8> {
    vec![number; 60 + usize::from(number)]
}

fn send(worker: &mut Worker, port: usize, numbers: std::ops::Range<u8>) -> usize {
    let half = &mut worker.transmitters[port];
    let sent = numbers
        .filter(|number| half.send_copy(&frame(*number)).is_ok())
        .count();
    half.sync();
    sent
}

fn arrived(worker: &mut Worker, port: usize) -> Vec<u8> {
    let mut numbers = Vec::new();
    for _ in 0..8 {
        worker.collect(port, |_, bytes| {
            assert_eq!(bytes, frame(bytes[0]), "I2");
            numbers.push(bytes[0]);
        });
    }
    numbers
}

fn counted(worker: &Worker, counter: PortCounter) -> u64 {
    let receive = worker.receivers.iter().map(Receive::counters);
    let all = receive.chain(worker.transmitters.iter().map(Transmit::counters));
    all.map(|counters| counters.get(counter)).sum()
}

fn assert_clean(machine: &Machine) {
    assert_eq!((machine.descriptors(), machine.violations_total()), (0, 0));
    assert_eq!(
        (machine.leaked(), machine.pooled().0),
        (0, machine.pooled().1)
    );
}

/// Each rule that can be broken through a ring, broken once and found once.
#[test]
fn every_violation_is_recorded() {
    let check = |violation: Violation, break_it: &dyn Fn(&Machine, &mut Worker, &mut Worker)| {
        let machine = machine(16);
        let mut far = open(&machine, ["x}1", "y}1"]);
        let mut near = open(&machine, ["x{1", "y{1"]);
        far.transmitters[0].send_copy(&frame(1)).unwrap();
        assert_eq!(machine.violations_total(), 0);
        break_it(&machine, &mut far, &mut near);
        assert!(
            machine.violations(violation) > 0,
            "{violation:?} went unseen"
        );
    };
    let put = |worker: &Worker, slot: u32, change: &dyn Fn(Slot) -> Slot| {
        let ring = worker.transmitters[0].ring();
        ring.set_slot(slot, change(ring.slot(slot)));
    };
    check(Violation::BufferTwice, &|_, far, _| {
        far.transmitters[0].send_copy(&frame(2)).unwrap();
        let index = far.transmitters[0].ring().slot(0).index;
        let flags = BUF_CHANGED;
        put(far, 1, &|slot| Slot {
            index,
            flags,
            ..slot
        });
        far.transmitters[0].sync();
    });
    check(Violation::SlotTouched, &|_, far, near| {
        far.transmitters[0].sync();
        put(far, 0, &|slot| Slot { length: 99, ..slot });
        near.receive(0, 16);
        near.receive(0, 16);
    });
    check(Violation::ChangeUntold, &|_, far, _| {
        let index = far.transmitters[0].ring().slot(5).index;
        put(far, 0, &|slot| Slot {
            index,
            flags: 0,
            ..slot
        });
        far.transmitters[0].sync();
    });
    check(Violation::TooLong, &|_, far, _| {
        put(far, 0, &|slot| Slot {
            length: 4000,
            ..slot
        });
        far.transmitters[0].sync();
    });
    check(Violation::IndexInvalid, &|_, far, _| {
        put(far, 0, &|slot| Slot { index: 1, ..slot });
        far.transmitters[0].sync();
    });
    check(Violation::HeadInvalid, &|_, far, _| {
        far.transmitters[0].ring().kernel_reinit(999);
        far.transmitters[0]
            .exchange_mut()
            .descriptor
            .as_ref()
            .unwrap()
            .txsync()
            .unwrap();
    });
    check(Violation::StaleList, &|_, far, near| {
        // A list that still names a buffer in use: what storing 0 at once prevents.
        let index = far.transmitters[0].ring().slot(0).index;
        far.transmitters[0].sync();
        let mapping = Arc::clone(near.transmitters[0].ring().mapping());
        let binding = near.transmitters[0].exchange_mut();
        let head = mapping.word(binding.interface_at + BUFS_HEAD_AT);
        head.store(index, Ordering::Release);
        binding.descriptor = None;
    });
}

#[test]
fn two_threads_on_one_ring_are_found() {
    let machine = machine(64);
    let near = open(&machine, ["x{1", "y{1"]);
    let provider: &dyn Provider = &machine;
    let asked = Register {
        mode: mode::ONE_NIC,
        ..Register::default()
    };
    let shared = provider.open("x}1", &asked).unwrap();
    // `Descriptor` is not `Sync`, so safe code cannot do this: the calls are forced.
    struct Force(*const dyn Descriptor);
    // SAFETY: both threads end before the descriptor is dropped, and its calls take `&self` and
    // lock what they share.
    unsafe impl Send for Force {}
    let start = Instant::now();
    while machine.violations(Violation::TwoThreads) == 0 {
        assert!(start.elapsed() < Duration::from_secs(60), "never found");
        std::thread::scope(|scope| {
            for _ in 0..2 {
                let force = Force(shared.as_ref());
                scope.spawn(move || {
                    let force = force;
                    for _ in 0..2000 {
                        // SAFETY: see `Force`.
                        unsafe { (*force.0).txsync().unwrap() };
                    }
                });
            }
        });
    }
    drop(near);
}

#[test]
fn a_link_that_goes_down_is_counted_and_comes_back() {
    let machine = machine(32);
    let mut far = open(&machine, ["a0", "b0"]);
    let mut near = open(&machine, ["a1", "b1"]);
    let mut totals = Totals::default();
    assert_eq!(send(&mut far, 0, 0..10), 10);
    near.turn(&mut totals, |_, _| true);
    assert_eq!(arrived(&mut far, 1), (0..10).collect::<Vec<_>>());
    machine.set_down("b1", true);
    send(&mut far, 0, 10..60);
    for _ in 0..8 {
        near.turn(&mut totals, |_, _| true);
    }
    assert!(counted(&near, PortCounter::Down) > 0);
    machine.set_down("b1", false);
    for _ in 0..8 {
        near.turn(&mut totals, |_, _| true);
    }
    assert_eq!(
        totals.received,
        totals.forwarded + totals.full,
        "I1 across the outage"
    );
    assert_eq!(arrived(&mut far, 1).len() as u64 + 10, totals.forwarded);
    assert_eq!(send(&mut far, 0, 60..70), 10);
    near.turn(&mut totals, |_, _| true);
    assert_eq!(arrived(&mut far, 1), (60..70).collect::<Vec<_>>());
    drop((near, far));
    assert_clean(&machine);
}

#[test]
fn a_ring_that_the_kernel_sets_anew_goes_on_and_what_is_lost_is_counted() {
    let machine = machine(32);
    let mut far = open(&machine, ["a0", "b0"]);
    let mut near = open(&machine, ["a1", "b1"]);
    let mut totals = Totals::default();
    send(&mut far, 0, 0..6);
    // Queued and published, and not taken when the rings are set anew.
    near.receive(0, 64);
    machine.set_down("b1", true);
    near.forward(&mut totals, |_, _| true);
    machine.reinit("b1");
    machine.set_down("b1", false);
    near.turn(&mut totals, |_, _| true);
    near.transmitters[1].is_drained();
    assert!(counted(&near, PortCounter::Reinit) > 0);
    let lost = counted(&near, PortCounter::ReinitLost);
    assert_eq!((totals.forwarded, lost), (6, 6));
    send(&mut far, 0, 6..26);
    for _ in 0..4 {
        near.turn(&mut totals, |_, _| true);
    }
    assert_eq!(arrived(&mut far, 1), (6..26).collect::<Vec<_>>());
    machine.reinit("a1");
    send(&mut far, 0, 26..46);
    for _ in 0..4 {
        near.turn(&mut totals, |_, _| true);
    }
    assert_eq!(arrived(&mut far, 1), (26..46).collect::<Vec<_>>());
    drop((near, far));
    assert_clean(&machine);
}

#[test]
fn a_port_that_vanishes_is_survived_and_opened_again() {
    let machine = machine(32);
    let mut far = open(&machine, ["a0", "b0"]);
    let mut near = open(&machine, ["a1", "b1"]);
    let mut totals = Totals::default();
    send(&mut far, 0, 0..10);
    near.turn(&mut totals, |_, _| true);
    assert_eq!(arrived(&mut far, 1).len(), 10);
    machine.unplug("b1");
    let before = totals.received;
    for _ in 0..4 {
        send(&mut far, 0, 0..10);
        near.turn(&mut totals, |_, _| true);
    }
    assert!(counted(&near, PortCounter::Down) > 0);
    // What is for it does not wait, and is dropped for what it is: no ring is full.
    assert!(totals.received > before + 10);
    assert_eq!(
        near.transmitters[1].send_copy(&frame(0)),
        Err(Reason::PortTxDown)
    );
    assert_eq!(counted(&near, PortCounter::RingFull), 0);
    machine.plug("b1");
    let start = Instant::now();
    while counted(&near, PortCounter::Reopened) < 2 {
        near.turn(&mut totals, |_, _| true);
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "not opened again"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    arrived(&mut far, 1);
    let before = totals.forwarded;
    send(&mut far, 0, 20..40);
    for _ in 0..4 {
        near.turn(&mut totals, |_, _| true);
    }
    assert_eq!(totals.forwarded, before + 20);
    assert_eq!(arrived(&mut far, 1), (20..40).collect::<Vec<_>>());
    assert_eq!(machine.violations_total(), 0);
}

/// DESIGN.md 2: a system call serves a burst. Each sync of the real port is one, and it makes no
/// others while frames come.
#[test]
fn at_saturation_a_sync_serves_more_than_32_frames() {
    let machine = Machine::new(Shape::default());
    let mut far = open(&machine, ["x}1", "y}1"]);
    let mut near = open(&machine, ["x{1", "y{1"]);
    let mut totals = Totals::default();
    let (mut sent, mut came) = (0u64, 0u64);
    for _ in 0..40 {
        for port in 0..2 {
            while far.transmitters[port].send_copy(&frame(1)).is_ok() {
                sent += 1;
            }
            far.transmitters[port].sync();
        }
        for _ in 0..18 {
            near.turn(&mut totals, |_, _| true);
        }
        for port in 0..2 {
            while let count @ 1.. = far.collect(port, |_, _| {}) {
                came += count as u64;
            }
        }
    }
    assert_eq!((totals.received, totals.full, came), (sent, 0, sent));
    let receive = near.receivers.iter().map(Receive::counters);
    let both = receive.chain(near.transmitters.iter().map(Transmit::counters));
    let syncs: u64 = both.map(|counters| counters.get(PortCounter::Syncs)).sum();
    println!("{syncs} syncs for {sent} frames: one for {}", sent / syncs);
    assert!(sent >= 32 * syncs, "{syncs} syncs for {sent} frames");
    drop((near, far));
    assert_clean(&machine);
}

/// Straight from ring to ring, many times round both: every frame once, in order and unchanged, and
/// as many buffers afterwards as before.
#[test]
fn frames_go_straight_from_ring_to_ring_by_the_kernels_rules() {
    let machine = machine(64);
    let mut far = open(&machine, ["x}1", "y}1"]);
    let mut near = open(&machine, ["x{1", "y{1"]);
    let before = near.receivers[0].free_indexes().len();
    let (mut under_way, mut sent, mut moved, mut came) = (VecDeque::new(), 0, 0u64, 0u64);
    for turn in 0..1000 {
        for _ in 0..turn % 50 {
            let number = (sent % 200) as u8;
            if far.transmitters[0].send_copy(&frame(number)).is_ok() {
                under_way.push_back(number);
                sent += 1;
            }
        }
        far.transmitters[0].sync();
        let limit = near.transmitters[1].room().min(1 + turn % 64);
        let [from, _] = &mut near.receivers[..] else {
            unreachable!("two ports");
        };
        let got = from.straight(&mut near.transmitters[1], limit).unwrap();
        assert!(got.count <= limit);
        moved += got.count as u64;
        near.transmitters[1].sync();
        let arrived = arrived(&mut far, 1);
        came += arrived.len() as u64;
        for number in arrived {
            assert_eq!(under_way.pop_front(), Some(number), "I3, I4");
        }
    }
    assert!(sent > 10_000 && came > 10_000, "{sent} sent, {came} came");
    assert!(moved <= sent && came <= moved, "{moved} moved, {came} came");
    for (half, count) in [
        (near.receivers[0].counters(), moved),
        (near.transmitters[1].counters(), moved),
    ] {
        assert_eq!(half.get(PortCounter::Packets), count);
        assert_eq!(half.get(PortCounter::Copied), 0);
    }
    assert_eq!(near.receivers[0].free_indexes().len(), before);
    drop((near, far));
    assert_clean(&machine);
}

#[test]
fn what_cannot_go_straight_is_left_to_go_frame_by_frame() {
    let machine = machine(32);
    let mut far = open(&machine, ["a0", "b0"]);
    let mut near = open(&machine, ["a1", "b1"]);
    for (number, length) in (0..).zip([64, 70, 5000, 80]) {
        machine.inject("a1", 0, &long_frame(number, length));
    }
    let straight = |near: &mut Worker| {
        let got = near.receivers[0].straight(&mut near.transmitters[1], 32);
        got.map(|got| (got.count, got.bytes))
    };
    assert_eq!(straight(&mut near), Some((2, 134)));
    assert_eq!(straight(&mut near), None, "a chain is next");
    let mut totals = Totals::default();
    near.receive(0, 1);
    near.forward(&mut totals, |_, bytes| bytes.len() == 5000);
    assert_eq!(totals.forwarded, 1);
    assert_eq!(straight(&mut near), Some((1, 80)));
    assert_eq!(straight(&mut near), Some((0, 0)), "nothing waits");
    near.transmitters[1].sync();
    let mut lengths = Vec::new();
    while far.collect(1, |_, bytes| lengths.push(bytes.len())) > 0 {}
    assert_eq!(lengths, [64, 70, 5000, 80]);
    drop((near, far));
    assert_clean(&machine);
}

/// A frame of so many bytes that begins as `frame` does.
fn long_frame(number: u8, length: usize) -> Vec<u8> {
    let mut bytes = frame(number);
    bytes.resize(length, number);
    bytes
}

#[test]
fn chains_are_inspected_in_one_piece_and_forwarded_whole() {
    let machine = machine(32);
    let mut far = open(&machine, ["a0", "b0"]);
    let mut near = open(&machine, ["a1", "b1"]);
    let mut totals = Totals::default();
    let lengths = [64, 2049, 4096, 5000, 9018, 64];
    for round in 0..3 {
        for (number, length) in lengths.into_iter().enumerate() {
            machine.inject("a1", 0, &long_frame(number as u8, length));
        }
        let mut seen = Vec::new();
        for _ in 0..4 {
            near.turn(&mut totals, |_, bytes| {
                seen.push(bytes.len());
                // One chain is dropped by verdict.
                round > 0 || bytes.len() != 4096
            });
        }
        assert_eq!(seen, lengths, "inspected in one piece, in order");
        let mut came = Vec::new();
        while far.collect(1, |_, bytes| came.push(bytes.to_vec())) > 0 {}
        let sent = (0..)
            .zip(lengths)
            .map(|(number, length)| long_frame(number, length));
        let expected: Vec<_> = sent.filter(|f| round > 0 || f.len() != 4096).collect();
        assert!(came == expected, "I2, I3: {:?}", came.iter().map(Vec::len));
    }
    assert_eq!((totals.received, totals.dropped, totals.full), (18, 1, 0));
    assert_eq!(near.receivers[0].counters().get(PortCounter::Chains), 12);
    assert_eq!(near.transmitters[1].counters().get(PortCounter::Chains), 11);
    drop((near, far));
    assert_clean(&machine);
}

#[test]
fn chains_that_are_too_long_are_dropped_whole_and_counted() {
    let machine = machine(32);
    let mut far = open(&machine, ["a0", "b0"]);
    let mut near = open(&machine, ["a1", "b1"]);
    let mut totals = Totals::default();
    machine.inject("a1", 0, &frame(1));
    machine.inject("a1", 0, &[7; 17_000]);
    machine.inject("a1", 0, &frame(2));
    let received = near.receive(0, 64);
    assert_eq!((received.count, received.too_long), (2, 1));
    near.forward(&mut totals, |_, _| true);
    assert_eq!(arrived(&mut far, 1), [1, 2]);
    // One that is shown in parts.
    machine.set_faults(Faults {
        shown_max: 3,
        ..Faults::default()
    });
    machine.inject("a1", 0, &[7; 17_000]);
    machine.inject("a1", 0, &long_frame(3, 8000));
    machine.inject("a1", 0, &frame(4));
    let mut lengths = Vec::new();
    for _ in 0..12 {
        near.turn(&mut totals, |_, bytes| {
            lengths.push(bytes.len());
            true
        });
    }
    assert_eq!(lengths[..1], [8000], "{lengths:?}");
    assert_eq!(near.receivers[0].counters().get(PortCounter::TooLong), 2);
    assert_eq!(MORE_FRAGMENTS, 0x20);
    drop((near, far));
    assert_clean(&machine);
}

#[test]
fn host_rings_are_ports_of_their_own() {
    let machine = machine(32);
    let mut far = open(&machine, ["a0", "b0"]);
    // The inside is the NIC, the outside the same box's host stack.
    let mut near = open(&machine, ["a1", "a1^"]);
    let mut totals = Totals::default();
    send(&mut far, 0, 0..9);
    near.turn(&mut totals, |_, _| true);
    assert_eq!(
        machine.take_host("a1"),
        (0..9).map(frame).collect::<Vec<_>>()
    );
    machine.inject("a1", 1, &frame(33));
    near.turn(&mut totals, |_, _| true);
    assert_eq!(arrived(&mut far, 0), [33]);
    assert_eq!(counted(&near, PortCounter::Copied), 0);
    drop((near, far));
    assert_clean(&machine);
}

#[test]
fn a_full_cable_is_back_pressure_and_a_full_ring_a_reason() {
    let machine = machine(16);
    let far = open(&machine, ["a0", "b0"]);
    machine.set_down("b1", false);
    let mut near = open(&machine, ["a1", "b1"]);
    machine.set_faults(Faults {
        complete_every: 1000,
        ..Faults::default()
    });
    for number in 0..40 {
        machine.inject("a1", 0, &frame(number));
    }
    let mut totals = Totals::default();
    for _ in 0..8 {
        near.receive(0, 8);
        near.forward(&mut totals, |_, _| true);
    }
    assert_eq!((totals.forwarded, totals.full), (15, 25));
    assert_eq!(counted(&near, PortCounter::RingFull), 25);
    drop((near, far));
    assert_clean(&machine);
}

#[test]
fn fewer_buffers_than_asked_are_told_and_enough_to_go_on() {
    let machine = machine(64);
    machine.set_faults(Faults {
        extra_max: Some(3),
        ..Faults::default()
    });
    let (mut near, notes) = try_open(&machine, ["a1", "b1"]).unwrap();
    assert!(
        notes.len() == 2 && notes[0].contains("3 of 100 extra buffers"),
        "{notes:?}"
    );
    let mut far = open(&machine, ["a0", "b0"]);
    send(&mut far, 0, 0..30);
    let mut totals = Totals::default();
    for _ in 0..20 {
        near.turn(&mut totals, |_, _| true);
    }
    assert_eq!(totals.forwarded, 30, "frames wait in the ring");
    assert!(counted(&near, PortCounter::Starved) > 0);
    drop((near, far));
    assert_clean(&machine);
    machine.set_faults(Faults {
        extra_max: Some(0),
        ..Faults::default()
    });
    let error = try_open(&machine, ["a1", "b1"]).err().unwrap().to_string();
    assert!(error.contains("no buffer left"), "{error}");
    assert_eq!(
        (machine.descriptors(), machine.pooled().0),
        (0, machine.pooled().1)
    );
}

#[test]
fn a_driver_that_knows_no_one_way_rings_is_opened_both_ways() {
    let machine = machine(64);
    machine.set_faults(Faults {
        both_ways_only: true,
        ..Faults::default()
    });
    let mut far = open(&machine, ["a0", "b0"]);
    let mut near = open(&machine, ["a1", "b1"]);
    let mut totals = Totals::default();
    send(&mut far, 0, 0..30);
    near.turn(&mut totals, |_, _| true);
    assert_eq!(arrived(&mut far, 1).len(), 30);
    drop((near, far));
    assert_clean(&machine);
    machine.add_nic("wide0", 4);
    let mut opener = Opener::with_machine("here", Arc::new(machine.clone()));
    let error = opener
        .open(&spec("wide0"), &wanted(4, 0))
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("all of its rings or none") && error.contains("combined 1"),
        "{error}"
    );
}

#[test]
fn rings_that_nobody_would_serve_are_refused() {
    let machine = machine(64);
    machine.add_nic("wide0", 4);
    let mut opener = Opener::with_machine("here", Arc::new(machine.clone()));
    let error = opener
        .open(&spec("wide0"), &wanted(1, 0))
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("4 rings, for 1 lanes") && error.contains("--lanes 4"),
        "{error}"
    );
    assert_eq!(
        opener
            .open(&spec("wide0"), &wanted(4, 0))
            .unwrap()
            .lanes
            .len(),
        4
    );
    // By name one ring is enough.
    assert_eq!(
        opener
            .open(&spec("wide0-2"), &wanted(1, 0))
            .unwrap()
            .lanes
            .len(),
        1
    );
    assert!(opener.open(&spec("wide0-4"), &wanted(1, 0)).is_err());
    assert_eq!(machine.descriptors(), 0);
    let unequal = Register {
        rx_rings: 4,
        tx_rings: 2,
        ..Register::default()
    };
    let error = check_rings(&spec("wide0"), &unequal, 4)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("4 receive and 2 transmit") && error.contains("combined 2"),
        "{error}"
    );
}

#[test]
fn a_port_named_as_receiving_only_has_no_way_out() {
    let machine = machine(64);
    let mut opener = Opener::with_machine("here", Arc::new(machine.clone()));
    let opened = opener.open(&spec("a1/R"), &wanted(1, 0)).unwrap();
    assert!(opened.lanes[0].1.is_none() && machine.descriptors() == 1);
    let error = opener
        .open(&spec("a1/T"), &wanted(1, 0))
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("only sends"), "{error}");
}

#[test]
fn refused_opens_say_what_to_do() {
    let machine = machine(64);
    for (number, part) in [
        (libc::ENOENT, "modprobe netmap"),
        (libc::EACCES, "run as root"),
        (libc::EBUSY, "bridge or bond"),
        (libc::ENOMEM, "buf_num"),
        (libc::EIO, "dmesg"),
    ] {
        machine.set_faults(Faults {
            refuse: Some(number),
            ..Faults::default()
        });
        let error = try_open(&machine, ["a1", "b1"]).err().unwrap().to_string();
        assert!(
            error.contains(part) && error.contains("ring 0 cannot be opened"),
            "{error}"
        );
    }
    machine.set_faults(Faults::default());
    let error = try_open(&machine, ["no-such0", "b1"])
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("[hint]"), "{error}");
    let mut opener = Opener::default();
    let gone = NetmapSpec::parse("netmap-emu:/nowhere/at/all:x{1").unwrap();
    let error = opener.open(&gone, &wanted(1, 0)).err().unwrap().to_string();
    assert!(error.contains("no emulated machine"), "{error}");
}

#[test]
fn waiting_ends_when_frames_come() {
    let machine = machine(64);
    let mut far = open(&machine, ["x}1", "y}1"]);
    let mut near = open(&machine, ["x{1", "y{1"]);
    let waits = |worker: &mut Worker| {
        let fd = worker.receivers[0].wait_fd().expect("nothing waits yet");
        let mut poll = libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one valid pollfd, and no waiting.
        unsafe { libc::poll(&mut poll, 1, 0) == 0 }
    };
    assert!(waits(&mut near));
    send(&mut far, 0, 0..3);
    assert!(!waits(&mut near), "frames came");
    assert_eq!(near.receive(0, 64).count, 3);
    near.receive(0, 64);
    assert!(waits(&mut near), "and are taken");
    let mut totals = Totals::default();
    near.forward(&mut totals, |_, _| true);
    assert_eq!(totals.full, 0);
    assert_eq!(Reason::PortTxFull.name(), "port_tx_full");
}
