//! Tests of rings, halves and the memory together: a small lane between two cables.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::handover::{Client, Server};
use super::*;
use crate::memory::Handle;
use crate::port::ring::{BUF_CHANGED, MORE_FRAGMENTS};
use crate::port::testing::{self, Totals};
use crate::port::{PortCounter, Receive, Transmit};
use crate::reason::Reason;

const INNER: [End; 2] = [
    End {
        cable: 0,
        side: Side::Inner,
    },
    End {
        cable: 1,
        side: Side::Inner,
    },
];
const OUTER: [End; 2] = [
    End {
        cable: 0,
        side: Side::Outer,
    },
    End {
        cable: 1,
        side: Side::Outer,
    },
];

type Worker = testing::Worker<RingReceiver<Pipe>, RingTransmitter<Pipe>>;

fn open(memory: &Arc<Memory>, ends: [End; 2], extra: u32, contexts: usize) -> Worker {
    let halves = [0, 1].map(|port| memory.open(ends[port], 0, extra, port as u8).unwrap());
    Worker::new(halves, contexts)
}

fn held(worker: &Worker) -> Vec<u32> {
    worker
        .receivers
        .iter()
        .flat_map(RingReceiver::free_indexes)
        .collect()
}

fn assert_conserved(memory: &Memory, workers: &[&Worker]) {
    let held: Vec<u32> = workers.iter().flat_map(|worker| held(worker)).collect();
    assert_eq!(memory.audit(held.into_iter()), Audit::default());
    assert_eq!(memory.violations_total(), 0);
}

fn frame(number: u64) -> Vec<u8> {
    let mut frame = vec![number as u8; 60 + (number % 100) as usize];
    frame[..8].copy_from_slice(&number.to_le_bytes());
    frame
}

fn number_of(frame: &[u8]) -> u64 {
    let number = u64::from_le_bytes(frame[..8].try_into().unwrap());
    assert!(frame[8..].iter().all(|byte| *byte == number as u8));
    assert_eq!(frame.len(), 60 + (number % 100) as usize);
    number
}

fn shape(slots: u32, extra: u32) -> Shape {
    Shape {
        slots,
        extra,
        ..Shape::default()
    }
}

/// Sends frames of one direction, and checks those that arrive at the other end.
struct Feed {
    from: usize,
    next: u64,
    expected: u64,
    arrived: u64,
}

impl Feed {
    /// Sends up to `count` frames; takes what has arrived, which must be in order.
    fn turn(&mut self, outer: &mut Worker, count: u64, last: u64) {
        for _ in 0..count.min(last - self.next) {
            if outer.transmitters[self.from]
                .send_copy(&frame(self.next))
                .is_err()
            {
                break;
            }
            self.next += 1;
        }
        outer.transmitters[self.from].sync();
        outer.receive(1 - self.from, 64);
        for mut handle in outer.burst.drain(..) {
            let context = outer.contexts.get_mut(&mut handle);
            let number = number_of(outer.regions.bytes(context.span));
            assert!(
                number >= self.expected,
                "{number} came after {}",
                self.expected
            );
            self.expected = number + 1;
            self.arrived += 1;
            outer.receivers[1 - self.from].reclaim(context);
            outer.free.push(handle);
        }
    }
}

