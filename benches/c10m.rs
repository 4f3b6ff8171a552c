//! Ten million connections in one process: a generator that remembers nothing (c10m/traffic.rs) on
//! one core, the engine on the other, joined by rings in memory. Three phases: handshakes until all
//! flows stand; opening and closing only, which gives the most new connections a second; then a
//! minute of ten data packets (each acknowledged) for each flow opened and closed. Checked, whatever
//! the speed: every frame comes out again in its order (I1; every 61st one byte for byte, I2), every
//! planted signature is found and no other alert given, flows created = active + ended (I8), and as
//! many flows as asked for stand established all the while. Cycles a packet are the workers'
//! processor time by the kernel's count; with fewer cores than threads that is all a layout's figure
//! says, and its packets a second are not printed.
//!
//! `cargo bench --bench c10m [-- --quick] [-- --flows N] [-- --seconds S] [-- --rules N]`

#[path = "c10m/traffic.rs"]
mod traffic;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sluice::config::{Config, Mode};
use sluice::counters::{Counter, Counters};
use sluice::event::EventQueue;
use sluice::lane::Worker;
use sluice::lane::build::{Engine, Plan};
use sluice::layout::Layout;
use sluice::memory::{Arena, Handle, Regions};
use sluice::packet::{BURST_MAX, Burst, Context};
use sluice::port::memory::{End, Memory, Shape, Side};
use sluice::port::{Receive, Receiver, Transmit, Transmitter};
use sluice::time::cycles;
use traffic::{DATA, FRAME_MAX, LATE, Life, PLANTED, ROUND, Step, Traffic};

/// Signature number of the planted words.
const SID: u32 = 1;
/// Frames that the engine may hold at once.
const EXTRA: u32 = 8192;
/// One frame in so many is compared byte for byte.
const COMPARED: u64 = 61;
/// Expiry class of established TCP flows: closed ones that wait have another.
const ESTABLISHED: usize = 1;

/// How large and how long.
#[derive(Clone, Copy)]
struct Size {
    flows: u64,
    seconds: f64,
    rules: usize,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |name: &str| -> Option<f64> {
        let place = arguments.iter().position(|argument| argument == name)?;
        let text = arguments.get(place + 1)?;
        Some(
            text.parse()
                .unwrap_or_else(|_| panic!("{name} takes a number, not {text}")),
        )
    };
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let (flows, seconds) = if quick {
        (100_000.0, 2.0)
    } else {
        (10_000_000.0, 60.0)
    };
    let size = Size {
        flows: (after("--flows").unwrap_or(flows) as u64).next_multiple_of(ROUND),
        seconds: after("--seconds").unwrap_or(seconds),
        rules: after("--rules").unwrap_or(1000.0) as usize,
    };
    run(Layout::FUSED, size, true);
    // Two workers and the generator on two cores: answers, and processor time.
    let small = Size {
        flows: (size.flows / 10).next_multiple_of(ROUND),
        seconds: size.seconds / 10.0,
        ..size
    };
    for layout in Layout::all().filter(|layout| layout.workers() == 2) {
        run(layout, small, false);
    }
    if quick {
        println!("--quick: answers only, the figures mean nothing");
    }
}

/// The planted rule and so many whose words never come.
fn rules(count: usize) -> String {
    let words = String::from_utf8_lossy(traffic::WORDS);
    let mut text = format!(
        "alert tcp any any -> any 5000 (msg:\"planted\"; flow:established,to_server; content:\"{words}\"; sid:{SID};)\n"
    );
    for number in 1..count {
        text += &format!(
            "alert tcp any any -> any any (msg:\"absent\"; content:\"absent-{number:05}-words\"; sid:{};)\n",
            SID + number as u32
        );
    }
    text
}

/// Outer ends of both cables, and what went through them.
struct Generator {
    traffic: Traffic,
    transmitters: Vec<Transmitter>,
    receivers: Vec<Receiver>,
    contexts: Arc<Arena<Context>>,
    free: Vec<Handle>,
    burst: Burst,
    regions: Regions,
    frame: [u8; FRAME_MAX],
    /// Frames sent into each port, and received from the opposite one.
    sent: [u64; 2],
    back: [u64; 2],
    /// Frames to be compared when they come back: (their number, length, bytes), by port sent into.
    watched: [std::collections::VecDeque<(u64, usize, [u8; FRAME_MAX])>; 2],
    compared: u64,
    planted: u64,
    events: Vec<Arc<EventQueue>>,
    counters: Vec<Arc<Counters>>,
}

