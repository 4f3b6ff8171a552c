//! What every parser of an application protocol owes (issue 5): a fuzz target of its name, work that
//! grows no faster than its input for every class of hostile input that concerns it, and memory
//! within a bound whatever comes. The tests walk the registry: a new parser without them fails.
//!
//! Work is the CPU time of this thread, the least of several runs, as the ratio of a size and half
//! of it: what other processes do cannot fail it, and quadratic work (a ratio of 4) cannot pass.

#[path = "parser_proofs/hostile.rs"]
mod hostile;
#[path = "parser_proofs/seeds.rs"]
mod seeds;

use std::time::Duration;

use hostile::Hostile;
use seeds::{Seed, Talk};
use sluice::app::registry::DESCRIPTIONS;
use sluice::app::{AppProtocol, Apps, Description, Field, FileSettings, Limits, Piece, Transport};
use sluice::packet::Direction;

/// Growth of work when the input doubles, at most (RELIABILITY.md G15).
const RATIO_MAX: f64 = 2.2;
/// Work that is long enough to be measured.
const WORK_MIN: Duration = Duration::from_millis(3);
/// Work that is not worth a ratio.
const WORK_NONE: Duration = WORK_MIN;
/// Sizes tried until the work is long enough: beyond the transactions that a flow may have open, since
/// up to there each message may look at all of them.
const SIZE_FIRST: u32 = 1024;
const SIZE_LAST: u32 = 1 << 15;
/// Measurements of a case before it fails.
const ROUNDS_MAX: u32 = 160;
/// Pause before one more, that a machine which stops for a while comes back meanwhile.
const PAUSE: Duration = Duration::from_millis(10);
/// Later looks at a case that seems to grow too fast, and the pause before each.
const LOOKS_AGAIN: usize = 5;
const PAUSE_AGAIN: Duration = Duration::from_secs(2);
/// Bytes of the lane's heap that one flow may hold, whatever its peers send: transactions up to
/// their limit, and the texts of a few of them at their longest.
const FLOW_MEMORY_MAX: usize = 2 << 20;

fn apps() -> Apps {
    let limits = Limits {
        files: FileSettings {
            events: true,
            hashes: [false; 3],
            store: false,
            store_all: false,
            size_max: 1 << 20,
        },
        ..Limits::default()
    };
    let wanted = Field::ALL.iter().map(|field| !field.is_frame()).collect();
    Apps::new(64, 16 << 20, wanted, limits)
}

fn piece(transport: Transport, direction: Direction, bytes: &[u8]) -> Piece<'_> {
    Piece {
        transport,
        direction,
        bytes,
        gap: 0,
        end: false,
        client_port: 40_000,
        server_port: 1025,
        client_addr: [1; 16],
        server_addr: [2; 16],
        time_ns: 1,
    }
}

/// What a conversation cost and gave.
struct Ran {
    cpu: Duration,
    /// Most bytes that the flow held at a time.
    peak: usize,
    /// Transactions that were begun.
    transactions: u32,
    /// The parser gave up.
    gave_up: bool,
}

fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// FTP says what a data connection carries before it is opened.
fn foresee_data(apps: &mut Apps) {
    let talk: [(Direction, &[u8]); 4] = [
        (Direction::ToClient, b"220 ready\r\n"),
        (Direction::ToServer, b"PASV\r\n"),
        (
            Direction::ToClient,
            b"227 Entering Passive Mode (2,2,2,2,4,1).\r\n",
        ),
        (Direction::ToServer, b"RETR a.exe\r\n"),
    ];
    let first = piece(Transport::Tcp, Direction::ToServer, b"");
    let control = apps
        .open_as(&first, AppProtocol::Ftp)
        .expect("there is room");
    for (direction, bytes) in talk {
        apps.feed(control, &piece(Transport::Tcp, direction, bytes));
    }
    apps.finish(control);
    apps.close(control);
}

/// Messages over a stream that have no length of their own get one.
fn framed(known: &Description, transport: Transport, talk: Talk) -> Talk {
    if known.protocol != AppProtocol::Dns || transport != Transport::Tcp {
        return talk;
    }
    let frame = |bytes: Vec<u8>| {
        let mut out = Vec::new();
        for message in bytes.chunks(0xffff) {
            out.extend_from_slice(&(message.len() as u16).to_be_bytes());
            out.extend_from_slice(message);
        }
        out
    };
    talk.into_iter()
        .map(|(direction, bytes)| (direction, frame(bytes)))
        .collect()
}