#[test]
fn a_million_frames_pass_both_ways_and_every_buffer_comes_home() {
    const FRAMES: u64 = 500_000;
    let memory = Memory::new(shape(512, 2000)).unwrap();
    let mut outer = open(&memory, OUTER, 300, 256);
    let mut inner = open(&memory, INNER, 300, 256);
    let mut feeds = [0, 1].map(|from| Feed {
        from,
        next: 0,
        expected: 0,
        arrived: 0,
    });
    let mut totals = Totals::default();
    let start = Instant::now();
    while totals.received < 2 * FRAMES {
        for feed in &mut feeds {
            feed.turn(&mut outer, 64, FRAMES);
        }
        inner.turn(&mut totals, |_, frame| frame[0] % 16 != 3);
        assert!(start.elapsed() < Duration::from_secs(300), "{totals:?}");
    }
    for _ in 0..20 {
        for feed in &mut feeds {
            feed.turn(&mut outer, 0, FRAMES);
        }
    }
    inner.turn(&mut totals, |_, _| true);
    let nanos = start.elapsed().as_nanos() as u64 / (2 * FRAMES);
    println!("{nanos} ns per frame, generator, both ends and checks included: {totals:?}");
    // I1: received = forwarded + dropped; what was forwarded arrived.
    assert_eq!((totals.received, totals.full), (2 * FRAMES, 0));
    assert_eq!(totals.received, totals.forwarded + totals.dropped);
    assert_eq!(totals.dropped, 2 * FRAMES / 16);
    assert_eq!(feeds[0].arrived + feeds[1].arrived, totals.forwarded);
    let copied = |worker: &Worker| worker.transmitters[0].counters().get(PortCounter::Copied);
    assert_eq!(
        copied(&inner),
        0,
        "frames between rings of one region are never copied"
    );
    assert_conserved(&memory, &[&outer, &inner]);
}

#[test]
fn two_threads_lose_and_double_nothing() {
    const FRAMES: u64 = 200_000;
    let memory = Memory::new(shape(256, 4000)).unwrap();
    let engine = Arc::clone(&memory);
    let engine = std::thread::spawn(move || {
        let mut inner = open(&engine, INNER, 300, 256);
        let mut totals = Totals::default();
        while totals.received < FRAMES {
            let before = totals.received;
            inner.turn(&mut totals, |_, frame| frame[0] != 200);
            if totals.received == before {
                std::thread::yield_now();
            }
        }
        inner.turn(&mut totals, |_, _| true);
        (inner, totals)
    });
    let mut outer = open(&memory, OUTER, 300, 256);
    let mut feed = Feed {
        from: 0,
        next: 0,
        expected: 0,
        arrived: 0,
    };
    let expected = (0..FRAMES).filter(|number| number % 256 != 200).count() as u64;
    let start = Instant::now();
    while feed.arrived < expected {
        feed.turn(&mut outer, 64, FRAMES);
        assert!(
            start.elapsed() < Duration::from_secs(120),
            "{}",
            feed.arrived
        );
        std::thread::yield_now();
    }
    let (inner, totals) = engine.join().unwrap();
    feed.turn(&mut outer, 0, FRAMES);
    assert_eq!((totals.forwarded, totals.full), (expected, 0));
    assert_eq!(feed.arrived, expected);
    // A last sync takes back the slots of frames that arrived.
    assert_conserved(&memory, &[&outer, &inner]);
}

#[test]
fn without_free_buffers_frames_wait_in_the_ring() {
    let memory = Memory::new(shape(64, 100)).unwrap();
    let mut outer = open(&memory, OUTER, 40, 64);
    let mut inner = open(&memory, INNER, 4, 64);
    for number in 0..40 {
        outer.transmitters[0].send_copy(&frame(number)).unwrap();
    }
    outer.transmitters[0].sync();
    let received = inner.receive(0, 64);
    assert_eq!((received.count, received.starved), (4, true));
    assert!(inner.receive(0, 64).starved, "all buffers are in flight");
    assert_eq!(inner.receivers[0].counters().get(PortCounter::Starved), 2);
    let mut totals = Totals::default();
    for _ in 0..20 {
        inner.forward(&mut totals, |_, _| true);
        inner.receive(0, 64);
    }
    assert_eq!(totals.forwarded, 40);
    outer.receive(1, 64);
    assert_eq!(outer.burst.len(), 40);
    let numbers: Vec<u64> = outer
        .burst
        .iter()
        .map(|handle| number_of(outer.regions.bytes(outer.contexts.get(handle).span)))
        .collect();
    assert_eq!(numbers, (0..40).collect::<Vec<_>>());
    assert_eq!(memory.violations_total(), 0);
}