impl Generator {
    /// Sends one step; waits for room in the ring.
    fn send(&mut self, flow: u64, step: Step) {
        let port = usize::from(matches!(
            step,
            Step::SynAck | Step::DataAck(_) | Step::FinAck
        ));
        let length = self.traffic.frame(flow, step, &mut self.frame);
        while self.transmitters[port]
            .send_copy(&self.frame[..length])
            .is_err()
        {
            self.exchange();
        }
        if self.sent[port].is_multiple_of(COMPARED) {
            self.watched[port].push_back((self.sent[port], length, self.frame));
        }
        self.sent[port] += 1;
        self.planted += u64::from(self.traffic.completes(flow, step));
    }

    /// Publishes what was queued, and takes what came out.
    fn exchange(&mut self) {
        self.transmitters.iter_mut().for_each(Transmit::sync);
        let mut any = false;
        for out in 0..2 {
            let from = 1 - out;
            let receiver = &mut self.receivers[out];
            receiver.receive(
                &self.contexts,
                &mut self.free,
                &mut self.burst,
                BURST_MAX,
                0,
            );
            for mut handle in self.burst.drain(..) {
                let context = self.contexts.get_mut(&mut handle);
                let next = self.watched[from].front();
                if next.is_some_and(|(number, ..)| *number == self.back[from]) {
                    let (number, length, frame) = self.watched[from].pop_front().expect("front");
                    let bytes = self.regions.bytes(context.span);
                    let text = || self.counters.iter().map(|c| told(c)).collect::<String>();
                    let same = bytes == &frame[..length];
                    assert!(same, "I2: frame {number} into port {from}: {}", text());
                    self.compared += 1;
                }
                self.back[from] += 1;
                receiver.reclaim(context);
                self.free.push(handle);
                any = true;
            }
        }
        for events in &self.events {
            while let Some(event) = events.take() {
                events.give_back(event);
            }
        }
        if !any {
            std::thread::yield_now();
        }
    }

    /// One phase: `rounds` of them, or until `limit` has passed. Gives how many there were.
    fn phase(&mut self, life: Life, rounds: u64, limit: Duration) -> u64 {
        let first = self.traffic.first / ROUND;
        let start = Instant::now();
        let mut end = first + rounds;
        // Frames sent into each port by the end of the last rounds; [0] is the newest.
        let mut marks = [self.sent; 2];
        let mut round = first;
        while round < end + LATE {
            if start.elapsed() >= limit {
                end = end.min(round);
            }
            // What clients acknowledge now, servers sent two rounds ago.
            self.wait_for(1, marks[1][1]);
            let traffic = self.traffic;
            traffic.client(life, round, round < end, |flow, step| self.send(flow, step));
            let asked = self.sent[0];
            if round > first && round <= end {
                self.wait_for(0, marks[0][0]);
                traffic.server(life, round - 1, |flow, step| self.send(flow, step));
            }
            marks = [[asked, self.sent[1]], marks[0]];
            self.exchange();
            round += 1;
        }
        let start = Instant::now();
        while self.back != self.sent {
            self.exchange();
            let (back, sent) = (self.back, self.sent);
            assert!(start.elapsed().as_secs() < 30, "I1: {back:?} of {sent:?}");
        }
        end - first
    }

    /// Waits until so many frames sent into a port have come out.
    fn wait_for(&mut self, port: usize, count: u64) {
        while self.back[port] < count {
            self.exchange();
        }
    }
}

/// Counters that are not nought, for a failure's report.
fn told(cells: &Counters) -> String {
    Counter::ALL
        .iter()
        .filter(|counter| cells.get(**counter) != 0)
        .map(|counter| format!("\n  {counter:?} {}", cells.get(*counter)))
        .chain(
            sluice::reason::Reason::ALL
                .iter()
                .filter(|reason| cells.dropped(**reason) != 0)
                .map(|reason| format!("\n  {reason:?} {}", cells.dropped(*reason))),
        )
        .collect()
}

