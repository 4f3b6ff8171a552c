//! How long traffic stays away when an engine dies, stops or loops, beside the hiccups that this
//! machine has anyhow. `--quick` for a few rounds; `SLUICE_BENCH_STATE=1` gives the engine 4 GiB.
//!
//! One thread sends, receives and reads the clock without a break: the longest pause between two
//! of its own turns is what the machine does to anybody. An outage is the time from the fault to
//! the arrival of the first frame that was sent after it.

#[path = "../tests/outage/mod.rs"]
mod outage;
#[path = "../tests/wire/mod.rs"]
mod wire;

use std::time::{Duration, Instant};

use outage::{Far, Kept};
use sluice::port::memory::Shape;
use wire::{Scratch, Wire};

/// Times, sorted when they are asked for.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn share(&mut self, share: f64) -> f64 {
        self.0.sort_unstable();
        let last = self.0.len().saturating_sub(1);
        let at = ((self.0.len() as f64 * share).ceil() as usize)
            .saturating_sub(1)
            .min(last);
        self.0.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    }
}

/// What is done to an engine.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Kill,
    Stop,
    Loop,
}

impl Fault {
    fn happen(self, kept: &Kept, pid: u32) {
        match self {
            Fault::Kill => kept.kill(pid, libc::SIGKILL),
            Fault::Stop => kept.kill(pid, libc::SIGSTOP),
            Fault::Loop => outage::send_into_a_loop(pid, "lane0"),
        }
    }
}

/// Turns for a while and notes the pauses between turns.
fn turns(far: &mut Far, time: Duration, pauses: &mut Times) {
    let start = Instant::now();
    let mut last = start;
    while last.duration_since(start) < time {
        far.turn();
        let now = Instant::now();
        pauses.0.push(now - last);
        last = now;
    }
}

fn measure(name: &str, fault: Fault, rounds: usize, kept: Kept, far: &mut Far) {
    kept.wait_ready(far);
    let (mut outages, mut pauses) = (Times::default(), Times::default());
    for _ in 0..rounds {
        let pid = kept.await_engine(far);
        turns(far, Duration::from_millis(20), &mut pauses);
        fault.happen(&kept, pid);
        let begin = Instant::now();
        far.mark();
        // Traffic that still comes through until a loop or a stop takes hold is no news.
        while kept.engine_with_ports() == Some(pid) && fault != Fault::Kill {
            far.turn();
            far.mark();
        }
        while far.marked().is_none() && begin.elapsed() < Duration::from_secs(5) {
            far.turn();
        }
        outages
            .0
            .push(far.marked().map_or(begin.elapsed(), |at| at - begin));
        far.run(Duration::from_millis(5));
        far.forgive();
    }
    kept.await_engine(far);
    far.settle();
    let summary = kept.stop();
    let count = outages.0.len();
    println!(
        "{name}: {count} rounds, traffic back after ms p50 {:.3} p99 {:.3} max {:.3}; the loop's \
         own pauses p99.9 {:.3} max {:.3}; lost {} of {}, unaccounted {}",
        outages.share(0.5),
        outages.share(0.99),
        outages.share(1.0),
        pauses.share(0.999),
        pauses.share(1.0),
        summary["lost"].as_u64().unwrap_or(0),
        summary["packets"],
        summary["unaccounted"],
    );
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let rounds = if quick { 5 } else { 100 };
    let mut words = vec!["--keeper", "open", "--hang-limit", "20"];
    if std::env::var_os("SLUICE_BENCH_STATE").is_some() {
        words.extend([
            "--set",
            "flows=20000000",
            "--set",
            "stream.reassembly.memcap=1gb",
        ]);
    }
    let memory = |scratch: &Scratch| {
        let shape = Shape {
            slots: 2048,
            extra: 24_576,
            ..Shape::default()
        };
        Far::memory(&scratch.0.join("wire"), shape)
    };
    for (name, fault, rounds) in [
        ("kill -9, memory", Fault::Kill, rounds),
        ("SIGSTOP, limit 20 ms, memory", Fault::Stop, rounds / 2),
        ("endless loop, limit 20 ms, memory", Fault::Loop, rounds / 2),
    ] {
        let scratch = Scratch::new("takeover");
        let mut far = memory(&scratch);
        let kept = Kept::start(&scratch, &far.ports(), &words);
        measure(name, fault, rounds, kept, &mut far);
    }
    if wire::possible("kill -9, AF_PACKET") {
        let scratch = Scratch::new("takeover-wire");
        let wire = Wire::bare();
        wire::pin(0);
        let mut far = Far::wire(&wire);
        let ports = far.ports();
        let kept = wire
            .appliance
            .inside(|| Kept::start(&scratch, &ports, &words));
        measure("kill -9, AF_PACKET", Fault::Kill, rounds, kept, &mut far);
    }
}
