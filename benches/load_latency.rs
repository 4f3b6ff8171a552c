//! Latency through the engine while it is busy: frames that arrive at 80 % of what it can do.
//!
//! ```text
//!   schedule ──due──► first worker's port ──► stages ──► last worker's port ──sync──► gone
//!            └─────────────────────────── latency ───────────────────────────────┘
//! ```
//! The schedule is made before the run. The first worker's port hands a frame out when it is due and
//! the worker asks, and the latency counts from when it was due: a worker that comes late finds its
//! frames waiting and pays for all of them (no coordinated omission). Nothing else sends, so no third
//! thread is measured. The load is a share of the capacity, which is measured right before it, with
//! the same traffic all due at once.
//!
//! Load comes in windows of 10 ms. Behind each the port holds the first worker for as long again and
//! only waits for the same times: a loop on the same core, whose lateness is what the machine takes
//! from anybody. Quantiles are given over all windows, and over those between two loops that were
//! never later than 50 us: what the engine does where the machine lets it.
//!
//! Traffic and rules are the engine bench's (engine/mix.rs); the first pass only warms. Schedules: at
//! even distances, and at random (exponential) ones, as independent senders make them.
//!
//! `cargo bench --bench load_latency [-- --packets N] [-- --rounds N] [-- --load PERCENT] [-- --only WORD]
//! [-- --traffic FOLDER]`: there the merged captures stay, and are taken from the next time.

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "engine/frames.rs"]
#[allow(dead_code, reason = "the engine bench's, which takes times of threads")]
mod frames;
#[path = "engine/mix.rs"]
#[allow(
    dead_code,
    reason = "the engine bench's, which leaves captures out too"
)]
mod mix;
#[path = "load_latency/port.rs"]
mod port;
#[path = "engine/renumber.rs"]
mod renumber;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mix::Mix;
use port::{Clock, Log, Schedule, Told};
use sluice::config::{Config, Mode};
use sluice::counters::{Counter, Counters};
use sluice::event::EventQueue;
use sluice::lane::build::{Engine, Plan};
use sluice::layout::Layout;
use sluice::matcher::Program;
use sluice::memory::heap::{Untouched, onto_huge_pages};
use sluice::packet::BURST_MAX;
use sluice::port::capture::Capture;
use sluice::port::{Receiver, Transmitter};

/// Rules of the small set.
const FEW_RULES: usize = 1_000;
/// Microseconds above the loop's p99 that p99 may be.
const GOAL_MICROS: f64 = 10.0;
/// Lateness of the loop that is still calm, nanoseconds.
const CALM_NS: u64 = 50_000;
/// Windows that are enough for a p99.
const WINDOWS_MIN: usize = 5;
/// Core of the first worker; the thread that takes the events begins on the other.
const FIRST_CORE: usize = 1;

/// Quantiles of latencies in nanoseconds, as microseconds.
struct Quantiles([f64; 4]);

impl Quantiles {
    fn of(mut nanos: Vec<u64>) -> Quantiles {
        nanos.sort_unstable();
        let last = nanos.len().saturating_sub(1);
        let at = |share: f64| nanos.get(((nanos.len() as f64 * share) as usize).min(last));
        Quantiles([0.5, 0.99, 0.999, 1.0].map(|share| at(share).map_or(0.0, |n| *n as f64 / 1e3)))
    }

    fn p99(&self) -> f64 {
        self.0[1]
    }
}

impl std::fmt::Display for Quantiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [p50, p99, p999, max] = self.0;
        write!(
            f,
            "p50 {p50:>8.1} p99 {p99:>8.1} p99.9 {p999:>8.1} max {max:>9.1}"
        )
    }
}

/// The traffic, in this process's memory.
struct Traffic {
    capture: Arc<Capture>,
    /// Frames of all passes.
    frames: usize,
    /// Frames of the first pass, which are not counted.
    warm: usize,
    passes: u64,
    mean: f64,
}

impl Traffic {
    fn new(folder: &Path, packets: u64, shared: &Path) -> Traffic {
        let path = folder.join("load-looped.pcapng");
        let mix = Mix::read(shared);
        let warm = mix.size().0;
        let passes = packets.div_ceil(warm.max(1) as u64).max(2);
        if !path.exists() {
            mix.write(&path, 0..passes);
        }
        drop(mix);
        let capture = Capture::open(&[&path]).expect("a capture");
        let (mut frames, mut bytes) = (0, 0);
        frames::each_of(&capture, |_, frame| {
            frames += 1;
            bytes += frame.len();
            // Every page of it is touched here and not by a worker.
            std::hint::black_box(frame.iter().step_by(512).fold(0u8, |sum, byte| sum ^ byte));
        });
        Traffic {
            capture,
            frames,
            warm,
            passes: (frames / warm.max(1)) as u64,
            mean: bytes as f64 / frames as f64,
        }
    }
}

