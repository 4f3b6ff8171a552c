//! I10: alerts, verdicts and drops do not depend on layout, lanes, burst size or on how packets
//! were spread over lanes; and I1, I5, I8 hold in all of them, on every capture there is.

mod common;

use sluice::cli::rules::Loaded;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Fact, captures, facts, rules, shared, small};
use sluice::config::Mode;
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

/// Captures compared without SLUICE_LONG.
const CAPTURES_SHORT: usize = 120;

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/demo.pcap")
}

fn options(mode: Mode, layout: Layout, lanes: usize, burst_max: usize, spread: Spread) -> Options {
    Options {
        config: small(mode),
        layout,
        lanes,
        burst_max,
        spread,
        ..Options::default()
    }
}

/// Captures whose results may depend on the number of lanes, and why. Ownership of a frame goes by
/// the outermost pair of addresses, so a flow inside tunnels between several pairs of hosts (Teredo
/// relays) is seen by several lanes. With one lane they must agree like all others.
const SEVERAL_OUTER_PAIRS: &[&str] = &["6635f27b4b994f6b"];

fn difference(expected: &[Fact], got: &[Fact]) -> Option<String> {
    if expected == got {
        return None;
    }
    let missing: Vec<&Fact> = expected
        .iter()
        .filter(|f| !got.contains(f))
        .take(3)
        .collect();
    let extra: Vec<&Fact> = got
        .iter()
        .filter(|f| !expected.contains(f))
        .take(3)
        .collect();
    Some(format!("missing {missing:?}, extra {extra:?}"))
}

/// All ways to run one capture against the plain one. Gives the facts seen, and what differed.
fn check(path: &Path, mode: Mode, rules: &Loaded, ways: &[Way]) -> (usize, Vec<String>) {
    let captures = [path.to_path_buf()];
    let plain = options(mode, Layout::FUSED, 1, 64, Spread::First);
    let (expected, _) = facts(&captures, plain, rules);
    let several = SEVERAL_OUTER_PAIRS
        .iter()
        .any(|name| path.to_string_lossy().contains(name));
    let mut differences = Vec::new();
    for (layout, lanes, burst, spread) in ways.iter().filter(|way| way.1 == 1 || !several) {
        let way = options(mode, *layout, *lanes, *burst, *spread);
        let (got, _) = facts(&captures, way, rules);
        if let Some(what) = difference(&expected, &got) {
            let way = format!("{mode:?} {layout} x{lanes} burst {burst} {spread:?}");
            differences.push(format!("{} {way}: {what}", path.display()));
        }
    }
    (expected.len(), differences)
}

/// A way to run: layout, lanes, burst, spread.
type Way = (Layout, usize, usize, Spread);

/// Runs `check` over files on two threads, inline and (`both`) as a tap; returns the facts seen.
fn check_all(files: &[PathBuf], ways: &[Way], both: bool) -> usize {
    let (next, seen) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let rules = rules(RULES);
    let failed = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(path) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let modes: &[Mode] = if both {
                        &[Mode::Inline, Mode::Tap]
                    } else {
                        &[Mode::Inline]
                    };
                    for mode in modes {
                        let (count, differences) = check(path, *mode, &rules, ways);
                        seen.fetch_add(count, Ordering::Relaxed);
                        failed.lock().unwrap().extend(differences);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(
        failed.is_empty(),
        "{} differ:\n{}",
        failed.len(),
        failed.join("\n")
    );
    seen.into_inner()
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
        ] {
            ways.push((layout, lanes, burst, spread));
        }
    }
    let seen = check_all(&[demo()], &ways, true);
    assert!(
        seen > 500,
        "only {seen} facts: the comparison would pass on nothing"
    );
}

#[test]
fn shared_captures_go_through_every_layout_with_the_same_results() {
    let Some(shared) = shared("every_shared_capture") else {
        return;
    };
    let mut files = captures(&shared.join("captures"));
    assert!(files.len() > 1000);
    // All of them take many minutes on two cores: SLUICE_LONG=1 runs them, CI a fixed part.
    let long = std::env::var_os("SLUICE_LONG").is_some();
    if !long {
        files.truncate(CAPTURES_SHORT);
    }
    let all: Vec<_> = Layout::all()
        .enumerate()
        .map(|(i, layout)| {
            let spread = if i % 2 == 0 {
                Spread::RoundRobin
            } else {
                Spread::First
            };
            (layout, 1 + i % 3, [64, 1, 13, 32][i % 4], spread)
        })
        .collect();
    let seen = check_all(&files, &all, false);
    assert!(
        seen > if long { 50_000 } else { 1_000 },
        "only {seen} facts"
    );
}
