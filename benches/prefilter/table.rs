//! The rows of the prefilter bench, and what is printed of them.

use std::collections::BTreeMap;

use super::corpus::Traffic;
use super::engine::{Anchor, Background, Literal, Path};
use super::hyperscan::Library;
use super::measure::{self, Row, Times};

/// Sizes of the sets over everything.
const SIZES: [usize; 4] = [100, 1000, 5000, 20_000];
/// Bytes of a segment.
const SEGMENT: usize = 1448;
/// Segments of generated inputs.
const SEGMENTS: usize = 600;
/// Bytes of an input that are scanned at most.
const INPUT_MAX: usize = 2 << 20;

/// A set of literals with its name.
pub type Set = (String, Vec<Literal>);
/// A set, the name of its input, whether time is told by buffer.
pub type Group = (Set, &'static str, bool);

/// What the bench runs.
pub struct Rows {
    pub groups: Vec<Group>,
    /// All fast patterns.
    pub all: Vec<Literal>,
    pub traffic: Traffic,
}

/// Numbers that are the same each time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) % below as u64) as usize
    }
}

/// Whether bytes are no compressed or encrypted ones, which teach nothing.
pub fn is_plain(bytes: &[u8]) -> bool {
    let mut seen = [false; 256];
    for byte in bytes {
        seen[usize::from(*byte)] = true;
    }
    let distinct = seen.iter().filter(|seen| **seen).count();
    distinct < 160 || bytes.len() > 64 * distinct
}

impl Rows {
    /// `count` of the literals of four bytes and more, without order.
    fn sample(&self, count: usize) -> Vec<Literal> {
        let mut all: Vec<Literal> = self
            .all
            .iter()
            .filter(|l| l.bytes.len() >= 4)
            .cloned()
            .collect();
        let mut numbers = Numbers(0x5eed);
        for i in (1..all.len()).rev() {
            all.swap(i, numbers.next(i + 1));
        }
        all.truncate(count);
        all
    }

    fn random() -> Vec<Vec<u8>> {
        let mut numbers = Numbers(0xfeed);
        let mut segment = || (0..SEGMENT).map(|_| numbers.next(256) as u8).collect();
        (0..SEGMENTS).map(|_| segment()).collect()
    }

    /// Segments of the literals themselves, whole or with their last byte changed.
    fn hostile(literals: &[Literal], near: bool) -> Vec<Vec<u8>> {
        let mut numbers = Numbers(0xbad);
        let mut segment = || {
            let mut bytes = Vec::new();
            while bytes.len() < SEGMENT {
                bytes.extend(&literals[numbers.next(literals.len())].bytes);
                if let Some(last) = bytes.last_mut().filter(|_| near) {
                    *last ^= 0x15;
                }
            }
            bytes.truncate(SEGMENT);
            bytes
        };
        (0..SEGMENTS).map(|_| segment()).collect()
    }

    /// Buffers of an input up to the limit, spread over it.
    fn input(&self, name: &str) -> Vec<Vec<u8>> {
        let buffers = self.traffic.get(name);
        let bytes: usize = buffers.iter().map(Vec::len).sum();
        let step = bytes.div_ceil(INPUT_MAX).max(1);
        buffers.into_iter().step_by(step).collect()
    }

    /// Runs all rows, or those whose name holds `only`.
    pub fn run(&self, only: Option<&str>, quick: bool) {
        let library = Library::open();
        if library.is_none() {
            println!(
                "Hyperscan is not installed (apt install libhyperscan5): its columns are empty"
            );
        }
        let background = Background::default();
        println!("path chosen by trial: {}", Path::best().name());
        println!(
            "matches   row                          literals  at  input | ours (by burst) | times: Hyperscan's time over ours | avx2 portable over ours | DFA's over ours, over portable | build"
        );
        let library = library.as_ref();
        let run = |name: &str, literals: &[Literal], buffers: &[Vec<u8>], small: bool| {
            if only.is_some_and(|only| !name.contains(only)) || buffers.is_empty() {
                return None;
            }
            let row = Row {
                name,
                literals,
                buffers,
                small,
                turns: if quick { 1 } else { measure::TURNS },
            };
            let times = measure::run(&row, library, &background);
            print(&row, &times);
            Some(times)
        };
        let mut groups = Vec::new();
        for ((name, literals), input, small) in &self.groups {
            let name = format!("{name} @ {input}");
            groups.extend(run(&name, literals, &self.input(input), *small));
        }
        summary("groups", &groups);
        if quick {
            return;
        }
        let random = Rows::random();
        let (mut on_mixed, mut on_random) = (Vec::new(), Vec::new());
        let sets: BTreeMap<usize, Vec<Literal>> = SIZES
            .iter()
            .map(|size| (*size, self.sample(*size)))
            .chain([(self.all.len(), self.all.clone())])
            .collect();
        for (size, literals) in &sets {
            let mixed = run(
                &format!("set of {size} @ mixed"),
                literals,
                &self.input("mixed"),
                false,
            );
            on_mixed.extend(mixed.filter(|_| *size >= 5000));
            on_random.extend(run(
                &format!("set of {size} @ random"),
                literals,
                &random,
                false,
            ));
        }
        summary("large sets on mixed", &on_mixed);
        summary("random", &on_random);
        let mut hostile = Vec::new();
        let five = self.sample(5000);
        let any = self
            .groups
            .get(11)
            .map_or(&[][..], |((_, literals), ..)| literals);
        for (name, set) in [("set of 5000", &five[..]), ("to server high", any)] {
            for (kind, near) in [("near misses", true), ("all hits", false)] {
                let input = Rows::hostile(set, near);
                hostile.extend(run(&format!("{name} @ {kind}"), set, &input, false));
            }
        }
        summary("hostile", &hostile);
    }

