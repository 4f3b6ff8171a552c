//! Runs the peers in turns over the same buffers and compares their times and answers.

use super::engine::{Anchor, Background, Extent, Literal, Literals, Path};
use super::hyperscan::{Database, Library};
use aho_corasick::automaton::OverlappingState;
use aho_corasick::{AhoCorasick, AhoCorasickKind, Input, MatchKind};

/// Turns of each peer; medians count.
pub const TURNS: usize = 9;
/// A turn scans the input so many times that it takes about this long.
const TURN_SECONDS: f64 = 0.012;
/// Buffers of a group that go through the phases together.
const BURST: usize = 16;
/// Pattern bytes up to which the DFA of aho-corasick is built.
const DFA_BYTES_MAX: usize = 130_000;

/// One row: what is looked for in what.
pub struct Row<'a> {
    pub name: &'a str,
    pub literals: &'a [Literal],
    pub buffers: &'a [Vec<u8>],
    /// Time is told by buffer, not by byte.
    pub small: bool,
    /// Turns of each peer.
    pub turns: usize,
}

/// Seconds for a pass over the input, by peer; `NaN` where it was not run.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    pub ours: f64,
    pub burst: f64,
    pub avx2: f64,
    pub portable: f64,
    pub hyperscan: f64,
    pub dfa: f64,
    /// Seconds to build ours, and the faster to build of Hyperscan's.
    pub build: [f64; 2],
}

fn thread_seconds() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a clock that every Linux has, and room for the time.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

type Scan<'a> = Box<dyn Fn() -> u64 + 'a>;

/// Median seconds of a pass, of peers that take turns.
fn in_turns(peers: &[Option<Scan>], turns: usize) -> Vec<f64> {
    let passes: Vec<usize> = peers
        .iter()
        .map(|peer| {
            let start = thread_seconds();
            std::hint::black_box(peer.as_ref().map(|scan| scan()));
            ((TURN_SECONDS / (thread_seconds() - start).max(1e-7)) as usize).clamp(1, 100_000)
        })
        .collect();
    let mut times = vec![Vec::new(); peers.len()];
    for _ in 0..turns {
        for ((peer, passes), times) in peers.iter().zip(&passes).zip(&mut times) {
            let Some(scan) = peer else {
                continue;
            };
            let start = thread_seconds();
            for _ in 0..*passes {
                std::hint::black_box(scan());
            }
            times.push((thread_seconds() - start) / *passes as f64);
        }
    }
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
    };
    times.iter_mut().map(median).collect()
}

/// The path of AVX2: the chosen one if it is of that kind.
fn avx2() -> Option<Path> {
    let of_avx2 = |path: &Path| path.name().starts_with("avx2");
    let best = Some(Path::best()).filter(of_avx2);
    best.or_else(|| Path::all().into_iter().find(of_avx2))
}

/// The peers of a row, built.
struct Peers {
    ours: Literals,
    /// The same, compiled for AVX2 and for the portable path.
    others: [Literals; 2],
    lit: Option<Database>,
    single: Option<Database>,
    dfa: Option<AhoCorasick>,
    build: [f64; 2],
}

impl Peers {
    fn build(literals: &[Literal], library: Option<&Library>, background: &Background) -> Peers {
        let start = std::time::Instant::now();
        let compiled =
            |path| Literals::build(literals, background, path).expect("literals of 1 to 24 bytes");
        let ours = compiled(Path::best());
        let build = start.elapsed().as_secs_f64();
        let avx2 = avx2();
        let others = [
            compiled(avx2.unwrap_or(Path::PORTABLE)),
            compiled(Path::PORTABLE),
        ];
        let lit = library.and_then(|library| Database::literals(library, literals));
        let single = library.and_then(|library| Database::single_match(library, literals));
        let seconds =
            |database: &Option<Database>| database.as_ref().map_or(f64::NAN, |d| d.seconds);
        let theirs = seconds(&lit).min(seconds(&single));
        let bytes: usize = literals.iter().map(|l| l.bytes.len()).sum();
        let dfa = (bytes <= DFA_BYTES_MAX).then(|| {
            AhoCorasick::builder()
                .match_kind(MatchKind::Standard)
                .ascii_case_insensitive(true)
                .kind(Some(AhoCorasickKind::DFA))
                .prefilter(false)
                .build(literals.iter().map(|l| &*l.bytes))
                .expect("a DFA")
        });
        Peers {
            ours,
            others,
            lit,
            single,
            dfa,
            build: [build, theirs],
        }
    }
}

