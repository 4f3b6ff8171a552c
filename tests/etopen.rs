//! Emerging Threats Open over every shared capture, against the alerts per sid that Suricata gave
//! (captures/expected.jsonl): equal, missing and extra, over alerting and over silent captures. Only
//! rules that this build supports are compared. `etopen.txt` beside this file is the record: a
//! capture that is equal there must be equal here. `SLUICE_RECORD=1` writes it anew.
//!
//! What is not here: cases with settings of their own (`sluice test`, conformance.txt).

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::etopen::load;
use common::{shared, small};
use sluice::cli::rules::Loaded;
use sluice::config::{Config, Mode};
use sluice::event::EventKind;
use sluice::replay::{Options, Session};

/// Captures whose difference is the oracle's: it ran all captures in one process, and the counts of
/// thresholds outlived a capture, so that a host's alert in one of them is missing, or counted on
/// towards, in another. File name (its beginning) and sid.
const ONE_PROCESS: &[(&str, u32)] = &[
    ("323c3dd135d7f053", 2012648),
    ("323c3dd135d7f053", 2027397),
    ("8a56c159a0c53957", 2003068),
    ("ad75f2686ccd5afb", 2012141),
    ("fb660bb0ad2d4651", 2000328),
];

/// Captures in which the oracle misses a match: its contents lie in two of the chunks of a stream that
/// it inspects one after the other and apart. In 188da95ded70989b the to_client chunk ends at stream
/// offset 75,296, behind `Microsoft Windows ` (75,122) and before `Copyright (c) 20` (75,299).
/// In e92932bd2aecdcc8 seventeen clients send `GNUTELLA` again at the start of a later segment; five of
/// these begin a chunk, from which the oracle counts `depth:8`, and a stream begins but once here.
const ACROSS_CHUNKS: &[(&str, u32)] =
    &[("188da95ded70989b", 2102123), ("e92932bd2aecdcc8", 2101432)];

/// Alerts per sid.
type Alerts = BTreeMap<u32, u64>;

/// Sids whose rules run in this build.
fn supported(loaded: &Loaded) -> BTreeSet<u32> {
    let refused: BTreeSet<u32> = loaded
        .program
        .refused()
        .iter()
        .map(|(index, _)| *index)
        .collect();
    let runs = |index: usize| !refused.contains(&(index as u32));
    loaded
        .ruleset
        .signatures()
        .iter()
        .enumerate()
        .filter(|(index, signature)| signature.unsupported.is_empty() && runs(*index))
        .map(|(_, signature)| signature.sid)
        .collect()
}

/// Captures and their alerts, by file name.
fn expected(shared: &Path) -> BTreeMap<String, Alerts> {
    let path = shared.join("captures/expected.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    text.lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let alerts = line["alerts"].as_object().unwrap();
            let alerts = alerts
                .iter()
                .map(|(sid, count)| (sid.parse().unwrap(), count.as_u64().unwrap()));
            (
                line["capture"].as_str().unwrap().to_string(),
                alerts.collect(),
            )
        })
        .collect()
}

fn run(path: &Path, loaded: &Loaded) -> Alerts {
    let config = Config {
        checksum_validation: false,
        // Suricata draws the length of chunks at start, 2,560 give or take a tenth. What 2025701 saw
        // in 2579ef2290ea8b0b says that the recorded process had one of 2,618 to 2,823.
        stream_chunks: [2_700, 2_560],
        ..small(Mode::Tap)
    };
    let options = Options {
        config,
        ..Options::default()
    };
    let session = Session::open(&[path], options, std::sync::Arc::clone(&loaded.program))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut alerts = Alerts::new();
    session.run(
        |event| {
            if event.kind == EventKind::Alert {
                let signature = loaded.ruleset.signature(event.signature);
                *alerts.entry(signature.map_or(0, |s| s.sid)).or_default() += 1;
            }
        },
        || {},
    );
    alerts
}

/// What one capture came to.
struct Found {
    name: String,
    alerting: bool,
    missing: Alerts,
    extra: Alerts,
    equal: u64,
}

impl Found {
    fn compare(name: &str, want: &Alerts, got: &Alerts, runs: &BTreeSet<u32>) -> Found {
        let mut found = Found {
            name: name.to_string(),
            alerting: !want.is_empty(),
            missing: Alerts::new(),
            extra: Alerts::new(),
            equal: 0,
        };
        for sid in want.keys().chain(got.keys()).collect::<BTreeSet<_>>() {
            if !runs.contains(sid) && !got.contains_key(sid) {
                continue;
            }
            let (want, got) = (
                want.get(sid).copied().unwrap_or(0),
                got.get(sid).copied().unwrap_or(0),
            );
            found.equal += want.min(got);
            if want > got {
                found.missing.insert(*sid, want - got);
            } else if got > want {
                found.extra.insert(*sid, got - want);
            }
        }
        found
    }

