//! Nothing is delivered uninspected: overlapping segments and fragments in every relation, and
//! tricks with the state of TCP and IP, sent from a raw socket through `sluice run --inline` on
//! AF_PACKET to the real Linux stack of this machine (RELIABILITY.md, classes E1 to E8).
//!
//! The oracle needs no model of the receiver: what its application read in a pass without rules
//! must not arrive in a pass in which a `drop` rule holds those very bytes. If it does, they went
//! through uninspected. Besides, no frame may come out that did not go in, and what is no attack
//! must arrive whole.

#[path = "../wire/mod.rs"]
mod wire;

mod overlaps;
mod rig;
mod states;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use overlaps::{FRAGMENTS, SEGMENTS, fragments, layouts, segments};
use rig::{Case, Middle, Pass, Rig};

/// Longest content of a rule.
const CONTENT_MAX: usize = 255;
/// Passes that a clean flow gets before it counts as harmed: the machine is shared.
const TRIES: usize = 3;

fn long() -> bool {
    std::env::var_os("SLUICE_LONG").is_some_and(|value| value == "1")
}

/// Rules that drop whatever a receiver read.
fn drop_rules<'a>(readings: impl Iterator<Item = &'a [u8]>) -> String {
    let distinct: BTreeSet<&[u8]> = readings.filter(|bytes| !bytes.is_empty()).collect();
    let rule = |(sid, bytes): (usize, &&[u8])| {
        let end = &bytes[bytes.len().saturating_sub(CONTENT_MAX)..];
        let hex: Vec<String> = end.iter().map(|byte| format!("{byte:02x}")).collect();
        let content = hex.join(" ");
        format!(
            "drop ip any any -> any any (content:\"|{content}|\"; sid:{};)\n",
            sid + 1
        )
    };
    distinct.iter().enumerate().map(rule).collect()
}

fn holds(delivered: &[u8], reading: &[u8]) -> bool {
    !reading.is_empty()
        && delivered
            .windows(reading.len())
            .any(|window| window == reading)
}

/// A row of the table.
#[derive(Default)]
struct Row {
    cases: usize,
    /// Read something other by Linux alone than through the appliance.
    alive: usize,
    delivered: usize,
    harmed: usize,
    missed: usize,
}

struct Findings {
    rows: BTreeMap<&'static str, Row>,
    told: Vec<String>,
    modified: usize,
}

