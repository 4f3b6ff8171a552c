//! Rings of several lanes change hands while frames cross from lane to lane: workers are turned by
//! hand, so that each order of events is the test's.

mod common;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use sluice::config::Mode;
use sluice::counters::Counter;
use sluice::keeper::board::{Board, Shape as BoardShape};
use sluice::lane::Worker;
use sluice::lane::build::{Engine, Plan};
use sluice::layout::Layout;
use sluice::memory::{Arena, Handle, Regions};
use sluice::packet::{Burst, Context};
use sluice::port::generator::packet::{Envelope, udp};
use sluice::port::memory::{End, Memory, Shape, Side};
use sluice::port::ring::halves::{RingReceiver, RingTransmitter};
use sluice::port::{Receive, Receiver, Transmit, Transmitter, memory::Pipe};

const LANES: u32 = 2;
const FRAMES: u16 = 48;

type Half = (RingReceiver<Pipe>, RingTransmitter<Pipe>);

/// An engine of two lanes whose first one has let go of its rings when the second takes frames,
/// some of which are the first one's.
struct Rig {
    engine: Engine,
    board: Board,
    /// Far ends: by cable, by ring.
    far: Vec<Vec<Half>>,
    contexts: Arc<Arena<Context>>,
    free: Vec<Handle>,
    burst: Burst,
}

fn frame(number: u16) -> Vec<u8> {
    let [high, low] = number.to_be_bytes();
    let envelope = Envelope {
        src_mac: [2, 0, 0, 0, 0, 1],
        dst_mac: [2, 0, 0, 0, 0, 2],
        vlans: Vec::new(),
        src: IpAddr::V4(Ipv4Addr::new(10, 0, high, low)),
        dst: IpAddr::V4(Ipv4Addr::new(10, 1, 0, 1)),
        id: 0,
    };
    envelope.frame(17, &udp(&envelope, 4000, 5000, &number.to_be_bytes()))
}

impl Rig {
    fn new() -> Rig {
        let memory = Memory::new(Shape {
            rings: LANES,
            ..Shape::default()
        })
        .unwrap();
        let open = |cable, lane| {
            let side = Side::Inner;
            let end = End { cable, side };
            memory.attach(end, lane, 512, cable, false).unwrap()
        };
        let lane = |lane| [open(0, lane), open(1, lane)].into_iter().unzip();
        let (receivers, transmitters): (Vec<Vec<_>>, Vec<Vec<_>>) = (0..LANES).map(lane).unzip();
        let boxed = |halves: Vec<Vec<_>>| halves.into_iter().map(Vec::into_iter);
        let loaded = common::rules("");
        let mut engine = Engine::build(Plan {
            config: Arc::new(sluice::config::Config {
                lanes: LANES as u8,
                ..common::small(Mode::Inline)
            }),
            layout: Layout::FUSED,
            burst_max: 64,
            ordered: false,
            live: true,
            receivers: boxed(receivers)
                .map(|lane| lane.map(|half| Receiver::Memory(Box::new(half))).collect())
                .collect(),
            transmitters: transmitters
                .into_iter()
                .map(|lane| {
                    let own = lane.into_iter();
                    own.map(|half| Transmitter::Memory(Box::new(half)))
                        .collect()
                })
                .collect(),
            program: Arc::clone(&loaded.program),
            events_per_worker: 256,
            rss: None,
            cores: Vec::new(),
            key: 11,
        })
        .unwrap();
        let shape = BoardShape {
            lanes: LANES,
            ports: 2,
            workers: LANES,
        };
        let (board, _) = Board::create(shape).unwrap();
        engine.keep(board, 0);
        let mut regions = Regions::default();
        let far = |cable| {
            let side = Side::Outer;
            let end = End { cable, side };
            let open = |ring| memory.open(end, ring, 512, cable).unwrap();
            (0..LANES).map(open).collect::<Vec<_>>()
        };
        let mut far: Vec<Vec<Half>> = (0..2).map(far).collect();
        for (receiver, transmitter) in far.iter_mut().flatten() {
            receiver.register(&mut regions);
            transmitter.register(&mut regions);
        }
        let (contexts, free) = Arena::new(256, Context::default);
        board.hand_to(Some(0));
        Rig {
            engine,
            board,
            far,
            contexts,
            free,
            burst: Vec::new(),
        }
    }

    fn worker(&mut self, lane: usize) -> &mut Worker {
        &mut self.engine.workers[lane]
    }