    /// Writes rows for a bench outside of this crate.
    pub fn dump(&self, path: &str) {
        let mut out = Vec::new();
        let number = |out: &mut Vec<u8>, n: usize| out.extend((n as u32).to_le_bytes());
        let text = |out: &mut Vec<u8>, bytes: &[u8]| {
            out.extend((bytes.len() as u32).to_le_bytes());
            out.extend(bytes);
        };
        let all = (("all".to_string(), self.all.clone()), "mixed", false);
        number(&mut out, self.groups.len() + 1);
        for ((name, literals), input, small) in self.groups.iter().chain([&all]) {
            text(&mut out, name.as_bytes());
            text(&mut out, input.as_bytes());
            number(&mut out, usize::from(*small));
            number(&mut out, literals.len());
            for literal in literals {
                text(&mut out, &literal.bytes);
                number(&mut out, usize::from(literal.nocase));
                number(&mut out, literal.anchor as usize);
            }
            let buffers = self.input(input);
            number(&mut out, buffers.len());
            for buffer in &buffers {
                text(&mut out, buffer);
            }
        }
        std::fs::write(path, out).expect("the dump can be written");
    }
}

fn print(row: &Row, times: &Times) {
    let bytes: usize = row.buffers.iter().map(Vec::len).sum();
    let anchored = row.literals.iter().filter(|l| l.anchor != Anchor::Floating);
    let unit = |seconds: f64| {
        if row.small {
            format!("{:6.1} ns", seconds * 1e9 / row.buffers.len() as f64)
        } else {
            format!("{:6.3} GB/s", bytes as f64 / seconds / 1e9)
        }
    };
    println!(
        "{:42} {:6} {:5} {:6.0} KB | {:11} ({:11}) HS {:11} | {:5.2}x ({:5.2}x) | {:4.2} {:4.2} | {:5.2} {:5.2} | {:6.2} ms / {:7.1} ms",
        row.name,
        row.literals.len(),
        anchored.count(),
        bytes as f64 / 1e3,
        unit(times.ours),
        unit(times.burst),
        unit(times.hyperscan),
        times.hyperscan / times.ours,
        times.hyperscan / times.burst,
        times.avx2 / times.ours,
        times.portable / times.ours,
        times.dfa / times.ours,
        times.dfa / times.portable,
        times.build[0] * 1e3,
        times.build[1] * 1e3,
    );
}

/// Geometric mean and worst of Hyperscan's time over ours, and of AVX2's and the portable path's.
fn summary(name: &str, rows: &[Times]) {
    let mean = |ratio: &dyn Fn(&Times) -> f64| {
        let logs: Vec<f64> = rows
            .iter()
            .map(|t| ratio(t).ln())
            .filter(|l| l.is_finite())
            .collect();
        (logs.iter().sum::<f64>() / logs.len() as f64).exp()
    };
    let worst = |ratio: &dyn Fn(&Times) -> f64| {
        rows.iter()
            .map(ratio)
            .filter(|r| r.is_finite())
            .fold(f64::INFINITY, f64::min)
    };
    let ours = |t: &Times| t.hyperscan / t.ours;
    let burst = |t: &Times| t.hyperscan / if t.burst.is_nan() { t.ours } else { t.burst };
    println!(
        "== {name}: Hyperscan's time over ours {:.2}x (worst {:.2}x), small buffers by burst {:.2}x (worst {:.2}x), AVX2's {:.2}x, portable over aho-corasick's DFA {:.2}x, build {:.3} of Hyperscan's",
        mean(&ours),
        worst(&ours),
        mean(&burst),
        worst(&burst),
        mean(&|t| t.hyperscan / t.avx2),
        mean(&|t| t.dfa / t.portable),
        mean(&|t| t.build[0] / t.build[1]),
    );
}
