//! The whole engine on real traffic with real rules: processor time a packet of one lane over all
//! shared captures, merged and looped (engine/mix.rs), with all enabled rules of Emerging Threats
//! Open, a thousand of them, and none. Reading the capture is timed apart and taken off. Checked,
//! whatever the speed: every pass gives the alerts per sid, drops by reason and inspected bytes of
//! the first one; no table was too small; at most 1 % more packets than in one pass are invalid.
//!
//! `cargo bench --bench engine [-- --quick] [-- --packets N] [-- --rounds N] [-- --only NAME] [-- --each]
//! [-- --traffic FOLDER]`: there the merged captures stay, and are taken from the next time.

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "engine/frames.rs"]
mod frames;
#[path = "engine/mix.rs"]
mod mix;
#[path = "engine/renumber.rs"]
mod renumber;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use frames::{median, thread_time};
use mix::Mix;
use sluice::config::{Config, Mode};
use sluice::counters::{Counter, Counters};
use sluice::event::EventKind;
use sluice::matcher::Program;
use sluice::memory::heap::{Untouched, onto_huge_pages};
use sluice::replay::{Options, Outcome, Session};
use sluice::rules::signature::Class;
use sluice::time::cycles;

/// What Suricata 8.0.6 gave on a machine of this kind at 2.6 GHz with the enabled rules: packets per second of
/// processor time where packets average 375 and 1,008 bytes (issue 6).
const SURICATA: [f64; 2] = [239_000.0, 156_000.0];
/// Cycles a packet that are ten times as fast.
const GOALS: [f64; 2] = [1090.0, 1670.0];

/// What a run came to, to be compared between passes.
#[derive(PartialEq, Eq, Debug, Default)]
struct Facts {
    alerts: BTreeMap<u32, u64>,
    dropped: BTreeMap<&'static str, u64>,
    inspected: u64,
    bypassed: u64,
    anomalies: u64,
    /// Signatures that did not fit into what is kept of a window or transaction.
    lost: u64,
}

/// A mix in two files: one pass, and all of them.
struct Traffic {
    name: &'static str,
    once: PathBuf,
    looped: PathBuf,
    passes: u64,
    packets: u64,
    mean: f64,
    /// Position of its goal.
    row: usize,
}

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Writes a mix's two files, where they are not there from a time before.
fn traffic(folder: &Path, name: &'static str, mix: Option<&Mix>, packets: u64) -> Traffic {
    let once = folder.join(format!("{name}-once.pcapng"));
    let looped = folder.join(format!("{name}-looped.pcapng"));
    if let Some(mix) = mix {
        let passes = packets.div_ceil(mix.size().0.max(1) as u64).max(2);
        mix.write(&once, 0..1);
        mix.write(&looped, 0..passes);
    }
    let size = |path: &Path| {
        let (mut frames, mut bytes) = (0, 0);
        frames::each(path, |_, frame| {
            frames += 1;
            bytes += frame.len() as u64;
        });
        (frames, bytes)
    };
    let ((count, _), (packets, bytes)) = (size(&once), size(&looped));
    Traffic {
        name,
        once,
        looped,
        passes: packets / count,
        packets,
        mean: bytes as f64 / packets as f64,
        row: usize::from(name == "heavy"),
    }
}

/// The two mixes: those of an earlier run, or new ones.
fn mixes(shared: &Path, folder: &Path, program: &Arc<Program>, packets: u64) -> [Traffic; 2] {
    if folder.join("heavy-looped.pcapng").exists() {
        println!("the traffic in {} again", folder.display());
        return ["all", "heavy"].map(|name| traffic(folder, name, None, packets));
    }
    let mut all = Mix::read(shared);
    let gone = all.retain(folder, |twice, once| renumbers(twice, once, program));
    println!(
        "{gone} frames of captures whose second pass is not as the first are left out (addresses in payloads and in tunnels that are not renumbered)"
    );
    [
        traffic(folder, "all", Some(&all), packets),
        traffic(folder, "heavy", Some(&all.heavier(1008.0)), packets),
    ]
}

fn config(passes: u64, validate: bool, records: bool) -> Config {
    Config {
        mode: Mode::Tap,
        checksum_validation: validate,
        app_records: records,
        flows_max: 1 << 20,
        inspected_flows_max: (passes as u32).max(2) * (1 << 14),
        stream_memory: 1 << 30,
        window_memory: 1 << 31,
        app_memory: 1 << 30,
        ..Config::default()
    }
}