#[test]
fn a_full_transmit_ring_refuses_and_the_frame_stays_with_its_context() {
    let memory = Memory::new(shape(8, 200)).unwrap();
    let mut outer = open(&memory, OUTER, 20, 64);
    let mut inner = open(&memory, INNER, 60, 64);
    let mut totals = Totals::default();
    for round in 0..3 {
        for number in 0..7 {
            outer.transmitters[0]
                .send_copy(&frame(round * 7 + number))
                .unwrap();
        }
        outer.transmitters[0].sync();
        inner.receive(0, 64);
        inner.forward(&mut totals, |_, _| true);
        inner.receive(0, 64);
    }
    assert_eq!((totals.forwarded, totals.full), (7, 14));
    let counters = inner.transmitters[1].counters();
    assert_eq!(counters.get(PortCounter::RingFull), 14);
    assert_eq!(inner.transmitters[1].room(), 0);
    assert_conserved(&memory, &[&outer, &inner]);
}

#[test]
fn frames_of_another_region_are_copied_and_counted() {
    let (memory, other) = (
        Memory::new(shape(16, 50)).unwrap(),
        Memory::new(shape(16, 50)).unwrap(),
    );
    let mut outer = open(&memory, OUTER, 10, 16);
    let mut inner = open(&memory, INNER, 10, 16);
    let mut far = open(&other, OUTER, 10, 16);
    let (_, mut transmitter) = other.open(INNER[1], 0, 0, 1).unwrap();
    transmitter.register(&mut inner.regions);
    outer.transmitters[0].send_copy(&frame(5)).unwrap();
    outer.transmitters[0].sync();
    inner.receive(0, 16);
    let mut handle = inner.burst.pop().unwrap();
    let context = inner.contexts.get_mut(&mut handle);
    transmitter.transmit(context, &inner.regions).unwrap();
    transmitter.sync();
    inner.receivers[0].reclaim(context);
    far.receive(1, 16);
    let span = far.contexts.get(&far.burst[0]).span;
    assert_eq!(number_of(far.regions.bytes(span)), 5);
    assert_eq!(transmitter.counters().get(PortCounter::Copied), 1);
    assert_eq!(transmitter.counters().get(PortCounter::CopiedBytes), 65);
    assert_eq!(memory.violations_total() + other.violations_total(), 0);
}

#[test]
fn a_frame_of_several_slots_is_one_frame() {
    let memory = Memory::new(shape(16, 50)).unwrap();
    let mut outer = open(&memory, OUTER, 10, 16);
    let mut inner = open(&memory, INNER, 10, 16);
    for number in 0..5 {
        outer.transmitters[0].send_copy(&frame(number)).unwrap();
    }
    // Slots 1, 2 and 3 are one frame.
    for slot in [1, 2] {
        let ring = outer.transmitters[0].ring();
        let found = ring.slot(slot);
        ring.set_slot(
            slot,
            Slot {
                flags: found.flags | MORE_FRAGMENTS,
                ..found
            },
        );
    }
    outer.transmitters[0].sync();
    // A limit is one of frames, and a chain is one.
    let received = [inner.receive(0, 2), inner.receive(0, 16)];
    assert_eq!(received.map(|received| received.count), [2, 1]);
    let first = |handle: &Handle| {
        let bytes = inner.regions.bytes(inner.contexts.get(handle).span);
        (
            u64::from_le_bytes(bytes[..8].try_into().unwrap()),
            bytes.len(),
        )
    };
    let numbers: Vec<_> = inner.burst.iter().map(first).collect();
    let lengths = [0, 1, 2, 3, 4].map(|number| frame(number).len());
    let chain = lengths[1] + lengths[2] + lengths[3];
    assert_eq!(numbers, [(0, lengths[0]), (1, chain), (4, lengths[4])]);
    assert_eq!(inner.receivers[0].counters().get(PortCounter::Chains), 1);
    let mut totals = Totals::default();
    inner.forward(&mut totals, |_, _| false);
    inner.receive(0, 16);
    assert_conserved(&memory, &[&outer, &inner]);
}

