//! I10: alerts, verdicts, drops, anomalies and flows do not depend on layout, lanes, burst size or on
//! how packets were spread over lanes; and I1, I5, I6, I8 hold in all of them, on every capture there
//! is, each by itself and all in one session.
//!
//! Deliberately absent: tables under pressure. Each lane has its part of the tables, so what gives
//! way when they are full depends on the number of lanes; a capture for which they turn out to be
//! too small is run again with larger ones.

mod common;
mod decode_rig;

use sluice::cli::rules::Loaded;
use sluice::packet::Tuple;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use common::{Fact, SCALES, captures, facts, pressed, rules, shared, tables};
use sluice::config::{Config, Mode};
use sluice::counters::Counter;
use sluice::layout::Layout;
use sluice::port::capture::spread::Spread;
use sluice::replay::Options;

/// Rules that reach for everything that could depend on order: streams, flow state, thresholds that
/// cross flows, host bits, first-of-direction rules, reassembled datagrams.
const RULES: &str = r#"
alert ip any any -> any any (msg:"every flow direction once"; sid:1;)
alert tcp any any -> any any (msg:"syn"; flags:S; sid:2;)
alert tcp any any -> any any (msg:"stream"; flow:established; content:"HTTP/1."; sid:3;)
alert tcp any any -> any any (msg:"relative"; content:"GET "; content:"Host|3a|"; distance:0; sid:4;)
alert ip any any -> any any (msg:"limit"; dsize:>0; threshold:type limit,track by_src,count 3,seconds 60; sid:5;)
alert ip any any -> any any (msg:"every fifth"; threshold:type threshold,track by_dst,count 5,seconds 60; dsize:>20; sid:6;)
alert udp any any -> any any (msg:"filter"; dsize:>4; detection_filter:track by_src,count 4,seconds 30; sid:7;)
alert tcp any any -> any any (msg:"bit"; flow:to_server,established; content:"GET"; flowbits:set,get; flowbits:noalert; sid:8;)
alert tcp any any -> any any (msg:"bit read"; flow:to_client,established; flowbits:isset,get; content:"200"; sid:9;)
alert udp any any -> any 53 (msg:"dns"; content:"|00 01 00 00|"; offset:4; depth:6; sid:10;)
alert icmp any any -> any any (msg:"icmp"; itype:8; sid:11;)
drop tcp any any -> any any (msg:"drop flow"; flow:established; content:"passw"; nocase; sid:12;)
drop udp any any -> any any (msg:"drop packet"; dsize:>900; sid:13;)
reject tcp any any -> any any (msg:"reject"; flow:established; content:"USER "; sid:14;)
alert ip any any -> any any (msg:"host bit"; content:"login"; nocase; xbits:set,login,track ip_src,expire 60; sid:15;)
alert ip any any -> any any (msg:"host bit read"; xbits:isset,login,track ip_src; dsize:>100; sid:16;)
alert tcp any any -> any any (msg:"anomaly"; stream-event:pkt_invalid_timestamp; sid:17;)
alert ip any any -> any any (msg:"decode"; decode-event:ipv4.frag_overlap; sid:18;)
"#;

/// Events between a worker and the test: few, so that workers wait for it now and then.
const EVENTS: usize = 48;
/// Captures at most that may be excused from several lanes; see [`crossing`].
const CROSSING_MAX: usize = 8;
/// How long a run with tiny pools may take before it counts as one that never ends.
const ENDLESS: Duration = Duration::from_secs(60);

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/demo.pcap")
}

/// A way to run: layout, lanes, burst, spread.
type Way = (Layout, usize, usize, Spread);

/// The plain way, that all others are compared with.
const PLAIN: Way = (Layout::FUSED, 1, 64, Spread::First);

fn options(mode: Mode, bytes: u64, scale: u32, way: Way) -> Options {
    let (layout, lanes, burst_max, spread) = way;
    Options {
        config: tables(mode, bytes, lanes, scale),
        layout,
        lanes,
        burst_max,
        spread,
        // Of the capture, so that a failure comes again.
        key: bytes | 1,
        events_per_worker: EVENTS,
        ..Options::default()
    }
}

fn size(files: &[PathBuf]) -> u64 {
    files.iter().map(|f| f.metadata().unwrap().len()).sum()
}

fn difference(expected: &[Fact], got: &[Fact]) -> Option<String> {
    if expected == got {
        return None;
    }
    let without = |these: &[Fact], others: &[Fact]| {
        let lacks = |fact: &&Fact| others.binary_search(fact).is_err();
        let found: Vec<Fact> = these.iter().filter(lacks).cloned().collect();
        let few = found.iter().take(3).collect::<Vec<_>>();
        format!("{} {few:?}", found.len())
    };
    let missing = without(expected, got);
    Some(format!(
        "missing {missing}, extra {}",
        without(got, expected)
    ))
}