/// Replays a file; the events are taken on this thread. `touch`: the heap is put on huge pages, and
/// touched, as `sluice run` does.
fn replay(
    path: &Path,
    config: Config,
    program: &Arc<Program>,
    touch: Option<Untouched>,
) -> (Outcome, Facts) {
    let options = Options {
        config,
        cores: vec![1],
        key: 0x5eed,
        ..Options::default()
    };
    let session = Session::open(&[path], options, Arc::clone(program))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if let Some(touch) = touch {
        onto_huge_pages(touch);
    }
    let mut facts = Facts::default();
    let outcome = session.run(
        |event| {
            if event.kind == EventKind::Alert {
                // Lists of addresses may name a renumbered host.
                let rule = program.rule(event.signature);
                if let Some((signature, _)) = rule.filter(|(s, _)| s.class != Class::IpOnly) {
                    *facts.alerts.entry(signature.sid).or_default() += 1;
                }
            }
        },
        || {},
    );
    facts.dropped = outcome.dropped(true);
    facts.inspected = outcome.total(Counter::PrefilterBytes);
    facts.bypassed = outcome.total(Counter::PacketsBypassed);
    let anomalies = |counters: &Counters| {
        (0..=u8::MAX)
            .map(|code| counters.anomalies(code))
            .sum::<u64>()
    };
    facts.anomalies = outcome.counters.iter().map(|(_, c)| anomalies(c)).sum();
    assert_eq!(outcome.unaccounted(), 0, "I1");
    assert_eq!(outcome.flows_unended(), 0, "I8");
    facts.lost = outcome.total(Counter::DetectionStateLost);
    let full = [
        Counter::FlowsEndedEvicted,
        Counter::FlowsRefused,
        Counter::StreamHistoriesCut,
    ];
    let full = full.iter().any(|counter| outcome.total(*counter) > 0);
    assert!(!full, "some table was too small: {}", told(&outcome));
    (outcome, facts)
}

/// Counters that are not nought.
fn told(outcome: &Outcome) -> String {
    let counts = Counter::ALL
        .iter()
        .map(|counter| (counter, outcome.total(*counter)));
    let text = counts
        .filter(|(_, count)| *count > 0)
        .map(|(counter, count)| format!("\n  {counter:?} {count}"));
    text.collect::<String>() + &format!("\n  {:?}", outcome.dropped(true))
}

/// Processor time of reading a capture and nothing else.
fn reading(path: &Path) -> Duration {
    let start = thread_time();
    let mut sum = 0;
    // The pages of a capture are mapped when they are first touched, which no port does.
    frames::each(path, |_, frame| {
        sum += u64::from(frame.first().copied().unwrap_or(0));
    });
    std::hint::black_box(sum);
    thread_time() - start
}

/// Compares all passes with one.
fn compare(what: &str, once: &Facts, looped: &Facts, traffic: &Traffic) -> bool {
    let passes = traffic.passes;
    let mut equal = true;
    for sid in once
        .alerts
        .keys()
        .chain(looped.alerts.keys())
        .collect::<std::collections::BTreeSet<_>>()
    {
        let of = |facts: &Facts| facts.alerts.get(sid).copied().unwrap_or(0);
        if of(once) * passes != of(looped) {
            println!(
                "DIFFERS {what}: sid {sid}: {} a pass, {} in {passes}",
                of(once),
                of(looped)
            );
            equal = false;
        }
    }
    let times = |count: u64| count * passes;
    let dropped: BTreeMap<_, _> = once.dropped.iter().map(|(k, v)| (*k, times(*v))).collect();
    if dropped != looped.dropped {
        println!(
            "DIFFERS {what}: drops {:?} a pass, {:?}",
            once.dropped, looped.dropped
        );
        equal = false;
    }
    for (name, a, b) in [
        ("inspected bytes", once.inspected, looped.inspected),
        ("bypassed packets", once.bypassed, looped.bypassed),
        ("detection state lost", once.lost, looped.lost),
    ] {
        if times(a) != b {
            println!("DIFFERS {what}: {name} {a} a pass, {b} in {passes}");
            equal = false;
        }
    }
    let more = looped.anomalies.saturating_sub(times(once.anomalies));
    if more * 100 > traffic.packets {
        println!("DIFFERS {what}: {more} more invalid packets than {passes} passes have");
        equal = false;
    }
    equal
}

/// Whether two passes of a capture give twice what one gives.
fn renumbers(twice: &Path, once: &Path, program: &Arc<Program>) -> bool {
    let facts = |path| {
        let config = Config {
            checksum_validation: false,
            stream_memory: 64 << 20,
            ..common::small(Mode::Tap)
        };
        replay(path, config, program, None).1
    };
    let (once, twice) = (facts(once), facts(twice));
    let double = |counts: &BTreeMap<u32, u64>| -> Vec<(u32, u64)> {
        counts
            .iter()
            .map(|(sid, count)| (*sid, 2 * count))
            .collect()
    };
    double(&once.alerts) == twice.alerts.into_iter().collect::<Vec<_>>()
        && once.dropped.len() == twice.dropped.len()
        && once
            .dropped
            .iter()
            .all(|(reason, count)| twice.dropped.get(reason) == Some(&(2 * count)))
        && 2 * once.inspected == twice.inspected
        && 2 * once.lost == twice.lost
}