#[test]
fn too_long_a_frame_is_refused() {
    let memory = Memory::new(shape(16, 0)).unwrap();
    let mut outer = open(&memory, OUTER, 0, 16);
    let refused = outer.transmitters[0].send_copy(&[0; 2049]);
    assert_eq!(refused, Err(Reason::PortFrameTooLong));
    assert_eq!(outer.transmitters[0].send_copy(&[0; 2048]), Ok(()));
}

#[test]
fn closing_gives_the_extra_buffers_back() {
    let memory = Memory::new(shape(16, 50)).unwrap();
    for _ in 0..10 {
        let inner = open(&memory, INNER, 40, 16);
        assert_eq!(memory.open_halves(INNER[0]), 2);
        // The kernel grants what is left: 40 to the first port, 10 to the second.
        assert_eq!(held(&inner).len(), 50);
        drop(inner);
        assert_eq!(memory.open_halves(INNER[0]), 0);
        assert_eq!(memory.audit(std::iter::empty()), Audit::default());
    }
}

#[test]
fn a_reluctant_kernel_shows_frames_little_by_little() {
    let memory = Memory::new(shape(64, 100)).unwrap();
    memory.show_at_most(3);
    let mut outer = open(&memory, OUTER, 20, 64);
    let mut inner = open(&memory, INNER, 20, 64);
    for number in 0..10 {
        outer.transmitters[0].send_copy(&frame(number)).unwrap();
    }
    outer.transmitters[0].sync();
    let counts: Vec<usize> = (0..5).map(|_| inner.receive(0, 64).count).collect();
    assert_eq!(counts, [3, 3, 3, 1, 0]);
}

/// Each rule that can be broken through a ring, broken once and found once.
#[test]
fn every_violation_is_recorded() {
    let put = |ring: &Ring, slot: u32, change: fn(Slot) -> Slot| {
        ring.set_slot(slot, change(ring.slot(slot)));
    };
    let check = |violation: Violation, break_it: &dyn Fn(&mut Worker, &mut Worker)| {
        let memory = Memory::new(shape(16, 50)).unwrap();
        let mut outer = open(&memory, OUTER, 10, 16);
        let mut inner = open(&memory, INNER, 10, 16);
        outer.transmitters[0].send_copy(&frame(1)).unwrap();
        assert_eq!(memory.violations_total(), 0);
        break_it(&mut outer, &mut inner);
        assert!(
            memory.violations(violation) > 0,
            "{violation:?} went unseen"
        );
    };
    check(Violation::BufferTwice, &|outer, _| {
        // The second slot names the first one's buffer.
        outer.transmitters[0].send_copy(&frame(2)).unwrap();
        let first = outer.transmitters[0].ring().slot(0).index;
        let ring = outer.transmitters[0].ring();
        ring.set_slot(
            1,
            Slot {
                index: first,
                flags: BUF_CHANGED,
                length: 60,
            },
        );
        outer.transmitters[0].sync();
    });
    check(Violation::SlotTouched, &|outer, inner| {
        outer.transmitters[0].sync();
        put(outer.transmitters[0].ring(), 0, |slot| Slot {
            length: 99,
            ..slot
        });
        inner.receive(0, 16);
        inner.receive(0, 16);
    });
    check(Violation::ChangeUntold, &|outer, inner| {
        outer.transmitters[0].sync();
        inner.receive(0, 16);
        put(inner.receivers[0].ring(), 0, |slot| Slot {
            flags: 0,
            ..slot
        });
        inner.receive(0, 16);
    });
    check(Violation::TooLong, &|outer, _| {
        put(outer.transmitters[0].ring(), 0, |slot| Slot {
            length: 3000,
            ..slot
        });
        outer.transmitters[0].sync();
    });
    check(Violation::IndexInvalid, &|outer, _| {
        put(outer.transmitters[0].ring(), 0, |slot| Slot {
            index: 1,
            ..slot
        });
        outer.transmitters[0].sync();
    });
    check(Violation::HeadInvalid, &|outer, _| {
        outer.transmitters[0].ring().kernel_reinit(15);
        outer.transmitters[0].sync();
        let ring = outer.transmitters[0].ring();
        ring.kernel_reinit(400);
        outer.transmitters[0].send_copy(&frame(2)).unwrap();
        ring_sync(outer);
    });
    check(Violation::TwoThreads, &|outer, _| {
        let pipe = &outer.receivers[0].ring().mapping().clone();
        let plan = Plan::new(shape(16, 50));
        let at = plan.pipes_at + plan.pipe(OUTER[0], 0) * pipe_state::BYTES;
        pipe.word(at + pipe_state::TX_BUSY)
            .store(1, Ordering::Release);
        outer.transmitters[0].sync();
    });
}

