//! The ring against its peers: hop rate by burst, hop latency, and the floor the machine sets.
//!
//! What is measured: our Line ring, rtrb by chunks, rtrb item by item, and crossbeam's ArrayQueue,
//! with 8-byte handles, two pinned threads, rounds interleaved (A B C D A B C D ...), medians; and
//! once more with the 128-byte contexts that a handle names, which is what a hop costs in a lane.
//! What is not: waiting and waking. Both ends spin, as workers on cores of their own do.
//! `--quick` is CI's: fewer rounds, the same checks. Every run checks what arrived.

use sluice::queue;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Items each ring is asked to hold. Small on purpose: rings live in L2 (DESIGN.md 1).
const CAPACITY_ITEMS: usize = 1024;
/// Contexts of a lane: more than any ring holds, so none is written while it is in flight.
const CONTEXTS: usize = 4096;
const BURSTS: [usize; 4] = [1, 8, 32, 64];
/// A worker takes what is there, up to this, however it was sent.
const RECEIVE_MAX: usize = 64;

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let plan = if quick {
        Plan {
            rounds: 3,
            items: 400_000,
            hops: 20_000,
        }
    } else {
        Plan {
            rounds: 9,
            items: 4_000_000,
            hops: 200_000,
        }
    };
    println!(
        "queue: two pinned threads, {} rounds interleaved, medians",
        plan.rounds
    );
    for burst in BURSTS {
        report_rates(&plan, &format!("hop rate, burst {burst}"), burst, false);
    }
    report_rates(&plan, "hop rate with 128-byte contexts, burst 32", 32, true);
    report_latency(&plan);
}

struct Plan {
    rounds: usize,
    items: u64,
    hops: usize,
}

/// One end each of any queue here. `send` takes what fits from the front and keeps the rest.
trait Sender: Send + 'static {
    fn send(&mut self, items: &mut Vec<u64>);
}
trait Receiver: Send + 'static {
    fn receive(&mut self, out: &mut Vec<u64>, max: usize);
}
type Ends = (Box<dyn Sender>, Box<dyn Receiver>);

impl Sender for queue::Producer<u64> {
    fn send(&mut self, items: &mut Vec<u64>) {
        self.push_burst(items);
    }
}
impl Receiver for queue::Consumer<u64> {
    fn receive(&mut self, out: &mut Vec<u64>, max: usize) {
        self.pop_burst(out, max);
    }
}

struct Chunks<End>(End);
impl Sender for Chunks<rtrb::Producer<u64>> {
    fn send(&mut self, items: &mut Vec<u64>) {
        // The write index is asked for only when the cached room does not do: rtrb's own way.
        let count = items.len();
        let room = match self.0.write_chunk_uninit(count) {
            Ok(chunk) => {
                chunk.fill_from_iter(items.drain(..));
                return;
            }
            Err(rtrb::chunks::ChunkError::TooFewSlots(room)) => room,
        };
        if let Ok(chunk) = self.0.write_chunk_uninit(room) {
            chunk.fill_from_iter(items.drain(..room));
        }
    }
}
impl Receiver for Chunks<rtrb::Consumer<u64>> {
    fn receive(&mut self, out: &mut Vec<u64>, max: usize) {
        let count = self.0.slots().min(max);
        if let Ok(chunk) = self.0.read_chunk(count) {
            let (first, second) = chunk.as_slices();
            out.extend_from_slice(first);
            out.extend_from_slice(second);
            chunk.commit_all();
        }
    }
}

struct Single<End>(End);
impl Sender for Single<rtrb::Producer<u64>> {
    fn send(&mut self, items: &mut Vec<u64>) {
        let mut sent = 0;
        while sent < items.len() && self.0.push(items[sent]).is_ok() {
            sent += 1;
        }
        items.drain(..sent);
    }
}
impl Receiver for Single<rtrb::Consumer<u64>> {
    fn receive(&mut self, out: &mut Vec<u64>, max: usize) {
        while out.len() < max
            && let Ok(item) = self.0.pop()
        {
            out.push(item);
        }
    }
}

type Array = Arc<crossbeam_queue::ArrayQueue<u64>>;
impl Sender for Array {
    fn send(&mut self, items: &mut Vec<u64>) {
        let mut sent = 0;
        while sent < items.len() && self.push(items[sent]).is_ok() {
            sent += 1;
        }
        items.drain(..sent);
    }
}
impl Receiver for Array {
    fn receive(&mut self, out: &mut Vec<u64>, max: usize) {
        while out.len() < max
            && let Some(item) = self.pop()
        {
            out.push(item);
        }
    }
}

