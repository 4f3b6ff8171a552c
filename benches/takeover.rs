//! How long traffic stays away when an engine dies, stops or loops, beside the hiccups that this
//! machine has anyhow.
//!
//! ```text
//! cargo bench --bench takeover [-- --quick] [-- --only WORD] [-- --rounds N] [-- --seconds N]
//! cargo bench --bench takeover -- --false-fences MINUTES
//! ```
//!
//! One thread sends, receives and reads the clock without a break: the longest pause between two
//! of its own turns is what the machine does to anybody. An outage is the time from the fault to
//! the arrival of the first frame that was sent after it. Meanwhile that thread goes before all
//! ordinary ones (SCHED_FIFO, where the system allows it): it is the instrument, and its own waits
//! for a processor are no outage. The engine holds more than 4 GiB, unless
//! `--quick`. A frame that came twice, changed or out of order ends the bench (tests/outage).
//!
//! `SLUICE_BINARY` names another program than the one built here; `SLUICE_BENCH_AROUND` a command
//! that is run with `begin` before each fault and with `end` when traffic is back, e.g. to have
//! other work on the machine rest meanwhile.

#[path = "../tests/outage/mod.rs"]
mod outage;
#[path = "../tests/wire/mod.rs"]
mod wire;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use outage::{Far, Kept};
use sluice::keeper::futex;
use sluice::port::memory::Shape;
use wire::{Scratch, Wire};

/// Milliseconds that a worker may be in one turn before its engine is given up.
const LIMIT_MS: &str = "20";
/// How long the loop is measured before each fault.
const CALM: Duration = Duration::from_millis(20);
/// Longest wait for traffic to come back.
const OUTAGE_MAX: Duration = Duration::from_secs(5);
/// Frames that an engine can hold when it dies: the bursts of both ports.
const IN_FLIGHT_MAX: u64 = 2 * 64;
/// Frames under way between interfaces, lost ones left out. All of them wait in one queue or another
/// where the far end outruns the engine, at some 4 us each on veth, and a frame that is sent after a
/// fault waits behind them, as it did before.
const WIRE_WINDOW: u64 = 128;

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

/// How often a fault happens.
#[derive(Clone, Copy)]
struct Rounds {
    most: usize,
    time: Duration,
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

/// What the command line asks for.
struct Asked {
    quick: bool,
    only: Option<String>,
    rounds: Option<usize>,
    /// No round begins after this time.
    seconds: Option<u64>,
    false_fences: Option<u64>,
}

impl Asked {
    fn read() -> Asked {
        let words: Vec<String> = std::env::args().collect();
        let after = |name: &str| {
            let place = words.iter().position(|word| word == name)?;
            words.get(place + 1).cloned()
        };
        Asked {
            quick: words.iter().any(|word| word == "--quick"),
            only: after("--only"),
            seconds: after("--seconds").and_then(|word| word.parse().ok()),
            rounds: after("--rounds").and_then(|word| word.parse().ok()),
            false_fences: after("--false-fences").and_then(|word| word.parse().ok()),
        }
    }

    fn wants(&self, name: &str) -> bool {
        self.only.as_deref().is_none_or(|word| name.contains(word))
    }