    /// Whether all that differs is the oracle's.
    fn is_explained(&self) -> bool {
        let named = |sid: &u32| {
            let is_so = |(name, named): &(&str, u32)| self.name.starts_with(name) && named == sid;
            ONE_PROCESS.iter().chain(ACROSS_CHUNKS).any(is_so)
        };
        !self.is_equal() && self.missing.keys().chain(self.extra.keys()).all(named)
    }

    fn is_equal(&self) -> bool {
        self.missing.is_empty() && self.extra.is_empty()
    }

    /// Its line in the record.
    fn line(&self) -> String {
        let listed = |alerts: &Alerts| {
            let list: Vec<String> = alerts.iter().map(|(s, n)| format!("{s}x{n}")).collect();
            if list.is_empty() {
                "-".to_string()
            } else {
                list.join(",")
            }
        };
        let kind = if self.alerting { "alerting" } else { "silent" };
        if self.is_equal() {
            return format!("equal {kind} {}", self.name);
        }
        let (missing, extra) = (listed(&self.missing), listed(&self.extra));
        format!(
            "differs {kind} {} missing {missing} extra {extra}",
            self.name
        )
    }
}

fn compare_all(shared: &Path, loaded: &Loaded) -> Vec<Found> {
    let expected = expected(shared);
    let runs = supported(loaded);
    println!(
        "{} of {} enabled rules run in this build",
        runs.len(),
        loaded.ruleset.signatures().len()
    );
    let list: Vec<(&String, &Alerts)> = expected.iter().collect();
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((name, want)) = list.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let got = run(&shared.join("captures").join(name), loaded);
                    let one = Found::compare(name, want, &got, &runs);
                    found.lock().unwrap().push(one);
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// The table that the issue asks for, and the sids that differ most.
fn report(found: &[Found]) -> String {
    let mut text = String::new();
    for (kind, alerting) in [("alerting", true), ("silent", false)] {
        let of: Vec<&Found> = found.iter().filter(|f| f.alerting == alerting).collect();
        let count = |test: &dyn Fn(&&Found) -> bool| of.iter().copied().filter(test).count();
        let _ = writeln!(
            text,
            "{kind:<9}{:>5} captures{:>6} equal{:>4} the oracle's{:>6} with missing{:>6} with extra",
            of.len(),
            count(&|f| f.is_equal()),
            count(&|f| f.is_explained()),
            count(&|f| !f.missing.is_empty()),
            count(&|f| !f.extra.is_empty())
        );
    }
    let mut by_sid: BTreeMap<u32, [u64; 3]> = BTreeMap::new();
    for one in found {
        for (at, alerts) in [(1, &one.missing), (2, &one.extra)] {
            for (sid, count) in alerts {
                let row = by_sid.entry(*sid).or_default();
                row[0] += 1;
                row[at] += count;
            }
        }
    }
    let equal: u64 = found.iter().map(|f| f.equal).sum();
    let _ = writeln!(text, "alerts equal {equal}");
    let mut rows: Vec<_> = by_sid.into_iter().collect();
    rows.sort_by_key(|(sid, row)| (std::cmp::Reverse(row[0]), *sid));
    for (sid, [captures, missing, extra]) in rows.iter().take(60) {
        let _ = writeln!(
            text,
            "sid {sid:<8} captures {captures:>4} missing {missing:>5} extra {extra:>5}"
        );
    }
    text
}

#[test]
fn alerts_per_sid_are_those_of_the_record() {
    let Some(shared) = shared("etopen") else {
        return;
    };
    let Some(loaded) = load(&shared) else {
        return;
    };
    let found = compare_all(&shared, &loaded);
    assert!(found.len() > 1000, "all captures are compared");
    print!("{}", report(&found));
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/etopen.txt");
    let lines: Vec<String> = found.iter().map(Found::line).collect();
    if std::env::var_os("SLUICE_RECORD").is_some() {
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
        return;
    }
    let record = std::fs::read_to_string(&path).unwrap();
    let held: BTreeSet<&str> = record.lines().filter(|l| l.starts_with("equal ")).collect();
    let now: BTreeSet<&str> = lines.iter().map(String::as_str).collect();
    let lost: Vec<String> = held
        .difference(&now)
        .map(|line| {
            let name = line.rsplit(' ').next().unwrap_or("");
            let new = lines.iter().find(|l| l.contains(name));
            new.cloned().unwrap_or_else(|| line.to_string())
        })
        .collect();
    assert!(
        lost.is_empty(),
        "equal by the record and not now:\n{}",
        lost.join("\n")
    );
}
