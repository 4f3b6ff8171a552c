//! The match stage: compile time and size of rule sets, and time per packet with and without hits.
//!
//! Rules are generated (or read from `SLUICE_RULES=FILE`), payloads are generated text, random
//! bytes, and near misses (a fast pattern with its rule's second content missing). Counts of
//! hits are checked, so that a wrong answer fails the bench. `cargo bench --bench matcher`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use sluice::config::Config;
use sluice::counters::{Counter, Counters};
use sluice::event::{Emit, EventQueue};
use sluice::matcher::{DetectionAccess, FlowMark, HostState, MatchStage, Program};
use sluice::memory::{Arena, BlockPool, Handle, Regions};
use sluice::packet::{Context, FlowHandle, flag};
use sluice::rules::ruleset::RuleSet;
use sluice::rules::{Classification, File, Options, Variables, load};

const PACKETS: usize = 64;
const PAYLOAD: usize = 1000;
const ROUNDS: usize = 300;

#[derive(Default)]
struct Marks(HashMap<FlowHandle, FlowMark>);

impl DetectionAccess for Marks {
    fn prefetch(&self, _: FlowHandle) {}

    fn load(&mut self, flow: FlowHandle) -> Option<FlowMark> {
        self.0.get(&flow).copied().or(Some(FlowMark::default()))
    }

    fn store(&mut self, flow: FlowHandle, mark: FlowMark) {
        self.0.insert(flow, mark);
    }
}

/// A generator of numbers that gives the same ones each time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }

    fn word(&mut self, length: usize) -> String {
        (0..length)
            .map(|_| char::from(b'a' + self.next(26) as u8))
            .collect()
    }
}

fn compile(text: &str) -> Arc<Program> {
    let file = File {
        path: "bench.rules",
        text: text.as_bytes(),
    };
    let start = Instant::now();
    let loaded = load(
        &[file],
        &Variables::default(),
        &Classification::default(),
        &Options::default(),
    );
    let parsed = start.elapsed();
    let ruleset = Arc::new(RuleSet::build(loaded.signatures, loaded.names, 1));
    let start = Instant::now();
    let program = Program::compile(Arc::clone(&ruleset)).expect("the set compiles");
    let compiled = start.elapsed();
    let (groups, bytes) = program.footprint();
    println!(
        "  {} signatures ({} idle, {} regexes refused): parsed in {parsed:.0?}, compiled in {compiled:.0?}, {groups} groups, automata {:.1} MB",
        ruleset.signatures().len(),
        ruleset.idle().len(),
        program.refused().len(),
        bytes as f64 / 1e6
    );
    Arc::new(program)
}

/// Rules with a first content that is rare and a second one behind it.
fn generated(count: usize) -> (String, Vec<(String, String)>) {
    let mut numbers = Numbers(0x5eed);
    let words: Vec<(String, String)> = (0..count)
        .map(|_| {
            let length = 6 + numbers.next(14);
            (numbers.word(length), numbers.word(4))
        })
        .collect();
    let text = words
        .iter()
        .enumerate()
        .map(|(n, (first, second))| {
            let case = if n % 2 == 0 { " nocase;" } else { "" };
            format!(
                "alert tcp any any -> any any (msg:\"b\"; content:\"{first}\";{case} content:\"{second}\"; distance:0; sid:{};)\n",
                n + 1
            )
        })
        .collect();
    (text, words)
}

struct Rig {
    stage: MatchStage<Marks>,
    burst: Vec<Handle>,
    emit: Emit,
}

