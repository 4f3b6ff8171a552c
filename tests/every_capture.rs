//! Every shared capture through the whole engine, looked at from outside: the command accounts for
//! all of it in every layout (I1, I6, no panic), and what goes out is what came in (I2), in its
//! order (I3), once (I4), while every context comes home (I5). That all ways give the same results
//! is independence.rs's.

mod common;
mod decode_rig;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{captures, engine, rules, shared, tables};
use sluice::cli::rules::Loaded;
use sluice::config::Mode;
use sluice::counters::Counter;
use sluice::decode::LinkType;
use sluice::event::EventKind;
use sluice::lane::Worker;
use sluice::lane::build::Engine;
use sluice::layout::Layout;
use sluice::memory::{Arena, Regions};
use sluice::packet::Context;
use sluice::port::capture::spread::Spread;
use sluice::port::capture::{Capture, CaptureReader, CaptureWriter, link_number};
use sluice::port::{Receive, Transmitter};

/// Drops by rule, so that what goes out is not just everything; nothing is answered.
const RULES: &str = r#"
drop tcp any any -> any any (msg:"drop flow"; flow:established; content:"passw"; nocase; sid:1;)
drop udp any any -> any any (msg:"drop packet"; dsize:>300; sid:2;)
alert ip any any -> any any (msg:"first of direction"; sid:3;)
"#;