fn readable(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// Judges cases: a bare bridge for comparison, the appliance without rules, the appliance with
/// rules that hold what arrived in either.
fn judge(rig: &mut Rig, cases: &[Case], arguments: &[&str]) -> Findings {
    let start = Instant::now();
    let bare = rig.pass(cases, &Middle::Bridge);
    let mut open = rig.pass(cases, &Middle::Appliance(arguments, ""));
    let mut modified = open.modified;
    again(rig, cases, arguments, &mut open, &mut modified);
    let readings = bare
        .delivered
        .iter()
        .chain(&open.delivered)
        .map(Vec::as_slice);
    let rules = drop_rules(readings);
    let closed = rig.pass(cases, &Middle::Appliance(arguments, &rules));
    modified += closed.modified;
    let mut findings = Findings {
        rows: BTreeMap::new(),
        told: Vec::new(),
        modified,
    };
    for (number, case) in cases.iter().enumerate() {
        let [bare, open, closed] =
            [&bare, &open, &closed].map(|pass| pass.delivered[number].as_slice());
        let row = findings.rows.entry(case.class).or_default();
        row.cases += 1;
        row.alive += usize::from(bare != open);
        row.delivered += usize::from(!open.is_empty());
        let harmed = case
            .expect
            .as_ref()
            .is_some_and(|expected| expected != open);
        row.harmed += usize::from(harmed);
        let missed = holds(closed, open) || holds(closed, bare);
        row.missed += usize::from(missed);
        if harmed || missed || std::env::var_os("SLUICE_TELL").is_some() {
            let what = if missed {
                "MISSED"
            } else if harmed {
                "HARMED"
            } else {
                "fine"
            };
            findings.told.push(format!(
                "{what} {}: {}\n    bare   {}\n    open   {}\n    closed {}\n    wanted {}",
                case.class,
                case.name,
                readable(bare),
                readable(open),
                readable(closed),
                case.expect
                    .as_ref()
                    .map_or("-".into(), |bytes| readable(bytes)),
            ));
        }
    }
    println!(
        "{} cases in {:.1} s; open: {}",
        cases.len(),
        start.elapsed().as_secs_f64(),
        open.summary["dropped_by_reason"]
    );
    findings
}

/// Gives flows that did not arrive as they should another try: a noisy machine may drop frames.
fn again(rig: &mut Rig, cases: &[Case], arguments: &[&str], open: &mut Pass, modified: &mut usize) {
    for _ in 1..TRIES {
        let failed = |number: &usize| {
            let expected = cases[*number].expect.as_ref();
            expected.is_some_and(|expected| *expected != open.delivered[*number])
        };
        let numbers: Vec<usize> = (0..cases.len()).filter(failed).collect();
        if numbers.is_empty() {
            return;
        }
        let some: Vec<Case> = numbers
            .iter()
            .map(|number| cases[*number].clone())
            .collect();
        let pass = rig.pass(&some, &Middle::Appliance(arguments, ""));
        *modified += pass.modified;
        for (number, delivered) in numbers.into_iter().zip(pass.delivered) {
            open.delivered[number] = delivered;
        }
    }
}

impl Findings {
    fn print(&self) {
        println!(
            "{:<44}{:>7}{:>11}{:>11}{:>8}{:>8}",
            "class", "cases", "unlike bare", "delivered", "harmed", "missed"
        );
        for (class, row) in &self.rows {
            println!(
                "{class:<44}{:>7}{:>11}{:>11}{:>8}{:>8}",
                row.cases, row.alive, row.delivered, row.harmed, row.missed
            );
        }
        println!("{} frames came out that had not gone in", self.modified);
        for line in self.told.iter().take(200) {
            println!("{line}");
        }
    }

    fn check(&self) {
        self.print();
        let sum = |of: fn(&Row) -> usize| self.rows.values().map(of).sum::<usize>();
        assert_eq!(
            (sum(|row| row.missed), sum(|row| row.harmed), self.modified),
            (0, 0, 0)
        );
    }
}

#[test]
fn intervals_are_counted_right() {
    assert_eq!((layouts(2).len(), layouts(3).len()), (13, 409));
}

/// All pairs, and of the triplets every `share`-th, starting elsewhere for each situation.
fn chosen(share: usize, offset: usize) -> Vec<overlaps::Layout> {
    let triplets = layouts(3);
    let some = triplets.into_iter().skip(offset % share).step_by(share);
    layouts(2).into_iter().chain(some).collect()
}

#[test]
fn overlapping_segments() {
    if !wire::possible("overlapping_segments") {
        return;
    }
    let share = if long() { 1 } else { 8 };
    let mut cases = Vec::new();
    for v6 in [false, true] {
        for (situation, _) in SEGMENTS.iter().enumerate() {
            for differs in [false, true] {
                let class = match (v6, differs) {
                    (false, false) => "E4 TCP over IPv4, same bytes",
                    (false, true) => "E4 TCP over IPv4, other bytes",
                    (true, false) => "E4 TCP over IPv6, same bytes",
                    (true, true) => "E4 TCP over IPv6, other bytes",
                };
                let offset = situation * 2 + usize::from(differs) + 3 * usize::from(v6);
                for layout in chosen(share, offset) {
                    let number = cases.len() as u32;
                    cases.push(segments(class, number, &layout, situation, differs, v6));
                }
            }
        }
    }
    let findings = judge(&mut Rig::new(), &cases, &[]);
    findings.check();
}

#[test]
fn overlapping_fragments() {
    if !wire::possible("overlapping_fragments") {
        return;
    }
    let share = if long() { 1 } else { 8 };
    let mut cases = Vec::new();
    for v6 in [false, true] {
        for (situation, _) in FRAGMENTS.iter().enumerate() {
            for differs in [false, true] {
                let class = match (v6, differs) {
                    (false, false) => "E2 IPv4 fragments, same bytes",
                    (false, true) => "E2 IPv4 fragments, other bytes",
                    (true, false) => "E3 IPv6 fragments, same bytes",
                    (true, true) => "E3 IPv6 fragments, other bytes",
                };
                let offset = situation * 2 + usize::from(differs) + 3 * usize::from(v6);
                for layout in chosen(share, offset) {
                    let number = cases.len() as u32;
                    cases.push(fragments(class, number, &layout, situation, differs, v6));
                }
            }
        }
    }
    let findings = judge(&mut Rig::new(), &cases, &[]);
    findings.check();
}

#[test]
fn tricks_with_state() {
    if !wire::possible("tricks_with_state") {
        return;
    }
    let cases = states::all();
    assert!(cases.len() >= 100, "{} cases", cases.len());
    let findings = judge(&mut Rig::new(), &cases, &[]);
    findings.check();
}