/// All `ways` to run captures in one session against the plain one. Gives the facts seen, and what
/// differed.
fn check(files: &[PathBuf], mode: Mode, rules: &Loaded, ways: &[Way]) -> (usize, Vec<String>) {
    let bytes = size(files);
    // The facts of one way, and the scale at which no table was too small for it.
    let run = |from: u32, way: Way| {
        for scale in from..SCALES {
            let (facts, outcome) = facts(files, options(mode, bytes, scale, way), rules);
            if !pressed(&outcome) {
                return (facts, scale);
            }
        }
        panic!("tables are too small for {way:?} of {files:?}");
    };
    // All captures in one session press the small tables for certain.
    let first = if files.len() == 1 { 0 } else { SCALES - 2 };
    let (expected, scale) = run(first, PLAIN);
    let mut differences = Vec::new();
    for way in ways {
        // Packets under way hold state, so what just fits the plain way may not fit this one.
        let (got, _) = run(scale, *way);
        if let Some(what) = difference(&expected, &got) {
            let (layout, lanes, burst, spread) = way;
            let file = files[0].display();
            let way = format!("{mode:?} {layout} x{lanes} burst {burst} {spread:?}");
            differences.push(format!("{way}: {file}: {what}"));
        }
    }
    (expected.len(), differences)
}

/// All eight layouts; lanes, bursts and spreads turn with `turn`, so that different captures go
/// through different ones.
fn eight_ways(turn: usize) -> Vec<Way> {
    let spreads = [
        Spread::RoundRobin,
        Spread::First,
        Spread::Directional,
        Spread::Pair,
    ];
    Layout::all()
        .enumerate()
        .map(|(i, layout)| {
            let at = i + turn;
            (
                layout,
                1 + at % 3,
                [64, 1, 13, 32][at % 4],
                spreads[at / 3 % 4],
            )
        })
        .collect()
}

/// Every second of them, the others with the next `turn`: each capture goes through four layouts, and
/// each layout gets half of the captures.
fn four_ways(turn: usize) -> Vec<Way> {
    eight_ways(turn)
        .into_iter()
        .skip(turn % 2)
        .step_by(2)
        .collect()
}

/// Captures with a flow that travels inside several pairs of hosts, as Teredo relays make them.
///
/// A frame's owner goes by its outermost pair of addresses, so that a tunnel's own flow, all flows
/// inside it and its fragments are of one lane; the innermost pair would tear the tunnel's own flow
/// apart, and is not to be had from fragments. The price: lanes share such a flow, and what they say
/// of it depends on their number. On one lane these captures must agree like all others.
fn crossing(files: &[PathBuf]) -> BTreeSet<usize> {
    let mut rig = decode_rig::Rig::new(Config::default(), 64);
    let mut pairs: HashMap<Tuple, BTreeSet<[[u8; 16]; 2]>> = HashMap::new();
    let mut seen_in: HashMap<Tuple, BTreeSet<usize>> = HashMap::new();
    for (at, file) in files.iter().enumerate() {
        let mut frames = decode_rig::read_capture(file);
        frames.retain(|frame| frame.bytes.len() < 1 << 17);
        for frame in frames {
            let packets = rig.one(frame.link, &frame.bytes);
            let outer = packets[0].0.tuple;
            for (context, _) in packets.iter().skip(1) {
                let pair = [outer.a_addr, outer.b_addr];
                pairs.entry(context.tuple).or_default().insert(pair);
                seen_in.entry(context.tuple).or_default().insert(at);
            }
        }
    }
    pairs.retain(|_, pairs| pairs.len() > 1);
    let crossing = pairs.keys().flat_map(|tuple| &seen_in[tuple]);
    crossing.copied().collect()
}

/// Runs `check` over files one by one, on two threads; returns the facts seen.
fn check_each(files: &[PathBuf], modes: &[Mode], ways: impl Fn(usize) -> Vec<Way> + Sync) -> usize {
    let (next, seen) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let crossed = AtomicUsize::new(0);
    let rules = rules(RULES);
    let failed = std::sync::Mutex::new(Vec::new());
    let one = |at: usize, file: &PathBuf| {
        let mut ways = ways(at);
        if !crossing(std::slice::from_ref(file)).is_empty() {
            crossed.fetch_add(1, Ordering::Relaxed);
            ways.iter_mut().for_each(|way| way.1 = 1);
        }
        for mode in modes {
            let (count, differences) = check(std::slice::from_ref(file), *mode, &rules, &ways);
            seen.fetch_add(count, Ordering::Relaxed);
            failed.lock().unwrap().extend(differences);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(file) = files.get(at) else { return };
                    one(at, file);
                }
            });
        }
    });
    told(&failed.into_inner().unwrap());
    let crossed = crossed.into_inner();
    assert!(
        crossed <= CROSSING_MAX * modes.len(),
        "{crossed} on one lane only"
    );
    seen.into_inner()
}

/// Fails with the differences, if there are any.
fn told(failed: &[String]) {
    let shown = failed.iter().take(40).map(String::as_str);
    let shown = shown.collect::<Vec<_>>().join("\n");
    assert!(failed.is_empty(), "{} differ:\n{shown}", failed.len());
}