fn config(passes: u64) -> Config {
    Config {
        mode: Mode::Inline,
        // The captures begin in the middle of flows, and their checksums are their cards'.
        midstream: true,
        checksum_validation: false,
        app_records: false,
        flows_max: 1 << 20,
        inspected_flows_max: (passes as u32).max(2) * (1 << 14),
        stream_memory: 1 << 30,
        window_memory: 1 << 31,
        app_memory: 1 << 30,
        ..Config::default()
    }
}

/// What a run came to.
struct Run {
    /// Frames a second, first pass left out.
    rate: f64,
    windows: Vec<Told>,
    /// Frames that were due and not taken, at most.
    backlog: usize,
    forwarded: u64,
    dropped: u64,
    alerts: u64,
    events_lost: u64,
}

/// From due to gone, from due to taken, and the loop, over some windows.
fn quantiles<'a>(windows: impl Iterator<Item = &'a Told> + Clone) -> [Quantiles; 3] {
    let of = |part: fn(&Told) -> &Vec<u64>| {
        let all = windows
            .clone()
            .flat_map(|window| part(window).iter().copied());
        Quantiles::of(all.collect())
    };
    [of(|w| &w.latency), of(|w| &w.waited), of(|w| &w.late)]
}

fn total(counters: &[Arc<Counters>], counter: Counter) -> u64 {
    counters.iter().map(|counters| counters.get(counter)).sum()
}