/// Syncs a ring whose head in memory is nonsense, without publishing over it.
fn ring_sync(outer: &mut Worker) {
    use crate::port::ring::halves::Exchange;
    let mapping = Arc::clone(outer.transmitters[0].ring().mapping());
    let plan = Plan::new(shape(16, 50));
    let at = plan.ring_at(plan.pipe(OUTER[0], 0), 0);
    let memory = outer.transmitters[0].exchange_mut();
    memory.sync(&mut fresh(mapping, at));
}

/// A ring over a head that no `Ring::new` would accept.
fn fresh(mapping: Arc<Mapping>, at: usize) -> Ring {
    let head = mapping.word(at + 20).swap(0, Ordering::AcqRel);
    let ring = Ring::new(Arc::clone(&mapping), at).unwrap();
    mapping.word(at + 20).store(head, Ordering::Release);
    ring
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]

    /// Random sends, receives, drops and syncs against queues of numbers: what leaves is what
    /// entered and was not dropped, in order, and buffers are conserved after every step.
    #[test]
    fn rings_behave_as_queues(
        slots in 2u32..20,
        extra in 0u32..24,
        steps in proptest::collection::vec((0u8..4, 0usize..2, 0usize..20), 1..120),
    ) {
        let memory = Memory::new(Shape { slots, extra: 4 * extra, ..Shape::default() }).unwrap();
        let mut outer = open(&memory, OUTER, extra, 64);
        let mut inner = open(&memory, INNER, extra, 64);
        let mut sent = 0u64;
        // Entered and not decided; forwarded and not arrived; by the port they entered.
        let mut before: [VecDeque<u64>; 2] = Default::default();
        let mut behind: [VecDeque<u64>; 2] = Default::default();
        for (step, port, count) in steps {
            match step {
                0 => for _ in 0..count {
                    if outer.transmitters[port].send_copy(&frame(sent)).is_ok() {
                        before[port].push_back(sent);
                        sent += 1;
                    }
                },
                1 => outer.transmitters[port].sync(),
                2 => {
                    inner.receive(port, count);
                    let mut totals = Totals::default();
                    inner.forward(&mut totals, |context, bytes| {
                        let number = number_of(bytes);
                        let port = usize::from(context.port);
                        assert_eq!(before[port].pop_front(), Some(number));
                        let kept = !number.is_multiple_of(3);
                        if kept {
                            behind[port].push_back(number);
                        }
                        kept
                    });
                    // A full ring drops the newest frames.
                    for _ in 0..totals.full {
                        behind[port].pop_back();
                    }
                }
                _ => {
                    outer.receive(1 - port, count);
                    for mut handle in outer.burst.drain(..) {
                        let context = outer.contexts.get_mut(&mut handle);
                        let number = number_of(outer.regions.bytes(context.span));
                        assert_eq!(behind[port].pop_front(), Some(number));
                        outer.receivers[1 - port].reclaim(context);
                        outer.free.push(handle);
                    }
                }
            }
            assert_conserved(&memory, &[&outer, &inner]);
        }
    }
}