    fn rounds(&self, usual: usize) -> Rounds {
        let usual = if self.quick { 5 } else { usual };
        Rounds {
            most: self.rounds.unwrap_or(usual),
            time: self.seconds.map_or(Duration::MAX, Duration::from_secs),
        }
    }
}

/// Turns until something holds, and notes the pauses between turns.
fn turns(far: &mut Far, pauses: &mut Times, mut over: impl FnMut(&mut Far, Instant) -> bool) {
    let mut last = Instant::now();
    loop {
        far.turn();
        let now = Instant::now();
        pauses.0.push(now - last);
        last = now;
        if over(far, now) {
            return;
        }
    }
}

/// Where the time of an outage went, all from the fault on.
#[derive(Default)]
struct Outages {
    /// Until the kernel had told of the death.
    dead: Times,
    /// Until the keeper had the rings.
    taken: Times,
    /// Until the first frame arrived that was sent after the fault.
    back: Times,
    /// Pauses of the loop that measured it.
    pauses: Times,
    /// A frame's way under the same load, before the fault.
    way: Times,
}

impl Outages {
    fn measure(&mut self, far: &mut Far, kept: &Kept, engine: u32, begin: Instant) {
        let Some(board) = kept.board() else {
            return;
        };
        let (mut dead, mut taken) = (None, None);
        turns(far, &mut self.pauses, |far, now| {
            if dead.is_none() && futex::is_dead(board.post(engine, 0)) {
                dead = Some(now);
            }
            if taken.is_none() && board.holder().engine().is_none() {
                taken = Some(now);
            }
            far.marked().is_some() || now - begin > OUTAGE_MAX
        });
        let now = Instant::now();
        let since = |at: Option<Instant>| at.unwrap_or(now).duration_since(begin);
        self.dead.0.push(since(dead));
        self.taken.0.push(since(taken));
        self.back.0.push(since(far.marked()));
    }
}

/// Runs the command that others are to rest by.
fn around(word: &str) {
    if let Some(program) = std::env::var_os("SLUICE_BENCH_AROUND") {
        let status = std::process::Command::new(program).arg(word).status();
        assert!(status.is_ok_and(|status| status.success()), "{word}");
    }
}

/// Whether the calling thread goes before all ordinary ones.
fn prefer(wanted: bool) {
    let policy = if wanted {
        libc::SCHED_FIFO
    } else {
        libc::SCHED_OTHER
    };
    // SAFETY: all-zero is a valid sched_param, which outlives the call; without the right to do so
    // nothing changes.
    unsafe {
        let mut parameter: libc::sched_param = std::mem::zeroed();
        parameter.sched_priority = i32::from(wanted);
        libc::sched_setscheduler(0, policy | libc::SCHED_RESET_ON_FORK, &parameter);
    }
}

/// How long the keeper says that each takeover took, from the engine's death on.
fn takeovers(said: &str) -> Times {
    let number = |line: &str| {
        let (_, rest) = line.split_once("taken over in ")?;
        let (micros, _) = rest.split_once(' ')?;
        micros.parse().ok().map(Duration::from_micros)
    };
    Times(said.lines().filter_map(number).collect())
}

fn measure(name: &str, fault: Fault, rounds: Rounds, kept: Kept, far: &mut Far) {
    let start = Instant::now();
    kept.wait_ready(far);
    let (mut outages, mut pauses) = (Outages::default(), Times::default());
    for _ in 0..rounds.most {
        if start.elapsed() > rounds.time {
            break;
        }
        let pid = kept.await_engine(far);
        let engine = kept.board().and_then(|board| board.holder().engine());
        around("begin");
        prefer(true);
        let start = Instant::now();
        turns(far, &mut pauses, |_, now| now - start > CALM);
        let sent = Instant::now();
        far.mark();
        turns(far, &mut pauses, |far, now| {
            far.marked().is_some() || now - sent > OUTAGE_MAX
        });
        let came = far.marked().unwrap_or_else(Instant::now);
        outages.way.0.push(came.duration_since(sent));
        fault.happen(&kept, pid);
        let begin = Instant::now();
        far.mark();
        // Traffic that still comes through until a loop or a stop takes hold is no news.
        while kept.engine_with_ports() == Some(pid) && fault != Fault::Kill {
            far.turn();
            far.mark();
        }
        outages.measure(far, &kept, engine.unwrap_or(0), begin);
        prefer(false);
        around("end");
        far.run(Duration::from_millis(5));
        far.forgive();
    }
    // Before all else, so that runs can be put together, also one that ends badly.
    let every = outages.back.0.iter();
    let every: Vec<_> = every
        .map(|t| format!("{:.2}", t.as_secs_f64() * 1e3))
        .collect();
    println!("{name}: every outage, ms: {}", every.join(" "));
    kept.await_engine(far);
    far.settle();
    let mut own = takeovers(&kept.errors());
    let summary = kept.stop();
    let count = outages.back.0.len();
    let lost = summary["lost"].as_u64().unwrap_or(0);
    let bound = count as u64 * IN_FLIGHT_MAX;
    assert!(
        lost <= bound,
        "more was lost than can be in flight: {summary}"
    );
    assert_eq!(summary["unaccounted"], 0, "I1: {summary}");
    println!(
        "{name}: {count} rounds, 0 twice or out of order, lost {lost} (in flight at most {bound}) \
         of {}, unaccounted {}",
        summary["packets"], summary["unaccounted"],
    );
    for (what, times) in [
        ("traffic back", &mut outages.back),
        ("  the death told", &mut outages.dead),
        ("  the keeper has the rings", &mut outages.taken),
        ("  the keeper's own part", &mut own),
        ("a frame's way before", &mut outages.way),
        ("the loop's pauses meanwhile", &mut outages.pauses),
        ("the loop's pauses before", &mut pauses),
    ] {
        println!(
            "  {what:<30} ms p50 {:>7.3} p99 {:>7.3} p99.9 {:>7.3} max {:>7.3}",
            times.share(0.5),
            times.share(0.99),
            times.share(0.999),
            times.share(1.0),
        );
    }
}

fn memory(scratch: &Scratch) -> Far {
    let shape = Shape {
        slots: 2048,
        extra: 24_576,
        ..Shape::default()
    };
    Far::memory(&scratch.0.join("wire"), shape)
}

/// Load for so many minutes on a machine that is busier than it can be: two threads that only
/// compute on every core, beside the far end, the engine and its keeper. Nobody hangs, so nobody
/// may be fenced.
fn false_fences(minutes: u64) {
    let scratch = Scratch::new("takeover-busy");
    let mut far = memory(&scratch);
    let words = ["--keeper", "open", "--restart-pause", "50"];
    let kept = Kept::start(&scratch, &far.ports(), &words);
    kept.wait_ready(&mut far);
    let pid = kept.await_engine(&mut far);
    let cores = std::thread::available_parallelism().map_or(2, |count| count.get());
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 * cores {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        far.run(Duration::from_secs(60 * minutes));
        over.store(true, Ordering::Relaxed);
    });
    let same = kept.engine_with_ports() == Some(pid);
    let fences = kept.errors().matches("hangs").count();
    far.settle();
    let summary = kept.stop();
    println!(
        "false fences: {minutes} minutes of load with {} computing threads on {cores} cores, limit \
         50 ms: {fences} fences, {} engine throughout, {} frames, lost {}, unaccounted {}",
        2 * cores,
        if same { "one" } else { "NOT one" },
        summary["packets"],
        summary["lost"].as_u64().unwrap_or(0),
        summary["unaccounted"],
    );
    assert!(same && fences == 0, "an engine that works was fenced");
}