/// The captures that cost most by themselves, each in an engine of its own.
fn each(shared: &Path, program: &Arc<Program>) {
    let mut costs = Vec::new();
    let mut total = 0.0;
    for path in common::captures(&shared.join("captures")) {
        let config = Config {
            checksum_validation: false,
            app_records: false,
            ..common::small(Mode::Tap)
        };
        let options = Options {
            config,
            cores: vec![1],
            ..Options::default()
        };
        let Ok(session) = Session::open(&[&path], options, Arc::clone(program)) else {
            continue;
        };
        let outcome = session.run(|_| (), || {});
        let cycles = outcome.cpu.as_nanos() as f64 * cycles::per_nanosecond();
        total += cycles;
        costs.push((cycles, path, outcome));
    }
    costs.sort_by(|a, b| b.0.total_cmp(&a.0));
    println!(
        "\nthe captures that cost most, each in a new engine: M cycles (share), frames, cycles a frame, candidates, bytes scanned, cut"
    );
    for (cycles, path, outcome) in costs.iter().take(40) {
        let of = |counter| outcome.total(counter);
        let frames = of(Counter::PacketsReceived);
        println!(
            "  {:6.1} ({:4.1} %) {frames:6} {:8.0} {:8} {:9} {:7}  {}",
            cycles / 1e6,
            cycles / total * 100.0,
            cycles / frames as f64,
            of(Counter::Candidates),
            of(Counter::PrefilterBytes),
            of(Counter::VerifyBudget),
            path.file_name().unwrap_or_default().display(),
        );
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let after = |name: &str| {
        let place = arguments.iter().position(|argument| argument == name)?;
        arguments.get(place + 1).cloned()
    };
    let number = |name: &str, otherwise: u64| {
        after(name).map_or(otherwise, |text| text.parse().expect("a number"))
    };
    let only = after("--only");
    let packets = number("--packets", if quick { 100_000 } else { 1_000_000 });
    let rounds = number("--rounds", if quick { 1 } else { 5 });
    let Some(shared) = common::shared("bench engine") else {
        return;
    };
    let Some(loaded) = common::etopen::load(&shared) else {
        return;
    };
    if arguments.iter().any(|argument| argument == "--each") {
        return each(&shared, &loaded.program);
    }
    println!(
        "a cycle is one of the time-stamp counter: {:.2} a nanosecond here",
        cycles::per_nanosecond()
    );
    let nothing = common::rules("");
    let kept = after("--traffic").map(PathBuf::from);
    let own = std::env::temp_dir().join(format!("sluice-engine-{}", std::process::id()));
    let folder = kept.clone().unwrap_or_else(|| own.clone());
    let _gone_at_the_end = kept.is_none().then(|| Folder(own));
    std::fs::create_dir_all(&folder).expect("a folder for captures");
    let mixes = mixes(&shared, &folder, &loaded.program, packets);
    let mut failed = false;
    for traffic in &mixes {
        println!(
            "\n{}: {} packets in {} passes, {:.0} bytes a packet",
            traffic.name, traffic.packets, traffic.passes, traffic.mean
        );
        let rows: [(&str, &Arc<Program>, Config, f64); 3] = [
            (
                "ET Open",
                &loaded.program,
                config(traffic.passes, false, false),
                GOALS[traffic.row],
            ),
            (
                "ET Open, all records",
                &loaded.program,
                config(traffic.passes, false, true),
                GOALS[traffic.row],
            ),
            (
                "no rules, checksums",
                &nothing.program,
                config(traffic.passes, true, false),
                250.0,
            ),
        ];
        for (name, program, config, goal) in rows {
            let label = format!("{} {name}", traffic.name);
            if only
                .as_ref()
                .is_some_and(|only| !label.contains(only.as_str()))
            {
                continue;
            }
            let touch = Some(Untouched::Now);
            let (_, once) = replay(&traffic.once, config.clone(), program, touch);
            let (mut cycles, mut reads, mut shares) = (vec![], vec![], vec![]);
            for _ in 0..rounds {
                let read = reading(&traffic.looped).as_nanos() as f64;
                let (outcome, looped) = replay(&traffic.looped, config.clone(), program, touch);
                failed |= !compare(&label, &once, &looped, traffic);
                let received = outcome.total(Counter::PacketsReceived) as f64;
                let own = (outcome.cpu.as_nanos() as f64 - read) / received;
                cycles.push(own * cycles::per_nanosecond());
                reads.push(read / received * cycles::per_nanosecond());
                shares.push(outcome.total(Counter::PrefilterBytes) as f64 / received);
            }
            let (own, read) = (median(&mut cycles), median(&mut reads));
            let least = cycles.first().copied().unwrap_or(own);
            let mark = if own <= goal { "PASS" } else { "miss" };
            println!(
                "{mark} {label}: {own:.0} cycles a packet (least {least:.0}; goal {goal}: {:.2}), {:.2} a byte, reading {read:.0} more; \
                 {:.0} k packets/s a core, Suricata {:.0} k with ET Open: {:.1}x; {:.0} bytes scanned a packet",
                own / goal,
                own / traffic.mean,
                cycles::per_nanosecond() * 1e6 / own,
                SURICATA[traffic.row] / 1e3,
                cycles::per_nanosecond() * 1e9 / own / SURICATA[traffic.row],
                median(&mut shares),
            );
        }
    }
    assert!(!failed, "passes differ");
}