/// A folder of this test's own, emptied.
fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("sluice-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

#[test]
fn the_command_accounts_for_every_capture_in_every_layout() {
    let Some(shared) = shared("the_command_accounts_for_every_capture") else {
        return;
    };
    let files = captures(&shared.join("captures"));
    assert!(files.len() > 1000);
    let log = folder("log");
    let mut received = BTreeSet::new();
    for (at, layout) in Layout::all().enumerate() {
        let output = Command::new(env!("CARGO_BIN_EXE_sluice"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["replay", "--inline", "-S", "rules/starter.rules"])
            .args(["--format", "json", "--spread", "round-robin"])
            .args(["--layout", &layout.to_string()])
            .args(["--lanes", &(1 + at % 3).to_string()])
            .arg("-l")
            .arg(&log)
            .args(&files)
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        // Some captures are cut short: that is told, with exit code 6, after all packets.
        assert_eq!(output.status.code(), Some(6), "{layout}: {errors}");
        assert!(!errors.contains("panicked"), "{layout}: {errors}");
        let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let figure = |name: &str| summary[name].as_u64().unwrap();
        let out = ["forwarded", "bypassed", "dropped", "rejected"].map(figure);
        assert_eq!(figure("packets"), out.iter().sum::<u64>(), "I1: {layout}");
        assert_eq!(figure("events_lost"), 0, "I6: {layout}");
        let lines = std::fs::read_to_string(log.join("eve.json")).unwrap();
        let told = |line: &&str| !line.contains(r#""event_type":"stats""#);
        let written = lines.lines().filter(told).count() as u64;
        let told = figure("events") - figure("events_left_out");
        assert_eq!(told, written, "I6: {layout}");
        assert!(figure("events_left_out") < 100, "DNS without a question");
        received.insert((figure("packets"), figure("bytes")));
        assert!(figure("packets") > 70_000 && figure("flows") > 4_000);
        assert!(figure("alerts") > 100 && figure("dropped") > 5_000);
    }
    assert_eq!(received.len(), 1, "every layout reads all: {received:?}");
    std::fs::remove_dir_all(log).unwrap();
}

/// Runs an engine whose lanes write captures; gives the workers, and the packets that events say
/// were dropped.
fn run(mut engine: Engine) -> (Vec<Worker>, BTreeSet<u64>) {
    let threads = engine.start();
    let mut dropped = BTreeSet::new();
    loop {
        let ended = threads.iter().all(std::thread::JoinHandle::is_finished);
        let mut taken = 0;
        for queue in &engine.events {
            while let Some(event) = queue.take() {
                if event.kind == EventKind::Drop {
                    dropped.insert(event.order);
                }
                queue.give_back(event);
                taken += 1;
            }
        }
        if ended && taken == 0 {
            break;
        }
        std::thread::yield_now();
    }
    let mut workers: Vec<Worker> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    workers.iter_mut().for_each(Worker::settle);
    let home = |worker: &Worker| worker.frames.len() + worker.emit.views.len();
    let home: usize = workers.iter().map(home).sum();
    assert_eq!(home, engine.contexts_total, "I5");
    (workers, dropped)
}

/// The frames of a capture as its port gives them (cut where the file says that it cut them).
fn frames_of(file: &Path) -> Vec<Vec<u8>> {
    let capture = Capture::open(&[file]).unwrap();
    let mut regions = Regions::default();
    let mut reader = CaptureReader::new(capture, link_number, Spread::First, 0, 1);
    reader.register(&mut regions);
    let (contexts, mut free) = Arena::new(64, Context::default);
    let (mut burst, mut frames) = (Vec::with_capacity(64), Vec::new());
    loop {
        let received = reader.receive(&contexts, &mut free, &mut burst, 64, 0);
        for handle in burst.drain(..) {
            frames.push(regions.bytes(contexts.get(&handle).span).to_vec());
            free.push(handle);
        }
        if received.end {
            return frames;
        }
    }
}

/// One capture through the path: what was dropped and what came out is what came in.
fn forward(file: &Path, layout: Layout, lanes: usize, dir: &Path, rules: &Loaded) -> [usize; 2] {
    let what = format!("{} {layout} x{lanes}", file.display());
    let bytes = file.metadata().unwrap().len();
    let files = [file.to_path_buf()];
    let lane = Cell::new(0);
    let out = |lane: usize| dir.join(format!("{lane}.pcapng"));
    let transmitter = || {
        let writer = CaptureWriter::create(&out(lane.replace(lane.get() + 1))).unwrap();
        let writer = writer.with_links(|code| LinkType::from_u8(code).to_pcap());
        Transmitter::Capture(Box::new(writer))
    };
    let config = tables(Mode::Inline, bytes, lanes, 1);
    let engine = engine(&files, config, layout, lanes, rules, transmitter);
    let (mut workers, dropped) = run(engine);
    for half in workers
        .iter_mut()
        .flat_map(|worker| &mut worker.verdict)
        .flat_map(|part| &mut part.transmitters)
    {
        if let Transmitter::Capture(writer) = half {
            writer.finish().unwrap();
        }
    }
    let came = frames_of(file);
    let received = |w: &Worker| w.emit.counters.get(Counter::PacketsReceived);
    let received: u64 = workers.iter().map(received).sum();
    assert_eq!(came.len() as u64, received, "{what}: frames");
    let kept = |at: &usize| !dropped.contains(&(*at as u64 + 1));
    let mut expected: Vec<&[u8]> = (0..came.len())
        .filter(kept)
        .map(|at| &came[at][..])
        .collect();
    let mut all = Vec::new();
    for lane in 0..lanes {
        let went = decode_rig::read_capture(&out(lane));
        // Frames of a lane are a part of those that may go, in their order (I3).
        let mut rest = expected.iter();
        for (at, frame) in went.iter().enumerate() {
            let found = rest.any(|other| *other == &frame.bytes[..]);
            assert!(found, "I2, I3: {what}: frame {at} of lane {lane}");
        }
        all.extend(went.into_iter().map(|frame| frame.bytes));
    }
    all.sort();
    expected.sort();
    assert!(all == expected, "I2, I4: {what}: other frames came out");
    [all.len(), dropped.len()]
}

#[test]
fn what_goes_out_is_what_came_in_once_and_in_order() {
    let Some(shared) = shared("what_goes_out_is_what_came_in") else {
        return;
    };
    let files = captures(&shared.join("captures"));
    let layouts: Vec<Layout> = Layout::all().collect();
    let rules = rules(RULES);
    let next = AtomicUsize::new(0);
    let (went, dropped) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (files, layouts, rules) = (&files, &layouts, &rules);
            let (next, went, dropped) = (&next, &went, &dropped);
            scope.spawn(move || {
                let dir = folder(&format!("out-{thread}"));
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(file) = files.get(at) else { break };
                    let layout = layouts[at % layouts.len()];
                    let [out, not] = forward(file, layout, 1 + at % 3, &dir, rules);
                    went.fetch_add(out, Ordering::Relaxed);
                    dropped.fetch_add(not, Ordering::Relaxed);
                }
                std::fs::remove_dir_all(dir).unwrap();
            });
        }
    });
    let (went, dropped) = (went.into_inner(), dropped.into_inner());
    println!("{went} frames went out, {dropped} did not");
    assert!(went > 50_000 && dropped > 5_000);
}
