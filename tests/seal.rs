//! I11: after start a worker neither allocates nor frees, in any layout, on real traffic.
//!
//! The allocator of this test binary counts, per thread, what an armed thread asks for, in C too.
//! Workers of an engine run on threads of their own that arm themselves after the first turn; the
//! test's thread plays the event writer and may allocate. Deliberately absent: system calls (strace
//! counts them), and the memory that is planned at start.

mod common;

use std::alloc::{GlobalAlloc, Layout as Size, System};
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use common::{captures, engine, rules, shared, small};
use sluice::cli::rules::Loaded;
use sluice::config::{Config, Mode};
use sluice::counters::Counter;
use sluice::lane::Worker;
use sluice::lane::build::Engine;
use sluice::layout::Layout;
use sluice::port::{Discard, Transmitter};

/// Call stacks kept for the message of a failure.
const TRACES_MAX: usize = 3;

thread_local! {
    static ARMED: Cell<bool> = const { Cell::new(false) };
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static FREES: Cell<u64> = const { Cell::new(0) };
}
static TRACES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Counting;

/// Counts one call of an armed thread, and keeps the stack of the first ones.
fn note(cell: &'static std::thread::LocalKey<Cell<u64>>) {
    if !ARMED.get() {
        return;
    }
    // What the trace itself allocates does not count.
    ARMED.set(false);
    cell.set(cell.get() + 1);
    if let Ok(mut traces) = TRACES.lock()
        && traces.len() < TRACES_MAX
    {
        let name = std::thread::current().name().unwrap_or("").to_string();
        let stack = std::backtrace::Backtrace::force_capture().to_string();
        traces.push(format!("{name}:\n{stack}"));
    }
    ARMED.set(true);
}

// SAFETY: every call goes on to the system's allocator unchanged; counting touches thread locals
// without destructors, so it is valid at any time of a thread's life.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, size: Size) -> *mut u8 {
        note(&ALLOCATIONS);
        // SAFETY: the caller owes what `System` asks.
        unsafe { System.alloc(size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, size: Size) {
        note(&FREES);
        // SAFETY: the caller owes what `System` asks.
        unsafe { System.dealloc(at, size) }
    }

    unsafe fn realloc(&self, at: *mut u8, size: Size, new_size: usize) -> *mut u8 {
        note(&ALLOCATIONS);
        // SAFETY: the caller owes what `System` asks.
        unsafe { System.realloc(at, size, new_size) }
    }
}

#[global_allocator]
static GLOBAL: Counting = Counting;

/// What C code asks for (the regex engine is in C) comes by these names, not by the allocator of
/// Rust; what Rust asks for passes both and counts twice.
#[cfg(target_env = "gnu")]
mod from_c {
    use super::{ALLOCATIONS, FREES, note};
    use std::ffi::c_void;