/// Takes events until the workers have ended.
fn take_events(queues: &[Arc<EventQueue>], is_over: impl Fn() -> bool) {
    loop {
        let over = is_over();
        for queue in queues {
            while let Some(event) = queue.take() {
                queue.give_back(event);
            }
        }
        if over {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// One run over a schedule, in an engine of its own.
fn run(traffic: &Traffic, program: &Arc<Program>, layout: Layout, schedule: &Schedule) -> Run {
    let clock = Clock::default();
    let log = Log::new(traffic.frames);
    let reader = frames::reader(&traffic.capture);
    let receiver = port::Due::new(reader, schedule.clone(), clock.clone(), Arc::clone(&log));
    let transmitter = port::Gone::new(clock, Arc::clone(&log));
    let mut engine = Engine::build(Plan {
        config: Arc::new(config(traffic.passes)),
        layout,
        burst_max: BURST_MAX,
        ordered: false,
        live: true,
        receivers: vec![vec![Receiver::Made(Box::new(receiver))]],
        transmitters: vec![vec![Transmitter::Made(Box::new(transmitter))]],
        program: Arc::clone(program),
        events_per_worker: 1 << 14,
        rss: None,
        cores: vec![FIRST_CORE, 1 - FIRST_CORE],
        key: 0x5eed,
    })
    .expect("an engine");
    onto_huge_pages(Untouched::Now);
    let (counters, queues) = (engine.counters.clone(), engine.events.clone());
    let threads = engine.start();
    take_events(&queues, || {
        threads.iter().all(std::thread::JoinHandle::is_finished)
    });
    for thread in threads {
        thread.join().expect("a worker");
    }
    let of = |counter| total(&counters, counter);
    let ends = [
        Counter::PacketsForwarded,
        Counter::PacketsDropped,
        Counter::PacketsRejected,
        Counter::PacketsBypassed,
    ];
    let ended: u64 = ends.into_iter().map(of).sum();
    assert_eq!(of(Counter::PacketsReceived), ended, "I1");
    assert_eq!(ended, traffic.frames as u64, "every frame was received");
    Run {
        rate: log.rate(traffic.warm),
        windows: log.windows(schedule, traffic.warm),
        backlog: log.backlog(traffic.warm),
        forwarded: of(Counter::PacketsForwarded),
        dropped: of(Counter::PacketsDropped) + of(Counter::PacketsRejected),
        alerts: of(Counter::Alerts),
        events_lost: of(Counter::EventsLost),
    }
}

/// Prints a loaded run, over all windows and over those where the machine was calm on both sides.
fn report(kind: &str, load: f64, run: &Run) {
    let is_calm = |window: &Told| window.late.iter().all(|late| *late <= CALM_NS);
    let neighbours = run.windows.iter().zip(run.windows.iter().skip(1));
    let calm: Vec<&Told> = neighbours
        .filter(|(before, window)| is_calm(before) && is_calm(window))
        .map(|(_, window)| window)
        .collect();
    println!(
        "  {load:.0} % load, {kind} distances: {} windows, {} frames waited at most",
        run.windows.len(),
        run.backlog
    );
    for (what, [gone, taken, alone], count) in [
        ("all", quantiles(run.windows.iter()), run.windows.len()),
        ("calm", quantiles(calm.iter().copied()), calm.len()),
    ] {
        let above = gone.p99() - alone.p99();
        let mark = match above <= GOAL_MICROS {
            _ if count < WINDOWS_MIN => "few ",
            // A loop that is late itself says nothing of what runs beside it.
            _ if alone.p99() > GOAL_MICROS => "loud",
            true => "PASS",
            false => "miss",
        };
        println!(
            "{mark} {what} ({count}): p99 {above:.1} us above the loop's (goal {GOAL_MICROS})\n    due \
             to gone   us {gone}\n    due to taken  us {taken}\n    the loop      us {alone}"
        );
    }
}

/// One rule set in one layout: capacity, then each schedule.
fn row(name: &str, traffic: &Traffic, program: &Arc<Program>, layout: Layout, asked: &Asked) {
    let at_once = Schedule::at_once(traffic.frames);
    for _ in 0..asked.rounds {
        let full = run(traffic, program, layout, &at_once);
        println!(
            "\n{name}: capacity {:.1} k packets/s ({:.0} bytes each); {} forwarded, {} dropped, {} \
             alerts, {} events lost",
            full.rate / 1e3,
            traffic.mean,
            full.forwarded,
            full.dropped,
            full.alerts,
            full.events_lost,
        );
        let gap_ns = 1e9 / (full.rate * asked.load / 100.0);
        for (kind, schedule) in [
            ("even", Schedule::even(traffic.frames, gap_ns)),
            ("random", Schedule::random(traffic.frames, gap_ns)),
        ] {
            report(kind, asked.load, &run(traffic, program, layout, &schedule));
        }
    }
}

/// What the command line asks for.
struct Asked {
    packets: u64,
    rounds: u64,
    load: f64,
    only: Option<String>,
    traffic: Option<PathBuf>,
}

impl Asked {
    fn read() -> Asked {
        let words: Vec<String> = std::env::args().collect();
        let after = |name: &str| {
            let place = words.iter().position(|word| word == name)?;
            words.get(place + 1).cloned()
        };
        let number = |name: &str, otherwise: u64| {
            after(name).map_or(otherwise, |text| text.parse().expect("a number"))
        };
        Asked {
            packets: number("--packets", 400_000),
            rounds: number("--rounds", 1),
            load: number("--load", 80) as f64,
            only: after("--only"),
            traffic: after("--traffic").map(PathBuf::from),
        }
    }
}

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn main() {
    let asked = Asked::read();
    let Some(shared) = common::shared("bench load_latency") else {
        return;
    };
    let own = std::env::temp_dir().join(format!("sluice-load-{}", std::process::id()));
    let folder = asked.traffic.clone().unwrap_or_else(|| own.clone());
    let _gone_at_the_end = asked.traffic.is_none().then(|| Folder(own));
    std::fs::create_dir_all(&folder).expect("a folder for captures");
    let traffic = Traffic::new(&folder, asked.packets, &shared);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!(
        "{} packets in {} passes, {:.0} bytes each; {cores} cores",
        traffic.frames, traffic.passes, traffic.mean
    );
    let wants = |name: &str| asked.only.as_deref().is_none_or(|word| name.contains(word));
    let cut: Layout = "decode+flow|match+verdict".parse().expect("a layout");
    let layouts = [
        ("one worker", Layout::FUSED),
        ("decode+flow|match+verdict", cut),
    ];
    for rules in ["no rules", "1,000 rules", "ET Open"] {
        let rows = layouts.map(|(layout_name, layout)| (format!("{rules}, {layout_name}"), layout));
        if !rows.iter().any(|(name, _)| wants(name)) {
            continue;
        }
        let loaded = match rules {
            "no rules" => Some(common::rules("")),
            "1,000 rules" => common::etopen::load_some(&shared, FEW_RULES),
            _ => common::etopen::load(&shared),
        };
        let Some(loaded) = loaded else {
            return;
        };
        for (name, layout) in rows {
            if layout.workers() > cores {
                println!("n/a  {name}: more workers than cores");
            } else if wants(&name) {
                row(&name, &traffic, &loaded.program, layout, &asked);
            }
        }
    }
}