fn rig(program: &Arc<Program>, payloads: &[Vec<u8>]) -> Rig {
    let mut regions = Regions::default();
    let mut pool = BlockPool::new(payloads.len(), 54 + PAYLOAD, &mut regions);
    let (contexts, mut burst) = Arena::new(payloads.len(), Context::default);
    for ((handle, payload), slot) in burst.iter_mut().zip(payloads).zip(1u32..) {
        let mut block = pool.take().expect("one block each");
        pool.bytes_mut(&mut block)[54..].copy_from_slice(payload);
        let context = contexts.get_mut(handle);
        context.span = pool.span(&block, 0, 54 + PAYLOAD);
        context.set(flag::IPV4 | flag::TRANSPORT | flag::ESTABLISHED | flag::STREAM);
        (context.l3, context.l4, context.payload) = (14, 34, 54);
        (context.payload_length, context.stream_length) = (PAYLOAD as u16, PAYLOAD as u16);
        context.protocol = 6;
        context.flow = FlowHandle {
            slot,
            generation: 1,
        };
        (context.tuple.a_port, context.tuple.b_port) = (40_000, 80);
    }
    let config = Config {
        inspected_flows_max: payloads.len() as u32,
        ..Config::default()
    };
    let stage = MatchStage::new(
        &config,
        Arc::new(regions),
        contexts,
        Arc::clone(program),
        Marks::default(),
        Arc::new(HostState::new(1024)),
    );
    let emit = Emit {
        views: Vec::new(),
        events: EventQueue::new(1),
        built: Vec::new(),
        built_count: 0,
        counters: Arc::new(Counters::default()),
        lane: 0,
        now_ns: 0,
        listener: sluice::event::Listener::Live,
    };
    Rig { stage, burst, emit }
}

/// Feeds the same payloads as ever further bytes of their streams.
fn measure(name: &str, program: &Arc<Program>, payloads: &[Vec<u8>], per_packet: Option<usize>) {
    let mut rig = rig(program, payloads);
    let contexts = Arc::clone(rig.stage.contexts());
    let mut best = f64::MAX;
    for round in 0..ROUNDS {
        for handle in &mut rig.burst {
            let context = contexts.get_mut(handle);
            context.stream_offset = (round * PAYLOAD) as u32;
        }
        let start = Instant::now();
        rig.stage.run(&mut rig.burst, &mut rig.emit);
        best = best.min(start.elapsed().as_nanos() as f64 / payloads.len() as f64);
    }
    let count = |counter| rig.emit.counters.get(counter) as f64 / (ROUNDS * payloads.len()) as f64;
    let hits = count(Counter::SignatureHits);
    println!(
        "  {name:12} {best:8.0} ns/packet {:6.2} GB/s, candidates/packet {:.2}, hits/packet {hits:.2}",
        PAYLOAD as f64 / best,
        count(Counter::Candidates)
    );
    if let Some(expected) = per_packet {
        assert_eq!(
            hits, expected as f64,
            "{name} must hit as often as it was made to"
        );
    }
}

fn payloads(mut make: impl FnMut(&mut Numbers) -> Vec<u8>) -> Vec<Vec<u8>> {
    let mut numbers = Numbers(0xfeed);
    (0..PACKETS)
        .map(|_| {
            let mut bytes = make(&mut numbers);
            bytes.resize(PAYLOAD, b'-');
            bytes
        })
        .collect()
}

fn text(numbers: &mut Numbers) -> Vec<u8> {
    let mut text = String::new();
    while text.len() < PAYLOAD {
        let length = 2 + numbers.next(8);
        text += &numbers.word(length).to_uppercase();
        text.push(' ');
    }
    text.truncate(PAYLOAD);
    text.into_bytes()
}

fn all(program: &Arc<Program>, words: &[(String, String)]) {
    let strict = !words.is_empty();
    let none = strict.then_some(0);
    let random = payloads(|n| (0..PAYLOAD).map(|_| n.next(256) as u8).collect());
    measure("random", program, &random, None);
    measure("text", program, &payloads(text), None);
    if strict {
        let near = payloads(|n| {
            let firsts = (0..8).map(|_| words[n.next(words.len())].0.clone());
            firsts.collect::<Vec<_>>().join("..").into_bytes()
        });
        measure("near misses", program, &near, none);
    }
}

fn main() {
    for count in [10, 100, 1000, 5000] {
        println!("{count} generated rules");
        let (text, words) = generated(count);
        all(&compile(&text), &words);
    }
    if let Ok(path) = std::env::var("SLUICE_RULES") {
        println!("{path}");
        let text = std::fs::read_to_string(path).expect("SLUICE_RULES can be read");
        all(&compile(&text), &[]);
    }
}
