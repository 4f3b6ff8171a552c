//! The netmap port's conformance program: the same checks on the emulated machine (CI) and on a
//! real netmap module (SLUICE_NETMAP=1, as root, with the module loaded).
//!
//! On the emulation it exercises our port layer and **not netmap's kernel code**; only the run on a
//! real module says anything about the two together.
//!
//! ```text
//! cargo test --release --test netmap_port                       # emulation
//! SLUICE_LONG=1 cargo test --release --test netmap_port         # 10^8 frames
//! SLUICE_NETMAP=1 netmap_port --test-threads=1                  # pipes, VALE
//! SLUICE_NETMAP=1 SLUICE_NETMAP_PORTS="a0 a1 b1 b0" SLUICE_NETMAP_LANES=2 netmap_port ...
//! ```
//!
//! SLUICE_NETMAP_PORTS names NICs: the far end of the inside cable, the two ports under test, the
//! far end of the outside cable. Deliberately absent: rules and inspection (tests/run.rs), and the
//! strictness of the emulation itself (src/port/netmap/tests.rs).

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sluice::memory::{Arena, Handle, Regions};
use sluice::packet::{Burst, Context};
use sluice::port::netmap::emulation::wire::Server;
use sluice::port::netmap::emulation::{Faults, Machine, Shape};
use sluice::port::netmap::spec::NetmapSpec;
use sluice::port::netmap::{Binding, Opener, Wanted};
use sluice::port::ring::halves::{RingReceiver, RingTransmitter};
use sluice::port::ring::wait_readable;
use sluice::port::{PortCounter, Receive, Transmit};

/// Frames that a burst takes at most.
const BURST: usize = 64;
/// Flows that frames are spread over; order holds within each.
const FLOWS: u64 = 64;
/// One frame in so many is dropped by the ports' little engine.
const DROP_EVERY: u64 = 16;
/// The far side sends no more than this beyond what has arrived, where a port may lose frames.
const WINDOW: u64 = 512;
/// A pipe whose name begins so asks for all buffers that are left.
const GREEDY: &str = "sq";

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| value == "1")
}

/// Frames of a run.
fn frames() -> u64 {
    match std::env::var("SLUICE_FRAMES") {
        Ok(text) => text.parse().expect("SLUICE_FRAMES is a number"),
        Err(_) if is_set("SLUICE_LONG") => 100_000_000,
        Err(_) => 1_000_000,
    }
}

/// On the real module, pipes that are opened again and again share the NICs' region, instead of a
/// new one each time, whose size follows what is asked for.
fn shared_region(name: &str) -> &'static str {
    match name {
        "sq{1/R" | "sx{4" | "sx}4" => "@1",
        _ => "",
    }
}

/// What the checks run on.
struct Ground {
    /// `None` on the real module.
    machine: Option<Machine>,
}

impl Ground {
    fn new(shape: Shape) -> Ground {
        Ground {
            machine: (!is_set("SLUICE_NETMAP")).then(|| Machine::new(shape)),
        }
    }

    fn opener(&self) -> Opener {
        match &self.machine {
            Some(machine) => Opener::with_machine("here", Arc::new(machine.clone())),
            None => Opener::default(),
        }
    }

    fn spec(&self, name: &str) -> NetmapSpec {
        let text = match &self.machine {
            Some(_) => format!("netmap-emu:here:{name}"),
            None if name.starts_with("vale") => name.to_string(),
            None => format!("netmap:{name}{}", shared_region(name)),
        };
        NetmapSpec::parse(&text).unwrap()
    }

    /// Everything is closed: no breach of the protocol was seen, no buffer is missing.
    fn assert_clean(&self) {
        if let Some(machine) = &self.machine {
            assert_eq!(machine.descriptors(), 0);
            assert_eq!(machine.violations_total(), 0);
            assert_eq!(machine.leaked(), 0);
            let (pooled, all) = machine.pooled();
            assert_eq!(pooled, all);
        }
    }
}

/// One lane's two ports with what moving frames takes.
struct Lane {
    receivers: Vec<RingReceiver<Binding>>,
    transmitters: Vec<RingTransmitter<Binding>>,
    contexts: Arc<Arena<Context>>,
    free: Vec<Handle>,
    burst: Burst,
    regions: Regions,
}