#[test]
fn the_demo_capture_gives_the_same_in_every_layout_lane_count_burst_and_spread() {
    let mut ways = Vec::new();
    for layout in Layout::all() {
        for (lanes, burst, spread) in [
            (1, 1, Spread::First),
            (1, 64, Spread::First),
            (2, 7, Spread::RoundRobin),
            (3, 64, Spread::RoundRobin),
            (2, 33, Spread::First),
            (3, 9, Spread::Pair),
        ] {
            ways.push((layout, lanes, burst, spread));
        }
    }
    let seen = check_each(&[demo()], &[Mode::Inline, Mode::Tap], |_| ways.clone());
    assert!(
        seen > 500,
        "only {seen} facts: the comparison would pass on nothing"
    );
}

/// A NIC that deals by addresses alone brings each packet to the lane that owns it; one that deals
/// by more does not.
#[test]
fn nothing_crosses_lanes_where_the_nic_deals_by_addresses() {
    let rules = rules(RULES);
    let crossed = |spread| {
        let way = (Layout::FUSED, 3, 64, spread);
        let options = options(Mode::Inline, size(&[demo()]), 0, way);
        let (_, outcome) = facts(&[demo()], options, &rules);
        outcome.total(Counter::MeshCrossed)
    };
    assert_eq!(crossed(Spread::Pair), 0);
    assert!(crossed(Spread::Directional) > 0 && crossed(Spread::First) > 0);
}

/// Every capture, in half of the layouts, in the path and (every fourth one) as a tap; with SLUICE_LONG
/// in all layouts, and all as taps.
#[test]
fn every_shared_capture_gives_the_same_in_every_layout() {
    let Some(shared) = shared("every_shared_capture") else {
        return;
    };
    let files = captures(&shared.join("captures"));
    assert!(files.len() > 1000);
    let long = std::env::var_os("SLUICE_LONG").is_some();
    let ways = if long { eight_ways } else { four_ways };
    let mut seen = check_each(&files, &[Mode::Inline], ways);
    let taps: Vec<PathBuf> = files
        .iter()
        .step_by(if long { 1 } else { 4 })
        .cloned()
        .collect();
    seen += check_each(&taps, &[Mode::Tap], |at| ways(at / 4 + 5));
    if long {
        for turn in 1..12 {
            seen += check_each(&files, &[Mode::Inline], |at| eight_ways(at + turn));
        }
    }
    assert!(seen > 70_000, "only {seen} facts");
}

/// All captures in one session: time jumps from file to file, back and forth by years, and comes
/// from the feed's order alone.
#[test]
fn all_shared_captures_in_one_session_give_the_same_in_every_layout() {
    let Some(shared) = shared("all_shared_captures_in_one_session") else {
        return;
    };
    let mut files = captures(&shared.join("captures"));
    assert!(files.len() > 1000);
    let crossing = crossing(&files);
    assert!(
        crossing.len() <= CROSSING_MAX,
        "{} crossing",
        crossing.len()
    );
    let mut at = 0..;
    files.retain(|_| !crossing.contains(&at.next().unwrap()));
    let rules = rules(RULES);
    for mode in [Mode::Inline, Mode::Tap] {
        let (seen, differences) = check(&files, mode, &rules, &eight_ways(1));
        told(&differences);
        assert!(seen > 50_000, "only {seen} facts");
    }
}

/// Runs a session on a thread of its own; panics if it does not end.
fn ends(file: &Path, mode: Mode, contexts: u32, way: Way, rules: &Arc<Loaded>) {
    let mut options = options(mode, size(&[file.to_path_buf()]), 0, way);
    options.config.contexts_per_lane = contexts;
    let (layout, lanes, burst, _) = way;
    let what = format!("{mode:?} {layout} x{lanes} burst {burst}, {contexts} contexts: {file:?}");
    let (done, waiting) = mpsc::channel();
    let (file, rules) = (file.to_path_buf(), Arc::clone(rules));
    let run = std::thread::spawn(move || {
        // Accounting is exact however few contexts there are; `facts` asserts it.
        let (facts, _) = facts(&[file], options, &rules);
        let _ = done.send(facts.len());
    });
    match waiting.recv_timeout(ENDLESS) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{what}: did not end"),
        _ => run.join().unwrap_or_else(|_| panic!("{what}")),
    }
}

/// Contexts so few that every stage and every lane waits for every other: each run ends, and
/// accounts for all.
#[test]
fn the_smallest_pools_never_stand_still() {
    let mut files = vec![demo()];
    if let Some(shared) = shared("the_smallest_pools") {
        let all = captures(&shared.join("captures"));
        let crossing = |file: &&PathBuf| !crossing(std::slice::from_ref(*file)).is_empty();
        files.extend(all.iter().filter(crossing).cloned());
        files.extend(all.iter().step_by(100).cloned());
    }
    let rules = Arc::new(rules(RULES));
    for (at, file) in files.iter().enumerate() {
        for (contexts, mode) in [
            (1, Mode::Inline),
            (8, Mode::Tap),
            (24, Mode::Inline),
            (100, Mode::Tap),
            (128, Mode::Inline),
        ] {
            for way in eight_ways(at + contexts as usize) {
                ends(file, mode, contexts, way, &rules);
            }
        }
    }
}