#[test]
fn a_waiting_receiver_is_woken_by_the_first_frame() {
    let memory = Memory::new(shape(16, 50)).unwrap();
    let mut outer = open(&memory, OUTER, 10, 16);
    let mut inner = open(&memory, INNER, 10, 16);
    let fd = inner.receivers[0].wait_fd().unwrap();
    assert!(!polls_readable(fd));
    outer.transmitters[0].send_copy(&frame(1)).unwrap();
    assert!(!polls_readable(fd));
    outer.transmitters[0].sync();
    assert!(polls_readable(fd));
    assert_eq!(inner.receive(0, 16).count, 1);
    assert!(!polls_readable(fd));
    outer.transmitters[0].send_copy(&frame(2)).unwrap();
    outer.transmitters[0].sync();
    assert_eq!(inner.receivers[0].wait_fd(), None, "a frame waits already");
}

/// The engine is another process: this test binary again, told so by an environment variable.
#[test]
fn another_process_forwards_through_a_handed_over_memory() {
    const VARIABLE: &str = "SLUICE_TEST_MEMORY_SOCKET";
    const FRAMES: u64 = 20_000;
    if let Some(path) = std::env::var_os(VARIABLE) {
        return forward_in_child(&PathBuf::from(path), FRAMES);
    }
    let path = std::env::temp_dir().join(format!("sluice-memory-{}", std::process::id()));
    let memory = Memory::new(shape(128, 1000)).unwrap();
    let server = Server::start(Arc::clone(&memory), &path).unwrap();
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("port::memory::tests::another_process_forwards_through_a_handed_over_memory")
        .env(VARIABLE, &path)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut outer = open(&memory, OUTER, 200, 256);
    let start = Instant::now();
    while memory.open_halves(INNER[1]) < 2 {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "the child does not open its ports"
        );
        std::thread::yield_now();
    }
    assert_eq!(server.clients(), 1);
    let mut feed = Feed {
        from: 0,
        next: 0,
        expected: 0,
        arrived: 0,
    };
    while feed.arrived < FRAMES {
        feed.turn(&mut outer, 64, FRAMES);
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "{} arrived",
            feed.arrived
        );
        std::thread::yield_now();
    }
    let status = loop {
        // The child waits until we have given all its slots back.
        feed.turn(&mut outer, 0, FRAMES);
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "the child does not end"
        );
        std::thread::yield_now();
    };
    assert!(status.success());
    let gone = Instant::now();
    while server.clients() > 0 {
        assert!(
            gone.elapsed() < Duration::from_secs(10),
            "the child's end goes unseen"
        );
        std::thread::yield_now();
    }
    feed.turn(&mut outer, 0, FRAMES);
    assert_conserved(&memory, &[&outer]);
    drop(server);
    let error = Client::connect(&path, Duration::ZERO).err().unwrap();
    assert!(error.to_string().contains("[hint]"), "{error}");
}

fn forward_in_child(path: &std::path::Path, frames: u64) {
    let client = Client::connect(path, Duration::from_secs(10)).unwrap();
    let mut inner = open(&client.memory, INNER, 200, 256);
    let mut totals = Totals::default();
    while totals.forwarded < frames {
        assert!(client.is_served());
        inner.turn(&mut totals, |context, _| context.port == 0);
        std::thread::yield_now();
    }
    while !inner.transmitters[1].is_drained() {
        std::thread::yield_now();
    }
    inner.turn(&mut totals, |_, _| true);
}