/// What became of frames.
#[derive(Default, Clone, Copy, Debug, PartialEq, Eq)]
struct Totals {
    received: u64,
    forwarded: u64,
    dropped: u64,
    full: u64,
    turns: u64,
}

/// Opens ports for so many lanes; also says whether all lie in one region.
fn open(ground: &Ground, names: &[&str], lanes: usize, extra: u32) -> (Vec<Lane>, bool) {
    let mut opener = ground.opener();
    let mut built: Vec<Lane> = (0..lanes).map(|_| lane(&[])).collect();
    let mut regions = Vec::new();
    let mut promiscuous = Vec::new();
    for (port, name) in names.iter().enumerate() {
        let wanted = Wanted {
            lanes,
            extra: match name.starts_with(GREEDY) {
                true => 10_000_000,
                false => extra,
            },
            port: port as u8,
            patience: Duration::from_secs(20),
        };
        let opened = opener
            .open(&ground.spec(name), &wanted)
            .unwrap_or_else(|error| panic!("{error}"));
        let told = opened.notes.iter().filter(|_| !name.starts_with(GREEDY));
        told.for_each(|note| println!("note: {note}"));
        regions.push(opened.region);
        promiscuous.extend(opened.promiscuous);
        for (lane, (mut receiver, transmitter)) in built.iter_mut().zip(opened.lanes) {
            receiver.register(&mut lane.regions);
            lane.receivers.push(receiver);
            if let Some(mut transmitter) = transmitter {
                transmitter.register(&mut lane.regions);
                lane.transmitters.push(transmitter);
            }
        }
    }
    // Promiscuous mode lasts as long as the test's process: stations do not matter here.
    promiscuous.into_iter().for_each(std::mem::forget);
    (built, regions.windows(2).all(|pair| pair[0] == pair[1]))
}

fn lane(_none: &[u8]) -> Lane {
    let (contexts, free) = Arena::new(1024, Context::default);
    Lane {
        receivers: Vec::new(),
        transmitters: Vec::new(),
        contexts,
        free,
        burst: Vec::with_capacity(BURST),
        regions: Regions::default(),
    }
}

impl Lane {
    fn receive(&mut self, port: usize, limit: usize) -> usize {
        let (contexts, free) = (&self.contexts, &mut self.free);
        self.receivers[port]
            .receive(contexts, free, &mut self.burst, limit, 7)
            .count
    }

    /// Both directions once: what is received on one port goes out of the other, but for what is
    /// dropped; never more than the other has room for.
    fn turn(&mut self, totals: &mut Totals) -> bool {
        let before = totals.received;
        totals.turns += 1;
        for port in 0..2 {
            let limit = self.transmitters[1 - port].room().min(BURST);
            totals.received += self.receive(port, limit) as u64;
            for mut handle in self.burst.drain(..) {
                let context = self.contexts.get_mut(&mut handle);
                let number = number_of(self.regions.bytes(context.span));
                if number % DROP_EVERY == 3 {
                    totals.dropped += 1;
                } else if self.transmitters[1 - port]
                    .transmit(context, &self.regions)
                    .is_ok()
                {
                    totals.forwarded += 1;
                } else {
                    totals.full += 1;
                }
                self.receivers[port].reclaim(context);
                self.free.push(handle);
            }
            self.transmitters[1 - port].sync();
        }
        totals.received > before
    }
}

/// A UDP frame that says its number; all of it follows from that.
fn frame(number: u64, direction: u8) -> Vec<u8> {
    let payload = 18 + (number % 90) as usize;
    let flow = (number % FLOWS) as u8;
    let ends = [[10, 0, 0, flow], [10, 1, 0, 1]];
    let (src, dst) = (
        ends[usize::from(direction)],
        ends[usize::from(1 - direction)],
    );
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, direction, 8, 0]);
    let total = 28 + payload as u16;
    frame.extend([0x45, 0]);
    frame.extend(total.to_be_bytes());
    frame.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    frame.extend(src);
    frame.extend(dst);
    let sum: u32 = frame[14..34]
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    let port = 4000 + u16::from(flow);
    frame.extend(port.to_be_bytes());
    frame.extend(port.to_be_bytes());
    frame.extend((8 + payload as u16).to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(number.to_le_bytes());
    frame.resize(42 + payload, number as u8);
    frame
}

