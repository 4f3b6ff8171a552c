//! Cycles per packet of each stage and of a whole turn, against the budgets of DESIGN.md 10.
//!
//! The real stages of a fused worker, called one after the other on one thread over frames that
//! lie in memory; flows are warm. Each stage's cost is read from the TSC around each burst; burst n
//! of every chapter has the same content, so its median over the chapters leaves out whoever took
//! the core away. `turn` is the lane's own loop in a second engine, by the thread's processor time,
//! median of chapters; rule sets take turns. Answers are checked: I1, alerts, no lost context.
//!
//! `cargo bench --bench stage [-- --quick] [-- --only WORKLOAD] [-- --rules NAME]`

#[path = "engine/frames.rs"]
mod frames;
#[path = "stage/workload.rs"]
mod workload;

use std::path::PathBuf;
use std::sync::Arc;

use frames::{median, thread_time};
use sluice::config::Config;
use sluice::counters::Counter;
use sluice::decode::LinkType;
use sluice::lane::build::{Engine, Plan};
use sluice::lane::{Input, Worker};
use sluice::layout::Layout;
use sluice::memory::Span;
use sluice::packet::{BURST_MAX, BURST_VIEWS_MAX, Burst, Kind, Verdict};
use sluice::port::capture::spread::Spread;
use sluice::port::capture::{Capture, CaptureReader};
use sluice::port::{Discard, Receive, Receiver, Transmit, Transmitter};
use sluice::time::cycles;
use workload::{FCS_BYTES, Folder, Rules, Workload};

/// What is timed in a burst, in its order.
const STEPS: [&str; 6] = ["port", "decode", "flow", "match", "verdict", "home"];
/// Budgets of DESIGN.md 10 in TSC cycles, by step; no rules, and with rules. Port in and out and
/// the way home share one budget; verdict's holds counters and the clock.
const BUDGET_NONE: [Option<f64>; 6] = [Some(60.0), Some(40.0), Some(70.0), None, Some(30.0), None];
const BUDGET_RULES: [Option<f64>; 6] = [
    Some(60.0),
    Some(40.0),
    Some(100.0),
    Some(840.0),
    Some(50.0),
    None,
];
const TOTAL_NONE: f64 = 200.0;
const TOTAL_RULES: f64 = 1090.0;

fn tsc() -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        let mut core = 0;
        // SAFETY: RDTSCP is there on every x86-64 processor of the last fifteen years.
        unsafe { std::arch::x86_64::__rdtscp(&mut core) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        START
            .get_or_init(std::time::Instant::now)
            .elapsed()
            .as_nanos() as u64
    }
}

/// What two readings of the TSC cost.
fn tsc_overhead() -> u64 {
    (0..1000)
        .map(|_| (tsc(), tsc()))
        .map(|(from, to)| to - from)
        .min()
        .unwrap_or(0)
}

/// One engine with one fused worker over all chapters.
struct Rig {
    engine: Engine,
    burst: Burst,
    retired: Burst,
    /// Cycles by step, burst and chapter, measured ones only.
    cycles: Vec<Vec<[u64; 6]>>,
    /// Nanoseconds of processor time per frame and chapter, of whole turns.
    turns: Vec<f64>,
    events: u64,
}

impl Rig {
    fn new(workload: &Workload, rules: &Rules) -> Rig {
        let capture = Capture::open(&workload.chapters).expect("chapters");
        let link = |number| LinkType::from_pcap(number) as u8;
        let reader = CaptureReader::new(capture, link, Spread::First, 0, 1);
        let config = Config {
            mode: workload.mode,
            flows_max: 1 << 17,
            inspected_flows_max: 1 << 15,
            stream_memory: 64 << 20,
            ..Config::default()
        };
        let engine = Engine::build(Plan {
            config: Arc::new(config),
            layout: Layout::FUSED,
            burst_max: BURST_MAX,
            ordered: true,
            live: false,
            receivers: vec![vec![Receiver::Capture(Box::new(reader))]],
            transmitters: vec![vec![Transmitter::Discard(Discard::default())]],
            program: workload::program(rules),
            events_per_worker: 1024,
            rss: None,
            cores: Vec::new(),
            key: 0x5eed,
        });
        let mut engine = engine.expect("memory for an engine");
        // The writer is this very thread: who waited for it would wait for ever.
        engine.workers[0].emit.listener = sluice::event::Listener::Live;
        Rig {
            engine,
            burst: Vec::with_capacity(BURST_VIEWS_MAX),
            retired: Vec::with_capacity(BURST_VIEWS_MAX),
            cycles: Vec::new(),
            turns: Vec::new(),
            events: 0,
        }
    }

    fn worker(&self) -> &Worker {
        &self.engine.workers[0]
    }

    fn total(&self, counter: Counter) -> u64 {
        self.worker().emit.counters.get(counter)
    }