type Peer = (&'static str, fn() -> Ends);

/// The competitors; ours first, because the ratios are against it.
const PEERS: [Peer; 4] = [
    ("line (ours)", || {
        let (producer, consumer) = queue::ring(CAPACITY_ITEMS);
        (Box::new(producer), Box::new(consumer))
    }),
    ("rtrb chunks", || {
        let (producer, consumer) = rtrb::RingBuffer::new(CAPACITY_ITEMS);
        (Box::new(Chunks(producer)), Box::new(Chunks(consumer)))
    }),
    ("rtrb push/pop", || {
        let (producer, consumer) = rtrb::RingBuffer::new(CAPACITY_ITEMS);
        (Box::new(Single(producer)), Box::new(Single(consumer)))
    }),
    ("crossbeam array", || {
        let queue: Array = Arc::new(crossbeam_queue::ArrayQueue::new(CAPACITY_ITEMS));
        (Box::new(queue.clone()), Box::new(queue))
    }),
];

/// The 128 bytes that a handle names, as two lines of words.
#[repr(align(128))]
struct Context([AtomicU64; 16]);

impl Context {
    fn fill(&self, value: u64) {
        for word in &self.0 {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// Reads both lines and writes a word in each, as a stage does.
    fn annotate(&self) -> u64 {
        let sum = self
            .0
            .iter()
            .map(|w| w.load(Ordering::Relaxed))
            .fold(0, u64::wrapping_add);
        self.0[3].store(sum, Ordering::Relaxed);
        self.0[11].store(sum, Ordering::Relaxed);
        sum
    }
}

fn contexts() -> Arc<[Context]> {
    (0..CONTEXTS).map(|_| Context(Default::default())).collect()
}

fn report_rates(plan: &Plan, title: &str, burst: usize, with_contexts: bool) {
    let mut rates = vec![Vec::new(); PEERS.len()];
    let shared = with_contexts.then(contexts);
    for _ in 0..plan.rounds {
        for (peer, rates) in PEERS.iter().zip(&mut rates) {
            rates.push(rate(peer.1(), plan.items, burst, shared.clone()));
        }
    }
    println!("{title} (M items/s)");
    let medians: Vec<f64> = rates.into_iter().map(median).collect();
    for ((name, _), rate) in PEERS.iter().zip(&medians) {
        println!(
            "  {name:16} {rate:8.1}   ours/this {:6.2}",
            medians[0] / rate
        );
    }
}

/// Spins, and after a while of nothing gives the core up: a neighbour may have the other end's.
#[derive(Default)]
struct Idle(u32);

impl Idle {
    fn pause(&mut self, nothing_moved: bool) {
        self.0 = if nothing_moved { self.0 + 1 } else { 0 };
        if nothing_moved {
            std::hint::spin_loop();
        }
        if self.0 > 20_000 {
            std::thread::yield_now();
            self.0 = 0;
        }
    }
}

/// Items a second, in millions, from the start line until the consumer has the last one.
fn rate(ends: Ends, items: u64, burst: usize, contexts: Option<Arc<[Context]>>) -> f64 {
    let (mut sender, mut receiver) = ends;
    let go = Arc::new(AtomicU64::new(0));
    let theirs = (go.clone(), contexts.clone());
    let consumer = std::thread::spawn(move || {
        pin_to(1);
        let (go, contexts) = theirs;
        go.store(1, Ordering::Release);
        let mut out = Vec::with_capacity(RECEIVE_MAX);
        let mut expected = 0;
        let mut idle = Idle::default();
        while expected < items {
            out.clear();
            receiver.receive(&mut out, RECEIVE_MAX);
            idle.pause(out.is_empty());
            for &item in &out {
                assert_eq!(item, expected, "order");
                if let Some(contexts) = &contexts {
                    let sum = contexts[item as usize % CONTEXTS].annotate();
                    assert_eq!(sum, item.wrapping_mul(16), "context");
                }
                expected += 1;
            }
        }
    });
    pin_to(0);
    while go.load(Ordering::Acquire) == 0 {
        std::hint::spin_loop();
    }
    let start = Instant::now();
    let mut pending = Vec::with_capacity(burst);
    let mut next = 0;
    let mut idle = Idle::default();
    while next < items || !pending.is_empty() {
        if pending.is_empty() {
            let end = items.min(next + burst as u64);
            pending.extend(next..end);
            if let Some(contexts) = &contexts {
                pending
                    .iter()
                    .for_each(|&item| contexts[item as usize % CONTEXTS].fill(item));
            }
            next = end;
        }
        let before = pending.len();
        sender.send(&mut pending);
        idle.pause(pending.len() == before);
        assert!(
            pending.is_empty() || !consumer.is_finished(),
            "the consumer gave up"
        );
    }
    consumer.join().expect("the consumer checks what it got");
    items as f64 / start.elapsed().as_secs_f64() / 1e6
}

fn report_latency(plan: &Plan) {
    let scale = nanoseconds_per_tick();
    let mut p50 = vec![Vec::new(); PEERS.len() + 1];
    let mut p99 = p50.clone();
    for _ in 0..plan.rounds {
        for which in 0..=PEERS.len() {
            let mut samples = match PEERS.get(which) {
                Some((_, make)) => ping_pong(make(), make(), plan.hops),
                None => ping_pong_line(plan.hops),
            };
            samples.sort_unstable();
            let at = |share: f64| samples[(samples.len() as f64 * share) as usize] as f64;
            p50[which].push(at(0.50) * scale / 2.0);
            p99[which].push(at(0.99) * scale / 2.0);
        }
    }
    println!("hop latency, RTT/2 (ns)");
    let names = PEERS.iter().map(|peer| peer.0).chain(["raw line (floor)"]);
    let p50: Vec<f64> = p50.into_iter().map(median).collect();
    let p99: Vec<f64> = p99.into_iter().map(median).collect();
    for (which, name) in names.enumerate() {
        let over = p50[which] / p50[PEERS.len()];
        println!(
            "  {name:16} p50 {:6.0}  p99 {:6.0}   over floor {over:5.2}",
            p50[which], p99[which]
        );
    }
}

/// Round trips of one item through two queues, in ticks each.
fn ping_pong(there: Ends, back: Ends, hops: usize) -> Vec<u64> {
    let (mut send, mut receive_there) = there;
    let (mut send_back, mut receive) = back;
    let echo = std::thread::spawn(move || {
        pin_to(1);
        let mut item = Vec::with_capacity(1);
        for _ in 0..hops {
            while item.is_empty() {
                receive_there.receive(&mut item, 1);
            }
            while !item.is_empty() {
                send_back.send(&mut item);
            }
        }
    });
    pin_to(0);
    let mut samples = Vec::with_capacity(hops);
    let mut item = Vec::with_capacity(1);
    for hop in 0..hops as u64 {
        let start = ticks();
        item.push(hop);
        while !item.is_empty() {
            send.send(&mut item);
        }
        while item.is_empty() {
            receive.receive(&mut item, 1);
        }
        samples.push(ticks() - start);
        assert_eq!(item.pop(), Some(hop));
    }
    echo.join().expect("the echo ends");
    samples
}

/// The least a hop can cost here: one line that two cores write in turn.
fn ping_pong_line(hops: usize) -> Vec<u64> {
    let line = Arc::new(Context(Default::default()));
    let theirs = line.clone();
    let echo = std::thread::spawn(move || {
        pin_to(1);
        for hop in 0..hops as u64 {
            while theirs.0[0].load(Ordering::Acquire) != 2 * hop + 1 {}
            theirs.0[0].store(2 * hop + 2, Ordering::Release);
        }
    });
    pin_to(0);
    let mut samples = Vec::with_capacity(hops);
    for hop in 0..hops as u64 {
        let start = ticks();
        line.0[0].store(2 * hop + 1, Ordering::Release);
        while line.0[0].load(Ordering::Acquire) != 2 * hop + 2 {}
        samples.push(ticks() - start);
    }
    echo.join().expect("the echo ends");
    samples
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Pins the calling thread; a machine with fewer cores measures time slices, and says so.
fn pin_to(core: usize) {
    // SAFETY: the set is a plain bit array, zeroed and then written by libc's own macro; the call
    // reads it and touches nothing else.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set)
    };
    if result != 0 {
        println!("  (core {core} is not ours: this figure is of unpinned threads)");
    }
}

#[cfg(target_arch = "x86_64")]
fn ticks() -> u64 {
    // SAFETY: RDTSC is part of every x86-64 and only reads the counter.
    unsafe { std::arch::x86_64::_rdtsc() }
}

#[cfg(not(target_arch = "x86_64"))]
fn ticks() -> u64 {
    use std::sync::OnceLock;
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

fn nanoseconds_per_tick() -> f64 {
    let (start, clock) = (ticks(), Instant::now());
    while clock.elapsed().as_millis() < 50 {
        std::hint::spin_loop();
    }
    clock.elapsed().as_nanos() as f64 / (ticks() - start) as f64
}