    // The C library's own functions, by the names that it keeps for those who replace the others.
    unsafe extern "C" {
        fn __libc_malloc(size: usize) -> *mut c_void;
        fn __libc_calloc(count: usize, size: usize) -> *mut c_void;
        fn __libc_realloc(at: *mut c_void, size: usize) -> *mut c_void;
        fn __libc_free(at: *mut c_void);
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn malloc(size: usize) -> *mut c_void {
        note(&ALLOCATIONS);
        // SAFETY: passed on unchanged.
        unsafe { __libc_malloc(size) }
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
        note(&ALLOCATIONS);
        // SAFETY: passed on unchanged.
        unsafe { __libc_calloc(count, size) }
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn realloc(at: *mut c_void, size: usize) -> *mut c_void {
        note(&ALLOCATIONS);
        // SAFETY: passed on unchanged.
        unsafe { __libc_realloc(at, size) }
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn free(at: *mut c_void) {
        if !at.is_null() {
            note(&FREES);
        }
        // SAFETY: passed on unchanged.
        unsafe { __libc_free(at) }
    }
}

/// What the armed threads of one run did.
#[derive(Default, Debug)]
struct Seen {
    allocations: u64,
    frees: u64,
    packets: u64,
    views: u64,
    events: u64,
    alerts: u64,
    rejects: u64,
    flows: u64,
}

/// Reaches for everything that keeps state: streams, flowbits, host bits, thresholds of all kinds,
/// regexes, byte tests, anomalies, rejects, drops of flows and packets.
const RULES: &str = r#"
alert ip any any -> any any (msg:"first of direction"; sid:1;)
alert tcp any any -> any any (msg:"flags"; flags:S; sid:2;)
alert tcp any any -> any any (msg:"stream"; flow:established; content:"HTTP/1."; sid:3;)
alert tcp any any -> any any (msg:"relative"; content:"GET "; content:"Host|3a|"; distance:0; sid:4;)
alert ip any any -> any any (msg:"limit"; dsize:>0; threshold:type limit,track by_src,count 3,seconds 60; sid:5;)
alert ip any any -> any any (msg:"threshold"; threshold:type threshold,track by_dst,count 5,seconds 60; dsize:>20; sid:6;)
alert ip any any -> any any (msg:"both"; threshold:type both,track by_both,count 2,seconds 60; dsize:>20; sid:16;)
alert udp any any -> any any (msg:"filter"; dsize:>4; detection_filter:track by_src,count 4,seconds 30; sid:7;)
alert tcp any any -> any any (msg:"bit"; flow:to_server,established; content:"GET"; flowbits:set,get; flowbits:noalert; sid:8;)
alert tcp any any -> any any (msg:"bit read"; flow:to_client,established; flowbits:isset,get; content:"200"; sid:9;)
alert udp any any -> any 53 (msg:"dns"; content:"|00 01 00 00|"; offset:4; depth:6; sid:10;)
alert icmp any any -> any any (msg:"icmp"; itype:8; sid:11;)
drop tcp any any -> any any (msg:"drop flow"; flow:established; content:"passw"; nocase; sid:12;)
drop udp any any -> any any (msg:"drop packet"; dsize:>900; sid:13;)
reject tcp any any -> any any (msg:"reject"; flow:established; content:"USER "; sid:14;)
reject udp any any -> any any (msg:"reject udp"; content:"version"; sid:20;)
alert ip any any -> any any (msg:"host bit"; content:"login"; nocase; xbits:set,login,track ip_src,expire 60; sid:15;)
alert ip any any -> any any (msg:"host bit read"; xbits:isset,login,track ip_src; dsize:>100; sid:17;)
alert tcp any any -> any any (msg:"regex"; pcre:"/[a-z]{4,8}\.(?:com|net|org)/i"; sid:18;)
alert tcp any any -> any any (msg:"number"; content:"|16 03|"; byte_test:2,>,100,1,relative; byte_jump:2,1,relative; isdataat:1,relative; sid:19;)
alert ip any any -> any any (msg:"decode"; decode-event:ipv4.frag_overlap; sid:21;)
alert tcp any any -> any any (msg:"stream event"; stream-event:pkt_invalid_timestamp; sid:22;)
"#;

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/demo.pcap")
}

/// The starter rules and the ones above.
fn all_rules() -> Loaded {
    let starter = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/starter.rules");
    let starter = std::fs::read_to_string(starter).unwrap();
    rules(&format!("{starter}\n{RULES}"))
}

fn sealed_engine(
    files: &[PathBuf],
    config: Config,
    layout: Layout,
    lanes: usize,
    loaded: &Loaded,
) -> Engine {
    let discard = || Transmitter::Discard(Discard::default());
    engine(files, config, layout, lanes, loaded, discard)
}

/// Turns a worker until it has finished; armed after the first turn. Gives allocations and frees.
fn turn(mut worker: Worker) -> (Worker, u64, u64) {
    worker.turn();
    ARMED.set(true);
    while !worker.state.finished {
        if !worker.turn() {
            std::thread::yield_now();
        }
    }
    ARMED.set(false);
    (worker, ALLOCATIONS.get(), FREES.get())
}

/// Runs an engine to its end while this thread takes the events.
fn run(mut engine: Engine) -> Seen {
    let threads: Vec<_> = engine
        .workers
        .drain(..)
        .map(|worker| {
            let builder = std::thread::Builder::new().name(worker.name.clone());
            builder.spawn(move || turn(worker)).unwrap()
        })
        .collect();
    let mut seen = Seen::default();
    loop {
        let ended = threads.iter().all(std::thread::JoinHandle::is_finished);
        let mut taken = 0;
        for queue in &engine.events {
            while let Some(event) = queue.take() {
                queue.give_back(event);
                taken += 1;
            }
        }
        if ended && taken == 0 {
            break;
        }
        std::thread::yield_now();
    }
    for thread in threads {
        let (worker, allocations, frees) = thread.join().unwrap();
        let total = |counter| worker.emit.counters.get(counter);
        seen.allocations += allocations;
        seen.frees += frees;
        seen.packets += total(Counter::PacketsReceived);
        seen.views += total(Counter::Views);
        seen.events += total(Counter::Events);
        seen.alerts += total(Counter::Alerts);
        seen.rejects += total(Counter::RejectRst) + total(Counter::RejectIcmp);
        seen.flows += total(Counter::FlowsCreated);
    }
    seen
}

/// Runs and asserts that nothing was allocated or freed.
fn sealed(what: &str, engine: Engine) -> Seen {
    let seen = run(engine);
    let traces = TRACES.lock().unwrap().clone();
    assert!(
        (seen.allocations, seen.frees) == (0, 0),
        "{what}: {} allocations and {} frees on worker threads; the first:\n{}",
        seen.allocations,
        seen.frees,
        traces.join("\n")
    );
    seen
}

/// The layouts and lane counts that every part of a worker appears in.
fn ways() -> [(Layout, usize); 4] {
    let cut = "decode+flow|match+verdict".parse().unwrap();
    [
        (Layout::FUSED, 1),
        (Layout::SPLIT, 1),
        (Layout::FUSED, 2),
        (cut, 2),
    ]
}

#[test]
fn the_demo_capture_repeated_allocates_and_frees_nothing() {
    let loaded = all_rules();
    let files = vec![demo(); 40];
    for mode in [Mode::Tap, Mode::Inline] {
        for (layout, lanes) in ways() {
            let what = format!("{mode:?} {layout} x{lanes}");
            let engine = sealed_engine(&files, small(mode), layout, lanes, &loaded);
            let seen = sealed(&what, engine);
            println!("{what}: {seen:?}");
            assert!(
                seen.packets > 10_000 && seen.views > 100 && seen.flows > 100,
                "{seen:?}"
            );
            assert!(seen.alerts > 100 && seen.events > seen.alerts, "{seen:?}");
        }
    }
}

#[test]
fn real_captures_allocate_and_free_nothing() {
    let Some(shared) = shared("real_captures_allocate_and_free_nothing") else {
        return;
    };
    let files = captures(&shared.join("captures"));
    let loaded = all_rules();
    for mode in [Mode::Tap, Mode::Inline] {
        for (layout, lanes) in ways() {
            let what = format!("{mode:?} {layout} x{lanes}, shared captures");
            let engine = sealed_engine(&files, small(mode), layout, lanes, &loaded);
            let seen = sealed(&what, engine);
            println!("{what}: {seen:?}");
            assert!(
                seen.packets > 50_000 && seen.flows > 1000 && seen.alerts > 1000,
                "{seen:?}"
            );
            assert_eq!(seen.rejects > 0, mode == Mode::Inline, "{seen:?}");
        }
    }
}

#[test]
fn pools_that_run_out_allocate_and_free_nothing() {
    let loaded = all_rules();
    let files = vec![demo(); 40];
    for mode in [Mode::Tap, Mode::Inline] {
        let config = Config {
            flows_max: 64,
            inspected_flows_max: 16,
            stream_memory: 1 << 16,
            defrag_memory: 1 << 16,
            contexts_per_lane: 128,
            ..small(mode)
        };
        let engine = sealed_engine(&files, config, Layout::FUSED, 1, &loaded);
        let seen = sealed(&format!("{mode:?}, small pools"), engine);
        assert!(seen.packets > 10_000, "{seen:?}");
    }
}

#[test]
fn the_allocator_of_this_test_counts() {
    let counted = std::thread::Builder::new().name("counted".to_string());
    let thread = counted.spawn(|| {
        ARMED.set(true);
        let grown = std::hint::black_box(Box::new(7));
        drop(grown);
        ARMED.set(false);
        drop(std::hint::black_box(Box::new(8)));
        let rust = (ALLOCATIONS.get(), FREES.get());
        ARMED.set(true);
        // SAFETY: C's malloc takes any size, and its free what that gave.
        unsafe { libc::free(std::hint::black_box(libc::malloc(7))) };
        ARMED.set(false);
        (rust, (ALLOCATIONS.get(), FREES.get()))
    });
    let ways = if cfg!(target_env = "gnu") { 2 } else { 1 };
    let (rust, all) = thread.unwrap().join().unwrap();
    assert_eq!(rust, (ways, ways));
    assert_eq!(all, (2 * ways - 1, 2 * ways - 1));
}