    /// Both workers have the rings.
    fn begin(&mut self) {
        for lane in 0..2 {
            self.worker(lane).begin();
            assert!(self.worker(lane).attend());
            self.worker(lane).turn();
        }
    }

    /// The second worker takes these frames, which are partly the first one's, in one turn. Returns
    /// whether it says that it moved something.
    fn take(&mut self, numbers: std::ops::Range<u16>) -> bool {
        let (_, transmitter) = &mut self.far[0][1];
        for number in numbers {
            transmitter.send_copy(&frame(number)).unwrap();
        }
        transmitter.sync();
        assert!(self.worker(1).attend());
        self.worker(1).turn()
    }

    /// A counter of the second worker.
    fn count(&self, counter: Counter) -> u64 {
        self.engine.counters[1].get(counter)
    }

    /// The second worker takes all frames at once.
    fn send(&mut self) {
        self.begin();
        self.take(0..FRAMES);
        let crossed = self.count(Counter::MeshCrossed);
        assert!((8..40).contains(&crossed), "{crossed} frames crossed");
    }

    /// Turns both workers as their threads would, until the keeper may take the rings.
    fn until_free(&mut self, what: &str) {
        for _ in 0..100 {
            for lane in 0..2 {
                if self.worker(lane).attend() {
                    self.worker(lane).turn();
                }
            }
            if self.board.is_parked(0) {
                return;
            }
        }
        panic!("{what}: the rings are not let go of");
    }

    /// Frames that came out.
    fn arrived(&mut self) -> usize {
        let mut count = 0;
        for (receiver, _) in &mut self.far[1] {
            let (contexts, free) = (&self.contexts, &mut self.free);
            count += receiver
                .receive(contexts, free, &mut self.burst, 64, 0)
                .count;
            for mut handle in self.burst.drain(..) {
                receiver.reclaim(self.contexts.get_mut(&mut handle));
                self.free.push(handle);
            }
        }
        count
    }
}

#[test]
fn a_lane_whose_frames_are_all_for_another_one_was_not_idle() {
    let mut rig = Rig::new();
    rig.begin();
    let bursts = rig.count(Counter::Bursts);
    for number in 0..FRAMES {
        assert!(rig.take(number..number + 1), "frame {number}");
        let counted = rig.count(Counter::Bursts) - bursts;
        assert_eq!(counted, u64::from(number) + 1, "frame {number}");
    }
    assert!(rig.count(Counter::MeshCrossed) >= 8);
}

#[test]
fn a_lane_that_let_go_first_sends_what_others_still_have_for_it() {
    let mut rig = Rig::new();
    rig.send();
    rig.board.hand_to(None);
    assert!(!rig.board.is_parked(0));
    rig.until_free("asked back");
    assert!(!rig.board.has_left(0));
    assert_eq!(rig.arrived(), usize::from(FRAMES));
    // They are taken again, and given back once more with nothing in work.
    rig.board.hand_to(Some(0));
    for lane in 0..2 {
        assert!(rig.worker(lane).attend());
    }
    assert!(!rig.board.is_parked(0));
    rig.board.hand_to(None);
    rig.until_free("again");
}

#[test]
fn an_engine_that_ends_gives_the_rings_back_before_its_flows() {
    let mut rig = Rig::new();
    rig.send();
    rig.engine.stop.store(true, Ordering::Release);
    rig.until_free("it ends");
    assert!(rig.board.has_left(0), "for good");
    assert_eq!(rig.arrived(), usize::from(FRAMES));
    let flows = |rig: &Rig, counter| {
        let counters = rig.engine.counters.iter();
        counters.map(|own| own.get(counter)).sum::<u64>()
    };
    assert_eq!(flows(&rig, Counter::FlowsCreated), u64::from(FRAMES));
    // Whoever has the rings meanwhile: it does not take them again.
    rig.board.hand_to(Some(0));
    for _ in 0..10_000 {
        for lane in 0..2 {
            if !rig.worker(lane).state.finished {
                assert!(rig.worker(lane).attend());
                rig.worker(lane).turn();
            }
        }
    }
    assert!(rig.board.has_left(0));
    assert_eq!(
        flows(&rig, Counter::FlowsEndedShutdown),
        u64::from(FRAMES),
        "its flows end all the same"
    );
    assert!(
        rig.engine
            .workers
            .iter()
            .all(|worker| worker.state.finished)
    );
}