fn number_of(frame: &[u8]) -> u64 {
    let bytes = frame.get(42..50).expect("frames here have a number");
    u64::from_le_bytes(bytes.try_into().unwrap())
}

/// One direction, seen from outside: what is sent, and what must arrive.
struct Feed {
    from: usize,
    sent: u64,
    arrived: u64,
    /// Number that each flow may not fall below.
    next: Vec<u64>,
    /// Numbers that are dropped on the way, of those sent so far.
    to_drop: u64,
    foreign: u64,
}

impl Feed {
    fn new(from: usize) -> Feed {
        Feed {
            from,
            sent: 0,
            arrived: 0,
            next: vec![0; FLOWS as usize],
            to_drop: 0,
            foreign: 0,
        }
    }

    fn send(&mut self, lanes: &mut [Lane], last: u64, window: u64) {
        let in_flight = self.sent - self.to_drop - self.arrived;
        let count = (BURST as u64)
            .min(last - self.sent)
            .min(window.saturating_sub(in_flight));
        let transmitter = &mut lanes[0].transmitters[self.from];
        for _ in 0..count {
            let bytes = frame(self.sent, self.from as u8);
            if transmitter.send_copy(&bytes).is_err() {
                break;
            }
            self.to_drop += u64::from(self.sent % DROP_EVERY == 3);
            self.sent += 1;
        }
        transmitter.sync();
    }

    fn collect(&mut self, lanes: &mut [Lane]) -> bool {
        let before = self.arrived;
        let port = 1 - self.from;
        for lane in lanes {
            lane.receive(port, BURST);
            for mut handle in lane.burst.drain(..) {
                let context = lane.contexts.get_mut(&mut handle);
                let bytes = lane.regions.bytes(context.span);
                // A host's own traffic (IPv6 discovery and the like) may come by on real NICs.
                if bytes.len() < 50 || bytes[6] != 2 || bytes[11] > 1 {
                    self.foreign += 1;
                } else {
                    let number = number_of(bytes);
                    // I2: every byte as it was sent. I3, I4: later ones of a flow only.
                    assert_eq!(bytes, frame(number, self.from as u8), "frame {number}");
                    let next = &mut self.next[(number % FLOWS) as usize];
                    assert!(number >= *next, "{number} came after {next} of its flow");
                    *next = number + 1;
                    self.arrived += 1;
                }
                lane.receivers[port].reclaim(context);
                lane.free.push(handle);
            }
        }
        self.arrived > before
    }

    fn is_done(&self, last: u64) -> bool {
        self.sent == last && self.arrived == last - self.to_drop
    }
}

