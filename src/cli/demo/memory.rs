//! The demonstration without any right: this process plays both hosts at the outer ends of two
//! cables in memory, with the traffic that the repository's demo capture is made of.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Engine, Failure, PATIENCE, Scene};
use crate::cli::exit;
use crate::memory::{Arena, Regions};
use crate::packet::Context;
use crate::port::generator::{Generator, Mix};
use crate::port::memory::handover::Server;
use crate::port::memory::{End, Memory, Pipe, Shape, Side};
use crate::port::ring::halves::{RingReceiver, RingTransmitter};
use crate::port::{Receive, Transmit};

/// Contexts of our own: what may come out at once.
const CONTEXTS: usize = 256;
/// Nothing has come out for so long: nothing will.
const QUIET: Duration = Duration::from_millis(200);

fn broken(error: impl std::fmt::Display) -> Failure {
    Failure::new(exit::DEVICE, format!("ports in memory: {error}"))
}

/// The traffic, and the engine's summary of it.
///
/// # Errors
/// No memory, or an engine that does not start.
pub fn play(folder: &Path, stop: &AtomicBool) -> Result<(Vec<Scene>, Value), Failure> {
    let path = folder.join("wire");
    let memory = Memory::new(Shape::default()).map_err(broken)?;
    let _server = Server::start(Arc::clone(&memory), &path).map_err(broken)?;
    let name = |end: &str| format!("mem:{}{end}", path.display());
    let mut engine = Engine::start(folder, &name("{0"), &name("{1"))?;
    engine.wait()?;
    let (mut receivers, mut transmitters) = far_ends(&memory)?;
    let (contexts, mut free) = Arena::new(CONTEXTS, Context::default);
    let mut burst = Vec::with_capacity(CONTEXTS);
    let mut collect = || {
        let before = received_total(&receivers);
        for receiver in &mut receivers {
            receiver.receive(&contexts, &mut free, &mut burst, CONTEXTS / 2, 0);
            for mut handle in burst.drain(..) {
                receiver.reclaim(contexts.get_mut(&mut handle));
                free.push(handle);
            }
        }
        received_total(&receivers) - before
    };
    let (mut clean, mut hostile, mut out) = (0u64, 0u64, 0);
    for frame in Generator::new(Mix::demo()).take_while(|_| !stop.load(Ordering::Relaxed)) {
        match frame.attack {
            Some(_) => hostile += 1,
            None => clean += 1,
        }
        let Some(half) = transmitters.get_mut(usize::from(frame.port)) else {
            continue;
        };
        let start = Instant::now();
        // In order, one after the other: a host answers what has reached it.
        if half.send_copy(&frame.bytes).is_err() {
            return Err(broken("a frame does not fit"));
        }
        while !half.is_drained() {
            out += collect();
            if start.elapsed() > PATIENCE {
                return Err(broken("the engine takes no frames"));
            }
            std::thread::yield_now();
        }
    }
    let mut last = Instant::now();
    while last.elapsed() < QUIET {
        match collect() {
            0 => std::thread::sleep(Duration::from_millis(1)),
            more => {
                out += more;
                last = Instant::now();
            }
        }
    }
    let scene = |what: &str, seen: String| Scene {
        what: what.to_string(),
        seen,
    };
    let scenes = vec![
        scene("frames of clean flows sent:", clean.to_string()),
        scene("frames of hostile flows sent:", hostile.to_string()),
        scene("frames that came out on the other side:", out.to_string()),
    ];
    Ok((scenes, engine.stop()?))
}

/// Both halves of the outer ends.
type Halves = (Vec<RingReceiver<Pipe>>, Vec<RingTransmitter<Pipe>>);

/// The outer ends of both cables.
fn far_ends(memory: &Arc<Memory>) -> Result<Halves, Failure> {
    let mut regions = Regions::default();
    let (mut receivers, mut transmitters) = (Vec::new(), Vec::new());
    for cable in [0, 1] {
        let side = Side::Outer;
        let opened = memory.open(End { cable, side }, 0, CONTEXTS as u32, cable);
        let (mut receiver, mut transmitter) = opened.map_err(broken)?;
        receiver.register(&mut regions);
        transmitter.register(&mut regions);
        receivers.push(receiver);
        transmitters.push(transmitter);
    }
    Ok((receivers, transmitters))
}

fn received_total<R: Receive>(receivers: &[R]) -> u64 {
    let packets = |half: &R| half.counters().get(crate::port::PortCounter::Packets);
    receivers.iter().map(packets).sum()
}