fn run(apps: &mut Apps, known: &Description, transport: Transport, talk: &Talk, cut: usize) -> Ran {
    if known.protocol == AppProtocol::FtpData {
        foresee_data(apps);
    }
    let first = piece(transport, Direction::ToServer, b"");
    let flow = if known.protocol == AppProtocol::FtpData {
        apps.open(&first)
    } else {
        apps.open_as(&first, known.protocol)
    };
    let flow = flow.expect("there is room");
    let mut ran = Ran {
        cpu: Duration::ZERO,
        peak: 0,
        transactions: 0,
        gave_up: false,
    };
    let begun = cpu();
    for (direction, bytes) in talk {
        for part in bytes.chunks(cut) {
            apps.feed(flow, &piece(transport, *direction, part));
            ran.peak = ran.peak.max(apps.in_use().2);
            apps.release(flow, |transaction| transaction.is_complete());
        }
    }
    ran.gave_up = apps.state(flow).is_some_and(|state| state.done);
    apps.finish(flow);
    ran.cpu = cpu() - begun;
    ran.transactions = apps.opened(flow);
    apps.close(flow);
    assert_eq!(
        apps.in_use(),
        (0, 0, 0),
        "{}: everything comes back",
        known.protocol.name()
    );
    ran
}

/// All hostile inputs of a protocol.
fn cases(known: &Description) -> impl Iterator<Item = &'static Hostile> {
    hostile::ALL.iter().chain(hostile::of(known.protocol))
}

/// Measures a case; what is wrong with it.
fn doubles(
    apps: &mut Apps,
    known: &Description,
    transport: Transport,
    case: &Hostile,
) -> Option<String> {
    let seed = seeds::of(known.protocol);
    let talk = |size: u32| framed(known, transport, (case.make)(&seed, size));
    let mut size = SIZE_FIRST;
    while size < SIZE_LAST && run(apps, known, transport, &talk(size), case.cut).cpu < WORK_MIN {
        size *= 2;
    }
    let talks = [talk(size), talk(2 * size), talk(4 * size)];
    let mut least = [Duration::MAX; 3];
    for _ in 0..ROUNDS_MAX {
        for (least, talk) in least.iter_mut().zip(&talks) {
            *least = (*least).min(run(apps, known, transport, talk, case.cut).cpu);
        }
        let steps = least.windows(2);
        let fine = steps
            .into_iter()
            .all(|pair| pair[1].as_secs_f64() <= RATIO_MAX * pair[0].as_secs_f64());
        if fine || least[2] < WORK_NONE {
            return None;
        }
        std::thread::sleep(PAUSE);
    }
    Some(format!(
        "{} over {transport:?}, {} ({}), sizes {size}, {}, {}: {least:?}",
        known.protocol.name(),
        case.name,
        case.class,
        2 * size,
        4 * size
    ))
}

#[test]
fn every_parser_has_a_fuzz_target() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = std::fs::read_to_string(root.join("fuzz/Cargo.toml")).expect("fuzz/Cargo.toml");
    let manifest: toml::Table = manifest.parse().expect("fuzz/Cargo.toml is TOML");
    let bins = manifest["bin"].as_array().expect("targets");
    let missing: Vec<_> = DESCRIPTIONS
        .iter()
        .map(|known| known.protocol.name().replace('-', "_"))
        .filter(|name| {
            let of_name = |bin: &&toml::Value| bin["name"].as_str() == Some(name);
            let path = bins
                .iter()
                .find(of_name)
                .and_then(|bin| bin["path"].as_str());
            path.is_none_or(|path| !root.join("fuzz").join(path).is_file())
        })
        .collect();
    assert!(
        missing.is_empty(),
        "no fuzz target for {missing:?}: see fuzz/Cargo.toml"
    );
}

#[test]
fn every_parser_follows_its_own_protocol() {
    // Else the other proofs would be about parsers that have given up.
    let mut apps = apps();
    let mut wrong = Vec::new();
    for known in DESCRIPTIONS {
        let transport = known.over[0];
        let seed = seeds::of(known.protocol);
        let measure = &hostile::ALL[0];
        let talk = framed(known, transport, (measure.make)(&seed, 20));
        let ran = run(&mut apps, known, transport, &talk, measure.cut);
        // Parsers that only know frames have no transactions.
        let silent = known.fields.iter().all(|field| field.is_frame());
        // What follows a handshake is none of these parsers' business; no key opens the QUIC packet.
        let may_end = silent
            || matches!(
                known.protocol,
                AppProtocol::Tls | AppProtocol::Ssh | AppProtocol::Rfb | AppProtocol::Quic
            );
        if ran.gave_up && !may_end || ran.transactions == 0 && !silent {
            wrong.push((known.protocol.name(), ran.gave_up, ran.transactions));
        }
    }
    assert!(wrong.is_empty(), "given up, transactions: {wrong:?}");
}