    /// Reads a chapter's bytes: its pages are mapped then, and its lines are in the last-level
    /// cache, where a NIC's direct cache access would have put them. Regions of captures come
    /// before all others.
    fn touch(&self, chapter: usize) {
        let span = Span {
            offset: 0,
            length: u32::MAX,
            region: chapter as u16,
        };
        let bytes = self.worker().regions.bytes(span);
        let sum: u64 = bytes.iter().step_by(64).map(|byte| u64::from(*byte)).sum();
        std::hint::black_box(sum);
    }

    /// One burst of at most `limit` frames, stage by stage. Gives frames and cycles.
    fn step(&mut self, limit: usize) -> (usize, [u64; 6]) {
        let worker = &mut self.engine.workers[0];
        let (burst, retired) = (&mut self.burst, &mut self.retired);
        let Input::Ports {
            receivers, decode, ..
        } = &mut worker.input
        else {
            panic!("no port")
        };
        let (Some(flow), Some(matcher), Some(last)) =
            (&mut worker.flow, &mut worker.matcher, &mut worker.verdict)
        else {
            panic!("not a fused worker")
        };
        let (contexts, emit) = (&worker.contexts, &mut worker.emit);
        let mut at = [0; 7];
        at[0] = tsc();
        let got = receivers[0].receive(contexts, &mut worker.frames, burst, limit, 0);
        emit.counters
            .add(Counter::PacketsReceived, got.count as u64);
        at[1] = tsc();
        decode.run(burst, emit);
        if let Some(newest) = burst.last() {
            emit.now_ns = emit.now_ns.max(contexts.get(newest).time_ns);
        }
        at[2] = tsc();
        flow.stage.run(burst, emit);
        at[3] = tsc();
        matcher.run(burst, emit);
        at[4] = tsc();
        last.stage.run(burst, retired, emit);
        for handle in burst.iter_mut() {
            let context = contexts.get_mut(handle);
            if context.verdict == Verdict::Forward
                && let Err(reason) = last.transmitters[0].transmit(context, &worker.regions)
            {
                context.verdict = Verdict::Drop(reason);
            }
        }
        emit.built_count = 0;
        last.transmitters[0].sync();
        last.stage.account(burst, &emit.counters);
        at[5] = tsc();
        for mut handle in burst.drain(..).chain(retired.drain(..)) {
            handle.set_more(false);
            if contexts.get(&handle).kind == Kind::Frame {
                receivers[0].reclaim(contexts.get_mut(&mut handle));
                worker.frames.push(handle);
            } else {
                flow.stage.recycle(&mut handle);
                emit.views.push(handle);
            }
        }
        at[6] = tsc();
        (
            got.count,
            std::array::from_fn(|step| at[step + 1].saturating_sub(at[step])),
        )
    }

    /// The writer's part: gives the events back.
    fn drain(&mut self) {
        while let Some(event) = self.engine.events[0].take() {
            self.engine.events[0].give_back(event);
            self.events += 1;
        }
    }

    /// A chapter, stage by stage.
    fn chapter(&mut self, frames: usize, measured: bool) {
        let mut cycles = Vec::with_capacity(frames.div_ceil(BURST_MAX));
        let mut left = frames;
        while left > 0 {
            let (count, spent) = self.step(left.min(BURST_MAX));
            assert!(count > 0, "the capture ended early");
            cycles.push(spent);
            left -= count;
            self.drain();
        }
        if measured {
            self.cycles.push(cycles);
        }
    }

    /// About a chapter, in turns of the lane.
    fn turn(&mut self, frames: usize, measured: bool) {
        let before = self.total(Counter::PacketsReceived);
        let start = thread_time();
        while self.total(Counter::PacketsReceived) < before + frames as u64
            && !self.worker().state.finished
        {
            self.engine.workers[0].turn();
            self.drain();
        }
        let count = self.total(Counter::PacketsReceived) - before;
        if measured && count > 0 {
            self.turns
                .push((thread_time() - start).as_nanos() as f64 / count as f64);
        }
    }

    /// Cycles per frame by step: the sum over bursts of each one's median over the chapters.
    fn medians(&self, frames: usize, overhead: u64) -> [f64; 6] {
        std::array::from_fn(|step| {
            let bursts = self.cycles.first().map_or(0, Vec::len);
            let middle = |burst: usize| {
                let mut values: Vec<f64> = self
                    .cycles
                    .iter()
                    .filter_map(|chapter| chapter.get(burst))
                    .map(|cycles| cycles[step].saturating_sub(overhead) as f64)
                    .collect();
                median(&mut values)
            };
            (0..bursts).map(middle).sum::<f64>() / frames as f64
        })
    }

    /// I1, and that every context is home.
    fn check(&self) {
        let ends = [
            Counter::PacketsForwarded,
            Counter::PacketsDropped,
            Counter::PacketsRejected,
            Counter::PacketsBypassed,
        ];
        let ended: u64 = ends.iter().map(|end| self.total(*end)).sum();
        assert_eq!(self.total(Counter::PacketsReceived), ended, "I1");
        let home = self.worker().frames.len() + self.worker().emit.views.len();
        assert_eq!(home, self.engine.contexts_total, "contexts");
    }
}

