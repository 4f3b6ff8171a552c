//! Replays the demonstration capture through a stand-in for the engine: a thread that opens the
//! inner ends and forwards, drops or changes frames as each test says.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use pcap_replay::replay::{Arguments, Format, Sides, replay};
use sluice::memory::{Arena, Regions};
use sluice::packet::Context;
use sluice::port::open::{OpenOptions, open};
use sluice::port::{PortCounter, Receive, Transmit};

/// What the engine does to the n-th frame.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Forward,
    Drop,
    Change,
}

/// Forwards until told to stop; returns the frames it copied.
fn engine(
    path: &Path,
    stop: Arc<AtomicBool>,
    fate: impl Fn(u64) -> Fate + Send + 'static,
) -> JoinHandle<u64> {
    let specs = ["{0", "{1"].map(|end| format!("mem:{}{end}", path.display()).parse().unwrap());
    std::thread::spawn(move || {
        let options = OpenOptions {
            lanes: 1,
            frames: 256,
            patience: Duration::from_secs(10),
            blocks: false,
        };
        let mut opened = open(&specs, &options).unwrap();
        let mut ports = opened.lanes.remove(0);
        let mut regions = Regions::default();
        ports
            .receivers
            .iter_mut()
            .for_each(|half| half.register(&mut regions));
        ports
            .transmitters
            .iter_mut()
            .for_each(|half| half.register(&mut regions));
        let (contexts, mut free) = Arena::new(256, Context::default);
        let mut burst = Vec::with_capacity(64);
        let mut number = 0;
        while !stop.load(Ordering::Acquire) {
            for port in [0, 1] {
                let limit = ports.transmitters[1 - port].room().min(64);
                ports.receivers[port].receive(&contexts, &mut free, &mut burst, limit, 0);
                for mut handle in burst.drain(..) {
                    let context = contexts.get_mut(&mut handle);
                    number += 1;
                    match fate(number) {
                        Fate::Forward => {
                            ports.transmitters[1 - port]
                                .transmit(context, &regions)
                                .unwrap();
                        }
                        Fate::Drop => {}
                        Fate::Change => {
                            let mut bytes = regions.bytes(context.span).to_vec();
                            bytes[30] ^= 1;
                            ports.transmitters[1 - port].send_copy(&bytes).unwrap();
                        }
                    }
                    ports.receivers[port].reclaim(context);
                    free.push(handle);
                }
                ports.transmitters[1 - port].sync();
            }
            std::thread::yield_now();
        }
        let copied = |half: &sluice::port::Transmitter| half.counters().get(PortCounter::Copied);
        ports.transmitters.iter().map(copied).sum()
    })
}

fn arguments(name: &str) -> Arguments {
    let path = std::env::temp_dir().join(format!("pcap-replay-{}-{name}", std::process::id()));
    Arguments {
        captures: vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/demo.pcap")],
        ports: vec![format!("mem:{}", path.display())],
        rate: None,
        original: false,
        in_order: false,
        sides: Sides::Client,
        loops: 1,
        wait: 20,
        linger: 300,
        allow_lost: false,
        allow_unexpected: false,
        write: None,
        slots: 128,
        format: Format::Json,
    }
}

fn socket(arguments: &Arguments) -> PathBuf {
    PathBuf::from(arguments.ports[0].trim_start_matches("mem:"))
}

/// Frames of the demonstration capture.
const DEMO_FRAMES: u64 = 1539;

#[test]
fn a_faithful_engine_loses_and_changes_nothing() {
    let mut arguments = arguments("faithful");
    arguments.loops = 5;
    let out = std::env::temp_dir().join(format!("pcap-replay-{}.pcap", std::process::id()));
    arguments.write = Some(out.clone());
    let stop = Arc::new(AtomicBool::new(false));
    let engine = engine(&socket(&arguments), Arc::clone(&stop), |_| Fate::Forward);
    let report = replay(&arguments).unwrap();
    stop.store(true, Ordering::Release);
    assert_eq!(engine.join().unwrap(), 0, "nothing is copied");
    assert_eq!(
        (report.sent, report.received),
        (5 * DEMO_FRAMES, 5 * DEMO_FRAMES)
    );
    assert_eq!(
        (report.lost, report.reordered, report.unexpected),
        (0, 0, 0)
    );
    assert!(report.latency_p50_ns > 0 && report.latency_p50_ns <= report.latency_p99_ns);
    assert!(report.latency_p99_ns <= report.latency_max_ns);
    let written = std::fs::metadata(&out).unwrap().len();
    assert_eq!(written, 24 + 5 * DEMO_FRAMES * 16 + report.sent_bytes);
    std::fs::remove_file(out).unwrap();
}

#[test]
fn drops_and_changes_are_counted() {
    let arguments = arguments("unfaithful");
    let stop = Arc::new(AtomicBool::new(false));
    let engine = engine(
        &socket(&arguments),
        Arc::clone(&stop),
        |number| match number {
            100 | 200 => Fate::Drop,
            300 => Fate::Change,
            _ => Fate::Forward,
        },
    );
    let report = replay(&arguments).unwrap();
    stop.store(true, Ordering::Release);
    engine.join().unwrap();
    assert_eq!((report.lost, report.unexpected), (3, 1));
    assert_eq!(report.received, DEMO_FRAMES - 3);
}

#[test]
fn a_rate_is_kept() {
    let mut arguments = arguments("rate");
    arguments.rate = Some(5000);
    let stop = Arc::new(AtomicBool::new(false));
    let engine = engine(&socket(&arguments), Arc::clone(&stop), |_| Fate::Forward);
    let report = replay(&arguments).unwrap();
    stop.store(true, Ordering::Release);
    engine.join().unwrap();
    assert_eq!(report.lost, 0);
    // 1,538 gaps of 200 us: never faster.
    assert!(
        report.elapsed_ns >= 1538 * 200_000,
        "{} ns",
        report.elapsed_ns
    );
}

#[test]
fn without_an_engine_it_says_what_to_start() {
    let mut arguments = arguments("alone");
    arguments.wait = 0;
    let failure = replay(&arguments).unwrap_err();
    assert_eq!(failure.code, 5);
    assert!(
        failure.message.contains("sluice run"),
        "{}",
        failure.message
    );
    arguments.ports = vec!["lo".to_string()];
    assert_eq!(replay(&arguments).unwrap_err().code, 2);
    arguments.captures = vec![PathBuf::from("/no/such.pcap")];
    assert_eq!(replay(&arguments).unwrap_err().code, 6);
}