/// Sends frames both ways through the ports under test and checks I1 to I4 from outside. The far
/// side works in this thread, every lane in one of its own.
fn pass(ground: &Ground, far: [&str; 2], near: [&str; 2], lanes: usize, each: u64, window: u64) {
    let stop = std::sync::atomic::AtomicBool::new(false);
    let (near_lanes, one_region) = open(ground, &near, lanes, 512);
    let (mut far_lanes, _) = open(ground, &far, lanes, 512);
    let start = Instant::now();
    let mut feeds = [Feed::new(0), Feed::new(1)];
    let (totals, ended) = std::thread::scope(|scope| {
        let stop = &stop;
        let work = |mut lane: Lane| {
            let mut totals = Totals::default();
            while !stop.load(std::sync::atomic::Ordering::Acquire) {
                if !lane.turn(&mut totals) {
                    std::thread::yield_now();
                }
            }
            while lane.turn(&mut totals) {}
            (lane, totals)
        };
        let workers: Vec<_> = near_lanes
            .into_iter()
            .map(|lane| scope.spawn(move || work(lane)))
            .collect();
        let mut last_moved = Instant::now();
        while !feeds.iter().all(|feed| feed.is_done(each)) {
            let mut moved = false;
            for feed in &mut feeds {
                feed.send(&mut far_lanes, each, window);
                moved |= feed.collect(&mut far_lanes);
            }
            if moved {
                last_moved = Instant::now();
            } else {
                std::thread::yield_now();
            }
            if last_moved.elapsed() > Duration::from_secs(20) {
                break;
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Release);
        let mut ended = Vec::new();
        let mut totals = Totals::default();
        for worker in workers {
            let (lane, part) = worker.join().expect("a lane panicked");
            totals.received += part.received;
            totals.forwarded += part.forwarded;
            totals.dropped += part.dropped;
            totals.full += part.full;
            totals.turns += part.turns;
            ended.push(lane);
        }
        (totals, ended)
    });
    report(
        &far,
        &near,
        &totals,
        &ended,
        &feeds,
        start.elapsed(),
        one_region,
    );
    for feed in &feeds {
        assert_eq!(
            (feed.sent, feed.arrived),
            (each, each - feed.to_drop),
            "lost"
        );
    }
    // I1, exact: everything has come, and has one fate.
    assert_eq!(
        totals.received,
        totals.forwarded + totals.dropped + totals.full
    );
    assert_eq!((totals.received, totals.full), (2 * each, 0));
    let copied: u64 = sum(&ended, PortCounter::Copied);
    assert_eq!(
        copied == 0,
        one_region,
        "zero copy in one region, and only there"
    );
    for lane in &ended {
        // I5 from inside: what was granted is in the free lists again.
        let home: usize = lane
            .receivers
            .iter()
            .map(|half| half.free_indexes().len())
            .sum();
        assert_eq!(home, 2 * 512, "extra buffers that came home");
        let mut all: Vec<u32> = lane
            .receivers
            .iter()
            .flat_map(RingReceiver::free_indexes)
            .collect();
        all.sort_unstable();
        all.dedup();
        assert!(
            !one_region || all.len() == home,
            "a buffer is in two places"
        );
    }
    drop((ended, far_lanes));
    ground.assert_clean();
}

fn sum(lanes: &[Lane], counter: PortCounter) -> u64 {
    let halves = lanes.iter().flat_map(|lane| {
        let receive = lane.receivers.iter().map(Receive::counters);
        receive.chain(lane.transmitters.iter().map(Transmit::counters))
    });
    halves.map(|counters| counters.get(counter)).sum()
}

fn report(
    far: &[&str; 2],
    near: &[&str; 2],
    totals: &Totals,
    lanes: &[Lane],
    feeds: &[Feed; 2],
    elapsed: Duration,
    one_region: bool,
) {
    let syncs = sum(lanes, PortCounter::Syncs);
    let by_lane: Vec<u64> = lanes
        .iter()
        .map(|lane| {
            lane.receivers
                .iter()
                .map(|half| half.counters().get(PortCounter::Packets))
                .sum()
        })
        .collect();
    println!("received by lane: {by_lane:?}");
    assert!(
        by_lane.iter().all(|count| *count > 0),
        "a ring brought nothing"
    );
    println!(
        "{} => {} = {} => {}: {totals:?}; arrived {} and {}, foreign {}; {:.0} frames/s; \
         {syncs} syncs, {:.4} a frame; copied {}; down {}, reinit {}; one region: {one_region}",
        far[0],
        near[0],
        near[1],
        far[1],
        feeds[0].arrived,
        feeds[1].arrived,
        feeds[0].foreign + feeds[1].foreign,
        totals.received as f64 / elapsed.as_secs_f64(),
        syncs as f64 / totals.received.max(1) as f64,
        sum(lanes, PortCounter::Copied),
        sum(lanes, PortCounter::Down),
        sum(lanes, PortCounter::Reinit),
    );
}

#[test]
fn pipes_pass_every_frame_once_in_order_and_unchanged() {
    let ground = Ground::new(Shape::default());
    let each = frames() / 2;
    pass(
        &ground,
        ["sx}1", "sy}1"],
        ["sx{1", "sy{1"],
        1,
        each,
        u64::MAX,
    );
}

#[test]
fn reluctant_pipes_pass_the_same() {
    let ground = Ground::new(Shape {
        slots: 257,
        ..Shape::default()
    });
    let Some(machine) = &ground.machine else {
        println!("SKIPPED: a real module cannot be told to misbehave");
        return;
    };
    machine.set_faults(Faults {
        shown_max: 3,
        spurious: true,
        ..Faults::default()
    });
    pass(&ground, ["x}1", "y}1"], ["x{1", "y{1"], 1, 50_000, u64::MAX);
}

#[test]
fn ports_of_two_regions_are_copied_between_and_lose_nothing() {
    let ground = Ground::new(Shape::default());
    if let Some(machine) = &ground.machine {
        machine.set_faults(Faults {
            own_regions: true,
            ..Faults::default()
        });
        pass(&ground, ["x}1", "y}1"], ["x{1", "y{1"], 1, 50_000, u64::MAX);
    } else {
        // Two VALE ports that were made before, each by itself, have a region each.
        let (_one, _) = open(&ground, &["sx}2"], 1, 8);
        let (_other, _) = open(&ground, &["sy}2"], 1, 8);
        pass(
            &ground,
            ["sx}2", "sy}2"],
            ["sx{2", "sy{2"],
            1,
            50_000,
            u64::MAX,
        );
    }
}

#[test]
fn vale_switches_pass_every_frame() {
    let ground = Ground::new(Shape::default());
    let each = (frames() / 20).min(1_000_000);
    let (far, near) = (["vale8:f", "vale9:f"], ["vale8:n", "vale9:n"]);
    pass(&ground, far, near, 1, each, 256);
}

#[test]
fn nics_with_several_rings_pass_every_frame() {
    let ground = Ground::new(Shape {
        slots: 256,
        ..Shape::default()
    });
    if let Some(machine) = &ground.machine {
        for name in ["a0", "a1", "b1", "b0"] {
            machine.add_nic(name, 2);
        }
        machine.cable("a0", "a1");
        machine.cable("b0", "b1");
        machine.set_faults(Faults {
            complete_every: 3,
            ..Faults::default()
        });
        pass(
            &ground,
            ["a0", "b0"],
            ["a1", "b1"],
            2,
            frames() / 20,
            WINDOW,
        );
        return;
    }
    let Ok(text) = std::env::var("SLUICE_NETMAP_PORTS") else {
        println!("SKIPPED: SLUICE_NETMAP_PORTS names no NICs");
        return;
    };
    let names: Vec<&str> = text.split_whitespace().collect();
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let lanes = number("SLUICE_NETMAP_LANES").unwrap_or(1);
    let window = number("SLUICE_NETMAP_WINDOW").unwrap_or(64) as u64;
    let [far0, near0, near1, far1] = names[..] else {
        panic!("SLUICE_NETMAP_PORTS=\"FAR0 NEAR0 NEAR1 FAR1\"");
    };
    pass(
        &ground,
        [far0, far1],
        [near0, near1],
        lanes,
        frames() / 2,
        window,
    );
}

/// Not a check but a measure, on a real module: forwards between two ports and nothing else, for
/// so many seconds, beside what others forward there.
#[test]
fn forwarding_alone() {
    let (Ok(seconds), Ok(ports)) = (
        std::env::var("SLUICE_FORWARD_SECONDS"),
        std::env::var("SLUICE_FORWARD_PORTS"),
    ) else {
        println!("nothing to do without SLUICE_FORWARD_SECONDS and SLUICE_FORWARD_PORTS");
        return;
    };
    let ground = Ground { machine: None };
    let names: Vec<&str> = ports.split_whitespace().collect();
    let (mut lanes, one_region) = open(&ground, &names, 1, 1024);
    let deadline = Instant::now() + Duration::from_secs(seconds.parse().unwrap());
    println!("ready");
    let (mut forwarded, mut full, mut turns) = (0u64, 0u64, 0u32);
    let lane = &mut lanes[0];
    loop {
        let mut moved = 0;
        for port in 0..2 {
            let limit = lane.transmitters[1 - port].room().min(BURST);
            moved += lane.receive(port, limit);
            for mut handle in lane.burst.drain(..) {
                let context = lane.contexts.get_mut(&mut handle);
                match lane.transmitters[1 - port].transmit(context, &lane.regions) {
                    Ok(()) => forwarded += 1,
                    Err(_) => full += 1,
                }
                lane.receivers[port].reclaim(context);
                lane.free.push(handle);
            }
            lane.transmitters[1 - port].sync();
        }
        turns += 1;
        if moved == 0 {
            let fds = [0, 1].map(|port| lane.receivers[port].wait_fd());
            if let [Some(one), Some(other)] = fds {
                wait_readable(&[one, other], 1);
            }
        }
        if turns.is_multiple_of(64) && Instant::now() > deadline {
            break;
        }
    }
    let syncs = sum(&lanes, PortCounter::Syncs);
    println!("forwarded {forwarded}, full {full}, syncs {syncs}, one region {one_region}");
}

/// Extra buffers that a pipe is granted when it asks for more than there are.
fn grantable(ground: &Ground) -> usize {
    let (lanes, _) = open(ground, &["sq{1/R"], 1, 0);
    lanes[0].receivers[0].free_indexes().len()
}

#[test]
fn a_hundred_restarts_lose_no_buffer() {
    let ground = Ground::new(Shape::default());
    let before = grantable(&ground);
    // The other ends stay open all the time, so that the region never forgets.
    let (mut far, _) = open(&ground, &["sx}3", "sy}3"], 1, 64);
    let mut granted = None;
    for turn in 0..100u64 {
        let (mut near, one_region) = open(&ground, &["sx{3", "sy{3", "sq{3/R"], 1, 512);
        assert!(one_region);
        let count = near[0].receivers[2].free_indexes().len();
        assert_eq!(*granted.get_or_insert(count), count, "restart {turn}");
        let mut feed = Feed::new(0);
        let mut totals = Totals::default();
        for _ in 0..8 {
            feed.send(&mut far, 300, u64::MAX);
            near[0].turn(&mut totals);
            feed.collect(&mut far);
        }
        assert!(totals.received > 200, "{totals:?}");
        drop(near);
        while feed.collect(&mut far) {}
    }
    drop(far);
    ground.assert_clean();
    assert_eq!(grantable(&ground), before);
    println!("100 restarts: {before} buffers to grant before and after, {granted:?} each time");
}

/// The child of the next test: holds ports with frames in flight, until killed.
#[test]
fn child_that_is_killed() {
    let Ok(socket) = std::env::var("SLUICE_NETMAP_CHILD") else {
        println!("nothing to do: the parent is another test");
        return;
    };
    let mut opener = Opener::default();
    let wanted = Wanted {
        lanes: 1,
        extra: 512,
        port: 0,
        patience: Duration::ZERO,
    };
    let mut built = lane(&[]);
    for name in ["sx{4", "sx}4"] {
        let text = match socket.as_str() {
            "" => format!("netmap:{name}{}", shared_region(name)),
            socket => format!("netmap-emu:{socket}:{name}"),
        };
        let spec = NetmapSpec::parse(&text).unwrap();
        let (mut receiver, transmitter) = opener.open(&spec, &wanted).unwrap().lanes.remove(0);
        let mut transmitter = transmitter.unwrap();
        receiver.register(&mut built.regions);
        transmitter.register(&mut built.regions);
        built.receivers.push(receiver);
        built.transmitters.push(transmitter);
    }
    for number in 0..200 {
        built.transmitters[1].send_copy(&frame(number, 0)).unwrap();
    }
    built.transmitters[1].sync();
    // Frames taken and not given back: their buffers stand in no slot and on no list.
    assert_eq!(built.receive(0, BURST), BURST);
    println!("in flight");
    std::io::stdout().flush().unwrap();
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn buffers_are_all_there_after_kill_9() {
    const KILLS: usize = 20;
    let ground = Ground::new(Shape::default());
    let path = std::env::temp_dir().join(format!("sluice-netmap-{}", std::process::id()));
    let _server = ground
        .machine
        .as_ref()
        .map(|machine| Server::start(machine, &path).unwrap());
    let socket = match ground.machine {
        Some(_) => path.to_str().unwrap(),
        None => "",
    };
    let before = grantable(&ground);
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_is_killed", "--nocapture"])
            .env("SLUICE_NETMAP_CHILD", socket)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let reached = lines
            .map_while(Result::ok)
            .any(|line| line.contains("in flight"));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(reached, "the child got nowhere");
        // The kernel closes a dead process's descriptors in its own time.
        let start = Instant::now();
        while ground
            .machine
            .as_ref()
            .is_some_and(|machine| machine.descriptors() > 0)
        {
            assert!(start.elapsed() < Duration::from_secs(10));
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(grantable(&ground), before, "after kill {kill}");
    }
    if let Some(machine) = &ground.machine {
        assert_eq!(
            machine.violations_total(),
            0,
            "no list named a buffer twice"
        );
        assert!(
            machine.leaked() > 0,
            "what was in flight was the dead process's"
        );
        let (pooled, all) = machine.pooled();
        assert_eq!(pooled, all);
    }
    println!("{KILLS} kills: {before} buffers to grant before and after each");
}