/// A figure with its share of a budget.
fn cell(cycles: f64, budget: Option<f64>) -> String {
    match budget {
        Some(budget) => format!("{cycles:.0} ({:.2})", cycles / budget),
        None => format!("{cycles:.0}"),
    }
}

/// Runs a workload with all rule sets and prints its part of the table.
fn measure(workload: &Workload, sets: &[Rules], tsc_ns: f64) {
    let overhead = tsc_overhead();
    let mut rigs: Vec<(Rig, Rig)> = sets
        .iter()
        .map(|rules| (Rig::new(workload, rules), Rig::new(workload, rules)))
        .collect();
    for (number, frames) in workload.frames.iter().enumerate() {
        for (staged, turned) in &mut rigs {
            staged.touch(number);
            staged.chapter(*frames, number >= workload.warm);
            turned.touch(number);
            turned.turn(*frames, number >= workload.warm);
        }
    }
    let frames = workload.frames[workload.warm];
    println!(
        "\n{} ({:?}): mean {:.0} bytes, {} frames a chapter, {} chapters",
        workload.name,
        workload.mode,
        workload.mean + FCS_BYTES,
        frames,
        workload.frames.len() - workload.warm,
    );
    print!("{:<16}", "rules");
    STEPS.iter().for_each(|step| print!("{step:>13}"));
    println!("{:>14}{:>14}", "sum", "turn");
    for (rules, (staged, turned)) in sets.iter().zip(&mut rigs) {
        let steps = staged.medians(frames, overhead);
        let with_rules = rules.loaded.counts.enabled > 0;
        let (budgets, total) = if with_rules {
            (BUDGET_RULES, TOTAL_RULES)
        } else {
            (BUDGET_NONE, TOTAL_NONE)
        };
        print!("{:<16}", rules.name);
        for (cycles, budget) in steps.iter().zip(budgets) {
            print!("{:>13}", cell(*cycles, budget));
        }
        let sum: f64 = steps.iter().sum();
        let turn = median(&mut turned.turns) * tsc_ns;
        println!(
            "{:>14}{:>14}",
            cell(sum, Some(total)),
            cell(turn, Some(total))
        );
        staged.check();
        turned.check();
        let of =
            |counter| staged.total(counter) as f64 / staged.total(Counter::PacketsReceived) as f64;
        println!(
            "{:>16}per frame: {:.2} views, {:.2} events, {:.3} alerts, {:.2} candidates, \
             {:.0} bytes scanned, {:.3} dropped",
            "",
            of(Counter::Views),
            staged.events as f64 / staged.total(Counter::PacketsReceived) as f64,
            of(Counter::Alerts),
            of(Counter::Candidates),
            of(Counter::PrefilterBytes),
            of(Counter::PacketsDropped) + of(Counter::PacketsRejected),
        );
    }
}

/// The shared folder, if it is there.
fn shared() -> Option<PathBuf> {
    let path = std::env::var_os("SLUICE_SHARED").map_or_else(
        || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"),
        PathBuf::from,
    );
    let found = path.join("captures").is_dir();
    if !found {
        println!(
            "SKIPPED: no shared data at {} (set SLUICE_SHARED)",
            path.display()
        );
    }
    found.then_some(path)
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let after = |name: &str| {
        let place = arguments.iter().position(|argument| argument == name)?;
        arguments.get(place + 1).cloned()
    };
    let (only, named) = (after("--only"), after("--rules"));
    let wanted = |name: &str| {
        only.as_ref()
            .is_none_or(|only| name.contains(only.as_str()))
    };
    let (flows, size, chapters) = if quick {
        (2048, 4000, 5)
    } else {
        (16_384, 20_000, 15)
    };
    core_affinity::set_for_current(core_affinity::CoreId { id: 1 });
    let tsc_ns = cycles::per_nanosecond();
    println!("TSC {tsc_ns:.2} GHz; budgets are for 2.60 GHz. Cycles per frame (ratio to budget).");
    if quick {
        println!("--quick: answers only, the figures mean nothing");
    }
    let shared = shared();
    let mut sets = vec![workload::none(), workload::synthetic(1000)];
    match shared.as_ref().map(|shared| workload::etopen(shared, 1000)) {
        Some(Some(rules)) => sets.push(rules),
        Some(None) => println!("SKIPPED: no xz to unpack the shared rules"),
        None => {}
    }
    sets.retain(|set| {
        named
            .as_ref()
            .is_none_or(|named| set.name.contains(named.as_str()))
    });
    for rules in &sets {
        let counts = &rules.loaded.counts;
        println!(
            "{}: {} rules, {} of them not run",
            rules.name, counts.enabled, counts.unsupported
        );
    }
    let folder = Folder::new();
    if wanted("small") {
        measure(&workload::small(&folder, flows, chapters), &sets, tsc_ns);
    }
    if wanted("demo") {
        measure(&workload::demo(&folder, size, chapters), &sets, tsc_ns);
    }
    if let Some(shared) = shared.filter(|_| wanted("mix")) {
        measure(
            &workload::mix(&folder, &shared, size, chapters),
            &sets,
            tsc_ns,
        );
    }
}