/// A built and running engine with its generator.
struct Rig {
    generator: Generator,
    counters: Vec<Arc<Counters>>,
    names: Vec<String>,
    threads: Vec<JoinHandle<Worker>>,
    stop: Arc<std::sync::atomic::AtomicBool>,
}

fn halves(memory: &Arc<Memory>, side: Side) -> (Vec<Receiver>, Vec<Transmitter>) {
    let open = |cable: u8| {
        let (receiver, transmitter) = memory
            .open(End { cable, side }, 0, EXTRA / 2, cable)
            .expect("an end");
        (
            Receiver::Memory(Box::new(receiver)),
            Transmitter::Memory(Box::new(transmitter)),
        )
    };
    [open(0), open(1)].into_iter().unzip()
}

impl Rig {
    fn new(layout: Layout, size: Size) -> Rig {
        let shape = Shape {
            extra: 4 * EXTRA,
            ..Shape::default()
        };
        let memory = Memory::new(shape).expect("a memory");
        let (inner_receivers, inner_transmitters) = halves(&memory, Side::Inner);
        let (mut receivers, mut transmitters) = halves(&memory, Side::Outer);
        let loaded = sluice::cli::rules::load_text("c10m.rules", &rules(size.rules), &[])
            .unwrap_or_else(|failure| panic!("{}", failure.text));
        // Room for those that are closed and wait; more of them give way, oldest first.
        let room = size.flows as u32 + size.flows as u32 / 8 + (1 << 16);
        let mut config = Config {
            mode: Mode::Inline,
            flows_max: room,
            inspected_flows_max: room,
            window_memory: 1 << 30,
            ..Config::default()
        };
        config.tcp_timeouts.established = 3600;
        let start = Instant::now();
        let mut engine = Engine::build(Plan {
            config: Arc::new(config),
            layout,
            burst_max: BURST_MAX,
            ordered: false,
            live: true,
            receivers: vec![inner_receivers],
            transmitters: vec![inner_transmitters],
            program: Arc::clone(&loaded.program),
            events_per_worker: 1024,
            rss: None,
            cores: (1..=layout.workers()).map(|core| core % 2).collect(),
            key: 0x5eed,
        })
        .unwrap_or_else(|error| panic!("{error}"));
        println!(
            "\n{layout}: {} flows, {} rules, table on {}, built in {:.1} s",
            size.flows,
            size.rules,
            engine.table_pages.name(),
            start.elapsed().as_secs_f64()
        );
        let mut regions = Regions::default();
        receivers
            .iter_mut()
            .for_each(|half| half.register(&mut regions));
        transmitters
            .iter_mut()
            .for_each(|half| half.register(&mut regions));
        let (contexts, free) = Arena::new(256, Context::default);
        core_affinity::set_for_current(core_affinity::CoreId { id: 0 });
        Rig {
            generator: Generator {
                traffic: Traffic::new(size.flows),
                transmitters,
                receivers,
                contexts,
                free,
                burst: Vec::with_capacity(BURST_MAX),
                regions,
                frame: [0; FRAME_MAX],
                sent: [0; 2],
                back: [0; 2],
                watched: Default::default(),
                compared: 0,
                planted: 0,
                events: engine.events.clone(),
                counters: engine.counters.clone(),
            },
            counters: engine.counters.clone(),
            names: engine
                .workers
                .iter()
                .map(|worker| worker.name.clone())
                .collect(),
            stop: Arc::clone(&engine.stop),
            threads: engine.start(),
        }
    }

    fn total(&self, counter: Counter) -> u64 {
        self.counters.iter().map(|cells| cells.get(counter)).sum()
    }

    /// Processor time of the workers so far, by the kernel's count of their threads.
    fn workers_time(&self) -> Duration {
        let mut sum = Duration::ZERO;
        for task in std::fs::read_dir("/proc/self/task")
            .expect("our threads")
            .flatten()
        {
            let read =
                |name: &str| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
            let name = read("comm");
            // The kernel keeps fifteen characters of a name.
            if self
                .names
                .iter()
                .any(|known| known.starts_with(name.trim_end()) && !name.trim().is_empty())
            {
                let on_core = read("schedstat");
                let ns = on_core.split(' ').next().and_then(|ns| ns.parse().ok());
                sum += Duration::from_nanos(ns.expect("nanoseconds on a processor"));
            }
        }
        sum
    }