/// Compares answers, then times.
pub fn run(row: &Row, library: Option<&Library>, background: &Background) -> Times {
    let peers = Peers::build(row.literals, library, background);
    check(row, &peers);
    fn ours<'a>(set: &'a Literals, path: Path, row: &'a Row) -> Option<Scan<'a>> {
        Some(Box::new(move || {
            let (mut count, mut budget) = (0, u32::MAX);
            for buffer in row.buffers {
                let _ = set.scan(path, buffer, Extent::WHOLE, &mut budget, &mut |_, _| {
                    count += 1
                });
            }
            count
        }))
    }
    let slices: Vec<&[u8]> = row.buffers.iter().map(Vec::as_slice).collect();
    let burst: Scan = Box::new(|| {
        let (mut count, mut budget) = (0, u32::MAX);
        for burst in slices.chunks(BURST) {
            let found = |_, _, _| count += 1;
            let _ = peers
                .ours
                .scan_burst(Path::best(), burst, &mut budget, found);
        }
        count
    });
    fn peer<'a>(database: Option<&'a Database>, buffers: &'a [Vec<u8>]) -> Option<Scan<'a>> {
        database.map(|d| -> Scan { Box::new(|| buffers.iter().map(|b| d.count(b)).sum()) })
    }
    let dfa = peers.dfa.as_ref().map(|dfa| -> Scan {
        Box::new(|| {
            let mut count = 0;
            for buffer in row.buffers {
                let mut state = OverlappingState::start();
                loop {
                    dfa.find_overlapping(Input::new(buffer), &mut state);
                    if state.get_match().is_none() {
                        break;
                    }
                    count += 1;
                }
            }
            count
        })
    });
    let times = in_turns(
        &[
            ours(&peers.ours, Path::best(), row),
            row.small.then_some(burst),
            avx2().and_then(|path| ours(&peers.others[0], path, row)),
            ours(&peers.others[1], Path::PORTABLE, row),
            peer(peers.lit.as_ref(), row.buffers),
            peer(peers.single.as_ref(), row.buffers),
            dfa,
        ],
        row.turns,
    );
    Times {
        ours: times[0],
        burst: times[1],
        avx2: times[2],
        portable: times[3],
        hyperscan: times[4].min(times[5]),
        dfa: times[6],
        build: peers.build,
    }
}

/// All matches must be the same as Hyperscan's, or as those of the twin where it is absent.
fn check(row: &Row, peers: &Peers) {
    let mut total = 0;
    for buffer in row.buffers {
        let mut ours = Vec::new();
        let mut budget = u32::MAX;
        let _ = peers.ours.scan(
            Path::best(),
            buffer,
            Extent::WHOLE,
            &mut budget,
            &mut |literal, at| {
                ours.push((literal, at));
            },
        );
        ours.sort_unstable();
        let mut theirs = Vec::new();
        let mut note = |number: u32, end: usize| {
            let literal = &row.literals[number as usize];
            let at = end - literal.bytes.len();
            let (start, end) = (at == 0, end == buffer.len());
            let stands = match literal.anchor {
                Anchor::Floating => true,
                Anchor::Start => start,
                Anchor::End => end,
                Anchor::Whole => start && end,
            };
            let exact = literal.nocase || buffer[at..at + literal.bytes.len()] == *literal.bytes;
            if stands && exact {
                theirs.push((number, at));
            }
        };
        if let Some(database) = &peers.lit {
            database.scan(buffer, &mut note);
        } else if let Some(dfa) = &peers.dfa {
            let mut state = OverlappingState::start();
            loop {
                dfa.find_overlapping(Input::new(buffer), &mut state);
                let Some(hit) = state.get_match() else {
                    break;
                };
                note(hit.pattern().as_u32(), hit.end());
            }
        } else {
            return;
        }
        theirs.sort_unstable();
        assert_eq!(ours, theirs, "{}: not the same matches", row.name);
        total += ours.len();
    }
    print!("{:9} ", total);
}
