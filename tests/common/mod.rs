//! What tests share: where the shared data is, rule sets, and a replay that keeps all results.
#![allow(dead_code)]

pub mod etopen;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sluice::cli::rules::Loaded;
use sluice::config::{Config, Mode};
use sluice::counters::Counter;
use sluice::decode::LinkType;
use sluice::event::{Event, EventKind};
use sluice::lane::build::{Engine, Plan};
use sluice::layout::Layout;
use sluice::packet::Kind;
use sluice::port::capture::spread::Spread;
use sluice::port::capture::{Capture, CaptureReader};
use sluice::port::{Receiver, Transmitter};
use sluice::replay::{Options, Outcome, Session};

/// The shared folder, or `None` after a loud word (and a failure where a skip is one).
pub fn shared(test: &str) -> Option<PathBuf> {
    let path = std::env::var_os("SLUICE_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"),
        PathBuf::from,
    );
    if path.join("conformance").is_dir() {
        return Some(path);
    }
    assert!(
        std::env::var_os("SLUICE_REQUIRE_SHARED").is_none(),
        "{test}: SLUICE_REQUIRE_SHARED is set and {} is absent",
        path.display()
    );
    eprintln!(
        "SKIPPED: {test}: no shared data at {} (set SLUICE_SHARED)",
        path.display()
    );
    None
}

/// Files of a folder with an extension that begins with "pcap", sorted.
pub fn captures(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|e| e.to_string_lossy().starts_with("pcap"))
        })
        .collect();
    found.sort();
    found
}

/// A rule set from text; every rule must load.
pub fn rules(text: &str) -> Loaded {
    let loaded = sluice::cli::rules::load_text("test.rules", text, &[])
        .unwrap_or_else(|failure| panic!("{}", failure.text));
    assert!(loaded.unsupported.is_empty(), "{:?}", loaded.unsupported);
    loaded
}

/// Small tables, so that thousands of sessions start quickly.
pub fn small(mode: Mode) -> Config {
    Config {
        mode,
        flows_max: 1 << 13,
        inspected_flows_max: 1 << 12,
        stream_memory: 16 << 20,
        app_memory: 4 << 20,
        defrag_memory: 4 << 20,
        contexts_per_lane: 2048,
        ..Config::default()
    }
}

/// One fact of a replay; sorted lists of these are compared.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fact {
    /// Packet number, sid, blocked or not.
    Alert(u64, u32, bool),
    /// Packet number, reason.
    Drop(u64, &'static str),
    /// Tuple, packets and bytes per direction.
    Flow(String, [u32; 2], [u64; 2]),
    /// Packet number, anomaly code.
    Anomaly(u64, u8),
}

/// All facts of a replay, sorted, and its outcome; I1, I5, I6 and I8 are asserted.
pub fn facts(captures: &[PathBuf], options: Options, loaded: &Loaded) -> (Vec<Fact>, Outcome) {
    let what = format!(
        "{} files from {:?}, {} x{} burst {}",
        captures.len(),
        captures.first(),
        options.layout,
        options.lanes,
        options.burst_max
    );
    keep_memory();
    let session = Session::open(captures, options, Arc::clone(&loaded.program))
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    let mut facts = Vec::new();
    let mut events = 0;
    let outcome = session.run(
        |event| {
            events += 1;
            facts.extend(Fact::of(event, loaded));
        },
        || {},
    );
    facts.sort();
    let total = |counter| outcome.total(counter);
    assert_eq!(outcome.unaccounted(), 0, "I1: {what}");
    assert_eq!(outcome.contexts_lost, 0, "I5: {what}");
    assert_eq!(total(Counter::Events), events, "I6: {what}");
    assert_eq!(total(Counter::EventsLost), 0, "I6: a replay waits: {what}");
    assert_eq!(outcome.flows_unended(), 0, "I8: {what}");
    (facts, outcome)
}

/// Asks the C library to keep what is freed: thousands of sessions take the same memory one after
/// another, and the kernel's zeroing of it would take half of all time.
fn keep_memory() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    #[cfg(target_env = "gnu")]
    ONCE.call_once(|| {
        // SAFETY: both calls set numbers of the allocator, under its own lock.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, 32 << 20);
            libc::mallopt(libc::M_TRIM_THRESHOLD, 1 << 30);
        }
    });
}