#[test]
fn work_grows_no_faster_than_input() {
    let mut apps = apps();
    let mut wrong = Vec::new();
    let (mut count, mut protocols) = (0, 0);
    let mut suspects = Vec::new();
    for known in DESCRIPTIONS {
        protocols += 1;
        for transport in known.over {
            for case in cases(known) {
                count += 1;
                if doubles(&mut apps, known, *transport, case).is_some() {
                    suspects.push((known, *transport, case));
                }
            }
        }
    }
    println!("{count} hostile inputs of {protocols} protocols doubled twice");
    // Work that grows faster does so at any time, a neighbour on the machine's caches does not stay:
    // a suspect is cleared by one of some later looks.
    for (known, transport, case) in suspects {
        let mut again = None;
        for _ in 0..LOOKS_AGAIN {
            std::thread::sleep(PAUSE_AGAIN);
            again = doubles(&mut apps, known, transport, case);
            if again.is_none() {
                break;
            }
        }
        wrong.extend(again);
    }
    assert!(
        wrong.is_empty(),
        "more than {RATIO_MAX} a doubling:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn a_flow_holds_no_more_than_its_bound() {
    let mut apps = apps();
    let mut wrong = Vec::new();
    let mut most = (0, String::new());
    for known in DESCRIPTIONS {
        let seed: Seed = seeds::of(known.protocol);
        for transport in known.over {
            for case in cases(known) {
                let talk = framed(known, *transport, (case.make)(&seed, 40_000));
                let ran = run(&mut apps, known, *transport, &talk, case.cut);
                let what = format!(
                    "{} over {transport:?}, {}: {}",
                    known.protocol.name(),
                    case.name,
                    ran.peak
                );
                if ran.peak > most.0 {
                    most = (ran.peak, what.clone());
                }
                if ran.peak > FLOW_MEMORY_MAX {
                    wrong.push(what);
                }
            }
        }
    }
    println!("most: {}", most.1);
    assert!(
        wrong.is_empty(),
        "more than {FLOW_MEMORY_MAX} bytes:\n{}",
        wrong.join("\n")
    );
}

/// Instances of all transactions, as text.
fn found(apps: &mut Apps, protocol: AppProtocol, talk: &Talk, cut: usize) -> Vec<String> {
    let first = piece(Transport::Tcp, Direction::ToServer, b"");
    let flow = apps.open_as(&first, protocol).expect("there is room");
    for (direction, bytes) in talk {
        for part in bytes.chunks(cut) {
            apps.feed(flow, &piece(Transport::Tcp, *direction, part));
        }
    }
    apps.finish(flow);
    let mut lines = Vec::new();
    let mut next = apps.state(flow).map_or(u32::MAX, |state| state.first);
    while let Some(tx) = apps.transaction(next) {
        for instance in tx.instances(&apps.shared.heap) {
            if instance.field == Field::FileInfo {
                continue;
            }
            let bytes = tx.bytes(&apps.shared.heap, &instance).escape_ascii();
            lines.push(format!("{} {} {bytes}", tx.number, instance.field.name()));
        }
        next = tx.next;
    }
    apps.close(flow);
    lines
}

#[test]
fn what_fuzzing_found_stays_mended() {
    use Direction::{ToClient, ToServer};
    let cases: [(AppProtocol, Talk); 3] = [
        // Lines that are no response: which of them are a body was told by what was at hand.
        (
            AppProtocol::Http,
            vec![(ToClient, b"\xff\n\x0b".to_vec())],
        ),
        // A wrong preface was found wrong only once all of its bytes could have been there.
        (
            AppProtocol::Http2,
            vec![
                (ToServer, b"P\xf8".to_vec()),
                (ToClient, b"\0\0\x2f\0\x52\x94\0\x01\0\xe9\0\xf6".to_vec()),
            ],
        ),
        // The decoder of a body was chosen by its first piece (metamorphic.rs found it).
        (
            AppProtocol::Http,
            vec![
                (ToServer, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
                (
                    ToClient,
                    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 90\r\n\r\n\
                      0123456789 plain text that is said to be gzip 0123456789 and goes on for a while yet....."
                        .to_vec(),
                ),
            ],
        ),
    ];
    let mut apps = apps();
    for (protocol, talk) in &cases {
        let whole = found(&mut apps, *protocol, talk, usize::MAX);
        for cut in [1, 2, 7, 61] {
            let parts = found(&mut apps, *protocol, talk, cut);
            assert_eq!(parts, whole, "{protocol:?} {talk:?} cut into {cut}");
        }
    }
}