fn main() {
    let asked = Asked::read();
    if let Some(minutes) = asked.false_fences {
        return false_fences(minutes);
    }
    let mut words = vec!["--keeper", "open", "--hang-limit", LIMIT_MS];
    words.extend(["--restart-pause", "50"]);
    if !asked.quick {
        words.extend(["--set", "flows=20000000"]);
        words.extend(["--set", "stream.reassembly.memcap=1gb"]);
    }
    for (what, fault, rounds) in [
        ("kill -9", Fault::Kill, 100),
        ("SIGSTOP, limit 20 ms", Fault::Stop, 50),
        ("endless loop, limit 20 ms", Fault::Loop, 50),
    ] {
        let rounds = asked.rounds(rounds);
        let name = format!("{what}, memory");
        if asked.wants(&name) {
            let scratch = Scratch::new("takeover");
            let mut far = memory(&scratch);
            // The far end goes before all others, so it must not have the engine's processor.
            wire::pin(1);
            let kept = Kept::start(&scratch, &far.ports(), &words);
            wire::pin(0);
            measure(&name, fault, rounds, kept, &mut far);
        }
        let name = format!("{what}, AF_PACKET");
        if asked.wants(&name) && wire::possible(&name) {
            over_wire(&name, fault, rounds, &words);
        }
    }
}

fn over_wire(name: &str, fault: Fault, rounds: Rounds, words: &[&str]) {
    let scratch = Scratch::new("takeover-wire");
    let wire = Wire::bare();
    let mut far = Far::wire(&wire);
    far.window = WIRE_WINDOW;
    let ports = far.ports();
    let changes = wire::link_changes(&wire.client, || {
        // veth queues frames on their sender's processor, so each side keeps to one: keeper and
        // engine inherit theirs. The far end's is busy throughout.
        wire::pin(1);
        let kept = wire
            .appliance
            .inside(|| Kept::start(&scratch, &ports, words));
        wire::pin(0);
        measure(name, fault, rounds, kept, &mut far);
    });
    let flaps = wire::flaps(&changes);
    println!("  {flaps} link flaps");
    assert_eq!(flaps, 0, "{changes}");
}