impl Fact {
    /// What an event says that no way to run may change.
    pub fn of(event: &Event, loaded: &Loaded) -> Option<Fact> {
        match event.kind {
            EventKind::Alert => {
                let signature = loaded.ruleset.signature(event.signature);
                let blocked = event.action != sluice::event::AlertAction::Allowed;
                let sid = signature.map_or(0, |s| s.sid);
                Some(Fact::Alert(event.order, sid, blocked))
            }
            EventKind::Drop => {
                let reason = event.reason.map_or("none", |r| r.name());
                Some(Fact::Drop(event.order, reason))
            }
            EventKind::Flow => {
                let tuple = format!("{:?}", event.tuple);
                let values = &event.values;
                Some(Fact::Flow(tuple, values.packets, values.bytes))
            }
            EventKind::Anomaly => {
                // The end of a flow without a connection is told when the sweep finds it.
                let swept = event.view == Kind::FlowEnd && event.tuple.protocol != 6;
                let order = if swept { 0 } else { event.order };
                Some(Fact::Anomaly(order, event.anomaly))
            }
            EventKind::App
            | EventKind::Packet
            | EventKind::File
            | EventKind::FilePiece
            | EventKind::Arp
            | EventKind::Frame => None,
        }
    }
}

/// Whether some table, pool or list was too small for a replay: what is displaced then depends on
/// how tables are divided among lanes, so such a replay says nothing about independence.
pub fn pressed(outcome: &Outcome) -> bool {
    let counters = [
        Counter::FlowsEndedEvicted,
        Counter::FlowsRefused,
        Counter::DetectionStateLost,
        Counter::StreamHistoriesCut,
    ];
    let reasons = ["stream_memory", "ip_frag_memory", "flow_table_full"];
    counters.iter().any(|counter| outcome.total(*counter) != 0)
        || [true, false].iter().any(|notional| {
            let dropped = outcome.dropped(*notional);
            reasons.iter().any(|reason| dropped.contains_key(reason))
        })
}

/// Scales of [`tables`]. At the second one few captures of their own press any table.
pub const SCALES: u32 = 4;

/// Tables for captures of `bytes` on so many lanes: each lane could take all of it. `scale` counts
/// up where some table was too small all the same. An engine's memory is cleared and touched before
/// it runs, which takes longer than a small capture: the first scale is for those.
pub fn tables(mode: Mode, bytes: u64, lanes: usize, scale: u32) -> Config {
    let lanes = lanes as u64;
    let memory = (4 * bytes).next_multiple_of(1 << 16).max(1 << 18);
    Config {
        mode,
        flows_max: ((1 << (11 + 3 * scale)) * lanes) as u32,
        inspected_flows_max: ((1 << (6 + 3 * scale)) * lanes) as u32,
        stream_memory: memory * lanes,
        defrag_memory: memory * lanes,
        contexts_per_lane: 512,
        ..Config::default()
    }
}

/// An engine over captures whose workers the caller turns or starts: what `Session` builds, with
/// any transmitter.
pub fn engine(
    files: &[PathBuf],
    config: Config,
    layout: Layout,
    lanes: usize,
    loaded: &Loaded,
    transmitter: impl Fn() -> Transmitter,
) -> Engine {
    let capture = Capture::open(files).unwrap();
    let spread = if lanes > 1 {
        Spread::RoundRobin
    } else {
        Spread::First
    };
    let link = |number| LinkType::from_pcap(number) as u8;
    let reader = |lane| {
        let reader = CaptureReader::new(Arc::clone(&capture), link, spread, lane, lanes);
        vec![Receiver::Capture(Box::new(reader))]
    };
    Engine::build(Plan {
        config: Arc::new(Config {
            lanes: lanes as u8,
            ..config
        }),
        layout,
        burst_max: 64,
        ordered: true,
        live: false,
        receivers: (0..lanes).map(reader).collect(),
        transmitters: (0..lanes).map(|_| vec![transmitter()]).collect(),
        program: Arc::clone(&loaded.program),
        // A turn in a test has nobody beside it who takes events: all of a burst's must have room.
        events_per_worker: 256,
        rss: None,
        cores: Vec::new(),
        key: 11,
    })
    .unwrap()
}