    fn active(&self) -> u64 {
        self.total(Counter::FlowsCreated) - self.ended()
    }

    fn ended(&self) -> u64 {
        [
            Counter::FlowsEndedTimeout,
            Counter::FlowsEndedClosed,
            Counter::FlowsEndedEvicted,
            Counter::FlowsEndedShutdown,
        ]
        .into_iter()
        .map(|counter| self.total(counter))
        .sum()
    }

    /// Runs a phase and prints it.
    fn phase(&mut self, name: &str, life: Life, rounds: u64, limit: Duration, paced: bool) -> u64 {
        let packets = self.generator.sent.iter().sum::<u64>();
        let (start, time) = (Instant::now(), self.workers_time());
        let turns = self.generator.phase(life, rounds, limit) * ROUND;
        let seconds = start.elapsed().as_secs_f64();
        let packets = self.generator.sent.iter().sum::<u64>() - packets;
        let ns = (self.workers_time() - time).as_nanos() as f64 / packets as f64;
        let rate = if paced {
            format!(
                "{:.2} M packets/s, {:.0} k new flows/s, ",
                packets as f64 / seconds / 1e6,
                turns as f64 / seconds / 1e3
            )
        } else {
            String::new()
        };
        println!(
            "  {name}: {packets} packets in {seconds:.1} s, {rate}{ns:.0} ns = {:.0} cycles a packet of the workers; {} flows stand",
            ns * cycles::per_nanosecond(),
            self.active()
        );
        turns
    }
}

/// One layout through all phases.
fn run(layout: Layout, size: Size, paced: bool) {
    let mut rig = Rig::new(layout, size);
    let long = Duration::from_secs(3600);
    let filled = rig.phase("handshakes", Life::Fill, size.flows / ROUND, long, paced);
    assert_eq!(filled, size.flows);
    assert_eq!(rig.active(), size.flows, "all stand");
    let tenth = Duration::from_secs_f64(size.seconds / 6.0);
    let short = rig.phase(
        "open and close (the most new flows)",
        Life::Short,
        1 << 50,
        tenth,
        paced,
    );
    rig.generator.traffic.first = short;
    rig.generator.traffic.data_from = short;
    let minute = Duration::from_secs_f64(size.seconds);
    let whole = rig.phase(
        "open, 10 data and acknowledgements, close",
        Life::Whole,
        1 << 50,
        minute,
        paced,
    );
    let standing: u64 = rig
        .counters
        .iter()
        .map(|cells| cells.flows(ESTABLISHED))
        .sum();
    assert_eq!(standing, size.flows, "established all the while");
    finish(rig, size, short + whole, whole * DATA);
}

/// Ends the engine and checks the accounts.
fn finish(rig: Rig, size: Size, opened: u64, data: u64) {
    let [inside, outside] = rig.generator.sent;
    rig.stop.store(true, std::sync::atomic::Ordering::Release);
    let mut rig = rig;
    while rig.threads.iter().any(|thread| !thread.is_finished()) {
        rig.generator.exchange();
    }
    for thread in rig.threads.drain(..) {
        thread.join().expect("a worker ends");
    }
    assert_eq!(
        rig.total(Counter::PacketsReceived),
        inside + outside,
        "I1: received"
    );
    assert_eq!(
        rig.total(Counter::PacketsForwarded),
        inside + outside,
        "I1: forwarded"
    );
    assert_eq!(
        rig.total(Counter::FlowsCreated),
        size.flows + opened,
        "I8: created"
    );
    assert_eq!(rig.total(Counter::FlowsCreated), rig.ended(), "I8: ended");
    let planted = rig.generator.planted;
    assert_eq!(
        rig.total(Counter::Alerts),
        planted,
        "planted signatures found, and none else"
    );
    println!(
        "  PASS {} frames out as in ({} compared), {data} data packets, {planted} planted signatures (one of {PLANTED} flows) found and none else, {} flows created and ended",
        inside + outside,
        rig.generator.compared,
        size.flows + opened,
    );
}
